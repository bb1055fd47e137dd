"""The command line, called as a user calls it: what it writes, prints and refuses."""

from __future__ import annotations

import re
import shutil
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.utils import Bunch
from structures import flipping, share_of_larger_well

import latflow
from latflow import LaTFEstimator, TemperatureExtrapolator
from latflow.cli import main
from latflow.cli.features import featurizer_of
from latflow.datasets import make_three_hole
from latflow.featurizers import Concatenate, Distances, Torsions, featurize, load_features
from latflow.units import with_error

# so short a fit may say that it has not converged, or found one state only
pytestmark = pytest.mark.filterwarnings("ignore:.*state:UserWarning")

COLD, HOT = 0.8, 1.4
QUICK = (
    "--boltzmann-constant", "1", "--lagtime", "5", "--max-iter", "60", "--bootstraps", "0"
)  # fmt: skip


@pytest.fixture(scope="module")
def simulated() -> list[Bunch]:
    return [make_three_hole(600, t, n_walkers=1, random_state=0) for t in (COLD, HOT)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, simulated: list[Bunch]) -> Path:
    """Return the working folder, with two trajectories and their energies."""
    monkeypatch.chdir(tmp_path)
    for name, data in zip(("cold", "hot"), simulated, strict=True):
        np.save(f"{name}.npy", data.trajectories[0])
        np.save(f"{name}_energy.npy", data.energies[0])
    return tmp_path


def fit(*arguments: str) -> int:
    return main(["fit", *arguments, *QUICK])


def halves() -> None:
    """Write the colder trajectory as two of one temperature."""
    for what in ("", "_energy"):
        for name, part in zip("ab", np.split(np.load(f"cold{what}.npy"), 2), strict=True):
            np.save(f"{name}{what}.npy", part)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must fail; return its sentence after checking that nothing was written."""
    before = sorted(Path().iterdir())
    assert main(list(arguments)) == 2
    assert sorted(Path().iterdir()) == before
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    program, sentence = err.strip().split(": ", 1)
    assert program in ("latflow", f"latflow {(*arguments, '')[0]}")
    assert sentence.endswith(".")
    return sentence


class TestFit:
    def test_two_temperatures_give_an_extrapolator(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert fit("cold.npy", "hot.npy", "--temperature", "0.8", "1.4") == 0
        model = latflow.load("model.latflow")
        assert isinstance(model, TemperatureExtrapolator)
        assert model.temperatures_.tolist() == [COLD, HOT]
        out = capsys.readouterr().out
        for t in (COLD, HOT):
            said = "".join(line for line in out.splitlines() if line.startswith(f"{t:g} "))
            rows = model.state_populations(t).to_numpy()
            assert all(with_error(p, error) in said for p, error in rows)
        assert out.endswith("Saved: model.latflow\n")

    def test_is_what_the_estimators_do(self, folder: Path) -> None:
        fit(
            "cold.npy",
            "hot.npy",
            "--temperature",
            "0.8",
            "1.4",
            "--seed",
            "3",
            "--encoder",
            "linear",
        )
        inner = LaTFEstimator(
            5, encoder="linear", boltzmann_constant=1.0, max_iter=60, random_state=3
        )
        ours = TemperatureExtrapolator(inner, n_bootstraps=0, max_iter=60, random_state=3)
        ours.fit([np.load("cold.npy"), np.load("hot.npy")], temperature=[COLD, HOT])
        theirs = latflow.load("model.latflow")
        np.testing.assert_allclose(theirs.sample(5, 1.0, 0), ours.sample(5, 1.0, 0), rtol=1e-6)

    def test_one_temperature_gives_a_latf_estimator(self, folder: Path) -> None:
        halves()
        assert fit("a.npy", "b.npy", "--temperature", "0.8", "--components", "1") == 0
        model = latflow.load("model.latflow")
        assert isinstance(model, LaTFEstimator)
        assert model.n_components == 1
        assert [len(labels) for labels in model.labels_] == [300, 300]

    def test_one_temperature_with_energies_gives_an_extrapolator(self, folder: Path) -> None:
        halves()
        energies = ["--energy", "a_energy.npy", "b_energy.npy"]
        assert fit("a.npy", "b.npy", "--temperature", "0.8", *energies) == 0
        model = latflow.load("model.latflow")
        assert isinstance(model, TemperatureExtrapolator)
        assert model.support(0.9)["role"].tolist() == ["beyond"]

    @pytest.mark.filterwarnings("always:Trajectories 0 and 1:UserWarning")
    def test_a_copy_of_a_file(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        shutil.copy("cold.npy", "copy.npy")
        assert fit("cold.npy", "copy.npy", "--temperature", "0.8", "1.4") == 0
        assert "Trajectories 0 and 1 hold the same frames: was" in capsys.readouterr().err

    def test_npz_and_output(self, folder: Path) -> None:
        np.savez("alone.npz", anything=np.load("cold.npy"))
        np.savez("named.npz", features=np.load("hot.npy"), time=np.zeros(3))
        arguments = ["alone.npz", "named.npz", "--temperature", "0.8", "1.4", "--output", "m"]
        assert fit(*arguments, "--method", "tilted") == 0
        assert latflow.load("m").method == "tilted"

    def test_mbar_reads_energies(self, folder: Path) -> None:
        energies = ["--energy", "cold_energy.npy", "hot_energy.npy"]
        arguments = ["cold.npy", "hot.npy", "--temperature", "0.8", "1.4", "--method", "mbar"]
        assert fit(*arguments, *energies, "--temperature-range", "0.5", "3") == 0
        model = latflow.load("model.latflow")
        assert model.method == "mbar"
        assert model.sample(2, 2.9).shape == (2, 2)

    @pytest.mark.parametrize("method", ["enthalpy", "tilted"])
    def test_energies_are_read_with_every_method(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, method: str
    ) -> None:
        taken: list[Any] = []

        def learn(self: Any, *_: Any, energy: Any, **__: Any) -> None:
            taken.extend([self.method, *energy])
            raise ValueError("Enough.")

        monkeypatch.setattr(TemperatureExtrapolator, "fit", learn)
        energies = ["--energy", "cold_energy.npy", "hot_energy.npy", "--method", method]
        fit("cold.npy", "hot.npy", "--temperature", "0.8", "1.4", *energies)
        assert taken[0] == method
        np.testing.assert_array_equal(taken[1], np.load("cold_energy.npy"))
        np.testing.assert_array_equal(taken[2], np.load("hot_energy.npy"))

    @pytest.mark.parametrize(("options", "n_bootstraps"), [([], 20), (["--bootstraps", "0"], 0)])
    def test_bootstraps(
        self,
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
        options: list[str],
        n_bootstraps: int,
    ) -> None:
        taken: list[int] = []

        def learn(self: Any, *_: Any, **__: Any) -> None:
            taken.append(self.n_bootstraps)
            raise ValueError("Enough.")

        monkeypatch.setattr(TemperatureExtrapolator, "fit", learn)
        main(["fit", "cold.npy", "hot.npy", "--temperature", "0.8", "1.4", *options])
        assert taken == [n_bootstraps]

    @pytest.mark.filterwarnings("default")
    def test_warnings_are_one_line(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        constant = np.column_stack([np.load("cold.npy"), np.ones(600)])
        np.save("constant.npy", constant)
        assert fit("constant.npy", "--temperature", "0.8") == 0
        lines = capsys.readouterr().err.splitlines()
        assert "latflow: warning: 1 of 3 features are constant" in lines[0]
        assert all(line.startswith("latflow: warning: ") for line in lines)

    @pytest.mark.parametrize("at_terminal", [True, False])
    def test_progress_bar_at_a_terminal(
        self,
        folder: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
        at_terminal: bool,
    ) -> None:
        monkeypatch.setattr(sys.stderr, "isatty", lambda: at_terminal, raising=False)
        assert fit("cold.npy", "--temperature", "0.8") == 0
        assert ("held-out loss" in capsys.readouterr().err) == at_terminal


class TestFitRefuses:
    def refused(self, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
        return refused(capsys, "fit", *arguments)

    @pytest.fixture(autouse=True)
    def bad_files(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            LaTFEstimator, "_start", lambda *_: pytest.fail("fitted before checking")
        )
        good = np.load("cold.npy")
        np.save("flat.npy", good[:, 0])
        np.save("narrow.npy", good[:, :1])
        np.save("words.npy", np.array([["a", "b"]]))
        np.save("objects.npy", np.array([[{}, {}]]), allow_pickle=True)
        np.savez("several.npz", a=good, b=good)
        holed = good.copy()
        holed[[7, 9], 1] = np.nan
        np.save("holed.npy", holed)
        Path("text.npy").write_text("1 2 3")
        Path("empty.npy").write_bytes(b"")
        Path("cut.npy").write_bytes(Path("cold.npy").read_bytes()[:200])
        Path("cut.npz").write_bytes(Path("several.npz").read_bytes()[:200])
        Path("table.csv").write_text("1,2")

    @pytest.mark.parametrize(
        ("file", "sentence"),
        [
            ("none.npy", "Expected an array in none.npy, found no such file."),
            (
                "table.csv",
                "Expected a file that ends in .npy or .npz (features) or in .xtc, .trr, .dcd, .nc, "
                ".h5, .pdb, .pdb.gz, .cif, .gro, .mdcrd, .rst7, .ncrst, .lammpstrj (trajectory), "
                "got table.csv.",
            ),
            (
                "flat.npy",
                "Expected trajectory 1 of shape (n_frames, n_features) in flat.npy, got (600,).",
            ),
            (
                "holed.npy",
                "Expected finite numbers for trajectory 1 in holed.npy, got NaN or infinity in "
                "frame 7 (2 such frames in all).",
            ),
            ("words.npy", "Expected trajectory 1 as real numbers in words.npy, got <U1."),
            (
                "several.npz",
                "Expected one array, or one with the name features, in several.npz, got a, b.",
            ),
            (
                "narrow.npy",
                "Expected 2 features in every trajectory, as in trajectory 0, got 1 in "
                "trajectory 1.",
            ),
        ],
    )
    def test_files(self, capsys: pytest.CaptureFixture[str], file: str, sentence: str) -> None:
        assert self.refused(capsys, "cold.npy", file, "--temperature", "0.8") == sentence

    def test_one_file_twice(self, capsys: pytest.CaptureFixture[str]) -> None:
        Path("link.npy").symlink_to("cold.npy")
        for other in ("cold.npy", "./cold.npy", "link.npy"):
            said = self.refused(capsys, "cold.npy", other, "--temperature", "0.8", "1.4")
            assert said.endswith(f"once, got cold.npy and {other}, which are one file.")
        energies = ["--energy", "cold_energy.npy", "cold_energy.npy"]
        arguments = ["cold.npy", "hot.npy", "--temperature", "0.8", "1.4", *energies]
        assert "every file of energies once" in self.refused(capsys, *arguments)

    @pytest.mark.parametrize("file", ["text.npy", "empty.npy", "cut.npy", "cut.npz", "objects.npy"])
    def test_unreadable(self, capsys: pytest.CaptureFixture[str], file: str) -> None:
        found = self.refused(capsys, file, "--temperature", "0.8")
        assert found.startswith(f"Expected an array of numbers in {file}, got a file that is")

    @pytest.mark.parametrize(
        ("arguments", "match"),
        [
            (["--temperature", "1", "2", "3"], "value, or one per file (2), got 3"),
            (["--temperature", "1", "-2"], "every --temperature to be positive, got -2"),
            (["--temperature", "1", "--method", "enthalpy"], "at least two values"),
            (["--temperature", "1", "2", "--method", "mbar"], "Expected --energy"),
            (
                [
                    "--temperature",
                    "1",
                    "--method",
                    "mbar",
                    "--energy",
                    "cold_energy.npy",
                    "hot_energy.npy",
                ],
                "two values",
            ),
            (["--temperature", "1", "--output", "none/model"], "--output in an existing folder"),
            (["--temperature", "1", "--output", "."], "--output to be a file"),
            (["--temperature", "1", "--components", "0"], "--components to be an integer >= 1"),
            (["--temperature", "1", "--lagtime", "700"], "700"),
        ],
    )
    def test_arguments(
        self, capsys: pytest.CaptureFixture[str], arguments: list[str], match: str
    ) -> None:
        assert match in self.refused(capsys, "cold.npy", "hot.npy", *arguments)

    @pytest.mark.parametrize(
        ("energies", "match"),
        [
            (["cold_energy.npy"], "one file per trajectory (2), got 1"),
            (["cold_energy.npy", "cold.npy"], "energy of trajectory 1 of shape (n_frames,)"),
            (["cold_energy.npy", "short.npy"], "one energy per frame (600) in short.npy, got 3"),
        ],
    )
    def test_energies(
        self, capsys: pytest.CaptureFixture[str], energies: list[str], match: str
    ) -> None:
        np.save("short.npy", np.zeros(3))
        arguments = ["cold.npy", "hot.npy", "--temperature", "1", "2", "--method", "mbar"]
        assert match in self.refused(capsys, *arguments, "--energy", *energies)

    @pytest.mark.parametrize(
        ("option", "choices"),
        [("--method", ("enthalpy", "tilted", "mbar")), ("--encoder", ("linear", "mlp"))],
    )
    def test_unknown_choices_list_the_known(
        self, capsys: pytest.CaptureFixture[str], option: str, choices: tuple[str, ...]
    ) -> None:
        sentence = self.refused(capsys, "cold.npy", "--temperature", "1", option, "magic")
        assert f"Invalid value for '{option}'" in sentence
        assert all(repr(choice) in sentence for choice in ("magic", *choices))

    def test_failed_save_leaves_the_old_model(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: Any) -> None:
            raise OSError(28, "No space left on device", "model.latflow")

        Path("model.latflow").write_text("old")
        monkeypatch.setattr(LaTFEstimator, "fit", lambda self, *_, **__: self)
        monkeypatch.setattr(latflow, "save", full)
        found = self.refused(capsys, "cold.npy", "--temperature", "1")
        assert found == "No space left on device: model.latflow."
        assert Path("model.latflow").read_text() == "old"


@pytest.fixture(scope="module")
def fitted(simulated: list[Bunch]) -> TemperatureExtrapolator:
    inner = LaTFEstimator(5, max_iter=60, boltzmann_constant=1.0, random_state=0)
    model = TemperatureExtrapolator(inner, max_iter=60, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit([data.trajectories[0] for data in simulated], temperature=[COLD, HOT])


class TestSample:
    @pytest.fixture(autouse=True)
    def saved(self, folder: Path, fitted: TemperatureExtrapolator) -> None:
        latflow.save(fitted, "model.latflow")

    def test_writes_the_models_samples(
        self, fitted: TemperatureExtrapolator, capsys: pytest.CaptureFixture[str]
    ) -> None:
        arguments = ["--temperature", "1.1", "--n-samples", "50", "--seed", "4"]
        assert main(["sample", "model.latflow", *arguments, "--output", "s.npy"]) == 0
        found = np.load("s.npy")
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, fitted.sample(50, 1.1, random_state=4), rtol=1e-6)
        assert capsys.readouterr().out == "Saved: s.npy, shape (50, 2), T = 1.1\n"

    def test_default_temperature_is_the_lowest(self, fitted: TemperatureExtrapolator) -> None:
        main(["sample", "model.latflow", "--n-samples", "9", "--output", "s.npy"])
        expected = fitted.sample(9, COLD, random_state=0)
        np.testing.assert_allclose(np.load("s.npy"), expected, rtol=1e-6)

    @pytest.mark.parametrize(
        ("model", "arguments", "match"),
        [
            ("none.latflow", [], "none.latflow"),
            ("cold.npy", [], "cold.npy"),
            ("model.latflow", ["--temperature", "99"], "Expected --temperature from"),
            ("model.latflow", ["--n-samples", "0"], "--n-samples to be an integer >= 1"),
        ],
    )
    def test_refuses(
        self, capsys: pytest.CaptureFixture[str], model: str, arguments: list[str], match: str
    ) -> None:
        assert match in refused(capsys, "sample", model, *arguments, "--output", "s.npy")

    @pytest.mark.parametrize(
        ("output", "match"),
        [
            ("s.csv", "Expected --output to end in .npy, got s.csv."),
            ("none/s.npy", "--output in an existing folder"),
        ],
    )
    def test_output(self, capsys: pytest.CaptureFixture[str], output: str, match: str) -> None:
        assert match in refused(capsys, "sample", "model.latflow", "--output", output)


@pytest.fixture(scope="module")
def peptide_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with cold.xtc, hot.xtc and top.pdb of a peptide with two states."""
    place = tmp_path_factory.mktemp("peptide")
    for name, temperature, seed in (("cold", 300, 1), ("hot", 450, 2)):
        frames = flipping(temperature, 3000, seed)
        frames.save(str(place / f"{name}.xtc"))
    frames[0].save(str(place / "top.pdb"))
    return place


@pytest.fixture
def peptide(peptide_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working folder, with the peptide's files."""
    for file in peptide_files.iterdir():
        (tmp_path / file.name).symlink_to(file)
    monkeypatch.chdir(tmp_path)
    return tmp_path


FILES = ("cold.xtc", "hot.xtc")
SHORT = ("--lagtime", "5", "--max-iter", "100", "--bootstraps", "0")


def page_of(path: str) -> str:
    page = Path(path).read_text(encoding="utf-8")
    assert "http://" not in page
    return page


class TestFromTrajectoryFiles:
    def test_to_populations_at_an_unseen_temperature_in_one_command(
        self, peptide: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        arguments = ["--trajectory", *FILES, "--temperature", "300", "450", "--topology", "top.pdb"]
        more = ["--at", "375", "--lagtime", "5", "--save", "m.latflow", "--output", "r.html"]
        assert main(["report", *arguments, *more]) == 0
        out = capsys.readouterr().out
        assert "375  between" in out
        assert out.endswith("Report: r.html\n")
        page = page_of("r.html")
        assert "between" in page
        assert '"files":{"0":"cold.xtc","1":"hot.xtc"}' in page  # where a click finds structures
        assert '"elements":["N","C"' in page
        model = latflow.load("m.latflow")
        assert model.estimator_.n_states_ == 2
        found = model.state_populations(375).iloc[0]
        assert abs(found["population"] - share_of_larger_well(375)) < 3 * found["standard_error"]
        assert found["standard_error"] < 0.06

    def test_fit_is_what_featurize_and_the_estimators_do(self, peptide: Path) -> None:
        options = [
            "--topology",
            "top.pdb",
            "--stride",
            "2",
            "--features",
            "torsions:angles=psi,phi",
        ]
        assert main(["fit", *FILES, "--temperature", "300", "450", *options, *SHORT]) == 0
        data = featurize(FILES, "top.pdb", Torsions(("psi", "phi")), stride=2)
        ours = TemperatureExtrapolator(
            LaTFEstimator(5, max_iter=100, random_state=0),
            n_bootstraps=0,
            max_iter=100,
            random_state=0,
        ).fit(data.trajectories, temperature=[300, 450])
        theirs = latflow.load("model.latflow")
        np.testing.assert_allclose(theirs.sample(5, 350, 0), ours.sample(5, 350, 0), rtol=1e-6)

    def test_options_may_stand_before_files_and_beside_each(self, peptide: Path) -> None:
        one = ["--trajectory", "cold.xtc", "--temperature", "300"]
        other = ["--trajectory", "hot.xtc", "--temperature", "450"]
        assert main(["fit", "--topology", "top.pdb", *SHORT, *one, *other]) == 0
        first = latflow.load("model.latflow")
        assert main(["fit", "--topology=top.pdb", *SHORT, "--temperature=300", *FILES,
                     "--temperature=450"]) == 0  # fmt: skip
        np.testing.assert_array_equal(latflow.load("model.latflow").z_, first.z_)

    def test_featurize_writes_a_folder_that_fit_reads(
        self, peptide: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        options = ["--topology", "top.pdb", "--temperature", "300", "450", "--output", "f"]
        chosen = ["--features", "torsions", "distances:atoms=name CA,name N:min_separation=1"]
        assert main(["featurize", *FILES, *options, *chosen, "--stride", "3"]) == 0
        out = capsys.readouterr().out
        assert out == "Saved: f, 2 trajectories, 2000 frames, 14 features\n"
        data = load_features("f")
        both = Concatenate([Torsions(), Distances(("name CA", "name N"), min_separation=1)])
        expected = featurize(FILES, "top.pdb", both, stride=3)
        np.testing.assert_array_equal(data.trajectories[1], expected.trajectories[1])
        assert main(["fit", "f", *SHORT]) == 0
        assert latflow.load("model.latflow").temperatures_.tolist() == [300, 450]

    @pytest.mark.parametrize(
        ("arguments", "match"),
        [
            (["cold.xtc"], "Expected --topology, a structure file such as a .pdb, as cold.xtc"),
            (["cold.xyz", "--topology", "top.pdb"], ".npz (features) or in .xtc, .trr, .dcd"),
            (["cold.xtc", "cold.npy", "--topology", "top.pdb"], "trajectory files or arrays"),
            (["a.npy", "--topology", "top.pdb"], "--topology with trajectory files only"),
            (["none.xtc", "--topology", "top.pdb"], "an existing file, got none.xtc"),
            (["cold.xtc", "--topology", "none.pdb"], "an existing file, got none.pdb"),
            ([*FILES, "--topology", "top.pdb", "--temperature", "1", "2", "3"], "per file (2)"),
            (["cold.xtc", "--topology", "top.pdb", "--stride", "0"], "--stride of at least 1"),
            (["."], "a folder with manifest.json"),
        ],
    )
    def test_refuses(
        self, peptide: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], match: str
    ) -> None:
        assert match in refused(capsys, "fit", *arguments, "--temperature", "300")

    @pytest.mark.parametrize(
        ("features", "match"),
        [
            ("torsion", "of torsions, distances, contacts, coordination, positions, g-vectors"),
            ("torsions:angle=phi", "options of torsions as NAME=VALUE (angles, atoms, periodic)"),
            ("torsions:angles", "options of torsions as NAME=VALUE"),
            ("torsions:angles=phy", "phi, psi, omega"),
            ("coordination", "coordination:r0=VALUE"),
            ("coordination:r0=far", "`r0` to be a finite number"),
            ("positions:reference=x", "(atoms, align, periodic)"),
        ],
    )
    @pytest.mark.parametrize("command", ["fit", "featurize"])
    def test_features(
        self, peptide: Path, capsys: pytest.CaptureFixture[str], features: str, match: str,
        command: str,
    ) -> None:  # fmt: skip
        arguments = ["--temperature", "300", "--topology", "top.pdb", "--features", features]
        assert match in refused(capsys, command, "cold.xtc", *arguments)

    def test_values_of_feature_options(self) -> None:
        given = featurizer_of(["contacts:r0=0.8:exponent=4:periodic=false:atoms=name CA"])
        expected = {"r0": 0.8, "exponent": 4, "periodic": False, "atoms": "name CA"}
        assert {k: v for k, v in given.get_params().items() if k in expected} == expected


class TestConfig:
    def write(self, text: str) -> None:
        Path("run.toml").write_text(text, encoding="utf-8")

    def test_sets_options_and_the_command_line_wins(self, folder: Path) -> None:
        self.write(
            'trajectory = ["cold.npy", "hot.npy"]\nlagtime = 9\nmax_iter = 60\nseed = 3\n'
            "[fit]\nlagtime = 5\ntemperature = [0.8, 1.4]\nboltzmann_constant = 1\n"
            'encoder = "linear"\n'
            '[sample]\nn-samples = 7\noutput = "s.npy"\n'
        )
        assert main(["fit", "--config", "run.toml", "--seed", "4"]) == 0
        model = latflow.load("model.latflow")
        assert (model.random_state, model.estimator_.lagtime) == (4, 5)
        assert model.estimator_.encoder == "linear"
        assert model.temperatures_.tolist() == [COLD, HOT]
        assert main(["fit", "hot.npy", "--config", "run.toml", "--temperature", "1.4"]) == 0
        model = latflow.load("model.latflow")
        assert isinstance(model, LaTFEstimator)
        assert [len(labels) for labels in model.labels_] == [600]
        assert main(["sample", "model.latflow", "--config", "run.toml"]) == 0
        assert np.load("s.npy").shape == (7, 2)

    def test_temperatures_of_trajectories_are_not_those_of_samples(
        self, folder: Path, fitted: TemperatureExtrapolator, capsys: pytest.CaptureFixture[str]
    ) -> None:
        latflow.save(fitted, "model.latflow")
        shared = 'temperature = [0.8, 1.4]\nlagtime = 5\n[sample]\noutput = "s.npy"\n'
        for own, drawn_at in (("", 0.8), ("temperature = 1.1", 1.1)):
            self.write(shared + own)
            assert main(["sample", "model.latflow", "--config", "run.toml"]) == 0
            assert f"T = {drawn_at}" in capsys.readouterr().out
            expected = fitted.sample(10_000, drawn_at, random_state=0)
            np.testing.assert_array_equal(np.load("s.npy"), expected)
        self.write("temperature = 1.4\n" + shared.split("\n", 1)[1])
        assert main(["sample", "model.latflow", "--config", "run.toml"]) == 0
        assert "T = 1.4" in capsys.readouterr().out
        self.write(shared + "temperature = [0.8, 1.4]")
        message = refused(capsys, "sample", "model.latflow", "--config", "run.toml")
        assert "one value for temperature in run.toml, got [0.8, 1.4]" in message

    @pytest.mark.parametrize(
        ("text", "match"),
        [
            ('output = "model.latflow"', "Expected output in a table named after its command, as"),
            ("lagtme = 3", "lagtime"),
            (
                "[fitt]",
                "tables named after commands (demo, doctor, featurize, fit, sample, report, "
                "export)",
            ),
            ("[fit]\nn_samples = 3", "options of latflow fit (trajectory, temperature"),
            ("x = ", "Expected TOML in run.toml"),
            ("lagtime = [1, 2]", "one value for lagtime in run.toml, got [1, 2]"),
            ("lagtime = true", "numbers or texts for lagtime"),
            ("temperature = []", "numbers or texts for temperature"),
            ("temperature = [[300]]", "numbers or texts for temperature"),
        ],
    )
    def test_refuses(
        self, folder: Path, capsys: pytest.CaptureFixture[str], text: str, match: str
    ) -> None:
        self.write(text)
        assert match in refused(capsys, "fit", "cold.npy", "--config", "run.toml")

    def test_flags_are_true_or_false(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def fail(**options: Any) -> None:
            raise ValueError(f"Asked for {options['n_frames']} frames.")

        monkeypatch.setattr(latflow.report, "run_demo", fail)
        sentences = []
        for value in ("true", "false", "1"):
            self.write(f"[demo]\nquick = {value}")
            sentences.append(refused(capsys, "demo", "--config", "run.toml"))
        assert sentences == [
            "Asked for 400 frames.",
            "Asked for 50000 frames.",
            "Expected true or false for quick in run.toml, got 1.",
        ]

    def test_no_file(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert "Expected a TOML file at x.toml" in refused(capsys, "fit", "--config", "x.toml")

    @pytest.mark.parametrize(
        ("text", "match"),
        [
            ("lagtime = 2.5", "Invalid value for '--lagtime'"),
            ('encoder = "cnn"', "linear"),
            ("temperature_range = [1]", "Invalid value for '--temperature-range'"),
        ],
    )
    def test_values_are_checked_like_the_command_lines(
        self, folder: Path, capsys: pytest.CaptureFixture[str], text: str, match: str
    ) -> None:
        self.write(text)
        assert match in refused(capsys, "fit", "cold.npy", "--config", "run.toml")


class TestReport:
    @pytest.fixture(autouse=True)
    def saved(self, folder: Path, fitted: TemperatureExtrapolator) -> None:
        latflow.save(fitted, "model.latflow")

    @pytest.mark.parametrize("option", ["--at", "--temperature"])
    def test_of_a_saved_model(
        self, fitted: TemperatureExtrapolator, capsys: pytest.CaptureFixture[str], option: str
    ) -> None:
        assert main(["report", "model.latflow", option, "1.1", "1.6", "--output", "r.html"]) == 0
        page = page_of("r.html")
        for t, role in ((1.1, "between"), (1.6, "beyond")):
            assert f'<td class="number">{t:g}</td><td class="text">{role}</td>' in page
            rows = fitted.state_populations(t)
            for p, error in zip(rows["population"], rows["standard_error"], strict=True):
                assert with_error(p, error) in page
        figures = [
            s for s in latflow.report.model_sections(fitted, [1.1, 1.6]) if s.figure is not None
        ]
        assert page.count("<img") == len(figures) >= 5
        out = capsys.readouterr().out
        assert "beyond" in out
        assert out.endswith("Report: r.html\n")

    def test_of_a_fit_that_reaches_what_is_asked_for(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        files = ["--trajectory", "cold.npy", "hot.npy", "--temperature", "0.8", "1.4"]
        assert main(["report", *files, "--at", "0.3", "3", *QUICK, "--save", "m"]) == 0
        assert latflow.load("m").temperature_range == (0.3, 3.0)
        assert "3  beyond" in capsys.readouterr().out

    def test_of_one_temperature(self, capsys: pytest.CaptureFixture[str]) -> None:
        arguments = ["--trajectory", "cold.npy", "--temperature", "0.8", "--at", "0.8", *QUICK]
        assert main(["report", *arguments]) == 0
        assert "0.8  simulated" in capsys.readouterr().out
        assert page_of("report.html").count("<img") == 2

    def test_a_model_named_by_hand_is_not_saved_again_for_a_config(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        Path("run.toml").write_text('[report]\ntrajectory = ["cold.npy"]\nsave = "m"\n')
        assert main(["report", "model.latflow", "--config", "run.toml"]) == 0
        assert not Path("m").exists()

    def test_far_away_is_called_unsupported(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["report", "model.latflow", "--at", "0.1"]) == 0
        assert capsys.readouterr().out.splitlines()[-2].rstrip().endswith("unsupported")
        assert "At 0.1 too few training frames" in page_of("report.html")

    def test_default_temperatures(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["report", "model.latflow"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.split()[0] for line in lines[2:5]] == ["0.8", "1.1", "1.4"]
        assert Path("report.html").is_file()

    def test_a_model_named_by_hand_passes_over_the_files_of_a_config(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        text = 'trajectory = ["cold.npy"]\n[report]\ntemperature = [0.8]\noutput = "c.html"'
        Path("run.toml").write_text(text)
        assert main(["report", "model.latflow", "--config", "run.toml"]) == 0
        assert "1.1" in capsys.readouterr().out
        assert Path("c.html").is_file()

    @pytest.mark.parametrize(
        ("arguments", "match"),
        [
            (["model.latflow", "--at", "-1"], "Expected --at to be a finite number > 0"),
            (["none.latflow"], "none.latflow"),
            (["cold.npy"], "trajectories go behind --trajectory"),
            (["model.latflow", "--output", "none/r.html"], "--output in an existing folder"),
            (["model.latflow", "--save", "m"], "--save with --trajectory"),
            (
                ["--trajectory", "cold.npy", "--temperature", "1", "--at", "2"],
                "Expected --at 1, the simulated temperature, got 2",
            ),
        ],
    )
    def test_refuses(
        self, capsys: pytest.CaptureFixture[str], arguments: list[str], match: str
    ) -> None:
        assert match in refused(capsys, "report", *arguments)


class TestDemo:
    def test_passes_its_options_on_and_prints_the_table(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        asked: dict[str, Any] = {}
        table = pd.DataFrame({"T": [0.3], "role": ["predicted"], "JS enthalpy": [0.0047]})

        def run(**options: Any) -> Any:
            asked.update(options)
            options["report"]("simulated T = 0.3")
            return SimpleNamespace(table=table, timings={"total": 3.2}, path="d.html")

        monkeypatch.setattr(latflow.report, "run_demo", run)
        options = ["--output", "d.html", "--frames", "70", "--seed", "5", "--jobs", "3"]
        assert main(["demo", *options]) == 0
        asked.pop("report")
        assert asked == {
            "n_frames": 70, "n_reference": 70, "output": "d.html", "n_jobs": 3, "random_state": 5
        }  # fmt: skip
        out = capsys.readouterr().out.splitlines()
        assert out[0] == "simulated T = 0.3"
        assert out[4].split() == ["0.3", "predicted", "0.0047"]
        assert out[-1] == "Report: d.html (3 s in all)"

    def test_quick_is_a_few_seconds(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        asked: dict[str, Any] = {}

        def run(**options: Any) -> None:
            asked.update(options)
            raise ValueError("Enough.")

        monkeypatch.setattr(latflow.report, "run_demo", run)
        assert main(["demo", "--quick", "--output", "x.html"]) == 2
        assert asked["n_frames"] == asked["n_reference"] <= 1000
        assert asked["max_iter"] <= 100
        assert len(asked["temperatures"]) <= 3

    def test_output_is_checked_first(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert "--output in an existing folder" in refused(capsys, "demo", "--output", "none/d")


class TestProgram:
    def test_version(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["--version"]) == 0
        assert capsys.readouterr().out == f"latflow {latflow.__version__}\n"

    @pytest.mark.parametrize("option", ["-h", "--help"])
    @pytest.mark.parametrize("command", ["demo", "featurize", "fit", "sample", "report", "export"])
    def test_help_of_every_command(
        self, capsys: pytest.CaptureFixture[str], command: str, option: str
    ) -> None:
        assert main([command, option]) == 0
        out = re.sub("\x1b\\[[0-9;]*m", "", capsys.readouterr().out)  # colours
        assert out.strip().startswith(f"Usage: latflow {command}")
        assert "default: " in out

    @pytest.mark.parametrize(
        ("arguments", "existing"),
        [
            ([], "demo, doctor, featurize, fit, sample, report, export"),
            (["train"], "demo"),
            (["fit", "a.npy"], "--temperature"),
            (["fit", "--temperature", "300"], "FILE"),
            (["featurize"], "FILE"),
            (["report"], "MODEL or --trajectory"),
            (["report", "m", "--trajectory", "a.xtc"], "MODEL or --trajectory"),
            (["sample", "m"], "--output"),
            (["demo", "--fast"], "--output, --frames, --seed, --jobs"),
            (["fit", "a.npy", "--lagtme", "3"], "--lagtime"),
            (["fit", "a.npy", "--temperature"], "--temperature"),
            (["fit", "a.npy", "--lagtime", "x"], "--lagtime"),
            (["sample", "m", "n", "--output", "s.npy"], "(n)"),
        ],
    )
    def test_usage_errors_are_one_line_that_says_what_exists(
        self, folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], existing: str
    ) -> None:
        assert existing in refused(capsys, *arguments)

    @pytest.mark.parametrize(
        "error", [ValueError, OSError, ImportError, TypeError, FileNotFoundError]
    )
    def test_known_errors_are_one_sentence(
        self,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        error: type[Exception],
    ) -> None:
        def fail(**_: Any) -> None:
            raise error("What went wrong.")

        monkeypatch.setattr(latflow.report, "run_demo", fail)
        assert main(["demo"]) == 2
        assert capsys.readouterr() == ("", "latflow: What went wrong.\n")

    def test_a_bug_is_not_hidden(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(latflow.report, "run_demo", lambda **_: {}["x"])
        with pytest.raises(KeyError):
            main(["demo"])
