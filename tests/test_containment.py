"""What reads files in a process of its own: it gives the same, and falls without its parent."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latflow.featurizers.containment import contained
from latflow.featurizers.formats import CorruptFile

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="children are made on Linux only")


@pytest.fixture(params=[sys.platform, "elsewhere"])
def platform(request: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(sys, "platform", request.param)
    return str(request.param)


def children() -> set[str]:
    tasks = Path("/proc/self/task").glob("*/children")
    return {pid for task in tasks for pid in task.read_text().split()}


@pytest.fixture
def others() -> set[str]:
    """Children that other tests left: servers of forks, trackers of resources."""
    return children()


@pytest.mark.usefixtures("platform")
def test_items_come_in_order_and_whole() -> None:
    arrays = [np.random.default_rng(k).normal(size=(k, 1000)) for k in (0, 1, 300)]
    for one, other in zip(contained(lambda: arrays), arrays, strict=True):
        np.testing.assert_array_equal(one, other)
    assert list(contained(tuple)) == []


@on_linux
def test_a_reader_that_is_killed_is_an_error_of_the_file(others: set[str]) -> None:
    def items() -> Iterator[int]:
        yield 1
        os.kill(os.getpid(), signal.SIGSEGV)
        yield 2

    source = contained(items)
    assert next(source) == 1
    with pytest.raises(CorruptFile, match="what reads it was stopped by SIGSEGV"):
        next(source)
    assert children() <= others


@on_linux
def test_a_reader_that_leaves_is_an_error_of_the_file() -> None:
    with pytest.raises(CorruptFile, match="what reads it was stopped by exit code 3"):
        list(contained(lambda: [os._exit(3)]))


class NotSent(Exception):
    """One that is made with two arguments and keeps one, as some libraries' are."""

    def __init__(self, one: str, other: int) -> None:
        super().__init__(f"{one} and {other}")


@on_linux
@pytest.mark.parametrize(
    ("error", "expected", "message"),
    [
        (KeyError("x"), KeyError, "^'x'$"),
        (CorruptFile("half"), CorruptFile, "^half$"),
        (MemoryError("much"), MemoryError, "^much$"),
        (FileNotFoundError(2, "odd", "x"), FileNotFoundError, "odd"),
        (NotSent("one", 2), CorruptFile, "^NotSent one and 2$"),
    ],
)
def test_errors_come_over(error: Exception, expected: type[Exception], message: str) -> None:
    def items() -> Iterator[int]:
        yield 1
        raise error

    source = contained(items)
    assert next(source) == 1
    with pytest.raises(expected, match=message):
        next(source)


@on_linux
def test_one_that_is_not_read_to_its_end_is_gone(others: set[str]) -> None:
    def forever() -> Iterator[bytes]:
        while True:
            yield bytes(1_000_000)

    source = contained(forever)
    assert len(next(source)) == 1_000_000
    source.close()  # type: ignore[attr-defined]
    assert children() <= others


@on_linux
def test_what_a_reader_prints_is_not_heard(capfd: pytest.CaptureFixture[str]) -> None:
    def items() -> Iterator[int]:
        os.write(1, b"detected a file")
        os.write(2, b"error stack")
        yield 1

    assert list(contained(items)) == [1]
    assert tuple(capfd.readouterr()) == ("", "")


@on_linux
def test_threads_read_at_once(others: set[str]) -> None:
    """Also where a child of another thread holds on to the ends of a pipe."""
    sums: dict[int, int] = {}

    def add(number: int) -> None:
        sums[number] = sum(contained(lambda: (number * k for k in range(50))))

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sums == {number: number * 1225 for number in range(8)}
    assert children() <= others


@on_linux
def test_a_killed_parent_leaves_no_child() -> None:
    """Both hold an end of a pipe, which is at its end when both are gone."""
    held, by_both = os.pipe()

    def forever() -> Iterator[bytes]:
        while True:
            yield bytes(1_000_000)

    parent = os.fork()
    if not parent:
        try:
            next(contained(forever))
            os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(0)
    os.close(by_both)
    _, status = os.waitpid(parent, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert os.read(held, 1) == b""
    os.close(held)
