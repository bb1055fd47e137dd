"""Lists of trajectories: what counts as one, joining it, and list in, list out."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latflow._validation import check_finite
from latflow.trajectories.rows import Rows, is_on_disk

__all__ = ["TrajectoryListMixin", "concatenate", "is_trajectory_list", "per_trajectory", "spread"]


def is_trajectory_list(X: object) -> bool:
    """Whether X is a list of 2-D arrays (a list of rows is one array)."""
    return isinstance(X, list) and any(getattr(x, "ndim", 0) == 2 for x in X)


def check_widths(arrays: Sequence[NDArray[Any]]) -> None:
    if not arrays:
        raise ValueError("Expected at least one trajectory, got an empty list.")
    for t, array in enumerate(arrays):
        if array.ndim != 2:
            raise ValueError(
                f"Expected trajectory {t} of shape (n_frames, n_features), got {array.shape}."
            )
        if array.shape[0] == 0:
            raise ValueError(f"Expected frames in every trajectory, got none in trajectory {t}.")
        if array.shape[1] != arrays[0].shape[1]:
            raise ValueError(
                f"Expected {arrays[0].shape[1]} features in every trajectory, as in trajectory 0, "
                f"got {array.shape[1]} in trajectory {t}."
            )


def concatenate(trajectories: Sequence[Any]) -> Any:
    """Join trajectories along time; DataFrames keep their column names."""
    if all(hasattr(t, "iloc") for t in trajectories):
        import pandas as pd

        columns = list(trajectories[0].columns)
        for number, frame in enumerate(trajectories):
            if set(frame.columns) != set(columns):
                raise ValueError(
                    f"Expected the columns {columns} in every trajectory, as in trajectory 0, got "
                    f"{list(frame.columns)} in trajectory {number}."
                )

        return pd.concat(trajectories, ignore_index=True)
    return np.concatenate([np.asarray(t) for t in trajectories])


def spread(values: Any, lengths: Sequence[int], name: str) -> NDArray[Any]:
    """Return one value per frame from one number, or one array, per trajectory."""
    n_entries = 0 if np.isscalar(values) or getattr(values, "ndim", 1) == 0 else len(values)
    if n_entries != len(lengths):
        got = f"{n_entries}" if n_entries else "a single number or nothing"
        raise ValueError(
            f"Expected `{name}` to hold one entry per trajectory ({len(lengths)}), got {got}."
        )
    parts = []
    for t, (entry, n) in enumerate(zip(values, lengths, strict=True)):
        array = np.asarray(entry)
        if array.shape not in ((), (n,)):
            raise ValueError(
                f"Expected `{name}` of trajectory {t} to be a number or one value per frame, "
                f"shape ({n},), got {array.shape}."
            )
        parts.append(np.broadcast_to(array, (n,)))
    joined = np.concatenate(parts)
    real = name in ("temperature", "weights", "energy")
    return joined.astype(np.float64, copy=False) if real else joined


def per_trajectory(method: Callable[..., Any]) -> Callable[..., Any]:
    """Let a frame-wise method take a list of trajectories, and return a list then."""

    @wraps(method)
    def wrapper(self: Any, X: Any, *args: Any, **kwargs: Any) -> Any:
        if not is_trajectory_list(X):
            return method(self, X, *args, **kwargs)
        X = [Rows([x], first=t) if is_on_disk(x) else x for t, x in enumerate(X)]
        for t, x in enumerate(X):
            if not isinstance(x, Rows):  # those are checked as they are read
                n = np.shape(x)[0]
                check_finite(np.asarray(x), np.full(n, t), np.arange(n))

        def own(value: Any, t: int) -> Any:
            return value[t] if isinstance(value, list) and len(value) == len(X) else value

        return [
            method(self, x, *(own(a, t) for a in args), **{k: own(v, t) for k, v in kwargs.items()})
            for t, x in enumerate(X)
        ]

    return wrapper


class TrajectoryListMixin:
    """List in, list out, for frame-wise methods; stands first among the bases.

    Its `__init_subclass__` finishes after scikit-learn's, so that the list branch sits outside
    the `set_output` wrapper of `transform`; that wrapper comes off `fit_transform`, whose inner
    `transform` has already wrapped.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in ("transform", "predict", "predict_proba", "score_samples"):
            if inspect.isfunction(cls.__dict__.get(name)):
                setattr(cls, name, per_trajectory(cls.__dict__[name]))
        if "fit_transform" in cls.__dict__:
            wrapped = cls.__dict__["fit_transform"]
            cls.fit_transform = getattr(wrapped, "__wrapped__", wrapped)  # type: ignore[attr-defined]
