"""Data, fitted models, quick settings and silenced warnings that several rooms' tests share.

Nobody changes the fitted models of a fixture: they live as long as the session.
"""

import warnings

import numpy as np
import pytest
import sklearn

from latflow import LaTFEstimator, TemperatureExtrapolator
from latflow.datasets import make_three_hole

# programs that tests start in a process of their own, with packages that only `make slow` installs
collect_ignore = ["colvars_in_lammps.py"]

# ------------------------------------------------------------------ quick settings

# in a second or two: enough to tell the three holes apart
QUICK = {
    "lagtime": 5,
    "encoder": "linear",
    "max_iter": 480,
    "boltzmann_constant": 1.0,
    "random_state": 0,
}
# in a tenth of a second: a model that answers, no matter what
TINY = {
    "lagtime": 3,
    "hidden_features": (4,),
    "max_iter": 32,
    "n_refinements": 0,
    "boltzmann_constant": 1.0,
    "random_state": 2,
}
# bootstraps cost twenty fits of h: only tests of error bars ask for them
NO_BOOTSTRAPS = {"n_bootstraps": 0, "random_state": 0}


def quick_latf(**parameters):
    """Return an unfitted LaTFEstimator that tells the three holes apart."""
    return LaTFEstimator(**QUICK | parameters)


def quick_extrapolator(estimator=None, **parameters):
    """Return an unfitted extrapolator without bootstraps, its generator trained for 300 steps."""
    settings = NO_BOOTSTRAPS | {"max_iter": 300} | parameters
    return TemperatureExtrapolator(estimator or quick_latf(), **settings)


def tiny_latf(**parameters):
    """Return an unfitted LaTFEstimator for tests that ask nothing of its numbers."""
    return LaTFEstimator(**TINY | parameters)


def tiny_extrapolator(estimator=None, **parameters):
    """Return an unfitted extrapolator for tests that ask nothing of its generator."""
    settings = NO_BOOTSTRAPS | {"max_iter": 20} | parameters
    return TemperatureExtrapolator(estimator or tiny_latf(), **settings)


# ------------------------------------------------------------------ silenced warnings

# the `pytestmark` of modules whose fits are too short, or whose data too few, to settle
UNSETTLED = [
    pytest.mark.filterwarnings("ignore:Only one metastable state:UserWarning"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]


def fit_quietly(model, X, **metadata):
    """Fit where so little says so: in UserWarnings, of which ConvergenceWarning is one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return model.fit(X, **metadata)


# ------------------------------------------------------------------ data and fitted models


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
def few_frames(three_hole):
    """X of 60 frames of two trajectories at each temperature; temperature and energy by name."""
    some = slice(18, 22)
    X, energy = ([part[:60] for part in three_hole[k][some]] for k in ("trajectories", "energy"))
    return X, {"temperature": three_hole["temperature"][some], "energy": energy}


@pytest.fixture(scope="session")
def latf(three_hole):
    """A LaTFEstimator fitted on both temperatures."""
    return quick_latf().fit(three_hole["trajectories"], temperature=three_hole["temperature"])


@pytest.fixture(scope="session")
def extrapolator(three_hole):
    """A TemperatureExtrapolator by enthalpy, fitted on both temperatures, without bootstraps."""
    model = quick_extrapolator()
    return model.fit(three_hole["trajectories"], temperature=three_hole["temperature"])


@pytest.fixture
def routing():
    """scikit-learn's metadata routing, switched on."""
    with sklearn.config_context(enable_metadata_routing=True):
        yield


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
    model = quick_extrapolator(quick_latf(lagtime=1), n_bootstraps=20, max_iter=200)
    X, metadata = Melting.pooled()
    return Melting, model.fit(X, **metadata)
