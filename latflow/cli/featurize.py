"""``latflow featurize``: trajectory files to a folder of features."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from latflow.cli.inputs import add_files, add_molecules, one_each, read_molecules

__all__ = ["add", "run"]


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the command."""
    command: argparse.ArgumentParser = commands.add_parser(
        "featurize",
        help="compute features of trajectory files, larger than memory if need be",
        description="Compute features of trajectory files into a folder that `latflow fit` reads. "
        "A run that was stopped goes on where it stopped.",
        usage="latflow featurize FILE [FILE ...] --topology FILE --output FOLDER [options]",
    )
    add_files(command)
    add_molecules(command)
    command.add_argument(
        "--output", default="features", metavar="FOLDER",
        help="made if it does not exist; default: %(default)s",
    )  # fmt: skip
    return command


def run(arguments: argparse.Namespace) -> None:
    """Compute features and write them."""
    files = arguments.files or []
    if not files:
        arguments.parser.error("Expected FILE, at least one trajectory, got none")
    given = arguments.temperature
    temperature = None if given is None else one_each(given, len(files))
    data = read_molecules(arguments, temperature, Path(arguments.output))
    frames = sum(len(x) for x in data.trajectories)
    print(
        f"Saved: {arguments.output}, {len(data.trajectories)} trajectories, {frames} frames, "
        f"{len(data.feature_names)} features"
    )
