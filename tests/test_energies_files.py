"""Energies and exchanges out of the programs' own files (scripts/make_fixtures.py made them)."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import mdtraj
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

import latflow
from latflow.energies import Energies
from latflow.replica_exchange import demultiplex, read_exchanges

DATA = Path(__file__).parent / "data"
GROMACS, AMBER, OPENMM, LAMMPS = (DATA / name for name in ("gromacs", "amber", "openmm", "lammps"))
LADDER = (300.0, 330.0, 360.0)
# NAMD is not at hand: its log as its manual describes it
NAMD = """Info: NAMD 2.14 for Linux-x86_64-multicore
Info: TIMESTEP               2
Info: LANGEVIN TEMPERATURE   300
ETITLE:      TS           BOND        KINETIC          TOTAL           TEMP      POTENTIAL
ENERGY:       0         1.0000        10.0000        -90.0000       290.0000      -100.0000
ENERGY:     500         1.0000        10.0000        -80.0000       310.0000       -90.0000
"""
REM_LOG = """# Replica Exchange log file
# numexchg is          3
# REMD filenames:
#   remlog= rem.log
#   remtype= rem.type
# Rep#, Velocity Scaling, T, Eptot, Temp0, NewTemp0, Success rate (i,i+1), ResStruct#
# exchange        1
 1     -1.00      0.00    -25.08    300.00    300.00      0.00      -1
 2     -1.00      0.00    -16.21    330.00    330.00      0.00      -1
# exchange        2
 1      1.05    301.00    -25.08    300.00    330.00      2.00      -1
 2      0.95    329.00    -16.21    330.00    300.00      0.00      -1
# exchange        3
 1     -1.00    332.00    -25.08    330.00    330.00      1.00      -1
 2     -1.00    299.00    -16.21    300.00    300.00      0.00      -1
"""
WHOLE = [
    *sorted(GROMACS.glob("*.edr")),
    GROMACS / "energy.xvg",
    OPENMM / "peptide.csv",
    AMBER / "peptide.mdout",
    AMBER / "water.mdout",
    *sorted(LAMMPS.glob("*.log")),
]
WHOLE.remove(LAMMPS / "temper.log")
# bytes flipped, cut, doubled, numbers made huge; then long runs of what patterns look for
DAMAGE = """
import resource, sys, warnings
from pathlib import Path
import numpy as np
from latflow.energies import read_energies

resource.setrlimit(resource.RLIMIT_AS, (2 * 1024**3,) * 2)
warnings.simplefilter("ignore")
whole, folder = Path(sys.argv[1]), Path(sys.argv[2])
bad = folder / ("bad" + whole.suffix)
content, rng, n_read, n_refused = whole.read_bytes(), np.random.default_rng(0), 0, 0

def damaged():
    for k in range(200):
        data, place = bytearray(content), int(rng.integers(len(content)))
        if k % 4 == 0:
            data[place] ^= 1 << int(rng.integers(8))
        elif k % 4 == 1:
            del data[place:]
        elif k % 4 == 2:
            data[place:place] = data[place : place + 500]
        else:
            place -= place % 4
            data[place : place + 4] = bytes([127, 255, 255, 255])
        yield data
    for run in (b"\\n", b" ", b"a", b"0", b"0 ", b'"', b"(", b"Amber ", b"Step ", b" NSTEP =\\n",
                b"fix a a ", b"ENERGY: ", b"- Step \\n"):
        for place in (0, len(content) // 2, len(content)):
            yield content[:place] + run * (100_000 // len(run)) + content[place:]

for data in damaged():
    bad.write_bytes(data)
    try:
        assert np.isfinite(read_energies(bad).potential).all()
        n_read += 1
    except (ValueError, OSError) as error:
        sentence = str(error)
        assert str(bad) in sentence and sentence.endswith("."), sentence
        assert sentence.isprintable() and len(sentence) < 1000, sentence
        n_refused += 1
print(n_read, n_refused)
"""


def energies(temperature: float, n: int = 2000, stated: float | None = None) -> Energies:
    kinetic = np.random.default_rng(0).normal(temperature, 20, n)
    return Energies(np.zeros(n), np.arange(n) * 1.0, None, kinetic, stated, "run.edr", "GROMACS")


class TestRead:
    @pytest.mark.parametrize(
        ("file", "program", "n_rows", "temperature"),
        [
            (GROMACS / "replica0.edr", "GROMACS", 41, None),
            (GROMACS / "water.edr", "GROMACS", 5, None),
            (GROMACS / "energy.xvg", "GROMACS", 41, None),
            (OPENMM / "peptide.csv", "OpenMM", 20, None),
            (AMBER / "peptide.mdout", "AMBER", 21, 300.0),
            (AMBER / "water.mdout", "AMBER", 5, 300.0),
            (LAMMPS / "peptide.log", "LAMMPS", 23, 300.0),
            (LAMMPS / "replica1.log", "LAMMPS", 21, None),
        ],
        ids=lambda value: value.name if isinstance(value, Path) else "",
    )
    def test_every_program(
        self, file: Path, program: str, n_rows: int, temperature: float | None
    ) -> None:
        read = latflow.read_energies(file)
        assert (read.program, read.temperature, read.path) == (program, temperature, str(file))
        assert (
            read.potential.shape == read.time.shape == read.kinetic_temperature.shape == (n_rows,)
        )
        assert (np.diff(read.time) > 0).all()
        assert 150 < read.kinetic_temperature.mean() < 400

    def test_edr_and_xvg_agree(self) -> None:
        binary = latflow.read_energies(GROMACS / "replica0.edr")
        text = latflow.read_energies(GROMACS / "energy.xvg")
        np.testing.assert_allclose(text.potential, binary.potential, atol=1e-5)
        np.testing.assert_allclose(text.kinetic_temperature, binary.kinetic_temperature, atol=1e-5)
        np.testing.assert_allclose(text.time, binary.time, atol=1e-6)

    def test_kilocalories_become_kilojoules(self, tmp_path: Path) -> None:
        first = latflow.read_energies(AMBER / "peptide.mdout").potential[0]
        assert first == pytest.approx(-13.3341 * 4.184)
        (tmp_path / "namd.log").write_text(NAMD)
        read = latflow.read_energies(tmp_path / "namd.log")
        np.testing.assert_allclose(read.potential, [-418.4, -376.56])
        assert read.time.tolist() == [0.0, 1.0]
        assert (read.temperature, read.program) == (300.0, "NAMD")

    def test_the_same_force_field_gives_the_same_energy(self) -> None:
        """LAMMPS' potential energy is what is left of its total one: it writes all three."""
        text = (LAMMPS / "replica0.log").read_text().split("Step Temp PotEng KinEng TotEng")[1]
        _, _, _, kinetic, total = np.array(text.split("\n")[1].split(), float)
        read = latflow.read_energies(LAMMPS / "replica0.log")
        assert read.potential[0] == pytest.approx(4.184 * (total - kinetic), abs=1e-5)

    @pytest.mark.parametrize("units", ["real", "metal", "lj"])
    def test_units_and_styles_of_lammps(self, tmp_path: Path, units: str) -> None:
        head = f"LAMMPS (1 Jan 2020)\nunits {units}\ntimestep 0.5\nrun 10\n"
        one = "Step Temp E_pair E_mol TotEng\n 0 300 -4 1 9\n10 300 -5 1 9\n"
        log = tmp_path / "log.lammps"
        log.write_text(head + one + "Loop time of 1 on 1 procs for 10 steps with 4 atoms\n")
        read = latflow.read_energies(log)
        per = {"real": 4.184, "metal": 96.48533212331, "lj": 4.0}[units]  # lj: per atom in the log
        np.testing.assert_allclose(read.potential, [-3 * per, -4 * per])
        assert read.time[1] == pytest.approx(5.0 * (1e-3 if units == "real" else 1.0))

    def test_what_a_restart_replaced_is_left_out(self, tmp_path: Path) -> None:
        (tmp_path / "namd.log").write_text(NAMD + NAMD.replace("-90.0000\n", "-91.0000\n"))
        read = latflow.read_energies(tmp_path / "namd.log")
        np.testing.assert_allclose(read.potential, [-418.4, -91 * 4.184])

    def test_a_cut_last_line_is_dropped_and_said(self, tmp_path: Path) -> None:
        whole = (OPENMM / "peptide.csv").read_text()
        (tmp_path / "cut.csv").write_text(whole[:-30])
        with pytest.warns(UserWarning, match="last line .* is dropped"):
            assert len(latflow.read_energies(tmp_path / "cut.csv").potential) == 19

    def test_gzip(self, tmp_path: Path) -> None:
        (tmp_path / "mdout.gz").write_bytes(gzip.compress((AMBER / "peptide.mdout").read_bytes()))
        assert len(latflow.read_energies(tmp_path / "mdout.gz").potential) == 21

    def test_other_separators(self, tmp_path: Path) -> None:
        text = (OPENMM / "peptide.csv").read_text().replace(",", "\t")
        (tmp_path / "run.log").write_text(text)
        expected = latflow.read_energies(OPENMM / "peptide.csv").potential
        np.testing.assert_array_equal(
            latflow.read_energies(tmp_path / "run.log").potential, expected
        )


class TestRefuses:
    @pytest.mark.parametrize(
        "file", [GROMACS / "total.xvg", OPENMM / "total.csv"], ids=["xvg", "csv"]
    )
    def test_total_energy_by_name(self, file: Path) -> None:
        with pytest.raises(ValueError, match=r"potential energy in .*Total Energy.*kinetic"):
            latflow.read_energies(file)

    @pytest.mark.parametrize(
        "file",
        [*GROMACS.iterdir(), *AMBER.iterdir(), *OPENMM.iterdir(), *LAMMPS.iterdir()],
        ids=lambda path: f"{path.parent.name}-{path.name}",
    )
    def test_every_file_is_read_or_refused_in_a_sentence(self, file: Path) -> None:
        try:
            latflow.read_energies(file)
        except ValueError as error:
            sentence = str(error)
            assert str(file) in sentence
            assert sentence.endswith(".")
            assert "\n" not in sentence

    @pytest.mark.parametrize(
        "file", [*WHOLE, "namd.log", "mdout.gz"], ids=lambda path: Path(path).name
    )
    def test_damaged_files_are_read_or_refused_in_a_sentence(
        self, file: Path | str, tmp_path: Path
    ) -> None:
        """Neither hangs, nor crashes, nor takes 2 GB: in a process of its own, with limits."""
        (tmp_path / "namd.log").write_text(NAMD)
        (tmp_path / "mdout.gz").write_bytes(gzip.compress((AMBER / "peptide.mdout").read_bytes()))
        run = subprocess.run(
            [sys.executable, "-c", DAMAGE, str(tmp_path / file), str(tmp_path)],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert run.returncode == 0, run.stderr[-2000:]
        n_read, n_refused = map(int, run.stdout.split())
        assert n_read + n_refused == 200 + 3 * 13
        assert n_refused > 10

    def test_a_gzip_that_never_ends(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("latflow.energies.MOST_BYTES", 1000)
        (tmp_path / "mdout.gz").write_bytes(gzip.compress((AMBER / "peptide.mdout").read_bytes()))
        with pytest.raises(ValueError, match=r"at most 1,000 bytes in .*mdout\.gz"):
            latflow.read_energies(tmp_path / "mdout.gz")

    def test_no_such_file(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"file of energies, got .*none\.edr"):
            latflow.read_energies(tmp_path / "none.edr")


class TestAtFrames:
    def test_the_frames_of_the_same_run(self) -> None:
        read = latflow.read_energies(GROMACS / "replica0.edr")
        frames = mdtraj.load(str(GROMACS / "replica0.xtc"), top=str(GROMACS / "peptide.gro"))
        np.testing.assert_array_equal(read.at(frames.time), read.potential)
        np.testing.assert_array_equal(read.at(frames.time[::4]), read.potential[::4])

    def test_says_when_times_do_not_match(self) -> None:
        read = latflow.read_energies(AMBER / "peptide.mdout")
        with pytest.raises(ValueError, match=r"none for 2 of 3 frames \(the first at 0\.03 ps\)"):
            read.at([0.02, 0.03, 0.05])


class TestTemperature:
    def test_the_thermostat_counts_first(self) -> None:
        assert energies(310.0, stated=300.0).thermostat() == 300.0

    def test_the_mean_kinetic_temperature_otherwise(self) -> None:
        with pytest.warns(UserWarning, match="does not say the thermostat's temperature: 300 K"):
            assert energies(300.2).thermostat() == 300.0
        with pytest.raises(ValueError, match=r"as run\.edr does not say it, got a mean kinetic"):
            energies(300.0, n=30).thermostat()

    @pytest.mark.parametrize("temperature", [300.0, 450.0])
    def test_ten_kelvin_are_noticed(self, temperature: float) -> None:
        energies(temperature).check_temperature(temperature)
        for wrong in (temperature - 10, temperature + 10):
            with pytest.warns(UserWarning, match="mean kinetic temperature in run.edr"):
                energies(temperature).check_temperature(wrong)

    def test_another_thermostat_is_noticed(self) -> None:
        with pytest.warns(UserWarning, match="thermostat at 300 K, not at the 310 K"):
            latflow.read_energies(AMBER / "peptide.mdout").check_temperature(310.0)


class TestExchanges:
    def test_gromacs_walkers_are_continuous(self) -> None:
        """Followed by the least distance from frame to frame, walkers are those of the file."""
        runs = [
            mdtraj.load(str(GROMACS / f"replica{k}.trr"), top=str(GROMACS / "peptide.gro"))
            for k in range(3)
        ]
        exchanges = read_exchanges(GROMACS / "replica_index.xvg")
        walkers, temperature = demultiplex([r.xyz for r in runs], runs[0].time, exchanges, LADDER)
        for before, after in pairwise(np.stack(walkers, 1)):
            distance = np.linalg.norm((after[:, None] - before[None]).reshape(3, 3, -1), axis=-1)
            assert linear_sum_assignment(distance)[1].tolist() == [0, 1, 2]
        assert np.array(temperature).shape == (3, 41)
        assert (np.sort(temperature, axis=0) == np.array(LADDER)[:, None]).all()
        order = np.argsort(temperature, axis=0)
        assert len(np.unique(order, axis=1).T) > 3  # there were exchanges

    def test_lammps_temperatures_of_its_walkers(self) -> None:
        """LAMMPS' files are walkers; a walker alone in its file keeps its frames."""
        exchanges = read_exchanges(LAMMPS / "temper.log", interval=0.001)
        steps = np.arange(0, 401, 20)
        frames = [np.full(len(steps), k) for k in range(3)]
        walkers, temperature = demultiplex(frames, steps / 1000, exchanges, LADDER)
        np.testing.assert_array_equal(walkers, frames)
        lines = (LAMMPS / "temper.log").read_text().split("T2\n")[1].splitlines()
        table = np.array([line.split() for line in lines], int)
        after = np.searchsorted(table[:, 0], 390) - 1  # the row that holds at step 390
        expected = np.array(LADDER)[table[after, 1:]]
        np.testing.assert_array_equal(np.array(temperature)[:, -1], expected)

    def test_amber(self, tmp_path: Path) -> None:
        (tmp_path / "rem.log").write_text(REM_LOG)
        exchanges = read_exchanges(tmp_path / "rem.log", interval=1.0)
        _, temperature = demultiplex([np.zeros(3)] * 2, [1.0, 2.0, 3.0], exchanges)
        np.testing.assert_array_equal(temperature, [[300, 330, 330], [330, 300, 300]])
        (tmp_path / "cut.log").write_text(REM_LOG.rpartition(" 2 ")[0])
        assert len(read_exchanges(tmp_path / "cut.log", interval=1.0).time) == 2

    @pytest.mark.parametrize(
        ("name", "text", "match"),
        [
            ("a.xvg", "0 0 1\n1 0 0\n", "every walker once"),
            ("a.xvg", "1 0 1\n0 1 0\n", "ascending times"),
            ("a.xvg", "nothing of the kind\n", "exchanges as GROMACS"),
            ("replica_temp.xvg", "0 0 1\n1 0 1\n", "replica_index.xvg"),
            ("rem.log", REM_LOG, "`interval`, the time between exchanges"),
            ("log", "Step T0 T1\n0 0 1\n", "`interval`, the time step"),
        ],
    )
    def test_refuses(self, tmp_path: Path, name: str, text: str, match: str) -> None:
        (tmp_path / name).write_text(text)
        with pytest.raises(ValueError, match=match):
            read_exchanges(tmp_path / name)

    def test_refuses_other_numbers(self) -> None:
        exchanges = read_exchanges(GROMACS / "replica_index.xvg")
        with pytest.raises(ValueError, match="Expected `temperature`"):
            demultiplex([np.zeros(2)] * 3, [0, 1], exchanges)
        with pytest.raises(ValueError, match="Expected 3 trajectories of 2 frames"):
            demultiplex([np.zeros(2)] * 2, [0, 1], exchanges, LADDER)


def test_columns_that_change_are_refused(tmp_path: Path) -> None:
    file, names = tmp_path / "run.csv", ['"Time (ps)"', '"Potential Energy (kJ/mole)"']
    head, other = "#" + ",".join(names) + "\n", "#" + ",".join(names[::-1]) + "\n"
    file.write_text(head + "1,-5\n2,-6\n" + head + "2,-7\n" + other)  # killed behind a header
    np.testing.assert_array_equal(latflow.read_energies(file).at([1, 2]), [-5, -7])
    file.write_text(head + "1,-5\n2,-6\n" + other + "-7,3\n")
    with pytest.raises(ValueError, match=r"Expected the same columns in all runs in .*run\.csv"):
        latflow.read_energies(file)


def test_steps_of_two_lengths_tell_no_time(tmp_path: Path) -> None:
    text = (LAMMPS / "peptide.log").read_text()
    step = next(line for line in text.splitlines() if line.startswith("timestep"))
    (tmp_path / "log").write_text(f"{text}\n{step}\n")
    assert latflow.read_energies(tmp_path / "log").time is not None
    (tmp_path / "log").write_text(f"{text}\ntimestep 0.125\n")
    energies = latflow.read_energies(tmp_path / "log")
    assert energies.time is None
    assert energies.step is not None


def test_no_fixture_names_the_machine_that_made_it() -> None:
    """Temporary folders and homes of whoever ran the programs."""
    folder = Path(__file__).parent / "data"
    path = re.compile(rb"(?<![\w.])/(?:tmp|home|root|work)/\w")
    named = [f.name for f in folder.rglob("*") if f.is_file() and path.search(f.read_bytes())]
    assert named == []
