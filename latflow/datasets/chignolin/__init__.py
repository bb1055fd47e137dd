"""Chignolin (CLN025), all atoms, in implicit solvent: simulations that ship with the package."""

from __future__ import annotations

import numpy as np
from sklearn.utils import Bunch

from latflow._typing import BoolArray, FloatArray
from latflow.datasets.molecules import (
    described,
    distances,
    pair_names,
    populations_table,
    simulations,
)

__all__ = ["load_chignolin"]

FOLDED_BELOW = 0.125  # nm, RMSD of the C-alphas of residues 2 to 9
# replica exchange of both engines, all temperatures pooled by MBAR; errors over walkers
REFERENCE = (
    (300.0, 0.897, 0.013),
    (318.5, 0.754, 0.022),
    (338.2, 0.504, 0.028),
    (359.0, 0.254, 0.019),
    (381.2, 0.105, 0.009),
    (404.7, 0.041, 0.004),
    (429.6, 0.017, 0.002),
    (456.1, 0.007, 0.001),
)
MELTING_TEMPERATURE = (338.49, 2.03)  # K, and its standard error
ENERGY_OF_UNFOLDING = 52.0  # kJ/mol, at the melting temperature

_DESCR = """Chignolin CLN025 (YYDPETGTWY, 166 atoms) in implicit solvent, {what}.

{how}
Force field ff14SBonlysc (openmmforcefields 0.15.1, after AmberTools) with GB-Neck2 (igb 8, mbondi3
radii) and a surface term; charged termini; no cutoff; bonds to hydrogen rigid, hydrogens of 3 amu;
Langevin middle integrator, steps of 4 fs, friction 1/ps. Two engines of our own, in C and in CUDA,
with energies within 0.003 kJ/mol and forces within 6e-6 of OpenMM 8.6's. The energy does not depend
on the temperature: its solvent term is that of one dielectric constant.
Units: K, kJ/mol (potential energy of all atoms, solvent included), nm, ps. Coordinates: N, CA, C, O
and CB of each residue, superposed on the folded structure by the C-alphas of residues 2 to 9, in
half precision. Features: the 45 distances between C-alphas. Folded: C-alpha RMSD of residues 2 to 9
to the folded structure (1UAO with tyrosine at both ends, minimised) below 0.125 nm.

How far it is converged: half folded at 338.5 +- 2.0 K, energy of unfolding 52 kJ/mol there, by MBAR
over replica exchange of 16 temperatures (256 walkers of 5.6 ns, 904 round trips, and two ladders of
some 9 ns a walker after what was dropped). A walker folds or unfolds once in 5 to 10 ns, so the
population is known to 0.03 near the melting temperature. 18 ns of continuous trajectory are shorter
than the folding time at 338.2 K: its eight trajectories are folded from 0.00 to 0.95 of their time,
0.286 +- 0.124 on the mean, where 0.504 +- 0.028 is right.

Not water: no hydrophobic heat capacity, no viscosity; rates mean something as ratios only. The real
CLN025 melts at about 343 K (Honda et al., J. Am. Chem. Soc. 130, 15327, 2008).
"""
_CONTINUOUS = """{n} continuous trajectories of 18 ns at each of {temperatures} K, a frame every
20 ps, begun from frames of the replica exchange at that temperature."""
_EXCHANGE = """Frames of replica exchange over 16 temperatures from 300 to 470 K, sorted by
temperature: {frames} at each of {temperatures} K. They are equilibrium draws, 74 ps apart along a
walker, and no dynamics: walkers change temperature. `walkers` says whose they are."""


def load_chignolin(*, replica_exchange: bool = False) -> Bunch:
    """Load simulations of the protein chignolin, or the replica exchange to judge them by.

    Parameters
    ----------
    replica_exchange : bool, default=False
        False: continuous trajectories, eight at each of 338.2, 359.0, 381.2 and 404.7 K. True:
        equilibrium draws at 300.0, 318.5, 338.2, 359.0, 381.2, 404.7, 429.6 and 456.1 K, one
        trajectory per temperature, to be fitted with ``dynamics=False``.

    Returns
    -------
    data : Bunch
        ``trajectories`` (list of arrays (n_i, 45): distances between C-alphas in nm),
        ``coordinates`` (list of arrays (n_i, 49, 3) in nm), ``topology`` (mdtraj.Topology of the
        49 atoms), ``reference_structure`` (array (49, 3): folded, in nm), ``folded`` (list of bool
        arrays (n_i,)), ``energies`` (list of arrays (n_i,): potential energy in kJ/mol),
        ``temperature`` (list of floats in K, one per trajectory), ``time_step`` (20.0 ps between
        frames; None for replica exchange), ``feature_names``, ``reference_populations`` (DataFrame:
        folded population and standard error by temperature, of all replica exchange), ``DESCR``;
        and, with `replica_exchange`, ``walkers`` and ``times`` (lists of arrays (n_i,): who was
        at that temperature, and when, in ps).

    References
    ----------
    .. [1] Honda et al., J. Am. Chem. Soc. 130, 15327 (2008).

    Examples
    --------
    >>> data = load_chignolin()
    >>> len(data.trajectories), data.trajectories[0].shape, sorted(set(data.temperature))
    (32, (904, 45), [338.2, 359.0, 381.2, 404.7])
    """
    name = "chignolin_remd.npz" if replica_exchange else "chignolin_free.npz"
    data = simulations(__name__, "chignolin.pdb", name)
    what, how = ("replica exchange", _EXCHANGE) if replica_exchange else ("dynamics", _CONTINUOUS)
    alphas = data.topology.select("name CA")
    residues = [str(data.topology.atom(atom).residue) for atom in alphas]
    inner = alphas[1:-1]
    data.reference_structure -= data.reference_structure[inner].mean(axis=0)  # as all frames
    data.update(
        trajectories=[distances(x, alphas, apart=1) for x in data.coordinates],
        feature_names=pair_names(residues, apart=1),
        folded=[_folded(x[:, inner], data.reference_structure[inner]) for x in data.coordinates],
        reference_populations=populations_table(REFERENCE),
        DESCR=described(_DESCR, data, what, how),
    )
    return data


def _folded(alphas: FloatArray, reference: FloatArray) -> BoolArray:
    """Return whether frames, superposed on the reference, are within reach of it."""
    squares = ((alphas - reference) ** 2).sum(axis=-1)
    return np.asarray(np.sqrt(squares.mean(axis=-1)) < FOLDED_BELOW)
