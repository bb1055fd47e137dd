"""What walkers connect, and simulations that had not settled: by definition, and by processes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from deeptime.util.data import TimeLaggedDataset
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator

from latflow.thermodynamics import Unsettled, crossings, settling
from latflow.thermodynamics.connection import lasting
from latflow.trajectories import Frames, gather_frames
from latflow.units import Units

few = settings(max_examples=60, deadline=None)


def gathered(states: list[Any], **metadata: Any) -> tuple[Frames, np.ndarray]:
    """Frames whose only feature is their state, and the states."""
    X = [np.asarray(s, float)[:, None] for s in states]
    return gather_frames(BaseEstimator(), X, reset=True, **metadata), np.concatenate(states)


def counted(states: list[Any], lagtime: int = 1, n_states: int = 3, **metadata: Any) -> list[Any]:
    frames, labels = gathered(states, **metadata)
    return crossings(frames, labels, n_states, lagtime).tolist()


# ------------------------------------------------------------------ crossings


def crossings_by_definition(states: list[list[int]], lagtime: int) -> np.ndarray:
    """Walk along every walker: it is where it last was for a lagtime without a break."""
    counts = np.zeros((3, 3), dtype=int)
    for walker in states:
        home, guest, stayed = None, None, 0
        for state in walker:
            stayed = stayed + 1 if state == guest else 1
            guest = state
            if stayed == lagtime and guest != home:
                if home is not None:
                    counts[home, guest] += 1
                home = guest
    return counts


@few
@given(
    states=st.lists(st.lists(st.integers(0, 2), min_size=2, max_size=30), min_size=1, max_size=3),
    lagtime=st.integers(1, 4),
)
def test_crossings_are_their_definition(states: list[list[int]], lagtime: int) -> None:
    np.testing.assert_array_equal(
        counted(states, lagtime)[0], crossings_by_definition(states, lagtime)
    )


def test_a_walker_connects_through_hotter_temperatures() -> None:
    counts = counted([[0, 0, 0, 1, 1]], 2, temperature=[[1.0, 1.0, 2.0, 2.0, 1.0]])
    assert counts == [np.zeros((3, 3)).tolist(), [[0, 1, 0], [0, 0, 0], [0, 0, 0]]]


def test_a_gap_and_the_end_of_a_trajectory_break_a_walker() -> None:
    frames = gather_frames(
        BaseEstimator(), np.zeros((6, 1)), reset=True,
        trajectory=[0, 0, 0, 0, 1, 1], frame=[0, 1, 3, 4, 0, 1],
    )  # fmt: skip
    assert not crossings(frames, np.array([0, 0, 1, 1, 0, 0]), 2, 1).any()


def test_the_order_of_the_rows_of_an_array_is_no_matter() -> None:
    rng = np.random.default_rng(0)
    states, order = rng.integers(3, size=50), rng.permutation(50)
    frames = gather_frames(BaseEstimator(), np.zeros((50, 1)), reset=True, frame=order)
    np.testing.assert_array_equal(
        crossings(frames, states[order], 3, 1)[0], crossings_by_definition([states.tolist()], 1)
    )


def test_draws_cross_nothing() -> None:
    states = [[0, 1, 0, 1], [0, 1, 1, 1]]
    assert not np.any(counted(states, dynamics=False))
    assert counted(states, dynamics=[False, True])[0] == [[0, 1, 0], [0, 0, 0], [0, 0, 0]]


def test_bare_pairs_are_walkers_of_two_frames() -> None:
    pairs = TimeLaggedDataset(np.zeros((3, 1)), np.zeros((3, 1)))
    frames = gather_frames(BaseEstimator(), pairs, lagtime=9, reset=True)
    states = np.array([0, 0, 1, 0, 1, 1])  # three first frames, three later ones
    assert crossings(frames, states, 2, 9).tolist() == [[[0, 1], [0, 0]]]
    assert settling(frames, states, 2, 9) == []


# ------------------------------------------------------------------ settled or not


def telegraph(rng: np.random.Generator, n_frames: int, share: float, lives: float) -> np.ndarray:
    """A process in state 1 for `share` of its time, `lives` correlation times long."""
    rates = lives / n_frames * np.array([share, 1 - share])
    state, states = int(rng.random() < share), np.empty(n_frames, dtype=int)
    for k, draw in enumerate(rng.random(n_frames)):
        states[k] = state
        state ^= int(draw < rates[state])
    return states


def judged(states: list[Any], lagtime: int = 1, **metadata: Any) -> list[Unsettled]:
    frames, labels = gathered(states, **metadata)
    return settling(frames, labels, 2, lagtime)


@pytest.mark.parametrize("n_trajectories", [1, 2, 8, 50])
@pytest.mark.parametrize(("share", "lives"), [(0.5, 50), (0.5, 300), (0.1, 100), (0.01, 300)])
def test_a_process_at_equilibrium_is_no_alarm(
    n_trajectories: int, share: float, lives: float, rng: np.random.Generator
) -> None:
    alarms = 0
    for _ in range(4):
        walkers = [telegraph(rng, 400, share, lives) for _ in range(n_trajectories)]
        alarms += len(judged(walkers))
    assert alarms == 0


@pytest.mark.parametrize("share", [0.5, 0.2, 0.05])
def test_one_visit_of_one_of_many_short_trajectories_to_a_rare_state_is_no_alarm(
    share: float, rng: np.random.Generator
) -> None:
    """Each by itself: how far they scatter together is another question."""
    alarms = []
    for _ in range(4):
        walkers = [telegraph(rng, 30, share, 3) for _ in range(250)]
        alarms += [item.kind for item in judged(walkers, lagtime=5)]
    assert set(alarms) <= {"starts"}


@pytest.mark.parametrize("dynamics", [True, False])
def test_independent_frames_are_no_alarm(dynamics: bool, rng: np.random.Generator) -> None:
    draws = [(rng.random(300) < 0.3).astype(int) for _ in range(20)]
    assert judged(draws, 5, dynamics=dynamics, temperature=[1.0] * 10 + [2.0] * 10) == []


@pytest.mark.parametrize("dynamics", [True, False])
def test_a_stuck_trajectory_is_named(dynamics: bool, rng: np.random.Generator) -> None:
    walkers = [telegraph(rng, 400, 0.5, 100) for _ in range(4)]
    walkers[2][:] = 1
    items = judged(walkers, dynamics=dynamics, temperature=[300.0] * 4)
    assert {(i.kind, i.trajectory, i.temperature) for i in items} == {("trajectories", 2, 300.0)}
    assert items[0].sentence(Units()).startswith("At 300 K trajectory 2 is in state ")


def test_a_trajectory_that_sticks_half_way_is_named(rng: np.random.Generator) -> None:
    walker = telegraph(rng, 800, 0.5, 200)
    walker[400:] = 1
    (item,) = judged([walker], temperature=[300.0])
    assert (item.kind, item.trajectory) == ("halves", 0)
    assert "of the first half of trajectory 0 and" in item.sentence(Units())


def test_many_short_trajectories_that_drift_together_are_seen(rng: np.random.Generator) -> None:
    walkers = [telegraph(rng, 200, 0.5, 20) for _ in range(50)]
    for walker in walkers:
        walker[:40] = 0
    assert ("halves", None) in {(i.kind, i.trajectory) for i in judged(walkers)}


@pytest.mark.parametrize(
    ("walkers", "n_crossings"),
    [([np.repeat([0, 1], 200)], 1.0), ([np.full(400, k % 2) for k in range(8)], 0.0)],
)
def test_trajectories_too_short_to_forget_their_start(
    walkers: list[np.ndarray], n_crossings: float
) -> None:
    (item,) = judged(walkers, temperature=[300.0] * len(walkers))
    assert (item.kind, item.trajectory, item.crossings) == ("starts", None, n_crossings)
    assert "too short to forget how they started" in item.sentence(Units())


def test_weights_tell_populations() -> None:
    states = [np.tile([0, 1], 200) for _ in range(3)]
    assert judged(states) == []
    weights = [np.where(s == 1, 9.0, 1.0) if k == 1 else np.ones(400) for k, s in enumerate(states)]
    assert {i.trajectory for i in judged(states, weights=weights)} == {1}


def test_frames_that_weigh_next_to_nothing_are_no_alarm(rng: np.random.Generator) -> None:
    """A bias made half of a trajectory weightless; which state it is in there tells nothing."""
    walkers = [telegraph(rng, 2000, 0.5, 500) for _ in range(6)]
    walkers[2][1000:] = 0
    assert {item.trajectory for item in judged(walkers)} == {2}
    weights = [np.where(walker == 1, 1.0, 1e-6) for walker in walkers]
    assert judged(walkers, weights=weights) == []


def test_a_state_without_a_visit_that_lasts_is_none_that_could_be_unconnected() -> None:
    walker = np.tile([0] * 10 + [2] + [0] * 10 + [1] * 10, 20)
    frames, states = gathered([walker])
    counts = np.bincount(walker)
    assert np.bincount(states[lasting(frames, states, 1)]).tolist() == counts.tolist()
    inside = lasting(frames, states, 5)
    assert np.bincount(states[inside], minlength=3).tolist() == [counts[0], counts[1], 0]


@pytest.mark.parametrize("seed", range(3))
def test_exchange_slower_than_a_state_flickers_is_no_fault_of_one_trajectory(seed: int) -> None:
    """States 1 and 2 flicker; walkers that stay with 0 for most of their time never see them."""
    rng = np.random.default_rng(seed)
    away = [np.cumsum(rng.random(300) < 1 / 150) % 2 ^ rng.integers(2) for _ in range(40)]
    walkers = [np.where(one == 0, 0, rng.integers(1, 3, 300)) for one in away]
    frames, labels = gathered(walkers, temperature=[300.0] * 40)
    kinds = {item.kind for item in settling(frames, labels, 3, 1)}
    assert not kinds & {"halves", "trajectories"}
