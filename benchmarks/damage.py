"""Damage to files, and how a reader of them ends, each time in a process of its own."""

import faulthandler
import os
import pickle
import re
import resource
import signal
import sys
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

SECONDS = 5  # of a processor
PATIENCE = 60  # seconds of the clock, for a machine that is busy
MEMORY = 2 * 2**30  # beyond what the process has at its start, bytes
PROGRAMS = ("os.exec", "os.posix_spawn", "os.system", "subprocess.Popen")  # events of an audit
SENTENCE = re.compile(r"Expected [^\n]+\.", re.DOTALL)


def damaged(content, generator):
    """Return bytes with some flipped, cut off, doubled or swapped, and which of these it was."""
    while True:
        kind = generator.choice(["flipped", "cut", "doubled", "swapped"])
        changed = globals()[f"_{kind}"](bytearray(content), generator)
        if changed != content:
            return bytes(changed), str(kind)


def _flipped(content, generator):
    """Change one to eight bytes, by a bit or to anything."""
    for place in generator.integers(len(content), size=generator.integers(1, 9)):
        bit = 1 << int(generator.integers(8))
        content[place] = (
            content[place] ^ bit if generator.random() < 0.5 else generator.integers(256)
        )
    return content


def _cut(content, generator):
    return content[: generator.integers(len(content))]


def _doubled(content, generator):
    """Repeat a stretch, long or short, right behind itself."""
    begin = int(generator.integers(len(content)))
    end = begin + _length(len(content) - begin, generator)
    return content[:end] + content[begin:]


def _swapped(content, generator):
    """Exchange two stretches of one length."""
    length = _length(len(content) // 2, generator)
    first, second = np.sort(generator.integers(len(content) - length + 1, size=2))
    second = max(second, first + length)
    one, other = content[first : first + length], content[second : second + length]
    if len(one) == len(other):
        content[first : first + length], content[second : second + length] = other, one
    return content


def _length(most, generator):
    return int(np.exp(generator.uniform(0, np.log(max(most, 1)))))


class End(NamedTuple):
    """How a reader ended: "read", "refused", or what should not be; and what it gave or said."""

    how: str
    what: Any


def end_of(reader, *arguments):
    """Call a reader in a process of its own, with little time and memory, and tell its end."""
    with tempfile.TemporaryFile() as said:
        child = os.fork()
        if not child:
            _run(reader, arguments, said)
        _, status = os.waitpid(child, 0)
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # what it started itself
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            how = "hung" if number in (signal.SIGALRM, signal.SIGXCPU) else "crashed"
            return End(how, signal.Signals(number).name)
        said.seek(0)
        return pickle.load(said)


def _run(reader, arguments, said):
    """Write the end of a reader to a file, and leave the process."""
    os.setsid()
    faulthandler.disable()
    signal.alarm(PATIENCE)
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 1))
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    executed = []
    sys.addaudithook(lambda event, _: executed.append(event) if event in PROGRAMS else None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        end = _end(reader, arguments, caught)
    pickle.dump(End("executed", executed) if executed else end, said)
    said.flush()
    os._exit(0)


def _end(reader, arguments, caught):
    try:
        return End("read", (reader(*arguments), [str(one.message) for one in caught]))
    except MemoryError as error:
        return End("out of memory", repr(error))
    except BaseException as error:
        if "SIGXCPU" in str(error):  # of a process that it started
            return End("hung", str(error))
        if not isinstance(error, (ValueError, OSError)):
            return End("another error", repr(error))
        said = SENTENCE.fullmatch(str(error))
        return End("refused" if said else "no sentence", f"{type(error).__name__}: {error}")
