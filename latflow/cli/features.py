"""Featurizers from texts such as ``distances:scheme=closest-heavy``."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import latflow

FEATURIZERS = {
    "torsions": "Torsions",
    "distances": "Distances",
    "contacts": "Contacts",
    "coordination": "CoordinationNumbers",
    "positions": "AlignedPositions",
    "g-vectors": "GVectors",
}
NO_TEXTS = ("reference",)  # parameters that are structures


def featurizer_of(texts: Sequence[str]) -> latflow.featurizers.Featurizer:
    """Return a featurizer, or several side by side.

    Parameters
    ----------
    texts : sequence of str
        Each a name, with options behind colons: ``torsions:angles=phi,psi,chi1``. Commas divide
        several values.

    Returns
    -------
    Featurizer
        Not fitted.

    Raises
    ------
    ValueError
        For a name or an option that does not exist, or an option without value.

    Examples
    --------
    >>> featurizer_of(["distances:scheme=closest-heavy:min_separation=2"])
    Distances(min_separation=2, scheme='closest-heavy')
    """
    featurizers = [_one(text) for text in texts]
    several = len(featurizers) > 1
    return latflow.featurizers.Concatenate(featurizers) if several else featurizers[0]


def _one(text: str) -> latflow.featurizers.Featurizer:
    name, *options = text.split(":")
    if name not in FEATURIZERS:
        raise ValueError(f"Expected --features of {', '.join(FEATURIZERS)}, got {name}.")
    kind: Any = getattr(latflow.featurizers, FEATURIZERS[name])
    parameters = inspect.signature(kind).parameters
    known = [key for key in parameters if key not in NO_TEXTS]
    values: dict[str, Any] = {}
    for option in options:
        key, equals, value = option.partition("=")
        if key not in known or not equals:
            raise ValueError(
                f"Expected options of {name} as NAME=VALUE ({', '.join(known)}), got {option!r}."
            )
        values[key] = _value(value)
    missing = [k for k, p in parameters.items() if p.default is p.empty and k not in values]
    if missing:
        raise ValueError(f"Expected {name}:{missing[0]}=VALUE, which has no default, got {text}.")
    featurizer: latflow.featurizers.Featurizer = kind(**values)
    return featurizer


def _value(text: str) -> object:
    """Return a number, true or false, a text, or several of them."""
    if "," in text:
        return tuple(_value(part) for part in text.split(","))
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
