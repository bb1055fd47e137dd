"""The display of rates against temperature, tested by the numbers in its artists."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from deeptime.markov.msm import MarkovStateModel
from matplotlib.colors import same_color

from latflow import kinetics
from latflow.plotting import ArrheniusDisplay
from latflow.plotting.style import PALETTE
from latflow.units import BOLTZMANN_CONSTANT

BARRIERS = {(0, 1): 45.0, (1, 0): 60.0, (0, 2): 50.0, (2, 0): 40.0}


@pytest.fixture(autouse=True)
def pyplot(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    monkeypatch.setattr(plt, "show", lambda *_, **__: pytest.fail("a display was shown"))
    yield plt
    plt.close("all")


def table(temperatures: list[float], constant: float = BOLTZMANN_CONSTANT) -> pd.DataFrame:
    index = pd.MultiIndex.from_tuples(
        [(t, *pair) for t in temperatures for pair in BARRIERS],
        names=["temperature", "source", "target"],
    )
    rate = np.array([np.exp(20 - BARRIERS[a, b] / (constant * t)) for t, a, b in index])
    return pd.DataFrame(
        {"rate": rate, "low": rate / 1.5, "high": rate * 2, "log_error": 0.2}, index=index
    )


@pytest.fixture
def fit() -> kinetics.ArrheniusFit:
    return kinetics.arrhenius(table([300, 400]))


def numbers(bars: Any) -> np.ndarray:
    """Return x, y, low and high of an ErrorbarContainer, a row per point."""
    points, _, (segments,) = bars
    low, high = np.array(segments.get_segments())[:, :, 1].T
    return np.column_stack([points.get_xydata(), low, high])


def legend(display: ArrheniusDisplay) -> list[str]:
    return [text.get_text() for text in display.ax_.get_legend().get_texts()]


class TestArrheniusDisplay:
    def test_points_and_lines_fall_together(self, fit: kinetics.ArrheniusFit) -> None:
        display = ArrheniusDisplay(table([400, 300]), fit, time_unit="ns").plot()
        assert display.ax_.get_yscale() == "log"
        for pair, line, band, bars in zip(
            fit.parameters.index, display.lines_, display.bands_, display.points_, strict=True
        ):
            x, y = line.get_data()
            exact = 20 - BARRIERS[pair] / (BOLTZMANN_CONSTANT * 1000) * x
            np.testing.assert_allclose(np.log(y), exact)
            rate = np.exp(20 - BARRIERS[pair] / (BOLTZMANN_CONSTANT * np.array([300, 400])))
            expected = np.column_stack([[1000 / 300, 2.5], rate, rate / 1.5, rate * 2])
            np.testing.assert_allclose(numbers(bars), expected)
            corners = band.get_paths()[0].vertices
            low = fit.predict(1000 / x).low.xs(pair, level=(1, 2))
            np.testing.assert_allclose(corners[:, 1].min(), low.min(), rtol=1e-6)
        assert display.ax_.get_xlabel() == "1000 / temperature (1/K)"
        assert display.ax_.get_ylabel() == "rate (1/ns)"
        assert display.temperatures_.get_xticks().tolist() == [300, 400]
        assert display.temperatures_.get_xlabel() == "temperature (K)"
        assert display.predicted_ == display.references_ == []

    def test_two_directions_share_a_colour(self, fit: kinetics.ArrheniusFit) -> None:
        display = ArrheniusDisplay(table([300, 400]), fit).plot()
        styles = [(line.get_color(), line.get_marker(), line.get_ls()) for line in display.lines_]
        first, second = PALETTE[:2]
        assert list(fit.parameters.index) == [(0, 1), (0, 2), (1, 0), (2, 0)]
        assert styles == [
            (first, "o", "-"), (second, "o", "-"), (first, "s", "--"), (second, "s", "--"),
        ]  # fmt: skip

    def test_legend_names_barriers_and_their_errors(self, fit: kinetics.ArrheniusFit) -> None:
        display = ArrheniusDisplay(table([300, 400]), fit).plot()
        # sqrt(2) 0.2 k_B / (1 / 300 - 1 / 400) = 2.8
        assert legend(display) == [
            "0 → 1: 45 ± 3", "0 → 2: 50 ± 3", "1 → 0: 60 ± 3", "2 → 0: 40 ± 3", "simulated",
        ]  # fmt: skip
        assert display.ax_.get_legend().get_title().get_text() == "activation energy (kJ/mol)"

    def test_predictions_are_hollow_and_the_reference_is_crossed(self) -> None:
        rows = table([300, 400]).query("source < 2 and target < 2")
        two = [(0, 1), (1, 0)]
        models = [
            kinetics.rates_at(kinetics.arrhenius(rows), populations, temperature=t)
            for t, populations in ((350, [0.9, 0.1]), (450, [1, 1]))
        ]
        reference = table([350]).loc[[(350, 1, 0)]]
        display = ArrheniusDisplay(
            rows, kinetics.arrhenius(rows), predicted=models, reference=reference
        ).plot()
        for pair, bars in zip(two, display.predicted_, strict=True):
            expected = [
                [1000 / m.temperature, *m.rates.loc[pair, ["rate", "low", "high"]]] for m in models
            ]
            np.testing.assert_allclose(numbers(bars), expected)
            assert same_color(bars[0].get_markerfacecolor(), "white")
        drawn = [line.get_xydata().tolist() for line in display.references_]
        assert drawn == [[], [[1000 / 350, reference.rate.iloc[0]]]]
        assert display.temperatures_.get_xticks().tolist() == [300, 350, 400, 450]
        assert legend(display)[-3:] == ["simulated", "predicted", "reference"]
        low, high = display.ax_.get_ylim()
        assert low < min(m.rates.rate.min() for m in models)
        assert high > max(m.rates.rate.max() for m in models)
        one = ArrheniusDisplay(rows, kinetics.arrhenius(rows), predicted=models[0]).plot()
        assert len(numbers(one.predicted_[0])) == 1

    def test_reduced_units_and_eyring(self) -> None:
        rows = table([0.8, 1.4], constant=50.0)
        fit = kinetics.arrhenius(rows, boltzmann_constant=1.0, form="eyring", planck_constant=1.0)
        display = ArrheniusDisplay(rows, fit).plot()
        np.testing.assert_allclose(numbers(display.points_[0])[:, 0], [1 / 0.8, 1 / 1.4])
        assert display.ax_.get_xlabel() == "1 / temperature"
        assert display.ax_.get_ylabel() == "rate"
        assert display.temperatures_.get_xlabel() == "temperature"
        assert (
            display.ax_.get_legend().get_title().get_text() == "activation enthalpy (reduced units)"
        )
        assert not any("kJ" in name for name in legend(display))

    def test_pairs_without_rates_keep_their_place(self) -> None:
        rows = table([300, 400])
        rows.loc[(300, 0, 2), :] = np.nan
        rows.loc[(300, 2, 0), ["rate", "low"]] = 0.0
        with pytest.warns(UserWarning, match=r"Pairs \[\(0, 2\), \(2, 0\)\]"):
            fit = kinetics.arrhenius(rows)
        display = ArrheniusDisplay(rows, fit).plot()
        display.figure_.canvas.draw()
        assert len(display.lines_) == len(display.points_) == 4
        assert np.isnan(display.lines_[1].get_ydata()).all()
        assert np.isnan(display.points_[3][0].get_xydata()[:, 1]).tolist() == [True, False]
        assert legend(display)[1] == "0 → 2: \N{EN DASH}"

    def test_from_states(self, pyplot: Any, rng: np.random.Generator) -> None:
        rates = {
            0.8: np.array([[0.97, 0.03], [0.06, 0.94]]),
            1.4: np.array([[0.9, 0.1], [0.2, 0.8]]),
        }
        states = [MarkovStateModel(m).simulate(3000, start=0, seed=1) for m in rates.values()]
        index = pd.MultiIndex.from_product([[1.0, 1.2], [0, 1]], names=["temperature", "state"])
        populations = pd.DataFrame({"population": 0.5, "standard_error": 0.01}, index=index)
        options: dict[str, Any] = {"temperature": list(rates), "time_step": 0.5, "confidence": 0.8}
        ax = matplotlib.figure.Figure().subplots()
        display = ArrheniusDisplay.from_states(
            states, 2, populations=populations, boltzmann_constant=1.0, random_state=0,
            time_unit="ps", ax=ax, lw=3, **options,
        )  # fmt: skip
        expected = kinetics.rates(states, 2, random_state=0, **options)
        pd.testing.assert_frame_equal(display.rates, expected)
        assert display.ax_ is ax
        assert display.figure_ is ax.figure
        assert [m.temperature for m in display.predicted] == [1.0, 1.2]
        known = kinetics.rates_at(display.fit, populations, temperature=1.2, confidence=0.8)
        pd.testing.assert_frame_equal(display.predicted[1].rates, known.rates)
        assert {line.get_linewidth() for line in display.lines_} == {3}
        assert display.ax_.get_ylabel() == "rate (1/ps)"
        assert pyplot.get_fignums() == []
        alone = ArrheniusDisplay.from_states(states, 2, boltzmann_constant=1.0, **options)
        assert alone.predicted == []
        variables = [s[:, None] + 0.1 * rng.normal(size=(len(s), 1)) for s in states]
        fine = ArrheniusDisplay.from_states(
            states, 2, variables=variables, boltzmann_constant=1.0, random_state=0, **options
        )
        expected = kinetics.rates(states, 2, variables=variables, random_state=0, **options)
        pd.testing.assert_frame_equal(fine.rates, expected)

    def test_errors(self, fit: kinetics.ArrheniusFit) -> None:
        with pytest.raises(TypeError, match=r"`rates` to be a DataFrame .*, got dict"):
            ArrheniusDisplay({}, fit)
        with pytest.raises(ValueError, match="columns rate, low, high, got index"):
            ArrheniusDisplay(table([300]).drop(columns="low"), fit)
        with pytest.raises(ValueError, match="`reference` to be a DataFrame with index"):
            ArrheniusDisplay(table([300]), fit, reference=table([300]).reset_index())
        with pytest.raises(TypeError, match=r"`populations` to be a DataFrame .*, got list"):
            ArrheniusDisplay.from_states(
                [[0, 0, 1, 1, 0, 0, 1, 1, 0]] * 2, 1, temperature=[300, 400], populations=[0.5, 0.5]
            )
