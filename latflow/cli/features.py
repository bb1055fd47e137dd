"""Featurizers from texts such as ``distances:scheme=closest-heavy``."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from latflow.featurizers import (
    AlignedPositions,
    Concatenate,
    Contacts,
    CoordinationNumbers,
    Distances,
    Featurizer,
    GVectors,
    Torsions,
)

__all__ = ["FEATURIZERS", "featurizer_of"]

FEATURIZERS: dict[str, type[Featurizer]] = {
    "torsions": Torsions,
    "distances": Distances,
    "contacts": Contacts,
    "coordination": CoordinationNumbers,
    "positions": AlignedPositions,
    "g-vectors": GVectors,
}
NO_TEXTS = ("reference",)  # parameters that are structures


def featurizer_of(texts: Sequence[str]) -> Featurizer:
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
    parts = [_one(text) for text in texts]
    return parts[0] if len(parts) == 1 else Concatenate(parts)


def _one(text: str) -> Featurizer:
    name, *options = text.split(":")
    if name not in FEATURIZERS:
        raise ValueError(f"Expected --features of {', '.join(FEATURIZERS)}, got {name}.")
    kind: Any = FEATURIZERS[name]
    parameters = inspect.signature(kind).parameters
    known = [key for key in parameters if key not in NO_TEXTS]
    given: dict[str, Any] = {}
    for option in options:
        key, equals, value = option.partition("=")
        if key not in known or not equals:
            raise ValueError(
                f"Expected options of {name} as NAME=VALUE ({', '.join(known)}), got {option!r}."
            )
        given[key] = _value(value)
    missing = [k for k, p in parameters.items() if p.default is p.empty and k not in given]
    if missing:
        raise ValueError(f"Expected {name}:{missing[0]}=VALUE, which has no default, got {text}.")
    featurizer: Featurizer = kind(**given)
    return featurizer


def _value(text: str) -> Any:
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
