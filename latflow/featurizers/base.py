"""What all featurizers have: the topology that fit saw, lists in and out, and the manifest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import wraps
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from latflow._validation import heard, whole_or_nothing
from latflow.featurizers.bonds import with_links
from latflow.featurizers.topology import (
    atom_labels,
    check_topology,
    check_trajectory,
    find_topology,
    topology_as_json,
    topology_from_json,
)
from latflow.trajectories.features import FeatureList

if TYPE_CHECKING:
    import mdtraj


Features = NDArray[np.float32]
Structures: TypeAlias = "mdtraj.Trajectory | mdtraj.Topology | list[mdtraj.Trajectory]"

PACKAGES = ("latflow", "mdtraj", "numpy")


Kind = TypeVar("Kind", bound="type[Featurizer]")


def takes_lists(cls: Kind) -> Kind:
    """Let `transform` of a class take a list of trajectories, outside of scikit-learn's wrapper.

    The wrapper of `set_output` comes off `fit_transform`, whose inner `transform` has it.
    """
    one = cls.transform

    @wraps(one)
    def transform(self: Featurizer, X: Structures) -> object:
        if isinstance(X, list):
            return FeatureList((one(self, x) for x in X), manifest=self.manifest())
        return one(self, X)

    cls.transform = transform  # type: ignore[method-assign]
    cls.fit_transform = getattr(cls.fit_transform, "__wrapped__", cls.fit_transform)  # type: ignore[method-assign]
    return cls


@takes_lists
class Featurizer(TransformerMixin, BaseEstimator):
    """Base of the transformers of `mdtraj.Trajectory`, or of lists of them, to named features.

    A subclass has `_learn(topology, X)`, which stores what it needs and returns the names of its
    features, and `_compute(X)`, which returns an array of shape (n_frames, n_features). Its `unit`
    is that of the features: nm, rad or none.

    Attributes
    ----------
    topology_ : mdtraj.Topology
        The topology that every trajectory has to have.
    feature_names_ : list of str
    """

    unit: ClassVar[str] = "none"
    topology_: mdtraj.Topology
    feature_names_: list[str]

    def fit(self, X: Structures, y: object = None) -> Self:
        """Learn the topology: which atoms the features are made of, and their names.

        Parameters
        ----------
        X : mdtraj.Trajectory, mdtraj.Topology, or list of mdtraj.Trajectory
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        TypeError
            If X is anything else.
        ValueError
            If the trajectories of a list differ in topology, or parameters do not fit: a
            selection that is empty or cannot be read, an unknown option.
        """
        with whole_or_nothing(self):
            topology = with_links(find_topology(X), X)
            self.feature_names_ = self._learn(topology, X)
            self.topology_ = topology
        return self

    def fit_transform(self, X: Structures, y: object = None) -> Any:
        """Learn the topology of trajectories and compute their features."""
        return self.fit(X, y).transform(X)

    def transform(self, X: Structures) -> Any:
        """Compute the features of trajectories.

        Parameters
        ----------
        X : mdtraj.Trajectory, or list of them

        Returns
        -------
        ndarray of float32 of shape (n_frames, n_features), or FeatureList of them

        Raises
        ------
        TypeError
            If X is anything else.
        ValueError
            If a topology differs from that of `fit`; the message names the first difference.
        """
        check_is_fitted(self)
        check_topology(check_trajectory(X).topology, self.topology_)
        return self._compute(X)

    def _compute(self, X: mdtraj.Trajectory) -> Features:
        raise NotImplementedError

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray[np.object_]:
        """Return the names of the features, one per column.

        Parameters
        ----------
        input_features : ignored

        Returns
        -------
        ndarray of str of shape (n_features,)
        """
        check_is_fitted(self)
        return np.asarray(self.feature_names_, dtype=object)

    def manifest(self) -> dict[str, Any]:
        """Return how the features are made, as JSON can hold it.

        Returns
        -------
        dict
            ``featurizer`` (name of the class), ``parameters``, ``feature_names``, ``units`` (nm,
            rad or none, one per feature), ``topology`` (chains, residues, atoms and bonds),
            ``fingerprint`` (a checksum of the class, its parameters and the atoms' labels) and
            ``versions`` of the packages.

        See Also
        --------
        from_manifest : The way back.
        """
        check_is_fitted(self)
        recipe = self._recipe()
        decisive = json.dumps([recipe, atom_labels(self.topology_)], sort_keys=True)
        return recipe | {
            "feature_names": list(self.feature_names_),
            "units": self._units(),
            "topology": topology_as_json(self.topology_),
            "fingerprint": hashlib.sha256(decisive.encode()).hexdigest(),
            "versions": {name: version(name) for name in PACKAGES},
        }

    @staticmethod
    def from_manifest(manifest: Mapping[str, Any]) -> Featurizer:
        """Return the fitted featurizer that a manifest describes.

        Parameters
        ----------
        manifest : mapping
            What :meth:`manifest` returned, also after a way through JSON.

        Returns
        -------
        Featurizer

        Raises
        ------
        ValueError
            If no class has the manifest's name, or the manifest is of an older version, which
            kept neither topology nor parameters, or took torsions across the gaps of a chain.
        """
        if not {"topology", "parameters"} <= manifest.keys():
            raise ValueError(
                "Expected a manifest with topology and parameters, got one of an older version: "
                "run featurize again."
            )
        topology = topology_from_json(manifest["topology"])
        with heard():  # what was left out has been said
            featurizer = Featurizer._of_recipe(manifest, topology).fit(topology)
        if featurizer.feature_names_ != manifest.get("feature_names", featurizer.feature_names_):
            raise ValueError(
                "Expected a manifest whose features this version makes, got one that counts other "
                "residues as bonded (across a gap of a chain): run featurize again."
            )
        return featurizer

    def _recipe(self) -> dict[str, Any]:
        """Return the class and its parameters, from which :meth:`_of_recipe` makes it anew."""
        parameters = self.get_params(deep=False) | self._structured_parameters()
        return {
            "featurizer": type(self).__name__,
            "parameters": json.loads(json.dumps(parameters, default=_plain)),
        }

    def _structured_parameters(self) -> dict[str, Any]:
        """Return the parameters that are neither numbers nor texts, as JSON can hold them."""
        return {}

    @staticmethod
    def _of_recipe(recipe: Mapping[str, Any], topology: mdtraj.Topology) -> Featurizer:
        for kind in _kinds(Featurizer):
            if kind.__name__ == recipe["featurizer"]:
                return kind._with_parameters(dict(recipe["parameters"]), topology)
        raise ValueError(f"Expected a known featurizer, got {recipe['featurizer']}.")

    @classmethod
    def _with_parameters(cls, parameters: dict[str, Any], topology: mdtraj.Topology) -> Featurizer:
        return cls(**parameters)

    def _units(self) -> list[str]:
        return [self.unit] * len(self.feature_names_)

    def _learn(self, topology: mdtraj.Topology, X: Structures) -> list[str]:
        raise NotImplementedError

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "topology_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.transformer_tags.preserves_dtype = []
        return tags


def _plain(value: Any) -> object:
    """Return arrays and numpy's numbers as JSON can hold them, and whatever else as a text."""
    return value.tolist() if hasattr(value, "tolist") else repr(value)


def _kinds(cls: type[Featurizer]) -> Iterator[type[Featurizer]]:
    for kind in cls.__subclasses__():
        yield kind
        yield from _kinds(kind)
