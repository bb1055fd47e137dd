"""What answers at any temperature: weights, averages, populations, thermodynamics, melting."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from sklearn.base import BaseEstimator

from latflow._typing import FloatArray, IntArray
from latflow._validation import (
    check_per_frame,
    check_positive,
    check_range,
    check_state,
    check_temperature,
    warn,
)
from latflow.thermodynamics.moments import populations, state_differences, state_moments
from latflow.thermodynamics.pool import Pool, effective_sample_size
from latflow.thermodynamics.routes import Curved, Energies, LogLinear, Route
from latflow.thermodynamics.support import class_of, role_of
from latflow.thermodynamics.weighting import Snapshot, Statistic, Weighting, averages
from latflow.trajectories import (
    Frames,
    as_container,
    gather_frames,
    is_trajectory_list,
    per_frame,
)
from latflow.units import BOLTZMANN_CONSTANT, Units

QUANTITIES = ("free_energy", "energy", "entropy", "heat_capacity")
COLDER, HOTTER = 0.8, 1.5  # default range of temperatures, in simulated ones
LEAST_CHANGE = 0.02
N_SEARCHED = 60


class MeltingTemperature(NamedTuple):
    """Where a state and all others are equally populated.

    Attributes
    ----------
    temperature, standard_error : float
    slope : float
        Derivative of the state's population by temperature there.
    """

    temperature: float
    standard_error: float
    slope: float


class Ensemble:
    """The equilibrium at any temperature, from frames simulated at a few.

    Needs no estimator: potential energies, temperatures and states of the user's own are enough.

    Parameters
    ----------
    energies : list of array_like, or array_like
        One per trajectory, or one of all frames. Shape (n_frames,): potential energies, in the
        units of `boltzmann_constant` times temperature (kJ/mol); the weights are then MBAR's.
        Shape (n_frames, 1) or (n_frames, 2): coefficients h and c of a log-linear model of the
        reduced energy, (beta - beta_0) h + (beta - beta_0)^2 / 2 c, with beta_0 the mean of the
        simulated inverse temperatures.
    temperatures : list or array_like
        One per trajectory for a list, one per frame for an array.
    states : list or array_like of int, optional
        State of each frame, from 0; without it, questions about states are errors.
    trajectory, frame : array_like of shape (n_frames,), optional
        Trajectory id and place in it, for an array: errors are those of blocks of trajectories.
    weights : list or array_like, optional
        Statistical weight of each frame.
    temperature_range : tuple of float, optional
        Where melting temperatures are sought; 0.8 times the lowest to 1.5 times the highest
        simulated temperature if not given.
    boltzmann_constant : float, default=0.00831446...
        In kJ/mol/K; 1.0 for reduced units.

    Attributes
    ----------
    temperatures : ndarray of shape (n_temperatures,)
        Simulated temperatures, ascending.
    temperature_range : tuple of float
    units : Units
    states : ndarray of int of shape (n_frames,), or None
    n_states : int
        0 without states.
    n_bootstraps : int

    Raises
    ------
    ValueError
        For arrays that do not fit each other, and for simulated temperatures that visit no common
        regions.

    Examples
    --------
    >>> import numpy as np
    >>> from latflow.thermodynamics import Ensemble
    >>> rng = np.random.default_rng(0)  # a state of energy 0 and two of energy 1
    >>> p = [2 * np.exp(-1 / t) / (1 + 2 * np.exp(-1 / t)) for t in (0.5, 1.0)]
    >>> states = [(rng.random(20_000) < q).astype(int) for q in p]
    >>> ensemble = Ensemble([1.0 * s for s in states], [0.5, 1.0], states=states,
    ...                     boltzmann_constant=1.0)
    >>> table = ensemble.state_populations(0.7)
    >>> bool(abs(table.loc[(0.7, 1), "population"] - 0.324) < 0.01)
    True
    """

    units: Units
    temperatures: FloatArray
    temperature_range: tuple[float, float]
    states: IntArray | None
    n_states: int
    lengths: IntArray | None
    answer: Weighting
    bootstraps: tuple[Weighting, ...]
    heat_capacities: FloatArray | None
    yardstick: Weighting | None

    def __init__(
        self,
        energies: Any,
        temperatures: Any,
        *,
        states: object = None,
        trajectory: ArrayLike | None = None,
        frame: ArrayLike | None = None,
        weights: object = None,
        temperature_range: tuple[float, float] | None = None,
        boltzmann_constant: float = BOLTZMANN_CONSTANT,
    ) -> None:
        units = Units(check_positive(boltzmann_constant, "boltzmann_constant"))
        if temperatures is None:
            raise ValueError("Expected `temperatures`, one per trajectory or per frame, got None.")
        X, is_energy = _columns(energies)
        frames = gather_frames(
            BaseEstimator(), X, reset=True, trajectory=trajectory, frame=frame,
            temperature=temperatures, states=states, weights=weights,
        )  # fmt: skip
        coefficients = np.asarray(frames.X[:], dtype=np.float64)
        pool = pool_of(frames, units)
        route: Route = Energies(coefficients[:, 0])
        if not is_energy:
            route = LogLinear(coefficients, float(pool.betas.mean()))
        built = Ensemble.of(
            Weighting.solved(route, pool), frames, units,
            states=frames.states, temperature_range=temperature_range,
        )  # fmt: skip
        vars(self).update(vars(built))

    @classmethod
    def of(
        cls,
        answer: Weighting,
        frames: Frames,
        units: Units,
        *,
        states: IntArray | None,
        n_states: int | None = None,
        bootstraps: Sequence[Weighting] = (),
        heat_capacities: FloatArray | None = None,
        yardstick: Weighting | None = None,
        temperature_range: tuple[float, float] | None = None,
    ) -> Ensemble:
        """Build an ensemble from weightings that were solved before.

        Parameters
        ----------
        answer : Weighting
            With its pool.
        frames : Frames
        units : Units
        states : ndarray of int of shape (n_frames,), or None
        n_states : int, optional
            More than the states' numbers tell, where some have no frame.
        bootstraps : sequence of Weighting
            What each bootstrap would have answered by: error bars are their spread.
        heat_capacities : ndarray of shape (n_states,), optional
            One standard deviation of the heat capacity of every state that the frames at two
            temperatures cannot show, in k_B; it is part of the error bars.
        yardstick : Weighting, optional
            MBAR with energies, shown beside the answer.
        temperature_range : tuple of float, optional
        """
        ensemble = cls.__new__(cls)
        ensemble.units = units
        ensemble.temperatures = frames.temperatures
        ensemble.states = states
        counted = 0 if states is None else int(states.max()) + 1
        ensemble.n_states = counted if n_states is None else n_states
        ensemble.set_range(temperature_range)
        ensemble.lengths = np.bincount(frames.trajectory) if frames.listed else None
        ensemble.answer = answer
        ensemble.bootstraps = tuple(bootstraps)
        ensemble.heat_capacities = heat_capacities
        ensemble.yardstick = yardstick
        return ensemble

    def set_range(self, temperature_range: tuple[float, float] | None) -> None:
        """Set where answers are sought; the default range of the simulated temperatures for None.

        Raises
        ------
        ValueError
            If it is not a pair of temperatures, the lower one first.
        """
        low, high = COLDER * self.temperatures[0], HOTTER * self.temperatures[-1]
        if temperature_range is not None:
            low, high = check_range(temperature_range, "temperature_range")
        self.temperature_range = (float(low), float(high))

    @property
    def n_bootstraps(self) -> int:
        """Number of bootstraps; without any, error bars are those of blocks, the route fixed."""
        return len(self.bootstraps)

    @property
    def pool(self) -> Pool:
        """The frames of all simulated temperatures as one sample."""
        if self.answer.pool is None:
            raise ValueError("Expected an answer with its pool, got that of a bootstrap.")
        return self.answer.pool

    # -------------------------------------------------------------- the engine

    def at(self, temperature: float) -> Equilibrium:
        """Return the answers at one temperature."""
        return Equilibrium(self, check_temperature(temperature))

    def estimate(self, temperature: float, statistic: Statistic) -> tuple[FloatArray, FloatArray]:
        """Return a statistic at a temperature and its standard error.

        The error is the spread of the bootstraps, or that of blocks where there are none, with
        what each of the twins, perturbed by a heat capacity that the frames cannot show, adds.

        Parameters
        ----------
        temperature : float
        statistic : callable
            Weighted frames at one inverse temperature -> values and their errors of blocks.

        Returns
        -------
        value, error : ndarray
        """
        beta = self.units.beta(check_temperature(temperature))
        value, error = statistic(self.answer.at(beta))
        if self.bootstraps:
            others = [statistic(bootstrap.at(beta))[0] for bootstrap in self.bootstraps]
            error = np.std(others, axis=0, ddof=1)
        for twin in self._twins():
            error = np.hypot(error, statistic(twin.at(beta))[0] - value)
        return value, error

    def _twins(self) -> Iterator[Weighting]:
        """Yield what would answer had one state one standard deviation more of heat capacity."""
        if self.heat_capacities is None or self.states is None:
            return
        for state, heat_capacity in enumerate(self.heat_capacities):
            extra = np.where(self.states == state, heat_capacity, 0.0)
            route = Curved(self.answer.route, extra, self.pool.betas)
            yield Weighting(route, self.answer.log_counts, self.answer.log_base)

    # -------------------------------------------------------------- at several temperatures

    def frame_weights(self, temperature: float) -> Any:
        """Return the weight of every frame at a temperature; they sum to 1.

        Parameters
        ----------
        temperature : float

        Returns
        -------
        ndarray of shape (n_frames,), or list of them for a list of trajectories
        """
        weights = self.at(temperature).weights
        return weights if self.lengths is None else np.split(weights, self.lengths.cumsum()[:-1])

    def expectation(self, values: object, temperatures: ArrayLike) -> pd.DataFrame:
        """Return the expectation of a per-frame observable at each temperature.

        Parameters
        ----------
        values : list of array_like, or array_like of shape (n_frames,)
            One number per frame, as the frames came.
        temperatures : float or array_like

        Returns
        -------
        DataFrame
            Index `temperature`, columns `value` and `standard_error`.
        """
        if self.lengths is not None:
            values = per_frame(values, [int(n) for n in self.lengths], "values")
        column = check_per_frame(values, len(self.pool), "values")[:, None]
        statistic = partial(averages, values=column)
        each = _each(temperatures)
        rows = [self.estimate(t, statistic) for t in each]
        return pd.DataFrame(
            {
                "value": [float(mean[0]) for mean, _ in rows],
                "standard_error": [float(error[0]) for _, error in rows],
            },
            index=pd.Index(each, name="temperature"),
        )

    def state_populations(self, temperatures: ArrayLike) -> pd.DataFrame:
        """Return the population of every state at each temperature.

        Parameters
        ----------
        temperatures : float or array_like

        Returns
        -------
        DataFrame
            Index (`temperature`, `state`), columns `population` and `standard_error`.
        """
        return self._tables(temperatures, lambda at: at.state_populations())

    def thermodynamics(
        self, temperatures: ArrayLike, *, reference: int | None = None
    ) -> pd.DataFrame:
        """Return free energy, energy, entropy and heat capacity of every state.

        They come from the partition functions of the states and their derivatives in the inverse
        temperature, from the covariances of h (or U) within and across states.

        Parameters
        ----------
        temperatures : float or array_like
        reference : int, optional
            State whose values are subtracted; all other states together if not given, as in
            melting: a state's free energy is then 0 where it holds half of the population.

        Returns
        -------
        DataFrame
            Index (`temperature`, `state`); columns `free_energy`, `energy`, `entropy` and
            `heat_capacity`, each also with `_error`, a standard error; in kJ/mol and kJ/mol/K with
            the default `boltzmann_constant`. At constant pressure energy is the enthalpy and
            free energy Gibbs'. NaN for a state that is empty or that has nothing to be compared
            with. With energies beside a learned h, also `free_energy_mbar`,
            `free_energy_mbar_error` and `free_energy_difference`, the learned value less MBAR's.
        """
        return self._tables(temperatures, lambda at: at.thermodynamics(reference=reference))

    def support(self, temperatures: ArrayLike) -> pd.DataFrame:
        """Say how far the answers at each temperature can be trusted.

        Parameters
        ----------
        temperatures : float or array_like

        Returns
        -------
        DataFrame
            Index `temperature`; columns

            - `effective_sample_size`: Kish's, of the frames' weights;
            - `overlap`: the same as a fraction of that at the nearest simulated temperature;
            - `role`: "simulated", "between" or "beyond" the simulated temperatures;
            - `spread`: largest standard deviation, over the bootstraps, of the change of a
              population from the nearest simulated temperature, as a fraction of the largest
              change (of 0.02 at least); NaN without bootstraps;
            - `support`: "supported" between the simulated temperatures with an overlap of at least
              0.9, "extrapolated" where the overlap is at least 0.05 and the spread at most 0.5,
              "unsupported" otherwise. docs/trust.md says what these classes are worth.
        """
        each = _each(temperatures)
        rows = [self.at(t).support() for t in each]
        return pd.DataFrame(rows, index=pd.Index(each, name="temperature"))

    def melting_temperature(self, state: int) -> MeltingTemperature:
        """Return where a state holds half of the population, with its standard error.

        Searched over `temperature_range`; of several crossings the one nearest to the simulated
        temperatures.

        Parameters
        ----------
        state : int

        Returns
        -------
        MeltingTemperature
            (temperature, standard_error, slope); NaN where the population does not cross one half,
            and a warning says so. The error is the free energy's there over its slope.

        Raises
        ------
        ValueError
            If there is no such state, or it is the only one.
        """
        self.check_states()
        state = check_state(state, self.n_states, "state")
        others = _others(state, self.n_states)
        if not others:
            raise ValueError("Expected a model with two states or more, got one with one state.")
        t = self._melting_point(state)
        if np.isnan(t):
            low, high = self.temperature_range
            warn(
                f"The population of state {state} does not cross one half between temperatures "
                f"{low:g} and {high:g}: it has no melting temperature there."
            )
            return MeltingTemperature(np.nan, np.nan, np.nan)
        statistic = partial(_differences, ensemble=self, temperature=t, pairs=[(state, others)])
        (values,), (errors,) = self.estimate(t, statistic)
        # d (F / k_B T) / dT = -U / (k_B T^2), and p (1 - p) = 1/4 there
        slope = values[1] / (self.units.kt(t) * t)
        return MeltingTemperature(t, float(abs(errors[0] / values[1]) * t), float(slope / 4))

    def _melting_point(self, state: int) -> float:
        """Return the crossing nearest to the simulated temperatures, or NaN."""
        low, high = self.temperature_range
        grid = 1 / np.linspace(1 / low, 1 / high, N_SEARCHED)
        inside = self.states == state

        def balance(t: float) -> float:
            return float(self.at(t).weights[inside].sum()) - 0.5

        values = np.array([balance(t) for t in grid])
        crossings = np.flatnonzero(np.diff(np.sign(values)))
        if not len(crossings):
            return np.nan
        middle = np.clip(grid[crossings], self.temperatures[0], self.temperatures[-1])
        k = crossings[np.argmin(np.abs(np.log(grid[crossings] / middle)))]
        return float(brentq(balance, grid[k], grid[k + 1], xtol=1e-9 * grid[k]))

    # -------------------------------------------------------------- inside

    def check_states(self) -> IntArray:
        """Return every frame's state, or raise a ValueError where there are none."""
        if self.states is None:
            raise ValueError(
                "Expected a model with states, got one without: give labels of your own as "
                "`states`."
            )
        return self.states

    def _tables(
        self, temperatures: ArrayLike, answer: Callable[[Equilibrium], pd.DataFrame]
    ) -> pd.DataFrame:
        each = _each(temperatures)
        table: pd.DataFrame = pd.concat(
            [answer(self.at(t)) for t in each], keys=each, names=["temperature", "state"]
        )
        return table


@dataclass(frozen=True)
class Equilibrium:
    """The answers of an ensemble at one temperature; :class:`Ensemble` says what they mean."""

    ensemble: Ensemble
    temperature: float

    @property
    def weights(self) -> FloatArray:
        """Weight of every frame, shape (n_frames,); they sum to 1."""
        return self._snapshot.weights

    @property
    def effective_sample_size(self) -> float:
        """Kish's effective sample size of the weights."""
        return effective_sample_size(self.weights)

    def state_populations(self) -> pd.DataFrame:
        """Return the population of every state with its standard error; index `state`."""
        statistic = partial(
            populations, states=self.ensemble.check_states(), n_states=self.ensemble.n_states
        )
        value, error = self.ensemble.estimate(self.temperature, statistic)
        return pd.DataFrame(
            {"population": value, "standard_error": error},
            index=pd.RangeIndex(len(value), name="state"),
        )

    def thermodynamics(self, *, reference: int | None = None) -> pd.DataFrame:
        """Return free energy, energy, entropy and heat capacity of every state; index `state`."""
        ensemble, n_states = self.ensemble, self.ensemble.n_states
        ensemble.check_states()
        if reference is not None:
            check_state(reference, n_states, "reference")
        states = range(n_states)
        others = [_others(s, n_states) if reference is None else [reference] for s in states]
        statistic = partial(
            _differences,
            ensemble=ensemble,
            temperature=self.temperature,
            pairs=list(zip(states, others, strict=True)),
        )
        value, error = ensemble.estimate(self.temperature, statistic)
        names = [*QUANTITIES, *(f"{name}_error" for name in QUANTITIES)]
        columns = dict(zip(names, np.hstack([value, error]).T, strict=True))
        if ensemble.yardstick is not None:
            beta = ensemble.units.beta(self.temperature)
            mbar, mbar_error = (x[:, 0] for x in statistic(ensemble.yardstick.at(beta)))
            columns |= {"free_energy_mbar": mbar, "free_energy_mbar_error": mbar_error}
            columns["free_energy_difference"] = value[:, 0] - mbar
        return pd.DataFrame(columns, index=pd.RangeIndex(n_states, name="state"))

    def support(self) -> dict[str, float | str]:
        """Return effective sample size, overlap, role, spread and class of support."""
        simulated = self.ensemble.temperatures
        nearest = float(simulated[np.argmin(np.abs(1 / simulated - 1 / self.temperature))])
        size = self.effective_sample_size
        overlap = size / self.ensemble.at(nearest).effective_sample_size
        role, spread = role_of(self.temperature, simulated), self._spread(nearest)
        return {
            "effective_sample_size": size,
            "overlap": overlap,
            "role": role,
            "spread": spread,
            "support": class_of(role, overlap, spread),
        }

    @property
    def _snapshot(self) -> Snapshot:
        return self.ensemble.answer.at(self.ensemble.units.beta(self.temperature))

    def _spread(self, nearest: float) -> float:
        """Return the bootstraps' spread of the change of populations, as a fraction of it."""
        ensemble = self.ensemble
        if not ensemble.bootstraps or ensemble.states is None:
            return np.nan

        def values(temperature: float) -> FloatArray:
            beta = ensemble.units.beta(temperature)
            snapshots = [bootstrap.at(beta) for bootstrap in ensemble.bootstraps]
            return np.array(
                [populations(s, ensemble.check_states(), ensemble.n_states)[0] for s in snapshots]
            )

        change = values(self.temperature) - values(nearest)
        size = max(np.abs(change.mean(axis=0)).max(), LEAST_CHANGE)
        return float(change.std(axis=0, ddof=1).max() / size)


def pool_of(frames: Frames, units: Units) -> Pool:
    """Return the pool of frames of all simulated temperatures.

    Raises
    ------
    ValueError
        If no frame of some temperature has weight.
    """
    blocks = frames.blocks().astype(np.int32)
    pool = Pool(units.betas(frames.temperatures), frames.origin, frames.weights, blocks)
    if not pool.counts.all():
        t = frames.temperatures[pool.counts == 0][0]
        raise ValueError(f"Expected some positive `weights` at temperature {t:g}, got none.")
    return pool


def _columns(energies: Any) -> tuple[Any, bool]:
    """Return energies, or coefficients, as columns, and whether they are energies."""
    X = as_container(energies)
    listed = is_trajectory_list(X)
    shape = np.shape(energies[0] if listed else X)
    if len(shape) not in (1, 2) or shape[1:] not in ((), (1,), (2,)):
        raise ValueError(
            "Expected `energies` of shape (n_frames,), (n_frames, 1) or (n_frames, 2), got "
            f"{shape}."
        )
    is_energy = len(shape) == 1
    return np.asarray(X)[:, None] if is_energy and not listed else X, is_energy


def _differences(
    snapshot: Snapshot,
    ensemble: Ensemble,
    temperature: float,
    pairs: Sequence[tuple[int, Sequence[int]]],
) -> tuple[FloatArray, FloatArray]:
    """Return (F, U, S, C) of states less those of others, one row a pair, as a statistic."""
    moments = state_moments(snapshot, ensemble.check_states(), ensemble.n_states)
    rows = [state_differences(moments, *pair, temperature, ensemble.units) for pair in pairs]
    values, errors = zip(*rows, strict=True)
    return np.array(values), np.array(errors)


def _each(temperatures: ArrayLike) -> list[float]:
    """Return temperatures, one or several, as a list."""
    values = np.ravel(np.asarray(temperatures, dtype=np.float64)).tolist()
    if not values:
        raise ValueError("Expected one `temperature` or more, got none.")
    return [float(t) for t in values]


def _others(state: int, n_states: int) -> list[int]:
    return [s for s in range(n_states) if s != state]
