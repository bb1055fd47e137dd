"""scikit-learn's own checks, all of them, with no expected failure."""

import pytest
from deeptime.clustering import KMeans
from deeptime.decomposition import TICA, VAMP
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from latflow import FromDeeptime, LaTFEstimator, PerFrame, TemperatureExtrapolator

SHORT = {"max_iter": 20, "n_refinements": 2, "random_state": 0}
ESTIMATORS = [
    LaTFEstimator(**SHORT),
    LaTFEstimator(n_components=1, encoder="linear", flow="affine", standardize=False, **SHORT),
    LaTFEstimator(lagtime=3, n_components=3, n_states=3, tilt=0.0, n_init=2, **SHORT),
    # no seed but the one that the checks set: it seeds every estimator inside
    TemperatureExtrapolator(LaTFEstimator(max_iter=20)),
    TemperatureExtrapolator(LaTFEstimator(max_iter=20), method="tilted"),
    TemperatureExtrapolator(make_pipeline(PerFrame(StandardScaler()), LaTFEstimator(max_iter=20))),
    TemperatureExtrapolator(PCA(n_components=1)),
    TemperatureExtrapolator(FromDeeptime(TICA(lagtime=1, dim=1))),
    PerFrame(StandardScaler()),
    PerFrame(PCA(n_components=1)),
    FromDeeptime(TICA(lagtime=1, dim=1)),
    FromDeeptime(VAMP(lagtime=1, dim=1)),
    FromDeeptime(KMeans(n_clusters=2, fixed_seed=0)),
]


@pytest.mark.filterwarnings("ignore")  # toy data: one state, labels that never settle
@parametrize_with_checks(ESTIMATORS)
def test_sklearn_check(estimator, check):
    check(estimator)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks([LaTFEstimator(), TemperatureExtrapolator()])
def test_sklearn_check_of_the_defaults(estimator, check):
    check(estimator)
