"""Options from a TOML file, as the command line would have them."""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

__all__ = ["arguments_of", "options_of"]

NOT_IN_FILES = ("help", "config", "version")


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
        after a command for that one.
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
        If it is no TOML, or names an option or a command that does not exist.
    """
    content = _read(file)
    tables = {key: value for key, value in content.items() if isinstance(value, dict)}
    for table in tables:
        _check_known(table, commands, "tables named after commands", file)
    shared = {_hyphens(key): value for key, value in content.items() if key not in tables}
    anywhere = {key: None for command in commands.values() for key in options_of(command)}
    for key in shared:
        _check_known(key, anywhere, "options of latflow", file)
    for command, its in tables.items():
        for key in map(_hyphens, its):
            _check_known(key, options_of(commands[command]), f"options of latflow {command}", file)
    known = options_of(commands[name])
    own = {_hyphens(key): value for key, value in tables.get(name, {}).items()}
    chosen = {key: value for key, value in (shared | own).items() if key in known}
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
