"""Rates against temperature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from latflow._validation import check_option, check_table
from latflow.kinetics import ArrheniusFit, RateModel, arrhenius, rates, rates_at
from latflow.kinetics.arrhenius import FORMS
from latflow.kinetics.markov import CONFIDENCE, RandomState
from latflow.plotting.style import PALETTE, panels, plain_log_ticks
from latflow.units import BOLTZMANN_CONSTANT

__all__ = ["ArrheniusDisplay"]

INDEX = ["temperature", "source", "target"]
MARGIN = 0.06  # of the range of inverse temperatures, beyond the last points
ROOM = 1.3  # factor above and below the rates, on their logarithmic axis
DIRECTIONS = (
    {"marker": "o", "ls": "-"},  # from the lower number to the higher
    {"marker": "s", "ls": "--"},
)


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

    def __init__(
        self,
        rates: pd.DataFrame,
        fit: ArrheniusFit,
        *,
        predicted: RateModel | Sequence[RateModel] = (),
        reference: pd.DataFrame | None = None,
        time_unit: str = "",
    ) -> None:
        self.rates = check_table(rates, "rates", INDEX, ["rate", "low", "high"])
        self.fit = fit
        self.predicted = [predicted] if isinstance(predicted, RateModel) else list(predicted)
        self.reference = reference
        if reference is not None:
            check_table(reference, "reference", INDEX, ["rate"])
        self.time_unit = time_unit

    @classmethod
    def from_states(
        cls,
        states: Any,
        lagtime: int,
        *,
        temperature: Any,
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
        ax: Any = None,
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
            states, lagtime, temperature=temperature, time_step=time_step, n_samples=n_samples,
            confidence=confidence, random_state=random_state,
        )  # fmt: skip
        fit = arrhenius(
            table, boltzmann_constant=boltzmann_constant, form=form, planck_constant=planck_constant
        )
        wanted: list[float] = []
        if populations is not None:
            check_table(populations, "populations", ["temperature", "state"], ["population"])
            wanted = populations.index.get_level_values("temperature").unique().tolist()
        given: Any = populations
        predicted = [rates_at(fit, given, temperature=t, confidence=confidence) for t in wanted]
        display = cls(table, fit, predicted=predicted, reference=reference, time_unit=time_unit)
        return display.plot(ax=ax, confidence=confidence, **kwargs)

    def plot(self, ax: Any = None, *, confidence: float = CONFIDENCE, **kwargs: Any) -> Self:
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
        self.ax_ = panels(ax, 1, 1, size=(5.6, 3.9))[0, 0]
        self.figure_ = self.ax_.figure
        self.ax_.set_yscale("log")
        self.lines_: list[Any] = []
        self.bands_: list[Any] = []
        self.points_: list[Any] = []
        self.predicted_: list[Any] = []
        self.references_: list[Any] = []
        inverse = self._inverse(self._temperatures())
        margin = MARGIN * (np.ptp(inverse) or inverse[0])
        grid = np.linspace(inverse.min() - margin, inverse.max() + margin, 100)
        fitted = self.fit.predict(self._inverse(grid), confidence=confidence)
        for a, b in self.fit.parameters.index.tolist():
            self._draw_pair((a, b), _rows(fitted, (a, b)), kwargs)
        self._draw_keys()
        self._label(grid)
        return self

    def _inverse(self, values: ArrayLike) -> NDArray[np.float64]:
        """Map temperatures to the axis, and back."""
        values = np.asarray(values, dtype=np.float64)
        scale = 1.0 if self.fit.boltzmann_constant == 1.0 else 1000.0
        found = np.full_like(values, np.inf)  # matplotlib asks for zero before there are limits
        return np.asarray(np.divide(scale, values, out=found, where=values != 0))

    def _temperatures(self) -> NDArray[np.float64]:
        tables = [self.rates] if self.reference is None else [self.rates, self.reference]
        found = [table.index.get_level_values("temperature").to_numpy(float) for table in tables]
        return np.unique(np.concatenate([*found, [model.temperature for model in self.predicted]]))

    def _draw_pair(
        self, pair: tuple[int, int], fitted: pd.DataFrame, kwargs: dict[str, Any]
    ) -> None:
        style = self._style(pair)
        mark, colour = style["marker"], style["color"]
        # no marker on the line, but in the legend
        line = style | {"lw": 1.4, "ms": 5, "markevery": [], "label": self._name(pair)} | kwargs
        x = self._inverse(fitted.index)
        self.lines_ += self.ax_.plot(x, fitted["rate"], **line)
        self.bands_.append(
            self.ax_.fill_between(x, fitted["low"], fitted["high"], color=colour, alpha=0.15, lw=0)
        )
        bars = {"fmt": mark, "ms": 5, "capsize": 2, "color": colour}
        self.points_.append(self._bars(_rows(self.rates, pair), bars | {"zorder": 3}))
        if self.predicted:
            tables = {model.temperature: model.rates.loc[[pair]] for model in self.predicted}
            table = pd.concat(tables, names=["temperature"])
            hollow = bars | {"ms": 7, "mfc": "white", "mew": 1.4, "zorder": 4}
            self.predicted_.append(self._bars(_rows(table, pair), hollow))
        if self.reference is not None:
            known = _rows(self.reference, pair)
            cross = {"marker": "x", "ms": 6, "mew": 1.6, "color": "black", "ls": "", "zorder": 5}
            self.references_ += self.ax_.plot(self._inverse(known.index), known["rate"], **cross)

    def _bars(self, rows: pd.DataFrame, style: dict[str, Any]) -> Any:
        rate = rows["rate"].where(rows["rate"] > 0)  # none on a logarithmic axis
        # the most likely value may lie outside of its own interval: no bar of negative length
        length = np.clip([rate - rows["low"], rows["high"] - rate], 0, None)
        return self.ax_.errorbar(self._inverse(rows.index), rate, length, **style)

    def _style(self, pair: tuple[int, int]) -> dict[str, Any]:
        """Colour of the two states, marker and line of the direction."""
        both = sorted({tuple(sorted(other)) for other in self.fit.parameters.index})
        colour = PALETTE[both.index(tuple(sorted(pair))) % len(PALETTE)]
        return {"color": colour} | DIRECTIONS[int(pair[0] > pair[1])]

    def _name(self, pair: tuple[int, int]) -> str:
        """Name the pair and its barrier, to the digits that its error leaves."""
        name = FORMS[check_option(self.fit.form, "form", FORMS)][0]
        row: Any = self.fit.parameters.loc[pair]
        value, error = float(row[name]), float(row[f"{name}_error"])
        if not np.isfinite(value):
            return f"{pair[0]} → {pair[1]}"
        digits = max(0, 1 - int(np.floor(np.log10(error)))) if error > 0 else 2
        known = np.isclose(self.fit.boltzmann_constant, BOLTZMANN_CONSTANT, rtol=1e-3)
        unit = " kJ/mol" if known else ""
        return f"{pair[0]} → {pair[1]}: {value:.{digits}f} ± {error:.{digits}f}{unit}"

    def _draw_keys(self) -> None:
        """Name what the points are in the legend."""
        grey = {"color": "0.35", "ls": ""}
        self.ax_.plot([], [], marker="o", ms=5, label="simulated", **grey)
        if self.predicted:
            self.ax_.plot([], [], marker="o", ms=7, mfc="white", label="predicted", **grey)
        if self.reference is not None:
            style = grey | {"color": "black"}
            self.ax_.plot([], [], marker="x", ms=6, mew=1.6, label="reference", **style)

    def _label(self, grid: NDArray[np.float64]) -> None:
        reduced = self.fit.boltzmann_constant == 1.0
        tables = [self.rates, *(model.rates for model in self.predicted)]
        drawn = [line.get_ydata() for line in self.lines_ + self.references_]
        values = np.concatenate(drawn + [table["rate"].to_numpy(float) for table in tables])
        values = values[np.isfinite(values) & (values > 0)]
        low, high = values.min() / ROOM, values.max() * ROOM
        self.ax_.set(xlim=(grid[0], grid[-1]), ylim=(low, high))
        plain_log_ticks(self.ax_, high / low)
        label = "1 / temperature" if reduced else "1000 / temperature (1/K)"
        rate = f"rate (1/{self.time_unit})" if self.time_unit else "rate"
        self.ax_.set(xlabel=label, ylabel=rate)
        self.temperatures_ = self.ax_.secondary_xaxis(
            "top", functions=(self._inverse, self._inverse)
        )
        self.temperatures_.set_xticks(self._temperatures())
        self.temperatures_.xaxis.set_major_formatter("{x:g}")
        self.temperatures_.set_xlabel("temperature" if reduced else "temperature (K)")
        self.ax_.spines["right"].set_visible(False)
        barrier = FORMS[self.fit.form][0].replace("_", " ")
        self.ax_.legend(
            frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5), title=barrier,
            alignment="left",
        )  # fmt: skip


def _rows(table: pd.DataFrame, pair: tuple[int, int]) -> pd.DataFrame:
    """Return one pair's rows by rising temperature."""
    source, target = (table.index.get_level_values(name) for name in ("source", "target"))
    return table[(source == pair[0]) & (target == pair[1])].droplevel([1, 2]).sort_index()
