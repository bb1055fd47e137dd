"""Features that a fit trains on, and batches of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latflow._blocks import blocks_of_rows
from latflow._typing import IntArray
from latflow.nn.training import batches

# row numbers of each column of a batch, then the features of each
Batch = tuple[Tensor, ...]
Whole = TypeVar("Whole", Tensor, NDArray[Any])


class Features(Protocol):
    """Standardised features of all frames, wherever they are."""

    def __len__(self) -> int: ...

    def index(self, rows: IntArray) -> Tensor:
        """Return row numbers where they are used."""
        ...

    def at(self, *columns: Tensor) -> Batch:
        """Return rows and features of these rows, column by column, on the device that trains."""
        ...

    def over(self, function: Callable[[Tensor], Tensor]) -> Iterator[Tensor]:
        """Yield a function of all features in order, block after block, where they are read.

        It may run in other processes: bound to little.
        """
        ...

    def batches(
        self, columns: tuple[Tensor, ...], size: int, generator: torch.Generator
    ) -> Iterator[Batch]:
        """Yield shuffled batches for ever, each entry of the columns about once an epoch."""
        ...


class Resident:
    """Features in memory, on the device that trains.

    Parameters
    ----------
    parts : iterable of Tensor
        All features in order.
    shape : tuple of int
    device : torch.device
    """

    def __init__(
        self, parts: Iterable[Tensor], shape: tuple[int, int], device: torch.device
    ) -> None:
        self.x = filled(torch.empty(shape, dtype=torch.float32, device=device), parts)

    def __len__(self) -> int:
        return len(self.x)

    def index(self, rows: IntArray) -> Tensor:
        """Return row numbers beside the features."""
        return as_index(rows).to(self.x.device)

    def at(self, *columns: Tensor) -> Batch:
        """Return rows and features of these rows, column by column."""
        return *columns, *(self.x.index_select(0, rows) for rows in columns)

    def over(self, function: Callable[[Tensor], Tensor]) -> Iterator[Tensor]:
        """Yield a function of all features in order, block after block."""
        return (function(self.x[rows]) for rows in blocks_of_rows(len(self.x)))

    def batches(
        self, columns: tuple[Tensor, ...], size: int, generator: torch.Generator
    ) -> Iterator[Batch]:
        """Yield shuffled batches for ever, each entry of the columns once an epoch."""
        for batch in batches(len(columns[0]), size, generator, self.x.device):
            yield self.at(*(rows.index_select(0, batch) for rows in columns))


def as_index(rows: IntArray) -> Tensor:
    """Return row numbers as a tensor, in four bytes each where they suffice."""
    fits = not len(rows) or int(rows.max()) < 2**31
    return torch.from_numpy(rows.astype(np.int32) if fits else rows)


def filled(out: Whole, parts: Iterable[Any]) -> Whole:
    """Write parts one after the other into `out`.

    Small parts kept till the end would pin the memory between them.
    """
    done = 0
    for part in parts:
        arrays = isinstance(part, Tensor) and not isinstance(out, Tensor)  # numpy 2.2 would warn
        out[done : done + len(part)] = part.numpy() if arrays else part
        done += len(part)
    return out
