"""Energies of the frames, and temperatures, out of the files behind ``--energy``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import latflow
from latflow._typing import FloatArray
from latflow.cli.inputs import ARRAYS, Trajectories, check_once, read_array

if TYPE_CHECKING:
    from latflow.energies import Energies


def read_logs(files: Sequence[str] | None, *, finite: bool = True) -> list[Energies | FloatArray]:
    """Return what simulation programs wrote, or arrays of energies, finite ones if asked."""
    check_once(files or (), "energies")
    return [
        read_array(file, f"energy of trajectory {k}", n_axes=1, finite=finite)
        if Path(file).suffix in ARRAYS
        else latflow.read_energies(file)
        for k, file in enumerate(files or ())
    ]


def with_thermostats(
    trajectories: Trajectories, logs: Sequence[Energies | FloatArray]
) -> Trajectories:
    """Add the temperatures that the logs tell, where none is named and no folder may know them."""
    files = trajectories.trajectory or []
    if trajectories.temperature is not None or len(logs) != len(files):
        return trajectories
    told = [log for log in logs if not isinstance(log, np.ndarray)]
    if not told or len(told) < len(logs) or Path(files[0]).is_dir():
        return trajectories
    return replace(trajectories, temperature=[log.thermostat() for log in told])


def energies_of(
    logs: Sequence[Energies | FloatArray],
    files: Sequence[str],
    X: Sequence[FloatArray],
    temperature: Sequence[float] | None,
) -> list[FloatArray]:
    """Return the potential energy of every frame of every trajectory.

    Parameters
    ----------
    logs : sequence of Energies or ndarray
    files : sequence of str
        That the logs were read from.
    X : sequence of ndarray of shape (n_frames, n_features)
        Features; where they know their sources, times are read from those.
    temperature : sequence of float, or None
        In K, to be compared with those of the logs.
    """
    if len(logs) != len(X):
        raise ValueError(
            f"Expected --energy with one file per trajectory ({len(X)}), got {len(logs)}."
        )
    manifest: dict[str, Any] = getattr(X, "manifest", None) or {}
    sources = manifest.get("sources") or [None] * len(X)
    strides = manifest.get("stride", 1)
    every = strides if isinstance(strides, list) else [strides] * len(X)
    energies = []
    for k, log in enumerate(logs):
        if not isinstance(log, np.ndarray):
            if temperature is not None:
                log.check_temperature(temperature[k])
            energies.append(_on_frames(log, sources[k], every[k], len(X[k])))
        elif len(log) == len(X[k]):
            energies.append(log)
        else:
            raise ValueError(
                f"Expected one energy per frame ({len(X[k])}) in {files[k]}, got {len(log)}."
            )
    return energies


def _on_frames(log: Energies, source: str | None, stride: int, n_frames: int) -> FloatArray:
    """Return energies at the times of frames; one by one where a file has no times."""
    known = source is not None and Path(source).is_file()
    times = _times_of(Path(str(source)), stride, n_frames) if known else None
    if times is not None and log.time is not None:
        return log.at(times)
    energies = log.potential[::stride]
    without = f"{source or 'an array'} has no times" if times is None else "energies have no times"
    if len(energies) != n_frames:
        raise ValueError(
            f"Expected one energy per frame ({n_frames} times --stride {stride}) in {log.path}, as "
            f"{without}, got {len(log.potential)}: leave out those without a frame and give the "
            "others as .npy."
        )
    latflow._validation.warn(
        f"The energies in {log.path} are taken for the frames one by one, as {without}."
    )
    return np.asarray(energies)


def _times_of(source: Path, stride: int, n_frames: int) -> FloatArray | None:
    """Return the times of the frames that were taken.

    A file may have been cut off, or still be written, and have been taken so far.
    """
    times = latflow.featurizers.readers.times_of(source, stride, partial=True)
    if times is not None and len(times) < n_frames:
        raise ValueError(
            f"Expected {n_frames} frames in {source}, as features say, got {len(times)}."
        )
    return None if times is None else times[:n_frames]
