"""Small molecules made from nothing: their topologies are right, their coordinates random."""

import math

import mdtraj
import numpy as np
from scipy.spatial.transform import Rotation

from latflow.units import BOLTZMANN_CONSTANT

BACKBONE = "N H CA HA C O"
SIDE_CHAINS = {
    "GLY": "",
    "ALA": "CB HB1",
    "SER": "CB OG",
    "LYS": "CB CG CD CE NZ HZ1",
    "ARG": "CB CG CD NE CZ NH1 NH2",
    "ILE": "CB CG1 CG2 CD1",
    "MET": "CB CG SD CE",
    "ASP": "CB CG OD1 OD2",
}
SUGAR = "P OP1 OP2 O5' C5' C4' O4' C3' O3' C2' O2' C1'"
BASES = {
    "G": "N9 C8 N7 C5 C6 O6 N1 C2 N2 N3 C4",
    "A": "N9 C8 N7 C5 C6 N6 N1 C2 N3 C4",
    "U": "N1 C2 O2 N3 C4 O4 C5 C6",
    "C": "N1 C2 O2 N3 C4 N4 C5 C6",
}
PEPTIDE = ("ALA", "GLY", "LYS", "ARG", "ILE", "MET", "ASP", "SER")
RNA = ("G", "A", "U", "C")


def topology_of(*chains):
    """Return the topology of chains of residues."""
    topology = mdtraj.Topology()
    for residues in chains:
        chain = topology.add_chain()
        for number, name in enumerate(residues, start=1):
            residue = topology.add_residue(name, chain, resSeq=number)
            side = f"{SUGAR} {BASES[name]}" if name in BASES else f"{BACKBONE} {SIDE_CHAINS[name]}"
            for atom in side.split():
                topology.add_atom(atom, mdtraj.element.get_by_symbol(atom[0]), residue)
    return topology


def trajectory_of(topology, n_frames=20, seed=0, *, time_step=2.0, box=None):
    """Return random frames: atoms within about 1 nm that jitter around random places.

    Only the atoms that join a residue to the next one of its chain keep the length of a bond.
    """
    rng = np.random.default_rng(seed)
    places = np.random.default_rng(1).normal(scale=0.6, size=(topology.n_atoms, 3))
    xyz = places + 0.05 * rng.normal(size=(n_frames, topology.n_atoms, 3))
    for one, other in links_of(topology):
        xyz[:, other] = xyz[:, one] + [-0.1, -0.1, -0.1]
    cell = {} if box is None else {
        "unitcell_lengths": np.full((n_frames, 3), box),
        "unitcell_angles": np.full((n_frames, 3), 90.0),
    }  # fmt: skip
    return mdtraj.Trajectory(xyz, topology, time=time_step * np.arange(n_frames), **cell)


def links_of(topology):
    """Yield C and N, or O3' and P, of residues that follow each other in a chain."""
    atoms = {(atom.residue.index, atom.name): atom.index for atom in topology.atoms}
    chain = [residue.chain.index for residue in topology.residues]
    for (k, name), one in atoms.items():
        follower = (k + 1, {"C": "N", "O3'": "P"}.get(name))
        if follower in atoms and chain[k] == chain[k + 1]:
            yield one, atoms[follower]


def argon(xyz):
    """Return a trajectory of argon atoms, one residue each."""
    topology = mdtraj.Topology()
    chain = topology.add_chain()
    for _ in range(xyz.shape[1]):
        topology.add_atom("Ar", mdtraj.element.argon, topology.add_residue("AR", chain))
    return mdtraj.Trajectory(xyz, topology)


def flipping(temperature, n_frames, seed=0):
    """Return a peptide whose phi of residue 2 diffuses in 6 (1 + cos 2 phi) + 3 sin phi kJ/mol."""
    topology = topology_of(("ALA", "ALA", "GLY"))
    atoms = {(atom.residue.index, atom.name): atom.index for atom in topology.atoms}
    places = np.random.default_rng(1).normal(scale=0.4, size=(topology.n_atoms, 3))
    for one, other in links_of(topology):
        places[other] = places[one] + 0.08
    start, axis = places[atoms[1, "N"]], places[atoms[1, "CA"]] - places[atoms[1, "N"]]
    turned = [k for (residue, name), k in atoms.items() if residue == 2 or name in ("C", "O", "CB")]
    turned = [k for k in turned if topology.atom(k).residue.index > 0]
    phi = _diffusion(1 / (BOLTZMANN_CONSTANT * temperature), n_frames, seed)
    turns = Rotation.from_rotvec(phi[:, None] * axis / np.linalg.norm(axis))
    xyz = np.repeat(places[None], n_frames, axis=0)
    xyz[:, turned] = start + np.einsum("nij,kj->nki", turns.as_matrix(), places[turned] - start)
    xyz += 0.003 * np.random.default_rng(seed).normal(size=xyz.shape)
    return mdtraj.Trajectory(xyz, topology, time=2.0 * np.arange(n_frames))


def share_of_larger_well(temperature):
    """Return the exact population of the well with sin phi < 0."""
    phi = np.linspace(-np.pi, np.pi, 20_001)
    energy = 6 * (1 + np.cos(2 * phi)) + 3 * np.sin(phi)
    weight = np.exp(-energy / (BOLTZMANN_CONSTANT * temperature))
    return weight[np.sin(phi) < 0].sum() / weight.sum()


def _diffusion(beta, n_frames, seed, n_steps=120, time_step=5e-3):
    noise = np.sqrt(2 * time_step) * np.random.default_rng(seed).normal(size=(n_frames, n_steps))
    phi, found = -np.pi / 2, np.empty(n_frames)
    for frame in range(n_frames):
        for kick in noise[frame].tolist():
            force = 12 * math.sin(2 * phi) - 3 * math.cos(phi)
            phi += beta * force * time_step + kick
        found[frame] = phi
    return found
