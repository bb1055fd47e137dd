"""Tests of Markov state models: implied timescales, Chapman-Kolmogorov."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from latflow._validation import check_positive, check_table
from latflow.kinetics import chapman_kolmogorov, implied_timescales
from latflow.kinetics.markov import CONFIDENCE, RandomState
from latflow.plotting.style import PALETTE, colours, panels, plain_log_ticks

__all__ = ["ChapmanKolmogorovDisplay", "TimescalesDisplay"]

ROOM = 1.5  # factor above and below the timescales, on their logarithmic axis
MOST_BAND = 10.0  # a posterior without bound must not squeeze the timescales
MODEL_COLUMNS = ("predicted", "predicted_low", "predicted_high")
DATA_COLUMNS = ("estimated", "estimated_low", "estimated_high")


class TimescalesDisplay:
    """Implied timescales against lagtime, with credible intervals.

    Where a process' timescale no longer changes with the lagtime, a Markov state model describes
    it. What lies in the grey area is faster than the lagtime: a model cannot resolve it.

    Build it with :meth:`from_states`, or from a table.

    Parameters
    ----------
    timescales : DataFrame
        As :func:`latflow.kinetics.implied_timescales` returns it: index (`lagtime`, `process`),
        columns `timescale`, `low` and `high`.
    time_unit : str, default=""
        For the labels.
    reference : float or array_like of shape (n_references,), optional
        Timescales known from elsewhere, drawn as dashed lines.

    Attributes
    ----------
    figure_ : matplotlib Figure
    ax_ : Axes
    lines_ : list of Line2D
        One per process, the slowest first.
    bands_ : list of PolyCollection
        Credible intervals.
    unresolved_ : PolyCollection
        The grey area.
    references_ : list of Line2D
    """

    def __init__(
        self,
        timescales: pd.DataFrame,
        *,
        time_unit: str = "",
        reference: ArrayLike | None = None,
    ) -> None:
        index, columns = ["lagtime", "process"], ["timescale", "low", "high"]
        self.timescales = check_table(timescales, "timescales", index, columns)
        self.time_unit = time_unit
        values = np.ravel([] if reference is None else reference).tolist()
        self.reference = np.array([check_positive(value, "reference") for value in values])

    @classmethod
    def from_states(
        cls,
        states: Any,
        lagtimes: ArrayLike,
        *,
        time_step: float = 1.0,
        n_timescales: int | None = None,
        n_samples: int = 100,
        confidence: float = CONFIDENCE,
        random_state: RandomState = None,
        time_unit: str = "",
        reference: ArrayLike | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Compute the implied timescales of trajectories of states and draw them.

        Parameters
        ----------
        states : list of array_like of int of shape (n_frames_i,)
        lagtimes : array_like of int
            In frames.
        time_step : float, default=1.0
            Time between two frames, in `time_unit`.
        n_timescales, n_samples, confidence, random_state
            As for :func:`latflow.kinetics.implied_timescales`.
        time_unit : str, default=""
        reference : float or array_like of shape (n_references,), optional
            In `time_unit`; see the class.
        ax, **kwargs
            For :meth:`plot`.

        Returns
        -------
        TimescalesDisplay
        """
        table = implied_timescales(
            states, lagtimes, time_step=time_step, n_timescales=n_timescales, n_samples=n_samples,
            confidence=confidence, random_state=random_state,
        )  # fmt: skip
        return cls(table, time_unit=time_unit, reference=reference).plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> Self:
        """Draw lines with bands, the unresolved area and the reference.

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
        self.ax_.set_yscale("log")
        processes = self.timescales.groupby(level="process")
        for colour, (process, rows) in zip(colours(), processes, strict=False):
            self._draw_process(process, rows.droplevel("process").sort_index(), colour, kwargs)
        self._draw_keys()
        self._set_scale()
        unit = f" ({self.time_unit})" if self.time_unit else ""
        self.ax_.set(xlabel=f"lagtime{unit}", ylabel=f"timescale{unit}")
        self.ax_.spines[["top", "right"]].set_visible(False)
        self.ax_.legend(frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5))
        return self

    def _draw_process(
        self, process: Any, rows: pd.DataFrame, colour: str, kwargs: dict[str, Any]
    ) -> None:
        lagtimes = rows.index.to_numpy(float)
        style = {"color": colour, "marker": "o", "ms": 4, "label": f"process {process}"} | kwargs
        self.lines_ += self.ax_.plot(lagtimes, rows["timescale"], **style)
        width = 0 if len(rows) > 1 else 4  # the band of one lagtime is a bar
        self.bands_.append(
            self.ax_.fill_between(
                lagtimes, rows["low"], rows["high"], color=colour, alpha=0.25, lw=width
            )
        )

    def _draw_keys(self) -> None:
        """Draw the reference and the area below timescale = lagtime."""
        style = {"color": "0.35", "ls": "--", "lw": 1.2, "zorder": 1}
        labels = ["reference", *[None] * len(self.reference)]
        self.references_ = [
            self.ax_.axhline(value, label=label, **style)
            for value, label in zip(self.reference, labels, strict=False)
        ]
        # beyond the lagtimes too, for axes that share their limits with others
        longest = 2 * self.timescales.index.get_level_values("lagtime").max()
        x = np.linspace(longest / 1000, longest, 1000)
        self.unresolved_ = self.ax_.fill_between(
            x, 0, x, color="0.9", lw=0, zorder=0, label="timescale < lagtime"
        )

    def _set_scale(self) -> None:
        lagtimes = self.timescales.index.get_level_values("lagtime").to_numpy(float)
        middle = np.concatenate([self.timescales["timescale"], self.reference, lagtimes])
        middle = middle[np.isfinite(middle) & (middle > 0)]
        high = self.timescales["high"].to_numpy(float)
        top = max(middle.max(), high[high < MOST_BAND * middle.max()].max(initial=0.0))
        self.ax_.set(xlim=(0, 1.05 * lagtimes.max()), ylim=(middle.min() / ROOM, top * ROOM))
        plain_log_ticks(self.ax_, top / middle.min())


class ChapmanKolmogorovDisplay:
    r"""Chapman-Kolmogorov test: one panel per pair of states.

    Lines with bands are what a model predicts, :math:`T(\tau)^k`; points with error bars are what
    a model at the longer lagtime estimates, :math:`T(k \tau)`. In a Markov model they agree.

    Build it with :meth:`from_states`, or from a table.

    Parameters
    ----------
    table : DataFrame
        As :func:`latflow.kinetics.chapman_kolmogorov` returns it: index (`time`, `source`,
        `target`), columns `predicted` and `estimated`, each also with `_low` and `_high`.
    time_unit : str, default=""
        For the labels.

    Attributes
    ----------
    figure_ : matplotlib Figure
    axes_ : ndarray of Axes, shape (n_states, n_states)
        A row per source, a column per target.
    lines_ : list of Line2D
        Predicted, row by row.
    bands_ : list of PolyCollection
    points_ : list of ErrorbarContainer
        Estimated, row by row.
    """

    def __init__(self, table: pd.DataFrame, *, time_unit: str = "") -> None:
        index, columns = ["time", "source", "target"], [*MODEL_COLUMNS, *DATA_COLUMNS]
        self.table = check_table(table, "table", index, columns)
        self.time_unit = time_unit

    @classmethod
    def from_states(
        cls,
        states: Any,
        lagtime: int,
        *,
        n_multiples: int = 5,
        time_step: float = 1.0,
        n_samples: int = 100,
        confidence: float = CONFIDENCE,
        random_state: RandomState = None,
        time_unit: str = "",
        axes: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Test a Markov state model of trajectories of states and draw the result.

        Parameters
        ----------
        states : list of array_like of int of shape (n_frames_i,)
        lagtime : int
            In frames.
        n_multiples : int, default=5
            Largest k.
        time_step : float, default=1.0
            Time between two frames, in `time_unit`.
        n_samples, confidence, random_state
            As for :func:`latflow.kinetics.chapman_kolmogorov`.
        time_unit : str, default=""
        axes, **kwargs
            For :meth:`plot`.

        Returns
        -------
        ChapmanKolmogorovDisplay
        """
        table = chapman_kolmogorov(
            states, lagtime, n_multiples=n_multiples, time_step=time_step, n_samples=n_samples,
            confidence=confidence, random_state=random_state,
        )  # fmt: skip
        return cls(table, time_unit=time_unit).plot(axes=axes, **kwargs)

    def plot(self, axes: Any = None, **kwargs: Any) -> Self:
        """Draw one panel per pair of states.

        Parameters
        ----------
        axes : array_like of Axes, optional
            One per panel, row by row; a new figure if not given.
        **kwargs
            For ``Axes.plot`` of the predicted lines.

        Returns
        -------
        self
        """
        pairs = self.table.groupby(level=["source", "target"])
        n_states = self.table.index.get_level_values("source").nunique()
        self.axes_ = panels(axes, n_states, n_states, size=(1.6, 1.5), sharex=True, sharey=True)
        self.figure_ = self.axes_[0, 0].figure
        self.lines_: list[Any] = []
        self.bands_: list[Any] = []
        self.points_: list[Any] = []
        for ax, ((source, target), rows) in zip(self.axes_.flat, pairs, strict=True):
            self._draw_pair(ax, rows.droplevel(["source", "target"]).sort_index(), kwargs)
            ax.set_title(f"{source} → {target}", fontsize="medium")
        self._label()
        return self

    def _draw_pair(self, ax: Any, rows: pd.DataFrame, kwargs: dict[str, Any]) -> None:
        time = rows.index.to_numpy(float)
        predicted, low, high = (rows[name] for name in MODEL_COLUMNS)
        self.lines_ += ax.plot(
            time, predicted, **({"color": PALETTE[0], "label": "predicted"} | kwargs)
        )
        self.bands_.append(
            ax.fill_between(time, low, high, color=self.lines_[-1].get_color(), alpha=0.25, lw=0)
        )
        estimated, low, high = (rows[name] for name in DATA_COLUMNS)
        # the most likely value may lie outside of its own interval: no bar of negative length
        bars = np.clip([estimated - low, high - estimated], 0, None)
        style = {"fmt": "o", "ms": 3.5, "capsize": 2, "color": PALETTE[1], "label": "estimated"}
        self.points_.append(ax.errorbar(time, estimated, bars, **style))

    def _label(self) -> None:
        unit = f" ({self.time_unit})" if self.time_unit else ""
        end = 1.08 * self.table.index.get_level_values("time").max()
        for ax in self.axes_.flat:
            ax.set(xlim=(0, end), ylim=(-0.03, 1.03), yticks=[0, 0.5, 1])
            ax.set(xlabel=f"time{unit}", ylabel="probability")
            ax.spines[["top", "right"]].set_visible(False)
            ax.label_outer()
        self.axes_[0, -1].legend(
            frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1.01, 1.0)
        )
