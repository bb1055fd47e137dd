"""Threads, forks and torch's settings: none is left changed, and none matters."""

import ast
import contextlib
import multiprocessing
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import UNSETTLED, tiny_extrapolator, tiny_latf
from deeptime.decomposition import TICA
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import has_fit_parameter

import latflow
from latflow import FromDeeptime, PerFrame, load, save, stack
from latflow._validation import heard, muted, one_at_a_time, warn
from latflow.nn.training import torch_on

pytestmark = UNSETTLED

# the one place that may change filters, and what has its process for itself
ALLOWED = {"_validation.py", "cli/program.py", "featurizers/containment.py"}


@pytest.fixture
def eager():
    """Threads that take turns as often as they can, and torch on more than one."""
    interval, threads = sys.getswitchinterval(), torch.get_num_threads()
    sys.setswitchinterval(1e-4)
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(threads)
    sys.setswitchinterval(interval)


def numbers_of_torch_threads():
    """Return torch's number of threads here and in a thread that is new to torch."""
    with ThreadPoolExecutor(1) as pool:
        return torch.get_num_threads(), pool.submit(torch.get_num_threads).result()


def answers(model, X):
    return [
        model.transform(X[0]),
        model.predict_proba(X[0]),
        model.sample(50, random_state=0),
        model.log_density(model.transform(X[1])),
    ]


def fit_and_answer(make, X, metadata, seed):
    model = make().set_params(random_state=seed).fit(X, **metadata)
    return answers(model, X)


@pytest.mark.filterwarnings("ignore::UserWarning")  # that so few frames say little
@pytest.mark.parametrize("make", [tiny_latf, tiny_extrapolator])
def test_fits_in_threads_are_those_of_one_and_leave_every_setting(make, few_frames, eager):
    X, metadata = few_frames
    metadata = {"temperature": metadata["temperature"]}
    alone = [fit_and_answer(make, X, metadata, seed) for seed in range(2)]
    before = warnings.filters[:]
    with ThreadPoolExecutor(8) as pool:
        seeds = [k % 2 for k in range(8)]
        together = list(pool.map(lambda seed: fit_and_answer(make, X, metadata, seed), seeds))
    assert warnings.filters == before
    assert numbers_of_torch_threads() == (3, 3)
    for seed, found in zip(seeds, together, strict=True):
        for one, other in zip(alone[seed], found, strict=True):
            assert np.array_equal(one, other)


@pytest.fixture
def unlocked(monkeypatch):
    """Names of functions that changed the filters of the process without holding the lock."""
    names, enter = [], warnings.catch_warnings.__enter__

    def watched(self):
        if not one_at_a_time._is_owned():
            names.append(sys._getframe(1).f_code.co_name)
        return enter(self)

    monkeypatch.setattr(warnings.catch_warnings, "__enter__", watched)
    return names


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "make",
    [
        tiny_latf,
        tiny_extrapolator,
        lambda: tiny_extrapolator(method="mbar"),
        lambda: tiny_extrapolator(n_bootstraps=10),
        lambda: tiny_extrapolator(make_pipeline(StandardScaler(), tiny_latf())),
        lambda: tiny_extrapolator(make_pipeline(PerFrame(StandardScaler()), tiny_latf())),
        lambda: tiny_extrapolator(make_pipeline(FromDeeptime(TICA(3, dim=2)), tiny_latf())),
        lambda: tiny_extrapolator(PCA(1)),
    ],
)
def test_who_changes_filters_holds_the_lock(make, few_frames, unlocked):
    """Scikit-learn's checks change them too: two threads at once leave them changed."""
    X, metadata = few_frames
    X, rows = stack(X, **metadata)
    model, states = make(), (X[:, 0] > 0).astype(int)
    known = rows | {"states": states, "initial_states": states, "weights": np.ones(len(X))}
    model.fit(X, **{name: v for name, v in known.items() if has_fit_parameter(model, name)})
    for name in ("transform", "predict", "predict_proba", "score_samples"):
        if hasattr(model, name):
            getattr(model, name)(X)
    model.transform([X, X[:0]])
    assert unlocked == []


def test_answers_in_threads_are_those_of_one(latf, three_hole, eager):
    X = three_hole["trajectories"]
    alone = answers(latf, X)
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda _: answers(latf, X), range(16)))
    assert numbers_of_torch_threads() == (3, 3)
    for found in together:
        for one, other in zip(alone, found, strict=True):
            assert np.array_equal(one, other)


def test_threads_that_end_in_the_order_they_began_leave_torch_its_number(eager):
    first_ends, second_began = threading.Event(), threading.Event()

    def first():
        with torch_on(1):
            assert second_began.wait(10)
        first_ends.set()

    def second():
        with torch_on(1):
            second_began.set()
            assert first_ends.wait(10)

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(first), pool.submit(second)]:
            done.result()
    assert numbers_of_torch_threads() == (3, 3)


def test_what_is_heard_is_heard_by_its_thread_alone():
    def other():
        with pytest.warns(UserWarning, match="^second$"):
            warn("second")

    with heard("first") as said:
        warn("first")
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        with pytest.warns(UserWarning, match="^third$"):
            warn("third")
    assert said == ["first"]
    with pytest.warns(UserWarning, match="^first$"):
        warn("first")


def test_muted_leaves_other_warnings_and_the_filters():
    before = warnings.filters[:]
    with muted("no use"):
        warnings.warn("no use of this", stacklevel=1)
        with pytest.warns(UserWarning, match="of use"):
            warnings.warn("of use", stacklevel=1)
    assert warnings.filters == before


def test_no_filter_is_changed_but_under_the_lock():
    """Of code that can run in a thread: by its source, as a race is seen by chance only."""
    root = Path(latflow.__file__).parent
    changing = {"catch_warnings", "simplefilter", "filterwarnings", "resetwarnings"}
    changing |= {"set_num_threads", "set_default_dtype", "set_default_device", "manual_seed_all"}
    found = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in changing
    }
    assert found == ALLOWED | {"nn/training.py"}


# ------------------------------------------------------------------ processes


def in_a_fork(function):
    """Return what a function returns in a forked process, or fail where it hangs."""
    context = multiprocessing.get_context("fork")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=lambda: send.send(function()))
    process.start()
    try:
        assert receive.poll(60), "the forked process hangs"
        return receive.recv()
    finally:
        process.kill()
        process.join()


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="no fork here")
def test_a_process_forked_after_fit_answers(three_hole, eager):
    """Whose torch knows of threads that did not come along: it would wait for them for ever."""
    X = [np.concatenate([x] * 100) for x in three_hole["trajectories"][:2]]
    model = tiny_latf(hidden_features=(64,)).fit(X)
    torch.ones(3_000_000).exp().sum()  # the caller's own work, on all threads
    for one, other in zip(answers(model, X), in_a_fork(lambda: answers(model, X)), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="no fork here")
def test_a_fork_while_another_thread_holds_the_lock_does_not_inherit_it():
    holds, ends = threading.Event(), threading.Event()

    def hold():
        with one_at_a_time:
            holds.set()
            ends.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    assert holds.wait(10)
    threading.Timer(0.2, ends.set).start()
    assert in_a_fork(lambda: one_at_a_time.acquire(timeout=5))
    thread.join()


# ------------------------------------------------------------------ torch's own settings


@contextlib.contextmanager
def default_dtype():
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextlib.contextmanager
def default_device():
    torch.set_default_device("meta")  # on which no number can be read
    try:
        yield
    finally:
        torch.set_default_device(None)


def half_precision():
    return torch.autocast("cpu", dtype=torch.bfloat16)


SETTINGS = [default_dtype, default_device, torch.inference_mode, torch.no_grad, half_precision]
MODELS = {
    "mlp": lambda: tiny_latf(),
    "linear": lambda: tiny_latf(encoder="linear", flow="affine", n_components=1),
    "enthalpy": lambda: tiny_extrapolator(),
    "tilted": lambda: tiny_extrapolator(method="tilted"),
}


@pytest.mark.filterwarnings("ignore::UserWarning")  # that so few frames say little
@pytest.mark.parametrize("name", MODELS)
def test_no_setting_of_torch_matters_to_fit_save_load_and_answers(name, few_frames, tmp_path):
    X, metadata = few_frames
    if not hasattr(MODELS[name](), "method"):
        metadata = {"temperature": metadata["temperature"]}

    def run():
        model = MODELS[name]().fit(X, **metadata)
        save(model, tmp_path / "model.latflow")
        return [*answers(model, X), *answers(load(tmp_path / "model.latflow"), X)]

    plain = run()
    for setting in SETTINGS:
        with setting():
            under = run()
        for one, other in zip(plain, under, strict=True):
            assert np.array_equal(one, other), setting
            assert one.dtype == other.dtype


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("make", [tiny_latf, lambda **kw: tiny_extrapolator(tiny_latf(**kw))])
def test_a_device_of_torch_is_saved_by_its_name(make, few_frames, tmp_path):
    X, metadata = few_frames
    model = make(device=torch.device("cpu")).fit(X, temperature=metadata["temperature"])
    save(model, tmp_path / "model.latflow")
    again = load(tmp_path / "model.latflow")
    assert again.estimator_.device == "cpu"
    assert np.array_equal(again.transform(X[0]), model.transform(X[0]))
    assert again.fit(X, temperature=metadata["temperature"]).n_features_in_ == 2
