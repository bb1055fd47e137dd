"""Weights of pooled frames against harmonic potentials, whose free energies are known exactly."""

from __future__ import annotations

import logging
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter

from latflow.thermodynamics import (
    Bent,
    Curved,
    Curves,
    Energies,
    LogLinear,
    Pool,
    Route,
    Snapshot,
    Weighting,
    averages,
    block_populations,
    effective_sample_size,
    free_energy_offsets,
    heat_capacity,
    line_of_logarithm,
    log_linear_energies,
    reduced_at,
    role_of,
    state_differences,
    state_moments,
)
from latflow.thermodynamics.routes import Shifted
from latflow.units import Units

seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=30, deadline=None)
CLOSE = 3e-5  # in k_B T: what the solver's last step leaves
REDUCED = Units(1.0)


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


class Table:
    """A route that is a table: column k holds the reduced energies at an `inverse temperature` k.

    Wells need not lie on one line of inverse temperatures.
    """

    def __init__(self, columns: np.ndarray) -> None:
        self.columns = columns

    def reduced(self, beta: float) -> np.ndarray:
        return self.columns[:, int(beta)]

    def derivatives(self, beta: float) -> Any:
        raise NotImplementedError


def pooled(betas: Any, origin: np.ndarray, weights: Any = None, block: int = 1) -> Pool:
    weights = np.ones(len(origin)) if weights is None else np.asarray(weights, dtype=float)
    return Pool(np.asarray(betas, float), origin, weights, np.arange(len(origin)) // block)


def solved(
    energy: np.ndarray, betas: Any, origin: np.ndarray, weights: Any = None, block: int = 1
) -> Weighting:
    """Weighting of frames with potential energies."""
    return Weighting.solved(Energies(energy), pooled(betas, origin, weights, block))


def tabled(
    u: np.ndarray, origin: np.ndarray, target: np.ndarray, weights: Any = None, block: int = 1
) -> tuple[Weighting, Snapshot]:
    """Weighting of frames in wells, and its frames weighted for the reduced energies `target`."""
    n = u.shape[1]
    route = Table(np.column_stack([u, target]))
    weighting = Weighting.solved(route, pooled(range(n), origin, weights, block))
    return weighting, weighting.at(n)


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


@pytest.fixture(scope="module")
def pymbar() -> ModuleType:
    """The peer; it advertises JAX in its log."""
    logging.getLogger("pymbar").setLevel(logging.ERROR)
    return pytest.importorskip("pymbar")


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("frames", "exact"),
    [
        (lambda seed: wells(seed), np.log([1, 3]) / 2),
        (lambda seed: wells(seed, (900, 100), centres=(0, 3)), np.log([1, 3]) / 2),
        (lambda seed: heated(seed, (1.0, 1.5, 2.5), (500, 500, 500)), np.log([1, 1.5, 2.5]) * 1.5),
        (lambda seed: heated(seed, (1.0, 1.5, 2.5), (400, 1000, 300)), np.log([1, 1.5, 2.5]) * 1.5),
    ],
    ids=["two wells", "unequal wells", "three temperatures", "unequal temperatures"],
)
def test_offsets_are_pymbar_s_and_the_exact_ones(
    pymbar: ModuleType, frames: Any, exact: Any, seed: int
) -> None:
    _, origin, u = frames(seed)
    peer = pymbar.MBAR(u.T, np.bincount(origin), solver_protocol="robust")
    differences = peer.compute_free_energy_differences()
    offsets = free_energy_offsets(u, np.bincount(origin))
    np.testing.assert_allclose(offsets, peer.f_k - peer.f_k[0], atol=1e-6)
    assert (np.abs(offsets - exact)[1:] < 5 * differences["dDelta_f"][0, 1:]).all()


@pytest.mark.parametrize("beta", [0.7, 1.3, 2.5, 4.0])
@pytest.mark.parametrize("counts", [(500, 500, 500), (900, 100, 30)], ids=["equal", "unequal"])
def test_weights_at_a_temperature_never_simulated_are_pymbar_s(
    pymbar: ModuleType, counts: Any, beta: float
) -> None:
    """For pymbar the temperature is one more state, of which there is no frame."""
    betas = (1.0, 1.5, 2.0)
    energy, origin, u = heated(0, betas, counts)
    u = np.column_stack([u, beta * energy])
    peer = pymbar.MBAR(u.T, [*counts, 0], solver_protocol="robust")
    weighting = solved(energy, betas, origin)
    for k, t in enumerate((*betas, beta)):
        np.testing.assert_allclose(weighting.at(t).weights, peer.weights()[:, k], rtol=1e-6)


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
    offsets = free_energy_offsets(u[:, ks], counts[ks], weights)
    np.testing.assert_allclose(offsets, expected[ks] - expected[ks[0]], atol=CLOSE)


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
    target = 2 * u[:, 0]
    _, single = tabled(u, origin, target, times)
    _, repeated = tabled(u[again], origin[again], target[again])
    expected = np.bincount(again, weights=repeated.weights)
    np.testing.assert_allclose(single.weights, expected, rtol=CLOSE)


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
        offsets = free_energy_offsets(u + 1e7, counts)
        np.testing.assert_allclose(offsets, free_energy_offsets(u, counts), atol=CLOSE)


@pytest.mark.parametrize("distance", [15.0, 30.0, 100.0])
def test_temperatures_with_nothing_in_common_are_refused(distance: float) -> None:
    _, origin, u = wells(0, centres=(0.0, distance), stiffness=(1.0, 1.0))
    with pytest.raises(ValueError, match="simulated temperatures that visit common regions"):
        free_energy_offsets(u, np.bincount(origin))


# ------------------------------------------------------------------ weights of frames


@few
@given(seed=seeds)
def test_every_simulated_temperature_gets_the_weight_of_its_frames(seed: int) -> None:
    weights = np.random.default_rng(seed).random(75) + 0.1
    _, origin, u = wells(seed, (30, 20, 25), centres=(0, 1, 2), stiffness=(1, 2, 1))
    weighting, _ = tabled(u, origin, u[:, 0], weights)
    np.testing.assert_allclose(weighting.membership.sum(axis=1), 1)
    counts = np.bincount(origin, weights=weights)
    np.testing.assert_allclose(weights @ weighting.membership, counts, rtol=CLOSE)
    for k in range(3):
        expected = weights * weighting.membership[:, k] / counts[k]
        np.testing.assert_allclose(weighting.at(k).weights, expected, rtol=CLOSE)


@few
@given(seed=seeds, shift=st.floats(-500, 500))
def test_frame_weights_of_one_temperature_at_it_are_the_frames_own(seed: int, shift: float) -> None:
    rng = np.random.default_rng(seed)
    u, weights = 10 * rng.standard_normal((40, 1)), rng.random(40)
    weights[::7] = 0
    _, snapshot = tabled(u, np.zeros(40, dtype=int), u[:, 0] + shift, weights)
    np.testing.assert_allclose(snapshot.weights, weights / weights.sum(), atol=1e-14)


@few
@given(seed=seeds, scale=st.floats(1e-6, 1e6), shift=st.floats(-1e3, 1e3))
def test_what_does_not_change_the_weights(seed: int, scale: float, shift: float) -> None:
    rng = np.random.default_rng(seed)
    _, origin, u = wells(seed, (30, 20))
    weights, target = rng.random(50) + 0.1, u.mean(axis=1)
    expected = tabled(u, origin, target, weights)[1].weights
    assert expected.sum() == pytest.approx(1)

    def same(rows: Any, *arguments: Any) -> None:
        np.testing.assert_allclose(tabled(*arguments)[1].weights, expected[rows], rtol=CLOSE)

    same(slice(None), u, origin, target + shift, scale * weights)
    common = 10 * rng.standard_normal(50)
    same(slice(None), u + common[:, None], origin, target + common, weights)
    order = rng.permutation(50)
    same(order, u[order], origin[order], target[order], weights[order])


@few
@given(seed=seeds, factor=st.floats(np.log(0.05), np.log(20)).map(np.exp))
def test_extreme_temperatures_give_finite_weights(seed: int, factor: float) -> None:
    energy, origin, _ = heated(seed, (1.0, 1.5), (200, 200), dimension=30)
    weights = solved(energy, (1.0, 1.5), origin).at(factor).weights
    assert np.isfinite(weights).all()
    assert (weights >= 0).all()
    assert weights.sum() == pytest.approx(1)


@pytest.mark.parametrize("beta", [0.85, 1.0, 1.3, 1.6, 2.2])
def test_mean_energy_at_a_temperature_never_simulated(beta: float) -> None:
    deviations = []
    for seed in range(20):
        energy, origin, _ = heated(seed, (1.0, 2.0), (2000, 1000))
        snapshot = solved(energy, (1.0, 2.0), origin, block=10).at(beta)
        mean, error = averages(snapshot, energy[:, None])
        deviations.append((mean[0] - 1.5 / beta) / error[0])
    assert np.abs(deviations).max() < 4
    assert np.abs(np.mean(deviations)) < 4 / np.sqrt(20)


@few
@given(seed=seeds)
def test_weights_at_simulated_temperatures_sum_to_one_unnormalised(seed: int) -> None:
    """MBAR's self-consistency: sum_n exp(f_k - u_k(n)) / sum_l N_l exp(f_l - u_l(n)) = 1."""
    betas = np.array([1.0, 0.5])
    energy, origin, _ = heated(seed, betas, (300, 200))
    weighting = solved(energy, betas, origin)
    offsets = weighting.log_counts - np.log(weighting.pool.counts)
    total = [np.exp(offsets[k] + weighting.at(betas[k]).log_weights).sum() for k in (0, 1)]
    np.testing.assert_allclose(total, 1, atol=1e-4)


# ------------------------------------------------------------------ routes


@few
@given(seed=seeds)
def test_a_log_linear_h_that_is_the_energy_is_mbar(seed: int) -> None:
    """Whatever beta_0 it is counted from."""
    betas = (0.5, 1.0, 1.2)
    energy, origin, _ = heated(seed, betas, (50, 40, 60))
    expected = solved(energy, betas, origin)
    for beta0 in (0.0, 1.0, 7.0):
        route = LogLinear(energy[:, None], beta0)
        weighting = Weighting.solved(route, expected.pool)
        for beta in (0.3, 1.0, 1.7):
            np.testing.assert_allclose(
                weighting.at(beta).weights, expected.at(beta).weights, rtol=20 * CLOSE
            )


def some_routes() -> dict[str, Route]:
    rng = np.random.default_rng(0)
    hc, betas = rng.standard_normal((9, 2)), np.array([0.8, 1.2])
    routes: dict[str, Route] = {
        "energies": Energies(hc[:, 0]),
        "h": LogLinear(hc[:, :1], 1.0),
        "h and c": LogLinear(hc, 1.0),
    }
    extra, line = rng.random(9), line_of_logarithm(betas)
    routes |= {f"curved {k}": Curved(route, extra, line) for k, route in routes.items()}
    curves = some_curves()
    routes |= {f"curves of order {k}": route for k, route in curves.items()}
    routes |= {f"bent curves of order {k}": Bent(route) for k, route in curves.items()}
    return routes | {"shifted": Shifted(curves[3], extra, 0.3, -0.2)}


def some_curves() -> dict[int, Curves]:
    """Curves of 9 frames, of every order, simulated at beta = 0.8, 0.9 and 1.2."""
    rng, betas = np.random.default_rng(1), np.array([1.2, 0.8, 0.9])
    return {
        order: Curves(
            rng.standard_normal((9, order)), betas, 3 * rng.random(9) if order == 3 else None
        )
        for order in (1, 2, 3)
    }


@pytest.mark.parametrize("name", some_routes())
@pytest.mark.parametrize("beta", [0.4, 0.79, 0.81, 1.0, 1.19, 1.21, 2.0])
def test_derivatives_of_a_route_are_those_of_its_reduced_energies(name: str, beta: float) -> None:
    route, step = some_routes()[name], 1e-4
    high, here, low = (route.reduced(b) for b in (beta + step, beta, beta - step))
    slope, curvature = route.derivatives(beta)
    np.testing.assert_allclose(slope, (high - low) / (2 * step), atol=1e-6)
    np.testing.assert_allclose(
        np.zeros(9) if curvature is None else curvature,
        (high - 2 * here + low) / step**2,
        atol=1e-6,
    )


def test_curved_routes_change_no_simulated_temperature_and_have_the_heat_capacity_asked() -> None:
    betas = np.array([0.8, 1.2])
    route = LogLinear(np.array([[1.0], [2.0]]), 1.0)
    curved = Curved(route, np.array([0.0, 3.0]), line_of_logarithm(betas))
    for beta in betas:
        np.testing.assert_allclose(curved.reduced(beta), route.reduced(beta), atol=1e-15)
    for beta in (0.5, 1.0, 2.0):
        _, curvature = curved.derivatives(beta)
        np.testing.assert_allclose(-curvature * beta**2, [0.0, 3.0])  # in k_B


@pytest.mark.parametrize("bent", [False, True])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_curves_do_not_jump_at_the_borders_of_the_simulated_range(order: int, bent: bool) -> None:
    """Neither u nor its slope: a sweep across has no step that a smaller one does not halve."""
    curves = some_curves()[order]
    route: Route = Bent(curves) if bent else curves
    for border in (0.8, 1.2):
        jumps = []
        for width in (1e-3, 1e-5, 1e-7):
            sides = [
                (route.reduced(b), route.derivatives(b)[0])
                for b in border + width * np.array([-1, 1])
            ]
            (u, slope), (other, other_slope) = sides
            jumps.append(max(np.abs(u - other).max(), np.abs(slope - other_slope).max()))
        assert jumps[0] < 0.1
        assert jumps[2] < 2e-4 * jumps[0] + 1e-12


@pytest.mark.parametrize("beta", [0.1, 0.5, 0.79, 1.21, 2.0, 7.0])
def test_outside_of_the_simulated_range_a_heat_capacity_is_constant(beta: float) -> None:
    """That of the curves; up to order 2 the sum goes on, which is the same at every beta."""
    for order, curves in some_curves().items():
        curvature = curves.derivatives(beta)[1]
        if order == 1:
            assert curvature is None
            continue
        middle = curves.betas.mean()
        expected = -(middle**2) * curves.coefficients[:, 1]
        if order == 3:
            expected = curves.heat_capacities
        np.testing.assert_allclose(-curvature * beta**2, expected, rtol=1e-9)


@pytest.mark.parametrize("beta", [0.4, 0.79, 1.21, 2.0])
def test_bent_curves_keep_the_heat_capacity_of_the_border(beta: float) -> None:
    curves = some_curves()[3]
    border = curves.border(beta)
    inside = -curves.derivatives(border)[1] * border**2
    np.testing.assert_allclose(-Bent(curves).derivatives(beta)[1] * beta**2, inside, rtol=1e-9)
    for within in (0.8, 1.0, 1.2):
        np.testing.assert_array_equal(Bent(curves).reduced(within), curves.reduced(within))


def test_curves_of_order_one_are_log_linear() -> None:
    curves = some_curves()[1]
    same = LogLinear(curves.coefficients, float(curves.betas.mean()))
    for beta in (0.3, 1.0, 4.0):
        np.testing.assert_allclose(curves.reduced(beta), same.reduced(beta), atol=1e-14)


@few
@given(seed=seeds)
def test_reduced_energies_at_several_temperatures_are_those_at_each(seed: int) -> None:
    rng = np.random.default_rng(seed)
    route, betas = LogLinear(rng.standard_normal((9, 2)), 1.0), rng.random(4)
    u = reduced_at(route, betas)
    assert u.shape == (9, 4)
    for column, beta in zip(u.T, betas, strict=True):
        np.testing.assert_array_equal(column, route.reduced(beta))


# ------------------------------------------------------------------ error bars


def test_one_temperature_has_the_textbook_error() -> None:
    values = np.random.default_rng(0).standard_normal((50, 3))
    single = solved(np.zeros(50), [1.0], np.zeros(50, dtype=int))
    mean, error = averages(single.at(1.0), values)
    np.testing.assert_allclose(mean, values.mean(axis=0))
    np.testing.assert_allclose(error, values.std(axis=0, ddof=1) / np.sqrt(50))


def test_a_weighting_without_its_pool_has_values_and_no_errors() -> None:
    _, origin, u = wells(0)
    weighting, snapshot = tabled(u, origin, u[:, 0], block=10)
    bare = Weighting(weighting.route, weighting.log_counts, weighting.log_base)
    values = u.copy()
    mean, error = averages(snapshot, values)
    assert (error > 0).all()
    np.testing.assert_array_equal(averages(bare.at(2), values)[0], mean)
    np.testing.assert_array_equal(averages(bare.at(2), values)[1], 0)
    with pytest.raises(ValueError, match="Expected a weighting with its pool"):
        _ = bare.membership


@few
@given(seed=seeds)
def test_bootstraps_draw_whole_blocks_within_each_temperature(seed: int) -> None:
    rng = np.random.default_rng(seed)
    origin, weights = np.repeat([0, 1, 2], (40, 20, 30)), rng.random(90) + 0.1
    pool = Pool(np.arange(1.0, 4.0), origin, weights, rng.permutation(np.arange(90) // 5))
    per_block = pool.redrawn(np.random.default_rng(seed))
    times = pool.weights_of(per_block) / weights
    blocks, kinds = pool.strata
    sizes = np.bincount(kinds)
    counts = per_block * np.maximum(sizes - 3, 1)[kinds] / sizes[kinds]  # in how many draws
    np.testing.assert_allclose(counts, np.round(counts), atol=1e-12)
    drawn = np.full(pool.n_blocks, np.nan)
    drawn[blocks] = times
    np.testing.assert_allclose(times, drawn[blocks])
    np.testing.assert_allclose(drawn, per_block, atol=1e-12)
    for k in range(3):
        assert drawn[kinds == k].sum() == pytest.approx((kinds == k).sum())
    assert drawn.max() > 1


@pytest.mark.parametrize("n", [5, 8, 20])
def test_bootstraps_scatter_by_students_t(n: int) -> None:
    """With as many degrees of freedom as blocks tell an error with."""
    rng = np.random.default_rng(n)
    pool = Pool(np.ones(1), np.zeros(n, int), np.ones(n), np.arange(n))
    values = rng.standard_normal(n)
    means = [pool.redrawn(rng) @ values / n for _ in range(20_000)]
    expected = (n - 1) / (n - 3) * values.var(ddof=1) / n
    assert np.var(means) == pytest.approx(expected, rel=0.05)
    assert np.mean(means) == pytest.approx(values.mean(), abs=4 * np.sqrt(expected / 20_000))


def test_errors_are_the_spread_over_replicas_also_through_the_offsets() -> None:
    means, errors, direct = [], [], []
    for seed in range(200):
        x, origin, u = wells(seed, (300, 150), stiffness=(1.0, 1.0))
        weighting, snapshot = tabled(u, origin, (x - 1.2) ** 2 / 2, block=10)
        values = np.stack([x, x > 1], axis=1).astype(float)
        mean, error = averages(snapshot, values)
        # the offsets taken as known
        pull = snapshot.weights[:, None] * (values - mean)
        means.append(mean)
        errors.append(error)
        pulls = weighting.pool.centred(weighting.pool.block_sums(pull))
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
            _, snapshot = tabled(u, origin, (x - 1) ** 2 / 2, block=block)
            mean, error = averages(snapshot, x[:, None])
            errors.append(error)
        means.append(mean)
    spread = np.std(means, ddof=1)
    assert np.sqrt(np.mean(np.square(blocked))) == pytest.approx(spread, rel=0.25)
    assert np.mean(naive) < 0.4 * spread


def test_a_single_block_has_no_error() -> None:
    values = np.arange(50.0)[:, None]
    _, origin, u = wells(0, (30, 20))
    for block, known in ((50, False), (30, False), (10, True)):
        mean, error = averages(tabled(u, origin, u[:, 0], block=block)[1], values)
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
    columns = np.column_stack([u, u.mean(axis=1)])
    pool = Pool(np.arange(2.0), origin, weights, blocks)
    log_counts = Weighting.solved(Table(columns), pool).log_counts

    def average(rows: Any, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        some = Pool(np.arange(2.0), origin[rows], weights[rows], blocks[rows])
        route = Table(columns[rows])
        weighting = Weighting.of(route, log_counts, u[rows], weights[rows], some)
        return averages(weighting.at(2), values[rows, None])

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


def two_wells(seed: int, n: int = 20_000) -> tuple[np.ndarray, np.ndarray, Weighting]:
    """Energies, states and weighting of frames drawn exactly at both temperatures."""
    rng = np.random.default_rng(seed)
    states, energies = [], []
    for beta in BETAS:
        z = np.exp(log_z(beta))
        state = (rng.random(n) > z[0] / z.sum()).astype(int)
        thermal = rng.gamma(np.array(DEGREES)[state] / 2, 1 / beta)
        states.append(state)
        energies.append(np.array(ENERGY)[state] + thermal)
    energy = np.concatenate(energies)
    weighting = solved(energy, BETAS, np.repeat([0, 1], n), block=10)
    return energy, np.concatenate(states), weighting


def exact_differences(temperature: float) -> np.ndarray:
    """F, U, S, C of well 1 less those of well 0."""
    f, (e, n) = -temperature * np.diff(log_z(1 / temperature))[0], np.diff([ENERGY, DEGREES])[:, 0]
    u = e + n / 2 * temperature
    return np.array([f, u, (u - f) / temperature, n / 2])


def differences(
    states: np.ndarray, weighting: Weighting, temperature: float
) -> tuple[np.ndarray, np.ndarray]:
    moments = state_moments(weighting.at(1 / temperature), states, 2)
    return state_differences(moments, 1, [0], temperature, REDUCED)


@pytest.mark.parametrize("temperature", [1.0, 1.4, 2.0, 3.0])
def test_two_harmonic_wells_and_their_error_bars(temperature: float) -> None:
    values, errors = zip(
        *(differences(*two_wells(seed, 3000)[1:], temperature) for seed in range(60)), strict=True
    )
    spread = np.std(values, axis=0, ddof=1)
    truth = exact_differences(temperature)
    assert (np.abs(np.mean(values, axis=0) - truth) < 4 * spread / np.sqrt(60) + 0.01).all()
    np.testing.assert_allclose(np.sqrt(np.mean(np.square(errors), axis=0)), spread, rtol=0.3)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_wells_to_one_in_a_hundred(seed: int) -> None:
    value, error = differences(*two_wells(seed, 200_000)[1:], 1.4)
    truth = exact_differences(1.4)
    assert (np.abs(value - truth) < 4 * error).all()
    np.testing.assert_allclose(value[1:3], truth[1:3], rtol=0.01)


def test_thermodynamics_are_derivatives_of_the_free_energy() -> None:
    """d(beta F)/d beta = U, dU/dT = C, -dF/dT = S; with curvature too."""
    energy, states, weighting = two_wells(0, 500)
    c = -np.random.default_rng(1).random(len(energy))
    curved = Weighting.solved(LogLinear(np.stack([energy, c], axis=1), 1.0), weighting.pool)

    def at(t: float) -> np.ndarray:
        return differences(states, curved, t)[0]

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
    energy, origin, _ = heated(0, BETAS, (40_000, 40_000), dimension=5)
    snapshot = solved(energy, BETAS, origin, block=10).at(1 / 1.5)
    moments = state_moments(snapshot, np.zeros(len(energy), int), 1)
    value, error = heat_capacity(moments, 1.5, REDUCED)
    assert abs(value - 2.5) < 4 * error
    assert 0 < error < 0.1


@few
@given(seed=seeds, shift=st.floats(-1e3, 1e3))
def test_shifts_and_order_change_nothing(seed: int, shift: float) -> None:
    energy, states, weighting = two_wells(seed, 200)
    expected = differences(states, weighting, 1.4)
    pool = weighting.pool
    moved = solved(energy + shift, BETAS, pool.origin, block=10)
    np.testing.assert_allclose(differences(states, moved, 1.4), expected, atol=2e-4)
    order = np.random.default_rng(seed).permutation(len(energy))
    permuted = Weighting(
        Energies(energy[order]),
        weighting.log_counts,
        weighting.log_base[order],
        Pool(BETAS, pool.origin[order], pool.weights[order], pool.blocks[order]),
    )
    np.testing.assert_allclose(differences(states[order], permuted, 1.4), expected, atol=1e-8)


@few
@given(seed=seeds)
def test_units_scale_energies_entropies_and_heat_capacities(seed: int) -> None:
    """k_B = 2 with temperatures halved: the same betas and energies."""
    _, states, weighting = two_wells(seed, 200)
    moments = state_moments(weighting.at(1 / 1.4), states, 2)
    reduced, doubled = (
        np.array(state_differences(moments, 1, [0], t, Units(k))) for k, t in ((1, 1.4), (2, 0.7))
    )
    np.testing.assert_allclose(doubled, reduced * [1, 1, 2, 2])
    capacities = heat_capacity(moments, 1.4, REDUCED), heat_capacity(moments, 0.7, Units(2.0))
    np.testing.assert_allclose(capacities[1], np.multiply(2, capacities[0]))


@pytest.mark.parametrize("factor", [0.05, 0.2, 5, 20])
def test_far_temperatures_stay_finite(factor: float) -> None:
    energy, states, weighting = two_wells(0, 2000)
    temperature = factor * (1.0 if factor < 1 else 2.0)
    route = Energies(1e3 + 50 * energy)
    wide = Weighting(route, weighting.log_counts, weighting.log_base, weighting.pool)
    values, errors = differences(states, wide, temperature)
    assert np.isfinite(values).all()
    assert np.isfinite(errors).all()


def test_an_empty_state_has_no_thermodynamics() -> None:
    _, states, weighting = two_wells(0, 200)
    values, errors = differences(0 * states, weighting, 1.0)
    assert np.isnan(values).all()
    assert np.isnan(errors).all()


@few
@given(seed=seeds)
def test_merging_states_is_relabelling_them(seed: int) -> None:
    energy, _, weighting = two_wells(seed, 100)
    three = np.random.default_rng(seed).integers(3, size=len(energy))
    snapshot = weighting.at(1 / 1.4)
    fine = state_moments(snapshot, three, 3)
    coarse = state_moments(snapshot, np.minimum(three, 1), 2)
    for merged, expected in zip(fine.merged([1, 2]), coarse.merged([1]), strict=True):
        np.testing.assert_allclose(merged, expected, atol=1e-9)


@few
@given(seed=seeds)
def test_populations_are_averages_of_indicators(seed: int) -> None:
    energy, _, weighting = two_wells(seed, 100)
    states = np.random.default_rng(seed).integers(3, size=len(energy))
    snapshot = weighting.at(1 / 1.4)
    populations = state_moments(snapshot, states, 3).populations()
    np.testing.assert_allclose(populations, averages(snapshot, np.eye(3)[states]), atol=1e-12)


# ------------------------------------------------------------------ words for temperatures


@pytest.mark.parametrize(
    ("temperature", "role"),
    [
        (300.0, "simulated"),
        (450.0 * (1 + 1e-9), "simulated"),
        (301.0, "between"),
        (299.0, "beyond"),
        (451.0, "beyond"),
    ],
)
def test_roles_of_temperatures(temperature: float, role: str) -> None:
    assert role_of(temperature, [450.0, 300.0, 350.0]) == role


@pytest.mark.parametrize("seed", range(3))
def test_populations_of_single_temperatures_are_weighted_averages(seed: int) -> None:
    """Each temperature by itself: as averages over its own frames, errors and all."""
    rng = np.random.default_rng(seed)
    origin, blocks = np.repeat([0, 1], [900, 600]), np.repeat(np.arange(15), 100)
    pool = Pool(np.array([1.0, 2.0]), origin, rng.random(1500), blocks)
    states = rng.integers(0, 3, 1500)
    population, error = block_populations(pool, states, 3)
    for k in range(2):
        here = origin == k
        alone = Pool(np.ones(1), np.zeros(here.sum(), int), pool.weights[here], blocks[here])
        snapshot = Weighting.solved(Energies(np.zeros(here.sum())), alone).at(1.0)
        value, spread = averages(snapshot, np.eye(3)[states[here]])
        np.testing.assert_allclose(population[k], value, rtol=1e-12)
        np.testing.assert_allclose(error[k], spread, rtol=1e-10)
