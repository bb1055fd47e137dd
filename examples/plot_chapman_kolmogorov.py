"""
Does the Markov model predict its own future?
=============================================

The Chapman-Kolmogorov test: a model counted at one lagtime predicts how states pass into each other
after several lagtimes; counts at those times say whether it is right.
"""

import matplotlib.pyplot as plt

from latflow import LaTFEstimator
from latflow.datasets import make_three_hole
from latflow.kinetics import lagtime_convergence
from latflow.plotting import ChapmanKolmogorovDisplay

# %%
# States of the three-hole potential at k_B T = 1.

data = make_three_hole(60_000, temperature=1.0, random_state=0)
model = LaTFEstimator(
    10, encoder="linear", boltzmann_constant=1.0, max_iter=480, random_state=0
).fit(data.trajectories)
states = model.predict(data.trajectories)

# %%
# A number before the figure: the slowest timescale at the lagtime, at twice and at four times it.
# Where it goes on growing, the states remember, and a longer lagtime is due.

options = {"time_step": data.time_step, "random_state": 0}
print(lagtime_convergence(states, 20, temperature=data.temperature, **options).round(2).T)

# %%
# Lines: predicted from the shortest time. Points: counted, with their errors.

ChapmanKolmogorovDisplay.from_states(states, 20, n_multiples=4, n_samples=50, **options)
plt.show()
