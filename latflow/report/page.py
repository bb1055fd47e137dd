"""One self-contained HTML page from text, tables and figures; it loads nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from latflow._validation import check_output, import_extra
from latflow._writing import replacing
from latflow.units import MISSING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


DPI = 144
CSS_PIXELS_PER_INCH = 96


@dataclass(frozen=True)
class Section:
    """One part of a report, in this order from top to bottom.

    Attributes
    ----------
    heading : str
    text : str
        Paragraphs, divided by empty lines.
    table : DataFrame or None
        Its columns are shown and its index is not. Numbers get three digits; text stays as it is.
    figure : matplotlib Figure or None
    caption : str
        Below the figure.
    """

    heading: str
    text: str = ""
    table: pd.DataFrame | None = None
    figure: Figure | None = None
    caption: str = ""


def write_report(
    path: str | os.PathLike[str],
    *,
    title: str,
    sections: Sequence[Section],
    live: Mapping[str, Any] | None = None,
) -> Path:
    """Write a page that needs no other file; an old one is replaced only when all is written.

    Parameters
    ----------
    path : str or path-like
    title : str
    sections : sequence of Section
        A first one without heading stands on top of what `live` draws.
    live : dict, optional
        What :func:`latflow.report.live_data` returns, for the part of the page with a slider; only
        with it does the page run a script, its own, and no other.

    Returns
    -------
    Path
        Where the page is.

    Raises
    ------
    OSError
        If the folder does not exist or cannot be written to.
    """
    target = check_output(path)
    templates = Environment(
        loader=PackageLoader("latflow.report", ""), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True,
    )  # fmt: skip
    templates.filters |= {
        "png": _png, "rows": _rows, "width": _width, "json": _json, "sha256": _sha256,
    }  # fmt: skip
    script = files(__package__).joinpath("live.js").read_text(encoding="utf-8")
    page = templates.get_template("page.html.j2").render(
        title=title, sections=sections, live=live, script=script
    )
    with replacing(target) as part:
        part.write_bytes(page.encode())
    return target


def blank_figure(width: float, height: float) -> Figure:
    """Return a figure that pyplot does not know, so that nothing has to be closed.

    Parameters
    ----------
    width, height : float
        In inches.

    Returns
    -------
    matplotlib Figure
    """
    new_figure: type[Figure] = import_extra("matplotlib.figure", "plot").Figure
    return new_figure(figsize=(width, height), layout="constrained")


def _json(data: Mapping[str, Any]) -> Markup:
    """Return JSON that holds no tag."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))


def _sha256(script: str) -> str:
    """Return what a page's policy calls the one script that may run."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest())
    return f"sha256-{digest.decode('ascii')}"


def _png(figure: Figure) -> str:
    """Draw a figure as PNG for sharp screens, and return it as a URL."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, facecolor="white")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _width(figure: Figure) -> int:
    """Return the pixels in which a figure has its own size, where there is room."""
    return round(CSS_PIXELS_PER_INCH * float(figure.get_size_inches()[0]))


def _rows(table: pd.DataFrame) -> list[tuple[tuple[str, str], ...]]:
    """Return the head and the rows of a table, each cell with its class."""
    columns = []
    for name, column in table.items():
        cells = [str(name), *_cells(column)]
        kind = "number" if _are_numbers(cells[1:]) else "text"
        columns.append([(kind, cell) for cell in cells])
    return list(zip(*columns, strict=True))


def _cells(column: pd.Series[Any]) -> list[str]:
    style = "{:.3g}" if pd.api.types.is_float_dtype(column.dtype) else "{}"
    return [MISSING if pd.isna(value) else style.format(value) for value in column]


def _are_numbers(cells: Sequence[str]) -> bool:
    """Whether all that is not missing begins with a number: such cells stand to the right."""
    texts = [cell.lstrip("-") for cell in cells if cell != MISSING]
    return bool(texts) and all(text[:1].isdigit() for text in texts)
