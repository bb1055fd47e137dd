"""SOAP: Adam in the eigenbases of a layer's gradients, which small flows learn in half the steps.

Source: Vyas, Morwani, Zhao, Kwun, Shapira, Brandfonbrener, Janson, Kakade, SOAP: improving and
stabilizing Shampoo using Adam, ICLR 2025, algorithm 3.
"""

from __future__ import annotations

from itertools import groupby

import torch
from torch import Tensor, nn

BETA = 0.95  # of all running averages
EVERY = 5  # steps between two turns of the bases, and each of the first
EPSILON = 1e-8


class _Layers:
    """Linear layers of one shape, as a stack of matrices (weight, bias), and their averages.

    Attributes
    ----------
    left, right : Tensor of shape (n_layers, n_out, n_out) and (n_layers, n_in + 1, n_in + 1)
        Running averages of G G^T and G^T G, G being the gradient of a matrix.
    to_left, to_right : Tensor
        Approximate eigenvectors of both, as columns.
    mean, square : Tensor of shape (n_layers, n_out, n_in + 1)
        Adam's moments of G in these bases.
    """

    def __init__(self, layers: list[nn.Linear]) -> None:
        self.layers = layers
        weight = layers[0].weight.detach()
        n, (n_out, n_in) = len(layers), weight.shape
        self.mean, self.square = weight.new_zeros(2, n, n_out, n_in + 1)
        self.left = weight.new_zeros(n, n_out, n_out)
        self.right = weight.new_zeros(n, n_in + 1, n_in + 1)
        self.to_left, self.to_right = (
            torch.eye(size, dtype=weight.dtype, device=weight.device).repeat(n, 1, 1)
            for size in (n_out, n_in + 1)
        )

    def gradient(self) -> Tensor:
        """Return the gradients of all matrices."""
        pairs = [
            torch.cat((layer.weight.grad, layer.bias.grad.unsqueeze(1)), dim=1)  # type: ignore[union-attr,arg-type]
            for layer in self.layers
        ]
        return torch.stack(pairs)

    def direction(self, gradient: Tensor, correction: float) -> Tensor:
        """Return Adam's direction in the eigenbases, carried back; it moves each by at most 1."""
        self.left.lerp_(gradient @ gradient.mT, 1 - BETA)
        self.right.lerp_(gradient.mT @ gradient, 1 - BETA)
        turned = self.to_left.mT @ gradient @ self.to_right
        self.mean.lerp_(turned, 1 - BETA)
        self.square.lerp_(turned * turned, 1 - BETA)
        step = self.mean / correction / (self.square / correction).sqrt_().add_(EPSILON)
        length = (step * step).mean((1, 2), keepdim=True).sqrt_()
        back: Tensor = self.to_left @ (step / length.clamp_(min=1)) @ self.to_right.mT
        return back

    def turn(self) -> None:
        """Bring the bases a step of the power iteration nearer to the eigenvectors."""
        mean = self.to_left @ self.mean @ self.to_right.mT
        self.to_left = torch.linalg.qr(self.left @ self.to_left).Q
        self.to_right = torch.linalg.qr(self.right @ self.to_right).Q
        self.mean = self.to_left.mT @ mean @ self.to_right

    def move(self, step: Tensor) -> None:
        """Add a step to all matrices."""
        torch._foreach_add_([layer.weight for layer in self.layers], list(step[:, :, :-1]))
        torch._foreach_add_([layer.bias for layer in self.layers], list(step[:, :, -1]))


class Soap:
    """The optimiser of a module whose parameters are those of linear layers, in small networks.

    Parameters
    ----------
    module : nn.Module
        Frozen layers stay.
    """

    def __init__(self, module: nn.Module) -> None:
        layers = [
            each
            for each in module.modules()
            if isinstance(each, nn.Linear) and each.weight.requires_grad
        ]
        layers.sort(key=lambda layer: layer.weight.shape)
        self.stacks = [
            _Layers(list(same)) for _, same in groupby(layers, lambda layer: layer.weight.shape)
        ]
        self.n_steps = 0

    def step(self, value: Tensor, rate: float) -> None:
        """Lower the value, a function of the module's parameters."""
        for stack in self.stacks:
            for layer in stack.layers:
                layer.weight.grad = layer.bias.grad = None
        value.backward()  # type: ignore[no-untyped-call]
        self.n_steps += 1
        correction = 1 - BETA**self.n_steps
        with torch.no_grad():
            for stack in self.stacks:
                stack.move(-rate * stack.direction(stack.gradient(), correction))
                if self.n_steps < EVERY or self.n_steps % EVERY == 0:
                    stack.turn()
