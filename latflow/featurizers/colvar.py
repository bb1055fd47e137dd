"""PLUMED's COLVAR files to trajectories with the weights that undo a bias."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import logsumexp
from sklearn.utils import Bunch

from latflow._typing import FloatArray
from latflow._validation import check_per_trajectory, check_positive, warn
from latflow.featurizers.readers import FilePath, check_files, common_step
from latflow.units import BOLTZMANN_CONSTANT, Units

HEADER = "#! FIELDS"
TIME = "time"


def read_colvar(
    paths: FilePath | Sequence[FilePath],
    *,
    features: Sequence[str] | None = None,
    bias: str | Sequence[str] | None = None,
    temperature: float | Sequence[float] | None = None,
    boltzmann_constant: float = BOLTZMANN_CONSTANT,
) -> Bunch:
    r"""Read PLUMED's COLVAR files, with weights that undo a bias.

    Each file is one walker and one trajectory. A file may hold several runs, each with its header;
    where a restart goes back in time, what it runs through anew replaces what was there. The
    columns named by `bias` add up to the energy V that was added to the potential, and

    .. math:: w = e^{V / (k_B T)}

    scaled to mean 1 over the frames of each temperature. This holds for a bias that no longer
    changes, and for ``metad.rbias`` of PLUMED.

    Parameters
    ----------
    paths : path or sequence of path
    features : sequence of str, optional
        Columns to take; all but ``time`` and `bias` if not given. PLUMED writes angles in rad:
        hand on their cosines and sines.
    bias : str or sequence of str, optional
        Columns of bias energy, in the unit of ``boltzmann_constant * temperature``.
    temperature : float or sequence of float, optional
        Temperature of each file, or of all, in K.
    boltzmann_constant : float, default=0.00831446...
        k_B in kJ/mol/K; 1.0 for reduced units.

    Returns
    -------
    data : Bunch
        ``trajectories`` (list of arrays (n_frames_i, n_features)), ``weights`` (list of arrays
        (n_frames_i,), or None without `bias`), ``temperature`` (list of floats, or None),
        ``time_step`` (in the unit of the column ``time``, PLUMED's ps; None for single frames),
        ``feature_names`` and ``paths``.

    Raises
    ------
    FileNotFoundError
        If a file does not exist.
    ValueError
        For columns that a file does not have (the message says which it has), a file without
        header or frames, rows that do not fit, files with different time steps, `bias` without
        `temperature`, or a wrong number of temperatures.

    Warns
    -----
    UserWarning
        If a restart made frames obsolete, a run was killed while it wrote a line, or times are
        not evenly spaced.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder, "COLVAR")
    ...     _ = file.write_text("#! FIELDS time d m.bias\n 0 1.5 0\n 1 1.7 2.5\n")
    ...     data = read_colvar(file, bias="m.bias", temperature=300)
    >>> data.trajectories[0].ravel(), data.weights[0].round(3), data.time_step
    (array([1.5, 1.7]), array([0.537, 1.463]), 1.0)
    """
    files = check_files(paths, ())
    units = Units(check_positive(boltzmann_constant, "boltzmann_constant"))
    temperatures = check_per_trajectory(temperature, len(files), "temperature")
    biases = [bias] if isinstance(bias, str) else list(bias or ())
    if biases and temperature is None:
        raise ValueError("Expected `temperature` with `bias`, to turn energies to weights.")
    tables = {file: _read(file) for file in files}
    if features is None:
        features = [str(name) for name in tables[files[0]] if name not in (TIME, *biases)]
    names = [features] if isinstance(features, str) else list(features)
    for file, table in tables.items():
        _check_columns(file, table, [*names, *biases])
    steps = [(file, _time_step(file, table)) for file, table in tables.items()]
    energies = [np.array(tables[file][biases].sum(axis=1)) for file in files]
    return Bunch(
        trajectories=[np.array(tables[file][names], order="C") for file in files],
        weights=_weights(energies, [t for t in temperatures if t], units) if biases else None,
        temperature=None if temperature is None else temperatures,
        time_step=common_step([(f, s, 5e-4 * s) for f, s in steps if s]),
        feature_names=names,
        paths=[str(file) for file in files],
    )


def _read(file: Path) -> pd.DataFrame:
    """Return all runs of a file in time order, without what a restart replaced."""
    runs = [_numbers(file, names, lines) for names, lines in _runs(file)]
    for run in runs:
        if set(run) != set(runs[0]):
            raise ValueError(
                f"Expected the columns {', '.join(map(str, runs[0]))} after every restart in "
                f"{file}, got {', '.join(map(str, run))}."
            )
    table = pd.concat(runs, ignore_index=True)
    if table.empty:
        raise ValueError(f"Expected frames in {file}, got none.")
    _check_columns(file, table, [TIME])
    times = table[TIME]
    kept = times < times[::-1].cummin()[::-1].shift(-1, fill_value=np.inf)
    if not kept.all():
        warn(
            f"{np.count_nonzero(~kept)} of {len(kept)} frames in {file} were run through anew "
            "after a restart and are dropped."
        )
    return table[kept]


def _check_columns(file: Path, table: pd.DataFrame, names: Sequence[str]) -> None:
    missing = [name for name in names if name not in table]
    if missing:
        raise ValueError(
            f"Expected the column{'s' * (len(missing) > 1)} {', '.join(missing)} in {file}, which "
            f"has {', '.join(map(str, table))}."
        )


def _runs(file: Path) -> Iterator[tuple[list[str], list[tuple[int, str]]]]:
    """Yield the names of columns, and the numbered lines of numbers, below each header."""
    head, *runs = file.read_text().split(HEADER)
    if not runs or any(line.partition("#")[0].strip() for line in head.splitlines()):
        raise ValueError(f"Expected a line `{HEADER} time ...` at the head of {file}, got none.")
    number = 1 + head.count("\n")
    for k, run in enumerate(runs, start=1):
        names, *lines = (line.partition("#")[0].strip() for line in run.split("\n"))
        rows = [(n, line) for n, line in enumerate(lines, start=number + 1) if line]
        number += len(lines)
        if lines and lines[-1] and k < len(runs):
            # a header in the middle of a line: the run was killed while it wrote it
            rows[-1] = (number, "")
        yield names.split(), rows


def _numbers(file: Path, names: list[str], lines: list[tuple[int, str]]) -> pd.DataFrame:
    """Return the numbers of one run; a last line that was not written to its end is dropped."""
    if lines and len(lines[-1][1].split()) < len(names):
        number, _ = lines.pop()
        warn(f"Line {number} of {file} ends early and is dropped.")
    if not lines:
        return pd.DataFrame(columns=names, dtype=np.float64)
    try:
        values = np.loadtxt([line for _, line in lines], ndmin=2)
    except ValueError:
        values = np.empty((0, 0))
    if values.shape[1] != len(names) or not np.isfinite(values).all():
        for number, line in lines:
            numbers = pd.to_numeric(pd.Series(line.split()), errors="coerce")
            if len(numbers) != len(names) or not np.isfinite(numbers).all():
                raise ValueError(
                    f"Expected {len(names)} finite numbers, as the header names columns, in line "
                    f"{number} of {file}, got {line!r}."
                )
    return pd.DataFrame(values, columns=names)


def _time_step(file: Path, table: pd.DataFrame) -> float | None:
    """Return the time between frames; None where there is one frame only."""
    times = table[TIME].to_numpy()
    if len(times) == 1:
        return None
    step = float(np.median(np.diff(times)))
    uneven = ~np.isclose(np.diff(times), step, rtol=1e-3)
    if uneven.any():
        after = times[uneven.argmax()]
        warn(f"The times in {file} are not evenly spaced: see after {after:g}.")
    return step


def _weights(
    energies: Sequence[FloatArray], temperatures: Sequence[float], units: Units
) -> list[FloatArray]:
    """Return exp(V / (k_B T)), of mean 1 over the frames of each temperature."""
    reduced = [(t, units.beta(t) * v) for t, v in zip(temperatures, energies, strict=True)]
    log_mean = {}
    for temperature in set(temperatures):
        pooled = np.concatenate([v for t, v in reduced if t == temperature])
        log_mean[temperature] = logsumexp(pooled) - np.log(len(pooled))
    return [np.exp(v - log_mean[t]) for t, v in reduced]
