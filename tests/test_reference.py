"""Features of ten systems as MDAnalysis (proteins) and barnaba (RNA) compute them.

The values were computed once, see scripts/make_reference_features.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latflow.featurizers import Distances, GVectors, Torsions, featurize
from latflow.featurizers.readers import read_topology

DATA = Path(__file__).parent / "data" / "reference"
PROTEINS, RNAS = [f"protein{k}" for k in range(1, 7)], [f"rna{k}" for k in range(1, 5)]
ANGLES = {"protein": ("phi", "psi", "omega", "chi1")}
ANGLES["rna"] = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "chi")


@pytest.fixture(scope="module")
def values() -> Any:
    with np.load(DATA / "features.npz") as content:
        return dict(content)


def features_of(system: str, featurizer: Any) -> Any:
    return featurize(DATA / f"{system}.pdb", None, featurizer)


@pytest.mark.parametrize("system", [*PROTEINS, *RNAS])
def test_torsions(system: str, values: Any) -> None:
    data = features_of(system, Torsions(ANGLES[system.rstrip("0123456789")]))
    pairs = data.trajectories[0][0].reshape(-1, 2).astype(float)
    labels = [name.removeprefix("cos_") for name in data.feature_names[::2]]
    residues = read_topology(DATA / f"{system}.pdb", DATA).topology.residues
    number = {str(residue): residue.resSeq for residue in residues}  # C32 is 2, of name C3
    ours = {}
    for label, (cosine, sine) in zip(labels, pairs, strict=True):
        angle, residue = label.split("_")
        ours[f"{system} {angle} {number[residue]}"] = np.arctan2(sine, cosine)
    theirs = dict(zip(values["names"].tolist(), values["angles"].tolist(), strict=True))
    theirs = {name: angle for name, angle in theirs.items() if name.startswith(f"{system} ")}
    assert set(ours) == set(theirs)
    difference = [
        (ours[name] - angle + np.pi) % (2 * np.pi) - np.pi for name, angle in theirs.items()
    ]
    assert np.abs(difference).max() < 1e-5


@pytest.mark.parametrize("system", PROTEINS)
@pytest.mark.parametrize(("scheme", "key"), [("ca", "ca"), ("closest-heavy", "closest")])
def test_distances(system: str, scheme: str, key: str, values: Any) -> None:
    data = features_of(system, Distances(scheme=scheme, min_separation=0))
    assert np.abs(data.trajectories[0][0] - values[f"{system} {key}"]).max() < 1e-6


@pytest.mark.parametrize("system", RNAS)
def test_g_vectors(system: str, values: Any) -> None:
    theirs = values[f"{system} g"]
    n_bases = len(theirs)
    others = ~np.eye(n_bases, dtype=bool)
    found = features_of(system, GVectors()).trajectories[0][0].reshape(-1, 4)
    assert np.abs(theirs).max() > 0.3
    np.testing.assert_allclose(found, theirs[others], atol=1e-5)
