"""Markov models of fine clusters, lumped to states that keep no memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import expm

from latflow._typing import FloatArray, IntArray
from latflow._validation import warn
from latflow.kinetics.chains import Chain, count, sets_of
from latflow.kinetics.generator import FASTEST, nearest_rates

if TYPE_CHECKING:
    from deeptime.markov import TransitionCountModel
    from deeptime.markov.msm import BayesianMSMPosterior, MarkovStateModel


SLOWEST = 1 - 1e-12  # eigenvalue of a process that relaxes at all
MOST_LEFT_OUT = 0.02  # of the frames, before the user hears of it
FEWEST_TOLD = 0.4  # of a slow process' variance that states explain, before the user hears of it


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
    give the same weights at any lagtime. Warns of what is left out, and of states that hardly tell
    the slow processes apart.
    """
    from deeptime.markov.msm import BayesianMSMPosterior, MarkovStateModel

    kept = _connected(count(chain.clusters, lagtime), lagtime)
    shares = chain.shares()[kept]
    names = np.unique(shares.argmax(axis=1))
    counts = count(chain.states, lagtime)
    _warn_of_lost(np.delete(counts.state_symbols, names).tolist(), lagtime)
    shares = shares[:, names] / shares[:, names].sum(axis=1, keepdims=True)
    counts = counts.submodel(names)
    per_block = chain.block_counts(blocks or chain.blocks(lagtime), lagtime)
    size = int(np.sqrt(per_block.shape[1]))
    per_block = per_block[:, (kept[:, None] * size + kept).ravel()] / lagtime

    def model(weights: FloatArray, *, fast: bool) -> MarkovStateModel:
        matrix = np.reshape(weights @ per_block, (len(kept), len(kept)))
        lumped, populations, told = _lump(*_reversible(matrix, fast=fast), shares)
        if not fast:
            _warn_of_untold(told, lagtime)
        return MarkovStateModel(lumped, populations, reversible=True, count_model=counts)

    weights = np.random.default_rng(seed).exponential(size=(n_samples, per_block.shape[0]))
    return BayesianMSMPosterior(
        prior=model(np.ones(len(weights.T)), fast=False),
        samples=[model(row, fast=True) for row in weights],
    )


def relaxation_rates(model: MarkovStateModel) -> FloatArray:
    """Return inverse timescales per frame, the slowest first."""
    eigenvalues, _ = _spectrum(model.transition_matrix, model.stationary_distribution)
    return np.asarray(-np.log(np.clip(eigenvalues[-2::-1], FASTEST, SLOWEST)) / model.lagtime)


def slowed_model(model: MarkovStateModel, factors: FloatArray) -> MarkovStateModel:
    """Return a model whose relaxation rates, the slowest first, are multiplied by factors."""
    from deeptime.markov.msm import MarkovStateModel

    populations = model.stationary_distribution
    eigenvalues, vectors = _spectrum(model.transition_matrix, populations)
    slowed = np.clip(eigenvalues, FASTEST, 1.0) ** np.append(factors[::-1], 1)
    matrix = _assemble(slowed, vectors, populations)
    return MarkovStateModel(matrix, populations, reversible=True, count_model=model.count_model)


# ------------------------------------------------------------------ inside


def _connected(counts: TransitionCountModel, lagtime: int) -> IntArray:
    """Return the clusters of the largest connected set; warn where many frames are in others."""
    kept, visits = sets_of(counts)[0], counts.state_histogram
    left_out = 1 - visits[kept].sum() / visits.sum()
    if left_out > MOST_LEFT_OUT:
        warn(
            f"The clusters are not connected in both directions at lagtime={lagtime}: "
            f"{left_out:.1%} of the frames are left out. More data, a shorter lagtime, or fewer "
            "clusters may connect them."
        )
    return kept


def _warn_of_lost(states: list[int], lagtime: int) -> None:
    if states:
        warn(
            f"The states are not connected in both directions at lagtime={lagtime}: {states} have "
            "no connected cluster of their own, and are left out. More data, a shorter lagtime, or "
            "more clusters may connect them."
        )


def _warn_of_untold(told: float, lagtime: int) -> None:
    if told < FEWEST_TOLD:
        warn(
            f"The states explain {told:.0%} of the variance of a slow process of the variables at "
            f"lagtime={lagtime}: both tell of different processes, and rates between the states "
            "mean little. Take states that the variables tell apart."
        )


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
) -> tuple[FloatArray, FloatArray, float]:
    """Return the states' transition matrix, populations, and what they tell of each process."""
    eigenvalues, vectors = _spectrum(matrix, stationary)
    populations = stationary @ shares
    overlap = (np.sqrt(stationary)[:, None] * shares / np.sqrt(populations)).T @ vectors
    # processes that carry the most of the states' autocorrelation at the lagtime
    slow = np.argsort(-eigenvalues * np.square(overlap).sum(axis=0))[: shares.shape[1]]
    left, told, right = np.linalg.svd(overlap[:, slow])
    return (
        _assemble(eigenvalues[slow], left @ right, populations),
        populations,
        float(told.min() ** 2),
    )


def _spectrum(matrix: FloatArray, stationary: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return eigenvalues, rising, and the eigenvectors of the symmetrised transition matrix."""
    root = np.sqrt(stationary)
    symmetric = root[:, None] * matrix / root
    eigenvalues, vectors = np.linalg.eigh((symmetric + symmetric.T) / 2)
    return eigenvalues, vectors


def _assemble(eigenvalues: FloatArray, vectors: FloatArray, populations: FloatArray) -> FloatArray:
    """Return the transition matrix that has these symmetrised eigenvectors, or the nearest one."""
    rotation = vectors / np.sqrt(populations)[:, None]
    matrix = (rotation * eigenvalues) @ rotation.T * populations
    if (matrix < 0).any():
        matrix = expm(nearest_rates(matrix, populations, 1.0))
    return np.asarray(matrix)
