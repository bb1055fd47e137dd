"""Checks of data before a fit and of a model after it: what is wrong, and what to do about it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from latflow._blocks import rows_at_once
from latflow._typing import BoolArray
from latflow._validation import check_count, check_positive, heard
from latflow.doctor import data, models
from latflow.doctor.data import Data
from latflow.doctor.findings import Diagnosis, Finding, passed, run
from latflow.doctor.models import Fitted
from latflow.trajectories import (
    Frames,
    as_container,
    gather_frames,
    is_trajectory_list,
    per_frame,
    stack,
)
from latflow.trajectories.pairs import places
from latflow.units import BOLTZMANN_CONSTANT, Units

__all__ = ["Diagnosis", "Finding", "diagnose"]

CURE = "Find out why: a featurizer divided by zero, a file is damaged, or a simulation blew up."


def diagnose(
    subject: object,
    X: object = None,
    *,
    temperature: object = None,
    energy: object = None,
    trajectory: ArrayLike | None = None,
    frame: ArrayLike | None = None,
    weights: object = None,
    states: object = None,
    dynamics: object = True,
    lagtime: int | None = None,
    boltzmann_constant: float | None = None,
    structures: Any = None,
    n_seeds: int = 2,
    random_state: int = 0,
) -> Diagnosis:
    """Check data before a fit, or a model after it.

    Nothing is changed and nothing is fitted, but for `n_seeds` fits where a model and its data are
    given.

    Parameters
    ----------
    subject : estimator, list of array_like of shape (n_frames_i, n_features), or array_like
        A fitted LaTFEstimator or TemperatureExtrapolator, or the data that one is to be fitted to.
    X : list of array_like, or array_like, optional
        With a model, the data that it was fitted to: these are checked too, and so is whether other
        seeds find the same states.
    temperature, energy, trajectory, frame, weights, states, dynamics
        As for TemperatureExtrapolator.fit.
    lagtime : int, optional
        In frames; that of the model, or 1, if not given.
    boltzmann_constant : float, optional
        In kJ/mol/K, or 1.0 for reduced units; that of the model, or kJ/mol/K, if not given.
    structures : mdtraj.Trajectory or list of mdtraj.Trajectory, optional
        Of the same simulations, to see whether molecules are whole. Features that know their files
        (:func:`latflow.featurizers.featurize`) need none.
    n_seeds : int, default=2
        Fits from other seeds, each as long as that of the model; 0 for none.
    random_state : int, default=0

    Returns
    -------
    Diagnosis
        One finding a check, text when printed: verdict ("pass", "warn", "fail" or "not checked"), a
        figure, and a cure.

    Raises
    ------
    ValueError
        For arrays that do not fit each other; NotFittedError for a model that is not fitted.

    Examples
    --------
    >>> import latflow
    >>> from latflow.datasets import make_three_hole
    >>> data = make_three_hole(2000, temperature=1.0, n_walkers=4, random_state=0)
    >>> found = latflow.diagnose(data.trajectories, temperature=data.temperature, lagtime=5,
    ...                          boltzmann_constant=1.0)
    >>> found["angles"].verdict, found["overlap"].figure
    ('pass', 'not checked, because fewer than two temperatures were given')
    """
    model: Any = subject if hasattr(subject, "get_params") else None
    if model is None and X is not None:
        raise ValueError("Expected a fitted model before `X`, got data twice.")
    if model is not None:
        check_is_fitted(model)
    lagtime = check_count(lagtime or getattr(model, "lagtime_", None) or 1, "lagtime")
    units = _units(model, boltzmann_constant)
    findings: tuple[Finding, ...] = ()
    frames = None
    if model is None or X is not None:
        X, known, unfinite = _finite(
            subject if model is None else X,
            {"temperature": temperature, "energy": energy, "weights": weights, "states": states,
             "dynamics": dynamics, "trajectory": trajectory, "frame": frame},
        )  # fmt: skip
        frames = _gathered(model, X, units, known)
        with heard():
            findings = run(
                data.CHECKS, Data(frames, unfinite, lagtime, units, structures, random_state)
            )
    if model is not None:
        with heard():
            findings += run(models.CHECKS, Fitted(model, frames, n_seeds, random_state))
    return Diagnosis(findings)


def _units(model: Any, boltzmann_constant: float | None) -> Units:
    if boltzmann_constant is not None:
        return Units(check_positive(boltzmann_constant, "boltzmann_constant"))
    return Units(BOLTZMANN_CONSTANT) if model is None else model.units_


def _gathered(model: Any, X: object, units: Units, known: dict[str, Any]) -> Frames:
    """Return the frames, as they reach the last step of the model's estimator if there is one."""
    if hasattr(model, "_gather"):
        frames: Frames = model._gather(X, reset=False, **known)
        return frames
    owner = BaseEstimator() if model is None else model
    return gather_frames(owner, X, reset=model is None, units=units, **known)


def _finite(X: Any, known: dict[str, Any]) -> tuple[Any, dict[str, Any], Finding]:
    """Return the frames whose numbers are all finite, and what is to be said of the others."""
    first = X[0] if isinstance(X, list) and X else X
    if any(hasattr(first, name) for name in ("data_lagged", "subsets", "xyz")):
        return X, known, passed("numbers are looked at where features are made of this")
    as_given, X = X, as_container(X)  # which may know its files
    listed = isinstance(X, list) and is_trajectory_list(X)
    arrays = X if listed else [X if hasattr(X, "shape") else np.asarray(X)]
    if any(len(x.shape) != 2 for x in arrays):
        return as_given, known, passed("numbers are not those of features")  # a fit says why
    good = np.concatenate([_finite_rows(x) for x in arrays])
    lengths = [x.shape[0] for x in arrays]
    for name in ("energy", "weights"):
        if known[name] is not None:
            entries = known[name] if listed else [known[name]]
            good &= np.isfinite(per_frame(entries, lengths, name))
    if good.all():
        return as_given, known, passed("all numbers are finite", 0.0)
    X, known = _stacked(X, known) if listed else (arrays[0], dict(known))
    ids = np.zeros(len(good), int) if known["trajectory"] is None else known["trajectory"]
    place = places(len(good), ids, known["frame"])[1]
    known |= {"trajectory": ids, "frame": place}
    bad = np.flatnonzero(~good)
    figure = (
        f"{len(bad)} of {len(good)} frames hold NaN or infinity, the first frame {place[bad[0]]} "
        f"of trajectory {np.asarray(ids)[bad[0]]}; the other checks leave them out"
    )
    finding = Finding("fail", figure, CURE, float(len(bad)))
    kept = {k: v if np.ndim(v) == 0 else np.asarray(v)[good] for k, v in known.items()}
    return np.asarray(X)[good], kept, finding


def _stacked(X: list[Any], known: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return trajectories as one array, with what is known of each frame."""
    per_trajectory = {k: v for k, v in known.items() if isinstance(v, list) or np.ndim(v)}
    stacked, rows = stack(X, **per_trajectory)
    return stacked, known | rows


def _finite_rows(x: Any) -> BoolArray:
    """Return whether all numbers of a frame are finite, block by block."""
    if getattr(x, "dtype", np.dtype(float)).kind != "f" and not hasattr(x, "columns"):
        return np.ones(len(x), dtype=bool)
    step = rows_at_once(x.shape[1])
    blocks = (x[k : k + step] for k in range(0, len(x), step))
    return np.concatenate([np.isfinite(np.asarray(b, np.float64)).all(axis=1) for b in blocks])
