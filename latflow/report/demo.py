"""The main job, end to end: LJ7 at two temperatures in, the equilibrium from 0.2 to 0.7 out."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from sklearn.frozen import FrozenEstimator
from sklearn.utils import Bunch

from latflow._typing import FloatArray
from latflow._validation import check_count, check_output, check_temperature, import_extra
from latflow.datasets import make_lj7
from latflow.estimators import LaTFEstimator, TemperatureExtrapolator
from latflow.metrics import jensen_shannon, jensen_shannon_noise_floor
from latflow.report.live import live_data
from latflow.report.page import Section, write_report
from latflow.report.sections import Reference, model_sections, written
from latflow.thermodynamics import COLDER, HOTTER, role_of

Models = dict[str, TemperatureExtrapolator]
Settings = dict[str, Any]
Say = Callable[[str], None]

TEMPERATURES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
TRAIN_TEMPERATURES = (0.2, 0.5)
METHODS = {
    "enthalpy": "the default, needs no energies",
    "tilted": "the published model, a flow whose base widens with temperature",
    "mbar": "reads the potential energy of every frame",
}


@dataclass(frozen=True)
class DemoResult:
    """What the demo says.

    Attributes
    ----------
    table : DataFrame
        One row per temperature: `T`, `role` ("simulated", "between" or "beyond"), `JS <method>` in
        nats, `noise floor`, and for each state k the populations `P<k> predicted` and
        `P<k> reference`, each also with ` error`, a standard error.
    timings : dict of str to float
        Seconds per step, and `total`.
    path : Path
        The report.
    """

    table: pd.DataFrame
    timings: dict[str, float]
    path: Path


def run_demo(
    *,
    n_frames: int = 50_000,
    n_reference: int = 50_000,
    temperatures: Sequence[float] = TEMPERATURES,
    train_temperatures: Sequence[float] = TRAIN_TEMPERATURES,
    output: str | os.PathLike[str] = "latflow_demo.html",
    n_jobs: int = 2,
    max_iter: int | None = None,
    n_bootstraps: int = 20,
    random_state: int = 0,
    report: Say | None = None,
) -> DemoResult:
    """Simulate LJ7, fit by three methods, compare with simulations never seen, write a report.

    Parameters
    ----------
    n_frames, n_reference : int, default=50_000
        Frames per temperature to train on, and frames of the independent simulations to judge by.
    temperatures : sequence of float, default=(0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
        To predict; in units of the Lennard-Jones well depth over k_B.
    train_temperatures : sequence of float, default=(0.2, 0.5)
        To train on; at least two.
    output : str or path-like, default="latflow_demo.html"
        The report: one self-contained HTML file.
    n_jobs : int, default=2
        Processes that simulate at the same time.
    max_iter : int, optional
        Optimiser steps of the estimators; their defaults if not given.
    n_bootstraps : int, default=20
        Bootstraps that the error bars come from; 0 for none.
    random_state : int, default=0
    report : callable, optional
        Called with a line of text as each step ends.

    Returns
    -------
    DemoResult

    Raises
    ------
    ValueError
        For arguments that do not fit.
    OSError
        If the report cannot be written where `output` says.
    ImportError
        If matplotlib is not installed.
    """
    target = check_output(output, "output")
    import_extra("matplotlib.figure", "plot")
    sizes = check_count(n_frames, "n_frames"), check_count(n_reference, "n_reference")
    judged = _ascending(temperatures, "temperatures", 1)
    simulated = _ascending(train_temperatures, "train_temperatures", 2)
    clock = Clock(report or (lambda line: None))
    n_seeds = len(simulated) + len(judged) + 2
    seeds = iter(np.random.SeedSequence(random_state).generate_state(n_seeds).tolist())
    with clock.step("simulation"):
        plan = [(sizes[0], t, next(seeds)) for t in simulated]
        plan += [(sizes[1], t, next(seeds)) for t in judged]
        data = _simulate(plan, n_jobs, clock.say)
    settings = {"random_state": next(seeds)} | ({} if max_iter is None else {"max_iter": max_iter})
    models = _fit(data[: len(simulated)], judged, clock, n_bootstraps, **settings)
    with clock.step("comparison"):
        reference = _seen_by(models["enthalpy"], data[len(simulated) :])
        table = _compare(models, *reference, next(seeds))
    with clock.step("figures"):
        sections = _judgement(models["enthalpy"], table, sizes)
        judge = Reference(*reference)
        sections += model_sections(models["enthalpy"], judged, reference=judge)[1:]
        live = live_data(models["enthalpy"], judged, reference=judge)
    timings = clock.timings | {"total": sum(clock.timings.values())}
    steps = pd.Series(timings, name="seconds").map("{:.1f}".format).rename_axis("step")
    sections.append(Section("Timings", table=steps.reset_index()))
    path = write_report(
        target, title="Latent thermodynamic flow: LJ7", sections=sections, live=live
    )
    return DemoResult(table, timings, path)


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """Return a demo's table as text, to print.

    Parameters
    ----------
    table : DataFrame
        The table of a :class:`DemoResult`.

    Returns
    -------
    DataFrame
        `T`, `role`, every JS and the noise floor, and populations as `value ± standard error`.
    """
    text = pd.DataFrame({"T": [f"{t:g}" for t in table["T"]], "role": table["role"]})
    for name in table.columns[2:]:
        if f"{name} error" in table:
            text[name] = written(table, name, f"{name} error")
        elif not name.endswith(" error"):
            text[name] = [f"{value:.4f}" for value in table[name]]
    return text


class Clock:
    """Seconds per step, said aloud as each ends."""

    def __init__(self, say: Say) -> None:
        self.say = say
        self.timings: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time the body as one step."""
        start = time.perf_counter()
        yield
        self.timings[name] = time.perf_counter() - start
        self.say(f"{name}: {self.timings[name]:.1f} s")


def _ascending(values: Sequence[float], name: str, least: int) -> list[float]:
    ascending = sorted({check_temperature(float(value), name) for value in values})
    if (n := len(ascending)) < least:
        raise ValueError(f"Expected `{name}` to hold at least {least} different value(s), got {n}.")
    return ascending


def _simulate(plan: Sequence[tuple[int, float, int]], n_jobs: int, say: Say) -> list[Bunch]:
    parallel = Parallel(n_jobs=n_jobs, return_as="generator")
    data = []
    for simulation in parallel(delayed(_simulate_one)(*arguments) for arguments in plan):
        data.append(simulation)
        say(f"simulated T = {simulation.temperature[0]:g} ({len(data)} of {len(plan)})")
    return data


def _simulate_one(n_frames: int, temperature: float, seed: int) -> Bunch:
    data = make_lj7(n_frames, temperature, random_state=seed)
    del data["coordinates"]
    return data


def _fit(
    train: Sequence[Bunch], judged: Sequence[float], clock: Clock, n_bootstraps: int, **common: Any
) -> Models:
    """Fit every method on the collective variables and states of the first one."""
    X, temperature, energy = (
        [item for data in train for item in data[name]]
        for name in ("trajectories", "temperature", "energies")
    )
    low, high = COLDER * min(temperature), HOTTER * max(temperature)
    reach = min(low, judged[0]), max(high, judged[-1])
    options = common | {"n_bootstraps": n_bootstraps, "temperature_range": reach}
    estimator: Any = LaTFEstimator(encoder="linear", boltzmann_constant=1.0, **common)
    models: Models = {}
    for method in METHODS:
        with clock.step(f"fit, {method}"):
            model = TemperatureExtrapolator(estimator, method=method, **options)
            models[method] = model.fit(X, temperature=temperature, energy=energy)
        estimator = FrozenEstimator(models[method].estimator_)
    return models


def _seen_by(
    model: TemperatureExtrapolator, data: Sequence[Bunch]
) -> tuple[dict[float, FloatArray], pd.DataFrame]:
    """Return variables and populations; standard errors are over trajectories, independent ones."""
    variables, populations = {}, {}
    for simulation in data:
        t = simulation.temperature[0]
        variables[t] = np.concatenate(model.transform(simulation.trajectories))
        labels = model.predict(simulation.trajectories)
        counts = [np.bincount(states, minlength=model.n_states_) for states in labels]
        fractions = pd.DataFrame(counts).div(list(map(len, labels)), axis=0)
        columns = {"population": fractions.mean(), "standard_error": fractions.sem()}
        populations[t] = pd.DataFrame(columns)
    return variables, pd.concat(populations, names=["temperature", "state"])


def _compare(
    models: Models, variables: Mapping[float, FloatArray], populations: pd.DataFrame, seed: int
) -> pd.DataFrame:
    model, judged = models["enthalpy"], list(variables)
    everywhere = np.concatenate(list(variables.values()))
    box = np.stack([everywhere.min(axis=0), everywhere.max(axis=0)], axis=1)
    table = pd.DataFrame({"T": judged, "role": [role_of(t, model.temperatures_) for t in judged]})
    for method, fitted in models.items():
        table[f"JS {method}"] = [
            jensen_shannon(fitted.sample(len(z), t, random_state=seed), z, range=box)
            for t, z in variables.items()
        ]
    table["noise floor"] = [
        jensen_shannon_noise_floor(z, len(z), range=box, random_state=seed)
        for z in variables.values()
    ]
    sources = {"predicted": model.state_populations(judged), "reference": populations}
    for state in range(model.n_states_):
        for name, source in sources.items():
            columns = [f"P{state} {name}", f"P{state} {name} error"]
            table[columns] = source.xs(state, level="state").to_numpy()
    return table


def _judgement(
    model: TemperatureExtrapolator, table: pd.DataFrame, sizes: tuple[int, int]
) -> list[Section]:
    """Say what was done, and how far each method is from the simulations it never saw."""
    simulated = " and ".join(f"{t:g}" for t in model.temperatures_)
    summary = (
        "Seven Lennard-Jones particles in two dimensions (LJ7, reduced units) were simulated at "
        f"T\u00a0=\u00a0{simulated}, {sizes[0]:,} frames each. From these frames alone a model "
        f"learned two collective variables, {model.n_states_} metastable states and their "
        "equilibrium at every temperature. What it predicts is compared with a reference: "
        f"independent simulations at {len(table)} temperatures, {sizes[1]:,} frames each."
    )
    unseen = table[table["role"] != "simulated"]
    worst = ", ".join(f"{method} {unseen[f'JS {method}'].max():.4f}" for method in METHODS)
    verdict = (
        f"Largest divergence at temperatures that were not simulated for training: {worst}; noise "
        f"floor {unseen['noise floor'].max():.4f}.\n\n"
    )
    methods = "; ".join(f"{method}: {detail}" for method, detail in METHODS.items())
    text = (
        f"{verdict if len(unseen) else ''}JS is the Jensen-Shannon divergence in nats between "
        "generated collective variables and those of the reference (40 x 40 bins, as many samples "
        "as frames): 0 for equal distributions, 0.69 for disjoint ones. The noise floor is its "
        "mean between two sets of independent samples of the reference; frames of a simulation are "
        f"correlated, so that their own floor is higher. {methods[0].upper()}{methods[1:]}. What "
        "follows is what the first of them says."
    )
    divergences = readable(table.loc[:, :"noise floor"])
    return [Section("", summary), Section("Distance from the reference", text, divergences)]
