"""What a report says of a model is what the model says."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError

from latflow import LaTFEstimator, TemperatureExtrapolator, load, save
from latflow.report import Reference, model_sections, population_table, write_report
from latflow.thermodynamics import effective_sample_size, role_of
from latflow.units import with_error

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
            "Three independent estimates",
            "States",
            "Training history",
        ]

    def test_what_melts_where(self, melting: Any) -> None:
        model = melting[1]
        section = model_sections(model)[1]
        found = {s: model.melting_temperature(s) for s in (0, 1)}
        (state,) = [s for s, point in found.items() if point.slope < 0]
        number = with_error(found[state].temperature, found[state].standard_error)
        assert section.text == f"State {state} melts at {number} (supported)."

    def test_three_estimates_are_the_models(self, melting: Any) -> None:
        model = melting[1]
        (section,) = [
            s for s in model_sections(model) if s.heading == "Three independent estimates"
        ]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            table = model.cross_check()
        assert section.table["msm"].tolist() == [
            with_error(*row) for row in table[["msm", "msm_error"]].to_numpy()
        ]
        assert all(str(w.message) in section.text for w in caught)

    def test_numbers_are_the_models(self, extrapolator: Any) -> None:
        table = population_table(extrapolator, [1.0, 2.0, 0.8])
        assert table["T"].tolist() == ["0.8", "1", "2"]
        assert table["role"].tolist() == ["simulated", "between", "beyond"]
        for row, t in enumerate([0.8, 1.0, 2.0]):
            found = extrapolator.state_populations(t)
            for state, (p, error) in enumerate(found.to_numpy()):
                assert table[f"state {state}"][row] == with_error(p, error)
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
        population = extrapolator.state_populations(0.9)["population"].iloc[0]
        labels = sections["States"].figure.axes[0].get_legend_handles_labels()[1]
        assert labels[0] == f"state 0 ({100 * population:.1f} %)"

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
            assert row.entropy == with_error(expected["entropy"], expected["entropy_error"])

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
        assert headings(model) == ["", "State populations", "Training history"]
        (row,) = population_table(model).itertuples()
        expected = np.bincount(np.hstack(model.labels_)) / len(model.z_)
        assert list(row[3:]) == [with_error(p, np.nan) for p in expected]
        with pytest.raises(ValueError, match="fit was given none"):
            model_sections(model, [1.0])

    def test_without_states(self, small: Any) -> None:
        settings = {"max_iter": 20, "n_bootstraps": 0, "boltzmann_constant": 1.0}
        model = TemperatureExtrapolator(PCA(2), **settings, random_state=0)
        model = quick(model, small, temperature=small["temperature"])
        expected = ["", "Free-energy surfaces", "Support", "Training history"]
        assert headings(model) == expected
        assert model_sections(model)[0].text.startswith("2 collective variables, learned from")
        assert list(population_table(model)) == ["T", "role", "effective frames", "support"]


@pytest.fixture(scope="module")
def reference(extrapolator: Any) -> Reference:
    temperatures = [0.9, 1.2]
    populations = extrapolator.state_populations(temperatures) * [0.5, 2.0]
    drawn = {t: extrapolator.sample(500, t, random_state=0) for t in temperatures}
    return Reference(drawn, populations)


@pytest.fixture(scope="module")
def sections(extrapolator: Any, reference: Reference) -> dict[str, Any]:
    found = model_sections(extrapolator, [0.9, 1.2], reference=reference)
    return {section.heading: section for section in found}


class TestReference:
    """Whoever has simulations that the model never saw finds them beside the model's answers."""

    def test_populations_stand_beside_the_models(
        self, sections: dict[str, Any], reference: Reference, extrapolator: Any
    ) -> None:
        table = sections["State populations"].table
        assert list(table.columns[:4]) == ["T", "role", "state 0", "reference 0"]
        for state in range(extrapolator.n_states_):
            expected = reference.populations.xs(state, level="state")
            assert table[f"reference {state}"].tolist() == [
                with_error(*row) for row in expected.to_numpy()
            ]
        curves = sections["Populations against temperature"].figure.axes[0]
        assert "reference" in [text.get_text() for text in curves.get_legend().get_texts()]

    def test_surfaces_have_a_second_row_in_kt(self, sections: dict[str, Any]) -> None:
        section = sections["Free-energy surfaces"]
        assert [ax.get_ylabel() for ax in section.figure.axes[:4:2]] == [
            "generated\nCV 2",
            "reference\nCV 2",
        ]
        assert section.caption.startswith("In k_B T;")


def test_surfaces_outside_of_the_generators_range_are_withheld(
    extrapolator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(extrapolator), "temperature_range_", (0.7, 1.5))
    about, *rest = model_sections(extrapolator, [0.9, 1.6])
    surfaces = next(section for section in rest if section.heading == "Free-energy surfaces")
    assert [ax.get_title() for ax in surfaces.figure.axes if ax.get_title()] == ["T = 0.9"]
    assert "At 1.6 free-energy surfaces are withheld" in about.text
    table = next(section for section in rest if section.heading == "State populations").table
    assert table["T"].tolist() == ["0.9", "1.6"]


@pytest.mark.parametrize(
    ("temperature", "role"),
    [(0.8, "simulated"), (1.4 + 1e-12, "simulated"), (1.0, "between"), (0.7, "beyond"),
     (2.0, "beyond")],
)  # fmt: skip
def test_roles(temperature: float, role: str) -> None:
    assert role_of(temperature, np.array([0.8, 1.4])) == role


class TestLaTFEstimator:
    def test_sections(self, latf: Any) -> None:
        expected = ["", "State populations", "Free-energy surfaces", "Training history"]
        assert headings(latf) == expected
        table = population_table(latf)
        assert table["T"].tolist() == ["0.8", "1.4"]
        numbers = zip(latf.populations_[:, 0], latf.population_errors_[:, 0], strict=True)
        assert table["state 0"].tolist() == [with_error(*pair) for pair in numbers]
        assert population_table(latf, [1.4])["state 0"].tolist() == table["state 0"].tolist()[1:]

    def test_other_temperatures(self, latf: Any) -> None:
        with pytest.raises(ValueError, match=r"simulated temperatures \(0.8, 1.4\).* got 1:"):
            model_sections(latf, [1.0])
        with pytest.warns(UserWarning, match="Nothing is said at 1: the model knows the simul"):
            about, *rest = model_sections(latf, [0.8, 1.0])
        assert "Nothing is said at 1: the model knows the simulated" in about.text
        assert rest[0].table["T"].tolist() == ["0.8"]
        assert population_table(latf, [0.8, 1.0])["T"].tolist() == ["0.8"]

    def test_without_temperature(self, small: Any) -> None:
        model = quick(LaTFEstimator(5, **QUICK), small)
        assert headings(model) == ["", "State populations", "Training history"]
        assert "one unnamed temperature" in model_sections(model)[0].text

    def test_not_fitted(self) -> None:
        with pytest.raises(NotFittedError):
            model_sections(LaTFEstimator())
