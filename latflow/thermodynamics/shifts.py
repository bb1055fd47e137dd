"""What own frames of states add to a route: means and slopes in beta, carried between and outside.

A route knows the means of what it reads. Where that does not tell states apart the energy of one
leaks into another, and an observable that no feature shows it does not know at all; the mean over a
state's own frames at a simulated temperature does. With energies its slope in beta is known, too:
-cov(O, U).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from latflow._typing import FloatArray
from latflow.thermodynamics.moments import state_moments
from latflow.thermodynamics.own_frames import OwnFrames, hermite, share_of, shrunk
from latflow.thermodynamics.weighting import Snapshot, Weighting

BEYOND = 1e-9  # of a border, by which one is beyond it


@dataclass(frozen=True, eq=False)
class Shifts:
    """Own means of states less a route's, as curves of beta.

    At a simulated temperature own means are taken where the two differ by more than two errors;
    else the shift shrinks by its error. Between simulated temperatures a shift is Hermite's cubic,
    outside a line in temperature. Its slopes are those of lines in temperature through the shifts,
    and as much as is real of what the own slopes, noisy for many particles, say against them.

    Attributes
    ----------
    betas : ndarray of shape (n_temperatures,)
        Ascending.
    answer : ndarray of shape (n_temperatures, n_states, 3)
        Shifts of the answer: of the mean, and its slopes in beta inside and outside.
    bootstraps : dict of Weighting to ndarray
        The same of each bootstrap.
    own : ndarray of shape (n_temperatures, n_states, 3)
        Of the answer, all of the own slopes taken as real.
    """

    betas: FloatArray
    answer: FloatArray
    bootstraps: dict[Weighting, FloatArray]
    own: FloatArray

    @classmethod
    def of(
        cls, differences: FloatArray, betas: FloatArray, bootstraps: Sequence[Weighting]
    ) -> Shifts:
        """Return the shifts for own means and slopes less the route's.

        Parameters
        ----------
        differences : ndarray of shape (1 + n_bootstraps, n_temperatures, n_states, 3)
            Those of the answer first.
        betas : ndarray of shape (n_temperatures,)
        bootstraps : sequence of Weighting
        """
        rising = np.argsort(betas)
        differences, betas = differences[:, rising], betas[rising]
        means = _real(differences[..., 0], share_of)
        slopes = _slopes(means, betas)
        slopes = slopes + _real(differences[..., 1:] - slopes, shrunk)
        answer, *others = np.concatenate([means[..., None], slopes], axis=-1)
        own = np.concatenate([means[0, ..., None], differences[0, ..., 1:]], axis=-1)
        return cls(betas, answer, dict(zip(bootstraps, others, strict=True)), own)

    def at(self, snapshot: Snapshot) -> tuple[FloatArray, FloatArray]:
        """Return the shift of every state at one beta, and its slope: (n_states,)."""
        shifts = self.bootstraps.get(snapshot.weighting, self.answer)
        return self._curves(shifts, snapshot.beta)

    def left_out(self, beta: float) -> FloatArray:
        """Return what the own slopes, all taken as real, would add at one beta: (n_states,)."""
        return self._curves(self.own, beta)[0] - self._curves(self.answer, beta)[0]

    def _curves(self, shifts: FloatArray, beta: float) -> tuple[FloatArray, FloatArray]:
        side = 1 if self.betas[0] <= beta <= self.betas[-1] else 2
        columns = shifts.swapaxes(0, 1)
        each = [hermite(beta, self.betas, column[:, 0], column[:, side]) for column in columns]
        means, slopes = np.array(each).T
        return means, slopes


def energy_shifts(
    energy: FloatArray,
    own: OwnFrames,
    n_states: int,
    answer: Weighting,
    bootstraps: Sequence[Weighting],
) -> Shifts:
    """Return the shifts of some frames' energies; `n_states` may count states without any."""
    centred = energy - energy.mean()
    sums = own.by_block(centred), own.by_block(centred**2)
    plain = Weighting(answer.route, answer.log_counts, answer.log_base)
    each = [_differences(sums, own, one, n_states) for one in (plain, *bootstraps)]
    return Shifts.of(np.array(each), own.pool.betas, bootstraps)


def _real(
    differences: FloatArray, share: Callable[[FloatArray, FloatArray], FloatArray]
) -> FloatArray:
    """Return what is real of differences, the answer's before those of all bootstraps."""
    return np.asarray(share(differences[0], differences[1:].std(axis=0, ddof=1)) * differences)


def _slopes(shifts: FloatArray, betas: FloatArray) -> FloatArray:
    """Return slopes in beta of lines in temperature: through neighbours, and through all shifts.

    Shape (n, n_temperatures, n_states, 2) for shifts of shape (n, n_temperatures, n_states).
    """
    if len(betas) == 1:
        return np.zeros((*shifts.shape, 2))
    t = 1 / betas
    centred = t - t.mean()
    inside = np.gradient(shifts, t, axis=1)
    outside = np.einsum("k,bks->bs", centred / (centred @ centred), shifts)
    lines = [inside, np.broadcast_to(outside[:, None], shifts.shape)]
    return np.stack(lines, axis=-1) * -((t**2)[:, None, None])


def _differences(
    sums: tuple[FloatArray, FloatArray], own: OwnFrames, weighting: Weighting, n_states: int
) -> FloatArray:
    """Return own energies less the route's, and of their slopes: (n_temperatures, n_states, 3).

    The slopes are those inside of the range of temperatures, and outside. Less their mean over
    states, which no difference of states sees; 0 where not known.
    """
    mean, square = (own.means(one, weighting.times) for one in sums)
    betas = own.pool.betas
    sides = {betas.min(): -1, betas.max(): 1}
    differences = np.zeros((len(betas), n_states, 3))
    for k in np.flatnonzero(own.known.sum(axis=1) == n_states):
        beyond = betas[k] * (1 + BEYOND * sides.get(betas[k], 0))
        at, outside = (
            state_moments(weighting.at(float(b)), own.states, n_states) for b in (betas[k], beyond)
        )
        slope = mean[k] ** 2 - square[k]
        energy = mean[k] - at.energy
        each = energy, slope + at.fluctuation, slope + outside.fluctuation
        differences[k] = np.transpose(each - np.mean(each, axis=1, keepdims=True))
    return np.nan_to_num(differences)
