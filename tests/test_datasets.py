"""Laws and exact answers of the simulators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.utils import check_random_state

from latflow.datasets import lj7 as lj7_module
from latflow.datasets import (
    make_lj7,
    make_three_hole,
    three_hole,
    three_hole_density,
    three_hole_populations,
    three_hole_potential,
    three_hole_timescales,
    three_hole_transition_matrix,
)

SIMULATORS = [make_three_hole, make_lj7]
LJ7_MINIMUM = -12.535
LJ7_MEAN_ENERGY = {0.2: (-10.435, 0.014), 0.5: (-6.835, 0.012), 0.7: (-5.621, 0.010)}
"""Mean and standard error of 200,000 frames of an independent implementation."""


@pytest.fixture
def no_burn_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that are not about equilibrium."""
    monkeypatch.setattr(lj7_module, "_BURN_IN_TIMES", (0.0, 0.0, 0.0))


@pytest.fixture(scope="module", params=[(0.2, 0), (0.5, 1), (0.7, 2)], ids=lambda p: f"T={p[0]}")
def lj7(request: pytest.FixtureRequest) -> tuple[float, Any]:
    temperature, seed = request.param
    return temperature, make_lj7(2500, temperature, n_walkers=125, random_state=seed)


def mean_and_error(per_walker: list[float] | np.ndarray) -> tuple[float, float]:
    """Mean over independent walkers and its standard error."""
    values = np.asarray(per_walker)
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


def numerical_gradient(
    function: Callable[[np.ndarray], np.ndarray], points: np.ndarray, step: float = 1e-5
) -> np.ndarray:
    """Central differences of a function of (n, ...) -> (n,), in the shape of the points."""
    gradient = np.empty_like(points)
    for index in np.ndindex(points.shape[1:]):
        shift = np.zeros(points.shape[1:])
        shift[index] = step
        gradient[(slice(None), *index)] = (function(points + shift) - function(points - shift)) / (
            2 * step
        )
    return gradient


def integrate(values: np.ndarray, axis: np.ndarray) -> float:
    return float(values.sum() * (axis[1] - axis[0]) ** 2)


class TestThreeHole:
    axis = np.linspace(-5.0, 5.0, 801)

    def test_potential_at_known_points(self) -> None:
        at_origin = 3 * np.exp(-1 / 9) - 3 * np.exp(-25 / 9) - 10 * np.exp(-1) + 0.2 / 81
        np.testing.assert_allclose(three_hole_potential(0.0, 0.0), at_origin, rtol=1e-12)
        x = np.linspace(-2, 2, 9)
        np.testing.assert_allclose(three_hole_potential(x, 0.7), three_hole_potential(-x, 0.7))
        assert three_hole_potential(x[:, None], x).shape == (9, 9)

    def test_gradient_is_that_of_the_potential(self) -> None:
        points = np.random.default_rng(0).uniform(-2.5, 2.5, (200, 2))
        expected = numerical_gradient(lambda p: three_hole_potential(*p.T), points)
        np.testing.assert_allclose(
            three_hole._three_hole_gradient(points.T).T, expected, rtol=1e-6, atol=1e-6
        )

    def test_dividing_lines_pass_through_stationary_points(self) -> None:
        points = np.array([three_hole._HILL, three_hole._SADDLE]).T
        np.testing.assert_allclose(three_hole._three_hole_gradient(points), 0, atol=1e-6)

    @pytest.mark.parametrize("temperature", [0.05, 0.3, 1.0, 4.0, 50.0])
    def test_density_integrates_to_one_and_is_boltzmann(self, temperature: float) -> None:
        axis = np.linspace(-11.0, 11.0, 1001)
        density = three_hole_density(axis[:, None], axis, temperature)
        assert integrate(density, axis) == pytest.approx(1, abs=1e-9)
        ratio = three_hole_density(1.0, 0.0, temperature) / three_hole_density(0, 1, temperature)
        difference = three_hole_potential(1.0, 0.0) - three_hole_potential(0.0, 1.0)
        assert np.log(ratio) == pytest.approx(-difference / temperature)

    def test_published_populations(self) -> None:
        populations = three_hole_populations(1.0)
        np.testing.assert_allclose(populations, [0.104, 0.448, 0.448], atol=5e-4)

    def test_populations_are_those_of_the_labels(self) -> None:
        def quadrant(points: np.ndarray) -> np.ndarray:
            return 2 * (points[:, 0] > 0) + (points[:, 1] > 0.5)

        exact = three_hole_populations(0.7, assign=quadrant)
        density = three_hole_density(self.axis[:, None], self.axis, 0.7)
        upper = integrate(density * (self.axis > 0.5), self.axis)
        assert exact.shape == (4,)
        np.testing.assert_allclose(exact, np.array([1 - upper, upper] * 2) / 2, atol=2e-3)

    def test_populations_turn_to_the_deep_holes_when_cold(self) -> None:
        upper = [three_hole_populations(t)[0] for t in (0.1, 0.5, 1.0, 2.0)]
        assert np.all(np.diff(upper) > 0)
        assert upper[0] < 1e-5

    @pytest.mark.parametrize(
        "wrong", [lambda p: p[:, 0], lambda p: np.zeros(3, int), lambda p: -np.ones(len(p), int)]
    )
    def test_bad_labels_are_refused(self, wrong: Callable[[np.ndarray], np.ndarray]) -> None:
        with pytest.raises(ValueError, match="Expected `assign` to return integers >= 0"):
            three_hole_populations(1.0, assign=wrong)

    @pytest.mark.parametrize("seed", [0, 1, 2])
    @pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
    def test_simulation_agrees_with_quadrature(self, temperature: float, seed: int) -> None:
        data = make_three_hole(30_000, temperature, n_walkers=500, random_state=seed)
        density = three_hole_density(self.axis[:, None], self.axis, temperature)
        energy = integrate(density * three_hole_potential(self.axis[:, None], self.axis), self.axis)
        mean, error = mean_and_error([e.mean() for e in data.energies])
        assert error < 0.03
        assert abs(mean - energy) < 5 * error
        labels = [three_hole._hole_labels(c) for c in data.coordinates]
        for hole, exact in enumerate(three_hole_populations(temperature)):
            mean, error = mean_and_error([(label == hole).mean() for label in labels])
            assert error < 0.03
            assert abs(mean - exact) < 5 * error

    def test_transition_matrix_is_that_of_the_slow_processes(self) -> None:
        slow = three_hole_timescales(1.0, 2)
        one, two = (three_hole_transition_matrix(1.0, t) for t in (3.0, 4.0))
        shares = three_hole_populations(1.0)
        np.testing.assert_allclose(one.sum(axis=1), 1, atol=1e-12)
        np.testing.assert_allclose(shares[:, None] * one, (shares[:, None] * one).T, atol=1e-4)
        decay = [np.sort(np.linalg.eigvals(m).real)[:2] for m in (two, one)]
        # left from right, by symmetry a process of its own, and the upper hole
        np.testing.assert_allclose(-1 / np.log(decay[0] / decay[1]), slow[::-1], rtol=0.01)
        long = three_hole_transition_matrix(1.0, 40.0)
        np.testing.assert_allclose(long, np.tile(shares, (3, 1)), atol=1e-3)

    @pytest.mark.parametrize("seed", [0, 1, 2])
    def test_transitions_agree_with_simulation(self, seed: int) -> None:
        data = make_three_hole(100_000, 1.4, n_walkers=500, random_state=seed)
        labels = [three_hole._hole_labels(c) for c in data.coordinates]
        exact = three_hole_transition_matrix(1.4, 5 * data.time_step)
        for a in range(3):
            left = np.array([(x[:-5] == a).sum() for x in labels])
            for b in range(3):
                arrived = np.array([((x[:-5] == a) & (x[5:] == b)).sum() for x in labels])
                ratio = arrived.sum() / left.sum()
                _, error = mean_and_error((arrived - ratio * left) / left.mean())
                assert error < 0.01
                assert abs(ratio - exact[a, b]) < 4 * error + 0.003 * exact[a, b]

    def test_states_without_cells_have_no_row(self) -> None:
        found = three_hole_transition_matrix(
            1.0, 1.0, assign=lambda points: 2 * (points[:, 0] > 0).astype(int)
        )
        assert np.isnan(found[1]).all()
        assert found[0, 2] == pytest.approx(found[2, 0])

    def test_transition_matrix_checks(self) -> None:
        with pytest.raises(ValueError, match=r"`temperature` to be at least 0\.1, got 0\.05"):
            three_hole_transition_matrix(0.05, 1.0)
        with pytest.raises(ValueError, match="`time` to be a finite number > 0, got 0"):
            three_hole_transition_matrix(1.0, 0)
        with pytest.raises(ValueError, match="Expected `assign` to return integers >= 0"):
            three_hole_transition_matrix(1.0, 1.0, assign=lambda points: points[:, 0])

    @pytest.mark.parametrize("seed", [0, 1, 2])
    @pytest.mark.parametrize("temperature", [0.02, 0.5, 3.0])
    def test_initial_positions_are_in_equilibrium(self, temperature: float, seed: int) -> None:
        generator = np.random.default_rng(seed)
        points = three_hole._draw_boltzmann(20_000, temperature, generator)
        axis = np.linspace(-6, 6, 2001)
        density = three_hole_density(axis[:, None], axis, temperature)
        for function in (three_hole_potential, lambda x, y: x + 0 * y, lambda x, y: y + 0 * x):
            mean, error = mean_and_error(function(*points))
            assert abs(mean - integrate(density * function(axis[:, None], axis), axis)) < 5 * error
        labels = three_hole._hole_labels(points.T)
        for hole, exact in enumerate(three_hole_populations(temperature)):
            mean, error = mean_and_error((labels == hole).astype(float))
            assert abs(mean - exact) < 5 * error + 1e-9
        assert np.unique(points, axis=1).shape == points.shape

    def test_second_order_accuracy_at_a_large_time_step(self) -> None:
        # The Euler-Maruyama scheme is off by more than ten standard errors here.
        data = make_three_hole(
            40_000, 0.5, n_walkers=400, time_step=0.05, stride=20, random_state=0
        )
        density = three_hole_density(self.axis[:, None], self.axis, 0.5)
        energy = integrate(density * three_hole_potential(self.axis[:, None], self.axis), self.axis)
        mean, error = mean_and_error([e.mean() for e in data.energies])
        assert error < 0.01
        assert abs(mean - energy) < 5 * error

    def test_short_time_diffusion_has_unit_friction(self) -> None:
        data = make_three_hole(
            20_000, 1.5, n_walkers=100, time_step=1e-4, stride=10, random_state=0
        )
        lag = 5
        moved = [np.square(c[lag::lag] - c[:-lag:lag]).sum(1).mean() for c in data.coordinates]
        mean, _ = mean_and_error(moved)
        assert mean == pytest.approx(4 * 1.5 * lag * data.time_step, rel=0.04)

    def test_features_are_the_coordinates(self) -> None:
        data = make_three_hole(100, n_walkers=3, random_state=0)
        assert data.feature_names == ["x", "y"]
        for features, coordinates in zip(data.trajectories, data.coordinates, strict=True):
            np.testing.assert_array_equal(features, coordinates)

    @pytest.mark.parametrize("function", [three_hole_populations, make_three_hole])
    def test_too_cold_for_the_quadrature(self, function: Callable[..., Any]) -> None:
        with pytest.raises(ValueError, match=r"Expected `temperature` to be at least 0.0001"):
            function(temperature=1e-6)


class TestLJ7:
    def test_forces_are_those_of_the_energy(self) -> None:
        rng = np.random.default_rng(0)
        angles = np.arange(7) * 2 * np.pi / 7
        ring = 2.05 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        points = ring + 0.1 * rng.standard_normal((50, 7, 2))
        beyond = np.linalg.norm(points - points.mean(axis=1, keepdims=True), axis=-1) > 2
        assert 0.2 < beyond.mean() < 0.95
        forces = lj7_forces(points)
        np.testing.assert_allclose(
            forces, -numerical_gradient(lj7_module._lj7_energies, points), rtol=1e-5, atol=1e-5
        )
        np.testing.assert_allclose(forces.sum(axis=1), 0, atol=1e-9)

    def test_energy_of_two_distances(self) -> None:
        line = np.zeros((1, 7, 2))
        line[0, :, 0] = 0.6 * np.arange(-3, 4)
        by_hand = sum(4 * (r**-12 - r**-6) * (7 - k) for k in range(1, 7) if (r := 0.6 * k))
        assert lj7_module._lj7_energies(line)[0] == pytest.approx(by_hand)
        line[0, :, 0] = np.arange(-3, 4)
        by_hand = sum(4.0 * (k**-12.0 - k**-6.0) * (7 - k) for k in range(1, 7)) + 100
        assert lj7_module._lj7_energies(line)[0] == pytest.approx(by_hand)

    def test_hexagon_is_the_ground_state(self, lj7: tuple[float, Any]) -> None:
        system = lj7_module._LangevinLJ7(1, 0.005, 0.1, np.random.default_rng(0))
        relaxed = minimize(
            lambda x: lj7_module._lj7_energies(x.reshape(1, 7, 2))[0],
            system.positions.ravel().astype(np.float64),
        )
        assert relaxed.fun == pytest.approx(LJ7_MINIMUM, abs=1e-3)
        assert np.concatenate(lj7[1].energies).min() > LJ7_MINIMUM

    def test_energies_and_features_are_those_of_the_coordinates(
        self, lj7: tuple[float, Any]
    ) -> None:
        _, data = lj7
        for walker in (0, -1):
            vectors = data.coordinates[walker][:, :, None] - data.coordinates[walker][:, None]
            r = np.linalg.norm(vectors, axis=-1) + 1e9 * np.eye(7)
            contacts = (1 / (1 + (r / 1.5) ** 8)).sum(axis=-1)
            np.testing.assert_allclose(data.trajectories[walker], np.sort(contacts, axis=1))
            beyond = np.maximum(np.linalg.norm(data.coordinates[walker], axis=-1) - 2, 0)
            energy = 2 * (r**-12 - r**-6).sum(axis=(1, 2)) + 50 * (beyond**2).sum(axis=1)
            np.testing.assert_allclose(data.energies[walker], energy, rtol=1e-5, atol=1e-5)

    def test_mean_energy_agrees_with_a_long_simulation(self, lj7: tuple[float, Any]) -> None:
        temperature, data = lj7
        expected, expected_error = LJ7_MEAN_ENERGY[temperature]
        mean, error = mean_and_error([e.mean() for e in data.energies])
        assert error < 0.12
        assert abs(mean - expected) < 5 * np.hypot(error, expected_error)

    def test_configurational_temperature(self, lj7: tuple[float, Any]) -> None:
        # <|grad U|^2> = T <laplacian U> holds in every canonical ensemble.
        temperature, data = lj7
        residual, laplacian = [], []
        for coordinates in data.coordinates:
            forces = lj7_forces(coordinates)
            curvature = lj7_laplacian(coordinates)
            residual.append((np.square(forces).sum((1, 2)) - temperature * curvature).mean())
            laplacian.append(temperature * curvature.mean())
        mean, error = mean_and_error(residual)
        assert error < 0.06 * np.mean(laplacian)
        assert abs(mean) < 5 * error

    def test_thermostat_friction(self) -> None:
        # Internal forces cancel in the total momentum, which decays by the friction alone.
        system = lj7_module._LangevinLJ7(4, 0.005, 0.3, np.random.default_rng(0))
        system._shift[:] = 1e-3
        system.advance(330, 1e-20)
        np.testing.assert_allclose(
            system._shift.mean(axis=0), 1e-3 * np.exp(-0.3 * 330 * 0.005), rtol=1e-3
        )

    @pytest.mark.parametrize("seed", [0, 1, 2])
    def test_thermostat_temperature(self, seed: int) -> None:
        system = lj7_module._LangevinLJ7(1000, 0.005, 5.0, np.random.default_rng(seed))
        system.advance(200, 0.4)
        momentum = 2 / 0.005 * system._shift.sum(axis=0)
        kinetic, error = mean_and_error(np.square(momentum) / 7)
        assert error < 0.02
        assert abs(kinetic - 0.4) < 5 * error

    @settings(max_examples=50, deadline=None)
    @given(
        seed=st.integers(0, 2**32 - 1),
        angle=st.floats(-10, 10),
        shift=st.floats(-100, 100),
        reflect=st.booleans(),
    )
    def test_features_and_energy_are_invariant(
        self, seed: int, angle: float, shift: float, reflect: bool
    ) -> None:
        rng = np.random.default_rng(seed)
        points = rng.uniform(-1.8, 1.8, (3, 7, 2))
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        moved = (points @ rotation)[:, rng.permutation(7)] + shift
        if reflect:
            moved[..., 0] *= -1
        for function in (lj7_module._coordination_numbers, lj7_module._lj7_energies):
            np.testing.assert_allclose(function(moved), function(points), rtol=1e-7, atol=1e-7)

    def test_features_depend_on_the_structure(self) -> None:
        hexagon = lj7_module._LangevinLJ7(1, 0.005, 0.1, np.random.default_rng(0)).positions[None]
        features = lj7_module._coordination_numbers(hexagon.astype(float))
        assert features[0, -1] > features[0, -2] + 2
        np.testing.assert_allclose(features[0, :6], features[0, 0], rtol=1e-5)
        stretched = lj7_module._coordination_numbers(1.2 * hexagon.astype(float))
        assert np.all(stretched < features)

    def test_centre_of_mass_is_at_the_origin(self, lj7: tuple[float, Any]) -> None:
        for coordinates in lj7[1].coordinates[:5]:
            np.testing.assert_allclose(coordinates.mean(axis=1), 0, atol=1e-6)

    def test_friction_is_checked(self) -> None:
        with pytest.raises(ValueError, match="Expected `friction` to be a finite number > 0"):
            make_lj7(10, friction=0.0)


def lj7_forces(coordinates: np.ndarray) -> np.ndarray:
    """The simulator's forces, in double precision, for coordinates (n, 7, 2)."""
    flat = np.ascontiguousarray(coordinates.transpose(1, 2, 0)).reshape(7, -1)
    return lj7_module._lj7_forces(flat).reshape(7, 2, -1).transpose(2, 0, 1).copy()


def lj7_laplacian(coordinates: np.ndarray, step: float = 1e-4) -> np.ndarray:
    """Divergence of minus the forces, by central differences."""
    laplacian = np.zeros(len(coordinates))
    for particle, axis in np.ndindex(7, 2):
        shift = np.zeros((7, 2))
        shift[particle, axis] = step
        change = lj7_forces(coordinates - shift) - lj7_forces(coordinates + shift)
        laplacian += change[:, particle, axis] / (2 * step)
    return laplacian


@pytest.mark.usefixtures("no_burn_in")
@pytest.mark.parametrize("make", SIMULATORS)
class TestBunch:
    @settings(max_examples=25, deadline=None)
    @given(n_frames=st.integers(1, 400), n_walkers=st.integers(1, 30))
    def test_frames_are_counted_exactly(
        self, make: Callable[..., Any], n_frames: int, n_walkers: int
    ) -> None:
        data = make(n_frames, 0.5, n_walkers=n_walkers, stride=1, random_state=0)
        lengths = [len(trajectory) for trajectory in data.trajectories]
        assert sum(lengths) == n_frames
        assert max(lengths) - min(lengths) <= 1
        assert len(lengths) == max(1, min(n_walkers, n_frames // 20))
        assert [len(c) for c in data.coordinates] == lengths
        assert [e.shape for e in data.energies] == [(n,) for n in lengths]
        assert data.temperature == [0.5] * len(lengths)

    def test_contents(self, make: Callable[..., Any]) -> None:
        data = make(60, 0.5, n_walkers=2, time_step=0.004, stride=3, random_state=0)
        assert data.time_step == pytest.approx(0.012)
        for trajectory, coordinates in zip(data.trajectories, data.coordinates, strict=True):
            assert trajectory.dtype == coordinates.dtype == np.float64
            assert trajectory.shape == (30, len(data.feature_names))
            assert not np.shares_memory(trajectory, coordinates)
        assert "0.5" in data.DESCR
        assert "every 3 steps of 0.004" in data.DESCR.replace("\n", " ")

    def test_walkers_differ_and_move(self, make: Callable[..., Any]) -> None:
        data = make(100, 0.5, n_walkers=5, random_state=0)
        starts = np.array([c[0].ravel() for c in data.coordinates])
        assert len(np.unique(starts, axis=0)) == 5
        assert all(np.all(np.ptp(trajectory, axis=0) > 0) for trajectory in data.trajectories)

    def test_the_seed_decides(self, make: Callable[..., Any]) -> None:
        first, again, other = (make(40, 0.5, random_state=seed) for seed in (7, 7, 8))
        for name in ("trajectories", "coordinates", "energies"):
            np.testing.assert_array_equal(first[name], again[name])
            assert not np.array_equal(first[name], other[name])

    @pytest.mark.parametrize("kind", [np.random.default_rng, np.random.RandomState])
    def test_generators_are_accepted_and_used_up(
        self, make: Callable[..., Any], kind: Callable[[int], Any]
    ) -> None:
        source = kind(3)
        first, second = (make(20, 0.5, random_state=source).coordinates for _ in range(2))
        np.testing.assert_array_equal(make(20, 0.5, random_state=kind(3)).coordinates, first)
        assert not np.array_equal(first, second)

    def test_global_random_state_is_left_alone(self, make: Callable[..., Any]) -> None:
        shared = check_random_state(None)
        shared.random()
        before = shared.get_state()[1].copy()
        a, b = (make(20, 0.5).coordinates for _ in range(2))
        np.testing.assert_array_equal(shared.get_state()[1], before)
        assert not np.array_equal(a, b)

    @pytest.mark.parametrize("name", ["n_frames", "n_walkers", "stride"])
    @pytest.mark.parametrize("value", [0, -3, 2.5, True, "10", None])
    def test_bad_counts(self, make: Callable[..., Any], name: str, value: object) -> None:
        with pytest.raises(ValueError, match=f"Expected `{name}` to be an integer >= 1, got"):
            make(**{name: value})

    @pytest.mark.parametrize("name", ["temperature", "time_step"])
    @pytest.mark.parametrize("value", [0, -1.0, np.nan, np.inf, "1", None])
    def test_bad_numbers(self, make: Callable[..., Any], name: str, value: object) -> None:
        with pytest.raises(ValueError, match=f"Expected `{name}` to be a finite number > 0, got"):
            make(**{name: value})

    @pytest.mark.parametrize("time_step", [0.7, 1e3, 1e30])
    def test_divergence_is_an_error(self, make: Callable[..., Any], time_step: float) -> None:
        with pytest.raises(ValueError, match=r"`time_step` small enough .* too large"):
            make(1000, 1.0, n_walkers=50, time_step=time_step, random_state=0)


def test_divergence_with_finite_positions_is_an_error() -> None:
    # At this step an overlap throws a particle out to 1e10, and the wall brings it back.
    with pytest.raises(ValueError, match=r"got 0.03, which is too large"):
        make_lj7(2000, 0.2, time_step=0.03, n_walkers=100, stride=33, random_state=1)
