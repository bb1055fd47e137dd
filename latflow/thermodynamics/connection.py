"""How often walkers were seen to go from one state to another."""

from __future__ import annotations

import numpy as np

from latflow._typing import BoolArray, IntArray
from latflow.trajectories import Frames


def crossings(frames: Frames, states: IntArray, n_states: int, lagtime: int) -> IntArray:
    """Count how often walkers go from each state to each other one, in each direction.

    A trajectory is a walker; changes of its temperature do not break it, so that a walker that goes
    from one state to another through hotter temperatures connects them. A visit shorter than one
    lagtime is no visit: flicker at a border counts nothing. A crossing belongs to the temperature
    at which the walker left the old state.

    Parameters
    ----------
    frames : Frames
    states : ndarray of int, shape (n_frames,)
        State of each frame.
    n_states : int
    lagtime : int
        In frames. For bare pairs, which are walkers of two frames, a visit is one frame.

    Returns
    -------
    ndarray of int64, shape (n_temperatures, n_states, n_states)
        By temperature, the state that was left and the state that was reached; 0 from a state to
        itself.

    Examples
    --------
    >>> from sklearn.base import BaseEstimator
    >>> from latflow.trajectories import gather_frames
    >>> frames = gather_frames(BaseEstimator(), [[[0.0], [0.1], [1.0], [1.1]]], reset=True)
    >>> crossings(frames, np.array([0, 0, 1, 1]), 2, lagtime=2).tolist()
    [[[0, 1], [0, 0]]]
    """
    counts = np.zeros((len(frames.temperatures), n_states, n_states), dtype=np.int64)
    left, reached = passages(frames, states, lagtime)
    np.add.at(counts, (frames.origin[left], states[left], states[reached]), 1)
    return counts


def passages(frames: Frames, states: IntArray, lagtime: int) -> tuple[IntArray, IntArray]:
    """Return, for every crossing, the last row of the old visit and the first of the new one.

    Parameters are those of :func:`crossings`.
    """
    if frames.bare_pairs is not None:
        first, later = frames.bare_pairs
        apart = states[first] != states[later]
        return first[apart], later[apart]
    order = frames.in_time()
    return between_visits(order, _broken(frames, order), states, lagtime)


def between_visits(
    order: IntArray, broken: BoolArray, states: IntArray, lagtime: int
) -> tuple[IntArray, IntArray]:
    """Return the rows that :func:`passages` returns, of rows in the order of time.

    Parameters
    ----------
    order : ndarray of int, shape (n_rows,)
        Rows, walker by walker.
    broken : ndarray of bool, shape (n_rows - 1,)
        Whether a walker ends between a row and the next.
    states : ndarray of int, shape (n_frames,)
    lagtime : int
        Frames of the shortest visit.
    """
    first, last, walker = _visits(order, broken, states, lagtime)
    first, last = order[first], order[last]
    crossed = (walker[1:] == walker[:-1]) & (states[first[1:]] != states[last[:-1]])
    return last[:-1][crossed], first[1:][crossed]


def lasting(frames: Frames, states: IntArray, lagtime: int) -> BoolArray:
    """Return which frames belong to a visit of a lagtime at least; parameters as above."""
    inside = np.zeros(len(frames), dtype=bool)
    if frames.bare_pairs is not None:
        inside[np.concatenate(frames.bare_pairs)] = True
        return inside
    order = frames.in_time()
    first, last, _ = _visits(order, _broken(frames, order), states, lagtime)
    edges = np.zeros(len(order) + 1, dtype=np.int64)
    edges[first] += 1
    edges[last + 1] -= 1
    inside[order] = np.cumsum(edges)[:-1] > 0
    return inside


def _broken(frames: Frames, order: IntArray) -> BoolArray:
    """Return whether a walker ends between a row in the order of time and the next."""
    left = np.diff(frames.trajectory[order]) != 0
    return np.asarray(left | (np.diff(frames.frame[order]) != 1))


def _visits(
    order: IntArray, broken: BoolArray, states: IntArray, lagtime: int
) -> tuple[IntArray, IntArray, IntArray]:
    """Return places in the order of the first and last frames of lasting visits, and walkers."""
    turned = np.flatnonzero(broken | (np.diff(states[order]) != 0))
    first, last = np.append(0, turned + 1), np.append(turned, len(order) - 1)
    walker = np.append(0, np.cumsum(broken))[first]
    stays = last - first + 1 >= lagtime
    return first[stays], last[stays], walker[stays]
