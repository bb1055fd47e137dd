"""Which features matter, and models of fewer: planted signals are found, exports stay valid."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from conftest import UNSETTLED, fit_quietly, tiny_extrapolator, tiny_latf
from export_cases import alanine
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.feature_selection import VarianceThreshold
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from latflow import LaTFEstimator, PerFrame, TemperatureExtrapolator, load, save, stack
from latflow.export import plumed
from latflow.featurizers import Distances, Featurizer, Select, Torsions
from latflow.importance import feature_importance, prune
from latflow.plotting import FeatureImportanceDisplay

pytestmark = UNSETTLED
SLOW = {"linear": (2, 7), "mlp": (0, 5)}  # columns that hold a signal
LAGTIME = 5


@pytest.fixture(autouse=True)
def closed_figures() -> Iterator[None]:
    matplotlib.use("Agg")
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


def planted(
    columns: Any, n_features: int = 8, *, seed: int = 0, n_frames: int = 600, n_walkers: int = 4
) -> list[Any]:
    """Return noise, with a switch between two values in some columns, in turn one of two."""
    rng = np.random.default_rng(seed)
    trajectories = []
    for _ in range(n_walkers):
        x = rng.standard_normal((n_frames, n_features))
        switches = np.cumprod(1 - 2 * (rng.random((n_frames, 2)) < (0.01, 0.02)), axis=0)
        switches *= rng.choice([-1, 1], 2)
        for n, j in enumerate(columns):
            x[:, j] = 0.5 * x[:, j] + switches[:, n % 2]
        trajectories.append(x)
    return trajectories


def latf(encoder: str = "linear", **parameters: Any) -> LaTFEstimator:
    options = {"lagtime": LAGTIME, "encoder": encoder, "max_iter": 160, "random_state": 0}
    return LaTFEstimator(**options | parameters)


@pytest.fixture(scope="module", params=["linear", "mlp"])
def case(request: Any) -> Any:
    """The columns with a signal, frames, a model of them, and how much each column matters."""
    columns, X = SLOW[request.param], planted(SLOW[request.param])
    model = fit_quietly(latf(request.param), X)
    judged = planted(columns, seed=1)
    return columns, judged, model, feature_importance(model, judged, random_state=0)


class TestImportance:
    def test_planted_columns_are_told_from_noise_by_both(self, case: Any) -> None:
        columns, _, model, table = case
        names = {f"x{j}" for j in columns}
        assert list(table.index.get_level_values("target").unique()) == [
            "all CVs", "CV 1", "CV 2", *(f"state {s}" for s in range(model.n_states_))
        ]  # fmt: skip
        whole = table.loc["all CVs"]
        for measure in ("gradient", "loss"):
            assert set(whole[measure].nlargest(2).index) == names
        noise = whole.drop(index=list(names))
        assert (whole.loc[list(names), "loss"] > 0.3).all()
        assert (noise["loss"].abs() < 4 * noise["standard_error"] + 0.01).all()
        assert (table["standard_error"] >= 0).all()

    def test_without_a_signal_of_its_own_the_whole_score_is_lost(self, case: Any) -> None:
        (first, second), X, model, table = case
        score = model.score(X) - 1
        both = table.loc["all CVs", "loss"][[f"x{first}", f"x{second}"]].sum()
        assert both == pytest.approx(score, abs=0.15)

    def test_gradients_of_a_linear_model_are_its_weights(self) -> None:
        X = planted((2, 7))
        X = [x * np.arange(1.0, 9.0) for x in X]
        model = fit_quietly(latf(), X)
        table = feature_importance(model, X, n_repeats=2, random_state=0)
        x = np.concatenate(X)
        z = model.transform(x)
        weights = np.linalg.lstsq(x - x.mean(axis=0), z - z.mean(axis=0), rcond=None)[0]
        for k in range(2):
            expected = np.abs(weights[:, k]) * x.std(axis=0) / z[:, k].std(ddof=1)
            np.testing.assert_allclose(table.loc[f"CV {k + 1}", "gradient"], expected, rtol=1e-3)

    def test_containers_and_pipelines_agree(self) -> None:
        X = planted((2, 7), n_frames=400)
        model = fit_quietly(latf(max_iter=160), X)
        expected = feature_importance(model, X, n_repeats=2, random_state=0)
        stacked, metadata = stack(X)
        frame = pd.DataFrame(stacked)
        for values in (stacked, frame):
            table = feature_importance(model, values, n_repeats=2, random_state=0, **metadata)
            pd.testing.assert_frame_equal(table, expected)
        steps = make_pipeline(PerFrame(StandardScaler()), clone(model))
        scaled = fit_quietly(steps, X)
        table = feature_importance(scaled, X, n_repeats=2, random_state=0)
        assert set(table.loc["all CVs", "loss"].nlargest(2).index) == {"x2", "x7"}

    def test_the_seed_decides(self, case: Any) -> None:
        _, X, model, table = case
        pd.testing.assert_frame_equal(feature_importance(model, X, random_state=0), table)
        other = feature_importance(model, X, random_state=1)
        assert not other["loss"].equals(table["loss"])
        np.testing.assert_array_equal(other["gradient"], table["gradient"])

    def test_names_are_those_of_data_frames_or_of_the_featurizer(self) -> None:
        featurizer = Torsions().fit(alanine())
        X = featurizer.transform([alanine(200), alanine(200, seed=1)])
        model = fit_quietly(tiny_latf(), X)
        for values in (X, list(X)):  # of which the second knows nothing, but the model does
            table = feature_importance(model, values, n_repeats=2)
            assert list(table.loc["CV 1"].index) == featurizer.feature_names_
        frames = [pd.DataFrame(x, columns=list("abcd")) for x in X]
        named = fit_quietly(tiny_latf(), frames)
        assert list(feature_importance(named, frames, n_repeats=2).loc["CV 1"].index) == [*"abcd"]
        with pytest.raises(ValueError, match="Expected `X` with a as feature 0, got b"):
            feature_importance(named, [x[[*"bacd"]] for x in frames])

    def test_transformers_without_states_have_variables_only(self) -> None:
        X = planted((2, 7), n_frames=200)
        model = TemperatureExtrapolator(PCA(2), n_bootstraps=0, max_iter=10, boltzmann_constant=1.0)
        model = fit_quietly(model, X, temperature=[1.0, 1.0, 2.0, 2.0])
        table = feature_importance(model, X, n_repeats=2, temperature=[1.0, 1.0, 2.0, 2.0])
        assert set(table.index.get_level_values("target")) == {"all CVs", "CV 1", "CV 2"}
        assert np.isfinite(table).all(axis=None)

    def test_what_does_not_fit_is_refused(self, case: Any) -> None:
        _, X, model, _ = case
        with pytest.raises(TypeError, match="which have `transform`, got int"):
            feature_importance(3, X)
        with pytest.raises(NotFittedError):
            feature_importance(latf(), X)
        with pytest.raises(ValueError, match="the 8 features that the model reads, got 7"):
            feature_importance(model, [x[:, :7] for x in X])
        with pytest.raises(ValueError, match="`n_repeats` to be an integer >= 2, got 1"):
            feature_importance(model, X, n_repeats=1)


class TestPrune:
    @pytest.mark.parametrize(("encoder", "seed"), [("linear", 0), ("mlp", 1)])
    def test_planted_columns_are_kept(self, encoder: str, seed: int) -> None:
        columns = np.sort(np.random.default_rng(seed).choice(30, 4, replace=False))
        X = planted(columns, 30, seed=seed)
        model = fit_quietly(latf(encoder, random_state=seed), X)
        small = prune(model, X, 4, random_state=seed)
        np.testing.assert_array_equal(small.columns, columns)
        assert small.features == [f"x{j}" for j in columns]
        assert small.kept > 0.95
        assert small.lost == pytest.approx(small.before - small.after)
        assert small.kept == pytest.approx((small.after - 1) / (small.before - 1))
        assert 0 < small.kept_error < 0.3
        fresh = [x[:, columns] for x in planted(columns, 30, seed=seed + 10)]
        assert small.model.score(fresh) == pytest.approx(small.after, abs=0.2)

    @pytest.mark.slow
    @pytest.mark.parametrize("seed", range(3))
    def test_ten_of_two_hundred(self, seed: int) -> None:
        """From 19,200 frames; of half as many some seeds name six of the ten."""
        columns = np.sort(np.random.default_rng(seed).choice(200, 10, replace=False))
        X = planted(columns, 200, seed=seed, n_walkers=32)
        model = fit_quietly(latf("mlp", random_state=seed, max_iter=480), X)
        small = prune(model, X, 10, random_state=seed)
        np.testing.assert_array_equal(small.columns, columns)
        assert small.kept > 0.95

    def test_of_two_features_that_say_the_same_one_is_kept(self) -> None:
        X = planted((2, 7))
        twice = [np.hstack([x, x[:, 2:3] + 1e-7 * x[:, :1]]) for x in X]
        model = fit_quietly(latf(), twice)
        columns = prune(model, twice, 2, random_state=0).columns
        assert len(np.intersect1d(columns, [2, 8])) == 1
        assert 7 in columns

    def test_what_pruning_loses_is_told(self) -> None:
        X = planted((2, 7))
        model = fit_quietly(latf(), X)
        small = prune(model, X, 1, random_state=0)
        assert small.kept < 0.75
        assert small.lost > 3 * small.lost_error

    @pytest.mark.slow
    def test_extrapolators_pipelines_and_stacked_frames(self) -> None:
        X, temperature = planted((2, 7)), [0.8, 0.8, 1.4, 1.4]
        model = TemperatureExtrapolator(
            make_pipeline(PerFrame(VarianceThreshold()), PerFrame(StandardScaler()), latf()),
            n_bootstraps=0, max_iter=20, boltzmann_constant=1.0, random_state=0,
        )  # fmt: skip
        fit_quietly(model, X, temperature=temperature)
        small = prune(model, X, 2, random_state=0, temperature=temperature)
        np.testing.assert_array_equal(small.columns, [2, 7])
        assert small.kept > 0.95
        assert small.model.n_features_in_ == 2
        assert small.model.temperatures_.tolist() == [0.8, 1.4]
        assert [len(labels) for labels in small.model.labels_] == [600] * 4
        rows, metadata = stack(X, temperature=temperature)
        named = pd.DataFrame(rows, columns=[*"abcdefgh"])
        inner = fit_quietly(make_pipeline(StandardScaler(), latf()), named)
        small = prune(inner, named, 2, random_state=0, **metadata)
        assert small.features == ["c", "h"]
        assert list(small.model.feature_names_in_) == ["c", "h"]

    def test_exports_of_the_pruned_model_compute_the_chosen_features(self, tmp_path: Path) -> None:
        featurizer = Distances("element N or element O", min_separation=0)
        X = featurizer.fit_transform([alanine(300), alanine(300, seed=1)])
        model = fit_quietly(tiny_latf(), X)
        small = prune(model, X, 2, random_state=0)
        save(small.model, tmp_path / "model.latflow")
        again = load(tmp_path / "model.latflow")
        plumed(again, tmp_path / "plumed.dat")
        text = (tmp_path / "plumed.dat").read_text()
        assert text.count("DISTANCE ATOMS") == 2 < X[0].shape[1]
        described = Featurizer.from_manifest(json.loads(json.dumps(again.manifest_)))
        assert isinstance(described, Select)
        assert described.feature_names_ == small.features
        expected = X[1][:, small.columns]
        np.testing.assert_array_equal(described.transform(alanine(300, seed=1)), expected)

    def test_what_cannot_be_pruned_is_refused(self, case: Any) -> None:
        _, X, model, _ = case
        with pytest.raises(ValueError, match="at most the 8 features of X, got 9"):
            prune(model, X, 9)
        with pytest.raises(ValueError, match="`k` to be an integer >= 1, got 0"):
            prune(model, X, 0)
        frozen = tiny_extrapolator(FrozenEstimator(model), boltzmann_constant=1.0)
        temperature = [1.0, 1.0, 2.0, 2.0]
        frozen = fit_quietly(frozen, X, temperature=temperature)
        with pytest.raises(ValueError, match="with a FrozenEstimator: prune the estimator inside"):
            prune(frozen, X, 2, temperature=temperature)
        with pytest.raises(ValueError, match="enough to hold out blocks of 25 of them, got 40"):
            prune(model, [x[:20] for x in X[:2]], 2, validation_fraction=0.01)


class TestDisplay:
    def test_bars_are_the_largest_first(self, case: Any) -> None:
        _, _, _, table = case
        display = FeatureImportanceDisplay(table, n_features=3).plot()
        expected = table.loc["all CVs"].nlargest(3, "loss")
        assert display.features == list(expected.index)
        np.testing.assert_allclose([bar.get_width() for bar in display.bars_], expected["loss"])
        labels = [label.get_text() for label in display.ax_.get_yticklabels()]
        assert labels == display.features
        assert display.ax_.yaxis_inverted()

    def test_from_an_estimator_onto_axes_of_the_caller(self, case: Any) -> None:
        import matplotlib.pyplot as plt

        _, X, model, table = case
        ax = plt.subplots()[1]
        display = FeatureImportanceDisplay.from_estimator(
            model, X, target="CV 2", by="gradient", ax=ax, importance={"random_state": 0}
        )
        assert display.ax_ is ax
        assert display.ax_.get_title() == "CV 2"
        expected = table.loc["CV 2", "gradient"].sort_values(ascending=False)
        np.testing.assert_allclose([bar.get_width() for bar in display.bars_], expected)

    def test_unknown_targets_are_refused(self, case: Any) -> None:
        with pytest.raises(ValueError, match="`target` to be one of all CVs, CV 1, CV 2, state 0"):
            FeatureImportanceDisplay(case[3], target="CV 3")
