"""Mean energies of states as their own frames have them, where no reduced energy tells states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from latflow._typing import FloatArray, IntArray
from latflow.thermodynamics.moments import state_moments
from latflow.thermodynamics.observables import Observable
from latflow.thermodynamics.pool import Pool
from latflow.thermodynamics.weighting import Snapshot, Weighting

DIFFERENT = 2.0  # errors, beyond which own energies are taken as they are


@dataclass(frozen=True, eq=False)
class EnergyShifts:
    """Own mean energies of states less those of a route, at the simulated temperatures.

    A route knows the mean energy of what it reads. Where that does not tell states apart the energy
    of one leaks into another; the energies of a state's own frames do not. They are taken where
    the two differ by more than two errors; else the shift shrinks by its error. It is linear in
    beta between simulated temperatures, constant outside.

    Attributes
    ----------
    betas : ndarray of shape (n_temperatures,)
        Ascending.
    answer : ndarray of shape (n_temperatures, n_states)
        Shifts that hold for the answer.
    bootstraps : dict of int to ndarray
        Those of each bootstrap, by its identity.
    """

    betas: FloatArray
    answer: FloatArray
    bootstraps: dict[int, FloatArray]

    @classmethod
    def of(
        cls,
        energy: FloatArray,
        states: IntArray,
        n_states: int,
        answer: Weighting,
        bootstraps: Sequence[Weighting],
    ) -> EnergyShifts:
        """Return the shifts of some frames' energies."""
        pool = answer.pool
        if pool is None:
            raise ValueError("Expected an answer with its pool, got that of a bootstrap.")
        own = Observable(energy, pool, states, answer, bootstraps)
        others = [_shifts(own, one, n_states, pool) for one in bootstraps]
        plain = Weighting(answer.route, answer.log_counts, answer.log_base)
        shift = _shifts(own, plain, n_states, pool)
        with np.errstate(invalid="ignore", divide="ignore"):
            z2 = np.nan_to_num((shift / np.std(others, axis=0, ddof=1)) ** 2)
        share = np.where(z2 > DIFFERENT**2, 1.0, np.maximum(0.0, 1 - 1 / np.maximum(z2, 1.0)))
        order = np.argsort(pool.betas)
        pairs = zip(bootstraps, others, strict=True)
        each = {id(one): (share * other)[order] for one, other in pairs}
        return cls(pool.betas[order], (share * shift)[order], each)

    def at(self, snapshot: Snapshot) -> tuple[FloatArray, FloatArray]:
        """Return the shift of every state's energy at one beta, and its slope: (n_states,) each."""
        shifts = self.bootstraps.get(id(snapshot.weighting), self.answer)
        value = np.array([np.interp(snapshot.beta, self.betas, column) for column in shifts.T])
        outside = not self.betas[0] <= snapshot.beta <= self.betas[-1]
        if len(self.betas) < 2 or outside:
            return value, np.zeros(len(value))
        k = int(np.clip(np.searchsorted(self.betas, snapshot.beta) - 1, 0, len(self.betas) - 2))
        return value, (shifts[k + 1] - shifts[k]) / (self.betas[k + 1] - self.betas[k])


def _shifts(own: Observable, weighting: Weighting, n_states: int, pool: Pool) -> FloatArray:
    """Return own means less the route's, less their mean over states: 0 where not known."""
    means = own.own_means(weighting.times)
    shifts = np.zeros((len(pool.betas), n_states))
    for k, beta in enumerate(pool.betas):
        moments = state_moments(weighting.at(float(beta)), own.states, n_states)
        known = np.flatnonzero(own.known[k])
        if len(known) == n_states:
            difference = means[k] - moments.energy
            shifts[k] = difference - difference.mean()
    return shifts
