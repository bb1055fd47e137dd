"""Partition functions of states and their derivatives: free energy, energy, entropy, capacity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp, softmax

from latflow._blocks import blocks_of_rows
from latflow._typing import FloatArray, IntArray
from latflow.thermodynamics.pool import Pool
from latflow.thermodynamics.weighting import Snapshot
from latflow.units import Units

LEAST_WEIGHT = 1e-200  # of a state, whose moments are taken without logarithms


@dataclass(frozen=True)
class StateMoments:
    """Partition function of every state at one temperature, and its derivatives in beta.

    With e = du/dbeta, an energy (or enthalpy) up to a constant:

    Attributes
    ----------
    log_partition : ndarray of shape (n_states,)
        log Z, up to a common constant; -inf for a state without weight.
    energy : ndarray of shape (n_states,)
        <e> = -d log Z / dbeta.
    fluctuation : ndarray of shape (n_states,)
        var(e) - <d e / dbeta> = d^2 log Z / dbeta^2.
    pulls : ndarray of shape (n_blocks, n_states, 3)
        Each block's pull on the three; see :meth:`Weighting.pulls`.
    """

    log_partition: FloatArray
    energy: FloatArray
    fluctuation: FloatArray
    pulls: FloatArray

    def populations(self) -> tuple[FloatArray, FloatArray]:
        """Return the populations of all states and their standard errors."""
        population, pull = softmax(self.log_partition), self.pulls[:, :, 0]
        change = population * (pull - (pull @ population)[:, None])
        return np.asarray(population), np.sqrt((change**2).sum(axis=0))

    def merged(self, states: Sequence[int]) -> tuple[FloatArray, FloatArray]:
        """Return (log Z, <e>, fluctuation) of several states together, and the blocks' pulls."""
        chosen = [s for s in states if np.isfinite(self.log_partition[s])]
        if not chosen:
            return np.full(3, np.nan), np.full((len(self.pulls), 3), np.nan)
        log_z, e, v = (x[chosen] for x in (self.log_partition, self.energy, self.fluctuation))
        p, pulls = softmax(log_z), self.pulls[:, chosen]
        mean = p @ e
        wide = v + (e - mean) ** 2
        total = p @ wide
        tilt = np.stack([np.ones_like(e), e - mean, wide - total])  # through the populations
        merged = np.einsum("bs,ks->bk", pulls[:, :, 0] * p, tilt)
        merged[:, 1] += pulls[:, :, 1] @ p
        merged[:, 2] += (pulls[:, :, 2] + 2 * (e - mean) * pulls[:, :, 1]) @ p
        return np.array([logsumexp(log_z), mean, total]), merged


def state_moments(snapshot: Snapshot, states: IntArray, n_states: int) -> StateMoments:
    """Return the partition functions of all states at one temperature, with derivatives.

    Parameters
    ----------
    snapshot : Snapshot
    states : ndarray of int, shape (n_frames,)
    n_states : int

    Returns
    -------
    StateMoments
    """
    whole = None if snapshot.weighting.pool else _whole_moments(snapshot, states, n_states)
    if whole is not None:
        return StateMoments(*whole, np.zeros((0, n_states, 3)))
    log_w, weighting = snapshot.log_weights, snapshot.weighting
    slope, curvature = weighting.route.derivatives(snapshot.beta)
    top = log_w.max()
    moments = np.full((n_states, 3), [-np.inf, np.nan, np.nan])
    n_blocks = 0 if weighting.pool is None else weighting.pool.n_blocks
    pulls = np.zeros((n_blocks, n_states, 3))
    for s in range(n_states):
        rows = np.flatnonzero((states == s) & (log_w > -np.inf))
        if not len(rows):
            continue
        log_z = logsumexp(log_w[rows])
        within, e = np.exp(log_w[rows] - log_z), slope[rows]
        mean = within @ e
        wide = (e - mean) ** 2 - (0.0 if curvature is None else curvature[rows])
        moments[s] = log_z - top, mean, within @ wide
        for k in blocks_of_rows(len(rows), 3) if n_blocks else ():
            direct = [np.ones_like(e[k]), e[k] - mean, wide[k] - moments[s, 2]]
            pulls[:, s] += weighting.pulls(within[k, None] * np.stack(direct, axis=1), rows[k])
    log_partition, energy, fluctuation = moments.T
    return StateMoments(log_partition, energy, fluctuation, pulls)


def _whole_moments(
    snapshot: Snapshot, states: IntArray, n_states: int
) -> tuple[FloatArray, FloatArray, FloatArray] | None:
    """Return the moments of all states at once, or None where the weight of one underflows."""
    weights = snapshot.weights
    total = np.bincount(states, weights, n_states)
    if (total < LEAST_WEIGHT).any():
        return None
    slope, curvature = snapshot.weighting.route.derivatives(snapshot.beta)
    slope = slope - slope.mean()
    mean = np.bincount(states, weights * slope, n_states) / total
    wide = (slope - mean[states]) ** 2
    if curvature is not None:
        wide -= curvature
    fluctuation = np.bincount(states, weights * wide, n_states) / total
    log_partition = np.log(total) - np.log(total.max())
    return log_partition, mean, fluctuation


def populations(
    snapshot: Snapshot, states: IntArray, n_states: int
) -> tuple[FloatArray, FloatArray]:
    """Return the populations of all states and their standard errors, as a statistic."""
    weights = snapshot.weights
    population = np.asarray(np.bincount(states, weights, n_states), np.float64)
    variance = np.zeros(n_states)
    if snapshot.weighting.pool is not None:
        for s in range(n_states):
            pull = weights * ((states == s) - population[s])
            variance[s] = (snapshot.weighting.pulls(pull[:, None]) ** 2).sum()
    return population, np.sqrt(variance)


def block_populations(pool: Pool, states: IntArray, n_states: int) -> tuple[FloatArray, FloatArray]:
    """Return populations of the frames of each temperature by themselves, and standard errors.

    Parameters
    ----------
    pool : Pool
    states : ndarray of int, shape (n_frames,)
    n_states : int

    Returns
    -------
    population, error : ndarray of shape (n_temperatures, n_states)
        NaN for a temperature without weight; errors also for one of a single block.
    """
    blocks, origin = pool.strata
    cells = blocks.astype(np.int64) * n_states + states
    sums = np.bincount(cells, weights=pool.weights, minlength=pool.n_blocks * n_states)
    sums = sums.reshape(-1, n_states)
    with np.errstate(invalid="ignore"):
        of_block = np.eye(len(pool.betas))[origin] / pool.counts
        population = of_block.T @ sums
    pulls = of_block.sum(axis=1)[:, None] * (
        sums - sums.sum(axis=1, keepdims=True) * population[origin]
    )
    squares = pool.centred(pulls) ** 2
    return population, np.sqrt((of_block > 0).T.astype(float) @ squares)


def state_differences(
    moments: StateMoments,
    state: int,
    reference: Sequence[int],
    temperature: float,
    units: Units,
) -> tuple[FloatArray, FloatArray]:
    r"""Return (F, U, S, C) of a state less those of other states together, and standard errors.

    .. math::
        \Delta F = -k_B T \Delta \log Z, \quad \Delta U = \Delta \langle e \rangle, \quad
        \Delta S = (\Delta U - \Delta F) / T, \quad
        \Delta C = \Delta(\mathrm{var}(e) - \langle de/d\beta \rangle) / (k_B T^2)

    At constant pressure U is the enthalpy, F the Gibbs energy and C at constant pressure.

    Parameters
    ----------
    moments : StateMoments
    state : int
    reference : sequence of int
    temperature : float
    units : Units

    Returns
    -------
    values, errors : ndarray of shape (4,)
        NaN where one side has no weight.
    """
    (values, pulls), (others, others_pulls) = moments.merged([state]), moments.merged(reference)
    kt = units.kt(temperature)
    linear = np.array(
        [
            [-kt, 0.0, 0.0],
            [0.0, 1.0, 0.0],
            [units.boltzmann_constant, 1 / temperature, 0.0],
            [0.0, 0.0, 1 / (kt * temperature)],
        ]
    )
    pulls = (pulls - others_pulls) @ linear.T
    return linear @ (values - others), np.sqrt((pulls**2).sum(axis=0))


def heat_capacity(moments: StateMoments, temperature: float, units: Units) -> tuple[float, float]:
    """Return the heat capacity of all states together, and its standard error.

    With potential energies it is the configurational heat capacity. With a learned h it is the
    part carried by what h reads: energy that fluctuates at fixed input, the same for every input,
    shows in no density.
    """
    (_, _, fluctuation), pulls = moments.merged(range(len(moments.energy)))
    unit = units.kt(temperature) * temperature
    return float(fluctuation / unit), float(np.sqrt((pulls[:, 2] ** 2).sum()) / unit)
