"""``latflow doctor``: checks of data before a fit, or of a model after it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

import latflow
from latflow.cli.energies import energies_of, read_logs, with_thermostats
from latflow.cli.inputs import ARRAYS, Trajectories, read_features, with_files


def doctor(
    context: typer.Context,
    trajectories: Trajectories,
    files: list[str] | None = typer.Argument(
        None,
        metavar="FILE",
        help="Trajectories as `latflow fit` takes them; or a model that it wrote, alone or with "
        "the data it was fitted to.",
    ),
    energy: list[str] | None = typer.Option(
        None, metavar="FILE...", help="Potential energies, one file a trajectory, as for a fit."
    ),
    lagtime: int | None = typer.Option(
        None, metavar="N", show_default="that of the model, or 1", help="In frames kept."
    ),
    boltzmann_constant: float | None = typer.Option(
        None,
        metavar="K",
        show_default="that of the model, or 0.00831446",
        help="In kJ/mol/K, or 1 for reduced units.",
    ),
    seeds: int = typer.Option(
        2, metavar="N", help="Fits from other seeds, where a model and its data are given."
    ),
    json: bool = typer.Option(False, "--json", help="Print JSON, to be sent with a question."),
    output: str | None = typer.Option(
        None, metavar="FILE", show_default="no page", help="HTML page to write."
    ),
) -> None:
    """Check data before a fit, or a model after it.

    Each check says pass, warn, fail or not checked, with a figure and a cure; the program ends with
    1 if one fails.

    latflow doctor FILE ... --temperature T ... [--topology FILE] [--energy FILE ...]

    latflow doctor MODEL [FILE ... --temperature T ...]
    """
    target = None if output is None else latflow._validation.check_output(output, "--output")
    names = list(files or ())
    model = latflow.load(names.pop(0)) if names and _is_model(names[0]) else None
    settings: dict[str, Any] = {"lagtime": lagtime, "boltzmann_constant": boltzmann_constant}
    settings["n_seeds"] = latflow._validation.check_count(seeds, "seeds", minimum=0)
    if model is None or names or trajectories.trajectory:
        trajectories = with_files(context, names, trajectories)
        X, known = _data(trajectories, energy, boltzmann_constant, model)
        settings |= known
        diagnosis = latflow.diagnose(*([X] if model is None else [model, X]), **settings)
    else:
        diagnosis = latflow.diagnose(model, **settings)
    print(diagnosis.to_json() if json else diagnosis)
    if target is not None:
        sections = latflow.report.diagnosis_sections(diagnosis)
        latflow.report.write_report(target, title="latflow doctor", sections=sections)
    if diagnosis.verdict == "fail":
        raise typer.Exit(1)


def _is_model(file: str) -> bool:
    """Whether a file is neither a folder, a trajectory, an array nor a COLVAR."""
    featurizers = latflow.featurizers
    if featurizers.formats.format_of(file) in (*featurizers.formats.EXTENSIONS, *ARRAYS):
        return False
    return Path(file).is_file() and not featurizers.colvar.is_colvar(file)


def _data(
    trajectories: Trajectories,
    energy: list[str] | None,
    boltzmann_constant: float | None,
    model: Any,
) -> tuple[Any, dict[str, Any]]:
    """Return features, and by name what is known of their frames."""
    if boltzmann_constant is None and model is not None:
        boltzmann_constant = model.units_.boltzmann_constant
    in_kelvin = boltzmann_constant in (None, latflow.units.BOLTZMANN_CONSTANT)
    logs = read_logs(energy, finite=False)
    if in_kelvin:
        trajectories = with_thermostats(trajectories, logs)
    X, temperature, weights = read_features(trajectories, boltzmann_constant, finite=False)
    known: dict[str, Any] = {"temperature": temperature, "weights": weights}
    if energy is not None:
        named = temperature if in_kelvin else None
        known["energy"] = energies_of(logs, energy, X, named)
    return X, known
