"""``latflow export``: collective variables, and biases on them, for the next simulation."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import typer

import latflow

Program = Literal["plumed", "colvars", "bias", "torchscript", "openmm"]
Units = Literal["real", "metal", "gromacs"]
Method = Literal["metad", "opes", "external", "metadynamics", "abf"]
Inputs = Literal["features", "positions", "positions and box"]
IN_COLVARS = ("metadynamics", "abf")
# which programs, or methods of a bias, take an option
TAKEN: dict[str, tuple[str, ...]] = {
    "units": ("colvars", *IN_COLVARS),
    "temperature": ("bias",),
    "method": ("bias",),
    "cap": ("metad", "opes", "external"),
    "inputs": ("torchscript",),
}
OPENMM = (
    "Expected a program that reads files, got openmm, whose forces are objects of the script that "
    "simulates: latflow.export.openmm_force(latflow.load(MODEL), topology) makes them there."
)


def export(
    program: Program = typer.Argument(
        help="What reads the file; bias: PLUMED or Colvars, as --method says."
    ),
    model: str = typer.Argument(
        metavar="MODEL", help="A file that `latflow fit` wrote, of features with a manifest."
    ),
    units: Units | None = typer.Option(
        None,
        show_default="real",
        help="Of the engine, for Colvars: gromacs (nm) for GROMACS; real or metal (angstrom) as "
        "units of LAMMPS; real for NAMD, VMD and Tinker-HP.",
    ),
    temperature: float | None = typer.Option(
        None, help="Of the simulation to bias, in K; needed for bias."
    ),
    method: Method | None = typer.Option(
        None,
        show_default="metad",
        help="What acts on top of the predicted bias in PLUMED: metad, opes or nothing (external); "
        "metadynamics or abf in Colvars, which start from no bias.",
    ),
    cap: float | None = typer.Option(
        None,
        show_default="the barrier and 2 k_B T",
        help="Free energy up to which a surface is flattened, in kJ/mol above the lowest.",
    ),
    inputs: Inputs | None = typer.Option(
        None, show_default="features", help="What the file of torchscript takes."
    ),
    output: str = typer.Option(metavar="FILE", help="The file to write."),
) -> None:
    """Write collective variables, or a bias on them, for the next simulation."""
    target = latflow._validation.check_output(output, "--output")
    given = {
        "units": units, "temperature": temperature, "method": method, "cap": cap, "inputs": inputs,
    }  # fmt: skip
    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    _check(program, options)
    fitted = latflow.load(model)
    written: list[Path] = [target]
    if program == "plumed":
        latflow.export.plumed(fitted, target)
    elif program == "torchscript":
        latflow.export.torchscript(fitted, target, **options)
    elif program == "colvars":
        written = latflow.export.colvars(fitted, target, **options)
    elif options.get("method") in IN_COLVARS:
        written = latflow.export.colvars_bias(fitted, target, **options)
    else:
        written = latflow.export.plumed_bias(fitted, target, **options)
    print(f"Saved: {', '.join(map(str, written))}")


def _check(program: Program, options: dict[str, Any]) -> None:
    """Raise where a program does not take what was given."""
    if program == "openmm":
        raise ValueError(OPENMM)
    if program == "bias" and "temperature" not in options:
        raise ValueError("Expected --temperature with bias, got none.")
    reader = options.get("method", "metad") if program == "bias" else program
    for name, value in options.items():
        if program not in TAKEN[name] and reader not in TAKEN[name]:
            raise ValueError(
                f"Expected --{name} with {' or '.join(TAKEN[name])} only, got {value} with "
                f"{reader}."
            )
