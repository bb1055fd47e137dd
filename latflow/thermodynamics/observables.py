"""Expectations of any per-frame observable, also of one that no reduced energy reads.

A frame's weight stands for what its reduced energy reads. Whatever else an observable depends on
is known at the simulated temperatures only, from the plain mean of their own frames. So in every
state the reweighted mean is shifted by its difference to that mean: at a simulated temperature
wholly, where the two differ by more than their errors, else as much as the difference is real;
between simulated temperatures the shift is interpolated in beta, outside it stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from latflow._typing import BoolArray, FloatArray, IntArray
from latflow.thermodynamics.pool import Pool
from latflow.thermodynamics.weighting import Snapshot, Weighting

DIFFERENT = 2.0  # errors, beyond which a difference is taken as it is
FEWEST_FRAMES = 10  # of a state at a temperature that a mean is trusted with


@dataclass(frozen=True, eq=False)
class Observable:
    """A per-frame observable, with its means over each temperature's own frames, by state.

    Attributes
    ----------
    values : ndarray of shape (n_frames,)
    pool : Pool
    states : ndarray of int, shape (n_frames,)
        All 0 for a model without states.
    answer : Weighting
    bootstraps : sequence of Weighting
    """

    values: FloatArray
    pool: Pool
    states: IntArray
    answer: Weighting
    bootstraps: Sequence[Weighting]

    @cached_property
    def _sums(self) -> tuple[FloatArray, FloatArray]:
        """Weights, and weights times values, by block and state: (n_blocks, n_states) each."""
        n = int(self.states.max()) + 1
        cells = self.pool.strata[0].astype(np.int64) * n + self.states
        size = self.pool.n_blocks * n
        weights = np.bincount(cells, self.pool.weights, minlength=size)
        values = np.bincount(cells, self.pool.weights * self.values, minlength=size)
        shape = self.pool.n_blocks, n
        return np.reshape(weights * 1.0, shape), np.reshape(values * 1.0, shape)

    @cached_property
    def known(self) -> BoolArray:
        """Where a state has frames enough at a temperature: (n_temperatures, n_states)."""
        origin = self.pool.strata[1]
        n, n_states = len(self.pool.betas), self._sums[0].shape[1]
        frames = np.bincount(
            self.pool.origin.astype(np.int64) * n_states + self.states, minlength=n * n_states
        ).reshape(n, n_states)
        blocks = np.array([(self._sums[0][origin == k] > 0).sum(axis=0) for k in range(n)])
        return (frames >= FEWEST_FRAMES) & (blocks >= 2)

    def own_means(self, times: FloatArray | None = None) -> FloatArray:
        """Return the means over each temperature's own frames: (n_temperatures, n_states).

        NaN where there are none; `times` is how often each block comes.
        """
        weights, values = self._sums
        origin = self.pool.strata[1]
        member = np.eye(len(self.pool.betas))[origin] * (1.0 if times is None else times[:, None])
        with np.errstate(invalid="ignore"):
            return np.asarray((member.T @ values) / (member.T @ weights))

    def means(self, snapshot: Snapshot) -> tuple[FloatArray, FloatArray]:
        """Return populations of the states, and reweighted means over them, at one beta."""
        weights, n = snapshot.weights, self._sums[0].shape[1]
        population = np.bincount(self.states, weights, minlength=n)
        with np.errstate(invalid="ignore"):
            mean = np.bincount(self.states, weights * self.values, minlength=n) / population
        return np.asarray(population, np.float64), mean

    def differences(self, weighting: Weighting) -> FloatArray:
        """Return own means less reweighted ones at the simulated temperatures, 0 if not known."""
        reweighted = np.array([self.means(weighting.at(b))[1] for b in self.pool.betas])
        return np.where(self.known, np.nan_to_num(self.own_means(weighting.times) - reweighted), 0)

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
        n_temperatures, n = self.known.shape
        pulls = np.zeros((self.pool.n_blocks, n_temperatures, n))
        own = self.own_means()
        for k, beta in enumerate(self.pool.betas):
            snapshot = self.answer.at(beta)
            population, mean = self.means(snapshot)
            at_k = self.pool.weights * (self.pool.origin == k)
            total = np.bincount(self.states, at_k, minlength=n)
            for s in np.flatnonzero(self.known[k]):
                rows = np.flatnonzero(self.states == s)
                values = self.values[rows]
                direct = at_k[rows] * (values - own[k, s]) / total[s]
                reweighted = snapshot.weights[rows] * (values - mean[s]) / population[s]
                pulls[:, k, s] = (
                    self.pool.centred(self.pool.block_sums(direct[:, None], rows))
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
        """Share of each difference that is taken: (n_temperatures, n_states).

        All of it beyond two errors; else what differences of the state show beyond their errors.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            z2 = np.nan_to_num((self.difference / self.errors) ** 2, nan=0.0, posinf=np.inf)
            n = self.known.sum(axis=0)
            mean = np.where(self.known, z2, 0).sum(axis=0) / np.maximum(n, 1)
            shrunk = np.maximum(0.0, 1 - 1 / np.maximum(np.maximum(z2, mean), 1.0))
        return np.where(z2 > DIFFERENT**2, 1.0, shrunk)

    def shift(self, beta: float, differences: FloatArray) -> FloatArray:
        """Return the shift of the mean over each state at one beta, (n_states,)."""
        return np.array([hat @ d for hat, d in zip(self._hats(beta), differences.T, strict=True)])

    def _hats(self, beta: float) -> FloatArray:
        """Return what the shifts of simulated temperatures count: (n_states, n_temperatures).

        Linear interpolation in beta between those where the state is known; constant outside.
        """
        hats = np.zeros(self.known.T.shape)
        order = np.argsort(self.pool.betas)
        for s, known in enumerate(self.known.T):
            nodes = order[known[order]]
            for k in nodes:
                unit = (nodes == k).astype(float)
                hats[s, k] = np.interp(beta, self.pool.betas[nodes], unit) * self.shares[k, s]
        return hats

    def expectation(self, beta: float) -> tuple[float, float]:
        """Return the expectation at one beta and its standard error."""
        shift = self.shift(beta, self.difference)
        snapshot = self.answer.at(beta)
        value = self._expected(snapshot, shift)
        if len(self.bootstraps):
            pairs = zip(self.bootstraps, self.bootstrap_differences, strict=True)
            others = [self._expected(b.at(beta), self.shift(beta, d)) for b, d in pairs]
            error = float(np.std(others, ddof=1))
        else:
            total = self.values + shift[self.states] - value
            pulls = self.answer.pulls((snapshot.weights * total)[:, None])[:, 0]
            population = self.means(snapshot)[0]
            pulls = pulls + np.einsum("bks,sk,s->b", self.pulls, self._hats(beta), population)
            error = float(np.sqrt((pulls**2).sum()))
        return value, float(np.hypot(error, self._drift(beta, snapshot)))

    def _expected(self, snapshot: Snapshot, shift: FloatArray) -> float:
        population, mean = self.means(snapshot)
        visited = population > 0
        return float(population[visited] @ (mean + shift)[visited])

    def _drift(self, beta: float, snapshot: Snapshot) -> float:
        """Return how far the shift would go on, were it a line in beta, outside of the range."""
        betas = np.sort(self.pool.betas)
        border = float(np.clip(beta, betas[0], betas[-1]))
        if border == beta or len(betas) < 2:
            return 0.0
        inner = betas[1] if border == betas[0] else betas[-2]
        change = self.shift(border, self.difference) - self.shift(inner, self.difference)
        population = self.means(snapshot)[0]
        return float(abs(population @ change * (beta - border) / (border - inner)))

    def disagreement(self) -> tuple[FloatArray, FloatArray]:
        """Return own means less reweighted means of all states together, and their errors."""
        population = np.array([self.means(self.answer.at(b))[0] for b in self.pool.betas])
        total = (population * self.difference).sum(axis=1)
        if len(self.bootstraps):
            each = (population * self.bootstrap_differences).sum(axis=2)
            return total, each.std(axis=0, ddof=1)
        pulls = (population * self.pulls).sum(axis=2)
        return total, np.sqrt((pulls**2).sum(axis=0))
