"""The directions that wide features are read along: few enough for every covariance and layer.

Thousands of features say hundreds of things: pair distances of a protein follow its coordinates.
All that a fit learns from wide features it learns from their standardised values x along

    y = x V,    V = (P, E) T

with P the leading principal components of the frames (randomised: Halko, Martinsson, Tropp, SIAM
Rev. 53, 217 (2011)); E the features of which the components leave what lasts longest, as slow ones
may be too few to show among the components; and T the independent components (TICA) of both, each
scaled by its autocorrelation, so that noise is small. A first layer W on y is the layer W V^T on x:
the fitted model reads features, as any other.
"""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
from sklearn.utils.extmath import randomized_svd

from latflow._typing import FloatArray, IntArray
from latflow._validation import one_at_a_time
from latflow.estimators.seam import SingleArray, Standardised
from latflow.nn.batches import filled
from latflow.nn.training import thin
from latflow.trajectories import Rows, step_of

WIDE = 500  # features; more are read along directions
MOST_COMPONENTS, FRAMES_PER_COMPONENT, FEWEST_COMPONENTS = 256, 20, 10
COMPONENTS_PER_FEATURE = 4  # components for each feature that is taken as it is
MOST_NUMBERS = 2**28  # of features that directions are learned from: more frames are thinned out
LEAST_SCALE = 1e-5  # of a component, over the largest: less is rounding
MOST_LAGGED = 2**27  # of features, whose autocorrelation is measured
LEAST_LEFT = 0.01  # of a feature's variance, that an autocorrelation of what is left counts
POWERS = 2  # iterations of the randomised decomposition
MOST_CORRELATED = 200_000  # pairs that the slow coordinates are learned from

Pairs = tuple[IntArray, IntArray]


@dataclass(frozen=True)
class Directions:
    """Directions, and all frames along them.

    Attributes
    ----------
    vectors : ndarray of shape (n_features, n_directions)
        V, which standardised features are multiplied by.
    along : Standardised of shape (n_frames, n_directions)
        What they give, in single precision: in memory; where features are read from disk, in a
        temporary file, which goes with the rows that read it.
    """

    vectors: SingleArray
    along: Standardised

    @classmethod
    def of(cls, x: Standardised, weights: FloatArray, pairs: Pairs | None, seed: int) -> Directions:
        """Learn the directions of wide features, and write the frames along them.

        Parameters
        ----------
        x : Standardised of shape (n_frames, n_features)
        weights : ndarray of shape (n_frames,)
        pairs : tuple of ndarray of int, or None
            Rows of frames and of those one lagtime later; without them principal components alone.
        seed : int
            For the randomised decomposition.
        """
        components, scales = _components(x, weights, seed)
        vectors = components / scales
        if pairs is not None:
            vectors = np.hstack([vectors, _lasting(x, weights, pairs, components)])
        along = _written(x, (part @ vectors for part in x.parts()), vectors.shape[1])
        turn = None if pairs is None else _turn(along, pairs, weights)
        if turn is not None:
            vectors = np.asarray(vectors @ turn, np.float32)
            along = _written(x, (part @ turn for part in along.parts()), turn.shape[1])
        return cls(vectors, along)


def needs(n_frames: int, n_features: int) -> tuple[int, int]:
    """Return how many directions there are at most, and the bytes that learning them takes."""
    n_rows = min(n_frames, max(2, MOST_NUMBERS // n_features))
    n_components = _most_components(n_rows, n_features)
    workspace = 4 * (n_rows + n_features) * n_components  # of the randomised decomposition
    n_directions = n_components + max(1, n_components // COMPONENTS_PER_FEATURE)
    return n_directions, 4 * (n_rows * n_features + workspace)


def _most_components(n_rows: int, n_features: int) -> int:
    most = np.clip(n_rows // FRAMES_PER_COMPONENT, FEWEST_COMPONENTS, MOST_COMPONENTS)
    return min(int(most), n_rows - 1, n_features)


def independent_components(
    x: Standardised, pairs: Pairs, weights: FloatArray, n_components: int
) -> Any:
    """Return deeptime's TICA model of slow coordinates; None where it finds none."""
    with one_at_a_time:
        from deeptime.decomposition import TICA  # here, as it loads matplotlib

    i, j = (thin(rows, MOST_CORRELATED) for rows in pairs)
    try:
        with np.errstate(all="ignore"):
            covariance = TICA.covariance_estimator(lagtime=1)
            for k in range(0, len(i), step := max(1, step_of(x) // 2)):
                some = slice(k, k + step)
                covariance.partial_fit((x[i[some]], x[j[some]]), weights=weights[i[some]])
            estimator = TICA(dim=n_components, lagtime=1, scaling="kinetic_map")
            model = estimator.fit(covariance).fetch_model()
            tried = np.asarray(model.transform(x[i[:1]]))
    except (ValueError, ArithmeticError, np.linalg.LinAlgError):
        return None
    return model if tried.shape[1] and np.isfinite(tried).all() else None


def _components(x: Standardised, weights: FloatArray, seed: int) -> tuple[SingleArray, SingleArray]:
    """Return the leading principal components as columns of unit length, and their scales."""
    n_features = x.shape[1]
    rows = thin(np.flatnonzero(weights > 0), max(2, MOST_NUMBERS // n_features))
    sample = x.read(rows, np.empty((len(rows), n_features), np.float32))
    sample *= np.sqrt(weights[rows] / weights[rows].sum())[:, None].astype(np.float32)
    with one_at_a_time:
        _, scales, components = randomized_svd(
            sample, _most_components(len(rows), n_features), n_iter=POWERS,
            power_iteration_normalizer="QR", random_state=seed,
        )  # fmt: skip
    scales = np.maximum(scales, np.finfo(np.float32).tiny)  # all zero where no feature varies
    there = scales > LEAST_SCALE * scales[0]
    return np.ascontiguousarray(components[there].T), scales[there]


def _lasting(
    x: Standardised, weights: FloatArray, pairs: Pairs, components: SingleArray
) -> SingleArray:
    """Return unit vectors of features that last: of what the components leave of each feature, the
    autocorrelation at the lagtime is largest.
    """
    n_features, n_components = components.shape
    i, j = (thin(rows, max(2, MOST_LAGGED // n_features)) for rows in pairs)
    step = step_of(x.X)
    buffers = [np.empty((min(step, len(i)), n_features), np.float32) for _ in range(2)]
    together, squares = np.zeros(n_features), np.zeros(n_features)
    for k in range(0, len(i), step):
        w = weights[i[k : k + step], None].astype(np.float32)
        now, later = (
            x.read(rows[k : k + step], out) for rows, out in zip((i, j), buffers, strict=True)
        )
        for ends in (now, later):
            ends -= ends @ components @ components.T
        together += np.einsum("nf,nf->f", w * now, later)
        squares += (
            np.einsum("nf,nf->f", w * now, now) + np.einsum("nf,nf->f", w * later, later)
        ) / 2
    squares = np.maximum(squares, LEAST_LEFT * weights[i].sum())
    n_lasting = max(1, n_components // COMPONENTS_PER_FEATURE)
    chosen = np.argsort(-together / squares, kind="stable")[:n_lasting]
    unit = np.zeros((n_features, len(chosen)), np.float32)
    unit[chosen, np.arange(len(chosen))] = 1
    return unit


def _turn(y: Standardised, pairs: Pairs, weights: FloatArray) -> SingleArray | None:
    """Return the matrix T of the independent components of y, slowest first."""
    model = independent_components(y, pairs, weights, y.shape[1])
    if model is None:
        return None
    origin = model.transform(np.zeros((1, y.shape[1])))
    return np.asarray(model.transform(np.eye(y.shape[1])) - origin, np.float32)


def _written(x: Standardised, parts: Iterable[SingleArray], n_directions: int) -> Standardised:
    """Return rows made from those of x, in memory where these are, else in a temporary file."""
    shape = len(x), n_directions
    rows: SingleArray | Rows
    if isinstance(x.X, Rows) and x.X.on_disk:
        folder = Path(mkdtemp(prefix="latflow_"))
        with (folder / "directions").open("wb") as file:
            for part in parts:
                part.tofile(file)
        rows = Rows([np.memmap(folder / "directions", np.float32, "r", shape=shape)])
        weakref.finalize(rows, shutil.rmtree, folder, ignore_errors=True)
    else:
        rows = filled(np.empty(shape, np.float32), parts)
    return Standardised(rows, np.zeros(n_directions), np.ones(n_directions))
