"""Collective variables, metastable states and the equilibrium at every temperature."""

from importlib.metadata import version

from latflow import datasets, kinetics, metrics
from latflow.estimators import LaTFEstimator, TemperatureExtrapolator
from latflow.persistence import load, save
from latflow.trajectories import FromDeeptime, PerFrame, TrajectoryKFold, stack

__version__ = version("latflow")

__all__ = [
    "FromDeeptime",
    "LaTFEstimator",
    "PerFrame",
    "TemperatureExtrapolator",
    "TrajectoryKFold",
    "datasets",
    "kinetics",
    "load",
    "metrics",
    "save",
    "stack",
]
