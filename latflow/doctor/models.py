"""Checks of a fitted model: states, losses, flow, densities, and ways to the populations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.metrics import adjusted_rand_score

from latflow._typing import FloatArray, IntArray
from latflow._validation import heard
from latflow.doctor.findings import Finding, NotChecked, judged, passed
from latflow.estimators import LaTFEstimator
from latflow.estimators.validation import DISAGREE, round_trip
from latflow.kinetics import lagtime_convergence
from latflow.trajectories import Frames
from latflow.units import with_error

ALIKE, UNLIKE = 0.8, 0.5  # adjusted Rand index of two fits' states
RISE, GAP = 0.1, 0.5  # nats: of the held-out loss after its lowest, and over the training loss
BEST_TRIP, WORST_TRIP = 1e-6, 1e-3  # standard deviations of the variables
N_DRAWN, N_JUDGED = 20_000, 5000
TAIL = 1e-3  # of the density, below which a frame is not covered
FEW_OUTSIDE, MANY_OUTSIDE = 0.02, 0.1  # of the frames
OFF, FAR_OFF = 0.02, 0.1  # between two ways to a population
HIDDEN, MOSTLY_HIDDEN = 0.1, 0.5  # of the slowest timescale
NO_FRAMES = "the model does not hold its frames: give X, with its temperatures, too"
WAYS = ("flow", "frames", "msm")


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fitted model to be checked, with the frames it was fitted to where they are given.

    Attributes
    ----------
    model : LaTFEstimator or TemperatureExtrapolator
    frames : Frames or None
        Of the features that reach the last step of the model's estimator.
    n_seeds : int
        Fits from other seeds to compare states with.
    seed : int
    """

    model: Any
    frames: Frames | None
    n_seeds: int
    seed: int

    @property
    def last(self) -> Any:
        """What gives the variables: the last step of the model's estimator."""
        return getattr(self.model, "_last", self.model)

    @cached_property
    def z(self) -> FloatArray:
        """Variables of the frames."""
        if self.model.ensemble_ is not None:
            return np.asarray(self.model.z_)
        if self.frames is None:
            raise NotChecked(NO_FRAMES)
        return np.asarray(self.last.transform(self.frames.X[:]), np.float64)

    @property
    def origin(self) -> IntArray:
        """Which of the simulated temperatures each frame comes from."""
        if self.model.ensemble_ is not None:
            return np.asarray(self.model.ensemble_.pool.origin)
        if self.frames is None:
            raise NotChecked(NO_FRAMES)
        return self.frames.origin

    @property
    def states(self) -> IntArray:
        """State of each frame."""
        ensemble = self.model.ensemble_
        if not self.model.n_states_:
            raise NotChecked("the model has no states")
        states = self.model.predict_latent(self.z) if ensemble is None else ensemble.states
        return np.asarray(states)

    @property
    def segments(self) -> list[IntArray]:
        """Rows of every gap-free piece of a trajectory at one temperature, in time."""
        if self.frames is not None:
            return self.frames.segments()
        if getattr(self.model, "_order", None) is None:
            raise NotChecked(NO_FRAMES)
        return np.split(self.model._order, self.model._cuts)

    def temperatures(self) -> Iterator[tuple[int, float | None]]:
        """Yield the number and the value of each simulated temperature; None if it has no name."""
        yield from (
            enumerate(map(float, self.model.temperatures_))
            if len(self.model.temperatures_)
            else [(0, None)]
        )


def converged(case: Fitted) -> Finding:
    """Whether training ended as it should, with states that no longer changed."""
    if not hasattr(case.last, "converged_"):
        raise NotChecked("the model's estimator is not a LaTFEstimator")
    if not case.last.converged_:
        cure = "Fit with more steps (max_iter), and look for outliers among the features."
        return Finding("warn", "states went on changing, or a loss was not finite", cure, 0.0)
    n = case.model.n_states_
    cure = "Try other features, a longer lagtime, or more frames: one state tells nothing."
    return judged(f"states settled, {n} of them", cure, warn=n == 1, fail=False, value=float(n))


def seeds(case: Fitted) -> Finding:
    """Whether fits from other seeds find the same states."""
    if not isinstance(case.last, LaTFEstimator):
        raise NotChecked("only a LaTFEstimator starts from a seed")
    if case.n_seeds < 1:
        raise NotChecked("no other seeds were asked for")
    frames = case.frames
    if frames is None:
        raise NotChecked(NO_FRAMES)
    metadata: dict[str, Any] = {"trajectory": frames.trajectory, "frame": frames.frame}
    metadata |= {"temperature": frames.temperature if frames.named else None}
    metadata |= {"weights": frames.weights, "initial_states": frames.initial_states}
    metadata |= {"dynamics": True if frames.dynamics is None else frames.dynamics}
    labels = [case.last.predict(frames.X[:])]
    for seed in range(case.seed + 1, case.seed + 1 + case.n_seeds):
        other = clone(case.last).set_params(random_state=seed, verbose=0)
        labels.append(other.fit(frames.X, **metadata).labels_)
    alike = min(adjusted_rand_score(a, b) for a, b in combinations(labels, 2))
    counts = ", ".join(str(int(np.max(x)) + 1) for x in labels)
    figure = (
        f"{len(labels)} seeds agree on states by an adjusted Rand index of {alike:.2f} or more "
        f"(1 is all alike); they found {counts} states"
    )
    cure = "Fit with n_init=8, more steps or another lagtime, or name the states with states=."
    return judged(figure, cure, warn=alike < ALIKE, fail=alike < UNLIKE, value=float(alike))


def losses(case: Fitted) -> Finding:
    """Whether losses of frames held out follow those of training."""
    history = [record for record in case.model.history_ if "held_out_loss" in record]
    if not history:
        raise NotChecked("the model has no history of losses")
    last_stage = history[-1]["stage"]
    curve = [record for record in history if record["stage"] == last_stage]
    loss, held_out = (np.array([r[name] for r in curve]) for name in ("loss", "held_out_loss"))
    if not np.isfinite([loss[-1], held_out[-1]]).all():
        cure = "Look for outliers among the features, or lower learning_rate."
        return Finding("fail", f"the loss of stage '{last_stage}' is not finite at its end", cure)
    rise, gap = held_out[-1] - held_out.min(), held_out[-1] - loss[-1]
    figure = (
        f"the held-out loss of stage '{last_stage}' ends {rise:.2g} nats above its lowest and "
        f"{gap:.2g} above that of training"
    )
    cure = "Give more frames, or fewer features or smaller networks (hidden_features)."
    high = rise > RISE or gap > GAP
    return judged(figure, cure, warn=bool(high), fail=False, value=float(max(rise, gap)))


def flow(case: Fitted) -> Finding:
    """Whether the flow leads every point back to itself."""
    if not isinstance(case.last, LaTFEstimator):
        raise NotChecked("the model's estimator has no flow")
    z = case.last.sample(N_JUDGED, random_state=case.seed)
    if case.model.ensemble_ is not None:
        z = case.z[:: max(1, -(-len(case.z) // N_JUDGED))]
    worst = round_trip(case.model, z)
    figure = f"there and back, points move by at most {worst:.1e} standard deviations"
    cure = "Fit anew with flow='spline' and a lower learning_rate."
    lost = not worst <= WORST_TRIP
    value = worst if np.isfinite(worst) else None
    return judged(figure, cure, warn=not worst <= BEST_TRIP, fail=lost, value=value)


def coverage(case: Fitted) -> Finding:
    """Whether the density at each simulated temperature reaches the frames of it."""
    outside = {t: _outside(case, k, t) for k, t in case.temperatures()}
    if not outside:
        raise NotChecked("the generator serves no simulated temperature")
    worst = max(outside, key=lambda t: outside[t])
    at = "" if worst is None else f" at {case.model.units_.named(worst)}"
    figure = (
        f"{outside[worst]:.1%} of the frames{at} lie where the density there has its last "
        f"{TAIL:.1%}, the most of any temperature"
    )
    cure = "Fit with more steps (max_iter), and see that simulations had settled."
    warn, fail = outside[worst] > FEW_OUTSIDE, outside[worst] > MANY_OUTSIDE
    return judged(figure, cure, warn=warn, fail=fail, value=outside[worst])


def _outside(case: Fitted, k: int, t: float | None) -> float:
    """Return the fraction of a temperature's frames beyond the density's last thousandth."""
    model, rows = case.model, np.flatnonzero(case.origin == k)
    z = case.z[rows[:: max(1, -(-len(rows) // N_JUDGED))]]
    drawn = model.sample(N_DRAWN, t, random_state=case.seed)
    level = np.quantile(model.log_density(drawn, t), TAIL)
    return float((model.log_density(z, t) < level).mean())


def support(case: Fitted) -> Finding:
    """Whether answers are supported at the temperatures that were simulated."""
    if case.model.ensemble_ is None:
        raise NotChecked("the model answers at its own temperatures only")
    table = case.model.support(case.model.temperatures_)
    classes = np.asarray(table["support"])
    weak = table[classes != "supported"]
    figure = f"{len(weak)} of {len(table)} simulated temperatures are not supported"
    if len(weak):
        worst = weak.iloc[int(np.argmax(weak["support"] == "unsupported"))]
        figure += f", as {case.model.units_.named(float(worst.name))}: {worst['reason']}"
    cure = "Do what this reason asks for: mostly to simulate longer, or a temperature in between."
    fail = bool((classes == "unsupported").any())
    return judged(figure, cure, warn=bool(len(weak)), fail=fail, value=float(len(weak)))


def ways(case: Fitted) -> Finding:
    """Whether generated samples, weighted frames and Markov models give the same populations."""
    model = case.model
    if model.ensemble_ is None or not model.n_states_:
        raise NotChecked("the model has no states at named temperatures")
    if getattr(model, "_order", None) is None:
        raise NotChecked("the model is of an older version: fit it anew")
    table = model.cross_check()
    rows = [_apart(table, a, b) for a, b in combinations(WAYS, 2)]
    differences = pd.concat(rows).dropna(subset="difference")
    if differences.empty:
        raise NotChecked("only one way to the populations is open")
    told = differences[differences["difference"] > DISAGREE * differences["error"]]
    worst = (told if len(told) else differences).sort_values("difference").iloc[-1]
    t, state = worst["place"]
    off = float(worst["difference"]) if len(told) else 0.0
    figure = (
        f"{worst['ways']} give populations of state {state} at {model.units_.named(t)} that differ "
        f"by {with_error(float(worst['difference']), float(worst['error']))}, the most of all"
    )
    cure = "Simulate longer where they differ, or fit with a longer lagtime or more steps."
    return judged(figure, cure, warn=off > OFF, fail=off > FAR_OFF, value=off)


def _apart(table: pd.DataFrame, a: str, b: str) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "place": table.index.to_list(),
            "ways": f"{a} and {b}",
            "difference": np.abs(np.asarray(table[a]) - np.asarray(table[b])),
            "error": np.asarray(np.hypot(table[f"{a}_error"], table[f"{b}_error"])),
        }
    )


def memory(case: Fitted) -> Finding:
    """Whether the slowest timescale is the same at longer lagtimes."""
    lagtime, origin = case.model.lagtime_, case.origin
    if lagtime is None:
        raise NotChecked("the model's estimator has no lagtime")
    long = [rows for rows in case.segments if len(rows) > 2 * lagtime]
    if not long:
        raise NotChecked("no trajectory is longer than two lagtimes")
    states, z = case.states, case.z
    if case.model.n_states_ < 2:
        raise NotChecked("one state has no timescale")
    with heard():
        table = lagtime_convergence(
            [states[rows] for rows in long], lagtime,
            temperature=[1.0 + origin[rows[0]] for rows in long],
            variables=[z[rows] for rows in long], random_state=case.seed,
        )  # fmt: skip
    known = table.dropna(subset="hidden")
    if known.empty:
        raise NotChecked("trajectories are too short to tell a timescale at twice the lagtime")
    worst = known.iloc[int(np.argmax(known["hidden"] - known["hidden_error"]))]
    hidden, error = float(worst["hidden"]), float(worst["hidden_error"])
    figure = f"lagtime {lagtime} hides {with_error(hidden, error)} of the slowest timescale"
    cure = "Fit with a longer lagtime, if rates matter; populations do not need it."
    return judged(
        figure, cure, warn=hidden > HIDDEN + error, fail=hidden > MOSTLY_HIDDEN + 2 * error,
        value=hidden,
    )  # fmt: skip


CHECKS: Mapping[str, Callable[[Fitted], Finding]] = {
    "converged": converged, "seeds": seeds, "losses": losses, "flow": flow, "coverage": coverage,
    "support": support, "ways": ways, "memory": memory,
}  # fmt: skip

__all__ = ["CHECKS", "Fitted", "passed"]
