"""The program: which commands there are, options from the command line and from TOML, errors."""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn

from latflow.cli import demo, featurize, fit, report, sample
from latflow.cli.config import arguments_of, options_of
from latflow.persistence import VERSION

__all__ = ["main"]

KNOWN_ERRORS = (ValueError, OSError, ImportError, TypeError)
COMMANDS = (demo, featurize, fit, sample, report)
REPORT = "latflow report"
HELP = {"-h", "--help"}


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line each."""

    def error(self, message: str) -> NoReturn:
        """Print one line and end with code 2."""
        self.exit(2, f"{self.prog}: {message.rstrip('.')}.\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command of ``latflow``.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments after the program's name; those of the process if not given.

    Returns
    -------
    int
        0, or 2 after an error that the user can cure; it is printed as one sentence.
    """
    # pymbar greets every import with warnings about software that it does not find
    logging.getLogger("pymbar").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            arguments = _parse(list(sys.argv[1:] if argv is None else argv))
            arguments.run(arguments)
        except KNOWN_ERRORS as error:
            print(f"latflow: {_sentence(error)}", file=sys.stderr)
            return 2
    return 0


def _parse(argv: list[str]) -> argparse.Namespace:
    """Parse the command line, then add what it leaves to the file named by --config."""
    if HELP & set(argv):
        _parser()[0].parse_args(argv)
    probe, commands = _parser()
    for command in commands.values():
        for action in command._actions:
            action.required, action.default = False, argparse.SUPPRESS
    given = vars(probe.parse_known_args(argv)[0])
    parser, commands = _parser()
    names = ", ".join(commands)
    if given.get("command") is None:
        parser.error(f"Expected a command ({names}), got none; see latflow --help")
    command = commands[given["command"]]
    added = []
    if "config" in given:
        # a model named by hand leaves nothing of what the file says about fitting one
        fitting = ["files", "temperature"] if "model" in given and command.prog == REPORT else []
        taken = [*given, *fitting]
        added = arguments_of(given["config"], given["command"], commands, given=taken)
    arguments, unknown = parser.parse_known_args([*argv, *added])
    if unknown:
        exist = ", ".join(f"--{name}" for name in options_of(command))
        command.error(f"Expected no {unknown[0]}; the options are {exist}")
    arguments.parser = command
    return arguments


def _parser() -> tuple[Parser, dict[str, argparse.ArgumentParser]]:
    """Return the parser, and those of the commands by name."""
    parser = Parser(
        prog="latflow",
        description="Collective variables, metastable states and the equilibrium at every "
        "temperature, from simulations at one or a few.",
    )
    parser.add_argument("--version", action="version", version=f"latflow {VERSION}")
    commands: Any = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for module in COMMANDS:
        command = module.add(commands)
        command.set_defaults(run=module.run)
        command.add_argument(
            "--config", metavar="FILE",
            help="TOML file with options by their long names, as in `lagtime = 10`, at its top or "
            "in a table named after the command, which counts before the top; those of the command "
            "line win",
        )  # fmt: skip
    return parser, dict(commands.choices)


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename or 'no file named'}."
    return " ".join(str(error).split())


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"latflow: warning: {message}", file=sys.stderr)
