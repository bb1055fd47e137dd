"""Some of the features of another featurizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import clone

from latflow.featurizers.base import Features, Featurizer, Structures

if TYPE_CHECKING:
    import mdtraj


class Select(Featurizer):
    """Some of the features of another featurizer, under the names that they have there.

    Parameters
    ----------
    featurizer : featurizer
    features : sequence of str
        Names of the features to keep.

    Attributes
    ----------
    featurizer_ : featurizer
        The fitted clone, which computes all of its features.
    columns_ : ndarray of int of shape (n_features,)
        Where the features are among those of `featurizer_`, ascending.
    topology_, feature_names_
        As in every featurizer. Features keep the order that they have in `featurizer`.

    Raises
    ------
    ValueError
        By `fit`, for an empty list, a feature named twice, and one that `featurizer` does not make.

    Examples
    --------
    >>> import mdtraj, numpy as np
    >>> from latflow.featurizers import Distances, Select
    >>> top = mdtraj.Topology()
    >>> chain = top.add_chain()
    >>> for k in range(3):
    ...     atom = top.add_atom("Ar", mdtraj.element.argon, top.add_residue("AR", chain))
    >>> xyz = np.array([[[0, 0, 0], [0.1, 0, 0], [0.3, 0, 0]]])
    >>> far = Select(Distances([[0, 1], [0, 2]]), ["distance_AR0-Ar_AR2-Ar"])
    >>> far.fit_transform(mdtraj.Trajectory(xyz, top)).round(2)
    array([[0.3]], dtype=float32)
    """

    def __init__(self, featurizer: Featurizer, features: Sequence[str]) -> None:
        self.featurizer = featurizer
        self.features = features

    def _learn(self, topology: mdtraj.Topology, X: Structures) -> list[str]:
        if not isinstance(self.featurizer, Featurizer):
            raise TypeError(f"Expected `featurizer` to be a featurizer, got {self.featurizer!r}.")
        asked = [] if isinstance(self.features, str) else list(self.features)
        if not asked or len(set(asked)) < len(asked):
            raise ValueError(
                f"Expected `features` to be names, at least one and none twice, got "
                f"{self.features!r}."
            )
        self.featurizer_ = clone(self.featurizer).fit(X)
        names = self.featurizer_.feature_names_
        unknown = [name for name in asked if name not in set(names)]
        if unknown:
            raise ValueError(
                f"Expected `features` that {type(self.featurizer).__name__} makes, got "
                f"{unknown[0]}."
            )
        self.columns_ = np.flatnonzero(np.isin(names, asked))
        return [names[k] for k in self.columns_]

    def _compute(self, X: mdtraj.Trajectory) -> Features:
        return np.ascontiguousarray(self.featurizer_._compute(X)[:, self.columns_])

    def _units(self) -> list[str]:
        units = self.featurizer_._units()
        return [units[k] for k in self.columns_]

    def _structured_parameters(self) -> dict[str, Any]:
        return {"featurizer": self.featurizer_._recipe(), "features": list(self.feature_names_)}

    @classmethod
    def _with_parameters(cls, parameters: dict[str, Any], topology: mdtraj.Topology) -> Featurizer:
        inner = cls._of_recipe(parameters["featurizer"], topology)
        return cls(inner, parameters["features"])
