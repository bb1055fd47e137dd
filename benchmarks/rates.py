"""Rates at temperatures never simulated, against generators that are known, at several lagtimes.

    python benchmarks/rates.py                 # both potentials, 20 repeats, about 30 min
    python benchmarks/rates.py --systems three-hole --repeats 5

Each repeat simulates two temperatures anew (20,000 frames each, one every 0.1 time units), counts
transitions between clusters of x and y at each, and asks rates_at for the rates and timescales at
temperatures below and between them, with exact populations. Truths are those of the generator on a
grid (generators.py). "by states" counts transitions between the states alone. One thread.
"""

import warnings
from itertools import combinations

import numpy as np
import pandas as pd
import results
from generators import FRAME, SYSTEMS, exact

from latflow.kinetics import arrhenius, rates, rates_at

KEYS = ["counts", "temperature", "quantity", "lagtime"]


def simulate(system, n_frames, seed):
    """Return trajectories at the simulated temperatures, and the temperature of each."""
    parts = [system.simulate(n_frames, t, 100 * seed + k) for k, t in enumerate(system.simulated)]
    temperature = np.repeat(system.simulated, [len(part) for part in parts])
    return [x for part in parts for x in part], temperature.tolist()


def answers(model):
    """Return rates and timescales of a RateModel in one table.

    One rate a pair: those backward follow from the populations, which are exact.
    """
    columns = ["value", "low", "high", "log_error"]
    between = model.rates.query("source < target")
    between = between.set_axis([f"rate {a} to {b}" for a, b in between.index])
    times = model.timescales.set_axis([f"timescale {k + 1}" for k in model.timescales.index])
    return pd.concat(
        [
            between.rename(columns={"rate": "value"})[columns],
            times.rename(columns={"timescale": "value"})[columns],
        ]
    )


def truths(kinetics):
    """Return what `answers` should be."""
    n = len(kinetics.populations)
    pairs = combinations(range(n), 2)
    values = {f"rate {a} to {b}": kinetics.rates[a, b] for a, b in pairs}
    return pd.Series(values | {f"timescale {k + 1}": t for k, t in enumerate(kinetics.timescales)})


def ask(trajectories, temperature, system, known, lagtime, counts, args, seed):
    """Return a table of answers at the unseen temperatures, and whether memory was warned of."""
    variables = trajectories if counts == "by clusters" else None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        table = rates(
            [system.states(x) for x in trajectories], lagtime, temperature=temperature,
            variables=variables, n_clusters=args.clusters, time_step=FRAME, random_state=seed,
        )  # fmt: skip
    fit = arrhenius(table, boltzmann_constant=1.0)
    found = {
        t: answers(rates_at(fit, known[t].populations, temperature=t)).assign(
            truth=truths(known[t])
        )
        for t in system.unseen
    }
    warned = any("memory" in str(w.message) for w in caught)
    table = pd.concat(found, names=["temperature", "quantity"])
    return table.assign(warned=warned, counts=counts, lagtime=lagtime * FRAME)


def repeat(system, args):
    """Return the answers of all repeats."""
    known = {t: exact(system, t) for t in system.unseen}
    tables = []
    for seed in range(1, args.repeats + 1):
        data = simulate(system, args.frames, seed)
        for counts in args.counts:
            for lagtime in args.lagtimes:
                tables.append(ask(*data, system, known, lagtime, counts, args, seed))
    return pd.concat(tables).reset_index()


def summarise(table):
    """Return a line a question and lagtime."""
    table["ratio"] = table["value"] / table["truth"]
    table["inside"] = (table["low"] < table["truth"]) & (table["truth"] < table["high"])
    groups = table.groupby(KEYS)
    columns = {
        "truth": groups["truth"].first().round(4),
        "median / truth": groups["ratio"].median().round(3),
        "spread": groups["ratio"].std().round(3),
        "error bar": groups["log_error"].median().round(3),
        "truth in 95 % interval": groups["inside"].mean().round(2),
        "warned of memory": groups["warned"].mean().round(2),
    }
    return pd.DataFrame(columns)


def worst(summary):
    """Return a line a way to count, temperature and lagtime: the worst over rates and times."""
    off = (summary["median / truth"] - 1).abs()
    groups = summary.assign(off=off).groupby(["counts", "temperature", "lagtime"])
    columns = {
        "largest error of a median": groups["off"].max().round(3),
        "fewest in 95 % interval": groups["truth in 95 % interval"].min(),
        "warned of memory": groups["warned of memory"].max(),
    }
    return pd.DataFrame(columns)


def run(args):
    """Yield two tables a potential: the worst answers, and all."""
    for name in args.systems:
        summary = summarise(repeat(SYSTEMS[name], args))
        file = "rates_" + name.replace("-", "_")
        title = f"{name}: {args.repeats} repeats of {args.frames} frames a temperature"
        yield results.Result(file, f"{title}, worst of all rates and timescales", worst(summary))
        yield results.Result(f"{file}_all", f"{title}, every rate and timescale", summary)


if __name__ == "__main__":
    parser = results.options(__doc__)
    parser.add_argument("--systems", nargs="+", choices=tuple(SYSTEMS), default=list(SYSTEMS))
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--frames", type=int, default=20_000, help="a temperature")
    parser.add_argument("--lagtimes", type=int, nargs="+", default=[1, 2, 4], help="in frames")
    parser.add_argument("--clusters", type=int, default=100, help="a temperature")
    parser.add_argument("--counts", nargs="+", default=["by clusters", "by states"])
    results.publish(parser, run)
