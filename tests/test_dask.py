"""joblib's Dask backend against a real cluster of two processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import sklearn
import torch
from distributed import Client, LocalCluster
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from latflow import LaTFEstimator, TemperatureExtrapolator, TrajectoryKFold, _blocks, stack
from latflow.datasets import make_three_hole
from latflow.metrics import vamp2_scorer
from latflow.trajectories import Rows, passes, rows
from tests.test_passes import answers, mapped, pid_of_blocks

pytestmark = [
    pytest.mark.filterwarnings("ignore:Only one metastable state:UserWarning"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

TINY = {"lagtime": 5, "max_iter": 60, "n_refinements": 2, "random_state": 0}
GRID = {"n_components": [1, 2], "bottleneck": [1e-3, 1e-2]}


class SaysWhere(LaTFEstimator):
    """Notes the process and the threads of its fit."""

    def fit(self, X: Any, y: Any = None, **metadata: Any) -> SaysWhere:
        super().fit(X, y, **metadata)
        self.process_ = os.getpid()
        self.threads_ = torch.get_num_threads()
        return self


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def data() -> list[np.ndarray]:
    return list(make_three_hole(4000, 1.0, n_walkers=4, random_state=0).trajectories)


def where(fitted: Any, X: Any = None, y: Any = None) -> dict[str, float]:
    return {"process": float(fitted.process_), "threads": float(fitted.threads_)}


def test_same_scores_on_both_workers_on_one_thread(client: Client, data: list[np.ndarray]) -> None:
    serial = GridSearchCV(LaTFEstimator(**TINY), GRID, cv=2).fit(data)
    with joblib.parallel_config(backend="dask"):
        spread = GridSearchCV(LaTFEstimator(**TINY), GRID, cv=2).fit(data)
        places = GridSearchCV(
            SaysWhere(**TINY), GRID, cv=2, scoring=where, refit=False, error_score="raise"
        ).fit(data)
    for name in ("split0_test_score", "split1_test_score"):
        np.testing.assert_array_equal(serial.cv_results_[name], spread.cv_results_[name])
    for mine, other in zip(serial.transform(data), spread.transform(data), strict=True):
        np.testing.assert_array_equal(mine, other)
    results = places.cv_results_
    processes = {*results["split0_test_process"], *results["split1_test_process"]}
    workers = {info["pid"] for info in client.run(lambda: {"pid": os.getpid()}).values()}
    assert processes == workers
    assert len(workers) == 2
    assert {*results["split0_test_threads"], *results["split1_test_threads"]} == {1.0}
    assert set(client.run(torch.get_num_threads).values()) == {1}


def test_stacked_data_with_routing_scattered_once(
    client: Client, data: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    X, metadata = stack(data)
    model = make_pipeline(StandardScaler(), LaTFEstimator(**TINY))
    grid = {f"latfestimator__{name}": values for name, values in GRID.items()}
    options = {"cv": TrajectoryKFold(2), "scoring": vamp2_scorer(8), "refit": False}
    sent = count_scatters(monkeypatch)
    with sklearn.config_context(enable_metadata_routing=True):
        serial = GridSearchCV(model, grid, **options).fit(X, **metadata)
        with joblib.parallel_config(backend="dask", scatter=[X]):
            spread = GridSearchCV(model, grid, **options).fit(X, **metadata)
    np.testing.assert_array_equal(
        serial.cv_results_["mean_test_score"], spread.cv_results_["mean_test_score"]
    )
    assert sum(value is X for value in sent) == 1


def test_seeds_and_ensembles_are_spread(
    client: Client, data: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    temperature = [1.0, 1.0, 1.4, 1.4]
    model = TemperatureExtrapolator(
        LaTFEstimator(**TINY, n_init=3), n_bootstraps=10, max_iter=20, random_state=0
    )
    serial = model.fit(data, temperature=temperature).state_populations([1.0, 1.2])
    before = tasks(client)
    sent = count_scatters(monkeypatch)
    with joblib.parallel_config(backend="dask"):
        spread = model.fit(data, temperature=temperature).state_populations([1.0, 1.2])
    np.testing.assert_array_equal(serial, spread)
    assert tasks(client) > before
    arrays = [value for value in sent if isinstance(value, np.ndarray)]
    assert len({id(value) for value in arrays}) == len(arrays)


def tasks(client: Client) -> int:
    """Tasks that the workers have finished."""
    counts = client.run(lambda dask_worker: dask_worker.state.executed_count)
    return sum(counts.values())


def count_scatters(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return a list that grows by every object a client scatters."""
    sent: list[Any] = []
    scatter = Client.scatter

    def noted(self: Client, values: Any, *args: Any, **kwargs: Any) -> Any:
        sent.extend(values if isinstance(values, list) else [values])
        return scatter(self, values, *args, **kwargs)

    monkeypatch.setattr(Client, "scatter", noted)
    return sent


# ------------------------------------------------------------------ passes over frames


@pytest.mark.parametrize("seed", [0, 1])
def test_passes_of_two_processes_give_the_bits_of_one(
    client: Client, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "LEAST_ON_DISK", 1)
    monkeypatch.setattr(_blocks, "MOST_ROWS", 300)
    monkeypatch.setattr(passes, "FEWEST_MOVED", 1)
    alone = answers(tmp_path, seed)
    before = tasks(client)
    with joblib.parallel_config(backend="dask"):
        shared = answers(tmp_path, seed)
    assert tasks(client) >= before + 50  # some five a pass
    for name, values in alone.items():
        np.testing.assert_array_equal(values, shared[name], name)


def test_both_processes_read_and_a_task_spreads_nothing_further(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_blocks, "MOST_ROWS", 300)
    X = Rows(mapped(tmp_path, [np.random.default_rng(0).random((30_000, 3))]))
    workers = {info["pid"] for info in client.run(lambda: {"pid": os.getpid()}).values()}
    with joblib.parallel_config(backend="dask"):
        assert pid_of_blocks(X) == workers
        found = joblib.Parallel()(joblib.delayed(pid_of_blocks)(X) for _ in range(4))
    assert {len(processes) for processes in found} == {1}
    assert set().union(*found) <= workers


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_number_that_another_process_finds_is_named(
    client: Client, bad: float, data: list[np.ndarray], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(rows, "LEAST_ON_DISK", 1)
    monkeypatch.setattr(_blocks, "MOST_ROWS", 300)
    model = LaTFEstimator(**TINY).fit(data)
    wrong = [x.copy() for x in data]
    wrong[2][123, 1] = bad
    with (
        joblib.parallel_config(backend="dask"),
        pytest.raises(ValueError, match="in trajectory 2, frame 123 "),
    ):
        model.transform(mapped(tmp_path, wrong))
