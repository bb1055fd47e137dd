"""The one seam between arrays and tensors: features into a fit, answers out of a fitted model.

Answers are computed in float64: numbers computed in float32 change with the order and the number
of rows. Only random draws are mapped in float32, in half the time: they are off by a millionth of
their spread.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latflow._blocks import rows_at_once
from latflow._typing import FloatArray, IntArray
from latflow.nn.batches import Batch, Features, Resident, as_index, filled
from latflow.nn.conditional import ConditionalDensity
from latflow.nn.model import LatentModel
from latflow.nn.training import torch_as_in
from latflow.trajectories import Rows, ahead, in_blocks, over_blocks, pools

LEAST_WORK = 35_000_000  # weights times rows of a step, a thread: more is faster on a GPU
WEIGHTS_BESIDE = 10_000  # that would cost as much as what a fit does beside its encoder
CHUNK = 8192  # rows at once through a network, which the processor's cache holds

SingleArray = NDArray[np.float32]
T = TypeVar("T")
Layers = list[tuple[FloatArray, FloatArray]]


@dataclass(frozen=True)
class Standardised:
    """Rows of X, shifted and scaled when asked for: nothing is held twice."""

    X: Any
    mean: FloatArray
    scale: FloatArray

    @property
    def shape(self) -> tuple[int, int]:
        """Of X."""
        return int(self.X.shape[0]), int(self.X.shape[1])

    def __len__(self) -> int:
        return len(self.X)

    def __sizeof__(self) -> int:
        """Return the bytes of what is in memory: Dask scatters what says that it is large, once."""
        return int(getattr(self.X, "nbytes", 0))

    def __getitem__(self, rows: Any) -> FloatArray:
        return self.of(self.X[rows])

    def of(self, block: NDArray[Any]) -> FloatArray:
        """Return rows that were read before, standardised."""
        return standardised(block, self.mean, self.scale)

    def over(self, function: Callable[[FloatArray], T], *, check: bool = False) -> Iterator[T]:
        """Yield a function of every block of rows in order, in double precision.

        Workers of joblib's backend share the blocks, where there are some; see
        :func:`~latflow.trajectories.over_blocks`. With `check`, a number that is not finite is a
        NotFiniteError.
        """
        prepare = partial(standardised, mean=self.mean, scale=self.scale, check=check)
        return over_blocks(self.X, function, prepare=prepare, worker=worker_like_here())

    def over_single(self, function: Callable[[SingleArray], T]) -> Iterator[T]:
        """Yield a function of every block in order, in the precision that models train in."""
        prepare = partial(single, mean=self.mean, scale=self.scale)
        return over_blocks(self.X, function, prepare=prepare, worker=worker_like_here())

    def parts(self) -> Iterator[SingleArray]:
        """Yield all rows in order, to train on."""
        return in_blocks(self.X, partial(single, mean=self.mean, scale=self.scale))

    def read(self, rows: IntArray, x: SingleArray) -> SingleArray:
        """Write some rows into the first of x, to train on."""
        x = x[: len(rows)]
        step = max(getattr(self.X, "grain", 1), rows_at_once(self.shape[1]))
        for k in range(0, len(rows), step):
            single(self.X[rows[k : k + step]], self.mean, self.scale, x[k : k + step])
        return x


class NotFiniteError(ValueError):
    """A feature is NaN or infinite."""


def standardised(
    block: NDArray[Any], mean: FloatArray, scale: FloatArray, *, check: bool = False
) -> FloatArray:
    """Return rows shifted and scaled, in double precision."""
    if check and not np.isfinite(block).all():
        raise NotFiniteError("Expected finite numbers in `X`.")
    x = block.astype(np.float64)
    x -= mean
    x /= scale
    return x


def single(
    block: NDArray[Any], mean: FloatArray, scale: FloatArray, out: SingleArray | None = None
) -> SingleArray:
    """Return rows shifted and scaled, computed in single precision if they come so."""
    out = np.empty(block.shape, np.float32) if out is None else out
    if block.dtype == np.float32:
        np.subtract(block, mean.astype(np.float32), out=out)
        out *= (1 / scale).astype(np.float32)
    else:
        out[:] = standardised(block, mean, scale)
    return out


def worker_like_here() -> Callable[[], AbstractContextManager[None]]:
    """Return the context that a worker computes in to get the bits that this thread would."""
    return partial(torch_as_in, os.getpid(), torch.get_num_threads())


class Streamed:
    """Features that stay on disk; each pool of batches is read while the one before trains."""

    def __init__(self, x: Standardised, device: torch.device) -> None:
        self.x, self.device = x, device

    def __len__(self) -> int:
        return len(self.x)

    def index(self, rows: IntArray) -> Tensor:
        """Return row numbers where they are used: by the processor, which reads."""
        return as_index(rows)

    def at(self, *columns: Tensor) -> Batch:
        """Return rows and features of these rows, column by column, on the device."""
        buffer = self._buffer(sum(map(len, columns)))
        read, places = self._read(tuple(rows.numpy() for rows in columns), buffer)
        own = (rows.to(self.device) for rows in columns)
        return *own, *(read.index_select(0, place) for place in places)

    def over(self, function: Callable[[Tensor], Tensor]) -> Iterator[Tensor]:
        """Yield a function of all features in order, block after block, read by joblib's workers
        where the processor trains."""
        if self.device.type == "cpu":
            return self.x.over_single(partial(_of_array, function))
        parts = (torch.from_numpy(part).to(self.device) for part in self.x.parts())
        return map(function, parts)

    def batches(
        self, columns: tuple[Tensor, ...], size: int, generator: torch.Generator
    ) -> Iterator[Batch]:
        """Yield shuffled batches for ever, each entry of the columns about once an epoch."""
        rng = np.random.default_rng(int(torch.randint(2**31 - 1, (), generator=generator)))
        rows = tuple(column.numpy() for column in columns)
        for entries, read, places in ahead(self._pools(rows, size, rng)):
            n = len(entries[0])
            for k in range(0, max(1, n // size * size), size):
                yield (
                    *(torch.from_numpy(own[k : k + size]).to(self.device) for own in entries),
                    *(read.index_select(0, place[k : k + size]) for place in places),
                )

    def _pools(
        self, rows: tuple[IntArray, ...], size: int, rng: np.random.Generator
    ) -> Iterator[tuple[tuple[IntArray, ...], Tensor, list[Tensor]]]:
        """Yield entries, features and places of pools; two buffers serve in turn."""
        buffers = [self._buffer(0), self._buffer(0)]
        for entries in pools(self.x.X, rows, size, rng):
            most = len(rows) * len(entries[0])
            if len(buffers[0]) < most:
                buffers[0] = self._buffer(most)
            yield (entries, *self._read(entries, buffers[0]))
            buffers.reverse()

    def _buffer(self, n_rows: int) -> SingleArray:
        return np.empty((min(n_rows, len(self.x)), self.x.shape[1]), np.float32)

    def _read(
        self, columns: tuple[IntArray, ...], buffer: SingleArray
    ) -> tuple[Tensor, list[Tensor]]:
        """Read all rows of the columns, each once; return them and each column's places there."""
        mark = np.zeros(len(self.x), dtype=bool)
        for rows in columns:
            mark[rows] = True
        wanted = np.flatnonzero(mark)
        place = np.empty(len(mark), dtype=np.int64)
        place[wanted] = np.arange(len(wanted))
        read = torch.from_numpy(self.x.read(wanted, buffer)).to(self.device)
        return read, [torch.from_numpy(place[rows]).to(self.device) for rows in columns]


def pays_on_gpu(rows: int, widths: Sequence[int], n_threads: int | None) -> bool:
    """Return whether the arithmetic of a fit outweighs what a GPU takes to launch its kernels.

    The rule of docs/performance.md, from the seconds of an H100 and of one thread beside it.

    Parameters
    ----------
    rows : int
        Of a batch.
    widths : sequence of int
        Of the encoder's layers, the features first.
    n_threads : int or None
        Of the processor; None for all cores.
    """
    weights = sum(a * b for a, b in pairwise(widths))
    threads = (os.cpu_count() or 1) if n_threads is None else n_threads
    return rows * (weights + WEIGHTS_BESIDE) > threads * LEAST_WORK


def pick_device(device: str | torch.device, *, pays: bool = True) -> torch.device:
    """Return the device to train on; "auto" takes a CUDA GPU where there is one and it pays."""
    if device == "auto":
        return torch.device("cuda" if pays and torch.cuda.is_available() else "cpu")
    try:
        return torch.device(device)
    except RuntimeError as error:
        raise ValueError(
            f"Expected `device` to be 'auto', 'cpu', 'cuda' or 'cuda:N', got {device!r}."
        ) from error


def features_of(x: Standardised, device: torch.device) -> Features:
    """Return the features of a fit: in memory on the device, or read as it goes."""
    if isinstance(x.X, Rows) and x.X.on_disk:
        return Streamed(x, device)
    return Resident(map(torch.from_numpy, x.parts()), x.shape, device)


# ------------------------------------------------------------------ answers of a fitted model


def in_chunks(function: Callable[..., Tensor], *arrays: NDArray[Any]) -> NDArray[Any]:
    """Apply a row-wise function of tensors to arrays, chunk by chunk."""
    with torch.no_grad():
        parts = over_blocks(
            arrays[0], partial(_of_arrays, function), columns=arrays[1:],
            worker=worker_like_here(), length=CHUNK, moves=True,
        )  # fmt: skip
        first = next(parts).numpy()
        out = np.empty((len(arrays[0]), *first.shape[1:]), first.dtype)
        out[: len(first)] = first
        filled(out[CHUNK:], parts)
    return out


def _of_arrays(function: Callable[..., Tensor], *blocks: NDArray[Any]) -> Tensor:
    return function(*(torch.tensor(b, dtype=torch.float64, device="cpu") for b in blocks))


def in_draws(function: Callable[[int], Tensor], n: int, n_columns: int) -> FloatArray:
    """Join draws of a function of the number of rows until there are n."""
    parts = (function(min(CHUNK, n - k)) for k in range(0, n, CHUNK))
    with torch.no_grad():
        return filled(np.empty((n, n_columns)), parts)


def encode(model: LatentModel, x: Standardised, *, check: bool = False) -> FloatArray:
    """Return mu(x) of features, in memory or on disk, shape (n, n_components)."""
    z = np.empty((len(x), model.n_components))
    with torch.no_grad():
        return filled(z, x.over(partial(_of_array, model.encoder), check=check))


def _of_array(function: Callable[[Tensor], Tensor], block: NDArray[Any]) -> Tensor:
    return function(torch.from_numpy(block))


def encoder_layers(model: LatentModel, mean: FloatArray, scale: FloatArray) -> Layers:
    """Return weights (n_out, n_in) and biases of mu's layers, tanh between them.

    The first layer reads features as they are: their shift and scale are folded into it.
    """
    numbers = [parameter.numpy().copy() for parameter in model.encoder.mean.parameters()]
    layers = list(zip(numbers[::2], numbers[1::2], strict=True))
    weights, biases = layers[0]
    layers[0] = (weights / scale, biases - weights @ (mean / scale))
    return layers


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


def path(model: LatentModel, t: FloatArray, ends: FloatArray, n: int) -> FloatArray:
    """Return n points from one z to another, through the populated region of the base."""
    first, last = move(model, ends, inverse=False)
    points = move(model, model.base(t).path(first, last, n), inverse=True)
    points[[0, -1]] = ends
    return points


def log_density(model: LatentModel, z: FloatArray, t: FloatArray) -> FloatArray:
    """Return log p(z | T) for reduced temperatures t: one, or one a row."""
    if t.ndim == 0:
        base = model.base(t)
        return in_chunks(lambda part: model.log_density(part, base), z)
    return in_chunks(lambda part, own: model.log_density(part, model.base(own)), z, t)


def draw(model: LatentModel, t: FloatArray, n: int, seed: int) -> FloatArray:
    """Return n draws of z at one reduced temperature t."""
    base, generator = model.base(t), torch.Generator().manual_seed(seed)
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


def conditional_round_trip(density: ConditionalDensity, z: FloatArray, beta: float) -> FloatArray:
    """Return z, moved to the base and back at one inverse temperature."""
    return in_chunks(lambda part: density.round_trip(part, beta), z)
