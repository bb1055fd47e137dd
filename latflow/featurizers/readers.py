"""Trajectory files, a chunk of frames at a time, and what can be wrong with them."""

from __future__ import annotations

import os
import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import netcdf_file

from latflow._validation import import_extra

__all__ = [
    "CorruptFile",
    "check_atoms_and_times",
    "check_files",
    "check_kept",
    "chunks_of",
    "frames_of",
    "read_topology",
]

EXTENSIONS = (".xtc", ".dcd", ".trr", ".nc", ".h5", ".pdb")
WITH_TOPOLOGY = (".h5", ".pdb")
WITH_COORDINATES = (".pdb", ".gro", ".h5", ".cif")
TIMES = {".xtc": 1, ".trr": 1, ".nc": 1, ".h5": 1}  # place of the times in what mdtraj reads
BYTES_PER_CHUNK = 16_000_000
MOST_FRAMES = 10_000

FilePath = str | os.PathLike[str]


class CorruptFile(Exception):
    """A file, or its rest, cannot be read; the message says why."""


def check_files(paths: Sequence[FilePath], extensions: Sequence[str] = EXTENSIONS) -> list[Path]:
    """Return paths of existing files with known extensions; any extension where none is given."""
    files = [Path(path) for path in paths]
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


def read_topology(topology: Any, first: Path) -> Any:
    """Return a Topology, or a Trajectory of one frame where there are coordinates.

    Parameters
    ----------
    topology : path, mdtraj.Topology, mdtraj.Trajectory, or None
        None means that of the file `first`.
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
    file = check_files([topology], ())[0]
    load = mdtraj.load_topology
    if file.suffix in WITH_COORDINATES:
        load = mdtraj.load_frame
    try:
        return load(str(file), *([0] if load is mdtraj.load_frame else []))
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
    known: tuple[float, float, Path] | None = None
    for file in files:
        try:
            found, times = _head(file)
        except CorruptFile:
            continue
        if found != n_atoms:
            raise ValueError(
                f"Expected {n_atoms} atoms, as in the topology, got {found} in {file}."
            )
        if times is None or len(times) < 2 or times[1] <= times[0]:
            continue
        step, error = float(times[1] - times[0]), time_error(times)
        if known is not None and abs(step - known[0]) > error + known[1]:
            raise ValueError(
                f"Expected the same time between frames in all files, got {known[0]:g} ps in "
                f"{known[2]} and {step:g} ps in {file}."
            )
        if known is None or error < known[1]:
            known = step, error, file
    return None if known is None else known[0]


def time_error(times: Any) -> float:
    """Resolution of differences of times, which files hold in single precision."""
    return float(2 * np.spacing(np.float32(np.abs(times).max())) + 1e-6 * np.ptp(times))


def _head(file: Path) -> tuple[int, Any]:
    """Number of atoms, and the times of the first two frames where the format holds times."""
    import mdtraj

    if file.suffix == ".pdb":
        return _count_pdb_atoms(file), None
    with _reading(), mdtraj.open(str(file)) as trajectory:
        frames = trajectory.read(n_frames=2)
        times = frames[TIMES[file.suffix]] if file.suffix in TIMES else None
        return frames[0].shape[1], times


def _count_pdb_atoms(file: Path) -> int:
    count = 0
    with file.open(errors="replace") as lines:
        for line in lines:
            if line.startswith("ENDMDL"):
                break
            count += line.startswith(("ATOM", "HETATM"))
    return count


def chunks_of(file: Path, topology: Any, *, stride: int, chunk: int | None) -> Iterator[Any]:
    """Yield an mdtraj.Trajectory for every `chunk` frames that `stride` leaves.

    Raises
    ------
    CorruptFile
        If the file is empty, truncated or corrupt.
    """
    _check_whole(file)
    if chunk is None:
        chunk = int(np.clip(BYTES_PER_CHUNK // (12 * topology.n_atoms), 1, MOST_FRAMES))
    done = 0
    for frames in _frames(file, topology, stride, chunk):
        done += len(frames)
        yield frames
    if not done:
        raise CorruptFile("no frames")


def _frames(file: Path, topology: Any, stride: int, chunk: int) -> Iterator[Any]:
    import mdtraj

    if file.suffix == ".pdb":  # mdtraj reads all of it; its chunks would only be copies
        with _reading():
            whole = mdtraj.load_pdb(str(file), stride=stride)
        yield whole
        return
    known = {} if file.suffix in WITH_TOPOLOGY else {"top": topology}
    source = mdtraj.iterload(str(file), chunk=chunk, stride=stride, **known)
    while True:
        with _reading():
            frames = next(source, None)
        if frames is None:
            return
        yield frames


def frames_of(file: Path, topology: Any, frames: Sequence[int], *, n_kept: int, stride: int) -> Any:
    """Read some frames of a file.

    Parameters
    ----------
    file : Path
    topology : mdtraj.Topology
    frames : sequence of int
        Indices in the file, ascending.
    n_kept, stride : int
        That stride leaves so many frames of the file is checked.

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

    if file.suffix == ".pdb":
        with _reading():
            whole = mdtraj.load_pdb(str(file))
        check_kept(len(whole), n_kept, stride, str(file))
        return whole[np.asarray(frames)]
    known = {} if file.suffix in WITH_TOPOLOGY else {"topology": topology}
    with _reading():
        source = mdtraj.open(str(file))
    with source:
        with _reading():
            n_frames = len(source)
        check_kept(n_frames, n_kept, stride, str(file))
        with _reading():
            return mdtraj.join([_one(source, frame, known) for frame in frames])


def _one(source: Any, frame: int, known: dict[str, Any]) -> Any:
    source.seek(int(frame))
    return source.read_as_traj(n_frames=1, **known)


def check_kept(n_frames: int, n_kept: int, stride: int, where: str) -> None:
    """Raise where every stride-th of `n_frames` frames are not `n_kept`."""
    if -(-n_frames // stride) != n_kept:
        raise ValueError(
            f"Expected {n_kept} frames in {where} with stride {stride}, as there are features, got "
            f"{-(-n_frames // stride)} ({n_frames} in all)."
        )


@contextmanager
def _reading() -> Iterator[None]:
    """Turn whatever mdtraj raises on a bad file into a CorruptFile."""
    try:
        with warnings.catch_warnings():
            # a hint at a faster library, at every file that is opened
            warnings.filterwarnings("ignore", ".*'netCDF4' Python package is not", UserWarning)
            yield
    except MemoryError:
        raise
    except Exception as error:
        raise CorruptFile(_line(error)) from error


def _check_whole(file: Path) -> None:
    """Find the truncations at which mdtraj stops without a word."""
    import mdtraj

    size = file.stat().st_size
    if file.suffix in (".xtc", ".trr") and size % 4:
        raise CorruptFile("it ends within a number")
    if file.suffix == ".nc":
        _check_netcdf(file)
    if file.suffix == ".dcd":
        promised = _promised_by_dcd(file)
        with _reading(), mdtraj.open(str(file)) as trajectory:
            found = len(trajectory)
        if found < promised:
            raise CorruptFile(f"its header says {promised} frames, it holds {found}")


def _check_netcdf(file: Path) -> None:
    """Read the header of a NetCDF 3 file: where it promises more than the file holds, say so.

    The netCDF4 package, if installed, fills what is missing with zeros.
    """
    try:
        netcdf_file(str(file), mmap=True).close()
    except TypeError:  # NetCDF 4, which is HDF5 and says so itself
        return
    except (ValueError, IndexError, OSError) as error:
        raise CorruptFile(_line(error)) from error


def _promised_by_dcd(file: Path) -> int:
    """Number of frames in the header of a .dcd file; 0 where it says none."""
    with file.open("rb") as stream:
        head = stream.read(12)
    for order in "<>":
        if head[:8] == struct.pack(f"{order}i", 84) + b"CORD":
            return int(struct.unpack(f"{order}i", head[8:])[0])
    return 0


def _line(error: BaseException) -> str:
    """Return an error's message as one line without a full stop."""
    text = " ".join(str(error).split()).rstrip(".")
    return text or type(error).__name__
