"""Reduced energies learned from temperatures, and from energies, on data drawn exactly."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from scipy.stats import norm

from latflow.estimators.enthalpy import N_NETWORKS, learn_enthalpy
from latflow.estimators.seam import Standardised
from latflow.nn.training import Record
from latflow.thermodynamics import (
    Curves,
    Pool,
    Weighting,
    curve_functions,
    state_differences,
    state_moments,
)
from latflow.units import Units

SLOPE = 3.0  # p(v | beta) = N(-(beta - 1) SLOPE, 1), so h(v) = SLOPE v
BETAS = np.array([0.8, 1.2])
EXACT = 2 * SLOPE * norm.pdf(0) / 0.5  # energy and entropy of the halves of a normal distribution


class Learned(NamedTuple):
    """What was learned from drawn frames v."""

    v: np.ndarray
    pool: Pool
    route: Curves
    bootstraps: list[Weighting]
    history: list[Record]


def drawn(seed: int, n: int, betas: np.ndarray = BETAS) -> tuple[np.ndarray, Pool]:
    rng = np.random.default_rng(seed)
    v = np.concatenate([rng.normal(-(beta - 1) * SLOPE, 1, n) for beta in betas])
    total = len(v)
    blocks = np.arange(total) * 400 // total
    return v, Pool(betas, np.repeat(np.arange(len(betas)), n), np.ones(total), blocks)


def learn(
    v: np.ndarray,
    pool: Pool,
    seed: int = 0,
    n_bootstraps: int = 0,
    energy: np.ndarray | None = None,
) -> Learned:
    x = Standardised(v[:, None], np.zeros(1), np.full(1, v.std()))
    seeds = np.random.RandomState(seed).randint(2**31 - 1, size=N_NETWORKS)
    held_out, rng = pool.blocks % 10 == 0, np.random.default_rng(seed)
    learned = learn_enthalpy(x, pool, held_out, energy, n_bootstraps, seeds, rng)
    return Learned(v, pool, learned.route, learned.bootstraps, learned.history)


def halves(weighting: Weighting, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (F, U, S, C) of v > 0 less those of v < 0 at beta = 1, and their errors."""
    moments = state_moments(weighting.at(1.0), (v > 0).astype(int), 2)
    return state_differences(moments, 1, [0], 1.0, Units(1.0))


@pytest.mark.parametrize("seed", range(3))
def test_energy_and_entropy_from_temperatures_alone(seed: int) -> None:
    learned = learn(*drawn(seed, 400_000), seed)
    weighting = Weighting.solved(learned.route, learned.pool)
    (free, energy, entropy, _), errors = halves(weighting, learned.v)
    assert energy == pytest.approx(EXACT, rel=0.01)
    assert entropy == pytest.approx(EXACT, rel=0.01)
    assert free == pytest.approx(0, abs=4 * errors[0] + 0.01)


def test_h_is_recovered_to_within_its_error() -> None:
    """Where frames lie, within a standard error in two thirds of cases, and never five."""
    inside, farthest = [], 0.0
    for seed in range(4):
        v, pool, route, bootstraps, _ = learn(*drawn(seed, 20_000), seed, 20)
        at = np.argsort(v)[np.linspace(0.02 * len(v), 0.98 * len(v), 25).astype(int)]
        drawn_h = [b.route.coefficients[:, 0] for b in bootstraps]
        error = np.std([(h - h.mean())[at] for h in drawn_h], axis=0, ddof=1)
        h = route.coefficients[:, 0] - route.coefficients[:, 0].mean()
        off = np.abs(h[at] - SLOPE * (v - v.mean())[at]) / error
        inside += [*(off < 1)]
        farthest = max(farthest, off.max())
        spread = np.std([halves(b, v)[0] for b in bootstraps], axis=0, ddof=1)
        values = halves(Weighting.solved(route, pool), v)[0]
        assert (np.abs(values[:3] - [0, EXACT, EXACT]) < 4 * spread[:3]).all()
    assert 0.4 < np.mean(inside) < 0.95
    assert farthest < 5


def test_every_bootstrap_is_a_weighting_with_its_own_h_and_no_pool() -> None:
    v, _, route, bootstraps, history = learn(*drawn(0, 2000), 0, 10)
    assert len(bootstraps) == 10
    assert all(b.pool is None for b in bootstraps)
    slopes = [np.polyfit(v, b.route.coefficients[:, 0], 1)[0] for b in bootstraps]
    assert len(set(slopes)) == 10
    assert np.polyfit(v, route.coefficients[:, 0], 1)[0] == pytest.approx(SLOPE, rel=0.1)
    for bootstrap in bootstraps:
        weights = bootstrap.at(1.0).weights
        assert np.isfinite(weights).all()
        assert weights.sum() == pytest.approx(1, abs=1e-4)
    assert {record["stage"] for record in history} == {"temperature classifier"}


def test_the_seeds_decide_all_that_is_learned() -> None:
    v, pool = drawn(0, 2000)
    first, again, other = learn(v, pool, 0), learn(v, pool, 0), learn(v, pool, 1)
    np.testing.assert_array_equal(first.route.coefficients, again.route.coefficients)
    assert not np.array_equal(first.route.coefficients, other.route.coefficients)
    assert first.history == again.history


def slope_of(learned: Learned, rows: np.ndarray) -> float:
    """Slope of the learned h, by a line through some frames."""
    return float(np.polyfit(learned.v[rows], learned.route.coefficients[rows, 0], 1)[0])


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_weights_count_by_their_ratios(scale: float) -> None:
    """exp(0.3 v) on the frames of the second temperature takes 0.3 v off (beta_1 - beta_0) h."""
    v, pool = drawn(0, 20_000)
    weights = scale * np.exp(0.3 * v * pool.origin)
    learned = learn(v, Pool(pool.betas, pool.origin, weights, pool.blocks))
    exact = SLOPE - 0.3 / np.ptp(BETAS)
    assert slope_of(learned, np.abs(v) < 2) == pytest.approx(exact, rel=0.05)


def test_frames_without_weight_teach_nothing() -> None:
    """Here they would teach an h of the other sign."""
    v, pool = drawn(0, 20_000)
    kept = np.random.default_rng(0).random(len(v)) < 0.5
    v = np.where(kept, v, 3 - 2 * pool.origin - v)
    learned = learn(v, Pool(pool.betas, pool.origin, kept.astype(float), pool.blocks))
    assert slope_of(learned, kept) == pytest.approx(SLOPE, rel=0.05)


def test_units_of_energy_follow_those_of_beta() -> None:
    """The same frames at betas a tenth as large: energies ten times as large."""
    v, pool = drawn(0, 2000)
    tenth = Pool(pool.betas / 10, pool.origin, pool.weights, pool.blocks)
    h, scaled = (learn(v, p).route for p in (pool, tenth))
    np.testing.assert_allclose(scaled.coefficients, 10 * h.coefficients, rtol=1e-5)
    np.testing.assert_allclose(scaled.betas, h.betas / 10)


@pytest.mark.parametrize("seed", range(3))
def test_a_heat_capacity_is_learned_where_three_temperatures_show_one(seed: int) -> None:
    """u = C v^2 P_2(beta) on a normal density: no energy at beta_0, a heat capacity C v^2.

    Where frames of every temperature lie, that is: v within three widths of the narrower ones.
    """
    betas, capacity, n = np.array([0.5, 1.0, 1.5]), 10.0, 20_000
    rng = np.random.default_rng(seed)
    width = 1 / np.sqrt(1 + 2 * capacity * curve_functions(betas, betas, 2)[0][1])
    v = np.concatenate([rng.normal(0, w, n) for w in width])
    blocks = np.arange(len(v)) * 300 // len(v)
    pool = Pool(betas, np.repeat([0, 1, 2], n), np.ones(len(v)), blocks)
    coefficients = learn(v, pool, seed).route.coefficients
    assert coefficients.shape == (len(v), 2)
    inside = np.abs(v) < 1.5
    energy, shown = np.polyfit(v[inside] ** 2, coefficients[inside], 1)[0]
    assert shown == pytest.approx(capacity, rel=0.1)
    assert energy == pytest.approx(0, abs=0.05 * capacity)


def test_two_temperatures_show_no_curvature() -> None:
    assert learn(*drawn(0, 2000)).route.coefficients.shape == (4000, 1)
