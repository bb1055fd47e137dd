"""Energy and heat capacity of the whole system, of what no feature shows too.

Of every state the energies of its frames give, at each simulated temperature, the mean energy and,
by its fluctuation, how that changes with beta:

    dU_s / dbeta = -var(U)_s,    C_s = -beta^2 dU_s / dbeta  (in k_B)

so U_s is Hermite's cubic between two simulated temperatures, and a constant heat capacity carries
it on outside. Together with the populations of the states these are the energy and the heat
capacity of all: exact, as the frames have them, at the simulated temperatures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicHermiteSpline
from scipy.special import softmax

from latflow._typing import BoolArray, FloatArray, IntArray
from latflow.thermodynamics.pool import Pool
from latflow.thermodynamics.weighting import Weighting

FEWEST_FRAMES = 10  # of a state at a temperature that its energies are taken from
N_REDRAWN = 40  # bootstraps with the route fixed, where there are none


@dataclass(frozen=True, eq=False)
class WholeSystem:
    """Energies of all frames, and what answers for the populations of the states.

    Attributes
    ----------
    energy : ndarray of shape (n_frames,)
    pool : Pool
    states : ndarray of int, shape (n_frames,)
        All 0 for a model without states.
    answer : Weighting
    bootstraps : sequence of Weighting
    """

    energy: FloatArray
    pool: Pool
    states: IntArray
    answer: Weighting
    bootstraps: Sequence[Weighting]

    def at(self, beta: float) -> tuple[FloatArray, FloatArray]:
        """Return (energy, heat capacity in k_B) at one beta, and their standard errors."""
        value = self._evaluated(beta, self.answer, None)
        rng = np.random.default_rng(0)
        if len(self.bootstraps):
            others = [self._evaluated(beta, one, one.times) for one in self.bootstraps]
        else:
            draws = (self.pool.redrawn(rng) for _ in range(N_REDRAWN))
            others = [self._evaluated(beta, self.answer, times) for times in draws]
        return value, np.std(others, axis=0, ddof=1)

    def _evaluated(self, beta: float, weighting: Weighting, times: FloatArray | None) -> FloatArray:
        known, mean, variance, log_own = self._moments(times)
        nodes = [self._log_populations(weighting, b, times) for b in self.pool.betas]
        log_p = self._log_populations(weighting, beta, times)
        energy, slope = np.zeros(len(log_p)), np.zeros(len(log_p))
        order = np.argsort(self.pool.betas)
        for s in range(len(log_p)):
            at = order[known[order, s]]
            if not len(at):
                log_p[s] = -np.inf
                continue
            betas = self.pool.betas[at]
            shift = [log_own[k, s] - nodes[k][s] for k in at]
            log_p[s] += np.interp(beta, betas, shift)
            energy[s], slope[s] = hermite(beta, betas, mean[at, s], -variance[at, s])
        p = softmax(log_p)
        total = p @ energy
        return np.array([total, beta**2 * (p @ (energy - total) ** 2 - p @ slope)])

    def _moments(
        self, times: FloatArray | None
    ) -> tuple[BoolArray, FloatArray, FloatArray, FloatArray]:
        """Return, by temperature and state, what is known: means, variances, log populations."""
        n_temperatures, n = len(self.pool.betas), int(self.states.max()) + 1
        cells = self.pool.origin.astype(np.int64) * n + self.states
        weights = self.pool.weights if times is None else self.pool.weights_of(times)
        centred = self.energy - self.energy.mean()

        def summed(values: FloatArray) -> FloatArray:
            sums = np.bincount(cells, values, n_temperatures * n)
            return np.asarray(sums.reshape(-1, n), np.float64)

        total = summed(weights)
        known = summed(np.asarray(weights > 0, np.float64)) >= FEWEST_FRAMES
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = summed(weights * centred) / total
            variance = summed(weights * centred**2) / total - mean**2
            log_own = np.log(total / total.sum(axis=1, keepdims=True))
        return known, mean + self.energy.mean(), variance, log_own

    def _log_populations(
        self, weighting: Weighting, beta: float, times: FloatArray | None
    ) -> FloatArray:
        weights = weighting.at(beta).weights
        if times is not None and weighting.times is None:
            weights = weights * times[self.pool.strata[0]]
        total = np.bincount(self.states, weights, int(self.states.max()) + 1)
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(total / total.sum()))


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
