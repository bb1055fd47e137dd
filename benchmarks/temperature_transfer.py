"""Transfer to unseen temperatures: LJ7 and the three-hole potential, all methods, with times.

    python benchmarks/temperature_transfer.py            # both systems, three seeds, about 20 min
    python benchmarks/temperature_transfer.py --system lj7 --seeds 0 --frames 5000
    python benchmarks/temperature_transfer.py --system lj7 --train 0.2 0.5 0.7 \\
        --methods enthalpy mbar

LJ7 is trained at T = 0.2 and 0.5 and judged in the model's own collective variables by the
Jensen-Shannon divergence (nats, 40 x 40 bins over the simulated range, +0.5 a bin) from long
simulations that no model saw. The three-hole potential is trained at k_B T = 0.7 and 1.4 and judged
against its exact density. Reference simulations are kept in benchmarks/.cache. One thread.
"""

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time
import warnings
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.frozen import FrozenEstimator

from latflow import LaTFEstimator, TemperatureExtrapolator
from latflow.datasets import (
    make_lj7,
    make_three_hole,
    three_hole_density,
    three_hole_populations,
)
from latflow.metrics import (
    jensen_shannon,
    jensen_shannon_noise_floor,
    jensen_shannon_to_density,
)

CACHE = Path(__file__).parent / ".cache"
LJ7_TEMPERATURES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
HOLE_TEMPERATURES = (0.5, 0.7, 1.0, 1.2, 1.4, 2.0)
HOLE_BOX = np.array([(-3.0, 3.0), (-2.5, 3.5)])
BINS = 40
METHODS = ["enthalpy", "mbar", "tilted", "enthalpy of CVs", "tilted, long"]


def timed(function):
    """Return a function's result and its wall time in seconds."""
    start = time.perf_counter()
    result = function()
    return result, time.perf_counter() - start


def lj7_reference(temperature, n_frames):
    """Features of a long simulation, from the cache if it is there."""
    CACHE.mkdir(exist_ok=True)
    path = CACHE / f"lj7_{temperature:g}_{n_frames}.npy"
    if not path.exists():
        data = make_lj7(n_frames, temperature, random_state=round(1000 * temperature))
        np.save(path, np.concatenate(data.trajectories).astype(np.float32))
    return np.load(path).astype(np.float64)


def join(*bunches):
    """Pool simulations into the arguments of fit."""
    return {
        key: list(chain.from_iterable(bunch[key] for bunch in bunches))
        for key in ("trajectories", "temperature", "energies")
    }


def fit_all(data, seed, args, wanted):
    """Fit every method on the same variables; the tilted prior also with its own, longer fit.

    It alone carries all temperatures in one flow: 12 transforms, eight times the steps at half the
    learning rate.
    """
    X, metadata = data["trajectories"], {"temperature": data["temperature"]}
    options = {"encoder": "linear", "boltzmann_constant": 1.0, "random_state": seed}
    steps = {} if args.max_iter is None else {"max_iter": args.max_iter}
    settings = {"temperature_range": wanted, "random_state": seed} | steps
    latf_options = options | steps
    latf, t_latf = timed(lambda: LaTFEstimator(**latf_options).fit(X, **metadata))
    frozen = FrozenEstimator(latf)
    long = LaTFEstimator(
        **options, n_transforms=12, max_iter=8 * (args.max_iter or 1000), learning_rate=5e-3
    )
    every = {
        "enthalpy": TemperatureExtrapolator(frozen, **settings),
        "mbar": TemperatureExtrapolator(frozen, method="mbar", **settings),
        "tilted": TemperatureExtrapolator(frozen, method="tilted", **settings),
        "enthalpy of CVs": TemperatureExtrapolator(frozen, enthalpy_input="cvs", **settings),
        "tilted, long": TemperatureExtrapolator(long, method="tilted", random_state=seed),
    }
    models, times = {}, {"LaTF": t_latf}
    for name in args.methods:
        model = every[name]
        energy = {"energy": data["energies"]} if model.method == "mbar" else {}
        models[name], times[name] = timed(lambda m=model, e=energy: m.fit(X, **metadata, **e))
    return models, times


def populations(labels, n_states):
    """Return shares of the states."""
    return np.bincount(labels, minlength=n_states) / len(labels)


def in_errors(difference, found, own=0.0):
    """Return the largest difference in units of its standard error, the reference's included."""
    error = np.hypot(found.standard_error.to_numpy(), own)
    return np.divide(difference, error, out=np.zeros_like(error), where=difference > 1e-9).max()


def block_error(labels, n_states, n_walkers=250):
    """Return standard errors of populations over the simulation's independent walkers."""
    shares = [populations(part, n_states) for part in np.array_split(labels, n_walkers)]
    return np.std(shares, axis=0, ddof=1) / np.sqrt(n_walkers)


def judge_lj7(models, references, n):
    """Return one row per method and temperature."""
    rows = []
    for method, model in models.items():
        simulated = {t: model.transform(x) for t, x in references.items()}
        everything = np.concatenate(list(simulated.values()))
        box = np.stack([everything.min(axis=0), everything.max(axis=0)], axis=1)
        for t, z in simulated.items():
            weights = np.concatenate(model.frame_weights(t))
            found = model.state_populations(t)
            labels = model.estimator_.predict_latent(z)
            true = populations(labels, model.estimator_.n_states_)
            common = {"bins": BINS, "range": box}
            by_weights = jensen_shannon(model.z_, z, weights_a=weights, **common)
            worst = np.abs(found.population.to_numpy() - true)
            rows.append(
                {
                    "method": method,
                    "T": t,
                    "JS sample": jensen_shannon(model.sample(n, t, random_state=0), z, **common),
                    "JS weights": by_weights,
                    "floor": jensen_shannon_noise_floor(z, n, len(z), random_state=0, **common),
                    "population error": worst.max(),
                    "errors / s.e.": in_errors(worst, found, block_error(labels, len(true))),
                }
            )
    return rows


def hole_probabilities(temperature):
    """Return the exact probability of every bin of the box, by 8 x 8 points a bin."""
    fine = [np.linspace(a, b, 8 * BINS + 1) for a, b in HOLE_BOX]
    x, y = np.meshgrid(*[(e[1:] + e[:-1]) / 2 for e in fine], indexing="ij")
    density = three_hole_density(x, y, temperature)
    binned = density.reshape(BINS, 8, BINS, 8).sum(axis=(1, 3))
    return binned / binned.sum()


def back_to_plane(model, z):
    """Invert the linear encoder."""
    corners = model.transform(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    return np.linalg.solve((corners[1:] - corners[0]).T, (z - corners[0]).T).T


def judge_three_hole(models, n):
    """Return one row per method and temperature, against the exact density."""
    rows, known = [], {}
    rng = np.random.default_rng(0)
    for method, model in models.items():
        for t in HOLE_TEMPERATURES:
            exact = hole_probabilities(t)
            points = back_to_plane(model, model.sample(n, t, random_state=0))
            counts = rng.multinomial(n, exact.ravel()).reshape(exact.shape)
            frames = back_to_plane(model, model.z_)
            weights = np.concatenate(model.frame_weights(t))
            shared = id(model.estimator_), t
            if shared not in known:
                known[shared] = three_hole_populations(t, assign=model.predict)
            true, found = known[shared], model.state_populations(t)
            error = np.abs(found.population.to_numpy() - true)
            rows.append(
                {
                    "method": method,
                    "T": t,
                    "JS sample": jensen_shannon_to_density(points, exact, range=HOLE_BOX),
                    "JS weights": jensen_shannon_to_density(
                        frames, exact, range=HOLE_BOX, weights=weights
                    ),
                    "floor": floor_to_density(counts, exact),
                    "population error": error.max(),
                    "errors / s.e.": in_errors(error, found),
                }
            )
    return rows


def floor_to_density(counts, exact):
    """JS between an exact sample's histogram and the density it came from."""
    centres = [np.linspace(a, b, 2 * BINS + 1)[1::2] for a, b in HOLE_BOX]
    points = np.stack(np.meshgrid(*centres, indexing="ij"), axis=-1).reshape(-1, 2)
    return jensen_shannon_to_density(
        np.repeat(points, counts.ravel(), axis=0), exact, range=HOLE_BOX
    )


def one_temperature(n_frames, n, seed, max_iter):
    """Three-hole at k_B T = 1, trained there: populations and density of LaTFEstimator alone."""
    data = make_three_hole(n_frames, 1.0, random_state=100 + seed)
    model = LaTFEstimator(
        lagtime=5, encoder="linear", boltzmann_constant=1.0, max_iter=max_iter, random_state=seed
    )
    _, seconds = timed(lambda: model.fit(data.trajectories, temperature=data.temperature))
    z = model.sample(n, random_state=0)
    true = three_hole_populations(1.0, assign=model.predict)
    generated = populations(model.predict_latent(z), model.n_states_)
    exact = hole_probabilities(1.0)
    rng = np.random.default_rng(0)
    counts = rng.multinomial(n, exact.ravel()).reshape(exact.shape)
    return {
        "seed": seed,
        "states": model.n_states_,
        "population error": np.abs(generated - true).max(),
        "of the simulation": np.abs(model.populations_[0] - true).max(),
        "JS": jensen_shannon_to_density(back_to_plane(model, z), exact, range=HOLE_BOX),
        "floor": floor_to_density(counts, exact),
        "seconds": seconds,
    }


def show(title, rows, times):
    """Print medians over seeds, one line a method."""
    table = pd.DataFrame(rows)
    print(f"\n## {title}: median of {table.seed.nunique()} seed(s)")
    for column in ("JS sample", "JS weights", "population error", "errors / s.e.", "floor"):
        print(f"\n{column}")
        wide = table.pivot_table(index="method", columns="T", values=column, aggfunc="median")
        print(wide.loc[list(dict.fromkeys(table.method))].round(4).to_string())
    print("\nseconds, one thread (LaTF: the shared fit; methods: what they add; long: all of it)")
    print(pd.DataFrame(times).median().round(1).to_frame().T.to_string(index=False))


def run_lj7(args):
    """Train at T = 0.2 and 0.5, or as asked for, judge at 0.2 to 0.7."""
    data = join(*(make_lj7(args.frames, t, random_state=k) for k, t in enumerate(args.train)))
    references = {t: lj7_reference(t, args.reference_frames) for t in LJ7_TEMPERATURES}
    rows, times = [], []
    for seed in args.seeds:
        models, seconds = fit_all(data, seed, args, None)
        rows += [{"seed": seed} | row for row in judge_lj7(models, references, args.samples)]
        times.append(seconds)
    show(f"LJ7, trained at T = {', '.join(map(str, args.train))}", rows, times)


def run_three_hole(args):
    """Train at k_B T = 0.7 and 1.4, judge at 0.5 to 2.0; and train at 1.0 alone."""
    data = join(
        *(make_three_hole(args.frames, t, random_state=k) for k, t in enumerate((0.7, 1.4)))
    )
    rows, times = [], []
    for seed in args.seeds:
        models, seconds = fit_all(data, seed, args, (0.5, 2.0))
        rows += [{"seed": seed} | row for row in judge_three_hole(models, args.samples)]
        times.append(seconds)
    show("Three-hole potential, trained at k_B T = 0.7 and 1.4", rows, times)
    print("\n## Three-hole potential, trained and judged at k_B T = 1 (LaTFEstimator alone)\n")
    steps = args.max_iter or 1000
    alone = [one_temperature(args.frames, args.samples, seed, steps) for seed in args.seeds]
    print(pd.DataFrame(alone).round(4).to_string(index=False))


def main():
    """Parse the options and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--system", choices=("lj7", "three-hole", "both"), default="both")
    parser.add_argument("--frames", type=int, default=50_000, help="per training temperature")
    parser.add_argument("--reference-frames", type=int, default=200_000)
    parser.add_argument("--train", type=float, nargs="+", default=[0.2, 0.5], help="of LJ7")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--samples", type=int, default=200_000)
    parser.add_argument("--max-iter", type=int, help="of all fits; their own if not given")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    if args.system != "three-hole":
        run_lj7(args)
    if args.system != "lj7":
        run_three_hole(args)


if __name__ == "__main__":
    main()
