"""A fitted model as one page: its sections, and what it says at every temperature."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from latflow._validation import check_output
from latflow.report.live import live_data
from latflow.report.page import write_report
from latflow.report.sections import Model, model_sections
from latflow.structures import Structures

TITLE = "Latent thermodynamic flow"


def write_model_report(
    path: str | os.PathLike[str],
    model: Model,
    *,
    temperatures: Sequence[float] | None = None,
    structures: Structures | None = None,
    title: str = TITLE,
) -> Path:
    """Write a page about a fitted model, with a slider for the temperature; it needs no other file.

    Parameters
    ----------
    path : str or path-like
        An old page is replaced only when all is written.
    model : LaTFEstimator or TemperatureExtrapolator
        Fitted, or loaded.
    temperatures : sequence of float, optional
        To report on, and for the slider to stop at; the simulated ones, and those halfway between,
        if not given.
    structures : Structures, optional
        Of the frames that the model was fitted on: a click in the free-energy surface then names
        the file, and shows the molecule.
    title : str, optional

    Returns
    -------
    Path
        Where the page is.

    Raises
    ------
    ValueError
        If the model knows none of the temperatures.
    OSError
        If the folder does not exist or cannot be written to.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> from latflow.report import write_model_report
    >>> write_model_report("report.html", model)  # doctest: +SKIP
    """
    target = check_output(path)
    sections = model_sections(model, temperatures)
    live = live_data(model, temperatures, structures=structures)
    return write_report(target, title=title, sections=sections, live=live)
