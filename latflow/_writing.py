"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import os
import platform
import re
import uuid
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

__all__ = ["clear_unfinished", "replacing", "write_together"]

_unfinished: set[str] = set()  # by threads of this process


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Name a new file beside `path` that takes its place at the end; on an error none does.

    A symbolic link stays, and what it points to is replaced. What killed processes of this machine
    left of earlier tries at the same file is removed first.

    Parameters
    ----------
    path : str or path-like

    Yields
    ------
    Path
        To write to and to close: with the extension of `path`, and a name that no other process
        or thread has.

    Raises
    ------
    OSError
        If the file cannot be written or take the place of `path`, which the error names; if `path`
        is a device or a pipe, which a file would take away from every program.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise OSError(errno.EINVAL, "Not a file that can be replaced", os.fspath(path))
    _clear_of_killed(target)
    owner = f"{_machine()}-{os.getpid()}"
    part = target.with_name(f"{target.stem}.{owner}-{uuid.uuid4().hex}.part{target.suffix}")
    _unfinished.add(part.name)
    try:
        yield part
        part.replace(target)
    except OSError as error:
        if error.filename not in (None, str(part)):
            raise
        reason = error.errno or errno.EIO
        raise OSError(reason, error.strerror or str(error), os.fspath(path)) from error
    finally:
        part.unlink(missing_ok=True)
        _unfinished.discard(part.name)


def _clear_of_killed(target: Path) -> None:
    if os.name != "posix":  # whose signal 0 asks for a process, and does nothing to it
        return
    name = rf"{re.escape(target.stem)}\.{_machine()}-(\d+)-[0-9a-f]{{32}}\.part"
    with suppress(OSError):
        for part in target.parent.iterdir():
            match = re.fullmatch(name + re.escape(target.suffix), part.name)
            if match and part.name not in _unfinished and not _runs(int(match[1])):
                part.unlink(missing_ok=True)


def _machine() -> str:
    return f"{zlib.crc32(platform.node().encode()):08x}"


def _runs(process: int) -> bool:
    """Whether a process goes on that is not this one."""
    if process == os.getpid():  # its number was another's before
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        pass
    return True


def write_together(texts: Mapping[Path, str]) -> list[Path]:
    """Write text files, all or none, and return their paths.

    Parameters
    ----------
    texts : mapping of Path to str

    Raises
    ------
    OSError
        If one of them cannot be written.
    """
    with ExitStack() as stack:
        for path, text in texts.items():
            stack.enter_context(replacing(path)).write_text(text)
    return list(texts)


def clear_unfinished(folder: Path, extension: str) -> None:
    """Remove what :func:`replacing` left behind in processes that were killed."""
    for part in folder.glob(f"*.part{extension}"):
        part.unlink(missing_ok=True)
