"""Rate matrices in detailed balance, from transition matrices."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import expm
from scipy.optimize import nnls

from latflow._typing import FloatArray
from latflow._validation import check_positive, warn

FASTEST = 1e-3  # eigenvalue: what has decayed further within the lagtime has no measurable rate
MOST_MISSED = 0.02  # of a transition probability, before the user hears of it
ROUNDING = 1e-6  # to which deeptime's estimates obey detailed balance


def rate_matrix(
    transition_matrix: ArrayLike, time: float, *, populations: ArrayLike | None = None
) -> FloatArray:
    r"""Return the reversible rate matrix that is nearest to a transition matrix's logarithm.

    Where the logarithm :math:`K = \ln T(t) / t` is a rate matrix it is returned. Estimated
    matrices often have none: exchange that is slow, or takes a detour, comes out slightly negative.
    Then K is the rate matrix with the same populations, in detailed balance, that minimises

    .. math:: \sum_{kl} \lambda_k \lambda_l
        \left( l_k^\top K r_l - \delta_{kl} \ln(\lambda_k) / t \right)^2,

    with eigenvalues and left and right eigenvectors of T: processes that have decayed within t,
    which T hardly determines, hardly count [1]_. In the fluxes this is a least-squares problem
    without negative unknowns, so the solution is exact.

    Parameters
    ----------
    transition_matrix : array_like of shape (n_states, n_states)
        Transition probabilities, in detailed balance.
    time : float
        Time that the matrix spans; rates are per this unit.
    populations : array_like of shape (n_states,), optional
        The matrix's stationary distribution, computed if not given.

    Returns
    -------
    ndarray of shape (n_states, n_states)
        No negative rate off the diagonal, rows sum to zero.

    Warns
    -----
    UserWarning
        If no rate matrix gives these transition probabilities to within 0.02.

    Raises
    ------
    ValueError
        If the matrix is no transition matrix, or breaks detailed balance.

    References
    ----------
    .. [1] Crommelin, Vanden-Eijnden, "Data-based inference of generators for Markov jump processes
       using convex optimization", Multiscale Model. Simul. 7, 1751 (2009).

    Examples
    --------
    >>> rate_matrix([[0.9, 0.1], [0.3, 0.7]], 2.0).round(3)
    array([[-0.064,  0.064],
           [ 0.192, -0.192]])
    """
    matrix, time = _check_transition_matrix(transition_matrix), check_positive(time, "time")
    nearest = nearest_rates(matrix, _check_balance(matrix, populations), time)
    warn_of_missed(nearest, matrix, time, f"at time {time:g}")
    return nearest


def nearest_rates(matrix: FloatArray, populations: FloatArray, time: float) -> FloatArray:
    """Return the rate matrix of :func:`rate_matrix`, without checks."""
    n, root = len(matrix), np.sqrt(populations)
    symmetric = root[:, None] * matrix / root
    eigenvalues, vectors = np.linalg.eigh((symmetric + symmetric.T) / 2)
    eigenvalues = np.clip(eigenvalues, FASTEST, 1.0)
    decay = -np.log(eigenvalues) / time
    i, j = np.triu_indices(n, 1)
    pair_flux = -(root[:, None] * (vectors * decay) @ vectors.T * root)[i, j]
    if (pair_flux < 0).any():
        right = vectors / root[:, None]
        steps = right[i] - right[j]
        weight = np.sqrt(np.outer(eigenvalues, eigenvalues))
        design = (steps[:, :, None] * steps[:, None, :] * weight).reshape(len(i), -1).T
        pair_flux = nnls(design, (np.diag(decay) * weight).ravel(), maxiter=100 * n * n)[0]
    flux = np.zeros((n, n))
    flux[i, j] = flux[j, i] = pair_flux
    rates = flux / populations[:, None]
    return np.asarray(rates - np.diag(rates.sum(axis=1)))


def warn_of_missed(rates: FloatArray, matrix: FloatArray, time: float, where: str) -> None:
    """Warn where a rate matrix misses a transition probability."""
    missed = np.abs(expm(rates * time) - matrix).max()
    if missed > MOST_MISSED:
        warn(
            f"No rate matrix gives the transition matrix {where}: the nearest one misses a "
            f"transition probability by {missed:.2g}. The states keep a memory, or the data are "
            "few: compare other lagtimes."
        )


# ------------------------------------------------------------------ inside


def _check_transition_matrix(values: ArrayLike) -> FloatArray:
    matrix = np.asarray(values, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise ValueError(
            f"Expected `transition_matrix` of shape (n_states, n_states), got {matrix.shape}."
        )
    # written so that NaN fails
    if not ((matrix >= 0).all() and np.abs(matrix.sum(axis=1) - 1).max() <= ROUNDING):
        raise ValueError(
            "Expected `transition_matrix` to hold probabilities, rows that sum to 1, got rows "
            f"that sum to {matrix.sum(axis=1).tolist()}, smallest entry {matrix.min():g}."
        )
    return matrix


def _check_balance(matrix: FloatArray, populations: ArrayLike | None) -> FloatArray:
    """Return the populations with which the matrix obeys detailed balance."""
    from deeptime.markov.tools.analysis import stationary_distribution

    if populations is None:
        populations = stationary_distribution(matrix)
    values = np.asarray(populations, dtype=np.float64)
    if values.shape != (len(matrix),) or not (values > 0).all():
        raise ValueError(
            f"Expected `populations` to be {len(matrix)} positive numbers, got {values.tolist()}."
        )
    values = values / values.sum()
    flux = values[:, None] * matrix
    a, b = np.unravel_index(np.abs(flux - flux.T).argmax(), flux.shape)
    if abs(flux[a, b] - flux[b, a]) > ROUNDING:
        raise ValueError(
            "Expected `transition_matrix` in detailed balance with its populations, got a flux of "
            f"{flux[a, b]:.4g} from state {a} to {b} and {flux[b, a]:.4g} back."
        )
    return np.asarray(values)
