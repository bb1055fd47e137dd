"""What frames leave unknown: heat capacities that none shows, odds that few crossings tell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from latflow._typing import FloatArray, IntArray
from latflow.thermodynamics.moments import block_populations
from latflow.thermodynamics.pool import Pool
from latflow.thermodynamics.routes import Curves
from latflow.thermodynamics.weighting import Weighting

MANY_CROSSINGS = 100  # into and out of a state: blocks see enough of them
LEAST_LEFT = 0.3  # of a variance: less is the scatter of errors from ten blocks


def hidden_heat_capacities(
    prior: float,
    pool: Pool,
    states: IntArray,
    n_states: int,
    *,
    energy: FloatArray | None = None,
    bootstraps: Sequence[Weighting] = (),
) -> FloatArray:
    """Return one standard deviation of the heat capacity of each state that frames do not show.

    A heat capacity C of a state bends the logarithm of its odds by C log beta. At two temperatures
    a line hides that wholly, and all of the prior is left. From three on, the populations of their
    own frames tell something of C, and at any number of them energies do, by the fluctuation at
    each temperature and by how the mean changes from one to the next: as much as their errors
    allow. What bootstraps already differ by is not counted twice.

    Parameters
    ----------
    prior : float
        Standard deviation of C before anything was simulated, in k_B.
    pool : Pool
    states : ndarray of int, shape (n_frames,)
    n_states : int
    energy : ndarray of shape (n_frames,), optional
        Potential energies.
    bootstraps : sequence of Weighting
        Of :class:`~latflow.thermodynamics.Curves`.

    Returns
    -------
    ndarray of shape (n_states,)
        In k_B.
    """
    precision = np.full(n_states, 1 / prior**2) + _of_populations(pool, states, n_states)
    if energy is not None:
        precision += _of_energies(pool, states, n_states, energy)
    spread = _spread(bootstraps, pool, states, n_states)
    return np.asarray(np.sqrt(np.maximum(0.0, 1 / precision - spread**2)))


def _of_populations(pool: Pool, states: IntArray, n_states: int) -> FloatArray:
    """Return the precision with which own populations tell C: what a line in beta leaves of it."""
    population, error = block_populations(pool, states, n_states)
    with np.errstate(invalid="ignore", divide="ignore"):
        weight = np.nan_to_num((population * (1 - population) / error) ** 2, posinf=0.0)
    return np.array([_residual(pool.betas, np.log(pool.betas), w, 1) for w in weight.T])


def _of_energies(pool: Pool, states: IntArray, n_states: int, energy: FloatArray) -> FloatArray:
    """Return the precision with which energies tell C, against that of the other states.

    A mean energy is C / beta and a constant; a fluctuation is C / beta^2.
    """
    inside = np.eye(n_states)[states]
    means, squares = (
        _differences(pool, inside, values)
        for values in (energy, _fluctuations(pool, inside, energy))
    )
    precision = [_residual(pool.betas, 1 / pool.betas, w, 0) for w in _weights(means)]
    fluctuation = np.array([w @ pool.betas**-4.0 for w in _weights(squares)])
    return np.asarray(precision + fluctuation)


def _fluctuations(pool: Pool, inside: FloatArray, energy: FloatArray) -> FloatArray:
    """Return each frame's squared deviation from the mean energy of its state and temperature."""
    cells = pool.origin * inside.shape[1] + inside.argmax(axis=1)
    total = np.bincount(cells, pool.weights)
    mean = np.bincount(cells, pool.weights * energy) / np.where(total > 0, total, 1)
    return np.asarray((energy - mean[cells]) ** 2)


def _differences(pool: Pool, inside: FloatArray, values: FloatArray) -> FloatArray:
    """Return variances of a state's mean less that of all others: (n_temperatures, n_states).

    Infinite where one of both has no frame there, or there is one block.
    """
    origin, n = pool.strata[1], len(pool.betas)
    weights = pool.weights[:, None]
    variance = np.zeros((n, inside.shape[1]))
    for side in (inside, 1 - inside):
        total = pool.block_sums(weights * side)
        sums = pool.block_sums(weights * side * values[:, None])
        member = np.eye(n)[origin]
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = (member.T @ sums) / (member.T @ total)
            pulls = (sums - total * mean[origin]) / (member.T @ total)[origin]
        variance += np.nan_to_num(member.T @ np.square(pool.centred(pulls)), nan=np.inf)
    return variance


def _weights(variances: FloatArray) -> FloatArray:
    """Return inverse variances by state; 0 for what is not known."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.where(variances > 0, 1 / variances, 0.0).T)


def _residual(x: FloatArray, y: FloatArray, weights: FloatArray, degree: int) -> float:
    """Return the weighted sum of squares that a polynomial in x leaves of y."""
    known = weights > 0
    if known.sum() <= degree + 1:
        return 0.0
    line = np.polyfit(x[known], y[known], degree, w=np.sqrt(weights[known]))
    return float(weights[known] @ (y[known] - np.polyval(line, x[known])) ** 2)


def _spread(
    bootstraps: Sequence[Weighting], pool: Pool, states: IntArray, n_states: int
) -> FloatArray:
    """Return how far the bootstraps' heat capacities of each state scatter, in k_B."""
    if len(bootstraps) < 2:
        return np.zeros(n_states)
    beta = float(pool.betas.mean())
    total = np.bincount(states, pool.weights, n_states)
    capacities = []
    for bootstrap in bootstraps:
        route = bootstrap.route
        curvature = route.derivatives(beta)[1] if isinstance(route, Curves) else None
        capacity = np.zeros(n_states)
        if curvature is not None:
            sums = np.bincount(states, -(beta**2) * pool.weights * curvature, n_states)
            others = (sums.sum() - sums) / np.maximum(total.sum() - total, 1e-300)
            capacity = sums / np.maximum(total, 1e-300) - others
        capacities.append(capacity)
    return np.asarray(np.std(capacities, axis=0, ddof=1))


def few_crossings(
    passages: IntArray, betas: FloatArray, variances: FloatArray, *, sloped: bool = True
) -> FloatArray:
    """Return by how much the log odds of states are unsure for lack of crossings.

    A two-state process that crossed N times in all knows the logarithm of its odds with a variance
    of 4 / N: 2 / N for the weight of each state. Those of each temperature make a line in beta with
    its covariance, whose two principal lines are returned, less what blocks know of it already:
    the share of 4 / N that the own frames of a temperature show as their error.

    Parameters
    ----------
    passages : ndarray of int, shape (n_temperatures, n_states)
        How often each state was entered or left.
    betas : ndarray of shape (n_temperatures,)
    variances : ndarray of shape (n_temperatures, n_states)
        Variances of the log odds of each temperature's own frames, by blocks.
    sloped : bool, default=True
        Whether odds of different temperatures are known by crossings alone; with energies the slope
        of their line is measured, and only its level is in doubt.

    Returns
    -------
    ndarray of shape (n_lines, 3)
        State, slope in beta and level, one standard deviation each.
    """
    lines = []
    middle = betas.mean()
    columns = [np.ones_like(betas)]
    if sloped and len(betas) > 1:
        columns.insert(0, betas - middle)
    design = np.stack(columns, axis=1)
    for s, counts in enumerate(np.maximum(passages, 1).T):
        covariance = np.linalg.inv((design * (counts / 2)[:, None]).T @ design)
        known = np.nan_to_num(variances[:, s] * counts / 4, nan=0.0, posinf=1.0)
        left = 1 - np.minimum(known, 1).mean()
        if left < LEAST_LEFT or counts.sum() >= MANY_CROSSINGS:
            continue
        values, vectors = np.linalg.eigh(covariance * left)
        for value, vector in zip(values, vectors.T, strict=True):
            slope, level = np.sqrt(value) * np.array([0.0, *vector])[-2:]
            lines.append([s, slope, level - slope * middle])
    return np.array(lines).reshape(-1, 3)
