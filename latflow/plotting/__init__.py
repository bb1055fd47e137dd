"""Displays in scikit-learn's manner: they hold arrays, draw them, never fit, never show."""

from latflow.plotting.free_energy import FreeEnergyDisplay
from latflow.plotting.history import HistoryDisplay
from latflow.plotting.populations import PopulationsDisplay

__all__ = ["FreeEnergyDisplay", "HistoryDisplay", "PopulationsDisplay"]
