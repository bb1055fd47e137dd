"""Alanine dipeptide at 300 K, flattened by what 450 and 600 K predict, and then learned from.

    python examples/bias_cold_simulation.py                 # 2 ns with OpenMM (extra md): minutes
    python examples/bias_cold_simulation.py --ps 20 --frames 300 --max-iter 100

Hot simulations that ship with the package give a model, the model a free-energy surface at 300 K,
and the surface a bias under which phi turns positive and back, which no plain simulation of this
length does. Weights undo the bias, and the model is fitted again with all three temperatures.
"""

import argparse
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import mdtraj
import numpy as np
from openmmtools.testsystems import AlanineDipeptideImplicit

from latflow import LaTFEstimator, TemperatureExtrapolator
from latflow.datasets import load_alanine_dipeptide
from latflow.datasets.alanine_dipeptide import backbone_features
from latflow.export import PredictedBias, openmm_force
from latflow.featurizers import Torsions

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts"))
import make_alanine_dipeptide as make

COLD = 300.0
BINS = np.linspace(-180, 180, 37)


def fit(trajectories, temperature, max_iter, **metadata):
    """Return a model of temperatures from 300 to 600 K."""
    latf = LaTFEstimator(max_iter=max_iter, random_state=0)
    model = TemperatureExtrapolator(
        latf, n_bootstraps=0, temperature_range=(COLD, 600), max_iter=max_iter, random_state=0
    )
    return model.fit(trajectories, temperature=temperature, **metadata)


def simulate(model, n_frames, seed=0):
    """Return angles, energies without the bias, and the bias, of a biased simulation at 300 K."""
    topology = AlanineDipeptideImplicit().topology
    featurizer = Torsions().fit(mdtraj.Topology.from_openmm(topology))
    bias = PredictedBias.of(model, COLD)
    force = openmm_force(model, topology, bias=bias, featurizer=featurizer)
    walker = make.Walker(COLD, seed, time_step=0.004, hydrogen_mass=3.0, bias=force)
    walker.run(5.0)
    frames = [(*walker.run(1.0), walker.energy()) for _ in range(n_frames)]
    positions, energies, biases = map(np.array, zip(*frames, strict=True))
    return make.backbone_angles(positions), energies, biases


def free_energy(angles, weights):
    """Return the free energy (kJ/mol) along phi, its minimum 0."""
    counts, _ = np.histogram(np.degrees(angles[:, 0]), BINS, weights=weights)
    with np.errstate(divide="ignore"):
        energy = -make.BOLTZMANN * COLD * np.log(counts)
    return energy - energy.min()


def main():
    """Run the loop, print populations and save the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ps", type=int, default=2000, help="of the biased simulation")
    parser.add_argument("--frames", type=int, default=1500, help="ps of each hot walker")
    parser.add_argument("--max-iter", type=int, default=1000)
    parser.add_argument("--figure", default="bias_cold_simulation.png")
    args = parser.parse_args()
    hot = load_alanine_dipeptide()
    features, angles = ([x[: args.frames] for x in hot[k]] for k in ("trajectories", "angles"))
    energies = [e[: args.frames] for e in hot.energies]
    first = fit(features, hot.temperature, args.max_iter)

    cold_angles, cold_energies, bias = simulate(first, args.ps)
    undone = np.exp((bias - bias.max()) / (make.BOLTZMANN * COLD))
    weights = [*(np.ones(len(x)) for x in features), undone]
    second = fit(
        [*features, backbone_features(cold_angles)], [*hot.temperature, COLD], args.max_iter,
        weights=weights, energy=[*energies, cold_energies],
    )  # fmt: skip

    tempering = load_alanine_dipeptide(parallel_tempering=True)
    k = tempering.temperature.index(COLD)
    hot_angles, every = np.concatenate(angles), np.concatenate([*angles, cold_angles])
    ways = {
        "predicted from 450 and 600 K": (hot_angles, np.concatenate(first.frame_weights(COLD))),
        "biased simulation, weighted": (cold_angles, undone),
        "all three": (every, np.concatenate(second.frame_weights(COLD))),
        "parallel tempering": (tempering.angles[k], np.ones(len(tempering.angles[k]))),
    }
    figure, ax = plt.subplots(layout="constrained")
    for name, (frames, own) in ways.items():
        print(f"{name:30s} phi > 0: {np.average(frames[:, 0] > 0, weights=own):.4f}")
        ax.stairs(free_energy(frames, own), BINS, label=name, baseline=None)
    ax.set(xlabel="phi (degrees)", ylabel="free energy at 300 K (kJ/mol)", ylim=(0, 40))
    ax.legend()
    figure.savefig(args.figure, dpi=150)
    flips = np.count_nonzero(np.diff(cold_angles[:, 0] > 0))
    print(f"phi changed its sign {flips} times in {args.ps} ps")


if __name__ == "__main__":
    main()
