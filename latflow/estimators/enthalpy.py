"""Learning of h, the mean energy of what it reads, by telling simulated temperatures apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from latflow._typing import BoolArray, FloatArray, IntArray
from latflow.estimators.seam import Standardised, features_of
from latflow.nn.batches import Features, as_index, filled
from latflow.nn.density_ratio import (
    PLAN,
    LastLayer,
    Solution,
    TemperatureClassifier,
    powers_of,
    train_classifier,
)
from latflow.nn.training import Record, torch_for_fit
from latflow.thermodynamics import LogLinear, Pool, Weighting, reduced_at
from latflow.trajectories import step_of

HIDDEN = (32, 32)
N_NETWORKS = 4
RIDGES = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)  # on standardised units, in nats a frame
MOST_NUMBERS = 2**24  # of units that the last layer is solved on: more frames are thinned out
LEAST_SCALE = 1e-8


def learn_enthalpy(
    v: Standardised,
    pool: Pool,
    held_out: BoolArray,
    n_bootstraps: int,
    seeds: IntArray,
    rng: np.random.Generator,
    n_threads: int | None,
) -> tuple[LogLinear, list[Weighting], list[Record]]:
    """Fit h(v), and c(v) too where there are three temperatures and it helps held-out frames.

    A network is trained for a while. What it is linear in stays; how it depends on that is then
    solved for exactly on all frames, and once more for each bootstrap over blocks. Bootstraps take
    turns on four networks, so that their spread is that of networks too, and the mean answers.

    Parameters
    ----------
    v : Standardised of shape (n_frames, n_inputs)
        What h reads.
    pool : Pool
    held_out : ndarray of bool, shape (n_frames,)
        Frames that decide how hard h is held back.
    n_bootstraps : int
        Without any, one network.
    seeds : ndarray of int, shape (4,)
        One a network.
    rng : Generator
        For the bootstraps.
    n_threads : int or None

    Returns
    -------
    LogLinear
    list of Weighting
        What each bootstrap would have answered by.
    list of dict
        The history.
    """
    n_networks = N_NETWORKS if n_bootstraps else 1
    mean, history, bootstraps = np.zeros(1), [], []
    with torch_for_fit(n_threads):
        x = features_of(v, torch.device("cpu"))
        orders = (1, 2) if len(pool.betas) > 2 else (1,)
        tried = [_fit(v, x, pool, held_out, int(seeds[0]), order) for order in orders]
        fit = min(tried, key=lambda fit: fit.held_out_loss)
        del tried
        for k in range(n_networks):
            if k:
                fit = _fit(v, x, pool, held_out, int(seeds[k]), fit.order)
            n_draws = len(range(k, n_bootstraps, n_networks))
            hc, others = _solved(fit, v, pool, [pool.resampled(rng) for _ in range(n_draws)])
            mean = mean + hc / n_networks
            history += fit.history
            bootstraps += others
    return LogLinear(mean, float(pool.betas.mean())), bootstraps, history


def _solved(
    fit: _Fit, v: Standardised, pool: Pool, draws: list[FloatArray]
) -> tuple[FloatArray, list[Weighting]]:
    """Solve one network's last layer on all frames, for h (and c) of each, and on bootstraps.

    These serve error bars only and are kept in single precision.
    """
    solutions = [fit.solve(pool.weights)]
    solutions += [fit.solve(weights, solutions[0]) for weights in draws]
    answer, *others = fit.coefficients(v, solutions)
    bootstraps = []
    for hc, solution, weights in zip(others, solutions[1:], draws, strict=True):
        route = LogLinear(hc.astype(np.float32), float(pool.betas.mean()))
        reduced = reduced_at(route, pool.betas)
        solved = Weighting.of(route, solution.f.numpy(), reduced, weights)
        bootstraps.append(Weighting(route, solved.log_counts, solved.log_base.astype(np.float32)))
    return answer, bootstraps


@dataclass(frozen=True)
class _Fit:
    """A trained network and the problem of its last layer."""

    units: Callable[[FloatArray], torch.Tensor]
    order: int
    width: float
    rows: IntArray
    problem: LastLayer
    ridge: float
    held_out_loss: float
    history: list[Record]

    def solve(self, weights: FloatArray, start: Solution | None = None) -> Solution:
        """Solve for the last layer, frames weighing this much, from another solution."""
        return self.problem.solve(torch.from_numpy(weights[self.rows]), self.ridge, start)

    def coefficients(self, v: Standardised, solutions: list[Solution]) -> list[FloatArray]:
        """Return h (and c) of every frame for each solution, shape (n_frames, order)."""
        slopes = torch.cat([solution.slopes for solution in solutions], dim=1)
        slopes = slopes / self.width ** torch.arange(1, self.order + 1).repeat(len(solutions))
        shape = (-1, len(solutions), self.order)
        parts = ((self.units(block) @ slopes).reshape(shape).numpy() for block in v.blocks())
        hc = np.empty((len(solutions), len(v), self.order))
        filled(hc.swapaxes(0, 1), parts)
        return [*hc]


def _fit(
    v: Standardised, x: Features, pool: Pool, held_out: BoolArray, seed: int, order: int
) -> _Fit:
    """Train a network, and choose by held-out frames how hard to hold back its last layer."""
    classifier, history = _train(x, v.shape[1], pool, held_out, seed, order)

    def units(block: FloatArray) -> torch.Tensor:
        with torch.no_grad():
            return classifier.units(torch.from_numpy(block))

    n_units = v.shape[1] + HIDDEN[-1]
    rows = np.arange(0, len(v), -(-len(v) * n_units // MOST_NUMBERS))
    values = torch.empty(len(rows), n_units, dtype=torch.float64)
    step = max(1, step_of(v.X) * len(rows) // len(v))  # rows between them count as read
    filled(values, (units(v[rows[k : k + step]]) for k in range(0, len(rows), step)))
    centre, scale = values.mean(dim=0), values.std(dim=0)
    # one scale for all hidden units: one that only rare frames switch on stays small
    scale[: HIDDEN[-1]] = scale[: HIDDEN[-1]].square().mean().sqrt()
    scale[~(scale > LEAST_SCALE)] = 1.0
    values -= centre
    values /= scale
    powers = powers_of(torch.from_numpy(_steps(pool)), order)
    problem = LastLayer(values, torch.from_numpy(pool.origin[rows]).long(), powers)
    ridge, losses = _best_ridge(problem, pool.weights[rows], held_out[rows])
    solved: Record = dict(zip(("loss", "held_out_loss"), losses, strict=True))
    history.append(history[-1] | solved | {"iteration": PLAN.max_iter + 1, "learning_rate": 0.0})
    return _Fit(
        lambda block: (units(block) - centre) / scale,
        order,
        float(np.ptp(pool.betas)),
        rows,
        problem,
        ridge,
        losses[1],
        history,
    )


def _steps(pool: Pool) -> FloatArray:
    """Return beta_k - beta_0 in units of the simulated range."""
    return np.asarray((pool.betas - pool.betas.mean()) / np.ptp(pool.betas))


def _best_ridge(
    problem: LastLayer, weights: FloatArray, held_out: BoolArray
) -> tuple[float, tuple[float, float]]:
    """Return the ridge with the lowest held-out loss, and its losses in training and held out."""
    used = weights > 0
    masks = ~held_out & used, held_out & used
    train, judged = (torch.from_numpy(weights * (m if m.any() else used)) for m in masks)
    tried, solution = [], None
    for ridge in RIDGES:
        solution = problem.solve(train, ridge, solution)
        losses = [problem.loss(w, solution.slopes, solution.f) for w in (train, judged)]
        tried.append((ridge, (losses[0], losses[1])))
    return min(tried, key=lambda ridge_and_losses: ridge_and_losses[1][1])


def _train(
    x: Features, n_inputs: int, pool: Pool, held_out: BoolArray, seed: int, order: int
) -> tuple[TemperatureClassifier, list[Record]]:
    """Train the network by stochastic gradients; return it in double precision."""
    generator = torch.Generator().manual_seed(seed)
    fractions = pool.counts / pool.counts.sum()
    classifier = TemperatureClassifier(
        n_inputs=n_inputs,
        steps=torch.tensor(_steps(pool), dtype=torch.float32),
        log_counts=torch.tensor(np.log(fractions), dtype=torch.float32),
        hidden_features=HIDDEN,
        order=order,
        generator=generator,
    )
    k, weights = as_index(pool.origin), torch.tensor(pool.weights, dtype=torch.float32)
    train, judged = (
        as_index(np.flatnonzero(mask & (pool.weights > 0))) for mask in (~held_out, held_out)
    )
    history = train_classifier(classifier, x, k, weights, train, judged, generator)
    return classifier, history
