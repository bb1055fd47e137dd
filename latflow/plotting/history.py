"""Losses against iteration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from latflow.estimators.extrapolator import TemperatureExtrapolator
from latflow.estimators.latf import LaTFEstimator
from latflow.plotting.style import PALETTE, panels

__all__ = ["HistoryDisplay"]

FloatArray = NDArray[np.float64]

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

    def __init__(self, history: Sequence[Mapping[str, Any]]) -> None:
        self.panels = list(_loss_panels(history))

    @classmethod
    def from_estimator(
        cls,
        estimator: LaTFEstimator | TemperatureExtrapolator,
        *,
        axes: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the history of a fitted estimator; an extrapolator's with that of what it wraps.

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
        history = list(estimator.history_)
        if isinstance(estimator, TemperatureExtrapolator):
            history = estimator.estimator_.history_ + history
        return cls(history).plot(axes=axes, **kwargs)

    def plot(self, axes: Any = None, **kwargs: Any) -> Self:
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
        self.lines_: list[Any] = []
        for ax, panel in zip(self.axes_, self.panels, strict=True):
            self._draw_panel(ax, panel, kwargs)
        self.axes_[0].set_ylabel("loss (nats)")
        names = ["held out", "training"]
        self.axes_[0].legend(self.lines_[:2], names, frameon=False, fontsize="small")
        return self

    def _draw_panel(self, ax: Any, panel: LossPanel, kwargs: dict[str, Any]) -> None:
        for x, training, held_out in zip(
            panel.iterations, panel.training, panel.held_out, strict=True
        ):
            marker = "." if len(x) == 1 else ""
            bold = {"color": PALETTE[0], "lw": 1.8, "marker": marker} | kwargs
            faint = {"color": PALETTE[1], "lw": 1.0, "ls": "--", "marker": marker} | kwargs
            self.lines_ += [*ax.plot(x, held_out, **bold), *ax.plot(x, training, **faint)]
        if len(panel.stages) > 1:
            self._name_stages(ax, panel)
        ax.set_title(panel.title, fontsize="medium")
        ax.set(xlabel="iteration", xlim=(0, None))
        ax.spines[["top", "right"]].set_visible(False)

    @staticmethod
    def _name_stages(ax: Any, panel: LossPanel) -> None:
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


def _loss_panels(history: Sequence[Mapping[str, Any]]) -> Iterator[LossPanel]:
    """Split records by kind of loss, then by stage."""
    if not history:
        raise ValueError("Expected `history` to hold at least one record, got none.")
    for title, prefixes in LOSS_GROUPS.items():
        stages = _stages([r for r in history if str(r["stage"]).startswith(prefixes)])
        if not stages:
            continue
        before = np.cumsum([0, *(stage[-1]["iteration"] for stage in stages[:-1])])
        yield LossPanel(
            title,
            [str(stage[0]["stage"]) for stage in stages],
            [_column(s, "iteration") + n for s, n in zip(stages, before, strict=True)],
            [_column(stage, "loss") for stage in stages],
            [_column(stage, "held_out_loss") for stage in stages],
        )


def _stages(records: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Split records where the stage's name changes or its count starts anew."""
    stages: list[list[Mapping[str, Any]]] = []
    for record in records:
        last = stages[-1][-1] if stages else {"stage": None, "iteration": 0}
        if record["stage"] != last["stage"] or record["iteration"] <= last["iteration"]:
            stages.append([])
        stages[-1].append(record)
    return stages


def _column(records: Sequence[Mapping[str, Any]], name: str) -> FloatArray:
    return np.array([record[name] for record in records], dtype=np.float64)


def _stage_labels(stages: Sequence[str]) -> list[str]:
    """Name every stage, or of many numbered ones only the number after the first."""
    if len(stages) <= MOST_STAGE_LABELS:
        return list(stages)
    return [
        name if k == 0 or name.split()[0] != stages[k - 1].split()[0] else name.split()[-1]
        for k, name in enumerate(stages)
    ]
