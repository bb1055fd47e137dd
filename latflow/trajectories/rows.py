"""Frames that stay on disk: memory-mapped files and chunked arrays, read when rows are wanted."""

from __future__ import annotations

import copy
import ctypes
import mmap
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from latflow._blocks import blocks_of_rows, rows_at_once
from latflow._typing import IntArray

LEAST_ON_DISK = 2**26  # bytes; what is smaller is loaded: having is faster than reading
LEAST_APART = 2**26  # bytes in memory; what is smaller is joined
GAP = 2**16  # bytes between two rows up to which they are read together

T = TypeVar("T")


def is_on_disk(X: object) -> bool:
    """Whether an array, or a list of them, lies in files and is too large to be loaded.

    Files are `numpy.memmap`, and chunked arrays: of zarr, of h5py, or whatever has `chunks`.
    """
    arrays: list[Any] = X if isinstance(X, list) else [X]
    size: int = sum(a.shape[0] * a.shape[1] * a.dtype.itemsize for a in arrays if on_disk(a))
    return bool(size >= max(LEAST_ON_DISK, 1))


def is_large(arrays: Sequence[Any]) -> bool:
    """Return whether joining these arrays would copy more than memory should hold twice."""
    plain = all(isinstance(a, np.ndarray) and a.dtype.kind in "fiu" for a in arrays)
    return plain and sum(a.nbytes for a in arrays) >= LEAST_APART


def on_disk(array: Any) -> bool:
    """Whether one array lies in a file, of any size."""
    if getattr(array, "ndim", 0) != 2:
        return False
    chunked = hasattr(array, "chunks") and hasattr(array, "dtype") and hasattr(array, "__getitem__")
    return isinstance(array, np.memmap) or (chunked and not isinstance(array, np.ndarray))


@dataclass(frozen=True)
class MappedFile:
    """A memory-mapped array, mapped anew for every read.

    The pages of a map count as resident memory until it is closed, and pickled it would be loaded.
    """

    path: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    start: int

    @classmethod
    def of(cls, array: Any) -> MappedFile | None:
        """Return where an array lies in its file; None where the file does not hold its values."""
        path = getattr(array, "filename", None)
        if path is None or array.mode == "c" or not os.path.exists(path):
            return None
        beginning = np.frombuffer(array._mmap, dtype=np.uint8).ctypes.data
        start = array.offset - array.offset % mmap.ALLOCATIONGRANULARITY
        start += array.ctypes.data - beginning
        return cls(os.fspath(path), array.dtype, array.shape, array.strides, start)

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        """Return rows of the file, to be copied: they hold the map."""
        first, stop, _ = rows.indices(self.shape[0])
        shape = (max(stop - first, 0), *self.shape[1:])
        if 0 in shape:
            return np.empty(shape, self.dtype)
        origin = self.start + first * self.strides[0]
        low = origin + sum(min(0, (n - 1) * s) for n, s in zip(shape, self.strides, strict=True))
        high = origin + sum(max(0, (n - 1) * s) for n, s in zip(shape, self.strides, strict=True))
        n_bytes = high - low + self.dtype.itemsize
        mapped = np.memmap(self.path, np.uint8, "r", offset=low, shape=(n_bytes,))
        return np.ndarray(shape, self.dtype, mapped, origin - low, self.strides)


@dataclass(frozen=True)
class Window:
    """An array on disk from some row on."""

    array: Any
    start: int

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        return np.asarray(self.array[rows.start + self.start : rows.stop + self.start])


class Rows:
    """Rows of one or several arrays, one after the other, that are read when asked for.

    Slices and arrays of row numbers give float arrays in memory.

    Parameters
    ----------
    arrays : sequence of array_like of shape (n_rows_i, n_columns)
        On disk, or too large to be joined.
    first : int, default=0
        Number of the first array's trajectory, for messages.
    apart : bool, default=False
        Whether no block of rows reaches over the end of an array.

    Attributes
    ----------
    shape, ndim, dtype
        As of an array; float32 where all arrays are, else float64.
    on_disk : bool
        Whether any array lies in files.
    grain : int
        Rows of the largest chunk, which are read whole or not at all; 1 for memory maps.
    step : int
        Rows to read at once: whole chunks.
    """

    ndim = 2

    def __init__(self, arrays: Sequence[Any], *, first: int = 0, apart: bool = False) -> None:
        self.first, self.apart = first, apart
        self._parts = [MappedFile.of(a) or a for a in arrays]
        self._ends = np.cumsum([a.shape[0] for a in arrays])
        self.shape = (int(self._ends[-1]), int(arrays[0].shape[1]))
        single = np.result_type(*(a.dtype for a in arrays)) == np.float32
        self.dtype = np.dtype(np.float32 if single else np.float64)
        self.on_disk = any(on_disk(a) for a in arrays)
        self.grain = max(_chunk_length(a) for a in arrays)
        self.step = self.grain * max(1, rows_at_once(self.shape[1]) // self.grain)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | NDArray[Any]) -> NDArray[Any]:
        if isinstance(rows, slice):
            return self._read(*rows.indices(len(self))[:2])
        return self._take(np.flatnonzero(rows) if rows.dtype == bool else rows)

    def part(self, start: int, stop: int) -> Rows:
        """Return some contiguous rows: what other arrays hold is left behind."""
        first, last = (int(k) for k in np.searchsorted(self._ends, [start, stop - 1], "right"))
        begins = np.append(0, self._ends)[first : last + 1]
        some = copy.copy(self)
        some._parts, ends = [], self._ends[first : last + 1]
        for array, begin, end in zip(self._parts[first : last + 1], begins, ends, strict=True):
            here = slice(max(start - int(begin), 0), min(stop, int(end)) - int(begin))
            known = isinstance(array, np.ndarray)
            some._parts.append(np.asarray(array[here]) if known else Window(array, here.start))
        some._ends = np.minimum(ends, stop) - start
        some.shape = (stop - start, self.shape[1])
        return some

    def places(self) -> tuple[IntArray, IntArray]:
        """Return the number of each row's array, from `first` on, and the row's place there."""
        lengths = self.lengths
        numbers = np.repeat(self.first + np.arange(len(lengths)), lengths)
        return numbers, np.concatenate([np.arange(n) for n in lengths])

    @property
    def lengths(self) -> list[int]:
        """Rows of each array."""
        return [int(n) for n in np.diff(self._ends, prepend=0)]

    def slices(self) -> list[slice]:
        """Return the blocks to read, one after the other."""
        ends = self._ends.tolist() if self.apart else [len(self)]
        spans = pairwise([0, *ends])
        return [
            slice(k, min(k + self.step, end))
            for start, end in spans
            for k in range(start, max(end, start + 1), self.step)
        ]

    def sample(self) -> NDArray[Any]:
        """Return two rows as they are in the files, to check kind and width by."""
        return np.concatenate([np.asarray(part[:2]) for part in self._parts[:2]])[:2]

    def _read(self, start: int, stop: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
        if out is None:
            out = np.empty((max(stop - start, 0), self.shape[1]), self.dtype)
        part, done = int(np.searchsorted(self._ends, start, side="right")), start
        while done < stop:
            until = min(stop, int(self._ends[part]))
            before = int(self._ends[part - 1]) if part else 0
            out[done - start : until - start] = self._parts[part][done - before : until - before]
            part, done = part + 1, until
        return out

    def _take(self, rows: IntArray) -> NDArray[Any]:
        """Return these rows, near ones by one read."""
        order = None if (np.diff(rows) > 0).all() else np.argsort(rows, kind="stable")
        wanted = rows if order is None else rows[order]
        out = np.empty((len(rows), self.shape[1]), self.dtype)
        far = (np.diff(wanted) - 1) * self.shape[1] * self.dtype.itemsize > GAP
        turn = np.diff(wanted // self.step) != 0  # no read is longer than a step
        for begin, end in pairwise([0, *(np.flatnonzero(far | turn) + 1).tolist(), len(rows)]):
            if begin == end:
                continue
            first, stop = int(wanted[begin]), int(wanted[end - 1]) + 1
            if stop - first == end - begin:
                self._read(first, stop, out[begin:end])
            else:
                out[begin:end] = self._read(first, stop)[wanted[begin:end] - first]
        if order is None:
            return out
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        return out[back]


def _chunk_length(array: Any) -> int:
    chunks = getattr(array, "chunks", None)
    if isinstance(array, np.ndarray) or not chunks:
        return 1
    first = chunks[0]
    return max(1, int(first if np.ndim(first) == 0 else max(first)))


def slices_of(X: Any) -> list[slice]:
    """Return the blocks of an array's rows to work on, in order; they depend on the rows alone."""
    if isinstance(X, Rows):
        return X.slices()
    return [*blocks_of_rows(len(X), int(X.shape[1]))] or [slice(0, 0)]


def step_of(X: Any) -> int:
    """Return how many rows of an array to work on at once, so that memory stays bounded."""
    return X.step if isinstance(X, Rows) else rows_at_once(int(X.shape[1]))


def in_blocks(X: Any, use: Callable[[NDArray[Any]], T]) -> Iterator[T]:
    """Yield `use(block)` of all rows in order; from disk each while the one before is at work."""
    used = (use(X[rows]) for rows in slices_of(X))
    return ahead(used) if isinstance(X, Rows) and X.on_disk else used


def ahead(items: Iterator[T]) -> Iterator[T]:
    """Yield items, each made by another thread while the one before is used."""
    try:
        with ThreadPoolExecutor(1) as thread:
            coming = thread.submit(next, items, None)
            while (item := coming.result()) is not None:
                coming = thread.submit(next, items, None)
                yield item
                del item
    finally:
        return_memory()


def return_memory() -> None:
    """Give freed memory back to the system, where the C library can (glibc keeps it by itself)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def free_memory() -> float:
    """Return the bytes that a process may still take; infinite where the system does not say."""
    try:
        with open("/proc/meminfo") as file:
            lines = dict(line.split(":") for line in file)
        return 1024.0 * int(lines["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):
        return float("inf")
