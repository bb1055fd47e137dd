"""Which device a fit takes, and that what was trained on a GPU answers the same on a processor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import quick_extrapolator, quick_latf
from hypothesis import given
from hypothesis import strategies as st

from latflow import LaTFEstimator, load, save
from latflow.estimators.seam import pays_on_gpu, pick_device

ON_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU")
SIZES = st.integers(1, 5000)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torch say that there is a GPU; nothing runs on it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


def taken(n_features: int, **options: Any) -> str:
    """Return the device that "auto" means."""
    return LaTFEstimator(**options)._device(n_features).type


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(
    ("n_features", "options", "device"),
    [
        (7, {}, "cpu"),  # LJ7: measured, 5.0 s on a thread and 9.4 s on an H100
        (200, {}, "cpu"),
        (1000, {}, "cuda"),
        (20_000, {}, "cuda"),
        (20_000, {"encoder": "linear"}, "cuda"),
        (1000, {"encoder": "linear"}, "cpu"),
        (7, {"batch_size": 8192}, "cuda"),
        (7, {"hidden_features": (256, 256)}, "cuda"),
        (1000, {"n_threads": 16}, "cpu"),
    ],
)
def test_auto_takes_a_gpu_for_wide_features_and_large_batches(
    n_features: int, options: dict[str, Any], device: str
) -> None:
    assert taken(n_features, **options) == device


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("n_features", [7, 20_000])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_device_that_is_asked_for_is_taken(n_features: int, device: str) -> None:
    assert taken(n_features, device=device) == device


def test_without_a_gpu_auto_is_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto", pays=True).type == "cpu"


@given(SIZES, SIZES, SIZES, st.integers(1, 64))
def test_more_work_never_speaks_against_a_gpu_nor_more_threads_for_it(
    rows: int, n_features: int, width: int, threads: int
) -> None:
    widths = (n_features, width, 2)
    pays = pays_on_gpu(rows, widths, threads)
    assert pays_on_gpu(2 * rows, widths, threads) >= pays
    assert pays_on_gpu(rows, (2 * n_features, width, 2), threads) >= pays
    assert pays_on_gpu(rows, widths, 2 * threads) <= pays


# ------------------------------------------------------------------ where there is a GPU


def answers(model: Any, X: Any) -> list[np.ndarray]:
    """Return what a fitted extrapolator says of frames and of temperatures."""
    return [
        np.concatenate(model.transform(X)),
        np.concatenate(model.predict(X)),
        model.state_populations([0.5, 1.0]).to_numpy(),
        model.sample(100, temperature=1.0, random_state=0),
    ]


def fitted(three_hole: dict[str, Any]) -> Any:
    model = quick_extrapolator(quick_latf(device="cuda"), n_bootstraps=10)
    return model.fit(three_hole["trajectories"], temperature=three_hole["temperature"])


@ON_GPU
def test_two_fits_on_a_gpu_are_equal_to_the_bit(three_hole: dict[str, Any]) -> None:
    X = three_hole["trajectories"]
    for first, second in zip(
        answers(fitted(three_hole), X), answers(fitted(three_hole), X), strict=True
    ):
        np.testing.assert_array_equal(first, second)


@ON_GPU
def test_a_model_saved_on_a_gpu_answers_the_same_on_a_processor(
    three_hole: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, model = three_hole["trajectories"], fitted(three_hole)
    save(model, tmp_path / "model.latflow")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    again = load(tmp_path / "model.latflow")
    for first, second in zip(answers(model, X), answers(again, X), strict=True):
        np.testing.assert_array_equal(first, second)
