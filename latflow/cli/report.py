"""``latflow report``: one HTML page about a model, saved or fitted on the spot."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from latflow._validation import check_output, check_temperature, import_extra
from latflow.cli.fit import LINE_WIDTH, Model, add_model_options, fitted
from latflow.cli.inputs import ARRAYS, add_files, add_molecules
from latflow.estimators.extrapolator import COLDER, HOTTER
from latflow.featurizers.readers import EXTENSIONS
from latflow.persistence import load, save
from latflow.report import write_report
from latflow.summary import model_sections, population_table

__all__ = ["add", "run"]


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the command."""
    report: argparse.ArgumentParser = commands.add_parser(
        "report",
        help="free energies, populations and states as one HTML page",
        description="Write an HTML page about a saved model, or fit one to trajectories first.",
        usage="latflow report MODEL [--at T ...] [options], or\n       latflow report --trajectory "
        "FILE [FILE ...] --temperature T [T ...] [--topology FILE] [--at T ...] [options]",
    )
    model = report.add_argument("model", metavar="MODEL", help="a file that `latflow fit` wrote")
    model.required = False
    report.add_argument(
        "--at", nargs="+", action="extend", type=float, metavar="T",
        help="temperatures to report on; default: the simulated ones and those halfway between",
    )  # fmt: skip
    report.add_argument("--output", default="report.html", metavar="FILE", help="default: "
                        "%(default)s")  # fmt: skip
    report.add_argument("--save", metavar="FILE", help="also save the model that was fitted")
    add_files(report, positional=False)
    add_molecules(report)
    add_model_options(report)
    return report


def run(arguments: argparse.Namespace) -> None:
    """Load or fit a model and write its page."""
    output = check_output(arguments.output, "--output")
    import_extra("matplotlib.figure", "plot")
    saved = None if arguments.save is None else check_output(arguments.save, "--save")
    if (arguments.model is None) == (arguments.files is None):
        arguments.parser.error("Expected either MODEL or --trajectory, got both or none of them")
    if arguments.model is not None:
        if saved is not None:
            raise ValueError("Expected --save with --trajectory, got it with a saved model.")
        if Path(arguments.model).suffix in (*EXTENSIONS, *ARRAYS):
            raise ValueError(
                f"Expected MODEL, a file that `latflow fit` wrote, got {arguments.model}: "
                "trajectories go behind --trajectory."
            )
        model, wanted = load(arguments.model), arguments.at or arguments.temperature
    else:
        model, wanted = _fitted(arguments), arguments.at
    sections = model_sections(model, wanted)
    write_report(output, title="Latent thermodynamic flow", sections=sections)
    if saved is not None:
        save(model, saved)
        print(f"Saved: {saved}")
    table = population_table(model, wanted)
    print(table.set_index("T").to_string(line_width=LINE_WIDTH))
    print(f"Report: {output}")


def _fitted(arguments: argparse.Namespace) -> Model:
    """Fit a model that reaches all temperatures asked for."""
    wanted = [check_temperature(t, "--at") for t in arguments.at or ()]
    simulated = [check_temperature(t, "--temperature") for t in arguments.temperature or ()]
    if wanted and simulated and len(set(simulated)) == 1 and arguments.method is None:
        if set(wanted) != set(simulated):
            raise ValueError(
                f"Expected --at {simulated[0]:g}, the simulated temperature, got "
                f"{', '.join(f'{t:g}' for t in wanted)}: others need a second simulation."
            )
    elif wanted and simulated and arguments.temperature_range is None:
        low, high = COLDER * min(simulated), HOTTER * max(simulated)
        arguments.temperature_range = [min(low, *wanted), max(high, *wanted)]
    return fitted(arguments)
