"""A predicted bias as an input of PLUMED: its grid, and metadynamics or OPES on top."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from latflow._validation import check_count, check_option, check_output
from latflow._writing import write_together
from latflow.estimators import TemperatureExtrapolator
from latflow.export.lepton import number
from latflow.export.plumed_input import actions_of, printed
from latflow.export.predicted_bias import HEIGHT, PredictedBias
from latflow.export.recipe import Recipe
from latflow.featurizers import Featurizer

__all__ = ["plumed_bias"]


def plumed_bias(
    model: TemperatureExtrapolator,
    path: str | os.PathLike[str],
    temperature: float,
    *,
    method: str = "metad",
    cap: float | None = None,
    featurizer: Featurizer | Mapping[str, Any] | None = None,
    network: str = "auto",
    pace: int = 500,
    stride: int = 500,
) -> list[Path]:
    """Write collective variables and a bias that flattens their predicted surface, for PLUMED 2.

    The bias is an EXTERNAL on a grid, in a file beside `path`: ``<name>.grid``. What the prediction
    missed is left to METAD or OPES_METAD on top, whose widths and barrier come from the surface.

    Parameters
    ----------
    model : TemperatureExtrapolator
        Of a LaTFEstimator with one to three components, fitted on the features of a featurizer,
        with temperatures in K.
    path : str or path-like
        Text file to write; old files are replaced when all are written.
    temperature : float
        Of the simulation to bias, in K.
    method : {"metad", "opes", "external"}, default="metad"
        What acts on top: well-tempered METAD, OPES_METAD of the module opes, which has to be asked
        for where PLUMED is built, or nothing.
    cap : float, optional
        Free energy, in kJ/mol above the lowest, up to which the surface is flattened; the barrier
        and 2 k_B T if not given.
    featurizer : Featurizer or mapping, optional
        The fitted featurizer of the model's features, or its manifest. By default the manifest
        that the model kept.
    network : {"auto", "custom", "ann"}, default="auto"
        As for :func:`plumed`.
    pace : int, default=500
        Steps from one Gaussian to the next.
    stride : int, default=500
        Steps from one line of COLVAR to the next.

    Returns
    -------
    list of Path
        The files that were written, `path` first.

    Raises
    ------
    TypeError, ValueError
        As :func:`plumed` and :meth:`PredictedBias.of` do.
    OSError
        If a file cannot be written.

    Notes
    -----
    EXTERNAL and METAD stop where a variable leaves their grid, so both read variables that are cut
    at its edges (``z1_cut``, ...); LOWER_WALLS and UPPER_WALLS take over there. The bias of a frame
    is the sum of ``ext.bias``, ``metad.bias`` or ``opes.bias`` and those of the walls, all of which
    are printed. OPES_METAD is not told of EXTERNAL (no EXTRA_BIAS): it flattens what is left.

    References
    ----------
    Barducci, Bussi, Parrinello, Phys. Rev. Lett. 100, 020603 (2008): METAD.
    Invernizzi, Parrinello, J. Phys. Chem. Lett. 11, 2731 (2020): OPES_METAD.
    """
    check_option(method, "method", METHODS)
    check_count(pace, "pace")
    check_count(stride, "stride")
    target = check_output(path)
    grid = check_output(target.with_name(f"{target.name}.grid"))
    recipe = Recipe.of(model, featurizer)
    modules = ["opes, for OPES_METAD"] if method == "opes" else []
    actions = actions_of(recipe, network, modules)
    bias = PredictedBias.of(model, temperature, cap=cap)
    cut = [f"{name}_cut" for name in recipe.variables]
    top = [*METHODS[method](bias, cut, pace)]
    biases = ["ext.bias", "low.bias", "high.bias", *([f"{method}.bias"] if top else [])]
    lines = [
        *actions,
        *_cut(bias, recipe.variables, cut),
        f"ext: EXTERNAL ARG={','.join(cut)} FILE={grid.name}",
        *_walls(bias, recipe.variables),
        *top,
        printed([*recipe.variables, *biases], stride),
    ]
    return write_together({target: "\n".join(lines) + "\n", grid: "\n".join(_grid(bias, cut))})


def _cut(bias: PredictedBias, names: Sequence[str], cut: Sequence[str]) -> Iterator[str]:
    for name, label, low, high in zip(names, cut, bias.lower, bias.upper, strict=True):
        inside = f"min(max(x,{number(low)}),{number(high)})"
        yield f"{label}: CUSTOM ARG={name} FUNC={inside} PERIODIC=NO"


def _walls(bias: PredictedBias, names: Sequence[str]) -> Iterator[str]:
    # PLUMED's wall is KAPPA times the square, without a half
    stiffness = _numbers([k / 2 for k in bias.stiffness])
    for label, kind, edges in (("low", "LOWER", bias.lower), ("high", "UPPER", bias.upper)):
        where = f"ARG={','.join(names)} AT={_numbers(edges)} KAPPA={stiffness}"
        yield f"{label}: {kind}_WALLS {where}"


def _metad(bias: PredictedBias, cut: Sequence[str], pace: int) -> Iterator[str]:
    yield "metad: METAD ..."
    yield f"  ARG={','.join(cut)}"
    yield f"  SIGMA={_numbers(bias.sigmas)}"
    yield f"  HEIGHT={number(HEIGHT * bias.kt)}"
    yield f"  BIASFACTOR={number(bias.bias_factor)}"
    yield f"  TEMP={number(bias.temperature)}"
    yield f"  PACE={pace}"
    yield f"  GRID_MIN={_numbers(bias.lower)}"
    yield f"  GRID_MAX={_numbers(bias.upper)}"
    yield f"  GRID_BIN={','.join(str(len(axis) - 1) for axis in bias.axes)}"
    yield "  FILE=HILLS"
    yield "..."


def _opes(bias: PredictedBias, cut: Sequence[str], pace: int) -> Iterator[str]:
    yield "opes: OPES_METAD ..."
    yield f"  ARG={','.join(cut)}"
    yield f"  SIGMA={_numbers(bias.sigmas)}"
    yield f"  BARRIER={number(bias.barrier)}"
    yield f"  TEMP={number(bias.temperature)}"
    yield f"  PACE={pace}"
    yield "  FILE=KERNELS"
    yield "..."


def _nothing(bias: PredictedBias, cut: Sequence[str], pace: int) -> Iterator[str]:
    yield from ()


METHODS = {"metad": _metad, "opes": _opes, "external": _nothing}


def _grid(bias: PredictedBias, names: Sequence[str]) -> Iterator[str]:
    """Yield the lines of a grid file; the first variable runs fastest."""
    slopes = [f"der_{name}" for name in names]
    yield f"#! FIELDS {' '.join([*names, 'ext.bias', *slopes])}"
    for name, axis in zip(names, bias.axes, strict=True):
        yield f"#! SET min_{name} {number(axis[0])}"
        yield f"#! SET max_{name} {number(axis[-1])}"
        # of what is not periodic PLUMED counts the points here, not the intervals
        yield f"#! SET nbins_{name} {len(axis)}"
        yield f"#! SET periodic_{name} false"
    columns = [*np.meshgrid(*bias.axes, indexing="ij"), bias.energy, *bias.slopes]
    rows = np.column_stack([column.ravel(order="F") for column in columns])
    for k, row in enumerate(rows):
        if k and len(names) > 1 and k % len(bias.axes[0]) == 0:
            yield ""
        yield " ".join(f"{value:.9f}" for value in row)
    yield ""


def _numbers(values: Sequence[float] | np.ndarray[Any, Any]) -> str:
    return ",".join(map(number, values))
