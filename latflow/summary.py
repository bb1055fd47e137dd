"""What a report says of a fitted model: `model_sections` names the sections in their order."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from latflow._validation import check_temperature
from latflow.estimators import LaTFEstimator, TemperatureExtrapolator
from latflow.plotting import (
    FreeEnergyDisplay,
    HistoryDisplay,
    MeltingCurveDisplay,
    PopulationsDisplay,
    StatesDisplay,
    SupportDisplay,
)
from latflow.plotting.style import energy_unit, temperature_unit
from latflow.report import MISSING, Section, blank_figure

__all__ = ["model_sections", "population_table"]

FloatArray = NDArray[np.float64]
Model = LaTFEstimator | TemperatureExtrapolator

CURVE_POINTS = 41
SURFACE_GRID = 80
MOST_SURFACES = 6
QUANTITIES = {
    "free energy": ("free_energy", "{energy}"),
    "energy": ("energy", "{energy}"),
    "entropy": ("entropy", "{energy}/{temperature}"),
    "heat capacity": ("heat_capacity", "{energy}/{temperature}"),
}


def model_sections(model: Model, temperatures: Sequence[float] | None = None) -> list[Section]:
    """Return the sections of a report about a fitted model, top to bottom.

    Parameters
    ----------
    model : LaTFEstimator or TemperatureExtrapolator
        Fitted, or loaded.
    temperatures : sequence of float, optional
        To report on; the simulated ones, and those halfway between, if not given. Of a
        LaTFEstimator only the simulated ones can be.

    Returns
    -------
    list of Section
        For :func:`latflow.report.write_report`.

    Raises
    ------
    ValueError
        For temperatures that the model does not know.
    """
    check_is_fitted(model)
    wanted = _wanted(model, temperatures)
    sections = [
        _about(model, wanted),
        _melting(model, wanted),
        _populations(model, wanted),
        _thermodynamics(model, wanted),
        _surfaces(model, wanted),
        _curves(model, wanted),
        _support(model, wanted),
        _roads(model),
        _states(model, wanted),
        _training(model),
    ]
    return [section for section in sections if section is not None]


def _wanted(model: Model, temperatures: Sequence[float] | None) -> list[float]:
    """Return the temperatures to report on, ascending."""
    simulated = [float(t) for t in model.temperatures_]
    if temperatures is None and isinstance(model, LaTFEstimator):
        return simulated
    if temperatures is None:
        between = [(a + b) / 2 for a, b in pairwise(simulated)]
        return sorted(simulated + between)
    asked = sorted({check_temperature(t) for t in temperatures})
    unknown = [t for t in asked if not np.isclose(t, simulated).any()]
    if unknown and (isinstance(model, LaTFEstimator) or not simulated):
        names = ", ".join(f"{t:g}" for t in simulated) or "none was given to fit"
        raise ValueError(
            f"Expected simulated temperatures ({names}) for this model, got {unknown[0]:g}: others "
            "need TemperatureExtrapolator and simulations at two temperatures."
        )
    return asked


def _about(model: Model, wanted: list[float]) -> Section:
    inner = _inner(model)
    unit = temperature_unit(inner)
    simulated = _listed(model.temperatures_) or "one unnamed temperature"
    text = (
        f"{_number(inner.n_states_, 'metastable state')} in "
        f"{_number(inner.n_components, 'collective variable')}, "
        f"learned from {_n_frames(model):,} frames of {inner.n_features_in_} features, simulated "
        f"at {simulated} {unit}".rstrip()
        + f", with a lagtime of {inner.lagtime} frames. "
    )
    if isinstance(model, TemperatureExtrapolator):
        text += f"Temperatures are connected by the method {model.method}."
    if not inner.converged_:
        text += "\n\nThe labels had not settled at the end of the fit: take more steps (max_iter)."
    lost = [t for t in wanted if not _reached(model, t)]
    if lost:
        text += (
            f"\n\nAt {_listed(lost)} {unit}".rstrip() + " too few training frames carry the "
            "weight, or the bootstraps disagree: what is said there is unsupported, and "
            "free-energy surfaces are withheld."
        )
    return Section("", text)


def _melting(model: Model, wanted: list[float]) -> Section | None:
    """Say which states lose half of the population to others when heated, and where."""
    inner = _inner(model)
    if not isinstance(model, TemperatureExtrapolator) or not wanted or inner.n_states_ < 2:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of states that melt nowhere
        found = {s: model.melting_temperature(s) for s in range(inner.n_states_)}
    melting = {s: point for s, point in found.items() if point.slope < 0}
    if not melting:
        return Section("What melts where", "No state falls below half of the population here.")
    unit = temperature_unit(inner)
    sentences = [
        f"State {s} melts at {_with_error(point.temperature, point.standard_error)} {unit}".rstrip()
        + f" ({model.support(point.temperature)['support'].iloc[0]})."
        for s, point in melting.items()
    ]
    figure = blank_figure(7.4, 4.0)
    MeltingCurveDisplay.from_estimator(model, next(iter(melting)), ax=figure.subplots())
    return Section("What melts where", " ".join(sentences), figure=figure)


def _roads(model: Model) -> Section | None:
    """Compare flow, reweighted frames and Markov models; disagreements are sentences."""
    if not isinstance(model, TemperatureExtrapolator) or not len(model.temperatures_):
        return None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        table = model.cross_check()
    rows = []
    for place, (_, found) in zip(table.index.to_list(), table.iterrows(), strict=True):
        numbers = {
            f"{road} population": _with_error(found[road], found[f"{road}_error"])
            for road in ("flow", "frames", "msm")
        }
        rows.append({"T": f"{place[0]:g}", "state": str(place[1])} | numbers)
    text = (
        "Samples of the generated density, reweighted frames of all temperatures, and the "
        "stationary distribution of a Markov model of one temperature alone."
    )
    said = [str(warning.message) for warning in caught]
    text += "\n\n" + ("Beyond the error bars: " + " ".join(said) if said else "They agree.")
    return Section("Three independent roads", text, pd.DataFrame(rows))


def _populations(model: Model, wanted: list[float]) -> Section:
    if isinstance(model, TemperatureExtrapolator) and wanted:
        text = (
            "Equilibrium population of each state ± one standard error: of the sampled "
            "trajectories and, away from two simulated temperatures, of heat capacities that these "
            "cannot show. Effective frames: Kish's effective sample size of the frames' weights."
        )
    else:
        text = "Share of the frames in each state."
    return Section("State populations", text, _population_table(model, wanted))


def _thermodynamics(model: Model, wanted: list[float]) -> Section | None:
    inner = _inner(model)
    if not isinstance(model, TemperatureExtrapolator) or not wanted or inner.n_states_ < 2:
        return None
    units = {"energy": energy_unit(inner), "temperature": temperature_unit(inner)}
    table = model.thermodynamics(wanted)
    rows = []
    for k, (t, state) in enumerate(table.index.to_list()):
        found, row = table.iloc[k], {"T": f"{t:g}", "state": str(state)}
        for name, (column, unit) in QUANTITIES.items():
            unit = unit.format(**units) if units["temperature"] else ""
            label = f"{name} ({unit})" if unit else name
            row[label] = _with_error(found[column], found[f"{column}_error"])
        rows.append(row)
    text = (
        "Differences of each state from all others together ± one standard error: a free energy of "
        "0 is half of the population. At constant pressure energy is the enthalpy."
    )
    return Section("Thermodynamics of the states", text, pd.DataFrame(rows))


def _surfaces(model: Model, wanted: list[float]) -> Section | None:
    inner = _inner(model)
    wanted = [t for t in wanted if _reached(model, t)]
    if inner.n_components > 2 or not wanted:
        return None
    places = np.linspace(0, len(wanted) - 1, min(len(wanted), MOST_SURFACES))
    shown = [wanted[k] for k in np.unique(places.round().astype(int))]
    figure = blank_figure(max(2.6 * len(shown) + 0.8, 4.2), 3.2)
    FreeEnergyDisplay.from_estimator(
        model,
        temperature=shown,
        n_grid=SURFACE_GRID,
        axes=figure.subplots(1, len(shown), sharex=True, sharey=True, squeeze=False),
    )
    unit = energy_unit(inner)
    caption = f"In {unit}; the minimum of each is 0. Grey lies higher than the scale."
    if isinstance(model, TemperatureExtrapolator):
        caption += " White was not reached by the training frames."
    return Section("Free-energy surfaces", figure=figure, caption=caption)


def _curves(model: Model, wanted: list[float]) -> Section | None:
    if not isinstance(model, TemperatureExtrapolator) or not wanted:
        return None
    figure = blank_figure(7.4, 4.0)
    PopulationsDisplay.from_estimator(
        model, temperature=_along(model, wanted), ax=figure.subplots()
    )
    return Section(
        "Populations against temperature",
        figure=figure,
        caption="Lines with a band of one standard error.",
    )


def _support(model: Model, wanted: list[float]) -> Section | None:
    if not isinstance(model, TemperatureExtrapolator) or not wanted:
        return None
    figure = blank_figure(7.4, 3.6)
    SupportDisplay.from_estimator(model, temperature=_along(model, wanted), ax=figure.subplots())
    return Section(
        "Support",
        figure=figure,
        caption="Effective training frames at each temperature, as a share of those at the nearest "
        "simulated one.",
    )


def _states(model: Model, wanted: list[float]) -> Section | None:
    """Draw the training frames, which an extrapolator keeps and a LaTFEstimator does not."""
    if not isinstance(model, TemperatureExtrapolator) or _inner(model).n_components > 2:
        return None
    figure = blank_figure(6.5, 4.2)
    weights = _weights(model, wanted[0]) if wanted else None
    StatesDisplay(model.z_, model.labels_, weights=weights).plot(ax=figure.subplots())
    where = f"at {wanted[0]:g} {temperature_unit(_inner(model))}".rstrip() if wanted else "in all"
    return Section(
        "States",
        figure=figure,
        caption=f"Training frames of all temperatures by state; populations {where}.",
    )


def _training(model: Model) -> Section:
    history = list(model.history_)
    if isinstance(model, TemperatureExtrapolator):
        history = _inner(model).history_ + history
    display = HistoryDisplay(history)
    n_panels = len(display.panels)
    figure = blank_figure(3.6 * n_panels + 0.4, 3.2)
    display.plot(axes=figure.subplots(1, n_panels, squeeze=False))
    return Section("Training history", figure=figure)


# ------------------------------------------------------------------ numbers


def population_table(model: Model, temperatures: Sequence[float] | None = None) -> pd.DataFrame:
    """Return the population of each state as text, one row per temperature.

    Parameters
    ----------
    model, temperatures
        As for :func:`model_sections`.

    Returns
    -------
    DataFrame
        Columns `T`, `role` (simulated, interpolated or extrapolated), `state 0`, ... and, of a
        TemperatureExtrapolator, `effective frames` and `support`.
    """
    check_is_fitted(model)
    return _population_table(model, _wanted(model, temperatures))


def _population_table(model: Model, wanted: list[float]) -> pd.DataFrame:
    names = [f"state {k}" for k in range(_inner(model).n_states_)]
    rows = []
    asked: list[float | None] = [*wanted] if wanted else [None]
    for t in asked:
        row: dict[str, Any] = {"T": MISSING if t is None else f"{t:g}", "role": _role(model, t)}
        row |= dict(zip(names, _shares(model, t), strict=True))
        if isinstance(model, TemperatureExtrapolator) and t is not None:
            found = model.support(t).iloc[0]
            row["effective frames"] = f"{found['effective_sample_size']:.0f}"
            row["support"] = found["support"]
        rows.append(row)
    return pd.DataFrame(rows)


def _listed(values: Sequence[float] | FloatArray) -> str:
    """Write numbers as 1, 2 and 3."""
    *first, last = [f"{v:g}" for v in values] or [""]
    return f"{', '.join(first)} and {last}" if first else last


def _number(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def _inner(model: Model) -> LaTFEstimator:
    return model.estimator_ if isinstance(model, TemperatureExtrapolator) else model


def _n_frames(model: Model) -> int:
    labels = _inner(model).labels_
    return sum(map(len, labels)) if isinstance(labels, list) else len(labels)


def _weights(model: TemperatureExtrapolator, temperature: float) -> FloatArray:
    found = model.frame_weights(temperature)
    return np.concatenate(found) if isinstance(found, list) else found


def _reached(model: Model, temperature: float) -> bool:
    """Whether the training frames support anything at a temperature."""
    if not isinstance(model, TemperatureExtrapolator):
        return True
    return bool((model.support(temperature)["support"] != "unsupported").all())


def _along(model: TemperatureExtrapolator, wanted: list[float]) -> FloatArray:
    """Return temperatures for curves: over those asked for and the simulated ones."""
    known = [*wanted, *model.temperatures_]
    return np.unique(np.linspace(min(known), max(known), CURVE_POINTS))


def _with_error(value: float, error: float) -> str:
    """Write a number with two digits of its error."""
    if not np.isfinite(value):
        return MISSING
    if not np.isfinite(error) or error <= 0:
        return f"{value:.3g}"
    digits = max(0, 1 - int(np.floor(np.log10(error))))
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def _role(model: Model, temperature: float | None) -> str:
    simulated = model.temperatures_
    if temperature is None or np.isclose(temperature, simulated).any():
        return "simulated"
    inside = simulated.min() < temperature < simulated.max()
    return "interpolated" if inside else "extrapolated"


def _shares(model: Model, temperature: float | None) -> list[str]:
    """Return the population of each state as text, with its error where that is known."""
    if isinstance(model, TemperatureExtrapolator) and temperature is not None:
        found = model.state_populations(temperature)
        pairs = zip(found["population"], found["standard_error"], strict=True)
        return [f"{p:.3f} ± {e:.3f}" for p, e in pairs]
    inner = _inner(model)
    row = 0 if temperature is None else int(np.abs(inner.temperatures_ - temperature).argmin())
    return [f"{p:.3f}" for p in inner.populations_[row]]
