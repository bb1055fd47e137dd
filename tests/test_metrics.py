"""Laws of the distances between ensembles and of the VAMP-2 score."""

from __future__ import annotations

from collections.abc import Callable
from math import gamma, log, pi, sqrt
from typing import Any

import numpy as np
import pytest
from deeptime.decomposition import vamp_score_data
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from latflow.metrics import (
    jensen_shannon,
    jensen_shannon_noise_floor,
    jensen_shannon_to_density,
    sliced_wasserstein,
    vamp2,
)

PAIRWISE = [jensen_shannon, sliced_wasserstein]
seeds = st.integers(0, 2**32 - 1)


def gaussian(n: int, d: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d))


def half_moved(samples: np.ndarray, by: float) -> np.ndarray:
    moved = samples.copy()
    moved[::2] += by
    return moved


class TestJensenShannon:
    @pytest.mark.parametrize("d", [1, 2, 3])
    @pytest.mark.parametrize("pseudocount", [0.0, 0.5, 3.0])
    def test_agrees_with_scipy_on_numpy_histograms(self, d: int, pseudocount: float) -> None:
        a, b = gaussian(3000, d, 0), 1.3 * gaussian(2000, d, 1) + 0.2
        box = [(-2.0, 2.5)] * d
        inside = [s[np.all((s > -2) & (s < 2.5), axis=1)] for s in (a, b)]
        p, q = (np.histogramdd(s, bins=7, range=box)[0].ravel() + pseudocount for s in inside)
        value = jensen_shannon(*inside, bins=7, range=box, pseudocount=pseudocount)
        assert value == pytest.approx(jensenshannon(p, q) ** 2, rel=1e-9)

    @settings(max_examples=50, deadline=None)
    @given(
        seed=seeds,
        d=st.integers(1, 3),
        shift=st.floats(-50, 50),
        pseudocount=st.floats(0, 5),
        bins=st.integers(1, 12),
    )
    def test_symmetric_bounded_and_zero_for_equals(
        self, seed: int, d: int, shift: float, pseudocount: float, bins: int
    ) -> None:
        a, b = gaussian(60, d, seed), gaussian(45, d, seed + 1) + shift
        value = jensen_shannon(a, b, bins=bins, pseudocount=pseudocount)
        assert 0 <= value <= log(2)
        reverse = jensen_shannon(b, a, bins=bins, pseudocount=pseudocount)
        assert value == pytest.approx(reverse, abs=1e-12)
        assert jensen_shannon(a, a[::-1], bins=bins, pseudocount=pseudocount) == 0

    @settings(max_examples=25, deadline=None)
    @given(seed=seeds, power=st.integers(-300, 300))
    def test_unit_of_the_samples_does_not_matter(self, seed: int, power: int) -> None:
        a, b = gaussian(80, 2, seed), gaussian(80, 2, seed + 1)
        assert jensen_shannon(a * 2.0**power, b * 2.0**power) == jensen_shannon(a, b)

    def test_disjoint_samples_reach_log_two(self) -> None:
        a = np.random.default_rng(0).random(100)
        assert jensen_shannon(a, a + 5, pseudocount=0) == pytest.approx(log(2))

    def test_mass_far_away_counts(self) -> None:
        # The reference's divergence falls when half of the mass is moved 50 sigma away.
        a, b = gaussian(5000, 2, 0), gaussian(5000, 2, 1)
        floor = jensen_shannon_noise_floor(a, 5000, random_state=0)
        assert jensen_shannon(a, b) < 1.5 * floor
        assert jensen_shannon(a, half_moved(b, 50.0)) > 5 * floor
        box = [(-4, 4), (-4, 4)]
        outside = jensen_shannon(a, half_moved(b, 50.0), range=box)
        assert outside > 5 * jensen_shannon(a, b, range=box)

    def test_samples_outside_count_at_the_edge(self) -> None:
        inside = np.array([0.05, 0.5, 0.95])
        far = np.array([-1e300, 0.5, 1e300])
        assert jensen_shannon(inside, far, bins=10, range=(0, 1)) == 0
        assert jensen_shannon(inside, [0.5, 0.5, 0.5], bins=10, range=(0, 1)) > 0

    def test_weights_stand_for_repetition(self) -> None:
        a, b = gaussian(200, 2, 0), gaussian(300, 2, 1)
        counts = np.random.default_rng(2).integers(0, 4, 200)
        settings = {"bins": 6, "pseudocount": 0.0, "range": [(-5, 5)] * 2}
        weighted = jensen_shannon(a, b, weights_a=counts, **settings)
        assert weighted == pytest.approx(jensen_shannon(np.repeat(a, counts, 0), b, **settings))
        assert weighted != pytest.approx(jensen_shannon(a, b, **settings), rel=1e-3)
        mirrored = jensen_shannon(b, a, weights_b=counts, **settings)
        assert weighted == pytest.approx(mirrored)

    @pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
    def test_weights_keep_the_number_of_samples(self, scale: float) -> None:
        a, b = gaussian(200, 1, 0), gaussian(300, 1, 1)
        weighted = jensen_shannon(a, b, weights_a=np.full(200, scale))
        assert weighted == pytest.approx(jensen_shannon(a, b))

    def test_one_dimension_in_either_shape(self) -> None:
        a, b = gaussian(200, 1, 0), gaussian(300, 1, 1)
        assert jensen_shannon(a[:, 0], b[:, 0]) == jensen_shannon(a, b)
        explicit = jensen_shannon(a, b, range=(-3, 3))
        assert explicit == jensen_shannon(a, b, range=[(-3, 3)])

    @pytest.mark.parametrize("value", [0.0, 1.0, -1e20])
    def test_constant_samples(self, value: float) -> None:
        assert jensen_shannon(np.full(10, value), np.full(20, value), pseudocount=0) == 0

    @pytest.mark.parametrize("bad", [0, 2.5, None])
    def test_bad_bins(self, bad: object) -> None:
        with pytest.raises(ValueError, match="Expected `bins` to be an integer >= 1"):
            jensen_shannon([0.0, 1.0], [0.0, 1.0], bins=bad)

    def test_bad_pseudocount(self) -> None:
        with pytest.raises(ValueError, match="Expected `pseudocount` to be a finite number >= 0"):
            jensen_shannon([0.0, 1.0], [0.0, 1.0], pseudocount=-1)

    @pytest.mark.parametrize(
        ("limits", "message"),
        [
            ((0, 1, 2), r"`range` of shape \(2, 2\), got \(3,\)"),
            ((0, 1), r"`range` of shape \(2, 2\), got \(2,\)"),
            ([(0, 1), (1, 1)], "lower < upper in `range`"),
            ([(0, 1), (0, np.inf)], "finite limits"),
        ],
    )
    def test_bad_range(self, limits: Any, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            jensen_shannon(gaussian(9, 2, 0), gaussian(9, 2, 1), range=limits)

    def test_too_many_dimensions(self) -> None:
        with pytest.raises(ValueError, match=r"at most 3 dimensions .* use `sliced_wasserstein`"):
            jensen_shannon(gaussian(9, 4, 0), gaussian(9, 4, 1))


@pytest.mark.parametrize("distance", PAIRWISE)
class TestBadSamples:
    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_not_finite(self, distance: Callable[..., float], bad: float) -> None:
        with pytest.raises(ValueError, match="Expected finite numbers in `samples_b`"):
            distance([0.0, 1.0], [0.0, bad])

    @pytest.mark.parametrize("bad", [[], np.zeros((3, 0)), np.zeros((2, 2, 2)), 1.0])
    def test_wrong_shape(self, distance: Callable[..., float], bad: Any) -> None:
        with pytest.raises(ValueError, match=r"Expected `samples_a` of shape \(n_samples,\)"):
            distance(bad, [0.0, 1.0])

    def test_dimensions_differ(self, distance: Callable[..., float]) -> None:
        with pytest.raises(ValueError, match="same number of dimensions, got 2 and 1"):
            distance(np.zeros((3, 2)), np.zeros(3))

    @pytest.mark.parametrize("bad", [[1.0, -1.0], [1.0], [0.0, 0.0], [1.0, np.nan]])
    @pytest.mark.parametrize("name", ["weights_a", "weights_b"])
    def test_weights(self, distance: Callable[..., float], name: str, bad: list[float]) -> None:
        with pytest.raises(ValueError, match="weights"):
            distance([0.0, 1.0], [0.0, 1.0], **{name: bad})


class TestToDensity:
    @pytest.mark.parametrize("d", [1, 2, 3])
    def test_a_histogram_as_density_gives_the_two_sample_value(self, d: int) -> None:
        a, b = gaussian(500, d, 0), gaussian(500, d, 1) * np.arange(1, d + 1)
        box = [(-20.0, 21.0)] * d
        shape = (9, 9, 9)[:d]
        histogram = np.histogramdd(b, bins=shape, range=box)[0]
        value = jensen_shannon_to_density(a, 7 * histogram, range=box)
        assert value == pytest.approx(jensen_shannon(a, b, bins=9, range=box))

    def test_vanishes_for_many_samples_of_the_density(self) -> None:
        edges = np.linspace(-5, 5, 31)
        probabilities = np.diff([0.5 * (1 + np.tanh(x)) for x in edges])
        uniform = np.random.default_rng(0).random(300_000)
        samples = np.arctanh(2 * uniform - 1)
        values = [
            jensen_shannon_to_density(samples[:n], probabilities, range=(-5, 5))
            for n in (300, 300_000)
        ]
        assert values[1] < 5e-5 < values[0] / 100
        shifted = jensen_shannon_to_density(samples + 0.5, probabilities, range=(-5, 5))
        assert shifted > 100 * values[1]

    def test_axes_are_in_the_order_of_the_columns(self) -> None:
        samples = np.column_stack([np.full(50, 0.1), np.full(50, 0.9)])
        probabilities = np.zeros((2, 3))
        probabilities[0, 2] = 1
        box = [(0, 1), (0, 1)]
        assert jensen_shannon_to_density(samples, probabilities, range=box) == 0

    def test_weights(self) -> None:
        samples, weights = np.array([0.25, 0.75]), np.array([3.0, 1.0])
        value = jensen_shannon_to_density(samples, [0.75, 0.25], range=(0, 1), weights=weights)
        assert value == pytest.approx(0, abs=1e-15)

    @pytest.mark.parametrize(
        ("bad", "message"),
        [
            (np.ones((2, 2)), "one axis per dimension of `samples`"),
            ([], "at least one bin"),
            ([-0.1, 1.1], "not negative"),
            ([0.0, 0.0], "not all zero"),
            ([np.nan, 1.0], "finite"),
        ],
    )
    def test_bad_probabilities(self, bad: Any, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            jensen_shannon_to_density([0.1, 0.2], bad, range=(0, 1))


class TestNoiseFloor:
    @pytest.mark.parametrize(("d", "n_a", "n_b"), [(1, 500, 500), (2, 4000, 4000), (2, 4000, 900)])
    def test_agrees_with_independent_pairs(self, d: int, n_a: int, n_b: int) -> None:
        box = [(-4, 4)] * d
        measured = [
            jensen_shannon(gaussian(n_a, d, 2 * s), gaussian(n_b, d, 2 * s + 1), range=box)
            for s in range(10)
        ]
        floor = jensen_shannon_noise_floor(
            gaussian(50_000, d, 99), n_a, n_b, range=box, random_state=0
        )
        assert floor == pytest.approx(np.mean(measured), rel=0.3)

    def test_falls_with_the_size(self) -> None:
        samples = gaussian(10_000, 2, 0)
        sizes = (300, 3000, 30_000)
        floors = [jensen_shannon_noise_floor(samples, n, random_state=0) for n in sizes]
        assert floors[0] > floors[1] > 3 * floors[2] > 0

    def test_the_seed_decides(self) -> None:
        samples = gaussian(1000, 1, 0)
        first, again, other = (
            jensen_shannon_noise_floor(samples, 100, random_state=s) for s in (1, 1, 2)
        )
        assert first == again != other
        first, again, other = (
            jensen_shannon_noise_floor(samples, 100, random_state=np.random.RandomState(s))
            for s in (1, 1, 2)
        )
        assert first == again != other

    @pytest.mark.parametrize("name", ["n_a", "n_b", "n_repeats"])
    def test_bad_counts(self, name: str) -> None:
        arguments = {"n_a": 10, name: 0}
        with pytest.raises(ValueError, match=f"Expected `{name}` to be an integer >= 1, got 0"):
            jensen_shannon_noise_floor([0.0, 1.0], **arguments)


class TestSlicedWasserstein:
    @settings(max_examples=30, deadline=None)
    @given(seed=seeds, shift=st.floats(-1e3, 1e3))
    def test_shift_in_one_dimension(self, seed: int, shift: float) -> None:
        a = gaussian(50, 1, seed)
        assert sliced_wasserstein(a, a + shift) == pytest.approx(abs(shift), abs=1e-9)

    @pytest.mark.parametrize("d", [2, 5, 10])
    def test_shift_in_more_dimensions(self, d: int) -> None:
        a, shift = gaussian(20, d, 0), gaussian(1, d, 1)
        expected = np.linalg.norm(shift) * gamma(d / 2) / (sqrt(pi) * gamma((d + 1) / 2))
        value = sliced_wasserstein(a, a + shift, n_projections=2000, random_state=0)
        assert value == pytest.approx(expected, rel=0.06)

    @settings(max_examples=20, deadline=None)
    @given(seed=seeds, d=st.integers(1, 6), scale=st.floats(1e-3, 1e3))
    def test_a_distance(self, seed: int, d: int, scale: float) -> None:
        a, b, c = (gaussian(n, d, seed + n) for n in (30, 40, 50))
        settings = {"n_projections": 10, "random_state": 3}
        ab = sliced_wasserstein(a, b, **settings)
        assert sliced_wasserstein(a, a[::-1], **settings) == pytest.approx(0, abs=1e-12)
        assert sliced_wasserstein(b, a, **settings) == pytest.approx(ab)
        scaled = sliced_wasserstein(scale * a + 1, scale * b + 1, **settings)
        assert scaled == pytest.approx(scale * ab, rel=1e-6)
        detour = sliced_wasserstein(a, c, **settings) + sliced_wasserstein(c, b, **settings)
        assert 0 < ab <= detour + 1e-12

    def test_rotation_of_both(self) -> None:
        a, b = gaussian(200, 3, 0), gaussian(200, 3, 1) * [1, 2, 3]
        rotation = np.linalg.qr(gaussian(3, 3, 2))[0]
        values = [
            sliced_wasserstein(a @ r, b @ r, n_projections=2000, random_state=0)
            for r in (np.eye(3), rotation)
        ]
        assert values[1] == pytest.approx(values[0], rel=0.05)

    def test_weights_stand_for_repetition(self) -> None:
        a, b = gaussian(50, 2, 0), gaussian(60, 2, 1)
        counts = np.random.default_rng(2).integers(0, 4, 50)
        weighted = sliced_wasserstein(a, b, weights_a=5.0 * counts, random_state=0)
        repeated = sliced_wasserstein(np.repeat(a, counts, axis=0), b, random_state=0)
        assert weighted == pytest.approx(repeated)
        mirrored = sliced_wasserstein(b, a, weights_b=counts, random_state=0)
        assert weighted == pytest.approx(mirrored)

    def test_the_seed_decides(self) -> None:
        a, b = gaussian(50, 3, 0), gaussian(60, 3, 1)
        first, again, other = (
            sliced_wasserstein(a, b, n_projections=5, random_state=s) for s in (1, 1, 2)
        )
        assert first == again != other

    def test_bad_count(self) -> None:
        with pytest.raises(ValueError, match="Expected `n_projections` to be an integer >= 1"):
            sliced_wasserstein([0.0], [1.0], n_projections=0)


def lagged_pairs(n: int, d: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs with different canonical correlations, means and scales per dimension."""
    rng = np.random.default_rng(seed)
    z0 = rng.standard_normal((n, d))
    correlation = np.linspace(0.9, 0.2, d)
    z1 = correlation * z0 + np.sqrt(1 - correlation**2) * rng.standard_normal((n, d))
    return z0 @ rng.standard_normal((d, d)) + 3, 5 * z1 - 1


class TestVamp2:
    @pytest.mark.parametrize("d", [1, 2, 5])
    def test_agrees_with_deeptime(self, d: int) -> None:
        z0, z1 = lagged_pairs(2000, d, d)
        expected = vamp_score_data(z0, z1, r=2, epsilon=1e-12)
        assert vamp2(z0, z1) == pytest.approx(expected, rel=1e-8)

    def test_known_correlations(self) -> None:
        z0, z1 = lagged_pairs(50_000, 3, 0)
        exact = 1 + np.square(np.linspace(0.9, 0.2, 3)).sum()
        assert vamp2(z0, z1) == pytest.approx(exact, abs=0.02)

    def test_two_state_chain(self) -> None:
        transition = np.array([[0.9, 0.1], [0.3, 0.7]])
        frequency = np.round(4000 * np.array([0.75, 0.25])[:, None] * transition).astype(int)
        start, end = (np.repeat(i.ravel(), frequency.ravel()) for i in np.indices((2, 2)))
        eigenvalue = 0.9 + 0.7 - 1
        assert vamp2(start, end) == pytest.approx(1 + eigenvalue**2)
        assert vamp2(np.eye(2)[start], np.eye(2)[end]) == pytest.approx(1 + eigenvalue**2)

    @settings(max_examples=50, deadline=None)
    @given(seed=seeds, d=st.integers(1, 4), n=st.integers(2, 60))
    def test_bounds_and_full_score_of_a_bijection(self, seed: int, d: int, n: int) -> None:
        z0, z1 = gaussian(n, d, seed), gaussian(n, d, seed + 1)
        rank = min(d, n - 1)
        assert 1 <= vamp2(z0, z1) <= 1 + rank + 1e-9
        assert vamp2(z0, 2 - 3 * z0) == pytest.approx(1 + rank)

    @settings(max_examples=50, deadline=None)
    @given(seed=seeds)
    def test_invariant_under_linear_maps(self, seed: int) -> None:
        z0, z1 = lagged_pairs(100, 3, seed)
        rng = np.random.default_rng(seed)
        maps = [np.linalg.qr(rng.standard_normal((3, 3)))[0] * [0.1, 1, 10] for _ in range(2)]
        moved = vamp2(z0 @ maps[0] + 5, z1 @ maps[1] - 7)
        assert moved == pytest.approx(vamp2(z0, z1), rel=1e-9)

    @pytest.mark.parametrize("scale", [1e-300, 1e-150, 1e-6, 1e6, 1e150, 1e300])
    def test_any_scale(self, scale: float) -> None:
        z0, z1 = lagged_pairs(100, 2, 0)
        expected = vamp2(z0, z1)
        assert vamp2(z0 * scale, z1) == pytest.approx(expected)
        assert vamp2(z0 * [1, scale], z1 * scale) == pytest.approx(expected)

    def test_directions_without_variance_contribute_nothing(self) -> None:
        z0, z1 = lagged_pairs(100, 2, 0)
        expected = vamp2(z0, z1)
        constant = np.full(100, 0.1)
        extra0, extra1 = np.column_stack([z0, constant]), np.column_stack([z1, z1[:, 0]])
        assert vamp2(extra0, extra1) == pytest.approx(expected)
        assert vamp2(constant, z1[:, 0]) == 1
        last_digit = np.where(z0[:, 0] > 3, 0.3, 0.1 + 0.2)
        assert vamp2(last_digit, z1[:, 0]) == 1
        assert vamp2(np.zeros((5, 2)), np.ones((5, 2))) == 1

    def test_small_variation_about_a_large_offset(self) -> None:
        z0, z1 = lagged_pairs(100, 2, 0)
        assert vamp2(z0 * [1, 1e-9] + [0, 1], z1) == pytest.approx(vamp2(z0, z1), rel=1e-5)

    def test_two_pairs(self) -> None:
        assert vamp2([0.0, 1.0], [5.0, 3.0]) == pytest.approx(2)

    @settings(max_examples=30, deadline=None)
    @given(seed=seeds, scale=st.floats(1e-9, 1e9))
    def test_scale_of_the_weights_does_not_matter(self, seed: int, scale: float) -> None:
        z0, z1 = lagged_pairs(50, 2, seed)
        weights = np.random.default_rng(seed).random(50) + 0.01
        expected = vamp2(z0, z1, weights=weights)
        assert vamp2(z0, z1, weights=scale * weights) == pytest.approx(expected)

    def test_weights_stand_for_repetition(self) -> None:
        z0, z1 = lagged_pairs(100, 2, 0)
        counts = np.random.default_rng(1).integers(0, 4, 100)
        weighted = vamp2(z0, z1, weights=counts)
        repeated = vamp2(np.repeat(z0, counts, axis=0), np.repeat(z1, counts, axis=0))
        assert weighted == pytest.approx(repeated)
        assert weighted != pytest.approx(vamp2(z0, z1), rel=1e-3)
        single = np.zeros(100)
        single[3] = 1
        assert vamp2(z0, z1, weights=single) == 1

    @pytest.mark.parametrize(
        ("z0", "z1", "message"),
        [
            (np.zeros((3, 2)), np.zeros((3, 1)), r"got \(3, 2\) and \(3, 1\)"),
            (np.zeros((3, 2)), np.zeros((4, 2)), "of one shape"),
            ([1.0], [2.0], "n_pairs >= 2"),
            ([1.0, np.nan], [2.0, 3.0], "finite numbers in `z0`"),
            ([1.0, 2.0], [np.inf, 3.0], "finite numbers in `z1`"),
        ],
    )
    def test_bad_pairs(self, z0: Any, z1: Any, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            vamp2(z0, z1)

    def test_bad_weights(self) -> None:
        with pytest.raises(ValueError, match=r"negative.* in `weights`|`weights`.* negative"):
            vamp2([1.0, 2.0], [3.0, 5.0], weights=[1.0, -1.0])
