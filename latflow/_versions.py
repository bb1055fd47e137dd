"""What a question about a bug should come with: versions, platform, device, threads."""

from __future__ import annotations

import importlib.metadata as metadata
import os
import platform
import re
import sys

REQUIREMENT = re.compile(r"[A-Za-z0-9._-]+")


def versions() -> dict[str, str]:
    """Return versions of Python, of latflow and of what it needs, and what it runs on.

    Returns
    -------
    dict of str to str
        With optional packages that are installed. The device is the one that "auto" takes.
    """
    known = {
        "python": sys.version.replace("\n", " "),
        "platform": platform.platform(),
        "latflow": metadata.version("latflow"),
    }
    known |= {name: _version(name) for name in _requirements()}
    import torch

    gpu = torch.cuda.is_available()
    known["device"] = torch.cuda.get_device_name() if gpu else "cpu"
    known["torch threads"] = str(torch.get_num_threads())
    known["cores"] = str(os.cpu_count())
    threads = {name: os.environ[name] for name in sorted(os.environ) if "NUM_THREADS" in name}
    return known | threads


def show_versions() -> None:
    """Write versions of Python, latflow and its dependencies, device and threads, one a line.

    Please paste what this writes into every report of a bug.

    Examples
    --------
    >>> import latflow
    >>> latflow.show_versions()  # doctest: +ELLIPSIS
    python: 3...
    """
    lines = [f"{name}: {value}" for name, value in versions().items()]
    sys.stdout.write("\n".join(lines) + "\n")


def _requirements() -> list[str]:
    """Return the packages that this one names; those of extras only where they are installed."""
    names: dict[str, bool] = {}
    for text in metadata.requires("latflow") or ():
        name = re.match(REQUIREMENT, text)
        if name is not None:
            names[name[0]] = names.get(name[0], False) or "extra ==" not in text
    return [name for name, needed in names.items() if needed or _version(name) != "none"]


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"
