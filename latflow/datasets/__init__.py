"""Small systems with known answers, to try a method on and to judge it by.

The simulators (``make_...``) work in reduced units: the mass, the length and energy of the
potential and Boltzmann's constant are 1. Fit such data with ``boltzmann_constant=1.0``. What is
loaded (``load_...``) comes from molecular dynamics, in K, kJ/mol, nm, rad and ps.
"""

from latflow.datasets.alanine_dipeptide import load_alanine_dipeptide
from latflow.datasets.chignolin import load_chignolin
from latflow.datasets.lj7 import make_lj7
from latflow.datasets.rna_tetraloop import load_rna_tetraloop
from latflow.datasets.three_hole import (
    make_three_hole,
    three_hole_density,
    three_hole_populations,
    three_hole_potential,
    three_hole_timescales,
    three_hole_transition_matrix,
)

__all__ = [
    "load_alanine_dipeptide",
    "load_chignolin",
    "load_rna_tetraloop",
    "make_lj7",
    "make_three_hole",
    "three_hole_density",
    "three_hole_populations",
    "three_hole_potential",
    "three_hole_timescales",
    "three_hole_transition_matrix",
]
