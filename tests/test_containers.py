"""Frames in every container that has a meaning, of every layout, in every call that takes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from conftest import UNSETTLED, fit_quietly, tiny_extrapolator, tiny_latf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.model_selection import GroupKFold, KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from latflow import LaTFEstimator, PerFrame, stack
from latflow.plotting import (
    FreeEnergyDisplay,
    HistoryDisplay,
    MeltingCurveDisplay,
    PopulationsDisplay,
    StatesDisplay,
    SupportDisplay,
)

pytestmark = [*UNSETTLED, pytest.mark.filterwarnings("ignore::UserWarning")]

TEMPERATURES = [1.0, 1.0, 1.5, 1.5]
LENGTHS = (60, 45, 70, 52)
FRAME_WISE = ("transform", "predict", "predict_proba", "score_samples")
WIDTHS = (1, 2, 3)

# what a caller may hold one trajectory in; float16 and whole numbers are data of their own
LAYOUTS: dict[str, Callable[[np.ndarray], Any]] = {
    "float64": np.asarray,
    "big-endian": lambda x: x.astype(">f8"),
    "Fortran": np.asfortranarray,
    "every second of twice": lambda x: np.repeat(x, 2, axis=0)[::2],
    "columns of more": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "backwards twice": lambda x: x[::-1].copy()[::-1],
    "read-only": lambda x: frozen(x),
    "pandas": pd.DataFrame,
    "pandas, nullable": lambda x: pd.DataFrame(x).astype("Float64"),
    "objects": lambda x: x.astype(object),
    "nothing masked": lambda x: np.ma.MaskedArray(x, mask=np.zeros(x.shape, dtype=bool)),
    "nested list": lambda x: x.tolist(),
}
DTYPES = (np.float16, np.float32, np.float64, np.longdouble, np.int8, np.int64, np.uint16, ">f4")


def frozen(x: np.ndarray) -> np.ndarray:
    copied = x.copy()
    copied.setflags(write=False)
    return copied


def walks(width: int, lengths: tuple[int, ...] = LENGTHS, seed: int = 0) -> list[np.ndarray]:
    """Return trajectories of two wells in the first feature; the others are noise.

    Their numbers are multiples of an eighth, which single and half precision hold exactly.
    """
    rng = np.random.default_rng(seed)
    each = []
    for n in lengths:
        x = rng.normal(size=(n, width))
        x[:, 0] += 4 * np.cumsum(rng.random(n) < 0.2) % 8
        each.append(np.round(8 * x) / 8)
    return each


@pytest.fixture(scope="module")
def models() -> dict[int, list[Any]]:
    """Fitted models of each width: of one temperature, of several, and behind a pipeline."""
    fitted: dict[int, list[Any]] = {}
    for width in WIDTHS:
        latf = tiny_latf(n_components=1)
        pipeline = make_pipeline(PerFrame(StandardScaler()), clone(latf))
        fitted[width] = [
            fit_quietly(latf, walks(width), temperature=TEMPERATURES),
            fit_quietly(tiny_extrapolator(clone(latf)), walks(width), temperature=TEMPERATURES),
            fit_quietly(pipeline, walks(width)),
        ]
    return fitted


def calls(model: Any) -> list[Callable[[Any], Any]]:
    options = {"temperature": 1.0} if isinstance(model, LaTFEstimator) else {}
    return [
        (lambda X, name=name: getattr(model, name)(X, **options))
        if name == "score_samples"
        else getattr(model, name)
        for name in FRAME_WISE
        if hasattr(model, name)
    ]


# ------------------------------------------------------------------ one array, and lists of them


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("width", WIDTHS)
def test_every_layout_gives_the_same_answers(
    models: dict[int, list[Any]], width: int, layout: str
) -> None:
    X = walks(width, seed=1)
    held = [LAYOUTS[layout](x) for x in X]
    for model in models[width]:
        for call in calls(model):
            expected = [call(x) for x in X]
            for one, several, answer in zip(
                [call(x) for x in held], call(held), expected, strict=True
            ):
                np.testing.assert_array_equal(one, answer)
                np.testing.assert_array_equal(several, answer)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    width=st.sampled_from(WIDTHS),
    dtypes=st.lists(st.sampled_from(DTYPES), min_size=4, max_size=4),
    layouts=st.lists(st.sampled_from(sorted(LAYOUTS)), min_size=4, max_size=4),
    seed=st.integers(0, 2**32 - 1),
)
def test_layouts_and_dtypes_may_be_mixed(
    models: dict[int, list[Any]],
    lengths: list[int],
    width: int,
    dtypes: list[Any],
    layouts: list[str],
    seed: int,
) -> None:
    """The numbers count, not what holds them; one frame is enough for an answer.

    Without the pipeline, whose StandardScaler scales half precision in half precision.
    """
    X = [
        x.astype(dtype)
        for x, dtype in zip(walks(width, tuple(lengths), seed), dtypes, strict=False)
    ]
    X = [np.abs(x) if np.issubdtype(x.dtype, np.unsignedinteger) else x for x in X]
    held = [LAYOUTS[layout](x) for x, layout in zip(X, layouts, strict=False)]
    for model in models[width][:2]:
        for call in calls(model):
            for answer, x in zip(call(held), X, strict=True):
                expected = call(x.astype(np.float64))
                np.testing.assert_allclose(answer, expected, rtol=1e-6, atol=1e-6)
                assert len(answer) == len(x)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_fit(layout: str) -> None:
    X = walks(2)
    expected = fit_quietly(tiny_latf(), X, temperature=TEMPERATURES)
    fitted = fit_quietly(tiny_latf(), [LAYOUTS[layout](x) for x in X], temperature=TEMPERATURES)
    for answer, other in zip(fitted.transform(X), expected.transform(X), strict=True):
        np.testing.assert_allclose(answer, other, rtol=1e-9, atol=1e-12)  # sums' order


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int16, ">f4"])
def test_every_dtype_gives_the_same_fit(dtype: Any) -> None:
    X = [np.round(x).astype(dtype) for x in walks(2)]
    expected = fit_quietly(tiny_latf(), [x.astype(float) for x in X], temperature=TEMPERATURES)
    fitted = fit_quietly(tiny_latf(), X, temperature=TEMPERATURES)
    for answer, other in zip(fitted.transform(X), expected.transform(X), strict=True):
        np.testing.assert_allclose(answer, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("X", [np.zeros((30, 0)), pd.DataFrame(index=range(30)), [[]] * 30])
def test_no_feature_is_refused_in_a_sentence(models: dict[int, list[Any]], X: Any) -> None:
    message = r"0 feature\(s\)|without columns|0 features"
    for held in (X, [X, X]):
        with pytest.raises(ValueError, match=message):
            tiny_latf().fit(held)
        for model in models[2]:
            for call in calls(model):
                with pytest.raises(ValueError, match=message):
                    call(held)


# ------------------------------------------------------------------ cross_val_predict


@pytest.mark.parametrize("lengths", [LENGTHS, (50,) * 4])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_cross_val_predict_answers_by_trajectory(
    lengths: tuple[int, ...], shuffle: bool, method: str
) -> None:
    X = walks(2, lengths)
    folds = KFold(2, shuffle=shuffle, random_state=3 if shuffle else None)
    answers = cross_val_predict(tiny_latf(), X, cv=folds, method=method)
    assert answers.shape == (4,)
    for train, test in folds.split(X):
        model = tiny_latf().fit([X[t] for t in train])
        for t in test:
            np.testing.assert_array_equal(answers[t], getattr(model, method)(X[t]))


@pytest.mark.usefixtures("routing")
def test_cross_val_predict_of_the_extrapolator_passes_temperatures_on() -> None:
    X = walks(2)
    model = tiny_extrapolator().set_fit_request(temperature=True)
    order = [0, 2, 1, 3]  # each fold trains at both temperatures
    X, temperature = [X[t] for t in order], [TEMPERATURES[t] for t in order]
    answers = cross_val_predict(model, X, cv=KFold(2), params={"temperature": temperature})
    fitted = clone(model).fit(X[:2], temperature=temperature[:2])
    for t in (2, 3):
        np.testing.assert_array_equal(answers[t], fitted.predict(X[t]))


@pytest.mark.parametrize(
    "layout", ["pandas", "objects", "read-only", "big-endian", "every second of twice"]
)
def test_cross_val_predict_takes_every_layout(layout: str) -> None:
    X = walks(2)
    expected = cross_val_predict(tiny_latf(), X, cv=KFold(2))
    held = [LAYOUTS[layout](x) for x in X]
    for answer, other in zip(
        cross_val_predict(tiny_latf(), held, cv=KFold(2)), expected, strict=True
    ):
        np.testing.assert_array_equal(answer, other)


def test_cross_val_predict_of_stacked_frames_answers_by_frame() -> None:
    X, rows = stack(walks(2))
    answers = cross_val_predict(
        tiny_latf(), X, groups=rows["trajectory"], cv=GroupKFold(2), method="predict"
    )
    assert answers.shape == (len(X),)


def test_lists_joined_one_after_the_other_are_objects(models: dict[int, list[Any]]) -> None:
    X = walks(2)
    labels = models[2][0].predict(X)
    joined = np.concatenate([labels, labels])
    assert joined.shape == (8,)
    np.testing.assert_array_equal(joined[5], labels[1])
    # the frames of one list are joined along time, as those of any list of arrays
    assert np.concatenate(labels).shape == (sum(LENGTHS),)


# ------------------------------------------------------------------ displays


@pytest.fixture(autouse=True)
def figures_are_closed() -> Any:
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    yield
    plt.close("all")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("width", WIDTHS)
def test_states_are_drawn_from_every_layout(
    models: dict[int, list[Any]], width: int, layout: str
) -> None:
    X = walks(width)
    for model in models[width][:2]:
        expected = StatesDisplay.from_estimator(model, np.concatenate(X))
        for held in ([LAYOUTS[layout](x) for x in X], LAYOUTS[layout](np.concatenate(X))):
            display = StatesDisplay.from_estimator(model, held)
            np.testing.assert_array_equal(display.z, expected.z)
            np.testing.assert_array_equal(display.states, expected.states)


@pytest.mark.parametrize(
    "container", [list, tuple, np.array, pd.Series, lambda t: np.array(t, np.float32)]
)
def test_temperatures_of_displays_come_in_every_container(
    models: dict[int, list[Any]], container: Callable[..., Any]
) -> None:
    model = models[2][1]
    temperature = container([1.0, 1.25])
    for display in (
        FreeEnergyDisplay.from_estimator(model, temperature=temperature),
        PopulationsDisplay.from_estimator(model, temperature=temperature),
        SupportDisplay.from_estimator(model, temperature=temperature),
        MeltingCurveDisplay.from_estimator(model, 0, temperature=temperature),
        HistoryDisplay.from_estimator(model),
    ):
        assert display.figure_ is not None


def test_a_single_frame_is_drawn(models: dict[int, list[Any]]) -> None:
    for model in models[1][:2]:
        display = StatesDisplay.from_estimator(model, walks(1, (1,)))
        assert len(display.z) == 1


def test_frames_projected_by_pca_may_be_none(models: dict[int, list[Any]]) -> None:
    projected = fit_quietly(
        tiny_extrapolator(PCA(1)),
        walks(2),
        temperature=TEMPERATURES,
        states=[(x[:, 0] > 4).astype(int) for x in walks(2)],
    )
    answers = projected.transform([walks(2)[0], np.zeros((0, 2))])
    assert [np.shape(z) for z in answers] == [(60, 1), (0, 1)]
