"""What each container of frames means, to `fit` and to every other call.

========================================  =========================================================
container                                 meaning
========================================  =========================================================
2-D array, data frame, nested list of     one array of frames, a row each
depth 2
list of 2-D arrays, of data frames, or    trajectories
nested list of depth 3
list of 1-D arrays or of series           trajectories of one feature
data set of deeptime                      its trajectories, or its pairs
1-D array, flat list                      refused, as scikit-learn refuses it
3-D array                                 refused: ``list(X)`` says that they are trajectories
tuple                                     refused: deeptime reads one as pairs
masked array                              refused where anything is masked, else its data
========================================  =========================================================

Arrays are whatever numpy can read: of numpy, memory maps, zarr, h5py, pandas, polars.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from itertools import pairwise
from typing import Any, TypeGuard, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from latflow._validation import unmasked
from latflow.trajectories.features import TrajectoryList
from latflow.trajectories.passes import check_finite
from latflow.trajectories.rows import Rows, is_on_disk, on_disk

Estimator = TypeVar("Estimator", bound=type)
FRAME_WISE = ("transform", "predict", "predict_proba", "score_samples")
ONE_PASS = ("transform", "predict")  # of these methods, over all trajectories


def is_trajectory_list(X: object) -> TypeGuard[list[Any]]:
    """Return whether X is a list of trajectories; see the table of this module."""
    return isinstance(X, list) and any(_is_trajectory(x) for x in X)


def _is_trajectory(x: object) -> bool:
    if isinstance(x, list):  # of rows, which are lists or arrays
        return bool(x) and isinstance(x[0], list | np.ndarray) and np.ndim(x[0]) == 1
    return len(getattr(x, "shape", ())) > 0


def as_container(X: object) -> Any:
    """Return a list of 2-D arrays for a list of trajectories, and else one array, unchecked.

    Raises
    ------
    ValueError
        For containers that have no meaning; see the table of this module.
    """
    if isinstance(X, tuple):
        raise ValueError(
            "Expected `X` to be a list of trajectories or one array, got a tuple, which could mean "
            "pairs: use a list, or deeptime's TimeLaggedDataset for pairs."
        )
    if is_trajectory_list(X):
        arrays = [_array_of(x, f"trajectory {t}") for t, x in enumerate(X)]
        if all(len(x.shape) == 1 for x in arrays):
            return [np.asanyarray(x)[:, None] for x in arrays]
        return arrays
    shape = getattr(X, "shape", ())
    if len(shape) == 3:
        raise ValueError(
            f"Expected `X` of shape (n_frames, n_features) or a list of such arrays, got a 3-D "
            f"array of shape {shape}: pass list(X) if each entry is a trajectory."
        )
    return _numbers(unmasked(X, "`X`"))


def _array_of(x: Any, name: str) -> Any:
    """Return a trajectory as an array or a data frame of pandas."""
    x = unmasked(x, name)
    if isinstance(x, list):
        x = np.asarray(x)
    if hasattr(x, "columns") and not isinstance(x, pd.DataFrame):  # of polars, say
        x = pd.DataFrame(np.asarray(x), columns=list(x.columns))
    return _numbers(x if hasattr(x, "shape") else np.asarray(x))


def _numbers(x: Any) -> Any:
    """Return objects that are numbers, or missing ones of pandas, as numbers; others as they are.

    So that what is missing is found, and named, where it is.
    """
    frame = isinstance(x, pd.DataFrame)
    if frame and not x.shape[1]:  # of which scikit-learn asks for the dtype
        raise ValueError("Expected at least one feature, got a data frame without columns.")
    kinds = x.dtypes if frame else [getattr(x, "dtype", None)]
    if len(getattr(x, "shape", ())) != 2 or all(_is_plain(kind) for kind in kinds):
        return x
    try:
        objects = np.asarray(x, dtype=object)
        numbers = np.where(pd.isna(objects), np.nan, objects).astype(np.float64)
    except (TypeError, ValueError):
        return x  # scikit-learn says what is wrong
    return pd.DataFrame(numbers, index=x.index, columns=x.columns) if frame else numbers


def _is_plain(dtype: Any) -> bool:
    return not pd.api.types.is_extension_array_dtype(dtype) and dtype != np.dtype(object)


def check_widths(arrays: Sequence[Any]) -> None:
    """Raise a ValueError where trajectories differ in width, lack frames, or are not 2-D."""
    if not arrays:
        raise ValueError("Expected at least one trajectory, got an empty list.")
    for t, array in enumerate(arrays):
        if len(array.shape) != 2:
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
    """Join trajectories along time; data frames keep the names of their columns."""
    if not all(isinstance(x, pd.DataFrame) for x in trajectories):
        return np.concatenate([np.asarray(x) for x in trajectories])
    columns = list(trajectories[0].columns)
    for t, frame in enumerate(trajectories):
        if set(frame.columns) != set(columns):
            raise ValueError(
                f"Expected the columns {columns} in every trajectory, as in trajectory 0, got "
                f"{list(frame.columns)} in trajectory {t}."
            )
    return pd.concat(list(trajectories), ignore_index=True)


def per_frame(values: Any, lengths: Sequence[int], name: str) -> NDArray[Any]:
    """Return one value per frame from one number, or one array, per trajectory.

    Parameters
    ----------
    values : sequence with one entry per trajectory
    lengths : sequence of int
        Frames of each trajectory.
    name : str
        What the errors call the values.

    Raises
    ------
    ValueError
        If there is not one entry per trajectory, or an entry has not one value per frame.
    """
    n_entries = 0 if np.isscalar(values) or getattr(values, "ndim", 1) == 0 else len(values)
    if n_entries != len(lengths):
        got = f"{n_entries}" if n_entries else "a single number or nothing"
        raise ValueError(
            f"Expected `{name}` to hold one entry per trajectory ({len(lengths)}), got {got}."
        )
    parts = []
    for t, (entry, n) in enumerate(zip(values, lengths, strict=True)):
        array = np.asarray(unmasked(entry, f"`{name}` of trajectory {t}"))
        if array.shape not in ((), (n,)):
            raise ValueError(
                f"Expected `{name}` of trajectory {t} to be a number or one value per frame, "
                f"shape ({n},), got {array.shape}."
            )
        parts.append(np.broadcast_to(array, (n,)))
    joined = np.concatenate(parts)
    real = name in ("temperature", "weights", "energy", "pressure", "volume")
    return joined.astype(np.float64, copy=False) if real else joined


def stack(
    trajectories: Sequence[ArrayLike], **metadata: Sequence[ArrayLike]
) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
    """Stack a list of trajectories into one array and the metadata its rows need.

    Parameters
    ----------
    trajectories : list of array_like of shape (n_frames_i, n_features)
    **metadata : list with one entry per trajectory
        For example ``temperature=[300, 450]``; each entry a number or one value per frame.

    Returns
    -------
    X : ndarray of shape (n_frames, n_features)
    metadata : dict of ndarray of shape (n_frames,)
        `trajectory`, `frame` and what was given.

    Raises
    ------
    ValueError
        If a list of metadata has not one entry per trajectory.

    Examples
    --------
    >>> X, metadata = stack([[[0.0], [1.0]], [[2.0]]], temperature=[300, 450])
    >>> X.shape, metadata["trajectory"].tolist(), metadata["temperature"].tolist()
    ((3, 1), [0, 0, 1], [300.0, 300.0, 450.0])
    """
    arrays = [np.asarray(x) for x in as_container(list(trajectories))]
    check_widths(arrays)
    lengths = [len(a) for a in arrays]
    rows = {
        "trajectory": np.repeat(np.arange(len(arrays)), lengths),
        "frame": np.concatenate([np.arange(n) for n in lengths]),
    }
    rows |= {name: per_frame(values, lengths, name) for name, values in metadata.items()}
    return np.concatenate(arrays), rows


# ------------------------------------------------------------------ lists in, lists out


def list_aware(cls: Estimator) -> Estimator:
    """Let the frame-wise methods of a class take a list of trajectories, and return a list then.

    A class decorator. It comes after scikit-learn's own wrappers of `set_output`, so that the
    list is taken apart outside of them; the wrapper comes off `fit_transform`, whose inner
    `transform` has already wrapped. A subclass that overrides such a method applies it again.
    """
    for name in FRAME_WISE:
        method = cls.__dict__.get(name)
        if inspect.isfunction(method):
            setattr(cls, name, per_trajectory(method))
    if "fit_transform" in cls.__dict__:
        wrapped = cls.__dict__["fit_transform"]
        setattr(cls, "fit_transform", getattr(wrapped, "__wrapped__", wrapped))  # noqa: B010
    return cls


def per_trajectory(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a frame-wise method that takes a list of trajectories too, and returns a list then.

    Other arguments have an entry per trajectory, as those of `fit`, or are one number for all.
    """

    @wraps(method)
    def wrapper(self: object, X: object, *args: object, **kwargs: object) -> object:
        X = as_container(X)
        if not isinstance(X, list) or not is_trajectory_list(X):
            return method(self, X, *args, **kwargs)
        if method.__name__ in ONE_PASS and getattr(self, "_takes_rows", False) and _reads_as_one(X):
            rows = Rows(X, apart=True)
            return TrajectoryList(_cut(method(self, rows), rows.lengths))
        X = [_readable(x, t) for t, x in enumerate(X)]

        names = [*inspect.signature(method).parameters][2:]
        given = dict(zip(names, args, strict=False)) | kwargs
        each = {name: _entries(value, X, name) for name, value in given.items()}
        return TrajectoryList(
            method(self, x, **{name: values[t] for name, values in each.items()})
            for t, x in enumerate(X)
        )

    return wrapper


def _reads_as_one(X: list[Any]) -> bool:
    """Whether trajectories on disk can be read in one pass, and joblib's workers share them all."""
    kinds = {(getattr(x, "dtype", None), x.shape[1:]) for x in X}
    return len(kinds) == 1 and all(map(on_disk, X)) and is_on_disk(X)


def _cut(joined: Any, lengths: Sequence[int]) -> Iterator[Any]:
    """Yield rows of an array, or of a data frame, trajectory by trajectory."""
    for start, stop in pairwise([0, *np.cumsum(lengths).tolist()]):
        piece = joined[start:stop]
        yield piece.reset_index(drop=True) if isinstance(piece, pd.DataFrame) else piece


def _entries(value: Any, X: list[Any], name: str) -> Sequence[Any]:
    """Return one value, or one array of a value per frame, for each trajectory."""
    if value is None or not np.iterable(value):
        return [value] * len(X)
    values = list(value)
    per_frame(values, [x.shape[0] for x in X], name)
    return values


def _readable(x: Any, t: int) -> Any:
    """Return a trajectory, checked for finite numbers, or its rows on disk, checked as read."""
    if is_on_disk(x):
        return Rows([x], first=t)
    n = x.shape[0]
    check_finite(np.asarray(x), np.full(n, t), np.arange(n))
    return x
