"""What the displays share: palette, panels, legends, ticks, bands, grids, rows of tables."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from latflow._typing import FloatArray
from latflow._validation import check_count, import_extra
from latflow.estimators import LaTFEstimator, TemperatureExtrapolator

if TYPE_CHECKING:
    from matplotlib.axes import Axes as Axes
    from matplotlib.collections import PolyCollection as PolyCollection
    from matplotlib.container import ErrorbarContainer as ErrorbarContainer
    from matplotlib.legend import Legend as Legend
    from matplotlib.lines import Line2D as Line2D
    from matplotlib.patches import Rectangle as Rectangle
else:  # matplotlib is loaded to draw, not before
    Axes = ErrorbarContainer = Legend = Line2D = PolyCollection = Rectangle = Any
Model = LaTFEstimator | TemperatureExtrapolator
Panels = NDArray[np.object_] | Sequence[Axes] | None  # one Axes for each panel
Style = dict[str, Any]  # options of an artist

GRID_MARGIN = 0.05
NARROW = 1e4  # a range of values with room for labels at 2 and 5 too
# Okabe and Ito's palette, which readers with colour-blindness can tell apart
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")


def with_unit(name: str, unit: str) -> str:
    """Label an axis with a quantity and its unit, if it has one."""
    return f"{name} ({unit})" if unit else name


def colours() -> Iterator[str]:
    """Go round the palette for ever."""
    return cycle(PALETTE)


def panels(
    axes: Panels, n_rows: int, n_columns: int, *, size: tuple[float, float], **kwargs: Any
) -> NDArray[Any]:
    """Return the caller's axes, or those of a new figure, of shape (n_rows, n_columns)."""
    if axes is None:
        pyplot = import_extra("matplotlib.pyplot", "plot")
        extent = (size[0] * n_columns + 0.8, size[1] * n_rows + 0.4)
        options = {"figsize": extent, "layout": "constrained", "squeeze": False} | kwargs
        return np.asarray(pyplot.subplots(n_rows, n_columns, **options)[1])
    given = np.asarray(axes, dtype=object).ravel()
    if len(given) != n_rows * n_columns:
        raise ValueError(
            f"Expected `axes` to hold {n_rows * n_columns} panels ({n_rows} x {n_columns}), "
            f"got {len(given)}."
        )
    return given.reshape(n_rows, n_columns)


def panel(ax: Axes | None, *, size: tuple[float, float]) -> Axes:
    """Return the caller's axes, or those of a new figure, open to the top and to the right."""
    single: Axes = panels(None if ax is None else [ax], 1, 1, size=size)[0, 0]
    single.spines[["top", "right"]].set_visible(False)
    return single


def legend_right(ax: Axes, *handles_and_labels: Any, **options: Any) -> Legend:
    """Name everything to the right of the axes, where the legend hides nothing."""
    placed = {"frameon": False, "loc": "center left", "bbox_to_anchor": (1.01, 0.5)}
    return ax.legend(*handles_and_labels, **(placed | options))


def plain_log_ticks(ax: Axes, ratio: float) -> None:
    """Label a logarithmic y-axis with plain numbers; more of them where the range is narrow."""
    ax.yaxis.set_major_formatter("{x:g}")
    if ratio < NARROW:
        ticker = import_extra("matplotlib.ticker", "plot")
        ax.yaxis.set_minor_locator(ticker.LogLocator(subs=(2, 5)))
        ax.yaxis.set_minor_formatter("{x:g}")
    else:
        ax.yaxis.set_minor_formatter("")


def line_and_band(
    ax: Axes, rows: pd.DataFrame, *, alpha: float = 0.25, edge: float = 0.0, **style: Any
) -> tuple[Line2D, PolyCollection]:
    """Draw a table's first column against its index, and a band from the second to the third."""
    x = rows.index.to_numpy(float)
    value, low, high = (rows[name] for name in rows)
    line = ax.plot(x, value, **style)[0]
    return line, ax.fill_between(x, low, high, color=line.get_color(), alpha=alpha, lw=edge)


def error_bars(ax: Axes, rows: pd.DataFrame, **style: Any) -> ErrorbarContainer:
    """Draw a table's first column against its index, with bars from the second to the third."""
    value, low, high = (rows[name] for name in rows)
    # the most likely value may lie outside of its own interval: no bar of negative length
    bars = np.clip([value - low, high - value], 0, None)
    return ax.errorbar(rows.index.to_numpy(float), value, bars, **style)


def rows_at(table: pd.DataFrame, **levels: Hashable) -> pd.DataFrame:
    """Return the rows at these values of index levels, by the level that is left, rising."""
    for level, value in levels.items():
        table = table[table.index.get_level_values(level) == value].droplevel(level)
    return table.sort_index()


def level_of(name: str, *tables: pd.DataFrame | None) -> FloatArray:
    """Return all values of an index level of some tables, rising."""
    levels = [table.index.get_level_values(name) for table in tables if table is not None]
    return np.unique(np.concatenate([level.to_numpy(float) for level in levels]))


def check_drawable(estimator: Model) -> None:
    """Raise for an estimator that is not fitted or has too many variables for a picture."""
    check_is_fitted(estimator)
    if estimator.n_components_ > 2:
        raise ValueError(
            "Expected an `estimator` with one or two components, which can be drawn, "
            f"got {estimator.n_components_}."
        )


def grid_over(z: FloatArray, n_grid: int) -> tuple[FloatArray, ...]:
    """Return evenly spaced points along each component, over all points and a small margin."""
    check_count(n_grid, "n_grid", minimum=2)
    low, high = z.min(axis=0), z.max(axis=0)
    margin = np.where(high > low, GRID_MARGIN * (high - low), 0.5)
    return tuple(np.linspace(low - margin, high + margin, n_grid).T)


def mesh_of(grid: Sequence[FloatArray]) -> FloatArray:
    """Return the points of the latent space at which a grid's lines cross."""
    return np.stack(np.meshgrid(*grid, indexing="ij"), axis=-1)
