"""The free energies between simulated temperatures: MBAR's equations, on weighted frames."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize

from latflow._blocks import blocks_of_rows
from latflow._typing import FloatArray

FEWEST_SHARED = 1e-2


def free_energy_offsets(
    reduced: ArrayLike,
    counts: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    apart: ArrayLike | None = None,
) -> FloatArray:
    """Solve for the f_k that make every temperature's weights sum to the same.

    The minimum of a convex function (minus the log-likelihood of reverse logistic regression,
    Geyer 1994), found with its gradient and Hessian. With reduced potential energies it is MBAR
    (Shirts, Chodera, J. Chem. Phys. 129, 124105, 2008).

    Parameters
    ----------
    reduced : array_like of shape (n_frames, n_temperatures)
        Reduced energies u_k(n) of all frames at all temperatures.
    counts : array_like of shape (n_temperatures,)
        The weight N_k of the frames simulated at each temperature.
    weights : array_like of shape (n_frames,), optional
        Statistical weight of each frame; equal if not given.
    apart : array_like of shape (n_temperatures,), optional
        What is returned where the temperatures have too little in common; a ValueError if not
        given.

    Returns
    -------
    ndarray of shape (n_temperatures,)
        f_k, the first 0.

    Raises
    ------
    ValueError
        If the temperatures have so little in common that no finite solution is found.

    Examples
    --------
    >>> free_energy_offsets([[0.0, 1.0], [0.0, 1.0]], [1, 1]).tolist()  # u_1 = u_0 + 1
    [0.0, 1.0]
    """
    u = np.asarray(reduced, dtype=np.float64)
    n = np.asarray(counts, dtype=np.float64)
    if len(n) == 1:
        return np.zeros(1)
    problem = _Likelihood(u, n, np.ones(len(u)) if weights is None else np.asarray(weights))
    solution = minimize(
        problem.value_and_gradient, problem.guess(), jac=True, hess=problem.hessian,
        method="trust-exact", options={"gtol": 1e-10, "maxiter": 200},
    )  # fmt: skip
    # the smallest curvature counts the frames that two temperatures have in common
    common = np.linalg.eigvalsh(problem.hessian(solution.x))[0] * len(u)
    converged = np.isfinite(solution.x).all() and np.abs(solution.jac).max() <= 1e-6
    if not converged or common < FEWEST_SHARED:
        if apart is not None:
            return np.asarray(apart, dtype=np.float64)
        raise ValueError(
            "Expected simulated temperatures that visit common regions, got no finite free energy "
            "between them: simulate a temperature in between."
        )
    return np.concatenate([[0.0], solution.x])


def log_total(columns: FloatArray) -> FloatArray:
    """Return the logarithm of the sum of exp over the first of two axes.

    Few long rows are summed many times faster than scipy's logsumexp sums many short ones.

    Examples
    --------
    >>> log_total(np.array([[0.0, 1000.0], [0.0, 0.0]])).round(3).tolist()
    [0.693, 1000.0]
    """
    top = columns.max(axis=0)
    return np.asarray(top + np.log(np.exp(columns - top).sum(axis=0)))


class _Likelihood:
    """Minus the log-likelihood of the temperatures, as a function of f_1, f_2, ... (f_0 = 0)."""

    def __init__(self, u: FloatArray, n: FloatArray, weights: FloatArray) -> None:
        # what all temperatures have in common decides nothing and costs digits
        self.u = np.subtract(u.T, u[:, 0], order="C")
        self.n, self.weights = n, weights
        self.total = float(weights.sum())

    def _logits(self, rows: slice, f: FloatArray) -> FloatArray:
        level = np.log(self.n) + np.concatenate([[0.0], f])
        return np.asarray(level[:, None] - self.u[:, rows])

    def _blocks(self) -> list[slice]:
        return list(blocks_of_rows(len(self.weights), 8 * len(self.n)))

    def guess(self) -> FloatArray:
        return np.asarray(self.u[1:] @ self.weights / self.total)

    def value_and_gradient(self, f: FloatArray) -> tuple[float, FloatArray]:
        value, gradient = 0.0, np.zeros(len(self.n))
        for rows in self._blocks():
            logits, weights = self._logits(rows, f), self.weights[rows]
            total = log_total(logits)
            value += float(weights @ total) / self.total
            gradient += np.exp(logits - total) @ weights / self.total
        fractions = self.n / self.n.sum()
        return value - float(fractions[1:] @ f), (gradient - fractions)[1:]

    def hessian(self, f: FloatArray) -> FloatArray:
        curvature = np.zeros((len(f), len(f)))
        for rows in self._blocks():
            logits, weights = self._logits(rows, f), self.weights[rows]
            p = np.exp(logits - log_total(logits))[1:]
            curvature += np.diag(p @ weights) - (p * weights) @ p.T
        return np.asarray(curvature / self.total)
