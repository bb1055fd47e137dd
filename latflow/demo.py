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
from numpy.typing import NDArray
from sklearn.frozen import FrozenEstimator
from sklearn.utils import Bunch

from latflow._validation import check_count, check_output, check_temperature, import_extra
from latflow.datasets import make_lj7
from latflow.estimators import LaTFEstimator, TemperatureExtrapolator
from latflow.estimators.extrapolator import COLDER, HOTTER
from latflow.metrics import jensen_shannon, jensen_shannon_noise_floor
from latflow.plotting import FreeEnergyDisplay, HistoryDisplay, PopulationsDisplay
from latflow.report import Section, blank_figure, write_report

__all__ = ["DemoResult", "readable", "run_demo"]

FloatArray = NDArray[np.float64]
Models = dict[str, TemperatureExtrapolator]
Say = Callable[[str], None]

TEMPERATURES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
TRAIN_TEMPERATURES = (0.2, 0.5)
SURFACE_GRID = 60
CURVE_POINTS = 26
DETAILS = {
    "enthalpy": "the default, needs no energies",
    "tilted": "the published model, a flow whose base widens with temperature",
    "mbar": "reads the potential energy of every frame",
}


@dataclass(frozen=True)
class DemoResult:
    """What the demo found.

    Attributes
    ----------
    table : DataFrame
        One row per temperature: `T`, `role` ("trained" or "predicted"), `JS <method>` in nats,
        `noise floor`, and for each state k `P<k> predicted`, `P<k> simulated` and their standard
        errors `P<k> error` and `P<k> simulated error`.
    timings : dict of str to float
        Seconds per step, and `total`.
    path : Path
        The report.
    notes : tuple of str
        What was left out, and why.
    """

    table: pd.DataFrame
    timings: dict[str, float]
    path: Path
    notes: tuple[str, ...] = ()


def run_demo(
    *,
    n_frames: int = 50_000,
    n_reference: int = 50_000,
    temperatures: Sequence[float] = TEMPERATURES,
    train_temperatures: Sequence[float] = TRAIN_TEMPERATURES,
    output: str | os.PathLike[str] = "latflow_demo.html",
    n_jobs: int = 2,
    max_iter: int | None = None,
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
        If matplotlib is not installed. Without pymbar, "mbar" is left out.
    """
    target = check_output(output, "output")
    import_extra("matplotlib.figure", "plot")
    frames = [check_count(n_frames, "n_frames"), check_count(n_reference, "n_reference")]
    cold_to_hot = _check_all(temperatures, "temperatures", 1)
    trained = _check_all(train_temperatures, "train_temperatures", 2)
    clock = Clock(report or (lambda line: None))
    n_seeds = len(trained) + len(cold_to_hot) + 2
    seeds = iter(np.random.SeedSequence(random_state).generate_state(n_seeds).tolist())
    with clock.step("simulation"):
        plan = [(frames[0], t, next(seeds)) for t in trained]
        plan += [(frames[1], t, next(seeds)) for t in cold_to_hot]
        data = _simulate(plan, n_jobs, clock.say)
    train, reference = data[: len(trained)], data[len(trained) :]
    methods, notes = _available_methods()
    models = _fit(train, methods, cold_to_hot, max_iter, next(seeds), clock)
    with clock.step("comparison"):
        reference_cvs = _collective_variables(models["enthalpy"], reference)
        simulated = _simulated_populations(models["enthalpy"], reference)
        table = _compare(models, reference_cvs, simulated, next(seeds))
    with clock.step("figures"):
        sections = _sections(models, table, reference_cvs, simulated, frames, notes)
    sections.append(_timing_section(clock.finish()))
    path = write_report(target, title="Latent thermodynamic flow: LJ7", sections=sections)
    return DemoResult(table, clock.timings, path, notes)


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """Return a demo's table as text, to print.

    Parameters
    ----------
    table : DataFrame
        Of a :class:`DemoResult`.

    Returns
    -------
    DataFrame
        `T`, `role`, every JS and the noise floor, and populations as `value ± standard error`.
    """
    text = pd.DataFrame({"T": [f"{t:g}" for t in table["T"]], "role": table["role"]})
    for name in table.columns:
        if name.startswith("JS") or name == "noise floor":
            text[name] = [f"{value:.4f}" for value in table[name]]
        elif name.endswith(("predicted", "simulated")):
            error = table[f"{name.removesuffix(' predicted')} error"]
            text[name] = [_with_error(p, e) for p, e in zip(table[name], error, strict=True)]
    return text


def _with_error(value: float, error: float) -> str:
    """Return `value ± error` to the error's first digit, but two decimals at least."""
    if not error > 0:
        return f"{value:.3f}"
    decimals = min(max(2, -int(np.floor(np.log10(error)))), 4)
    return f"{value:.{decimals}f} ± {error:.{decimals}f}"


class Clock:
    """Seconds per step, said aloud as each ends."""

    def __init__(self, say: Say) -> None:
        self.say = say
        self.timings: dict[str, float] = {}
        self._start = time.perf_counter()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time the body as one step."""
        start = time.perf_counter()
        yield
        self.timings[name] = time.perf_counter() - start
        self.say(f"{name}: {self.timings[name]:.1f} s")

    def finish(self) -> dict[str, float]:
        """Return all steps and the total so far."""
        self.timings["total"] = time.perf_counter() - self._start
        return self.timings


def _check_all(values: Sequence[float], name: str, least: int) -> list[float]:
    found = sorted({check_temperature(float(value), name) for value in values})
    if len(found) < least:
        raise ValueError(
            f"Expected `{name}` to hold at least {least} different value(s), got {len(found)}."
        )
    return found


def _simulate(plan: Sequence[tuple[int, float, int]], n_jobs: int, say: Say) -> list[Bunch]:
    parallel = Parallel(n_jobs=n_jobs, return_as="generator")
    data = []
    for ensemble in parallel(delayed(_simulate_one)(*row) for row in plan):
        data.append(ensemble)
        say(f"simulated T = {ensemble.temperature[0]:g} ({len(data)} of {len(plan)})")
    return data


def _simulate_one(n_frames: int, temperature: float, seed: int) -> Bunch:
    data = make_lj7(n_frames, temperature, random_state=seed)
    del data["coordinates"]
    return data


def _available_methods() -> tuple[list[str], tuple[str, ...]]:
    try:
        import_extra("pymbar", "mbar")
    except ImportError as error:
        return ["enthalpy", "tilted"], (f"mbar was left out: {error}",)
    return ["enthalpy", "tilted", "mbar"], ()


def _fit(
    train: Sequence[Bunch],
    methods: Sequence[str],
    wanted: Sequence[float],
    max_iter: int | None,
    seed: int,
    clock: Clock,
) -> Models:
    """Fit every method on the collective variables and states of the first one."""
    X, temperature, energy = (
        [item for data in train for item in data[name]]
        for name in ("trajectories", "temperature", "energies")
    )
    low, high = COLDER * min(temperature), HOTTER * max(temperature)
    common: dict[str, Any] = {"random_state": seed}
    common |= {} if max_iter is None else {"max_iter": max_iter}
    estimator: Any = LaTFEstimator(encoder="linear", boltzmann_constant=1.0, **common)
    models: Models = {}
    for method in methods:
        with clock.step(f"fit, {method}"):
            models[method] = TemperatureExtrapolator(
                estimator,
                method=method,
                n_bootstraps=20,
                temperature_range=(min(low, wanted[0]), max(high, wanted[-1])),
                **common,
            ).fit(X, temperature=temperature, energy=energy)
        estimator = FrozenEstimator(models[method].estimator_)
    return models


def _collective_variables(
    model: TemperatureExtrapolator, reference: Sequence[Bunch]
) -> dict[float, FloatArray]:
    return {
        data.temperature[0]: np.concatenate(model.transform(data.trajectories))
        for data in reference
    }


def _simulated_populations(
    model: TemperatureExtrapolator, reference: Sequence[Bunch]
) -> pd.DataFrame:
    """Return populations with standard errors over the trajectories, which are independent."""
    n_states = model.estimator_.n_states_
    means, errors = [], []
    for data in reference:
        labels = model.predict(data.trajectories)
        shares = np.stack([np.bincount(s, minlength=n_states) / len(s) for s in labels])
        means.append(shares.mean(axis=0))
        errors.append(shares.std(axis=0, ddof=1) / np.sqrt(len(shares)))
    temperatures = [data.temperature[0] for data in reference]
    return pd.DataFrame(
        {"population": np.concatenate(means), "standard_error": np.concatenate(errors)},
        index=pd.MultiIndex.from_product(
            [temperatures, range(n_states)], names=["temperature", "state"]
        ),
    )


def _compare(
    models: Models,
    reference: Mapping[float, FloatArray],
    simulated: pd.DataFrame,
    seed: int,
) -> pd.DataFrame:
    model = models["enthalpy"]
    temperatures = list(reference)
    everywhere = np.concatenate(list(reference.values()))
    box = np.stack([everywhere.min(axis=0), everywhere.max(axis=0)], axis=1)
    known = [bool(np.isclose(t, model.temperatures_).any()) for t in temperatures]
    table = pd.DataFrame({"T": temperatures, "role": np.where(known, "trained", "predicted")})
    for method, fitted in models.items():
        table[f"JS {method}"] = [
            jensen_shannon(fitted.sample(len(z), t, random_state=seed), z, range=box)
            for t, z in reference.items()
        ]
    table["noise floor"] = [
        jensen_shannon_noise_floor(z, len(z), range=box, random_state=seed)
        for z in reference.values()
    ]
    return table.join(_population_columns(model.state_populations(temperatures), simulated))


def _population_columns(predicted: pd.DataFrame, simulated: pd.DataFrame) -> pd.DataFrame:
    columns: dict[str, FloatArray] = {}
    for state in predicted.index.unique("state"):
        ours, theirs = predicted.xs(state, level="state"), simulated.xs(state, level="state")
        columns |= {
            f"P{state} predicted": ours["population"].to_numpy(),
            f"P{state} error": ours["standard_error"].to_numpy(),
            f"P{state} simulated": theirs["population"].to_numpy(),
            f"P{state} simulated error": theirs["standard_error"].to_numpy(),
        }
    return pd.DataFrame(columns)


# ------------------------------------------------------------------ the report


def _sections(
    models: Models,
    table: pd.DataFrame,
    reference: Mapping[float, FloatArray],
    simulated: pd.DataFrame,
    frames: Sequence[int],
    notes: Sequence[str],
) -> list[Section]:
    model, text = models["enthalpy"], readable(table)
    states = [name for name in text.columns if name.startswith("P")]
    return [
        Section("", "\n\n".join([_summary(model, table, frames), *notes])),
        Section(
            "Distance from the simulations", _distances(models, table), text.drop(columns=states)
        ),
        Section(
            "Free-energy surfaces",
            figure=_surfaces(model, reference),
            caption="Above: -log of the density generated by the enthalpy method. Below: -log of a "
            "histogram of the simulation. Grey lies higher than the scale. White was not reached: "
            "above by the training frames, below by the simulation.",
        ),
        Section(
            "State populations",
            "Pk: population of state k ± one standard error, predicted by the enthalpy method.",
            text[["T", "role", *states]],
            figure=_populations(model, simulated),
            caption="Lines: predicted, with a band of one standard error. Points: simulated.",
        ),
        Section("Training history", figure=_history(model)),
    ]


def _summary(model: TemperatureExtrapolator, table: pd.DataFrame, frames: Sequence[int]) -> str:
    trained = " and ".join(f"{t:g}" for t in model.temperatures_)
    return (
        "Seven Lennard-Jones particles in two dimensions (LJ7, reduced units) were simulated at "
        f"T\u00a0=\u00a0{trained}, {frames[0]:,} frames each. From these frames alone a model "
        f"learned two collective variables, {model.estimator_.n_states_} metastable states and "
        "their equilibrium at every temperature. What it predicts is compared with independent "
        f"simulations at {len(table)} temperatures, {frames[1]:,} frames each."
    )


def _distances(models: Models, table: pd.DataFrame) -> str:
    methods = "; ".join(f"{method}: {DETAILS[method]}" for method in models)
    unseen = table[table["role"] == "predicted"]
    worst = ", ".join(f"{method} {unseen[f'JS {method}'].max():.4f}" for method in models)
    verdict = (
        f"Largest divergence at temperatures that were not trained on: {worst}; noise floor "
        f"{unseen['noise floor'].max():.4f}.\n\n"
    )
    return (
        f"{verdict if len(unseen) else ''}JS is the Jensen-Shannon divergence in nats between "
        "generated and simulated collective variables (40 x 40 bins, as many samples as frames): "
        "0 for equal distributions, 0.69 for disjoint ones. The noise floor is its mean between "
        "two sets of independent samples of the simulated distribution; frames of a simulation are "
        f"correlated, so that their own floor is higher. {methods[0].upper()}{methods[1:]}."
    )


def _timing_section(timings: Mapping[str, float]) -> Section:
    seconds = [f"{value:.1f}" for value in timings.values()]
    return Section("Timings", table=pd.DataFrame({"step": list(timings), "seconds": seconds}))


def _surfaces(model: TemperatureExtrapolator, reference: Mapping[float, FloatArray]) -> Any:
    figure = blank_figure(1.9 * len(reference) + 0.8, 4.4)
    FreeEnergyDisplay.from_estimator(
        model,
        temperature=list(reference),
        reference=reference,
        unit="kT",
        n_grid=SURFACE_GRID,
        axes=figure.subplots(2, len(reference), sharex=True, sharey=True),
    )
    return figure


def _populations(model: TemperatureExtrapolator, simulated: pd.DataFrame) -> Any:
    figure = blank_figure(7.0, 4.0)
    t = simulated.index.get_level_values("temperature")
    PopulationsDisplay.from_estimator(
        model,
        temperature=np.linspace(t.min(), t.max(), CURVE_POINTS),
        reference=simulated,
        ax=figure.subplots(),
    )
    return figure


def _history(model: TemperatureExtrapolator) -> Any:
    figure = blank_figure(11.0, 3.2)
    HistoryDisplay.from_estimator(model, axes=figure.subplots(1, 3))
    return figure
