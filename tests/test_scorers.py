"""Scorers: their numbers, and that they are handed what they need."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
from conftest import tiny_extrapolator
from deeptime.decomposition import TICA
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import LeaveOneGroupOut, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from latflow import FromDeeptime, PerFrame, TemperatureExtrapolator, stack
from latflow.datasets import make_three_hole
from latflow.metrics import (
    jensen_shannon,
    log_likelihood_scorer,
    transfer_scorer,
    vamp2,
    vamp2_scorer,
)
from latflow.trajectories import lagged_pairs


class Identity(TransformerMixin, BaseEstimator):
    def fit(self, X: Any, y: Any = None) -> Identity:
        return self

    def transform(self, X: Any) -> Any:
        return X

    def log_density(self, Z: Any, temperature: float | None = None) -> np.ndarray:
        scale = 1.0 if temperature is None else temperature
        return -0.5 * (Z**2 / scale + np.log(2 * np.pi * scale)).sum(axis=1)


@pytest.fixture(scope="module")
def walks() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [30 * k + rng.normal(size=(n, 2)).cumsum(axis=0) for k, n in enumerate((120, 90, 150))]


class TestVamp2:
    def test_is_vamp2_of_pairs_within_trajectories(self, walks: list[np.ndarray]) -> None:
        start = np.concatenate([x[:-7] for x in walks])
        end = np.concatenate([x[7:] for x in walks])
        assert vamp2_scorer(7)(Identity(), walks) == pytest.approx(vamp2(start, end))

    def test_both_conventions_give_the_same(self, walks: list[np.ndarray]) -> None:
        weights = [np.linspace(1, 2, len(x)) for x in walks]
        listed = vamp2_scorer(7)(Identity(), walks, weights=weights)
        X, metadata = stack(walks, weights=weights)
        stacked = vamp2_scorer(7)(Identity(), X, **metadata)
        frame = pd.DataFrame(X, index=pd.MultiIndex.from_frame(pd.DataFrame(metadata)))
        assert listed == stacked == vamp2_scorer(7)(Identity(), frame)
        i, j = lagged_pairs(len(X), 7, trajectory=metadata["trajectory"])
        assert listed == pytest.approx(vamp2(X[i], X[j], weights=metadata["weights"][i]))
        assert abs(vamp2_scorer(7)(Identity(), walks) - listed) > 1e-4

    def test_routed_metadata_reach_it(self, walks: list[np.ndarray]) -> None:
        X, metadata = stack(walks)
        model = make_pipeline(StandardScaler(), FromDeeptime(TICA(lagtime=3, dim=1)))
        listed = make_pipeline(PerFrame(StandardScaler()), FromDeeptime(TICA(lagtime=3, dim=1)))
        ids = metadata["trajectory"]
        folds = [(np.flatnonzero(ids != k), np.flatnonzero(ids == k)) for k in range(3)]
        with sklearn.config_context(enable_metadata_routing=True):
            routed = cross_validate(
                model, X, cv=folds, params=metadata, scoring={"slow": vamp2_scorer(7)}
            )["test_slow"]
        plain = cross_val_score(listed, walks, cv=3, scoring=vamp2_scorer(7))
        np.testing.assert_allclose(routed, plain, rtol=1e-12)

    def test_survives_copies(self, walks: list[np.ndarray]) -> None:
        scorer = vamp2_scorer(7)
        assert repr(scorer) == "vamp2_scorer(7)"
        for other in (copy.deepcopy(scorer), pickle.loads(pickle.dumps(scorer))):
            assert other(Identity(), walks) == scorer(Identity(), walks)

    def test_errors(self, walks: list[np.ndarray]) -> None:
        with pytest.raises(ValueError, match="Expected `lagtime` to be an integer >= 1, got 0"):
            vamp2_scorer(0)
        with pytest.raises(ValueError, match="Expected a trajectory longer than lagtime=999"):
            vamp2_scorer(999)(Identity(), walks)


class TestLogLikelihood:
    def test_of_the_exact_density_is_minus_its_entropy(self) -> None:
        z = np.random.default_rng(0).normal(size=(200_000, 2))
        expected = -(1 + np.log(2 * np.pi))  # minus the entropy of two unit normals
        assert log_likelihood_scorer(Identity(), z) == pytest.approx(expected, abs=0.01)

    def test_does_not_reward_shrinking(self, latf: Any, three_hole: dict[str, Any]) -> None:
        class Shrunk(Identity):
            def transform(self, X: Any) -> Any:
                return [0.1 * z for z in latf.transform(X)]

            def log_density(self, Z: Any, temperature: Any = None) -> np.ndarray:
                return latf.log_density(10 * Z, temperature) + 2 * np.log(10)

        data, given = three_hole["trajectories"], {"temperature": three_hole["temperature"]}
        plain = log_likelihood_scorer(latf, data, **given)
        assert log_likelihood_scorer(Shrunk(), data, **given) == pytest.approx(plain)

    def test_temperatures_and_weights_count(self) -> None:
        rng = np.random.default_rng(1)
        z = [rng.normal(size=(50_000, 1)), 2 * rng.normal(size=(50_000, 1))]
        right = log_likelihood_scorer(Identity(), z, temperature=[1.0, 4.0])
        wrong = log_likelihood_scorer(Identity(), z, temperature=[4.0, 1.0])
        assert right > wrong + 0.3
        cold = log_likelihood_scorer(Identity(), z, temperature=[1.0, 4.0], weights=[1.0, 0.0])
        assert cold == pytest.approx(-0.5 * (1 + np.log(2 * np.pi)), abs=0.02)

    def test_looks_through_pipelines_and_searches(
        self, latf: Any, three_hole: dict[str, Any]
    ) -> None:
        data, given = three_hole["trajectories"], {"temperature": three_hole["temperature"]}
        steps = make_pipeline(FrozenEstimator(latf))
        plain = log_likelihood_scorer(latf, data, **given)
        assert log_likelihood_scorer(steps, data, **given) == plain


class TestTransfer:
    def test_is_minus_the_divergence_at_held_out_temperatures(
        self, extrapolator: TemperatureExtrapolator
    ) -> None:
        held_out = make_three_hole(3000, 1.0, random_state=5)
        score = transfer_scorer(
            extrapolator, held_out.trajectories, temperature=held_out.temperature
        )
        z = np.concatenate(extrapolator.transform(held_out.trajectories))
        generated = extrapolator.sample(20_000, 1.0, random_state=0)
        assert score == pytest.approx(-jensen_shannon(generated, z))
        assert -0.2 < score < 0

    def test_leaves_one_temperature_out(self, latf: Any) -> None:
        data = [make_three_hole(2000, t, n_walkers=4, random_state=0) for t in (0.8, 1.0, 1.3)]
        X = [x for d in data for x in d.trajectories]
        temperature = [t for d in data for t in d.temperature]
        model = tiny_extrapolator(FrozenEstimator(latf), temperature_range=(0.7, 1.5))
        with sklearn.config_context(enable_metadata_routing=True):
            scores = cross_val_score(
                model,
                X,
                cv=LeaveOneGroupOut().set_split_request(groups="temperature"),
                scoring=transfer_scorer,
                params={"temperature": temperature},
                error_score="raise",
            )
        by_hand = []
        for left_out in (0.8, 1.0, 1.3):
            known = [k for k, t in enumerate(temperature) if t != left_out]
            fold = clone(model).fit(
                [X[k] for k in known], temperature=[temperature[k] for k in known]
            )
            held_out = [x for x, t in zip(X, temperature, strict=True) if t == left_out]
            by_hand.append(transfer_scorer(fold, held_out, temperature=[left_out] * len(held_out)))
        np.testing.assert_allclose(scores, by_hand, rtol=1e-9)
        assert len(set(by_hand)) == 3

    def test_without_temperature(self, extrapolator: TemperatureExtrapolator) -> None:
        with pytest.raises(ValueError, match="Expected `temperature` of the held-out frames"):
            transfer_scorer(extrapolator, [np.zeros((50, 2))])
