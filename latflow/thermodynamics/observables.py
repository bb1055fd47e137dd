"""Expectations of any per-frame observable, also of one that no reduced energy reads.

A frame's weight stands for what its reduced energy reads. Whatever else an observable depends on
is known at the simulated temperatures only, from the plain mean of their own frames. So in every
state the reweighted mean is shifted by its difference to that mean: at a simulated temperature
wholly, where the two differ by more than their errors, else as much as the difference is real.
Between simulated temperatures the shift is interpolated, outside it stays; what interpolations in
beta and in temperature differ by is part of the error. With energies more is known: the own mean
changes with beta by -cov(O, U), so the own means are Hermite's cubic between, a line in temperature
outside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from latflow._typing import FloatArray
from latflow.thermodynamics.own_frames import OwnFrames, hermite, share_of
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
        weights, states, n = snapshot.weights, self.own.states, self.own.n_states
        population = np.bincount(states, weights, n)
        with np.errstate(invalid="ignore"):
            mean = np.bincount(states, weights * self.values, n) / population
        return np.asarray(population, np.float64), mean

    def differences(self, weighting: Weighting) -> FloatArray:
        """Return own means less reweighted ones at the simulated temperatures, 0 if not known."""
        reweighted = np.array([self.means(weighting.at(b))[1] for b in self.own.pool.betas])
        difference = self.own.means(self._sums, weighting.times) - reweighted
        return np.where(self.own.known, np.nan_to_num(difference), 0)

    @cached_property
    def difference(self) -> FloatArray:
        """The differences of the answer."""
        return self.differences(self.answer)

    @cached_property
    def bootstrap_differences(self) -> FloatArray:
        """The differences of every bootstrap, (n_bootstraps, n_temperatures, n_states)."""
        return np.array([self.differences(one) for one in self.bootstraps])

    @cached_property
    def pulls(self) -> FloatArray:
        """Pull of each block on the differences: (n_blocks, n_temperatures, n_states)."""
        pool, states, known = self.own.pool, self.own.states, self.own.known
        pulls = np.zeros((pool.n_blocks, *known.shape))
        own, total = self.own.means(self._sums), self.own.totals(self.own.weights)
        for k, beta in enumerate(pool.betas):
            snapshot = self.answer.at(beta)
            population, mean = self.means(snapshot)
            at_k = pool.weights * (pool.origin == k)
            for s in np.flatnonzero(known[k]):
                rows = np.flatnonzero(states == s)
                values = self.values[rows]
                direct = at_k[rows] * (values - own[k, s]) / total[k, s]
                reweighted = snapshot.weights[rows] * (values - mean[s]) / population[s]
                pulls[:, k, s] = (
                    pool.centred(pool.block_sums(direct[:, None], rows))
                    - self.answer.pulls(reweighted[:, None], rows)
                )[:, 0]
        return pulls

    @cached_property
    def errors(self) -> FloatArray:
        """Standard errors of the differences: (n_temperatures, n_states)."""
        if len(self.bootstraps):
            return np.asarray(self.bootstrap_differences.std(axis=0, ddof=1))
        return np.asarray(np.sqrt((self.pulls**2).sum(axis=0)))

    @cached_property
    def shares(self) -> FloatArray:
        """Share of each difference that is taken: (n_temperatures, n_states)."""
        known = self.own.known
        with np.errstate(invalid="ignore", divide="ignore"):
            z2 = np.nan_to_num((self.difference / self.errors) ** 2, nan=0.0, posinf=np.inf)
        mean = np.where(known, z2, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        return share_of(self.difference, self.errors, mean)

    def _hats(self, beta: float, scale: Scale = np.log) -> FloatArray:
        """Return what the shifts of simulated temperatures count: (n_states, n_temperatures).

        Linear interpolation in some function of beta between those where the state is known;
        constant outside.
        """
        places = scale(self.own.pool.betas)
        hats, order = np.zeros(self.own.known.T.shape), np.argsort(places)
        for s, known in enumerate(self.own.known.T):
            nodes = order[known[order]]
            for k in nodes:
                hats[s, k] = np.interp(scale(beta), places[nodes], (nodes == k).astype(float))
        return np.asarray(hats * self.shares.T)

    def shift(self, beta: float, weighting: Weighting, differences: FloatArray) -> FloatArray:
        """Return the shift of the mean over each state at one beta, (n_states,)."""
        if self.energy is None:
            return np.asarray(np.einsum("sk,ks->s", self._hats(beta), differences))
        share = self._hats(beta).sum(axis=1)
        mean = np.nan_to_num(self.means(weighting.at(beta))[1])
        own = self._local(beta, weighting.times)
        return np.asarray(np.where(share > 0, share * (own - mean), 0.0))

    def _local(self, beta: float, times: FloatArray | None) -> FloatArray:
        """Return the own means at one beta by their slopes, (n_states,); 0 where none is known.

        The slope in beta is -cov(O, U).
        """
        mean, energy, both = (self.own.means(sums, times) for sums in (self._sums, *self._energies))
        slope, order, local = mean * energy - both, self.own.rising, np.zeros(self.own.n_states)
        for s, known in enumerate((self.own.known & np.isfinite(mean)).T):
            at = order[known[order]]
            if len(at):
                local[s] = hermite(beta, self.own.pool.betas[at], mean[at, s], slope[at, s])[0]
        return local

    def expectation(self, beta: float) -> tuple[float, float]:
        """Return the expectation at one beta and its standard error."""
        shift = self.shift(beta, self.answer, self.difference)
        snapshot = self.answer.at(beta)
        value = self._expected(snapshot, shift)
        if len(self.bootstraps):
            pairs = zip(self.bootstraps, self.bootstrap_differences, strict=True)
            others = [self._expected(b.at(beta), self.shift(beta, b, d)) for b, d in pairs]
            error = float(np.std(others, ddof=1))
        else:
            total = self.values + shift[self.own.states] - value
            pulls = self.answer.pulls((snapshot.weights * total)[:, None])[:, 0]
            population = self.means(snapshot)[0]
            pulls = pulls + np.einsum("bks,sk,s->b", self.pulls, self._hats(beta), population)
            error = float(np.sqrt((pulls**2).sum()))
        return value, float(np.hypot(error, self._unsure(beta, snapshot)))

    def _expected(self, snapshot: Snapshot, shift: FloatArray) -> float:
        population, mean = self.means(snapshot)
        visited = population > 0
        return float(population[visited] @ (mean + shift)[visited])

    def _unsure(self, beta: float, snapshot: Snapshot) -> float:
        """Return what interpolations in beta and in temperature differ by.

        Outside it is what the steeper of two lines would change, one in the logarithm of beta and
        one in the square of temperature.
        """
        betas, population = np.sort(self.own.pool.betas), self.means(snapshot)[0]
        if len(betas) < 2 or self.energy is not None:
            return 0.0

        def shift(beta: float, scale: Scale = np.log) -> float:
            return float(
                population @ np.einsum("sk,ks->s", self._hats(beta, scale), self.difference)
            )

        border = float(np.clip(beta, betas[0], betas[-1]))
        if border == beta:
            return abs(shift(beta, _itself) - shift(beta, _temperature)) / 2
        inner = betas[1] if border == betas[0] else betas[-2]
        change = abs(shift(border) - shift(inner))
        lines = [(s(beta) - s(border)) / (s(border) - s(inner)) for s in OUTSIDE]
        return float(change * np.max(np.abs(lines)))

    def disagreement(self) -> tuple[FloatArray, FloatArray]:
        """Return own means less reweighted means of all states together, and their errors."""
        population = np.array([self.means(self.answer.at(b))[0] for b in self.own.pool.betas])
        total = (population * self.difference).sum(axis=1)
        if len(self.bootstraps):
            each = (population * self.bootstrap_differences).sum(axis=2)
            return total, each.std(axis=0, ddof=1)
        pulls = (population * self.pulls).sum(axis=2)
        return total, np.sqrt((pulls**2).sum(axis=0))


def _itself(beta: Any) -> Any:
    return beta


def _temperature(beta: Any) -> Any:
    return 1 / beta


OUTSIDE: tuple[Scale, ...] = (np.log, lambda beta: 1 / beta**2)  # that a shift goes on by
