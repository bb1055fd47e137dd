"""Monotone rational-quadratic splines, and their gradient written by hand.

Points lie along the last axis, the numbers that make their splines along the one before: a batch is
a few long rows, not many short ones, and the gradient is some 50 operations on them in place of
autograd's hundreds. In few dimensions a training step pays for these first.

Source: Durkan, Bekasov, Murray, Papamakarios, Neural spline flows, NeurIPS 2019, section 3.
Inside the square [-bound, bound]^2 the spline has `n_bins` bins; outside it is the identity.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch
from torch import Tensor

# a tenth of the box is dealt out evenly and slopes lie within exp(+-LIMIT): whatever the
# network says, the spline can be inverted
EVEN = 0.1
LIMIT = 2.5

Tape = tuple[Tensor, ...]


def n_spline_parameters(n_bins: int) -> int:
    """Logarithms of the widths and heights of every bin and of the slopes at the inner knots."""
    return 3 * n_bins - 1


class _Box(NamedTuple):
    """What all splines of one box have in common: constants, as tensors.

    Attributes
    ----------
    bare, even : Tensor of shape ()
        Size of a bin is even + bare * its share.
    first, sums : Tensor of shape (1, n_bins, 1) and (1, n_bins, n_bins)
        Lower edges of the bins are first + sums @ shares.
    ends, towards, away : Tensor of shape (1, 2, 1)
        Parameters of the slopes at both ends of bin k: ends + k. The weights of these parameters
        away + towards * k, at most 1 / LIMIT, are 0 at the ends of the box.
    signs : Tensor of shape (1, 4, 1)
        From the gradients of a bin's edge and size to those of its share.
    """

    bare: Tensor
    even: Tensor
    first: Tensor
    sums: Tensor
    ends: Tensor
    towards: Tensor
    away: Tensor
    signs: Tensor


@functools.lru_cache(maxsize=16)
def _box(n_bins: int, bound: float, dtype: torch.dtype, device: torch.device) -> _Box:
    bare, even = 2 * bound * (1 - EVEN), 2 * bound * EVEN / n_bins
    with torch.inference_mode(False):

        def column(*values: float) -> Tensor:
            return torch.tensor(values, dtype=dtype, device=device).view(1, -1, 1)

        return _Box(
            bare=column(bare).view(()),
            even=column(even).view(()),
            first=column(*(even * k - bound for k in range(n_bins))),
            sums=bare * torch.ones(1, n_bins, n_bins, dtype=dtype, device=device).tril(-1),
            ends=column(2 * n_bins - 1, 2 * n_bins).long(),
            towards=column(1, -1),
            away=column(0, n_bins - 1),
            signs=column(-bare, bare, -bare, bare),
        )


class _Bins(NamedTuple):
    """The bins points lie in, and what the gradient needs of how they were found.

    Attributes
    ----------
    shares : Tensor of shape (m, 2, n_bins, n)
        Fractions of width and height of every bin, each summing to 1.
    below : Tensor of shape (m, n_bins - 1, n)
        1 for bins before the point's own.
    number : Tensor of shape (m, 1, n)
        Quantities of the bin that a point lies in.
    corner, size : Tensor of shape (m, 2, n)
        Lower left corner; width and height.
    rows, weight : Tensor of shape (m, 2, n)
        Which parameters hold the slopes at both ends, and their weights: 0 at the ends of the box.
    tanh, slopes : Tensor of shape (m, 2, n)
        Slopes are exp(LIMIT tanh).
    """

    shares: Tensor
    below: Tensor
    number: Tensor
    corner: Tensor
    size: Tensor
    rows: Tensor
    weight: Tensor
    tanh: Tensor
    slopes: Tensor


def _find_bins(at: Tensor, parameters: Tensor, n_bins: int, box: _Box, axis: int) -> _Bins:
    """Look up bins along `axis` (0: widths, 1: heights) for points of the box."""
    m, _, n = parameters.shape
    shares = parameters[:, : 2 * n_bins].view(m, 2, n_bins, n).softmax(2)
    sums = box.sums.expand(2 * m, -1, -1)
    edges = torch.baddbmm(box.first, sums, shares.view(2 * m, n_bins, n)).view(m, 2, n_bins, n)
    inner = edges[:, axis, 1:].detach()
    below = torch.empty_like(inner)  # 1 and 0: several times as fast as a mask of booleans
    torch.lt(inner, at.detach().unsqueeze(1), out=below)
    count = below.sum(1, keepdim=True)
    number = count.long()
    pair = number.unsqueeze(1).expand(-1, 2, -1, -1)
    corner = edges.gather(2, pair).squeeze(2)
    size = torch.addcmul(box.even, shares.gather(2, pair).squeeze(2), box.bare)
    rows = (number + box.ends).clamp_(2 * n_bins, 3 * n_bins - 2)
    weight = torch.addcmul(box.away, box.towards, count).clamp_(max=1 / LIMIT)
    tanh = (parameters.gather(1, rows) * weight).tanh_()
    return _Bins(shares, below, number, corner, size, rows, weight, tanh, (LIMIT * tanh).exp_())


def spline_forward(
    x: Tensor, parameters: Tensor, n_bins: int, bound: float
) -> tuple[Tensor, Tensor, Tape]:
    """Return y, log dy/dx and what :func:`spline_backward` needs; equations 4 and 5.

    Parameters
    ----------
    x : Tensor of shape (m, n)
        n points of m coordinates.
    parameters : Tensor of shape (m, n_spline_parameters(n_bins), n)
        Raw numbers: widths, heights, slopes.
    n_bins : int
    bound : float

    Returns
    -------
    y, logdet : Tensor of shape (m, n)
    tape : tuple of Tensor

    Examples
    --------
    >>> y, logdet, _ = spline_forward(torch.tensor([[0.3]]), torch.zeros(1, 23, 1), 8, 5.0)
    >>> round(float(y), 6), round(float(logdet), 6)
    (0.3, 0.0)
    """
    at = x.clamp(-bound, bound)
    bins = _find_bins(at, parameters, n_bins, _box(n_bins, bound, x.dtype, x.device), axis=0)
    left, bottom = bins.corner.unbind(1)
    w, h = bins.size.unbind(1)
    d0, d1 = bins.slopes.unbind(1)
    theta = (at - left) / w
    both = torch.addcmul(theta, theta, theta, value=-1)
    s = h / w
    curve = (d0 + d1).sub_(s, alpha=2)
    denominator = torch.addcmul(s, curve, both)
    ratio = torch.lerp(d0, s, theta).mul_(theta).div_(denominator)
    rise = torch.lerp(d0, d1, theta).addcmul_(curve, both, value=-1)
    q = s / denominator
    slope = (q * q).mul_(rise)
    inside = x.abs().lt_(bound)  # 1 and 0
    y = torch.lerp(x, torch.addcmul(bottom, h, ratio), inside)
    tape = (*bins, theta, both, s, curve, denominator, ratio, rise, q, slope, inside)
    return y, slope.log().mul_(inside), tape


def spline_backward(
    tape: Tape, grad_y: Tensor, grad_logdet: Tensor, n_bins: int, bound: float
) -> tuple[Tensor, Tensor]:
    """Return the gradients of x and of the parameters, from those of y and of the logdet."""
    bins, rest = _Bins(*tape[: len(_Bins._fields)]), tape[len(_Bins._fields) :]
    theta, both, s, curve, denominator, ratio, rise, q, slope, inside = rest
    w, _ = bins.size.unbind(1)
    d0, d1 = bins.slopes.unbind(1)
    gy, gl = grad_y * inside, grad_logdet * inside
    # with theta held: of the numerator of y, of the denominator (negative), of the rise
    g_numerator = (q * w).mul_(gy)
    part = gl / denominator
    fall = (g_numerator * ratio).add_(part, alpha=2)
    g_rise = gl / rise
    mixed = (fall + g_rise).mul_(both)
    first, second = g_numerator * both, g_rise * theta
    g_slope1 = second - mixed
    g_slope0 = (first + g_rise).sub_(second).sub_(mixed)
    g_s = (g_numerator * theta).sub_(fall).sub_(first).add_(mixed, alpha=2)
    g_s = g_s.addcdiv_(gl, s, value=2).div_(w)
    # of theta itself
    bend = curve * torch.rsub(theta, 1, alpha=2)
    turn = (d1 - d0).sub_(bend).mul_(g_rise).addcmul_(bend, part, value=-2)
    gx = (gy * slope).addcdiv_(turn, w)
    g_width, g_height = (gx * theta).addcmul_(g_s, s), (gy * ratio).add_(g_s)
    box = _box(n_bins, bound, gx.dtype, gx.device)
    sizes = torch.stack((gx, gy, g_width, g_height), 1).mul_(box.signs)
    slopes = torch.stack((g_slope0, g_slope1), 1)
    grad = _parameter_gradient(bins, sizes[:, :2], sizes[:, 2:], slopes)
    return torch.lerp(grad_y, gx, inside), grad


def _parameter_gradient(bins: _Bins, before: Tensor, own: Tensor, slopes: Tensor) -> Tensor:
    """Carry gradients back to the raw parameters.

    They are those of the shares of all bins before a point's own, of its own, and of its slopes.
    """
    m, _, n_bins, n = bins.shares.shape
    grad = before.new_empty(m, n_spline_parameters(n_bins), n)
    grad[:, 2 * n_bins :].zero_()
    squash = torch.addcmul(bins.weight, bins.weight * bins.tanh, bins.tanh, value=-1)
    grad.scatter_add_(1, bins.rows, squash.mul_(bins.slopes).mul_(slopes).mul_(LIMIT))
    shares = grad[:, : 2 * n_bins].view(m, 2, n_bins, n)
    torch.mul(before.unsqueeze(2), bins.below.unsqueeze(1), out=shares[:, :, :-1])
    shares[:, :, -1].zero_()
    shares.scatter_(2, bins.number.unsqueeze(1).expand(-1, 2, -1, -1), own.unsqueeze(2))
    shares.mul_(bins.shares)
    shares.addcmul_(shares.sum(2, keepdim=True), bins.shares, value=-1)
    return grad


def spline_inverse(
    y: Tensor, parameters: Tensor, n_bins: int, bound: float
) -> tuple[Tensor, Tensor]:
    """Return x and log dx/dy, shapes as in :func:`spline_forward`."""
    at = y.clamp(-bound, bound)
    bins = _find_bins(at, parameters, n_bins, _box(n_bins, bound, y.dtype, y.device), axis=1)
    left, bottom = bins.corner.unbind(1)
    w, h = bins.size.unbind(1)
    d0, d1 = bins.slopes.unbind(1)
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
    x = torch.where(inside, torch.addcmul(left, theta, w), y)
    return x, -torch.where(inside, slope, 1.0).log()
