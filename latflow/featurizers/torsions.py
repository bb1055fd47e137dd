"""Torsion angles of proteins and RNA, as cosines and sines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from latflow._validation import check_option
from latflow.featurizers.base import Features, Featurizer, residue_labels

__all__ = ["Torsions"]

# Atoms of each angle, "-" of the residue before and "+" of the one after; alternatives in turn.
# Proteins: as in mdtraj; RNA: IUPAC-IUB, Eur. J. Biochem. 131, 9 (1983).
PROTEIN = {
    "phi": ("-C N CA C",),
    "psi": ("N CA C +N",),
    "omega": ("CA C +N +CA",),
    "chi1": ("N CA CB CG", "N CA CB CG1", "N CA CB SG", "N CA CB OG", "N CA CB OG1"),
    "chi2": (
        "CA CB CG CD", "CA CB CG CD1", "CA CB CG1 CD1", "CA CB CG OD1", "CA CB CG ND1",
        "CA CB CG SD",
    ),
    "chi3": ("CB CG CD NE", "CB CG CD CE", "CB CG CD OE1", "CB CG SD CE"),
    "chi4": ("CG CD NE CZ", "CG CD CE NZ"),
    "chi5": ("CD NE CZ NH1",),
}  # fmt: skip
RNA = {
    "alpha": ("-O3' P O5' C5'",),
    "beta": ("P O5' C5' C4'",),
    "gamma": ("O5' C5' C4' C3'",),
    "delta": ("C5' C4' C3' O3'",),
    "epsilon": ("C4' C3' O3' +P",),
    "zeta": ("C3' O3' +P +O5'",),
    "chi": ("O4' C1' N9 C4", "O4' C1' N1 C2"),
}
ANGLES = PROTEIN | RNA
NAMES = tuple(dict.fromkeys((*ANGLES, "chi")))
# "chi" stands for the side chain's angles in a protein and the glycosidic one in RNA
MEMBERS = {name: (name,) for name in ANGLES} | {
    "chi": ("chi", "chi1", "chi2", "chi3", "chi4", "chi5")
}


class Torsions(Featurizer):
    """Torsion angles, each as its cosine and its sine, so that no angle jumps from pi to -pi.

    Parameters
    ----------
    angles : str or sequence of str, default=("phi", "psi")
        Of proteins: phi, psi, omega, chi1 to chi5; of RNA: alpha, beta, gamma, delta, epsilon,
        zeta. "chi" is chi1 to chi5 of proteins, and the glycosidic angle of RNA. Residues that
        lack an angle are passed over.
    periodic : bool, default=True
        Take the nearest periodic image where the trajectory has a unit cell.

    Attributes
    ----------
    quartets_ : ndarray of int of shape (n_angles, 4)
        Atoms of each angle, sorted by residue, then as asked for.
    topology_, feature_names_
        As in every featurizer. Names are ``cos_phi_ALA2``, ``sin_phi_ALA2``; phi and psi of a
        residue stand together.

    Raises
    ------
    ValueError
        By `fit`, for an unknown angle or one that no residue has.

    Notes
    -----
    Unit: none, from -1 to 1. ``arctan2(sin, cos)`` is the angle in rad.

    Examples
    --------
    >>> import mdtraj, numpy as np
    >>> top = mdtraj.Topology()
    >>> residue = top.add_residue("A", top.add_chain())
    >>> for name in ("O5'", "C5'", "C4'", "C3'"):
    ...     atom = top.add_atom(name, mdtraj.element.get_by_symbol(name[0]), residue)
    >>> xyz = np.array([[[0.1, 0, 0], [0, 0, 0], [0, 0.1, 0], [0, 0.1, 0.1]]])
    >>> torsions = Torsions("gamma").fit(top)
    >>> torsions.transform(mdtraj.Trajectory(xyz, top)).round(2) + 0
    array([[ 0., -1.]], dtype=float32)
    >>> list(torsions.get_feature_names_out())
    ['cos_gamma_A0', 'sin_gamma_A0']
    """

    def __init__(
        self, angles: str | Sequence[str] = ("phi", "psi"), *, periodic: bool = True
    ) -> None:
        self.angles = angles
        self.periodic = periodic

    def _learn(self, topology: Any, X: Any) -> list[str]:
        asked = [self.angles] if isinstance(self.angles, str) else list(self.angles)
        if not asked:
            raise ValueError("Expected at least one angle in `angles`, got none.")
        for angle in asked:
            check_option(angle, "angles", NAMES)
        found = []
        for place, angle in enumerate(asked):
            own = [
                (residue, place, member, quartet)
                for member in MEMBERS[angle]
                for residue, quartet in _quartets(topology, ANGLES[member])
            ]
            if not own:
                raise ValueError(f"Expected residues with the angle {angle}, got none.")
            found += own
        found.sort(key=lambda angle: angle[:3])
        self.quartets_ = np.array([quartet for *_, quartet in found], dtype=np.int64)
        labels = residue_labels(topology)
        names = [f"{member}_{labels[residue]}" for residue, _, member, _ in found]
        return [f"{function}_{name}" for name in names for function in ("cos", "sin")]

    def _compute(self, X: Any) -> Features:
        from mdtraj import compute_dihedrals

        angles = compute_dihedrals(X, self.quartets_, periodic=self.periodic)
        features = np.empty((*angles.shape, 2), np.float32)
        np.cos(angles, out=features[..., 0])
        np.sin(angles, out=features[..., 1])
        return features.reshape(len(angles), -1)


def _quartets(topology: Any, patterns: Sequence[str]) -> Iterator[tuple[int, list[int]]]:
    """Yield the residue, and the four atoms, of the first pattern that each residue has."""
    for chain in topology.chains:
        residues = list(chain.residues)
        atoms = [{atom.name: atom.index for atom in residue.atoms} for residue in residues]
        for k, residue in enumerate(residues):
            for pattern in patterns:
                quartet = _quartet(pattern, atoms, k)
                if quartet is not None:
                    yield residue.index, quartet
                    break


def _quartet(pattern: str, atoms: Sequence[dict[str, int]], k: int) -> list[int] | None:
    quartet = []
    for name in pattern.split():
        place = k + {"-": -1, "+": 1}.get(name[0], 0)
        index = atoms[place].get(name.lstrip("+-")) if 0 <= place < len(atoms) else None
        if index is None:
            return None
        quartet.append(index)
    return quartet
