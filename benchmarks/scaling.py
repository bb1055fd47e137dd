"""How time grows: with frames, samples and seeds; frame by frame; and the time of an import.

    python benchmarks/scaling.py                               # about twenty minutes
    python benchmarks/scaling.py --tables frames --frames 100000 1000000 10000000

frames      a fit with equal steps on more and more frames (10 features, float32, two temperatures),
            each in a process of its own with its peak memory and the exponent from size to size
samples     a million samples at one temperature, d = 2
throughput  frames a second of `transform` and `predict`, 50 features, beside deeptime's VAMPNet
import      of a new process: seconds, and whether mdtraj or matplotlib came along
seeds       eight seeds against one

Processor time, one thread; medians of repeats.
"""

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import resource
import subprocess
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from deeptime.decomposition.deep import VAMPNetModel
from deeptime.util.torch import MLP
from fit_speed import in_turn, show, timed
from scipy.signal import lfilter
from sklearn.frozen import FrozenEstimator

from latflow import LaTFEstimator, TemperatureExtrapolator

TEMPERATURES = (1.0, 1.5)
MEMORY = 1024**3
IMPORT = """
import sys, time
start = time.process_time()
import {}
print(time.process_time() - start, *("mdtraj" in sys.modules, "matplotlib" in sys.modules))
"""


def two_state_walk(n_frames, n_features, temperature, seed):
    """Return one trajectory: a coordinate that hops between -1 and 1, mixed with slow noise."""
    rng = np.random.default_rng(seed)
    hops = rng.random(n_frames, dtype=np.float32) < 0.01
    state = (1 - 2 * (np.cumsum(hops) % 2)).astype(np.float32)
    X = np.empty((n_frames, n_features), dtype=np.float32)
    for k in range(n_features):
        noise = rng.standard_normal(n_frames, dtype=np.float32)
        slow = lfilter(np.float32([0.3]), np.float32([1, -0.9]), noise)
        X[:, k] = np.sqrt(temperature) * slow + state / (k + 1)
    return X


def simulated(n_frames, n_features=10):
    """Return a list of two trajectories and their temperatures."""
    halves = enumerate(TEMPERATURES)
    return [two_state_walk(n_frames // 2, n_features, t, k) for k, t in halves], [*TEMPERATURES]


def models(max_iter, **latf):
    """Return an estimator, and a function that puts the extrapolator on it, fitted."""
    common = {"max_iter": max_iter, "random_state": 0}
    latent = LaTFEstimator(boltzmann_constant=1.0, **common, **latf)
    return latent, lambda **own: TemperatureExtrapolator(FrozenEstimator(latent), **common, **own)


def prepare():
    """Set up this process."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")


def fit_of_size(n_frames, max_iter, memory):
    """Return seconds of both fits and the peak memory of this process, which may take no more."""
    prepare()
    X, temperature = simulated(n_frames)
    resource.setrlimit(resource.RLIMIT_DATA, (int(memory * MEMORY), resource.RLIM_INFINITY))
    latent, extrapolator = models(max_iter)
    row = {"frames": n_frames, "LaTF, s": np.nan, "extrapolator, s": np.nan}
    try:
        row["LaTF, s"] = timed(lambda: latent.fit(X, temperature=temperature))
        model = extrapolator()
        row["extrapolator, s"] = timed(lambda: model.fit(X, temperature=temperature))
    except (MemoryError, RuntimeError) as error:  # torch's own is a RuntimeError
        print(f"{n_frames} frames, at most {memory:g} GiB: {str(error)[:100]}")
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    return row | {"peak, GiB": peak * 1024 / MEMORY}


def run_frames(args):
    """Print seconds against the number of frames."""
    options = {"max_workers": 1, "mp_context": get_context("spawn"), "max_tasks_per_child": 1}
    with ProcessPoolExecutor(**options) as pool:
        work = partial(fit_of_size, max_iter=args.max_iter, memory=args.memory)
        table = pd.DataFrame(list(pool.map(work, args.frames)))
    for part in ("LaTF", "extrapolator"):
        rise = np.log(table[f"{part}, s"]).diff() / np.log(table.frames).diff()
        table[f"exponent, {part}"] = rise
    show(f"Frames: 10 features, max_iter={args.max_iter}", table.set_index("frames").round(3))


def run_samples(args):
    """Print seconds of many samples."""
    X, temperature = simulated(20_000)
    latent, extrapolator = models(args.max_iter)
    latent.fit(X, temperature=temperature)
    model = extrapolator().fit(X, temperature=temperature)
    n = args.samples
    calls = {
        "LaTFEstimator.sample": lambda: latent.sample(n, 1.2, random_state=0),
        "TemperatureExtrapolator.sample": lambda: model.sample(n, 1.2, random_state=0),
    }
    seconds = in_turn(calls, args.repeats)
    show(f"{n} samples at one temperature, d = 2", pd.Series(seconds, name="s").round(3).to_frame())


def run_throughput(args):
    """Print frames a second, beside a VAMPNet with the same encoder in float32."""
    X, temperature = simulated(args.throughput_frames, 50)
    latent, _ = models(args.max_iter)
    latent.fit([x[:20_000] for x in X], temperature=temperature)
    x = X[0]
    x64 = x.astype(np.float64)
    net = VAMPNetModel(MLP([50, 32, 32, 2], nonlinearity=torch.nn.Tanh))
    calls = {
        "transform": lambda: latent.transform(x),
        "transform, float64": lambda: latent.transform(x64),
        "predict": lambda: latent.predict(x),
        "deeptime's VAMPNet": lambda: net.transform(x),
    }
    table = pd.DataFrame({"frames/s": len(x) / pd.Series(in_turn(calls, args.repeats))})
    table["over deeptime"] = table["frames/s"] / table["frames/s"].iloc[-1]
    show("Frames a second, 50 features", table.round(2))


def run_import(args):
    """Print processor seconds of imports in new processes."""
    rows = []
    for name in ("latflow", "torch", "sklearn", "deeptime"):
        command = [sys.executable, "-c", IMPORT.format(name)]
        found = [
            subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
            for _ in range(args.repeats)
        ]
        seconds = np.median([float(first) for first, *_ in found])
        flags = dict(zip(("mdtraj", "matplotlib"), found[0][1:], strict=True))
        rows.append({"import": name, "s": seconds} | flags)
    show("Import in a new process", pd.DataFrame(rows).set_index("import").round(2))


def run_seeds(args):
    """Print eight seeds against one."""
    X, temperature = simulated(args.seed_frames)
    one, extrapolator = models(args.max_iter)
    eight, _ = models(args.max_iter, n_init=8)
    fits = {
        "LaTFEstimator(n_init=1)": lambda: one.fit(X, temperature=temperature),
        "LaTFEstimator(n_init=8)": lambda: eight.fit(X, temperature=temperature),
    } | {
        f"TemperatureExtrapolator(n_bootstraps={n})": partial(
            lambda n: extrapolator(n_bootstraps=n).fit(X, temperature=temperature), n
        )
        for n in (1, 20)
    }
    table = pd.DataFrame({"s": {name: timed(fit) for name, fit in fits.items()}})
    table["over one"] = table.s / np.repeat(table.s.to_numpy()[::2], 2)
    show(f"Seeds: {args.seed_frames} frames, the extrapolator on a fitted LaTF", table.round(2))


TABLES = {
    "frames": run_frames,
    "samples": run_samples,
    "throughput": run_throughput,
    "import": run_import,
    "seeds": run_seeds,
}


def main():
    """Parse the options and print the tables asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", nargs="+", choices=tuple(TABLES), default=list(TABLES))
    parser.add_argument("--frames", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000])
    parser.add_argument("--memory", type=float, default=8.0, help="GiB that one fit may take")
    parser.add_argument("--max-iter", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--throughput-frames", type=int, default=400_000)
    parser.add_argument("--seed-frames", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    prepare()
    for name in args.tables:
        TABLES[name](args)


if __name__ == "__main__":
    main()
