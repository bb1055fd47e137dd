"""Whether energies are those of the temperatures that were named: two of them at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from latflow._typing import FloatArray
from latflow.thermodynamics.pool import Pool
from latflow.units import Units, with_error

N_STEPS = 50
TOLERANCE = 1e-10
FEWEST_SHARED = 30.0  # frames that could be of either temperature
FEWEST_BLOCKS = 8  # of each temperature, to tell an error by
MOST_ERRORS = 4.0
MOST_RATIO = 2.0  # beyond it energies are in another unit, or of other frames
LEAST_RATIO = 0.5


@dataclass(frozen=True)
class Gap:
    """How far apart energies say that two temperatures are.

    Attributes
    ----------
    betas : tuple of float
        Inverse temperatures that were named, the colder first.
    ratio : float
        Difference of the inverse temperatures by the energies, over that of those named.
    error : float
        Its standard error.
    swapped : bool
        Whether the colder one has the higher mean energy.
    """

    betas: tuple[float, float]
    ratio: float
    error: float
    swapped: bool

    @property
    def wrong(self) -> bool:
        """Whether one of the temperatures is mistaken."""
        far = abs(self.ratio - 1) > MOST_ERRORS * self.error
        return self.swapped or (far and LEAST_RATIO < self.ratio < MOST_RATIO)

    def sentence(self, units: Units) -> str:
        """Return what a user should know, in one sentence."""
        cold, hot = (units.named(round(float(units.temperature_of(b)), 4)) for b in self.betas)
        if self.swapped:
            return (
                f"Energies at {cold} are higher than at {hot}, which no simulation at equilibrium "
                "shows: are the temperatures, or the files, swapped?"
            )
        return (
            f"By their energies the inverse temperatures of {cold} and {hot} differ by "
            f"{with_error(self.ratio, self.error)} of what they should, where 1 is right: is one "
            f"of the two mistaken ({self._instead(units)})?"
        )

    def _instead(self, units: Units) -> str:
        cold, hot = self.betas
        step = (cold - hot) * self.ratio
        temperatures = [1 / units.beta(1.0) / b for b in (hot + step, cold - step)]
        return ""


def energy_gaps(energy: FloatArray, pool: Pool) -> list[Gap]:
    """Compare each temperature's energies with those of the next.

    At equilibrium ln p(E | beta_2) / p(E | beta_1) = (beta_1 - beta_2) E + const, whatever the
    system (Shirts, J. Chem. Theory Comput. 9, 909, 2013): a logistic regression of the
    temperature on the energy has the slope beta_1 - beta_2. Its error is that of the blocks.
    Pairs whose energies hardly overlap are judged by their means only.

    Parameters
    ----------
    energy : ndarray of shape (n_frames,)
    pool : Pool

    Returns
    -------
    list of Gap
    """
    gaps = []
    for k in np.argsort(-pool.betas)[:-1]:
        pass
    return gaps
