"""What are the classes of `support` worth? Every pair of temperatures predicts all the others.

    python benchmarks/support.py            # LJ7 and alanine dipeptide, about 8 min
    python benchmarks/support.py --system lj7 --frames 2000 --bootstraps 10

LJ7 is simulated at T = 0.2 to 0.7; alanine dipeptide's frames are those of the parallel tempering
that ships with latflow (300 to 600 K). For every pair, variables, states and h are learned from
these two temperatures alone, and the populations at each other temperature are compared with its
own frames. The table gives, by class, the largest error of a population: its median, its ninth
decile, and the share within 0.03 and 0.10. One thread.
"""

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import warnings
from itertools import combinations

import numpy as np
import pandas as pd
import torch
from alanine_dipeptide import basins
from sklearn.frozen import FrozenEstimator

from latflow import LaTFEstimator, TemperatureExtrapolator
from latflow.datasets import load_alanine_dipeptide, make_lj7


def lj7(args):
    """Return trajectories by temperature; its states are the model's own."""
    wanted = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
    return {
        t: make_lj7(args.frames, t, random_state=round(10 * t)).trajectories for t in wanted
    }, None


def alanine(args):
    """Return trajectories by temperature, and the basins of their frames.

    At one temperature of a parallel tempering frames of all replicas follow each other, so no
    states can be learned from their order.
    """
    data = load_alanine_dipeptide(parallel_tempering=True)
    frames, known = {t: [] for t in data.temperature}, {t: [] for t in data.temperature}
    for x, angles, t in zip(data.trajectories, data.angles, data.temperature, strict=True):
        frames[t].append(x[: args.frames])
        known[t].append(basins(angles[: args.frames]))
    return frames, known


SYSTEMS = {
    "lj7": (lj7, {"encoder": "linear", "boltzmann_constant": 1.0}),
    "alanine": (alanine, {"encoder": "linear"}),
}


def predict(frames, known, pair, options, args):
    """Return a row per temperature that the pair has not seen."""
    X = [x for t in pair for x in frames[t]]
    temperature = [t for t in pair for _ in frames[t]]
    latf = LaTFEstimator(max_iter=args.max_iter, random_state=0, **options)
    latf.fit(X, temperature=temperature)
    model = TemperatureExtrapolator(
        FrozenEstimator(latf), n_bootstraps=args.bootstraps, max_iter=1, random_state=0
    ).fit(X, temperature=temperature)
    labels = known or {t: latf.predict(frames[t]) for t in frames}
    n = 1 + max(int(part.max()) for parts in labels.values() for part in parts)
    rows = []
    for t in (t for t in frames if t not in pair):
        true = np.bincount(np.concatenate(labels[t]), minlength=n) / sum(map(len, labels[t]))
        own = [labels[x] for x in pair]
        found = pd.concat(
            model.expectation([(part == s) * 1.0 for parts in own for part in parts], t)
            for s in range(n)
        )
        off = np.abs(found["value"].to_numpy() - true)
        row = model.support(t).iloc[0].to_dict() | {"T": t, "pair": pair, "states": n}
        rows.append(row | {"error": off.max(), "s.e.": found["standard_error"].max()})
    return rows


def main():
    """Parse the options, run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--system", choices=[*SYSTEMS, "both"], default="both")
    parser.add_argument("--frames", type=int, default=20_000, help="per temperature")
    parser.add_argument("--bootstraps", type=int, default=20)
    parser.add_argument("--max-iter", type=int, default=300)
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for system in SYSTEMS if args.system == "both" else [args.system]:
        simulate, options = SYSTEMS[system]
        frames, known = simulate(args)
        rows = []
        for pair in combinations(sorted(frames), 2):
            rows += predict(frames, known, pair, options, args)
        table = pd.DataFrame(rows)
        table = table[table.states > 1]
        print(f"\n## {system}\n\n{table.round(4).to_string(index=False)}")
        error = table.groupby("support").error
        columns = {"cases": error.size(), "median": error.median(), "0.9": error.quantile(0.9)}
        for most in (0.03, 0.1):
            columns[f"within {most}"] = error.apply(lambda e, most=most: (e <= most).mean())
        print(f"\n{pd.DataFrame(columns).round(3).to_string()}", flush=True)


if __name__ == "__main__":
    main()
