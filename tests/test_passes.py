"""Passes over frames: the same bits by any number of workers, who read for themselves."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import threadpoolctl
from hypothesis import given, settings
from hypothesis import strategies as st

from latflow import _blocks
from latflow.datasets import make_three_hole
from latflow.trajectories import (
    Rows,
    check_finite,
    gather_frames,
    over_blocks,
    passes,
    rows,
)
from tests.conftest import fit_quietly, tiny_extrapolator, tiny_latf

# processes import the package first, which takes ten seconds where others work
LOKY = pytest.param(("loky", 2), marks=pytest.mark.slow)
BACKENDS = [("threading", 2), ("threading", 3), ("loky", 1), LOKY]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many blocks, of files that none would leave on disk, and of rows that none would move."""
    monkeypatch.setattr(rows, "LEAST_ON_DISK", 1)
    monkeypatch.setattr(_blocks, "MOST_ROWS", 300)
    monkeypatch.setattr(passes, "FEWEST_MOVED", 1)


def mapped(folder: Path, arrays: list[np.ndarray]) -> list[np.memmap]:
    for k, array in enumerate(arrays):
        np.save(folder / f"{k}.npy", array)
    return [np.load(folder / f"{k}.npy", mmap_mode="r") for k in range(len(arrays))]


def first_and_process(block: np.ndarray, *columns: np.ndarray) -> tuple[Any, ...]:
    """Of a block: its rows, the first of them, what is known of it, and who asks."""
    return len(block), block[0].copy(), *(column.copy() for column in columns), os.getpid()


class Held:
    """A chunked array that no other process can open, as of an open file of h5py."""

    chunks = (64, 3)

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.shape, self.ndim, self.dtype = array, array.shape, 2, array.dtype

    def __getitem__(self, index: slice) -> np.ndarray:
        return self.array[index]

    def __reduce__(self) -> Any:
        raise TypeError("cannot be pickled")


# ------------------------------------------------------------------ blocks and their order


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 1000), min_size=1, max_size=5),
    apart=st.booleans(),
    n_columns=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_blocks_are_all_rows_in_order_and_apart_they_end_with_their_array(
    lengths: list[int], apart: bool, n_columns: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    arrays = [rng.random((n, n_columns)) for n in lengths]
    X = Rows([Held(a) if k % 2 else a for k, a in enumerate(arrays)], apart=apart)
    joined = np.concatenate(arrays)
    np.testing.assert_array_equal(np.concatenate([X[k] for k in X.slices()]), joined)
    numbers, place = X.places()
    for k in X.slices():
        assert not apart or len(np.unique(numbers[k])) == 1
    np.testing.assert_array_equal(
        joined, [arrays[t][k] for t, k in zip(numbers, place, strict=True)]
    )
    start, stop = sorted(rng.choice(len(X) + 1, 2, replace=False))
    some = X.part(int(start), int(stop))
    np.testing.assert_array_equal(some[:], joined[start:stop])
    assert some.shape == (stop - start, n_columns)
    assert sum(some.lengths) == len(some)


@pytest.mark.parametrize("backend", BACKENDS)
def test_results_come_in_order_whoever_works(
    backend: tuple[str, int], tmp_path: Path, rng: np.random.Generator
) -> None:
    arrays = [rng.random((n, 3)).astype(np.float32) for n in (1100, 40, 2000)]
    X, weights = Rows(mapped(tmp_path, arrays)), rng.random(3140)
    alone = [*over_blocks(X, first_and_process, columns=(weights,))]
    with joblib.parallel_config(backend=backend[0], n_jobs=backend[1]):
        shared = [*over_blocks(X, first_and_process, columns=(weights,))]
    assert len(alone) == len(shared) == 11
    for own, other in zip(alone, shared, strict=True):
        for one, two in zip(own[:-1], other[:-1], strict=True):
            np.testing.assert_array_equal(one, two)
    processes = {result[-1] for result in shared}
    assert {result[-1] for result in alone} == {os.getpid()}
    assert (os.getpid() in processes) == (backend != ("loky", 2))


@pytest.mark.slow
def test_rows_in_memory_do_not_travel_unless_they_are_worth_it(rng: np.random.Generator) -> None:
    X = rng.random((2000, 3))
    with joblib.parallel_config(backend="loky", n_jobs=2):
        stayed = {result[-1] for result in over_blocks(X, first_and_process)}
        moved = {result[-1] for result in over_blocks(X, first_and_process, moves=True)}
    assert stayed == {os.getpid()}
    assert os.getpid() not in moved


def test_what_no_other_process_can_open_is_read_here(rng: np.random.Generator) -> None:
    X = Rows([Held(rng.random((2000, 3)))])
    with joblib.parallel_config(backend="loky", n_jobs=2):
        results = [*over_blocks(X, first_and_process)]
    assert sum(result[0] for result in results) == 2000
    assert {result[-1] for result in results} == {os.getpid()}


def test_a_piece_of_a_file_travels_as_its_name(tmp_path: Path, rng: np.random.Generator) -> None:
    X = Rows(mapped(tmp_path, [rng.random((1000, 3)) for _ in range(200)]))
    piece = X.part(100_300, 101_700)
    assert len(pickle.dumps(piece)) < 2000
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(piece))[:], X[100_300:101_700])


def pid_of_blocks(X: Rows) -> set[int]:
    return {result[-1] for result in over_blocks(X, first_and_process)}


@pytest.mark.slow
def test_a_task_of_joblib_spreads_nothing_further(tmp_path: Path, rng: np.random.Generator) -> None:
    X = Rows(mapped(tmp_path, [rng.random((2000, 3))]))
    with joblib.parallel_config(backend="loky", n_jobs=2):
        found = joblib.Parallel()(joblib.delayed(pid_of_blocks)(X) for _ in range(2))
    assert {len(processes) for processes in found} == {1}


# ------------------------------------------------------------------ estimators


def answers(folder: Path, seed: int) -> dict[str, np.ndarray]:
    """What a fit on files learns, and what it answers."""
    simulations = [make_three_hole(1500, t, n_walkers=2, random_state=seed) for t in (1.0, 1.4)]
    X = mapped(folder, [x.astype(np.float32) for one in simulations for x in one["trajectories"]])
    model = tiny_extrapolator(tiny_latf(n_refinements=2, max_iter=60), random_state=seed)
    fit_quietly(model, X, temperature=[1.0, 1.0, 1.4, 1.4])
    latf = model.estimator_
    found = {name: getattr(latf, name) for name in ("mean_", "scale_", "labels_", "populations_")}
    found |= {name: getattr(latf, name)(X) for name in ("transform", "predict", "predict_proba")}
    found |= {"score_samples": latf.score_samples(X), "weights": model.frame_weights(1.2)}
    found |= {"score": latf.score(X), "populations": model.state_populations([1.0, 1.2])}
    return {
        k: np.concatenate(v) if isinstance(v, list) else np.asarray(v) for k, v in found.items()
    }


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("backend", [("threading", 3), LOKY])
def test_any_number_of_workers_gives_the_same_bits(
    backend: tuple[str, int], seed: int, tmp_path: Path
) -> None:
    alone = answers(tmp_path, seed)
    assert len(alone["transform"]) == 3000
    assert np.isfinite(alone["transform"]).all()
    with joblib.parallel_config(backend=backend[0], n_jobs=backend[1]):
        shared = answers(tmp_path, seed)
    for name, values in alone.items():
        np.testing.assert_array_equal(values, shared[name], name)


def test_one_pass_over_a_list_is_a_pass_over_each(
    tmp_path: Path, latf: Any, three_hole: Any
) -> None:
    X = three_hole["trajectories"][:3]
    for output, kind in (("default", np.ndarray), ("pandas", None)):
        model = pickle.loads(pickle.dumps(latf)).set_output(transform=output)
        for own, other in zip(
            model.transform(X), model.transform(mapped(tmp_path, X)), strict=True
        ):
            assert type(own) is type(other)
            assert kind is None or isinstance(other, kind)
            np.testing.assert_array_equal(own, other)
            assert output == "default" or own.equals(other)
    for own, other in zip(latf.predict(X), latf.predict(mapped(tmp_path, X)), strict=True):
        np.testing.assert_array_equal(own, other)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_bad_number_is_named_by_trajectory_and_frame(
    bad: float, n_jobs: int, tmp_path: Path, latf: Any, three_hole: Any
) -> None:
    X = [x.copy() for x in three_hole["trajectories"][:3]]
    X[2][123, 1] = bad
    name = "NaN" if np.isnan(bad) else "infinity"
    message = rf"got {name} in trajectory 2, frame 123 \(1 such frames in all\)"
    with joblib.parallel_config(backend="threading", n_jobs=n_jobs):
        for method in ("transform", "predict"):
            with pytest.raises(ValueError, match=message):
                getattr(latf, method)(mapped(tmp_path, X))
        with pytest.raises(ValueError, match=message):
            gather_frames(tiny_latf(), mapped(tmp_path, X), lagtime=1, reset=True)


def test_bad_frames_of_several_blocks_are_counted_and_the_first_in_time_is_named() -> None:
    X = np.zeros((2000, 2))
    X[[1999, 700], 1] = np.nan
    with pytest.raises(ValueError, match=r"trajectory 0, frame 0 \(2 such frames in all\)"):
        check_finite(X, np.zeros(2000, int), np.arange(2000)[::-1])


# ------------------------------------------------------------------ threads of linear algebra


def blas_threads() -> set[int]:
    found = threadpoolctl.threadpool_info()
    return {pool["num_threads"] for pool in found if pool["user_api"] == "blas"}


def threads_of(block: np.ndarray) -> set[int]:
    return blas_threads()


@pytest.mark.skipif(not blas_threads(), reason="threadpoolctl knows no BLAS here")
@pytest.mark.parametrize("backend", BACKENDS)
def test_sums_are_those_of_one_thread_which_are_given_back(
    backend: tuple[str, int], tmp_path: Path, rng: np.random.Generator
) -> None:
    X = Rows(mapped(tmp_path, [rng.random((2000, 3))]))
    with threadpoolctl.threadpool_limits(3, user_api="blas"):
        assert blas_threads() == {3}
        with joblib.parallel_config(backend=backend[0], n_jobs=backend[1]):
            found = [*over_blocks(X, threads_of)]
        assert found == [{1}] * 7
        assert blas_threads() == {3}
