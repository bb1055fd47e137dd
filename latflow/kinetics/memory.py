"""What a lagtime hides: timescales at the lagtime, at twice and at four times it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state

from latflow._typing import BoolArray, FloatArray, RandomState
from latflow._validation import check_count, check_positive, heard, warn
from latflow.kinetics.chains import N_CLUSTERS, Chain, States, Variables, chains_by_temperature
from latflow.kinetics.lumping import lumped_model, relaxation_rates
from latflow.units import with_error

if TYPE_CHECKING:
    from deeptime.markov.msm import BayesianMSMPosterior


MULTIPLES = (1, 2, 4)
NAMES = (("timescale", "error"), ("doubled", "doubled_error"), ("quadrupled", "quadrupled_error"))
MOST_HIDDEN = 0.1  # of the slowest timescale, before the user hears of it
TINY = 1e-12  # variance of a share in data without any noise
MOST_LIVES = 2.0  # lagtime over timescale: beyond, few data make a decayed process look slow
LAW_ERROR = 1 / 3  # of a correction
SLOWEST_FACTOR = 0.05  # by which a rate is corrected at most


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
    """

    model: BayesianMSMPosterior
    rates: dict[int, FloatArray]

    def timescale(self, multiple: int) -> tuple[float, float]:
        """Return the slowest timescale in frames at a multiple and its error, NaN if unknown."""
        if multiple not in self.rates or not self.rates[multiple].size:
            return np.nan, np.nan
        best, *drawn = 1 / self.rates[multiple][:, 0]
        return float(best), float(np.std(drawn, ddof=1))

    def share(self, multiple: int) -> FloatArray:
        """Return what memory hides of each timescale, as told by its change up to a multiple.

        As a share of the true timescale, of rates that fall towards their limit as 1 / lagtime;
        NaN for processes that have decayed by then, as told from half the multiple.
        """
        first = self.rates[1]
        if multiple not in self.rates:
            return np.full_like(first, np.nan)
        alive = _alive(self.rates, multiple, int(self.model.prior.lagtime))
        change = 1 - self.rates[multiple] / first
        return np.where(alive, change * multiple / (multiple - 1), np.nan)

    def hidden(self) -> FloatArray:
        """Return the mean of both shares, weighted by their errors.

        Where neither is known, a process takes that of the next slower one.
        """
        shares = np.stack([self.share(k) for k in MULTIPLES[1:]])
        weight = 1 / (np.var(shares[:, 1:], axis=1, ddof=1, keepdims=True) + TINY)
        known = np.isfinite(shares)
        total = np.where(known, weight, 0).sum(axis=0)
        mean = np.where(known, weight * shares, 0).sum(axis=0) / np.where(total > 0, total, np.nan)
        return np.asarray(pd.DataFrame(mean).ffill(axis=1))

    def factors(self, rs: np.random.RandomState) -> FloatArray:
        """Return by what the rates of the model, and of each sample, are to be multiplied.

        What memory hides, h with standard error s, is corrected for by its mean after a prior of
        that size around zero, w h with w = h^2 / (h^2 + s^2). What that leaves of its variance, the
        disagreement between both multiples, and a third of the correction itself, which the law
        behind it may err by, enter the samples. Memory only shortens timescales: a negative h is
        noise.
        """
        hidden = np.nan_to_num(self.hidden())
        weight, doubt = _weight(hidden), np.nan_to_num(self.share(4) - self.share(2))
        factors = np.maximum(1 - weight * hidden, SLOWEST_FACTOR)
        left = weight[0] * (1 - weight[0]) * np.var(hidden[1:], axis=0, ddof=1)
        left = np.sqrt(left + np.square(_weight(np.abs(doubt)) * doubt)[0]) / factors[0]
        left = np.hypot(left, LAW_ERROR * np.log(factors[0]))
        factors[1:] *= np.exp(left * rs.standard_normal((len(factors) - 1, 1)))
        return factors


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
        Where memory hides more than 10 % of the timescale, by more than a standard error.

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
    chains = chains_by_temperature(states, temperature, variables, n_clusters, rs)
    memories = {t: remember(chain, lagtime, n_samples, rs) for t, chain in chains.items()}
    for t, memory in memories.items():
        warn_of_memory(memory, lagtime, t, step)
    rows = {t: _row(memory, step) for t, memory in memories.items()}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("temperature")


# ------------------------------------------------------------------ inside


def remember(chain: Chain, lagtime: int, n_samples: int, rs: np.random.RandomState) -> Memory:
    """Return the relaxation rates at the multiples of the lagtime, by the same bootstraps."""
    check_count(lagtime, "lagtime")
    check_count(n_samples, "n_samples", minimum=2)
    seed, blocks = int(rs.randint(2**31 - 1)), chain.blocks(lagtime)
    rates: dict[int, FloatArray] = {}
    models: list[BayesianMSMPosterior] = []
    for k in MULTIPLES:
        if k > 1 and (chain.longest <= k * lagtime or not _alive(rates, k, lagtime).any()):
            break
        with heard("" if k > 1 or not chain.is_fine else "The states are not connected"):
            model = lumped_model(chain, k * lagtime, n_samples=n_samples, seed=seed, blocks=blocks)
        models.append(model)
        first, last = (models[n].prior.count_model.state_symbols for n in (0, -1))
        if not np.array_equal(first, last):
            break
        rates[k] = np.stack([relaxation_rates(m) for m in (model.prior, *model.samples)])
    return Memory(models[0], rates)


def warn_of_memory(memory: Memory, lagtime: int, temperature: float, step: float) -> None:
    """Warn where memory hides a good part of the slowest timescale at the lagtime."""
    row = _row(memory, step)
    if row["hidden"] > MOST_HIDDEN + row["hidden_error"]:
        hides = f"hides about {row['hidden']:.0%} of the timescale"
        _warn(row, lagtime, temperature, hides)


def warn_of_lasting_memory(memory: Memory, lagtime: int, temperature: float, step: float) -> None:
    """Warn where the slowest timescale at longer lagtimes is not what rates are corrected to.

    Four times the lagtime must bear out what twice the lagtime tells; where it tells nothing, half
    of the correction is taken as not borne out.
    """
    twice, more = (memory.share(k)[:, :1] for k in MULTIPLES[1:])
    off = np.log(1 - twice) - np.log(1 - more) if np.isfinite(more).all() else twice / 2
    if off.size and off[0, 0] > MOST_HIDDEN + 2 * _error(off)[0]:
        _warn(_row(memory, step), lagtime, temperature, "is longer than rates are corrected for")


def _warn(row: dict[str, float], lagtime: int, temperature: float, what: str) -> None:
    short, *longer = [with_error(row[name], row[e]) for name, e in NAMES if np.isfinite(row[name])]
    warn(
        f"At temperature {temperature:g} the slowest timescale is {short} at lagtime={lagtime} and "
        f"{' and '.join(longer)} at twice{' and four times' * (len(longer) > 1)} that: the states "
        f"keep a memory, which {what}. Take a longer lagtime, or count transitions between fine "
        "clusters (`variables`, `n_clusters`)."
    )


def _row(memory: Memory, step: float) -> dict[str, float]:
    """Return a row of the table of :func:`lagtime_convergence`."""
    row: dict[str, float] = {}
    for k, names in zip(MULTIPLES, NAMES, strict=True):
        row |= dict(zip(names, step * np.array(memory.timescale(k)), strict=True))
    row["change"] = row["doubled"] / row["timescale"] - 1
    hidden = memory.hidden()
    values = (hidden[0, 0], _error(hidden)[0]) if hidden.size else (np.nan, np.nan)
    return row | dict(zip(("hidden", "hidden_error"), map(float, values), strict=True))


def _alive(rates: dict[int, FloatArray], k: int, lagtime: int) -> BoolArray:
    """Return which processes have not decayed at k lagtimes, as told from half as many."""
    return np.asarray(k * lagtime * rates[k // 2][0] < MOST_LIVES)


def _error(values: FloatArray) -> FloatArray:
    """Return the standard error of the first row from the samples in the others."""
    return np.asarray(np.std(values[1:], axis=0, ddof=1))


def _weight(values: FloatArray) -> FloatArray:
    """Return the weights of values against a prior of their own size, zero if negative."""
    squares = np.square(np.maximum(values, 0))
    return np.asarray(squares / (squares + np.square(_error(values)) + TINY))
