"""Rates against temperature: Arrhenius and Eyring fits, rate matrices at unseen temperatures."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.linalg import eigh
from scipy.sparse.csgraph import connected_components
from scipy.stats import norm

from latflow._typing import FloatArray, IntArray
from latflow._validation import (
    check_fraction,
    check_option,
    check_positive,
    check_table,
    check_temperature,
    warn,
)
from latflow.kinetics.markov import CONFIDENCE
from latflow.units import BOLTZMANN_CONSTANT, Units

PLANCK_CONSTANT = 0.3990312712893431  # kJ/mol ps: scipy.constants h * N_A * 1e9
FORMS = {
    "arrhenius": ("activation_energy", "log_prefactor"),
    "eyring": ("activation_enthalpy", "activation_entropy"),
}
PAIR = ["source", "target"]
MOST_ELSEWHERE = 1e-3  # of the equilibrium that states without rates may hold


@dataclass(frozen=True, eq=False)
class ArrheniusFit:
    """Straight lines of log rates against inverse temperature, one per pair of states.

    :func:`arrhenius` makes it.

    Parameters
    ----------
    parameters : DataFrame
        Index (`source`, `target`). Columns `activation_energy` and `log_prefactor`, or
        `activation_enthalpy` and `activation_entropy`, each also with `_error`, one standard
        error; `covariance` of the two; `chi2`, the weighted sum of squared residuals, which for a
        straight line is about `n_temperatures` - 2; `n_temperatures`.
    form : {"arrhenius", "eyring"}
    boltzmann_constant : float
    planck_constant : float or None
        None for "arrhenius".
    """

    parameters: pd.DataFrame
    form: str
    boltzmann_constant: float
    planck_constant: float | None

    def predict(self, temperatures: ArrayLike, *, confidence: float = CONFIDENCE) -> pd.DataFrame:
        """Return the lines' rates at any temperatures, with confidence intervals.

        Parameters
        ----------
        temperatures : float or array_like of shape (n_temperatures,)
        confidence : float, default=0.95
            Probability that an interval holds.

        Returns
        -------
        DataFrame
            The table that :func:`rates` returns. Forward and backward rates are lines of their own:
            only :func:`rates_at` makes a rate matrix of them.
        """
        slope, level = FORMS[self.form]
        p, tables = self.parameters, {}
        for t in map(check_temperature, np.atleast_1d(temperatures).tolist()):
            lever = Units(self.boltzmann_constant).beta(t) * self._level_unit()
            log_rate = self._offset(t) + (p[level] - lever * p[slope]) / self._level_unit()
            variance = np.square(p[f"{level}_error"]) + np.square(lever * p[f"{slope}_error"])
            variance = (variance - 2 * lever * p["covariance"]).clip(lower=0)
            error = np.sqrt(variance) / self._level_unit()
            tables[t] = _intervals(np.exp(log_rate), error, confidence)
        return pd.concat(tables, names=["temperature"])

    def _level_unit(self) -> float:
        """Entropies have the unit of Boltzmann's constant, logarithms have none."""
        return self.boltzmann_constant if self.form == "eyring" else 1.0

    def _offset(self, temperature: float) -> float:
        if self.planck_constant is None:
            return 0.0
        return float(np.log(Units(self.boltzmann_constant).kt(temperature) / self.planck_constant))


@dataclass(frozen=True, eq=False)
class RateModel:
    """A rate matrix in detailed balance at one temperature; :func:`rates_at` makes it.

    Parameters
    ----------
    temperature : float
    states : ndarray of shape (n_states,)
        Numbers of the states, in the order of rows and columns.
    populations : ndarray of shape (n_states,)
        They sum to one.
    matrix : ndarray of shape (n_states, n_states)
        Rates; rows sum to zero.
    rates : DataFrame
        Index (`source`, `target`). Columns `rate`, `low`, `high`, `log_error`, and `line`, the
        rate of the straight line alone: far from `rate`, kinetics and populations disagree.
    timescales : DataFrame
        Index `process`, the slowest first. Columns `timescale`, `low`, `high`, `log_error`.
    """

    temperature: float
    states: IntArray
    populations: FloatArray
    matrix: FloatArray
    rates: pd.DataFrame
    timescales: pd.DataFrame


def arrhenius(
    rates: pd.DataFrame,
    *,
    boltzmann_constant: float = BOLTZMANN_CONSTANT,
    form: str = "arrhenius",
    planck_constant: float | None = None,
) -> ArrheniusFit:
    r"""Fit log rates against inverse temperature: barriers from rates.

    .. math::

        \ln k = \ln A - \frac{E}{k_B T}
        \quad\text{or}\quad
        \ln k = \ln \frac{k_B T}{h} + \frac{\Delta S}{k_B} - \frac{\Delta H}{k_B T} ,

    by least squares with weights 1 / `log_error` squared. Errors are propagated from `log_error`
    and not scaled by the residuals: with two temperatures, where the line goes through both
    points, they hold too.

    Parameters
    ----------
    rates : DataFrame
        As :func:`latflow.kinetics.rates` returns it: index (`temperature`, `source`, `target`),
        columns `rate` and `log_error`. Errors of zero throughout a pair mean exact rates: equal
        weights, no errors, no `chi2`.
    boltzmann_constant : float, default=0.00831446261815324
        k_B in kJ/mol/K; 1.0 for temperatures in units of energy.
    form : {"arrhenius", "eyring"}, default="arrhenius"
    planck_constant : float, optional
        h in units of energy times the rates' unit of time, for "eyring". Needed unless
        `boltzmann_constant` is in kJ/mol/K; then 0.39903 kJ/mol ps, for rates per picosecond. In
        reduced units any number will do: entropies are relative to the attempt rate
        k_B T / `planck_constant`, and only differences between pairs have a meaning.

    Returns
    -------
    ArrheniusFit

    Warns
    -----
    UserWarning
        If a pair has positive rates at fewer than two temperatures; its row is NaN.

    Raises
    ------
    ValueError
        If the table has other columns, fewer than two temperatures or errors of zero for some rows
        of a pair, or `planck_constant` is needed and missing.

    References
    ----------
    .. [1] Eyring, "The activated complex in chemical reactions", J. Chem. Phys. 3, 107 (1935).

    Examples
    --------
    >>> pairs = [(1.0, 0, 1), (1.0, 1, 0), (2.0, 0, 1), (2.0, 1, 0)]
    >>> index = pd.MultiIndex.from_tuples(pairs, names=["temperature", "source", "target"])
    >>> table = pd.DataFrame({"rate": np.exp([-3, -1, -1.5, -0.5]), "log_error": 0.1}, index=index)
    >>> fit = arrhenius(table, boltzmann_constant=1.0)
    >>> fit.parameters.activation_energy.round(2).to_dict()
    {(0, 1): 3.0, (1, 0): 1.0}
    >>> fit.parameters.activation_energy_error.round(2).to_dict()
    {(0, 1): 0.28, (1, 0): 0.28}
    """
    check_table(rates, "rates", ["temperature", *PAIR], ["rate", "log_error"])
    check_option(form, "form", FORMS)
    constant = check_positive(boltzmann_constant, "boltzmann_constant")
    n_temperatures = rates.index.get_level_values("temperature").nunique()
    if n_temperatures < 2:
        raise ValueError(f"Expected `rates` at two temperatures or more, got {n_temperatures}.")
    planck = _planck(planck_constant, constant) if form == "eyring" else None
    fit = ArrheniusFit(pd.DataFrame(), form, constant, planck)
    lines = {pair: _fit_pair(fit, str(pair), rows) for pair, rows in rates.groupby(level=PAIR)}
    parameters = pd.DataFrame.from_dict(lines, orient="index")
    parameters.index = pd.MultiIndex.from_tuples(lines, names=PAIR)
    short = parameters.index[parameters["n_temperatures"] < 2].tolist()
    if short:
        warn(
            f"Pairs {short} of states have positive rates at fewer than two temperatures: no line "
            "is fitted to them, their rows are NaN."
        )
    return replace(fit, parameters=parameters)


def rates_at(
    fit: ArrheniusFit,
    populations: pd.DataFrame | ArrayLike,
    *,
    temperature: float,
    confidence: float = CONFIDENCE,
) -> RateModel:
    r"""Return a rate matrix at an unseen temperature, in detailed balance with its populations.

    The lines of forward and backward rates give two values of the flux between two states; the
    matrix has their geometric mean,

    .. math:: \pi_a k_{ab} = \pi_b k_{ba}
        = \sqrt{\pi_a k_{ab}^\text{line} \; \pi_b k_{ba}^\text{line}} .

    So equilibrium comes from the populations, and speed from the kinetics.

    Parameters
    ----------
    fit : ArrheniusFit
        The result of :func:`arrhenius`.
    populations : DataFrame or array_like of shape (n_states,)
        As ``TemperatureExtrapolator.state_populations(temperature)`` returns them: index
        (`temperature`, `state`), columns `population` and `standard_error`. Or one number per
        state of the fit, by rising number of the state, without errors.
    temperature : float
        Temperature in the unit of the fitted ones.
    confidence : float, default=0.95
        Probability that an interval holds.

    Returns
    -------
    RateModel
        Errors of rates take those of forward and backward lines, and those of the two
        populations, as fully correlated, an upper bound; those of timescales take the rates of
        different pairs as independent.

    Warns
    -----
    UserWarning
        For pairs without a line: no direct transitions are assumed.

    Raises
    ------
    ValueError
        If populations are missing, not positive, or mostly of states without rates, or if the
        pairs with lines do not connect all states.

    Examples
    --------
    >>> pairs = [(1.0, 0, 1), (1.0, 1, 0), (2.0, 0, 1), (2.0, 1, 0)]
    >>> index = pd.MultiIndex.from_tuples(pairs, names=["temperature", "source", "target"])
    >>> table = pd.DataFrame({"rate": np.exp([-3, -1, -1.5, -0.5]), "log_error": 0.1}, index=index)
    >>> model = rates_at(arrhenius(table, boltzmann_constant=1.0), [0.8, 0.2], temperature=1.5)
    >>> model.matrix.round(3)
    array([[-0.132,  0.132],
           [ 0.527, -0.527]])
    >>> model.timescales.timescale.round(2).tolist()
    [1.52]
    """
    temperature = check_temperature(temperature)
    line = fit.predict(temperature, confidence=confidence).droplevel("temperature")
    states = np.unique(line.index.get_level_values("source"))
    population, population_error = _populations(populations, states, temperature)
    rate, error = (
        line[name].unstack("target").reindex(index=states, columns=states).to_numpy(float)
        for name in ("rate", "log_error")
    )
    flux = np.sqrt(rate * rate.T * np.outer(population, population))
    flux = _without_gaps(flux, states)
    matrix = flux / population[:, None]
    matrix -= np.diag(matrix.sum(axis=1))
    pair_error = np.nan_to_num((error + error.T) / 2)
    log_error = np.hypot(pair_error, np.add.outer(population_error, population_error) / 2)
    apart = ~np.eye(len(states), dtype=bool)
    table = _intervals(matrix[apart], log_error[apart], confidence).set_index(line.index)
    table["line"] = line["rate"]
    timescales = _timescales(flux, population, pair_error, population_error, confidence)
    return RateModel(temperature, states, population, matrix, table, timescales)


# ------------------------------------------------------------------ inside


def _planck(value: float | None, boltzmann_constant: float) -> float:
    if value is not None:
        return check_positive(value, "planck_constant")
    if not np.isclose(boltzmann_constant, BOLTZMANN_CONSTANT, rtol=1e-3):
        raise ValueError(
            "Expected `planck_constant`, in units of energy times time, for form='eyring' with "
            f"boltzmann_constant={boltzmann_constant:g}, got None: entropies are relative to the "
            "attempt rate boltzmann_constant * temperature / planck_constant."
        )
    return PLANCK_CONSTANT


def _fit_pair(fit: ArrheniusFit, pair: str, rows: pd.DataFrame) -> dict[str, float]:
    """Return one pair's row of parameters."""
    rows = rows[np.isfinite(rows["log_error"]) & (rows["rate"] > 0)]
    temperature = rows.index.get_level_values("temperature").to_numpy(float)
    slope, level = FORMS[fit.form]
    columns = [slope, f"{slope}_error", level, f"{level}_error", "covariance", "chi2"]
    if len(rows) < 2:
        return dict.fromkeys(columns, np.nan) | {"n_temperatures": len(rows)}
    error = rows["log_error"].to_numpy(float)
    exact = bool((error == 0).all())
    if (error < 0).any() or (error == 0).any() != exact:
        raise ValueError(
            f"Expected `log_error` of pair {pair} to be positive at every temperature, or zero at "
            f"every one, got {error.tolist()}."
        )
    beta = Units(fit.boltzmann_constant).betas(temperature)
    log_rate = np.log(rows["rate"].to_numpy(float)) - [fit._offset(t) for t in temperature]
    weight = np.ones_like(error) if exact else 1 / error
    line, covariance = np.polyfit(beta, log_rate, 1, w=weight, cov="unscaled")
    chi2 = np.square(weight * (log_rate - np.polyval(line, beta))).sum()
    if exact:
        covariance, chi2 = np.zeros((2, 2)), np.nan
    (slope_error, level_error), unit = np.sqrt(np.diag(covariance)), fit._level_unit()
    errors = -unit * covariance[0, 1], chi2
    values = [-line[0], slope_error, unit * line[1], unit * level_error, *errors]
    return dict(zip(columns, map(float, values), strict=True)) | {"n_temperatures": len(rows)}


def _intervals(values: ArrayLike, log_error: ArrayLike, confidence: float) -> pd.DataFrame:
    width = norm.isf((1 - check_fraction(confidence, "confidence")) / 2)
    table = pd.DataFrame({"rate": values, "log_error": log_error})
    table.insert(1, "low", table["rate"] * np.exp(-width * table["log_error"]))
    table.insert(2, "high", table["rate"] * np.exp(width * table["log_error"]))
    return table


def _populations(
    values: pd.DataFrame | ArrayLike, states: IntArray, temperature: float
) -> tuple[FloatArray, FloatArray]:
    """Return normalised populations of the states and their relative errors."""
    error = np.zeros(len(states))
    if isinstance(values, pd.DataFrame):
        values, error = _population_rows(values, states, temperature).to_numpy().T
    population = np.asarray(values, dtype=np.float64)
    if population.shape != states.shape or not (np.isfinite(population) & (population > 0)).all():
        raise ValueError(
            f"Expected `populations` to be positive numbers for states {states.tolist()}, got "
            f"{population.tolist()}."
        )
    return population / population.sum(), error / population


def _population_rows(table: pd.DataFrame, states: IntArray, temperature: float) -> pd.DataFrame:
    """Return the rows of one temperature and these states; others may hold next to nothing."""
    columns = ["population", "standard_error"]
    check_table(table, "populations", ["temperature", "state"], columns)
    near = np.isclose(table.index.get_level_values("temperature").to_numpy(float), temperature)
    rows = table.loc[near, columns].droplevel("temperature").astype(float)
    missing = sorted(set(states.tolist()) - set(rows.index))
    if missing:
        raise ValueError(
            f"Expected `populations` of states {states.tolist()} at temperature "
            f"{temperature:g}, got none of {missing}."
        )
    elsewhere = 1 - float(rows.loc[states, "population"].sum() / rows["population"].sum())
    if elsewhere > MOST_ELSEWHERE:
        raise ValueError(
            f"Expected `populations` of states {states.tolist()}, those with rates, got "
            f"{elsewhere:.1%} in other states."
        )
    return rows.loc[states]  # type: ignore[no-any-return]


def _without_gaps(flux: FloatArray, states: IntArray) -> FloatArray:
    """Return the flux with zeros where a pair has no line; all states must stay connected."""
    gaps = [tuple(states[pair].tolist()) for pair in np.argwhere(np.triu(np.isnan(flux), 1))]
    flux = np.nan_to_num(flux)
    if connected_components(flux, directed=False)[0] > 1:
        raise ValueError(
            f"Expected rates that connect all states {states.tolist()}, got no line between {gaps}:"
            " more data may give them rates."
        )
    if gaps:
        warn(
            f"Pairs {gaps} of states have no line: no direct transitions between them are assumed."
        )
    return flux


def _timescales(
    flux: FloatArray,
    population: FloatArray,
    pair_error: FloatArray,
    population_error: FloatArray,
    confidence: float,
) -> pd.DataFrame:
    r"""Return relaxation times and their errors.

    A process' rate is the sum over pairs of flux times the squared step of its eigenvector r, so
    its derivative in a log flux is that pair's term, and in a log population half its pairs' terms
    less the rate times pi r^2.
    """
    decay, vectors = eigh(np.diag(flux.sum(axis=1)) - flux, np.diag(population))
    decay, vectors = decay[1:], vectors.T[1:]
    terms = flux * np.square(vectors[:, :, None] - vectors[:, None, :]) / decay[:, None, None]
    by_rates = np.square(terms * pair_error).sum(axis=(1, 2)) / 2
    slopes = terms.sum(axis=2) / 2 - population * np.square(vectors)
    log_error = np.sqrt(by_rates + np.square(slopes * population_error).sum(axis=1))
    table = _intervals(1 / decay, log_error, confidence)
    return table.rename(columns={"rate": "timescale"}).rename_axis("process")
