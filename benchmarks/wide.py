"""Wide features: seconds, peak memory and VAMP-2 from 20 features to 20,000.

    python benchmarks/wide.py                                 # about ten minutes
    python benchmarks/wide.py --features 20 1000 --frames 4000

A jump process between four states at two temperatures shows in the first twenty features, which are
those that somebody who knows the system would choose; a hundred fast processes that all features
share, and noise of their own, are the rest. Each default fit runs in a process of its own, which
makes its data, float32; VAMP-2 is that of trajectories not seen. Processor time, one thread.
"""

import numpy as np
import pandas as pd
import results
from clock import BENCHMARKS, in_child
from scipy.signal import lfilter

LEVELS = np.array([0.0, 0.3, 0.6, 0.9])
TEMPERATURES = (1.0, 1.5)
LAGTIME = 5
N_INFORMED, N_FAST = 20, 100
TRY, DAMPING = 0.02, 0.8  # of a jump in a frame, and of the fast processes
MEASURE = """
from clock import memory, timed
from wide import simulated

common = {"random_state": 0} | settings["options"]
model = latflow.LaTFEstimator(settings["lagtime"], boltzmann_constant=1.0, **common)
if settings["extrapolator"]:
    model = latflow.TemperatureExtrapolator(model, **common)
X, temperature = simulated(settings["frames"], settings["features"], seed=1)
seconds = timed(lambda: model.fit(X, temperature=temperature))
peak, data = memory(), sum(x.nbytes for x in X)
del X
X, temperature = simulated(settings["frames"] // 2, settings["features"], seed=2)
score = model.score(X, temperature=temperature)
print(json.dumps({"s": seconds, "GB": peak / 1e9, "VAMP-2": score, "data, GB": data / 1e9}))
"""


def jumps(n_frames, temperature, rng):
    """Return states of a Metropolis walk between the levels."""
    accepted = rng.random(n_frames) < TRY
    offered, heights = rng.integers(1, 4, n_frames), rng.random(n_frames)
    states, state = np.empty(n_frames, int), int(rng.integers(4))
    for frame in range(n_frames):
        new = (state + offered[frame]) % 4
        rise = (LEVELS[new] - LEVELS[state]) / temperature
        if accepted[frame] and heights[frame] < np.exp(-rise):
            state = new
        states[frame] = state
    return states


def simulated(n_frames, n_features, seed, n_walkers=2):
    """Return trajectories, equally many at each temperature, and their temperatures."""
    system = np.random.default_rng(0)
    signal = system.standard_normal((len(LEVELS), N_INFORMED), np.float32)
    mixing = system.standard_normal((N_FAST, n_features), np.float32)
    mixing /= np.float32(np.sqrt(N_FAST))
    rng = np.random.default_rng(seed)
    temperature = [t for t in TEMPERATURES for _ in range(n_walkers)]
    n = n_frames // len(temperature)
    X = []
    for t in temperature:
        kicks = rng.standard_normal((n, N_FAST)) * np.sqrt(t * (1 - DAMPING**2))
        x = lfilter([1], [1, -DAMPING], kicks, axis=0).astype(np.float32) @ mixing
        x += rng.standard_normal(x.shape, np.float32) * np.float32(np.sqrt(t))
        x[:, :N_INFORMED] += signal[jumps(n, t, rng)]
        X.append(x)
    return X, temperature


def run(args):
    """Yield a line a number of features."""
    lines = {}
    options = {"max_iter": args.max_iter} if args.max_iter else {}
    for n_features in args.features:
        line = lines[n_features] = {}
        for name in ("LaTF", "extrapolator"):
            settings = {
                "features": n_features, "frames": args.frames, "options": options,
                "extrapolator": name == "extrapolator", "lagtime": LAGTIME,
            }  # fmt: skip
            measured = in_child(MEASURE, settings, BENCHMARKS.parent)
            line["data, GB"] = round(measured.pop("data, GB"), 3)
            print(n_features, name, measured, flush=True)
            line |= {f"{name}: {key}": round(value, 3) for key, value in measured.items()}
    table = pd.DataFrame.from_dict(lines, orient="index").rename_axis("features")
    size = np.log(table.index.to_numpy(float))
    for name in ("LaTF", "extrapolator"):
        rise = np.diff(np.log(table[f"{name}: s"])) / np.diff(size)
        table[f"{name}: exponent"] = np.round([np.nan, *rise], 2)
    title = f"Wide features: default fits of {args.frames} frames"
    yield results.Result("wide", title, table, gaps=True)


if __name__ == "__main__":
    parser = results.options(__doc__)
    sizes = [20, 100, 500, 1000, 2000, 5000, 10_000, 20_000]
    parser.add_argument("--features", type=int, nargs="+", default=sizes)
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--max-iter", type=int, help="instead of the defaults")
    results.publish(parser, run)
