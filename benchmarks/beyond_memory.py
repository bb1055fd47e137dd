"""Fits and answers on a memory-mapped file against the same on an array in memory.

    python benchmarks/beyond_memory.py [--frames 4000000] [--in-memory 1000000] [--features 200]

Writes a synthetic file (two states and three slow coordinates in noise, float32; 3.2 GB by default)
to a temporary folder (`--folder`), and runs, each in a process of its own: the whole file mapped,
its first `--in-memory` frames mapped, and these in memory. Gives thousand frames a second of `fit`,
`transform` and `predict`, and the peak of resident memory, which counts Python and its modules
(0.35 GB). One thread, and one that reads.
"""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import results
from clock import in_child
from simulations import plant

MEASURE = """
import time, warnings
from functools import partial
import numpy as np
from clock import memory, timed
from latflow import LaTFEstimator, TemperatureExtrapolator

warnings.simplefilter("ignore")  # a short fit need not settle
if settings["least_on_disk"] is not None:
    from latflow.trajectories import rows

    rows.LEAST_ON_DISK = settings["least_on_disk"]
X = np.load(settings["path"], mmap_mode="r" if settings["mapped"] else None)
X = np.array_split(X[: settings["frames"]], 4)
model = LaTFEstimator(lagtime=10, max_iter=settings["max_iter"], random_state=0)
if settings["extrapolate"]:
    model = TemperatureExtrapolator(model, n_bootstraps=0, random_state=0)
calls = {"fit": partial(model.fit, X, temperature=[300.0, 300.0, 450.0, 450.0])}
calls |= {name: partial(getattr(model, name), X) for name in ("transform", "predict")}
if settings["extrapolate"]:
    calls["frame_weights"] = partial(model.frame_weights, 350.0)
seconds = {name: timed(call, time.perf_counter) for name, call in calls.items()}
print(json.dumps({"seconds": seconds, "peak": memory(), "steps": int(model.n_iter_)}))
"""


def write(path, n_frames, n_features):
    """Write the file, block by block, each through a map of its own."""
    np.lib.format.open_memmap(path, "w+", np.float32, (n_frames, n_features))
    plant(lambda: np.load(path, mmap_mode="r+"))


def run(args):
    """Write the file and compare."""
    few = min(args.in_memory, args.frames)
    cases = {
        "mapped": (args.frames, True),
        "mapped, first frames": (few, True),
        "in memory, first frames": (few, False),
    }
    lines = {}
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        path = Path(folder).resolve() / "features.npy"
        write(path, args.frames, args.features)
        names = ("max_iter", "extrapolate", "least_on_disk")
        common = {"path": str(path)} | {name: getattr(args, name) for name in names}
        for name, (n_frames, mapped) in cases.items():
            case = in_child(MEASURE, common | {"frames": n_frames, "mapped": mapped})
            rates = {call: n_frames / seconds / 1e3 for call, seconds in case["seconds"].items()}
            memory = {"peak, GB": case["peak"] / 1e9, "steps": case["steps"]}
            lines[name] = {"frames": n_frames} | rates | memory
    table = pd.DataFrame.from_dict(lines, orient="index").rename_axis("1000 frames/s")
    ratio = table.iloc[1] / table.iloc[2]
    table = table.round(2)
    table.loc["mapped / in memory"] = ratio.drop(["frames", "steps"]).round(2)
    title = f"{args.features} features, {'TemperatureExtrapolator' if args.extrapolate else 'LaTF'}"
    yield results.Result("beyond_memory", title, table, gaps=True)


if __name__ == "__main__":
    parser = results.options(__doc__)
    parser.add_argument("--frames", type=int, default=4_000_000)
    parser.add_argument("--in-memory", type=int, default=1_000_000)
    parser.add_argument("--features", type=int, default=200)
    parser.add_argument("--max-iter", type=int, default=1000)
    parser.add_argument("--extrapolate", action="store_true", help="TemperatureExtrapolator too")
    parser.add_argument("--folder", help="where the file goes; a temporary folder by default")
    parser.add_argument(
        "--least-on-disk", type=int, help="bytes from which on files are not loaded"
    )
    results.publish(parser, run)
