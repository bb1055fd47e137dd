"""Relative positions of nucleobases."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from latflow._blocks import blocks_of_rows
from latflow._validation import check_positive
from latflow.featurizers.base import Features, Featurizer, Structures
from latflow.featurizers.boxes import nearest_images, say_broken
from latflow.featurizers.topology import residue_labels, select_atoms

if TYPE_CHECKING:
    import mdtraj


ELLIPSOID = np.array([0.5, 0.5, 0.3], np.float32)  # nm
NUMBERS_PER_PAIR = 10  # that are held at a time: vectors, lengths, phases and the result
PYRIMIDINE, PURINE = ("C2", "C4", "C6"), ("C2", "C6", "C4")


class GVectors(Featurizer):
    r"""G-vectors: position and distance of each nucleobase seen from each other one, in RNA.

    The base k lies at r in the frame of the base j: origin at the centre of C2, C4 and C6, x
    towards C2, z normal to the ring. With r~ = (x / 0.5 nm, y / 0.5 nm, z / 0.3 nm) and its
    length below the cutoff

    .. math::

        G = \frac{1}{\gamma} \left(\sin(\gamma \tilde r) \frac{\tilde{\mathbf r}}{\tilde r},\
            1 + \cos(\gamma \tilde r)\right), \quad \gamma = \pi / \tilde r_{cutoff}

    and G = 0 beyond. Its Euclidean distance between two structures, divided by the square root of
    the number of bases, is their eRMSD.

    Parameters
    ----------
    cutoff : float, default=2.4
        In units of the ellipsoid: 1.2 nm within the plane of a base, 0.72 nm above it.
    atoms : str or array_like of int, default="all"
        Selection in mdtraj's language, or indices: bases whose ring is not among these atoms are
        passed over.
    periodic : bool, default=True
        Take the nearest periodic image, of the ring's atoms and of the other base, where the
        trajectory has a unit cell.

    Attributes
    ----------
    triplets_ : ndarray of int of shape (n_bases, 3)
        Ring atoms of each base.
    pairs_ : ndarray of int of shape (n_bases * (n_bases - 1), 2)
        Base whose frame it is, base that is seen.
    topology_, feature_names_
        As in every featurizer. Names are ``gx_G3_A4``, ``gy_``, ``gz_`` and ``gw_G3_A4``, four a
        pair.

    Raises
    ------
    ValueError
        By `fit`, for fewer than two residues with C1', C2, C4 and C6.

    Notes
    -----
    Unit: none.

    References
    ----------
    Bottaro, Di Palma, Bussi, The role of nucleobase interactions in RNA structure and dynamics,
    Nucleic Acids Res. 42, 13306 (2014).
    """

    def __init__(
        self, cutoff: float = 2.4, *, atoms: str | ArrayLike = "all", periodic: bool = True
    ) -> None:
        self.cutoff = cutoff
        self.atoms = atoms
        self.periodic = periodic

    def _learn(self, topology: mdtraj.Topology, X: Structures) -> list[str]:
        check_positive(self.cutoff, "cutoff")
        chosen = set(select_atoms(topology, self.atoms, "atoms").tolist())
        rings = {residue.index: _ring(residue) for residue in topology.residues}
        bases = [(k, ring) for k, ring in rings.items() if ring and chosen.issuperset(ring)]
        if len(bases) < 2:
            raise ValueError(f"Expected at least two nucleobases, got {len(bases)}.")
        self.triplets_ = np.array([ring for _, ring in bases], dtype=np.int64)
        self.pairs_ = np.argwhere(~np.eye(len(bases), dtype=bool))
        labels = residue_labels(topology)
        names = [labels[index] for index, _ in bases]
        return [f"g{axis}_{names[j]}_{names[k]}" for j, k in self.pairs_ for axis in "xyzw"]

    def _compute(self, X: mdtraj.Trajectory) -> Features:
        if self.periodic and X.unitcell_lengths is None:
            say_broken(X, np.unique(self.triplets_), self.topology_)
        vectors = np.empty((X.n_frames, len(self.pairs_), 4), np.float32)
        for rows in blocks_of_rows(X.n_frames, NUMBERS_PER_PAIR * len(self.pairs_), fewest=1):
            self._fill(vectors[rows], *self._bases(X, rows))
        return vectors.reshape(len(vectors), -1)

    def _bases(self, X: mdtraj.Trajectory, rows: slice) -> tuple[Features, Features]:
        """Return vectors from base to base, and the axes of each."""
        rings = X.xyz[rows][:, self.triplets_]
        j, k = self.pairs_.T
        if X.unitcell_lengths is None or not self.periodic:
            origin, axes = _frames(rings)
            return origin[:, k] - origin[:, j], axes
        n_bases = len(self.triplets_)
        first = 3 * np.arange(n_bases)
        inside = np.stack([np.repeat(first, 3), np.arange(3 * n_bases)], axis=1)
        pairs = np.concatenate([inside, 3 * self.pairs_])
        xyz = rings.reshape(len(rings), -1, 3)
        vectors = nearest_images(xyz, X, rows, pairs)
        origin, axes = _frames(vectors[:, : len(inside)].reshape(rings.shape))
        return vectors[:, len(inside) :] + origin[:, k] - origin[:, j], axes

    def _fill(self, vectors: Features, between: Features, axes: Features) -> None:
        j, _ = self.pairs_.T
        scaled = np.matmul(axes[:, j], between[..., None])[..., 0]
        length = np.linalg.norm(scaled, axis=-1)
        gamma = np.float32(np.pi / self.cutoff)
        phase = np.minimum(gamma * length, np.float32(np.pi))
        ratio = np.where(length < self.cutoff, np.sinc(phase / np.float32(np.pi)), 0)
        vectors[..., :3] = scaled * ratio[..., None]
        vectors[..., 3] = (1 + np.cos(phase)) / gamma


def _ring(residue: mdtraj.core.topology.Residue) -> list[int] | None:
    """Return C2 and its two partners in the ring, turned so that z points alike in all bases."""
    atoms = {atom.name: atom.index for atom in residue.atoms}
    if not {"C1'", *PURINE} <= atoms.keys():
        return None
    return [atoms[name] for name in (PURINE if "N9" in atoms else PYRIMIDINE)]


def _frames(rings: Features) -> tuple[Features, Features]:
    """Return origins (n_frames, n_bases, 3), and axes divided by the ellipsoid's (..., 3, 3)."""
    origin = rings.mean(axis=2)
    x = _unit(rings[:, :, 0] - origin)
    z = _unit(np.cross(x, rings[:, :, 1] - origin))
    return origin, np.stack([x, np.cross(z, x), z], axis=2) / ELLIPSOID[:, None]


def _unit(vectors: Features) -> Features:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))
