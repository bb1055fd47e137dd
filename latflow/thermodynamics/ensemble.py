"""What answers at any temperature: weights, averages, populations, thermodynamics, melting."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
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
from latflow.thermodynamics.hidden import few_crossings
from latflow.thermodynamics.moments import (
    block_populations,
    populations,
    state_differences,
    state_moments,
)
from latflow.thermodynamics.observables import Observable
from latflow.thermodynamics.own_frames import OwnFrames
from latflow.thermodynamics.pool import Pool, effective_sample_size
from latflow.thermodynamics.routes import (
    Bent,
    Curved,
    Curves,
    Energies,
    LogLinear,
    Route,
    Shifted,
    line_of_logarithm,
)
from latflow.thermodynamics.shifts import Shifts, energy_shifts
from latflow.thermodynamics.support import Evidence, class_of, role_of
from latflow.thermodynamics.weighting import Snapshot, Statistic, Weighting, averages
from latflow.thermodynamics.whole_system import WholeSystem
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
N_SEARCHED = 60
DISAGREE = 3.0  # errors between two means of an observable that a user hears of
N_REDRAWN = 40  # bootstraps that hold the route fixed, where none were fitted


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
    dynamics : bool, list or array_like, default=True
        False for equilibrium draws, whose order is not that of time, as of replica exchange sorted
        by temperature: one for all, or one per trajectory or frame.
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

    Warns
    -----
    UserWarning
        Where a simulation had not settled: names trajectory and state.

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
    energy: FloatArray | None
    yardstick: Weighting | None
    evidence: Evidence
    lines: FloatArray | None

    def __init__(
        self,
        energies: Any,
        temperatures: Any,
        *,
        states: object = None,
        trajectory: ArrayLike | None = None,
        frame: ArrayLike | None = None,
        weights: object = None,
        dynamics: object = True,
        temperature_range: tuple[float, float] | None = None,
        boltzmann_constant: float = BOLTZMANN_CONSTANT,
    ) -> None:
        units = Units(check_positive(boltzmann_constant, "boltzmann_constant"))
        if temperatures is None:
            raise ValueError("Expected `temperatures`, one per trajectory or per frame, got None.")
        X, is_energy = _columns(energies)
        frames = gather_frames(
            BaseEstimator(), X, reset=True, trajectory=trajectory, frame=frame,
            temperature=temperatures, states=states, weights=weights, dynamics=dynamics,
        )  # fmt: skip
        coefficients = np.asarray(frames.X[:], dtype=np.float64)
        pool = pool_of(frames, units)
        route: Route = Energies(coefficients[:, 0])
        if not is_energy:
            route = LogLinear(coefficients, float(pool.betas.mean()))
        built = Ensemble.of(
            Weighting.solved(route, pool), frames, units,
            states=frames.states, energy=coefficients[:, 0] if is_energy else None,
            temperature_range=temperature_range,
        )  # fmt: skip
        vars(self).update(vars(built))
        self.evidence.warn_of_unsettled()

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
        energy: FloatArray | None = None,
        yardstick: Weighting | None = None,
        lagtime: int = 1,
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
            One standard deviation of the heat capacity of every state that frames cannot show, in
            k_B; it is part of the error bars.
        energy : ndarray of shape (n_frames,), optional
            Potential energies, for energy and heat capacity of the whole system.
        yardstick : Weighting, optional
            MBAR with energies, shown beside the answer.
        lagtime : int, default=1
            In frames; a visit to a state that is shorter does not count as a crossing.
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
        ensemble.energy = energy
        ensemble.yardstick = yardstick
        ensemble.evidence = Evidence.of(frames, answer, units, states, ensemble.n_states, lagtime)
        ensemble.lines = None
        if ensemble.evidence.passages is not None:
            variances = ensemble._variances_of_odds()
            ensemble.lines = few_crossings(
                ensemble.evidence.passages, ensemble.pool.betas, variances, sloped=energy is None
            )
        return ensemble

    def _variances_of_odds(self) -> FloatArray:
        """Return variances of the states' log odds over each temperature's own frames."""
        value, error = block_populations(self.pool, self.check_states(), self.n_states)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((error / (value * (1 - value))) ** 2)

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
        what they do not know: the kink of heat capacities at the border of the simulated range,
        odds that few crossings tell, and heat capacities that no frame shows.

        Parameters
        ----------
        temperature : float
        statistic : callable
            Weighted frames at one inverse temperature -> values and their errors of blocks.

        Returns
        -------
        value, error : ndarray
        """
        value, seen, hidden = self.parts(temperature, statistic)
        return value, np.hypot(seen, hidden)

    def parts(
        self, temperature: float, statistic: Statistic
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return a statistic, its error without heat capacities that no frame shows, and theirs.

        Parameters are those of :meth:`estimate`.
        """
        beta = self.units.beta(check_temperature(temperature))
        answer = self._twin(self.answer.route) if self.bootstraps else self.answer
        value, error = statistic(answer.at(beta))
        if self.bootstraps:
            others = [statistic(bootstrap.at(beta))[0] for bootstrap in self.bootstraps]
            error = np.std(others, axis=0, ddof=1)
        unseen = self._changes(beta, statistic, value, self._unseen(beta))
        return value, np.hypot(error, unseen), self.hidden(temperature, statistic, value)

    def hidden(self, temperature: float, statistic: Statistic, value: FloatArray) -> FloatArray:
        """Return what heat capacities that no frame shows leave unknown of a statistic's value."""
        return self._changes(self.units.beta(temperature), statistic, value, self._hidden())

    def _changes(
        self, beta: float, statistic: Statistic, value: FloatArray, twins: Iterable[Route]
    ) -> FloatArray:
        """Return by how much a statistic changes with twins of the route, in quadrature."""
        changes = [statistic(self._twin(twin).at(beta))[0] - value for twin in twins]
        return np.asarray(np.linalg.norm([np.zeros_like(value), *changes], axis=0))

    def _unseen(self, beta: float) -> Iterator[Route]:
        """Yield what neither bootstraps nor blocks know of: a kink, odds that few crossings tell.

        The kink is that of heat capacities at the border of the simulated range.
        """
        route = self.answer.route
        if isinstance(route, Curves) and route.border(beta) != beta:
            yield Bent(route)
        for state, slope, level in () if self.lines is None else self.lines:
            shares = np.asarray(self._groups == int(state), np.float64)
            yield Shifted(route, shares, slope, level)

    def _hidden(self) -> Iterator[Route]:
        """Yield the route with one deviation more of the heat capacity that no frame shows.

        Each state's in turn.
        """
        if self.heat_capacities is None or self.states is None:
            return
        line = line_of_logarithm(self.pool.betas)
        for state in np.flatnonzero(self.heat_capacities):
            extra = np.where(self.states == state, self.heat_capacities[state], 0.0)
            yield Curved(self.answer.route, extra, line)

    def deviations(
        self, temperatures: Sequence[float], statistic: Statistic
    ) -> tuple[FloatArray, FloatArray]:
        """Return by how much a statistic may be off at several temperatures together.

        The parts are those of :meth:`estimate`: bootstraps (some that hold the route fixed where
        there are none), the kink of heat capacities on either side of the simulated range, odds
        that few crossings tell, and heat capacities that no frame shows. Products of two columns,
        summed over the rows of both, are covariances.

        Parameters
        ----------
        temperatures : sequence of float
        statistic : callable
            As for :meth:`estimate`.

        Returns
        -------
        drawn : ndarray of shape (n_bootstraps, n_temperatures, n_values)
            Deviations of bootstraps from their mean, over the root of their number less one.
        unseen : ndarray of shape (n_parts, n_temperatures, n_values)
            One standard deviation of each part that bootstraps know nothing of.
        """
        betas = [self.units.beta(check_temperature(t)) for t in temperatures]

        def values_of(weighting: Weighting) -> FloatArray:
            return np.stack([statistic(weighting.at(beta))[0] for beta in betas])

        route, simulated = self.answer.route, self.pool.betas
        value = values_of(self._twin(route))
        draws = np.stack([values_of(bootstrap) for bootstrap in self._redrawn()])
        drawn = (draws - draws.mean(axis=0)) / np.sqrt(len(draws) - 1)
        twins = [*self._unseen(float(simulated[0])), *self._hidden()]
        unseen = [values_of(self._twin(twin)) - value for twin in twins]
        if isinstance(route, Curves):
            kink = values_of(self._twin(Bent(route))) - value
            for side in (np.array(betas) > simulated.max(), np.array(betas) < simulated.min()):
                unseen.append(np.where(side[:, None], kink, 0.0))
        return drawn, np.array(unseen).reshape(-1, *value.shape)

    def energy_shifts(self) -> Shifts | None:
        """Return what own energies add to those of the route; None without bootstraps or energies.

        See :class:`~latflow.thermodynamics.Shifts`.
        """
        if self.energy is None or isinstance(self.answer.route, Energies) or not self._drawn:
            return None
        own = OwnFrames(self.pool, self._groups)
        return energy_shifts(self.energy, own, self.n_states, self.answer, self.bootstraps)

    def _twin(self, route: Route) -> Weighting:
        """Return the answer by another route that agrees with it at the simulated temperatures."""
        return Weighting(route, self.answer.log_counts, self.answer.log_base)

    @property
    def _groups(self) -> IntArray:
        """The states of all frames; one for all where there are none."""
        if self.states is None:
            return np.zeros(len(self.pool), dtype=np.int64)
        return self.states

    @property
    def _drawn(self) -> bool:
        """Whether there are bootstraps that say which blocks they drew, as in old files none do."""
        known = all(bootstrap.times is not None for bootstrap in self.bootstraps)
        return bool(self.bootstraps) and known

    def _redrawn(self) -> Sequence[Weighting]:
        """Return the bootstraps, or some that hold the route fixed where there are none."""
        if self._drawn:
            return self.bootstraps
        rng = np.random.default_rng(0)
        return [self.answer.redrawn(self.pool.redrawn(rng)) for _ in range(N_REDRAWN)]

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
        return self._split(self.at(temperature).weights)

    def nearest_weights(self, temperature: float) -> Any:
        """Return weights that prefer frames of the nearest simulated temperatures; they sum to 1.

        Each state weighs what it does by :meth:`frame_weights`. Within it frames of one simulated
        temperature alone count at that temperature, and those of the two around it in between, each
        reweighted by itself and the nearer one counting more: what no feature shows is then as it
        is at these temperatures.

        Parameters
        ----------
        temperature : float

        Returns
        -------
        ndarray of shape (n_frames,), or list of them for a list of trajectories
        """
        return self._split(self.at(temperature).nearest_weights)

    def expectation(self, values: object, temperatures: ArrayLike) -> pd.DataFrame:
        """Return the expectation of a per-frame observable at each temperature.

        It may depend on what no reduced energy reads: at a simulated temperature it is the mean of
        that temperature's own frames in every state, or the reweighted mean of all frames where the
        two agree within their errors; see :class:`~latflow.thermodynamics.Observable`.

        Parameters
        ----------
        values : list of array_like, or array_like of shape (n_frames,)
            One number per frame, as the frames came.
        temperatures : float or array_like

        Returns
        -------
        DataFrame
            Index `temperature`, columns `value` and `standard_error`.

        Warns
        -----
        UserWarning
            Where the mean of a temperature's own frames differs from the reweighted one by more
            than three errors, and by how much.
        """
        observable, name = self._observable(values)
        each = _each(temperatures)
        rows = []
        for t in each:
            beta = self.units.beta(check_temperature(t))
            value, error = observable.expectation(beta)
            statistic = partial(averages, values=observable.values[:, None])
            mean = self.answer.at(beta).weights @ observable.values
            twins = [*self._unseen(beta), *self._hidden()]
            unseen = self._changes(beta, statistic, np.array([mean]), twins)[0]
            rows.append((value, float(np.hypot(error, unseen))))
        self._warn_of_difference(observable, name)
        return pd.DataFrame(
            rows, columns=["value", "standard_error"], index=pd.Index(each, name="temperature")
        )

    def _observable(self, values: object) -> tuple[Observable, str]:
        """Return a per-frame observable, and what a sentence calls it."""
        name = getattr(values, "name", None)
        if self.lengths is not None:
            values = per_frame(values, [int(n) for n in self.lengths], "values")
        column = check_per_frame(values, len(self.pool), "values")
        own = OwnFrames(self.pool, self._groups)
        observable = Observable(column, own, self.answer, self._redrawn(), self.energy)
        return observable, f"`{name}`" if name else "The observable"

    def _warn_of_difference(self, observable: Observable, name: str) -> None:
        difference, error = observable.disagreement()
        with np.errstate(invalid="ignore", divide="ignore"):
            z = np.nan_to_num(np.abs(difference) / error, posinf=0.0)
        if (z > DISAGREE).any():
            k = int(np.argmax(z))
            t = self.units.named(float(self.temperatures[k]))
            warn(
                f"{name} has at {t} a mean over its own frames that is {difference[k]:+.4g} off "
                f"the mean of all frames reweighted, {z[k]:.1f} errors: it depends on what the "
                "features do not show. Its values are those of own frames at simulated "
                "temperatures, interpolated between and least certain outside."
            )

    def whole_system(self, temperatures: ArrayLike) -> pd.DataFrame:
        """Return energy and heat capacity of the whole system, of what no feature shows too.

        At simulated temperatures they are the mean and the fluctuation of the energies of their own
        frames; see :class:`~latflow.thermodynamics.WholeSystem` for those between and outside.

        Parameters
        ----------
        temperatures : float or array_like

        Returns
        -------
        DataFrame
            Index `temperature`; columns `energy`, `energy_error`, `heat_capacity` and
            `heat_capacity_error`, configurational, in kJ/mol and kJ/mol/K with the default
            `boltzmann_constant`.

        Raises
        ------
        ValueError
            For a model that was given no energies.
        """
        if self.energy is None:
            raise ValueError(
                "Expected a model that knows the potential energy of every frame, got one without: "
                "give it as `energy` to fit."
            )
        own = OwnFrames(self.pool, self._groups)
        system = WholeSystem(self.energy, own, self.answer, self._redrawn())
        each = _each(temperatures)
        unit = np.array([1.0, self.units.boltzmann_constant])
        answers = [system.at(self.units.beta(check_temperature(t))) for t in each]
        rows = [np.stack([value * unit, error * unit], axis=1).ravel() for value, error in answers]
        columns = ["energy", "energy_error", "heat_capacity", "heat_capacity_error"]
        return pd.DataFrame(rows, columns=columns, index=pd.Index(each, name="temperature"))

    def state_populations(self, temperatures: ArrayLike) -> pd.DataFrame:
        """Return the population of every state at each temperature.

        Parameters
        ----------
        temperatures : float or array_like

        Returns
        -------
        DataFrame
            Index (`temperature`, `state`), columns `population` and `standard_error`. NaN where
            nothing is known of them, as no simulation crosses from one state to another or
            simulated temperatures do not overlap; a warning says why.
        """
        reason = self.never_visited()
        if reason is not None:
            warn(f"Populations are those of visited states relative to each other: {reason}.")
        return self._known(self._tables(temperatures, lambda at: at.state_populations()))

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
            `heat_capacity`, each also with `_error`, a standard error, and `heat_capacity_prior`,
            the part of the heat capacity's error that no frame shows, which is assumed; in kJ/mol
            and kJ/mol/K with the default `boltzmann_constant`. At constant pressure energy is the
            enthalpy and free energy Gibbs'. NaN for a state that is empty or that has nothing to be
            compared with, and where nothing is known as for :meth:`state_populations`. With
            energies also `free_energy_mbar`, `free_energy_mbar_error` and
            `free_energy_difference`, the learned value less MBAR's.
        """
        shifts = self.energy_shifts()
        table = self._tables(
            temperatures, lambda at: at.thermodynamics(reference=reference, shifts=shifts)
        )
        return self._known(table)

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
            - `effective_fraction`: the same, as a fraction of that at the nearest simulated
              temperature;
            - `role`: "simulated", "between" or "beyond" the simulated temperatures;
            - `overlap`: least overlap of the two simulated temperatures around it, or of the two
              outermost ones beyond, by MBAR's overlap matrix of learned memberships; NaN for one;
            - `crossings`: how often simulations went from one state to another each way, on the
              worst step of the best way between states that matter there; NaN without states;
            - `spread`: largest standard error of a population; NaN without states;
            - `support`: "supported" inside the simulated range with a spread of at most 0.02 and
              ten crossings, "extrapolated" with less, "unsupported" where an answer was never
              observed, where simulations had not settled, the effective fraction is below 0.05 or
              the spread above 0.25; docs/trust.md says what these classes are worth;
            - `reason`: why, in words.
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
            (temperature, standard_error, slope); NaN where the population does not cross one half
            or nothing supports an answer there (see :meth:`support`), and a warning says so. The
            error is the free energy's there over its slope.

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
        nowhere = MeltingTemperature(np.nan, np.nan, np.nan)
        t = self._melting_point(state)
        if np.isnan(t):
            low, high = self.temperature_range
            warn(
                f"The population of state {state} does not cross one half between temperatures "
                f"{low:g} and {high:g}: it has no melting temperature there."
            )
            return nowhere
        support = self.at(t).support()
        if support["support"] == "unsupported":
            warn(
                f"State {state} seems to melt at {self.units.named(t)}, but nothing supports an "
                f"answer there, so its melting temperature is NaN: {support['reason']}."
            )
            return nowhere
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

    @property
    def unvisited(self) -> IntArray:
        """The states that have no frame, of which nothing is known."""
        return np.setdiff1d(np.arange(self.n_states), self._groups)

    def never_visited(self) -> str | None:
        """Return which states have no frame, and what that leaves unknown, or None."""
        states = self.unvisited.tolist()
        if not states:
            return None
        return f"no frame is in {states} of the states: how much they hold was never observed"

    def _split(self, values: FloatArray) -> Any:
        """Return one value per frame as the frames came."""
        return values if self.lengths is None else np.split(values, self.lengths.cumsum()[:-1])

    def _known(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return a table with NaN at temperatures where nothing is known; warn, and say why."""
        at = table.index.get_level_values("temperature")
        reasons: dict[str, list[float]] = {}
        for t in at.unique():
            reason = self.evidence.unknown(float(t), self.temperatures)
            if reason is not None:
                reasons.setdefault(reason, []).append(float(t))
                table.loc[at == t] = np.nan
        for reason, unknown in reasons.items():
            names = ", ".join(f"{t:g}" for t in unknown)
            warn(f"Populations at temperatures {names} are not known and NaN: {reason}.")
        return table

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

    @property
    def effective_fraction(self) -> float:
        """The same as a fraction of that at the nearest simulated temperature."""
        simulated = self.ensemble.temperatures
        nearest = float(simulated[np.argmin(np.abs(1 / simulated - 1 / self.temperature))])
        return self.effective_sample_size / self.ensemble.at(nearest).effective_sample_size

    def state_populations(self) -> pd.DataFrame:
        """Return the population of every state with its standard error; index `state`."""
        value, error = self._populations
        value[self.ensemble.unvisited] = error[self.ensemble.unvisited] = np.nan
        return pd.DataFrame(
            {"population": value, "standard_error": error},
            index=pd.RangeIndex(len(value), name="state"),
        )

    def thermodynamics(
        self, *, reference: int | None = None, shifts: Shifts | None = None
    ) -> pd.DataFrame:
        """Return free energy, energy, entropy and heat capacity of every state; index `state`.

        `shifts` are the ensemble's, for callers that ask at several temperatures.
        """
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
            shifts=shifts or ensemble.energy_shifts(),
        )
        value, seen, hidden = ensemble.parts(self.temperature, statistic)
        error = np.hypot(seen, hidden)
        names = [*QUANTITIES, *(f"{name}_error" for name in QUANTITIES)]
        columns = dict(zip(names, np.hstack([value, error]).T, strict=True))
        columns["heat_capacity_prior"] = hidden[:, -1]
        if ensemble.yardstick is not None:
            beta = ensemble.units.beta(self.temperature)
            mbar, mbar_error = (x[:, 0] for x in statistic(ensemble.yardstick.at(beta)))
            columns |= {"free_energy_mbar": mbar, "free_energy_mbar_error": mbar_error}
            columns["free_energy_difference"] = value[:, 0] - mbar
        return pd.DataFrame(columns, index=pd.RangeIndex(n_states, name="state"))

    def support(self) -> dict[str, float | str]:
        """Return what :meth:`Ensemble.support` has in a row."""
        ensemble, evidence = self.ensemble, self.ensemble.evidence
        simulated = ensemble.temperatures
        size, fraction = self.effective_sample_size, self.effective_fraction
        role, spread, crossings = role_of(self.temperature, simulated), np.nan, np.nan
        if ensemble.states is not None:
            value, error = self._populations
            spread, crossings = float(np.nanmax(error)), evidence.bottleneck(value)
        verdict, reason = class_of(role, fraction, spread, crossings, evidence.unsettled)
        unknown = evidence.unknown(self.temperature, simulated) or ensemble.never_visited()
        if unknown is not None:
            verdict, reason = "unsupported", unknown
        elif evidence.drawn:
            reason += "; no crossings are counted among equilibrium draws"
        return {
            "effective_sample_size": size,
            "effective_fraction": fraction,
            "role": role,
            "overlap": evidence.shared(self.temperature, simulated),
            "crossings": crossings,
            "spread": spread,
            "support": verdict,
            "reason": reason,
        }

    @property
    def nearest_weights(self) -> FloatArray:
        """Weight of every frame, those of the nearest temperatures preferred; they sum to 1."""
        ensemble, pool = self.ensemble, self.ensemble.pool
        beta = ensemble.units.beta(self.temperature)
        order = np.argsort(pool.betas)
        betas, states = pool.betas[order], ensemble._groups
        u = ensemble.answer.route.reduced(beta)
        population: FloatArray = np.asarray(np.bincount(states, self.weights), np.float64)
        weights = np.zeros(len(pool))
        share = np.zeros(len(population))
        for k, origin in enumerate(order):
            hat = float(np.interp(beta, betas, np.arange(len(betas)) == k))
            rows = np.flatnonzero(pool.origin == origin) if hat else np.empty(0, np.int64)
            if not len(rows):
                continue
            change = ensemble.answer.route.reduced(float(pool.betas[origin]))[rows] - u[rows]
            alone = pool.weights[rows] * np.exp(change - change.max())
            total = np.bincount(states[rows], alone, minlength=len(population))
            seen = total > 0
            share += hat * seen
            weights[rows] = hat * alone / np.where(seen, total, 1)[states[rows]]
        # a state that the nearest temperatures have no frame of keeps its frames of all
        weights = np.where(share[states] > 0, weights, self.weights)
        share = np.asarray(np.bincount(states, weights, len(population)), np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            factor = np.nan_to_num(population / share, posinf=0.0)
        return np.asarray(weights * factor[states])

    @property
    def _populations(self) -> tuple[FloatArray, FloatArray]:
        """Populations of all states and their standard errors."""
        ensemble = self.ensemble
        statistic = partial(populations, states=ensemble.check_states(), n_states=ensemble.n_states)
        return ensemble.estimate(self.temperature, statistic)

    @property
    def _snapshot(self) -> Snapshot:
        return self.ensemble.answer.at(self.ensemble.units.beta(self.temperature))


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
    shifts: Shifts | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Return (F, U, S, C) of states less those of others, one row a pair, as a statistic."""
    moments = state_moments(snapshot, ensemble.check_states(), ensemble.n_states)
    if shifts is not None:
        energy, slope = shifts.at(snapshot)
        moments = replace(
            moments, energy=moments.energy + energy, fluctuation=moments.fluctuation - slope
        )
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
