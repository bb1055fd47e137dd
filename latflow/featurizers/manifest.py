"""What is written beside features on disk: where each array comes from, and how it was made."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from latflow._writing import clear_unfinished, replacing
from latflow.featurizers.base import Features

NAME = "manifest.json"
FORMAT = 2  # 1 had no parameters, units and topology, and another fingerprint
DECISIVE = ("stride", "featurizer", "feature_names", "fingerprint")


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
    stride : int or None
        None in folders of older versions, which had one for all.
    """

    source: str
    sha256: str
    size: int
    mtime_ns: int
    frames: int
    array: str
    temperature: float | None = None
    stride: int | None = None


@dataclass
class Manifest:
    """The finished files of a folder.

    Parameters
    ----------
    folder : Path
    settings : dict
        How the features were made: what the featurizer says, and ``stride``.
    records : list of Record
    unread : list of str
        Sources that have no record yet.
    time_step : float or None, default=None
        In ps.
    """

    folder: Path
    settings: dict[str, Any]
    records: list[Record] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    time_step: float | None = None

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read a folder's manifest."""
        file = folder / NAME
        if not file.is_file():
            raise FileNotFoundError(f"Expected a folder with {NAME}, got {folder}.")
        try:
            content = json.loads(file.read_text())
            settings = {name: content["settings"][name] for name in DECISIVE} | content["settings"]
            if "versions" in content:
                settings["versions"] = content["versions"]
            records = [Record(**record) for record in content["files"]]
            return cls(folder, settings, records, content["unread"], content["time_step"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"Expected {file} as featurize writes it, got another.") from error

    @classmethod
    def open(cls, folder: Path, settings: dict[str, Any]) -> Manifest:
        """Return a folder's manifest if it was made with the same settings, or a new one."""
        if not (folder / NAME).exists():
            return cls(folder, settings)
        manifest = cls.read(folder)
        for name in DECISIVE:
            if manifest.settings[name] != settings[name]:
                old = "another featurizer, or one of an older version"
                what = old if name == "fingerprint" else f"another `{name}`"
                raise ValueError(
                    f"Expected `out` to be empty or to hold features made with the same settings, "
                    f"got {what} in {folder / NAME}: take another folder."
                )
        manifest.settings = settings
        return manifest

    def write(
        self, files: Sequence[Path], results: Mapping[int, Record | None], time_step: float | None
    ) -> None:
        """Write results so far, and what an earlier run did and this one has not come to yet.

        The old manifest is replaced only when all is written.

        Parameters
        ----------
        files : sequence of Path
        results : mapping of int to Record or None
            What became of the file of that number; None where it cannot be read.
        time_step : float or None
        """
        sources = [os.path.abspath(file) for file in files]
        earlier = {record.source: record for record in self.records}
        known = [results[k] if k in results else earlier.get(s) for k, s in enumerate(sources)]
        content = {
            "format": FORMAT,
            "settings": self.settings,
            "time_step": time_step,
            "files": [asdict(record) for record in known if record is not None],
            "unread": [s for s, record in zip(sources, known, strict=True) if record is None],
        }
        with replacing(self.folder / NAME) as unfinished:
            unfinished.write_bytes(json.dumps(content).encode())

    def finished(self, source: Path, stride: int) -> Record | None:
        """Return the record of a file with this content, if its array is still there."""
        path, status = os.path.abspath(source), source.stat()
        size = status.st_size
        records = [r for r in self.records if r.size == size and r.stride in (None, stride)]
        for record in records:
            same_file = (record.source, record.mtime_ns) == (path, status.st_mtime_ns)
            if same_file and self.load(record) is not None:
                return record
        digest = checksum(source) if records else None
        same_content = (record for record in records if record.sha256 == digest)
        return next((r for r in same_content if self.load(r) is not None), None)

    def load(self, record: Record) -> Features | None:
        """Return a record's array as a read-only memory map; None where it is not there, whole."""
        shape = (record.frames, len(self.settings["feature_names"]))
        with suppress(OSError, ValueError):
            array = np.load(self.folder / record.array, mmap_mode="r", allow_pickle=False)
            if array.shape == shape:
                return array  # type: ignore[no-any-return]
        return None

    def sweep(self) -> None:
        """Remove what killed runs left unfinished."""
        for extension in (".npy", ".json"):
            clear_unfinished(self.folder, extension)

    def array_name(self, source: Path, digest: str, stride: int) -> str:
        """Return a name that content and settings determine."""
        key = f"{digest}{self.settings['fingerprint']}{stride}"
        return f"{source.stem}-{hashlib.sha256(key.encode()).hexdigest()[:12]}.npy"


def checksum(file: Path) -> str:
    """Return the SHA-256 of a file's content."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_array(file: BinaryIO, blocks: Iterable[Features], n_features: int) -> int:
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
    for block in blocks:
        file.write(np.ascontiguousarray(block, "<f4").data)
        n_rows += len(block)
    file.seek(0)
    write_header(n_rows)
    return n_rows
