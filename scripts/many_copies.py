"""Many copies of one molecule in one OpenMM system, each at its own temperature, and what to learn.

One small molecule cannot fill a GPU. Copies on a lattice, each far beyond the cutoff of the next,
do: they never meet, so that one implicit-solvent system is as many independent simulations, and an
integrator with a k_B T per particle runs all temperatures at once. The total energy of such a
system is nobody's, so no copy's energy is known; the extrapolator needs none.

Shared by simulate_chignolin.py and simulate_gnra_tetraloop.py. OpenMM
(``pip install "latflow[md]"``) is imported where it is used: lattice, temperatures and analysis
work without.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from latflow import LaTFEstimator, TemperatureExtrapolator
from latflow.plotting import PopulationsDisplay
from latflow.units import BOLTZMANN_CONSTANT as BOLTZMANN

SPACING = 16.0  # nm from site to site: a stretched molecule plus the cutoff is far less
MELT = 700.0  # K
TIME_STEP, HEAVY_HYDROGEN = 0.004, 3.0  # ps; amu, which allows it
OPTIONS = {
    "copies": (256, "of the molecule"),
    "frames": (20_000, "of every copy"),
    "every": (10.0, "ps from frame to frame"),
    "melt": (400.0, f"ps at {MELT:g} K, half the copies"),
    "settle": (1000.0, "ps before the first frame"),
    "lagtime": (10, "frames"),
    "max-iter": (1000, "optimiser steps"),
    "platform": ("", "of OpenMM; the fastest if not given"),
    "run": (Path("run.npz"), "read if it is there"),
    "figure": (Path("folded.png"), "of the folded population"),
}
SHORT = {"copies": 8, "frames": 30, "every": 0.2, "melt": 1.0, "settle": 0.4, "lagtime": 1}


def lattice(n_copies):
    """Return sites of a cubic lattice (nm), shape (n_copies, 3), nearest to the origin first."""
    side = int(np.ceil(round(n_copies ** (1 / 3), 9)))
    sites = np.argwhere(np.ones((side,) * 3))
    return SPACING * sites[np.argsort(sites.sum(axis=1), kind="stable")][:n_copies]


def assign(temperatures, n_copies):
    """Return each copy's temperature, dealt out in turn, and whether it starts from a melt."""
    if n_copies < len(temperatures):
        raise ValueError(f"Expected a copy per temperature at least, got {n_copies} copies.")
    turn, which = np.divmod(np.arange(n_copies), len(temperatures))
    return np.asarray(temperatures, float)[which], turn < np.round(np.bincount(which)[which] / 2)


def build(pdb, force_field, sites):
    """Return topology, system and positions (nm) of a copy at every site, and those of one copy.

    A flat-bottom restraint of the most central atom keeps a copy within half a nanometre of its
    site; it acts on where the molecule is, and so not on its shape.
    """
    import openmm
    from openmm import app, unit

    field, file = app.ForceField(*force_field), app.PDBFile(str(pdb))
    one = app.Modeller(file.topology, file.positions)
    one.addHydrogens(field)
    native = np.array(one.positions.value_in_unit(unit.nanometer))
    native -= native.mean(axis=0)
    many = app.Modeller(one.topology, (native + sites[0]) * unit.nanometer)
    for site in sites[1:]:
        many.add(one.topology, (native + site) * unit.nanometer)
    system = field.createSystem(
        many.topology,
        nonbondedMethod=app.CutoffNonPeriodic,
        nonbondedCutoff=2.5 * unit.nanometer,
        constraints=app.HBonds,
        hydrogenMass=HEAVY_HYDROGEN * unit.amu,
        removeCMMotion=False,
    )
    hold = openmm.CustomExternalForce("50*max(0,sqrt((x-x0)^2+(y-y0)^2+(z-z0)^2)-0.5)^2")
    for name in ("x0", "y0", "z0"):
        hold.addPerParticleParameter(name)
    centre = int(np.argmin(np.linalg.norm(native, axis=1)))
    for copy, site in enumerate(sites):
        hold.addParticle(copy * len(native) + centre, site.tolist())
    system.addForce(hold)
    return many.topology, system, many.positions, native


def langevin_middle(temperatures, friction=1.0):
    """Return OpenMM's Langevin middle scheme with a temperature (K) for every particle.

    `friction` in 1/ps.
    """
    import openmm

    integrator = openmm.CustomIntegrator(TIME_STEP)
    integrator.addGlobalVariable("a", np.exp(-friction * TIME_STEP))
    integrator.addGlobalVariable("b", np.sqrt(1 - np.exp(-2 * friction * TIME_STEP)))
    integrator.addPerDofVariable("kT", 0)
    integrator.addPerDofVariable("x1", 0)
    integrator.addUpdateContextState()
    integrator.addComputePerDof("v", "v + dt*f/m")
    integrator.addConstrainVelocities()
    integrator.addComputePerDof("x", "x + 0.5*dt*v")
    integrator.addComputePerDof("v", "a*v + b*sqrt(kT/m)*gaussian")
    integrator.addComputePerDof("x", "x + 0.5*dt*v")
    integrator.addComputePerDof("x1", "x")
    integrator.addConstrainPositions()
    integrator.addComputePerDof("v", "v + (x-x1)/dt")
    set_temperatures(integrator, temperatures)
    return integrator


def set_temperatures(integrator, temperatures):
    """Set the temperature (K) of every particle."""
    kt = BOLTZMANN * np.asarray(temperatures, float)
    integrator.setPerDofVariableByName("kT", np.repeat(kt[:, None], 3, axis=1).tolist())


def simulate(
    pdb, *, names, force_field, temperatures, n_copies, n_frames, every, melt, settle, platform="",
    seed=0,
):  # fmt: skip
    """Run all copies; return positions of the atoms called `names` and each copy's temperature.

    Frames lie `every` ps apart. Half of each temperature's copies start from `melt` ps at 700 K, so
    that folded and unfolded starts can be compared; all settle for `settle` ps.

    Returns a dict: `positions` (n_frames, n_copies, n_atoms, 3) in nm, `native` (n_atoms, 3) of the
    PDB file, `temperature` and `melted` (n_copies,).
    """
    import openmm
    from openmm import app, unit

    sites = lattice(n_copies)
    per_copy, melted = assign(temperatures, n_copies)
    topology, system, start, native = build(pdb, force_field, sites)
    own, molten = (np.repeat(t, len(native)) for t in (per_copy, np.where(melted, MELT, per_copy)))
    integrator = langevin_middle(own)
    integrator.setRandomNumberSeed(seed + 1)
    choice = [openmm.Platform.getPlatformByName(platform)] if platform else []
    simulation = app.Simulation(topology, system, integrator, *choice)
    simulation.context.setPositions(start)
    simulation.minimizeEnergy(maxIterations=200)
    simulation.context.setVelocitiesToTemperature(float(np.mean(temperatures)), seed + 1)
    for kelvin, time in ((molten, melt), (own, settle)):
        set_temperatures(integrator, kelvin)
        integrator.step(round(time / TIME_STEP))
    keep = [a.index for a in topology.atoms() if a.name in names and a.index < len(native)]
    frames = np.empty((n_frames, n_copies, len(keep), 3), np.float32)
    for frame in frames:
        integrator.step(round(every / TIME_STEP))
        state = simulation.context.getState(getPositions=True)
        now = state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
        frame[:] = (now.reshape(n_copies, -1, 3) - sites[:, None])[:, keep]
    run = {"positions": frames, "native": native[keep]}
    return run | {"temperature": per_copy, "melted": melted}


def distances(positions):
    """Return all pair distances (nm) of positions (..., n_atoms, 3), shape (..., n_pairs)."""
    i, j = np.triu_indices(positions.shape[-2], 1)
    return np.linalg.norm(positions[..., i, :] - positions[..., j, :], axis=-1)


def is_folded(features, native, threshold):
    """Return whether distances differ from the native ones by less, root mean square (nm)."""
    return np.sqrt(np.mean((features - native) ** 2, axis=-1)) < threshold


def learn(run, *, trained, threshold, lagtime=1, max_iter=1000, seed=0):
    """Train on the copies at two temperatures and predict the folded population at all.

    Returns the model and a DataFrame, one row per temperature: `predicted` and `simulated`
    populations with standard errors (of the simulated, over copies), the simulated populations of
    the copies that started folded and melted (far apart means: too short a run), and `trained`.
    """
    features = distances(run["positions"]).swapaxes(0, 1)
    folded = is_folded(features, distances(run["native"]), threshold)
    temperature, chosen = run["temperature"], np.isin(run["temperature"], trained)
    model = TemperatureExtrapolator(
        LaTFEstimator(lagtime=lagtime, max_iter=max_iter, random_state=seed),
        enthalpy_input="cvs",
        n_bootstraps=20,
        temperature_range=(temperature.min(), temperature.max()),
        max_iter=max_iter,
        random_state=seed,
    ).fit(list(features[chosen]), temperature=list(temperature[chosen]))
    table = model.expectation(list(folded[chosen].astype(float)), np.unique(temperature))
    table.columns = ["predicted", "error"]
    copies = pd.DataFrame({"T": temperature, "folded": folded.mean(axis=1)})
    table["simulated"] = copies.groupby("T").folded.mean()
    table["simulated error"] = copies.groupby("T").folded.sem()
    for start, part in (("folded", ~run["melted"]), ("melted", run["melted"])):
        table[f"started {start}"] = copies[part].groupby("T").folded.mean()
    return model, table.assign(trained=table.index.isin(trained))


def draw(model, table, path):
    """Save the folded population against temperature, predicted and simulated."""
    table = table.assign(state="folded").set_index("state", append=True)
    columns = ["population", "standard_error"]
    PopulationsDisplay(
        table[["predicted", "error"]].set_axis(columns, axis=1),
        reference=table[["simulated", "simulated error"]].set_axis(columns, axis=1),
        simulated=model.temperatures_,
        support=model.support(table.index.levels[0]),
        temperature_unit="K",
    ).plot(label="folded").figure_.savefig(path, dpi=150)


def main(description, *, names, force_field, threshold, temperatures, trained):
    """Parse the options, simulate or read frames, learn, print the table, save the figure."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pdb", type=Path)
    parser.add_argument("--temperatures", type=float, nargs="+", default=temperatures, help="K")
    parser.add_argument("--trained", type=float, nargs=2, default=trained, help="K")
    for name, (default, what) in (OPTIONS | {"threshold": (threshold, "nm, of folded")}).items():
        parser.add_argument(f"--{name}", type=type(default), default=default, help=what)
    parser.add_argument("--short", action="store_true", help=f"defaults for a processor: {SHORT}")
    if parser.parse_known_args()[0].short:
        parser.set_defaults(**SHORT)
    args = parser.parse_args()
    if not args.run.exists():
        run = simulate(
            args.pdb, names=names, force_field=force_field, temperatures=args.temperatures,
            n_copies=args.copies, n_frames=args.frames, every=args.every, melt=args.melt,
            settle=args.settle, platform=args.platform,
        )  # fmt: skip
        np.savez_compressed(args.run, **run)
    settings = {name: getattr(args, name) for name in ("trained", "threshold", "lagtime")}
    model, table = learn(dict(np.load(args.run)), max_iter=args.max_iter, **settings)
    print(table.round(3).to_string())
    draw(model, table, args.figure)
