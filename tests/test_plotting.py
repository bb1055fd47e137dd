"""Displays are tested by the numbers in their artists."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

from latflow import LaTFEstimator, TemperatureExtrapolator
from latflow.datasets import make_three_hole
from latflow.plotting import FreeEnergyDisplay, HistoryDisplay, PopulationsDisplay

GRID = (np.array([0.0, 1.0, 2.0]), np.array([10.0, 20.0, 30.0, 40.0]))
COLD, HOT = 0.8, 1.4


@pytest.fixture(autouse=True)
def pyplot(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    monkeypatch.setattr(plt, "show", lambda *_, **__: pytest.fail("a display was shown"))
    yield plt
    plt.close("all")


def fit(n_components: int = 2, **options: Any) -> TemperatureExtrapolator:
    """Fit too briefly for a good model, which nothing here needs."""
    cold, hot = (
        make_three_hole(4000, temperature=t, n_walkers=2, random_state=0) for t in (COLD, HOT)
    )
    inner = LaTFEstimator(5, n_components, max_iter=160, boltzmann_constant=1.0, random_state=0)
    model = TemperatureExtrapolator(inner, max_iter=20, random_state=0, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(
            cold.trajectories + hot.trajectories, temperature=cold.temperature + hot.temperature
        )


@pytest.fixture(scope="module")
def model() -> TemperatureExtrapolator:
    return fit()


@pytest.fixture(scope="module")
def one_component() -> TemperatureExtrapolator:
    return fit(1, method="tilted")


def drawn(surface: Any) -> np.ndarray:
    """Values of a QuadMesh, first variable first, NaN where masked."""
    return np.ma.filled(surface.get_array(), np.nan).T


def surfaces(**options: Any) -> FreeEnergyDisplay:
    generated = np.arange(24.0).reshape(2, 3, 4)
    return FreeEnergyDisplay(temperatures=[300, 450], grid=GRID, generated=generated, **options)


class TestFreeEnergy:
    def test_surfaces_hold_the_arrays_with_the_first_variable_across(self) -> None:
        display = surfaces().plot()
        for k, surface in enumerate(display.surfaces_):
            np.testing.assert_array_equal(drawn(surface), display.generated[k])
        corners = display.surfaces_[0].get_coordinates()
        assert corners[0, :, 0].min() == -0.5  # cells are centred on the grid's points
        assert corners[:, 0, 1].max() == 45.0

    def test_one_scale_for_all_panels(self) -> None:
        display = surfaces(vmax=7.0, reference=np.full((2, 3, 4), 1.0)).plot()
        assert display.axes_.shape == (2, 2)
        assert {surface.get_clim() for surface in display.surfaces_} == {(0.0, 7.0)}
        assert (display.colorbar_.vmin, display.colorbar_.vmax) == (0.0, 7.0)

    def test_scale_without_vmax_reaches_the_highest_value(self) -> None:
        assert surfaces().plot().surfaces_[0].get_clim() == (0.0, 23.0)

    def test_nan_is_white_and_beyond_the_scale_is_grey(self) -> None:
        generated = np.zeros((1, 3, 4))
        generated[0, 1, 2], generated[0, 0, 0] = np.nan, 9.0
        display = FreeEnergyDisplay(temperatures=[1], grid=GRID, generated=generated, vmax=5.0)
        surface = display.plot().surfaces_[0]
        colours = surface.cmap(surface.norm(surface.get_array()))
        assert surface.get_array().mask.T[1, 2]
        assert colours[2, 1, 3] == 0.0  # transparent, over a white panel
        assert display.axes_[0, 0].get_facecolor() == (1.0, 1.0, 1.0, 1.0)
        np.testing.assert_allclose(colours[0, 0, :3], 0.9)

    @pytest.mark.parametrize(
        ("options", "title", "label"),
        [
            ({"temperature_unit": "K", "energy_unit": "kJ/mol"}, "T = 300 K", "kJ/mol"),
            ({"simulated": [300.0]}, "T = 300 (simulated)", "$k_\\mathrm{B}T$"),
        ],
    )
    def test_labels_say_the_units(self, options: dict[str, Any], title: str, label: str) -> None:
        display = surfaces(**options).plot()
        assert display.axes_[0, 0].get_title() == title
        assert display.colorbar_.ax.get_ylabel() == f"free energy ({label})"

    def test_rows_are_named(self) -> None:
        display = surfaces(reference=np.zeros((2, 3, 4))).plot()
        assert [ax.get_ylabel() for ax in display.axes_[:, 0]] == [
            "generated\nCV 2",
            "reference\nCV 2",
        ]

    def test_draws_into_the_callers_axes(self, pyplot: Any) -> None:
        figure = matplotlib.figure.Figure()
        axes = figure.subplots(1, 2)
        display = surfaces()
        assert display.plot(axes=axes) is display
        assert display.figure_ is figure
        assert list(display.axes_.ravel()) == list(axes)
        assert pyplot.get_fignums() == []

    def test_wrong_number_of_axes(self) -> None:
        axes = matplotlib.figure.Figure().subplots(1, 3)
        with pytest.raises(ValueError, match=r"`axes` to hold 2 panels \(1 x 2\), got 3"):
            surfaces().plot(axes=axes)

    def test_keywords_reach_pcolormesh(self) -> None:
        assert surfaces().plot(cmap="cividis", alpha=0.5).surfaces_[0].get_alpha() == 0.5
        assert surfaces().plot(cmap="cividis").surfaces_[0].cmap.name == "cividis"

    @pytest.mark.parametrize("unit", ["energy", "kT"])
    def test_from_estimator_draws_its_free_energy(
        self, model: TemperatureExtrapolator, unit: str
    ) -> None:
        display = FreeEnergyDisplay.from_estimator(
            model, temperature=[COLD, 1.1], unit=unit, n_grid=12
        )
        x, y = display.grid
        for surface, t in zip(display.surfaces_, (COLD, 1.1), strict=True):
            mesh = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1)
            np.testing.assert_allclose(drawn(surface), model.free_energy(mesh, t, unit=unit))
        assert display.surfaces_[0].get_clim()[1] == pytest.approx(
            6 * (1.1 if unit == "energy" else 1)
        )
        wanted = "reduced units" if unit == "energy" else "$k_\\mathrm{B}T$"
        assert wanted in display.colorbar_.ax.get_ylabel()

    def test_grid_holds_all_training_frames(self, model: TemperatureExtrapolator) -> None:
        display = FreeEnergyDisplay.from_estimator(model, temperature=1.0, n_grid=5)
        for points, z in zip(display.grid, model.z_.T, strict=True):
            assert points[0] < z.min()
            assert points[-1] > z.max()
            assert np.ptp(points) < 1.2 * np.ptp(z)

    def test_reference_row_is_minus_log_of_a_histogram(
        self, model: TemperatureExtrapolator
    ) -> None:
        x, y = FreeEnergyDisplay.from_estimator(model, temperature=1.1, n_grid=6).grid
        samples = np.repeat([[x[1], y[2]], [x[4], y[3]]], [300, 100], axis=0)
        display = FreeEnergyDisplay.from_estimator(
            model, temperature=[1.1, 1.2], reference={1.1 + 1e-13: samples}, n_grid=6
        )
        found = drawn(display.surfaces_[2])
        assert found[1, 2] == 0.0
        assert found[4, 3] == pytest.approx(1.1 * np.log(3))
        assert np.isfinite(found).sum() == 2
        assert np.isnan(drawn(display.surfaces_[3])).all()
        assert [text.get_text() for text in display.axes_[1, 1].texts] == ["no samples"]

    def test_one_component_is_drawn_as_lines(self, one_component: TemperatureExtrapolator) -> None:
        reference = {1.1: one_component.sample(500, 1.1, random_state=0)}
        display = FreeEnergyDisplay.from_estimator(
            one_component, temperature=[COLD, 1.1], n_grid=20, reference=reference
        )
        x = display.grid[0]
        assert display.axes_.shape == (1, 2)
        assert len(display.lines_) == 4
        np.testing.assert_array_equal(display.lines_[1].get_xdata(), x)
        np.testing.assert_allclose(
            display.lines_[1].get_ydata(), one_component.free_energy(x[:, None], 1.1)
        )
        assert np.nanmin(display.lines_[3].get_ydata()) == 0.0
        assert display.axes_[0, 0].get_ylabel() == "free energy (reduced units)"

    @pytest.mark.parametrize(
        ("options", "match"),
        [
            ({"unit": "kcal"}, "`unit` to be one of energy, kT"),
            ({"n_grid": 1}, "`n_grid` to be an integer >= 2"),
            ({"reference": {1.0: np.zeros((3, 5))}}, r"`reference` of shape \(n_points, 2\)"),
        ],
    )
    def test_errors(
        self, model: TemperatureExtrapolator, options: dict[str, Any], match: str
    ) -> None:
        with pytest.raises(ValueError, match=match):
            FreeEnergyDisplay.from_estimator(model, temperature=1.0, **options)

    def test_three_components_cannot_be_drawn(
        self, model: TemperatureExtrapolator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(TemperatureExtrapolator, "n_components_", 3)
        with pytest.raises(ValueError, match="one or two components, which can be drawn, got 3"):
            FreeEnergyDisplay.from_estimator(model, temperature=1.0)


def populations(states: int = 2) -> pd.DataFrame:
    index = pd.MultiIndex.from_product([[1.0, 2.0], range(states)], names=["temperature", "state"])
    values = np.linspace(0.1, 0.9, 2 * states)
    return pd.DataFrame({"population": values, "standard_error": 0.2}, index=index)


class TestPopulations:
    def test_lines_and_bands(self) -> None:
        frame = populations()
        display = PopulationsDisplay(frame).plot()
        for state, line in enumerate(display.lines_):
            rows = frame.xs(state, level="state")
            np.testing.assert_array_equal(line.get_xdata(), [1.0, 2.0])
            np.testing.assert_array_equal(line.get_ydata(), rows["population"])
            assert line.get_label() == f"state {state}"
        band = display.bands_[0].get_paths()[0].vertices[:, 1]
        assert band.min() == 0.0  # 0.1 - 0.2, cut
        assert band.max() == pytest.approx(frame["population"].iloc[2] + 0.2)

    def test_points_of_the_reference_with_error_bars(self) -> None:
        display = PopulationsDisplay(populations(), reference=populations()).plot()
        points, _, (bars,) = display.points_[1].lines
        np.testing.assert_array_equal(points.get_ydata(), populations()["population"].iloc[[1, 3]])
        length = np.diff(bars.get_segments()[0][:, 1])
        np.testing.assert_allclose(length, 0.4)
        assert "reference" in [text.get_text() for text in display.ax_.get_legend().get_texts()]

    def test_reference_may_lack_errors_and_states(self) -> None:
        reference = populations()[["population"]].drop(1, level="state")
        display = PopulationsDisplay(populations(), reference=reference).plot()
        assert len(display.points_) == 1

    def test_simulated_temperatures_are_marked(self) -> None:
        marks = PopulationsDisplay(populations(), simulated=[1.0, 1.5]).plot().ax_.lines[-1]
        np.testing.assert_array_equal(marks.get_xdata(), [1.0, 1.5])
        assert (marks.get_marker(), marks.get_label()) == ("|", "simulated at")

    def test_every_state_is_drawn_however_many(self) -> None:
        assert len(PopulationsDisplay(populations(11)).plot().lines_) == 11

    @pytest.mark.parametrize(("unit", "label"), [("K", "K"), ("", "reduced units")])
    def test_labels(self, unit: str, label: str) -> None:
        display = PopulationsDisplay(populations(), temperature_unit=unit).plot()
        assert display.ax_.get_xlabel() == f"temperature ({label})"
        assert display.ax_.get_ylabel() == "population"

    def test_from_estimator_draws_its_populations_sorted(
        self, model: TemperatureExtrapolator, pyplot: Any
    ) -> None:
        ax = matplotlib.figure.Figure().subplots()
        display = PopulationsDisplay.from_estimator(model, temperature=[1.4, 0.8, 1.1], ax=ax)
        expected = model.state_populations([0.8, 1.1, 1.4])["population"].unstack("state")
        for state, line in enumerate(display.lines_):
            np.testing.assert_array_equal(line.get_xdata(), [0.8, 1.1, 1.4])
            np.testing.assert_allclose(line.get_ydata(), expected[state])
        np.testing.assert_array_equal(display.simulated, [COLD, HOT])
        assert display.ax_ is ax
        assert display.figure_ is ax.figure
        assert pyplot.get_fignums() == []


def records(*stages: tuple[str, int]) -> list[dict[str, Any]]:
    return [
        {"stage": stage, "iteration": 25 * (k + 1), "loss": 2.0 - k, "held_out_loss": 3.0 - k}
        for stage, n in stages
        for k in range(n)
    ]


class TestHistory:
    def test_iterations_add_up_over_the_stages_of_a_panel(self) -> None:
        stages = [("refinement 1", 2), ("refinement 2", 1), ("joint", 3), ("density", 2)]
        display = HistoryDisplay(records(*stages)).plot()
        joint, density = display.panels
        assert joint.stages == ["refinement 1", "refinement 2", "joint"]
        assert [x.tolist() for x in joint.iterations] == [[25, 50], [75], [100, 125, 150]]
        assert density.iterations[0].tolist() == [25, 50]
        np.testing.assert_array_equal(display.lines_[4].get_ydata(), [3.0, 2.0, 1.0])
        np.testing.assert_array_equal(display.lines_[5].get_ydata(), [2.0, 1.0, 0.0])
        assert [ax.get_title() for ax in display.axes_] == [panel.title for panel in display.panels]
        assert [text.get_text() for text in display.axes_[0].get_legend().get_texts()] == [
            "held out",
            "training",
        ]

    def test_a_repeated_stage_starts_anew(self) -> None:
        ensemble = HistoryDisplay(records(*[("temperature classifier", 2)] * 3))
        assert [x.tolist() for x in ensemble.panels[0].iterations] == [
            [25, 50],
            [75, 100],
            [125, 150],
        ]

    def test_stages_are_separated_and_named(self) -> None:
        ax = HistoryDisplay(records(("density", 2), ("conditional flow", 3))).plot().axes_[0]
        assert [text.get_text() for text in ax.texts] == ["density", "conditional flow"]
        assert ax.lines[-1].get_xdata() == [50, 50]

    def test_many_rounds_are_numbered_only(self) -> None:
        rounds = [(f"refinement {k}", 1) for k in range(1, 6)]
        display = HistoryDisplay(records(*rounds, ("joint", 1))).plot()
        names = [text.get_text() for text in display.axes_[0].texts]
        assert names == ["refinement 1", "2", "3", "4", "5", "joint"]

    def test_every_record_of_an_estimator_is_drawn(self, model: TemperatureExtrapolator) -> None:
        for estimator in (model, model.estimator_):
            display = HistoryDisplay.from_estimator(estimator)
            stages = [name for panel in display.panels for name in panel.stages]
            assert set(stages) == {record["stage"] for record in estimator.history_}
            points = sum(len(line.get_xdata()) for line in display.lines_)
            assert points == 2 * len(estimator.history_)
        assert len(HistoryDisplay.from_estimator(model).panels) == 3

    def test_empty(self) -> None:
        with pytest.raises(ValueError, match="`history` to hold at least one record"):
            HistoryDisplay([])


@pytest.mark.parametrize(
    ("display", "options"),
    [
        (FreeEnergyDisplay, {"temperature": 1.0}),
        (PopulationsDisplay, {"temperature": 1.0}),
        (HistoryDisplay, {}),
    ],
)
def test_nothing_is_fitted(display: Any, options: dict[str, Any]) -> None:
    with pytest.raises(NotFittedError):
        display.from_estimator(TemperatureExtrapolator(), **options)


def test_missing_matplotlib_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"pip install 'latflow\[plot\]'"):
        PopulationsDisplay(populations()).plot()


def test_matplotlib_is_loaded_only_to_draw() -> None:
    code = "import latflow.cli, sys; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
