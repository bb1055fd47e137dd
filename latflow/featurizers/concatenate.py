"""Several featurizers side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import clone

from latflow.featurizers.base import Features, Featurizer

__all__ = ["Concatenate"]


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

    def _learn(self, topology: Any, X: Any) -> list[str]:
        if not isinstance(self.featurizers, list | tuple) or not self.featurizers:
            raise ValueError(
                f"Expected `featurizers` to be a list of at least one, got {self.featurizers!r}."
            )
        for part in self.featurizers:
            if not isinstance(part, Featurizer):
                raise TypeError(f"Expected only featurizers in `featurizers`, got {part!r}.")
        self.featurizers_ = [clone(part).fit(X) for part in self.featurizers]
        named = [(k, name) for k, p in enumerate(self.featurizers_) for name in p.feature_names_]
        count = Counter(name for _, name in named)
        return [f"{k}__{name}" if count[name] > 1 else name for k, name in named]

    def _compute(self, X: Any) -> Features:
        features = np.empty((X.n_frames, len(self.feature_names_)), np.float32)
        first = 0
        for part in self.featurizers_:
            last = first + len(part.feature_names_)
            features[:, first:last] = part._compute(X)
            first = last
        return features
