"""What wrong input is told, and that it leaves nothing behind: each check, then each estimator."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import UNSETTLED, tiny_extrapolator, tiny_latf
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.neighbors import KernelDensity

from latflow import LaTFEstimator, TemperatureExtrapolator, _validation, stack
from latflow.trajectories import check_finite

pytestmark = UNSETTLED

NAN, INF = np.nan, np.inf


# ------------------------------------------------------------------ the checks


@pytest.mark.parametrize("value", [0, -1, 2.0, 1.5, "3", None, True, NAN, np.array([1])])
def test_counts(value: object) -> None:
    with pytest.raises(ValueError, match=r"Expected `n` to be an integer >= 1, got "):
        _validation.check_count(value, "n")
    assert _validation.check_count(np.int32(3), "n") == 3
    assert _validation.check_count(0, "n", minimum=0) == 0


@pytest.mark.parametrize("value", [0, -1.5, NAN, INF, "3", None, True, 1j, [1.0]])
def test_positive_numbers(value: object) -> None:
    with pytest.raises(ValueError, match=r"Expected `c` to be a finite number > 0, got "):
        _validation.check_positive(value, "c")
    assert _validation.check_positive(np.float32(0.5), "c") == 0.5
    assert _validation.check_positive(0, "c", allow_zero=True) == 0
    with pytest.raises(ValueError, match=r"Expected `c` to be a finite number >= 0, got -1"):
        _validation.check_positive(-1, "c", allow_zero=True)


@pytest.mark.parametrize(
    ("value", "message"),
    [(1, "0 <= f < 1, got 1"), (1.5, "0 <= f < 1, got 1.5"), (-0.1, ">= 0, got -0.1")],
)
def test_fractions(value: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _validation.check_fraction(value, "f")
    assert _validation.check_fraction(0, "f") == 0


@pytest.mark.parametrize("value", ["rnn", None, 3, ["mlp"]])
def test_options_are_listed(value: object) -> None:
    with pytest.raises(ValueError, match="Expected `encoder` to be one of linear, mlp, got "):
        _validation.check_option(value, "encoder", ("linear", "mlp"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, 2.0], r"one value per frame, shape \(3,\), got \(2,\)"),
        (1.0, r"one value per frame, shape \(3,\), got \(\)"),
        ([[1.0, 2.0, 3.0]], r"one value per frame, shape \(3,\), got \(1, 3\)"),
        ([1.0, NAN, INF], r"finite numbers in `w`, got NaN or infinity at frame 1"),
    ],
)
def test_values_per_frame(values: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _validation.check_per_frame(values, 3, "w")


@pytest.mark.parametrize("value", [0.0, -300.0])
def test_temperatures(value: float) -> None:
    with pytest.raises(ValueError, match=f"`temperature` to be positive, got {value:g} at frame 1"):
        _validation.check_temperatures([300.0, value, -5.0], 3)


def test_weights() -> None:
    with pytest.raises(ValueError, match="no negative value in `weights`, got -2 at frame 2"):
        _validation.check_weights([1.0, 0.0, -2.0], 3)
    with pytest.raises(ValueError, match="one positive value in `weights`, got only zeros"):
        _validation.check_weights([0, 0, 0], 3)
    np.testing.assert_array_equal(_validation.check_weights(None, 3), [1, 1, 1])
    np.testing.assert_allclose(_validation.check_weights([0, 2, 4], 3), [0, 1, 2])


@pytest.mark.parametrize(("value", "name"), [(NAN, "NaN"), (INF, "infinity"), (-INF, "infinity")])
def test_the_first_bad_frame_is_named_in_time_order(value: float, name: str) -> None:
    X = np.zeros((4, 2), dtype=np.float32)
    X[[0, 2], 1] = value
    message = rf"got {name} in trajectory 0, frame 7 \(2 such frames in all\)"
    with pytest.raises(ValueError, match=message):
        check_finite(X, np.array([1, 0, 0, 0]), np.array([0, 8, 7, 6]))


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.zeros((5, 3)), r"Expected `Z` of shape \(n_points, 2\), got \(5, 3\)"),
        (np.zeros(2), r"Expected `Z` of shape \(n_points, 2\), got \(2,\)"),
        ([[0.0, NAN]], "Expected finite numbers in `Z`"),
    ],
)
def test_latent_points(points: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _validation.check_latent_points(points, 2)


def test_a_missing_extra_is_named() -> None:
    def find(module: str) -> Any:
        raise ImportError(module)

    with pytest.raises(ImportError, match=r"`openmm` .* pip install 'latflow\[md\]'"):
        _validation.import_extra("openmm", "md", find=find)
    assert _validation.import_extra("math", "md").pi > 3


# ------------------------------------------------------------------ bad parameters


@pytest.fixture(scope="module")
def data(few_frames: Any) -> tuple[list[np.ndarray], dict[str, Any]]:
    return few_frames


@pytest.fixture(scope="module")
def model(data: Any) -> LaTFEstimator:
    return tiny_latf().fit(data[0], temperature=data[1]["temperature"])


@pytest.fixture(scope="module")
def extrapolator(model: LaTFEstimator, data: Any) -> TemperatureExtrapolator:
    frozen = FrozenEstimator(model)
    estimator = tiny_extrapolator(frozen, method="mbar", temperature_range=(0.6, 2.0))
    return estimator.fit(data[0], **data[1])


def fitted_names(estimator: Any) -> list[str]:
    return [name for name in vars(estimator) if name.endswith("_")]


COUNT, POSITIVE = "to be an integer >= 1", "to be a finite number > 0"
WRONG_PARAMETERS = [
    ("lagtime", 0, COUNT),
    ("lagtime", 2.5, COUNT),
    ("n_components", 0, COUNT),
    ("n_transforms", 0, COUNT),
    ("max_iter", 0, COUNT),
    ("batch_size", 0, COUNT),
    ("n_init", 0, COUNT),
    ("n_threads", 0, COUNT),
    ("n_states", 0, COUNT),
    ("n_states", "many", COUNT),
    ("hidden_features", (4, 0), COUNT),
    ("n_refinements", -1, "to be an integer >= 0"),
    ("learning_rate", 0, POSITIVE),
    ("boltzmann_constant", 0, POSITIVE),
    ("reference_temperature", -1, POSITIVE),
    ("bottleneck", -1, "to be a finite number >= 0"),
    ("kinetic_weight", -0.1, "to be a finite number >= 0"),
    ("tilt", NAN, "to be a finite number >= 0"),
    ("tol", -1, "to be a finite number >= 0"),
    ("validation_fraction", 1, "0 <= validation_fraction < 1"),
    ("encoder", "cnn", "to be one of linear, mlp, got 'cnn'"),
    ("flow", "glow", "to be one of .*affine.*, got 'glow'"),
    ("device", "tpu9", "to be 'auto', 'cpu', 'cuda' or 'cuda:N', got 'tpu9'"),
]


@pytest.mark.parametrize(("name", "value", "message"), WRONG_PARAMETERS)
def test_wrong_parameters_of_latf(data: Any, name: str, value: object, message: str) -> None:
    estimator = tiny_latf(**{name: value})
    with pytest.raises(ValueError, match=f"Expected `{name}` .*{message}"):
        estimator.fit(data[0])
    assert not fitted_names(estimator)


@pytest.mark.parametrize("name", ["latf", "extrapolator"])
def test_hidden_features_are_a_sequence(model: LaTFEstimator, data: Any, name: str) -> None:
    estimator = {
        "latf": tiny_latf(hidden_features=8),
        "extrapolator": TemperatureExtrapolator(FrozenEstimator(model), hidden_features=8),
    }[name]
    with pytest.raises(ValueError, match="`hidden_features`"):
        estimator.fit(data[0], temperature=data[1]["temperature"])


def test_hidden_features_of_the_extrapolator(model: LaTFEstimator, data: Any) -> None:
    estimator = TemperatureExtrapolator(FrozenEstimator(model), hidden_features=(4, 0))
    with pytest.raises(ValueError, match="`hidden_features` to be an integer >= 1, got 0"):
        estimator.fit(data[0], temperature=data[1]["temperature"])


WRONG_EXTRAPOLATION = [
    ("method", "tram", "to be one of enthalpy, tilted, mbar, got 'tram'"),
    ("enthalpy_input", "states", "to be one of features, cvs, got 'states'"),
    ("n_bootstraps", -1, "to be an integer >= 0, got -1"),
    ("n_bootstraps", 5, "to be 0 or at least 10, .*, got 5"),
    ("heat_capacity_prior", -0.1, "to be a finite number >= 0, got -0.1"),
    ("n_transforms", 1.5, COUNT),
    ("max_iter", 0, COUNT),
    ("batch_size", -1, COUNT),
    ("learning_rate", INF, POSITIVE),
    ("temperature_range", (2.0, 1.0), r"to be \(lowest, highest\), got \(2.0, 1.0\)"),
    ("temperature_range", (1.0, 1.0), r"to be \(lowest, highest\)"),
    ("temperature_range", (-1.0, 1.0), POSITIVE),
    ("temperature_range", ("cold", "hot"), POSITIVE),
]


@pytest.mark.parametrize(("name", "value", "message"), WRONG_EXTRAPOLATION)
def test_wrong_parameters_of_the_extrapolator(
    model: LaTFEstimator, data: Any, name: str, value: object, message: str
) -> None:
    estimator = TemperatureExtrapolator(FrozenEstimator(model)).set_params(**{name: value})
    with pytest.raises(ValueError, match=f"Expected `{name}` {message}"):
        estimator.fit(data[0], **data[1])
    assert not fitted_names(estimator)


@pytest.mark.parametrize("value", [(1.0,), 1.0, (0.8, 1.0, 1.2)])
def test_temperature_range_is_a_pair(model: LaTFEstimator, data: Any, value: Any) -> None:
    estimator = TemperatureExtrapolator(FrozenEstimator(model), temperature_range=value)
    with pytest.raises(ValueError, match=r"`temperature_range` to be \(lowest, highest\)"):
        estimator.fit(data[0], **data[1])


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_temperature_range_without_a_simulated_temperature(model: LaTFEstimator, data: Any) -> None:
    frozen = FrozenEstimator(model)
    estimator = tiny_extrapolator(frozen, method="mbar", temperature_range=(1.0, 1.1))
    estimator.fit(data[0], **data[1])
    assert np.isnan(estimator.free_energy([[0.0, 0.0], [1e3, 1e3]], 1.05)[1])


@pytest.mark.parametrize("wrong", [KernelDensity(), FrozenEstimator(KernelDensity()), "latf"])
def test_an_estimator_that_is_no_transformer(data: Any, wrong: Any) -> None:
    name = "str" if wrong == "latf" else "KernelDensity"
    with pytest.raises(TypeError, match=f"`estimator` to be a transformer, .*, got {name}"):
        TemperatureExtrapolator(wrong).fit(data[0], **data[1])


def test_tilted_needs_a_latf_estimator(data: Any) -> None:
    with pytest.raises(TypeError, match="LaTFEstimator for method='tilted', got PCA"):
        TemperatureExtrapolator(PCA(), method="tilted").fit(data[0], **data[1])


def test_frozen_estimator_must_be_fitted(data: Any) -> None:
    with pytest.raises(NotFittedError, match="LaTFEstimator instance is not fitted"):
        TemperatureExtrapolator(FrozenEstimator(tiny_latf())).fit(data[0], **data[1])


@pytest.mark.parametrize("width", [1, 4])
def test_frozen_estimator_must_know_these_features(
    model: LaTFEstimator, data: Any, width: int
) -> None:
    X = [np.tile(x, 2)[:, :width] for x in data[0]]
    with pytest.raises(ValueError, match=f"{width} features"):
        tiny_extrapolator(FrozenEstimator(model), method="mbar").fit(X, **data[1])


def test_a_frozen_estimator_without_temperature_draws_at_the_lowest(data: Any) -> None:
    frozen = FrozenEstimator(tiny_latf().fit(data[0]))
    estimator = tiny_extrapolator(frozen, method="mbar").fit(data[0], **data[1])
    lowest = estimator.sample(3, min(data[1]["temperature"]), random_state=0)
    np.testing.assert_array_equal(estimator.sample(3, random_state=0), lowest)


# ------------------------------------------------------------------ bad data


def spoil(k: int, value: Any) -> Callable[[list[np.ndarray]], list[np.ndarray]]:
    """Put a value into frame 5 of trajectory k, or something else in the trajectory's place."""

    def spoiled(X: list[np.ndarray]) -> list[np.ndarray]:
        X = [x.copy() for x in X]
        if isinstance(value, float):
            X[k][5, 1] = value
        else:
            X[k] = value
        return X

    return spoiled


def keep(X: list[np.ndarray]) -> list[np.ndarray]:
    return X


HOT = [0.8, 0.8, 1.2]
WRONG_DATA = {
    "NaN": (spoil(2, NAN), {}, r"got NaN in trajectory 2, frame 5 \(1 such frames in all\)"),
    "infinity": (spoil(1, INF), {}, "got infinity in trajectory 1, frame 5"),
    "width": (spoil(3, np.zeros((60, 3))), {}, "Expected 2 features .* got 3 in trajectory 3"),
    "vector": (spoil(1, np.zeros(60)), {}, r"Expected trajectory 1 of shape .*, got \(60,\)"),
    "too short": (lambda X: [x[:3] for x in X], {}, "Expected a trajectory longer than lagtime=3"),
    "tuple": (tuple, {}, "got a tuple, which could mean pairs"),
    "temperature: number": (keep, {"temperature": 0.8}, r"per trajectory \(4\), got a single"),
    "temperature: three": (keep, {"temperature": HOT}, r"per trajectory \(4\), got 3"),
    "temperature: negative": (keep, {"temperature": [*HOT, -1]}, "positive, got -1 at frame 180"),
    "temperature: zero": (keep, {"temperature": [*HOT, 0]}, "positive, got 0 at frame 180"),
    "temperature: NaN": (keep, {"temperature": [*HOT, NAN]}, "finite numbers in `temperature`"),
    "temperature: frames": (
        keep,
        {"temperature": [np.ones(7)] * 4},
        r"`temperature` of trajectory 0 to be a number or one value per frame, shape \(60,\)",
    ),
    "weights: negative": (keep, {"weights": [1, 1, -1, 1]}, "no negative value in `weights`"),
    "weights: zeros": (keep, {"weights": [0, 0, 0, 0]}, "one positive value in `weights`"),
    "weights: NaN": (keep, {"weights": [1, 1, NAN, 1]}, "finite numbers in `weights`"),
    "weights: number": (keep, {"weights": 2.0}, "`weights` to hold one entry per trajectory"),
    "states: two": (keep, {"initial_states": [0, 1]}, "`initial_states` to hold one entry per tra"),
    "states: fraction": (keep, {"initial_states": [0.5] * 4}, "one integer per frame"),
    "states: names": (keep, {"initial_states": list("abcd")}, "one integer per frame"),
}
data_errors = pytest.mark.parametrize("case", WRONG_DATA)


@data_errors
def test_wrong_data_of_latf(data: Any, case: str) -> None:
    change, metadata, message = WRONG_DATA[case]
    known = {"temperature": data[1]["temperature"]} if isinstance(change(data[0]), list) else {}
    with pytest.raises(ValueError, match=message):
        tiny_latf().fit(change(data[0]), **known | metadata)


@data_errors
@pytest.mark.parametrize("method", ["enthalpy", "mbar"])
def test_wrong_data_of_the_extrapolator(data: Any, case: str, method: str) -> None:
    change, metadata, message = WRONG_DATA[case]
    known = data[1] if isinstance(change(data[0]), list) else {}
    if case == "too short":
        known = known | {"energy": [u[:3] for u in known["energy"]]}
    with pytest.raises(ValueError, match=message):
        TemperatureExtrapolator(tiny_latf(), method=method).fit(change(data[0]), **known | metadata)


@pytest.mark.parametrize(
    "estimator", [tiny_latf(), TemperatureExtrapolator(tiny_latf())], ids=["latf", "T"]
)
def test_wrong_data_leave_nothing_behind(data: Any, estimator: Any) -> None:
    for change, metadata, message in WRONG_DATA.values():
        fresh = clone(estimator)
        with pytest.raises(ValueError, match=message):
            fresh.fit(change(data[0]), **metadata)
        assert not fitted_names(fresh)
        with pytest.raises(NotFittedError):
            fresh.transform(data[0])


def test_a_refit_with_wrong_data_leaves_the_old_model(model: LaTFEstimator, data: Any) -> None:
    again = copy.deepcopy(model)
    with pytest.raises(ValueError, match="got NaN"):
        again.fit(np.full((50, 3), NAN), temperature=np.full(50, 3.0))
    for found, expected in zip(again.transform(data[0]), model.transform(data[0]), strict=True):
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(again.temperatures_, model.temperatures_)


@pytest.mark.parametrize("method", ["enthalpy", "mbar"])
def test_one_temperature_is_too_few(data: Any, method: str) -> None:
    message = f"at least two values for method='{method}', got 0.8 only"
    with pytest.raises(ValueError, match=message):
        TemperatureExtrapolator(tiny_latf(), method=method).fit(data[0], temperature=[0.8] * 4)


@pytest.mark.parametrize(
    ("energy", "message"),
    [
        (None, "Expected `energy`, .* for method='mbar', got None"),
        (1.0, r"`energy` to hold one entry per trajectory \(4\), got a single number"),
        ([1.0, 2.0], r"`energy` to hold one entry per trajectory \(4\), got 2"),
        ([np.zeros(59)] * 4, r"`energy` of trajectory 0 .* shape \(60,\), got \(59,\)"),
        ([np.full(60, NAN)] * 4, "finite numbers in `energy`, got NaN"),
    ],
)
def test_mbar_needs_an_energy_of_every_frame(data: Any, energy: Any, message: str) -> None:
    estimator = TemperatureExtrapolator(tiny_latf(), method="mbar")
    with pytest.raises(ValueError, match=message):
        estimator.fit(data[0], temperature=data[1]["temperature"], energy=energy)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("temperature", 300.0, r"`temperature` to hold one value per frame, shape \(240,\), got"),
        ("weights", np.ones(239), r"`weights` to hold one value per frame.* got \(239,\)"),
        ("initial_states", np.zeros(7), r"`initial_states` to hold one integer per frame \(240\)"),
        ("trajectory", np.zeros(7), "inconsistent numbers of samples"),
        ("frame", np.linspace(0, 1, 240), "`frame` to hold integers, got fractions"),
        ("frame", np.zeros(240), r"every \(trajectory, frame\) once"),
    ],
)
def test_wrong_metadata_of_a_stacked_array(data: Any, name: str, values: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiny_latf().fit(np.concatenate(data[0]), **{name: values})


def test_a_bad_frame_is_named_by_the_ids_of_the_caller(data: Any) -> None:
    X, rows = stack(spoil(2, NAN)(data[0]))
    with pytest.raises(ValueError, match="trajectory 120, frame 5"):
        tiny_latf().fit(X, trajectory=rows["trajectory"] + 118, frame=rows["frame"])


def test_a_bad_frame_of_a_list_is_named_later_too(model: LaTFEstimator, data: Any) -> None:
    with pytest.raises(ValueError, match="trajectory 2, frame 5"):
        model.transform(spoil(2, NAN)(data[0]))


MISSING = {
    "None": (object, None),
    "NaN": (object, np.nan),
    "NA of an object": (object, pd.NA),
    "NA of a nullable column": ("Float64", pd.NA),
    "NA of integers": ("Int64", pd.NA),
}


@pytest.mark.parametrize("kind", MISSING)
@pytest.mark.parametrize("container", [pd.DataFrame, np.asarray])
def test_a_missing_number_is_named_where_it_is(
    model: LaTFEstimator, data: Any, kind: str, container: Any
) -> None:
    dtype, value = MISSING[kind]
    frames = [pd.DataFrame(np.round(x)).astype(dtype) for x in data[0]]
    frames[2].iloc[5, 1] = value
    for call in (tiny_latf().fit, model.transform, model.predict):
        with pytest.raises(ValueError, match="NaN in trajectory 2, frame 5"):
            call([container(x) for x in frames])
    with pytest.raises(ValueError, match="NaN in trajectory 0, frame 5"):
        model.transform(container(frames[2]))


def test_numbers_in_object_and_nullable_columns_are_numbers(
    model: LaTFEstimator, data: Any
) -> None:
    x = pd.DataFrame(data[0][0])
    for other in (x.astype(object), x.astype("Float64"), np.asarray(x, dtype=object)):
        np.testing.assert_array_equal(model.transform(other), model.transform(data[0][0]))
        np.testing.assert_array_equal(model.transform([other])[0], model.transform(data[0][0]))


def masked(values: Any, at: int = 3) -> np.ma.MaskedArray:
    mask = np.zeros(np.shape(values), dtype=bool)
    mask[at] = True
    return np.ma.MaskedArray(values, mask)


@pytest.mark.parametrize(
    "name", ["temperature", "energy", "weights", "states", "initial_states", "pressure", "volume"]
)
@pytest.mark.parametrize("listed", [True, False])
def test_masked_metadata_are_refused(data: Any, name: str, listed: bool) -> None:
    """Whose fill values would be fitted."""
    X, known = data
    n = len(X[0])
    values: dict[str, Any] = {key: [np.ones(n) for _ in X] for key in ("pressure", "volume")}
    values |= {
        key: [np.full(n, v) if np.ndim(v) == 0 else v for v in x] for key, x in known.items()
    }
    values[name] = [masked(np.ones(n, dtype=int)) for _ in X]
    if not listed:
        values = {key: np.ma.concatenate(x) for key, x in values.items()}
    with pytest.raises(ValueError, match=f"`{name}`.* got a masked array with"):
        tiny_extrapolator().fit(X if listed else np.concatenate(X), **values)


def test_masked_frames_points_and_observables_are_refused(
    model: LaTFEstimator, extrapolator: TemperatureExtrapolator, data: Any
) -> None:
    X = data[0]
    calls = {
        "`X`": (model.transform, masked(X[0])),
        "trajectory 1": (model.transform, [X[0], masked(X[1])]),
        "trajectory 0": (model.predict, [[masked([1.0, 2.0], 1), [1.0, 2.0]]]),
        "`Z`": (model.log_density, masked(np.zeros((5, 2)))),
        "`U`": (model.from_prior, masked(np.zeros((5, 2)))),
    }
    for name, (call, values) in calls.items():
        with pytest.raises(ValueError, match=f"{name}, got a masked array"):
            call(values)
    observable = [masked(np.zeros(len(x))) for x in extrapolator.labels_]
    with pytest.raises(ValueError, match="`values` of trajectory 0, got a masked array"):
        extrapolator.expectation(observable, 1.0)


def test_arrays_of_which_nothing_is_masked_are_their_data(model: LaTFEstimator, data: Any) -> None:
    bare = np.ma.MaskedArray(data[0][0])
    np.testing.assert_array_equal(model.transform(bare), model.transform(data[0][0]))


def test_states_numbered_with_wide_gaps_are_refused(data: Any) -> None:
    """They would fill memory with tables of states that there are not."""
    X, known = data
    states = [np.where(x[:, 0] > 0, 10_000, 0) for x in X]
    with pytest.raises(ValueError, match=r"`states` to be numbered from 0 .* up to 10000: np.uniq"):
        tiny_extrapolator().fit(X, **known, states=states)


@pytest.mark.parametrize("refinements", [0, 2])
def test_fewer_frames_than_features_that_tell_nothing_get_advice(refinements: int) -> None:
    X = np.random.default_rng(0).normal(size=(20, 50))
    with pytest.warns(UserWarning, match="20 frames of 50 features.*fewer features.*transpose"):
        tiny_latf(n_refinements=refinements, n_states=1).fit(X)


def test_a_trajectory_without_frames(data: Any) -> None:
    with pytest.raises(ValueError, match="trajectory 0"):
        tiny_latf().fit([data[0][0][:0], *data[0]])


def test_data_frames_with_different_columns(data: Any) -> None:
    frames = [pd.DataFrame(data[0][k], columns=["x", c]) for k, c in enumerate("yz")]
    with pytest.raises(ValueError, match=r"columns|feature names"):
        tiny_latf().fit(frames)


@pytest.mark.parametrize("method", ["enthalpy", "mbar"])
def test_a_temperature_without_weight(model: LaTFEstimator, data: Any, method: str) -> None:
    estimator = TemperatureExtrapolator(FrozenEstimator(model), method=method, max_iter=20)
    with pytest.raises(ValueError, match="`weights`"):
        estimator.fit(data[0], **data[1], weights=[1, 1, 0, 0])


# ------------------------------------------------------------------ questions to a fitted model


@pytest.mark.parametrize("name", ["log_density", "predict_latent", "to_prior", "from_prior"])
@pytest.mark.parametrize("width", [1, 3])
def test_latent_width_of_latf(model: LaTFEstimator, name: str, width: int) -> None:
    with pytest.raises(ValueError, match=rf"shape \(n_points, 2\), got \(5, {width}\)"):
        getattr(model, name)(np.zeros((5, width)))


@pytest.mark.parametrize("name", ["log_density", "free_energy"])
def test_latent_width_of_the_extrapolator(extrapolator: TemperatureExtrapolator, name: str) -> None:
    with pytest.raises(ValueError, match=r"`Z` of shape \(n_points, 2\), got \(5, 3\)"):
        getattr(extrapolator, name)(np.zeros((5, 3)), 1.0)


FRAME_WISE = ["transform", "predict", "predict_proba", "score_samples", "score"]


@pytest.mark.parametrize("name", FRAME_WISE)
def test_features_of_another_width(model: LaTFEstimator, name: str) -> None:
    with pytest.raises(ValueError, match="X has 3 features, but LaTFEstimator is expecting 2"):
        getattr(model, name)(np.zeros((9, 3)))
    bad = np.zeros((9, 2))
    bad[4] = INF
    with pytest.raises(ValueError, match="got infinity in trajectory 0, frame 4"):
        getattr(model, name)(bad)


QUESTIONS: dict[str, Callable[[Any, float], Any]] = {
    "sample": lambda estimator, t: estimator.sample(2, t),
    "log_density": lambda estimator, t: estimator.log_density(np.zeros((3, 2)), t),
    "score_samples": lambda estimator, t: estimator.score_samples(np.zeros((3, 2)), t),
    "interpolate": lambda estimator, t: estimator.interpolate([0, 0], [1, 1], temperature=t),
    "frame_weights": lambda estimator, t: estimator.frame_weights(t),
    "free_energy": lambda estimator, t: estimator.free_energy(np.zeros((3, 2)), t),
    "state_populations": lambda estimator, t: estimator.state_populations([t]),
    "expectation": lambda estimator, t: estimator.expectation([np.ones(60)] * 4, [t]),
}
OF_LATF = ["sample", "log_density", "score_samples", "interpolate"]
OF_EXTRAPOLATOR = [*OF_LATF[:2], *list(QUESTIONS)[4:]]
bad_temperatures = pytest.mark.parametrize("temperature", [0.0, -1.0, NAN, INF])


@bad_temperatures
@pytest.mark.parametrize("question", OF_LATF)
def test_temperatures_asked_of_latf(
    model: LaTFEstimator, question: str, temperature: float
) -> None:
    with pytest.raises(ValueError, match="`temperature` to be a finite number > 0"):
        QUESTIONS[question](model, temperature)


@bad_temperatures
@pytest.mark.parametrize("question", OF_EXTRAPOLATOR)
def test_temperatures_asked_of_the_extrapolator(
    extrapolator: TemperatureExtrapolator, question: str, temperature: float
) -> None:
    with pytest.raises(ValueError, match="`temperature` to be a finite number > 0"):
        QUESTIONS[question](extrapolator, temperature)


def test_several_temperatures_at_once(model: LaTFEstimator) -> None:
    with pytest.raises(ValueError, match=r"to be one number, got shape \(2,\)"):
        model.sample(2, [0.8, 1.2])
    with pytest.raises(ValueError, match=r"to be one number or shape \(3,\), got shape \(2,\)"):
        model.log_density(np.zeros((3, 2)), [0.8, 1.2])


@pytest.mark.parametrize("question", OF_LATF)
def test_latf_without_temperature_answers_for_none(data: Any, question: str) -> None:
    unnamed = tiny_latf().fit(data[0])
    with pytest.raises(ValueError, match=r"fit was given none.* Pass `temperature` to fit"):
        QUESTIONS[question](unnamed, 1.0)


@pytest.mark.parametrize("question", OF_EXTRAPOLATOR)
def test_extrapolator_without_temperature_answers_for_none(
    model: LaTFEstimator, data: Any, question: str
) -> None:
    unnamed = tiny_extrapolator(FrozenEstimator(model)).fit(data[0])
    with pytest.raises(ValueError, match=r"fit was given none.*Pass `temperature`"):
        QUESTIONS[question](unnamed, 1.0)


@pytest.mark.parametrize("temperature", [0.59, 2.01])
@pytest.mark.parametrize("question", ["sample", "log_density", "free_energy"])
def test_temperatures_outside_the_range_of_the_generator(
    extrapolator: TemperatureExtrapolator, question: str, temperature: float
) -> None:
    message = r"from 0.6 to 2, the range .* got .*: fit with a wider `temperature_range`"
    with pytest.raises(ValueError, match=message):
        QUESTIONS[question](extrapolator, temperature)


def test_counts_asked(model: LaTFEstimator, extrapolator: TemperatureExtrapolator) -> None:
    for estimator in (model, extrapolator):
        with pytest.raises(ValueError, match="`n_samples` to be an integer >= 1, got 0"):
            estimator.sample(0, 1.0)
    with pytest.raises(ValueError, match="`n` to be an integer >= 2, got 1"):
        model.interpolate([0, 0], [1, 1], 1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([np.ones(60)] * 3, r"`values` to hold one entry per trajectory \(4\), got 3"),
        ([np.ones(59)] * 4, r"`values` of trajectory 0 .* shape \(60,\), got \(59,\)"),
        ([np.full(60, NAN)] * 4, "finite numbers in `values`"),
    ],
)
def test_observables_have_one_value_per_frame(
    extrapolator: TemperatureExtrapolator, values: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        extrapolator.expectation(values, 1.0)


def test_unit_of_free_energy(extrapolator: TemperatureExtrapolator) -> None:
    with pytest.raises(ValueError, match="`unit` to be one of energy, kT, got 'kcal'"):
        extrapolator.free_energy(np.zeros((3, 2)), 1.0, unit="kcal")


# ------------------------------------------------------------------ before fit


ANSWER_BEFORE_FIT = {"fetch_model", "get_metadata_routing", "get_params"}
ARGUMENTS: dict[str, Any] = {
    "temperature": 1.0,
    "temperatures": [1.0],
    "values": np.zeros(3),
    "z_a": np.zeros(2),
    "z_b": np.ones(2),
}


def public_methods(cls: type) -> list[str]:
    names = [name for name, _ in inspect.getmembers(cls, inspect.isfunction) if name[0] != "_"]
    skipped = ("fit", "set_")
    return [n for n in names if not n.startswith(skipped) and n not in ANSWER_BEFORE_FIT]


def required(method: Callable[..., Any]) -> list[str]:
    parameters = inspect.signature(method).parameters.values()
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    empty = inspect.Parameter.empty
    return [p.name for p in parameters if p.default is empty and p.kind not in kinds]


@pytest.mark.parametrize(
    ("cls", "name"),
    [(cls, n) for cls in (LaTFEstimator, TemperatureExtrapolator) for n in public_methods(cls)],
)
def test_nothing_answers_before_fit(cls: type, name: str) -> None:
    method = getattr(cls(), name)
    arguments = {p: ARGUMENTS.get(p, np.zeros((3, 2))) for p in required(method)}
    with pytest.raises(NotFittedError, match=f"This {cls.__name__} instance is not fitted yet"):
        method(**arguments)


def test_public_methods_are_found() -> None:
    assert {"transform", "predict", "sample", "score"} <= set(public_methods(LaTFEstimator))
    assert {"frame_weights", "free_energy"} <= set(public_methods(TemperatureExtrapolator))
    assert LaTFEstimator().fetch_model() is None
    assert not LaTFEstimator().has_model


# ------------------------------------------------------------------ what is passed in stays


@pytest.mark.filterwarnings("ignore:Of 3 `initial_states`:UserWarning")
def test_arrays_and_parameters_stay_as_they_were(model: LaTFEstimator, data: Any) -> None:
    X, metadata = stack(
        data[0], **data[1], weights=[1.0, 2.0, 1.0, 3.0], initial_states=[0, 1, 2, 1]
    )
    energy = metadata.pop("energy")
    arrays = {"X": X, "energy": energy, **metadata}
    before = {name: array.copy() for name, array in arrays.items()}
    for array in arrays.values():
        array.setflags(write=False)
    for method in ("enthalpy", "mbar"):
        estimator = tiny_extrapolator(method=method)
        parameters = repr(estimator.get_params())
        estimator.fit(X, **metadata, energy=energy)
        estimator.expectation(energy, [1.0])
        assert repr(estimator.get_params()) == parameters
        assert not fitted_names(estimator.estimator)
    for name in FRAME_WISE[:-1]:
        getattr(model, name)(X)
    metadata.pop("initial_states")
    model.score(X, **metadata)
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, before[name])


def test_lists_stay_as_they_were(data: Any) -> None:
    X, metadata = list(data[0]), {name: list(values) for name, values in data[1].items()}
    tiny_extrapolator(method="mbar").fit(X, **metadata)
    assert [id(x) for x in X] == [id(x) for x in data[0]]
    assert metadata.keys() == data[1].keys()
    assert metadata["temperature"] == data[1]["temperature"]
