"""The fit of LJ7 by two checkouts in turn, on the same frames: medians and their ratio.

    python benchmarks/lj7_before_after.py --checkout ../before --repeats 9

2 x 50,000 frames at T = 0.2 and 0.5, linear encoder, no bootstraps. Each fit runs in a process of
its own, after a short one that imports what fits need; the two checkouts take turns, and turns at
being the first, so that both meet the same machine. The frames are simulated once and read from a
file in the temporary folder. One thread.
"""

import tempfile
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import results
from clock import BENCHMARKS, in_child
from simulations import SYSTEMS

MEASURE = """
import time
import numpy as np
from clock import timed

with np.load(settings["path"]) as file:
    X = np.split(file["frames"], file["ends"][:-1])
    temperature = file["temperature"].tolist()
steps = {"max_iter": settings["max_iter"]} if settings["max_iter"] else {}


def fit(**steps):
    model = extrapolator(0, {"encoder": "linear"} | steps, **steps)
    return model.fit(X, temperature=temperature)


fit(max_iter=1)
clocks = time.process_time(), time.perf_counter()
model = fit(**steps)
print(json.dumps({
    "processor, s": time.process_time() - clocks[0], "wall, s": time.perf_counter() - clocks[1],
    "steps": int(model.n_iter_), "states": int(model.n_states_ if hasattr(model, "n_states_")
    else model.estimator_.n_states_),
}))
"""


def simulate(n_frames):
    """Return the file of the frames, which is written where it is not there yet."""
    path = Path(tempfile.gettempdir()) / f"latflow_lj7_{n_frames}.npz"
    if not path.exists():
        data = SYSTEMS["lj7"].simulate(n_frames)
        X = data["trajectories"]
        ends, temperature = np.cumsum(list(map(len, X))), data["temperature"]
        np.savez(path, frames=np.concatenate(X), ends=ends, temperature=temperature)
    return path


def run(args):
    """Yield medians of both checkouts and their ratio."""
    settings = {"path": str(simulate(args.frames)), "max_iter": args.max_iter}
    checkouts = {"before": args.checkout, "after": BENCHMARKS.parent}
    pair = list(checkouts.items())
    turns = chain.from_iterable(pair[:: (-1) ** k] for k in range(args.repeats))
    records = [
        {"checkout": name} | in_child(MEASURE, settings, checkout) for name, checkout in turns
    ]
    medians = pd.DataFrame(records).groupby("checkout", sort=False).median()
    table = medians.round(3)
    table.loc["after / before"] = (medians.loc["after"] / medians.loc["before"]).round(3)
    title = f"The fit of LJ7, 2 x {args.frames} frames: medians of {args.repeats}, taken in turn"
    yield results.Result("lj7_before_after", title, table)


if __name__ == "__main__":
    parser = results.options(__doc__)
    parser.add_argument("--checkout", type=Path, required=True, help="folder of the one before")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--frames", type=int, default=50_000, help="a temperature")
    parser.add_argument("--max-iter", type=int, help="of both estimators; their own if not given")
    results.publish(parser, run)
