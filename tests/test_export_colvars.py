"""Colvars' configurations compute what the model computes: by an evaluator, and in LAMMPS."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import colvars_configuration
import numpy as np
import pytest
from export_cases import CLOSEST, ENCODERS, FEATURIZERS, alanine, fitted, sorted_numbers

from latflow.export import colvars
from latflow.featurizers import Distances, Torsions

LAYOUT = """# z1: collective variables of latflow #
# Atoms are numbered from 1, as the 22 of the model's topology
# The variables are not periodic; Colvars has to be built with Lepton
# f1 is cos_phi_ALA2
# f2 is sin_phi_ALA2
units gromacs
colvar {
  name z1
  customFunction {
    #*f1#*f2#;
    f2=sin(#*t_5_7_9_15);
    f1=cos(#*t_5_7_9_15)
  }
  dihedral {
    name t_5_7_9_15
    group1 { atomNumbers 5 }
    group2 { atomNumbers 7 }
    group3 { atomNumbers 9 }
    group4 { atomNumbers 15 }
  }
}
"""


def agrees(z: Any, model: Any, trajectory: Any, featurizer: Any) -> None:
    expected = model.transform(featurizer.fit(trajectory).transform(trajectory))
    np.testing.assert_allclose(z, expected, atol=1e-5)
    assert expected.std(axis=0).min() > 0.01


def evaluated(path: Path, trajectory: Any) -> Any:
    return np.column_stack(list(colvars_configuration.evaluate(path, trajectory).values()))


@pytest.mark.parametrize("network", ["function", "files"])
@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("name", FEATURIZERS)
def test_text_computes_the_variables(name: str, encoder: str, network: str, tmp_path: Path) -> None:
    simulate, featurizer = FEATURIZERS[name]
    trajectory, path = simulate(), tmp_path / "cv.in"
    model = fitted(trajectory, featurizer, **ENCODERS[encoder])
    for units in ("real", "gromacs"):
        written = colvars(model, path, units=units, network=network)
        assert sorted(written) == sorted(tmp_path.iterdir())
        assert (len(written) > 1) == (network == "files")
        agrees(evaluated(path, trajectory), model, trajectory, featurizer)


def test_layout(tmp_path: Path) -> None:
    model = fitted(alanine(), Torsions("phi"), encoder="linear", n_components=1)
    colvars(model, tmp_path / "cv.in", units="gromacs")
    text = (tmp_path / "cv.in").read_text()
    text = text.replace(re.findall(r"latflow (\S+)", text)[0], "#")
    assert re.sub(r"[-+]?\d+\.\d+(e-?\d+)?", "#", text) == LAYOUT


@pytest.mark.parametrize(
    ("featurizer", "parameters", "n_files"),
    [
        (Torsions(), {"hidden_features": (16,)}, 1),
        (Torsions(), {"hidden_features": (32, 32)}, 7),
        (Distances([[0, k] for k in range(1, 22)]), {"encoder": "linear"}, 1),
        (Distances("all", min_separation=1), {"encoder": "linear"}, 3),
    ],
)
def test_what_starts_slowly_is_in_files(
    featurizer: Any, parameters: dict[str, Any], n_files: int, tmp_path: Path
) -> None:
    model = fitted(alanine(), featurizer, **parameters)
    assert len(colvars(model, tmp_path / "cv.in")) == n_files


@pytest.mark.parametrize(
    ("featurizer", "sentence"),
    [
        (sorted_numbers(), "got sorted coordination numbers: take sort=False, or PLUMED"),
        (CLOSEST, "at most 14 atom pairs each, got the least distance of 15"),
    ],
)
def test_what_colvars_cannot_compute_is_refused(
    featurizer: Any, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("latflow.export.colvars_input.MOST_PAIRS", 14)
    model = fitted(alanine(), featurizer)
    with pytest.raises(ValueError, match=sentence):
        colvars(model, tmp_path / "cv.in")
    assert not list(tmp_path.iterdir())


def test_nothing_is_written_where_one_file_cannot_be(tmp_path: Path) -> None:
    model = fitted(alanine(), Torsions())
    (tmp_path / "cv.in.layer1.biases").mkdir()
    with pytest.raises(OSError, match=r"to be a file, got the folder .*cv\.in\.layer1\.biases"):
        colvars(model, tmp_path / "cv.in", network="files")
    assert [path.name for path in tmp_path.iterdir()] == ["cv.in.layer1.biases"]


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ({"network": "ann"}, "`network` to be one of auto, function, files, got 'ann'"),
        ({"units": "lj"}, "`units` to be one of real, metal, gromacs, got 'lj'"),
    ],
)
def test_wrong_options(option: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=sentence):
        colvars(fitted(alanine(), Torsions()), tmp_path / "cv.in", **option)


# ------------------------------------------------------------------ in a real engine

ENGINE = Path(__file__).parent / "colvars_in_lammps.py"
HARMONIC = """
harmonic {
  colvars z1
  centers 0.3
  forceConstant 2.0
}
"""


def run_lammps(path: Path, xyz: Any, box: Any) -> tuple[Any, Any]:
    """Return the variables of positions in angstrom, and the last ones' forces."""
    np.savez(path.parent / "frames.npz", xyz=xyz, box=box)
    with path.open("a") as file:
        file.write("colvarsTrajFrequency 1\n" + HARMONIC)
    libraries = {"LD_LIBRARY_PATH": str(Path(sys.prefix) / "lib")}  # of the package mpich
    run = subprocess.run(
        [sys.executable, ENGINE, path.name], cwd=path.parent, env=os.environ | libraries,
        capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    answer = np.load(path.parent / "answer.npz")
    return answer["z"], answer["forces"]


def slope(path: Path, xyz: Any, box: Any, direction: Any) -> float:
    """Return the derivative of the harmonic energy along a direction, by differences."""

    def energy(step: float) -> float:
        moved = SimpleNamespace(xyz=(xyz + step * direction)[None] / 10, unitcell_lengths=box)
        z1 = colvars_configuration.evaluate(path, moved)["z1"]
        return float((z1[0] - 0.3) ** 2)

    return (energy(1e-5) - energy(-1e-5)) / 2e-5


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("name", FEATURIZERS)
def test_lammps_computes_the_variables_and_their_forces(
    name: str, encoder: str, tmp_path: Path
) -> None:
    simulate, featurizer = FEATURIZERS[name]
    trajectory, path = simulate(), tmp_path / "cv.in"
    model = fitted(trajectory, featurizer, **ENCODERS[encoder])
    colvars(model, path)
    xyz, lengths = 10 * trajectory.xyz.astype(float), trajectory.unitcell_lengths
    box = np.full(3, 100.0) if lengths is None else 10 * lengths[0].astype(float)
    z, forces = run_lammps(path, xyz, box)
    agrees(z, model, trajectory, featurizer)
    for seed in range(3):
        direction = np.random.default_rng(seed).normal(size=forces.shape)
        expected = slope(path, xyz[-1], lengths, direction)
        np.testing.assert_allclose(-(forces * direction).sum(), expected, rtol=1e-3, atol=1e-4)
