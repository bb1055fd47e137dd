"""The log-linear model in inverse temperature, learned as a classifier of temperatures.

    log p(k | v) = log n_k + f_k - u_k(v) + const,
    u_k(v) = (beta_k - beta_0) h(v) + (beta_k - beta_0)^2 / 2 c(v)

where v is what h reads (features or collective variables) and k the temperature a frame was
simulated at. Its maximum-likelihood solution is Geyer's reverse logistic regression (1994);
with h the potential energy it is MBAR. Energies are in units of the simulated range of beta.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from latflow._blocks import blocks_of_rows
from latflow.nn.batches import Batch, Features
from latflow.nn.networks import linear, log_softmax, mlp
from latflow.nn.training import Plan, Record, evaluate, minimise, thin

PLAN = Plan(max_iter=300, learning_rate=3e-2, batch_size=4096, weight_decay=1e-4, tol=1e-5)
STAGE = "temperature classifier"
MOST_HELD_OUT = 20_000

MOST_STEPS = 100
CLOSE = 1e-10  # nats a frame that another step would still gain
STALE = 0.1  # of the last gain: a curvature that leaves more is computed anew
JITTER = 1e-12
SHORTEST = 1e-6


def powers_of(steps: Tensor, order: int) -> Tensor:
    """Return the factors of h (and c) in u_k: shape (order, n_temperatures)."""
    return torch.stack((steps, steps**2 / 2))[:order]


class TemperatureClassifier(nn.Module):
    """h(v), c(v) and the f_k.

    Parameters
    ----------
    n_inputs : int
    steps : Tensor of shape (n_temperatures,)
        beta_k - beta_0, in any unit of inverse energy.
    log_counts : Tensor of shape (n_temperatures,)
        log n_k, the frames (or their weights) at each temperature.
    hidden_features : sequence of int
    order : int
        1 for h alone, 2 for c too.
    generator : torch.Generator
    """

    steps: Tensor
    log_counts: Tensor

    def __init__(
        self,
        *,
        n_inputs: int,
        steps: Tensor,
        log_counts: Tensor,
        hidden_features: Sequence[int],
        order: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.order = order
        self.register_buffer("steps", steps)
        self.register_buffer("log_counts", log_counts)
        self.net = mlp((n_inputs, *hidden_features), generator)
        # a linear part and unbounded units: h goes on growing where only one temperature went
        self.last = linear(n_inputs + hidden_features[-1], self.order, generator)
        self.f = nn.Parameter(torch.zeros(len(steps)))

    def units(self, v: Tensor) -> Tensor:
        """Return what h and c are linear in: the last hidden units, and v itself."""
        return torch.cat((torch.relu(self.net(v)), v), dim=1)

    def forward(self, v: Tensor) -> Tensor:
        """Return h(v) and, if learned, c(v): shape (n, 1) or (n, 2)."""
        hc: Tensor = self.last(self.units(v))
        return hc

    def reduced_energies(self, v: Tensor) -> Tensor:
        """Return u_k(v), shape (n, n_temperatures)."""
        return self.forward(v) @ powers_of(self.steps, self.order)

    def loss(self, v: Tensor, k: Tensor) -> Tensor:
        """Return -log p(k | v) for every row."""
        logits = self.log_counts + self.f - self.reduced_energies(v)
        return -log_softmax(logits).gather(1, k.unsqueeze(1)).squeeze(1)


def train_classifier(
    classifier: TemperatureClassifier,
    x: Features,
    k: Tensor,
    weights: Tensor,
    train: Tensor,
    judged: Tensor,
    generator: torch.Generator,
) -> list[Record]:
    """Train the network by stochastic gradients; it ends in double precision.

    Parameters
    ----------
    classifier : TemperatureClassifier
    x : Features
        What h reads, of all frames.
    k, weights : Tensor of shape (n_frames,)
        The temperature each frame was simulated at, and its weight.
    train, judged : Tensor of int
        Frames to train on, and to stop by; without any the first serve for both.
    generator : torch.Generator

    Returns
    -------
    list of dict
        The history.
    """

    def loss(batch: Batch) -> Tensor:
        rows, inputs = batch
        losses = classifier.loss(inputs, k.index_select(0, rows).long())
        return (weights.index_select(0, rows) * losses).mean()

    held_out = x.at(thin(judged if len(judged) else train, MOST_HELD_OUT))
    outcome = minimise(
        classifier,
        loss,
        lambda: evaluate(lambda: loss(held_out)),
        x.batches((train,), PLAN.batch_size, generator),
        PLAN,
        stage=STAGE,
    )
    classifier.double()
    return outcome.history


@dataclass(frozen=True)
class Solution:
    """Where the last layer's likelihood is highest.

    Attributes
    ----------
    slopes : Tensor of shape (n_units, order)
        Slopes of h (and c) in the units.
    f : Tensor of shape (n_temperatures,)
        log n_k + f_k, the first 0.
    factor : Tensor
        Cholesky factor of a curvature near the solution, which warm starts save computing.
    """

    slopes: Tensor
    f: Tensor
    factor: Tensor | None


class LastLayer:
    """Reverse logistic regression on fixed units: a convex problem, solved by Newton's method.

    Parameters
    ----------
    units : Tensor of shape (n_rows, n_units)
        In double precision.
    k : Tensor of int, shape (n_rows,)
    powers : Tensor of shape (order, n_temperatures)
        Factors of h (and c) in u_k; see :func:`powers_of`.
    """

    def __init__(self, units: Tensor, k: Tensor, powers: Tensor) -> None:
        self.units, self.k, self.powers = units, k, powers

    def log_probabilities(self, slopes: Tensor, f: Tensor) -> Tensor:
        """Return log p(k | v), shape (n_rows, n_temperatures)."""
        return log_softmax(f - self.units @ slopes @ self.powers)

    def loss(self, weights: Tensor, slopes: Tensor, f: Tensor) -> float:
        """Return the weighted mean of -log p(k | v)."""
        own = self.log_probabilities(slopes, f).gather(1, self.k[:, None])[:, 0]
        return -float(weights @ own / weights.sum())

    def solve(self, weights: Tensor, ridge: float, start: Solution | None = None) -> Solution:
        """Maximise the weighted mean log-likelihood less ridge / 2 times the squared slopes.

        A curvature serves for as many steps as it converges fast (Shamanskii's method).

        Parameters
        ----------
        weights : Tensor of shape (n_rows,)
        ridge : float
        start : Solution, optional
        """
        order, n = self.powers.shape
        weights = weights / weights.sum()
        if start is None:
            zeros = self.units.new_zeros
            start = Solution(zeros(self.units.shape[1], order), zeros(n), None)
        slopes, f, factor = start.slopes, start.f, start.factor
        value, before = self._value(weights, ridge, slopes, f), torch.inf
        for _ in range(MOST_STEPS):
            p = self.log_probabilities(slopes, f).exp()
            gradient = self._gradient(weights, ridge, slopes, p)
            step, gain = (None, torch.inf) if factor is None else _newton(factor, gradient)
            if step is None or gain > STALE * before:
                factor = torch.linalg.cholesky(self._curvature(weights, ridge, p))
                step, gain = _newton(factor, gradient)
            if gain < CLOSE:
                break
            before, length = gain, 1.0
            while True:
                new_slopes = slopes - length * step[: slopes.numel()].reshape(order, -1).T
                new_f = torch.cat((f[:1], f[1:] - length * step[slopes.numel() :]))
                new_value = self._value(weights, ridge, new_slopes, new_f)
                if new_value <= value or length < SHORTEST:
                    break
                length /= 2
            slopes, f, value = new_slopes, new_f, new_value
        return Solution(slopes, f, factor)

    def _value(self, weights: Tensor, ridge: float, slopes: Tensor, f: Tensor) -> float:
        return self.loss(weights, slopes, f) + ridge / 2 * float((slopes**2).sum())

    def _gradient(self, weights: Tensor, ridge: float, slopes: Tensor, p: Tensor) -> Tensor:
        residual = weights[:, None] * (one_hot(self.k, p.shape[1]) - p)
        of_slopes = self.units.T @ (residual @ self.powers.T) + ridge * slopes
        return torch.cat((of_slopes.T.reshape(-1), -residual.sum(dim=0)[1:]))

    def _curvature(self, weights: Tensor, ridge: float, p: Tensor) -> Tensor:
        """Return the covariances of the logits' derivatives over p(k | v), averaged over rows."""
        (order, n), m = self.powers.shape, self.units.shape[1]
        mean = p @ self.powers.T
        curvature = self.units.new_zeros(order * m + n - 1, order * m + n - 1)
        slopes, free = slice(0, order * m), slice(order * m, None)
        for rows in blocks_of_rows(len(p), m):
            units, member, expected, w = self.units[rows], p[rows], mean[rows], weights[rows, None]
            for a in range(order):
                at = slice(a * m, (a + 1) * m)
                for b in range(order):
                    both = (member @ (self.powers[a] * self.powers[b]))[:, None]
                    both = both - expected[:, a : a + 1] * expected[:, b : b + 1]
                    curvature[at, b * m : (b + 1) * m] += units.T @ (w * both * units)
                curvature[at, free] -= (
                    units.T @ (w * member * (self.powers[a] - expected[:, a : a + 1]))[:, 1:]
                )
            curvature[free, free] += (
                torch.diag((w * member).sum(dim=0)[1:]) - member[:, 1:].T @ (w * member)[:, 1:]
            )
        curvature[free, slopes] = curvature[slopes, free].T
        curvature.diagonal()[slopes] += ridge
        curvature.diagonal()[:] += JITTER
        return curvature


def _newton(factor: Tensor, gradient: Tensor) -> tuple[Tensor, float]:
    """Return the step to subtract, and what a quadratic function would gain by it."""
    step = torch.cholesky_solve(gradient[:, None], factor)[:, 0]
    return step, float(gradient @ step) / 2
