"""Where answers are trusted: what the displays shade, from a table of support."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from latflow._validation import check_table
from latflow.estimators.extrapolator import TemperatureExtrapolator

__all__ = [
    "VERDICTS",
    "check_support",
    "default_temperatures",
    "legend_right",
    "limit",
    "mark_trained",
    "shade",
    "spans",
    "support_of",
    "verdict_between",
]

FloatArray = NDArray[np.float64]
Span = tuple[float, float, str]

VERDICTS = ("supported", "extrapolated", "unsupported")  # best first
SHADES: dict[str, dict[str, Any]] = {
    "supported": {"facecolor": "#009E73", "alpha": 0.13, "lw": 0},
    "extrapolated": {"facecolor": "#E69F00", "alpha": 0.14, "lw": 0},
    "unsupported": {"facecolor": "0.88", "edgecolor": "0.78", "hatch": "///", "lw": 0},
}
N_TEMPERATURES = 40
MARGIN = 0.02  # of the range of temperatures
LETTER = 0.085  # inches a letter of the words takes, with room around it


def check_support(support: pd.DataFrame) -> pd.DataFrame:
    """Return a table of support, sorted by temperature."""
    table = check_table(support, "support", ["temperature"], ["support"]).sort_index()
    unknown = sorted(set(table["support"]) - set(VERDICTS))
    if unknown:
        raise ValueError(
            f"Expected `support` to say {', '.join(VERDICTS)}, got {', '.join(map(str, unknown))}."
        )
    return table


def default_temperatures(estimator: TemperatureExtrapolator) -> FloatArray:
    """Return evenly spaced temperatures over the range that `sample` serves, and trained ones."""
    trained = estimator.temperatures_
    if not len(trained):
        raise ValueError("Expected a model fitted with `temperature`, got one without.")
    low, high = estimator.temperature_range_
    within = trained[(trained >= low) & (trained <= high)]
    return np.union1d(np.linspace(low, high, N_TEMPERATURES), within)


def support_of(estimator: TemperatureExtrapolator, *temperatures: ArrayLike) -> pd.DataFrame:
    """Return the support at all these temperatures and at the simulated ones between them."""
    wanted = np.concatenate([np.ravel(np.asarray(t, dtype=np.float64)) for t in temperatures])
    trained = estimator.temperatures_
    within = trained[(trained >= wanted.min()) & (trained <= wanted.max())]
    return estimator.support(np.union1d(wanted, within))


def spans(support: pd.DataFrame) -> list[Span]:
    """Return (lowest temperature, highest, verdict) of the regions, in order.

    Between two temperatures the worse of their verdicts holds.
    """
    t = support.index.to_numpy(float)
    rank = np.array([VERDICTS.index(verdict) for verdict in support["support"]])
    if len(t) == 1:
        return [(t[0], t[0], VERDICTS[rank[0]])]
    worse = np.maximum(rank[:-1], rank[1:])
    cuts = np.flatnonzero(np.diff(worse)) + 1
    starts, ends = [0, *cuts], [*cuts, len(worse)]
    return [(t[a], t[b], VERDICTS[worse[a]]) for a, b in zip(starts, ends, strict=True)]


def verdict_between(support: pd.DataFrame, low: float, high: float) -> str | None:
    """Return the best verdict of the regions that touch a range; None beyond the table."""
    found = [v for start, end, v in spans(support) if start <= high and low <= end]
    return min(found, key=VERDICTS.index, default=None)


def limit(ax: Any, temperatures: ArrayLike) -> None:
    """Set the limits of the axis to these temperatures and a small margin."""
    t = np.ravel(np.asarray(temperatures, dtype=np.float64))
    margin = MARGIN * (np.ptp(t) or t[0])
    ax.set_xlim(t.min() - margin, t.max() + margin)


def shade(ax: Any, support: pd.DataFrame | None, *, best: bool = False) -> list[Any]:
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
    drawn: list[Any] = []
    for k, (start, end, verdict) in enumerate(regions):
        low = left if k == 0 else start
        high = right if k == len(regions) - 1 else end
        _name(ax, (low, high), verdict)
        if verdict != "supported" or best:
            named = verdict in [patch.get_label() for patch in drawn]
            style = SHADES[verdict] | {"label": f"_{verdict}" if named else verdict, "zorder": 0}
            drawn.append(ax.axvspan(low, high, **style))
    ax.set_xlim(left, right)
    return drawn


def mark_trained(ax: Any, temperatures: ArrayLike) -> Any:
    """Mark the temperatures that an estimator was fitted on, at the foot of the axis."""
    t = np.asarray(temperatures, dtype=np.float64)
    style = {"marker": "|", "ms": 14, "mew": 2.5, "ls": "", "color": "0.35", "label": "trained at"}
    foot = np.full(len(t), 0.03)
    return ax.plot(t, foot, transform=ax.get_xaxis_transform(), **style)[0]


def legend_right(ax: Any) -> Any:
    """Name everything to the right of the axes, where it hides nothing: the shades last."""
    handles, labels = ax.get_legend_handles_labels()
    ranks = [VERDICTS.index(label) if label in VERDICTS else -1 for label in labels]
    order = np.argsort(ranks, kind="stable")
    return ax.legend(
        [handles[k] for k in order], [labels[k] for k in order],
        frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5),
    )  # fmt: skip


def _name(ax: Any, ends: tuple[float, float], verdict: str) -> None:
    """Write the verdict at the top of its region, if it fits there."""
    left, right = ax.get_xlim()
    width = ax.get_position().width * ax.figure.get_size_inches()[0]
    if (ends[1] - ends[0]) / (right - left) * width < LETTER * len(verdict):
        return
    style: dict[str, Any] = {"ha": "center", "va": "top", "fontsize": "small", "color": "0.3"}
    if "hatch" in SHADES[verdict]:  # letters are hard to read on it
        style["bbox"] = {"facecolor": SHADES[verdict]["facecolor"], "lw": 0, "pad": 1.5}
    ax.text(sum(ends) / 2, 0.98, verdict, transform=ax.get_xaxis_transform(), **style)
