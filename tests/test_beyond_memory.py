"""Frames that stay on disk: the same rows, the same pairs, the same answers, little memory."""

import pickle
import subprocess
import sys
import time
import warnings
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from latflow import LaTFEstimator
from latflow.estimators.seam import Standardised, Streamed, features_of
from latflow.trajectories import Rows, gather_frames, pools, rows, windows
from tests.conftest import QUICK

SHAPES = [(700, 3), (1, 3), (250, 3), (49, 3)]


class Chunked:
    """What zarr's and h5py's arrays have in common, and how often it was read."""

    def __init__(self, array, length):
        self.array, self.chunks, self.reads = array, (length, array.shape[1]), 0
        self.shape, self.ndim, self.dtype = array.shape, array.ndim, array.dtype

    def __len__(self):
        return len(self.array)

    def __getitem__(self, index):
        self.reads += 1
        return self.array[index]


@pytest.fixture(autouse=True)
def nothing_is_too_small(monkeypatch):
    monkeypatch.setattr(rows, "LEAST_ON_DISK", 1)


def mapped(folder, array, *, dtype=None, order="C", offset=0, name="x"):
    """The array as a map of a file in that folder."""
    file = Path(folder) / f"{name}.bin"
    file.write_bytes(bytes(offset))
    array = np.asarray(array, dtype=dtype)
    found = np.memmap(file, array.dtype, "r+", offset=offset, shape=array.shape, order=order)
    found[:] = array
    return found


def maps(folder, arrays):
    return [mapped(folder, a, name=f"x{k}") for k, a in enumerate(arrays)]


LAYOUTS = {
    "rows": lambda folder, a: mapped(folder, a),
    "columns": lambda folder, a: mapped(folder, a, order="F"),
    "offset": lambda folder, a: mapped(folder, a, offset=5000),
    "sliced": lambda folder, a: mapped(folder, np.repeat(a, 2, axis=0))[::2],
    "reversed": lambda folder, a: mapped(folder, a[::-1])[::-1],
    "some columns": lambda folder, a: mapped(folder, np.hstack([a, a]), offset=8)[:, 3:],
    "copy on write": lambda folder, a: np.memmap(
        mapped(folder, a).filename, a.dtype, "c", shape=a.shape
    ),
    "chunked": lambda folder, a: Chunked(a, 64),
    "in memory": lambda folder, a: a,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rows_are_those_of_the_array(layout, tmp_path, rng):
    arrays = [rng.standard_normal(shape) for shape in SHAPES]
    parts = []
    for k, array in enumerate(arrays):
        folder = tmp_path / str(k)
        folder.mkdir()
        parts.append(LAYOUTS[layout](folder, array))
    joined, found = np.concatenate(arrays), Rows(parts)
    assert found.shape == joined.shape
    assert found.dtype == joined.dtype
    for some in (slice(None), slice(690, 960), slice(5, 5), slice(999, 1000)):
        np.testing.assert_array_equal(found[some], joined[some])
    for some in (rng.integers(0, 1000, 300), np.arange(699, 960), np.array([7]), joined[:, 0] > 0):
        np.testing.assert_array_equal(found[some], joined[some])


@pytest.mark.parametrize(
    ("dtype", "read"), [("f4", "f4"), ("f8", "f8"), ("i2", "f8"), ("f2", "f8")]
)
def test_kinds_of_numbers_are_those_of_arrays_in_memory(dtype, read, tmp_path, rng):
    array = (100 * rng.standard_normal((50, 3))).astype(dtype)
    frames = gather_frames(LaTFEstimator(), [mapped(tmp_path, array)], lagtime=1, reset=True)
    loaded = gather_frames(LaTFEstimator(), [array], lagtime=1, reset=True)
    assert isinstance(frames.X, Rows)
    assert frames.X.dtype == loaded.X.dtype == read
    np.testing.assert_array_equal(frames.X[:], loaded.X)
    for own, other in zip(frames.pairs(1), loaded.pairs(1), strict=True):
        np.testing.assert_array_equal(own, other)


def test_changes_after_mapping_are_seen_and_files_stay_as_they_are(tmp_path, rng):
    x = mapped(tmp_path, rng.standard_normal((50, 3)))
    found = Rows([x])
    x[7] = 5
    assert (found[:][7] == 5).all()
    before = Path(x.filename).read_bytes()
    found[:][:] = 0
    assert Path(x.filename).read_bytes() == before


def test_small_files_are_loaded(tmp_path, rng, monkeypatch):
    x = mapped(tmp_path, rng.standard_normal((50, 3)))
    monkeypatch.setattr(rows, "LEAST_ON_DISK", x.nbytes + 1)
    for X in (x, [x]):
        frames = gather_frames(LaTFEstimator(), X, lagtime=1, reset=True)
        assert isinstance(frames.X, np.ndarray)


def test_pickled_rows_are_paths_not_numbers(tmp_path, rng):
    x = mapped(tmp_path, rng.standard_normal((5000, 3)))
    frames = gather_frames(LaTFEstimator(), x, lagtime=1, reset=True)
    assert len(pickle.dumps(frames.X)) < 2000
    settings = np.zeros(3), np.ones(3)
    assert sys.getsizeof(Standardised(frames.X, *settings)) < 2000
    assert sys.getsizeof(Standardised(np.asarray(x), *settings)) >= x.nbytes  # Dask asks
    again = pickle.loads(pickle.dumps(frames.X))
    np.testing.assert_array_equal(again[:], np.asarray(x))


# ------------------------------------------------------------------ pairs from windows


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(6, 900), min_size=1, max_size=4),
    size=st.integers(1, 300),
    shuffled=st.booleans(),
    seed=st.integers(0, 99),
)
def test_every_pair_once_an_epoch_and_never_across_an_end(lengths, size, shuffled, seed):
    rng = np.random.default_rng(seed)
    ids = np.repeat(np.arange(len(lengths)), lengths)
    place = np.concatenate([np.arange(n) for n in lengths])
    X = np.column_stack([ids, place]).astype(float)
    order = rng.permutation(len(X)) if shuffled else np.arange(len(X))
    frames = gather_frames(
        LaTFEstimator(), X[order], lagtime=5, reset=True,
        trajectory=ids[order], frame=place[order],
    )  # fmt: skip
    x = Standardised(Rows([Chunked(X[order], 16)]), np.zeros(2), np.ones(2))
    stream = Streamed(x, torch.device("cpu"))
    columns = tuple(torch.from_numpy(rows) for rows in frames.pairs(5))
    n_pairs = len(columns[0])
    seen, n_batches = [], max(1, n_pairs // size)
    batches = stream.batches(columns, size, torch.Generator().manual_seed(seed))
    for i, j, now, later in islice(batches, n_batches):
        np.testing.assert_array_equal(now, X[order][i.numpy()])
        np.testing.assert_array_equal(later, X[order][j.numpy()])
        assert (now[:, 0] == later[:, 0]).all()
        assert (later[:, 1] - now[:, 1] == 5).all()
        seen += i.tolist()
    assert len(set(seen)) == len(seen) == min(n_pairs, n_batches * size)


def test_an_epoch_has_every_entry_and_the_next_another_order(rng):
    X = Rows([Chunked(rng.standard_normal((100_000, 40)), 1)])
    i = np.flatnonzero(rng.random(99_000) < 0.9)
    drawn = pools(X, (i, i + 7), 256, rng)
    epochs = []
    for _ in range(2):
        seen = []
        while len(seen) < len(i):
            first, second = next(drawn)
            np.testing.assert_array_equal(second, first + 7)
            seen += first.tolist()
        assert sorted(seen) == i.tolist()
        epochs.append(seen)
    assert epochs[0] != epochs[1]
    correlation = np.corrcoef(epochs[0][:10_000], epochs[1][:10_000])[0, 1]
    assert abs(correlation) < 0.05


def test_a_batch_sees_many_places_of_the_file(rng):
    X = Rows([Chunked(rng.standard_normal((200_000, 50)).astype("f4"), 1)])
    first = next(pools(X, (np.arange(200_000),), 1024, rng))[0][:1024]
    assert len(np.unique(first // 2000)) > 50


def test_reading_ahead_leaves_the_batches_in_use_alone(monkeypatch):
    monkeypatch.setattr(windows, "MOST_POOLED", 1000)
    X = np.arange(10_000.0)[:, None].astype(np.float32)
    stream = Streamed(Standardised(Rows([X]), np.zeros(1), np.ones(1)), torch.device("cpu"))
    rows = torch.arange(9_990)
    seen = []
    for i, j, now, later in islice(
        stream.batches((rows, rows + 10), 100, torch.Generator().manual_seed(0)), 90
    ):
        time.sleep(0.002)  # time enough to read the next pool
        np.testing.assert_array_equal(now[:, 0], i)
        np.testing.assert_array_equal(later[:, 0], j)
        seen += i.tolist()
    assert len(set(seen)) == len(seen)


def test_each_chunk_of_a_chunked_array_is_read_once_an_epoch(rng):
    array = Chunked(rng.standard_normal((20_000, 3)), 500)
    x = Standardised(Rows([array]), np.zeros(3), np.ones(3))
    every = (torch.arange(20_000),)
    batches = Streamed(x, torch.device("cpu")).batches(
        every, 1000, torch.Generator().manual_seed(0)
    )
    list(islice(batches, 20))
    assert array.reads <= 2 * 40


def test_what_is_trained_on_is_the_same_as_in_memory(tmp_path, rng):
    X = (5 + 3 * rng.standard_normal((3000, 4))).astype(np.float32)
    both = [
        Standardised(source, np.full(4, 5.0), np.full(4, 3.0))
        for source in (X, Rows([mapped(tmp_path, X)]))
    ]
    resident, streamed = (
        features_of(both[0], torch.device("cpu")),
        Streamed(both[1], torch.device("cpu")),
    )
    parts = [torch.cat(list(features.over(torch.clone))) for features in (resident, streamed)]
    np.testing.assert_array_equal(*parts)
    columns = torch.tensor([5, 2, 2999]), torch.tensor([6, 2, 0])
    for own, other in zip(resident.at(*columns), streamed.at(*columns), strict=True):
        np.testing.assert_array_equal(own, other)


def test_a_file_that_vanishes_is_the_readers_error_and_not_a_hang(tmp_path, rng):
    x = mapped(tmp_path, rng.standard_normal((500, 3)))
    found = Rows([x])
    Path(x.filename).unlink()
    features = Streamed(Standardised(found, np.zeros(3), np.ones(3)), torch.device("cpu"))
    with pytest.raises(FileNotFoundError):
        next(features.batches((torch.arange(500),), 64, torch.Generator()))


# ------------------------------------------------------------------ the estimator


def quietly(model, *arguments, **metadata):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # short fits do not settle
        return model.fit(*arguments, **metadata)


@pytest.mark.parametrize("name", ["transform", "predict", "predict_proba", "score_samples"])
def test_a_fitted_model_answers_bit_for_bit_as_in_memory(name, latf, three_hole, tmp_path):
    X = three_hole["trajectories"][:3]
    answer = getattr(latf, name)
    for own, other in zip(answer(X), answer(maps(tmp_path, X)), strict=True):
        assert own.dtype == other.dtype
        np.testing.assert_array_equal(own, other)
    single = answer(mapped(tmp_path, X[0].astype(np.float32)))
    np.testing.assert_array_equal(answer(X[0].astype(np.float32)), single)
    assert latf.score(X) == latf.score(maps(tmp_path, X))


def test_a_fit_from_disk_finds_what_one_in_memory_finds(latf, three_hole, tmp_path):
    X, temperature = three_hole["trajectories"], three_hole["temperature"]
    model = quietly(LaTFEstimator(**QUICK), maps(tmp_path, X), temperature=temperature)
    assert model.n_states_ == latf.n_states_
    np.testing.assert_allclose(model.populations_, latf.populations_, atol=0.02)
    np.testing.assert_array_equal(model.mean_, latf.mean_)
    np.testing.assert_array_equal(model.scale_, latf.scale_)
    assert abs(model.score(X) - latf.score(X)) < 0.02
    labels = model.predict(X)
    for own, other in zip(model.labels_, labels, strict=True):
        np.testing.assert_array_equal(own, other)


def test_a_stacked_file_is_a_list_of_its_trajectories(three_hole, tmp_path):
    X = three_hole["trajectories"][:4]
    settings = QUICK | {"max_iter": 30, "n_refinements": 2}
    stacked = mapped(tmp_path, np.concatenate(X), name="stacked")
    ids = np.repeat(np.arange(4), list(map(len, X)))
    one = quietly(LaTFEstimator(**settings), maps(tmp_path, X))
    other = quietly(LaTFEstimator(**settings), stacked, trajectory=ids)
    np.testing.assert_array_equal(np.concatenate(one.labels_), other.labels_)
    again = quietly(clone(one), maps(tmp_path, X))
    np.testing.assert_array_equal(one.transform(X[0]), again.transform(X[0]))


def test_restarts_run_in_processes_that_read_for_themselves(three_hole, tmp_path):
    import joblib

    X = maps(tmp_path, three_hole["trajectories"][:4])
    settings = QUICK | {"max_iter": 20, "n_refinements": 1, "n_init": 2}
    one = quietly(LaTFEstimator(**settings), X)
    with joblib.parallel_config(backend="threading", n_jobs=2):
        other = quietly(LaTFEstimator(**settings), X)
    np.testing.assert_array_equal(one.transform(X[0]), other.transform(X[0]))


def test_memory_is_told_before_the_run(three_hole, tmp_path, capsys):
    X = three_hole["trajectories"][:4]
    settings = QUICK | {"max_iter": 10, "n_refinements": 1, "verbose": 1}
    for trajectories, where in ((X, "in memory"), (maps(tmp_path, X), "read from disk")):
        quietly(LaTFEstimator(**settings), trajectories)
        told = capsys.readouterr()
        assert told.out == ""
        n = sum(map(len, X))
        assert f"LaTF: {n} frames of {X[0].shape[1]} features, {where}: the fit takes" in told.err
        assert "and trains on cpu" in told.err


# ------------------------------------------------------------------ the same errors


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("method", ["fit", "transform"])
def test_a_bad_number_deep_in_a_file_is_named(method, bad, latf, three_hole, tmp_path):
    X = [x.copy() for x in three_hole["trajectories"][:3]]
    X[2][123, 1] = bad
    what = "NaN" if np.isnan(bad) else "infinity"
    model = LaTFEstimator(**QUICK) if method == "fit" else latf
    for trajectories in (X, maps(tmp_path, X)):
        with pytest.raises(ValueError, match=f"got {what} in trajectory 2, frame 123 "):
            getattr(model, method)(trajectories)


def test_wrong_shapes_and_kinds_are_the_same_errors(latf, tmp_path, rng):
    def errors(call, *arrays):
        found = []
        for X in (list(arrays), maps(tmp_path, arrays)):
            with pytest.raises(ValueError) as caught:  # noqa: PT011
                call(X)
            found.append(str(caught.value).splitlines()[0])
        assert found[0] == found[1]
        return found[0]

    model = LaTFEstimator(lagtime=5)
    good, thin, flat = rng.random((50, 2)), rng.random((50, 3)), rng.random(50)
    assert "got 3 in trajectory 1" in errors(model.fit, good, thin)
    assert "Expected trajectory 1 of shape" in errors(model.fit, good, flat)
    assert "3 features" in errors(latf.transform, thin)
    assert "longer than lagtime=5" in errors(model.fit, good[:4])
    assert "Complex data" in errors(model.fit, good.astype(complex))


# ------------------------------------------------------------------ zarr


def test_zarr_arrays_are_read_as_they_are(latf, three_hole, tmp_path):
    zarr = pytest.importorskip("zarr")
    X = three_hole["trajectories"][:3]
    stored = []
    for k, x in enumerate(X):
        array = zarr.create_array(tmp_path / f"{k}.zarr", shape=x.shape, chunks=(64, 2), dtype="f8")
        array[:] = x
        stored.append(array)
    assert isinstance(gather_frames(LaTFEstimator(), stored, lagtime=1, reset=True).X, Rows)
    for own, other in zip(latf.transform(X), latf.transform(stored), strict=True):
        np.testing.assert_array_equal(own, other)
    settings = QUICK | {"max_iter": 20, "n_refinements": 1}
    one = quietly(LaTFEstimator(**settings), stored)
    assert len(one.labels_[0]) == len(X[0])


# ------------------------------------------------------------------ memory

FIT = """
import sys, warnings
import numpy as np
import deeptime.decomposition, torch
from latflow import LaTFEstimator
warnings.simplefilter("ignore")
def peak():
    with open("/proc/self/status") as status:  # ru_maxrss begins with the parent's
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 2**10
settings = dict(lagtime=5, encoder="linear", max_iter=20, n_refinements=1, random_state=0)
LaTFEstimator(**settings).fit(np.random.default_rng(0).random((2000, 2)))  # loads what is lazy
before = peak()
X = [np.load(file, mmap_mode="r") for file in sys.argv[1:]]
model = LaTFEstimator(**settings).fit(X, temperature=[300.0, 400.0])
model.transform(X)
model.predict(X)
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_memory_stays_bounded_where_files_are_larger(tmp_path, rng):
    files = [tmp_path / f"{k}.npy" for k in range(2)]
    for file in files:  # 2 x 150 MB
        x = np.lib.format.open_memmap(file, "w+", np.float32, (187_500, 200))
        for k in range(0, len(x), 10_000):
            x[k : k + 10_000] = rng.standard_normal((min(10_000, len(x) - k), 200), np.float32)
    done = subprocess.run(
        [sys.executable, "-c", FIT, *files], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 150  # MB
