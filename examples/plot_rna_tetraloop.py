"""
The melting of a hairpin of RNA from two temperatures
=====================================================

A coarse-grained GCAA tetraloop, simulated at 340 and 360 K. The model, without energies, predicts
how much of it is folded from 312 to 398 K; parallel tempering, which it never saw, judges it.
"""

import matplotlib.pyplot as plt
import mdtraj
import numpy as np

from latflow import LaTFEstimator, TemperatureExtrapolator
from latflow.datasets import load_rna_tetraloop
from latflow.plotting import FreeEnergyDisplay
from latflow.structures import Structures

# %%
# Distances between bases of ten trajectories of 40 ns; variables and states at a lagtime of 200 ps.

data, tempering = load_rna_tetraloop(), load_rna_tetraloop(parallel_tempering=True)
kept = [k for k, t in enumerate(data.temperature) if t in (340.0, 360.0)]
X, folded, coordinates = (
    [data[name][k] for k in kept] for name in ("trajectories", "folded", "coordinates")
)
model = TemperatureExtrapolator(LaTFEstimator(lagtime=20, random_state=0), random_state=0)
model.fit(X, temperature=[data.temperature[k] for k in kept])

# %%
# The folded state and its thermodynamics. The real hairpin melts at 341 to 343 K with an enthalpy
# of unfolding of 150 kJ/mol (Szabat et al., PLoS ONE 11, e0149478, 2016); this model's parameters
# are fixed at 355 K, and melt 12 to 14 K higher with two thirds of that.

labels, is_folded = np.concatenate(model.predict(X)), np.concatenate(folded)
state = int(np.bincount(labels[is_folded]).argmax())
print("melts at", model.melting_temperature(state))
print(model.thermodynamics([340.0, 355.5]).round(2).to_string())
print(model.support([312.0, 355.5, 398.0]).to_string())

# %%
# The folded population, by a definition that the model was not told: two of three pairs are closed.

figure = plt.figure(figsize=(12, 10), layout="constrained")
rows = figure.add_gridspec(3, 1, height_ratios=(1.2, 1.8, 1))
ax = figure.add_subplot(rows[0])
T = np.arange(308.0, 403.0, 3.0)
value, error = model.expectation([f.astype(float) for f in folded], T).to_numpy().T
ax.fill_between(T, value - error, value + error, alpha=0.25, label="predicted, one standard error")
ax.plot(T, value)
known = tempering.reference_populations
ax.errorbar(known.index, known.population, known.error, fmt="ko", ms=4, label="parallel tempering")
ax.plot([340.0, 360.0], [0, 0], "^", color="C3", clip_on=False, label="simulated")
ax.set(xlabel="temperature (K)", ylabel="folded population", ylim=(0, 1))
ax.legend(frameon=False)

# Free-energy surfaces, at temperatures never simulated: predicted above, parallel tempering below.
shown = (326.0, 347.0, 368.0, 398.0)
axes, at = rows[1].subgridspec(2, 4).subplots(), tempering.temperature.index
samples = {t: model.transform(tempering.trajectories[at(t)]) for t in shown}
FreeEnergyDisplay.from_estimator(model, temperature=shown, reference=samples, vmax=30, axes=axes)

# Each state by the frame at its core: the trace of its sugars and phosphates, and its bases.
frames = [mdtraj.Trajectory(x, data.topology) for x in coordinates]
structures = Structures(model, X, frames, topology=data.topology)
bases = data.topology.select("name C4")
chain = data.topology.select("not name C4")
row = rows[2].subgridspec(1, model.n_states_)
for s in range(model.n_states_):
    xyz = structures.representatives(s, 1).structures.xyz[0]
    ax = figure.add_subplot(row[s], projection="3d", title=f"state {s}")
    ax.plot(*xyz[chain].T, "-", color=f"C{s}", lw=3)
    for base in bases:
        ax.plot(*xyz[[base - 1, base]].T, "o-", color="0.4", ms=4)
    ax.set(box_aspect=np.ptp(xyz, axis=0))
    ax.set_axis_off()
plt.show()
