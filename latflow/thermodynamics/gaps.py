"""Whether energies are those of the temperatures that were named: two of them at a time."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.special import expit

from latflow._typing import FloatArray, IntArray
from latflow.thermodynamics.pool import Pool
from latflow.units import Units, with_error

N_STEPS = 50
TOLERANCE = 1e-9
FEWEST_SHARED = 30.0  # frames that could be of either temperature
FEWEST_BLOCKS = 8  # of each temperature, to tell an error by
MOST_ERRORS = 4.5  # one good pair in 800 was 4.4 off: blocks know errors to a fifth
RATIOS = (0.5, 2.0)  # beyond them energies are in another unit, or of other frames


@dataclass(frozen=True)
class Gap:
    """How far apart energies say that two temperatures are.

    Attributes
    ----------
    temperatures : tuple of float
        As they were named, the colder first.
    ratio : float
        Difference of the inverse temperatures by the energies, over that of those named; NaN where
        the energies of the two hardly overlap.
    error : float
        Its standard error.
    rise : float
        Mean energy of the hotter less that of the colder, in standard errors.
    """

    temperatures: tuple[float, float]
    ratio: float
    error: float
    rise: float

    @property
    def swapped(self) -> bool:
        """Whether the colder one has the higher energies, which no equilibrium has."""
        return self.rise < -MOST_ERRORS

    @property
    def mistaken(self) -> bool:
        """Whether one of the temperatures is another."""
        low, high = RATIOS
        return abs(self.ratio - 1) > MOST_ERRORS * self.error and low < self.ratio < high

    def sentence(self, units: Units) -> str:
        """Return what a user should know, in one sentence."""
        cold, hot = self.temperatures
        a, b = map(units.named, self.temperatures)
        if self.swapped:
            return (
                f"The energies at {a} are higher than those at {b}, which no equilibrium has: are "
                "the temperatures swapped, or the files?"
            )
        step, error = (x * (1 / cold - 1 / hot) for x in (self.ratio, self.error))
        t, u = 1 / (1 / hot + step), 1 / (1 / cold - step)
        return (
            f"The energies at {a} and {b} overlap as those of {with_error(t, t * t * error)} and "
            f"{hot:g} would, or those of {cold:g} and {with_error(u, u * u * error)}: is one of "
            "the two temperatures mistaken?"
        )


def energy_gaps(energy: FloatArray, pool: Pool, temperatures: FloatArray) -> list[Gap]:
    """Compare the energies of each temperature with those of the next.

    At equilibrium ln p(E; beta_2) / p(E; beta_1) = (beta_1 - beta_2) E + const, whatever the system
    (Shirts, J. Chem. Theory Comput. 9, 909, 2013): a logistic regression of the temperature on the
    energy has the slope beta_1 - beta_2. Its error is that of the blocks.

    Parameters
    ----------
    energy : ndarray of shape (n_frames,)
    pool : Pool
    temperatures : ndarray of shape (n_temperatures,)
        Those of the pool.

    Returns
    -------
    list of Gap
        One for each temperature but the highest; none of temperatures with fewer than eight blocks.
    """
    n_blocks = np.bincount(pool.strata[1], minlength=len(temperatures))
    order = [int(k) for k in np.argsort(temperatures) if n_blocks[k] >= FEWEST_BLOCKS]
    return [_gap(energy, pool, temperatures, pair) for pair in pairwise(order)]


def _gap(energy: FloatArray, pool: Pool, temperatures: FloatArray, pair: tuple[int, int]) -> Gap:
    rows = np.flatnonzero(np.isin(pool.origin, pair))
    hot = (pool.origin[rows] == pair[1]).astype(float)
    weights = pool.weights[rows] / pool.counts[pool.origin[rows]]
    centre = weights @ energy[rows] / weights.sum()
    scale = np.sqrt(weights @ (energy[rows] - centre) ** 2 / weights.sum())
    if not scale > 0:
        return Gap(_named(temperatures, pair), np.nan, np.nan, 0.0)
    x = np.stack([np.ones(len(rows)), (energy[rows] - centre) / scale], axis=1)
    means = np.array([(weights * (hot == k)) @ x[:, 1] for k in (0, 1)])
    pull = weights * (2 * hot - 1) * (x[:, 1] - means[hot.astype(int)])
    rise = (means[1] - means[0]) / max(_error(pool, pull[:, None], rows)[0], np.finfo(float).tiny)
    slope, p, curvature = _regression(x, hot, weights)
    shared = float((pool.weights[rows] * 4 * p * (1 - p)).sum())
    if not np.isfinite(slope) or shared < FEWEST_SHARED * pool.weights[rows].max():
        return Gap(_named(temperatures, pair), np.nan, np.nan, float(rise))
    pulls = x * (weights * (hot - p))[:, None] @ np.linalg.inv(curvature)
    step = scale * (pool.betas[pair[0]] - pool.betas[pair[1]])
    error = _error(pool, pulls, rows)[1] / step
    return Gap(_named(temperatures, pair), slope / step, float(error), float(rise))


def _named(temperatures: FloatArray, pair: tuple[int, int]) -> tuple[float, float]:
    return float(temperatures[pair[0]]), float(temperatures[pair[1]])


def _error(pool: Pool, pulls: FloatArray, rows: IntArray) -> FloatArray:
    """Return the standard errors of statistics that every frame pulls by so much."""
    sums = pool.centred(pool.block_sums(pulls, rows))
    return np.asarray(np.sqrt((sums**2).sum(axis=0)))


def _regression(
    x: FloatArray, y: FloatArray, weights: FloatArray
) -> tuple[float, FloatArray, FloatArray]:
    """Return the slope of a logistic regression, its probabilities and its curvature."""
    at = np.zeros(2)
    for _ in range(N_STEPS):
        p = expit(x @ at)
        curvature = (x * (weights * p * (1 - p))[:, None]).T @ x
        if not np.linalg.det(curvature) > np.finfo(float).tiny:
            return np.nan, p, curvature
        step = np.linalg.solve(curvature, x.T @ (weights * (y - p)))
        at += step / max(1.0, np.abs(step).max())
        if np.abs(step).max() < TOLERANCE:
            break
    return float(at[1]), p, curvature
