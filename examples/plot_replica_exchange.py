"""
All replicas of an exchange together
====================================

Replica exchange of chignolin at eight temperatures. At each, the folded population is the fraction
of its own frames; all frames together, each weighted for each temperature by its potential energy,
tell it better, and between the rungs of the ladder, too. No estimator is fitted here.
"""

import matplotlib.pyplot as plt
import numpy as np

from latflow.datasets import load_chignolin
from latflow.thermodynamics import Ensemble

# %%
# Frames sorted by temperature jump from walker to walker: `dynamics=False` says so. States are the
# user's own: 0 unfolded, 1 folded.

data = load_chignolin(replica_exchange=True)
states = [folded.astype(int) for folded in data.folded]
ensemble = Ensemble(data.energies, data.temperature, states=states, dynamics=False)

# %%
# The line is from all frames, its band one standard error; points are a temperature's own frames.

T = np.linspace(300, 456, 53)
folded = ensemble.state_populations(T).xs(1, level="state")
melting = ensemble.melting_temperature(1)
print(f"melts at {melting.temperature:.1f} K, give or take {melting.standard_error:.1f} K")

figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
p, error = folded["population"].to_numpy(), folded["standard_error"].to_numpy()
ax.fill_between(T, p - error, p + error, alpha=0.25)
ax.plot(T, p, label="all frames, reweighted")
ax.plot(data.temperature, [np.mean(s) for s in states], "ko", ms=4, label="own frames")
ax.axvline(melting.temperature, ls=":", color="0.5", label="melting temperature")
ax.set(xlabel="temperature (K)", ylabel="folded population", ylim=(0, 1))
ax.legend(frameon=False)
plt.show()
