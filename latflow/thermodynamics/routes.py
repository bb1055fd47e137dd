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
    """A route with more heat capacity, that no frames at two temperatures can tell from it.

    u + C (log beta - its secant between the two): a heat capacity C (in k_B), the same at every
    temperature, and no change at the simulated ones.
    """

    route: Route
    heat_capacity: FloatArray
    betas: FloatArray

    def reduced(self, beta: float) -> FloatArray:
        """Return u(n, beta), shape (n_frames,)."""
        first = float(self.betas[0])
        change = float(np.log(beta / first)) - self._secant * (beta - first)
        return self.route.reduced(beta) + change * self.heat_capacity

    def derivatives(self, beta: float) -> tuple[FloatArray, FloatArray | None]:
        """Return du/dbeta and its own derivative."""
        slope, curvature = self.route.derivatives(beta)
        change = -self.heat_capacity / beta**2
        slope = slope + (1 / beta - self._secant) * self.heat_capacity
        return slope, change if curvature is None else curvature + change

    @property
    def _secant(self) -> float:
        return float(np.diff(np.log(self.betas))[0] / np.diff(self.betas)[0])


def reduced_at(route: Route, betas: FloatArray) -> FloatArray:
    """Return u(n, beta_k) at several inverse temperatures, shape (n_frames, n_temperatures)."""
    return np.stack([route.reduced(float(beta)) for beta in betas], axis=1)
