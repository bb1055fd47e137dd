"""The benchmarks run, at a tiny size, and their results reach README; no clock is read here."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).parent.parent
BENCHMARKS = ROOT / "benchmarks"
TINY = "--frames 1000 --samples 1000 --max-iter 10 --seeds 0"
SHORT = f"{TINY} --reference-frames 1000"
NO_MELTING = "limited_data.py"  # so little data may well have no melting temperature


def run(script, options):
    """Run a benchmark as a program."""
    command = [sys.executable, str(BENCHMARKS / script), *options.split()]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def load(monkeypatch):
    """Import a module of the benchmarks."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "options", "expected"),
    [
        ("temperature_transfer.py", f"{SHORT} --systems three-hole", "JS sample"),
        (
            "temperature_transfer.py",
            f"{SHORT} --systems lj7 --methods enthalpy mbar --simulated 0.2 0.5 0.7",
            "simulated at T = 0.2, 0.5, 0.7",
        ),
        ("doctor.py", "--repeats 1 --lengths 40", "40 frames, fail"),
        (NO_MELTING, f"{SHORT} --fractions 0.5 --bootstraps 10", "T_m off"),
        (
            "kinetic_variance.py",
            "--systems three-hole --seeds 0 --frames 2000 --folds 2 --max-iter 20",
            "latflow, mlp",
        ),
        ("error_bars.py", "--systems three-hole --repeats 2 --frames 1000", "n_bootstraps=20"),
        (
            "rates.py",
            "--systems three-hole --repeats 2 --frames 2000 --clusters 20 --lagtimes 2",
            "largest error of a median",
        ),
        (
            "support.py",
            "--systems lj7 --frames 500 --bootstraps 10 --max-iter 10 --pairs 1",
            "within 0.03",
        ),
        (
            "beyond_memory.py",
            "--frames 4000 --in-memory 2000 --features 8 --max-iter 10 --least-on-disk 0",
            "mapped / in memory",
        ),
        (
            "fit_speed.py",
            "--frames 500 --max-iter 10 --fits 1 --repeats 1 --batches 64 --samples 100",
            "spline, training step, batch 64",
        ),
        (
            "encoder_speed.py",
            "--frames 1000 --max-iter 10 --seeds 0 --repeats 1 --steps 2 --most 30",
            "latflow, kinetic_weight=0",
        ),
        (
            "scaling.py",
            "--frames 1000 2000 --max-iter 10 --samples 100 --throughput-frames 1000 "
            "--seed-frames 1000 --repeats 1",
            "n_bootstraps=20",
        ),
        (
            "gpu.py",
            "--devices cpu --frames 1000 --features 100 --wide-frames 500 --lj7-frames 500 "
            "--max-iter 10 --batches 64 --bootstraps 10",
            "loaded equal to the bit",
        ),
        ("wide.py", "--features 20 600 --frames 400 --max-iter 10", "extrapolator: exponent"),
        (
            "scale.py",
            "--frames 2000 4000 --narrow 5 --worker-frames 4000 --features 8 --max-iter 10 "
            "--repeats 1",
            "all passes of a fit",
        ),
        ("featurize.py", "--frames 100 --repeats 1 --lengths 100", "CoordinationNumbers"),
        (
            "alanine_dipeptide.py",
            "--seeds 0 --frames 200 --max-iter 10 --bootstraps 10",
            "Jensen-Shannon divergence of weighted frames",
        ),
        (
            "cold_bias.py",
            "--ns 0.02 --unbiased-ns 0.01 --runs 1 --max-iter 30",
            "predicted bias, refitted",
        ),
        ("memory.py", "--frames 4000 --features 8 --max-iter 10", "over data, GB"),
        ("memory.py", "--frames 4000 --features 8 --max-iter 10 --stacked", "over data, GB"),
        (
            "lj7_before_after.py",
            f"--frames 1000 --max-iter 10 --repeats 1 --checkout {ROOT}",
            "after / before",
        ),
        (
            "lj13.py",
            "--ladders 2 --reference-frames 50 --frames 2000 --bootstraps 10 --repeats 1",
            "by hand: largest off",
        ),
        ("code_size.py", f"--root {ROOT}", "annotations with Any"),
        ("inputs.py", "--models 3 --colvars 3 --trajectories 3", "read as others read it"),
        (
            "molecules.py",
            "--molecules tetraloop --sets pair --routes mbar --seeds 0 --seeds-of-states 1 "
            "--no-tilted",
            "The state nearest to the folded structure",
        ),
        (
            "planning.py",
            "--systems three-wells --frames 1000 --budget 1000 --bootstraps 10 --repeats 1",
            "s.e. / even (median)",
        ),
        ("truth.py", "--quick", "cannot be known (nothing crosses)"),
    ],
)
def test_benchmark_runs(script, options, expected):
    done = run(script, options)
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout
    assert script == NO_MELTING or "nan" not in done.stdout.lower()


def test_readme_holds_the_results_written():
    done = run("results.py", f"{ROOT / 'README.md'} --check")
    assert done.returncode == 0, done.stdout + done.stderr


def test_docs_include_results_that_exist():
    names = [
        line.removeprefix("```{include} ")
        for page in (ROOT / "docs").glob("*.md")
        for line in page.read_text().splitlines()
        if line.startswith("```{include} results/")
    ]
    assert names
    assert [name for name in names if not (ROOT / "docs" / name).exists()] == []


def test_written_results_are_copied_between_markers(load, tmp_path, monkeypatch):
    results = load("results")
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results")
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- results: one -->\nstale\n<!-- end -->\nafter\n")
    table = pd.DataFrame({"x": [0.25, np.nan], 0.5: ["a", ""]}, index=[10, 20]).rename_axis("T")
    results.write("one", table, about="A table")

    monkeypatch.setattr(sys, "argv", ["results.py", str(page), "--check"])
    with pytest.raises(SystemExit, match="1"):
        results.main()
    assert "stale" in page.read_text()
    monkeypatch.setattr(sys, "argv", ["results.py", str(page)])
    results.main()
    text = page.read_text()
    start = "before\n<!-- results: one -->\n\n| T | x | 0.5 |\n| --- | --- | --- |\n"
    assert text.startswith(f"{start}| 10 | 0.25 | a |\n| 20 |  |  |\n\n*")
    assert text.endswith("*\n\n<!-- end -->\nafter\n")
    assert f"numpy {np.__version__}" in text
    assert results.filled(text) == text

    written = json.loads((tmp_path / "results" / "one.json").read_text())
    assert written["about"] == "A table"
    assert written["table"]["data"] == [[0.25, "a"], [None, ""]]


def test_several_tables_and_text_are_written(load, tmp_path, monkeypatch):
    results = load("results")
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    table = pd.DataFrame({"x": [1]})
    results.write("two", {"First": table, "Second": table}, about="Two tables")
    results.write("text", "As it is.", about="Text")
    assert "First:\n\n| x |\n| --- |\n| 1 |\n\nSecond:" in (tmp_path / "two.md").read_text()
    assert (tmp_path / "text.md").read_text().startswith("As it is.\n\n*")
    assert json.loads((tmp_path / "text.json").read_text())["table"] == "As it is."


def test_forces_of_lj13_are_the_slopes_of_its_energy(load):
    lj13 = load("lj13")
    inside = lj13.icosahedron() + 0.05 * np.random.default_rng(0).standard_normal((13, 3))
    for scale in (1.0, 2.2):  # the second, beyond the wall
        x = scale * inside
        steps = 1e-6 * np.eye(39).reshape(39, 13, 3)
        slopes = (lj13.energies(x + steps) - lj13.energies(x - steps)) / 2e-6
        np.testing.assert_allclose(lj13.forces(x).ravel(), -slopes, rtol=1e-6, atol=1e-6)
    assert lj13.energies(lj13.icosahedron()[None])[0] == pytest.approx(-44.3, abs=0.1)


def test_clusters_of_lj13_have_the_kinetic_energy_of_their_temperatures(load):
    temperatures = np.repeat([0.2, 0.4, 0.3], 40)
    clusters = load("lj13").Langevin(temperatures, time_step=0.01, friction=1.0, seed=0)
    clusters.set_temperatures(temperatures[::-1])
    clusters.advance(1000)
    squared = (clusters.velocities.reshape(39, 3, 40) ** 2).mean(axis=(0, 2))
    np.testing.assert_allclose(squared, [0.3, 0.4, 0.2], rtol=0.1)


def test_swaps_leave_energies_distributed_as_they_were(load):
    betas, generator = np.array([2.0, 1.0, 0.5]), np.random.default_rng(0)
    potential = generator.exponential(1 / betas, (20_000, 3))
    order = np.arange(60_000).reshape(-1, 3)
    for first in (0, 1, 0, 1):
        load("lj13").swap(potential.ravel(), betas, order, first, generator)
    assert (np.sort(order, axis=1) == np.arange(60_000).reshape(-1, 3)).all()
    assert 0.3 < (order == np.arange(60_000).reshape(-1, 3)).mean() < 0.7
    means, squares = (potential.ravel()[order] ** k for k in (1, 2))
    np.testing.assert_allclose(means.mean(axis=0), 1 / betas, rtol=0.03)
    np.testing.assert_allclose(squares.mean(axis=0), 2 / betas**2, rtol=0.06)


def test_tempering_of_lj13_sorts_frames_by_temperature(load, monkeypatch):
    lj13 = load("lj13")
    for name in ("HEATING", "SETTLING"):
        monkeypatch.setattr(lj13, name, 20.0)
    temperatures = lj13.LADDER[6::2]
    simulation = lj13.tempering(60, 4, seed=0, temperatures=temperatures)
    known = [-34.85, -31.85, -29.63, -27.61]  # of 12 ladders, 10,000 frames each
    np.testing.assert_allclose(simulation.energies.mean(axis=(0, 2)), known, atol=0.7)
    data = simulation.arguments()
    assert data["temperature"] == [*temperatures] * 4
    np.testing.assert_array_equal(data["X"][6], simulation.features[1, 2])
    np.testing.assert_array_equal(data["energy"][6], simulation.energies[1, 2])
    for X, energy in zip(data["X"], data["energy"], strict=True):
        assert np.corrcoef(X.sum(axis=1), energy)[0, 1] < -0.7  # bonds lower the energy


def test_the_peak_and_the_half_of_a_curve_are_found(load):
    lj13 = load("lj13")
    values = 90 - 5e4 * (lj13.GRID - 0.2837) ** 2
    curve = lj13.Curve(values + np.array([[-1.0], [0.0], [1.0]]))
    assert curve.jackknife(lj13.peak) == pytest.approx((0.2837, 0.0), abs=1e-9)
    assert curve.at([0.2837])[1] == pytest.approx(1 / np.sqrt(3))
    assert lj13.half(lj13.GRID, 1 - 5 * (lj13.GRID - 0.2)) == pytest.approx(0.3)


SOURCE = '''"""A module.

With two paragraphs.
"""

import os  # a comment


class A:
    """A class."""

    text = """one

    two"""

    def f(self, x: "list[Any]", *rest: int, y=None) -> Any:
        """Do it."""
        for k in rest:
            if k:
                continue
            elif x:
                break

        def g() -> None:
            try:
                return self.z  # type: ignore[attr-defined]
            except ValueError:
                pass
            else:
                pass  # type: ignore[misc, arg-type]

        match x:
            case 1:
                return [a for a in x if a and y]
            case _:
                return g()
'''


def test_code_is_counted(load, tmp_path):
    (tmp_path / "latflow" / "room").mkdir(parents=True)
    (tmp_path / "latflow" / "room" / "file.py").write_text(SOURCE)
    size = load("code_size").Size(tmp_path)
    assert size.rooms == {"room": 22}
    assert size.lengths == {"room.file.A.f": 20, "room.file.A.f.g": 7}
    assert size.complexities == {"room.file.A.f": 8, "room.file.A.f.g": 3}
    assert (size.counts["annotations"], size.counts["Any"]) == (4, 2)
    assert (size.counts["ignored"], size.counts["attr-defined"]) == (2, 1)
    assert size.counts["misc"] == 1
