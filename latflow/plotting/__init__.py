"""Displays in scikit-learn's manner: they hold arrays, draw them, never fit, never show."""

from latflow.plotting.free_energy import FreeEnergyDisplay
from latflow.plotting.history import HistoryDisplay
from latflow.plotting.kinetics import ChapmanKolmogorovDisplay, TimescalesDisplay
from latflow.plotting.populations import PopulationsDisplay
from latflow.plotting.rates import ArrheniusDisplay
from latflow.plotting.states import StatesDisplay

__all__ = [
    "ArrheniusDisplay",
    "ChapmanKolmogorovDisplay",
    "FreeEnergyDisplay",
    "HistoryDisplay",
    "PopulationsDisplay",
    "StatesDisplay",
    "TimescalesDisplay",
]
