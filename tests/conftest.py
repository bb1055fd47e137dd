"""Data and fitted models that several rooms' tests read; nobody changes them."""

import numpy as np
import pytest

from latflow import LaTFEstimator, TemperatureExtrapolator
from latflow.datasets import make_three_hole

QUICK = {
    "lagtime": 5,
    "encoder": "linear",
    "max_iter": 300,
    "boltzmann_constant": 1.0,
    "random_state": 0,
}


@pytest.fixture(scope="session")
def three_hole():
    """Trajectories of the three-hole potential at k_B T = 0.8 and 1.4, 20 at each."""
    cold, hot = (
        make_three_hole(6000, temperature=t, n_walkers=20, random_state=1) for t in (0.8, 1.4)
    )
    return {
        "trajectories": cold.trajectories + hot.trajectories,
        "temperature": cold.temperature + hot.temperature,
        "energy": cold.energies + hot.energies,
    }


@pytest.fixture(scope="session")
def latf(three_hole):
    """A LaTFEstimator fitted on both temperatures."""
    model = LaTFEstimator(**QUICK)
    return model.fit(three_hole["trajectories"], temperature=three_hole["temperature"])


@pytest.fixture(scope="session")
def extrapolator(three_hole):
    """A TemperatureExtrapolator by enthalpy, fitted on both temperatures."""
    model = TemperatureExtrapolator(LaTFEstimator(**QUICK), max_iter=300, random_state=0)
    return model.fit(three_hole["trajectories"], temperature=three_hole["temperature"])


@pytest.fixture
def rng():
    """A numpy Generator with a fixed seed."""
    return np.random.default_rng(0)
