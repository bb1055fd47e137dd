"""What to simulate next: where, and from which frames, a target becomes known best."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.linalg import expm
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from latflow._typing import BoolArray, FloatArray, IntArray, RandomState
from latflow._validation import (
    check_count,
    check_option,
    check_per_frame,
    check_positive,
    check_state,
    check_temperature,
    heard,
    warn,
)
from latflow.kinetics import ArrheniusFit, arrhenius, rates, rates_at
from latflow.structures import Structures
from latflow.thermodynamics import Ensemble, populations, role_of
from latflow.trajectories import per_frame
from latflow.units import Units

__all__ = ["Suggestion", "suggest"]

TARGETS = ("population", "free_energy", "melting_temperature", "barrier")
N_CANDIDATES = 24
N_CLUSTERS, N_SAMPLES = 50, 20  # of the rates, whose errors matter little here
MOST_UNSURE = 1.0  # of the logarithm of a correlation time: what more it may be is no expectation
WINDOW = 5.0  # correlation times that a correlation function is summed over
FEWEST = 10.0  # correlation times that a new walker should last
MOST_KNOWN = 0.9  # of the bootstraps' freedom, that what is measured may take
SMALLEST = 1e-12  # variance, relative to the largest, that counts as known


class Suggestion(NamedTuple):
    """A simulation to do next, and what it is worth.

    Attributes
    ----------
    temperature : float
        Where to simulate.
    expected_error : float
        Standard error of the target to expect afterwards.
    error : float
        Its standard error now.
    even_error : float
        To expect after the same frames, split evenly over the temperatures that were simulated.
    table : DataFrame
        Index `temperature`, of all candidates; columns `role` ("simulated", "between", "beyond"),
        `expected_error`, `inefficiency` (frames per independent one) and `population`, that of the
        state (or of the region) there.
    starts : DataFrame
        Where the walkers start: real frames, one a row. Columns `temperature` (of the new
        simulation), `trajectory`, `frame`, `state` and `weight`; with `structures` also `file`,
        collective variables, and `structure`, the name of the PDB file, where one was written.
    """

    temperature: float
    expected_error: float
    error: float
    even_error: float
    table: pd.DataFrame
    starts: pd.DataFrame


def suggest(
    model: Any,
    budget: int,
    target: str = "population",
    *,
    state: int = 0,
    temperature: float | None = None,
    reference: int | None = None,
    region: object = None,
    candidates: ArrayLike | None = None,
    lagtime: int | None = None,
    inefficiency: float | None = None,
    n_walkers: int = 4,
    structures: Structures | None = None,
    folder: str | os.PathLike[str] | None = None,
    random_state: RandomState = None,
) -> Suggestion:
    r"""Say which simulation lowers the error of a target most, and what error is left then.

    What is not known of the target and of the populations p of all states at a candidate
    temperature has one covariance, over bootstraps and over what they do not know (heat capacities
    that no frame shows, odds that few crossings tell). N frames there measure p with the covariance

    .. math:: R = \frac{\Sigma}{N (1 - g n / 2 N)^2}, \qquad
              \Sigma = \sum_{t=-\infty}^{\infty} \mathrm{Cov}(1_a(0), 1_b(t))

    for n walkers and g frames per independent one, and the target's variance falls to (Kalman)

    .. math:: \sigma^2 - C_{\tau p} (C_{pp} + R)^{-1} C_{p \tau} .

    The correlations are those of the rates between states (:func:`latflow.kinetics.rates`), by
    Arrhenius' lines at every temperature, and of the target's own correlation time where rates do
    not connect the states. Errors of the lines make the expected covariance larger.

    Parameters
    ----------
    model : TemperatureExtrapolator
        Fitted with temperatures, with states.
    budget : int
        Frames of the new simulation, of all its walkers, as far apart in time as the model's.
    target : {"population", "free_energy", "melting_temperature", "barrier"}, default="population"
        Of `state` at `temperature`; a free energy relative to the state `reference`, or to all
        others together; "barrier" is the free energy of the frames in `region`, -k_B T log p.
    state : int, default=0
    temperature : float, optional
        Needed for all targets but a melting temperature.
    reference : int, optional
    region : list or array_like of bool, optional
        Whether each training frame, as the frames came, is on the barrier.
    candidates : array_like of shape (n_temperatures,), optional
        24 over the model's `temperature_range_`, evenly in the inverse temperature, the simulated
        ones and the target's if not given.
    lagtime : int, optional
        In frames, of the rates between states; that of the model if not given.
    inefficiency : float, optional
        Frames per independent one, the same at all temperatures, where it is known better.
    n_walkers : int, default=4
        Walkers of the new simulation, and starting frames.
    structures : Structures, optional
        Of the same model, to read the starting structures.
    folder : path, optional
        Write the starting structures there as PDB files, and `starts.csv`, which says where they
        come from. It must not exist, or be empty; needs `structures`.
    random_state : int, RandomState or None, default=None
        For the draw of starting frames: real ones with the weights that they have at the new
        temperature, those of the nearest simulated temperatures preferred.

    Returns
    -------
    Suggestion
        (temperature, expected_error, error, even_error, table, starts)

    Raises
    ------
    TypeError
        If the model is no TemperatureExtrapolator.
    ValueError
        If it has no temperatures or no states, if the target is not known at all, and for arguments
        that do not fit.
    OSError
        If the structures cannot be written.

    Warns
    -----
    UserWarning
        Where the budget is short for so many walkers.

    References
    ----------
    Kalman, J. Basic Eng. 82, 35 (1960); Sokal, in Functional integration, Plenum (1997), for the
    window of g.

    Examples
    --------
    >>> from sklearn.decomposition import PCA
    >>> from latflow import TemperatureExtrapolator
    >>> from latflow.datasets import make_three_hole
    >>> from latflow.planning import suggest
    >>> cold, hot = (
    ...     make_three_hole(6000, temperature=t, n_walkers=10, random_state=0) for t in (0.8, 1.4)
    ... )
    >>> X, temperature = cold.trajectories + hot.trajectories, cold.temperature + hot.temperature
    >>> states = [(x[:, 1] > 1).astype(int) for x in X]
    >>> model = TemperatureExtrapolator(
    ...     PCA(2), n_bootstraps=0, max_iter=10, boltzmann_constant=1.0, random_state=0
    ... ).fit(X, temperature=temperature, states=states)
    >>> found = suggest(model, 9000, temperature=0.6, lagtime=5, random_state=0)
    >>> found.expected_error < found.error, len(found.starts)
    (True, 4)
    """
    ensemble = _checked(model, structures, folder)
    check_count(budget, "budget", minimum=2)
    check_count(n_walkers, "n_walkers")
    goal = _Goal.of(ensemble, target, state, temperature, reference, region)
    seed = int(check_random_state(random_state).randint(2**31 - 1))
    if inefficiency is None:
        lagtime = model.lagtime_ if lagtime is None else check_count(lagtime, "lagtime")
        pace = _Pace.of(model, goal, lagtime, seed)
    else:
        pace = _Pace(None, 0.0, float(np.log(check_positive(inefficiency, "inefficiency"))))
    asked = _candidates(ensemble, goal, candidates)
    plan = _Plan.of(ensemble, goal, asked, pace)
    errors = np.array([plan.error([(k, budget)], n_walkers) for k in range(len(asked))])
    best = int(np.argmin(errors))
    table = pd.DataFrame(
        {
            "role": [role_of(t, ensemble.temperatures) for t in asked],
            "expected_error": errors,
            "inefficiency": plan.inefficiency,
            "population": plan.populations[:, goal.place],
        },
        index=pd.Index(asked, name="temperature"),
    )
    simulated = plan.places(ensemble.temperatures)
    even = [(k, budget / len(simulated)) for k in simulated]
    _warn_of_short(budget, n_walkers, float(plan.inefficiency[best]), ensemble, float(asked[best]))
    starts = _starts(model, structures, float(asked[best]), n_walkers, folder, seed)
    even_error = plan.error(even, n_walkers / len(simulated))
    return Suggestion(
        float(asked[best]), float(errors[best]), plan.error([], 1), even_error, table, starts
    )


# ------------------------------------------------------------------ the target


@dataclass(frozen=True)
class _Goal:
    """A target as a linear function of changes of populations at one temperature.

    Attributes
    ----------
    labels : ndarray of int of shape (n_frames,)
        States of the frames; a region is one of its own, the last.
    n_labels : int
    place : int
        Which of them the target is about.
    temperature : float
    contrast : ndarray of shape (n_labels,)
        Change of the target with each population.
    is_region : bool
    """

    labels: IntArray
    n_labels: int
    place: int
    temperature: float
    contrast: FloatArray
    is_region: bool

    @classmethod
    def of(
        cls,
        ensemble: Ensemble,
        target: str,
        state: int,
        temperature: float | None,
        reference: int | None,
        region: object,
    ) -> _Goal:
        """Check a target and take it apart."""
        check_option(target, "target", TARGETS)
        if (region is not None) != (target == "barrier"):
            raise ValueError("Expected `region` for the target 'barrier', and only for that.")
        if reference is not None and target != "free_energy":
            raise ValueError("Expected `reference` with the target 'free_energy' only.")
        states, n_labels = ensemble.check_states(), ensemble.n_states
        place = check_state(state, n_labels, "state")
        if target == "barrier":
            inside = _inside(ensemble, region)
            states, place, n_labels = np.where(inside, n_labels, states), n_labels, n_labels + 1
        scale = 1.0
        if target == "melting_temperature":
            melting = ensemble.melting_temperature(place)
            if np.isnan(melting.temperature):
                raise ValueError(
                    f"Expected a state that melts in the model's range, got state {place}: ask for "
                    "its population at one temperature."
                )
            temperature, scale = melting.temperature, -1 / melting.slope
        elif temperature is None:
            raise ValueError(f"Expected `temperature` for the target {target!r}, got None.")
        t = check_temperature(temperature)
        weights = ensemble.at(t).weights
        p = np.asarray(np.bincount(states, weights, n_labels), np.float64)
        if not 0 < p[place] < 1:
            raise ValueError(
                f"Expected a target that is neither empty nor everything at {t:g}, got a "
                f"population of {p[place]:g}."
            )
        contrast = np.eye(n_labels)[place] * scale
        kt = ensemble.units.kt(t)
        if target == "barrier":
            contrast = -kt * contrast / p[place]
        elif target == "free_energy":
            contrast = -kt * contrast / p[place] + kt * _others(p, place, reference, n_labels)
        return cls(states, n_labels, place, t, contrast, region is not None)


def _inside(ensemble: Ensemble, region: object) -> BoolArray:
    """Return whether each frame is in a region."""
    if ensemble.lengths is not None:
        region = per_frame(region, [int(n) for n in ensemble.lengths], "region")
    return np.asarray(check_per_frame(region, len(ensemble.pool), "region") != 0)


def _others(p: FloatArray, place: int, reference: int | None, n_labels: int) -> FloatArray:
    """Return the change with each population of log p of what a free energy is relative to."""
    if reference is None:
        among = np.arange(n_labels) != place
    else:
        among = np.arange(n_labels) == check_state(reference, n_labels, "reference")
    if among[place] or not p[among].sum() > 0:
        raise ValueError("Expected a `reference` with frames, other than `state`.")
    return np.asarray(among / p[among].sum())


# ------------------------------------------------------------------ how slow it is


@dataclass(frozen=True)
class _Pace:
    """How many frames are an independent one, at any temperature.

    Rates between states, whose logarithms are lines in the inverse temperature (Arrhenius), tell
    it of every direction. Where they do not connect all states, a line through the logarithm of the
    target's own correlation time serves for all directions.

    Attributes
    ----------
    rates : ArrheniusFit or None
    slope, level : float
        Of the logarithm of the frames per independent one; used without rates.
    """

    rates: ArrheniusFit | None
    slope: float = 0.0
    level: float = 0.0

    @classmethod
    def of(cls, model: Any, goal: _Goal, lagtime: int, seed: int) -> _Pace:
        """Learn from trajectories with dynamics."""
        if getattr(model, "_order", None) is None or not len(model._order):
            raise ValueError(
                "Expected trajectories with dynamics, whose correlation times tell how many frames "
                "are independent, got equilibrium draws only: give `inefficiency`."
            )
        segments = np.split(model._order, model._cuts)
        slope, level = _line_of_correlations(model, segments, goal.contrast[goal.labels])
        rates = None if goal.is_region else _lines_of_rates(model, segments, lagtime, seed)
        return cls(rates, slope, level)

    def spread(self, p: FloatArray, temperature: float, units: Units) -> FloatArray:
        """Return the covariance of populations p that one frame of a long simulation measures."""
        single = np.diag(p) - np.outer(p, p)
        g = max(1.0, float(np.exp(self.level + self.slope * units.beta(temperature))))
        if self.rates is None:
            return np.asarray(g * single)
        try:
            with heard():
                found = rates_at(self.rates, p, temperature=temperature)
        except ValueError:  # a state without a rate
            return np.asarray(g * single)
        step = expm(found.matrix)
        lasting = np.linalg.inv(np.eye(len(p)) - step + p) - p
        error = float(np.nan_to_num(found.timescales["log_error"].iloc[0]))
        # what is expected of a logarithm that is normal
        excess = np.exp(min(error, MOST_UNSURE) ** 2 / 2) * 2 * (p[:, None] * lasting - single)
        return np.asarray(single + (excess + excess.T) / 2)


def _lines_of_rates(
    model: Any, segments: Sequence[IntArray], lagtime: int, seed: int
) -> ArrheniusFit | None:
    """Return Arrhenius' lines of all pairs of states; None where rates do not connect them."""
    ensemble = model.ensemble_
    states, pool = ensemble.check_states(), ensemble.pool
    longer = [rows for rows in segments if len(rows) > lagtime]
    temperatures = [float(ensemble.temperatures[pool.origin[rows[0]]]) for rows in longer]
    try:
        with heard():
            table = rates(
                [states[rows] for rows in longer], lagtime, temperature=temperatures,
                variables=[model.z_[rows] for rows in longer], n_samples=N_SAMPLES,
                n_clusters=N_CLUSTERS, random_state=seed,
            )  # fmt: skip
            fit = arrhenius(table, boltzmann_constant=ensemble.units.boltzmann_constant)
            rates_at(fit, np.full(ensemble.n_states, 1.0), temperature=temperatures[0])
    except (ValueError, IndexError):
        return None
    return fit


def _line_of_correlations(
    model: Any, segments: Sequence[IntArray], values: FloatArray
) -> tuple[float, float]:
    """Return slope and level of the logarithm of a function's inefficiency."""
    pool, known = model.ensemble_.pool, []
    for k, beta in enumerate(pool.betas):
        own = [values[rows] for rows in segments if pool.origin[rows[0]] == k]
        if own and np.ptp(np.concatenate(own)):
            g = statistical_inefficiency(own)
            known.append((beta, np.log(g), np.sqrt(sum(map(len, own)) / g)))
    if not known:
        raise ValueError(
            "Expected trajectories with dynamics in which the target's states change, got none: "
            "give `inefficiency`."
        )
    betas, logs, weights = np.array(known).T
    if len(known) == 1:
        return 0.0, float(logs[0])
    slope, level = np.polyfit(betas, logs, 1, w=weights)
    return float(slope), float(level)


def statistical_inefficiency(segments: Sequence[FloatArray]) -> float:
    """Return 1 + 2 sum of the correlation function of continuous segments at one temperature.

    Their common mean is subtracted. The sum ends at five times what it has come to (Sokal).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = np.zeros(100_000)
    >>> for k in range(1, len(x)):
    ...     x[k] = 0.9 * x[k - 1] + rng.normal()
    >>> bool(17 < statistical_inefficiency([x]) < 21)  # (1 + 0.9) / (1 - 0.9) = 19
    True
    """
    mean = np.concatenate(segments).mean()
    longest = max(map(len, segments))
    size = 2 ** int(np.ceil(np.log2(2 * longest)))
    products, counts = np.zeros(longest), np.zeros(longest)
    for segment in segments:
        n = len(segment)
        power = np.abs(np.fft.rfft(segment - mean, size)) ** 2
        products[:n] += np.fft.irfft(power, size)[:n]
        counts[:n] += np.arange(n, 0, -1)
    correlation = products / counts / (products[0] / counts[0])
    sums = 1 + 2 * np.cumsum(correlation[1:])
    late = np.arange(1, len(sums) + 1) >= WINDOW * np.maximum(sums, 1) / 2
    return max(1.0, float(sums[np.argmax(late)] if late.any() else sums[-1]))


# ------------------------------------------------------------------ what a simulation is worth


@dataclass(frozen=True)
class _Plan:
    """What is not known of a target and of populations at the candidate temperatures.

    Attributes
    ----------
    temperatures : ndarray of shape (n_candidates,)
    populations : ndarray of shape (n_candidates, n_labels)
    spreads : ndarray of shape (n_candidates, n_labels, n_labels)
        Covariance of populations that one frame of a long simulation measures.
    inefficiency : ndarray of shape (n_candidates,)
        Frames per independent one, of the target's direction.
    target : tuple of two ndarrays
        Deviations of the target in bootstraps, and in what they do not know.
    measured : tuple of two ndarrays
        The same, (n_rows, n_candidates, n_labels), of the populations.
    """

    temperatures: FloatArray
    populations: FloatArray
    spreads: FloatArray
    inefficiency: FloatArray
    target: tuple[FloatArray, FloatArray]
    measured: tuple[FloatArray, FloatArray]

    @classmethod
    def of(cls, ensemble: Ensemble, goal: _Goal, temperatures: FloatArray, pace: _Pace) -> _Plan:
        """Ask an ensemble for everything at once."""
        statistic = partial(populations, states=goal.labels, n_states=goal.n_labels)
        both = ensemble.deviations([goal.temperature, *temperatures], statistic)
        betas = ensemble.units.betas(temperatures).tolist()
        p = [statistic(ensemble.answer.at(beta))[0] for beta in betas]
        pairs = list(zip(p, temperatures.tolist(), strict=True))
        spreads = np.array([pace.spread(q, t, ensemble.units) for q, t in pairs])
        c = goal.contrast
        single = np.array([c @ (np.diag(q) - np.outer(q, q)) @ c for q in p])
        g = spreads @ c @ c / np.where(single > 0, single, 1.0)
        first, later = (part[:, 0] @ goal.contrast for part in both)
        drawn, unseen = (part[:, 1:] for part in both)
        return cls(temperatures, np.array(p), spreads, g, (first, later), (drawn, unseen))

    def places(self, temperatures: FloatArray) -> list[int]:
        """Return which candidates these temperatures are."""
        return [int(np.argmin(np.abs(self.temperatures - t))) for t in temperatures]

    def error(self, simulations: Sequence[tuple[int, float]], n_walkers: float) -> float:
        """Return the target's error after simulations: a candidate and a number of frames each.

        A gain that is fitted to few bootstraps leaves less of their scatter than there is; what is
        left of it is scaled up for the freedom that it took.
        """
        first, later = self.target
        now = float(np.sqrt(first @ first + later @ later))
        if not simulations:
            return now
        places = [k for k, _ in simulations]
        n = self.populations.shape[1]
        drawn, unseen = (
            part[:, places].reshape(len(part), n * len(places)) for part in self.measured
        )
        noise = np.zeros((drawn.shape[1], drawn.shape[1]))
        for row, (k, n_frames) in enumerate(simulations):
            own = slice(row * n, (row + 1) * n)
            noise[own, own] = self._noise(k, n_frames, n_walkers)
        covariance = drawn.T @ drawn + unseen.T @ unseen + noise
        shared = drawn.T @ first + unseen.T @ later
        gain = np.linalg.pinv(covariance, rcond=SMALLEST, hermitian=True) @ shared
        taken = self._taken(drawn.T @ drawn, noise) / (len(drawn) - 1)
        left = np.square(first - drawn @ gain).sum() / (1 - min(taken, MOST_KNOWN))
        rest = np.square(later - unseen @ gain).sum() + gain @ noise @ gain
        return min(now, float(np.sqrt(left + rest)))

    def _noise(self, k: int, n_frames: float, n_walkers: float) -> FloatArray:
        """Return the covariance of populations that so many frames measure."""
        g = self.inefficiency[k]
        settled = max(1 - g * n_walkers / (2 * n_frames), 1e-3)  # walkers remember their start
        return np.asarray(self.spreads[k] / (n_frames * settled**2))

    @staticmethod
    def _taken(signal: FloatArray, noise: FloatArray) -> float:
        """Return how many numbers are measured well: the trace of signal over signal and noise."""
        inverse = np.linalg.pinv(signal + noise, rcond=SMALLEST, hermitian=True)
        return float(np.trace(signal @ inverse))


def _candidates(ensemble: Ensemble, goal: _Goal, candidates: ArrayLike | None) -> FloatArray:
    """Return candidate temperatures, ascending, the simulated ones among them."""
    if candidates is None:
        low, high = ensemble.temperature_range
        low, high = min(low, goal.temperature), max(high, goal.temperature)
        grid = 1 / np.linspace(1 / high, 1 / low, N_CANDIDATES)
        asked = np.append(grid, goal.temperature)
    else:
        asked = np.array([check_temperature(t) for t in np.ravel(np.asarray(candidates)).tolist()])
        if not len(asked):
            raise ValueError("Expected one of `candidates` or more, got none.")
    return np.unique(np.append(asked, ensemble.temperatures))


def _warn_of_short(
    budget: int, n_walkers: int, inefficiency: float, ensemble: Ensemble, temperature: float
) -> None:
    if budget / n_walkers < FEWEST * inefficiency / 2:
        warn(
            f"At {ensemble.units.named(temperature)} correlations last about "
            f"{inefficiency / 2:.0f} frames, and each of {n_walkers} walkers has "
            f"{budget / n_walkers:.0f}: fewer `n_walkers`, or a larger `budget`, forget their "
            "starts."
        )


# ------------------------------------------------------------------ where walkers start


def _checked(model: Any, structures: Structures | None, folder: Any) -> Ensemble:
    """Return a fitted model's ensemble; check where structures come from and go to."""
    if not hasattr(model, "temperature_range"):
        raise TypeError(
            f"Expected `model` to be a TemperatureExtrapolator, got {type(model).__name__}."
        )
    check_is_fitted(model)
    ensemble = model.ensemble_
    if not isinstance(ensemble, Ensemble):
        raise ValueError("Expected a model fitted with `temperature`, got one without.")
    ensemble.check_states()
    if structures is not None and structures.model is not model:
        raise ValueError("Expected `structures` of the same model, got those of another.")
    if folder is not None:
        if structures is None:
            raise ValueError("Expected `structures` with `folder`, which PDB files are read from.")
        target = Path(folder)
        if target.exists() and not (target.is_dir() and not any(target.iterdir())):
            raise FileExistsError(f"Expected `folder` to be new or empty, got {target}.")
        if not target.parent.is_dir():
            raise FileNotFoundError(f"Expected `folder` in an existing folder, got {target}.")
    return ensemble


def _starts(
    model: Any,
    structures: Structures | None,
    temperature: float,
    n_walkers: int,
    folder: Any,
    random_state: RandomState,
) -> pd.DataFrame:
    """Return the frames that walkers start from, drawn by weight; write their structures."""
    if structures is None:
        rows, weights = _drawn(model.ensemble_, temperature, n_walkers, random_state)
        trajectory, frame = _places(model.ensemble_, rows)
        states = model.ensemble_.check_states()[rows]
        table = pd.DataFrame(
            {"trajectory": trajectory, "frame": frame, "state": states, "weight": weights[rows]}
        )
        table.insert(0, "temperature", temperature)
        return table
    found = structures.virtual_trajectory(temperature, n_walkers, random_state=random_state)
    table = found.table.drop(columns="novel")
    table.insert(0, "temperature", temperature)
    if folder is None:
        return table
    table["structure"] = [f"start_{k:02d}.pdb" for k in range(len(table))]
    target = Path(folder)
    with tempfile.TemporaryDirectory(dir=target.parent) as made:
        whole = Path(made) / "starts"
        whole.mkdir()
        for k, name in enumerate(table["structure"]):
            found.structures[k].save_pdb(str(whole / name))
        table.to_csv(whole / "starts.csv", index=False)
        if target.exists():
            target.rmdir()
        whole.rename(target)
    return table


def _drawn(
    ensemble: Ensemble, temperature: float, n: int, random_state: RandomState
) -> tuple[IntArray, FloatArray]:
    """Draw n frames so that each comes n * weight times, rounded up or down."""
    weights = ensemble.at(temperature).nearest_weights
    heights = np.cumsum(weights)
    marks = (check_random_state(random_state).uniform() + np.arange(n)) / n * heights[-1]
    rows = np.searchsorted(heights, marks, side="right")
    return np.asarray(np.minimum(rows, np.flatnonzero(weights)[-1])), weights


def _places(ensemble: Ensemble, rows: IntArray) -> tuple[IntArray, IntArray]:
    """Return trajectory and place in it of frames of a list; rows of one array are trajectory 0."""
    lengths = [len(ensemble.pool)] if ensemble.lengths is None else ensemble.lengths
    ends = np.cumsum(lengths)
    trajectory = np.searchsorted(ends, rows, side="right")
    return np.asarray(trajectory), np.asarray(rows - (ends - lengths)[trajectory])
