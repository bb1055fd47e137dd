"""Monotone rational-quadratic splines with a backward pass written by hand.

Points lie along the last axis, the numbers that make their splines along the one before: a batch is
a few long rows, not many short ones, and the gradient is some 50 operations on them in place of
autograd's hundreds. In few dimensions a training step pays for these first.

Source: Durkan, Bekasov, Murray, Papamakarios, Neural spline flows, NeurIPS 2019, section 3.
Inside the square [-bound, bound]^2 the spline has `n_bins` bins; outside it is the identity.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["n_spline_parameters", "spline_forward", "spline_inverse"]

# a tenth of the box is dealt out evenly and slopes lie within exp(+-LIMIT): whatever the
# network says, the spline can be inverted
EVEN = 0.1
LIMIT = 2.5


def n_spline_parameters(n_bins: int) -> int:
    """Logarithms of the widths and heights of every bin and of the slopes at the inner knots."""
    return 3 * n_bins - 1


@functools.lru_cache(maxsize=16)
def _to_knots(n_bins: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the matrix from sizes of the bins to inner knots."""
    return torch.ones(n_bins - 1, n_bins, dtype=dtype, device=device).tril().unsqueeze(0)


class _Bins(NamedTuple):
    """The bins points lie in, and what the gradient needs of how they were found.

    Attributes
    ----------
    shares : Tensor of shape (m, 2, n_bins, n)
        Of widths and heights, each summing to 1.
    below : Tensor of shape (m, 1, n_bins - 1, n)
        1 for bins before the point's own.
    number : Tensor of shape (m, 2, 1, n)
        Of the point's bin, twice.
    corner, size : Tensor of shape (m, 2, n)
        Lower left corner, counted from the box's; width and height.
    rows : Tensor of shape (m, 2, n)
        Which parameters hold the slopes at both ends.
    inner : Tensor of shape (m, 2, n)
        1 for slopes at inner knots, 0 at the ends of the box.
    tanh, slopes : Tensor of shape (m, 2, n)
        Slopes are exp(LIMIT tanh).
    """

    shares: Tensor
    below: Tensor
    number: Tensor
    corner: Tensor
    size: Tensor
    rows: Tensor
    inner: Tensor
    tanh: Tensor
    slopes: Tensor


def _find_bins(at: Tensor, parameters: Tensor, n_bins: int, bound: float, axis: int) -> _Bins:
    """Look up bins along `axis` (0: widths, 1: heights) for points counted from the box's edge."""
    shares = torch.unflatten(parameters[:, : 2 * n_bins], 1, (2, n_bins)).softmax(2)
    sizes = (shares * (2 * bound * (1 - EVEN))).add_(2 * bound * EVEN / n_bins)
    matrix = _to_knots(n_bins, shares.dtype, shares.device).expand(len(shares), -1, -1)
    knots = torch.bmm(matrix, sizes[:, axis].detach())
    below = knots.lt_(at.detach().unsqueeze(1))  # in place: a mask of floats, several times as fast
    index = below.sum(1, keepdim=True).long()
    below, number = below.unsqueeze(1), index.unsqueeze(1).expand(-1, 2, -1, -1)
    corner = (sizes[:, :, :-1] * below).sum(2)
    size = sizes.gather(2, number).squeeze(2)
    ends = torch.cat((index, index + 1), 1)
    rows = ends.clamp(1, n_bins - 1)
    inner = (rows == ends).to(shares.dtype)
    rows += 2 * n_bins - 1
    tanh = (parameters.gather(1, rows) * inner).mul_(1 / LIMIT).tanh_()
    slopes = (LIMIT * tanh).exp_()
    return _Bins(shares, below, number, corner, size, rows, inner, tanh, slopes)


class _Spline(torch.autograd.Function):
    """y and log dy/dx of the spline; the backward pass differentiates equations 4 to 8."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, parameters: Tensor, n_bins: int, bound: float) -> Any:
        at = x.clamp(-bound, bound).add_(bound)
        bins = _find_bins(at, parameters, n_bins, bound, axis=0)
        left, bottom = bins.corner.unbind(1)
        w, h = bins.size.unbind(1)
        d0, d1 = bins.slopes.unbind(1)
        theta = (at - left).div_(w)
        rest = 1 - theta
        theta2, rest2, both = theta * theta, rest * rest, theta * rest
        s = h / w
        curve = (d0 + d1).sub_(s, alpha=2)
        denominator = torch.addcmul(s, curve, both)
        ratio = (s * theta2).addcmul_(d0, both).div_(denominator)
        rise = (d1 * theta2).addcmul_(s, both, value=2).addcmul_(d0, rest2)
        q = s / denominator
        slope = (q * q).mul_(rise)
        inside = x.abs().lt_(bound)  # 1 and 0
        y = torch.where(inside > 0, torch.addcmul(bottom, h, ratio).sub_(bound), x)
        ctx.scale = 2 * bound * (1 - EVEN)
        ctx.save_for_backward(
            *bins, theta, rest, theta2, rest2, both, s, curve, denominator, ratio, rise, q, slope,
            inside,
        )  # fmt: skip
        return y, slope.log().mul_(inside)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor, grad_logdet: Tensor) -> tuple[Any, ...]:
        bins = _Bins(*ctx.saved_tensors[: len(_Bins._fields)])
        (
            theta, rest, theta2, rest2, both, s, curve, denominator, ratio, rise, q, slope, inside,
        ) = ctx.saved_tensors[len(_Bins._fields) :]  # fmt: skip
        w, _ = bins.size.unbind(1)
        d0, d1 = bins.slopes.unbind(1)
        gy, gl = grad_y * inside, grad_logdet * inside
        turn = rest - theta
        bend = (d1 * theta).addcmul_(d0, rest, value=-1).addcmul_(s, turn).div_(rise)
        bend.addcmul_(curve / denominator, turn, value=-1)  # half of d logdet / d theta
        gx = (gy * slope).addcmul_(gl / w, bend, value=2)
        g_numerator = (q * w).mul_(gy)
        fall = (g_numerator * ratio).add_(gl / denominator, alpha=2)  # minus that of denominator
        g_rise = gl / rise
        g_slope0 = (g_numerator - fall).mul_(both).addcmul_(g_rise, rest2)
        g_slope1 = (g_rise * theta2).addcmul_(fall, both, value=-1)
        g_s = (g_numerator * theta2).sub_(fall).addcmul_(fall + g_rise, both, value=2)
        g_s = g_s.add_(gl / s, alpha=2).div_(w)
        g_width, g_height = -(gx * theta).addcmul_(g_s, s), (gy * ratio).add_(g_s)
        sizes = torch.stack((-gx, gy, g_width, g_height), 1).mul_(ctx.scale)
        slopes = torch.stack((g_slope0, g_slope1), 1)
        grad = _parameter_gradient(bins, sizes[:, :2], sizes[:, 2:], slopes)
        return torch.where(inside > 0, gx, grad_y), grad, None, None


def _parameter_gradient(bins: _Bins, before: Tensor, own: Tensor, slopes: Tensor) -> Tensor:
    """Carry gradients back to the raw parameters.

    They are those of the sizes of all bins before a point's own, of its own, and of its slopes.
    """
    n_moved, _, n_bins, n = bins.shares.shape
    grad = before.new_empty(n_moved, n_spline_parameters(n_bins), n)
    grad[:, 2 * n_bins :].zero_()
    bend = torch.addcmul(bins.inner, bins.tanh, bins.tanh, value=-1)
    grad.scatter_add_(1, bins.rows, bend.mul_(bins.slopes).mul_(slopes))
    sizes = torch.unflatten(grad[:, : 2 * n_bins], 1, (2, n_bins))
    torch.mul(before.unsqueeze(2), bins.below, out=sizes[:, :, :-1])
    sizes[:, :, -1].zero_()
    sizes.scatter_(2, bins.number, own.unsqueeze(2))
    sizes.mul_(bins.shares)
    sizes.addcmul_(sizes.sum(2, keepdim=True), bins.shares, value=-1)
    return grad


def spline_forward(
    x: Tensor, parameters: Tensor, n_bins: int, bound: float
) -> tuple[Tensor, Tensor]:
    """Return y and log dy/dx.

    Parameters
    ----------
    x : Tensor of shape (m, n)
    parameters : Tensor of shape (m, 3 n_bins - 1, n)
        Zeros give the identity.
    n_bins : int
    bound : float

    Returns
    -------
    y, logdet : Tensor of shape (m, n)

    Examples
    --------
    >>> y, logdet = spline_forward(torch.tensor([[0.3]]), torch.zeros(1, 23, 1), 8, 5.0)
    >>> round(float(y), 6), round(float(logdet), 6)
    (0.3, 0.0)
    """
    result: tuple[Tensor, Tensor] = _Spline.apply(x, parameters, n_bins, bound)  # type: ignore[no-untyped-call]
    return result


def spline_inverse(
    y: Tensor, parameters: Tensor, n_bins: int, bound: float
) -> tuple[Tensor, Tensor]:
    """Return x and log dx/dy, shapes as in :func:`spline_forward`."""
    at = y.clamp(-bound, bound) + bound
    bins = _find_bins(at, parameters, n_bins, bound, axis=1)
    (left, bottom), (w, h), (d0, d1) = (
        pair.unbind(1) for pair in (bins.corner, bins.size, bins.slopes)
    )
    rest, s = at - bottom, h / w
    curve = d0 + d1 - 2 * s
    qa = h * (s - d0) + rest * curve
    qb = h * d0 - rest * curve
    qc = -s * rest
    theta = 2 * qc / (-qb - (qb * qb - 4 * qa * qc).clamp(min=0).sqrt())
    both = theta * (1 - theta)
    rise = d1 * theta * theta + 2 * s * both + d0 * (1 - theta) ** 2
    slope = s * s * rise / (s + curve * both) ** 2
    inside = y.abs() < bound
    x = torch.where(inside, left + theta * w - bound, y)
    return x, -torch.where(inside, slope, 1.0).log()
