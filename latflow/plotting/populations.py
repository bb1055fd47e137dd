"""State populations against temperature."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from latflow.estimators.extrapolator import TemperatureExtrapolator
from latflow.plotting.shading import (
    check_support,
    legend_right,
    limit,
    mark_trained,
    shade,
    support_of,
)
from latflow.plotting.style import colours, panels, temperature_label, temperature_unit

__all__ = ["PopulationsDisplay", "draw_population", "furnish", "of_state", "temperatures_of"]

HEADROOM = 1.12  # top of the axis where regions are named


class PopulationsDisplay:
    """Populations of the metastable states against temperature, predicted and simulated.

    Temperatures at which the predictions are extrapolated or unsupported are shaded. Build it with
    :meth:`from_estimator`.

    Parameters
    ----------
    populations : DataFrame
        As ``TemperatureExtrapolator.state_populations`` returns it: index (`temperature`, `state`),
        columns `population` and `standard_error`.
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
    lines_ : list of Line2D
        One per state.
    bands_ : list of PolyCollection
        One standard error to both sides, cut at 0 and 1.
    points_ : list of ErrorbarContainer
        Simulated, one per state.
    shades_ : list of Rectangle
        Extrapolated and unsupported regions, from low temperatures to high.
    """

    def __init__(
        self,
        populations: pd.DataFrame,
        *,
        reference: pd.DataFrame | None = None,
        trained: ArrayLike = (),
        support: pd.DataFrame | None = None,
        temperature_unit: str = "",
    ) -> None:
        self.populations = populations
        self.reference = reference
        self.trained = np.asarray(trained, dtype=np.float64)
        self.support = None if support is None else check_support(support)
        self.temperature_unit = temperature_unit

    @classmethod
    def from_estimator(
        cls,
        estimator: TemperatureExtrapolator,
        *,
        temperature: ArrayLike,
        reference: pd.DataFrame | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Compute populations and support of a fitted extrapolator and draw them.

        Parameters
        ----------
        estimator : TemperatureExtrapolator
            Fitted.
        temperature : array_like of shape (n_temperatures,)
        reference : DataFrame, optional
            Simulated populations; see the class.
        ax, **kwargs
            For :meth:`plot`.

        Returns
        -------
        PopulationsDisplay
        """
        check_is_fitted(estimator)
        temperatures = np.sort(np.atleast_1d(np.asarray(temperature, dtype=np.float64)))
        populations = estimator.state_populations(temperatures)
        display = cls(
            populations,
            reference=reference,
            trained=estimator.temperatures_,
            support=support_of(estimator, temperatures_of(populations, reference)),
            temperature_unit=temperature_unit(estimator.estimator_),
        )
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> Self:
        """Draw lines with bands, simulated points, training temperatures and shaded regions.

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
        self.ax_ = panels(ax, 1, 1, size=(5.6, 3.6))[0, 0]
        self.figure_ = self.ax_.figure
        self.lines_: list[Any] = []
        self.bands_: list[Any] = []
        self.points_: list[Any] = []
        states = self.populations.index.get_level_values("state").unique().sort_values()
        for colour, state in zip(colours(), states, strict=False):
            rows = pd.DataFrame(self.populations.xs(state, level="state")).sort_index()
            simulated = of_state(self.reference, state)
            options = {"label": f"state {state}"} | kwargs
            line, band, points = draw_population(self.ax_, rows, simulated, colour, **options)
            self.lines_.append(line)
            self.bands_.append(band)
            self.points_ += [] if points is None else [points]
        tables = self.populations, self.reference
        self.shades_ = furnish(self.ax_, *tables, self.support, self.trained, self.temperature_unit)
        legend_right(self.ax_)
        return self


def draw_population(
    ax: Any,
    rows: pd.DataFrame,
    simulated: pd.DataFrame | None,
    colour: str,
    **options: Any,
) -> tuple[Any, Any, Any]:
    """Draw one state's population against temperature.

    Parameters
    ----------
    ax : Axes
    rows : DataFrame
        Index `temperature`, columns `population` and `standard_error`.
    simulated : DataFrame or None
        The same from simulations; the errors may be missing.
    colour : str
    **options
        For ``Axes.plot`` of the line.

    Returns
    -------
    tuple of Line2D, PolyCollection, and ErrorbarContainer or None
        The line, its band of one standard error and the simulated points.
    """
    t, p, error = rows.index.to_numpy(float), rows["population"], rows["standard_error"]
    line = ax.plot(t, p, **({"color": colour} | options))[0]
    low, high = (p - error).clip(0, 1), (p + error).clip(0, 1)
    band = ax.fill_between(t, low, high, color=colour, alpha=0.25, lw=0)
    if simulated is None:
        return line, band, None
    style = {"fmt": "o", "ms": 5, "capsize": 2, "color": colour, "mfc": "white", "zorder": 3}
    found = simulated["population"].to_numpy(float)
    t = simulated.index.to_numpy(float)
    bars = ax.errorbar(t, found, simulated.get("standard_error"), **style)
    return line, band, bars


def of_state(table: pd.DataFrame | None, state: Any) -> pd.DataFrame | None:
    """Return one state's rows by temperature; None where it has none."""
    if table is None or state not in table.index.get_level_values("state"):
        return None
    return pd.DataFrame(table.xs(state, level="state")).sort_index()


def furnish(
    ax: Any,
    populations: pd.DataFrame,
    reference: pd.DataFrame | None,
    support: pd.DataFrame | None,
    trained: NDArray[np.float64],
    unit: str,
) -> list[Any]:
    """Draw what surrounds the populations: labels, limits, shades (returned), keys and marks."""
    ax.set(xlabel=temperature_label(unit), ylabel="population", ylim=(-0.02, 1.02))
    ax.spines[["top", "right"]].set_visible(False)
    if support is not None:
        limit(ax, np.union1d(temperatures_of(populations, reference), support.index))
        ax.set(ylim=(-0.02, HEADROOM), yticks=np.linspace(0, 1, 6))
    shades = shade(ax, support)
    if reference is not None:
        style = {"marker": "o", "ms": 5, "mfc": "white", "color": "0.35", "ls": ""}
        ax.plot([], [], label="simulated", **style)
    if len(trained):
        mark_trained(ax, trained)
    return shades


def temperatures_of(*tables: pd.DataFrame | None) -> NDArray[np.float64]:
    """Return all temperatures of some tables, sorted."""
    found = [table.index.get_level_values("temperature") for table in tables if table is not None]
    return np.unique(np.concatenate([values.to_numpy(float) for values in found]))
