"""Do the error bars hold? State populations from repeated, independent pairs of simulations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import fit_quietly, tiny_extrapolator
from scipy.stats import binom, norm
from sklearn.frozen import FrozenEstimator

from latflow.datasets import make_three_hole, three_hole_populations

pytestmark = pytest.mark.slow

SIMULATED, JUDGED, REPEATS = (0.7, 1.4), (0.6, 0.8, 1.0, 1.2, 2.0), 20
HONEST = norm.cdf(1) - norm.cdf(-1)
# where the number of repeats within one standard error lies in 99 of 100 such tests
FEWEST, MOST = binom.interval(0.99, REPEATS, HONEST)


@pytest.fixture(scope="module")
def deviations(latf: Any) -> tuple[np.ndarray, np.ndarray]:
    """Errors of the populations over their standard errors, and what the prior has of the latter.

    Both of repeats, temperatures, states; the prior's part is a fraction of the squared error.
    Variables and states are learned once, from simulations of their own; each repeat simulates both
    temperatures anew. The seeds are 0, 1, 2 and so on: none is left out.
    """
    exact = np.concatenate([three_hole_populations(t, assign=latf.predict) for t in JUDGED])
    scores, priors = [], []
    for seed in range(REPEATS):
        rng = np.random.default_rng(seed)
        parts = [make_three_hole(10_000, t, random_state=rng) for t in SIMULATED]
        # the generator is not asked, and not trained
        model = tiny_extrapolator(
            FrozenEstimator(latf), n_bootstraps=20, max_iter=1, random_state=seed
        )
        fit_quietly(
            model,
            [x for part in parts for x in part.trajectories],
            temperature=[t for part in parts for t in part.temperature],
        )
        table = model.state_populations(JUDGED)
        scores.append((table["population"] - exact) / table["standard_error"])
        model.ensemble_.heat_capacities = None
        of_data = model.state_populations(JUDGED)["standard_error"]
        priors.append(1 - (of_data / table["standard_error"]) ** 2)
    shape = REPEATS, len(JUDGED), latf.n_states_
    return np.reshape(scores, shape), np.reshape(priors, shape)


@pytest.mark.parametrize("number", range(len(JUDGED)), ids=[f"T={t:g}" for t in JUDGED])
def test_two_in_three_repeats_lie_within_one_standard_error(
    deviations: tuple[np.ndarray, np.ndarray], number: int
) -> None:
    """At least; and at most, where the prior of heat capacities does not make the error."""
    scores, priors = (values[:, number] for values in deviations)
    within = (np.abs(scores) < 1).sum(axis=0)
    assert (within >= FEWEST).all()
    most = np.where(priors.mean(axis=0) > 0.5, REPEATS, MOST)
    assert (within <= most).all()


def test_two_in_three_lie_within_one_standard_error_over_all_temperatures(
    deviations: tuple[np.ndarray, np.ndarray],
) -> None:
    """One simulation errs alike at all temperatures, so all of them count as one repeat."""
    within = (np.abs(deviations[0]) < 1).mean(axis=(1, 2)).sum()
    assert FEWEST <= within <= MOST
