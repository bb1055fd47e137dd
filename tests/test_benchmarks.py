"""The benchmarks run, at a tiny size; no clock is read here."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
TINY = ["--frames", "1000", "--reference-frames", "1000", "--samples", "1000", "--max-iter", "10"]


@pytest.mark.parametrize(
    ("script", "options", "expected"),
    [
        ("temperature_transfer.py", [*TINY, "--seeds", "0", "--system", "three-hole"], "JS sample"),
        ("temperature_transfer.py", [*TINY, "--seeds", "0", "--system", "lj7"], "JS weights"),
        (
            "alanine_dipeptide.py",
            ["--seeds", "0", "--frames", "200", "--max-iter", "10", "--estimators", "1"],
            "Jensen-Shannon divergence of weighted frames",
        ),
        ("flow_step.py", ["--repeats", "1"], "training step, batch 1024"),
    ],
)
def test_benchmark_runs(script, options, expected):
    command = [sys.executable, str(BENCHMARKS / script), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout
    assert "nan" not in done.stdout.lower()
