"""
States and collective variables in deeptime
===========================================

Two collective variables and states of the three-hole potential at k_B T = 1; Markov state models of
the states and of a fine discretisation of the variables (deeptime's KMeans), and their timescales
beside the exact ones, of the generator on a fine grid.
"""

import matplotlib.pyplot as plt
from deeptime.clustering import KMeans
from sklearn.pipeline import make_pipeline

from latflow import FromDeeptime, LaTFEstimator
from latflow.datasets import make_three_hole, three_hole_timescales
from latflow.kinetics import implied_timescales, markov_model, mean_first_passage_times
from latflow.plotting import TimescalesDisplay

LAGTIMES = [2, 5, 10, 15, 20, 25, 30, 35]

data = make_three_hole(100_000, temperature=1.0, random_state=0)
exact = three_hole_timescales(1.0, 2)

latf = LaTFEstimator(lagtime=2, encoder="linear", boltzmann_constant=1.0, random_state=0)
fine = make_pipeline(latf, FromDeeptime(KMeans(100, fixed_seed=0, max_iter=500)))
cells = fine.fit(data.trajectories).predict(data.trajectories)
states = fine[0].predict(data.trajectories)

options = {"time_step": data.time_step, "n_samples": 50, "random_state": 0}
of_cells = implied_timescales(cells, LAGTIMES, n_timescales=2, **options)
of_states = implied_timescales(states, LAGTIMES, n_timescales=2, **options)
print("exact:", exact.round(3))
print(of_cells.loc[1.5].round(3), "\n", of_states.loc[3.5].round(3))

model = markov_model(states, 35, random_state=0)  # a deeptime BayesianMSMPosterior
print(mean_first_passage_times(model, time_step=data.time_step).round(2))

display = TimescalesDisplay(of_cells, time_unit="reduced", reference=exact).plot()
display.lines_ += display.ax_.plot(
    of_states.xs(0, level="process")["timescale"],
    "s--",
    color="0.2",
    ms=4,
    label="process 0 of the states",
)
display.ax_.legend(frameon=False)
plt.show()
