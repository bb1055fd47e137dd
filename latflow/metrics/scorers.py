"""Scorers for scikit-learn's searches and cross-validation: higher is better.

They request `trajectory`, `frame`, `temperature`, `weights` and `dynamics` by themselves, where
metadata routing is on; a plain function would get none of them. Lists of trajectories need no
routing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import MetadataRequest

from latflow._validation import check_count
from latflow.metrics.measures import jensen_shannon, vamp2
from latflow.trajectories import SCORE_METADATA, Frames, gather_frames, read_index

N_GENERATED = 20_000


class FrameScorer:
    """A scorer of collective variables that is handed the frames' metadata.

    Parameters
    ----------
    measure : callable
        (estimator, frames of its collective variables) -> float.
    name : str
    lagtime : int, optional
        That a deeptime data set must have.
    """

    def __init__(
        self, measure: Callable[[Any, Frames], float], name: str, lagtime: int | None = None
    ) -> None:
        self.measure = measure
        self.name = name
        self.lagtime = lagtime

    def __call__(self, estimator: Any, X: Any, y: object = None, **metadata: Any) -> float:
        """Return the score of a fitted estimator on held-out frames.

        Parameters
        ----------
        estimator : estimator with `transform`
        X : list of array_like of shape (n_frames_i, n_features), or array_like
        y : ignored
        **metadata
            `trajectory`, `frame`, `temperature`, `weights`, `dynamics`, as for LaTFEstimator.fit.

        Returns
        -------
        float
        """
        z = estimator.transform(X)
        if not isinstance(z, list):
            metadata = dict.fromkeys(SCORE_METADATA) | metadata
            ends = metadata.pop("trajectory"), metadata.pop("frame")
            trajectory, frame, metadata = read_index(X, *ends, metadata)
            metadata |= {"trajectory": trajectory, "frame": frame}
            metadata["dynamics"] = True if metadata["dynamics"] is None else metadata["dynamics"]
            z = np.asarray(z)
        frames = gather_frames(BaseEstimator(), z, lagtime=self.lagtime, reset=True, **metadata)
        return float(self.measure(estimator, frames))

    def get_metadata_routing(self) -> MetadataRequest:
        """Return what scikit-learn is to hand on."""
        request = MetadataRequest(owner=self)
        for name in SCORE_METADATA:
            request.score.add_request(param=name, alias=True)
        return request

    def _accept_sample_weight(self) -> bool:
        # scikit-learn's multi-metric wrapper asks
        return False

    def __repr__(self) -> str:
        """Return the expression that made it."""
        return self.name


def vamp2_scorer(lagtime: int) -> FrameScorer:
    """Return a scorer: VAMP-2 of the collective variables at one lagtime.

    An estimator's own `score` is taken at its own lagtime, so only this compares candidates with
    different lagtimes. It works for whatever has `transform`: TICA in a pipeline, too.

    Parameters
    ----------
    lagtime : int
        In frames.

    Returns
    -------
    FrameScorer

    Examples
    --------
    >>> from deeptime.decomposition import TICA
    >>> from latflow import FromDeeptime
    >>> from latflow.datasets import make_three_hole
    >>> from sklearn.model_selection import cross_val_score
    >>> data = make_three_hole(2000, temperature=1.0, n_walkers=4, random_state=0)
    >>> step = FromDeeptime(TICA(lagtime=5, dim=2))
    >>> scores = cross_val_score(step, data.trajectories, cv=2, scoring=vamp2_scorer(10))
    >>> bool((scores > 1).all())
    True
    """
    lagtime = check_count(lagtime, "lagtime")
    return FrameScorer(partial(_vamp2, lagtime=lagtime), f"vamp2_scorer({lagtime})", lagtime)


def _vamp2(estimator: Any, frames: Frames, lagtime: int) -> float:
    i, j = frames.pairs(lagtime)
    return vamp2(frames.X[i], frames.X[j], weights=frames.weights[i])


def _final(estimator: Any) -> Any:
    """Return the last step of pipelines, searches and frozen estimators."""
    if isinstance(estimator, Pipeline):
        return _final(estimator[-1])
    if isinstance(estimator, FrozenEstimator):
        return _final(estimator.estimator)
    return _final(estimator.best_estimator_) if hasattr(estimator, "best_estimator_") else estimator


def _by_temperature(frames: Frames) -> list[tuple[float | None, NDArray[np.bool_]]]:
    temperatures = frames.temperatures.tolist() if frames.named else [None]
    return [(t, frames.origin == k) for k, t in enumerate(temperatures)]


def _log_likelihood(estimator: Any, frames: Frames) -> float:
    """Return the mean log-density plus half the log-determinant of the covariance."""
    model = _final(estimator)
    density = np.empty(len(frames.X))
    for temperature, rows in _by_temperature(frames):
        density[rows] = model.log_density(frames.X[rows], temperature)
    covariance = np.atleast_2d(np.cov(frames.X.T, aweights=frames.weights))
    volume = np.linalg.slogdet(covariance)[1] / 2
    return float(np.average(density, weights=frames.weights) + volume)


def _transfer(estimator: Any, frames: Frames) -> float:
    """Return minus the mean over temperatures of the divergence of generated from held-out CVs."""
    if not frames.named:
        raise ValueError(
            "Expected `temperature` of the held-out frames, got none: hand it on with "
            "sklearn.set_config(enable_metadata_routing=True)."
        )
    model = _final(estimator)
    divergences = []
    for temperature, rows in _by_temperature(frames):
        z = model.sample(N_GENERATED, temperature, random_state=0)
        divergences.append(jensen_shannon(z, frames.X[rows], weights_b=frames.weights[rows]))
    return -float(np.mean(divergences))


log_likelihood_scorer = FrameScorer(_log_likelihood, "log_likelihood_scorer")
"""Mean log-density of held-out frames, in nats a frame, of variables scaled to unit covariance.

Unlike the bare log-density it does not reward an encoder that shrinks its variables. It compares
models of one `n_components`. Without `temperature`, the reference temperature counts.
"""

transfer_scorer = FrameScorer(_transfer, "transfer_scorer")
"""Minus the Jensen-Shannon divergence between generated and held-out variables.

At each temperature of the held-out frames, averaged; with temperatures as groups this leaves one
out at a time (metadata routing on):

    cross_val_score(
        TemperatureExtrapolator(),
        trajectories,
        cv=LeaveOneGroupOut().set_split_request(groups="temperature"),
        scoring=transfer_scorer,
        params={"temperature": temperature},
    )

A temperature outside the range of the others needs `temperature_range`. At most three components.
"""
