"""Coupling layers and their composition: z to u and back, log-determinants known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from latflow.nn.networks import mlp, on_columns
from latflow.nn.splines import LIMIT, n_spline_parameters, spline_forward, spline_inverse

__all__ = ["TRANSFORMS", "Coupling", "Flow"]

N_BINS = 16

Rows = Sequence[Tensor]


class Affine:
    """u = z exp(log_scale) + shift, the scale bounded; it acts everywhere, whatever `bound`."""

    n_parameters = 2

    def __init__(self, bound: float) -> None:
        self.bound = bound

    def forward(self, z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Return u and log du/dz, both (m, n); the parameters are (m, n_parameters, n)."""
        shift, log_scale = self._read(parameters)
        return z * log_scale.exp() + shift, log_scale

    def inverse(self, u: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and log dz/du."""
        shift, log_scale = self._read(parameters)
        return (u - shift) * (-log_scale).exp(), -log_scale

    @staticmethod
    def _read(parameters: Tensor) -> tuple[Tensor, Tensor]:
        shift, raw = parameters.unbind(1)
        return shift, LIMIT * torch.tanh(raw / LIMIT)


class Spline:
    """Rational-quadratic spline on [-bound, bound], the identity outside."""

    n_parameters = n_spline_parameters(N_BINS)

    def __init__(self, bound: float) -> None:
        self.bound = bound

    def forward(self, z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Return u and log du/dz."""
        return spline_forward(z, parameters, N_BINS, self.bound)

    def inverse(self, u: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and log dz/du."""
        return spline_inverse(u, parameters, N_BINS, self.bound)


TRANSFORMS: dict[str, Any] = {"affine": Affine, "spline": Spline}


def turn(position: int, dim: int, n_moved: int) -> int:
    """Return by how much to roll the coordinates before the first `n_moved` of them are moved.

    All are moved in as few couplings as can be; from d = 4 on the next round parts them anew, so
    that those moved together in one round read each other in the next.
    """
    again = position // math.ceil(dim / n_moved) if dim > 3 else 0
    return position * n_moved + again


class Coupling(nn.Module):
    """Transforms one part of z with parameters read from the other part and the context.

    In d = 1 there is no other part: the parameters depend on the context alone.
    """

    def __init__(
        self,
        dim: int,
        position: int,
        transform: str,
        hidden_features: Sequence[int],
        n_context: int,
        bound: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        n_moved = max(1, dim // 2)
        turned = torch.arange(dim).roll(turn(position, dim, n_moved)).tolist()
        self.moved, self.fixed = turned[:n_moved], turned[n_moved:]
        self.transform = TRANSFORMS[transform](bound)
        n_in = max(1, dim - n_moved + n_context)
        self.net = mlp((n_in, *hidden_features, n_moved * self.transform.n_parameters), generator)
        for parameter in self.net[-1].parameters():  # the identity at the start
            nn.init.zeros_(parameter)

    def forward_and_logdet(self, z: Rows, context: Tensor) -> tuple[Rows, Tensor]:
        """Return u and log |det du/dz|, shape (n,); z and u are rows of shape (1, n)."""
        return self._move(self.transform.forward, z, context)

    def inverse_and_logdet(self, u: Rows, context: Tensor) -> tuple[Rows, Tensor]:
        """Return z and log |det dz/du|, as :meth:`forward_and_logdet`."""
        return self._move(self.transform.inverse, u, context)

    def _move(self, transform: Any, z: Rows, context: Tensor) -> tuple[Rows, Tensor]:
        read = torch.cat([*(z[k] for k in self.fixed), context])
        if len(read) == 0:
            read = read.new_ones(1, read.shape[1])
        raw = torch.unflatten(on_columns(self.net, read), 0, (len(self.moved), -1))
        moved, logdet = transform(torch.cat([z[k] for k in self.moved]), raw)
        result = list(z)
        for k, row in zip(self.moved, torch.split(moved, 1), strict=True):
            result[k] = row
        return result, logdet.sum(dim=0)


class Flow(nn.Module):
    """u = f(z): a fixed whitening, then couplings that take turns in moving every coordinate.

    Parameters
    ----------
    dim : int
        Dimension of z and u, at least 1.
    n_transforms : int
        Number of couplings; at least two are needed to move every coordinate in d > 1.
    transform : {"spline", "affine"}
    hidden_features : sequence of int
        Layers of each coupling's network.
    n_context : int
        Numbers of context per row, 0 for none.
    bound : float
        Half the side of the box in which a spline bends; the identity lies outside.
    generator : torch.Generator
    """

    location: Tensor
    factor: Tensor

    def __init__(
        self,
        dim: int,
        n_transforms: int,
        transform: str,
        hidden_features: Sequence[int],
        n_context: int,
        bound: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.register_buffer("location", torch.zeros(dim))
        self.register_buffer("factor", torch.eye(dim))
        self.couplings: Any = nn.ModuleList(
            Coupling(dim, i, transform, hidden_features, n_context, bound, generator)
            for i in range(n_transforms)
        )

    def forward_and_logdet(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return u, shape (n, dim), and log |det du/dz|, shape (n,)."""
        white = torch.linalg.solve_triangular(self.factor, (z - self.location).T, upper=False)
        rows, logdet = torch.split(white, 1), -self._log_volume()
        context = z.new_empty(0, len(z)) if context is None else context.T
        for coupling in self.couplings:
            rows, part = coupling.forward_and_logdet(rows, context)
            logdet = logdet + part
        return torch.cat(rows).T, logdet

    def inverse_and_logdet(self, u: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return z, shape (n, dim), and log |det dz/du|, shape (n,)."""
        rows, logdet = torch.split(u.T, 1), self._log_volume()
        context = u.new_empty(0, len(u)) if context is None else context.T
        for coupling in reversed(list(self.couplings)):
            rows, part = coupling.inverse_and_logdet(rows, context)
            logdet = logdet + part
        return (self.factor @ torch.cat(rows)).T + self.location, logdet

    def whiten(self, mean: Tensor, covariance: Tensor, scale: float = 1.0) -> None:
        """Take mean and covariance out first, so that what the couplings see has spread `scale`.

        Variables that a linear encoder leaves nearly collinear would else be a ridge that no
        coupling resolves. Directions without spread get a millionth of the average one.
        """
        least = 1e-6 * covariance.diagonal().mean() + 1e-12
        jitter = least * torch.eye(len(mean), dtype=covariance.dtype, device=covariance.device)
        self.location.copy_(mean)
        self.factor.copy_(torch.linalg.cholesky(covariance + jitter) / scale)

    def _log_volume(self) -> Tensor:
        return self.factor.diagonal().log().sum()
