"""LaTFEstimator: collective variables, states and a generator of the latent equilibrium."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    DensityMixin,
    TransformerMixin,
)
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from tqdm.auto import tqdm

from latflow._validation import (
    check_count,
    check_finite,
    check_fraction,
    check_option,
    check_positive,
    check_temperature,
    check_widths,
    whole_or_nothing,
)
from latflow.estimators import seam
from latflow.estimators.features import Standardised, as_index, pick_device, tell_plan
from latflow.estimators.latent import LatentSpaceMixin
from latflow.estimators.processes import common_frames, common_values
from latflow.estimators.stages import (
    Fit,
    TrainingData,
    each,
    feature_scale,
    first_labels,
    populations,
    progress_of,
    torch_for_fit,
    warn_of_states,
)
from latflow.metrics import vamp2
from latflow.nn.distributed import gathered, n_processes, rank
from latflow.nn.distributions import TiltedGaussian
from latflow.nn.flows import TRANSFORMS
from latflow.nn.model import LatentModel
from latflow.nn.training import Plan
from latflow.trajectories import (
    FRAME_METADATA,
    Frames,
    Rows,
    TrajectoryListMixin,
    check_rows,
    gather_frames,
    held_out_rows,
    is_trajectory_list,
)
from latflow.units import BOLTZMANN_CONSTANT

__all__ = ["BOLTZMANN_CONSTANT", "LaTFEstimator"]

ENCODERS = ("linear", "mlp")
HEAT = 2  # rounds of refinement between two halvings of the `n_init` runs

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class LaTFEstimator(
    LatentSpaceMixin,
    TrajectoryListMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    DensityMixin,
    BaseEstimator,
):
    """Latent thermodynamic flow: collective variables, metastable states and their equilibrium.

    An encoder maps frames to collective variables z, a decoder predicts from z the state one
    `lagtime` later (State Predictive Information Bottleneck), and a normalizing flow with a tilted
    Gaussian base, whose width grows with temperature, generates the equilibrium density of z.

    Data are a list of 2-D arrays, one per trajectory, with metadata as lists of the same length,
    or one stacked array with metadata per frame (see :func:`latflow.stack`). Lists come back as
    lists.

    Parameters
    ----------
    lagtime : int, default=1
        In frames.
    n_components : int, default=2
        Number of collective variables.
    encoder : {"mlp", "linear"}, default="mlp"
    hidden_features : tuple of int, default=(32, 32)
        Hidden layers of encoder, decoder and of each transform of the flow.
    n_states : "auto" or int, default="auto"
        Number of initial labels, made by k-means on TICA; refinement merges them. "auto" is 10.
    standardize : bool, default=True
        Shift and scale every feature to mean 0 and standard deviation 1 first.
    bottleneck : float, default=1e-3
        Weight of the rate (Kullback-Leibler) term of the loss.
    kinetic_weight : float, default=1.0
        Weight of the kinetic variance (VAMP-2 at `lagtime`) of the variables in the loss: it makes
        every component slow, also those that the states do not need. 0 gives the paper's loss.
    tilt : float, default=2.0
        Of the base density; 0 gives a Gaussian.
    flow : {"spline", "affine"}, default="spline"
    n_transforms : int, default=3
        Couplings of the flow.
    reference_temperature : float, optional
        T_ref of the base, where its width is 1 and what `temperature=None` means later; the lowest
        simulated temperature if not given.
    max_iter : int, default=1000
        Sets the optimiser steps: each round of label refinement takes a tenth of it at most (or
        60 steps), joint training a fifth, the density of the noise-free variables two fifths.
    learning_rate : float, default=1e-2
        Peak of a schedule that warms up and falls to zero.
    batch_size : int, default=1024
    tol : float, default=1e-4
        Least decrease of the held-out loss (in nats) that counts as one.
    n_refinements : int, default=10
        Most rounds of label refinement.
    validation_fraction : float, default=0.1
        Share of the frames, in contiguous blocks, held out to stop early and keep best weights.
    n_init : int, default=1
        Label refinements from different seeds, run through joblib. After every second round the
        half with the higher VAMP-2 scores goes on, on held-out frames that are the same for all.
    boltzmann_constant : float, default=0.00831446...
        In kJ/mol/K; 1.0 for reduced units.
    device : str, default="auto"
        "auto" takes a GPU where there is one.
    n_threads : int or None, default=1
        Torch threads during fit; None leaves torch's setting.
    verbose : int, default=0
        1 says how much memory the fit will take and shows a progress bar.
    random_state : int, RandomState or None, default=None
        The same seed gives the same model, bit for bit, on one thread.

    Attributes
    ----------
    n_states_ : int
    labels_ : ndarray of shape (n_frames,), or list of them
        State of each training frame; state 0 is the largest.
    temperatures_ : ndarray of shape (n_temperatures,)
        Simulated temperatures; empty if `fit` was given none.
    reference_temperature_ : float or None
    populations_ : ndarray of shape (max(n_temperatures, 1), n_states)
        Weighted share of the training frames in each state, per temperature.
    history_ : list of dict
        One record a look at the held-out loss, with stage, iteration, loss and learning_rate.
    n_iter_ : int
        Optimiser steps taken.
    converged_ : bool
        Whether the labels stopped changing and no loss stayed non-finite.
    model_ : torch.nn.Module
    n_features_in_, feature_names_in_
        As in scikit-learn.

    References
    ----------
    Qiu, John, Herron, Tiwary, Latent thermodynamic flows, arXiv:2507.03174.
    Wang, Tiwary, State predictive information bottleneck, J. Chem. Phys. 154, 134111 (2021).

    Examples
    --------
    >>> from latflow import LaTFEstimator
    >>> from latflow.datasets import make_three_hole
    >>> data = make_three_hole(2000, temperature=1.0, random_state=0)
    >>> model = LaTFEstimator(lagtime=5, max_iter=200, boltzmann_constant=1.0, random_state=0)
    >>> model = model.fit(data.trajectories, temperature=data.temperature)
    >>> model.sample(3, random_state=0).shape
    (3, 2)
    """

    # requested by default, so that metadata ride through pipelines and searches on their own
    __metadata_request__fit = dict.fromkeys(FRAME_METADATA, True)
    # scikit-learn 1.9's Pipeline.score always hands on sample_weight=None: the name must be known
    __metadata_request__score = dict.fromkeys(FRAME_METADATA[:4], True) | {"sample_weight": None}

    def __init__(
        self,
        lagtime: int = 1,
        n_components: int = 2,
        *,
        encoder: str = "mlp",
        hidden_features: tuple[int, ...] = (32, 32),
        n_states: int | str = "auto",
        standardize: bool = True,
        bottleneck: float = 1e-3,
        kinetic_weight: float = 1.0,
        tilt: float = 2.0,
        flow: str = "spline",
        n_transforms: int = 3,
        reference_temperature: float | None = None,
        max_iter: int = 1000,
        learning_rate: float = 1e-2,
        batch_size: int = 1024,
        tol: float = 1e-4,
        n_refinements: int = 10,
        validation_fraction: float = 0.1,
        n_init: int = 1,
        boltzmann_constant: float = BOLTZMANN_CONSTANT,
        device: str = "auto",
        n_threads: int | None = 1,
        verbose: int = 0,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.lagtime = lagtime
        self.n_components = n_components
        self.encoder = encoder
        self.hidden_features = hidden_features
        self.n_states = n_states
        self.standardize = standardize
        self.bottleneck = bottleneck
        self.kinetic_weight = kinetic_weight
        self.tilt = tilt
        self.flow = flow
        self.n_transforms = n_transforms
        self.reference_temperature = reference_temperature
        self.max_iter = max_iter
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.tol = tol
        self.n_refinements = n_refinements
        self.validation_fraction = validation_fraction
        self.n_init = n_init
        self.boltzmann_constant = boltzmann_constant
        self.device = device
        self.n_threads = n_threads
        self.verbose = verbose
        self.random_state = random_state

    # -------------------------------------------------------------- fit

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        trajectory: ArrayLike | None = None,
        frame: ArrayLike | None = None,
        temperature: Any = None,
        weights: Any = None,
        initial_states: Any = None,
    ) -> Self:
        """Learn collective variables, states and their equilibrium density.

        Where torch.distributed has several processes, each hands in its own trajectories and all
        end with one model; `labels_` are those of the own frames.

        Parameters
        ----------
        X : list of array_like of shape (n_frames_i, n_features), or array_like of shape \
(n_frames, n_features)
            Also a deeptime data set. Memory maps and chunked arrays (zarr, h5py) of more than 64 MB
            stay on disk.
        y : ignored
        trajectory, frame : array_like of shape (n_frames,), optional
            Trajectory id and place in it, for a stacked array.
        temperature : list or array_like, optional
            Per trajectory (a number or one value per frame) for a list, per frame for an array;
            in K, or in units of energy with ``boltzmann_constant=1``.
        weights : list or array_like, optional
            Statistical weight of each frame; only ratios count.
        initial_states : list or array_like of int, optional
            Labels to start from.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For parameters or data that do not fit, before anything is learned.
        """
        self._check_parameters()
        with whole_or_nothing(self):
            gather = partial(
                gather_frames,
                self, X, lagtime=self.lagtime, reset=True, trajectory=trajectory, frame=frame,
                temperature=temperature, weights=weights, initial_states=initial_states,
            )  # fmt: skip
            alone = n_processes() == 1
            frames = gather() if alone else common_frames(self, gather)
            if self.verbose:
                tell_plan(frames, self.n_components, self.batch_size, self.device)
            self._knew_order = frames.ordered
            self._set_temperatures(frames)
            self.mean_, self.scale_ = feature_scale(frames, standardize=self.standardize)
            seeds = check_random_state(self.random_state).randint(2**31 - 1, size=self.n_init)
            seeds = gathered(seeds)[0]
            x = Standardised(frames.X, self.mean_, self.scale_)
            with torch_for_fit(self.n_threads):
                data = self._training_data(x, frames, int(seeds[0]))
            fits = each((self._start, (x, frames, data, int(seed))) for seed in seeds)
            while len(fits) > 1:
                fits.sort(key=lambda fit: fit.score, reverse=True)
                better = fits[: (len(fits) + 1) // 2]
                fits = each((self._heat, (fit, data)) for fit in better)
            self._finish(fits[0], data)
            self._keep(fits[0], frames, is_trajectory_list(X))
        return self

    def _check_parameters(self) -> None:
        for name in ("lagtime", "n_components", "n_transforms", "max_iter", "batch_size", "n_init"):
            check_count(getattr(self, name), name)
        check_count(self.n_refinements, "n_refinements", minimum=0)
        for name in ("learning_rate", "boltzmann_constant"):
            check_positive(getattr(self, name), name)
        for name in ("bottleneck", "kinetic_weight", "tilt", "tol"):
            check_positive(getattr(self, name), name, allow_zero=True)
        check_fraction(self.validation_fraction, "validation_fraction")
        check_option(self.encoder, "encoder", ENCODERS)
        check_option(self.flow, "flow", TRANSFORMS)
        check_widths(self.hidden_features, "hidden_features")
        if self.n_states != "auto":
            check_count(self.n_states, "n_states")
        if self.n_threads is not None:
            check_count(self.n_threads, "n_threads")
        if self.reference_temperature is not None:
            check_temperature(self.reference_temperature, "reference_temperature")
        pick_device(self.device)

    def _set_temperatures(self, frames: Frames) -> None:
        given = frames.temperature
        self.temperatures_ = np.empty(0) if given is None else common_values(given)
        lowest = float(self.temperatures_[0]) if len(self.temperatures_) else None
        self.reference_temperature_ = (
            lowest if self.reference_temperature is None else float(self.reference_temperature)
        )

    def _training_data(self, x: Standardised, frames: Frames, seed: int) -> TrainingData:
        held_out = held_out_rows(
            frames, self.validation_fraction, self.lagtime, np.random.default_rng(seed)
        )
        t = np.broadcast_to(self._reduced(frames.temperature, len(x)), len(x))
        base = TiltedGaussian(self.n_components, float(self.tilt), t)
        device = pick_device(self.device)
        return TrainingData.split(x, frames.weights, base, frames.pairs, held_out, device)

    def _start(self, x: Standardised, frames: Frames, data: TrainingData, seed: int) -> Fit:
        """Build a model from one seed and run its first heat."""
        with torch_for_fit(self.n_threads):
            generator = torch.Generator().manual_seed(seed)
            device = pick_device(self.device)
            labels = as_index(first_labels(x, frames, self.n_states, seed))
            n_states = max(gathered(int(labels.max()) + 1))
            model = self._build(x.shape[1], n_states, generator).to(device)
            if rank():  # other noise and other batches, from here on
                generator.manual_seed(seed + rank())
            plan = Plan(self.max_iter, self.learning_rate, self.batch_size, tol=self.tol)
            fit = Fit(
                model, data, labels.to(device), self.bottleneck,
                self.kinetic_weight, plan, self.n_refinements, generator,
            )  # fmt: skip
        return self._heat(fit, data)

    def _heat(self, fit: Fit, data: TrainingData) -> Fit:
        """Refine labels for some rounds; return the fit, judged where others run."""
        fit.data = data
        with torch_for_fit(self.n_threads), self._watched(fit, "labels"):
            fit.refine(HEAT)
            if self.n_init > 1:
                fit.judge()
        del fit.data  # which would travel back from another process
        return fit

    def _finish(self, fit: Fit, data: TrainingData) -> None:
        """Refine to the end, train encoder, decoder and flow together, then the flow alone."""
        fit.data = data
        with torch_for_fit(self.n_threads), self._watched(fit, "labels and density"):
            fit.refine()
            fit.learn_density()

    @contextmanager
    def _watched(self, fit: Fit, what: str) -> Iterator[None]:
        with tqdm(disable=not self.verbose or rank() > 0, desc=f"LaTF, {what}", unit="look") as bar:
            fit.on_record = progress_of(bar)
            yield
        fit.on_record = None

    def _build(self, n_features: int, n_states: int, generator: torch.Generator) -> LatentModel:
        hidden = tuple(self.hidden_features)
        return LatentModel(
            n_features=n_features,
            n_components=self.n_components,
            n_states=n_states,
            encoder_features=() if self.encoder == "linear" else hidden,
            decoder_features=hidden,
            flow_features=hidden,
            n_transforms=self.n_transforms,
            transform=self.flow,
            tilt=float(self.tilt),
            bound=self._bound(),
            generator=generator,
        )

    def _bound(self) -> float:
        """Half the side of a box that holds the base up to 1.5 times the simulated temperatures."""
        t = 1.0
        if self.reference_temperature_ is not None and len(self.temperatures_):
            t = 1.5 * float(self.temperatures_[-1]) / self.reference_temperature_
        return float(max(5.0, self.tilt * t + 3 * np.sqrt(t)))

    def _keep(self, fit: Fit, frames: Frames, as_list: bool) -> None:
        self.model_ = fit.model.cpu().double().requires_grad_(False).eval()
        self.history_ = fit.history
        self.n_iter_ = fit.n_iter
        self.converged_ = fit.settled and not fit.failed
        self.n_states_ = self.model_.decoder.n_states
        self._n_features_out = self.n_components
        labels = seam.states(self.model_, self._encode(frames.X))
        self.populations_ = populations(labels, frames, self.temperatures_, self.n_states_)
        ends = np.cumsum(np.bincount(frames.trajectory))[:-1]
        self.labels_ = np.split(labels, ends) if as_list else labels
        given = 0 if frames.initial_states is None else int(frames.initial_states.max()) + 1
        warn_of_states(self.n_states_, given, fit.settled or not self.n_refinements)

    def fit_transform(self, X: Any, y: Any = None, **metadata: Any) -> Any:
        """Fit, then return the collective variables of X; metadata as for :meth:`fit`."""
        return self.fit(X, y, **metadata).transform(X)

    def fit_predict(self, X: Any, y: Any = None, **metadata: Any) -> Any:
        """Fit, then return the states of X; metadata as for :meth:`fit`."""
        return self.fit(X, y, **metadata).predict(X)

    # -------------------------------------------------------------- frame by frame

    def transform(self, X: Any) -> Any:
        """Return the noise-free collective variables.

        Parameters
        ----------
        X : array_like of shape (n_frames, n_features), or list of them

        Returns
        -------
        ndarray of shape (n_frames, n_components), or list of them
            Of the dtype of X.
        """
        X = self._check_frames(X)
        return self._encode(X).astype(X.dtype, copy=False)

    def predict(self, X: Any) -> Any:
        """Return the metastable state of each frame: ints, shape (n_frames,), or a list."""
        X = self._check_frames(X)
        return seam.states(self.model_, self._encode(X))

    def predict_proba(self, X: Any) -> Any:
        """Return each state's probability one lagtime later, shape ``(n_frames, n_states_)``."""
        X = self._check_frames(X)
        return self._states(self._encode(X))

    def score_samples(self, X: Any, temperature: ArrayLike | None = None) -> Any:
        """Return the log-density of each frame's collective variables, in their own space.

        Parameters
        ----------
        X : array_like of shape (n_frames, n_features), or list of them
        temperature : float or array_like of shape (n_frames,), optional

        Returns
        -------
        ndarray of shape (n_frames,), or list of them
            In nats; the density integrates to 1 over the latent space.
        """
        X = self._check_frames(X)
        return self._log_density(self._encode(X), temperature)

    def score(
        self,
        X: Any,
        y: Any = None,
        *,
        trajectory: ArrayLike | None = None,
        frame: ArrayLike | None = None,
        temperature: Any = None,
        weights: Any = None,
        sample_weight: Any = None,
    ) -> float:
        """Return the VAMP-2 score of the collective variables at `lagtime` on these frames.

        At least 1 (the constant function) and at most 1 + n_components; higher is slower.
        Arguments as for :meth:`fit`; `sample_weight` is scikit-learn's name for `weights`.
        """
        check_is_fitted(self)
        frames = gather_frames(
            self, X, lagtime=self.lagtime, reset=False, trajectory=trajectory, frame=frame,
            temperature=temperature, weights=sample_weight if weights is None else weights,
        )  # fmt: skip
        if self._knew_order and not frames.ordered:
            warnings.warn(
                "fit was told where trajectories begin and end and score was not: its rows count "
                "as one gap-free trajectory. In a search this means that metadata routing is off: "
                "sklearn.set_config(enable_metadata_routing=True).",
                UserWarning,
                stacklevel=2,
            )
        z = self._encode(frames.X)
        i, j = frames.pairs
        return vamp2(z[i], z[j], weights=frames.weights[i])

    # -------------------------------------------------------------- the face of both estimators

    @property
    def estimator_(self) -> LaTFEstimator:
        """The estimator that learned the collective variables: this one."""
        return self

    @property
    def ensemble_(self) -> None:
        """None: this estimator answers at the simulated temperatures only."""
        return

    @property
    def n_components_(self) -> int:
        """Number of collective variables."""
        return int(self.n_components)

    @property
    def lagtime_(self) -> int:
        """The lagtime of the fit, in frames."""
        return int(self.lagtime)

    # -------------------------------------------------------------- deeptime's manners

    @property
    def has_model(self) -> bool:
        """Whether a model was fitted."""
        return hasattr(self, "model_")

    def fetch_model(self) -> LaTFEstimator | None:
        """Return a fitted copy of this estimator, or None."""
        return copy.deepcopy(self) if self.has_model else None

    def fit_fetch(self, X: Any, **metadata: Any) -> LaTFEstimator | None:
        """Fit, then return :meth:`fetch_model`."""
        return self.fit(X, **metadata).fetch_model()

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    # -------------------------------------------------------------- inside

    def _check_frames(self, X: Any) -> Any:
        check_is_fitted(self)
        X = check_rows(self, X, reset=False)
        check_finite(X, np.full(len(X), getattr(X, "first", 0)), np.arange(len(X)))
        return X

    def _encode(self, X: NDArray[Any] | Rows) -> FloatArray:
        return seam.encode(self.model_, Standardised(X, self.mean_, self.scale_))
