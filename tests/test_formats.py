"""Files of GROMACS, AMBER, OpenMM and LAMMPS themselves: each format of the help is read."""

from __future__ import annotations

import gzip
import os
import shutil
import struct
import subprocess
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import fit_quietly, tiny_latf
from structures import PEPTIDE, topology_of, trajectory_of

from latflow.cli import main
from latflow.featurizers import (
    Distances,
    Torsions,
    UnreadableFileError,
    featurize,
    formats,
    load_features,
)
from latflow.featurizers.readers import read_topology
from latflow.structures import Structures

# mdtraj leaves broken files open, for the garbage collector to find
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
]

DATA = Path(__file__).parent / "data"
GRO, PRMTOP = DATA / "gromacs" / "peptide.gro", DATA / "amber" / "peptide.prmtop"
PDB = DATA / "openmm" / "peptide.pdb"
# file, topology, frames, time between them
FILES: dict[str, tuple[Path, Path | None, int, float | None]] = {
    ".xtc": (DATA / "gromacs" / "replica0.xtc", GRO, 41, 0.01),
    ".trr": (DATA / "gromacs" / "replica0.trr", GRO, 41, 0.01),
    ".gro": (GRO, None, 1, None),
    ".dcd": (DATA / "openmm" / "peptide.dcd", PDB, 20, 0.04),
    ".pdb": (PDB, None, 4, None),
    ".cif": (DATA / "openmm" / "peptide.cif", None, 4, None),
    ".nc": (DATA / "amber" / "peptide.nc", PRMTOP, 20, 0.02),
    ".mdcrd": (DATA / "amber" / "peptide.mdcrd", PRMTOP, 20, None),
    ".rst7": (DATA / "amber" / "peptide.rst7", PRMTOP, 1, None),
    ".ncrst": (DATA / "amber" / "peptide.ncrst", PRMTOP, 1, None),
    ".lammpstrj": (DATA / "lammps" / "peptide.lammpstrj", PRMTOP, 23, None),
}
STREAMED = (".xtc", ".trr", ".dcd", ".nc", ".mdcrd", ".lammpstrj")


def inside(file: Path) -> Any:
    """Return phi and psi of a file, and check that they are angles of a peptide."""
    values = featurize(file, FILES[formats.format_of(file)][1], Torsions()).trajectories[0]
    np.testing.assert_allclose(values[:, 0] ** 2 + values[:, 1] ** 2, 1, atol=1e-5)
    return values


class TestFilesOfPrograms:
    def test_every_format_of_the_help_has_a_file(self) -> None:
        made_here = {".h5", ".pdb.gz"}  # mdtraj's own, and the .pdb compressed
        assert FILES.keys() | made_here == set(formats.EXTENSIONS)

    @pytest.mark.parametrize("kind", FILES)
    def test_read(self, kind: str) -> None:
        file, topology, n_frames, time_step = FILES[kind]
        data = featurize(file, topology, Torsions())
        assert data.trajectories[0].shape == (n_frames, 4)
        assert data.time_step == (time_step and pytest.approx(time_step, rel=1e-3))
        assert {name.split("_")[2] for name in data.feature_names} == {"ALA2"}
        bond = featurize(file, topology, Distances([[4, 6]])).trajectories[0]
        assert np.abs(bond - 0.135).max() < 0.02  # C of ACE and N of ALA

    @pytest.mark.parametrize("kind", FILES)
    def test_upper_case_and_other_suffixes(self, kind: str, tmp_path: Path) -> None:
        expected = inside(FILES[kind][0])
        names = [kind.upper(), *(alias for alias, name in formats.ALIASES.items() if name == kind)]
        for name in names:
            if name not in formats.ALIASES or not name.endswith(".gz"):
                file = Path(shutil.copy(FILES[kind][0], tmp_path / f"RUN{name}"))
                np.testing.assert_array_equal(inside(file), expected)

    def test_compressed(self, tmp_path: Path) -> None:
        file = tmp_path / "run.pdb.gz"
        file.write_bytes(gzip.compress(PDB.read_bytes()))
        np.testing.assert_array_equal(
            featurize(file, None, Torsions()).trajectories[0], inside(PDB)
        )

    def test_netcdf_under_the_names_of_texts(self, tmp_path: Path) -> None:
        for kind, name in ((".nc", "run.mdcrd"), (".ncrst", "run.rst7")):
            file = Path(shutil.copy(FILES[kind][0], tmp_path / name))
            data = featurize(file, PRMTOP, Torsions())
            np.testing.assert_array_equal(data.trajectories[0], inside(FILES[kind][0]))

    @pytest.mark.parametrize("kind", STREAMED)
    def test_strides_and_chunks(self, kind: str) -> None:
        file, topology, _, _ = FILES[kind]
        expected = inside(file)[::3]
        data = featurize(file, topology, Torsions(), stride=3, chunk=2)
        np.testing.assert_allclose(data.trajectories[0], expected, atol=1e-6)

    def test_topologies(self, tmp_path: Path) -> None:
        xtc = FILES[".xtc"][0]
        for file in (GRO, PDB, DATA / "openmm" / "peptide.cif"):
            for name in (file.name, file.name.upper()):
                copy = Path(shutil.copy(file, tmp_path / name))
                residues = read_topology(copy, xtc).topology.residues
                assert [str(r) for r in residues] == ["ACE1", "ALA2", "NME3"]
        upper = Path(shutil.copy(PRMTOP, tmp_path / "A.PARM7"))
        assert [str(r) for r in read_topology(upper, xtc).residues] == ["ACE1", "ALA2", "NME3"]

    @pytest.mark.parametrize("kind", STREAMED)
    def test_structures_come_back(self, kind: str) -> None:
        file, topology, _, _ = FILES[kind]
        data = featurize(file, topology, Torsions(), stride=2)
        model = fit_quietly(tiny_latf(lagtime=1), data.trajectories)
        table, frames = Structures(model, data, topology=topology).nearest_frames(
            model.transform(data.trajectories[0])[[1, 3]]
        )
        assert table["frame"].tolist() == [2, 6]
        np.testing.assert_allclose(
            Torsions().fit_transform(frames), data.trajectories[0][[1, 3]], atol=1e-5
        )


class TestRefused:
    @pytest.mark.parametrize("kind", formats.TOPOLOGIES)
    @pytest.mark.parametrize("content", [b"", b"nothing\n", b"\xff\xfe\x00" * 400])
    def test_broken_topologies(self, kind: str, content: bytes, tmp_path: Path) -> None:
        file = tmp_path / f"broken{kind}"
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"that mdtraj can read, got .*broken") as caught:
            read_topology(file, file)
        sentence = str(caught.value)
        assert "\n" not in sentence
        assert formats.NAMES[kind] in sentence
        assert "write it anew with the program it came from" in sentence

    def test_an_insertion_code(self, tmp_path: Path) -> None:
        file = tmp_path / "a.psf"
        atom = "       1 L    {} GLU N    NH3   -0.300000       14.0070           0\n"
        head = "PSF\n\n       1 !NTITLE\n REMARKS\n\n       1 !NATOM\n"
        file.write_text(head + atom.format("1H") + "\n       0 !NBOND: bonds\n\n\n")
        with pytest.raises(ValueError, match=r"a\.psf, .*CHARMM or NAMD \.psf .*residue number"):
            read_topology(file, file)

    def test_trajectories_as_topologies(self) -> None:
        with pytest.raises(ValueError, match=r"in a format that names atoms \(\.pdb, .*got .*xtc"):
            read_topology(FILES[".xtc"][0], GRO)

    @pytest.mark.parametrize("kind", [".mdcrd", ".lammpstrj"])
    @pytest.mark.parametrize("missing", [3, 40, 700])
    def test_texts_that_end_within_a_frame(self, kind: str, missing: int, tmp_path: Path) -> None:
        file, topology, _, _ = FILES[kind]
        bad = tmp_path / f"bad{kind}"
        bad.write_bytes(file.read_bytes()[:-missing])
        with pytest.raises(UnreadableFileError, match="it ends within a frame"):
            featurize(bad, topology, Torsions())

    def test_scaled_coordinates(self, tmp_path: Path) -> None:
        file, topology, _, _ = FILES[".lammpstrj"]
        bad = tmp_path / "scaled.lammpstrj"
        bad.write_text(file.read_text().replace("xu yu zu", "xs ys zs"))
        with pytest.raises(UnreadableFileError, match="are scaled by the box"):
            featurize(bad, topology, Torsions())

    @pytest.mark.skipif(find_spec("tables") is None, reason="needs PyTables")
    def test_h5_of_another_program(self, tmp_path: Path) -> None:
        tables = pytest.importorskip("tables")
        file = tmp_path / "other.h5"
        with tables.open_file(str(file), "w") as content:
            content.create_array("/", "numbers", [1, 2, 3])
        with pytest.raises(ValueError, match=r"other\.h5, which it cannot read as mdtraj HDF5"):
            read_topology(file, file)
        with pytest.raises(UnreadableFileError, match=r"other\.h5 "):
            featurize(file, PDB, Torsions())

    def test_the_sweep_of_a_folder(self) -> None:
        """The benchmark that reads all files of another package, on those here."""
        root = Path(__file__).parent.parent
        command = [sys.executable, "benchmarks/structure_sweep.py", "--folder", str(DATA)]
        here = os.environ | {"PYTHONPATH": str(root)}
        done = subprocess.run(
            command, cwd=root, env=here, capture_output=True, text=True, check=True
        )
        kind, n_read, n_refused, n_crashed = done.stdout.splitlines()[-1].split()
        assert (kind, n_crashed) == ("together", "0")
        assert int(n_read) > 20
        assert int(n_refused) > 5


class TestAlternateLocations:
    def test_the_first_is_taken_and_said(self, tmp_path: Path) -> None:
        lines = PDB.read_text().splitlines(keepends=True)
        place = next(k for k, line in enumerate(lines) if line[12:16] == " CB ")
        first, other = (lines[place][:16] + x + lines[place][17:] for x in "AB")
        lines[place : place + 1] = [first, f"{other[:30]}   9.000   9.000   9.000{other[54:]}"]
        file = tmp_path / "two.pdb"
        file.write_text("".join(lines[: lines.index("ENDMDL\n") + 1]) + "END\n")
        said = r"two\.pdb has alternate locations \(ALA2-CB\): the first of each atom is taken"
        with pytest.warns(UserWarning, match=said):
            data = featurize(file, None, Distances("all", min_separation=0))
        expected = featurize(PDB, None, Distances("all", min_separation=0))
        np.testing.assert_array_equal(data.trajectories[0][0], expected.trajectories[0][0])


class TestPartial:
    @pytest.mark.parametrize("kind", [*STREAMED, ".pdb"])
    @pytest.mark.parametrize("missing", [2, 30])
    @pytest.mark.parametrize("stride", [1, 3])
    def test_frames_before_the_end(
        self, kind: str, missing: int, stride: int, tmp_path: Path
    ) -> None:
        file, topology, n_frames, _ = FILES[kind]
        bad = tmp_path / f"growing{kind}"
        content = file.read_bytes()
        end = content.rindex(b"TER") - 200 if kind == ".pdb" else len(content)
        bad.write_bytes(content[: end - missing])
        top = PDB if topology is None else topology
        with pytest.raises(UnreadableFileError):
            featurize(bad, top, Torsions(), stride=stride)
        expected = inside(file)[: n_frames - 1 : stride]
        said = rf"growing{kind} is cut off .*: {len(expected)} frames before its end are taken"
        with pytest.warns(UserWarning, match=said):
            data = featurize(bad, top, Torsions(), stride=stride, chunk=4, partial=True)
        np.testing.assert_allclose(data.trajectories[0], expected, atol=1e-6)

    @pytest.mark.parametrize("kind", [*STREAMED, ".pdb"])
    def test_whole_files_say_nothing(self, kind: str) -> None:
        file, topology, _, _ = FILES[kind]
        data = featurize(file, topology, Torsions(), partial=True)
        np.testing.assert_allclose(data.trajectories[0], inside(file), atol=1e-6)

    def test_nothing_to_take(self, tmp_path: Path) -> None:
        bad = tmp_path / "empty.xtc"
        bad.write_bytes(b"")
        with pytest.raises(UnreadableFileError, match=r"empty\.xtc"):
            featurize(bad, GRO, Torsions(), partial=True)


class TestTimes:
    def test_the_median_gap(self, tmp_path: Path) -> None:
        frames = trajectory_of(topology_of(PEPTIDE), 20)
        frames.time = np.r_[0, 7 + 2.0 * np.arange(19)]
        frames.save(str(tmp_path / "odd.xtc"))
        with pytest.warns(UserWarning, match="7 ps instead of 2 ps before 7 ps"):
            data = featurize(tmp_path / "odd.xtc", frames.topology, Distances())
        assert data.time_step == 2.0

    def test_the_header_of_a_dcd_counts_where_its_program_is_known(self, tmp_path: Path) -> None:
        file = FILES[".dcd"][0]
        n_frames, step = formats.dcd_header(file) or (0, None)
        assert n_frames == 20
        assert step == pytest.approx(20 * 0.002)  # see scripts/make_fixtures.py
        other = tmp_path / "unknown.dcd"
        other.write_bytes(file.read_bytes().replace(b"OpenMM", b"nobody"))
        assert featurize(other, PDB, Torsions()).time_step is None
        swapped = tmp_path / "big.dcd"
        swapped.write_bytes(struct.pack(">i", 84) + b"CORD" + struct.pack(">9i", *range(1, 10)))
        assert formats.dcd_header(swapped) is None

    @pytest.mark.parametrize("extension", ["xtc", "trr", "nc"])
    def test_frames_of_joined_files_are_taken_once(self, extension: str, tmp_path: Path) -> None:
        frames = trajectory_of(topology_of(PEPTIDE), 30)
        file = tmp_path / f"joined.{extension}"
        frames[[*range(12), *range(11, 20), *range(19, 30)]].save(str(file))
        with pytest.warns(UserWarning, match=r"repeats 2 frames at the same time.* at 22 ps\)"):
            data = featurize(file, frames.topology, Distances(), chunk=12)
        np.testing.assert_allclose(
            data.trajectories[0], Distances().fit_transform(frames), atol=2e-3
        )
        model = fit_quietly(tiny_latf(), data.trajectories)
        found = Structures(model, data, topology=frames.topology).nearest_frames(
            model.transform(data.trajectories[0])[[5, 25]]
        )
        np.testing.assert_allclose(found.structures.xyz, frames.xyz[[5, 25]], atol=1e-3)

    def test_a_stride_for_each_file(self, tmp_path: Path) -> None:
        frames = trajectory_of(topology_of(PEPTIDE), 30)
        files = [tmp_path / "slow.xtc", tmp_path / "fast.xtc"]
        frames[::3].save(str(files[0]))
        frames.save(str(files[1]))
        with pytest.raises(ValueError, match="same time between frames in all files"):
            featurize(files, frames.topology, Distances())
        out = tmp_path / "out"
        data = featurize(files, frames.topology, Distances(), stride=[1, 3], out=out)
        np.testing.assert_array_equal(*data.trajectories)
        assert (data.stride, data.time_step) == ([1, 3], 6.0)
        with pytest.raises(ValueError, match=r"`stride` .* one per file \(2\), got 3"):
            featurize(files, frames.topology, Distances(), stride=[1, 2, 3])
        model = fit_quietly(tiny_latf(lagtime=1), data.trajectories)
        found = Structures(model, data, topology=frames.topology).nearest_frames(
            model.transform(data.trajectories[0])[[4]]
        )
        np.testing.assert_allclose(found.structures.xyz, frames.xyz[[12]], atol=1e-3)


class TestCommandLine:
    def test_globs_strides_and_files_cut_off(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.chdir(tmp_path)
        for k in range(2):
            shutil.copy(DATA / "gromacs" / f"replica{k}.xtc", f"run{k}.xtc")
        cut = Path("run1.xtc")
        cut.write_bytes(cut.read_bytes()[:-40])
        arguments = ["run?.xtc", "--topology", str(GRO), "--temperature", "300"]
        assert main(["featurize", *arguments, "--stride", "1", "2"]) == 2
        assert "same time between frames in all files" in capsys.readouterr().err
        assert main(["featurize", *arguments, "--stride", "1", "2", "3"]) == 2
        assert "--stride with one value, or one per file (2), got 3" in capsys.readouterr().err
        warnings.simplefilter("always")
        assert main(["featurize", *arguments, "--stride", "2", "2", "--partial"]) == 0
        assert "run1.xtc is cut off" in capsys.readouterr().err
        assert [len(x) for x in load_features("features").trajectories] == [21, 20]
        assert main(["featurize", "no*.xtc", "--topology", str(GRO)]) == 2
        assert "Expected files like no*.xtc, found none." in capsys.readouterr().err
