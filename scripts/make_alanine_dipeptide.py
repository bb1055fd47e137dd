"""The simulations behind ``load_alanine_dipeptide``; ``pip install "latflow[md]"`` to repeat them.

    python scripts/make_alanine_dipeptide.py langevin pieces
    python scripts/make_alanine_dipeptide.py tempering pieces --ns 8
    python scripts/make_alanine_dipeptide.py pack pieces --out alanine_dipeptide.npz

The first two run for a quarter of an hour and for most of an hour on one processor core and leave
a file in the folder ``pieces`` every minute or two; the third packs what is there.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latflow._validation import import_extra
from latflow.datasets.alanine_dipeptide import ANGLE_UNIT, LENGTH_UNIT

FloatArray = NDArray[np.float64]
Frames = dict[str, Any]  # arrays by name

BOLTZMANN = 0.00831446261815324  # kJ/mol/K
HOT = 600.0
LANGEVIN = (450.0, 600.0)
N_WALKERS, WALKER_FRAMES, CHUNK = 4, 1500, 250
LADDER = (300.0, 350.0, 400.0, 450.0, 520.0, 600.0)
PHI, PSI = (4, 6, 8, 14), (6, 8, 14, 16)  # C-N-CA-C and N-CA-C-N of the 22 atoms
HEAVY = (1, 4, 5, 6, 8, 10, 14, 15, 16, 18)

BIAS_GROUP = 1

logger = logging.getLogger(__name__)


class Walker:
    """One molecule with its thermostat: ff96, OBC1 solvent, bonds to hydrogen rigid.

    Parameters
    ----------
    temperature : float
        Temperature of the Langevin thermostat (K); change it with `set_temperature`.
    seed : int
        Seed of the velocities and of the thermostat's noise.
    time_step : float, default=0.002
        Step of the integrator (ps).
    hydrogen_mass : float, optional
        Mass (amu) of the hydrogens, taken from what they are bound to. At equilibrium it changes
        no configuration; 3 allows steps of 4 fs.
    bias : openmm.Force, optional
        Acts on the molecule, and is no part of the energies that `run` returns.
    """

    def __init__(
        self,
        temperature: float,
        seed: int,
        *,
        time_step: float = 0.002,
        hydrogen_mass: float | None = None,
        bias: Any = None,
    ) -> None:
        openmm = import_extra("openmm", extra="md")
        systems = import_extra("openmmtools.testsystems", extra="md")
        mass = None if hydrogen_mass is None else hydrogen_mass * openmm.unit.amu
        molecule = systems.AlanineDipeptideImplicit(hydrogenMass=mass)
        if bias is not None:
            bias.setForceGroup(BIAS_GROUP)
            molecule.system.addForce(bias)
        platform = openmm.Platform.getPlatformByName("CPU")
        self._unit = openmm.unit
        self._integrator = openmm.LangevinMiddleIntegrator(temperature, 1.0, time_step)
        self._integrator.setRandomNumberSeed(seed + 1)
        self._context = openmm.Context(
            molecule.system, self._integrator, platform, {"Threads": "1"}
        )
        self._context.setPositions(molecule.positions)
        openmm.LocalEnergyMinimizer.minimize(self._context)
        self._context.setVelocitiesToTemperature(temperature, seed + 1)

    def set_temperature(self, temperature: float) -> None:
        """Heat or cool: the thermostat at once, and the velocities in proportion."""
        before = self._integrator.getTemperature().value_in_unit(self._unit.kelvin)
        factor = np.sqrt(temperature / before)
        velocities = self._context.getState(getVelocities=True).getVelocities(asNumpy=True)
        self._context.setVelocities(velocities * factor)
        self._integrator.setTemperature(temperature)

    def run(self, picoseconds: float) -> tuple[NDArray[np.float32], float]:
        """Integrate; return positions (22, 3) in nm and the potential energy in kJ/mol."""
        unit = self._unit
        step = self._integrator.getStepSize().value_in_unit(unit.picosecond)
        self._integrator.step(round(picoseconds / step))
        state = self._context.getState(getPositions=True)
        positions = state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
        positions = np.asarray(positions, np.float32)
        return positions - positions.mean(axis=0), self.energy(-1 & ~(1 << BIAS_GROUP))

    def energy(self, groups: int = 1 << BIAS_GROUP) -> float:
        """Return the energy (kJ/mol) of forces by their groups, the bias if not given."""
        state = self._context.getState(getEnergy=True, groups=groups)
        energy = state.getPotentialEnergy().value_in_unit(self._unit.kilojoule_per_mole)
        return float(energy)


def simulate(
    temperature: float, n_frames: int, *, seed: int, heating: float = 200.0, settling: float = 100.0
) -> Frames:
    """Langevin dynamics at one temperature, a frame every picosecond.

    Parameters
    ----------
    temperature : float
        Temperature (K).
    n_frames : int
        Number of frames, one a picosecond.
    seed : int
        Seed of the walker.
    heating, settling : float, default=200 and 100
        Picoseconds at 600 K, then at `temperature`, before the first frame.

    Returns
    -------
    frames : dict
        ``positions`` (n_frames, 22, 3) in nm and ``energy`` (n_frames,) in kJ/mol, float32.
    """
    walker = Walker(HOT, seed)
    walker.run(heating)
    walker.set_temperature(temperature)
    walker.run(settling)
    positions, energies = zip(*(walker.run(1.0) for _ in range(n_frames)), strict=True)
    return {"positions": np.array(positions), "energy": np.array(energies, np.float32)}


class Tempering:
    """Parallel tempering: one walker a temperature, neighbours try to swap every picosecond.

    Steps of 4 fs with heavy hydrogens, which leaves twice the sampling for the same time.

    Parameters
    ----------
    temperatures : sequence of float
        The ladder (K), in ascending order.
    seed : int
        Seed of walkers and swaps.

    Attributes
    ----------
    attempts, accepted : ndarray of shape (n_temperatures - 1,)
        Swaps tried and made between neighbours.
    """

    def __init__(self, temperatures: Sequence[float], seed: int) -> None:
        self.temperatures = np.array(temperatures, dtype=float)
        settings = {"time_step": 0.004, "hydrogen_mass": 3.0}
        seeds = 100 * seed + np.arange(len(temperatures))
        self._walkers = [Walker(HOT, int(s), **settings) for s in seeds]
        self._order = np.arange(len(temperatures))
        self._generator = np.random.default_rng(seed)
        self._rounds = 0
        self.attempts = np.zeros(len(temperatures) - 1, int)
        self.accepted = np.zeros(len(temperatures) - 1, int)

    def settle(self, heating: float = 100.0, settling: int = 150) -> None:
        """Picoseconds at 600 K, then at the ladder's temperatures with swaps; no frames kept."""
        for walker, temperature in zip(self._walkers, self.temperatures, strict=True):
            walker.run(heating)
            walker.set_temperature(temperature)
        self.run(settling)

    def run(self, n_frames: int) -> Frames:
        """Run and swap.

        Parameters
        ----------
        n_frames : int
            Number of frames at each temperature, one a picosecond.

        Returns
        -------
        frames : dict
            ``positions`` (n_frames, n_temperatures, 22, 3) in nm, ``energy`` (n_frames,
            n_temperatures) in kJ/mol, and ``walker``, which walker was at each temperature.
        """
        rounds = [self._round() for _ in range(n_frames)]
        positions, energies, order = (np.array(part) for part in zip(*rounds, strict=True))
        return {"positions": positions, "energy": energies.astype(np.float32), "walker": order}

    def _round(self) -> tuple[NDArray[np.float32], FloatArray, NDArray[np.int8]]:
        """One picosecond at every temperature, then swaps of every other pair."""
        states = [self._walkers[w].run(1.0) for w in self._order]
        positions = np.array([state[0] for state in states])
        energies, order = np.array([state[1] for state in states]), self._order.astype(np.int8)
        log_ratio = np.diff(energies) * np.diff(1 / (BOLTZMANN * self.temperatures))
        for pair in range(self._rounds % 2, len(log_ratio), 2):
            self.attempts[pair] += 1
            if np.log(self._generator.random()) < log_ratio[pair]:
                self.accepted[pair] += 1
                self._swap(pair)
        self._rounds += 1
        return positions, energies, order

    def _swap(self, pair: int) -> None:
        self._order[[pair, pair + 1]] = self._order[[pair + 1, pair]]
        for k in (pair, pair + 1):
            self._walkers[self._order[k]].set_temperature(self.temperatures[k])


def backbone_angles(positions: NDArray[Any]) -> FloatArray:
    """Return phi and psi of positions (..., 22, 3), in radians, shape (..., 2)."""
    return np.stack([_dihedral(positions, atoms) for atoms in (PHI, PSI)], axis=-1)


def _dihedral(positions: NDArray[Any], atoms: tuple[int, ...]) -> FloatArray:
    first, axis, last = np.moveaxis(np.diff(positions[..., atoms, :], axis=-2), -2, 0)
    left, right = np.cross(first, axis), np.cross(axis, last)
    sine = np.linalg.norm(axis, axis=-1) * (first * right).sum(axis=-1)
    return np.asarray(np.arctan2(sine, (left * right).sum(axis=-1)), dtype=np.float64)


def pack(pieces: Path, out: Path) -> None:
    """Pack the pieces: angles and coordinates as 16-bit integers, energies in single precision."""
    walkers = [
        np.load(pieces / f"langevin_{t:g}_{w}.npz") for t in LANGEVIN for w in range(N_WALKERS)
    ]
    chunks = [np.load(path) for path in sorted(pieces.glob("tempering_*.npz"))]
    langevin = {key: np.stack([w[key] for w in walkers]) for key in ("positions", "energy")}
    tempering = {
        key: np.concatenate([c[key] for c in chunks]).swapaxes(0, 1)
        for key in ("positions", "energy", "walker")
    }
    np.savez_compressed(
        out,
        langevin_temperature=np.repeat(LANGEVIN, N_WALKERS),
        langevin_angles=_turns(langevin["positions"]),
        langevin_energy=langevin["energy"],
        langevin_coordinates=_heavy_atoms(langevin["positions"]),
        tempering_temperature=np.array(LADDER),
        tempering_angles=_turns(tempering["positions"]),
        tempering_energy=tempering["energy"],
        tempering_walker=tempering["walker"],
        tempering_acceptance=chunks[-1]["accepted"] / chunks[-1]["attempts"],
    )


def _turns(positions: NDArray[Any]) -> NDArray[np.int16]:
    """Angles in units of which 2^16 go once around, so that pi wraps to -pi."""
    return np.rint(backbone_angles(positions) / ANGLE_UNIT).astype(np.int32).astype(np.int16)


def _heavy_atoms(positions: NDArray[Any]) -> NDArray[np.int16]:
    heavy = positions[..., HEAVY, :]
    heavy = heavy - heavy.mean(axis=-2, keepdims=True)
    units = np.rint(heavy / LENGTH_UNIT)
    if np.abs(units).max() >= 2**15:
        raise ValueError(f"Expected positions within 0.65 nm of the centre, got {heavy.max():g}.")
    return np.asarray(units, dtype=np.int16)


def _run_langevin(pieces: Path) -> None:
    for walker in range(N_WALKERS):
        for temperature in LANGEVIN:
            frames = simulate(temperature, WALKER_FRAMES, seed=1000 * walker + round(temperature))
            np.savez(pieces / f"langevin_{temperature:g}_{walker}.npz", **frames)
            logger.info("walker %d at %g K: %d ps", walker, temperature, WALKER_FRAMES)


def _run_tempering(pieces: Path, nanoseconds: float) -> None:
    ladder = Tempering(LADDER, seed=7)
    ladder.settle()
    ladder.accepted[:] = ladder.attempts[:] = 0
    for chunk in range(round(1000 * nanoseconds / CHUNK)):
        frames = ladder.run(CHUNK)
        swaps: Frames = {"accepted": ladder.accepted, "attempts": ladder.attempts}
        np.savez(pieces / f"tempering_{chunk:03d}.npz", **swaps, **frames)
        logger.info("%d ps, accepted %s", CHUNK * (chunk + 1), ladder.accepted / ladder.attempts)


def main() -> None:
    """Parse the options and run one part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("langevin", "tempering", "pack"))
    parser.add_argument("pieces", type=Path)
    parser.add_argument("--ns", type=float, default=8.0, help="of every replica")
    parser.add_argument("--out", type=Path, default=Path("alanine_dipeptide.npz"))
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    args.pieces.mkdir(exist_ok=True)
    if args.part == "langevin":
        _run_langevin(args.pieces)
    elif args.part == "tempering":
        _run_tempering(args.pieces, args.ns)
    else:
        pack(args.pieces, args.out)


if __name__ == "__main__":
    main()
