"""
How the lagtime decides what a state is
=======================================

The three-hole potential has two deep holes and a shallow one between barriers. States are what is
still there a lagtime later, so the shallow hole is one at a short lagtime and part of another state
at a longer one. A lagtime beyond all relaxation leaves one state, and a warning that says so.
"""

import matplotlib.pyplot as plt
import numpy as np

from latflow import LaTFEstimator
from latflow.datasets import make_three_hole
from latflow.plotting import StatesDisplay

# %%
# The same trajectories, three lagtimes; a frame is a tenth of a time unit. Each panel shows frames
# in the coordinates of the potential, coloured by state.

data = make_three_hole(40_000, temperature=1.0, random_state=0)
frames = np.concatenate(data.trajectories)
figure, axes = plt.subplots(1, 3, figsize=(12, 4), sharex=True, sharey=True, layout="constrained")
for lagtime, ax in zip((2, 5, 100), axes, strict=True):
    model = LaTFEstimator(
        lagtime, encoder="linear", boltzmann_constant=1.0, max_iter=480, random_state=0
    ).fit(data.trajectories)
    print(f"lagtime {lagtime}: {model.n_states_} states, {model.populations_.round(3)[0]}")

    labels = model.predict(frames)
    StatesDisplay(frames, labels, n_frames=4000).plot(ax=ax)
    time = lagtime * data.time_step
    ax.set(title=f"lagtime {time:g}: {model.n_states_} states", xlabel="x", ylabel="y")
plt.show()
