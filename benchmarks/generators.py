"""Potentials in two dimensions whose kinetics are known: generators on a grid, and simulations.

Overdamped dynamics with unit friction and k_B = 1. A generator is discretised on square cells by
the square-root approximation: the rate to a neighbour is T / h^2 sqrt(p_j / p_i).
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import eigsh

from latflow.datasets import make_three_hole, three_hole_potential

REACHED = 25.0  # k_B T above the minimum, beyond which the grid has no cells
FRAME = 0.1  # time between two frames, of both simulators
STEP = 0.0005  # of the integrator in the bent channel; 0.001 makes timescales 2 % long

HEIGHTS = np.array([-9.0, -6.5, -8.0, 0.7])
CENTRES = np.array([[1.0, 0.0], [0.0, 0.5], [-0.5, 1.5], [-1.0, 1.0]])
SHAPES = np.array([[-1.0, 0.0, -9.0], [-1.2, 0.0, -9.0], [-6.0, 10.0, -6.0], [0.7, 0.6, 0.7]])


@dataclass(frozen=True)
class System:
    """A potential in a box, its simulator, and what it is asked."""

    potential: object
    box: tuple[float, float, float, float]
    states: object
    simulate: object
    simulated: tuple[float, ...]
    unseen: tuple[float, ...]


@dataclass(frozen=True)
class Kinetics:
    """Populations of the states, rates between them, and timescales, the slowest first."""

    populations: np.ndarray
    rates: np.ndarray
    timescales: np.ndarray


def three_holes(points):
    """Return the hole of each point: 0 upper, 1 left, 2 right."""
    x, y = points.T
    return np.where(y > 0.52 + 0.945 * np.abs(x), 0, np.where(x < 0, 1, 2))


def channel_ends(points):
    """Return 0 below the bend of the channel and 1 above it."""
    x, y = points.T
    return (y > 0.6 + 0.9 * (x + 0.8)).astype(int)


def channel_potential(x, y):
    """Return a potential in the manner of Müller and Brown: three minima in a bent channel."""
    dx, dy, a, b, c = _bumps(x, y)
    return (HEIGHTS * np.exp(a * dx**2 + b * dx * dy + c * dy**2)).sum(axis=-1)


def channel_gradient(points):
    """Return the gradient at points of shape (n, 2)."""
    dx, dy, a, b, c = _bumps(*points.T)
    bumps = HEIGHTS * np.exp(a * dx**2 + b * dx * dy + c * dy**2)
    slopes = bumps * (2 * a * dx + b * dy), bumps * (b * dx + 2 * c * dy)
    return np.stack([slope.sum(axis=1) for slope in slopes], axis=1)


def _bumps(x, y):
    dx, dy = (np.asarray(v)[..., None] - c for v, c in zip((x, y), CENTRES.T, strict=True))
    return dx, dy, *SHAPES.T


def simulate_three_holes(n_frames, temperature, seed):
    """Return trajectories of 50 walkers."""
    return make_three_hole(n_frames, temperature, random_state=seed).trajectories


def simulate_channel(n_frames, temperature, seed, n_walkers=50):
    """Return trajectories from the Boltzmann density, by the Leimkuhler-Matthews integrator."""
    rng = np.random.default_rng(seed)
    points, root, _ = grid(SYSTEMS["bent-channel"], temperature, 0.02)
    x = points[rng.choice(len(points), n_walkers, p=root**2)]
    frames = np.empty((n_frames // n_walkers, n_walkers, 2))
    noise, amplitude = 0.0, np.sqrt(temperature * STEP / 2)
    for frame in frames:
        for kick in amplitude * rng.standard_normal((round(FRAME / STEP), n_walkers, 2)):
            x = x - STEP * channel_gradient(x) + noise + kick
            noise = kick
        frame[:] = x
    return list(frames.swapaxes(0, 1))


SYSTEMS = {
    "three-hole": System(
        three_hole_potential, (-3.2, 3.2, -3.0, 3.6), three_holes, simulate_three_holes,
        (0.8, 1.4), (0.7, 1.0),
    ),
    "bent-channel": System(
        channel_potential, (-2.5, 1.6, -1.0, 2.6), channel_ends, simulate_channel,
        (0.9, 1.5), (0.8, 1.2),
    ),
}  # fmt: skip


def grid(system, temperature, cell):
    """Return centres of the cells, the roots of their probabilities, minus the generator.

    The generator is symmetrised, so its eigenvectors are orthonormal.
    """
    left, right, bottom, top = system.box
    x, y = np.arange(left, right, cell), np.arange(bottom, top, cell)
    energy = system.potential(x[:, None], y)
    inside = energy < energy.min() + REACHED * temperature
    lines = (sparse.diags([1.0, 1.0], [-1, 1], shape=(len(axis), len(axis))) for axis in (y, x))
    rate = temperature / cell**2 * sparse.kronsum(*lines, format="csr")
    rate = rate[inside.ravel()][:, inside.ravel()]
    root = np.exp((energy.min() - energy[inside]) / (2 * temperature))
    root /= np.linalg.norm(root)
    points = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1)[inside]
    return points, root, (sparse.diags(rate @ root / root) - rate).tocsc()


def exact(system, temperature, cell=0.02):
    """Return the kinetics of the states at a temperature.

    As many of the slowest processes are kept as there are states. With M, the overlaps of their
    eigenvectors with the states' normalised indicators, U = M (M^T M)^(-1/2) and the eigenvalues
    -l, the rates are -p^(-1/2) U l U^T p^(1/2).
    """
    points, root, generator = grid(system, temperature, cell)
    states = system.states(points)
    n_states = states.max() + 1
    start = root * (1 + points.sum(axis=1))  # no eigenvector
    values, vectors = eigsh(generator, n_states, sigma=-1e-3, v0=start)
    indicators = root[:, None] * np.eye(n_states)[states]
    populations = np.square(indicators).sum(axis=0)
    overlap = indicators.T @ vectors / np.sqrt(populations)[:, None]
    squares, turn = np.linalg.eigh(overlap.T @ overlap)
    nearest = overlap @ turn / np.sqrt(squares) @ turn.T / np.sqrt(populations)[:, None]
    rates = -(nearest * values) @ nearest.T * populations
    return Kinetics(populations, rates, 1 / np.sort(values)[1:])
