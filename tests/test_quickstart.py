"""The quick start runs, with files of its own and with the user's."""

import importlib.util
import inspect
import warnings
from pathlib import Path

import pytest
from structures import PEPTIDE, topology_of, trajectory_of

EXAMPLE = Path(__file__).parent.parent / "examples" / "quickstart_md.py"


@pytest.fixture(scope="module")
def quickstart():
    spec = importlib.util.spec_from_file_location("quickstart_md", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(quickstart, arguments, capsys, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # too short to converge
        quickstart.main(arguments, max_iter=20, random_state=0, **options)
    return capsys.readouterr().out


def test_own_files(quickstart, capsys, monkeypatch):
    short = {"time_step": 0.02, "stride": 10}  # the annealing takes as many steps as time needs
    simulate = quickstart.make_lj7
    monkeypatch.setattr(quickstart, "make_lj7", lambda *a, **k: simulate(*a, **k, **short))
    out = run(quickstart, [], capsys, n_frames=400)
    assert "population" in out
    assert out.count("kJ/mol") == 5


def test_files_of_the_user(quickstart, capsys, tmp_path):
    runs = []
    for seed, temperature in enumerate((300, 400)):
        frames = trajectory_of(topology_of(PEPTIDE[:3]), 200, seed)
        frames.save(str(tmp_path / f"{temperature}.xtc"))
        runs.append(f"{tmp_path / str(temperature)}.xtc:{temperature}")
    frames[0].save(str(tmp_path / "top.pdb"))
    out = run(quickstart, [str(tmp_path / "top.pdb"), "350", *runs], capsys)
    assert "population" in out
    assert out.count("kJ/mol") == 5


def test_the_core_is_short(quickstart):
    lines = inspect.getsource(quickstart.free_energies).splitlines()
    assert len(lines) < 20
