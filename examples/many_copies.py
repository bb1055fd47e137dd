"""Many copies of one molecule in one OpenMM system, each at its own temperature, and what to learn.

One small molecule cannot fill a GPU. Copies on a lattice, each far beyond the cutoff of the next,
do: they never meet, so that one implicit-solvent system is as many independent simulations, and an
integrator with a k_B T per particle runs all temperatures at once. The total energy of such a
system is nobody's, so no copy's energy is known; the extrapolator needs none.

Shared by chignolin.py and gnra_tetraloop.py. OpenMM (``pip install "latflow[md]"``) is imported
where it is used: lattice, temperatures and analysis work without.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial.distance import pdist

from latflow import LaTFEstimator, TemperatureExtrapolator

SPACING = 16.0  # nm from site to site: a stretched molecule plus the cutoff is far less
BOLTZMANN = 0.00831446261815324  # kJ/mol/K
MELT = 700.0  # K
SHORT = {"copies": 8, "frames": 30, "every": 0.2, "melt": 1.0, "settle": 0.4, "lagtime": 1}
HEAVY_HYDROGEN = 3.0  # amu, which allows steps of 4 fs


def lattice(n_copies, spacing=SPACING):
    """Return sites of a cubic lattice (nm), shape (n_copies, 3), nearest to the origin first."""
    side = int(np.ceil(round(n_copies ** (1 / 3), 9)))
    sites = np.stack(np.unravel_index(np.arange(side**3), (side,) * 3), axis=1)
    order = np.argsort(sites.sum(axis=1), kind="stable")
    return spacing * sites[order][:n_copies].astype(float)


def assign(temperatures, n_copies, melted_share=0.5):
    """Return each copy's temperature, dealt out in turn, and whether it starts from a melt."""
    if n_copies < len(temperatures):
        raise ValueError(f"Expected a copy per temperature at least, got {n_copies} copies.")
    copy = np.arange(n_copies)
    turn, which = np.divmod(copy, len(temperatures))
    per_temperature = np.bincount(which)[which]
    return np.asarray(temperatures, float)[which], turn < np.round(melted_share * per_temperature)


def read_molecule(pdb, force_field):
    """Return topology and centred positions (nm), hydrogens added, of a PDB file."""
    from openmm import app, unit

    file = app.PDBFile(str(pdb))
    one = app.Modeller(file.topology, file.positions)
    one.addHydrogens(app.ForceField(*force_field))
    positions = np.array(one.positions.value_in_unit(unit.nanometer))
    return one.topology, positions - positions.mean(axis=0)


def build(topology, positions, sites, *, force_field, cutoff=2.5):
    """Return the topology, positions and system of a copy at every site.

    A flat-bottom restraint of the most central atom keeps a copy within half a nanometre of its
    site; it acts on where the molecule is, and so not on its shape.
    """
    import openmm
    from openmm import app, unit

    many = app.Modeller(topology, (positions + sites[0]) * unit.nanometer)
    for site in sites[1:]:
        many.add(topology, (positions + site) * unit.nanometer)
    system = app.ForceField(*force_field).createSystem(
        many.topology,
        nonbondedMethod=app.CutoffNonPeriodic,
        nonbondedCutoff=cutoff * unit.nanometer,
        constraints=app.HBonds,
        hydrogenMass=HEAVY_HYDROGEN * unit.amu,
        removeCMMotion=False,
    )
    hold = openmm.CustomExternalForce("50*max(0,sqrt((x-x0)^2+(y-y0)^2+(z-z0)^2)-0.5)^2")
    for name in ("x0", "y0", "z0"):
        hold.addPerParticleParameter(name)
    centre = int(np.argmin(np.linalg.norm(positions, axis=1)))
    for copy, site in enumerate(sites):
        hold.addParticle(copy * len(positions) + centre, [float(x) for x in site])
    system.addForce(hold)
    return many.topology, np.concatenate([positions + site for site in sites]), system


def langevin_middle(temperatures, time_step=0.004, friction=1.0):
    """Return OpenMM's Langevin middle scheme with a temperature (K) for every particle.

    `time_step` in ps, `friction` in 1/ps.
    """
    import openmm

    integrator = openmm.CustomIntegrator(time_step)
    integrator.addGlobalVariable("a", np.exp(-friction * time_step))
    integrator.addGlobalVariable("b", np.sqrt(1 - np.exp(-2 * friction * time_step)))
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
    pdb,
    *,
    names,
    force_field,
    temperatures,
    n_copies,
    n_frames,
    every=10.0,
    melt=400.0,
    settle=20.0,
    platform=None,
    seed=0,
):
    """Run all copies; return positions of the atoms called `names` and each copy's temperature.

    Frames lie `every` ps apart. Half of each temperature's copies start from `melt` ps at 700 K, so
    that folded and unfolded starts can be compared; all settle for `settle` ps.

    Returns a dict: `positions` (n_frames, n_copies, n_atoms, 3) in nm, `native` (n_atoms, 3) of the
    PDB file, `temperature` and `melted` (n_copies,).
    """
    import openmm
    from openmm import app

    topology, native = read_molecule(pdb, force_field)
    keep = [atom.index for atom in topology.atoms() if atom.name in names]
    sites = lattice(n_copies)
    per_copy, melted = assign(temperatures, n_copies)
    everything, start, system = build(topology, native, sites, force_field=force_field)

    def of_particles(values):
        return np.repeat(values, len(native))

    integrator = langevin_middle(of_particles(per_copy))
    integrator.setRandomNumberSeed(seed + 1)
    choice = [openmm.Platform.getPlatformByName(platform)] if platform else []
    simulation = app.Simulation(everything, system, integrator, *choice)
    simulation.context.setPositions(start)
    simulation.minimizeEnergy(maxIterations=200)
    simulation.context.setVelocitiesToTemperature(float(np.mean(temperatures)), seed + 1)
    set_temperatures(integrator, of_particles(np.where(melted, MELT, per_copy)))
    integrator.step(round(melt / 0.004))
    set_temperatures(integrator, of_particles(per_copy))
    integrator.step(round(settle / 0.004))
    frames = np.empty((n_frames, n_copies, len(keep), 3), np.float32)
    for frame in frames:
        integrator.step(round(every / 0.004))
        state = simulation.context.getState(getPositions=True)
        now = np.asarray(state.getPositions(asNumpy=True)._value)
        frame[:] = (now.reshape(n_copies, -1, 3) - sites[:, None])[:, keep]
    return {
        "positions": frames,
        "native": native[keep],
        "temperature": per_copy,
        "melted": melted,
    }


def distances(positions):
    """Return all pair distances (nm) of positions (..., n_atoms, 3), shape (..., n_pairs)."""
    flat = positions.reshape(-1, *positions.shape[-2:])
    return np.array([pdist(x) for x in flat]).reshape(*positions.shape[:-2], -1)


def is_folded(features, native, threshold):
    """Return whether distances (..., n_pairs) differ from the native ones by less than threshold.

    By their root mean square, in nm.
    """
    return np.sqrt(np.mean((features - native) ** 2, axis=-1)) < threshold


def learn(run, *, trained, threshold, lagtime=1, max_iter=1000, seed=0):
    """Train on the copies at two temperatures and predict the folded population at all.

    Returns the model and a DataFrame, one row per temperature: `predicted` and `simulated`
    populations with standard errors (of the simulated, over copies), the simulated populations of
    the copies that started folded and melted (far apart means: too short a run), and `trained`.
    """
    features = distances(run["positions"]).swapaxes(0, 1)
    folded = is_folded(features, distances(run["native"]), threshold)
    chosen = np.isin(run["temperature"], trained)
    latf = LaTFEstimator(lagtime=lagtime, max_iter=max_iter, random_state=seed)
    everything = np.unique(run["temperature"])
    model = TemperatureExtrapolator(
        latf,
        enthalpy_input="cvs",
        n_estimators=5,
        temperature_range=(everything[0], everything[-1]),
        max_iter=max_iter,
        random_state=seed,
    ).fit(list(features[chosen]), temperature=list(run["temperature"][chosen]))
    found = model.expectation(list(folded[chosen].astype(float)), everything)
    copies = pd.DataFrame(
        {"T": run["temperature"], "melted": run["melted"], "folded": folded.mean(axis=1)}
    )
    started = copies.pivot_table(index="T", columns="melted", values="folded")
    table = pd.DataFrame(
        {
            "predicted": found.value,
            "error": found.standard_error,
            "simulated": copies.groupby("T").folded.mean(),
            "simulated error": copies.groupby("T").folded.sem(),
            "started folded": started.get(False),
            "started melted": started.get(True),
            "trained": np.isin(everything, trained),
        }
    )
    return model, table


def draw(table, title, path):
    """Save the folded population against temperature, predicted and simulated."""
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(5, 3.5), layout="constrained")
    ax.errorbar(table.index, table.predicted, table.error, label="predicted", capsize=3)
    for trained, marker in ((True, "s"), (False, "o")):
        part = table[table.trained == trained]
        label = "simulated, " + ("trained on" if trained else "never seen")
        ax.errorbar(
            part.index, part.simulated, part["simulated error"], fmt=marker, capsize=3, label=label
        )
    ax.set(xlabel="temperature (K)", ylabel="folded population", ylim=(-0.05, 1.05), title=title)
    ax.legend()
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main(description, *, names, force_field, threshold, temperatures, trained):
    """Parse the options, simulate or read frames, learn, print the table, save the figure."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pdb", type=Path)
    parser.add_argument("--temperatures", type=float, nargs="+", default=temperatures, help="K")
    parser.add_argument("--trained", type=float, nargs=2, default=trained, help="K")
    parser.add_argument("--copies", type=int, default=256)
    parser.add_argument("--frames", type=int, default=20_000, help="of every copy")
    parser.add_argument("--every", type=float, default=10.0, help="ps from frame to frame")
    parser.add_argument("--melt", type=float, default=400.0, help="ps at 700 K, half the copies")
    parser.add_argument("--settle", type=float, default=1000.0, help="ps before the first frame")
    parser.add_argument("--platform", help="of OpenMM; the fastest if not given")
    parser.add_argument("--threshold", type=float, default=threshold, help="nm, of folded")
    parser.add_argument("--lagtime", type=int, default=10, help="frames")
    parser.add_argument("--max-iter", type=int, default=1000)
    parser.add_argument("--run", type=Path, default=Path("run.npz"), help="read if it is there")
    parser.add_argument("--figure", type=Path, default=Path("folded.png"))
    parser.add_argument("--short", action="store_true", help=f"defaults for a processor: {SHORT}")
    if parser.parse_known_args()[0].short:
        parser.set_defaults(**SHORT)
    args = parser.parse_args()
    if not args.run.exists():
        options = ("temperatures", "every", "melt", "settle", "platform")
        settings = {name: getattr(args, name) for name in options}
        sizes = {"n_copies": args.copies, "n_frames": args.frames}
        run = simulate(args.pdb, names=names, force_field=force_field, **sizes, **settings)
        np.savez_compressed(args.run, **run)
    _, table = learn(
        dict(np.load(args.run)),
        trained=args.trained,
        threshold=args.threshold,
        lagtime=args.lagtime,
        max_iter=args.max_iter,
    )
    print(table.round(3).to_string())
    draw(table, args.pdb.stem, args.figure)
