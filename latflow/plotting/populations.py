"""State populations against temperature."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from latflow.estimators.extrapolator import TemperatureExtrapolator
from latflow.plotting.style import colours, panels, temperature_unit

__all__ = ["PopulationsDisplay"]


class PopulationsDisplay:
    """Populations of the metastable states against temperature, predicted and simulated.

    Build it with :meth:`from_estimator`.

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
    """

    def __init__(
        self,
        populations: pd.DataFrame,
        *,
        reference: pd.DataFrame | None = None,
        trained: ArrayLike = (),
        temperature_unit: str = "",
    ) -> None:
        self.populations = populations
        self.reference = reference
        self.trained = np.asarray(trained, dtype=np.float64)
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
        """Compute the populations of a fitted extrapolator and draw them.

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
        unit = temperature_unit(estimator.estimator_)
        display = cls(
            populations, reference=reference, trained=estimator.temperatures_, temperature_unit=unit
        )
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> Self:
        """Draw lines with bands, simulated points and training temperatures.

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
        for colour, (state, rows) in zip(
            colours(), self.populations.groupby(level="state"), strict=False
        ):
            self._draw_state(state, rows.droplevel("state"), colour, kwargs)
        self._draw_keys()
        unit = f" ({self.temperature_unit or 'reduced units'})"
        self.ax_.set(xlabel=f"temperature{unit}", ylabel="population", ylim=(-0.02, 1.02))
        self.ax_.spines[["top", "right"]].set_visible(False)
        self.ax_.legend(frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5))
        return self

    def _draw_state(
        self, state: Any, rows: pd.DataFrame, colour: str, kwargs: dict[str, Any]
    ) -> None:
        t, p, error = rows.index.to_numpy(float), rows["population"], rows["standard_error"]
        options = {"color": colour, "label": f"state {state}"} | kwargs
        self.lines_ += self.ax_.plot(t, p, **options)
        low, high = (p - error).clip(0, 1), (p + error).clip(0, 1)
        self.bands_.append(self.ax_.fill_between(t, low, high, color=colour, alpha=0.25, lw=0))
        if self.reference is None or state not in self.reference.index.get_level_values("state"):
            return
        points = self.reference.xs(state, level="state")
        t = points.index.to_numpy(float)
        style = {"fmt": "o", "ms": 5, "capsize": 2, "color": colour, "markerfacecolor": "white"}
        self.points_.append(
            self.ax_.errorbar(t, points["population"], points.get("standard_error"), **style)
        )

    def _draw_keys(self) -> None:
        """Mark the training temperatures on the axis; name the simulated points in the legend."""
        grey = {"color": "0.35", "ls": ""}
        if self.points_:
            self.ax_.plot([], [], marker="o", ms=5, mfc="white", label="simulated", **grey)
        if len(self.trained):
            low = np.full(len(self.trained), 0.03)
            style = {"marker": "|", "ms": 14, "mew": 2.5, "label": "trained at"} | grey
            self.ax_.plot(self.trained, low, transform=self.ax_.get_xaxis_transform(), **style)
