"""Trajectory files to features, a chunk of frames at a time."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.utils import Bunch
from tqdm import tqdm

from latflow._validation import check_count, check_per_trajectory
from latflow._writing import replacing
from latflow.featurizers.base import Features, Featurizer, check_topology, find_topology
from latflow.featurizers.manifest import (
    Manifest,
    Record,
    Settings,
    checksum,
    write_array,
)
from latflow.featurizers.readers import (
    CorruptFile,
    FilePath,
    check_atoms_and_times,
    check_files,
    chunks_of,
    read_topology,
    time_error,
)

__all__ = ["UnreadableFileError", "featurize", "load_features"]


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
    topology: Any,
    featurizer: Featurizer,
    *,
    stride: int = 1,
    chunk: int | None = None,
    out: FilePath | None = None,
    temperature: float | Sequence[float] | None = None,
    n_jobs: int | None = None,
    progress: bool = False,
) -> Bunch:
    """Compute the features of trajectory files, which may be larger than memory.

    Each file is read in chunks of frames and is one trajectory. With `out`, features go to disk
    as they come, and memory does not grow with the number of frames; a run that was killed goes on
    where it stopped, as files found finished there are not read again.

    Parameters
    ----------
    paths : path or sequence of path
        Files ending in .xtc, .dcd, .trr, .nc, .h5 or .pdb. A .pdb is read whole.
    topology : path, mdtraj.Topology, mdtraj.Trajectory, or None
        None takes that of the first file, where that is a .pdb or .h5.
    featurizer : featurizer
        One that is fitted is used as it is, another is fitted to the topology (with its
        coordinates, where it is a structure).
    stride : int, default=1
        Take every stride-th frame.
    chunk : int, optional
        Frames held at a time; about 16 MB of coordinates if not given.
    out : path, optional
        Folder for a memory map (.npy) per file and ``manifest.json``; made if it does not exist.
        Only one run at a time may write to it.
    temperature : float or sequence of float, optional
        Of each file, or of all; in K.
    n_jobs : int, optional
        Files read at a time, through joblib and its current backend (Dask, too).
    progress : bool, default=False
        Show a progress bar.

    Returns
    -------
    data : Bunch
        ``trajectories`` (list of arrays of float32 (n_frames_i, n_features), with `out` read-only
        memory maps), ``temperature`` (list of floats, or None), ``time_step`` (between the frames
        kept, in ps; None where no file holds times, as .dcd and .pdb do not), ``feature_names``,
        ``paths`` and ``stride``.

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
        If the times in a file are not evenly spaced.
    """
    files = check_files([paths] if isinstance(paths, str | os.PathLike) else list(paths))
    temperatures = check_per_trajectory(temperature, len(files), "temperature")
    check_count(stride, "stride")
    if chunk is not None:
        check_count(chunk, "chunk")
    featurizer = _fitted(featurizer, topology, files[0])
    step = check_atoms_and_times(files, featurizer.topology_.n_atoms)
    manifest = None if out is None else Manifest.open(_folder(out), Settings.of(featurizer, stride))
    job = _Job(featurizer, stride, chunk, step, manifest)
    tasks = [delayed(job)(k, *each) for k, each in enumerate(zip(files, temperatures, strict=True))]
    results = _Results(files, temperatures, job)
    parallel = Parallel(n_jobs=n_jobs, return_as="generator_unordered")
    with tqdm(total=len(files), unit="file", desc="featurize", disable=not progress) as bar:
        for number, result in parallel(tasks):
            results.add(number, result)
            bar.update()
    if manifest is not None:
        manifest.sweep()
    return results.bunch()


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
    for record in manifest.records:
        if not manifest.holds(record):
            raise ValueError(
                f"Expected {manifest.folder / record.array} with {record.frames} frames, as the "
                "manifest says, got none or another: run featurize again."
            )
    if manifest.unread:
        warnings.warn(
            f"{len(manifest.unread)} of {len(manifest.unread) + len(manifest.records)} files have "
            f"no features here: {', '.join(manifest.unread)}.",
            UserWarning,
            stacklevel=2,
        )
    return _stored(manifest)


@dataclass(frozen=True)
class _Result:
    """What became of one file: a record and, without a folder, an array; or an error."""

    record: Record | None = None
    array: Features | None = None
    uneven: str = ""
    error: str = ""


@dataclass(frozen=True)
class _Job:
    """How to read a file; sent to the processes that do."""

    featurizer: Featurizer
    stride: int
    chunk: int | None
    time_step: float | None
    manifest: Manifest | None

    @property
    def kept_step(self) -> float | None:
        """Time between the frames that are kept, in ps."""
        return None if self.time_step is None else self.time_step * self.stride

    def __call__(self, number: int, file: Path, temperature: float | None) -> tuple[int, _Result]:
        """Return the number of the task, and its result."""
        clock = _Clock(self.kept_step)
        try:
            if self.manifest is None:
                array = np.concatenate([*self._parts(file, clock)])
                return number, _Result(array=array, uneven=clock.uneven)
            record = self.manifest.finished(file)
            if record is None:
                record = self._store(file, clock, self.manifest)
            seen = file.stat().st_mtime_ns
            record = replace(record, source=os.path.abspath(file), mtime_ns=seen)
            return number, _Result(replace(record, temperature=temperature), uneven=clock.uneven)
        except CorruptFile as error:
            return number, _Result(error=str(error))

    def _parts(self, file: Path, clock: _Clock) -> Iterator[Features]:
        done = 0
        topology = self.featurizer.topology_
        for frames in chunks_of(file, topology, stride=self.stride, chunk=self.chunk):
            clock.see(frames.time)
            features = np.asarray(self.featurizer.transform(frames))
            wrong = ~np.isfinite(features).all(axis=1)
            if wrong.any():
                raise CorruptFile(f"features that are no numbers at frame {done + wrong.argmax()}")
            done += len(features)
            yield features

    def _store(self, file: Path, clock: _Clock, manifest: Manifest) -> Record:
        digest, status = checksum(file), file.stat()
        name = manifest.array_name(file, digest)
        width = len(manifest.settings.feature_names)
        with replacing(manifest.folder / name) as part, part.open("wb") as stream:
            frames = write_array(stream, self._parts(file, clock), width)
        return Record(str(file), digest, status.st_size, status.st_mtime_ns, frames, name)


@dataclass
class _Clock:
    """Watches whether times go on evenly, over the borders of chunks."""

    step: float | None
    uneven: str = ""
    last: float | None = None

    def see(self, times: Any) -> None:
        if self.step is None or self.uneven:
            return
        times = np.asarray(times, np.float64)
        steps = np.diff(times if self.last is None else np.r_[self.last, times])
        wrong = np.abs(steps - self.step) > time_error(times) + 1e-3 * self.step
        if wrong.any():
            at = times[-len(steps) :][wrong.argmax()]
            self.uneven = f"{steps[wrong][0]:g} ps instead of {self.step:g} ps before {at:g} ps"
        self.last = float(times[-1])


@dataclass
class _Results:
    """Results as they come in, in any order; the manifest grows with them."""

    files: list[Path]
    temperatures: list[float | None]
    job: _Job
    done: dict[int, _Result] = field(default_factory=dict)

    def add(self, number: int, result: _Result) -> None:
        self.done[number] = result
        if result.uneven:
            warnings.warn(
                f"The times in {self.files[number]} are not evenly spaced: {result.uneven}.",
                UserWarning,
                stacklevel=3,
            )
        if self.job.manifest is not None and result.record is not None:
            self._update(self.job.manifest)

    def _update(self, before: Manifest) -> None:
        """Write a manifest of what is done, and of what an earlier run did and nobody saw yet."""
        found = {k: r.record for k, r in self.done.items() if r.record is not None}
        earlier = {record.source: record for record in before.records}
        for k, file in enumerate(self.files):
            if k not in self.done and os.path.abspath(file) in earlier:
                found[k] = earlier[os.path.abspath(file)]
        rest = [k for k in range(len(self.files)) if k not in found]
        Manifest(
            before.folder,
            before.settings,
            records=[found[k] for k in sorted(found)],
            unread=[os.path.abspath(self.files[k]) for k in rest],
            time_step=self.job.kept_step,
        ).write()

    def bunch(self) -> Bunch:
        """Return the features, or raise an UnreadableFileError that holds those there are."""
        kept = [k for k in range(len(self.files)) if not self.done[k].error]
        manifest = self.job.manifest
        records = [self.done[k].record for k in kept]
        features = _bunch(
            [self.done[k].array for k in kept]
            if manifest is None
            else [manifest.load(record) for record in records if record is not None],
            [self.temperatures[k] for k in kept],
            self.job.kept_step,
            self.job.featurizer.feature_names_,
            [str(self.files[k]) for k in kept],
            self.job.stride,
        )
        failed = [f"{f} ({self.done[k].error})" for k, f in enumerate(self.files) if k not in kept]
        if failed:
            where = "in `features` of this error" if manifest is None else f"in {manifest.folder}"
            raise UnreadableFileError(
                f"Expected whole files, got {len(failed)} of {len(self.files)} that cannot be read "
                f"to their end: {'; '.join(failed)}. The features of the others are {where}.",
                features,
            )
        return features


def _bunch(
    trajectories: Sequence[Any],
    temperature: Sequence[float | None],
    time_step: float | None,
    feature_names: Sequence[str],
    paths: Sequence[str],
    stride: int,
) -> Bunch:
    return Bunch(
        trajectories=list(trajectories),
        temperature=None if None in temperature else list(temperature),
        time_step=time_step,
        feature_names=list(feature_names),
        paths=list(paths),
        stride=stride,
    )


def _stored(manifest: Manifest) -> Bunch:
    return _bunch(
        [manifest.load(record) for record in manifest.records],
        [record.temperature for record in manifest.records],
        manifest.time_step,
        manifest.settings.feature_names,
        [record.source for record in manifest.records],
        manifest.settings.stride,
    )


def _fitted(featurizer: Any, topology: Any, first: Path) -> Featurizer:
    """Return the featurizer if it is fitted, to this topology, or a clone that is."""
    if not isinstance(featurizer, Featurizer):
        raise TypeError(
            f"Expected a featurizer of latflow.featurizers, got {type(featurizer).__name__}."
        )
    fitted = hasattr(featurizer, "topology_")
    if fitted and topology is None:
        return featurizer
    structure = read_topology(topology, first)
    if fitted:
        check_topology(find_topology(structure), featurizer.topology_)
        return featurizer
    own: Featurizer = clone(featurizer)
    return own.fit(structure)


def _folder(out: FilePath) -> Path:
    """Make the folder for the features, in one that exists."""
    folder = Path(out)
    if not folder.parent.is_dir():
        raise FileNotFoundError(f"Expected `out` in an existing folder, got {folder}.")
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"Expected `out` to be a folder, got the file {folder}.")
    folder.mkdir(exist_ok=True)
    return folder
