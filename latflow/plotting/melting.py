"""One state's population against temperature, and where it melts."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from latflow._validation import check_state, check_table
from latflow.estimators.extrapolator import TemperatureExtrapolator
from latflow.estimators.states import MeltingTemperature
from latflow.plotting.populations import (
    HEADROOM,
    draw_population,
    furnish,
    of_state,
    temperatures_of,
)
from latflow.plotting.shading import (
    check_support,
    default_temperatures,
    legend_right,
    support_of,
    verdict_between,
)
from latflow.plotting.style import PALETTE, panels, temperature_unit, with_error

__all__ = ["MeltingCurveDisplay"]

MELTING = "0.15"
BELOW_NAMES = 1.04 / (HEADROOM + 0.02)  # of the axis
SLACK = 0.01  # of a melting temperature: so near to a region it has its verdict
NOWHERE = MeltingTemperature(np.nan, np.nan, np.nan)


class MeltingCurveDisplay:
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
        Of ``TemperatureExtrapolator.melting_temperature``; NaN, as if not given, for none.
    reference : DataFrame, optional
        Simulated populations, with the same index levels and a column `population`; error bars
        where it has `standard_error`.
    trained : array_like, optional
        Temperatures that the estimator was fitted on, marked on the axis.
    support : DataFrame, optional
        As ``TemperatureExtrapolator.support`` returns it; nothing is shaded if not given. Between
        two of its temperatures the worse verdict holds.
    temperature_unit : str, default=""

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
        Simulated.
    shades_ : list of Rectangle
        Extrapolated and unsupported regions, from low temperatures to high.
    """

    def __init__(
        self,
        populations: pd.DataFrame,
        state: int,
        *,
        melting: MeltingTemperature = NOWHERE,
        reference: pd.DataFrame | None = None,
        trained: ArrayLike = (),
        support: pd.DataFrame | None = None,
        temperature_unit: str = "",
    ) -> None:
        columns = ["population", "standard_error"]
        self.populations = check_table(
            populations, "populations", ["temperature", "state"], columns
        )
        self.state = state
        self.melting = melting
        self.reference = reference
        self.trained = np.asarray(trained, dtype=np.float64)
        self.support = None if support is None else check_support(support)
        self.temperature_unit = temperature_unit

    @classmethod
    def from_estimator(
        cls,
        estimator: TemperatureExtrapolator,
        state: int,
        *,
        temperature: ArrayLike | None = None,
        reference: pd.DataFrame | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Compute population, melting temperature and support of a fitted extrapolator; draw them.

        Parameters
        ----------
        estimator : TemperatureExtrapolator
            Fitted, with two states or more.
        state : int
        temperature : array_like of shape (n_temperatures,), optional
            40 over the range that ``TemperatureExtrapolator.sample`` serves, and the training
            temperatures, if not given.
        reference : DataFrame, optional
            Simulated populations; see the class.
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
        state = check_state(state, estimator.estimator_.n_states_, "state")
        melting = _melting(estimator, state)
        if temperature is None:
            temperature = default_temperatures(estimator)
        found = estimator.state_populations(np.unique(np.asarray(temperature, dtype=np.float64)))
        found = found.loc[found.index.get_level_values("state") == state]
        own = of_state(reference, state)
        reference = None if own is None else pd.concat({state: own}, names=["state"]).swaplevel()
        drawn = temperatures_of(found, reference)
        within = drawn[0] <= melting.temperature <= drawn[-1]
        display = cls(
            found,
            state,
            melting=melting,
            reference=reference,
            trained=estimator.temperatures_,
            support=support_of(estimator, drawn, [melting.temperature] if within else []),
            temperature_unit=temperature_unit(estimator.estimator_),
        )
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> Self:
        """Draw curve, melting temperature, simulated points, marks and shaded regions.

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
        self.ax_ = panels(ax, 1, 1, size=(5.6, 3.6))[0, 0]
        self.figure_ = self.ax_.figure
        rows = of_state(self.populations, self.state)
        if rows is None:
            raise ValueError(f"Expected `populations` of state {self.state}, got none.")
        colour = PALETTE[self.state % len(PALETTE)]
        options = {"lw": 1.8, "label": f"state {self.state}"} | kwargs
        drawn = draw_population(
            self.ax_, rows, of_state(self.reference, self.state), colour, **options
        )
        self.line_, self.band_, self.points_ = drawn
        self.band_.set_label("± standard error")
        self._draw_melting()
        self.shades_ = furnish(
            self.ax_, self.populations, self.reference, self.support, self.trained,
            self.temperature_unit,
        )  # fmt: skip
        legend_right(self.ax_)
        return self

    def _draw_melting(self) -> None:
        """Draw the melting temperature and where it was read off, or say that there is none."""
        t, error, _ = self.melting
        self.melting_: Any = None
        self.melting_band_: Any = None
        if not np.isfinite(t):
            self.ax_.plot([], [], ls="", label=self._name())
            return
        top = 1.0 if self.support is None else BELOW_NAMES
        style = {"color": MELTING, "lw": 1.1, "label": self._name()}
        self.melting_ = self.ax_.axvline(t, ymax=top, **style)
        if error > 0:
            band = {"color": MELTING, "alpha": 0.25, "lw": 0, "zorder": 1}
            self.melting_band_ = self.ax_.axvspan(t - error, t + error, ymax=top, **band)
        self.ax_.axhline(0.5, color="0.6", lw=0.8, ls=":", zorder=1)

    def _name(self) -> str:
        """Write the melting temperature for the legend, and how far it can be trusted."""
        t, error, _ = self.melting
        if not np.isfinite(t):
            low, high = temperatures_of(self.populations)[[0, -1]]
            where = f"from {low:.3g} to {high:.3g} {self.temperature_unit}".rstrip()
            return f"no melting temperature\n{where}"
        text = f"$T_\\mathrm{{m}}$ = {with_error(t, error)} {self.temperature_unit}".rstrip()
        if self.support is None:
            return text
        slack = np.nanmin([error, SLACK * t])
        verdict = verdict_between(self.support, t - slack, t + slack) or "outside of this range"
        return text if verdict == "supported" else f"{text}\n({verdict})"


def _melting(estimator: TemperatureExtrapolator, state: int) -> MeltingTemperature:
    """Return the melting temperature, NaN without a word where there is none."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The population of state", category=UserWarning)
        return estimator.melting_temperature(state)
