"""What a report says of a fitted model: `model_sections` names the sections in their order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from latflow import plotting
from latflow._typing import FloatArray
from latflow._validation import check_temperature, heard, warn
from latflow.estimators import LaTFEstimator, TemperatureExtrapolator
from latflow.report.page import Section, blank_figure
from latflow.thermodynamics import MeltingTemperature, role_of
from latflow.units import MISSING, with_error

Model = LaTFEstimator | TemperatureExtrapolator

CURVE_POINTS = 26
SURFACE_GRID = 80
MOST_SURFACES = 6
QUANTITIES = ["free_energy", "energy", "entropy", "heat_capacity"]


@dataclass(frozen=True)
class Reference:
    """What a model is compared with: simulations that it never saw, or nothing.

    Attributes
    ----------
    variables : dict of float to ndarray of shape (n_frames, n_components), or None
        Collective variables per temperature.
    populations : DataFrame or None
        Index (`temperature`, `state`), columns `population` and `standard_error`.
    """

    variables: Mapping[float, FloatArray] | None = None
    populations: pd.DataFrame | None = None


@dataclass(frozen=True)
class Subject:
    """What a report is about.

    Attributes
    ----------
    model : LaTFEstimator or TemperatureExtrapolator
    temperatures : list of float
        Ascending; empty for a model of one unnamed temperature.
    support : DataFrame or None
        The model's at these temperatures; None for one that knows no others.
    reference : Reference
    withheld : list of float
        Temperatures that were asked for and that the model knows nothing about.
    """

    model: Model
    temperatures: list[float]
    support: pd.DataFrame | None
    reference: Reference
    withheld: list[float]

    @classmethod
    def of(
        cls, model: Model, temperatures: Sequence[float] | None, reference: Reference | None
    ) -> Subject:
        """Choose the temperatures and ask what is supported there."""
        check_is_fitted(model)
        asked = {float(t) for t in model.temperatures_}
        if temperatures is not None:
            asked = {check_temperature(t) for t in temperatures}
        elif model.ensemble_ is not None:
            asked |= {(a + b) / 2 for a, b in pairwise(sorted(asked))}
        withheld = sorted(t for t in asked if not _is_known(model, t))
        if len(withheld) == len(asked):  # the model says what it knows
            withheld = []
        asked -= set(withheld)
        support = None if model.ensemble_ is None else model.support(sorted(asked))
        return cls(model, sorted(asked), support, reference or Reference(), withheld)

    @property
    def unsupported(self) -> list[float]:
        """Temperatures at which nothing is supported."""
        if self.support is None:
            return []
        return list(self.support.index[self.support["support"] == "unsupported"])

    @property
    def out_of_range(self) -> list[float]:
        """Temperatures that the generator was not trained for."""
        if self.support is None:
            return []
        low, high = self.model.temperature_range_
        return [t for t in self.temperatures if not low <= t <= high * (1 + 1e-12)]

    @property
    def drawn(self) -> list[float]:
        """Temperatures whose surfaces are shown."""
        without = {*self.unsupported, *self.out_of_range}
        return [t for t in self.temperatures if t not in without]

    @property
    def populations(self) -> pd.DataFrame:
        """The model's at these temperatures, or of one unnamed; empty for one without states."""
        if not self.model.n_states_:
            return pd.DataFrame()
        if self.temperatures:
            return self.model.state_populations(self.temperatures)
        labels = stacked(self.model.labels_)
        fractions = np.bincount(labels, minlength=self.model.n_states_) / len(labels)
        table = pd.DataFrame({"population": fractions, "standard_error": np.nan})
        return pd.concat({np.nan: table}, names=["temperature", "state"])

    @property
    def along(self) -> FloatArray:
        """Temperatures for curves, over those of the report and the simulated ones."""
        ends = [*self.temperatures, *self.model.temperatures_]
        return np.unique(np.linspace(min(ends), max(ends), CURVE_POINTS))

    def named(self, *temperatures: float) -> str:
        """Write temperatures as 1, 2 and 3 K."""
        *others, last = (f"{t:g}" for t in temperatures)
        listed = f"{', '.join(others)} and {last}" if others else last
        return f"{listed} {self.model.units_.temperature}".rstrip()


def model_sections(
    model: Model, temperatures: Sequence[float] | None = None, *, reference: Reference | None = None
) -> list[Section]:
    """Return the sections of a report about a fitted model, top to bottom.

    Parameters
    ----------
    model : LaTFEstimator or TemperatureExtrapolator
        Fitted, or loaded.
    temperatures : sequence of float, optional
        Temperatures to report on; the simulated ones, and those halfway between, if not given. A
        model without an `ensemble_`, such as a LaTFEstimator, answers at the simulated ones only.
    reference : Reference, optional
        Drawn and written beside what the model says.

    Returns
    -------
    list of Section
        For :func:`latflow.report.write_report`.

    Raises
    ------
    ValueError
        If the model knows none of the temperatures.

    Warns
    -----
    UserWarning
        If it knows some of them only: nothing is said at the others.
    """
    subject = Subject.of(model, temperatures, reference)
    if subject.withheld:
        warn(_withheld(subject))
    answers, drawable = model.ensemble_ is not None, model.n_components_ <= 2
    parts = {
        _about: True,
        _melting: answers and model.n_states_ > 1,
        _populations: model.n_states_ > 0,
        _thermodynamics: answers and model.n_states_ > 1,
        _surfaces: drawable and bool(subject.drawn),
        _curves: answers and model.n_states_ > 0,
        _support: answers,
        _cross_check: answers and model.n_states_ > 0,
        _states: answers and drawable and model.n_states_ > 0,
        _training: len(model.history_) > 0,
    }
    return [section(subject) for section, belongs in parts.items() if belongs]


def population_table(model: Model, temperatures: Sequence[float] | None = None) -> pd.DataFrame:
    """Return the population of each state as text, one row per temperature.

    Parameters
    ----------
    model, temperatures
        As for :func:`model_sections`.

    Returns
    -------
    DataFrame
        Columns `T`, `role` (simulated, between or beyond), `state 0`, ... and, of a model with an
        `ensemble_`, `effective frames` and `support`.
    """
    return _population_table(Subject.of(model, temperatures, None))


def _about(subject: Subject) -> Section:
    model, places = subject.model, "one unnamed temperature"
    if len(model.temperatures_):
        places = subject.named(*model.temperatures_)
    states = f"{_number(model.n_states_, 'metastable state')} in " if model.n_states_ else ""
    text = (
        f"{states}{_number(model.n_components_, 'collective variable')}, learned from "
        f"{_n_frames(model):,} frames of {model.n_features_in_} features, simulated at {places}, "
        f"with a lagtime of {_number(model.lagtime_, 'frame')}."
    )
    if model.ensemble_ is not None:
        text += f" Temperatures are connected by the method {model.method}."
    if not model.converged_:
        text += "\n\nThe labels had not settled at the end of the fit: take more steps (max_iter)."
    if subject.unsupported:
        text += (
            f"\n\nAt {subject.named(*subject.unsupported)} too few training frames carry the "
            "weight, or the bootstraps disagree: what is said there is unsupported, and "
            "free-energy surfaces are withheld."
        )
    if beyond := [t for t in subject.out_of_range if t not in subject.unsupported]:
        text += (
            f"\n\nAt {subject.named(*beyond)} free-energy surfaces are withheld, as the generator "
            "was not trained for it: fit with a wider range of temperatures."
        )
    if subject.withheld:
        text += f"\n\n{_withheld(subject)}"
    return Section("", text)


def _withheld(subject: Subject) -> str:
    return (
        f"Nothing is said at {subject.named(*subject.withheld)}: the model knows the simulated "
        "temperatures only, and takes a second simulation, or energies, for others."
    )


def _is_known(model: Model, temperature: float) -> bool:
    """Whether a model answers at a temperature at all."""
    simulated = model.temperatures_
    return model.ensemble_ is not None or bool(np.isclose(temperature, simulated).any())


def _melting(subject: Subject) -> Section:
    """Say which states lose half of the population to others when heated, and where."""
    model = subject.model
    melting = melting_points(model)
    if not melting:
        return Section("What melts where", "No state melts, as far as these simulations tell.")
    unit = model.units_.temperature
    sentences = [
        f"State {s} melts at {with_error(point.temperature, point.standard_error)} {unit}".rstrip()
        + f" ({model.support(point.temperature)['support'].iloc[0]})."
        for s, point in melting.items()
    ]
    figure = blank_figure(7.4, 4.0)
    plotting.MeltingCurveDisplay.from_estimator(model, next(iter(melting)), ax=figure.subplots())
    return Section("What melts where", " ".join(sentences), figure=figure)


def melting_points(model: TemperatureExtrapolator) -> dict[int, MeltingTemperature]:
    """Return the states that lose half of the population to others when heated, and where.

    Parameters
    ----------
    model : TemperatureExtrapolator
        With two states or more.

    Returns
    -------
    dict of int to MeltingTemperature
    """
    with heard():  # of states that melt nowhere
        points = {s: model.melting_temperature(s) for s in range(model.n_states_)}
    return {s: point for s, point in points.items() if point.slope < 0}


def _populations(subject: Subject) -> Section:
    text = "Fraction of the frames in each state ± one standard error, over blocks of them."
    if subject.support is not None:
        text = (
            "Equilibrium population of each state ± one standard error: of the sampled "
            "trajectories and, away from two simulated temperatures, of heat capacities that these "
            "cannot show."
        )
    if subject.reference.populations is not None:
        text += " Reference: the fraction of the frames of simulations that the model never saw."
    elif subject.support is not None:
        text += " Effective frames: Kish's effective sample size of the frames' weights."
    return Section("State populations", text, _population_table(subject))


def _thermodynamics(subject: Subject) -> Section:
    units = subject.model.units_
    text = (
        "Differences of each state from all others together ± one standard error: a free energy of "
        "0 is half of the population. At constant pressure energy is the enthalpy. In "
        f"{' and '.join(dict.fromkeys([units.energy, units.entropy]))}."
    )
    table = _with_errors(subject.model.thermodynamics(subject.temperatures), QUANTITIES)
    return Section("Thermodynamics of the states", text, table)


def _surfaces(subject: Subject) -> Section:
    model, reference, reached = subject.model, subject.reference.variables, subject.drawn
    places = np.linspace(0, len(reached) - 1, min(len(reached), MOST_SURFACES)).round()
    shown = [reached[int(k)] for k in places]
    n_rows = 1 if reference is None or model.n_components_ == 1 else 2
    figure = blank_figure(max(2.6 * len(shown) + 0.8, 4.2), 0.8 + 2.4 * n_rows)
    display = plotting.FreeEnergyDisplay.from_estimator(
        model,
        temperature=shown,
        reference=reference,
        unit="energy" if reference is None else "kT",
        n_grid=SURFACE_GRID,
        axes=figure.subplots(n_rows, len(shown), sharex=True, sharey=True, squeeze=False),
    )
    unit = display.energy_unit
    caption = f"In {unit}; the minimum of each is 0. Grey lies higher than the scale."
    if model.ensemble_ is not None:
        caption += " White was not reached by the training frames."
    if reference is not None:
        caption += " Below: -log of a histogram of the reference; white holds none of its frames."
    return Section("Free-energy surfaces", figure=figure, caption=caption)


def _curves(subject: Subject) -> Section:
    figure = blank_figure(7.4, 4.0)
    plotting.PopulationsDisplay.from_estimator(
        subject.model,
        temperature=subject.along,
        reference=subject.reference.populations,
        ax=figure.subplots(),
    )
    caption = "Lines with a band of one standard error."
    return Section("Populations against temperature", figure=figure, caption=caption)


def _support(subject: Subject) -> Section:
    figure = blank_figure(7.4, 3.6)
    axes = figure.subplots()
    plotting.SupportDisplay.from_estimator(subject.model, temperature=subject.along, ax=axes)
    caption = "Effective training frames, over those at the nearest simulated temperature."
    return Section("Support", figure=figure, caption=caption)


def _cross_check(subject: Subject) -> Section:
    """Write what independent estimates say; disagreements are sentences."""
    with heard() as said:
        table = subject.model.cross_check()
    sources = [str(name) for name in table if f"{name}_error" in table]
    text = (
        "Populations from samples of the generated density, reweighted frames of all temperatures, "
        "and the stationary distribution of a Markov model of one temperature alone, at a lagtime "
        f"of {table.attrs['lagtime']} frames."
    )
    text += f"\n\nBeyond the error bars: {' '.join(said)}" if said else "\n\nThey agree."
    return Section("Three independent estimates", text, _with_errors(table, sources))


def _states(subject: Subject) -> Section:
    model, temperature = subject.model, subject.temperatures[0]
    weights, labels = stacked(model.frame_weights(temperature)), stacked(model.labels_)
    figure = blank_figure(6.5, 4.2)
    plotting.StatesDisplay(model.z_, labels, weights=weights).plot(ax=figure.subplots())
    where = subject.named(temperature)
    caption = f"Training frames of all temperatures by state; populations at {where}."
    return Section("States", figure=figure, caption=caption)


def _training(subject: Subject) -> Section:
    display = plotting.HistoryDisplay(subject.model.history_)
    n_panels = len(display.panels)
    figure = blank_figure(3.6 * n_panels + 0.4, 3.2)
    display.plot(axes=figure.subplots(1, n_panels, squeeze=False))
    return Section("Training history", figure=figure)


# ------------------------------------------------------------------ numbers as text


def _population_table(subject: Subject) -> pd.DataFrame:
    model, simulated = subject.model, subject.model.temperatures_
    sources = {"state": subject.populations, "reference": subject.reference.populations}
    columns: dict[str, list[str]] = {
        "T": [f"{t:g}" for t in subject.temperatures] or [MISSING],
        "role": [role_of(t, simulated) for t in subject.temperatures] or ["simulated"],
    }
    for state in range(model.n_states_):
        for name, table in sources.items():
            if table is not None:
                rows = table[table.index.get_level_values("state") == state]
                columns[f"{name} {state}"] = written(rows, "population", "standard_error")
    if subject.support is not None and subject.reference.populations is None:
        sizes = subject.support["effective_sample_size"]
        columns["effective frames"] = [f"{size:.0f}" for size in sizes]
        columns["support"] = subject.support["support"].tolist()
    return pd.DataFrame(columns)


def _with_errors(table: pd.DataFrame, quantities: Sequence[str]) -> pd.DataFrame:
    """Write some columns of a table of temperatures and states, each with that of its errors."""
    index = table.index.to_frame()
    columns = {"T": [f"{t:g}" for t in index["temperature"]], "state": index["state"].tolist()}
    for name in quantities:
        columns[name.replace("_", " ")] = written(table, name, f"{name}_error")
    return pd.DataFrame(columns)


def written(table: pd.DataFrame, value: str, error: str) -> list[str]:
    """Write a column of numbers, each with its standard error from another column."""
    return [with_error(v, e) for v, e in zip(table[value], table[error], strict=True)]


def _number(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def stacked(values: Any) -> NDArray[Any]:
    """Return one value per frame, of what may be a list of trajectories."""
    return np.concatenate(values) if np.ndim(values[0]) else np.asarray(values)


def _n_frames(model: Model) -> int:
    return len(model.z_ if hasattr(model, "z_") else stacked(model.labels_))
