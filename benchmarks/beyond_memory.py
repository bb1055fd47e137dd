"""Fits and answers on a memory-mapped file against the same on an array in memory.

    python benchmarks/beyond_memory.py [--frames 4000000] [--in-memory 1000000] [--features 200]

Writes a synthetic file (two states and three slow coordinates seen through noisy features, float32;
3.2 GB by default) to a temporary folder (`--folder`), and runs, each in a process of its own: the
whole file mapped, its first `--in-memory` frames mapped, and these in memory. Prints frames a
second of `fit`, `transform` and `predict`, and the peak of resident memory, which counts Python and
its modules (0.35 GB). One thread, and one that reads.
"""

import argparse
import json
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from scipy.signal import lfilter

from latflow import LaTFEstimator, TemperatureExtrapolator
from latflow.trajectories import rows

BLOCK = 50_000
SWITCH = 0.002  # of the state, a frame
DAMPING = 0.99
N_TRAJECTORIES = 4
TEMPERATURE = [300.0, 300.0, 450.0, 450.0]


def write(path, n_frames, n_features):
    """Write the file, block by block, each through a map of its own.

    A child starts with its parent's peak of resident memory: this process must stay small.
    """
    rng = np.random.default_rng(0)
    np.lib.format.open_memmap(path, "w+", np.float32, (n_frames, n_features))
    mixing = rng.standard_normal((4, n_features), np.float32)
    state, slow = 1, np.zeros((3, 1))
    for k in range(0, n_frames, BLOCK):
        n = min(BLOCK, n_frames - k)
        states = state * np.cumprod(1 - 2 * (rng.random(n) < SWITCH))
        kicks = rng.standard_normal((3, n)) * np.sqrt(1 - DAMPING**2)
        slower, slow = lfilter([1], [1, -DAMPING], kicks, zi=slow)
        core = np.column_stack([states, slower.T]).astype(np.float32)
        out = np.load(path, mmap_mode="r+")
        out[k : k + n] = core @ mixing + rng.standard_normal((n, n_features), np.float32)
        state = states[-1]


def timed(function, *arguments, **options):
    """Return seconds of one call and what it returned."""
    start = time.perf_counter()
    found = function(*arguments, **options)
    return time.perf_counter() - start, found


def measure(options):
    """Fit and answer in this process; print the figures as JSON."""
    warnings.simplefilter("ignore")  # a short fit need not settle
    rows.LEAST_ON_DISK = options.least_on_disk
    X = np.load(options.measure, mmap_mode="r" if options.mapped else None)
    X = np.array_split(X[: options.frames], N_TRAJECTORIES)
    latf = LaTFEstimator(lagtime=10, max_iter=options.max_iter, random_state=0)
    model = TemperatureExtrapolator(latf, random_state=0) if options.extrapolate else latf
    seconds = {"fit": timed(model.fit, X, temperature=TEMPERATURE)[0]}
    for name in ("transform", "predict"):
        seconds[name] = timed(getattr(model, name), X)[0]
    if options.extrapolate:
        seconds["frame_weights"] = timed(model.frame_weights, 350.0)[0]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "peak": peak, "n_iter": model.n_iter_}))


def run(path, options, n_frames, mapped):
    """Measure in a process of its own."""
    command = [sys.executable, __file__, "--measure", str(path), "--frames", str(n_frames)]
    command += ["--max-iter", str(options.max_iter)]
    command += ["--least-on-disk", str(options.least_on_disk)]
    command += ["--mapped"] * mapped + ["--extrapolate"] * options.extrapolate
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def show(label, n_frames, found):
    """Print a line of the table; frames a second in thousands."""
    rates = [n_frames / seconds / 1e3 for seconds in found["seconds"].values()]
    line = "".join(f"{rate:15.1f}" for rate in rates)
    print(f"{label:24s}{n_frames:10d}{line}{found['peak'] / 1e9:10.2f}{found['n_iter']:8d}")


def compare(path, options):
    """Print the table."""
    few = min(options.in_memory, options.frames)
    cases = {
        "mapped": (options.frames, True),
        "mapped, first part": (few, True),
        "in memory, first part": (few, False),
    }
    found = {label: run(path, options, *case) for label, case in cases.items()}
    names = "".join(f"{name:>15s}" for name in found["mapped"]["seconds"])
    print(f"{'1000 frames/s':24s}{'frames':>10s}{names}{'peak GB':>10s}{'steps':>8s}")
    for label, (n_frames, _) in cases.items():
        show(label, n_frames, found[label])
    mapped, loaded = (found[label]["seconds"] for label in list(cases)[1:])
    print(
        "".join(
            [f"{'mapped / in memory':34s}", *(f"{loaded[n] / mapped[n]:15.2f}" for n in mapped)]
        )
    )


def main():
    """Parse the options, write the file and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=4_000_000)
    parser.add_argument("--in-memory", type=int, default=1_000_000)
    parser.add_argument("--features", type=int, default=200)
    parser.add_argument("--max-iter", type=int, default=1000)
    parser.add_argument("--extrapolate", action="store_true", help="TemperatureExtrapolator too")
    parser.add_argument("--folder", help="where the file goes; a temporary folder by default")
    parser.add_argument("--least-on-disk", type=int, default=rows.LEAST_ON_DISK)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--mapped", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "features.npy"
        write(path, options.frames, options.features)
        compare(path, options)


if __name__ == "__main__":
    main()
