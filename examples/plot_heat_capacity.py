"""
Energy and heat capacity of a whole system
==========================================

Energies of frames at two temperatures give the mean energy and the heat capacity at all of them:
weights carry each frame to any temperature, and mean and fluctuation of the energy follow. For the
three-hole potential both are known exactly.
"""

import matplotlib.pyplot as plt
import numpy as np

from latflow.datasets import make_three_hole, three_hole_density, three_hole_potential
from latflow.thermodynamics import Ensemble

# %%
# Two simulations; the ensemble needs their energies and temperatures only.

runs = [make_three_hole(50_000, t, random_state=k) for k, t in enumerate((0.7, 1.4))]
ensemble = Ensemble(
    [e for run in runs for e in run.energies],
    [t for run in runs for t in run.temperature],
    boltzmann_constant=1.0,
)
T = np.linspace(0.5, 1.8, 40)
answer = ensemble.whole_system(T)
print(answer.iloc[::13].round(3).to_string())

# %%
# The exact energy by quadrature, and its derivative, the heat capacity.

x, y = np.meshgrid(np.linspace(-2.5, 2.5, 400), np.linspace(-2.0, 3.0, 400))
potential = three_hole_potential(x, y)


def mean_energy(t):
    """Return the mean potential energy at a temperature."""
    p = three_hole_density(x, y, t)
    return float((p * potential).sum() / p.sum())


exact = [mean_energy(t) for t in T]
slope = [(mean_energy(t + 1e-3) - mean_energy(t - 1e-3)) / 2e-3 for t in T]

# %%
# Between the simulated temperatures both are right within their bands, of one standard error.
# Beyond them the heat capacity is taken as constant; the dashed line shows what that misses.

figure, axes = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
for ax, name, known in zip(axes, ("energy", "heat_capacity"), (exact, slope), strict=True):
    value, error = answer[name].to_numpy(), answer[f"{name}_error"].to_numpy()
    ax.fill_between(T, value - error, value + error, alpha=0.3)
    ax.plot(T, value, label="two simulations")
    ax.plot(T, known, "k--", lw=1, label="exact")
    ax.plot([0.7, 1.4], np.interp([0.7, 1.4], T, value), "o", color="C3", label="simulated at")
    ax.set(xlabel="k_B T", ylabel=name.replace("_", " "))
axes[0].legend(frameon=False)
plt.show()
