"""
Undoing a bias with weights
===========================

A bias flattens barriers, so that a simulation crosses them often; what it does to the populations
is undone by a weight for each frame, exp(V / k_B T). Here the potential U is biased by V = -0.4 U,
which leaves 0.6 U: barriers are lower by a factor of 0.6.
"""

import matplotlib.pyplot as plt
import numpy as np

from latflow import LaTFEstimator
from latflow.datasets import make_three_hole, three_hole_populations

# %%
# A simulation in 0.6 U at k_B T = 1 visits what one in U visits at k_B T = 1 / 0.6.

T, KEPT = 1.0, 0.6
data = make_three_hole(60_000, temperature=T / KEPT, random_state=0)
bias = [-(1 - KEPT) * energy for energy in data.energies]
weights = [np.exp(v / T) for v in bias]

# %%
# Weights count in every place: in the pairs, in the labels, in the populations and their errors.

latf = LaTFEstimator(2, encoder="linear", boltzmann_constant=1.0, max_iter=480, random_state=0)
model = latf.fit(data.trajectories, weights=weights, temperature=[T] * len(weights))
labels = np.concatenate(model.predict(data.trajectories))
raw = np.bincount(labels, minlength=model.n_states_) / len(labels)
exact = three_hole_populations(T, assign=model.predict)

# %%
# Without weights the shallow hole holds too much; with them it is right.

states = np.arange(model.n_states_)
figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
ax.bar(states - 0.25, raw, 0.25, label="frames as they are", color="0.8")
ax.bar(states, model.populations_[0], 0.25, yerr=model.population_errors_[0], label="weighted")
ax.bar(states + 0.25, exact, 0.25, label="exact", color="0.3")
ax.set(xlabel="state", ylabel="population", xticks=states)
ax.legend(frameon=False)
plt.show()
