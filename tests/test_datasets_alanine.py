"""The alanine dipeptide data: what ships is whole, in its units, and agrees with itself."""

import subprocess
import sys
import tomllib
from importlib.resources import files
from pathlib import Path

import make_alanine_dipeptide as make
import mdtraj
import numpy as np
import pytest

from latflow.datasets import alanine_dipeptide, load_alanine_dipeptide
from latflow.thermodynamics import Energies, Pool, Weighting, averages, effective_sample_size

ROOT = Path(__file__).parent.parent
LADDER = [300.0, 350.0, 400.0, 450.0, 520.0, 600.0]
BOLTZMANN = 0.00831446261815324
PARTS = 10


@pytest.fixture(scope="module")
def langevin():
    return load_alanine_dipeptide()


@pytest.fixture(scope="module")
def tempering():
    return load_alanine_dipeptide(parallel_tempering=True)


@pytest.fixture(params=[False, True], ids=["langevin", "tempering"])
def data(request, langevin, tempering):
    return tempering if request.param else langevin


def basins(angles):
    """Beta, alpha and phi > 0 as columns of zeros and ones."""
    phi, psi = np.degrees(angles).T
    alpha = (psi > -120) & (psi < 30)
    return np.stack([(phi <= 0) & ~alpha, (phi <= 0) & alpha, phi > 0], axis=1).astype(float)


def mean_and_error(values, n_parts=PARTS):
    """Mean of the rows, and its standard error from parts of the time."""
    parts = np.array([part.mean(axis=0) for part in np.array_split(values, n_parts)])
    return np.mean(values, axis=0), parts.std(axis=0, ddof=1) / np.sqrt(n_parts)


def reweighted(data, values, temperature):
    """MBAR average of values (one array per trajectory) and its block error."""
    known, origin = np.unique(data.temperature, return_inverse=True)
    lengths = [len(e) for e in data.energies]
    energies = np.concatenate(data.energies)
    origin = np.repeat(origin, lengths)
    ones = np.ones(len(energies))
    # pieces of 150 ps and more, many times the relaxation at 450 K
    blocks = np.concatenate([np.arange(n) * PARTS // n for n in lengths])
    blocks += PARTS * np.repeat(np.arange(len(lengths)), lengths)
    pool = Pool(1 / (BOLTZMANN * known), origin, ones, blocks)
    snapshot = Weighting.solved(Energies(energies), pool).at(1 / (BOLTZMANN * temperature))
    return *averages(snapshot, np.concatenate(values)), effective_sample_size(snapshot.weights)


def test_contents(data):
    n = len(data.trajectories)
    assert len(data.angles) == len(data.energies) == len(data.temperature) == n
    assert data.feature_names == ["cos_phi", "sin_phi", "cos_psi", "sin_psi"]
    assert data.time_step == 1.0
    for features, angles, energies in zip(
        data.trajectories, data.angles, data.energies, strict=True
    ):
        assert features.dtype == angles.dtype == energies.dtype == np.float64
        assert features.shape == (len(angles), 4)
        assert angles.shape == (len(energies), 2)
        expected = np.stack([np.cos(angles), np.sin(angles)], axis=2).reshape(-1, 4)
        np.testing.assert_allclose(features, expected)
        np.testing.assert_allclose(np.square(features) @ [1, 1, 0, 0], 1)
        assert np.isfinite(energies).all()
        assert np.abs(angles).max() <= np.pi


def test_amount(langevin, tempering):
    assert langevin.temperature == [450.0] * 4 + [600.0] * 4
    assert [len(x) for x in langevin.trajectories] == [1500] * 8
    assert tempering.temperature == LADDER
    assert [len(x) for x in tempering.trajectories] == [8000] * 6
    assert "coordinates" not in tempering


def test_descriptions_say_how(langevin, tempering):
    assert "4 independent walkers of 1500 frames at each of 450, 600 K" in langevin.DESCR
    assert "300, 350, 400, 450, 520, 600 K" in tempering.DESCR.replace("\n", " ")
    for data in (langevin, tempering):
        assert "{" not in data.DESCR
        assert "kJ/mol" in data.DESCR
        assert max(map(len, data.DESCR.splitlines())) <= 100


def test_each_call_gives_arrays_of_its_own(langevin):
    again = load_alanine_dipeptide()
    again.trajectories[0][:] = 0
    again.energies[0][:] = 0
    assert np.ptp(langevin.trajectories[0]) > 1
    assert np.ptp(langevin.energies[0]) > 1


def test_walkers_differ(langevin):
    starts = np.array([e[0] for e in langevin.energies])
    assert len(np.unique(starts)) == 8


def test_coordinates_are_a_molecule(langevin):
    names = langevin.atom_names
    assert len(names) == len(set(names)) == 10
    index = names.index
    for coordinates in langevin.coordinates:
        assert coordinates.shape == (1500, 10, 3)
        np.testing.assert_allclose(coordinates.mean(axis=1), 0, atol=2e-5)
        for a, b, length in (("ALA2-N", "ALA2-CA", 0.145), ("ALA2-C", "ALA2-O", 0.123)):
            bond = np.linalg.norm(coordinates[:, index(a)] - coordinates[:, index(b)], axis=1)
            assert bond.mean() == pytest.approx(length, abs=0.003)
            assert np.ptp(bond) < 0.06
        # the nitrogen's neighbours, the substituents' order: an L amino acid
        arms = [coordinates[:, index(f"ALA2-{x}")] for x in ("N", "C", "CB")]
        arms = [arm - coordinates[:, index("ALA2-CA")] for arm in arms]
        assert (np.einsum("ij,ij->i", np.cross(arms[0], arms[1]), arms[2]) > 0).all()


def test_angles_are_those_of_the_coordinates(langevin):
    topology = mdtraj.Topology()
    chain = topology.add_chain()
    residues = {name: topology.add_residue(name[:3], chain) for name in ("ACE1", "ALA2", "NME3")}
    for name in langevin.atom_names:
        residue, atom = name.split("-")
        element = mdtraj.element.get_by_symbol(atom[0])
        topology.add_atom(atom, element, residues[residue])
    index = langevin.atom_names.index
    quadruples = [
        [index(name) for name in ("ACE1-C", "ALA2-N", "ALA2-CA", "ALA2-C")],
        [index(name) for name in ("ALA2-N", "ALA2-CA", "ALA2-C", "NME3-N")],
    ]
    for coordinates, angles in zip(langevin.coordinates, langevin.angles, strict=True):
        frames = mdtraj.Trajectory(coordinates, topology)
        found = mdtraj.compute_dihedrals(frames, quadruples)
        difference = (found - angles + np.pi) % (2 * np.pi) - np.pi
        assert np.abs(difference).max() < np.radians(0.1)


def test_dihedrals_of_the_script(rng):
    positions = rng.standard_normal((50, 22, 3)).astype(np.float32)
    frames = mdtraj.Trajectory(positions, None)
    found = make.backbone_angles(positions)
    expected = mdtraj.compute_dihedrals(frames, [make.PHI, make.PSI])
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_script_names_the_right_atoms(langevin):
    topology = mdtraj.load(ROOT / "tests" / "data" / "alanine_dipeptide.pdb").topology
    names = [f"{atom.residue.name}{atom.residue.index + 1}-{atom.name}" for atom in topology.atoms]
    assert [names[k] for k in make.PHI] == ["ACE1-C", "ALA2-N", "ALA2-CA", "ALA2-C"]
    assert [names[k] for k in make.PSI] == ["ALA2-N", "ALA2-CA", "ALA2-C", "NME3-N"]
    assert [names[k] for k in make.HEAVY] == langevin.atom_names


def test_energies_rise_with_temperature(tempering):
    means, errors = zip(*map(mean_and_error, tempering.energies), strict=True)
    assert (np.diff(means) > 5 * np.hypot(errors[1:], errors[:-1])).all()
    # 66 coordinates less 12 rigid bonds and 6 of the whole: 48 harmonic ones would hold 24 k_B
    capacity = (means[-1] - means[0]) / (LADDER[-1] - LADDER[0]) / BOLTZMANN
    assert capacity == pytest.approx(24, abs=3)


def test_energies_fluctuate_by_the_heat_capacity(tempering):
    # dU/dT = var(U) / (k_B T^2), which units in disorder would break
    temperature = np.array(tempering.temperature)
    means = np.array([e.mean() for e in tempering.energies])
    slope = np.gradient(means, temperature)[1:-1]
    variance = np.array([e.var() for e in tempering.energies])
    np.testing.assert_allclose(slope, (variance / (BOLTZMANN * temperature**2))[1:-1], rtol=0.2)


def test_populations_are_sensible_and_shift_with_temperature(tempering):
    shares = np.array([basins(a).mean(axis=0) for a in tempering.angles])
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert (shares[:, 0] > 0.6).all()
    assert shares[0, 0] > shares[-1, 0] + 0.05
    assert shares[0, 1] < shares[-1, 1] - 0.03
    assert shares[0, 2] < 0.02 < shares[-1, 2] < 0.1


@pytest.mark.parametrize("temperature", [450.0, 600.0])
def test_two_kinds_of_simulation_agree(langevin, tempering, temperature):
    walkers = [k for k, t in enumerate(langevin.temperature) if t == temperature]
    replica = tempering.temperature.index(temperature)
    for quantity in (lambda d, k: d.energies[k][:, None], lambda d, k: basins(d.angles[k])):
        ours = np.concatenate([quantity(langevin, k) for k in walkers])
        mean, error = mean_and_error(ours, 20)
        expected, its_error = mean_and_error(quantity(tempering, replica))
        assert (np.abs(mean - expected) < 4 * np.hypot(error, its_error)).all()


@pytest.mark.parametrize("temperature", [400.0, 520.0])
def test_reweighting_agrees_with_parallel_tempering(langevin, tempering, temperature):
    replica = tempering.temperature.index(temperature)
    values = [
        np.column_stack([basins(a), e])
        for a, e in zip(langevin.angles, langevin.energies, strict=True)
    ]
    found, error, n_effective = reweighted(langevin, values, temperature)
    other = np.column_stack([basins(tempering.angles[replica]), tempering.energies[replica]])
    expected, its_error = mean_and_error(other)
    assert n_effective > 500
    assert (np.abs(found - expected) < 4 * np.hypot(error, its_error)).all()
    assert error[:3].max() < 0.03


def test_swaps_were_accepted(tempering):
    rates = alanine_dipeptide._read()["tempering_acceptance"]
    assert rates.shape == (5,)
    assert (rates > 0.4).all()
    walkers = alanine_dipeptide._read()["tempering_walker"]
    assert (np.sort(walkers, axis=0) == np.arange(6)[:, None]).all()
    # every walker has been everywhere
    assert all(len(np.unique(row)) == 6 for row in walkers)


def test_the_data_ship():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert settings["package-data"]["latflow.datasets.alanine_dipeptide"] == ["*.npz"]
    file = files("latflow.datasets.alanine_dipeptide") / "alanine_dipeptide.npz"
    assert len(file.read_bytes()) < 3_000_000


def test_keyword_only():
    with pytest.raises(TypeError):
        load_alanine_dipeptide(True)


def test_without_openmm_the_script_names_the_extra():
    code = (
        "import sys; sys.modules['openmm'] = None\n"
        "from make_alanine_dipeptide import Walker\n"
        "Walker(300.0, seed=0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "scripts", capture_output=True, text=True
    )
    assert "pip install 'latflow[md]'" in done.stderr


def test_packing_keeps_what_was_simulated(tmp_path, rng, langevin):
    """Write pieces of random positions, pack them, and compare."""
    positions = {}
    for t in make.LANGEVIN:
        for w in range(make.N_WALKERS):
            x = 0.1 * rng.standard_normal((30, 22, 3)).astype(np.float32)
            positions[t, w] = x
            np.savez(tmp_path / f"langevin_{t:g}_{w}.npz", positions=x, energy=np.full(30, t + w))
    for chunk in range(2):
        x = 0.1 * rng.standard_normal((10, 6, 22, 3)).astype(np.float32)
        positions[chunk] = x
        swaps = {"accepted": np.full(5, 3), "attempts": np.full(5, 4), "walker": np.zeros((10, 6))}
        energy = np.tile(make.LADDER, (10, 1))
        np.savez(tmp_path / f"tempering_{chunk:03d}.npz", positions=x, energy=energy, **swaps)
    make.pack(tmp_path, tmp_path / "out.npz")
    packed = np.load(tmp_path / "out.npz")
    assert packed["langevin_temperature"].tolist() == langevin.temperature
    assert packed["langevin_energy"][5].tolist() == [601.0] * 30
    assert packed["tempering_energy"][:, 0].tolist() == LADDER
    assert packed["tempering_acceptance"].tolist() == [0.75] * 5
    both = np.concatenate([positions[0], positions[1]]).swapaxes(0, 1)
    for name, x in (("langevin", np.stack([positions[450.0, 0]])), ("tempering", both)):
        found = packed[f"{name}_angles"][: len(x)] * alanine_dipeptide.ANGLE_UNIT
        turn = (found - make.backbone_angles(x) + np.pi) % (2 * np.pi) - np.pi
        assert np.abs(turn).max() <= 0.55 * alanine_dipeptide.ANGLE_UNIT
    heavy = positions[600.0, 3][:, make.HEAVY]
    heavy = heavy - heavy.mean(axis=1, keepdims=True)
    found = packed["langevin_coordinates"][7] * alanine_dipeptide.LENGTH_UNIT
    np.testing.assert_allclose(found, heavy, atol=0.55 * alanine_dipeptide.LENGTH_UNIT)


def test_simulations_run_and_swap():
    pytest.importorskip("openmm")
    pytest.importorskip("openmmtools")
    frames = make.simulate(450.0, 3, seed=0, heating=0.2, settling=0.2)
    assert frames["positions"].shape == (3, 22, 3)
    assert frames["energy"].shape == (3,)
    ladder = make.Tempering((300.0, 300.001, 600.0), seed=1)
    ladder.settle(heating=0.1, settling=1)
    found = ladder.run(4)
    assert found["positions"].shape == (4, 3, 22, 3)
    assert found["energy"].shape == (4, 3)
    assert sorted(found["walker"][-1]) == [0, 1, 2]
    # at nearly one temperature every swap is accepted
    assert ladder.accepted[0] == ladder.attempts[0] > 0


def test_energies_are_without_the_bias():
    openmm = pytest.importorskip("openmm")
    pytest.importorskip("openmmtools")
    bias = openmm.CustomBondForce("7+0*r")
    bias.addBond(0, 1)
    plain, biased = (make.Walker(300.0, seed=0, bias=force) for force in (None, bias))
    positions, energy = plain.run(0.02)
    again, same = biased.run(0.02)
    np.testing.assert_allclose(again, positions, atol=1e-4)
    assert same == pytest.approx(energy, abs=0.1)
    assert biased.energy() == pytest.approx(7.0)
    assert plain.energy() == 0
