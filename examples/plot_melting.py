"""
What melts where, and how sure that is
======================================

Seven Lennard-Jones particles. States are learned from simulations at T = 0.2 and 0.5, and the model
predicts at which temperature the most compact one holds half of the population; simulations at
other temperatures check the curve.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from latflow import LaTFEstimator, TemperatureExtrapolator
from latflow.datasets import make_lj7
from latflow.plotting import MeltingCurveDisplay

TRAINED, UNSEEN, N_FRAMES = (0.2, 0.5), (0.25, 0.3), 10_000

steps = {"time_step": 0.01, "stride": 100, "n_walkers": 20}
data = {t: make_lj7(N_FRAMES, t, random_state=k, **steps) for k, t in enumerate(TRAINED + UNSEEN)}
model = TemperatureExtrapolator(
    LaTFEstimator(lagtime=5, encoder="linear", boltzmann_constant=1.0, random_state=0),
    n_bootstraps=20,
    random_state=0,
).fit(
    [x for t in TRAINED for x in data[t].trajectories],
    temperature=[own for t in TRAINED for own in data[t].temperature],
)

middle = float(np.mean(TRAINED))
print(model.thermodynamics([*TRAINED, middle]).round(2).to_string())
compact = int(model.thermodynamics(middle).loc[middle, "energy"].idxmin())
print(f"state {compact}:", model.melting_temperature(compact))
print(model.support(np.linspace(0.16, 0.75, 8))["support"].to_string())


def simulated(part, state):
    """Population and its standard error over the independent trajectories."""
    shares = [np.mean(states == state) for states in model.predict(part.trajectories)]
    return np.mean(shares), np.std(shares, ddof=1) / np.sqrt(len(shares))


reference = pd.DataFrame(
    [simulated(part, compact) for part in data.values()],
    index=pd.MultiIndex.from_product([data, [compact]], names=["temperature", "state"]),
    columns=["population", "standard_error"],
)
reference["predicted"] = model.state_populations(list(data)).population
print(reference.round(3))

display = MeltingCurveDisplay.from_estimator(
    model, compact, temperature=np.linspace(0.12, 0.52, 81), reference=reference
)
plt.show()
