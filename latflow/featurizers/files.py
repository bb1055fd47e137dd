"""Trajectory files to features, a chunk of frames at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.utils import Bunch
from tqdm.auto import tqdm

from latflow._validation import check_count, check_per_trajectory, warn
from latflow._writing import replacing
from latflow.featurizers.base import Features, Featurizer
from latflow.featurizers.formats import CorruptFile
from latflow.featurizers.manifest import Manifest, Record, checksum, write_array
from latflow.featurizers.readers import (
    FilePath,
    Times,
    Topology,
    check_atoms_and_times,
    check_files,
    chunks_of,
    read_topology,
)
from latflow.featurizers.topology import check_topology, find_topology
from latflow.trajectories.features import FeatureList


class UnreadableFileError(OSError):
    """Some files are truncated or corrupt.

    Attributes
    ----------
    features : Bunch
        What :func:`featurize` made of the others.
    """

    def __init__(self, message: str, features: Bunch | None = None) -> None:
        super().__init__(message)
        self.features = features


def featurize(
    paths: FilePath | Sequence[FilePath],
    topology: Topology | None,
    featurizer: Featurizer,
    *,
    stride: int | Sequence[int] = 1,
    chunk: int | None = None,
    out: FilePath | None = None,
    temperature: float | Sequence[float] | None = None,
    n_jobs: int | None = None,
    progress: bool = False,
    partial: bool = False,
) -> Bunch:
    """Compute the features of trajectory files, which may be larger than memory.

    Each file is read in chunks of frames and is one trajectory. With `out`, features go to disk
    as they come, and memory does not grow with the number of frames; a run that was killed goes on
    where it stopped, as files that are finished there are not read again.

    Parameters
    ----------
    paths : path or sequence of path
        Files ending in .xtc, .trr, .dcd, .nc, .h5, .pdb, .pdb.gz, .cif, .gro, .mdcrd, .rst7,
        .ncrst or .lammpstrj (of real units), in upper case too. A .pdb, .cif or .gro is read whole.
    topology : path, mdtraj.Topology, mdtraj.Trajectory, or None
        None takes that of the first file, where that is a .pdb or .h5.
    featurizer : featurizer
        One that is fitted is used as it is, another is fitted to the topology (with its
        coordinates, where it is a structure).
    stride : int or sequence of int, default=1
        Take every stride-th frame, of all files or of each.
    chunk : int, optional
        Frames held at a time; about 16 MB of coordinates if not given.
    out : path, optional
        Folder for a memory map (.npy) per file and ``manifest.json``; made if it does not exist.
        Only one run at a time may write to it.
    temperature : float or sequence of float, optional
        Temperature of each file, or of all, in K.
    n_jobs : int, optional
        Files read at a time, through joblib and its current backend (Dask, too).
    progress : bool, default=False
        Show a progress bar.
    partial : bool, default=False
        Take the frames before the end of files that are cut off or still written, and say how
        many they are. Such files are read a frame at a time.

    Returns
    -------
    data : Bunch
        ``trajectories`` (:class:`~latflow.trajectories.features.FeatureList` of arrays of float32
        (n_frames_i, n_features), with `out` read-only memory maps; its ``manifest`` says how they
        were made), ``temperature`` (list of floats, or None), ``time_step`` (median
        gap between the frames kept, in ps; None where no file holds times, as .pdb and most .dcd
        do not), ``feature_names``, ``paths`` and ``stride``.

    Raises
    ------
    FileNotFoundError
        If a file, or the folder that `out` is to be made in, does not exist.
    ValueError
        Before anything is written: for an unknown extension, no topology, another number of atoms,
        mixed time steps, a wrong number of temperatures, or an `out` that holds features made
        with other settings.
    UnreadableFileError
        At the end, if files are truncated or corrupt. It names them; its ``features`` are the
        result without them. A .xtc or .trr cut between two frames shows no trace of it.

    Warns
    -----
    UserWarning
        If the times in a file are not evenly spaced, or frames repeat the one before at the same
        time, as where files were joined: these are left out. If a PDB file has alternate
        locations, of which the first counts.
    """
    files = check_files(paths)
    temperatures = check_per_trajectory(temperature, len(files), "temperature")
    strides = per_file(stride, len(files))
    if chunk is not None:
        check_count(chunk, "chunk")
    featurizer = _fitted(featurizer, topology, files[0])
    step = check_atoms_and_times(files, featurizer.topology_.n_atoms, strides)
    settings = featurizer.manifest() | {
        "stride": strides[0] if len(set(strides)) == 1 else list(strides)
    }
    manifest = None if out is None else Manifest.open(_folder(out), settings)
    job = _Job(featurizer, chunk, step, manifest, partial)
    each = zip(files, strides, temperatures, strict=True)
    tasks = [delayed(job)(k, *one) for k, one in enumerate(each)]
    parallel = Parallel(n_jobs=n_jobs, return_as="generator_unordered")
    results: dict[int, _Result] = {}
    with tqdm(total=len(files), unit="file", desc="featurize", disable=not progress) as bar:
        for number, result in parallel(tasks):
            results[number] = result
            for sentence in result.said:
                warn(sentence)
            if manifest is not None and result.record is not None:
                manifest.write(files, {k: r.record for k, r in results.items()}, job.time_step)
            bar.update()
    if manifest is not None:
        manifest.sweep()
    failed = [f"{file} ({results[k].error})" for k, file in enumerate(files) if results[k].error]
    readable = [k for k in range(len(files)) if not results[k].error]
    features = _bunch(
        [results[k].features(manifest) for k in readable],
        [temperatures[k] for k in readable],
        job.time_step,
        [str(files[k]) for k in readable],
        settings,
    )
    if failed:
        others = "" if manifest is None else f" Features of the others are in {manifest.folder}."
        raise UnreadableFileError(
            f"Expected whole files, got {len(failed)} of {len(files)} that cannot be read to their "
            f"end (`partial` takes those frames that can): {'; '.join(failed)}.{others}",
            features,
        )
    return features


def load_features(directory: FilePath) -> Bunch:
    """Return the features that :func:`featurize` wrote to a folder.

    Parameters
    ----------
    directory : path

    Returns
    -------
    data : Bunch
        As :func:`featurize` returns it.

    Raises
    ------
    FileNotFoundError
        If the folder has no ``manifest.json``.
    ValueError
        If the manifest, or an array that it names, is missing or damaged.

    Warns
    -----
    UserWarning
        If files of the run were not read, as it was stopped or they are corrupt.
    """
    manifest = Manifest.read(Path(directory))
    records, unread = manifest.records, manifest.unread
    arrays = [manifest.load(record) for record in records]
    for record, array in zip(records, arrays, strict=True):
        if array is None:
            raise ValueError(
                f"Expected {manifest.folder / record.array} with {record.frames} frames, as the "
                "manifest says, got none or another: run featurize again."
            )
    if unread:
        warn(
            f"{len(unread)} of {len(unread) + len(records)} files have no features here: "
            f"{', '.join(unread)}."
        )
    temperatures, sources = [r.temperature for r in records], [r.source for r in records]
    return _bunch(arrays, temperatures, manifest.time_step, sources, manifest.settings)


@dataclass(frozen=True)
class _Result:
    """What became of one file: a record and, without a folder, an array; or an error."""

    record: Record | None = None
    array: Features | None = None
    said: list[str] = field(default_factory=list)
    error: str = ""

    def features(self, manifest: Manifest | None) -> Features | None:
        if manifest is None or self.record is None:
            return self.array
        return manifest.load(self.record)


@dataclass(frozen=True)
class _Job:
    """How to read a file; sent to the processes that do."""

    featurizer: Featurizer
    chunk: int | None
    time_step: float | None  # between the frames kept, in ps
    manifest: Manifest | None
    partial: bool

    def __call__(
        self, number: int, file: Path, stride: int, temperature: float | None
    ) -> tuple[int, _Result]:
        """Return the number of the task, and its result."""
        said: list[str] = []
        try:
            if self.manifest is None:
                array = np.concatenate([*self._blocks(file, stride, said)])
                return number, _Result(array=array, said=said)
            record = self.manifest.finished(file, stride)
            record = record or self._store(file, stride, said, self.manifest)
            source, seen = os.path.abspath(file), file.stat().st_mtime_ns
            record = replace(record, source=source, mtime_ns=seen, temperature=temperature)
            return number, _Result(record, said=said)
        except CorruptFile as error:
            return number, _Result(error=str(error))

    def _blocks(self, file: Path, stride: int, said: list[str]) -> Iterator[Features]:
        """Yield features chunk by chunk; note in `said` what is odd about the file."""
        cut: list[str] | None = [] if self.partial else None
        times = Times(file, self.time_step)
        done = 0
        topology = self.featurizer.topology_
        for chunk in chunks_of(file, topology, stride=stride, chunk=self.chunk, cut=cut):
            frames = times.without_repeats(chunk)
            features = np.asarray(self.featurizer.transform(frames))
            wrong = ~np.isfinite(features).all(axis=1)
            if wrong.any():
                raise CorruptFile(f"features that are no numbers at frame {done + wrong.argmax()}")
            done += len(features)
            yield features
        said += times.said()
        if cut:
            said.append(f"{file} is cut off ({cut[0]}): {done} frames before its end are taken.")

    def _store(self, file: Path, stride: int, said: list[str], manifest: Manifest) -> Record:
        digest, status = checksum(file), file.stat()
        name = manifest.array_name(file, digest, stride)
        width = len(self.featurizer.feature_names_)
        with replacing(manifest.folder / name) as unfinished, unfinished.open("wb") as stream:
            frames = write_array(stream, self._blocks(file, stride, said), width)
        size, changed = status.st_size, status.st_mtime_ns
        return Record(str(file), digest, size, changed, frames, name, stride=stride)


def _bunch(
    arrays: Sequence[Features | None],
    temperature: Sequence[float | None],
    time_step: float | None,
    paths: Sequence[str],
    settings: dict[str, Any],
) -> Bunch:
    sources = {"sources": [os.path.abspath(path) for path in paths]}
    return Bunch(
        trajectories=FeatureList(arrays, manifest=settings | sources),
        temperature=None if None in temperature else list(temperature),
        time_step=time_step,
        feature_names=list(settings["feature_names"]),
        paths=list(paths),
        stride=settings["stride"],
    )


def per_file(stride: object, n_files: int) -> list[int]:
    """Return a stride for each file, from one for all or one each."""
    strides = list(stride) if isinstance(stride, list | tuple | np.ndarray) else [stride] * n_files
    if len(strides) != n_files:
        raise ValueError(
            f"Expected `stride` to hold one number, or one per file ({n_files}), got "
            f"{len(strides)}."
        )
    return [check_count(one, "stride") for one in strides]


def _fitted(featurizer: object, topology: Topology | None, first: Path) -> Featurizer:
    """Return the featurizer if it is fitted, to this topology, or a clone that is."""
    if not isinstance(featurizer, Featurizer):
        raise TypeError(
            f"Expected a featurizer of latflow.featurizers, got {type(featurizer).__name__}."
        )
    if not hasattr(featurizer, "topology_"):
        return clone(featurizer).fit(read_topology(topology, first))  # type: ignore[no-any-return]
    if topology is not None:
        check_topology(find_topology(read_topology(topology, first)), featurizer.topology_)
    return featurizer


def _folder(out: FilePath) -> Path:
    """Make the folder for the features, in one that exists."""
    folder = Path(out)
    if not folder.parent.is_dir():
        raise FileNotFoundError(f"Expected `out` in an existing folder, got {folder}.")
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"Expected `out` to be a folder, got the file {folder}.")
    folder.mkdir(exist_ok=True)
    return folder
