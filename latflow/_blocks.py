"""Rows in blocks: as many at once as keep memory small."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["blocks_of_rows", "rows_at_once"]

NUMBERS_AT_ONCE = 2**20  # 8 MB in double precision
MOST_ROWS, FEWEST_ROWS = 2**16, 2**8


def rows_at_once(n_columns: int, *, fewest: int = FEWEST_ROWS) -> int:
    """Return how many rows of this many numbers to work on at once."""
    return min(MOST_ROWS, max(fewest, NUMBERS_AT_ONCE // max(1, n_columns)))


def blocks_of_rows(
    n_rows: int, n_columns: int = 1, *, fewest: int = FEWEST_ROWS
) -> Iterator[slice]:
    """Yield slices that cover all rows in order, each of :func:`rows_at_once` rows at most."""
    step = rows_at_once(n_columns, fewest=fewest)
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))
