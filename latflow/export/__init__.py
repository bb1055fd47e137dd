"""Collective variables into the next simulation, as plain text that simulation programs read."""

from latflow.export.colvars_input import colvars
from latflow.export.plumed_input import plumed

__all__ = ["colvars", "plumed"]
