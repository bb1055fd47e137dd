"""Trajectory files, a chunk of frames at a time, and what can be wrong with them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from scipy.io import netcdf_file

from latflow._typing import FloatArray
from latflow._validation import import_extra, muted

if TYPE_CHECKING:
    import mdtraj


EXTENSIONS = (".xtc", ".dcd", ".trr", ".nc", ".h5", ".pdb")
NETCDF_HINT = ".*'netCDF4' Python package is not"  # a faster library, at every file
WITH_TOPOLOGY = (".h5", ".pdb")
WITH_COORDINATES = (".pdb", ".gro", ".h5", ".cif")
WITH_TIMES = (".xtc", ".trr", ".nc", ".h5")
BYTES_PER_CHUNK = 16_000_000  # of coordinates, before anything is computed from them
MOST_FRAMES = 10_000

FilePath: TypeAlias = str | os.PathLike[str]
Topology: TypeAlias = "FilePath | mdtraj.Topology | mdtraj.Trajectory"


class CorruptFile(Exception):
    """A file, or its rest, cannot be read; the message says why."""


def check_files(
    paths: FilePath | Sequence[FilePath], extensions: Sequence[str] = EXTENSIONS
) -> list[Path]:
    """Return paths of existing files, each with one of the extensions if there are any."""
    files = [Path(path) for path in ([paths] if isinstance(paths, str | os.PathLike) else paths)]
    if not files:
        raise ValueError("Expected at least one file, got none.")
    for file in files:
        if extensions and file.suffix not in extensions:
            raise ValueError(f"Expected a file ending in {', '.join(extensions)}, got {file}.")
        if not file.is_file():
            raise FileNotFoundError(f"Expected an existing file, got {file}.")
    if any(file.suffix == ".h5" for file in files):
        import_extra("tables", "h5")
    return files


def read_topology(topology: Topology | None, first: Path) -> mdtraj.Topology | mdtraj.Trajectory:
    """Return a Topology, or a Trajectory of one frame where there are coordinates.

    Parameters
    ----------
    topology : path, mdtraj.Topology, mdtraj.Trajectory, or None
        None takes that of the file `first`.
    first : Path
    """
    import mdtraj

    if topology is None:
        if first.suffix not in WITH_TOPOLOGY:
            raise ValueError(
                f"Expected `topology` (a structure file or an mdtraj.Topology) for {first}, which "
                "does not name its atoms, got None."
            )
        topology = first
    if not isinstance(topology, str | os.PathLike):
        return topology
    (file,) = check_files(topology, ())
    try:
        if file.suffix in WITH_COORDINATES:
            return mdtraj.load_frame(str(file), 0)
        return mdtraj.load_topology(str(file))
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise ValueError(
            f"Expected `topology` to be a file that mdtraj can read, got {file}: {_line(error)}."
        ) from error


def check_atoms_and_times(files: Sequence[Path], n_atoms: int) -> float | None:
    """Look at the first frames of all files; return the time, in ps, from one to the next.

    Files that cannot be read are passed over, and so are the times of formats without times.

    Raises
    ------
    ValueError
        If a file has another number of atoms, or files differ in the time between frames.
    """
    steps = []
    for file in files:
        with suppress(CorruptFile):
            n_in_file, times = _head(file)
            if n_in_file != n_atoms:
                raise ValueError(
                    f"Expected {n_atoms} atoms, as in the topology, got {n_in_file} in {file}."
                )
            if len(times) > 1 and times[1] > times[0]:
                steps.append((file, float(times[1] - times[0]), time_error(times)))
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


def _head(file: Path) -> tuple[int, Sequence[float]]:
    """Return the number of atoms, and the first two frames' times where the format has them."""
    import mdtraj

    if file.suffix == ".pdb":
        with file.open(errors="replace") as lines:
            model = takewhile(lambda line: not line.startswith("ENDMDL"), lines)
            return sum(line.startswith(("ATOM", "HETATM")) for line in model), ()
    with _reading(), mdtraj.open(str(file)) as trajectory:
        frames = trajectory.read(n_frames=2)
        return frames[0].shape[1], frames[1] if file.suffix in WITH_TIMES else ()


def times_of(file: Path, stride: int = 1) -> FloatArray | None:
    """Return the time of every stride-th frame in ps, or None where a format has no times.

    Raises
    ------
    ValueError
        If the file cannot be read.
    """
    import mdtraj

    if file.suffix not in WITH_TIMES:
        return None
    try:
        n_atoms, _ = _head(file)
        chunk = int(np.clip(BYTES_PER_CHUNK // (12 * n_atoms), 1, MOST_FRAMES))
        with _reading(), mdtraj.open(str(file)) as trajectory:
            starts = range(0, len(trajectory), chunk)
            times = [trajectory.read(n_frames=chunk, atom_indices=[0])[1] for _ in starts]
    except CorruptFile as error:
        raise ValueError(f"Expected times of frames in {file}, got {error}.") from error
    return np.concatenate([np.empty(0), *map(np.asarray, times)])[::stride]


def chunks_of(
    file: Path, topology: mdtraj.Topology, *, stride: int, chunk: int | None
) -> Iterator[mdtraj.Trajectory]:
    """Yield an mdtraj.Trajectory for every `chunk` frames that `stride` leaves.

    Raises
    ------
    CorruptFile
        If the file is empty, truncated or corrupt.
    """
    import mdtraj

    _check_whole(file)
    if chunk is None:
        chunk = int(np.clip(BYTES_PER_CHUNK // (12 * topology.n_atoms), 1, MOST_FRAMES))
    known = {} if file.suffix in WITH_TOPOLOGY else {"top": topology}
    source = mdtraj.iterload(str(file), chunk=chunk, stride=stride, **known)
    frames = None
    while True:
        with _reading():  # only while mdtraj reads, not while the caller computes
            following = next(source, None)
        if following is None:
            break
        frames = following
        yield frames
    if frames is None:
        raise CorruptFile("no frames")


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
    import mdtraj

    is_pdb = file.suffix == ".pdb"
    known = {} if file.suffix in WITH_TOPOLOGY else {"topology": topology}
    with _reading():
        source = mdtraj.load_pdb(str(file)) if is_pdb else mdtraj.open(str(file))
        n_frames = len(source)
    check_kept(n_frames, n_kept, stride, str(file))
    if is_pdb:
        return source[np.asarray(frames)]
    with source, _reading():
        read = []
        for frame in frames:
            source.seek(int(frame))
            read.append(source.read_as_traj(n_frames=1, **known))
        return mdtraj.join(read)


def check_kept(n_frames: int, n_kept: int, stride: int, where: str) -> None:
    """Raise where every stride-th of `n_frames` frames are not `n_kept`."""
    n_found = -(-n_frames // stride)
    if n_found != n_kept:
        raise ValueError(
            f"Expected {n_kept} frames in {where} with stride {stride}, as there are features, got "
            f"{n_found} ({n_frames} in all)."
        )


@contextmanager
def _reading() -> Iterator[None]:
    """Turn whatever mdtraj raises on a bad file into a CorruptFile."""
    try:
        with muted(NETCDF_HINT):
            yield
    except MemoryError:
        raise
    except Exception as error:
        raise CorruptFile(_line(error)) from error


def _check_whole(file: Path) -> None:
    """Find the truncations at which mdtraj stops without a word."""
    import mdtraj

    if file.suffix in (".xtc", ".trr") and file.stat().st_size % 4:
        raise CorruptFile("it ends within a number")
    if file.suffix == ".nc":
        # The netCDF4 package, if installed, fills what the header promises with zeros; NetCDF 4 is
        # HDF5, which says so itself, and a TypeError here.
        with _reading(), suppress(TypeError):
            netcdf_file(str(file), mmap=True).close()
    if file.suffix == ".dcd":
        with _reading(), mdtraj.open(str(file)) as trajectory:
            n_frames = len(trajectory)
        for order in "<>":
            head = np.fromfile(file, f"{order}i4", 3)  # 84 bytes follow: CORD, number of frames
            if len(head) == 3 and head[0] == 84 and n_frames < head[2]:
                raise CorruptFile(f"its header says {head[2]} frames, it holds {n_frames}")


def _line(error: BaseException) -> str:
    """Return an error's message as one line without a full stop."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
