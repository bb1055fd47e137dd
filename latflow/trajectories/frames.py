"""Either convention of input, validated: the frames of all trajectories, stacked."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import validate_data

from latflow._validation import (
    check_finite,
    check_per_frame,
    check_temperatures,
    check_weights,
)
from latflow.trajectories.lists import check_widths, concatenate, is_trajectory_list, spread
from latflow.trajectories.pairs import lagged_pairs, places
from latflow.trajectories.rows import Rows, is_on_disk

__all__ = ["FRAME_METADATA", "Frames", "check_rows", "gather_frames", "stack"]

FRAME_METADATA = ("trajectory", "frame", "temperature", "weights", "initial_states")

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Frames:
    """Validated frames of all trajectories, stacked.

    Attributes
    ----------
    X : ndarray of shape (n_frames, n_features), or Rows
        Rows of what stays on disk.
    trajectory, frame : ndarray of shape (n_frames,)
        Trajectory number and place in it; frames of one trajectory whose places differ by 1 are
        neighbours in time.
    temperature : ndarray of shape (n_frames,) or None
        None where the caller gave none.
    weights : ndarray of shape (n_frames,)
        Mean 1.
    weight_scale : float
        The mean that was divided out.
    initial_states : ndarray of shape (n_frames,) or None
    energy : ndarray of shape (n_frames,) or None
    pairs : tuple of two ndarrays of shape (n_pairs,)
        Rows (i, j) of all pairs one lagtime apart.
    ordered : bool
        Whether the caller said where trajectories begin and end.
    """

    X: Any
    trajectory: IntArray
    frame: IntArray
    temperature: FloatArray | None
    weights: FloatArray
    weight_scale: float
    initial_states: IntArray | None
    energy: FloatArray | None
    pairs: tuple[IntArray, IntArray]
    ordered: bool

    def __sizeof__(self) -> int:
        """Return the bytes of the arrays: Dask scatters what says that it is large, once."""
        arrays = [value for value in vars(self).values() if isinstance(value, np.ndarray)]
        return sum(array.nbytes for array in (*arrays, *self.pairs))


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
    check_widths(arrays)
    lengths = [len(a) for a in arrays]
    rows = {
        "trajectory": np.repeat(np.arange(len(arrays)), lengths),
        "frame": np.concatenate([np.arange(n) for n in lengths]),
    }
    rows |= {name: spread(values, lengths, name) for name, values in metadata.items()}
    return np.concatenate(arrays), rows


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
        trajectory, frame, metadata = read_index(X, trajectory, frame, metadata)
    X = check_rows(estimator, X, reset=reset)
    ordered = from_list or bare_pairs is not None or trajectory is not None or frame is not None
    ids, place = places(len(X), trajectory, frame)
    check_finite(X, ids if trajectory is None else np.asarray(trajectory), place)
    t, energy = metadata["temperature"], metadata["energy"]
    t = None if t is None else check_temperatures(t, len(X))
    pairs = (np.empty(0, dtype=np.int64),) * 2 if bare_pairs is None else bare_pairs
    if bare_pairs is None and lagtime is not None:
        pairs = lagged_pairs(len(X), lagtime, trajectory=ids, frame=place, temperature=t)
        _check_pairs(pairs, X, ids, lagtime)
    given = metadata["weights"]
    return Frames(
        X=X,
        trajectory=ids,
        frame=place,
        temperature=t,
        weights=check_weights(given, len(X)),
        weight_scale=1.0 if given is None else float(np.mean(given)),
        initial_states=_check_states(metadata["initial_states"], len(X)),
        energy=None if energy is None else check_per_frame(energy, len(X), "energy"),
        pairs=pairs,
        ordered=ordered,
    )


def check_rows(estimator: Any, X: Any, *, reset: bool) -> Any:
    """Check kind and width of rows as scikit-learn does; of rows on disk by a sample of them."""
    if is_on_disk(X):
        X = Rows([X])
    checked = validate_data(
        estimator,
        X.sample() if isinstance(X, Rows) else X,
        reset=reset,
        dtype=[np.float64, np.float32],
        ensure_all_finite=False,
        ensure_min_samples=2 if reset else 1,
    )
    return X if isinstance(X, Rows) else checked


def _is_dataset(X: object) -> bool:
    return hasattr(X, "data_lagged") or hasattr(X, "subsets")


def _open_list(X: Any, trajectory: Any, frame: Any, metadata: dict[str, Any]) -> Any:
    if trajectory is not None or frame is not None:
        raise ValueError(
            "Expected no `trajectory` or `frame` with a list of trajectories: the list says both."
        )
    check_widths(X)
    lengths = [x.shape[0] for x in X]
    metadata = {
        name: None if values is None else spread(values, lengths, name)
        for name, values in metadata.items()
    }
    ids = np.repeat(np.arange(len(X)), lengths)
    place = np.concatenate([np.arange(n) for n in lengths])
    return Rows(X) if is_on_disk(X) else concatenate(X), ids, place, metadata


def read_index(X: Any, trajectory: Any, frame: Any, metadata: dict[str, Any]) -> Any:
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


def _check_pairs(pairs: tuple[IntArray, IntArray], X: Any, ids: IntArray, lagtime: int) -> None:
    n_pairs, n_trajectories = len(pairs[0]), int(ids.max()) + 1
    if n_pairs == 0:
        raise ValueError(
            f"Expected a trajectory longer than lagtime={lagtime} frames, got none with two frames "
            f"that far apart and no gap between (n_samples={X.shape[0]}, n_features={X.shape[1]}, "
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
