"""Seven Lennard-Jones particles in two dimensions: Langevin dynamics."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from latflow._typing import AnySeed, FloatArray
from latflow._validation import check_count, check_positive
from latflow.datasets.walkers import check_not_diverged, check_sizes, split_walkers

_N_PARTICLES = 7
_PAIR_I, _PAIR_J = np.triu_indices(_N_PARTICLES, 1)
_N_PAIRS = len(_PAIR_I)
_SIGNS = np.zeros((_N_PAIRS, _N_PARTICLES))  # of the two particles in each pair
_SIGNS[range(_N_PAIRS), _PAIR_I], _SIGNS[range(_N_PAIRS), _PAIR_J] = 1, -1
# To the vectors of pairs and those from the centre of mass
_TO_VECTORS = np.concatenate([_SIGNS, np.eye(_N_PARTICLES) - 1 / _N_PARTICLES])
_WALL_RADIUS, _WALL_STIFFNESS = 2.0, 100.0
_COORDINATION_LENGTH = 1.5
_BURN_IN_TIMES = (20.0, 60.0, 200.0)  # hot, cooling, settling: five relaxation times at T = 0.2
_COOLING_STAGES = 60
_CHECK_INTERVAL = 200

_LJ7_DESCR = """Langevin dynamics of seven Lennard-Jones particles in two dimensions.

{} walkers, {} frames at temperature {:g} (k_B = mass = epsilon = sigma = 1), a frame every {} steps
of {:g}, friction {:g}, BAOAB integrator; a harmonic wall of stiffness 100 acts beyond 2 from the
centre of mass.
Features: the coordination numbers of the particles in ascending order. Energies: pairs and wall.
"""


def make_lj7(
    n_frames: int = 50_000,
    temperature: float = 0.2,
    *,
    n_walkers: int = 250,
    time_step: float = 0.005,
    stride: int = 200,
    friction: float = 0.1,
    random_state: AnySeed = None,
) -> Bunch:
    r"""Simulate seven Lennard-Jones particles in two dimensions.

    The particles, of unit mass, have the potential energy

    .. math:: U = \sum_{i<j} 4 (r_{ij}^{-12} - r_{ij}^{-6})
              + \tfrac{1}{2} 100 \sum_i \max(r_i - 2, 0)^2

    with r_i the distance from the centre of mass. They follow Langevin dynamics (BAOAB
    integrator). The features are the coordination numbers in ascending order,

    .. math:: c_i = \sum_{j \ne i} \frac{1}{1 + (r_{ij} / 1.5)^8}

    which do not change under rotation, translation and exchange of particles. Walkers start as
    hexagons and are annealed before the first frame: 20 time units at T = 1 (or `temperature`,
    if higher), 60 of cooling and 200 at `temperature`. The slowest relaxation takes about 40 time
    units at T = 0.2 and longer below, where the annealing traps some walkers for good.

    Parameters
    ----------
    n_frames : int, default=50_000
        Total number of frames of all walkers.
    temperature : float, default=0.2
        Temperature with k_B = 1.
    n_walkers : int, default=250
        Number of independent trajectories; fewer if each would have less than 20 frames.
    time_step : float, default=0.005
        Step of the integrator (reduced units).
    stride : int, default=200
        Integrator steps from one frame to the next.
    friction : float, default=0.1
        Friction constant (inverse time, reduced units).
    random_state : int, Generator, RandomState or None, default=None
        Source of all randomness; an int gives the same data each time.

    Returns
    -------
    data : Bunch
        ``trajectories`` (list of arrays (n_i, 7): coordination numbers), ``coordinates`` (list of
        arrays (n_i, 7, 2), centre of mass at the origin), ``energies`` (list of arrays (n_i,)),
        ``temperature`` (list of floats, one per trajectory), ``time_step`` (time between frames),
        ``feature_names``, ``DESCR``.

    Raises
    ------
    ValueError
        If a count is not a positive integer, if `temperature`, `time_step` or `friction` is not
        a positive number, or if the dynamics diverge because `time_step` is too large.

    References
    ----------
    .. [1] Leimkuhler and Matthews, "Rational construction of stochastic numerical methods for
       molecular sampling", Appl. Math. Res. Express 2013, 34.

    Examples
    --------
    >>> data = make_lj7(40, temperature=0.5, time_step=0.01, stride=20, random_state=0)
    >>> [trajectory.shape for trajectory in data.trajectories]
    [(20, 7), (20, 7)]
    """
    n_frames, n_walkers = check_sizes(n_frames, n_walkers)
    temperature = check_positive(temperature, "temperature")
    time_step, stride = check_positive(time_step, "time_step"), check_count(stride, "stride")
    friction = check_positive(friction, "friction")
    system = _LangevinLJ7(n_walkers, time_step, friction, np.random.default_rng(random_state))
    system.anneal(temperature)
    frames = system.run(-(-n_frames // n_walkers), stride, temperature)
    coordinates = split_walkers(frames, n_frames)
    return Bunch(
        trajectories=[_coordination_numbers(c) for c in coordinates],
        coordinates=coordinates,
        energies=[_lj7_energies(c) for c in coordinates],
        temperature=[temperature] * n_walkers,
        time_step=stride * time_step,
        feature_names=[f"coordination_{i}" for i in range(_N_PARTICLES)],
        DESCR=_LJ7_DESCR.format(n_walkers, n_frames, temperature, stride, time_step, friction),
    )


def _squared_distances(coordinates: FloatArray) -> FloatArray:
    """Return squared distances of the 21 pairs, (n_frames, 21)."""
    vectors = coordinates[:, _PAIR_I] - coordinates[:, _PAIR_J]
    return np.asarray(np.square(vectors).sum(axis=-1))


def _coordination_numbers(coordinates: FloatArray) -> FloatArray:
    """Return coordination numbers in ascending order, (n_frames, 7)."""
    squared = _squared_distances(coordinates) / _COORDINATION_LENGTH**2
    return np.sort(1 / (1 + squared**4) @ abs(_SIGNS), axis=1)


def _lj7_energies(coordinates: FloatArray) -> FloatArray:
    """Return the potential energy of pairs and wall, (n_frames,)."""
    attraction = _squared_distances(coordinates) ** -3
    centred = coordinates - coordinates.mean(axis=1, keepdims=True)
    beyond = np.maximum(np.linalg.norm(centred, axis=-1) - _WALL_RADIUS, 0)
    pairs = 4 * (attraction * attraction - attraction).sum(axis=1)
    return np.asarray(pairs + 0.5 * _WALL_STIFFNESS * np.square(beyond).sum(axis=1))


def _lj7_forces(positions: NDArray[Any], scale: float = 1.0) -> NDArray[Any]:
    """Return the forces of all walkers at once, times a constant.

    Positions have shape (7, 2 * n_walkers): all x, then all y. One matrix maps them to the 21
    pair vectors and the 7 vectors from the centre of mass, its transpose maps forces along those
    vectors back to the particles, so the wall never pushes the centre of mass.
    """
    to_vectors = _TO_VECTORS.astype(positions.dtype)
    vectors = (to_vectors @ positions).reshape(len(to_vectors), 2, -1)
    squared = vectors[:, 0] * vectors[:, 0] + vectors[:, 1] * vectors[:, 1]
    inverse = 1 / squared[:_N_PAIRS]
    attraction = inverse * inverse * inverse
    strength = np.empty_like(squared)
    strength[:_N_PAIRS] = inverse * attraction * (48 * attraction - 24)
    beyond = np.sqrt(np.maximum(squared[_N_PAIRS:], _WALL_RADIUS**2))
    strength[_N_PAIRS:] = _WALL_STIFFNESS * _WALL_RADIUS / beyond - _WALL_STIFFNESS
    vectors *= strength[:, None]
    to_particles = np.ascontiguousarray(scale * _TO_VECTORS.T, dtype=positions.dtype)
    return np.asarray(to_particles @ vectors.reshape(len(vectors), -1))


class _LangevinLJ7:
    """BAOAB dynamics of independent walkers in single precision.

    The state is the positions and the displacements of half a step, velocity * time_step / 2. The
    two half kicks between frames that use the same forces are one kick.
    """

    def __init__(
        self, n_walkers: int, time_step: float, friction: float, generator: np.random.Generator
    ) -> None:
        angles = np.arange(6) * np.pi / 3
        ring = 2 ** (1 / 6) * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        hexagon = np.concatenate([np.zeros((1, 2)), ring])
        self.positions = np.repeat(hexagon, n_walkers, axis=1).astype(np.float32)
        self._shift = np.zeros_like(self.positions)
        self._noise = np.empty_like(self.positions)
        self._time_step = time_step
        self._memory = np.exp(-friction * time_step)
        self._generator = generator
        self._hottest = 0.0

    def advance(self, n_steps: int, temperature: float) -> None:
        """Make n_steps; every now and then centre the clusters and look for divergence."""
        self._hottest = max(self._hottest, temperature)
        # a thermal excursion into the wall by 12 standard deviations does not happen.
        bound = _WALL_RADIUS + 12 * np.sqrt(self._hottest / _WALL_STIFFNESS)
        for done in range(0, n_steps, _CHECK_INTERVAL):
            self._make_steps(min(_CHECK_INTERVAL, n_steps - done), temperature)
            self.positions -= self.positions.mean(axis=0)
            check_not_diverged(self.positions, bound, self._time_step)

    @np.errstate(all="ignore")
    def _make_steps(self, n_steps: int, temperature: float) -> None:
        positions, shift, noise = self.positions, self._shift, self._noise
        memory = np.float32(self._memory)
        thermal = np.sqrt(temperature * (1 - self._memory**2))
        amplitude = np.float32(thermal * self._time_step / 2)
        for _ in range(n_steps):
            shift += _lj7_forces(positions, self._time_step**2 / 2)
            positions += shift
            self._generator.standard_normal(out=noise, dtype=np.float32)
            noise *= amplitude
            shift *= memory
            shift += noise
            positions += shift

    def anneal(self, temperature: float) -> None:
        """Forget the initial structure: hot, slowly cooled, then at the temperature."""
        hot, cooling, settling = (round(time / self._time_step) for time in _BURN_IN_TIMES)
        start = max(1.0, temperature)
        self.advance(hot, start)
        for stage in range(1, _COOLING_STAGES + 1):
            stage_temperature = start * (temperature / start) ** (stage / _COOLING_STAGES)
            self.advance(-(-cooling // _COOLING_STAGES), stage_temperature)
        self.advance(settling, temperature)

    def run(self, n_frames: int, stride: int, temperature: float) -> NDArray[np.float32]:
        """Return frames of shape (n_frames, n_walkers, 7, 2)."""
        n_walkers = self.positions.shape[1] // 2
        frames = np.empty((n_frames, n_walkers, _N_PARTICLES, 2), np.float32)
        for frame in frames:
            self.advance(stride, temperature)
            frame[:] = self.positions.reshape(_N_PARTICLES, 2, n_walkers).transpose(2, 0, 1)
        return frames
