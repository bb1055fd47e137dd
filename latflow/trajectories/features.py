"""Features of trajectories, with a memory of how they were made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Any, SupportsIndex, overload

import numpy as np
from numpy.typing import NDArray


class TrajectoryList(list[Any]):
    """A list of arrays, one per trajectory, that numpy does not take for one array.

    Numpy takes lists of equally long trajectories for an array of three dimensions, in which what
    lies side by side is time: scikit-learn's FeatureUnion would join trajectories along it. Lists
    joined one after the other, as ``cross_val_predict`` joins those of its folds, become an array
    of objects, one trajectory each, whatever their lengths.
    """

    def __array_function__(
        self, function: Callable[..., Any], types: object, args: Any, options: Any
    ) -> Any:
        """Do what numpy does with lists, but refuse to join them side by side."""
        axis = options.get("axis", args[1] if len(args) > 1 else 0)
        if function is np.hstack or (function is np.concatenate and axis in (1, -1)):
            raise ValueError(
                "Expected arrays to join side by side, got lists of trajectories, which would be "
                "joined along time: where this is scikit-learn's FeatureUnion, use "
                "latflow.TrajectoryUnion, which joins the features of each trajectory."
            )
        if function is np.concatenate and all(isinstance(x, TrajectoryList) for x in args[0]):
            return _objects(chain.from_iterable(args[0]))
        return function(*_plain(args), **{name: _plain(x) for name, x in options.items()})


def _objects(trajectories: Iterable[Any]) -> NDArray[np.object_]:
    each = list(trajectories)
    joined = np.empty(len(each), dtype=object)
    for t, x in enumerate(each):
        joined[t] = x
    return joined


def _plain(x: Any) -> Any:
    """Return x with every TrajectoryList in it as a plain list."""
    if not isinstance(x, list | tuple):
        return x
    return (tuple if isinstance(x, tuple) else list)(map(_plain, x))


class FeatureList(TrajectoryList):
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
