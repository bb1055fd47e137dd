"""Do the error bars hold? State populations of LJ7 from repeated, independent pairs of simulations.

    python benchmarks/error_bars.py            # 20 repeats, about 5 min
    python benchmarks/error_bars.py --repeats 4 --frames 5000

Variables and states are learned once. Each repeat simulates T = 0.2 and 0.5 anew and predicts the
populations from 0.2 to 0.7; the error of each is divided by its standard error (the reference's
included). Honest error bars give a root mean square of 1, and 68 % and 95 % within one and two.
One thread.
"""

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import warnings

import numpy as np
import pandas as pd
import torch
from sklearn.frozen import FrozenEstimator
from temperature_transfer import LJ7_TEMPERATURES, block_error, join, lj7_reference, populations

from latflow import LaTFEstimator, TemperatureExtrapolator
from latflow.datasets import make_lj7

METHODS = {
    "mbar": {"method": "mbar"},
    "enthalpy": {},
    "enthalpy, n_estimators=5": {"n_estimators": 5},
}


def simulate(n_frames, repeat):
    """Simulate the two training temperatures, from seeds of this repeat alone."""
    seeds = 10_000 + 2 * repeat
    return join(*(make_lj7(n_frames, t, random_state=seeds + k) for k, t in enumerate((0.2, 0.5))))


def predict(latf, data, options, seed):
    """Return populations and standard errors; the generator is not needed and hardly trained."""
    model = TemperatureExtrapolator(FrozenEstimator(latf), **options, max_iter=1, random_state=seed)
    energy = {"energy": data["energies"]} if model.method == "mbar" else {}
    model.fit(data["trajectories"], temperature=data["temperature"], **energy)
    return model.state_populations(LJ7_TEMPERATURES)


def deviations(args):
    """Return one row per repeat, method, temperature and state."""
    learned = simulate(args.frames, 0)
    latf = LaTFEstimator(encoder="linear", boltzmann_constant=1.0, random_state=0)
    latf.fit(learned["trajectories"], temperature=learned["temperature"])
    true, own = [], []
    for t in LJ7_TEMPERATURES:
        labels = latf.predict(lj7_reference(t, args.reference_frames))
        true.append(populations(labels, latf.n_states_))
        own.append(block_error(labels, latf.n_states_))
    rows = []
    for repeat in range(1, args.repeats + 1):
        data = simulate(args.frames, repeat)
        for method, options in METHODS.items():
            found = predict(latf, data, options, repeat)
            off = found.population.to_numpy() - np.concatenate(true)
            error = np.hypot(found.standard_error.to_numpy(), np.concatenate(own))
            rows.append(
                found.reset_index().assign(method=method, off=off, error=error, z=off / error)
            )
    return pd.concat(rows)


def main():
    """Parse the options, run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=20_000, help="per training temperature")
    parser.add_argument("--reference-frames", type=int, default=200_000)
    parser.add_argument("--repeats", type=int, default=20)
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    table = deviations(args)
    table = table[table.error > 0]
    groups = table.groupby(["method", "temperature"])
    print(
        pd.DataFrame(
            {
                "mean z": groups.z.mean(),
                "rms z": groups.z.apply(lambda z: np.sqrt((z**2).mean())),
                "within 1": groups.z.apply(lambda z: (z.abs() < 1).mean()),
                "within 2": groups.z.apply(lambda z: (z.abs() < 2).mean()),
                "rms off": groups.off.apply(lambda off: np.sqrt((off**2).mean())),
                "mean s.e.": groups.error.mean(),
            }
        )
        .round(4)
        .to_string()
    )


if __name__ == "__main__":
    main()
