"""What are the classes of `support` worth? Every pair of temperatures predicts all the others.

    python benchmarks/support.py            # LJ7 and alanine dipeptide, about 8 min
    python benchmarks/support.py --systems lj7 --frames 2000 --bootstraps 10

LJ7 is simulated at T = 0.2 to 0.7; alanine dipeptide's frames are those of the parallel tempering
that ships with latflow (300 to 600 K). For every pair, variables, states and h are learned from
these two temperatures alone, and the populations at each other temperature are compared with its
own frames. The table gives, by class, the largest error of a population: its median, its ninth
decile, and the fraction within 0.03 and 0.10. One thread.
"""

from itertools import combinations, islice

import numpy as np
import pandas as pd
import results
from simulations import SYSTEMS, basins, populations
from sklearn.frozen import FrozenEstimator

from latflow import LaTFEstimator, TemperatureExtrapolator
from latflow.datasets import load_alanine_dipeptide


def lj7(args):
    """Return trajectories by temperature; its states are the model's own."""
    temperatures = SYSTEMS["lj7"].judged
    return {
        t: SYSTEMS["lj7"].simulate(args.frames, round(10 * t), [t])["trajectories"]
        for t in temperatures
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


DATA = {
    "lj7": (lj7, {"encoder": "linear", "boltzmann_constant": 1.0}),
    "alanine": (alanine, {"encoder": "linear"}),
}


def predict(frames, known, pair, options, args):
    """Return a record for each temperature that the pair has not seen."""
    X = [x for t in pair for x in frames[t]]
    temperature = [t for t in pair for _ in frames[t]]
    latf = LaTFEstimator(max_iter=args.max_iter, random_state=0, **options)
    latf.fit(X, temperature=temperature)
    model = TemperatureExtrapolator(
        FrozenEstimator(latf), n_bootstraps=args.bootstraps, max_iter=1, random_state=0
    ).fit(X, temperature=temperature)
    labels = known or {t: latf.predict(frames[t]) for t in frames}
    n = 1 + max(int(states.max()) for each in labels.values() for states in each)
    learned = [states for t in pair for states in labels[t]]
    records = []
    for t in (t for t in frames if t not in pair):
        true = populations(np.concatenate(labels[t]), n)
        predicted = pd.concat(
            model.expectation([(states == s) * 1.0 for states in learned], t) for s in range(n)
        )
        off = np.abs(predicted["value"].to_numpy() - true)
        record = model.support(t).iloc[0].to_dict() | {"T": t, "pair": pair, "states": n}
        records.append(record | {"error": off.max(), "s.e.": predicted["standard_error"].max()})
    return records


def run(args):
    """Yield the cases, and their summary by class."""
    summaries = {}
    for system in args.systems:
        simulate, options = DATA[system]
        frames, known = simulate(args)
        pairs = islice(combinations(sorted(frames), 2), args.pairs)
        cases = pd.DataFrame(
            [one for pair in pairs for one in predict(frames, known, pair, options, args)]
        )
        cases = cases[cases.states > 1].set_index(["pair", "T"])
        yield results.Result(f"support_{system}_cases", f"{system}: all cases", cases.round(4))
        error = cases.groupby("support").error
        columns = {"cases": error.size(), "median": error.median(), "0.9": error.quantile(0.9)}
        for most in (0.03, 0.1):
            columns[f"within {most}"] = error.apply(lambda e, most=most: (e <= most).mean())
        summaries[system] = pd.DataFrame(columns).round(3)
    table = pd.concat(summaries, names=["system"])
    yield results.Result("support", "Largest error of a population, by class", table)


if __name__ == "__main__":
    parser = results.options(__doc__)
    parser.add_argument("--systems", nargs="+", choices=tuple(DATA), default=list(DATA))
    parser.add_argument("--frames", type=int, default=20_000, help="a temperature")
    parser.add_argument("--pairs", type=int, help="only the first so many pairs; all if not given")
    parser.add_argument("--bootstraps", type=int, default=20)
    parser.add_argument("--max-iter", type=int, default=480)
    results.publish(parser, run)
