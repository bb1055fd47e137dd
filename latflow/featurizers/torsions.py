"""Torsion angles of proteins and RNA, as cosines and sines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from latflow._validation import check_option, warn
from latflow.featurizers.base import Features, Featurizer, Structures
from latflow.featurizers.bonds import are_linked, gaps
from latflow.featurizers.topology import residue_labels, select_atoms

if TYPE_CHECKING:
    import mdtraj


# Atoms of each angle, "-" of the residue before and "+" of the one after; alternatives in turn.
# Proteins: as in mdtraj; RNA: IUPAC-IUB, Eur. J. Biochem. 131, 9 (1983).
ANGLES = {
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
    "alpha": ("-O3' P O5' C5'",),
    "beta": ("P O5' C5' C4'",),
    "gamma": ("O5' C5' C4' C3'",),
    "delta": ("C5' C4' C3' O3'",),
    "epsilon": ("C4' C3' O3' +P",),
    "zeta": ("C3' O3' +P +O5'",),
    "chi": ("O4' C1' N9 C4", "O4' C1' N1 C2"),
}  # fmt: skip
# "chi" stands for the side chain's angles in a protein and the glycosidic one in RNA
STANDS_FOR = {name: [name] for name in ANGLES} | {"chi": [n for n in ANGLES if n[:3] == "chi"]}
PLACES = {"-": -1, "+": 1}


class Torsions(Featurizer):
    """Torsion angles, each as its cosine and its sine, so that no angle jumps from pi to -pi.

    Parameters
    ----------
    angles : str or sequence of str, default=("phi", "psi")
        Angles of proteins are phi, psi, omega and chi1 to chi5, those of RNA alpha, beta, gamma,
        delta, epsilon and zeta. "chi" is chi1 to chi5 of proteins, and the glycosidic angle of RNA.
        Residues that lack an angle are passed over; where residues are not bonded (C-N or O3'-P
        beyond 0.2 nm in all of some frames of `fit` or, without coordinates, no bond in the
        topology), so are the angles from one to the next, and this is said.
    atoms : str or array_like of int, default="all"
        Selection in mdtraj's language, or indices: angles of other atoms are passed over.
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
        self,
        angles: str | Sequence[str] = ("phi", "psi"),
        *,
        atoms: str | ArrayLike = "all",
        periodic: bool = True,
    ) -> None:
        self.angles = angles
        self.atoms = atoms
        self.periodic = periodic

    def _learn(self, topology: mdtraj.Topology, X: Structures) -> list[str]:
        asked = [self.angles] if isinstance(self.angles, str) else list(self.angles)
        if not asked:
            raise ValueError("Expected at least one angle in `angles`, got none.")
        self._say_gaps(topology, asked)
        chosen = set(select_atoms(topology, self.atoms, "atoms").tolist())
        rows = []
        for place, name in enumerate(asked):
            angles = STANDS_FOR[check_option(name, "angles", STANDS_FOR)]
            of_name = [
                (k, place, a, quartet)
                for a in angles
                for k, quartet in _quartets(topology, ANGLES[a])
                if chosen.issuperset(quartet)
            ]
            if not of_name:
                there = [a for a in ANGLES if any(_quartets(topology, ANGLES[a]))]
                raise ValueError(
                    f"Expected residues with the angle {name}, got none: here are "
                    f"{', '.join(there) or 'no angles at all'}."
                )
            rows += of_name
        rows.sort()
        self.quartets_ = np.array([quartet for *_, quartet in rows], dtype=np.int64)
        labels = residue_labels(topology)
        return [f"{f}_{angle}_{labels[k]}" for k, _, angle, _ in rows for f in ("cos", "sin")]

    def _say_gaps(self, topology: mdtraj.Topology, asked: Sequence[str]) -> None:
        """Warn of the ends of chains that only bonds tell from their middle."""
        across = any(sign in p for a in asked for p in ANGLES.get(a, ()) for sign in "+-")
        ends = gaps(topology)
        if across and len(ends):
            labels = residue_labels(topology)
            named = ", ".join(f"{labels[k]} to {labels[k + 1]}" for k in ends[:3].tolist())
            more = f" and {len(ends) - 3} more" if len(ends) > 3 else ""
            warn(f"Torsions from {named}{more} are left out, as no bond joins these residues.")

    def _compute(self, X: mdtraj.Trajectory) -> Features:
        from mdtraj import compute_dihedrals

        angles = compute_dihedrals(X, self.quartets_, periodic=self.periodic)
        return np.stack([np.cos(angles), np.sin(angles)], axis=-1).reshape(len(angles), -1)


def _quartets(
    topology: mdtraj.Topology, patterns: Sequence[str]
) -> Iterator[tuple[int, list[int]]]:
    """Yield the residue, and the four atoms, of the first pattern that each residue has."""
    atoms = {(atom.residue.index, atom.name): atom.index for atom in topology.atoms}
    linked = are_linked(topology)
    for residue in topology.residues:
        k = residue.index
        for pattern in patterns:
            names = pattern.split()
            keys = [(k + PLACES.get(name[0], 0), name.lstrip("+-")) for name in names]
            joined = all(linked[min(k, other)] for other, _ in keys if other != k)
            if joined and all(key in atoms for key in keys):
                yield k, [atoms[key] for key in keys]
                break
