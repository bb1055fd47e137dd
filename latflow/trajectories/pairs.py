"""Rows in time: pairs one lagtime apart, contiguous blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_consistent_length, column_or_1d

from latflow._typing import IntArray
from latflow._validation import one_at_a_time


def lagged_pairs(
    n_frames: int,
    lagtime: int,
    *,
    trajectory: ArrayLike | None = None,
    frame: ArrayLike | None = None,
    temperature: ArrayLike | None = None,
) -> tuple[IntArray, IntArray]:
    """Return rows (i, j) of all pairs exactly `lagtime` frames apart in one trajectory.

    A pair never crosses the end of a trajectory, a gap in `frame`, or a change of temperature.
    With `frame` given the rows may stand in any order.

    Parameters
    ----------
    n_frames : int
    lagtime : int
        In frames.
    trajectory : array_like of shape (n_frames,), optional
        Trajectory ids; one trajectory if not given.
    frame : array_like of int of shape (n_frames,), optional
        Place in the trajectory; without it the rows of a trajectory are gap-free, in order.
    temperature : array_like of shape (n_frames,), optional

    Returns
    -------
    i, j : ndarray of shape (n_pairs,)

    Raises
    ------
    ValueError
        If two rows have the same trajectory and frame.

    Examples
    --------
    >>> i, j = lagged_pairs(5, 1, trajectory=[0, 0, 0, 1, 1])
    >>> i.tolist(), j.tolist()
    ([0, 1, 3], [1, 2, 4])
    """
    ids, place = places(n_frames, trajectory, frame)
    order = _time_order(ids, place)
    if order is not None:
        ids, place = ids[order], place[order]
    same = ids[1:] == ids[:-1]
    if (same & (place[1:] == place[:-1])).any():
        raise ValueError(
            "Expected every (trajectory, frame) once, got two rows with the same: give every "
            "trajectory its own id, also across temperatures, and do not repeat rows."
        )
    step = ~same | (place[1:] != place[:-1] + 1)
    if temperature is not None:
        t = np.asarray(temperature)
        t = t if order is None else t[order]
        step |= t[1:] != t[:-1]
    segment = np.zeros(n_frames, dtype=np.int32)
    np.cumsum(step, out=segment[1:])
    # within a segment neighbours are one frame apart, so `lagtime` rows on is `lagtime` frames on
    first = np.flatnonzero(segment[: max(n_frames - lagtime, 0)] == segment[lagtime:])
    later = first + lagtime
    return (first, later) if order is None else (order[first], order[later])


def _time_order(ids: IntArray, place: IntArray) -> IntArray | None:
    """Return the order of rows in time, trajectory by trajectory; None where it is theirs."""
    later = (ids[1:] > ids[:-1]) | ((ids[1:] == ids[:-1]) & (place[1:] >= place[:-1]))
    return None if later.all() else np.lexsort((place, ids))


def time_segments(
    trajectory: IntArray, frame: IntArray, temperature: NDArray[Any]
) -> list[IntArray]:
    """Return the rows of every gap-free piece of a trajectory at one temperature, in time."""
    order = np.lexsort((frame, trajectory))
    cut = (np.diff(trajectory[order]) != 0) | (np.diff(frame[order]) != 1)
    cut |= np.diff(temperature[order]) != 0
    return np.split(order, np.flatnonzero(cut) + 1)


def time_blocks(trajectory: IntArray, frame: IntArray, *, length: int) -> IntArray:
    """Cut every trajectory into contiguous blocks of about `length` frames; a block id per row."""
    order = np.lexsort((frame, trajectory))
    sizes = np.unique(trajectory[order], return_counts=True)[1]
    counts = np.maximum(1, sizes // max(1, length))
    place = np.concatenate([np.arange(n) * b // n for n, b in zip(sizes, counts, strict=True)])
    first = np.repeat(np.cumsum(counts) - counts, sizes)
    blocks = np.empty(len(order), dtype=np.int64)
    blocks[order] = first + place
    return blocks


def places(
    n_frames: int, trajectory: ArrayLike | None, frame: ArrayLike | None
) -> tuple[IntArray, IntArray]:
    """Number the trajectories 0, 1, ... and return each row's trajectory and place in it."""
    ids = np.zeros(n_frames, dtype=np.int64)
    if trajectory is not None:
        ids = _numbered(_column(trajectory, n_frames))
    if frame is not None:
        column = _column(frame, n_frames)
        place = column.astype(np.int64, copy=False)
        if not np.array_equal(place, column):
            raise ValueError("Expected `frame` to hold integers, got fractions.")
        return ids, place
    order = np.argsort(ids, kind="stable")
    sizes = np.bincount(ids)
    place = np.empty(n_frames, dtype=np.int64)
    place[order] = np.concatenate([np.arange(n) for n in sizes])
    return ids, place


def _column(values: ArrayLike, n_frames: int) -> NDArray[Any]:
    with one_at_a_time:
        column: NDArray[Any] = column_or_1d(values)
    check_consistent_length(np.empty(n_frames), column)
    return column


def _numbered(ids: NDArray[Any]) -> IntArray:
    """Number the distinct values 0, 1, ... in their order."""
    if ids.dtype.kind in "iu" and (ids[1:] >= ids[:-1]).all():  # nothing to sort: less memory
        numbers = np.zeros(len(ids), dtype=np.int64)
        np.cumsum(ids[1:] != ids[:-1], out=numbers[1:])
        return numbers
    return np.unique(ids, return_inverse=True)[1].astype(np.int64)
