"""Numbers from frames of a few temperatures at any other: weights, averages, states, errors."""

from latflow.thermodynamics.connection import crossings
from latflow.thermodynamics.ensemble import (
    COLDER,
    HOTTER,
    Ensemble,
    Equilibrium,
    MeltingTemperature,
    pool_of,
)
from latflow.thermodynamics.hidden import hidden_heat_capacities
from latflow.thermodynamics.moments import (
    StateMoments,
    block_populations,
    heat_capacity,
    populations,
    state_differences,
    state_moments,
)
from latflow.thermodynamics.observables import Observable
from latflow.thermodynamics.offsets import free_energy_offsets
from latflow.thermodynamics.own_frames import OwnFrames
from latflow.thermodynamics.pool import Pool, effective_sample_size
from latflow.thermodynamics.routes import (
    Bent,
    Curved,
    Curves,
    Energies,
    LogLinear,
    Route,
    curve_functions,
    line_of_logarithm,
    log_linear_energies,
    reduced_at,
)
from latflow.thermodynamics.settling import Unsettled, settling
from latflow.thermodynamics.shifts import Shifts
from latflow.thermodynamics.support import CLASSES, Evidence, role_of
from latflow.thermodynamics.weighting import Snapshot, Weighting, averages
from latflow.thermodynamics.whole_system import WholeSystem

__all__ = [
    "CLASSES",
    "COLDER",
    "HOTTER",
    "Bent",
    "Curved",
    "Curves",
    "Energies",
    "Ensemble",
    "Equilibrium",
    "LogLinear",
    "Evidence",
    "MeltingTemperature",
    "Observable",
    "OwnFrames",
    "Pool",
    "Route",
    "Shifts",
    "Snapshot",
    "StateMoments",
    "Unsettled",
    "Weighting",
    "WholeSystem",
    "averages",
    "block_populations",
    "curve_functions",
    "crossings",
    "effective_sample_size",
    "free_energy_offsets",
    "heat_capacity",
    "hidden_heat_capacities",
    "line_of_logarithm",
    "log_linear_energies",
    "pool_of",
    "populations",
    "reduced_at",
    "role_of",
    "settling",
    "state_differences",
    "state_moments",
]
