"""A trajectory given twice is told; what merely begins alike, or may be alike by chance, is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA

from latflow import LaTFEstimator, TemperatureExtrapolator
from latflow.trajectories import gather_frames
from latflow.trajectories.repeats import repeats


def found(X: Any, **metadata: Any) -> list[tuple[int, int]]:
    return repeats(gather_frames(BaseEstimator(), X, reset=True, **metadata))


def walks(seed: int, *lengths: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((n, 3)).cumsum(axis=0) for n in lengths]


@given(st.integers(0, 10**6), st.lists(st.integers(4, 40), min_size=2, max_size=5), st.data())
def test_every_copy_is_found_and_nothing_else(seed: int, lengths: list[int], data: Any) -> None:
    X = walks(seed, *lengths)
    assert found(X) == []
    k = data.draw(st.integers(0, len(X) - 1))
    assert found([*X, X[k].astype(data.draw(st.sampled_from([">f8", "<f8"])))]) == [(k, len(X))]
    order = np.random.default_rng(seed).permutation(2 * lengths[0])
    stacked, ids = np.concatenate([X[0], X[0]])[order], np.repeat([0, 1], lengths[0])[order]
    place = np.tile(np.arange(lengths[0]), 2)[order]
    assert found(stacked, trajectory=ids, frame=place) == [(0, 1)]


def test_one_number_less_is_another_trajectory() -> None:
    (x,) = walks(0, 300)
    other = x.copy()
    other[77, 1] += 1e-9
    assert found([x, other]) == []


def test_on_disk_and_apart_in_memory(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latflow.trajectories.rows.LEAST_ON_DISK", 1)
    monkeypatch.setattr("latflow.trajectories.rows.LEAST_APART", 1)
    X = walks(1, 50, 60, 50)
    assert found([*X, X[1].copy()]) == [(1, 3)]
    for k, x in enumerate([*X, X[2]]):
        np.save(tmp_path / f"{k}.npy", x)
    assert found([np.load(tmp_path / f"{k}.npy", mmap_mode="r") for k in range(4)]) == [(2, 3)]


def test_what_two_simulations_share_by_chance() -> None:
    """Still in one state of few, or of one frame."""
    still = np.tile([1.0, 0.0], (100, 1))
    assert found([still, still]) == []
    assert found([np.array([[3.0, 1.0]])] * 2 + [still]) == []
    hopping = np.eye(2)[np.random.default_rng(0).integers(2, size=100)]
    assert found([hopping, hopping.copy()]) == [(0, 1)]


@pytest.mark.filterwarnings("ignore:.*(state|max_iter):UserWarning")
@pytest.mark.parametrize("model", [LaTFEstimator, TemperatureExtrapolator])
def test_both_estimators_say_it_once(model: Any) -> None:
    X = walks(2, 60, 60)
    fast = LaTFEstimator(max_iter=5, random_state=0)
    if model is TemperatureExtrapolator:
        fast = TemperatureExtrapolator(PCA(1), n_bootstraps=0, max_iter=1, random_state=0)
    with pytest.warns(
        UserWarning, match="Trajectories 0 and 2 hold the same frames: was a"
    ) as said:
        fast.fit([*X, X[0]], temperature=[300.0, 400.0, 300.0])
    assert sum("same frames" in str(w.message) for w in said) == 1
