"""Two things in, a number out: distances between ensembles, scores of slow coordinates, scorers."""

from latflow.metrics.measures import (
    jensen_shannon,
    jensen_shannon_noise_floor,
    jensen_shannon_to_density,
    sliced_wasserstein,
    vamp2,
)
from latflow.metrics.scorers import log_likelihood_scorer, transfer_scorer, vamp2_scorer

__all__ = [
    "jensen_shannon",
    "jensen_shannon_noise_floor",
    "jensen_shannon_to_density",
    "log_likelihood_scorer",
    "sliced_wasserstein",
    "transfer_scorer",
    "vamp2",
    "vamp2_scorer",
]
