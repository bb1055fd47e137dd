"""``latflow fit``: a model from trajectories on disk."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from latflow._validation import check_output
from latflow.cli.inputs import add_files, add_molecules, read_array, read_features
from latflow.estimators import LaTFEstimator, TemperatureExtrapolator
from latflow.estimators.extrapolator import COLDER, HOTTER, METHODS
from latflow.estimators.latf import ENCODERS
from latflow.persistence import save
from latflow.units import BOLTZMANN_CONSTANT

__all__ = ["add", "add_model_options", "fitted", "run"]

LINE_WIDTH = 100
DEFAULT = "default: %(default)s"
Model = LaTFEstimator | TemperatureExtrapolator


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the command."""
    fit: argparse.ArgumentParser = commands.add_parser(
        "fit",
        help="fit a model to trajectories on disk",
        description="Fit a model. Simulations at two or more temperatures give a model of every "
        "temperature, those at one a model of that one.",
        usage="latflow fit FILE [FILE ...] --temperature T [T ...] [--topology FILE] [options]",
    )
    add_files(fit)
    add_molecules(fit)
    fit.add_argument("--output", default="model.latflow", metavar="FILE", help=DEFAULT)
    add_model_options(fit)
    return fit


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add the estimators' options."""
    parser.add_argument(
        "--energy", nargs="+", metavar="FILE", help="potential energy of every frame, shape "
        "(n_frames,), one file a trajectory, in kJ/mol; for --method mbar",
    )  # fmt: skip
    parser.add_argument(
        "--method", choices=METHODS,
        help="how temperatures are connected; default: enthalpy, which needs no energies",
    )  # fmt: skip
    parser.add_argument(
        "--temperature-range", nargs=2, type=float, metavar=("LOW", "HIGH"),
        help=f"that the model can sample; default: {COLDER:g} times the lowest to {HOTTER:g} times "
        "the highest simulated temperature",
    )  # fmt: skip
    parser.add_argument(
        "--lagtime", type=int, default=1, metavar="N", help=f"in frames kept; {DEFAULT}"
    )
    parser.add_argument(
        "--components", type=int, default=2, metavar="D", help=f"collective variables; {DEFAULT}"
    )
    parser.add_argument("--encoder", choices=ENCODERS, default="mlp", help=DEFAULT)
    parser.add_argument(
        "--boltzmann-constant", type=float, default=BOLTZMANN_CONSTANT, metavar="K",
        help="in kJ/mol/K, or 1 for reduced units; default: %(default).6g",
    )  # fmt: skip
    parser.add_argument(
        "--max-iter", type=int, metavar="N", help="optimiser steps; default: the estimators' own"
    )
    parser.add_argument(
        "--ensemble", type=int, default=20, metavar="N",
        help=f"bootstraps that error bars come from, or 1 for none; {DEFAULT}",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, metavar="S", help=DEFAULT)


def run(arguments: argparse.Namespace) -> None:
    """Fit, save and print the populations."""
    output = check_output(arguments.output, "--output")
    model = fitted(arguments)
    save(model, output)
    print(populations(model))
    print(f"Saved: {output}")


def fitted(arguments: argparse.Namespace) -> Model:
    """Return a model fitted to the files that the arguments name."""
    trajectories, temperature = read_features(arguments)
    energies = _energies(arguments, trajectories)
    model = _estimator(arguments, extrapolate=len(set(temperature)) > 1)
    metadata = {} if energies is None else {"energy": energies}
    return model.fit(trajectories, temperature=temperature, **metadata)


def populations(model: Model) -> str:
    """Return the shares of the frames in each state, to print."""
    inner = model if isinstance(model, LaTFEstimator) else model.estimator_
    names = [f"state {k}" for k in range(inner.n_states_)]
    index = [f"T = {t:g}" for t in inner.temperatures_]
    table = pd.DataFrame(inner.populations_, index, names)
    found = f"{inner.n_states_} metastable state(s); share of the frames in each:"
    return f"{found}\n{table.to_string(float_format='{:.3f}'.format, line_width=LINE_WIDTH)}"


def _estimator(arguments: argparse.Namespace, *, extrapolate: bool) -> Model:
    common = {"random_state": arguments.seed}
    common |= {} if arguments.max_iter is None else {"max_iter": arguments.max_iter}
    estimator = LaTFEstimator(
        arguments.lagtime,
        arguments.components,
        encoder=arguments.encoder,
        boltzmann_constant=arguments.boltzmann_constant,
        verbose=int(sys.stderr.isatty()),
        **common,
    )
    if not extrapolate and arguments.method is None:
        return estimator
    wanted = arguments.temperature_range
    return TemperatureExtrapolator(
        estimator,
        method=arguments.method or METHODS[0],
        n_bootstraps=arguments.ensemble,
        temperature_range=None if wanted is None else tuple(wanted),
        **common,
    )


def _energies(
    arguments: argparse.Namespace, trajectories: Sequence[NDArray[Any]]
) -> list[NDArray[Any]] | None:
    files = arguments.energy
    if files is None:
        return None
    if arguments.method != "mbar":
        raise ValueError("Expected --energy with --method mbar, which alone reads energies.")
    if len(files) != len(trajectories):
        raise ValueError(
            f"Expected --energy with one file per trajectory ({len(trajectories)}), "
            f"got {len(files)}."
        )
    energies = [
        read_array(file, f"energy of trajectory {k}", n_axes=1) for k, file in enumerate(files)
    ]
    for file, energy, trajectory in zip(files, energies, trajectories, strict=True):
        if len(energy) != len(trajectory):
            raise ValueError(
                f"Expected one energy per frame ({len(trajectory)}) in {file}, got {len(energy)}."
            )
    return energies
