"""Chignolin and the tetraloop: what ships is whole, in its units, and agrees with itself."""

import re
import tomllib
from importlib.resources import files
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from latflow.datasets import chignolin, load_chignolin, load_rna_tetraloop, rna_tetraloop
from latflow.featurizers import Torsions
from latflow.thermodynamics import free_energy_offsets
from latflow.units import Units

ROOT = Path(__file__).parent.parent
MOST_BYTES = 20e6

# folded fractions of the frames published, as counted by those who made them
CONTINUOUS = {
    "chignolin": {338.2: 0.286, 359.0: 0.302, 381.2: 0.104, 404.7: 0.038},
    "tetraloop": {330.0: 0.9453, 340.0: 0.8200, 360.0: 0.4242, 380.0: 0.1390},
}
DRAWN = {
    "chignolin": {300.0: 0.906, 318.5: 0.768, 338.2: 0.525, 359.0: 0.243, 381.2: 0.120,
                  404.7: 0.034, 429.6: 0.016, 456.1: 0.012},
}  # fmt: skip


@pytest.fixture(scope="module")
def loaded():
    return {
        ("chignolin", False): load_chignolin(),
        ("chignolin", True): load_chignolin(replica_exchange=True),
        ("tetraloop", False): load_rna_tetraloop(),
        ("tetraloop", True): load_rna_tetraloop(parallel_tempering=True),
    }


@pytest.fixture(params=[(n, d) for n in CONTINUOUS for d in (False, True)], ids=str)
def data(request, loaded):
    return loaded[request.param]


def by_temperature(data, values):
    each = {}
    for t, v in zip(data.temperature, values, strict=True):
        each.setdefault(t, []).append(v)
    return {t: np.concatenate(v) for t, v in each.items()}


def test_lists_have_an_entry_per_trajectory_and_a_value_per_frame(data):
    lengths = [len(x) for x in data.trajectories]
    for name in (
        "coordinates",
        "energies",
        "folded",
        *(n for n in ("walkers", "times") if n in data),
    ):
        assert [len(v) for v in data[name]] == lengths, name
    assert len(data.temperature) == len(lengths)
    assert {len(x.shape) for x in data.coordinates} == {3}
    assert {x.shape[1] for x in data.coordinates} == {data.topology.n_atoms}
    assert {x.shape[1] for x in data.trajectories} == {len(set(data.feature_names))}


@pytest.mark.parametrize("name", CONTINUOUS)
def test_folded_fractions_are_those_of_the_makers(loaded, name):
    data = loaded[name, False]
    found = {t: f.mean() for t, f in by_temperature(data, data.folded).items()}
    assert found == pytest.approx(CONTINUOUS[name], abs=6e-4)


def test_folded_fractions_of_drawn_frames_are_those_of_the_makers(loaded):
    data = loaded["chignolin", True]
    found = {t: f.mean() for t, f in by_temperature(data, data.folded).items()}
    assert found == pytest.approx(DRAWN["chignolin"], abs=6e-4)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_drawn_frames_agree_with_the_reference(loaded, name):
    """Within four of the errors of so few frames, each of which is the walkers' own."""
    data = loaded[name, True]
    reference = data.reference_populations
    for t, folded, walkers in zip(data.temperature, data.folded, data.walkers, strict=True):
        each = np.array([folded[walkers == w].mean() for w in np.unique(walkers)])
        sizes = np.array([(walkers == w).sum() for w in np.unique(walkers)])
        mean = folded.mean()
        error = np.sqrt((sizes**2 * (each - mean) ** 2).sum()) / sizes.sum()
        known = reference.loc[t]
        assert abs(mean - known.population) < 4 * np.hypot(error, known.error)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_energies_obey_boltzmanns_law(loaded, name):
    """Pooled by their energies, drawn frames give the reference at temperatures they left out."""
    data = loaded[name, True]
    kept = slice(None, None, 2)  # every second temperature
    energies, folded = (np.concatenate(data[n][kept]) for n in ("energies", "folded"))
    temperatures = data.temperature[kept]
    units, counts = Units(), [len(e) for e in data.energies[kept]]
    energies = energies - energies.mean()
    reduced = energies[:, None] * units.betas(temperatures)
    offsets = free_energy_offsets(reduced, counts)
    denominator = np.logaddexp.reduce(np.log(counts) + offsets - reduced, axis=1)
    for t in data.temperature[1::2][:-1]:
        logits = -energies * units.betas([t])[0] - denominator
        weights = np.exp(logits - logits.max())
        known = data.reference_populations.loc[t]
        effective = weights.sum() ** 2 / (weights**2).sum()
        # frames of a walker are alike: as if a twentieth of them were independent
        error = np.sqrt(known.population * (1 - known.population) / (effective / 20))
        assert np.average(folded, weights=weights) == pytest.approx(known.population, abs=3 * error)


def test_time_steps_tell_dynamics_from_draws(loaded):
    assert loaded["chignolin", False].time_step == 20.0
    steps = loaded["tetraloop", False].time_step
    temperature = loaded["tetraloop", False].temperature
    assert len(steps) == len(temperature)
    assert {(t, s) for t, s in zip(temperature, steps, strict=True)} == {
        (330.0, 120.0), (340.0, 10.0), (360.0, 10.0), (380.0, 10.0)
    }  # fmt: skip
    assert loaded["chignolin", True].time_step is loaded["tetraloop", True].time_step is None


def test_features_are_distances_of_the_coordinates(loaded):
    for name, selection, apart in (("chignolin", "name CA", 1), ("tetraloop", "name C4", 3)):
        data = loaded[name, False]
        atoms = data.topology.select(selection)
        pairs = [(a, b) for k, a in enumerate(atoms) for b in atoms[k + apart :]]
        frames = mdtraj.Trajectory(data.coordinates[3], data.topology)
        np.testing.assert_allclose(
            data.trajectories[3], mdtraj.compute_distances(frames, pairs), atol=1e-5
        )
        residues = [data.topology.atom(a).residue for a, _ in pairs]
        assert [n.split("-")[0] for n in data.feature_names] == [str(r) for r in residues]


def test_sequences_are_those_named(loaded):
    code = loaded["chignolin", False].topology.to_fasta()[0]
    assert code == "YYDPETGTWY"
    names = [r.name for r in loaded["tetraloop", False].topology.residues]
    assert "".join(names).startswith("GGCGCAAGCC")


def test_coordinates_lie_on_the_folded_structure(loaded):
    for name, atoms in (("chignolin", "name CA and resid 1 to 8"), ("tetraloop", "all")):
        data = loaded[name, False]
        chosen = data.topology.select(atoms)
        x = np.concatenate(data.coordinates)[:, chosen]
        folded = mdtraj.Trajectory(data.reference_structure[None], data.topology)
        frames = mdtraj.Trajectory(np.concatenate(data.coordinates), data.topology)
        rmsd = mdtraj.rmsd(frames, folded, atom_indices=chosen)
        lying = np.sqrt(((x - data.reference_structure[chosen]) ** 2).sum(-1).mean(-1))
        np.testing.assert_allclose(lying, rmsd, atol=2e-3)


def test_backbone_torsions_can_be_had(loaded):
    data = loaded["chignolin", False]
    frames = mdtraj.Trajectory(data.coordinates[0], data.topology)
    features = Torsions(("phi", "psi")).fit_transform([frames])
    assert features[0].shape == (len(frames), 36)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_descriptions_say_what_it_is(loaded, name):
    for drawn in (False, True):
        text = loaded[name, drawn].DESCR
        assert not re.search(r"[{}]", text)
        assert max(map(len, text.splitlines())) <= 140
    assert "coarse-grained" in loaded["tetraloop", False].DESCR.splitlines()[0]
    assert "YYDPETGTWY" in loaded["chignolin", False].DESCR.splitlines()[0]


@pytest.mark.parametrize("module", [chignolin, rna_tetraloop])
def test_the_melting_temperature_is_that_of_the_table(module):
    """To 2 K: a straight line between the logarithms of the ratios at neighbours in the table."""
    table = np.array(module.REFERENCE)
    ratio = np.log(table[:, 1] / (1 - table[:, 1]))
    assert np.interp(0, -ratio, table[:, 0]) == pytest.approx(module.MELTING_TEMPERATURE[0], abs=2)


def test_the_data_that_ship_fit_into_a_wheel_of_20_mb():
    """All files of all data sets, as the project file names them."""
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    shipped = [
        file
        for package, globs in patterns["package-data"].items()
        for pattern in globs
        for file in (ROOT / package.replace(".", "/")).glob(pattern)
    ]
    names = {file.name for file in shipped}
    assert {"chignolin_free.npz", "tetraloop_pt.npz", "chignolin.pdb"} <= names
    assert sum(file.stat().st_size for file in shipped) < MOST_BYTES - 0.4e6  # for the code
    assert files("latflow.datasets.chignolin").joinpath("chignolin.pdb").is_file()
