"""Options from a TOML file, as Click's defaults of a command."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperOption

Options = Mapping[str, TyperOption]


def options_of(command: TyperCommand) -> dict[str, TyperOption]:
    """Return the options of a command that a file may set, by their long names without hyphens."""
    return {
        text.removeprefix("--"): option
        for option in command.params
        if isinstance(option, TyperOption) and option.expose_value
        for text in option.opts
    }


def set_by_file(context: typer.Context, name: str) -> bool:
    """Whether a parameter has its value from the file, not from the command line."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "DEFAULT_MAP"


def read_config(context: typer.Context, file: str | None) -> None:
    """Make what a file sets the defaults of the command.

    Keys at its top count for every command that has such an option, those in a table named after a
    command for that one, and before those at the top. A list at the top is passed over by a
    command that takes one value where others take more: temperatures of trajectories by ``sample``.
    What to write stands in tables only, as no two commands write the same.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no TOML, names an option or a command that does not exist, or an output at its
        top.
    """
    if file is None:
        return
    program: Any = context.find_root().command
    options = {name: options_of(command) for name, command in program.commands.items()}
    content = _hyphens(_read(file))
    tables = {key: _hyphens(value) for key, value in content.items() if isinstance(value, dict)}
    top = {key: value for key, value in content.items() if key not in tables}
    _check_keys(top, tables, options, file)
    command = str(context.info_name)
    chosen = {key: value for key, value in top.items() if _counts(key, value, command, options)}
    context.default_map = {
        options[command][key].name: _as_texts(key, value, options[command][key], file)
        for key, value in (chosen | tables.get(command, {})).items()
    }


def _read(file: str) -> dict[str, object]:
    if not Path(file).is_file():
        raise FileNotFoundError(f"Expected a TOML file at {file}, found none.")
    try:
        return tomllib.loads(Path(file).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"Expected TOML in {file}, got another text: {error}.") from error


def _hyphens(table: Mapping[str, object]) -> dict[str, object]:
    return {key.replace("_", "-"): value for key, value in table.items()}


def _several(option: TyperOption) -> bool:
    return option.multiple or option.nargs != 1


def _counts(key: str, value: object, command: str, options: Mapping[str, Options]) -> bool:
    """Whether a key at the top counts for a command."""
    if key not in options[command]:
        return False
    elsewhere = any(key in its and _several(its[key]) for its in options.values())
    several = elsewhere and isinstance(value, list) and len(value) > 1
    return _several(options[command][key]) or not several


def _check_keys(
    top: Collection[str],
    tables: Mapping[str, Collection[str]],
    options: Mapping[str, Options],
    file: str,
) -> None:
    _check_known(tables, options, "tables named after commands", file)
    for command, table in tables.items():
        _check_known(table, options[command], f"options of latflow {command}", file)
    anywhere = dict.fromkeys(key for its in options.values() for key in its)
    _check_known(top, anywhere, "options of latflow", file)
    if "output" in top:
        raise ValueError(
            f"Expected output in a table named after its command, as in [fit], in {file}, got it "
            "at the top: no two commands write the same."
        )


def _check_known(names: Collection[str], known: Collection[str], what: str, file: str) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"Expected {what} ({', '.join(known)}) in {file}, got {name}.")


def _as_texts(key: str, value: object, option: TyperOption, file: str) -> bool | str | list[str]:
    """Write a value as on the command line, so that Click checks it in the same way."""
    if option.is_flag:
        if not isinstance(value, bool):
            raise ValueError(f"Expected true or false for {key} in {file}, got {value!r}.")
        return value
    values = value if isinstance(value, list) else [value]
    if not values or any(type(v) not in (str, int, float) for v in values):
        raise ValueError(f"Expected numbers or texts for {key} in {file}, got {value!r}.")
    if _several(option):
        return [str(v) for v in values]
    if len(values) != 1:
        raise ValueError(f"Expected one value for {key} in {file}, got {value!r}.")
    return str(values[0])
