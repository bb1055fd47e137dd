"""``latflow export``: collective variables for the next simulation."""

from __future__ import annotations

from typing import Literal

import typer

import latflow

Program = Literal["plumed", "colvars"]
Units = Literal["real", "metal", "gromacs"]


def export(
    program: Program = typer.Argument(help="What reads the text."),
    model: str = typer.Argument(
        metavar="MODEL", help="A file that `latflow fit` wrote, of features with a manifest."
    ),
    units: Units | None = typer.Option(
        None,
        show_default="real",
        help="Of the engine, for colvars: gromacs (nm) for GROMACS; real or metal (angstrom) as "
        "units of LAMMPS; real for NAMD, VMD and Tinker-HP.",
    ),
    output: str = typer.Option(metavar="FILE", help="The text to write."),
) -> None:
    """Write collective variables as plain text for PLUMED or for Colvars."""
    target = latflow._validation.check_output(output, "--output")
    if units is not None and program != "colvars":
        raise ValueError(f"Expected --units with colvars only, got {units} with {program}.")
    fitted = latflow.load(model)
    if program == "plumed":
        latflow.export.plumed(fitted, target)
        written = [target]
    else:
        written = latflow.export.colvars(fitted, target, units=units or "real")
    print(f"Saved: {', '.join(map(str, written))}")
