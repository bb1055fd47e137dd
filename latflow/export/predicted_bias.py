"""The bias that flattens a predicted free-energy surface, on a grid of collective variables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage
from scipy.interpolate import CubicSpline
from scipy.special import huber

from latflow._typing import FloatArray
from latflow._validation import check_latent_points, check_positive, check_temperature, heard
from latflow.estimators import TemperatureExtrapolator
from latflow.units import BOLTZMANN_CONSTANT

__all__ = ["PredictedBias"]

MOST_POINTS = {1: 1000, 2: 300, 3: 60}  # of the grid along each variable
STEPS_A_SIGMA = 3
SMOOTHING = 1.0  # steps of the grid
EDGE = 12  # grid points, beyond which no spline feels an edge
MARGIN = 4  # sigmas, from the outermost frames to the edge of the grid
LEAST_POPULATION = 0.01  # of a state whose width counts
HEIGHT = 0.2  # k_B T, of Gaussians on top: what they have to fill is the prediction's error
WALL, LINEAR = 5.0, 2.0  # k_B T for each sigma squared; sigmas, from where on walls are linear


@dataclass(frozen=True, eq=False)
class PredictedBias:
    """The negative of a predicted free-energy surface, on a grid of collective variables.

    Attributes
    ----------
    axes : list of ndarray
        Grid of each variable, evenly spaced.
    free_energy : ndarray, one axis per variable
        In kJ/mol, 0 where training frames are densest; NaN where none is.
    energy : ndarray, one axis per variable
        Of the bias, in kJ/mol; positive.
    sigmas : ndarray of shape (n_components,)
        Widths for Gaussians added on top: half of the least standard deviation of a variable within
        a state, with the others held.
    barrier : float
        In kJ/mol, from the lowest minimum to where the minima of all states are connected; for one
        state the highest free energy.
    temperature, kt : float
        K and kJ/mol.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.linspace(-1, 1, 51)
    >>> bias = PredictedBias([x], 10 * (1 - x**2), 10 * x**2, np.array([0.1]), 10.0, 300.0, 2.5)
    >>> bias.at([[0.5], [7.0]]).round(3)
    array([ 2.5, 10. ])
    """

    axes: list[FloatArray]
    free_energy: FloatArray
    energy: FloatArray
    sigmas: FloatArray
    barrier: float
    temperature: float
    kt: float

    @classmethod
    def of(
        cls, model: TemperatureExtrapolator, temperature: float, *, cap: float | None = None
    ) -> Self:
        """Return the bias that flattens a model's surface at a temperature.

        Parameters
        ----------
        model : TemperatureExtrapolator
            Fitted with temperatures in K, of one to three collective variables.
        temperature : float
            Of the simulation to bias, in K.
        cap : float, optional
            Free energy, in kJ/mol above the lowest, up to which the surface is flattened; the
            barrier and 2 k_B T if not given.

        Returns
        -------
        PredictedBias

        Raises
        ------
        TypeError
            If the model is no TemperatureExtrapolator.
        ValueError
            If the model was fitted without temperatures or in other units, its free energies are
            unknown at this temperature, or it has more than three variables.

        Notes
        -----
        Where no training frame is the bias is a wall: harmonic up to 2 sigmas from the nearest
        grid point that has some, linear beyond, of 5 k_B T for each sigma squared. All is smoothed
        by a Gaussian as wide as a step of the grid.
        """
        _check_model(model)
        temperature = check_temperature(temperature)
        sigmas = _widths(model, temperature)
        axes = _grid(model.z_, sigmas)
        points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
        free_energy = _known_free_energies(model, points, temperature)
        kt = model.units_.kt(temperature)
        barrier = max(_barrier(model, points, free_energy), kt)
        cap = barrier + 2 * kt if cap is None else check_positive(cap, "cap")
        step = [axis[1] - axis[0] for axis in axes]
        energy = _energy(free_energy, cap, kt, np.asarray(step) / sigmas)
        return cls(axes, free_energy, energy, sigmas, barrier, temperature, kt)

    @property
    def lower(self) -> list[float]:
        """Where the grid of each variable begins."""
        return [float(axis[0]) for axis in self.axes]

    @property
    def upper(self) -> list[float]:
        """Where the grid of each variable ends."""
        return [float(axis[-1]) for axis in self.axes]

    @property
    def stiffness(self) -> list[float]:
        """Force constants of harmonic walls at the edges of the grid, in kJ/mol."""
        return [float(WALL * self.kt / sigma**2) for sigma in self.sigmas]

    @property
    def bias_factor(self) -> float:
        """Factor of well-tempered metadynamics on top: the barrier in k_B T, at least 2."""
        return max(2.0, self.barrier / self.kt)

    @property
    def slopes(self) -> list[FloatArray]:
        """Derivatives of the energy by each variable, on the grid."""
        return [CubicSpline(axis, self.energy, axis=k)(axis, 1) for k, axis in enumerate(self.axes)]

    def at(self, Z: ArrayLike) -> FloatArray:
        """Return the bias of points of the latent space, in kJ/mol.

        Parameters
        ----------
        Z : array_like of shape (n_points, n_components)

        Returns
        -------
        ndarray of shape (n_points,)
            By cubic splines; beyond the grid that of its edge. A frame of a simulation with this
            bias has the weight exp(bias / k_B T).
        """
        points = check_latent_points(Z, len(self.axes))
        inside = np.clip(points, self.lower, self.upper)
        steps = [axis[1] - axis[0] for axis in self.axes]
        # mirrored through the edges' points, which leaves the slopes there
        energy = np.pad(self.energy, EDGE, mode="reflect", reflect_type="odd")
        places = (inside - self.lower) / steps + EDGE
        return np.asarray(ndimage.map_coordinates(energy, places.T, order=3, mode="nearest"))


def _check_model(model: object) -> None:
    if not isinstance(model, TemperatureExtrapolator):
        raise TypeError(
            "Expected `model` to be a TemperatureExtrapolator, which knows free energies at other "
            f"temperatures, got {type(model).__name__}."
        )
    model.temperature_range_  # noqa: B018  # an error where fit was given no temperatures
    if not np.isclose(model.units_.boltzmann_constant, BOLTZMANN_CONSTANT, rtol=1e-3):
        raise ValueError(
            "Expected a model of temperatures in K and energies in kJ/mol, got one with "
            f"boltzmann_constant={model.units_.boltzmann_constant:g}."
        )
    if model.n_components_ > len(MOST_POINTS):
        raise ValueError(
            f"Expected a model of at most {len(MOST_POINTS)} collective variables, which a grid "
            f"can hold, got {model.n_components_}."
        )


def _widths(model: TemperatureExtrapolator, temperature: float) -> FloatArray:
    """Return half of the least width within a state of each variable, the others as they are.

    Variables may be nearly collinear within a state: standard deviations do not tell how thin its
    ridge is.
    """
    weights = np.ravel(model.ensemble_.at(temperature).weights) if model.ensemble_ else np.empty(0)
    z, states = model.z_, model.predict_latent(model.z_)
    span = z.max(axis=0) - z.min(axis=0)
    widths = [span / 4]
    for state in range(model.n_states_):
        own = weights[states == state]
        if own.sum() >= LEAST_POPULATION:
            covariance = np.atleast_2d(np.cov(z[states == state].T, aweights=own))
            tiny = 1e-6 * np.diag(span**2)
            widths.append(1 / np.sqrt(np.diag(np.linalg.inv(covariance + tiny))))
    return np.asarray(np.maximum(np.min(widths, axis=0) / 2, span / 100))


def _grid(z: FloatArray, sigmas: FloatArray) -> list[FloatArray]:
    low, high = z.min(axis=0) - MARGIN * sigmas, z.max(axis=0) + MARGIN * sigmas
    numbers = np.ceil(STEPS_A_SIGMA * (high - low) / sigmas).astype(int) + 1
    numbers = np.minimum(numbers, MOST_POINTS[z.shape[1]])
    return [np.linspace(*limits) for limits in zip(low, high, numbers.tolist(), strict=True)]


def _known_free_energies(
    model: TemperatureExtrapolator, points: FloatArray, temperature: float
) -> FloatArray:
    """Return free energies in kJ/mol, 0 where frames are densest, NaN where no frame is."""
    with heard():
        free_energy = model.free_energy(points, temperature)
    if np.isnan(free_energy).all():
        reason = model.support(temperature)["reason"].iloc[0]
        raise ValueError(
            f"Expected a temperature whose free energies are known, got {temperature:g}: {reason}."
        )
    # a flow may be denser still in a gap between frames, by far: no place to count from
    return np.maximum(free_energy, 0.0)


def _barrier(model: TemperatureExtrapolator, points: FloatArray, free_energy: FloatArray) -> float:
    """Return the least level below which the minima of all states are connected."""
    surface = np.nan_to_num(free_energy, nan=np.inf)
    highest = float(surface[np.isfinite(surface)].max())
    shape = surface.shape
    states = model.predict_latent(points.reshape(-1, points.shape[-1])).reshape(shape)
    minima = [np.where(states == s, surface, np.inf).ravel().argmin() for s in np.unique(states)]
    minima = [k for k in minima if np.isfinite(surface.flat[k])]
    if len(minima) < 2:
        return highest
    levels = np.unique(surface[np.isfinite(surface)])
    low, high = 0, len(levels) - 1
    while low < high:
        middle = (low + high) // 2
        if _connected(surface, minima, levels[middle]):
            high = middle
        else:
            low = middle + 1
    return float(levels[low])


def _connected(surface: FloatArray, minima: list[np.intp], level: float) -> bool:
    labels, _ = ndimage.label(surface <= level, np.ones((3,) * surface.ndim))
    numbers = labels.ravel()[minima]
    return bool(numbers[0] > 0 and (numbers == numbers[0]).all())


def _energy(free_energy: FloatArray, cap: float, kt: float, step: FloatArray) -> FloatArray:
    """Return the bias on the grid, whose steps are given in sigmas."""
    surface = np.nan_to_num(free_energy, nan=np.inf)
    depth = cap + kt * np.logaddexp(-surface / kt, -cap / kt)
    away = ndimage.distance_transform_edt(np.isnan(free_energy), sampling=step)
    walls = WALL * kt * huber(LINEAR, away)
    # beyond zero by far: PLUMED divides slopes by the energy between grid points
    energy = cap + depth + walls
    return np.asarray(ndimage.gaussian_filter(energy, SMOOTHING, mode="nearest"))
