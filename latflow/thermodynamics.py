"""Functions of arrays: weights of pooled frames at any temperature, and the errors of averages.

Frames simulated at K temperatures are one sample of a mixture. With a reduced energy u_k(n) of
frame n at temperature k and N_k frames (or their weights) there, frame n stands for

    w_n(T) proportional to omega_n exp(-u_T(n)) / sum_k N_k exp(f_k - u_k(n))

of the equilibrium at T. With potential energies this is MBAR (Shirts, Chodera, J. Chem. Phys. 129,
124105, 2008); with a learned h(z) it is the log-linear model in inverse temperature.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax

__all__ = [
    "BOLTZMANN_CONSTANT",
    "Mixture",
    "effective_sample_size",
    "free_energy_offsets",
    "log_linear_energies",
]

BOLTZMANN_CONSTANT = 0.00831446261815324  # kJ/mol/K: scipy.constants k * N_A / 1000
FEWEST_SHARED = 1e-2

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
    u = u - u[:, :1]  # what all temperatures share decides nothing and costs digits
    share, logits = n / n.sum(), np.log(n) - u
    omega = omega / omega.sum()

    def objective(free: FloatArray) -> tuple[float, FloatArray]:
        f = np.concatenate([[0.0], free])
        gradient = omega @ softmax(logits + f, axis=1) - share
        return float(omega @ logsumexp(logits + f, axis=1) - share @ f), gradient[1:]

    def hessian(free: FloatArray) -> FloatArray:
        p = softmax(logits + np.concatenate([[0.0], free]), axis=1)[:, 1:]
        return np.asarray(np.diag(omega @ p) - (p * omega[:, None]).T @ p)

    if len(n) == 1:
        return np.zeros(1)
    guess = omega @ (u[:, 1:] - u[:, :1])
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


def effective_sample_size(weights: ArrayLike) -> float:
    """Return Kish's effective sample size (sum w)^2 / sum w^2.

    Examples
    --------
    >>> effective_sample_size([1.0, 1.0, 0.0])
    2.0
    """
    w = np.asarray(weights, dtype=np.float64)
    return float(w.sum() ** 2 / (w**2).sum())


@dataclass(frozen=True)
class Mixture:
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
        logits = np.log(counts) + offsets - reduced
        denominator = np.asarray(logsumexp(logits, axis=1))
        membership = np.exp(logits - denominator[:, None])
        return cls(denominator, membership, origin, weights, blocks)

    def frame_weights(self, reduced: FloatArray) -> FloatArray:
        """Return w_n for reduced energies u_T(n), shape (n_frames,); they sum to 1."""
        with np.errstate(divide="ignore"):
            logits = np.log(self.weights) - reduced - self.log_denominator
        return np.asarray(softmax(logits))

    def average(
        self, values: FloatArray, frame_weights: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return weighted means of the columns of `values` and their standard errors.

        The errors are those of the infinitesimal jackknife over blocks: each block's pull on the
        mean, directly and through the f_k, summed in squares within each simulated temperature.
        They hold h or the energies fixed.

        Parameters
        ----------
        values : ndarray of shape (n_frames, n_values)
        frame_weights : ndarray of shape (n_frames,)
            Normalised.

        Returns
        -------
        mean, error : ndarray of shape (n_values,)
        """
        mean = frame_weights @ values
        pull = frame_weights[:, None] * (values - mean)
        # how the f_k, and through them the mean, answer to each frame
        slope = -(self.membership.T @ pull)[1:]
        weighted = self.weights[:, None] * self.membership
        curvature = np.diag(weighted.sum(axis=0)) - self.membership.T @ weighted
        came_from = np.eye(self.membership.shape[1])[self.origin]
        residual = self.weights[:, None] * (came_from - self.membership)
        if len(slope):
            answer = np.linalg.lstsq(curvature[1:, 1:], slope, rcond=None)[0]
            pull = pull + residual[:, 1:] @ answer
        variance = sum(
            self._block_variance(pull[self.origin == k], self.blocks[self.origin == k])
            for k in range(self.membership.shape[1])
        )
        return mean, np.sqrt(variance)

    @staticmethod
    def _block_variance(pull: FloatArray, blocks: IntArray) -> FloatArray:
        ids = np.unique(blocks, return_inverse=True)[1]
        sums = np.stack([np.bincount(ids, weights=column) for column in pull.T], axis=1)
        n = len(sums)
        if n < 2:
            return np.full(pull.shape[1], np.nan)
        return np.asarray(n / (n - 1) * ((sums - sums.mean(axis=0)) ** 2).sum(axis=0))
