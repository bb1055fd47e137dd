"""Displays in scikit-learn's manner: they hold arrays, draw them, never fit, never show."""

from latflow.plotting.free_energy import FreeEnergyDisplay
from latflow.plotting.history import HistoryDisplay
from latflow.plotting.kinetics import ChapmanKolmogorovDisplay, TimescalesDisplay
from latflow.plotting.melting import MeltingCurveDisplay
from latflow.plotting.populations import PopulationsDisplay
from latflow.plotting.rates import ArrheniusDisplay
from latflow.plotting.states import StatesDisplay
from latflow.plotting.support import SupportDisplay

__all__ = [
    "ArrheniusDisplay",
    "ChapmanKolmogorovDisplay",
    "FreeEnergyDisplay",
    "HistoryDisplay",
    "MeltingCurveDisplay",
    "PopulationsDisplay",
    "StatesDisplay",
    "SupportDisplay",
    "TimescalesDisplay",
]
