"""Everything you call .fit on with feature arrays."""

from latflow.estimators.extrapolator import TemperatureExtrapolator
from latflow.estimators.latf import LaTFEstimator

__all__ = ["LaTFEstimator", "TemperatureExtrapolator"]
