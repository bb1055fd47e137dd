"""Does a bias predicted from hotter simulations flatten a cold one? Alanine dipeptide at 300 K.

    python benchmarks/cold_bias.py --pieces pieces   # 20 ns unbiased, 5 x 2 ns of each bias
    python benchmarks/cold_bias.py --ns 0.02 --unbiased-ns 0.02 --runs 1 --max-iter 100

Models are fitted on the simulations at 450 and 600 K that ship, without energies, one for each run
with its own seed; the bias is the negative of their surface at 300 K, static, in OpenMM. Beside it
stands plain well-tempered metadynamics on phi and psi (OpenMM's, equally long). Steps of 4 fs, the
hydrogens 3 amu heavy, a frame every picosecond.

A passage leads from one core to the other, in degrees: phi from -160 to -40, and from 30 to 100.
Basins: "phi > 0", what has phi from 0 to 180; of the rest "alpha" where psi lies from -120 to 30,
"beta" elsewhere. Their populations are those of weighted frames (exp(bias / k_B T)), of a model
fitted again with the biased frames and all energies ("refitted"), and of metadynamics' own surface;
errors are against the parallel tempering that ships (MBAR over its replicas). `--pieces` keeps
every simulation in a file, so that a stopped run goes on.
"""

import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import results
from alanine_dipeptide import BASINS, pooled_populations
from simulations import basins

from latflow import LaTFEstimator, TemperatureExtrapolator
from latflow.datasets import load_alanine_dipeptide
from latflow.datasets.alanine_dipeptide import backbone_features
from latflow.export import PredictedBias, openmm_force
from latflow.featurizers import Torsions

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts"))
import make_alanine_dipeptide as make

COLD = 300.0
KT = make.BOLTZMANN * COLD
CORES = ((-160, -40), (30, 100))
SETTLING = 20.0  # ps
SETTINGS = {"time_step": 0.004, "hydrogen_mass": 3.0}
WIDTH, HEIGHT, FACTOR, EVERY = 0.35, 1.2, 6.0, 125  # of metadynamics: rad, kJ/mol, -, steps


def passages(angles):
    """Return how often a simulation went from one core to the other."""
    phi = np.degrees(angles[:, 0])
    core = np.select([(phi > low) & (phi < high) for low, high in CORES], [0, 1], -1)
    visited = core[core >= 0]
    return int(np.count_nonzero(np.diff(visited)))


def fit(trajectories, temperature, seed, args, **metadata):
    """Return a model of temperatures from 300 to 600 K."""
    latf = LaTFEstimator(max_iter=args.max_iter, random_state=seed)
    model = TemperatureExtrapolator(
        latf, n_bootstraps=0, temperature_range=(COLD, 600), max_iter=args.max_iter,
        random_state=seed,
    )  # fmt: skip
    return model.fit(trajectories, temperature=temperature, **metadata)


def run_walker(walker, nanoseconds):
    """Return angles, energies without the bias, and the bias, of frames a picosecond apart."""
    walker.run(SETTLING)
    start = time.process_time()
    frames = [(*walker.run(1.0), walker.energy()) for _ in range(round(1000 * nanoseconds))]
    seconds = time.process_time() - start
    positions, energies, biases = map(np.array, zip(*frames, strict=True))
    angles = make.backbone_angles(positions)
    return {"angles": angles, "energies": energies, "biases": biases, "seconds": seconds}


def unbiased(seed, args):
    """Return a plain simulation."""
    return run_walker(make.Walker(COLD, seed, **SETTINGS), args.unbiased_ns)


def biased(seed, args, hot):
    """Return a simulation with the bias of a model of the hot ones."""
    import mdtraj
    from openmmtools.testsystems import AlanineDipeptideImplicit

    model = fit(hot.trajectories, hot.temperature, seed, args)
    topology = AlanineDipeptideImplicit().topology
    featurizer = Torsions().fit(mdtraj.Topology.from_openmm(topology))
    bias = PredictedBias.of(model, COLD)
    force = openmm_force(model, topology, bias=bias, featurizer=featurizer)
    return run_walker(make.Walker(COLD, seed, **SETTINGS, bias=force), args.ns)


def metadynamics(seed, args):
    """Return a simulation with metadynamics on phi and psi, and its populations."""
    import openmm
    from openmmtools.testsystems import AlanineDipeptideImplicit

    molecule = AlanineDipeptideImplicit(hydrogenMass=3.0 * openmm.unit.amu)
    variables = []
    for atoms in (make.PHI, make.PSI):
        angle = openmm.CustomTorsionForce("theta")
        angle.addTorsion(*atoms)
        variables.append(openmm.app.BiasVariable(angle, -np.pi, np.pi, WIDTH, True))
    meta = openmm.app.Metadynamics(molecule.system, variables, COLD, FACTOR, HEIGHT, EVERY)
    integrator = openmm.LangevinMiddleIntegrator(COLD, 1.0, SETTINGS["time_step"])
    integrator.setRandomNumberSeed(seed + 1)
    platform = openmm.Platform.getPlatformByName("CPU")
    simulation = openmm.app.Simulation(
        molecule.topology, molecule.system, integrator, platform, {"Threads": "1"}
    )
    simulation.context.setPositions(molecule.positions)
    simulation.minimizeEnergy()
    simulation.context.setVelocitiesToTemperature(COLD, seed + 1)
    start, frames = time.process_time(), []
    for _ in range(round(1000 * args.ns)):
        meta.step(simulation, round(1 / SETTINGS["time_step"]))
        frames.append(meta.getCollectiveVariables(simulation))
    seconds = time.process_time() - start
    energy = meta.getFreeEnergy().value_in_unit(openmm.unit.kilojoule_per_mole)
    grid = np.linspace(-np.pi, np.pi, len(energy))
    psi, phi = np.meshgrid(grid, grid, indexing="ij")
    weights = np.exp(-(energy - energy.min()) / KT).ravel()
    labels = basins(np.column_stack([phi.ravel(), psi.ravel()]))
    return {"angles": np.array(frames), "seconds": seconds, "populations": of(labels, weights)}


def of(labels, weights):
    """Return the populations of the basins, of weighted labels."""
    sums = np.bincount(labels, weights, minlength=len(BASINS))
    return sums / sums.sum()


def kept(name, args, simulate):
    """Return a simulation, out of the folder of pieces if it is there."""
    if args.pieces is None:
        return simulate()
    args.pieces.mkdir(exist_ok=True)
    path = args.pieces / f"{name}.npz"
    if not path.exists():
        np.savez(path, **simulate())
    return dict(np.load(path))


def refitted(run, seed, args, hot):
    """Return populations at 300 K by a model of all three temperatures, with energies."""
    weights = np.exp((run["biases"] - run["biases"].max()) / KT)
    model = fit(
        [*hot.trajectories, backbone_features(run["angles"])], [*hot.temperature, COLD], seed, args,
        weights=[*(np.ones(len(x)) for x in hot.trajectories), weights],
        energy=[*hot.energies, run["energies"]],
    )  # fmt: skip
    labels = basins(np.concatenate([*hot.angles, run["angles"]]))
    return of(labels, np.concatenate(model.frame_weights(COLD)))


def truth():
    """Return the populations at 300 K of the parallel tempering."""
    data = load_alanine_dipeptide(parallel_tempering=True)
    labels = basins(np.stack(data.angles))
    args = np.stack(data.energies), labels, np.array(data.temperature), np.array([COLD])
    return pooled_populations(*args)[0]


def free_energy(populations):
    """Return the free energy of phi > 0 (kJ/mol), against all else."""
    with np.errstate(divide="ignore"):
        return -KT * np.log(populations[..., 2] / (1 - populations[..., 2]))


def summary(name, runs, nanoseconds):
    """Return a line of the table of speed and passages."""
    counts = [passages(run["angles"]) for run in runs]
    total = nanoseconds * len(runs)
    seconds = sum(float(run["seconds"]) for run in runs)
    return {
        "simulation": name,
        "runs": len(runs),
        "ns, each": nanoseconds,
        "passages": ", ".join(map(str, counts)),
        "passages per ns": round(sum(counts) / total, 2),
        "ns per day, one thread": round(total / seconds * 86400),
    }


def judged(name, populations, true):
    """Return a line of the table of populations: means, and RMS errors over the runs."""
    values = np.array(populations)
    line = {"populations of": name} | dict(zip(BASINS, values.mean(axis=0).round(4), strict=True))
    rms = np.sqrt(np.mean((values - true) ** 2, axis=0)).round(4)
    line |= {f"RMS error of {basin}": error for basin, error in zip(BASINS, rms, strict=True)}
    off = free_energy(values) - free_energy(true)
    return line | {"of F(phi > 0), kJ/mol": round(float(np.sqrt(np.mean(off**2))), 2)}


def run(args):
    """Simulate, and yield the tables."""
    hot, true = load_alanine_dipeptide(), truth()
    seeds = range(args.runs)
    plain = [kept("unbiased", args, lambda: unbiased(1000, args))] if args.unbiased_ns else []
    flat = [kept(f"biased_{s}", args, lambda s=s: biased(s, args, hot)) for s in seeds]
    meta = [kept(f"metadynamics_{s}", args, lambda s=s: metadynamics(s, args)) for s in seeds]
    lines = [summary("unbiased", plain, args.unbiased_ns)] if plain else []
    lines += [summary("predicted bias", flat, args.ns), summary("metadynamics", meta, args.ns)]
    title = "Passages between the cores of phi at 300 K"
    table = pd.DataFrame(lines).set_index("simulation")
    yield results.Result("cold_bias_passages", title, table)
    weighted = [
        of(basins(r["angles"]), np.exp((r["biases"] - r["biases"].max()) / KT)) for r in flat
    ]
    again = [refitted(r, s, args, hot) for r, s in zip(flat, seeds, strict=True)]
    lines = [
        judged("parallel tempering", [true], true),
        judged("predicted bias, weighted", weighted, true),
        judged("predicted bias, refitted", again, true),
        judged("metadynamics", [r["populations"] for r in meta], true),
    ]
    title = "Populations at 300 K, and RMS errors over the runs"
    table = pd.DataFrame(lines).set_index("populations of")
    yield results.Result("cold_bias", title, table)


if __name__ == "__main__":
    parser = results.options(__doc__)
    parser.add_argument("--ns", type=float, default=2.0, help="of each biased run")
    parser.add_argument("--unbiased-ns", type=float, default=20.0)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--max-iter", type=int, default=1000)
    parser.add_argument("--pieces", type=Path, help="folder that keeps simulations")
    results.publish(parser, run)
