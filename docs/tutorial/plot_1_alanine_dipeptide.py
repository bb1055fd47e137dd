"""
From features to populations at every temperature
=================================================

Alanine dipeptide is the smallest molecule with a protein's backbone: two angles, phi and psi, tell
its shape. It was simulated at 450 and 600 K, where it changes shape every few picoseconds. We ask
what it does at 300 K, where nothing was simulated. The data come with latflow; no file is needed,
and every step takes seconds. Reading takes a quarter of an hour.

The steps are those of any molecule: look at the data, fit, look at the states, ask for populations
at all temperatures, ask how sure they are, and go back to structures.
"""

# %%
# Data
# ----
#
# latflow works on **frames** (rows of features) in **trajectories** (one array for each continuous
# simulation). Four simulations were run at each of two temperatures, so this is a list of eight
# arrays, and a list of eight temperatures in kelvin.

import matplotlib.pyplot as plt
import numpy as np

from latflow import LaTFEstimator, TemperatureExtrapolator, load, save
from latflow.datasets import load_alanine_dipeptide
from latflow.metrics import vamp2
from latflow.plotting import FreeEnergyDisplay, HistoryDisplay, PopulationsDisplay, StatesDisplay

data = load_alanine_dipeptide()
print(len(data.trajectories), "trajectories of shape", data.trajectories[0].shape)
print("temperatures:", data.temperature)
print("features:", data.feature_names)

# %%
# The features are cosines and sines of the two angles, not the angles. An angle of 179 degrees and
# one of -179 are neighbours; their numbers are far apart, and a model would take the jump between
# them for an event. Cosine and sine have no such jump. `latflow.featurizers.Torsions` makes them
# from structures.
#
# Look at the data before any fit. Each panel shows where the frames of one temperature are: a large
# region on the upper left (beta, an extended chain), one below it (alpha, a turn), and a rare one
# at positive phi.

figure, axes = plt.subplots(1, 2, figsize=(8, 4), sharey=True, layout="constrained")
for ax, temperature in zip(axes, (450, 600), strict=True):
    each = zip(data.angles, data.temperature, strict=True)
    angles = np.degrees(np.concatenate([a for a, t in each if t == temperature]))
    ax.hexbin(*angles.T, gridsize=50, bins="log", mincnt=1, cmap="viridis")
    ax.set(title=f"{temperature} K", xlabel="phi (degrees)", xlim=(-180, 180), ylim=(-180, 180))
axes[0].set_ylabel("psi (degrees)")
plt.show()

# %%
# Fit
# ---
#
# Two objects do the work, one inside the other.
#
# :class:`~latflow.LaTFEstimator` learns from the order of the frames. It finds **collective
# variables**, here two numbers a frame that change slowly, and **states**, groups of frames between
# which the molecule passes rarely. `lagtime` is the time, in frames, over which it looks ahead; a
# frame is a picosecond here. At these temperatures the molecule forgets within a few picoseconds
# where it was, so the lagtime is one frame. With five frames the model would say that it found a
# single state, and that a shorter lagtime may help: try it. `encoder="linear"` makes each variable
# a weighted sum of the features, which is enough for four of them and easy to read; the default is
# a small neural network, for features by the dozen.
#
# :class:`~latflow.TemperatureExtrapolator` learns from the temperatures. It compares how often each
# region is visited at 450 and at 600 K, and the potential energies of the frames. Together they fix
# how the weight of every frame changes with temperature. Energies are optional; give them where you
# have them, since they make the answer sharper.
#
# `random_state=0` makes the run reproducible: the same seed gives the same numbers.
# `temperature_range` tells at which temperatures samples are wanted.

latf = LaTFEstimator(lagtime=1, encoder="linear", random_state=0)
model = TemperatureExtrapolator(latf, temperature_range=(300, 600), random_state=0)
model.fit(data.trajectories, temperature=data.temperature, energy=data.energies)
print(model.n_states_, "states,", model.n_components_, "collective variables")

# %%
# Did training settle? `converged_` says whether the labels of the states stopped changing and no
# loss was non-finite. The curves show the loss on frames held out of training, one panel for each
# stage of the fit. A curve that still falls at its end asks for more `max_iter`.

print("converged:", model.converged_)
HistoryDisplay.from_estimator(model)
plt.show()

# %%
# States
# ------
#
# `predict` gives each frame the number of its state, and `transform` its collective variables. Both
# take a list and return a list. State 0 is always the largest.

states = model.predict(data.trajectories)
variables = model.transform(data.trajectories)

figure, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
StatesDisplay.from_estimator(model, np.concatenate(data.trajectories), ax=axes[0])
labels, angles = np.concatenate(states), np.degrees(np.concatenate(data.angles))
for state in range(model.n_states_):
    axes[1].plot(*angles[labels == state].T, ".", ms=2, label=f"state {state}")
axes[1].set(xlabel="phi (degrees)", ylabel="psi (degrees)", xlim=(-180, 180), ylim=(-180, 180))
axes[1].legend(frameon=False, markerscale=5)
plt.show()

# %%
# On the left are the variables that were learned, on the right the angles that we know. The model
# was told neither beta nor alpha; its states are the regions of the first figure.
#
# How slow are the variables? VAMP-2 sums, over the variables, how much of each is still known a
# lagtime later, squared, and adds one for the constant. Two perfectly slow variables have 3, noise
# has 1.

score = np.mean([vamp2(z[:-1], z[1:]) for z in variables])
print(f"VAMP-2 at a lagtime of 1 ps: {score:.2f}")

# %%
# Populations at every temperature
# --------------------------------
#
# One call answers at any temperature. Every answer has a standard error, from 20 repetitions with
# other blocks of the trajectories (`n_bootstraps`), and from what two temperatures leave open.

model.state_populations([300, 350, 450, 520, 600]).unstack().round(3)

# %%
# Parallel tempering, a much longer simulation of several coupled copies at once, knows the truth
# from 300 to 600 K. No model saw it. The line is the model, its band one standard error, and each
# point the tempering.

tempering = load_alanine_dipeptide(parallel_tempering=True)
simulated = model.predict(tempering.trajectories)
rows = zip(tempering.temperature, simulated, strict=True)
reference = {t: np.bincount(s, minlength=model.n_states_) / len(s) for t, s in rows}
display = PopulationsDisplay.from_estimator(model, temperature=np.linspace(300, 600, 31))
for state, line in enumerate(display.ax_.get_lines()[: model.n_states_]):
    points = [population[state] for population in reference.values()]
    display.ax_.plot(list(reference), points, "o", color=line.get_color())
plt.show()

# %%
# For a protein the population of the folded state, drawn like this, is its melting curve, and
# ``model.melting_temperature(state)`` is where it crosses one half. Here state 0 holds more than
# half at every temperature asked for: the molecule has no melting temperature, and latflow says so
# instead of inventing one. For one that melts see
# :ref:`sphx_glr_gallery_plot_chignolin.py`.
#
# Energy and entropy
# ------------------
#
# Why do alpha and positive phi gain when heated? `thermodynamics` compares each state with all
# others together: free energy and energy in kJ/mol, entropy and heat capacity in kJ/mol/K, each
# with its error. A state whose energy is above that of the others grows with temperature. The last
# columns are free energies by MBAR from the same energies, as a yardstick.

model.thermodynamics([450, 520]).round(3).T

# %%
# How sure is that?
# -----------------
#
# `support` classes each temperature. *supported* is inside the range of the simulations, with small
# errors. *extrapolated* is answered, and worth its error bar. *unsupported* means that the data
# cannot tell. The last column says why.

model.support([250, 300, 450, 520, 600])[["effective_fraction", "crossings", "support", "reason"]]

# %%
# Three ways lead to one number: the density that the model generates, the reweighted frames, and a
# Markov model of the trajectories of one temperature. `cross_check` puts them side by side at the
# simulated temperatures, and warns where two differ by more than their errors.

model.cross_check().round(3)

# %%
# Here they agree, for the rare state too. Had we taken the neural network for these four features,
# the generated density would have had too little of the rare state, and `cross_check` would have
# said so: change the line above and see. With three temperatures or more, `validate` tests harder:
# it leaves each temperature out in turn and predicts it from the others.

# %%
# Free-energy surfaces, and samples
# ---------------------------------
#
# The model generates points at any temperature and knows their exact density, so free energies need
# no histogram. Above: generated; below: the frames of parallel tempering in the same variables.

shown = (300.0, 400.0, 520.0)
frames = {t: tempering.trajectories[tempering.temperature.index(t)] for t in shown}
FreeEnergyDisplay.from_estimator(
    model, temperature=shown, reference={t: model.transform(x) for t, x in frames.items()}
)
plt.show()

# %%
# `sample` returns such points, and `free_energy` their free energies in kJ/mol, the deepest point
# at zero.

samples = model.sample(1000, temperature=300, random_state=0)
energies = model.free_energy(samples, temperature=300)
print(f"from {energies.min():.1f} to {energies.max():.1f} kJ/mol")

# %%
# Any observable
# --------------
#
# `expectation` averages whatever you compute from a frame, with the weights of the frames at each
# temperature. The fraction of the time at positive phi, a quantity the model was never told about:

positive = [(a[:, 0] > 0).astype(float) for a in data.angles]
answer = model.expectation(positive, [300, 400, 520])
known = [np.mean(tempering.angles[tempering.temperature.index(t)][:, 0] > 0) for t in shown]
answer.assign(parallel_tempering=known).round(4)

# %%
# Keep it
# -------
#
# A model is one file, without pickle, that later versions of latflow open.

import tempfile
from pathlib import Path

with tempfile.TemporaryDirectory() as folder:
    save(model, Path(folder) / "alanine.latflow")
    again = load(Path(folder) / "alanine.latflow")
same = np.array_equal(again.sample(5, 300, 0), model.sample(5, 300, 0))
print("the same samples after loading:", same)

# %%
# Next: :ref:`sphx_glr_tutorials_plot_2_trajectory_files.py`, where features and energies are
# read from what simulation programs write, and answers come back as structures.
