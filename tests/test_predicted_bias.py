"""A predicted bias flattens the surface, where there is one, and walls stand beyond."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from conftest import quick_extrapolator, quick_latf
from scipy import ndimage

from latflow import LaTFEstimator, TemperatureExtrapolator
from latflow.datasets.three_hole import three_hole_potential
from latflow.export import PredictedBias
from latflow.units import BOLTZMANN_CONSTANT

KT = 1.0  # kJ/mol, between the simulated 0.8 and 1.4
KELVIN = KT / BOLTZMANN_CONSTANT


@pytest.fixture(scope="module")
def model(three_hole: Any) -> TemperatureExtrapolator:
    """The three holes in kJ/mol and K, never simulated at k_B T = 1."""
    latf = quick_latf(boltzmann_constant=BOLTZMANN_CONSTANT, n_components=2)
    kelvin = [t / BOLTZMANN_CONSTANT for t in three_hole["temperature"]]
    return quick_extrapolator(latf).fit(three_hole["trajectories"], temperature=kelvin)


@pytest.fixture(scope="module")
def bias(model: TemperatureExtrapolator) -> PredictedBias:
    return PredictedBias.of(model, KELVIN)


def surface(model: TemperatureExtrapolator, bias: PredictedBias) -> Any:
    """Return the true potential on the grid of a linear encoder's variables, the lowest 0."""
    origin, *units = model.transform(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    points = np.stack(np.meshgrid(*bias.axes, indexing="ij"), axis=-1)
    xy = (points - origin) @ np.linalg.inv(np.array(units) - origin)
    potential = three_hole_potential(xy[..., 0], xy[..., 1])
    return potential - potential.min()


def test_potential_and_bias_are_flat_together(
    model: TemperatureExtrapolator, bias: PredictedBias
) -> None:
    truth = surface(model, bias)
    low = truth < bias.barrier
    assert truth[low].std() > 3 * (truth + bias.energy)[low].std()
    assert (truth + bias.energy)[low].std() < 0.5 * KT


def test_the_barrier_is_where_all_holes_meet(
    model: TemperatureExtrapolator, bias: PredictedBias
) -> None:
    truth = surface(model, bias)
    minima = (truth == ndimage.minimum_filter(truth, 9)) & (truth < 4)
    assert minima.sum() == 3
    for level, together in ((bias.barrier - KT, False), (bias.barrier + KT, True)):
        labels, _ = ndimage.label(truth <= level, np.ones((3, 3)))
        assert (len(set(labels[minima].tolist())) == 1) == together


def test_sigmas_resolve_the_holes(bias: PredictedBias, model: TemperatureExtrapolator) -> None:
    spread = model.z_.std(axis=0)
    assert (bias.sigmas > spread / 20).all()
    assert (bias.sigmas < spread / 2).all()
    steps = np.array([axis[1] - axis[0] for axis in bias.axes])
    assert (steps <= bias.sigmas / 3 * 1.001).all()


def test_walls_rise_away_from_the_frames(
    model: TemperatureExtrapolator, bias: PredictedBias
) -> None:
    middle = np.array([np.median(axis) for axis in bias.axes])
    away = np.linspace(0, 1, 40)[:, None]
    for corner in (bias.lower, bias.upper):
        path = middle + away * (np.array(corner) - middle)
        energies = bias.at(path)
        unknown = np.isnan(model.free_energy(path, KELVIN))
        assert unknown.any()
        outside = energies[np.flatnonzero(~unknown)[-1] + 3 :]
        assert (np.diff(outside) > 0).all()
        assert outside[-1] > 20 * KT
    assert (bias.energy > 0).all()


def test_slopes_are_those_of_the_energy(bias: PredictedBias) -> None:
    for k, slope in enumerate(bias.slopes):
        step = bias.axes[k][1] - bias.axes[k][0]
        differences = np.diff(bias.energy, axis=k) / step
        middle = (np.take(slope, range(1, slope.shape[k]), k) + np.delete(slope, -1, k)) / 2
        np.testing.assert_allclose(middle, differences, atol=0.05 * np.abs(slope).max())


@pytest.mark.parametrize("cap", [1.5, 2.5])
def test_a_cap_bounds_what_is_flattened(model: TemperatureExtrapolator, cap: float) -> None:
    bias = PredictedBias.of(model, KELVIN, cap=cap)
    known = ~np.isnan(bias.free_energy)
    inside = ndimage.binary_erosion(known, iterations=6)
    assert bias.energy[inside].max() <= 2 * cap + KT * np.log1p(np.exp(-cap / KT))
    assert bias.energy[inside].max() > 1.5 * cap
    high = inside & (bias.free_energy > cap + 2 * KT)
    assert high.any()
    assert bias.energy[high].max() < cap + 0.3 * KT


def test_what_cannot_be_biased_is_refused(
    model: TemperatureExtrapolator, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TypeError, match=r"to be a TemperatureExtrapolator, .* got LaTFEstimator"):
        PredictedBias.of(model.estimator_, 300.0)
    with pytest.raises(ValueError, match=r"to be a finite number > 0, got -1"):
        PredictedBias.of(model, KELVIN, cap=-1)
    reduced = copy.copy(model).set_params(boltzmann_constant=1.0)
    with pytest.raises(ValueError, match=r"in K and energies in kJ/mol, got one with boltz.*=1"):
        PredictedBias.of(reduced, 1.0)
    monkeypatch.setattr(model, "free_energy", lambda Z, t: np.full(Z.shape[:-1], np.nan))
    with pytest.raises(ValueError, match=r"whose free energies are known, got 120: the standard"):
        PredictedBias.of(model, 120.0)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_four_variables_are_refused() -> None:
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(300, 6)) for _ in range(2)]
    latf = LaTFEstimator(n_components=4, encoder="linear", max_iter=32, random_state=0)
    model = TemperatureExtrapolator(latf, n_bootstraps=0, max_iter=10, random_state=0)
    model.fit(X, temperature=[300.0, 400.0])
    with pytest.raises(ValueError, match=r"at most 3 collective variables, .* got 4"):
        PredictedBias.of(model, 300.0)
