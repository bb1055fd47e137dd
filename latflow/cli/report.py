"""``latflow report``: one HTML page about a model, saved or fitted on the spot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import typer

import latflow
from latflow.cli.config import set_by_file
from latflow.cli.energies import read_logs, with_thermostats
from latflow.cli.fit import Fitting, Model, extrapolates, fitted_to, print_populations
from latflow.cli.inputs import ARRAYS, Trajectories, expanded, structures_of

if TYPE_CHECKING:
    from latflow.structures import Structures


def report(
    context: typer.Context,
    trajectories: Trajectories,
    fitting: Fitting,
    model: str | None = typer.Argument(
        None, metavar="MODEL", help="A file that `latflow fit` wrote."
    ),
    at: list[float] | None = typer.Option(
        None,
        metavar="T...",
        show_default="the simulated ones and those halfway between",
        help="Temperatures to report on.",
    ),
    output: str = typer.Option("report.html", metavar="FILE"),
    save: str | None = typer.Option(
        None, metavar="FILE", help="Also save the model that was fitted."
    ),
) -> None:
    """Write an HTML page about a saved model, or fit one to trajectories first.

    Free energies, populations and states are on the page, at every temperature of a slider; with
    trajectory files real structures, too.

    latflow report MODEL [--at T ...]

    latflow report --trajectory FILE ... --temperature T ... [--topology FILE] [--at T ...]
    """
    target = latflow._validation.check_output(output, "--output")
    latflow._validation.import_extra("matplotlib.figure", "plot")
    at = at and [latflow._validation.check_temperature(t, "--at") for t in at]
    if model is not None:  # named by hand: nothing counts of what a file says about fitting
        by_file = [n for n in ("trajectory", "temperature") if set_by_file(context, n)]
        nothing: dict[str, Any] = dict.fromkeys(by_file)
        trajectories = replace(trajectories, **nothing)
        save = None if set_by_file(context, "save") else save
    if (model is None) == (trajectories.trajectory is None):
        raise ValueError("Expected either MODEL or --trajectory, got both or none of them.")
    if model is not None and save is not None:
        raise ValueError("Expected --save with --trajectory, got it with a saved model.")
    if save is not None:
        latflow._validation.check_output(save, "--save")
    if model is not None:
        estimator, temperatures = _loaded(model), at or trajectories.temperature
        structures = None
    else:
        estimator, structures = _fitted(trajectories, fitting, at or ())
        temperatures = at
    latflow.report.write_model_report(
        target, estimator, temperatures=temperatures, structures=structures
    )
    if save is not None:
        latflow.save(estimator, save)
        print(f"Saved: {save}")
    print_populations(estimator, temperatures)
    print(f"Report: {target}")


def _loaded(file: str) -> Model:
    formats = latflow.featurizers.formats
    if formats.format_of(file) in (*formats.EXTENSIONS, *ARRAYS):
        raise ValueError(
            f"Expected MODEL, a file that `latflow fit` wrote, got {file}: trajectories go behind "
            "--trajectory."
        )
    model: Model = latflow.load(file)
    return model


def _fitted(
    trajectories: Trajectories, fitting: Fitting, at: Sequence[float]
) -> tuple[Model, Structures | None]:
    """Fit a model that reaches all temperatures asked for; return it, and where structures are."""
    trajectories = replace(trajectories, trajectory=expanded(trajectories.trajectory or ()))
    if trajectories.temperature is None and fitting.boltzmann_constant is None:
        trajectories = with_thermostats(trajectories, read_logs(fitting.energy))
    check = latflow._validation.check_temperature
    asked = set(at)
    simulated = {check(t, "--temperature") for t in trajectories.temperature or ()}
    if asked and simulated and not extrapolates(simulated, fitting):
        if not asked & simulated:
            raise ValueError(
                f"Expected --at {min(simulated):g}, the simulated temperature, got "
                f"{', '.join(f'{t:g}' for t in at)}: others need a second simulation."
            )
    elif asked and simulated and fitting.temperature_range is None:
        bounds = latflow.thermodynamics
        low, high = bounds.COLDER * min(simulated), bounds.HOTTER * max(simulated)
        fitting = replace(fitting, temperature_range=(min(low, *asked), max(high, *asked)))
    model, X = fitted_to(trajectories, fitting)
    return model, structures_of(model, X, trajectories)
