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
LONGEST_BOND = 1.0  # nm: those of coarse-grained models, too


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


def _bonds_of_residues(topology: mdtraj.Topology, used: IntArray) -> IntArray:
    """Return the bonds within the residues of some atoms, of shape (n_bonds, 2)."""
    residues = {topology.atom(k).residue.index for k in used}
    return np.array(
        [
            (one.index, other.index)
            for one, other in topology.bonds
            if one.residue is other.residue and one.residue.index in residues
        ]
    ).reshape(-1, 2)


def say_broken(X: mdtraj.Trajectory, used: IntArray, topology: mdtraj.Topology) -> None:
    """Warn of cut molecules that cannot be made whole: there are no bonds, or there is no box.

    Without bonds neighbours among the atoms used are looked at, which half a box is between;
    without a box the bonds of their residues: those between residues may bridge a gap.
    """
    has_bonds, has_box = _has_bonds(topology), X.unitcell_lengths is not None
    if has_bonds == has_box or not len(X):
        return
    pairs = np.stack([used[:-1], used[1:]], axis=1)
    longest, why = np.full((len(X), 1), LONGEST_BOND), "though bonded"
    cure = "the file does not say which box to make them whole by"
    if has_bonds:
        pairs = _bonds_of_residues(topology, used)
    else:
        longest, why = X.unitcell_lengths.min(axis=1, keepdims=True) / 2, "over half the box"
        cure = "the topology has no bonds to make them whole by"
    steps = np.linalg.norm(X.xyz[:, pairs[:, 1]] - X.xyz[:, pairs[:, 0]], axis=-1)
    apart = np.argwhere(steps > longest)
    if len(apart):
        frame, k = apart[0]
        labels = atom_labels(topology)
        one, other = (labels[atom] for atom in pairs[k])
        warn(
            f"{one} and {other} are {steps[frame, k]:.1f} nm apart at {X.time[frame]:g} ps, {why}: "
            f"molecules seem to be cut by the edge of the box, and {cure}."
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
