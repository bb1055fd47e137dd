"""From trajectory files to free energies at a temperature that was never simulated.

    python examples/quickstart_md.py
    python examples/quickstart_md.py protein.pdb 350 run_300K.xtc:300 run_400K.xtc:400

Without arguments it first makes files to show itself on: seven argon atoms on a plane, simulated
at 24 and 60 K, asked about at 40 K. With them: topology, temperature asked for in K, and
file:temperature of each simulation; the features are then the torsions of the backbone.
"""

import sys
import tempfile

import mdtraj
import numpy as np

from latflow import LaTFEstimator, TemperatureExtrapolator
from latflow.datasets import make_lj7
from latflow.featurizers import CoordinationNumbers, Torsions, featurize

SIGMA, EPSILON = 0.34, 119.8  # of argon: nm, K


def free_energies(topology, files, temperatures, unseen, featurizer, **options):
    """Learn from files, and return points of the latent space with their free energies."""
    data = featurize(files, topology, featurizer, temperature=temperatures)
    model = TemperatureExtrapolator(LaTFEstimator(lagtime=10, **options), **options)
    model.fit(data.trajectories, temperature=data.temperature)
    print(model.state_populations(unseen).round(3))
    points = model.sample(1000, unseen)
    return points, model.free_energy(points, temperature=unseen)  # kJ/mol


def make_files(folder, n_frames):
    """Simulate argon at two temperatures; return topology, files and temperatures."""
    topology = mdtraj.Topology()
    chain = topology.add_chain()
    for _ in range(7):
        topology.add_atom("Ar", mdtraj.element.argon, topology.add_residue("AR", chain))
    files, temperatures = [], []
    for reduced in (0.2, 0.5):
        data = make_lj7(n_frames, reduced, n_walkers=10, random_state=0)
        for number, xy in enumerate(data.coordinates):
            xyz = SIGMA * np.pad(xy, ((0, 0), (0, 0), (0, 1)))
            times = 2.16 * data.time_step * np.arange(len(xyz))  # ps: argon's unit of time
            files.append(f"{folder}/argon_{reduced}_{number}.xtc")
            mdtraj.Trajectory(xyz, topology, time=times).save(files[-1])
            temperatures.append(EPSILON * reduced)
    return topology, files, temperatures


def main(arguments, n_frames=20_000, **options):
    """Take files from the command line, or make some."""
    if arguments:
        topology, unseen, *runs = arguments
        files, temperatures = zip(*(run.rsplit(":", 1) for run in runs), strict=True)
        temperatures = [float(t) for t in temperatures]
        points, energies = free_energies(
            topology, files, temperatures, float(unseen), Torsions(), **options
        )
    else:
        with tempfile.TemporaryDirectory() as folder:
            made = make_files(folder, n_frames)
            atoms = CoordinationNumbers(1.5 * SIGMA, sort=True)
            points, energies = free_energies(*made, 40.0, atoms, **options)
    for point, energy in list(zip(points, energies, strict=True))[:5]:
        print(f"z = ({point[0]:6.2f}, {point[1]:6.2f})   F = {energy:5.2f} kJ/mol")


if __name__ == "__main__":
    main(sys.argv[1:], random_state=0)
