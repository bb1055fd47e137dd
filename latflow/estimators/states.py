"""What a fitted extrapolator answers about its states: populations, thermodynamics, melting."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from sklearn.utils.validation import check_is_fitted

from latflow._validation import check_per_frame, check_state
from latflow.estimators.reweighting import LogLinear, Pooled, Route, mean_route, mixture_of
from latflow.thermodynamics import (
    Mixture,
    state_differences,
    state_moments,
)
from latflow.trajectories import spread

if TYPE_CHECKING:
    from latflow.estimators.latf import LaTFEstimator

__all__ = ["MeltingTemperature", "StateThermodynamicsMixin"]

FloatArray = NDArray[np.float64]
Member = tuple[Route, Mixture]

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
    _lengths: NDArray[np.int64] | None
    _mixtures: list[Mixture]
    _routes: list[Route]
    _pooled: Pooled
    _averaged: Member | None = None
    _mbar: Member | None = None
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
            Index `temperature`, columns `value` and `standard_error`. The error comes from blocks
            of the trajectories and, with `n_estimators` above 1, from the spread of h.
        """
        check_is_fitted(self)
        if self._lengths is not None:
            values = spread(values, [int(n) for n in self._lengths], "values")
        column = check_per_frame(values, len(self.z_), "values")[:, None]
        rows = {t: self._average(column, t) for t in self._all_named(temperatures)}
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
        n_states = self.estimator_.n_states_
        member = np.eye(n_states)[self.labels_]
        wanted = self._all_named(temperatures)
        found = [self._average(member, t) for t in wanted]
        index = pd.MultiIndex.from_product(
            [wanted, range(n_states)], names=["temperature", "state"]
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
        rows = {}
        for t in self._all_named(temperatures):
            for state in range(n_states):
                others = _others(state, n_states) if reference is None else [reference]
                rows[t, state] = self._differences(t, state, others)
        names = [*QUANTITIES, *(f"{name}_error" for name in QUANTITIES)]
        if self._mbar is not None:
            names += ["free_energy_mbar", "free_energy_mbar_error", "free_energy_difference"]
        index = pd.MultiIndex.from_tuples(list(rows), names=["temperature", "state"])
        return pd.DataFrame(list(rows.values()), index=index, columns=names)

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
            and a warning says so. The error alone is NaN where a member of the ensemble has no
            crossing.

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
        t, error, slope = self._melting_point(self._consensus, state, others)
        if np.isnan(t):
            low, high = self._range()
            warnings.warn(
                f"The population of state {state} does not cross one half between temperatures "
                f"{low:g} and {high:g}: it has no melting temperature there.",
                UserWarning,
                stacklevel=2,
            )
        elif len(self._routes) > 1:
            found = [self._melting_point(member, state, others)[0] for member in self._members]
            error = float(np.hypot(error, np.std(found, ddof=1)))  # NaN if one of them has none
        return MeltingTemperature(t, error, slope)

    # -------------------------------------------------------------- inside

    @property
    def _members(self) -> list[Member]:
        return list(zip(self._routes, self._mixtures, strict=True))

    @property
    def _consensus(self) -> Member:
        """What answers: the only member, or the mean h of all of them.

        One h far off weighs little in a mean of h, and much in a mean of weights.
        """
        if len(self._routes) == 1:
            return self._members[0]
        return self._averaged or self._average_members()

    def _average_members(self) -> Member:
        route = mean_route([route for route in self._routes if isinstance(route, LogLinear)])
        return route, mixture_of(route, self._pooled)

    def _estimate(
        self, statistic: Callable[[Member], tuple[FloatArray, FloatArray]]
    ) -> tuple[FloatArray, FloatArray]:
        """Return a statistic and its error: of blocks, and of the spread over members."""
        value, error = statistic(self._consensus)
        if len(self._routes) > 1:
            values = np.array([statistic(member)[0] for member in self._members])
            error = np.sqrt(error**2 + values.var(axis=0, ddof=1))
        return value, error

    def _differences(self, t: float, state: int, others: Sequence[int]) -> list[float]:
        value, error = self._estimate(lambda m: self._member_differences(m, t, state, others))
        row = [*value, *error]
        if self._mbar is not None:
            mbar, mbar_error = self._member_differences(self._mbar, t, state, others)
            row += [mbar[0], mbar_error[0], value[0] - mbar[0]]
        return row

    def _member_differences(
        self, member: Member, t: float, state: int, others: Sequence[int]
    ) -> tuple[FloatArray, FloatArray]:
        route, mixture = member
        beta = float(self._beta(t))
        moments = state_moments(
            mixture, route.reduced(beta), self.labels_, self.estimator_.n_states_,
            *route.derivatives(beta),
        )  # fmt: skip
        return state_differences(moments, state, others, t, self.estimator_.boltzmann_constant)

    def _melting_point(
        self, member: Member, state: int, others: Sequence[int]
    ) -> tuple[float, float, float]:
        """Return temperature, error and slope of the crossing nearest to the simulations."""
        low, high = self._range()
        grid = 1 / np.linspace(1 / low, 1 / high, N_SEARCHED)
        route, mixture = member
        own = self.labels_ == state

        def balance(t: float) -> float:
            return (
                float(mixture.frame_weights(route.reduced(float(self._beta(t))))[own].sum()) - 0.5
            )

        values = np.array([balance(t) for t in grid])
        crossings = np.flatnonzero(np.diff(np.sign(values)))
        if not len(crossings):
            return np.nan, np.nan, np.nan
        middle = np.clip(grid[crossings], self.temperatures_[0], self.temperatures_[-1])
        k = crossings[np.argmin(np.abs(np.log(grid[crossings] / middle)))]
        t = float(brentq(balance, grid[k], grid[k + 1], xtol=1e-9 * grid[k]))
        values, errors = self._member_differences(member, t, state, others)
        kt = self.estimator_.boltzmann_constant * t
        # d (F / k_B T) / dT = -U / (k_B T^2), and p (1 - p) = 1/4 there
        slope = values[1] / (kt * t)
        return t, float(errors[0] / kt / abs(slope)), float(slope / 4)

    def _all_named(self, temperatures: ArrayLike) -> list[float]:
        return [self._named(float(t)) for t in np.atleast_1d(np.asarray(temperatures, dtype=float))]

    def _average(self, values: FloatArray, temperature: float) -> tuple[FloatArray, FloatArray]:
        """Return means of the columns of `values` and their errors."""
        beta = float(self._beta(temperature))

        def statistic(member: Member) -> tuple[FloatArray, FloatArray]:
            route, mixture = member
            return mixture.average(values, mixture.frame_weights(route.reduced(beta)))

        return self._estimate(statistic)


def _others(state: int, n_states: int) -> list[int]:
    return [s for s in range(n_states) if s != state]
