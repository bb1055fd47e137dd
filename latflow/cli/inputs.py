"""What a model is fitted to: arrays, trajectory files, or a folder of features."""

from __future__ import annotations

import argparse
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from latflow.cli.features import FEATURIZERS, featurizer_of
from latflow.featurizers import featurize, load_features
from latflow.featurizers.readers import EXTENSIONS, WITH_TOPOLOGY, check_files

__all__ = ["add_files", "add_molecules", "read_array", "read_features", "read_molecules"]

ARRAYS = (".npy", ".npz")
DEFAULT_FEATURES = ("torsions",)


def add_files(parser: argparse.ArgumentParser, *, positional: bool = True) -> None:
    """Add the files and their temperatures."""
    kinds = f"trajectory ({', '.join(EXTENSIONS)}), or"
    if positional:
        files = parser.add_argument(
            "files", nargs="+", action="extend", metavar="FILE",
            help=f"one trajectory each: a {kinds} an array of shape (n_frames, n_features) as "
            ".npy, or as .npz, alone or under the name `features`; or the one folder that `latflow "
            "featurize` wrote",
        )  # fmt: skip
        # with nargs="*" no file would be found behind an option
        files.required = False
    parser.add_argument(
        "--trajectory", nargs="+", action="extend", dest="files", metavar="FILE",
        help="the same as FILE" if positional else f"one trajectory each: {kinds} features as .npy",
    )  # fmt: skip
    parser.add_argument(
        "--temperature", nargs="+", action="extend", type=float, metavar="T",
        help="of each file, or one for all; in K (in energy units with --boltzmann-constant 1)",
    )  # fmt: skip


def add_molecules(parser: argparse.ArgumentParser) -> None:
    """Add what trajectory files need besides."""
    parser.add_argument(
        "--topology", metavar="FILE",
        help="a structure (.pdb, .gro, .prmtop, ...) that names the atoms of trajectory files",
    )  # fmt: skip
    parser.add_argument(
        "--features", nargs="+", action="extend", metavar="NAME",
        help=f"what to compute from trajectory files: {', '.join(FEATURIZERS)}, with options behind"
        " colons, as in distances:scheme=closest-heavy; default: torsions",
    )  # fmt: skip
    parser.add_argument(
        "--stride", type=int, metavar="N", help="take every N-th frame of trajectory files; "
        "default: 1",
    )  # fmt: skip
    parser.add_argument("--jobs", type=int, metavar="N", help="files read at a time; default: 1")


def read_features(arguments: argparse.Namespace) -> tuple[list[NDArray[Any]], list[float]]:
    """Return features and a temperature for each trajectory.

    Raises
    ------
    OSError, ValueError
        If a file or an option is wrong or missing.
    """
    files = arguments.files or []
    if not files:
        arguments.parser.error("Expected FILE, at least one trajectory, got none")
    if len(files) == 1 and Path(files[0]).is_dir():
        return _read_folder(arguments, files[0])
    if arguments.temperature is None:
        arguments.parser.error("Expected --temperature, one value or one per file, got none")
    temperature = one_each(arguments.temperature, len(files))
    if all(Path(file).suffix in EXTENSIONS for file in files):
        data = read_molecules(arguments, temperature)
        return data.trajectories, data.temperature
    for file in files:
        _check_suffix(Path(file))
    _check_no_molecules(arguments, "with arrays of features")
    arrays = [read_array(file, f"trajectory {k}", n_axes=2) for k, file in enumerate(files)]
    return arrays, temperature


def read_molecules(
    arguments: argparse.Namespace, temperature: Sequence[float] | None, out: Path | None = None
) -> Bunch:
    """Compute the features of trajectory files."""
    files, topology = check_files(arguments.files), arguments.topology
    if topology is None and files[0].suffix not in WITH_TOPOLOGY:
        raise ValueError(
            f"Expected --topology, a structure file such as a .pdb, as {files[0]} does not name "
            "its atoms, got none."
        )
    return featurize(
        files,
        topology,
        featurizer_of(arguments.features or DEFAULT_FEATURES),
        stride=1 if arguments.stride is None else arguments.stride,
        out=out,
        temperature=temperature,
        n_jobs=arguments.jobs,
        progress=sys.stderr.isatty(),
    )


def one_each(temperatures: Sequence[float], n_files: int) -> list[float]:
    """Return a temperature for each file."""
    if len(temperatures) not in (1, n_files):
        raise ValueError(
            f"Expected --temperature with one value, or one per file ({n_files}), "
            f"got {len(temperatures)}."
        )
    return list(temperatures) * (n_files if len(temperatures) == 1 else 1)


def _read_folder(
    arguments: argparse.Namespace, folder: str
) -> tuple[list[NDArray[Any]], list[float]]:
    _check_no_molecules(arguments, "with a folder of features")
    data = load_features(folder)
    given = arguments.temperature
    temperature = data.temperature if given is None else one_each(given, len(data.trajectories))
    if temperature is None:
        raise ValueError(f"Expected --temperature, as {folder} does not know it, got none.")
    return data.trajectories, temperature


def _check_no_molecules(arguments: argparse.Namespace, where: str) -> None:
    for name in ("topology", "features", "stride"):
        if getattr(arguments, name) is not None:
            raise ValueError(f"Expected --{name} with trajectory files only, got it {where}.")


def _check_suffix(path: Path) -> None:
    if path.suffix in EXTENSIONS:
        raise ValueError(
            f"Expected either trajectory files or arrays of features, got both: {path} is a "
            "trajectory."
        )
    if path.suffix not in ARRAYS:
        raise ValueError(
            f"Expected a file that ends in {' or '.join(ARRAYS)} (features) or in "
            f"{', '.join(EXTENSIONS)} (trajectory), got {path}."
        )


def read_array(file: str, role: str, *, n_axes: int) -> NDArray[Any]:
    """Read one array of numbers; the errors name the file and its role."""
    array = _load_array(Path(file))
    shape = "(n_frames, n_features)" if n_axes == 2 else "(n_frames,)"
    if array.ndim != n_axes or array.size == 0:
        raise ValueError(f"Expected {role} of shape {shape} in {file}, got {array.shape}.")
    if array.dtype.kind not in "fiu":
        raise ValueError(f"Expected {role} as real numbers in {file}, got {array.dtype}.")
    finite = np.isfinite(array).reshape(len(array), -1).all(axis=1)
    if not finite.all():
        raise ValueError(
            f"Expected finite numbers for {role} in {file}, got NaN or infinity in frame "
            f"{np.flatnonzero(~finite)[0]} ({(~finite).sum()} such frames in all)."
        )
    return array


def _load_array(path: Path) -> NDArray[Any]:
    if path.suffix not in ARRAYS:
        raise ValueError(f"Expected a file that ends in {' or '.join(ARRAYS)}, got {path}.")
    if not path.is_file():
        raise FileNotFoundError(f"Expected an array in {path}, found no such file.")
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return loaded
            names = ["features"] if "features" in loaded.files else loaded.files
            arrays = {name: loaded[name] for name in names}
    except (EOFError, zipfile.BadZipFile, ValueError) as error:
        raise ValueError(
            f"Expected an array of numbers in {path}, got a file that is damaged, of another kind "
            "or holds Python objects, which are never read."
        ) from error
    if len(arrays) != 1:
        raise ValueError(
            f"Expected one array, or one called `features`, in {path}, got "
            f"{', '.join(arrays) or 'none'}."
        )
    return np.asarray(arrays.popitem()[1])
