"""Checks of data before a fit: trajectories, features, temperatures and energies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

from latflow._typing import BoolArray, FloatArray, IntArray
from latflow._validation import muted
from latflow.doctor import exchange, molecules
from latflow.doctor.findings import Finding, NotChecked, judged, passed
from latflow.estimators.initial_labels import initial_labels
from latflow.estimators.seam import Standardised
from latflow.thermodynamics import pool_of
from latflow.thermodynamics.gaps import MOST_ERRORS, RATIOS, energy_gaps
from latflow.thermodynamics.settling import settling
from latflow.thermodynamics.support import LEAST_OVERLAP
from latflow.trajectories import Frames, in_blocks
from latflow.trajectories.repeats import repeats
from latflow.trajectories.rows import slices_of
from latflow.units import Units, with_error

PERIODS = {"2 pi": 2 * np.pi, "360": 360.0}
JUMP = 0.75  # of a period, from one frame to the next
FILLED = 0.97  # of a period, between the lowest and the highest value
OVER = 1e-3  # of a period, that rounding may add
ENOUGH_PAIRS = 0.5  # of the frames
LONGEST_REST, FEWEST_AT_REST = 0.2, 10  # of a trajectory, and frames, that equal the one before
SAME = 4.0  # roundings between values of a constant
MOST_COMPARED = 2000  # frames by which features are told apart
ROUNDING = {np.dtype(np.float32): 1e-5}  # of standardised features that are the same; else 1e-9
MOST_CLASSIFIED = 4000  # frames of each temperature
STRENGTHS = (1e-4, 1e-2, 1.0)  # of the classifier, from which frames held out choose
N_FOLDS = 3
N_STATES = 4  # provisional ones, before a fit


@dataclass(frozen=True, eq=False)
class Data:
    """Frames to be checked.

    Attributes
    ----------
    frames : Frames
        Those whose numbers are all finite.
    unfinite : Finding
        About the numbers that are not.
    lagtime : int
    units : Units
    structures : mdtraj.Trajectory, list of mdtraj.Trajectory, or None
    seed : int
    """

    frames: Frames
    unfinite: Finding
    lagtime: int
    units: Units
    structures: Any = None
    seed: int = 0

    @cached_property
    def scaling(self) -> tuple[FloatArray, FloatArray, BoolArray]:
        """Mean and scale of every feature, and which are constant: these have scale 1."""
        mean, scale, constant = self.frames.scaling()
        low, high = self.steps.low, self.steps.high
        rounding = SAME * np.finfo(self.frames.X.dtype).eps * np.maximum(np.abs(low), np.abs(high))
        still = constant | (high - low <= rounding)
        return mean, np.where(still, 1.0, scale), still

    @cached_property
    def steps(self) -> Steps:
        """What features do from one frame to the next."""
        return Steps.of(self.frames)

    def called(self, column: int) -> str:
        """Return what a feature is called in a sentence."""
        names = self.frames.feature_names
        if names is None:
            names = (self.frames.manifest or {}).get("feature_names")
        known = names is not None and len(names) == self.frames.X.shape[1]
        return f"column {column} ({names[column]})" if known else f"column {column}"  # type: ignore[index]

    def sample(self, most: int) -> FloatArray:
        """Return some standardised frames, evenly spread."""
        rows = np.arange(0, len(self.frames), max(1, -(-len(self.frames) // most)))
        mean, scale, _ = self.scaling
        return np.asarray((self.frames.X[rows].astype(np.float64) - mean) / scale)


@dataclass(frozen=True, eq=False)
class Steps:
    """What features do from one frame to the next.

    Attributes
    ----------
    low, high : ndarray of shape (n_features,)
        Least and greatest value.
    jumps : dict of str to ndarray of int, shape (n_features,)
        Steps of more than three quarters of a period, by the name of the period.
    same : ndarray of bool, shape (n_frames,)
        Whether a frame equals the one before it in time, in every feature.
    """

    low: FloatArray
    high: FloatArray
    jumps: dict[str, IntArray]
    same: BoolArray

    @classmethod
    def of(cls, frames: Frames) -> Steps:
        """Look at all frames, once."""
        d = frames.X.shape[1]
        low, high = np.full(d, np.inf), np.full(d, -np.inf)
        jumps = {name: np.zeros(d, dtype=np.int64) for name in PERIODS}
        same = np.zeros(len(frames), dtype=bool)
        follows = np.r_[False, (np.diff(frames.trajectory) == 0) & (np.diff(frames.frame) == 1)]
        last: NDArray[Any] | None = None
        blocks = in_blocks(frames.X, np.array)
        for rows, block in zip(slices_of(frames.X), blocks, strict=True):
            low, high = np.minimum(low, block.min(axis=0)), np.maximum(high, block.max(axis=0))
            before = block[:1] if last is None else last
            change = np.abs(np.diff(block, axis=0, prepend=before))[follows[rows]]
            same[np.flatnonzero(follows[rows]) + rows.start] = ~change.any(axis=1)
            for name, period in PERIODS.items():
                jumps[name] += (change > JUMP * period).sum(axis=0)
            last = block[-1:]
        return cls(low, high, jumps, same)


def numbers(data: Data) -> Finding:
    """Whether all features, energies and weights are finite numbers."""
    return data.unfinite


def lengths(data: Data) -> Finding:
    """Whether trajectories are long enough for pairs of frames one lagtime apart."""
    frames = data.frames
    if frames.bare_pairs is not None:
        raise NotChecked("pairs of frames were given, and no trajectories")
    segments = frames.segments()
    followed = [len(rows) for rows in segments]
    n_frames = sum(followed)
    if not n_frames:
        raise NotChecked("all frames are equilibrium draws (dynamics=False), of which none is next")
    n_pairs = sum(max(0, n - data.lagtime) for n in followed)
    inside = {int(frames.trajectory[rows[0]]) for rows in segments if len(rows) > data.lagtime}
    every = {int(frames.trajectory[rows[0]]) for rows in segments if len(rows)}
    n_short, fraction = len(every - inside), n_pairs / n_frames
    figure = (
        f"{fraction:.0%} of the frames have a partner {data.lagtime} frame(s) later, and {n_short} "
        f"of {len(every)} trajectories give no such pair"
    )
    cure = "Take a shorter lagtime, save frames more often, or simulate longer; do not shuffle."
    few = bool(n_short) or fraction < ENOUGH_PAIRS
    return judged(figure, cure, warn=few, fail=not n_pairs, value=fraction)


def twice(data: Data) -> Finding:
    """Whether a trajectory was given twice."""
    pairs = repeats(data.frames)
    if not pairs:
        return passed("no two trajectories hold the same frames", 0.0)
    first, second = pairs[0]
    figure = f"{len(pairs)} pair(s) of trajectories hold the same frames, as {first} and {second}"
    return Finding("fail", figure, "Give every simulation once.", float(len(pairs)))


def at_rest(data: Data) -> Finding:
    """Whether a simulation stopped moving: frames that equal the one before."""
    frames, same = data.frames, data.steps.same
    sizes = np.bincount(frames.trajectory)
    counts = np.bincount(frames.trajectory, same, minlength=len(sizes))
    part = counts / np.maximum(sizes, 1)
    worst = int(np.argmax(part))
    figure = f"at most {part[worst]:.1%} of a trajectory's frames ({worst}) equal the one before"
    cure = (
        "Leave these frames out: a program that hangs, or joined files, wrote the same ones again."
    )
    still = part[worst] > LONGEST_REST and counts[worst] >= FEWEST_AT_REST
    return judged(figure, cure, warn=False, fail=bool(still), value=float(part[worst]))


def angles(data: Data) -> Finding:
    """Whether columns are raw angles, which jump by a whole turn where they are cut."""
    steps = data.steps
    wrapped: dict[int, tuple[str, int]] = {}
    for name, period in PERIODS.items():
        inside = np.zeros(len(steps.low), dtype=bool)
        for start in (-period / 2, 0.0):
            low, high = start - OVER * period, start + (1 + OVER) * period
            inside |= (steps.low >= low) & (steps.high <= high)
        full = steps.high - steps.low > FILLED * period
        for k in np.flatnonzero(inside & full & (steps.jumps[name] > 0)).tolist():
            wrapped[k] = name, int(steps.jumps[name][k])
    if not wrapped:
        return passed("no column jumps by a whole turn", 0.0)
    column = min(wrapped)
    period_name, n = wrapped[column]
    figure = (
        f"{len(wrapped)} column(s) fill an interval of {period_name} and jump across it, as "
        f"{data.called(column)}, {n} time(s)"
    )
    cure = "Give the cosine and the sine of every angle, as latflow.featurizers.Torsions does."
    return Finding("fail", figure, cure, float(len(wrapped)))


def constant(data: Data) -> Finding:
    """Whether features never change."""
    still = np.flatnonzero(data.scaling[2])
    if not len(still):
        return passed("every feature changes", 0.0)
    figure = (
        f"{len(still)} of {data.frames.X.shape[1]} features are constant, the first "
        f"{data.called(int(still[0]))}"
    )
    cure = "Leave them out, as they say nothing (sklearn's VarianceThreshold does)."
    all_still = len(still) == data.frames.X.shape[1]
    return judged(figure, cure, warn=True, fail=all_still, value=float(len(still)))


def duplicates(data: Data) -> Finding:
    """Whether features are copies of others, or multiples of them."""
    moving = np.flatnonzero(~data.scaling[2])
    x = data.sample(MOST_COMPARED)[:, moving]
    tolerance = ROUNDING.get(data.frames.X.dtype, 1e-9)
    x = x * np.where(x[np.abs(x).argmax(axis=0), np.arange(x.shape[1])] < 0, -1.0, 1.0)
    mark = np.random.default_rng(data.seed).standard_normal(len(x)) @ x / np.sqrt(len(x))
    order = np.argsort(mark)
    near = np.flatnonzero(np.diff(mark[order]) < 10 * tolerance)
    copies = [
        tuple(sorted((int(moving[order[k]]), int(moving[order[k + 1]]))))
        for k in near
        if np.abs(x[:, order[k]] - x[:, order[k + 1]]).max() < tolerance
    ]
    if not copies:
        return passed("no feature is a copy or a multiple of another", 0.0)
    first, second = min(copies)
    figure = (
        f"{len(copies)} feature(s) are copies or multiples of others, as {data.called(second)} of "
        f"{data.called(first)}"
    )
    cure = "Leave copies out: they count twice wherever distances between frames do."
    return Finding("warn", figure, cure, float(len(copies)))


def settled(data: Data) -> Finding:
    """Whether simulations drift or are stuck, as told by their states or provisional ones."""
    frames = data.frames
    if frames.bare_pairs is not None or not frames.ordered:
        raise NotChecked("nothing says where trajectories begin and end")
    if frames.states is None:
        states = _provisional(data)
        told = f"{int(states.max()) + 1} provisional states (k-means on slow directions)"
    else:
        states, told = frames.states, "the states"
    problems = settling(frames, states, int(states.max()) + 1, data.lagtime)
    if not problems:
        return passed(f"no trajectory stands out and none drifts, by {told}", 0.0)
    worst = next((p for p in problems if p.kind != "starts"), problems[0])
    figure = f"by {told}: {worst.sentence(data.units).split(';')[0].rstrip('.')}"
    cure = "Simulate longer, leave the beginning out, or start from other structures."
    return judged(figure, cure, warn=True, fail=worst.kind != "starts", value=worst.z)


def _provisional(data: Data) -> IntArray:
    frames = data.frames
    if not any(len(rows) > data.lagtime for rows in frames.segments()):
        raise NotChecked("no frames are one lagtime apart, by which provisional states are found")
    pairs = frames.pairs(data.lagtime)
    x = Standardised(frames.X, *data.scaling[:2])
    return initial_labels(x, frames, pairs, N_STATES, data.seed)


def overlap(data: Data) -> Finding:
    """Whether neighbouring temperatures visit common regions, as far as a classifier tells."""
    frames = data.frames
    if len(frames.temperatures) < 2:
        raise NotChecked("fewer than two temperatures were given")
    shared = [_shared(data, k) for k in range(len(frames.temperatures) - 1)]
    k = int(np.argmin(shared))
    cold, hot = map(data.units.named, frames.temperatures[k : k + 2])
    figure = (
        f"{cold} and {hot} overlap by {shared[k]:.2g} in their features, the least of "
        f"{len(shared)} pair(s), where {LEAST_OVERLAP:g} is needed and 0.5 is the most"
    )
    cure = f"Simulate a temperature between {cold} and {hot}."
    few = shared[k] < 2 * LEAST_OVERLAP
    return judged(figure, cure, warn=few, fail=shared[k] < LEAST_OVERLAP, value=shared[k])


def _shared(data: Data, k: int) -> float:
    """Return MBAR's overlap of two neighbouring temperatures, by probabilities of frames unseen.

    The classifier is linear, which tells less than a network: the overlap is seldom less than this.
    """
    frames, blocks = data.frames, data.frames.blocks()
    rows = [np.flatnonzero(frames.origin == j) for j in (k, k + 1)]
    rows = [r[:: max(1, -(-len(r) // MOST_CLASSIFIED))] for r in rows]
    n_folds = min(N_FOLDS, *(len(np.unique(blocks[r])) for r in rows))
    if n_folds < 2:
        raise NotChecked("a temperature has too few frames to hold some out")
    both, hot = np.concatenate(rows), np.repeat([0, 1], [len(r) for r in rows])
    x = (frames.X[both].astype(np.float64) - data.scaling[0]) / data.scaling[1]
    weights = np.concatenate([frames.weights[r] / frames.weights[r].sum() for r in rows])
    weights *= len(both) / 2
    folds = list(StratifiedGroupKFold(n_folds).split(x, hot, blocks[both]))
    with muted("lbfgs failed to converge"):
        guesses = [
            cross_val_predict(
                LogisticRegression(C=strength, max_iter=200), x, hot, cv=folds,
                method="predict_proba", params={"sample_weight": weights},
            )
            for strength in STRENGTHS
        ]  # fmt: skip
    p = min(guesses, key=lambda guess: float(log_loss(hot, guess, sample_weight=weights)))[:, 1]
    return float((weights * p * (1 - p)).sum() / (len(both) / 2))


def exchanged(data: Data) -> Finding:
    """Whether trajectories jump where replica exchange swapped their walkers."""
    frames = data.frames
    if frames.bare_pairs is not None or len(frames.temperatures) < 2:
        raise NotChecked("there are no trajectories at two temperatures")
    counts = exchange.jumps(frames, data.scaling[:2], data.seed)
    if not counts:
        raise NotChecked(
            "no trajectories that are followed in time, of one length and of at least "
            f"{exchange.FEWEST_FRAMES} frames, stay at two temperatures"
        )
    now, chance = (
        sum(int(c) for c in part)
        for part in zip(*((c[0], c[1:].max()) for c in counts), strict=True)
    )
    figure = (
        f"{now} step(s) go on from the frame of another temperature's trajectory, where chance "
        f"gives up to {chance}"
    )
    cure = (
        "Sort frames by walker (latflow.replica_exchange.demultiplex), or give them as equilibrium "
        "draws (dynamics=False)."
    )
    return judged(figure, cure, warn=False, fail=exchange.many(counts), value=float(now))


def whole(data: Data) -> Finding:
    """Whether molecules are whole, and bonds as long as bonds are."""
    sizes = np.bincount(data.frames.trajectory).tolist()
    frames = molecules.structures_of(data.structures, data.frames.manifest, sizes)
    if frames is None:
        raise NotChecked("no structures are known: give trajectory files with their topology")
    figure, cure, certain = molecules.broken(frames)
    if not figure:
        return passed("molecules are whole in all frames looked at")
    return judged(figure, cure, warn=True, fail=certain)


def energies(data: Data) -> Finding:
    """Whether energies are those of the temperatures that were named."""
    frames = data.frames
    if frames.energy is None:
        raise NotChecked("no energies were given")
    if len(frames.temperatures) < 2:
        raise NotChecked("energies of one temperature contradict nothing")
    gaps = energy_gaps(frames.energy, pool_of(frames, data.units), frames.temperatures)
    if not gaps:
        raise NotChecked("temperatures have too few blocks to tell an error by")
    for gap in gaps:
        if gap.swapped or gap.mistaken:
            sentence = gap.sentence(data.units).split(": ")[0]
            cure = "Name the temperatures of the files in the order of the files."
            return Finding("fail", sentence, cure, float(gap.ratio) if gap.mistaken else gap.rise)
        if not RATIOS[0] < gap.ratio < RATIOS[1] and abs(gap.ratio - 1) > MOST_ERRORS * gap.error:
            figure = (
                f"the energies of {gap.temperatures[0]:g} and {gap.temperatures[1]:g} change by "
                f"{with_error(gap.ratio, gap.error)} of what these temperatures say"
            )
            cure = (
                "Give energies in the unit of boltzmann_constant (kJ/mol; 0.24 is kcal/mol), and "
                "every energy with its own frame (0 is not)."
            )
            return Finding("fail", figure, cure, gap.ratio)
    known = [gap for gap in gaps if np.isfinite(gap.ratio)]
    if not known:
        return passed("energies rise with temperature; they overlap too little to tell more")
    worst = max(known, key=lambda gap: abs(gap.ratio - 1) / gap.error)
    figure = (
        f"energies change by {with_error(worst.ratio, worst.error)} of what temperatures say, the "
        f"farthest from 1 of {len(known)} pair(s)"
    )
    return passed(figure, worst.ratio)


CHECKS: Mapping[str, Callable[[Data], Finding]] = {
    "numbers": numbers, "lengths": lengths, "twice": twice, "at rest": at_rest, "angles": angles,
    "constant": constant, "duplicates": duplicates, "settled": settled, "overlap": overlap,
    "exchange": exchanged, "molecules": whole, "energies": energies,
}  # fmt: skip
