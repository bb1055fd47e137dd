"""Terms of energy out of GROMACS' binary .edr, with every count held against the bytes there are.

The layout is that of ``src/gromacs/fileio/enxio.cpp`` of GROMACS: XDR, which is big-endian in
pieces of four bytes. A file names its terms, then come frames: a header, the terms (with two sums
each, where there were steps to sum over), and blocks of other data, which are passed over.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

from latflow._typing import FloatArray

__all__ = ["EarlyEnd", "terms_of"]

OF_NAMES, OF_FRAME = -55555, -7777777  # what begins the names, and second in every frame
FRAME_MARK = struct.pack(">i", OF_FRAME)
VERSIONS = (4, 5)  # GROMACS 4.5 and later
BYTES = {0: 4, 1: 4, 2: 8, 3: 8, 4: 4}  # of int, float, double, int64, char


class EarlyEnd(ValueError):
    """The file ends before what it announces."""


class _Bytes:
    """Bytes that are read in order; none is read beyond their end."""

    def __init__(self, data: bytes) -> None:
        self.data, self.place = data, 0

    def skip(self, n_bytes: int) -> int:
        """Go on by so many bytes; return where they begin."""
        begin, end = self.place, self.place + n_bytes
        if n_bytes < 0 or end > len(self.data):
            raise EarlyEnd(f"{n_bytes} bytes at byte {begin} of {len(self.data)}")
        self.place = end
        return begin

    def numbers(self, layout: str) -> tuple[int, ...]:
        form = struct.Struct(">" + layout)
        return form.unpack_from(self.data, self.skip(form.size))

    def count(self, n: int) -> int:
        """Return a number of things to come, of which none takes less than eight bytes."""
        if n < 0:
            raise ValueError(f"a count of {n} before byte {self.place}")
        self.skip(8 * n)
        self.place -= 8 * n
        return n

    def text(self) -> str:
        (length,) = self.numbers("i")
        begin = self.skip(length)
        self.skip(-length % 4)
        return self.data[begin : begin + length].decode("ascii", errors="replace")


def terms_of(data: bytes, names: Sequence[str]) -> tuple[dict[str, FloatArray], list[str], bool]:
    """Return the terms of these names, all names, and whether the last frame is whole.

    Beside the terms there are ``Time`` in ps and ``Step``. Frames without energies are left out.

    Parameters
    ----------
    data : bytes
        All of the file.
    names : sequence of str
        Terms to return, of those that the file has.

    Raises
    ------
    ValueError
        If it is no such file, or a frame is damaged; the message says what was there.
    """
    source = _Bytes(data)
    magic, version, n_terms = source.numbers("iii")
    if magic > 0 or (magic == OF_NAMES and 0 < version < VERSIONS[0]):
        raise ValueError("what GROMACS before 4.5 wrote: gmx eneconv -f OLD -o NEW renews it")
    if magic != OF_NAMES or version not in VERSIONS:
        raise ValueError(f"a file that begins with {magic} and version {version}")
    every = [(source.text(), source.text())[0] for _ in range(source.count(n_terms))]
    columns = [every.index(name) for name in names if name in every]
    rows = []
    whole = True
    while (begin := source.place) < len(data):
        try:
            time, step, terms = _frame(source, n_terms)
        except EarlyEnd:
            if data.count(FRAME_MARK, begin) > 1:
                raise
            whole = False
            break
        if len(terms):
            rows.append((time, step, *terms[columns]))
    table = np.array(rows, np.float64).reshape(len(rows), 2 + len(columns))
    keys = ["Time", "Step", *(every[k] for k in columns)]
    return dict(zip(keys, table.T, strict=True)), every, whole


def _frame(source: _Bytes, n_terms: int) -> tuple[float, int, FloatArray]:
    begin = source.place
    real = 4 if source.data[begin + 4 : begin + 8] == FRAME_MARK else 8
    source.skip(real)
    magic, version = source.numbers("ii")
    if magic != OF_FRAME or version not in VERSIONS:
        raise ValueError(f"a frame of energies that begins with {magic} at byte {begin}")
    time, step, n_summed = source.numbers("dqi")
    source.skip(16 if version == VERSIONS[1] else 8)
    n, _, n_blocks = source.numbers("iii")
    if n not in (0, n_terms) or step < 0:
        raise ValueError(f"{n} of {n_terms} energies of step {step} at byte {begin}")
    n_bytes = sum(_block(source) for _ in range(source.count(n_blocks)))
    source.skip(12)
    width = 3 if n_summed > 0 else 1
    values = source.skip(n * width * real)
    source.skip(n_bytes)
    terms = np.frombuffer(source.data, f">f{real}", n * width, values)
    return time, step, terms[::width].astype(np.float64)


def _block(source: _Bytes) -> int:
    """Return the bytes that the data of a block take, which come later."""
    _, n_parts = source.numbers("ii")
    parts = [source.numbers("ii") for _ in range(source.count(n_parts))]
    if any(kind not in BYTES or n < 0 for kind, n in parts):
        raise ValueError(f"a block of unknown data before byte {source.place}")
    return sum(BYTES[kind] * n for kind, n in parts)
