"""``latflow doctor``: files and models in, findings out, exit code 1 where a check fails."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import pytest

import latflow
from latflow._versions import versions
from latflow.cli import main
from latflow.datasets import load_chignolin

TEMPERATURES = ["--temperature", "0.8", "1.4", "--boltzmann-constant", "1", "--lagtime", "5"]


@pytest.fixture
def files(tmp_path: Path, three_hole: dict[str, Any]) -> list[str]:
    """A trajectory at each of two temperatures, and their energies."""
    for k, name in ((0, "cold"), (20, "hot")):
        np.save(tmp_path / f"{name}.npy", three_hole["trajectories"][k])
        np.save(tmp_path / f"energy_{name}.npy", three_hole["energy"][k])
    return [str(tmp_path / f"{name}.npy") for name in ("cold", "hot", "energy_cold", "energy_hot")]


def test_healthy_files_end_with_0(files: list[str], capsys: Any) -> None:
    assert main(["doctor", *files[:2], *TEMPERATURES, "--energy", *files[2:]]) == 0
    out = capsys.readouterr().out
    assert "pass         energies: " in out
    assert out.splitlines()[-1].startswith("0 fail, 0 warn, ")


def test_broken_files_end_with_1_as_text_json_and_page(files: list[str], capsys: Any) -> None:
    X = np.load(files[0])
    X[7] = np.nan
    np.save(files[0], X)
    page = Path(files[0]).with_name("page.html")
    arguments = ["doctor", *files[:2], *TEMPERATURES, "--output", str(page)]
    assert main(arguments) == 1
    assert "fail         numbers: 1 of " in capsys.readouterr().out
    assert main([*arguments, "--json"]) == 1
    content = json.loads(capsys.readouterr().out)
    assert content["verdict"] == "fail"
    assert content["findings"][0]["check"] == "numbers"
    assert set(content["versions"]) == set(versions())
    html = page.read_text()
    assert "numbers: 1 of 600 frames hold NaN or infinity" in html
    assert html.index("<h2>Fail</h2>") < html.index("<h2>Pass</h2>") < html.index("scikit-learn")


def test_a_model_alone_and_with_its_files(
    files: list[str], extrapolator: Any, tmp_path: Path, capsys: Any
) -> None:
    model = str(tmp_path / "model.latflow")
    latflow.save(extrapolator, model)
    assert main(["doctor", model]) == 0
    assert (
        "seeds: not checked, because the model does not hold its frames" in capsys.readouterr().out
    )
    assert main(["doctor", model, *files[:2], "--temperature", "0.8", "1.4", "--seeds", "0"]) == 0
    out = capsys.readouterr().out
    assert "pass         numbers: " in out
    assert "pass         flow: " in out
    assert "seeds: not checked, because no other seeds were asked for" in out


def test_trajectory_files_have_their_molecules_looked_at(tmp_path: Path, capsys: Any) -> None:
    data = load_chignolin()
    frames = mdtraj.Trajectory(data.coordinates[0][:100], data.topology)
    frames[0].save_pdb(str(tmp_path / "top.pdb"))
    frames.xyz[60:, 3] += 4.0
    frames.save_xtc(str(tmp_path / "run.xtc"))
    arguments = [str(tmp_path / "run.xtc"), "--topology", str(tmp_path / "top.pdb")]
    assert main(["doctor", *arguments, "--temperature", "338"]) == 1
    assert "molecules: trajectory 0: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "Expected FILE, at least one trajectory, got none."),
        (["missing.npy", "--temperature", "1"], "found no such file"),
        (["--seeds", "-1"], "Expected --seeds to be an integer >= 0, got -1."),
    ],
)
def test_errors_are_one_sentence(arguments: list[str], sentence: str, capsys: Any) -> None:
    assert main(["doctor", *arguments]) == 2
    assert sentence in capsys.readouterr().err


def test_versions_are_written_one_a_line(capsys: Any) -> None:
    latflow.show_versions()
    lines = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert lines["latflow"] == latflow.__version__
    assert lines["numpy"] == np.__version__
    assert {"python", "platform", "torch", "typer", "device", "torch threads"} <= set(lines)
    assert "none" not in lines.values()


def test_the_help_of_the_doctor_loads_no_estimators() -> None:
    code = (
        "from latflow.cli import main; main(['doctor', '--help']); import sys; print(*sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "latflow.cli.doctor" in run.stdout.split()
    assert not {"torch", "latflow.doctor"} & set(run.stdout.splitlines()[-1].split())
