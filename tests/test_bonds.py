"""Chains that only seem to go on: gaps, and molecules in one chain."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import pytest
from structures import PEPTIDE, RNA, topology_of, trajectory_of

from latflow.featurizers import Contacts, Distances, Featurizer, Torsions
from latflow.featurizers.bonds import are_linked

DATA = Path(__file__).parent / "data"


def parted(residues: Any, at: int, by: float = 3.0) -> mdtraj.Trajectory:
    """Return frames of one chain whose residues from `at` on are elsewhere."""
    frames = trajectory_of(topology_of(residues))
    frames.xyz[:, frames.topology.select(f"resid {at} to {len(residues)}")] += by
    return frames


def angles(torsions: Torsions) -> set[str]:
    return {name.removeprefix("cos_") for name in torsions.feature_names_ if name[:3] == "cos"}


class TestTorsions:
    def test_of_a_protein_with_a_gap(self) -> None:
        whole = angles(Torsions().fit(trajectory_of(topology_of(PEPTIDE))))
        torsions = Torsions()
        with pytest.warns(UserWarning, match=r"Torsions from ARG4 to ILE5 are left out, as no"):
            torsions.fit(parted(PEPTIDE, 4))
        assert whole - angles(torsions) == {"psi_ARG4", "phi_ILE5"}

    def test_of_rna_with_a_gap(self) -> None:
        asked = ("alpha", "epsilon", "zeta", "gamma", "chi")
        whole = angles(Torsions(asked).fit(trajectory_of(topology_of(RNA))))
        torsions = Torsions(asked)
        with pytest.warns(UserWarning, match=r"Torsions from A2 to U3 are left out"):
            torsions.fit(parted(RNA, 2))
        assert whole - angles(torsions) == {"epsilon_A2", "zeta_A2", "alpha_U3"}

    def test_angles_within_residues_say_nothing(self) -> None:
        assert angles(Torsions("chi1").fit(parted(PEPTIDE, 4))) == angles(
            Torsions("chi1").fit(topology_of(PEPTIDE))
        )

    def test_false_bonds_by_names(self) -> None:
        """mdtraj bonds neighbours by their names, over a gap of 3 nm, in .pdb and .gro."""
        frames = parted(PEPTIDE, 4)
        frames.topology.create_standard_bonds()
        with pytest.warns(UserWarning, match="ARG4 to ILE5 are left out"):
            torsions = Torsions().fit(frames)
        assert {"psi_ARG4", "phi_ILE5"}.isdisjoint(angles(torsions))

    def test_two_molecules_in_one_chain(self) -> None:
        """AMBER's topologies and .gro files have one chain; bonds tell molecules apart."""
        one = mdtraj.load_prmtop(str(DATA / "amber" / "peptide.prmtop"))
        two = one.copy().join(one, keep_resSeq=False)
        single = mdtraj.Topology()
        chain = single.add_chain()
        places = {}
        for residue in two.residues:
            new = single.add_residue(residue.name, chain)
            for atom in residue.atoms:
                places[atom.index] = single.add_atom(atom.name, atom.element, new)
        for a, b in two.bonds:
            single.add_bond(places[a.index], places[b.index])
        assert are_linked(single).tolist() == [True, True, False, True, True, False]
        assert angles(Torsions().fit(single)) == {"phi_ALA1", "psi_ALA1", "phi_ALA4", "psi_ALA4"}

    def test_a_bond_across_the_box_is_one(self) -> None:
        frames = parted(PEPTIDE, 4, by=-4.0)
        frames.unitcell_lengths = np.full((len(frames), 3), 4.0)
        frames.unitcell_angles = np.full((len(frames), 3), 90.0)
        assert {"psi_ARG4", "phi_ILE5"} <= angles(Torsions().fit(frames))

    def test_one_frame_that_is_broken_parts_nothing(self) -> None:
        frames = trajectory_of(topology_of(PEPTIDE))
        frames.xyz[0, 40:] += 3.0
        assert angles(Torsions().fit(frames)) == angles(Torsions().fit(topology_of(PEPTIDE)))


class TestManifest:
    def test_makes_the_same_without_coordinates(self) -> None:
        frames = parted(PEPTIDE, 4)
        with pytest.warns(UserWarning, match="left out"):
            torsions = Torsions().fit(frames)
        for fitted in (torsions, Distances(min_separation=4).fit(frames)):
            again = Featurizer.from_manifest(json.loads(json.dumps(fitted.manifest())))
            assert again.feature_names_ == fitted.feature_names_
            np.testing.assert_array_equal(again.transform(frames), fitted.transform(frames))

    def test_of_an_older_version_with_other_bonds(self) -> None:
        one = topology_of(PEPTIDE)
        one.create_standard_bonds()
        manifest = Torsions().fit(one).manifest()
        bonds = manifest["topology"]["bonds"]
        gone = next(k for k, (a, b) in enumerate(bonds) if one.atom(a).residue.index == 3
                    and one.atom(b).residue.index == 4)  # fmt: skip
        del bonds[gone]
        with pytest.raises(ValueError, match=r"across a gap of a chain.*: run featurize again"):
            Featurizer.from_manifest(manifest)


class TestDistances:
    @pytest.mark.parametrize("kind", [Distances, Contacts])
    def test_the_two_sides_of_a_gap_are_apart(self, kind: Any) -> None:
        separated = kind(scheme="ca", min_separation=4).fit(parted(PEPTIDE, 4)).feature_names_
        whole = kind(scheme="ca", min_separation=4).fit(topology_of(PEPTIDE)).feature_names_
        new = {name.partition("_")[2] for name in set(separated) - set(whole)}
        assert {"ARG4_ILE5", "LYS3_ILE5", "GLY2_ILE5"} <= new
        assert "ALA1_GLY2" not in new
