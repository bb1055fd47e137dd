"""Functions of arrays: weights of pooled frames at any temperature, and the errors of averages.

Frames simulated at K temperatures are one sample of a mixture. With a reduced energy u_k(n) of
frame n at temperature k and N_k frames (or their weights) there, frame n stands for

    w_n(T) proportional to omega_n exp(-u_T(n)) / sum_k N_k exp(f_k - u_k(n))

of the equilibrium at T. With potential energies this is MBAR (Shirts, Chodera, J. Chem. Phys. 129,
124105, 2008); with a learned h(z) it is the log-linear model in inverse temperature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax

__all__ = [
    "Mixture",
    "Pool",
    "Replicate",
    "StateMoments",
    "effective_sample_size",
    "free_energy_offsets",
    "heat_capacity",
    "log_linear_energies",
    "state_differences",
    "state_moments",
]

FEWEST_SHARED = 1e-2
BLOCK = 2**16  # rows

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def log_linear_energies(coefficients: ArrayLike, step: ArrayLike) -> FloatArray:
    """Return u = step h + step^2 / 2 c, with step = beta - beta_0.

    Parameters
    ----------
    coefficients : array_like of shape (n_frames, 1) or (n_frames, 2)
        h, in units of energy, and c, in units of energy squared.
    step : float or array_like of shape (n_temperatures,)

    Returns
    -------
    ndarray of shape (n_frames,) or (n_frames, n_temperatures)

    Examples
    --------
    >>> log_linear_energies([[2.0], [3.0]], 0.5).tolist()
    [1.0, 1.5]
    """
    coefficients = np.asarray(coefficients, dtype=np.float64)
    step = np.asarray(step, dtype=np.float64)
    powers = np.stack([step, step**2 / 2])[: coefficients.shape[1]]
    return np.asarray(coefficients @ powers)


def free_energy_offsets(
    reduced: ArrayLike, counts: ArrayLike, weights: ArrayLike | None = None
) -> FloatArray:
    """Solve for the f_k that make every temperature's weights sum to the same.

    The minimum of a convex function (minus the log-likelihood of reverse logistic regression,
    Geyer 1994), found with its gradient and Hessian.

    Parameters
    ----------
    reduced : array_like of shape (n_frames, n_temperatures)
        u_k(n).
    counts : array_like of shape (n_temperatures,)
        N_k: the weight of the frames simulated at each temperature.
    weights : array_like of shape (n_frames,), optional

    Returns
    -------
    ndarray of shape (n_temperatures,)
        f_k, the first 0.

    Raises
    ------
    ValueError
        If the temperatures share so little that no finite solution is found.

    Examples
    --------
    >>> free_energy_offsets([[0.0, 1.0], [0.0, 1.0]], [1, 1]).tolist()  # u_1 = u_0 + 1
    [0.0, 1.0]
    """
    u = np.asarray(reduced, dtype=np.float64)
    n = np.asarray(counts, dtype=np.float64)
    omega = np.ones(len(u)) if weights is None else np.asarray(weights, dtype=np.float64)
    total, share = omega.sum(), n / n.sum()

    def logits(k: slice, free: FloatArray) -> FloatArray:
        # what all temperatures share decides nothing and costs digits
        return np.asarray(np.log(n) + np.concatenate([[0.0], free]) - (u[k] - u[k, :1]))

    def objective(free: FloatArray) -> tuple[float, FloatArray]:
        value, gradient = 0.0, np.zeros(len(n))
        for k in _blocks(len(u)):
            own = logits(k, free)
            value += float(omega[k] @ logsumexp(own, axis=1)) / total
            gradient += omega[k] @ softmax(own, axis=1) / total
        return value - float(share[1:] @ free), (gradient - share)[1:]

    def hessian(free: FloatArray) -> FloatArray:
        found = np.zeros((len(free), len(free)))
        for k in _blocks(len(u)):
            p = softmax(logits(k, free), axis=1)[:, 1:]
            found += np.diag(omega[k] @ p) - (p * omega[k, None]).T @ p
        return np.asarray(found / total)

    if len(n) == 1:
        return np.zeros(1)
    guess = sum(omega[k] @ (u[k, 1:] - u[k, :1]) for k in _blocks(len(u))) / total
    options = {"gtol": 1e-10, "maxiter": 200}
    found = minimize(
        objective, guess, jac=True, hess=hessian, method="trust-exact", options=options
    )
    # the smallest curvature counts the frames that two temperatures share
    shared = np.linalg.eigvalsh(hessian(found.x))[0] * len(u)
    if not np.isfinite(found.x).all() or np.abs(found.jac).max() > 1e-6 or shared < FEWEST_SHARED:
        raise ValueError(
            "Expected simulated temperatures that visit common regions, got no finite free energy "
            "between them: simulate a temperature in between."
        )
    return np.concatenate([[0.0], found.x])


def _blocks(n_rows: int) -> list[slice]:
    """Cut rows into slices, so that what is made of them on the way stays small."""
    return [slice(k, k + BLOCK) for k in range(0, n_rows, BLOCK)]


def _log(weights: FloatArray) -> FloatArray:
    """Return logarithms, -inf of zero."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(weights))


def effective_sample_size(weights: ArrayLike) -> float:
    """Return Kish's effective sample size (sum w)^2 / sum w^2.

    Examples
    --------
    >>> effective_sample_size([1.0, 1.0, 0.0])
    2.0
    """
    w = np.asarray(weights, dtype=np.float64)
    return float(w.sum() ** 2 / (w**2).sum())


class Pool:
    """Frames of all simulated temperatures as one sample; what every kind of it can tell."""

    n_blocks = 0

    def log_weights(self, reduced: FloatArray) -> FloatArray:
        """Return log w_n for reduced energies u_T(n), not normalised; -inf for no weight."""
        raise NotImplementedError

    def block_pulls(self, pull: FloatArray, rows: IntArray | slice = slice(None)) -> FloatArray:
        """Return each block's pull on some statistics; see :meth:`Mixture.block_pulls`."""
        raise NotImplementedError

    def frame_weights(self, reduced: FloatArray) -> FloatArray:
        """Return w_n for reduced energies u_T(n), shape (n_frames,); they sum to 1."""
        weights = self.log_weights(reduced)
        weights -= weights.max()
        np.exp(weights, out=weights)
        weights /= weights.sum()
        return weights

    def average(
        self, values: FloatArray, frame_weights: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return weighted means of the columns of `values` and their standard errors.

        Parameters
        ----------
        values : ndarray of shape (n_frames, n_values)
        frame_weights : ndarray of shape (n_frames,)
            Normalised.

        Returns
        -------
        mean, error : ndarray of shape (n_values,)
            As :meth:`block_pulls` gives them.
        """
        mean = frame_weights @ values
        pulls = self.block_pulls(frame_weights[:, None] * (values - mean))
        return mean, np.sqrt((pulls**2).sum(axis=0))


@dataclass(frozen=True)
class Replicate(Pool):
    """A pool that gives values alone: its errors are zero. One number a frame is all it holds.

    Attributes
    ----------
    log_base : ndarray of shape (n_frames,)
        Log of the weight over sum_k N_k exp(f_k - u_k(n)); -inf for no weight.
    """

    log_base: FloatArray

    @classmethod
    def build(
        cls, reduced: FloatArray, log_counts_and_offsets: FloatArray, weights: FloatArray
    ) -> Replicate:
        """Build from u_k(n), shape (n_frames, n_temperatures), log N_k + f_k and weights."""
        base = _log(weights)
        for k in _blocks(len(reduced)):
            base[k] -= logsumexp(log_counts_and_offsets - reduced[k], axis=1)
        return cls(base)

    def log_weights(self, reduced: FloatArray) -> FloatArray:
        """Return log w_n for reduced energies u_T(n), not normalised; -inf for no weight."""
        return self.log_base - reduced

    def block_pulls(self, pull: FloatArray, rows: IntArray | slice = slice(None)) -> FloatArray:
        """Return no blocks: shape (0, n_statistics)."""
        return np.empty((0, pull.shape[1]))


@dataclass(frozen=True)
class Mixture(Pool):
    """Frames of all simulated temperatures as one sample.

    Attributes
    ----------
    log_denominator : ndarray of shape (n_frames,)
        log sum_k N_k exp(f_k - u_k(n)).
    membership : ndarray of shape (n_frames, n_temperatures)
        Probability that frame n came from temperature k.
    origin : ndarray of int, shape (n_frames,)
        The temperature it came from.
    weights : ndarray of shape (n_frames,)
    blocks : ndarray of int, shape (n_frames,)
        Blocks taken as independent: trajectories, or long pieces of them.
    """

    log_denominator: FloatArray
    membership: FloatArray
    origin: IntArray
    weights: FloatArray
    blocks: IntArray

    @classmethod
    def build(
        cls,
        reduced: FloatArray,
        offsets: FloatArray,
        origin: IntArray,
        weights: FloatArray,
        blocks: IntArray,
    ) -> Mixture:
        """Build from u_k(n), shape (n_frames, n_temperatures), and the solved f_k."""
        counts = np.bincount(origin, weights=weights, minlength=reduced.shape[1])
        denominator, membership = np.empty(len(reduced)), np.empty_like(reduced)
        for k in _blocks(len(reduced)):
            logits = np.log(counts) + offsets - reduced[k]
            denominator[k] = logsumexp(logits, axis=1)
            membership[k] = np.exp(logits - denominator[k, None])
        return cls(denominator, membership, origin, weights, blocks)

    @property
    def n_blocks(self) -> int:  # type: ignore[override]
        """Blocks of all temperatures."""
        return len(self._strata[1])

    @cached_property
    def _strata(self) -> tuple[IntArray, IntArray]:
        """Block of every frame, numbered within its temperature, and the temperature of each."""
        n_blocks = int(self.blocks.max()) + 1
        keys = self.origin.astype(np.int64) * n_blocks + self.blocks
        found = np.unique(keys)
        return np.searchsorted(found, keys).astype(np.int32), found // n_blocks

    @cached_property
    def _response(self) -> tuple[FloatArray, FloatArray]:
        """How the f_k answer to each block, (n_blocks, K - 1), and their curvature."""
        n = self.membership.shape[1]
        curvature, response = np.zeros((n, n)), np.zeros((self.n_blocks, n))
        for k in _blocks(len(self.weights)):
            member, weights = self.membership[k], self.weights[k, None]
            curvature += np.diag(weights[:, 0] @ member) - member.T @ (weights * member)
            response += self._block_sums(weights * (np.eye(n)[self.origin[k]] - member), k)
        return response[:, 1:], curvature[1:, 1:]

    def log_weights(self, reduced: FloatArray) -> FloatArray:
        """Return log w_n for reduced energies u_T(n), not normalised; -inf for no weight."""
        found = _log(self.weights)
        found -= reduced
        found -= self.log_denominator
        return found

    def block_pulls(self, pull: FloatArray, rows: IntArray | slice = slice(None)) -> FloatArray:
        """Return each block's pull on some statistics: an infinitesimal jackknife over blocks.

        A block pulls directly and through the f_k. The products of two columns, summed over the
        blocks, are the covariances of the statistics. They hold h or the energies fixed.

        Parameters
        ----------
        pull : ndarray of shape (n_rows, n_statistics)
            Change of each statistic with the logarithm of each frame's weight.
        rows : index of frames, optional
            The frames that pull; all if not given.

        Returns
        -------
        ndarray of shape (n_blocks, n_statistics)
            NaN where a temperature has one block only.
        """
        sums = self._block_sums(pull, rows)
        slope = -(self.membership[rows].T @ pull)[1:]
        if len(slope):
            response, curvature = self._response
            sums = sums + response @ np.linalg.lstsq(curvature, slope, rcond=None)[0]
        return self._centred(sums)

    def _centred(self, sums: FloatArray) -> FloatArray:
        """Return sums less their mean over the temperature's blocks, times sqrt(n / (n - 1))."""
        origin = self._strata[1]
        n = np.bincount(origin)[origin][:, None].astype(float)
        means = np.stack([sums[origin == k].mean(axis=0) for k in range(origin.max() + 1)])
        factor = np.sqrt(np.divide(n, n - 1, out=np.full_like(n, np.nan), where=n > 1))
        return np.asarray(factor * (sums - means[origin]))

    def _block_sums(self, values: FloatArray, rows: IntArray | slice) -> FloatArray:
        index, origin = self._strata
        own, n = index[rows], len(origin)
        columns = [np.bincount(own, weights=column, minlength=n) for column in values.T]
        return np.stack(columns, axis=1) if columns else np.empty((n, 0))


# ------------------------------------------------------------------ states


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
        Each block's pull on the three; see :meth:`Mixture.block_pulls`.
    """

    log_partition: FloatArray
    energy: FloatArray
    fluctuation: FloatArray
    pulls: FloatArray

    def populations(self) -> tuple[FloatArray, FloatArray]:
        """Return the populations of all states and their standard errors."""
        share, pull = softmax(self.log_partition), self.pulls[:, :, 0]
        change = share * (pull - (pull @ share)[:, None])
        return np.asarray(share), np.sqrt((change**2).sum(axis=0))

    def merged(self, states: Sequence[int]) -> tuple[FloatArray, FloatArray]:
        """Return (log Z, <e>, fluctuation) of several states together, and the blocks' pulls."""
        chosen = [s for s in states if np.isfinite(self.log_partition[s])]
        if not chosen:
            return np.full(3, np.nan), np.full((len(self.pulls), 3), np.nan)
        log_z, e, v = (x[chosen] for x in (self.log_partition, self.energy, self.fluctuation))
        share, pulls = softmax(log_z), self.pulls[:, chosen]
        mean = share @ e
        wide = v + (e - mean) ** 2
        total = share @ wide
        tilt = np.stack([np.ones_like(e), e - mean, wide - total])  # through the shares
        found = np.einsum("bs,ks->bk", pulls[:, :, 0] * share, tilt)
        found[:, 1] += pulls[:, :, 1] @ share
        found[:, 2] += (pulls[:, :, 2] + 2 * (e - mean) * pulls[:, :, 1]) @ share
        return np.array([logsumexp(log_z), mean, total]), found


def state_moments(
    pool: Pool,
    reduced: FloatArray,
    states: IntArray,
    n_states: int,
    slope: FloatArray,
    curvature: FloatArray | None = None,
) -> StateMoments:
    """Return the partition functions of all states at one temperature, with derivatives.

    Parameters
    ----------
    pool : Mixture or Replicate
    reduced : ndarray of shape (n_frames,)
        u(n) at this temperature.
    states : ndarray of int, shape (n_frames,)
    n_states : int
    slope, curvature : ndarray of shape (n_frames,)
        du/dbeta and its derivative; no curvature is zero.

    Returns
    -------
    StateMoments
    """
    log_w = pool.log_weights(reduced)
    top = log_w.max()
    moments = np.full((n_states, 3), [-np.inf, np.nan, np.nan])
    pulls = np.zeros((pool.n_blocks, n_states, 3))
    for s in range(n_states):
        rows = np.flatnonzero((states == s) & (log_w > -np.inf))
        if not len(rows):
            continue
        log_z = logsumexp(log_w[rows])
        share, e = np.exp(log_w[rows] - log_z), slope[rows]
        mean = share @ e
        wide = (e - mean) ** 2 - (0.0 if curvature is None else curvature[rows])
        moments[s] = log_z - top, mean, share @ wide
        for k in _blocks(len(rows)) if pool.n_blocks else []:
            direct = [np.ones_like(e[k]), e[k] - mean, wide[k] - moments[s, 2]]
            pulls[:, s] += pool.block_pulls(share[k, None] * np.stack(direct, axis=1), rows[k])
    log_partition, energy, fluctuation = moments.T
    return StateMoments(log_partition, energy, fluctuation, pulls)


def state_differences(
    moments: StateMoments,
    state: int,
    reference: Sequence[int],
    temperature: float,
    boltzmann_constant: float,
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
    boltzmann_constant : float

    Returns
    -------
    values, errors : ndarray of shape (4,)
        NaN where one side has no weight.
    """
    (own, own_pulls), (other, other_pulls) = moments.merged([state]), moments.merged(reference)
    kt = boltzmann_constant * temperature
    linear = np.array(
        [
            [-kt, 0.0, 0.0],
            [0.0, 1.0, 0.0],
            [boltzmann_constant, 1 / temperature, 0.0],
            [0.0, 0.0, 1 / (kt * temperature)],
        ]
    )
    pulls = (own_pulls - other_pulls) @ linear.T
    return linear @ (own - other), np.sqrt((pulls**2).sum(axis=0))


def heat_capacity(
    moments: StateMoments, temperature: float, boltzmann_constant: float
) -> tuple[float, float]:
    """Return the heat capacity of all states together, and its standard error.

    With potential energies it is the configurational heat capacity. With a learned h it is the
    part carried by what h reads: energy that fluctuates at fixed input, the same for every input,
    shows in no density.
    """
    (_, _, fluctuation), pulls = moments.merged(range(len(moments.energy)))
    unit = boltzmann_constant * temperature**2
    return float(fluctuation / unit), float(np.sqrt((pulls[:, 2] ** 2).sum()) / unit)
