"""Does a suggested simulation help as much as `suggest` expects?

    python benchmarks/planning.py            # both systems, 20 repeats, some minutes
    python benchmarks/planning.py --method enthalpy        # without energies: an hour

Each repeat simulates two temperatures, fits, and asks for the simulation that lowers the error of a
target most. This is then done, from the frames suggested, the model is fitted again on all frames,
and the target compared with its exact value: root mean square of the actual errors over that of the
expected ones, and standard errors afterwards. Beside it the same budget, split evenly over the two
temperatures that were simulated, from frames drawn in the same way.

States are known (the holes, the wells). `suggest` has few settings; they were tried on the wells, a
system of exact.py. That correlation times come from rates between states, not from correlation
functions, was decided by the exact timescales of the three-hole potential. One thread a job.
"""

from dataclasses import dataclass
from itertools import chain

import joblib
import numpy as np
import pandas as pd
import results
from exact import three_wells
from sklearn.decomposition import PCA

from latflow import TemperatureExtrapolator
from latflow.datasets import make_three_hole, three_hole_populations
from latflow.planning import suggest

N_WALKERS = 4


class Holes:
    """The three-hole potential; states are its holes."""

    simulated = (0.8, 1.4)
    targets = (
        {"target": "population", "state": 0, "temperature": 0.5},
        {"target": "free_energy", "state": 1, "temperature": 0.5},
    )

    def simulate(self, temperature, n_frames, seed, start=None):
        """Return features, states and energies of walkers from equilibrium or from places."""
        n = 10 if start is None else len(start)
        data = make_three_hole(n_frames, temperature, n_walkers=n, start=start, random_state=seed)
        return data.trajectories, [self.states(x) for x in data.trajectories], data.energies

    @staticmethod
    def states(x):
        """Return the hole of each point."""
        slope = (1.102734525 - 0.519186742) / 0.617272313
        upper = x[:, 1] > 0.519186742 + slope * np.abs(x[:, 0])
        return np.where(upper, 0, np.where(x[:, 0] < 0, 1, 2))

    def populations(self, temperature):
        """Return exact populations."""
        return three_hole_populations(temperature)

    def starts(self, trajectories, states, rows):
        """Return what `simulate` starts from."""
        return np.array([trajectories[t][f] for t, f in rows])


class Wells:
    """Three wells of exact.py, whose walkers start in a state."""

    simulated = (0.8, 1.4)
    system = three_wells()
    targets = (
        {"target": "population", "state": 0, "temperature": 0.55},
        {"target": "free_energy", "state": 1, "temperature": 0.55},
    )

    def simulate(self, temperature, n_frames, seed, start=None):
        """Return features, states and energies of walkers from equilibrium or from states."""
        rng = np.random.default_rng(seed)
        n = 10 if start is None else len(start)
        cells = self.system.walk(temperature, n, n_frames // n, rng, start)
        states = self.system.state[cells]
        energies = self.system.energies(cells, temperature, self.system.modes(states, rng)[1])
        return list(self.system.seen(cells, rng)), list(states), list(energies)

    def populations(self, temperature):
        """Return exact populations."""
        return self.system.populations(temperature)

    def starts(self, trajectories, states, rows):
        """Return what `simulate` starts from."""
        return np.array([states[t][f] for t, f in rows])


SYSTEMS = {"three-wells": Wells, "three-hole": Holes}


@dataclass
class Data:
    """What was simulated so far."""

    trajectories: list
    states: list
    energies: list
    temperature: list

    def with_more(self, temperature, simulated):
        """Return this and another simulation."""
        x, s, u = simulated
        more = self.temperature + [temperature] * len(x)
        return Data(self.trajectories + x, self.states + s, self.energies + u, more)

    def fit(self, args, seed):
        """Return a model; the generator is not needed and hardly trained."""
        model = TemperatureExtrapolator(
            PCA(), method=args.method, n_bootstraps=args.bootstraps, max_iter=1,
            boltzmann_constant=1.0, random_state=seed,
        )  # fmt: skip
        known = {"temperature": self.temperature, "states": self.states}
        if args.method == "mbar":
            known["energy"] = self.energies
        return model.fit(self.trajectories, **known)


def answer(model, target):
    """Return a model's value of a target and its standard error."""
    t, state = target["temperature"], target["state"]
    if target["target"] == "population":
        row = model.state_populations(t).loc[(t, state)]
        return row.population, row.standard_error
    row = model.thermodynamics(t).loc[(t, state)]
    return row.free_energy, row.free_energy_error


def exact(system, target):
    """Return a target's exact value."""
    t = target["temperature"]
    p = system.populations(t)[target["state"]]
    return p if target["target"] == "population" else -t * np.log(p / (1 - p))


def drawn(system, data, model, temperature, n, seed):
    """Return starts of n walkers at a simulated temperature, as `suggest` draws them."""
    found = suggest(
        model, 1000, temperature=temperature, candidates=[temperature], n_walkers=n,
        inefficiency=1.0, random_state=seed,
    ).starts  # fmt: skip
    rows = found[["trajectory", "frame"]].to_numpy()
    return system.starts(data.trajectories, data.states, rows)


def repeat(system, args, seed):
    """Return a record a target: expected and actual errors of both ways to spend the budget."""
    records, seeds = [], iter(np.random.SeedSequence(seed).generate_state(100).tolist())
    data = Data([], [], [], [])
    for t in system.simulated:
        data = data.with_more(t, system.simulate(t, args.frames, next(seeds)))
    model = data.fit(args, seed)
    for target in system.targets:
        plan = suggest(
            model, args.budget, n_walkers=N_WALKERS, lagtime=5, random_state=seed, **target
        )
        rows = plan.starts[["trajectory", "frame"]].to_numpy()
        start = system.starts(data.trajectories, data.states, rows)
        new = system.simulate(plan.temperature, args.budget, next(seeds), start)
        chosen = data.with_more(plan.temperature, new).fit(args, seed)
        even = data
        for t in system.simulated:
            start = drawn(system, data, model, t, N_WALKERS // 2, next(seeds))
            n = args.budget // len(system.simulated)
            even = even.with_more(t, system.simulate(t, n, next(seeds), start))
        true = exact(system, target)
        record = {"target": name(target), "temperature": plan.temperature}
        for way, expected, fitted in (
            ("suggested", plan.expected_error, chosen),
            ("even", plan.even_error, even.fit(args, seed)),
        ):
            value, error = answer(fitted, target)
            record |= {f"{way} off": value - true, f"{way} expected": expected}
            record |= {f"{way} s.e.": error}
        value, error = answer(model, target)
        records.append(record | {"before off": value - true, "before s.e.": error})
    return records


def name(target):
    """Return a target in words."""
    what = target["target"].replace("_", " ")
    return f"{what} of state {target['state']} at {target['temperature']:g}"


def summarise(table):
    """Return a line a target and one of all targets, each scaled by its expected errors."""

    def rms(x):
        return float(np.sqrt(np.mean(np.square(x))))

    lines = {}
    for key, rows in table.groupby("target", sort=False):
        lines[key] = {
            "temperature (median)": rows.temperature.median(),
            "s.e. before": rows["before s.e."].median(),
            "expected": rms(rows["suggested expected"]),
            "actual": rms(rows["suggested off"]),
            "actual / expected": rms(rows["suggested off"]) / rms(rows["suggested expected"]),
            "s.e. after": rows["suggested s.e."].median(),
            "s.e. after, even": rows["even s.e."].median(),
            "actual, even": rms(rows["even off"]),
            "actual / expected, even": rms(rows["even off"]) / rms(rows["even expected"]),
            "s.e. / even (median)": (rows["suggested s.e."] / rows["even s.e."]).median(),
        }
    return pd.DataFrame(lines).T.rename_axis("target").round(3)


def run(args):
    """Do it for the systems asked for."""
    for key in args.systems:
        system = SYSTEMS[key]()
        tasks = (joblib.delayed(repeat)(system, args, seed) for seed in range(args.repeats))
        records = list(chain.from_iterable(joblib.Parallel(args.jobs)(tasks)))
        title = f"{key}, {args.method}: {args.budget} frames suggested, {args.repeats} repeats"
        table = summarise(pd.DataFrame(records))
        yield results.Result(f"planning_{key.replace('-', '_')}_{args.method}", title, table)


if __name__ == "__main__":
    parser = results.options(__doc__)
    parser.add_argument("--systems", nargs="+", choices=tuple(SYSTEMS), default=list(SYSTEMS))
    parser.add_argument("--method", choices=("mbar", "enthalpy"), default="mbar")
    parser.add_argument("--frames", type=int, default=2500, help="a simulated temperature")
    parser.add_argument("--budget", type=int, default=5000)
    parser.add_argument("--bootstraps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=1, help="repeats at a time")
    results.publish(parser, run)
