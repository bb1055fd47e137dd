"""The benchmarks run, at a tiny size; no clock is read here."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
TINY = "--frames 1000 --samples 1000 --max-iter 10 --seeds 0"
SHORT = f"{TINY} --reference-frames 1000"


@pytest.mark.parametrize(
    ("script", "options", "expected"),
    [
        ("temperature_transfer.py", f"{SHORT} --system three-hole", "JS sample"),
        (
            "temperature_transfer.py",
            f"{SHORT} --system lj7 --methods enthalpy mbar --train 0.2 0.5 0.7",
            "trained at T = 0.2, 0.5, 0.7",
        ),
        ("limited_data.py", f"{SHORT} --shares 0.5 --bootstraps 10", "T_m off"),
        (
            "kinetic_variance.py",
            "--systems three-hole --seeds 0 --frames 2000 --folds 2 --max-iter 20",
            "latflow, mlp",
        ),
        ("error_bars.py", "--system three-hole --repeats 2 --frames 1000", "n_bootstraps=20"),
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
        ("featurize.py", "--frames 100 --repeats 1 --lengths 100", "CoordinationNumbers"),
        (
            "alanine_dipeptide.py",
            "--seeds 0 --frames 200 --max-iter 10 --estimators 10",
            "Jensen-Shannon divergence of weighted frames",
        ),
    ],
)
def test_benchmark_runs(script, options, expected):
    command = [sys.executable, str(BENCHMARKS / script), *options.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout
    if script != "limited_data.py":  # so little may well have no melting temperature
        assert "nan" not in done.stdout.lower()
