"""Stuck and drifting simulations: halves against each other, trajectories against the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import f, norm, t

from latflow._typing import BoolArray, FloatArray, IntArray
from latflow.thermodynamics.connection import passages
from latflow.trajectories import Frames
from latflow.units import Units, with_error

N_BLOCKS = 10  # of a trajectory at one temperature; five of each half
HALVES = (slice(N_BLOCKS // 2), slice(N_BLOCKS // 2, None))
FEWEST_FRAMES = 2 * N_BLOCKS  # that are worth cutting
FALSE_ALARMS = 0.002  # of a whole fit, were the errors Gaussian and exact
HEAVY_TAILS = 1.1  # times that limit: errors are estimated from few blocks and few crossings
FEW_CROSSINGS = 8  # of a trajectory, in all
FEWEST_ALIKE = 10  # trajectories, from which on each is a block and errors are their scatter
FAR_MORE = 2.5  # scatter of trajectories, in what their own blocks explain
LEAST_SCATTER = 0.05  # of a population, that is worth a word


@dataclass(frozen=True)
class Unsettled:
    """A population that a simulation had not settled to.

    Attributes
    ----------
    temperature : float
    trajectory : int or None
        Number of the trajectory, from 0; None where all of the temperature are meant.
    state : int
    kind : {"halves", "trajectories", "starts"}
        "halves": `values` are the population in the first and in the second half of the time.
        "trajectories": that of this trajectory and that of all others of the temperature.
        "starts": lowest and highest population of a trajectory (or half, where there is one
        trajectory) of the temperature: they scatter far more than their own blocks explain, and
        few crossings were seen.
    values, errors : tuple of float
        The two populations and their standard errors.
    z : float
        Difference in combined errors; for "starts" the scatter, in what the blocks explain.
    crossings : float
        Crossings into and out of the state: of the frames compared, or for "starts" the mean of
        the trajectories.
    """

    temperature: float
    trajectory: int | None
    state: int
    kind: str
    values: tuple[float, float]
    errors: tuple[float, float]
    z: float
    crossings: float

    def sentence(self, units: Units) -> str:
        """Return what a user should know, in one sentence."""
        a, b = map(with_error, self.values, self.errors)
        where = units.named(round(self.temperature, 4))
        if self.kind == "starts":
            low, high = self.values
            return (
                f"At {where} trajectories are in state {self.state} from {low:.2f} to {high:.2f} "
                f"of their time, {self.z:.1f} times the scatter that their own blocks explain, and "
                f"enter or leave it {self.crossings:.1f} times each: they are too short to forget "
                "how they started, and its population is known only as far as the starts were "
                "drawn from equilibrium; simulate longer."
            )
        if self.kind == "trajectories":
            return (
                f"At {where} trajectory {self.trajectory} is in state {self.state} for {a} of its "
                f"time and the others for {b}, {self.z:.1f} errors apart: one or the other is "
                "stuck; simulate longer."
            )
        what = "all trajectories" if self.trajectory is None else f"trajectory {self.trajectory}"
        return (
            f"At {where} state {self.state} holds {a} of the first half of {what} and {b} of the "
            f"second half, {self.z:.1f} errors apart: the simulation drifts or is stuck; simulate "
            "longer, or leave its beginning out."
        )


@dataclass(frozen=True)
class _Tally:
    """Trajectories of one temperature (G), their blocks (B), states (S)."""

    temperature: float
    trajectory: IntArray  # (G,)
    size: FloatArray  # (G, B): frames times their mean weight
    weight: FloatArray  # (G, B)
    held: FloatArray  # (G, B, S): weight of the frames in a state
    n_frames: IntArray  # (G,)
    crossings: FloatArray  # (G, S): at this temperature
    walked: FloatArray  # (G, S): of the whole trajectories, at all temperatures
    drawn: BoolArray  # (G,): whether these are equilibrium draws

    @property
    def population(self) -> FloatArray:
        """Of every state, pooled."""
        return np.asarray(self.held.sum((0, 1)) / self.weight.sum())

    def telegraph(self, crossings: FloatArray, local: FloatArray) -> FloatArray:
        """Return the variance of a population that this many crossings leave unknown.

        It is that between the whole population and the local one: one visit to a rare state fills
        a short trajectory, and is none that the rare state's own variance would expect.
        """
        middle = (self.population + np.clip(local, 0, 1)) / 2
        return np.asarray(4 * (middle * (1 - middle)) ** 2 / np.maximum(crossings, 1))

    def over(self, blocks: slice) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return size, populations and variances by blocks of each trajectory's blocks.

        Populations are the whole one and what these blocks pull it by: frames that weigh little
        pull little, however few states they visit.
        """
        size = self.size[:, blocks]
        pull = self.held[:, blocks] - self.weight[:, blocks, None] * self.population
        total = size.sum(1)[:, None]
        change = pull.sum(1) / total
        residual = pull - size[:, :, None] * change[:, None]
        n = size.shape[1]
        return total, self.population + change, n / (n - 1) * (residual**2).sum(1) / total**2


def settling(frames: Frames, states: IntArray, n_states: int, lagtime: int) -> list[Unsettled]:
    """Return the populations that some simulation had not settled to, the worst first.

    At every temperature, for every trajectory and state, the first half of the time is compared
    with the second and the trajectory with the others. The variance of a population p is the
    larger of that by contiguous blocks and, since blocks see nothing of what is slower than they
    are, 4 p^2 (1 - p)^2 / N: that of a two-state process which crossed N times, at least once.
    Equilibrium draws have p (1 - p) / n instead. Where there are ten trajectories or more it is
    not less than how the others scatter, which errors by trajectories allow for: what is slower
    than the crossings of one state, as exchange with a third, is no fault of one trajectory. The
    limit rises with the number of comparisons.

    Parameters
    ----------
    frames : Frames
    states : ndarray of int, shape (n_frames,)
    n_states : int
    lagtime : int
        In frames; a visit shorter than that is no visit.

    Returns
    -------
    list of Unsettled
        At each temperature the worst of each kind. Bare pairs give none.
    """
    if frames.bare_pairs is not None:
        return []
    tallies = list(_tallies(frames, states, n_states, lagtime))
    n_compared = n_states * sum(2 * len(tally.trajectory) for tally in tallies)
    together = _limit(n_states * len(tallies))
    found: list[Unsettled] = []
    for tally in tallies:
        one = _limit(n_compared, drawn=bool(tally.drawn.any()))
        every = [item for item in [*_halves(tally), *_trajectories(tally)] if item.z > one]
        every += [item for item in _halves_together(tally) if item.z > together]
        every += _starts(tally)
        every.sort(key=lambda item: -item.z)
        worst = {item.kind: item for item in reversed(every)}
        found += worst.values()
    return sorted(found, key=lambda item: -item.z)


def _limit(n_compared: int, *, drawn: bool = False) -> float:
    """Return how many errors apart the worst of so many comparisons may be.

    No crossings bound the errors of draws from below, which leaves those of two times five blocks.
    """
    tail = FALSE_ALARMS / 2 / max(n_compared, 1)
    return HEAVY_TAILS * float(t.isf(tail, N_BLOCKS - 2) if drawn else norm.isf(tail))


def _tallies(frames: Frames, states: IntArray, n_states: int, lagtime: int) -> Iterator[_Tally]:
    """Yield the tally of each temperature that has trajectories long enough to be cut."""
    n_trajectories = int(frames.trajectory.max()) + 1
    left, reached = passages(frames, states, lagtime)
    n_crossings = np.zeros((len(frames.temperatures), n_trajectories, n_states))
    for rows in (left, reached):
        np.add.at(n_crossings, (frames.origin[left], frames.trajectory[left], states[rows]), 1)
    for k, temperature in enumerate(frames.temperatures):
        rows = np.flatnonzero(frames.origin == k)
        rows = rows[np.lexsort((frames.frame[rows], frames.trajectory[rows]))]
        numbers, group, size = np.unique(
            frames.trajectory[rows], return_inverse=True, return_counts=True
        )
        place = np.arange(len(rows)) - np.repeat(np.cumsum(size) - size, size)
        block = group * N_BLOCKS + place * N_BLOCKS // size[group]
        shape, w = (len(numbers), N_BLOCKS), frames.weights[rows]
        weight = np.bincount(block, w, shape[0] * shape[1])
        held = np.bincount(block * n_states + states[rows], w, weight.size * n_states)
        weight = weight.reshape(shape)
        long = (size >= FEWEST_FRAMES) & (weight > 0).all(1)
        if not long.any():
            continue
        drawn = np.zeros(len(numbers), dtype=bool)
        if frames.dynamics is not None:
            drawn = ~frames.dynamics[rows[np.cumsum(size) - size]]
        held = held.reshape(*shape, n_states)
        n_frames = np.bincount(block, minlength=weight.size).reshape(shape)[long]
        tally = _Tally(
            float(temperature), numbers[long], n_frames * w.mean(), weight[long].astype(np.float64),
            held[long].astype(np.float64), size[long], n_crossings[k, numbers[long]],
            n_crossings[:, numbers[long]].sum(0), drawn[long],
        )  # fmt: skip
        p = tally.population
        independent = 4 * p * (1 - p) * tally.n_frames[:, None]
        crossings = np.where(tally.drawn[:, None], independent, tally.crossings)
        yield replace(tally, crossings=crossings)


def _halves(tally: _Tally) -> Iterator[Unsettled]:
    """Yield the comparisons of the halves of each trajectory."""
    parts = [tally.over(half) for half in HALVES]
    telegraph = tally.telegraph(tally.crossings / 2, tally.over(slice(None))[1])
    values = [value for _, value, _ in parts]
    half = _scatter_of_others(values[0] - values[1], about_zero=True) / 2
    variances = [np.maximum(np.maximum(v, telegraph), half) for *_, v in parts]
    yield from _compared(tally, "halves", values, variances, tally.crossings, tally.trajectory)


def _halves_together(tally: _Tally) -> Iterator[Unsettled]:
    """Yield the comparisons of the first halves of all trajectories with the second halves."""
    if len(tally.trajectory) == 1:
        return
    n_crossings = tally.crossings.sum(0)
    values, variances = [], []
    for weight, value, by_blocks in map(tally.over, HALVES):
        share = weight / weight.sum()
        values.append((share * value).sum(0)[None])
        together = (share**2 * by_blocks).sum(0)
        variances.append(
            np.maximum(together, tally.telegraph(n_crossings / 2, tally.population))[None]
        )
    yield from _compared(tally, "halves", values, variances, n_crossings[None], [None])


def _trajectories(tally: _Tally) -> Iterator[Unsettled]:
    """Yield the comparisons of each trajectory with the others."""
    if len(tally.trajectory) == 1:
        return
    weight, value, by_blocks = tally.over(slice(None))
    rest = weight.sum() - weight
    others = ((weight * value).sum(0) - weight * value) / rest
    squares = weight**2 * by_blocks
    by_others = (squares.sum(0) - squares) / rest**2
    # were all alike, each would have its share of all the crossings
    share = tally.n_frames[:, None] / tally.n_frames.sum()
    n_crossings = tally.crossings.sum(0)
    alone = np.maximum(by_blocks, tally.telegraph(n_crossings * share, value))
    variances = [
        np.maximum(alone, _scatter_of_others(value)),
        np.maximum(by_others, tally.telegraph(n_crossings * (1 - share), others)),
    ]
    numbers = tally.trajectory
    yield from _compared(
        tally, "trajectories", [value, others], variances, tally.crossings, numbers
    )


def _scatter_of_others(values: FloatArray, *, about_zero: bool = False) -> FloatArray:
    """Return the variance of the values of all other trajectories; 0 where there are few.

    Parameters
    ----------
    values : ndarray of shape (n_trajectories, n_states)
    about_zero : bool, default=False
        Whether their mean is known to be zero.
    """
    n = len(values)
    if n < FEWEST_ALIKE:
        return np.zeros_like(values)
    squares = (values**2).sum(0) - values**2
    if about_zero:
        return np.asarray(squares / (n - 1))
    sums = values.sum(0) - values
    return np.asarray(np.maximum(0.0, squares - sums**2 / (n - 1)) / (n - 2))


def _compared(
    tally: _Tally,
    kind: str,
    values: list[FloatArray],
    variances: list[FloatArray],
    crossings: FloatArray,
    numbers: IntArray | list[None],
) -> Iterator[Unsettled]:
    """Yield every pair of populations, with how many errors they are apart."""
    errors = np.sqrt(variances)
    with np.errstate(invalid="ignore", divide="ignore"):
        z = np.nan_to_num(np.abs(values[0] - values[1]) / np.sqrt(sum(variances)))
    for g, number in enumerate(numbers):
        for s in range(z.shape[1]):
            yield Unsettled(
                tally.temperature, None if number is None else int(number), s, kind,
                _shown(values[0][g, s], values[1][g, s]),
                (float(errors[0][g, s]), float(errors[1][g, s])),
                float(z[g, s]), float(crossings[g, s]),
            )  # fmt: skip


def _shown(low: float, high: float) -> tuple[float, float]:
    """Return two populations; uneven weights pull some out of the interval from 0 to 1."""
    return float(np.clip(low, 0, 1)), float(np.clip(high, 0, 1))


def _starts(tally: _Tally) -> Iterator[Unsettled]:
    """Yield the states whose trajectories differ far more than their blocks explain."""
    if tally.drawn.any():
        return
    parts = [tally.over(slice(None))]
    if len(tally.trajectory) == 1:
        parts = [tally.over(half) for half in HALVES]
    value, by_blocks = (np.concatenate([part[m] for part in parts]) for m in (1, 2))
    n, n_blocks = len(value), N_BLOCKS // len(parts)
    explained = by_blocks.mean(0)
    scatter = value.var(0, ddof=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(scatter > LEAST_SCATTER**2, scatter / explained, 0.0)
    alpha = FALSE_ALARMS / 2 / value.shape[1]
    limit = max(FAR_MORE**2, float(f.isf(alpha, n - 1, n * (n_blocks - 1))))
    n_crossings = tally.walked.mean(0)
    for s in np.flatnonzero((ratio > limit) & (n_crossings < FEW_CROSSINGS)):
        low, high = int(np.argmin(value[:, s])), int(np.argmax(value[:, s]))
        yield Unsettled(
            tally.temperature, None, int(s), "starts",
            _shown(value[low, s], value[high, s]),
            (float(by_blocks[low, s] ** 0.5), float(by_blocks[high, s] ** 0.5)),
            float(ratio[s] ** 0.5), float(n_crossings[s]),
        )  # fmt: skip
