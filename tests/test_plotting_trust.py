"""Displays of melting and of support, tested by the numbers in their artists."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator

from latflow import LaTFEstimator, TemperatureExtrapolator
from latflow.plotting import MeltingCurveDisplay, PopulationsDisplay, SupportDisplay
from latflow.plotting.support import spans
from latflow.thermodynamics import MeltingTemperature
from latflow.thermodynamics.support import LEAST_FRACTION
from latflow.units import with_error

T = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
WORDS = ["unsupported", "extrapolated", "supported", "supported", "extrapolated", "extrapolated"]


@pytest.fixture(autouse=True)
def pyplot(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    monkeypatch.setattr(plt, "show", lambda *_, **__: pytest.fail("a display was shown"))
    yield plt
    plt.close("all")


def support(words: list[str] = WORDS, fraction: Any = (0.01, 0.1, 1, 1, 0.5, 0.1)) -> pd.DataFrame:
    index = pd.Index(T[: len(words)], name="temperature")
    columns = {"effective_fraction": np.array(fraction[: len(words)]), "support": words}
    return pd.DataFrame(columns, index=index)


def populations(state: int = 0) -> pd.DataFrame:
    index = pd.MultiIndex.from_product([T, [state]], names=["temperature", "state"])
    return pd.DataFrame({"population": np.linspace(1, 0, 6), "standard_error": 0.1}, index=index)


def curve(**options: Any) -> MeltingCurveDisplay:
    return MeltingCurveDisplay(populations(), 0, **options).plot()


def legend(display: Any) -> list[str]:
    return [text.get_text() for text in display.ax_.get_legend().get_texts()]


def edges(patches: list[Any]) -> list[tuple[float, float, str]]:
    """Ends and verdict of shades; those of a verdict shaded before are hidden from the legend."""
    ends = [(p.get_x(), p.get_x() + p.get_width()) for p in patches]
    return [(*map(float, e), p.get_label().strip("_")) for e, p in zip(ends, patches, strict=True)]


def written(display: Any) -> list[str]:
    return [text.get_text() for text in display.ax_.texts]


class TestShading:
    def test_between_two_temperatures_the_worse_verdict_holds(self) -> None:
        assert spans(support()) == [
            (1.0, 2.0, "unsupported"),
            (2.0, 3.0, "extrapolated"),
            (3.0, 4.0, "supported"),
            (4.0, 6.0, "extrapolated"),
        ]

    def test_a_lone_island_of_doubt_is_shaded_to_both_sides(self) -> None:
        found = spans(support(["supported", "unsupported", "supported"]))
        assert found == [(1.0, 3.0, "unsupported")]

    @pytest.mark.parametrize("kind", [PopulationsDisplay, MeltingCurveDisplay, SupportDisplay])
    def test_displays_shade_up_to_the_limits_of_the_axis(self, kind: Any) -> None:
        if kind is SupportDisplay:
            display = kind(support())
        else:
            display = kind(populations(), *[0] * (kind is MeltingCurveDisplay), support=support())
        left, right = display.plot().ax_.get_xlim()
        assert left < T[0]
        assert right > T[-1]
        wanted = [(left, 2.0, "unsupported"), (2.0, 3.0, "extrapolated"),
                  (3.0, 4.0, "supported"), (4.0, right, "extrapolated")]  # fmt: skip
        if kind is not SupportDisplay:  # what is supported stays white
            wanted.pop(2)
        for found, expected in zip(edges(display.shades_), wanted, strict=True):
            assert found[:2] == pytest.approx(expected[:2])
            assert found[2] == expected[2]
        names = [name for name in legend(display) if name.endswith("ed") and " " not in name]
        best = ["supported"] * (kind is SupportDisplay)
        assert names[-2 - len(best) :] == [*best, "extrapolated", "unsupported"]

    def test_what_is_worse_is_darker(self) -> None:
        light, dark = (
            np.mean(patch.get_facecolor()[:3]) * patch.get_alpha() + 1 - patch.get_alpha()
            if patch.get_alpha()
            else np.mean(patch.get_facecolor()[:3])
            for patch in (curve(support=support()).shades_[k] for k in (1, 0))
        )
        assert dark < light < 1

    def test_regions_with_room_are_named_above_the_curves(self) -> None:
        display = curve(support=support(["supported"] * 3 + ["unsupported"] * 3))
        assert written(display) == ["supported", "unsupported"]
        assert [text.get_position()[0] for text in display.ax_.texts] == pytest.approx([1.95, 4.55])
        assert display.ax_.get_ylim()[1] > 1.1
        narrow = support(["extrapolated"] + ["supported"] * 5)
        narrow.index = pd.Index([1.0, 1.1, 2.0, 3.0, 5.0, 6.0], name="temperature")
        assert written(curve(support=narrow)) == ["supported"]

    def test_one_temperature_is_shaded_across(self) -> None:
        display = PopulationsDisplay(populations().loc[[1.0]], support=support(WORDS[:1])).plot()
        assert edges(display.shades_) == [(*display.ax_.get_xlim(), "unsupported")]

    def test_nothing_is_shaded_without_support_or_doubt(self) -> None:
        assert curve().shades_ == []
        assert curve(support=support(["supported"] * 6)).shades_ == []

    def test_errors(self) -> None:
        with pytest.raises(ValueError, match="`support` to say supported, extrapolated, unsup"):
            SupportDisplay(support(["perhaps"]))
        with pytest.raises(TypeError, match="`support` to be a DataFrame"):
            PopulationsDisplay(populations(), support=[1])  # type: ignore[arg-type]


class TestMeltingCurve:
    def test_curve_band_and_points(self) -> None:
        reference = populations().drop(columns="standard_error").iloc[[1, 3]] + 0.05
        display = curve(reference=reference, simulated=[2.0, 5.0])
        np.testing.assert_array_equal(display.line_.get_xdata(), T)
        np.testing.assert_array_equal(display.line_.get_ydata(), populations()["population"])
        band = display.band_.get_paths()[0].vertices
        assert band[:, 1].max() == 1.0  # 1 + 0.1, cut
        at = np.isclose(band[:, 0], 3.0)
        assert [band[at, 1].min(), band[at, 1].max()] == pytest.approx([0.5, 0.7])
        points = display.points_.lines[0]
        np.testing.assert_array_equal(points.get_xdata(), [2.0, 4.0])
        np.testing.assert_allclose(points.get_ydata(), [0.85, 0.45])
        np.testing.assert_array_equal(display.ax_.lines[-1].get_xdata(), [2.0, 5.0])
        assert {"state 0", "reference", "simulated at"} <= set(legend(display))

    def test_melting_temperature_with_its_error(self) -> None:
        display = curve(melting=MeltingTemperature(3.5, 0.23, -0.2), support=support())
        assert list(display.melting_.get_xdata()) == [3.5, 3.5]
        assert edges([display.melting_band_])[0][:2] == pytest.approx((3.27, 3.73))
        assert "$T_\\mathrm{m}$ = 3.5 ± 0.2" in legend(display)

    @pytest.mark.parametrize(
        ("t", "text"),
        [
            (3.5, "3.5 ± 0.2 K"),
            (2.98, "3.0 ± 0.2 K"),  # a hundredth from where it is supported
            (2.5, "2.5 ± 0.2 K\n(extrapolated)"),
            (1.5, "1.5 ± 0.2 K\n(unsupported)"),
            (9.0, "9.0 ± 0.2 K\n(outside of this range)"),
        ],
    )
    def test_melting_temperature_says_how_far_to_trust_it(self, t: float, text: str) -> None:
        melting = MeltingTemperature(t, 0.2, -1.0)
        display = curve(melting=melting, support=support(), temperature_unit="K")
        assert f"$T_\\mathrm{{m}}$ = {text}" in legend(display)

    def test_the_axis_does_not_stretch_to_a_melting_temperature_outside(self) -> None:
        melting = MeltingTemperature(9.0, 0.2, -1.0)
        assert curve(melting=melting, support=support()).ax_.get_xlim()[1] < 7

    def test_no_melting_temperature_is_said(self) -> None:
        display = curve(temperature_unit="K")
        assert display.melting_ is None
        assert display.melting_band_ is None
        assert "no melting temperature\nfrom 1 to 6 K" in legend(display)

    def test_state_without_rows(self) -> None:
        with pytest.raises(ValueError, match="`populations` of state 1, got none"):
            MeltingCurveDisplay(populations(), 1).plot()

    def test_from_estimator_finds_the_known_melting_temperature(self, melting: Any) -> None:
        system, model = melting
        state = int(model.predict(system.simulate(0.3, 0, 1, 50)[0])[0][0])  # cold: folded
        temperatures = np.linspace(0.5, 1.2, 15)
        index = pd.MultiIndex.from_product([[0.7, 1.3], [0, 1]], names=["temperature", "state"])
        reference = pd.DataFrame({"population": [0.2, 0.8, 0.6, 0.4]}, index=index)
        display = MeltingCurveDisplay.from_estimator(
            model, state, temperature=temperatures[::-1], reference=reference
        )
        wanted = model.state_populations(temperatures).xs(state, level="state")
        np.testing.assert_array_equal(display.line_.get_xdata(), temperatures)
        np.testing.assert_allclose(display.line_.get_ydata(), wanted["population"])
        t, error, _ = model.melting_temperature(state)
        assert display.melting_.get_xdata()[0] == t
        assert abs(t - system.temperature) < 4 * error
        points = display.points_.lines[0]
        expected = reference.xs(state, level="state")["population"]
        np.testing.assert_array_equal(points.get_ydata(), expected)
        assert f"$T_\\mathrm{{m}}$ = {with_error(t, error)}" in legend(display)
        # the reference beyond the curve has its support too
        assert display.support.index[-1] == 1.3
        (low, cold, verdict), *_, (_, high, _) = found = edges(display.shades_)
        assert (low, high) == pytest.approx(display.ax_.get_xlim())
        assert (cold, verdict) == (pytest.approx(0.6), "extrapolated")
        assert all(start >= 1.0 for start, *_ in found[1:])

    def test_default_temperatures_cover_the_range_of_the_generator(self, melting: Any) -> None:
        model = melting[1]
        for display in (
            MeltingCurveDisplay.from_estimator(model, 0),
            SupportDisplay.from_estimator(model),
        ):
            x = display.line_.get_xdata()
            assert [x[0], x[-1]] == pytest.approx([0.48, 1.5])
            assert {0.6, 1.0} <= set(x)
            assert 40 <= len(x) <= 42

    def test_no_warning_escapes_where_nothing_melts(self, melting: Any) -> None:
        system, fitted = melting
        X, metadata = system.pooled()
        model = TemperatureExtrapolator(
            FrozenEstimator(fitted.estimator_), n_bootstraps=0, max_iter=5, random_state=0,
            temperature_range=(0.9, 1.1),
        ).fit(X, **metadata)  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            display = MeltingCurveDisplay.from_estimator(model, 0)
        assert display.melting_ is None
        assert "no melting temperature\nfrom 0.9 to 1.1" in legend(display)

    def test_draws_into_the_callers_axes(self, melting: Any, pyplot: Any) -> None:
        ax = matplotlib.figure.Figure().subplots()
        display = MeltingCurveDisplay.from_estimator(melting[1], 1, temperature=[0.6, 0.8], ax=ax)
        assert display.ax_ is ax
        assert display.figure_ is ax.figure
        SupportDisplay.from_estimator(melting[1], temperature=[0.6, 0.8], ax=ax)
        assert pyplot.get_fignums() == []

    def test_errors(self, melting: Any) -> None:
        with pytest.raises(ValueError, match="`state` to be a state below 2, got 2"):
            MeltingCurveDisplay.from_estimator(melting[1], 2)
        with pytest.raises(NotFittedError):
            MeltingCurveDisplay.from_estimator(TemperatureExtrapolator(LaTFEstimator()), 0)
        with pytest.raises(NotFittedError):
            SupportDisplay.from_estimator(TemperatureExtrapolator(LaTFEstimator()))
        inner = LaTFEstimator(n_components=1, max_iter=20, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # too short a fit
            nameless = TemperatureExtrapolator(inner).fit(melting[0].simulate(1.0, 0, 2, 100)[0])
        with pytest.raises(ValueError, match="fitted with `temperature`, got one without"):
            SupportDisplay.from_estimator(nameless)


class TestSupport:
    def test_fraction_and_threshold_on_a_logarithmic_axis(self) -> None:
        display = SupportDisplay(support(), simulated=[3.0, 4.0], temperature_unit="K").plot()
        np.testing.assert_array_equal(display.line_.get_ydata(), support()["effective_fraction"])
        assert set(display.threshold_.get_ydata()) == {LEAST_FRACTION}
        assert display.ax_.get_yscale() == "log"
        low, high = display.ax_.get_ylim()
        assert low < 0.01
        assert high > 1
        assert display.ax_.get_xlabel() == "temperature (K)"
        np.testing.assert_array_equal(display.ax_.lines[-1].get_xdata(), [3.0, 4.0])

    def test_no_frame_is_drawn_at_the_foot(self) -> None:
        display = SupportDisplay(support(fraction=(0, 1e-9, 1, 1, 1, 1))).plot()
        assert display.line_.get_ydata()[:2].tolist() == [1e-3, 1e-3]

    def test_frames_that_do_not_suffice_are_explained(self) -> None:
        assert SupportDisplay(support()).plot().doubted_ is None
        display = SupportDisplay(support(fraction=(0.3, 0.1, 1, 1, 0.5, 0.1))).plot()
        assert display.doubted_.get_xdata().tolist() == [1.0]
        assert display.doubted_.get_ydata().tolist() == [0.3]
        assert "unsupported all the same" in legend(display)

    def test_from_estimator_draws_its_support(self, melting: Any) -> None:
        model = melting[1]
        display = SupportDisplay.from_estimator(model, temperature=[2.0, 0.1, 0.8])
        wanted = model.support([0.1, 0.6, 0.8, 1.0, 2.0])  # the simulated ones are added
        np.testing.assert_array_equal(display.line_.get_xdata(), wanted.index)
        np.testing.assert_allclose(
            display.line_.get_ydata(), wanted["effective_fraction"].clip(1e-3)
        )
        assert [words for *_, words in edges(display.shades_)][1] == "supported"
        np.testing.assert_array_equal(display.simulated, [0.6, 1.0])


def test_populations_are_shaded_by_the_estimators_support(melting: Any) -> None:
    display = PopulationsDisplay.from_estimator(melting[1], temperature=[0.05, 0.5, 0.8, 0.9])
    pd.testing.assert_frame_equal(display.support, melting[1].support([0.05, 0.5, 0.6, 0.8, 0.9]))
    found = edges(display.shades_)
    assert [words for *_, words in found] == ["unsupported", "extrapolated"]
    assert [high for _, high, _ in found] == pytest.approx([0.5, 0.6])
