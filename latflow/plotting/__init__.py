"""Displays in scikit-learn's manner: they hold arrays, draw them, never fit, never show."""

from latflow.plotting.free_energy import FreeEnergyDisplay
from latflow.plotting.history import HistoryDisplay
from latflow.plotting.importance import FeatureImportanceDisplay
from latflow.plotting.kinetics import (
    ArrheniusDisplay,
    ChapmanKolmogorovDisplay,
    TimescalesDisplay,
)
from latflow.plotting.populations import MeltingCurveDisplay, PopulationsDisplay
from latflow.plotting.states import StatesDisplay
from latflow.plotting.support import SupportDisplay

__all__ = [
    "ArrheniusDisplay",
    "ChapmanKolmogorovDisplay",
    "FeatureImportanceDisplay",
    "FreeEnergyDisplay",
    "HistoryDisplay",
    "MeltingCurveDisplay",
    "PopulationsDisplay",
    "StatesDisplay",
    "SupportDisplay",
    "TimescalesDisplay",
]
