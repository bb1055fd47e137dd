"""Standardised features of a fit: in memory, on the device that trains, or read as it goes."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm.auto import tqdm

from latflow.nn.training import batches
from latflow.trajectories import Frames, Rows, ahead, in_blocks, pool_rows, pools

__all__ = [
    "Batch",
    "Features",
    "Resident",
    "Standardised",
    "Streamed",
    "features_of",
    "pick_device",
    "told_device",
    "filled",
    "tell_plan",
]

CACHED = 2**19  # numbers to work on at once
WORKING = 6e7  # bytes of blocks of rows that are being worked on
CHUNK = 65536  # rows at once of what is in memory: they fit into the cache

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
# rows of each column of a batch, then the features of each
Batch = tuple[Tensor, ...]


@dataclass(frozen=True)
class Standardised:
    """Rows of X, shifted and scaled when asked for: nothing is held twice."""

    X: Any
    mean: FloatArray
    scale: FloatArray

    @property
    def shape(self) -> tuple[int, ...]:
        """Of X."""
        return tuple(self.X.shape)

    def __len__(self) -> int:
        return len(self.X)

    def __sizeof__(self) -> int:
        """Return the bytes of what is in memory: Dask scatters what says that it is large, once."""
        return int(getattr(self.X, "nbytes", 0))

    def __getitem__(self, rows: Any) -> FloatArray:
        return self.of(self.X[rows])

    def of(self, block: NDArray[Any]) -> FloatArray:
        """Return rows that were read before, standardised."""
        x = block.astype(np.float64)
        x -= self.mean
        x /= self.scale
        return x

    def blocks(self) -> Iterator[FloatArray]:
        """Yield all rows in order, in double precision."""
        return in_blocks(self.X, self.of)

    def parts(self) -> Iterator[NDArray[np.float32]]:
        """Yield all rows in order, to train on."""
        return in_blocks(
            self.X, lambda block: self.single(block, np.empty(block.shape, np.float32))
        )

    def read(self, rows: IntArray, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Write some rows into the first of x, to train on."""
        x = x[: len(rows)]
        step = max(self.X.grain, CACHED // self.shape[1])
        for k in range(0, len(rows), step):
            self.single(self.X[rows[k : k + step]], x[k : k + step])
        return x

    def single(self, block: NDArray[Any], out: NDArray[np.float32]) -> NDArray[np.float32]:
        """Write rows that were read before, standardised, in single precision if they come so."""
        if block.dtype == np.float32:
            np.subtract(block, self.mean.astype(np.float32), out=out)
            out *= (1 / self.scale).astype(np.float32)
        else:
            out[:] = self.of(block)
        return out


def small(numbers: IntArray) -> NDArray[Any]:
    """Return whole numbers in four bytes each where they suffice."""
    fits = not len(numbers) or int(numbers.max()) < 2**31
    return numbers.astype(np.int32) if fits else numbers


def as_index(rows: IntArray) -> Tensor:
    """Return row numbers as a tensor."""
    return torch.from_numpy(small(rows))


class Resident:
    """Features in memory, on the device that trains."""

    def __init__(self, x: Standardised, device: torch.device) -> None:
        self.x = filled(torch.empty(x.shape, device=device), map(torch.from_numpy, x.parts()))

    def __len__(self) -> int:
        return len(self.x)

    def index(self, rows: IntArray) -> Tensor:
        """Return row numbers where they are used: beside the features."""
        return as_index(rows).to(self.x.device)

    def at(self, *columns: Tensor) -> Batch:
        """Return rows and features of these rows, column by column."""
        return *columns, *(self.x.index_select(0, rows) for rows in columns)

    def parts(self) -> Iterator[Tensor]:
        """Yield all features in order."""
        return (self.x[k : k + CHUNK] for k in range(0, len(self.x), CHUNK))

    def batches(
        self, columns: tuple[Tensor, ...], size: int, generator: torch.Generator
    ) -> Iterator[Batch]:
        """Yield shuffled batches for ever, each entry of the columns once an epoch."""
        for batch in batches(len(columns[0]), size, generator, self.x.device):
            yield self.at(*(rows.index_select(0, batch) for rows in columns))


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

    def parts(self) -> Iterator[Tensor]:
        """Yield all features in order."""
        for part in self.x.parts():
            yield torch.from_numpy(part).to(self.device)

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

    def _buffer(self, n_rows: int) -> NDArray[np.float32]:
        return np.empty((min(n_rows, len(self.x)), self.x.shape[1]), np.float32)

    def _read(
        self, columns: tuple[IntArray, ...], buffer: NDArray[np.float32]
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


Features = Resident | Streamed
Whole = TypeVar("Whole", Tensor, NDArray[Any])


def pick_device(device: str) -> torch.device:
    """Return the device to train on; "auto" takes a CUDA GPU where there is one."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.device(device)
    except RuntimeError as error:
        raise ValueError(
            f"Expected `device` to be 'auto', 'cpu', 'cuda' or 'cuda:N', got {device!r}."
        ) from error


def told_device(device: str) -> str:
    """Say which device a fit trains on, and why where that was left open."""
    found = pick_device(device).type
    if device != "auto":
        return found
    return f"{found}, as {'a' if found == 'cuda' else 'no'} CUDA GPU is found"


def features_of(x: Standardised, device: torch.device) -> Features:
    """Return the features of a fit, where the frames are."""
    return Streamed(x, device) if isinstance(x.X, Rows) else Resident(x, device)


def tell_plan(frames: Frames, n_components: int, batch_size: int, device: str) -> None:
    """Say, beside the progress bar, what a fit holds in memory at most, Python itself aside, and
    where it trains.
    """
    n_frames, n_features = frames.X.shape
    on_disk = isinstance(frames.X, Rows)
    features = 2 * pool_rows(n_features, batch_size) if on_disk else n_frames
    # rows and ends of pairs, weights, base, labels; then what is made of them and dropped
    vectors = 4 * (10 + n_components) + 8 * 5
    size = sys.getsizeof(frames) + vectors * n_frames + 4 * features * n_features + WORKING
    where = "read from disk" if on_disk else "in memory"
    tqdm.write(
        f"LaTF: {n_frames} frames of {n_features} features, {where}: the fit takes about "
        f"{size / 1e9:.2g} GB of memory and trains on {told_device(device)}",
        file=sys.stderr,
    )


def filled(out: Whole, parts: Iterable[Any]) -> Whole:
    """Write parts one after the other into `out`.

    Small parts kept till the end would pin the memory between them.
    """
    done = 0
    for part in parts:
        out[done : done + len(part)] = part
        done += len(part)
    return out
