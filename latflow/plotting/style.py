"""What the displays share: palette, panels, names of units."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latflow._validation import import_extra
from latflow.estimators.latf import LaTFEstimator
from latflow.units import BOLTZMANN_CONSTANT

__all__ = [
    "PALETTE",
    "colours",
    "energy_unit",
    "panels",
    "plain_log_ticks",
    "temperature_label",
    "temperature_unit",
    "with_error",
]

NARROW = 1e4  # a range of values with room for labels at 2 and 5 too
# Okabe and Ito's palette, which readers with colour-blindness can tell apart
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")


def energy_unit(estimator: LaTFEstimator) -> str:
    """Name the unit of the estimator's energies."""
    constant = estimator.boltzmann_constant
    if constant == 1.0:
        return "reduced units"
    if np.isclose(constant, BOLTZMANN_CONSTANT, rtol=1e-3):
        return "kJ/mol"
    return "energy unit of `boltzmann_constant`"


def temperature_unit(estimator: LaTFEstimator) -> str:
    """Name the unit of its temperatures; nothing for reduced ones."""
    return "" if estimator.boltzmann_constant == 1.0 else "K"


def temperature_label(unit: str) -> str:
    """Label an axis of temperatures."""
    return f"temperature ({unit or 'reduced units'})"


def with_error(value: float, error: float) -> str:
    """Write a number to the digits that its error leaves: one, or two after a leading one."""
    if not (np.isfinite(error) and error > 0):
        return f"{value:.3g}"
    power = int(np.floor(np.log10(error)))
    digits = max(0, -power + (error < 1.95 * 10.0**power))
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def colours() -> Iterator[str]:
    """Go round the palette for ever."""
    while True:
        yield from PALETTE


def panels(
    axes: Any, n_rows: int, n_columns: int, *, size: tuple[float, float], **kwargs: Any
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


def plain_log_ticks(ax: Any, ratio: float) -> None:
    """Label a logarithmic y-axis with plain numbers; more of them where the range is narrow."""
    ax.yaxis.set_major_formatter("{x:g}")
    if ratio < NARROW:
        ticker = import_extra("matplotlib.ticker", "plot")
        ax.yaxis.set_minor_locator(ticker.LogLocator(subs=(2, 5)))
        ax.yaxis.set_minor_formatter("{x:g}")
    else:
        ax.yaxis.set_minor_formatter("")
