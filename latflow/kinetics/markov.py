"""Markov state models of metastable states, on deeptime: timescales, tests, passage times, errors.

States are what ``LaTFEstimator.predict`` returns: a list of arrays of integers, one per trajectory.
Lagtimes go in as frames; times come out in the unit of `time_step`, the time between two frames.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pandas as pd
from numpy.linalg import matrix_power
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state

from latflow._typing import FloatArray, IntArray, RandomState
from latflow._validation import (
    check_count,
    check_fraction,
    check_positive,
    check_temperatures,
    warn,
)
from latflow.trajectories import per_frame
from latflow.units import with_error

if TYPE_CHECKING:
    from deeptime.markov import TransitionCountModel
    from deeptime.markov.msm import BayesianMSMPosterior, MarkovStateModel


States: TypeAlias = "IntArray | Sequence[ArrayLike]"

CONFIDENCE = 0.95
PAIR = ["source", "target"]
MOST_DRIFT = 0.2  # of the slowest timescale between two lagtimes, before the user hears of it
MOST_LIVES = 4.6  # after which a process has decayed to 1 %, and its timescale is noise


def split_by_temperature(
    states: States, temperature: Sequence[ArrayLike]
) -> dict[float, list[IntArray]]:
    """Sort trajectories of states by temperature, cut where it changes (replica exchange).

    Parameters
    ----------
    states : list of array_like of int of shape (n_frames_i,)
    temperature : list
        Temperature of each trajectory: a number, or one value per frame.

    Returns
    -------
    dict of float to list of ndarray
        By rising temperature.

    Examples
    --------
    >>> pieces = split_by_temperature([[0, 0, 1], [1, 1]], temperature=[[300, 450, 450], 300])
    >>> {t: [piece.tolist() for piece in pieces[t]] for t in pieces}
    {300.0: [[0], [1, 1]], 450.0: [[0, 1]]}
    """
    trajectories = check_states(states)
    lengths = [len(trajectory) for trajectory in trajectories]
    values = check_temperatures(per_frame(temperature, lengths, "temperature"), sum(lengths))
    pieces: dict[float, list[IntArray]] = {t: [] for t in np.unique(values).tolist()}
    cuts = np.union1d(np.cumsum(lengths)[:-1], np.flatnonzero(np.diff(values)) + 1)
    for piece, start in zip(np.split(np.concatenate(trajectories), cuts), [0, *cuts], strict=True):
        pieces[values[start]].append(piece)
    return pieces


def connected_sets(states: States, lagtime: int = 1) -> list[IntArray]:
    """Return sets of states that reach each other in both directions, the most frames first.

    Parameters
    ----------
    states : list of array_like of int of shape (n_frames_i,)
    lagtime : int, default=1
        Lagtime in frames.

    Returns
    -------
    list of ndarray of int
        States never visited are in none.

    Examples
    --------
    >>> [s.tolist() for s in connected_sets([[0, 1, 0, 1], [2, 2, 2]])]
    [[0, 1], [2]]
    """
    return _sets(_counts(check_states(states), lagtime))


def markov_model(
    states: States, lagtime: int, *, n_samples: int = 100, random_state: RandomState = None
) -> BayesianMSMPosterior:
    """Estimate a reversible Markov state model and samples of its posterior.

    Counts are those of a sliding window divided by the lagtime, so that overlapping windows do not
    pass for independent transitions.

    Parameters
    ----------
    states : list of array_like of int of shape (n_frames_i,)
        Also one array: one trajectory.
    lagtime : int
        Lagtime in frames.
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
        Where states are left out; it names all connected sets and the fraction of the frames lost.

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
    counts = _counts(check_states(states), lagtime)
    largest, *others = _sets(counts)
    if others:
        visits = counts.state_histogram
        names = ", ".join(str(states.tolist()) for states in (largest, *others))
        lost = 1 - visits[largest].sum() / visits.sum()
        warn(
            f"The states are not connected in both directions at lagtime={lagtime}: sets {names}. "
            f"The model is of {largest.tolist()}; {lost:.1%} of the frames are left out. More "
            "data, or a shorter lagtime, may connect them."
        )
    counts = counts.submodel(largest)
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
    states: States,
    lagtime: int,
    *,
    temperature: Sequence[ArrayLike],
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
    n_samples, random_state
        As for :func:`markov_model`.

    Returns
    -------
    dict of float to deeptime.markov.msm.BayesianMSMPosterior
        By rising temperature.
    """
    rs = check_random_state(random_state)
    return {
        t: markov_model(pieces, lagtime, n_samples=n_samples, random_state=rs)
        for t, pieces in split_by_temperature(states, temperature).items()
    }


def implied_timescales(
    states: States,
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
        Lagtime in frames.
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
        unit of `time_step`. A lagtime whose connected set has fewer processes has fewer rows.
    """
    step, rs = check_positive(time_step, "time_step"), check_random_state(random_state)
    if n_timescales is not None:
        check_count(n_timescales, "n_timescales")
    tables: dict[float, pd.DataFrame] = {}
    for lagtime in np.atleast_1d(lagtimes).tolist():
        model = markov_model(states, lagtime, n_samples=n_samples, random_state=rs)
        best, low, high, _ = statistics(model, partial(_timescales, n_timescales), confidence)
        columns = {"timescale": best, "low": low, "high": high}
        tables[lagtime * step] = step * pd.DataFrame(columns)
    return pd.concat(tables, names=["lagtime", "process"])


def lagtime_convergence(
    states: States,
    lagtime: int,
    *,
    temperature: Sequence[ArrayLike],
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
        Lagtime in frames.
    temperature : list
        Temperature of each trajectory: a number, or one value per frame.
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
    for t, pieces in split_by_temperature(states, temperature).items():
        connected, *once = _slowest(pieces, lagtime, n_samples, step, rs)
        rows[t] = [*once, np.nan, np.nan]
        if max(map(len, pieces)) > 2 * lagtime and 2 * lagtime * step < MOST_LIVES * once[0]:
            still_connected, *twice = _slowest(pieces, 2 * lagtime, n_samples, step, rs)
            if still_connected == connected:
                rows[t] = [*once, *twice]
    columns = ["timescale", "error", "doubled", "doubled_error"]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns, dtype=np.float64)
    table["change"] = table["doubled"] / table["timescale"] - 1
    noise = 2 * np.hypot(table["error"], table["doubled_error"])
    drift = (table["doubled"] - table["timescale"]).abs()
    for at, row in table[(drift > noise) & (table["change"].abs() > MOST_DRIFT)].iterrows():
        shorter = with_error(row.timescale, row.error)
        longer = with_error(row.doubled, row.doubled_error)
        warn(
            f"At temperature {at:g} the slowest timescale is {shorter} at lagtime={lagtime} and "
            f"{longer} at twice that: the states keep a memory, and rates depend on the lagtime. "
            "Take a longer one: implied_timescales shows from where on they level off."
        )
    return table.rename_axis("temperature")


def chapman_kolmogorov(
    states: States,
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
        Lagtime in frames.
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
        connected at that time.
    """
    step, rs = check_positive(time_step, "time_step"), check_random_state(random_state)
    check_count(n_multiples, "n_multiples")
    first = model = markov_model(states, lagtime, n_samples=n_samples, random_state=rs)
    tables = {}
    for k in range(1, n_multiples + 1):
        if k > 1:
            model = markov_model(states, k * lagtime, n_samples=n_samples, random_state=rs)
        predicted = _propagators(first, k, confidence, "predicted")
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


def check_states(states: object) -> list[IntArray]:
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


def _counts(trajectories: list[IntArray], lagtime: int) -> TransitionCountModel:
    from deeptime.markov import TransitionCountEstimator

    check_count(lagtime, "lagtime")
    longest = max(map(len, trajectories))
    if longest <= lagtime:
        raise ValueError(
            f"Expected a trajectory longer than lagtime={lagtime} frames, got at most {longest}."
        )
    n_states = 1 + int(np.concatenate(trajectories).max())
    estimator = TransitionCountEstimator(lagtime, "sliding-effective", n_states=n_states)
    return estimator.fit_fetch([t for t in trajectories if len(t) > lagtime])


def _sets(counts: TransitionCountModel) -> list[IntArray]:
    visits = counts.state_histogram
    sets = [np.sort(s) for s in counts.connected_sets() if visits[s].any()]
    return sorted(sets, key=lambda s: -visits[s].sum())


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


def _slowest(
    states: list[IntArray], lagtime: int, n_samples: int, step: float, rs: np.random.RandomState
) -> tuple[list[int], float, float]:
    """Return the connected states, their slowest timescale and its standard error."""
    with warnings.catch_warnings():
        # few data leave states that are not connected, and eigenvalues of zero or one
        warnings.simplefilter("ignore")
        model = markov_model(states, lagtime, n_samples=n_samples, random_state=rs)
        symbols = model.prior.count_model.state_symbols.tolist()
        if len(symbols) < 2:
            return symbols, np.nan, np.nan
        best, *_, drawn = statistics(model, partial(_timescales, 1), CONFIDENCE)
        return symbols, step * float(best[0]), step * float(np.std(drawn, ddof=1))


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
