"""Topologies: one for all trajectories, names of its atoms, selections, and its form in JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from latflow._typing import IntArray

if TYPE_CHECKING:
    import mdtraj


def find_topology(X: object) -> mdtraj.Topology:
    """Return the topology of a Trajectory, a Topology, or a list of them if they agree."""
    import mdtraj

    if isinstance(X, mdtraj.Topology):
        return X
    if not isinstance(X, list):
        return check_trajectory(X).topology
    if not X:
        raise ValueError("Expected at least one trajectory, got an empty list.")
    first, *others = (find_topology(x) for x in X)
    for number, other in enumerate(others, start=1):
        check_topology(other, first, f" in trajectory {number}, as in trajectory 0")
    return first


def check_trajectory(X: object) -> mdtraj.Trajectory:
    """Return X if it is a Trajectory with a topology."""
    import mdtraj

    if not isinstance(X, mdtraj.Trajectory):
        name = type(X).__name__
        raise TypeError(f"Expected an mdtraj.Trajectory, or a list of them, got {name}.")
    if X.topology is None:
        raise ValueError("Expected a trajectory with a topology, got one without.")
    return X


def check_topology(
    topology: mdtraj.Topology, expected: mdtraj.Topology, where: str = ", as in fit"
) -> None:
    """Raise a ValueError that names the first difference of two topologies."""
    if topology is expected:
        return
    if topology.n_atoms != expected.n_atoms:
        raise ValueError(f"Expected {expected.n_atoms} atoms{where}, got {topology.n_atoms}.")
    for pair in zip(topology.atoms, expected.atoms, strict=True):
        one, other = ((atom.name, atom.residue.name, atom.residue.index) for atom in pair)
        if one != other:
            raise ValueError(
                f"Expected atom {pair[0].index} to be {pair[1]}{where}, got {pair[0]}."
            )


def select_atoms(topology: mdtraj.Topology, selection: str | ArrayLike, name: str) -> IntArray:
    """Return sorted atom indices of a selection in mdtraj's language, or of indices.

    Parameters
    ----------
    topology : mdtraj.Topology
    selection : str or array_like of int
    name : str
        What the errors call it.

    Returns
    -------
    ndarray of shape (n_atoms,)
    """
    if isinstance(selection, str):
        try:
            atoms = topology.select(selection)
        except Exception as error:
            raise ValueError(
                f"Expected `{name}` in mdtraj's selection language, got {selection!r}: "
                f"{' '.join(str(error).split())}."
            ) from error
    else:
        atoms = check_atom_indices(selection, topology.n_atoms, name)
    if np.size(atoms) == 0:
        raise ValueError(f"Expected `{name}` to select at least one atom, got none: {selection!r}.")
    return np.unique(atoms).astype(np.int64)


def check_atom_indices(values: ArrayLike, n_atoms: int, name: str) -> IntArray:
    """Return integers in range as an array."""
    array = np.asarray(values)
    if array.size and (array.dtype.kind not in "iu" or array.min() < 0 or array.max() >= n_atoms):
        raise ValueError(
            f"Expected `{name}` to hold atom indices from 0 to {n_atoms - 1}, got {values!r}."
        )
    return array.astype(np.int64)


def atom_labels(topology: mdtraj.Topology) -> list[str]:
    """Return a label per atom, as ALA2-CA; with the number of the chain where that is needed."""
    residues = residue_labels(topology)
    return _numbered([f"{residues[atom.residue.index]}-{atom.name}" for atom in topology.atoms])


def residue_labels(topology: mdtraj.Topology) -> list[str]:
    """Return a label per residue, as ALA2, or 1:ALA2 where chain 0 has such a residue too."""
    labels = [str(residue) for residue in topology.residues]
    chains = [f"{residue.chain.index}:{residue}" for residue in topology.residues]
    return _numbered(_distinct(labels, chains))


def _numbered(labels: Sequence[str]) -> list[str]:
    return _distinct(labels, [f"{label}#{k}" for k, label in enumerate(labels)])


def _distinct(labels: Sequence[str], longer: Sequence[str]) -> list[str]:
    """Return labels, and the longer ones for those that occur more than once."""
    seen = Counter(labels)
    return [b if seen[a] > 1 else a for a, b in zip(labels, longer, strict=True)]


def topology_as_json(topology: mdtraj.Topology) -> dict[str, list[Any]]:
    """Return what makes the same topology anew, as JSON can hold it.

    Returns
    -------
    dict
        ``chains`` (their letters), ``residues`` (name, number in the file, segment, chain),
        ``atoms`` (name, element or None, residue) and ``bonds`` (two atoms), each a list.
    """
    return {
        "chains": [chain.chain_id for chain in topology.chains],
        "residues": [
            [r.name, int(r.resSeq), r.segment_id, r.chain.index] for r in topology.residues
        ],
        "atoms": [
            [atom.name, atom.element and atom.element.symbol, atom.residue.index]
            for atom in topology.atoms
        ],
        "bonds": [[one.index, other.index] for one, other in topology.bonds],
    }


def topology_from_json(content: Mapping[str, list[Any]]) -> mdtraj.Topology:
    """Return the topology that :func:`topology_as_json` described."""
    import mdtraj

    topology = mdtraj.Topology()
    chains = [topology.add_chain(letter) for letter in content["chains"]]
    for name, number, segment, chain in content["residues"]:
        topology.add_residue(name, chains[chain], resSeq=number, segment_id=segment)
    for name, symbol, residue in content["atoms"]:
        element = symbol and mdtraj.element.get_by_symbol(symbol)
        topology.add_atom(name, element, topology.residue(residue))
    for one, other in content["bonds"]:
        topology.add_bond(topology.atom(one), topology.atom(other))
    return topology
