"""Several featurizers side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import clone

from latflow.featurizers.base import Features, Featurizer, Structures

if TYPE_CHECKING:
    import mdtraj


class Concatenate(Featurizer):
    """The features of several featurizers, side by side.

    Parameters
    ----------
    featurizers : list of featurizer

    Attributes
    ----------
    featurizers_ : list of featurizer
        The fitted clones.
    topology_, feature_names_
        As in every featurizer. Names that occur twice get the number of their featurizer in front,
        as in ``1__contact_ALA2_GLY5``.

    Raises
    ------
    ValueError
        By `fit`, for an empty list, and for what the featurizers themselves refuse.
    """

    def __init__(self, featurizers: Sequence[Featurizer]) -> None:
        self.featurizers = featurizers

    def _learn(self, topology: mdtraj.Topology, X: Structures) -> list[str]:
        if not isinstance(self.featurizers, list | tuple) or not self.featurizers:
            raise ValueError(
                f"Expected `featurizers` to be a list of at least one, got {self.featurizers!r}."
            )
        for each in self.featurizers:
            if not isinstance(each, Featurizer):
                raise TypeError(f"Expected only featurizers in `featurizers`, got {each!r}.")
        self.featurizers_ = [clone(each).fit(X) for each in self.featurizers]
        named = [(k, name) for k, f in enumerate(self.featurizers_) for name in f.feature_names_]
        count = Counter(name for _, name in named)
        return [f"{k}__{name}" if count[name] > 1 else name for k, name in named]

    def _compute(self, X: mdtraj.Trajectory) -> Features:
        features = np.empty((X.n_frames, len(self.feature_names_)), np.float32)
        ends = np.cumsum([len(each.feature_names_) for each in self.featurizers_])
        columns = np.split(features, ends[:-1], axis=1)
        for each, place in zip(self.featurizers_, columns, strict=True):
            place[:] = each._compute(X)
        return features

    def _units(self) -> list[str]:
        return [unit for each in self.featurizers_ for unit in each._units()]

    def _structured_parameters(self) -> dict[str, Any]:
        return {"featurizers": [each._recipe() for each in self.featurizers_]}

    @classmethod
    def _with_parameters(cls, parameters: dict[str, Any], topology: mdtraj.Topology) -> Featurizer:
        return cls([cls._of_recipe(each, topology) for each in parameters["featurizers"]])
