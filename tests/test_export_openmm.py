"""Forces of OpenMM: variables as `transform` has them, and derivatives as differences tell."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from conftest import UNSETTLED
from export_cases import ENCODERS, FEATURIZERS, alanine, fitted, peptide, sorted_numbers, triclinic

from latflow.export import PredictedBias, openmm_force, openmm_input, openmm_variables
from latflow.featurizers import Concatenate, CoordinationNumbers, Distances, Torsions

openmm = pytest.importorskip("openmm")
pytestmark = UNSETTLED
BOXED = Concatenate(
    [Torsions(["psi", "chi"]), Distances("name CA"), CoordinationNumbers(0.6, atoms="name CA")]
)
CASES = FEATURIZERS | {
    "sorted": (alanine, sorted_numbers()),
    "boxed": (peptide, BOXED),
    "triclinic": triclinic(),
}


def topology_of(trajectory: Any) -> Any:
    topology = trajectory.topology.to_openmm()
    if trajectory.unitcell_vectors is not None:
        topology.setPeriodicBoxVectors(trajectory.unitcell_vectors[0].astype(float))
    return topology


def context_of(force: Any, topology: Any) -> Any:
    """Return a context of atoms on which nothing but a force acts."""
    system = openmm.System()
    for _ in topology.atoms():
        system.addParticle(12.0)
    if topology.getPeriodicBoxVectors() is not None:
        system.setDefaultPeriodicBoxVectors(*topology.getPeriodicBoxVectors())
    system.addForce(force)
    platform = openmm.Platform.getPlatformByName("Reference")
    return openmm.Context(system, openmm.VerletIntegrator(0.001), platform)


def variables(force: Any, context: Any, frames: Any) -> Any:
    values = []
    for xyz in frames:
        context.setPositions(xyz.astype(float))
        values.append(force.getCollectiveVariableValues(context))
    return np.array(values)


def energy(context: Any, xyz: Any) -> float:
    context.setPositions(xyz)
    found = context.getState(energy=True).getPotentialEnergy()
    return float(found.value_in_unit(openmm.unit.kilojoule_per_mole))


def forces(context: Any, xyz: Any) -> Any:
    context.setPositions(xyz)
    found = context.getState(forces=True).getForces(asNumpy=True)
    return found.value_in_unit(openmm.unit.kilojoule_per_mole / openmm.unit.nanometer)


def agree_with_differences(context: Any, xyz: Any) -> None:
    for seed in range(3):
        direction = np.random.default_rng(seed).normal(size=xyz.shape)
        step = 1e-6 * direction
        slope = (energy(context, xyz + step) - energy(context, xyz - step)) / 2e-6
        along = -(forces(context, xyz) * direction).sum()
        np.testing.assert_allclose(along, slope, rtol=1e-3, atol=1e-5)
        assert abs(slope) > 1e-3


@pytest.mark.parametrize("name", CASES)
def test_forces_compute_the_variables(name: str) -> None:
    simulate, featurizer = CASES[name]
    trajectory = simulate()
    model = fitted(trajectory, featurizer, **ENCODERS["one layer"])
    expected = model.transform(featurizer.transform(trajectory))[:10]
    assert expected.std(axis=0).min() > 0.01
    topology = topology_of(trajectory)
    force = openmm_force(model, topology)
    context = context_of(force, topology)
    found = variables(force, context, trajectory.xyz[:10])
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert energy(context, trajectory.xyz[0].astype(float)) == 0
    for one in openmm_variables(model, topology):
        agree_with_differences(context_of(one, topology), trajectory.xyz[0].astype(float))


def test_boxes_decide_whether_images_count() -> None:
    trajectory = peptide()
    model = fitted(trajectory, BOXED)
    topology = topology_of(trajectory)
    x = trajectory.xyz[:5]
    force = openmm_force(model, topology)
    inside = variables(force, context_of(force, topology), x)
    topology.setPeriodicBoxVectors(None)
    force = openmm_force(model, topology)
    outside = variables(force, context_of(force, topology), x)
    trajectory.unitcell_vectors = None
    alone = model.transform(BOXED.transform(trajectory))[:5]
    np.testing.assert_allclose(outside, alone, atol=1e-5)
    assert np.abs(outside - inside).max() > 0.01


def test_forces_ask_for_the_atoms_of_the_features_only() -> None:
    model = fitted(alanine(), Torsions("phi"))
    for force in openmm_variables(model, topology_of(alanine())):
        assert list(force.getParticles()) == [4, 6, 8, 14]
        assert not force.usesPeriodicBoundaryConditions()


def test_all_variables_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    computed = []
    once = openmm_input.Variables._computed
    monkeypatch.setattr(
        openmm_input.Variables, "_computed", lambda *args: computed.append(1) or once(*args)
    )
    model = fitted(alanine(), Torsions(), **ENCODERS["two layers"])
    topology = topology_of(alanine())
    force = openmm_force(model, topology)
    context = context_of(force, topology)
    for n, xyz in enumerate(alanine().xyz[:4].astype(float), start=1):
        context.setPositions(xyz)
        context.getState(energy=True, forces=True)
        force.getCollectiveVariableValues(context)
        assert len(computed) == n


def test_forces_are_saved_with_a_system() -> None:
    model = fitted(alanine(), Torsions(), **ENCODERS["one layer"])
    topology = topology_of(alanine())
    force = openmm_force(model, topology)
    text = openmm.XmlSerializer.serialize(force)
    expected = variables(force, context_of(copy.deepcopy(force), topology), []).size
    read = openmm.XmlSerializer.deserialize(text)
    frames = alanine().xyz[:3]
    x = Torsions().fit(alanine()).transform(alanine())
    found = variables(read, context_of(read, topology), frames)
    np.testing.assert_allclose(found, model.transform(x)[:3], atol=1e-5)
    assert expected == 0


def test_other_atoms_are_refused() -> None:
    model = fitted(alanine(), Torsions())
    topology = topology_of(alanine())
    with pytest.raises(ValueError, match=r"Expected 22 atoms, as in the model, got 49\."):
        openmm_force(model, topology_of(peptide()))
    first, *_ = topology.atoms()
    first.name = "X"
    with pytest.raises(ValueError, match=r"Expected atom 0 to be ACE1-H1, as in the model, got"):
        openmm_force(model, topology)
    with pytest.raises(TypeError, match=r"to be an openmm\.app\.Topology, got Topology"):
        openmm_force(model, alanine().topology)


def test_features_with_and_without_images_are_refused_in_a_box() -> None:
    simulate, featurizer = FEATURIZERS["boxed"]
    model = fitted(simulate(), featurizer)
    topology = topology_of(simulate())
    with pytest.raises(ValueError, match="all take the nearest image in a periodic box, or none"):
        openmm_force(model, topology)


def test_an_old_openmm_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(openmm, "PythonForce")
    with pytest.raises(ImportError, match=r"OpenMM 8\.6 or later .* got 8\."):
        openmm_force(fitted(alanine(), Torsions()), topology_of(alanine()))


# ------------------------------------------------------------------ a static bias


def planted(n: int) -> PredictedBias:
    """Return a bias of n variables that is smooth, on a narrow grid."""
    axes = [np.linspace(-0.5 - k, 0.7, 60 - 10 * k) for k in range(n)]
    mesh = np.meshgrid(*axes, indexing="ij")
    surface = 5 + sum((k + 1) * np.sin(2 * x + k) for k, x in enumerate(mesh)) + np.prod(mesh, 0)
    return PredictedBias(axes, 0 * surface, surface, np.full(n, 0.2), 10.0, 300.0, 2.5)


@pytest.mark.parametrize(("n", "encoder"), [*enumerate(ENCODERS, start=1)])
def test_a_bias_is_that_of_its_grid(n: int, encoder: str) -> None:
    model = fitted(alanine(), Torsions(), **ENCODERS[encoder])
    topology = topology_of(alanine())
    bias = planted(n)
    force = openmm_force(model, topology, bias=bias)
    context = context_of(force, topology)
    frames = alanine().xyz[:60].astype(float)
    z = variables(force, context, frames)
    found = np.array([energy(context, xyz) for xyz in frames])
    low, high, stiffness = (np.array(s) for s in (bias.lower, bias.upper, bias.stiffness))
    beyond = np.maximum(0, np.maximum(low - z, z - high))
    inside = (beyond == 0).all(axis=1)
    assert inside.any()
    expected = bias.at(z) + (stiffness / 2 * beyond**2).sum(axis=1)
    np.testing.assert_allclose(found, expected, atol=0.01)
    agree_with_differences(context, frames[inside.argmax()])


def test_a_bias_of_other_variables_is_refused() -> None:
    model = fitted(alanine(), Torsions(), **ENCODERS["linear"])
    with pytest.raises(ValueError, match="`bias` of the model's 1 variables, got one of 2"):
        openmm_force(model, topology_of(alanine()), bias=planted(2))


def test_metadynamics_takes_the_variables() -> None:
    model = fitted(alanine(), Torsions(), **ENCODERS["one layer"])
    topology = topology_of(alanine())
    system = openmm.System()
    for _ in topology.atoms():
        system.addParticle(12.0)
    bounds = zip(openmm_variables(model, topology), *[[-3, -3], [3, 3], [0.1, 0.1]], strict=True)
    biased = [openmm.app.BiasVariable(*one) for one in bounds]
    meta = openmm.app.Metadynamics(system, biased, 300.0, 5.0, 1.0, 2)
    integrator = openmm.LangevinMiddleIntegrator(300.0, 1.0, 0.001)
    platform = openmm.Platform.getPlatformByName("Reference")
    simulation = openmm.app.Simulation(topology, system, integrator, platform)
    simulation.context.setPositions(alanine().xyz[0].astype(float))
    meta.step(simulation, 6)
    lowest = [np.min(meta.getFreeEnergy()._value)]
    meta.step(simulation, 6)
    lowest.append(np.min(meta.getFreeEnergy()._value))
    assert all(later < earlier < 0 for earlier, later in pairwise(lowest))
