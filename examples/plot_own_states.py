"""
States of your own at every temperature
=======================================

Potential energies, temperatures and any labels are all that an
:class:`latflow.thermodynamics.Ensemble` needs: no estimator is fitted here. The states come from
deeptime's TICA and k-means on the backbone angles of alanine dipeptide; the populations between and
beyond the two simulated temperatures are MBAR's, and the points are those of parallel tempering,
which the ensemble never saw.
"""

import matplotlib.pyplot as plt
import numpy as np
from deeptime.clustering import KMeans
from deeptime.decomposition import TICA

from latflow.datasets import load_alanine_dipeptide
from latflow.thermodynamics import Ensemble

# %%
# Two simulations, and states by TICA and k-means.

data = load_alanine_dipeptide()
simulated = np.unique(data.temperature)[[0, -1]]
kept = [k for k, t in enumerate(data.temperature) if t in simulated]
X = [data.trajectories[k] for k in kept]
tica = TICA(lagtime=5, dim=2).fit(X).fetch_model()
clusters = KMeans(3, fixed_seed=0).fit(np.concatenate(tica.transform(X))).fetch_model()
states = [clusters.transform(tica.transform(x)) for x in X]

# %%
# The ensemble, and its answers with error bars over blocks of the trajectories.

ensemble = Ensemble(
    [data.energies[k] for k in kept], [data.temperature[k] for k in kept], states=states
)
reference = load_alanine_dipeptide(parallel_tempering=True)
temperatures = np.linspace(300, 600, 25)
populations = ensemble.state_populations(temperatures)
print(ensemble.support(np.unique(reference.temperature)).round(2))

# %%
# Each line is a state, with a band of one standard error; each point is parallel tempering.

figure, ax = plt.subplots(layout="constrained")
for state, table in populations.groupby(level="state"):
    p, error = table["population"].to_numpy(), table["standard_error"].to_numpy()
    (line,) = ax.plot(temperatures, p, label=f"state {state}")
    ax.fill_between(temperatures, p - error, p + error, alpha=0.2, color=line.get_color())
    for x, t in zip(reference.trajectories, reference.temperature, strict=True):
        labels = clusters.transform(tica.transform(x))
        ax.plot(t, np.mean(labels == state), "o", color=line.get_color())
ax.plot(simulated, [0, 0], "|", color="0.3", ms=14, label="simulated at")
ax.set(xlabel="temperature (K)", ylabel="population", ylim=(-0.02, 1))
ax.legend(frameon=False)
plt.show()
