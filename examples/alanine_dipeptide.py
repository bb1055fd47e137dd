"""Alanine dipeptide, all atoms: from 450 and 600 K to the equilibrium at 300, 350 and 400 K.

    python examples/alanine_dipeptide.py                  # from the simulations that ship
    python examples/alanine_dipeptide.py --simulate       # its own, with OpenMM: an hour or two
    python examples/alanine_dipeptide.py --simulate --frames 50 --tempering-frames 20

Trains on Langevin dynamics at 450 and 600 K, four walkers of 1.5 ns at each, and compares
populations and free energies in phi and psi with parallel tempering, which the model never sees.
"""

import argparse
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.constants import R
from sklearn.utils import Bunch

from latflow import LaTFEstimator, TemperatureExtrapolator
from latflow.datasets import load_alanine_dipeptide
from latflow.datasets.alanine_dipeptide import backbone_features

WANTED = (300.0, 350.0, 400.0)
BASINS = ("beta", "alpha", "phi > 0")
EDGES = np.linspace(-180, 180, 37)


def simulate(n_frames, n_tempering):
    """Return own Langevin dynamics and parallel tempering, a frame every picosecond."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "scripts"))
    import make_alanine_dipeptide as make

    temperature = np.repeat(make.LANGEVIN, make.N_WALKERS).tolist()
    walkers = [make.simulate(t, n_frames, seed=k) for k, t in enumerate(temperature)]
    ladder = make.Tempering(make.LADDER, seed=len(walkers))
    ladder.settle()
    replicas = ladder.run(n_tempering)["positions"].swapaxes(0, 1)
    both = []
    for given, runs in ((temperature, [w["positions"] for w in walkers]), (make.LADDER, replicas)):
        angles = [make.backbone_angles(positions) for positions in runs]
        features = [backbone_features(a) for a in angles]
        both.append(Bunch(trajectories=features, angles=angles, temperature=list(given)))
    return both


def basin(angles):
    """Return 0 (beta), 1 (alpha: psi from -120 to 30 degrees) or 2 (phi > 0) of each frame."""
    phi, psi = np.degrees(angles).T
    return np.where(phi > 0, 2, ((psi > -120) & (psi < 30)).astype(int))


def surface(angles, temperature, weights=None):
    """Return the free energy (kJ/mol) in bins of 10 degrees, its minimum 0."""
    p = np.histogram2d(*np.degrees(angles).T, bins=EDGES, weights=weights)[0]
    energy = np.full(p.shape, np.nan)
    energy[p > 0] = -R / 1000 * temperature * np.log(p[p > 0] / p.max())
    return energy


def populations(model, data, reference):
    """Return predicted and simulated populations, and the free energy of each basin over beta."""
    rows = []
    for code, name in enumerate(BASINS):
        member = [(basin(a) == code).astype(float) for a in data.angles]
        found = model.expectation(member, WANTED)
        for t, (value, error) in zip(WANTED, found.to_numpy(), strict=True):
            true = np.mean(basin(reference.angles[reference.temperature.index(t)]) == code)
            rows.append({"T": t, "basin": name, "predicted": value, "error": error, "PT": true})
    table = pd.DataFrame(rows).set_index(["T", "basin"]).sort_index(level="T", sort_remaining=False)
    for column in ("predicted", "PT"):
        odds = table[column] / table[column].xs("beta", level="basin")
        kt = R / 1000 * table.index.get_level_values("T")
        with np.errstate(divide="ignore"):
            table[f"F {column} (kJ/mol)"] = kt * -np.log(odds) + 0.0
    return table


def draw(model, data, reference, path):
    """Save the predicted surfaces above the simulated ones."""
    figure, axes = plt.subplots(
        2, 3, figsize=(9, 6), sharex=True, sharey=True, layout="constrained"
    )
    pooled = np.concatenate(data.angles)
    for t, (above, below) in zip(WANTED, axes.T, strict=True):
        weights = np.concatenate(model.frame_weights(t))
        predicted = surface(pooled, t, weights)
        simulated = surface(reference.angles[reference.temperature.index(t)], t)
        for ax, energy, title in (
            (above, predicted, f"{t:g} K, predicted"),
            (below, simulated, f"{t:g} K, tempering"),
        ):
            mesh = ax.pcolormesh(EDGES, EDGES, energy.T, vmin=0, vmax=20)
            ax.set(title=title, xticks=[-180, 0, 180], yticks=[-180, 0, 180])
    figure.supxlabel("phi (degrees)")
    figure.supylabel("psi (degrees)")
    figure.colorbar(mesh, ax=axes, label="free energy (kJ/mol)")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main():
    """Simulate or load, fit, print the table and save the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulate", action="store_true", help="with OpenMM, extra md")
    parser.add_argument("--frames", type=int, default=1500, help="ps of each of eight walkers")
    parser.add_argument("--tempering-frames", type=int, default=5000, help="ps of each replica")
    parser.add_argument("--max-iter", type=int, default=1000)
    parser.add_argument("--figure", default="alanine_dipeptide.png")
    args = parser.parse_args()
    if args.simulate:
        data, reference = simulate(args.frames, args.tempering_frames)
    else:
        data, reference = (load_alanine_dipeptide(parallel_tempering=p) for p in (False, True))
    latf = LaTFEstimator(max_iter=args.max_iter, random_state=0)
    model = TemperatureExtrapolator(
        latf, n_bootstraps=20, temperature_range=(300, 600), max_iter=args.max_iter, random_state=0
    ).fit(data.trajectories, temperature=data.temperature)
    print(populations(model, data, reference).round(3).to_string())
    draw(model, data, reference, args.figure)


if __name__ == "__main__":
    main()
