"""Distances between atoms and between residues, and what is made of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import comb
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from latflow._blocks import blocks_of_rows
from latflow._typing import BoolArray, IntArray
from latflow._validation import check_count, check_option, check_positive
from latflow.featurizers.base import Features, Featurizer, Structures
from latflow.featurizers.bonds import stretches
from latflow.featurizers.topology import (
    atom_labels,
    check_atom_indices,
    residue_labels,
    select_atoms,
)

if TYPE_CHECKING:
    import mdtraj


SCHEMES = ("ca", "closest-heavy")
FEWEST_FRAMES = 16  # at a time, as mdtraj checks all pairs anew in every call
PAIRS_AT_ONCE = 2**20  # of atoms, whose distances in some frames are held
MOST_BYTES = 4e9  # of lists of pairs
BYTES_PER_FEATURE, BYTES_PER_PAIR = 200, 8
TILE = 64  # atoms, whose distances to all that follow are summed at once

PairArray = NDArray[np.int32]
Atoms = str | tuple[str, str] | ArrayLike | None


class _Pairs(Featurizer):
    """What distances and contacts have in common: pairs of atoms, and their distances."""

    prefix: ClassVar[str]

    def __init__(
        self,
        atoms: Atoms = None,
        *,
        scheme: str = "ca",
        min_separation: int = 3,
        ligands: str | ArrayLike | None = None,
        periodic: bool = True,
    ) -> None:
        self.atoms = atoms
        self.scheme = scheme
        self.min_separation = min_separation
        self.ligands = ligands
        self.periodic = periodic

    def _learn(self, topology: mdtraj.Topology, X: Structures) -> list[str]:
        """Store atom pairs, and where the pairs of each feature start; return the names."""
        check_option(self.scheme, "scheme", SCHEMES)
        separation = check_count(self.min_separation, "min_separation", minimum=0)
        self.starts_: IntArray | None = None
        ligands = self._ligands(topology)
        if self.atoms is None:
            labels = residue_labels(topology)
            atoms = _atoms_of_residues(topology, self.scheme, ligands)
            counts = np.array([len(one) for one in atoms.values()])
            check_room(comb(len(counts), 2), int(counts.sum() ** 2 - (counts**2).sum()) // 2)
            named = _all_pairs(np.array(list(atoms), dtype=np.int64))
            named = named[_are_apart(topology, named, separation)]
            self.pairs_, starts = _pairs_between(atoms, named)
            if self.scheme != "ca":
                self.starts_ = starts
        else:
            labels = atom_labels(topology)
            named = _pairs_of_atoms(topology, self.atoms, separation)
            self.pairs_ = named.astype(np.int32)
        if not len(named):
            raise ValueError(
                f"Expected pairs of atoms, got none at least min_separation={separation} residues "
                f"apart for atoms={self.atoms!r}, scheme={self.scheme!r}."
            )
        pairs = zip(*named.T.tolist(), strict=True)
        return [f"{self.prefix}_{labels[i]}_{labels[j]}" for i, j in pairs]

    def _ligands(self, topology: mdtraj.Topology) -> IntArray:
        if self.ligands is None:
            return np.empty(0, np.int64)
        if self.scheme == "ca" or self.atoms is not None:
            raise ValueError(
                "Expected `ligands` with scheme='closest-heavy' and without `atoms`, got it with "
                f"scheme={self.scheme!r}, atoms={self.atoms!r}."
            )
        return select_atoms(topology, self.ligands, "ligands")

    def _compute(self, X: mdtraj.Trajectory) -> Features:
        """Return distances in nm, the least over the atom pairs of each feature."""
        from mdtraj import compute_distances

        if self.starts_ is None:
            return np.asarray(compute_distances(X, self.pairs_, periodic=self.periodic))
        features = np.empty((X.n_frames, len(self.starts_)), np.float32)
        ends = np.append(self.starts_[1:], len(self.pairs_))
        first = 0
        while first < len(ends):
            last = int(np.searchsorted(ends, self.starts_[first] + PAIRS_AT_ONCE, side="right"))
            last = max(last, first + 1)
            pairs = self.pairs_[self.starts_[first] : ends[last - 1]]
            starts = self.starts_[first:last] - self.starts_[first]
            closest = partial(np.minimum.reduceat, indices=starts, axis=1)
            features[:, first:last] = in_blocks(X, pairs, self.periodic, closest, len(starts))
            first = last
        return features


class Distances(_Pairs):
    """Distances between atoms, or between residues.

    Parameters
    ----------
    atoms : str, tuple of two str, array_like of int of shape (n_pairs, 2), or None, default=None
        A selection in mdtraj's language gives all pairs of its atoms, two selections the pairs
        between them, an array the pairs themselves. None pairs residues as `scheme` says.
    scheme : {"ca", "closest-heavy"}, default="ca"
        Distance of two residues: that of their C-alpha atoms, or the shortest one between their
        heavy atoms. The latter also takes nucleotides.
    min_separation : int, default=3
        Least distance along the chain, in residues, of the atoms of a pair, unless pairs are
        named by their indices. Residues that no bond joins, of different chains and on the two
        sides of a gap, are always far enough apart.
    ligands : str or array_like of int, optional
        Selection in mdtraj's language, or indices: the residues of these atoms are paired by
        closest-heavy, too, as in "resname LIG"; otherwise only those with a C-alpha atom or a base.
    periodic : bool, default=True
        Take the nearest periodic image where the trajectory has a unit cell.

    Attributes
    ----------
    pairs_ : ndarray of int of shape (n_atom_pairs, 2)
    topology_, feature_names_
        As in every featurizer. A name is ``distance_ALA2_GLY5`` or ``distance_ALA2-CA_GLY5-N``.

    Notes
    -----
    Unit: nm.

    Examples
    --------
    >>> import mdtraj, numpy as np
    >>> top = mdtraj.Topology()
    >>> chain = top.add_chain()
    >>> for k in range(5):
    ...     residue = top.add_residue("GLY", chain)
    ...     atom = top.add_atom("CA", mdtraj.element.carbon, residue)
    >>> xyz = 0.38 * np.arange(5)[None, :, None] * [1, 0, 0]
    >>> distances = Distances()
    >>> distances.fit_transform(mdtraj.Trajectory(xyz, top)).round(2)
    array([[1.14, 1.52, 1.14]], dtype=float32)
    >>> list(distances.get_feature_names_out())[:2]
    ['distance_GLY0_GLY3', 'distance_GLY0_GLY4']
    """

    prefix, unit = "distance", "nm"


class Contacts(_Pairs):
    r"""Smooth contacts: a switching function of the distances between atoms, or residues.

    .. math:: s(r) = \frac{1}{1 + (r / r_0)^n}

    Parameters
    ----------
    atoms : str, tuple of two str, array_like of int of shape (n_pairs, 2), or None, default=None
        As in :class:`Distances`.
    scheme : {"ca", "closest-heavy"}, default="closest-heavy"
    r0 : float, default=0.45
        Distance, in nm, at which a contact counts half. 0.8 suits ``scheme="ca"``.
    exponent : int, default=6
        n; with 6 this is PLUMED's rational function with NN=6, MM=12.
    min_separation : int, default=3
    ligands : str or array_like of int, optional
        As in :class:`Distances`.
    periodic : bool, default=True

    Attributes
    ----------
    pairs_ : ndarray of int of shape (n_atom_pairs, 2)
    topology_, feature_names_
        As in every featurizer. A name is ``contact_ALA2_GLY5``.

    Notes
    -----
    Unit: none, from 0 (apart) to 1.
    """

    prefix = "contact"

    def __init__(
        self,
        atoms: Atoms = None,
        *,
        scheme: str = "closest-heavy",
        r0: float = 0.45,
        exponent: int = 6,
        min_separation: int = 3,
        ligands: str | ArrayLike | None = None,
        periodic: bool = True,
    ) -> None:
        super().__init__(
            atoms,
            scheme=scheme,
            min_separation=min_separation,
            ligands=ligands,
            periodic=periodic,
        )
        self.r0 = r0
        self.exponent = exponent

    def _learn(self, topology: mdtraj.Topology, X: Structures) -> list[str]:
        check_positive(self.r0, "r0")
        check_count(self.exponent, "exponent")
        return super()._learn(topology, X)

    def _compute(self, X: mdtraj.Trajectory) -> Features:
        contacts = super()._compute(X)
        for rows in blocks_of_rows(len(contacts), contacts.shape[1], fewest=1):
            contacts[rows] = switch(contacts[rows], self.r0, self.exponent)
        return contacts


class CoordinationNumbers(Featurizer):
    r"""Coordination numbers of atoms: how many of the others are near, counted smoothly.

    .. math:: c_i = \sum_{j \ne i} \frac{1}{1 + (r_{ij} / r_0)^n}

    Sorted, they do not change under the exchange of atoms: what clusters of like particles need.

    Parameters
    ----------
    r0 : float
        Distance, in nm (or in the unit of the coordinates), at which a neighbour counts half;
        1.5 sigma for Lennard-Jones particles, as in :func:`latflow.datasets.make_lj7`.
    atoms : str or array_like of int of shape (n_atoms,), default="all"
        Selection in mdtraj's language, or indices; the others are no neighbours either.
    exponent : int, default=8
    sort : bool, default=False
        In ascending order in every frame; then names are numbers, not atoms.
    periodic : bool, default=True
        Take the nearest periodic image where the trajectory has a unit cell.

    Attributes
    ----------
    atoms_ : ndarray of int of shape (n_features,)
    topology_, feature_names_
        As in every featurizer. A name is ``coordination_ALA2-CA`` or, sorted, ``coordination_0``.

    Notes
    -----
    Unit: none.

    Examples
    --------
    >>> import mdtraj, numpy as np
    >>> top = mdtraj.Topology()
    >>> chain = top.add_chain()
    >>> for k in range(3):
    ...     atom = top.add_atom("Ar", mdtraj.element.argon, top.add_residue("AR", chain))
    >>> xyz = np.array([[[0.0, 0, 0], [1.5, 0, 0], [9.0, 0, 0]]])
    >>> CoordinationNumbers(1.5).fit_transform(mdtraj.Trajectory(xyz, top)).round(4)
    array([[0.5, 0.5, 0. ]], dtype=float32)
    """

    def __init__(
        self,
        r0: float,
        *,
        atoms: str | ArrayLike = "all",
        exponent: int = 8,
        sort: bool = False,
        periodic: bool = True,
    ) -> None:
        self.r0 = r0
        self.atoms = atoms
        self.exponent = exponent
        self.sort = sort
        self.periodic = periodic

    def _learn(self, topology: mdtraj.Topology, X: Structures) -> list[str]:
        check_positive(self.r0, "r0")
        check_count(self.exponent, "exponent")
        self.atoms_ = select_atoms(topology, self.atoms, "atoms")
        n_atoms = len(self.atoms_)
        if n_atoms < 2:
            raise ValueError(f"Expected `atoms` to select at least two atoms, got {n_atoms}.")
        labels = atom_labels(topology)
        names = range(n_atoms) if self.sort else [labels[k] for k in self.atoms_]
        return [f"coordination_{name}" for name in names]

    def _compute(self, X: mdtraj.Trajectory) -> Features:
        """Sum over tiles of pairs, of some atoms and those that follow: no list holds all pairs."""
        n_atoms = len(self.atoms_)
        numbers = np.zeros((X.n_frames, n_atoms), np.float32)
        for first in range(0, n_atoms, TILE):
            last = min(first + TILE, n_atoms)
            if last - first > 1:
                numbers[:, first:last] += self._inside(X, self.atoms_[first:last])
            if last < n_atoms:
                numbers[:, first:] += self._between(X, *np.split(self.atoms_[first:], [TILE]))
        return np.sort(numbers, axis=1) if self.sort else numbers

    def _inside(self, X: mdtraj.Trajectory, atoms: IntArray) -> Features:
        """Return how many of some atoms are near each of them."""
        i, j = np.triu_indices(len(atoms), 1)
        row = np.arange(len(i))
        shape = len(i), len(atoms)
        ends = np.r_[row, row], np.r_[i, j]
        member = sparse.csr_array((np.ones(2 * len(i), np.float32), ends), shape=shape)
        # a dense one is faster; the sparse one gives the same bits for any number of frames
        member = member.toarray() if len(self.atoms_) <= TILE else member

        def count(distances: Features) -> Features:
            return np.asarray(switch(distances, self.r0, self.exponent) @ member)

        pairs = _all_pairs(atoms).astype(np.int32)
        return in_blocks(X, pairs, self.periodic, count, len(atoms))

    def _between(self, X: mdtraj.Trajectory, atoms: IntArray, others: IntArray) -> Features:
        """Return how many of some other atoms are near each atom, then the reverse."""

        def count(distances: Features) -> Features:
            near = switch(distances, self.r0, self.exponent)
            near = near.reshape(len(near), len(atoms), len(others))
            return np.concatenate([near.sum(axis=2), near.sum(axis=1)], axis=1)

        grid = np.meshgrid(atoms.astype(np.int32), others.astype(np.int32), indexing="ij")
        pairs = np.stack(grid, axis=-1).reshape(-1, 2)
        return in_blocks(X, pairs, self.periodic, count, len(atoms) + len(others))


@np.errstate(over="ignore")
def switch(distances: Features, r0: float, exponent: int) -> Features:
    """Return 1 / (1 + (r / r0)^n); the distances are overwritten."""
    distances *= np.float32(1 / r0)
    while exponent % 2 == 0:
        np.square(distances, out=distances)
        exponent //= 2
    power = distances.copy() if exponent > 1 else distances
    while exponent := exponent // 2:
        np.square(distances, out=distances)
        if exponent % 2:
            power *= distances
    power += 1
    return np.reciprocal(power, out=power)


def in_blocks(
    X: mdtraj.Trajectory,
    pairs: PairArray,
    periodic: bool,
    reduce: Callable[[Features], Features],
    n_features: int,
) -> Features:
    """Compute distances of some frames at a time, and put what `reduce` makes of them together.

    mdtraj's own functions hold the distances of all frames, and all atom pairs, at once.
    """
    from mdtraj.geometry import compute_distances_core

    cells = X.unitcell_vectors if periodic else None
    features = np.empty((X.n_frames, n_features), np.float32)
    fewest = int(np.clip(FEWEST_FRAMES * PAIRS_AT_ONCE // max(1, len(pairs)), 1, FEWEST_FRAMES))
    for rows in blocks_of_rows(X.n_frames, len(pairs), fewest=fewest):
        cell = None if cells is None else cells[rows]
        features[rows] = reduce(
            compute_distances_core(X.xyz[rows], pairs, unitcell_vectors=cell, periodic=periodic)
        )
    return features


def check_room(n_named: int, n_pairs: int = 0) -> None:
    """Raise where named pairs, and the pairs of atoms that they are made of, exceed memory."""
    n_bytes = n_named * BYTES_PER_FEATURE + n_pairs * BYTES_PER_PAIR
    if n_bytes > MOST_BYTES:
        raise ValueError(
            f"Expected pairs that fit into {MOST_BYTES / 1e9:g} GB, got {max(n_named, n_pairs):,} "
            f"pairs, about {n_bytes / 1e9:,.0f} GB: select fewer atoms, as in atoms='name CA'."
        )


def _pairs_between(atoms: dict[int, list[int]], named: IntArray) -> tuple[PairArray, IntArray]:
    """Return all pairs of an atom of one residue and one of another, and where each two start."""
    numbers = np.array(list(atoms))
    counts = np.array([len(one) for one in atoms.values()], dtype=np.int64)
    flat = np.array([atom for one in atoms.values() for atom in one], dtype=np.int32)
    one, other = np.searchsorted(numbers, named).T
    sizes = counts[one] * counts[other]
    starts = np.cumsum(sizes) - sizes
    pairs = np.empty((int(sizes.sum()), 2), np.int32)
    rows = np.searchsorted(one, np.arange(len(numbers) + 1))
    done = 0
    for k, atoms_of_one in enumerate(atoms.values()):
        partners = np.zeros(len(numbers), bool)
        partners[other[rows[k] : rows[k + 1]]] = True
        others = flat[np.repeat(partners, counts)]
        block = pairs[done : done + len(others) * counts[k]].reshape(len(others), counts[k], 2)
        block[:, :, 0] = atoms_of_one
        block[:, :, 1] = others[:, None]
        done += block.shape[0] * block.shape[1]
    return pairs, starts


def _all_pairs(numbers: IntArray) -> IntArray:
    return numbers[np.stack(np.triu_indices(len(numbers), 1), axis=1)]


def _pairs_of_atoms(topology: mdtraj.Topology, atoms: Atoms, separation: int) -> IntArray:
    """Return atom pairs of one selection, between two, or as their indices say."""
    if isinstance(atoms, str):
        chosen = select_atoms(topology, atoms, "atoms")
        check_room(comb(len(chosen), 2))
        pairs = _all_pairs(chosen)
    elif isinstance(atoms, list | tuple) and all(isinstance(atom, str) for atom in atoms):
        if len(atoms) != 2:
            raise ValueError(f"Expected `atoms` to hold two selections, got {len(atoms)}.")
        one, other = (select_atoms(topology, str(atom), "atoms") for atom in atoms)
        check_room(len(one) * len(other))
        pairs = np.stack(np.meshgrid(one, other, indexing="ij"), axis=-1).reshape(-1, 2)
        pairs = np.unique(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1), axis=0)
    else:
        pairs = check_atom_indices(atoms, topology.n_atoms, "atoms")  # type: ignore[arg-type]
        if pairs.ndim != 2 or pairs.shape[1] != 2:
            raise ValueError(
                f"Expected `atoms` to be a selection, two of them, or pairs of atom indices of "
                f"shape (n_pairs, 2), got shape {pairs.shape}."
            )
        if (pairs[:, 0] == pairs[:, 1]).any():
            raise ValueError("Expected two different atoms in each pair of `atoms`, got one twice.")
        return pairs
    residues = np.array([atom.residue.index for atom in topology.atoms])
    return pairs[_are_apart(topology, residues[pairs], separation)]


def _are_apart(topology: mdtraj.Topology, residues: IntArray, separation: int) -> BoolArray:
    """Whether pairs of residues are in different molecules, or far enough apart along one."""
    stretch = stretches(topology)
    far = np.abs(residues[:, 0] - residues[:, 1]) >= separation
    return np.asarray(far | (stretch[residues[:, 0]] != stretch[residues[:, 1]]))


def _atoms_of_residues(
    topology: mdtraj.Topology, scheme: str, ligands: IntArray
) -> dict[int, list[int]]:
    """Return atoms of residues: C-alpha, or all heavy ones where there is one or a base."""
    chosen = {}
    also = {topology.atom(k).residue.index for k in ligands.tolist()}
    for residue in topology.residues:
        atoms = [(a.index, a.name, a.element and a.element.symbol) for a in residue.atoms]
        # a calcium ion is also named CA
        carbons = [k for k, name, symbol in atoms if name == "CA" and symbol in (None, "C", "VS")]
        if scheme == "ca" and carbons:
            chosen[residue.index] = carbons[:1]
        elif scheme != "ca" and (carbons or residue.is_nucleic or residue.index in also):
            heavy = [k for k, _, symbol in atoms if symbol != "H"]
            chosen |= {residue.index: heavy} if heavy else {}
    return chosen
