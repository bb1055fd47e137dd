"""State populations against temperature, and where a state melts."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from latflow._validation import check_state, check_table, heard
from latflow.estimators import TemperatureExtrapolator
from latflow.plotting import style
from latflow.plotting import support as trust
from latflow.plotting.style import (
    PALETTE,
    Axes,
    ErrorbarContainer,
    Line2D,
    PolyCollection,
    Rectangle,
    Style,
)
from latflow.thermodynamics import MeltingTemperature
from latflow.units import with_error

HEADROOM = 1.12  # top of the axis where regions are named
POINTS: Style = {"marker": "o", "ms": 5, "mfc": "white", "ls": ""}
MELTING = "0.15"
BELOW_NAMES = 1.04 / (HEADROOM + 0.02)  # of the axis
SLACK = 0.01  # of a melting temperature: so near to a region it has its verdict
NOWHERE = MeltingTemperature(np.nan, np.nan, np.nan)


@dataclass(eq=False, repr=False)
class PopulationCurves:
    """What displays of populations against temperature hold, and how they draw it.

    Parameters
    ----------
    populations, reference, simulated, support, temperature_unit
        As for :class:`PopulationsDisplay`.
    """

    populations: pd.DataFrame
    _: KW_ONLY
    reference: pd.DataFrame | None = None
    simulated: ArrayLike = ()
    support: pd.DataFrame | None = None
    temperature_unit: str = ""

    def __post_init__(self) -> None:
        index, columns = ["temperature", "state"], ["population", "standard_error"]
        check_table(self.populations, "populations", index, columns)
        self.support = None if self.support is None else trust.check_support(self.support)

    def _draw_state(
        self, ax: Axes, state: int, kwargs: Style
    ) -> tuple[Line2D, PolyCollection, ErrorbarContainer | None]:
        """Draw one state's line, band and, if there are any, points of the reference."""
        rows = style.rows_at(self.populations, state=state)
        number = list(self.populations.index.unique("state")).index(state)
        colour = PALETTE[number % len(PALETTE)]
        value, error = rows["population"], rows["standard_error"]
        ends = {"low": (value - error).clip(0, 1), "high": (value + error).clip(0, 1)}
        options: Style = {"color": colour, "label": f"state {state}"} | kwargs
        line, band = style.line_and_band(ax, pd.DataFrame({"value": value} | ends), **options)
        if self.reference is None or state not in self.reference.index.unique("state"):
            return line, band, None
        points = style.rows_at(self.reference, state=state)
        marks = POINTS | {"capsize": 2, "color": colour, "zorder": 3}
        values, bars = points["population"].to_numpy(float), points.get("standard_error")
        return line, band, ax.errorbar(points.index.to_numpy(float), values, bars, **marks)

    def _furnish(self, ax: Axes) -> list[Rectangle]:
        """Draw what surrounds the curves: labels, limits, marks, legend and shades (returned)."""
        ax.set(ylabel="population", ylim=(-0.02, 1.02))
        if self.support is not None:
            tables = self.populations, self.reference, self.support
            trust.limit(ax, style.level_of("temperature", *tables))
            ax.set(ylim=(-0.02, HEADROOM), yticks=np.linspace(0, 1, 6))
        shades = trust.shade(ax, self.support)
        if self.reference is not None:
            ax.plot([], [], label="reference", color="0.35", **POINTS)
        trust.name_temperatures(ax, self.simulated, self.temperature_unit)
        return shades


class PopulationsDisplay(PopulationCurves):
    """Populations of the metastable states against temperature.

    Temperatures at which the predictions are extrapolated or unsupported are shaded. Build it with
    :meth:`from_estimator`.

    Parameters
    ----------
    populations : DataFrame
        As ``TemperatureExtrapolator.state_populations`` returns it: index (`temperature`, `state`),
        columns `population` and `standard_error`.
    reference : DataFrame, optional
        Populations from elsewhere, such as simulations that the estimator never saw, with the same
        index levels and a column `population`; error bars where it has `standard_error`.
    simulated : array_like, optional
        Temperatures of the simulations that the estimator was fitted on, marked on the axis.
    support : DataFrame, optional
        As ``TemperatureExtrapolator.support`` returns it; nothing is shaded if not given. Between
        two of its temperatures the worse verdict holds.
    temperature_unit : str, default=""

    Attributes
    ----------
    figure_ : matplotlib Figure
    ax_ : Axes
    lines_ : list of Line2D
        One per state.
    bands_ : list of PolyCollection
        One standard error to both sides, cut at 0 and 1.
    points_ : list of ErrorbarContainer
        Error bars of the reference, one per state.
    shades_ : list of Rectangle
        Extrapolated and unsupported regions, from low temperatures to high.
    """

    @classmethod
    def from_estimator(
        cls,
        estimator: TemperatureExtrapolator,
        *,
        temperature: ArrayLike,
        reference: pd.DataFrame | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Compute populations and support of a fitted extrapolator and draw them.

        Parameters
        ----------
        estimator : TemperatureExtrapolator
            Fitted.
        temperature : array_like of shape (n_temperatures,)
        reference : DataFrame, optional
            Populations from elsewhere; see the class.
        ax, **kwargs
            For :meth:`plot`.

        Returns
        -------
        PopulationsDisplay
        """
        check_is_fitted(estimator)
        temperatures = np.sort(np.atleast_1d(np.asarray(temperature, dtype=np.float64)))
        populations = estimator.state_populations(temperatures)
        drawn = style.level_of("temperature", populations, reference)
        display = cls(
            populations,
            reference=reference,
            simulated=estimator.temperatures_,
            support=trust.support_of(estimator, drawn),
            temperature_unit=estimator.units_.temperature,
        )
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> Self:
        """Draw lines with bands, the reference, simulated temperatures and shaded regions.

        Parameters
        ----------
        ax : Axes, optional
            A new figure if not given.
        **kwargs
            For ``Axes.plot`` of the lines.

        Returns
        -------
        self
        """
        self.ax_ = style.panel(ax, size=(5.6, 3.6))
        self.figure_ = self.ax_.figure
        states = self.populations.index.unique("state").sort_values()
        drawn = [self._draw_state(self.ax_, state, kwargs) for state in states]
        self.lines_, self.bands_, points = map(list, zip(*drawn, strict=True))
        self.points_ = [bars for bars in points if bars is not None]
        self.shades_ = self._furnish(self.ax_)
        return self


@dataclass(eq=False, repr=False)
class MeltingCurveDisplay(PopulationCurves):
    """Population of one state against temperature, and where it holds half of all.

    The melting temperature is a vertical line with a band of one standard error, and a number in
    the legend; where there is none, the legend says so. Temperatures at which the predictions are
    extrapolated or unsupported are shaded. Build it with :meth:`from_estimator`.

    Parameters
    ----------
    populations : DataFrame
        As ``TemperatureExtrapolator.state_populations`` returns it: index (`temperature`, `state`),
        columns `population` and `standard_error`.
    state : int
    melting : MeltingTemperature, optional
        Result of ``TemperatureExtrapolator.melting_temperature``; NaN, as if not given, for none.
    reference, simulated, support, temperature_unit
        As for :class:`PopulationsDisplay`.

    Attributes
    ----------
    figure_ : matplotlib Figure
    ax_ : Axes
    line_ : Line2D
    band_ : PolyCollection
        One standard error to both sides, cut at 0 and 1.
    melting_ : Line2D or None
        At the melting temperature.
    melting_band_ : Rectangle or None
        One standard error of the melting temperature to both sides.
    points_ : ErrorbarContainer or None
        Of the reference.
    shades_ : list of Rectangle
        Extrapolated and unsupported regions, from low temperatures to high.
    """

    state: int
    _: KW_ONLY
    melting: MeltingTemperature = NOWHERE

    @classmethod
    def from_estimator(
        cls,
        estimator: TemperatureExtrapolator,
        state: int,
        *,
        temperature: ArrayLike | None = None,
        reference: pd.DataFrame | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Compute population, melting temperature and support of a fitted extrapolator; draw them.

        Parameters
        ----------
        estimator : TemperatureExtrapolator
            Fitted, with two states or more.
        state : int
        temperature : array_like of shape (n_temperatures,), optional
            40 over the range that ``TemperatureExtrapolator.sample`` serves, and the simulated
            temperatures, if not given.
        reference : DataFrame, optional
            Populations from elsewhere; see the class.
        ax, **kwargs
            For :meth:`plot`.

        Returns
        -------
        MeltingCurveDisplay

        Raises
        ------
        ValueError
            If there is no such state, or it is the only one.
        """
        check_is_fitted(estimator)
        state = check_state(state, estimator.n_states_, "state")
        melting = _melting(estimator, state)
        if temperature is None:
            temperature = trust.default_temperatures(estimator)
        temperatures = np.unique(np.asarray(temperature, dtype=np.float64))
        populations = _only(estimator.state_populations(temperatures), state)
        reference = None if reference is None else _only(reference, state)
        drawn = style.level_of("temperature", populations, reference)
        within = drawn[0] <= melting.temperature <= drawn[-1]
        display = cls(
            populations,
            state,
            melting=melting,
            reference=reference,
            simulated=estimator.temperatures_,
            support=trust.support_of(estimator, drawn, [melting.temperature] if within else []),
            temperature_unit=estimator.units_.temperature,
        )
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> Self:
        """Draw curve, melting temperature, reference, simulated temperatures and shaded regions.

        Parameters
        ----------
        ax : Axes, optional
            A new figure if not given.
        **kwargs
            For ``Axes.plot`` of the curve.

        Returns
        -------
        self
        """
        if _only(self.populations, self.state).empty:
            raise ValueError(f"Expected `populations` of state {self.state}, got none.")
        self.ax_ = style.panel(ax, size=(5.6, 3.6))
        self.figure_ = self.ax_.figure
        drawn = self._draw_state(self.ax_, self.state, {"lw": 1.8} | kwargs)
        self.line_, self.band_, self.points_ = drawn
        self.band_.set_label("± standard error")
        self._draw_melting()
        self.shades_ = self._furnish(self.ax_)
        return self

    def _draw_melting(self) -> None:
        """Draw the melting temperature and where it was read off, or say that there is none."""
        t, error, _ = self.melting
        self.melting_: Line2D | None = None
        self.melting_band_: Rectangle | None = None
        if not np.isfinite(t):
            self.ax_.plot([], [], ls="", label=self._name())
            return
        top = 1.0 if self.support is None else BELOW_NAMES
        dark: Style = {"color": MELTING, "ymax": top}
        self.melting_ = self.ax_.axvline(t, lw=1.1, label=self._name(), **dark)
        if error > 0:
            ends = t - error, t + error
            self.melting_band_ = self.ax_.axvspan(*ends, alpha=0.25, lw=0, zorder=1, **dark)
        self.ax_.axhline(0.5, color="0.6", lw=0.8, ls=":", zorder=1)

    def _name(self) -> str:
        """Write the melting temperature for the legend, and how far it can be trusted."""
        t, error, _ = self.melting
        if not np.isfinite(t):
            low, high = style.level_of("temperature", self.populations)[[0, -1]]
            where = f"from {low:.3g} to {high:.3g} {self.temperature_unit}".rstrip()
            return f"no melting temperature\n{where}"
        text = f"$T_\\mathrm{{m}}$ = {with_error(t, error)} {self.temperature_unit}".rstrip()
        if self.support is None:
            return text
        slack = np.nanmin([error, SLACK * t])
        verdict = (
            trust.verdict_between(self.support, t - slack, t + slack) or "outside of this range"
        )
        return text if verdict == "supported" else f"{text}\n({verdict})"


def _melting(estimator: TemperatureExtrapolator, state: int) -> MeltingTemperature:
    """Return the melting temperature, NaN without a word where there is none."""
    with heard("The population of state"):
        return estimator.melting_temperature(state)


def _only(table: pd.DataFrame, state: int) -> pd.DataFrame:
    """Return one state's rows of a table."""
    return table[table.index.get_level_values("state") == state]
