"""Shuffled pairs of frames on disk: few large reads, many places of the data in each batch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from latflow._typing import IntArray
from latflow.trajectories.rows import Rows

POOL = 2**22  # numbers in memory at once for one pool
MOST_POOLED = 65536  # rows
LONGEST, TOGETHER = 512, 64  # rows of a window; windows of a pool


def pool_rows(n_columns: int, size: int) -> int:
    """Return about how many rows a pool holds: at least four batches."""
    return max(4 * size, min(MOST_POOLED, POOL // max(1, n_columns)))


def pools(
    X: Rows, columns: tuple[IntArray, ...], size: int, rng: np.random.Generator
) -> Iterator[tuple[IntArray, ...]]:
    """Yield for ever the entries of `columns`, pool by pool, each entry once an epoch.

    A pool is what is read at once: windows (contiguous rows of the file) from random places, their
    entries shuffled. Windows are short, so that a batch sees many independent places.

    Parameters
    ----------
    X : Rows
    columns : tuple of ndarray of int, shape (n_entries,)
        Rows that belong together, say of pairs; an entry is in the window of its first.
    size : int
        Of the batches that the pools will be cut into.
    rng : numpy.random.Generator

    Yields
    ------
    tuple of ndarray of int
        Entries of this pool of each column.
    """
    target = pool_rows(X.shape[1], size)
    length = max(16, min(LONGEST, target // TOGETHER))
    if X.grain > 1:  # a chunk is read whole: no less than a chunk, as far as memory allows
        length = max(length, min(X.grain, target // 8))
    order, starts, ends = _windows(columns[0], length)
    n_pools = min(len(starts), max(1, round(len(columns[0]) / target)))
    while True:
        for some in np.array_split(rng.permutation(len(starts)), n_pools):
            entries = np.concatenate([np.arange(starts[w], ends[w]) for w in some])
            entries = rng.permutation(entries if order is None else order[entries])
            yield tuple(column[entries] for column in columns)


def _windows(rows: IntArray, length: int) -> tuple[IntArray | None, IntArray, IntArray]:
    """Return where the entries of each window of rows begin and end, and their order if needed."""
    window, order = rows // length, None
    if (np.diff(window) < 0).any():
        order = np.argsort(window, kind="stable")
        window = window[order]
    cuts = np.flatnonzero(np.diff(window)) + 1
    return order, np.append(0, cuts), np.append(cuts, len(rows))
