"""Cartesian coordinates, aligned to a reference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from latflow._blocks import blocks_of_rows
from latflow._typing import BoolArray, IntArray
from latflow.featurizers.base import Features, Featurizer, Structures
from latflow.featurizers.boxes import Whole, say_broken, whole
from latflow.featurizers.topology import atom_labels, check_topology, check_trajectory, select_atoms

if TYPE_CHECKING:
    import mdtraj


LARGEST_TURN = 1e-5  # that is left by mdtraj's single precision, about in rad


class AlignedPositions(Featurizer):
    """Positions of atoms after the superposition of each frame on a reference structure.

    Parameters
    ----------
    atoms : str or array_like of int of shape (n_atoms,), default="all"
        Whose positions: a selection in mdtraj's language, or indices.
    align : str, array_like of int, or None, default=None
        Atoms that are superposed, by least squares; `atoms` if None.
    reference : mdtraj.Trajectory or None, default=None
        Its first frame is the reference; if None, that of the (first) trajectory of `fit`.
    periodic : bool, default=True
        Make molecules whole where the trajectory has a unit cell and the topology has bonds; of
        several molecules, each goes to the image nearest to the first one.

    Attributes
    ----------
    atoms_, align_ : ndarray of int
    reference_ : ndarray of float32 of shape (n_aligned, 3)
        Coordinates of the reference, in nm.
    topology_, feature_names_
        As in every featurizer. Names are ``x_ALA2-CA``, ``y_ALA2-CA``, ``z_ALA2-CA``.

    Raises
    ------
    ValueError
        By `fit`, for fewer than three atoms to superpose, a Topology without `reference`, or a
        reference of another topology.

    Warns
    -----
    UserWarning
        If atoms that follow each other are over half a box apart and the topology has no bonds.

    Notes
    -----
    Unit: nm.
    """

    unit = "nm"

    def __init__(
        self,
        atoms: str | ArrayLike = "all",
        *,
        align: str | ArrayLike | None = None,
        reference: mdtraj.Trajectory | None = None,
        periodic: bool = True,
    ) -> None:
        self.atoms = atoms
        self.align = align
        self.reference = reference
        self.periodic = periodic

    def _learn(self, topology: mdtraj.Topology, X: Structures) -> list[str]:
        self.atoms_ = select_atoms(topology, self.atoms, "atoms")
        chosen, name = (self.atoms, "atoms") if self.align is None else (self.align, "align")
        self.align_ = select_atoms(topology, chosen, name)
        if len(self.align_) < 3:
            raise ValueError(
                f"Expected `{name}` to select at least three atoms to superpose, "
                f"got {len(self.align_)}."
            )
        used = np.union1d(self.atoms_, self.align_)
        self.whole_ = Whole.of(topology, used)
        reference = self._whole(self._reference_frame(topology, X), slice(0, 1))[0]
        self.reference_ = reference[np.searchsorted(used, self.align_)]
        labels = atom_labels(topology)
        return [f"{axis}_{labels[k]}" for k in self.atoms_ for axis in "xyz"]

    def _reference_frame(self, topology: mdtraj.Topology, X: Structures) -> mdtraj.Trajectory:
        source: Any = X[0] if isinstance(X, list) else X
        if self.reference is not None:
            source = check_trajectory(self.reference)
            check_topology(source.topology, topology, ", as in fit, in `reference`")
        if not hasattr(source, "xyz") or not len(source.xyz):
            raise ValueError(
                "Expected `reference`, or a trajectory to fit on, for the structure to superpose "
                "on: a topology has no coordinates."
            )
        return source[:1]

    def _whole(self, X: mdtraj.Trajectory, rows: slice) -> Features:
        """Return the atoms that are used, in whole molecules."""
        if self.periodic:
            return whole(X, rows, self.whole_)
        # an index array would give frames that mdtraj has to lay out anew
        return np.take(X.xyz[rows], self.whole_.atoms[self.whole_.places], axis=1)

    def _compute(self, X: mdtraj.Trajectory) -> Features:
        used = np.union1d(self.atoms_, self.align_)
        kept, aligned = np.searchsorted(used, self.atoms_), np.searchsorted(used, self.align_)
        if self.periodic:
            say_broken(X, used, self.topology_)
        features = np.empty((X.n_frames, 3 * len(kept)), np.float32)
        for rows in blocks_of_rows(X.n_frames, 3 * len(used)):
            xyz = self._whole(X, rows)
            moved = _superpose(xyz, aligned, self.reference_)
            features[rows] = _atoms_of(moved, kept).reshape(len(xyz), -1)
        return features

    def _structured_parameters(self) -> dict[str, Any]:
        """Return the reference as the coordinates of the atoms that are superposed."""
        return {"reference": {"atoms": self.align_.tolist(), "xyz": self.reference_.tolist()}}

    @classmethod
    def _with_parameters(cls, parameters: dict[str, Any], topology: mdtraj.Topology) -> Featurizer:
        from mdtraj import Trajectory

        reference = parameters["reference"]
        xyz = np.zeros((1, topology.n_atoms, 3), np.float32)
        xyz[0, reference["atoms"]] = reference["xyz"]
        return cls(**parameters | {"reference": Trajectory(xyz, topology)})


def _atoms_of(xyz: Features, atoms: IntArray) -> Features:
    """Some atoms, in ascending order, without a copy where they are all."""
    return xyz if len(atoms) == xyz.shape[1] else np.take(xyz, atoms, axis=1)


def _superpose(xyz: Features, aligned: IntArray, reference: Features) -> Features:
    """Move frames so that their aligned atoms lie on the reference, (n_aligned, 3).

    mdtraj's superpose errs for frames turned by nearly half a turn, or returns them as they were:
    where its result is not the best rotation, the frame is turned again.
    """
    from mdtraj import Trajectory

    centred = (reference - reference.mean(axis=0, dtype=np.float64)).astype(np.float32)
    some = {} if len(aligned) == xyz.shape[1] else {
        "atom_indices": aligned, "ref_atom_indices": np.arange(len(aligned))
    }  # fmt: skip
    moved = Trajectory(xyz, None).superpose(Trajectory(reference[None], None), **some).xyz
    covariance = _atoms_of(moved, aligned).transpose(0, 2, 1) @ centred
    wrong = ~_is_best(covariance)
    if wrong.any():
        origin = reference.mean(axis=0)
        moved[wrong] = (moved[wrong] - origin) @ _best_rotation(covariance[wrong]) + origin
    return np.asarray(moved)


def _is_best(covariance: Features) -> BoolArray:
    """Whether no rotation makes the trace larger: C is symmetric, tr(C) 1 - C positive definite."""
    c = np.ascontiguousarray(covariance.transpose(1, 2, 0))
    (xx, xy, xz), (_, yy, yz), (_, _, zz) = c
    turned = np.maximum.reduce([abs(xy - c[1, 0]), abs(xz - c[2, 0]), abs(yz - c[2, 1])])
    a, b, d = yy + zz, xx + zz, xx + yy
    minor = a * b - xy**2
    whole = d * minor - a * yz**2 - b * xz**2 - 2 * xy * yz * xz
    positive = (a > 0) & (minor > 0) & (whole > 0)
    return np.asarray(positive & (turned < LARGEST_TURN * (xx + yy + zz)))


def _best_rotation(covariance: Features) -> Features:
    """Kabsch's rotation of rows, (n_frames, 3, 3), by singular values."""
    left, _, right = np.linalg.svd(covariance.astype(np.float64))
    rotation = left @ right
    mirrored = np.linalg.det(rotation) < 0
    rotation[mirrored] -= 2 * left[mirrored, :, 2:] @ right[mirrored, 2:]
    return np.asarray(rotation.astype(np.float32))
