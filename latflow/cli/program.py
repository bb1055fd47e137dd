"""The program: which commands there are, and errors and warnings of one line each."""

from __future__ import annotations

import codecs
import io
import re
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

import latflow
from latflow.cli import demo, doctor, export, featurize, fit, report, sample
from latflow.cli.command import Command, with_options
from latflow.cli.config import options_of

KNOWN_ERRORS = (ValueError, OSError, ImportError, TypeError)

PLAIN = str.maketrans({"±": "+-", "–": "-", "→": "->"})  # noqa: RUF001

PARAMETER = re.compile(  # but for n_samples=100, the size of X in scikit-learn's words
    r"`(?:--)?(?P<quoted>\w[\w-]*)`|"
    r"(?<![\w.])(?!n_samples)(?P<name>\w+)=(?P<quote>'?)(?P<value>\w+)(?P=quote)"
)
OPTION_NAMES = {
    "n_components": "components", "n_bootstraps": "bootstraps", "random_state": "seed",
    "n_jobs": "jobs", "out": "output",
}  # fmt: skip

app = typer.Typer(context_settings={"help_option_names": ["-h", "--help"]})
COMMANDS = (
    demo.demo, doctor.doctor, featurize.featurize, fit.fit, sample.sample, report.report,
    export.export,
)  # fmt: skip
for command in COMMANDS:
    app.command(cls=Command)(with_options(command))


def show_version(wanted: bool) -> None:
    """Print the version and end."""
    if wanted:
        print(f"latflow {latflow.__version__}")
        raise typer.Exit


@app.callback()
def program(
    version: bool = typer.Option(
        False, "--version", is_eager=True, callback=show_version, help="Print the version."
    ),
) -> None:
    """Collective variables, metastable states and the equilibrium at every temperature."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command of ``latflow``.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments after the program's name; those of the process if not given.

    Returns
    -------
    int
        0, 1 where the doctor's checks fail, or 2 after an error that the user can cure, which is
        printed as one sentence.
    """
    codecs.register_error("latflow", _in_plain_letters)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="latflow")
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            run = typer.main.get_command(app)
            return run.main(argv, prog_name="latflow", standalone_mode=False) or 0
        except typer.TyperException as error:
            print(_usage(error), file=sys.stderr)
        except KNOWN_ERRORS as error:
            print(f"latflow: {_sentence(error)}", file=sys.stderr)
    return 2


def _in_plain_letters(error: UnicodeError) -> tuple[str, int]:
    """Write what a stream has no letters for in those of ASCII (a handler of codecs)."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(PLAIN)
    return text.encode("ascii", "backslashreplace").decode(), error.end


def _usage(error: Any) -> str:
    """Say what is wrong with the command line and, where a name is unknown, which names exist."""
    text = " ".join(error.format_message().split()).rstrip(".")
    if error.ctx is None:
        return f"latflow: {text}."
    command = error.ctx.command
    if isinstance(command, TyperGroup):
        text += f"; the commands are {', '.join(command.commands)}, see latflow --help"
    elif hasattr(error, "possibilities"):  # there is no such option
        exist = ", ".join(f"--{name}" for name in options_of(command))
        text = f"Expected no {error.option_name}; the options are {exist}"
    return f"{error.ctx.command_path}: {text}."


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename or 'no file named'}."
    return as_options(" ".join(str(error).split()))


def as_options(text: str) -> str:
    """Call the parameters of the estimators in a sentence by their options.

    Examples
    --------
    >>> as_options("Expected `n_components` to be an integer >= 1, for method='mbar', got 0.")
    'Expected --components to be an integer >= 1, for --method mbar, got 0.'
    >>> as_options("Expected a trajectory longer than lagtime=9 frames, got none (n_samples=8).")
    'Expected a trajectory longer than --lagtime 9 frames, got none (n_samples=8).'
    """
    program: Any = typer.main.get_command(app)
    names = {name for command in program.commands.values() for name in options_of(command)}

    def renamed(match: re.Match[str]) -> str:
        name = match["quoted"] or match["name"]
        option = OPTION_NAMES.get(name, name.replace("_", "-"))
        if option not in names:
            return match.group()
        return f"--{option} {match['value']}" if match["value"] else f"--{option}"

    return PARAMETER.sub(renamed, text)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    print(f"latflow: warning: {as_options(str(message))}", file=sys.stderr)
