"""Frames sorted by temperature that replica exchange made jump from one walker to another."""

from __future__ import annotations

from itertools import groupby

import numpy as np

from latflow._typing import FloatArray, IntArray
from latflow.trajectories import Frames

MOST_TRAJECTORIES = 40
MOST_STEPS = 1000
MOST_FEATURES = 16
SHIFTS = (0, 1 / 4, 1 / 3, 2 / 5, 1 / 2, 3 / 5, 2 / 3, 3 / 4)  # of the length, round and round
FEWEST_FRAMES = 50
NEARER = 0.25  # of the squared step that a trajectory seems to make
FEWEST_JUMPS, FAR_MORE = 10, 1.5  # jumps, and in the most that chance gave


def jumps(frames: Frames, scaling: tuple[FloatArray, FloatArray], seed: int) -> list[IntArray]:
    """Count steps that begin nearer to another temperature's frame than to one's own.

    Where walkers are exchanged between two frames, each of the two trajectories goes on where the
    other was. By chance that happens as often to frames of another time, so the others are
    shifted far in time as well. Exchanges much more frequent than frames leave no trace.

    Parameters
    ----------
    frames : Frames
    scaling : tuple of two ndarrays of shape (n_features,)
        Mean and scale of the features.
    seed : int
        Of a projection of many features to few.

    Returns
    -------
    list of ndarray of int, shape (1 + n_shifts,)
        For trajectories of one length at several temperatures: jumps at the same time, and at
        shifted ones. Empty where there are none such.
    """
    groups = [rows for rows in _together(frames) if len(rows[0]) >= FEWEST_FRAMES]
    return [_counts(frames, scaling, rows, seed) for rows in groups]


def many(counts: list[IntArray]) -> bool:
    """Whether there are more jumps than chance gives."""
    now, chance = sum(c[0] for c in counts), sum(int(c[1:].max()) for c in counts)
    return bool(now > FEWEST_JUMPS + FAR_MORE * chance)


def _together(frames: Frames) -> list[list[IntArray]]:
    """Return the rows of trajectories that stay at one temperature, grouped by their length."""
    sizes = np.bincount(frames.trajectory)
    segments = [rows for rows in frames.segments() if len(rows)]
    stay = [rows for rows in segments if len(rows) == sizes[frames.trajectory[rows[0]]]]
    stay.sort(key=len)
    groups = [list(group) for _, group in groupby(stay, key=len)]
    several = [g for g in groups if len({int(frames.origin[s[0]]) for s in g}) > 1]
    return [_some(sorted(g, key=lambda s: int(frames.origin[s[0]]))) for g in several]


def _some(segments: list[IntArray]) -> list[IntArray]:
    chosen = np.linspace(0, len(segments) - 1, min(MOST_TRAJECTORIES, len(segments)))
    return [segments[int(k)] for k in chosen]


def _counts(
    frames: Frames, scaling: tuple[FloatArray, FloatArray], rows: list[IntArray], seed: int
) -> IntArray:
    n = len(rows[0]) - 1
    times = np.unique(np.linspace(0, n - 1, min(n, MOST_STEPS)).astype(np.int64))
    origin = np.array([frames.origin[r[0]] for r in rows])
    same = origin[:, None] == origin[None]

    def at(shift: int) -> FloatArray:
        """Return the standardised features at the times, shape (n_times, n_trajectories, d)."""
        place = (times + shift) % (n + 1)
        x = np.stack([frames.X[r[place]] for r in rows], axis=1).astype(np.float64)
        return _projected((x - scaling[0]) / scaling[1], seed)

    later = at(1)
    step = ((later - at(0)) ** 2).sum(axis=-1)
    others = (at(round(part * n)) for part in SHIFTS)
    return np.array([_jumped(later, before, step, same).sum() for before in others])


def _jumped(later: FloatArray, before: FloatArray, step: FloatArray, same: IntArray) -> FloatArray:
    """Return whether another temperature's frame is far nearer than the one before."""
    squares = (later**2).sum(-1)[:, :, None] + (before**2).sum(-1)[:, None]
    distance = squares - 2 * later @ before.transpose(0, 2, 1)
    distance[:, same] = np.inf
    return np.asarray(distance.min(axis=2) < NEARER * step)


def _projected(x: FloatArray, seed: int) -> FloatArray:
    """Return features as they are if few, else random combinations that keep distances."""
    if x.shape[-1] <= MOST_FEATURES:
        return x
    rng = np.random.default_rng(seed)
    return np.asarray(x @ rng.standard_normal((x.shape[-1], MOST_FEATURES)))
