"""What a notebook shows of a model, and what a fit says while it runs."""

from __future__ import annotations

import logging
import re

import pytest
import sklearn
from conftest import TINY, fit_quietly, tiny_extrapolator, tiny_latf
from sklearn.utils._repr_html.estimator import estimator_html_repr

from latflow import LaTFEstimator
from latflow.units import with_error


def html_of(model) -> str:
    bundle = model._repr_mimebundle_()
    assert bundle["text/plain"] == repr(model)
    return bundle["text/html"]


class TestTable:
    @pytest.mark.parametrize("make", [tiny_latf, tiny_extrapolator])
    def test_unfitted_it_is_the_diagram_alone(self, make) -> None:
        assert "<caption" not in html_of(make())
        assert "sk-top-container" in html_of(make())

    def test_populations_with_errors_melting_and_support(self, melting) -> None:
        _, model = melting
        html = html_of(model)
        assert html.split("<caption")[1] == model._repr_html_().split("<caption")[1]
        assert html.index("sk-top-container") < html.index("<caption")
        table = model.state_populations([0.6, 0.8, 1.0])
        for value, error in table.to_numpy():
            assert f">{with_error(value, error)}<" in html
        points = [model.melting_temperature(s) for s in range(model.n_states_)]
        (point,) = [p for p in points if p.slope < 0]
        assert f"{with_error(point.temperature, point.standard_error)} (" in html
        supports = model.support([0.6, 0.8, 1.0])["support"]
        assert re.findall(r">(\w*support\w*|extrapolated)</td>", html) == supports.tolist()

    def test_a_latf_at_its_simulated_temperatures(self, latf) -> None:
        html = html_of(latf).split("<caption")[1]
        assert re.findall(r">(0\.8|1\.1|1\.4)</td>", html) == ["0.8", "1.4"]

    def test_one_unnamed_temperature(self, few_frames) -> None:
        model = fit_quietly(tiny_latf(), few_frames[0])
        html = html_of(model).removeprefix(estimator_html_repr(model))
        assert f"{model.n_components_} collective variables, lagtime {model.lagtime_}" in html

    def test_as_text_where_that_is_wanted(self, latf) -> None:
        with sklearn.config_context(display="text"):
            assert list(latf._repr_mimebundle_()) == ["text/plain"]


class TestWhatAFitSays:
    def test_its_plan_goes_to_the_log(self, few_frames, caplog, capsys) -> None:
        with caplog.at_level(logging.INFO, "latflow"):
            fit_quietly(tiny_latf(), few_frames[0])
        assert "frames of 2 features, in memory" in caplog.text
        assert capsys.readouterr() == ("", "")

    def test_the_bar_counts_steps_to_the_end(self, three_hole, capsys) -> None:
        fit_quietly(LaTFEstimator(verbose=1, **TINY), three_hole["trajectories"][:4])
        told = capsys.readouterr().err
        assert f"/{TINY['max_iter']} [" in told
        assert re.search(r"\[\d\d:\d\d<(\d\d:\d\d|\?)", told)
        assert "density" in told
