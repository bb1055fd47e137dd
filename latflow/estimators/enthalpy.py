"""Learning of reduced energies, by telling simulated temperatures apart and from energies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from latflow._typing import BoolArray, FloatArray, IntArray
from latflow.estimators.seam import Standardised, features_of
from latflow.nn.batches import Features, as_index, filled
from latflow.nn.density_ratio import (
    PLAN,
    SHARED_PLAN,
    Functions,
    LastLayer,
    Solution,
    TemperatureClassifier,
    train_classifier,
)
from latflow.nn.training import Plan, Record
from latflow.thermodynamics import Curves, Pool, Weighting, curve_functions, reduced_at
from latflow.trajectories import step_of

HIDDEN = (32, 32)
N_NETWORKS = 4
RIDGES = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)  # on standardised units, in nats a frame
HIGHER_RIDGES = (1e1, 1e0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)  # of the functions after the first
MIDDLE_RIDGE = 1e-2  # of those, while the first one's is chosen
MOST_NUMBERS = 2**24  # of units that the last layer is solved on: more frames are thinned out
OF_OUTPUTS = 1e-4  # of the ridge, that the network's own answer bears: its size stays free
LEAST_SCALE = 1e-8
FACTOR_ROWS, FACTOR_DRAWS = 20_000, 10  # of the factor between energies and temperatures
FACTOR_RIDGE = torch.tensor([1e-3], dtype=torch.float64, device="cpu")
LINE_RIDGE = torch.tensor([1e-8], dtype=torch.float64, device="cpu")
FACTOR_FLOOR = 0.03  # of its error: what an h that is linear in beta may be off

UnitsOf = Callable[[FloatArray], torch.Tensor]  # standardised inputs to what h is linear in


class Learned(NamedTuple):
    """What :func:`learn_enthalpy` returns.

    Attributes
    ----------
    route : Curves
    bootstraps : list of Weighting
        What each bootstrap would have answered by.
    offsets : ndarray of shape (n_temperatures,)
        f_k as the classes have them, for temperatures that have nothing in common.
    factor : tuple of float, or None
        See :func:`_energy_factor`.
    history : list of dict
    """

    route: Curves
    bootstraps: list[Weighting]
    offsets: FloatArray
    factor: tuple[float, float] | None
    history: list[Record]


def learn_enthalpy(
    v: Standardised,
    pool: Pool,
    held_out: BoolArray,
    energy: FloatArray | None,
    n_bootstraps: int,
    seeds: IntArray,
    rng: np.random.Generator,
) -> Learned:
    """Learn the curve u(beta; v) of every frame from its temperature and, if known, its energy.

    A network is trained for a while. What it is linear in stays; how the curves depend on that is
    then solved for exactly on all frames, and once more for each bootstrap over blocks. How many
    functions of beta the curves need is what frames not seen would lose least with; each bootstrap
    asks its own blocks. Bootstraps take turns on four networks, so that their spread is that of
    networks and orders too, and the mean of the networks answers.

    Parameters
    ----------
    v : Standardised of shape (n_frames, n_inputs)
        What the curves are functions of.
    pool : Pool
    held_out : ndarray of bool, shape (n_frames,)
        Frames that decide how long a network is trained.
    energy : ndarray of shape (n_frames,), or None
        Potential energies.
    n_bootstraps : int
        Without any, one network.
    seeds : ndarray of int, shape (4,)
        One a network.
    rng : Generator
        For the bootstraps.
    """
    n_networks = N_NETWORKS if n_bootstraps else 1
    history: list[Record] = []
    bootstraps: list[Weighting] = []
    routes: list[Curves] = []
    choice: _Choice | None = None
    offsets, factor = np.zeros(len(pool.betas)), None
    x = features_of(v, torch.device("cpu"))
    plan = SHARED_PLAN if n_bootstraps else PLAN
    for k in range(n_networks):
        fit = _fit(v, x, pool, held_out, energy, int(seeds[k]), choice, plan)
        choice = fit.choice
        if k == 0 and energy is not None and len(pool.betas) > 1:
            factor = _energy_factor(fit, rng)
        n_draws = len(range(k, n_bootstraps, n_networks))
        draws = [pool.redrawn(rng) for _ in range(n_draws)]
        # the first from nothing: what answers without bootstraps hangs on no start
        start = (fit.trained,) if k else ()
        solutions = _solutions(fit, draws, start)
        read = _Read(fit.units, fit.problem.units if len(fit.rows) == len(v) else None)
        history += fit.history
        del fit  # and with it the problem of its last layer
        route, offsets, others = _solved(read, solutions, v, pool, draws)
        routes.append(route)
        bootstraps += others
    return Learned(_mean(routes), bootstraps, offsets, factor, history)


def _mean(routes: list[Curves]) -> Curves:
    """Return the mean of the curves of several networks."""
    if len(routes) == 1:
        return routes[0]
    coefficients = np.mean([route.coefficients for route in routes], axis=0)
    outside = [r.heat_capacities for r in routes if r.heat_capacities is not None]
    heat_capacities = np.mean(outside, axis=0) if outside else None
    return Curves(coefficients, routes[0].betas, heat_capacities)


def _solutions(
    fit: _Fit, draws: list[FloatArray], start: tuple[Solution, ...]
) -> list[tuple[Solution, ...]]:
    """Solve one network's last layer on all frames, and on bootstraps, each with its order."""
    first = fit.solve(fit.pool.weights, fit.choice.order(), start)
    return [first, *_redrawn(fit, draws, first)]


class _Read(NamedTuple):
    """What the last layer of a network reads.

    Attributes
    ----------
    units : callable
        Standardised inputs to what the curves are linear in.
    every : Tensor of shape (n_frames, n_units), or None
        Those of every frame, where they are at hand.
    """

    units: UnitsOf
    every: torch.Tensor | None


def _solved(
    read: _Read,
    solutions: list[tuple[Solution, ...]],
    v: Standardised,
    pool: Pool,
    draws: list[FloatArray],
) -> tuple[Curves, FloatArray, list[Weighting]]:
    """Return what the solutions of one network tell.

    The first gives the curves and the f_k; bootstraps serve error bars only and are kept in single
    precision.
    """
    answer, *others = _curves(read, v, pool, solutions)
    bootstraps = []
    for route, solution, times in zip(others, solutions[1:], draws, strict=True):
        reduced, f = reduced_at(route, pool.betas), solution[-1].f.numpy()
        solved = Weighting.of(route.single(), f, reduced, pool.weights_of(times))
        log_base = solved.log_base.astype(np.float32)
        bootstraps.append(Weighting(route.single(), solved.log_counts, log_base, times=times))
    log_counts = solutions[0][-1].f.numpy()
    return answer, log_counts - np.log(pool.counts) + np.log(pool.counts[0]), bootstraps


def _redrawn(
    fit: _Fit, draws: list[FloatArray], first: tuple[Solution, ...]
) -> list[tuple[Solution, ...]]:
    """Solve for bootstraps, each with its order, from the solution of all frames."""
    weights = torch.from_numpy(fit.pool.weights[fit.rows])
    blocks = torch.from_numpy(fit.pool.strata[0][fit.rows]).long()
    orders = [fit.choice.order(times) for times in draws]
    solutions: dict[int, tuple[Solution, ...]] = {}
    for order in set(orders):
        chosen = [b for b, own in enumerate(orders) if own == order]
        times = torch.from_numpy(np.stack([draws[b] for b in chosen]))
        starts = fit.solve(fit.pool.weights, order, first)
        each = [
            fit.problem.solve_redrawn(weights, times, blocks, fit.choice.ridges[o.order], o)
            for o in starts
        ]
        solutions |= dict(zip(chosen, zip(*each, strict=True), strict=True))
    return [solutions[b] for b in range(len(draws))]


class _Choice(NamedTuple):
    """How hard the last layer is held back, and what each order loses.

    Attributes
    ----------
    ridges : dict of int to Tensor of shape (order,)
    losses : dict of int to ndarray of shape (n_blocks,)
        By order: loss of the frames of each block; they sum to the mean loss.
    owed : dict of int to float
        How much more frames not seen would lose.
    """

    ridges: dict[int, torch.Tensor]
    losses: dict[int, FloatArray]
    owed: dict[int, float]

    def order(self, times: FloatArray | None = None) -> int:
        """Return the order with which frames not seen lose least, of blocks that come so often."""
        sums = {
            order: float(losses.sum() if times is None else times @ losses) + self.owed[order]
            for order, losses in self.losses.items()
        }
        return min(sums, key=lambda order: (sums[order], order))


@dataclass(frozen=True)
class _Fit:
    """A trained network and the problem of its last layer."""

    units: UnitsOf
    pool: Pool
    rows: IntArray
    problem: LastLayer
    choice: _Choice
    trained: Solution
    history: list[Record]

    def solve(
        self, weights: FloatArray, order: int, start: tuple[Solution, ...] = ()
    ) -> tuple[Solution, ...]:
        """Solve for the last layer; order 3 takes that of order 2 along, for outside."""
        used = torch.from_numpy(weights[self.rows])
        solutions: list[Solution] = []
        for o in (2, 3) if order == 3 else (order,):
            near = [one for one in start if one.order == o] or [*start] or solutions
            begin = near[-1] if near else None
            solutions.append(self.problem.solve(used, self.choice.ridges[o], begin))
        return tuple(solutions)


def _curves(
    read: _Read, v: Standardised, pool: Pool, solutions: list[tuple[Solution, ...]]
) -> list[Curves]:
    """Return the curves of every frame for each solution."""
    each = [one for pair in solutions for one in pair]
    width = _width(pool)
    slopes = torch.cat(
        [one.slopes / torch.from_numpy(width ** np.arange(1.0, one.order + 1)) for one in each],
        dim=1,
    )
    units = read.units
    if read.every is None:
        blocks = v.over(lambda block: (units(block) @ slopes).numpy())
    else:
        blocks = iter([(read.every @ slopes).numpy()])
    columns = [np.empty((len(v), one.order)) for one in each]
    cuts, done = np.cumsum([one.order for one in each])[:-1], 0
    for block in blocks:
        for column, part in zip(columns, np.split(block, cuts, axis=1), strict=True):
            column[done : done + len(block)] = part
        done += len(block)
    betas, routes = pool.betas, []
    for pair in solutions:
        outside = None
        if len(pair) == 2:
            outside = -(betas.mean() ** 2) * columns.pop(0)[:, 1]
        routes.append(Curves(columns.pop(0), betas, outside))
    return routes


def _fit(
    v: Standardised,
    x: Features,
    pool: Pool,
    held_out: BoolArray,
    energy: FloatArray | None,
    seed: int,
    choice: _Choice | None,
    plan: Plan,
) -> _Fit:
    """Train a network; the first one's last layer decides, by held-out frames, for all."""
    functions, orders = _functions(pool), _orders(pool, energy is not None)
    scaled = None if energy is None else _scaled(energy, pool)
    classifier, history = _train(
        x, v.shape[1], pool, held_out, scaled, functions.upto(min(2, max(orders))), seed, plan
    )

    def units(block: FloatArray) -> torch.Tensor:
        with torch.no_grad():
            values = classifier.units(torch.from_numpy(block))
            return torch.cat((values, classifier.last(values)), dim=1)

    n_outputs = min(2, max(orders))
    n_units = v.shape[1] + HIDDEN[-1] + n_outputs
    rows = np.arange(0, len(v), -(-len(v) * n_units // MOST_NUMBERS))
    values = torch.empty(len(rows), n_units, dtype=torch.float64, device="cpu")
    step = max(1, step_of(v.X) * len(rows) // len(v))  # rows between them count as read
    filled(values, (units(v[rows[k : k + step]]) for k in range(0, len(rows), step)))
    centre = values.mean(dim=0)
    values -= centre
    scale = torch.linalg.vector_norm(values, dim=0) / np.sqrt(len(values) - 1)
    # one scale for all hidden units: one that only rare frames switch on stays small
    scale[: HIDDEN[-1]] = scale[: HIDDEN[-1]].square().mean().sqrt()
    scale[~(scale > LEAST_SCALE)] = 1.0
    values /= scale
    held_back = torch.ones(n_units, dtype=torch.float64, device="cpu")
    held_back[-n_outputs:] = OF_OUTPUTS
    problem = LastLayer(
        values,
        torch.from_numpy(pool.origin[rows]).long(),
        functions,
        held_back,
        None if scaled is None else torch.from_numpy(scaled[rows]),
    )
    trained = _trained(classifier, centre, scale)
    if choice is None:
        choice = _chosen(problem, pool, rows, orders, trained)
    return _Fit(
        lambda block: (units(block) - centre) / scale,
        pool, rows, problem, choice, trained, history,
    )  # fmt: skip


def _trained(
    classifier: TemperatureClassifier, centre: torch.Tensor, scale: torch.Tensor
) -> Solution:
    """Return the network's own answer, which its outputs, the last of the units, are."""
    order = len(classifier.values)
    slopes = torch.zeros(len(scale), order, dtype=torch.float64, device="cpu")
    slopes[-order:] = torch.diag(scale[-order:])
    f = classifier.f.detach() + classifier.log_counts - centre[-order:] @ classifier.values
    return Solution(slopes, f - f[0], None)


def _chosen(
    problem: LastLayer, pool: Pool, rows: IntArray, orders: tuple[int, ...], solution: Solution
) -> _Choice:
    """Choose the ridge of the first function, and that of all others, by what each would lose."""
    choice, first, higher = _Choice({}, {}, {}), RIDGES[0], MIDDLE_RIDGE
    for order in range(1, max(orders) + 1):
        tried = []
        # the first function's is chosen alone, and anew beside the second
        for r in RIDGES if order < 3 else ():
            tried.append(_tried(problem, pool, rows, [r, *[higher] * (order - 1)], solution))
            solution = tried[-1].solution
        first = float(min(tried, key=_expected).ridge[0]) if tried else first
        for r in HIGHER_RIDGES if order > 1 else ():
            tried.append(_tried(problem, pool, rows, [first, *[r] * (order - 1)], solution))
            solution = tried[-1].solution
        best = min(tried, key=_expected)
        solution, choice.ridges[order] = best.solution, best.ridge
        if order in orders:
            choice.losses[order], choice.owed[order] = best.losses, best.owed
    return choice


class _Tried(NamedTuple):
    """A solution with some ridge: losses by block, and how much more frames not seen would lose."""

    ridge: torch.Tensor
    solution: Solution
    losses: FloatArray
    owed: float


def _expected(tried: _Tried) -> float:
    """Return the mean loss of frames not seen."""
    return float(tried.losses.sum()) + tried.owed


def _tried(
    problem: LastLayer, pool: Pool, rows: IntArray, ridges: list[float], start: Solution | None
) -> _Tried:
    """Solve with a ridge, and estimate how much of its loss the fit owes to these frames alone.

    With g_b what block b adds to the gradient and H the curvature that is sum_b g_b . H^-1 g_b:
    Takeuchi's criterion, over blocks that count as independent.
    """
    ridge = torch.tensor(ridges, dtype=torch.float64, device="cpu")
    weights = torch.from_numpy(pool.weights[rows])
    blocks = torch.from_numpy(pool.strata[0][rows]).long()
    solution = problem.solve(weights, ridge, start)
    gradients = problem.block_gradients(weights, solution, blocks, pool.n_blocks)
    centred = torch.from_numpy(pool.centred(gradients.numpy())).nan_to_num()
    factor = torch.linalg.cholesky(problem.curvature(weights, ridge, solution))
    owed = float((centred.T * torch.cholesky_solve(centred.T, factor)).sum())
    losses = pool.block_sums(problem.loss(weights, solution).numpy()[:, None], rows)[:, 0]
    return _Tried(ridge, solution, losses, owed)


def _energy_factor(fit: _Fit, rng: np.random.Generator) -> tuple[float, float]:
    """Return what energies change by, in what the temperatures say that they should, and its error.

    For any function h of what is read, temperatures tell a slope s of the reduced energy in h, and
    the mean energy of a temperature's own frames changes with h by a slope g: their ratio is 1.
    Energies in another unit give that unit, energies of other frames 0. h is learned from one half
    of the blocks, and both slopes are those of the other half, so that no fit is judged by itself;
    what the two halves tell apart is the error. The g of several temperatures add up by the
    trapezoidal rule in beta, whose own error is a share of what they differ by.
    """
    problem, pool = fit.problem, fit.pool
    rows = np.arange(0, len(fit.rows), max(1, len(fit.rows) // FACTOR_ROWS))
    functions = problem.functions.upto(1)
    some = LastLayer(problem.units[rows], problem.k[rows], functions, problem.held_back)
    energy = torch.as_tensor(problem.energy, device="cpu")[rows]
    tried, start = [], None
    for _ in range(FACTOR_DRAWS):
        drawn = [pool.weights_of(times)[fit.rows[rows]] for times in pool.halved(rng)]
        parts = [torch.from_numpy(weights) for weights in drawn]
        solutions = [some.solve(weights, FACTOR_RIDGE, start) for weights in parts]
        start = solutions[0]
        h = [some.units @ solution.slopes[:, 0] for solution in solutions]
        pairs = zip(h[::-1], parts, strict=True)
        tried.append([_ratios(some, one, energy, weights) for one, weights in pairs])
    step = np.abs(np.gradient(pool.betas)) if len(pool.betas) > 2 else np.ones(2)
    each = np.array(tried)
    factors = each @ step / step.sum()
    systematic = np.ptp(np.median(each, axis=(0, 1))) / 6
    variance = np.mean(np.square(factors[:, 0] - factors[:, 1])) / 4
    error = np.sqrt(variance + systematic**2 + FACTOR_FLOOR**2)
    return float(np.median(factors.mean(axis=1))), float(error)


def _ratios(
    layer: LastLayer, h: torch.Tensor, energy: torch.Tensor, weights: torch.Tensor
) -> FloatArray:
    """Return the slopes of energies in h, of every temperature, over that of the classes."""
    h = (h - h.mean()) / h.std().clamp_min(LEAST_SCALE)
    line = LastLayer(h[:, None], layer.k, layer.functions, h.new_ones(1))
    slope = line.solve(weights, LINE_RIDGE).slopes[0, 0]
    slopes = []
    for j in range(layer.functions.values.shape[1]):
        w = weights * (layer.k == j)
        w = w / w.sum()
        u, a = (x - w @ x for x in (energy, h))
        slopes.append((w * u) @ a / ((w * a) @ a).clamp_min(LEAST_SCALE))
    return (torch.stack(slopes) / slope).numpy()


def _width(pool: Pool) -> float:
    """Return the simulated range of beta, in which energies are measured; beta itself for one."""
    return float(np.ptp(pool.betas)) if len(pool.betas) > 1 else float(pool.betas[0])


def _scaled(energy: FloatArray, pool: Pool) -> FloatArray:
    """Return energies in units where the range of beta is 1, less the mean of their temperature."""
    total = np.maximum(pool.counts, np.finfo(float).tiny)
    mean = np.bincount(pool.origin, pool.weights * energy, minlength=len(total)) / total
    return np.asarray((energy - mean[pool.origin]) * _width(pool))


def _functions(pool: Pool) -> Functions:
    """Return the functions of beta at the simulated temperatures, beta's range being 1."""
    betas = pool.betas / _width(pool)
    return Functions(*(torch.from_numpy(f) for f in curve_functions(betas, betas, 3)))


def _orders(pool: Pool, with_energies: bool) -> tuple[int, ...]:
    """Return how many functions of beta the data may fix."""
    n = len(pool.betas)
    if with_energies:
        return (2,) if n == 1 else (1, 2, 3)
    return (1,) if n == 2 else (1, 2)


def _train(
    x: Features,
    n_inputs: int,
    pool: Pool,
    held_out: BoolArray,
    energy: FloatArray | None,
    functions: Functions,
    seed: int,
    plan: Plan,
) -> tuple[TemperatureClassifier, list[Record]]:
    """Train the network by stochastic gradients; return it in double precision."""
    generator = torch.Generator().manual_seed(seed)
    fractions = pool.counts / pool.counts.sum()
    classifier = TemperatureClassifier(
        n_inputs=n_inputs,
        functions=Functions(*(f.float() for f in functions)),
        log_counts=torch.tensor(np.log(fractions), dtype=torch.float32, device="cpu"),
        hidden_features=HIDDEN,
        generator=generator,
    )
    k, weights = as_index(pool.origin), torch.from_numpy(pool.weights.astype(np.float32))
    train, judged = (
        as_index(np.flatnonzero(mask & (pool.weights > 0))) for mask in (~held_out, held_out)
    )
    energies = None if energy is None else torch.from_numpy(energy.astype(np.float32))
    history = train_classifier(classifier, x, k, weights, energies, train, judged, generator, plan)
    return classifier, history
