"""Transformers of other libraries as steps that know lists of trajectories and their ends."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn import config_context
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    MetaEstimatorMixin,
    TransformerMixin,
    clone,
)
from sklearn.pipeline import FeatureUnion
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from latflow._typing import BoolArray
from latflow._validation import one_at_a_time
from latflow.trajectories.containers import (
    as_container,
    check_widths,
    concatenate,
    is_trajectory_list,
    list_aware,
    per_frame,
    per_trajectory,
)
from latflow.trajectories.frames import frame_flags, read_index
from latflow.trajectories.pairs import places


def ask(estimator: Any, method: str, X: Any) -> Any:
    """Ask scikit-learn's estimator about frames, of which there may be none; threads take turns."""
    with one_at_a_time:
        if tuple(getattr(X, "shape", ()))[:1] != (0,):
            return getattr(estimator, method)(X)
        names = getattr(estimator, "feature_names_in_", None)
        row = np.zeros((1, estimator.n_features_in_))
        return getattr(estimator, method)(
            row if names is None else pd.DataFrame(row, columns=names)
        )[:0]


@list_aware
class PerFrame(MetaEstimatorMixin, TransformerMixin, BaseEstimator):
    """A scikit-learn transformer that acts on frames one by one, on lists of trajectories.

    It is fitted on the frames of all trajectories together. A list comes back as a list, and one
    array as the transformer itself returns it.

    Parameters
    ----------
    transformer : transformer
        StandardScaler, PCA, a featurizer of arrays: anything that works row by row.

    Attributes
    ----------
    transformer_ : transformer
        The fitted clone.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.preprocessing import StandardScaler
    >>> from latflow import PerFrame
    >>> trajectories = [np.arange(6.0).reshape(3, 2), np.arange(4.0).reshape(2, 2)]
    >>> [z.shape for z in PerFrame(StandardScaler()).fit_transform(trajectories)]
    [(3, 2), (2, 2)]
    """

    def __init__(self, transformer: Any) -> None:
        self.transformer = transformer

    def fit(self, X: object, y: object = None) -> Self:
        """Fit a clone of the transformer on all frames.

        Parameters
        ----------
        X : list of array_like of shape (n_frames_i, n_features), or array_like
        y : ignored

        Returns
        -------
        self
        """
        with one_at_a_time:
            self.transformer_ = clone(self.transformer).fit(_joined(X))
        return self

    def fit_transform(self, X: object, y: object = None) -> Any:
        """Fit, then transform the same frames."""
        return self.fit(X).transform(X)

    def transform(self, X: object) -> Any:
        """Transform frames: a list in, a list out."""
        check_is_fitted(self)
        return ask(self.transformer_, "transform", X)

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray[Any]:
        """Return the transformer's feature names."""
        check_is_fitted(self)
        return np.asarray(self.transformer_.get_feature_names_out(input_features))

    @property
    def n_features_in_(self) -> int:
        """Number of features that fit saw."""
        check_is_fitted(self)
        return int(self.transformer_.n_features_in_)

    @property
    def feature_names_in_(self) -> NDArray[Any]:
        """Names of the features that fit saw, where it saw some."""
        return np.asarray(self.transformer_.feature_names_in_)

    def set_output(self, *, transform: str | None = None) -> Self:
        """Set the container of the output, as in scikit-learn."""
        self.transformer.set_output(transform=transform)
        if hasattr(self, "transformer_"):
            self.transformer_.set_output(transform=transform)
        return self

    def __sklearn_tags__(self) -> Any:
        tags, inner = super().__sklearn_tags__(), get_tags(self.transformer)
        tags.input_tags = inner.input_tags
        tags.transformer_tags = inner.transformer_tags
        return tags


@list_aware
class TrajectoryUnion(FeatureUnion):
    """scikit-learn's FeatureUnion for lists of trajectories: features side by side, in each.

    Parameters
    ----------
    transformer_list : list of (str, transformer)
        Each takes lists of trajectories, as :class:`PerFrame` and :class:`FromDeeptime` do.
    n_jobs, transformer_weights, verbose, verbose_feature_names_out
        As in scikit-learn.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.decomposition import PCA
    >>> from sklearn.preprocessing import StandardScaler
    >>> from latflow import PerFrame, TrajectoryUnion
    >>> trajectories = [np.arange(6.0).reshape(3, 2), np.arange(4.0).reshape(2, 2)]
    >>> union = TrajectoryUnion([("all", PerFrame(StandardScaler())), ("pc", PerFrame(PCA(1)))])
    >>> [z.shape for z in union.fit_transform(trajectories)]
    [(3, 3), (2, 3)]
    """

    def fit(
        self,
        X: object,
        y: object = None,
        *,
        trajectory: ArrayLike | None = None,
        frame: ArrayLike | None = None,
        dynamics: object = True,
    ) -> Self:
        """Fit every transformer; those that know time are told where trajectories end.

        Parameters
        ----------
        X : list of array_like of shape (n_frames_i, n_features), or array_like
        y : ignored
        trajectory, frame, dynamics
            As for :meth:`FromDeeptime.fit`.

        Returns
        -------
        self
        """
        given = {"trajectory": trajectory, "frame": frame, "dynamics": dynamics}
        given = {k: v for k, v in given.items() if v is not None and v is not True}
        with config_context(enable_metadata_routing=True):
            known = self.get_metadata_routing().consumes("fit", given)
            super().fit(X, y, **{name: given[name] for name in known})
        return self

    def fit_transform(self, X: object, y: object = None, **metadata: Any) -> Any:
        """Fit, then transform the same frames; metadata as for :meth:`fit`."""
        return self.fit(X, y, **metadata).transform(X)

    def transform(self, X: object) -> Any:
        """Transform frames: a list in, a list out."""
        return super().transform(X)


def _clusters(self: FromDeeptime) -> bool:
    return type(self.estimator).__module__.startswith("deeptime.clustering")


@list_aware
class FromDeeptime(
    ClassNamePrefixFeaturesOutMixin,
    MetaEstimatorMixin,
    TransformerMixin,
    BaseEstimator,
):
    """An estimator of deeptime as a step of a scikit-learn pipeline.

    An estimator with a lagtime sees whole trajectories, cut where frames are missing, so that no
    pair crosses their ends; one without sees all frames together.

    Parameters
    ----------
    estimator : deeptime estimator
        TICA, VAMP, KMeans, RegularSpace, ...: its model must have `transform`.

    Attributes
    ----------
    model_ : deeptime model
    n_features_in_, feature_names_in_
        As in scikit-learn.

    Examples
    --------
    >>> from deeptime.decomposition import TICA
    >>> from latflow import FromDeeptime
    >>> from latflow.datasets import make_three_hole
    >>> data = make_three_hole(1000, temperature=1.0, n_walkers=2, random_state=0)
    >>> step = FromDeeptime(TICA(lagtime=5, dim=1))
    >>> [z.shape for z in step.fit_transform(data.trajectories)]
    [(500, 1), (500, 1)]
    """

    __metadata_request__fit = dict.fromkeys(("trajectory", "frame", "dynamics"), True)

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def fit(
        self,
        X: object,
        y: object = None,
        *,
        trajectory: ArrayLike | None = None,
        frame: ArrayLike | None = None,
        dynamics: object = True,
    ) -> Self:
        """Fit a clone of the deeptime estimator.

        Parameters
        ----------
        X : list of array_like of shape (n_frames_i, n_features), or array_like
        y : ignored
        trajectory, frame : array_like of shape (n_frames,), optional
            Trajectory id and place in it of each row of a stacked array.
        dynamics : bool, or one a trajectory of a list, or one a row of an array, default=True
            False for equilibrium draws, which an estimator with a lagtime leaves out.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If no gap-free piece of a trajectory is longer than the estimator's lagtime.
        """
        X = as_container(X)
        if is_trajectory_list(X):
            if trajectory is not None or frame is not None:
                raise ValueError(
                    "Expected no `trajectory` or `frame` with a list of trajectories: the list "
                    "says both."
                )
            lengths = [len(x) for x in X]
            trajectory = np.repeat(np.arange(len(X)), lengths)
            if not isinstance(dynamics, bool):
                dynamics = per_frame(dynamics, lengths, "dynamics")
        trajectory, frame, levels = read_index(X, trajectory, frame, {})
        dynamics = levels["dynamics"] if dynamics is True else dynamics
        with one_at_a_time:
            frames = validate_data(self, _joined(X), dtype=np.float64, ensure_min_samples=2)
        estimator = clone(self.estimator)
        lagtime = getattr(estimator, "lagtime", None)
        if lagtime is None:
            data: Any = np.array(frames)  # its own copy: deeptime toggles the flags of its input
        else:
            timed = frame_flags(dynamics, len(frames))
            pieces = _pieces(frames, trajectory, frame, timed)
            data = [piece for piece in pieces if len(piece) > lagtime]
            if not data:
                raise ValueError(
                    f"Expected a trajectory longer than lagtime={lagtime} frames, got none "
                    f"(n_samples={len(frames)}, n_features={frames.shape[1]})."
                )
        self.model_ = estimator.fit(data).fetch_model()
        self._n_features_out = self._move(frames[:1]).shape[1]
        return self

    def fit_transform(self, X: object, y: object = None, **metadata: ArrayLike | None) -> Any:
        """Fit, then transform the same frames; metadata as for :meth:`fit`."""
        return self.fit(X, y, **metadata).transform(X)

    def transform(self, X: object) -> Any:
        """Apply the fitted model to each frame: a list in, a list out."""
        check_is_fitted(self)
        return self._move(self._checked(X))

    @available_if(_clusters)  # type: ignore[untyped-decorator]
    @per_trajectory
    def predict(self, X: object) -> Any:
        """Return the cluster of each frame; of deeptime's clustering only."""
        check_is_fitted(self)
        moved = self._move(self._checked(X))
        return moved[:, 0].astype(np.int64)

    def _checked(self, X: object) -> Any:
        with one_at_a_time:
            return validate_data(self, X, reset=False, dtype=np.float64, ensure_min_samples=0)

    def _move(self, X: NDArray[Any]) -> NDArray[Any]:
        if not len(X):  # which deeptime refuses
            return self._move(np.zeros((1, X.shape[1])))[:0]
        moved = np.asarray(self.model_.transform(np.array(X, order="C")))
        return moved[:, None] if moved.ndim == 1 else moved

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = [] if _clusters(self) else ["float64"]
        return tags


def _joined(X: object) -> Any:
    """Return a list's frames in one, checked; anything else as it is."""
    X = as_container(X)
    if is_trajectory_list(X):
        check_widths(X)
        return concatenate(X)
    return X


def _pieces(
    frames: NDArray[Any],
    trajectory: ArrayLike | None,
    frame: ArrayLike | None,
    timed: BoolArray | None,
) -> list[NDArray[Any]]:
    """Cut stacked frames that have dynamics into gap-free trajectories in the order of time."""
    ids, place = places(len(frames), trajectory, frame)
    order = np.lexsort((place, ids))
    order = order if timed is None else order[timed[order]]
    cut = (np.diff(ids[order]) != 0) | (np.diff(place[order]) != 1)
    return [np.array(frames[rows]) for rows in np.split(order, np.flatnonzero(cut) + 1)]
