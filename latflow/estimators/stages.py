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

from latflow.estimators.features import Batch, Features, Standardised, as_index, features_of, filled
from latflow.estimators.processes import common_sample
from latflow.nn.distributed import averaged, gathered, n_processes, share, summed
from latflow.nn.distributions import TiltedGaussian
from latflow.nn.model import LatentModel, vamp2
from latflow.nn.training import Outcome, Plan, Record, batches, minimise
from latflow.trajectories import Frames, in_blocks, rows_at_once

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
T = TypeVar("T")
Rows = TypeVar("Rows", IntArray, Tensor)
# the loss of a batch, the held-out loss, and where batches of a size come from
Losses = tuple[Callable[[Any], Tensor], Callable[[], float], Callable[[int], Iterator[Any]]]

AUTO_STATES = 10
MOST_CLUSTERED = 20_000
MOST_CORRELATED = 200_000  # pairs that the slow coordinates are learned from
MOST_HELD_OUT = 8192
AT_ONCE = 2**18  # rows of few columns, so that what is made of them stays small
LABEL_TOLERANCE = 0.01
# shares of `max_iter`: one refinement round, joint training, density of the noise-free CVs
ROUND, JOINT, DENSITY = 0.1, 0.2, 0.4
LEAST_ROUND = (
    60  # steps, as far as `max_iter` allows: shorter rounds merge states for want of training
)


def each(calls: Iterable[tuple[Callable[..., T], tuple[Any, ...]]]) -> list[T]:
    """Make calls (function, arguments) through joblib, so that its active backend spreads them."""
    calls = list(calls)
    if len(calls) == 1 or n_processes() > 1:
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


@dataclass
class TrainingData:
    """Tensors of one fit: standardised features, pairs and rows to train on and to hold out."""

    x: Features
    weights: Tensor
    base: TiltedGaussian
    pairs: tuple[Tensor, Tensor]
    held_out_pairs: tuple[Tensor, Tensor]
    rows: Tensor
    held_out_rows: Tensor
    n_held_out: tuple[int, int]  # pairs and rows, before they were thinned

    @classmethod
    def split(
        cls,
        x: Standardised,
        weights: FloatArray,
        base: TiltedGaussian,
        pairs: tuple[IntArray, IntArray],
        held_out: NDArray[np.bool_],
        device: torch.device,
    ) -> TrainingData:
        """Split pairs and rows by a mask of rows; a pair with one end on each side is dropped.

        With too little held out to judge by, the training rows are judged instead.
        """
        i, j = pairs
        inside, outside = ~held_out[i] & ~held_out[j], held_out[i] & held_out[j]
        if not outside.any() or not inside.any():
            held_out = np.zeros(len(x), dtype=bool)
            inside = outside = np.ones(len(i), dtype=bool)
        rows = np.flatnonzero(~held_out)
        judged = np.flatnonzero(held_out) if held_out.any() else rows
        on_device = torch.tensor(weights, dtype=torch.float32, device=device)

        features = features_of(x, device)

        def select(mask: NDArray[np.bool_], most: int) -> tuple[Tensor, Tensor]:
            chosen = thin(np.flatnonzero(mask), most)
            return features.index(i[chosen]), features.index(j[chosen])

        return cls(
            x=features,
            weights=on_device,
            base=base.to(on_device),
            pairs=select(inside, len(i)),
            held_out_pairs=select(outside, MOST_HELD_OUT),
            rows=as_index(rows).to(device),
            held_out_rows=as_index(thin(judged, MOST_HELD_OUT)).to(device),
            n_held_out=(int(outside.sum()), len(judged)),
        )


def thin(indices: Rows, most: int) -> Rows:
    """Return at most `most` of the indices, evenly spread."""
    step = max(1, -(-len(indices) // most))
    return indices[::step]


def feature_scale(frames: Frames, *, standardize: bool) -> tuple[FloatArray, FloatArray]:
    """Return weighted means and standard deviations of the features; 0 and 1 if not wanted."""
    mean, variance = weighted_moments(frames.X, frames.weights)
    if n_processes() > 1:
        parts = gathered((frames.weights.sum(), mean, variance))
        total, means, variances = map(np.array, zip(*parts, strict=True))
        mean = np.average(means, axis=0, weights=total)
        variance = np.average(variances + (means - mean) ** 2, axis=0, weights=total)
    deviation = np.sqrt(variance)
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


def weighted_moments(X: Any, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return weighted mean and variance of every column, in one pass over blocks of rows.

    Chan, Golub, LeVeque, Am. Stat. 37, 242 (1983).
    """
    total, done = 0.0, 0
    mean, squares = np.zeros(X.shape[1]), np.zeros(X.shape[1])
    for block in in_blocks(X, lambda block: block.astype(np.float64)):
        own = weights[done : done + len(block)]
        done += len(block)
        if not own.any():
            continue
        share = own / own.sum()
        here = share @ block
        block -= here
        block *= block
        new = total + own.sum()
        squares += own.sum() * (share @ block) + (here - mean) ** 2 * (total * own.sum() / new)
        mean += (here - mean) * (own.sum() / new)
        total = new
    return mean, squares / total


# ------------------------------------------------------------------ initial labels


def slow_coordinates(
    x: Standardised, pairs: tuple[IntArray, IntArray], weights: FloatArray
) -> Callable[[FloatArray], FloatArray]:
    """Return the projection on the slowest directions (TICA); none where TICA finds none."""
    if x.shape[1] == 1:
        return lambda block: block
    from deeptime.decomposition import TICA  # here, as it loads matplotlib

    i, j = (thin(rows, MOST_CORRELATED) for rows in pairs)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            covariance = TICA.covariance_estimator(lagtime=1)
            for k in range(0, len(i), step := rows_at_once(x) // 2):
                some = slice(k, k + step)
                covariance.partial_fit((x[i[some]], x[j[some]]), weights=weights[i[some]])
            estimator = TICA(dim=min(4, x.shape[1]), lagtime=1, scaling="kinetic_map")
            model = estimator.fit(covariance).fetch_model()
            tried = np.asarray(model.transform(x[i[:1]]))
    except (ValueError, ArithmeticError, np.linalg.LinAlgError):
        return lambda block: block
    if not tried.shape[1] or not np.isfinite(tried).all():
        return lambda block: block
    return lambda block: np.asarray(model.transform(block))


def first_labels(x: Standardised, frames: Frames, n_states: int | str, seed: int) -> IntArray:
    """Return the labels given, or k-means on the slow coordinates, weighted and seeded."""
    if frames.initial_states is not None:
        return frames.initial_states
    wanted = AUTO_STATES if n_states == "auto" else int(n_states)
    sample, pairs, weights = x, frames.pairs, frames.weights
    if n_processes() > 1:
        step = max(1, -(-sum(gathered(len(pairs[0]))) // MOST_CLUSTERED))  # the same in all
        pairs = pairs[0][::step], pairs[1][::step]
        sample, pairs, weights = common_sample(x, pairs, weights)
    project = slow_coordinates(sample, pairs, weights)
    chosen = thin(np.flatnonzero(weights > 0), MOST_CLUSTERED)
    y = project(sample[chosen])
    wanted = min(wanted, len(np.unique(y, axis=0)))
    clusters = KMeans(wanted, n_init=1, random_state=seed).set_output(transform="default")
    clusters.fit(y, sample_weight=weights[chosen])
    labels = (clusters.predict(project(block)) for block in x.blocks())
    return filled(np.empty(len(x), dtype=np.int64), labels)


# ------------------------------------------------------------------ the stages


@dataclass
class Fit:
    """The stages from one seed: :meth:`refine`, then :meth:`learn_density`."""

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
    n_rounds: int = 0
    score: float = -np.inf
    settled: bool = False
    failed: bool = False

    def __post_init__(self) -> None:
        self.history: list[Record] = []

    def refine(self, most: int | None = None) -> None:
        """Train encoder and decoder and relabel, round after round, until labels stop changing.

        At most `most` rounds, if given; a further call goes on. A single state is believed of the
        last round only: a decoder trained too little also predicts the largest state everywhere.
        """
        self.model.flow.requires_grad_(False)
        share = max(ROUND, min(1.0, LEAST_ROUND / self.plan.max_iter))
        left = self.n_refinements - self.n_rounds
        for _ in range(left if most is None else min(most, left)):
            if self.settled or self.failed:
                break
            self.n_rounds += 1
            name = f"refinement {self.n_rounds}"
            self._minimise(name, self.model, self._pair_losses(flow=False), share)
            predicted = self._predicted()
            last = self.n_rounds == self.n_refinements or self.failed
            if self._is_single(predicted) and not last:
                continue
            changed = self._adopt(predicted)
            self.history[-1] |= {"n_states": self.model.decoder.n_states, "changed": changed}
            self.settled = changed < LABEL_TOLERANCE or self.model.decoder.n_states == 1
        self.model.flow.requires_grad_(True)

    def judge(self) -> None:
        """Set the score: VAMP-2 of the noise-free variables on held-out pairs."""
        if self.failed:
            return
        data, encoder = self.data, self.model.encoder
        i, _, x, later = data.x.at(*data.held_out_pairs)
        weights = share(data.n_held_out[0]) * data.weights.index_select(0, i)
        self.score = evaluate(lambda: vamp2(encoder(x), encoder(later), weights))

    def learn_density(self) -> None:
        """Train all parts together, then the flow on noise-free variables."""
        self.whiten()
        if not self.failed:
            self._minimise("joint", self.model, self._pair_losses(flow=True), JOINT)
        self._adopt(self._predicted())
        for part in (self.model.encoder, self.model.decoder):
            part.requires_grad_(False)
        if not self.failed:
            self._minimise("density", self.model.flow, self._density_losses(), DENSITY)

    def whiten(self) -> None:
        """Let the flow start from variables of the base's own spread."""
        data, encoder = self.data, self.model.encoder
        with torch.no_grad():
            mean, covariance = moments(self._encoded(), data.weights)
            covariance += torch.diag(encoder.log_sigma.double().exp() ** 2)
            variance = averaged(share(len(data.x)) * data.base.deviation() ** 2)
            self.model.flow.whiten(mean, covariance, variance**0.5)

    def _predicted(self) -> Tensor:
        """Return the most probable state of every frame, one lagtime later."""
        model, x = self.model, self.data.x
        states = torch.empty(len(x), dtype=torch.int32, device=self.labels.device)
        with torch.no_grad():
            found = (model.decoder(model.encoder(x)).max(dim=1).indices for x in x.parts())
            return filled(states, found)

    def _encoded(self) -> Tensor:
        """Return the noise-free variables of every frame."""
        z = torch.empty(len(self.data.x), self.model.n_components, device=self.labels.device)
        with torch.no_grad():
            return filled(z, map(self.model.encoder, self.data.x.parts()))

    def _is_single(self, new: Tensor) -> bool:
        """Whether these labels are one state where the model still tells several."""
        n_states = self.model.decoder.n_states
        return n_states > 1 and int((self._populations(new) > 0).sum()) == 1

    def _populations(self, labels: Tensor) -> Tensor:
        """Return the weight of every state."""
        weights = self.data.weights
        found = torch.zeros(self.model.decoder.n_states, device=weights.device, dtype=weights.dtype)
        return summed(found.index_add_(0, labels, weights))

    def _adopt(self, new: Tensor) -> float:
        """Take new labels, drop the states that no weight is left in, number the largest first.

        Returns the weight of the frames whose label changed.
        """
        weights = self.data.weights
        changed = float(summed((weights * (new != self.labels)).sum()) / summed(weights.sum()))
        population = self._populations(new)
        order = torch.argsort(population, descending=True, stable=True)
        kept = order[population[order] > 0]
        self.model.decoder.keep(kept.tolist())
        number = torch.zeros(len(population), dtype=torch.int32, device=new.device)
        number[kept] = torch.arange(len(kept), dtype=torch.int32, device=new.device)
        self.labels = number[new]
        return changed

    def _pair_losses(self, *, flow: bool) -> Losses:
        data, model = self.data, self.model

        def loss(batch: Batch, generator: torch.Generator, factor: float) -> Tensor:
            i, j, x, later = batch
            noise = torch.randn(len(i), model.n_components, generator=generator).to(x)
            return model.loss(
                x, later, self.labels.index_select(0, j).long(), noise, data.base.rows(i),
                factor * data.weights.index_select(0, i),
                bottleneck=self.bottleneck, kinetic=self.kinetic_weight, flow=flow,
            )  # fmt: skip

        held_out = data.x.at(*data.held_out_pairs)
        own, judged = share(len(data.pairs[0])), share(data.n_held_out[0])
        return (
            lambda batch: loss(batch, self.generator, own),
            lambda: evaluate(lambda: loss(held_out, torch.Generator().manual_seed(0), judged)),
            lambda size: data.x.batches(data.pairs, size, self.generator),
        )

    def _density_losses(self) -> Losses:
        data, model = self.data, self.model
        z = self._encoded()

        def loss(rows: Tensor) -> Tensor:
            values = -model.log_density(z.index_select(0, rows), data.base.rows(rows))
            return weighted_mean(values, data.weights.index_select(0, rows))

        own, judged = share(len(data.rows)), share(data.n_held_out[1])
        return (
            lambda batch: own * loss(data.rows.index_select(0, batch)),
            lambda: judged * evaluate(lambda: loss(data.held_out_rows)),
            lambda size: batches(len(data.rows), size, self.generator, data.rows.device),
        )

    def _minimise(
        self,
        stage: str,
        module: torch.nn.Module,
        losses: Losses,
        share: float,
    ) -> None:
        loss, held_out_loss, stream = losses

        def on_record(record: Record) -> None:
            record["stage"] = stage
            if self.on_record is not None:
                self.on_record(record)

        plan = self.plan.part(share)
        batched = stream(plan.batch_size)
        outcome = minimise(module, loss, held_out_loss, batched, plan, on_record=on_record)
        self.history += outcome.history
        self.n_iter += outcome.n_iter
        self.failed = self.failed or outcome.failed
        warn_of_rollbacks(outcome, stage)


def moments(z: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return weighted mean and covariance of the rows of z, in double precision."""
    parts = [slice(k, k + AT_ONCE) for k in range(0, len(z), AT_ONCE)]
    total = summed(weights.double().sum())
    sums = torch.stack([weights[k].double() @ z[k].double() for k in parts]).sum(dim=0)
    mean = summed(sums) / total
    covariance = torch.zeros(z.shape[1], z.shape[1], dtype=torch.float64, device=z.device)
    for k in parts:
        centred = z[k].double() - mean
        covariance += (weights[k, None] / total * centred).T @ centred
    return mean, summed(covariance)


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
    counts = np.sum(gathered(counts), axis=0)
    return np.asarray(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-300))


def progress_of(bar: Any) -> Any:
    """Return a callback that shows stage and held-out loss in the bar."""

    def show(record: dict[str, Any]) -> None:
        bar.set_postfix_str(f"{record['stage']}, held-out loss {record['held_out_loss']:.4f}")
        bar.update()

    return show
