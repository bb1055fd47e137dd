"""Formats of structure and trajectory files: what their suffixes mean, and mdtraj's readers."""

from __future__ import annotations

import gzip
import io
import os
import struct
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from latflow._validation import import_extra, muted

if TYPE_CHECKING:
    import mdtraj


NAMES = {
    ".xtc": "GROMACS .xtc", ".trr": "GROMACS .trr", ".dcd": "CHARMM, NAMD or OpenMM .dcd",
    ".nc": "AMBER NetCDF", ".h5": "mdtraj HDF5", ".pdb": "PDB", ".pdb.gz": "compressed PDB",
    ".cif": "mmCIF", ".gro": "GROMACS .gro", ".mdcrd": "AMBER .mdcrd", ".rst7": "AMBER restart",
    ".ncrst": "AMBER NetCDF restart", ".lammpstrj": "LAMMPS dump", ".prmtop": "AMBER .prmtop",
    ".psf": "CHARMM or NAMD .psf", ".mol2": "Tripos .mol2", ".arc": "TINKER .arc",
    ".hoomdxml": "HOOMD XML",
}  # fmt: skip
ALIASES = {
    ".ncdf": ".nc", ".netcdf": ".nc", ".hdf5": ".h5", ".ent": ".pdb", ".ent.gz": ".pdb.gz",
    ".mmcif": ".cif", ".pdbx": ".cif", ".inpcrd": ".rst7", ".restrt": ".rst7", ".parm7": ".prmtop",
    ".prm7": ".prmtop",
}  # fmt: skip
EXTENSIONS = tuple(NAMES)[:13]  # of trajectories
TOPOLOGIES = (".pdb", ".pdb.gz", ".cif", ".gro", ".h5", *tuple(NAMES)[13:])
WITH_TOPOLOGY = (".h5", ".pdb", ".pdb.gz", ".cif", ".gro")
WITH_TIMES = (".xtc", ".trr", ".nc", ".h5")
WRITTEN = (".xtc", ".dcd", ".trr", ".nc", ".h5", ".pdb")
WHOLE = (".pdb", ".pdb.gz", ".cif", ".gro", ".rst7", ".ncrst")  # whose frames mdtraj reads at once
SEEKABLE = (".xtc", ".trr", ".dcd", ".nc", ".h5")
NETCDF_HINT = ".*'netCDF4' Python package is not"  # a faster library, at every file
NETCDF = (b"CDF\x01", b"CDF\x02", b"CDF\x05", b"\x89HDF")
AKMA = 0.0488882129  # ps, the unit of time of .dcd
KNOWN_DCD = (b"OpenMM", b"NAMD")  # LAMMPS, mdtraj and VMD write other units, or none


class CorruptFile(Exception):
    """A file, or its rest, cannot be read; the message says why."""


def format_of(path: str | os.PathLike[str]) -> str:
    """Return the suffix that names a file's format, of several the usual one; upper case, too.

    Examples
    --------
    >>> format_of("RUN.NCDF"), format_of("1abc.pdb.gz"), format_of("run.part2.xtc")
    ('.nc', '.pdb.gz', '.xtc')
    """
    suffixes = [suffix.lower() for suffix in Path(path).suffixes]
    suffix = "".join(suffixes[-2:] if suffixes[-1:] == [".gz"] else suffixes[-1:])
    return ALIASES.get(suffix, suffix)


def described(path: str | os.PathLike[str]) -> str:
    """Return how sentences call a file's format."""
    return NAMES[format_of(path)]


@contextmanager
def reading() -> Iterator[None]:
    """Turn whatever mdtraj raises on a bad file into a CorruptFile."""
    try:
        with muted(NETCDF_HINT):
            yield
    except MemoryError as error:
        raise CorruptFile("it asks for more memory than there is") from error
    except CorruptFile:
        raise
    except Exception as error:
        raise CorruptFile(line_of(error)) from error


def line_of(error: BaseException) -> str:
    """Return an error's message as one line without a full stop."""
    text = " ".join(str(error).split()).rstrip(".")
    if isinstance(error, OSError | ValueError) and text:
        return text
    return f"{type(error).__name__} {text}".rstrip()


def load_topology(file: Path) -> mdtraj.Topology | mdtraj.Trajectory:
    """Return what a structure file says: a Trajectory of one frame where it has coordinates.

    Residues of AMBER's topologies are numbered from 1, as AMBER does.

    Raises
    ------
    CorruptFile
        If mdtraj cannot read it.
    """
    import mdtraj

    kind = format_of(file)
    with reading():
        if kind in WITH_TOPOLOGY:
            return _first_frame(file)
        topology = getattr(mdtraj, f"load_{kind[1:]}")(str(file))  # mdtraj.load asks for lower case
    if kind == ".prmtop":
        for residue in topology.residues:
            residue.resSeq = residue.index + 1
    return topology


def _first_frame(file: Path) -> mdtraj.Trajectory:
    if format_of(file) == ".h5":
        with opened(file) as source:
            return source.read_as_traj(n_frames=1)
    return load_whole(file)[0]


def load_whole(file: Path, topology: mdtraj.Topology | None = None) -> mdtraj.Trajectory:
    """Return all frames of a file in a format of few frames, such as .pdb and .rst7."""
    kind = _kind(file)
    known = {} if kind in WITH_TOPOLOGY else {"top": topology}
    with reading():
        return _registry().loaders[kind](str(file), **known)


def _registry() -> Any:
    from mdtraj.formats.registry import FormatRegistry

    return FormatRegistry


def _kind(file: Path) -> str:
    """Return the format, of AMBER's files by what is in them: they have one suffix for two."""
    kind = format_of(file)
    if kind in (".mdcrd", ".rst7"):
        with file.open("rb") as stream:
            if stream.read(4) in NETCDF:
                return ".nc" if kind == ".mdcrd" else ".ncrst"
    return kind


def opened(file: Path, n_atoms: int | None = None) -> Any:
    """Return mdtraj's reader of a file, open."""
    kind = _kind(file)
    options = {"n_atoms": n_atoms} if kind == ".mdcrd" else {}
    with reading():
        return _registry().fileobjects[kind](str(file), **options)


def check_whole(file: Path, n_atoms: int) -> None:
    """Find the truncations, and the units, that mdtraj passes over without a word.

    Raises
    ------
    CorruptFile
        If there are any.
    """
    kind = _kind(file)
    if kind in (".xtc", ".trr") and file.stat().st_size % 4:
        raise CorruptFile("it ends within a number")
    if kind == ".nc":
        _check_netcdf(file)
    if kind == ".dcd":
        with reading(), opened(file) as trajectory:
            n_frames = len(trajectory)
        header = dcd_header(file)
        if header is not None and n_frames < header[0]:
            raise CorruptFile(f"its header says {header[0]} frames, it holds {n_frames}")
    if kind in (".mdcrd", ".lammpstrj"):
        _check_lines(file, kind, n_atoms)
    if kind == ".pdb":
        _, end, rest = file.read_bytes().rpartition(b"\nENDMDL")
        if end and b"\nATOM " in rest:
            raise CorruptFile("it ends within a model")


def _check_netcdf(file: Path) -> None:
    """Refuse a file that is shorter than it says.

    The netCDF4 package, if installed, fills what the header promises with zeros; NetCDF 4 is HDF5,
    which says so itself.
    """
    from scipy.io import netcdf_file

    with file.open("rb") as stream:
        if stream.read(4) == NETCDF[-1]:
            return
    with reading():
        netcdf_file(str(file), mmap=True).close()


def _check_lines(file: Path, kind: str, n_atoms: int) -> None:
    """Refuse a text that ends within a frame, or holds coordinates that are no lengths."""
    with file.open("rb") as stream:
        head = stream.read(2000)
    if kind == ".lammpstrj" and (b" xs " in head or b" xsu " in head) and b" x " not in head:
        raise CorruptFile(
            "its coordinates are scaled by the box (xs ys zs): dump x y z, or xu yu zu"
        )
    if _frames_of_lines(file, kind, n_atoms) % 1:
        raise CorruptFile("it ends within a frame")


def _frames_of_lines(file: Path, kind: str, n_atoms: int) -> float:
    """Return how many frames a text holds; a last one that is cut off is a fraction."""
    if kind == ".lammpstrj":
        title, lines = 0, n_atoms + 9
    else:
        with opened(file, n_atoms) as source, reading():
            box = source.read(n_frames=1)[1]
        title, lines = 1, -(-3 * n_atoms // 10) + (box is not None)
    with file.open("rb") as stream:
        n_lines = sum(line.endswith(b"\n") or 0.5 for line in stream)
    return max(n_lines - title, 0.5) / lines


@contextmanager
def whole_part(file: Path, n_atoms: int) -> Iterator[tuple[Path, int | None]]:
    """Yield a path with the frames that are whole, and how many they are where that is known."""
    kind = _kind(file)
    if kind == ".pdb":
        text = file.read_bytes()
        end = text.rfind(b"ENDMDL")
        with TemporaryDirectory() as folder:
            part = Path(folder, file.name)
            part.write_bytes(text[:end] + b"ENDMDL\nEND\n" if end >= 0 else text)
            yield part, None
    elif kind == ".nc":
        yield file, _whole_records(file)
    elif kind in (".mdcrd", ".lammpstrj"):
        yield file, int(_frames_of_lines(file, kind, n_atoms))
    else:
        yield file, None


def _whole_records(file: Path) -> int | None:
    """Return how many frames a NetCDF 3 file holds, whatever its header says."""
    from scipy.io import netcdf_file

    content = bytearray(file.read_bytes())
    if content[:4] == NETCDF[-1] or len(content) < 8:
        return None

    def holds(n_frames: int) -> bool:
        content[4:8] = struct.pack(">i", n_frames)
        with suppress(Exception):
            netcdf_file(io.BytesIO(content), mmap=False).close()
            return True
        return False

    said = struct.unpack(">i", content[4:8])[0]
    return bisect_left(range(1, said + 1), True, key=lambda n: not holds(n))


def dcd_header(file: Path) -> tuple[int, float | None] | None:
    """Return the frames that the header of a .dcd counts and the time between them, in ps.

    The time is None where the program that wrote the file is not known to count in units of .dcd.
    """
    with file.open("rb") as stream:
        head = stream.read(1000)
    for order in "<>":
        if len(head) >= 100 and struct.unpack(f"{order}i", head[:4]) == (84,):
            n_frames, _, every = struct.unpack(f"{order}3i", head[8:20])
            (step,) = struct.unpack(f"{order}f", head[44:48])
            known = any(name in head[92:] for name in KNOWN_DCD)
            time_step = AKMA * step * every
            return n_frames, time_step if known and np.isfinite(step) and time_step > 0 else None
    return None


def alternate_locations(file: Path) -> list[str]:
    """Return names of atoms, as ALA3-CB, that a PDB file has at more than one place."""
    kind = format_of(file)
    if kind not in (".pdb", ".pdb.gz"):
        return []
    names: dict[str, None] = {}
    stream: Any = gzip.open if kind == ".pdb.gz" else open
    with suppress(OSError, EOFError), stream(file, "rt", errors="replace") as lines:
        for line in lines:
            if line.startswith("ENDMDL"):
                break
            if line.startswith(("ATOM", "HETATM")) and line[16:17].strip():
                residue = f"{line[17:20].strip()}{line[22:26].strip()}"
                names[f"{residue}-{line[12:16].strip()}"] = None
    return list(names)


def check_libraries(files: Sequence[Path]) -> None:
    """Raise an ImportError where a format needs a library that is not installed."""
    if any(format_of(file) == ".h5" for file in files):
        import_extra("tables", "h5")
