"""How little data will do? LJ7 with 100, 30, 10, 3 and 1 % of the frames, all methods.

    python benchmarks/limited_data.py            # three seeds, about 15 min
    python benchmarks/limited_data.py --seeds 0 --shares 0.1 --frames 5000

Trained at T = 0.2 and 0.5 on some of the trajectories, all of it: variables, states, h, generator.
Judged at T = 0.3, 0.4, 0.6 and 0.7 against simulations that no model saw: Jensen-Shannon
divergence of generated variables (nats, 40 x 40 bins), populations of the model's own states, and
the melting temperature of the compact state, known from MBAR with the energies of simulations at
six temperatures. One thread.
"""

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import warnings

import numpy as np
import pandas as pd
import torch
from sklearn.frozen import FrozenEstimator
from temperature_transfer import LJ7_TEMPERATURES, join

from latflow import LaTFEstimator, TemperatureExtrapolator
from latflow.datasets import make_lj7
from latflow.metrics import jensen_shannon

UNSEEN = (0.3, 0.4, 0.6, 0.7)
METHODS = ("enthalpy", "mbar", "tilted")


def some_of(data, share):
    """Return the first trajectories of each temperature."""
    kept = []
    for t in sorted(set(data["temperature"])):
        own = [k for k, own in enumerate(data["temperature"]) if own == t]
        kept += own[: max(2, round(share * len(own)))]
    return {name: [values[k] for k in kept] for name, values in data.items()}


def true_model(latf, references):
    """Return MBAR over all reference simulations, in the same variables and states."""
    data = join(*references.values())
    model = TemperatureExtrapolator(FrozenEstimator(latf), method="mbar", max_iter=1)
    return model.fit(data["trajectories"], temperature=data["temperature"], energy=data["energies"])


def judge(model, truth, references, n):
    """Return one row of figures for a fitted model."""
    found = {}
    for t in UNSEEN:
        z = np.concatenate(model.transform(references[t].trajectories))
        found[f"JS {t}"] = jensen_shannon(model.sample(n, t, random_state=0), z)
        simulated = np.bincount(model.estimator_.predict_latent(z), minlength=truth.n_states)
        predicted = model.state_populations(t)["population"].to_numpy()
        found[f"dP {t}"] = np.abs(predicted - simulated / len(z)).max()
    compact = int(model.state_populations(0.2)["population"].to_numpy().argmax())
    own, true = model.melting_temperature(compact), truth.model.melting_temperature(compact)
    found["T_m"], found["s.e."], found["true T_m"] = own.temperature, own.standard_error, true[0]
    found["T_m off, %"] = 100 * abs(own.temperature / true.temperature - 1)
    found["off / s.e."] = abs(own.temperature - true.temperature) / np.hypot(own[1], true[1])
    return found


class Truth:
    """MBAR over the references, and the number of states."""

    def __init__(self, latf, references):
        self.model = true_model(latf, references)
        self.n_states = latf.n_states_


def run(seed, share, references, args):
    """Return a row per method for one seed and share."""
    trained = join(
        *(
            make_lj7(args.frames, t, random_state=50 + 2 * seed + k)
            for k, t in enumerate((0.2, 0.5))
        )
    )
    data = some_of(trained, share)
    X, metadata = data["trajectories"], {"temperature": data["temperature"]}
    latf = LaTFEstimator(encoder="linear", boltzmann_constant=1.0, random_state=seed)
    latf.fit(X, **metadata)
    truth, rows = Truth(latf, references), []
    for method in METHODS:
        energy = {"energy": data["energies"]} if method == "mbar" else {}
        model = TemperatureExtrapolator(
            FrozenEstimator(latf), method=method, n_bootstraps=args.bootstraps,
            temperature_range=(0.16, 0.75), max_iter=args.max_iter, random_state=seed,
        ).fit(X, **metadata, **energy)  # fmt: skip
        row = {"share": share, "method": method, "seed": seed}
        rows.append(row | judge(model, truth, references, args.samples))
    return rows


def main():
    """Parse the options, run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=50_000, help="per temperature, of 100 %%")
    parser.add_argument("--reference-frames", type=int, default=50_000)
    parser.add_argument("--samples", type=int, default=50_000)
    parser.add_argument("--shares", type=float, nargs="+", default=[1.0, 0.3, 0.1, 0.03, 0.01])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--bootstraps", type=int, default=20)
    parser.add_argument("--max-iter", type=int, default=1000)
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    references = {
        t: make_lj7(args.reference_frames, t, random_state=round(1000 * t))
        for t in LJ7_TEMPERATURES
    }
    for share in args.shares:
        rows = [row for seed in args.seeds for row in run(seed, share, references, args)]
        table = pd.DataFrame(rows).drop(columns="seed").groupby(["share", "method"]).median()
        print(table.round(4).to_string(), flush=True)


if __name__ == "__main__":
    main()
