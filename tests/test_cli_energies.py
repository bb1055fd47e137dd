"""``--energy`` with the programs' own files: energies on the frames' times, and temperatures."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import pytest

import latflow
from latflow import TemperatureExtrapolator
from latflow.cli import main
from latflow.featurizers.readers import times_of

DATA = Path(__file__).parent / "data"
GROMACS, AMBER, OPENMM, LAMMPS = (DATA / name for name in ("gromacs", "amber", "openmm", "lammps"))
PDB = OPENMM / "peptide.pdb"
COLD, HOT = (GROMACS / f"replica{k}.xtc" for k in (0, 2))
LOGS = [GROMACS / "replica0.edr", GROMACS / "replica2.edr"]

# what main prints instead
pytestmark = pytest.mark.filterwarnings(
    "always:.*taken for the frames:UserWarning",
    "always:.*that were named:UserWarning",
    "always:.*(at the same time|evenly spaced):UserWarning",
)


@pytest.fixture
def taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return what fit is given, instead of fitting."""
    monkeypatch.chdir(tmp_path)
    arguments: list[Any] = []

    def fit(self: Any, X: Any, temperature: Any = None, energy: Any = None) -> None:
        arguments.extend([X, temperature, energy])
        raise ValueError("This is as far as it goes.")

    monkeypatch.setattr(TemperatureExtrapolator, "fit", fit)
    return arguments


def fit(*arguments: object) -> int:
    return main(["fit", *map(str, arguments), "--max-iter", "40", "--bootstraps", "0"])


@pytest.mark.parametrize("stride", [1, 3])
def test_gromacs(taken: list[Any], stride: int, capsys: pytest.CaptureFixture[str]) -> None:
    named = ["--temperature", 300, 360, "--topology", PDB, "--stride", stride]
    fit(COLD, HOT, "--energy", *LOGS, *named)
    X, temperature, energy = taken
    assert temperature == [300, 360]
    assert "warning" not in capsys.readouterr().err
    for k, log in enumerate(LOGS):
        assert len(X[k]) == len(energy[k])
        np.testing.assert_array_equal(energy[k], latflow.read_energies(log).potential[::stride])


def test_amber_says_the_temperature_and_begins_before_the_first_frame(taken: list[Any]) -> None:
    fit(AMBER / "peptide.nc", "--topology", AMBER / "peptide.prmtop", "--energy",
        AMBER / "peptide.mdout")  # fmt: skip
    _, temperature, (energy,) = taken
    assert temperature == [300]
    read = latflow.read_energies(AMBER / "peptide.mdout")
    np.testing.assert_array_equal(energy, read.potential[read.time > 0.01])


def test_without_times_energies_are_taken_one_by_one(
    taken: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    known = ["--topology", PDB, "--temperature", "300", "--energy"]
    fit(OPENMM / "peptide.dcd", *known, OPENMM / "peptide.csv")
    assert "peptide.csv are taken for the frames one by one, as" in capsys.readouterr().err
    np.testing.assert_array_equal(
        taken[2][0], latflow.read_energies(OPENMM / "peptide.csv").potential
    )
    fit(OPENMM / "peptide.dcd", *known, AMBER / "peptide.mdout")
    err = capsys.readouterr().err
    assert "Expected one energy per frame (20 times --stride 1) in" in err
    assert "peptide.dcd has no times, got 21: leave out those without" in err


def test_a_folder_of_features_knows_its_files(taken: list[Any]) -> None:
    options = ["--topology", str(PDB), "--stride", "2", "--output", "features"]
    assert main(["featurize", str(COLD), str(HOT), *options]) == 0
    fit("features", "--temperature", 300, 360, "--energy", *LOGS)
    np.testing.assert_array_equal(taken[2][1], latflow.read_energies(LOGS[1]).potential[::2])


def test_times_that_do_not_match(capsys: pytest.CaptureFixture[str]) -> None:
    named = ["--temperature", 300, "--topology", PDB, "--energy"]
    assert fit(COLD, *named, AMBER / "peptide.mdout") == 2
    sentence = capsys.readouterr().err.splitlines()[-1]
    assert "peptide.mdout, got none for 20 of 41 frames (the first at 0.01 ps)" in sentence
    assert sentence.endswith(
        "from 0 to 0.4 ps every 0.01 ps, energies from 0 to 0.4 ps every 0.02 ps."
    )


def test_a_temperature_that_no_file_knows(capsys: pytest.CaptureFixture[str]) -> None:
    assert fit(COLD, "--topology", PDB, "--energy", LOGS[0]) == 2
    assert "as " + str(LOGS[0]) + " does not say it" in capsys.readouterr().err


def test_swapped_temperatures(taken: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    fit(COLD, HOT, "--energy", *LOGS, "--topology", PDB, "--temperature", 360, 300)
    said = (
        r"mean kinetic temperature in .*replica0\.edr is 302 ± 11 K, not the 360 K that were named"
    )
    assert re.search(said, capsys.readouterr().err)


def test_another_thermostat(taken: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    fit(AMBER / "peptide.nc", "--topology", AMBER / "peptide.prmtop", "--energy",
        AMBER / "peptide.mdout", "--temperature", 310)  # fmt: skip
    assert "is of a thermostat at 300 K, not at the 310 K" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:.*state:UserWarning")
def test_a_whole_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["--topology", AMBER / "peptide.prmtop", "--energy", AMBER / "peptide.mdout"]
    assert fit(AMBER / "peptide.nc", *arguments) == 0
    model = latflow.load("model.latflow")
    assert isinstance(model, TemperatureExtrapolator)
    assert model.temperatures_.tolist() == [300]


@pytest.mark.parametrize("suffix", [".xtc", ".trr", ".nc", ".h5"])
def test_times_of_every_format_that_has_them(suffix: str, tmp_path: Path) -> None:
    frames = mdtraj.load(str(COLD), top=str(PDB))
    frames.time = np.arange(41) * 2.5 + 100
    frames.save(str(tmp_path / f"a{suffix}"))
    times = times_of(tmp_path / f"a{suffix}", 4)
    assert times is not None
    np.testing.assert_allclose(times, frames.time[::4], rtol=1e-6)
    assert times_of(OPENMM / "peptide.dcd") is None


@pytest.mark.parametrize(
    ("stride", "taken_of"),
    [(1, [*range(21), *range(23, 44)]), (2, [*range(0, 21, 2), *range(24, 44, 2)])],
)
@pytest.mark.parametrize("partial", [[], ["--partial"]])
def test_some_frames_repeat_and_others_share_a_time(
    stride: int, taken_of: list[int], partial: list[str], taken: list[Any], tmp_path: Path
) -> None:
    frames = mdtraj.load(str(COLD), top=str(PDB))[np.r_[0:10, 9:20, 19, 19:41]]
    frames.xyz[10] += 0.01  # another frame at the same time; 21 and 22 repeat 20
    frames.save(str(tmp_path / "joined.xtc"))
    named = ["--temperature", 300, "--topology", PDB, "--stride", stride, *partial]
    fit(tmp_path / "joined.xtc", "--energy", LOGS[0], *named)
    (features,), _, (energy,) = taken
    assert len(features) == len(taken_of)
    log = latflow.read_energies(LOGS[0])
    np.testing.assert_array_equal(energy, log.at(frames.time[taken_of]))


def test_times_that_are_all_the_same_are_none(
    taken: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = mdtraj.load(str(COLD), top=str(PDB))
    frames.time = np.zeros(41)
    frames.save(str(tmp_path / "converted.xtc"))
    named = ["--temperature", 300, "--topology", PDB, "--energy", LOGS[0]]
    fit(tmp_path / "converted.xtc", *named)
    assert "one by one, as " in capsys.readouterr().err
    np.testing.assert_array_equal(taken[2][0], latflow.read_energies(LOGS[0]).potential)


def test_a_cut_file_is_told_with_the_option_that_takes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cut.xtc").write_bytes(COLD.read_bytes()[:5001])
    assert fit(tmp_path / "cut.xtc", "--topology", PDB, "--temperature", 300) == 2
    err = capsys.readouterr().err
    assert "read to their end (--partial takes those frames that can): " in err
    assert "--features" not in err


def test_times_of_a_damaged_file(tmp_path: Path) -> None:
    (tmp_path / "a.xtc").write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match=r"Expected times of frames in .*a\.xtc, got "):
        times_of(tmp_path / "a.xtc")
