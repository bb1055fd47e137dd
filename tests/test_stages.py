"""Stages of a fit: how many steps they take of those allowed, and what they leave behind."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import numpy as np
import pytest
import torch
from conftest import UNSETTLED, fit_quietly, tiny_extrapolator, tiny_latf
from hypothesis import given, settings
from hypothesis import strategies as st

from latflow.nn.stages import moments

pytestmark = UNSETTLED

MOST = [1, 2, 20, 100, 480]
N_REFINEMENTS = [0, 3, 10]


def steps_of(history: list[dict[str, Any]]) -> dict[str, int]:
    """Return the steps of every stage, by the last look at each."""
    stages = groupby(history, key=lambda record: record["stage"])
    return {stage: list(records)[-1]["iteration"] for stage, records in stages}


@pytest.mark.parametrize("max_iter", MOST)
@pytest.mark.parametrize("n_refinements", N_REFINEMENTS)
def test_a_fit_takes_at_most_max_iter_steps_in_all(
    few_frames: Any, max_iter: int, n_refinements: int
) -> None:
    X, metadata = few_frames
    model = tiny_latf(max_iter=max_iter, n_refinements=n_refinements, n_states=4)
    fit_quietly(model, X, temperature=metadata["temperature"])
    steps = steps_of(model.history_)
    assert 1 <= model.n_iter_ <= max_iter
    assert model.n_iter_ == sum(steps.values())
    assert sum(stage.startswith("refinement") for stage in steps) <= n_refinements
    assert np.isfinite(model.score_samples(X[0])).all()


@pytest.mark.parametrize("n_init", [2, 3])
@pytest.mark.parametrize("max_iter", MOST)
def test_the_run_that_is_kept_takes_at_most_max_iter_steps(
    few_frames: Any, max_iter: int, n_init: int
) -> None:
    X, metadata = few_frames
    model = tiny_latf(max_iter=max_iter, n_refinements=10, n_init=n_init)
    fit_quietly(model, X, temperature=metadata["temperature"])
    assert 1 <= model.n_iter_ <= max_iter
    assert model.n_iter_ == sum(steps_of(model.history_).values())


@pytest.mark.parametrize("method", ["enthalpy", "mbar"])
@pytest.mark.parametrize("max_iter", MOST)
def test_an_extrapolator_s_generator_takes_at_most_max_iter_steps(
    few_frames: Any, max_iter: int, method: str
) -> None:
    X, metadata = few_frames
    model = tiny_extrapolator(tiny_latf(max_iter=max_iter), max_iter=max_iter, method=method)
    fit_quietly(model, X, **metadata)
    steps = steps_of(model.history_)
    assert 1 <= model.n_iter_ <= max_iter
    assert model.n_iter_ == steps["conditional flow"]
    assert 1 <= model.estimator_.n_iter_ <= max_iter
    assert model.history_[: len(model.estimator_.history_)] == model.estimator_.history_


def test_the_tilted_method_trains_no_generator(few_frames: Any) -> None:
    """And says one step, the least that scikit-learn allows."""
    X, metadata = few_frames
    model = tiny_extrapolator(method="tilted", max_iter=100)
    fit_quietly(model, X, temperature=metadata["temperature"])
    assert model.n_iter_ == 1
    assert model.history_ == model.estimator_.history_


@pytest.mark.parametrize("max_iter", [140, 1400])
def test_stages_take_their_fourteenths_of_the_steps(few_frames: Any, max_iter: int) -> None:
    """No round is shorter than 60 steps, and all of them take ten fourteenths at most."""
    X, metadata = few_frames
    model = tiny_latf(max_iter=max_iter, n_refinements=10, n_states=4)
    fit_quietly(model, X, temperature=metadata["temperature"])
    steps = steps_of(model.history_)
    rounds = [n for stage, n in steps.items() if stage.startswith("refinement")]
    assert rounds
    assert max(rounds) <= max(60, max_iter // 14)
    assert sum(rounds) <= 10 * max_iter // 14
    assert steps["joint"] <= 2 * max_iter // 14
    assert steps["density"] <= 2 * max_iter // 14


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(2, 40), dim=st.integers(1, 4))
def test_moments_are_numpys_with_weights(seed: int, n: int, dim: int) -> None:
    rng = np.random.default_rng(seed)
    z, weights = 5 + rng.standard_normal((n, dim)), rng.random(n) + 0.1
    mean, covariance = moments(torch.from_numpy(z), torch.from_numpy(weights))
    np.testing.assert_allclose(mean, np.average(z, axis=0, weights=weights))
    expected = np.cov(z.T, aweights=weights, ddof=0).reshape(dim, dim)
    np.testing.assert_allclose(covariance, expected, atol=1e-12)
