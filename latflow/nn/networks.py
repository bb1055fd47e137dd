"""Encoder, decoder and the plain networks they are made of."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.utils import skip_init as _skip_init

__all__ = ["Decoder", "Encoder", "Network", "Tape", "linear", "log_softmax"]

Tape = tuple[Tensor, ...]


# torch leaves it untyped
skip_init: Callable[..., nn.Linear] = _skip_init


def linear(n_in: int, n_out: int, generator: torch.Generator) -> nn.Linear:
    """Return a linear layer drawn from `generator` alone: no global seed is read or moved."""
    layer: nn.Linear = skip_init(nn.Linear, n_in, n_out)
    bound = 1 / math.sqrt(n_in)
    for parameter in (layer.weight, layer.bias):
        nn.init.uniform_(parameter, -bound, bound, generator=generator)
    return layer


ACTIVATIONS: dict[type[nn.Module], tuple[Any, Any]] = {  # in place, and its gradient by its value
    nn.ReLU: (torch.relu_, lambda grad, value: torch.ops.aten.threshold_backward(grad, value, 0)),
    nn.Tanh: (torch.tanh_, torch.ops.aten.tanh_backward),
}


class Network(nn.Sequential):
    """A feed-forward network, on columns inside: one node of autograd's graph, few new arrays.

    Parameters
    ----------
    sizes : sequence of int
        Layers, input and output included; two sizes give a linear map.
    generator : torch.Generator
        Source of the initial weights.
    activation : {nn.ReLU, nn.Tanh}
    """

    def __init__(
        self,
        sizes: Sequence[int],
        generator: torch.Generator,
        activation: type[nn.Module] = nn.ReLU,
    ) -> None:
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise(sizes[:-1]):
            layers += [linear(n_in, n_out, generator), activation()]
        super().__init__(*layers, linear(sizes[-2], sizes[-1], generator))
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """Return the network's values at the rows of x, shape (n, n_out)."""
        if torch.is_grad_enabled():
            columns: Tensor = _OnColumns.apply(self, x.T, *self.parameters())  # type: ignore[no-untyped-call]
        else:
            columns, _ = self.on_columns(x.T)
        return columns.T

    def on_columns(self, x: Tensor) -> tuple[Tensor, Tape]:
        """Return the values at the columns of x, and what :meth:`backward` needs."""
        parameters = list(self.parameters())
        weights, biases = parameters[::2], parameters[1::2]
        activate, _ = ACTIVATIONS[self.activation]
        read = [x]
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            read.append(activate(torch.addmm(bias.unsqueeze(1), weight, read[-1])))
        return torch.addmm(biases[-1].unsqueeze(1), weights[-1], read[-1]), (*read, *weights)

    def backward(
        self, tape: Tape, grad: Tensor, *, through: bool = True
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the gradients of x (empty if not `through`) and of the parameters."""
        n_layers = len(tape) // 2
        read, weights = tape[:n_layers], tape[n_layers:]
        _, gradient = ACTIVATIONS[self.activation]
        found: list[Tensor] = []
        for k in reversed(range(n_layers)):
            found += [grad.sum(1), grad @ read[k].T]
            if k > 0:
                grad = gradient(weights[k].T @ grad, read[k])
        return weights[0].T @ grad if through else grad.new_empty(0), found[::-1]


class _OnColumns(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, network: Network, x: Tensor, *parameters: Tensor) -> Tensor:
        values, tape = network.on_columns(x)
        ctx.network = network
        ctx.save_for_backward(*tape)
        return values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        through = ctx.needs_input_grad[1]
        grad_x, parameters = ctx.network.backward(ctx.saved_tensors, grad, through=through)
        return None, grad_x if through else None, *parameters


def log_softmax(rows: Tensor) -> Tensor:
    """Return the logarithm of the rows' softmax; along columns, eight times as fast for few."""
    return torch.log_softmax(rows.T, dim=0).T


class Encoder(nn.Module):
    """q(z given x) = N(mu(x), diag(sigma^2)): mu linear or a tanh network, sigma learned.

    tanh keeps the collective variables smooth: a bias potential on them has a continuous force.
    """

    def __init__(
        self,
        n_features: int,
        n_components: int,
        hidden_features: Sequence[int],
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        sizes = (n_features, *hidden_features, n_components)
        self.mean = Network(sizes, generator, nn.Tanh)
        self.log_sigma = nn.Parameter(torch.full((n_components,), -1.0))

    def forward(self, x: Tensor) -> Tensor:
        """Return mu(x), the noise-free collective variables."""
        mean: Tensor = self.mean(x)
        return mean

    def noisy(self, mean: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return z = mu(x) + sigma * noise for mu(x) = mean, and log q(z given x)."""
        z = mean + self.log_sigma.exp() * noise
        gauss = -0.5 * (noise * noise).sum(dim=1) - 0.5 * noise.shape[1] * math.log(2 * math.pi)
        return z, gauss - self.log_sigma.sum()


class Decoder(nn.Module):
    """log p(s given z): the state one lagtime later."""

    def __init__(
        self,
        n_components: int,
        n_states: int,
        hidden_features: Sequence[int],
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.net = Network((n_components, *hidden_features, n_states), generator)

    @property
    def n_states(self) -> int:
        """Number of states the last layer tells apart."""
        return self._last.out_features

    @property
    def _last(self) -> nn.Linear:
        layer = self.net[-1]
        if not isinstance(layer, nn.Linear):
            raise TypeError("The decoder's last layer is not linear.")
        return layer

    def forward(self, z: Tensor) -> Tensor:
        """Return log-probabilities of the states, shape (n, n_states)."""
        return log_softmax(self.net(z))

    def keep(self, states: Sequence[int]) -> None:
        """Shrink the last layer to `states`, in this order; its parameters are new objects."""
        old = self._last
        rows = torch.as_tensor(states, device=old.weight.device)
        new = skip_init(nn.Linear, old.in_features, len(rows)).to(old.weight)
        with torch.no_grad():
            new.weight.copy_(old.weight[rows])
            new.bias.copy_(old.bias[rows])
        self.net[-1] = new
