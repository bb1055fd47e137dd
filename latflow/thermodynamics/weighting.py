"""Every frame's weight at any temperature, and averages with the errors that blocks tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from latflow._blocks import blocks_of_rows
from latflow._typing import FloatArray, IntArray
from latflow.thermodynamics.offsets import free_energy_offsets, log_total
from latflow.thermodynamics.pool import Pool
from latflow.thermodynamics.routes import Route, reduced_at


@dataclass(frozen=True, eq=False)
class Weighting:
    """A route whose free energies between the simulated temperatures are solved.

    Attributes
    ----------
    route : Route
    log_counts : ndarray of shape (n_temperatures,)
        log N_k + f_k.
    log_base : ndarray of shape (n_frames,)
        Logarithm of omega_n / sum_k N_k exp(f_k - u(n, beta_k)); -inf for a frame without weight.
    pool : Pool or None
        Whose blocks tell errors. Without it, as for bootstraps, errors are zero.
    times : ndarray of shape (n_blocks,), or None
        How often a bootstrap drew each block.
    """

    route: Route
    log_counts: FloatArray
    log_base: FloatArray | NDArray[np.float32]
    pool: Pool | None = None
    times: FloatArray | None = None

    @classmethod
    def solved(cls, route: Route, pool: Pool, apart: FloatArray | None = None) -> Weighting:
        """Solve for the f_k of a route on the pooled frames.

        Where the temperatures have too little in common for that, they are `apart`, or a ValueError
        says so.
        """
        u = reduced_at(route, pool.betas)
        offsets = free_energy_offsets(u, pool.counts, pool.weights, apart=apart)
        return cls.of(route, np.log(pool.counts) + offsets, u, pool.weights, pool)

    @classmethod
    def of(
        cls,
        route: Route,
        log_counts: FloatArray,
        reduced: FloatArray,
        weights: FloatArray,
        pool: Pool | None = None,
    ) -> Weighting:
        """Build from log N_k + f_k, u(n, beta_k) and the frames' weights."""
        with np.errstate(divide="ignore"):
            log_base = np.log(weights)
        for rows in blocks_of_rows(len(reduced), 8 * len(log_counts)):
            log_base[rows] -= log_total(log_counts[:, None] - reduced[rows].T)
        return cls(route, log_counts, log_base, pool)

    def redrawn(self, times: FloatArray) -> Weighting:
        """Return the weighting of blocks that come so often: the route stays, the f_k follow.

        They do so to first order, as in :meth:`pulls`.
        """
        if self.pool is None:
            raise ValueError("Expected a weighting with its pool, got that of a bootstrap.")
        response, curvature = self._response
        change = np.linalg.lstsq(curvature, (times - 1) @ response, rcond=None)[0]
        log_counts = self.log_counts + np.append(0.0, change)
        reduced, weights = reduced_at(self.route, self.pool.betas), self.pool.weights_of(times)
        solved = Weighting.of(self.route, log_counts, reduced, weights)
        log_base = solved.log_base.astype(np.float32)
        return Weighting(self.route, log_counts, log_base, times=times)

    def at(self, beta: float) -> Snapshot:
        """Return the weighted frames at one inverse temperature."""
        return Snapshot(self, beta)

    @cached_property
    def membership(self) -> FloatArray:
        """Probability that a frame came from each temperature: (n_frames, n_temperatures)."""
        if self.pool is None:
            raise ValueError("Expected a weighting with its pool, got that of a bootstrap.")
        u = reduced_at(self.route, self.pool.betas)
        return np.asarray(softmax(self.log_counts - u, axis=1))

    @cached_property
    def _response(self) -> tuple[FloatArray, FloatArray]:
        """How the f_k answer to each block, (n_blocks, K - 1), and their curvature."""
        pool, n = self.pool, self.membership.shape[1]
        if pool is None:
            raise ValueError("Expected a weighting with its pool, got that of a bootstrap.")
        curvature, response = np.zeros((n, n)), np.zeros((pool.n_blocks, n))
        for rows in blocks_of_rows(len(pool), n):
            member, weights = self.membership[rows], pool.weights[rows, None]
            curvature += np.diag(weights[:, 0] @ member) - member.T @ (weights * member)
            response += pool.block_sums(weights * (np.eye(n)[pool.origin[rows]] - member), rows)
        return response[:, 1:], curvature[1:, 1:]

    def pulls(self, pull: FloatArray, rows: IntArray | slice = slice(None)) -> FloatArray:
        """Return each block's pull on some statistics: an infinitesimal jackknife over blocks.

        A block pulls directly and through the f_k. The products of two columns, summed over the
        blocks, are the covariances of the statistics. They hold the route fixed.

        Parameters
        ----------
        pull : ndarray of shape (n_rows, n_statistics)
            Change of each statistic with the logarithm of each frame's weight.
        rows : index of frames, optional
            The frames that pull; all if not given.

        Returns
        -------
        ndarray of shape (n_blocks, n_statistics)
            NaN where a temperature has one block only; no rows without a pool.
        """
        if self.pool is None:
            return np.empty((0, pull.shape[1]))
        sums = self.pool.block_sums(pull, rows)
        slope = -(self.membership[rows].T @ pull)[1:]
        if len(slope):
            response, curvature = self._response
            sums = sums + response @ np.linalg.lstsq(curvature, slope, rcond=None)[0]
        return self.pool.centred(sums)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The weighted frames at one inverse temperature: what a statistic is evaluated on."""

    weighting: Weighting
    beta: float

    @cached_property
    def log_weights(self) -> FloatArray:
        """Logarithm of every frame's weight, not normalised; -inf for no weight."""
        base = np.asarray(self.weighting.log_base, dtype=np.float64)
        return np.asarray(base - self.weighting.route.reduced(self.beta))

    @cached_property
    def weights(self) -> FloatArray:
        """Weight of every frame; they sum to 1."""
        weights = np.asarray(self.log_weights - self.log_weights.max(), np.float64)
        np.exp(weights, out=weights)
        weights /= weights.sum()
        return weights


# a statistic of the weighted frames: values and standard errors
Statistic = Callable[[Snapshot], tuple[FloatArray, FloatArray]]


def averages(snapshot: Snapshot, values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return weighted means of the columns of `values` and their standard errors.

    Parameters
    ----------
    snapshot : Snapshot
    values : ndarray of shape (n_frames, n_values)

    Returns
    -------
    mean, error : ndarray of shape (n_values,)
    """
    weights = snapshot.weights
    mean = weights @ values
    pulls = snapshot.weighting.pulls(weights[:, None] * (values - mean))
    return mean, np.sqrt((pulls**2).sum(axis=0))
