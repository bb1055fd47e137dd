"""Cross-validation that never trains on a neighbour, in time, of a frame it judges."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.model_selection import BaseCrossValidator

from latflow._typing import IntArray
from latflow._validation import check_count, check_option, warn
from latflow.trajectories.containers import is_trajectory_list
from latflow.trajectories.frames import read_index
from latflow.trajectories.pairs import places

UNITS_OF_FOLDS = ("auto", "trajectory", "block")

Fold = tuple[IntArray, IntArray]


class TrajectoryKFold(BaseCrossValidator):
    """K folds of whole trajectories, or of one contiguous block of each trajectory.

    For a list of trajectories an index of a fold is a trajectory, for a stacked array a row. A
    stacked array tells its trajectories by the routed metadata `trajectory` and `frame`, requested
    by default, or by levels of a DataFrame's index with these names.

    Parameters
    ----------
    n_splits : int, default=5
        At least 2.
    by : {"auto", "trajectory", "block"}, default="auto"
        "trajectory" deals whole trajectories out in turn. "block" cuts every trajectory of a
        stacked array into `n_splits` contiguous blocks and holds out one of each. "auto" takes
        trajectories where there are at least `n_splits`, else blocks.
    gap : int, default=0
        Frames to drop from training on both sides of a held-out block; take the lagtime or more,
        as neighbours in time are nearly copies.

    Raises
    ------
    ValueError
        By `split`: for fewer trajectories than folds, or blocks shorter than one frame.

    Examples
    --------
    >>> import numpy as np
    >>> from latflow.trajectories import TrajectoryKFold
    >>> for train, test in TrajectoryKFold(2, gap=1).split(np.zeros((6, 1))):
    ...     print(train, test)
    [4 5] [0 1 2]
    [0 1] [3 4 5]
    """

    __metadata_request__split = dict.fromkeys(("trajectory", "frame"), True)

    def __init__(self, n_splits: int = 5, *, by: str = "auto", gap: int = 0) -> None:
        self.n_splits = n_splits
        self.by = by
        self.gap = gap

    def get_n_splits(
        self, X: Any = None, y: object = None, groups: object = None, **metadata: Any
    ) -> int:
        """Return the number of folds, whatever the data."""
        return check_count(self.n_splits, "n_splits", minimum=2)

    def split(
        self,
        X: Any,
        y: object = None,
        groups: object = None,
        trajectory: ArrayLike | None = None,
        frame: ArrayLike | None = None,
    ) -> Iterator[Fold]:
        """Yield training and held-out indices of each fold.

        Parameters
        ----------
        X : list of array_like of shape (n_frames_i, n_features), or array_like
        y, groups : ignored
        trajectory, frame : array_like of shape (n_frames,), optional
            Trajectory id and place in it of each row of a stacked array.

        Yields
        ------
        train, test : ndarray of int
            Trajectories of a list, rows of an array; sorted.
        """
        n_splits = self.get_n_splits()
        check_option(self.by, "by", UNITS_OF_FOLDS)
        check_count(self.gap, "gap", minimum=0)
        if is_trajectory_list(X):
            self._check_enough(len(X), listed=True)
            return _deal(np.arange(len(X)), n_splits)
        trajectory, frame, _ = read_index(X, trajectory, frame, {})
        ids, place = places(len(X), trajectory, frame)
        n_trajectories = int(ids.max()) + 1
        if self.by == "trajectory" or (self.by == "auto" and n_trajectories >= n_splits):
            self._check_enough(n_trajectories, listed=False)
            return _deal(ids, n_splits)
        if frame is None and len(X) > n_splits and trajectory is not None:
            warn(
                "Folds of blocks cut gaps into the training rows, which are unseen without "
                "`frame`: hand `frame` on (latflow.stack gives it), or up to `lagtime` pairs a "
                "gap are false."
            )
        return _blocks(ids, place, n_splits, self.gap)

    def _check_enough(self, n_trajectories: int, *, listed: bool) -> None:
        if listed and self.by == "block":
            raise ValueError(
                "Expected by='auto' or 'trajectory' for a list, whose entries are whole "
                "trajectories, got 'block': stack the list (latflow.stack), or cut its arrays."
            )
        if n_trajectories < self.n_splits:
            cure = "stack them (latflow.stack) and take by='block'" if listed else "take by='block'"
            raise ValueError(
                f"Expected at least n_splits={self.n_splits} trajectories, got {n_trajectories}: "
                f"{cure}."
            )


def _deal(ids: IntArray, n_splits: int) -> Iterator[Fold]:
    """Deal trajectories out to the folds in turn."""
    for fold in range(n_splits):
        test = ids % n_splits == fold
        yield np.flatnonzero(~test), np.flatnonzero(test)


def _blocks(ids: IntArray, place: IntArray, n_splits: int, gap: int) -> Iterator[Fold]:
    """Hold out one contiguous block of every trajectory, and drop `gap` frames around it."""
    order = np.lexsort((place, ids))
    sizes = np.bincount(ids)
    if sizes.max() < n_splits:
        raise ValueError(
            f"Expected a trajectory of at least n_splits={n_splits} frames to cut into blocks, "
            f"got at most {sizes.max()}."
        )
    rank = np.empty(len(ids), dtype=np.int64)
    rank[order] = np.arange(len(ids)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    for fold in range(n_splits):
        first, last = fold * sizes[ids] // n_splits, (fold + 1) * sizes[ids] // n_splits
        test = (rank >= first) & (rank < last)
        train = (rank < first - gap) | (rank >= last + gap)
        yield np.flatnonzero(train), np.flatnonzero(test)
