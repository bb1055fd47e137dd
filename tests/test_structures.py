"""Structures come from where the table says, as often as their weight says, from the core."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.utils import Bunch
from structures import argon, topology_of

from latflow import LaTFEstimator, TemperatureExtrapolator, load, save
from latflow.structures import Structures
from latflow.thermodynamics import Ensemble

STRIDE = 3
EXTENSIONS = ["xtc", "dcd", "trr", "nc", "pdb"]
if importlib.util.find_spec("tables") is not None:
    EXTENSIONS.append("h5")


def read_back(path: Path, topology: Any) -> Any:
    """Read a trajectory file; .h5 knows its topology and refuses another."""
    known = {} if path.suffix == ".h5" else {"top": topology}
    return mdtraj.load(str(path), **known)


def coded(number: int, n_rows: int) -> Any:
    """Return frames whose coordinates tell trajectory and frame; every third has features."""
    topology = topology_of(("ALA", "GLY"))
    xyz = np.zeros((STRIDE * n_rows - 1, topology.n_atoms, 3))
    xyz += 0.01 * np.arange(topology.n_atoms)[:, None]
    xyz[:, 0, 0] = number
    xyz[:, 0, 1] = 0.01 * np.arange(len(xyz))
    cell = np.ones((len(xyz), 3))
    return mdtraj.Trajectory(xyz, topology, None, cell, 90 * cell)


def codes(structures: Any) -> tuple[list[int], list[int]]:
    return (
        np.rint(structures.xyz[:, 0, 0]).astype(int).tolist(),
        np.rint(100 * structures.xyz[:, 0, 1]).astype(int).tolist(),
    )


@pytest.fixture(scope="module")
def sources(three_hole: Any) -> list[Any]:
    return [coded(k, len(x)) for k, x in enumerate(three_hole["trajectories"])]


@pytest.fixture(scope="module")
def made(extrapolator: Any, three_hole: Any, sources: Any) -> Structures:
    return Structures(extrapolator, three_hole["trajectories"], sources, stride=STRIDE)


@pytest.fixture(scope="module")
def plain(latf: Any, three_hole: Any, sources: Any) -> Structures:
    data = Bunch(trajectories=three_hole["trajectories"], temperature=three_hole["temperature"])
    return Structures(latf, data, sources, stride=STRIDE)


class TestProvenance:
    def test_structures_are_those_of_the_table(self, made: Structures) -> None:
        table, structures = made.virtual_trajectory(1.0, 200, random_state=0)
        assert (table["trajectory"].tolist(), table["frame"].tolist()) == codes(structures)
        assert (table["frame"] % STRIDE == 0).all()
        assert table["file"].isna().all()
        np.testing.assert_array_equal(structures.time, np.arange(200))
        np.testing.assert_array_equal(structures.unitcell_lengths, 1)

    def test_variables_and_states_are_the_frames_own(
        self, made: Structures, three_hole: Any, extrapolator: Any
    ) -> None:
        table = made.virtual_trajectory(1.0, 50, random_state=1).table
        for row in table.itertuples():
            x = three_hole["trajectories"][row.trajectory][[row.frame // STRIDE]]
            np.testing.assert_allclose([row[5], row[6]], extrapolator.transform(x)[0], rtol=1e-6)
            assert row.state == extrapolator.predict(x)[0]

    @pytest.mark.parametrize("extension", EXTENSIONS)
    def test_files_give_exactly_the_source_frame(
        self, latf: Any, three_hole: Any, tmp_path: Path, extension: str
    ) -> None:
        paths = [tmp_path / f"{k}.{extension}" for k in range(2)]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*'netCDF4' Python package is not", UserWarning)
            for k, path in enumerate(paths):
                coded(k, 300).save(str(path))
            whole = [read_back(path, topology_of(("ALA", "GLY"))) for path in paths]
        data = Bunch(
            trajectories=three_hole["trajectories"][:2],
            paths=[str(p) for p in paths],
            stride=STRIDE,
            temperature=[0.8, 1.4],
        )
        found = Structures(latf, data, topology=whole[0].topology)
        rows = [(1, 299), (0, 0), (1, 7), (1, 7), (0, 150)]
        points = np.array([latf.transform(data.trajectories[t][[r]])[0] for t, r in rows])
        table, structures = found.nearest_frames(points)
        assert table["frame"].tolist() == [STRIDE * r for _, r in rows]
        assert table["file"].tolist() == [str(paths[t]) for t, _ in rows]
        for row, xyz in zip(table.itertuples(), structures.xyz, strict=True):
            np.testing.assert_array_equal(xyz, whole[row.trajectory].xyz[row.frame])

    def test_a_result_of_featurize_knows_files_and_stride(self, tmp_path: Path) -> None:
        from latflow.featurizers import Distances, featurize, load_features

        rng = np.random.default_rng(0)
        for k in range(2):
            argon(rng.normal(size=(200, 3, 3))).save(str(tmp_path / f"{k}.dcd"))
        topology = argon(np.zeros((1, 3, 3))).topology
        pairs = Distances([[0, 1], [1, 2]], periodic=False)
        files = [tmp_path / "0.dcd", tmp_path / "1.dcd"]
        data = featurize(files, topology, pairs, stride=5, out=tmp_path / "features")
        assert data.stride == 5
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = LaTFEstimator(max_iter=20, random_state=0).fit(data.trajectories)
        for features in (data, load_features(tmp_path / "features")):
            table, structures = Structures(model, features, topology=topology).virtual_trajectory(
                None, 30, random_state=0
            )
            places = zip(table["trajectory"], table["frame"] // 5, strict=True)
            at = [data.trajectories[t][row] for t, row in places]
            again = pairs.fit(topology).transform(structures)
            np.testing.assert_allclose(again, at, rtol=1e-6)


class TestVirtualTrajectory:
    @pytest.mark.parametrize("temperature", [0.8, 1.0, 1.2, 1.4])
    def test_means_agree_with_expectations(
        self, made: Structures, extrapolator: Any, three_hole: Any, temperature: float
    ) -> None:
        table = made.virtual_trajectory(temperature, 30_000, random_state=0).table
        energy = three_hole["energy"]
        drawn = [
            energy[t][f // STRIDE] for t, f in zip(table["trajectory"], table["frame"], strict=True)
        ]
        expected = extrapolator.expectation(energy, temperature).iloc[0]
        # drawn systematically, the mean is nearer to the weighted one than that is to the truth
        assert abs(np.mean(drawn) - expected["value"]) < expected["standard_error"]

    @pytest.mark.parametrize("seed", range(3))
    def test_counts_are_weights_rounded_up_or_down(
        self, made: Structures, extrapolator: Any, seed: int
    ) -> None:
        n = 30_000
        table = made.virtual_trajectory(1.1, n, random_state=seed).table
        weights = np.concatenate(extrapolator.ensemble_.nearest_weights(1.1))
        rows = table["trajectory"] * 300 + table["frame"] // STRIDE
        counts = np.bincount(rows, minlength=len(weights))
        assert (np.abs(counts - n * weights) < 1).all()
        np.testing.assert_allclose(table["weight"], weights[rows])
        assert not table["novel"].any()

    def test_samples_mostly_have_a_frame_near(self, made: Structures, extrapolator: Any) -> None:
        found = made.virtual_trajectory(1.1, 2000, draw="samples", random_state=0)
        assert found.n_novel == found.table["novel"].sum()
        assert found.n_novel < 0.02 * 2000
        z = extrapolator.sample(2000, 1.1, random_state=0)
        near = found.table[["CV 1", "CV 2"]].to_numpy() - z
        assert np.median(np.abs(near)) < 0.05 * z.std()

    @pytest.mark.parametrize(("temperature", "own"), [(0.8, range(20)), (1.4, range(20, 40))])
    def test_a_simulated_temperature_is_told_by_its_own_frames(
        self, made: Structures, temperature: float, own: range
    ) -> None:
        """What no feature shows is then as it was simulated."""
        table = made.virtual_trajectory(temperature, 5000, random_state=0).table
        assert set(table["trajectory"]) <= set(own)
        populations = made.model.state_populations(temperature)["population"].to_numpy()
        drawn = np.bincount(table["state"], minlength=len(populations)) / 5000
        np.testing.assert_allclose(drawn, populations, atol=0.02)

    def test_the_seed_decides(self, made: Structures) -> None:
        one, same, other = (made.virtual_trajectory(1.0, 50, random_state=k) for k in (0, 0, 1))
        assert one.table.equals(same.table)
        assert not one.table.equals(other.table)

    def test_few_frames_are_told(self, made: Structures, monkeypatch: pytest.MonkeyPatch) -> None:
        weights = np.zeros(12_000)
        weights[700] = weights[900] = 0.5
        monkeypatch.setattr(Ensemble, "nearest_weights", lambda *_: weights)
        with pytest.warns(UserWarning, match="rest on 2.0 frames in effect"):
            table = made.virtual_trajectory(1.0, 10).table
        assert table["frame"].tolist() == [100 * STRIDE] * 5 + [0] * 5

    def test_a_saved_model_draws_the_same(
        self, made: Structures, three_hole: Any, sources: Any, tmp_path: Path
    ) -> None:
        save(made.model, tmp_path / "m")
        again = Structures(load(tmp_path / "m"), three_hole["trajectories"], sources, stride=STRIDE)
        first, second = (s.virtual_trajectory(1.0, 90, random_state=0) for s in (made, again))
        assert first.table.equals(second.table)

    def test_latf_estimator_knows_the_simulated_temperatures(self, plain: Structures) -> None:
        table = plain.virtual_trajectory(1.4, 600, random_state=0).table
        assert (table["trajectory"] >= 20).all()
        with pytest.raises(ValueError, match=r"simulated temperatures \(0.8, 1.4\), got 1: to wei"):
            plain.virtual_trajectory(1.0, 5)

    def test_latf_estimator_needs_to_be_told_which_frame_is_which(
        self, latf: Any, three_hole: Any, sources: Any
    ) -> None:
        blind = Structures(latf, three_hole["trajectories"], sources, stride=STRIDE)
        with pytest.raises(ValueError, match=r"`temperature` \(one per trajectory\) by Structures"):
            blind.virtual_trajectory(1.4, 5)

    def test_weights_of_a_biased_simulation(self, latf: Any, three_hole: Any, sources: Any) -> None:
        weights = [np.zeros(300) for _ in range(40)]
        weights[20][50:100] = 2.0
        found = Structures(
            latf,
            three_hole["trajectories"],
            sources,
            stride=STRIDE,
            temperature=three_hole["temperature"],
            weights=weights,
        ).virtual_trajectory(1.4, 100)
        assert (found.table["trajectory"] == 20).all()
        assert found.table["frame"].value_counts().tolist() == [2] * 50


class TestNearestFrames:
    def test_whitened_distance(self, made: Structures, extrapolator: Any, rng: Any) -> None:
        points = made.z_[rng.integers(len(made.z_), size=40)] + 0.1 * rng.normal(size=(40, 2))
        table = made.nearest_frames(points).table
        inverse = np.linalg.inv(np.cov(made.z_.T))
        step = points[:, None] - made.z_
        squares = np.einsum("mni,ij,mnj->mn", step, inverse, step)
        np.testing.assert_allclose(table["distance"], np.sqrt(squares.min(axis=1)), rtol=1e-6)
        rows = table["trajectory"] * 300 + table["frame"] // STRIDE
        np.testing.assert_array_equal(rows, squares.argmin(axis=1))

    def test_training_frames_are_not_novel_and_far_points_are(self, made: Structures) -> None:
        far = made.z_.max(axis=0) + 5 * made.z_.std(axis=0)
        found = made.nearest_frames(np.vstack([made.z_[:100], far, -far]))
        assert found.table["novel"].tolist() == [False] * 100 + [True] * 2
        assert found.n_novel == 2

    def test_one_frame_in_a_thousand_is_itself_far_from_the_others(self, made: Structures) -> None:
        from scipy.spatial import cKDTree

        white = made._whitened(made.z_)
        np.testing.assert_allclose(np.cov(white.T), np.eye(2), atol=1e-10)
        apart = cKDTree(white).query(white, k=2)[0][:, 1]
        assert (apart > made._level).mean() == pytest.approx(0.001, abs=2e-4)

    def test_shape(self, made: Structures) -> None:
        with pytest.raises(ValueError, match=r"`Z` of shape \(n_points, 2\), got \(3,\)"):
            made.nearest_frames([1, 2, 3])


class TestRepresentatives:
    @pytest.mark.parametrize("temperature", [None, 1.1])
    def test_from_the_core_of_the_state(
        self, made: Structures, extrapolator: Any, temperature: float | None
    ) -> None:
        for state in range(extrapolator.n_states_):
            table, structures = made.representatives(state, 6, temperature=temperature)
            assert (table["state"] == state).all()
            assert (table["trajectory"].tolist(), table["frame"].tolist()) == codes(structures)
            own = made.z_[made.labels_ == state]
            density = made._log_density(own, temperature)
            assert (table["log_density"] >= np.quantile(density, 0.85)).all()
            assert table["trajectory"].nunique() == 6
            rows = table["trajectory"] * 300 + table["frame"] // STRIDE
            assert (extrapolator.predict_proba_latent(made.z_[rows])[:, state] > 0.5).all()

    def test_not_neighbours_in_time(self, latf: Any, three_hole: Any, sources: Any) -> None:
        one = Structures(latf, three_hole["trajectories"][:1], sources[:1], stride=STRIDE)
        state = int(np.bincount(one.labels_).argmax())
        frames = np.sort(one.representatives(state, 4).table["frame"]) // STRIDE
        assert (np.diff(frames) >= latf.lagtime).all()

    def test_more_than_the_core_holds_are_still_distinct(self, made: Structures) -> None:
        state = made.model.n_states_ - 1
        n = int((made.labels_ == state).sum())
        table = made.representatives(state, n).table
        assert not table.duplicated(["trajectory", "frame"]).any()
        with pytest.raises(ValueError, match=f"`n` to be at most {n}"):
            made.representatives(state, n + 1)

    def test_a_rim_is_no_core(self, made: Structures, monkeypatch: pytest.MonkeyPatch) -> None:
        """A state on the shoulder of another: dense only where it belongs to the other."""
        members = np.arange(100)
        probability = np.linspace(0.5, 1.0, 100)
        both = np.stack([1 - probability, probability], axis=1)
        monkeypatch.setattr(TemperatureExtrapolator, "predict_proba_latent", lambda *_: both)
        core = made._core(members, np.linspace(1.0, 0.0, 100), 1, 3)
        assert (probability[core] >= 0.75).all()
        assert core[0] == 50

    def test_latf_estimator(self, plain: Structures) -> None:
        pooled = plain.representatives(0, 3).table["log_density"]
        z = plain.z_[:5]
        each = [np.exp(plain.model.log_density(z, t)) for t in (0.8, 1.4)]
        np.testing.assert_allclose(np.exp(plain._log_density(z, None)), np.mean(each, axis=0))
        assert np.isfinite(pooled).all()

    @pytest.mark.parametrize("state", [-1, 99, 1.5])
    def test_state(self, made: Structures, state: Any) -> None:
        with pytest.raises(ValueError, match="`state`"):
            made.representatives(state)


class TestWriting:
    @pytest.mark.parametrize("extension", EXTENSIONS)
    def test_what_is_written_is_what_is_returned(
        self, made: Structures, tmp_path: Path, extension: str
    ) -> None:
        path = tmp_path / f"found.{extension}"
        structures = made.virtual_trajectory(1.0, 7, random_state=0, path=path).structures
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*'netCDF4' Python package is not", UserWarning)
            again = read_back(path, structures.topology)
        np.testing.assert_allclose(again.xyz, structures.xyz, atol=1e-3)
        assert list(tmp_path.iterdir()) == [path]

    def test_nothing_half_written(
        self, made: Structures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "found.pdb"
        path.write_text("old")

        def fail(self: Any, name: str) -> None:
            Path(name).write_text("half")
            raise OSError("disk full")

        monkeypatch.setattr(mdtraj.Trajectory, "save", fail)
        with pytest.raises(OSError, match="disk full"):
            made.representatives(0, 2, path=path)
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.parametrize(
        ("name", "error", "match"),
        [
            ("x.mp4", ValueError, r"`path` ending in .xtc, .dcd, .* got .*x.mp4"),
            ("none/x.pdb", FileNotFoundError, "`path` in an existing folder"),
        ],
    )
    def test_path(
        self, made: Structures, tmp_path: Path, name: str, error: type[Exception], match: str
    ) -> None:
        with pytest.raises(error, match=match):
            made.nearest_frames(made.z_[:1], path=tmp_path / name)


class TestErrors:
    def test_model(self, three_hole: Any, sources: Any) -> None:
        with pytest.raises(
            TypeError, match=r"LaTFEstimator, a TemperatureExtrapolator or .*, got int"
        ):
            Structures(3, three_hole["trajectories"], sources)  # type: ignore[arg-type]
        with pytest.raises(NotFittedError):
            Structures(TemperatureExtrapolator(), three_hole["trajectories"], sources)

    def test_without_states(self, three_hole: Any, sources: Any) -> None:
        X, temperature = (three_hole[name][18:22] for name in ("trajectories", "temperature"))
        settings = {"max_iter": 20, "n_bootstraps": 0, "boltzmann_constant": 1.0}
        model = TemperatureExtrapolator(PCA(2), **settings, random_state=0)
        found = Structures(model.fit(X, temperature=temperature), X, sources[18:22], stride=STRIDE)
        table = found.virtual_trajectory(1.0, 20, random_state=0).table
        assert (table["state"] == -1).all()
        with pytest.raises(ValueError, match="`state` to be a state below 0"):
            found.representatives(0)

    def test_other_features(self, extrapolator: Any, three_hole: Any, sources: Any) -> None:
        with pytest.raises(ValueError, match=r"the model was fitted on \(12000 frames\)"):
            Structures(extrapolator, three_hole["trajectories"][:3], sources[:3], stride=STRIDE)
        mixed = three_hole["trajectories"][::-1]
        with pytest.raises(ValueError, match="that the model was fitted on"):
            Structures(extrapolator, mixed, sources, stride=STRIDE)

    def test_sources(self, latf: Any, three_hole: Any, sources: Any, tmp_path: Path) -> None:
        features = three_hole["trajectories"][:2]
        for given, error, match in [
            (None, ValueError, "Expected `sources`"),
            (sources[:1], ValueError, r"one source for each trajectory of `features` \(2\), got 1"),
            (["a.xyz", "b.xyz"], ValueError, "Expected a file ending in .xtc"),
            ([tmp_path / "a.xtc"] * 2, FileNotFoundError, "Expected an existing file"),
            ([1, 2], TypeError, "Expected an mdtraj.Trajectory"),
        ]:
            with pytest.raises(error, match=match):
                Structures(latf, features, given, stride=STRIDE)
        with pytest.raises(ValueError, match=r"300 frames in trajectory 0 with stride 2.*got 450"):
            Structures(latf, features, sources[:2], stride=2)
        with pytest.raises(ValueError, match="`features` to be a list of arrays"):
            Structures(latf, [features[0][:, 0]], sources[:1])

    def test_wrong_stride_of_files(self, latf: Any, three_hole: Any, tmp_path: Path) -> None:
        path = tmp_path / "a.xtc"
        coded(0, 300).save(str(path))
        topology = topology_of(("ALA", "GLY"))
        found = Structures(latf, three_hole["trajectories"][:1], [path], topology, stride=2)
        with pytest.raises(ValueError, match=r"Expected 300 frames in .* stride 2.*\(899 in all\)"):
            found.nearest_frames(found.z_[:1])
        with pytest.raises(ValueError, match="Expected `topology`"):
            Structures(latf, three_hole["trajectories"][:1], path)

    def test_broken_file(self, latf: Any, three_hole: Any, tmp_path: Path) -> None:
        path = tmp_path / "a.xtc"
        path.write_bytes(b"nothing")
        topology = topology_of(("ALA", "GLY"))
        found = Structures(latf, three_hole["trajectories"][:1], path, topology)
        with pytest.raises(OSError, match=r"Expected a whole file, got .*a.xtc"):
            found.nearest_frames(found.z_[:1])

    def test_a_file_that_names_other_atoms(
        self, latf: Any, three_hole: Any, sources: Any, tmp_path: Path
    ) -> None:
        path = tmp_path / "a.pdb"
        argon(np.zeros((300, 13, 3))).save(str(path))
        topology = topology_of(("ALA", "GLY"))
        assert topology.n_atoms == 14
        found = Structures(latf, three_hole["trajectories"][:1], path, topology)
        with pytest.raises(ValueError, match=r"Expected 14 atoms in .*a.pdb, got 13"):
            found.nearest_frames(found.z_[:1])

    def test_cells_in_some(self, latf: Any, three_hole: Any, sources: Any) -> None:
        bare = mdtraj.Trajectory(sources[1].xyz, sources[1].topology)
        mixed = Structures(latf, three_hole["trajectories"][:2], [sources[0], bare], stride=STRIDE)
        with pytest.raises(ValueError, match="a unit cell in all sources or in none"):
            mixed.nearest_frames(mixed.z_[[0, 300]])


def test_mdtraj_is_loaded_only_where_it_is_used() -> None:
    code = "import latflow.structures, sys; sys.exit('mdtraj' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
