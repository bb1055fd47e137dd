"""
When is a distribution right?
=============================

Two samples of one distribution differ, by chance. The Jensen-Shannon divergence between histograms
of what a model generates and of what was simulated means little without that noise floor: at it,
no finite sample can tell the two apart.
"""

import matplotlib.pyplot as plt
import numpy as np

from latflow import LaTFEstimator
from latflow.datasets import make_three_hole
from latflow.metrics import jensen_shannon, jensen_shannon_noise_floor

# %%
# A generator of the three-hole potential at k_B T = 1, after a short and after a longer training.

data = make_three_hole(60_000, temperature=1.0, random_state=0)
judge = make_three_hole(60_000, temperature=1.0, random_state=1)
sizes = np.array([500, 1500, 5000, 15_000, 50_000])
figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
for steps, color in ((200, "C1"), (1600, "C0")):
    model = LaTFEstimator(
        5, encoder="linear", boltzmann_constant=1.0, max_iter=steps, random_state=0
    ).fit(data.trajectories)
    z = np.concatenate(model.transform(judge.trajectories))
    box = np.stack([z.min(axis=0), z.max(axis=0)], axis=1)
    samples = model.sample(int(sizes[-1]), random_state=0)
    divergence = [jensen_shannon(samples[:n], z[:n], range=box) for n in sizes]
    ax.plot(sizes, divergence, "o-", color=color, label=f"generated, {steps} steps")

# the floor: two samples of the simulation itself, drawn at random
rng = np.random.default_rng(0)
floor = [jensen_shannon_noise_floor(rng.permutation(z), int(n), random_state=0) for n in sizes]
ax.plot(sizes, floor, "k--", label="two samples of one distribution")
ax.set(xscale="log", yscale="log", xlabel="samples", ylabel="Jensen-Shannon divergence (nats)")
ax.legend(frameon=False)
plt.show()
