"""Files to features: as in memory, resumed where they stopped, honest where broken."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import pytest
from conftest import fit_quietly, tiny_latf
from hypothesis import given, settings
from hypothesis import strategies as st
from joblib import parallel_config
from structures import PEPTIDE, topology_of, trajectory_of

from latflow.featurizers import (
    AlignedPositions,
    Concatenate,
    Contacts,
    Distances,
    Featurizer,
    Torsions,
    UnreadableFileError,
    featurize,
    load_features,
)

N_FRAMES = 53
EXTENSIONS = ("xtc", "dcd", "trr", "nc", "pdb")
WITHOUT_TIMES = ("dcd", "pdb")
TOLERANCE = {"xtc": 1e-2, "pdb": 1e-3}  # of positions rounded to 1e-3 and 1e-4 nm
NO_H5 = importlib.util.find_spec("tables") is None


def featurizer() -> Concatenate:
    return Concatenate([Distances(), Torsions()])


@pytest.fixture(scope="module")
def frames() -> Any:
    return trajectory_of(topology_of(PEPTIDE), N_FRAMES)


@pytest.fixture(scope="module")
def folder(frames: Any, tmp_path_factory: Any) -> Path:
    """A folder with the same frames in every format."""
    place = tmp_path_factory.mktemp("files")
    for extension in EXTENSIONS:
        frames.save(str(place / f"run.{extension}"))
    return place


@pytest.fixture
def runs(frames: Any, tmp_path: Path) -> list[Path]:
    """Three .xtc files of different frames."""
    paths = [tmp_path / f"run{k}.xtc" for k in range(3)]
    for k, path in enumerate(paths):
        frames[10 * k : 10 * k + 20].save(str(path))
    return paths


def cut(path: Path, n_bytes: int) -> None:
    path.write_bytes(path.read_bytes()[:-n_bytes])


class TestEqualsMemory:
    @pytest.mark.parametrize("extension", EXTENSIONS)
    @pytest.mark.parametrize("stored", [False, True])
    def test_every_format(
        self, folder: Path, frames: Any, extension: str, stored: bool, tmp_path: Path
    ) -> None:
        out = tmp_path / "features" if stored else None
        path, step = folder / f"run.{extension}", featurizer()
        data = featurize(path, frames.topology, step, stride=3, chunk=4, out=out, temperature=300)
        tolerance = TOLERANCE.get(extension, 1e-5)
        expected = featurizer().fit_transform(frames[::3])
        np.testing.assert_allclose(data.trajectories[0], expected, atol=tolerance)
        assert data.trajectories[0].dtype == np.float32
        assert isinstance(data.trajectories[0], np.memmap) == stored
        assert data.time_step == (None if extension in WITHOUT_TIMES else 6.0)
        assert data.temperature == [300.0]
        assert data.feature_names == list(featurizer().fit(frames).get_feature_names_out())
        assert data.paths == [str(path)]
        assert not hasattr(step, "topology_")

    @pytest.mark.skipif(NO_H5, reason="needs PyTables")
    def test_h5(self, frames: Any, tmp_path: Path) -> None:
        path = tmp_path / "run.h5"
        frames.save(str(path))
        data = featurize(path, None, featurizer(), chunk=10)
        np.testing.assert_allclose(
            data.trajectories[0], featurizer().fit_transform(frames), atol=1e-5
        )
        assert data.time_step == 2.0

    def test_nc_without_netcdf4(
        self, folder: Path, frames: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "netCDF4", None)
        data = featurize(folder / "run.nc", frames.topology, featurizer(), stride=3, chunk=4)
        expected = featurizer().fit_transform(frames[::3])
        np.testing.assert_allclose(data.trajectories[0], expected, atol=1e-5)

    @settings(max_examples=15, deadline=None)
    @given(
        chunk=st.integers(1, 60),
        stride=st.integers(1, 60),
        extension=st.sampled_from(["xtc", "dcd", "trr"]),
    )
    def test_chunks_and_strides(
        self, folder: Path, frames: Any, chunk: int, stride: int, extension: str
    ) -> None:
        path = folder / f"run.{extension}"
        whole = featurize(path, frames.topology, featurizer())
        parts = featurize(path, frames.topology, featurizer(), chunk=chunk, stride=stride)
        np.testing.assert_allclose(
            parts.trajectories[0], whole.trajectories[0][::stride], atol=1e-6
        )

    @pytest.mark.filterwarnings("ignore:.* though bonded:UserWarning")  # at random places
    def test_topology_from_files(self, folder: Path, frames: Any, tmp_path: Path) -> None:
        structure = folder / "run.pdb"
        expected = featurize(folder / "run.trr", frames.topology, Torsions()).trajectories[0]
        found = featurize(folder / "run.trr", structure, Torsions()).trajectories[0]
        np.testing.assert_array_equal(found, expected)
        alone = featurize(structure, None, Torsions()).trajectories[0]
        np.testing.assert_allclose(alone, expected, atol=0.02)
        positions = AlignedPositions("name CA")
        by_path = featurize(folder / "run.trr", str(structure), positions).trajectories[0]
        np.testing.assert_allclose(
            by_path, AlignedPositions("name CA").fit_transform(frames), atol=1e-3
        )

    def test_a_fitted_featurizer_is_used_as_it_is(self, folder: Path, frames: Any) -> None:
        fitted = AlignedPositions("name CA").fit(frames[7])
        found = featurize(folder / "run.trr", None, fitted).trajectories[0]
        np.testing.assert_allclose(found, fitted.transform(frames), atol=1e-5)
        again = featurize(folder / "run.trr", frames.topology, fitted).trajectories[0]
        np.testing.assert_array_equal(again, found)
        with pytest.raises(ValueError, match="Expected 77 atoms, as in fit, got 6"):
            featurize(folder / "run.trr", topology_of(("GLY",)), fitted)

    @pytest.mark.parametrize("backend", ["loky", "threading"])
    def test_processes_and_threads(self, runs: Any, frames: Any, backend: str, capsys: Any) -> None:
        serial = featurize(runs, frames.topology, featurizer())
        with parallel_config(backend=backend):
            other = featurize(runs, frames.topology, featurizer(), n_jobs=2, progress=True)
        for one, two in zip(serial.trajectories, other.trajectories, strict=True):
            np.testing.assert_array_equal(one, two)
        assert "3/3" in capsys.readouterr().err

    def test_is_what_estimators_take(self, runs: Any, frames: Any, tmp_path: Path) -> None:
        options = {"temperature": [300, 300, 350], "out": tmp_path / "out"}
        data = featurize(runs, frames.topology, Distances(), **options)
        from_files = fit_quietly(tiny_latf(), data.trajectories, temperature=data.temperature)
        features = Distances().fit_transform([frames[k : k + 20] for k in (0, 10, 20)])
        in_memory = fit_quietly(tiny_latf(), features, temperature=data.temperature)
        assert in_memory.temperatures_.tolist() == [300, 350]
        for one, other in zip(
            from_files.transform(data.trajectories), in_memory.transform(features), strict=True
        ):
            np.testing.assert_allclose(one, other, atol=0.05)  # positions rounded to 1e-3 nm

    def test_memory_is_flat(self, frames: Any, tmp_path: Path) -> None:
        peaks = []
        for n in (1, 8):
            path = tmp_path / f"long{n}.trr"
            long = mdtraj.join([frames] * n)[:]  # one alone is not copied
            long.time = np.arange(len(long))
            long.save(str(path))
            tracemalloc.start()
            featurize(path, frames.topology, Distances("all"), chunk=20, out=tmp_path / f"out{n}")
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        assert peaks[1] < 1.2 * peaks[0]


class TestFolder:
    def test_manifest(self, runs: Any, frames: Any, tmp_path: Path) -> None:
        out = tmp_path / "out"
        data = featurize(
            runs, frames.topology, featurizer(), stride=2, out=out, temperature=[300, 310, 320]
        )
        manifest = json.loads((out / "manifest.json").read_text())
        assert [entry["source"] for entry in manifest["files"]] == [str(path) for path in runs]
        assert [entry["frames"] for entry in manifest["files"]] == [10, 10, 10]
        assert [entry["temperature"] for entry in manifest["files"]] == [300, 310, 320]
        assert manifest["settings"]["stride"] == 2
        assert manifest["settings"]["feature_names"] == data.feature_names
        assert manifest["time_step"] == data.time_step == 4.0
        assert manifest["settings"]["versions"].keys() == {"latflow", "mdtraj", "numpy"}
        assert all(len(entry["sha256"]) == 64 for entry in manifest["files"])
        written = {entry["array"] for entry in manifest["files"]} | {"manifest.json"}
        assert {path.name for path in out.iterdir()} == written
        again = load_features(out)
        assert again.keys() == data.keys()
        for name in ("temperature", "time_step", "feature_names", "paths", "stride"):
            assert again[name] == data[name]
        for one, two in zip(again.trajectories, data.trajectories, strict=True):
            np.testing.assert_array_equal(one, two)

    def test_the_manifest_travels_with_the_features(
        self, runs: Any, frames: Any, tmp_path: Path
    ) -> None:
        topology, options = frames.topology, {"stride": 2}
        data = featurize(runs, topology, featurizer(), out=tmp_path / "out", **options)
        in_memory = featurize(runs, topology, featurizer(), **options)
        manifest = data.trajectories.manifest
        assert manifest == featurizer().fit(topology).manifest() | {
            "stride": 2,
            "sources": [str(path) for path in runs],
        }
        assert in_memory.trajectories.manifest == manifest
        assert load_features(tmp_path / "out").trajectories.manifest == manifest
        again = Featurizer.from_manifest(manifest)
        np.testing.assert_allclose(again.transform(frames[:20:2]), data.trajectories[0], atol=1e-2)

    def test_folders_of_older_versions(self, runs: Any, frames: Any, tmp_path: Path) -> None:
        """Format 1 had neither parameters nor units nor topology, and its versions elsewhere."""
        out = tmp_path / "out"
        data = featurize(runs, frames.topology, Distances(), out=out, stride=2)
        written = json.loads((out / "manifest.json").read_text())
        new = written["settings"]
        kept = ("stride", "featurizer", "feature_names", "fingerprint")
        old = written | {"format": 1, "settings": {name: new[name] for name in kept}}
        (out / "manifest.json").write_text(json.dumps(old | {"versions": new["versions"]}))
        loaded = load_features(out)
        np.testing.assert_array_equal(loaded.trajectories[1], data.trajectories[1])
        assert loaded.trajectories.manifest == {name: new[name] for name in kept} | {
            "versions": new["versions"],
            "sources": [str(path) for path in runs],
        }
        old["settings"]["fingerprint"] = "that of another time"
        (out / "manifest.json").write_text(json.dumps(old))
        with pytest.raises(ValueError, match="another featurizer, or one of an older version in"):
            featurize(runs, frames.topology, Distances(), out=out, stride=2)

    def test_a_stopped_run_goes_on(
        self, runs: Any, frames: Any, tmp_path: Path, monkeypatch: Any
    ) -> None:
        out, seen = tmp_path / "out", []
        compute = Distances._compute

        def stop_at_third(self: Any, X: Any) -> Any:
            seen.append(float(X.xyz[0, 0, 0]))
            if len(seen) == 3:
                raise KeyboardInterrupt
            return compute(self, X)

        monkeypatch.setattr(Distances, "_compute", stop_at_third)
        with pytest.raises(KeyboardInterrupt):
            featurize(runs, frames.topology, Distances(), out=out)
        assert len(list(out.glob("*.npy"))) == 2
        with pytest.warns(UserWarning, match="1 of 3 files have no features here: .*run2.xtc"):
            assert len(load_features(out).trajectories) == 2
        (out / "other-0.0.part.npy").write_bytes(b"of a process that was killed")
        data = featurize(runs, frames.topology, Distances(), out=out)
        assert len(seen) == 4
        assert seen[3] == seen[2]
        assert not list(out.glob("*.part*"))
        for found, path in zip(data.trajectories, runs, strict=True):
            single = featurize(path, frames.topology, Distances()).trajectories[0]
            np.testing.assert_array_equal(found, single)
        featurize(runs[::-1], frames.topology, Distances(), out=out)
        assert len(seen) == 4 + 3  # the three of the comparison, none of the folder

    def test_stopped_twice(self, runs: Any, frames: Any, tmp_path: Path, monkeypatch: Any) -> None:
        """A run that is stopped before it saw an earlier run's files does not forget them."""
        out = tmp_path / "out"
        featurize(runs[1:], frames.topology, Distances(), out=out)
        arrays = set(out.glob("*.npy"))

        def stop(self: Any, X: Any) -> Any:
            raise KeyboardInterrupt

        monkeypatch.setattr(Distances, "_compute", stop)
        with pytest.raises(KeyboardInterrupt):
            featurize(runs, frames.topology, Distances(), out=out)
        kept = featurize(runs[1:], frames.topology, Distances(), out=out)
        assert len(kept.trajectories) == 2
        assert set(out.glob("*.npy")) == arrays

    def test_content_decides(self, runs: Any, frames: Any, tmp_path: Path) -> None:
        out = tmp_path / "out"
        first = featurize(runs, frames.topology, Distances(), out=out)
        arrays = {path: path.stat().st_mtime_ns for path in out.glob("*.npy")}
        os.utime(runs[0], ns=(1, 1))
        moved = runs[1].rename(tmp_path / "moved.xtc")
        featurize([runs[0], moved, runs[2]], frames.topology, Distances(), out=out)
        assert {path: path.stat().st_mtime_ns for path in out.glob("*.npy")} == arrays
        frames[30:50].save(str(runs[0]))
        second = featurize([runs[0]], frames.topology, Distances(), out=out)
        assert np.abs(second.trajectories[0] - first.trajectories[0]).max() > 0.01

    def test_a_damaged_array_is_made_anew(self, runs: Any, frames: Any, tmp_path: Path) -> None:
        out = tmp_path / "out"
        data = featurize(runs, frames.topology, Distances(), out=out)
        whole = [np.array(x) for x in data.trajectories]
        first, second, _ = sorted(out.glob("*.npy"))
        cut(first, 10)
        second.unlink()
        with pytest.raises(ValueError, match="with 20 frames, as the manifest says"):
            load_features(out)
        again = featurize(runs, frames.topology, Distances(), out=out).trajectories
        for one, two in zip(again, whole, strict=True):
            np.testing.assert_array_equal(one, two)

    def test_the_same_file_twice(self, runs: Any, frames: Any, tmp_path: Path) -> None:
        copy = shutil.copy(runs[0], tmp_path / "copy.xtc")
        data = featurize(
            [runs[0], copy], frames.topology, Distances(), out=tmp_path / "o", n_jobs=2
        )
        np.testing.assert_array_equal(*data.trajectories)

    @pytest.mark.parametrize(
        ("other", "stride", "message"),
        [
            (Distances(), 2, "another `stride`"),
            (Torsions(), 1, "another `featurizer`"),
            (Distances(min_separation=4), 1, "another `feature_names`"),
            (Distances(periodic=False), 1, "another featurizer, or one of an older version"),
        ],
    )
    def test_other_settings_are_refused(
        self, runs: Any, frames: Any, tmp_path: Path, other: Any, stride: int, message: str
    ) -> None:
        out = tmp_path / "out"
        featurize(runs, frames.topology, Distances(), out=out)
        before = {path: path.read_bytes() for path in out.iterdir()}
        with pytest.raises(ValueError, match=f"same settings, got {message} in"):
            featurize(runs, frames.topology, other, stride=stride, out=out)
        assert {path: path.read_bytes() for path in out.iterdir()} == before

    def test_no_manifest(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"Expected a folder with manifest\.json, got"):
            load_features(tmp_path)
        (tmp_path / "manifest.json").write_text('{"files": 3}')
        with pytest.raises(ValueError, match="as featurize writes it, got another"):
            load_features(tmp_path)


class TestBrokenFiles:
    @pytest.mark.parametrize("extension", EXTENSIONS)
    @pytest.mark.parametrize("missing", [2, 50, 3000])
    @pytest.mark.parametrize("folder_of_features", ["out", None])
    # mdtraj leaves a broken .pdb open, for the garbage collector to find
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    def test_truncated(
        self, folder: Path, frames: Any, extension: str, missing: int, tmp_path: Path,
        folder_of_features: str | None,
    ) -> None:  # fmt: skip
        good, bad = folder / f"run.{extension}", tmp_path / f"bad.{extension}"
        shutil.copy(good, bad)
        cut(bad, missing + 200 * (extension == "pdb"))  # beyond TER, ENDMDL and END
        out = folder_of_features and tmp_path / folder_of_features
        with pytest.raises(UnreadableFileError, match=r"1 of 2 .*bad\.") as caught:
            featurize([bad, good], frames.topology, Distances(), out=out, temperature=[300, 310])
        kept = caught.value.features
        assert kept.paths == kept.trajectories.manifest["sources"] == [str(good)]
        assert kept.temperature == [310.0]
        assert [len(x) for x in kept.trajectories] == [N_FRAMES]

    def test_a_folder_without_the_truncated_file(
        self, runs: Any, frames: Any, tmp_path: Path
    ) -> None:
        cut(runs[1], 50)
        out = tmp_path / "out"
        with pytest.raises(UnreadableFileError, match=r"1 of 3 .*run1\."):
            featurize(runs, frames.topology, Distances(), out=out, chunk=5)
        with pytest.warns(UserWarning, match=r"1 of 3 files have no features here: .*run1\."):
            assert load_features(out).paths == [str(runs[0]), str(runs[2])]
        assert len(list(out.glob("*.npy"))) == 2
        assert not list(out.glob("*.part*"))

    def test_repaired(self, runs: Any, frames: Any, tmp_path: Path) -> None:
        whole = runs[1].read_bytes()
        cut(runs[1], 100)
        with pytest.raises(UnreadableFileError, match="XTC read error"):
            featurize(runs, frames.topology, Distances(), out=tmp_path / "out")
        runs[1].write_bytes(whole)
        data = featurize(runs, frames.topology, Distances(), out=tmp_path / "out")
        assert [len(x) for x in data.trajectories] == [20, 20, 20]
        assert data.paths == [str(path) for path in runs]

    @pytest.mark.parametrize("extension", ["xtc", "trr"])
    def test_garbage(self, folder: Path, frames: Any, extension: str, tmp_path: Path) -> None:
        bad = tmp_path / f"bad.{extension}"
        content = bytearray((folder / f"run.{extension}").read_bytes())
        content[len(content) // 2 : len(content) // 2 + 400] = b"\xff" * 400
        bad.write_bytes(content)
        with pytest.raises(UnreadableFileError, match=r"bad\."):
            featurize(bad, frames.topology, Distances("all"))

    def test_empty(self, frames: Any, tmp_path: Path) -> None:
        bad = tmp_path / "bad.xtc"
        bad.write_bytes(b"")
        with pytest.raises(UnreadableFileError, match=r"bad\.xtc"):
            featurize(bad, frames.topology, Distances())

    def test_uneven_times(self, frames: Any, tmp_path: Path) -> None:
        path = tmp_path / "gap.xtc"
        frames[[*range(10), *range(15, 30)]].save(str(path))
        with pytest.warns(UserWarning, match="not evenly spaced: 12 ps instead of 2 ps before 30"):
            data = featurize(path, frames.topology, Distances(), chunk=10)
        assert data.time_step == 2.0


class TestSentences:
    def fails(
        self, tmp_path: Path, message: str, *args: Any, error: Any = ValueError, **kw: Any
    ) -> None:
        out = tmp_path / "never"
        with pytest.raises(error, match=message):
            featurize(*args, out=kw.pop("out", out), **kw)
        assert not out.exists()

    def test_files(self, runs: Any, frames: Any, tmp_path: Path) -> None:
        top, step = frames.topology, Distances()
        self.fails(tmp_path, "at least one file, got none", [], top, step)
        missing = tmp_path / "no.xtc"
        self.fails(tmp_path, "an existing file, got .*no.xtc", [runs[0], missing], top, step,
                   error=FileNotFoundError)  # fmt: skip
        other = tmp_path / "a.mp4"
        other.write_bytes(b"")
        known = r"ending in \.xtc, \.trr, .*, \.lammpstrj, got .*a\.mp4"
        self.fails(tmp_path, known, [other], top, step)
        few = tmp_path / "few.xtc"
        trajectory_of(topology_of(PEPTIDE[:2])).save(str(few))
        counted = r"Expected 77 atoms, as in the topology, got 14 in .*few\.xtc"
        self.fails(tmp_path, counted, [runs[0], few], top, step)
        pdb = tmp_path / "few.pdb"
        trajectory_of(topology_of(PEPTIDE[:2])).save(str(pdb))
        self.fails(
            tmp_path, r"Expected 77 atoms, .* got 14 in .*few\.pdb", [runs[0], pdb], top, step
        )
        slow = tmp_path / "slow.xtc"
        trajectory_of(top, time_step=5.0).save(str(slow))
        mixed = r"same time between frames in all files, got 2 ps in .*run0.* and 5 ps in .*slow"
        self.fails(tmp_path, mixed, [*runs, slow], top, step)

    def test_topology(self, runs: Any, frames: Any, tmp_path: Path) -> None:
        self.fails(tmp_path, "Expected `topology` .* got None", runs, None, Distances())
        self.fails(tmp_path, "existing file, got .*no.pdb", runs, tmp_path / "no.pdb", Distances(),
                   error=FileNotFoundError)  # fmt: skip
        self.fails(tmp_path, "that names atoms .* got .*run0.xtc", runs, runs[0], Distances())
        self.fails(tmp_path, "`atoms` to select at least one atom", runs, frames.topology,
                   Distances("name XY"))  # fmt: skip

    def test_options(self, runs: Any, frames: Any, tmp_path: Path) -> None:
        args = runs, frames.topology, Distances()
        self.fails(tmp_path, r"one per trajectory \(3\), got 2", *args, temperature=[300, 310])
        self.fails(tmp_path, "`temperature` to be a finite number > 0", *args, temperature=-1)
        self.fails(tmp_path, "`stride` to be an integer >= 1", *args, stride=0)
        self.fails(tmp_path, "`chunk` to be an integer >= 1", *args, chunk=0)
        self.fails(tmp_path, "a featurizer of latflow.featurizers, got int", *args[:2], 3,
                   error=TypeError)  # fmt: skip
        self.fails(tmp_path, "`out` in an existing folder", *args, out=tmp_path / "a" / "b",
                   error=FileNotFoundError)  # fmt: skip
        self.fails(tmp_path, "`out` to be a folder, got the file", *args, out=runs[0],
                   error=NotADirectoryError)  # fmt: skip

    def test_h5_without_its_library(
        self, frames: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "tables", None)
        path = tmp_path / "a.h5"
        path.write_bytes(b"")
        self.fails(tmp_path, r"pip install 'latflow\[h5\]'", path, frames.topology, Contacts(),
                   error=ImportError)  # fmt: skip
