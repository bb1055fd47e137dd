"""Frames: what was simulated, gathered and checked once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import validate_data

from latflow._typing import BoolArray, FloatArray, IntArray
from latflow._validation import (
    check_per_frame,
    check_temperatures,
    check_weights,
    one_at_a_time,
    unmasked,
    warn,
)
from latflow.trajectories.containers import (
    as_container,
    check_widths,
    concatenate,
    is_trajectory_list,
    per_frame,
)
from latflow.trajectories.pairs import lagged_pairs, places, time_blocks, time_segments
from latflow.trajectories.passes import check_finite, over_blocks
from latflow.trajectories.rows import Rows, is_large, is_on_disk
from latflow.units import Units

FRAME_METADATA = ("trajectory", "frame", "temperature", "weights", "initial_states", "dynamics")
SCORE_METADATA = tuple(name for name in FRAME_METADATA if name != "initial_states")
PER_FRAME = (
    "temperature", "weights", "initial_states", "energy", "pressure", "volume", "states", "dynamics"
)  # fmt: skip
FEWEST_BLOCKS = 10  # trajectories of a temperature that are taken whole; fewer are cut,
ROUNDING = 1e-11  # of a feature over its mean: less may be that of the sums over all frames
MOST_GAPS = 10  # numbers of states up to the last one, over the states that there are
CUT_BLOCKS = 20  # into about so many pieces

Block = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Frames:
    """What was simulated: the frames of all trajectories, stacked, with what is known of them.

    Attributes
    ----------
    X : ndarray of shape (n_frames, n_features), or Rows
        Features; Rows of what stays on disk, or is too large to be joined.
    trajectory, frame : ndarray of shape (n_frames,)
        Trajectory number and place in it; frames of one trajectory whose places differ by 1 are
        neighbours in time.
    temperatures : ndarray of shape (n_temperatures,)
        Simulated temperatures, ascending; one NaN where none was named.
    origin : ndarray of int32 of shape (n_frames,)
        Which of these temperatures each frame was simulated at.
    weights : ndarray of shape (n_frames,)
        Statistical weights, of mean 1 at each temperature.
    energy : ndarray of shape (n_frames,), or None
        Potential energy, with pV where pressure and volume were given.
    initial_states, states : ndarray of shape (n_frames,), or None
        Labels to start learning from, and labels that are the user's own.
    dynamics : ndarray of bool of shape (n_frames,), or None
        Whether each frame is followed in time by the next of its trajectory; None where all are.
        Frames without are equilibrium draws: they tell densities and nothing of time.
    ordered : bool
        Whether the caller said where trajectories begin and end.
    listed : bool
        Whether the frames came as a list of trajectories.
    feature_names : ndarray of str, or None
    manifest : mapping, or None
        How the features were made, where that is known.
    bare_pairs : tuple of two ndarrays of shape (n_pairs,), or None
        Pairs of rows that came instead of trajectories.
    """

    X: Any
    trajectory: IntArray
    frame: IntArray
    temperatures: FloatArray
    origin: IntArray
    weights: FloatArray
    energy: FloatArray | None = None
    initial_states: IntArray | None = None
    states: IntArray | None = None
    dynamics: BoolArray | None = None
    ordered: bool = True
    listed: bool = False
    feature_names: NDArray[np.str_] | None = None
    manifest: Mapping[str, Any] | None = None
    bare_pairs: tuple[IntArray, IntArray] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.trajectory)

    def __sizeof__(self) -> int:
        """Return the bytes of the arrays: Dask scatters what says that it is large, once."""
        return sum(a.nbytes for a in vars(self).values() if isinstance(a, np.ndarray))

    @property
    def named(self) -> bool:
        """Whether temperatures were given."""
        return not np.isnan(self.temperatures[0])

    @property
    def temperature(self) -> FloatArray:
        """The temperature of every frame."""
        return self.temperatures[self.origin]

    # -------------------------------------------------------------- in time

    def in_time(self) -> IntArray:
        """Return the rows that have dynamics, walker by walker and in the order of time."""
        order = np.lexsort((self.frame, self.trajectory))
        return order if self.dynamics is None else order[self.dynamics[order]]

    def pairs(self, lagtime: int) -> tuple[IntArray, IntArray]:
        """Return rows (i, j) of all pairs one lagtime apart.

        A pair never crosses the end of a trajectory, a gap, or a change of temperature.

        Raises
        ------
        ValueError
            If there is no such pair.

        Warns
        -----
        UserWarning
            If some trajectories give none, or few frames have a partner.
        """
        if self.bare_pairs is not None:
            return self.bare_pairs
        rows = slice(None) if self.dynamics is None else np.flatnonzero(self.dynamics)
        trajectory = self.trajectory[rows]
        if not len(trajectory):
            raise ValueError(
                "Expected a trajectory with dynamics, got equilibrium draws only "
                "(dynamics=False), which tell nothing of time: give the continuous walkers, or "
                "use an estimator that needs no time, as in "
                "TemperatureExtrapolator(PCA(2)).fit(..., states=...)."
            )
        first, later = lagged_pairs(
            len(trajectory), lagtime,
            trajectory=trajectory, frame=self.frame[rows], temperature=self.origin[rows],
        )  # fmt: skip
        self._check_pairs(trajectory, first, lagtime)
        return (first, later) if isinstance(rows, slice) else (rows[first], rows[later])

    def _check_pairs(self, trajectory: IntArray, first: IntArray, lagtime: int) -> None:
        unused = np.bincount(trajectory) > 0
        n_pairs, n_frames, n_trajectories = len(first), len(trajectory), int(unused.sum())
        if n_pairs == 0:
            raise ValueError(
                f"Expected a trajectory longer than lagtime={lagtime} frames, got none with two "
                f"frames that far apart and no gap between (n_samples={n_frames}, "
                f"n_features={self.X.shape[1]}, {n_trajectories} trajectories)."
            )
        unused[trajectory[first]] = False
        if unused.any():
            lost = int(unused[trajectory].sum())
            warn(
                f"{int(unused.sum())} of {n_trajectories} trajectories ({lost} frames) gave no "
                f"pair lagtime={lagtime} frames apart; they count for the density only."
            )
        elif n_pairs < 0.5 * (n_frames - lagtime * n_trajectories):
            warn(
                f"Only {n_pairs} of {n_frames} frames have a partner lagtime={lagtime} frames "
                "later: were the rows split at random (shuffle=True) or subsampled?"
            )

    def segments(self) -> list[IntArray]:
        """Return the rows of every gap-free piece of a trajectory at one temperature, in time."""
        if self.dynamics is None:
            return time_segments(self.trajectory, self.frame, self.origin)
        rows = np.flatnonzero(self.dynamics)
        walkers = (values[rows] for values in (self.trajectory, self.frame, self.origin))
        return [rows[segment] for segment in time_segments(*walkers)]

    def blocks(self) -> IntArray:
        """Return blocks taken as independent, ten or more a temperature where frames allow.

        They are whole trajectories, or contiguous pieces where a temperature has few of them.
        """
        blocks = np.empty(len(self), dtype=np.int64)
        n_blocks = int(self.trajectory.max()) + 1
        for k in range(len(self.temperatures)):
            rows = np.flatnonzero(self.origin == k)
            numbers = self.trajectory[rows]
            if len(np.unique(numbers)) < FEWEST_BLOCKS:
                length = max(1, len(rows) // CUT_BLOCKS)
                numbers = n_blocks + time_blocks(numbers, self.frame[rows], length=length)
                n_blocks = int(numbers.max()) + 1
            blocks[rows] = numbers
        return blocks

    def held_out(self, fraction: float, lagtime: int, rng: np.random.Generator) -> BoolArray:
        """Mark about `fraction` of each temperature's frames: contiguous blocks, never single ones.

        Blocks are at least five lagtimes long. Where the data are too short for one, none is
        marked.
        """
        mask = np.zeros(len(self), dtype=bool)
        length = max(5 * lagtime, round(len(self) * fraction / 20))
        blocks = time_blocks(self.trajectory, self.frame, length=length)
        for k in range(len(self.temperatures)):
            rows = np.flatnonzero(self.origin == k)
            ids, sizes = np.unique(blocks[rows], return_counts=True)
            order = rng.permutation(len(ids))
            most = fraction * len(rows)
            chosen = order[np.cumsum(sizes[order]) <= most]
            if len(chosen) == 0 and sizes[order[0]] <= 2 * most and len(ids) > 1:
                chosen = order[:1]
            mask[rows[np.isin(blocks[rows], ids[chosen])]] = True
        return mask

    # -------------------------------------------------------------- of the same frames

    def split(self, values: NDArray[Any]) -> Any:
        """Return one value per frame as the frames came: an array, or a list of trajectories."""
        if not self.listed:
            return values
        return np.split(values, np.cumsum(np.bincount(self.trajectory))[:-1])

    def with_features(self, X: NDArray[Any]) -> Frames:
        """Return the same frames, described by other features."""
        return replace(self, X=X, feature_names=None)

    def take(self, rows: BoolArray) -> Frames:
        """Return the frames of a mask of rows, with the temperatures that are left."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        of_all = ("X", "temperatures", "feature_names")
        kept: dict[str, Any] = {
            name: value[rows]
            for name, value in values.items()
            if name not in of_all and isinstance(value, np.ndarray)
        }
        left, origin = np.unique(kept["origin"], return_inverse=True)
        kept |= {"X": self.X[rows], "temperatures": self.temperatures[left]}
        kept |= {"origin": origin.astype(np.int32), "bare_pairs": None}
        return replace(self, **kept)

    @cached_property
    def moments(self) -> tuple[FloatArray, FloatArray]:
        """Weighted mean and variance of every feature, in one pass.

        Chan, Golub, LeVeque, Am. Stat. 37, 242 (1983).
        """
        total = 0.0
        mean, squares = np.zeros(self.X.shape[1]), np.zeros(self.X.shape[1])
        blocks = over_blocks(self.X, _block_moments, columns=(self.weights,), prepare=_double)
        for weight, here, within in blocks:
            if not weight:
                continue
            both = total + weight
            squares += within + (here - mean) ** 2 * (total * weight / both)
            mean += (here - mean) * (weight / both)
            total = both
        return mean, squares / total

    def scaling(self) -> tuple[FloatArray, FloatArray, BoolArray]:
        """Return mean and scale of every feature, and which are constant: their scale is 1.

        Constant is what varies by the rounding of its mean only, in whatever unit.
        """
        mean, variance = self.moments
        scale = np.sqrt(variance)
        constant = scale <= ROUNDING * np.abs(mean)
        return mean, np.where(constant, 1.0, scale), constant


def _double(block: Block) -> FloatArray:
    return block.astype(np.float64)


def _block_moments(block: FloatArray, weights: FloatArray) -> tuple[float, FloatArray, FloatArray]:
    """Return weight, weighted mean and squares about it of a block, which is overwritten."""
    if not weights.any():
        return 0.0, np.empty(0), np.empty(0)
    weight = weights.sum()
    mean = weights @ block / weight
    block -= mean
    block *= block
    return weight, mean, weights @ block


# ------------------------------------------------------------------ gathering


def gather_frames(
    estimator: Any,
    X: Any,
    *,
    reset: bool,
    trajectory: ArrayLike | None = None,
    frame: ArrayLike | None = None,
    lagtime: int | None = None,
    units: Units | None = None,
    **metadata: Any,
) -> Frames:
    """Validate either convention of input and return its frames; nothing of the caller's changes.

    Parameters
    ----------
    estimator : estimator
        Whose features they are, by number and names.
    X : list of trajectories, array or deeptime data set
    reset : bool
        Whether to learn the number and names of the features, or to compare with those learned.
    trajectory, frame : array_like of shape (n_frames,), optional
    lagtime : int, optional
        That a deeptime data set must have.
    units : Units, optional
        Of `energy`; kJ/mol if not given.
    **metadata
        `temperature`, `weights`, `initial_states`, `energy`, `states`; `dynamics` (False for
        equilibrium draws, whose order is not that of time) and `pressure`, which may be one for
        all; `volume`.

    Raises
    ------
    ValueError
        For a tuple, NaN or infinite features (the trajectory and frame are named), trajectories of
        different width, and temperatures, weights, energies or labels that do not fit.
    """
    manifest = getattr(X, "manifest", None)
    bare_pairs = None
    for_all = {k: metadata.pop(k) for k in ("dynamics", "pressure") if np.isscalar(metadata.get(k))}
    if hasattr(X, "data_lagged") or hasattr(X, "subsets"):
        X, bare_pairs, metadata = _open_dataset(X, lagtime, metadata)
    X = as_container(X)
    listed = is_trajectory_list(X) or X == [] if isinstance(X, list) else False
    if listed:
        X, trajectory, frame, metadata = _open_list(X, trajectory, frame, metadata)
    else:
        trajectory, frame, metadata = read_index(X, trajectory, frame, metadata)
    X = check_rows(estimator, X, reset=reset)
    ids, place = places(len(X), trajectory, frame)
    check_finite(X, ids if trajectory is None else np.asarray(trajectory), place)
    names = getattr(estimator, "feature_names_in_", None)
    for name, value in for_all.items():
        if metadata.get(name) is None:  # no level of an index
            metadata[name] = np.full(len(X), value)
    known = _checked_metadata(metadata, len(X), units or Units())
    if known["dynamics"] is not None:
        bare_pairs = None
    return Frames(
        X=X,
        trajectory=ids,
        frame=place,
        **known,
        ordered=not (bare_pairs is None and trajectory is None and frame is None),
        listed=listed,
        feature_names=names,
        manifest=manifest,
        bare_pairs=bare_pairs,
    )


def _checked_metadata(metadata: Mapping[str, Any], n_frames: int, units: Units) -> dict[str, Any]:
    """Return what is known of every frame, checked."""
    known = dict.fromkeys(PER_FRAME) | dict(metadata)
    temperatures, origin = np.array([np.nan]), np.zeros(n_frames, dtype=np.int64)
    if known["temperature"] is not None:
        values = check_temperatures(known["temperature"], n_frames)
        temperatures, origin = np.unique(values, return_inverse=True)
    labels = known["initial_states"]
    return {
        "temperatures": temperatures,
        "origin": origin.astype(np.int32),
        "weights": _scaled(check_weights(known["weights"], n_frames), origin),
        "energy": _energies(known, n_frames, units),
        "initial_states": None
        if labels is None
        else np.unique(_labels(labels, n_frames, "initial_states"), return_inverse=True)[1],
        "states": None
        if known["states"] is None
        else _labels(known["states"], n_frames, "states", least=0),
        "dynamics": frame_flags(known["dynamics"], n_frames),
    }


def _scaled(weights: FloatArray, origin: IntArray) -> FloatArray:
    """Return weights of mean 1 at each temperature: they have no scale between simulations."""
    means = np.bincount(origin, weights) / np.bincount(origin)
    return np.asarray(weights / np.where(means > 0, means, 1.0)[origin])


def _energies(known: Mapping[str, Any], n_frames: int, units: Units) -> FloatArray | None:
    """Return the energy of each frame, with pV where pressure and volume are given."""
    names = ("energy", "pressure", "volume")
    given = [name for name in names if known[name] is not None]
    if "pressure" not in given and "volume" not in given:
        return check_per_frame(known["energy"], n_frames, "energy") if given else None
    if len(given) < len(names):
        missing = " and ".join(f"`{name}`" for name in names if name not in given)
        raise ValueError(
            "Expected `energy`, `pressure` (bar) and `volume` (nm^3) together, as pV is added to "
            f"the energy, got no {missing}."
        )
    energy, pressure, volume = (check_per_frame(known[name], n_frames, name) for name in names)
    if (volume <= 0).any():
        raise ValueError(
            f"Expected every `volume` to be positive, got {volume[volume <= 0][0]:g} at frame "
            f"{np.flatnonzero(volume <= 0)[0]}."
        )
    return energy + units.work(pressure, volume)


def frame_flags(values: Any, n_frames: int) -> BoolArray | None:
    """Return whether each frame has dynamics, from one value for all or one each; None: all."""
    if values is None:
        return None
    array = np.full(n_frames, values) if np.isscalar(values) else np.asarray(values)
    if array.shape != (n_frames,) or not np.isin(array, (0, 1)).all():
        raise ValueError(
            "Expected `dynamics` to be True or False, or one of these per trajectory of a list, or "
            f"per row of an array ({n_frames}), got shape {array.shape} of {array.dtype}."
        )
    return None if array.all() else array.astype(bool)


def _labels(values: ArrayLike, n_frames: int, name: str, least: int | None = None) -> IntArray:
    """Return one integer per frame."""
    array = np.asarray(unmasked(values, f"`{name}`"))
    if array.shape != (n_frames,) or array.dtype.kind not in "iuf" or (array % 1 != 0).any():
        raise ValueError(
            f"Expected `{name}` to hold one integer per frame ({n_frames}), "
            f"got shape {array.shape} of {array.dtype}."
        )
    if least is not None and array.min() < least:
        raise ValueError(f"Expected `{name}` of {least} or more, got {array.min():g}.")
    labels = array.astype(np.int64)
    if least is not None and labels.max() >= MOST_GAPS * (n_states := len(np.unique(labels))):
        raise ValueError(
            f"Expected `{name}` to be numbered from 0 with few gaps, got {n_states} of them up to "
            f"{labels.max()}: np.unique(..., return_inverse=True) numbers them so."
        )
    return labels


def check_rows(estimator: Any, X: Any, *, reset: bool) -> Any:
    """Check kind and width of rows as scikit-learn does; of rows on disk by a sample of them."""
    if is_on_disk(X):
        X = Rows([X])
    with one_at_a_time:
        checked = validate_data(
            estimator,
            X.sample() if isinstance(X, Rows) else X,
            reset=reset,
            dtype=[np.float64, np.float32],
            ensure_all_finite=False,
            ensure_min_samples=2 if reset else 0,
        )
    return X if isinstance(X, Rows) else checked


def _open_list(X: Any, trajectory: Any, frame: Any, metadata: Mapping[str, Any]) -> Any:
    if trajectory is not None or frame is not None:
        raise ValueError(
            "Expected no `trajectory` or `frame` with a list of trajectories: the list says both."
        )
    check_widths(X)
    lengths = [x.shape[0] for x in X]
    metadata = {
        name: None if values is None else per_frame(values, lengths, name)
        for name, values in metadata.items()
    }
    ids = np.repeat(np.arange(len(X)), lengths)
    place = np.concatenate([np.arange(n) for n in lengths])
    joined = Rows(X) if is_on_disk(X) or is_large(X) else concatenate(X)
    return joined, ids, place, metadata


def read_index(X: Any, trajectory: Any, frame: Any, metadata: Mapping[str, Any]) -> Any:
    """Take levels of a DataFrame's index named as metadata for metadata not given."""

    index: Any = getattr(X, "index", None)
    names = getattr(index, "names", None) or ()

    def level(name: str, values: Any) -> Any:
        if values is None and name in names:
            return np.asarray(index.get_level_values(name))
        return values

    metadata = dict.fromkeys(PER_FRAME) | dict(metadata)
    metadata = {name: level(name, values) for name, values in metadata.items()}
    return level("trajectory", trajectory), level("frame", frame), metadata


def _open_dataset(dataset: Any, lagtime: int | None, metadata: Mapping[str, Any]) -> Any:
    """Return trajectories of a deeptime data set as a list, or its bare pairs as rows and pairs."""
    parts = list(dataset.subsets) if hasattr(dataset, "subsets") else [dataset]
    others = [p.lagtime for p in parts if getattr(p, "lagtime", lagtime) not in (lagtime, None)]
    if others and lagtime is not None:
        raise ValueError(f"Expected a data set with lagtime {lagtime}, got lagtime {others[0]}.")
    if all(hasattr(p, "trajectory") for p in parts):
        return [np.asarray(p.trajectory) for p in parts], None, metadata
    n = sum(len(p) for p in parts)
    X = np.concatenate([p.data for p in parts] + [p.data_lagged for p in parts])
    twice = {k: None if v is None else np.tile(np.asarray(v), 2) for k, v in metadata.items()}
    return X, (np.arange(n), np.arange(n) + n), twice
