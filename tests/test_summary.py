"""What a report says of a model is what the model says."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from latflow import LaTFEstimator, TemperatureExtrapolator, load, save
from latflow.report import write_report
from latflow.summary import _with_error, model_sections, population_table
from latflow.thermodynamics import effective_sample_size

QUICK: dict[str, Any] = {"max_iter": 20, "boltzmann_constant": 1.0, "random_state": 0}


def headings(model: Any, *temperatures: float) -> list[str]:
    return [section.heading for section in model_sections(model, temperatures or None)]


@pytest.fixture(scope="module")
def small(three_hole: Any) -> dict[str, Any]:
    return {name: three_hole[name][18:22] for name in ("trajectories", "temperature")}


def quick(model: Any, small: Any, **given: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(small["trajectories"], **given)


class TestExtrapolator:
    def test_sections(self, extrapolator: Any) -> None:
        assert headings(extrapolator) == [
            "",
            "What melts where",
            "State populations",
            "Thermodynamics of the states",
            "Free-energy surfaces",
            "Populations against temperature",
            "Support",
            "Three independent roads",
            "States",
            "Training history",
        ]

    def test_what_melts_where(self, melting: Any) -> None:
        model = melting[1]
        section = model_sections(model)[1]
        found = {s: model.melting_temperature(s) for s in (0, 1)}
        (state,) = [s for s, point in found.items() if point.slope < 0]
        number = _with_error(found[state].temperature, found[state].standard_error)
        assert section.text == f"State {state} melts at {number} (supported)."

    def test_three_roads_are_the_models(self, melting: Any) -> None:
        model = melting[1]
        (section,) = [s for s in model_sections(model) if s.heading == "Three independent roads"]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            table = model.cross_check()
        assert section.table["msm population"].tolist() == [
            _with_error(*row) for row in table[["msm", "msm_error"]].to_numpy()
        ]
        assert all(str(w.message) in section.text for w in caught)

    def test_numbers_are_the_models(self, extrapolator: Any) -> None:
        table = population_table(extrapolator, [1.0, 2.0, 0.8])
        assert table["T"].tolist() == ["0.8", "1", "2"]
        assert table["role"].tolist() == ["simulated", "interpolated", "extrapolated"]
        for row, t in enumerate([0.8, 1.0, 2.0]):
            found = extrapolator.state_populations(t)
            for state, (p, error) in enumerate(found.to_numpy()):
                assert table[f"state {state}"][row] == f"{p:.3f} ± {error:.3f}"
            weights = np.concatenate(extrapolator.frame_weights(t))
            assert int(table["effective frames"][row]) == round(effective_sample_size(weights))

    def test_default_temperatures(self, extrapolator: Any) -> None:
        assert population_table(extrapolator)["T"].tolist() == ["0.8", "1.1", "1.4"]

    def test_figures_are_drawn_at_these_temperatures(self, extrapolator: Any) -> None:
        sections = {s.heading: s for s in model_sections(extrapolator, [0.9, 1.2])}
        axes = sections["Free-energy surfaces"].figure.axes
        assert [ax.get_title() for ax in axes[:2]] == ["T = 0.9", "T = 1.2"]
        curve = sections["Populations against temperature"].figure.axes[0].lines[0]
        assert (curve.get_xdata()[0], curve.get_xdata()[-1]) == (0.8, 1.4)
        share = extrapolator.state_populations(0.9)["population"].iloc[0]
        labels = sections["States"].figure.axes[0].get_legend_handles_labels()[1]
        assert labels[0] == f"state 0 ({100 * share:.1f} %)"

    def test_many_temperatures_get_few_panels(self, extrapolator: Any) -> None:
        sections = {s.heading: s for s in model_sections(extrapolator, np.linspace(0.8, 1.4, 25))}
        titles = [ax.get_title() for ax in sections["Free-energy surfaces"].figure.axes[:6]]
        assert titles[0].startswith("T = 0.8 ")
        assert titles[-1].startswith("T = 1.4 ")
        assert len(sections["State populations"].table) == 25

    def test_a_saved_model_gives_the_same_page(self, extrapolator: Any, tmp_path: Path) -> None:
        save(extrapolator, tmp_path / "m")
        pages = [
            write_report(tmp_path / f"{k}.html", title="t", sections=model_sections(m, [1.0]))
            for k, m in enumerate([extrapolator, load(tmp_path / "m")])
        ]
        assert pages[0].read_text() == pages[1].read_text()

    def test_thermodynamics_are_the_models(self, extrapolator: Any) -> None:
        table = {s.heading: s for s in model_sections(extrapolator, [1.0])}[
            "Thermodynamics of the states"
        ].table
        found = extrapolator.thermodynamics(1.0)
        assert list(table.columns[2:]) == ["free energy", "energy", "entropy", "heat capacity"]
        for row, (_, expected) in zip(table.itertuples(), found.iterrows(), strict=True):
            value, error = map(float, row.entropy.split(" ± "))
            assert error == pytest.approx(expected["entropy_error"], rel=0.05)
            assert value == pytest.approx(expected["entropy"], abs=0.05 * error)

    def test_unsupported(self, extrapolator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        honest = TemperatureExtrapolator.support

        def support(self: Any, temperatures: Any) -> Any:
            table = honest(self, temperatures)
            table.loc[table.index > 1.05, "support"] = "unsupported"
            return table

        monkeypatch.setattr(TemperatureExtrapolator, "support", support)
        sections = {s.heading: s for s in model_sections(extrapolator, [1.0, 1.1, 1.2])}
        assert "At 1.1 and 1.2 too few training frames" in sections[""].text
        titles = [ax.get_title() for ax in sections["Free-energy surfaces"].figure.axes]
        assert titles[0] == "T = 1"
        assert len(titles) == 2
        assert sections["State populations"].table["support"].tolist()[1:] == ["unsupported"] * 2

    @pytest.mark.parametrize(("components", "figures"), [(1, 5), (3, 3)])
    def test_components(self, small: Any, components: int, figures: int) -> None:
        inner = LaTFEstimator(5, components, **QUICK)
        model = quick(
            TemperatureExtrapolator(inner, max_iter=20, random_state=0),
            small,
            temperature=small["temperature"],
        )
        found = model_sections(model)
        assert sum(section.figure is not None for section in found) == figures

    def test_without_temperature(self, small: Any) -> None:
        model = quick(TemperatureExtrapolator(LaTFEstimator(5, **QUICK)), small)
        assert headings(model) == ["", "State populations", "States", "Training history"]
        with pytest.raises(ValueError, match="none was given to fit"):
            model_sections(model, [1.0])


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (-5.3042, 0.4149, "-5.30 ± 0.41"),
        (4.98e-5, 0.00163, "0.0000 ± 0.0016"),
        (1234.4, 56.7, "1234 ± 57"),
        (0.25, np.nan, "0.25"),
        (np.nan, 0.1, "\u2013"),
    ],
)
def test_two_digits_of_the_error(value: float, error: float, text: str) -> None:
    assert _with_error(value, error) == text


class TestLaTFEstimator:
    def test_sections(self, latf: Any) -> None:
        expected = ["", "State populations", "Free-energy surfaces", "Training history"]
        assert headings(latf) == expected
        table = population_table(latf)
        assert table["T"].tolist() == ["0.8", "1.4"]
        assert table["state 0"].tolist() == [f"{p:.3f}" for p in latf.populations_[:, 0]]
        assert population_table(latf, [1.4])["state 0"].tolist() == table["state 0"].tolist()[1:]

    def test_other_temperatures(self, latf: Any) -> None:
        with pytest.raises(ValueError, match=r"simulated temperatures \(0.8, 1.4\).* got 1:"):
            model_sections(latf, [0.8, 1.0])

    def test_without_temperature(self, small: Any) -> None:
        model = quick(LaTFEstimator(5, **QUICK), small)
        assert headings(model) == ["", "State populations", "Training history"]
        assert "one unnamed temperature" in model_sections(model)[0].text

    def test_not_fitted(self) -> None:
        with pytest.raises(NotFittedError):
            model_sections(LaTFEstimator())
