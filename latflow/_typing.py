"""Names of the types that signatures are written in."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["AnySeed", "BoolArray", "FloatArray", "IntArray", "RandomState"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.signedinteger[Any]]
BoolArray = NDArray[np.bool_]
RandomState = int | np.random.RandomState | None
AnySeed = RandomState | np.random.Generator
