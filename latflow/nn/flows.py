"""Coupling layers and their composition: z to u and back, log-determinants known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from latflow.nn.networks import Tape, mlp, on_columns, on_columns_backward
from latflow.nn.splines import (
    LIMIT,
    n_spline_parameters,
    spline_backward,
    spline_forward,
    spline_inverse,
)

N_BINS = 16

Rows = Sequence[Tensor]


class Affine:
    """u = z exp(log_scale) + shift, the scale bounded; it acts everywhere, whatever `bound`."""

    n_parameters = 2

    def __init__(self, bound: float) -> None:
        self.bound = bound

    def forward(self, z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor, Tape]:
        """Return u and log du/dz, both (m, n), and a tape; the parameters: (m, n_parameters, n)."""
        shift, tanh = self._read(parameters)
        scale = (LIMIT * tanh).exp()
        return torch.addcmul(shift, z, scale), LIMIT * tanh, (z, tanh, scale)

    def backward(self, tape: Tape, grad_u: Tensor, grad_logdet: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients of z and of the parameters."""
        z, tanh, scale = tape
        grad_z = grad_u * scale
        grad_raw = torch.addcmul(grad_logdet, grad_z, z) * (1 - tanh * tanh)
        return grad_z, torch.stack((grad_u, grad_raw), 1)

    def inverse(self, u: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and log dz/du."""
        shift, tanh = self._read(parameters)
        return (u - shift) * (-LIMIT * tanh).exp(), -LIMIT * tanh

    @staticmethod
    def _read(parameters: Tensor) -> tuple[Tensor, Tensor]:
        shift, raw = parameters.unbind(1)
        return shift, torch.tanh(raw / LIMIT)


class Spline:
    """Rational-quadratic spline on [-bound, bound], the identity outside."""

    n_parameters = n_spline_parameters(N_BINS)

    def __init__(self, bound: float) -> None:
        self.bound = bound

    def forward(self, z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor, Tape]:
        """Return u, log du/dz and a tape, as :class:`Affine` does."""
        return spline_forward(z, parameters, N_BINS, self.bound)

    def backward(self, tape: Tape, grad_u: Tensor, grad_logdet: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients of z and of the parameters."""
        return spline_backward(tape, grad_u, grad_logdet, N_BINS, self.bound)

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
        turned = torch.arange(dim, device="cpu").roll(turn(position, dim, n_moved)).tolist()
        self.moved, self.fixed = turned[:n_moved], turned[n_moved:]
        self.transform = TRANSFORMS[transform](bound)
        self.n_context = n_context
        self.n_kept = 2 * len(hidden_features) + 2  # tensors of a tape that are the network's
        n_in = max(1, dim - n_moved + n_context)
        n_out = n_moved * self.transform.n_parameters
        self.net = mlp((n_in, *hidden_features, n_out), generator)
        for parameter in self.net[-1].parameters():  # the identity at the start
            nn.init.zeros_(parameter)

    def forward(self, z: Rows, context: Tensor) -> tuple[Rows, Tensor, Tape]:
        """Return u, log |du/dz| of the coordinates moved, shape (m, n), and a tape.

        z and u are rows of shape (1, n).
        """
        raw, tape = self._parameters_at(z, context)
        moved, logdet, own = self.transform.forward(_joined([z[k] for k in self.moved]), raw)
        return self._with(z, moved), logdet, (*tape, *own)

    def backward(
        self, tape: Tape, grad_u: Rows, grad_logdet: Tensor
    ) -> tuple[Rows, Tensor, list[Tensor]]:
        """Return the gradients of z, of the context and of the parameters."""
        grad_moved = _joined([grad_u[k] for k in self.moved])
        moved, raw = self.transform.backward(tape[self.n_kept :], grad_moved, grad_logdet)
        read, parameters = on_columns_backward(tape[: self.n_kept], raw.flatten(0, 1))
        result = self._with(grad_u, moved)
        for i, k in enumerate(self.fixed):
            result[k] = result[k] + read[i : i + 1]
        return result, read[len(self.fixed) :][: self.n_context], parameters

    def inverse(self, u: Rows, context: Tensor) -> tuple[Rows, Tensor]:
        """Return z and log |dz/du| of the coordinates moved."""
        raw, _ = self._parameters_at(u, context)
        moved, logdet = self.transform.inverse(_joined([u[k] for k in self.moved]), raw)
        return self._with(u, moved), logdet

    def _parameters_at(self, z: Rows, context: Tensor) -> tuple[Tensor, Tape]:
        read = [z[k] for k in self.fixed] + [context] * (self.n_context > 0)
        raw, tape = on_columns(self.net, _joined(read) if read else torch.ones_like(z[0]))
        return raw.view(len(self.moved), self.transform.n_parameters, raw.shape[1]), tape

    def _with(self, rows: Rows, moved: Tensor) -> list[Tensor]:
        result = list(rows)
        for i, k in enumerate(self.moved):
            result[k] = moved[i : i + 1]
        return result


def _joined(rows: Rows) -> Tensor:
    return rows[0] if len(rows) == 1 else torch.cat(list(rows))


class _Couplings(torch.autograd.Function):
    """All couplings as one node of autograd's graph: of small batches nodes are half the cost."""

    @staticmethod
    def forward(
        ctx: Any, couplings: Sequence[Coupling], z: Tensor, context: Tensor, *parameters: Tensor
    ) -> tuple[Tensor, Tensor]:
        tapes: list[Tape] = []
        result = _forward(couplings, z, context, tapes)
        ctx.couplings, ctx.lengths = couplings, [len(tape) for tape in tapes]
        ctx.save_for_backward(*chain.from_iterable(tapes))
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_u: Tensor, grad_logdet: Tensor) -> tuple[Any, ...]:
        rows: Rows = torch.split(grad_u, 1)
        kept, contexts = list(ctx.saved_tensors), []
        parameters: list[Tensor] = []
        for coupling, length in zip(reversed(ctx.couplings), reversed(ctx.lengths), strict=True):
            tape = tuple(kept[-length:])
            del kept[-length:]
            rows, context, own = coupling.backward(tape, rows, grad_logdet)
            contexts.append(context)
            parameters = own + parameters
        return None, torch.cat(list(rows)), sum(contexts), *parameters


def _forward(
    couplings: Sequence[Coupling], z: Tensor, context: Tensor, tapes: list[Tape] | None = None
) -> tuple[Tensor, Tensor]:
    """Return u, shape (dim, n), and log |det du/dz|, shape (n,)."""
    rows: Rows = torch.split(z, 1)
    logdets = []
    for coupling in couplings:
        rows, logdet, tape = coupling.forward(rows, context)
        logdets.append(logdet)
        if tapes is not None:
            tapes.append(tape)
    return torch.cat(list(rows)), torch.cat(logdets).sum(0)


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
        self.register_buffer("location", torch.zeros(dim, dtype=torch.float32, device="cpu"))
        self.register_buffer("factor", torch.eye(dim, dtype=torch.float32, device="cpu"))
        self.couplings: Any = nn.ModuleList(
            Coupling(dim, i, transform, hidden_features, n_context, bound, generator)
            for i in range(n_transforms)
        )

    def forward_and_logdet(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return u, shape (n, dim), and log |det du/dz|, shape (n,)."""
        white = torch.linalg.solve_triangular(self.factor, (z - self.location).T, upper=False)
        context = z.new_empty(0, len(z)) if context is None else context.T
        couplings = list(self.couplings)
        if torch.is_grad_enabled():
            u, logdet = _Couplings.apply(couplings, white, context, *self.parameters())  # type: ignore[no-untyped-call]
        else:
            u, logdet = _forward(couplings, white, context)
        return u.T, logdet - self._log_volume()

    def inverse_and_logdet(self, u: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return z, shape (n, dim), and log |det dz/du|, shape (n,)."""
        rows: Rows = torch.split(u.T, 1)
        logdet = self._log_volume()
        context = u.new_empty(0, len(u)) if context is None else context.T
        for coupling in reversed(list(self.couplings)):
            rows, part = coupling.inverse(rows, context)
            logdet = logdet + part.sum(dim=0)
        return (self.factor @ torch.cat(list(rows))).T + self.location, logdet

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
