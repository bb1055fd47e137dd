"""Simulators with known answers: small systems to try a method on and to judge it by.

Units are reduced throughout: the mass, the length and energy of the potential and
Boltzmann's constant are 1. Fit such data with ``boltzmann_constant=1.0``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import Bunch

from latflow._validation import check_count, check_positive

__all__ = [
    "make_lj7",
    "make_three_hole",
    "three_hole_density",
    "three_hole_populations",
    "three_hole_potential",
]

FloatArray = NDArray[np.float64]
RandomState = int | np.random.Generator | np.random.RandomState | None

_FRAMES_PER_WALKER = 20
_BUMP_HEIGHTS = np.array([3.0, -3.0, -5.0, -5.0])
_BUMP_CENTRES = np.array([[0.0, 1 / 3], [0.0, 5 / 3], [1.0, 0.0], [-1.0, 0.0]])
_QUARTIC_CENTRE = np.array([0.0, 1 / 3])
_HILL = (0.0, 0.519186742)
_SADDLE = (0.617272313, 1.102734525)
_GRID_CELLS = 1000
_THREE_HOLE_BURN_IN = 5

_THREE_HOLE_DESCR = """Overdamped Langevin dynamics in the three-hole potential.

{} walkers, {} frames at temperature {:g} (k_B = 1, unit friction), a frame every {} steps of {:g},
Leimkuhler-Matthews integrator.
Features: x and y. Energies: the potential. Exact answers: `three_hole_density` and
`three_hole_populations`.
"""


def three_hole_potential(x: ArrayLike, y: ArrayLike) -> FloatArray:
    r"""Potential energy of the three-hole potential.

    .. math::

        V(x, y) = 3 e^{-x^2 - (y - 1/3)^2} - 3 e^{-x^2 - (y - 5/3)^2}
                - 5 e^{-(x - 1)^2 - y^2} - 5 e^{-(x + 1)^2 - y^2}
                + 0.2 x^4 + 0.2 (y - 1/3)^4

    Parameters
    ----------
    x, y : array-like
        Coordinates (reduced units), broadcast against each other.

    Returns
    -------
    energy : ndarray
        V(x, y) in units of k_B, of the broadcast shape.

    References
    ----------
    .. [1] Metzner, Schütte, Vanden-Eijnden, "Illustration of transition path theory on a
       collection of simple examples", J. Chem. Phys. 125, 084110 (2006).

    Examples
    --------
    >>> three_hole_potential([0.0, 1.048], [1.537, -0.042]).round(2)
    array([-2.17, -3.99])
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    energy = 0.2 * (x - _QUARTIC_CENTRE[0]) ** 4 + 0.2 * (y - _QUARTIC_CENTRE[1]) ** 4
    for height, (a, b) in zip(_BUMP_HEIGHTS, _BUMP_CENTRES, strict=True):
        energy = energy + height * np.exp(-((x - a) ** 2) - (y - b) ** 2)
    return np.asarray(energy)


def three_hole_density(x: ArrayLike, y: ArrayLike, temperature: float) -> FloatArray:
    r"""Boltzmann density of the three-hole potential, normalised by quadrature.

    .. math:: p(x, y) = e^{-V(x, y) / T} / \int e^{-V / T} \, dx \, dy

    Parameters
    ----------
    x, y : array-like
        Coordinates (reduced units), broadcast against each other.
    temperature : float
        Temperature with k_B = 1, at least 1e-4 (the quadrature does not resolve colder wells).

    Returns
    -------
    density : ndarray
        p(x, y) per unit area, of the broadcast shape.

    Raises
    ------
    ValueError
        If `temperature` is not a finite number of at least 1e-4.

    Examples
    --------
    >>> grid = np.linspace(-5, 5, 201)
    >>> density = three_hole_density(grid[:, None], grid, 1.0)
    >>> float(round(density.sum() * 0.05**2, 6))
    1.0
    """
    temperature = _check_quadrature_temperature(temperature)
    return np.exp(-three_hole_potential(x, y) / temperature - _log_partition(temperature))


def three_hole_populations(
    temperature: float, *, assign: Callable[[FloatArray], ArrayLike] | None = None
) -> FloatArray:
    """Exact equilibrium populations of states of the three-hole potential, by quadrature.

    Without `assign` the states are the upper, left and right hole, in this order. They are
    divided by straight lines: from the central hilltop (0, 0.519) through the two saddle points
    (-0.617, 1.103) and (0.617, 1.103), and by x = 0 below the hilltop. The curved basins of
    steepest descent hold 0.0006 more in the upper hole at T = 1.

    Parameters
    ----------
    temperature : float
        Temperature with k_B = 1, at least 1e-4.
    assign : callable, default=None
        Maps points of shape (n_points, 2) to integer labels >= 0 of shape (n_points,), for
        instance the state of each point according to a fitted model.

    Returns
    -------
    populations : ndarray of shape (n_states,)
        Population of each label from 0 to the largest one; they sum to one. Their error is about
        1e-4 for states with smooth borders.

    Raises
    ------
    ValueError
        If `temperature` is not a finite number of at least 1e-4, or `assign` returns anything
        but one integer >= 0 per point.

    Examples
    --------
    >>> three_hole_populations(1.0).round(3)
    array([0.104, 0.448, 0.448])
    >>> three_hole_populations(1.0, assign=lambda points: (points[:, 0] > 0).astype(int)).round(3)
    array([0.5, 0.5])
    """
    temperature = _check_quadrature_temperature(temperature)
    axis, probability, _ = _boltzmann_grid(temperature)
    points = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    labels = np.asarray((assign or _hole_labels)(points))
    if labels.shape != (len(points),) or labels.dtype.kind not in "iu" or labels.min() < 0:
        raise ValueError(
            f"Expected `assign` to return integers >= 0 of shape ({len(points)},), "
            f"got {labels.dtype} of shape {labels.shape}."
        )
    return np.asarray(np.bincount(labels, weights=probability.ravel()), dtype=np.float64)


def make_three_hole(
    n_frames: int = 50_000,
    temperature: float = 1.0,
    *,
    n_walkers: int = 50,
    time_step: float = 0.005,
    stride: int = 20,
    random_state: RandomState = None,
) -> Bunch:
    r"""Simulate overdamped Langevin dynamics in the three-hole potential.

    The walkers start from the exact Boltzmann density, so the data are stationary from the first
    frame. The Leimkuhler-Matthews integrator

    .. math:: x_{k+1} = x_k - h \nabla V(x_k) + \sqrt{T h / 2} \, (R_k + R_{k+1})

    has configurational averages of second order in the time step h.

    Parameters
    ----------
    n_frames : int, default=50_000
        Total number of frames of all walkers.
    temperature : float, default=1.0
        Temperature with k_B = 1, at least 1e-4.
    n_walkers : int, default=50
        Number of independent trajectories; fewer if each would have less than 20 frames.
    time_step : float, default=0.005
        Step of the integrator (reduced units).
    stride : int, default=20
        Integrator steps from one frame to the next.
    random_state : int, Generator, RandomState or None, default=None
        Source of all randomness; an int gives the same data each time.

    Returns
    -------
    data : Bunch
        ``trajectories`` and ``coordinates`` (lists of arrays (n_i, 2): x, y), ``energies`` (list
        of arrays (n_i,)), ``temperature`` (list of floats, one per trajectory), ``time_step``
        (time between frames), ``feature_names``, ``DESCR``.

    Raises
    ------
    ValueError
        If a count is not a positive integer, if `temperature` or `time_step` is not a positive
        number, or if the dynamics diverge because `time_step` is too large.

    References
    ----------
    .. [1] Leimkuhler and Matthews, "Rational construction of stochastic numerical methods for
       molecular sampling", Appl. Math. Res. Express 2013, 34.

    Examples
    --------
    >>> data = make_three_hole(1000, temperature=1.0, n_walkers=4, random_state=0)
    >>> [trajectory.shape for trajectory in data.trajectories]
    [(250, 2), (250, 2), (250, 2), (250, 2)]
    >>> data.time_step
    0.1
    """
    n_frames, n_walkers = _check_sizes(n_frames, n_walkers)
    temperature = _check_quadrature_temperature(temperature)
    time_step, stride = check_positive(time_step, "time_step"), check_count(stride, "stride")
    generator = np.random.default_rng(random_state)
    positions = _draw_boltzmann(n_walkers, temperature, generator)
    frames = _run_overdamped(
        positions, -(-n_frames // n_walkers), temperature, time_step, stride, generator
    )
    coordinates = _split_walkers(frames, n_frames)
    description = _THREE_HOLE_DESCR.format(n_walkers, n_frames, temperature, stride, time_step)
    return Bunch(
        trajectories=[c.copy() for c in coordinates],
        coordinates=coordinates,
        energies=[three_hole_potential(*c.T) for c in coordinates],
        temperature=[temperature] * n_walkers,
        time_step=stride * time_step,
        feature_names=["x", "y"],
        DESCR=description,
    )


def _check_quadrature_temperature(temperature: object) -> float:
    value = check_positive(temperature, "temperature")
    if value < 1e-4:
        raise ValueError(f"Expected `temperature` to be at least 0.0001, got {temperature!r}.")
    return value


def _half_width(temperature: float) -> float:
    """Half the side of a box around the origin that holds all but exp(-45) of the density."""
    # V > 0.2 x^4 - 11 and the deepest hole is at -4; the margin takes care of y - 1/3.
    return float((5 * (45 * temperature + 7)) ** 0.25 + 1 / 3)


def _boltzmann_grid(temperature: float) -> tuple[FloatArray, FloatArray, float]:
    """Cell centres of one axis, probability of each cell, logarithm of the partition function."""
    half_width = _half_width(temperature)
    cell = 2 * half_width / _GRID_CELLS
    axis = np.asarray(-half_width + cell * (np.arange(_GRID_CELLS) + 0.5), dtype=np.float64)
    energy = three_hole_potential(axis[:, None], axis)
    lowest = float(energy.min())
    weight = np.exp((lowest - energy) / temperature)
    total = float(weight.sum())
    log_partition = float(np.log(total * cell**2)) - lowest / temperature
    return axis, weight / total, log_partition


@lru_cache(maxsize=128)
def _log_partition(temperature: float) -> float:
    return _boltzmann_grid(temperature)[2]


def _hole_labels(points: FloatArray) -> NDArray[np.intp]:
    """Hole of each point: 0 upper, 1 left, 2 right."""
    x, y = points.T
    slope = (_SADDLE[1] - _HILL[1]) / _SADDLE[0]
    side = np.where(x < 0, 1, 2)
    return np.where(y > _HILL[1] + slope * np.abs(x), 0, side)


def _draw_boltzmann(n: int, temperature: float, generator: np.random.Generator) -> FloatArray:
    """Points of shape (2, n) from the Boltzmann density, constant within a grid cell."""
    axis, probability, _ = _boltzmann_grid(temperature)
    cumulative = np.cumsum(probability)
    cells = np.searchsorted(cumulative, generator.random(n) * cumulative[-1], side="right")
    jitter = (generator.random((2, n)) - 0.5) * (axis[1] - axis[0])
    centres = axis[np.stack(np.unravel_index(cells, probability.shape))]
    return np.asarray(centres + jitter)


def _three_hole_gradient(positions: FloatArray) -> FloatArray:
    """Gradient of the potential at positions of shape (2, n_points)."""
    from_bump = positions - _BUMP_CENTRES[:, :, None]
    bump = _BUMP_HEIGHTS[:, None] * np.exp(-np.square(from_bump).sum(axis=1))
    from_centre = positions - _QUARTIC_CENTRE[:, None]
    quartic = 0.8 * from_centre * from_centre * from_centre
    return np.asarray(quartic - 2 * (bump[:, None] * from_bump).sum(axis=0))


@np.errstate(over="ignore", invalid="ignore")
def _run_overdamped(
    positions: FloatArray,
    n_frames: int,
    temperature: float,
    time_step: float,
    stride: int,
    generator: np.random.Generator,
) -> FloatArray:
    """Frames of shape (n_frames, n_walkers, 2), by the Leimkuhler-Matthews integrator."""
    frames = np.empty((n_frames, positions.shape[1], 2))
    amplitude, bound = np.sqrt(temperature * time_step / 2), _half_width(temperature)
    noise = amplitude * generator.standard_normal(positions.shape)
    for k in range(-_THREE_HOLE_BURN_IN, n_frames):
        for _ in range(stride):
            previous, noise = noise, amplitude * generator.standard_normal(positions.shape)
            positions = positions - time_step * _three_hole_gradient(positions) + previous + noise
        _check_not_diverged(positions, bound, time_step)
        if k >= 0:
            frames[k] = positions.T
    return frames


_N_PARTICLES = 7
_PAIR_I, _PAIR_J = np.triu_indices(_N_PARTICLES, 1)
_N_PAIRS = len(_PAIR_I)
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
    random_state: RandomState = None,
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
    n_frames, n_walkers = _check_sizes(n_frames, n_walkers)
    temperature = check_positive(temperature, "temperature")
    time_step, stride = check_positive(time_step, "time_step"), check_count(stride, "stride")
    friction = check_positive(friction, "friction")
    system = _LangevinLJ7(n_walkers, time_step, friction, np.random.default_rng(random_state))
    system.anneal(temperature)
    frames = system.run(-(-n_frames // n_walkers), stride, temperature)
    coordinates = _split_walkers(frames, n_frames)
    settings = n_walkers, n_frames, temperature, stride, time_step, friction
    return Bunch(
        trajectories=[_coordination_numbers(c) for c in coordinates],
        coordinates=coordinates,
        energies=[_lj7_energies(c) for c in coordinates],
        temperature=[temperature] * n_walkers,
        time_step=stride * time_step,
        feature_names=[f"coordination_{i}" for i in range(_N_PARTICLES)],
        DESCR=_LJ7_DESCR.format(*settings),
    )


def _squared_distances(coordinates: FloatArray) -> FloatArray:
    """Squared distances of the 21 pairs, (n_frames, 21)."""
    vectors = coordinates[:, _PAIR_I] - coordinates[:, _PAIR_J]
    return np.asarray(np.square(vectors).sum(axis=-1))


def _coordination_numbers(coordinates: FloatArray) -> FloatArray:
    """Coordination numbers in ascending order, (n_frames, 7)."""
    squared = _squared_distances(coordinates) / _COORDINATION_LENGTH**2
    contact = 1 / (1 + squared**4)
    member = np.zeros((_N_PAIRS, _N_PARTICLES))
    member[np.arange(_N_PAIRS), _PAIR_I] = member[np.arange(_N_PAIRS), _PAIR_J] = 1
    return np.sort(contact @ member, axis=1)


def _lj7_energies(coordinates: FloatArray) -> FloatArray:
    """Potential energy of pairs and wall, (n_frames,)."""
    attraction = _squared_distances(coordinates) ** -3
    centred = coordinates - coordinates.mean(axis=1, keepdims=True)
    beyond = np.maximum(np.linalg.norm(centred, axis=-1) - _WALL_RADIUS, 0)
    pairs = 4 * (attraction * attraction - attraction).sum(axis=1)
    return np.asarray(pairs + 0.5 * _WALL_STIFFNESS * np.square(beyond).sum(axis=1))


class _LJ7Forces:
    """Forces of all walkers at once, times a constant; buffers are reused from call to call.

    Positions have shape (7, 2 * n_walkers): all x, then all y. One matrix maps them to the 21
    pair vectors and the 7 vectors from the centre of mass, its transpose maps forces along those
    vectors back to the particles, so the wall never pushes the centre of mass.
    """

    @np.errstate(over="ignore")
    def __init__(self, n_walkers: int, scale: float = 1.0, dtype: Any = np.float32) -> None:
        matrix = np.zeros((_N_PAIRS + _N_PARTICLES, _N_PARTICLES))
        matrix[np.arange(_N_PAIRS), _PAIR_I] = 1
        matrix[np.arange(_N_PAIRS), _PAIR_J] = -1
        matrix[_N_PAIRS:] = np.eye(_N_PARTICLES) - 1 / _N_PARTICLES
        self._to_vectors = matrix.astype(dtype)
        self._to_particles = np.ascontiguousarray(scale * matrix.T, dtype=dtype)
        self._vectors = np.empty((len(matrix), 2, n_walkers), dtype)
        self._squares = np.empty_like(self._vectors)
        self._strength = np.empty((len(matrix), n_walkers), dtype)
        self._attraction = np.empty((_N_PAIRS, n_walkers), dtype)
        self._forces = np.empty((_N_PARTICLES, 2 * n_walkers), dtype)

    def __call__(self, positions: NDArray[Any]) -> NDArray[Any]:
        """Forces times the scale, in a buffer that the next call overwrites."""
        vectors, squares, strength = self._vectors, self._squares, self._strength
        flat = vectors.reshape(len(vectors), -1)
        np.matmul(self._to_vectors, positions, out=flat)
        np.square(vectors, out=squares)
        np.add(squares[:, 0], squares[:, 1], out=strength)
        self._pair_strength(strength[:_N_PAIRS])
        self._wall_strength(strength[_N_PAIRS:])
        np.multiply(vectors, strength[:, None], out=vectors)
        return np.matmul(self._to_particles, flat, out=self._forces)

    def _pair_strength(self, squared: NDArray[Any]) -> None:
        """Replace r^2 by (48 / r^12 - 24 / r^6) / r^2."""
        attraction = self._attraction
        np.reciprocal(squared, out=squared)
        np.multiply(squared, squared, out=attraction)
        attraction *= squared
        squared *= attraction
        attraction *= 48
        attraction -= 24
        squared *= attraction

    @staticmethod
    def _wall_strength(squared: NDArray[Any]) -> None:
        """Replace r^2 by -k (r - 2) / r, or zero within the wall."""
        np.maximum(squared, _WALL_RADIUS**2, out=squared)
        np.sqrt(squared, out=squared)
        np.divide(_WALL_STIFFNESS * _WALL_RADIUS, squared, out=squared)
        squared -= _WALL_STIFFNESS


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
        self._forces = _LJ7Forces(n_walkers, scale=time_step**2 / 2)
        self._time_step = time_step
        self._memory = np.exp(-friction * time_step)
        self._generator = generator
        self._hottest = 0.0

    def advance(self, n_steps: int, temperature: float) -> None:
        """Make n_steps; every now and then centre the clusters and look for divergence."""
        self._hottest = max(self._hottest, temperature)
        # A thermal excursion into the wall by 12 standard deviations does not happen.
        bound = _WALL_RADIUS + 12 * np.sqrt(self._hottest / _WALL_STIFFNESS)
        for done in range(0, n_steps, _CHECK_INTERVAL):
            self._make_steps(min(_CHECK_INTERVAL, n_steps - done), temperature)
            self.positions -= self.positions.mean(axis=0)
            _check_not_diverged(self.positions, bound, self._time_step)

    @np.errstate(all="ignore")
    def _make_steps(self, n_steps: int, temperature: float) -> None:
        positions, shift, noise = self.positions, self._shift, self._noise
        memory = np.float32(self._memory)
        thermal = np.sqrt(temperature * (1 - self._memory**2))
        amplitude = np.float32(thermal * self._time_step / 2)
        for _ in range(n_steps):
            shift += self._forces(positions)
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
        """Frames of shape (n_frames, n_walkers, 7, 2)."""
        n_walkers = self.positions.shape[1] // 2
        frames = np.empty((n_frames, n_walkers, _N_PARTICLES, 2), np.float32)
        for frame in frames:
            self.advance(stride, temperature)
            frame[:] = self.positions.reshape(_N_PARTICLES, 2, n_walkers).transpose(2, 0, 1)
        return frames


def _check_sizes(n_frames: object, n_walkers: object) -> tuple[int, int]:
    """Checked n_frames, and no more walkers than leave each of them enough frames."""
    frames, walkers = check_count(n_frames, "n_frames"), check_count(n_walkers, "n_walkers")
    return frames, max(1, min(walkers, frames // _FRAMES_PER_WALKER))


def _check_not_diverged(positions: NDArray[Any], bound: float, time_step: float) -> None:
    # Written so that NaN fails too.
    if not (np.abs(positions) <= bound).all():
        raise ValueError(
            f"Expected `time_step` small enough for stable dynamics, got {time_step!r}, "
            f"which is too large: a coordinate left the range of +-{bound:.3g}."
        )


def _split_walkers(frames: NDArray[Any], n_frames: int) -> list[FloatArray]:
    """One float64 array per walker from (time, walker, ...), n_frames in total."""
    n_walkers = frames.shape[1]
    lengths = [n_frames // n_walkers + (w < n_frames % n_walkers) for w in range(n_walkers)]
    return [frames[:n, w].astype(np.float64) for w, n in enumerate(lengths)]
