"""What is written beside features on disk: where each array comes from, and how it was made."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from latflow._writing import clear_unfinished, replacing
from latflow.featurizers.base import Features, atom_labels

__all__ = ["Manifest", "Record", "Settings", "checksum", "fingerprint", "write_array"]

NAME = "manifest.json"
FORMAT = 1
PACKAGES = ("latflow", "mdtraj", "numpy")


@dataclass(frozen=True)
class Record:
    """One finished file: its source, and its array in the same folder as the manifest.

    Attributes
    ----------
    source : str
        Absolute path.
    sha256 : str
    size, mtime_ns : int
        Bytes and time of change; while both stay, the checksum is taken to.
    frames : int
    array : str
    temperature : float or None
    """

    source: str
    sha256: str
    size: int
    mtime_ns: int
    frames: int
    array: str
    temperature: float | None = None


@dataclass(frozen=True)
class Settings:
    """What features depend on, besides the file.

    Attributes
    ----------
    stride : int
    featurizer : str
    feature_names : tuple of str
    fingerprint : str
        Of everything that the fitted featurizer holds.
    """

    stride: int
    featurizer: str
    feature_names: tuple[str, ...]
    fingerprint: str

    @classmethod
    def of(cls, featurizer: Any, stride: int) -> Settings:
        """Return the settings of a fitted featurizer."""
        names = tuple(map(str, featurizer.get_feature_names_out()))
        return cls(stride, type(featurizer).__name__, names, fingerprint(featurizer))


class Manifest:
    """The finished files of a folder, found there or made now.

    Parameters
    ----------
    folder : Path
    settings : Settings
    records : sequence of Record, default=()
    unread : sequence of str, default=()
        Sources that have no record yet.
    time_step : float or None, default=None
        In ps.
    """

    def __init__(
        self,
        folder: Path,
        settings: Settings,
        *,
        records: Sequence[Record] = (),
        unread: Sequence[str] = (),
        time_step: float | None = None,
    ) -> None:
        self.folder = folder
        self.settings = settings
        self.records = list(records)
        self.unread = list(unread)
        self.time_step = time_step

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read a folder's manifest."""
        file = folder / NAME
        if not file.is_file():
            raise FileNotFoundError(f"Expected a folder with {NAME}, got {folder}.")
        try:
            content = json.loads(file.read_text())
            settings = content["settings"]
            settings["feature_names"] = tuple(settings["feature_names"])
            return cls(
                folder,
                Settings(**settings),
                records=[Record(**record) for record in content["files"]],
                unread=content["unread"],
                time_step=content["time_step"],
            )
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"Expected {file} as featurize writes it, got another.") from error

    @classmethod
    def open(cls, folder: Path, settings: Settings) -> Manifest:
        """Return a folder's manifest if it was made with the same settings, or a new one."""
        if not (folder / NAME).exists():
            return cls(folder, settings)
        found = cls.read(folder)
        for name, value in asdict(found.settings).items():
            if value != getattr(settings, name):
                what = "another featurizer" if name == "fingerprint" else f"another `{name}`"
                raise ValueError(
                    f"Expected `out` to be empty or to hold features made with the same settings, "
                    f"got {what} in {folder / NAME}: take another folder."
                )
        return found

    def write(self) -> None:
        """Write the manifest; the old one is replaced only when all is written."""
        content = {
            "format": FORMAT,
            "settings": asdict(self.settings),
            "time_step": self.time_step,
            "files": [asdict(record) for record in self.records],
            "unread": self.unread,
            "versions": {name: version(name) for name in PACKAGES},
        }
        with replacing(self.folder / NAME) as part:
            part.write_bytes(json.dumps(content, indent=1).encode())

    def finished(self, source: Path) -> Record | None:
        """Return the record of a file with this content, if its array is still there."""
        path, status = os.path.abspath(source), source.stat()
        for record in self.records:
            same = (path, status.st_size, status.st_mtime_ns)
            if same == (record.source, record.size, record.mtime_ns) and self.holds(record):
                return record
        candidates = [r for r in self.records if r.size == status.st_size and self.holds(r)]
        digest = checksum(source) if candidates else None
        return next((r for r in candidates if r.sha256 == digest), None)

    def holds(self, record: Record) -> bool:
        """Whether a record's array is there, whole."""
        try:
            array = self.load(record)
        except (OSError, ValueError):
            return False
        return array.shape == (record.frames, len(self.settings.feature_names))

    def load(self, record: Record) -> Features:
        """Return a record's array as a read-only memory map."""
        return np.load(self.folder / record.array, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]

    def sweep(self) -> None:
        """Remove what killed runs left unfinished."""
        for extension in (".npy", ".json"):
            clear_unfinished(self.folder, extension)

    def array_name(self, source: Path, digest: str) -> str:
        """Return a name that content and settings determine."""
        key = hashlib.sha256(f"{digest}{self.settings.fingerprint}{self.settings.stride}".encode())
        return f"{source.stem}-{key.hexdigest()[:12]}.npy"


def checksum(file: Path) -> str:
    """Return the SHA-256 of a file's content."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_array(file: BinaryIO, parts: Iterable[Features], n_features: int) -> int:
    """Write arrays below each other as one .npy file, whose length is known only at the end.

    Returns
    -------
    int
        Number of rows.
    """

    def write_header(n_rows: int) -> None:
        # numpy leaves room for the first axis to grow, so the length of the header is the same
        header = {"descr": "<f4", "fortran_order": False, "shape": (n_rows, n_features)}
        np.lib.format.write_array_header_1_0(file, header)

    write_header(0)
    n_rows = 0
    for part in parts:
        file.write(np.ascontiguousarray(part, "<f4").data)
        n_rows += len(part)
    file.seek(0)
    write_header(n_rows)
    return n_rows


def fingerprint(value: Any) -> str:
    """Return a SHA-256 of an object's content, the same in every process.

    Numbers, strings, arrays, sequences, mdtraj's topologies and trajectories, and objects made of
    them; a topology counts by its atoms' names.
    """
    digest = hashlib.sha256()
    for piece in _pieces(value):
        digest.update(piece + b"\0")
    return digest.hexdigest()


def _pieces(value: Any) -> Iterator[bytes]:
    yield type(value).__name__.encode()
    if isinstance(value, np.ndarray):
        yield f"{value.dtype} {value.shape}".encode()
        yield np.ascontiguousarray(value).tobytes()
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _pieces(entry)
    elif hasattr(value, "atoms") and hasattr(value, "n_atoms"):
        yield from (label.encode() for label in atom_labels(value))
    elif hasattr(value, "__dict__"):
        for name, entry in sorted(vars(value).items()):
            if name != "_sklearn_output_config":
                yield name.encode()
                yield from _pieces(entry)
    else:
        yield repr(value).encode()
