"""Collective variables, metastable states and the equilibrium at every temperature."""

from importlib.metadata import version

from latflow import datasets, metrics
from latflow.estimators import LaTFEstimator, TemperatureExtrapolator
from latflow.persistence import load, save
from latflow.trajectories import stack

__version__ = version("latflow")

__all__ = [
    "LaTFEstimator",
    "TemperatureExtrapolator",
    "datasets",
    "load",
    "metrics",
    "save",
    "stack",
]
