"""Labels that a fit starts from: k-means on the slowest directions of the features."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from sklearn.cluster import KMeans

from latflow._typing import FloatArray, IntArray
from latflow._validation import one_at_a_time
from latflow.estimators.directions import independent_components
from latflow.estimators.seam import Standardised
from latflow.nn.batches import filled
from latflow.nn.training import thin
from latflow.trajectories import Frames

AUTO_STATES = 10
MOST_CLUSTERED = 20_000


def initial_labels(
    x: Standardised,
    frames: Frames,
    pairs: tuple[IntArray, IntArray],
    n_states: int | str,
    seed: int,
) -> IntArray:
    """Return the labels given, or k-means on the slow coordinates, weighted and seeded."""
    if frames.initial_states is not None:
        return frames.initial_states
    weights = frames.weights
    project = _slow_coordinates(x, pairs, weights)
    chosen = thin(np.flatnonzero(weights > 0), MOST_CLUSTERED)
    y = project(x[chosen])
    n_clusters = AUTO_STATES if n_states == "auto" else int(n_states)
    n_clusters = min(n_clusters, len(np.unique(y, axis=0)))
    clusters = KMeans(n_clusters, n_init=1, random_state=seed).set_output(transform="default")
    with one_at_a_time:
        clusters.fit(y, sample_weight=weights[chosen])
    labels = x.over(partial(_nearest, project, clusters.cluster_centers_))
    return filled(np.empty(len(x), dtype=np.int64), labels)


def _nearest(
    project: Callable[[FloatArray], FloatArray], centres: FloatArray, block: FloatArray
) -> IntArray:
    """Return the nearest centre of each row: `KMeans.predict`, which sets what threads share."""
    distances = (centres**2).sum(axis=1) - 2 * project(block) @ centres.T
    return np.asarray(distances.argmin(axis=1))


def _slow_coordinates(
    x: Standardised, pairs: tuple[IntArray, IntArray], weights: FloatArray
) -> Callable[[FloatArray], FloatArray]:
    """Return the projection on the slowest directions (TICA); none where TICA finds none."""
    if x.shape[1] == 1:
        return lambda block: block
    model = independent_components(x, pairs, weights, min(4, x.shape[1]))
    if model is None:
        return lambda block: block
    return lambda block: np.asarray(model.transform(block))
