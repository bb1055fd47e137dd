"""What a model is fitted to: arrays, trajectory files, or a folder of features."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
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


ARRAYS = (".npy", ".npz")
EXTENSIONS = ".xtc, .dcd, .trr, .nc, .h5, .pdb"  # in help, which loads no reader of files
DEFAULT_FEATURES = ("torsions",)
FILES: Any = typer.Argument(
    None,
    metavar="FILE",
    help=f"One trajectory each: a trajectory ({EXTENSIONS}), or an array of shape (n_frames, "
    "n_features) as .npy, or as .npz, alone or under the name `features`; or the one folder that "
    "`latflow featurize` wrote.",
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
    stride: int | None = option(
        metavar="N", show_default="1", help="Take every N-th frame of trajectory files."
    )
    jobs: int | None = option(metavar="N", show_default="1", help="Files read at a time.")


def with_files(
    context: typer.Context, files: list[str] | None, trajectories: Trajectories
) -> Trajectories:
    """Add files without an option to them; a config file's count only where no other is named."""
    others = trajectories.trajectory or []
    files = [*(files or ()), *(() if files and set_by_file(context, "trajectory") else others)]
    if not files:
        raise ValueError("Expected FILE, at least one trajectory, got none.")
    return replace(trajectories, trajectory=files)


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


def read_features(trajectories: Trajectories) -> tuple[list[FloatArray], list[float]]:
    """Return features and a temperature for each trajectory.

    Raises
    ------
    OSError, ValueError
        If a file or an option is wrong or missing.
    """
    files = trajectories.trajectory or []
    if len(files) == 1 and Path(files[0]).is_dir():
        _check_no_molecules(trajectories, "with a folder of features")
        data = latflow.featurizers.load_features(files[0])
        temperature = _one_each(trajectories, len(data.trajectories)) or data.temperature
        if temperature is None:
            raise ValueError(f"Expected --temperature, as {files[0]} does not know it, got none.")
        return data.trajectories, temperature
    temperature = _one_each(trajectories, len(files))
    if temperature is None:
        raise ValueError("Expected --temperature, one value or one per file, got none.")
    extensions = latflow.featurizers.readers.EXTENSIONS
    if all(Path(file).suffix in extensions for file in files):
        return read_molecules(trajectories).trajectories, temperature
    for file in files:
        _check_suffix(Path(file), extensions)
    _check_no_molecules(trajectories, "with arrays of features")
    check_once(files, "a trajectory")
    arrays = [read_array(file, f"trajectory {k}", n_axes=2) for k, file in enumerate(files)]
    return arrays, temperature


def read_molecules(trajectories: Trajectories, out: Path | None = None) -> Bunch:
    """Compute the features of trajectory files."""
    readers, topology = latflow.featurizers.readers, trajectories.topology
    check_once(trajectories.trajectory or (), "a trajectory")
    files = readers.check_files(trajectories.trajectory or ())
    if topology is None and files[0].suffix not in readers.WITH_TOPOLOGY:
        raise ValueError(
            f"Expected --topology, a structure file such as a .pdb, as {files[0]} does not name "
            "its atoms, got none."
        )
    return latflow.featurizers.featurize(
        files,
        topology,
        featurizer_of(trajectories.features or DEFAULT_FEATURES),
        stride=1 if trajectories.stride is None else trajectories.stride,
        out=out,
        temperature=_one_each(trajectories, len(files)),
        n_jobs=trajectories.jobs,
        progress=sys.stderr.isatty(),
    )


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
    if path.suffix in extensions:
        raise ValueError(
            f"Expected either trajectory files or arrays of features, got both: {path} is a "
            "trajectory."
        )
    if path.suffix not in ARRAYS:
        raise ValueError(
            f"Expected a file that ends in {' or '.join(ARRAYS)} (features) or in "
            f"{', '.join(extensions)} (trajectory), got {path}."
        )


def read_array(file: str, role: str, *, n_axes: int) -> FloatArray:
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
            f"Expected one array, or one called `features`, in {path}, got "
            f"{', '.join(arrays) or 'none'}."
        )
    return np.asarray(arrays.popitem()[1])
