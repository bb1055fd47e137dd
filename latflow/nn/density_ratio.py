"""The log-linear model in inverse temperature, learned as a classifier of temperatures.

    log p(k | v) = log n_k + f_k - u_k(v) + const,
    u_k(v) = (beta_k - beta_0) h(v) + (beta_k - beta_0)^2 / 2 c(v)

where v is what h reads (features or collective variables) and k the temperature a frame was
simulated at. Its maximum-likelihood solution is Geyer's reverse logistic regression (1994);
with h the potential energy it is MBAR. Energies are in units of the simulated range of beta.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from latflow.nn.networks import linear, mlp

__all__ = ["TemperatureClassifier"]


class TemperatureClassifier(nn.Module):
    """h(v), c(v) and the f_k.

    Parameters
    ----------
    n_inputs : int
    steps : Tensor of shape (n_temperatures,)
        beta_k - beta_0, in any unit of inverse energy.
    log_counts : Tensor of shape (n_temperatures,)
        log n_k, the frames (or their weights) at each temperature.
    hidden_features : sequence of int
    second_order : bool
        Learn c(v) too.
    generator : torch.Generator
    """

    steps: Tensor
    log_counts: Tensor

    def __init__(
        self,
        *,
        n_inputs: int,
        steps: Tensor,
        log_counts: Tensor,
        hidden_features: Sequence[int],
        second_order: bool,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        n_outputs = 2 if second_order else 1
        self.register_buffer("steps", steps)
        self.register_buffer("log_counts", log_counts)
        # a linear part and unbounded units: h goes on growing where only one temperature went
        self.linear = linear(n_inputs, n_outputs, generator)
        self.net = mlp((n_inputs, *hidden_features, n_outputs), generator)
        self.f = nn.Parameter(torch.zeros(len(steps)))

    def forward(self, v: Tensor) -> Tensor:
        """Return h(v) and, if learned, c(v): shape (n, 1) or (n, 2)."""
        hc: Tensor = self.net(v) + self.linear(v)
        return hc

    def reduced_energies(self, v: Tensor) -> Tensor:
        """Return u_k(v), shape (n, n_temperatures)."""
        powers = torch.stack((self.steps, self.steps**2 / 2))
        hc = self.forward(v)
        return hc @ powers[: hc.shape[1]]

    def loss(self, v: Tensor, k: Tensor) -> Tensor:
        """Return -log p(k | v) for every row."""
        logits = self.log_counts + self.f - self.reduced_energies(v)
        return cross_entropy(logits, k, reduction="none")
