"""
Which distances matter, and how few are enough
==============================================

Collective variables of chignolin from all 45 distances between its C-alpha atoms; which of them
matter, and a model of the five that keep the score. Fewer distances are a faster simulation where
an exported variable is biased.
"""

import matplotlib.pyplot as plt
import pandas as pd

from latflow import LaTFEstimator
from latflow.datasets import load_chignolin
from latflow.importance import feature_importance, prune
from latflow.plotting import FeatureImportanceDisplay, style

# %%
# Continuous trajectories at two temperatures, their columns named by residues.

data = load_chignolin()
kept = [k for k, t in enumerate(data.temperature) if t in (359.0, 404.7)]
X = [pd.DataFrame(data.trajectories[k], columns=data.feature_names) for k in kept]
metadata = {"temperature": [data.temperature[k] for k in kept]}
model = LaTFEstimator(lagtime=50, max_iter=800, random_state=0).fit(X, **metadata)

# %%
# How much of VAMP-2 each variable loses when a distance is exchanged between frames. Scores on
# frames that the model was fitted on flatter it; the order of the distances suffers little.

table = feature_importance(model, X, random_state=0, **metadata)

# %%
# Many distances say the same. `prune` takes them one by one, each the one that tells most beside
# those taken before, and judges both models on frames that neither was fitted on.

small = prune(model, X, 5, random_state=0, **metadata)
print("kept:", ", ".join(small.features))
print(f"VAMP-2 held out: {small.before:.3f}, with five distances {small.after:.3f}")
print(f"kinetic variance kept: {small.kept:.3f} +- {small.kept_error:.3f}")

# %%
# Bold are the five distances of the pruned model.

axes = style.panels(None, 1, 2, size=(4.6, 3.6))[0]
for target, ax in zip(("CV 1", "CV 2"), axes, strict=True):
    FeatureImportanceDisplay(table, target=target, n_features=12).plot(ax)
    for label in ax.get_yticklabels():
        label.set_fontweight("bold" if label.get_text() in small.features else "normal")
plt.show()
