"""The three-hole potential: overdamped dynamics with exact answers by quadrature."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from scipy.sparse.linalg import eigsh, splu
from scipy.special import logsumexp
from sklearn.utils import Bunch

from latflow._typing import AnySeed, FloatArray, IntArray
from latflow._validation import check_count, check_positive
from latflow.datasets.walkers import check_not_diverged, check_sizes, split_walkers

_BUMP_HEIGHTS = np.array([3.0, -3.0, -5.0, -5.0])
_BUMP_CENTRES = np.array([[0.0, 1 / 3], [0.0, 5 / 3], [1.0, 0.0], [-1.0, 0.0]])
_QUARTIC_CENTRE = np.array([0.0, 1 / 3])
_HILL = (0.0, 0.519186742)
_SADDLE = (0.617272313, 1.102734525)
_GRID_CELLS = 1000
_GENERATOR_CELLS = 240
_MATRIX_CELLS = 160
_CONTOUR_POINTS = 12  # error of the exponential 3e-6, far below that of the cells
_REACHED = 30.0  # k_B T above the minimum beyond which the generator has no cells
_HELD = 45.0  # k_B T above zero, beyond which neither the grid nor the dynamics reaches
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
    temperature = _check_temperature(temperature, 1e-4)
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
    temperature = _check_temperature(temperature, 1e-4)
    axis, probability, _ = _boltzmann_grid(temperature)
    points = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    labels = _labels_of(assign, points)
    return np.asarray(np.bincount(labels, weights=probability.ravel()), dtype=np.float64)


def three_hole_timescales(temperature: float, n_timescales: int = 2) -> FloatArray:
    r"""Relaxation times of the overdamped dynamics in the three-hole potential.

    The negative inverse eigenvalues of the generator :math:`T \Delta - \nabla V \cdot \nabla`,
    discretised on 240 x 240 cells by the square-root approximation, whose rates between neighbours
    are :math:`T / h^2 \sqrt{p_j / p_i}`.

    Parameters
    ----------
    temperature : float
        Temperature with k_B = 1, at least 0.1.
    n_timescales : int, default=2
        How many, the slowest first.

    Returns
    -------
    timescales : ndarray of shape (n_timescales,)
        In the unit of time of `make_three_hole` (unit friction); good to about 0.1 % at T = 1.

    Raises
    ------
    ValueError
        If `temperature` is below 0.1, where barriers are too many k_B T high for the grid, or
        `n_timescales` is not a positive integer.

    References
    ----------
    .. [1] Lie, Fackeldey, Weber, "A square root approximation of transition rates for a Markov
       state model", SIAM J. Matrix Anal. Appl. 34, 738 (2013).

    Examples
    --------
    >>> three_hole_timescales(1.0).round(1)
    array([2.5, 0.8])
    """
    temperature = _check_temperature(temperature, 0.1)
    n_timescales = check_count(n_timescales, "n_timescales")
    points, half, symmetric = _symmetric_generator(temperature, _GENERATOR_CELLS)
    # the stationary vector itself: a start without randomness needs others
    start = np.exp(-half) * (1 + points.sum(axis=1))
    values = eigsh(symmetric, n_timescales + 1, sigma=-1e-3, v0=start)[0]
    return np.asarray(1 / np.sort(values)[1:])


def three_hole_transition_matrix(
    temperature: float, time: float, *, assign: Callable[[FloatArray], ArrayLike] | None = None
) -> FloatArray:
    r"""Exact transition probabilities between states of the three-hole potential.

    .. math::

        T_{ab}(t) = \frac{\langle 1_a, e^{L t} 1_b \rangle}{\langle 1_a, 1_a \rangle},
        \qquad \langle f, g \rangle = \int f g \, p \, dx \, dy

    what an infinitely long simulation at equilibrium would count, with the generator L of
    :func:`three_hole_timescales` on 160 x 160 cells. The exponential is a contour integral of
    resolvents, at six points of Talbot's parabola.

    Parameters
    ----------
    temperature : float
        Temperature with k_B = 1, at least 0.1.
    time : float
        Time between departure and arrival, in the unit of time of `make_three_hole`.
    assign : callable, default=None
        States, as for :func:`three_hole_populations`.

    Returns
    -------
    transition_matrix : ndarray of shape (n_states, n_states)
        Rows sum to one. It obeys detailed balance with the populations; good to about 0.5 % at
        T = 1. A state without any cell has a row of NaN.

    Raises
    ------
    ValueError
        If `temperature` is below 0.1, `time` is not a positive number, or `assign` returns
        anything but one integer >= 0 per point.

    References
    ----------
    .. [1] Trefethen, Weideman, Schmelzer, "Talbot quadratures and rational approximations", BIT
       46, 653 (2006).

    Examples
    --------
    >>> three_hole_transition_matrix(1.0, 1.0).round(1)
    array([[0.3, 0.3, 0.3],
           [0.1, 0.8, 0.1],
           [0.1, 0.1, 0.8]])
    """
    temperature, time = _check_temperature(temperature, 0.1), check_positive(time, "time")
    points, half, symmetric = _symmetric_generator(temperature, _MATRIX_CELLS)
    labels = _labels_of(assign, points)
    root = np.exp(half.min() - half)
    indicator = root[:, None] * np.eye(int(labels.max()) + 1)[labels]
    reached = np.zeros_like(indicator)
    angles = np.pi / _CONTOUR_POINTS * np.arange(1, _CONTOUR_POINTS, 2)  # its upper half
    nodes = _CONTOUR_POINTS * (0.1309 - 0.1194 * angles**2 + 0.25j * angles)
    slopes = 0.25 + 0.2388j * angles
    for node, slope in zip(nodes, slopes, strict=True):
        shifted = time * symmetric + node * sparse.identity(len(half))
        solved = splu(shifted.tocsc()).solve(indicator.astype(np.complex128))
        reached += 2 * np.real(np.exp(node) * slope * solved)
    flux = indicator.T @ reached
    with np.errstate(invalid="ignore"):
        return np.asarray(flux / flux.sum(axis=1, keepdims=True))


def make_three_hole(
    n_frames: int = 50_000,
    temperature: float = 1.0,
    *,
    n_walkers: int = 50,
    time_step: float = 0.005,
    stride: int = 20,
    start: ArrayLike | None = None,
    random_state: AnySeed = None,
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
    start : array-like of shape (n_walkers, 2), default=None
        Where the walkers start, five frames before the first that is kept; drawn from the
        equilibrium if not given.
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
    n_frames, n_walkers = check_sizes(n_frames, n_walkers)
    temperature = _check_temperature(temperature, 1e-4)
    time_step, stride = check_positive(time_step, "time_step"), check_count(stride, "stride")
    generator = np.random.default_rng(random_state)
    positions = _draw_boltzmann(n_walkers, temperature, generator)
    if start is not None:
        positions = _check_start(start, n_walkers)
    n_each = -(-n_frames // n_walkers)
    frames = _run_overdamped(positions, n_each, temperature, time_step, stride, generator)
    coordinates = split_walkers(frames, n_frames)
    return Bunch(
        trajectories=[c.copy() for c in coordinates],
        coordinates=coordinates,
        energies=[three_hole_potential(*c.T) for c in coordinates],
        temperature=[temperature] * n_walkers,
        time_step=stride * time_step,
        feature_names=["x", "y"],
        DESCR=_THREE_HOLE_DESCR.format(n_walkers, n_frames, temperature, stride, time_step),
    )


def _check_start(start: ArrayLike, n_walkers: int) -> FloatArray:
    """Return positions of shape (2, n_walkers)."""
    positions = np.asarray(start, dtype=np.float64)
    if positions.shape != (n_walkers, 2) or not np.isfinite(positions).all():
        raise ValueError(
            f"Expected `start` to be finite positions of shape ({n_walkers}, 2), got shape "
            f"{positions.shape}."
        )
    return positions.T.copy()


def _check_temperature(temperature: object, lowest: float) -> float:
    value = check_positive(temperature, "temperature")
    if value < lowest:
        raise ValueError(f"Expected `temperature` to be at least {lowest}, got {temperature!r}.")
    return value


def _labels_of(assign: Callable[[FloatArray], ArrayLike] | None, points: FloatArray) -> IntArray:
    """Return the state of each point, checked."""
    labels = np.asarray((assign or _hole_labels)(points))
    if labels.shape != (len(points),) or labels.dtype.kind not in "iu" or labels.min() < 0:
        raise ValueError(
            f"Expected `assign` to return integers >= 0 of shape ({len(points)},), "
            f"got {labels.dtype} of shape {labels.shape}."
        )
    return labels.astype(np.int64)


def _symmetric_generator(
    temperature: float, n_cells: int
) -> tuple[FloatArray, FloatArray, sparse.csc_matrix]:
    """Return centres of the cells (n, 2), V / (2 T) there, and minus the generator, symmetrised."""
    axis, cell, energy = _grid(temperature, _REACHED, n_cells)
    inside = energy < energy.min() + _REACHED * temperature
    line = sparse.diags([1.0, 1.0], [-1, 1], shape=(n_cells, n_cells))
    rate = temperature / cell**2 * sparse.kronsum(line, line, format="csc")
    rate = rate[inside.ravel()][:, inside.ravel()]
    half = energy[inside] / (2 * temperature)
    root = np.exp(half - half.min())
    symmetric = sparse.diags(root * (rate @ (1 / root))) - rate
    return np.asarray(axis[np.argwhere(inside)]), np.asarray(half), symmetric.tocsc()


def _half_width(temperature: float, reached: float) -> float:
    """Return half the side of a box that holds what is less than `reached` k_B T above 0."""
    # V > 0.2 x^4 - 11 and the deepest hole is at -4; the margin takes care of y - 1/3
    return float((5 * (reached * temperature + 7)) ** 0.25 + 1 / 3)


def _grid(temperature: float, reached: float, n_cells: int) -> tuple[FloatArray, float, FloatArray]:
    """Return cell centres of one axis, the side of a cell, and the energy in all cells."""
    cell = 2 * _half_width(temperature, reached) / n_cells
    axis = np.asarray(cell * (np.arange(n_cells) + 0.5 - n_cells / 2))
    return axis, cell, three_hole_potential(axis[:, None], axis)


def _boltzmann_grid(temperature: float) -> tuple[FloatArray, FloatArray, float]:
    """Return cell centres of one axis, probability of each cell, log of the partition function."""
    axis, cell, energy = _grid(temperature, _HELD, _GRID_CELLS)
    log_weight = -energy / temperature
    log_total = logsumexp(log_weight)
    return axis, np.exp(log_weight - log_total), float(log_total + 2 * np.log(cell))


@lru_cache(maxsize=128)
def _log_partition(temperature: float) -> float:
    return _boltzmann_grid(temperature)[2]


def _hole_labels(points: FloatArray) -> IntArray:
    """Return the hole of each point: 0 upper, 1 left, 2 right."""
    x, y = points.T
    slope = (_SADDLE[1] - _HILL[1]) / _SADDLE[0]
    return np.where(y > _HILL[1] + slope * np.abs(x), 0, np.where(x < 0, 1, 2))


def _draw_boltzmann(n: int, temperature: float, generator: np.random.Generator) -> FloatArray:
    """Return points of shape (2, n) from the Boltzmann density, constant within a grid cell."""
    axis, probability, _ = _boltzmann_grid(temperature)
    cells = generator.choice(probability.size, n, p=probability.ravel())
    jitter = (generator.random((2, n)) - 0.5) * (axis[1] - axis[0])
    centres = axis[np.stack(np.unravel_index(cells, probability.shape))]
    return np.asarray(centres + jitter)


def _three_hole_gradient(positions: FloatArray) -> FloatArray:
    """Return the gradient of the potential at positions of shape (2, n_points)."""
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
    """Return frames of shape (n_frames, n_walkers, 2), by the Leimkuhler-Matthews integrator."""
    frames = np.empty((n_frames, positions.shape[1], 2))
    amplitude, bound = np.sqrt(temperature * time_step / 2), _half_width(temperature, _HELD)
    noise = amplitude * generator.standard_normal(positions.shape)
    for k in range(-_THREE_HOLE_BURN_IN, n_frames):
        for _ in range(stride):
            previous, noise = noise, amplitude * generator.standard_normal(positions.shape)
            positions = positions - time_step * _three_hole_gradient(positions) + previous + noise
        check_not_diverged(positions, bound, time_step)
        if k >= 0:
            frames[k] = positions.T
    return frames
