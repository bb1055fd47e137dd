"""In scikit-learn's hands: pipelines, searches, folds, caches, processes; both conventions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import UNSETTLED, tiny_latf
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    KFold,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from latflow import LaTFEstimator, PerFrame, TrajectoryKFold, stack
from latflow.datasets import make_three_hole, three_hole_timescales
from latflow.metrics import log_likelihood_scorer, vamp2_scorer
from latflow.trajectories import gather_frames

pytestmark = UNSETTLED

GRID = {"n_components": [1, 2], "bottleneck": [1e-3, 1e-2]}


@pytest.fixture(scope="module")
def data() -> list[np.ndarray]:
    return list(make_three_hole(1600, 1.0, n_walkers=4, random_state=0).trajectories)


def listed() -> Any:
    return make_pipeline(PerFrame(StandardScaler()), tiny_latf())


def stacked() -> Any:
    return make_pipeline(StandardScaler(), tiny_latf())


def under_step(grid: dict[str, Any]) -> dict[str, Any]:
    return {f"latfestimator__{name}": values for name, values in grid.items()}


# ------------------------------------------------------------------ the exact answer


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_grid_search_picks_what_the_exact_answer_says(seed: int) -> None:
    data = make_three_hole(8000, 1.0, n_walkers=4, random_state=seed)
    grid = {"n_components": [1, 2], "lagtime": [5, 20]}
    model = LaTFEstimator(max_iter=320, boltzmann_constant=1.0, random_state=seed)
    search = GridSearchCV(model, grid, cv=2).fit(data.trajectories)
    # eigenvalues of the propagator decay as exp(-t / timescale); VAMP-2 sums their squares
    exact = {
        (d, lagtime): 1
        + np.exp(-2 * lagtime * data.time_step / three_hole_timescales(1.0, d)).sum()
        for d in grid["n_components"]
        for lagtime in grid["lagtime"]
    }
    best = search.best_params_["n_components"], search.best_params_["lagtime"]
    assert best == max(exact, key=exact.__getitem__)
    results = search.cv_results_
    candidates = [(p["n_components"], p["lagtime"]) for p in results["params"]]
    scores = dict(zip(candidates, results["mean_test_score"], strict=True))
    for candidate, score in scores.items():
        assert 1 <= score < exact[candidate] + 0.08  # no model beats the exact one but by noise
    assert scores[1, 5] == pytest.approx(exact[1, 5], abs=0.08)


def test_a_lagtime_beyond_every_timescale_loses() -> None:
    longer = list(make_three_hole(8000, 1.0, n_walkers=4, random_state=3).trajectories)
    model = LaTFEstimator(max_iter=320, boltzmann_constant=1.0, random_state=0)
    search = GridSearchCV(model, {"lagtime": [5, 300]}, cv=2, scoring=vamp2_scorer(10)).fit(longer)
    assert search.best_params_ == {"lagtime": 5}


# ------------------------------------------------------------------ one test each


@pytest.mark.parametrize("scoring", [None, vamp2_scorer(8), log_likelihood_scorer])
def test_grid_over_lists_equals_grid_over_stacks(
    data: list[np.ndarray], routing: Any, scoring: Any
) -> None:
    temperature = [1.0, 1.0, 1.2, 1.2]
    plain = GridSearchCV(
        listed(), under_step(GRID), cv=2, scoring=scoring, refit=False, error_score="raise"
    ).fit(data, temperature=temperature)
    X, metadata = stack(data, temperature=temperature)
    halves = [
        np.flatnonzero(metadata["trajectory"] < 2),
        np.flatnonzero(metadata["trajectory"] > 1),
    ]
    routed = GridSearchCV(
        stacked(), under_step(GRID), cv=[tuple(halves), tuple(halves[::-1])], scoring=scoring,
        refit=False, error_score="raise",
    ).fit(X, **metadata)  # fmt: skip
    found = routed.cv_results_
    for k, own in ((0, 1), (1, 0)):  # KFold holds out the first half first
        np.testing.assert_array_equal(
            found[f"split{k}_test_score"], plain.cv_results_[f"split{own}_test_score"]
        )


def test_nested_cross_validation(data: list[np.ndarray]) -> None:
    search = GridSearchCV(listed(), under_step({"n_components": [1, 2]}), cv=2)
    found = cross_validate(search, data, cv=2, return_estimator=True)
    for train, test, fold, score in zip(
        (data[2:], data[:2]), (data[:2], data[2:]), found["estimator"], found["test_score"],
        strict=True,
    ):  # fmt: skip
        by_hand = clone(search).fit(train)
        assert score == by_hand.score(test)
        assert fold.best_params_ == by_hand.best_params_
        assert fold.best_score_ == by_hand.best_score_


def test_nested_cross_validation_of_stacks(data: list[np.ndarray], routing: Any) -> None:
    X, metadata = stack(data)
    inner = TrajectoryKFold(2, by="block", gap=5)
    search = GridSearchCV(stacked(), under_step({"n_components": [1, 2]}), cv=inner)
    outer = TrajectoryKFold(2)
    found = cross_validate(search, X, params=metadata, cv=outer, error_score="raise")
    scores = []
    for rows in outer.split(X, **metadata):
        train, test = ({name: v[some] for name, v in metadata.items()} for some in rows)
        scores.append(clone(search).fit(X[rows[0]], **train).score(X[rows[1]], **test))
    np.testing.assert_array_equal(found["test_score"], scores)


def test_halving_search(data: list[np.ndarray]) -> None:
    search = HalvingGridSearchCV(
        tiny_latf(), GRID, cv=2, resource="max_iter", max_resources=40, min_resources=10, factor=2,
        error_score="raise", random_state=0,
    )  # fmt: skip
    search.fit(data)
    assert search.n_resources_ == [10, 20, 40]
    for params, n, score in zip(
        search.cv_results_["params"], search.cv_results_["n_resources"],
        search.cv_results_["mean_test_score"], strict=True,
    ):  # fmt: skip
        model = tiny_latf(**params | {"max_iter": int(n)})
        assert score == np.mean(cross_val_score(model, data, cv=2))
    assert search.best_estimator_.max_iter == 40


def test_two_processes_give_the_same(data: list[np.ndarray]) -> None:
    serial, parallel = (GridSearchCV(tiny_latf(), GRID, cv=2, n_jobs=n).fit(data) for n in (1, 2))
    np.testing.assert_array_equal(
        serial.cv_results_["mean_test_score"], parallel.cv_results_["mean_test_score"]
    )
    for mine, other in zip(serial.transform(data), parallel.transform(data), strict=True):
        np.testing.assert_array_equal(mine, other)


def test_set_params_through_a_pipeline(data: list[np.ndarray]) -> None:
    model = listed().set_params(latfestimator__n_components=1, latfestimator__lagtime=7)
    assert model[-1].lagtime == 7
    assert model.fit(data).transform(data)[0].shape[1] == 1


class CountingScaler(TransformerMixin, BaseEstimator):
    fits = 0

    def fit(self, X: Any, y: Any = None) -> CountingScaler:
        type(self).fits += 1
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X: Any) -> Any:
        return 2 * X


def test_memory_caches_the_steps_before(data: list[np.ndarray], tmp_path: Any) -> None:
    CountingScaler.fits = 0
    model = make_pipeline(PerFrame(CountingScaler()), tiny_latf(), memory=str(tmp_path))
    first = model.fit(data).transform(data)
    again = clone(model).set_params(latfestimator__bottleneck=1e-3).fit(data).transform(data)
    assert CountingScaler.fits == 1
    for mine, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(mine, other)


def test_pandas_output_and_names(data: list[np.ndarray], routing: Any) -> None:
    frames = [pd.DataFrame(x, columns=["x", "y"]) for x in data]
    model = listed().set_output(transform="pandas").fit(frames)
    parts = model.transform(frames)
    names = ["latfestimator0", "latfestimator1"]
    assert [list(part.columns) for part in parts] == [names] * 4
    assert list(model.get_feature_names_out()) == names
    assert list(model[0].feature_names_in_) == ["x", "y"]
    X, metadata = stack(frames)
    one = (
        stacked()
        .set_output(transform="pandas")
        .fit(pd.DataFrame(X, columns=["x", "y"]), **metadata)
    )
    np.testing.assert_array_equal(
        pd.concat(parts), one.transform(pd.DataFrame(X, columns=["x", "y"]))
    )
    given = [list(step.get_feature_names_out(["x", "y"])) for step in one]
    assert given == [["x", "y"], names]


# ------------------------------------------------------------------ what reaches training


class Spy(TransformerMixin, BaseEstimator):
    """Keeps the pairs of times it was fitted and scored on; the first feature is the clock."""

    seen: list[tuple[str, set[tuple[int, int]]]] = []  # noqa: RUF012

    __metadata_request__fit = dict.fromkeys(("trajectory", "frame"), True)
    __metadata_request__score = dict.fromkeys(("trajectory", "frame"), True)

    def __init__(self, lagtime: int = 3) -> None:
        self.lagtime = lagtime

    def pairs(self, X: Any, **ends: Any) -> set[tuple[int, int]]:
        frames = gather_frames(BaseEstimator(), X, lagtime=self.lagtime, reset=True, **ends)
        clock = frames.X[:, 0].astype(int)
        i, j = frames.pairs(self.lagtime)
        return set(zip(clock[i], clock[j], strict=True))

    def fit(self, X: Any, y: Any = None, trajectory: Any = None, frame: Any = None) -> Spy:
        self.seen.append(("fit", self.pairs(X, trajectory=trajectory, frame=frame)))
        self.fitted_ = True
        return self

    def score(self, X: Any, y: Any = None, trajectory: Any = None, frame: Any = None) -> float:
        self.seen.append(("score", self.pairs(X, trajectory=trajectory, frame=frame)))
        return 1.0


def clocks() -> list[np.ndarray]:
    """Five trajectories of 40 frames; frame f of trajectory k reads 1000 k + f."""
    return [1000.0 * k + np.arange(40.0)[:, None] for k in range(5)]


@pytest.mark.parametrize(
    "cv", [KFold(5), TrajectoryKFold(5), TrajectoryKFold(4, by="block", gap=3), KFold(3)]
)
def test_no_held_out_pair_reaches_training(routing: Any, cv: Any) -> None:
    Spy.seen.clear()
    X, metadata = stack(clocks())
    cross_val_score(Spy(), X, cv=cv, params=metadata, error_score="raise")
    check_pairs()


def test_no_held_out_pair_reaches_training_from_lists() -> None:
    Spy.seen.clear()
    cross_val_score(Spy(), clocks(), cv=5, error_score="raise")
    check_pairs()


def check_pairs() -> None:
    fits = [pairs for what, pairs in Spy.seen if what == "fit"]
    scores = [pairs for what, pairs in Spy.seen if what == "score"]
    assert len(fits) == len(scores) >= 3
    for trained, judged in zip(fits, scores, strict=True):
        assert trained
        assert judged
        assert not {t for pair in trained for t in pair} & {t for pair in judged for t in pair}
        assert all(b - a == 3 for a, b in trained | judged)  # none crosses an end or a gap


# ------------------------------------------------------------------ loud warnings


def test_routing_off_is_said(data: list[np.ndarray]) -> None:
    X, metadata = stack(data)
    ends = {f"latfestimator__{name}": values for name, values in metadata.items()}
    with pytest.warns(UserWarning, match="metadata routing is off"):
        cross_val_score(stacked(), X, cv=2, params=ends)


def test_shuffled_rows_are_said(data: list[np.ndarray]) -> None:
    X, metadata = stack(data)
    rows = np.random.default_rng(0).permutation(len(X))[: int(0.8 * len(X))]
    with pytest.warns(UserWarning, match="were the rows split at random"):
        tiny_latf(lagtime=5).fit(X[rows], **{k: v[rows] for k, v in metadata.items()})
