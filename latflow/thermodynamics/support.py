"""How far answers are trusted: what was observed on the way to them, in numbers and in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse.csgraph import connected_components

from latflow._typing import BoolArray, FloatArray, IntArray
from latflow._validation import warn
from latflow.thermodynamics.connection import crossings, lasting
from latflow.thermodynamics.settling import settling
from latflow.thermodynamics.weighting import Weighting
from latflow.trajectories import Frames
from latflow.units import Units

CLASSES = ("supported", "extrapolated", "unsupported")  # best first
LEAST_OVERLAP = 0.03  # of neighbouring temperatures, in MBAR's overlap matrix
LEAST_FRACTION = 0.05  # effective sample size, in that at the nearest simulated temperature
FEWEST_CROSSINGS, ENOUGH_CROSSINGS = 3, 10  # each way
SMALL_ERROR, LARGE_ERROR = 0.02, 0.25  # largest standard error of a population
MOST_TOLD = 3  # of what had not settled
SEEN = 0.02  # least population of a state whose crossings matter


def role_of(temperature: float, simulated: ArrayLike) -> str:
    """Return the role of a temperature: "simulated", "between" simulated ones, or "beyond" them.

    Examples
    --------
    >>> [role_of(t, [300, 450]) for t in (300, 350, 500)]
    ['simulated', 'between', 'beyond']
    """
    temperatures = np.asarray(simulated, dtype=np.float64)
    if np.isclose(temperature, temperatures).any():
        return "simulated"
    return "between" if temperatures.min() < temperature < temperatures.max() else "beyond"


@dataclass(frozen=True, eq=False)
class Evidence:
    """What was observed of the way from one temperature, and from one state, to another.

    Attributes
    ----------
    overlap : ndarray of shape (n_temperatures, n_temperatures)
        MBAR's overlap matrix: probability that a frame of one temperature came from another.
    crossings : ndarray of int, shape (n_states, n_states)
        How often walkers went from one state to another, at all temperatures. Equilibrium draws of
        one temperature count as often as the rarer of both states has some there, each way. The
        diagonal counts frames of visits that last: a state without is none that could be stuck.
    drawn : bool
        Whether there are draws only, so that nothing was seen to cross.
    unsettled : tuple of str
        What had not settled, one sentence each.
    passages : ndarray of int, shape (n_temperatures, n_states), or None
        How often each state was entered or left at each temperature; None if not known.
    """

    overlap: FloatArray
    crossings: IntArray
    drawn: bool
    unsettled: tuple[str, ...]
    passages: IntArray | None = None

    @classmethod
    def of(
        cls,
        frames: Frames,
        answer: Weighting,
        units: Units,
        states: IntArray | None,
        n_states: int,
        lagtime: int,
    ) -> Evidence:
        """Return the evidence of some frames for the answers of a weighting."""
        overlap = _overlap_matrix(answer)
        if states is None:
            return cls(overlap, np.zeros((0, 0), dtype=np.int64), False, ())
        counts = crossings(frames, states, n_states, lagtime) * frames.ordered
        drawn = np.full(len(frames), not frames.ordered)
        if frames.dynamics is not None:
            drawn |= ~frames.dynamics
        met = _met(frames, states, n_states, drawn)
        passages = counts.sum(axis=1) + counts.sum(axis=2)
        apart = ~np.eye(n_states, dtype=bool)
        passages += 2 * (met * apart).sum(axis=2)
        problems = settling(frames, states, n_states, lagtime) if frames.ordered else []
        sentences = tuple(problem.sentence(units) for problem in problems)
        counts = counts.sum(axis=0) + (met * apart).sum(axis=0)
        known = drawn | lasting(frames, states, lagtime)
        counts[~apart] = np.bincount(states[known], minlength=n_states)
        return cls(overlap, counts, bool(drawn.all()), sentences, passages)

    def warn_of_unsettled(self) -> None:
        """Warn of what had not settled: of the three worst, and how many more there are."""
        told, more = self.unsettled[:MOST_TOLD], len(self.unsettled) - MOST_TOLD
        for sentence in told:
            warn(sentence)
        if more > 0:
            warn(f"{more} more had not settled: `evidence.unsettled` of the ensemble names them.")

    def unknown(self, temperature: float, simulated: FloatArray) -> str | None:
        """Return why nothing is known of the populations at a temperature, or None."""
        return self._unconnected() or self._apart(temperature, simulated)

    def bottleneck(self, populations: FloatArray) -> float:
        """Return the crossings each way that the populations rest on: the fewest, on the best way.

        Only states matter that hold something there, or may: n crossings each way leave the
        logarithm of a population unsure by sqrt(2 / n), of which three are allowed for.
        """
        best = np.minimum(self.crossings, self.crossings.T).astype(float)
        np.fill_diagonal(best, np.inf)
        for via in range(len(best)):
            best = np.maximum(best, np.minimum(best[:, via, None], best[None, via]))
        apart = self.crossings * ~np.eye(len(best), dtype=bool)
        each_way = np.maximum(np.minimum(apart.sum(axis=0), apart.sum(axis=1)), 1)
        held = np.flatnonzero(populations * np.exp(3 * np.sqrt(2 / each_way)) >= SEEN)
        return float(best[np.ix_(held, held)].min()) if len(held) else np.inf

    @property
    def settled(self) -> bool:
        """Whether nothing had not settled, and all states were entered and left often enough."""
        if not len(self.crossings):
            return True
        share = np.diag(self.crossings) / max(1, np.trace(self.crossings))
        return not self.unsettled and self.bottleneck(share) >= ENOUGH_CROSSINGS

    def _unconnected(self) -> str | None:
        """Return which states were never seen to change into each other."""
        counts = self.crossings
        visited = np.flatnonzero(np.diag(counts))
        n, group = connected_components(counts[np.ix_(visited, visited)], directed=False)
        if n < 2:
            return None
        sets = [visited[group == g].tolist() for g in range(n)]
        seen = "no temperature's draws are in both" if self.drawn else "no trajectory crosses"
        return (
            f"between states {' and '.join(map(str, sets))} {seen}: how they are populated "
            "relative to each other was never observed"
        )

    def shared(self, temperature: float, simulated: FloatArray) -> float:
        """Return the overlap of the simulated temperatures around one; NaN for a single one."""
        k = _below(temperature, simulated)
        if len(simulated) < 2:
            return np.nan
        return float(min(self.overlap[k, k + 1], self.overlap[k + 1, k]))

    def _apart(self, temperature: float, simulated: FloatArray) -> str | None:
        """Return between which simulated temperatures, on the way, too little is shared."""
        k, shared = _below(temperature, simulated), self.shared(temperature, simulated)
        if not shared < LEAST_OVERLAP or role_of(temperature, simulated) == "simulated":
            return None
        return (
            f"simulated temperatures {simulated[k]:g} and {simulated[k + 1]:g} overlap by "
            f"{shared:.2g} only, where {LEAST_OVERLAP:g} is the least: simulate one in between"
        )


def class_of(
    role: str, fraction: float, error: float, n_crossings: float, unsettled: Sequence[str]
) -> tuple[str, str]:
    """Return how far answers are trusted, of :data:`CLASSES`, and why, in words.

    Parameters
    ----------
    role : str
        As :func:`role_of` gives it.
    fraction : float
        Effective sample size as a fraction of that at the nearest simulated temperature.
    error : float
        Largest standard error of a population; NaN for a model without states.
    n_crossings : float
        Crossings each way that the populations rest on.
    unsettled : sequence of str
        What had not settled, the worst first.
    """
    if unsettled:
        return "unsupported", unsettled[0].rstrip(".")
    if fraction < LEAST_FRACTION:
        return "unsupported", f"only {fraction:.1%} of the effective frames are left there"
    if error > LARGE_ERROR:
        return "unsupported", f"the standard error of a population is {error:.2g}"
    if n_crossings < FEWEST_CROSSINGS:
        return "unsupported", f"only {n_crossings:.0f} crossings each way between some states"
    doubts = []
    if role == "beyond":
        doubts.append("outside of the simulated range")
    if error > SMALL_ERROR:
        doubts.append(f"the standard error of a population is {error:.2g}")
    if n_crossings < ENOUGH_CROSSINGS:
        doubts.append(f"{n_crossings:.0f} crossings each way between some states")
    if doubts:
        return "extrapolated", "; ".join(doubts)
    return "supported", "inside the simulated range"


def _below(temperature: float, simulated: FloatArray) -> int:
    """Return which simulated temperature is the lower of the two around one, or outermost."""
    k = np.searchsorted(simulated, temperature) - 1
    return int(np.clip(k, 0, max(0, len(simulated) - 2)))


def _overlap_matrix(answer: Weighting) -> FloatArray:
    """Return sum_n W_in W_jn N_j with each temperature's weights of the pooled frames."""
    pool = answer.pool
    if pool is None:
        raise ValueError("Expected an answer with its pool, got that of a bootstrap.")
    member = answer.membership
    together = member.T @ (pool.weights[:, None] * member)
    return np.asarray(together / pool.counts[:, None])


def _met(frames: Frames, states: IntArray, n_states: int, drawn: BoolArray) -> IntArray:
    """Return how many draws the rarer of two states has at each temperature."""
    n = len(frames.temperatures)
    cells = frames.origin[drawn].astype(np.int64) * n_states + states[drawn]
    counts = np.bincount(cells, minlength=n * n_states).reshape(n, n_states)
    return np.asarray(np.minimum(counts[:, :, None], counts[:, None]))
