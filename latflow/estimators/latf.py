"""LaTFEstimator: collective variables, states and a generator of the latent equilibrium."""

from __future__ import annotations

import copy
import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Self, TypeVar

import joblib
import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    DensityMixin,
    TransformerMixin,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from tqdm.auto import tqdm

from latflow._typing import FloatArray, IntArray, RandomState
from latflow._validation import (
    check_count,
    check_fraction,
    check_latent_points,
    check_option,
    check_positive,
    check_temperature,
    check_widths,
    warn,
    whole_or_nothing,
)
from latflow.estimators import seam
from latflow.estimators.directions import WIDE, Directions, needs
from latflow.estimators.initial_labels import initial_labels
from latflow.estimators.notebook import table_of
from latflow.estimators.seam import Standardised, features_of, pays_on_gpu, pick_device
from latflow.metrics import vamp2
from latflow.nn.batches import as_index
from latflow.nn.distributions import TiltedGaussian
from latflow.nn.flows import TRANSFORMS
from latflow.nn.model import LatentModel
from latflow.nn.stages import Fit, TrainingData
from latflow.nn.training import Plan, torch_on
from latflow.thermodynamics import Pool, block_populations
from latflow.trajectories import (
    FRAME_METADATA,
    SCORE_METADATA,
    Frames,
    Rows,
    check_finite,
    check_rows,
    free_memory,
    gather_frames,
    list_aware,
    pool_rows,
    warn_of_repeats,
)
from latflow.units import BOLTZMANN_CONSTANT, Units

LOGGER = logging.getLogger("latflow")
ENCODERS = ("linear", "mlp")
ENERGY_UNITS = ("energy", "kT")
N_COMPARED = 5000  # samples whose highest density is where a free energy is 0
HEAT = 2  # rounds of refinement between two halvings of the `n_init` runs
WORKING = 6e7  # bytes of blocks of rows that are being worked on

T = TypeVar("T")
Answer = TypeVar("Answer")


@list_aware
class LaTFEstimator(
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
    max_iter : int, default=1400
        Most optimiser steps in all. Each round of label refinement takes a fourteenth of them (or
        60 steps), all rounds ten fourteenths at most, joint training two, and the density of the
        noise-free variables two.
    learning_rate : float, default=1e-2
        Peak of a schedule that warms up and falls to zero.
    batch_size : int, default=1024
    tol : float, default=1e-4
        Least decrease of the held-out loss (in nats) that counts as one.
    n_refinements : int, default=10
        Most rounds of label refinement.
    validation_fraction : float, default=0.1
        Fraction of the frames, in contiguous blocks, held out to stop early and keep best weights.
    n_init : int, default=1
        Label refinements from different seeds, run through joblib. After every second round the
        half with the higher VAMP-2 scores goes on, on held-out frames that are the same for all.
    boltzmann_constant : float, default=0.00831446...
        In kJ/mol/K; 1.0 for reduced units.
    device : str or torch.device, default="auto"
        "auto" takes a GPU where there is one and it is faster: for hundreds of features and wide
        networks, or batches of thousands of rows; docs/performance.md has the rule.
    n_threads : int or None, default=1
        Torch threads of fits and answers; None leaves torch's setting. After a fork a process
        answers on one thread only: the others did not come along.
    verbose : int, default=0
        1 says how much memory the fit will take, and shows a progress bar with stage and remaining
        time. What it says goes to the logger "latflow" (INFO) whatever this is, and on the screen
        where nothing listens to that.
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
        Weighted fraction of the training frames in each state, per temperature.
    population_errors_ : ndarray of the same shape
        Standard errors, over blocks of the trajectories.
    history_ : list of dict
        One record a look at the held-out loss, with stage, iteration, loss and learning_rate.
    n_iter_ : int
        Optimiser steps taken; at most `max_iter`.
    converged_ : bool
        Whether the labels stopped changing and no loss stayed non-finite.
    model_ : torch.nn.Module
    manifest_ : mapping or None
        How the features were made, where they said so.
    estimator_ : LaTFEstimator
        This estimator; a TemperatureExtrapolator has the one inside.
    ensemble_ : None
        Answers at other temperatures: those of a TemperatureExtrapolator.
    n_components_, lagtime_, units_
        As a TemperatureExtrapolator has them.
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
    >>> data = make_three_hole(2000, temperature=1.0, n_walkers=4, random_state=0)
    >>> model = LaTFEstimator(lagtime=5, max_iter=480, boltzmann_constant=1.0, random_state=0)
    >>> model = model.fit(data.trajectories, temperature=data.temperature)
    >>> model.sample(3, random_state=0).shape
    (3, 2)
    """

    _takes_rows = True  # methods that act frame by frame: Rows on disk, as one array

    # requested by default, so that metadata ride through pipelines and searches on their own
    __metadata_request__fit = dict.fromkeys(FRAME_METADATA, True)
    # scikit-learn 1.9's Pipeline.score always hands on sample_weight=None: the name must be known
    __metadata_request__score = dict.fromkeys(SCORE_METADATA, True) | {"sample_weight": None}

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
        max_iter: int = 1400,
        learning_rate: float = 1e-2,
        batch_size: int = 1024,
        tol: float = 1e-4,
        n_refinements: int = 10,
        validation_fraction: float = 0.1,
        n_init: int = 1,
        boltzmann_constant: float = BOLTZMANN_CONSTANT,
        device: str | torch.device = "auto",
        n_threads: int | None = 1,
        verbose: int = 0,
        random_state: RandomState = None,
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
        X: object,
        y: object = None,
        *,
        trajectory: ArrayLike | None = None,
        frame: ArrayLike | None = None,
        temperature: object = None,
        weights: object = None,
        initial_states: object = None,
        dynamics: object = True,
    ) -> Self:
        """Learn collective variables, states and their equilibrium density.

        Parameters
        ----------
        X : list of array_like of shape (n_frames_i, n_features), or array_like of shape \
(n_frames, n_features)
            Also a deeptime data set. Memory maps and chunked arrays (zarr, h5py) of more than 64 MB
            stay on disk. More than 500 features are read along at most 320 directions of them:
            principal components and slow features; the fitted model reads features all the same.
        y : ignored
        trajectory, frame : array_like of shape (n_frames,), optional
            Trajectory id and place in it, for a stacked array.
        temperature : list or array_like, optional
            Per trajectory (a number or one value per frame) for a list, per frame for an array;
            in K, or in units of energy with ``boltzmann_constant=1``.
        weights : list or array_like, optional
            Statistical weight of each frame; only ratios at one temperature count.
        initial_states : list or array_like of int, optional
            Labels to start from.
        dynamics : bool, or list or array_like of bool, default=True
            False for equilibrium draws, whose order is not that of time, as frames that replica
            exchange sorted by temperature: they tell the density and give no pairs. One for all,
            or per trajectory (a list) or per frame (an array); some must have dynamics.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For parameters or data that do not fit, before anything is learned.
        """
        self._check_parameters()
        with whole_or_nothing(self), torch_on(self.n_threads):
            frames = gather_frames(
                self, X, lagtime=self.lagtime, reset=True, trajectory=trajectory, frame=frame,
                temperature=temperature, weights=weights, initial_states=initial_states,
                dynamics=dynamics,
            )  # fmt: skip
            warn_of_repeats(frames)
            self._fit(frames)
        return self

    def _fit(self, frames: Frames) -> tuple[FloatArray, IntArray, Directions | None]:
        """Fit on checked frames, inside of `torch_on`; return their variables and states.

        And the directions that wide features were read along.
        """
        pairs = frames.pairs(self.lagtime)
        self._tell_plan(frames)
        self._learn_from_features(frames)
        seeds = check_random_state(self.random_state).randint(2**31 - 1, size=self.n_init)
        x, directions = Standardised(frames.X, self.mean_, self.scale_), None
        if x.shape[1] > WIDE:
            directions = Directions.of(x, frames.weights, pairs, int(seeds[0]))
            x = directions.along
        data = self._training_data(x, frames, pairs, int(seeds[0]))
        fits = each((self._start, (x, frames, pairs, data, int(seed))) for seed in seeds)
        while len(fits) > 1:
            fits.sort(key=lambda fit: fit.score, reverse=True)
            better = fits[: (len(fits) + 1) // 2]
            fits = each((self._heat, (fit, data)) for fit in better)
        del pairs
        self._finish(fits[0], data)
        del data
        return *self._keep(fits[0], directions, frames), directions

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

    def _html_repr(self) -> str:
        """Return scikit-learn's diagram, and below it a table of what was learned."""
        return f"{super()._html_repr()}{table_of(self)}"

    def _tell_plan(self, frames: Frames) -> None:
        """Say, beside the progress bar, where the fit trains and what it holds in memory at most,
        Python itself aside; warn where there is not so much.
        """
        n_frames, n_features = frames.X.shape
        on_disk = isinstance(frames.X, Rows) and frames.X.on_disk
        # row numbers, ends of pairs, weights, base, labels; then what is made of them and dropped
        vectors = 4 * (10 + self.n_components) + 8 * 5
        size = vectors * n_frames + WORKING
        n_read, learning = (n_features, 0) if n_features <= WIDE else needs(n_frames, n_features)
        n_rows = 2 * pool_rows(n_read, self.batch_size) if on_disk else n_frames
        copies = 1 if n_features <= WIDE or on_disk else 3
        size += max(learning, 4 * copies * n_rows * n_read)
        where = "read from disk" if on_disk else "in memory"
        frames_are = f"{n_frames} frames of {n_features} features, {where}"
        if size > (free := free_memory()):
            warn(
                f"{frames_are}: the fit takes about {size / 1e9:.2g} GB of memory beside them, and "
                f"{free / 1e9:.2g} GB are free. Arrays on disk (numpy.load(..., mmap_mode='r')), "
                "fewer frames or fewer features take less."
            )
        if not self.verbose and not LOGGER.isEnabledFor(logging.INFO):
            return
        device = self._device(n_read).type
        if self.device == "auto" and torch.cuda.is_available():
            device += f", where fits of {self.batch_size} rows a step are faster"
        elif self.device == "auto":
            device += ", as no CUDA GPU is found"
        plan = (
            f"LaTF: {frames_are}: the fit takes about "
            f"{(size + sys.getsizeof(frames)) / 1e9:.2g} GB of memory and trains on {device}"
        )
        if LOGGER.isEnabledFor(logging.INFO):
            LOGGER.info(plan)
        else:
            tqdm.write(plan, file=sys.stderr)

    def _learn_from_features(self, frames: Frames) -> None:
        """Learn everything that needs no training: scales, temperatures, names."""
        self.n_features_in_ = int(frames.X.shape[1])
        if frames.feature_names is not None:
            self.feature_names_in_ = frames.feature_names
        self.manifest_ = frames.manifest
        self._knew_order = frames.ordered
        self.temperatures_ = frames.temperatures if frames.named else np.empty(0)
        lowest = float(frames.temperatures[0]) if frames.named else None
        self.reference_temperature_ = (
            lowest if self.reference_temperature is None else float(self.reference_temperature)
        )
        self.mean_, self.scale_, constant = frames.scaling()
        if constant.any():
            warn(
                f"{int(constant.sum())} of {len(constant)} features are constant (the first: "
                f"column {np.flatnonzero(constant)[0]}) and say nothing."
            )
        if not self.standardize:
            self.mean_, self.scale_ = np.zeros_like(self.mean_), np.ones_like(self.scale_)

    def _training_data(
        self, x: Standardised, frames: Frames, pairs: tuple[IntArray, IntArray], seed: int
    ) -> TrainingData:
        rng = np.random.default_rng(seed)
        held_out = frames.held_out(self.validation_fraction, self.lagtime, rng)
        t = self._reduced(frames.temperature if frames.named else None, len(frames))
        base = TiltedGaussian(self.n_components, float(self.tilt), np.broadcast_to(t, len(frames)))
        device = self._device(x.shape[1])
        features = features_of(x, device)
        return TrainingData.split(features, frames.weights, base, pairs, held_out, device)

    def _start(
        self,
        x: Standardised,
        frames: Frames,
        pairs: tuple[IntArray, IntArray],
        data: TrainingData,
        seed: int,
    ) -> Fit:
        """Build a model from one seed and run its first heat."""
        with torch_on(self.n_threads):
            generator = torch.Generator().manual_seed(seed)
            device = self._device(x.shape[1])
            labels = as_index(initial_labels(x, frames, pairs, self.n_states, seed))
            model = self._build(x.shape[1], int(labels.max()) + 1, generator).to(device)
            plan = Plan(self.max_iter, self.learning_rate, self.batch_size, tol=self.tol)
            fit = Fit(
                model, data, labels.to(device), self.bottleneck,
                self.kinetic_weight, plan, self.n_refinements, generator,
            )  # fmt: skip
        return self._heat(fit, data)

    def _heat(self, fit: Fit, data: TrainingData) -> Fit:
        """Refine labels for some rounds; return the fit, judged where others run."""
        fit.data = data
        with torch_on(self.n_threads), self._watched(fit, "labels"):
            fit.refine(HEAT)
            if self.n_init > 1:
                fit.judge()
        del fit.data  # which would travel back from another process
        return fit

    def _finish(self, fit: Fit, data: TrainingData) -> None:
        """Refine to the end, train encoder, decoder and flow together, then the flow alone."""
        fit.data = data
        with self._watched(fit, "labels and density"):
            fit.refine()
            fit.learn_density()
        del fit.data

    @contextmanager
    def _watched(self, fit: Fit, what: str) -> Iterator[None]:
        n, total = fit.n_iter, fit.plan.max_iter  # at most: stages end early
        options: dict[str, Any] = {
            "desc": f"LaTF, {what}",
            "unit": "step",
            "initial": n,
            "total": total,
        }
        with tqdm(disable=not self.verbose, **options) as bar:

            def show(record: dict[str, Any]) -> None:
                bar.set_postfix_str(
                    f"{record['stage']}, held-out loss {record['held_out_loss']:.4f}"
                )
                bar.update(fit.n_iter + record["iteration"] - bar.n)

            fit.on_record = show
            yield
        fit.on_record = None

    def _device(self, n_features: int) -> torch.device:
        """Return the device that features are trained on."""
        hidden = () if self.encoder == "linear" else self.hidden_features
        widths = (n_features, *hidden, self.n_components)
        return pick_device(self.device, pays=pays_on_gpu(self.batch_size, widths, self.n_threads))

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

    def _keep(
        self, fit: Fit, directions: Directions | None, frames: Frames
    ) -> tuple[FloatArray, IntArray]:
        """Keep what was learned; return collective variables and states of the frames."""
        model = fit.model.cpu().double()
        if directions is not None:
            model.read_through(torch.from_numpy(directions.vectors))
        self.model_ = model.requires_grad_(False).eval()
        self.history_ = fit.history
        self.n_iter_ = fit.n_iter
        self.converged_ = fit.settled and not fit.failed
        self.n_states_ = self.model_.decoder.n_states
        self._n_features_out = self.n_components
        z = self._encode(frames.X)
        labels = self._ask(seam.states, z)
        self.labels_ = frames.split(labels)
        pool = Pool(self.units_.betas(frames.temperatures), frames.origin, frames.weights,
                    frames.blocks())  # fmt: skip
        self.populations_, self.population_errors_ = block_populations(pool, labels, self.n_states_)
        given = 0 if frames.initial_states is None else int(frames.initial_states.max()) + 1
        warn_of_states(self.n_states_, given, fit.settled or not self.n_refinements, frames.X.shape)
        return z, labels

    def fit_transform(self, X: object, y: object = None, **metadata: Any) -> Any:
        """Fit, then return the collective variables of X; metadata as for :meth:`fit`."""
        return self.fit(X, y, **metadata).transform(X)

    def fit_predict(self, X: object, y: object = None, **metadata: Any) -> Any:
        """Fit, then return the states of X; metadata as for :meth:`fit`."""
        return self.fit(X, y, **metadata).predict(X)

    # -------------------------------------------------------------- frame by frame

    def transform(self, X: object) -> Any:
        """Return the noise-free collective variables.

        Parameters
        ----------
        X : array_like of shape (n_frames, n_features), or list of them

        Returns
        -------
        ndarray of shape (n_frames, n_components), or list of them
            Of the dtype of X.
        """
        rows = self._check_frames(X)
        return self._encode(rows, check=True).astype(rows.dtype, copy=False)

    def predict(self, X: object) -> Any:
        """Return the metastable state of each frame: ints, shape (n_frames,), or a list."""
        return self._ask(seam.states, self._encode(self._check_frames(X), check=True))

    def predict_proba(self, X: object) -> Any:
        """Return each state's probability one lagtime later, shape ``(n_frames, n_states_)``."""
        return self._states(self._encode(self._check_frames(X), check=True))

    def score_samples(self, X: object, temperature: ArrayLike | None = None) -> Any:
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
        z = self._encode(self._check_frames(X), check=True)
        return self._log_density(z, temperature)

    def score(
        self,
        X: object,
        y: object = None,
        *,
        trajectory: ArrayLike | None = None,
        frame: ArrayLike | None = None,
        temperature: object = None,
        weights: object = None,
        dynamics: object = True,
        sample_weight: object = None,
    ) -> float:
        """Return the VAMP-2 score of the collective variables at `lagtime` on these frames.

        At least 1 (the constant function) and at most 1 + n_components; higher is slower.
        Arguments as for :meth:`fit`; `sample_weight` is scikit-learn's name for `weights`.
        """
        check_is_fitted(self)
        frames = gather_frames(
            self, X, lagtime=self.lagtime, reset=False, trajectory=trajectory, frame=frame,
            temperature=temperature, weights=sample_weight if weights is None else weights,
            dynamics=dynamics,
        )  # fmt: skip
        if self._knew_order and not frames.ordered:
            warn(
                "fit was told where trajectories begin and end and score was not: its rows count "
                "as one gap-free trajectory. In a search this means that metadata routing is off: "
                "sklearn.set_config(enable_metadata_routing=True)."
            )
        i, j = frames.pairs(self.lagtime)
        z = self._encode(frames.X)
        return vamp2(z[i], z[j], weights=frames.weights[i])

    # -------------------------------------------------------------- the latent space

    def sample(
        self,
        n_samples: int = 1,
        temperature: float | None = None,
        random_state: RandomState = None,
    ) -> FloatArray:
        """Draw collective variables from the equilibrium at one temperature.

        Parameters
        ----------
        n_samples : int, default=1
        temperature : float, optional
            The reference temperature if not given.
        random_state : int, RandomState or None, default=None

        Returns
        -------
        ndarray of shape (n_samples, n_components)
            Distributed as ``transform(X)`` at that temperature.
        """
        check_is_fitted(self)
        n = check_count(n_samples, "n_samples")
        seed = int(check_random_state(random_state).randint(2**31 - 1))
        return self._ask(seam.draw, self._reduced(temperature), n, seed)

    def log_density(self, Z: ArrayLike, temperature: ArrayLike | None = None) -> FloatArray:
        """Return the normalised log-density at points of the latent space.

        Parameters
        ----------
        Z : array_like of shape (n_points, n_components)
        temperature : float or array_like of shape (n_points,), optional

        Returns
        -------
        ndarray of shape (n_points,)
        """
        check_is_fitted(self)
        return self._log_density(check_latent_points(Z, self.n_components), temperature)

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
            0 where the density is highest among 5000 samples, always the same ones, so that it
            depends on no other point; lower where it is higher still.
        """
        check_option(unit, "unit", ENERGY_UNITS)
        points = np.asarray(Z, dtype=np.float64)
        flat = points.reshape(-1, points.shape[-1]) if points.ndim else points
        highest = self.log_density(self.sample(N_COMPARED, temperature, 0), temperature).max()
        energy = highest - self.log_density(flat, temperature).reshape(points.shape[:-1])
        if unit == "energy":
            energy *= self.units_.kt(temperature or self.reference_temperature_ or 1.0)
        return np.asarray(energy)

    def state_populations(self, temperatures: ArrayLike | None = None) -> pd.DataFrame:
        """Return the population of every metastable state at simulated temperatures.

        Parameters
        ----------
        temperatures : float or array_like, optional
            Simulated temperatures; all of them if not given.

        Returns
        -------
        DataFrame
            Index (`temperature`, `state`), columns `population` and `standard_error`, over blocks
            of the trajectories.

        Raises
        ------
        ValueError
            For a temperature that was not simulated.
        """
        check_is_fitted(self)
        simulated = self.temperatures_ if len(self.temperatures_) else np.array([np.nan])
        wanted = simulated if temperatures is None else np.ravel(np.asarray(temperatures, float))
        rows = [int(np.argmin(np.abs(simulated - t))) for t in wanted]
        for t, row in zip(wanted, rows, strict=True):
            if temperatures is not None and not np.isclose(t, simulated[row]):
                names = ", ".join(f"{x:g}" for x in self.temperatures_) or "none was given to fit"
                raise ValueError(
                    f"Expected simulated temperatures ({names}), got {t:g}: others need "
                    "TemperatureExtrapolator and simulations at two temperatures."
                )
        index = pd.MultiIndex.from_product(
            [wanted, range(self.n_states_)], names=["temperature", "state"]
        )
        values, errors = self.populations_[rows].ravel(), self.population_errors_[rows].ravel()
        return pd.DataFrame({"population": values, "standard_error": errors}, index=index)

    def predict_latent(self, Z: ArrayLike) -> IntArray:
        """Return the state of points of the latent space, so of samples; shape (n_points,)."""
        check_is_fitted(self)
        return self._ask(seam.states, check_latent_points(Z, self.n_components))

    def predict_proba_latent(self, Z: ArrayLike) -> FloatArray:
        """Return each state's probability one lagtime later for points of the latent space."""
        check_is_fitted(self)
        return self._states(check_latent_points(Z, self.n_components))

    def to_prior(self, Z: ArrayLike) -> FloatArray:
        """Map points of the latent space to the base's space: u = f(z)."""
        check_is_fitted(self)
        return self._ask(seam.move, check_latent_points(Z, self.n_components), inverse=False)

    def from_prior(self, U: ArrayLike) -> FloatArray:
        """Map points of the base's space to the latent space: the inverse of :meth:`to_prior`."""
        check_is_fitted(self)
        return self._ask(seam.move, check_latent_points(U, self.n_components, "U"), inverse=True)

    def interpolate(
        self, z_a: ArrayLike, z_b: ArrayLike, n: int = 50, temperature: float | None = None
    ) -> FloatArray:
        """Return a path from `z_a` to `z_b` through the populated region.

        In the base's space the direction turns at a constant rate and the radius runs evenly
        through the quantiles of its law at `temperature`, so that no point leaves the shell where
        the base has its mass. In one dimension the path is straight there.

        Parameters
        ----------
        z_a, z_b : array_like of shape (n_components,)
        n : int, default=50
            Number of points, both ends included; at least 2.
        temperature : float, optional

        Returns
        -------
        ndarray of shape (n, n_components)
        """
        check_count(n, "n", minimum=2)
        check_is_fitted(self)
        ends = check_latent_points([np.ravel(z_a), np.ravel(z_b)], self.n_components)
        return self._ask(seam.path, self._reduced(temperature), ends, n)

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

    @property
    def units_(self) -> Units:
        """The units of temperatures and energies."""
        return Units(self.boltzmann_constant)

    # -------------------------------------------------------------- deeptime's manners

    @property
    def has_model(self) -> bool:
        """Whether a model was fitted."""
        return hasattr(self, "model_")

    def fetch_model(self) -> LaTFEstimator | None:
        """Return a fitted copy of this estimator, or None."""
        return copy.deepcopy(self) if self.has_model else None

    def fit_fetch(self, X: object, **metadata: Any) -> LaTFEstimator | None:
        """Fit, then return :meth:`fetch_model`."""
        return self.fit(X, **metadata).fetch_model()

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    # -------------------------------------------------------------- inside

    def _check_frames(self, X: object) -> Any:
        """Return checked frames; the numbers of those on disk are checked as they are encoded."""
        check_is_fitted(self)
        rows = check_rows(self, X, reset=False)
        if not isinstance(rows, Rows):
            check_finite(rows, np.zeros(len(rows), np.int64), np.arange(len(rows)))
        return rows

    def _ask(self, question: Callable[..., Answer], *arguments: Any, **options: Any) -> Answer:
        """Ask the fitted model, by a function of the seam, on `n_threads`."""
        with torch_on(self.n_threads):
            return question(self.model_, *arguments, **options)

    def _encode(self, X: NDArray[Any] | Rows, *, check: bool = False) -> FloatArray:
        """Return the variables; with `check`, an error names the first bad number on disk."""
        x = Standardised(X, self.mean_, self.scale_)
        if not check or not isinstance(X, Rows):
            return self._ask(seam.encode, x)
        try:
            return self._ask(seam.encode, x, check=True)
        except seam.NotFiniteError:
            check_finite(X, *X.places())
            raise

    def _states(self, z: FloatArray) -> FloatArray:
        return self._ask(seam.state_probabilities, z)

    def _log_density(self, z: FloatArray, temperature: ArrayLike | None) -> FloatArray:
        return self._ask(seam.log_density, z, self._reduced(temperature, len(z)))

    def _reduced(self, temperature: ArrayLike | None, n_rows: int | None = None) -> FloatArray:
        """Return T / T_ref for one temperature, or for one for each of `n_rows` rows."""
        if temperature is None:
            return np.ones(())
        if self.reference_temperature_ is None:
            raise ValueError(
                "Expected no `temperature`: fit was given none, so the model knows one unnamed "
                "temperature only. Pass `temperature` to fit."
            )
        values = np.asarray(temperature, dtype=np.float64)
        if values.ndim and values.shape != (n_rows,):
            wanted = "one number" if n_rows is None else f"one number or shape ({n_rows},)"
            raise ValueError(f"Expected `temperature` to be {wanted}, got shape {values.shape}.")
        for value in np.unique(values):
            check_temperature(float(value))
        return np.asarray(values / self.reference_temperature_)


def each(calls: Iterable[tuple[Callable[..., T], tuple[Any, ...]]]) -> list[T]:
    """Make calls (function, arguments) through joblib, so that its active backend spreads them."""
    calls = list(calls)
    if len(calls) == 1:
        return [function(*arguments) for function, arguments in calls]
    return list(joblib.Parallel()(joblib.delayed(call)(*arguments) for call, arguments in calls))


def warn_of_states(n_states: int, n_initial: int, settled: bool, shape: tuple[int, ...]) -> None:
    """Say when states were lost that the caller named, when one is left, or when none settled."""
    n_frames, n_features = shape
    if n_features >= n_frames and (n_states == 1 or not settled):
        warn(
            f"No states are told apart in {n_frames} frames of {n_features} features: so few frames"
            " fit any. Take more frames, or fewer features (make_pipeline(PerFrame(PCA(5)), "
            "LaTFEstimator())); if frames are columns here, transpose the array.",
            UserWarning if settled else ConvergenceWarning,
        )
    elif n_states == 1:
        warn(
            "Only one metastable state was found: collective variables and density are usable, "
            "populations are not informative. A shorter `lagtime` or more `n_states` may help."
        )
    elif n_states < n_initial:
        warn(
            f"Of {n_initial} `initial_states` {n_states} are left: the others were never the most "
            "probable state one lagtime later and have merged."
        )
    elif not settled:
        warn(
            "The state labels were still changing after the last round of refinement; raise "
            "`n_refinements` or `max_iter`.",
            ConvergenceWarning,
        )
