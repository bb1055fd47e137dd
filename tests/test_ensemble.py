"""Ensemble: a user's own energies and states, and those of a fitted model, at any temperature."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import Melting, fit_quietly, quick_extrapolator, quick_latf, tiny_extrapolator
from sklearn.base import BaseEstimator

from latflow import stack
from latflow.thermodynamics import (
    Ensemble,
    Equilibrium,
    Snapshot,
    Weighting,
    averages,
    reduced_at,
)
from latflow.trajectories import gather_frames
from latflow.units import Units

QUANTITIES = ["free_energy", "energy", "entropy", "heat_capacity"]
SIMULATED = (0.6, 1.0)
REDUCED = Units(1.0)
EVERYWHERE = [0.4, 0.6, 0.8, 1.0, 1.4]

Inputs = tuple[list[np.ndarray], list[float], list[np.ndarray]]


def melting_inputs(seed: int = 0, **size: int) -> Inputs:
    """Energies, temperatures and states of trajectories of the melting system."""
    X, metadata = Melting.pooled(SIMULATED, seed=seed, **size)
    return metadata["energy"], metadata["temperature"], [(x[:, 0] > 0).astype(int) for x in X]


def ensemble_of(inputs: Inputs, **changes: Any) -> Ensemble:
    energies, temperatures, states = inputs
    options = {"states": states, "boltzmann_constant": 1.0} | changes
    return Ensemble(energies, temperatures, **options)


@pytest.fixture(scope="module")
def inputs() -> Inputs:
    return melting_inputs(n_trajectories=12, n_frames=200)


@pytest.fixture(scope="module")
def ensemble(inputs: Inputs) -> Ensemble:
    return ensemble_of(inputs)


# ------------------------------------------------------------------ a user's own states


@pytest.mark.parametrize("seed", range(4))
def test_energies_temperatures_and_states_give_the_exact_thermodynamics(seed: int) -> None:
    ensemble = ensemble_of(melting_inputs(seed))
    populations = ensemble.state_populations(EVERYWHERE).xs(1, level="state")
    exact = [Melting.molten(t) for t in EVERYWHERE]
    assert (abs(populations["population"] - exact) < 5 * populations["standard_error"]).all()
    for t in EVERYWHERE:
        row = ensemble.thermodynamics(t).loc[(t, 1)]
        truth = [Melting.energy - t * Melting.entropy, Melting.energy, Melting.entropy, 0.0]
        errors = row[[f"{name}_error" for name in QUANTITIES]].to_numpy()
        assert (np.abs(row[QUANTITIES].to_numpy() - truth) < 5 * errors).all()
    point = ensemble.melting_temperature(1)
    assert abs(point.temperature - Melting.temperature) < 5 * point.standard_error
    assert point.temperature == pytest.approx(Melting.temperature, rel=0.05)
    exact_slope = Melting.energy / (4 * Melting.temperature**2)
    assert point.slope == pytest.approx(exact_slope, rel=0.1)
    mean = ensemble.expectation(melting_inputs(seed)[0], EVERYWHERE)
    exact_energies = 1.5 * np.array(EVERYWHERE) + Melting.energy * np.array(exact)
    assert (abs(mean["value"] - exact_energies) < 5 * mean["standard_error"]).all()


def test_attributes_say_what_was_simulated(inputs: Inputs, ensemble: Ensemble) -> None:
    np.testing.assert_array_equal(ensemble.temperatures, SIMULATED)
    assert ensemble.temperature_range == pytest.approx((0.8 * 0.6, 1.5 * 1.0))
    assert ensemble.units == REDUCED
    assert ensemble.n_states == 2
    assert ensemble.n_bootstraps == 0
    np.testing.assert_array_equal(ensemble.states, np.concatenate(inputs[2]))
    np.testing.assert_array_equal(ensemble.pool.betas, [1 / 0.6, 1.0])


def assert_same_answers(first: Ensemble, second: Ensemble, tolerance: float = 1e-9) -> None:
    same = partial(pd.testing.assert_frame_equal, rtol=tolerance, atol=tolerance)
    same(first.state_populations(EVERYWHERE), second.state_populations(EVERYWHERE))
    same(first.thermodynamics(EVERYWHERE), second.thermodynamics(EVERYWHERE))
    same(first.support(EVERYWHERE), second.support(EVERYWHERE))
    melting = first.melting_temperature(1), second.melting_temperature(1)
    np.testing.assert_allclose(*melting, rtol=tolerance)


@pytest.mark.parametrize("n_trajectories", [3, 12], ids=["blocks are pieces", "trajectories"])
@pytest.mark.parametrize("shuffled", [False, True])
def test_lists_and_stacked_arrays_with_trajectory_ids_are_the_same(
    n_trajectories: int, shuffled: bool
) -> None:
    energies, temperatures, states = melting_inputs(n_trajectories=n_trajectories, n_frames=100)
    from_lists = Ensemble(energies, temperatures, states=states, boltzmann_constant=1.0)
    columns, rows = stack([u[:, None] for u in energies], temperature=temperatures)
    order = np.arange(len(columns))
    if shuffled:
        order = np.random.default_rng(0).permutation(order)
    stacked = Ensemble(
        columns[order, 0],
        rows["temperature"][order],
        states=np.concatenate(states)[order],
        trajectory=rows["trajectory"][order],
        frame=rows["frame"][order],
        boltzmann_constant=1.0,
    )
    assert_same_answers(from_lists, stacked)
    listed = from_lists.frame_weights(0.8)
    assert list(map(len, listed)) == list(map(len, energies))
    np.testing.assert_allclose(stacked.frame_weights(0.8), np.concatenate(listed)[order])


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("width", [1, 2], ids=["h", "h and no c"])
def test_log_linear_coefficients_that_are_the_energies_are_the_energies(
    inputs: Inputs, stacked: bool, width: int
) -> None:
    energies, temperatures, states = inputs
    coefficients: Any = [np.column_stack([u, 0 * u])[:, :width] for u in energies]
    if stacked:
        columns, rows = stack(coefficients, temperature=temperatures)
        energies, coefficients = np.concatenate(energies), columns
        temperatures, states = rows["temperature"], np.concatenate(states)
    by_energies, by_coefficients = (
        Ensemble(u, temperatures, states=states, boltzmann_constant=1.0)
        for u in (energies, coefficients)
    )
    for t in EVERYWHERE:
        np.testing.assert_allclose(
            by_coefficients.at(t).weights, by_energies.at(t).weights, rtol=1e-4
        )
    assert_same_answers(by_energies, by_coefficients, tolerance=1e-4)


def test_a_curvature_changes_answers_at_other_temperatures(inputs: Inputs) -> None:
    """The second column is c: one of state 1 adds -c (beta - beta_0)^2 / 2 to its free energy."""
    energies, temperatures, states = inputs
    curved = Ensemble(
        [np.column_stack([u, 2.0 * s]) for u, s in zip(energies, states, strict=True)],
        temperatures, states=states, boltzmann_constant=1.0,
    )  # fmt: skip
    straight = ensemble_of(inputs)
    first, last = 1 / np.array(SIMULATED)
    beta0 = (first + last) / 2

    def log_ratio(ensemble: Ensemble, beta: float) -> float:
        p = ensemble.state_populations(1 / beta)["population"].to_numpy()
        return float(np.log(p[1] / p[0]))

    change = [
        log_ratio(curved, beta) - log_ratio(straight, beta) for beta in (first, last, 0.4, 2.6)
    ]
    # the frames at the simulated temperatures stay what they are
    expected = [-((beta - beta0) ** 2 - (last - beta0) ** 2) for beta in (0.4, 2.6)]
    np.testing.assert_allclose(change[:2], 0, atol=0.02)
    np.testing.assert_allclose(change[2:], expected, atol=0.1)


def test_only_ratios_of_weights_count_and_frames_without_weight_are_not_there() -> None:
    inputs = melting_inputs(n_trajectories=12, n_frames=500)
    energies, temperatures, states = inputs
    weights = np.random.default_rng(0).random(len(energies)) + 0.1
    assert_same_answers(
        ensemble_of(inputs, weights=weights), ensemble_of(inputs, weights=7 * weights)
    )
    weights[::3] = 0
    kept = np.flatnonzero(weights)
    fewer = (
        [energies[k] for k in kept],
        [temperatures[k] for k in kept],
        [states[k] for k in kept],
    )
    some = ensemble_of(inputs, weights=weights)
    without = ensemble_of(fewer, weights=weights[kept])
    value, expected = (e.state_populations(EVERYWHERE)["population"] for e in (some, without))
    np.testing.assert_allclose(value, expected, rtol=1e-4)


def test_units_follow_the_boltzmann_constant(inputs: Inputs, ensemble: Ensemble) -> None:
    energies, temperatures, states = inputs
    k = 0.5
    other = Ensemble(energies, [t / k for t in temperatures], states=states, boltzmann_constant=k)
    factors = np.array([1, 1, k, k])
    np.testing.assert_allclose(
        other.thermodynamics(0.8 / k)[QUANTITIES],
        ensemble.thermodynamics(0.8)[QUANTITIES] * factors,
    )
    point, expected = other.melting_temperature(1), ensemble.melting_temperature(1)
    np.testing.assert_allclose(point, np.array(expected) * [1 / k, 1 / k, k], rtol=1e-6)


WITHOUT_TORCH = """
import sys
import latflow.thermodynamics
u = [[[0.0], [1.0], [0.5]], [[1.0], [0.0], [0.7]]]
ensemble = latflow.thermodynamics.Ensemble(
    u, [1.0, 2.0], states=[[0, 1, 0], [1, 0, 1]], boltzmann_constant=1.0
)
ensemble.state_populations([1.0, 1.5])
print([name for name in ("torch", "mdtraj", "matplotlib") if name in sys.modules])
"""


def test_neither_the_room_nor_an_ensemble_made_in_it_loads_torch() -> None:
    run = subprocess.run([sys.executable, "-c", WITHOUT_TORCH], capture_output=True, text=True)
    assert (run.stdout, run.returncode) == ("[]\n", 0), run.stderr


# ------------------------------------------------------------------ what it refuses

U = [np.linspace(0, 1, 20), np.linspace(0, 1, 30)]
T = [1.0, 2.0]
WRONG: dict[str, tuple[Any, Any, dict[str, Any], str]] = {
    "three columns": (
        [np.zeros((20, 3))] * 2,
        T,
        {},
        r"`energies` of shape \(n_frames,\), \(n_frames, 1\) or \(n_frames, 2\), got \(20, 3\)",
    ),
    "three stacked columns": (np.zeros((20, 3)), np.ones(20), {}, r"`energies` .* got \(20, 3\)"),
    "three axes": ([np.zeros((20, 2, 1))] * 2, T, {}, r"`energies` .* got \(20, 2, 1\)"),
    "a number": (3.0, T, {}, r"`energies` .* got \(\)"),
    "a tuple": (tuple(U), T, {}, "got a tuple"),
    "unequal columns": ([np.zeros((20, 1)), np.zeros((30, 2))], T, {}, "got 2 in trajectory 1"),
    "NaN": ([U[0], np.nan * U[1]], T, {}, "finite numbers .* trajectory 1, frame 0"),
    "masked": (np.ma.masked_greater(U[0], 0.5), np.ones(20), {}, "masked array with 10 masked"),
    "no temperatures": (U, None, {}, "`temperatures`, one per trajectory or per frame, got None"),
    "one temperature": (U, 1.0, {}, "one entry per trajectory"),
    "too few temperatures": (U, [1.0], {}, r"one entry per trajectory \(2\), got 1"),
    "too many temperatures": (np.hstack(U), np.ones(51), {}, r"shape \(50,\), got \(51,\)"),
    "negative temperature": (U, [1.0, -2.0], {}, "positive, got -2"),
    "states of other lengths": (
        U,
        T,
        {"states": [np.zeros(20, int)] * 2},
        r"`states` of trajectory 1 .* shape \(30,\), got \(20,\)",
    ),
    "stacked states": (U, T, {"states": np.zeros(50, int)}, r"`states` .* \(2\), got 50"),
    "fractions": (U, T, {"states": [0, 0.5]}, "`states` to hold one integer per frame"),
    "negative states": (U, T, {"states": [0, -1]}, "`states` of 0 or more, got -1"),
    "weights of other lengths": (U, T, {"weights": [1, 2, 3]}, r"`weights` .* got 3"),
    "ids of a list": (U, T, {"trajectory": [0, 1]}, "no `trajectory` or `frame` with a list"),
    "no k_B": (U, T, {"boltzmann_constant": 0}, "`boltzmann_constant` to be a finite number > 0"),
    "range": (U, T, {"temperature_range": (2, 1)}, r"`temperature_range` .* got \(2, 1\)"),
    "apart": ([U[0], U[1] + 1e4], T, {}, "simulated temperatures that visit common regions"),
}


def assert_one_sentence(error: pytest.ExceptionInfo[ValueError]) -> None:
    text = str(error.value)
    assert text.startswith("Expected ")
    assert text.endswith(".")
    assert "\n" not in text
    assert ". " not in text


@pytest.mark.parametrize("case", WRONG)
def test_wrong_inputs_are_told_in_one_sentence(case: str) -> None:
    energies, temperatures, options, message = WRONG[case]
    with pytest.raises(ValueError, match=message) as error:
        Ensemble(energies, temperatures, **options)
    assert_one_sentence(error)


QUESTIONS_OF_STATES: dict[str, Callable[[Ensemble], Any]] = {
    "state_populations": lambda e: e.state_populations(1.0),
    "thermodynamics": lambda e: e.thermodynamics([1.0, 2.0]),
    "thermodynamics of a reference": lambda e: e.thermodynamics(1.0, reference=0),
    "melting_temperature": lambda e: e.melting_temperature(0),
    "at a temperature": lambda e: e.at(1.0).state_populations(),
}


@pytest.mark.parametrize("question", QUESTIONS_OF_STATES)
def test_questions_about_states_without_states_are_told_in_one_sentence(
    inputs: Inputs, question: str
) -> None:
    stateless = ensemble_of(inputs, states=None)
    assert stateless.n_states == 0
    with pytest.raises(ValueError, match="labels of your own as `states`") as error:
        QUESTIONS_OF_STATES[question](stateless)
    assert_one_sentence(error)


def test_all_else_is_answered_without_states(inputs: Inputs, ensemble: Ensemble) -> None:
    """What states tell of support is NaN then, and doubts that rest on it are not had."""
    stateless = ensemble_of(inputs, states=None)
    values = inputs[0]
    one, two = (e.expectation(values, EVERYWHERE) for e in (stateless, ensemble))
    assert (np.abs(one["value"] - two["value"]) < 0.3 * one["standard_error"]).all()
    support, expected = stateless.support(EVERYWHERE), ensemble.support(EVERYWHERE)
    of_states = ["crossings", "spread"]
    of_both = ["support", "reason"]
    pd.testing.assert_frame_equal(
        support.drop(columns=of_states + of_both), expected.drop(columns=of_states + of_both)
    )
    assert support[of_states].isna().all(axis=None)
    assert expected[of_states].notna().all(axis=None)
    verdicts = ["extrapolated", "supported", "supported", "supported", "extrapolated"]
    assert support["support"].tolist() == verdicts
    np.testing.assert_array_equal(stateless.at(0.8).weights, ensemble.at(0.8).weights)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda e: e.melting_temperature(9), "Expected `state` to be a state below 2, got 9."),
        (lambda e: e.melting_temperature(-1), "Expected `state`"),
        (lambda e: e.thermodynamics(0.8, reference=2), "`reference` to be a state below 2, got 2"),
        (lambda e: e.thermodynamics(-1.0), "`temperature` to be a finite number > 0, got -1"),
        (lambda e: e.at(0.0), "`temperature` to be a finite number > 0, got 0"),
        (lambda e: e.frame_weights(np.nan), "`temperature` to be a finite number > 0, got nan"),
        (lambda e: e.expectation([1.0], 1.0), r"`values` .* per trajectory \(24\), got 1"),
    ],
)
def test_wrong_questions_are_told_in_one_sentence(
    ensemble: Ensemble, call: Callable[[Ensemble], Any], text: str
) -> None:
    with pytest.raises(ValueError, match=text) as error:
        call(ensemble)
    assert_one_sentence(error)


def test_a_single_state_melts_into_nothing(inputs: Inputs) -> None:
    single = ensemble_of(inputs, states=[0] * len(inputs[0]))
    with pytest.raises(ValueError, match="two states or more, got one with one state"):
        single.melting_temperature(0)
    assert single.thermodynamics(0.8)[QUANTITIES].isna().all(axis=None)
    assert single.state_populations(0.8)["population"].tolist() == pytest.approx([1])


# ------------------------------------------------------------------ one engine, many tables


@pytest.mark.parametrize("t", EVERYWHERE)
def test_at_one_temperature_and_tables_agree(inputs: Inputs, ensemble: Ensemble, t: float) -> None:
    at = ensemble.at(t)
    assert isinstance(at, Equilibrium)
    assert at.temperature == t
    np.testing.assert_array_equal(np.concatenate(ensemble.frame_weights(t)), at.weights)
    assert at.weights.sum() == pytest.approx(1)
    same = pd.testing.assert_frame_equal
    same(ensemble.state_populations(EVERYWHERE).loc[t], at.state_populations())
    same(ensemble.thermodynamics(EVERYWHERE).loc[t], at.thermodynamics())
    same(ensemble.thermodynamics(t, reference=1).loc[t], at.thermodynamics(reference=1))
    assert ensemble.support(EVERYWHERE).loc[t].to_dict() == pytest.approx(at.support(), nan_ok=True)
    assert ensemble.support(t).loc[t, "effective_sample_size"] == at.effective_sample_size
    values = np.concatenate(inputs[0])
    mean, error = ensemble.expectation(inputs[0], EVERYWHERE).loc[t]
    assert mean == pytest.approx(at.weights @ values, abs=0.5 * error)


def test_tables_have_a_row_for_every_temperature_asked(inputs: Inputs, ensemble: Ensemble) -> None:
    """In the order asked, also one asked twice."""
    asked = [1.0, 0.6, 1.0]
    tables = {
        1: (ensemble.expectation(inputs[0], asked), ensemble.support(asked)),
        2: (ensemble.state_populations(asked), ensemble.thermodynamics(asked)),
    }
    for n_each, pair in tables.items():
        for table in pair:
            index = table.index.get_level_values("temperature")
            assert index.tolist() == np.repeat(asked, n_each).tolist()


@pytest.mark.parametrize("n_bootstraps", [0, 12])
def test_expectations_of_indicators_are_populations(
    inputs: Inputs, ensemble: Ensemble, n_bootstraps: int
) -> None:
    """With bootstraps to rounding, errors too; without those of blocks, drawn or not, are alike."""
    if n_bootstraps:
        ensemble = with_errors(inputs, ensemble, bootstraps=bootstrapped(ensemble, n_bootstraps))
    populations = ensemble.state_populations(EVERYWHERE)
    for state in (0, 1):
        indicator = [np.equal(s, state) for s in inputs[2]]
        table = ensemble.expectation(indicator, EVERYWHERE)
        expected = populations.xs(state, level="state")
        np.testing.assert_allclose(table["value"], expected["population"], atol=1e-12)
        alike = 1e-9 if n_bootstraps else 0.4
        np.testing.assert_allclose(table["standard_error"], expected["standard_error"], rtol=alike)


# ------------------------------------------------------------------ errors


def bootstrapped(ensemble: Ensemble, n: int = 12, seed: int = 0) -> list[Weighting]:
    """Weightings by the same energies on blocks drawn with replacement, without their pools."""
    rng, answer, pool = np.random.default_rng(seed), ensemble.answer, ensemble.pool
    u = reduced_at(answer.route, pool.betas)
    draws = [pool.redrawn(rng) for _ in range(n)]
    weightings = [
        Weighting.of(answer.route, answer.log_counts, u, pool.weights_of(times)) for times in draws
    ]
    return [replace(one, times=times) for one, times in zip(weightings, draws, strict=True)]


def with_errors(inputs: Inputs, ensemble: Ensemble, **options: Any) -> Ensemble:
    frames = gather_frames(
        BaseEstimator(), [u[:, None] for u in inputs[0]], reset=True, temperature=inputs[1]
    )
    return Ensemble.of(ensemble.answer, frames, ensemble.units, states=ensemble.states, **options)


def mean_and_square(snapshot: Snapshot) -> tuple[np.ndarray, np.ndarray]:
    slope, _ = snapshot.weighting.route.derivatives(snapshot.beta)
    return averages(snapshot, np.stack([slope, slope**2], axis=1))


@pytest.mark.parametrize("t", EVERYWHERE)
def test_an_ensemble_of_solved_weightings_is_the_one_they_came_from(
    inputs: Inputs, ensemble: Ensemble, t: float
) -> None:
    assert_same_answers(with_errors(inputs, ensemble), ensemble, tolerance=1e-14)
    value, error = ensemble.estimate(t, mean_and_square)
    expected = mean_and_square(ensemble.answer.at(1 / t))
    np.testing.assert_array_equal([value, error], expected)


@pytest.mark.parametrize("t", EVERYWHERE)
def test_estimates_with_bootstraps_have_their_spread_as_error(
    inputs: Inputs, ensemble: Ensemble, t: float
) -> None:
    bootstraps = bootstrapped(ensemble)
    with_them = with_errors(inputs, ensemble, bootstraps=bootstraps)
    assert with_them.n_bootstraps == len(bootstraps)
    value, error = with_them.estimate(t, mean_and_square)
    np.testing.assert_array_equal(value, ensemble.estimate(t, mean_and_square)[0])
    others = np.array([mean_and_square(b.at(1 / t))[0] for b in bootstraps])
    np.testing.assert_allclose(error, others.std(axis=0, ddof=1), rtol=1e-12)
    # and all tables stand on it
    populations = [
        [b.at(1 / t).weights[ensemble.states == s].sum() for s in (0, 1)] for b in bootstraps
    ]
    table = with_them.state_populations(t)
    np.testing.assert_allclose(table["standard_error"], np.std(populations, axis=0, ddof=1))
    np.testing.assert_array_equal(table["population"], ensemble.state_populations(t)["population"])
    free_energies = -t * np.diff(np.log(populations), axis=1)
    table = with_them.thermodynamics(t)
    np.testing.assert_allclose(table["free_energy_error"], free_energies.std(ddof=1))
    mean = with_them.expectation(inputs[0], t)["standard_error"]
    np.testing.assert_allclose(mean, error[0], rtol=0.3)  # own means have a part in it


@pytest.mark.parametrize("t", EVERYWHERE)
def test_bootstraps_over_blocks_and_the_errors_of_blocks_tell_the_same(
    inputs: Inputs, ensemble: Ensemble, t: float
) -> None:
    with_them = with_errors(inputs, ensemble, bootstraps=bootstrapped(ensemble, 400))
    by_bootstraps, by_blocks = (
        e.thermodynamics(t)[["free_energy_error", "energy_error"]] for e in (with_them, ensemble)
    )
    np.testing.assert_allclose(by_bootstraps, by_blocks, rtol=0.25)


CAPACITIES = np.array([0.5, 2.0])


def twins_by_hand(ensemble: Ensemble, t: float) -> np.ndarray:
    """Populations if the frames of one state had C (log beta - its secant) more reduced energy."""
    beta, (first, last) = 1 / t, ensemble.pool.betas
    secant = (np.log(last) - np.log(first)) / (last - first)
    change = np.log(beta) - np.log(first) - secant * (beta - first)
    populations = []
    for state, capacity in enumerate(CAPACITIES):
        inside = ensemble.states == state
        weights = ensemble.at(t).weights * np.exp(-change * capacity * inside)
        weights /= weights.sum()
        populations.append([weights[ensemble.states == s].sum() for s in (0, 1)])
    return np.array(populations)


@pytest.mark.parametrize("n_bootstraps", [0, 12])
def test_heat_capacities_that_frames_cannot_show_add_in_quadrature(
    inputs: Inputs, ensemble: Ensemble, n_bootstraps: int
) -> None:
    bootstraps = bootstrapped(ensemble, n_bootstraps)
    plain = with_errors(inputs, ensemble, bootstraps=bootstraps)
    unsure = with_errors(inputs, ensemble, bootstraps=bootstraps, heat_capacities=CAPACITIES)
    for t in (0.4, 0.75, 1.4):
        before, after = (e.state_populations(t) for e in (plain, unsure))
        value = before["population"].to_numpy()
        np.testing.assert_array_equal(after["population"], value)
        squares = (twins_by_hand(ensemble, t) - value) ** 2
        assert (squares > 0).all()
        np.testing.assert_allclose(
            after["standard_error"] ** 2, before["standard_error"] ** 2 + squares.sum(axis=0)
        )


@pytest.mark.parametrize("t", SIMULATED)
def test_heat_capacities_that_frames_cannot_show_leave_simulated_temperatures_alone(
    inputs: Inputs, ensemble: Ensemble, t: float
) -> None:
    """Populations and free energies there, that is; a heat capacity is uncertain by its prior."""
    unsure = with_errors(inputs, ensemble, heat_capacities=CAPACITIES)
    same = partial(np.testing.assert_allclose, rtol=1e-9)
    same(unsure.state_populations(t), ensemble.state_populations(t))
    same(unsure.expectation(inputs[0], t), ensemble.expectation(inputs[0], t))
    after, before = unsure.thermodynamics(t), ensemble.thermodynamics(t)
    same(after[QUANTITIES], before[QUANTITIES])
    same(after["free_energy_error"], before["free_energy_error"])
    known = before["heat_capacity_error"] ** 2
    same(after["heat_capacity_error"] ** 2, known + (CAPACITIES**2).sum())
    assert (after["energy_error"] > before["energy_error"]).all()


def test_heat_capacities_of_the_prior_are_in_units_of_k_b() -> None:
    energies, temperatures, states = melting_inputs(n_trajectories=12, n_frames=100)
    k = 0.5
    ensemble = Ensemble(
        energies, [t / k for t in temperatures], states=states, boltzmann_constant=k
    )
    unsure = with_errors(
        (energies, [t / k for t in temperatures], states), ensemble, heat_capacities=CAPACITIES
    )
    t = SIMULATED[0] / k
    errors = [e.thermodynamics(t)["heat_capacity_error"] ** 2 for e in (unsure, ensemble)]
    np.testing.assert_allclose(errors[0] - errors[1], k**2 * (CAPACITIES**2).sum(), rtol=1e-6)


# ------------------------------------------------------------------ melting


def counted(log_ratio: Callable[[float], float], coefficients: Any, betas: Any) -> Ensemble:
    """Two states that are flat in energy, counted exactly by the logarithm of their ratio."""
    energies, states, rng = [], [], np.random.default_rng(0)
    for beta in betas:
        n = 20_000
        n_second = round(n / (1 + np.exp(-log_ratio(beta))))
        state = rng.permutation(np.repeat([0, 1], (n - n_second, n_second)))
        states.append(state)
        energies.append(np.asarray(coefficients, float)[state])
    return Ensemble(
        energies, [1 / beta for beta in betas], states=states, boltzmann_constant=1.0,
        temperature_range=(0.25, 10.0),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("betas", "crossing"), [((1.0, 1.2), 0.8), ((2.0, 2.2), 2.5), ((0.6, 0.9), 0.8)]
)
def test_of_several_crossings_the_nearest_is_the_melting_temperature(
    betas: Any, crossing: float
) -> None:
    """log p_1 / p_0 = (beta - 0.8) (2.5 - beta) has two roots, as in cold denaturation."""
    beta0, curvature = np.mean(betas), 2.0
    slope = curvature * (beta0 - 1.65)
    ensemble = counted(
        lambda beta: (beta - 0.8) * (2.5 - beta), [[0, 0], [slope, curvature]], betas
    )
    point = ensemble.melting_temperature(1)
    assert point.temperature == pytest.approx(1 / crossing, rel=0.01)
    assert point.slope == pytest.approx(-(3.3 - 2 * crossing) * crossing**2 / 4, rel=0.02)


@pytest.mark.parametrize("state", [0, 1])
def test_no_crossing_is_said(state: int) -> None:
    ensemble = counted(lambda beta: 0.5 - 0.1 * beta, [0.0, 0.1], (0.9, 1.2))
    ensemble.set_range((0.5, 2.0))
    message = f"state {state} does not cross one half between temperatures 0.5 and 2: it has no"
    with pytest.warns(UserWarning, match=message):
        assert np.isnan(ensemble.melting_temperature(state)).all()
    ensemble.set_range((0.1, 2.0))
    assert ensemble.melting_temperature(state).temperature == pytest.approx(1 / 5, rel=0.05)


# ------------------------------------------------------------------ support


@pytest.mark.parametrize("seed", range(3))
def test_support_is_withheld_where_temperatures_hardly_overlap(seed: int) -> None:
    """In the middle of a wide gap few frames of either side count, and beyond it none connects."""
    rng = np.random.default_rng(seed)
    x = [rng.normal(shift, 1.0, 2000) for shift in (0.0, 5.0)]
    ensemble = Ensemble([-5 * 2 * part for part in x], [1.0, 2.0], boltzmann_constant=1.0)
    table = ensemble.support([0.95, 1.0, 1.33, 2.0, 2.2])  # u_2 - u_1 = 5 x
    roles = ["beyond", "simulated", "between", "simulated", "beyond"]
    assert table["role"].tolist() == roles
    assert (table["overlap"] < 0.03).all()
    assert table["effective_fraction"].iloc[2] < 0.5
    verdicts = ["unsupported", "supported", "unsupported", "supported", "unsupported"]
    assert table["support"].tolist() == verdicts
    assert table["reason"].iloc[[0, 2, 4]].str.contains("temperatures 1 and 2 overlap by 0.0").all()


# ------------------------------------------------------------------ of a fitted model


def molten_state(system: Any, model: Any) -> int:
    """Number of the molten state: the one of a frame in its well."""
    return int(model.predict(np.array([[1.0, *[0.0] * system.DEGREES]]))[0])


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_melting_is_found_without_energies(seed: int) -> None:
    X, metadata = Melting.pooled(seed=seed)
    latf = quick_latf(lagtime=1, random_state=seed)
    model = quick_extrapolator(latf, n_bootstraps=20, max_iter=20, random_state=seed)
    fit_quietly(model, X, temperature=metadata["temperature"])  # so short a generator says so
    state = molten_state(Melting, model)
    point = model.melting_temperature(state)
    assert abs(point.temperature - Melting.temperature) < 4 * point.standard_error
    assert point.temperature == pytest.approx(Melting.temperature, rel=0.05)
    exact_slope = Melting.energy / (4 * Melting.temperature**2)
    assert point.slope == pytest.approx(exact_slope, rel=0.25)
    row = model.thermodynamics(0.8).xs(state, level="state").iloc[0]
    truth = [Melting.energy - 0.8 * Melting.entropy, Melting.energy, Melting.entropy, 0.0]
    errors = row[[f"{name}_error" for name in QUANTITIES]].to_numpy(float)
    assert (np.abs(row[QUANTITIES].to_numpy(float) - truth) < 4 * errors + 0.02).all()
    assert row["energy"] == pytest.approx(Melting.energy, rel=0.15)


def test_mbar_stands_beside(melting: Any) -> None:
    system, model = melting
    table = model.thermodynamics([0.7, 0.9])
    state = molten_state(system, model)
    for t in (0.7, 0.9):
        row = table.loc[t, state]
        truth = system.energy - t * system.entropy
        assert abs(row["free_energy_mbar"] - truth) < 4 * row["free_energy_mbar_error"]
        assert row["free_energy_difference"] == pytest.approx(
            row["free_energy"] - row["free_energy_mbar"]
        )
        assert abs(row["free_energy_difference"]) < 0.2


def test_mbar_beside_is_the_ensemble_of_the_energies(melting: Any) -> None:
    model = melting[1]
    _, metadata = Melting.pooled()
    by_energies = Ensemble(
        metadata["energy"], metadata["temperature"], states=model.labels_, boltzmann_constant=1.0
    )
    table, expected = model.thermodynamics(EVERYWHERE), by_energies.thermodynamics(EVERYWHERE)
    np.testing.assert_allclose(table["free_energy_mbar"], expected["free_energy"], atol=1e-9)
    np.testing.assert_allclose(
        table["free_energy_mbar_error"], expected["free_energy_error"], rtol=1e-6
    )


def test_two_states_mirror_each_other_and_a_reference_is_zero(melting: Any) -> None:
    model = melting[1]
    table = model.thermodynamics(0.8)
    np.testing.assert_allclose(table[QUANTITIES].sum(), 0, atol=1e-9)
    compared = model.thermodynamics(0.8, reference=0)
    np.testing.assert_allclose(compared[QUANTITIES].loc[0.8, 0], 0, atol=1e-12)
    np.testing.assert_allclose(compared[QUANTITIES].loc[0.8, 1], table[QUANTITIES].loc[0.8, 1])


def test_free_energies_are_the_populations(melting: Any) -> None:
    model = melting[1]
    p = model.state_populations(0.8)["population"].to_numpy()
    f = model.thermodynamics(0.8)["free_energy"].to_numpy()
    np.testing.assert_allclose(f, -0.8 * np.log(p / (1 - p)), rtol=1e-9)


def test_a_model_s_units_follow_the_boltzmann_constant_of_its_estimator() -> None:
    X, metadata = Melting.pooled(n_trajectories=10, n_frames=300)
    k = 0.5
    tables, points = [], []
    for constant in (1.0, k):
        latf = quick_latf(lagtime=1, boltzmann_constant=constant)
        model = tiny_extrapolator(latf, method="mbar")
        temperature = [t / constant for t in metadata["temperature"]]
        fit_quietly(model, X, temperature=temperature, energy=metadata["energy"])
        tables.append(model.thermodynamics(0.8 / constant)[QUANTITIES].to_numpy())
        points.append(model.melting_temperature(0)[:2])
    np.testing.assert_allclose(tables[1], tables[0] * [1, 1, k, k], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(points[1], np.array(points[0]) / k, rtol=1e-6)


def test_a_fitted_model_answers_by_its_ensemble(melting: Any) -> None:
    model = melting[1]
    ensemble, same = model.ensemble_, pd.testing.assert_frame_equal
    same(model.state_populations(EVERYWHERE), ensemble.state_populations(EVERYWHERE))
    same(model.thermodynamics(0.8, reference=1), ensemble.thermodynamics(0.8, reference=1))
    same(model.support(EVERYWHERE), ensemble.support(EVERYWHERE))
    values = [x[:, 1] ** 2 for x in Melting.pooled()[0]]
    same(model.expectation(values, EVERYWHERE), ensemble.expectation(values, EVERYWHERE))
    assert model.melting_temperature(1) == ensemble.melting_temperature(1)
    pairs = zip(model.frame_weights(0.8), ensemble.frame_weights(0.8), strict=True)
    assert all(np.array_equal(*pair) for pair in pairs)
    assert model.temperature_range_ == ensemble.temperature_range


def errors_of(model: Any, t: float) -> tuple[np.ndarray, float, np.ndarray]:
    """Errors of the populations, the spread of bootstraps, and what the prior adds."""
    ensemble = model.ensemble_
    populations = [b.at(1 / t).weights @ ensemble.states for b in ensemble.bootstraps]
    error = model.state_populations(t)["standard_error"].to_numpy()
    statistic = partial(averages, values=np.eye(2)[ensemble.states])
    hidden = ensemble.hidden(t, statistic, statistic(ensemble.answer.at(1 / t))[0])
    return error, float(np.std(populations, ddof=1)), hidden


def test_error_bars_of_a_fitted_model_are_bootstraps_and_the_prior_of_heat_capacity(
    melting: Any,
) -> None:
    """In quadrature; energies leave little of the prior to every state."""
    model = melting[1]
    capacities = model.ensemble_.heat_capacities
    assert ((capacities > 0) & (capacities < 0.5 * model.heat_capacity_prior)).all()
    assert model.ensemble_.n_bootstraps == 20
    for t in EVERYWHERE:
        error, of_bootstraps, hidden = errors_of(model, t)
        np.testing.assert_allclose(error, np.hypot(of_bootstraps, hidden), rtol=1e-3)
        assert (hidden < 0.5 * of_bootstraps).all()


def test_two_temperatures_without_energies_leave_all_of_the_prior() -> None:
    X, metadata = Melting.pooled()
    model = tiny_extrapolator(quick_latf(lagtime=1), n_bootstraps=10, heat_capacity_prior=0.7)
    fit_quietly(model, X, temperature=metadata["temperature"])
    np.testing.assert_array_equal(model.ensemble_.heat_capacities, [0.7, 0.7])
    for t in SIMULATED:
        error, of_bootstraps, hidden = errors_of(model, t)
        np.testing.assert_allclose(error, of_bootstraps, rtol=1e-3)
        np.testing.assert_allclose(hidden, 0, atol=1e-9)
    for t in (0.4, 0.8, 1.4):
        error, of_bootstraps, hidden = errors_of(model, t)
        assert (error > 1.01 * of_bootstraps).all()


def test_support_falls_off_away_from_the_simulations(melting: Any) -> None:
    table = melting[1].support([0.05, 0.3, 0.6, 0.7, 0.8, 1.0, 1.3, 20.0])
    roles = ["beyond"] * 2 + ["simulated"] + ["between"] * 2 + ["simulated"] + ["beyond"] * 2
    assert table["role"].tolist() == roles
    assert (table.loc[0.6:1.0, "support"] == "supported").all()
    assert table.loc[[0.3, 1.3], "support"].tolist() == ["extrapolated"] * 2
    assert table.loc[[0.05, 20.0], "support"].tolist() == ["unsupported"] * 2
    fraction = table["effective_fraction"]
    assert fraction.loc[[0.6, 1.0]].tolist() == pytest.approx([1, 1])
    assert fraction.loc[0.05] < fraction.loc[0.3] < 1
    assert (table["overlap"] == table["overlap"].iloc[0]).all()
    assert 0.03 < table["overlap"].iloc[0] < 0.5
    assert (table.loc[0.6:1.3, "crossings"] > 100).all()
    errors = melting[1].state_populations(table.index)["standard_error"]
    assert table["spread"].tolist() == pytest.approx(errors.groupby("temperature").max().tolist())
    n = len(melting[1].z_)
    assert (table["effective_sample_size"] <= n).all()


@pytest.mark.parametrize("question", ["state_populations", "thermodynamics", "support"])
def test_no_temperature_is_no_question(question: str) -> None:
    ensemble = counted(lambda beta: 0.5 - 0.1 * beta, [0.0, 0.1], (0.9, 1.2))
    with pytest.raises(ValueError, match="one `temperature` or more, got none"):
        getattr(ensemble, question)([])
