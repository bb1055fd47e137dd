"""Molecules that the edge of a periodic box cuts."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order, connected_components

from latflow._typing import IntArray
from latflow._validation import warn
from latflow.featurizers.topology import atom_labels

if TYPE_CHECKING:
    import mdtraj


Coordinates = NDArray[np.float32]


class Whole(NamedTuple):
    """How to make the molecules of some atoms whole.

    Attributes
    ----------
    atoms : ndarray of int
        All atoms of these molecules, ascending.
    steps : ndarray of int of shape (n_steps, 2)
        Places in `atoms`: the second is moved to its image next to the first, one after another.
        Along bonds and, from the first molecule to each other one, between two of their atoms.
    places : ndarray of int
        Of the atoms asked for, in `atoms`.
    """

    atoms: IntArray
    steps: IntArray
    places: IntArray

    @classmethod
    def of(cls, topology: mdtraj.Topology, used: IntArray) -> Whole:
        """Find the way through the molecules; there is none where a topology has no bonds."""
        if not _has_bonds(topology):
            return cls(used, np.empty((0, 2), np.int64), np.arange(len(used)))
        ends = np.array([(one.index, other.index) for one, other in topology.bonds])
        n = topology.n_atoms
        graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), (n, n)).tocsr()
        molecule = connected_components(graph, directed=False)[1]
        chosen = list(dict.fromkeys(molecule[used].tolist()))
        atoms = np.flatnonzero(np.isin(molecule, chosen))
        steps: list[IntArray] = []
        for number in chosen:
            inside = used[molecule[used] == number]
            root = inside[len(inside) // 2]
            order, before = breadth_first_order(graph, root, directed=False)
            steps += [np.array([(steps[0][0, 0], root)])] if steps else [np.array([(root, root)])]
            steps.append(np.stack([before[order[1:]], order[1:]], axis=1).reshape(-1, 2))
        return cls(
            atoms, np.searchsorted(atoms, np.concatenate(steps)), np.searchsorted(atoms, used)
        )


def whole(X: mdtraj.Trajectory, rows: slice, way: Whole) -> Coordinates:
    """Return coordinates of the atoms that were asked for, in whole molecules near each other."""
    import mdtraj

    xyz = np.take(X.xyz[rows], way.atoms, axis=1)
    if X.unitcell_lengths is not None and len(way.steps):
        cell = X.unitcell_lengths[rows], X.unitcell_angles[rows]
        frames = mdtraj.Trajectory(xyz, None, None, *cell)
        xyz = frames.make_molecules_whole(inplace=True, sorted_bonds=way.steps.astype(np.int32)).xyz
    return xyz if len(way.places) == xyz.shape[1] else np.take(xyz, way.places, axis=1)


def _has_bonds(topology: mdtraj.Topology) -> bool:
    """Whether there are bonds within residues; those between them may come from coordinates."""
    return any(one.residue is other.residue for one, other in topology.bonds)


def say_broken(X: mdtraj.Trajectory, used: IntArray, topology: mdtraj.Topology) -> None:
    """Warn of neighbours among some atoms that lie at two edges of a box, where no bonds are."""
    if X.unitcell_lengths is None or _has_bonds(topology) or not len(X):
        return
    steps = np.linalg.norm(np.diff(X.xyz[:, used], axis=1), axis=-1)
    half = X.unitcell_lengths.min(axis=1, keepdims=True) / 2
    apart = np.argwhere(steps > half)
    if len(apart):
        frame, k = apart[0]
        labels = atom_labels(topology)
        warn(
            f"{labels[used[k]]} and {labels[used[k + 1]]} are {steps[frame, k]:.1f} nm apart at "
            f"{X.time[frame]:g} ps, over half the box: molecules seem to be cut by its edge, and "
            "the topology has no bonds to make them whole by."
        )


def nearest_images(xyz: Coordinates, X: mdtraj.Trajectory, rows: slice, pairs: IntArray) -> (
    Coordinates
):  # fmt: skip
    """Return vectors from the first to the second atom of pairs, by the nearest image.

    Parameters
    ----------
    xyz : ndarray of shape (n_frames, n_atoms, 3)
        Coordinates of some frames and atoms of X.
    X : mdtraj.Trajectory
    rows : slice
        Which frames these are.
    pairs : ndarray of int of shape (n_pairs, 2)
        Places in `xyz`.
    """
    import mdtraj

    cell = X.unitcell_lengths[rows], X.unitcell_angles[rows]
    frames = mdtraj.Trajectory(xyz, None, None, *cell)
    return np.asarray(mdtraj.compute_displacements(frames, pairs, periodic=True))
