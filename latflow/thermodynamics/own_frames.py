"""Frames of each simulated temperature by themselves, by state: their means and how they change."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.interpolate import CubicHermiteSpline

from latflow._typing import BoolArray, FloatArray, IntArray
from latflow.thermodynamics.pool import Pool

FEWEST_FRAMES = 10  # of a state at a temperature that a mean is trusted with
DIFFERENT = 2.0  # errors, beyond which a difference is taken as it is


@dataclass(frozen=True, eq=False)
class OwnFrames:
    """The frames of each simulated temperature, by state.

    Attributes
    ----------
    pool : Pool
    states : ndarray of int, shape (n_frames,)
        All 0 for a model without states.
    """

    pool: Pool
    states: IntArray

    @cached_property
    def n_states(self) -> int:
        """Number of states that have a frame, and of those before them."""
        return int(self.states.max()) + 1

    @cached_property
    def weights(self) -> FloatArray:
        """Weight of every block in every state, (n_blocks, n_states)."""
        return self.by_block(np.ones(len(self.pool)))

    @cached_property
    def enough(self) -> BoolArray:
        """Where a state has frames enough at a temperature: (n_temperatures, n_states)."""
        n = len(self.pool.betas)
        cells = self.pool.origin.astype(np.int64) * self.n_states + self.states
        frames = np.bincount(cells[self.pool.weights > 0], minlength=n * self.n_states)
        return np.asarray(frames.reshape(n, -1) >= FEWEST_FRAMES)

    @cached_property
    def known(self) -> BoolArray:
        """Where, moreover, two blocks tell an error: (n_temperatures, n_states)."""
        blocks = np.eye(len(self.pool.betas))[self.pool.strata[1]].T @ (self.weights > 0)
        return np.asarray(self.enough & (blocks >= 2))

    def by_block(self, values: FloatArray) -> FloatArray:
        """Return the weighted sums of an observable by block and state, (n_blocks, n_states)."""
        cells = self.pool.strata[0].astype(np.int64) * self.n_states + self.states
        sums = np.bincount(cells, self.pool.weights * values, self.pool.n_blocks * self.n_states)
        return np.asarray(sums.reshape(-1, self.n_states), np.float64)

    def totals(self, sums: FloatArray, times: FloatArray | None = None) -> FloatArray:
        """Return sums over the blocks of each temperature, (n_temperatures, n_states).

        `times` is how often each block comes; once if not given.
        """
        member = np.eye(len(self.pool.betas))[self.pool.strata[1]]
        if times is not None:
            member = member * times[:, None]
        return np.asarray(member.T @ sums)

    def means(self, sums: FloatArray, times: FloatArray | None = None) -> FloatArray:
        """Return an observable's means from its sums by block: (n_temperatures, n_states).

        NaN where no frame weighs anything.
        """
        with np.errstate(invalid="ignore"):
            return self.totals(sums, times) / self.totals(self.weights, times)

    @cached_property
    def rising(self) -> IntArray:
        """The simulated temperatures in the order of rising beta."""
        return np.argsort(self.pool.betas)


def squared(differences: FloatArray, errors: FloatArray) -> FloatArray:
    """Return squares of differences in errors; 0 where neither is any."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.nan_to_num((differences / errors) ** 2, nan=0.0, posinf=np.inf)


def shrunk(differences: FloatArray, errors: FloatArray, z2: FloatArray | float = 0) -> FloatArray:
    """Return the share of each difference that it, or others beside it, show beyond their errors.

    Parameters
    ----------
    differences, errors : ndarray
        Of the same shape.
    z2 : float or ndarray, default=0
        Mean square, in errors, of differences that are alike.
    """
    squares = np.maximum(squared(differences, errors), z2)
    return np.asarray(1 - 1 / np.maximum(squares, 1.0))


def share_of(differences: FloatArray, errors: FloatArray, z2: FloatArray | float = 0) -> FloatArray:
    """Return the share of each difference that is real: all of one beyond two errors, or shrunk."""
    return np.where(np.abs(differences) > DIFFERENT * errors, 1.0, shrunk(differences, errors, z2))


def hermite(
    beta: float, betas: FloatArray, values: FloatArray, slopes: FloatArray
) -> tuple[float, float]:
    """Return a mean and its slope in beta: cubic inside, a line in temperature outside."""
    border = float(np.clip(beta, betas[0], betas[-1]))
    if border == beta and len(betas) > 1:
        cubic = CubicHermiteSpline(betas, values, slopes)
        return float(cubic(beta)), float(cubic(beta, 1))
    k = int(np.argmin(np.abs(betas - beta)))
    capacity = -slopes[k] * betas[k] ** 2
    return float(values[k] + capacity * (1 / beta - 1 / betas[k])), float(-capacity / beta**2)
