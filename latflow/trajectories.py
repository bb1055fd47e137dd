"""How frames keep their order: lists, stacked arrays, lagged pairs, blocks.

Two conventions of input mean the same: a list of arrays, one per trajectory, or one stacked array
whose rows carry metadata (`trajectory`, `frame`, `temperature`, `weights`, `initial_states`).
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_consistent_length, column_or_1d, validate_data

from latflow._validation import (
    check_finite,
    check_per_frame,
    check_temperatures,
    check_weights,
)

__all__ = ["Frames", "TrajectoryListMixin", "gather_frames", "lagged_pairs", "stack"]

FEWEST_BLOCKS = 10
FRAME_METADATA = ("trajectory", "frame", "temperature", "weights", "initial_states")

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Frames:
    """Validated frames of all trajectories, stacked.

    Attributes
    ----------
    X : ndarray of shape (n_frames, n_features)
    trajectory, frame : ndarray of shape (n_frames,)
        Trajectory number and place in it; frames of one trajectory whose places differ by 1 are
        neighbours in time.
    temperature : ndarray of shape (n_frames,) or None
        None where the caller gave none.
    weights : ndarray of shape (n_frames,)
        Mean 1.
    initial_states : ndarray of shape (n_frames,) or None
    energy : ndarray of shape (n_frames,) or None
    pairs : tuple of two ndarrays of shape (n_pairs,)
        Rows (i, j) of all pairs one lagtime apart.
    ordered : bool
        Whether the caller said where trajectories begin and end.
    """

    X: FloatArray
    trajectory: IntArray
    frame: IntArray
    temperature: FloatArray | None
    weights: FloatArray
    initial_states: IntArray | None
    energy: FloatArray | None
    pairs: tuple[IntArray, IntArray]
    ordered: bool


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
    arrays = [np.asarray(t) for t in trajectories]
    _check_widths(arrays)
    lengths = [len(a) for a in arrays]
    rows = {
        "trajectory": np.repeat(np.arange(len(arrays)), lengths),
        "frame": np.concatenate([np.arange(n) for n in lengths]),
    }
    rows |= {name: spread(values, lengths, name) for name, values in metadata.items()}
    return np.concatenate(arrays), rows


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
    return joined.astype(np.float64) if name in ("temperature", "weights", "energy") else joined


def lagged_pairs(
    n_frames: int,
    lagtime: int,
    *,
    trajectory: ArrayLike | None = None,
    frame: ArrayLike | None = None,
    temperature: ArrayLike | None = None,
) -> tuple[IntArray, IntArray]:
    """Return rows (i, j) of all pairs exactly `lagtime` frames apart in one trajectory.

    A pair never crosses the end of a trajectory, a gap in `frame`, or a change of temperature.
    With `frame` given the rows may stand in any order.

    Parameters
    ----------
    n_frames : int
    lagtime : int
        In frames.
    trajectory : array_like of shape (n_frames,), optional
        Trajectory ids; one trajectory if not given.
    frame : array_like of int of shape (n_frames,), optional
        Place in the trajectory; without it the rows of a trajectory are gap-free, in order.
    temperature : array_like of shape (n_frames,), optional

    Returns
    -------
    i, j : ndarray of shape (n_pairs,)

    Raises
    ------
    ValueError
        If two rows have the same trajectory and frame.

    Examples
    --------
    >>> i, j = lagged_pairs(5, 1, trajectory=[0, 0, 0, 1, 1])
    >>> i.tolist(), j.tolist()
    ([0, 1, 3], [1, 2, 4])
    """
    ids, place = _places(n_frames, trajectory, frame)
    order = np.lexsort((place, ids))
    ids, place = ids[order], place[order]
    step = (np.diff(ids) != 0) | (np.diff(place) != 1)
    if n_frames > 1 and ((np.diff(ids) == 0) & (np.diff(place) == 0)).any():
        raise ValueError(
            "Expected every (trajectory, frame) once, got two rows with the same: give every "
            "trajectory its own id, also across temperatures, and do not repeat rows."
        )
    if temperature is not None:
        step |= np.diff(np.asarray(temperature)[order]) != 0
    segment = np.concatenate([[0], np.cumsum(step)])
    # within a segment neighbours are one frame apart, so `lagtime` rows on is `lagtime` frames on
    first = np.flatnonzero(segment[: max(n_frames - lagtime, 0)] == segment[lagtime:])
    return order[first], order[first + lagtime]


def time_blocks(trajectory: IntArray, frame: IntArray, *, length: int) -> IntArray:
    """Cut every trajectory into contiguous blocks of about `length` frames; a block id per row."""
    order = np.lexsort((frame, trajectory))
    sizes = np.unique(trajectory[order], return_counts=True)[1]
    counts = np.maximum(1, sizes // max(1, length))
    place = np.concatenate([np.arange(n) * b // n for n, b in zip(sizes, counts, strict=True)])
    first = np.repeat(np.cumsum(counts) - counts, sizes)
    blocks = np.empty(len(order), dtype=np.int64)
    blocks[order] = first + place
    return blocks


def held_out_rows(
    frames: Frames, fraction: float, lagtime: int, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Mark about `fraction` of each temperature's rows: contiguous blocks, never single frames.

    Blocks are at least five lagtimes long. Where the data are too short for one, none is marked.
    """
    held_out = np.zeros(len(frames.X), dtype=bool)
    temperature = np.zeros(len(held_out)) if frames.temperature is None else frames.temperature
    length = max(5 * lagtime, round(len(held_out) * fraction / 20))
    blocks = time_blocks(frames.trajectory, frames.frame, length=length)
    for value in np.unique(temperature):
        rows = np.flatnonzero(temperature == value)
        ids, sizes = np.unique(blocks[rows], return_counts=True)
        order = rng.permutation(len(ids))
        wanted = fraction * len(rows)
        chosen = order[np.cumsum(sizes[order]) <= wanted]
        if len(chosen) == 0 and sizes[order[0]] <= 2 * wanted and len(ids) > 1:
            chosen = order[:1]
        held_out[rows[np.isin(blocks[rows], ids[chosen])]] = True
    return held_out


def independent_blocks(frames: Frames) -> IntArray:
    """Return blocks taken as independent, at least ten a temperature where frames allow.

    They are whole trajectories, or contiguous pieces where a temperature has few of them.
    """
    temperature = np.zeros(len(frames.X)) if frames.temperature is None else frames.temperature
    blocks = np.empty(len(frames.X), dtype=np.int64)
    n_blocks = int(frames.trajectory.max()) + 1
    for value in np.unique(temperature):
        rows = np.flatnonzero(temperature == value)
        own = frames.trajectory[rows]
        if len(np.unique(own)) < FEWEST_BLOCKS:
            length = max(1, len(rows) // FEWEST_BLOCKS)
            own = n_blocks + time_blocks(own, frames.frame[rows], length=length)
            n_blocks = int(own.max()) + 1
        blocks[rows] = own
    return blocks


# ------------------------------------------------------------------ what is X?


def is_trajectory_list(X: object) -> bool:
    """Whether X is a list of 2-D arrays (a list of rows is one array)."""
    return isinstance(X, list) and any(getattr(x, "ndim", 0) == 2 for x in X)


def _is_dataset(X: object) -> bool:
    return hasattr(X, "data_lagged") or hasattr(X, "subsets")


def _check_widths(arrays: Sequence[NDArray[Any]]) -> None:
    if not arrays:
        raise ValueError("Expected at least one trajectory, got an empty list.")
    for t, array in enumerate(arrays):
        if array.ndim != 2:
            raise ValueError(
                f"Expected trajectory {t} of shape (n_frames, n_features), got {array.shape}."
            )
        if len(array) == 0:
            raise ValueError(f"Expected frames in every trajectory, got none in trajectory {t}.")
        if array.shape[1] != arrays[0].shape[1]:
            raise ValueError(
                f"Expected {arrays[0].shape[1]} features in every trajectory, as in trajectory 0, "
                f"got {array.shape[1]} in trajectory {t}."
            )


def gather_frames(
    estimator: Any,
    X: Any,
    *,
    lagtime: int | None,
    reset: bool,
    trajectory: ArrayLike | None = None,
    frame: ArrayLike | None = None,
    **metadata: Any,
) -> Frames:
    """Validate either convention of input and return its frames; nothing of the caller's changes.

    No pairs are sought where `lagtime` is None.

    Raises
    ------
    ValueError
        For a tuple, NaN or infinite features (the trajectory and frame are named), trajectories of
        different width, temperatures or weights that do not fit, or a lagtime without any pair.
    """
    metadata = dict.fromkeys(("temperature", "weights", "initial_states", "energy")) | metadata
    if isinstance(X, tuple):
        raise ValueError(
            "Expected `X` to be a list of trajectories or one array, got a tuple, which could mean "
            "pairs: use a list, or deeptime's TimeLaggedDataset for pairs."
        )
    bare_pairs = None
    if _is_dataset(X):
        X, bare_pairs, metadata = _open_dataset(X, lagtime, metadata)
    from_list = is_trajectory_list(X)
    if from_list:
        X, trajectory, frame, metadata = _open_list(X, trajectory, frame, metadata)
    else:
        trajectory, frame, metadata = _read_index(X, trajectory, frame, metadata)
    X = _validate_array(estimator, X, reset)
    ordered = from_list or bare_pairs is not None or trajectory is not None or frame is not None
    ids, place = _places(len(X), trajectory, frame)
    check_finite(X, ids if trajectory is None else np.asarray(trajectory), place)
    t, energy = metadata["temperature"], metadata["energy"]
    t = None if t is None else check_temperatures(t, len(X))
    pairs = (np.empty(0, dtype=np.int64),) * 2 if bare_pairs is None else bare_pairs
    if bare_pairs is None and lagtime is not None:
        pairs = lagged_pairs(len(X), lagtime, trajectory=ids, frame=place, temperature=t)
        _check_pairs(pairs, X, ids, lagtime)
    return Frames(
        X=X,
        trajectory=ids,
        frame=place,
        temperature=t,
        weights=check_weights(metadata["weights"], len(X)),
        initial_states=_check_states(metadata["initial_states"], len(X)),
        energy=None if energy is None else check_per_frame(energy, len(X), "energy"),
        pairs=pairs,
        ordered=ordered,
    )


def _validate_array(estimator: Any, X: Any, reset: bool) -> FloatArray:
    return validate_data(  # type: ignore[no-any-return]
        estimator,
        X,
        reset=reset,
        dtype=[np.float64, np.float32],
        ensure_all_finite=False,
        ensure_min_samples=2 if reset else 1,
    )


def _open_list(X: Any, trajectory: Any, frame: Any, metadata: dict[str, Any]) -> Any:
    if trajectory is not None or frame is not None:
        raise ValueError(
            "Expected no `trajectory` or `frame` with a list of trajectories: the list says both."
        )
    _check_widths(X)
    lengths = [len(x) for x in X]
    metadata = {
        name: None if values is None else spread(values, lengths, name)
        for name, values in metadata.items()
    }
    ids = np.repeat(np.arange(len(X)), lengths)
    place = np.concatenate([np.arange(n) for n in lengths])
    return concatenate(X), ids, place, metadata


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


def _read_index(X: Any, trajectory: Any, frame: Any, metadata: dict[str, Any]) -> Any:
    """Take levels of a DataFrame's index named as metadata for metadata not given."""

    index: Any = getattr(X, "index", None)

    def level(name: str, given: Any) -> Any:
        if given is None and name in (getattr(index, "names", None) or ()):
            return np.asarray(index.get_level_values(name))
        return given

    metadata = {name: level(name, values) for name, values in metadata.items()}
    return level("trajectory", trajectory), level("frame", frame), metadata


def _open_dataset(dataset: Any, lagtime: int | None, metadata: dict[str, Any]) -> Any:
    """Trajectories of a deeptime data set as a list, or its bare pairs as rows and their pairs."""
    parts = list(dataset.subsets) if hasattr(dataset, "subsets") else [dataset]
    wrong = [p.lagtime for p in parts if getattr(p, "lagtime", lagtime) not in (lagtime, None)]
    wrong = [] if lagtime is None else wrong
    if wrong:
        raise ValueError(f"Expected a data set with lagtime {lagtime}, got lagtime {wrong[0]}.")
    if all(hasattr(p, "trajectory") for p in parts):
        return [np.asarray(p.trajectory) for p in parts], None, metadata
    n = sum(len(p) for p in parts)
    X = np.concatenate([p.data for p in parts] + [p.data_lagged for p in parts])
    twice = {k: None if v is None else np.tile(np.asarray(v), 2) for k, v in metadata.items()}
    return X, (np.arange(n), np.arange(n) + n), twice


def _places(
    n_frames: int, trajectory: ArrayLike | None, frame: ArrayLike | None
) -> tuple[IntArray, IntArray]:
    """Number the trajectories 0, 1, ... and return each row's trajectory and place in it."""
    ids = np.zeros(n_frames, dtype=np.int64)
    if trajectory is not None:
        given = column_or_1d(trajectory)
        check_consistent_length(ids, given)
        ids = np.unique(given, return_inverse=True)[1].astype(np.int64)
    if frame is not None:
        given = column_or_1d(frame)
        check_consistent_length(ids, given)
        place = given.astype(np.int64)
        if not np.array_equal(place, given):
            raise ValueError("Expected `frame` to hold integers, got fractions.")
        return ids, place
    order = np.argsort(ids, kind="stable")
    sizes = np.bincount(ids)
    place = np.empty(n_frames, dtype=np.int64)
    place[order] = np.concatenate([np.arange(n) for n in sizes])
    return ids, place


def _check_states(states: Any, n_frames: int) -> IntArray | None:
    if states is None:
        return None
    array = np.asarray(states)
    if array.shape != (n_frames,) or array.dtype.kind not in "iuf" or (array % 1 != 0).any():
        raise ValueError(
            f"Expected `initial_states` to hold one integer per frame ({n_frames}), "
            f"got shape {array.shape} of {array.dtype}."
        )
    return np.unique(array, return_inverse=True)[1].astype(np.int64)


def _check_pairs(
    pairs: tuple[IntArray, IntArray], X: FloatArray, ids: IntArray, lagtime: int
) -> None:
    n_pairs, n_trajectories = len(pairs[0]), int(ids.max()) + 1
    if n_pairs == 0:
        raise ValueError(
            f"Expected a trajectory longer than lagtime={lagtime} frames, got none with two frames "
            f"that far apart (n_samples={X.shape[0]}, n_features={X.shape[1]}, "
            f"{n_trajectories} trajectories)."
        )
    used = np.zeros(n_trajectories, dtype=bool)
    used[ids[pairs[0]]] = True
    if not used.all():
        lost = int(np.isin(ids, np.flatnonzero(~used)).sum())
        warnings.warn(
            f"{int((~used).sum())} of {n_trajectories} trajectories ({lost} frames) gave no pair "
            f"lagtime={lagtime} frames apart; they count for the density only.",
            UserWarning,
            stacklevel=4,
        )
    elif n_pairs < 0.5 * (len(X) - lagtime * n_trajectories):
        warnings.warn(
            f"Only {n_pairs} of {len(X)} frames have a partner lagtime={lagtime} frames later: "
            "were the rows split at random (shuffle=True) or subsampled?",
            UserWarning,
            stacklevel=4,
        )


# ------------------------------------------------------------------ list in, list out


def _per_trajectory(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def wrapper(self: Any, X: Any, *args: Any, **kwargs: Any) -> Any:
        if not is_trajectory_list(X):
            return method(self, X, *args, **kwargs)
        for t, x in enumerate(X):
            check_finite(np.asarray(x), np.full(len(x), t), np.arange(len(x)))

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
                setattr(cls, name, _per_trajectory(cls.__dict__[name]))
        if "fit_transform" in cls.__dict__:
            wrapped = cls.__dict__["fit_transform"]
            cls.fit_transform = getattr(wrapped, "__wrapped__", wrapped)  # type: ignore[attr-defined]
