"""Trajectory files, a chunk of frames at a time, and what can be wrong with them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, suppress
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from latflow._typing import BoolArray, FloatArray, IntArray
from latflow._validation import warn
from latflow.featurizers.containment import contained
from latflow.featurizers.formats import (
    EXTENSIONS,
    SEEKABLE,
    TOPOLOGIES,
    WHOLE,
    WITH_TIMES,
    WITH_TOPOLOGY,
    CorruptFile,
    alternate_locations,
    check_libraries,
    check_whole,
    dcd_header,
    described,
    format_of,
    load_topology,
    load_whole,
    opened,
    reading,
    whole_part,
)

if TYPE_CHECKING:
    import mdtraj


BYTES_PER_CHUNK = 16_000_000  # of coordinates, before anything is computed from them
MOST_FRAMES = 10_000
FIRST_FRAMES = 33  # whose median gap is the time step

FilePath: TypeAlias = str | os.PathLike[str]
Topology: TypeAlias = "FilePath | mdtraj.Topology | mdtraj.Trajectory"


def check_files(
    paths: FilePath | Sequence[FilePath], extensions: Sequence[str] = EXTENSIONS
) -> list[Path]:
    """Return paths of existing files, each with one of the extensions if there are any."""
    files = [Path(path) for path in ([paths] if isinstance(paths, str | os.PathLike) else paths)]
    if not files:
        raise ValueError("Expected at least one file, got none.")
    for file in files:
        if extensions and format_of(file) not in extensions:
            raise ValueError(f"Expected a file ending in {', '.join(extensions)}, got {file}.")
        if not file.is_file():
            raise FileNotFoundError(f"Expected an existing file, got {file}.")
    check_libraries(files)
    return files


def read_topology(topology: Topology | None, first: Path) -> mdtraj.Topology | mdtraj.Trajectory:
    """Return a Topology, or a Trajectory of one frame where there are coordinates.

    Parameters
    ----------
    topology : path, mdtraj.Topology, mdtraj.Trajectory, or None
        None takes that of the file `first`.
    first : Path

    Warns
    -----
    UserWarning
        If a PDB file has atoms at several places, of which the first counts.
    """
    if topology is None:
        if format_of(first) not in WITH_TOPOLOGY:
            raise ValueError(
                f"Expected `topology` (a structure file or an mdtraj.Topology) for {first}, which "
                "does not name its atoms, got None."
            )
        topology = first
    if not isinstance(topology, str | os.PathLike):
        return topology
    (file,) = check_files(topology, ())
    kind = format_of(file)
    if kind not in TOPOLOGIES:
        raise ValueError(
            f"Expected `topology` in a format that names atoms ({', '.join(TOPOLOGIES)}), "
            f"got {file}."
        )
    try:
        if kind == ".h5":
            return next(contained(lambda: [load_topology(file)]))
        structure = load_topology(file)
    except CorruptFile as error:
        raise ValueError(
            f"Expected `topology` that mdtraj can read, got {file}, which it cannot read as "
            f"{described(file)} ({error}): write it anew with the program it came from, or take "
            f"a file of another format ({', '.join(sorted(set(TOPOLOGIES) - {kind}))})."
        ) from error
    say_alternate_locations(file)
    return structure


def say_alternate_locations(file: Path) -> None:
    """Warn where a PDB file has atoms at several places."""
    if names := alternate_locations(file):
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        warn(
            f"{file} has alternate locations ({', '.join(names[:3])}{more}): the first of each "
            "atom is taken."
        )


def check_atoms_and_times(
    files: Sequence[Path], n_atoms: int, strides: Sequence[int]
) -> float | None:
    """Look at the first frames of all files; return the time, in ps, between those to be kept.

    Files that cannot be read are passed over, and so are the times of formats without times.

    Raises
    ------
    ValueError
        If a file has another number of atoms, or files differ in the time between frames.
    """
    steps = []
    for file, stride, head in zip(files, strides, _heads(files, n_atoms), strict=True):
        if head is None:
            continue
        n_in_file, times = head
        if n_in_file != n_atoms:
            raise ValueError(
                f"Expected {n_atoms} atoms, as in the topology, got {n_in_file} in {file}."
            )
        gaps = np.diff(times)
        if len(gaps) and np.median(gaps) > 0:
            steps.append((file, stride * float(np.median(gaps)), stride * time_error(times)))
    return common_step(steps, " ps")


def common_step(steps: Sequence[tuple[Path, float, float]], unit: str = "") -> float | None:
    """Return the time between frames of all files, from the most exact one; None where none is.

    Parameters
    ----------
    steps : sequence of (Path, float, float)
        Each file with its time between frames and the error of that.
    unit : str, default=""
        Unit of time for the message, with a space in front.

    Raises
    ------
    ValueError
        If files differ by more than their errors.
    """
    if not steps:
        return None
    exact, step, error = min(steps, key=lambda known: known[2])
    for file, other, other_error in steps:
        if abs(other - step) > error + other_error:
            raise ValueError(
                f"Expected the same time between frames in all files, got {step:g}{unit} in "
                f"{exact} and {other:g}{unit} in {file}."
            )
    return step


def time_error(times: ArrayLike) -> float:
    """Return the resolution of differences of times, which files hold in single precision."""
    return float(2 * np.spacing(np.float32(np.abs(times).max())) + 1e-6 * np.ptp(times))


def _heads(files: Sequence[Path], n_atoms: int) -> Iterator[tuple[int, FloatArray] | None]:
    """Yield what :func:`_head` says of each file, None where it cannot be read."""

    def heads() -> Iterator[tuple[int, FloatArray] | None]:
        for file in files[done:]:
            try:
                yield _head(file, n_atoms)
            except CorruptFile:
                yield None

    done = 0
    while done < len(files):
        with suppress(CorruptFile):  # where a file stops what reads it
            for head in contained(heads):
                done += 1
                yield head
        if done < len(files):
            done += 1
            yield None


def _head(file: Path, n_atoms: int) -> tuple[int, FloatArray]:
    """Return the number of atoms, and the first frames' times where the format has them."""
    kind = format_of(file)
    if kind in WHOLE:
        if kind in WITH_TOPOLOGY:
            return load_whole(file).n_atoms, np.empty(0)
        with reading(), opened(file) as restart:
            return restart.n_atoms, np.empty(0)
    at_most = int(np.clip(BYTES_PER_CHUNK // (12 * n_atoms), 2, FIRST_FRAMES))
    with opened(file, n_atoms) as trajectory, reading():
        frames = trajectory.read(n_frames=at_most)
    coordinates = frames if isinstance(frames, np.ndarray) else frames[0]
    times = frames[1] if kind in WITH_TIMES else None
    if kind == ".dcd" and (header := dcd_header(file)) and header[1]:
        times = [0.0, header[1]]
    some = np.asarray([] if times is None else times, np.float64)
    return coordinates.shape[1], some if some.ndim else np.empty(0)


def times_of(file: Path, stride: int = 1, *, partial: bool = False) -> FloatArray | None:
    """Return the times in ps of the frames that are taken of a file: None where it has none.

    These are every stride-th frame but those that repeat the one before. Of a file that is cut
    off, or still written, the times before its end where `partial`. Times that are all the same
    are none: programs that know no times write zeros.

    Raises
    ------
    ValueError
        If the file cannot be read.
    """
    if format_of(file) not in WITH_TIMES:
        return None
    parts: list[FloatArray] = [np.empty(0)]
    try:
        parts += contained(lambda: _times(file, stride, partial))
    except CorruptFile as error:
        raise ValueError(f"Expected times of frames in {file}, got {error}.") from error
    times = np.concatenate(parts)
    return None if len(times) > 1 and not np.ptp(times) else times


def _times(file: Path, stride: int, partial: bool) -> Iterator[FloatArray]:
    """Yield times, one by one where the end is looked for: a chunk that fails is lost."""
    times = Times(file, 1.0)
    with opened(file) as trajectory:
        with reading():
            n_atoms = trajectory.read(n_frames=1)[0].shape[1]
            trajectory.seek(0)
            n_frames = len(trajectory)
        chunk = 1 if partial else int(np.clip(BYTES_PER_CHUNK // (12 * n_atoms), 1, MOST_FRAMES))
        with suppress(CorruptFile) if partial else nullcontext(), reading():
            for begin in range(0, n_frames, chunk):
                read = trajectory.read(n_frames=chunk)[:2]
                xyz, time = (array[-begin % stride :: stride] for array in read)
                if len(time):
                    same = times.repeats(SimpleNamespace(time=time, xyz=xyz))
                    yield np.asarray(time, np.float64)[~same]


def chunks_of(
    file: Path,
    topology: mdtraj.Topology,
    *,
    stride: int,
    chunk: int | None,
    cut: list[str] | None = None,
) -> Iterator[mdtraj.Trajectory]:
    """Yield an mdtraj.Trajectory for every `chunk` frames that `stride` leaves.

    Of a file that is cut off, or still written, those before its end where `cut` is a list: it
    takes what is wrong.

    Raises
    ------
    CorruptFile
        If the file is empty, truncated or corrupt; with `cut`, if no frame can be read.
    """
    import mdtraj

    source = contained(lambda: _sent(file, topology, stride, chunk, cut))
    while True:
        own, arrays, wrong = next(source)
        if arrays is None:
            break
        topology = topology if own is None else own
        yield mdtraj.Trajectory(arrays[0], topology, *arrays[1:])
    if cut is not None:
        cut += wrong


def _sent(
    file: Path, topology: mdtraj.Topology, stride: int, chunk: int | None, cut: list[str] | None
) -> Iterator[tuple[Any, ...]]:
    """Yield the file's own topology, once if at all, and chunks' arrays; at last what is wrong."""
    has_own = format_of(file) in WITH_TOPOLOGY
    for frames in _read(file, topology, stride, chunk, cut):
        if frames.topology is None:
            raise CorruptFile("it does not name its atoms")
        cell = frames.unitcell_lengths, frames.unitcell_angles
        yield frames.topology if has_own else None, (frames.xyz, frames.time, *cell), ()
        has_own = False
    yield None, None, cut


def _read(
    file: Path, topology: mdtraj.Topology, stride: int, chunk: int | None, cut: list[str] | None
) -> Iterator[mdtraj.Trajectory]:
    """Yield chunks; what is wrong with a file goes into `cut`, if that is a list."""
    if chunk is None:
        chunk = int(np.clip(BYTES_PER_CHUNK // (12 * topology.n_atoms), 1, MOST_FRAMES))
    if cut is not None:
        chunks = _joined(_before_the_end(file, topology, stride, cut), chunk)
    else:
        check_whole(file, topology.n_atoms)
        chunks = _chunks(file, topology, chunk, stride)
    frames = None
    for frames in chunks:
        yield frames
    if frames is None:
        raise CorruptFile("no frames")


def _chunks(
    file: Path, topology: mdtraj.Topology, chunk: int, stride: int
) -> Iterator[mdtraj.Trajectory]:
    read = _slices if format_of(file) in WHOLE else _stream
    return read(file, topology, chunk, stride)


def _before_the_end(
    file: Path, topology: mdtraj.Topology, stride: int, cut: list[str]
) -> Iterator[mdtraj.Trajectory]:
    """Yield single frames, as a reader that fails loses all the frames that it was asked for."""
    try:
        check_whole(file, topology.n_atoms)
    except CorruptFile as error:
        cut.append(str(error))
    with whole_part(file, topology.n_atoms) as (part, n_frames):
        single = _chunks(part, topology, 1, stride)
        try:
            yield from single if n_frames is None else islice(single, -(-n_frames // stride))
        except CorruptFile as error:
            cut.append(str(error))


def _joined(frames: Iterator[mdtraj.Trajectory], chunk: int) -> Iterator[mdtraj.Trajectory]:
    import mdtraj

    while some := list(islice(frames, chunk)):
        yield mdtraj.join(some)


def _slices(
    file: Path, topology: mdtraj.Topology, chunk: int, stride: int
) -> Iterator[mdtraj.Trajectory]:
    frames = load_whole(file, topology)[::stride]
    yield from (frames[k : k + chunk] for k in range(0, len(frames), chunk))


def _stream(
    file: Path, topology: mdtraj.Topology, chunk: int, stride: int
) -> Iterator[mdtraj.Trajectory]:
    known = () if format_of(file) in WITH_TOPOLOGY else (topology,)
    done, whole = 0, True
    with opened(file, topology.n_atoms) as source:
        promised = -(-len(source) // stride) if format_of(file) == ".dcd" else 0
        while True:
            with reading():
                frames = source.read_as_traj(*known, n_frames=chunk, stride=stride)
            if len(frames) and whole:
                yield frames
                done += len(frames)
                whole = len(frames) in (chunk, -(-chunk // stride))
            elif len(frames) or done < promised:  # mdtraj leaves a damaged frame out, and goes on
                raise CorruptFile(f"it cannot be read from frame {done * stride} on")
            else:
                return


class Times:
    """The times of a file as it is read: frames that come twice, and gaps.

    Parameters
    ----------
    file : Path
    time_step : float or None
        Between frames, in ps.
    """

    def __init__(self, file: Path, time_step: float | None) -> None:
        self.file = file
        self.time_step = time_step if format_of(file) in WITH_TIMES else None
        self.last: tuple[Any, Any] | None = None
        self.repeated: list[float] = []
        self.gap = ""

    def without_repeats(self, frames: mdtraj.Trajectory) -> mdtraj.Trajectory:
        """Return the frames but those that repeat the one before at the same time."""
        same = self.repeats(frames)
        return frames[~same] if same.any() else frames

    def repeats(self, frames: mdtraj.Trajectory | SimpleNamespace) -> BoolArray:
        """Whether each frame repeats the one before at the same time; their times are noted."""
        if self.time_step is None:
            return np.zeros(len(frames), bool)
        times, xyz = np.asarray(frames.time), frames.xyz
        same = np.zeros(len(times), bool)
        same[1:] = times[1:] == times[:-1]
        if self.last is not None:
            same[0] = times[0] == self.last[0]
        for k in np.flatnonzero(same):
            before = self.last[1] if k == 0 and self.last is not None else xyz[k - 1]
            same[k] = np.array_equal(before, xyz[k])
        self._note(times[~same])
        self.repeated += times[same].tolist()
        self.last = times[-1], xyz[-1]
        return same

    def _note(self, times: FloatArray) -> None:
        """Note the first gap that is no time step."""
        step = self.time_step or 0.0
        times = times if self.last is None else np.r_[self.last[0], times]
        gaps = np.diff(times)
        tolerance = time_error(times) + 1e-3 * step if len(times) else 0.0
        wrong = np.flatnonzero(np.abs(gaps - step) > tolerance)
        if len(wrong) and not self.gap:
            k = wrong[0]
            self.gap = f"{gaps[k]:g} ps instead of {step:g} ps before {times[k + 1]:g} ps"

    def said(self) -> list[str]:
        """Return a sentence for each oddity."""
        sentences = []
        if self.repeated:
            sentences.append(
                f"{self.file} repeats {len(self.repeated)} frames at the same time, as joined "
                f"files do (the first at {self.repeated[0]:g} ps): each is taken once."
            )
        if self.gap:
            sentences.append(f"The times in {self.file} are not evenly spaced: {self.gap}.")
        return sentences


def frames_of(
    file: Path, topology: mdtraj.Topology, frames: Sequence[int], *, n_kept: int, stride: int
) -> mdtraj.Trajectory:
    """Read some frames of a file.

    Parameters
    ----------
    file : Path
    topology : mdtraj.Topology
    frames : sequence of int
        Indices in the file, ascending.
    n_kept, stride : int
        The file is checked to have `n_kept` frames with this stride.

    Returns
    -------
    mdtraj.Trajectory

    Raises
    ------
    ValueError
        If the file does not hold `n_kept` frames with this stride.
    CorruptFile
        If it cannot be read.
    """
    return next(
        contained(lambda: [_frames_of(file, topology, frames, n_kept=n_kept, stride=stride)])
    )


def _frames_of(
    file: Path, topology: mdtraj.Topology, frames: Sequence[int], *, n_kept: int, stride: int
) -> mdtraj.Trajectory:
    import mdtraj

    if format_of(file) not in SEEKABLE:
        return _picked(file, topology, np.asarray(frames), n_kept, stride)
    known = () if format_of(file) in WITH_TOPOLOGY else (topology,)
    with opened(file, topology.n_atoms) as source:
        with reading():
            n_frames = len(source)
        read = []
        if -(-n_frames // stride) > n_kept:
            places = _places(file, topology, stride)
            if len(places) == n_kept:
                frames, n_frames = places[np.asarray(frames) // stride].tolist(), n_kept * stride
        check_kept(n_frames, n_kept, stride, str(file))
        with reading():
            for frame in frames:
                source.seek(int(frame))
                read.append(source.read_as_traj(*known, n_frames=1))
            return mdtraj.join(read)


def _places(file: Path, topology: mdtraj.Topology, stride: int) -> IntArray:
    """Return the indices in the file of the frames that are kept: those that repeat none."""
    times, places, done = Times(file, 1.0), [np.empty(0, np.int64)], 0
    for block in chunks_of(file, topology, stride=stride, chunk=None):
        same = times.repeats(block)
        places.append(done + stride * np.flatnonzero(~same))
        done += stride * len(block)
    return np.concatenate(places)


def _picked(
    file: Path, topology: mdtraj.Topology, frames: IntArray, n_kept: int, stride: int
) -> mdtraj.Trajectory:
    """Read a file from its start to its end for some frames."""
    import mdtraj

    done, picked = 0, []
    for block in chunks_of(file, topology, stride=1, chunk=None):
        inside = frames[(frames >= done) & (frames < done + len(block))] - done
        picked += [block[inside]] if len(inside) else []
        done += len(block)
    check_kept(done, n_kept, stride, str(file))
    return mdtraj.join(picked)


def check_kept(n_frames: int, n_kept: int, stride: int, where: str) -> None:
    """Raise where every stride-th of `n_frames` frames are not `n_kept`."""
    n_found = -(-n_frames // stride)
    if n_found != n_kept:
        raise ValueError(
            f"Expected {n_kept} frames in {where} with stride {stride}, as there are features, got "
            f"{n_found} ({n_frames} in all)."
        )
