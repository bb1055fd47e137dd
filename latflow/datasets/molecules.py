"""What data sets of molecules that ship with the package are read from."""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import Bunch

from latflow._typing import FloatArray

if TYPE_CHECKING:
    import mdtraj

Archive = dict[str, NDArray[Any]]


def simulations(package: str, structure: str, archive: str) -> Bunch:
    """Read what was simulated, a trajectory each.

    Parameters
    ----------
    package : str
        The package whose files are read.
    structure : str
        A .pdb file: the folded structure that coordinates are superposed on.
    archive : str
        A .npz file of ``xyz`` (nm), ``energy`` (kJ/mol) and ``temperature`` (K) of every frame;
        with ``trajectory`` and ``interval`` (ps) where it holds trajectories in order of time,
        with ``walker`` and ``time`` (ps) where it holds draws, which are sorted by temperature.
    """
    arrays = _read_archive(package, archive)
    drawn = "walker" in arrays
    if drawn:
        order = np.lexsort((arrays["time"], arrays["walker"], arrays["temperature"]))
        arrays = {name: values[order] for name, values in arrays.items()}
    trajectory = arrays["temperature" if drawn else "trajectory"]
    cuts = np.flatnonzero(np.diff(trajectory)) + 1
    each = {n: np.split(values, cuts) for n, values in arrays.items() if n != "interval"}
    folded = _read_structure(package, structure)
    data = Bunch(
        coordinates=[x.astype(np.float32) for x in each["xyz"]],
        energies=[e.astype(np.float64) for e in each["energy"]],
        temperature=[round(float(t[0]), 1) for t in each["temperature"]],
        time_step=None if drawn else np.asarray(arrays["interval"], np.float64).tolist(),
        topology=folded.topology,
        reference_structure=folded.xyz[0],
    )
    return Bunch(**data, walkers=each["walker"], times=each["time"]) if drawn else data


def _read_archive(package: str, name: str) -> dict[str, NDArray[Any]]:
    with files(package).joinpath(name).open("rb") as file:
        return dict(np.load(file))


def _read_structure(package: str, name: str) -> mdtraj.Trajectory:
    import mdtraj

    with as_file(files(package).joinpath(name)) as path:
        return mdtraj.load(str(path))


def described(text: str, data: Bunch, what: str, how: str) -> str:
    """Fill a description in: what was done, how, and the numbers and temperatures of it."""
    known = sorted(set(data.temperature))
    settings = {
        "temperatures": ", ".join(f"{t:g}" for t in known),
        "n": len(data.temperature) // len(known),
        "frames": len(data.energies[0]),
    }
    return text.format(what=what, how=how.format(**settings))


def distances(coordinates: FloatArray, atoms: NDArray[Any], *, apart: int) -> FloatArray:
    """Return distances of all pairs of atoms that lie so far apart in the list of them."""
    i, j = np.triu_indices(len(atoms), apart)
    x = coordinates[:, atoms]
    return np.asarray(np.linalg.norm(x[:, i] - x[:, j], axis=-1))


def pair_names(names: list[str], *, apart: int) -> list[str]:
    """Return the names of the pairs of :func:`distances`."""
    i, j = np.triu_indices(len(names), apart)
    return [f"{names[a]}-{names[b]}" for a, b in zip(i, j, strict=True)]


def populations_table(rows: tuple[tuple[float, float, float], ...]) -> pd.DataFrame:
    """Return populations of the folded state and their standard errors, by temperature."""
    columns = ["temperature", "population", "error"]
    return pd.DataFrame(list(rows), columns=columns).set_index("temperature")
