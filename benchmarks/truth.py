"""Is every answer right, or says that it is not known? Systems with exact thermodynamics.

    python benchmarks/truth.py                 # all cases, 4 repeats each, about 40 min
    python benchmarks/truth.py --quick         # a few cases, little data, half a minute
    python benchmarks/truth.py --cases stuck apart --repeats 10 --records stuck.csv
    python benchmarks/truth.py --read one.csv two.csv --baseline before.csv

Each case of exact.py is simulated anew in each repeat and answered without energies, with energies,
by MBAR and, at two temperatures, by a straight line through the logarithms of the populations'
ratios (van 't Hoff's). Variables are the features themselves and states are the cases' own, so
nothing but thermodynamics is learned; the generator is hardly trained. A record is one question:
the population of a state at a temperature, its energy and heat capacity less those of the others,
its melting temperature, or the mean of an observable that no feature shows, each with its exact
answer. The summary compares what was measured with what
is promised, line by line. One thread.
What its words mean is in promises.py.
"""

import inspect
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import results
from cases import CASES
from exact import OBSERVABLES
from promises import (
    DIFFERENCE,
    FEW_MODES,
    MELTING,
    N_FRAMES,
    OBSERVABLE,
    OURS,
    POPULATION,
    judged,
    per_case,
    summary,
)
from scipy.special import softmax
from sklearn.preprocessing import FunctionTransformer

from latflow import TemperatureExtrapolator

ROUTES = (*OURS, "mbar", "line")
EXCHANGED = 4  # replica exchange has so many times fewer frames a temperature
N_BLOCKS = 50
QUICK = ("two states, drawn", "three wells", "double well, as started")


class Question(NamedTuple):
    """What is asked: about which state or observable, at which temperature, and the truth.

    `role` is the temperature's: simulated, inside or outside of the simulated range.
    """

    kind: str
    about: object
    temperature: float
    role: str
    truth: float


def questions(case, system):
    """Yield all questions of a case; where two states sum to one, the second tells nothing new."""
    n = 1 if system.n_states == 2 else system.n_states
    for t in case.asked:
        for state in range(n):
            truth = system.populations(t)[state]
            yield Question(POPULATION, state, t, role(t, case.temperatures), truth)
        for name, truth in system.differences(t).items():
            yield Question(DIFFERENCE, name, t, role(t, case.temperatures), truth)
        for name in OBSERVABLES:
            truth = system.observable(name, t)
            yield Question(OBSERVABLE, name, t, role(t, case.temperatures), truth)
    t = system.melting_temperature(0, 0.8 * case.temperatures[0], 1.5 * case.temperatures[-1])
    if np.isfinite(t):
        yield Question(MELTING, 0, t, role(t, case.temperatures), t)


def role(temperature, simulated):
    """Return the role of a temperature."""
    if temperature in simulated:
        return "simulated"
    return "inside" if simulated[0] < temperature < simulated[-1] else "outside"


# ------------------------------------------------------------------ answers


def model_of(data, method, seed, args, **options):
    """Return a fitted model whose states are the data's own."""
    model = TemperatureExtrapolator(
        FunctionTransformer(), method=method, n_bootstraps=args.bootstraps, max_iter=1,
        random_state=seed, boltzmann_constant=1.0,
    )  # fmt: skip
    if "dynamics" in inspect.signature(model.fit).parameters:
        options["dynamics"] = data.dynamics
    return model.fit(data.trajectories, temperature=data.temperature, states=data.states, **options)


@contextmanager
def without_prior(model):
    """Answer for a while as if no heat capacity could be hidden."""
    ensemble = model.ensemble_
    kept = ensemble.heat_capacities
    ensemble.heat_capacities = None
    try:
        yield
    finally:
        ensemble.heat_capacities = kept


def asked(model, name, temperature):
    """Return what a method says of a temperature, asked once; its warnings come each time."""
    known = vars(model).setdefault("asked_", {})
    key = name, temperature, model.ensemble_.heat_capacities is None
    if key not in known:
        known[key] = with_warnings(getattr(model, name), temperature)
    table, said = known[key]
    for sentence in said:
        warnings.warn(sentence, stacklevel=2)
    return table


def answer(model, question, data):
    """Return value and standard error of a question."""
    if question.kind == POPULATION:
        table = asked(model, "state_populations", question.temperature)
        return tuple(table.loc[(question.temperature, question.about)])
    if question.kind == DIFFERENCE:
        table = asked(model, "thermodynamics", question.temperature)
        row = table.loc[(question.temperature, 0)]
        return row[question.about], row[f"{question.about}_error"]
    if question.kind == MELTING:
        return model.melting_temperature(question.about)[:2]
    return tuple(model.expectation(data.observables[question.about], question.temperature).iloc[0])


def with_warnings(function, *args, **kwargs):
    """Return what a function returns, and the sentences that it warned with."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        value = function(*args, **kwargs)
    return value, sorted({str(one.message) for one in caught})


def support_of(model, question, value):
    """Return the class of an answer's temperature."""
    t = value if question.kind == MELTING else question.temperature
    if not np.isfinite(value):
        return "unsupported"
    return with_warnings(asked, model, "support", t)[0]["support"].iloc[0]


def answered_by_model(case, system, data, route, seed, args):
    """Return a record of each question asked to a model."""
    method = "mbar" if route == "mbar" else "enthalpy"
    energy = {} if route == "no energies" else {"energy": data.energies}
    try:
        model, said = with_warnings(model_of, data, method, seed, args, **energy)
    except ValueError as error:
        return [q._asdict() | nothing(f"fit: {error}") for q in questions(case, system)]
    records = []
    for question in questions(case, system):
        if model.n_states_ < system.n_states and question.kind != OBSERVABLE:
            records.append(question._asdict() | nothing("a state was never visited"))
            continue
        (value, bar), now = with_warnings(answer, model, question, data)
        plain = bar
        if getattr(model.ensemble_, "heat_capacities", None) is not None:
            with without_prior(model):
                plain = with_warnings(answer, model, question, data)[0][1]
        records.append(
            question._asdict()
            | {"value": value, "bar": bar, "bar_of_data": plain,
               "support": support_of(model, question, value), "said": " | ".join(said + now)}
        )  # fmt: skip
    if route == "mbar":
        return [record | {"mbar_overlap": overlap_of(model)} for record in records]
    return records


def nothing(said):
    """Return the record of an answer that there is not."""
    return {"value": np.nan, "bar": np.nan, "support": "unsupported", "said": said}


def overlap_of(model):
    """Return the least overlap of neighbouring temperatures, from MBAR's overlap matrix."""
    temperatures = model.temperatures_
    counts = model.ensemble_.pool.counts
    weights = [np.concatenate(model.frame_weights(t)) for t in temperatures]
    pairs = zip(weights[:-1], weights[1:], np.minimum(counts[:-1], counts[1:]), strict=True)
    return min((float(n * (w @ v)) for w, v, n in pairs), default=np.nan)


def answered_by_line(case, system, data):
    """Return records of populations whose logarithms go straight in the inverse temperature."""
    own = np.array([own_populations(data, t, system.n_states) for t in case.temperatures])
    beta = 1 / np.array(case.temperatures)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(own)
        slope = (logs[1] - logs[0]) / (beta[1] - beta[0])
        return [
            question._asdict()
            | {"value": softmax(logs[0] + slope * (1 / question.temperature - beta[0]))[s],
               "bar": np.nan, "support": "", "said": ""}
            for question in questions(case, system)
            if question.kind == POPULATION and (s := question.about) is not None
        ]  # fmt: skip


def at_temperature(values, data, temperature):
    """Return what trajectories hold at a temperature, one array each that is not empty."""
    pairs = zip(values, data.temperature, strict=True)
    each = [v[np.broadcast_to(t, v.shape) == temperature] for v, t in pairs]
    return [v for v in each if len(v)]


def own_populations(data, temperature, n_states):
    """Return the populations of the frames of a simulated temperature."""
    states = np.concatenate(at_temperature(data.states, data, temperature))
    return np.bincount(states, minlength=n_states) / len(states)


def own_mean(data, name, temperature):
    """Return the mean of an observable's own frames and its standard error, over blocks."""
    each = at_temperature(data.observables[name], data, temperature)
    n = max(1, N_BLOCKS // len(each))
    blocks = [part.mean() for values in each for part in np.array_split(values, n)]
    return np.concatenate(each).mean(), np.std(blocks, ddof=1) / np.sqrt(len(blocks))


def crossings(data, n_states):
    """Return how often walkers enter and leave the state that they enter or leave most rarely."""
    if not data.dynamics:
        return np.inf  # frames in no order show none; the cases have many
    counts = np.zeros((n_states, n_states))
    for states in data.states:
        np.add.at(counts, (states[:-1], states[1:]), 1)
    np.fill_diagonal(counts, 0)
    return min(counts.sum(axis=0).min(), counts.sum(axis=1).min())


# ------------------------------------------------------------------ records


def routes_of(case, args):
    """Return the ways that answer a case."""
    few = case.n_modes < FEW_MODES and len(case.temperatures) > 1
    skipped = set() if few else {"no energies"}
    skipped |= {"line"} if len(case.temperatures) != 2 else set()
    return [route for route in args.routes if route not in skipped]


def repeat(case, seed, args):
    """Simulate a case once; return the records of all ways as a DataFrame."""
    rng = np.random.default_rng([seed, CASES.index(case)])
    hidden = case.draw_hidden(TemperatureExtrapolator().heat_capacity_prior, rng)
    system = case.system(hidden)
    n_frames = args.frames // EXCHANGED if case.exchange else args.frames
    data = case.simulate(n_frames, rng, hidden)
    tables = []
    for route in routes_of(case, args):
        if route == "line":
            records = answered_by_line(case, system, data)
        else:
            records = answered_by_model(case, system, data, route, seed, args)
        tables.append(pd.DataFrame(records).assign(route=route))
    table = pd.concat(tables, ignore_index=True)
    facts = {"case": case.name, "case_kind": case.kind, "drawn": case.drawn, "seed": seed}
    facts |= {"modes": case.n_modes, "n_temperatures": len(case.temperatures)}
    facts["crossings"] = crossings(data, system.n_states)
    return add_own_means(table.assign(**facts), data)


def add_own_means(table, data):
    """Add the mean of the frames' own at simulated temperatures, and its standard error."""
    asked = (table.kind == OBSERVABLE) & (table.role == "simulated")
    table["own"], table["own_bar"] = np.nan, np.nan
    for row in table.index[asked]:
        name, temperature = table.loc[row, ["about", "temperature"]]
        table.loc[row, ["own", "own_bar"]] = own_mean(data, name, temperature)
    if "mbar_overlap" in table:
        table["mbar_overlap"] = table.mbar_overlap.max()
    return table


# ------------------------------------------------------------------ the program


def chosen(args):
    """Return the cases whose name or kind holds one of the words asked for."""
    cases = [case for case in CASES if routes_of(case, args)]
    if args.quick:
        return [case for case in cases if case.name in QUICK]
    words = args.cases or [""]
    return [c for c in cases if any(word == c.kind or word in c.name for word in words)]


def measure(args):
    """Return records of all repeats; they are written after each, if a file was named."""
    tables = []
    for seed in range(args.first_seed, args.first_seed + args.repeats):
        for case in chosen(args):
            tables.append(repeat(case, seed, args))
            if args.records:
                pd.concat(tables).to_csv(args.records, index=False)
    return pd.concat(tables, ignore_index=True)


def run(args):
    """Yield the promises and the cases."""
    if args.quick:
        args.frames, args.repeats, args.bootstraps = 2000, 1, 10
    records = pd.concat(map(pd.read_csv, args.read)) if args.read else measure(args)
    table = judged(records.reset_index(drop=True))
    baseline = None if args.baseline is None else judged(pd.read_csv(args.baseline))
    repeats = table.groupby(["case", "seed"]).ngroups
    title = f"What is promised and what was measured: {repeats} repeats"
    yield results.Result("truth", title, summary(table, baseline))
    yield results.Result("truth_cases", "All cases", per_case(table), gaps=True)


if __name__ == "__main__":
    parser = results.options(__doc__)
    parser.add_argument("--repeats", type=int, default=4, help="of each case")
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--frames", type=int, default=N_FRAMES, help="a simulated temperature")
    parser.add_argument("--bootstraps", type=int, default=20)
    parser.add_argument("--cases", nargs="+", help="words of names, or kinds; all if not given")
    parser.add_argument("--routes", nargs="+", choices=ROUTES, default=list(ROUTES))
    parser.add_argument("--quick", action="store_true", help="three cases, little data")
    parser.add_argument("--records", type=Path, help="CSV file to write all records to")
    parser.add_argument("--read", type=Path, nargs="+", help="records; nothing is simulated")
    parser.add_argument("--baseline", type=Path, help="records to compare with")
    results.publish(parser, run)
