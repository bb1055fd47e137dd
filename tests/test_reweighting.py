"""h learned from temperatures alone, on data drawn exactly log-linear in inverse temperature."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from latflow.estimators.features import Standardised
from latflow.estimators.reweighting import (
    Curved,
    LogLinear,
    Pooled,
    learn_log_linear,
    mixture_of,
)
from latflow.thermodynamics import Pool, state_differences, state_moments

SLOPE = 3.0  # p(v | beta) = N(-(beta - 1) SLOPE, 1), so h(v) = SLOPE v
BETAS = np.array([0.8, 1.2])


def drawn(seed: int, n: int = 200_000) -> tuple[np.ndarray, Pooled]:
    rng = np.random.default_rng(seed)
    v = np.concatenate([rng.normal(-(beta - 1) * SLOPE, 1, n) for beta in BETAS])
    blocks = np.arange(2 * n) * 400 // (2 * n)
    origin = np.repeat([0, 1], n)
    return v, Pooled(BETAS, origin, np.ones(2 * n), blocks, blocks % 10 == 0)


def learned(seed: int, n_replicates: int = 0, n: int = 200_000) -> tuple[Any, ...]:
    v, pooled = drawn(seed, n)
    x = Standardised(v[:, None], np.zeros(1), np.full(1, v.std()))
    rs, rng = np.random.RandomState(seed), np.random.default_rng(seed)
    return v, pooled, *learn_log_linear(x, pooled, n_replicates, rs, rng, 1)


def halves(route: LogLinear, pool: Pool, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (F, U, S, C) of v > 0 less those of v < 0 at beta = 1, and their errors."""
    moments = state_moments(
        pool, route.reduced(1.0), (v > 0).astype(int), 2, *route.derivatives(1.0)
    )
    return state_differences(moments, 1, [0], 1.0, 1.0)


EXACT = 2 * SLOPE * norm.pdf(0) / 0.5  # energy and entropy of the halves of a normal distribution


@pytest.mark.parametrize("seed", range(3))
def test_energy_and_entropy_from_temperatures_alone(seed: int) -> None:
    v, pooled, route, _ = learned(seed, 0, 400_000)
    (free, energy, entropy, _), errors = halves(route, mixture_of(route, pooled), v)
    assert energy == pytest.approx(EXACT, rel=0.01)
    assert entropy == pytest.approx(EXACT, rel=0.01)
    assert free == pytest.approx(0, abs=4 * errors[0] + 0.01)


def test_h_is_recovered_to_within_its_error() -> None:
    """Where frames lie, within a standard error in two thirds of cases, and never five."""
    inside, farthest = [], 0.0
    for seed in range(4):
        v, pooled, route, replicates = learned(seed, 20, 20_000)
        at = np.argsort(v)[np.linspace(0.02 * len(v), 0.98 * len(v), 25).astype(int)]
        centred = [r.coefficients[:, 0] - r.coefficients[:, 0].mean() for r, _ in replicates]
        error = np.std([h[at] for h in centred], axis=0, ddof=1)
        h = route.coefficients[:, 0] - route.coefficients[:, 0].mean()
        off = np.abs(h[at] - SLOPE * (v - v.mean())[at]) / error
        inside += [*(off < 1)]
        farthest = max(farthest, off.max())
        values = [halves(r, replicate, v)[0] for r, replicate in replicates]
        spread = np.std(values, axis=0, ddof=1)
        found = halves(route, mixture_of(route, pooled), v)[0]
        assert (np.abs(found[:3] - [0, EXACT, EXACT]) < 4 * spread[:3]).all()
    assert 0.4 < np.mean(inside) < 0.95
    assert farthest < 5


def test_hidden_heat_capacity_leaves_the_simulated_temperatures_alone() -> None:
    route = LogLinear(np.array([[1.0], [2.0]]), 1.0)
    curved = Curved(route, np.array([0.0, 3.0]), BETAS)
    for beta in BETAS:
        np.testing.assert_allclose(curved.reduced(beta), route.reduced(beta), atol=1e-15)
    step = 1e-4
    for beta in (0.5, 1.0, 2.0):
        slope, curvature = curved.derivatives(beta)
        high, here, low = (curved.reduced(b) for b in (beta + step, beta, beta - step))
        np.testing.assert_allclose(slope, (high - low) / (2 * step), rtol=1e-6)
        np.testing.assert_allclose(curvature, (high - 2 * here + low) / step**2, atol=1e-5)
        assert curvature is not None
        np.testing.assert_allclose(-curvature * beta**2, [0.0, 3.0])  # the heat capacity in k_B
