"""What several processes that train one model exchange; in a single process nothing happens.

They are those of torch.distributed's default group. All of them make the same calls in the same
order, so that each ends with the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

__all__ = [
    "average_gradients",
    "averaged",
    "gathered",
    "jointly",
    "n_processes",
    "rank",
    "share",
    "summed",
    "together",
]

T = TypeVar("T")


def n_processes() -> int:
    """Return how many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Return the number of this process, from 0."""
    return dist.get_rank() if n_processes() > 1 else 0


def summed(x: Tensor) -> Tensor:
    """Return the sum of a tensor over processes."""
    if n_processes() > 1:
        x = x.detach().clone()
        dist.all_reduce(x)
    return x


def jointly(x: Tensor) -> Tensor:
    """Return the sum of a tensor over processes, for a loss of which all have the whole.

    Its gradient by the own part counts once for each process, as averages of gradients ask for.
    """
    if n_processes() == 1:
        return x
    return summed(x) + n_processes() * (x - x.detach())


def averaged(x: float) -> float:
    """Return the mean of a number over processes."""
    if n_processes() == 1:
        return x
    return float(summed(torch.tensor(x, dtype=torch.float64))) / n_processes()


def gathered(value: T) -> list[T]:
    """Return what every process has, in the order of their numbers."""
    if n_processes() == 1:
        return [value]
    found: list[T] = [value] * n_processes()
    dist.all_gather_object(found, value)
    return found


def share(n: int) -> float:
    """Return the factor that makes a mean over n own rows count by n in a mean over processes."""
    return n_processes() * n / max(1, sum(gathered(n)))


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace gradients by their mean over processes, in one exchange."""
    if n_processes() == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = summed(torch.cat([g.reshape(-1) for g in gradients])) / n_processes()
    parts = torch.split(flat, [g.numel() for g in gradients])
    for gradient, mean in zip(gradients, parts, strict=True):
        gradient.copy_(mean.view_as(gradient))


def together(make: Callable[[], T]) -> T:
    """Return make(), or raise in every process what it raised in one: else the others would wait.

    Raises
    ------
    ValueError
        Where another process failed.
    """
    try:
        found, error = make(), None
    except Exception as caught:
        found, error = None, caught
    told = [text for text in gathered(None if error is None else str(error)) if text is not None]
    if error is not None:
        raise error
    if told:
        raise ValueError(f"Expected data that every process can fit, one of them got: {told[0]}")
    return found  # type: ignore[return-value]
