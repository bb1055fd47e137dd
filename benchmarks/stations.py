"""Where features go in a fit: the functions of latflow that take them, in order, and their number.

    python benchmarks/stations.py

A fit of a TemperatureExtrapolator is watched. A station is a function that takes all features, as
an array, a list of trajectories, a tensor, or an object of ours that holds one of these; methods of
such objects themselves (those of Frames, of standardised or resident features) are no stations of
their own, nor is what a function defines inside.
"""

import inspect
import sys
import warnings
from pathlib import Path

import numpy as np
import torch

import latflow
from latflow import LaTFEstimator, TemperatureExtrapolator

N_FRAMES, N_FEATURES = 211, 7
HOLDERS = {"Frames", "Standardised", "Resident", "Streamed", "Rows", "TrainingData"}


def holds_features(value, depth=0):
    """Whether a value is, or holds, all features."""
    if isinstance(value, np.ndarray | torch.Tensor):
        return tuple(value.shape) == (4 * N_FRAMES, N_FEATURES)
    if isinstance(value, list):
        return len(value) == 4 and all(np.shape(x) == (N_FRAMES, N_FEATURES) for x in value)
    return type(value).__name__ in HOLDERS


def station(frame):
    """Return the name of a function of latflow that was called with features, or None."""
    code, package = frame.f_code, str(Path(latflow.__file__).parent)
    if not code.co_filename.startswith(package) or code.co_name.startswith("<"):
        return None
    values = [frame.f_locals.get(name) for name in inspect.getargs(code).args]
    values += [v for name in ("kwargs", "metadata", "args") for v in _inside(frame, name)]
    owner = type(values[0]).__name__ if values else ""
    if owner in HOLDERS or "<locals>" in code.co_qualname or code.co_name.startswith("__"):
        return None
    return code.co_qualname if any(map(holds_features, values)) else None


def _inside(frame, name):
    value = frame.f_locals.get(name)
    return list(value.values() if isinstance(value, dict) else value or ())


def main():
    """Watch a fit and print its stations."""
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(N_FRAMES, N_FEATURES)).cumsum(0) for _ in range(4)]
    seen = {}

    def watch(frame, event, _):
        name = station(frame) if event == "call" else None
        if name is not None:
            seen[name] = seen.get(name, 0) + 1

    options = {"max_iter": 20, "random_state": 0}
    model = TemperatureExtrapolator(LaTFEstimator(**options), **options)
    warnings.simplefilter("ignore")
    sys.setprofile(watch)
    model.fit(X, temperature=[300, 300, 320, 320])
    sys.setprofile(None)
    for number, (name, times) in enumerate(seen.items(), start=1):
        print(f"{number:3d}  {name}  ({times} calls)")


if __name__ == "__main__":
    main()
