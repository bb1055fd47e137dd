"""Molecular trajectories and files to named features: scikit-learn transformers on mdtraj."""

from latflow.featurizers.base import Featurizer
from latflow.featurizers.colvar import read_colvar
from latflow.featurizers.concatenate import Concatenate
from latflow.featurizers.distances import Contacts, CoordinationNumbers, Distances
from latflow.featurizers.files import UnreadableFileError, featurize, load_features
from latflow.featurizers.positions import AlignedPositions
from latflow.featurizers.rna import GVectors
from latflow.featurizers.select import Select
from latflow.featurizers.torsions import Torsions

__all__ = [
    "AlignedPositions",
    "Concatenate",
    "Contacts",
    "CoordinationNumbers",
    "Distances",
    "Featurizer",
    "GVectors",
    "Select",
    "Torsions",
    "UnreadableFileError",
    "featurize",
    "load_features",
    "read_colvar",
]
