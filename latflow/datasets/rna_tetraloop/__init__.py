"""A hairpin of RNA with a GCAA tetraloop, coarse-grained: simulations that ship."""

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

__all__ = ["load_rna_tetraloop"]

FOLDED_BELOW = 0.9  # nm, the median of the distances between the bases of three pairs
PAIRS = ((0, 9), (1, 8), (2, 7))
APART = 3  # nucleotides: nearer bases tell of stacking, not of the fold
# parallel tempering, all runs and temperatures pooled by MBAR; errors over blocks of time
REFERENCE = (
    (312.0, 0.9940, 0.0001),
    (326.0, 0.9641, 0.0004),
    (330.0, 0.9423, 0.0007),
    (337.0, 0.8758, 0.0014),
    (340.0, 0.8332, 0.0018),
    (347.0, 0.6995, 0.0026),
    (357.0, 0.4662, 0.0029),
    (360.0, 0.4011, 0.0027),
    (368.0, 0.2607, 0.0020),
    (380.0, 0.1394, 0.0011),
    (381.0, 0.1329, 0.0011),
    (398.0, 0.0672, 0.0005),
)
MELTING_TEMPERATURE = (355.53, 0.13)  # K, and its standard error
ENERGY_OF_UNFOLDING = 97.3  # kJ/mol, at the melting temperature

_DESCR = """A coarse-grained hairpin of RNA, GGCGCAAGCC, with a GCAA tetraloop, {what}.

{how}
Three sites a nucleotide (phosphate, sugar, base; Denesyuk and Thirumalai, J. Phys. Chem. B 117,
4901, 2013, with the parameters of the Hori lab's public TIS code), a phosphate at each end,
hydrogen bonds between native partners only, 0.1 mol/l of salt. Everything is fixed at 355 K, so
that one energy holds at all temperatures. Langevin dynamics (BAOAB) of an engine of our own,
friction 0.5/ps, steps of 10 fs, energies within 0.00013 kJ/mol and forces within 3e-6 of OpenMM
8.6's.
Units: K, kJ/mol (potential energy of the unrounded coordinates), nm, ps. Coordinates: P, S and B of
each nucleotide in turn, named P, C4' and C4, superposed on the folded structure, kept to 1/256 nm.
Features: the 28 distances between bases three or more apart. Folded: the median of the distances
between paired bases (1-10, 2-9, 3-8) below 0.9 nm.

How far it is converged: half folded at 355.53 +- 0.13 K, energy of unfolding 97.3 kJ/mol there, by
MBAR over three runs of parallel tempering of 16 temperatures from 312 to 410 K (16 walkers of 800
to 1140 ns each; 58,809 folding and unfolding events; runs begun folded, unfolded and half and half
agree).

Not RNA in everything: the fine structure of the loop, misfolds, magnesium and water are not in it;
a nanosecond of it is none of RNA. It melts 12 to 14 K above the real hairpin (343.0 and 341.2 K for
two mirror images, enthalpy of unfolding 148 +- 30 and 156 +- 26 kJ/mol: Szabat et al., PLoS ONE 11,
e0149478, 2016) with two thirds of its enthalpy.
"""
_CONTINUOUS = """Continuous trajectories: five of 40 ns at 340 K and at 360 K, to learn from;
sixteen of 48 ns at 330 K and five of 12 ns at 380 K, to test. A frame every 10 ps, at 330 K every
120 ps, which do not resolve its passages: that temperature is for populations."""
_TEMPERING = """Frames of parallel tempering over 16 temperatures from 312 to 410 K, sorted by
temperature: {frames} at each of {temperatures} K. They are equilibrium draws and no dynamics:
walkers change temperature. `walkers` says whose they are."""


def load_rna_tetraloop(*, parallel_tempering: bool = False) -> Bunch:
    """Load simulations of a coarse-grained hairpin of RNA, or the tempering to judge them by.

    Parameters
    ----------
    parallel_tempering : bool, default=False
        False: continuous trajectories at 330, 340, 360 and 380 K. True: equilibrium draws at eight
        temperatures from 312 to 398 K, one trajectory per temperature, to be fitted with
        ``dynamics=False``.

    Returns
    -------
    data : Bunch
        ``trajectories`` (list of arrays (n_i, 28): distances between bases in nm), ``coordinates``
        (list of arrays (n_i, 31, 3) in nm), ``topology`` (mdtraj.Topology of the 31 sites),
        ``reference_structure`` (array (31, 3): folded, in nm), ``folded`` (list of bool arrays
        (n_i,)), ``energies`` (list of arrays (n_i,): potential energy in kJ/mol), ``temperature``
        (list of floats in K, one per trajectory), ``time_step`` (list of floats, ps between the
        frames of each trajectory; None for parallel tempering), ``feature_names``,
        ``reference_populations`` (DataFrame: folded population and standard error by temperature,
        of all parallel tempering), ``DESCR``; and, with `parallel_tempering`, ``walkers`` and
        ``times`` (lists of arrays (n_i,): who was at that temperature, and when, in ps).

    References
    ----------
    .. [1] Denesyuk and Thirumalai, J. Phys. Chem. B 117, 4901 (2013).

    Examples
    --------
    >>> data = load_rna_tetraloop()
    >>> len(data.trajectories), data.trajectories[0].shape[1], sorted(set(data.temperature))
    (31, 28, [330.0, 340.0, 360.0, 380.0])
    """
    name = "tetraloop_pt.npz" if parallel_tempering else "tetraloop_free.npz"
    data = simulations(__name__, "tetraloop.pdb", name)
    what, how = (
        ("parallel tempering", _TEMPERING) if parallel_tempering else ("dynamics", _CONTINUOUS)
    )
    bases = data.topology.select("name C4")
    nucleotides = [str(data.topology.atom(atom).residue) for atom in bases]
    data.update(
        trajectories=[distances(x, bases, apart=APART) for x in data.coordinates],
        feature_names=pair_names(nucleotides, apart=APART),
        folded=[_folded(x[:, bases]) for x in data.coordinates],
        reference_populations=populations_table(REFERENCE),
        DESCR=described(_DESCR, data, what, how),
    )
    return data


def _folded(bases: FloatArray) -> BoolArray:
    """Return whether two of the three pairs of the stem are closed."""
    i, j = np.transpose(PAIRS)
    stem = np.median(np.linalg.norm(bases[:, i] - bases[:, j], axis=-1), axis=1)
    return np.asarray(stem < FOLDED_BELOW)
