"""Free-energy surfaces, one panel per temperature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from latflow._typing import FloatArray
from latflow._validation import check_latent_points, import_extra
from latflow.plotting import style
from latflow.plotting.style import PALETTE, Line2D, Model, Panels, Style

DEEPEST_IN_KT = 6.0
ABOVE_SCALE = "0.9"
N_DRAWN = 5000  # samples a temperature that tell where a flow's density lies
TAIL = 1e-3
ROWS = ("generated", "reference")
NO_SAMPLES = {"s": "no samples", "ha": "center", "color": "0.5"}


@dataclass(eq=False, repr=False, kw_only=True)
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
    reference : array_like, optional
        The same from elsewhere, such as simulations that the estimator never saw; the panel of a
        temperature whose values are all NaN is empty.
    simulated : array_like, optional
        Temperatures of the simulations that the estimator was fitted on; their panels say so.
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

    temperatures: ArrayLike
    grid: Sequence[FloatArray]
    generated: ArrayLike
    reference: ArrayLike | None = None
    simulated: ArrayLike = ()
    energy_unit: str = "k_B T"
    temperature_unit: str = ""
    vmax: float | None = None

    @classmethod
    def from_estimator(
        cls,
        estimator: Model,
        *,
        temperature: ArrayLike,
        reference: Mapping[float, ArrayLike] | None = None,
        unit: str = "energy",
        n_grid: int = 80,
        vmax: float | None = None,
        axes: Panels = None,
        **kwargs: Any,
    ) -> Self:
        """Compute the surfaces of a fitted estimator and draw them.

        Parameters
        ----------
        estimator : LaTFEstimator or TemperatureExtrapolator
            Fitted, with one or two components. Without an `ensemble_` it knows no support:
            nothing is left white.
        temperature : float or array_like of shape (n_temperatures,)
        reference : dict of float to array_like of shape (n_samples, n_components), optional
            Collective variables per temperature from elsewhere, drawn below as -log of their
            histogram on the same grid.
        unit : {"energy", "kT"}, default="energy"
            "energy" is kJ/mol with the default `boltzmann_constant`.
        n_grid : int, default=80
            Points along each collective variable, over the training frames (without an
            `ensemble_`, over 99.8 % of what the estimator generates) and a small margin.
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
        style.check_drawable(estimator)
        units = estimator.units_
        temperatures = np.atleast_1d(np.asarray(temperature, dtype=np.float64))
        grid = style.grid_over(_visited(estimator, temperatures), n_grid)
        mesh = style.mesh_of(grid)
        scale = [units.kt(float(t)) if unit == "energy" else 1.0 for t in temperatures]
        known = None
        if reference is not None:
            energies = [_histogram_energy(reference, t, grid) for t in temperatures]
            known = [e * factor for e, factor in zip(energies, scale, strict=True)]
        display = cls(
            temperatures=temperatures,
            grid=grid,
            generated=[estimator.free_energy(mesh, float(t), unit=unit) for t in temperatures],
            reference=known,
            simulated=estimator.temperatures_,
            energy_unit=units.energy if unit == "energy" else "k_B T",
            temperature_unit=units.temperature,
            vmax=DEEPEST_IN_KT * max(scale) if vmax is None else vmax,
        )
        return display.plot(axes=axes, **kwargs)

    def plot(self, axes: Panels = None, *, cmap: str = "viridis", **kwargs: Any) -> Self:
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
        two, temperatures = len(self.grid) == 2, np.ravel(self.temperatures)
        shape = (len(self._rows) if two else 1, len(temperatures))
        self.axes_ = style.panels(axes, *shape, size=(2.1, 2.2), sharex=True, sharey=True)
        self.figure_ = self.axes_[0, 0].figure
        self.surfaces_: list[Any] = []
        self.lines_: list[Line2D] = []
        self.colorbar_: Any = None
        if two:
            self._draw_surfaces(cmap, kwargs)
        else:
            self._draw_lines(kwargs)
        for ax, t in zip(self.axes_[0], temperatures, strict=True):
            role = "simulated" if np.isclose(t, self.simulated).any() else ""
            title = f"T = {t:g} {self.temperature_unit}".strip()
            ax.set_title(style.with_unit(title, role), fontsize="medium")
        for ax in self.axes_.flat:
            ax.label_outer()
        return self

    @property
    def _rows(self) -> list[FloatArray]:
        surfaces = (self.generated, self.reference)
        return [np.asarray(values, np.float64) for values in surfaces if values is not None]

    def _scale(self) -> float:
        if self.vmax is not None:
            return self.vmax
        values = self._rows[0]
        return float(values.max(initial=0.0, where=np.isfinite(values))) or 1.0

    def _draw_surfaces(self, cmap: str, kwargs: Style) -> None:
        colours = import_extra("matplotlib", "plot").colormaps[cmap].with_extremes(over=ABOVE_SCALE)
        options = {"cmap": colours, "vmin": 0.0, "vmax": self._scale(), "shading": "nearest"}
        options |= kwargs
        for axes, surfaces, name in zip(self.axes_, self._rows, ROWS, strict=False):
            for ax, surface in zip(axes, surfaces, strict=True):
                ax.set_facecolor("white")
                self.surfaces_.append(ax.pcolormesh(*self.grid, surface.T, **options))
                ax.set_xlabel("CV 1")
                if np.isnan(surface).all():
                    ax.text(0.5, 0.5, transform=ax.transAxes, **NO_SAMPLES)
            axes[0].set_ylabel(f"{name}\nCV 2" if len(self._rows) == 2 else "CV 2")
        self.colorbar_ = self.figure_.colorbar(
            self.surfaces_[0], ax=list(self.axes_.flat), extend="max", pad=0.01, aspect=30
        )
        self.colorbar_.set_label(self._energy_label())

    def _draw_lines(self, kwargs: Style) -> None:
        looks: list[Style] = [{"ls": "-"}, {"ls": "", "marker": ".", "ms": 4}]
        for values, name, colour, look in zip(self._rows, ROWS, PALETTE, looks, strict=False):
            options = {"color": colour, "label": name} | look | kwargs
            for ax, line in zip(self.axes_[0], values, strict=True):
                self.lines_ += ax.plot(self.grid[0], line, **options)
                ax.set(xlabel="CV 1", ylim=(-0.03 * self._scale(), self._scale()))
        self.axes_[0, 0].set_ylabel(self._energy_label())
        if len(self._rows) == 2:
            self.axes_[0, 0].legend(frameon=False, fontsize="small")

    def _energy_label(self) -> str:
        unit = "$k_\\mathrm{B}T$" if self.energy_unit == "k_B T" else self.energy_unit
        return style.with_unit("free energy", unit)


def _visited(estimator: Model, temperatures: FloatArray) -> FloatArray:
    """Return collective variables of the training frames, or the range of generated ones."""
    if estimator.ensemble_ is not None:
        return estimator.z_
    drawn = [estimator.sample(N_DRAWN, float(t), random_state=0) for t in temperatures]
    return np.asarray(np.quantile(np.concatenate(drawn), [TAIL, 1 - TAIL], axis=0))


def _histogram_energy(
    reference: Mapping[float, ArrayLike], temperature: float, grid: Sequence[FloatArray]
) -> FloatArray:
    """Return -log of a histogram of samples over cells around the grid's points, its minimum 0.

    The temperature of the samples may differ by rounding; without any all is NaN.
    """
    samples = next((z for t, z in reference.items() if np.isclose(t, temperature)), None)
    if samples is None:
        return np.full([len(points) for points in grid], np.nan)
    z = check_latent_points(samples, len(grid), "reference")
    edges = [np.append(x - (x[1] - x[0]) / 2, x[-1] + (x[1] - x[0]) / 2) for x in grid]
    counts = np.histogramdd(z, bins=edges)[0]
    return np.asarray(-np.log(np.where(counts > 0, counts, np.nan) / max(counts.max(), 1.0)))
