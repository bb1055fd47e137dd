"""Training of the flow that reads the inverse temperature, on frames drawn with their weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from latflow.estimators.stages import evaluate, moments, torch_for_fit, warn_of_rollbacks
from latflow.nn.model import ConditionalDensity
from latflow.nn.training import Outcome, Plan, batches, minimise

__all__ = ["train_generator"]

N_NODES = 32
JUDGED_A_NODE = 256

FloatArray = NDArray[np.float64]
Draws = tuple[torch.Tensor, torch.Tensor]


def train_generator(
    z: FloatArray,
    frame_weights: Callable[[float], FloatArray],
    held_out: NDArray[np.bool_],
    betas: tuple[float, float],
    plan: Plan,
    *,
    transform: str,
    n_transforms: int,
    hidden_features: tuple[int, ...],
    n_threads: int | None,
    seed: int,
) -> tuple[ConditionalDensity, Outcome]:
    """Fit p(z | beta) by maximum likelihood.

    Parameters
    ----------
    z : ndarray of shape (n_frames, n_components)
    frame_weights : callable
        Inverse temperature -> normalised weight of every frame.
    held_out : ndarray of bool, shape (n_frames,)
        Frames to stop by; where there are none, all frames serve for both.
    betas : tuple of float
        Lowest and highest inverse temperature to serve.
    plan : Plan
    transform, n_transforms, hidden_features
        Of the flow.
    n_threads : int or None
    seed : int
    """
    generator = torch.Generator().manual_seed(seed)
    rng = np.random.default_rng(seed)
    density = ConditionalDensity(
        n_components=z.shape[1],
        context_range=betas,
        n_transforms=n_transforms,
        transform=transform,
        hidden_features=hidden_features,
        generator=generator,
    )
    points = torch.tensor(z, dtype=torch.float32)
    density.flow.whiten(*moments(torch.from_numpy(z), torch.ones(1).expand(len(z))))
    everything = np.ones_like(held_out)
    some = bool(held_out.any())
    n_each = plan.max_iter * plan.batch_size // N_NODES + 1
    train = weighted_draws(frame_weights, ~held_out if some else everything, betas, n_each, rng)
    judge = weighted_draws(
        frame_weights, held_out if some else everything, betas, JUDGED_A_NODE, rng
    )

    def loss(rows: torch.Tensor, beta: torch.Tensor) -> torch.Tensor:
        return -density.log_density(points.index_select(0, rows), beta).mean()

    with torch_for_fit(n_threads):
        outcome = minimise(
            density,
            lambda batch: loss(*(drawn.index_select(0, batch) for drawn in train)),
            lambda: evaluate(lambda: loss(*judge)),
            batches(len(train[0]), plan.batch_size, generator),
            plan,
        )
    warn_of_rollbacks(outcome, "conditional flow")
    for record in outcome.history:
        record["stage"] = "conditional flow"
    density.double().requires_grad_(False).eval()
    return density, outcome


def weighted_draws(
    frame_weights: Callable[[float], FloatArray],
    among: NDArray[np.bool_],
    betas: tuple[float, float],
    n_each: int,
    rng: np.random.Generator,
) -> Draws:
    """Draw `n_each` rows by weight at each of 32 inverse temperatures, evenly spread.

    Systematic resampling: one frame of weight w comes w n_each times, give or take one.
    """
    nodes = np.linspace(*betas, N_NODES)
    rows = []
    for beta in nodes:
        cumulative = frame_weights(float(beta))
        cumulative *= among
        np.cumsum(cumulative, out=cumulative)
        even = (np.arange(n_each) + rng.random()) / n_each * cumulative[-1]
        rows.append(np.minimum(np.searchsorted(cumulative, even, side="right"), len(among) - 1))
    drawn = torch.as_tensor(np.concatenate(rows))
    return drawn, torch.tensor(np.repeat(nodes, n_each), dtype=torch.float32)
