"""
A path from one state to another
================================

Between two points of the latent space `interpolate` walks along a line in the space of the flow's
base, which the flow bends towards where the density is. The free energy along the path is its
profile, and its barrier is lower than that of the straight line.
"""

import matplotlib.pyplot as plt
import numpy as np

from latflow import LaTFEstimator
from latflow.datasets import make_three_hole
from latflow.plotting import FreeEnergyDisplay

# %%
# Variables and density of the three-hole potential at k_B T = 1.

data = make_three_hole(40_000, temperature=1.0, random_state=0)
model = LaTFEstimator(5, encoder="linear", boltzmann_constant=1.0, random_state=0)
model.fit(data.trajectories, temperature=data.temperature)

# %%
# From the densest point of state 0 to that of state 1.

z, states = np.concatenate(model.transform(data.trajectories)), np.concatenate(model.labels_)
density = model.log_density(z)
start, end = (z[states == s][density[states == s].argmax()] for s in (0, 1))
path = model.interpolate(start, end, n=100)
straight = np.linspace(start, end, 100)

# %%
# Left: both ways on the free-energy surface. Right: what each has to climb.

figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
FreeEnergyDisplay.from_estimator(model, temperature=[1.0], unit="kT", axes=axes[:1])
for ax_line, label, color in ((path, "interpolate", "C3"), (straight, "straight", "C0")):
    axes[0].plot(*ax_line.T, color=color)
    profile = model.free_energy(ax_line, unit="kT")
    axes[1].plot(np.linspace(0, 1, 100), profile, color=color, label=label)
axes[1].set(xlabel="way along the path", ylabel="free energy (k_B T)")
axes[1].legend(frameon=False)
plt.show()
