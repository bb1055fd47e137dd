"""Featurizers against the bare mdtraj calls that they wrap, and the peak memory of featurize.

    python benchmarks/featurize.py                  # about a minute
    python benchmarks/featurize.py --frames 200 --repeats 1 --lengths 200 400

Throughput: the two in turn, frames per second of processor time by the fastest of the repeats, and
their ratio. "Bare" is what one writes by hand: mdtraj's function, and for contacts,
coordination numbers and torsions the formula in numpy. G-vectors have no function in mdtraj; they
stand beside barnaba's where it is installed. Memory: largest resident size of a process of its own
that featurizes one file to disk (Linux). One thread; random structures of a peptide and of RNA.
"""

import importlib.util
import tempfile
from functools import partial
from pathlib import Path

import mdtraj
import numpy as np
import pandas as pd
import results
from clock import in_child, timed

from latflow.featurizers import (
    AlignedPositions,
    Concatenate,
    Contacts,
    CoordinationNumbers,
    Distances,
    GVectors,
    Torsions,
)

PEPTIDE = ("ALA", "GLY", "SER", "VAL", "ASP", "LYS", "THR", "ASN", "ILE", "GLU")
SIDE_CHAINS = {
    "GLY": "", "ALA": "CB", "SER": "CB OG", "VAL": "CB CG1 CG2", "ASP": "CB CG OD1 OD2",
    "LYS": "CB CG CD CE NZ", "THR": "CB OG1 CG2", "ASN": "CB CG OD1 ND2", "ILE": "CB CG1 CG2 CD1",
    "GLU": "CB CG CD OE1 OE2",
}  # fmt: skip
SUGAR = "P OP1 OP2 O5' C5' C4' O4' C3' O3' C2' O2' C1'"
BASES = {"A": "N9 C8 N7 C5 C6 N6 N1 C2 N3 C4", "U": "N1 C2 O2 N3 C4 O4 C5 C6"}
MEASURE = """
from pathlib import Path
from clock import memory
from latflow.featurizers import Distances, featurize
featurize(settings["file"], settings["top"], Distances("name CA"), out=Path(settings["out"]))
print(json.dumps(memory()))
"""


def structures(residues, n_frames):
    """Return random frames of a chain of residues in a box."""
    topology = mdtraj.Topology()
    chain = topology.add_chain()
    for number, name in enumerate(residues, start=1):
        residue = topology.add_residue(name, chain, resSeq=number)
        atoms = f"{SUGAR} {BASES[name]}" if name in BASES else f"N H CA C O {SIDE_CHAINS[name]}"
        for atom in atoms.split():
            topology.add_atom(atom, mdtraj.element.get_by_symbol(atom[0]), residue)
    rng = np.random.default_rng(0)
    places = rng.normal(scale=0.8, size=(1, topology.n_atoms, 3))
    xyz = places + 0.1 * rng.normal(size=(n_frames, topology.n_atoms, 3))
    return mdtraj.Trajectory(xyz.astype(np.float32), topology, time=np.arange(n_frames))


def cos_sin(angles):
    """Return cosines and sines, side by side."""
    return np.concatenate([np.cos(angles), np.sin(angles)], axis=1)


def phi_psi(frames):
    """Return phi and psi as mdtraj computes them."""
    return np.concatenate([mdtraj.compute_phi(frames)[1], mdtraj.compute_psi(frames)[1]], axis=1)


def closest(frames):
    """Return distances of closest heavy atoms."""
    return mdtraj.compute_contacts(frames, scheme="closest-heavy")[0]


def coordination(frames, atoms, pairs, member):
    """Return coordination numbers by hand."""
    return (1 / (1 + (mdtraj.compute_distances(frames, pairs) / 0.5) ** 8)) @ member


def superposed(frames, atoms):
    """Return coordinates of some atoms, superposed by mdtraj."""
    few = mdtraj.Trajectory(frames.xyz[:, atoms], None)
    return few.superpose(few, 0).xyz.reshape(len(frames), -1)


def barnaba_vectors(frames):
    """Return barnaba's G-vectors."""
    from barnaba.functions import dump_gvec_traj

    return dump_gvec_traj(frames)[0]


def cases(peptide, rna):
    """Return name, frames, featurizer and bare function of every line."""
    top = peptide.topology
    alpha, heavy = top.select("name CA"), top.select("element != H")
    i, j = np.triu_indices(len(alpha), 1)
    pairs = np.stack([alpha[i], alpha[j]], axis=1)
    member = np.zeros((len(i), len(alpha)), np.float32)
    member[np.arange(len(i)), i] = member[np.arange(len(i)), j] = 1
    far = pairs[(j - i) >= 3]
    bases = {"G-vectors (bare: barnaba)": (rna, GVectors(), barnaba_vectors)}
    both = Concatenate([Torsions(), Distances()])
    return {
        "Distances, C-alpha": (peptide, Distances(), lambda t: mdtraj.compute_distances(t, far)),
        "Distances, closest heavy": (peptide, Distances(scheme="closest-heavy"), closest),
        "Torsions, phi psi": (peptide, Torsions(), phi_psi),
        "Torsions (bare with cos, sin)": (peptide, Torsions(), lambda t: cos_sin(phi_psi(t))),
        "Contacts": (peptide, Contacts(), lambda t: 1 / (1 + (closest(t) / 0.45) ** 6)),
        "CoordinationNumbers": (
            peptide,
            CoordinationNumbers(0.5, atoms="name CA"),
            lambda t: coordination(t, alpha, pairs, member),
        ),
        f"AlignedPositions, {len(alpha)} atoms": (
            peptide, AlignedPositions("name CA"), lambda t: superposed(t, alpha),
        ),
        f"AlignedPositions, {len(heavy)} atoms": (
            peptide, AlignedPositions(heavy), lambda t: superposed(t, heavy),
        ),
        "Concatenate, torsions + C-alpha": (
            peptide, both,
            lambda t: np.concatenate(
                [cos_sin(phi_psi(t)), mdtraj.compute_distances(t, far)], axis=1
            ),
        ),
    } | (bases if importlib.util.find_spec("barnaba") else {})  # fmt: skip


def throughput(args):
    """Return frames a second of both, and their ratio."""
    peptide, rna = (
        structures(residues * args.copies, args.frames) for residues in (PEPTIDE, ("A", "U") * 2)
    )
    lines = {}
    for name, (frames, featurizer, bare) in cases(peptide, rna).items():
        calls = partial(featurizer.fit(frames).transform, frames), partial(bare, frames)
        rounds = [list(map(timed, calls)) for _ in range(args.repeats)]
        latflow, other = (len(frames) / min(seconds) for seconds in zip(*rounds, strict=True))
        lines[name] = {"latflow": round(latflow), "bare": round(other), "ratio": latflow / other}
    title = f"Frames a second: {peptide.n_frames} frames of a peptide of {peptide.n_residues} "
    title += f"residues and RNA of {rna.n_residues}"
    table = pd.DataFrame.from_dict(lines, orient="index").rename_axis("featurizer")
    return results.Result("featurize_throughput", title, table.round(2))


def memory(args):
    """Return the largest resident size against the number of frames."""
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for n_frames in args.lengths:
            frames = structures(PEPTIDE * args.copies, n_frames)
            endings = {"file": ".trr", "top": ".pdb", "out": ""}
            paths = {key: f"{folder}/{n_frames}{end}" for key, end in endings.items()}
            frames.save(paths["file"])
            frames[0].save(paths["top"])
            del frames
            peak, size = in_child(MEASURE, paths), Path(paths["file"]).stat().st_size
            lines.append({"frames": n_frames, "file, MB": size / 1e6, "peak, MB": peak / 1e6})
    table = pd.DataFrame(lines).set_index("frames").round()
    return results.Result("featurize_memory", "Peak memory of featurize", table)


def run(args):
    """Yield both tables."""
    yield throughput(args)
    yield memory(args)


if __name__ == "__main__":
    parser = results.options(__doc__)
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--copies", type=int, default=2, help="of a peptide of ten residues")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--lengths", type=int, nargs="+", default=[2_000, 20_000, 100_000])
    results.publish(parser, run)
