"""What no feature shows, by each temperature's own frames: expectations, whole systems, weights.

Two states that a log-linear model tells exactly, and a harmonic mode that it knows nothing of: its
stiffness is 1 in state 0 and 3 in state 1 (k_B = 1).
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator

from latflow.thermodynamics import Ensemble, LogLinear, Weighting, pool_of
from latflow.trajectories import gather_frames
from latflow.units import Units

SIMULATED = (0.7, 1.4)
STIFFNESS = np.array([1.0, 3.0])
ENERGY, ENTROPY = 2.0, 2.0  # of state 1
OBSERVABLES = {
    "q^2": (np.square, lambda variance: variance),
    "|q|": (np.abs, lambda variance: np.sqrt(2 / np.pi * variance)),
    "q^4": (lambda q: q**4, lambda variance: 3 * variance**2),
}


def population(temperature: Any) -> Any:
    """Exact population of state 1."""
    return 1 / (1 + np.exp(ENERGY / temperature - ENTROPY))


def exact(name: str, temperature: float) -> float:
    """Mean of an observable at a temperature."""
    p = population(temperature)
    return float(np.array([1 - p, p]) @ OBSERVABLES[name][1](temperature / STIFFNESS))


class Drawn(NamedTuple):
    """Independent frames, and the ensemble of the two states' energies."""

    ensemble: Ensemble
    temperature: np.ndarray
    states: np.ndarray
    q: np.ndarray


def drawn(seed: int, temperatures: Any = SIMULATED, n: int = 4000) -> Drawn:
    rng = np.random.default_rng(seed)
    temperature = np.repeat(np.asarray(temperatures, float), n)
    p = np.array([population(t) for t in temperatures])
    states = (rng.random(len(temperature)) < np.repeat(p, n)).astype(int)
    q = np.sqrt(temperature / STIFFNESS[states]) * rng.standard_normal(len(temperature))
    # what would be learned: the line through the logarithms of the odds that were drawn
    odds = [np.log(own.mean() / (1 - own.mean())) for own in np.split(states, len(temperatures))]
    energy = -np.polyfit(1 / np.asarray(temperatures, float), odds, 1)[0]
    ensemble = Ensemble(
        energy * states[:, None], temperature, states=states, boltzmann_constant=1.0,
        trajectory=np.arange(len(temperature)) // (n // 20), dynamics=False,
    )  # fmt: skip
    return Drawn(ensemble, temperature, states, q)


def quietly(ensemble: Ensemble, values: Any, temperatures: Any) -> pd.DataFrame:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*depends on what the features do not show")
        return ensemble.expectation(values, temperatures)


# ------------------------------------------------------------------ expectations


@pytest.mark.parametrize("name", OBSERVABLES)
@pytest.mark.parametrize("seed", range(4))
def test_at_simulated_temperatures_it_is_the_mean_of_own_frames(seed: int, name: str) -> None:
    """To a third of that mean's standard error; reweighted frames of all are four errors off."""
    ensemble, temperature, _, q = drawn(seed)
    values = OBSERVABLES[name][0](q)
    table = quietly(ensemble, values, SIMULATED)
    for t in SIMULATED:
        own = values[temperature == t]
        error = own.std() / np.sqrt(len(own))
        assert abs(table.loc[t, "value"] - own.mean()) < 0.3 * error
        assert abs(ensemble.at(t).weights @ values - own.mean()) > 4 * error
        assert 0.5 * error < table.loc[t, "standard_error"] < 2 * error


@pytest.mark.parametrize("name", OBSERVABLES)
@pytest.mark.parametrize("seed", range(4))
def test_at_other_temperatures_it_is_right_within_its_error(seed: int, name: str) -> None:
    temperatures = np.array([0.65, 0.9, 1.0, 1.2, 1.5])
    ensemble, _, _, q = drawn(seed)
    table = quietly(ensemble, OBSERVABLES[name][0](q), temperatures)
    off = table["value"].to_numpy() - [exact(name, t) for t in temperatures]
    assert (np.abs(off) < 4 * table["standard_error"].to_numpy()).all()


def test_what_two_temperatures_tell_is_least_certain_outside() -> None:
    ensemble, _, _, q = drawn(0)
    error = quietly(ensemble, q**2, [0.5, 0.7, 1.4, 2.0])["standard_error"]
    assert error.loc[0.5] > 3 * error.loc[0.7]
    assert error.loc[2.0] > 3 * error.loc[1.4]


def test_a_function_of_the_features_keeps_most_of_the_precision_of_all_frames() -> None:
    """At ten temperatures, as replica exchange has; own means alone are much less precise."""
    temperatures = np.geomspace(0.7, 1.4, 10)
    truth = np.array([population(t) for t in temperatures])
    squares = []
    for seed in range(8):
        ensemble, _, states, _ = drawn(seed, temperatures, n=400)
        noise = 0.5 * np.random.default_rng(seed).standard_normal(len(states))
        values = states + noise  # its mean over a state is the same at every temperature
        table = quietly(ensemble, values, temperatures)
        own = np.array([part.mean() for part in np.split(values, 10)])
        squares.append([
            np.mean((table["value"] - truth) ** 2),
            np.mean(table["standard_error"] ** 2),
            np.mean((own - truth) ** 2),
        ])  # fmt: skip
    error, bar, error_of_own = np.sqrt(np.mean(squares, axis=0))
    assert error < 0.65 * error_of_own
    assert 0.7 * error < bar < 1.4 * error


@pytest.mark.parametrize("seed", range(3))
def test_an_indicator_of_a_state_is_its_population(seed: int) -> None:
    ensemble, _, states, _ = drawn(seed, (0.7, 1.0, 1.4))
    temperatures = [0.6, 0.7, 0.9, 1.0, 1.4, 1.6]
    table = ensemble.expectation(states == 1, temperatures)
    expected = ensemble.state_populations(temperatures).xs(1, level="state")
    np.testing.assert_allclose(table["value"], expected["population"], rtol=1e-9)
    np.testing.assert_allclose(table["standard_error"], expected["standard_error"], rtol=0.5)


def test_a_warning_names_what_the_features_do_not_show_and_by_how_much() -> None:
    ensemble, temperature, states, q = drawn(0)
    values = pd.Series(q**2, name="radius")
    with pytest.warns(UserWarning, match="`radius` has at") as caught:
        ensemble.expectation(values, 1.0)
    (sentence,) = [str(w.message) for w in caught]
    t = float(sentence.split("has at ")[1].split(" a mean")[0])
    difference = float(sentence.split("that is ")[1].split(" off")[0])
    own = values[temperature == t].mean()
    assert difference == pytest.approx(own - ensemble.at(t).weights @ values, rel=0.1)
    ensemble.expectation(states + 0.0, 1.0)  # no warning


def known_by_energies(seed: int, temperatures: Any, degrees: int, n: int = 8000) -> Any:
    """The ensemble of the states' energies, given all energies, a bath's among them; and q."""
    rng = np.random.default_rng(seed)
    temperature = np.repeat(np.asarray(temperatures, float), n)
    states = (rng.random(len(temperature)) < population(temperature)).astype(int)
    q = np.sqrt(temperature / STIFFNESS[states]) * rng.standard_normal(len(temperature))
    bath = rng.gamma(degrees / 2, temperature)
    energy = ENERGY * states + STIFFNESS[states] * q**2 / 2 + bath
    return with_energies(temperatures, energy, states, n, of_features=ENERGY * states), q


@pytest.mark.parametrize("temperatures", [(1.0,), (0.8, 1.25)])
@pytest.mark.parametrize("degrees", [2, 100])
@pytest.mark.parametrize("seed", range(4))
def test_energies_carry_it_outside(
    seed: int, degrees: int, temperatures: tuple[float, ...]
) -> None:
    """From one temperature on, whatever no feature shows."""
    ensemble, q = known_by_energies(seed, temperatures, degrees)
    asked = np.array([0.72, 1.0, 1.4])
    for name, (value, _) in OBSERVABLES.items():
        table = quietly(ensemble, value(q), asked)
        off = np.abs(table["value"] - [exact(name, t) for t in asked])
        assert (off < 4 * table["standard_error"]).all()
        plain = np.array([ensemble.at(t).weights @ value(q) for t in asked])
        if degrees < 10:  # else own slopes are noise for the most part
            assert (table["standard_error"] < 0.7 * table["value"]).all()
            assert (off < 0.5 * np.abs(plain - [exact(name, t) for t in asked])).iloc[[0, 2]].all()


@pytest.mark.parametrize("temperatures", [(1.0,), (0.8, 1.25), (0.7, 1.0, 1.4)])
@pytest.mark.parametrize("seed", range(3))
def test_heat_capacities_of_states_are_slopes_of_their_energies(
    seed: int, temperatures: tuple[float, ...]
) -> None:
    """At every temperature, though the route knows nothing of them and own energies do."""
    n, rng, step = 4000, np.random.default_rng(seed), 1e-4
    temperature = np.repeat(temperatures, n)
    states = rng.integers(0, 2, len(temperature))
    energy = 5.0 * states + rng.gamma(2.0 + 4.0 * states, temperature)
    ensemble = with_energies(temperatures, energy, states, n)
    rng = np.random.default_rng(seed)
    pool = ensemble.pool
    ensemble.bootstraps = tuple(ensemble.answer.redrawn(pool.redrawn(rng)) for _ in range(12))
    for t in (0.6, 0.75, 0.9, 1.1, 1.3, 1.6):
        tables = ensemble.thermodynamics([t - step, t, t + step], reference=0)
        below, at, above = tables.xs(1, level="state").itertuples()
        slope = (above.energy - below.energy) / (2 * step)
        assert at.heat_capacity == pytest.approx(slope, rel=1e-3, abs=1e-3)
        assert abs(at.energy - (5.0 + 4.0 * t)) < 5 * at.energy_error


# ------------------------------------------------------------------ the whole system


def with_energies(
    temperatures: Any,
    energy: np.ndarray,
    states: np.ndarray | None,
    n: int,
    of_features: Any = 0.0,
) -> Ensemble:
    """An ensemble whose features know no energy at all, or one `of_features`."""
    temperature = np.repeat(np.asarray(temperatures, float), n)
    frames = gather_frames(
        BaseEstimator(), np.zeros((len(temperature), 1)), reset=True, temperature=temperature,
        trajectory=np.arange(len(temperature)) // (n // 20), dynamics=False,
    )  # fmt: skip
    units = Units(1.0)
    pool = pool_of(frames, units)
    h = np.broadcast_to(np.asarray(of_features, float), len(temperature))
    answer = Weighting.solved(LogLinear(h[:, None], 1.0), pool)
    return Ensemble.of(answer, frames, units, states=states, energy=energy)


@pytest.mark.parametrize("temperatures", [(1.0,), (0.7, 1.4), (0.7, 1.0, 1.4)])
@pytest.mark.parametrize("with_states", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_at_simulated_temperatures_it_is_mean_and_fluctuation_of_own_energies(
    seed: int, with_states: bool, temperatures: tuple[float, ...]
) -> None:
    n, rng = 1000, np.random.default_rng(seed)
    temperature = np.repeat(temperatures, n)
    states = rng.integers(0, 2, len(temperature))
    energy = 5.0 * states + rng.gamma(20.0, temperature)
    ensemble = with_energies(temperatures, energy, states if with_states else None, n)
    table = ensemble.whole_system(temperatures)
    for t in temperatures:
        own = energy[temperature == t]
        assert table.loc[t, "energy"] == pytest.approx(own.mean(), rel=1e-9)
        assert table.loc[t, "heat_capacity"] == pytest.approx(own.var() / t**2, rel=1e-9)
        error = own.std() / np.sqrt(n)
        assert table.loc[t, "energy_error"] == pytest.approx(error, rel=0.5)


@pytest.mark.parametrize("degrees", [6, 1000])
@pytest.mark.parametrize("seed", range(3))
def test_harmonic_oscillators_have_half_a_k_b_each_at_any_temperature(
    seed: int, degrees: int
) -> None:
    n, rng, asked = 8000, np.random.default_rng(seed), np.array([0.8, 1.0, 1.2, 1.5, 2.0, 2.5])
    energy = np.concatenate([rng.gamma(degrees / 2, t, n) for t in (1.0, 1.5, 2.0)])
    table = with_energies((1.0, 1.5, 2.0), energy, None, n).whole_system(asked)
    exact_energy = degrees / 2 * asked
    assert (np.abs(table["energy"] - exact_energy) < 4 * table["energy_error"]).all()
    off = np.abs(table["heat_capacity"] - degrees / 2)
    assert (off < 4 * table["heat_capacity_error"]).all()
    assert (off < 0.1 * degrees / 2).all()


def test_heat_capacities_are_in_the_units_of_k_b_and_energies_are_needed() -> None:
    rng = np.random.default_rng(0)
    u, t = [rng.gamma(3.0, t, 500) for t in (1.0, 1.5)], np.array([1.0, 1.5])
    reduced, scaled = (
        Ensemble(u, (t / k).tolist(), boltzmann_constant=k).whole_system([1.2 / k])
        for k in (1.0, 0.5)
    )
    factors = [1.0, 1.0, 0.5, 0.5]
    np.testing.assert_allclose(scaled, reduced * factors, rtol=1e-6)
    with pytest.raises(ValueError, match="knows the potential energy of every frame"):
        drawn(0).ensemble.whole_system(1.0)


# ------------------------------------------------------------------ weights of the nearest


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("t", [0.6, 0.7, 0.8, 1.0, 1.25, 1.4, 1.7])
def test_the_nearest_weights_keep_the_populations_and_prefer_near_frames(
    t: float, seed: int
) -> None:
    ensemble, temperature, states, q = drawn(seed, (0.7, 1.0, 1.4))
    weights = ensemble.nearest_weights(t)
    assert weights.sum() == pytest.approx(1)
    assert (weights >= 0).all()
    expected = ensemble.state_populations(t)["population"]
    np.testing.assert_allclose(np.bincount(states, weights), expected, rtol=1e-9)
    near = {0.6: [0.7], 0.7: [0.7], 0.8: [0.7, 1.0], 1.0: [1.0], 1.25: [1.0, 1.4],
            1.4: [1.4], 1.7: [1.4]}[t]  # fmt: skip
    assert set(temperature[weights > 0]) == set(near)
    rough = weights @ q**2
    assert (
        abs(rough - exact("q^2", t)) < abs(ensemble.at(t).weights @ q**2 - exact("q^2", t)) + 0.02
    )


@pytest.mark.parametrize("t", [0.75, 0.8, 0.95])
def test_between_two_temperatures_the_nearer_counts_more(t: float) -> None:
    """By a line in beta, in every state."""
    ensemble, temperature, states, _ = drawn(0, (0.7, 1.0, 1.4))
    weights = ensemble.nearest_weights(t)
    share = (1 / t - 1 / 1.0) / (1 / 0.7 - 1 / 1.0)
    for state in (0, 1):
        inside = weights * (states == state)
        assert inside[temperature == 0.7].sum() / inside.sum() == pytest.approx(share)
