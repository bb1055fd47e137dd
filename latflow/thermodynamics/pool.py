"""The frames of all simulated temperatures as one sample, and what their blocks say of errors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from latflow._typing import FloatArray, IntArray


def effective_sample_size(weights: ArrayLike) -> float:
    """Return Kish's effective sample size (sum w)^2 / sum w^2.

    Examples
    --------
    >>> effective_sample_size([1.0, 1.0, 0.0])
    2.0
    """
    w = np.asarray(weights, dtype=np.float64)
    return float(w.sum() ** 2 / (w**2).sum())


@dataclass(frozen=True, eq=False)
class Pool:
    """Frames of all simulated temperatures as one sample.

    Attributes
    ----------
    betas : ndarray of shape (n_temperatures,)
        Inverse temperatures that were simulated.
    origin : ndarray of int, shape (n_frames,)
        Which of them each frame was simulated at.
    weights : ndarray of shape (n_frames,)
        Statistical weight of each frame.
    blocks : ndarray of int, shape (n_frames,)
        Blocks taken as independent: trajectories, or long pieces of them.
    """

    betas: FloatArray
    origin: IntArray
    weights: FloatArray
    blocks: IntArray

    def __len__(self) -> int:
        return len(self.origin)

    @cached_property
    def counts(self) -> FloatArray:
        """Weight of the frames of each temperature."""
        n = len(self.betas)
        return np.asarray(np.bincount(self.origin, self.weights, minlength=n), np.float64)

    @cached_property
    def strata(self) -> tuple[IntArray, IntArray]:
        """Block of every frame, numbered within its temperature, and the temperature of each."""
        n_blocks = int(self.blocks.max()) + 1
        keys = self.origin.astype(np.int64) * n_blocks + self.blocks
        distinct = np.unique(keys)
        return np.searchsorted(distinct, keys).astype(np.int32), distinct // n_blocks

    @property
    def n_blocks(self) -> int:
        """Number of blocks of all temperatures."""
        return len(self.strata[1])

    def block_sums(self, values: FloatArray, rows: IntArray | slice = slice(None)) -> FloatArray:
        """Return the sums of the columns of `values` over each block.

        Parameters
        ----------
        values : ndarray of shape (n_rows, n_values)
        rows : index of frames, optional
            The frames that the values are of; all if not given.

        Returns
        -------
        ndarray of shape (n_blocks, n_values)
        """
        index, n = self.strata[0][rows], self.n_blocks
        columns = [np.bincount(index, weights=column, minlength=n) for column in values.T]
        return np.stack(columns, axis=1) if columns else np.empty((n, 0))

    def centred(self, sums: FloatArray) -> FloatArray:
        """Return sums less their mean over the temperature's blocks, times sqrt(n / (n - 1)).

        Their squares, summed, are variances. NaN where a temperature has one block only.
        """
        origin = self.strata[1]
        n = np.bincount(origin)[origin][:, None].astype(float)
        means = np.stack([sums[origin == k].mean(axis=0) for k in range(origin.max() + 1)])
        factor = np.sqrt(np.divide(n, n - 1, out=np.full_like(n, np.nan), where=n > 1))
        return np.asarray(factor * (sums - means[origin]))

    def redrawn(self, rng: np.random.Generator) -> FloatArray:
        """Return how often each block comes in a bootstrap, drawn within each temperature.

        Of n blocks n - 3 are drawn, and count n / (n - 3) times: with n - 1 the variance of a mean
        has no bias (Rao, Wu, J. Am. Stat. Assoc. 83, 231, 1988), with n - 3 it is that of Student's
        t with n - 1 degrees of freedom, as n blocks tell an error no better.
        """
        origin = self.strata[1]
        times = np.zeros(len(origin))
        for k in range(len(self.betas)):
            blocks = np.flatnonzero(origin == k)
            n = len(blocks)
            m = max(n - 3, 1)
            times[blocks] = n / m * np.bincount(rng.integers(n, size=m), minlength=n)
        return times

    def halved(self, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        """Return how often each block comes in bootstraps of two random halves of the blocks.

        Halves and bootstraps are drawn within each temperature; no block is in both.
        """
        origin = self.strata[1]
        halves = np.zeros((2, len(origin)))
        for k in range(len(self.betas)):
            blocks = rng.permutation(np.flatnonzero(origin == k))
            for times, part in zip(halves, np.array_split(blocks, 2), strict=True):
                np.add.at(times, rng.choice(part, len(part)), 1) if len(part) else None
        return halves[0], halves[1]

    def weights_of(self, times: FloatArray) -> FloatArray:
        """Return the frames' weights where blocks come so often, shape (n_frames,)."""
        return np.asarray(self.weights * times[self.strata[0]])
