"""``latflow featurize``: trajectory files to a folder of features."""

from __future__ import annotations

from pathlib import Path

import typer

from latflow.cli.inputs import FILES, Trajectories, read_molecules, with_files


def featurize(
    context: typer.Context,
    trajectories: Trajectories,
    files: list[str] | None = FILES,
    output: str = typer.Option("features", metavar="FOLDER", help="Made if it does not exist."),
) -> None:
    """Compute features of trajectory files, larger than memory if need be.

    They go into a folder that `latflow fit` reads. A run that was stopped goes on where it stopped.
    """
    data = read_molecules(with_files(context, files, trajectories), Path(output))
    frames = sum(len(x) for x in data.trajectories)
    print(
        f"Saved: {output}, {len(data.trajectories)} trajectories, {frames} frames, "
        f"{len(data.feature_names)} features"
    )
