"""Rates between metastable states: from transition matrices, and one table over temperatures."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.linalg import expm
from scipy.optimize import nnls
from sklearn.utils import check_random_state

from latflow._typing import FloatArray, RandomState
from latflow._validation import check_positive, warn
from latflow.kinetics.markov import (
    CONFIDENCE,
    PAIR,
    States,
    check_states,
    lagtime_convergence,
    markov_models,
    pairs_table,
    statistics,
)

if TYPE_CHECKING:
    from deeptime.markov.msm import BayesianMSMPosterior, MarkovStateModel


FASTEST = 1e-3  # eigenvalue: what has decayed further within the lagtime has no measurable rate
MOST_MISSED = 0.02  # of a transition probability, before the user hears of it
COLUMNS = ["rate", "low", "high", "log_error"]
ROUNDING = 1e-6  # to which deeptime's estimates obey detailed balance


def rate_matrix(
    transition_matrix: ArrayLike, time: float, *, populations: ArrayLike | None = None
) -> FloatArray:
    r"""Return the reversible rate matrix that is nearest to a transition matrix's logarithm.

    Where the logarithm :math:`K = \ln T(t) / t` is a rate matrix it is returned. Estimated
    matrices often have none: exchange that is slow, or takes a detour, comes out slightly negative.
    Then K is the rate matrix with the same populations, in detailed balance, that minimises

    .. math:: \sum_{kl} \lambda_k \lambda_l
        \left( l_k^\top K r_l - \delta_{kl} \ln(\lambda_k) / t \right)^2,

    with eigenvalues and left and right eigenvectors of T: processes that have decayed within t,
    which T hardly determines, hardly count [1]_. In the fluxes this is a least-squares problem
    without negative unknowns, so the solution is exact.

    Parameters
    ----------
    transition_matrix : array_like of shape (n_states, n_states)
        Transition probabilities, in detailed balance.
    time : float
        Time that the matrix spans; rates are per this unit.
    populations : array_like of shape (n_states,), optional
        The matrix's stationary distribution, computed if not given.

    Returns
    -------
    ndarray of shape (n_states, n_states)
        No negative rate off the diagonal, rows sum to zero.

    Warns
    -----
    UserWarning
        If no rate matrix gives these transition probabilities to within 0.02.

    Raises
    ------
    ValueError
        If the matrix is no transition matrix, or breaks detailed balance.

    References
    ----------
    .. [1] Crommelin, Vanden-Eijnden, "Data-based inference of generators for Markov jump processes
       using convex optimization", Multiscale Model. Simul. 7, 1751 (2009).

    Examples
    --------
    >>> rate_matrix([[0.9, 0.1], [0.3, 0.7]], 2.0).round(3)
    array([[-0.064,  0.064],
           [ 0.192, -0.192]])
    """
    matrix, time = _check_transition_matrix(transition_matrix), check_positive(time, "time")
    nearest = _nearest(matrix, _check_balance(matrix, populations), time)
    _warn_of_missed(nearest, matrix, time, f"at time {time:g}")
    return nearest


def transition_rates(
    model: BayesianMSMPosterior, *, time_step: float = 1.0, confidence: float = CONFIDENCE
) -> pd.DataFrame:
    """Rates between all states of a Markov model, with credible intervals.

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
    return _model_rates(model, step, confidence, f"at lagtime={model.prior.lagtime}")


def rates(
    states: States,
    lagtime: int,
    *,
    temperature: Sequence[ArrayLike],
    time_step: float = 1.0,
    n_samples: int = 100,
    confidence: float = CONFIDENCE,
    random_state: RandomState = None,
) -> pd.DataFrame:
    """Rates between all states at each simulated temperature, with credible intervals.

    Parameters
    ----------
    states : list of array_like of int of shape (n_frames_i,)
    lagtime : int
        Lagtime in frames: long enough for the states to have lost their memory, which
        :func:`lagtime_convergence` checks, and shorter than the fastest exchange; see
        :func:`implied_timescales` and :func:`chapman_kolmogorov`.
    temperature : list
        Temperature of each trajectory: a number, or one value per frame.
    time_step : float, default=1.0
        Time between two frames.
    n_samples : int, default=100
        Matrices drawn from the posterior at each temperature.
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
        probabilities there, or the slowest timescale differs at twice the lagtime.

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
    options = {"temperature": temperature, "n_samples": n_samples, "random_state": rs}
    names = np.unique(np.concatenate(check_states(states))).tolist()
    if len(names) < 2:
        raise ValueError(f"Expected `states` to hold two states or more, got {names}.")
    pairs = pd.MultiIndex.from_tuples(permutations(names, 2), names=PAIR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The states are not connected")
        models = markov_models(states, lagtime, **options)
    tables = {}
    for t, model in models.items():
        where = f"at lagtime={lagtime}, temperature {t:g}"
        table = _model_rates(model, step, confidence, where)
        lost = np.setdiff1d(names, model.prior.count_model.state_symbols).tolist()
        if lost:
            warn(
                f"States {lost} are not connected with the others in both directions {where}: their"
                " rates are NaN there. More data, or a shorter lagtime, may connect them."
            )
        tables[t] = table.reindex(pairs)
    lagtime_convergence(states, lagtime, time_step=step, **options)
    return pd.concat(tables, names=["temperature"])


# ------------------------------------------------------------------ inside


def _model_rates(
    model: BayesianMSMPosterior, step: float, confidence: float, where: str
) -> pd.DataFrame:
    """Return the table of rates; warn where they miss a transition probability."""
    time = step * model.prior.lagtime

    def rates_of(m: MarkovStateModel) -> FloatArray:
        return _nearest(m.transition_matrix, m.stationary_distribution, time)

    best, low, high, drawn = statistics(model, rates_of, confidence)
    mean, deviation = drawn.mean(axis=0), drawn.std(axis=0, ddof=1)
    error = np.divide(deviation, mean, out=np.full_like(mean, np.inf), where=mean > 0)
    _warn_of_missed(best, model.prior.transition_matrix, time, where)
    return pairs_table(model, (best, low, high, error), COLUMNS).query("source != target")


def _nearest(matrix: FloatArray, populations: FloatArray, time: float) -> FloatArray:
    """Return the rate matrix of :func:`rate_matrix`, without checks."""
    n, root = len(matrix), np.sqrt(populations)
    symmetric = root[:, None] * matrix / root
    eigenvalues, vectors = np.linalg.eigh((symmetric + symmetric.T) / 2)
    eigenvalues = np.clip(eigenvalues, FASTEST, 1.0)
    decay = -np.log(eigenvalues) / time
    i, j = np.triu_indices(n, 1)
    pair_flux = -(root[:, None] * (vectors * decay) @ vectors.T * root)[i, j]
    if (pair_flux < 0).any():
        right = vectors / root[:, None]
        steps = right[i] - right[j]
        weight = np.sqrt(np.outer(eigenvalues, eigenvalues))
        design = (steps[:, :, None] * steps[:, None, :] * weight).reshape(len(i), -1).T
        pair_flux = nnls(design, (np.diag(decay) * weight).ravel(), maxiter=100 * n * n)[0]
    flux = np.zeros((n, n))
    flux[i, j] = flux[j, i] = pair_flux
    rates = flux / populations[:, None]
    return np.asarray(rates - np.diag(rates.sum(axis=1)))


def _warn_of_missed(rates: FloatArray, matrix: FloatArray, time: float, where: str) -> None:
    missed = np.abs(expm(rates * time) - matrix).max()
    if missed > MOST_MISSED:
        warn(
            f"No rate matrix gives the transition matrix {where}: the nearest one misses a "
            f"transition probability by {missed:.2g}. The states keep a memory, or the data are "
            "few: compare other lagtimes."
        )


def _check_transition_matrix(values: ArrayLike) -> FloatArray:
    matrix = np.asarray(values, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise ValueError(
            f"Expected `transition_matrix` of shape (n_states, n_states), got {matrix.shape}."
        )
    # written so that NaN fails
    if not ((matrix >= 0).all() and np.abs(matrix.sum(axis=1) - 1).max() <= ROUNDING):
        raise ValueError(
            "Expected `transition_matrix` to hold probabilities, rows that sum to 1, got rows "
            f"that sum to {matrix.sum(axis=1).tolist()}, smallest entry {matrix.min():g}."
        )
    return matrix


def _check_balance(matrix: FloatArray, populations: ArrayLike | None) -> FloatArray:
    """Return the populations with which the matrix obeys detailed balance."""
    from deeptime.markov.tools.analysis import stationary_distribution

    if populations is None:
        populations = stationary_distribution(matrix)
    values = np.asarray(populations, dtype=np.float64)
    if values.shape != (len(matrix),) or not (values > 0).all():
        raise ValueError(
            f"Expected `populations` to be {len(matrix)} positive numbers, got {values.tolist()}."
        )
    values = values / values.sum()
    flux = values[:, None] * matrix
    a, b = np.unravel_index(np.abs(flux - flux.T).argmax(), flux.shape)
    if abs(flux[a, b] - flux[b, a]) > ROUNDING:
        raise ValueError(
            "Expected `transition_matrix` in detailed balance with its populations, got a flux of "
            f"{flux[a, b]:.4g} from state {a} to {b} and {flux[b, a]:.4g} back."
        )
    return np.asarray(values)
