"""The one seam between arrays and tensors of a fitted model: arrays in, arrays out, in float64.

Numbers computed in float32 change with the order and the number of rows; these do not. Only random
draws are mapped in float32, in half the time: they are off by a millionth of their spread.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from latflow.estimators.features import Standardised, filled
from latflow.nn.distributions import TiltedGaussian
from latflow.nn.model import ConditionalDensity, LatentModel

__all__ = ["conditional_draw", "conditional_log_density", "draw", "encode", "log_density", "move"]

CHUNK = 8192  # rows at once, which the processor's cache holds

FloatArray = NDArray[np.float64]
Tensor = torch.Tensor


def in_chunks(function: Callable[..., Tensor], *arrays: NDArray[Any]) -> NDArray[Any]:
    """Apply a row-wise function of tensors to arrays, chunk by chunk."""

    def part(k: int) -> Tensor:
        return function(*(torch.tensor(a[k : k + CHUNK], dtype=torch.float64) for a in arrays))

    with torch.no_grad():
        first = part(0).numpy()
        out = np.empty((len(arrays[0]), *first.shape[1:]), first.dtype)
        out[: len(first)] = first
        filled(out[CHUNK:], (part(k) for k in range(CHUNK, len(out), CHUNK)))
    return out


def in_draws(function: Callable[[int], Tensor], n: int, n_columns: int) -> FloatArray:
    """Join draws of a function of the number of rows until there are n."""
    parts = (function(min(CHUNK, n - k)) for k in range(0, n, CHUNK))
    with torch.no_grad():
        return filled(np.empty((n, n_columns)), parts)


def encode(model: LatentModel, x: Standardised) -> FloatArray:
    """Return mu(x) of features, in memory or on disk, shape (n, n_components)."""
    z = np.empty((len(x), model.n_components))
    with torch.no_grad():
        return filled(z, (model.encoder(torch.from_numpy(block)) for block in x.blocks()))


def state_probabilities(model: LatentModel, z: FloatArray) -> FloatArray:
    """Return p(s | z), shape (n, n_states)."""
    return in_chunks(lambda part: model.decoder(part).exp(), z)


def states(model: LatentModel, z: FloatArray) -> NDArray[np.int64]:
    """Return the most probable s given z, shape (n,)."""
    return in_chunks(lambda part: model.decoder(part).exp().max(dim=1).indices, z)


def move(model: LatentModel, points: FloatArray, *, inverse: bool) -> FloatArray:
    """Return u = f(z), or z for u."""
    flow = model.flow
    step = flow.inverse_and_logdet if inverse else flow.forward_and_logdet
    return in_chunks(lambda x: step(x)[0], points)


def path(model: LatentModel, base: TiltedGaussian, ends: FloatArray, n: int) -> FloatArray:
    """Return n points from one z to another, through the populated region of the base."""
    first, last = move(model, ends, inverse=False)
    points = move(model, base.path(first, last, n), inverse=True)
    points[[0, -1]] = ends
    return points


def log_density(model: LatentModel, z: FloatArray, t: FloatArray) -> FloatArray:
    """Return log p(z | T) for reduced temperatures t: one, or one a row."""
    if t.ndim == 0:
        base = model.base(t)
        return in_chunks(lambda part: model.log_density(part, base), z)
    return in_chunks(lambda part, own: model.log_density(part, model.base(own)), z, t)


def draw(model: LatentModel, base: TiltedGaussian, n: int, seed: int) -> FloatArray:
    """Return n draws of z."""
    generator = torch.Generator().manual_seed(seed)
    flow = copy.deepcopy(model.flow).float()
    return in_draws(
        lambda m: flow.inverse_and_logdet(base.sample(m, generator).float())[0],
        n,
        model.n_components,
    )


def conditional_log_density(density: ConditionalDensity, z: FloatArray, beta: float) -> FloatArray:
    """Return log p(z | beta)."""
    return in_chunks(lambda part: density.log_density(part, torch.full_like(part[:, 0], beta)), z)


def conditional_draw(density: ConditionalDensity, beta: float, n: int, seed: int) -> FloatArray:
    """Return n draws of z at one inverse temperature."""
    generator = torch.Generator().manual_seed(seed)
    single = copy.deepcopy(density).float()
    return in_draws(lambda m: single.sample(m, beta, generator), n, len(density.flow.location))
