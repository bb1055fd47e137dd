"""Monotone rational-quadratic splines with a backward pass written by hand.

Autograd's own pass through the same formulas launches about three times as many small kernels,
and in few dimensions the launches are what a training step pays for.

Source: Durkan, Bekasov, Murray, Papamakarios, Neural spline flows, NeurIPS 2019, section 3.
Inside the square [-bound, bound]^2 the spline has `n_bins` bins; outside it is the identity.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn.functional import pad

__all__ = ["n_spline_parameters", "spline_forward", "spline_inverse"]

# a tenth of the box is dealt out evenly and slopes lie within exp(+-LIMIT): whatever the
# network says, the spline can be inverted
EVEN = 0.1
LIMIT = 2.5


def n_spline_parameters(n_bins: int) -> int:
    """Logarithms of the widths and heights of every bin and of the slopes at the inner knots."""
    return 3 * n_bins - 1


class _Bin(NamedTuple):
    """The bin a point lies in: its edges, sizes and end slopes, in units of the square's side."""

    number: Tensor
    left: Tensor
    bottom: Tensor
    width: Tensor
    height: Tensor
    slope0: Tensor
    slope1: Tensor


def _sizes(parameters: Tensor, n_bins: int) -> tuple[Tensor, Tensor]:
    raw = parameters[..., : 2 * n_bins]
    softmax = raw.reshape(*raw.shape[:-1], 2, n_bins).softmax(dim=-1)
    return softmax, softmax * (1 - EVEN) + EVEN / n_bins


def _find_bin(position: Tensor, sizes: Tensor, parameters: Tensor, axis: int) -> _Bin:
    """Look up the bin along `axis` (0: widths, 1: heights) for a position in [0, 1]."""
    n_bins = sizes.shape[-1]
    ends = sizes.cumsum(dim=-1)
    index = (ends[..., axis, :-1] < position.unsqueeze(-1)).sum(dim=-1, keepdim=True)
    both = index.unsqueeze(-2).expand(*index.shape[:-1], 2, 1)
    size = sizes.gather(-1, both).squeeze(-1)
    start = ends.gather(-1, both).squeeze(-1) - size
    raw = pad(parameters[..., 2 * n_bins :], (1, 1))
    raw = raw.gather(-1, torch.cat((index, index + 1), dim=-1))
    slopes = (LIMIT * torch.tanh(raw / LIMIT)).exp()
    return _Bin(index, *start.unbind(-1), *size.unbind(-1), *slopes.unbind(-1))


class _Spline(torch.autograd.Function):
    """y and log dy/dx of the spline; the backward pass differentiates equations 4 to 8."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, parameters: Tensor, n_bins: int, bound: float) -> tuple[Tensor, ...]:
        softmax, sizes = _sizes(parameters, n_bins)
        position = (x + bound) / (2 * bound)
        inside = (position > 0) & (position < 1)
        b = _find_bin(position.clamp(0, 1), sizes, parameters, axis=0)
        theta = (position - b.left) / b.width
        s = b.height / b.width
        t = theta - theta * theta
        numerator = s * theta * theta + b.slope0 * t
        denominator = s + (b.slope0 + b.slope1 - 2 * s) * t
        rise = b.slope1 * theta * theta + 2 * s * t + b.slope0 * (1 - theta) ** 2
        ratio = numerator / denominator
        y = torch.where(inside, (b.bottom + b.height * ratio) * (2 * bound) - bound, x)
        slope = s * s * rise / (denominator * denominator)
        logdet = torch.where(inside, slope, 1.0).log()
        saved = (softmax, b.number, b.width, b.height, b.slope0, b.slope1)
        return y, logdet, *saved, theta, denominator, rise, ratio, inside

    @staticmethod
    def setup_context(
        ctx: FunctionCtx, inputs: tuple[Any, ...], output: tuple[Tensor, ...]
    ) -> None:
        _, _, ctx.n_bins, ctx.bound = inputs  # type: ignore[attr-defined]
        ctx.save_for_backward(*output[2:])
        ctx.mark_non_differentiable(*output[2:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor, grad_logdet: Tensor, *_: Tensor) -> tuple[Any, ...]:
        softmax, index, w, h, d0, d1, theta, denominator, rise, ratio, inside = ctx.saved_tensors
        gy = torch.where(inside, grad_y * (2 * ctx.bound), 0.0)
        gl = torch.where(inside, grad_logdet, 0.0)
        theta2, rest2, t, s = theta * theta, (1 - theta) ** 2, theta - theta * theta, h / w
        turn = 1 - 2 * theta
        g_num = gy * h / denominator
        g_den = -(g_num * ratio + 2 * gl / denominator)
        g_rise = gl / rise
        g_theta = (
            g_num * (2 * s * theta + d0 * turn)
            + g_den * ((d0 + d1 - 2 * s) * turn)
            + 2 * g_rise * (d1 * theta + s * turn - d0 * (1 - theta))
        )
        g_s = g_num * theta2 + g_den * (1 - 2 * t) + 2 * g_rise * t + 2 * gl / s
        g_slope0 = d0 * _bend(d0) * ((g_num + g_den) * t + g_rise * rest2)
        g_slope1 = d1 * _bend(d1) * (g_den * t + g_rise * theta2)
        g_slopes = torch.stack((g_slope0, g_slope1), -1)
        g_left = -g_theta / w
        g_width = (g_left * theta) - g_s * s / w
        g_height = gy * ratio + g_s / w
        grad_x = torch.where(inside, -g_left / (2 * ctx.bound), grad_y)
        before = torch.stack((g_left, gy), -1)
        at = torch.stack((g_width, g_height), -1)
        return grad_x, _parameter_gradient(softmax, index, before, at, g_slopes), None, None


def _bend(slope: Tensor) -> Tensor:
    """Return d(log slope)/d(raw) of log slope = LIMIT tanh(raw / LIMIT)."""
    tanh = slope.log() / LIMIT
    return 1 - tanh * tanh


def _parameter_gradient(
    softmax: Tensor, index: Tensor, before: Tensor, at: Tensor, slopes: Tensor
) -> Tensor:
    """Carry gradients of a bin's edge, size and slopes back to the raw parameters."""
    n_bins = softmax.shape[-1]
    bins = torch.arange(n_bins, device=softmax.device)
    here = index.unsqueeze(-2)
    g = torch.where(bins < here, before.unsqueeze(-1), 0.0)
    g = torch.where(bins == here, at.unsqueeze(-1), g)
    g_sizes = (1 - EVEN) * softmax * (g - (g * softmax).sum(-1, keepdim=True))
    knots = torch.cat((index, index + 1), -1)
    g_slopes = torch.zeros_like(softmax[..., 0, :1]).expand(*index.shape[:-1], n_bins + 1)
    g_slopes = g_slopes.scatter(-1, knots, slopes)
    return torch.cat((g_sizes.flatten(-2), g_slopes[..., 1:-1]), dim=-1)


def spline_forward(
    x: Tensor, parameters: Tensor, n_bins: int, bound: float
) -> tuple[Tensor, Tensor]:
    """Return y and log dy/dx.

    Parameters
    ----------
    x : Tensor of shape (n, m)
    parameters : Tensor of shape (n, m, 3 n_bins - 1)
        Zeros give the identity.
    n_bins : int
    bound : float

    Returns
    -------
    y, logdet : Tensor of shape (n, m)

    Examples
    --------
    >>> y, logdet = spline_forward(torch.tensor([[0.3]]), torch.zeros(1, 1, 23), 8, 5.0)
    >>> round(float(y), 6), round(float(logdet), 6)
    (0.3, 0.0)
    """
    y, logdet, *_ = _Spline.apply(x, parameters, n_bins, bound)  # type: ignore[no-untyped-call]
    return y, logdet


def spline_inverse(
    y: Tensor, parameters: Tensor, n_bins: int, bound: float
) -> tuple[Tensor, Tensor]:
    """Return x and log dx/dy, shapes as in :func:`spline_forward`."""
    _, sizes = _sizes(parameters, n_bins)
    position = (y + bound) / (2 * bound)
    inside = (position > 0) & (position < 1)
    b = _find_bin(position.clamp(0, 1), sizes, parameters, axis=1)
    rest = position.clamp(0, 1) - b.bottom
    s = b.height / b.width
    curve = b.slope0 + b.slope1 - 2 * s
    qa = b.height * (s - b.slope0) + rest * curve
    qb = b.height * b.slope0 - rest * curve
    qc = -s * rest
    theta = 2 * qc / (-qb - (qb * qb - 4 * qa * qc).clamp(min=0).sqrt())
    t = theta * (1 - theta)
    rise = b.slope1 * theta * theta + 2 * s * t + b.slope0 * (1 - theta) ** 2
    slope = s * s * rise / (s + curve * t) ** 2
    x = torch.where(inside, (b.left + theta * b.width) * (2 * bound) - bound, y)
    return x, -torch.where(inside, slope, 1.0).log()
