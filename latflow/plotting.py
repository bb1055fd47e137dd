"""Displays in scikit-learn's manner: they hold arrays, draw them, never fit, never show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from latflow._validation import check_count, check_latent_points, check_option, import_extra
from latflow.estimators.extrapolator import UNITS, TemperatureExtrapolator
from latflow.estimators.latf import BOLTZMANN_CONSTANT, LaTFEstimator

__all__ = ["FreeEnergyDisplay", "HistoryDisplay", "PopulationsDisplay"]

FloatArray = NDArray[np.float64]

# Okabe and Ito's palette, which readers with colour-blindness can tell apart
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
MARGIN = 0.05
DEEPEST_IN_KT = 6.0
MOST_STAGE_LABELS = 4
HEADROOM = 0.45  # above the losses, for the names of the stages
ABOVE_SCALE = "0.9"
ROWS = ("generated", "simulated")
LOSS_GROUPS = {
    "labels and joint training": ("refinement", "joint"),
    "density": ("density", "conditional flow"),
    "temperature classifier": ("temperature classifier",),
}


class FreeEnergyDisplay:
    """Free-energy surfaces of one or two collective variables, one panel per temperature.

    Build it with :meth:`from_estimator`.

    Parameters
    ----------
    temperatures : array_like of shape (n_temperatures,)
    grid : sequence of ndarray of shape (n_grid,)
        Points along each collective variable, evenly spaced; one or two of them.
    generated : array_like of shape (n_temperatures, n_grid) or (n_temperatures, n_grid, n_grid)
        Free energies on the grid, the first variable first; NaN is left white.
    simulated : array_like, optional
        The same from simulations; a temperature whose values are all NaN has no panel.
    trained : array_like, optional
        Temperatures that the estimator was fitted on; their panels say so.
    energy_unit : str, default="k_B T"
        Of the free energies, for the labels.
    temperature_unit : str, default=""
    vmax : float, optional
        Upper end of the colour (or vertical) scale; the highest finite value if not given. What
        lies above is light grey.

    Attributes
    ----------
    figure_ : matplotlib Figure
    axes_ : ndarray of Axes, shape (n_rows, n_temperatures)
    surfaces_ : list of QuadMesh
        Row by row, for two collective variables.
    lines_ : list of Line2D
        For one collective variable.
    colorbar_ : Colorbar or None
    """

    def __init__(
        self,
        *,
        temperatures: ArrayLike,
        grid: Sequence[FloatArray],
        generated: ArrayLike,
        simulated: ArrayLike | None = None,
        trained: ArrayLike = (),
        energy_unit: str = "k_B T",
        temperature_unit: str = "",
        vmax: float | None = None,
    ) -> None:
        self.temperatures = np.asarray(temperatures, dtype=np.float64)
        self.grid = tuple(np.asarray(points, dtype=np.float64) for points in grid)
        self.generated = np.asarray(generated, dtype=np.float64)
        self.simulated = None if simulated is None else np.asarray(simulated, dtype=np.float64)
        self.trained = np.asarray(trained, dtype=np.float64)
        self.energy_unit = energy_unit
        self.temperature_unit = temperature_unit
        self.vmax = vmax

    @classmethod
    def from_estimator(
        cls,
        estimator: TemperatureExtrapolator,
        *,
        temperature: ArrayLike,
        reference: Mapping[float, ArrayLike] | None = None,
        unit: str = "energy",
        n_grid: int = 80,
        vmax: float | None = None,
        axes: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Compute the surfaces of a fitted extrapolator and draw them.

        Parameters
        ----------
        estimator : TemperatureExtrapolator
            Fitted, with one or two components.
        temperature : float or array_like of shape (n_temperatures,)
        reference : dict of float to array_like of shape (n_samples, n_components), optional
            Simulated collective variables per temperature, drawn below as -log of their histogram
            on the same grid.
        unit : {"energy", "kT"}, default="energy"
            "energy" is kJ/mol with the default `boltzmann_constant`.
        n_grid : int, default=80
            Points along each collective variable, over the training frames and a small margin.
        vmax : float, optional
            Upper end of the scale, in `unit`; 6 k_B T of the highest temperature if not given.
        axes, **kwargs
            For :meth:`plot`.

        Returns
        -------
        FreeEnergyDisplay

        Raises
        ------
        ValueError
            If the estimator has more than two components, or an argument does not fit.
        """
        check_is_fitted(estimator)
        check_option(unit, "unit", UNITS)
        points = _grid(estimator.z_, check_count(n_grid, "n_grid", minimum=2))
        temperatures = np.atleast_1d(np.asarray(temperature, dtype=np.float64))
        kt = estimator.estimator_.boltzmann_constant * temperatures
        scale = kt if unit == "energy" else np.ones_like(kt)
        mesh = np.stack(np.meshgrid(*points, indexing="ij"), axis=-1)
        simulated = None
        if reference is not None:
            found = [_histogram_energy(_at(reference, t), points) for t in temperatures]
            simulated = [energy * factor for energy, factor in zip(found, scale, strict=True)]
        display = cls(
            temperatures=temperatures,
            grid=points,
            generated=[estimator.free_energy(mesh, float(t), unit=unit) for t in temperatures],
            simulated=simulated,
            trained=estimator.temperatures_,
            energy_unit=_energy_unit(estimator.estimator_) if unit == "energy" else "k_B T",
            temperature_unit=_temperature_unit(estimator.estimator_),
            vmax=DEEPEST_IN_KT * float(scale.max()) if vmax is None else vmax,
        )
        return display.plot(axes=axes, **kwargs)

    def plot(self, axes: Any = None, *, cmap: str = "viridis", **kwargs: Any) -> Self:
        """Draw the strip.

        Parameters
        ----------
        axes : array_like of Axes, optional
            One per panel, row by row; a new figure if not given.
        cmap : str, default="viridis"
            Colours of the surfaces.
        **kwargs
            For ``Axes.pcolormesh`` (two collective variables) or ``Axes.plot`` (one).

        Returns
        -------
        self
        """
        two = len(self.grid) == 2
        shape = (len(self._rows) if two else 1, len(self.temperatures))
        self.axes_ = _panels(axes, *shape, size=(2.1, 2.2), sharex=True, sharey=True)
        self.figure_ = self.axes_[0, 0].figure
        self.surfaces_: list[Any] = []
        self.lines_: list[Any] = []
        self.colorbar_: Any = None
        if two:
            self._draw_surfaces(cmap, kwargs)
        else:
            self._draw_lines(kwargs)
        for ax, t in zip(self.axes_[0], self.temperatures, strict=True):
            title = f"T = {t:g} {self.temperature_unit}".strip()
            fitted = " (trained)" if np.isclose(t, self.trained).any() else ""
            ax.set_title(title + fitted, fontsize="medium")
        for ax in self.axes_.flat:
            ax.label_outer()
        return self

    @property
    def _rows(self) -> list[FloatArray]:
        return [self.generated] if self.simulated is None else [self.generated, self.simulated]

    def _scale(self) -> float:
        if self.vmax is not None:
            return self.vmax
        finite = self.generated[np.isfinite(self.generated)]
        return float(finite.max(initial=0.0)) or 1.0

    def _draw_surfaces(self, cmap: str, kwargs: dict[str, Any]) -> None:
        colours = import_extra("matplotlib", "plot").colormaps[cmap].with_extremes(over=ABOVE_SCALE)
        options = {"cmap": colours, "vmin": 0.0, "vmax": self._scale(), "shading": "nearest"}
        for axes, surfaces, name in zip(self.axes_, self._rows, ROWS, strict=False):
            for ax, surface in zip(axes, surfaces, strict=True):
                ax.set_facecolor("white")
                self.surfaces_.append(ax.pcolormesh(*self.grid, surface.T, **(options | kwargs)))
                ax.set_xlabel("CV 1")
                if np.isnan(surface).all():
                    ax.text(
                        0.5, 0.5, "no samples", ha="center", transform=ax.transAxes, color="0.5"
                    )
            axes[0].set_ylabel(f"{name}\nCV 2" if len(self._rows) == 2 else "CV 2")
        self.colorbar_ = self.figure_.colorbar(
            self.surfaces_[0], ax=list(self.axes_.flat), extend="max", pad=0.01, aspect=30
        )
        self.colorbar_.set_label(self._energy_label())

    def _draw_lines(self, kwargs: dict[str, Any]) -> None:
        styles: list[dict[str, Any]] = [{"ls": "-"}, {"ls": "", "marker": ".", "ms": 4}]
        for values, name, colour, style in zip(self._rows, ROWS, PALETTE, styles, strict=False):
            for ax, line in zip(self.axes_[0], values, strict=True):
                options = {"color": colour, "label": name} | style | kwargs
                self.lines_ += ax.plot(self.grid[0], line, **options)
                ax.set(xlabel="CV 1", ylim=(-0.03 * self._scale(), self._scale()))
        self.axes_[0, 0].set_ylabel(self._energy_label())
        if len(self._rows) == 2:
            self.axes_[0, 0].legend(frameon=False, fontsize="small")

    def _energy_label(self) -> str:
        unit = "$k_\\mathrm{B}T$" if self.energy_unit == "k_B T" else self.energy_unit
        return f"free energy ({unit})"


class PopulationsDisplay:
    """Populations of the metastable states against temperature, predicted and simulated.

    Build it with :meth:`from_estimator`.

    Parameters
    ----------
    populations : DataFrame
        As ``TemperatureExtrapolator.state_populations`` returns it: index (`temperature`, `state`),
        columns `population` and `standard_error`.
    reference : DataFrame, optional
        Simulated populations, with the same index levels and a column `population`; error bars
        where it has `standard_error`.
    trained : array_like, optional
        Temperatures that the estimator was fitted on, marked on the axis.
    temperature_unit : str, default=""

    Attributes
    ----------
    figure_ : matplotlib Figure
    ax_ : Axes
    lines_ : list of Line2D
        One per state.
    bands_ : list of PolyCollection
        One standard error to both sides, cut at 0 and 1.
    points_ : list of ErrorbarContainer
        Simulated, one per state.
    """

    def __init__(
        self,
        populations: pd.DataFrame,
        *,
        reference: pd.DataFrame | None = None,
        trained: ArrayLike = (),
        temperature_unit: str = "",
    ) -> None:
        self.populations = populations
        self.reference = reference
        self.trained = np.asarray(trained, dtype=np.float64)
        self.temperature_unit = temperature_unit

    @classmethod
    def from_estimator(
        cls,
        estimator: TemperatureExtrapolator,
        *,
        temperature: ArrayLike,
        reference: pd.DataFrame | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Compute the populations of a fitted extrapolator and draw them.

        Parameters
        ----------
        estimator : TemperatureExtrapolator
            Fitted.
        temperature : array_like of shape (n_temperatures,)
        reference : DataFrame, optional
            Simulated populations; see the class.
        ax, **kwargs
            For :meth:`plot`.

        Returns
        -------
        PopulationsDisplay
        """
        check_is_fitted(estimator)
        temperatures = np.sort(np.atleast_1d(np.asarray(temperature, dtype=np.float64)))
        populations = estimator.state_populations(temperatures)
        unit = _temperature_unit(estimator.estimator_)
        display = cls(
            populations, reference=reference, trained=estimator.temperatures_, temperature_unit=unit
        )
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> Self:
        """Draw lines with bands, simulated points and training temperatures.

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
        self.ax_ = _panels(ax, 1, 1, size=(5.6, 3.6))[0, 0]
        self.figure_ = self.ax_.figure
        self.lines_: list[Any] = []
        self.bands_: list[Any] = []
        self.points_: list[Any] = []
        for colour, (state, rows) in zip(
            _colours(), self.populations.groupby(level="state"), strict=False
        ):
            self._draw_state(state, rows.droplevel("state"), colour, kwargs)
        self._draw_keys()
        unit = f" ({self.temperature_unit or 'reduced units'})"
        self.ax_.set(xlabel=f"temperature{unit}", ylabel="population", ylim=(-0.02, 1.02))
        self.ax_.spines[["top", "right"]].set_visible(False)
        self.ax_.legend(frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5))
        return self

    def _draw_state(
        self, state: Any, rows: pd.DataFrame, colour: str, kwargs: dict[str, Any]
    ) -> None:
        t, p, error = rows.index.to_numpy(float), rows["population"], rows["standard_error"]
        options = {"color": colour, "label": f"state {state}"} | kwargs
        self.lines_ += self.ax_.plot(t, p, **options)
        low, high = (p - error).clip(0, 1), (p + error).clip(0, 1)
        self.bands_.append(self.ax_.fill_between(t, low, high, color=colour, alpha=0.25, lw=0))
        if self.reference is None or state not in self.reference.index.get_level_values("state"):
            return
        points = self.reference.xs(state, level="state")
        t = points.index.to_numpy(float)
        style = {"fmt": "o", "ms": 5, "capsize": 2, "color": colour, "markerfacecolor": "white"}
        self.points_.append(
            self.ax_.errorbar(t, points["population"], points.get("standard_error"), **style)
        )

    def _draw_keys(self) -> None:
        """Mark the training temperatures on the axis; name the simulated points in the legend."""
        grey = {"color": "0.35", "ls": ""}
        if self.points_:
            self.ax_.plot([], [], marker="o", ms=5, mfc="white", label="simulated", **grey)
        if len(self.trained):
            low = np.full(len(self.trained), 0.03)
            style = {"marker": "|", "ms": 14, "mew": 2.5, "label": "trained at"} | grey
            self.ax_.plot(self.trained, low, transform=self.ax_.get_xaxis_transform(), **style)


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
        self.axes_ = _panels(axes, 1, len(self.panels), size=(3.6, 2.9))[0]
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
    """Split records where the stage's name changes or its count starts anew, as an ensemble's."""
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


def _grid(z: FloatArray, n_grid: int) -> tuple[FloatArray, ...]:
    """Return evenly spaced points along each component, over the frames and a margin."""
    if z.shape[1] > 2:
        raise ValueError(
            "Expected an `estimator` with one or two components, which can be drawn, "
            f"got {z.shape[1]}."
        )
    low, high = z.min(axis=0), z.max(axis=0)
    margin = np.where(high > low, MARGIN * (high - low), 0.5)
    return tuple(np.linspace(low - margin, high + margin, n_grid).T)


def _at(reference: Mapping[float, ArrayLike], temperature: float) -> ArrayLike | None:
    """Return the samples of a temperature, whose key may differ by rounding; None without any."""
    return next((z for t, z in reference.items() if np.isclose(t, temperature)), None)


def _histogram_energy(samples: ArrayLike | None, grid: Sequence[FloatArray]) -> FloatArray:
    """Return -log of the samples' histogram over cells around the grid's points, its minimum 0."""
    if samples is None:
        return np.full([len(points) for points in grid], np.nan)
    z = check_latent_points(samples, len(grid), "reference")
    edges = [np.append(x - (x[1] - x[0]) / 2, x[-1] + (x[1] - x[0]) / 2) for x in grid]
    counts = np.histogramdd(z, bins=edges)[0]
    energy = np.full(counts.shape, np.nan)
    energy[counts > 0] = -np.log(counts[counts > 0] / counts.max())
    return energy


def _energy_unit(estimator: LaTFEstimator) -> str:
    constant = estimator.boltzmann_constant
    if constant == 1.0:
        return "reduced units"
    if np.isclose(constant, BOLTZMANN_CONSTANT, rtol=1e-3):
        return "kJ/mol"
    return "energy unit of `boltzmann_constant`"


def _temperature_unit(estimator: LaTFEstimator) -> str:
    return "" if estimator.boltzmann_constant == 1.0 else "K"


def _colours() -> Iterator[str]:
    while True:
        yield from PALETTE


def _panels(
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
