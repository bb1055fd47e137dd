"""A command: its options out of dataclasses, several values behind one option, ``--config``."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

import typer
from typer.core import TyperCommand, TyperOption

from latflow.cli.config import read_config

ONE_LINE_BREAK = re.compile(r"(?<!\n)\n(?!\n)")
NUMBER = re.compile(r"-[\d.].*")
CONFIG = typer.Option(
    None,
    metavar="FILE",
    is_eager=True,
    expose_value=False,
    callback=read_config,
    help="TOML file with options by their long names, as in `lagtime = 10`, at its top or in a "
    "table named after the command, which counts before the top; those of the command line win.",
)


class Command(TyperCommand):
    """A command whose list options take several values: ``--temperature 300 450``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse arguments, with list options repeated before each of their values."""
        lists = [p for p in self.params if isinstance(p, TyperOption) and p.multiple]
        return super().parse_args(ctx, repeated(args, [text for p in lists for text in p.opts]))


def repeated(arguments: Sequence[str], options: Collection[str]) -> list[str]:
    """Return arguments with options before each of their values, as Click reads several values.

    Examples
    --------
    >>> repeated(["--at", "300", "450", "--seed", "1", "model"], ["--at"])
    ['--at', '300', '--at', '450', '--seed', '1', 'model']
    """
    texts: list[str] = []
    option = None
    for argument in arguments:
        if argument.startswith("-") and not NUMBER.fullmatch(argument):
            option = argument if argument in options else None
        elif option is not None and texts[-1] != option:
            texts.append(option)
        texts.append(argument)
    return texts


def with_options(function: Callable[..., None]) -> Callable[..., None]:
    """Return a function for Typer that takes the fields of `function`'s dataclasses one by one.

    Typer makes an option of each parameter. Two commands share options where both have a parameter
    of the same dataclass.
    """
    parameters = inspect.signature(function, eval_str=True).parameters
    groups: dict[str, Any] = {
        name: p.annotation for name, p in parameters.items() if is_dataclass(p.annotation)
    }
    unfolded: dict[str, tuple[Any, Any]] = {}
    for name, parameter in parameters.items():
        if name in groups:
            hints = get_type_hints(groups[name])
            unfolded |= {f.name: (hints[f.name], f.default) for f in fields(groups[name])}
        else:
            unfolded[name] = parameter.annotation, parameter.default
    unfolded["config"] = str | None, CONFIG

    def run(**values: object) -> None:
        del values["config"]  # has done its work when it was read
        for name, group in groups.items():
            values[name] = group(**{f.name: values.pop(f.name) for f in fields(group)})
        function(**values)

    run.__name__ = function.__name__
    run.__doc__ = ONE_LINE_BREAK.sub(" ", inspect.getdoc(function) or "")
    kind = inspect.Parameter.KEYWORD_ONLY
    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(name, kind, annotation=annotation, default=default)
            for name, (annotation, default) in unfolded.items()
        ]
    )
    return run
