"""Copies on a lattice: the bookkeeping always, the dynamics where OpenMM is installed."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import pdist

SCRIPTS = Path(__file__).parent.parent / "scripts"
ALANINE = Path(__file__).parent / "data" / "alanine_dipeptide.pdb"
PROTEIN = ("amber14/protein.ff14SB.xml", "implicit/gbn2.xml")
CUTOFF = 2.5


@pytest.fixture
def many_copies(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import many_copies

    return many_copies


@pytest.mark.parametrize("n_copies", [2, 7, 8, 9, 27, 64, 100])
def test_copies_never_meet(many_copies, n_copies):
    sites = many_copies.lattice(n_copies)
    assert sites.shape == (n_copies, 3)
    assert pdist(sites).min() == many_copies.SPACING > 4 * CUTOFF
    assert np.ptp(sites, axis=0).max() < many_copies.SPACING * np.ceil(n_copies ** (1 / 3) - 1e-9)


@pytest.mark.parametrize("n_copies", [4, 8, 13, 256])
def test_every_temperature_gets_its_share_of_copies_and_of_melts(many_copies, n_copies):
    temperatures = (340.0, 370.0, 400.0, 440.0)
    given, melted = many_copies.assign(temperatures, n_copies)
    copies = np.array([(given == t).sum() for t in temperatures])
    assert copies.sum() == n_copies
    assert np.ptp(copies) <= 1
    molten = np.array([melted[given == t].sum() for t in temperatures])
    assert np.abs(molten - copies / 2).max() <= 0.5


def test_too_few_copies(many_copies):
    with pytest.raises(ValueError, match="a copy per temperature at least, got 1 copies"):
        many_copies.assign((300.0, 400.0), 1)


def test_folded_is_what_looks_like_the_file(many_copies, rng):
    native = rng.standard_normal((10, 3))
    turned = native @ np.linalg.qr(rng.standard_normal((3, 3)))[0] + 5
    frames = np.stack([native, turned, native + 0.01, 2 * native])
    features = many_copies.distances(frames)
    assert features.shape == (4, 45)
    np.testing.assert_allclose(features[0], pdist(native))
    known = many_copies.distances(native)
    assert many_copies.is_folded(features, known, 0.15).tolist() == [True, True, True, False]
    size = np.sqrt(np.mean(known**2))
    near, far = (many_copies.distances(native * (1 + off / size)) for off in (0.14, 0.16))
    assert many_copies.is_folded(near, known, 0.15)
    assert not many_copies.is_folded(far, known, 0.15)


def two_state_run(rng, n_copies=48, n_frames=400, n_atoms=4):
    """Copies of a chain that is short when folded: ln(p / (1 - p)) = (400 K / T - 1) * 6."""
    temperature = np.tile([340.0, 370.0, 400.0, 440.0], n_copies // 4)
    share = 1 / (1 + np.exp(-6 * (400 / temperature - 1)))
    folded = np.empty((n_frames, n_copies), bool)
    folded[0] = rng.random(n_copies) < share
    for now, before in zip(folded[1:], folded[:-1], strict=True):
        now[:] = np.where(rng.random(n_copies) < 0.2, rng.random(n_copies) < share, before)
    native = np.outer(np.arange(n_atoms), [0.3, 0.0, 0.0])
    stretch = np.where(folded, 1.0, 2.0)[..., None, None]
    noise = 0.02 * rng.standard_normal((n_frames, n_copies, n_atoms, 3))
    return {
        "positions": stretch * native + noise,
        "native": native,
        "temperature": temperature,
        "melted": np.arange(n_copies) < n_copies // 2,
    }


def test_folded_population_at_temperatures_left_out(many_copies, rng):
    run = two_state_run(rng)
    settings = {"trained": (370.0, 440.0), "threshold": 0.15, "max_iter": 300}
    model, table = many_copies.learn(run, **settings)
    assert model.temperatures_.tolist() == [370.0, 440.0]
    assert table.index.tolist() == [340.0, 370.0, 400.0, 440.0]
    assert table.trained.tolist() == [False, True, False, True]
    exact = 1 / (1 + np.exp(-6 * (400 / table.index.to_numpy() - 1)))
    simulated_error = table["simulated error"].to_numpy()
    assert (np.abs(table.simulated - exact) < 5 * simulated_error).all()
    assert (np.abs(table.predicted - exact) < 5 * np.hypot(table.error, simulated_error)).all()
    assert np.abs(table.predicted - exact).max() < 0.08
    halves = (table["started folded"] + table["started melted"]) / 2
    np.testing.assert_allclose(halves, table.simulated)


@pytest.mark.parametrize("script", ["simulate_chignolin.py", "simulate_gnra_tetraloop.py"])
def test_from_saved_frames_to_the_figure(script, rng, tmp_path):
    np.savez(tmp_path / "run.npz", **two_state_run(rng, n_copies=8, n_frames=60))
    temperatures = {"--temperatures": ["340", "370", "400", "440"], "--trained": ["370", "440"]}
    options = [word for name, values in temperatures.items() for word in (name, *values)]
    files = ["--run", str(tmp_path / "run.npz"), "--figure", str(tmp_path / "folded.png")]
    command = [sys.executable, str(SCRIPTS / script), "mine.pdb", *options, *files]
    done = subprocess.run([*command, "--lagtime", "1", "--max-iter", "20"], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    assert b"predicted" in done.stdout
    assert (tmp_path / "folded.png").read_bytes().startswith(b"\x89PNG")


def test_every_particle_has_its_own_temperature(many_copies):
    openmm = pytest.importorskip("openmm")
    n, stiffness, temperatures = 300, 1000.0, np.array([200.0, 400.0, 800.0])
    system, well = openmm.System(), openmm.CustomExternalForce(f"{stiffness / 2}*(x^2+y^2+z^2)")
    for particle in range(3 * n):
        system.addParticle(12.0)
        well.addParticle(particle, [])
    system.addForce(well)
    integrator = many_copies.langevin_middle(np.repeat(temperatures, n), friction=10.0)
    integrator.setRandomNumberSeed(1)
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, integrator, platform)
    context.setPositions(np.zeros((3 * n, 3)))
    squares = np.zeros(3)
    for _ in range(20):
        integrator.step(100)
        state = context.getState(getPositions=True)
        positions = np.asarray(state.getPositions(asNumpy=True)._value)
        squares += np.square(positions).reshape(3, -1).mean(axis=1) / 20
    expected = many_copies.BOLTZMANN * temperatures / stiffness
    np.testing.assert_allclose(squares, expected, rtol=0.1)


def test_copies_are_simulated(many_copies):
    pytest.importorskip("openmm")
    run = many_copies.simulate(
        ALANINE,
        names=("C", "N", "CA", "CB"),
        force_field=PROTEIN,
        temperatures=(300.0, 400.0, 500.0),
        n_copies=6,
        n_frames=4,
        every=0.1,
        melt=0.2,
        settle=0.1,
    )
    assert run["positions"].shape == (4, 6, 7, 3)
    assert run["native"].shape == (7, 3)
    assert run["temperature"].tolist() == [300.0, 400.0, 500.0] * 2
    assert run["melted"].sum() == 3
    assert np.abs(run["positions"]).max() < 1.5
    bonds = np.linalg.norm(np.diff(run["positions"], axis=2), axis=-1)
    assert (bonds < 0.6).all()
    assert np.ptp(run["positions"], axis=0).max() > 0
    assert len(np.unique(run["positions"][0, :, 0, 0])) == 6
