"""p(z | beta): a flow whose couplings read the inverse temperature, and its training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from latflow.nn.distributions import TiltedGaussian
from latflow.nn.flows import Flow
from latflow.nn.soap import Soap
from latflow.nn.stages import moments
from latflow.nn.training import Outcome, Plan, batches, evaluate, minimise

BOUND = 5.0  # of standardised variables, and of a normal base
STAGE = "conditional flow"
# frames and the inverse temperature that each was drawn for
Draws = tuple[Tensor, Tensor]


class ConditionalDensity(nn.Module):
    """p(z | beta): a flow whose couplings read the inverse temperature, on a normal base.

    Parameters
    ----------
    n_components : int
    context_range : sequence of two floats
        Inverse temperatures that map to -1 and 1.
    n_transforms, transform, hidden_features, generator
        As for :class:`~latflow.nn.flows.Flow`.
    """

    context_range: Tensor

    def __init__(
        self,
        *,
        n_components: int,
        context_range: Sequence[float],
        n_transforms: int,
        transform: str,
        hidden_features: Sequence[int],
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self._config = {
            "n_components": n_components,
            "context_range": list(context_range),
            "n_transforms": n_transforms,
            "transform": transform,
            "hidden_features": list(hidden_features),
        }
        context = torch.tensor(context_range, dtype=torch.float32, device="cpu")
        self.register_buffer("context_range", context)
        self.flow = Flow(
            n_components, n_transforms, transform, hidden_features, 1, BOUND, generator
        )
        self.base = TiltedGaussian(n_components, tilt=0.0)

    def config(self) -> dict[str, Any]:
        """Return the arguments that build a density of this shape."""
        return self._config

    def log_density(self, z: Tensor, beta: Tensor) -> Tensor:
        """Return log p(z | beta), shape (n,)."""
        u, logdet = self.flow.forward_and_logdet(z, self._context(beta))
        return self.base.log_prob(u) + logdet

    def sample(self, n: int, beta: float, generator: torch.Generator) -> Tensor:
        """Draw n rows of z at one inverse temperature."""
        u = self.base.sample(n, generator, self.context_range.dtype)
        context = self._context(torch.full_like(u[:, 0], beta))
        return self.flow.inverse_and_logdet(u, context)[0]

    def round_trip(self, z: Tensor, beta: float) -> Tensor:
        """Return z, moved to the base and back at one inverse temperature."""
        context = self._context(torch.full_like(z[:, 0], beta))
        u, _ = self.flow.forward_and_logdet(z, context)
        return self.flow.inverse_and_logdet(u, context)[0]

    def _context(self, beta: Tensor) -> Tensor:
        low, high = self.context_range
        scaled: Tensor = (2 * beta - low - high) / (high - low)
        return scaled.unsqueeze(1)


def train_conditional(
    density: ConditionalDensity,
    z: Tensor,
    train: Draws,
    judge: Draws,
    plan: Plan,
    generator: torch.Generator,
) -> Outcome:
    """Fit p(z | beta) by maximum likelihood; the density ends frozen, in double precision.

    Parameters
    ----------
    density : ConditionalDensity
    z : Tensor of shape (n_frames, n_components)
        In double precision.
    train, judge : tuple of two Tensors of shape (n_draws,)
        Frames, drawn with their weights at an inverse temperature, and that temperature: to train
        on, and to stop by.
    plan : Plan
    generator : torch.Generator

    Returns
    -------
    Outcome
    """
    density.flow.whiten(*moments(z, z.new_ones(1).expand(len(z))))
    points = z.float()

    def loss(rows: Tensor, beta: Tensor) -> Tensor:
        return -density.log_density(points.index_select(0, rows), beta).mean()

    outcome = minimise(
        density,
        lambda batch: loss(*(drawn.index_select(0, batch) for drawn in train)),
        lambda: evaluate(lambda: loss(*judge)),
        batches(len(train[0]), plan.batch_size, generator),
        plan,
        stage=STAGE,
        optimiser=Soap,
    )
    density.double().requires_grad_(False).eval()
    return outcome
