"""Options from a TOML file, as the command line would have them."""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

__all__ = ["arguments_of", "options_of"]

NOT_IN_FILES = ("help", "config", "version")
Options = Mapping[str, argparse.Action]


def arguments_of(
    file: str,
    name: str,
    commands: Mapping[str, argparse.ArgumentParser],
    *,
    given: Collection[str],
) -> list[str]:
    """Return what a file sets, as arguments to put behind those of the command line.

    Parameters
    ----------
    file : str
        Keys at its top count for every command that has such an option, those in a table named
        after a command for that one, and before those at the top. A list at the top is passed over
        by a command that takes one value where others take more: temperatures of trajectories by
        ``sample``. What to write stands in tables only, as no two commands write the same.
    name : str
        The command.
    commands : mapping of str to ArgumentParser
    given : collection of str
        Destinations that the command line sets itself: the file's are passed over.

    Returns
    -------
    list of str

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no TOML, names an option or a command that does not exist, or an output at its
        top.
    """
    content = _read(file)
    tables = {key: value for key, value in content.items() if isinstance(value, dict)}
    shared = {_hyphens(key): value for key, value in content.items() if key not in tables}
    options = {key: options_of(command) for key, command in commands.items()}
    _check_keys(shared, tables, options, file)
    own = {_hyphens(key): value for key, value in tables.get(name, {}).items()}
    known = options[name]
    chosen = {key: value for key, value in shared.items() if _counts(key, value, name, options)}
    chosen |= own
    return [
        text
        for key, value in chosen.items()
        if known[key].dest not in given
        for text in _texts(key, value, known[key], file)
    ]


def options_of(command: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """Return the options of a command by their long names, without hyphens in front."""
    return {
        text.removeprefix("--"): action
        for action in command._actions
        for text in action.option_strings
        if text.startswith("--") and action.dest not in NOT_IN_FILES
    }


def _read(file: str) -> dict[str, Any]:
    path = Path(file)
    if not path.is_file():
        raise FileNotFoundError(f"Expected a TOML file at {file}, found none.")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"Expected TOML in {file}, got another text: {error}.") from error


def _counts(key: str, value: Any, name: str, options: Mapping[str, Options]) -> bool:
    """Whether a key at the top counts for the command of this name."""
    lists = any(key in its and its[key].nargs is not None for its in options.values())
    several = lists and isinstance(value, list) and len(value) > 1
    return key in options[name] and not (several and options[name][key].nargs is None)


def _check_keys(
    shared: Mapping[str, Any],
    tables: Mapping[str, Any],
    options: Mapping[str, Options],
    file: str,
) -> None:
    for command, its in tables.items():
        _check_known(command, options, "tables named after commands", file)
        for key in map(_hyphens, its):
            _check_known(key, options[command], f"options of latflow {command}", file)
    anywhere = dict.fromkeys(key for its in options.values() for key in its)
    for key in shared:
        _check_known(key, anywhere, "options of latflow", file)
    if "output" in shared:
        raise ValueError(
            f"Expected output in a table named after its command, as in [fit], in {file}, got it "
            "at the top: no two commands write the same."
        )


def _hyphens(key: str) -> str:
    return key.replace("_", "-")


def _check_known(name: str, known: Collection[str], what: str, file: str) -> None:
    if name not in known:
        raise ValueError(f"Expected {what} ({', '.join(known)}) in {file}, got {name}.")


def _texts(key: str, value: Any, action: argparse.Action, file: str) -> list[str]:
    """Write an option as arguments."""
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise ValueError(f"Expected true or false for {key} in {file}, got {value!r}.")
        return [f"--{key}"] if value else []
    values = value if isinstance(value, list) else [value]
    wrong = [v for v in values if isinstance(v, bool) or not isinstance(v, str | int | float)]
    if wrong or not values:
        raise ValueError(f"Expected numbers or texts for {key} in {file}, got {value!r}.")
    if action.nargs is None:
        if len(values) != 1:
            raise ValueError(f"Expected one value for {key} in {file}, got {value!r}.")
        return [f"--{key}={values[0]}"]
    return [f"--{key}", *map(str, values)]
