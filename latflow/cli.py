"""The command line: parse, call the public API, print."""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from latflow._validation import check_output
from latflow.demo import readable, run_demo
from latflow.estimators import LaTFEstimator, TemperatureExtrapolator
from latflow.estimators.extrapolator import COLDER, HOTTER, METHODS
from latflow.estimators.latf import BOLTZMANN_CONSTANT, ENCODERS
from latflow.persistence import VERSION, load, save
from latflow.report import replacing

__all__ = ["main"]

KNOWN_ERRORS = (ValueError, OSError, ImportError, TypeError)
SUFFIXES = (".npy", ".npz")
LINE_WIDTH = 100
DEFAULT = "default: %(default)s"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command of ``latflow``.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments after the program's name; those of the process if not given.

    Returns
    -------
    int
        0, or 2 after an error that the user can cure; it is printed as one sentence.
    """
    arguments = _parser().parse_args(argv)
    # pymbar greets every import with warnings about software that it does not find
    logging.getLogger("pymbar").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            arguments.run(arguments)
        except KNOWN_ERRORS as error:
            print(f"latflow: {_sentence(error)}", file=sys.stderr)
            return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="latflow",
        description="Collective variables, metastable states and the equilibrium at every "
        "temperature, from simulations at one or a few.",
    )
    parser.add_argument("--version", action="version", version=f"latflow {VERSION}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_demo(commands)
    _add_fit(commands)
    _add_sample(commands)
    return parser


def _add_demo(commands: Any) -> None:
    text = (
        "Simulate seven Lennard-Jones particles at T = 0.2 and 0.5, fit, predict T = 0.2 to 0.7, "
        "compare with simulations and write an HTML report. About two minutes on two cores."
    )
    demo = commands.add_parser("demo", help="the main job, end to end", description=text)
    demo.add_argument("--output", default="latflow_demo.html", metavar="FILE", help=DEFAULT)
    demo.add_argument(
        "--frames", type=int, default=50_000, metavar="N", help=f"per temperature; {DEFAULT}"
    )
    demo.add_argument("--seed", type=int, default=0, metavar="S", help=DEFAULT)
    demo.add_argument(
        "--jobs", type=int, default=2, metavar="N", help=f"processes that simulate; {DEFAULT}"
    )
    demo.set_defaults(run=_demo)


def _add_fit(commands: Any) -> None:
    fit = commands.add_parser(
        "fit",
        help="fit a model to trajectories on disk",
        description="Fit a model. Simulations at two or more temperatures give a model of every "
        "temperature, those at one a model of that one.",
        usage="latflow fit FILE [FILE ...] --temperature T [T ...] [options]",
    )
    fit.add_argument(
        "files", nargs="+", metavar="FILE",
        help="one trajectory each: an array of shape (n_frames, n_features) as .npy, or as .npz, "
        "alone or under the name `features`",
    )  # fmt: skip
    fit.add_argument(
        "--temperature", nargs="+", type=float, required=True, metavar="T",
        help="of each file, or one for all; in K (in energy units with --boltzmann-constant 1)",
    )  # fmt: skip
    fit.add_argument(
        "--energy", nargs="+", metavar="FILE", help="potential energy of every frame, shape "
        "(n_frames,), one file a trajectory, in kJ/mol; for --method mbar",
    )  # fmt: skip
    fit.add_argument("--output", default="model.latflow", metavar="FILE", help=DEFAULT)
    _add_model_options(fit)
    fit.set_defaults(run=_fit)


def _add_model_options(fit: argparse.ArgumentParser) -> None:
    fit.add_argument(
        "--method", choices=METHODS,
        help="how temperatures are connected; default: enthalpy, which needs no energies",
    )  # fmt: skip
    fit.add_argument(
        "--temperature-range", nargs=2, type=float, metavar=("LOW", "HIGH"),
        help=f"that the model can sample; default: {COLDER:g} times the lowest to {HOTTER:g} times "
        "the highest simulated temperature",
    )  # fmt: skip
    fit.add_argument("--lagtime", type=int, default=1, metavar="N", help=f"in frames; {DEFAULT}")
    fit.add_argument(
        "--components", type=int, default=2, metavar="D", help=f"collective variables; {DEFAULT}"
    )
    fit.add_argument("--encoder", choices=ENCODERS, default="mlp", help=DEFAULT)
    fit.add_argument(
        "--boltzmann-constant", type=float, default=BOLTZMANN_CONSTANT, metavar="K",
        help="in kJ/mol/K, or 1 for reduced units; default: %(default).6g",
    )  # fmt: skip
    fit.add_argument(
        "--max-iter", type=int, metavar="N", help="optimiser steps; default: the estimators' own"
    )
    fit.add_argument("--seed", type=int, default=0, metavar="S", help=DEFAULT)


def _add_sample(commands: Any) -> None:
    sample = commands.add_parser(
        "sample",
        help="draw collective variables from a fitted model",
        description="Draw collective variables from the equilibrium at a temperature.",
    )
    sample.add_argument("model", metavar="MODEL", help="a file that `latflow fit` wrote")
    sample.add_argument(
        "--temperature", type=float, metavar="T",
        help="in the units of the fit; default: the lowest simulated one",
    )  # fmt: skip
    sample.add_argument("--n-samples", type=int, default=10_000, metavar="N", help=DEFAULT)
    sample.add_argument("--seed", type=int, default=0, metavar="S", help=DEFAULT)
    sample.add_argument(
        "--output", required=True, metavar="FILE", help="array of shape (N, n_components), as .npy"
    )
    sample.set_defaults(run=_sample)


# ------------------------------------------------------------------ the commands


def _demo(arguments: argparse.Namespace) -> None:
    result = run_demo(
        n_frames=arguments.frames,
        n_reference=arguments.frames,
        output=arguments.output,
        n_jobs=arguments.jobs,
        random_state=arguments.seed,
        report=lambda line: print(line, flush=True),
    )
    print()
    print(readable(result.table).set_index("T").to_string(line_width=LINE_WIDTH))
    print("\nJS in nats; populations ± one standard error.", *result.notes, sep="\n")
    print(f"Report: {result.path} ({result.timings['total']:.0f} s in all)")


def _fit(arguments: argparse.Namespace) -> None:
    output = check_output(arguments.output, "--output")
    trajectories = [
        _read(file, f"trajectory {k}", n_axes=2) for k, file in enumerate(arguments.files)
    ]
    temperature = _one_each(arguments.temperature, len(trajectories))
    energies = _energies(arguments, trajectories)
    estimator = _estimator(arguments, extrapolate=len(set(temperature)) > 1)
    metadata = {} if energies is None else {"energy": energies}
    estimator.fit(trajectories, temperature=temperature, **metadata)
    save(estimator, output)
    print(_populations(estimator))
    print(f"Saved: {output}")


def _estimator(
    arguments: argparse.Namespace, *, extrapolate: bool
) -> LaTFEstimator | TemperatureExtrapolator:
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
        temperature_range=None if wanted is None else tuple(wanted),
        **common,
    )


def _sample(arguments: argparse.Namespace) -> None:
    output = check_output(arguments.output, "--output")
    if output.suffix != ".npy":
        raise ValueError(f"Expected --output to end in .npy, got {output}.")
    model = load(arguments.model)
    drawn = model.sample(arguments.n_samples, arguments.temperature, random_state=arguments.seed)
    with replacing(output) as file:
        np.save(file, drawn, allow_pickle=False)
    print(f"Saved: {output}, shape {drawn.shape}")


def _populations(estimator: LaTFEstimator | TemperatureExtrapolator) -> str:
    inner = estimator if isinstance(estimator, LaTFEstimator) else estimator.estimator_
    names = [f"state {k}" for k in range(inner.n_states_)]
    index = [f"T = {t:g}" for t in inner.temperatures_]
    table = pd.DataFrame(inner.populations_, index, names)
    found = f"{inner.n_states_} metastable state(s); share of the frames in each:"
    return f"{found}\n{table.to_string(float_format='{:.3f}'.format, line_width=LINE_WIDTH)}"


# ------------------------------------------------------------------ files in


def _one_each(temperatures: Sequence[float], n_files: int) -> list[float]:
    if len(temperatures) not in (1, n_files):
        raise ValueError(
            f"Expected --temperature with one value, or one per file ({n_files}), "
            f"got {len(temperatures)}."
        )
    return list(temperatures) * (n_files if len(temperatures) == 1 else 1)


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
    energies = [_read(file, f"energy of trajectory {k}", n_axes=1) for k, file in enumerate(files)]
    for file, energy, trajectory in zip(files, energies, trajectories, strict=True):
        if len(energy) != len(trajectory):
            raise ValueError(
                f"Expected one energy per frame ({len(trajectory)}) in {file}, got {len(energy)}."
            )
    return energies


def _read(file: str, role: str, *, n_axes: int) -> NDArray[Any]:
    """Read one array of numbers; the errors name the file and its role."""
    array = _load_array(Path(file))
    shape = "(n_frames, n_features)" if n_axes == 2 else "(n_frames,)"
    if array.ndim != n_axes or array.size == 0:
        raise ValueError(f"Expected {role} of shape {shape} in {file}, got {array.shape}.")
    if array.dtype.kind not in "fiu":
        raise ValueError(f"Expected {role} as real numbers in {file}, got {array.dtype}.")
    finite = np.isfinite(array).reshape(len(array), -1).all(axis=1)
    if not finite.all():
        raise ValueError(
            f"Expected finite numbers for {role} in {file}, got NaN or infinity in frame "
            f"{np.flatnonzero(~finite)[0]} ({(~finite).sum()} such frames in all)."
        )
    return array


def _load_array(path: Path) -> NDArray[Any]:
    if path.suffix not in SUFFIXES:
        raise ValueError(f"Expected a file that ends in {' or '.join(SUFFIXES)}, got {path}.")
    if not path.is_file():
        raise FileNotFoundError(f"Expected an array in {path}, found no such file.")
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return loaded
            names = ["features"] if "features" in loaded.files else loaded.files
            arrays = {name: loaded[name] for name in names}
    except (EOFError, zipfile.BadZipFile, ValueError) as error:
        raise ValueError(
            f"Expected an array of numbers in {path}, got a file that is damaged, of another kind "
            "or holds Python objects, which are never read."
        ) from error
    if len(arrays) != 1:
        raise ValueError(
            f"Expected one array, or one called `features`, in {path}, got "
            f"{', '.join(arrays) or 'none'}."
        )
    return np.asarray(arrays.popitem()[1])


# ------------------------------------------------------------------ what is said


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename or 'no file named'}."
    return str(error)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"latflow: warning: {message}", file=sys.stderr)
