"""
The melting of a protein from two temperatures
==============================================

Chignolin, ten residues, folds and melts. Two temperatures were simulated, 359 and 404.7 K, both
above the melting temperature; the model predicts it, and the folded population down to 300 K, with
error bars. Replica exchange, which it never saw, judges it.
"""

import matplotlib.pyplot as plt
import mdtraj
import numpy as np

from latflow import LaTFEstimator, TemperatureExtrapolator
from latflow.datasets import load_chignolin
from latflow.plotting import FreeEnergyDisplay
from latflow.structures import Structures

# %%
# Distances of C-alphas and potential energies of sixteen trajectories of 18 ns; variables and
# states at a lagtime of 1 ns, a tenth of the folding time.

data, exchange = load_chignolin(), load_chignolin(replica_exchange=True)
kept = [k for k, t in enumerate(data.temperature) if t in (359.0, 404.7)]
X, energies, folded, coordinates = (
    [data[name][k] for k in kept] for name in ("trajectories", "energies", "folded", "coordinates")
)
model = TemperatureExtrapolator(LaTFEstimator(lagtime=50, random_state=0), random_state=0)
model.fit(X, temperature=[data.temperature[k] for k in kept], energy=energies)

# %%
# The state of the folded frames, and its thermodynamics. CLN025 melts at about 343 K in water
# (Honda et al., J. Am. Chem. Soc. 130, 15327, 2008). Energies of a continuum solvent are no
# enthalpies, and their heat capacity has no hydrophobic part.

labels, is_folded = np.concatenate(model.predict(X)), np.concatenate(folded)
state = int(np.bincount(labels[is_folded]).argmax())
print("melts at", model.melting_temperature(state))
print(model.thermodynamics([338.5, 359.0]).round(2).to_string())
print(model.support([300.0, 338.5, 429.6]).to_string())

# %%
# The folded population, by a definition that the model was not told: RMSD to the folded structure.

figure = plt.figure(figsize=(12, 10), layout="constrained")
rows = figure.add_gridspec(3, 1, height_ratios=(1.2, 1.8, 1))
ax = figure.add_subplot(rows[0])
T = np.arange(295.0, 461.0, 5.0)
value, error = model.expectation([f.astype(float) for f in folded], T).to_numpy().T
ax.fill_between(T, value - error, value + error, alpha=0.25, label="predicted, one standard error")
ax.plot(T, value)
known = exchange.reference_populations
ax.errorbar(known.index, known.population, known.error, fmt="ko", ms=4, label="replica exchange")
ax.plot([359.0, 404.7], [0, 0], "^", color="C3", clip_on=False, label="simulated")
ax.set(xlabel="temperature (K)", ylabel="folded population", ylim=(0, 1))
ax.legend(frameon=False)

# Free-energy surfaces: predicted above, frames of replica exchange below; 318.5 and 429.6 K were
# never simulated.
shown = (318.5, 359.0, 404.7, 429.6)
axes = rows[1].subgridspec(2, 4).subplots()
samples = {t: model.transform(exchange.trajectories[exchange.temperature.index(t)]) for t in shown}
FreeEnergyDisplay.from_estimator(model, temperature=shown, reference=samples, axes=axes)

# Each state by the frame at its core: the trace of its C-alphas.
frames = [mdtraj.Trajectory(x, data.topology) for x in coordinates]
structures = Structures(model, X, frames, topology=data.topology)
alphas = data.topology.select("name CA")
row = rows[2].subgridspec(1, model.n_states_)
for s in range(model.n_states_):
    xyz = structures.representatives(s, 1).structures.xyz[0, alphas]
    ax = figure.add_subplot(row[s], projection="3d", title=f"state {s}")
    ax.plot(*xyz.T, "o-", color=f"C{s}")
    ax.set(box_aspect=np.ptp(xyz, axis=0))
    ax.set_axis_off()
plt.show()
