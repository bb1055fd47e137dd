"""Expectations of any per-frame observable, also of one that no reduced energy reads.

A frame's weight stands for what its reduced energy reads. Whatever else an observable depends on
is known at the simulated temperatures only, from the plain mean of their own frames. So in every
state the reweighted mean is shifted by its difference to that mean: at a simulated temperature
wholly, where the two differ by more than their errors, else as much as the difference is real.
Between simulated temperatures the shift is interpolated, outside it stays; what interpolations in
beta and in temperature differ by is part of the error. With energies more is known: the own mean
changes with beta by -cov(O, U), so the shift is Hermite's cubic between, a line in temperature
outside, less certain by what a line in beta differs and by noise in its slope.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from latflow._typing import FloatArray
from latflow.thermodynamics.own_frames import OwnFrames, share_of, squared
from latflow.thermodynamics.shifts import Shifts
from latflow.thermodynamics.weighting import Snapshot, Weighting

Scale = Callable[[Any], Any]


@dataclass(frozen=True, eq=False)
class Observable:
    """A per-frame observable, with its means over each temperature's own frames, by state.

    Attributes
    ----------
    values : ndarray of shape (n_frames,)
    own : OwnFrames
    answer : Weighting
    bootstraps : sequence of Weighting
        Two or more.
    energy : ndarray of shape (n_frames,), optional
        Potential energies.
    """

    values: FloatArray
    own: OwnFrames
    answer: Weighting
    bootstraps: Sequence[Weighting]
    energy: FloatArray | None = None

    @cached_property
    def _sums(self) -> FloatArray:
        """Sums by block and state, (n_blocks, n_states)."""
        return self.own.by_block(self.values)

    @cached_property
    def _energies(self) -> tuple[FloatArray, FloatArray]:
        """The same of the energy, and of its product with the observable."""
        energy = np.asarray(self.energy) - np.mean(np.asarray(self.energy))
        return self.own.by_block(energy), self.own.by_block(self.values * energy)

    def means(self, snapshot: Snapshot) -> tuple[FloatArray, FloatArray]:
        """Return populations of the states, and reweighted means over them, at one beta."""
        population = self._sum_of(snapshot.weights)
        with np.errstate(invalid="ignore"):
            mean = self._sum_of(snapshot.weights * self.values) / population
        return population, mean

    def _sum_of(self, values: FloatArray) -> FloatArray:
        """Return sums over the frames of each state."""
        return np.asarray(np.bincount(self.own.states, values, self.own.n_states), np.float64)

    @cached_property
    def _differences(self) -> FloatArray:
        """Own means less reweighted ones, 0 if not known, of the answer and all bootstraps.

        Shape (1 + n_bootstraps, n_temperatures, n_states).
        """
        each = []
        for one in (self.answer, *self.bootstraps):
            reweighted = [self.means(one.at(b))[1] for b in self.own.pool.betas]
            each.append(self.own.means(self._sums, one.times) - reweighted)
        return np.where(self.own.known, np.nan_to_num(each), 0)

    @cached_property
    def _shifts(self) -> Shifts:
        """How the differences go on, with energies."""
        each = [self._slopes(one) for one in (self.answer, *self.bootstraps)]
        slopes = np.where(self.own.known, np.nan_to_num(each), 0)
        differences = np.stack([self._differences, slopes, slopes], axis=-1)
        return Shifts.of(differences, self.own.pool.betas, self.bootstraps)

    def _slopes(self, weighting: Weighting) -> FloatArray:
        """Return slopes in beta of own means less reweighted ones, (n_temperatures, n_states)."""
        mean, energy, both = (
            self.own.means(sums, weighting.times) for sums in (self._sums, *self._energies)
        )
        slopes = mean * energy - both
        for k, beta in enumerate(self.own.pool.betas):
            snapshot = weighting.at(float(beta))
            e = weighting.route.derivatives(snapshot.beta)[0]
            w, (population, reweighted) = snapshot.weights, self.means(snapshot)
            with np.errstate(invalid="ignore"):
                one, two = (self._sum_of(w * v) / population for v in (e, e * self.values))
            slopes[k] -= reweighted * one - two
        return slopes

    @cached_property
    def _shares(self) -> FloatArray:
        """Share of each difference that is taken: (n_temperatures, n_states)."""
        known, difference = self.own.known, self._differences[0]
        errors = self._differences[1:].std(axis=0, ddof=1)
        z2 = squared(difference, errors)
        mean = np.where(known, z2, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        return share_of(difference, errors, mean)

    def _interpolated(self, beta: float, differences: FloatArray, scale: Scale) -> FloatArray:
        """Return the shift of every state at one beta without energies, (n_states,).

        Linear in some function of beta between those where the state is known; constant outside.
        """
        places = scale(self.own.pool.betas)
        order, shift = np.argsort(places), np.zeros(self.own.n_states)
        for s, known in enumerate(self.own.known.T):
            at = order[known[order]]
            if len(at):
                shift[s] = np.interp(scale(beta), places[at], (self._shares * differences)[at, s])
        return shift

    def expectation(self, beta: float) -> tuple[float, float]:
        """Return the expectation at one beta and its standard error."""
        pairs = zip((self.answer, *self.bootstraps), self._differences, strict=True)
        value, *others = (self._expected(one.at(beta), difference) for one, difference in pairs)
        error = float(np.std(others, ddof=1))
        return value, float(np.hypot(error, self._unsure(self.answer.at(beta))))

    def _expected(self, snapshot: Snapshot, difference: FloatArray) -> float:
        population, mean = self.means(snapshot)
        if self.energy is None:
            shift = self._interpolated(snapshot.beta, difference, np.log)
        else:
            shift = self._shifts.at(snapshot)[0]
        visited = population > 0
        return float(population[visited] @ (mean + shift)[visited])

    def _unsure(self, snapshot: Snapshot) -> float:
        """Return what interpolations in beta and in temperature differ by.

        Outside, without energies, it is what the steeper of two lines would change, one in the
        logarithm of beta and one in the square of temperature.
        """
        beta, betas = snapshot.beta, np.sort(self.own.pool.betas)
        population = self.means(snapshot)[0]
        border = float(np.clip(beta, betas[0], betas[-1]))
        if self.energy is not None:
            slope = population @ self._shifts.at(snapshot)[1]  # of the line in temperature
            bent = slope * (beta - border) ** 2 * beta / border**2
            return float(np.hypot(bent, population @ self._shifts.left_out(beta)))
        if len(betas) < 2:
            return 0.0

        def shift(beta: float, scale: Scale = np.log) -> float:
            return float(population @ self._interpolated(beta, self._differences[0], scale))

        if border == beta:
            return abs(shift(beta, _itself) - shift(beta, _temperature)) / 2
        inner = betas[1] if border == betas[0] else betas[-2]
        change = abs(shift(border) - shift(inner))
        lines = [(s(beta) - s(border)) / (s(border) - s(inner)) for s in OUTSIDE]
        return float(change * np.max(np.abs(lines)))

    def disagreement(self) -> tuple[FloatArray, FloatArray]:
        """Return own means less reweighted means of all states together, and their errors."""
        population = np.array([self.means(self.answer.at(b))[0] for b in self.own.pool.betas])
        total, *others = (population * self._differences).sum(axis=2)
        return total, np.std(others, axis=0, ddof=1)


def _itself(beta: Any) -> Any:
    return beta


def _temperature(beta: Any) -> Any:
    return 1 / beta


OUTSIDE: tuple[Scale, ...] = (np.log, lambda beta: 1 / beta**2)  # that a shift goes on by
