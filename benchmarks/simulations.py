"""What benchmarks simulate: LJ7, the three-hole potential, and slow signals planted in noise."""

from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from scipy.signal import lfilter

from latflow.datasets import make_lj7, make_three_hole

CACHE = Path(__file__).parent / ".cache"
KEYS = ("trajectories", "temperature", "energies")
BLOCK = 50_000
SWITCH = 0.002  # probability that the planted state changes in a frame
DAMPING = 0.99
N_SLOW = 4


@dataclass(frozen=True)
class System:
    """A simulator, the temperatures that train models, and all at which these are judged."""

    make: object
    simulated: tuple[float, ...]
    judged: tuple[float, ...]
    lagtime: int

    def simulate(self, n_frames, first_seed=0, temperatures=None):
        """Return the arguments of fit, of one simulation with a seed of its own a temperature."""
        return pool(
            self.make(n_frames, t, random_state=first_seed + k)
            for k, t in enumerate(temperatures or self.simulated)
        )


SYSTEMS = {
    "lj7": System(make_lj7, (0.2, 0.5), (0.2, 0.3, 0.4, 0.5, 0.6, 0.7), 1),
    "three-hole": System(make_three_hole, (0.7, 1.4), (0.5, 0.7, 1.0, 1.2, 1.4, 2.0), 5),
}


def pool(simulations):
    """Return the trajectories, temperatures and energies of simulations as lists."""
    simulations = list(simulations)
    return {key: list(chain.from_iterable(data[key] for data in simulations)) for key in KEYS}


def lj7_reference(temperature, n_frames):
    """Return features of a long simulation of LJ7, from the cache if they are there."""
    CACHE.mkdir(exist_ok=True)
    path = CACHE / f"lj7_{temperature:g}_{n_frames}.npy"
    if not path.exists():
        data = make_lj7(n_frames, temperature, random_state=round(1000 * temperature))
        np.save(path, np.concatenate(data.trajectories).astype(np.float32))
    return np.load(path).astype(np.float64)


def populations(labels, n_states):
    """Return the fraction of the frames in each state."""
    return np.bincount(labels, minlength=n_states) / len(labels)


def block_error(labels, n_states, n_walkers=250):
    """Return standard errors of populations over the simulation's independent walkers."""
    each = [populations(walker, n_states) for walker in np.array_split(labels, n_walkers)]
    return np.std(each, axis=0, ddof=1) / np.sqrt(n_walkers)


def basins(angles):
    """Return 0 (beta), 1 (alpha) or 2 (phi > 0) of phi and psi in rad, shape (..., 2)."""
    phi, psi = np.moveaxis(np.degrees(angles), -1, 0)
    return np.where(phi > 0, 2, ((psi > -120) & (psi < 30)).astype(int))


def plant(out, *key, temperature=1.0, seed=0):
    """Fill a float32 array with two states and three slow coordinates, mixed into noise.

    `out(*key)` returns the array; each block asks for it anew, so that a memory map stays out of
    the resident memory.
    """
    rng = np.random.default_rng(seed)
    n_frames, n_features = out(*key).shape
    mixing = np.random.default_rng(0).standard_normal((N_SLOW, n_features), np.float32)
    state, slow = 1, np.zeros((N_SLOW - 1, 1))
    for start in range(0, n_frames, BLOCK):
        n = min(BLOCK, n_frames - start)
        states = state * np.cumprod(1 - 2 * (rng.random(n) < SWITCH))
        kicks = rng.standard_normal((N_SLOW - 1, n)) * np.sqrt(temperature * (1 - DAMPING**2))
        coordinates, slow = lfilter([1], [1, -DAMPING], kicks, zi=slow)
        signals = np.column_stack([states, coordinates.T]).astype(np.float32)
        block = out(*key)[start : start + n]
        block[:] = rng.standard_normal(block.shape, np.float32) + signals @ mixing
        state = states[-1]


def planted(n_frames, n_features, temperature=1.0, seed=0):
    """Return a trajectory of `plant` in memory."""
    array = np.empty((n_frames, n_features), np.float32)
    plant(lambda: array, temperature=temperature, seed=seed)
    return array
