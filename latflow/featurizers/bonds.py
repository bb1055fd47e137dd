"""Bonds from residue to residue: where a chain goes on, and where it only seems to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from latflow._typing import BoolArray, IntArray
from latflow.featurizers.topology import topology_as_json, topology_from_json

if TYPE_CHECKING:
    import mdtraj


LONGEST_BOND = 0.2  # nm; C-N has 0.13, O3'-P 0.16, and no contact is shorter than 0.25
LINKS = (("C", "N"), ("O3'", "P"))
MOST_FRAMES = 16


def with_links(topology: mdtraj.Topology, X: Any) -> mdtraj.Topology:
    """Return a topology whose bonds from residue to residue are those that coordinates show.

    mdtraj bonds the neighbours in every chain of a .pdb or .gro by their names, over gaps, and from
    the end of one molecule to the start of the next. Without coordinates the topology is returned
    as it is, and also where it has no bond at all and no two residues lie near.

    Parameters
    ----------
    topology : mdtraj.Topology
    X : mdtraj.Trajectory, mdtraj.Topology, or list of mdtraj.Trajectory
    """
    import mdtraj

    frames = X[0] if isinstance(X, list) else X
    pairs = np.array([pair for _, pair in _candidates(topology)], dtype=np.int64).reshape(-1, 2)
    if not hasattr(frames, "xyz") or not len(frames.xyz) or not len(pairs):
        return topology
    some = frames[:: -(-len(frames) // MOST_FRAMES)]
    # one frame in which a molecule is broken, or distorted, does not part what others show joined
    near = mdtraj.compute_distances(some, pairs).min(axis=0) < LONGEST_BOND
    if not near.any() and topology.n_bonds == 0:
        return topology
    bonds = {tuple(sorted((one.index, other.index))): None for one, other in topology.bonds}
    joined = {tuple(pair): bool(yes) for pair, yes in zip(pairs.tolist(), near, strict=True)}
    if all((pair in bonds) == yes for pair, yes in joined.items()):
        return topology
    kept = [list(bond) for bond in bonds if joined.get(bond, True)]
    new = [list(pair) for pair, yes in joined.items() if yes and pair not in bonds]
    return topology_from_json(topology_as_json(topology) | {"bonds": kept + new})


def _candidates(topology: mdtraj.Topology) -> Iterator[tuple[int, tuple[int, int]]]:
    """Yield residues, and the atoms that would join each to the next one of its chain."""
    for chain in topology.chains:
        before: dict[str, int] = {}
        for residue in chain.residues:
            names = {atom.name: atom.index for atom in residue.atoms}
            for one, other in LINKS:
                if one in before and other in names:
                    yield residue.index - 1, (before[one], names[other])
            before = names


def are_linked(topology: mdtraj.Topology) -> BoolArray:
    """Whether each residue is bonded to the next, shape (n_residues,).

    All residues of a chain are, where the topology has no bonds.
    """
    chains = np.array([residue.chain.index for residue in topology.residues])
    same_chain = np.append(chains[1:] == chains[:-1], False)
    if topology.n_bonds == 0 or not any(True for _ in _candidates(topology)):
        return same_chain
    linked = np.zeros(len(chains), bool)
    for one, other in topology.bonds:
        low, high = sorted((one.residue.index, other.residue.index))
        if high == low + 1:
            linked[low] = True
    return np.asarray(linked & same_chain)


def gaps(topology: mdtraj.Topology) -> IntArray:
    """Return the residues that their names would join to the next one, and no bond does."""
    linked = are_linked(topology)
    return np.unique([k for k, _ in _candidates(topology) if not linked[k]]).astype(np.int64)


def stretches(topology: mdtraj.Topology) -> IntArray:
    """Return a number for each residue that residues bonded along the chain have in common."""
    return np.cumsum(np.r_[0, ~are_linked(topology)[:-1]])
