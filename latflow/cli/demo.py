"""``latflow demo``: the main job, end to end."""

from __future__ import annotations

import argparse
from typing import Any

from latflow.demo import readable, run_demo

__all__ = ["add", "run"]

LINE_WIDTH = 100
DEFAULT = "default: %(default)s"


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the command."""
    text = (
        "Simulate seven Lennard-Jones particles at T = 0.2 and 0.5, fit, predict T = 0.2 to 0.7, "
        "compare with simulations and write an HTML report. About two minutes on two cores."
    )
    demo: argparse.ArgumentParser = commands.add_parser(
        "demo", help="the main job, end to end", description=text
    )
    demo.add_argument("--output", default="latflow_demo.html", metavar="FILE", help=DEFAULT)
    demo.add_argument(
        "--frames", type=int, default=50_000, metavar="N", help=f"per temperature; {DEFAULT}"
    )
    demo.add_argument("--seed", type=int, default=0, metavar="S", help=DEFAULT)
    demo.add_argument(
        "--jobs", type=int, default=2, metavar="N", help=f"processes that simulate; {DEFAULT}"
    )
    return demo


def run(arguments: argparse.Namespace) -> None:
    """Run the demo and print its table."""
    result = run_demo(
        n_frames=arguments.frames,
        n_reference=arguments.frames,
        output=arguments.output,
        n_jobs=arguments.jobs,
        random_state=arguments.seed,
        report=lambda line: print(line, flush=True),
    )
    print()
    print(readable(result.table).set_index("T").to_string(line_width=LINE_WIDTH))
    print("\nJS in nats; populations ± one standard error.", *result.notes, sep="\n")
    print(f"Report: {result.path} ({result.timings['total']:.0f} s in all)")
