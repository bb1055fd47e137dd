"""Chains of states, and of fine clusters of the variables, with their counts of transitions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from latflow._typing import FloatArray, IntArray
from latflow._validation import check_count, check_temperatures
from latflow.trajectories import per_frame

if TYPE_CHECKING:
    from deeptime.markov import TransitionCountModel


States: TypeAlias = "IntArray | Sequence[ArrayLike]"
Variables: TypeAlias = "FloatArray | Sequence[ArrayLike]"

N_CLUSTERS = 100
FEWEST_FRAMES = 20  # a cluster
FRAMES_FOR_CENTRES = 200  # a cluster: k-means places its centres on a part of long simulations
TOLERANCE = 1e-3  # of k-means: clusters need not be the best ones, only fine
MOST_BLOCKS, FEWEST_BLOCKS = 100, 20
BLOCK_LAGTIMES = 20  # that a block spans at least: lagged pairs of two blocks hardly overlap


@dataclass(frozen=True, eq=False)
class Chain:
    """What Markov models count: the state and the cluster of each frame at one temperature.

    Parameters
    ----------
    states : list of ndarray of int of shape (n_frames_i,)
    clusters : list of ndarray of int of shape (n_frames_i,)
        The states themselves where no variables are known.
    """

    states: list[IntArray]
    clusters: list[IntArray]

    @property
    def is_fine(self) -> bool:
        """Whether transitions are counted between clusters, not between the states themselves."""
        return self.clusters is not self.states

    @property
    def longest(self) -> int:
        """Frames of the longest trajectory."""
        return max(map(len, self.states))

    def shares(self) -> FloatArray:
        """Return the number of frames of each cluster that are in each state, of those visited."""
        pairs = [np.concatenate(numbered(x)[1]) for x in (self.clusters, self.states)]
        return np.asarray(sparse.coo_matrix((np.ones(len(pairs[0])), tuple(pairs))).toarray())

    def blocks(self, lagtime: int) -> list[tuple[int, int, int]]:
        """Return trajectory, first frame and end of the blocks that errors are told from."""
        total = sum(map(len, self.states))
        n_blocks = np.clip(total // (BLOCK_LAGTIMES * lagtime), FEWEST_BLOCKS, MOST_BLOCKS)
        spans = []
        for k, states in enumerate(self.states):
            n = max(1, round(len(states) * n_blocks / total))
            edges = np.linspace(0, len(states), n + 1).astype(int).tolist()
            spans += [(k, *span) for span in pairwise(edges)]
        return spans

    def block_counts(self, blocks: list[tuple[int, int, int]], lagtime: int) -> sparse.csr_matrix:
        """Return counts between visited clusters, a row per block that a lagged pair begins in."""
        symbols, clusters = numbered(self.clusters)
        size, rows = len(symbols), []
        for k, start, end in blocks:
            piece = clusters[k][start : end + lagtime]
            codes = piece[:-lagtime] * size + piece[lagtime:]
            rows.append(sparse.csr_matrix(np.bincount(codes, minlength=size * size)))
        return sparse.vstack(rows, format="csr")


def split_by_temperature(
    states: States, temperature: Sequence[ArrayLike]
) -> dict[float, list[IntArray]]:
    """Sort trajectories of states by temperature, cut where it changes (replica exchange).

    Parameters
    ----------
    states : list of array_like of int of shape (n_frames_i,)
    temperature : list
        Temperature of each trajectory: a number, or one value per frame.

    Returns
    -------
    dict of float to list of ndarray
        By rising temperature.

    Examples
    --------
    >>> pieces = split_by_temperature([[0, 0, 1], [1, 1]], temperature=[[300, 450, 450], 300])
    >>> {t: [piece.tolist() for piece in pieces[t]] for t in pieces}
    {300.0: [[0], [1, 1]], 450.0: [[0, 1]]}
    """
    trajectories = check_states(states)
    lengths = [len(trajectory) for trajectory in trajectories]
    values = check_temperatures(per_frame(temperature, lengths, "temperature"), sum(lengths))
    pieces: dict[float, list[IntArray]] = {t: [] for t in np.unique(values).tolist()}
    cuts = np.union1d(np.cumsum(lengths)[:-1], np.flatnonzero(np.diff(values)) + 1)
    for piece, start in zip(np.split(np.concatenate(trajectories), cuts), [0, *cuts], strict=True):
        pieces[values[start]].append(piece)
    return pieces


def connected_sets(states: States, lagtime: int = 1) -> list[IntArray]:
    """Return sets of states that reach each other in both directions, the most frames first.

    Parameters
    ----------
    states : list of array_like of int of shape (n_frames_i,)
    lagtime : int, default=1
        Lagtime in frames.

    Returns
    -------
    list of ndarray of int
        States never visited are in none.

    Examples
    --------
    >>> [s.tolist() for s in connected_sets([[0, 1, 0, 1], [2, 2, 2]])]
    [[0, 1], [2]]
    """
    counts = count(check_states(states), lagtime)
    return [counts.state_symbols[places] for places in sets_of(counts)]


# ------------------------------------------------------------------ inside


def make_chain(
    states: States,
    variables: Variables | None,
    n_clusters: int,
    rs: np.random.RandomState,
) -> Chain:
    """Return states with the clusters of their variables, all taken as one temperature's."""
    labels = check_states(states)
    if variables is None:
        return Chain(labels, labels)
    return Chain(labels, _cluster(check_variables(variables, labels), n_clusters, rs))


def chains_by_temperature(
    states: States,
    temperature: Sequence[ArrayLike],
    variables: Variables | None,
    n_clusters: int,
    rs: np.random.RandomState,
) -> dict[float, Chain]:
    """Return a chain per temperature, each with clusters of its own."""
    labels = check_states(states)
    ends = np.cumsum([len(trajectory) for trajectory in labels])
    rows = split_by_temperature(np.split(np.arange(ends[-1]), ends[:-1]), temperature)
    values = [np.concatenate(labels)]
    if variables is not None:
        values.append(np.concatenate(check_variables(variables, labels)))
    chains = {}
    for t, pieces in rows.items():
        own, *coordinates = ([array[piece] for piece in pieces] for array in values)
        chains[t] = make_chain(own, coordinates[0] if coordinates else None, n_clusters, rs)
    return chains


def check_states(states: object) -> list[IntArray]:
    """Return a list of arrays of state numbers; one array is one trajectory."""
    if isinstance(states, np.ndarray) and states.ndim == 1:
        states = [states]
    if not isinstance(states, Sequence) or isinstance(states, str) or len(states) == 0:
        raise ValueError(
            "Expected `states` to be a list of arrays of integers, one per trajectory, got "
            f"{type(states).__name__}."
        )
    arrays = []
    for t, values in enumerate(states):
        array = np.asarray(values)
        if array.ndim != 1 or array.dtype.kind not in "iu" or (len(array) and array.min() < 0):
            raise ValueError(
                f"Expected `states` of trajectory {t} to be integers >= 0 of shape (n_frames,), "
                f"got {array.dtype} of shape {array.shape}."
            )
        arrays.append(array.astype(np.int64))
    return arrays


def check_variables(variables: object, states: list[IntArray]) -> list[FloatArray]:
    """Return one float array (n_frames_i, n_components) per trajectory of states."""
    if isinstance(variables, np.ndarray) and len(states) == 1 and variables.ndim == 2:
        variables = [variables]
    if not isinstance(variables, Sequence) or len(variables) != len(states):
        entries = len(variables) if isinstance(variables, Sequence) else type(variables).__name__
        raise ValueError(
            f"Expected `variables` to hold one array per trajectory of states ({len(states)}), "
            f"got {entries}."
        )
    arrays = [np.asarray(values, dtype=np.float64) for values in variables]
    arrays = [array[:, None] if array.ndim == 1 else array for array in arrays]
    for t, (array, labels) in enumerate(zip(arrays, states, strict=True)):
        n_components = arrays[0].shape[-1]
        if array.shape != (len(labels), n_components):
            raise ValueError(
                f"Expected `variables` of trajectory {t} of shape ({len(labels)}, "
                f"{n_components}), got {array.shape}."
            )
        if not np.isfinite(array).all():
            raise ValueError(
                f"Expected finite numbers in `variables`, got NaN or infinity in trajectory {t}."
            )
    return arrays


def count(trajectories: list[IntArray], lagtime: int) -> TransitionCountModel:
    """Return deeptime's counts of a sliding window divided by the lagtime."""
    from deeptime.markov import TransitionCountEstimator, TransitionCountModel

    check_count(lagtime, "lagtime")
    longest = max(map(len, trajectories))
    if longest <= lagtime:
        raise ValueError(
            f"Expected a trajectory longer than lagtime={lagtime} frames, got at most {longest}."
        )
    symbols, codes = numbered(trajectories)
    estimator = TransitionCountEstimator(lagtime, "sliding-effective", n_states=len(symbols))
    dense = estimator.fit_fetch([t for t in codes if len(t) > lagtime])
    return TransitionCountModel(
        dense.count_matrix, dense.counting_mode, lagtime, dense.state_histogram, symbols
    )


def numbered(trajectories: list[IntArray]) -> tuple[IntArray, list[IntArray]]:
    """Return the states that there are, and their places among these for each frame."""
    symbols, codes = np.unique(np.concatenate(trajectories), return_inverse=True)
    return symbols, np.split(codes, np.cumsum([len(t) for t in trajectories])[:-1])


def sets_of(counts: TransitionCountModel) -> list[IntArray]:
    """Return the connected sets of visited states, as places in the counts, most frames first."""
    visits = counts.state_histogram
    sets = [np.sort(s) for s in counts.connected_sets() if visits[s].any()]
    return sorted(sets, key=lambda s: -visits[s].sum())


def _cluster(
    variables: list[FloatArray], n_clusters: int, rs: np.random.RandomState
) -> list[IntArray]:
    """Return the k-means cluster of each frame; every variable is scaled to unit variance."""
    from deeptime.clustering import KMeans

    points = np.concatenate(variables)
    spread = points.std(axis=0)
    scaled = (points - points.mean(axis=0)) / np.where(spread > 0, spread, 1)
    n = min(check_count(n_clusters, "n_clusters", minimum=2), max(2, len(points) // FEWEST_FRAMES))
    sample = scaled[:: max(1, len(points) // (FRAMES_FOR_CENTRES * n))]
    seed = int(rs.randint(2**31 - 1))
    model = KMeans(n, tolerance=TOLERANCE, fixed_seed=seed, n_jobs=1).fit_fetch(sample)
    ends = np.cumsum([len(values) for values in variables])[:-1]
    return np.split(model.transform(scaled).astype(np.int64), ends)
