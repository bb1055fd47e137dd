"""What was never observed is not answered: connection, overlap, classes of support, warnings."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from conftest import tiny_extrapolator, tiny_latf

from latflow.thermodynamics import Ensemble, Evidence
from latflow.thermodynamics.support import CLASSES, class_of

SIMULATED = [1.0, 1.25]


def ensemble_of(
    states: list[Any], temperature: list[Any] | None = None, shift: float = 0.0, **options: Any
) -> Ensemble:
    """An ensemble of two temperatures; `shift` moves the energies of the second one apart."""
    rng = np.random.default_rng(0)
    temperature = SIMULATED if temperature is None else temperature
    h = []
    for s, t in zip(states, temperature, strict=True):
        hot = (np.asarray(t) > 1.1) * np.ones(len(s))
        h.append((rng.standard_normal(len(s)) + shift * hot)[:, None])
    options = {"states": states, "boltzmann_constant": 1.0} | options
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*(stuck|too short to forget)")
        return Ensemble(h, temperature, **options)


def mixed(n: int, seed: int = 0, length: int = 5) -> np.ndarray:
    """States that change at random every few frames."""
    return np.repeat(np.random.default_rng(seed).integers(0, 2, n // length), length)


def told(function: Any, *arguments: Any) -> tuple[Any, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = function(*arguments)
    return result, [str(w.message) for w in caught]


# ------------------------------------------------------------------ connection

COLD_AND_HOT = [np.zeros(400, int), np.ones(400, int)]


@pytest.mark.parametrize("question", ["state_populations", "thermodynamics"])
def test_where_nothing_crosses_nothing_is_answered_and_one_sentence_says_why(question: str) -> None:
    ensemble = ensemble_of(COLD_AND_HOT)
    table, (sentence,) = told(getattr(ensemble, question), [1.0, 1.1, 1.3])
    assert table.isna().all(axis=None)
    assert sentence.startswith("Populations at temperatures 1, 1.1, 1.3 are not known and NaN: ")
    assert "between states [0] and [1] no trajectory crosses" in sentence


@pytest.mark.parametrize("state", [0, 1])
def test_where_nothing_crosses_nothing_melts(state: int) -> None:
    point, (sentence,) = told(ensemble_of(COLD_AND_HOT).melting_temperature, state)
    assert np.isnan(point).all()
    assert f"State {state} seems to melt" in sentence
    assert "no trajectory crosses" in sentence
    support = ensemble_of(COLD_AND_HOT).support([1.0, 1.1])
    assert support["support"].tolist() == ["unsupported"] * 2
    assert (support["crossings"] == 0).all()


def test_walkers_that_cross_at_hotter_temperatures_connect() -> None:
    """Replica exchange: cold in states 0 and 1, hot in state 2 on every way between them."""
    walkers = [np.repeat([0, 2, 1, 2, 0, 2, 1, 2], 50), np.repeat([1, 2, 0, 2, 1, 2, 0, 2], 50)]
    at = [np.where(walker == 2, 1.25, 1.0) for walker in walkers]
    ensemble = ensemble_of(walkers, at)
    table, sentences = told(ensemble.state_populations, 1.0)
    assert sentences == []
    assert table.notna().all(axis=None)
    assert ensemble.evidence.crossings.tolist() == [[200, 0, 4], [0, 200, 4], [3, 3, 400]]
    assert ensemble.support(1.0).loc[1.0, "crossings"] == 3


def test_one_of_three_states_that_none_reaches_is_named() -> None:
    walkers = [mixed(400), mixed(400, 1), np.full(400, 2)]
    ensemble = ensemble_of(walkers, [1.0, 1.25, 1.25])
    _, (sentence,) = told(ensemble.state_populations, 1.0)
    assert "between states [0, 1] and [2] no trajectory crosses" in sentence


@pytest.mark.parametrize("together", [True, False])
def test_draws_connect_what_one_temperature_has_together(together: bool) -> None:
    draws = COLD_AND_HOT if not together else [np.arange(400) % 2, np.ones(400, int)]
    ensemble = ensemble_of(draws, dynamics=False)
    table, sentences = told(ensemble.state_populations, [1.0, 1.25])
    assert table.notna().all(axis=None) == together
    assert len(sentences) == (not together)
    assert all("no temperature's draws are in both" in sentence for sentence in sentences)
    support = ensemble.support(1.1)
    assert support["reason"].str.contains("no crossings are counted among").all() == together
    assert support["crossings"].iloc[0] == (200 if together else 0)


def test_crossings_are_those_of_the_widest_way_between_states_that_matter() -> None:
    counts = np.array([[90, 20, 1, 0], [18, 90, 15, 0], [0, 14, 90, 0], [0, 0, 0, 3]])
    evidence = Evidence(np.eye(2), counts, False, ())
    assert evidence.bottleneck(np.array([0.5, 0.3, 0.2, 0.0])) == 14
    assert evidence.bottleneck(np.array([0.6, 0.4, 0.0, 0.0])) == 18
    assert evidence.bottleneck(np.array([0.5, 0.0, 0.5, 0.0])) == 14
    assert evidence.bottleneck(np.array([0.4, 0.3, 0.2, 0.1])) == 0
    assert evidence.bottleneck(np.array([1.0, 0.0, 0.0, 0.0])) == np.inf


# ------------------------------------------------------------------ overlap


@pytest.mark.parametrize("asked", [0.9, 1.1, 1.3])
@pytest.mark.parametrize("question", ["state_populations", "thermodynamics"])
def test_without_overlap_nothing_is_answered_between_and_beyond(
    asked: float, question: str
) -> None:
    ensemble = ensemble_of([mixed(2000), mixed(2000, 1)], shift=-45.0)
    table, (sentence,) = told(getattr(ensemble, question), [asked])
    assert table.isna().all(axis=None)
    assert "simulated temperatures 1 and 1.25 overlap by" in sentence
    assert "simulate one in between" in sentence
    known, sentences = told(getattr(ensemble, question), SIMULATED)
    assert known.notna().all(axis=None)
    assert sentences == []


@pytest.mark.parametrize("asked", [0.9, 1.0, 1.1, 1.25, 1.3])
def test_with_overlap_everything_is_answered(asked: float) -> None:
    ensemble = ensemble_of([mixed(2000), mixed(2000, 1)], shift=-0.2)
    table, sentences = told(ensemble.state_populations, [asked])
    assert table.notna().all(axis=None)
    assert sentences == []


@pytest.mark.parametrize("seed", range(3))
def test_overlap_is_mbars(seed: int) -> None:
    """Of a temperature's frames: the mean probability to have come from another; rows add to 1."""
    ensemble = ensemble_of([mixed(900, seed), mixed(500, seed + 9)], shift=-3.0)
    overlap, pool = ensemble.evidence.overlap, ensemble.pool
    np.testing.assert_allclose(overlap.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(overlap * pool.counts[:, None], (overlap * pool.counts[:, None]).T)
    member = ensemble.answer.membership
    for k, beta in enumerate(pool.betas):
        expected = ensemble.answer.at(float(beta)).weights @ member
        np.testing.assert_allclose(overlap[k], expected, rtol=1e-4)
    assert ensemble.evidence.shared(1.1, ensemble.temperatures) == pytest.approx(
        min(overlap[0, 1], overlap[1, 0])
    )


# ------------------------------------------------------------------ classes


@pytest.mark.parametrize(
    ("changes", "verdict", "reason"),
    [
        ({}, "supported", "inside the simulated range"),
        ({"role": "simulated"}, "supported", "inside the simulated range"),
        ({"role": "beyond"}, "extrapolated", "outside of the simulated range"),
        ({"error": 0.021}, "extrapolated", "the standard error of a population is 0.021"),
        ({"error": 0.26}, "unsupported", "the standard error of a population is 0.26"),
        ({"error": np.nan}, "supported", "inside the simulated range"),
        ({"n_crossings": 2}, "unsupported", "only 2 crossings each way between some states"),
        ({"n_crossings": 9}, "extrapolated", "9 crossings each way between some states"),
        ({"n_crossings": np.inf}, "supported", "inside the simulated range"),
        ({"fraction": 0.049}, "unsupported", "only 4.9% of the effective frames are left there"),
        ({"unsettled": ["It is stuck.", "Another."]}, "unsupported", "It is stuck"),
        (
            {"role": "beyond", "error": 0.1, "n_crossings": 3},
            "extrapolated",
            "outside of the simulated range; the standard error of a population is 0.1; "
            "3 crossings each way between some states",
        ),
    ],
)
def test_classes_follow_their_rules(changes: dict[str, Any], verdict: str, reason: str) -> None:
    given = {"role": "between", "fraction": 0.9, "error": 0.01, "n_crossings": 50, "unsettled": ()}
    assert class_of(**given | changes) == (verdict, reason)
    assert verdict in CLASSES


@pytest.mark.parametrize("error", [0.0, 0.02, 0.1, 0.3])
@pytest.mark.parametrize("n_crossings", [0, 10, 100])
@pytest.mark.parametrize("role", ["simulated", "between", "beyond"])
def test_supported_is_never_what_is_unsure(role: str, n_crossings: float, error: float) -> None:
    verdict, _ = class_of(role, 1.0, error, n_crossings, ())
    assert (verdict == "supported") == (role != "beyond" and n_crossings >= 10 and error <= 0.02)


# ------------------------------------------------------------------ stuck simulations


def stuck(n_stuck: int) -> tuple[list[np.ndarray], list[float]]:
    """Eight well-mixed walkers at each of three temperatures, of some of which the last sticks."""
    states, temperature = [], []
    for k, t in enumerate((1.0, 1.1, 1.25)):
        walkers = [mixed(1000, 10 * k + w) for w in range(8)]
        if k < n_stuck:
            walkers[-1][:] = 1
        states += walkers
        temperature += [t] * 8
    return states, temperature


@pytest.mark.parametrize("n_stuck", [0, 1, 2, 3])
def test_an_ensemble_warns_of_each_simulation_that_is_stuck(n_stuck: int) -> None:
    states, temperature = stuck(n_stuck)
    h = [np.zeros((1000, 1)) for _ in states]
    ensemble, sentences = told(
        lambda: Ensemble(h, temperature, states=states, boltzmann_constant=1.0)
    )
    assert len(sentences) == n_stuck
    for k, t in list(enumerate((1.0, 1.1, 1.25)))[:n_stuck]:
        assert any(s.startswith(f"At {t:g} trajectory {8 * k + 7} is in state") for s in sentences)
    expected = "unsupported" if n_stuck else "supported"
    assert ensemble.support(1.05)["support"].tolist() == [expected]


def test_of_many_the_three_worst_are_told_and_how_many_more() -> None:
    sentences = tuple(f"Problem {k}." for k in range(7))
    evidence = Evidence(np.eye(2), np.zeros((2, 2), int), False, sentences)
    _, said = told(evidence.warn_of_unsettled)
    assert said[:3] == list(sentences[:3])
    assert said[3].startswith("4 more had not settled")
    assert len(said) == 4


def test_draws_that_are_not_in_time_are_not_judged_as_if_they_were() -> None:
    states, temperature = [np.sort(mixed(1000, k)) for k in range(2)], SIMULATED
    h = [np.zeros((1000, 1)) for _ in states]

    def made(**options: Any) -> Ensemble:
        return Ensemble(h, temperature, states=states, boltzmann_constant=1.0, **options)

    assert len(told(made)[1]) > 0
    rng = np.random.default_rng(0)
    states = [rng.permutation(s) for s in states]
    assert told(lambda: made(dynamics=False))[1] == []


def test_a_fit_warns_once_of_a_stuck_simulation() -> None:
    states, temperature = stuck(1)
    rng = np.random.default_rng(0)
    X = [s[:, None] + 0.1 * rng.standard_normal((1000, 2)) for s in states]
    model = tiny_extrapolator(tiny_latf(max_iter=1), max_iter=1)
    model, sentences = told(lambda: model.fit(X, temperature=temperature, states=states))
    about = [s for s in sentences if "trajectory 7 is in state" in s]
    assert len(about) == 1
    assert model.support(1.05).loc[1.05, "reason"] == about[0].rstrip(".")
    point, said = told(model.melting_temperature, 0)
    assert np.isnan(point.temperature)
    assert len(said) == 1


def test_states_without_frames_are_not_said_to_be_empty() -> None:
    """Of 0 to 3 only those that frames are in; nothing tells of the others."""
    ensemble = ensemble_of([2 * mixed(400, seed) + 1 for seed in (0, 1)])
    with pytest.warns(UserWarning, match=r"no frame is in \[0, 2\] of the states"):
        table = ensemble.state_populations([1.0, 1.5])
    unknown = table.index.get_level_values("state").isin([0, 2])
    assert table[unknown].isna().all(axis=None)
    assert table[~unknown].notna().all(axis=None)
    support = ensemble.support([1.0, 1.5])
    assert (support["support"] == "unsupported").all()
    assert support["reason"].str.contains("never observed").all()


@pytest.mark.parametrize("last", [8, 30])
def test_a_state_that_one_visit_makes_rare_is_not_known_to_be_rare(last: int) -> None:
    """Of 4000 frames; one that is as rare and often visited is."""
    once = np.zeros(4000, int)
    once[2000 : 2000 + last] = 1
    often = np.zeros(4000, int)
    often[: 4000 // last * last].reshape(-1, last)[:: 4000 // last // 20] = 1
    for states, few in (([once, once], True), ([often, often], False)):
        support = ensemble_of(states).support([1.0, 1.1])
        assert (support["crossings"] < 3).all() == few
        assert (support["support"] == "unsupported").all() == few
