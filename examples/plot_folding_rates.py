"""
How fast a protein folds, at a temperature left out
===================================================

Rates of folding and unfolding of chignolin at 359.0 and 404.7 K, from its continuous trajectories;
predicted at 381.2 K by Arrhenius' law and the populations there, and compared with the trajectories
at 381.2 K, which took no part. Beside them, crossings counted by hand.
"""

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from latflow import LaTFEstimator, TemperatureExtrapolator
from latflow.datasets import load_chignolin
from latflow.kinetics import rates
from latflow.plotting import ArrheniusDisplay

TRAINED, LEFT_OUT, LAGTIME = (359.0, 404.7), 381.2, 50

# %%
# Collective variables and two states, folded and unfolded, at a lagtime of 1 ns.

data = load_chignolin()
step = data.time_step / 1000  # ns


def at(name, temperatures):
    """Return the entries of the trajectories at some temperatures."""
    pairs = zip(data[name], data.temperature, strict=True)
    return [value for value, t in pairs if t in temperatures]


temperature = at("temperature", TRAINED)
latf = LaTFEstimator(lagtime=LAGTIME, random_state=0)
model = TemperatureExtrapolator(latf, random_state=0)
model.fit(at("trajectories", TRAINED), temperature=temperature, energy=at("energies", TRAINED))
states = model.predict(at("trajectories", TRAINED))

# %%
# Counted by hand: crossings out of each side per ns spent there, visits below 0.2 ns left out.


def counted(folded, lasting=10):
    """Return rates of folding and of unfolding, per ns."""
    crossings, time = np.zeros(2), np.zeros(2)
    for each in folded:
        visits = np.split(each, np.flatnonzero(np.diff(each)) + 1)
        sides = [int(v[0]) for v in visits if len(v) >= lasting]
        time += np.bincount(each, minlength=2) * step
        np.add.at(crossings, [a for a, b in pairwise(sides) if a != b], 1)
    return crossings / time


for t in (*TRAINED, LEFT_OUT):
    folding, unfolding = counted(at("folded", [t]))
    print(f"{t:g} K, by hand: folding {folding:.3f}, unfolding {unfolding:.3f} per ns")

# %%
# Arrhenius' law through the rates at the trained temperatures, and what it predicts between; the
# points of reference are the rates of the trajectories that were left out.

seen = model.predict(at("trajectories", [LEFT_OUT]))
options = {"time_step": step, "random_state": 0}
known = rates(
    seen, LAGTIME, temperature=at("temperature", [LEFT_OUT]),
    variables=model.transform(at("trajectories", [LEFT_OUT])), **options,
)  # fmt: skip
display = ArrheniusDisplay.from_states(
    states, LAGTIME, temperature=temperature,
    variables=model.transform(at("trajectories", TRAINED)),
    populations=model.state_populations([LEFT_OUT]), reference=known, time_unit="ns", **options,
)  # fmt: skip
both = {"predicted": display.predicted[0].rates, "left out": known.loc[LEFT_OUT]}
print(pd.concat(both).round(3).to_string())
plt.show()
