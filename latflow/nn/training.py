"""Minimising a loss over rows: batches, optimiser, early stop, history. Knows nothing of LaTF."""

from __future__ import annotations

import copy
import math
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor, nn
from torch.optim.adamw import adamw

from latflow._typing import IntArray
from latflow._validation import warn

Batch = TypeVar("Batch")
Indices = TypeVar("Indices", Tensor, IntArray)
Record = dict[str, float | int | str]
WARM_UP = 0.1
MOST_ROLLBACKS = 5

_counting = threading.Lock()
_n_on = 0  # threads inside of torch_on
_threads_before = 0  # torch's number before the first of them


@dataclass(frozen=True)
class Plan:
    """How long and how fast to train.

    Attributes
    ----------
    max_iter : int
        Optimiser steps; the learning rate rises over the first tenth and falls to zero (a cosine)
        over the rest.
    learning_rate : float
        Its peak.
    batch_size : int
        Rows a step.
    weight_decay : float
        Decoupled, as in AdamW.
    check_every : int
        Steps between two looks at the held-out loss.
    patience : int
        Looks in the second half without an improvement of `tol` after which training stops; a
        quarter of all looks where that is more.
    tol : float
        The least decrease of the held-out loss that counts.
    """

    max_iter: int
    learning_rate: float
    batch_size: int
    weight_decay: float = 0.0
    check_every: int = 25
    patience: int = 10
    tol: float = 1e-4

    @property
    def most_stale(self) -> int:
        """Looks without an improvement that end the training."""
        return max(self.patience, self.max_iter // (4 * self.check_every))

    def of_steps(self, max_iter: int) -> Plan:
        """Return the plan of a stage that takes this many steps."""
        return replace(self, max_iter=max_iter)

    def rate(self, step: int) -> float:
        """Learning rate of a step counted from 0."""
        warm = max(1, round(WARM_UP * self.max_iter))
        if step < warm:
            return self.learning_rate * (step + 1) / warm
        done = (step - warm) / max(1, self.max_iter - warm)
        return self.learning_rate * (1 + math.cos(math.pi * done)) / 2


@dataclass
class Outcome:
    """What happened: `history` has one record a look; the module holds the best weights seen."""

    history: list[Record] = field(default_factory=list)
    n_iter: int = 0
    best: float = math.inf
    rollbacks: int = 0
    failed: bool = False


def batches(
    n_rows: int, size: int, generator: torch.Generator, device: torch.device | str = "cpu"
) -> Iterator[Tensor]:
    """Yield row indices on a device for ever, every row once an epoch, in a new order each time."""
    if n_rows <= size:
        while True:
            yield torch.arange(n_rows, device=device)
    small = torch.int32 if n_rows < 2**31 else torch.int64  # half the memory, the same numbers
    while True:
        order = torch.randperm(n_rows, generator=generator, dtype=small, device="cpu").to(device)
        yield from torch.split(order[: n_rows // size * size], size)


def minimise(
    module: nn.Module,
    loss: Callable[[Batch], Tensor],
    held_out_loss: Callable[[], float],
    stream: Iterator[Batch],
    plan: Plan,
    *,
    stage: str,
    optimiser: Callable[[nn.Module], Optimiser] | None = None,
    on_record: Callable[[Record], None] | None = None,
) -> Outcome:
    """Train `module` and leave in it the weights with the lowest held-out loss.

    A loss that becomes non-finite rolls back to the best weights and halves the rate; after five
    times training gives up there (`failed`). Either is a warning.

    Parameters
    ----------
    module : nn.Module
        Every parameter that requires a gradient is trained; the optimiser is new at each call.
    loss : callable
        One batch of the stream -> scalar tensor.
    held_out_loss : callable
        -> float, lower is better.
    stream : iterator
        Batches without end, of whatever `loss` takes: of row indices, see :func:`batches`.
    plan : Plan
    stage : str
        What records and warnings call this training.
    optimiser : callable, optional
        Module -> what makes the steps; :class:`AdamW` if not given.
    on_record : callable, optional
        Called with every record as it is made.

    Returns
    -------
    Outcome
    """
    outcome = Outcome()
    begin = optimiser or (lambda trained: AdamW(trained, plan.weight_decay))
    steps = begin(module)
    best_weights = copy.deepcopy(module.state_dict())
    outcome.best = _finite_or_inf(held_out_loss())
    total: Tensor | float = 0.0
    stale, brake = 0, 1.0
    for step in range(plan.max_iter):
        value = loss(next(stream))
        steps.step(value, brake * plan.rate(step))
        total = total + value.detach()
        if (step + 1) % plan.check_every and step + 1 < plan.max_iter:
            continue
        outcome.n_iter = step + 1
        held_out = held_out_loss()
        record = _record(outcome, total, held_out, brake * plan.rate(step)) | {"stage": stage}
        outcome.history.append(record)
        if on_record is not None:
            on_record(record)
        total = 0.0
        if not (math.isfinite(record["loss"]) and math.isfinite(held_out)):  # type: ignore[arg-type]
            module.load_state_dict(best_weights)
            steps, brake = begin(module), brake / 2
            outcome.rollbacks += 1
            if outcome.rollbacks > MOST_ROLLBACKS:
                outcome.failed = True
                break
            continue
        # at the high rate of the first half a standstill says little: the fall of the rate ends it
        late = 2 * (step + 1) >= plan.max_iter
        stale = 0 if held_out < outcome.best - plan.tol else stale + late
        if held_out < outcome.best:
            outcome.best, best_weights = held_out, copy.deepcopy(module.state_dict())
        if stale >= plan.most_stale:
            break
    module.load_state_dict(best_weights)
    _warn_of_rollbacks(outcome, stage)
    return outcome


@contextmanager
def torch_on(n_threads: int | None) -> Iterator[None]:
    """Torch on `n_threads`, put back after, with gradients and in full precision.

    Whatever the caller has set does not matter. threadpoolctl does not limit the linear algebra
    inside torch, whose number of threads is one for the process: what it was before is known to
    the first of several threads that are here at once, and the others go by that.
    """
    global _n_on, _threads_before
    with _counting:
        if not _n_on:
            _threads_before = torch.get_num_threads()
        _n_on += 1
    try:
        if n_threads is not None:
            torch.set_num_threads(n_threads)
        with (
            torch.inference_mode(False), torch.enable_grad(),
            torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False),
        ):  # fmt: skip
            yield
    finally:
        with _counting:
            _n_on -= 1
            torch.set_num_threads(_threads_before)


@contextmanager
def torch_as_in(process: int, n_threads: int) -> Iterator[None]:
    """Torch in a worker as in the process that asks it, without gradients."""
    with torch.no_grad():
        if os.getpid() == process:  # a thread that ends with the pass: others go on computing
            torch.set_num_threads(n_threads)
            yield
        else:
            with torch_on(n_threads), torch.no_grad():
                yield


def thin(indices: Indices, most: int) -> Indices:
    """Return at most `most` of the indices, evenly spread."""
    return indices[:: max(1, -(-len(indices) // most))]


def evaluate(loss: Callable[[], Tensor]) -> float:
    """Return a loss as a float, without gradients."""
    with torch.no_grad():
        return float(loss())


class Optimiser(Protocol):
    """Lowers a loss by changing a module's parameters."""

    def step(self, value: Tensor, rate: float) -> None:
        """Lower the value, a function of the module's parameters, at a learning rate."""
        ...


class AdamW:
    """torch.optim.AdamW by torch's own function.

    The class imports a compiler that no step runs: 1.2 s, in every process that fits.
    """

    def __init__(self, module: nn.Module, weight_decay: float) -> None:
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        self.weight_decay = weight_decay
        with torch.no_grad():
            self.moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in self.parameters]
            self.steps = [
                torch.zeros((), dtype=torch.float32, device=p.device) for p in self.parameters
            ]

    def step(self, value: Tensor, rate: float) -> None:
        """Lower the value, a function of the module's parameters, by a step along its gradient."""
        for p in self.parameters:
            p.grad = None
        value.backward()  # type: ignore[no-untyped-call]
        every = zip(self.parameters, self.moments, self.steps, strict=True)
        trained = [(p, p.grad, *moments, step) for p, moments, step in every if p.grad is not None]
        parameters, gradients, first, second, steps = map(list, zip(*trained, strict=True))
        with torch.no_grad():
            adamw(
                parameters, gradients, first, second, [], steps,
                beta1=0.9, beta2=0.999, eps=1e-8, lr=rate, weight_decay=self.weight_decay,
                fused=True, amsgrad=False, maximize=False,
            )  # fmt: skip


def _record(outcome: Outcome, total: Tensor | float, held_out: float, rate: float) -> Record:
    last = outcome.history[-1]["iteration"] if outcome.history else 0
    steps = outcome.n_iter - int(last)
    return {
        "iteration": outcome.n_iter,
        "loss": float(total) / steps,
        "held_out_loss": held_out,
        "learning_rate": rate,
    }


def _warn_of_rollbacks(outcome: Outcome, stage: str) -> None:
    """Say when a loss became non-finite, and what was done about it."""
    if outcome.failed:
        warn(
            f"The loss of stage '{stage}' went on being non-finite after {outcome.rollbacks} "
            "roll-backs, each with half the step; the best weights before are kept. Check the "
            "features for outliers, or lower `learning_rate`.",
            ConvergenceWarning,
        )
    elif outcome.rollbacks:
        warn(
            f"The loss of stage '{stage}' became non-finite {outcome.rollbacks} time(s): rolled "
            "back to the best weights and halved the step."
        )


def _finite_or_inf(value: float) -> float:
    return value if math.isfinite(value) else math.inf
