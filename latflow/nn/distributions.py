"""The tilted Gaussian: base density of the flow, with temperature as its scale."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln, hyp1f1
from torch import Tensor

RADII = 8192
TAIL = 12.0


def log_normaliser(dim: int, tilt: float, t: ArrayLike) -> NDArray[np.float64]:
    """Log of the tilted Gaussian's normaliser.

    Kummer's transformation M(a, b, x) = exp(x) M(b - a, b, -x) takes the growing exponential
    out, so that large tilts stay finite.

    Parameters
    ----------
    dim : int
        Dimension d of the space.
    tilt : float
        Radius at which the density peaks for t = 1 and d = 1; not negative.
    t : array_like
        Reduced temperature T / T_ref, positive.

    Returns
    -------
    ndarray
        log Z, same shape as `t`.

    References
    ----------
    Floto, Kremer, Nica, The tilted variational autoencoder, ICLR 2023.

    Examples
    --------
    >>> float(log_normaliser(2, 0.0, 1.0).round(6))  # log(2 pi)
    1.837877
    """
    t = np.asarray(t, dtype=np.float64)
    x = tilt**2 * t / 2
    even = hyp1f1((1 - dim) / 2, 0.5, -x)
    ratio = np.exp(gammaln((dim + 1) / 2) - gammaln(dim / 2))
    odd = tilt * np.sqrt(2 * t) * ratio * hyp1f1(1 - dim / 2, 1.5, -x)
    return np.asarray(dim / 2 * np.log(2 * np.pi * t) + x + np.log(even + odd))


class TiltedGaussian:
    """p(u; tilt, t) = exp(tilt r - r^2 / (2 t)) / Z with r = norm(u).

    Parameters
    ----------
    dim : int
        Dimension d of u.
    tilt : float
        Not negative; 0 gives a Gaussian of variance t.
    t : float or array_like of shape (n,), default=1.0
        Reduced temperature T / T_ref; an array gives every row its own.

    Examples
    --------
    >>> base = TiltedGaussian(2, tilt=2.0)
    >>> base.sample(3, torch.Generator().manual_seed(0)).shape
    torch.Size([3, 2])
    """

    def __init__(self, dim: int, tilt: float, t: ArrayLike = 1.0) -> None:
        self.dim = dim
        self.tilt = tilt
        t = np.asarray(t, dtype=np.float64)
        values = np.unique(t)  # few: the normaliser is costly
        self.t = torch.tensor(t, device="cpu")
        log_z = log_normaliser(dim, tilt, values)[np.searchsorted(values, t)]
        self.log_z = torch.as_tensor(log_z, device="cpu")

    def log_prob(self, u: Tensor) -> Tensor:
        """Return the normalised log-density of the rows of u, shape (n,)."""
        square = (u * u).sum(dim=-1)
        quadratic = -square / (2 * self.t.to(u)) - self.log_z.to(u)
        if self.tilt == 0:
            return quadratic
        # the gradient of a norm is undefined at 0: keep the root away from it
        return quadratic + self.tilt * (square + torch.finfo(u.dtype).tiny).sqrt()

    def deviation(self) -> float:
        """Return the standard deviation of one coordinate, averaged over the rows' t."""
        values, counts = np.unique(self.t.cpu().numpy(), return_counts=True)
        squares = [
            (law[0] ** 2 * np.gradient(law[1])).sum() for law in map(self._radial_law, values)
        ]
        return float(np.sqrt(np.average(squares, weights=counts) / self.dim))

    def to(self, like: Tensor) -> TiltedGaussian:
        """Return the same distribution with its tensors of the dtype and device of `like`."""
        return self._with(self.t.to(like), self.log_z.to(like))

    def rows(self, index: Tensor) -> TiltedGaussian:
        """Return the distribution of the rows `index`, where every row has its own t."""
        return self._with(self.t.index_select(0, index), self.log_z.index_select(0, index))

    def _with(self, t: Tensor, log_z: Tensor) -> TiltedGaussian:
        twin = object.__new__(TiltedGaussian)
        twin.dim, twin.tilt, twin.t, twin.log_z = self.dim, self.tilt, t, log_z
        return twin

    def sample(
        self, n: int, generator: torch.Generator, dtype: torch.dtype = torch.float64
    ) -> Tensor:
        """Draw exactly n rows: radius by its inverse distribution function, direction uniform."""
        uniform = torch.rand(n, generator=generator, dtype=torch.float64, device="cpu").numpy()
        radius = torch.from_numpy(self._radii(uniform)).to(dtype)
        direction = torch.randn(n, self.dim, generator=generator, dtype=dtype, device="cpu")
        length: Tensor = direction.norm(dim=1, keepdim=True)
        return radius.unsqueeze(1) * direction / length

    def path(
        self, start: NDArray[np.float64], end: NDArray[np.float64], n: int
    ) -> NDArray[np.float64]:
        """Return n points from start to end: direction by great circle, radius by quantile."""
        along = np.linspace(0, 1, n)[:, None]
        r = np.linalg.norm([start, end], axis=1)
        a, b = np.array([start, end]) / np.maximum(r, np.finfo(float).tiny)[:, None]
        angle = np.arccos(np.clip(a @ b, -1, 1))
        if self.dim == 1 or np.sin(angle) < 1e-6:
            return np.asarray((1 - along) * start + along * end)
        turn = np.sin((1 - along) * angle) * a + np.sin(along * angle) * b
        radii, cumulative = self._radial_law(float(self.t))
        q = np.interp(r, radii, cumulative)
        radius = self._radii((1 - along[:, 0]) * q[0] + along[:, 0] * q[1])
        return np.asarray(turn / np.sin(angle) * radius[:, None])

    def _radii(self, uniform: NDArray[np.float64]) -> NDArray[np.float64]:
        radii, cumulative = self._radial_law(float(self.t))
        return np.interp(uniform, cumulative, radii)

    def _radial_law(self, t: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return radii and the distribution function of r there, both strictly increasing."""
        d = self.dim
        mode = (self.tilt * t + math.sqrt((self.tilt * t) ** 2 + 4 * t * (d - 1))) / 2
        width = TAIL * math.sqrt(t)
        r = np.linspace(max(0.0, mode - width), mode + width, RADII)
        with np.errstate(divide="ignore"):
            log_p = (d - 1) * np.log(r) if d > 1 else np.zeros_like(r)
        log_p = log_p + self.tilt * r - r**2 / (2 * t)
        p = np.exp(log_p - log_p.max())
        area = (p[1:] + p[:-1]) / 2
        # with its neighbours each interval is integrated as a cubic: exact to the fourth order
        area[1:-1] -= (p[3:] - p[2:-1] - p[1:-2] + p[:-3]) / 24
        cumulative = np.concatenate([[0.0], np.cumsum(np.maximum(area, 0))])
        keep = np.concatenate([[True], np.diff(cumulative) > 0])
        return r[keep], cumulative[keep] / cumulative[-1]
