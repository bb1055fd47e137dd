"""PLUMED's COLVAR files to trajectories with the weights that undo a bias."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

import numpy as np
from scipy.special import logsumexp
from sklearn.utils import Bunch

from latflow._typing import FloatArray, IntArray
from latflow._validation import check_per_trajectory, check_positive, warn
from latflow.featurizers.readers import FilePath, check_files, common_step
from latflow.units import BOLTZMANN_CONSTANT, Units

HEADER = "#! FIELDS"
CONSTANT = "#! SET "
TIME = "time"
MOST_OF_HEAD = 10_000  # bytes, among which a COLVAR has its first header
GZIP = b"\x1f\x8b"
BOUND = re.compile(r"([+-]?[\d.]*(?:e[+-]?\d+)?)\*?(pi)?(?:/(\d+))?", re.IGNORECASE)

Columns: TypeAlias = "str | Sequence[str] | None"


def read_colvar(
    paths: FilePath | Sequence[FilePath],
    *,
    features: str | Sequence[str] | None = None,
    bias: str | Sequence[Columns] | None = None,
    temperature: float | Sequence[float] | None = None,
    boltzmann_constant: float = BOLTZMANN_CONSTANT,
    separate_runs: bool = False,
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
        Compressed with gzip or not, whatever their names.
    features : str or sequence of str, optional
        Columns to take; all but ``time`` and `bias` if not given. One whose period the header
        states (``#! SET min_phi -pi``, ``#! SET max_phi pi``) becomes two features, ``cos_phi``
        and ``sin_phi``, of a phase that grows by 2 pi in a period.
    bias : str, sequence of str, or sequence with an entry per file, optional
        Columns of bias energy, in the unit of ``boltzmann_constant * temperature``. Where files
        differ, an entry per file is a sequence of columns, or None for a simulation without bias:
        ``[["metad.rbias", "wall.bias"], None]``. (Names alone, ``["metad.rbias", "wall.bias"]``,
        add up in every file.)
    temperature : float or sequence of float, optional
        Temperature of each file, or of all, in K.
    boltzmann_constant : float, default=0.00831446...
        k_B in kJ/mol/K; 1.0 for reduced units.
    separate_runs : bool, default=False
        Whether every run in a file is a trajectory of its own, from its header to the next,
        as where several simulations wrote to one file.

    Returns
    -------
    data : Bunch
        ``trajectories`` (list of arrays (n_frames_i, n_features)), ``weights`` (list of arrays
        (n_frames_i,), or None without `bias`), ``temperature`` (list of floats, or None),
        ``time_step`` (in the unit of the column ``time``, PLUMED's ps; None for single frames),
        ``feature_names`` and ``paths`` (the file of each trajectory).

    Raises
    ------
    FileNotFoundError
        If a file does not exist.
    ValueError
        For columns that a file does not have (the message says which it has), a file without
        header or frames, one that lists hills, rows that do not fit, numbers that are not finite
        in a column taken, files with different time steps, `bias` without `temperature`, or a
        wrong number of biases or temperatures.

    Warns
    -----
    UserWarning
        If a restart made frames obsolete, a run was killed while it wrote a line, columns are left
        out as not all runs have them, or times are not evenly spaced.

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
    biases = _bias_per_file(bias, len(files))
    if any(biases) and temperature is None:
        raise ValueError("Expected `temperature` with `bias`, to turn energies to weights.")
    runs_of = {file: _runs(file) for file in dict.fromkeys(files)}
    names = _features(runs_of, features, {name for columns in biases for name in columns})
    found = _periods(runs_of, names)
    periods = [found.get(name) for name in names]
    trajectories = [
        (file, t, run)
        for file, columns, t in zip(files, biases, temperatures, strict=True)
        for run in _trajectories(file, runs_of[file], [*names, *columns], separate_runs)
    ]
    steps = [(file, *_time_step(file, run)) for file, _, run in trajectories]
    energies = [run.table[:, 1 + len(names) :].sum(axis=1) for *_, run in trajectories]
    temperatures = [t for _, t, _ in trajectories]
    return Bunch(
        trajectories=[
            _with_pairs(run.table[:, 1 : 1 + len(names)], periods) for *_, run in trajectories
        ],
        weights=_weights(energies, [t for t in temperatures if t], units) if any(biases) else None,
        temperature=None if temperature is None else temperatures,
        time_step=common_step([(file, step, error) for file, step, error in steps if step]),
        feature_names=[
            of_pair
            for name in names
            for of_pair in ((f"cos_{name}", f"sin_{name}") if name in found else (name,))
        ],
        paths=[str(file) for file, *_ in trajectories],
    )


def is_colvar(path: FilePath) -> bool:
    """Whether a file begins as PLUMED's do, compressed or not."""
    with suppress(OSError, zlib.error), Path(path).open("rb") as stream:
        head = stream.read(MOST_OF_HEAD)
        if head.startswith(GZIP):
            head = zlib.decompressobj(wbits=31).decompress(head, MOST_OF_HEAD)
        return HEADER.encode() in head
    return False


@dataclass(frozen=True)
class _Run:
    """What stands below one header: constants, and numbers with those of their lines."""

    columns: list[str]
    numbers: IntArray
    table: FloatArray
    constants: dict[str, str]
    resolution: float  # of times

    @property
    def times(self) -> FloatArray:
        return self.table[:, 0]

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, rows: slice) -> _Run:
        return replace(self, numbers=self.numbers[rows], table=self.table[rows])


# ------------------------------------------------------------------ options


def _bias_per_file(bias: str | Sequence[Columns] | None, n_files: int) -> list[list[str]]:
    """Return the columns of bias energy of each file."""
    if bias is None or isinstance(bias, str):
        bias = [bias] if bias else []
    if all(isinstance(name, str) for name in bias):
        return [[str(name) for name in bias]] * n_files
    if len(bias) != n_files:
        raise ValueError(
            f"Expected `bias` with names of columns, or with one entry per file ({n_files}), got "
            f"{len(bias)}."
        )
    return [[one] if isinstance(one, str) else list(one or ()) for one in bias]


def _features(
    runs_of: dict[Path, list[_Run]], features: str | Sequence[str] | None, biases: set[str]
) -> list[str]:
    """Return the columns to take: if none are named, those that all runs of all files have."""
    if features is not None:
        return [features] if isinstance(features, str) else list(features)
    runs = [run for runs in runs_of.values() for run in runs]
    first = next(iter(runs_of.values()))[0].columns
    taken = [name for name in first if all(name in run.columns for run in runs)]
    new = dict.fromkeys(name for run in runs for name in run.columns if name not in taken)
    names = [name for name in taken if name != TIME and name not in biases]
    if not names:
        raise ValueError(
            f"Expected a column besides {TIME} and `bias` that all runs have, got "
            f"{', '.join(new) or 'none'} in some of them in {', '.join(map(str, runs_of))}."
        )
    left_out = [name for name in new if name not in biases]
    if left_out:
        warn(
            f"Only some runs have the column{'s' * (len(left_out) > 1)} {', '.join(left_out)}, "
            f"which {'are' if len(left_out) > 1 else 'is'} left out."
        )
    return names


# ------------------------------------------------------------------ text


def _runs(file: Path) -> list[_Run]:
    """Return the runs of a file, without a header that was cut as it was written."""
    head, *texts = _text(file).split(HEADER)
    if not texts or any(line.partition("#")[0].strip() for line in head.split("\n")):
        raise ValueError(f"Expected a line `{HEADER} time ...` at the head of {file}, got none.")
    runs, number = [], 1 + head.count("\n")
    for text in texts:
        if "\n" in text:
            runs.append(_run(file, text, number))
        number += text.count("\n")
    if not any(map(len, runs)):
        raise ValueError(f"Expected frames in {file}, got none.")
    return [run for run in runs if len(run)]


def _text(file: Path) -> str:
    """Return a file's text: unpacked, as far as it goes, with ends of lines as on Unix."""
    data = file.read_bytes()
    if data.startswith(GZIP):
        data = b"".join(_unpacked(file, data))
    try:
        text = data.decode()
    except UnicodeDecodeError:  # in comments and names only: numbers are ASCII
        text = data.decode("latin-1")
    return text.replace("\r\n", "\n")


def _unpacked(file: Path, data: bytes) -> Iterator[bytes]:
    """Yield what each restart compressed; a killed run's last part has no end."""
    while data:
        member = zlib.decompressobj(wbits=31)
        try:
            yield member.decompress(data)
        except zlib.error as error:
            raise ValueError(
                f"Expected {file} as gzip wrote it, got one that is damaged ({error})."
            ) from error
        data = member.unused_data


def _run(file: Path, text: str, number: int) -> _Run:
    """Return the run that a text holds, without a last line that was not written to its end.

    Parameters
    ----------
    file : Path
    text : str
        From behind the name of the header to the next header. PLUMED ends every line; what stands
        behind the last end was cut, be it within a number.
    number : int
        Number of the first line.
    """
    first, *lines = text.split("\n")
    cut = lines.pop().strip()
    if cut and not cut.startswith("#"):
        warn(f"Line {number + 1 + len(lines)} of {file} ends early and is dropped.")
    columns = first.partition("#")[0].split()
    _check_kind(file, columns)
    set_to = (line.removeprefix(CONSTANT).split() for line in lines if line.startswith(CONSTANT))
    bare = [line.partition("#")[0] for line in lines]
    rows = np.array([k for k, line in enumerate(bare) if line and not line.isspace()], dtype=int)
    bare = [bare[k] for k in rows]
    return _Run(
        columns,
        rows + number + 1,
        _numbers(file, bare, len(columns), rows + number + 1),
        {words[0]: words[1] for words in set_to if len(words) == 2},
        _last_decimal([line.split(maxsplit=1)[0] for line in bare[:100]]),
    )


def _check_kind(file: Path, columns: Sequence[str]) -> None:
    """Refuse hills, and headers that name no time or one column twice."""
    widths = [name for name in columns if name.startswith("sigma_")]
    if widths and "height" in columns:
        raise ValueError(
            f"Expected a COLVAR file, as PLUMED's PRINT writes it, got {file}, which lists hills "
            f"of metadynamics or OPES (columns {', '.join(widths)}, height)."
        )
    if TIME not in columns:
        raise ValueError(f"Expected the column {TIME} in {file}, which has {', '.join(columns)}.")
    twice = [name for k, name in enumerate(columns) if name in columns[:k]]
    if twice:
        raise ValueError(f"Expected columns of different names in {file}, got {twice[0]} twice.")


def _numbers(file: Path, lines: Sequence[str], width: int, numbers: IntArray) -> FloatArray:
    """Return the numbers of all lines, as many in each as the header names columns."""
    table = _table(lines, width)
    if table is not None:
        return table
    low, high = 0, len(lines)
    while high - low > 1:
        middle = (low + high) // 2
        fits = _table(lines[low:middle], width) is not None
        low, high = (middle, high) if fits else (low, middle)
    raise ValueError(
        f"Expected {width} numbers, as the header names columns, in line {numbers[low]} of "
        f"{file}, got {lines[low].strip()!r}."
    )


def _table(lines: Sequence[str], width: int) -> FloatArray | None:
    """Return an array of shape (n_lines, width); None where the lines do not hold that."""
    if not lines:
        return np.empty((0, width))
    try:
        table: FloatArray = np.loadtxt(lines, ndmin=2)
    except ValueError:
        return None
    return table if table.shape == (len(lines), width) else None


# ------------------------------------------------------------------ frames and times


def _trajectories(
    file: Path, runs: Iterable[_Run], names: Sequence[str], separate: bool
) -> list[_Run]:
    """Return one joined run, or several, of the time and the columns named."""
    parts = [part for run in runs for part in _forward(_columns(file, run, names))]
    if separate:
        return parts
    kept, begin = [], np.inf
    for part in reversed(parts):
        kept.append(part[: np.searchsorted(part.times, begin)])
        begin = min(begin, part.times[0])
    n_frames, n_kept = sum(map(len, parts)), sum(map(len, kept))
    if n_kept < n_frames:
        cure = "" if all(map(len, kept)) else " (whole runs: `separate_runs=True` keeps them)"
        warn(
            f"{n_frames - n_kept} of {n_frames} frames in {file} were run through anew after a "
            f"restart and are dropped{cure}."
        )
    return [replace(parts[0], table=np.concatenate([part.table for part in reversed(kept)]))]


def _columns(file: Path, run: _Run, names: Sequence[str]) -> _Run:
    """Return a run with its time and the columns named only."""
    missing = [name for name in names if name not in run.columns]
    if missing:
        raise ValueError(
            f"Expected the column{'s' * (len(missing) > 1)} {', '.join(missing)} in {file}, which "
            f"has {', '.join(run.columns)} above line {run.numbers[0]}."
        )
    columns = [TIME, *names]
    table = run.table[:, [run.columns.index(name) for name in columns]]
    wrong = np.argwhere(~np.isfinite(table))
    if len(wrong):
        row, column = wrong[0]
        raise ValueError(
            f"Expected finite numbers in the columns taken (`features`, `bias`, {TIME}), got "
            f"{table[row, column]} in {columns[column]} in line {run.numbers[row]} of {file}."
        )
    return replace(run, columns=columns, table=table)


def _forward(run: _Run) -> list[_Run]:
    """Return the parts of a run between which time goes back: equal times are rounded ones."""
    ends = [*(np.flatnonzero(np.diff(run.times) < 0) + 1), len(run)]
    return [run[slice(*part)] for part in pairwise([0, *ends])]


def _time_step(file: Path, run: _Run) -> tuple[float | None, float]:
    """Return the time between frames, None where it cannot be told, and its error."""
    gaps = np.diff(run.times)
    if not gaps.any():
        return None, 0.0
    equal = (gaps == 0).any()
    resolution = max(run.resolution, gaps[gaps > 0].min() if equal else 0.0)
    step = float(np.median(gaps))
    if resolution > 1e-3 * step:
        step = float(gaps.mean())
    uneven = np.abs(gaps - step) > 1e-3 * step + 1.001 * resolution
    if uneven.any():
        warn(
            f"The times in {file} are not evenly spaced: see after {run.times[uneven.argmax()]:g}."
        )
    return step, 5e-4 * step + resolution / len(gaps)


def _last_decimal(words: Sequence[str]) -> float:
    """Return what numbers were rounded to, where they have equally many decimals; 0 elsewhere."""
    decimals = {len(word.partition(".")[2]) for word in words}
    return 10.0 ** -decimals.pop() if len(decimals) == 1 and 0 not in decimals else 0.0


# ------------------------------------------------------------------ periods and weights


def _periods(runs_of: dict[Path, list[_Run]], names: Sequence[str]) -> dict[str, float]:
    """Return the periods of the columns that headers give one to."""
    periods: dict[str, float] = {}
    for file, runs in runs_of.items():
        for run in runs:
            for name in names:
                period = _period(file, name, run.constants)
                if period is not None and periods.setdefault(name, period) != period:
                    raise ValueError(
                        f"Expected one period of {name} in all runs, got {periods[name]:g} and "
                        f"{period:g} (in {file})."
                    )
    return periods


def _period(file: Path, name: str, constants: dict[str, str]) -> float | None:
    bounds = [constants.get(f"{end}_{name}") for end in ("min", "max")]
    if None in bounds:
        return None
    low, high = (_bound(str(text)) for text in bounds)
    if not 0 < high - low < np.inf:
        raise ValueError(
            f"Expected numbers or multiples of pi, in ascending order, as min_{name} and "
            f"max_{name} in {file}, got {bounds[0]} and {bounds[1]}."
        )
    return high - low


def _bound(text: str) -> float:
    """Return the number that PLUMED's 0.5, -pi, 2*pi or pi/2 stand for; NaN for another text."""
    match = BOUND.fullmatch(text)
    if not match:
        return np.nan
    factor, pi, divisor = match.groups()
    if pi and factor in ("", "+", "-"):
        factor += "1"
    try:
        return float(factor) * (np.pi if pi else 1.0) / float(divisor or 1)
    except (ValueError, ZeroDivisionError):
        return np.nan


def _with_pairs(values: FloatArray, periods: Sequence[float | None]) -> FloatArray:
    """Return columns, periodic ones as the cosine and the sine of their phase."""
    columns: list[FloatArray] = []
    for column, period in zip(values.T, periods, strict=True):
        phase = column if period is None else 2 * np.pi * column / period
        columns += [column] if period is None else [np.cos(phase), np.sin(phase)]
    return np.stack(columns, axis=1)


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
