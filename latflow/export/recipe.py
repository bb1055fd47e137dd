"""What a fitted model computes from the positions of atoms, step by step."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import singledispatch
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_selection import SelectorMixin
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
from sklearn.utils.validation import check_is_fitted

from latflow._typing import FloatArray
from latflow.estimators import LaTFEstimator, TemperatureExtrapolator
from latflow.estimators.seam import Layers, encoder_layers
from latflow.featurizers import (
    Concatenate,
    Contacts,
    CoordinationNumbers,
    Distances,
    Featurizer,
    Select,
    Torsions,
)
from latflow.trajectories import PerFrame

if TYPE_CHECKING:
    import mdtraj

Model = LaTFEstimator | TemperatureExtrapolator
Atoms = tuple[int, ...]
LINEAR = (
    *(StandardScaler, MinMaxScaler, MaxAbsScaler, RobustScaler),
    *(PCA, TruncatedSVD, SelectorMixin),
)


@dataclass(frozen=True)
class Distance:
    """The least distance of some pairs of atoms, in nm."""

    pairs: tuple[tuple[int, int], ...]
    periodic: bool


@dataclass(frozen=True)
class Contact:
    """A smooth contact, 1 / (1 + (r / r0)^n), of a distance r."""

    distance: Distance
    r0: float
    exponent: int


@dataclass(frozen=True)
class Torsion:
    """The cosine or the sine of the torsion angle of four atoms."""

    function: str
    atoms: Atoms
    periodic: bool


@dataclass(frozen=True)
class Coordination:
    """How many of the other atoms are near one atom, each counted as a smooth contact."""

    atom: int
    others: Atoms
    r0: float
    exponent: int
    periodic: bool


@dataclass(frozen=True)
class Ranked:
    """One of several coordination numbers, by its place in ascending order, from 0."""

    numbers: tuple[Coordination, ...]
    place: int


Feature = Distance | Contact | Torsion | Coordination | Ranked


@dataclass(frozen=True)
class Recipe:
    """Features of atoms, and the layers that turn them into collective variables.

    Attributes
    ----------
    names : list of str
        One per feature.
    features : list of Feature
        Atoms are numbered from 0, lengths are in nm.
    layers : list of (weights, biases)
        tanh stands between the layers; the first one holds the scaling of the features.
    topology : mdtraj.Topology
    """

    names: list[str]
    features: list[Feature]
    layers: Layers
    topology: mdtraj.Topology

    @property
    def variables(self) -> list[str]:
        """Names of the collective variables: z1, z2, ..."""
        return [f"z{k}" for k in range(1, len(self.layers[-1][1]) + 1)]

    @property
    def n_hidden(self) -> int:
        """Number of hidden units, of all layers together."""
        return sum(len(biases) for _, biases in self.layers[:-1])

    @classmethod
    def of(cls, model: Model, featurizer: Featurizer | Mapping[str, Any] | None) -> Recipe:
        """Return how a fitted model's collective variables are computed.

        Parameters
        ----------
        model : LaTFEstimator, or TemperatureExtrapolator of one
        featurizer : Featurizer, mapping or None
            Fitted, or its manifest; None takes the manifest that the model keeps.
        """
        steps, estimator = _network_of(model)
        described = _featurizer_of(model, steps, featurizer)
        layers = encoder_layers(estimator.model_, estimator.mean_, estimator.scale_)
        names = list(described.feature_names_)
        layers[0] = _folded(steps, layers[0], len(names))
        return cls(names, features_of(described), layers, described.topology_)


def _network_of(model: object) -> tuple[list[Any], LaTFEstimator]:
    """Return the steps of a pipeline before the last one, and the last, which is the network."""
    if not isinstance(model, LaTFEstimator | TemperatureExtrapolator):
        raise TypeError(
            "Expected `model` to be a LaTFEstimator or TemperatureExtrapolator, got "
            f"{type(model).__name__}."
        )
    check_is_fitted(model)
    steps, last = [], model.estimator_
    while isinstance(last, Pipeline | FrozenEstimator):
        inner = [last.estimator] if isinstance(last, FrozenEstimator) else _steps(last)
        steps += inner[:-1]
        last = inner[-1]
    if not isinstance(last, LaTFEstimator):
        raise TypeError(
            "Expected a model whose variables a LaTFEstimator computes from features, got "
            f"{type(last).__name__}: fit a LaTFEstimator on the features."
        )
    return steps, last


def _steps(pipeline: Pipeline) -> list[Any]:
    return [step for _, step in pipeline.steps if step not in (None, "passthrough")]


def _folded(
    steps: list[Any], layer: tuple[FloatArray, FloatArray], n_features: int
) -> tuple[FloatArray, FloatArray]:
    """Return a first layer that reads features as they were before linear steps of a pipeline."""
    points = np.vstack([np.zeros(n_features), np.eye(n_features)])
    for step in steps:
        if isinstance(step, Featurizer):
            continue
        step = step.estimator if isinstance(step, FrozenEstimator) else step
        step = step.transformer_ if isinstance(step, PerFrame) else step
        if not isinstance(step, LINEAR) or getattr(step, "clip", False):
            known = ", ".join(kind.__name__ for kind in LINEAR[:-1])
            raise TypeError(
                f"Expected steps before the LaTFEstimator that are linear ({known}, selections of "
                f"features), got {type(step).__name__}: fit on the features themselves."
            )
        points = _plain(step).transform(points)
    weights, biases = layer
    return weights @ (points[1:] - points[0]).T, biases + weights @ points[0]


def _plain(step: Any) -> Any:
    """Return a transformer that returns arrays and asks for no names."""
    step = copy.deepcopy(step).set_output(transform="default")
    vars(step).pop("feature_names_in_", None)
    return step


def _featurizer_of(
    model: Model, steps: list[Any], featurizer: Featurizer | Mapping[str, Any] | None
) -> Featurizer:
    """Return the fitted featurizer whose features the model reads."""
    inside = [step for step in steps if isinstance(step, Featurizer)]
    source: Any = inside[0] if inside else featurizer
    if source is None:
        source = model.manifest_ or (None if steps else _network_of(model)[1].manifest_)
    if source is None:
        raise ValueError(
            "Expected a model that knows how its features were made, got one fitted on plain "
            "arrays: pass the fitted `featurizer`, or fit on the list that it returns for a list "
            "of trajectories."
        )
    described = source if isinstance(source, Featurizer) else Featurizer.from_manifest(source)
    check_is_fitted(described)
    if not inside:
        _check_names(model, described.feature_names_)
    return described


def _check_names(model: Model, known: list[str]) -> None:
    reader = next(iter(_network_of(model)[0]), None) or model.estimator_
    if len(known) != reader.n_features_in_:
        raise ValueError(
            f"Expected `featurizer` to make the {reader.n_features_in_} features that the model "
            f"reads, got one that makes {len(known)}."
        )
    named = list(getattr(reader, "feature_names_in_", known))
    if named != known:
        k = int(np.argmax(np.asarray(named) != np.asarray(known)))
        raise ValueError(
            f"Expected `featurizer` to make the features that the model reads, got {known[k]} in "
            f"the place of {named[k]}."
        )


@singledispatch
def features_of(featurizer: Featurizer) -> list[Feature]:
    """Return what a fitted featurizer computes, one entry per feature."""
    able = ", ".join(sorted(kind.__name__ for kind in features_of.registry if kind is not object))
    raise ValueError(
        f"Expected features of {able}, which simulation programs compute themselves, got those of "
        f"{type(featurizer).__name__}."
    )


@features_of.register
def _(featurizer: Concatenate) -> list[Feature]:
    return list(chain.from_iterable(map(features_of, featurizer.featurizers_)))


@features_of.register
def _(featurizer: Select) -> list[Feature]:
    features = features_of(featurizer.featurizer_)
    return [features[k] for k in featurizer.columns_]


@features_of.register
def _(featurizer: Torsions) -> list[Feature]:
    return [
        Torsion(function, tuple(atoms), bool(featurizer.periodic))
        for atoms in featurizer.quartets_.tolist()
        for function in ("cos", "sin")
    ]


@features_of.register
def _distances(featurizer: Distances) -> list[Feature]:
    return list(_least_distances(featurizer))


@features_of.register
def _(featurizer: Contacts) -> list[Feature]:
    r0, exponent = float(featurizer.r0), int(featurizer.exponent)
    return [Contact(distance, r0, exponent) for distance in _least_distances(featurizer)]


def _least_distances(featurizer: Distances | Contacts) -> list[Distance]:
    pairs, starts = featurizer.pairs_, featurizer.starts_
    groups = np.split(pairs, starts[1:] if starts is not None else range(1, len(pairs)))
    return [Distance(tuple(map(tuple, g.tolist())), bool(featurizer.periodic)) for g in groups]


@features_of.register
def _(featurizer: CoordinationNumbers) -> list[Feature]:
    atoms = featurizer.atoms_.tolist()
    numbers = tuple(
        Coordination(
            atom,
            tuple(other for other in atoms if other != atom),
            float(featurizer.r0),
            int(featurizer.exponent),
            bool(featurizer.periodic),
        )
        for atom in atoms
    )
    if featurizer.sort:
        return [Ranked(numbers, place) for place in range(len(numbers))]
    return list(numbers)
