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
from functools import cached_property

import numpy as np
from scipy.special import softmax

from latflow._typing import FloatArray
from latflow.thermodynamics.own_frames import OwnFrames, hermite
from latflow.thermodynamics.weighting import Weighting


@dataclass(frozen=True, eq=False)
class WholeSystem:
    """Energies of all frames, and what answers for the populations of the states.

    Attributes
    ----------
    energy : ndarray of shape (n_frames,)
    own : OwnFrames
    answer : Weighting
    bootstraps : sequence of Weighting
        Two or more.
    """

    energy: FloatArray
    own: OwnFrames
    answer: Weighting
    bootstraps: Sequence[Weighting]

    def at(self, beta: float) -> tuple[FloatArray, FloatArray]:
        """Return (energy, heat capacity in k_B) at one beta, and their standard errors."""
        value, *others = (self._evaluated(beta, one) for one in (self.answer, *self.bootstraps))
        return value, np.std(others, axis=0, ddof=1)

    @cached_property
    def _sums(self) -> tuple[FloatArray, FloatArray]:
        """Sums of energies, less their mean, and of their squares, by block and state."""
        centred = self.energy - self.energy.mean()
        return self.own.by_block(centred), self.own.by_block(centred**2)

    def _evaluated(self, beta: float, weighting: Weighting) -> FloatArray:
        own, betas, times = self.own, self.own.pool.betas, weighting.times
        mean, square = (own.means(sums, times) for sums in self._sums)
        total = own.totals(own.weights, times)
        with np.errstate(divide="ignore"):
            log_own = np.log(total / total.sum(axis=1, keepdims=True))
        nodes = np.array([self._log_populations(weighting, b) for b in betas])
        log_p = self._log_populations(weighting, beta)
        energy, slope = np.zeros(len(log_p)), np.zeros(len(log_p))
        for s, known in enumerate((own.enough & np.isfinite(mean)).T):
            at = own.rising[known[own.rising]]
            if not len(at):
                log_p[s] = -np.inf
                continue
            log_p[s] += np.interp(beta, betas[at], log_own[at, s] - nodes[at, s])
            slopes = mean[at, s] ** 2 - square[at, s]
            energy[s], slope[s] = hermite(beta, betas[at], mean[at, s], slopes)
        p = softmax(log_p)
        total = p @ energy
        return np.array(
            [total + self.energy.mean(), beta**2 * (p @ (energy - total) ** 2 - p @ slope)]
        )

    def _log_populations(self, weighting: Weighting, beta: float) -> FloatArray:
        total = np.bincount(self.own.states, weighting.at(beta).weights, self.own.n_states)
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(total / total.sum()))
