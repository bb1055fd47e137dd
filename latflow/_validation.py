"""The one home of argument checks and of their sentences."""

from __future__ import annotations

import importlib
import numbers
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from latflow._typing import FloatArray

__all__ = [
    "check_count",
    "check_fraction",
    "check_latent_points",
    "check_option",
    "check_output",
    "check_per_frame",
    "check_per_trajectory",
    "check_positive",
    "check_range",
    "check_state",
    "check_table",
    "check_temperature",
    "check_temperatures",
    "check_temperatures_for",
    "check_weights",
    "check_widths",
    "heard",
    "import_extra",
    "muted",
    "one_at_a_time",
    "unmasked",
    "warn",
    "whole_or_nothing",
]

ROUNDING = 1e-5  # between temperatures that are the same, as a fraction: of float32 and of logs
INSIDE = ("latflow", "sklearn", "joblib", "contextlib")  # whose lines no warning points to


# what changes settings of the whole process for a while, as scikit-learn's checks and k-means do
one_at_a_time = threading.RLock()
if hasattr(os, "register_at_fork"):  # a fork while another thread holds it would hold it for ever
    os.register_at_fork(
        before=one_at_a_time.acquire,
        after_in_parent=one_at_a_time.release,
        after_in_child=one_at_a_time.release,
    )

_hearing: ContextVar[tuple[tuple[str, list[str]], ...]] = ContextVar("_hearing", default=())


@contextmanager
def heard(beginning: str = "") -> Iterator[list[str]]:
    """Yield a list that takes warnings of this package that begin so: nobody else hears them.

    What the innermost list does not take, the one around it may.

    `warnings.catch_warnings` changes the filters of all threads, and leaves them changed where two
    threads end in another order than they began.
    """
    said: list[str] = []
    token = _hearing.set(((beginning, said), *_hearing.get()))
    try:
        yield said
    finally:
        _hearing.reset(token)


@contextmanager
def muted(pattern: str) -> Iterator[None]:
    """Leave out another package's warnings that match a pattern, one thread at a time."""
    with one_at_a_time, warnings.catch_warnings():
        warnings.filterwarnings("ignore", pattern)
        yield


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn in the name of the user's line: the nearest one outside of the package."""
    for beginning, said in _hearing.get():
        if message.startswith(beginning):
            said.append(message)
            return
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_globals.get("__name__", "").split(".")[0] in INSIDE:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def unmasked(values: object, name: str) -> Any:
    """Return values as they are, the data of a masked array; a ValueError where one is masked."""
    if isinstance(values, list | tuple):
        return type(values)(unmasked(value, name) for value in values) if _holds(values) else values
    if not isinstance(values, np.ma.MaskedArray):
        return values
    mask = np.ma.getmaskarray(values)
    if mask.any():
        raise ValueError(
            f"Expected numbers in {name}, got a masked array with {int(mask.sum())} masked "
            "entries: drop these frames, or features, first."
        )
    return np.ma.getdata(values)


def _holds(values: Sequence[object]) -> bool:
    return any(isinstance(value, np.ma.MaskedArray) or value is np.ma.masked for value in values)


def check_count(value: object, name: str, *, minimum: int = 1) -> int:
    """Return `value` as an int of at least `minimum`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < minimum:
        raise ValueError(f"Expected `{name}` to be an integer >= {minimum}, got {value!r}.")
    return int(value)


def check_positive(value: object, name: str, *, allow_zero: bool = False) -> float:
    """Return `value` as a finite float above zero (or at least zero)."""
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not real or not np.isfinite(value) or value < 0 or (value == 0 and not allow_zero):  # type: ignore[operator,call-overload]
        bound = ">= 0" if allow_zero else "> 0"
        raise ValueError(f"Expected `{name}` to be a finite number {bound}, got {value!r}.")
    return float(value)  # type: ignore[arg-type]


def check_fraction(value: object, name: str) -> float:
    """Return `value` as a float with 0 <= value < 1."""
    fraction = check_positive(value, name, allow_zero=True)
    if fraction >= 1:
        raise ValueError(f"Expected `{name}` to be a number with 0 <= {name} < 1, got {value!r}.")
    return fraction


def check_widths(values: object, name: str) -> tuple[int, ...]:
    """Return the widths of hidden layers as a tuple of positive ints."""
    if not isinstance(values, list | tuple):
        raise ValueError(f"Expected `{name}` to be a tuple of integers, got {values!r}.")
    return tuple(check_count(width, name) for width in values)


@contextmanager
def whole_or_nothing(estimator: object) -> Iterator[None]:
    """Put an estimator's attributes back as they were if the body raises: nothing half-done."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


def check_option(value: object, name: str, options: Iterable[str]) -> str:
    """Return `value` if it is one of `options`; the error says which exist."""
    options = tuple(options)
    if value not in options:
        raise ValueError(f"Expected `{name}` to be one of {', '.join(options)}, got {value!r}.")
    return str(value)


def check_temperature(value: object, name: str = "temperature") -> float:
    """Return one temperature as a float; units are those of the caller's `boltzmann_constant`."""
    return check_positive(value, name)


def check_range(values: object, name: str) -> tuple[float, float]:
    """Return a pair of positive numbers, the lower first."""
    if not isinstance(values, list | tuple) or len(values) != 2:
        raise ValueError(f"Expected `{name}` to be (lowest, highest), got {values!r}.")
    low, high = (check_positive(value, name) for value in values)
    if low >= high:
        raise ValueError(f"Expected `{name}` to be (lowest, highest), got {values!r}.")
    return low, high


def check_temperatures(values: ArrayLike, n_frames: int) -> FloatArray:
    """Return one positive, finite temperature per frame; those that rounding parts are one.

    Warns
    -----
    UserWarning
        Where temperatures differ by less than 1e-5 of themselves: names them.
    """
    temperature = check_per_frame(values, n_frames, "temperature")
    wrong = temperature <= 0
    if wrong.any():
        raise ValueError(
            "Expected every `temperature` to be positive, "
            f"got {temperature[wrong][0]:g} at frame {np.flatnonzero(wrong)[0]}."
        )
    return _without_rounding(temperature)


def _without_rounding(temperature: FloatArray) -> FloatArray:
    """Return temperatures, of those that differ by rounding only the one of fewest digits."""
    values, index = np.unique(temperature, return_inverse=True)
    near = np.diff(values) <= ROUNDING * values[1:]
    if not near.any():
        return temperature
    names, start = values.copy(), 0
    for stop in range(1, len(values) + 1):
        if stop < len(values) and values[stop] - values[start] <= ROUNDING * values[start]:
            continue
        names[start:stop] = min(values[start:stop], key=lambda value: len(f"{value:.12g}"))
        start = stop
    changed = np.flatnonzero(names != values)
    told = ", ".join(f"{values[k]:.10g} as {names[k]:.10g}" for k in changed[:3])
    more = f" (and {len(changed) - 3} more)" if len(changed) > 3 else ""
    warn(f"Temperatures that differ by rounding only are one: {told}{more}.")
    return names[index]


def check_temperatures_for(method: str, temperatures: FloatArray, has_energy: bool) -> None:
    """Raise where a method of extrapolation lacks the temperatures or energies that it learns from.

    No temperature at all is one unnamed one, which every method takes.
    """
    alone = len(temperatures) == 1 and method != "tilted"
    if alone and not (method == "enthalpy" and has_energy):
        raise ValueError(
            f"Expected `temperature` to hold at least two values for method={method!r}, got "
            f"{temperatures[0]:g} only: simulate a second one, or give the potential energy of "
            "every frame as `energy` to method='enthalpy', which one temperature suffices for."
        )
    if method == "mbar" and len(temperatures) and not has_energy:
        raise ValueError(
            "Expected `energy`, the potential energy of each frame, for method='mbar', got None; "
            "method='enthalpy' needs no energies."
        )


def check_weights(values: ArrayLike | None, n_frames: int, name: str = "weights") -> FloatArray:
    """Return one weight per frame, scaled to mean 1; None means equal weights."""
    if values is None:
        return np.ones(n_frames)
    weights = check_per_frame(values, n_frames, name)
    if (weights < 0).any():
        raise ValueError(
            f"Expected no negative value in `{name}`, "
            f"got {weights[weights < 0][0]:g} at frame {np.flatnonzero(weights < 0)[0]}."
        )
    if weights.sum() == 0:
        raise ValueError(f"Expected at least one positive value in `{name}`, got only zeros.")
    return np.asarray(weights / weights.mean())


def check_per_frame(values: object, n_frames: int, name: str) -> FloatArray:
    """Return one finite number per frame."""
    values = unmasked(values, f"`{name}`")
    array = np.asarray(values, dtype=np.float64)
    if array.shape != (n_frames,):
        raise ValueError(
            f"Expected `{name}` to hold one value per frame, shape ({n_frames},), "
            f"got {array.shape}."
        )
    if not np.isfinite(array).all():
        raise ValueError(
            f"Expected finite numbers in `{name}`, got NaN or infinity at frame "
            f"{np.flatnonzero(~np.isfinite(array))[0]}."
        )
    return array


def check_state(value: object, n_states: int, name: str) -> int:
    """Return the number of an existing state."""
    state = check_count(value, name, minimum=0)
    if state >= n_states:
        raise ValueError(f"Expected `{name}` to be a state below {n_states}, got {value!r}.")
    return state


def check_per_trajectory(values: Any, n_trajectories: int, name: str) -> list[float | None]:
    """Return one positive number per trajectory, from one for all or one each; or None each."""
    if values is None:
        return [None] * n_trajectories
    if np.ndim(values) == 0:
        return [check_positive(values, name)] * n_trajectories
    if len(values) != n_trajectories:
        raise ValueError(
            f"Expected `{name}` to hold one number, or one per trajectory ({n_trajectories}), "
            f"got {len(values)}."
        )
    return [check_positive(value, name) for value in values]


def check_latent_points(points: ArrayLike, n_components: int, name: str = "Z") -> FloatArray:
    """Return points of the latent space as a float64 array of shape (n, n_components)."""
    array = np.asarray(unmasked(points, f"`{name}`"), dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != n_components:
        raise ValueError(
            f"Expected `{name}` of shape (n_points, {n_components}), got {array.shape}."
        )
    if not np.isfinite(array).all():
        raise ValueError(f"Expected finite numbers in `{name}`, got NaN or infinity.")
    return array


def check_output(path: str | os.PathLike[str], name: str = "path") -> Path:
    """Return a path that can be written to, as far as that can be told before writing.

    Parameters
    ----------
    path : str or path-like
    name : str, default="path"
        What the errors call it.

    Returns
    -------
    Path

    Raises
    ------
    OSError
        If its folder does not exist or it is a folder itself.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"Expected `{name}` in an existing folder, got {target}.")
    if target.is_dir():
        raise IsADirectoryError(f"Expected `{name}` to be a file, got the folder {target}.")
    return target


def check_table(
    table: object, name: str, index: Sequence[str], columns: Sequence[str]
) -> pd.DataFrame:
    """Return a DataFrame that has these index levels and columns and at least one row."""
    wanted = f"a DataFrame with index ({', '.join(index)}) and columns {', '.join(columns)}"
    if not isinstance(table, pd.DataFrame):
        raise TypeError(f"Expected `{name}` to be {wanted}, got {type(table).__name__}.")
    if list(table.index.names) != list(index) or not set(columns) <= set(table.columns):
        raise ValueError(
            f"Expected `{name}` to be {wanted}, got index "
            f"({', '.join(map(str, table.index.names))}) and columns "
            f"{', '.join(map(str, table.columns))}."
        )
    if table.empty:
        raise ValueError(f"Expected `{name}` to hold at least one row, got none.")
    return table


def import_extra(
    module: str, extra: str, *, find: Callable[[str], ModuleType] = importlib.import_module
) -> ModuleType:
    """Import an optional dependency, or say which extra brings it."""
    try:
        with one_at_a_time:
            return find(module)
    except ImportError as error:
        raise ImportError(
            f"`{module}` is needed for this and is not installed: pip install 'latflow[{extra}]'."
        ) from error
