"""Displays of states and of Markov state models, tested by the numbers in their artists."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from deeptime.markov.msm import MarkovStateModel
from matplotlib.colors import to_rgb
from sklearn.exceptions import NotFittedError

from latflow import LaTFEstimator, TemperatureExtrapolator, kinetics
from latflow.plotting import ChapmanKolmogorovDisplay, StatesDisplay, TimescalesDisplay
from latflow.plotting.style import PALETTE

THREE = np.array([[0.9, 0.1, 0.0], [0.05, 0.9, 0.05], [0.0, 0.2, 0.8]])
Z = np.array([[0.0, 10.0], [1.0, 20.0], [2.0, 30.0], [3.0, 40.0]])
STATES = np.array([0, 2, 2, 0])


@pytest.fixture(autouse=True)
def pyplot(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    monkeypatch.setattr(plt, "show", lambda *_, **__: pytest.fail("a display was shown"))
    yield plt
    plt.close("all")


@pytest.fixture(scope="module")
def one_component(three_hole: dict[str, Any]) -> LaTFEstimator:
    model = LaTFEstimator(5, 1, max_iter=50, boltzmann_constant=1.0, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # too short a fit for settled labels
        return model.fit(three_hole["trajectories"])


@pytest.fixture(scope="module")
def chain() -> list[np.ndarray]:
    return [MarkovStateModel(THREE).simulate(4000, start=0, seed=1)]


def legend(ax: Any) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def offsets(points: list[Any]) -> list[list[list[float]]]:
    return [collection.get_offsets().tolist() for collection in points]


class TestStates:
    def test_points_of_each_state_in_its_colour(self) -> None:
        display = StatesDisplay(Z, STATES).plot()
        assert offsets(display.points_) == [Z[[0, 3]].tolist(), [], Z[[1, 2]].tolist()]
        for points, colour in zip(display.points_, PALETTE, strict=False):
            np.testing.assert_allclose(points.get_facecolor()[:, :3], [to_rgb(colour)])
        assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("CV 1", "CV 2")
        assert display.regions_ is None
        assert display.histograms_ == []

    def test_legend_names_weighted_populations(self) -> None:
        display = StatesDisplay(Z, STATES, weights=[5, 1, 2, 0]).plot()
        np.testing.assert_allclose(display.populations, [5 / 8, 0, 3 / 8])
        names = ["state 0 (62.5 %)", "state 1 (0.0 %)", "state 2 (37.5 %)"]
        assert legend(display.ax_) == names
        assert [points.get_label() for points in display.points_] == names
        assert all(handle.get_sizes() == [36] for handle in display.legend_.legend_handles)
        assert all(points.get_sizes() == [4] for points in display.points_)

    def test_points_are_thinned_evenly_and_populations_are_not(self) -> None:
        z = np.arange(1001.0)[:, None] * [1, 1]
        states = np.repeat([0, 1], [1000, 1])
        display = StatesDisplay(z, states, n_frames=3).plot()
        assert offsets(display.points_) == [[[0, 0], [500, 500]], [[1000, 1000]]]
        np.testing.assert_allclose(display.populations, [1000 / 1001, 1 / 1001])

    def test_regions_are_tinted_with_the_first_variable_across(self) -> None:
        grid = (np.array([0.0, 1.0]), np.array([10.0, 20.0, 30.0]))
        regions = np.array([[0, 0, 1], [3, 1, 1]])
        display = StatesDisplay(Z, STATES, grid=grid, regions=regions).plot()
        mesh = display.regions_
        np.testing.assert_array_equal(mesh.get_array(), regions.T)
        assert mesh.get_coordinates()[0, :, 0].tolist() == [-0.5, 0.5, 1.5]
        assert len(display.points_) == 4  # a state of the regions without frames has a name too
        drawn = mesh.cmap(mesh.norm(mesh.get_array()))[..., :3]
        full = np.array([to_rgb(PALETTE[k]) for k in regions.T.ravel()]).reshape(3, 2, 3)
        np.testing.assert_allclose((1 - drawn) / 0.25, 1 - full, atol=1e-12)

    def test_one_variable_has_stacked_histograms_that_integrate_to_one(self) -> None:
        z = np.array([[0.0], [0.0], [8.0], [8.0]])
        display = StatesDisplay(z, [0, 1, 1, 1], weights=[1, 2, 3, 2]).plot()
        low, high = (patch.get_data() for patch in display.histograms_)
        assert len(low.values) == 80
        np.testing.assert_allclose(high.baseline, low.values)
        np.testing.assert_allclose(low.values[[0, -1]], [1.25, 0.0])  # 1 / 8 over 0.1
        np.testing.assert_allclose(high.values[[0, -1]], [3.75, 6.25])
        assert (high.values * np.diff(high.edges)).sum() == pytest.approx(1.0)
        assert display.points_ == []
        assert display.ax_.get_ylabel() == "density of the frames"
        assert legend(display.ax_) == ["state 0 (12.5 %)", "state 1 (87.5 %)"]

    def test_options_reach_the_artists(self) -> None:
        (points, *_) = StatesDisplay(Z, STATES).plot(s=50, alpha=0.1).points_
        assert (points.get_sizes().tolist(), points.get_alpha()) == ([50], 0.1)
        assert not StatesDisplay(Z[:, :1], STATES).plot(fill=False).histograms_[0].get_fill()

    def test_from_estimator_takes_a_list_or_an_array(
        self, latf: LaTFEstimator, three_hole: dict[str, Any], pyplot: Any
    ) -> None:
        X = three_hole["trajectories"]
        ax = matplotlib.figure.Figure().subplots()
        display = StatesDisplay.from_estimator(latf, X, n_frames=10**6, n_grid=30, ax=ax)
        z, states = (np.concatenate(f(X)) for f in (latf.transform, latf.predict))
        assert offsets(display.points_) == [z[states == k].tolist() for k in range(latf.n_states_)]
        np.testing.assert_allclose(display.populations, np.bincount(states) / len(states))
        mesh = display.regions_
        corners = mesh.get_coordinates()
        centres = (corners[1:, 1:] + corners[:-1, :-1]) / 2
        found = latf.predict_latent(centres.reshape(-1, 2)).reshape(30, 30)
        np.testing.assert_array_equal(mesh.get_array(), found)
        assert (corners.min(axis=(0, 1)) < z.min(axis=0)).all()
        assert (corners.max(axis=(0, 1)) > z.max(axis=0)).all()
        assert display.ax_ is ax
        assert display.figure_ is ax.figure
        assert pyplot.get_fignums() == []
        stacked = StatesDisplay.from_estimator(latf, np.concatenate(X), n_grid=2)
        np.testing.assert_array_equal(stacked.z, display.z)
        np.testing.assert_array_equal(stacked.states, display.states)

    def test_extrapolator_with_frame_weights(
        self, extrapolator: TemperatureExtrapolator, three_hole: dict[str, Any]
    ) -> None:
        X = three_hole["trajectories"]
        weights = extrapolator.frame_weights(1.4)
        display = StatesDisplay.from_estimator(extrapolator, X, weights=weights, n_grid=2)
        states = np.concatenate(extrapolator.predict(X))
        expected = np.bincount(states, np.concatenate(weights))
        np.testing.assert_allclose(display.populations, expected / expected.sum())
        flat = StatesDisplay.from_estimator(
            extrapolator, np.concatenate(X), weights=np.concatenate(weights), n_grid=2
        )
        np.testing.assert_allclose(flat.populations, display.populations)

    def test_one_component(self, one_component: LaTFEstimator, three_hole: dict[str, Any]) -> None:
        display = StatesDisplay.from_estimator(one_component, three_hole["trajectories"])
        assert len(display.histograms_) == len(display.populations)
        assert display.regions_ is None

    @pytest.mark.parametrize(
        ("z", "states", "options", "match"),
        [
            (np.zeros((2, 3)), [0, 1], {}, r"`z` of shape .n_frames, 1. or .n_frames, 2., got \(2"),
            (np.zeros((0, 2)), [], {}, r"got \(0, 2\)"),
            (Z, [0, 1], {}, r"`states` to be integers >= 0 of shape \(4,\), got int64 of shape"),
            (Z, [0.0, 1.0, 1.0, 0.0], {}, "got float64"),
            (Z, [0, 1, -1, 0], {}, "`states` to be integers >= 0"),
            (Z, STATES, {"weights": [1, 2]}, "`weights` to hold one value per frame"),
            (Z, STATES, {"n_frames": 0}, "`n_frames` to be an integer >= 1, got 0"),
            (Z, STATES, {"regions": [[0]]}, "`grid` and `regions` together"),
        ],
    )
    def test_errors(self, z: Any, states: Any, options: dict[str, Any], match: str) -> None:
        with pytest.raises(ValueError, match=match):
            StatesDisplay(z, states, **options)

    def test_errors_of_from_estimator(
        self, latf: LaTFEstimator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        X = np.zeros((5, 2))
        with pytest.raises(ValueError, match="`n_grid` to be an integer >= 2, got 1"):
            StatesDisplay.from_estimator(latf, X, n_grid=1)
        with pytest.raises(ValueError, match=r"`weights` to hold one entry per trajectory \(2\)"):
            StatesDisplay.from_estimator(latf, [X, X], weights=[np.ones(5)])
        monkeypatch.setattr(LaTFEstimator, "n_components_", 3)
        with pytest.raises(ValueError, match="one or two components, which can be drawn, got 3"):
            StatesDisplay.from_estimator(latf, X)
        for estimator in (LaTFEstimator(), TemperatureExtrapolator()):
            with pytest.raises(NotFittedError):
                StatesDisplay.from_estimator(estimator, X)


def timescales() -> pd.DataFrame:
    index = pd.MultiIndex.from_tuples(
        [(1.0, 0), (1.0, 1), (2.0, 0), (2.0, 1), (4.0, 0)], names=["lagtime", "process"]
    )
    values = np.array([20.0, 0.8, 25.0, 3.0, 26.0])
    return pd.DataFrame({"timescale": values, "low": values / 2, "high": values * 2}, index=index)


class TestTimescales:
    def test_lines_and_bands(self) -> None:
        display = TimescalesDisplay(timescales()).plot()
        slow, fast = display.lines_
        np.testing.assert_array_equal(slow.get_xydata(), [[1, 20], [2, 25], [4, 26]])
        np.testing.assert_array_equal(fast.get_xydata(), [[1, 0.8], [2, 3]])
        band = display.bands_[0].get_paths()[0].vertices
        assert {tuple(v) for v in band} == {(1, 10), (1, 40), (2, 12.5), (2, 50), (4, 13), (4, 52)}
        assert display.ax_.get_yscale() == "log"
        assert legend(display.ax_) == ["process 0", "process 1", "timescale < lagtime"]
        assert [line.get_color() for line in display.lines_] == list(PALETTE[:2])

    def test_grey_area_is_below_the_lagtime(self) -> None:
        display = TimescalesDisplay(timescales()).plot()
        x, y = display.unresolved_.get_paths()[0].vertices.T
        np.testing.assert_allclose(y[y > 0], x[y > 0])
        assert x.max() > display.ax_.get_xlim()[1]

    def test_limits_hold_timescales_lagtimes_and_reference(self) -> None:
        low, high = TimescalesDisplay(timescales()).plot().ax_.get_ylim()
        assert (low, high) == pytest.approx((0.8 / 1.5, 52 * 1.5))
        low, high = TimescalesDisplay(timescales(), reference=[300, 0.1]).plot().ax_.get_ylim()
        assert (low, high) == pytest.approx((0.1 / 1.5, 300 * 1.5))

    def test_an_interval_without_bound_leaves_the_scale_alone(self) -> None:
        table = timescales()
        table["high"] = [1e9, 1.0, np.inf, 4.0, np.nan]
        table.iloc[1, :2] = [0.0, 0.0]
        display = TimescalesDisplay(table).plot()
        display.figure_.canvas.draw()
        assert display.ax_.get_ylim() == pytest.approx((1 / 1.5, 26 * 1.5))

    def test_reference_lines_have_one_key(self) -> None:
        display = TimescalesDisplay(timescales(), reference=[30.0, 5.0]).plot()
        assert [line.get_ydata() for line in display.references_] == [[30, 30], [5, 5]]
        assert legend(display.ax_).count("reference") == 1
        assert len(TimescalesDisplay(timescales(), reference=7).plot().references_) == 1
        assert TimescalesDisplay(timescales()).plot().references_ == []

    def test_interval_of_a_single_lagtime_is_a_bar(self) -> None:
        display = TimescalesDisplay(timescales().loc[[4.0]]).plot()
        assert display.bands_[0].get_linewidth() == [4]
        assert TimescalesDisplay(timescales()).plot().bands_[0].get_linewidth() == [0]

    def test_ticks_are_plain_numbers(self) -> None:
        display = TimescalesDisplay(timescales()).plot()
        display.figure_.canvas.draw()
        ticks = display.ax_.get_yticklabels(which="both")
        assert {"1", "2", "5", "10", "20", "50"} <= {text.get_text() for text in ticks}
        wide = TimescalesDisplay(timescales(), reference=[1e5]).plot()
        wide.figure_.canvas.draw()
        minor = wide.ax_.get_yticklabels(which="minor")
        assert {text.get_text() for text in minor} == {""}
        assert "1000" in {text.get_text() for text in wide.ax_.get_yticklabels()}

    @pytest.mark.parametrize(("unit", "suffix"), [("ns", " (ns)"), ("", "")])
    def test_labels(self, unit: str, suffix: str) -> None:
        ax = TimescalesDisplay(timescales(), time_unit=unit).plot().ax_
        assert (ax.get_xlabel(), ax.get_ylabel()) == (f"lagtime{suffix}", f"timescale{suffix}")

    def test_from_states_draws_what_kinetics_computes(
        self, chain: list[np.ndarray], pyplot: Any
    ) -> None:
        options = {"time_step": 0.5, "n_timescales": 1, "n_samples": 10, "confidence": 0.5}
        ax = matplotlib.figure.Figure().subplots()
        display = TimescalesDisplay.from_states(
            chain, [1, 4], random_state=0, time_unit="ns", reference=8.0, ax=ax, lw=3, **options
        )
        expected = kinetics.implied_timescales(chain, [1, 4], random_state=0, **options)
        (line,) = display.lines_
        np.testing.assert_array_equal(line.get_xdata(), [0.5, 2.0])
        np.testing.assert_allclose(line.get_ydata(), expected["timescale"])
        heights = display.bands_[0].get_paths()[0].vertices[:, 1]
        assert heights.min() == pytest.approx(expected["low"].min())
        assert heights.max() == pytest.approx(expected["high"].max())
        assert line.get_linewidth() == 3
        assert len(display.references_) == 1
        assert display.time_unit == "ns"
        assert display.ax_ is ax
        assert display.figure_ is ax.figure
        assert pyplot.get_fignums() == []

    def test_errors(self) -> None:
        with pytest.raises(TypeError, match=r"`timescales` to be a DataFrame .*, got ndarray"):
            TimescalesDisplay(np.ones(3))
        with pytest.raises(ValueError, match=r"index \(lagtime, process\) .* got index \(None\)"):
            TimescalesDisplay(timescales().reset_index())
        with pytest.raises(
            ValueError, match=r"columns timescale, low, high, got .*columns timescale, low\.$"
        ):
            TimescalesDisplay(timescales()[["timescale", "low"]])
        with pytest.raises(ValueError, match="at least one row, got none"):
            TimescalesDisplay(timescales().iloc[:0])
        with pytest.raises(ValueError, match=r"`reference` to be a finite number > 0, got -1"):
            TimescalesDisplay(timescales(), reference=[2.0, -1.0])


def table(n_states: int = 2) -> pd.DataFrame:
    numbers = range(3, 3 + n_states)
    index = pd.MultiIndex.from_product(
        [[2.0, 4.0], numbers, numbers], names=["time", "source", "target"]
    )
    value = np.linspace(0.1, 0.9, len(index))
    columns = {"predicted": value, "predicted_low": value - 0.1, "predicted_high": value + 0.05}
    columns |= {"estimated": value / 2, "estimated_low": value / 4, "estimated_high": value}
    return pd.DataFrame(columns, index=index)


class TestChapmanKolmogorov:
    def test_one_panel_per_pair(self) -> None:
        rows = table()
        display = ChapmanKolmogorovDisplay(rows).plot()
        assert display.axes_.shape == (2, 2)
        for k, (source, target) in enumerate([(3, 3), (3, 4), (4, 3), (4, 4)]):
            own = rows.xs((source, target), level=("source", "target"))
            assert display.axes_.flat[k].get_title() == f"{source} → {target}"
            assert display.lines_[k].axes is display.axes_.flat[k]
            np.testing.assert_array_equal(display.lines_[k].get_xdata(), [2, 4])
            np.testing.assert_array_equal(display.lines_[k].get_ydata(), own["predicted"])
            band = display.bands_[k].get_paths()[0].vertices[:, 1]
            assert band.min() == pytest.approx(own["predicted_low"].min())
            assert band.max() == pytest.approx(own["predicted_high"].max())
            points, _, (bars,) = display.points_[k].lines
            np.testing.assert_array_equal(points.get_ydata(), own["estimated"])
            ends = np.array([segment[:, 1] for segment in bars.get_segments()])
            np.testing.assert_allclose(ends, own[["estimated_low", "estimated_high"]])

    def test_times_in_any_order(self) -> None:
        for line in ChapmanKolmogorovDisplay(table().iloc[::-1]).plot().lines_:
            np.testing.assert_array_equal(line.get_xdata(), [2, 4])

    def test_scale_and_labels(self) -> None:
        display = ChapmanKolmogorovDisplay(table(), time_unit="ns").plot()
        corner = display.axes_[1, 0]
        assert (corner.get_xlabel(), corner.get_ylabel()) == ("time (ns)", "probability")
        assert display.axes_[0, 1].get_xlabel() == display.axes_[0, 1].get_ylabel() == ""
        assert {ax.get_ylim() for ax in display.axes_.flat} == {(-0.03, 1.03)}
        assert {ax.get_xlim()[0] for ax in display.axes_.flat} == {0.0}
        assert legend(display.axes_[0, 1]) == ["predicted", "estimated"]

    def test_a_state_not_connected_later_has_no_point_there(self) -> None:
        rows = table()
        rows.loc[(4.0, 4, 4), ["estimated", "estimated_low", "estimated_high"]] = np.nan
        display = ChapmanKolmogorovDisplay(rows).plot()
        display.figure_.canvas.draw()
        assert np.isnan(display.points_[3].lines[0].get_ydata(orig=False)).tolist() == [False, True]
        assert np.isfinite(display.lines_[3].get_ydata()).all()

    def test_value_outside_of_its_interval(self) -> None:
        rows = table()
        rows["estimated_high"] = rows["estimated"] - 0.01
        _, _, (bars,) = ChapmanKolmogorovDisplay(rows).plot().points_[0].lines
        own = rows.xs((3, 3), level=("source", "target"))
        ends = np.array([segment[:, 1] for segment in bars.get_segments()])
        np.testing.assert_allclose(ends, own[["estimated_low", "estimated"]])

    def test_from_states_draws_what_kinetics_computes(
        self, chain: list[np.ndarray], pyplot: Any
    ) -> None:
        options = {"n_multiples": 2, "time_step": 0.5, "n_samples": 10, "confidence": 0.5}
        axes = matplotlib.figure.Figure().subplots(3, 3)
        display = ChapmanKolmogorovDisplay.from_states(
            chain, 3, random_state=0, time_unit="ns", axes=axes, color="C5", **options
        )
        expected = kinetics.chapman_kolmogorov(chain, 3, random_state=0, **options)
        pd.testing.assert_frame_equal(display.table, expected)
        found = [line.get_ydata() for line in display.lines_]
        np.testing.assert_allclose(
            found, expected["predicted"].unstack("time").to_numpy().reshape(9, 2)
        )
        np.testing.assert_array_equal(display.lines_[0].get_xdata(), [1.5, 3.0])
        assert {line.get_color() for line in display.lines_} == {"C5"}
        assert display.axes_[2, 1] is axes[2, 1]
        assert display.figure_ is axes[0, 0].figure
        assert display.axes_[2, 0].get_xlabel() == "time (ns)"
        assert pyplot.get_fignums() == []

    def test_errors(self) -> None:
        with pytest.raises(TypeError, match=r"`table` to be a DataFrame .*, got dict"):
            ChapmanKolmogorovDisplay({})
        with pytest.raises(ValueError, match=r"index \(time, source, target\) and columns pred"):
            ChapmanKolmogorovDisplay(timescales())
        with pytest.raises(ValueError, match="`table` to hold at least one row"):
            ChapmanKolmogorovDisplay(table().iloc[:0])
        with pytest.raises(ValueError, match=r"`axes` to hold 4 panels \(2 x 2\), got 1"):
            ChapmanKolmogorovDisplay(table()).plot(matplotlib.figure.Figure().subplots())
