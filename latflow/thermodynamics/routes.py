"""Where a frame's reduced energy at any temperature comes from.

Frames simulated at K temperatures are one sample of a mixture. With a reduced energy u(n, beta) of
frame n and N_k frames (or their weights) at temperature k, frame n stands for

    w_n(beta) proportional to omega_n exp(-u(n, beta)) / sum_k N_k exp(f_k - u(n, beta_k))

of the equilibrium at beta. With potential energies this is MBAR (Shirts, Chodera, J. Chem. Phys.
129, 124105, 2008); with a learned h(z) it is the log-linear model in inverse temperature.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from latflow._typing import FloatArray


class Route(Protocol):
    """A reduced energy of every pooled frame at any inverse temperature, up to a constant."""

    def reduced(self, beta: float) -> FloatArray:
        """Return u(n, beta), shape (n_frames,)."""
        ...

    def derivatives(self, beta: float) -> tuple[FloatArray, FloatArray | None]:
        """Return du/dbeta, an energy, and its own derivative where it is not zero."""
        ...


def log_linear_energies(coefficients: ArrayLike, step: ArrayLike) -> FloatArray:
    """Return u = step h + step^2 / 2 c, with step = beta - beta_0.

    Parameters
    ----------
    coefficients : array_like of shape (n_frames, 1) or (n_frames, 2)
        h, in units of energy, and c, in units of energy squared.
    step : float or array_like of shape (n_temperatures,)

    Returns
    -------
    ndarray of shape (n_frames,) or (n_frames, n_temperatures)

    Examples
    --------
    >>> log_linear_energies([[2.0], [3.0]], 0.5).tolist()
    [1.0, 1.5]
    """
    coefficients = np.asarray(coefficients, dtype=np.float64)
    step = np.asarray(step, dtype=np.float64)
    powers = np.stack([step, step**2 / 2])[: coefficients.shape[1]]
    return np.asarray(coefficients @ powers)


@dataclass(frozen=True, eq=False)
class LogLinear:
    """u = (beta - beta_0) h + (beta - beta_0)^2 / 2 c: coefficients (h, c) per frame."""

    coefficients: FloatArray
    beta0: float

    def reduced(self, beta: float) -> FloatArray:
        """Return u(n, beta), shape (n_frames,)."""
        return log_linear_energies(self.coefficients, beta - self.beta0)

    def derivatives(self, beta: float) -> tuple[FloatArray, FloatArray | None]:
        """Return h + (beta - beta_0) c, and c."""
        h, *c = self.coefficients.T
        return (h + (beta - self.beta0) * c[0], c[0]) if c else (h, None)


def curve_functions(
    beta: ArrayLike, betas: FloatArray, order: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    r"""Return the functions of beta that a reduced energy is made of, and their derivatives.

    With beta_0 the mean of the simulated inverse temperatures and x = beta / beta_0 - 1 they are

    .. math::
        P_1 = \beta - \beta_0, \quad P_2 = \beta_0^2 (x - \log(1 + x)), \quad
        P_3 = (\beta - \beta_0)^3 / 6

    an energy that stays, a heat capacity that stays, and one that changes with temperature.

    Parameters
    ----------
    beta : float or array_like of shape (n,)
    betas : ndarray of shape (n_temperatures,)
        Simulated inverse temperatures.
    order : int
        How many functions, at most 3.

    Returns
    -------
    values, slopes, curvatures : ndarray of shape (order, n)

    Examples
    --------
    >>> values, slopes, curvatures = curve_functions(2.0, np.array([1.0, 3.0]), 3)
    >>> slopes.ravel().tolist(), curvatures.ravel().tolist()
    ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0])
    """
    b, middle = np.atleast_1d(np.asarray(beta, dtype=np.float64)), float(np.mean(betas))
    step, x = b - middle, b / middle - 1
    values = [step, middle**2 * (x - np.log1p(x)), step**3 / 6]
    slopes = [np.ones_like(b), middle * x / (1 + x), step**2 / 2]
    curvatures = [np.zeros_like(b), 1 / (1 + x) ** 2, step]
    return np.stack(values[:order]), np.stack(slopes[:order]), np.stack(curvatures[:order])


@dataclass(frozen=True, eq=False)
class Curves:
    """A curve in beta for every frame: u = sum_m a_m P_m(beta); see :func:`curve_functions`.

    Outside of the simulated range the heat capacity of a frame is constant: from the outermost
    simulated temperature on, its curve goes on with the value and the slope that it has there. Up
    to order 2 that is the sum itself.

    Attributes
    ----------
    coefficients : ndarray of shape (n_frames, order)
        a_m, in units of energy to the m.
    betas : ndarray of shape (n_temperatures,)
        Simulated inverse temperatures.
    heat_capacities : ndarray of shape (n_frames,), or None
        Outside, in k_B; needed for order 3.
    """

    coefficients: FloatArray
    betas: FloatArray
    heat_capacities: FloatArray | None = None

    def reduced(self, beta: float) -> FloatArray:
        """Return u(n, beta), shape (n_frames,)."""
        border = self.border(beta)
        values, slopes, _ = self._functions(border)
        u = self.coefficients @ values
        if border != beta and self.heat_capacities is not None:
            y = beta / border - 1
            u = u + (beta - border) * (self.coefficients @ slopes)
            u = u - (y - np.log1p(y)) * self.heat_capacities
        return np.asarray(u)

    def derivatives(self, beta: float) -> tuple[FloatArray, FloatArray | None]:
        """Return du/dbeta, an energy, and its own derivative where it is not zero."""
        border = self.border(beta)
        _, slopes, curvatures = self._functions(border)
        slope, order = self.coefficients @ slopes, self.coefficients.shape[1]
        if border == beta or self.heat_capacities is None:
            return slope, np.asarray(self.coefficients @ curvatures) if order > 1 else None
        change = (1 / beta - 1 / border) * self.heat_capacities
        return slope + change, -self.heat_capacities / beta**2

    def single(self) -> Curves:
        """Return the same curves in single precision."""
        outside = self.heat_capacities
        return Curves(
            self.coefficients.astype(np.float32),
            self.betas,
            None if outside is None else outside.astype(np.float32),
        )

    def border(self, beta: float) -> float:
        """Return the inverse temperature up to which the sum holds, on the way to `beta`."""
        if self.heat_capacities is None:
            return beta
        return float(np.clip(beta, self.betas.min(), self.betas.max()))

    def _functions(self, beta: float) -> tuple[FloatArray, FloatArray, FloatArray]:
        order = self.coefficients.shape[1]
        values, slopes, curvatures = curve_functions(beta, self.betas, order)
        return values[:, 0], slopes[:, 0], curvatures[:, 0]


@dataclass(frozen=True, eq=False)
class Bent:
    """Curves whose heat capacity goes on outside as it is at the border, where it has a kink."""

    route: Curves

    def reduced(self, beta: float) -> FloatArray:
        """Return u(n, beta), shape (n_frames,)."""
        border, kink = self._kink(beta)
        y = beta / border - 1
        return np.asarray(self.route.reduced(beta) - (y - np.log1p(y)) * kink)

    def derivatives(self, beta: float) -> tuple[FloatArray, FloatArray | None]:
        """Return du/dbeta and its own derivative."""
        slope, curvature = self.route.derivatives(beta)
        border, kink = self._kink(beta)
        if border == beta:
            return slope, curvature
        change = -kink / beta**2
        total = change if curvature is None else curvature + change
        return slope + (1 / beta - 1 / border) * kink, total

    def _kink(self, beta: float) -> tuple[float, FloatArray]:
        """Return the border on the way to `beta`, and how much heat capacity is lost there."""
        border = self.route.border(beta)
        inside = self.route.derivatives(border)[1]
        if border == beta or inside is None or self.route.heat_capacities is None:
            return border, np.zeros(len(self.route.coefficients))
        return border, -inside * border**2 - self.route.heat_capacities


@dataclass(frozen=True, eq=False)
class Energies:
    """u = beta U with a potential energy U per frame: MBAR."""

    energy: FloatArray

    def reduced(self, beta: float) -> FloatArray:
        """Return u(n, beta), shape (n_frames,)."""
        return np.asarray(beta * (self.energy - self.energy.mean()))

    def derivatives(self, beta: float) -> tuple[FloatArray, None]:
        """Return U less its mean over all frames."""
        return self.energy - self.energy.mean(), None


@dataclass(frozen=True, eq=False)
class Curved:
    """A route with more heat capacity, that frames at the simulated temperatures hardly show.

    u + C (log beta - its line through the simulated beta): a heat capacity C (in k_B), the same at
    every temperature. With two temperatures the line is the secant, and nothing changes there.

    Attributes
    ----------
    route : Route
    heat_capacity : ndarray of shape (n_frames,)
        C.
    line : tuple of float
        Slope and level, in beta, of what is subtracted; see :func:`line_of_logarithm`.
    """

    route: Route
    heat_capacity: FloatArray
    line: tuple[float, float]

    def reduced(self, beta: float) -> FloatArray:
        """Return u(n, beta), shape (n_frames,)."""
        slope, level = self.line
        change = float(np.log(beta)) - slope * beta - level
        return self.route.reduced(beta) + change * self.heat_capacity

    def derivatives(self, beta: float) -> tuple[FloatArray, FloatArray | None]:
        """Return du/dbeta and its own derivative."""
        slope, curvature = self.route.derivatives(beta)
        change = -self.heat_capacity / beta**2
        slope = slope + (1 / beta - self.line[0]) * self.heat_capacity
        return slope, change if curvature is None else curvature + change


@dataclass(frozen=True, eq=False)
class Shifted:
    """A route whose curves are shifted by a line in beta, each frame's as much as `shares` says.

    Attributes
    ----------
    route : Route
    shares : ndarray of shape (n_frames,)
    slope, level : float
    """

    route: Route
    shares: FloatArray
    slope: float
    level: float

    def reduced(self, beta: float) -> FloatArray:
        """Return u(n, beta), shape (n_frames,)."""
        return self.route.reduced(beta) + (self.slope * beta + self.level) * self.shares

    def derivatives(self, beta: float) -> tuple[FloatArray, FloatArray | None]:
        """Return du/dbeta and its own derivative."""
        slope, curvature = self.route.derivatives(beta)
        return slope + self.slope * self.shares, curvature


def line_of_logarithm(betas: FloatArray, weights: FloatArray | None = None) -> tuple[float, float]:
    """Return slope and level of the line through log beta at several beta, by least squares.

    Parameters
    ----------
    betas : ndarray of shape (n_temperatures,)
    weights : ndarray of shape (n_temperatures,), optional
        Inverse variances; equal if not given.
    """
    if len(betas) == 1:
        return 1 / float(betas[0]), float(np.log(betas[0])) - 1
    roots = None if weights is None else np.sqrt(weights)
    slope, level = np.polyfit(betas, np.log(betas), 1, w=roots)
    return float(slope), float(level)


def reduced_at(route: Route, betas: FloatArray) -> FloatArray:
    """Return u(n, beta_k) at several inverse temperatures, shape (n_frames, n_temperatures)."""
    return np.stack([route.reduced(float(beta)) for beta in betas], axis=1)
