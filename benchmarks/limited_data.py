"""How little data will do? LJ7 with 100, 30, 10, 3 and 1 % of the frames, all methods.

    python benchmarks/limited_data.py            # three seeds, about 15 min
    python benchmarks/limited_data.py --seeds 0 --fractions 0.1 --frames 5000

Everything (variables, states, h, generator) is learned from some of the trajectories at T = 0.2 and
0.5. Judged at T = 0.3, 0.4, 0.6 and 0.7 against simulations that no model saw: Jensen-Shannon
divergence of generated variables (nats, 40 x 40 bins), populations of the model's own states, and
the melting temperature of the compact state, known from MBAR with the energies of simulations at
six temperatures. One thread.
"""

import numpy as np
import pandas as pd
import results
from simulations import SYSTEMS, pool, populations
from sklearn.frozen import FrozenEstimator

from latflow import LaTFEstimator, TemperatureExtrapolator
from latflow.datasets import make_lj7
from latflow.metrics import jensen_shannon

UNSEEN = (0.3, 0.4, 0.6, 0.7)
METHODS = ("enthalpy", "mbar", "tilted")


def some_of(data, fraction):
    """Return the first trajectories of each temperature."""
    kept = []
    for t in sorted(set(data["temperature"])):
        at = [k for k, temperature in enumerate(data["temperature"]) if temperature == t]
        kept += at[: max(2, round(fraction * len(at)))]
    return {name: [values[k] for k in kept] for name, values in data.items()}


def fit(latf, data, **options):
    """Return an extrapolator on a fitted estimator; MBAR reads the energies."""
    model = TemperatureExtrapolator(FrozenEstimator(latf), **options)
    energy = {"energy": data["energies"]} if model.method == "mbar" else {}
    return model.fit(data["trajectories"], temperature=data["temperature"], **energy)


def judge(model, truth, references, n):
    """Return the figures of a fitted model."""
    figures = {}
    for t in UNSEEN:
        z = np.concatenate(model.transform(references[t].trajectories))
        figures[f"JS {t}"] = jensen_shannon(model.sample(n, t, random_state=0), z)
        simulated = populations(model.predict_latent(z), model.n_states_)
        predicted = model.state_populations(t)["population"].to_numpy()
        figures[f"dP {t}"] = np.abs(predicted - simulated).max()
    compact = int(model.state_populations(0.2)["population"].to_numpy().argmax())
    melting, true = model.melting_temperature(compact), truth.melting_temperature(compact)
    off = abs(melting.temperature - true.temperature)
    return figures | {
        "T_m": melting.temperature,
        "s.e.": melting.standard_error,
        "true T_m": true.temperature,
        "T_m off, %": 100 * off / true.temperature,
        "off / s.e.": off / np.hypot(melting.standard_error, true.standard_error),
    }


def judge_all(seed, fraction, references, args):
    """Return a record a method for one seed and fraction of the data."""
    data = some_of(SYSTEMS["lj7"].simulate(args.frames, 50 + 2 * seed), fraction)
    latf = LaTFEstimator(encoder="linear", boltzmann_constant=1.0, random_state=seed)
    latf.fit(data["trajectories"], temperature=data["temperature"])
    truth = fit(latf, pool(references.values()), method="mbar", max_iter=1)
    options = {
        "n_bootstraps": args.bootstraps,
        "temperature_range": (0.16, 0.75),
        "max_iter": args.max_iter,
        "random_state": seed,
    }
    return [
        {"fraction": fraction, "method": method, "seed": seed}
        | judge(fit(latf, data, method=method, **options), truth, references, args.samples)
        for method in METHODS
    ]


def summarise(medians):
    """Return a line a fraction of the data, the methods side by side."""
    lines, names = [], " / ".join(METHODS)
    for fraction, table in medians.groupby("fraction", sort=False):
        by_method = table.droplevel("fraction").loc[list(METHODS)]
        off = by_method.loc["enthalpy", [f"dP {t}" for t in UNSEEN]]
        lines.append(
            {
                "frames": f"{fraction:.0%}",
                f"divergence at 0.3: {names}": " / ".join(f"{x:.2g}" for x in by_method["JS 0.3"]),
                "largest error of a population at 0.3, 0.4, 0.6, 0.7 (enthalpy)": ", ".join(
                    f"{x:.3f}" for x in off
                ),
                f"T_m off, %: {names}": " / ".join(f"{x:.2g}" for x in by_method["T_m off, %"]),
            }
        )
    return pd.DataFrame(lines).set_index("frames")


def run(args):
    """Judge all methods on ever less data."""
    references = {
        t: make_lj7(args.reference_frames, t, random_state=round(1000 * t))
        for t in SYSTEMS["lj7"].judged
    }
    records = [
        record
        for fraction in args.fractions
        for seed in args.seeds
        for record in judge_all(seed, fraction, references, args)
    ]
    groups = pd.DataFrame(records).drop(columns="seed").groupby(["fraction", "method"], sort=False)
    medians, title = groups.median(), f"LJ7 on less data: median of {len(args.seeds)} seed(s)"
    yield results.Result("limited_data_figures", title, medians.round(4))
    yield results.Result("limited_data", title, summarise(medians))


if __name__ == "__main__":
    parser = results.options(__doc__)
    parser.add_argument("--frames", type=int, default=50_000, help="a temperature, of 100 %%")
    parser.add_argument("--reference-frames", type=int, default=50_000)
    parser.add_argument("--samples", type=int, default=50_000)
    parser.add_argument("--fractions", type=float, nargs="+", default=[1.0, 0.3, 0.1, 0.03, 0.01])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--bootstraps", type=int, default=20)
    parser.add_argument("--max-iter", type=int, default=1000)
    results.publish(parser, run)
