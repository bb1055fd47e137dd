"""Features of trajectories, with a memory of how they were made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, SupportsIndex, overload


class FeatureList(list[Any]):
    """A list of 2-D arrays, one per trajectory, that remembers how they were made.

    It is a list in everything else: a slice keeps the manifest, whatever makes a new list (a
    comprehension, a sum) does not.

    Parameters
    ----------
    arrays : iterable of array of shape (n_frames_i, n_features), default=()
    manifest : mapping, optional
        What a featurizer says about itself, as JSON can hold it; see
        :meth:`latflow.featurizers.Featurizer.manifest`.

    Attributes
    ----------
    manifest : dict or None

    Examples
    --------
    >>> import numpy as np
    >>> features = FeatureList([np.zeros((5, 2)), np.zeros((3, 2))], manifest={"stride": 10})
    >>> features
    FeatureList(2 trajectories)
    >>> features[1:].manifest
    {'stride': 10}
    """

    def __init__(
        self, arrays: Iterable[Any] = (), *, manifest: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(arrays)
        self.manifest = None if manifest is None else dict(manifest)

    @overload
    def __getitem__(self, key: SupportsIndex) -> Any: ...
    @overload
    def __getitem__(self, key: slice) -> FeatureList: ...
    def __getitem__(self, key: Any) -> Any:
        chosen = super().__getitem__(key)
        return FeatureList(chosen, manifest=self.manifest) if isinstance(key, slice) else chosen

    def __repr__(self) -> str:
        return f"FeatureList({len(self)} trajectories)"
