"""Markov state models of metastable states, on deeptime: timescales, tests, passage times, errors.

States are what ``LaTFEstimator.predict`` returns: a list of arrays of integers, one per trajectory.
Lagtimes go in as frames; times come out in the unit of `time_step`, the time between two frames.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state

from latflow._validation import check_count, check_fraction, check_positive, check_temperatures
from latflow.trajectories import spread

__all__ = [
    "CONFIDENCE",
    "RandomState",
    "chapman_kolmogorov",
    "connected_sets",
    "implied_timescales",
    "lagtime_convergence",
    "markov_model",
    "markov_models",
    "mean_first_passage_times",
    "split_by_temperature",
]

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
RandomState = int | np.random.RandomState | None

CONFIDENCE = 0.95
MOST_DRIFT = 0.2  # of the slowest timescale between two lagtimes, before the user hears of it
MOST_LIVES = 4.6  # after which a process has decayed to 1 %, and its timescale is noise


def split_by_temperature(states: Any, temperature: Any) -> dict[float, list[IntArray]]:
    """Sort trajectories of states by temperature, cut where it changes (replica exchange).

    Parameters
    ----------
    states : list of array_like of int of shape (n_frames_i,)
    temperature : list
        Per trajectory: a number, or one value per frame.

    Returns
    -------
    dict of float to list of ndarray
        By rising temperature.

    Examples
    --------
    >>> parts = split_by_temperature([[0, 0, 1], [1, 1]], temperature=[[300, 450, 450], 300])
    >>> {t: [p.tolist() for p in pieces] for t, pieces in parts.items()}
    {300.0: [[0], [1, 1]], 450.0: [[0, 1]]}
    """
    trajectories = _check_states(states)
    lengths = [len(trajectory) for trajectory in trajectories]
    values = check_temperatures(spread(temperature, lengths, "temperature"), sum(lengths))
    found: dict[float, list[IntArray]] = {float(t): [] for t in np.unique(values)}
    ends = np.cumsum(lengths)[:-1]
    for trajectory, own in zip(trajectories, np.split(values, ends), strict=True):
        cuts = np.flatnonzero(np.diff(own)) + 1
        for piece, part in zip(np.split(trajectory, cuts), np.split(own, cuts), strict=True):
            found[float(part[0])].append(piece)
    return found


def connected_sets(states: Any, lagtime: int = 1) -> list[IntArray]:
    """Return sets of states that reach each other in both directions, the most frames first.

    Parameters
    ----------
    states : list of array_like of int of shape (n_frames_i,)
    lagtime : int, default=1
        In frames.

    Returns
    -------
    list of ndarray of int
        States never visited are in none.

    Examples
    --------
    >>> [s.tolist() for s in connected_sets([[0, 1, 0, 1], [2, 2, 2]])]
    [[0, 1], [2]]
    """
    return _sets(_counts(_check_states(states), lagtime))


def markov_model(
    states: Any, lagtime: int, *, n_samples: int = 100, random_state: RandomState = None
) -> Any:
    """Estimate a reversible Markov state model and samples of its posterior.

    Counts are those of a sliding window divided by the lagtime, so that overlapping windows do not
    pass for independent transitions.

    Parameters
    ----------
    states : list of array_like of int of shape (n_frames_i,)
        Also one array: one trajectory.
    lagtime : int
        In frames.
    n_samples : int, default=100
        Transition matrices drawn from the posterior, for error bars.
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
        Where states are left out; it names all connected sets and the share of the frames lost.

    Raises
    ------
    ValueError
        If the states are no integers, or no trajectory is longer than the lagtime.

    References
    ----------
    .. [1] Trendelkamp-Schroer, Wu, Paul, Noé, "Estimation and uncertainty of reversible Markov
       models", J. Chem. Phys. 143, 174101 (2015).

    Examples
    --------
    >>> model = markov_model([[0, 0, 1, 1, 0, 0, 1, 1, 1, 0]], lagtime=1, random_state=0)
    >>> model.prior.stationary_distribution.round(2)
    array([0.44, 0.56])
    """
    from deeptime.markov.msm import BayesianMSMPosterior, MarkovStateModel, MaximumLikelihoodMSM
    from deeptime.markov.tools.estimation.dense.tmat_sampling.tmatrix_sampler import (
        TransitionMatrixSampler,  # deeptime's BayesianMSM, which draws from it, takes no seed
    )

    check_count(n_samples, "n_samples", minimum=2)
    trajectories = _check_states(states)
    counts = _largest_set(_counts(trajectories, lagtime), lagtime)
    prior = MaximumLikelihoodMSM(reversible=True, allow_disconnected=False).fit_fetch(counts)
    sampler = TransitionMatrixSampler(
        counts.count_matrix,
        reversible=True,
        P0=prior.transition_matrix,
        n_steps=max(1, math.isqrt(counts.n_states)),
        seed=int(check_random_state(random_state).randint(2**31 - 1)),
    )
    drawn = sampler.sample(nsamples=n_samples, return_statdist=True)
    samples = [
        MarkovStateModel(p, stationary_distribution=pi, reversible=True, count_model=counts)
        for p, pi in zip(*drawn, strict=True)
    ]
    return BayesianMSMPosterior(prior=prior, samples=samples)


def markov_models(
    states: Any,
    lagtime: int,
    *,
    temperature: Any,
    n_samples: int = 100,
    random_state: RandomState = None,
) -> dict[float, Any]:
    """Estimate one Markov state model per temperature; see :func:`markov_model`.

    Parameters
    ----------
    states : list of array_like of int of shape (n_frames_i,)
    lagtime : int
        In frames.
    temperature : list
        Per trajectory: a number, or one value per frame.
    n_samples, random_state
        As for :func:`markov_model`.

    Returns
    -------
    dict of float to deeptime.markov.msm.BayesianMSMPosterior
        By rising temperature.
    """
    rs = check_random_state(random_state)
    return {
        t: markov_model(part, lagtime, n_samples=n_samples, random_state=rs)
        for t, part in split_by_temperature(states, temperature).items()
    }


def implied_timescales(
    states: Any,
    lagtimes: ArrayLike,
    *,
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
        In frames.
    time_step : float, default=1.0
        Time between two frames.
    n_timescales : int, optional
        How many, the slowest first; all if not given.
    n_samples : int, default=100
    confidence : float, default=0.95
        Of the intervals.
    random_state : int, RandomState or None, default=None

    Returns
    -------
    DataFrame
        Index (`lagtime`, `process`), columns `timescale`, `low`, `high`; all but `process` in the
        unit of `time_step`. A lagtime whose connected set has fewer processes has fewer rows.
    """
    step = check_positive(time_step, "time_step")
    rs = check_random_state(random_state)
    if n_timescales is not None:
        check_count(n_timescales, "n_timescales")
    rows = []
    for lagtime in np.atleast_1d(lagtimes).tolist():
        model = markov_model(states, lagtime, n_samples=n_samples, random_state=rs)
        wanted = model.prior.n_states - 1
        k = wanted if n_timescales is None else min(n_timescales, wanted)
        found = _statistics(model, partial(_timescales, k=k, step=step), confidence)
        rows += [
            (lagtime * step, process, *values)
            for process, values in enumerate(np.stack(found, axis=-1).tolist())
        ]
    columns = ["lagtime", "process", "timescale", "low", "high"]
    return pd.DataFrame(rows, columns=columns).set_index(["lagtime", "process"])


def lagtime_convergence(
    states: Any,
    lagtime: int,
    *,
    temperature: Any,
    time_step: float = 1.0,
    n_samples: int = 100,
    random_state: RandomState = None,
) -> pd.DataFrame:
    """Compare the slowest implied timescale at the lagtime and at twice the lagtime.

    Where the states have lost their memory within the lagtime both are the same.

    Parameters
    ----------
    states : list of array_like of int of shape (n_frames_i,)
    lagtime : int
        In frames.
    temperature : list
        Per trajectory: a number, or one value per frame.
    time_step : float, default=1.0
        Time between two frames.
    n_samples : int, default=100
    random_state : int, RandomState or None, default=None

    Returns
    -------
    DataFrame
        Index `temperature`, columns `timescale` and `error`, the posterior's standard deviation, in
        the unit of `time_step`; `doubled` and `doubled_error`, of twice the lagtime, NaN where no
        trajectory is longer, other states are connected, or the process has decayed to 1 % by then;
        `change`, relative.

    Warns
    -----
    UserWarning
        Where the timescale changes by more than 20 % and by more than two standard errors.

    Examples
    --------
    >>> from latflow.datasets import make_three_hole
    >>> data = make_three_hole(4000, temperature=1.0, n_walkers=2, random_state=0)
    >>> sides = [(x[:, 0] > 0).astype(int) for x in data.trajectories]
    >>> table = lagtime_convergence(sides, 20, temperature=[1.0, 1.0], random_state=0)
    >>> table.columns.tolist()
    ['timescale', 'error', 'doubled', 'doubled_error', 'change']
    """
    step, rs = check_positive(time_step, "time_step"), check_random_state(random_state)
    rows = {}
    for t, part in split_by_temperature(states, temperature).items():
        known, *once = _slowest(part, lagtime, n_samples, step, rs)
        found, twice = None, [np.nan, np.nan]
        if max(map(len, part)) > 2 * lagtime and 2 * lagtime * step < MOST_LIVES * once[0]:
            found, *twice = _slowest(part, 2 * lagtime, n_samples, step, rs)
        rows[t] = once + (twice if found == known else [np.nan, np.nan])
    columns = ["timescale", "error", "doubled", "doubled_error"]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns, dtype=np.float64)
    table["change"] = table["doubled"] / table["timescale"] - 1
    _warn_of_drift(table, lagtime)
    return table.rename_axis("temperature")


def chapman_kolmogorov(
    states: Any,
    lagtime: int,
    *,
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
        In frames.
    n_multiples : int, default=5
        Largest k.
    time_step : float, default=1.0
        Time between two frames.
    n_samples : int, default=100
    confidence : float, default=0.95
        Of the intervals.
    random_state : int, RandomState or None, default=None

    Returns
    -------
    DataFrame
        Index (`time`, `source`, `target`): the time k tau and state numbers. Columns `predicted`,
        `predicted_low`, `predicted_high`, of the model at `lagtime`, and `estimated`,
        `estimated_low`, `estimated_high`, of a model at that time; NaN for a state that is not
        connected at that time.
    """
    step = check_positive(time_step, "time_step")
    rs = check_random_state(random_state)
    check_count(n_multiples, "n_multiples")
    model = markov_model(states, lagtime, n_samples=n_samples, random_state=rs)
    symbols = model.prior.count_model.state_symbols
    tables = []
    for k in range(1, n_multiples + 1):
        other = model
        if k > 1:
            other = markov_model(states, k * lagtime, n_samples=n_samples, random_state=rs)
        powers = _statistics(model, partial(_propagator, k=k), confidence)
        own = other.prior.count_model.state_symbols
        found = _statistics(other, partial(_propagator, k=1), confidence)
        predicted = _pairs_table(powers, symbols, ["predicted", "predicted_low", "predicted_high"])
        estimated = _pairs_table(found, own, ["estimated", "estimated_low", "estimated_high"])
        joined = predicted.join(estimated)
        tables.append(pd.concat({k * lagtime * step: joined}, names=["time"]))
    return pd.concat(tables)


def mean_first_passage_times(
    model: Any, *, time_step: float = 1.0, confidence: float = CONFIDENCE
) -> pd.DataFrame:
    """Mean first-passage times between all states, with credible intervals.

    Parameters
    ----------
    model : deeptime.markov.msm.BayesianMSMPosterior
        Of :func:`markov_model`.
    time_step : float, default=1.0
        Time between two frames.
    confidence : float, default=0.95
        Of the intervals.

    Returns
    -------
    DataFrame
        Index (`source`, `target`), columns `time`, `low`, `high` in the unit of `time_step`; zero
        from a state to itself.
    """
    step = check_positive(time_step, "time_step")

    def times(m: Any) -> FloatArray:
        n = m.n_states
        passage = [[m.mfpt([a], [b]) if a != b else 0.0 for b in range(n)] for a in range(n)]
        return np.asarray(step * np.array(passage))

    symbols = model.prior.count_model.state_symbols
    return _pairs_table(_statistics(model, times, confidence), symbols, ["time", "low", "high"])


# ------------------------------------------------------------------ inside


def _check_states(states: Any) -> list[IntArray]:
    """Return a list of arrays of state numbers; one array is one trajectory."""
    if isinstance(states, np.ndarray) and states.ndim == 1:
        states = [states]
    if not isinstance(states, Sequence) or isinstance(states, str) or len(states) == 0:
        raise ValueError(
            "Expected `states` to be a list of arrays of integers, one per trajectory, got "
            f"{type(states).__name__}."
        )
    arrays = []
    for t, values in enumerate(states):
        array = np.asarray(values)
        if array.ndim != 1 or array.dtype.kind not in "iu" or (len(array) and array.min() < 0):
            raise ValueError(
                f"Expected `states` of trajectory {t} to be integers >= 0 of shape (n_frames,), "
                f"got {array.dtype} of shape {array.shape}."
            )
        arrays.append(array.astype(np.int64))
    return arrays


def _counts(trajectories: list[IntArray], lagtime: int) -> Any:
    from deeptime.markov import TransitionCountEstimator

    check_count(lagtime, "lagtime")
    longest = max(len(trajectory) for trajectory in trajectories)
    if longest <= lagtime:
        raise ValueError(
            f"Expected a trajectory longer than lagtime={lagtime} frames, got at most {longest}."
        )
    long = [trajectory for trajectory in trajectories if len(trajectory) > lagtime]
    n_states = 1 + max(int(trajectory.max()) for trajectory in trajectories if len(trajectory))
    estimator = TransitionCountEstimator(lagtime, "sliding-effective", n_states=n_states)
    return estimator.fit_fetch(long)


def _sets(counts: Any) -> list[IntArray]:
    visits = counts.state_histogram
    sets = [np.sort(s) for s in counts.connected_sets() if visits[s].any()]
    return sorted(sets, key=lambda s: -visits[s].sum())


def _largest_set(counts: Any, lagtime: int) -> Any:
    """Return the counts of the connected set with most frames; name what is left out."""
    visits, sets = counts.state_histogram, _sets(counts)
    kept = sets[0]
    if len(sets) > 1:
        names = ", ".join(str(s.tolist()) for s in sets)
        lost = 1 - visits[kept].sum() / visits.sum()
        warnings.warn(
            f"The states are not connected in both directions at lagtime={lagtime}: sets {names}. "
            f"The model is of {kept.tolist()}; {lost:.1%} of the frames are left out. More data, "
            "or a shorter lagtime, may connect them.",
            UserWarning,
            stacklevel=3,
        )
    return counts.submodel(kept)


def _statistics(
    model: Any, quantity: Callable[[Any], FloatArray], confidence: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return a quantity of the model of maximum likelihood, and its interval over the samples."""
    tail = (1 - check_fraction(confidence, "confidence")) / 2
    drawn = np.stack([np.asarray(quantity(sample)) for sample in model.samples])
    low, high = np.quantile(drawn, [tail, 1 - tail], axis=0)
    return np.asarray(quantity(model.prior)), low, high


def _timescales(model: Any, k: int, step: float) -> FloatArray:
    return np.asarray(step * model.timescales(k=k))


def _slowest(
    states: list[IntArray], lagtime: int, n_samples: int, step: float, rs: np.random.RandomState
) -> tuple[list[int], float, float]:
    """Return the connected states, their slowest timescale and its standard error."""
    with warnings.catch_warnings():
        # of few data: states that are not connected, eigenvalues of zero or one
        warnings.simplefilter("ignore")
        model = markov_model(states, lagtime, n_samples=n_samples, random_state=rs)
        symbols = model.prior.count_model.state_symbols.tolist()
        if len(symbols) < 2:
            return symbols, np.nan, np.nan
        drawn = [_timescales(sample, 1, step)[0] for sample in model.samples]
        error = float(np.std(drawn, ddof=1))
        return symbols, float(_timescales(model.prior, 1, step)[0]), error


def _warn_of_drift(table: pd.DataFrame, lagtime: int) -> None:
    noise = 2 * np.hypot(table["error"], table["doubled_error"])
    drift = (table["doubled"] - table["timescale"]).abs()
    for t, row in table[(drift > noise) & (table["change"].abs() > MOST_DRIFT)].iterrows():
        warnings.warn(
            f"At temperature {t:g} the slowest timescale is {row.timescale:.3g} +- {row.error:.2g} "
            f"at lagtime={lagtime} and {row.doubled:.3g} +- {row.doubled_error:.2g} at twice that: "
            "the states keep a memory, and rates depend on the lagtime. Take a longer one: "
            "implied_timescales shows from where on they level off.",
            UserWarning,
            stacklevel=3,
        )


def _propagator(model: Any, k: int) -> FloatArray:
    return np.asarray(np.linalg.matrix_power(model.transition_matrix, k))


def _pairs_table(values: tuple[FloatArray, ...], symbols: Any, columns: list[str]) -> pd.DataFrame:
    """Return square matrices as columns, a row per pair of states."""
    index = pd.MultiIndex.from_product([symbols, symbols], names=["source", "target"])
    return pd.DataFrame({c: v.ravel() for c, v in zip(columns, values, strict=True)}, index=index)
