"""What Markov state models say: implied timescales, Chapman-Kolmogorov tests, rates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass
from itertools import product
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from latflow._typing import FloatArray, RandomState
from latflow._validation import check_positive, check_table
from latflow.kinetics import (
    ArrheniusFit,
    RateModel,
    arrhenius,
    chapman_kolmogorov,
    implied_timescales,
    rates,
    rates_at,
)
from latflow.kinetics.arrhenius import FORMS
from latflow.kinetics.chains import States, Variables
from latflow.kinetics.markov import CONFIDENCE
from latflow.plotting import style
from latflow.plotting.style import (
    PALETTE,
    Axes,
    ErrorbarContainer,
    Line2D,
    Panels,
    PolyCollection,
    Style,
)
from latflow.units import BOLTZMANN_CONSTANT, Units, with_error

ROOM = 1.5  # factor above and below the timescales, on their logarithmic axis
MOST_BAND = 10.0  # a posterior without bound must not squeeze the timescales
TIMESCALE_COLUMNS = ["timescale", "low", "high"]
MODEL_COLUMNS = ["predicted", "predicted_low", "predicted_high"]
DATA_COLUMNS = ["estimated", "estimated_low", "estimated_high"]
RATE_INDEX = ["temperature", "source", "target"]
RATE_COLUMNS = ["rate", "low", "high"]
CROSS: Style = {"marker": "x", "ms": 6, "mew": 1.6, "color": "black", "ls": ""}
RATE_MARGIN = 0.06  # of the range of inverse temperatures, beyond the last points
RATE_ROOM = 1.3  # factor above and below the rates, on their logarithmic axis
DIRECTIONS = (
    {"marker": "o", "ls": "-"},  # from the lower number to the higher
    {"marker": "s", "ls": "--"},
)


@dataclass(eq=False, repr=False)
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

    timescales: pd.DataFrame
    _: KW_ONLY
    time_unit: str = ""
    reference: ArrayLike = ()

    def __post_init__(self) -> None:
        check_table(self.timescales, "timescales", ["lagtime", "process"], TIMESCALE_COLUMNS)
        references = np.ravel([] if self.reference is None else self.reference).tolist()
        self._references = [check_positive(value, "reference") for value in references]

    @classmethod
    def from_states(
        cls,
        states: States,
        lagtimes: ArrayLike,
        *,
        time_step: float = 1.0,
        n_timescales: int | None = None,
        n_samples: int = 100,
        confidence: float = CONFIDENCE,
        random_state: RandomState = None,
        time_unit: str = "",
        reference: ArrayLike = (),
        ax: Axes | None = None,
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

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> Self:
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
        self.ax_ = style.panel(ax, size=(5.6, 3.6))
        self.figure_ = self.ax_.figure
        self.ax_.set_yscale("log")
        processes = self.timescales.index.unique("process").sort_values()
        drawn = [
            self._draw_process(process, {"color": colour} | kwargs)
            for process, colour in zip(processes, style.colours(), strict=False)
        ]
        self.lines_, self.bands_ = map(list, zip(*drawn, strict=True))
        self._draw_keys()
        self._set_scale()
        self.ax_.set_xlabel(style.with_unit("lagtime", self.time_unit))
        self.ax_.set_ylabel(style.with_unit("timescale", self.time_unit))
        style.legend_right(self.ax_)
        return self

    def _draw_process(self, process: int, kwargs: Style) -> tuple[Line2D, PolyCollection]:
        rows = style.rows_at(self.timescales, process=process)[TIMESCALE_COLUMNS]
        edge = 0 if len(rows) > 1 else 4  # the band of one lagtime is a bar
        options: Style = {"marker": "o", "ms": 4, "label": f"process {process}"} | kwargs
        return style.line_and_band(self.ax_, rows, edge=edge, **options)

    def _draw_keys(self) -> None:
        """Draw the reference and the area below timescale = lagtime."""
        dashed: Style = {"color": "0.35", "ls": "--", "lw": 1.2, "zorder": 1}
        self.references_ = [
            self.ax_.axhline(value, label=None if k else "reference", **dashed)
            for k, value in enumerate(self._references)
        ]
        # beyond the lagtimes too, for axes that share their limits with others
        longest = 2 * style.level_of("lagtime", self.timescales)[-1]
        x = np.linspace(longest / 1000, longest, 1000)
        self.unresolved_ = self.ax_.fill_between(
            x, 0, x, color="0.9", lw=0, zorder=0, label="timescale < lagtime"
        )

    def _set_scale(self) -> None:
        lagtimes = style.level_of("lagtime", self.timescales)
        middle = np.concatenate([self.timescales["timescale"], self._references, lagtimes])
        middle = middle[np.isfinite(middle) & (middle > 0)]
        high = self.timescales["high"].to_numpy(float)
        top = max(middle.max(), high[high < MOST_BAND * middle.max()].max(initial=0.0))
        self.ax_.set(xlim=(0, 1.05 * lagtimes.max()), ylim=(middle.min() / ROOM, top * ROOM))
        style.plain_log_ticks(self.ax_, top / middle.min())


@dataclass(eq=False, repr=False)
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

    table: pd.DataFrame
    _: KW_ONLY
    time_unit: str = ""

    def __post_init__(self) -> None:
        columns = [*MODEL_COLUMNS, *DATA_COLUMNS]
        check_table(self.table, "table", ["time", "source", "target"], columns)

    @classmethod
    def from_states(
        cls,
        states: States,
        lagtime: int,
        *,
        n_multiples: int = 5,
        time_step: float = 1.0,
        n_samples: int = 100,
        confidence: float = CONFIDENCE,
        random_state: RandomState = None,
        time_unit: str = "",
        axes: Panels = None,
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

    def plot(self, axes: Panels = None, **kwargs: Any) -> Self:
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
        states = self.table.index.unique("source").sort_values()
        shape = len(states), len(states)
        self.axes_ = style.panels(axes, *shape, size=(1.6, 1.5), sharex=True, sharey=True)
        self.figure_ = self.axes_[0, 0].figure
        places = zip(self.axes_.flat, product(states, states), strict=True)
        drawn = [self._draw_pair(ax, *pair, kwargs) for ax, pair in places]
        self.lines_, self.bands_, self.points_ = map(list, zip(*drawn, strict=True))
        self._label()
        return self

    def _draw_pair(
        self, ax: Axes, source: int, target: int, kwargs: Style
    ) -> tuple[Line2D, PolyCollection, ErrorbarContainer]:
        ax.set_title(f"{source} → {target}", fontsize="medium")
        rows = style.rows_at(self.table, source=source, target=target)
        options: Style = {"color": PALETTE[0], "label": "predicted"} | kwargs
        marks: Style = {"fmt": "o", "ms": 3.5, "capsize": 2, "color": PALETTE[1]}
        drawn = style.line_and_band(ax, rows[MODEL_COLUMNS], **options)
        return *drawn, style.error_bars(ax, rows[DATA_COLUMNS], label="estimated", **marks)

    def _label(self) -> None:
        label = style.with_unit("time", self.time_unit)
        end = 1.08 * style.level_of("time", self.table)[-1]
        for ax in self.axes_.flat:
            ax.set(xlim=(0, end), ylim=(-0.03, 1.03), yticks=[0, 0.5, 1])
            ax.set(xlabel=label, ylabel="probability")
            ax.spines[["top", "right"]].set_visible(False)
            ax.label_outer()
        placed = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0)}
        style.legend_right(self.axes_[0, -1], fontsize="small", **placed)


@dataclass(eq=False, repr=False)
class ArrheniusDisplay:
    """Rates against inverse temperature: simulated, fitted and predicted.

    Points with error bars are rates at simulated temperatures, lines with bands their fit, open
    points the rates at unseen temperatures, in detailed balance with predicted populations: off
    their line, populations and rates disagree. Forward and backward rates share a colour.

    Build it with :meth:`from_states`, or from tables.

    Parameters
    ----------
    rates : DataFrame
        As :func:`latflow.kinetics.rates` returns it: index (`temperature`, `source`, `target`),
        columns `rate`, `low` and `high`.
    fit : ArrheniusFit
        Of :func:`latflow.kinetics.arrhenius`.
    predicted : RateModel or sequence of RateModel, default=()
        Of :func:`latflow.kinetics.rates_at`.
    reference : DataFrame, optional
        Rates known from elsewhere: the index of `rates` and a column `rate`, drawn as crosses.
    time_unit : str, default=""
        For the labels.

    Attributes
    ----------
    figure_ : matplotlib Figure
    ax_ : Axes
        The rates' axis is logarithmic.
    temperatures_ : Axes
        The upper axis, with the temperatures of all points.
    lines_ : list of Line2D
        One per pair of states, as in `fit`.
    bands_ : list of PolyCollection
    points_ : list of ErrorbarContainer
        Simulated, one per pair.
    predicted_ : list of ErrorbarContainer
        One per pair; empty without predictions.
    references_ : list of Line2D
        One per pair of the reference.
    """

    rates: pd.DataFrame
    fit: ArrheniusFit
    _: KW_ONLY
    predicted: RateModel | Iterable[RateModel] = ()
    reference: pd.DataFrame | None = None
    time_unit: str = ""

    def __post_init__(self) -> None:
        check_table(self.rates, "rates", RATE_INDEX, RATE_COLUMNS)
        if self.reference is not None:
            check_table(self.reference, "reference", RATE_INDEX, ["rate"])
        predicted = self.predicted
        self._models = [predicted] if isinstance(predicted, RateModel) else list(predicted)
        self._units = Units(self.fit.boltzmann_constant)

    @classmethod
    def from_states(
        cls,
        states: States,
        lagtime: int,
        *,
        temperature: Sequence[float | ArrayLike],
        variables: Variables | None = None,
        populations: pd.DataFrame | None = None,
        boltzmann_constant: float = BOLTZMANN_CONSTANT,
        form: str = "arrhenius",
        planck_constant: float | None = None,
        time_step: float = 1.0,
        n_samples: int = 100,
        confidence: float = CONFIDENCE,
        random_state: RandomState = None,
        reference: pd.DataFrame | None = None,
        time_unit: str = "",
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Compute rates of trajectories of states, fit them, predict others, and draw all.

        Parameters
        ----------
        states : list of array_like of int of shape (n_frames_i,)
        lagtime : int
            In frames.
        temperature : list
            Per trajectory: a number, or one value per frame.
        variables : list of array_like of shape (n_frames_i, n_components), optional
            Collective variables of the same frames: rates from fine clusters of them forget less.
        populations : DataFrame, optional
            As ``TemperatureExtrapolator.state_populations(temperatures)`` returns them: rates are
            predicted at each of its temperatures.
        boltzmann_constant, form, planck_constant
            As for :func:`latflow.kinetics.arrhenius`.
        time_step : float, default=1.0
            Time between two frames, in `time_unit`.
        n_samples, confidence, random_state
            As for :func:`latflow.kinetics.rates`.
        reference : DataFrame, optional
            See the class.
        time_unit : str, default=""
        ax, **kwargs
            For :meth:`plot`.

        Returns
        -------
        ArrheniusDisplay
        """
        table = rates(
            states, lagtime, temperature=temperature, variables=variables, time_step=time_step,
            n_samples=n_samples, confidence=confidence, random_state=random_state,
        )  # fmt: skip
        fit = arrhenius(
            table, boltzmann_constant=boltzmann_constant, form=form, planck_constant=planck_constant
        )
        predicted = []
        if populations is not None:
            check_table(populations, "populations", ["temperature", "state"], ["population"])
            predicted = [
                rates_at(fit, populations, temperature=t, confidence=confidence)
                for t in populations.index.unique("temperature")
            ]
        display = cls(table, fit, predicted=predicted, reference=reference, time_unit=time_unit)
        return display.plot(ax=ax, confidence=confidence, **kwargs)

    def plot(
        self, ax: Axes | None = None, *, confidence: float = CONFIDENCE, **kwargs: Any
    ) -> Self:
        """Draw points, lines with bands, predictions and the reference.

        Parameters
        ----------
        ax : Axes, optional
            A new figure if not given.
        confidence : float, default=0.95
            Of the bands.
        **kwargs
            For ``Axes.plot`` of the lines.

        Returns
        -------
        self
        """
        self.ax_ = style.panel(ax, size=(5.6, 3.9))
        self.figure_ = self.ax_.figure
        self.ax_.set_yscale("log")
        self.predicted_: list[ErrorbarContainer] = []
        self.references_: list[Line2D] = []
        inverse = self._inverse(self._temperatures())
        margin = RATE_MARGIN * (np.ptp(inverse) or inverse[0])
        grid = np.linspace(inverse.min() - margin, inverse.max() + margin, 100)
        fitted = self.fit.predict(self._inverse(grid), confidence=confidence)
        pairs = self.fit.parameters.index
        drawn = [self._draw_pair(pair, fitted, kwargs) for pair in pairs]
        self.lines_, self.bands_, self.points_ = map(list, zip(*drawn, strict=True))
        self._draw_keys()
        self._label(grid)
        return self

    def _inverse(self, values: ArrayLike) -> FloatArray:
        """Map temperatures to the axis, and back."""
        values = np.asarray(values, dtype=np.float64)
        scale = 1000.0 if self._units.temperature else 1.0
        inverse = np.full_like(values, np.inf)  # matplotlib asks for zero before there are limits
        return np.asarray(np.divide(scale, values, out=inverse, where=values != 0))

    def _temperatures(self) -> FloatArray:
        simulated = style.level_of("temperature", self.rates, self.reference)
        return np.union1d(simulated, [model.temperature for model in self._models])

    def _draw_pair(
        self, pair: tuple[int, int], fitted: pd.DataFrame, kwargs: Style
    ) -> tuple[Line2D, PolyCollection, ErrorbarContainer]:
        look = self._look(pair)
        # no marker on the line, but in the legend
        shown = {"lw": 1.4, "ms": 5, "markevery": [], "label": self._name(pair)}
        rows = self._of_pair(fitted, pair)
        drawn = style.line_and_band(self.ax_, rows, alpha=0.15, **(look | shown | kwargs))
        bars = {"fmt": look["marker"], "ms": 5, "capsize": 2, "color": look["color"]}
        if self._models:
            tables = {model.temperature: model.rates for model in self._models}
            hollow = bars | {"ms": 7, "mfc": "white", "mew": 1.4, "zorder": 4}
            table = pd.concat(tables, names=["temperature"])
            self.predicted_.append(self._draw_bars(table, pair, hollow))
        if self.reference is not None:
            known = self._of_pair(self.reference, pair)["rate"]
            self.references_ += self.ax_.plot(known.index, known, zorder=5, **CROSS)
        return *drawn, self._draw_bars(self.rates, pair, bars | {"zorder": 3})

    def _of_pair(self, table: pd.DataFrame, pair: tuple[int, int]) -> pd.DataFrame:
        """Return rates from one state to another, by the place of their temperature on the axis."""
        rows = style.rows_at(table, source=pair[0], target=pair[1])
        return rows.set_axis(self._inverse(rows.index)).filter(RATE_COLUMNS)

    def _draw_bars(
        self, table: pd.DataFrame, pair: tuple[int, int], options: Style
    ) -> ErrorbarContainer:
        rows = self._of_pair(table, pair)
        rows["rate"] = rows["rate"].where(rows["rate"] > 0)  # none on a logarithmic axis
        return style.error_bars(self.ax_, rows, **options)

    def _look(self, pair: tuple[int, int]) -> Style:
        """Colour of the two states, marker and line of the direction."""
        both = sorted({tuple(sorted(other)) for other in self.fit.parameters.index})
        colour = PALETTE[both.index(tuple(sorted(pair))) % len(PALETTE)]
        return {"color": colour} | DIRECTIONS[int(pair[0] > pair[1])]

    def _name(self, pair: tuple[int, int]) -> str:
        """Name the pair and its barrier, to the digits that its error leaves."""
        name = FORMS[self.fit.form][0]
        value, error = self.fit.parameters[[name, f"{name}_error"]].loc[[pair]].to_numpy(float)[0]
        return f"{pair[0]} → {pair[1]}: {with_error(value, error)}"

    def _draw_keys(self) -> None:
        """Name what the points are in the legend."""
        grey: Style = {"color": "0.35", "ls": "", "marker": "o"}
        self.ax_.plot([], [], ms=5, label="simulated", **grey)
        if self._models:
            self.ax_.plot([], [], ms=7, mfc="white", label="predicted", **grey)
        if self.reference is not None:
            self.ax_.plot([], [], label="reference", **CROSS)

    def _label(self, grid: FloatArray) -> None:
        unit = self._units.temperature
        tables = [self.rates, *(model.rates for model in self._models)]
        drawn = [line.get_ydata() for line in self.lines_ + self.references_]
        values = np.concatenate(drawn + [table["rate"].to_numpy(float) for table in tables])
        values = values[np.isfinite(values) & (values > 0)]
        low, high = values.min() / RATE_ROOM, values.max() * RATE_ROOM
        self.ax_.set(
            xlim=(grid[0], grid[-1]),
            ylim=(low, high),
            xlabel=f"1000 / temperature (1/{unit})" if unit else "1 / temperature",
            ylabel=style.with_unit("rate", self.time_unit and f"1/{self.time_unit}"),
        )
        style.plain_log_ticks(self.ax_, high / low)
        both_ways = self._inverse, self._inverse
        self.temperatures_ = self.ax_.secondary_xaxis("top", functions=both_ways)
        self.temperatures_.set_xticks(self._temperatures())
        self.temperatures_.xaxis.set_major_formatter("{x:g}")
        self.temperatures_.set_xlabel(style.with_unit("temperature", unit))
        barrier = FORMS[self.fit.form][0].replace("_", " ")
        title = style.with_unit(barrier, self._units.energy)
        style.legend_right(self.ax_, title=title, alignment="left")
