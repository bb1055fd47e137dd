"""Rates between metastable states: from transition matrices, and one table over temperatures."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state

from latflow._typing import FloatArray, RandomState
from latflow._validation import check_positive, heard, warn
from latflow.kinetics.chains import (
    N_CLUSTERS,
    Chain,
    States,
    Variables,
    chains_by_temperature,
    check_states,
)
from latflow.kinetics.generator import nearest_rates, warn_of_missed
from latflow.kinetics.lumping import slowed_model
from latflow.kinetics.markov import CONFIDENCE, PAIR, model_of, pairs_table, statistics
from latflow.kinetics.memory import Memory, remember, warn_of_lasting_memory

if TYPE_CHECKING:
    from deeptime.markov.msm import BayesianMSMPosterior, MarkovStateModel


COLUMNS = ["rate", "low", "high", "log_error"]


def transition_rates(
    model: BayesianMSMPosterior, *, time_step: float = 1.0, confidence: float = CONFIDENCE
) -> pd.DataFrame:
    """Rates between all states of a Markov model, with credible intervals.

    The rates are those of the model at its lagtime. :func:`rates` corrects them for what memory
    hides there.

    Parameters
    ----------
    model : deeptime.markov.msm.BayesianMSMPosterior
        The result of :func:`markov_model`.
    time_step : float, default=1.0
        Time between two frames.
    confidence : float, default=0.95
        Probability that an interval holds.

    Returns
    -------
    DataFrame
        Index (`source`, `target`) of different states. Columns `rate`, of :func:`rate_matrix` for
        the model of maximum likelihood, `low` and `high`, per unit of `time_step`, and
        `log_error`, the standard error of the rate's logarithm (the posterior's standard deviation
        over its mean, which is finite where single samples have rate zero).

    Warns
    -----
    UserWarning
        As for :func:`rate_matrix`.

    Examples
    --------
    >>> from latflow.kinetics import markov_model
    >>> model = markov_model([[0, 0, 0, 1, 1, 1, 0, 0, 1, 1, 1, 0]], lagtime=1, random_state=0)
    >>> transition_rates(model).rate.round(2).to_dict()
    {(0, 1): 0.72, (1, 0): 0.6}
    """
    step = check_positive(time_step, "time_step")
    _warn_without_rates(model.prior, f"at lagtime={model.prior.lagtime}")
    return _model_rates(model, step, confidence)


def rates(
    states: States,
    lagtime: int,
    *,
    temperature: Sequence[ArrayLike],
    variables: Variables | None = None,
    n_clusters: int = N_CLUSTERS,
    time_step: float = 1.0,
    n_samples: int = 100,
    confidence: float = CONFIDENCE,
    random_state: RandomState = None,
) -> pd.DataFrame:
    """Rates between all states at each simulated temperature, with credible intervals.

    Give the `variables`, too: rates from transitions between two or three states depend on the
    lagtime, those from transitions between fine clusters hardly do. What memory still hides at the
    lagtime is told from twice and four times it (:func:`lagtime_convergence`): relaxation rates are
    corrected for the part that exceeds its error, and the rest is in the intervals.

    Parameters
    ----------
    states : list of array_like of int of shape (n_frames_i,)
    lagtime : int
        Lagtime in frames: long enough for the states, or the clusters, to have lost their memory,
        which :func:`lagtime_convergence` checks, and shorter than the fastest exchange; see
        :func:`implied_timescales` and :func:`chapman_kolmogorov`.
    temperature : list
        Temperature of each trajectory: a number, or one value per frame.
    variables : list of array_like of shape (n_frames_i, n_components), optional
        Collective variables of the same frames, as ``LaTFEstimator.transform`` returns them.
    n_clusters : int, default=100
        Clusters of the variables at each temperature; see :func:`markov_model`.
    time_step : float, default=1.0
        Time between two frames.
    n_samples : int, default=100
        Matrices drawn at each temperature, as :func:`markov_model` does.
    confidence : float, default=0.95
        Probability that an interval holds.
    random_state : int, RandomState or None, default=None

    Returns
    -------
    DataFrame
        Index (`temperature`, `source`, `target`), by rising temperature, of all pairs of different
        states seen at any temperature. Columns as :func:`transition_rates` has them; NaN for pairs
        that are not connected at a temperature.

    Warns
    -----
    UserWarning
        Where states are not connected at a temperature, no rate matrix gives the transition
        probabilities there, or longer lagtimes tell of more memory than rates are corrected for.

    Raises
    ------
    ValueError
        If the states are no integers, or all the same, or no trajectory at a temperature is longer
        than the lagtime.

    Examples
    --------
    >>> trajectories = [[0, 0, 0, 0, 1, 1, 1, 0, 0, 0], [0, 0, 1, 1, 0, 0, 1, 1, 0, 0]]
    >>> table = rates(trajectories, 1, temperature=[300, 450], random_state=0)
    >>> table.rate.round(2).unstack("temperature").to_dict("list")
    {300.0: [0.23, 0.46], 450.0: [1.02, 1.28]}
    """
    step, rs = check_positive(time_step, "time_step"), check_random_state(random_state)
    names = np.unique(np.concatenate(check_states(states))).tolist()
    if len(names) < 2:
        raise ValueError(f"Expected `states` to hold two states or more, got {names}.")
    pairs = pd.MultiIndex.from_tuples(permutations(names, 2), names=PAIR)
    tables = {}
    chains = chains_by_temperature(states, temperature, variables, n_clusters, rs)
    for t, chain in chains.items():
        where = f"at lagtime={lagtime}, temperature {t:g}"
        memory = remember(chain, lagtime, n_samples, rs)
        model = _model(chain, lagtime, n_samples, rs, memory)
        _warn_without_rates(model.prior, where)
        table = _model_rates(_without_memory(model, memory, rs), step, confidence)
        lost = np.setdiff1d(names, model.prior.count_model.state_symbols).tolist()
        if lost:
            warn(
                f"States {lost} are not connected with the others in both directions {where}: their"
                " rates are NaN there. More data, or a shorter lagtime, may connect them."
            )
        warn_of_lasting_memory(memory, lagtime, t, step)
        tables[t] = table.reindex(pairs)
    return pd.concat(tables, names=["temperature"])


# ------------------------------------------------------------------ inside


def _model(
    chain: Chain, lagtime: int, n_samples: int, rs: np.random.RandomState, memory: Memory
) -> BayesianMSMPosterior:
    """Return a model of the states, with the memory's samples or those of the posterior."""
    if chain.is_fine:
        return memory.model
    with heard("The states are not connected"):
        return model_of(chain, lagtime, n_samples, rs)


def _without_memory(
    model: BayesianMSMPosterior, memory: Memory, rs: np.random.RandomState
) -> BayesianMSMPosterior:
    """Return a model and samples corrected for what memory hides, the samples for its errors."""
    from deeptime.markov.msm import BayesianMSMPosterior

    models = (model.prior, *model.samples)
    prior, *samples = map(slowed_model, models, memory.factors(rs))
    return BayesianMSMPosterior(prior=prior, samples=samples)


def _warn_without_rates(model: MarkovStateModel, where: str) -> None:
    matrix = model.transition_matrix
    warn_of_missed(nearest_rates(matrix, model.stationary_distribution, 1.0), matrix, 1.0, where)


def _model_rates(model: BayesianMSMPosterior, step: float, confidence: float) -> pd.DataFrame:
    """Return the table of rates."""
    time = step * model.prior.lagtime

    def rates_of(m: MarkovStateModel) -> FloatArray:
        return nearest_rates(m.transition_matrix, m.stationary_distribution, time)

    best, low, high, drawn = statistics(model, rates_of, confidence)
    mean, deviation = drawn.mean(axis=0), drawn.std(axis=0, ddof=1)
    error = np.divide(deviation, mean, out=np.full_like(mean, np.inf), where=mean > 0)
    return pairs_table(model, (best, low, high, error), COLUMNS).query("source != target")
