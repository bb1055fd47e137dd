"""Passes over frames on disk: by this process, by one and two workers of Dask; how they grow.

    python benchmarks/scale.py                            # some ten minutes; needs 2 GB of disk
    python benchmarks/scale.py --tables frames --frames 100000 1000000 10000000

workers     frames a second of each pass over a memory-mapped file, by this process (with a thread
            that reads ahead), by one worker and by two: processes of a LocalCluster, one thread
            each. Rounds take these in turn; medians of the rounds, and what two do over one
frames      seconds of the same passes, by this process, on more and more frames, and of a whole fit
            with equal steps; exponents from the first size to the last
arithmetic  what the rates of the first table make of 10^8 and 10^9 frames on many workers

Seconds are those of the clock on the wall, as workers' time is not this process's: other processes
of the machine count, and the load beside the tables says how many there were. The file stays in the
page cache where memory allows: rates are those of the processor, and the arithmetic says what the
disk must give for them.
"""

import os
import statistics
import tempfile
import time
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import results
import torch
from clock import timed
from distributed import Client, LocalCluster
from simulations import plant

from latflow import LaTFEstimator
from latflow.estimators.seam import Standardised, Streamed
from latflow.nn.stages import _states
from latflow.nn.training import torch_on
from latflow.thermodynamics import Curves, Weighting
from latflow.trajectories import check_finite, gather_frames, rows

# how often a default fit with an h of four networks makes each pass: rounds of refinement relabel
IN_A_FIT = {"check": 1, "scales": 1, "labels": 13, "transform": 5, "predict": 0}
BETAS = np.array([0.3, 0.4])
ALONE = "this process"


def write(path, n_frames, n_features):
    """Write a file of slow signals in noise, block by block."""
    np.lib.format.open_memmap(path, "w+", np.float32, (n_frames, n_features))
    plant(lambda: np.load(path, mmap_mode="r+"))


def mapped(path, n_frames, n_trajectories):
    """Return the first frames of a file as trajectories."""
    return np.array_split(np.load(path, mmap_mode="r")[:n_frames], n_trajectories)


class Passes:
    """The passes over some trajectories, with a model that was fitted on a few of their frames."""

    def __init__(self, trajectories, max_iter):
        few = [np.array(x[:5000]) for x in trajectories]
        self.model = LaTFEstimator(lagtime=10, max_iter=max_iter, random_state=0).fit(few)
        self.trajectories = trajectories
        self.frames = gather_frames(LaTFEstimator(), trajectories, lagtime=10, reset=True)
        x = Standardised(self.frames.X, self.model.mean_, self.model.scale_)
        self.streamed = Streamed(x, torch.device("cpu"))

    def check(self):
        """Look for numbers that are not finite."""
        check_finite(self.frames.X, self.frames.trajectory, self.frames.frame)

    def scales(self):
        """Mean and variance of every feature."""
        return replace(self.frames).moments

    def labels(self):
        """Label all frames in single precision, as a round of refinement does."""
        net = self.model.model_.float()
        with torch_on(1), torch.no_grad():
            for _ in self.streamed.over(partial(_states, net.encoder, net.decoder)):
                pass
        net.double()

    def transform(self):
        """Encode, list in, list out."""
        return self.model.transform(self.trajectories)

    def predict(self):
        """Encode and label."""
        return self.model.predict(self.trajectories)

    def calls(self):
        """Return the passes by name."""
        return {name: getattr(self, name) for name in IN_A_FIT}


def weights(n_frames):
    """Return a function that weighs so many frames at one temperature, from curves of order 2."""
    rng = np.random.default_rng(0)
    curves = Curves(rng.standard_normal((n_frames, 2)), BETAS)
    weighting = Weighting(curves, np.zeros(2), rng.standard_normal(n_frames))
    return lambda: weighting.at(0.35).weights


@contextmanager
def clusters(numbers):
    """Yield the contexts to work in, by name: this process, and Dask's workers."""
    with ExitStack() as stack:
        places = {ALONE: nullcontext}
        for n in numbers:
            options = {"threads_per_worker": 1, "processes": True, "dashboard_address": None}
            client = Client(stack.enter_context(LocalCluster(n_workers=n, **options)))
            stack.callback(client.close)
            places[f"workers: {n}"] = partial(joblib.parallel_config, "dask", client=client)
        yield places


def in_rounds(places, calls, repeats):
    """Return seconds by call and place: medians of rounds that take places in turn."""
    seconds = {}
    for k in range(repeats + 1):  # the first loads modules, and the file
        for name, call in calls.items():
            for place, context in places.items():
                with context():
                    found = timed(call, time.perf_counter)
                if k:
                    seconds.setdefault((name, place), []).append(found)
    return {key: statistics.median(values) for key, values in seconds.items()}


def load():
    """Return the mean number of processes that wanted a processor in the last five minutes."""
    return f"load {os.getloadavg()[1]:.1f} on {os.cpu_count()} cores"


def rates(args):
    """Return frames a second, a line a pass and a column a place."""
    rows.LEAST_ON_DISK = 0
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        path = Path(folder) / "features.npy"
        write(path, args.worker_frames, args.features)
        passes = Passes(mapped(path, args.worker_frames, 4), args.max_iter)
        with clusters(args.workers) as places:
            seconds = in_rounds(places, passes.calls(), args.repeats)
    table = args.worker_frames / pd.Series(seconds).unstack(sort=False)
    alone = args.worker_frames / statistics.median(
        timed(weights(args.worker_frames), time.perf_counter) for _ in range(args.repeats)
    )
    table.loc["weights"] = [alone] + [np.nan] * (table.shape[1] - 1)
    return table.rename_axis("pass")


def run_workers(args):
    """Yield frames a second by workers."""
    args.rates = rates(args)
    table = (args.rates / 1000).round(0)
    first, last = (f"workers: {n}" for n in (args.workers[0], args.workers[-1]))
    table["over one"] = (args.rates[last] / args.rates[first]).round(2)
    title = (
        f"1000 frames a second, {args.worker_frames} x {args.features} float32 on disk, {load()}"
    )
    yield results.Result("scale_workers", title, table, gaps=True)


def run_frames(args):
    """Yield seconds against the number of frames."""
    rows.LEAST_ON_DISK = 0
    lines = {}
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        path = Path(folder) / "features.npy"
        write(path, max(args.frames), args.narrow)
        for n_frames in args.frames:
            trajectories = mapped(path, n_frames, 4)
            passes = Passes(trajectories, args.max_iter)
            seconds = in_rounds({ALONE: nullcontext}, passes.calls(), args.repeats)
            line = {name: value for (name, _), value in seconds.items()}
            model = LaTFEstimator(lagtime=10, max_iter=args.max_iter, random_state=0)
            line["fit"] = timed(lambda m=model, X=trajectories: m.fit(X), time.perf_counter)
            lines[n_frames] = line
    table = pd.DataFrame.from_dict(lines, orient="index").rename_axis("frames")
    ends = np.log(table.iloc[[0, -1]]).diff().iloc[-1] / np.log(args.frames[-1] / args.frames[0])
    table = table.round(2)
    table.loc["exponent"] = ends.round(2)
    title = f"Seconds, {args.narrow} features on disk, max_iter={args.max_iter}, {load()}"
    yield results.Result("scale_frames", title, table)


def run_arithmetic(args):
    """Yield what the rates of one worker make of more frames and workers."""
    each = rates(args) if args.rates is None else args.rates
    one = each[f"workers: {args.workers[0]}"]
    lines = {}
    for n in args.extrapolated:
        share = {name: n / one[name] / args.many for name in IN_A_FIT}
        fit = sum(share[name] * times for name, times in IN_A_FIT.items())
        fastest = max(one[name] for name in IN_A_FIT)
        lines[f"{n:.0e}".replace("e+0", "e")] = {
            "data, TB": n * args.features * 4 / 1e12,
            "transform, min": share["transform"] / 60,
            "predict, min": share["predict"] / 60,
            "all passes of a fit, min": fit / 60,
            "disk for the fastest pass, GB/s": fastest * args.many * args.features * 4 / 1e9,
            "weights at one temperature, by one process, s": n / each.loc["weights", ALONE],
            "memory of that process, GB": n * bytes_a_frame() / 1e9,
        }
    table = pd.DataFrame.from_dict(lines, orient="index").rename_axis("frames")
    title = f"{args.features} features, {args.many} workers, from the rate of one; {load()}"
    yield results.Result("scale_arithmetic", title, table.map("{:.3g}".format))


def bytes_a_frame():
    """Return what a fit keeps of every frame: times, weights, ends of pairs, variables, labels."""
    frames = gather_frames(LaTFEstimator(), [np.zeros((1000, 2))], lagtime=1, reset=True)
    known = sum(a.nbytes for k, a in vars(frames).items() if k != "X" and isinstance(a, np.ndarray))
    return known / 1000 + 2 * 4 + 4 + 8 * 4 + 8 * 2  # pairs, base; h; z, labels


TABLES = {"workers": run_workers, "frames": run_frames, "arithmetic": run_arithmetic}


if __name__ == "__main__":
    parser = results.options(__doc__)
    results.add_tables(parser, TABLES)
    parser.add_argument("--frames", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000])
    parser.add_argument("--narrow", type=int, default=50, help="features of the table of frames")
    parser.add_argument("--worker-frames", type=int, default=1_000_000)
    parser.add_argument("--features", type=int, default=200, help="of the other tables")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--many", type=int, default=64, help="workers of the arithmetic")
    parser.add_argument("--extrapolated", type=float, nargs="+", default=[1e8, 1e9])
    parser.add_argument("--max-iter", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", help="where files go; a temporary folder by default")
    parser.set_defaults(rates=None)
    results.publish(parser, TABLES)
