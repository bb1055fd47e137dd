"""Collective variables as a TorchScript file, for programs that carry LibTorch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from latflow._validation import check_count, check_option, check_output, muted
from latflow._writing import replacing
from latflow.export.recipe import Model, Recipe
from latflow.export.torch_module import DEPRECATED, FromPositions, Network, traced
from latflow.featurizers import Featurizer

__all__ = ["torchscript"]

INPUTS = ("features", "positions", "positions and box")


def torchscript(
    model: Model,
    path: str | os.PathLike[str],
    *,
    featurizer: Featurizer | Mapping[str, Any] | None = None,
    inputs: str = "features",
    variable: int | None = None,
) -> None:
    """Write collective variables as a TorchScript file, in single precision.

    Parameters
    ----------
    model : LaTFEstimator, or TemperatureExtrapolator of one
        Fitted on the features of a featurizer.
    path : str or path-like
        File to write; an old one is replaced when all is written.
    featurizer : Featurizer or mapping, optional
        The fitted featurizer of the model's features, or its manifest. By default the manifest
        that the model kept.
    inputs : {"features", "positions", "positions and box"}, default="features"
        What the file's function takes: "features", of shape (..., n_features), in nm or none as
        the featurizer makes them, for PYTORCH_MODEL of PLUMED and torchANN of Colvars (in NAMD,
        GROMACS or LAMMPS); "positions" of all atoms, of shape (..., n_atoms, 3) in nm, and "box",
        whose three vectors are the rows of (3, 3) in nm, in reduced form, for openmm-torch.
        Without a box no feature takes a nearest image.
    variable : int, optional
        Number of a variable, from 1: the file then answers with that one alone, without an axis
        for it, as TorchForce of openmm-torch takes it for an energy. All, of shape
        (..., n_components), if not given.

    Raises
    ------
    TypeError
        If the variables are not those of a LaTFEstimator.
    ValueError
        If it is unknown how the features were made, or simulation programs cannot compute them.
    OSError
        If the file cannot be written.

    References
    ----------
    Bonati, Trizio, Rizzi, Parrinello, A unified framework for machine learning collective
    variables for enhanced sampling simulations, J. Chem. Phys. 159, 014801 (2023): PYTORCH_MODEL.
    """
    check_option(inputs, "inputs", INPUTS)
    target = check_output(path)
    recipe = Recipe.of(model, featurizer)
    module: nn.Module
    examples: tuple[Tensor, ...]
    if inputs == "features":
        module, examples = Network(recipe.layers), (torch.zeros(1, len(recipe.features)),)
    else:
        n_atoms = recipe.topology.n_atoms
        module = FromPositions(recipe, range(n_atoms), triclinic=True)
        examples = (torch.randn(n_atoms, 3, generator=torch.Generator().manual_seed(0)),)
        if inputs != "positions":
            examples += (torch.eye(3),)
    if variable is not None:
        module = _One(module, _checked(variable, len(recipe.variables)) - 1)
    graph = traced(module.float(), *examples)
    with muted(DEPRECATED), replacing(target) as unfinished:
        torch.jit.save(graph, unfinished)


class _One(nn.Module):
    """One of several variables."""

    def __init__(self, module: nn.Module, column: int) -> None:
        super().__init__()
        self.module, self.column = module, column

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the variable."""
        z: Tensor = self.module(*inputs)
        return z.select(-1, self.column)


def _checked(variable: int, n: int) -> int:
    if check_count(variable, "variable") > n:
        raise ValueError(f"Expected `variable` to be at most {n}, got {variable}.")
    return variable
