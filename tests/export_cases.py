"""Models to export, and what simulation programs measure, in plain numpy and double precision."""

import re
from itertools import pairwise
from pathlib import Path

import mdtraj
import numpy as np
from conftest import fit_quietly, tiny_latf
from structures import PEPTIDE, topology_of, trajectory_of

from latflow.featurizers import Concatenate, Contacts, CoordinationNumbers, Distances, Torsions

ALANINE = Path(__file__).parent / "data" / "alanine_dipeptide.pdb"


def alanine(n_frames=100, *, seed=0):
    """Return alanine dipeptide whose atoms jitter by 0.05 nm."""
    molecule = mdtraj.load(ALANINE)
    noise = 0.05 * np.random.default_rng(seed).normal(size=(n_frames, molecule.n_atoms, 3))
    return mdtraj.Trajectory(molecule.xyz + noise, molecule.topology)


def peptide(n_frames=100):
    """Return a peptide whose atoms lie in several images of a small box."""
    return trajectory_of(topology_of(PEPTIDE[:5]), n_frames, box=1.7)


def triclinic():
    """Return a peptide in a small oblique box, and a featurizer of nearest images."""

    def simulate(n_frames=100):
        frames = trajectory_of(topology_of(PEPTIDE[:5]), n_frames, box=1.7)
        frames.unitcell_vectors = np.tile(OBLIQUE, (n_frames, 1, 1)).astype(np.float32)
        return frames

    return simulate, Concatenate([Torsions("psi"), Distances("name CA")])


OBLIQUE = 1.4 * np.array([[1, 0, 0], [0.4, 0.9, 0], [-0.4, 0.3, 0.8]])
CLOSEST = Distances(scheme="closest-heavy", min_separation=1, ligands="resname ACE")
FEATURIZERS = {
    "torsions": (alanine, Torsions()),
    "distances": (alanine, Distances("element N or element O", min_separation=0)),
    "closest": (
        alanine,
        Distances(scheme="closest-heavy", min_separation=1, ligands="resname ACE"),
    ),
    "everything": (
        alanine,
        Concatenate(
            [
                Torsions("psi"),
                Contacts([[0, 21], [5, 17]], r0=0.3, exponent=5),
                Contacts(min_separation=1, ligands="resname ACE NME"),
                CoordinationNumbers(0.25, atoms="name C CA CB N"),
                CoordinationNumbers(0.35, atoms="name C CA O", exponent=3),
            ]
        ),
    ),
    "boxed": (
        peptide,
        Concatenate(
            [
                Torsions(["psi", "chi"]),
                Torsions("phi", periodic=False),
                Distances("name CA"),
                Distances("name CA", periodic=False),
                CoordinationNumbers(0.6, atoms="name CA"),
                CoordinationNumbers(0.6, atoms="name CA", periodic=False),
                CoordinationNumbers(0.7, atoms="name CA", exponent=5, periodic=False),
            ]
        ),
    ),
}
ENCODERS = {
    "linear": {"encoder": "linear", "n_components": 1},
    "one layer": {"hidden_features": (4,), "n_components": 2},
    "two layers": {"hidden_features": (5, 3), "n_components": 3},
}


def fitted(trajectory, featurizer, **parameters):
    """Return a model of a featurizer's features of one trajectory, fitted for a moment."""
    features = featurizer.fit_transform([trajectory])
    return fit_quietly(tiny_latf(**parameters), features)


def sorted_numbers():
    """Return a featurizer of sorted coordination numbers, twice of as many atoms."""
    same = {"exponent": 6, "sort": True}
    return Concatenate(
        [
            CoordinationNumbers(0.3, atoms="name C CA CB", **same),
            CoordinationNumbers(0.3, atoms="name C CA N", **same),
        ]
    )


# ------------------------------------------------------------------ what programs measure


def vectors(xyz, one, other, box):
    """Return vectors from one atom to another, to the nearest image in a box of these lengths."""
    difference = xyz[:, other] - xyz[:, one]
    return difference if box is None else difference - box * np.round(difference / box)


def distance(xyz, one, other, box):
    """Return the distance of two atoms."""
    return np.linalg.norm(vectors(xyz, one, other, box), axis=-1)


def torsion(xyz, atoms, box):
    """Return the torsion angle of four atoms, in rad, positive for a right-handed turn."""
    a, b, c = (vectors(xyz, *pair, box) for pair in pairwise(atoms))
    normal, other = np.cross(a, b), np.cross(b, c)
    turn = np.einsum("ni,ni->n", np.cross(normal, other), b) / np.linalg.norm(b, axis=1)
    return np.arctan2(turn, np.einsum("ni,ni->n", normal, other))


def switched(r, r0, n, m):
    """Return the rational switching function (1 - (r / r0)^n) / (1 - (r / r0)^m)."""
    return (1 - (r / r0) ** n) / (1 - (r / r0) ** m)


EXPRESSION = re.compile(r"(?:\d+\.?\d*(?:e[-+]?\d+)?|[A-Za-z]\w*|[-+*/^(),])+")
FUNCTIONS = {"tanh": np.tanh, "sin": np.sin, "cos": np.cos} | {
    "min": np.minimum,
    "max": np.maximum,
}


def lepton(text, values):
    """Return an expression of Lepton, with its definitions after semicolons, of named values."""
    first, *definitions = ("".join(part.split()) for part in text.split(";"))
    known = dict(values)
    for definition in reversed(definitions):
        name, _, expression = definition.partition("=")
        known[name] = _expression(expression, known)
    return _expression(first, known)


def _expression(text, values):
    if not EXPRESSION.fullmatch(text):
        raise ValueError(f"No expression of Lepton: {text}")
    return eval(text.replace("^", "**"), {"__builtins__": {}}, FUNCTIONS | values)
