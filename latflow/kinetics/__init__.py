"""Kinetics of metastable states: Markov state models, and rates at every temperature.

States are what ``LaTFEstimator.predict`` returns: a list of arrays of integers, one per trajectory.
Lagtimes go in as frames; times come out in the unit of `time_step`, the time between two frames,
and rates per that unit.
"""

from latflow.kinetics.arrhenius import ArrheniusFit, RateModel, arrhenius, rates_at
from latflow.kinetics.chains import connected_sets, split_by_temperature
from latflow.kinetics.generator import rate_matrix
from latflow.kinetics.markov import (
    chapman_kolmogorov,
    implied_timescales,
    markov_model,
    markov_models,
    mean_first_passage_times,
)
from latflow.kinetics.memory import lagtime_convergence
from latflow.kinetics.rates import rates, transition_rates

__all__ = [
    "ArrheniusFit",
    "RateModel",
    "arrhenius",
    "chapman_kolmogorov",
    "connected_sets",
    "implied_timescales",
    "lagtime_convergence",
    "markov_model",
    "markov_models",
    "mean_first_passage_times",
    "rate_matrix",
    "rates",
    "rates_at",
    "split_by_temperature",
    "transition_rates",
]
