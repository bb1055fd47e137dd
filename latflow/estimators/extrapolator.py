"""TemperatureExtrapolator: from a few simulated temperatures to the equilibrium at any other."""

from __future__ import annotations

from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    MetaEstimatorMixin,
    TransformerMixin,
    clone,
)
from sklearn.frozen import FrozenEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from latflow._validation import (
    check_count,
    check_latent_points,
    check_option,
    check_positive,
    check_range,
    check_temperature,
    check_temperatures_for,
    check_widths,
    whole_or_nothing,
)
from latflow.estimators import seam
from latflow.estimators.features import Standardised, small
from latflow.estimators.generator import train_generator
from latflow.estimators.latf import LaTFEstimator
from latflow.estimators.processes import check_alone
from latflow.estimators.reweighting import (
    Energies,
    LogLinear,
    Pooled,
    Route,
    learn_log_linear,
    mixture_of,
    tilted_log_linear,
)
from latflow.estimators.stages import thin, weighted_moments
from latflow.estimators.trust import TrustMixin, warn_unsupported
from latflow.nn.model import ConditionalDensity
from latflow.nn.training import Plan
from latflow.thermodynamics import Mixture, Replicate
from latflow.trajectories import (
    FRAME_METADATA,
    Frames,
    Rows,
    TrajectoryListMixin,
    gather_frames,
    held_out_rows,
    independent_blocks,
    is_trajectory_list,
    return_memory,
    time_segments,
)
from latflow.units import Units

__all__ = ["TemperatureExtrapolator"]

METHODS = ("enthalpy", "tilted", "mbar")
INPUTS = ("features", "cvs")
UNITS = ("energy", "kT")
COLDER, HOTTER = 0.8, 1.5  # default range of the generator, in simulated temperatures
SUPPORT_QUANTILE = 1e-3
MOST_JUDGED = 5000
FEWEST_BOOTSTRAPS = 10

FloatArray = NDArray[np.float64]


class TemperatureExtrapolator(
    TrajectoryListMixin,
    TrustMixin,
    ClassNamePrefixFeaturesOutMixin,
    MetaEstimatorMixin,
    TransformerMixin,
    BaseEstimator,
):
    """The equilibrium of learned collective variables at temperatures never simulated.

    Fits a clone of its LaTFEstimator on simulations at two temperatures or more. The density of
    its collective variables is log-linear in the inverse temperature up to heat-capacity terms,
    so every training frame has a weight at every temperature, and a flow that reads the inverse
    temperature, trained on frames drawn with these weights, generates directly.

    Parameters
    ----------
    estimator : LaTFEstimator, optional
        A default one if not given; one inside sklearn.frozen.FrozenEstimator is used as it is.
    method : {"enthalpy", "tilted", "mbar"}, default="enthalpy"
        "enthalpy" learns h, the mean potential energy (constant volume) or enthalpy (constant
        pressure) of what it reads, by telling the temperatures apart, and needs no energies.
        "tilted" is the estimator's own flow, whose base widens with temperature (the paper's
        model). "mbar" takes the potential energy of every frame.
    enthalpy_input : {"features", "cvs"}, default="features"
        What h reads: all features, or the collective variables only. Features predict better where
        temperatures overlap in them; with hundreds of features that hardly overlap, take "cvs".
    n_bootstraps : int, default=20
        Bootstraps over blocks that solve for h anew, at least 10; error bars are their spread. With
        0 error bars hold h fixed and are too small where it decides.
    hidden_heat_capacity : float, default=0.15
        With "enthalpy" at two temperatures: a state's heat capacity that these cannot show, as a
        share of the one that they do, of either sign; one standard deviation of it enters the error
        bars. 0 for none. docs/trust.md says what the default rests on.
    temperature_range : tuple of float, optional
        Lowest and highest temperature that `sample` and `log_density` serve; 0.8 times the lowest
        to 1.5 times the highest simulated one if not given. Not needed by "tilted".
    n_transforms : int, default=3
        Couplings of the conditional flow.
    hidden_features : tuple of int, default=(32, 32)
        Layers of each coupling's network.
    max_iter : int, default=700
        Most optimiser steps of the conditional flow.
    learning_rate : float, default=1e-2
    batch_size : int, default=1024
    random_state : int, RandomState or None, default=None

    Attributes
    ----------
    estimator_ : LaTFEstimator
    temperatures_ : ndarray of shape (n_temperatures,)
    temperature_range_ : tuple of float
        Lowest and highest temperature that `sample` and `log_density` serve.
    density_ : torch.nn.Module or None
        The conditional flow; None for "tilted" or without temperatures.
    history_ : list of dict
        As LaTFEstimator's, of h and of the conditional flow.
    n_features_in_, feature_names_in_

    References
    ----------
    Qiu, John, Herron, Tiwary, Latent thermodynamic flows, arXiv:2507.03174 ("tilted").
    Geyer, Reverse logistic regression, 1994; Shirts, Chodera, J. Chem. Phys. 129, 124105 (2008).

    Examples
    --------
    >>> from latflow import LaTFEstimator, TemperatureExtrapolator
    >>> from latflow.datasets import make_three_hole
    >>> cold, hot = (make_three_hole(1000, temperature=t, random_state=0) for t in (0.8, 1.4))
    >>> latf = LaTFEstimator(lagtime=5, max_iter=200, boltzmann_constant=1.0, random_state=0)
    >>> model = TemperatureExtrapolator(latf, max_iter=40).fit(
    ...     cold.trajectories + hot.trajectories, temperature=cold.temperature + hot.temperature
    ... )
    >>> model.sample(3, temperature=1.0, random_state=0).shape
    (3, 2)
    """

    __metadata_request__fit = dict.fromkeys((*FRAME_METADATA, "energy"), True)
    __metadata_request__score = dict.fromkeys(FRAME_METADATA[:4], True) | {"sample_weight": None}

    def __init__(
        self,
        estimator: LaTFEstimator | FrozenEstimator | None = None,
        *,
        method: str = "enthalpy",
        enthalpy_input: str = "features",
        n_bootstraps: int = 20,
        hidden_heat_capacity: float = 0.15,
        temperature_range: tuple[float, float] | None = None,
        n_transforms: int = 3,
        hidden_features: tuple[int, ...] = (32, 32),
        max_iter: int = 700,
        learning_rate: float = 1e-2,
        batch_size: int = 1024,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.estimator = estimator
        self.method = method
        self.enthalpy_input = enthalpy_input
        self.n_bootstraps = n_bootstraps
        self.hidden_heat_capacity = hidden_heat_capacity
        self.temperature_range = temperature_range
        self.n_transforms = n_transforms
        self.hidden_features = hidden_features
        self.max_iter = max_iter
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.random_state = random_state

    # -------------------------------------------------------------- fit

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        temperature: Any = None,
        energy: Any = None,
        trajectory: ArrayLike | None = None,
        frame: ArrayLike | None = None,
        weights: Any = None,
        initial_states: Any = None,
    ) -> Self:
        """Fit the estimator, the frames' weights at any temperature and the generator.

        Parameters
        ----------
        X : list of array_like of shape (n_frames_i, n_features), or array_like
        y : ignored
        temperature : list or array_like
            As for LaTFEstimator.fit; at least two values for "enthalpy" and "mbar".
        energy : list or array_like, optional
            Potential energy of each frame, in units of boltzmann_constant times temperature
            (kJ/mol). Needed by "mbar"; with "enthalpy" :meth:`thermodynamics` gives MBAR's free
            energies, which need it, beside those without.
        trajectory, frame, weights, initial_states
            As for LaTFEstimator.fit.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For parameters or data that do not fit, before anything is learned.
        """
        check_alone("TemperatureExtrapolator")
        self._check_parameters()
        metadata = {
            "trajectory": trajectory,
            "frame": frame,
            "temperature": temperature,
            "weights": weights,
            "initial_states": initial_states,
        }
        gather = partial(gather_frames, self, X, lagtime=None, energy=energy, **metadata)
        with whole_or_nothing(self):
            frames = gather(reset=True)
            self._check_data(frames)
            rs = check_random_state(self.random_state)
            if isinstance(frames.X, Rows):
                del frames  # memory for the estimator's own; they are quickly gathered again
                self.estimator_ = self._fit_estimator(X, metadata)
                return_memory()
                frames = gather(reset=False)
            else:
                self.estimator_ = self._fit_estimator(X, metadata)
            self._fit(frames, is_trajectory_list(X), rs)
        return self

    def _fit(self, frames: Frames, as_list: bool, rs: np.random.RandomState) -> None:
        """Fit what comes on top of the estimator, on checked data."""
        self._n_features_out = self.estimator_.n_components
        self._lengths = np.bincount(frames.trajectory) if as_list else None
        self.z_ = self.estimator_._encode(frames.X)
        self.labels_ = self.estimator_.predict_latent(self.z_)
        self.history_: list[dict[str, Any]] = []
        self.density_: ConditionalDensity | None = None
        self._answer: tuple[Route, Mixture] | None = None
        self._replicates: tuple[tuple[Route, Replicate], ...] = ()
        self._hidden: FloatArray | None = None
        self._mbar: tuple[Route, Mixture] | None = None
        n_steps = 0
        if frames.temperature is not None:
            self._fit_weights(frames, rs)
            if self.method != "tilted":
                n_steps = self._fit_density(int(rs.randint(2**31 - 1)))
            every = thin(np.arange(len(self.z_)), MOST_JUDGED)
            levels = self.pooled_log_density(self.z_[every])
            self._support_level = float(np.quantile(levels, SUPPORT_QUANTILE))
        self.n_iter_ = self.estimator_.n_iter_ + n_steps

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
        check_positive(self.hidden_heat_capacity, "hidden_heat_capacity", allow_zero=True)
        check_widths(self.hidden_features, "hidden_features")
        if self.temperature_range is not None:
            check_range(self.temperature_range, "temperature_range")
        inner = self.estimator
        inner = inner.estimator if isinstance(inner, FrozenEstimator) else inner
        if inner is not None and not isinstance(inner, LaTFEstimator):
            raise TypeError(
                f"Expected `estimator` to be a LaTFEstimator, got {type(inner).__name__}."
            )

    def _check_data(self, frames: Frames) -> None:
        given = frames.temperature
        self.temperatures_ = np.empty(0) if given is None else np.unique(given)
        check_temperatures_for(self.method, self.temperatures_, frames.energy is not None)
        for t in self.temperatures_:
            if frames.weights[frames.temperature == t].sum() == 0:
                raise ValueError(
                    f"Expected some positive `weights` at temperature {t:g}, got none."
                )
        if isinstance(self.estimator, FrozenEstimator):
            self.estimator.estimator._check_frames(frames.X[:1])

    def _fit_estimator(self, X: Any, metadata: dict[str, Any]) -> LaTFEstimator:
        if isinstance(self.estimator, FrozenEstimator):
            fitted: LaTFEstimator = self.estimator.estimator
            return fitted
        estimator = LaTFEstimator() if self.estimator is None else clone(self.estimator)
        return estimator.fit(X, **metadata)

    def _fit_weights(self, frames: Frames, rs: np.random.RandomState) -> None:
        """Learn or take each frame's reduced energy and solve for the f_k, for every member."""
        rng = np.random.default_rng(rs.randint(2**31 - 1))
        fraction = self.estimator_.validation_fraction
        self._pooled = pooled = Pooled(
            betas=self._beta(self.temperatures_),
            origin=small(np.searchsorted(self.temperatures_, np.asarray(frames.temperature))),
            weights=frames.weights,
            blocks=small(independent_blocks(frames)),
            held_out=held_out_rows(frames, fraction, self.estimator_.lagtime, rng),
        )
        route = self._learn_route(frames, pooled, rs, rng)
        return_memory()
        self._answer = route, mixture_of(route, pooled)
        if self.method == "enthalpy":
            self._hidden = self._hidden_heat_capacities(*self._answer)
        segments = time_segments(frames.trajectory, frames.frame, np.asarray(frames.temperature))
        self._order, self._cuts = (
            small(np.concatenate(segments)),
            np.cumsum(list(map(len, segments)))[:-1],
        )
        if frames.energy is not None and self.method == "enthalpy":
            energies = Energies(np.asarray(frames.energy), by_pymbar=False)
            self._mbar = energies, mixture_of(energies, pooled)

    def _learn_route(
        self, frames: Frames, pooled: Pooled, rs: np.random.RandomState, rng: np.random.Generator
    ) -> LogLinear | Energies:
        if self.method == "mbar":
            return Energies(np.asarray(frames.energy))
        if self.method == "tilted":
            kt = 1 / float(self._beta(self.estimator_.reference_temperature_ or 1.0))
            return tilted_log_linear(self.estimator_.to_prior(self.z_), kt)
        X = frames.X if self.enthalpy_input == "features" else self.z_
        mean, variance = weighted_moments(X, np.broadcast_to(1.0, len(X)))
        v = Standardised(X, mean, np.sqrt(np.where(variance > 0, variance, 1.0)))
        n_threads = self.estimator_.n_threads
        route, replicates = learn_log_linear(v, pooled, self.n_bootstraps, rs, rng, n_threads)
        self._replicates = tuple(replicates)
        self.history_ += route.history
        return route

    def _fit_density(self, seed: int) -> int:
        """Train the generator; return its optimiser steps."""
        low, high = self._range()
        self.density_, outcome = train_generator(
            self.z_,
            self._weights,
            self._pooled.held_out,
            (float(self._beta(high)), float(self._beta(low))),
            Plan(self.max_iter, self.learning_rate, self.batch_size),
            transform=self.estimator_.flow,
            n_transforms=self.n_transforms,
            hidden_features=tuple(self.hidden_features),
            n_threads=self.estimator_.n_threads,
            seed=seed,
        )
        self.history_ += outcome.history
        return outcome.n_iter

    def fit_transform(self, X: Any, y: Any = None, **metadata: Any) -> Any:
        """Fit, then return the collective variables of X; metadata as for :meth:`fit`."""
        return self.fit(X, y, **metadata).transform(X)

    # -------------------------------------------------------------- the face of both estimators

    @property
    def ensemble_(self) -> Any:
        """What answers at any temperature; None for a model fitted without temperatures."""
        return self._answer

    @property
    def n_states_(self) -> int:
        """Number of metastable states."""
        return int(self.estimator_.n_states_)

    @property
    def n_components_(self) -> int:
        """Number of collective variables."""
        return int(self.estimator_.n_components)

    @property
    def lagtime_(self) -> int:
        """The estimator's lagtime, in frames."""
        return int(self.estimator_.lagtime)

    @property
    def converged_(self) -> bool:
        """Whether the estimator's labels stopped changing."""
        return bool(self.estimator_.converged_)

    @property
    def units_(self) -> Units:
        """The units of temperatures and energies."""
        return Units(self.estimator_.boltzmann_constant)

    def predict_latent(self, Z: ArrayLike) -> NDArray[np.int64]:
        """Return the state of points of the latent space, so of samples; shape (n_points,)."""
        check_is_fitted(self)
        return self.estimator_.predict_latent(Z)

    def predict_proba_latent(self, Z: ArrayLike) -> FloatArray:
        """Return each state's probability one lagtime later for points of the latent space."""
        check_is_fitted(self)
        return self.estimator_.predict_proba_latent(Z)

    # -------------------------------------------------------------- the estimator's

    def transform(self, X: Any) -> Any:
        """Return the estimator's noise-free collective variables."""
        check_is_fitted(self)
        return self.estimator_.transform(X)

    def predict(self, X: Any) -> Any:
        """Return the estimator's state of each frame."""
        check_is_fitted(self)
        return self.estimator_.predict(X)

    def predict_proba(self, X: Any) -> Any:
        """Return the estimator's state probabilities of each frame."""
        check_is_fitted(self)
        return self.estimator_.predict_proba(X)

    def score(self, X: Any, y: Any = None, **metadata: Any) -> float:
        """Return the estimator's VAMP-2 score; see :meth:`LaTFEstimator.score`."""
        check_is_fitted(self)
        return self.estimator_.score(X, y, **metadata)

    # -------------------------------------------------------------- any temperature

    @property
    def temperature_range_(self) -> tuple[float, float]:
        """Lowest and highest temperature that `sample` and `log_density` serve."""
        return self._range()

    def sample(
        self,
        n_samples: int = 1,
        temperature: float | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> FloatArray:
        """Draw collective variables from the equilibrium at a temperature.

        Parameters
        ----------
        n_samples : int, default=1
        temperature : float, optional
            The estimator's reference temperature if not given.
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
            return self.estimator_.sample(n_samples, temperature, random_state)
        n = check_count(n_samples, "n_samples")
        beta = self._beta(self._in_range(temperature))
        seed = int(check_random_state(random_state).randint(2**31 - 1))
        return seam.conditional_draw(self.density_, float(beta), n, seed)

    def log_density(self, Z: ArrayLike, temperature: float | None = None) -> FloatArray:
        """Return the normalised log-density of collective variables at a temperature.

        Parameters
        ----------
        Z : array_like of shape (n_points, n_components)
        temperature : float, optional

        Returns
        -------
        ndarray of shape (n_points,)
            In nats.
        """
        check_is_fitted(self)
        temperature = self._temperature(temperature)
        z = check_latent_points(Z, self.estimator_.n_components)
        if self.density_ is None:
            return self.estimator_.log_density(z, temperature)
        beta = float(self._beta(self._in_range(temperature)))
        return seam.conditional_log_density(self.density_, z, beta)

    def pooled_log_density(self, Z: ArrayLike) -> FloatArray:
        """Return the log-density of all simulations together: where training frames lie.

        Parameters
        ----------
        Z : array_like of shape (n_points, n_components)

        Returns
        -------
        ndarray of shape (n_points,)
            In nats: of the densities at the simulated temperatures, each with its share of the
            frames. :meth:`log_density` for a model fitted without temperatures.
        """
        check_is_fitted(self)
        if self._answer is None:
            return self.log_density(Z)
        shares = np.log(self._pooled.counts / self._pooled.counts.sum())
        served = self.temperatures_
        if self.density_ is not None:
            served = np.clip(served, *self.temperature_range_)
        pairs = zip(shares, served, strict=True)
        return np.asarray(
            logsumexp([share + self.log_density(Z, float(t)) for share, t in pairs], axis=0)
        )

    def frame_weights(self, temperature: float | None = None) -> Any:
        """Return the weight of every training frame at a temperature; they sum to 1.

        Parameters
        ----------
        temperature : float, optional

        Returns
        -------
        ndarray of shape (n_frames,), or list of them as `fit` was given
        """
        check_is_fitted(self)
        weights = self._weights(float(self._beta(self._named(temperature))))
        if self._lengths is None:
            return weights
        return np.split(weights, np.cumsum(self._lengths)[:-1])

    def free_energy(
        self, Z: ArrayLike, temperature: float | None = None, *, unit: str = "energy"
    ) -> FloatArray:
        """Return the free energy -k_B T log p of points of the latent space.

        Parameters
        ----------
        Z : array_like of shape (..., n_components)
            Points, or a grid of them.
        temperature : float, optional
        unit : {"energy", "kT"}, default="energy"
            "energy" is kJ/mol with the default `boltzmann_constant`.

        Returns
        -------
        ndarray of shape (...)
            Its minimum over these points is 0; NaN where the training frames do not reach (where
            the pooled density is below its 0.001 quantile over them), and everywhere, with a
            warning, at a temperature that is unsupported (see :meth:`support`).
        """
        check_is_fitted(self)
        check_option(unit, "unit", UNITS)
        temperature = self._named(temperature)
        supported = self.support(temperature)["support"].iloc[0] != "unsupported"
        points = np.asarray(Z, dtype=np.float64)
        flat = points.reshape(-1, points.shape[-1]) if points.ndim else points
        energy = -self.log_density(flat, temperature)
        energy[self.pooled_log_density(flat) < self._support_level] = np.nan
        if not supported:
            warn_unsupported(temperature)
            energy[:] = np.nan
        if not np.isnan(energy).all():
            energy -= np.nanmin(energy)
        if unit == "energy":
            energy *= self.estimator_.boltzmann_constant * temperature
        return energy.reshape(points.shape[:-1])

    # -------------------------------------------------------------- inside

    def _beta(self, temperature: ArrayLike) -> FloatArray:
        kt = self.estimator_.boltzmann_constant * np.asarray(temperature, dtype=np.float64)
        return np.asarray(1 / kt)

    def _range(self) -> tuple[float, float]:
        if self.temperature_range is not None:
            return self.temperature_range
        return COLDER * float(self.temperatures_[0]), HOTTER * float(self.temperatures_[-1])

    def _in_range(self, temperature: float | None) -> float:
        low, high = self._range()
        if temperature is None or not low <= temperature <= high * (1 + 1e-12):
            raise ValueError(
                f"Expected `temperature` from {low:g} to {high:g}, the range that the generator "
                f"was trained for, got {temperature:g}: fit with a wider `temperature_range`."
            )
        return temperature

    def _temperature(self, temperature: float | None) -> float | None:
        if temperature is None and not len(self.temperatures_):
            return self.estimator_.reference_temperature_
        if temperature is None:
            temperature = self.estimator_.reference_temperature_
            if temperature is None:
                raise ValueError(
                    "Expected `temperature`, got None: the frozen estimator was fitted without "
                    "and has no reference temperature."
                )
        if not len(self.temperatures_):
            raise ValueError(
                "Expected no `temperature`: fit was given none, so the model knows one unnamed "
                "temperature only. Pass `temperature` (one per trajectory) to fit."
            )
        return check_temperature(temperature)

    def _named(self, temperature: float | None) -> float:
        found = self._temperature(temperature)
        if found is None or self._answer is None:
            raise ValueError("Expected a model fitted with `temperature`, got one without.")
        return found

    def _weights(self, beta: float) -> FloatArray:
        """Return normalised frame weights at an inverse temperature."""
        route, mixture = self._fitted
        return mixture.frame_weights(route.reduced(beta))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
