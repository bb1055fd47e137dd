"""What all featurizers share: the topology that fit saw, names of atoms, lists in and lists out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from latflow._validation import whole_or_nothing

__all__ = ["Featurizer", "atom_labels", "check_topology", "find_topology", "select_atoms"]

IntArray = NDArray[np.int64]
Features = NDArray[np.float32]


def _per_structure(method: Callable[..., Any]) -> Callable[..., Any]:
    """Let a method of one mdtraj.Trajectory take a list of them, and return a list then."""

    @wraps(method)
    def wrapper(self: Any, X: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(X, list):
            return method(self, X, *args, **kwargs)
        return [method(self, x, *args, **kwargs) for x in X]

    return wrapper


def _lists_outside(cls: type[Featurizer]) -> type[Featurizer]:
    """Put the branch of lists outside scikit-learn's `set_output` wrapper, which takes arrays."""
    cls.transform = _per_structure(cls.transform)  # type: ignore[method-assign]
    cls.fit_transform = cls.fit_transform.__wrapped__  # type: ignore[method-assign,attr-defined]
    return cls


@_lists_outside
class Featurizer(TransformerMixin, BaseEstimator):
    """Base of the transformers of `mdtraj.Trajectory`, or of lists of them, to named features.

    A subclass has `_learn(topology, X)`, which stores what it needs and returns the names of its
    features, and `_compute(X)`, which returns an array of shape (n_frames, n_features).

    Attributes
    ----------
    topology_ : mdtraj.Topology
        That every trajectory has to have.
    feature_names_ : list of str
    """

    topology_: Any
    feature_names_: list[str]

    def fit(self, X: Any, y: Any = None) -> Self:
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
            topology = find_topology(X)
            self.feature_names_ = self._learn(topology, X)
            self.topology_ = topology
        return self

    def fit_transform(self, X: Any, y: Any = None) -> Any:
        """Learn the topology of trajectories and compute their features."""
        return self.fit(X, y).transform(X)

    def transform(self, X: Any) -> Any:
        """Compute the features of trajectories.

        Parameters
        ----------
        X : mdtraj.Trajectory, or list of them

        Returns
        -------
        ndarray of float32 of shape (n_frames, n_features), or list of them

        Raises
        ------
        TypeError
            If X is anything else.
        ValueError
            If a topology differs from that of `fit`; the message names the first difference.
        """
        check_is_fitted(self)
        check_trajectory(X)
        check_topology(X.topology, self.topology_)
        return self._compute(X)

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray[Any]:
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

    def _learn(self, topology: Any, X: Any) -> list[str]:
        raise NotImplementedError

    def _compute(self, X: Any) -> Features:
        raise NotImplementedError

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "topology_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.transformer_tags.preserves_dtype = []
        return tags


def find_topology(X: Any) -> Any:
    """Return the topology of a Trajectory, a Topology, or a list whose entries share one."""
    import mdtraj

    if isinstance(X, mdtraj.Topology):
        return X
    if not isinstance(X, list):
        check_trajectory(X)
        return X.topology
    if not X:
        raise ValueError("Expected at least one trajectory, got an empty list.")
    first, *others = (find_topology(x) for x in X)
    for number, other in enumerate(others, start=1):
        check_topology(other, first, f" in trajectory {number}, as in trajectory 0")
    return first


def check_trajectory(X: Any) -> None:
    """Raise where X is not a Trajectory with a topology."""
    import mdtraj

    if not isinstance(X, mdtraj.Trajectory):
        raise TypeError(
            f"Expected an mdtraj.Trajectory, or a list of them, got {type(X).__name__}."
        )
    if X.topology is None:
        raise ValueError("Expected a trajectory with a topology, got one without.")


def check_topology(found: Any, expected: Any, where: str = ", as in fit") -> None:
    """Raise a ValueError that names the first difference of two topologies."""
    if found is expected:
        return
    if found.n_atoms != expected.n_atoms:
        raise ValueError(f"Expected {expected.n_atoms} atoms{where}, got {found.n_atoms}.")
    for one, other in zip(found.atoms, expected.atoms, strict=True):
        if _identity(one) != _identity(other):
            raise ValueError(f"Expected atom {one.index} to be {other}{where}, got {one}.")


def _identity(atom: Any) -> tuple[str, str, int]:
    return atom.name, atom.residue.name, atom.residue.index


def select_atoms(topology: Any, selection: Any, name: str) -> IntArray:
    """Return sorted atom indices of a selection in mdtraj's language, or of given indices.

    Parameters
    ----------
    topology : mdtraj.Topology
    selection : str or array_like of int
    name : str
        What the errors call it.

    Returns
    -------
    ndarray of shape (n_atoms,)
    """
    if isinstance(selection, str):
        try:
            found = topology.select(selection)
        except Exception as error:
            raise ValueError(
                f"Expected `{name}` in mdtraj's selection language, got {selection!r}: "
                f"{' '.join(str(error).split())}."
            ) from error
    else:
        found = check_atom_indices(selection, topology.n_atoms, name).ravel()
    if len(found) == 0:
        raise ValueError(f"Expected `{name}` to select at least one atom, got none: {selection!r}.")
    return np.unique(found).astype(np.int64)


def check_atom_indices(values: ArrayLike, n_atoms: int, name: str) -> IntArray:
    """Return integers in range as an array."""
    array = np.asarray(values)
    if array.size and (array.dtype.kind not in "iu" or array.min() < 0 or array.max() >= n_atoms):
        raise ValueError(
            f"Expected `{name}` to hold atom indices from 0 to {n_atoms - 1}, got {values!r}."
        )
    return array.astype(np.int64)


def atom_labels(topology: Any) -> list[str]:
    """Return a label per atom, as ALA2-CA; with the number of the chain where that is needed."""
    residues = residue_labels(topology)
    labels = [f"{residues[atom.residue.index]}-{atom.name}" for atom in topology.atoms]
    return _distinct(labels, [f"{label}#{k}" for k, label in enumerate(labels)])


def residue_labels(topology: Any) -> list[str]:
    """Return a label per residue, as ALA2, or 1:ALA2 where chain 0 has such a residue too."""
    residues = list(topology.residues)
    labels = [str(residue) for residue in residues]
    chains = [f"{r.chain.index}:{label}" for r, label in zip(residues, labels, strict=True)]
    labels = _distinct(labels, chains)
    return _distinct(labels, [f"{label}#{k}" for k, label in enumerate(labels)])


def _distinct(labels: Sequence[str], longer: Sequence[str]) -> list[str]:
    """Return labels, and the longer ones for those that occur more than once."""
    seen = Counter(labels)
    return [b if seen[a] > 1 else a for a, b in zip(labels, longer, strict=True)]
