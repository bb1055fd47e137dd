"""Biases of Colvars whose widths and barrier come from a predicted surface."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from latflow._validation import check_count, check_option, check_output
from latflow.estimators import TemperatureExtrapolator
from latflow.export.colvars_input import LENGTHS, block, blocks_of, written_files
from latflow.export.lepton import number
from latflow.export.predicted_bias import HEIGHT, PredictedBias
from latflow.export.recipe import Recipe
from latflow.featurizers import Featurizer

__all__ = ["colvars_bias"]

ENERGIES = {"real": 4.184, "metal": 96.48533212331, "gromacs": 1.0}  # in kJ/mol: kcal/mol, eV
FULL_SAMPLES = 500  # in a bin, before ABF applies all of its force


def colvars_bias(
    model: TemperatureExtrapolator,
    path: str | os.PathLike[str],
    temperature: float,
    *,
    method: str = "metadynamics",
    featurizer: Featurizer | Mapping[str, Any] | None = None,
    units: str = "real",
    network: str = "auto",
    pace: int = 500,
) -> list[Path]:
    """Write collective variables and a bias on them for Colvars, read from a predicted surface.

    Colvars has no bias on a grid that it reads: unlike :func:`plumed_bias` this takes the widths,
    the barrier and the edges of the surface, and starts from no bias.

    Parameters
    ----------
    model : TemperatureExtrapolator
        Of a LaTFEstimator with one to three components, fitted on the features of a featurizer,
        with temperatures in K.
    path : str or path-like
        Text file to write; old files are replaced when all are written.
    temperature : float
        Of the simulation to bias, in K.
    method : {"metadynamics", "abf"}, default="metadynamics"
        Well-tempered metadynamics, or the adaptive biasing force on fictitious particles (eABF,
        which functions of components need).
    featurizer : Featurizer or mapping, optional
        The fitted featurizer of the model's features, or its manifest. By default the manifest
        that the model kept.
    units : {"real", "metal", "gromacs"}, default="real"
        The engine's units, as for :func:`colvars`.
    network : {"auto", "function", "files"}, default="auto"
        As for :func:`colvars`.
    pace : int, default=500
        Steps from one Gaussian to the next.

    Returns
    -------
    list of Path
        The files that were written, `path` first.

    Raises
    ------
    TypeError, ValueError
        As :func:`colvars` and :meth:`PredictedBias.of` do.
    OSError
        If a file cannot be written.

    References
    ----------
    Fiorin, Klein, Hénin, Mol. Phys. 111, 3345 (2013). Lesage, Lelièvre, Stoltz, Hénin, Smoothed
    biasing forces yield unbiased free energies with the extended-system adaptive biasing force
    method, J. Phys. Chem. B 121, 3676 (2017).
    """
    check_option(method, "method", METHODS)
    check_option(units, "units", LENGTHS)
    check_count(pace, "pace")
    target = check_output(path)
    recipe = Recipe.of(model, featurizer)
    bias = PredictedBias.of(model, temperature)
    options = list(_options(bias, extended=method == "abf"))
    blocks, files = blocks_of(recipe, target.name, units, network, options)
    names, energy = recipe.variables, 1 / ENERGIES[units]
    blocks += [_walls(bias, names, energy), METHODS[method](bias, names, energy, pace)]
    return written_files(target, blocks, files)


def _options(bias: PredictedBias, *, extended: bool) -> Iterator[list[str]]:
    """Yield each variable's grid, and its fictitious particle."""
    for axis, sigma in zip(bias.axes, bias.sigmas, strict=True):
        step = float(axis[1] - axis[0])
        lines = [
            f"lowerBoundary {number(axis[0])}",
            f"upperBoundary {number(axis[0] + step * (len(axis) - 1))}",
            f"width {number(step)}",
        ]
        if extended:
            lines += ["extendedLagrangian on", f"extendedFluctuation {number(sigma / 3)}"]
            lines += [f"extendedTemp {number(bias.temperature)}"]
        yield lines


def _walls(bias: PredictedBias, names: Sequence[str], energy: float) -> str:
    # force constants are for a variable in units of its width, and one for all of them
    softest = min(
        k * (axis[1] - axis[0]) ** 2 for k, axis in zip(bias.stiffness, bias.axes, strict=True)
    )
    lines = [
        f"colvars {' '.join(names)}",
        f"lowerWalls {_numbers(bias.lower)}",
        f"upperWalls {_numbers(bias.upper)}",
        f"forceConstant {number(energy * softest)}",
    ]
    return block("harmonicWalls", lines)


def _metadynamics(bias: PredictedBias, names: Sequence[str], energy: float, pace: int) -> str:
    lines = [
        f"colvars {' '.join(names)}",
        f"hillWeight {number(energy * HEIGHT * bias.kt)}",
        f"newHillFrequency {pace}",
        f"gaussianSigmas {_numbers(bias.sigmas.tolist())}",
        "wellTempered on",
        f"biasTemperature {number((bias.bias_factor - 1) * bias.temperature)}",
    ]
    return block("metadynamics", lines)


def _abf(bias: PredictedBias, names: Sequence[str], energy: float, pace: int) -> str:
    return block("abf", [f"colvars {' '.join(names)}", f"fullSamples {FULL_SAMPLES}"])


METHODS = {"metadynamics": _metadynamics, "abf": _abf}


def _numbers(values: Sequence[float]) -> str:
    return " ".join(map(number, values))
