"""Weights of pooled frames against harmonic potentials, whose free energies are known exactly."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter

from latflow.thermodynamics import (
    Mixture,
    effective_sample_size,
    free_energy_offsets,
    heat_capacity,
    log_linear_energies,
    state_differences,
    state_moments,
)

seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=30, deadline=None)
CLOSE = 3e-5  # in k_B T: what the solver's last step leaves


def wells(
    seed: int, counts: Any = (300, 200), *, centres: Any = (0.0, 2.0), stiffness: Any = (1.0, 3.0)
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws x from harmonic wells, the well of each, and u_k(x) = stiffness_k (x - centre_k)^2 / 2.

    f_k - f_0 = ln(stiffness_k / stiffness_0) / 2, whatever the centres.
    """
    centres, stiffness = np.array(centres), np.array(stiffness)
    origin = np.repeat(np.arange(len(counts)), counts)
    noise = np.random.default_rng(seed).standard_normal(len(origin))
    x = centres[origin] + noise / np.sqrt(stiffness[origin])
    return x, origin, stiffness * (x[:, None] - centres) ** 2 / 2


def heated(
    seed: int, betas: Any, counts: Any, dimension: int = 3
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Energies of a harmonic oscillator at several beta: f_k - f_0 = d/2 ln(beta_k / beta_0)."""
    betas = np.array(betas)
    origin = np.repeat(np.arange(len(counts)), counts)
    energy = np.random.default_rng(seed).gamma(dimension / 2, 1 / betas[origin])
    return energy, origin, energy[:, None] * betas


def mixture(
    reduced: np.ndarray, origin: np.ndarray, weights: Any = None, block: int = 1
) -> Mixture:
    weights = np.ones(len(origin)) if weights is None else np.asarray(weights, dtype=float)
    counts = np.bincount(origin, weights=weights)
    offsets = free_energy_offsets(reduced, counts, weights)
    return Mixture.build(reduced, offsets, origin, weights, np.arange(len(origin)) // block)


# ------------------------------------------------------------------ log-linear energies


@few
@given(seed=seeds, order=st.integers(1, 2))
def test_log_linear_energies_are_their_formula(seed: int, order: int) -> None:
    rng = np.random.default_rng(seed)
    hc, steps = rng.standard_normal((9, order)), rng.standard_normal(4)
    expected = [
        [sum(c * s ** (k + 1) / (k + 1) for k, c in enumerate(row)) for s in steps] for row in hc
    ]
    np.testing.assert_allclose(log_linear_energies(hc, steps), expected, atol=1e-12)
    np.testing.assert_allclose(log_linear_energies(hc, steps[0]), np.array(expected)[:, 0])
    assert not log_linear_energies(hc, 0.0).any()


# ------------------------------------------------------------------ free energies


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("frames", "exact"),
    [
        (lambda seed: wells(seed), np.log([1, 3]) / 2),
        (lambda seed: wells(seed, (900, 100), centres=(0, 3)), np.log([1, 3]) / 2),
        (lambda seed: heated(seed, (1.0, 1.5, 2.5), (400, 1000, 300)), np.log([1, 1.5, 2.5]) * 1.5),
    ],
    ids=["two wells", "unequal wells", "three temperatures"],
)
def test_offsets_are_pymbar_s_and_the_exact_ones(frames: Any, exact: Any, seed: int) -> None:
    logging.getLogger("pymbar").setLevel(logging.ERROR)
    pymbar = pytest.importorskip("pymbar")
    _, origin, u = frames(seed)
    solved = pymbar.MBAR(u.T, np.bincount(origin), solver_protocol="robust")
    peer = solved.compute_free_energy_differences()
    found = free_energy_offsets(u, np.bincount(origin))
    np.testing.assert_allclose(found, peer["Delta_f"][0], atol=CLOSE)
    assert (np.abs(found - exact)[1:] < 5 * peer["dDelta_f"][0, 1:]).all()


def test_one_temperature_has_offset_zero() -> None:
    assert free_energy_offsets(np.arange(5.0)[:, None], [5]).tolist() == [0]


@few
@given(seed=seeds, scale=st.floats(1e-6, 1e6), shift=st.floats(-1e3, 1e3))
def test_what_does_not_change_the_offsets(seed: int, scale: float, shift: float) -> None:
    rng = np.random.default_rng(seed)
    _, origin, u = wells(seed, (30, 20, 25), centres=(0, 1, 2), stiffness=(1, 2, 1))
    weights = rng.random(75) + 0.1
    counts = np.bincount(origin, weights=weights)
    expected = free_energy_offsets(u, counts, weights)

    def unchanged(u: Any, counts: Any, weights: Any) -> None:
        np.testing.assert_allclose(free_energy_offsets(u, counts, weights), expected, atol=CLOSE)

    unchanged(u, counts * scale, weights * scale)
    unchanged(u + shift, counts, weights)
    unchanged(u + rng.standard_normal((75, 1)) * 10, counts, weights)
    order = rng.permutation(75)
    unchanged(u[order], counts, weights[order])
    ks = rng.permutation(3)
    found = free_energy_offsets(u[:, ks], counts[ks], weights)
    np.testing.assert_allclose(found, expected[ks] - expected[ks[0]], atol=CLOSE)


@few
@given(seed=seeds)
def test_weight_two_is_the_frame_twice(seed: int) -> None:
    rng = np.random.default_rng(seed)
    _, origin, u = wells(seed, (30, 20))
    times = rng.integers(1, 4, 50)
    again = np.repeat(np.arange(50), times)
    counts = np.bincount(origin[again])
    weighted = free_energy_offsets(u, counts, times)
    np.testing.assert_allclose(weighted, free_energy_offsets(u[again], counts), atol=CLOSE)
    single, repeated = mixture(u, origin, times), mixture(u[again], origin[again])
    target = 2 * u[:, 0]
    expected = np.bincount(again, weights=repeated.frame_weights(target[again]))
    np.testing.assert_allclose(single.frame_weights(target), expected, rtol=CLOSE)


def test_an_offset_on_one_temperature_moves_its_free_energy_alone() -> None:
    _, origin, u = wells(0, (30, 20, 25), centres=(0, 1, 2), stiffness=(1, 2, 1))
    counts = np.bincount(origin)
    shift = np.array([0.0, 7.5, 0.0])
    moved = free_energy_offsets(u + shift, counts) - free_energy_offsets(u, counts)
    np.testing.assert_allclose(moved, shift, atol=CLOSE)


def test_large_energies_common_to_all_temperatures_do_not_matter() -> None:
    for seed in range(10):
        _, origin, u = heated(seed, (1.0, 1.5, 2.5), (400, 1000, 300))
        counts = np.bincount(origin)
        found = free_energy_offsets(u + 1e7, counts)
        np.testing.assert_allclose(found, free_energy_offsets(u, counts), atol=CLOSE)


@pytest.mark.parametrize("distance", [15.0, 30.0, 100.0])
def test_temperatures_that_share_nothing_are_refused(distance: float) -> None:
    _, origin, u = wells(0, centres=(0.0, distance), stiffness=(1.0, 1.0))
    with pytest.raises(ValueError, match="simulated temperatures that visit common regions"):
        free_energy_offsets(u, np.bincount(origin))


# ------------------------------------------------------------------ weights of frames


@few
@given(seed=seeds)
def test_every_simulated_temperature_gets_its_own_share(seed: int) -> None:
    weights = np.random.default_rng(seed).random(75) + 0.1
    _, origin, u = wells(seed, (30, 20, 25), centres=(0, 1, 2), stiffness=(1, 2, 1))
    found = mixture(u, origin, weights)
    np.testing.assert_allclose(found.membership.sum(axis=1), 1)
    share = np.bincount(origin, weights=weights)
    np.testing.assert_allclose(weights @ found.membership, share, rtol=CLOSE)
    for k in range(3):
        expected = weights * found.membership[:, k] / share[k]
        np.testing.assert_allclose(found.frame_weights(u[:, k]), expected, rtol=CLOSE)


@few
@given(seed=seeds, shift=st.floats(-500, 500))
def test_frame_weights_of_one_temperature_at_it_are_the_frames_own(seed: int, shift: float) -> None:
    rng = np.random.default_rng(seed)
    u, weights = 10 * rng.standard_normal((40, 1)), rng.random(40)
    weights[::7] = 0
    found = mixture(u, np.zeros(40, dtype=int), weights).frame_weights(u[:, 0] + shift)
    np.testing.assert_allclose(found, weights / weights.sum(), atol=1e-14)


@few
@given(seed=seeds, scale=st.floats(1e-6, 1e6), shift=st.floats(-1e3, 1e3))
def test_what_does_not_change_the_weights(seed: int, scale: float, shift: float) -> None:
    rng = np.random.default_rng(seed)
    _, origin, u = wells(seed, (30, 20))
    weights, target = rng.random(50) + 0.1, u.mean(axis=1)
    expected = mixture(u, origin, weights).frame_weights(target)
    assert expected.sum() == pytest.approx(1)
    scaled = mixture(u, origin, scale * weights).frame_weights(target + shift)
    np.testing.assert_allclose(scaled, expected, rtol=CLOSE)
    common = 10 * rng.standard_normal(50)
    moved = mixture(u + common[:, None], origin, weights).frame_weights(target + common)
    np.testing.assert_allclose(moved, expected, rtol=CLOSE)
    order = rng.permutation(50)
    permuted = mixture(u[order], origin[order], weights[order]).frame_weights(target[order])
    np.testing.assert_allclose(permuted, expected[order], rtol=CLOSE)


@few
@given(seed=seeds, factor=st.floats(np.log(0.05), np.log(20)).map(np.exp))
def test_extreme_temperatures_give_finite_weights(seed: int, factor: float) -> None:
    energy, origin, u = heated(seed, (1.0, 1.5), (200, 200), dimension=30)
    found = mixture(u, origin).frame_weights(factor * energy)
    assert np.isfinite(found).all()
    assert (found >= 0).all()
    assert found.sum() == pytest.approx(1)


@pytest.mark.parametrize("beta", [0.85, 1.0, 1.3, 1.6, 2.2])
def test_mean_energy_at_a_temperature_never_simulated(beta: float) -> None:
    deviations = []
    for seed in range(20):
        energy, origin, u = heated(seed, (1.0, 2.0), (2000, 1000))
        found = mixture(u, origin, block=10)
        mean, error = found.average(energy[:, None], found.frame_weights(beta * energy))
        deviations.append((mean[0] - 1.5 / beta) / error[0])
    assert np.abs(deviations).max() < 4
    assert np.abs(np.mean(deviations)) < 4 / np.sqrt(20)


# ------------------------------------------------------------------ error bars


def test_one_temperature_has_the_textbook_error() -> None:
    values = np.random.default_rng(0).standard_normal((50, 3))
    single = mixture(np.zeros((50, 1)), np.zeros(50, dtype=int))
    mean, error = single.average(values, np.full(50, 1 / 50))
    np.testing.assert_allclose(mean, values.mean(axis=0))
    np.testing.assert_allclose(error, values.std(axis=0, ddof=1) / np.sqrt(50))


def test_errors_are_the_spread_over_replicas_also_through_the_offsets() -> None:
    means, errors, direct = [], [], []
    for seed in range(200):
        x, origin, u = wells(seed, (300, 150), stiffness=(1.0, 1.0))
        found = mixture(u, origin, block=10)
        weights = found.frame_weights((x - 1.2) ** 2 / 2)
        values = np.stack([x, x > 1], axis=1).astype(float)
        mean, error = found.average(values, weights)
        # the offsets taken as known
        pull = weights[:, None] * (values - mean)
        means.append(mean)
        errors.append(error)
        pulls = found._centred(found._block_sums(pull, slice(None)))
        direct.append(np.sqrt((pulls**2).sum(axis=0)))
    spread = np.std(means, axis=0, ddof=1)
    np.testing.assert_allclose(np.sqrt(np.mean(np.square(errors), axis=0)), spread, rtol=0.2)
    assert (np.mean(direct, axis=0) < 0.75 * spread).all()


def correlated(seed: int, n: int, memory: float) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(n) * np.sqrt(1 - memory**2)
    noise[0] /= np.sqrt(1 - memory**2)
    return lfilter([1], [1, -memory], noise)


def test_errors_of_correlated_frames_need_long_blocks() -> None:
    origin = np.repeat([0, 1], 3000)
    means, blocked, naive = [], [], []
    for seed in range(60):
        x = np.concatenate([correlated(2 * seed + k, 3000, 0.9) + 2 * k for k in (0, 1)])
        u = (x[:, None] - [0, 2]) ** 2 / 2
        for block, errors in ((150, blocked), (1, naive)):
            found = mixture(u, origin, block=block)
            mean, error = found.average(x[:, None], found.frame_weights((x - 1) ** 2 / 2))
            errors.append(error)
        means.append(mean)
    spread = np.std(means, ddof=1)
    assert np.sqrt(np.mean(np.square(blocked))) == pytest.approx(spread, rel=0.25)
    assert np.mean(naive) < 0.4 * spread


def test_a_single_block_has_no_error() -> None:
    values = np.arange(50.0)[:, None]
    _, origin, u = wells(0, (30, 20))
    for block, known in ((50, False), (30, False), (10, True)):
        found = mixture(u, origin, block=block)
        mean, error = found.average(values, found.frame_weights(u[:, 0]))
        assert np.isfinite(mean).all()
        assert np.isfinite(error).all() == known


@few
@given(seed=seeds, a=st.floats(-100, 100), b=st.floats(-100, 100))
def test_errors_follow_units_and_ignore_order_and_frames_without_weight(
    seed: int, a: float, b: float
) -> None:
    rng = np.random.default_rng(seed)
    x, origin, u = wells(seed, (40, 40))
    blocks, weights = np.arange(80) // 4, rng.random(80) + 0.1
    weights[1::4] = 0
    offsets = free_energy_offsets(u, np.bincount(origin, weights=weights), weights)

    def average(rows: Any, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = Mixture.build(u[rows], offsets, origin[rows], weights[rows], blocks[rows])
        return found.average(values[rows, None], found.frame_weights(u[rows].mean(axis=1)))

    (mean,), (error,) = average(slice(None), x)
    scaled = average(slice(None), a * x + b)
    np.testing.assert_allclose(scaled[0], a * mean + b, atol=1e-8)
    np.testing.assert_allclose(scaled[1], abs(a) * error, atol=1e-8)
    for rows in (rng.permutation(80), np.flatnonzero(weights)):
        np.testing.assert_allclose(average(rows, x), [[mean], [error]], rtol=1e-6)


# ------------------------------------------------------------------ effective sample size


@few
@given(seed=seeds, n=st.integers(1, 50), scale=st.floats(1e-9, 1e9))
def test_effective_sample_size_lies_between_one_and_all(seed: int, n: int, scale: float) -> None:
    weights = np.random.default_rng(seed).random(n) ** 3
    size = effective_sample_size(weights)
    assert 1 - 1e-9 <= size <= n * (1 + 1e-9)
    assert effective_sample_size(scale * weights) == pytest.approx(size)
    assert effective_sample_size(np.append(weights, [0, 0])) == pytest.approx(size)
    assert effective_sample_size(np.full(n, scale)) == pytest.approx(n)
    assert effective_sample_size(np.repeat(weights, 2)) == pytest.approx(2 * size)


# ------------------------------------------------------------------ states

BETAS = np.array([1.0, 0.5])  # k_B = 1: temperatures 1 and 2
ENERGY = (0.0, 3.0)  # of the bottoms of two wells
DEGREES = (2, 8)  # of freedom in each
LOG_VOLUME = (0.0, 0.5)


def log_z(beta: Any) -> np.ndarray:
    """Partition functions of two harmonic wells, the state last."""
    beta = np.asarray(beta, dtype=float)[..., None]
    return np.array(LOG_VOLUME) - beta * np.array(ENERGY) - np.array(DEGREES) / 2 * np.log(beta)


def two_wells(seed: int, n: int = 20_000) -> tuple[np.ndarray, np.ndarray, Mixture]:
    """Energies, states and mixture of frames drawn exactly at both temperatures."""
    rng = np.random.default_rng(seed)
    states, energies = [], []
    for beta in BETAS:
        share = np.exp(log_z(beta))
        state = (rng.random(n) > share[0] / share.sum()).astype(int)
        thermal = rng.gamma(np.array(DEGREES)[state] / 2, 1 / beta)
        states.append(state)
        energies.append(np.array(ENERGY)[state] + thermal)
    energy = np.concatenate(energies)
    origin = np.repeat([0, 1], n)
    return energy, np.concatenate(states), mixture(energy[:, None] * BETAS, origin, block=10)


def exact_differences(temperature: float) -> np.ndarray:
    """F, U, S, C of well 1 less those of well 0."""
    f, (e, n) = -temperature * np.diff(log_z(1 / temperature))[0], np.diff([ENERGY, DEGREES])[:, 0]
    u = e + n / 2 * temperature
    return np.array([f, u, (u - f) / temperature, n / 2])


def differences(
    energy: np.ndarray, states: np.ndarray, found: Mixture, temperature: float
) -> tuple[np.ndarray, np.ndarray]:
    moments = state_moments(found, energy / temperature, states, 2, energy)
    return state_differences(moments, 1, [0], temperature, 1.0)


@pytest.mark.parametrize("temperature", [1.0, 1.4, 2.0, 3.0])
def test_two_harmonic_wells_and_their_error_bars(temperature: float) -> None:
    values, errors = zip(
        *(differences(*two_wells(seed, 3000), temperature) for seed in range(60)), strict=True
    )
    spread = np.std(values, axis=0, ddof=1)
    truth = exact_differences(temperature)
    assert (np.abs(np.mean(values, axis=0) - truth) < 4 * spread / np.sqrt(60) + 0.01).all()
    np.testing.assert_allclose(np.sqrt(np.mean(np.square(errors), axis=0)), spread, rtol=0.3)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_wells_to_one_in_a_hundred(seed: int) -> None:
    value, error = differences(*two_wells(seed, 200_000), 1.4)
    truth = exact_differences(1.4)
    assert (np.abs(value - truth) < 4 * error).all()
    np.testing.assert_allclose(value[1:3], truth[1:3], rtol=0.01)


def test_thermodynamics_are_derivatives_of_the_free_energy() -> None:
    """d(beta F)/d beta = U, dU/dT = C, -dF/dT = S; with curvature too."""
    energy, states, found = two_wells(0, 500)
    c = -np.random.default_rng(1).random(len(energy))

    def at(t: float) -> np.ndarray:
        step = 1 / t - 1.0
        u, slope = energy / t + step**2 / 2 * c, energy + step * c
        moments = state_moments(found, u, states, 2, slope, c)
        return state_differences(moments, 1, [0], t, 1.0)[0]

    t, d = 1.3, 1e-4
    up, down, here = at(t + d), at(t - d), at(t)
    free, u, s, capacity = here
    assert (up[0] / (t + d) - down[0] / (t - d)) / (1 / (t + d) - 1 / (t - d)) == pytest.approx(
        u, rel=1e-5
    )
    assert -(up[0] - down[0]) / (2 * d) == pytest.approx(s, rel=1e-5)
    assert (up[1] - down[1]) / (2 * d) == pytest.approx(capacity, rel=1e-4)
    assert s == pytest.approx((u - free) / t)


def test_heat_capacity_of_an_oscillator() -> None:
    energy, origin, u = heated(0, BETAS, (40_000, 40_000), dimension=5)
    found = mixture(u, origin, block=10)
    moments = state_moments(found, energy / 1.5, np.zeros(len(energy), int), 1, energy)
    value, error = heat_capacity(moments, 1.5, 1.0)
    assert abs(value - 2.5) < 4 * error
    assert 0 < error < 0.1


@few
@given(seed=seeds, shift=st.floats(-1e3, 1e3))
def test_shifts_and_order_change_nothing(seed: int, shift: float) -> None:
    energy, states, found = two_wells(seed, 200)
    values, errors = differences(energy, states, found, 1.4)
    moved = mixture((energy[:, None] + shift) * BETAS, found.origin, block=10)
    for again in (
        differences(energy + shift, states, moved, 1.4),
        permuted(energy, states, found, np.random.default_rng(seed).permutation(len(energy))),
    ):
        np.testing.assert_allclose(again[0], values, atol=2e-4)
        np.testing.assert_allclose(again[1], errors, atol=2e-4)


def permuted(
    energy: np.ndarray, states: np.ndarray, found: Mixture, order: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    shuffled = Mixture(*(getattr(found, f.name)[order] for f in dataclasses.fields(found)))
    return differences(energy[order], states[order], shuffled, 1.4)


@pytest.mark.parametrize("factor", [0.05, 0.2, 5, 20])
def test_far_temperatures_stay_finite(factor: float) -> None:
    energy, states, found = two_wells(0, 2000)
    temperature = factor * (1.0 if factor < 1 else 2.0)
    values, errors = differences(1e3 + 50 * energy, states, found, temperature)
    assert np.isfinite(values).all()
    assert np.isfinite(errors).all()


def test_an_empty_state_has_no_thermodynamics() -> None:
    energy, states, found = two_wells(0, 200)
    moments = state_moments(found, energy, 0 * states, 2, energy)
    values, errors = state_differences(moments, 1, [0], 1.0, 1.0)
    assert np.isnan(values).all()
    assert np.isnan(errors).all()


@few
@given(seed=seeds)
def test_merging_states_is_relabelling_them(seed: int) -> None:
    energy, _, found = two_wells(seed, 100)
    three = np.random.default_rng(seed).integers(3, size=len(energy))
    fine = state_moments(found, energy / 1.4, three, 3, energy)
    coarse = state_moments(found, energy / 1.4, np.minimum(three, 1), 2, energy)
    for mine, other in zip(fine.merged([1, 2]), coarse.merged([1]), strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-9)


@few
@given(seed=seeds)
def test_weights_at_simulated_temperatures_sum_to_one_unnormalised(seed: int) -> None:
    """MBAR's self-consistency: sum_n exp(f_k - u_k(n)) / sum_l N_l exp(f_l - u_l(n)) = 1."""
    _, origin, u = heated(seed, (1.0, 0.5), (300, 200))
    found = mixture(u, origin)
    offsets = free_energy_offsets(u, np.bincount(origin))
    total = np.exp(offsets - u - found.log_denominator[:, None]).sum(axis=0)
    np.testing.assert_allclose(total, 1, atol=1e-4)
