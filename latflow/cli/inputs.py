"""What a model is fitted to: arrays, trajectory files, or a folder of features."""

from __future__ import annotations

import re
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from glob import glob, has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import typer

import latflow
from latflow._typing import FloatArray
from latflow.cli.config import set_by_file
from latflow.cli.features import FEATURIZERS, featurizer_of

if TYPE_CHECKING:
    from sklearn.utils import Bunch

    from latflow.structures import Structures


ARRAYS = (".npy", ".npz")
EXTENSIONS = (  # in help, which loads no reader of files
    ".xtc, .trr, .dcd, .nc, .h5, .pdb, .pdb.gz, .cif, .gro, .mdcrd, .rst7, .ncrst, .lammpstrj"
)
DEFAULT_FEATURES = ("torsions",)
FILES: Any = typer.Argument(
    None,
    metavar="FILE",
    help=f"One trajectory each: a trajectory ({EXTENSIONS}), or an array of shape (n_frames, "
    "n_features) as .npy, or as .npz, alone or under the name `features`; or a COLVAR "
    "file of PLUMED; or the one folder that `latflow featurize` wrote.",
)
option = partial(typer.Option, None, rich_help_panel="Trajectories")


@dataclass(frozen=True)
class Trajectories:
    """What a model is fitted to; :func:`latflow.cli.command.with_options` makes the options."""

    trajectory: list[str] | None = option(
        metavar="FILE...", help=f"One trajectory each: {EXTENSIONS}, or features as .npy."
    )
    temperature: list[float] | None = option(
        metavar="T...",
        help="Temperature of each file, or one for all; in K (or energies: --boltzmann-constant 1)",
    )
    topology: str | None = option(
        metavar="FILE", help="Structure (.pdb, .gro, .prmtop, ...) that names the files' atoms."
    )
    features: list[str] | None = option(
        metavar="NAME...",
        show_default="torsions",
        help=f"What to compute from trajectory files: {', '.join(FEATURIZERS)}, with options "
        "behind colons, as in distances:scheme=closest-heavy.",
    )
    stride: list[int] | None = option(
        metavar="N...",
        show_default="1",
        help="Take every N-th frame of trajectory files: one for all, or one per file.",
    )
    partial: bool = typer.Option(
        False,
        "--partial",
        rich_help_panel="Trajectories",
        help="Take the frames before the end of files that are cut off or still written.",
    )
    jobs: int | None = option(metavar="N", show_default="1", help="Files read at a time.")
    bias: list[str] | None = option(
        metavar="COLUMN...",
        help="Columns of COLVAR files that add up to the energy of a bias, in kJ/mol, which "
        "weights undo; --features names columns, too.",
    )


def with_files(
    context: typer.Context, files: list[str] | None, trajectories: Trajectories
) -> Trajectories:
    """Add files without an option to them; a config file's count only where no other is named."""
    others = trajectories.trajectory or []
    files = [*(files or ()), *(() if files and set_by_file(context, "trajectory") else others)]
    if not files:
        raise ValueError("Expected FILE, at least one trajectory, got none.")
    return replace(trajectories, trajectory=expanded(files))


def check_once(files: Sequence[str], role: str) -> None:
    """Raise where one file, or links to it, stands for two trajectories."""
    seen: dict[tuple[int, int], str] = {}
    for file in files:
        if not Path(file).is_file():
            continue
        status = Path(file).stat()
        key = status.st_dev, status.st_ino
        if key in seen:
            raise ValueError(
                f"Expected every file of {role} once, got {seen[key]} and {file}, which are one "
                "file."
            )
        seen[key] = file


def expanded(texts: Sequence[str]) -> list[str]:
    """Return files, those that a pattern such as ``run*.xtc`` stands for in the order of numbers.

    Examples
    --------
    >>> sorted(["run10.xtc", "run9.xtc"], key=_by_numbers)
    ['run9.xtc', 'run10.xtc']
    """
    files: list[str] = []
    for text in texts:
        if not has_magic(text) or Path(text).exists():
            files.append(text)
            continue
        matches = sorted(glob(text, recursive=True), key=_by_numbers)
        if not matches:
            raise FileNotFoundError(f"Expected files like {text}, found none.")
        files += matches
    return files


def _by_numbers(text: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", text)]


def read_features(
    trajectories: Trajectories, boltzmann_constant: float | None = None, *, finite: bool = True
) -> tuple[list[FloatArray], list[float], list[FloatArray] | None]:
    """Return features, a temperature for each trajectory, and weights that undo a bias, if any.

    Arrays with NaN or infinity are errors if they are to be finite.

    Raises
    ------
    OSError, ValueError
        If a file or an option is wrong or missing.
    """
    files = trajectories.trajectory or []
    check_once(files, "a trajectory")
    others = [file for file in files if not latflow.featurizers.colvar.is_colvar(file)]
    if files and not others:
        return _read_colvars(trajectories, boltzmann_constant)
    if len(others) < len(files):
        raise ValueError(f"Expected COLVAR files alone, got them with others ({others[0]}).")
    return *_read_unbiased(trajectories, files, finite), None


def _read_colvars(
    trajectories: Trajectories, boltzmann_constant: float | None
) -> tuple[list[FloatArray], list[float], list[FloatArray] | None]:
    files = trajectories.trajectory or []
    temperature = _needed(_one_each(trajectories, len(files)))
    if trajectories.topology is not None:
        raise ValueError("Expected --topology with trajectory files only, got it with COLVARs.")
    if boltzmann_constant is None:
        boltzmann_constant = latflow.units.BOLTZMANN_CONSTANT
    data = latflow.featurizers.read_colvar(
        files,
        features=trajectories.features,
        bias=trajectories.bias,
        temperature=temperature,
        boltzmann_constant=boltzmann_constant,
    )
    biases = [n for n in data.feature_names if n.endswith((".bias", ".rbias"))]
    if biases and trajectories.features is None:
        raise ValueError(
            f"Expected --features or --bias with columns of a bias ({', '.join(biases)}) in "
            f"{files[0]}, which are no features, got neither for these."
        )
    strides = _strides(trajectories.stride, len(files))
    every = strides if isinstance(strides, list) else [strides] * len(files)
    X, weights = (
        None if rows is None else [row[::n] for row, n in zip(rows, every, strict=True)]
        for rows in (data.trajectories, data.weights)
    )
    return X or [], temperature, weights


def _check_no_bias(trajectories: Trajectories) -> None:
    if trajectories.bias is not None:
        raise ValueError("Expected --bias with COLVAR files only, got it with others.")


def _needed(temperature: list[float] | None) -> list[float]:
    if temperature is None:
        raise ValueError("Expected --temperature, one value or one per file, got none.")
    return temperature


def _read_unbiased(
    trajectories: Trajectories, files: list[str], finite: bool
) -> tuple[list[FloatArray], list[float]]:
    _check_no_bias(trajectories)
    if len(files) == 1 and Path(files[0]).is_dir():
        _check_no_molecules(trajectories, "with a folder of features")
        data = latflow.featurizers.load_features(files[0])
        temperature = _one_each(trajectories, len(data.trajectories)) or data.temperature
        if temperature is None:
            raise ValueError(f"Expected --temperature, as {files[0]} does not know it, got none.")
        return data.trajectories, temperature
    temperature = _needed(_one_each(trajectories, len(files)))
    extensions = latflow.featurizers.formats.EXTENSIONS
    if all(latflow.featurizers.formats.format_of(file) in extensions for file in files):
        return read_molecules(trajectories).trajectories, temperature
    for file in files:
        _check_suffix(Path(file), extensions)
    _check_no_molecules(trajectories, "with arrays of features")
    arrays = [
        read_array(file, f"trajectory {k}", n_axes=2, finite=finite) for k, file in enumerate(files)
    ]
    return arrays, temperature


def read_molecules(trajectories: Trajectories, out: Path | None = None) -> Bunch:
    """Compute the features of trajectory files."""
    _check_no_bias(trajectories)
    formats, topology = latflow.featurizers.formats, trajectories.topology
    check_once(trajectories.trajectory or (), "a trajectory")
    files = latflow.featurizers.readers.check_files(trajectories.trajectory or ())
    if topology is None and formats.format_of(files[0]) not in formats.WITH_TOPOLOGY:
        raise ValueError(
            f"Expected --topology, a structure file such as a .pdb, as {files[0]} does not name "
            "its atoms, got none."
        )
    return latflow.featurizers.featurize(
        files,
        topology,
        featurizer_of(trajectories.features or DEFAULT_FEATURES),
        stride=_strides(trajectories.stride, len(files)),
        out=out,
        temperature=_one_each(trajectories, len(files)),
        n_jobs=trajectories.jobs,
        progress=sys.stderr.isatty(),
        partial=trajectories.partial,
    )


def structures_of(
    model: latflow.LaTFEstimator | latflow.TemperatureExtrapolator,
    X: list[FloatArray],
    trajectories: Trajectories,
) -> Structures | None:
    """Return the structures in whole trajectory files that a model was fitted to, if these are."""
    files, formats = trajectories.trajectory or [], latflow.featurizers.formats
    molecular = all(formats.format_of(file) in formats.EXTENSIONS for file in files)
    if trajectories.partial or not molecular:
        return None
    strides = _strides(trajectories.stride, len(files))
    return latflow.structures.Structures(model, X, files, trajectories.topology, stride=strides)


def _strides(strides: list[int] | None, n_files: int) -> int | list[int]:
    """Return one stride, or one for each file."""
    if strides is None:
        return 1
    if len(strides) not in (1, n_files):
        raise ValueError(
            f"Expected --stride with one value, or one per file ({n_files}), got {len(strides)}."
        )
    for stride in strides:
        if stride < 1:
            raise ValueError(f"Expected --stride of at least 1, got {stride}.")
    return strides[0] if len(strides) == 1 else strides


def _one_each(trajectories: Trajectories, n_trajectories: int) -> list[float] | None:
    """Return a temperature for each trajectory, or None where none is named."""
    temperatures = trajectories.temperature
    if temperatures is None or len(temperatures) == n_trajectories:
        return temperatures
    if len(temperatures) > 1:
        raise ValueError(
            f"Expected --temperature with one value, or one per file ({n_trajectories}), "
            f"got {len(temperatures)}."
        )
    return temperatures * n_trajectories


def _check_no_molecules(trajectories: Trajectories, where: str) -> None:
    for name in ("topology", "features", "stride"):
        if getattr(trajectories, name) is not None:
            raise ValueError(f"Expected --{name} with trajectory files only, got it {where}.")


def _check_suffix(path: Path, extensions: Sequence[str]) -> None:
    if latflow.featurizers.formats.format_of(path) in extensions:
        raise ValueError(
            f"Expected either trajectory files or arrays of features, got both: {path} is a "
            "trajectory."
        )
    if path.suffix not in ARRAYS:
        raise ValueError(
            f"Expected a file that ends in {' or '.join(ARRAYS)} (features) or in "
            f"{', '.join(extensions)} (trajectory), got {path}."
        )


def read_array(file: str, role: str, *, n_axes: int, finite: bool = True) -> FloatArray:
    """Read one array of numbers, finite ones if asked; the errors name the file and its role."""
    array = _load_array(Path(file))
    shape = "(n_frames, n_features)" if n_axes == 2 else "(n_frames,)"
    if array.ndim != n_axes or array.size == 0:
        raise ValueError(f"Expected {role} of shape {shape} in {file}, got {array.shape}.")
    if array.dtype.kind not in "fiu":
        raise ValueError(f"Expected {role} as real numbers in {file}, got {array.dtype}.")
    bad = ~np.isfinite(array).reshape(len(array), -1).all(axis=1)
    if finite and bad.any():
        raise ValueError(
            f"Expected finite numbers for {role} in {file}, got NaN or infinity in frame "
            f"{np.flatnonzero(bad)[0]} ({bad.sum()} such frames in all)."
        )
    return array


def _load_array(path: Path) -> FloatArray:
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
            f"Expected one array, or one with the name features, in {path}, got "
            f"{', '.join(arrays) or 'none'}."
        )
    return np.asarray(arrays.popitem()[1])
