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

import resource
import warnings
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import numpy as np
import pandas as pd
import results
import torch
from clock import in_child, in_turn, memory, timed
from deeptime.decomposition.deep import VAMPNetModel
from deeptime.util.torch import MLP
from simulations import planted
from sklearn.frozen import FrozenEstimator

from latflow import LaTFEstimator, TemperatureExtrapolator

TEMPERATURES = (1.0, 1.5)
GIB = 1024**3
IMPORT = """
import sys, time
start = time.process_time()
__import__(settings["name"])
seconds = time.process_time() - start
print(json.dumps({"s": seconds} | {n: n in sys.modules for n in ("mdtraj", "matplotlib")}))
"""


def simulated(n_frames, n_features=10):
    """Return a list of two trajectories and their temperatures."""
    halves = enumerate(TEMPERATURES)
    return [planted(n_frames // 2, n_features, t, k) for k, t in halves], [*TEMPERATURES]


def models(max_iter, **latf):
    """Return an estimator, and a function that puts the extrapolator on it, fitted."""
    common = {"max_iter": max_iter, "random_state": 0}
    latent = LaTFEstimator(boltzmann_constant=1.0, **common, **latf)

    def extrapolator(n_bootstraps=0):
        return TemperatureExtrapolator(FrozenEstimator(latent), n_bootstraps=n_bootstraps, **common)

    return latent, extrapolator


def fit_of_size(n_frames, max_iter, most):
    """Return seconds of both fits and the peak memory of this process, which may take no more."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    X, temperature = simulated(n_frames)
    resource.setrlimit(resource.RLIMIT_DATA, (int(most * GIB), resource.RLIM_INFINITY))
    latent, extrapolator = models(max_iter)
    record = {"frames": n_frames, "LaTF, s": np.nan, "extrapolator, s": np.nan}
    try:
        record["LaTF, s"] = timed(lambda: latent.fit(X, temperature=temperature))
        model = extrapolator()
        record["extrapolator, s"] = timed(lambda: model.fit(X, temperature=temperature))
    except (MemoryError, RuntimeError) as error:  # torch's own is a RuntimeError
        print(f"{n_frames} frames, at most {most:g} GiB: {str(error)[:100]}")
    return record | {"peak, GiB": memory() / GIB}


def run_frames(args):
    """Yield seconds against the number of frames."""
    options = {"max_workers": 1, "mp_context": get_context("spawn"), "max_tasks_per_child": 1}
    with ProcessPoolExecutor(**options) as pool:
        work = partial(fit_of_size, max_iter=args.max_iter, most=args.memory)
        table = pd.DataFrame(list(pool.map(work, args.frames)))
    for name in ("LaTF", "extrapolator"):
        rise = np.log(table[f"{name}, s"]).diff() / np.log(table.frames).diff()
        table[f"exponent, {name}"] = rise
    title = f"Frames: 10 features, max_iter={args.max_iter}"
    yield results.Result("scaling_frames", title, table.set_index("frames").round(3), gaps=True)


def run_samples(args):
    """Yield seconds of many samples."""
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
    table = pd.Series(seconds, name="s").round(3).rename_axis("call").to_frame()
    yield results.Result("scaling_samples", f"{n} samples at one temperature, d = 2", table)


def run_throughput(args):
    """Yield frames a second, beside a VAMPNet with the same encoder in float32."""
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
    table = table.round(2).rename_axis("call")
    yield results.Result("scaling_throughput", "Frames a second, 50 features", table)


def run_import(args):
    """Yield processor seconds of imports in new processes."""
    records = [
        {"import": name} | in_child(IMPORT, {"name": name})
        for name in ("latflow", "torch", "sklearn", "deeptime")
        for _ in range(args.repeats)
    ]
    table = pd.DataFrame(records).groupby("import", sort=False).median().round(2)
    yield results.Result("scaling_import", "Import in a new process", table)


def run_seeds(args):
    """Yield eight seeds against one."""
    X, temperature = simulated(args.seed_frames)
    one, extrapolator = models(args.max_iter)
    eight, _ = models(args.max_iter, n_init=8)
    fits = {
        "LaTFEstimator(n_init=1)": lambda: one.fit(X, temperature=temperature),
        "LaTFEstimator(n_init=8)": lambda: eight.fit(X, temperature=temperature),
    } | {
        f"TemperatureExtrapolator(n_bootstraps={n})": partial(
            lambda n: extrapolator(n).fit(X, temperature=temperature), n
        )
        for n in (0, 20)
    }
    table = pd.DataFrame({"s": {name: timed(fit) for name, fit in fits.items()}})
    table["over one"] = table.s / np.repeat(table.s.to_numpy()[::2], 2)
    title = f"Seeds: {args.seed_frames} frames, the extrapolator on a fitted LaTF"
    yield results.Result("scaling_seeds", title, table.round(2).rename_axis("fit"))


TABLES = {
    "frames": run_frames,
    "samples": run_samples,
    "throughput": run_throughput,
    "import": run_import,
    "seeds": run_seeds,
}


if __name__ == "__main__":
    parser = results.options(__doc__)
    results.add_tables(parser, TABLES)
    parser.add_argument("--frames", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000])
    parser.add_argument("--memory", type=float, default=8.0, help="GiB that one fit may take")
    parser.add_argument("--max-iter", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--throughput-frames", type=int, default=400_000)
    parser.add_argument("--seed-frames", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=5)
    results.publish(parser, TABLES)
