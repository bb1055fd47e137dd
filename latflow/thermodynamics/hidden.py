"""Heat capacity that no frame shows: how much of it a prior leaves to a state."""

from __future__ import annotations

import numpy as np

from latflow._typing import FloatArray, IntArray
from latflow.thermodynamics.moments import block_populations
from latflow.thermodynamics.pool import Pool


def hidden_heat_capacities(prior: float, pool: Pool, states: IntArray, n_states: int) -> FloatArray:
    """Return one standard deviation of the heat capacity of each state that frames do not show.

    A heat capacity C of a state bends the logarithm of its odds by C log beta. At two temperatures
    a line hides that wholly, and all of the prior is left. From three on, the populations of their
    own frames tell something of C, as much as their errors allow: the prior and that are combined.

    Parameters
    ----------
    prior : float
        Standard deviation of C before anything was simulated, in k_B.
    pool : Pool
    states : ndarray of int, shape (n_frames,)
    n_states : int

    Returns
    -------
    ndarray of shape (n_states,)
        In k_B.
    """
    population, error = block_populations(pool, states, n_states)
    with np.errstate(invalid="ignore", divide="ignore"):
        weight = np.nan_to_num((population * (1 - population) / error) ** 2, posinf=0.0)
    precision = np.full(n_states, 1 / prior**2)
    for s in range(n_states):
        at = weight[:, s] > 0
        if at.sum() > 2:
            betas, w = pool.betas[at], weight[at, s]
            line = np.polyfit(betas, np.log(betas), 1, w=np.sqrt(w))
            precision[s] += w @ (np.log(betas) - np.polyval(line, betas)) ** 2
    return np.asarray(1 / np.sqrt(precision))
