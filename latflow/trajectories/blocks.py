"""Frames in blocks: held out to stop by, or taken as independent for error bars."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from latflow.trajectories.frames import Frames
from latflow.trajectories.pairs import time_blocks

__all__ = ["held_out_rows", "independent_blocks"]

FEWEST_BLOCKS = 10

IntArray = NDArray[np.int64]


def held_out_rows(
    frames: Frames, fraction: float, lagtime: int, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Mark about `fraction` of each temperature's rows: contiguous blocks, never single frames.

    Blocks are at least five lagtimes long. Where the data are too short for one, none is marked.
    """
    held_out = np.zeros(len(frames.X), dtype=bool)
    temperature = np.zeros(len(held_out)) if frames.temperature is None else frames.temperature
    length = max(5 * lagtime, round(len(held_out) * fraction / 20))
    blocks = time_blocks(frames.trajectory, frames.frame, length=length)
    for value in np.unique(temperature):
        rows = np.flatnonzero(temperature == value)
        ids, sizes = np.unique(blocks[rows], return_counts=True)
        order = rng.permutation(len(ids))
        wanted = fraction * len(rows)
        chosen = order[np.cumsum(sizes[order]) <= wanted]
        if len(chosen) == 0 and sizes[order[0]] <= 2 * wanted and len(ids) > 1:
            chosen = order[:1]
        held_out[rows[np.isin(blocks[rows], ids[chosen])]] = True
    return held_out


def independent_blocks(frames: Frames) -> IntArray:
    """Return blocks taken as independent, at least ten a temperature where frames allow.

    They are whole trajectories, or contiguous pieces where a temperature has few of them.
    """
    temperature = np.zeros(len(frames.X)) if frames.temperature is None else frames.temperature
    blocks = np.empty(len(frames.X), dtype=np.int64)
    n_blocks = int(frames.trajectory.max()) + 1
    for value in np.unique(temperature):
        rows = np.flatnonzero(temperature == value)
        own = frames.trajectory[rows]
        if len(np.unique(own)) < FEWEST_BLOCKS:
            length = max(1, len(rows) // FEWEST_BLOCKS)
            own = n_blocks + time_blocks(own, frames.frame[rows], length=length)
            n_blocks = int(own.max()) + 1
        blocks[rows] = own
    return blocks
