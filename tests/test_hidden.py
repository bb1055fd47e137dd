"""What frames leave unknown: heat capacities, few crossings, kinks, inputs that differ."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from test_energies import Hidden

from latflow import TemperatureExtrapolator
from latflow.thermodynamics import (
    Curves,
    Ensemble,
    Pool,
    Weighting,
    hidden_heat_capacities,
    pool_of,
)
from latflow.thermodynamics.hidden import few_crossings
from latflow.trajectories import gather_frames
from latflow.units import Units

few = settings(max_examples=20, deadline=None)


def pooled(
    temperatures: tuple[float, ...], seed: int = 0, n: int = 4000
) -> tuple[Pool, np.ndarray, np.ndarray]:
    """Pool, states and energies of frames of two states with a hidden heat capacity."""
    _, metadata = Hidden.drawn(temperatures, seed, n)
    total = n * len(temperatures)
    origin, blocks = np.repeat(np.arange(len(temperatures)), n), np.arange(total) // (n // 10)
    pool = Pool(1 / np.array(temperatures), origin, np.ones(total), blocks)
    return pool, np.concatenate(metadata["states"]), np.concatenate(metadata["energy"])


# ------------------------------------------------------------------ heat capacities


@few
@given(prior=st.floats(0.01, 50), seed=st.integers(0, 99))
def test_two_temperatures_leave_the_prior_alone(prior: float, seed: int) -> None:
    pool, states, _ = pooled((0.7, 1.4), seed, 200)
    found = hidden_heat_capacities(prior, pool, states, 2)
    np.testing.assert_allclose(found, [prior, prior], rtol=1e-12)


@pytest.mark.parametrize("prior", [0.5, 5.0])
@pytest.mark.parametrize("seed", range(3))
def test_a_third_temperature_leaves_less_and_energies_least(seed: int, prior: float) -> None:
    two, three = pooled((0.7, 1.4), seed), pooled((0.7, 1.0, 1.4), seed)
    by_three = hidden_heat_capacities(prior, three[0], three[1], 2)
    assert (by_three < prior).all()
    by_energies = [
        hidden_heat_capacities(prior, pool, states, 2, energy=energy)
        for pool, states, energy in (pooled((0.7,), seed), two, three)
    ]
    assert (by_energies[0] < 1.0).all()
    assert (by_energies[1] < by_energies[0]).all()
    assert (by_energies[2] < by_energies[1]).all()
    assert (by_energies[2] < by_three).all()


@pytest.mark.parametrize("seed", range(3))
def test_a_prior_that_knows_nothing_leaves_what_the_data_know(seed: int) -> None:
    """As a thousandth and a millionth of its precision; more frames leave less."""
    pool, states, energy = pooled((0.7, 1.4), seed)
    wide, wider = (
        hidden_heat_capacities(prior, pool, states, 2, energy=energy) for prior in (1e3, 1e6)
    )
    np.testing.assert_allclose(wide, wider, rtol=1e-3)
    pool, states, energy = pooled((0.7, 1.4), seed, 400)
    fewer = hidden_heat_capacities(1e6, pool, states, 2, energy=energy)
    assert (fewer > 2 * wider).all()
    assert (fewer < 6 * wider).all()


@few
@given(scale=st.floats(1e-3, 1e3), offset=st.floats(-1e3, 1e3))
def test_units_and_offsets_of_energy_do_not_matter(scale: float, offset: float) -> None:
    """It is in k_B: energies and temperatures in another unit leave it."""
    pool, states, energy = pooled((0.7, 1.0, 1.4), 0, 400)
    other = Pool(pool.betas / scale, pool.origin, pool.weights, pool.blocks)
    found = hidden_heat_capacities(1.0, other, states, 2, energy=scale * (energy + offset))
    expected = hidden_heat_capacities(1.0, pool, states, 2, energy=energy)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


# ------------------------------------------------------------------ few crossings

TWO = np.array([1.0, 0.8])


def test_few_crossings_leave_as_much_as_a_telegraph_process() -> None:
    """Var log(p / (1 - p)) = 4 / N, half of it for the weight of either state."""
    for n in (2, 8, 30):
        lines = few_crossings(np.full((2, 2), n), TWO, np.zeros((2, 2)))
        for state in (0, 1):
            of_state = lines[lines[:, 0] == state]
            variance = [sum((of_state[:, 1] * beta + of_state[:, 2]) ** 2) for beta in TWO]
            np.testing.assert_allclose(variance, 2 / n, rtol=1e-9)


def test_many_crossings_and_errors_that_know_of_them_leave_nothing() -> None:
    assert not len(few_crossings(np.full((2, 2), 100), TWO, np.zeros((2, 2))))
    assert not len(few_crossings(np.full((2, 2), 8), TWO, np.full((2, 2), 4 / 8)))
    assert len(few_crossings(np.full((2, 2), 8), TWO, np.full((2, 2), 0.1 * 4 / 8)))


def test_with_energies_only_the_level_is_in_doubt() -> None:
    lines = few_crossings(np.full((2, 2), 8), TWO, np.zeros((2, 2)), sloped=False)
    np.testing.assert_allclose(lines[:, 1], 0, atol=1e-12)
    np.testing.assert_allclose(lines[:, 2] ** 2, 2 / 16)


@pytest.mark.parametrize("n_crossings", [3, 6, 12])
def test_error_bars_of_few_crossings_are_as_wide_as_the_scatter(n_crossings: int) -> None:
    """Of 60 repeats, at two temperatures of 2000 frames and one trajectory each."""
    off, bars, rng = [], [], np.random.default_rng(0)
    for _ in range(60):
        turns = rng.random((2, 2000)) < n_crossings / 2000
        states = list((np.cumsum(turns, axis=1) + rng.integers(0, 2, (2, 1))) % 2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            h, temperature = [np.zeros((2000, 1))] * 2, [1.0, 1.25]
            ensemble = Ensemble(h, temperature, states=states, boltzmann_constant=1.0)
            table = ensemble.state_populations(1.0).loc[(1.0, 0)]
        off.append(table["population"] - 0.5)
        bars.append(table["standard_error"])
    ratio = np.sqrt(np.nanmean(np.square(bars)) / np.nanmean(np.square(off)))
    assert 0.9 < ratio < 1.5


# ------------------------------------------------------------------ the kink at the border


@pytest.mark.parametrize("border", [1.0, 1.5])
@pytest.mark.parametrize("seed", range(3))
def test_the_kink_of_a_heat_capacity_at_the_border_is_in_its_error(
    seed: int, border: float
) -> None:
    """Order 3 inside, a constant outside: errors of both sides cover the jump, and little else."""
    rng, n = np.random.default_rng(seed), 500
    frames = gather_frames(
        BaseEstimator(), np.zeros((3 * n, 1)), reset=True, trajectory=np.arange(3 * n) // 25,
        temperature=np.repeat([1.0, 1.2, 1.5], n), dynamics=False,
    )  # fmt: skip
    states = rng.integers(0, 2, 3 * n)
    coefficients = 0.1 * rng.standard_normal((3 * n, 3)) + states[:, None] * [0.3, -2.0, 9.0]
    pool = pool_of(frames, Units(1.0))
    route = Curves(coefficients, pool.betas, 1.0 * states)
    ensemble = Ensemble.of(Weighting.solved(route, pool), frames, Units(1.0), states=states)
    sign = 1 if border == 1.5 else -1
    sides = [ensemble.thermodynamics(border + sign * x).xs(1, level="state") for x in (-1e-6, 1e-6)]
    (inside,), (outside,) = (side["heat_capacity"] for side in sides)
    (error,), (other,) = (side["heat_capacity_error"] for side in sides)
    jump = abs(inside - outside)
    assert jump > 5 * error
    assert jump < np.hypot(error, other)
    assert other < 1.1 * jump + 2 * error
    for name in ("free_energy", "energy", "entropy"):
        (inside,), (outside,) = (side[name] for side in sides)
        assert inside == pytest.approx(outside, abs=1e-4)


# ------------------------------------------------------------------ what h reads


def fitted(X: Any, metadata: dict[str, Any], enthalpy_input: str) -> list[str]:
    model = TemperatureExtrapolator(
        PCA(1), enthalpy_input=enthalpy_input, n_bootstraps=10, max_iter=1, boltzmann_constant=1.0,
        random_state=0,
    )  # fmt: skip
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", category=ConvergenceWarning)
        model.fit(X, **metadata)
    return [str(w.message) for w in caught]


@pytest.mark.parametrize("seed", range(2))
def test_variables_that_hide_what_the_features_show_are_told(seed: int) -> None:
    """The first principal component is noise that is wider than the states are apart."""
    X, metadata = Hidden.drawn((0.7, 1.4), seed, 4000)
    del metadata["energy"]
    wide = [x * [1.0, 10.0] for x in X]
    (sentence,) = fitted(wide, metadata, "cvs")
    assert "With enthalpy_input='cvs' state" in sentence
    assert "errors apart: the features know more of the energy; prefer them" in sentence
    assert fitted(wide, metadata, "features") == []


@pytest.mark.parametrize("seed", range(2))
def test_variables_that_show_as_much_as_the_features_are_no_alarm(seed: int) -> None:
    X, metadata = Hidden.drawn((0.7, 1.4), seed, 4000)
    del metadata["energy"]
    assert fitted([x * [10.0, 1.0] for x in X], metadata, "cvs") == []
