"""Mean energies of states as their own frames have them, where no reduced energy tells states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from latflow._typing import FloatArray, IntArray
from latflow.thermodynamics.moments import state_moments
from latflow.thermodynamics.observables import Observable
from latflow.thermodynamics.weighting import Snapshot, Weighting

DIFFERENT = 2.0  # errors, beyond which own energies are taken as they are


@dataclass(frozen=True, eq=False)
class EnergyShifts:
    """Own energies of states and their fluctuations less a route's, at the simulated temperatures.

    A route knows the mean energy of what it reads. Where that does not tell states apart the energy
    of one leaks into another; the energies of a state's own frames do not. They are taken where
    the two differ by more than two errors; else the shift shrinks by its error. It is linear in
    beta between simulated temperatures, constant outside.

    Attributes
    ----------
    betas : ndarray of shape (n_temperatures,)
        Ascending.
    answer : ndarray of shape (n_temperatures, n_states, 2)
        Shifts of energy and fluctuation that hold for the answer.
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
        centred = energy - energy.mean()
        pair = [Observable(x, pool, states, answer, bootstraps) for x in (centred, centred**2)]
        others = [_shifts(pair, one, n_states) for one in bootstraps]
        plain = Weighting(answer.route, answer.log_counts, answer.log_base)
        shift = _shifts(pair, plain, n_states)
        with np.errstate(invalid="ignore", divide="ignore"):
            z2 = np.nan_to_num((shift / np.std(others, axis=0, ddof=1)) ** 2)
        share = np.where(z2 > DIFFERENT**2, 1.0, np.maximum(0.0, 1 - 1 / np.maximum(z2, 1.0)))
        order = np.argsort(pool.betas)
        pairs = zip(bootstraps, others, strict=True)
        each = {id(one): (share * other)[order] for one, other in pairs}
        return cls(pool.betas[order], (share * shift)[order], each)

    def at(self, snapshot: Snapshot) -> tuple[FloatArray, FloatArray]:
        """Return the shifts of every state's energy and fluctuation at one beta: (n_states,)."""
        shifts = self.bootstraps.get(id(snapshot.weighting), self.answer)
        columns = shifts.reshape(len(self.betas), -1).T
        values = [np.interp(snapshot.beta, self.betas, column) for column in columns]
        energy, fluctuation = np.array(values).reshape(-1, 2).T
        return energy, fluctuation


def _shifts(pair: list[Observable], weighting: Weighting, n_states: int) -> FloatArray:
    """Return own energies and fluctuations less the route's: (n_temperatures, n_states, 2).

    Less their mean over states, which no difference of states sees; 0 where not known.
    """
    energy, square = pair
    mean, mean_square = (one.own_means(weighting.times) for one in pair)
    betas = energy.pool.betas
    shifts = np.zeros((len(betas), n_states, 2))
    for k in np.flatnonzero(energy.known.sum(axis=1) == n_states):
        moments = state_moments(weighting.at(float(betas[k])), square.states, n_states)
        own = np.stack([mean[k], mean_square[k] - mean[k] ** 2], axis=1)
        shifts[k] = own - np.stack([moments.energy, moments.fluctuation], axis=1)
        shifts[k] -= shifts[k].mean(axis=0)
    return np.nan_to_num(shifts)
