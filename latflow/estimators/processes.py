"""Data that several processes hold in parts: made consistent before one model is fitted to all.

Where torch.distributed has more than one process, each fits with its own trajectories; see
docs/clusters.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from latflow.estimators.features import Standardised
from latflow.nn.distributed import gathered, n_processes, together
from latflow.trajectories import Frames

__all__ = ["check_alone", "common_frames", "common_sample", "common_values"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def common_frames(estimator: BaseEstimator, gather: Callable[[], Frames]) -> Frames:
    """Return this process's frames, their weights relative to all processes' mean.

    Parameters
    ----------
    estimator : BaseEstimator
        Its parameters are the same in all processes but for `random_state`, of which the first
        process's counts.
    gather : callable
        -> Frames, of the own data; the estimator then knows the names of the features.

    Raises
    ------
    ValueError
        In every process, where the data of one are wrong or do not fit those of the others.
    """
    parameters = estimator.get_params().items()
    own = {name: repr(value) for name, value in parameters if name != "random_state"}
    everyone = gathered(own)
    for name, value in own.items():
        values = sorted({theirs.get(name, "none") for theirs in everyone} | {value})
        if len(values) > 1:
            raise ValueError(
                f"Expected the same `{name}` in all processes, got {', '.join(values)}."
            )
    frames = together(gather)
    widths = gathered(frames.X.shape[1])
    if len(set(widths)) > 1:
        raise ValueError(f"Expected features of one width in all processes, got {widths}.")
    names = gathered(list(getattr(estimator, "feature_names_in_", ())))
    for theirs in names:
        if theirs != names[0]:
            raise ValueError(
                "Expected features of the same names in the same order in all processes, got "
                f"{_told(names[0])} in one and {_told(theirs)} in another."
            )
    given = gathered(frames.temperature is not None)
    if len(set(given)) > 1:
        raise ValueError(
            f"Expected `temperature` in all processes or in none, got it in {sum(given)} of "
            f"{len(given)}."
        )
    if any(gathered(frames.initial_states is not None)):
        raise ValueError(
            "Expected no `initial_states` with several processes, whose labels may mean other "
            "states, got some."
        )
    n, scale = map(np.array, zip(*gathered((len(frames.X), frames.weight_scale)), strict=True))
    return replace(frames, weights=frames.weights * (frames.weight_scale * n.sum() / (n @ scale)))


def _told(names: list[str]) -> str:
    return f"[{', '.join(names[:3])}{', ...' if len(names) > 3 else ''}]" if names else "none"


def common_values(values: FloatArray) -> FloatArray:
    """Return the different values of all processes, sorted."""
    return np.unique(np.concatenate(gathered(np.unique(values))))


def common_sample(
    x: Standardised, pairs: tuple[IntArray, IntArray], weights: FloatArray
) -> tuple[Standardised, tuple[IntArray, IntArray], FloatArray]:
    """Return pairs of all processes as rows, pairs and weights, the same in each."""
    i, j = pairs
    parts = zip(*gathered((x[i], x[j], weights[i])), strict=True)
    first, later, own = (np.concatenate(part) for part in parts)
    n, width = first.shape
    rows = np.concatenate([first, later])
    sample = Standardised(rows, np.zeros(width), np.ones(width))
    return sample, (np.arange(n), n + np.arange(n)), np.concatenate([own, own])


def check_alone(what: str) -> None:
    """Refuse what one process has to do alone."""
    if n_processes() > 1:
        raise ValueError(
            f"Expected one process for {what}, got {n_processes()}: fit its LaTFEstimator with all "
            "of them, end with torch.distributed.destroy_process_group(), and fit "
            f"{what}(FrozenEstimator(...)) in one, whose files may stay on disk."
        )
