"""Steps of other libraries: lists and ends of trajectories, against the libraries by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
from deeptime.clustering import KMeans
from deeptime.decomposition import TICA
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.decomposition import PCA
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import StandardScaler

from latflow import (
    FromDeeptime,
    LaTFEstimator,
    PerFrame,
    TemperatureExtrapolator,
    TrajectoryUnion,
    stack,
)
from latflow.trajectories import FeatureList


@pytest.fixture(scope="module")
def walks() -> list[np.ndarray]:
    """Random walks with a jump from each to the next: a pair across an end would show."""
    rng = np.random.default_rng(0)
    return [100 * k + rng.normal(size=(n, 3)).cumsum(axis=0) for k, n in enumerate((80, 60, 90))]


@pytest.fixture
def routing() -> Any:
    with sklearn.config_context(enable_metadata_routing=True):
        yield


class TestPerFrame:
    def test_is_the_transformer_on_all_frames(self, walks: list[np.ndarray]) -> None:
        step = PerFrame(StandardScaler()).fit(walks)
        expected = StandardScaler().fit(np.concatenate(walks))
        for mine, x in zip(step.transform(walks), walks, strict=True):
            np.testing.assert_array_equal(mine, expected.transform(x))
        np.testing.assert_array_equal(step.transform(walks[0]), expected.transform(walks[0]))

    def test_data_frames_keep_their_names(self, walks: list[np.ndarray]) -> None:
        frames = [pd.DataFrame(x, columns=list("abc")) for x in walks]
        step = PerFrame(PCA(2)).set_output(transform="pandas").fit(frames)
        assert list(step.feature_names_in_) == list("abc")
        assert step.n_features_in_ == 3
        parts = step.transform(frames)
        assert [list(part.columns) for part in parts] == [["pca0", "pca1"]] * 3
        assert list(step.get_feature_names_out()) == ["pca0", "pca1"]

    def test_widths_are_checked(self) -> None:
        with pytest.raises(ValueError, match="Expected 2 features in every trajectory"):
            PerFrame(StandardScaler()).fit([np.zeros((3, 2)), np.zeros((3, 1))])


@pytest.mark.parametrize("step", [PerFrame(StandardScaler()), FromDeeptime(TICA(lagtime=1, dim=1))])
@pytest.mark.parametrize("container", [np.asarray, pd.DataFrame])
def test_no_frames_come_back_as_none(step: Any, container: Any, rng: np.random.Generator) -> None:
    x = container(rng.normal(size=(30, 2)))
    step = clone(step).fit([x, x])
    whole, none = step.transform([x, x[:0]])
    assert none.shape == (0, whole.shape[1]) == step.transform(x[:0]).shape


def union(cls: type, *, width: int = 1) -> Any:
    """A union of steps of the same width, which scikit-learn's own joins without a word."""
    tica = FromDeeptime(TICA(lagtime=5, dim=width))
    return cls([("slow", tica), ("wide", PerFrame(PCA(width)))])


class TestTrajectoryUnion:
    def test_joins_the_features_of_each_trajectory(self, walks: list[np.ndarray]) -> None:
        step = union(TrajectoryUnion, width=2)
        found = step.fit_transform(walks)
        parts = [
            t.fit(walks).transform(walks)
            for _, t in union(TrajectoryUnion, width=2).transformer_list
        ]
        for one, *own in zip(found, *parts, strict=True):
            np.testing.assert_array_equal(one, np.hstack(own))
        assert list(step.get_feature_names_out()) == [
            "slow__fromdeeptime0", "slow__fromdeeptime1", "wide__pca0", "wide__pca1"
        ]  # fmt: skip
        frames = step.set_output(transform="pandas").transform(walks)
        assert list(frames[0].columns) == list(step.get_feature_names_out())

    def test_stacked_arrays_end_where_trajectories_do(self, walks: list[np.ndarray]) -> None:
        X, metadata = stack(walks)
        listed = union(TrajectoryUnion).fit_transform(walks)
        stacked = union(TrajectoryUnion).fit_transform(X, **metadata)
        np.testing.assert_allclose(np.concatenate(listed), stacked, rtol=1e-9, atol=1e-9)
        assert not np.allclose(union(TrajectoryUnion).fit_transform(X), stacked)

    @pytest.mark.filterwarnings("ignore::UserWarning")
    def test_is_a_step(self, walks: list[np.ndarray]) -> None:
        latf = LaTFEstimator(lagtime=5, max_iter=32, n_refinements=0, random_state=0)
        X, metadata = stack(walks)
        for model in (
            make_pipeline(union(TrajectoryUnion), clone(latf)),
            TemperatureExtrapolator(make_pipeline(union(TrajectoryUnion), clone(latf))),
        ):
            assert [len(z) for z in model.fit(walks).transform(walks)] == [80, 60, 90]
        at_ends = model.fit(X, **metadata).transform(walks)  # the extrapolator hands metadata on
        np.testing.assert_allclose(at_ends[0], model.fit(walks).transform(walks)[0], rtol=1e-6)

    @pytest.mark.parametrize("output", ["default", "pandas"])
    def test_that_of_scikit_learn_is_refused(self, walks: list[np.ndarray], output: str) -> None:
        """Equally long trajectories would be joined along time."""
        equal = [x[:60] for x in walks]
        step = union(FeatureUnion).set_output(transform=output)
        with pytest.raises(
            ValueError, match=r"along time: .* FeatureUnion, use latflow\.Trajectory"
        ):
            step.fit_transform(equal)
        with pytest.raises(ValueError, match="TrajectoryUnion"):
            step.fit(equal).transform(equal)
        steps = FeatureUnion([("both", Positions()), ("again", Positions())])
        with pytest.raises(ValueError, match="TrajectoryUnion"):
            steps.fit_transform([0, 1])

    def test_answers_are_lists_to_numpy_otherwise(self, walks: list[np.ndarray]) -> None:
        answers = PerFrame(StandardScaler()).fit_transform([x[:60] for x in walks])
        plain = list(answers)
        assert isinstance(answers, list)
        for function in (np.mean, np.concatenate, np.stack, np.vstack, np.hstack, np.shape):
            np.testing.assert_array_equal(function(answers), function(plain))
        both = np.concatenate([answers, answers])
        assert both.shape == (len(plain) * 2,)  # a trajectory each, whatever their lengths
        for answer, expected in zip(both, plain + plain, strict=True):
            np.testing.assert_array_equal(answer, expected)
        assert np.array_equal(answers, plain)
        np.testing.assert_array_equal(np.asarray(answers), np.asarray(plain))


class Positions(TransformerMixin, BaseEstimator):
    """Stands for a featurizer: a FeatureList of equally long trajectories."""

    def fit(self, X: Any, y: Any = None) -> Positions:
        return self

    def transform(self, X: Any) -> FeatureList:
        return FeatureList([np.ones((4, 2)) for _ in X])


class TestFromDeeptime:
    def test_equals_deeptime_on_the_list(self, walks: list[np.ndarray]) -> None:
        step = FromDeeptime(TICA(lagtime=4, dim=2)).fit(walks)
        expected = TICA(lagtime=4, dim=2).fit_fetch(walks)
        for mine, x in zip(step.transform(walks), walks, strict=True):
            np.testing.assert_array_equal(mine, expected.transform(x))

    def test_stacked_with_metadata_equals_the_list(self, walks: list[np.ndarray]) -> None:
        listed = FromDeeptime(TICA(lagtime=4, dim=2)).fit(walks)
        X, metadata = stack(walks)
        stacked = FromDeeptime(TICA(lagtime=4, dim=2)).fit(X, **metadata)
        np.testing.assert_array_equal(stacked.transform(X), np.concatenate(listed.transform(walks)))
        order = np.random.default_rng(1).permutation(len(X))
        ends = {name: values[order] for name, values in metadata.items()}
        shuffled = FromDeeptime(TICA(lagtime=4, dim=2)).fit(X[order], **ends)
        np.testing.assert_allclose(shuffled.transform(X), stacked.transform(X), atol=1e-9)
        without = FromDeeptime(TICA(lagtime=4, dim=2)).fit(X)  # pairs across ends
        assert np.abs(without.transform(X) - stacked.transform(X)).max() > 0.1

    def test_draws_are_left_out(self, walks: list[np.ndarray]) -> None:
        timed = [k > 0 for k in range(len(walks))]
        expected = TICA(lagtime=4, dim=1).fit_fetch(walks[1:])
        X, metadata = stack(walks, dynamics=timed)
        table = pd.DataFrame(X).set_index(pd.MultiIndex.from_frame(pd.DataFrame(metadata)))
        for data, given in ((walks, {"dynamics": timed}), (X, metadata), (table, {})):
            step = FromDeeptime(TICA(lagtime=4, dim=1)).fit(data, **given)
            np.testing.assert_allclose(step._move(walks[0]), expected.transform(walks[0]))
        with pytest.raises(ValueError, match="longer than lagtime=4"):
            FromDeeptime(TICA(lagtime=4, dim=1)).fit(walks, dynamics=False)
        whole = FromDeeptime(KMeans(2, fixed_seed=1)).fit(walks, dynamics=False)
        assert whole.n_features_in_ == walks[0].shape[1]

    def test_gaps_are_ends(self, walks: list[np.ndarray]) -> None:
        kept = np.r_[0:30, 40:80]
        one = FromDeeptime(TICA(lagtime=4, dim=1)).fit(walks[0][kept], frame=kept)
        expected = TICA(lagtime=4, dim=1).fit_fetch([walks[0][:30], walks[0][40:]])
        np.testing.assert_allclose(one.transform(walks[0]), expected.transform(walks[0]))

    def test_clusters_predict(self, walks: list[np.ndarray]) -> None:
        step = FromDeeptime(KMeans(4, fixed_seed=1)).fit(walks)
        labels = step.predict(walks)
        assert [x.dtype for x in labels] == [np.int64] * 3
        expected = KMeans(4, fixed_seed=1).fit_fetch(np.concatenate(walks))
        np.testing.assert_array_equal(
            np.concatenate(labels), expected.transform(np.concatenate(walks))
        )
        assert not hasattr(FromDeeptime(TICA(lagtime=1)), "predict")

    def test_errors(self, walks: list[np.ndarray]) -> None:
        with pytest.raises(ValueError, match="Expected a trajectory longer than lagtime=500"):
            FromDeeptime(TICA(lagtime=500)).fit(walks)
        with pytest.raises(ValueError, match="the list says both"):
            FromDeeptime(TICA(lagtime=5)).fit(walks, frame=np.arange(230))


@pytest.mark.filterwarnings("ignore:Only one metastable:UserWarning")
class TestPipelines:
    STEPS = (lambda: FromDeeptime(TICA(lagtime=5, dim=2)), lambda: PerFrame(StandardScaler()))

    def model(self) -> Any:
        latf = LaTFEstimator(lagtime=5, max_iter=60, n_refinements=2, random_state=0)
        return make_pipeline(*(make() for make in self.STEPS), latf)

    @pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
    def test_lists_and_stacks_give_the_same(self, walks: list[np.ndarray], routing: Any) -> None:
        listed = self.model().fit(walks)
        X, metadata = stack(walks)
        stacked = self.model().fit(X, **metadata)
        parts = listed.transform(walks)
        assert [len(part) for part in parts] == [len(x) for x in walks]
        np.testing.assert_array_equal(np.concatenate(parts), stacked.transform(X))
        np.testing.assert_array_equal(np.concatenate(listed.predict(walks)), stacked.predict(X))
        assert listed.score(walks) == stacked.score(X, **metadata)
