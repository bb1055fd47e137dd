"""Peak memory and time of a fit on frames in memory, of this package and of other checkouts.

    python benchmarks/memory.py                      # 1,000,000 frames of 200 features
    python benchmarks/memory.py --stacked --checkout ../before

Slow signals planted in noise, float32, at two temperatures: a list of trajectories, or one stacked
array (`--stacked`). Each fit runs in a process of its own, which makes the data in place; resident
memory is read before the data, with them, and at its peak. One thread.
"""

from pathlib import Path

import pandas as pd
import results
from clock import BENCHMARKS, in_child

MEASURE = """
import time
import numpy as np
from clock import memory, timed
from simulations import plant

steps = {"max_iter": settings["max_iter"]}
model = extrapolator(settings["bootstraps"], {"lagtime": 10} | steps, **steps)
modules = memory("VmRSS")
n, n_features, each = settings["trajectories"], settings["features"], settings["frames"]
temperature = [1.0 + 0.5 * (k >= n // 2) for k in range(n)]
frames = np.empty((n, each, n_features), np.float32)
for k, t in enumerate(temperature):
    plant(frames.__getitem__, k, temperature=t, seed=k)
X, metadata = list(frames), {"temperature": temperature}
if settings["stacked"]:
    X = frames.reshape(n * each, n_features)
    metadata = {
        "temperature": np.repeat(temperature, each), "trajectory": np.repeat(np.arange(n), each)
    }
data = memory("VmRSS")
seconds = timed(lambda: model.fit(X, **metadata), time.perf_counter)
print(json.dumps({
    "modules, GB": modules / 1e9, "with data, GB": data / 1e9, "peak, GB": memory() / 1e9,
    "over data, GB": (memory() - data) / 1e9, "fit, s": seconds, "steps": int(model.n_iter_),
}))
"""


def run(args):
    """Yield a line a checkout."""
    names = ("features", "trajectories", "stacked", "bootstraps", "max_iter")
    settings = {name: getattr(args, name) for name in names}
    settings["frames"] = args.frames // args.trajectories
    others = {checkout.resolve().name: checkout for checkout in args.checkout}
    lines = {
        name: in_child(MEASURE, settings, checkout)
        for name, checkout in {"this one": BENCHMARKS.parent, **others}.items()
    }
    table = pd.DataFrame.from_dict(lines, orient="index").rename_axis("checkout").round(2)
    kind = "stacked" if args.stacked else "a list"
    title = f"TemperatureExtrapolator.fit, {args.frames} x {args.features} float32, {kind}"
    yield results.Result(f"memory_{'stacked' if args.stacked else 'list'}", title, table)


if __name__ == "__main__":
    parser = results.options(__doc__)
    parser.add_argument("--frames", type=int, default=1_000_000, help="in all")
    parser.add_argument("--features", type=int, default=200)
    parser.add_argument("--trajectories", type=int, default=4, help="half at each temperature")
    parser.add_argument("--stacked", action="store_true", help="one array instead of a list")
    parser.add_argument("--bootstraps", type=int, default=0)
    parser.add_argument("--max-iter", type=int, default=1000)
    parser.add_argument("--checkout", type=Path, nargs="+", default=[], help="folders of others")
    results.publish(parser, run)
