"""
What to simulate next
=====================

Two simulations of the three-hole potential, and a population wanted at a temperature below both.
Where would 20,000 more frames help most, and what error is left then? The suggested simulation is
then done.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA

from latflow import TemperatureExtrapolator
from latflow.datasets import make_three_hole, three_hole_populations
from latflow.planning import suggest

TARGET, BUDGET = 0.55, 20_000


def fit(data):
    """Fit with known states: whether a frame is in the upper hole."""
    X = [x for part in data for x in part.trajectories]
    model = TemperatureExtrapolator(PCA(2), max_iter=50, boltzmann_constant=1.0, random_state=0)
    temperature = [t for part in data for t in part.temperature]
    return model.fit(X, temperature=temperature, states=list(map(upper, X))), X


def upper(x):
    """Return 1 in the upper hole, 0 elsewhere."""
    return (x[:, 1] > 0.519 + 0.9454 * np.abs(x[:, 0])).astype(int)


# %%
# Before: what is known of the upper hole at k_B T = 0.55, from k_B T = 0.8 and 1.4.

data = [make_three_hole(5000, t, n_walkers=10, random_state=k) for k, t in enumerate((0.8, 1.4))]
model, X = fit(data)
plan = suggest(model, BUDGET, state=1, temperature=TARGET, lagtime=5, random_state=0)
print(plan.table.round(4))
print(f"simulate at {plan.temperature:.3g}: {plan.error:.4f} now, {plan.expected_error:.4f} then")

# %%
# The simulation, from the frames suggested, and what is known afterwards.

rows = plan.starts[["trajectory", "frame"]].to_numpy()
start = np.array([X[t][frame] for t, frame in rows])
new = make_three_hole(BUDGET, plan.temperature, n_walkers=len(start), start=start, random_state=2)
after, _ = fit([*data, new])
exact = three_hole_populations(TARGET, assign=upper)[1]
known = [fitted.state_populations(TARGET).loc[(TARGET, 1)] for fitted in (model, after)]

# %%
# Left: the error to expect, against where one simulates. Right: what came of it.

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
left.plot(plan.table.index, plan.table.expected_error, ".-", label="expected")
left.axhline(plan.error, color="0.5", ls=":", label="now")
left.axhline(plan.even_error, color="#D55E00", ls="--", label="even split")
left.plot(plan.temperature, plan.expected_error, "o", mfc="none", ms=10, label="suggested")
left.set(xlabel="temperature of the new simulation", ylabel="standard error", ylim=(0, None))
left.legend(frameon=False, fontsize="small")
values, errors = ([row[name] for row in known] for name in ("population", "standard_error"))
right.errorbar([0, 1], values, errors, fmt="o", capsize=4)
right.axhline(exact, color="0.3", lw=1, label="exact")
right.set(xticks=[0, 1], xticklabels=["before", "after"], xlim=(-0.5, 1.5))
right.set(ylabel=f"population of the upper hole at {TARGET:g}")
right.legend(frameon=False)
plt.show()
