"""Transfer to unseen temperatures: LJ7 and the three-hole potential, all methods, with times.

    python benchmarks/temperature_transfer.py            # both systems, three seeds, about 20 min
    python benchmarks/temperature_transfer.py --systems lj7 --seeds 0 --frames 5000
    python benchmarks/temperature_transfer.py --systems lj7 --simulated 0.2 0.5 0.7 \\
        --methods enthalpy mbar

LJ7 is simulated at T = 0.2 and 0.5 and judged in the model's own collective variables by the
Jensen-Shannon divergence (nats, 40 x 40 bins over the simulated range, +0.5 a bin) from long
simulations that no model saw. The three-hole potential is simulated at k_B T = 0.7 and 1.4 and
judged against its exact density. Reference simulations are kept in benchmarks/.cache. One thread.
"""

import time
from functools import lru_cache

import numpy as np
import pandas as pd
import results
from clock import timed
from simulations import SYSTEMS, block_error, lj7_reference, populations
from sklearn.frozen import FrozenEstimator

from latflow import LaTFEstimator, TemperatureExtrapolator
from latflow.datasets import three_hole_density, three_hole_populations
from latflow.metrics import (
    jensen_shannon,
    jensen_shannon_noise_floor,
    jensen_shannon_to_density,
)

HOLE_BOX = np.array([(-3.0, 3.0), (-2.5, 3.5)])
HOLE_RANGE = (0.5, 2.0)
BINS = 40
METHODS = [
    "enthalpy", "enthalpy, energies", "mbar", "tilted", "enthalpy of CVs", "tilted, long",
]  # fmt: skip
WITH_ENERGIES = ("enthalpy, energies", "mbar")


def fit_all(data, seed, args, temperature_range):
    """Fit every method on the same variables; the tilted prior also with its own, longer fit.

    It alone carries all temperatures in one flow: 12 transforms, eight times the steps at half the
    learning rate.
    """
    X, metadata = data["trajectories"], {"temperature": data["temperature"]}
    options = {"encoder": "linear", "boltzmann_constant": 1.0, "random_state": seed}
    steps = {} if args.max_iter is None else {"max_iter": args.max_iter}
    settings = {"temperature_range": temperature_range, "random_state": seed} | steps
    latf = LaTFEstimator(**options, **steps)
    times = {"LaTF": timed(lambda: latf.fit(X, **metadata), time.perf_counter)}
    frozen = FrozenEstimator(latf)
    long = LaTFEstimator(
        **options, n_transforms=12, max_iter=8 * (args.max_iter or 1400), learning_rate=5e-3
    )
    every = {
        "enthalpy": TemperatureExtrapolator(frozen, **settings),
        "enthalpy, energies": TemperatureExtrapolator(frozen, **settings),
        "mbar": TemperatureExtrapolator(frozen, method="mbar", **settings),
        "tilted": TemperatureExtrapolator(frozen, method="tilted", **settings),
        "enthalpy of CVs": TemperatureExtrapolator(frozen, enthalpy_input="cvs", **settings),
        "tilted, long": TemperatureExtrapolator(long, method="tilted", random_state=seed),
    }
    models = {name: every[name] for name in args.methods}
    for name, model in models.items():
        energy = {"energy": data["energies"]} if name in WITH_ENERGIES else {}
        fit = lambda m=model, e=energy: m.fit(X, **metadata, **e)  # noqa: E731
        times[name] = timed(fit, time.perf_counter)
    return models, times


class LongSimulations:
    """The truth of LJ7: simulations that no model saw, in a model's own variables and states."""

    def __init__(self, model, references):
        self.model = model
        self.z = {t: model.transform(x) for t, x in references.items()}
        every = np.concatenate(list(self.z.values()))
        box = np.stack([every.min(axis=0), every.max(axis=0)], axis=1)
        self.histogram = {"bins": BINS, "range": box}

    def divergence(self, z, t, weights=None):
        """Return the divergence of weighted points."""
        return jensen_shannon(z, self.z[t], weights_a=weights, **self.histogram)

    def floor(self, t, n):
        """Return the divergence of n exact samples."""
        z = self.z[t]
        return jensen_shannon_noise_floor(z, n, len(z), random_state=0, **self.histogram)

    def populations(self, t):
        """Return populations and their standard errors."""
        labels, n_states = self.model.predict_latent(self.z[t]), self.model.n_states_
        return populations(labels, n_states), block_error(labels, n_states)


class ExactDensity:
    """The truth of the three-hole potential: its density and quadrature."""

    def __init__(self, model):
        self.model = model

    def divergence(self, z, t, weights=None):
        """Return the divergence of weighted points."""
        return self.divergence_in_plane(back_to_plane(self.model, z), t, weights)

    def divergence_in_plane(self, points, t, weights=None):
        """Return the divergence of weighted points of the plane."""
        exact = hole_probabilities(t)
        return jensen_shannon_to_density(points, exact, range=HOLE_BOX, weights=weights)

    def floor(self, t, n):
        """Return the divergence of n exact samples."""
        counts = np.random.default_rng(0).multinomial(n, hole_probabilities(t).ravel())
        centres = [np.linspace(a, b, 2 * BINS + 1)[1::2] for a, b in HOLE_BOX]
        points = np.stack(np.meshgrid(*centres, indexing="ij"), axis=-1).reshape(-1, 2)
        return self.divergence_in_plane(np.repeat(points, counts, axis=0), t)

    def populations(self, t):
        """Return populations and their standard errors."""
        return three_hole_populations(t, assign=self.model.predict), 0.0


@lru_cache
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


def judge(model, truth, t, n):
    """Return the figures of a model at a temperature."""
    predicted = model.state_populations(t)
    true, error = truth.populations(t)
    off = np.abs(predicted.population.to_numpy() - true)
    error = np.hypot(predicted.standard_error.to_numpy(), error)
    weights = np.concatenate(model.frame_weights(t))
    return {
        "JS sample": truth.divergence(model.sample(n, t, random_state=0), t),
        "JS weights": truth.divergence(model.z_, t, weights),
        "floor": truth.floor(t, n),
        "population error": off.max(),
        "errors / s.e.": np.divide(off, error, out=np.zeros_like(error), where=off > 1e-9).max(),
    }


def one_temperature(args, seed):
    """Three-hole at k_B T = 1, simulated there: populations and density of LaTFEstimator alone."""
    data = SYSTEMS["three-hole"].simulate(args.frames, 100 + seed, [1.0])
    model = LaTFEstimator(
        lagtime=5,
        encoder="linear",
        boltzmann_constant=1.0,
        max_iter=args.max_iter or 1400,
        random_state=seed,
    )
    fit = lambda: model.fit(data["trajectories"], temperature=data["temperature"])  # noqa: E731
    seconds, truth = timed(fit, time.perf_counter), ExactDensity(model)
    z, (true, _) = model.sample(args.samples, random_state=0), truth.populations(1.0)
    generated = populations(model.predict_latent(z), model.n_states_)
    return {
        "seed": seed,
        "states": model.n_states_,
        "population error": np.abs(generated - true).max(),
        "of the simulation": np.abs(model.populations_[0] - true).max(),
        "JS": truth.divergence(z, 1.0),
        "floor": truth.floor(1.0, args.samples),
        "seconds": seconds,
    }


def wide(table, column, simulated, line="{}"):
    """Return medians over seeds, a line a method; temperatures that were not simulated are bold."""
    medians = table.pivot_table(index="method", columns="T", values=column, aggfunc="median")
    medians = medians.loc[list(dict.fromkeys(table.method))].round(4)
    medians.columns = [f"{t:g}" if t in simulated else f"**{t:g}**" for t in medians]
    return medians.rename(index=line.format)


def tables(system, simulated, records, times):
    """Yield the tables of one system."""
    table, name = pd.DataFrame(records), f"temperature_transfer_{system.replace('-', '_')}"
    name += "" if simulated == SYSTEMS[system].simulated else f"_{len(simulated)}_temperatures"
    at = f"{system}, simulated at T = {', '.join(map(str, simulated))}"
    at += f": median of {table.seed.nunique()} seed(s)"
    samples, weights = (wide(table, column, simulated) for column in ("JS sample", "JS weights"))
    floor = wide(table, "floor", simulated).median().round(4).to_frame("an exact sample").T
    every = pd.concat([samples, weights.rename(index="frame weights, {}".format), floor])
    yield results.Result(name, f"JS sample, JS weights; {at}", every.rename_axis("method"))
    off = wide(table, "population error", simulated)
    in_errors = wide(table, "errors / s.e.", simulated, "{}, in standard errors")
    every = pd.concat([off, in_errors]).rename_axis("method")
    yield results.Result(f"{name}_populations", f"Largest population error; {at}", every)
    seconds = pd.DataFrame(times).median().round(1).rename_axis("fit").to_frame("seconds")
    what = "LaTF: the fit of all; methods: what they add; long: all of it"
    yield results.Result(f"{name}_seconds", f"Seconds, one thread ({what}); {at}", seconds)


def run(args):
    """Judge all methods on the systems asked for."""
    for system in args.systems:
        simulated, temperature_range = SYSTEMS[system].simulated, HOLE_RANGE
        if system == "lj7":
            simulated, temperature_range = tuple(args.simulated), None
            references = {t: lj7_reference(t, args.reference_frames) for t in SYSTEMS["lj7"].judged}
        data = SYSTEMS[system].simulate(args.frames, temperatures=simulated)
        records, times = [], []
        for seed in args.seeds:
            models, seconds = fit_all(data, seed, args, temperature_range)
            times.append(seconds)
            for method, model in models.items():
                lj7 = system == "lj7"
                truth = LongSimulations(model, references) if lj7 else ExactDensity(model)
                for t in SYSTEMS[system].judged:
                    case = {"seed": seed, "method": method, "T": t}
                    records.append(case | judge(model, truth, t, args.samples))
        yield from tables(system, simulated, records, times)
        if system == "three-hole":
            alone = pd.DataFrame([one_temperature(args, seed) for seed in args.seeds])
            title = "Three-hole potential, simulated and judged at k_B T = 1 (LaTFEstimator alone)"
            name = "temperature_transfer_one"
            yield results.Result(name, title, alone.set_index("seed").round(4))


if __name__ == "__main__":
    parser = results.options(__doc__)
    parser.add_argument("--systems", nargs="+", choices=tuple(SYSTEMS), default=list(SYSTEMS))
    parser.add_argument("--frames", type=int, default=50_000, help="a simulated temperature")
    parser.add_argument("--reference-frames", type=int, default=200_000)
    parser.add_argument("--simulated", type=float, nargs="+", default=[0.2, 0.5], help="of LJ7")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--samples", type=int, default=200_000)
    parser.add_argument("--max-iter", type=int, help="of all fits; their own if not given")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    results.publish(parser, run)
