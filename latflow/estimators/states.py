"""What a fitted extrapolator answers about its states: populations, thermodynamics, melting."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from sklearn.utils.validation import check_is_fitted

from latflow._validation import check_per_frame, check_state
from latflow.estimators.reweighting import Curved, Pooled, Route
from latflow.thermodynamics import (
    Mixture,
    Pool,
    Replicate,
    StateMoments,
    state_differences,
    state_moments,
)
from latflow.trajectories import spread

if TYPE_CHECKING:
    from latflow.estimators.latf import LaTFEstimator

__all__ = ["MeltingTemperature", "StateThermodynamicsMixin"]

FloatArray = NDArray[np.float64]
Member = tuple[Route, Pool]
Pairs = Sequence[tuple[int, Sequence[int]]]
# of (route, pool, inverse temperature): values and their standard errors
Statistic = Callable[[Route, Pool, float], tuple[FloatArray, FloatArray]]

QUANTITIES = ("free_energy", "energy", "entropy", "heat_capacity")
N_SEARCHED = 60


class MeltingTemperature(NamedTuple):
    """Where a state and all others are equally populated.

    Attributes
    ----------
    temperature, standard_error : float
    slope : float
        Of the state's population with temperature there.
    """

    temperature: float
    standard_error: float
    slope: float


class StateThermodynamicsMixin:
    """Populations, thermodynamics and melting of the states of a TemperatureExtrapolator."""

    estimator_: LaTFEstimator
    temperatures_: FloatArray
    z_: FloatArray
    labels_: NDArray[np.int64]
    hidden_heat_capacity: float
    _lengths: NDArray[np.int64] | None
    _pooled: Pooled
    _answer: tuple[Route, Mixture] | None
    _replicates: tuple[tuple[Route, Replicate], ...]
    _hidden: FloatArray | None
    _mbar: tuple[Route, Mixture] | None
    _beta: Callable[[ArrayLike], FloatArray]
    _named: Callable[[float | None], float]
    _range: Callable[[], tuple[float, float]]
    _weights: Callable[[float], FloatArray]

    def expectation(self, values: Any, temperatures: ArrayLike) -> pd.DataFrame:
        """Return the expectation of a per-frame observable at each temperature.

        Parameters
        ----------
        values : list of array_like, or array_like of shape (n_frames,)
            One number per training frame, in the order of `fit`.
        temperatures : float or array_like

        Returns
        -------
        DataFrame
            Index `temperature`, columns `value` and `standard_error`: of the frames, with
            `n_bootstraps` above 1 of h too, and of what two temperatures cannot show
            (`hidden_heat_capacity`).
        """
        check_is_fitted(self)
        if self._lengths is not None:
            values = spread(values, [int(n) for n in self._lengths], "values")
        column = check_per_frame(values, len(self.z_), "values")[:, None]
        rows = {t: self._estimate(t, _mean_of(column)) for t in self._all_named(temperatures)}
        return pd.DataFrame(
            {
                "value": [float(mean[0]) for mean, _ in rows.values()],
                "standard_error": [float(error[0]) for _, error in rows.values()],
            },
            index=pd.Index(list(rows), name="temperature"),
        )

    def state_populations(self, temperatures: ArrayLike) -> pd.DataFrame:
        """Return the population of every metastable state at each temperature.

        Parameters
        ----------
        temperatures : float or array_like

        Returns
        -------
        DataFrame
            Index (`temperature`, `state`), columns `population` and `standard_error`, as in
            :meth:`expectation`.
        """
        check_is_fitted(self)
        wanted = self._all_named(temperatures)
        found = [self._estimate(t, lambda *at: self._moments(*at).populations()) for t in wanted]
        index = pd.MultiIndex.from_product(
            [wanted, range(self.estimator_.n_states_)], names=["temperature", "state"]
        )
        return pd.DataFrame(
            {
                "population": np.concatenate([mean for mean, _ in found]),
                "standard_error": np.concatenate([error for _, error in found]),
            },
            index=index,
        )

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
            with. After a fit with `energy`, also `free_energy_mbar`, `free_energy_mbar_error` and
            `free_energy_difference`, the energy-free value less MBAR's.
        """
        check_is_fitted(self)
        n_states = self.estimator_.n_states_
        if reference is not None:
            check_state(reference, n_states, "reference")
        wanted, states = self._all_named(temperatures), range(n_states)
        others = [_others(s, n_states) if reference is None else [reference] for s in states]
        pairs = list(zip(states, others, strict=True))
        rows = [row for t in wanted for row in self._differences(t, pairs)]
        names = [*QUANTITIES, *(f"{name}_error" for name in QUANTITIES)]
        if self._mbar is not None:
            names += ["free_energy_mbar", "free_energy_mbar_error", "free_energy_difference"]
        index = pd.MultiIndex.from_product([wanted, states], names=["temperature", "state"])
        return pd.DataFrame(rows, index=index, columns=names)

    def melting_temperature(self, state: int) -> MeltingTemperature:
        """Return where a state holds half of the population, with its standard error.

        Searched over the range of temperatures that `sample` serves; of several crossings the one
        nearest to the simulated temperatures.

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
        check_is_fitted(self)
        n_states = self.estimator_.n_states_
        state = check_state(state, n_states, "state")
        self._named(None)
        others = _others(state, n_states)
        if not others:
            raise ValueError("Expected a model with two states or more, got one with one state.")
        t = self._melting_point(state)
        if np.isnan(t):
            low, high = self._range()
            warnings.warn(
                f"The population of state {state} does not cross one half between temperatures "
                f"{low:g} and {high:g}: it has no melting temperature there.",
                UserWarning,
                stacklevel=2,
            )
            return MeltingTemperature(np.nan, np.nan, np.nan)
        (values,), (errors,) = self._estimate(t, self._difference(t, [(state, others)]))
        # d (F / k_B T) / dT = -U / (k_B T^2), and p (1 - p) = 1/4 there
        slope = values[1] / (self.estimator_.boltzmann_constant * t * t)
        return MeltingTemperature(t, float(abs(errors[0] / values[1]) * t), float(slope / 4))

    # -------------------------------------------------------------- inside

    @property
    def _fitted(self) -> tuple[Route, Mixture]:
        """What answers."""
        if self._answer is None:
            raise ValueError("Expected a model fitted with `temperature`, got one without.")
        return self._answer

    def _estimate(self, temperature: float, statistic: Statistic) -> tuple[FloatArray, FloatArray]:
        """Return a statistic at a temperature and its standard error.

        Of bootstraps, or of blocks where there are none; and of the hidden heat capacities.
        """
        beta = float(self._beta(temperature))
        value, error = statistic(*self._fitted, beta)
        if self._replicates:
            others = [statistic(*member, beta)[0] for member in self._replicates]
            error = np.std(others, axis=0, ddof=1)
        for member in self._hidden_members():
            error = np.hypot(error, statistic(*member, beta)[0] - value)
        return value, error

    def _hidden_heat_capacities(self, route: Route, mixture: Mixture) -> FloatArray | None:
        """Return one standard deviation of each state's, in k_B, where there are two temperatures.

        A share of the one that h shows in the middle of the simulated range.
        """
        n_states = self.estimator_.n_states_
        if len(self.temperatures_) != 2 or n_states == 1 or self.hidden_heat_capacity == 0:
            return None
        beta = float(self._pooled.betas.mean())
        weights, h = mixture.frame_weights(route.reduced(beta)), route.derivatives(beta)[0]
        powers = [np.bincount(self.labels_, weights * h**p, n_states) for p in range(3)]
        share, mean, square = powers[0], *(x / np.maximum(powers[0], 1e-300) for x in powers[1:])
        variance = np.where(share > 0, square - mean**2, 0.0)
        return self.hidden_heat_capacity * beta**2 * np.maximum(variance, 0.0)

    def _hidden_members(self) -> Iterator[Member]:
        """Yield what would answer had one state one standard deviation more of heat capacity."""
        if self._hidden is None:
            return
        route, mixture = self._fitted
        pool = Replicate(mixture.log_weights(np.zeros(1)))
        for state, heat_capacity in enumerate(self._hidden):
            own = np.where(self.labels_ == state, heat_capacity, 0.0)
            yield Curved(route, own, self._pooled.betas), pool

    def _moments(self, route: Route, pool: Pool, beta: float) -> StateMoments:
        return state_moments(
            pool, route.reduced(beta), self.labels_, self.estimator_.n_states_,
            *route.derivatives(beta),
        )  # fmt: skip

    def _difference(self, t: float, pairs: Pairs) -> Statistic:
        """Return (F, U, S, C) of states less those of others, one row a pair, as a statistic."""
        constant = self.estimator_.boltzmann_constant

        def statistic(*at: Any) -> tuple[FloatArray, FloatArray]:
            moments = self._moments(*at)
            found = [state_differences(moments, *pair, t, constant) for pair in pairs]
            values, errors = zip(*found, strict=True)
            return np.array(values), np.array(errors)

        return statistic

    def _differences(self, t: float, pairs: Pairs) -> FloatArray:
        """Return the rows of :meth:`thermodynamics` at one temperature."""
        statistic = self._difference(t, pairs)
        value, error = self._estimate(t, statistic)
        columns = [value, error]
        if self._mbar is not None:
            mbar, mbar_error = (x[:, :1] for x in statistic(*self._mbar, float(self._beta(t))))
            columns += [mbar, mbar_error, value[:, :1] - mbar]
        return np.hstack(columns)

    def _melting_point(self, state: int) -> float:
        """Return the crossing nearest to the simulated temperatures, or NaN."""
        low, high = self._range()
        grid = 1 / np.linspace(1 / low, 1 / high, N_SEARCHED)
        own = self.labels_ == state

        def balance(t: float) -> float:
            return float(self._weights(float(self._beta(t)))[own].sum()) - 0.5

        values = np.array([balance(t) for t in grid])
        crossings = np.flatnonzero(np.diff(np.sign(values)))
        if not len(crossings):
            return np.nan
        middle = np.clip(grid[crossings], self.temperatures_[0], self.temperatures_[-1])
        k = crossings[np.argmin(np.abs(np.log(grid[crossings] / middle)))]
        return float(brentq(balance, grid[k], grid[k + 1], xtol=1e-9 * grid[k]))

    def _all_named(self, temperatures: ArrayLike) -> list[float]:
        return [self._named(float(t)) for t in np.atleast_1d(np.asarray(temperatures, dtype=float))]


def _mean_of(values: FloatArray) -> Statistic:
    """Return the means of the columns of `values`, as a statistic."""

    def statistic(route: Route, pool: Pool, beta: float) -> tuple[FloatArray, FloatArray]:
        return pool.average(values, pool.frame_weights(route.reduced(beta)))

    return statistic


def _others(state: int, n_states: int) -> list[int]:
    return [s for s in range(n_states) if s != state]
