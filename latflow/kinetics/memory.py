"""What a lagtime hides: timescales at the lagtime, at twice and at four times it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state

from latflow._typing import BoolArray, FloatArray, RandomState
from latflow._validation import check_count, check_positive, warn
from latflow.kinetics.chains import N_CLUSTERS, Chain, States, Variables, chains_by_temperature
from latflow.kinetics.lumping import lumped_model
from latflow.units import with_error

if TYPE_CHECKING:
    from deeptime.markov.msm import BayesianMSMPosterior


MULTIPLES = (1, 2, 4)
NAMES = (("timescale", "error"), ("doubled", "doubled_error"), ("quadrupled", "quadrupled_error"))
MOST_HIDDEN = 0.1  # of the slowest timescale, before the user hears of it
TINY = 1e-12  # variance of a share in data without any noise
MOST_LIVES = 2.0  # lagtime over timescale: beyond, few data make a decayed process look slow


@dataclass(frozen=True, eq=False)
class Memory:
    """Relaxation rates of one temperature's states at multiples of the lagtime.

    Parameters
    ----------
    model : deeptime.markov.msm.BayesianMSMPosterior
        The model at the lagtime.
    rates : dict of int to ndarray of shape (1 + n_samples, n_states - 1)
        Inverse timescales per frame by multiple of the lagtime, the slowest first: the likeliest,
        then the samples, which weight the same blocks of trajectories alike at all multiples. A
        multiple is missing where no trajectory is longer, all processes have decayed, or other
        states are connected.
    hidden, error : ndarray of shape (n_states - 1,)
        Share of each timescale that memory hides at the lagtime, and its standard error.
    """

    model: BayesianMSMPosterior
    rates: dict[int, FloatArray]
    hidden: FloatArray
    error: FloatArray

    def timescale(self, multiple: int) -> tuple[float, float]:
        """Return the slowest timescale in frames at a multiple and its error, NaN if unknown."""
        if multiple not in self.rates or not self.rates[multiple].size:
            return np.nan, np.nan
        best, *drawn = 1 / self.rates[multiple][:, 0]
        return float(best), float(np.std(drawn, ddof=1))


def lagtime_convergence(
    states: States,
    lagtime: int,
    *,
    temperature: Sequence[ArrayLike],
    variables: Variables | None = None,
    n_clusters: int = N_CLUSTERS,
    time_step: float = 1.0,
    n_samples: int = 100,
    random_state: RandomState = None,
) -> pd.DataFrame:
    r"""Compare the slowest implied timescale at the lagtime, at twice and at four times it.

    Where states, or clusters, have lost their memory within the lagtime all are the same. Where
    they have not, the inverse timescale is too large by about a constant over the lagtime,

    .. math:: \frac{1}{t(\tau)} = \frac{1}{t} + \frac{c}{\tau} ,

    so that a change on doubling is half of what memory hides, and one on doubling twice three
    quarters of it.

    Parameters
    ----------
    states : list of array_like of int of shape (n_frames_i,)
    lagtime : int
        Lagtime in frames.
    temperature : list
        Temperature of each trajectory: a number, or one value per frame.
    variables, n_clusters
        As for :func:`markov_model`.
    time_step : float, default=1.0
        Time between two frames.
    n_samples : int, default=100
        Bootstraps over blocks of the trajectories, the same at all lagtimes.
    random_state : int, RandomState or None, default=None

    Returns
    -------
    DataFrame
        Index `temperature`, columns `timescale` and `error`, its standard error, in the unit of
        `time_step`; `doubled`, `doubled_error`, `quadrupled`, `quadrupled_error`, of twice and
        four times the lagtime, NaN where no trajectory is longer, other states are connected, or
        the lagtime is more than two timescales; `change`, relative, on doubling; `hidden` and
        `hidden_error`, the share of the true timescale by which `timescale` is short.

    Warns
    -----
    UserWarning
        Where memory hides more than 10 % of the timescale, by more than a standard error, and more
        than two standard errors of it.

    Examples
    --------
    >>> from latflow.datasets import make_three_hole
    >>> data = make_three_hole(4000, temperature=1.0, n_walkers=2, random_state=0)
    >>> sides = [(x[:, 0] > 0).astype(int) for x in data.trajectories]
    >>> table = lagtime_convergence(sides, 10, temperature=[1.0, 1.0], random_state=0)
    >>> table.columns.tolist()[:4]
    ['timescale', 'error', 'doubled', 'doubled_error']
    """
    step, rs = check_positive(time_step, "time_step"), check_random_state(random_state)
    check_count(n_samples, "n_samples", minimum=2)
    chains = chains_by_temperature(states, temperature, variables, n_clusters, rs)
    memories = {t: remember(chain, lagtime, n_samples, rs) for t, chain in chains.items()}
    for t, memory in memories.items():
        warn_of_memory(memory, lagtime, t, step)
    rows = {t: _row(memory, step) for t, memory in memories.items()}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("temperature")


# ------------------------------------------------------------------ inside


def remember(chain: Chain, lagtime: int, n_samples: int, rs: np.random.RandomState) -> Memory:
    """Return the relaxation rates at the multiples of the lagtime, by the same bootstraps."""
    seed, blocks = int(rs.randint(2**31 - 1)), chain.blocks(lagtime)
    rates: dict[int, FloatArray] = {}
    models: list[BayesianMSMPosterior] = []
    for k in MULTIPLES:
        if k > 1 and (chain.longest <= k * lagtime or not _alive(rates, k, lagtime).any()):
            break
        with warnings.catch_warnings():
            # few data leave states that are not connected, and eigenvalues of zero or one
            warnings.simplefilter("ignore")
            model = lumped_model(chain, k * lagtime, n_samples=n_samples, seed=seed, blocks=blocks)
            values = [1 / m.timescales() for m in (model.prior, *model.samples)]
        models.append(model)
        first, last = (models[n].prior.count_model.state_symbols for n in (0, -1))
        if not np.array_equal(first, last):
            break
        rates[k] = np.asarray(values, dtype=np.float64)
    return Memory(models[0], rates, *_hidden(rates, lagtime))


def warn_of_memory(memory: Memory, lagtime: int, temperature: float, step: float) -> None:
    """Warn where memory hides a good part of the slowest timescale."""
    row = _row(memory, step)
    error = row["hidden_error"]
    if not row["hidden"] > max(MOST_HIDDEN + error, 2 * error):
        return
    short, *longer = [with_error(row[f"{n}"], row[e]) for n, e in NAMES if np.isfinite(row[n])]
    warn(
        f"At temperature {temperature:g} the slowest timescale is {short} at lagtime={lagtime} and "
        f"{' and '.join(longer)} at twice{' and four times' * (len(longer) > 1)} that: the states "
        f"keep a memory, which hides about {row['hidden']:.0%} of the timescale. Take a longer "
        "lagtime, or count transitions between fine clusters (`variables`, `n_clusters`)."
    )


def _row(memory: Memory, step: float) -> dict[str, float]:
    """Return a row of the table of :func:`lagtime_convergence`."""
    row: dict[str, float] = {}
    for k, names in zip(MULTIPLES, NAMES, strict=True):
        row |= dict(zip(names, step * np.array(memory.timescale(k)), strict=True))
    row["change"] = row["doubled"] / row["timescale"] - 1
    hidden, error = (
        values[0] if values.size else np.nan for values in (memory.hidden, memory.error)
    )
    return row | {"hidden": float(hidden), "hidden_error": float(error)}


def _alive(rates: dict[int, FloatArray], k: int, lagtime: int) -> BoolArray:
    """Return which processes have not decayed at k lagtimes, as told from half as many."""
    return np.asarray(k * lagtime * rates[k // 2][0] < MOST_LIVES)


def _hidden(rates: dict[int, FloatArray], lagtime: int) -> tuple[FloatArray, FloatArray]:
    """Return the share of each timescale that memory hides, and its standard error.

    From rates that fall towards their limit as 1 / lagtime, by the changes on doubling once and
    twice, weighted by their errors. A process that has decayed by twice the lagtime takes the share
    of the next slower one.
    """
    first, shares, weights = rates[1], [], []
    for k in MULTIPLES[1:]:
        if k in rates:
            share = (1 - rates[k] / first) * k / (k - 1)
            shares.append(share)
            weights.append(_alive(rates, k, lagtime) / (np.var(share[1:], axis=0, ddof=1) + TINY))
    if not shares:
        unknown = np.full(first.shape[1], np.nan)
        return unknown, unknown
    with np.errstate(invalid="ignore"):
        mean = np.einsum("kp,kip->ip", weights, shares) / np.sum(weights, axis=0)
    known = pd.DataFrame([mean[0], mean[1:].std(axis=0, ddof=1)]).ffill(axis=1)
    return known.loc[0].to_numpy(), known.loc[1].to_numpy()
