"""Two processes with their own trajectories fit one model, the same as one process fits to all."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import spawn

from latflow import LaTFEstimator, TemperatureExtrapolator
from latflow.datasets import make_three_hole
from latflow.nn.distributed import average_gradients, share
from latflow.nn.model import vamp2
from latflow.nn.training import Plan, minimise

SETTINGS: dict[str, Any] = {"lagtime": 5, "max_iter": 200, "boltzmann_constant": 1.0}
SHARED: dict[str, Any] = {**SETTINGS, "n_states": 6, "random_state": 0}
PROBE = np.random.default_rng(0).uniform(-1.5, 1.5, (50, 2))


def parts() -> list[Any]:
    """Return what each process holds: one temperature, three times as many frames in the second."""
    return [
        make_three_hole(n, temperature=t, n_walkers=walkers, random_state=k)
        for k, (n, t, walkers) in enumerate([(4000, 0.8, 8), (12_000, 1.4, 24)])
    ]


def numbers(model: LaTFEstimator) -> dict[str, Any]:
    """Return what a fit leaves."""
    weights = model.model_.state_dict().values()
    return {
        "parameters": torch.cat([w.reshape(-1) for w in weights]).numpy(),
        "z": model.transform(PROBE),
        "mean": model.mean_,
        "scale": model.scale_,
        "temperatures": model.temperatures_,
        "populations": model.populations_,
        "held_out": [r["held_out_loss"] for r in model.history_],
        "joint loss": joint_loss(model),
        "sizes": [len(labels) for labels in model.labels_],
        "density": model.log_density(PROBE / 2, 1.0),
    }


def joint_loss(model: LaTFEstimator) -> float:
    return min(r["held_out_loss"] for r in model.history_ if r["stage"] == "joint")


def fit(X: list[Any], temperature: list[float], **more: Any) -> LaTFEstimator:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # so short a fit may say that labels have not settled
        return LaTFEstimator(**SHARED).fit(X, temperature=temperature, **more)


def said(call: Any) -> str:
    try:
        call()
    except ValueError as error:
        return str(error)
    return ""


def work(rank: int, folder: Path) -> None:
    """Do everything that two processes are tested for, and leave the results in a file."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    own = parts()[rank]
    found = numbers(fit(own.trajectories, own.temperature))
    # the same frames weighed anew in one process: by 2 in the second one
    found |= {
        f"weighted {k}": v
        for k, v in numbers(
            fit(own.trajectories, own.temperature, weights=[1.0 + rank] * len(own.trajectories))
        ).items()
    }
    found["gradient"] = gradient(rank)
    broken = [x.copy() for x in own.trajectories]
    broken[1][3, 0] = np.nan if rank else 0.0
    found["broken"] = said(lambda: fit(broken, own.temperature))
    wide = [np.hstack([x, x]) if rank else x for x in own.trajectories]
    found["wide"] = said(lambda: fit(wide, own.temperature))
    named = [pd.DataFrame(x, columns=["a", "b"][:: 1 - 2 * rank]) for x in own.trajectories]
    found["names"] = said(lambda: fit(named, own.temperature))
    found["unnamed"] = said(lambda: fit(own.trajectories, own.temperature if rank else None))
    other = LaTFEstimator(**SHARED | {"max_iter": 200 + rank})
    found["settings"] = said(lambda: other.fit(own.trajectories))
    found["alone"] = said(lambda: TemperatureExtrapolator().fit(own.trajectories))
    dist.destroy_process_group()
    np.savez(folder / f"{rank}.npz", **found)


def problem() -> tuple[torch.nn.Linear, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x, y, w = (torch.randn(12, n, generator=generator, dtype=torch.float64) for n in (3, 1, 1))
    module = torch.nn.Linear(3, 1, dtype=torch.float64)
    torch.nn.init.constant_(module.weight, 0.5)
    torch.nn.init.constant_(module.bias, 0.1)
    return module, x, y, w.abs()


def gradient(rank: int) -> np.ndarray:
    """Return the gradient of a loss over 12 rows, of which the first process has four."""
    module, x, y, w = problem()
    own = slice(0, 4) if rank == 0 else slice(4, 12)
    loss(module, x[own], y[own], share(len(x[own])) * w[own]).backward()
    average_gradients(module.parameters())
    return np.concatenate([p.grad.numpy().ravel() for p in module.parameters()])


def loss(module: torch.nn.Linear, x: torch.Tensor, y: torch.Tensor, w: torch.Tensor) -> Any:
    """Return a weighted mean and a kinetic term."""
    z = module(x)
    return (w * (z - y) ** 2).mean() - vamp2(z, y + z**2, w[:, 0])


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    folder = tmp_path_factory.mktemp("processes")
    spawn(work, (folder,), nprocs=2)
    return [np.load(folder / f"{rank}.npz") for rank in range(2)]


@pytest.fixture(scope="module")
def together() -> list[LaTFEstimator]:
    """One process on all trajectories, three seeds."""
    data = parts()
    X = [x for d in data for x in d.trajectories]
    temperature = [t for d in data for t in d.temperature]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [
            LaTFEstimator(**SHARED | {"random_state": seed}).fit(X, temperature=temperature)
            for seed in range(3)
        ]


@pytest.mark.parametrize("weighted", ["", "weighted "])
def test_both_processes_end_with_one_model_and_their_own_labels(
    results: list[Any], weighted: str
) -> None:
    first, second = results
    for name in ("parameters", "z", "mean", "scale", "temperatures", "populations", "held_out"):
        np.testing.assert_array_equal(first[weighted + name], second[weighted + name], err_msg=name)
    assert first[weighted + "sizes"].tolist() == [500] * 8
    assert second[weighted + "sizes"].tolist() == [500] * 24


def test_statistics_are_those_of_all_frames(
    results: list[Any], together: list[LaTFEstimator]
) -> None:
    for name in ("mean", "scale"):
        np.testing.assert_allclose(results[0][name], getattr(together[0], f"{name}_"), rtol=1e-12)
    assert results[0]["temperatures"].tolist() == [0.8, 1.4]
    data = parts()
    X = [np.concatenate(d.trajectories) for d in data]
    exact = (X[0].sum(axis=0) + 2 * X[1].sum(axis=0)) / (len(X[0]) + 2 * len(X[1]))
    np.testing.assert_allclose(results[0]["weighted mean"], exact, rtol=1e-12)


def test_held_out_likelihood_is_that_of_one_process(
    results: list[Any], together: list[LaTFEstimator]
) -> None:
    """The loss of joint training: of other batches and held-out blocks, so within three seeds'."""
    single = [joint_loss(model) for model in together]
    spread = max(np.std(single, ddof=1), 0.01)
    for name in ("joint loss", "weighted joint loss"):
        assert results[0][name] == pytest.approx(np.mean(single), abs=4 * spread)


def test_gradient_is_that_of_all_rows(results: list[Any]) -> None:
    module, x, y, w = problem()
    loss(module, x, y, w).backward()
    exact = np.concatenate([p.grad.numpy().ravel() for p in module.parameters()])
    for found in results:
        np.testing.assert_allclose(found["gradient"], exact, rtol=1e-12)


def test_an_error_in_one_process_ends_all(results: list[Any]) -> None:
    assert str(results[0]["broken"]).startswith("Expected data that every process can fit, one of")
    for found in results:
        assert "NaN" in str(found["broken"])
        assert "features of one width in all processes, got [2, 4]" in str(found["wide"])
        assert "order in all processes, got [a, b] in one and [b, a] in another" in str(
            found["names"]
        )
        assert "`temperature` in all processes or in none, got it in 1 of 2" in str(
            found["unnamed"]
        )
        assert "the same `max_iter` in all processes, got 200, 201" in str(found["settings"])
        assert "one process for TemperatureExtrapolator, got 2" in str(found["alone"])


def test_alone_nothing_is_exchanged() -> None:
    module, x, y, _ = problem()
    assert share(7) == 1.0
    outcome = minimise(
        module,
        lambda rows: ((module(x[rows]) - y[rows]) ** 2).mean(),
        lambda: 0.0,
        iter([torch.arange(12)] * 3),
        Plan(2, 1e-2, 12),
    )
    assert outcome.n_iter == 2
