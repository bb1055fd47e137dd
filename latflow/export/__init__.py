"""Collective variables, and biases on them, into the next simulation."""

from latflow.export.colvars_bias_input import colvars_bias
from latflow.export.colvars_input import colvars
from latflow.export.openmm_input import openmm_force, openmm_variables
from latflow.export.plumed_bias_input import plumed_bias
from latflow.export.plumed_input import plumed
from latflow.export.predicted_bias import PredictedBias
from latflow.export.torchscript_file import torchscript

__all__ = [
    "PredictedBias",
    "colvars",
    "colvars_bias",
    "openmm_force",
    "openmm_variables",
    "plumed",
    "plumed_bias",
    "torchscript",
]
