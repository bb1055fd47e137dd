"""Do the error bars hold? State populations from repeated, independent pairs of simulations.

    python benchmarks/error_bars.py            # both systems, 40 repeats, about 20 min
    python benchmarks/error_bars.py --systems three-hole --repeats 4 --frames 5000

Variables and states are learned once. Each repeat simulates both temperatures anew (LJ7: T = 0.2
and 0.5, the three-hole potential: 0.7 and 1.4) and predicts the populations at others; the error of
each is divided by its standard error (that of LJ7's reference included; the three-hole potential's
is exact). Honest error bars give a root mean square of 1, and 68 % and 95 % within one and two. One
thread.
"""

import numpy as np
import pandas as pd
import results
from simulations import SYSTEMS, block_error, lj7_reference, populations
from sklearn.frozen import FrozenEstimator

from latflow import LaTFEstimator, TemperatureExtrapolator
from latflow.datasets import three_hole_populations

METHODS = {
    "mbar": {"method": "mbar"},
    "enthalpy, n_bootstraps=20": {"n_bootstraps": 20},
    "enthalpy, n_bootstraps=0": {"n_bootstraps": 0},
}


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


def deviations(name, args):
    """Return a DataFrame of every repeat, method, temperature and state."""
    system = SYSTEMS[name]
    learned = system.simulate(args.frames, 10_000)
    latf = LaTFEstimator(encoder="linear", boltzmann_constant=1.0, random_state=0)
    latf.fit(learned["trajectories"], temperature=learned["temperature"])
    known = [truth(name, latf, t, args.reference_frames) for t in system.judged]
    true, true_error = (np.concatenate(values) for values in zip(*known, strict=True))
    tables = []
    for repeat in range(1, args.repeats + 1):
        data = system.simulate(args.frames, 10_000 + 2 * repeat)
        for method, options in METHODS.items():
            table = predict(latf, data, options, repeat, system.judged).reset_index()
            error = np.hypot(table.standard_error, true_error)
            off = table.population - true
            tables.append(table.assign(method=method, off=off, error=error, z=off / error))
    return pd.concat(tables)


def summarise(table):
    """Return a line a method and temperature."""
    groups = table[table.error > 0].groupby(["method", "temperature"], sort=False)
    columns = {
        "mean z": groups.z.mean(),
        "rms z": groups.z.apply(lambda z: np.sqrt((z**2).mean())),
        "within 1": groups.z.apply(lambda z: (z.abs() < 1).mean()),
        "within 2": groups.z.apply(lambda z: (z.abs() < 2).mean()),
        "rms off": groups.off.apply(lambda off: np.sqrt((off**2).mean())),
        "mean s.e.": groups.error.mean(),
    }
    return pd.DataFrame(columns).round(4)


def run(args):
    """Compare errors with error bars on the systems asked for."""
    for system in args.systems:
        summary, name = summarise(deviations(system, args)), system.replace("-", "_")
        title = f"{system}: errors of populations in standard errors, {args.repeats} repeats"
        yield results.Result(f"error_bars_{name}_moments", title, summary)
        coverage = summary["within 1"].unstack().loc[list(METHODS)].round(2)
        coverage.columns = [
            f"{t:g}" if t in SYSTEMS[system].simulated else f"**{t:g}**" for t in coverage
        ]
        title = f"{system}: fraction of the populations within one standard error"
        yield results.Result(f"error_bars_{name}", title, coverage)


if __name__ == "__main__":
    parser = results.options(__doc__)
    parser.add_argument("--systems", nargs="+", choices=tuple(SYSTEMS), default=list(SYSTEMS))
    parser.add_argument("--frames", type=int, default=20_000, help="a simulated temperature")
    parser.add_argument("--reference-frames", type=int, default=200_000)
    parser.add_argument("--repeats", type=int, default=40)
    results.publish(parser, run)
