"""Molecules that the edge of a periodic box cuts give the features of whole ones."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import pytest
from structures import PEPTIDE, RNA, topology_of, trajectory_of

from latflow.featurizers import AlignedPositions, Contacts, Distances, GVectors, Torsions
from latflow.featurizers.readers import read_topology

DATA = Path(__file__).parent / "data"
CELLS = [
    np.diag([6.0, 6.0, 6.0]),
    np.array([[6.0, 0, 0], [0, 6.0, 0], [3.0, 3.0, 4.2]]),  # a rhombic dodecahedron
]


def wrapped(frames: mdtraj.Trajectory, cell: Any, seed: int = 0) -> mdtraj.Trajectory:
    """Return frames that were shifted at random and put atom by atom into the cell."""
    rng = np.random.default_rng(seed)
    shifted = frames.xyz + rng.uniform(0, 6, (len(frames), 1, 3))
    inside = (shifted @ np.linalg.inv(cell)) % 1 @ cell
    box = mdtraj.Trajectory(inside, frames.topology, frames.time)
    box.unitcell_vectors = np.repeat(cell[None].astype(np.float32), len(frames), axis=0)
    return box


def bonded(*chains: Any) -> mdtraj.Topology:
    """Return a topology with bonds from each atom to the next one of its chain."""
    topology = topology_of(*chains)
    for one, other in zip(list(topology.atoms), list(topology.atoms)[1:], strict=False):
        if one.residue.chain is other.residue.chain:
            topology.add_bond(one, other)
    return topology


def compact(topology: mdtraj.Topology, size: float = 0.3) -> mdtraj.Trajectory:
    """Return frames of molecules that are small beside half a box."""
    frames = trajectory_of(topology)
    frames.xyz = size * frames.xyz
    return frames


@pytest.mark.parametrize("cell", CELLS)
class TestCutMolecules:
    @pytest.mark.parametrize("chains", [(PEPTIDE,), (PEPTIDE[:3], PEPTIDE[3:])])
    @pytest.mark.parametrize("atoms", ["name CA or name O", "all"])
    def test_positions(self, cell: Any, chains: Any, atoms: str) -> None:
        frames = compact(bonded(*chains))
        expected = AlignedPositions(atoms).fit_transform(frames)
        broken = wrapped(frames, cell)
        positions = AlignedPositions(atoms, reference=frames[0])
        np.testing.assert_allclose(positions.fit_transform(broken), expected, atol=2e-5)
        cut = AlignedPositions(atoms, reference=frames[0], periodic=False).fit_transform(broken)
        assert np.abs(cut - expected).max() > 1
        inside = AlignedPositions(atoms).fit(broken)  # the reference is cut, too
        spread = np.ptp(inside.reference_, axis=0).max()
        assert spread < 2.5

    def test_g_vectors(self, cell: Any) -> None:
        frames = compact(topology_of(RNA))
        expected = GVectors().fit_transform(frames)
        assert np.abs(expected).max() > 0.1
        broken = wrapped(frames, cell)
        np.testing.assert_allclose(GVectors().fit_transform(broken), expected, atol=1e-3)
        cut = GVectors(periodic=False).fit_transform(broken)
        assert np.abs(cut - expected).max() > 0.1

    @pytest.mark.parametrize("kind", [Distances("name CA"), Contacts(), Torsions()])
    def test_the_others(self, cell: Any, kind: Any) -> None:
        frames = compact(bonded(PEPTIDE))
        expected = kind.fit_transform(frames)
        found = kind.fit_transform(wrapped(frames, cell))
        np.testing.assert_allclose(found, expected, atol=2e-3)


def test_without_bonds_the_atoms_and_the_time_are_named() -> None:
    frames = compact(topology_of(PEPTIDE))
    broken = wrapped(frames, CELLS[0])
    positions = AlignedPositions("name CA", reference=frames[0]).fit(frames)
    said = r"\w{4}-CA and \w{4}-CA are \d\.\d nm apart at \d+ ps, over half the box"
    with pytest.warns(UserWarning, match=said):
        positions.transform(broken)
    frames.unitcell_vectors = broken.unitcell_vectors
    positions.transform(frames)  # whole: nothing is said


@pytest.mark.parametrize(
    ("featurizer", "residues"), [(AlignedPositions("element C"), PEPTIDE), (GVectors(), RNA)]
)
def test_without_a_box_bonds_tell_what_is_cut(featurizer: Any, residues: Any) -> None:
    topology = topology_of(residues)
    for residue in topology.residues:
        for one, other in pairwise(residue.atoms):
            topology.add_bond(one, other)
    frames = compact(topology)
    featurizer.fit(frames).transform(frames)  # whole: nothing is said, also where a residue is far
    frames.xyz[:, [atom.index for atom in topology.residue(0).atoms]] += 20
    featurizer.transform(frames)
    broken = wrapped(frames, CELLS[0])
    broken.unitcell_vectors = None
    said = r"\w+-\S+ and \w+-\S+ are \d\.\d nm apart at \d+ ps, though bonded"
    with pytest.warns(UserWarning, match=said):
        featurizer.transform(broken)


def test_a_box_of_gromacs() -> None:
    """The peptide of a file of GROMACS, moved to a corner of its box."""
    top = read_topology(DATA / "gromacs" / "water.gro", DATA).topology
    frames = mdtraj.load(str(DATA / "gromacs" / "water.xtc"), top=top)
    positions = AlignedPositions("not water and not element H").fit(frames)
    corner = mdtraj.Trajectory(frames.xyz.copy(), top, frames.time)
    corner.unitcell_vectors = frames.unitcell_vectors
    corner.xyz -= frames.xyz[:, 8:9]
    corner.xyz %= frames.unitcell_lengths[:, None]
    assert np.ptp(corner.xyz[0, :22], axis=0).max() > 1.5
    expected, found = positions.transform(frames), positions.transform(corner)
    np.testing.assert_allclose(found, expected, atol=1e-4)
