"""How far predictions can be trusted against temperature, and what displays shade where."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from latflow._typing import FloatArray
from latflow._validation import check_table
from latflow.estimators import TemperatureExtrapolator
from latflow.plotting import style
from latflow.plotting.style import PALETTE, Axes, Line2D, Rectangle, Style
from latflow.thermodynamics.support import CLASSES, LEAST_FRACTION

SHADES: dict[str, Style] = {
    "supported": {"facecolor": "#009E73", "alpha": 0.13, "lw": 0},
    "extrapolated": {"facecolor": "#E69F00", "alpha": 0.14, "lw": 0},
    "unsupported": {"facecolor": "0.88", "edgecolor": "0.78", "hatch": "///", "lw": 0},
}
MARK: Style = {"marker": "|", "ms": 14, "mew": 2.5, "ls": "", "color": "0.35"}
FOOT = 0.03
N_TEMPERATURES = 40
MARGIN = 0.02  # of the range of temperatures
LOWEST = 1e-3  # fractions below are drawn at the foot
ROOM = 1.25, 2.2  # factors below the lowest and above the highest fraction
LETTER = 0.085  # inches a letter of the words takes, with room around it


@dataclass(eq=False, repr=False)
class SupportDisplay:
    """Effective frames at each temperature, and what they support.

    Their effective number is divided by that at the nearest simulated temperature. Build it with
    :meth:`from_estimator`.

    Parameters
    ----------
    support : DataFrame
        As ``TemperatureExtrapolator.support`` returns it: index `temperature`, columns
        `effective_fraction` and `support`. Between two of its temperatures the worse verdict holds.
    simulated : array_like, optional
        Temperatures of the simulations that the estimator was fitted on, marked on the axis.
    temperature_unit : str, default=""

    Attributes
    ----------
    figure_ : matplotlib Figure
    ax_ : Axes
        Its vertical axis is logarithmic.
    line_ : Line2D
    threshold_ : Line2D
        The least fraction that supports an answer.
    doubted_ : Line2D or None
        Temperatures with frames enough that are unsupported all the same: by their error, or by
        what was never observed.
    shades_ : list of Rectangle
        The regions, from low temperatures to high.
    """

    support: pd.DataFrame
    _: KW_ONLY
    simulated: ArrayLike = ()
    temperature_unit: str = ""

    def __post_init__(self) -> None:
        self.support = check_support(self.support, "effective_fraction")

    @classmethod
    def from_estimator(
        cls,
        estimator: TemperatureExtrapolator,
        *,
        temperature: ArrayLike | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Compute the support of a fitted extrapolator and draw it.

        Parameters
        ----------
        estimator : TemperatureExtrapolator
            Fitted.
        temperature : array_like of shape (n_temperatures,), optional
            40 over the range that ``TemperatureExtrapolator.sample`` serves if not given; simulated
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
            simulated=estimator.temperatures_,
            temperature_unit=estimator.units_.temperature,
        )
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> Self:
        """Draw the fraction, its threshold, the regions and the simulated temperatures.

        Parameters
        ----------
        ax : Axes, optional
            A new figure if not given.
        **kwargs
            For ``Axes.plot`` of the fraction.

        Returns
        -------
        self
        """
        self.ax_ = style.panel(ax, size=(5.6, 3.2))
        self.figure_ = self.ax_.figure
        t = self.support.index.to_numpy(float)
        fraction = self.support["effective_fraction"].to_numpy(float).clip(LOWEST)
        options: Style = {"color": PALETTE[0], "lw": 1.8, "label": "effective frames"} | kwargs
        self.line_ = self.ax_.plot(t, fraction, **options)[0]
        self.threshold_ = self.ax_.axhline(
            LEAST_FRACTION, color="0.3", lw=1.0, ls=":", label="least for an answer"
        )
        self._draw_doubts(t, fraction)
        low = min(fraction.min(), LEAST_FRACTION) / ROOM[0]
        high = max(fraction.max(), 1.0) * ROOM[1]
        self.ax_.set(yscale="log", ylim=(low, high), ylabel="effective frames (fraction)")
        style.plain_log_ticks(self.ax_, high / low)
        limit(self.ax_, self.support.index)
        self.shades_ = shade(self.ax_, self.support, best=True)
        name_temperatures(self.ax_, self.simulated, self.temperature_unit)
        return self

    def _draw_doubts(self, t: FloatArray, fraction: FloatArray) -> None:
        """Mark temperatures that are unsupported although frames enough reach there."""
        verdict = self.support["support"].to_numpy()
        apart = (fraction >= LEAST_FRACTION) & (verdict == "unsupported")
        self.doubted_: Line2D | None = None
        if apart.any():
            cross: Style = {"marker": "x", "color": PALETTE[1], "label": "unsupported all the same"}
            self.doubted_ = self.ax_.plot(t[apart], fraction[apart], ls="", **cross)[0]


def check_support(support: object, *columns: str) -> pd.DataFrame:
    """Return a table of support, sorted by temperature."""
    table = check_table(support, "support", ["temperature"], [*columns, "support"]).sort_index()
    unknown = sorted(set(table["support"]) - set(CLASSES))
    if unknown:
        raise ValueError(
            f"Expected `support` to say {', '.join(CLASSES)}, got {', '.join(map(str, unknown))}."
        )
    return table


def default_temperatures(estimator: TemperatureExtrapolator) -> FloatArray:
    """Return evenly spaced temperatures over the range that `sample` serves."""
    if estimator.ensemble_ is None:
        raise ValueError("Expected a model fitted with `temperature`, got one without.")
    return _with_simulated(estimator, np.linspace(*estimator.temperature_range_, N_TEMPERATURES))


def support_of(estimator: TemperatureExtrapolator, *temperatures: ArrayLike) -> pd.DataFrame:
    """Return the support at all these temperatures and at the simulated ones between them."""
    asked = np.concatenate([np.ravel(np.asarray(t, dtype=np.float64)) for t in temperatures])
    return estimator.support(_with_simulated(estimator, asked))


def _with_simulated(estimator: TemperatureExtrapolator, temperatures: FloatArray) -> FloatArray:
    """Return temperatures, sorted, with the simulated ones that lie between them."""
    simulated = estimator.temperatures_
    within = (simulated >= temperatures.min()) & (simulated <= temperatures.max())
    return np.union1d(temperatures, simulated[within])


def spans(support: pd.DataFrame) -> list[tuple[float, float, str]]:
    """Return (lowest temperature, highest, verdict) of the regions, in order.

    Between two temperatures the worse of their verdicts holds.
    """
    t = support.index.to_numpy(float)
    rank = np.array([CLASSES.index(verdict) for verdict in support["support"]])
    if len(t) == 1:
        return [(t[0], t[0], CLASSES[rank[0]])]
    worse = np.maximum(rank[:-1], rank[1:])
    cuts = np.flatnonzero(np.diff(worse)) + 1
    starts, ends = [0, *cuts], [*cuts, len(worse)]
    return [(t[a], t[b], CLASSES[worse[a]]) for a, b in zip(starts, ends, strict=True)]


def verdict_between(support: pd.DataFrame, low: float, high: float) -> str | None:
    """Return the best verdict of the regions that touch a range; None beyond the table."""
    touched = [v for start, end, v in spans(support) if start <= high and low <= end]
    return min(touched, key=CLASSES.index, default=None)


def limit(ax: Axes, temperatures: ArrayLike) -> None:
    """Set the limits of the axis to these temperatures and a small margin."""
    t = np.ravel(np.asarray(temperatures, dtype=np.float64))
    margin = MARGIN * (np.ptp(t) or t[0])
    ax.set_xlim(t.min() - margin, t.max() + margin)


def shade(ax: Axes, support: pd.DataFrame | None, *, best: bool = False) -> list[Rectangle]:
    """Shade the regions up to the limits of the axis; write their names where there is room.

    Parameters
    ----------
    ax : Axes
        Its limits along x are set and stay.
    support : DataFrame or None
        Sorted by temperature; nothing is shaded for None.
    best : bool, default=False
        Whether to shade what is supported too.

    Returns
    -------
    list of Rectangle
        The label of each is its verdict, of the first of each verdict only: one in the legend.
    """
    if support is None:
        return []
    left, right = ax.get_xlim()
    regions = spans(support)
    shades: list[Rectangle] = []
    for k, (start, end, verdict) in enumerate(regions):
        low = left if k == 0 else start
        high = right if k == len(regions) - 1 else end
        _name(ax, (low, high), verdict)
        if verdict != "supported" or best:
            named = verdict in [patch.get_label() for patch in shades]
            label = f"_{verdict}" if named else verdict
            shades.append(ax.axvspan(low, high, label=label, zorder=0, **SHADES[verdict]))
    ax.set_xlim(left, right)
    return shades


def name_temperatures(ax: Axes, simulated: ArrayLike, unit: str) -> None:
    """Mark simulated temperatures, name the axis, and all in a legend, the shades last."""
    marks = np.asarray(simulated, dtype=np.float64)
    if len(marks):
        foot, place = np.full_like(marks, FOOT), ax.get_xaxis_transform()
        ax.plot(marks, foot, transform=place, label="simulated at", **MARK)
    ax.set_xlabel(style.with_unit("temperature", unit or "reduced units"))
    handles, labels = ax.get_legend_handles_labels()
    ranks = [1 + CLASSES.index(label) if label in CLASSES else 0 for label in labels]
    order = np.argsort(ranks, kind="stable")
    style.legend_right(ax, [handles[k] for k in order], [labels[k] for k in order])


def _name(ax: Axes, ends: tuple[float, float], verdict: str) -> None:
    """Write the verdict at the top of its region, if it fits there."""
    left, right = ax.get_xlim()
    figure: Any = ax.figure
    width = ax.get_position().width * figure.get_size_inches()[0]
    if (ends[1] - ends[0]) / (right - left) * width < LETTER * len(verdict):
        return
    words: Style = {"ha": "center", "va": "top", "fontsize": "small", "color": "0.3"}
    if "hatch" in SHADES[verdict]:  # letters are hard to read on it
        words["bbox"] = {"facecolor": SHADES[verdict]["facecolor"], "lw": 0, "pad": 1.5}
    ax.text(sum(ends) / 2, 0.98, verdict, transform=ax.get_xaxis_transform(), **words)
