"""PLUMED's COLVAR files to trajectories with the weights that undo a bias."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from latflow._validation import check_per_trajectory, check_positive
from latflow.featurizers.readers import FilePath, check_files
from latflow.units import BOLTZMANN_CONSTANT

__all__ = ["read_colvar"]

HEADER = "#! FIELDS"
TIME = "time"

FloatArray = NDArray[np.float64]


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
        Of each file, or of all; in K.
    boltzmann_constant : float, default=0.00831446...
        In kJ/mol/K; 1.0 for reduced units.

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
    files = check_files([paths] if isinstance(paths, str | os.PathLike) else list(paths), ())
    constant = check_positive(boltzmann_constant, "boltzmann_constant")
    temperatures = check_per_trajectory(temperature, len(files), "temperature")
    biases = [bias] if isinstance(bias, str) else list(bias or ())
    if biases and temperature is None:
        raise ValueError("Expected `temperature` with `bias`, to turn energies to weights.")
    tables = [_read(file) for file in files]
    if features is None:
        names = [name for name in tables[0].columns if name not in (TIME, *biases)]
    else:
        names = [features] if isinstance(features, str) else list(features)
    for table in tables:
        table.check([TIME, *names, *biases])
    return Bunch(
        trajectories=[table.take(names) for table in tables],
        weights=_weights([t.take(biases).sum(axis=1) for t in tables], temperatures, constant)
        if biases
        else None,
        temperature=None if temperature is None else temperatures,
        time_step=_common_step(tables),
        feature_names=names,
        paths=[str(file) for file in files],
    )


@dataclass(frozen=True)
class _Table:
    """The columns of one file, in time order."""

    file: Path
    columns: dict[str, FloatArray]

    def check(self, names: Sequence[str]) -> None:
        missing = [name for name in names if name not in self.columns]
        if missing:
            raise ValueError(
                f"Expected the column{'s' * (len(missing) > 1)} {', '.join(missing)} in "
                f"{self.file}, which has {', '.join(self.columns)}."
            )

    def take(self, names: Sequence[str]) -> FloatArray:
        return np.stack([self.columns[name] for name in names], axis=1)


def _read(file: Path) -> _Table:
    """Read all runs of a file, and drop what a restart replaced."""
    runs = [(names, _numbers(file, lines, len(names))) for names, lines in _runs(file)]
    names = runs[0][0]
    for other, _ in runs[1:]:
        if set(other) != set(names):
            raise ValueError(
                f"Expected the columns {', '.join(names)} after every restart in {file}, "
                f"got {', '.join(other)}."
            )
    rows = np.concatenate([values[:, [own.index(n) for n in names]] for own, values in runs])
    if not len(rows):
        raise ValueError(f"Expected frames in {file}, got none.")
    table = _Table(file, dict(zip(names, rows.T, strict=True)))
    table.check([TIME])
    kept = _kept(table.columns[TIME])
    if not kept.all():
        _warn(
            f"{np.count_nonzero(~kept)} of {len(kept)} frames in {file} were run through anew "
            "after a restart and are dropped."
        )
    return _Table(file, {name: values[kept] for name, values in table.columns.items()})


def _runs(file: Path) -> Iterator[tuple[list[str], list[tuple[int, str]]]]:
    """Yield the names of columns, and the numbered lines, below each header."""
    names: list[str] | None = None
    lines: list[tuple[int, str]] = []
    with file.open() as stream:
        for number, line in enumerate(stream, start=1):
            text, header, fields = line.partition(HEADER)
            if text.partition("#")[0].strip():
                if names is None:
                    raise ValueError(
                        f"Expected a line `{HEADER} time ...` at the head of {file}, got none."
                    )
                # a header in the middle of a line: the run before was killed while it wrote it
                lines.append((number, "" if header else text.partition("#")[0]))
            if header:
                if names is not None:
                    yield names, lines
                names, lines = fields.split(), []
    if names is None:
        raise ValueError(f"Expected a line `{HEADER} time ...` at the head of {file}, got none.")
    yield names, lines


def _numbers(file: Path, lines: list[tuple[int, str]], n_columns: int) -> FloatArray:
    """Numbers of one run; a last line that was not written to its end is dropped."""
    if lines and len(lines[-1][1].split()) < n_columns:
        _warn(f"Line {lines[-1][0]} of {file} ends early and is dropped.")
        lines = lines[:-1]
    if not lines:
        return np.empty((0, n_columns))
    try:
        table = np.loadtxt([line for _, line in lines], ndmin=2)
    except ValueError:
        table = np.empty((0, 0))
    if table.shape[1] != n_columns or not np.isfinite(table).all():
        raise ValueError(_first_bad(file, lines, n_columns))
    return table


def _first_bad(file: Path, lines: list[tuple[int, str]], n_columns: int) -> str:
    number, line = lines[0]
    for number, line in lines:  # noqa: B007
        try:
            found = np.array(line.split(), dtype=np.float64)
        except ValueError:
            found = np.array([np.nan])
        if len(found) != n_columns or not np.isfinite(found).all():
            break
    return (
        f"Expected {n_columns} finite numbers, as the header names columns, in line {number} of "
        f"{file}, got {line.strip()!r}."
    )


def _kept(times: FloatArray) -> NDArray[np.bool_]:
    """Whether no later row has the same or an earlier time."""
    later = np.minimum.accumulate(times[::-1])[::-1]
    return np.append(times[:-1] < later[1:], True)


def _common_step(tables: Sequence[_Table]) -> float | None:
    steps = {}
    for table in tables:
        gaps = np.diff(table.columns[TIME])
        if len(gaps):
            step = steps[table.file] = float(np.median(gaps))
            if not np.allclose(gaps, step, rtol=1e-3):
                at = table.columns[TIME][np.argmax(~np.isclose(gaps, step, rtol=1e-3))]
                _warn(f"The times in {table.file} are not evenly spaced: see after {at:g}.")
    if not steps:
        return None
    first, common = next(iter(steps.items()))
    for file, step in steps.items():
        if not np.isclose(step, common, rtol=1e-3):
            raise ValueError(
                f"Expected the same time between frames in all files, got {common:g} in {first} "
                f"and {step:g} in {file}."
            )
    return common


def _weights(
    biases: Sequence[FloatArray], temperatures: Sequence[Any], constant: float
) -> list[FloatArray]:
    """exp(V / (k_B T)), of mean 1 over the frames of each temperature."""
    weights: list[Any] = [None] * len(biases)
    for value in set(temperatures):
        own = [k for k, t in enumerate(temperatures) if t == value]
        highest = max(biases[k].max() for k in own)
        raw = [np.exp((biases[k] - highest) / (constant * value)) for k in own]
        mean = np.concatenate(raw).mean()
        for k, weight in zip(own, raw, strict=True):
            weights[k] = weight / mean
    return weights


def _warn(message: str) -> None:
    warnings.warn(message, UserWarning, stacklevel=4)
