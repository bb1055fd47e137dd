"""TemperatureExtrapolator: from a few simulated temperatures to the equilibrium at any other."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from scipy.spatial import KDTree
from scipy.special import logsumexp
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    MetaEstimatorMixin,
    TransformerMixin,
    clone,
)
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils import check_random_state, get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from latflow._typing import BoolArray, FloatArray, IntArray, RandomState
from latflow._validation import (
    check_count,
    check_latent_points,
    check_option,
    check_positive,
    check_range,
    check_temperature,
    check_temperatures_for,
    check_widths,
    one_at_a_time,
    warn,
    whole_or_nothing,
)
from latflow.estimators import seam
from latflow.estimators.directions import WIDE, Directions
from latflow.estimators.enthalpy import N_NETWORKS, learn_enthalpy
from latflow.estimators.latf import ENERGY_UNITS, LaTFEstimator
from latflow.estimators.notebook import table_of
from latflow.estimators.validation import cross_check, validate
from latflow.nn.conditional import ConditionalDensity, train_conditional
from latflow.nn.training import Plan, thin, torch_on
from latflow.thermodynamics import (
    Energies,
    Ensemble,
    LogLinear,
    MeltingTemperature,
    Pool,
    Route,
    Weighting,
    hidden_heat_capacities,
    pool_of,
    populations,
)
from latflow.thermodynamics.gaps import energy_gaps
from latflow.thermodynamics.support import LEAST_FRACTION
from latflow.trajectories import (
    FRAME_METADATA,
    SCORE_METADATA,
    Frames,
    gather_frames,
    list_aware,
    per_trajectory,
    return_memory,
    warn_of_repeats,
)
from latflow.trajectories.adapters import ask
from latflow.units import BOLTZMANN_CONSTANT, Units, with_error

METHODS = ("enthalpy", "tilted", "mbar")
INPUTS = ("features", "cvs")
SUPPORT_QUANTILE = 1e-3
MOST_JUDGED = 5000
SAME_POINT = 1e-6  # farthest of a frame that is at a point, in standard deviations
FEWEST_BOOTSTRAPS = 10
DISAGREE = 3.0  # errors that a user hears of
N_COMPARED = 7  # temperatures at which two kinds of input are compared
N_NODES = 32  # inverse temperatures that the conditional flow is trained at
JUDGED_A_NODE = 256
UNNAMED = (
    "Expected a model fitted with `temperature`: fit was given none, so the model knows one "
    "unnamed temperature only. Pass `temperature` (one per trajectory) to fit."
)


class NotNamedError(ValueError, AttributeError):
    """A question about temperatures to a model that knows none.

    An AttributeError too, as scikit-learn's NotFittedError is: what lists attributes skips those
    that a model does not have.
    """


def _last_has(name: str) -> Callable[[TemperatureExtrapolator], bool]:
    """Return a check whether the last step of the estimator has a method."""

    def check(self: TemperatureExtrapolator) -> bool:
        estimator = getattr(self, "estimator_", self.estimator)
        return estimator is None or hasattr(_steps_of(estimator)[1], name)

    return check


@list_aware
class TemperatureExtrapolator(
    ClassNamePrefixFeaturesOutMixin,
    MetaEstimatorMixin,
    TransformerMixin,
    BaseEstimator,
):
    """The equilibrium of learned collective variables at temperatures never simulated.

    Fits a clone of its estimator on simulations at two temperatures or more. The density of its
    collective variables is log-linear in the inverse temperature up to heat-capacity terms, so
    every training frame has a weight at every temperature, and a flow that reads the inverse
    temperature, trained on frames drawn with these weights, generates directly.

    Parameters
    ----------
    estimator : transformer, optional
        What gives the collective variables by `transform`, and the states by `predict` if it has
        that: a LaTFEstimator (a default one if not given), a Pipeline that ends in one, deeptime's
        TICA in :class:`~latflow.FromDeeptime`, PCA. One inside sklearn.frozen.FrozenEstimator is
        used as it is.
    method : {"enthalpy", "tilted", "mbar"}, default="enthalpy"
        "enthalpy" learns h, the mean potential energy (constant volume) or enthalpy (constant
        pressure) of what it reads, by telling the temperatures apart, and needs no energies.
        "tilted" is the estimator's own flow, whose base widens with temperature (the paper's
        model). "mbar" takes the potential energy of every frame.
    enthalpy_input : {"features", "cvs"}, default="features"
        What h reads: all features that reach the last step of the estimator, or the collective
        variables only. Features predict better where temperatures overlap in them.
    n_bootstraps : int, default=20
        Bootstraps over blocks that solve for h anew, at least 10; error bars are their spread. With
        0 error bars hold h fixed and are too small where it decides.
    heat_capacity_prior : float, default=1.0
        With "enthalpy": one standard deviation of the heat capacity of a state that is not shown by
        what h reads, in k_B. What the simulations leave of it is part of the error bars: all of it
        at two temperatures, less with more of them, next to nothing with energies. The default is
        that of two quadratic degrees of freedom (docs/trust.md says what it was chosen on); 0 for
        none.
    temperature_range : tuple of float, optional
        Lowest and highest temperature that `sample` and `log_density` serve; 0.8 times the lowest
        to 1.5 times the highest simulated one if not given. Not needed by "tilted".
    boltzmann_constant : float, optional
        In kJ/mol/K, or 1.0 for reduced units; that of the LaTFEstimator inside, or kJ/mol/K, if not
        given.
    n_transforms : int, default=3
        Couplings of the conditional flow.
    hidden_features : tuple of int, default=(32, 32)
        Layers of each coupling's network.
    max_iter : int, default=400
        Most optimiser steps of the conditional flow.
    learning_rate : float, default=1e-2
    batch_size : int, default=1024
    random_state : int, RandomState or None, default=None
        Also seeds every `random_state` inside `estimator` that is None.

    Attributes
    ----------
    estimator_ : transformer
        The fitted estimator.
    ensemble_ : latflow.thermodynamics.Ensemble or None
        What answers at any temperature; None for a model fitted without temperatures.
    temperatures_ : ndarray of shape (n_temperatures,)
        Simulated temperatures; empty if `fit` was given none.
    temperature_range_ : tuple of float
        Lowest and highest temperature that `sample` and `log_density` serve.
    reference_temperature_ : float or None
        What `temperature=None` means.
    z_ : ndarray of shape (n_frames, n_components)
        Collective variables of the training frames.
    labels_ : ndarray of shape (n_frames,), or list of them
        State of each training frame, as the frames came; None without states.
    n_states_, n_components_, lagtime_, units_, converged_
        As a LaTFEstimator has them.
    density_ : torch.nn.Module or None
        The conditional flow; None for "tilted" or without temperatures.
    history_ : list of dict
        The estimator's, if it has one, and that of h and of the conditional flow.
    n_iter_ : int
        Optimiser steps of the conditional flow, at most `max_iter`; 1 where none is trained, the
        least that scikit-learn allows.
    n_features_in_, feature_names_in_

    References
    ----------
    Qiu, John, Herron, Tiwary, Latent thermodynamic flows, arXiv:2507.03174 ("tilted").
    Geyer, Reverse logistic regression, 1994; Shirts, Chodera, J. Chem. Phys. 129, 124105 (2008).

    Examples
    --------
    >>> from latflow import LaTFEstimator, TemperatureExtrapolator
    >>> from latflow.datasets import make_three_hole
    >>> cold, hot = (
    ...     make_three_hole(2000, temperature=t, n_walkers=4, random_state=0) for t in (0.8, 1.4)
    ... )
    >>> latf = LaTFEstimator(lagtime=5, max_iter=480, boltzmann_constant=1.0, random_state=0)
    >>> model = TemperatureExtrapolator(latf, n_bootstraps=10, max_iter=40).fit(
    ...     cold.trajectories + hot.trajectories, temperature=cold.temperature + hot.temperature
    ... )
    >>> model.sample(3, temperature=1.0, random_state=0).shape
    (3, 2)
    """

    _own_states = False  # whether labels are the user's own, not the estimator's

    __metadata_request__fit = dict.fromkeys(
        (*FRAME_METADATA, "energy", "states", "pressure", "volume"), True
    )
    __metadata_request__score = dict.fromkeys(SCORE_METADATA, True) | {"sample_weight": None}

    def __init__(
        self,
        estimator: BaseEstimator | None = None,
        *,
        method: str = "enthalpy",
        enthalpy_input: str = "features",
        n_bootstraps: int = 20,
        heat_capacity_prior: float = 1.0,
        temperature_range: tuple[float, float] | None = None,
        boltzmann_constant: float | None = None,
        n_transforms: int = 3,
        hidden_features: tuple[int, ...] = (32, 32),
        max_iter: int = 400,
        learning_rate: float = 1e-2,
        batch_size: int = 1024,
        random_state: RandomState = None,
    ) -> None:
        self.estimator = estimator
        self.method = method
        self.enthalpy_input = enthalpy_input
        self.n_bootstraps = n_bootstraps
        self.heat_capacity_prior = heat_capacity_prior
        self.temperature_range = temperature_range
        self.boltzmann_constant = boltzmann_constant
        self.n_transforms = n_transforms
        self.hidden_features = hidden_features
        self.max_iter = max_iter
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.random_state = random_state

    # -------------------------------------------------------------- fit

    def fit(
        self,
        X: object,
        y: object = None,
        *,
        temperature: object = None,
        energy: object = None,
        trajectory: ArrayLike | None = None,
        frame: ArrayLike | None = None,
        weights: object = None,
        initial_states: object = None,
        states: object = None,
        dynamics: object = True,
        pressure: object = None,
        volume: object = None,
    ) -> Self:
        """Fit the estimator, the frames' weights at any temperature and the generator.

        Parameters
        ----------
        X : list of array_like of shape (n_frames_i, n_features), or array_like
            With a Pipeline, whatever its first step takes.
        y : ignored
        temperature : list or array_like
            As for LaTFEstimator.fit; at least two values for "enthalpy" and "mbar".
        energy : list or array_like, optional
            Potential energy of each frame, in units of boltzmann_constant times temperature
            (kJ/mol). Needed by "mbar"; with "enthalpy" :meth:`thermodynamics` gives MBAR's free
            energies, which need it, beside those without.
        trajectory, frame, weights, initial_states, dynamics
            As for LaTFEstimator.fit; an estimator that needs no time, as PCA, takes frames of which
            none has dynamics, too.
        states : list or array_like of int, optional
            State of each frame, from 0: labels of the user's own, for all questions about states.
            The estimator's `predict` if not given.
        pressure : float, list or array_like, optional
            In bar: one number, or one per trajectory or frame. With `volume`, pV is added to the
            energy: what decides at constant pressure is U + pV. At 1 bar it changes little.
        volume : list or array_like, optional
            Of the box of each frame, in nm^3. In reduced units pressure times volume is an energy.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For parameters or data that do not fit, before anything is learned.

        Warns
        -----
        UserWarning
            Where a simulation had not settled (its halves differ, or trajectories of one
            temperature do): names trajectory and state. Where energies and temperatures
            contradict each other: tells the factor between them.
            Where energies contradict the temperatures (two swapped, one mistaken), and where a
            trajectory was given twice.
        """
        self._check_parameters()
        with whole_or_nothing(self):
            rs = check_random_state(self.random_state)
            self.estimator_ = self._prepared(rs)
            with torch_on(self._n_threads):
                frames = self._gather(
                    X, reset=True, trajectory=trajectory, frame=frame, temperature=temperature,
                    weights=weights, initial_states=initial_states, energy=energy, states=states,
                    dynamics=dynamics, pressure=pressure, volume=volume,
                )  # fmt: skip
                warn_of_repeats(frames)
                self._fit(frames, rs)
        return self

    def fit_transform(self, X: object, y: object = None, **metadata: Any) -> Any:
        """Fit, then return the collective variables of X; metadata as for :meth:`fit`."""
        return self.fit(X, y, **metadata).transform(X)

    def _check_parameters(self) -> None:
        check_option(self.method, "method", METHODS)
        check_option(self.enthalpy_input, "enthalpy_input", INPUTS)
        if 0 < check_count(self.n_bootstraps, "n_bootstraps", minimum=0) < FEWEST_BOOTSTRAPS:
            raise ValueError(
                f"Expected `n_bootstraps` to be 0 or at least {FEWEST_BOOTSTRAPS}, as the spread "
                f"of fewer bootstraps tells no standard error, got {self.n_bootstraps}."
            )
        for name in ("n_transforms", "max_iter", "batch_size"):
            check_count(getattr(self, name), name)
        check_positive(self.learning_rate, "learning_rate")
        check_positive(self.heat_capacity_prior, "heat_capacity_prior", allow_zero=True)
        check_widths(self.hidden_features, "hidden_features")
        if self.temperature_range is not None:
            check_range(self.temperature_range, "temperature_range")
        if self.boltzmann_constant is not None:
            check_positive(self.boltzmann_constant, "boltzmann_constant")
        last = LaTFEstimator() if self.estimator is None else _steps_of(self.estimator)[1]
        if not hasattr(last, "transform"):
            raise TypeError(
                "Expected `estimator` to be a transformer, as LaTFEstimator is, got "
                f"{type(last).__name__}."
            )
        if isinstance(last, LaTFEstimator):
            last._check_parameters()
        elif self.method == "tilted":
            raise TypeError(
                "Expected `estimator` to end in a LaTFEstimator for method='tilted', got "
                f"{type(last).__name__}."
            )

    def _prepared(self, rs: np.random.RandomState) -> Any:
        """Return the estimator to fit, its free seeds set, or the fitted one that is frozen."""
        if isinstance(self.estimator, FrozenEstimator):
            return self.estimator.estimator
        estimator = LaTFEstimator() if self.estimator is None else clone(self.estimator)
        parameters = estimator.get_params(deep=True)
        frozen = tuple(f"{k}__" for k, v in parameters.items() if isinstance(v, FrozenEstimator))
        free = sorted(
            name
            for name, value in parameters.items()
            if name.split("__")[-1] == "random_state" and value is None
            and not name.startswith(frozen)
        )  # fmt: skip
        return estimator.set_params(**{name: int(rs.randint(2**31 - 1)) for name in free})

    @property
    def _last(self) -> Any:
        """The fitted last step of the estimator, which gives the collective variables."""
        return _steps_of(self.estimator_)[1]

    def _gather(self, X: object, *, reset: bool, **metadata: Any) -> Frames:
        """Return the frames, with the features that reach the estimator's last step."""
        steps, last = _steps_of(self.estimator_)
        metadata["lagtime"] = getattr(last, "lagtime", None)  # that a deeptime data set must have
        fit = reset and not isinstance(self.estimator, FrozenEstimator)
        for step in steps:
            X = _passed(step, X, metadata, fit=fit)
        if not steps:
            return gather_frames(self, X, reset=reset, units=self.units_, **metadata)
        if reset:
            for name in ("n_features_in_", "feature_names_in_"):
                if hasattr(steps[0], name):
                    setattr(self, name, getattr(steps[0], name))
        return gather_frames(BaseEstimator(), X, reset=True, units=self.units_, **metadata)

    def _fit(self, frames: Frames, rs: np.random.RandomState) -> None:
        """Fit on checked frames, inside of `torch_on`."""
        self.temperatures_ = frames.temperatures if frames.named else np.empty(0)
        check_temperatures_for(self.method, self.temperatures_, frames.energy is not None)
        pool = pool_of(frames, self.units_)
        frozen = isinstance(self.estimator, FrozenEstimator) or _is_frozen(self.estimator_)
        self.z_, labels, directions = self._variables(frames, fit=not frozen)
        read = self._read(frames, directions, rs)
        self._fit_answers(frames, read, pool, labels, rs)

    def _read(
        self, frames: Frames, directions: Directions | None, rs: np.random.RandomState
    ) -> Frames:
        """Return the frames by the features that h reads: wide ones along directions."""
        if frames.X.shape[1] <= WIDE or self.method != "enthalpy":
            return frames
        if directions is None or not self._last.standardize:
            x = seam.Standardised(frames.X, *frames.scaling()[:2])
            directions = Directions.of(x, frames.weights, None, int(rs.randint(2**31 - 1)))
        return frames.with_features(directions.along.X)

    def _variables(
        self, frames: Frames, *, fit: bool
    ) -> tuple[FloatArray, IntArray | None, Directions | None]:
        """Return variables and states of frames, by the estimator's last step, fitted if asked.

        And the directions that it read wide features along, if it is a LaTFEstimator.
        """
        last = self._last
        if isinstance(last, LaTFEstimator):
            if fit:
                return last._fit(frames)
            last._check_frames(frames.X[:1])
            z = last._encode(frames.X)
            return z, last.predict_latent(z), None
        X = frames.X[:]
        if frames.feature_names is not None:
            X = pd.DataFrame(X, columns=frames.feature_names)
        with one_at_a_time:
            if fit:
                names = ("trajectory", "frame", "weights", "dynamics")
                metadata = {name: getattr(frames, name) for name in names}
                metadata["dynamics"] = True if frames.dynamics is None else frames.dynamics
                last.fit(X, **{k: v for k, v in metadata.items() if has_fit_parameter(last, k)})
            z = np.asarray(last.transform(X), dtype=np.float64).reshape(len(frames), -1)
            labels = np.asarray(last.predict(X), np.int64) if hasattr(last, "predict") else None
        return z, labels, None

    def _fit_answers(
        self,
        frames: Frames,
        read: Frames,
        pool: Pool,
        labels: IntArray | None,
        rs: np.random.RandomState,
    ) -> None:
        """Fit what answers at any temperature, from checked frames, variables and states."""
        self._n_features_out = self.z_.shape[1]
        self._own_states = frames.states is not None
        labels = frames.states if self._own_states else labels
        self.labels_ = None if labels is None else frames.split(labels)
        counted = 0 if labels is None else int(labels.max()) + 1
        self.n_states_ = counted if self._own_states else getattr(self._last, "n_states_", counted)
        self.history_ = list(getattr(self._last, "history_", []))
        self.manifest_ = frames.manifest
        self.density_: ConditionalDensity | None = None
        self.ensemble_: Ensemble | None = None
        self.n_iter_ = 1
        if not frames.named:
            return
        rng = np.random.default_rng(rs.randint(2**31 - 1))
        fraction = getattr(self._last, "validation_fraction", 0.1)
        held_out = frames.held_out(fraction, self.lagtime_, rng)
        self.ensemble_ = self._learn_ensemble(frames, read, pool, labels, held_out, rs, rng)
        self.ensemble_.evidence.warn_of_unsettled()
        return_memory()
        segments = frames.segments()
        self._order = np.concatenate(segments).astype(np.int32)
        self._cuts = np.cumsum(list(map(len, segments)))[:-1]
        if self.method != "tilted":
            self._fit_density(held_out, int(rs.randint(2**31 - 1)))
        every = thin(np.arange(len(self.z_)), MOST_JUDGED)
        levels = self.pooled_log_density(self.z_[every])
        self._support_level = float(np.quantile(levels, SUPPORT_QUANTILE))

    def _learn_ensemble(
        self,
        frames: Frames,
        read: Frames,
        pool: Pool,
        labels: IntArray | None,
        held_out: BoolArray,
        rs: np.random.RandomState,
        rng: np.random.Generator,
    ) -> Ensemble:
        """Learn or take each frame's reduced energy, and solve for the f_k.

        `read` are the frames by the features that h reads, or by what wide ones are along their
        directions.
        """
        options: dict[str, Any] = {
            "states": labels, "n_states": self.n_states_, "lagtime": self.lagtime_,
            "energy": frames.energy, "temperature_range": self.temperature_range,
        }  # fmt: skip
        if self.method == "enthalpy":
            if frames.energy is not None:
                options["yardstick"] = _mbar_or_none(frames.energy, pool)
            return self._learn_enthalpy(frames, read, pool, held_out, rs, rng, options)
        route: Route = LogLinear(np.zeros((len(frames), 1)), 0.0)
        if self.method == "mbar":
            route = Energies(np.asarray(frames.energy))
        else:
            # of log p(z | T) only r^2 / (2 t) depends on temperature: h = k_B T_ref r^2 / 2
            kt = self.units_.kt(self._last.reference_temperature_ or 1.0)
            square = (self._last.to_prior(self.z_) ** 2).sum(axis=1, keepdims=True)
            route = LogLinear(kt * square / 2, 0.0)
        ensemble = Ensemble.of(Weighting.solved(route, pool), frames, self.units_, **options)
        _warn_of_energies(frames, pool, ensemble)
        return ensemble

    def _learn_enthalpy(
        self,
        frames: Frames,
        read: Frames,
        pool: Pool,
        held_out: BoolArray,
        rs: np.random.RandomState,
        rng: np.random.Generator,
        options: dict[str, Any],
    ) -> Ensemble:
        """Learn the reduced energies of what `enthalpy_input` names; compare with the other."""
        seeds = rs.randint(2**31 - 1, size=N_NETWORKS)

        def ensemble_of(inputs: Frames, *, tell: bool = True) -> Ensemble:
            v = seam.Standardised(inputs.X, *inputs.scaling()[:2])
            return_memory()
            learned = learn_enthalpy(
                v, pool, held_out, frames.energy, self.n_bootstraps, seeds, rng
            )
            return_memory()
            self.history_ += learned.history
            capacities = None
            if self.heat_capacity_prior and self.n_states_ > 1:
                capacities = hidden_heat_capacities(
                    float(self.heat_capacity_prior), pool, options["states"], self.n_states_,
                    energy=frames.energy, bootstraps=learned.bootstraps,
                )  # fmt: skip
            answer = Weighting.solved(learned.route, pool, apart=learned.offsets)
            ensemble = Ensemble.of(
                answer, frames, self.units_, bootstraps=learned.bootstraps,
                heat_capacities=capacities, **options,
            )  # fmt: skip
            if tell:
                _warn_of_energies(frames, pool, ensemble, learned.factor)
            return ensemble

        if self.enthalpy_input == "features":
            return ensemble_of(read)
        answer = ensemble_of(frames.with_features(self.z_))
        n = len(self.history_)
        _warn_of_inputs(answer, ensemble_of(read, tell=False))
        del self.history_[n:]
        return answer

    def _fit_density(self, held_out: BoolArray, seed: int) -> None:
        """Train the flow that reads the inverse temperature."""
        low, high = self.temperature_range_
        betas = (self.units_.beta(high), self.units_.beta(low))
        generator = torch.Generator().manual_seed(seed)
        rng = np.random.default_rng(seed)
        plan = Plan(self.max_iter, self.learning_rate, self.batch_size)
        self.density_ = ConditionalDensity(
            n_components=self.n_components_,
            context_range=betas,
            n_transforms=self.n_transforms,
            transform=getattr(self._last, "flow", "spline"),
            hidden_features=tuple(self.hidden_features),
            generator=generator,
        )
        n_train = plan.max_iter * plan.batch_size // N_NODES + 1
        answer = self._ensemble().answer
        train = weighted_draws(answer, ~held_out, betas, n_train, rng)
        judged = held_out if held_out.any() else ~held_out
        judge = weighted_draws(answer, judged, betas, JUDGED_A_NODE, rng)
        z = torch.tensor(self.z_, device="cpu")
        outcome = train_conditional(self.density_, z, train, judge, plan, generator)
        self.history_ += outcome.history
        self.n_iter_ = outcome.n_iter

    # -------------------------------------------------------------- the face of both estimators

    @property
    def n_components_(self) -> int:
        """Number of collective variables."""
        return int(self._n_features_out)

    @property
    def lagtime_(self) -> int:
        """The estimator's lagtime, in frames; 1 for one that has none."""
        last = self._last
        inner = getattr(last, "estimator", last)  # of FromDeeptime
        return int(getattr(last, "lagtime", getattr(inner, "lagtime", None)) or 1)

    @property
    def converged_(self) -> bool:
        """Whether the estimator's labels stopped changing; true for one that refines none."""
        return bool(getattr(self._last, "converged_", True))

    @property
    def units_(self) -> Units:
        """The units of temperatures and energies."""
        if self.boltzmann_constant is not None:
            return Units(self.boltzmann_constant)
        return Units(getattr(self._last, "boltzmann_constant", BOLTZMANN_CONSTANT))

    @property
    def reference_temperature_(self) -> float | None:
        """What `temperature=None` means: the estimator's, or the lowest simulated temperature."""
        lowest = float(self.temperatures_[0]) if len(self.temperatures_) else None
        reference: float | None = getattr(self._last, "reference_temperature_", None)
        return lowest if reference is None else reference

    @property
    def _takes_rows(self) -> bool:
        return isinstance(getattr(self, "estimator_", None), LaTFEstimator)

    @property
    def _n_threads(self) -> int | None:
        threads: int | None = getattr(self._last, "n_threads", 1)
        return threads

    def transform(self, X: object) -> Any:
        """Return the estimator's collective variables, noise-free."""
        return self._answer("transform", X)

    @available_if(_last_has("predict"))  # type: ignore[untyped-decorator]
    @per_trajectory
    def predict(self, X: object) -> Any:
        """Return the estimator's state of each frame."""
        return self._answer("predict", X)

    @available_if(_last_has("predict_proba"))  # type: ignore[untyped-decorator]
    @per_trajectory
    def predict_proba(self, X: object) -> Any:
        """Return the estimator's state probabilities of each frame."""
        return self._answer("predict_proba", X)

    def _answer(self, method: str, X: object) -> Any:
        check_is_fitted(self)
        if isinstance(self.estimator_, LaTFEstimator):  # in threads side by side
            return getattr(self.estimator_, method)(X)
        return ask(self.estimator_, method, X)

    def predict_latent(self, Z: ArrayLike) -> IntArray:
        """Return the state of points of the latent space, so of samples; shape (n_points,)."""
        states: IntArray = self._latent("predict_latent")(Z)
        return states

    def predict_proba_latent(self, Z: ArrayLike) -> FloatArray:
        """Return each state's probability one lagtime later for points of the latent space."""
        probabilities: FloatArray = self._latent("predict_proba_latent")(Z)
        return probabilities

    def _latent(self, name: str) -> Callable[..., Any]:
        """Return a method of the LaTFEstimator inside."""
        check_is_fitted(self)
        if not isinstance(self._last, LaTFEstimator):
            raise ValueError(
                "Expected a LaTFEstimator inside, which knows states and densities of points of "
                f"the latent space, got {type(self._last).__name__}."
            )
        method: Callable[..., Any] = getattr(self._last, name)
        return method

    @available_if(_last_has("score"))  # type: ignore[untyped-decorator]
    def score(self, X: object, y: object = None, **metadata: Any) -> float:
        """Return the estimator's score; see :meth:`LaTFEstimator.score`."""
        check_is_fitted(self)
        steps, last = _steps_of(self.estimator_)
        for step in steps:
            X = step.transform(X)
        return float(last.score(X, y, **metadata))

    # -------------------------------------------------------------- the generated density

    def sample(
        self,
        n_samples: int = 1,
        temperature: float | None = None,
        random_state: RandomState = None,
    ) -> FloatArray:
        """Draw collective variables from the equilibrium at a temperature.

        Parameters
        ----------
        n_samples : int, default=1
        temperature : float, optional
            The reference temperature if not given.
        random_state : int, RandomState or None, default=None

        Returns
        -------
        ndarray of shape (n_samples, n_components)

        Raises
        ------
        ValueError
            For a temperature outside `temperature_range`.
        """
        check_is_fitted(self)
        temperature = self._temperature(temperature)
        if self.density_ is None:
            samples: FloatArray = self._latent("sample")(n_samples, temperature, random_state)
            return samples
        n = check_count(n_samples, "n_samples")
        beta = self.units_.beta(self._in_range(temperature))
        seed = int(check_random_state(random_state).randint(2**31 - 1))
        with torch_on(self._n_threads):
            return seam.conditional_draw(self.density_, beta, n, seed)

    def log_density(self, Z: ArrayLike, temperature: float | None = None) -> FloatArray:
        """Return the normalised log-density of collective variables at a temperature.

        Parameters
        ----------
        Z : array_like of shape (n_points, n_components)
        temperature : float, optional
            The reference temperature if not given.

        Returns
        -------
        ndarray of shape (n_points,)
            In nats.
        """
        check_is_fitted(self)
        temperature = self._temperature(temperature)
        z = check_latent_points(Z, self.n_components_)
        if self.density_ is None:
            density: FloatArray = self._latent("log_density")(z, temperature)
            return density
        beta = self.units_.beta(self._in_range(temperature))
        with torch_on(self._n_threads):
            return seam.conditional_log_density(self.density_, z, beta)

    def pooled_log_density(self, Z: ArrayLike) -> FloatArray:
        """Return the log-density of all simulations together: where training frames lie.

        Parameters
        ----------
        Z : array_like of shape (n_points, n_components)

        Returns
        -------
        ndarray of shape (n_points,)
            In nats: of the densities at the simulated temperatures, each with its fraction of the
            frames. :meth:`log_density` for a model fitted without temperatures.
        """
        check_is_fitted(self)
        if self.ensemble_ is None:
            return self.log_density(Z)
        counts = self.ensemble_.pool.counts
        temperatures = self.temperatures_
        if self.density_ is not None:
            temperatures = np.clip(temperatures, *self.temperature_range_)
        pairs = zip(np.log(counts / counts.sum()), temperatures, strict=True)
        densities = [fraction + self.log_density(Z, float(t)) for fraction, t in pairs]
        return np.asarray(logsumexp(densities, axis=0))

    def free_energy(
        self, Z: ArrayLike, temperature: float | None = None, *, unit: str = "energy"
    ) -> FloatArray:
        """Return the free energy -k_B T log p of points of the latent space.

        Parameters
        ----------
        Z : array_like of shape (..., n_components)
            Points, or a grid of them.
        temperature : float, optional
            The reference temperature if not given.
        unit : {"energy", "kT"}, default="energy"
            "energy" is kJ/mol with the default `boltzmann_constant`.

        Returns
        -------
        ndarray of shape (...)
            0 where the density is highest among 5000 training frames, always the same ones, so that
            it depends on no other point; lower where it is higher still. NaN where no training
            frame is (where the pooled density is below its 0.001 quantile over them, and no frame
            is at that point), and everywhere, with a warning, at a temperature that is unsupported
            (see :meth:`support`).
        """
        check_option(unit, "unit", ENERGY_UNITS)
        ensemble, temperature = self._ensemble(), self._named(temperature)
        points = np.asarray(Z, dtype=np.float64)
        flat = points.reshape(-1, points.shape[-1]) if points.ndim else points
        frames = self.z_[thin(np.arange(len(self.z_)), MOST_JUDGED)]
        energy = self.log_density(frames, temperature).max() - self.log_density(flat, temperature)
        energy[self._unvisited(flat)] = np.nan
        unknown = ensemble.evidence.unknown(temperature, ensemble.temperatures) is not None
        if unknown or ensemble.at(temperature).effective_fraction < LEAST_FRACTION:
            warn(
                f"Temperature {temperature:g} is unsupported, so its free energies are NaN: "
                f"{ensemble.at(temperature).support()['reason']}. Simulate nearer to it."
            )
            energy[:] = np.nan
        if unit == "energy":
            energy *= self.units_.kt(temperature)
        return np.asarray(energy.reshape(points.shape[:-1]))

    # -------------------------------------------------------------- the ensemble's answers

    @property
    def temperature_range_(self) -> tuple[float, float]:
        """Lowest and highest temperature that `sample` and `log_density` serve."""
        return self._ensemble().temperature_range

    def frame_weights(self, temperature: float | None = None) -> Any:
        """Return the weight of every training frame at a temperature; they sum to 1.

        Parameters
        ----------
        temperature : float, optional
            The reference temperature if not given.

        Returns
        -------
        ndarray of shape (n_frames,), or list of them as `fit` was given
        """
        return self._ensemble().frame_weights(self._named(temperature))

    def expectation(self, values: object, temperatures: ArrayLike) -> pd.DataFrame:
        """Return the expectation of a per-frame observable at each temperature.

        Parameters
        ----------
        values : list of array_like, or array_like of shape (n_frames,)
            One number per training frame, in the order of `fit`.
        temperatures : float or array_like

        Returns
        -------
        DataFrame
            Index `temperature`, columns `value` and `standard_error`: the frames' (with
            `n_bootstraps` that of h too), and what two temperatures cannot show
            (`heat_capacity_prior`).
        """
        return self._ensemble().expectation(values, temperatures)

    def state_populations(self, temperatures: ArrayLike) -> pd.DataFrame:
        """Return the population of every metastable state at each temperature.

        Index (`temperature`, `state`), columns `population` and `standard_error`; see
        :meth:`latflow.thermodynamics.Ensemble.state_populations`.
        """
        return self._ensemble().state_populations(temperatures)

    def thermodynamics(
        self, temperatures: ArrayLike, *, reference: int | None = None
    ) -> pd.DataFrame:
        """Return free energy, energy, entropy and heat capacity of every state, with errors.

        See :meth:`latflow.thermodynamics.Ensemble.thermodynamics`.
        """
        return self._ensemble().thermodynamics(temperatures, reference=reference)

    def melting_temperature(self, state: int) -> MeltingTemperature:
        """Return where a state holds half of the population: (temperature, standard_error, slope).

        See :meth:`latflow.thermodynamics.Ensemble.melting_temperature`.
        """
        return self._ensemble().melting_temperature(state)

    def whole_system(self, temperatures: ArrayLike) -> pd.DataFrame:
        """Return energy and heat capacity of the whole system, of what no feature shows too.

        See :meth:`latflow.thermodynamics.Ensemble.whole_system`.
        """
        return self._ensemble().whole_system(temperatures)

    def support(self, temperatures: ArrayLike) -> pd.DataFrame:
        """Say how far the answers at each temperature can be trusted.

        See :meth:`latflow.thermodynamics.Ensemble.support`.
        """
        return self._ensemble().support(temperatures)

    def validate(
        self,
        X: object,
        *,
        temperature: object,
        energy: object = None,
        trajectory: ArrayLike | None = None,
        frame: ArrayLike | None = None,
        weights: object = None,
        states: object = None,
        dynamics: object = True,
        pressure: object = None,
        volume: object = None,
    ) -> pd.DataFrame:
        """Predict each temperature of some simulations without it, and compare.

        See :func:`latflow.estimators.validation.validate`.
        """
        self._ensemble()
        frames = self._gather(
            X, reset=False, trajectory=trajectory, frame=frame, temperature=temperature,
            weights=weights, energy=energy, states=states, dynamics=dynamics,
            pressure=pressure, volume=volume,
        )  # fmt: skip
        return validate(self, frames)

    def cross_check(self, lagtime: int | None = None) -> pd.DataFrame:
        """Compare three independent ways to the populations at the simulated temperatures.

        See :func:`latflow.estimators.validation.cross_check`.
        """
        return cross_check(self, lagtime)

    # -------------------------------------------------------------- inside

    def _ensemble(self) -> Ensemble:
        check_is_fitted(self)
        if self.ensemble_ is None:
            raise NotNamedError(UNNAMED)
        return self.ensemble_

    def _unvisited(self, points: FloatArray) -> BoolArray:
        """Mark points where no training frame is."""
        low = self.pooled_log_density(points) < self._support_level
        if low.any():
            scale = self.z_.std(axis=0)
            scale[scale == 0] = 1.0
            nearest, _ = KDTree(self.z_ / scale).query(
                points[low] / scale, distance_upper_bound=SAME_POINT
            )
            low[low] = np.isinf(nearest)
        return low

    def _in_range(self, temperature: float | None) -> float:
        low, high = self.temperature_range_
        if temperature is None or not low <= temperature <= high * (1 + 1e-12):
            raise ValueError(
                f"Expected `temperature` from {low:g} to {high:g}, the range that the generator "
                f"was trained for, got {temperature:g}: fit with a wider `temperature_range`."
            )
        return temperature

    def _temperature(self, temperature: float | None) -> float | None:
        if temperature is None:
            return self.reference_temperature_
        if not len(self.temperatures_):
            raise ValueError(UNNAMED)
        return check_temperature(temperature)

    def _named(self, temperature: float | None) -> float:
        named = self._temperature(temperature)
        if named is None:
            raise ValueError(UNNAMED)
        return named

    def _html_repr(self) -> str:
        """Return scikit-learn's diagram, and below it a table of what was learned."""
        return f"{super()._html_repr()}{table_of(self)}"

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        inner = LaTFEstimator() if self.estimator is None else self.estimator
        tags.transformer_tags = get_tags(inner).transformer_tags
        return tags


def _steps_of(estimator: Any) -> tuple[list[Any], Any]:
    """Return the steps before the last, and the last, inside of pipelines and frozen estimators."""
    steps: list[Any] = []
    while isinstance(estimator, Pipeline | FrozenEstimator):
        if isinstance(estimator, FrozenEstimator):
            estimator = estimator.estimator
            continue
        *before, estimator = (step for _, step in estimator.steps)
        steps += [step for step in before if step not in (None, "passthrough")]
    return steps, estimator


def _is_frozen(estimator: Any) -> bool:
    """Whether the last step of an estimator is frozen."""
    while isinstance(estimator, Pipeline):
        estimator = estimator.steps[-1][1]
    return isinstance(estimator, FrozenEstimator)


def _passed(step: Any, X: object, metadata: dict[str, Any], *, fit: bool) -> Any:
    """Transform X by a step, fitted before if asked, unless frozen, with metadata that it takes."""
    with one_at_a_time:
        if fit and not isinstance(step, FrozenEstimator):
            known = {k: value for k, value in metadata.items() if has_fit_parameter(step, k)}
            step.fit(X, **{name: value for name, value in known.items() if value is not None})
        return step.transform(X)


def _mbar_or_none(energy: FloatArray, pool: Pool) -> Weighting | None:
    """Return MBAR's weights, or None where the energies of the temperatures do not overlap."""
    try:
        return Weighting.solved(Energies(energy), pool)
    except ValueError:
        return None


def _warn_of_energies(
    frames: Frames, pool: Pool, ensemble: Ensemble, factor: tuple[float, float] | None = None
) -> None:
    """Say so where energies are not those of the temperatures, or not of the frames."""
    if frames.energy is None:
        return
    settled, units = ensemble.evidence.settled, ensemble.units
    gaps = energy_gaps(frames.energy, pool, frames.temperatures)
    for gap in sorted(gaps, key=lambda gap: gap.rise):
        if gap.swapped or (settled and gap.mistaken):
            warn(gap.sentence(units))
            return
    if settled and factor is not None and abs(factor[0] - 1) > DISAGREE * factor[1]:
        warn(
            f"The energies change by {with_error(*factor)} of what the simulated temperatures say "
            "that they should, where 1 is right: are `energy` and `boltzmann_constant` in the same "
            "units (0.24 is kcal/mol), and is every energy that of its frame (0 is not)?"
        )


def _warn_of_inputs(answer: Ensemble, other: Ensemble) -> None:
    """Say so where h of the variables and h of the features differ by more than their errors."""
    if answer.states is None:
        return
    low, high = answer.temperature_range
    betas = np.linspace(1 / high, 1 / low, N_COMPARED)
    worst, sentence = DISAGREE, ""
    for t in 1 / betas:
        statistic = partial(populations, states=answer.states, n_states=answer.n_states)
        (p, p_error), (q, q_error) = (e.estimate(float(t), statistic) for e in (answer, other))
        z = np.abs(p - q) / np.maximum(np.hypot(p_error, q_error), np.finfo(float).tiny)
        s = int(np.nanargmax(z))
        if z[s] > worst:
            worst = float(z[s])
            sentence = (
                f"With enthalpy_input='cvs' state {s} holds {with_error(p[s], p_error[s])} at "
                f"{answer.units.named(float(t))}, with 'features' {with_error(q[s], q_error[s])}, "
                f"{z[s]:.1f} errors apart: the features know more of the energy; prefer them."
            )
    if sentence:
        warn(sentence)


def weighted_draws(
    answer: Weighting,
    among: BoolArray,
    betas: tuple[float, float],
    n_each: int,
    rng: np.random.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw `n_each` frames by weight at each of 32 inverse temperatures, evenly spread.

    Systematic resampling: one frame of weight w comes w n_each times, give or take one.
    """
    nodes, rows = np.linspace(*betas, N_NODES), []
    for beta in nodes:
        heights = answer.at(float(beta)).weights
        heights *= among
        np.cumsum(heights, out=heights)
        marks = (np.arange(n_each) + rng.random()) / n_each * heights[-1]
        rows.append(np.minimum(np.searchsorted(heights, marks, side="right"), len(among) - 1))
    drawn = torch.from_numpy(np.concatenate(rows))
    return drawn, torch.from_numpy(np.repeat(nodes, n_each).astype(np.float32))
