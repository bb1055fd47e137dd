"""Folds: every frame is held out once, and training keeps away from what is held out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from latflow import TrajectoryKFold, stack
from latflow.trajectories import lagged_pairs

few = settings(max_examples=50, deadline=None)


def trajectories(lengths: list[int]) -> list[np.ndarray]:
    return [np.zeros((n, 1)) for n in lengths]


class TestTrajectories:
    @few
    @given(n=st.integers(2, 12), n_splits=st.integers(2, 5))
    def test_every_trajectory_of_a_list_is_held_out_once(self, n: int, n_splits: int) -> None:
        assume(n >= n_splits)
        data = trajectories([3] * n)
        splitter = TrajectoryKFold(n_splits)
        folds = list(splitter.split(data))
        assert len(folds) == splitter.get_n_splits(data) == n_splits
        assert sorted(np.concatenate([test for _, test in folds])) == list(range(n))
        for train, test in folds:
            assert sorted([*train, *test]) == list(range(n))

    def test_rows_of_one_trajectory_stay_together(self) -> None:
        X, metadata = stack(trajectories([5, 9, 4, 7, 3]))
        shuffled = np.random.default_rng(0).permutation(len(X))
        ids = np.array(list("abcde"))[metadata["trajectory"][shuffled]]
        for train, test in TrajectoryKFold(3).split(X, trajectory=ids):
            assert not set(ids[train]) & set(ids[test])


class TestBlocks:
    @few
    @given(
        lengths=st.lists(st.integers(5, 40), min_size=1, max_size=4),
        n_splits=st.integers(2, 5),
        gap=st.integers(0, 6),
        seed=st.integers(0, 2**32 - 1),
    )
    def test_blocks_are_contiguous_and_keep_their_distance(
        self, lengths: list[int], n_splits: int, gap: int, seed: int
    ) -> None:
        X, metadata = stack(trajectories(lengths))
        order = np.random.default_rng(seed).permutation(len(X))
        X, ids, place = X[order], metadata["trajectory"][order], metadata["frame"][order]
        splitter = TrajectoryKFold(n_splits, by="block", gap=gap)
        held_out = np.zeros(len(X), dtype=int)
        for train, test in splitter.split(X, trajectory=ids, frame=place):
            held_out[test] += 1
            for k in np.unique(ids):
                block = np.sort(place[test][ids[test] == k])
                assert (np.diff(block) == 1).all()
                every = np.arange(lengths[k])
                far = (np.abs(every[:, None] - block) > gap).all(axis=1)
                np.testing.assert_array_equal(np.sort(place[train][ids[train] == k]), every[far])
        np.testing.assert_array_equal(held_out, 1)

    def test_trajectories_shorter_than_the_folds_are_held_out_once_too(self) -> None:
        X, metadata = stack(trajectories([1, 2, 40, 3]))
        held_out = np.zeros(len(X), dtype=int)
        for train, test in TrajectoryKFold(5, by="block").split(X, **metadata):
            held_out[test] += 1
            np.testing.assert_array_equal(np.union1d(train, test), np.arange(len(X)))
        np.testing.assert_array_equal(held_out, 1)

    def test_no_pair_joins_training_and_held_out_frames(self) -> None:
        X, metadata = stack(trajectories([100, 60]))
        ends = metadata["trajectory"], metadata["frame"]
        for train, test in TrajectoryKFold(4, by="block").split(X, None, None, *ends):
            i, j = lagged_pairs(len(train), 5, trajectory=ends[0][train], frame=ends[1][train])
            assert (ends[1][train][j] - ends[1][train][i] == 5).all()
            assert not set(train) & set(test)

    def test_auto_takes_blocks_where_trajectories_are_few(self) -> None:
        X, metadata = stack(trajectories([10, 10]))
        metadata.pop("temperature", None)
        (_, two), _ = TrajectoryKFold(2).split(X, **metadata)
        np.testing.assert_array_equal(two, np.arange(10))
        first = next(iter(TrajectoryKFold(5).split(X, **metadata)))[1]
        np.testing.assert_array_equal(first, [0, 1, 10, 11])

    def test_levels_of_an_index_count_as_metadata(self) -> None:
        X, metadata = stack(trajectories([6, 6, 6]))
        frame = pd.DataFrame(X, index=pd.MultiIndex.from_frame(pd.DataFrame(metadata)))
        plain = TrajectoryKFold(3).split(X, **metadata)
        for (a, b), (c, d) in zip(plain, TrajectoryKFold(3).split(frame), strict=True):
            np.testing.assert_array_equal(a, c)
            np.testing.assert_array_equal(b, d)

    def test_blocks_without_places_warn(self) -> None:
        X, metadata = stack(trajectories([20, 20]))
        with pytest.warns(UserWarning, match="unseen without `frame`"):
            next(iter(TrajectoryKFold(2, by="block").split(X, trajectory=metadata["trajectory"])))


@pytest.mark.parametrize(
    ("options", "data", "text"),
    [
        ({"n_splits": 1}, trajectories([5, 5]), "Expected `n_splits` to be an integer >= 2, got 1"),
        ({"by": "frame"}, trajectories([5, 5]), "Expected `by` to be one of"),
        ({"gap": -1}, trajectories([5, 5]), "Expected `gap` to be an integer >= 0, got -1"),
        ({"by": "block"}, trajectories([5] * 5), "for a list, whose entries are whole"),
        ({}, trajectories([5, 5]), "Expected at least n_splits=5 trajectories, got 2: stack them"),
        ({"by": "trajectory"}, np.zeros((9, 1)), "got 1: take by='block'"),
        ({"by": "block"}, np.zeros((3, 1)), "to cut into blocks, got at most 3"),
    ],
)
def test_errors(options: dict[str, Any], data: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        list(TrajectoryKFold(**options).split(data))
