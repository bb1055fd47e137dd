"""Files of replica exchange to walkers that are continuous in time, a temperature per frame."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latflow._typing import FloatArray, IntArray
from latflow._validation import check_positive

__all__ = ["Exchanges", "demultiplex", "read_exchanges"]

AMBER_HEAD = re.compile(r"^# Replica Exchange log file", re.M)
LAMMPS_HEAD = re.compile(r"^Step(\s+T\d+)+\s*$", re.M)
ROW_OF_INDICES = re.compile(r"^\s*[\d.eE+-]+(\s+\d+)+\s*$")


@dataclass(frozen=True)
class Exchanges:
    """Which temperature every walker had, and when.

    Parameters
    ----------
    time : ndarray of shape (n_exchanges,)
        When a row begins to hold, in ps. A frame written at that very time is from before.
    rung : ndarray of int of shape (n_exchanges, n_walkers)
        Number of each walker's temperature, from 0, the lowest.
    temperature : ndarray of shape (n_walkers,) or None
        The temperatures in K, where the file says them.
    by_temperature : bool
        Whether the program's trajectory files keep to a temperature (GROMACS), or to a walker
        (AMBER, LAMMPS).
    path : str
    """

    time: FloatArray
    rung: IntArray
    temperature: FloatArray | None
    by_temperature: bool
    path: str

    def at(self, time: ArrayLike) -> IntArray:
        """Return the number of each walker's temperature at times, (n_frames, n_walkers)."""
        moments = np.asarray(time, np.float64)
        slack = 4 * np.spacing(np.abs(moments).astype(np.float32))
        rows = np.searchsorted(self.time, moments - slack, side="left") - 1
        return np.asarray(self.rung[np.maximum(rows, 0)])


def read_exchanges(path: str | os.PathLike[str], *, interval: float | None = None) -> Exchanges:
    """Read which temperature each walker had.

    GROMACS' replica_index.xvg (which ``demux`` makes of md.log), AMBER's rem.log of temperature
    exchange, the log of LAMMPS' ``temper``.

    Parameters
    ----------
    path : path
    interval : float, optional
        What the file does not say, in ps: for AMBER the time from one exchange to the next
        (nstlim * dt), for LAMMPS one time step.

    Returns
    -------
    Exchanges

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is of another kind or damaged, or `interval` is missing.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder, "log.lammps")
    ...     _ = file.write_text("Step T0 T1\\n0 0 1\\n100 1 0\\n")
    ...     read_exchanges(file, interval=0.001).at([0.1, 0.2])
    array([[0, 1],
           [1, 0]])
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"Expected an existing file of exchanges, got {file}.")
    text = file.read_bytes().decode("utf-8", errors="replace")
    if AMBER_HEAD.search(text):
        time, rung, temperatures = _of_amber(text, file)
        time *= _interval(interval, file, "the time between exchanges (nstlim * dt)")
        return _checked(Exchanges(time, rung, temperatures, False, str(file)))
    if LAMMPS_HEAD.search(text):
        table = _table(text[LAMMPS_HEAD.search(text).end() :], file)  # type: ignore[union-attr]
        time = table[:, 0] * _interval(interval, file, "the time step")
        return _checked(Exchanges(time, table[:, 1:].astype(int), None, False, str(file)))
    if "replica_temp" in file.name:
        raise ValueError(f"Expected replica_index.xvg, which demux writes as well, got {file}.")
    table = _table(text, file)
    rung = np.argsort(table[:, 1:], axis=1)  # the file says the walker at each temperature
    at_rung = table[:, 1:].astype(int)
    _checked(Exchanges(table[:, 0], at_rung, None, True, str(file)))
    return Exchanges(table[:, 0], rung, None, True, str(file))


def demultiplex(
    trajectories: Sequence[NDArray[Any]],
    time: ArrayLike,
    exchanges: Exchanges,
    temperature: ArrayLike | None = None,
) -> tuple[list[NDArray[Any]], list[FloatArray]]:
    """Return walkers that are continuous in time, and the temperature of each of their frames.

    Parameters
    ----------
    trajectories : sequence of ndarray of shape (n_frames, ...)
        What belongs to the program's files, in the order of their numbers: features, energies.
    time : array_like of shape (n_frames,)
        Times of the frames in ps, the same in all files.
    exchanges : Exchanges
    temperature : array_like of shape (n_walkers,), optional
        Ascending, in K; needed where the file of exchanges does not say them.

    Returns
    -------
    walkers : list of ndarray of shape (n_frames, ...)
    temperature : list of ndarray of shape (n_frames,)

    Raises
    ------
    ValueError
        If numbers of files, frames and temperatures do not fit.
    """
    moments = np.asarray(time, np.float64)
    known = exchanges.temperature if temperature is None else temperature
    if known is None:
        raise ValueError(f"Expected `temperature`, as {exchanges.path} does not say any, got None.")
    temperatures = np.asarray(known, np.float64)
    n_walkers = exchanges.rung.shape[1]
    lengths = [len(x) for x in trajectories]
    if lengths != [len(moments)] * n_walkers or temperatures.shape != (n_walkers,):
        raise ValueError(
            f"Expected {n_walkers} trajectories of {len(moments)} frames, as there are walkers in "
            f"{exchanges.path} and times, and as many temperatures, got frames {lengths} and "
            f"temperatures of shape {temperatures.shape}."
        )
    rung = exchanges.at(moments)
    frames = np.arange(len(moments))
    walkers = [np.asarray(x) for x in trajectories]
    if exchanges.by_temperature:
        stacked = np.stack(walkers)
        walkers = [stacked[rung[:, walker], frames] for walker in range(n_walkers)]
    return walkers, [temperatures[rung[:, walker]] for walker in range(n_walkers)]


def _interval(value: float | None, file: Path, what: str) -> float:
    if value is None:
        raise ValueError(f"Expected `interval`, {what} in ps, which {file} does not say, got None.")
    return check_positive(value, "interval")


def _table(text: str, file: Path) -> FloatArray:
    """Return times and indices; a last line that is cut is left out."""
    lines = [line for line in text.splitlines() if line.strip() and line.lstrip()[0] not in "#@&"]
    rows = [line.split() for line in lines if ROW_OF_INDICES.match(line)]
    widths = {len(row) for row in rows[:-1]} or {len(row) for row in rows}
    if rows and len(rows[-1]) not in widths:
        rows.pop()
    if len(widths) != 1 or len(rows) < len(lines) - 1:
        raise ValueError(
            f"Expected exchanges as GROMACS (replica_index.xvg), AMBER (rem.log) or LAMMPS (log of "
            f"temper) write them, got {file}."
        )
    return np.array(rows, np.float64)


def _of_amber(text: str, file: Path) -> tuple[FloatArray, IntArray, FloatArray]:
    if "NewTemp0" not in text:
        raise ValueError(f"Expected exchange of temperatures in {file}, got one of another kind.")
    blocks = text.split("# exchange")[1:]
    rows = [
        [line.split()[5] for line in block.splitlines()[1:] if len(line.split()) > 5]
        for block in blocks
    ]
    if len(rows) > 1 and len(rows[-1]) < len(rows[0]):
        rows.pop()
    try:
        table = np.array(rows, np.float64)
    except ValueError as error:
        raise ValueError(
            f"Expected one line a replica at every exchange in {file}, got a damaged file."
        ) from error
    temperatures = np.unique(table)
    rung = np.searchsorted(temperatures, table)
    return np.arange(len(table), dtype=np.float64), rung, temperatures


def _checked(exchanges: Exchanges) -> Exchanges:
    """Raise where a row does not give each temperature to one walker, or times go back."""
    rung = exchanges.rung
    wrong = (np.sort(rung, axis=1) != np.arange(rung.shape[1])).any(axis=1)
    wrong[1:] |= np.diff(exchanges.time) <= 0
    if wrong.any():
        raise ValueError(
            f"Expected ascending times, and every walker once, in each row of {exchanges.path}, "
            f"got {rung[wrong.argmax()].tolist()} at {exchanges.time[wrong.argmax()]:g} ps."
        )
    return exchanges
