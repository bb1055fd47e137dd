"""Alanine dipeptide, all atoms, in implicit solvent: simulations that ship with the package."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from latflow._typing import FloatArray

__all__ = ["backbone_features", "load_alanine_dipeptide"]

Archive = dict[str, NDArray[Any]]

ANGLE_UNIT = np.pi / 2**15  # rad; a 16-bit integer goes once around
LENGTH_UNIT = 2e-5  # nm
FEATURES = ("cos_phi", "sin_phi", "cos_psi", "sin_psi")
ATOMS = (
    *("ACE1-CH3", "ACE1-C", "ACE1-O"),
    *("ALA2-N", "ALA2-CA", "ALA2-CB", "ALA2-C", "ALA2-O"),
    *("NME3-N", "NME3-C"),
)

_DESCR = """Alanine dipeptide (ACE-ALA-NME, 22 atoms) in implicit solvent, {what}.

{how}
Amber ff96 with the OBC1 model and a surface term (AlanineDipeptideImplicit of openmmtools), no
cutoff, bonds to hydrogen rigid; Langevin middle integrator of OpenMM, friction 1/ps. A frame every
picosecond. Made by scripts/make_alanine_dipeptide.py.
Units: K, kJ/mol (potential energy), nm, rad, ps. Features: cosines and sines of the backbone
angles phi and psi, which are kept to 0.006 degrees.
Not the ensemble of water: the balance of basins is this force field's.
"""
_LANGEVIN = """{n} independent walkers of {frames} frames at each of {temperatures} K, each
heated to 600 K for 200 ps and settled for 100 ps before its first frame. Steps of 2 fs."""
_TEMPERING = """One replica at each of {temperatures} K, {frames} frames after
150 ps of settling; neighbours try to swap every picosecond (accepted:
{accepted}). Steps of 4 fs, the hydrogens 3 amu heavy. A trajectory holds
what was simulated at its temperature: equilibrium frames, but no dynamics, for replicas come and
go."""


def load_alanine_dipeptide(*, parallel_tempering: bool = False) -> Bunch:
    """Load simulations of alanine dipeptide, or the parallel tempering to judge them by.

    The plain simulations at 450 and 600 K are for fitting; the parallel tempering, which has no
    frame in common with them, tells the equilibrium from 300 to 600 K.

    Parameters
    ----------
    parallel_tempering : bool, default=False
        False: Langevin dynamics, four walkers at each of 450 and 600 K. True: parallel tempering
        at 300, 350, 400, 450, 520 and 600 K, one trajectory per temperature, whose frames are in
        equilibrium but are no dynamics.

    Returns
    -------
    data : Bunch
        ``trajectories`` (list of arrays (n_i, 4): cosine and sine of phi, then of psi), ``angles``
        (list of arrays (n_i, 2): phi and psi in rad, from -pi up), ``energies`` (list of arrays
        (n_i,): potential energy in kJ/mol), ``temperature`` (list of floats in K, one per
        trajectory), ``time_step`` (1.0 ps between frames), ``feature_names``, ``DESCR``; and,
        without `parallel_tempering`, ``coordinates`` (list of arrays (n_i, 10, 3): heavy atoms
        in nm, centred) and ``atom_names``.

    Notes
    -----
    ``scripts/make_alanine_dipeptide.py`` in the repository made them; it needs
    ``pip install 'latflow[md]'``.

    References
    ----------
    .. [1] Chodera et al., openmmtools, https://github.com/choderalab/openmmtools.

    Examples
    --------
    >>> data = load_alanine_dipeptide()
    >>> len(data.trajectories), data.trajectories[0].shape, sorted(set(data.temperature))
    (8, (1500, 4), [450.0, 600.0])
    """
    archive = _read()
    name = "tempering" if parallel_tempering else "langevin"
    angles = archive[f"{name}_angles"] * ANGLE_UNIT
    data = Bunch(
        trajectories=[backbone_features(a) for a in angles],
        angles=list(angles),
        energies=list(archive[f"{name}_energy"].astype(np.float64)),
        temperature=archive[f"{name}_temperature"].tolist(),
        time_step=1.0,
        feature_names=list(FEATURES),
        DESCR=_description(archive, name),
    )
    if not parallel_tempering:
        data.coordinates = list(archive["langevin_coordinates"] * LENGTH_UNIT)
        data.atom_names = list(ATOMS)
    return data


def _read() -> Archive:
    with files(__name__).joinpath("alanine_dipeptide.npz").open("rb") as file:
        return dict(np.load(file))


def backbone_features(angles: FloatArray) -> FloatArray:
    """Return the cosine and sine of phi, then of psi, (n_frames, 4), of angles (n_frames, 2)."""
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1).reshape(len(angles), -1)


def _description(archive: Archive, name: str) -> str:
    temperatures = archive[f"{name}_temperature"]
    n_trajectories, n_frames = archive[f"{name}_energy"].shape
    known = sorted(set(temperatures.tolist()))
    written = ", ".join(f"{t:g}" for t in known)
    settings = {"temperatures": written, "frames": n_frames, "n": n_trajectories // len(known)}
    if name == "langevin":
        return _DESCR.format(what="Langevin dynamics", how=_LANGEVIN.format(**settings))
    rates = ", ".join(f"{rate:.2f}" for rate in archive["tempering_acceptance"])
    how = _TEMPERING.format(accepted=rates, **settings)
    return _DESCR.format(what="parallel tempering", how=how)
