"""Trajectories that were given twice."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latflow._typing import IntArray
from latflow._validation import warn
from latflow.trajectories.frames import Frames
from latflow.trajectories.rows import step_of

FEWEST_VALUES = 10  # or changes, of what two simulations do not share by chance


def repeats(frames: Frames) -> list[tuple[int, int]]:
    """Return pairs of trajectories that hold the same features, frame by frame.

    Only trajectories of one length with the same first, middle and last frame are read whole.
    Those with so few values that two simulations may share them by chance are passed over.
    """
    order = np.lexsort((frames.frame, frames.trajectory))
    bounds = np.r_[0, np.flatnonzero(np.diff(frames.trajectory[order])) + 1, len(order)]
    pieces = [order[start:stop] for start, stop in pairwise(bounds) if stop - start > 1]
    if len(pieces) < 2:
        return []
    seen: dict[bytes, list[IntArray]] = {}
    found = []
    marks = np.concatenate([rows[[0, len(rows) // 2, -1]] for rows in pieces])
    values = np.asarray(frames.X[marks]).reshape(len(pieces), -1)
    for rows, value in zip(pieces, values, strict=True):
        alike = seen.setdefault(len(rows).to_bytes(8) + value.tobytes(), [])
        same = next((other for other in alike if _equal(frames.X, other, rows)), None)
        if same is None:
            alike.append(rows)
        else:
            found.append((int(frames.trajectory[same[0]]), int(frames.trajectory[rows[0]])))
    return found


def warn_of_repeats(frames: Frames) -> None:
    """Say so where a trajectory came twice, as its frames then have twice their weight."""
    if found := repeats(frames):
        first, second = found[0]
        others = f" ({len(found)} such pairs in all)" if len(found) > 1 else ""
        warn(
            f"Trajectories {first} and {second} hold the same frames{others}: was a file given "
            "twice? These frames count twice, and error bars take them for independent."
        )


def _equal(X: Any, one: IntArray, other: IntArray) -> bool:
    step = step_of(X)
    blocks = [slice(k, k + step) for k in range(0, len(one), step)]
    if not all(np.array_equal(X[one[block]], X[other[block]]) for block in blocks):
        return False
    return _telling(np.asarray(X[one[blocks[0]]]))


def _telling(block: NDArray[Any]) -> bool:
    """Whether frames hold more than two simulations would share by chance."""
    changes = int((np.diff(block, axis=0) != 0).any(axis=1).sum())
    return changes >= FEWEST_VALUES or len(np.unique(block)) >= FEWEST_VALUES
