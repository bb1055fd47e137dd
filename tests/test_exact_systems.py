"""The benchmarks' systems: exact answers against samples, transfer matrices and derivatives."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.linalg import expm
from scipy.special import logit

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import cases
import exact

sys.path.pop(0)
SYSTEMS = (
    exact.two_states,
    exact.three_states,
    exact.double_well,
    exact.three_wells,
    exact.helix_coil,
    exact.magnet,
    exact.lattice_polymer,
)
T = {exact.magnet: 2.6, exact.lattice_polymer: 0.5, exact.three_wells: 0.8}
HIDDEN = (1.5, -2.0, 0.7)


def changed(make):
    """Return a system with hidden heat capacities, modes and a slower way between states."""
    system = make()
    return replace(system, capacity=HIDDEN[: system.n_states], n_modes=11, crossing=0.5)


def assert_means(values, expected):
    """Check a mean against its truth, the walkers (rows) being independent."""
    each = np.asarray(values, dtype=float).reshape(len(values), -1).mean(axis=1)
    error = each.std(ddof=1) / np.sqrt(len(each))
    assert abs(each.mean() - expected) < 4.5 * error


@pytest.mark.parametrize("make", SYSTEMS)
def test_samples_have_the_exact_means(make):
    system, t, rng = changed(make), T.get(make, 1.0), np.random.default_rng(1)
    cells = system.walk(t, 60, 150, rng)
    states = system.state[cells]
    q, bath = system.modes(states, rng)
    for state, p in enumerate(system.populations(t)):
        assert_means(states == state, p)
    assert_means(system.energies(cells, t, bath), system.observable("energy", t))
    for name, values in system.observables(cells, t, q).items():
        assert_means(values, system.observable(name, t))


@pytest.mark.parametrize("make", SYSTEMS)
def test_walkers_that_start_elsewhere_come_to_equilibrium(make):
    system, t = changed(make), T.get(make, 1.0)
    system = replace(system, pace=0.5 if system.move == "redraw" else 4 * system.pace)
    cells = system.walk(t, 600, 25, np.random.default_rng(2), start=0)
    for state, p in enumerate(system.populations(t)):
        assert_means(system.state[cells[:, -1]] == state, p)


@pytest.mark.parametrize("make", SYSTEMS)
def test_thermodynamics_is_the_derivative_of_populations(make):
    system, t, d = changed(make), T.get(make, 1.0), 1e-4
    low, high = (system.observable("energy", t + h) for h in (-d, d))
    assert system.heat_capacity(t) == pytest.approx((high - low) / (2 * d), rel=1e-5)
    low, high = (system.differences(t + h)["energy"] for h in (-d, d))
    found = system.differences(t)
    assert found["heat_capacity"] == pytest.approx((high - low) / (2 * d), rel=1e-5, abs=1e-6)
    low, high = (logit(system.populations(t + h)[0]) for h in (-d, d))
    assert found["energy"] / t**2 == pytest.approx((high - low) / (2 * d), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("make", [exact.double_well, exact.three_wells])
def test_rates_leave_the_equilibrium_and_mend_no_severed_states(make):
    system = replace(make(), crossing=0.3)
    p, rates = system.cell_populations(0.8), system.rates(0.8)
    np.testing.assert_allclose(p @ expm(2.0 * rates), p, atol=1e-10)
    flux = p[:, None] * rates
    np.testing.assert_allclose(flux, flux.T, atol=1e-12)
    apart = replace(system, crossing=0.0).walk(0.8, 4, 50, np.random.default_rng(0))
    assert np.all(np.diff(system.state[apart], axis=1) == 0)


def test_helix_and_coil_is_zimm_and_braggs_chain():
    system, t, h = exact.helix_coil(), 0.9, exact.HELIX
    weight = np.exp(h["energy"] / t - h["entropy"])
    transfer = np.array([[1, weight * np.exp(-h["nucleation"])], [1, weight]])
    first = np.array([1.0, 0.0])  # as if a coil went before
    total = (first @ np.linalg.matrix_power(transfer, h["length"])).sum()
    assert np.exp(system.log_weights(t)).sum() == pytest.approx(total, rel=1e-12)


def test_every_walk_of_the_lattice_polymer_is_there_once():
    walks = {tuple(walk) for walk in exact.self_avoiding(len(exact.SEQUENCE))}
    number = 120_292  # self-avoiding walks of 11 steps on the square lattice
    assert len(walks) == len(exact.lattice_polymer().energy) == (number - 4) / 8 + 1


@pytest.mark.parametrize("order", ["walkers", "sorted"])
def test_replica_exchange_samples_every_temperature(order):
    case = next(c for c in cases.CASES if c.exchange == order and c.known)
    system = replace(case.system(), crossing=1.0)
    rng = np.random.default_rng(3)
    runs = [case.simulate(60, rng) for _ in range(40)]
    for t in case.temperatures[::3]:
        rows = [np.concatenate(_at(run.states, run.temperature, t)) for run in runs]
        assert_means([states == 1 for states in rows], system.populations(t)[1])
        energies = [np.concatenate(_at(run.energies, run.temperature, t)) for run in runs]
        assert_means(energies, system.observable("energy", t))
    assert runs[0].dynamics is (order == "walkers")


def _at(values, temperatures, t):
    """Return the values of frames at a temperature, by trajectory."""
    pairs = zip(values, temperatures, strict=True)
    return [v[np.broadcast_to(each, v.shape) == t] for v, each in pairs]


@pytest.mark.parametrize("case", cases.CASES, ids=lambda case: case.name)
def test_cases_give_what_fit_takes(case):
    rng = np.random.default_rng(0)
    hidden = case.draw_hidden(0.5, rng)
    data = case.simulate(160, rng, hidden)
    lengths = [len(x) for x in data.trajectories]
    assert sum(lengths) == 160 * len(case.temperatures)
    for values in (data.energies, data.states, *data.observables.values()):
        assert [len(v) for v in values] == lengths
    assert all(np.isfinite(x).all() for x in (*data.trajectories, *data.energies))
    assert np.unique(np.concatenate([np.ravel(t) for t in data.temperature])).tolist() == list(
        case.temperatures
    )
    if case.kind == "apart":
        assert all(len(np.unique(states)) == 1 for states in data.states)


def test_known_cases_overlap():
    assert all(case.overlap > 0.03 for case in cases.CASES if case.known)
