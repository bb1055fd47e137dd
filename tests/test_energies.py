"""Energies as slopes: the last layer's loss by autograd, and fits to a system known by formula."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from torch.autograd.functional import hessian, jacobian

from latflow import TemperatureExtrapolator
from latflow.nn.density_ratio import Functions, LastLayer, Solution
from latflow.thermodynamics import Energies, Pool, Weighting, curve_functions

# ------------------------------------------------------------------ the last layer

BETAS = np.array([0.7, 1.0, 1.6])
N_UNITS = 3


class Problem:
    """A small last layer with random units, energies and weights, and its loss as it is written."""

    def __init__(self, seed: int, order: int, n_temperatures: int = 3) -> None:
        rng = np.random.default_rng(seed)
        n, betas = 90, BETAS[:n_temperatures]
        units = rng.standard_normal((n, N_UNITS))
        k = rng.integers(n_temperatures, size=n)
        noise = 0.3 + np.abs(units[:, 0])
        energy = units @ rng.standard_normal(N_UNITS) / betas[k] + noise * rng.standard_normal(n)
        self.units, self.energy, self.k = map(torch.from_numpy, (units, energy, k))
        self.weights = torch.from_numpy(rng.random(n) + 0.2)
        self.blocks = torch.from_numpy(10 * k + rng.integers(3, size=n))
        functions = curve_functions(betas, betas, 3)
        self.functions = Functions(*(torch.from_numpy(f) for f in functions))
        self.held_back = torch.tensor([1.0, 0.5, 0.1], dtype=torch.float64)
        self.ridge = torch.tensor([1e-3, 1e-2, 2e-2], dtype=torch.float64)[:order]
        self.layer = self.of(self.energy)
        self.solution = self.layer.solve(self.weights, self.ridge)

    def of(self, energy: torch.Tensor | None) -> LastLayer:
        return LastLayer(self.units, self.k, self.functions, self.held_back, energy)

    def parameters(self) -> torch.Tensor:
        """The slopes, one order after the other, and f but its first."""
        return torch.cat((self.solution.slopes.T.reshape(-1), self.solution.f[1:]))

    def losses(self, parameters: torch.Tensor) -> torch.Tensor:
        """Loss of every row; residual variances and the curvatures' targets are the solution's."""
        order = len(self.ridge)
        slopes = parameters[: order * N_UNITS].reshape(order, N_UNITS).T
        f = torch.cat((parameters.new_zeros(1), parameters[order * N_UNITS :]))
        values, tilts, bends = self.functions.upto(order)
        log_p = torch.log_softmax(f - self.units @ slopes @ values, dim=1)
        losses = -log_p.gather(1, self.k[:, None])[:, 0]
        for j in range(len(f)):
            share = self.weights * (self.k == j)
            share = share / share.sum()
            units, energy = self.units - share @ self.units, self.energy - share @ self.energy
            before = energy - units @ (self.solution.slopes @ tilts[:, j])
            s2 = share @ before**2
            target = s2 - before**2
            v2 = share @ (target - units @ (self.solution.slopes @ bends[:, j])) ** 2
            slope = (energy - units @ (slopes @ tilts[:, j])) ** 2 / (2 * s2)
            bend = (target - units @ (slopes @ bends[:, j])) ** 2 / (2 * v2)
            losses = losses + (self.k == j) * (slope + bend)
        return losses * self.weights / self.weights.sum()

    def loss(self, parameters: torch.Tensor) -> torch.Tensor:
        squares = parameters[: len(self.ridge) * N_UNITS].reshape(len(self.ridge), -1) ** 2
        return self.losses(parameters).sum() + self.ridge @ squares @ self.held_back / 2


CASES = [(seed, order, n) for seed in range(3) for order, n in ((1, 3), (2, 3), (3, 3), (2, 1))]


@pytest.mark.parametrize(("seed", "order", "n_temperatures"), CASES)
def test_the_solution_is_where_the_written_loss_is_lowest(
    seed: int, order: int, n_temperatures: int
) -> None:
    """To what another step would gain, in nats a frame: variances settle to one in a thousand."""
    problem = Problem(seed, order, n_temperatures)
    at = problem.parameters()
    gradient = jacobian(problem.loss, at)
    curvature = hessian(problem.loss, at)
    gain = float(gradient @ torch.linalg.solve(curvature, gradient)) / 2
    assert gain < 1e-6
    for direction in torch.eye(len(at), dtype=torch.float64):
        for step in (-0.05, 0.05):
            assert problem.loss(at + step * direction) > problem.loss(at)


@pytest.mark.parametrize(("seed", "order", "n_temperatures"), CASES)
def test_its_curvature_is_autograds(seed: int, order: int, n_temperatures: int) -> None:
    problem = Problem(seed, order, n_temperatures)
    curvature = problem.layer.curvature(problem.weights, problem.ridge, problem.solution)
    expected = hessian(problem.loss, problem.parameters())
    torch.testing.assert_close(curvature, expected, rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize(("seed", "order", "n_temperatures"), CASES)
def test_gradients_of_blocks_are_autograds(seed: int, order: int, n_temperatures: int) -> None:
    problem = Problem(seed, order, n_temperatures)
    blocks, n_blocks = problem.blocks, int(problem.blocks.max()) + 1
    found = problem.layer.block_gradients(problem.weights, problem.solution, blocks, n_blocks)
    of_rows = jacobian(problem.losses, problem.parameters())
    expected = torch.zeros(n_blocks, of_rows.shape[1], dtype=torch.float64)
    expected.index_add_(0, blocks, of_rows)
    torch.testing.assert_close(found, expected, rtol=2e-3, atol=1e-5)


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_an_offset_of_the_energies_of_a_temperature_changes_nothing(seed: int, order: int) -> None:
    problem = Problem(seed, order)
    offset = torch.tensor([50.0, -3.0, 7.0], dtype=torch.float64)[problem.k]
    moved = problem.of(problem.energy + offset).solve(problem.weights, problem.ridge)
    torch.testing.assert_close(moved.slopes, problem.solution.slopes, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(moved.f, problem.solution.f, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_weights_have_no_scale_and_a_start_no_say(order: int) -> None:
    problem = Problem(0, order)
    start = Solution(problem.solution.slopes[:, :1] + 0.3, problem.solution.f - 0.2, None)
    start = Solution(start.slopes, start.f - start.f[0], None)
    other = problem.layer.solve(7 * problem.weights, problem.ridge, start)
    torch.testing.assert_close(other.slopes, problem.solution.slopes, rtol=1e-2, atol=1e-3)


def length(step: torch.Tensor, curvature: torch.Tensor) -> float:
    """Return the square root of what a quadratic function gains along a step."""
    return float(step @ curvature @ step) ** 0.5


@pytest.mark.parametrize("with_energies", [False, True])
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("largest", [2, 30])
@pytest.mark.parametrize("seed", range(3))
def test_bootstraps_solved_together_are_where_each_alone_would_be(
    seed: int, largest: int, order: int, with_energies: bool
) -> None:
    """To three per cent of how far each is from the solution of all rows."""
    problem = Problem(seed, order)
    layer = problem.layer if with_energies else problem.of(None)
    blocks = problem.blocks
    draws = np.random.default_rng(seed).integers(largest + 1, size=(6, int(blocks.max()) + 1))
    times = torch.from_numpy(draws + 0.1)
    start = layer.solve(problem.weights, problem.ridge)
    found = layer.solve_redrawn(problem.weights, times, blocks, problem.ridge, start)
    assert len(found) == len(times)
    for solution, own in zip(found, times, strict=True):
        weights = problem.weights * own[blocks]
        exact = layer.solve(weights, problem.ridge)
        curvature = layer.curvature(weights, problem.ridge, exact)
        here, there, alone = (
            torch.cat((one.slopes.T.reshape(-1), one.f[1:])) for one in (solution, start, exact)
        )
        assert length(there - alone, curvature) > 1e-3
        assert length(here - alone, curvature) < 0.03 * length(there - alone, curvature)


def test_a_bootstrap_that_draws_every_block_once_is_the_solution_of_all_rows() -> None:
    problem = Problem(0, 2)
    layer = problem.of(None)
    start = layer.solve(problem.weights, problem.ridge)
    times = torch.ones(2, int(problem.blocks.max()) + 1, dtype=torch.float64)
    found = layer.solve_redrawn(problem.weights, times, problem.blocks, problem.ridge, start)
    for solution in found:
        torch.testing.assert_close(solution.slopes, start.slopes, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(solution.f, start.f, rtol=1e-3, atol=1e-3)


# ------------------------------------------------------------------ a system known by formula


class Hidden:
    """Two states that features tell, whose energies and heat capacities they do not (k_B = 1).

    State 1 is 3 higher and has 8 quadratic degrees of freedom more, half a k_B each: its hidden
    heat capacity. Frames are drawn independently. `bath` harmonic modes change no population.
    """

    energy, degrees, log_volume = 3.0, (2, 10), 3.0
    capacity = 4.0

    @classmethod
    def population(cls, temperature: Any) -> Any:
        """Exact population of state 1."""
        beta = 1 / np.asarray(temperature)
        log_odds = cls.log_volume - beta * cls.energy - cls.capacity * np.log(beta)
        return 1 / (1 + np.exp(-log_odds))

    @classmethod
    def drawn(
        cls, temperatures: tuple[float, ...], seed: int, n: int = 4000, bath: int = 0
    ) -> tuple[list[np.ndarray], dict[str, Any]]:
        """Return arguments of fit: ten pieces a temperature."""
        rng = np.random.default_rng(seed)
        X, metadata = [], {"temperature": [], "energy": [], "states": []}
        for t in np.repeat(temperatures, 10):
            state = (rng.random(n // 10) < cls.population(t)).astype(int)
            energy = cls.energy * state + t * rng.gamma(np.array(cls.degrees)[state] / 2)
            metadata["energy"].append(
                energy + (t * rng.gamma(bath / 2, size=n // 10) if bath else 0)
            )
            X.append(np.stack([state + 0.1 * rng.standard_normal(n // 10),
                               rng.standard_normal(n // 10)], axis=1))  # fmt: skip
            metadata["states"].append(state)
            metadata["temperature"].append(float(t))
        return X, metadata | {"dynamics": False}


def fitted(data: Any, n_bootstraps: int = 20, **changes: Any) -> TemperatureExtrapolator:
    """Fit without learning states or variables; the generator is not asked."""
    X, metadata = data
    model = TemperatureExtrapolator(
        PCA(1), n_bootstraps=n_bootstraps, max_iter=1, boltzmann_constant=1.0, random_state=0
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=ConvergenceWarning)
        return model.fit(X, **metadata | changes)


def deviations(model: TemperatureExtrapolator, temperatures: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return errors of the population of state 1, and their bars."""
    table = model.state_populations(temperatures).xs(1, level="state")
    exact = Hidden.population(np.asarray(temperatures))
    return table["population"].to_numpy() - exact, table["standard_error"].to_numpy()


@pytest.mark.parametrize("seed", range(3))
def test_one_temperature_with_energies_tells_slope_and_heat_capacity(seed: int) -> None:
    model = fitted(Hidden.drawn((1.0,), seed, 8000))
    off, bars = deviations(model, [0.8, 0.9, 1.0, 1.1, 1.3])
    assert (np.abs(off) < 4 * bars).all()
    assert (bars < 0.1).all()
    row = model.thermodynamics(1.0).loc[(1.0, 1)]
    exact = Hidden.energy + Hidden.capacity
    assert abs(row["energy"] - exact) < 4 * row["energy_error"]
    assert abs(row["heat_capacity"] - Hidden.capacity) < 4 * row["heat_capacity_error"]
    assert row["heat_capacity_error"] < 1.0


INSIDE_AND_OUTSIDE = [0.6, 0.7, 0.85, 1.1, 1.4, 1.6]


@pytest.mark.parametrize("seed", range(3))
def test_energies_tell_a_heat_capacity_that_two_temperatures_hide(seed: int) -> None:
    X, metadata = Hidden.drawn((0.7, 1.4), seed, 8000)
    off, bars = deviations(fitted((X, metadata)), INSIDE_AND_OUTSIDE)
    assert np.abs(off).max() < 0.03
    assert (np.abs(off) < 4 * bars).all()
    without, wide = deviations(fitted((X, metadata | {"energy": None})), INSIDE_AND_OUTSIDE)
    assert np.abs(without).max() > 0.03
    assert np.abs(without).max() > 2 * np.abs(off).max()
    assert wide[2:4].mean() > bars[2:4].mean()


@pytest.mark.parametrize("seed", range(2))
def test_a_bath_without_overlap_of_energies_neither_fails_a_fit_nor_biases_it(seed: int) -> None:
    X, metadata = Hidden.drawn((0.7, 1.4), seed, 8000, bath=1000)
    by_energies = Energies(np.concatenate(metadata["energy"]))
    betas, origin = np.array([1 / 0.7, 1 / 1.4]), np.repeat([0, 1], 8000)
    pool = Pool(betas, origin, np.ones(16_000), np.arange(16_000) // 800)
    with pytest.raises(ValueError, match="simulated temperatures that visit common regions"):
        Weighting.solved(by_energies, pool)
    model = fitted((X, metadata))
    assert model.ensemble_.yardstick is None
    assert not any("mbar" in column for column in model.thermodynamics(1.0))
    off, bars = deviations(model, INSIDE_AND_OUTSIDE)
    assert np.abs(off[1:5]).max() < 0.05
    assert (np.abs(off) < 4 * bars).all()


def test_a_bath_widens_error_bars() -> None:
    quiet, loud = (
        deviations(fitted(Hidden.drawn((1.0,), 0, 8000, bath=n)), [0.8, 1.3])[1] for n in (0, 1000)
    )
    assert (loud > 2 * quiet).all()


# ------------------------------------------------------------------ energies that are wrong


def told(data: Any, **changes: Any) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fitted(data, 0, **changes)
    return [str(w.message) for w in caught if "energies change by" in str(w.message)]


@pytest.mark.parametrize("temperatures", [(0.7, 1.4), (0.7, 1.0, 1.4)])
@pytest.mark.parametrize("seed", range(5))
def test_right_energies_are_no_alarm(seed: int, temperatures: tuple[float, ...]) -> None:
    assert told(Hidden.drawn(temperatures, seed)) == []
    assert told(Hidden.drawn(temperatures, seed, bath=1000)) == []


@pytest.mark.parametrize("temperatures", [(0.7, 1.4), (0.7, 1.0, 1.4)])
@pytest.mark.parametrize("seed", range(3))
def test_energies_on_another_scale_are_told_with_the_factor(
    seed: int, temperatures: tuple[float, ...]
) -> None:
    X, metadata = Hidden.drawn(temperatures, seed)
    kilocalories = [u / 4.184 for u in metadata["energy"]]
    (sentence,) = told((X, metadata), energy=kilocalories)
    factor, error = map(float, sentence.split("change by ")[1].split(" of what")[0].split(" ± "))
    assert abs(factor - 1 / 4.184) < 3 * error
    assert error < 0.1
    assert "kcal/mol" in sentence


@pytest.mark.parametrize("seed", range(3))
def test_shuffled_energies_are_told(seed: int) -> None:
    X, metadata = Hidden.drawn((0.7, 1.4), seed)
    rng = np.random.default_rng(seed)
    (sentence,) = told((X, metadata), energy=[rng.permutation(u) for u in metadata["energy"]])
    factor = float(sentence.split("change by ")[1].split(" ± ")[0])
    assert abs(factor) < 0.3
