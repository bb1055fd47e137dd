"""Losses against iteration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from latflow._typing import FloatArray
from latflow.plotting.style import PALETTE, Axes, Line2D, Model, Panels, Style, panels

MOST_STAGE_LABELS = 4
HEADROOM = 0.45  # above the losses, for the names of the stages
LOSS_GROUPS = {
    "labels and joint training": ("refinement", "joint"),
    "density": ("density", "conditional flow"),
    "temperature classifier": ("temperature classifier",),
}


@dataclass(frozen=True)
class LossPanel:
    """Losses of stages that minimise one quantity, in the order of training.

    Attributes
    ----------
    title : str
    stages : list of str
    iterations : list of ndarray
        Cumulative over the panel, one array per stage.
    training, held_out : list of ndarray
        In nats.
    """

    title: str
    stages: list[str]
    iterations: list[FloatArray]
    training: list[FloatArray]
    held_out: list[FloatArray]


class HistoryDisplay:
    """Held-out and training loss against iteration, one panel per kind of loss.

    Build it with :meth:`from_estimator`. Stages that minimise different quantities have panels,
    and scales, of their own.

    Parameters
    ----------
    history : list of dict
        Records with `stage`, `iteration` (within the stage), `loss` and `held_out_loss`.

    Attributes
    ----------
    figure_ : matplotlib Figure
    axes_ : ndarray of Axes, shape (n_panels,)
    lines_ : list of Line2D
        Held-out and training loss of each stage in turn.
    panels : list of LossPanel
    """

    def __init__(self, history: Sequence[Mapping[str, object]]) -> None:
        self.panels = list(_loss_panels(history))

    @classmethod
    def from_estimator(cls, estimator: Model, *, axes: Panels = None, **kwargs: Any) -> Self:
        """Draw the history of a fitted estimator.

        Parameters
        ----------
        estimator : LaTFEstimator or TemperatureExtrapolator
            Fitted.
        axes, **kwargs
            For :meth:`plot`.

        Returns
        -------
        HistoryDisplay
        """
        check_is_fitted(estimator)
        return cls(estimator.history_).plot(axes=axes, **kwargs)

    def plot(self, axes: Panels = None, **kwargs: Any) -> Self:
        """Draw one panel per kind of loss.

        Parameters
        ----------
        axes : array_like of Axes, optional
            One per kind of loss; a new figure if not given.
        **kwargs
            For ``Axes.plot``.

        Returns
        -------
        self
        """
        self.axes_ = panels(axes, 1, len(self.panels), size=(3.6, 2.9))[0]
        self.figure_ = self.axes_[0].figure
        self.lines_: list[Line2D] = []
        for ax, panel in zip(self.axes_, self.panels, strict=True):
            self._draw_panel(ax, panel, kwargs)
        self.axes_[0].set_ylabel("loss (nats)")
        names = ["held out", "training"]
        self.axes_[0].legend(self.lines_[:2], names, frameon=False, fontsize="small")
        return self

    def _draw_panel(self, ax: Axes, panel: LossPanel, kwargs: Style) -> None:
        for x, training, held_out in zip(
            panel.iterations, panel.training, panel.held_out, strict=True
        ):
            point = {"marker": "." if len(x) == 1 else ""} | kwargs
            bold: Style = {"color": PALETTE[0], "lw": 1.8} | point
            faint: Style = {"color": PALETTE[1], "lw": 1.0, "ls": "--"} | point
            self.lines_ += [*ax.plot(x, held_out, **bold), *ax.plot(x, training, **faint)]
        if len(panel.stages) > 1:
            self._name_stages(ax, panel)
        ax.set_title(panel.title, fontsize="medium")
        ax.set(xlabel="iteration", xlim=(0, None))
        ax.spines[["top", "right"]].set_visible(False)

    @staticmethod
    def _name_stages(ax: Axes, panel: LossPanel) -> None:
        low, high = ax.get_ylim()
        ax.set_ylim(low, high + HEADROOM * (high - low))
        starts = [0.0, *(x[-1] for x in panel.iterations[:-1])]
        for start, name in zip(starts, _stage_labels(panel.stages), strict=True):
            if start:
                ax.axvline(start, color="0.8", lw=0.8, zorder=0)
            ax.annotate(
                name, (start, 1.0), (2, -3), xycoords=ax.get_xaxis_transform(),
                textcoords="offset points", rotation=90, va="top", fontsize="x-small", color="0.4",
            )  # fmt: skip


def _loss_panels(history: Sequence[Mapping[str, object]]) -> Iterator[LossPanel]:
    """Split records by kind of loss, then where the stage's name changes or its count restarts."""
    if not history:
        raise ValueError("Expected `history` to hold at least one record, got none.")
    records = pd.DataFrame(history)
    for title, prefixes in LOSS_GROUPS.items():
        losses = records[records["stage"].str.startswith(prefixes)]
        starts = (losses["stage"] != losses["stage"].shift()) | (losses["iteration"].diff() <= 0)
        stages = [stage for _, stage in losses.groupby(starts.cumsum())]
        if stages:
            before = np.cumsum([0, *(stage["iteration"].iloc[-1] for stage in stages[:-1])])
            yield LossPanel(
                title,
                [stage["stage"].iloc[0] for stage in stages],
                [s["iteration"].to_numpy() + n for s, n in zip(stages, before, strict=True)],
                [stage["loss"].to_numpy() for stage in stages],
                [stage["held_out_loss"].to_numpy() for stage in stages],
            )


def _stage_labels(stages: Sequence[str]) -> list[str]:
    """Name every stage, or of many numbered ones only the number after the first."""
    if len(stages) <= MOST_STAGE_LABELS:
        return list(stages)
    return [
        name if k == 0 or name.split()[0] != stages[k - 1].split()[0] else name.split()[-1]
        for k, name in enumerate(stages)
    ]
