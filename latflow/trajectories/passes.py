"""Passes over frames: a function of every block of rows, by whoever joblib's backend has to work.

Blocks depend on the rows alone, and results come in the order of the blocks to the process that
asked and puts them together: any number of workers gives the same bits.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any, NamedTuple, TypeVar

import joblib
import numpy as np
from joblib.parallel import get_active_backend
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from latflow._typing import IntArray
from latflow.trajectories.rows import Rows, ahead, slices_of

TASKS_A_WORKER = 4  # at least, so that none waits long for the last
LARGEST_TASK = 2**26  # bytes that one reads
FEWEST_MOVED = 2**17  # rows in memory, of those worth moving: fewer are done before they arrive

T = TypeVar("T")
Block = NDArray[Any]
Worker = Callable[[], AbstractContextManager[Any]]


def over_blocks(
    X: Any,
    function: Callable[..., T],
    *,
    columns: Sequence[NDArray[Any]] = (),
    prepare: Callable[[Block], Any] | None = None,
    worker: Worker = nullcontext,
    length: int | None = None,
    moves: bool = False,
) -> Iterator[T]:
    """Yield a function of every block of rows, in order.

    Where a joblib backend with several workers is active (``joblib.parallel_config``), they share
    the blocks. Each reads its own: rows on disk travel as the names of their files. Rows in memory
    are shared among threads and do not travel to other processes, which would take longer than most
    passes. Without a backend, or inside of one of its tasks, this process does it, and reads a
    block from disk while it works on the one before.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_columns), or Rows
    function : callable
        What `prepare` returns, and as many rows of each column -> a result. It goes to other
        processes: bound to little, and to no array that has an entry per row.
    columns : sequence of ndarray of shape (n_rows, ...), optional
        What is known of every row besides.
    prepare : callable, optional
        Rows as they are read -> what `function` takes. With a single worker the thread that reads
        does this.
    worker : callable, optional
        Returns the context that a worker computes in.
    length : int, optional
        Rows of a block; as many as memory should hold at once if not given.
    moves : bool, default=False
        Whether many rows in memory are worth moving: few columns that much is made of.

    Yields
    ------
    result of `function`
    """
    slices = [*_slices(len(X), length)] if length else slices_of(X)
    n_workers = workers(X, moves=moves) if len(slices) > 1 else 1
    with _one_thread():
        if n_workers > 1:
            yield from _spread(X, slices, n_workers, function, columns, prepare, worker)
            return
        blocks = (X[rows] if prepare is None else prepare(X[rows]) for rows in slices)
        read = ahead(blocks) if isinstance(X, Rows) and X.on_disk else blocks
        for rows, block in zip(slices, read, strict=True):
            yield function(block, *(column[rows] for column in columns))
            del block


def _slices(n_rows: int, length: int) -> Iterator[slice]:
    return (slice(k, min(k + length, n_rows)) for k in range(0, max(1, n_rows), length))


def workers(X: Any, *, moves: bool = False) -> int:
    """Return how many workers of the active joblib backend can share a pass over these rows."""
    n_workers = 1 if _in_dask_task() else int(joblib.effective_n_jobs(None))
    if n_workers < 2:
        return 1
    if getattr(get_active_backend()[0], "supports_sharedmem", False):
        return n_workers
    reads = isinstance(X, Rows) and X.on_disk
    return n_workers if (_travels(X) if reads else moves and len(X) >= FEWEST_MOVED) else 1


def _in_dask_task() -> bool:
    """Whether a Dask worker runs this: it would lend its place to another task, and memory too."""
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return False
    try:
        distributed.get_worker()
    except ValueError:
        return False
    return True


def _travels(X: Rows) -> bool:
    """Whether other processes can open the files, as those of h5py's open ones cannot be."""
    try:
        pickle.dumps(X.part(0, 1))
    except (TypeError, AttributeError, pickle.PicklingError):
        return False
    return True


class _Piece(NamedTuple):
    """Rows of one task, the blocks among them, and what is known of each row besides."""

    X: Any
    slices: list[slice]
    columns: tuple[NDArray[Any], ...]

    def results(
        self,
        function: Callable[..., T],
        prepare: Callable[[Block], Any] | None,
        worker: Worker,
    ) -> list[T]:
        """Do the task, where the files are read."""
        with _one_thread(), worker():
            results = []
            for rows in self.slices:
                block = self.X[rows] if prepare is None else prepare(self.X[rows])
                results.append(function(block, *(column[rows] for column in self.columns)))
            return results


def _spread(
    X: Any,
    slices: list[slice],
    n_workers: int,
    function: Callable[..., T],
    columns: Sequence[NDArray[Any]],
    prepare: Callable[[Block], Any] | None,
    worker: Worker,
) -> Iterator[T]:
    """Let joblib's workers do pieces of a pass; a few of them are under way at a time."""
    block_size = (slices[0].stop - slices[0].start) * X.shape[1] * X.dtype.itemsize
    most = max(1, LARGEST_TASK // max(1, block_size))
    n_blocks = min(most, -(-len(slices) // (TASKS_A_WORKER * n_workers)))
    groups = (slices[k : k + n_blocks] for k in range(0, len(slices), n_blocks))
    tasks = (
        joblib.delayed(_Piece.results)(_piece(X, group, columns), function, prepare, worker)
        for group in groups
    )
    for results in joblib.Parallel(return_as="generator", batch_size=1)(tasks):
        yield from results


def _piece(X: Any, group: list[slice], columns: Sequence[NDArray[Any]]) -> _Piece:
    first, last = group[0].start, group[-1].stop
    some = X.part(first, last) if isinstance(X, Rows) else X[first:last]
    slices = [slice(rows.start - first, rows.stop - first) for rows in group]
    return _Piece(some, slices, tuple(column[first:last] for column in columns))


def _one_thread() -> AbstractContextManager[Any]:
    """NumPy's linear algebra on one thread: the order of its sums changes with their number.

    Of several threads of a process threadpoolctl lets the first decide, so the one that asks for a
    pass does, before its workers.
    """
    return _pools().limit(limits=1, user_api="blas")  # type: ignore[no-any-return]


@cache
def _pools() -> ThreadpoolController:
    return ThreadpoolController()


def check_finite(X: Any, trajectory: NDArray[Any], frame: NDArray[Any]) -> None:
    """Raise a ValueError that names the first trajectory and frame with a NaN or an infinity.

    X is an array or Rows; `trajectory` and `frame` say where each of its rows is.
    """
    if X.dtype.kind != "f":
        return
    found = zip(slices_of(X), over_blocks(X, _not_finite), strict=True)
    bad = np.concatenate([np.empty(0, np.int64), *(rows.start + here for rows, here in found)])
    if not len(bad):
        return
    first = bad[np.lexsort((frame[bad], trajectory[bad]))[0]]
    what = "NaN" if np.isnan(X[first : first + 1]).any() else "infinity"
    raise ValueError(
        f"Expected finite numbers in `X`, got {what} in trajectory {trajectory[first]}, frame "
        f"{frame[first]} ({len(bad)} such frames in all)."
    )


def _not_finite(block: Block) -> IntArray:
    return np.flatnonzero(~np.isfinite(block).all(axis=1))
