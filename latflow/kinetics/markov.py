"""Markov state models of metastable states, on deeptime: timescales, tests, passage times, errors.

States are what ``LaTFEstimator.predict`` returns: a list of arrays of integers, one per trajectory.
Lagtimes go in as frames; times come out in the unit of `time_step`, the time between two frames.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.linalg import matrix_power
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state

from latflow._typing import FloatArray, RandomState
from latflow._validation import check_count, check_fraction, check_positive, warn
from latflow.kinetics.chains import (
    N_CLUSTERS,
    Chain,
    States,
    Variables,
    chains_by_temperature,
    count,
    make_chain,
    sets_of,
)
from latflow.kinetics.lumping import lumped_model

if TYPE_CHECKING:
    from deeptime.markov.msm import BayesianMSMPosterior, MarkovStateModel


CONFIDENCE = 0.95
PAIR = ["source", "target"]


def markov_model(
    states: States,
    lagtime: int,
    *,
    variables: Variables | None = None,
    n_clusters: int = N_CLUSTERS,
    n_samples: int = 100,
    random_state: RandomState = None,
) -> BayesianMSMPosterior:
    r"""Estimate a reversible Markov state model and samples of its posterior.

    Two or three states remember: a trajectory that has just crossed is likelier to cross back, and
    timescales come out short unless the lagtime is long. With `variables`, transitions are counted
    between fine clusters of them, which hardly remember, and the model of the clusters is lumped to
    the states: it has their populations and the clusters' slowest timescales, exactly. Clusters
    have a reversible transition matrix T with stationary probabilities :math:`\pi` and eigenpairs
    :math:`(\lambda_i, \phi_i)`, orthonormal under :math:`\pi`. State b, a function
    :math:`1_b` of the clusters with population :math:`p_b = \langle 1_b, 1 \rangle_\pi`, tells of
    process i the part

    .. math:: M_{bi} = \langle 1_b, \phi_i \rangle_\pi / \sqrt{p_b} .

    As many processes are kept as there are states, and with U, the orthogonal matrix nearest to M
    (its polar factor), the transition matrix between states,

    .. math:: P = p^{-1/2} \; U \lambda U^\top \; p^{1/2} ,

    is in detailed balance. PCCA+ turns eigenvectors into states that suit them [2]_; here the
    states are given, and are the same at all temperatures.

    Parameters
    ----------
    states : list of array_like of int of shape (n_frames_i,)
        Also one array: one trajectory.
    lagtime : int
        Lagtime in frames.
    variables : list of array_like of shape (n_frames_i, n_components), optional
        Collective variables of the same frames, as ``LaTFEstimator.transform`` returns them.
        Distances between frames are told after scaling each to unit variance.
    n_clusters : int, default=100
        Clusters of the variables, at most one per 20 frames. Many leave less memory and need more
        data.
    n_samples : int, default=100
        Transition matrices drawn for error bars: from the posterior of the states' counts, without
        `variables`. With them, by a Bayesian bootstrap over blocks of the trajectories [3]_.
    random_state : int, RandomState or None, default=None

    Returns
    -------
    deeptime.markov.msm.BayesianMSMPosterior
        `prior` is the model of maximum likelihood. Row k belongs to state
        ``prior.count_model.state_symbols[k]``: states outside the connected set with most frames
        have none.

    Warns
    -----
    UserWarning
        Where states are left out; it names all connected sets and the fraction of the frames lost,
        or with `variables` the states left out, and more than 2 % of the frames outside the
        connected clusters.

    Raises
    ------
    ValueError
        If the states are no integers, or no trajectory is longer than the lagtime.

    References
    ----------
    .. [1] Trendelkamp-Schroer, Wu, Paul, Noé, "Estimation and uncertainty of reversible Markov
       models", J. Chem. Phys. 143, 174101 (2015).
    .. [2] Röblitz, Weber, "Fuzzy spectral clustering by PCCA+: application to Markov state models
       and data classification", Adv. Data Anal. Classif. 7, 147 (2013).
    .. [3] Rubin, "The Bayesian bootstrap", Ann. Stat. 9, 130 (1981).

    Examples
    --------
    >>> model = markov_model([[0, 0, 1, 1, 0, 0, 1, 1, 1, 0]], lagtime=1, random_state=0)
    >>> model.prior.stationary_distribution.round(2)
    array([0.44, 0.56])
    """
    rs = check_random_state(random_state)
    return model_of(make_chain(states, variables, n_clusters, rs), lagtime, n_samples, rs)


def markov_models(
    states: States,
    lagtime: int,
    *,
    temperature: Sequence[ArrayLike],
    variables: Variables | None = None,
    n_clusters: int = N_CLUSTERS,
    n_samples: int = 100,
    random_state: RandomState = None,
) -> dict[float, BayesianMSMPosterior]:
    """Estimate one Markov state model per temperature; see :func:`markov_model`.

    Parameters
    ----------
    states : list of array_like of int of shape (n_frames_i,)
    lagtime : int
        Lagtime in frames.
    temperature : list
        Temperature of each trajectory: a number, or one value per frame.
    variables, n_clusters, n_samples, random_state
        As for :func:`markov_model`; each temperature has clusters of its own.

    Returns
    -------
    dict of float to deeptime.markov.msm.BayesianMSMPosterior
        By rising temperature.
    """
    rs = check_random_state(random_state)
    chains = chains_by_temperature(states, temperature, variables, n_clusters, rs)
    return {t: model_of(chain, lagtime, n_samples, rs) for t, chain in chains.items()}


def implied_timescales(
    states: States,
    lagtimes: ArrayLike,
    *,
    variables: Variables | None = None,
    n_clusters: int = N_CLUSTERS,
    time_step: float = 1.0,
    n_timescales: int | None = None,
    n_samples: int = 100,
    confidence: float = CONFIDENCE,
    random_state: RandomState = None,
) -> pd.DataFrame:
    r"""Implied timescales at several lagtimes, with credible intervals.

    .. math:: t_i(\tau) = -\tau / \ln |\lambda_i(\tau)|

    Parameters
    ----------
    states : list of array_like of int of shape (n_frames_i,)
    lagtimes : array_like of int
        Lagtime in frames.
    variables, n_clusters
        As for :func:`markov_model`; the clusters are the same at all lagtimes.
    time_step : float, default=1.0
        Time between two frames.
    n_timescales : int, optional
        How many, the slowest first; all if not given.
    n_samples : int, default=100
    confidence : float, default=0.95
        Probability that an interval holds.
    random_state : int, RandomState or None, default=None

    Returns
    -------
    DataFrame
        Index (`lagtime`, `process`), columns `timescale`, `low`, `high`; all but `process` in the
        unit of `time_step`. A lagtime whose connected set has fewer processes has fewer rows; one
        that no trajectory is longer than has one of NaN, and a warning.
    """
    step, rs = check_positive(time_step, "time_step"), check_random_state(random_state)
    if n_timescales is not None:
        check_count(n_timescales, "n_timescales")
    tables: dict[float, pd.DataFrame] = {}
    chain = make_chain(states, variables, n_clusters, rs)
    wanted = np.atleast_1d(lagtimes).tolist()
    if min(wanted, default=0) >= chain.longest:
        count(chain.states, min(wanted))  # which says so
    _warn_of_long([lagtime * step for lagtime in wanted if lagtime >= chain.longest])
    for lagtime in wanted:
        if lagtime >= chain.longest:
            nothing = {"timescale": [np.nan], "low": np.nan, "high": np.nan}
            tables[lagtime * step] = pd.DataFrame(nothing)
            continue
        model = model_of(chain, lagtime, n_samples, rs)
        best, low, high, _ = statistics(model, partial(_timescales, n_timescales), confidence)
        columns = {"timescale": best, "low": low, "high": high}
        tables[lagtime * step] = step * pd.DataFrame(columns)
    return pd.concat(tables, names=["lagtime", "process"])


def chapman_kolmogorov(
    states: States,
    lagtime: int,
    *,
    variables: Variables | None = None,
    n_clusters: int = N_CLUSTERS,
    n_multiples: int = 5,
    time_step: float = 1.0,
    n_samples: int = 100,
    confidence: float = CONFIDENCE,
    random_state: RandomState = None,
) -> pd.DataFrame:
    r"""Chapman-Kolmogorov test: :math:`T(\tau)^k` against :math:`T(k \tau)`, with intervals.

    Parameters
    ----------
    states : list of array_like of int of shape (n_frames_i,)
    lagtime : int
        Lagtime in frames.
    variables, n_clusters
        As for :func:`markov_model`; the clusters are the same at all times.
    n_multiples : int, default=5
        Largest k.
    time_step : float, default=1.0
        Time between two frames.
    n_samples : int, default=100
    confidence : float, default=0.95
        Probability that an interval holds.
    random_state : int, RandomState or None, default=None

    Returns
    -------
    DataFrame
        Index (`time`, `source`, `target`): the time k tau and state numbers. Columns `predicted`,
        `predicted_low`, `predicted_high`, of the model at `lagtime`, and `estimated`,
        `estimated_low`, `estimated_high`, of a model at that time; NaN for a state that is not
        connected at that time, and, with a warning, where no trajectory is longer.
    """
    step, rs = check_positive(time_step, "time_step"), check_random_state(random_state)
    check_count(n_multiples, "n_multiples")
    chain = make_chain(states, variables, n_clusters, rs)
    first = model = model_of(chain, lagtime, n_samples, rs)
    times = lagtime * np.arange(2, n_multiples + 1)
    _warn_of_long((times[times >= chain.longest] * step).tolist())
    tables = {}
    for k in range(1, n_multiples + 1):
        predicted = _propagators(first, k, confidence, "predicted")
        if k * lagtime >= chain.longest and k > 1:
            columns = [f"estimated{end}" for end in ("", "_low", "_high")]
            tables[k * lagtime * step] = predicted.assign(**dict.fromkeys(columns, np.nan))
            continue
        if k > 1:
            model = model_of(chain, k * lagtime, n_samples, rs)
        estimated = _propagators(model, 1, confidence, "estimated")
        tables[k * lagtime * step] = predicted.join(estimated)
    return pd.concat(tables, names=["time"])


def mean_first_passage_times(
    model: BayesianMSMPosterior, *, time_step: float = 1.0, confidence: float = CONFIDENCE
) -> pd.DataFrame:
    """Mean first-passage times between all states, with credible intervals.

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
        Index (`source`, `target`), columns `time`, `low`, `high` in the unit of `time_step`; zero
        from a state to itself.
    """
    from deeptime.markov.tools.analysis import mfpt

    frame = check_positive(time_step, "time_step") * int(model.prior.lagtime)

    def passages(m: MarkovStateModel) -> FloatArray:
        return np.stack([mfpt(m.transition_matrix, k) for k in range(m.n_states)], axis=1)

    values = statistics(model, passages, confidence)[:3]
    return pairs_table(model, values, ["time", "low", "high"]) * frame


# ------------------------------------------------------------------ inside


def model_of(
    chain: Chain, lagtime: int, n_samples: int, rs: np.random.RandomState
) -> BayesianMSMPosterior:
    """Return the model of :func:`markov_model` of a chain's states."""
    from deeptime.markov.msm import BayesianMSMPosterior, MarkovStateModel, MaximumLikelihoodMSM
    from deeptime.markov.tools.estimation.dense.tmat_sampling.tmatrix_sampler import (
        TransitionMatrixSampler,  # deeptime's BayesianMSM, which draws from it, takes no seed
    )

    check_count(n_samples, "n_samples", minimum=2)
    if chain.is_fine:
        return lumped_model(chain, lagtime, n_samples=n_samples, seed=int(rs.randint(2**31 - 1)))
    counts = count(chain.states, lagtime)
    largest, *others = sets_of(counts)
    if others:
        visits = counts.state_histogram
        sets = [counts.state_symbols[places].tolist() for places in (largest, *others)]
        names = ", ".join(map(str, sets))
        lost = 1 - visits[largest].sum() / visits.sum()
        warn(
            f"The states are not connected in both directions at lagtime={lagtime}: sets {names}. "
            f"The model is of {sets[0]}; {lost:.1%} of the frames are left out. More "
            "data, or a shorter lagtime, may connect them."
        )
    counts = counts.submodel(largest)
    prior = MaximumLikelihoodMSM(reversible=True, allow_disconnected=False).fit_fetch(counts)
    sampler = TransitionMatrixSampler(
        counts.count_matrix,
        reversible=True,
        P0=prior.transition_matrix,
        n_steps=max(1, math.isqrt(counts.n_states)),
        seed=int(rs.randint(2**31 - 1)),
    )
    drawn = sampler.sample(nsamples=n_samples, return_statdist=True)
    samples = [
        MarkovStateModel(p, stationary_distribution=pi, reversible=True, count_model=counts)
        for p, pi in zip(*drawn, strict=True)
    ]
    return BayesianMSMPosterior(prior=prior, samples=samples)


def statistics(
    model: BayesianMSMPosterior,
    quantity: Callable[[MarkovStateModel], FloatArray],
    confidence: float,
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return a quantity of the likeliest model, low and high over the samples, and of each."""
    tail = (1 - check_fraction(confidence, "confidence")) / 2
    drawn = np.stack([quantity(sample) for sample in model.samples])
    low, high = np.quantile(drawn, [tail, 1 - tail], axis=0)
    return quantity(model.prior), low, high, drawn


def _timescales(n_timescales: int | None, model: MarkovStateModel) -> FloatArray:
    k = model.n_states - 1
    return np.asarray(model.timescales(k=k if n_timescales is None else min(k, n_timescales)))


def _warn_of_long(times: list[float]) -> None:
    if times:
        warn(
            f"No trajectory is longer than {', '.join(f'{t:g}' for t in times)}: what is estimated "
            "at that time is NaN."
        )


def _propagators(model: BayesianMSMPosterior, k: int, confidence: float, name: str) -> pd.DataFrame:
    """Return the transition probabilities of k steps."""
    values = statistics(model, lambda m: matrix_power(m.transition_matrix, k), confidence)[:3]
    return pairs_table(model, values, [name, f"{name}_low", f"{name}_high"])


def pairs_table(
    model: BayesianMSMPosterior, values: Sequence[FloatArray], columns: Sequence[str]
) -> pd.DataFrame:
    """Return square matrices as columns, a row per pair of the model's states."""
    symbols = model.prior.count_model.state_symbols
    index = pd.MultiIndex.from_product([symbols, symbols], names=PAIR)
    return pd.DataFrame({c: v.ravel() for c, v in zip(columns, values, strict=True)}, index=index)
