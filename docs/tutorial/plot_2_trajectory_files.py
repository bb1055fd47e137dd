"""
From trajectory files to a melting curve
========================================

A protein of ten residues, chignolin, was simulated at 359.0 and 404.7 K. From the files of these
simulations to its melting curve, its melting temperature and a PDB file of each state: the code
below the first section is all that it takes, and serves your own files when you change the names.
"""

# %%
# The files
# ---------
#
# You have these: trajectories (here .xtc), a topology (.pdb), and the log in which the simulation
# program wrote the potential energies (here a table of OpenMM; GROMACS' .edr, AMBER's mdout and the
# logs of NAMD and LAMMPS are read as well). So that this page needs no download, it first writes
# them, from the simulations that come with latflow: eight runs of 18 ns at each temperature.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import mdtraj
import numpy as np

from latflow import LaTFEstimator, TemperatureExtrapolator, read_energies
from latflow.datasets import load_chignolin
from latflow.featurizers import Distances, featurize
from latflow.plotting import FreeEnergyDisplay, MeltingCurveDisplay
from latflow.structures import Structures

folder = Path(tempfile.mkdtemp())
shipped = load_chignolin()
simulations = zip(shipped.coordinates, shipped.energies, shipped.temperature, strict=True)
simulations = [run for run in simulations if run[2] in (359.0, 404.7)]
for number, (xyz, energy, _) in enumerate(simulations):
    time = shipped.time_step * np.arange(len(xyz))  # ps
    mdtraj.Trajectory(xyz, shipped.topology, time=time).save(folder / f"run{number:02d}.xtc")
    header = '"Step","Time (ps)","Potential Energy (kJ/mole)"'
    table = np.column_stack([np.arange(len(xyz)), time, energy])
    np.savetxt(folder / f"run{number:02d}.csv", table, delimiter=",", header=header, comments="#")
mdtraj.Trajectory(simulations[0][0][0], shipped.topology).save(folder / "protein.pdb")

# %%
# Features
# --------
#
# `featurize` turns every frame into numbers that do not change when the molecule turns or moves:
# here the distances between the C-alpha atoms of residues at least three apart. It takes a list of
# files and a temperature for each, one file one trajectory. `featurizers` has torsions, contacts,
# coordination numbers and more, and `Concatenate` joins them. For files larger than memory add
# ``out="features"``, a folder that the features go to.

files = sorted(folder.glob("*.xtc"))
temperature = [run[2] for run in simulations]
data = featurize(files, folder / "protein.pdb", Distances(), temperature=temperature)
print(len(data.trajectories), "trajectories of", data.trajectories[0].shape)
print("time from frame to frame:", data.time_step, "ps")
print("features:", ", ".join(data.feature_names[:3]), "...")

# %%
# Energies
# --------
#
# `read_energies` knows the logs of the usual programs, and `at` picks the energies at the times of
# the frames: a log often has more lines than the trajectory has frames.

energies = []
for file, x in zip(files, data.trajectories, strict=True):
    log = read_energies(file.with_suffix(".csv"))
    energies.append(log.at(data.time_step * np.arange(len(x))))
for t in (359.0, 404.7):
    mean = np.mean([e.mean() for e, own in zip(energies, temperature, strict=True) if own == t])
    print(f"mean potential energy at {t} K: {mean:.0f} kJ/mol")

# %%
# The mean energy rises with temperature, as it must. Were two files swapped, `fit` would say so.
#
# Fit
# ---
#
# The lagtime is 50 frames, a nanosecond: well above the time of a fluctuation and well below the
# folding time, some 10 ns.

model = TemperatureExtrapolator(LaTFEstimator(lagtime=50, random_state=0), random_state=0)
model.fit(data.trajectories, temperature=data.temperature, energy=energies)
print(model.n_states_, "states at", model.temperatures_, "K")

# %%
# Which state is the folded one? That whose ends are near each other: chignolin is a hairpin.

states = np.concatenate(model.predict(data.trajectories))
ends = np.concatenate(data.trajectories)[:, data.feature_names.index("distance_TYR1_TYR10")]
means = [ends[states == state].mean() for state in range(model.n_states_)]
folded = int(np.argmin(means))
print("mean distance of the ends in each state:", np.round(means, 2), "nm")

# %%
# Melting
# -------
#
# One call gives the melting temperature, where the folded state holds half of the population, with
# its standard error. Both simulations are hotter than that: it is an extrapolation, and its error
# is that of one. Replica exchange says 338 K, with an error of 2.

print("melting temperature:", model.melting_temperature(folded))
MeltingCurveDisplay.from_estimator(model, folded, temperature=np.linspace(300, 440, 57))
plt.show()

# %%
# The shading says how far to trust the curve. `support` gives the reasons in words.

model.support([300, 340, 380, 420])[["support", "reason"]]

# %%
# Free energies in the two collective variables, in kJ/mol, at temperatures that nobody simulated:

FreeEnergyDisplay.from_estimator(model, temperature=[320, 340, 380])
plt.show()

# %%
# Back to structures
# ------------------
#
# `Structures` knows which file and frame every point came from. `representatives` takes frames from
# the core of a state, not from its rim, and writes them.

structures = Structures(model, data, topology=folder / "protein.pdb")
found = structures.representatives(folded, n=3, path=folder / "folded.pdb")
found.table.assign(file=[Path(file).name for file in found.table.file]).round(2)

# %%
# `virtual_trajectory` draws frames as a simulation at any temperature would visit them: use your
# own tools on it. The radius of gyration at 340 K, where half is folded:

drawn = structures.virtual_trajectory(340, 500, random_state=0, path=folder / "at_340K.xtc")
radii = mdtraj.compute_rg(drawn.structures)
figure, ax = plt.subplots(figsize=(5, 3), layout="constrained")
ax.hist(radii, bins=30, density=True)
ax.set(xlabel="radius of gyration (nm)", ylabel="density", title="340 K, never simulated")
plt.show()

# %%
# The same in one command, which writes a page with all of it::
#
#     latflow report --trajectory run*.xtc --temperature 359 ... 404.7 --topology protein.pdb \
#         --energy run*.csv --features distances --lagtime 50 --at 340 --output report.html
