"""Free-energy surfaces, one panel per temperature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from latflow._validation import check_count, check_latent_points, check_option, import_extra
from latflow.estimators.extrapolator import UNITS, TemperatureExtrapolator
from latflow.estimators.latf import LaTFEstimator
from latflow.plotting.style import PALETTE, energy_unit, panels, temperature_unit

__all__ = ["FreeEnergyDisplay"]

FloatArray = NDArray[np.float64]

MARGIN = 0.05
DEEPEST_IN_KT = 6.0
ABOVE_SCALE = "0.9"
N_DRAWN = 5000  # samples a temperature that tell where a flow's density lies
TAIL = 1e-3
ROWS = ("generated", "simulated")


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
        estimator: LaTFEstimator | TemperatureExtrapolator,
        *,
        temperature: ArrayLike,
        reference: Mapping[float, ArrayLike] | None = None,
        unit: str = "energy",
        n_grid: int = 80,
        vmax: float | None = None,
        axes: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Compute the surfaces of a fitted estimator and draw them.

        Parameters
        ----------
        estimator : LaTFEstimator or TemperatureExtrapolator
            Fitted, with one or two components. The first knows no support: nothing is left white.
        temperature : float or array_like of shape (n_temperatures,)
        reference : dict of float to array_like of shape (n_samples, n_components), optional
            Simulated collective variables per temperature, drawn below as -log of their histogram
            on the same grid.
        unit : {"energy", "kT"}, default="energy"
            "energy" is kJ/mol with the default `boltzmann_constant`.
        n_grid : int, default=80
            Points along each collective variable, over the training frames (of a LaTFEstimator,
            over 99.8 % of what it generates) and a small margin.
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
        check_count(n_grid, "n_grid", minimum=2)
        temperatures = np.atleast_1d(np.asarray(temperature, dtype=np.float64))
        points = _grid(_visited(estimator, temperatures), n_grid)
        inner = estimator if isinstance(estimator, LaTFEstimator) else estimator.estimator_
        kt = inner.boltzmann_constant * temperatures
        scale = kt if unit == "energy" else np.ones_like(kt)
        mesh = np.stack(np.meshgrid(*points, indexing="ij"), axis=-1)
        simulated = None
        if reference is not None:
            found = [_histogram_energy(_at(reference, t), points) for t in temperatures]
            simulated = [energy * factor for energy, factor in zip(found, scale, strict=True)]
        display = cls(
            temperatures=temperatures,
            grid=points,
            generated=[
                factor * _surface(estimator, mesh, float(t))
                for t, factor in zip(temperatures, scale, strict=True)
            ],
            simulated=simulated,
            trained=estimator.temperatures_,
            energy_unit=energy_unit(inner) if unit == "energy" else "k_B T",
            temperature_unit=temperature_unit(inner),
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
        self.axes_ = panels(axes, *shape, size=(2.1, 2.2), sharex=True, sharey=True)
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


def _visited(
    estimator: LaTFEstimator | TemperatureExtrapolator, temperatures: FloatArray
) -> FloatArray:
    """Return collective variables of the training frames, or the range of generated ones."""
    if not isinstance(estimator, LaTFEstimator):
        return estimator.z_
    drawn = [estimator.sample(N_DRAWN, float(t), random_state=0) for t in temperatures]
    return np.asarray(np.quantile(np.concatenate(drawn), [TAIL, 1 - TAIL], axis=0))


def _surface(
    estimator: LaTFEstimator | TemperatureExtrapolator, mesh: FloatArray, temperature: float
) -> FloatArray:
    """Return the free energy in k_B T on a mesh, its minimum 0."""
    if not isinstance(estimator, LaTFEstimator):
        return estimator.free_energy(mesh, temperature, unit="kT")
    flat = mesh.reshape(-1, mesh.shape[-1])
    energy = -estimator.log_density(flat, temperature).reshape(mesh.shape[:-1])
    return np.asarray(energy - energy.min())


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
