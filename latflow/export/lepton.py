"""Expressions in the language of Lepton, which PLUMED and Colvars both read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

DEGREE = "0.017453292519943295"  # rad, in digits that double precision tells apart


def number(value: float) -> str:
    """Return the shortest text that is read as the same number in double precision."""
    return repr(float(value))


def shifted(argument: str, constant: float) -> str:
    """Return a text plus a constant, whose sign is written once."""
    return f"{argument}{float(constant):+}"


def weighted_sum(weights: Iterable[float], arguments: Sequence[str], constant: float) -> str:
    """Return the weighted sum of some texts plus a constant."""
    terms = (
        f"{float(weight):+}*{argument}" for weight, argument in zip(weights, arguments, strict=True)
    )
    return shifted("".join(terms).removeprefix("+"), constant)


def contact(distance: str, r0: float, exponent: int) -> str:
    """Return the switching function 1 / (1 + (distance / r0)^exponent)."""
    return f"1/(1+({distance}/{number(r0)})^{exponent})"


def least(arguments: Sequence[str]) -> str:
    """Return the least of some texts: minima of two, nested as flatly as possible."""
    if len(arguments) == 1:
        return arguments[0]
    half = len(arguments) // 2
    return f"min({least(arguments[:half])},{least(arguments[half:])})"
