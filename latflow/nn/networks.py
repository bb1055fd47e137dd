"""Encoder, decoder and the plain networks they are made of."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

Tape = tuple[Tensor, ...]


def unset_linear(n_in: int, n_out: int) -> nn.Linear:
    """Return a linear layer whose numbers are yet to be written."""
    layer = nn.Linear(n_in, n_out, device="meta")
    layer.weight = nn.Parameter(torch.empty(n_out, n_in, dtype=torch.float32, device="cpu"))
    layer.bias = nn.Parameter(torch.empty(n_out, dtype=torch.float32, device="cpu"))
    return layer


def linear(n_in: int, n_out: int, generator: torch.Generator) -> nn.Linear:
    """Return a linear layer drawn from `generator` alone: no global seed is read or moved."""
    layer = unset_linear(n_in, n_out)
    bound = 1 / math.sqrt(n_in)
    for parameter in (layer.weight, layer.bias):
        nn.init.uniform_(parameter, -bound, bound, generator=generator)
    return layer


def mlp(
    sizes: Sequence[int],
    generator: torch.Generator,
    activation: Callable[[], nn.Module] = nn.ReLU,
) -> nn.Sequential:
    """Return a feed-forward network through layers of these sizes; two sizes give a linear map."""
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes[:-1]):
        layers += [linear(n_in, n_out, generator), activation()]
    return nn.Sequential(*layers, linear(sizes[-2], sizes[-1], generator))


def on_columns(net: nn.Sequential, x: Tensor) -> tuple[Tensor, Tape]:
    """Return net(x.T).T of a rectified network, and what :func:`on_columns_backward` needs.

    x has shape (n_in, n), the result (n_out, n). Hidden layers are rows: the products of gradients
    with them are faster so.
    """
    parameters = list(net.parameters())
    weights, biases = parameters[::2], parameters[1::2]
    read = [x.T]
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        read.append(torch.addmm(bias, read[-1], weight.T).relu_())
    return torch.addmm(biases[-1].unsqueeze(1), weights[-1], read[-1].T), (*read, *weights)


def on_columns_backward(tape: Tape, grad: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Return the gradients of x and of the parameters, from that of the result."""
    n_layers = len(tape) // 2
    read, weights = tape[:n_layers], tape[n_layers:]
    grad = grad.T
    found: list[Tensor] = []
    for k in reversed(range(n_layers)):
        found += [grad.sum(0), grad.T @ read[k]]
        grad = grad @ weights[k]
        if k > 0:
            grad = torch.ops.aten.threshold_backward(grad, read[k], 0)
    return grad.T, found[::-1]


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
        self.mean = mlp(sizes, generator, nn.Tanh)
        self.log_sigma = nn.Parameter(
            torch.full((n_components,), -1.0, dtype=torch.float32, device="cpu")
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return mu(x), the noise-free collective variables."""
        return self.mean(x)  # type: ignore[no-any-return]

    def read_through(self, directions: Tensor) -> None:
        """Read x from now on, where y = x @ directions, (n_features, n_read), was read before."""
        old = self.mean[0]
        if not isinstance(old, nn.Linear):
            raise TypeError("The encoder's first layer is not linear.")
        new = unset_linear(len(directions), old.out_features).to(old.weight)
        with torch.no_grad():
            new.weight.copy_(old.weight @ directions.to(old.weight).T)
            new.bias.copy_(old.bias)
        self.mean[0] = new

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
        self.net = mlp((n_components, *hidden_features, n_states), generator)

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
        new = unset_linear(old.in_features, len(rows)).to(old.weight)
        with torch.no_grad():
            new.weight.copy_(old.weight[rows])
            new.bias.copy_(old.bias[rows])
        self.net[-1] = new
