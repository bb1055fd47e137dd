"""Three routes to a frame's reduced energy at any temperature: what `method` chooses between."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from latflow._validation import import_extra
from latflow.estimators.features import Batch, Standardised, features_of, filled
from latflow.estimators.stages import (
    as_index,
    each,
    evaluate,
    thin,
    torch_for_fit,
    warn_of_rollbacks,
    weighted_mean,
)
from latflow.nn.density_ratio import TemperatureClassifier
from latflow.nn.training import Plan, Record, minimise
from latflow.thermodynamics import Mixture, free_energy_offsets, log_linear_energies

__all__ = [
    "Energies",
    "LogLinear",
    "Pooled",
    "learn_ensemble",
    "learn_log_linear",
    "mean_route",
    "mixture_of",
    "tilted_log_linear",
]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

HIDDEN = (32, 32)
PLAN = Plan(max_iter=1000, learning_rate=3e-2, batch_size=4096, weight_decay=1e-4, tol=1e-5)
MOST_HELD_OUT = 20_000


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

    def offsets(self, pooled: Pooled) -> FloatArray:
        """Return the free energies f_k between the simulated temperatures."""
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
        """Return the f_k."""
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


def mixture_of(route: Route, pooled: Pooled) -> Mixture:
    """Solve for the f_k of a route and return the mixture of the pooled frames."""
    offsets = route.offsets(pooled)
    u = reduced_at(route, pooled.betas)
    return Mixture.build(u, offsets, pooled.origin, pooled.weights, pooled.blocks)


def mean_route(routes: Sequence[LogLinear]) -> LogLinear:
    """Return the route of the mean h and c; a member without c counts as c = 0."""
    order = max(route.coefficients.shape[1] for route in routes)
    padded = [
        np.pad(r.coefficients, ((0, 0), (0, order - r.coefficients.shape[1]))) for r in routes
    ]
    return LogLinear(np.mean(padded, axis=0), routes[0].beta0)


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


def learn_ensemble(
    v: Standardised,
    pooled: Pooled,
    n_members: int,
    rs: np.random.RandomState,
    rng: np.random.Generator,
    n_threads: int | None,
) -> list[LogLinear]:
    """Fit h once on all frames, or `n_members` times on bootstraps over blocks, through joblib."""
    seeds = rs.randint(2**31 - 1, size=n_members)
    draws = [pooled.weights if n_members == 1 else pooled.resampled(rng) for _ in seeds]
    return each(
        (learn_log_linear, (v, pooled, weights, int(seed), n_threads))
        for weights, seed in zip(draws, seeds, strict=True)
    )


def learn_log_linear(
    v: Standardised, pooled: Pooled, weights: FloatArray, seed: int, n_threads: int | None
) -> LogLinear:
    """Fit h(v), and c(v) too where there are three temperatures and it helps held-out frames.

    Parameters
    ----------
    v : Standardised of shape (n_frames, n_inputs)
        What h reads.
    pooled : Pooled
    weights : ndarray of shape (n_frames,)
        Of this fit; a bootstrap's have zeros.
    seed : int
    n_threads : int or None
    """
    with torch_for_fit(n_threads):
        found = _fit_classifier(v, pooled, weights, seed, second_order=False)
        if len(pooled.betas) > 2:
            second = _fit_classifier(v, pooled, weights, seed, second_order=True)
            found = min(found, second, key=lambda result: result[0])
    return found[1]


def _fit_classifier(
    v: Standardised, pooled: Pooled, weights: FloatArray, seed: int, *, second_order: bool
) -> tuple[float, LogLinear]:
    generator = torch.Generator().manual_seed(seed)
    beta0, width = float(pooled.betas.mean()), float(np.ptp(pooled.betas))
    counts = np.bincount(pooled.origin, weights=weights, minlength=len(pooled.betas))
    classifier = TemperatureClassifier(
        n_inputs=v.shape[1],
        steps=torch.tensor((pooled.betas - beta0) / width, dtype=torch.float32),
        log_counts=torch.tensor(np.log(counts / counts.sum()), dtype=torch.float32),
        hidden_features=HIDDEN,
        second_order=second_order,
        generator=generator,
    )
    x = features_of(v, torch.device("cpu"))
    k, w = as_index(pooled.origin), torch.tensor(weights, dtype=torch.float32)
    train = np.flatnonzero(~pooled.held_out & (weights > 0))
    judged = np.flatnonzero(pooled.held_out & (weights > 0))
    judge = x.at(as_index(thin(judged if len(judged) else train, MOST_HELD_OUT)))

    def loss(batch: Batch) -> torch.Tensor:
        rows, inputs = batch
        return weighted_mean(classifier.loss(inputs, k[rows].long()), w[rows])

    outcome = minimise(
        classifier,
        loss,
        lambda: evaluate(lambda: loss(judge)),
        x.batches((as_index(train),), PLAN.batch_size, generator),
        PLAN,
    )
    warn_of_rollbacks(outcome, "temperature classifier")
    hc, double = np.empty((len(v), 1 + second_order)), classifier.double()
    with torch.no_grad():
        filled(hc, (double(torch.from_numpy(block)) for block in v.blocks()))
    hc -= hc.mean(axis=0)
    hc /= width ** np.arange(1, hc.shape[1] + 1)
    for record in outcome.history:
        record["stage"] = "temperature classifier"
    return outcome.best, LogLinear(hc, beta0, outcome.history)
