"""What a notebook shows under scikit-learn's diagram of a fitted model: a small table."""

from __future__ import annotations

from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING

import pandas as pd
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from latflow._validation import heard
from latflow.units import with_error

if TYPE_CHECKING:
    from latflow.estimators.extrapolator import TemperatureExtrapolator
    from latflow.estimators.latf import LaTFEstimator

CELL = "padding: 0.15em 0.8em; text-align: right;"


def table_of(model: LaTFEstimator | TemperatureExtrapolator) -> str:
    """Return states, populations with errors, melting temperatures and support as HTML.

    Parameters
    ----------
    model : LaTFEstimator or TemperatureExtrapolator

    Returns
    -------
    str
        Empty for a model that is not fitted.
    """
    try:
        check_is_fitted(model)
    except NotFittedError:
        return ""
    with heard():  # what is not known is a dash, and support says why
        columns = _columns(model)
        melting = _melting(model)
    states = f"{model.n_states_} states" if model.n_states_ != 1 else "1 state"
    said = [f"{states}, {model.n_components_} collective variables, lagtime {model.lagtime_}"]
    said += melting
    if not columns:
        return f"<p>{escape('. '.join(said))}.</p>"
    head = "".join(f"<th scope='col' style='{CELL}'>{escape(name)}</th>" for name in columns)
    body = "".join(
        f"<tr>{''.join(f'<td style={CELL!r}>{escape(cell)}</td>' for cell in row)}</tr>"
        for row in zip(*columns.values(), strict=True)
    )
    return (
        f"<table><caption style='text-align: left'>{escape('. '.join(said))}.</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _columns(model: LaTFEstimator | TemperatureExtrapolator) -> dict[str, list[str]]:
    """Return the columns of the table, without any for a model of one unnamed temperature."""
    temperatures = [float(t) for t in model.temperatures_]
    if not temperatures:
        return {}
    if model.ensemble_ is not None:
        temperatures = sorted([*temperatures, *((a + b) / 2 for a, b in pairwise(temperatures))])
    unit = model.units_.temperature
    columns = {f"T ({unit})" if unit else "T": [f"{t:g}" for t in temperatures]}
    if model.n_states_:
        table: pd.DataFrame = model.state_populations(temperatures)
        for state in range(model.n_states_):
            rows = table.xs(state, level="state")
            pairs = zip(rows["population"], rows["standard_error"], strict=True)
            columns[f"state {state}"] = [with_error(value, error) for value, error in pairs]
    if model.ensemble_ is not None:
        columns["support"] = model.ensemble_.support(temperatures)["support"].tolist()
    return columns


def _melting(model: LaTFEstimator | TemperatureExtrapolator) -> list[str]:
    """Return a sentence for each state that loses half of the population when heated."""
    ensemble, sentences = model.ensemble_, []
    if ensemble is None or ensemble.n_states < 2:
        return []
    for state in range(ensemble.n_states):
        t, error, slope = ensemble.melting_temperature(state)
        if slope < 0:
            unit = ensemble.units.temperature
            verdict = ensemble.support(t)["support"].iloc[0]
            sentences.append(f"T_m of state {state}: {with_error(t, error)} {unit}".rstrip())
            sentences[-1] += f" ({verdict})"
    return sentences
