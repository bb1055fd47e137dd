"""A protein and a hairpin of RNA, learned from two temperatures, judged by replica exchange.

    python benchmarks/molecules.py                       # everything, about an hour and a half
    python benchmarks/molecules.py --molecules tetraloop --sets pair --seeds 0
    python benchmarks/molecules.py --read one.csv two.csv    # of runs with --records

Chignolin and the tetraloop that ship with the package, continuous trajectories at two temperatures,
each seed a `LaTFEstimator` of its own. What is judged: the folded population by the data sets' own
definition, which no model is told, at every temperature of the reference (replica exchange or
parallel tempering, all of it); the melting temperature, where that population is one half; the
states found, ten seeds; and divergences (Jensen-Shannon, nats) of the training frames, weighted to
a temperature, from frames drawn there, in the learned variables and in two order parameters that
are no feature: RMSD to the folded structure and radius of gyration. Methods: "no energies" and
"energies" (the default, 20 bootstraps), "mbar", "tilted" (the paper's, one seed), "line": a
straight line through the logarithms of the ratios folded to unfolded at both temperatures,
by hand, its errors from the scatter of the trajectories. Sets: "pair", the two temperatures to
learn from; "fewer", 30 and 10 % of its frames (each trajectory cut); "others", other pairs, among
them chignolin's trap; "torsions", the backbone torsions of chignolin and its native hydrogen bonds
in place of distances between C-alphas. "Combined error": the answer's and the reference's in
quadrature. One thread.
"""

import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import mdtraj
import numpy as np
import pandas as pd
import results
from scipy.special import expit, logit
from sklearn.frozen import FrozenEstimator

from latflow import LaTFEstimator, TemperatureExtrapolator
from latflow.datasets import chignolin, load_chignolin, load_rna_tetraloop, rna_tetraloop
from latflow.featurizers import Concatenate, Distances, Torsions
from latflow.metrics import jensen_shannon, jensen_shannon_noise_floor
from latflow.units import with_error

STEP = 0.25  # K, of the grid that a melting temperature is read from
N_SEEDS_OF_STATES = 10
HISTOGRAM = {"bins": 24, "pseudocount": 0.2}
SETS = ("pair", "fewer", "others", "torsions")
ROUTES = ("no energies", "energies", "mbar")


class Molecule(NamedTuple):
    """A data set, the pairs of temperatures to learn from, and what its reference says.

    `untimed` are temperatures whose frames do not resolve passages: they are draws.
    """

    load: Callable
    drawn: dict
    pair: tuple[float, float]
    others: tuple[tuple[float, float], ...]
    lagtime: int
    melting: tuple[float, float]
    aligned: str
    untimed: tuple[float, ...] = ()


MOLECULES = {
    "chignolin": Molecule(
        load_chignolin,
        {"replica_exchange": True},
        (359.0, 404.7),
        ((338.2, 381.2), (338.2, 404.7), (359.0, 381.2), (381.2, 404.7)),
        10,
        chignolin.MELTING_TEMPERATURE,
        "name CA and resid 1 to 8",
    ),
    "tetraloop": Molecule(
        load_rna_tetraloop,
        {"parallel_tempering": True},
        (340.0, 360.0),
        ((340.0, 380.0), (360.0, 380.0), (330.0, 360.0)),
        20,
        rna_tetraloop.MELTING_TEMPERATURE,
        "all",
        (330.0,),
    ),
}


class Simulated(NamedTuple):
    """Lists, one entry a trajectory: what is fitted, and what it is judged by."""

    trajectories: list
    energies: list
    folded: list
    coordinates: list
    temperature: list
    dynamics: list


def torsions_and_hydrogen_bonds(data):
    """Return chignolin's other features: backbone torsions, and its two native hydrogen bonds."""
    atom = {f"{a.residue.name}{a.residue.resSeq}-{a.name}": a.index for a in data.topology.atoms}
    bonds = [[atom["ASP3-N"], atom["THR8-O"]], [atom["GLY7-N"], atom["ASP3-O"]]]
    features = Concatenate([Torsions(("phi", "psi")), Distances(bonds)])
    return features.fit_transform([mdtraj.Trajectory(x, data.topology) for x in data.coordinates])


def simulated(molecule, pair, fraction, *, torsions=False):
    """Return the trajectories of two temperatures, each cut to a fraction of its frames."""
    data = molecule.load()
    if torsions:
        data.trajectories = torsions_and_hydrogen_bonds(data)
    chosen = [k for k, t in enumerate(data.temperature) if t in pair]
    columns = {
        name: [data[name][k][: round(fraction * len(data[name][k]))] for k in chosen]
        for name in ("trajectories", "energies", "folded", "coordinates")
    }
    temperature = [data.temperature[k] for k in chosen]
    dynamics = [t not in molecule.untimed for t in temperature]
    return Simulated(**columns, temperature=temperature, dynamics=dynamics)


# ------------------------------------------------------------------ answers


def fitted(model, data, *, energies=False):
    """Fit and return the model, what it warned of, and the seconds it took."""
    options = {"energy": data.energies} if energies else {}
    if not all(data.dynamics):
        options["dynamics"] = data.dynamics
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        start = time.perf_counter()
        model.fit(data.trajectories, temperature=data.temperature, **options)
        seconds = time.perf_counter() - start
    return model, " | ".join(str(w.message) for w in said), seconds


def variables(molecule, seed):
    """Return the unfitted estimator of collective variables and states."""
    return LaTFEstimator(lagtime=molecule.lagtime, random_state=seed)


def extrapolators(latf, seed, routes):
    """Return unfitted models by route; nothing is generated, so the generator stays untrained."""
    settings = {"max_iter": 1, "random_state": seed}
    made = {route: TemperatureExtrapolator(FrozenEstimator(latf), **settings) for route in routes}
    if "mbar" in made:
        made["mbar"].set_params(method="mbar")
    return made


def curve_of(model, folded, temperatures):
    """Return the folded population and its error at temperatures, and what was warned of."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        table = model.expectation([f.astype(float) for f in folded], temperatures)
    value, error = table.to_numpy(float).T
    return value, error, " | ".join(str(w.message) for w in said)


def line_of(data, temperatures):
    """Return van 't Hoff's line and its error: what one does by hand, without any tool."""
    known = sorted(set(data.temperature))
    means, errors = [], []
    for t in known:
        each = [f.mean() for f, u in zip(data.folded, data.temperature, strict=True) if u == t]
        mean = np.mean(each)
        means.append(logit(mean))
        errors.append(np.std(each, ddof=1) / np.sqrt(len(each)) / (mean * (1 - mean)))
    share = (1 / temperatures - 1 / known[0]) / (1 / known[1] - 1 / known[0])
    p = expit(means[0] + share * (means[1] - means[0]))
    error = np.hypot((1 - share) * errors[0], share * errors[1])
    return p, p * (1 - p) * error, ""


def melting(ask, start, stop):
    """Return where the folded population is one half, and its error; NaN where it nowhere is."""
    grid = np.arange(start, stop, STEP)
    value, error, _ = ask(grid)
    crossing = np.flatnonzero((value[:-1] >= 0.5) & (value[1:] < 0.5))
    if not len(crossing):
        return np.nan, np.nan
    k = crossing[0]
    slope = (value[k + 1] - value[k]) / STEP
    return grid[k] + (0.5 - value[k]) / slope, abs(error[k] / slope)


# ------------------------------------------------------------------ records


def asked(ask, molecule, reference, case):
    """Return records: the folded population at every reference temperature, and T_m."""
    temperatures = reference.index.to_numpy()
    value, error, said = ask(temperatures)
    records = [
        case | {"T": t, "value": v, "bar": e, "truth": row.population, "truth_bar": row.error}
        for t, v, e, row in zip(temperatures, value, error, reference.itertuples(), strict=True)
    ]
    value, error = melting(ask, temperatures[0], temperatures[-1])
    truth, truth_bar = molecule.melting
    t_m = {"T": np.nan, "value": value, "bar": error, "truth": truth, "truth_bar": truth_bar}
    return [r | {"asked": said} for r in [*records, case | t_m]]


def cases(args):
    """Yield (molecule's name, set, pair, fraction)."""
    for name in args.molecules:
        molecule = MOLECULES[name]
        if "pair" in args.sets:
            yield name, "pair", molecule.pair, 1.0
        if "fewer" in args.sets:
            yield name, "fewer", molecule.pair, 0.3
            yield name, "fewer", molecule.pair, 0.1
        if "torsions" in args.sets and name == "chignolin":
            yield name, "torsions", molecule.pair, 1.0
        if "others" in args.sets:
            for pair in molecule.others:
                yield name, "others", pair, 1.0


def answers(name, pair, fraction, seed, case, args):
    """Return records of populations and of divergences, of one seed."""
    molecule = MOLECULES[name]
    data = simulated(molecule, pair, fraction, torsions=case["set"] == "torsions")
    reference = molecule.load().reference_populations
    latf, said, seconds = fitted(variables(molecule, seed), data)
    records, far = [], []
    known = {"said": said, "seconds": seconds, "n_states": latf.n_states_}
    for route, model in extrapolators(latf, seed, args.routes).items():
        model, said, seconds = fitted(model, data, energies=route != "no energies")
        facts = case | {"route": route, "said": f"{known['said']} | {said}"}
        facts |= {"seconds": known["seconds"] + seconds, "n_states": known["n_states"]}
        ask = lambda t, m=model: curve_of(m, data.folded, t)  # noqa: E731
        records += asked(ask, molecule, reference, facts)
        if case["set"] == "pair":
            far += divergences(model, data, molecule, case | {"route": route})
    ask = lambda t: line_of(data, t)  # noqa: E731
    records += asked(ask, molecule, reference, case | {"route": "line", "said": ""})
    return records, far


def tilted(name, pair, seed, case):
    """Return records of the paper's generator, asked by its frames' weights."""
    molecule = MOLECULES[name]
    data, reference = simulated(molecule, pair, 1.0), molecule.load().reference_populations
    model = TemperatureExtrapolator(
        variables(molecule, seed), method="tilted", random_state=seed,
        temperature_range=(reference.index.min(), reference.index.max()),
    )  # fmt: skip
    model, said, seconds = fitted(model, data)
    ask = lambda t: curve_of(model, data.folded, t)  # noqa: E731
    facts = {"route": "tilted", "said": said, "seconds": seconds, "n_states": model.n_states_}
    return asked(ask, molecule, reference, case | facts)


def order_parameters(coordinates, molecule):
    """Return RMSD to the folded structure and radius of gyration (nm), a column each."""
    data = molecule.load(**molecule.drawn)
    atoms = data.topology.select(molecule.aligned)
    folded = mdtraj.Trajectory(data.reference_structure[None], data.topology)
    frames = mdtraj.Trajectory(coordinates, data.topology)
    return {
        "RMSD": mdtraj.rmsd(frames, folded, atom_indices=atoms),
        "radius of gyration": mdtraj.compute_rg(frames),
    }


def divergences(model, data, molecule, case):
    """Return records: divergences of weighted frames from drawn ones at their temperatures."""
    drawn = molecule.load(**molecule.drawn)
    frames = {"variables": np.concatenate(model.transform(data.trajectories))}
    frames |= order_parameters(np.concatenate(data.coordinates), molecule)
    records = []
    for t, X, xyz in zip(drawn.temperature, drawn.trajectories, drawn.coordinates, strict=True):
        there = {"variables": model.transform(X)} | order_parameters(xyz, molecule)
        weights = np.concatenate(model.frame_weights(t))
        for name, z in frames.items():
            ends = np.concatenate([z, there[name]])
            box = list(np.atleast_2d(np.c_[ends.min(0), ends.max(0)]))
            options = HISTOGRAM | {"range": box}
            js = jensen_shannon(z, there[name], weights_a=weights, **options)
            floor = jensen_shannon_noise_floor(
                there[name], len(X), len(X), random_state=0, **options
            )
            records.append(case | {"T": t, "in": name, "JS": js, "floor": floor})
    return records


def states_found(name, seed):
    """Return what the state with the most folded frames is like."""
    molecule = MOLECULES[name]
    data = simulated(molecule, molecule.pair, 1.0)
    latf, _, _ = fitted(variables(molecule, seed), data)
    labels, folded = np.concatenate(latf.predict(data.trajectories)), np.concatenate(data.folded)
    rmsd = order_parameters(np.concatenate(data.coordinates), molecule)["RMSD"]
    medians = [np.median(rmsd[labels == s]) for s in range(latf.n_states_)]
    best = int(np.argmin(medians))
    return {
        "molecule": name, "seed": seed, "states": latf.n_states_, "median RMSD": medians[best],
        "folded": folded[labels == best].mean(), "of the folded": (labels == best)[folded].mean(),
    }  # fmt: skip


def measure(args):
    """Return three DataFrames, of populations, divergences and states; CSV files, if asked."""
    tables = {"populations": [], "divergences": [], "states": []}
    for seed in args.seeds:
        for name, kind, pair, fraction in cases(args):
            case = {"molecule": name, "set": kind, "pair": f"{pair[0]:g}, {pair[1]:g}"}
            case |= {"fraction": fraction, "seed": seed}
            records, far = answers(name, pair, fraction, seed, case, args)
            if kind == "pair" and seed == args.seeds[0] and args.tilted:
                records += tilted(name, pair, seed, case)
            tables["populations"] += records
            tables["divergences"] += far
            save(tables, args.records)
    for name in args.molecules:
        for seed in range(args.seeds_of_states):
            tables["states"].append(states_found(name, seed))
            save(tables, args.records)
    return {name: pd.DataFrame(records) for name, records in tables.items()}


def save(tables, path):
    """Write what was measured so far beside a path, a file a table."""
    if path:
        for name, records in tables.items():
            pd.DataFrame(records).to_csv(path.with_suffix(f".{name}.csv"), index=False)


def read(name, paths):
    """Return what :func:`save` wrote, of several runs."""
    files = [path.with_suffix(f".{name}.csv") for path in paths]
    return pd.concat([pd.read_csv(f) for f in files if f.stat().st_size > 1], ignore_index=True)


# ------------------------------------------------------------------ tables


def judged(table):
    """Add errors, and errors in units of the combined one."""
    error = table.value - table.truth
    combined = np.hypot(table.bar, table.truth_bar)
    return table.assign(error=error.abs(), z=error.abs() / combined)


def populations(table):
    """Return medians over seeds and the worst z of each route, by molecule and temperature."""
    table = table[table.set == "pair"].fillna({"T": 0})
    index = ["molecule", "T"]
    lines = {}
    for key, rows in table.groupby(index, sort=True):
        known = rows.iloc[0]
        line = {"replica exchange": with_error(known.truth, known.truth_bar)}
        for route, some in rows.groupby("route", sort=False):
            line[route] = with_error(some.value.median(), some.bar.median())
            line[f"{route}, worst"] = f"{some.z.max():.1f}"
        lines[key[0], f"{key[1]:g} K" if key[1] else "T_m (K)"] = line
    return pd.DataFrame(lines).T.rename_axis(["molecule", "T"])


def by_data(table):
    """Return the largest errors by pair and fraction of the frames, medians over seeds."""
    of_population = table[table["T"].notna()]
    index = ["molecule", "set", "pair", "fraction", "route"]
    each = of_population.groupby([*index, "seed"]).agg(
        error=("error", "max"), z=("z", "max"), bar=("bar", "max")
    )
    t_m = table[table["T"].isna()].set_index([*index, "seed"])
    each["T_m"], each["its bar"] = t_m.value, t_m.bar
    each["warned"] = t_m.said.fillna("").str.strip(" |").ne("") | t_m.asked.fillna("").ne("")
    groups = each.groupby(index, sort=False)
    return groups.median().assign(seeds=groups.size())


def summary(table):
    """Yield lines: what is asked, its target, what was measured."""
    pair = table[(table.set == "pair") & table.route.isin([*ROUTES])]
    for (name, route), rows in pair.groupby(["molecule", "route"], sort=False):
        of_population, t_m = rows[rows["T"].notna()], rows[rows["T"].isna()]
        trained = of_population["T"].isin(MOLECULES[name].pair)
        unseen = of_population[~trained]
        within = unseen.groupby("seed").z.apply(lambda z: (z <= 2).sum())
        yield {
            "molecule": name, "route": route,
            "within two errors": f"{spread_of(within)} of {unseen['T'].nunique()}",
            "largest error": f"{of_population.groupby('seed').error.max().median():.3f}",
            "largest, any seed": f"{of_population.error.max():.3f}",
            "largest in errors": f"{of_population.z.max():.1f}",
            "T_m (K)": with_error(t_m.value.median(), t_m.bar.median()),
            "T_m, any seed": f"{t_m.value.min():.1f} to {t_m.value.max():.1f}",
            "T_m in errors": f"{t_m.z.max():.1f}",
            "seconds": f"{t_m.seconds.median():.0f}",
        }  # fmt: skip


def spread_of(counts):
    """Return the least and the most of some numbers, once if they are the same."""
    return " to ".join(map(str, sorted({int(counts.min()), int(counts.max())})))


def in_short(lines):
    """Return a line a molecule, without and with energies, beside the reference."""
    lines = lines[lines.index.get_level_values("route") != "mbar"]
    short = lines[["T_m (K)", "largest error", "within two errors", "seconds"]]
    melting = [with_error(*MOLECULES[name].melting) for name, _ in short.index]
    short = short.rename(columns={"T_m (K)": "T_m, predicted (K)", "seconds": "fit (s)"})
    short.insert(0, "T_m, replica exchange (K)", melting)
    return short.rename(columns={"largest error": "largest error of a folded population"})


def run(args):
    """Yield the tables."""
    if args.read:
        names = ("populations", "divergences", "states")
        tables = {name: read(name, args.read) for name in names}
    else:
        tables = measure(args)
    table, far, states = judged(tables["populations"]), tables["divergences"], tables["states"]
    if (table.set == "pair").any():
        yield from of_pairs(table)
    title = "Largest errors of the folded population, by pair and fraction of the frames (medians)"
    yield results.Result("molecules_data", title, by_data(table).round(3), gaps=True)
    if len(far):
        title = "Divergences of weighted frames from drawn ones (medians over seeds)"
        index = ["molecule", "in", "route"]
        columns = far.pivot_table(index=index, columns="T", values="JS", aggfunc="median")
        yield results.Result("molecules_divergences", title, columns.round(3), gaps=True)
    if len(states):
        title = "The state nearest to the folded structure, by seed"
        known = states.set_index(["molecule", "seed"]).round(3)
        yield results.Result("molecules_states", title, known)


def of_pairs(table):
    """Yield the tables of the pairs to learn from."""
    title = "Folded populations, two temperatures to learn from (medians over seeds)"
    yield results.Result("molecules_populations", title, populations(table), gaps=True)
    title = "A protein and a hairpin of RNA, learned from two temperatures"
    lines = pd.DataFrame(summary(table)).set_index(["molecule", "route"])
    yield results.Result("molecules", title, lines)
    yield results.Result("molecules_short", "The same in short", in_short(lines))


if __name__ == "__main__":
    parser = results.options(__doc__)
    parser.add_argument("--molecules", nargs="+", choices=tuple(MOLECULES), default=[*MOLECULES])
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--routes", nargs="+", choices=ROUTES, default=list(ROUTES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--seeds-of-states", type=int, default=N_SEEDS_OF_STATES)
    parser.add_argument("--no-tilted", dest="tilted", action="store_false")
    parser.add_argument("--records", type=Path, help="write records to <stem>.<table>.csv")
    parser.add_argument("--read", type=Path, nargs="+", help="records; nothing is fitted")
    results.publish(parser, run)
