"""Alanine dipeptide, learned from 450 and 600 K and judged by parallel tempering at 300 to 520 K.

    python benchmarks/alanine_dipeptide.py            # three seeds, from the data that ship
    python benchmarks/alanine_dipeptide.py --seeds 0 --max-iter 50

Basins, in degrees: "phi > 0", what has phi from 0 to 180; of the rest "alpha" where psi lies from
-120 to 30, "beta" elsewhere. Three tables: populations; the Jensen-Shannon divergence (nats,
36 x 36 bins of phi and psi, +0.2 a bin) of the training frames, weighted to a temperature, from
the parallel tempering's frames there; and whether the learned variables know the basins. Methods:
"enthalpy", the default, with 20 bootstraps for error bars; the same without; "mbar", which reads
the energies. One thread.

The populations of the parallel tempering are given twice: counted at each temperature, and from all
its replicas together (MBAR), with errors by a jackknife over ten parts of its time.
"""

import time

import numpy as np
import pandas as pd
import results
from clock import timed
from simulations import basins
from sklearn.frozen import FrozenEstimator
from sklearn.neighbors import KNeighborsClassifier

from latflow import LaTFEstimator, TemperatureExtrapolator
from latflow.datasets import load_alanine_dipeptide
from latflow.metrics import jensen_shannon, jensen_shannon_noise_floor
from latflow.thermodynamics import free_energy_offsets
from latflow.units import Units, with_error

JUDGED = (300.0, 350.0, 400.0, 520.0)
BASINS = ("beta", "alpha", "phi > 0")
HISTOGRAM = {"bins": 36, "range": [(-np.pi, np.pi)] * 2, "pseudocount": 0.2}
WITH_ENERGIES = ("enthalpy, energies", "mbar")
N_TENTHS = 10


def pooled_populations(energies, labels, temperatures, judged):
    """Return populations, (n_judged, 3), by MBAR over replicas (n_temperatures, n_frames)."""
    flat = energies.ravel()
    flat = flat - flat.mean()
    reduced = flat[:, None] * Units().betas(temperatures)
    counts = np.full(len(temperatures), energies.shape[1])
    offsets = free_energy_offsets(reduced, counts)
    denominator = np.logaddexp.reduce(np.log(counts) + offsets - reduced, axis=1)
    logits = -flat * Units().betas(judged)[:, None] - denominator
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    sums = weights @ np.eye(len(BASINS))[labels.ravel()]
    return sums / sums.sum(axis=1, keepdims=True)


def counted_populations(energies, labels, temperatures, judged):
    """Return the fractions of the frames at each judged temperature, (n_judged, 3)."""
    at = np.searchsorted(temperatures, judged)
    return np.eye(len(BASINS))[labels[at]].mean(axis=1)


def jackknife(function, energies, labels, *args):
    """Return a function's value and its error, by leaving out tenths of the frames."""
    tenth = np.arange(energies.shape[1]) * N_TENTHS // energies.shape[1]
    without = [
        function(energies[:, tenth != k], labels[:, tenth != k], *args) for k in range(N_TENTHS)
    ]
    return function(energies, labels, *args), np.std(without, axis=0) * np.sqrt(N_TENTHS - 1)


def truth(reference):
    """Return a DataFrame of the parallel tempering's populations, both ways."""
    energies, angles = np.stack(reference.energies), np.stack(reference.angles)
    args = energies, basins(angles), np.array(reference.temperature), np.array(JUDGED)
    columns = {}
    for name, function in (("counted", counted_populations), ("pooled", pooled_populations)):
        value, error = jackknife(function, *args)
        columns |= {name: value.ravel(), f"{name} error": error.ravel()}
    index = pd.MultiIndex.from_product([JUDGED, BASINS], names=["T", "basin"])
    return pd.DataFrame(columns, index=index)


def fit(data, seed, args):
    """Return the models by method, on the same variables, and the seconds they took.

    Frames are weighted here and nothing is generated: the generator stays untrained.
    """
    metadata = {"temperature": data.temperature}
    latf = LaTFEstimator(lagtime=args.lagtime, max_iter=args.max_iter, random_state=seed)
    seconds = {"LaTF": timed(lambda: latf.fit(data.trajectories, **metadata), time.perf_counter)}
    settings = {"temperature_range": (300, 600), "max_iter": 1, "random_state": seed}
    variants = {
        "enthalpy": {"n_bootstraps": args.bootstraps},
        "enthalpy, energies": {"n_bootstraps": args.bootstraps},
        "enthalpy, n_bootstraps=0": {"n_bootstraps": 0},
        "mbar": {"method": "mbar", "n_bootstraps": 0},
    }
    models = {
        name: TemperatureExtrapolator(FrozenEstimator(latf), **settings, **options)
        for name, options in variants.items()
    }
    for name, model in models.items():
        energy = {"energy": data.energies} if name in WITH_ENERGIES else {}
        fit_one = lambda m=model, e=energy: m.fit(data.trajectories, **e, **metadata)  # noqa: E731
        seconds[name] = timed(fit_one, time.perf_counter)
    return models, seconds


def predicted(model, data, case):
    """Return a record a temperature and basin."""
    labels, records = [basins(a) for a in data.angles], []
    for code, basin in enumerate(BASINS):
        table = model.expectation([(states == code).astype(float) for states in labels], JUDGED)
        for t, (value, error) in zip(JUDGED, table.to_numpy(), strict=True):
            records.append(case | {"T": t, "basin": basin, "value": value, "error": error})
    return records


def divergences(model, data, reference, case):
    """Return a record a temperature: the divergence of the weighted frames, in phi and psi."""
    angles, records = np.concatenate(data.angles), []
    for t in JUDGED:
        simulated = reference.angles[reference.temperature.index(t)]
        weights = np.concatenate(model.frame_weights(t))
        divergence = jensen_shannon(angles, simulated, weights_a=weights, **HISTOGRAM)
        records.append(case | {"T": t, "JS": divergence})
    return records


def knowledge(model, data, reference, seed):
    """Return how well the learned variables and states tell the basins of frames unseen.

    `recovered`: fraction of the parallel tempering's frames whose basin is that of most of the 15
    nearest training frames in the learned variables; `of beta` and so on: of that basin's frames
    alone; `of states`: the same for the commonest basin of each learned state; `commonest`: what
    always naming the commonest would score.
    """
    z = np.concatenate(model.transform(data.trajectories))
    known = basins(np.concatenate(data.angles))
    states = model.predict_latent(z)
    table = np.stack([states, known], axis=1)
    n_states = model.n_states_
    counts = np.zeros((n_states, len(BASINS)), int)
    np.add.at(counts, tuple(table.T), 1)
    classifier = KNeighborsClassifier(15).fit(z, known)
    records = []
    for t in JUDGED:
        k = reference.temperature.index(t)
        seen, true = model.transform(reference.trajectories[k]), basins(reference.angles[k])
        guess = classifier.predict(seen)
        by_state = counts.argmax(axis=1)[model.predict_latent(seen)]
        each = {f"of {b}": np.mean(guess[true == code] == code) for code, b in enumerate(BASINS)}
        scores = {"recovered": np.mean(guess == true), "of states": np.mean(by_state == true)}
        commonest = {"commonest": np.bincount(true).max() / len(true)}
        records.append({"seed": seed, "T": t, "states": n_states} | scores | commonest | each)
    return records


def against(populations, true):
    """Return the medians over seeds beside the truth, and the largest difference of any seed."""
    index = ["T", "basin"]
    middle = populations.pivot_table(
        index=index, columns="method", values=["value", "error"], aggfunc="median"
    )
    values, worst = true.copy(), pd.DataFrame(index=true.index)
    for method, table in populations.groupby("method", sort=False):
        values[method] = middle["value", method]
        values[f"{method} error"] = middle["error", method]
        for name in ("counted", "pooled"):
            off = table.set_index(index).value.sub(true[name]).abs()
            worst[f"{method} - {name}"] = off.groupby(level=index).max()
    return values, worst


def summarise(values, distances):
    """Return a line a temperature: populations of the basins, and divergences."""
    lines = {}
    for t, table in values.groupby("T"):
        error = zip(table["enthalpy"], table["enthalpy error"], strict=True)
        lines[f"{t:g}"] = {
            "parallel tempering": ", ".join(f"{x:.3f}" for x in table["counted"]),
            "enthalpy, with bootstraps": ", ".join(with_error(*pair) for pair in error),
            "mbar (energies)": ", ".join(f"{x:.3f}" for x in table["mbar"]),
            "divergence": distances.loc["enthalpy", t].max(),
            "divergence of mbar": distances.loc["mbar", t].max(),
        }
    return pd.DataFrame(lines).T.rename_axis("T (K)")


def floors(reference):
    """Return, per temperature, the divergence of two independent samples of as many frames."""
    frames = {t: reference.angles[reference.temperature.index(t)] for t in JUDGED}
    options = HISTOGRAM | {"random_state": 0}
    return {t: jensen_shannon_noise_floor(a, len(a), len(a), **options) for t, a in frames.items()}


def run(args):
    """Fit, judge and yield the tables."""
    data, reference = load_alanine_dipeptide(), load_alanine_dipeptide(parallel_tempering=True)
    for name in ("trajectories", "angles", "energies"):
        data[name] = [each[: args.frames] for each in data[name]]
    populations, distances, known, seconds = [], [], [], []
    for seed in args.seeds:
        models, times = fit(data, seed, args)
        seconds.append(times)
        for method, model in models.items():
            populations += predicted(model, data, {"method": method, "seed": seed})
            distances += divergences(model, data, reference, {"method": method, "seed": seed})
        known += knowledge(models["enthalpy"], data, reference, seed)
    values, worst = against(pd.DataFrame(populations), truth(reference))
    distances = pd.DataFrame(distances).pivot_table(
        index=["method", "seed"], columns="T", values="JS", sort=False
    )
    title = "Populations: parallel tempering, and predicted from 450 and 600 K (medians)"
    yield results.Result("alanine_dipeptide_populations", title, values.round(4))
    title = "Largest difference from parallel tempering, of any seed"
    yield results.Result("alanine_dipeptide_worst", title, worst.round(4))
    title = "Jensen-Shannon divergence of weighted frames from parallel tempering, phi and psi"
    floor = pd.DataFrame({("two samples as large", ""): floors(reference)}).T
    every = pd.concat([distances, floor]).rename_axis(["method", "seed"])
    yield results.Result("alanine_dipeptide_divergences", title, every.round(4))
    title, known = "Do the learned variables know the basins?", pd.DataFrame(known)
    yield results.Result("alanine_dipeptide_basins", title, known.set_index(["seed", "T"]).round(4))
    seconds = pd.DataFrame(seconds).median().round(1).rename_axis("fit").to_frame("seconds")
    yield results.Result("alanine_dipeptide_seconds", "Seconds, one thread", seconds)
    title = "Populations (beta, alpha, phi > 0; medians) and divergences (largest of any seed)"
    yield results.Result("alanine_dipeptide", title, summarise(values, distances.round(3)))


if __name__ == "__main__":
    parser = results.options(__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--frames", type=int, default=1500, help="of each of eight walkers")
    parser.add_argument("--bootstraps", type=int, default=20)
    parser.add_argument("--max-iter", type=int, default=1400)
    parser.add_argument("--lagtime", type=int, default=1, help="ps")
    results.publish(parser, run)
