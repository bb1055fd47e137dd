"""Mean energies of states as their own frames have them, where no reduced energy tells states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from latflow._typing import FloatArray
from latflow.thermodynamics.moments import state_moments
from latflow.thermodynamics.own_frames import OwnFrames, share_of
from latflow.thermodynamics.weighting import Snapshot, Weighting


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
    bootstraps : dict of Weighting to ndarray
    """

    betas: FloatArray
    answer: FloatArray
    bootstraps: dict[Weighting, FloatArray]

    @classmethod
    def of(
        cls,
        energy: FloatArray,
        own: OwnFrames,
        n_states: int,
        answer: Weighting,
        bootstraps: Sequence[Weighting],
    ) -> EnergyShifts:
        """Return the shifts of some frames' energies; `n_states` may count states without any."""
        centred = energy - energy.mean()
        sums = own.by_block(centred), own.by_block(centred**2)
        plain = Weighting(answer.route, answer.log_counts, answer.log_base)
        shift, *others = (_shifts(sums, own, one, n_states) for one in (plain, *bootstraps))
        share = share_of(shift, np.std(others, axis=0, ddof=1))
        pairs = zip(bootstraps, others, strict=True)
        each = {one: (share * other)[own.rising] for one, other in pairs}
        return cls(own.pool.betas[own.rising], (share * shift)[own.rising], each)

    def at(self, snapshot: Snapshot) -> tuple[FloatArray, FloatArray]:
        """Return the shifts of every state's energy and fluctuation at one beta: (n_states,)."""
        shifts = self.bootstraps.get(snapshot.weighting, self.answer)
        columns = shifts.reshape(len(self.betas), -1).T
        values = [np.interp(snapshot.beta, self.betas, column) for column in columns]
        energy, fluctuation = np.array(values).reshape(-1, 2).T
        return energy, fluctuation


def _shifts(
    sums: tuple[FloatArray, FloatArray], own: OwnFrames, weighting: Weighting, n_states: int
) -> FloatArray:
    """Return own energies and fluctuations less the route's: (n_temperatures, n_states, 2).

    Less their mean over states, which no difference of states sees; 0 where not known.
    """
    mean, square = (own.means(one, weighting.times) for one in sums)
    betas = own.pool.betas
    shifts = np.zeros((len(betas), n_states, 2))
    for k in np.flatnonzero(own.known.sum(axis=1) == n_states):
        moments = state_moments(weighting.at(float(betas[k])), own.states, n_states)
        shifts[k, :, 0] = mean[k] - moments.energy
        shifts[k, :, 1] = square[k] - mean[k] ** 2 - moments.fluctuation
        shifts[k] -= shifts[k].mean(axis=0)
    return np.nan_to_num(shifts)
