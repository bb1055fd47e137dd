"""``latflow sample``: collective variables from the equilibrium at a temperature."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from latflow._validation import check_output
from latflow._writing import replacing
from latflow.estimators import LaTFEstimator
from latflow.persistence import load

__all__ = ["add", "run"]

DEFAULT = "default: %(default)s"


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the command."""
    sample: argparse.ArgumentParser = commands.add_parser(
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
    return sample


def run(arguments: argparse.Namespace) -> None:
    """Draw and write an array."""
    output = check_output(arguments.output, "--output")
    if output.suffix != ".npy":
        raise ValueError(f"Expected --output to end in .npy, got {output}.")
    model = load(arguments.model)
    drawn = model.sample(arguments.n_samples, arguments.temperature, random_state=arguments.seed)
    with replacing(output) as part:
        np.save(part, drawn, allow_pickle=False)
    inner = model if isinstance(model, LaTFEstimator) else model.estimator_
    at = inner.reference_temperature_ if arguments.temperature is None else arguments.temperature
    print(f"Saved: {output}, shape {drawn.shape}{'' if at is None else f', T = {at:g}'}")
