"""Molecules that are broken: by the edge of the box, by a topology of others, or for good."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latflow._validation import heard
from latflow.featurizers import readers
from latflow.featurizers.bonds import gaps, with_links
from latflow.featurizers.boxes import LONGEST_BOND, Whole, say_broken, whole
from latflow.featurizers.topology import atom_labels, topology_from_json

if TYPE_CHECKING:
    import mdtraj

MOST_FRAMES = 16  # of each trajectory
CUT = "Molecules cut by the box: give a topology with bonds and a file with its box, or unwrap it."
LONG = "Look at this frame: a simulation blew up, or the topology names other atoms than the file."
GAPS = "Build what is missing before simulating, or leave out features that reach over the gap."


def structures_of(
    structures: Any, manifest: Mapping[str, Any] | None, lengths: Sequence[int]
) -> Iterator[mdtraj.Trajectory] | None:
    """Return some frames of each trajectory, or None where none is known.

    Parameters
    ----------
    structures : mdtraj.Trajectory, list of mdtraj.Trajectory, or None
    manifest : mapping, or None
        Of the features, whose sources are read where no structures are given.
    lengths : sequence of int
        Frames of each trajectory.
    """
    if structures is not None:
        every = [structures] if hasattr(structures, "xyz") else structures
        return (frames[:: -(-len(frames) // MOST_FRAMES)] for frames in every if len(frames))
    sources = list((manifest or {}).get("sources") or ())
    if len(sources) != len(lengths) or not all(Path(source).is_file() for source in sources):
        return None
    return _read(sources, manifest or {}, lengths)


def _read(
    sources: Sequence[str], manifest: Mapping[str, Any], lengths: Sequence[int]
) -> Iterator[mdtraj.Trajectory]:
    topology, strides = topology_from_json(manifest["topology"]), manifest.get("stride", 1)
    every = strides if isinstance(strides, list) else [strides] * len(sources)
    for source, stride, n in zip(sources, every, lengths, strict=True):
        frames = stride * np.arange(0, n, -(-n // MOST_FRAMES))
        size = {"n_kept": n, "stride": stride}
        yield readers.frames_of(Path(source), topology, frames.tolist(), **size)


def broken(trajectories: Iterable[mdtraj.Trajectory]) -> tuple[str, str, bool]:
    """Return what is broken, the cure, and whether that is beyond doubt; empty where nothing is."""
    joined = None
    for k, frames in enumerate(trajectories):
        every = np.arange(frames.n_atoms)
        with heard() as said:
            say_broken(frames, every, frames.topology)
        if said:
            return f"trajectory {k}: {said[0].rstrip('.')}", CUT, True
        if sentence := _long_bond(frames):
            return f"trajectory {k}: {sentence}", LONG, True
        joined = with_links(frames.topology, frames)
    if joined is not None and len(missing := gaps(joined)):
        residue = joined.residue(int(missing[0]))
        return f"{len(missing)} gap(s) in a chain, the first after {residue}", GAPS, False
    return "", "", False


def _long_bond(frames: mdtraj.Trajectory) -> str:
    """Name the longest bond within a residue that no molecule has, in whole molecules."""
    pairs = np.array(
        [(a.index, b.index) for a, b in frames.topology.bonds if a.residue is b.residue]
    ).reshape(-1, 2)
    if not len(pairs):
        return ""
    every = np.arange(frames.n_atoms)
    xyz = whole(frames, slice(None), Whole.of(frames.topology, every))
    length = np.linalg.norm(xyz[:, pairs[:, 0]] - xyz[:, pairs[:, 1]], axis=-1)
    frame, bond = np.unravel_index(int(np.argmax(length)), length.shape)
    if length[frame, bond] <= LONGEST_BOND:
        return ""
    one, other = (atom_labels(frames.topology)[atom] for atom in pairs[bond])
    return f"{one} and {other}, bonded, are {length[frame, bond]:.1f} nm apart"
