"""Reduced energies as functions of inverse temperature, learned from temperatures and energies.

    u(beta; v) = sum_m P_m(beta) a_m(v)

where v is what it reads (features or collective variables). The loss of a frame simulated at
temperature k, with potential energy U where that is known, has three terms, in nats:

    classes     -log p(k | v),  log p(k | v) = log n_k + f_k - u(beta_k; v) + const
    slopes      (U - e_k - u'(beta_k; v))^2 / (2 s_k^2) + log s_k
    curvatures  (-r^2 - c_k - u''(beta_k; v))^2 / (2 v_k^2)

The first is Geyer's reverse logistic regression (1994); with u = beta U it is MBAR. The others hold
as du/dbeta is the mean energy at v and -d^2u/dbeta^2 its variance: e_k and c_k are constants of a
temperature, r the residual of the slopes, s_k^2 and v_k^2 residual variances, which give energies
the weight that they deserve. All are convex in a last layer. Energies are in units of the simulated
range of beta.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from latflow._blocks import blocks_of_rows
from latflow.nn.batches import Batch, Features
from latflow.nn.networks import linear, log_softmax, mlp
from latflow.nn.training import Plan, Record, evaluate, minimise, thin

PLAN = Plan(max_iter=300, learning_rate=3e-2, batch_size=4096, weight_decay=1e-4, tol=1e-5)
# of several networks whose mean answers: a quarter of the rows each
SHARED_PLAN = replace(PLAN, learning_rate=2e-2, batch_size=1024)
STAGE = "temperature classifier"
MOST_HELD_OUT = 20_000

MOST_STEPS = 100
MOST_ROUNDS = 20  # of residual variances
CLOSE = 1e-10  # nats a frame that another step would still gain
SETTLED = 1e-3  # relative change of residual variances
STALE = 0.1  # of the last gain: a curvature that leaves more is computed anew
JITTER = 1e-12
CACHED = 8  # of the rows that memory has room for, one in so many stays in the processor's cache
SHORTEST = 1e-6
REDRAWN_CLOSE = 1e-4  # of what a bootstrap's first step gains: its place to one per cent
LEAST_VARIANCE = 1e-6  # of the energies' that their residuals are taken to have


class Functions(NamedTuple):
    """The P_m at the simulated temperatures and their derivatives, each (order, n_temperatures)."""

    values: Tensor
    slopes: Tensor
    curvatures: Tensor

    def upto(self, order: int) -> Functions:
        """Return the first of them."""
        return Functions(*(each[:order] for each in self))


class TemperatureClassifier(nn.Module):
    """u(beta; v) and the f_k.

    Parameters
    ----------
    n_inputs : int
    functions : Functions
    log_counts : Tensor of shape (n_temperatures,)
        log n_k, the frames (or their weights) at each temperature.
    hidden_features : sequence of int
    generator : torch.Generator
    """

    values: Tensor
    slopes: Tensor
    log_counts: Tensor

    def __init__(
        self,
        *,
        n_inputs: int,
        functions: Functions,
        log_counts: Tensor,
        hidden_features: Sequence[int],
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        order, n_temperatures = functions.values.shape
        self.register_buffer("values", functions.values)
        self.register_buffer("slopes", functions.slopes)
        self.register_buffer("log_counts", log_counts)
        self.net = mlp((n_inputs, *hidden_features), generator)
        # a linear part and unbounded units: u goes on growing where only one temperature went
        self.last = linear(n_inputs + hidden_features[-1], order, generator)
        self.f = nn.Parameter(torch.zeros(n_temperatures, dtype=torch.float32, device="cpu"))

    def units(self, v: Tensor) -> Tensor:
        """Return what the a_m are linear in: the last hidden units, and v itself."""
        return torch.cat((torch.relu(self.net(v)), v), dim=1)

    def forward(self, v: Tensor) -> Tensor:
        """Return the a_m(v), shape (n, order)."""
        a: Tensor = self.last(self.units(v))
        return a

    def reduced_energies(self, v: Tensor) -> Tensor:
        """Return u(beta_k; v), shape (n, n_temperatures)."""
        return self.forward(v) @ self.values

    def loss(self, v: Tensor, k: Tensor, weights: Tensor, energy: Tensor | None) -> Tensor:
        """Return the weighted mean loss of classes and, with energies, slopes."""
        a = self.forward(v)
        logits = self.log_counts + self.f - a @ self.values
        classes = -log_softmax(logits).gather(1, k.unsqueeze(1)).squeeze(1)
        loss = (weights * classes).mean()
        if energy is None:
            return loss
        slopes = (a @ self.slopes).gather(1, k.unsqueeze(1)).squeeze(1)
        member = one_hot(k, len(self.f)).to(v.dtype) * weights.unsqueeze(1)
        total = member.sum(dim=0)
        residual = energy - slopes
        mean = (member.T @ residual) / total.clamp_min(SHORTEST)
        variance = (member.T @ (residual - mean[k]).square()) / total.clamp_min(SHORTEST)
        return loss + (total * torch.log(variance + LEAST_VARIANCE)).sum() / (2 * len(v))


def train_classifier(
    classifier: TemperatureClassifier,
    x: Features,
    k: Tensor,
    weights: Tensor,
    energy: Tensor | None,
    train: Tensor,
    judged: Tensor,
    generator: torch.Generator,
    plan: Plan = PLAN,
) -> list[Record]:
    """Train the network by stochastic gradients; it ends in double precision.

    Parameters
    ----------
    classifier : TemperatureClassifier
    x : Features
        What u reads, of all frames.
    k, weights : Tensor of shape (n_frames,)
        The temperature each frame was simulated at, and its weight.
    energy : Tensor of shape (n_frames,), or None
        Potential energies, of order 1.
    train, judged : Tensor of int
        Frames to train on, and to stop by; without any the first serve for both.
    generator : torch.Generator
    plan : Plan

    Returns
    -------
    list of dict
        The history.
    """

    def loss(batch: Batch) -> Tensor:
        rows, inputs = batch
        u = None if energy is None else energy.index_select(0, rows)
        return classifier.loss(
            inputs, k.index_select(0, rows).long(), weights.index_select(0, rows), u
        )

    most = MOST_HELD_OUT * plan.batch_size // PLAN.batch_size
    held_out = x.at(thin(judged if len(judged) else train, most))
    outcome = minimise(
        classifier,
        loss,
        lambda: evaluate(lambda: loss(held_out)),
        x.batches((train,), plan.batch_size, generator),
        plan,
        stage=STAGE,
    )
    classifier.double()
    return outcome.history


@dataclass(frozen=True)
class Solution:
    """Where the last layer's loss is lowest.

    Attributes
    ----------
    slopes : Tensor of shape (n_units, order)
        Slopes of the a_m in the units.
    f : Tensor of shape (n_temperatures,)
        log n_k + f_k, the first 0.
    factor : Tensor or None
        Cholesky factor of a curvature near the solution, which warm starts save computing.
    variances : Tensor of shape (2, n_temperatures), or None
        Residual variances s_k^2 of the energies, and v_k^2 of their squares.
    """

    slopes: Tensor
    f: Tensor
    factor: Tensor | None
    variances: Tensor | None = None

    @property
    def order(self) -> int:
        """How many functions of beta it has."""
        return self.slopes.shape[1]

    def widened(self, order: int) -> Solution:
        """Return a start for this order: further functions begin as nothing."""
        if order == self.order:
            return self
        more = self.slopes.new_zeros(len(self.slopes), max(0, order - self.order))
        return Solution(torch.cat((self.slopes[:, :order], more), dim=1), self.f, None)


class LastLayer:
    """The losses on fixed units: a convex problem, solved by Newton's method.

    Parameters
    ----------
    units : Tensor of shape (n_rows, n_units)
        In double precision.
    k : Tensor of int, shape (n_rows,)
    functions : Functions
    held_back : Tensor of shape (n_units,)
        What of the ridge each unit bears.
    energy : Tensor of shape (n_rows,), optional
        Potential energies.
    """

    def __init__(
        self,
        units: Tensor,
        k: Tensor,
        functions: Functions,
        held_back: Tensor,
        energy: Tensor | None = None,
    ) -> None:
        self.units, self.k, self.functions, self.energy = units, k, functions, energy
        self.held_back = held_back
        n = functions.values.shape[1]
        self.member = one_hot(k, n).to(units)
        self.rows = [torch.nonzero(k == j)[:, 0] for j in range(n)] if energy is not None else []
        self._seen: tuple[Tensor, _Energies] | None = None

    def log_probabilities(self, slopes: Tensor, f: Tensor) -> Tensor:
        """Return log p(k | v), shape (n_rows, n_temperatures)."""
        return log_softmax(f - self.units @ slopes @ self.functions.values[: slopes.shape[1]])

    def loss(self, weights: Tensor, solution: Solution) -> Tensor:
        """Return the loss of every row times its weight; the sum is the weighted mean loss.

        The constants of a temperature are those of the rows that weigh something.
        """
        a = solution.slopes
        losses = -self.log_probabilities(a, solution.f).gather(1, self.k[:, None])[:, 0]
        if solution.variances is None or self.energy is None:
            return losses * weights / weights.sum()
        _, slopes, curvatures = self.functions.upto(solution.order)
        for j, rows in enumerate(self.rows):
            s2, v2 = solution.variances[:, j]
            w = weights[rows] / weights[rows].sum().clamp_min(JITTER)
            r = self.energy[rows] - self.units[rows] @ (a @ slopes[:, j])
            r2 = (r - w @ r).square()
            bend = -r2 - self.units[rows] @ (a @ curvatures[:, j])
            bend = bend - w @ bend
            losses[rows] += (r2 / s2 + s2.log() + bend.square() / v2 + v2.log()) / 2
        return losses * weights / weights.sum()

    def solve(
        self,
        weights: Tensor,
        ridge: Tensor,
        start: Solution | None = None,
        close: float = 0.0,
    ) -> Solution:
        """Minimise the weighted mean loss plus ridge / 2 times the squared slopes.

        Residual variances and the curvatures' targets are those of the solution before, until they
        settle.

        Parameters
        ----------
        weights : Tensor of shape (n_rows,)
        ridge : Tensor of shape (order,)
        start : Solution, optional
        close : float, default=0
            Share of the gain of a first step that may be left.
        """
        order, n = len(ridge), self.functions.values.shape[1]
        if start is None:
            zeros = self.units.new_zeros
            start = Solution(zeros(self.units.shape[1], order), zeros(n), None)
        start = start.widened(order)
        if self.energy is None:
            return self._newton(weights / weights.sum(), ridge, start, None, close)
        energies = self._moments(weights)
        weights, solution = weights / weights.sum(), start
        terms = energies.terms(start.slopes, self.functions)
        for _ in range(MOST_ROUNDS):
            solution = self._newton(weights, ridge, solution, terms, close)
            before, terms = terms, energies.terms(solution.slopes, self.functions)
            if (terms.variances / before.variances).log().abs().max() < SETTLED:
                break
        return Solution(solution.slopes, solution.f, solution.factor, terms.variances)

    def solve_redrawn(
        self, weights: Tensor, times: Tensor, blocks: Tensor, ridge: Tensor, start: Solution
    ) -> list[Solution]:
        """Solve for bootstraps over blocks, all of them at once, to a per cent of their scatter.

        One pass over the rows gives every block's curvature at the solution of all rows, and so
        that of every bootstrap, which serves to the end; each step is one more pass for all. A
        bootstrap that converges slowly, or has energies, is solved by itself.

        Parameters
        ----------
        weights : Tensor of shape (n_rows,)
        times : Tensor of shape (n_bootstraps, n_blocks)
            How often each block comes.
        blocks : Tensor of int, shape (n_rows,)
        ridge : Tensor of shape (order,)
        start : Solution
            Of all rows, with this ridge.

        Returns
        -------
        list of Solution
        """

        def alone(own: Tensor, near: Solution) -> Solution:
            return self.solve(weights * own[blocks], ridge, near, REDRAWN_CLOSE)

        if self.energy is not None:
            return [alone(own, start) for own in times]
        sums = weights.new_zeros(times.shape[1]).index_add_(0, blocks, weights)
        shares = times / (times @ sums)[:, None]
        factors = torch.linalg.cholesky(self._curvatures(weights, shares, blocks, ridge, start))
        slopes, f = start.slopes.T.repeat(len(times), 1, 1), start.f.repeat(len(times), 1)
        n, enough, before = slopes[0].numel(), None, None
        slow: list[int] = []
        for _ in range(MOST_STEPS):
            gradients = self._gradients(weights, shares, blocks, ridge, slopes, f)
            steps = torch.cholesky_solve(gradients[:, :, None], factors)[:, :, 0]
            gains = (gradients * steps).sum(dim=1) / 2
            if enough is None:
                enough = CLOSE + REDRAWN_CLOSE * gains
            moving = gains > enough
            if before is not None:
                slow = torch.nonzero(moving & ~(gains <= STALE * before))[:, 0].tolist()
            slopes = slopes - steps[:, :n].reshape(slopes.shape)
            f = torch.cat((f[:, :1], f[:, 1:] - steps[:, n:]), dim=1)
            if slow or not moving.any():
                break
            before = gains
        solutions = [Solution(a.T, own, None) for a, own in zip(slopes, f, strict=True)]
        for b in slow:
            solutions[b] = alone(times[b], start)
        return solutions

    def curvature(self, weights: Tensor, ridge: Tensor, solution: Solution) -> Tensor:
        """Return the second derivatives of what is minimised, at its minimum.

        In the slopes, one order after the other, and in f but its first.
        """
        terms = None
        if self.energy is not None:
            terms = self._moments(weights).terms(solution.slopes, self.functions)
        p = self.log_probabilities(solution.slopes, solution.f).exp()
        return self._curvature(weights / weights.sum(), ridge, p, terms)

    def block_gradients(
        self, weights: Tensor, solution: Solution, blocks: Tensor, n_blocks: int
    ) -> Tensor:
        """Return what the rows of each block add to the gradient of the weighted mean loss.

        Parameters
        ----------
        weights : Tensor of shape (n_rows,)
        solution : Solution
        blocks : Tensor of int, shape (n_rows,)
            Blocks of one temperature each.
        n_blocks : int

        Returns
        -------
        Tensor of shape (n_blocks, n_parameters)
            Parameters in the order of :meth:`curvature`.
        """
        values, tilts, bends = self.functions.upto(solution.order)
        share = weights / weights.sum()
        p = self.log_probabilities(solution.slopes, solution.f).exp()
        residual = share[:, None] * (self.member - p)
        pull = residual @ values.T
        shift = torch.zeros_like(pull)
        if self.energy is not None and solution.variances is not None:
            r, bend = self._moments(weights).residuals(solution.slopes, self.functions)
            s2, v2 = solution.variances[:, self.k]
            shift = -(share * r / s2)[:, None] * tilts.T[self.k]
            shift -= (share * bend / v2)[:, None] * bends.T[self.k]

        def summed(rows: Tensor) -> Tensor:
            return rows.new_zeros(n_blocks, rows.shape[1]).index_add_(0, blocks, rows)

        parts = []
        for o in range(solution.order):
            sums = summed((pull + shift)[:, o, None] * self.units)
            if self.energy is not None:
                centres = self._moments(weights).mean_units[self.k]
                sums = sums - summed(shift[:, o, None] * centres)
            parts.append(sums)
        return torch.cat((*parts, -summed(residual)[:, 1:]), dim=1)

    def _moments(self, weights: Tensor) -> _Energies:
        """Return the moments of energies for these weights: one solve after the other has them."""
        if self._seen is None or self._seen[0] is not weights:
            self._seen = weights, _Energies.of(self, weights / weights.sum())
        return self._seen[1]

    def _newton(
        self,
        weights: Tensor,
        ridge: Tensor,
        start: Solution,
        terms: _Terms | None,
        close: float,
    ) -> Solution:
        """Minimise with the residual variances held.

        A curvature serves for as many steps as it converges fast (Shamanskii's method).
        """
        slopes, f, factor = start.slopes, start.f, start.factor
        log_p = self.log_probabilities(slopes, f)
        value, before = self._value(weights, ridge, slopes, log_p, terms), torch.inf
        enough = CLOSE
        for _ in range(MOST_STEPS):
            p = log_p.exp()
            gradient = self._gradient(weights, ridge, slopes, p, terms)
            step, gain = (None, torch.inf) if factor is None else _newton(factor, gradient)
            if step is None or gain > STALE * before:
                factor = torch.linalg.cholesky(self._curvature(weights, ridge, p, terms))
                step, gain = _newton(factor, gradient)
            if gain < enough:
                break
            enough = max(enough, close * gain) if before == torch.inf else enough
            before, length = gain, 1.0
            while True:
                new_slopes = slopes - length * step[: slopes.numel()].reshape(len(ridge), -1).T
                new_f = torch.cat((f[:1], f[1:] - length * step[slopes.numel() :]))
                log_p = self.log_probabilities(new_slopes, new_f)
                new_value = self._value(weights, ridge, new_slopes, log_p, terms)
                if new_value <= value or length < SHORTEST:
                    break
                length /= 2
            slopes, f, value = new_slopes, new_f, new_value
        return Solution(slopes, f, factor)

    def _value(
        self, weights: Tensor, ridge: Tensor, slopes: Tensor, log_p: Tensor, terms: _Terms | None
    ) -> float:
        value = float(self.held_back @ slopes.square() @ ridge) / 2
        value -= float(weights @ log_p.gather(1, self.k[:, None])[:, 0])
        return value if terms is None else value + terms.value(slopes)

    def _gradient(
        self, weights: Tensor, ridge: Tensor, slopes: Tensor, p: Tensor, terms: _Terms | None
    ) -> Tensor:
        residual = weights[:, None] * (self.member - p)
        values = self.functions.values[: slopes.shape[1]]
        of_slopes = self.units.T @ (residual @ values.T)
        of_slopes = of_slopes + self.held_back[:, None] * ridge * slopes
        if terms is not None:
            of_slopes = of_slopes + terms.gradient(slopes)
        return torch.cat((of_slopes.T.reshape(-1), -residual.sum(dim=0)[1:]))

    def _curvature(self, weights: Tensor, ridge: Tensor, p: Tensor, terms: _Terms | None) -> Tensor:
        """Return the second derivatives in slopes and f."""
        (order, m), n = (len(ridge), self.units.shape[1]), p.shape[1]
        curvature = self.units.new_zeros(order * m + n - 1, order * m + n - 1)
        for rows in blocks_of_rows(len(p), CACHED * m) if n > 1 else ():
            curvature += self._of_classes(self.units[rows], p[rows], weights[rows, None], order)
        curvature = _mirrored(curvature)
        if terms is not None:
            curvature[: order * m, : order * m] += terms.curvature()
        return self._held(curvature, ridge)

    def _curvatures(
        self, weights: Tensor, shares: Tensor, blocks: Tensor, ridge: Tensor, start: Solution
    ) -> Tensor:
        """Return the curvatures of bootstraps at one solution; `shares` are what blocks count."""
        (order, m), n = (len(ridge), self.units.shape[1]), len(start.f)
        size = order * m + n - 1
        curvatures = self.units.new_zeros(len(shares), size * size)
        p = self.log_probabilities(start.slopes, start.f).exp()
        for block, rows in _in_blocks(blocks, CACHED * m):
            own = self._of_classes(self.units[rows], p[rows], weights[rows, None], order)
            curvatures.addr_(shares[:, block], own.flatten())
        return self._held(_mirrored(curvatures.view(-1, size, size)), ridge)

    def _gradients(
        self,
        weights: Tensor,
        shares: Tensor,
        blocks: Tensor,
        ridge: Tensor,
        slopes: Tensor,
        f: Tensor,
    ) -> Tensor:
        """Return the gradients of bootstraps, each at slopes (order, n_units) and f of its own."""
        n_draws, order, m = slopes.shape
        values = self.functions.values[:order]
        of_slopes, of_f = torch.zeros_like(slopes.flatten(0, 1)), torch.zeros_like(f)
        for rows in blocks_of_rows(len(self.units), CACHED * (m + n_draws * len(f[0]))):
            units = self.units[rows]
            a = (slopes.flatten(0, 1) @ units.T).view(n_draws, order, -1)
            p = (f[:, :, None] - values.T @ a).softmax(dim=1)
            residual = self.member[rows].T - p
            residual *= (shares[:, blocks[rows]] * weights[rows])[:, None]
            of_slopes += (values @ residual).view(n_draws * order, -1) @ units
            of_f += residual.sum(dim=2)
        ridges = ridge[:, None] * self.held_back * slopes
        return torch.cat(((of_slopes.view_as(slopes) + ridges).flatten(1), -of_f[:, 1:]), dim=1)

    def _of_classes(self, units: Tensor, p: Tensor, w: Tensor, order: int) -> Tensor:
        """Return the lower triangle of what rows of weights w add to the curvature of the classes.

        It is the covariance of the logits' derivatives over p(k | v).
        """
        values, m, n = self.functions.values[:order], units.shape[1], p.shape[1]
        mean, weighted = p @ values.T, w * p
        curvature = units.new_zeros(order * m + n - 1, order * m + n - 1)
        free = slice(order * m, None)
        for a in range(order):
            at = slice(a * m, (a + 1) * m)
            for b in range(a + 1):
                both = (p @ (values[a] * values[b]))[:, None]
                both = both - mean[:, a : a + 1] * mean[:, b : b + 1]
                curvature[at, b * m : (b + 1) * m] = units.T @ (w * both * units)
            tilt = weighted * (values[a] - mean[:, a : a + 1])
            curvature[free, at] = -(units.T @ tilt[:, 1:]).T
        within = p[:, 1:].T @ weighted[:, 1:]
        curvature[free, free] = torch.diag(weighted.sum(dim=0)[1:]) - within
        return curvature

    def _held(self, curvatures: Tensor, ridge: Tensor) -> Tensor:
        """Return curvatures, one or several, with that of the ridge; changes what it is given."""
        diagonals = curvatures.diagonal(dim1=-2, dim2=-1)
        diagonals[..., : len(ridge) * len(self.held_back)] += torch.outer(
            ridge, self.held_back
        ).flatten()
        diagonals += JITTER * (1 + diagonals.amax(dim=-1, keepdim=True))
        return curvatures


class _Energies(NamedTuple):
    """Moments of units and energies at every temperature, rows weighing as they do in a solve."""

    layer: LastLayer
    weights: list[Tensor]
    total: Tensor
    mean_units: Tensor
    mean_energy: Tensor
    spread: list[Tensor]
    together: Tensor
    variance: Tensor

    @classmethod
    def of(cls, layer: LastLayer, weights: Tensor) -> _Energies:
        """Return the moments: total weight, means, covariances."""
        energy = layer.energy
        if energy is None:
            raise ValueError("Expected energies, got none.")
        parts = [(weights[rows], layer.units[rows], energy[rows]) for rows in layer.rows]
        total = torch.stack([w.sum() for w, _, _ in parts])
        share = total.clamp_min(JITTER)
        q = torch.stack([w @ units for w, units, _ in parts]) / share[:, None]
        u = torch.stack([w @ energy for w, _, energy in parts]) / share
        spread = [
            units.T @ (w[:, None] * units) - total[j] * torch.outer(q[j], q[j])
            for j, (w, units, _) in enumerate(parts)
        ]
        together = torch.stack(
            [(w * (energy - u[j])) @ units for j, (w, units, energy) in enumerate(parts)]
        )
        variance = torch.stack(
            [w @ (energy - u[j]).square() for j, (w, _, energy) in enumerate(parts)]
        )
        return cls(layer, [w for w, _, _ in parts], total, q, u, spread, together, variance / share)

    def residuals(self, slopes: Tensor, functions: Functions) -> tuple[Tensor, Tensor]:
        """Return what slopes leave of energies, and curvatures of its square, of every row."""
        _, tilts, bends = functions.upto(slopes.shape[1])
        energy = torch.as_tensor(self.layer.energy, device="cpu")
        left, bent = torch.zeros_like(energy), torch.zeros_like(energy)
        for j, (rows, w) in enumerate(zip(self.layer.rows, self.weights, strict=True)):
            units, total = self.layer.units[rows], self.total[j].clamp_min(JITTER)
            r = energy[rows] - self.mean_energy[j]
            r = r - (units - self.mean_units[j]) @ (slopes @ tilts[:, j])
            bend = w @ r.square() / total - r.square()
            bend = bend - (units - self.mean_units[j]) @ (slopes @ bends[:, j])
            left[rows], bent[rows] = r, bend
        return left, bent

    def terms(self, slopes: Tensor, functions: Functions) -> _Terms:
        """Return the quadratic terms whose residual variances are those of some slopes."""
        _, tilts, bends = functions.upto(slopes.shape[1])
        floor = LEAST_VARIANCE * self.variance + JITTER
        scales, targets = [], []
        for j, (rows, w) in enumerate(zip(self.layer.rows, self.weights, strict=True)):
            units, total = self.layer.units[rows], self.total[j].clamp_min(JITTER)
            energy = torch.as_tensor(self.layer.energy, device="cpu")[rows] - self.mean_energy[j]
            slope = slopes @ tilts[:, j]
            r2 = (energy - units @ slope + self.mean_units[j] @ slope).square()
            variance = w @ r2 / total
            fit = units @ (slopes @ bends[:, j])
            bend = variance - r2
            v2 = w @ (bend - fit + w @ fit / total).square() / total
            scales += [variance.clamp_min(floor[j]), v2.clamp_min(floor[j] ** 2)]
            targets += [self.together[j], (w * bend) @ units]
        directions = torch.stack((tilts.T, bends.T), dim=1).flatten(0, 1)
        spreads = [g for g in self.spread for _ in range(2)]
        both = torch.stack(scales)
        return _Terms(both.reshape(-1, 2).T, directions, torch.stack(targets), spreads, both)


class _Terms(NamedTuple):
    """Quadratic terms of slopes and curvatures at every temperature, one after the other.

    Each is (b . G b / 2 - target . b) / scale for b, the slopes along its direction in the orders.
    """

    variances: Tensor
    directions: Tensor
    targets: Tensor
    spreads: list[Tensor]
    scales: Tensor

    def value(self, slopes: Tensor) -> float:
        """Return their sum, less what does not depend on the slopes."""
        along = self.directions @ slopes.T
        moved = torch.stack([g @ a for g, a in zip(self.spreads, along, strict=True)])
        return float((((moved / 2 - self.targets) * along).sum(dim=1) / self.scales).sum())

    def gradient(self, slopes: Tensor) -> Tensor:
        """Return its derivative in the slopes, shape (n_units, order)."""
        along = self.directions @ slopes.T
        moved = torch.stack([g @ a for g, a in zip(self.spreads, along, strict=True)])
        return ((moved - self.targets) / self.scales[:, None]).T @ self.directions

    def curvature(self) -> Tensor:
        """Return its second derivatives, slopes of one order after the other."""
        pairs = zip(self.directions, self.spreads, self.scales, strict=True)
        parts = [torch.kron(torch.outer(d, d), g / scale) for d, g, scale in pairs]
        return torch.stack(parts).sum(dim=0)


def _newton(factor: Tensor, gradient: Tensor) -> tuple[Tensor, float]:
    """Return the step to subtract, and what a quadratic function would gain by it."""
    step = torch.cholesky_solve(gradient[:, None], factor)[:, 0]
    return step, float(gradient @ step) / 2


def _mirrored(lower: Tensor) -> Tensor:
    """Return symmetric matrices from their lower triangles."""
    return lower.tril() + lower.tril(-1).mT


def _in_blocks(blocks: Tensor, n_columns: int) -> Iterator[tuple[int, Tensor]]:
    """Yield blocks and rows of theirs, as many at once as keep memory small."""
    order, counts = torch.argsort(blocks, stable=True), torch.bincount(blocks).tolist()
    every = torch.split(order, counts)
    for block, own in enumerate(every):
        for part in blocks_of_rows(len(own), n_columns):
            yield block, own[part]
