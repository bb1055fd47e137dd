"""How far a fitted extrapolator can be trusted: temperatures left out, independent ways."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator

from latflow._typing import BoolArray, FloatArray, IntArray
from latflow._validation import check_count, warn
from latflow.estimators import seam
from latflow.kinetics import markov_model
from latflow.metrics import jensen_shannon, jensen_shannon_noise_floor
from latflow.thermodynamics import block_populations, effective_sample_size, pool_of
from latflow.thermodynamics.connection import between_visits
from latflow.trajectories import Frames

if TYPE_CHECKING:
    from latflow.estimators.extrapolator import TemperatureExtrapolator


N_SAMPLES = 50_000
FEWEST_CROSSINGS = 10  # into and out of a state
DISAGREE = 3.0  # combined standard errors
MOST_DIMENSIONS = 3  # that histograms can be made in
COMPARED = ["predicted", "predicted_error", "difference", "jensen_shannon", "noise_floor"]


def validate(model: TemperatureExtrapolator, frames: Frames) -> pd.DataFrame:
    """Predict each temperature of some simulations without it, and compare.

    A temperature that the model was not fitted at is predicted by the model itself. One that it was
    fitted at is left out: the weights and the generator (not variables and states) are learned
    anew from the other temperatures of the frames, at least two for "enthalpy" and "mbar".

    Parameters
    ----------
    model : TemperatureExtrapolator
        Fitted with temperatures.
    frames : Frames
        Of these simulations, with the features of the model.

    Returns
    -------
    DataFrame
        Index (`temperature`, `state`); columns `predicted` and `simulated` populations, each with
        `_error` (standard errors), their `difference`, and per temperature `jensen_shannon`, the
        divergence (nats) between generated and simulated variables, `noise_floor`, what exact
        samples of these sizes would have, and `role`: "unseen", "left out", or "not judged", with
        NaN, where too few temperatures are left.

    Raises
    ------
    ValueError
        For frames without temperatures, or a model without states.
    """
    if not frames.named:
        raise ValueError("Expected `temperature` of every trajectory, got none.")
    tables = {float(t): _judge(model, frames, k) for k, t in enumerate(frames.temperatures)}
    return pd.concat(tables, names=["temperature", "state"])


def _judge(model: TemperatureExtrapolator, frames: Frames, k: int) -> pd.DataFrame:
    """Return the comparison at one temperature of the frames."""
    t, here = float(frames.temperatures[k]), frames.origin == k
    simulated = frames.take(here)
    z, labels, _ = model._variables(simulated, fit=False)
    states = simulated.states if model._own_states else labels
    if states is None:
        raise ValueError(
            "Expected `states` for a model whose states are not its estimator's, got none."
        )
    value, error = block_populations(pool_of(simulated, model.units_), states, model.n_states_)
    table = pd.DataFrame({"simulated": value[0], "simulated_error": error[0]})
    table.index.name = "state"
    predictor, table["role"] = _judged_by(model, frames, t, ~here)
    table[COMPARED] = np.nan
    if predictor is not None:
        prediction = predictor.state_populations(t)
        table["predicted"] = prediction["population"].to_numpy()
        table["predicted_error"] = prediction["standard_error"].to_numpy()
        table["difference"] = table["predicted"] - table["simulated"]
        low, high = predictor.temperature_range_
        if z.shape[1] <= MOST_DIMENSIONS and low <= t <= high:
            n = min(N_SAMPLES, len(z))
            samples = predictor.sample(n, t, random_state=0)
            table["jensen_shannon"] = jensen_shannon(samples, z, weights_b=simulated.weights)
            n_effective = int(effective_sample_size(simulated.weights))
            table["noise_floor"] = jensen_shannon_noise_floor(z, n, n_effective, random_state=0)
    return table[[*COMPARED[:2], "simulated", "simulated_error", *COMPARED[2:], "role"]]


def _judged_by(
    model: TemperatureExtrapolator, frames: Frames, t: float, others: BoolArray
) -> tuple[TemperatureExtrapolator | None, str]:
    """Return the model that predicts a temperature it has not seen, if there is one."""
    if not np.isclose(t, model.temperatures_).any():
        return model, "unseen"
    if len(frames.temperatures) - 1 < (1 if model.method == "tilted" else 2):
        return None, "not judged"
    if model.method == "tilted":
        raise ValueError(
            "Expected temperatures that the model was not fitted at: with method='tilted' the "
            f"estimator's own flow knows {t:g}, and nothing can be left out of it."
        )
    low, high = model.temperature_range_
    without = clone(model).set_params(
        estimator=FrozenEstimator(model._last), temperature_range=(min(low, t), max(high, t))
    )
    kept = frames.take(others)
    without.fit(
        kept.X, trajectory=kept.trajectory, frame=kept.frame, temperature=kept.temperature,
        weights=kept.weights, energy=kept.energy, states=kept.states,
        dynamics=True if kept.dynamics is None else kept.dynamics,
    )  # fmt: skip
    return without, "left out"


def cross_check(model: TemperatureExtrapolator, lagtime: int | None = None) -> pd.DataFrame:
    """Compare three independent ways to the populations at the simulated temperatures.

    `flow`: samples of the generated density. `frames`: reweighted training frames of all
    temperatures. `msm`: the stationary distribution of a Markov state model of one temperature
    alone, which no starting structure biases where its states are connected.

    Parameters
    ----------
    model : TemperatureExtrapolator
        Fitted with temperatures, and with a LaTFEstimator inside.
    lagtime : int, optional
        Of the Markov state models, in frames. If not given, the longest of one, two and four times
        the model's lagtime at which every state that has ten crossings at its lagtime, at any one
        temperature, still has ten: few states remember, and a longer lagtime forgets.

    Returns
    -------
    DataFrame
        Index (`temperature`, `state`); columns `flow`, `frames`, `msm`, each with `_error`; the
        lagtime in its `attrs`. `flow`
        is NaN where states are not those of a LaTFEstimator; `msm` is NaN for states outside of the
        connected set, for weighted frames, and where no trajectory is longer than the lagtime.

    Warns
    -----
    UserWarning
        Where two ways differ by more than three combined standard errors; names the state.
    """
    model._ensemble().check_states()
    if model._order is None or model._cuts is None:
        raise ValueError("Expected a model of this version, got an older one: fit it anew.")
    lagtime = _longest_lagtime(model) if lagtime is None else check_count(lagtime, "lagtime")
    temperatures = map(float, model.temperatures_)
    tables = {t: _compared(model, k, t, lagtime) for k, t in enumerate(temperatures)}
    table = pd.concat(tables, names=["temperature", "state"])
    table.attrs["lagtime"] = lagtime
    _warn_of_disagreement(table)
    return table


def round_trip(model: Any, z: FloatArray) -> float:
    """Return how far points move from z to the base and back, at most.

    Parameters
    ----------
    model : LaTFEstimator or TemperatureExtrapolator
        Fitted, with a LaTFEstimator inside.
    z : ndarray of shape (n_points, n_components)

    Returns
    -------
    float
        In standard deviations of z, of the estimator's own flow and of the conditional flow at
        every simulated temperature that it serves.
    """
    last, density = getattr(model, "_last", model), getattr(model, "density_", None)
    there = seam.move(last.model_, z, inverse=False)
    moved = [seam.move(last.model_, there, inverse=True) - z]
    if density is not None:
        betas = model.units_.betas(np.clip(model.temperatures_, *model.temperature_range_))
        moved += [seam.conditional_round_trip(density, z, float(beta)) - z for beta in betas]
    scale = np.maximum(z.std(axis=0), np.finfo(float).tiny)
    return float(np.abs(np.stack(moved) / scale).max())


def _longest_lagtime(model: TemperatureExtrapolator) -> int:
    """Return the longest lagtime at which states still cross often enough."""
    at_least_ten = _crossed(model, model.lagtime_) >= FEWEST_CROSSINGS
    for times in (4, 2):
        still = _crossed(model, times * model.lagtime_) >= FEWEST_CROSSINGS
        if at_least_ten.any() and still[at_least_ten].all():
            return times * model.lagtime_
    return model.lagtime_


def _crossed(model: TemperatureExtrapolator, lagtime: int) -> IntArray:
    """Return how often each state was entered or left, by temperature and state."""
    ensemble = model._ensemble()
    states, origin = ensemble.check_states(), ensemble.pool.origin
    broken = np.zeros(max(len(model._order) - 1, 0), dtype=bool)
    broken[model._cuts - 1] = True
    counts = np.zeros((len(model.temperatures_), model.n_states_), dtype=np.int64)
    left, reached = between_visits(model._order, broken, states, lagtime)
    for rows in (left, reached):
        np.add.at(counts, (origin[left], states[rows]), 1)
    return counts


def _compared(model: TemperatureExtrapolator, k: int, t: float, lagtime: int) -> pd.DataFrame:
    n_states = model.n_states_
    low, high = model.temperature_range_
    table = pd.DataFrame(index=pd.RangeIndex(n_states, name="state"))
    table["flow"] = table["flow_error"] = np.nan
    if low <= t <= high and hasattr(model._last, "predict_latent") and not model._own_states:
        drawn = model.predict_latent(model.sample(N_SAMPLES, t, random_state=0))
        p = np.bincount(drawn, minlength=n_states) / N_SAMPLES
        table["flow"], table["flow_error"] = p, np.sqrt(p * (1 - p) / N_SAMPLES)
    reweighted = model.state_populations(t)
    table["frames"] = reweighted["population"].to_numpy()
    table["frames_error"] = reweighted["standard_error"].to_numpy()
    table["msm"], table["msm_error"] = _msm_populations(model, k, lagtime)
    return table


def _msm_populations(
    model: TemperatureExtrapolator, k: int, lagtime: int
) -> tuple[FloatArray, FloatArray]:
    ensemble = model._ensemble()
    population, error = np.full(model.n_states_, np.nan), np.full(model.n_states_, np.nan)
    origin, states = ensemble.pool.origin, ensemble.check_states()
    segments = np.split(model._order, model._cuts)
    segments = [rows for rows in segments if len(rows) and origin[rows[0]] == k]
    if np.ptp(ensemble.pool.weights) > 0 or max(map(len, segments), default=0) <= lagtime:
        return population, error
    markov = markov_model([states[rows] for rows in segments], lagtime, random_state=0)
    symbols = markov.prior.count_model.state_symbols
    population[symbols] = markov.prior.stationary_distribution
    error[symbols] = np.std([m.stationary_distribution for m in markov.samples], axis=0, ddof=1)
    return population, error


def _warn_of_disagreement(table: pd.DataFrame) -> None:
    """Name the states whose ways differ beyond their error bars."""
    for a, b in (("flow", "frames"), ("frames", "msm"), ("flow", "msm")):
        error = np.hypot(table[f"{a}_error"], table[f"{b}_error"])
        apart = table[(table[a] - table[b]).abs() > DISAGREE * error]
        for place, (_, row) in zip(apart.index.to_list(), apart.iterrows(), strict=True):
            warn(
                f"State {place[1]} at temperature {place[0]:g}: {a} says {row[a]:.4f} +- "
                f"{row[f'{a}_error']:.4f}, {b} {row[b]:.4f} +- {row[f'{b}_error']:.4f}."
            )
