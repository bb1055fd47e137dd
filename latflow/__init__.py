"""Collective variables, metastable states and the equilibrium at every temperature.

A room loads when one of its names is asked for: `import latflow` alone loads neither torch nor
mdtraj nor matplotlib.
"""

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what checkers of types and editors see; at run time __getattr__ finds it
    from latflow import _validation as _validation
    from latflow import datasets as datasets
    from latflow import doctor as doctor
    from latflow import energies as energies
    from latflow import estimators as estimators
    from latflow import export as export
    from latflow import featurizers as featurizers
    from latflow import importance as importance
    from latflow import kinetics as kinetics
    from latflow import metrics as metrics
    from latflow import persistence as persistence
    from latflow import planning as planning
    from latflow import plotting as plotting
    from latflow import replica_exchange as replica_exchange
    from latflow import report as report
    from latflow import structures as structures
    from latflow import thermodynamics as thermodynamics
    from latflow import trajectories as trajectories
    from latflow import units as units
    from latflow._versions import show_versions as show_versions
    from latflow.doctor import diagnose as diagnose
    from latflow.energies import read_energies as read_energies
    from latflow.estimators import LaTFEstimator as LaTFEstimator
    from latflow.estimators import TemperatureExtrapolator as TemperatureExtrapolator
    from latflow.persistence import load as load
    from latflow.persistence import save as save
    from latflow.trajectories import FromDeeptime as FromDeeptime
    from latflow.trajectories import PerFrame as PerFrame
    from latflow.trajectories import TrajectoryKFold as TrajectoryKFold
    from latflow.trajectories import TrajectoryUnion as TrajectoryUnion
    from latflow.trajectories import stack as stack

    __version__: str

_NAMES_IN = {
    "_versions": ("show_versions",),
    "doctor": ("diagnose",),
    "energies": ("read_energies",),
    "estimators": ("LaTFEstimator", "TemperatureExtrapolator"),
    "persistence": ("load", "save"),
    "trajectories": ("FromDeeptime", "PerFrame", "TrajectoryKFold", "TrajectoryUnion", "stack"),
}
_ROOM_OF = {name: room for room, names in _NAMES_IN.items() for name in names}
_ROOMS = {room.name for room in iter_modules(__path__)} - {"cli", "nn"}
__all__ = sorted(name for name in {*_ROOM_OF, *_ROOMS} if not name.startswith("_"))


def __getattr__(name: str) -> object:
    """Load the room that a name stands for or stands in (PEP 562)."""
    if name == "__version__":
        value = import_module("importlib.metadata").version(__name__)
    elif name in _ROOM_OF:
        value = getattr(import_module(f"{__name__}.{_ROOM_OF[name]}"), name)
    elif name in _ROOMS:
        value = import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
