"""The command line: parse, call the public API, print. One file per command."""

from latflow.cli.program import main

__all__ = ["main"]
