"""Three routes to a frame's reduced energy at any temperature: what `method` chooses between."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from latflow._validation import import_extra
from latflow.estimators.features import Batch, Features, Standardised, as_index, features_of, filled
from latflow.estimators.stages import (
    evaluate,
    thin,
    torch_for_fit,
    warn_of_rollbacks,
    weighted_mean,
)
from latflow.nn.density_ratio import LastLayer, Solution, TemperatureClassifier, powers_of
from latflow.nn.training import Plan, Record, minimise
from latflow.thermodynamics import Mixture, Replicate, free_energy_offsets, log_linear_energies
from latflow.trajectories import rows_at_once

__all__ = [
    "Curved",
    "Energies",
    "LogLinear",
    "Pooled",
    "learn_log_linear",
    "mixture_of",
    "tilted_log_linear",
]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

HIDDEN = (32, 32)
N_NETWORKS = 4
PLAN = Plan(max_iter=300, learning_rate=3e-2, batch_size=4096, weight_decay=1e-4, tol=1e-5)
MOST_HELD_OUT = 20_000
RIDGES = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)  # on standardised units, in nats a frame
MOST_NUMBERS = 2**24  # of units that the last layer is solved on: more frames are thinned out
LEAST_SCALE = 1e-8


@dataclass(frozen=True)
class Pooled:
    """Pooled training frames, as the routes need them.

    Attributes
    ----------
    betas : ndarray of shape (n_temperatures,)
    origin : ndarray of int, shape (n_frames,)
        Which temperature each frame was simulated at.
    weights : ndarray of shape (n_frames,)
    blocks : ndarray of int, shape (n_frames,)
    held_out : ndarray of bool, shape (n_frames,)
    """

    betas: FloatArray
    origin: IntArray
    weights: FloatArray
    blocks: IntArray
    held_out: NDArray[np.bool_]

    @property
    def counts(self) -> FloatArray:
        """Weight of the frames of each temperature."""
        n = len(self.betas)
        return np.asarray(np.bincount(self.origin, weights=self.weights, minlength=n))

    def resampled(self, rng: np.random.Generator) -> FloatArray:
        """Return frame weights of a bootstrap over blocks, drawn within each temperature."""
        factor = np.zeros(len(self.weights))
        for k in range(len(self.betas)):
            rows = np.flatnonzero(self.origin == k)
            ids = np.unique(self.blocks[rows], return_inverse=True)[1]
            n = int(ids.max()) + 1
            factor[rows] = np.bincount(rng.integers(n, size=n), minlength=n)[ids]
        return np.asarray(self.weights * factor)


class Route(Protocol):
    """A reduced energy of every pooled frame at any inverse temperature, up to a constant."""

    def reduced(self, beta: float) -> FloatArray:
        """Return u(n), shape (n_frames,)."""
        ...

    def derivatives(self, beta: float) -> tuple[FloatArray, FloatArray | None]:
        """Return du/dbeta, an energy, and its own derivative where it is not zero."""
        ...


@dataclass(frozen=True)
class LogLinear:
    """u = (beta - beta_0) h + (beta - beta_0)^2 / 2 c: coefficients (h, c) per frame."""

    coefficients: FloatArray
    beta0: float
    history: list[Record] = field(default_factory=list)

    def reduced(self, beta: float) -> FloatArray:
        """Return u(n), shape (n_frames,)."""
        return log_linear_energies(self.coefficients, beta - self.beta0)

    def derivatives(self, beta: float) -> tuple[FloatArray, FloatArray | None]:
        """Return h + (beta - beta_0) c, and c."""
        h, *c = self.coefficients.T
        return (h + (beta - self.beta0) * c[0], c[0]) if c else (h, None)

    def offsets(self, pooled: Pooled) -> FloatArray:
        """Return the free energies f_k between the simulated temperatures."""
        u = reduced_at(self, pooled.betas)
        return free_energy_offsets(u, pooled.counts, pooled.weights)


@dataclass(frozen=True)
class Energies:
    """u = beta U with potential energies per frame: MBAR, solved by pymbar if asked to."""

    energy: FloatArray
    by_pymbar: bool = True

    def reduced(self, beta: float) -> FloatArray:
        """Return u(n), shape (n_frames,)."""
        return np.asarray(beta * (self.energy - self.energy.mean()))

    def derivatives(self, beta: float) -> tuple[FloatArray, None]:
        """Return U."""
        return self.energy - self.energy.mean(), None

    def offsets(self, pooled: Pooled) -> FloatArray:
        """Return the f_k, by pymbar; it knows no frame weights, so unequal ones are solved here."""
        u = reduced_at(self, pooled.betas)
        if not self.by_pymbar or np.ptp(pooled.weights) > 0:
            return free_energy_offsets(u, pooled.counts, pooled.weights)
        order = np.argsort(pooled.origin, kind="stable")
        with quiet("pymbar"):
            mbar = import_extra("pymbar", "mbar").MBAR
            solved = mbar(u[order].T, np.bincount(pooled.origin), solver_protocol="robust").f_k
        return np.asarray(solved - solved[0])


def reduced_at(route: Route, betas: FloatArray) -> FloatArray:
    """Return u_k(n) at several inverse temperatures, shape (n_frames, n_temperatures)."""
    first = route.reduced(betas[0])
    u = np.empty((len(first), len(betas)))
    u[:, 0] = first
    for k in range(1, len(betas)):
        u[:, k] = route.reduced(betas[k])
    return u


def mixture_of(route: LogLinear | Energies, pooled: Pooled) -> Mixture:
    """Solve for the f_k of a route and return the mixture of the pooled frames."""
    offsets = route.offsets(pooled)
    u = reduced_at(route, pooled.betas)
    return Mixture.build(u, offsets, pooled.origin, pooled.weights, pooled.blocks)


@contextmanager
def quiet(package: str) -> Iterator[None]:
    """Silence a package's log below errors: pymbar advertises JAX there at import."""
    logger = logging.getLogger(package)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def tilted_log_linear(u: FloatArray, kt_reference: float) -> LogLinear:
    """Return the tilted flow's route, from the frames' points u in the base's space.

    Only r^2 / (2 t) of log p depends on temperature: h = k_B T_ref r^2 / 2.
    """
    return LogLinear(kt_reference * (u**2).sum(axis=1, keepdims=True) / 2, 0.0)


@dataclass(frozen=True)
class Curved:
    """A route with more heat capacity, that no frames at two temperatures can tell from it.

    u + C (log beta - its secant between the two): a heat capacity C (in k_B), the same at every
    temperature, and no change at the simulated ones.
    """

    route: Route
    heat_capacity: FloatArray
    betas: FloatArray

    def reduced(self, beta: float) -> FloatArray:
        """Return u(n), shape (n_frames,)."""
        first = float(self.betas[0])
        change = float(np.log(beta / first)) - self._secant * (beta - first)
        return self.route.reduced(beta) + change * self.heat_capacity

    def derivatives(self, beta: float) -> tuple[FloatArray, FloatArray | None]:
        """Return du/dbeta and its own derivative."""
        slope, curvature = self.route.derivatives(beta)
        own = -self.heat_capacity / beta**2
        slope = slope + (1 / beta - self._secant) * self.heat_capacity
        return slope, own if curvature is None else curvature + own

    @property
    def _secant(self) -> float:
        return float(np.diff(np.log(self.betas))[0] / np.diff(self.betas)[0])


# ------------------------------------------------------------------ learning h


def learn_log_linear(
    v: Standardised,
    pooled: Pooled,
    n_replicates: int,
    rs: np.random.RandomState,
    rng: np.random.Generator,
    n_threads: int | None,
) -> tuple[LogLinear, list[tuple[LogLinear, Replicate]]]:
    """Fit h(v), and c(v) too where there are three temperatures and it helps held-out frames.

    A network is trained for a while. What it is linear in stays; how it depends on that is then
    solved for exactly on all frames, and once more for each bootstrap over blocks. Bootstraps take
    turns on four networks, so that their spread is that of networks too, and the mean answers.

    Parameters
    ----------
    v : Standardised of shape (n_frames, n_inputs)
        What h reads.
    pooled : Pooled
    n_replicates : int
        Bootstraps; without any, one network.
    rs : RandomState
        Of the networks.
    rng : Generator
        Of the bootstraps.
    n_threads : int or None

    Returns
    -------
    LogLinear
    list of (LogLinear, Replicate)
        What each bootstrap would have answered by.
    """
    n_networks = N_NETWORKS if n_replicates else 1
    seeds = [int(seed) for seed in rs.randint(2**31 - 1, size=n_networks)]
    hc, history, replicates = np.zeros(1), [], []
    with torch_for_fit(n_threads):
        x = features_of(v, torch.device("cpu"))
        orders = (1, 2) if len(pooled.betas) > 2 else (1,)
        tried = [_fit(v, x, pooled, seeds[0], order) for order in orders]
        fit = min(tried, key=lambda fit: fit.held_out_loss)
        del tried
        for k, seed in enumerate(seeds):
            if k:
                fit = _fit(v, x, pooled, seed, fit.order)
            n_own = len(range(k, n_replicates, n_networks))
            own, others = _solved(fit, v, pooled, [pooled.resampled(rng) for _ in range(n_own)])
            hc = hc + own / n_networks
            history += fit.history
            replicates += others
    return LogLinear(hc, float(pooled.betas.mean()), history), replicates


def _solved(
    fit: _Fit, v: Standardised, pooled: Pooled, draws: list[FloatArray]
) -> tuple[FloatArray, list[tuple[LogLinear, Replicate]]]:
    """Solve one network's last layer on all frames, for h (and c) of each, and on bootstraps.

    These serve error bars only and are kept in single precision.
    """
    solutions = [fit.solve(pooled.weights)]
    solutions += [fit.solve(weights, solutions[0]) for weights in draws]
    answer, *others = fit.coefficients(v, solutions)
    replicates = []
    for own, solution, weights in zip(others, solutions[1:], draws, strict=True):
        route = LogLinear(own.astype(np.float32), float(pooled.betas.mean()))
        replicate = Replicate.build(reduced_at(route, pooled.betas), solution.f.numpy(), weights)
        replicates.append((route, Replicate(replicate.log_base.astype(np.float32))))
    return answer, replicates


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


def _fit(v: Standardised, x: Features, pooled: Pooled, seed: int, order: int) -> _Fit:
    """Train a network, and choose by held-out frames how hard to hold back its last layer."""
    classifier, history = _train(x, v.shape[1], pooled, seed, order)
    n_units = v.shape[1] + HIDDEN[-1]
    rows = np.arange(0, len(v), -(-len(v) * n_units // MOST_NUMBERS))
    found = torch.empty(len(rows), n_units, dtype=torch.float64)
    step = max(1, rows_at_once(v.X) * len(rows) // len(v))  # rows between them count as read
    parts = (rows[k : k + step] for k in range(0, len(rows), step))
    filled(found, (_units(classifier, v[part]) for part in parts))
    centre, scale = found.mean(dim=0), found.std(dim=0)
    # one scale for all hidden units: one that only rare frames switch on stays small
    scale[: HIDDEN[-1]] = scale[: HIDDEN[-1]].square().mean().sqrt()
    scale[~(scale > LEAST_SCALE)] = 1.0
    found -= centre
    found /= scale
    powers = powers_of(torch.from_numpy(_steps(pooled)), order)
    problem = LastLayer(found, torch.from_numpy(pooled.origin[rows]).long(), powers)
    ridge, losses = _best_ridge(problem, pooled.weights[rows], pooled.held_out[rows])
    solved: Record = dict(zip(("loss", "held_out_loss"), losses, strict=True))
    history.append(history[-1] | solved | {"iteration": PLAN.max_iter + 1, "learning_rate": 0.0})
    return _Fit(
        lambda block: (_units(classifier, block) - centre) / scale,
        order,
        float(np.ptp(pooled.betas)),
        rows,
        problem,
        ridge,
        losses[1],
        history,
    )


def _steps(pooled: Pooled) -> FloatArray:
    """Return beta_k - beta_0 in units of the simulated range."""
    return np.asarray((pooled.betas - pooled.betas.mean()) / np.ptp(pooled.betas))


def _units(classifier: TemperatureClassifier, block: FloatArray) -> torch.Tensor:
    with torch.no_grad():
        return classifier.units(torch.from_numpy(block))


def _best_ridge(
    problem: LastLayer, weights: FloatArray, held_out: NDArray[np.bool_]
) -> tuple[float, tuple[float, float]]:
    """Return the ridge with the lowest held-out loss, and its losses in training and held out."""
    used = weights > 0
    train, judged = ~held_out & used, held_out & used
    parts = [torch.from_numpy(weights * (part if part.any() else used)) for part in (train, judged)]
    found, solution = [], None
    for ridge in RIDGES:
        solution = problem.solve(parts[0], ridge, solution)
        losses = [problem.loss(part, solution.slopes, solution.f) for part in parts]
        found.append((ridge, (losses[0], losses[1])))
    return min(found, key=lambda tried: tried[1][1])


def _train(
    x: Features, n_inputs: int, pooled: Pooled, seed: int, order: int
) -> tuple[TemperatureClassifier, list[Record]]:
    """Train the network by stochastic gradients; return it in double precision."""
    generator = torch.Generator().manual_seed(seed)
    classifier = TemperatureClassifier(
        n_inputs=n_inputs,
        steps=torch.tensor(_steps(pooled), dtype=torch.float32),
        log_counts=torch.tensor(np.log(pooled.counts / pooled.counts.sum()), dtype=torch.float32),
        hidden_features=HIDDEN,
        order=order,
        generator=generator,
    )
    k, w = as_index(pooled.origin), torch.tensor(pooled.weights, dtype=torch.float32)
    train = as_index(np.flatnonzero(~pooled.held_out & (pooled.weights > 0)))
    judged = as_index(np.flatnonzero(pooled.held_out & (pooled.weights > 0)))
    judge = x.at(thin(judged if len(judged) else train, MOST_HELD_OUT))

    def loss(batch: Batch) -> torch.Tensor:
        rows, inputs = batch
        return weighted_mean(
            classifier.loss(inputs, k.index_select(0, rows).long()), w.index_select(0, rows)
        )

    outcome = minimise(
        classifier,
        loss,
        lambda: evaluate(lambda: loss(judge)),
        x.batches((train,), PLAN.batch_size, generator),
        PLAN,
    )
    warn_of_rollbacks(outcome, "temperature classifier")
    for record in outcome.history:
        record["stage"] = "temperature classifier"
    return classifier.double(), outcome.history
