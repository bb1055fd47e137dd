"""Readers of files in a process of their own: one that damage brings down takes nothing with it."""

from __future__ import annotations

import faulthandler
import gc
import os
import pickle
import signal
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, NoReturn, TypeVar

from latflow.featurizers.formats import CorruptFile, line_of

Item = TypeVar("Item")
ITEM, END, ERROR, KILLED = range(4)


def contained(items: Callable[[], Iterable[Item]]) -> Iterator[Item]:
    """Yield what a child process makes, an item ahead of the one that was asked for.

    mdtraj's readers are written in C and trust what a file says of itself: damaged bytes make them
    read and write where they should not, and the process is killed. Children are made by a fork,
    on Linux only; elsewhere this process goes through the items.

    Parameters
    ----------
    items : function
        Called in the child, without arguments; returns an iterable of what can be pickled.

    Yields
    ------
    object
        A copy of each item.

    Raises
    ------
    CorruptFile
        With the signal that killed the child. Errors that the child raised are raised here, too.
    """
    if sys.platform != "linux":
        yield from items()
        return
    source, target = Pipe(duplex=False)
    child = os.fork()
    if not child:
        source.close()
        _send(items, target)
    target.close()
    kind: int = ITEM
    what: Any = None
    try:
        with source:
            while kind == ITEM:
                kind, what = _received(source)
                if kind == ITEM:
                    yield what
    finally:
        os.kill(child, signal.SIGKILL)  # does nothing to one that has ended
        _, status = os.waitpid(child, 0)
    if kind == ERROR:
        raise what
    if kind == KILLED:
        number = os.waitstatus_to_exitcode(status)
        by = signal.Signals(-number).name if number < 0 else f"exit code {number}"
        raise CorruptFile(f"what reads it was stopped by {by}, as damaged bytes can do")


def _received(source: Connection) -> tuple[int, Any]:
    try:
        return source.recv()  # type: ignore[no-any-return]
    except (EOFError, OSError):
        return KILLED, None


def _send(items: Callable[[], Iterable[object]], target: Connection) -> NoReturn:
    """Send items, or why there are no more, and leave the process as if it had not been."""
    import resource  # not on Windows

    try:
        gc.disable()  # what the parent is done with is not the child's to clean up
        faulthandler.disable()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        warnings.simplefilter("ignore")
        for item in items():
            target.send((ITEM, item))
        target.send((END, None))
    except Exception as error:
        target.send((ERROR, _to_send(error)))
    finally:
        os._exit(0)


def _to_send(error: Exception) -> Exception:
    """Return an error that arrives as it is: some are made with other arguments than they keep."""
    try:
        arrives = str(pickle.loads(pickle.dumps(error))) == str(error)
    except Exception:
        arrives = False
    known = type(error).__module__ in ("builtins", CorruptFile.__module__)
    return error if arrives and known else CorruptFile(line_of(error))
