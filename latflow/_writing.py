"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["clear_unfinished", "replacing"]


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Name a new file beside `path` that takes its place at the end; on an error none does.

    A symbolic link stays, and what it points to is replaced.

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
        If the file cannot be written or take the place of `path`, which the error names.
    """
    target = Path(os.path.realpath(path))
    part = target.with_name(f"{target.stem}.{uuid.uuid4().hex}.part{target.suffix}")
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


def clear_unfinished(folder: Path, extension: str) -> None:
    """Remove what :func:`replacing` left behind in processes that were killed."""
    for part in folder.glob(f"*.part{extension}"):
        part.unlink(missing_ok=True)
