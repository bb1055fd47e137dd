"""Do the error bars hold? State populations from repeated, independent pairs of simulations.

    python benchmarks/error_bars.py            # both systems, 40 repeats, about 20 min
    python benchmarks/error_bars.py --system three-hole --repeats 4 --frames 5000

Variables and states are learned once. Each repeat simulates both training temperatures anew (LJ7:
T = 0.2 and 0.5, the three-hole potential: 0.7 and 1.4) and predicts the populations at others; the
error of each is divided by its standard error (that of LJ7's reference included; the three-hole
potential's is exact). Honest error bars give a root mean square of 1, and 68 % and 95 % within one
and two. One thread.
"""

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import warnings

import numpy as np
import pandas as pd
import torch
from sklearn.frozen import FrozenEstimator
from temperature_transfer import (
    HOLE_TEMPERATURES,
    LJ7_TEMPERATURES,
    block_error,
    join,
    lj7_reference,
    populations,
)

from latflow import LaTFEstimator, TemperatureExtrapolator
from latflow.datasets import make_lj7, make_three_hole, three_hole_populations

METHODS = {
    "mbar": {"method": "mbar"},
    "enthalpy": {"n_bootstraps": 0},
    "enthalpy, n_bootstraps=20": {"n_bootstraps": 20},
}


SYSTEMS = {  # simulation, training temperatures, temperatures judged
    "lj7": (make_lj7, (0.2, 0.5), LJ7_TEMPERATURES),
    "three-hole": (make_three_hole, (0.7, 1.4), HOLE_TEMPERATURES),
}


def simulate(system, n_frames, repeat):
    """Simulate the two training temperatures, from seeds of this repeat alone."""
    make, trained, _ = SYSTEMS[system]
    seeds = 10_000 + 2 * repeat
    return join(*(make(n_frames, t, random_state=seeds + k) for k, t in enumerate(trained)))


def predict(latf, data, options, seed, temperatures):
    """Return populations and standard errors; the generator is not needed and hardly trained."""
    model = TemperatureExtrapolator(FrozenEstimator(latf), **options, max_iter=1, random_state=seed)
    energy = {"energy": data["energies"]} if model.method == "mbar" else {}
    model.fit(data["trajectories"], temperature=data["temperature"], **energy)
    return model.state_populations(temperatures)


def truth(system, latf, temperature, n_frames):
    """Return the populations of the model's own states, and their standard errors."""
    if system == "three-hole":
        return three_hole_populations(temperature, assign=latf.predict), np.zeros(latf.n_states_)
    labels = latf.predict(lj7_reference(temperature, n_frames))
    return populations(labels, latf.n_states_), block_error(labels, latf.n_states_)


def deviations(system, args):
    """Return one row per repeat, method, temperature and state."""
    learned = simulate(system, args.frames, 0)
    latf = LaTFEstimator(encoder="linear", boltzmann_constant=1.0, random_state=0)
    latf.fit(learned["trajectories"], temperature=learned["temperature"])
    temperatures = SYSTEMS[system][2]
    known = [truth(system, latf, t, args.reference_frames) for t in temperatures]
    true, own = (np.concatenate(part) for part in zip(*known, strict=True))
    rows = []
    for repeat in range(1, args.repeats + 1):
        data = simulate(system, args.frames, repeat)
        for method, options in METHODS.items():
            found = predict(latf, data, options, repeat, temperatures)
            off = found.population.to_numpy() - true
            error = np.hypot(found.standard_error.to_numpy(), own)
            rows.append(
                found.reset_index().assign(method=method, off=off, error=error, z=off / error)
            )
    return pd.concat(rows)


def summarise(table):
    """Return one line per method and temperature."""
    groups = table[table.error > 0].groupby(["method", "temperature"])
    columns = {
        "mean z": groups.z.mean(),
        "rms z": groups.z.apply(lambda z: np.sqrt((z**2).mean())),
        "within 1": groups.z.apply(lambda z: (z.abs() < 1).mean()),
        "within 2": groups.z.apply(lambda z: (z.abs() < 2).mean()),
        "rms off": groups.off.apply(lambda off: np.sqrt((off**2).mean())),
        "mean s.e.": groups.error.mean(),
    }
    return pd.DataFrame(columns).round(4)


def main():
    """Parse the options, run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--system", choices=[*SYSTEMS, "both"], default="both")
    parser.add_argument("--frames", type=int, default=20_000, help="per training temperature")
    parser.add_argument("--reference-frames", type=int, default=200_000)
    parser.add_argument("--repeats", type=int, default=40)
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for system in SYSTEMS if args.system == "both" else [args.system]:
        print(f"\n## {system}\n\n{summarise(deviations(system, args)).to_string()}", flush=True)


if __name__ == "__main__":
    main()
