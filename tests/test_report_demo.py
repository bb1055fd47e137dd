"""The demo end to end at a tiny size, and the parts whose answers are known."""

from __future__ import annotations

import re
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.utils import Bunch

from latflow.report import DemoResult, demo, readable, run_demo

TEMPERATURES = (0.2, 0.35)


def run(folder: Path, **options: Any) -> tuple[DemoResult, list[str]]:
    lines: list[str] = []
    size: dict[str, Any] = {"n_frames": 400, "n_reference": 400, "n_jobs": 1, "max_iter": 30}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # so short a fit says that it has not converged
        result = run_demo(output=folder / "demo.html", report=lines.append, **(size | options))
    return result, lines


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[DemoResult, list[str]]:
    return run(tmp_path_factory.mktemp("demo"), temperatures=TEMPERATURES)


class TestDemo:
    def test_one_row_per_temperature(self, finished: tuple[DemoResult, list[str]]) -> None:
        table = finished[0].table
        assert table["T"].tolist() == list(TEMPERATURES)
        assert table["role"].tolist() == ["simulated", "between"]

    def test_divergences_lie_between_their_bounds(
        self, finished: tuple[DemoResult, list[str]]
    ) -> None:
        table = finished[0].table
        for name in ("JS enthalpy", "JS tilted", "JS mbar", "noise floor"):
            assert table[name].between(1e-4, np.log(2)).all()
        assert (table["noise floor"] < table["JS mbar"]).all()

    @pytest.mark.parametrize("kind", ["predicted", "reference"])
    def test_populations_add_up(self, finished: tuple[DemoResult, list[str]], kind: str) -> None:
        columns = finished[0].table.filter(regex=rf"^P\d+ {kind}$")
        assert columns.shape[1] >= 1
        np.testing.assert_allclose(columns.sum(axis=1), 1.0)

    def test_report_holds_the_table_and_its_figures(
        self, finished: tuple[DemoResult, list[str]]
    ) -> None:
        result = finished[0]
        page = result.path.read_text(encoding="utf-8")
        for column in readable(result.table):
            for cell in readable(result.table)[column]:
                assert f">{cell}<" in page
        sources = re.findall(r'src="([^"]{0,30})', page)
        assert len(sources) >= 4  # of so few frames nothing melts
        assert all(source.startswith("data:image/png;base64,") for source in sources)
        assert "http" not in re.sub(r"http-equiv|base64,[^\"]*", "", page)

    def test_progress_and_timings(self, finished: tuple[DemoResult, list[str]]) -> None:
        result, lines = finished
        simulations = enumerate([0.2, 0.5, 0.2, 0.35], start=1)
        assert lines[:4] == [f"simulated T = {t:g} ({k} of 4)" for k, t in simulations]
        steps = ["simulation", "fit, enthalpy", "fit, tilted", "fit, mbar", "comparison", "figures"]
        assert [line.split(":")[0] for line in lines[4:]] == steps
        assert [*steps, "total"] == list(result.timings)
        spent = sum(result.timings[step] for step in steps)
        assert spent == pytest.approx(result.timings["total"], rel=0.05)

    def test_no_figure_is_left_open(self, finished: tuple[DemoResult, list[str]]) -> None:
        import matplotlib.pyplot as plt

        assert plt.get_fignums() == []


class TestRefusals:
    @pytest.fixture(autouse=True)
    def no_simulation(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            demo, "make_lj7", lambda *_, **__: pytest.fail("simulated before checking")
        )

    @pytest.mark.parametrize(
        ("options", "match"),
        [
            ({"n_frames": 0}, "`n_frames` to be an integer >= 1"),
            ({"n_reference": 2.5}, "`n_reference` to be an integer >= 1"),
            ({"train_temperatures": [0.2, 0.2]}, "`train_temperatures` to hold at least 2"),
            ({"temperatures": []}, "`temperatures` to hold at least 1"),
            ({"temperatures": [-1.0]}, "`temperatures` to be a finite number > 0"),
        ],
    )
    def test_values(self, tmp_path: Path, options: dict[str, Any], match: str) -> None:
        with pytest.raises(ValueError, match=match):
            run(tmp_path, **options)

    def test_output(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="`output` in an existing folder"):
            run(tmp_path / "none")

    def test_no_matplotlib(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
        with pytest.raises(ImportError, match=r"latflow\[plot\]"):
            run(tmp_path)


def test_processes_simulate_what_one_would() -> None:
    plan = [(40, 0.5, 3), (40, 0.7, 4)]
    together = demo._simulate(plan, 2, lambda line: None)
    alone = demo._simulate_one(*plan[1])
    np.testing.assert_array_equal(alone.trajectories, together[1].trajectories)
    np.testing.assert_array_equal(alone.energies, together[1].energies)
    assert not np.array_equal(together[0].trajectories, together[1].trajectories)


def test_populations_of_the_reference_and_their_error_over_trajectories() -> None:
    model: Any = SimpleNamespace(n_states_=2, predict=lambda x: x, transform=lambda x: x)
    labels = [np.array([0, 0, 0, 1]), np.array([0, 1, 1, 1])]
    variables, populations = demo._seen_by(
        model, [Bunch(trajectories=labels, temperature=[0.3, 0.3])]
    )
    assert populations.index.names == ["temperature", "state"]
    assert populations.loc[(0.3, 0), "population"] == 0.5
    assert populations.loc[(0.3, 1), "standard_error"] == pytest.approx(0.25)
    np.testing.assert_array_equal(variables[0.3], np.concatenate(labels))


def test_readable_rounds_to_the_error() -> None:
    table = pd.DataFrame(
        {
            "T": [0.2, 0.5, 0.7],
            "role": "simulated",
            "JS enthalpy": [0.00371, 0.1, 0.2],
            "noise floor": 0.00123,
            "P0 predicted": [0.73649, 0.98765, 1.0],
            "P0 predicted error": [0.0071, 0.00041, 0.0],
            "P0 reference": [0.5, 0.98, 1.0],
            "P0 reference error": [0.21, 1e-3, np.nan],
        }
    )
    text = readable(table)
    assert text["T"].tolist() == ["0.2", "0.5", "0.7"]
    assert text["JS enthalpy"].tolist() == ["0.0037", "0.1000", "0.2000"]
    assert text["P0 predicted"].tolist() == ["0.736 ± 0.007", "0.9877 ± 0.0004", "1"]
    assert text["P0 reference"].tolist() == ["0.5 ± 0.2", "0.9800 ± 0.0010", "1"]
    assert list(text) == ["T", "role", "JS enthalpy", "noise floor", "P0 predicted", "P0 reference"]
