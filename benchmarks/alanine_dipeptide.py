"""Alanine dipeptide, trained at 450 and 600 K and judged by parallel tempering at 300 to 520 K.

    python benchmarks/alanine_dipeptide.py            # three seeds, from the data that ship
    python benchmarks/alanine_dipeptide.py --seeds 0 --max-iter 50

Basins, in degrees: "phi > 0", what has phi from 0 to 180; of the rest "alpha" where psi lies from
-120 to 30, "beta" elsewhere. Three tables: populations; the Jensen-Shannon divergence (nats,
36 x 36 bins of phi and psi, +0.2 a bin) of the training frames, weighted to a temperature, from
the parallel tempering's frames there; and whether the learned variables know the basins. Methods:
"enthalpy", the default; the same with 20 bootstraps, for error bars; "mbar", which reads
the energies. One thread.

The populations of the parallel tempering are given twice: counted at each temperature, and from all
its replicas together (MBAR), with errors by a jackknife over ten parts of its time.
"""

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time
import warnings

import numpy as np
import pandas as pd
import torch
from scipy.constants import R
from sklearn.frozen import FrozenEstimator
from sklearn.neighbors import KNeighborsClassifier

from latflow import LaTFEstimator, TemperatureExtrapolator
from latflow.datasets import load_alanine_dipeptide
from latflow.metrics import jensen_shannon, jensen_shannon_noise_floor
from latflow.thermodynamics import free_energy_offsets

JUDGED = (300.0, 350.0, 400.0, 520.0)
BASINS = ("beta", "alpha", "phi > 0")
HISTOGRAM = {"bins": 36, "range": [(-np.pi, np.pi)] * 2, "pseudocount": 0.2}
N_PARTS = 10


def basins(angles):
    """Return 0 (beta), 1 (alpha) or 2 (phi > 0) of phi and psi in rad, shape (..., 2)."""
    phi, psi = np.moveaxis(np.degrees(angles), -1, 0)
    return np.where(phi > 0, 2, ((psi > -120) & (psi < 30)).astype(int))


def beta(temperature):
    """Return 1 / (k_B T) in mol/kJ."""
    return 1000 / (R * np.asarray(temperature))


def pooled_populations(energies, labels, temperatures, wanted):
    """Return populations, (n_wanted, 3), by MBAR over replicas (n_temperatures, n_frames)."""
    flat = energies.ravel()
    flat = flat - flat.mean()
    reduced = flat[:, None] * beta(temperatures)
    counts = np.full(len(temperatures), energies.shape[1])
    offsets = free_energy_offsets(reduced, counts)
    denominator = np.logaddexp.reduce(np.log(counts) + offsets - reduced, axis=1)
    logits = -flat * beta(wanted)[:, None] - denominator
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    found = weights @ np.eye(len(BASINS))[labels.ravel()]
    return found / found.sum(axis=1, keepdims=True)


def counted_populations(energies, labels, temperatures, wanted):
    """Return the shares of the frames at each wanted temperature, (n_wanted, 3)."""
    rows = np.searchsorted(temperatures, wanted)
    return np.eye(len(BASINS))[labels[rows]].mean(axis=1)


def with_error(function, energies, labels, *args):
    """Return what the function finds and its jackknife error over parts of the frames."""
    part = np.arange(energies.shape[1]) * N_PARTS // energies.shape[1]
    left = [function(energies[:, part != k], labels[:, part != k], *args) for k in range(N_PARTS)]
    return function(energies, labels, *args), np.std(left, axis=0) * np.sqrt(N_PARTS - 1)


def truth(reference):
    """Return a DataFrame of the parallel tempering's populations, both ways."""
    energies, angles = np.stack(reference.energies), np.stack(reference.angles)
    args = energies, basins(angles), np.array(reference.temperature), np.array(JUDGED)
    columns = {}
    for name, function in (("counted", counted_populations), ("pooled", pooled_populations)):
        value, error = with_error(function, *args)
        columns |= {name: value.ravel(), f"{name} error": error.ravel()}
    index = pd.MultiIndex.from_product([JUDGED, BASINS], names=["T", "basin"])
    return pd.DataFrame(columns, index=index)


def fit(data, seed, args):
    """Return the models by method, on the same variables, and the seconds they took.

    Frames are weighted here and nothing is generated: the generator stays untrained.
    """
    metadata = {"temperature": data.temperature}
    start = time.perf_counter()
    latf = LaTFEstimator(lagtime=args.lagtime, max_iter=args.max_iter, random_state=seed)
    latf.fit(data.trajectories, **metadata)
    seconds, models = {"LaTF": time.perf_counter() - start}, {}
    settings = {"temperature_range": (300, 600), "max_iter": 1, "random_state": seed}
    variants = {
        "enthalpy": {},
        "enthalpy, bootstraps": {"n_bootstraps": args.estimators},
        "mbar": {"method": "mbar"},
    }
    for name, options in variants.items():
        start = time.perf_counter()
        model = TemperatureExtrapolator(FrozenEstimator(latf), **settings, **options)
        models[name] = model.fit(data.trajectories, energy=data.energies, **metadata)
        seconds[name] = time.perf_counter() - start
    return models, seconds


def predicted(model, data, method, seed):
    """Return one row per temperature and basin."""
    labels = [basins(a) for a in data.angles]
    rows = []
    for code, basin in enumerate(BASINS):
        found = model.expectation([(part == code).astype(float) for part in labels], JUDGED)
        for t, (value, error) in zip(JUDGED, found.to_numpy(), strict=True):
            row = {"method": method, "seed": seed, "T": t, "basin": basin}
            rows.append(row | {"value": value, "error": error})
    return rows


def divergences(model, data, reference, method, seed):
    """Return one row per temperature: of the weighted frames, in phi and psi."""
    angles, rows = np.concatenate(data.angles), []
    for t in JUDGED:
        simulated = reference.angles[reference.temperature.index(t)]
        weights = np.concatenate(model.frame_weights(t))
        found = jensen_shannon(angles, simulated, weights_a=weights, **HISTOGRAM)
        rows.append({"method": method, "seed": seed, "T": t, "JS": found})
    return rows


def knowledge(model, data, reference, seed):
    """Return how well the learned variables and states tell the basins of frames unseen.

    `recovered`: share of the parallel tempering's frames whose basin is that of most of the 15
    nearest training frames in the learned variables; `of beta` and so on: of that basin's frames
    alone; `of states`: the same for the commonest basin of each learned state; `commonest`: what
    always naming the commonest would score.
    """
    z = np.concatenate(model.transform(data.trajectories))
    known = basins(np.concatenate(data.angles))
    states = model.estimator_.predict_latent(z)
    table = np.stack([states, known], axis=1)
    n_states = model.estimator_.n_states_
    counts = np.zeros((n_states, len(BASINS)), int)
    np.add.at(counts, tuple(table.T), 1)
    classifier = KNeighborsClassifier(15).fit(z, known)
    rows = []
    for t in JUDGED:
        k = reference.temperature.index(t)
        seen, true = model.transform(reference.trajectories[k]), basins(reference.angles[k])
        guess = classifier.predict(seen)
        by_state = counts.argmax(axis=1)[model.estimator_.predict_latent(seen)]
        each = {f"of {b}": np.mean(guess[true == code] == code) for code, b in enumerate(BASINS)}
        scores = {"recovered": np.mean(guess == true), "of states": np.mean(by_state == true)}
        commonest = {"commonest": np.bincount(true).max() / len(true)}
        rows.append({"seed": seed, "T": t, "states": n_states} | scores | commonest | each)
    return rows


def against(populations, true):
    """Return the medians over seeds beside the truth, and the largest difference of any seed."""
    index = ["T", "basin"]
    middle = populations.pivot_table(
        index=index, columns="method", values=["value", "error"], aggfunc="median"
    )
    values = true.copy()
    worst = pd.DataFrame(index=true.index)
    for method, own in populations.groupby("method", sort=False):
        values[method] = middle["value", method]
        values[f"{method} error"] = middle["error", method]
        for name in ("counted", "pooled"):
            off = own.set_index(index).value.sub(true[name]).abs()
            worst[f"{method} - {name}"] = off.groupby(level=index).max()
    return values, worst


def show(populations, distances, known, seconds, reference):
    """Print the tables."""
    values, worst = against(populations, truth(reference))
    print("\n## Populations: parallel tempering, and predicted from 450 and 600 K (medians)\n")
    print(values.round(4).to_string())
    print("\n## Largest difference from parallel tempering, of any seed\n")
    print(worst.round(4).to_string())
    print(
        "\n## Jensen-Shannon divergence of weighted frames from parallel tempering, phi and psi\n"
    )
    wide = distances.pivot_table(index=["method", "seed"], columns="T", values="JS", sort=False)
    print(wide.round(4).to_string())
    floor = ", ".join(f"{value:.4f}" for value in floors(reference))
    print(f"two samples as large as the parallel tempering's: {floor}")
    print("\n## Do the learned variables know the basins?\n")
    print(known.round(4).to_string(index=False))
    print("\nseconds, one thread:", pd.DataFrame(seconds).median().round(1).to_dict())


def floors(reference):
    """Return, per temperature, the divergence of two independent samples of as many frames."""
    frames = (reference.angles[reference.temperature.index(t)] for t in JUDGED)
    options = HISTOGRAM | {"random_state": 0}
    return [jensen_shannon_noise_floor(a, len(a), len(a), **options) for a in frames]


def main():
    """Parse the options and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--frames", type=int, default=1500, help="of each of eight walkers")
    parser.add_argument("--estimators", type=int, default=20, help="bootstraps")
    parser.add_argument("--max-iter", type=int, default=1000)
    parser.add_argument("--lagtime", type=int, default=1, help="ps")
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    data, reference = load_alanine_dipeptide(), load_alanine_dipeptide(parallel_tempering=True)
    for name in ("trajectories", "angles", "energies"):
        data[name] = [part[: args.frames] for part in data[name]]
    populations, distances, known, seconds = [], [], [], []
    for seed in args.seeds:
        models, took = fit(data, seed, args)
        seconds.append(took)
        for method, model in models.items():
            populations += predicted(model, data, method, seed)
            distances += divergences(model, data, reference, method, seed)
        known += knowledge(models["enthalpy"], data, reference, seed)
    tables = (pd.DataFrame(rows) for rows in (populations, distances, known))
    show(*tables, seconds, reference)


if __name__ == "__main__":
    main()
