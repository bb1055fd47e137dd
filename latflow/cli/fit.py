"""``latflow fit``: a model from trajectories on disk."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias

import typer

import latflow
from latflow._typing import FloatArray
from latflow.cli.energies import energies_of, read_logs, with_thermostats
from latflow.cli.inputs import FILES, Trajectories, read_features, with_files

LINE_WIDTH = 100
Model: TypeAlias = "latflow.LaTFEstimator | latflow.TemperatureExtrapolator"
Method = Literal["enthalpy", "tilted", "mbar"]
Encoder = Literal["mlp", "linear"]
option = partial(typer.Option, rich_help_panel="Model")
optional = partial(option, None)


@dataclass(frozen=True)
class Fitting:
    """The estimators' parameters; :func:`latflow.cli.command.with_options` makes the options."""

    energy: list[str] | None = optional(
        metavar="FILE...",
        help="Potential energies, one file a trajectory: .edr or .xvg (GROMACS), CSV (OpenMM), "
        "mdout (AMBER), log (NAMD, LAMMPS), which may tell --temperature too; or an array of "
        "shape (n_frames,) in kJ/mol as .npy.",
    )
    method: Method | None = optional(
        show_default="enthalpy, which needs no energies", help="How temperatures are connected."
    )
    temperature_range: tuple[float, float] | None = optional(
        metavar="LOW HIGH",
        show_default="0.8 times the lowest to 1.5 times the highest simulated temperature",
        help="What the model can sample.",
    )
    lagtime: int = option(1, metavar="N", help="In frames kept.")
    components: int = option(2, metavar="D", help="Collective variables.")
    encoder: Encoder = option("mlp")
    boltzmann_constant: float | None = optional(
        metavar="K", show_default="0.00831446", help="In kJ/mol/K, or 1 for reduced units."
    )
    max_iter: int | None = optional(
        metavar="N", show_default="the estimators' own", help="Optimiser steps."
    )
    bootstraps: int = option(20, metavar="N", help="That error bars come from; 0 for none.")
    seed: int = option(0, metavar="S")


def fit(
    context: typer.Context,
    trajectories: Trajectories,
    fitting: Fitting,
    files: list[str] | None = FILES,
    output: str = typer.Option("model.latflow", metavar="FILE"),
) -> None:
    """Fit a model to trajectories on disk.

    Simulations at two or more temperatures, or at one with energies, give a model of every
    temperature, those at one without a model of that one.
    """
    target = latflow._validation.check_output(output, "--output")
    model, _ = fitted_to(with_files(context, files, trajectories), fitting)
    latflow.save(model, target)
    print_populations(model, list(model.temperatures_))
    print(f"Saved: {target}")


def fitted_to(trajectories: Trajectories, fitting: Fitting) -> tuple[Model, list[FloatArray]]:
    """Return a model fitted to trajectories, and their features."""
    logs = read_logs(fitting.energy)
    in_kelvin = fitting.boltzmann_constant is None
    if in_kelvin:
        trajectories = with_thermostats(trajectories, logs)
    X, temperature, weights = read_features(trajectories, fitting.boltzmann_constant)
    metadata = {} if weights is None else {"weights": weights}
    if fitting.energy is not None:
        named = temperature if in_kelvin else None
        metadata["energy"] = energies_of(logs, fitting.energy, X, named)
    estimator = _estimator(fitting, extrapolates(temperature, fitting))
    return estimator.fit(X, temperature=temperature, **metadata), X


def extrapolates(temperatures: Collection[float], fitting: Fitting) -> bool:
    """Whether the model is one of every temperature."""
    named = fitting.method is not None or fitting.energy is not None
    return named or len(set(temperatures)) > 1


def print_populations(model: Model, temperatures: Sequence[float] | None) -> None:
    """Print the population of every state at these temperatures."""
    table = latflow.report.population_table(model, temperatures)
    print(table.set_index("T").to_string(line_width=LINE_WIDTH))


def _estimator(fitting: Fitting, extrapolate: bool) -> Model:
    common = {"random_state": fitting.seed} | _named(max_iter=fitting.max_iter)
    options = common | _named(boltzmann_constant=fitting.boltzmann_constant)
    options |= {"encoder": fitting.encoder, "verbose": int(sys.stderr.isatty())}
    estimator = latflow.LaTFEstimator(fitting.lagtime, fitting.components, **options)
    if not extrapolate:
        return estimator
    options = common | _named(method=fitting.method, temperature_range=fitting.temperature_range)
    return latflow.TemperatureExtrapolator(estimator, n_bootstraps=fitting.bootstraps, **options)


def _named(**options: object) -> dict[str, Any]:
    """Return the options that are named; the estimators know the defaults of the others."""
    return {name: value for name, value in options.items() if value is not None}
