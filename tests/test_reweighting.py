"""h learned from temperatures alone, on data drawn exactly log-linear in inverse temperature."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from latflow.estimators.features import Standardised
from latflow.estimators.reweighting import (
    LogLinear,
    Pooled,
    learn_log_linear,
    mean_route,
    mixture_of,
)
from latflow.thermodynamics import state_differences, state_moments

SLOPE = 3.0  # p(v | beta) = N(-(beta - 1) SLOPE, 1), so h(v) = SLOPE v
BETAS = np.array([0.8, 1.2])


def drawn(seed: int, n: int = 200_000) -> tuple[np.ndarray, Pooled]:
    rng = np.random.default_rng(seed)
    v = np.concatenate([rng.normal(-(beta - 1) * SLOPE, 1, n) for beta in BETAS])
    blocks = np.arange(2 * n) // 1000
    origin = np.repeat([0, 1], n)
    return v, Pooled(BETAS, origin, np.ones(2 * n), blocks, blocks % 10 == 0)


@pytest.mark.parametrize("seed", [0, 1])
def test_energy_and_entropy_from_temperatures_alone(seed: int) -> None:
    v, pooled = drawn(seed)
    x = Standardised(v[:, None], np.zeros(1), np.full(1, v.std()))
    routes = [learn_log_linear(x, pooled, pooled.weights, 3 * seed + k, 1) for k in range(3)]
    slopes = [np.polyfit(v, route.coefficients[:, 0], 1)[0] for route in routes]
    assert np.mean(slopes) == pytest.approx(SLOPE, rel=0.03)
    route = mean_route(routes)
    moments = state_moments(
        mixture_of(route, pooled), route.reduced(1.0), (v > 0).astype(int), 2,
        *route.derivatives(1.0),
    )  # fmt: skip
    (free, energy, entropy, _), errors = state_differences(moments, 1, [0], 1.0, 1.0)
    exact = 2 * SLOPE * norm.pdf(0) / 0.5  # of the halves of a normal distribution
    assert energy == pytest.approx(exact, rel=0.02)
    assert entropy == pytest.approx(exact, rel=0.02)
    assert free == pytest.approx(0, abs=4 * errors[0] + 0.01)


def test_mean_of_members_with_and_without_heat_capacity() -> None:
    one, two = (
        LogLinear(np.array([[2.0], [4.0]]), 0.5),
        LogLinear(np.array([[0, 6.0], [2, 2]]), 0.5),
    )
    mean = mean_route([one, two])
    assert mean.coefficients.tolist() == [[1.0, 3.0], [3.0, 1.0]]
    assert mean.beta0 == 0.5
    slope, curvature = mean.derivatives(1.5)
    assert slope.tolist() == [4.0, 4.0]
    assert curvature is not None
    assert curvature.tolist() == [3.0, 1.0]
