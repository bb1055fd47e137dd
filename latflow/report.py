"""One self-contained HTML page from text, tables and figures; it loads nothing from elsewhere."""

from __future__ import annotations

import base64
import html
import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from latflow._validation import check_output, import_extra
from latflow._writing import replacing

__all__ = ["Section", "blank_figure", "write_report"]

DPI = 144
CSS_PIXELS_PER_INCH = 96
MISSING = "–"  # noqa: RUF001
STYLE = """
:root { color-scheme: light; }
body { margin: 0 auto; max-width: 72rem; padding: 2.5rem 1.5rem 4rem; background: #fff;
       color: #1d2733; font: 16px/1.55 system-ui, "Segoe UI", Roboto, Helvetica, sans-serif; }
h1 { margin: 0 0 1.5rem; font-size: 1.9rem; line-height: 1.2; letter-spacing: -0.01em; }
h2 { margin: 2.6rem 0 0.6rem; padding-top: 0.9rem; border-top: 1px solid #dfe5ec;
     font-size: 1.2rem; }
p { margin: 0 0 0.9rem; max-width: 46rem; }
.wide { overflow-x: auto; }
table { margin: 0.6rem 0 0.4rem; border-collapse: collapse; font-size: 0.875rem;
        font-variant-numeric: tabular-nums; }
th, td { padding: 0.38rem 0.9rem 0.38rem 0; }
th { border-bottom: 2px solid #1d2733; font-weight: 600; vertical-align: bottom; }
td { border-bottom: 1px solid #e7ecf1; white-space: nowrap; }
.number { text-align: right; }
.text { text-align: left; }
figure { margin: 0.8rem 0 0; }
figcaption { margin-top: 0.5rem; max-width: 46rem; color: #566373; font-size: 0.875rem; }
img { display: block; max-width: 100%; height: auto; }
"""
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


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
    figure: Any = None
    caption: str = ""


def write_report(path: str | os.PathLike[str], *, title: str, sections: Sequence[Section]) -> Path:
    """Write a page that needs no other file; an old one is replaced only when all is written.

    Parameters
    ----------
    path : str or path-like
    title : str
    sections : sequence of Section

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
    body = "\n".join(_section(section) for section in sections)
    page = PAGE.format(title=html.escape(title), style=STYLE, body=body)
    with replacing(target) as part:
        part.write_bytes(page.encode())
    return target


def blank_figure(width: float, height: float) -> Any:
    """Return a figure that pyplot does not know, so that nothing has to be closed.

    Parameters
    ----------
    width, height : float
        In inches.

    Returns
    -------
    matplotlib Figure
    """
    figures = import_extra("matplotlib.figure", "plot")
    return figures.Figure(figsize=(width, height), layout="constrained")


def _section(section: Section) -> str:
    parts = [f"<h2>{html.escape(section.heading)}</h2>"] if section.heading else []
    for paragraph in section.text.split("\n\n"):
        if paragraph.strip():
            parts.append(f"<p>{html.escape(paragraph.strip())}</p>")
    if section.table is not None:
        parts.append(_table(section.table))
    if section.figure is not None:
        caption = f"<figcaption>{html.escape(section.caption)}</figcaption>"
        image = _image(section.figure, section.heading)
        parts.append(f"<figure>{image}{caption if section.caption else ''}</figure>")
    return "\n".join(parts)


def _image(figure: Any, name: str) -> str:
    """Draw a figure as PNG for sharp screens, shown in its own size where there is room."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, facecolor="white")
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    width = round(CSS_PIXELS_PER_INCH * figure.get_size_inches()[0])
    return f'<img alt="{html.escape(name)}" width="{width}" src="data:image/png;base64,{data}">'


def _table(table: pd.DataFrame) -> str:
    kinds = [
        "number" if _holds_numbers(table.iloc[:, k]) else "text" for k in range(table.shape[1])
    ]
    head = _row("th", table.columns, kinds)
    body = "".join(_row("td", row, kinds) for row in table.itertuples(index=False, name=None))
    return f'<div class="wide"><table><thead>{head}</thead><tbody>{body}</tbody></table></div>'


def _row(tag: str, values: Iterable[Any], kinds: Sequence[str]) -> str:
    cells = (
        f'<{tag} class="{kind}">{html.escape(_cell(value))}</{tag}>'
        for value, kind in zip(values, kinds, strict=True)
    )
    return f"<tr>{''.join(cells)}</tr>"


def _holds_numbers(column: pd.Series[Any]) -> bool:
    """Whether a column holds numbers, or text that begins with one: they stand to the right."""
    if pd.api.types.is_numeric_dtype(column.dtype):
        return True
    texts = [str(value).lstrip("-") for value in column if value != MISSING]
    return bool(texts) and all(text[:1].isdigit() for text in texts)


def _cell(value: Any) -> str:
    if isinstance(value, float | np.floating):
        return f"{value:.3g}" if np.isfinite(value) else MISSING
    return MISSING if value is None else str(value)
