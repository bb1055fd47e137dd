"""Temperatures, energies and their names: k_B is met here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from latflow._typing import FloatArray

__all__ = ["BOLTZMANN_CONSTANT", "Units", "with_error"]

BOLTZMANN_CONSTANT = 0.00831446261815324  # kJ/mol/K: scipy.constants k * N_A / 1000
BAR_NM3 = 0.0602214076  # kJ/mol: 1e5 Pa * 1e-27 m^3 * N_A / 1000
MISSING = "–"  # noqa: RUF001


@dataclass(frozen=True)
class Units:
    """What temperatures and energies are counted in.

    Parameters
    ----------
    boltzmann_constant : float, default=0.00831446...
        k_B: kJ/mol/K by default, 1.0 for reduced units.

    Examples
    --------
    >>> Units(1.0).beta(2.0)
    0.5
    >>> Units().energy, Units().temperature, Units().entropy
    ('kJ/mol', 'K', 'kJ/mol/K')
    """

    boltzmann_constant: float = BOLTZMANN_CONSTANT

    def kt(self, temperature: float) -> float:
        """Return the thermal energy k_B T."""
        return self.boltzmann_constant * temperature

    def beta(self, temperature: float) -> float:
        """Return the inverse temperature 1 / (k_B T)."""
        return 1 / (self.boltzmann_constant * temperature)

    def betas(self, temperatures: ArrayLike) -> FloatArray:
        """Return the inverse temperature of each temperature."""
        return np.asarray(1 / (self.boltzmann_constant * np.asarray(temperatures, np.float64)))

    def work(self, pressure: ArrayLike, volume: ArrayLike) -> FloatArray:
        """Return pV of a pressure in bar and a volume in nm^3 (reduced units: their product).

        Examples
        --------
        >>> float(Units().work(1.0, 1.0)), float(Units(1.0).work(2.0, 3.0))
        (0.0602214076, 6.0)
        """
        scale = 1.0
        if self.boltzmann_constant != 1.0:
            scale = BAR_NM3 * self.boltzmann_constant / BOLTZMANN_CONSTANT
        return np.asarray(scale * np.asarray(pressure, np.float64) * np.asarray(volume, np.float64))

    @property
    def energy(self) -> str:
        """The name of the unit of energy."""
        if self.boltzmann_constant == 1.0:
            return "reduced units"
        if np.isclose(self.boltzmann_constant, BOLTZMANN_CONSTANT, rtol=1e-3):
            return "kJ/mol"
        return "energy unit of `boltzmann_constant`"

    @property
    def temperature(self) -> str:
        """The name of the unit of temperature; empty for reduced units."""
        return "" if self.boltzmann_constant == 1.0 else "K"

    @property
    def entropy(self) -> str:
        """The name of the unit of entropies and heat capacities."""
        return f"{self.energy}/{self.temperature}" if self.temperature else self.energy

    def named(self, temperature: float) -> str:
        """Return a temperature with its unit, as in ``300 K``."""
        return f"{temperature:g} {self.temperature}".rstrip()


def with_error(value: float, error: float) -> str:
    """Write a number to the digits that its standard error leaves, and the error.

    The error has one digit, or two after a leading one. Without a finite, positive error the value
    has three digits, and what is not known is a dash.

    Examples
    --------
    >>> with_error(0.50321, 0.0123), with_error(338.53, 2.04), with_error(0.5, float("nan"))
    ('0.503 ± 0.012', '339 ± 2', '0.5')
    """
    if not np.isfinite(value):
        return MISSING
    if not (np.isfinite(error) and error > 0):
        return f"{value:.3g}"
    power = int(np.floor(np.log10(error)))
    digits = max(0, -power + (error < 1.95 * 10.0**power))
    return f"{value:.{digits}f} ± {error:.{digits}f}"
