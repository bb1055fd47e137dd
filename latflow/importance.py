"""Which features matter to a fitted model, and the same model of fewer features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import sklearn
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, clone
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from latflow._typing import BoolArray, FloatArray, IntArray, RandomState
from latflow._validation import check_count, check_fraction, heard
from latflow.featurizers import Featurizer, Select
from latflow.metrics import vamp2
from latflow.trajectories import FeatureList, Frames, as_container, gather_frames, in_blocks

__all__ = ["Pruned", "feature_importance", "prune"]

ALL = "all CVs"
STEP = 1e-3  # of a feature's spread, to either side, for a gradient
MOST_POINTS = 500  # frames that gradients are taken at
MOST_PAIRS = 3000  # pairs of frames that a score with permuted features is taken from
MOST_FRAMES = 20_000  # of which covariances of features are taken
AT_ONCE = 20_000  # rows through a model
N_DRAWS = 200  # of the weights of blocks, for the error of what pruning loses
LEAST_LEFT = 1e-9  # of a feature's variance: less is what the features chosen before tell of it


class Pruned(NamedTuple):
    """A model of fewer features, and what was lost with the others.

    Scores are VAMP-2 at the model's lagtime on frames that neither of two models, one of all
    features and one of the chosen ones, was fitted on.

    Attributes
    ----------
    model : estimator
        The model of the chosen features, fitted on all frames.
    features : list of str
        Names of the chosen features, in the order of the columns of X.
    columns : ndarray of int of shape (k,)
        Which columns of X they are, ascending.
    before, after : float
        Scores of all features and of the chosen ones.
    lost, lost_error : float
        `before` less `after`, and its standard error over blocks of the trajectories.
    kept, kept_error : float
        The kinetic variance beyond the constant that is kept, (`after` - 1) / (`before` - 1), and
        its standard error.
    """

    model: Any
    features: list[str]
    columns: IntArray
    before: float
    after: float
    lost: float
    lost_error: float
    kept: float
    kept_error: float


def feature_importance(
    model: Any,
    X: object,
    *,
    lagtime: int | None = None,
    n_repeats: int = 5,
    random_state: RandomState = None,
    trajectory: ArrayLike | None = None,
    frame: ArrayLike | None = None,
    temperature: object = None,
    weights: object = None,
    dynamics: object = True,
) -> pd.DataFrame:
    r"""Say how much each feature matters to each collective variable and each state.

    By gradients: how much a target changes with a feature, in the feature's own spread, root mean
    square over frames. By permutation: how much of the target's kinetic variance is lost when the
    feature's values are exchanged between frames,

    .. math:: R_2(\text{target}) - R_2(\text{target, feature permuted}),

    with the VAMP-2 score :math:`R_2` of pairs one lagtime apart. Values are exchanged between
    single frames of one temperature: a feature that was permuted in blocks would stay as slow as it
    was, and the score would not fall. Two features that say the same share what they matter;
    :func:`prune` takes one of them.

    Parameters
    ----------
    model : estimator with `transform`
        Fitted: a LaTFEstimator, a TemperatureExtrapolator, or a Pipeline, whose features are those
        that its first step reads.
    X : list of array_like of shape (n_frames_i, n_features), or array_like
        Better of simulations that the model was not fitted on. Scores are taken from at most 3000
        pairs of frames.
    lagtime : int, optional
        In frames; that of the model if not given.
    n_repeats : int, default=5
        Permutations of each feature, at least 2. Blocks of the trajectories get other random
        weights at each, so that the error is that of the frames, too.
    random_state : int, RandomState or None, default=None
    trajectory, frame, temperature, weights, dynamics
        As for ``LaTFEstimator.fit``.

    Returns
    -------
    DataFrame
        Index (`target`, `feature`), columns

        - `gradient`: of variables in their own spread, of states in probability. That of
          "all CVs" is the root of the sum over variables that are scaled to unit covariance;
        - `loss`: of VAMP-2, and `standard_error`, its standard error.

        Targets are "all CVs", "CV 1", ..., and "state 0", ... where the model has probabilities of
        states.

    Raises
    ------
    TypeError
        If the model has no `transform`.
    ValueError
        If the frames do not fit the model, or no two of them are a lagtime apart.

    References
    ----------
    Breiman, Random forests, Mach. Learn. 45, 5 (2001).

    Examples
    --------
    >>> from latflow import LaTFEstimator
    >>> from latflow.datasets import make_three_hole
    >>> from latflow.importance import feature_importance
    >>> rng = np.random.default_rng(0)
    >>> data = make_three_hole(2000, temperature=1.0, n_walkers=4, random_state=0)
    >>> X = [np.hstack([x, rng.normal(size=x.shape)]) for x in data.trajectories]
    >>> model = LaTFEstimator(5, 1, max_iter=480, boltzmann_constant=1.0, random_state=0).fit(X)
    >>> table = feature_importance(model, X, random_state=0)
    >>> table.loc["CV 1", "loss"].idxmax()
    'x0'
    """
    asked = _Asked.of(model)
    check_count(n_repeats, "n_repeats", minimum=2)
    frames = _frames_of(
        model, X, trajectory=trajectory, frame=frame, temperature=temperature, weights=weights,
        dynamics=dynamics,
    )  # fmt: skip
    pairs = _Pairs.of(
        frames, asked.lagtime if lagtime is None else check_count(lagtime, "lagtime"), MOST_PAIRS
    )
    names = _names_of(model, frames)
    rng = np.random.default_rng(_seed(random_state))
    loss, error = _losses(asked, frames, pairs, n_repeats, rng)
    gradients = _scaled_gradients(asked, frames)
    columns = {"gradient": gradients, "loss": loss, "standard_error": error}
    index = pd.MultiIndex.from_product([asked.targets, names], names=["target", "feature"])
    return pd.DataFrame({name: values.ravel() for name, values in columns.items()}, index=index)


def prune(
    model: Any,
    X: object,
    k: int,
    *,
    validation_fraction: float = 0.2,
    random_state: RandomState = None,
    **metadata: Any,
) -> Pruned:
    r"""Fit a model anew on the k features that keep its score, and say what was lost.

    Features are chosen one by one, each the one that tells most of the collective variables beside
    those chosen before,

    .. math:: \arg\max_j \; \frac{c_j^T H c_j}{c_{jj}}, \qquad
              H = \langle J^T A J \rangle, \quad C = \mathrm{Cov}(x \mid x_\text{chosen})

    with the variables' derivatives J, weights A that scale each slow direction of the variables to
    unit variance and count it by its kinetic variance, and columns c of the covariance C that is
    left. Of two features that say the same only one is chosen. A model that is overfitted, as of
    200 features and 10,000 frames, may name noise, too: `kept` is then well above 1.

    Blocks of the trajectories are held out. What is lost is told on them, by a model of all
    features and one of the chosen features, both fitted on the other frames, where the features
    were chosen, too. The model that is returned is then fitted on all frames.

    Parameters
    ----------
    model : LaTFEstimator, TemperatureExtrapolator or Pipeline
        Fitted; a clone of it is fitted three times. One without a lagtime is judged at a lagtime
        of 1.
    X : list of array_like of shape (n_frames_i, n_features), or array_like
        What the model is fitted on, with `metadata` as its `fit` takes it. Where X knows how its
        features were made (a FeatureList), the new model does, too, and exports compute the chosen
        features only.
    k : int
        Number of features to keep.
    validation_fraction : float, default=0.2
        Fraction of the frames that are held out.
    random_state : int, RandomState or None, default=None
        Which blocks are held out; fits have the seeds of the model.
    **metadata
        `temperature`, `trajectory`, `frame`, `weights`, `dynamics`, `energy`, `states` and others
        that the model's `fit` takes. Where none are given, fits of the chosen features start from
        the states (`initial_states`) of the fit of all features.

    Returns
    -------
    Pruned
        (model, features, columns, before, after, lost, lost_error, kept, kept_error)

    Raises
    ------
    TypeError
        If the model has no `transform`.
    ValueError
        If the model is frozen or was fitted on other features than X, if there are not `k`
        features, and for frames that are too few to hold out any.

    Examples
    --------
    >>> from latflow import LaTFEstimator
    >>> from latflow.datasets import make_three_hole
    >>> from latflow.importance import prune
    >>> rng = np.random.default_rng(0)
    >>> data = make_three_hole(4000, temperature=1.0, n_walkers=4, random_state=0)
    >>> X = [np.hstack([x, rng.normal(size=x.shape)]) for x in data.trajectories]
    >>> model = LaTFEstimator(5, max_iter=480, boltzmann_constant=1.0, random_state=0).fit(X)
    >>> small = prune(model, X, 2, random_state=0)
    >>> small.features, small.model.n_features_in_, small.kept > 0.95
    (['x0', 'x1'], 2, True)
    """
    lagtime = _Asked.of(model).lagtime
    _check_can_be_fitted(model)
    fraction = check_fraction(validation_fraction, "validation_fraction")
    frames = _frames_of(model, X, **metadata)
    n_features = int(frames.X.shape[1])
    if check_count(k, "k") > n_features:
        raise ValueError(f"Expected `k` to be at most the {n_features} features of X, got {k}.")
    rng = np.random.default_rng(_seed(random_state))
    held_out = _held_out(frames, fraction, lagtime, rng)
    whole = _Asked.of(_fitted(_quick(model), frames, ~held_out, np.arange(n_features)))
    columns = _chosen(whole, frames.take(~held_out), k)
    frames = _with_states(frames, whole)
    part = _Asked.of(_fitted(_quick(model), frames, ~held_out, columns))
    scores = _judged(whole, part, columns, frames.take(held_out), rng)
    names = [str(name) for name in _names_of(model, frames)[columns]]
    own = _taken(X, columns, _narrowed(frames.manifest, names))
    final = _fit(clone(model), own, _with_labels(metadata, frames))
    return Pruned(final, names, columns, *scores)


# ------------------------------------------------------------------ what a model answers


@dataclass(frozen=True)
class _Asked:
    """A fitted model, asked for variables and probabilities of states side by side.

    Attributes
    ----------
    model : estimator
    last : estimator
        Its last step, inside of pipelines and extrapolators.
    n_components, n_states : int
        No states where the model has no probabilities of them.
    """

    model: Any
    last: Any
    n_components: int
    n_states: int

    @classmethod
    def of(cls, model: Any) -> _Asked:
        """Look at a fitted model."""
        if not hasattr(model, "transform"):
            raise TypeError(
                "Expected `model` to be a LaTFEstimator, a TemperatureExtrapolator or a Pipeline, "
                f"which have `transform`, got {type(model).__name__}."
            )
        check_is_fitted(model)
        asked = cls(model, _last_of(model), 0, 0)
        z, p = asked._parts(np.zeros((1, int(model.n_features_in_))))
        return cls(model, asked.last, z.shape[1], p.shape[1])

    @property
    def targets(self) -> list[str]:
        """Names of what features may matter to."""
        variables = [f"CV {k + 1}" for k in range(self.n_components)]
        return [ALL, *variables, *(f"state {s}" for s in range(self.n_states))]

    @property
    def lagtime(self) -> int:
        """The model's lagtime, in frames."""
        lagtime = getattr(self.model, "lagtime_", None) or getattr(self.last, "lagtime", None)
        inner = getattr(self.last, "estimator", None)  # of FromDeeptime
        return int(lagtime or getattr(inner, "lagtime", None) or 1)

    def __call__(self, x: FloatArray) -> FloatArray:
        """Return variables and probabilities, (n_frames, n_components + n_states)."""
        blocks = [x[k : k + AT_ONCE] for k in range(0, len(x), AT_ONCE)]
        return np.concatenate([np.hstack(self._parts(block)) for block in blocks])

    def _parts(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        names = getattr(self.model, "feature_names_in_", None)
        frame = x if names is None else pd.DataFrame(x, columns=names)
        z = np.asarray(self.model.transform(frame), np.float64).reshape(len(x), -1)
        if hasattr(self.last, "predict_proba_latent"):
            return z, np.asarray(self.last.predict_proba_latent(z), np.float64)
        if hasattr(self.model, "predict_proba"):
            return z, np.asarray(self.model.predict_proba(frame), np.float64)
        return z, np.empty((len(x), 0))


def _last_of(model: Any) -> Any:
    """Return the last step, inside of pipelines, frozen estimators and extrapolators."""
    while True:
        if isinstance(model, Pipeline):
            inner = model[-1]
        elif isinstance(model, FrozenEstimator):
            inner = model.estimator
        else:
            inner = getattr(model, "estimator_", model)
        if inner is model:
            return model
        model = inner


def _frames_of(model: Any, X: object, **metadata: Any) -> Frames:
    """Return the frames, with the features that the model reads."""
    frames = gather_frames(BaseEstimator(), X, reset=True, **metadata)
    if frames.bare_pairs is not None:
        raise ValueError("Expected `X` to be trajectories, got pairs of frames.")
    if frames.X.shape[1] != model.n_features_in_:
        raise ValueError(
            f"Expected `X` of the {model.n_features_in_} features that the model reads, got "
            f"{frames.X.shape[1]}."
        )
    known, got = getattr(model, "feature_names_in_", None), frames.feature_names
    if known is not None and got is not None and list(known) != list(got):
        k = int(np.argmax(np.asarray(known) != np.asarray(got)))
        raise ValueError(f"Expected `X` with {known[k]} as feature {k}, got {got[k]}.")
    return frames


def _names_of(model: Any, frames: Frames) -> Any:
    """Return the names of the features: those of data frames, of a manifest, or x0, x1, ..."""
    manifest = frames.manifest or getattr(_last_of(model), "manifest_", None) or {}
    for names in (getattr(model, "feature_names_in_", None), manifest.get("feature_names")):
        if names is not None and len(names) == frames.X.shape[1]:
            return np.asarray(names, dtype=object)
    return np.array([f"x{j}" for j in range(frames.X.shape[1])], dtype=object)


def _seed(random_state: RandomState) -> int:
    return int(check_random_state(random_state).randint(2**31 - 1))


def _some(n: int, most: int) -> IntArray:
    """Return at most so many of n places, evenly."""
    return np.linspace(0, n - 1, min(n, most)).astype(np.int64)


# ------------------------------------------------------------------ scores of pairs


@dataclass(frozen=True)
class _Pairs:
    """Pairs of frames a lagtime apart, as places among the rows that are in a pair.

    Attributes
    ----------
    rows : ndarray of int of shape (n_rows,)
        Frames that are in a pair.
    start, end : ndarray of int of shape (n_pairs,)
        Places in `rows`.
    weights : ndarray of shape (n_pairs,)
    blocks : ndarray of int of shape (n_pairs,)
        Numbers of blocks taken as independent.
    """

    rows: IntArray
    start: IntArray
    end: IntArray
    weights: FloatArray
    blocks: IntArray

    @classmethod
    def of(cls, frames: Frames, lagtime: int, most: int | None = None) -> _Pairs:
        """Take pairs of frames, evenly where there are too many."""
        i, j = frames.pairs(lagtime)
        chosen = _some(len(i), len(i) if most is None else most)
        i, j = i[chosen], j[chosen]
        rows, places = np.unique(np.concatenate([i, j]), return_inverse=True)
        blocks = np.unique(frames.blocks()[i], return_inverse=True)[1]
        start, end = np.split(places, 2)
        return cls(rows, start, end, frames.weights[i], blocks)

    def drawn(self, n: int, rng: np.random.Generator) -> list[FloatArray]:
        """Return weights of the pairs with those of blocks random (a Bayesian bootstrap)."""
        n_blocks = int(self.blocks.max()) + 1
        return [self.weights * rng.exponential(size=n_blocks)[self.blocks] for _ in range(n)]

    def scores(self, values: FloatArray, n_components: int, weights: FloatArray) -> FloatArray:
        """Return VAMP-2 beyond the constant of all variables, and of each column by itself."""
        first, later = values[self.start], values[self.end]
        whole = vamp2(first[:, :n_components], later[:, :n_components], weights=weights)
        share = weights / weights.sum()
        first, later = first - share @ first, later - share @ later
        with np.errstate(invalid="ignore", divide="ignore"):
            single = (share @ (first * later)) ** 2 / (share @ first**2) / (share @ later**2)
        return np.append(whole - 1, np.nan_to_num(single))


def _losses(
    asked: _Asked, frames: Frames, pairs: _Pairs, n_repeats: int, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Return what each target's score loses by each feature's permutation, and standard errors."""
    x = np.asarray(frames.X[pairs.rows], np.float64)
    origin, d = frames.origin[pairs.rows], asked.n_components
    groups = [np.flatnonzero(origin == k) for k in np.unique(origin)]
    weights = pairs.drawn(n_repeats, rng)
    orders = []
    for _ in range(n_repeats):
        order = np.arange(len(x))
        for rows in groups:
            order[rows] = rng.permutation(rows)
        orders.append(order)
    values = asked(x)
    whole = np.stack([pairs.scores(values, d, w) for w in weights])
    loss, error = np.empty((2, len(asked.targets), x.shape[1]))
    for j in range(x.shape[1]):
        own, left = x[:, j].copy(), []
        for order, w in zip(orders, weights, strict=True):
            x[:, j] = own[order]
            left.append(pairs.scores(asked(x), d, w))
        x[:, j] = own
        lost = whole - np.stack(left)
        loss[:, j], error[:, j] = lost.mean(axis=0), lost.std(axis=0, ddof=1)
    return loss, error


# ------------------------------------------------------------------ gradients


def _derivatives(asked: _Asked, x: FloatArray, spread: FloatArray) -> FloatArray:
    """Return how targets change with each feature, in its spread: (n_frames, n_features, n).

    By central differences, which any transformer has.
    """
    each = np.empty((len(x), x.shape[1], asked.n_components + asked.n_states))
    at_once = max(1, AT_ONCE // (2 * len(x)))
    for first in range(0, x.shape[1], at_once):
        features = range(first, min(first + at_once, x.shape[1]))
        moved = np.tile(x, (2 * len(features), 1, 1))
        for n, j in enumerate(features):
            moved[2 * n, :, j] += STEP * spread[j]
            moved[2 * n + 1, :, j] -= STEP * spread[j]
        values = asked(moved.reshape(-1, x.shape[1])).reshape(len(features), 2, len(x), -1)
        each[:, list(features)] = np.moveaxis((values[:, 0] - values[:, 1]) / (2 * STEP), 0, 1)
    return each


def _whitening(covariance: FloatArray) -> FloatArray:
    """Return the matrix that makes a covariance 1; directions without variance are dropped."""
    variances, axes = np.linalg.eigh(covariance)
    kept = variances > LEAST_LEFT * variances[-1]
    return np.asarray(axes[:, kept] / np.sqrt(variances[kept]))


def _scaled_gradients(asked: _Asked, frames: Frames) -> FloatArray:
    """Return the gradient of every target by every feature, root mean square over frames."""
    d = asked.n_components
    every = _some(len(frames), MOST_FRAMES)
    values = asked(np.asarray(frames.X[every], np.float64))
    covariance = np.atleast_2d(np.cov(values[:, :d].T, aweights=frames.weights[every]))
    some = _some(len(frames), MOST_POINTS)
    _, scale, constant = frames.scaling()
    spread = np.where(constant, 0.0, scale)
    steps = np.where(constant, 1.0, scale)
    x = np.asarray(frames.X[some], np.float64)
    jacobian = _derivatives(asked, x, steps) * (spread > 0)[:, None]
    variances = np.diag(covariance)
    jacobian[:, :, :d] /= np.sqrt(np.where(variances > 0, variances, 1.0))
    whole = jacobian[:, :, :d] * np.sqrt(variances) @ _whitening(covariance)
    share = frames.weights[some] / frames.weights[some].sum()
    squares = np.concatenate([(whole**2).sum(axis=2, keepdims=True), jacobian**2], axis=2)
    return np.asarray(np.sqrt(np.einsum("n,njt->tj", share, squares)))


# ------------------------------------------------------------------ fewer features


def _chosen(asked: _Asked, frames: Frames, k: int) -> IntArray:
    """Return the columns of the k features that tell most of the slow variables, ascending."""
    d = asked.n_components
    mean, scale, constant = frames.scaling()
    x = np.asarray(frames.X[_some(len(frames), MOST_FRAMES)], np.float64)
    x = (x - mean) / scale
    left = x.T @ x / len(x)
    left[constant] = left[:, constant] = 0.0
    own = np.diag(left).copy()
    points = np.asarray(frames.X[_some(len(frames), MOST_POINTS)], np.float64)
    jacobian = _derivatives(asked, points, scale)[:, :, :d] @ _slow_directions(asked, frames)
    pull = np.moveaxis(jacobian, 1, 2).reshape(-1, x.shape[1])
    pull = np.linalg.qr(pull, mode="r") / np.sqrt(len(points))  # R^T R is J^T J
    told = pull @ left
    columns: list[int] = []
    for _ in range(k):
        variance = np.diag(left)
        known = (variance > LEAST_LEFT * np.maximum(own, LEAST_LEFT)) & (own > 0)
        gain = np.where(known, (told**2).sum(axis=0) / np.where(known, variance, 1.0), -1.0)
        gain[columns] = -2.0
        j = int(np.argmax(gain))
        columns.append(j)
        if known[j]:
            column = left[:, j] / left[j, j]
            told = told - np.outer(told[:, j], column)
            left = left - np.outer(column, left[j])
    return np.sort(np.array(columns))


def _slow_directions(asked: _Asked, frames: Frames) -> FloatArray:
    """Return the matrix to slow directions of unit variance, each times its correlation."""
    pairs = _Pairs.of(frames, asked.lagtime, MOST_FRAMES)
    z = asked(np.asarray(frames.X[pairs.rows], np.float64))[:, : asked.n_components]
    share = pairs.weights / pairs.weights.sum()
    first, later = z[pairs.start], z[pairs.end]
    first, later = first - share @ first, later - share @ later
    start, end = (_whitening((v.T * share) @ v) for v in (first, later))
    directions, correlations, _ = np.linalg.svd(start.T @ (first.T * share) @ later @ end)
    n = len(correlations)
    return np.asarray(start @ directions[:, :n] * correlations)


def _held_out(frames: Frames, fraction: float, lagtime: int, rng: np.random.Generator) -> BoolArray:
    held_out = frames.held_out(fraction, lagtime, rng)
    if not held_out.any():
        raise ValueError(
            f"Expected frames enough to hold out blocks of {5 * lagtime} of them, got "
            f"{len(frames)} frames and validation_fraction={fraction:g}."
        )
    return held_out


def _check_can_be_fitted(model: Any) -> None:
    """Raise for a model with a part that stays as it is, whatever features it reads."""
    parts = [model, *model.get_params(deep=True).values()]
    if any(isinstance(part, FrozenEstimator) for part in parts):
        raise ValueError(
            "Expected a model that can be fitted on fewer features, got one with a FrozenEstimator:"
            " prune the estimator inside, then fit the model on its features."
        )


def _quick(model: Any) -> Any:
    """Return a clone for its variables alone; an extrapolator need not answer well."""
    quick = clone(model)
    if "n_bootstraps" in quick.get_params(deep=False):
        quick.set_params(n_bootstraps=0, max_iter=1)
    return quick


def _fit(model: Any, X: object, metadata: Mapping[str, Any]) -> Any:
    """Fit with metadata, which find their way through pipelines by themselves."""
    known = {name: value for name, value in metadata.items() if value is not None}
    with sklearn.config_context(enable_metadata_routing=True), heard("Of "):
        return model.fit(X, **known)  # states of another fit may merge


def _fitted(model: Any, frames: Frames, rows: BoolArray, columns: IntArray) -> Any:
    """Fit on some rows and columns, stacked."""
    part = frames.take(rows)
    X = part.X[:, columns]
    if part.feature_names is not None:
        X = pd.DataFrame(X, columns=part.feature_names[columns])
    names = ("trajectory", "frame", "weights", "initial_states", "dynamics")
    metadata: dict[str, Any] = {name: getattr(part, name) for name in names}
    if part.named:
        metadata["temperature"] = part.temperature
    if has_fit_parameter(model, "energy"):
        metadata |= {"energy": part.energy, "states": part.states}
    with heard():  # the last fit says what is to be said
        return _fit(model, X, metadata)


def _with_states(frames: Frames, asked: _Asked) -> Frames:
    """Return frames whose initial states are those of a fit, where it has some and none came."""
    can = has_fit_parameter(asked.last, "initial_states") and asked.n_states > 1
    if frames.initial_states is not None or not can:
        return frames
    labels = [
        asked(np.asarray(block, np.float64))[:, asked.n_components :].argmax(axis=1)
        for block in in_blocks(frames.X, np.array)
    ]
    return replace(frames, initial_states=np.concatenate(labels))


def _with_labels(metadata: Mapping[str, Any], frames: Frames) -> dict[str, Any]:
    """Return metadata of a fit with the frames' initial states, as the frames came."""
    if metadata.get("initial_states") is not None or frames.initial_states is None:
        return dict(metadata)
    return dict(metadata) | {"initial_states": frames.split(frames.initial_states)}


def _judged(
    whole: _Asked, part: _Asked, columns: IntArray, frames: Frames, rng: np.random.Generator
) -> tuple[float, float, float, float, float, float]:
    """Return scores before and after, what is lost and what is kept, both with their errors."""
    pairs = _Pairs.of(frames, whole.lagtime)
    x = np.asarray(frames.X[pairs.rows], np.float64)
    weights = [pairs.weights, *pairs.drawn(N_DRAWS, rng)]
    before, after = (
        np.array([pairs.scores(values, asked.n_components, w)[0] for w in weights])
        for asked, values in ((whole, whole(x)), (part, part(x[:, columns])))
    )
    lost, kept = before - after, after / before
    value = 1 + float(before[0]), 1 + float(after[0])
    errors = (float(np.std(change[1:], ddof=1)) for change in (lost, kept))
    return *value, float(lost[0]), next(errors), float(kept[0]), next(errors)


def _narrowed(manifest: Mapping[str, Any] | None, names: list[str]) -> dict[str, Any] | None:
    """Return how some of the features are made; None where that is not known well enough."""
    if manifest is None or not {"topology", "parameters"} <= manifest.keys():
        return None
    featurizer = Featurizer.from_manifest(manifest)
    chosen = Select(featurizer, names).fit(featurizer.topology_).manifest()
    return {name: value for name, value in manifest.items() if name not in chosen} | chosen


def _taken(X: Any, columns: IntArray, manifest: Mapping[str, Any] | None) -> Any:
    """Return some columns of X, in the container in which it came."""

    def of(x: Any) -> Any:
        return x.iloc[:, columns] if isinstance(x, pd.DataFrame) else np.asarray(x)[:, columns]

    X = as_container(X)
    return FeatureList(map(of, X), manifest=manifest) if isinstance(X, list) else of(X)
