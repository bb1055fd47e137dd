"""Markov models of fine clusters, lumped to states that keep no memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import expm

from latflow._typing import FloatArray
from latflow._validation import warn
from latflow.kinetics.chains import Chain, count, sets_of
from latflow.kinetics.generator import nearest_rates

if TYPE_CHECKING:
    from deeptime.markov.msm import BayesianMSMPosterior


MOST_LEFT_OUT = 0.02  # of the frames, before the user hears of it
FEWEST_CARRIED = 0.5  # of a slow process' variance that differs between states


def lumped_model(
    chain: Chain,
    lagtime: int,
    *,
    n_samples: int,
    seed: int,
    blocks: list[tuple[int, int, int]] | None = None,
) -> BayesianMSMPosterior:
    """Estimate a model of the chain's clusters, lumped to its states.

    Samples are of a Bayesian bootstrap: each weights blocks of the trajectories by independent
    exponential numbers, so that no transition that was seen is ever lost. The same seed and blocks
    give the same weights at any lagtime.
    """
    from deeptime.markov.msm import BayesianMSMPosterior, MarkovStateModel

    kept = sets_of(count(chain.clusters, lagtime))[0]
    shares = chain.shares()[kept]
    names = np.unique(shares.argmax(axis=1))
    shares = shares[:, names] / shares[:, names].sum(axis=1, keepdims=True)
    counts = count(chain.states, lagtime).submodel(names)
    per_block = chain.block_counts(blocks or chain.blocks(lagtime), lagtime)
    size = int(np.sqrt(per_block.shape[1]))
    per_block = per_block[:, (kept[:, None] * size + kept).ravel()] / lagtime

    def model(weights: FloatArray, *, fast: bool) -> MarkovStateModel:
        matrix = np.reshape(weights @ per_block, (len(kept), len(kept)))
        lumped, populations = _lump(*_reversible(matrix, fast=fast), shares)
        return MarkovStateModel(lumped, populations, reversible=True, count_model=counts)

    weights = np.random.default_rng(seed).exponential(size=(n_samples, per_block.shape[0]))
    return BayesianMSMPosterior(
        prior=model(np.ones(len(weights.T)), fast=False),
        samples=[model(row, fast=True) for row in weights],
    )


def warn_of_left_out(chain: Chain, lagtime: int) -> None:
    """Warn where clusters that are not connected with the others hold a good part of the frames."""
    counts = count(chain.clusters, lagtime)
    visits = counts.state_histogram
    left_out = 1 - visits[sets_of(counts)[0]].sum() / visits.sum()
    if left_out > MOST_LEFT_OUT:
        warn(
            f"The clusters are not connected in both directions at lagtime={lagtime}: "
            f"{left_out:.1%} of the frames are left out. More data, a shorter lagtime, or fewer "
            "clusters may connect them."
        )


# ------------------------------------------------------------------ inside


def _reversible(counts: FloatArray, *, fast: bool) -> tuple[FloatArray, FloatArray]:
    """Return the reversible transition matrix of maximum likelihood and its populations.

    Fast, symmetrise the one without detailed balance: twenty times faster, nearly the same.
    """
    from deeptime.markov.tools.estimation import transition_matrix

    matrix, populations = transition_matrix(
        counts, reversible=True, rev_pisym=fast, return_statdist=True, warn_not_converged=False
    )
    return np.asarray(matrix), np.asarray(populations)


def _lump(
    matrix: FloatArray, stationary: FloatArray, shares: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the transition matrix between states and their populations."""
    root = np.sqrt(stationary)
    symmetric = root[:, None] * matrix / root
    eigenvalues, vectors = np.linalg.eigh((symmetric + symmetric.T) / 2)
    populations = stationary @ shares
    overlap = (root[:, None] * shares / np.sqrt(populations)).T @ vectors
    # processes that carry the most of the states' autocorrelation at the lagtime
    slow = np.argsort(-eigenvalues * np.square(overlap).sum(axis=0))[: shares.shape[1]]
    left, _, right = np.linalg.svd(overlap[:, slow])
    rotation = (left @ right) / np.sqrt(populations)[:, None]
    lumped = (rotation * eigenvalues[slow]) @ rotation.T * populations
    return np.asarray(expm(nearest_rates(lumped, populations, 1.0))), populations
