"""Featurizers against mdtraj's own values, symmetry, names and sentences."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
import tracemalloc
from typing import Any

import mdtraj
import numpy as np
import pandas as pd
import pytest
import sklearn
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from structures import PEPTIDE, RNA, argon, topology_of, trajectory_of

from latflow import PerFrame
from latflow.datasets import make_lj7
from latflow.featurizers import (
    AlignedPositions,
    Concatenate,
    Contacts,
    CoordinationNumbers,
    Distances,
    Featurizer,
    GVectors,
    Select,
    Torsions,
)
from latflow.featurizers import distances as distances_module
from latflow.featurizers.topology import topology_as_json, topology_from_json
from latflow.trajectories.features import FeatureList

TRICLINIC = np.array([[3.0, 0, 0], [1.0, 2.8, 0], [-0.7, 1.0, 2.5]])
PROTEIN_ANGLES = ("phi", "psi", "omega", "chi1", "chi2", "chi3", "chi4", "chi5")
RNA_ANGLES = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "chi")
OF_PEPTIDES = [
    Distances(),
    Distances(scheme="closest-heavy", min_separation=2),
    Distances([[0, 5], [7, 30], [2, 11]]),
    Distances("name CA or name O"),
    Distances(("name N", "name CB")),
    Torsions(PROTEIN_ANGLES),
    Contacts(r0=0.6),
    Contacts("name CA", scheme="ca", exponent=5),
    CoordinationNumbers(0.5, atoms="name CA or name CB"),
    CoordinationNumbers(0.5, atoms="name CA", sort=True),
    AlignedPositions("name CA or name C", align="backbone"),
    Concatenate([Torsions(), Contacts(), Contacts(r0=0.6)]),
    Select(Concatenate([Torsions(), Contacts()]), ["sin_phi_GLY2", "cos_psi_ALA1"]),
]
OF_RNA = [Torsions(RNA_ANGLES), GVectors(), GVectors(cutoff=3.0), Contacts(min_separation=1)]
CASES = [(f, PEPTIDE) for f in OF_PEPTIDES] + [(f, RNA) for f in OF_RNA]
IDS = [f"{number}-{type(f).__name__}" for number, (f, _) in enumerate(CASES)]


@pytest.fixture(scope="module")
def peptide() -> Any:
    return trajectory_of(topology_of(PEPTIDE))


@pytest.fixture(scope="module")
def rna() -> Any:
    return trajectory_of(topology_of(RNA))


def slow_switch(r: Any, r0: float, n: int) -> Any:
    return 1 / (1 + (np.asarray(r, np.float64) / r0) ** n)


class TestAgainstMdtraj:
    @pytest.mark.parametrize("scheme", ["ca", "closest-heavy"])
    @pytest.mark.parametrize("box", [None, 1.1])
    def test_residue_distances(self, scheme: str, box: float | None) -> None:
        frames = trajectory_of(topology_of(PEPTIDE), box=box)
        step = Distances(scheme=scheme)
        expected, pairs = mdtraj.compute_contacts(frames, scheme=scheme)
        np.testing.assert_allclose(step.fit_transform(frames), expected, atol=1e-6)
        label = [str(residue) for residue in frames.topology.residues]
        named = [f"distance_{label[i]}_{label[j]}" for i, j in pairs]
        assert list(step.get_feature_names_out()) == named
        apart = Distances(scheme=scheme, periodic=False).fit_transform(frames)
        assert (np.abs(apart - expected).max() > 0.1) == (box is not None)

    def test_frames_in_blocks_are_the_same(self, peptide: Any, monkeypatch: Any) -> None:
        steps = [Distances(scheme="closest-heavy"), CoordinationNumbers(0.5), Contacts()]
        whole = [step.fit_transform(peptide) for step in steps]
        monkeypatch.setattr("latflow._blocks.NUMBERS_AT_ONCE", 1)
        monkeypatch.setattr("latflow.featurizers.distances.FEWEST_FRAMES", 3)
        for step, expected in zip(steps, whole, strict=True):
            np.testing.assert_array_equal(step.transform(peptide), expected)

    def test_given_pairs(self, peptide: Any) -> None:
        pairs = np.array([[3, 9], [20, 1]])
        expected = mdtraj.compute_distances(peptide, pairs)
        np.testing.assert_allclose(Distances(pairs).fit_transform(peptide), expected, atol=1e-6)

    def test_selections(self, peptide: Any) -> None:
        top = peptide.topology
        step = Distances("name CA").fit(top)
        np.testing.assert_allclose(
            step.transform(peptide), Distances().fit_transform(peptide), atol=1e-6
        )
        assert step.get_feature_names_out()[0] == "distance_ALA1-CA_ARG4-CA"
        between = Distances(("name CA", "resSeq 1 and name CA or name O"), min_separation=0).fit(
            top
        )
        alpha, other = top.select("name CA"), top.select("resSeq 1 and name CA or name O")
        expected = {frozenset((i, j)) for i in alpha for j in other if i != j}
        assert {frozenset(pair) for pair in between.pairs_.tolist()} == expected
        assert len(between.pairs_) == len(expected)

    def test_other_chains_are_far_enough(self) -> None:
        top = topology_of(("ALA", "GLY"), ("ALA", "GLY"))
        names = Distances().fit(top).get_feature_names_out()
        assert list(names) == [
            "distance_0:ALA1_1:ALA1", "distance_0:ALA1_1:GLY2",
            "distance_0:GLY2_1:ALA1", "distance_0:GLY2_1:GLY2",
        ]  # fmt: skip

    @pytest.mark.parametrize("angle", PROTEIN_ANGLES)
    @pytest.mark.parametrize("box", [None, 1.1])
    def test_torsions_of_proteins(self, angle: str, box: float | None) -> None:
        frames = trajectory_of(topology_of(PEPTIDE, PEPTIDE[::-1]), box=box)
        indices, expected = getattr(mdtraj, f"compute_{angle}")(frames)
        step = Torsions(angle).fit(frames)
        features = step.transform(frames)
        np.testing.assert_array_equal(step.quartets_, indices)
        np.testing.assert_allclose(features[:, ::2], np.cos(expected), atol=1e-6)
        np.testing.assert_allclose(features[:, 1::2], np.sin(expected), atol=1e-6)

    def test_chi_is_all_of_the_side_chain(self, peptide: Any) -> None:
        names = Torsions("chi").fit(peptide).get_feature_names_out()
        assert [name for name in names if "ARG4" in name] == [
            f"{f}_chi{k}_ARG4" for k in range(1, 6) for f in ("cos", "sin")
        ]

    def test_torsions_of_rna(self, rna: Any) -> None:
        """Angles by their definition, in the order residue, then angle."""
        step = Torsions(RNA_ANGLES).fit(rna)
        names = list(step.get_feature_names_out())
        by_hand = {
            "alpha_A2": ("G1-O3'", "A2-P", "A2-O5'", "A2-C5'"),
            "beta_A2": ("A2-P", "A2-O5'", "A2-C5'", "A2-C4'"),
            "gamma_A2": ("A2-O5'", "A2-C5'", "A2-C4'", "A2-C3'"),
            "delta_A2": ("A2-C5'", "A2-C4'", "A2-C3'", "A2-O3'"),
            "epsilon_A2": ("A2-C4'", "A2-C3'", "A2-O3'", "U3-P"),
            "zeta_A2": ("A2-C3'", "A2-O3'", "U3-P", "U3-O5'"),
            "chi_A2": ("A2-O4'", "A2-C1'", "A2-N9", "A2-C4"),
            "chi_U3": ("U3-O4'", "U3-C1'", "U3-N1", "U3-C2"),
        }
        place = {str(atom): atom.index for atom in rna.topology.atoms}
        features = step.transform(rna)
        for name, atoms in by_hand.items():
            angle = mdtraj.compute_dihedrals(rna, [[place[atom] for atom in atoms]])[:, 0]
            at = names.index(f"cos_{name}")
            assert names[at + 1] == f"sin_{name}"
            np.testing.assert_allclose(features[:, at], np.cos(angle), atol=1e-6)
            np.testing.assert_allclose(features[:, at + 1], np.sin(angle), atol=1e-6)
        assert not [name for name in names if name.endswith(("alpha_G1", "zeta_C4"))]
        in_order = [name for name in names if "A2" in name][::2]
        assert in_order == [f"cos_{angle}_A2" for angle in RNA_ANGLES]

    def test_contacts(self, peptide: Any) -> None:
        distances, _ = mdtraj.compute_contacts(peptide, scheme="closest-heavy")
        for exponent in (1, 3, 6, 7, 12):
            found = Contacts(r0=0.4, exponent=exponent).fit_transform(peptide)
            expected = slow_switch(distances, 0.4, exponent)
            np.testing.assert_allclose(found, expected, atol=1e-6)

    def test_coordination_numbers(self, peptide: Any) -> None:
        atoms = peptide.topology.select("name CA or name CB")
        r = np.linalg.norm(peptide.xyz[:, atoms, None] - peptide.xyz[:, None, atoms], axis=-1)
        expected = slow_switch(r, 0.5, 8).sum(axis=-1) - 1
        found = CoordinationNumbers(0.5, atoms=atoms).fit_transform(peptide)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        ordered = CoordinationNumbers(0.5, atoms=atoms, sort=True).fit_transform(peptide)
        np.testing.assert_allclose(ordered, np.sort(expected, axis=1), atol=1e-5)

    def test_coordination_numbers_of_lj7(self) -> None:
        data = make_lj7(40, temperature=0.5, time_step=0.01, stride=20, random_state=0)
        flat = [np.concatenate([c, 0 * c[..., :1]], axis=-1) for c in data.coordinates]
        step = CoordinationNumbers(1.5, sort=True)
        for found, expected in zip(
            step.fit_transform([argon(c) for c in flat]), data.trajectories, strict=True
        ):
            np.testing.assert_allclose(found, expected, atol=1e-5)
        assert list(step.get_feature_names_out()) == data.feature_names

    def test_aligned_positions(self, peptide: Any) -> None:
        before = peptide.xyz.copy()
        step = AlignedPositions("name CA", align="backbone").fit(peptide)
        features = step.transform(peptide)
        np.testing.assert_array_equal(peptide.xyz, before)
        copy = peptide[:]
        copy.superpose(copy, 0, atom_indices=peptide.topology.select("backbone"))
        expected = copy.xyz[:, peptide.topology.select("name CA")].reshape(len(peptide), -1)
        np.testing.assert_allclose(features, expected, atol=1e-6)
        assert list(step.get_feature_names_out()[:3]) == ["x_ALA1-CA", "y_ALA1-CA", "z_ALA1-CA"]
        every = AlignedPositions(reference=peptide[3]).fit(peptide.topology)
        copy = peptide[:]
        copy.superpose(copy, 3)
        np.testing.assert_allclose(
            every.transform(peptide).reshape(peptide.xyz.shape), copy.xyz, atol=1e-5
        )
        np.testing.assert_array_equal(peptide.xyz, before)


class TestGVectors:
    """The numbers were also compared with barnaba 0.1.9, to 6e-7 on 200 frames."""

    def by_definition(self, frames: Any, cutoff: float) -> Any:
        top = frames.topology
        rings = [
            [next(a.index for a in r.atoms if a.name == name) for name in
             (("C2", "C6", "C4") if r.name in "GA" else ("C2", "C4", "C6"))]
            for r in top.residues
        ]  # fmt: skip
        result = []
        for xyz in frames.xyz.astype(np.float64):
            row = []
            for j, one in enumerate(rings):
                centre = xyz[one].mean(axis=0)
                x = (xyz[one[0]] - centre) / np.linalg.norm(xyz[one[0]] - centre)
                z = np.cross(x, xyz[one[1]] - centre)
                z /= np.linalg.norm(z)
                axes = np.array([x, np.cross(z, x), z])
                for k, other in enumerate(rings):
                    if j == k:
                        continue
                    r = axes @ (xyz[other].mean(axis=0) - centre) / [0.5, 0.5, 0.3]
                    length, gamma = np.linalg.norm(r), np.pi / cutoff
                    g = [*np.sin(gamma * length) * r / length, 1 + np.cos(gamma * length)]
                    row.append(np.array(g) / gamma * (length < cutoff))
            result.append(np.concatenate(row))
        return np.array(result)

    @pytest.mark.parametrize("cutoff", [2.4, 1.5])
    def test_definition(self, rna: Any, cutoff: float) -> None:
        expected = self.by_definition(rna, cutoff)
        assert (expected == 0).any() == (cutoff == 1.5)
        found = GVectors(cutoff).fit_transform(rna)
        # single precision of coordinates of 1 nm, over rings of 0.05 nm here and there
        np.testing.assert_allclose(found, expected, atol=2e-5)

    def test_blocks_and_names(self, rna: Any, monkeypatch: Any) -> None:
        step = GVectors().fit(rna)
        expected = step.transform(rna)
        monkeypatch.setattr("latflow._blocks.NUMBERS_AT_ONCE", 300)
        np.testing.assert_allclose(step.transform(rna), expected, atol=1e-6)
        names = step.get_feature_names_out()
        assert list(names[:5]) == ["gx_G1_A2", "gy_G1_A2", "gz_G1_A2", "gw_G1_A2", "gx_G1_U3"]


@pytest.mark.parametrize(("featurizer", "residues"), CASES, ids=IDS)
class TestEveryFeaturizer:
    def test_manners(self, featurizer: Any, residues: Any) -> None:
        frames = trajectory_of(topology_of(residues))
        step = clone(featurizer)
        with pytest.raises(NotFittedError):
            step.transform(frames)
        with pytest.raises(NotFittedError):
            step.get_feature_names_out()
        source = frames if isinstance(featurizer, AlignedPositions) else frames.topology
        assert step.fit(source) is step
        features, names = step.transform(frames), step.get_feature_names_out()
        assert features.dtype == np.float32
        assert features.shape == (len(frames), len(names))
        assert len(set(names)) == len(names)
        assert np.ptp(features, axis=0).max() > 0
        listed = clone(step).fit_transform([frames, frames[:5]])
        np.testing.assert_array_equal(listed[0], features)
        np.testing.assert_allclose(listed[1], features[:5], atol=1e-6)
        other = pickle.loads(pickle.dumps(step))
        np.testing.assert_array_equal(other.transform(frames), features)
        assert clone(step).get_params().keys() == step.get_params().keys()

    def test_the_manifest_makes_it_anew(self, featurizer: Any, residues: Any) -> None:
        frames = trajectory_of(topology_of(residues))
        step = clone(featurizer).fit(frames)
        features = step.transform([frames, frames[:5]])
        assert features.manifest == step.manifest()
        manifest = json.loads(json.dumps(features.manifest))
        assert manifest == features.manifest
        assert manifest["featurizer"] == type(featurizer).__name__
        assert manifest["parameters"].keys() == featurizer.get_params(deep=False).keys()
        assert manifest["feature_names"] == list(step.get_feature_names_out())
        again = Featurizer.from_manifest(manifest)
        assert type(again) is type(featurizer)
        assert again.topology_ == step.topology_
        np.testing.assert_array_equal(again.transform(frames), features[0])
        assert again.manifest() == manifest

    def test_set_output(self, featurizer: Any, residues: Any) -> None:
        frames = trajectory_of(topology_of(residues))
        step = clone(featurizer).set_output(transform="pandas")
        table = step.fit_transform(frames)
        assert isinstance(table, pd.DataFrame)
        assert list(table.columns) == list(step.get_feature_names_out())
        tables = step.transform([frames, frames])
        pd.testing.assert_frame_equal(tables[1], table)
        with sklearn.config_context(transform_output="pandas"):
            parts = clone(featurizer).fit_transform([frames[:4]])
        np.testing.assert_allclose(parts[0], table[:4], atol=1e-6)

    @settings(max_examples=10, deadline=None)
    @given(
        turn=st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: np.linalg.norm(q) > 0.1),
        shift=st.tuples(*[st.floats(-2, 2)] * 3),
    )
    @example(turn=(0.0, 0.0, 1.0, 0.0), shift=(0.0, 0.0, 0.0))  # where mdtraj's superpose fails
    def test_rotation_and_translation(
        self, featurizer: Any, residues: Any, turn: Any, shift: Any
    ) -> None:
        frames = trajectory_of(topology_of(residues), n_frames=3)
        step = clone(featurizer).fit(frames)
        moved = frames.xyz @ Rotation.from_quat(turn).as_matrix() + np.array(shift)
        found = step.transform(mdtraj.Trajectory(moved, frames.topology))
        # torsions and bases of random coordinates divide by short vectors
        np.testing.assert_allclose(found, step.transform(frames), atol=2e-4)

    @settings(max_examples=10, deadline=None)
    @given(cut=st.integers(1, 19))
    def test_frames_are_independent(self, featurizer: Any, residues: Any, cut: int) -> None:
        frames = trajectory_of(topology_of(residues))
        step = clone(featurizer).fit(frames)
        parts = np.concatenate([step.transform(frames[:cut]), step.transform(frames[cut:])])
        np.testing.assert_allclose(parts, step.transform(frames), atol=1e-6)

    def test_other_topology(self, featurizer: Any, residues: Any) -> None:
        step = clone(featurizer).fit(trajectory_of(topology_of(residues)))
        fewer = trajectory_of(topology_of(residues[:-1]))
        n_atoms = step.topology_.n_atoms
        with pytest.raises(ValueError, match=f"Expected {n_atoms} atoms, as in fit, got"):
            step.transform(fewer)
        renamed = trajectory_of(topology_of(residues))
        renamed.topology.atom(4).name = "XX"
        was = list(step.topology_.atoms)[4]
        with pytest.raises(ValueError, match=f"Expected atom 4 to be {was}, as in fit, got .*-XX"):
            step.transform(renamed)


class TestExchange:
    @settings(max_examples=20, deadline=None)
    @given(st.permutations(range(6)))
    def test_coordination_numbers_follow_the_atoms(self, order: list[int]) -> None:
        xyz = np.random.default_rng(0).normal(size=(4, 6, 3))
        step = CoordinationNumbers(1.5).fit(argon(xyz))
        features = step.transform(argon(xyz))
        np.testing.assert_allclose(
            step.transform(argon(xyz[:, order])), features[:, order], atol=1e-5
        )
        ordered = CoordinationNumbers(1.5, sort=True).fit(argon(xyz))
        np.testing.assert_allclose(
            ordered.transform(argon(xyz[:, order])), ordered.transform(argon(xyz)), atol=1e-5
        )

    def test_atoms_in_another_order_in_the_file(self, peptide: Any) -> None:
        """Names, not places, say what a feature is: reversed chains give the same, by name."""
        order = [4, 0, 3, 1, 2, 5, *range(6, peptide.n_atoms)]
        shuffled = mdtraj.Topology()
        chain, residues = shuffled.add_chain(), {}
        for k in order:
            atom = peptide.topology.atom(k)
            number = atom.residue.index
            if number not in residues:
                residues[number] = shuffled.add_residue(
                    atom.residue.name, chain, resSeq=atom.residue.resSeq
                )
            shuffled.add_atom(atom.name, atom.element, residues[number])
        other = mdtraj.Trajectory(peptide.xyz[:, order], shuffled)
        for step in (Torsions(PROTEIN_ANGLES), Distances(), Contacts(), Distances("backbone")):
            step.set_output(transform="pandas")
            one, two = step.fit_transform(peptide), clone(step).fit_transform(other)
            flipped = {c: "_".join(("distance", *c.split("_")[:0:-1])) for c in two.columns}
            two = two.rename(columns={c: f for c, f in flipped.items() if c not in one})
            pd.testing.assert_frame_equal(two[one.columns], one, atol=1e-6)


class TestConcatenate:
    def test_is_its_parts(self, peptide: Any) -> None:
        parts = [Torsions(), Contacts(), Distances("name CA")]
        step = Concatenate(parts).fit(peptide)
        expected = np.concatenate([clone(p).fit_transform(peptide) for p in parts], axis=1)
        np.testing.assert_array_equal(step.transform(peptide), expected)
        names = np.concatenate([clone(p).fit(peptide).get_feature_names_out() for p in parts])
        assert list(step.get_feature_names_out()) == list(names)
        assert not hasattr(parts[0], "topology_")

    def test_names_twice(self, peptide: Any) -> None:
        step = Concatenate([Contacts(), Torsions("phi"), Contacts(r0=0.6)]).fit(peptide)
        names = list(step.get_feature_names_out())
        assert names[0] == "0__contact_ALA1_ARG4"
        assert names[-1] == "2__contact_ILE5_SER8"
        assert "cos_phi_GLY2" in names

    def test_pipeline(self, peptide: Any) -> None:
        steps = make_pipeline(Concatenate([Torsions(), Contacts()]), PerFrame(StandardScaler()))
        features = steps.fit_transform([peptide, peptide[:7]])
        assert [len(x) for x in features] == [20, 7]


class TestManifest:
    def test_units(self, peptide: Any) -> None:
        steps = [Torsions("phi"), Distances(), AlignedPositions("name CA"), Contacts()]
        whole = Concatenate(steps).fit(peptide)
        widths = [len(step.feature_names_) for step in whole.featurizers_]
        expected = np.repeat(["none", "nm", "nm", "none"], widths)
        assert whole.manifest()["units"] == expected.tolist()
        assert [step["featurizer"] for step in whole.manifest()["parameters"]["featurizers"]] == [
            type(step).__name__ for step in steps
        ]

    def test_selections_stay_texts(self, peptide: Any) -> None:
        step = AlignedPositions("name CA", align="backbone").fit(peptide)
        parameters = step.manifest()["parameters"]
        assert (parameters["atoms"], parameters["align"]) == ("name CA", "backbone")

    def test_arrays_and_what_json_does_not_know(self, peptide: Any) -> None:
        step = Distances(np.array([[0, 5], [7, 30]]), min_separation=np.int64(2)).fit(peptide)
        parameters = json.loads(json.dumps(step.manifest()["parameters"]))
        assert parameters["atoms"] == [[0, 5], [7, 30]]
        assert parameters["min_separation"] == 2
        odd = Distances(periodic=print).fit(peptide)
        assert odd.manifest()["parameters"]["periodic"] == repr(print)

    def test_fingerprints(self, peptide: Any) -> None:
        """The same for one featurizer in several words, another one for another featurizer."""
        marks = [
            step.fit(peptide).manifest()["fingerprint"]
            for step in (
                Torsions(("phi", "psi")), Torsions(["phi", "psi"]), Torsions("phi"),
                AlignedPositions("name CA", reference=peptide[0]), AlignedPositions("name CA"),
                AlignedPositions("name CA", reference=peptide[1]),
            )
        ]  # fmt: skip
        assert marks[0] == marks[1]
        assert marks[3] == marks[4]
        assert len(set(marks)) == 4
        renamed = trajectory_of(topology_of(PEPTIDE))
        renamed.topology.atom(0).name = "NT"
        assert Torsions("phi").fit(renamed).manifest()["fingerprint"] != marks[2]

    def test_topology_with_bonds(self) -> None:
        topology = topology_of(PEPTIDE, ("GLY", "ALA"))
        topology.create_standard_bonds()
        topology.chain(1).chain_id = "B"
        assert topology.n_bonds > 0
        again = topology_from_json(json.loads(json.dumps(topology_as_json(topology))))
        assert again == topology
        assert again.to_bondgraph().edges == topology.to_bondgraph().edges
        assert [chain.chain_id for chain in again.chains] == [None, "B"]
        for one, other in zip(again.residues, topology.residues, strict=True):
            assert (one.resSeq, one.segment_id) == (other.resSeq, other.segment_id)

    def test_what_cannot_be_made_anew(self, peptide: Any) -> None:
        manifest = Torsions().fit(peptide).manifest()
        with pytest.raises(ValueError, match="Expected a known featurizer, got Bends"):
            Featurizer.from_manifest(manifest | {"featurizer": "Bends"})
        del manifest["topology"]
        with pytest.raises(ValueError, match="got one of an older version: run featurize again"):
            Featurizer.from_manifest(manifest)
        with pytest.raises(NotFittedError):
            Torsions().manifest()


class TestFeatureList:
    def test_is_a_list_with_a_memory(self) -> None:
        arrays = [np.zeros((4, 2)), np.ones((3, 2))]
        features = FeatureList(arrays, manifest={"stride": 2})
        assert features == arrays
        assert isinstance(features, list)
        assert features[1] is arrays[1]
        assert repr(features) == "FeatureList(2 trajectories)"
        for kept in (features[:1], features[::-1], copy.copy(features)):
            assert isinstance(kept, FeatureList)
            assert kept.manifest == {"stride": 2}
        again = pickle.loads(pickle.dumps(features))
        assert again.manifest == features.manifest
        np.testing.assert_array_equal(again[1], arrays[1])
        assert FeatureList(arrays).manifest is None


class TestSentences:
    def fails(self, step: Any, X: Any, message: str, error: type = ValueError) -> None:
        with pytest.raises(error, match=message):
            step.fit(X)
        assert not hasattr(step, "topology_")

    def test_input(self, peptide: Any) -> None:
        self.fails(Torsions(), np.zeros((3, 2)), "mdtraj.Trajectory, or a list of them", TypeError)
        self.fails(Torsions(), [], "at least one trajectory, got an empty list")
        bare = mdtraj.Trajectory(peptide.xyz, None)
        self.fails(Torsions(), bare, "a trajectory with a topology, got one without")
        two = [peptide, trajectory_of(topology_of(PEPTIDE[:3]))]
        self.fails(Torsions(), two, "in trajectory 1, as in trajectory 0, got")
        with pytest.raises(TypeError, match="or a list of them, got ndarray"):
            Torsions().fit(peptide).transform(peptide.xyz)

    @pytest.mark.parametrize(
        ("step", "message"),
        [
            (Torsions("phy"), "`angles` to be one of phi, psi, omega.*got 'phy'"),
            (Torsions(["phi", "alpha"]), "residues with the angle alpha, got none"),
            (Torsions([]), "at least one angle in `angles`, got none"),
            (Distances(scheme="cb"), "`scheme` to be one of ca, closest-heavy, got 'cb'"),
            (Distances(min_separation=8), "pairs of atoms, got none at least min_separation=8"),
            (Distances(min_separation=-1), "`min_separation` to be an integer >= 0"),
            (Distances("name XY"), "`atoms` to select at least one atom, got none: 'name XY'"),
            (Distances("nome CA"), "`atoms` in mdtraj's selection language, got 'nome CA'"),
            (Distances(("name CA",)), "`atoms` to hold two selections, got 1"),
            (Distances([[0, 999]]), "`atoms` to hold atom indices from 0 to"),
            (Distances([[0, 1, 2]]), r"of shape \(n_pairs, 2\), got shape \(1, 3\)"),
            (Distances([[1, 1]]), "two different atoms in each pair"),
            (Contacts(r0=0), "`r0` to be a finite number > 0"),
            (Contacts(exponent=0), "`exponent` to be an integer >= 1"),
            (CoordinationNumbers(1.0, atoms=[3]), "select at least two atoms, got 1"),
            (CoordinationNumbers(-1), "`r0` to be a finite number > 0"),
            (GVectors(), "at least two nucleobases, got 0"),
            (GVectors(cutoff=0), "`cutoff` to be a finite number > 0"),
            (AlignedPositions(), "`reference`, or a trajectory to fit on"),
            (AlignedPositions([0, 1]), "`atoms` to select at least three atoms to superpose"),
            (AlignedPositions(align="name XY"), "`align` to select at least one atom"),
            (Concatenate([]), "`featurizers` to be a list of at least one"),
        ],
    )
    def test_parameters(self, peptide: Any, step: Any, message: str) -> None:
        self.fails(step, peptide.topology, message)

    def test_more(self, peptide: Any, rna: Any) -> None:
        self.fails(Concatenate([StandardScaler()]), peptide, "only featurizers", TypeError)
        self.fails(AlignedPositions(reference=rna), peptide, "atoms, as in fit, in `reference`")
        self.fails(Distances(), rna, "pairs of atoms, got none")

    def test_a_failed_fit_leaves_the_old_one(self, peptide: Any, rna: Any) -> None:
        step = Torsions().fit(peptide)
        with pytest.raises(ValueError, match="phi"):
            step.fit(rna)
        assert step.transform(peptide).shape == (20, len(step.get_feature_names_out()))


def test_import_loads_no_mdtraj() -> None:
    code = "import sys, latflow, latflow.featurizers; sys.exit('mdtraj' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class TestManyPairs:
    @pytest.mark.parametrize(
        ("featurizer", "said"),
        [
            (Distances("all", min_separation=0), r"449,985,000 pairs, about 90 GB"),
            (Distances(("element O", "all")), r"300,000,000 pairs, about 60 GB"),
        ],
    )
    def test_a_box_of_water_is_refused_before_memory_is_taken(
        self, featurizer: Any, said: str
    ) -> None:
        water = mdtraj.Topology()
        chain = water.add_chain()
        for _ in range(10_000):
            residue = water.add_residue("HOH", chain)
            for name in ("O", "H1", "H2"):
                water.add_atom(name, mdtraj.element.get_by_symbol(name[0]), residue)
        tracemalloc.start()
        with pytest.raises(ValueError, match=f"fit into 4 GB, got {said}: select fewer atoms"):
            featurizer.fit(water)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1e8

    @pytest.mark.parametrize("tile", [1, 7, 20, 21, 64])
    @pytest.mark.parametrize("box", [None, np.diag([2.0, 2.5, 3.0]), TRICLINIC])
    def test_coordination_numbers_in_tiles_are_the_same(
        self, tile: int, box: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rng = np.random.default_rng(0)
        frames = argon(rng.uniform(-3, 6, (5, 21, 3)))
        if box is not None:
            frames.unitcell_vectors = np.repeat(box[None], 5, axis=0)
        pairs = np.stack(np.triu_indices(21, 1), axis=1)
        near = slow_switch(mdtraj.compute_distances(frames, pairs), 0.8, 6)
        expected = [np.bincount(pairs.ravel(), np.repeat(one, 2)) for one in near]
        monkeypatch.setattr(distances_module, "TILE", tile)
        found = CoordinationNumbers(0.8, exponent=6).fit_transform(frames)
        np.testing.assert_allclose(found, expected, rtol=1e-5)

    def test_coordination_numbers_of_many_atoms_hold_no_list_of_all_pairs(self) -> None:
        frames = argon(np.random.default_rng(0).uniform(0, 9, (1, 3000, 3)))
        tracemalloc.start()
        found = CoordinationNumbers(0.8).fit_transform(frames)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 3e7  # all pairs alone take 36 MB
        some = slice(0, 3000, 300)
        r = np.linalg.norm(frames.xyz[0, some, None] - frames.xyz[0], axis=-1)
        np.testing.assert_allclose(
            found[0, some], slow_switch(r, 0.8, 8).sum(axis=1) - 1, rtol=1e-5
        )

    def test_pairs_of_residues_are_all_pairs_of_their_atoms(self) -> None:
        distances = Distances(scheme="closest-heavy", min_separation=2).fit(topology_of(PEPTIDE))
        topology = distances.topology_
        heavy = [{a.index for a in r.atoms if a.element.symbol != "H"} for r in topology.residues]
        labels = [str(residue) for residue in topology.residues]
        groups = np.split(distances.pairs_, distances.starts_[1:])
        for name, group in zip(distances.feature_names_, groups, strict=True):
            one, other = (heavy[labels.index(label)] for label in name.split("_")[1:])
            pairs = {tuple(pair) for pair in group.tolist()}
            assert pairs == {(a, b) for a in one for b in other}
            assert len(group) == len(pairs)

    def test_blocks_of_pairs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        frames = trajectory_of(topology_of(PEPTIDE))
        expected = Contacts(min_separation=1).fit_transform(frames)
        monkeypatch.setattr(distances_module, "PAIRS_AT_ONCE", 50)
        found = Contacts(min_separation=1).fit_transform(frames)
        np.testing.assert_allclose(found, expected, atol=1e-7)


class TestLigands:
    def test_of_closest_heavy(self) -> None:
        topology = topology_of(PEPTIDE[:4])
        ligand = topology.add_residue("LIG", topology.add_chain())
        for name in ("C1", "O1", "H1"):
            topology.add_atom(name, mdtraj.element.get_by_symbol(name[0]), ligand)
        frames = trajectory_of(topology)
        without = Distances(scheme="closest-heavy").fit(frames)
        featurizer = Distances(scheme="closest-heavy", ligands="resname LIG").fit(frames)
        new = [n for n in featurizer.feature_names_ if n not in without.feature_names_]
        assert new == [f"distance_{label}_LIG4" for label in ("ALA1", "GLY2", "LYS3", "ARG4")]
        column = featurizer.feature_names_.index("distance_GLY2_LIG4")
        atoms = topology.select("resSeq 2 and resname GLY and not element H")
        pairs = [(a, b) for a in atoms for b in topology.select("name C1 or name O1")]
        expected = mdtraj.compute_distances(frames, pairs).min(axis=1)
        np.testing.assert_allclose(featurizer.transform(frames)[:, column], expected, atol=1e-6)

    @pytest.mark.parametrize("options", [{"scheme": "ca"}, {"atoms": "name C"}])
    def test_of_others_are_refused(self, options: Any) -> None:
        featurizer = Distances(**{"scheme": "closest-heavy", "ligands": "all"} | options)
        with pytest.raises(ValueError, match=r"`ligands` with scheme='closest-heavy' and without"):
            featurizer.fit(topology_of(PEPTIDE))


class TestSelections:
    def test_of_torsions(self) -> None:
        torsions = Torsions(atoms="resSeq 3 to 5").fit(topology_of(PEPTIDE))
        names = {name.partition("_")[2] for name in torsions.feature_names_}
        assert names == {"psi_LYS3", "phi_ARG4", "psi_ARG4", "phi_ILE5"}

    def test_of_g_vectors(self) -> None:
        vectors = GVectors(atoms="resSeq 2 to 4").fit(topology_of(RNA))
        assert {n.split("_")[1] for n in vectors.feature_names_} == {"A2", "U3", "C4"}

    def test_an_angle_that_is_not_there(self) -> None:
        with pytest.raises(ValueError, match=r"angle phi, got none: here are alpha, beta, .*, chi"):
            Torsions().fit(topology_of(RNA))
