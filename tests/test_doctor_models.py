"""The doctor's checks of fitted models: each fails what is broken so, and passes a good fit."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import fit_quietly, quick_latf, tiny_extrapolator, tiny_latf
from scipy.signal import lfilter
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA

import latflow
from latflow import TemperatureExtrapolator
from latflow._validation import heard
from latflow.doctor import Finding
from latflow.doctor.findings import run
from latflow.doctor.models import CHECKS, Fitted
from latflow.trajectories import gather_frames


def without_pass(diagnosis: Any) -> dict[str, str]:
    return {f.check: f.verdict for f in diagnosis if f.verdict != "pass"}


def finding_of(check: str, model: Any, X: Any = None, **known: Any) -> Finding:
    """The finding of one check, without the time of the others."""
    frames = None if X is None else gather_frames(BaseEstimator(), X, reset=True, **known)
    with heard():
        return run({check: CHECKS[check]}, Fitted(model, frames, 2, 0))[0]


@pytest.fixture
def model(extrapolator: Any) -> Any:
    """A copy of a good fit, to be broken."""
    return copy.deepcopy(extrapolator)


@pytest.mark.slow
def test_a_good_fit_fails_nothing(extrapolator: Any, three_hole: dict[str, Any]) -> None:
    alone = latflow.diagnose(extrapolator)
    assert [f.check for f in alone] == list(CHECKS)
    assert without_pass(alone) == {"seeds": "not checked", "support": "warn"}  # few frames
    X, temperature = three_hole["trajectories"], three_hole["temperature"]
    both = latflow.diagnose(
        extrapolator, X, temperature=temperature, energy=three_hole["energy"], n_seeds=1
    )
    assert without_pass(both) == {"molecules": "not checked", "support": "warn"}
    assert both["seeds"].value > 0.8


def test_an_estimator_alone_and_with_its_frames(latf: Any, three_hole: dict[str, Any]) -> None:
    alone = without_pass(latflow.diagnose(latf))
    of_frames = {"seeds", "coverage", "memory"}
    assert alone == dict.fromkeys((*of_frames, "support", "ways"), "not checked")
    X, temperature = three_hole["trajectories"], three_hole["temperature"]
    known = latflow.diagnose(latf, X, temperature=temperature, n_seeds=0)
    assert without_pass(known) == dict.fromkeys(
        ("energies", "molecules", "seeds", "support", "ways"), "not checked"
    )


def test_other_transformers_are_asked_what_they_can_answer(few_frames: Any) -> None:
    X, known = few_frames
    states = [(x[:, 0] > 0).astype(int) for x in X]
    model = TemperatureExtrapolator(
        PCA(1), n_bootstraps=0, max_iter=20, boltzmann_constant=1.0, random_state=0
    )
    fitted = fit_quietly(model, X, states=states, **known)
    verdicts = without_pass(latflow.diagnose(fitted, X, states=states, **known))
    assert {k for k, v in verdicts.items() if v == "not checked"} >= {
        "converged", "seeds", "flow",
    }  # fmt: skip


def test_a_fit_too_short_has_not_converged(few_frames: Any) -> None:
    X, known = few_frames
    short = fit_quietly(tiny_latf(n_refinements=1), X, temperature=known["temperature"])
    finding = finding_of("converged", short)
    assert finding.verdict == "warn"
    assert not short.converged_ or short.n_states_ == 1


def test_fits_that_are_chance_disagree_on_states() -> None:
    """A slow blob has no states, so that each seed cuts it in its own way."""
    rng = np.random.default_rng(0)
    X = [lfilter([1], [1, -0.98], rng.standard_normal((2000, 4)), axis=0) for _ in range(4)]
    chance = fit_quietly(quick_latf(lagtime=1, n_refinements=0, n_states=3), X)
    finding = finding_of("seeds", chance, X)
    assert finding.verdict == "fail", finding
    assert finding.value < 0.5


@pytest.mark.parametrize(
    ("last", "verdict"),
    [
        ({"loss": 1.0, "held_out_loss": 1.05}, "pass"),
        ({"loss": 0.9, "held_out_loss": 1.5}, "warn"),
        ({"loss": 1.0, "held_out_loss": 1.2}, "warn"),
        ({"loss": 1.0, "held_out_loss": np.nan}, "fail"),
    ],
)
def test_losses(model: Any, last: dict[str, float], verdict: str) -> None:
    """Losses that follow each other, overfit, rise again, and are not finite."""
    first = {"stage": "density", "loss": 1.1, "held_out_loss": 1.06}
    model.history_ = [first, {"stage": "density"} | last]
    assert finding_of("losses", model).verdict == verdict


def test_a_flow_that_loses_points(model: Any) -> None:
    flow = model._last.model_.flow
    flow.inverse_and_logdet = lambda u, context=None: (2 * u, u[:, 0])
    finding = finding_of("flow", model)
    assert finding.verdict == "fail"
    assert finding.value > 0.1


def test_a_conditional_flow_that_loses_points(model: Any) -> None:
    density = model.density_
    inverse = density.flow.inverse_and_logdet

    def off(u: Any, context: Any = None) -> Any:
        z, logdet = inverse(u, context)
        return z + 0.01, logdet

    density.flow.inverse_and_logdet = off
    assert finding_of("flow", model).verdict == "fail"


def test_frames_that_the_density_does_not_reach(model: Any) -> None:
    hot = np.flatnonzero(model.ensemble_.pool.origin == 1)
    model.z_[hot[: len(hot) // 5]] += 100 * model.z_.std(axis=0)
    finding = finding_of("coverage", model)
    assert finding.verdict == "fail"
    assert finding.value == pytest.approx(0.2, abs=0.02)
    assert "at 1.4" in finding.figure


def test_simulations_that_never_cross_are_not_supported(three_hole: dict[str, Any]) -> None:
    X = [x[:400] for x in three_hole["trajectories"][::5]]
    states = [np.full(len(x), k % 2) for k, x in enumerate(X)]
    temperature = three_hole["temperature"][::5]
    stuck = fit_quietly(tiny_extrapolator(), X, temperature=temperature, states=states)
    finding = finding_of("support", stuck)
    assert finding.verdict == "fail"
    assert finding.value == 2


@pytest.mark.parametrize(
    ("msm", "error", "verdict"),
    [(0.61, 0.001, "pass"), (0.65, 0.01, "warn"), (0.75, 0.01, "fail"), (0.75, 0.2, "pass")],
)
def test_ways_to_the_populations(
    model: Any, monkeypatch: pytest.MonkeyPatch, msm: float, error: float, verdict: str
) -> None:
    """Differences count that are large and beyond their errors."""
    index = pd.MultiIndex.from_product([[0.8], [0, 1]], names=["temperature", "state"])
    values = {"flow": 0.6, "frames": 0.6, "msm": msm}
    table = pd.DataFrame(
        {name: [value, 1 - value] for name, value in values.items()}
        | {f"{name}_error": [error, error] for name in values},
        index=index,
    )
    monkeypatch.setattr(model, "cross_check", lambda: table)
    finding = finding_of("ways", model)
    assert finding.verdict == verdict


def test_states_of_a_short_lagtime_keep_a_memory(model: Any) -> None:
    """Frames blurred by noise cross and cross back, which a longer lagtime does not see."""
    rng = np.random.default_rng(0)
    model._last.lagtime = 1
    flipped = rng.random(len(model.z_)) < 0.2
    model.z_[flipped] = model.z_[rng.permutation(np.flatnonzero(flipped))]
    finding = finding_of("memory", model)
    assert finding.verdict == "fail", finding
