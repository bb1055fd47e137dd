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


class Melting:
    """A two-state system whose thermodynamics is known: d harmonic coordinates in two wells.

    The folded well is stiff (16), the molten one soft (1) and 3 higher in energy, so that
    Delta U = 3, Delta S = 1.5 ln 16, Delta C_p = 0 and T_m = Delta U / Delta S = 0.721 (k_B = 1).
    """

    energy, entropy = 3.0, 1.5 * np.log(16.0)
    temperature = energy / entropy
    STIFFNESS = np.array([16.0, 1.0])
    DEGREES = 3
    FLIP = 0.05  # of the rarer direction, a frame

    @classmethod
    def molten(cls, temperature):
        """Exact population of the molten well."""
        return 1 / (1 + np.exp((cls.energy - temperature * cls.entropy) / temperature))

    @classmethod
    def simulate(cls, temperature, seed, n_trajectories=20, n_frames=500):
        """Trajectories of (which well, harmonic coordinates) with noise, and potential energies."""
        rng = np.random.default_rng(seed)
        share = cls.molten(temperature)
        up, down = cls.FLIP * np.array([share, 1 - share]) / max(share, 1 - share)
        trajectories, energies = [], []
        for _ in range(n_trajectories):
            state = np.empty(n_frames, dtype=int)
            state[0] = rng.random() < share
            for k, draw in enumerate(rng.random(n_frames - 1), start=1):
                flips = draw < (down if state[k - 1] else up)
                state[k] = state[k - 1] ^ flips
            q = rng.standard_normal((n_frames, cls.DEGREES))
            q *= np.sqrt(temperature / cls.STIFFNESS[state])[:, None]
            well = 2.0 * state - 1 + 0.1 * rng.standard_normal(n_frames)
            trajectories.append(np.column_stack([well, q]))
            energies.append(cls.energy * state + cls.STIFFNESS[state] * (q**2).sum(axis=1) / 2)
        return trajectories, energies

    @classmethod
    def pooled(cls, temperatures=(0.6, 1.0), seed=0, **size):
        """Arguments of fit: X, and temperature and energy by name."""
        parts = [cls.simulate(t, 100 * seed + k, **size) for k, t in enumerate(temperatures)]
        return [trajectory for x, _ in parts for trajectory in x], {
            "temperature": [t for t, (x, _) in zip(temperatures, parts, strict=True) for _ in x],
            "energy": [own for _, u in parts for own in u],
        }


@pytest.fixture(scope="session")
def melting():
    """The system, and a model with bootstraps fitted at T = 0.6 and 1.0 with energies given."""
    latf = LaTFEstimator(**QUICK | {"lagtime": 1})
    model = TemperatureExtrapolator(latf, n_bootstraps=20, max_iter=200, random_state=0)
    X, metadata = Melting.pooled()
    return Melting, model.fit(X, **metadata)
