"""``latflow sample``: collective variables from the equilibrium at a temperature."""

from __future__ import annotations

import numpy as np
import typer

import latflow
from latflow._writing import replacing


def sample(
    model: str = typer.Argument(metavar="MODEL", help="A file that `latflow fit` wrote."),
    temperature: float | None = typer.Option(
        None,
        metavar="T",
        show_default="the lowest simulated one",
        help="In the units of the fit.",
    ),
    n_samples: int = typer.Option(10_000, metavar="N"),
    seed: int = typer.Option(0, metavar="S"),
    output: str = typer.Option(metavar="FILE", help="Array of shape (N, n_components), as .npy."),
) -> None:
    """Draw collective variables from the equilibrium at a temperature."""
    target = latflow._validation.check_output(output, "--output")
    if target.suffix != ".npy":
        raise ValueError(f"Expected --output to end in .npy, got {target}.")
    fitted = latflow.load(model)
    if temperature is None and len(fitted.temperatures_):
        temperature = float(min(fitted.temperatures_))
    drawn = fitted.sample(n_samples, temperature, random_state=seed)
    with replacing(target) as part:
        np.save(part, drawn, allow_pickle=False)
    place = "" if temperature is None else f", T = {temperature:g}"
    print(f"Saved: {target}, shape {drawn.shape}{place}")
