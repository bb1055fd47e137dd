"""From points of the latent space, states and temperatures back to real structures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.spatial import cKDTree
from scipy.special import logsumexp
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from latflow._typing import FloatArray, IntArray, RandomState
from latflow._validation import (
    check_count,
    check_latent_points,
    check_option,
    check_output,
    check_state,
    check_temperature,
    muted,
    warn,
)
from latflow._writing import replacing
from latflow.estimators import LaTFEstimator, TemperatureExtrapolator
from latflow.featurizers import readers
from latflow.featurizers.files import per_file
from latflow.featurizers.formats import NETCDF_HINT, WRITTEN, CorruptFile, format_of
from latflow.featurizers.readers import FilePath
from latflow.featurizers.topology import check_topology, find_topology
from latflow.thermodynamics import effective_sample_size
from latflow.trajectories import per_frame

if TYPE_CHECKING:
    import mdtraj
    from sklearn.utils import Bunch

__all__ = ["FoundStructures", "Structures"]

FACE = ("transform", "sample", "log_density", "predict_latent")
SOURCES = ("weights", "samples")
CORE = 0.1  # of a state's frames, by density, from which its representatives are taken
BELONGING = 0.9  # probability of its state that a representative has, where enough frames have it
NOVELTY_QUANTILE = 0.999
MOST_NEIGHBOURS = 50_000  # frames whose distance to the next one sets the level of novelty
FEWEST_EFFECTIVE = 30.0
SMALLEST = 1e-12  # variance, relative to the largest, that whitening scales up


class FoundStructures(NamedTuple):
    """Frames that were found, and the structures themselves.

    Attributes
    ----------
    table : DataFrame
        One row per structure: `file` (None for trajectories in memory), `trajectory`, `frame`
        (index in the file, or in the trajectory in memory, from 0), `state`, the frame's collective
        variables `CV 1`, `CV 2`, ..., what the method says of it, and `novel`.
    structures : mdtraj.Trajectory
        In the order of the table; its times are the rows' numbers.
    """

    table: pd.DataFrame
    structures: mdtraj.Trajectory

    @property
    def n_novel(self) -> int:
        """How many of the points asked for have no training frame near."""
        return int(self.table["novel"].sum())


class Structures:
    """Real structures for states, points of the latent space and temperatures.

    Parameters
    ----------
    model : LaTFEstimator or TemperatureExtrapolator
        Fitted; or any other fitted model that answers as these do.
    features : Bunch, or list of array_like of shape (n_frames_i, n_features)
        What the model was fitted on, as a list or as :func:`latflow.featurizers.featurize` and
        :func:`latflow.featurizers.load_features` return it; these know their files, stride and
        temperatures, too.
    sources : sequence of path or of mdtraj.Trajectory, optional
        Where the structures are, one for each array of features; the files of `features` if not
        given.
    topology : path, mdtraj.Topology, mdtraj.Trajectory, or None
        Topology of the files; None takes that of the first file, where that names its atoms.
    stride : int or sequence of int, optional
        Features are of every stride-th frame of all sources, or of each; that of `features`, or 1,
        if not given.
    temperature : float or sequence, optional
        As given to fit, for a model of several temperatures without an `ensemble_`, such as a
        LaTFEstimator; that of `features` if not given.
    weights : sequence of array_like, optional
        As given to fit, for a model without an `ensemble_`; equal if not given.

    Attributes
    ----------
    z_ : ndarray of shape (n_frames, n_components)
        Collective variables of all frames.
    labels_ : ndarray of shape (n_frames,)
        Their states; -1 for a model without states.

    Raises
    ------
    TypeError
        If `model` is another kind of object.
    ValueError
        If features and sources differ in number, or a model with an `ensemble_` was fitted on
        other features.

    Notes
    -----
    A file is opened when a structure in it is asked for. That its frames are as many as `features`
    and `stride` say is checked then.

    Examples
    --------
    >>> import mdtraj, numpy as np
    >>> from latflow import LaTFEstimator
    >>> from latflow.datasets import make_three_hole
    >>> data = make_three_hole(1000, temperature=1.0, n_walkers=2, random_state=0)
    >>> top = mdtraj.Topology()
    >>> atom = top.add_atom("Ar", None, top.add_residue("AR", top.add_chain()))
    >>> inside = [np.pad(x, ((0, 0), (0, 1)))[:, None] for x in data.trajectories]
    >>> model = LaTFEstimator(lagtime=5, max_iter=480, boltzmann_constant=1.0, random_state=0)
    >>> model = model.fit(data.trajectories)
    >>> structures = Structures(
    ...     model, data.trajectories, [mdtraj.Trajectory(xyz, top) for xyz in inside]
    ... )
    >>> table, frames = structures.nearest_frames(model.transform(data.trajectories[1][[30, 7]]))
    >>> table["trajectory"].tolist(), table["frame"].tolist(), frames.n_frames
    ([1, 1], [30, 7], 2)
    """

    def __init__(
        self,
        model: LaTFEstimator | TemperatureExtrapolator,
        features: Bunch | Sequence[ArrayLike],
        sources: Sequence[FilePath] | Sequence[mdtraj.Trajectory] | None = None,
        topology: readers.Topology | None = None,
        *,
        stride: int | Sequence[int] | None = None,
        temperature: float | Sequence[ArrayLike] | None = None,
        weights: Sequence[ArrayLike] | None = None,
    ) -> None:
        if not all(hasattr(type(model), name) for name in FACE):
            raise TypeError(
                "Expected `model` to be a LaTFEstimator, a TemperatureExtrapolator or another "
                f"model that has {', '.join(FACE)}, got {type(model).__name__}."
            )
        check_is_fitted(model)
        arrays = _arrays(features)
        self.model = model
        self.z_ = np.concatenate([model.transform(np.asarray(x, np.float64)) for x in arrays])
        nowhere = np.full(len(self.z_), -1)
        self.labels_ = model.predict_latent(self.z_) if model.n_states_ else nowhere
        self._check_training_frames()
        self._lengths = [len(x) for x in arrays]
        places = getattr(features, "paths", None) if sources is None else sources
        step = getattr(features, "stride", 1) if stride is None else stride
        strides = per_file(step, len(arrays))
        self._sources = _Sources.of(places, topology, self._lengths, strides)
        if temperature is None:
            temperature = getattr(features, "temperature", None)
        self._temperature = None
        if temperature is not None:
            one = isinstance(temperature, int | float)
            each = [temperature] * len(arrays) if one else temperature
            self._temperature = per_frame(each, self._lengths, "temperature").astype(float)
        equal = [1.0] * len(arrays)
        self._weights = per_frame(equal if weights is None else weights, self._lengths, "weights")

    # -------------------------------------------------------------- what is asked for

    def representatives(
        self,
        state: int,
        n: int = 5,
        *,
        temperature: float | None = None,
        path: FilePath | None = None,
    ) -> FoundStructures:
        """Return frames from the core of a state, where the density is highest.

        The core is the tenth of the state's frames with the highest density, of those that belong
        to it with a probability of 0.9 (or, where they are the minority, of the half that does so
        most). From it the densest frame comes first; each further one is the densest of the
        trajectory that gave fewest so far, at least a lagtime away from those taken.

        Parameters
        ----------
        state : int
        n : int, default=5
            Number of frames.
        temperature : float, optional
            At which the density counts; that of all simulations together if not given.
        path : path, optional
            Also write the structures to this file; its extension says how.

        Returns
        -------
        FoundStructures
            With `log_density`, in nats.

        Raises
        ------
        ValueError
            For a state that does not exist, or more frames than it has; for an extension that is
            not known.
        """
        target = _check_target(path)
        check_state(state, self.model.n_states_, "state")
        members = np.flatnonzero(self.labels_ == state)
        if check_count(n, "n") > len(members):
            raise ValueError(
                f"Expected `n` to be at most {len(members)}, the frames in state {state}, got {n}."
            )
        density = self._log_density(self.z_[members], temperature)
        core = self._core(members, density, state, n)
        taken = core[_distinct(*self._places(members[core]), n, self.model.lagtime_)]
        return self._found(members[taken], target, log_density=density[taken])

    def nearest_frames(self, Z: ArrayLike, *, path: FilePath | None = None) -> FoundStructures:
        """Return the training frame that is nearest to each point of the latent space.

        Distances are Euclidean in whitened variables (the covariance of all frames is 1). A point
        is `novel`, without a frame near, if its distance is beyond the 0.999 quantile of the
        distances of training frames from the next one.

        Parameters
        ----------
        Z : array_like of shape (n_points, n_components)
        path : path, optional
            Also write the structures to this file; its extension says how.

        Returns
        -------
        FoundStructures
            In the order of Z, with `distance`.

        Raises
        ------
        ValueError
            If Z has another shape; for an extension that is not known.
        """
        target = _check_target(path)
        points = check_latent_points(Z, self.model.n_components_)
        return self._nearest(points, target)

    def virtual_trajectory(
        self,
        temperature: float | None,
        n_frames: int,
        *,
        draw: str = "weights",
        random_state: RandomState = None,
        path: FilePath | None = None,
    ) -> FoundStructures:
        """Return real frames as if drawn from the equilibrium at any temperature.

        Parameters
        ----------
        temperature : float or None
            None for a model that was fitted without.
        n_frames : int
        draw : {"weights", "samples"}, default="weights"
            "weights" draws training frames with the model's weights, systematically: a frame of
            weight w comes n_frames * w times, rounded up or down. Frames of the nearest simulated
            temperatures are preferred, so that what no feature shows is as it is there; see
            :meth:`latflow.thermodynamics.Ensemble.nearest_weights`. Their order is that of the
            training frames. "samples" takes the frame nearest to each of `n_frames` points that the
            model generates, as :meth:`nearest_frames` does: one structure stands for all the
            points around it, and `n_novel` says how many have none.
        random_state : int, RandomState or None, default=None
        path : path, optional
            Also write the structures to this file; its extension says how.

        Returns
        -------
        FoundStructures
            With `weight` (that of the frame at this temperature; all sum to 1), or `distance`.

        Raises
        ------
        ValueError
            For a temperature that the model does not know: a LaTFEstimator knows the simulated
            ones only.

        Warns
        -----
        UserWarning
            If the weights rest on less than 30 frames (Kish's effective sample size).
        """
        target = _check_target(path)
        check_count(n_frames, "n_frames")
        check_option(draw, "draw", SOURCES)
        weights = self._frame_weights(temperature)
        if draw == "samples":
            return self._nearest(self.model.sample(n_frames, temperature, random_state), target)
        effective = effective_sample_size(weights)
        if effective < FEWEST_EFFECTIVE:
            warn(
                f"The weights at this temperature rest on {effective:.1f} frames in effect: the "
                "virtual trajectory repeats them."
            )
        rows = _systematic(weights, n_frames, check_random_state(random_state))
        return self._found(rows, target, weight=weights[rows])

    # -------------------------------------------------------------- inside

    def _check_training_frames(self) -> None:
        if self.model.ensemble_ is None:
            return
        known = self.model.z_
        if known.shape != self.z_.shape or not np.allclose(known, self.z_, rtol=1e-5, atol=1e-6):
            raise ValueError(
                f"Expected `features` that the model was fitted on ({len(known)} frames), got "
                f"others ({len(self.z_)} frames)."
            )

    def _log_density(self, z: FloatArray, temperature: float | None) -> FloatArray:
        if temperature is not None:
            return self.model.log_density(z, temperature)
        simulated = self.model.temperatures_
        if not len(simulated):
            return self.model.log_density(z)
        if self.model.ensemble_ is not None:
            return self.model.pooled_log_density(z)
        return np.asarray(
            logsumexp([self.model.log_density(z, float(t)) for t in simulated], axis=0)
            - np.log(len(simulated))
        )

    def _core(self, members: IntArray, density: FloatArray, state: int, n: int) -> IntArray:
        """Return places among a state's frames: its core, the densest first."""
        probability = self.model.predict_proba_latent(self.z_[members])[:, state]
        least = min(BELONGING, float(np.median(probability)))
        inside = probability >= least
        order = np.lexsort([-density, ~inside])
        size = max(n, int(np.ceil(CORE * inside.sum())))
        return np.asarray(order[:size])

    def _places(self, rows: IntArray) -> tuple[IntArray, IntArray]:
        """Return trajectory and row in it."""
        ends = np.cumsum(self._lengths)
        trajectory = np.searchsorted(ends, rows, side="right")
        starts = ends - np.array(self._lengths)
        return np.asarray(trajectory), np.asarray(rows - starts[trajectory])

    def _frame_weights(self, temperature: float | None) -> FloatArray:
        """Return every frame's weight at a temperature, those near preferred; they sum to 1."""
        if self.model.ensemble_ is not None:
            named = self.model.reference_temperature_ if temperature is None else temperature
            weights = self.model.ensemble_.nearest_weights(check_temperature(named))
            return np.concatenate(weights) if isinstance(weights, list) else weights
        simulated = self.model.temperatures_
        if temperature is None and len(simulated) < 2:
            return np.asarray(self._weights / self._weights.sum())
        asked = check_temperature(temperature)
        if not np.isclose(asked, simulated).any():
            names = ", ".join(f"{t:g}" for t in simulated) or "none was given to fit"
            raise ValueError(
                f"Expected one of the simulated temperatures ({names}), got {asked:g}: to weight "
                "frames at another one takes a TemperatureExtrapolator."
            )
        if len(simulated) > 1 and self._temperature is None:
            raise ValueError(
                "Expected `temperature` (one per trajectory) by Structures, as the model has "
                f"{len(simulated)} of them, got None."
            )
        there = True if self._temperature is None else np.isclose(self._temperature, asked)
        weights = np.where(there, self._weights, 0.0)
        return np.asarray(weights / weights.sum())

    @cached_property
    def _whitening(self) -> tuple[FloatArray, FloatArray]:
        """Return the mean of the variables and the matrix that makes their covariance 1."""
        covariance = np.atleast_2d(np.cov(self.z_.T))
        variances, axes = np.linalg.eigh(covariance)
        variances = np.maximum(variances, SMALLEST * variances[-1])
        return self.z_.mean(axis=0), axes / np.sqrt(np.where(variances > 0, variances, 1.0))

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(self._whitened(self.z_))

    @cached_property
    def _level(self) -> float:
        """Distance beyond which a point has no frame near."""
        every = np.linspace(0, len(self.z_) - 1, min(len(self.z_), MOST_NEIGHBOURS)).astype(int)
        if len(self.z_) < 2:
            return 0.0
        distances = self._tree.query(self._whitened(self.z_[every]), k=2)[0][:, 1]
        return float(np.quantile(distances, NOVELTY_QUANTILE))

    def _whitened(self, z: FloatArray) -> FloatArray:
        mean, matrix = self._whitening
        return np.asarray((z - mean) @ matrix)

    def _nearest(self, points: FloatArray, target: Path | None) -> FoundStructures:
        distance, rows = self._tree.query(self._whitened(points))
        return self._found(rows, target, distance=distance, novel=distance > self._level)

    def _found(self, rows: IntArray, target: Path | None, **columns: FloatArray) -> FoundStructures:
        trajectory, row = self._places(rows)
        frame = row * np.array(self._sources.strides)[trajectory]
        sources = self._sources.items
        names = np.array([str(s) if isinstance(s, Path) else None for s in sources], dtype=object)
        table = pd.DataFrame({"file": names[trajectory], "trajectory": trajectory, "frame": frame})
        table["state"] = self.labels_[rows]
        variables = {f"CV {k}": values for k, values in enumerate(self.z_[rows].T, start=1)}
        columns.setdefault("novel", np.zeros(len(rows), bool))
        table = table.assign(**variables, **columns)
        structures = self._sources.read(trajectory, frame)
        if target is not None:
            # a file that was there is replaced only when all is written
            with replacing(target) as part, muted(NETCDF_HINT):
                structures.save(str(part))
        return FoundStructures(table, structures)


@dataclass(frozen=True)
class _Sources:
    """Files or trajectories in memory, one for each array of features.

    Attributes
    ----------
    items : list of Path, or list of mdtraj.Trajectory
    topology : mdtraj.Topology
    lengths : list of int
        Rows of features.
    strides : list of int
    """

    items: Sequence[Path] | Sequence[mdtraj.Trajectory]
    topology: mdtraj.Topology
    lengths: list[int]
    strides: list[int]

    @classmethod
    def of(
        cls,
        sources: Any,
        topology: readers.Topology | None,
        lengths: list[int],
        strides: list[int],
    ) -> _Sources:
        if sources is None:
            raise ValueError(
                "Expected `sources`, files or trajectories with the structures, as `features` "
                "names none, got None."
            )
        items = list(sources) if isinstance(sources, list | tuple) else [sources]
        if len(items) != len(lengths):
            raise ValueError(
                f"Expected one source for each trajectory of `features` ({len(lengths)}), got "
                f"{len(items)}."
            )
        if isinstance(items[0], str | os.PathLike):
            files = readers.check_files(items)
            topology = find_topology(readers.read_topology(topology, files[0]))
            return cls(files, topology, lengths, strides)
        topology = find_topology(items)
        for k, (item, length, stride) in enumerate(zip(items, lengths, strides, strict=True)):
            readers.check_kept(len(item), length, stride, f"trajectory {k}")
        return cls(items, topology, lengths, strides)

    def read(self, trajectory: IntArray, frame: IntArray) -> mdtraj.Trajectory:
        """Return the structures of frames of trajectories, in their order."""
        import mdtraj

        n = len(frame)
        xyz = np.empty((n, self.topology.n_atoms, 3), np.float32)
        cells = np.full((2, n, 3), np.nan, np.float32)
        for t in np.unique(trajectory):
            rows = np.flatnonzero(trajectory == t)
            frames, place = np.unique(frame[rows], return_inverse=True)
            read = self._frames_of(int(t), frames.tolist())
            xyz[rows] = read.xyz[place]
            if read.unitcell_lengths is not None:
                cells[:, rows] = read.unitcell_lengths[place], read.unitcell_angles[place]
        known = np.isfinite(cells).all(axis=(0, 2))
        if known.any() and not known.all():
            raise ValueError("Expected a unit cell in all sources or in none, got it in some.")
        lengths, angles = cells if known.all() else (None, None)
        return mdtraj.Trajectory(xyz, self.topology, np.arange(n), lengths, angles)

    def _frames_of(self, t: int, frames: list[int]) -> mdtraj.Trajectory:
        item = self.items[t]
        if not isinstance(item, Path):
            return item[frames]
        try:
            size = {"n_kept": self.lengths[t], "stride": self.strides[t]}
            read = readers.frames_of(item, self.topology, frames, **size)
        except CorruptFile as error:
            raise OSError(f"Expected a whole file, got {item} ({error}).") from error
        check_topology(read.topology, self.topology, f" in {item}")
        return read


def _arrays(features: Bunch | Sequence[ArrayLike]) -> list[FloatArray]:
    """Return one array per trajectory."""
    arrays = getattr(features, "trajectories", features)
    if not isinstance(arrays, list | tuple):
        arrays = [arrays]
    if not arrays or any(np.ndim(x) != 2 for x in arrays):
        raise ValueError(
            "Expected `features` to be a list of arrays of shape (n_frames, n_features), one per "
            f"trajectory, got {[np.shape(x) for x in arrays]}."
        )
    return list(arrays)


def _distinct(trajectory: IntArray, row: IntArray, n: int, apart: int) -> IntArray:
    """Choose n places of frames given in order of preference: spread over trajectories and time."""
    near = np.zeros(len(row), bool)
    taken = np.zeros(len(row), bool)
    uses = np.zeros(int(trajectory.max()) + 1, int)
    chosen = []
    for _ in range(n):
        best = int(np.lexsort([np.arange(len(row)), uses[trajectory], near, taken])[0])
        chosen.append(best)
        taken[best] = True
        uses[trajectory[best]] += 1
        near |= (trajectory == trajectory[best]) & (np.abs(row - row[best]) < apart)
    return np.array(chosen)


def _systematic(weights: FloatArray, n: int, rng: np.random.RandomState) -> IntArray:
    """Draw n rows so that each comes n * weight times, rounded up or down."""
    heights = np.cumsum(weights)
    marks = (rng.uniform() + np.arange(n)) / n * heights[-1]
    rows = np.searchsorted(heights, marks, side="right")
    return np.asarray(np.minimum(rows, np.flatnonzero(weights)[-1]))


def _check_target(path: FilePath | None) -> Path | None:
    """Return a path that structures can be written to."""
    if path is None:
        return None
    target = check_output(path)
    if format_of(target) not in WRITTEN:
        raise ValueError(f"Expected `path` ending in {', '.join(WRITTEN)}, got {target}.")
    return target
