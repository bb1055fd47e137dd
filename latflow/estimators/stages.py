"""The recipe of a LaTF fit: initial labels, refinement, joint training, noise-free density."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import joblib
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from latflow.nn.distributions import TiltedGaussian
from latflow.nn.model import LatentModel
from latflow.nn.training import Outcome, Plan, Record, batches, minimise
from latflow.trajectories import Frames

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
T = TypeVar("T")
# the loss of a batch of rows, the held-out loss, the number of rows
Losses = tuple[Callable[[Tensor], Tensor], Callable[[], float], int]

AUTO_STATES = 10
MOST_CLUSTERED = 20_000
MOST_HELD_OUT = 8192
LABEL_TOLERANCE = 0.01
CHUNK = 65536
# shares of `max_iter`: one refinement round, joint training, density of the noise-free CVs
ROUND, JOINT, DENSITY = 0.1, 0.2, 0.4
LEAST_ROUND = (
    60  # steps, as far as `max_iter` allows: shorter rounds merge states for want of training
)


def each(calls: Iterable[tuple[Callable[..., T], tuple[Any, ...]]]) -> list[T]:
    """Make calls (function, arguments) through joblib, so that its active backend spreads them."""
    calls = list(calls)
    if len(calls) == 1:
        return [function(*arguments) for function, arguments in calls]
    return list(joblib.Parallel()(joblib.delayed(call)(*arguments) for call, arguments in calls))


@contextmanager
def torch_for_fit(n_threads: int | None) -> Iterator[None]:
    """Gradients on whatever the caller's global state, and torch on `n_threads`, put back after.

    threadpoolctl does not limit the linear algebra inside torch.
    """
    before = torch.get_num_threads()
    if n_threads is not None:
        torch.set_num_threads(n_threads)
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        torch.set_num_threads(before)


def pick_device(device: str) -> torch.device:
    """Return the device to train on; "auto" takes a CUDA GPU where there is one."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.device(device)
    except RuntimeError as error:
        raise ValueError(
            f"Expected `device` to be 'auto', 'cpu', 'cuda' or 'cuda:N', got {device!r}."
        ) from error


@dataclass
class TrainingData:
    """Tensors of one fit: standardised features, pairs and rows to train on and to hold out."""

    x: Tensor
    weights: Tensor
    base: TiltedGaussian
    pairs: tuple[Tensor, Tensor]
    held_out_pairs: tuple[Tensor, Tensor]
    rows: Tensor
    held_out_rows: Tensor

    @classmethod
    def split(
        cls,
        x: FloatArray,
        weights: FloatArray,
        base: TiltedGaussian,
        pairs: tuple[IntArray, IntArray],
        held_out: NDArray[np.bool_],
        device: torch.device,
    ) -> TrainingData:
        """Split pairs and rows by a mask of rows; a pair with one end on each side is dropped.

        With too little held out to judge by, the training rows are judged instead.
        """
        tensor = torch.tensor(x, dtype=torch.float32, device=device)
        i, j = pairs
        inside, outside = ~held_out[i] & ~held_out[j], held_out[i] & held_out[j]
        if not outside.any() or not inside.any():
            held_out = np.zeros(len(x), dtype=bool)
            inside = outside = np.ones(len(i), dtype=bool)
        rows = np.flatnonzero(~held_out)
        judged = np.flatnonzero(held_out) if held_out.any() else rows

        def select(mask: NDArray[np.bool_], most: int) -> tuple[Tensor, Tensor]:
            chosen = thin(np.flatnonzero(mask), most)
            return torch.as_tensor(i[chosen]), torch.as_tensor(j[chosen])

        return cls(
            x=tensor,
            weights=torch.tensor(weights, dtype=torch.float32, device=device),
            base=base.to(tensor),
            pairs=select(inside, len(i)),
            held_out_pairs=select(outside, MOST_HELD_OUT),
            rows=torch.as_tensor(rows),
            held_out_rows=torch.as_tensor(thin(judged, MOST_HELD_OUT)),
        )


def thin(indices: IntArray, most: int) -> IntArray:
    """Return at most `most` of the indices, evenly spread."""
    step = max(1, -(-len(indices) // most))
    return indices[::step]


def feature_scale(frames: Frames, *, standardize: bool) -> tuple[FloatArray, FloatArray]:
    """Return weighted means and standard deviations of the features; 0 and 1 if not wanted."""
    X = frames.X.astype(np.float64)
    share = frames.weights / frames.weights.sum()
    mean = share @ X
    deviation = np.sqrt(share @ (X - mean) ** 2)
    constant = deviation <= 1e-10 * np.maximum(1.0, np.abs(mean))
    if constant.any():
        warnings.warn(
            f"{int(constant.sum())} of {len(constant)} features are constant (the first: column "
            f"{np.flatnonzero(constant)[0]}) and say nothing.",
            UserWarning,
            stacklevel=3,
        )
    if not standardize:
        return np.zeros_like(mean), np.ones_like(mean)
    return mean, np.where(constant, 1.0, deviation)


# ------------------------------------------------------------------ initial labels


def slow_coordinates(
    x: FloatArray, pairs: tuple[IntArray, IntArray], weights: FloatArray
) -> FloatArray:
    """Project on the slowest directions (TICA); the features themselves where TICA has none."""
    i, j = pairs
    if x.shape[1] == 1:
        return x
    from deeptime.decomposition import TICA  # here, as it loads matplotlib

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            estimator = TICA(dim=min(4, x.shape[1]), lagtime=1, scaling="kinetic_map")
            model = estimator.fit((x[i], x[j]), weights=weights[i]).fetch_model()
            projected = np.asarray(model.transform(x))
    except (ValueError, ArithmeticError, np.linalg.LinAlgError):
        return x
    return projected if projected.shape[1] and np.isfinite(projected).all() else x


def initial_labels(
    x: FloatArray,
    pairs: tuple[IntArray, IntArray],
    weights: FloatArray,
    n_states: int | str,
    seed: int,
) -> IntArray:
    """Label frames by k-means on their slow coordinates, weighted and seeded."""
    wanted = AUTO_STATES if n_states == "auto" else int(n_states)
    y = slow_coordinates(x, pairs, weights)
    chosen = thin(np.flatnonzero(weights > 0), MOST_CLUSTERED)
    wanted = min(wanted, len(np.unique(y[chosen], axis=0)))
    clusters = KMeans(wanted, n_init=1, random_state=seed).set_output(transform="default")
    clusters.fit(y[chosen], sample_weight=weights[chosen])
    return np.asarray(clusters.predict(y), dtype=np.int64)


# ------------------------------------------------------------------ the stages


@dataclass
class Fit:
    """One run of all stages for one seed."""

    model: LatentModel
    data: TrainingData
    labels: Tensor
    bottleneck: float
    kinetic_weight: float
    plan: Plan
    n_refinements: int
    generator: torch.Generator
    on_record: Callable[[Record], None] | None = None
    n_iter: int = 0
    settled: bool = False
    failed: bool = False
    best: float = np.inf

    def __post_init__(self) -> None:
        self.history: list[Record] = []

    def run(self) -> Fit:
        """Refine the labels, train all parts together, then the flow on noise-free CVs."""
        self.refine()
        self.whiten()
        if not self.failed:
            self._minimise("joint", self.model, self._pair_losses(flow=True), JOINT)
        self._adopt(self._predicted())
        for part in (self.model.encoder, self.model.decoder):
            part.requires_grad_(False)
        if not self.failed:
            self._minimise("density", self.model.flow, self._density_losses(), DENSITY)
        return self

    def refine(self) -> None:
        """Train encoder and decoder and relabel, round after round, until labels stop changing.

        A single state is believed of the last round only: a decoder trained too little also
        predicts the largest state everywhere.
        """
        self.model.flow.requires_grad_(False)
        share = max(ROUND, min(1.0, LEAST_ROUND / self.plan.max_iter))
        for number in range(1, self.n_refinements + 1):
            name = f"refinement {number}"
            self._minimise(name, self.model, self._pair_losses(flow=False), share)
            predicted = self._predicted()
            if self._is_single(predicted) and number < self.n_refinements and not self.failed:
                continue
            changed = self._adopt(predicted)
            self.history[-1] |= {"n_states": self.model.decoder.n_states, "changed": changed}
            self.settled = changed < LABEL_TOLERANCE or self.model.decoder.n_states == 1
            if self.settled or self.failed:
                break
        self.model.flow.requires_grad_(True)

    def whiten(self) -> None:
        """Let the flow start from variables of the base's own spread."""
        data, encoder = self.data, self.model.encoder
        with torch.no_grad():
            z = torch.cat([encoder(data.x[rows]) for rows in chunks(len(data.x))])
            mean, covariance = moments(z.double(), data.weights.double())
            covariance += torch.diag(encoder.log_sigma.double().exp() ** 2)
            self.model.flow.whiten(mean, covariance, data.base.deviation())

    def _predicted(self) -> Tensor:
        """Return the most probable state of every frame, one lagtime later."""
        with torch.no_grad():
            x = self.data.x
            parts = [self.model.encoder(x[rows]) for rows in chunks(len(x))]
            return torch.cat([self.model.decoder(part).argmax(dim=1) for part in parts])

    def _is_single(self, new: Tensor) -> bool:
        """Whether these labels are one state where the model still tells several."""
        counted = new[self.data.weights > 0]
        return self.model.decoder.n_states > 1 and bool((counted == counted[0]).all())

    def _adopt(self, new: Tensor) -> float:
        """Take new labels, drop the states that no weight is left in, number the largest first.

        Returns the weight of the frames whose label changed.
        """
        weights = self.data.weights
        changed = float((weights * (new != self.labels)).sum() / weights.sum())
        population = torch.zeros(
            self.model.decoder.n_states, device=new.device, dtype=weights.dtype
        )
        population.index_add_(0, new, weights)
        order = torch.argsort(population, descending=True, stable=True)
        kept = order[population[order] > 0]
        self.model.decoder.keep(kept.tolist())
        number = torch.zeros(len(population), dtype=torch.int64, device=new.device)
        number[kept] = torch.arange(len(kept), device=new.device)
        self.labels = number[new]
        return changed

    def _pair_losses(
        self, *, flow: bool
    ) -> tuple[Callable[[Tensor], Tensor], Callable[[], float], int]:
        data, model = self.data, self.model

        def loss(i: Tensor, j: Tensor, generator: torch.Generator) -> Tensor:
            noise = torch.randn(len(i), model.n_components, generator=generator).to(data.x)
            return model.loss(
                data.x[i], data.x[j], self.labels[j], noise, data.base.rows(i), data.weights[i],
                bottleneck=self.bottleneck, kinetic=self.kinetic_weight, flow=flow,
            )  # fmt: skip

        i, j = data.pairs
        return (
            lambda batch: loss(i[batch], j[batch], self.generator),
            lambda: evaluate(lambda: loss(*data.held_out_pairs, torch.Generator().manual_seed(0))),
            len(i),
        )

    def _density_losses(self) -> Losses:
        data, model = self.data, self.model
        with torch.no_grad():
            z = torch.cat([model.encoder(data.x[rows]) for rows in chunks(len(data.x))])

        def loss(rows: Tensor) -> Tensor:
            values = -model.log_density(z[rows], data.base.rows(rows))
            return weighted_mean(values, data.weights[rows])

        return (
            lambda batch: loss(data.rows[batch]),
            lambda: evaluate(lambda: loss(data.held_out_rows)),
            len(data.rows),
        )

    def _minimise(
        self,
        stage: str,
        module: torch.nn.Module,
        losses: Losses,
        share: float,
    ) -> None:
        loss, held_out_loss, n_rows = losses

        def on_record(record: Record) -> None:
            record["stage"] = stage
            if self.on_record is not None:
                self.on_record(record)

        plan = self.plan.part(share)
        stream = batches(n_rows, plan.batch_size, self.generator)
        outcome = minimise(module, loss, held_out_loss, stream, plan, on_record=on_record)
        self.history += outcome.history
        self.n_iter += outcome.n_iter
        self.best = outcome.best
        self.failed = self.failed or outcome.failed
        warn_of_rollbacks(outcome, stage)


def chunks(n_rows: int) -> list[slice]:
    """Cut rows into slices that fit into the cache."""
    return [slice(k, k + CHUNK) for k in range(0, n_rows, CHUNK)]


def moments(z: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return weighted mean and covariance of the rows of z."""
    share = weights / weights.sum()
    mean = share @ z
    centred = z - mean
    return mean, (share[:, None] * centred).T @ centred


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Return the mean of values with weights whose own mean is 1 over all frames."""
    return (weights * values).mean()


def evaluate(loss: Callable[[], Tensor]) -> float:
    """Return a loss as a float, without gradients."""
    with torch.no_grad():
        return float(loss())


def warn_of_rollbacks(outcome: Outcome, stage: str) -> None:
    """Say when a loss became non-finite, and what was done about it."""
    if outcome.failed:
        warnings.warn(
            f"The loss of stage '{stage}' went on being non-finite after {outcome.rollbacks} "
            "roll-backs, each with half the step; the best weights before are kept. Check the "
            "features for outliers, or lower `learning_rate`.",
            ConvergenceWarning,
            stacklevel=2,
        )
    elif outcome.rollbacks:
        warnings.warn(
            f"The loss of stage '{stage}' became non-finite {outcome.rollbacks} time(s): rolled "
            "back to the best weights and halved the step.",
            UserWarning,
            stacklevel=2,
        )


def warn_of_states(n_states: int, n_initial: int, settled: bool) -> None:
    """Say when states were lost that the caller named, when one is left, or when none settled."""
    category: type[Warning] = UserWarning
    if n_states == 1:
        text = (
            "Only one metastable state was found: collective variables and density are usable, "
            "populations are not informative. A shorter `lagtime` or more `n_states` may help."
        )
    elif n_states < n_initial:
        text = (
            f"Of {n_initial} `initial_states` {n_states} are left: the others were never the most "
            "probable state one lagtime later and have merged."
        )
    elif not settled:
        category = ConvergenceWarning
        text = (
            "The state labels were still changing after the last round of refinement; raise "
            "`n_refinements` or `max_iter`."
        )
    else:
        return
    warnings.warn(text, category, stacklevel=4)


def populations(
    labels: IntArray, frames: Frames, temperatures: FloatArray, n_states: int
) -> FloatArray:
    """Return the weighted share of frames in each state, one row a temperature."""
    if frames.temperature is None:
        groups = [np.ones(len(labels), dtype=bool)]
    else:
        groups = [frames.temperature == t for t in temperatures]
    counts = np.stack(
        [np.bincount(labels[g], weights=frames.weights[g], minlength=n_states) for g in groups]
    )
    return np.asarray(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-300))


def progress_of(bar: Any) -> Any:
    """Return a callback that shows stage and held-out loss in the bar."""

    def show(record: dict[str, Any]) -> None:
        bar.set_postfix_str(f"{record['stage']}, held-out loss {record['held_out_loss']:.4f}")
        bar.update()

    return show
