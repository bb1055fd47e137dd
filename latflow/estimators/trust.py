"""How far a fitted extrapolator can be trusted: support, validation, independent roads."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_is_fitted

from latflow._validation import check_count
from latflow.estimators.states import StateThermodynamicsMixin
from latflow.kinetics import markov_model
from latflow.metrics import jensen_shannon, jensen_shannon_noise_floor
from latflow.thermodynamics import Mixture, effective_sample_size
from latflow.trajectories import (
    Frames,
    gather_frames,
    independent_blocks,
)

__all__ = ["TrustMixin", "warn_unsupported"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

SUPPORTED, EXTRAPOLATED = 0.9, 0.05  # least overlap
MOST_SPREAD = 0.5
LEAST_CHANGE = 0.02
N_SAMPLES = 50_000
DISAGREE = 3.0  # combined standard errors
MOST_DIMENSIONS = 3  # that histograms can be made in


class TrustMixin(StateThermodynamicsMixin):
    """Support, validation and cross-checks of a TemperatureExtrapolator."""

    sample: Callable[..., FloatArray]
    _order: IntArray | None = None
    _cuts: IntArray | None = None

    def support(self, temperatures: ArrayLike) -> pd.DataFrame:
        """Say how far the answers at each temperature can be trusted.

        Parameters
        ----------
        temperatures : float or array_like

        Returns
        -------
        DataFrame
            Index `temperature`; columns

            - `effective_sample_size`: Kish's, of the frames' weights;
            - `overlap`: the same as a share of that at the nearest simulated temperature;
            - `inside`: whether the temperature lies in the simulated range;
            - `spread`: largest standard deviation, over the bootstraps, of the change of a
              population from the nearest simulated temperature, as a share of the largest change
              (of 0.02 at least); NaN with `n_estimators=1`;
            - `support`: "supported" inside the range with an overlap of at least 0.9,
              "extrapolated" where the overlap is at least 0.05 and the spread at most 0.5,
              "unsupported" otherwise. docs/trust.md says what these classes are worth.
        """
        check_is_fitted(self)
        wanted = self._all_named(temperatures)
        rows = [self._supported(t) for t in wanted]
        return pd.DataFrame(rows, index=pd.Index(wanted, name="temperature"))

    def validate(
        self,
        X: Any,
        *,
        temperature: Any,
        energy: Any = None,
        trajectory: ArrayLike | None = None,
        frame: ArrayLike | None = None,
        weights: Any = None,
    ) -> pd.DataFrame:
        """Predict each temperature of some simulations without it, and compare.

        A temperature that the model was not fitted at is predicted by the model itself. One that
        it was fitted at is left out: the weights and the generator (not variables and states) are
        learned anew from the other temperatures of X, at least two for "enthalpy" and "mbar".

        Parameters
        ----------
        X, temperature, energy, trajectory, frame, weights
            As for :meth:`fit`.

        Returns
        -------
        DataFrame
            Index (`temperature`, `state`); columns `predicted` and `simulated` populations, each
            with `_error` (standard errors), their `difference`, and per temperature
            `jensen_shannon`, the divergence (nats) between generated and simulated variables,
            `noise_floor`, what exact samples of these sizes would have, and `role`: "unseen",
            "left out", or "not judged", with NaN, where too few temperatures are left.

        Raises
        ------
        ValueError
            For data that do not fit the model.
        """
        check_is_fitted(self)
        self._named(None)
        frames = gather_frames(
            self, X, lagtime=None, reset=False, trajectory=trajectory, frame=frame,
            temperature=temperature, weights=weights, energy=energy,
        )  # fmt: skip
        if frames.temperature is None:
            raise ValueError("Expected `temperature` of every trajectory, got none.")
        tables = {float(t): self._judge(frames, float(t)) for t in np.unique(frames.temperature)}
        return pd.concat(tables, names=["temperature", "state"])

    def cross_check(self, lagtime: int | None = None) -> pd.DataFrame:
        """Compare three roads to the populations at the simulated temperatures.

        `flow`: samples of the generated density. `frames`: reweighted training frames of all
        temperatures. `msm`: the stationary distribution of a Markov state model of one temperature
        alone, which no starting structure biases where its states are connected.

        Parameters
        ----------
        lagtime : int, optional
            Of the Markov state models, in frames; the estimator's if not given.

        Returns
        -------
        DataFrame
            Index (`temperature`, `state`); columns `flow`, `frames`, `msm`, each with `_error`.
            `msm` is NaN for states outside of the connected set, for weighted frames, and where
            no trajectory is longer than the lagtime.

        Warns
        -----
        UserWarning
            Where two roads differ by more than three combined standard errors; names the state.
        """
        check_is_fitted(self)
        self._named(None)
        lagtime = self.estimator_.lagtime if lagtime is None else check_count(lagtime, "lagtime")
        tables = {t: self._roads(t, lagtime) for t in map(float, self.temperatures_)}
        table = pd.concat(tables, names=["temperature", "state"])
        _warn_of_disagreement(table)
        return table

    # -------------------------------------------------------------- inside

    def _supported(self, t: float) -> dict[str, Any]:
        simulated = self.temperatures_
        nearest = float(simulated[np.argmin(np.abs(1 / simulated - 1 / t))])
        size, own = (
            effective_sample_size(self._weights(float(self._beta(x)))) for x in (t, nearest)
        )
        overlap = size / own
        inside = bool(simulated[0] * (1 - 1e-9) <= t <= simulated[-1] * (1 + 1e-9))
        between = self._spread(t, nearest)
        verdict = "unsupported"
        if inside and overlap >= SUPPORTED:
            verdict = "supported"
        elif overlap >= EXTRAPOLATED and not between > MOST_SPREAD:
            verdict = "extrapolated"
        return {
            "effective_sample_size": size,
            "overlap": overlap,
            "inside": inside,
            "spread": between,
            "support": verdict,
        }

    def _spread(self, t: float, nearest: float) -> float:
        """Return the bootstraps' spread of the change of populations, as a share of it."""
        if not self._replicates:
            return np.nan

        def populations(temperature: float) -> FloatArray:
            beta = float(self._beta(temperature))
            found = [self._moments(*member, beta).populations()[0] for member in self._replicates]
            return np.array(found)

        change = populations(t) - populations(nearest)
        size = max(np.abs(change.mean(axis=0)).max(), LEAST_CHANGE)
        return float(change.std(axis=0, ddof=1).max() / size)

    def _judge(self, frames: Frames, t: float) -> pd.DataFrame:
        """Return the comparison at one temperature of the frames."""
        rows = np.flatnonzero(frames.temperature == t)
        z = self.estimator_._encode(frames.X[rows])
        n_states = self.estimator_.n_states_
        table = _simulated(z, self.estimator_.predict_latent(z), frames, rows, n_states)
        model, role = self._judged_by(frames, t)
        table["role"] = role
        columns = ["predicted", "predicted_error", "difference", "jensen_shannon", "noise_floor"]
        table[columns] = np.nan
        if model is not None:
            found = model.state_populations(t)
            table["predicted"] = found["population"].to_numpy()
            table["predicted_error"] = found["standard_error"].to_numpy()
            table["difference"] = table["predicted"] - table["simulated"]
            low, high = model._range()
            if z.shape[1] <= MOST_DIMENSIONS and low <= t <= high:
                n = min(N_SAMPLES, len(z))
                samples = model.sample(n, t, random_state=0)
                own = frames.weights[rows]
                table["jensen_shannon"] = jensen_shannon(samples, z, weights_b=own)
                n_effective = int(effective_sample_size(own))
                table["noise_floor"] = jensen_shannon_noise_floor(z, n, n_effective, random_state=0)
        return table[["predicted", "predicted_error", "simulated", "simulated_error", *columns[2:],
                      "role"]]  # fmt: skip

    def _judged_by(self, frames: Frames, t: float) -> tuple[Any, str]:
        """Return the model that predicts a temperature it has not seen, if there is one."""
        if not np.isclose(t, self.temperatures_).any():
            return self, "unseen"
        kept = np.asarray(frames.temperature) != t
        method = self.method  # type: ignore[attr-defined]
        if len(np.unique(np.asarray(frames.temperature)[kept])) < (1 if method == "tilted" else 2):
            return None, "not judged"
        if method == "tilted":
            raise ValueError(
                "Expected temperatures that the model was not fitted at: with method='tilted' the "
                f"estimator's own flow knows {t:g}, and nothing can be left out of it."
            )
        low, high = self._range()
        model = clone(self).set_params(
            estimator=FrozenEstimator(self.estimator_),
            temperature_range=(min(low, t), max(high, t)),
        )
        metadata = {
            name: None if values is None else values[kept]
            for name, values in (
                ("trajectory", frames.trajectory),
                ("frame", frames.frame),
                ("temperature", frames.temperature),
                ("weights", frames.weights),
                ("energy", frames.energy),
            )
        }
        return model.fit(frames.X[kept], **metadata), "left out"

    def _roads(self, t: float, lagtime: int) -> pd.DataFrame:
        n_states = self.estimator_.n_states_
        low, high = self._range()
        table = pd.DataFrame(index=pd.RangeIndex(n_states, name="state"))
        table["flow"] = table["flow_error"] = np.nan
        if low <= t <= high:
            drawn = self.estimator_.predict_latent(self.sample(N_SAMPLES, t, random_state=0))
            share = np.bincount(drawn, minlength=n_states) / N_SAMPLES
            table["flow"], table["flow_error"] = share, np.sqrt(share * (1 - share) / N_SAMPLES)
        found = self.state_populations(t)
        table["frames"] = found["population"].to_numpy()
        table["frames_error"] = found["standard_error"].to_numpy()
        table["msm"], table["msm_error"] = self._msm_populations(t, lagtime)
        return table

    def _msm_populations(self, t: float, lagtime: int) -> tuple[FloatArray, FloatArray]:
        n_states = self.estimator_.n_states_
        nothing = np.full(n_states, np.nan)
        if self._order is None or self._cuts is None:
            raise ValueError("Expected a model of this version, got an older one: fit it anew.")
        origin = self._pooled.origin
        k = int(np.argmin(np.abs(self.temperatures_ - t)))
        segments = [rows for rows in np.split(self._order, self._cuts) if origin[rows[0]] == k]
        if np.ptp(self._pooled.weights) > 0 or max(map(len, segments)) <= lagtime:
            return nothing, nothing
        model = markov_model([self.labels_[rows] for rows in segments], lagtime, random_state=0)
        symbols = model.prior.count_model.state_symbols
        share, error = nothing.copy(), nothing.copy()
        share[symbols] = model.prior.stationary_distribution
        error[symbols] = np.std([m.stationary_distribution for m in model.samples], axis=0, ddof=1)
        return share, error


def warn_unsupported(temperature: float) -> None:
    """Say that free energies are withheld."""
    warnings.warn(
        f"Temperature {temperature:g} is unsupported: too few training frames carry its weight, so "
        "its free energies are NaN. Simulate nearer to it.",
        UserWarning,
        stacklevel=3,
    )


def _simulated(
    z: FloatArray, states: IntArray, frames: Frames, rows: IntArray, n_states: int
) -> pd.DataFrame:
    """Return populations of simulated frames with errors over blocks."""
    zeros = np.zeros(len(rows))
    mixture = Mixture.build(
        zeros[:, None], np.zeros(1), zeros.astype(np.int64), frames.weights[rows],
        independent_blocks(frames)[rows],
    )  # fmt: skip
    member = np.eye(n_states)[states]
    share, error = mixture.average(member, mixture.frame_weights(zeros))
    index = pd.RangeIndex(n_states, name="state")
    return pd.DataFrame({"simulated": share, "simulated_error": error}, index=index)


def _warn_of_disagreement(table: pd.DataFrame) -> None:
    """Name the states whose roads differ beyond their error bars."""
    for a, b in (("flow", "frames"), ("frames", "msm"), ("flow", "msm")):
        error = np.hypot(table[f"{a}_error"], table[f"{b}_error"])
        apart = table[(table[a] - table[b]).abs() > DISAGREE * error]
        for place, (_, row) in zip(apart.index.to_list(), apart.iterrows(), strict=True):
            warnings.warn(
                f"State {place[1]} at temperature {place[0]:g}: {a} says {row[a]:.4f} +- "
                f"{row[f'{a}_error']:.4f}, {b} {row[b]:.4f} +- {row[f'{b}_error']:.4f}.",
                UserWarning,
                stacklevel=3,
            )
