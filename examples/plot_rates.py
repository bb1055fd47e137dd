"""
Rates at temperatures never simulated
=====================================

States of the three-hole potential, learned from simulations at k_B T = 0.8 and 1.4. Arrhenius' law
through the rates between them predicts rate matrices in detailed balance at 0.7 and 1.0, which are
compared with the fine generator, coarse-grained on the same states.
"""

import matplotlib.pyplot as plt
import pandas as pd

from latflow import LaTFEstimator, TemperatureExtrapolator
from latflow.datasets import make_three_hole, three_hole_transition_matrix
from latflow.kinetics import rate_matrix
from latflow.plotting import ArrheniusDisplay

SIMULATED, UNSEEN, LAGTIME = (0.8, 1.4), (0.7, 1.0), 10

data = [make_three_hole(60_000, t, n_walkers=200, random_state=k) for k, t in enumerate(SIMULATED)]
trajectories = [x for part in data for x in part.trajectories]
temperature = [t for part in data for t in part.temperature]
time_step = data[0].time_step

latf = LaTFEstimator(2, encoder="linear", max_iter=400, boltzmann_constant=1.0, random_state=0)
model = TemperatureExtrapolator(latf, random_state=0).fit(trajectories, temperature=temperature)
assign = model.estimator_.predict

exact = {}
for t in UNSEEN:
    counted = three_hole_transition_matrix(t, LAGTIME * time_step, assign=assign)
    table = pd.DataFrame(rate_matrix(counted, LAGTIME * time_step)).stack().rename("rate")
    exact[t] = table[table > 0].rename_axis(["source", "target"]).to_frame()
exact = pd.concat(exact, names=["temperature"])

display = ArrheniusDisplay.from_states(
    assign(trajectories),
    LAGTIME,
    temperature=temperature,
    populations=model.state_populations(UNSEEN),
    boltzmann_constant=1.0,
    time_step=time_step,
    random_state=0,
    reference=exact,
)
for prediction in display.predicted:
    rates = prediction.rates.join(exact.rate.loc[prediction.temperature].rename("exact"))
    print(f"k_B T = {prediction.temperature}\n", rates.round(3))
    print(prediction.timescales.round(2))
plt.show()
