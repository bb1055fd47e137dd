"""
Two temperatures in, a third out
================================

The three-hole potential is simulated at k_B T = 0.7 and 1.4. What the model then generates at
k_B T = 1.0, where nothing was simulated, is compared with the exact answer.
"""

import matplotlib.pyplot as plt
import numpy as np

from latflow import LaTFEstimator, TemperatureExtrapolator
from latflow.datasets import make_three_hole, three_hole_populations
from latflow.plotting import FreeEnergyDisplay

cold = make_three_hole(50_000, temperature=0.7, random_state=0)
hot = make_three_hole(50_000, temperature=1.4, random_state=1)
unseen = make_three_hole(50_000, temperature=1.0, random_state=2)

model = TemperatureExtrapolator(
    LaTFEstimator(lagtime=5, encoder="linear", boltzmann_constant=1.0, random_state=0),
    random_state=0,
).fit(cold.trajectories + hot.trajectories, temperature=cold.temperature + hot.temperature)

found = model.state_populations(1.0)
found["exact"] = three_hole_populations(1.0, assign=model.predict)
print(found.round(4))

display = FreeEnergyDisplay.from_estimator(
    model,
    temperature=[0.7, 1.0, 1.4],
    reference={
        data.temperature[0]: np.concatenate(model.transform(data.trajectories))
        for data in (cold, unseen, hot)
    },
    unit="kT",
)
plt.show()
