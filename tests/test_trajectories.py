"""Frames keep their order: lagged pairs against their definition, conventions of input, blocks."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from deeptime.util.data import TimeLaggedDataset, TrajectoriesDataset, TrajectoryDataset
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator
from sklearn.frozen import FrozenEstimator
from sklearn.preprocessing import StandardScaler

from latflow import LaTFEstimator, PerFrame, TemperatureExtrapolator, stack
from latflow.estimators.seam import Standardised, features_of
from latflow.nn.distributions import TiltedGaussian
from latflow.nn.stages import TrainingData
from latflow.trajectories import (
    Frames,
    Rows,
    gather_frames,
    is_trajectory_list,
    lagged_pairs,
    time_blocks,
)
from latflow.units import BOLTZMANN_CONSTANT, Units

pytestmark = pytest.mark.filterwarnings("ignore:Only one metastable state:UserWarning")

LAGTIME = 3
few = settings(max_examples=60, deadline=None)


def gather(X: Any, lagtime: int | None = LAGTIME, **metadata: Any) -> Frames:
    return gather_frames(BaseEstimator(), X, lagtime=lagtime, reset=True, **metadata)


def pairs_of(frames: Frames) -> np.ndarray:
    return np.array(frames.pairs(LAGTIME))


def clocks(lengths: Sequence[int]) -> list[np.ndarray]:
    """Trajectories whose features are their number and the time: pairs can be read off."""
    return [np.stack([np.full(n, t), np.arange(n)], 1).astype(float) for t, n in enumerate(lengths)]


class Polars:
    """What a polars DataFrame looks like from here: columns and shape, no pandas."""

    def __init__(self, values: np.ndarray, columns: list[str]) -> None:
        self.values_, self.columns, self.shape = values, columns, values.shape

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return self.values_


def assert_clock_pairs(frames: Frames, lagtime: int = LAGTIME) -> None:
    i, j = frames.pairs(lagtime)
    expected = np.broadcast_to([0, lagtime], (len(i), 2))
    np.testing.assert_array_equal(frames.X[j] - frames.X[i], expected)


def same(a: Frames, b: Frames) -> None:
    for name in {field.name for field in fields(a)} - {"listed", "feature_names"}:
        np.testing.assert_equal(getattr(a, name), getattr(b, name), err_msg=name)


# ------------------------------------------------------------------ lagged pairs


def pairs_by_definition(
    lagtime: int, ids: Sequence[Any], places: Sequence[int], temperatures: Sequence[float]
) -> set[tuple[int, int]]:
    row = {key: n for n, key in enumerate(zip(ids, places, strict=True))}
    found = set()
    for (t, place), start in row.items():
        walk = [row.get((t, place + step)) for step in range(lagtime + 1)]
        if None not in walk and len({temperatures[n] for n in walk}) == 1:
            found.add((start, walk[-1]))
    return found


@st.composite
def rows_with_gaps(draw: Any) -> list[tuple[str, int, float]]:
    """Rows (trajectory, frame, temperature): frames missing, temperatures exchanged, shuffled."""
    rows = []
    for name in draw(st.lists(st.sampled_from("abcd"), unique=True, min_size=1)):
        start = draw(st.integers(-5, 5))
        kept = draw(st.lists(st.sampled_from([True] * 7 + [False]), max_size=25))
        swaps = draw(st.sets(st.integers(0, 25), max_size=2))
        temperature = np.cumsum([place in swaps for place in range(25)]) % 2 * 150.0 + 300
        rows += [(name, start + p, temperature[p]) for p in np.flatnonzero(kept).tolist()]
    return draw(st.permutations(rows))


@settings(max_examples=200, deadline=None)
@given(rows=rows_with_gaps().filter(len), lagtime=st.integers(1, 7))
def test_pairs_are_those_of_the_definition(
    rows: list[tuple[str, int, float]], lagtime: int
) -> None:
    ids, places, temperatures = zip(*rows, strict=True)
    i, j = lagged_pairs(len(rows), lagtime, trajectory=ids, frame=places, temperature=temperatures)
    found = list(zip(i.tolist(), j.tolist(), strict=True))
    assert len(found) == len(set(found))
    assert set(found) == pairs_by_definition(lagtime, ids, places, temperatures)


@few
@given(
    ids=st.lists(st.sampled_from([7, -1, 30]), min_size=1, max_size=60), lagtime=st.integers(1, 5)
)
def test_without_frames_the_rows_of_a_trajectory_are_in_order(ids: list[int], lagtime: int) -> None:
    places = [ids[:n].count(t) for n, t in enumerate(ids)]
    i, j = lagged_pairs(len(ids), lagtime, trajectory=ids)
    expected = pairs_by_definition(lagtime, ids, places, [1.0] * len(ids))
    assert set(zip(i.tolist(), j.tolist(), strict=True)) == expected


@few
@given(n=st.integers(1, 40), lagtime=st.integers(1, 50))
def test_one_trajectory(n: int, lagtime: int) -> None:
    i, j = lagged_pairs(n, lagtime)
    np.testing.assert_array_equal(i, np.arange(max(n - lagtime, 0)))
    np.testing.assert_array_equal(j, i + lagtime)


def test_two_million_frames() -> None:
    each, n, lagtime = 100_000, 20, 10
    ids, places = np.repeat(np.arange(n), each), np.tile(np.arange(each), n)
    temperature = np.where(places < each // 2, 300.0, 450.0)
    i, j = lagged_pairs(n * each, lagtime, trajectory=ids, frame=places, temperature=temperature)
    assert len(i) == n * (each - 2 * lagtime)
    assert (j - i == lagtime).all()
    assert (temperature[i] == temperature[j]).all()
    assert (ids[i] == ids[j]).all()


@pytest.mark.parametrize("ids", [None, ["a"] * 4])
def test_repeated_rows_are_refused(ids: list[str] | None) -> None:
    with pytest.raises(ValueError, match=r"every \(trajectory, frame\) once, got two rows"):
        lagged_pairs(4, 1, trajectory=ids, frame=[0, 1, 2, 1])


def test_fractional_places_are_refused() -> None:
    with pytest.raises(ValueError, match="`frame` to hold integers, got fractions"):
        lagged_pairs(3, 1, frame=[0.0, 0.5, 1.0])


# ------------------------------------------------------------------ one meaning of all inputs


@pytest.fixture
def trajectories() -> list[np.ndarray]:
    return clocks([30, 12, 21])


PER_TRAJECTORY = {
    "temperature": [300, 450.0, 300],
    "weights": [1.0, 0, 2],
    "initial_states": [0, 5, 2],
    "energy": [2.5, -1, 0],
}


def test_list_and_stacked_array_mean_the_same(trajectories: list[np.ndarray]) -> None:
    X, rows = stack(trajectories, **PER_TRAJECTORY)
    from_list = gather(trajectories, **PER_TRAJECTORY)
    same(from_list, gather(X, **rows))
    assert_clock_pairs(from_list)
    assert len(pairs_of(from_list)[0]) == 27 + 9 + 18


def test_entries_are_numbers_or_one_value_per_frame(trajectories: list[np.ndarray]) -> None:
    X, rows = stack(trajectories)
    own = np.random.default_rng(0).random(len(X))
    found = gather(
        trajectories,
        temperature=[300, 450.0, np.repeat([300.0, 450.0], [10, 11])],
        weights=np.split(own, [30, 42]),
    )
    temperature = np.repeat([300.0, 450.0, 300.0, 450.0], [30, 12, 10, 11])
    same(found, gather(X, **rows, temperature=temperature, weights=own))
    assert len(pairs_of(found)[0]) == 27 + 9 + (7 + 8)


def test_data_frame_with_index_levels_means_the_same(trajectories: list[np.ndarray]) -> None:
    X, rows = stack(trajectories, **PER_TRAJECTORY)
    index = pd.MultiIndex.from_arrays(list(rows.values()), names=list(rows))
    frame = pd.DataFrame(X, index=index, columns=["id", "time"])
    same(gather(trajectories, **PER_TRAJECTORY), gather(frame))


def test_metadata_given_win_over_index_levels(trajectories: list[np.ndarray]) -> None:
    X, rows = stack(trajectories, temperature=[300, 450, 450])
    frame = pd.DataFrame(X, index=pd.MultiIndex.from_arrays(list(rows.values()), names=list(rows)))
    found = gather(frame, temperature=rows["temperature"] + 1)
    np.testing.assert_array_equal(found.temperature, rows["temperature"] + 1)
    np.testing.assert_array_equal(found.trajectory, rows["trajectory"])


def test_list_of_data_frames_means_the_same(trajectories: list[np.ndarray]) -> None:
    frames = [pd.DataFrame(x, columns=["id", "time"]) for x in trajectories]
    frames[1] = frames[1][["time", "id"]]
    same(gather(trajectories, **PER_TRAJECTORY), gather(frames, **PER_TRAJECTORY))


@few
@given(seed=st.integers(0, 2**32 - 1))
def test_order_of_stacked_rows_does_not_matter(seed: int) -> None:
    X, rows = stack(clocks([30, 12, 21]), **PER_TRAJECTORY)
    order = np.random.default_rng(seed).permutation(len(X))
    shuffled = gather(X[order], **{name: values[order] for name, values in rows.items()})
    ordered = gather(X, **rows)
    i, j = (order[k] for k in pairs_of(shuffled))
    assert set(zip(i, j, strict=True)) == set(zip(*pairs_of(ordered), strict=True))
    np.testing.assert_array_equal(shuffled.weights, ordered.weights[order])


def test_trajectories_dataset_means_the_same(trajectories: list[np.ndarray]) -> None:
    expected = gather(trajectories, **PER_TRAJECTORY)
    data = TrajectoriesDataset.from_numpy(LAGTIME, trajectories)
    same(expected, gather(data, **PER_TRAJECTORY))


def test_one_trajectory_dataset_means_the_same(trajectories: list[np.ndarray]) -> None:
    data = TrajectoryDataset(LAGTIME, trajectories[0])
    same(gather(trajectories[:1], temperature=[300]), gather(data, temperature=[300]))


def test_lagtime_of_a_dataset_must_agree(trajectories: list[np.ndarray]) -> None:
    data = TrajectoriesDataset.from_numpy(LAGTIME + 1, trajectories)
    with pytest.raises(ValueError, match="data set with lagtime 3, got lagtime 4"):
        gather(data)


def test_bare_pairs_stay_the_pairs(trajectories: list[np.ndarray]) -> None:
    x, y = trajectories[0][:-LAGTIME], trajectories[0][LAGTIME:]
    temperature = np.linspace(300, 450, len(x))
    found = gather(TimeLaggedDataset(x, y), temperature=temperature)
    assert found.ordered
    for rows, expected in zip(pairs_of(found), (x, y), strict=True):
        np.testing.assert_array_equal(found.X[rows], expected)
        np.testing.assert_array_equal(found.temperature[rows], temperature)


def test_a_bare_array_is_one_trajectory_of_unknown_order(trajectories: list[np.ndarray]) -> None:
    bare = gather(trajectories[0])
    assert not bare.ordered
    np.testing.assert_array_equal(pairs_of(bare), pairs_of(gather(trajectories[:1])))


@pytest.mark.parametrize(
    ("lengths", "metadata", "message"),
    [
        ([], {}, "Expected at least one trajectory, got an empty list"),
        ([3, 4], {"temperature": 300}, r"per trajectory \(2\), got a single number"),
        ([3, 4], {"temperature": [300]}, r"per trajectory \(2\), got 1"),
        ([3, 4], {"w": [np.ones(3), np.ones(3)]}, r"`w` of trajectory 1 .* \(4,\), got \(3,\)"),
    ],
)
def test_what_cannot_be_stacked(lengths: list[int], metadata: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        stack(clocks(lengths), **metadata)


def test_a_tuple_is_refused(trajectories: list[np.ndarray]) -> None:
    with pytest.raises(ValueError, match="got a tuple, which could mean pairs"):
        gather(tuple(trajectories))


def test_a_list_of_rows_is_one_array() -> None:
    assert is_trajectory_list([np.zeros((3, 2))])
    assert not is_trajectory_list([[0.0, 1.0], [2.0, 3.0]])
    assert len(gather([[0.0, 1.0]] * 5).pairs(1)[0]) == 4


ONE = np.arange(12.0)
TWO_LISTS = [ONE[:5], ONE[5:]]


@pytest.mark.parametrize(
    "X",
    [
        TWO_LISTS,
        [pd.Series(x) for x in TWO_LISTS],
        [x[:, None] for x in TWO_LISTS],
        [x[:, None].tolist() for x in TWO_LISTS],
        [pd.DataFrame({"x": x}) for x in TWO_LISTS],
        [Polars(x[:, None], ["x"]) for x in TWO_LISTS],
        [np.ma.masked_array(x, mask=False) for x in TWO_LISTS],
        [x[:, None].astype(">f4") for x in TWO_LISTS],
    ],
    ids=["1-D", "series", "2-D", "nested", "pandas", "polars", "masked", "big-endian"],
)
def test_every_list_of_trajectories_means_the_same(X: Any) -> None:
    frames = gather(X)
    same(frames, gather([x[:, None] for x in TWO_LISTS]))
    assert frames.listed
    assert [len(x) for x in frames.split(frames.X)] == [5, 7]
    found = PerFrame(StandardScaler()).fit(X).transform(X)
    assert [np.shape(x) for x in found] == [(5, 1), (7, 1)]


def test_series_of_one_feature_are_fitted_as_trajectories(data: Any) -> None:
    one = [x[:, 0] for x in data[0]]
    model = LaTFEstimator(**SETTINGS | {"n_components": 1}).fit(one)
    assert model.n_features_in_ == 1
    assert [len(z) for z in model.transform(one)] == [len(x) for x in one]


@pytest.mark.parametrize("call", ["fit", "transform", "predict", "score_samples"])
@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.zeros((2, 30, 2)), r"3-D array of shape \(2, 30, 2\): pass list\(X\)"),
        ((np.zeros((30, 2)), np.zeros((30, 2))), "got a tuple, which could mean pairs"),
        (np.ma.masked_array(np.zeros((30, 2)), mask=np.eye(30, 2)), "got a masked array with 2"),
        ([np.ma.masked_array(np.zeros((30, 2)), mask=np.eye(30, 2))], "in trajectory 0, got a mas"),
    ],
    ids=["3-D", "tuple", "masked", "masked trajectory"],
)
def test_containers_without_a_meaning(model: Any, X: Any, message: str, call: str) -> None:
    estimator = LaTFEstimator(**SETTINGS) if call == "fit" else model
    with pytest.raises(ValueError, match=message):
        getattr(estimator, call)(X)


def test_frames_of_some_rows_know_the_temperatures_left(trajectories: list[np.ndarray]) -> None:
    frames = gather(trajectories, temperature=[450, 300, 350], energy=[1.0, 2, 3])
    np.testing.assert_array_equal(frames.temperatures, [300, 350, 450])
    part = frames.take(frames.temperature != 350)
    np.testing.assert_array_equal(part.temperatures, [300, 450])
    np.testing.assert_array_equal(part.temperature, np.repeat([450.0, 300.0], [30, 12]))
    np.testing.assert_array_equal(part.energy, np.repeat([1.0, 2.0], [30, 12]))
    np.testing.assert_array_equal(part.X, np.concatenate(trajectories[:2]))


@few
@given(seed=st.integers(0, 2**32 - 1), n_columns=st.integers(1, 3))
def test_moments_are_those_of_all_frames(seed: int, n_columns: int) -> None:
    rng = np.random.default_rng(seed)
    X = rng.normal(3, 2, (200_000 // n_columns, n_columns))  # several blocks
    weights = rng.random(len(X))
    mean, variance = gather(X, weights=weights).moments
    np.testing.assert_allclose(mean, np.average(X, axis=0, weights=weights), rtol=1e-12)
    expected = np.average((X - mean) ** 2, axis=0, weights=weights)
    np.testing.assert_allclose(variance, expected, rtol=1e-10)


@few
@given(
    seed=st.integers(0, 2**32 - 1),
    powers=st.lists(st.integers(-100, 100), min_size=3, max_size=3),
    shifts=st.lists(st.integers(-(2**30), 2**30), min_size=3, max_size=3),
)
def test_units_and_origins_of_features_leave_them_standardised(
    seed: int, powers: list[int], shifts: list[int]
) -> None:
    """From 1e-30 to 1e30, as far as double precision holds both: powers of two lose nothing."""
    X = np.random.default_rng(seed).integers(-(2**10), 2**10, (50, 3)) / 2**8
    X[:, 2] = X[0, 2]  # constant in every unit
    moved = (X + shifts) * 2.0 ** np.array(powers)
    mean, scale, constant = gather(X).scaling()
    new_mean, new_scale, still = gather(moved).scaling()
    assert constant.tolist() == still.tolist() == [False, False, True]
    np.testing.assert_allclose(
        (moved - new_mean)[:, :2] / new_scale[:2], ((X - mean) / scale)[:, :2], atol=1e-5
    )
    assert new_scale[2] == 1


@pytest.mark.parametrize("n_frames", [1000, 24_000, 300_001])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_constant_is_one_whatever_rounding_says(
    n_frames: int, dtype: type, weighted: bool
) -> None:
    rng = np.random.default_rng(n_frames)
    drawn = rng.standard_normal(20) * 10.0 ** rng.integers(-6, 7, 20)
    values = np.array([0.1, 0.3, 1e-30, 1e30, 0.0, -7.3, *drawn], dtype)
    X = np.broadcast_to(values, (n_frames, len(values))).copy()
    weights = rng.random(n_frames) if weighted else np.ones(n_frames)
    _, scale, constant = gather(X, weights=weights).scaling()
    assert constant.all()
    assert (scale == 1).all()


def test_large_lists_in_memory_are_not_copied() -> None:
    X = [np.zeros((2**20, 4), np.float32) for _ in range(5)]
    frames = gather(X)
    assert isinstance(frames.X, Rows)
    assert not frames.X.on_disk
    assert frames.X.dtype == np.float32


def test_ids_with_a_list_are_refused(trajectories: list[np.ndarray]) -> None:
    with pytest.raises(ValueError, match="no `trajectory` or `frame` with a list"):
        gather(trajectories, frame=[np.arange(len(x)) for x in trajectories])


def test_weights_are_scaled_to_mean_one(trajectories: list[np.ndarray]) -> None:
    weights = gather(trajectories, weights=[1e-8, 3e-8, 0]).weights
    assert weights.mean() == pytest.approx(1)
    assert weights[30] / weights[0] == pytest.approx(3)


# ------------------------------------------------------------------ trajectories too short


def test_short_trajectories_are_counted_and_keep_their_frames() -> None:
    # spib shifts every pair after a trajectory shorter than the lagtime, without an error
    frames = gather(clocks([20, 2, 3, 40]))
    with pytest.warns(UserWarning, match=r"2 of 4 trajectories \(5 frames\) gave no pair") as seen:
        pairs = pairs_of(frames)
    assert len(seen) == 1
    assert len(frames.X) == 65
    assert len(pairs[0]) == 17 + 37
    np.testing.assert_array_equal(np.diff(frames.X[pairs], axis=0)[0], [[0, LAGTIME]] * 54)


def test_frames_of_short_trajectories_train_the_density() -> None:
    with pytest.warns(UserWarning, match="count for the density only"):
        data = split(gather(clocks([40, 2])), np.zeros(42, dtype=bool))
    assert {40, 41} <= set(data.rows.tolist())


def test_no_trajectory_long_enough() -> None:
    with pytest.raises(
        ValueError, match=r"longer than lagtime=9 frames, got none .*3 trajectories"
    ):
        gather(clocks([9, 9, 2])).pairs(9)


def test_rows_drawn_at_random_are_noticed() -> None:
    X, rows = stack(clocks([200, 200]))
    kept = np.random.default_rng(0).random(400) < 0.5
    kept &= (rows["frame"] % 50 > 5) | (rows["frame"] < 10)
    rows = {name: values[kept] for name, values in rows.items()}
    with pytest.warns(UserWarning, match=f"Only .* of {kept.sum()} frames have a partner"):
        gather(X[kept], **rows).pairs(2)


# ------------------------------------------------------------------ blocks


lengths_of_trajectories = st.lists(st.integers(1, 300), min_size=1, max_size=6)


def ids_and_places(lengths: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    rows = stack(clocks(lengths))[1]
    return rows["trajectory"], rows["frame"]


@few
@given(lengths=lengths_of_trajectories, length=st.integers(1, 100), seed=st.integers(0, 2**32 - 1))
def test_blocks_cut_trajectories_evenly(lengths: list[int], length: int, seed: int) -> None:
    ids, places = ids_and_places(lengths)
    blocks = time_blocks(ids, places, length=length)
    np.testing.assert_array_equal(np.unique(blocks), np.arange(blocks.max() + 1))
    assert (np.diff(blocks) >= 0).all()  # contiguous in time, trajectory after trajectory
    for t, n in enumerate(lengths):
        sizes = np.unique(blocks[ids == t], return_counts=True)[1]
        assert sizes.sum() == n
        assert np.ptp(sizes) <= 1
        assert sizes.min() >= min(n, length)
        assert sizes.max() < max(2 * length, n + 1)
    assert sum(len(np.unique(ids[blocks == b])) for b in np.unique(blocks)) == blocks.max() + 1
    order = np.random.default_rng(seed).permutation(len(ids))
    shuffled = time_blocks(ids[order], places[order], length=length)
    np.testing.assert_array_equal(shuffled, blocks[order])


@pytest.mark.parametrize(("n", "lengths"), [(1, [500]), (3, [500, 300, 200])])
def test_few_trajectories_are_cut_into_independent_blocks(n: int, lengths: list[int]) -> None:
    frames = frames_at(lengths, [300.0] * n)
    blocks = frames.blocks()
    sizes = np.unique(blocks, return_counts=True)[1]
    assert 16 <= len(sizes) <= 24
    assert sizes.min() >= 0.5 * sizes.max()


def test_many_trajectories_are_the_independent_blocks() -> None:
    frames = frames_at([20] * 40, [300.0, 450.0] * 20)
    np.testing.assert_array_equal(frames.blocks(), frames.trajectory)


@pytest.mark.parametrize(
    ("lengths", "temperatures"),
    [([100, 2000, 2000], [300.0, 450.0, 450.0]), ([500] * 20, [300.0] + [450.0] * 19)],
    ids=["short", "alone"],
)
def test_every_temperature_has_several_blocks(
    lengths: list[int], temperatures: list[float]
) -> None:
    # one block alone has no spread, and every error bar becomes NaN
    frames = frames_at(lengths, temperatures)
    blocks = frames.blocks()
    assert all(len(np.unique(blocks[frames.temperature == t])) > 1 for t in (300, 450))


def frames_at(lengths: Sequence[int], temperatures: Sequence[Any]) -> Frames:
    return gather(clocks(lengths), lagtime=None, temperature=temperatures)


def hold_out(frames: Frames, fraction: float, lagtime: int, seed: int = 0) -> np.ndarray:
    return frames.held_out(fraction, lagtime, np.random.default_rng(seed))


def runs(mask: np.ndarray) -> np.ndarray:
    """Lengths of the unbroken runs of True."""
    edges = np.diff(np.concatenate([[0], mask.astype(int), [0]]))
    return np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1)


@few
@given(
    lengths=lengths_of_trajectories.filter(lambda lengths: sum(lengths) > 1),
    seed=st.integers(0, 2**32 - 1),
    fraction=st.floats(0.01, 0.5),
    lagtime=st.integers(1, 8),
)
def test_held_out_rows_are_long_blocks_near_the_fraction_of_each_temperature(
    lengths: list[int], seed: int, fraction: float, lagtime: int
) -> None:
    temperatures = [300.0 + 50 * (t % 2) for t in range(len(lengths))]
    frames = frames_at(lengths, temperatures)
    held_out = hold_out(frames, fraction, lagtime, seed)
    for t, n in enumerate(lengths):
        assert (runs(held_out[frames.trajectory == t]) >= min(n, 5 * lagtime)).all()
    longest = 2 * max(5 * lagtime, round(len(held_out) * fraction / 20))
    for value in np.unique(temperatures):
        here = frames.temperature == value
        assert abs(held_out[here].sum() - fraction * here.sum()) <= longest
        assert held_out[here].sum() <= 2 * fraction * here.sum()
    np.testing.assert_array_equal(held_out, hold_out(frames, fraction, lagtime, seed))


def test_ample_data_give_the_fraction_at_every_temperature() -> None:
    frames = frames_at([2000, 2000, 3000], [300, 450, 450])
    for seed in range(20):
        held_out = hold_out(frames, 0.2, 3, seed)
        assert held_out[frames.temperature == 300].mean() == pytest.approx(0.2, abs=0.04)
        assert held_out[frames.temperature == 450].mean() == pytest.approx(0.2, abs=0.02)


def test_another_seed_holds_out_other_rows() -> None:
    frames = frames_at([2000], [300])
    masks = {hold_out(frames, 0.1, 3, seed).tobytes() for seed in range(10)}
    assert len(masks) > 5


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.4])
def test_nothing_is_held_out_of_data_too_short_for_a_block(fraction: float) -> None:
    assert not hold_out(frames_at([99, 99], [300, 450]), fraction, 10).any()


def test_nothing_is_held_out_at_fraction_zero() -> None:
    assert not hold_out(frames_at([2000, 2000], [300, 450]), 0.0, 1).any()


def test_replicas_that_exchange_temperatures_are_held_out_at_each() -> None:
    swapped = np.repeat([300.0, 450.0] * 10, 100)
    frames = frames_at([2000, 2000], [swapped, 750 - swapped])
    held_out = hold_out(frames, 0.2, 2)
    for value in (300.0, 450.0):
        assert held_out[frames.temperature == value].mean() == pytest.approx(0.2, abs=0.05)


def split(frames: Frames, held_out: np.ndarray) -> TrainingData:
    base = TiltedGaussian(2, 2.0, np.ones(len(frames.X)))
    x = Standardised(frames.X, np.zeros(frames.X.shape[1]), np.ones(frames.X.shape[1]))
    cpu = torch.device("cpu")
    pairs = frames.pairs(LAGTIME)
    return TrainingData.split(features_of(x, cpu), frames.weights, base, pairs, held_out, cpu)


@few
@given(
    lengths=st.lists(st.integers(LAGTIME + 1, 200), min_size=1, max_size=5),
    fraction=st.floats(0.05, 0.5),
    seed=st.integers(0, 99),
)
def test_no_pair_with_a_held_out_end_is_trained_on(
    lengths: list[int], fraction: float, seed: int
) -> None:
    frames = gather(clocks(lengths))
    held_out = hold_out(frames, fraction, LAGTIME, seed)
    data = split(frames, held_out)
    train, judged = set(data.rows.tolist()), set(data.held_out_rows.tolist())
    pairs = [set(torch.cat(ends).tolist()) for ends in (data.pairs, data.held_out_pairs)]
    assert pairs[0] <= train
    assert pairs[1] <= judged
    everything = set(range(len(held_out)))  # for both, where there is too little to judge by
    kept, out = (set(np.flatnonzero(mask)) for mask in (~held_out, held_out))
    assert (train, judged) in ((kept, out), (everything, everything))
    i, j = data.pairs
    np.testing.assert_array_equal(np.diff(frames.X[torch.stack([i, j])], axis=0)[0, :, 1], LAGTIME)


def test_long_data_are_judged_by_rows_held_out() -> None:
    frames = gather(clocks([500, 500]))
    data = split(frames, hold_out(frames, 0.1, LAGTIME))
    assert not set(data.rows.tolist()) & set(data.held_out_rows.tolist())
    assert len(data.held_out_pairs[0]) > 50


# ------------------------------------------------------------------ list in, list out


SETTINGS: dict[str, Any] = {
    "lagtime": LAGTIME,
    "hidden_features": (4,),
    "max_iter": 20,
    "n_refinements": 0,
    "boltzmann_constant": 1.0,
    "random_state": 2,
}


@pytest.fixture(scope="module")
def data(three_hole: dict[str, Any]) -> tuple[list[np.ndarray], list[float]]:
    X, temperature = three_hole["trajectories"], three_hole["temperature"]
    return [x[:100] for x in X[18:22]], temperature[18:22]


@pytest.fixture(scope="module")
def model(data: Any) -> LaTFEstimator:
    return LaTFEstimator(**SETTINGS).fit(data[0], temperature=data[1])


FRAME_WISE = ["transform", "predict", "predict_proba", "score_samples"]


@pytest.mark.parametrize("name", FRAME_WISE)
def test_no_frames_give_no_answers(model: LaTFEstimator, data: Any, name: str) -> None:
    x, call = data[0][0], getattr(model, name)
    none = x[:0]
    for found in (call(none), call(pd.DataFrame(none)), call([x, none])[1], *call([none, none])):
        assert found.shape == call(x)[:0].shape
        assert found.dtype == call(x).dtype


OF_BOTH = ["log_density", "free_energy", "predict_latent", "predict_proba_latent"]
POINT_WISE = [
    *(("latf", name) for name in (*OF_BOTH, "to_prior", "from_prior")),
    *(("affine", name) for name in ("log_density", "from_prior")),
    *(("extrapolator", name) for name in (*OF_BOTH, "pooled_log_density")),
]


@pytest.mark.parametrize(("kind", "name"), POINT_WISE)
def test_no_points_give_no_answers(
    model: LaTFEstimator, extrapolator: TemperatureExtrapolator, data: Any, name: str, kind: str
) -> None:
    asked: Any = {"latf": model, "extrapolator": extrapolator}.get(kind)
    if kind == "affine":
        asked = LaTFEstimator(**SETTINGS, flow="affine").fit(data[0])
    call = getattr(asked, name)
    expected = call(np.zeros((3, 2)))[:0]
    found = call(np.empty((0, 2)))
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    with pytest.raises(ValueError, match=r"\(n_points, 2\), got \(0, 3\)"):
        call(np.empty((0, 3)))


@pytest.mark.parametrize("name", FRAME_WISE)
def test_list_in_list_out(model: LaTFEstimator, data: Any, name: str) -> None:
    trajs = [data[0][0], data[0][1][:7], data[0][2][:1]]
    found = getattr(model, name)(trajs)
    assert isinstance(found, list)
    for one, x in zip(found, trajs, strict=True):
        np.testing.assert_array_equal(one, getattr(model, name)(x))
    stacked = getattr(model, name)(np.concatenate(trajs))
    np.testing.assert_allclose(np.concatenate(found), stacked, rtol=1e-12, atol=1e-12)


def test_labels_come_as_the_trajectories_came(model: LaTFEstimator, data: Any) -> None:
    assert [x.shape for x in model.labels_] == [(len(x),) for x in data[0]]
    for labels, x in zip(model.labels_, data[0], strict=True):
        np.testing.assert_array_equal(labels, model.predict(x))


@pytest.mark.parametrize("single", [True, False])
def test_set_output_reaches_into_lists(model: LaTFEstimator, data: Any, single: bool) -> None:
    wrapped = copy.deepcopy(model).set_output(transform="pandas")
    trajs = data[0][:1] if single else data[0]
    found = wrapped.transform(trajs)
    assert isinstance(found, list)
    for one, plain in zip(found, model.transform(trajs), strict=True):
        assert list(one.columns) == ["latfestimator0", "latfestimator1"]
        np.testing.assert_array_equal(one.to_numpy(), plain)
    assert isinstance(wrapped.transform(data[0][0]), pd.DataFrame)
    assert isinstance(wrapped.predict(trajs)[0], np.ndarray)


def test_fit_transform_of_a_list_with_set_output(data: Any) -> None:
    wrapped = LaTFEstimator(**SETTINGS).set_output(transform="pandas")
    found = wrapped.fit_transform(data[0], temperature=data[1])
    for one, again in zip(found, wrapped.transform(data[0]), strict=True):
        pd.testing.assert_frame_equal(one, again)


def test_fit_transform_of_the_extrapolator_with_set_output(model: LaTFEstimator, data: Any) -> None:
    wrapped = TemperatureExtrapolator(FrozenEstimator(model), method="tilted")
    found = wrapped.set_output(transform="pandas").fit_transform(data[0], temperature=data[1])
    for one, again in zip(found, wrapped.transform(data[0]), strict=True):
        pd.testing.assert_frame_equal(one, again)


def test_temperatures_of_a_list_are_one_per_trajectory(model: LaTFEstimator, data: Any) -> None:
    found = model.score_samples(data[0], temperature=data[1])
    for one, x, t in zip(found, *data, strict=True):
        np.testing.assert_array_equal(one, model.score_samples(x, temperature=t))


@pytest.mark.parametrize(
    "container",
    [list, tuple, np.array, pd.Series, lambda t: [np.full(100, x) for x in t]],
)
def test_temperatures_are_taken_as_fit_takes_them(
    model: LaTFEstimator, data: Any, container: Any
) -> None:
    X, temperature = data
    expected = [model.score_samples(x, t) for x, t in zip(X, temperature, strict=True)]
    for found in (
        model.score_samples(X, container(temperature)),
        model.score_samples(X, temperature=container(temperature)),
    ):
        np.testing.assert_array_equal(found, expected)


def test_temperatures_of_a_list_of_unequal_lengths(model: LaTFEstimator, data: Any) -> None:
    X = [x[: 20 + 10 * k] for k, x in enumerate(data[0])]
    each = [np.full(len(x), t) for x, t in zip(X, data[1], strict=True)]
    for found in (model.score_samples(X, each), model.score_samples(X, data[1])):
        for one, x, t in zip(found, X, data[1], strict=True):
            np.testing.assert_array_equal(one, model.score_samples(x, t))
    for one, x in zip(model.score_samples(X, 1.0), X, strict=True):
        np.testing.assert_array_equal(one, model.score_samples(x, 1.0))


def test_too_few_temperatures_of_a_list_are_counted(model: LaTFEstimator, data: Any) -> None:
    with pytest.raises(ValueError, match=r"`temperature` to hold one entry per trajectory \(4\)"):
        model.score_samples(data[0], data[1][:2])
    with pytest.raises(ValueError, match=r"`temperature` of trajectory 0 .* shape \(100,\)"):
        model.score_samples(data[0], [np.ones(7)] * 4)


def test_conventions_give_the_same_model(model: LaTFEstimator, data: Any) -> None:
    X, rows = stack(data[0], temperature=data[1])
    stacked = LaTFEstimator(**SETTINGS).fit(X, **rows)
    np.testing.assert_array_equal(stacked.transform(X), np.concatenate(model.transform(data[0])))
    np.testing.assert_array_equal(stacked.labels_, np.concatenate(model.labels_))


def test_conventions_give_the_same_extrapolator(data: Any) -> None:
    X, rows = stack(data[0], temperature=data[1])
    order = np.random.default_rng(0).permutation(len(X))
    X, rows = X[order], {name: values[order] for name, values in rows.items()}
    plain = LaTFEstimator(**SETTINGS).fit(X, **rows)
    found = TemperatureExtrapolator(LaTFEstimator(**SETTINGS), method="tilted").fit(X, **rows)
    np.testing.assert_array_equal(found.transform(X), plain.transform(X))


def test_warnings_point_to_the_caller(data: Any) -> None:
    with pytest.warns(UserWarning, match="gave no pair") as seen:
        LaTFEstimator(**SETTINGS).fit([*data[0], data[0][0][:2]])
    assert [str(w.filename) for w in seen if "gave no pair" in str(w.message)] == [__file__]


def test_fit_takes_deeptime_datasets(model: LaTFEstimator, data: Any) -> None:
    found = LaTFEstimator(**SETTINGS).fit(
        TrajectoriesDataset.from_numpy(LAGTIME, data[0]), temperature=data[1]
    )
    np.testing.assert_array_equal(found.transform(data[0][0]), model.transform(data[0][0]))
    pairs = [
        np.concatenate([x[s] for x in data[0]]) for s in (slice(-LAGTIME), slice(LAGTIME, None))
    ]
    assert LaTFEstimator(**SETTINGS).fit(TimeLaggedDataset(*pairs)).score(data[0]) >= 1


def test_pv_is_in_the_unit_of_the_energies() -> None:
    given = {"energy": [1.0, 2.0], "pressure": [1.0, 500.0], "volume": [30.0, np.full(5, 10.0)]}
    by_hand = np.repeat([1 + 30 * 0.0602214076, 2 + 5000 * 0.0602214076], [4, 5])
    np.testing.assert_allclose(gather(clocks([4, 5]), **given).energy, by_hand)
    kcal = gather(clocks([4, 5]), **given, units=Units(BOLTZMANN_CONSTANT / 4.184)).energy
    np.testing.assert_allclose(kcal[0], 1 + 30 * 0.0602214076 / 4.184)


# ------------------------------------------------------------------ equilibrium draws


def test_draws_give_no_pairs_and_no_segments() -> None:
    X = clocks([9, 7, 12])
    for dynamics in ([True, False, True], [np.ones(9), np.zeros(7), np.ones(12)]):
        frames = gather(X, dynamics=dynamics)
        assert len(frames) == 28
        assert_clock_pairs(frames)
        assert set(frames.X[frames.pairs(LAGTIME)[0], 0]) == {0.0, 2.0}
        assert [set(frames.trajectory[rows]) for rows in frames.segments()] == [{0}, {2}]


def test_a_list_and_a_stacked_array_mean_the_same_draws() -> None:
    dynamics = [True, False, True]
    X, rows = stack(clocks([9, 7, 12]), dynamics=dynamics)
    same(gather(X, **rows), gather(clocks([9, 7, 12]), dynamics=dynamics))
    order = np.random.default_rng(0).permutation(len(X))
    mixed = gather(X[order], **{name: values[order] for name, values in rows.items()})
    assert_clock_pairs(mixed)


def test_a_level_of_an_index_names_draws() -> None:
    X, rows = stack(clocks([9, 7]), dynamics=[True, False])
    table = pd.DataFrame(X, index=pd.MultiIndex.from_arrays(list(rows.values()), names=list(rows)))
    np.testing.assert_array_equal(gather(table).dynamics, rows["dynamics"])


def test_draws_stay_draws_among_fewer_frames() -> None:
    frames = gather(clocks([9, 7, 12]), dynamics=[True, False, True])
    mask = frames.trajectory > 0
    np.testing.assert_array_equal(frames.take(mask).dynamics, [False] * 7 + [True] * 12)
    assert gather(clocks([9, 7]), dynamics=True).dynamics is None
    assert not gather(clocks([9, 7]), dynamics=False).dynamics.any()


def test_draws_are_not_warned_of_as_frames_without_a_pair() -> None:
    gather(clocks([40, 2]), dynamics=[True, False]).pairs(LAGTIME)
    with pytest.warns(UserWarning, match=r"1 of 2 trajectories \(2 frames\) gave no pair"):
        gather(clocks([40, 2, 30]), dynamics=[True, True, False]).pairs(LAGTIME)


@pytest.mark.parametrize("dynamics", ["no", 2, [True], [True, 0.5], [[True], False]])
def test_dynamics_is_true_or_false(dynamics: Any) -> None:
    with pytest.raises(ValueError, match="Expected `dynamics`"):
        gather(clocks([9, 7]), dynamics=dynamics)


def test_an_estimator_of_time_says_what_to_do_with_draws_alone() -> None:
    with pytest.raises(ValueError, match=r"with dynamics, got equilibrium draws only.*walkers"):
        LaTFEstimator(LAGTIME).fit(clocks([9, 7]), dynamics=False)
    pairs = TimeLaggedDataset(np.zeros((5, 1)), np.zeros((5, 1)))
    with pytest.raises(ValueError, match="with dynamics"):
        LaTFEstimator(LAGTIME).fit(pairs, dynamics=False)
