"""The quick start runs, with files of its own and with the user's."""

import importlib.util
import inspect
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from structures import PEPTIDE, topology_of, trajectory_of

EXAMPLE = Path(__file__).parent.parent / "examples" / "quickstart_md.py"


@pytest.fixture(scope="module")
def quickstart():
    spec = importlib.util.spec_from_file_location("quickstart_md", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def printed(quickstart, arguments, capsys, **options):
    """Return the populations and the free energies that the example prints."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # too short to converge
        quickstart.main(arguments, max_iter=96, random_state=0, **options)
    out = capsys.readouterr().out
    rows = re.findall(r"^(?:[\d.]+)? +\d+ +([\d.]+) +[\d.]+$", out, re.MULTILINE)
    return np.array(rows, float), np.array(re.findall(r"F = +(\S+) kJ/mol", out), float)


def assert_sensible(populations, energies):
    assert populations.sum() == pytest.approx(1, abs=1e-3 * len(populations))
    assert energies.shape == (5,)
    assert (energies >= 0).all()


def test_own_files(quickstart, capsys, monkeypatch):
    short = {"time_step": 0.02, "stride": 10}  # the annealing takes as many steps as time needs
    simulate = quickstart.make_lj7
    monkeypatch.setattr(quickstart, "make_lj7", lambda *a, **k: simulate(*a, **k, **short))
    assert_sensible(*printed(quickstart, [], capsys, n_frames=4000))


def test_files_of_the_user(quickstart, capsys, tmp_path):
    runs = []
    for seed, temperature in enumerate((300, 400)):
        frames = trajectory_of(topology_of(PEPTIDE[:3]), 1000, seed)
        frames.save(str(tmp_path / f"{temperature}.xtc"))
        runs.append(f"{tmp_path / str(temperature)}.xtc:{temperature}")
    frames[0].save(str(tmp_path / "top.pdb"))
    assert_sensible(*printed(quickstart, [str(tmp_path / "top.pdb"), "350", *runs], capsys))


def test_the_core_is_short(quickstart):
    lines = inspect.getsource(quickstart.free_energies).splitlines()
    assert len(lines) < 20
