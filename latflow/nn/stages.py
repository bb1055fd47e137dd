"""The stages of a fit: label refinement, joint training, and the density of noise-free variables.

Label refinement starts from initial labels. A round trains encoder and decoder, relabels every
frame by the most probable state one lagtime later, drops empty states and shrinks the decoder's
last layer to those left; rounds end when the labels stop changing. Encoder, decoder and flow are
then trained together, and at last the flow alone on the encoder's noise-free output: without that
samples would be blurred by the encoder's noise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from latflow._blocks import blocks_of_rows
from latflow._typing import BoolArray, FloatArray, IntArray
from latflow.nn.batches import Batch, Features, as_index, filled
from latflow.nn.distributions import TiltedGaussian
from latflow.nn.model import LatentModel, vamp2
from latflow.nn.soap import Soap
from latflow.nn.training import Optimiser, Plan, Record, batches, evaluate, minimise, thin

# the loss of a batch, the held-out loss, and where batches of a size come from
Losses = tuple[Callable[[Any], Tensor], Callable[[], float], Callable[[int], Iterator[Any]]]

MOST_HELD_OUT = 8192
LABEL_TOLERANCE = 0.01
# parts of the steps: one round of refinement, all of them, joint training, density
ROUND, REFINEMENT, JOINT, DENSITY = 1 / 14, 10 / 14, 2 / 14, 2 / 14
LEAST_ROUND = 60  # steps, as far as there are any: shorter rounds merge states untrained


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

    @classmethod
    def split(
        cls,
        x: Features,
        weights: FloatArray,
        base: TiltedGaussian,
        pairs: tuple[IntArray, IntArray],
        held_out: BoolArray,
        device: torch.device,
    ) -> TrainingData:
        """Split pairs and rows by a mask of rows; a pair with one end on each side is dropped.

        With too little held out to judge by, the training rows are judged instead.
        """
        i, j = pairs
        inside, outside = ~held_out[i] & ~held_out[j], held_out[i] & held_out[j]
        if not outside.any() or not inside.any():
            held_out = held_out & False
            inside = outside = inside | True
        rows, judged = (~held_out).nonzero()[0], held_out.nonzero()[0]
        on_device = torch.tensor(weights, dtype=torch.float32, device=device)

        def select(mask: BoolArray, most: int) -> tuple[Tensor, Tensor]:
            chosen = thin(mask.nonzero()[0], most)
            return x.index(i[chosen]), x.index(j[chosen])

        return cls(
            x=x,
            weights=on_device,
            base=base.to(on_device),
            pairs=select(inside, len(i)),
            held_out_pairs=select(outside, MOST_HELD_OUT),
            rows=as_index(rows).to(device),
            held_out_rows=as_index(thin(judged if len(judged) else rows, MOST_HELD_OUT)).to(device),
        )


@dataclass
class Fit:
    """The stages from one seed: :meth:`refine`, then :meth:`learn_density`.

    `n_iter` counts optimiser steps and never exceeds the plan's `max_iter`.
    """

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
    n_planned: int = 0
    n_rounds: int = 0
    score: float = -torch.inf
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
        rounds = self.n_refinements - self.n_rounds
        for _ in range(rounds if most is None else min(most, rounds)):
            n_steps = self._next_round()
            if self.settled or self.failed or not n_steps:
                break
            self.n_rounds += 1
            self.n_planned += n_steps
            name = f"refinement {self.n_rounds}"
            self._minimise(name, self.model, self._pair_losses(flow=False), n_steps)
            self._relabel()
        self.model.flow.requires_grad_(True)

    def _next_round(self) -> int:
        """Return the steps of the next round of refinement; none where the steps are used up."""
        total = self.plan.max_iter
        length = max(1, round(ROUND * total), min(LEAST_ROUND, int(REFINEMENT * total)))
        return length if self.n_planned + length <= max(1, int(REFINEMENT * total)) else 0

    def _relabel(self) -> None:
        predicted = self._predicted()
        last = self.failed or self.n_rounds == self.n_refinements or not self._next_round()
        n_states = self.model.decoder.n_states
        if n_states > 1 and int((self._populations(predicted) > 0).sum()) == 1 and not last:
            return
        changed = self._adopt(predicted)
        self.history[-1] |= {"n_states": self.model.decoder.n_states, "changed": changed}
        self.settled = changed < LABEL_TOLERANCE or self.model.decoder.n_states == 1

    def judge(self) -> None:
        """Set the score: VAMP-2 of the noise-free variables on held-out pairs."""
        if self.failed:
            return
        data, encoder = self.data, self.model.encoder
        i, _, x, later = data.x.at(*data.held_out_pairs)
        weights = data.weights.index_select(0, i)
        self.score = evaluate(lambda: vamp2(encoder(x), encoder(later), weights))

    def learn_density(self) -> None:
        """Train all parts together, then the flow on noise-free variables."""
        self._whiten()
        total = self.plan.max_iter
        n_steps = min(total - self.n_iter, max(1, round(JOINT * total)))
        if not self.failed and n_steps:
            self._minimise("joint", self.model, self._pair_losses(flow=True), n_steps)
        self._adopt(self._predicted())
        for part in (self.model.encoder, self.model.decoder):
            part.requires_grad_(False)
        n_steps = min(total - self.n_iter, max(1, round(DENSITY * total)))
        if not self.failed and n_steps:
            self._minimise("density", self.model.flow, self._density_losses(), n_steps, Soap)

    def _whiten(self) -> None:
        """Let the flow start from variables of the base's own spread."""
        encoder = self.model.encoder
        with torch.no_grad():
            mean, covariance = moments(self._encoded(), self.data.weights)
            covariance += torch.diag(encoder.log_sigma.double().exp() ** 2)
            self.model.flow.whiten(mean, covariance, self.data.base.deviation())

    def _predicted(self) -> Tensor:
        """Return the most probable state of every frame, one lagtime later."""
        model, x = self.model, self.data.x
        states = torch.empty(len(x), dtype=torch.int32, device=self.labels.device)
        with torch.no_grad():
            return filled(states, x.over(partial(_states, model.encoder, model.decoder)))

    def _encoded(self) -> Tensor:
        """Return the noise-free variables of every frame."""
        shape = len(self.data.x), self.model.n_components
        z = torch.empty(shape, dtype=torch.float32, device=self.labels.device)
        with torch.no_grad():
            return filled(z, self.data.x.over(self.model.encoder))

    def _populations(self, labels: Tensor) -> Tensor:
        """Return the weight of every state."""
        weights = self.data.weights
        n_states = self.model.decoder.n_states
        return weights.new_zeros(n_states).index_add_(0, labels, weights)

    def _adopt(self, new: Tensor) -> float:
        """Take new labels, drop the states that no weight is left in, number the largest first.

        Returns the weight of the frames whose label changed.
        """
        weights = self.data.weights
        changed = float((weights * (new != self.labels)).sum() / weights.sum())
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

        def loss(batch: Batch, generator: torch.Generator) -> Tensor:
            i, j, x, later = batch
            shape = len(i), model.n_components
            noise = torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu").to(x)
            return model.loss(
                x, later, self.labels.index_select(0, j).long(), noise, data.base.rows(i),
                data.weights.index_select(0, i),
                bottleneck=self.bottleneck, kinetic=self.kinetic_weight, flow=flow,
            )  # fmt: skip

        held_out = data.x.at(*data.held_out_pairs)
        return (
            lambda batch: loss(batch, self.generator),
            lambda: evaluate(lambda: loss(held_out, torch.Generator().manual_seed(0))),
            lambda size: data.x.batches(data.pairs, size, self.generator),
        )

    def _density_losses(self) -> Losses:
        data, model = self.data, self.model
        z = self._encoded()

        def loss(rows: Tensor) -> Tensor:
            values = -model.log_density(z.index_select(0, rows), data.base.rows(rows))
            return (data.weights.index_select(0, rows) * values).mean()

        return (
            lambda batch: loss(data.rows.index_select(0, batch)),
            lambda: evaluate(lambda: loss(data.held_out_rows)),
            lambda size: batches(len(data.rows), size, self.generator, data.rows.device),
        )

    def _minimise(
        self,
        stage: str,
        module: torch.nn.Module,
        losses: Losses,
        n_steps: int,
        optimiser: Callable[[torch.nn.Module], Optimiser] | None = None,
    ) -> None:
        loss, held_out_loss, stream = losses
        plan = self.plan.of_steps(n_steps)
        outcome = minimise(
            module, loss, held_out_loss, stream(plan.batch_size), plan,
            stage=stage, optimiser=optimiser, on_record=self.on_record,
        )  # fmt: skip
        self.history += outcome.history
        self.n_iter += outcome.n_iter
        self.failed = self.failed or outcome.failed


def _states(encoder: torch.nn.Module, decoder: torch.nn.Module, x: Tensor) -> Tensor:
    """Return the most probable state of features, one lagtime later."""
    states: Tensor = decoder(encoder(x)).max(dim=1).indices
    return states


def moments(z: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return weighted mean and covariance of the rows of z, in double precision."""
    parts = list(blocks_of_rows(len(z), z.shape[1]))
    total = weights.double().sum()
    mean = torch.stack([weights[k].double() @ z[k].double() for k in parts]).sum(dim=0) / total
    covariance = torch.zeros(z.shape[1], z.shape[1], dtype=torch.float64, device=z.device)
    for k in parts:
        centred = z[k].double() - mean
        covariance += (weights[k, None] / total * centred).T @ centred
    return mean, covariance
