"""Thermodynamics of states of a fitted extrapolator, against a system whose answers are known."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from conftest import QUICK

from latflow import LaTFEstimator, TemperatureExtrapolator

QUANTITIES = ["free_energy", "energy", "entropy", "heat_capacity"]


def molten_state(system: Any, model: Any) -> int:
    """Number of the molten state: the one of a frame in its well."""
    return int(model.predict(np.array([[1.0, *[0.0] * system.DEGREES]]))[0])


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_melting_is_found_without_energies(melting: Any, seed: int) -> None:
    system = melting[0]
    X, metadata = system.pooled(seed=seed)
    latf = LaTFEstimator(**QUICK | {"lagtime": 1, "random_state": seed})
    model = TemperatureExtrapolator(latf, n_bootstraps=20, max_iter=20, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # so short a generator says so
        model.fit(X, temperature=metadata["temperature"])
    state = molten_state(system, model)
    found = model.melting_temperature(state)
    assert abs(found.temperature - system.temperature) < 4 * found.standard_error
    assert found.temperature == pytest.approx(system.temperature, rel=0.05)
    assert found.slope == pytest.approx(system.energy / (4 * system.temperature**2), rel=0.25)
    row = model.thermodynamics(0.8).xs(state, level="state").iloc[0]
    truth = [system.energy - 0.8 * system.entropy, system.energy, system.entropy, 0.0]
    errors = row[[f"{name}_error" for name in QUANTITIES]].to_numpy(float)
    assert (np.abs(row[QUANTITIES].to_numpy(float) - truth) < 4 * errors + 0.02).all()
    assert row["energy"] == pytest.approx(system.energy, rel=0.15)


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


def test_two_states_mirror_each_other_and_a_reference_is_zero(melting: Any) -> None:
    model = melting[1]
    table = model.thermodynamics(0.8)
    np.testing.assert_allclose(table[QUANTITIES].sum(), 0, atol=1e-9)
    own = model.thermodynamics(0.8, reference=0)
    np.testing.assert_allclose(own[QUANTITIES].loc[0.8, 0], 0, atol=1e-12)
    np.testing.assert_allclose(own[QUANTITIES].loc[0.8, 1], table[QUANTITIES].loc[0.8, 1])


def test_free_energies_are_the_populations(melting: Any) -> None:
    model = melting[1]
    p = model.state_populations(0.8)["population"].to_numpy()
    f = model.thermodynamics(0.8)["free_energy"].to_numpy()
    np.testing.assert_allclose(f, -0.8 * np.log(p / (1 - p)), atol=5e-3)


def test_units_follow_the_boltzmann_constant(melting: Any) -> None:
    system = melting[0]
    X, metadata = system.pooled(n_trajectories=10, n_frames=300)
    k = 0.5
    tables, points = [], []
    for constant in (1.0, k):
        latf = LaTFEstimator(**QUICK | {"lagtime": 1, "boltzmann_constant": constant})
        model = TemperatureExtrapolator(latf, method="mbar", max_iter=20, random_state=0)
        temperature = [t / constant for t in metadata["temperature"]]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(X, temperature=temperature, energy=metadata["energy"])
        tables.append(model.thermodynamics(0.8 / constant)[QUANTITIES].to_numpy())
        points.append(model.melting_temperature(0)[:2])
    np.testing.assert_allclose(tables[1], tables[0] * [1, 1, k, k], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(points[1], np.array(points[0]) / k, rtol=1e-6)


def test_no_crossing_is_said(extrapolator: Any) -> None:
    populations = extrapolator.state_populations(np.linspace(0.64, 2.1, 30))["population"]
    for state, own in populations.groupby(level="state"):
        if own.max() < 0.45:
            with pytest.warns(UserWarning, match=f"state {state} does not cross one half"):
                assert np.isnan(extrapolator.melting_temperature(int(state))).all()


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda m: m.melting_temperature(9), "Expected `state` to be a state below 2, got 9."),
        (lambda m: m.melting_temperature(-1), "Expected `state`"),
        (
            lambda m: m.thermodynamics(0.8, reference=2),
            "Expected `reference` to be a state below 2",
        ),
        (lambda m: m.thermodynamics(-1.0), "temperature"),
    ],
)
def test_errors(melting: Any, call: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        call(melting[1])
