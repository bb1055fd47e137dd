"""How far predictions can be trusted, against temperature."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from latflow._validation import check_table
from latflow.estimators.extrapolator import TemperatureExtrapolator
from latflow.estimators.trust import EXTRAPOLATED, SUPPORTED
from latflow.plotting.shading import (
    check_support,
    default_temperatures,
    legend_right,
    limit,
    mark_trained,
    shade,
    support_of,
)
from latflow.plotting.style import PALETTE, panels, plain_log_ticks, temperature_label
from latflow.plotting.style import temperature_unit as unit_of

__all__ = ["SupportDisplay"]

COLUMNS = ["overlap", "support"]
THRESHOLDS = {"supported": SUPPORTED, "extrapolated": EXTRAPOLATED}
LOWEST = 1e-3  # overlaps below are drawn at the foot
ROOM = 1.25, 2.2  # factors below the lowest and above the highest overlap


class SupportDisplay:
    """Overlap of the training frames with each temperature, and what that supports.

    The overlap is the effective number of frames as a share of that at the nearest simulated
    temperature. Build it with :meth:`from_estimator`.

    Parameters
    ----------
    support : DataFrame
        As ``TemperatureExtrapolator.support`` returns it: index `temperature`, columns `overlap`
        and `support`. Between two of its temperatures the worse verdict holds.
    trained : array_like, optional
        Temperatures that the estimator was fitted on, marked on the axis.
    temperature_unit : str, default=""

    Attributes
    ----------
    figure_ : matplotlib Figure
    ax_ : Axes
        The overlap's axis is logarithmic.
    line_ : Line2D
    thresholds_ : list of Line2D
        Least overlap of what is supported, and of what is extrapolated.
    disagree_ : Line2D or None
        Temperatures with overlap enough that are unsupported all the same, because the bootstraps
        disagree.
    shades_ : list of Rectangle
        The regions, from low temperatures to high.
    """

    def __init__(
        self, support: pd.DataFrame, *, trained: ArrayLike = (), temperature_unit: str = ""
    ) -> None:
        table = check_table(support, "support", ["temperature"], COLUMNS)
        self.support = check_support(table)
        self.trained = np.asarray(trained, dtype=np.float64)
        self.temperature_unit = temperature_unit

    @classmethod
    def from_estimator(
        cls,
        estimator: TemperatureExtrapolator,
        *,
        temperature: ArrayLike | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Compute the support of a fitted extrapolator and draw it.

        Parameters
        ----------
        estimator : TemperatureExtrapolator
            Fitted.
        temperature : array_like of shape (n_temperatures,), optional
            40 over the range that ``TemperatureExtrapolator.sample`` serves if not given; training
            temperatures between them are added.
        ax, **kwargs
            For :meth:`plot`.

        Returns
        -------
        SupportDisplay
        """
        check_is_fitted(estimator)
        if temperature is None:
            temperature = default_temperatures(estimator)
        display = cls(
            support_of(estimator, temperature),
            trained=estimator.temperatures_,
            temperature_unit=unit_of(estimator.estimator_),
        )
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> Self:
        """Draw the overlap, its thresholds, the regions and the training temperatures.

        Parameters
        ----------
        ax : Axes, optional
            A new figure if not given.
        **kwargs
            For ``Axes.plot`` of the overlap.

        Returns
        -------
        self
        """
        self.ax_ = panels(ax, 1, 1, size=(5.6, 3.2))[0, 0]
        self.figure_ = self.ax_.figure
        t, overlap = self.support.index.to_numpy(float), self.support["overlap"].to_numpy(float)
        overlap = overlap.clip(LOWEST)
        options = {"color": PALETTE[0], "lw": 1.8, "label": "overlap"} | kwargs
        self.line_ = self.ax_.plot(t, overlap, **options)[0]
        self.thresholds_: list[Any] = []
        for style, (verdict, least) in zip(("--", ":"), THRESHOLDS.items(), strict=True):
            dashed = {"color": "0.3", "lw": 1.0, "ls": style, "label": f"least for {verdict}"}
            self.thresholds_.append(self.ax_.axhline(least, **dashed))
        self._draw_disagreement(t, overlap)
        self._label(overlap)
        self.shades_ = shade(self.ax_, self.support, best=True)
        if len(self.trained):
            mark_trained(self.ax_, self.trained)
        legend_right(self.ax_)
        return self

    def _draw_disagreement(self, t: Any, overlap: Any) -> None:
        """Mark what the spread of the bootstraps forbids."""
        verdict = self.support["support"].to_numpy()
        apart = (overlap >= EXTRAPOLATED) & (verdict == "unsupported")
        self.disagree_: Any = None
        if apart.any():
            style = {"marker": "x", "ls": "", "color": PALETTE[1], "label": "bootstraps disagree"}
            self.disagree_ = self.ax_.plot(t[apart], overlap[apart], **style)[0]

    def _label(self, overlap: Any) -> None:
        low = min(overlap.min(), EXTRAPOLATED) / ROOM[0]
        high = max(overlap.max(), 1.0) * ROOM[1]
        self.ax_.set(
            yscale="log", ylim=(low, high), xlabel=temperature_label(self.temperature_unit)
        )
        self.ax_.set_ylabel("overlap with the simulations")
        plain_log_ticks(self.ax_, high / low)
        limit(self.ax_, self.support.index)
        self.ax_.spines[["top", "right"]].set_visible(False)
