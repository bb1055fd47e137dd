"""Words for temperatures: their role in the simulations, and how far answers there are trusted."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

CLASSES = ("supported", "extrapolated", "unsupported")  # best first
SUPPORTED, EXTRAPOLATED = 0.9, 0.05  # least overlap
MOST_SPREAD = 0.5


def role_of(temperature: float, simulated: ArrayLike) -> str:
    """Return the role of a temperature: "simulated", "between" simulated ones, or "beyond" them.

    Examples
    --------
    >>> [role_of(t, [300, 450]) for t in (300, 350, 500)]
    ['simulated', 'between', 'beyond']
    """
    temperatures = np.asarray(simulated, dtype=np.float64)
    if np.isclose(temperature, temperatures).any():
        return "simulated"
    return "between" if temperatures.min() < temperature < temperatures.max() else "beyond"


def class_of(role: str, overlap: float, spread: float) -> str:
    """Return how far answers are trusted: "supported", "extrapolated" or "unsupported".

    Parameters
    ----------
    role : str
        As :func:`role_of` gives it.
    overlap : float
        Effective sample size as a fraction of that at the nearest simulated temperature.
    spread : float
        Largest standard deviation over the bootstraps of a population's change from there, as a
        fraction of the largest change; NaN without bootstraps.
    """
    if role != "beyond" and overlap >= SUPPORTED:
        return "supported"
    return "extrapolated" if overlap >= EXTRAPOLATED and not spread > MOST_SPREAD else "unsupported"
