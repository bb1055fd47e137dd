"""What are the classes of `support` worth? Every pair of temperatures predicts all the others.

    python benchmarks/support.py            # LJ7 and alanine dipeptide, about 8 min
    python benchmarks/support.py --system lj7 --frames 2000 --members 2

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
from sklearn.frozen import FrozenEstimator

from latflow import LaTFEstimator, TemperatureExtrapolator
from latflow.datasets import load_alanine_dipeptide, make_lj7


def lj7(args):
    """Return trajectories by temperature."""
    wanted = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
    return {t: make_lj7(args.frames, t, random_state=round(10 * t)).trajectories for t in wanted}


def alanine(args):
    """Return the parallel tempering's trajectories by temperature."""
    data = load_alanine_dipeptide(parallel_tempering=True)
    return {
        t: [x[: args.frames] for x, own in zip(data.trajectories, data.temperature, strict=True)
            if own == t]
        for t in data.temperature
    }  # fmt: skip


SYSTEMS = {
    "lj7": (lj7, {"encoder": "linear", "boltzmann_constant": 1.0}),
    "alanine": (alanine, {"encoder": "linear"}),
}


def predict(simulated, pair, options, args):
    """Return a row per temperature that the pair has not seen."""
    X = [x for t in pair for x in simulated[t]]
    temperature = [t for t in pair for _ in simulated[t]]
    latf = LaTFEstimator(max_iter=args.max_iter, random_state=0, **options)
    latf.fit(X, temperature=temperature)
    model = TemperatureExtrapolator(
        FrozenEstimator(latf), n_estimators=args.members, max_iter=1, random_state=0
    ).fit(X, temperature=temperature)
    others = [t for t in simulated if t not in pair]
    support, found = model.support(others), model.state_populations(others)
    rows = []
    for t in others:
        labels = latf.predict(np.concatenate(simulated[t]))
        true = np.bincount(labels, minlength=latf.n_states_) / len(labels)
        row = support.loc[t].to_dict() | {"T": t, "pair": pair, "states": latf.n_states_}
        own = found.loc[t]
        off = np.abs(own["population"] - true)
        rows.append(row | {"error": off.max(), "s.e.": own["standard_error"].max()})
    return rows


def main():
    """Parse the options, run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--system", choices=[*SYSTEMS, "both"], default="both")
    parser.add_argument("--frames", type=int, default=20_000, help="per temperature")
    parser.add_argument("--members", type=int, default=5)
    parser.add_argument("--max-iter", type=int, default=300)
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for system in SYSTEMS if args.system == "both" else [args.system]:
        simulate, options = SYSTEMS[system]
        simulated = simulate(args)
        pairs = combinations(sorted(simulated), 2)
        table = pd.DataFrame(
            [row for pair in pairs for row in predict(simulated, pair, options, args)]
        )
        print(f"\n## {system}\n")
        print(table[table.states > 1].round(4).to_string(index=False))
        groups = table[table.states > 1].groupby("support").error
        columns = {"cases": groups.size(), "median": groups.median(), "0.9": groups.quantile(0.9)}
        columns |= {
            f"within {x}": groups.apply(lambda e, x=x: (e <= x).mean()) for x in (0.03, 0.1)
        }
        print(f"\n{pd.DataFrame(columns).round(3).to_string()}", flush=True)


if __name__ == "__main__":
    main()
