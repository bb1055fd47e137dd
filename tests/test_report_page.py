"""A report is one page that shows what it was given and loads nothing from elsewhere."""

from __future__ import annotations

import base64
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from latflow._validation import check_output
from latflow.report import Section, write_report

PNG = b"\x89PNG\r\n\x1a\n"


class Page(HTMLParser):
    """Collects links, images, texts and table cells of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.images: list[bytes] = []
        self.widths: list[int] = []
        self.texts: list[tuple[str, str]] = []
        self.classes: list[str | None] = []
        self._open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self._open.append(tag)
        self.links += [str(found[name]) for name in ("src", "href", "action") if name in found]
        if tag == "td":
            self.classes.append(found["class"])
        if tag == "img":
            data = str(found["src"]).removeprefix("data:image/png;base64,")
            self.images.append(base64.b64decode(data, validate=True))
            self.widths.append(int(str(found["width"])))

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self._open[-1], data.strip()))

    def of(self, tag: str) -> list[str]:
        return [text for name, text in self.texts if name == tag]


def figure() -> Figure:
    found = Figure(figsize=(3, 2))
    found.subplots().plot([0, 1])
    return found


def page(tmp_path: Path, *sections: Section, title: str = "title") -> Page:
    return Page(write_report(tmp_path / "report.html", title=title, sections=sections))


def test_self_contained(tmp_path: Path) -> None:
    found = page(tmp_path, Section("one", figure=figure()), Section("two", figure=figure()))
    assert len(found.images) == 2
    assert all(image.startswith(PNG) for image in found.images)
    assert all(link.startswith("data:") for link in found.links)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script" not in text
    assert "http://" not in text
    assert "https://" not in text
    assert "@import" not in text
    assert "default-src 'none'" in text


def test_figures_are_shown_in_their_own_size(tmp_path: Path) -> None:
    found = page(tmp_path, Section("", figure=figure()))
    assert found.widths == [3 * 96]
    assert int.from_bytes(found.images[0][16:20], "big") == 3 * 144


def test_headings_paragraphs_and_captions_in_order(tmp_path: Path) -> None:
    section = Section("heading", "first\n\nsecond", figure=figure(), caption="below")
    found = page(tmp_path, section, Section("last"), title="the title")
    assert found.of("title") == found.of("h1") == ["the title"]
    assert found.of("h2") == ["heading", "last"]
    assert found.of("p") == ["first", "second"]
    assert found.of("figcaption") == ["below"]


def test_text_is_escaped_everywhere(tmp_path: Path) -> None:
    nasty = "<b>&\"'"
    table = pd.DataFrame({nasty: [nasty]})
    found = page(
        tmp_path, Section(nasty, nasty, table, figure=figure(), caption=nasty), title=nasty
    )
    for tag in ("title", "h1", "h2", "p", "th", "td", "figcaption"):
        assert "".join(found.of(tag)) == nasty


def test_table_cells(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "number": [0.0123456, np.nan],
            "count": [50_000, 7],
            "text": pd.Series(["text", None], dtype=object),
            "formatted": ["-0.20 ± 0.01", "1e-3"],
        }
    )
    found = page(tmp_path, Section("", table=table))
    assert found.of("th") == ["number", "count", "text", "formatted"]
    assert found.of("td") == [
        "0.0123", "50000", "text", "-0.20 ± 0.01", "\N{EN DASH}", "7", "\N{EN DASH}", "1e-3"
    ]  # fmt: skip
    assert found.classes == ["number", "number", "text", "number"] * 2


class Broken:
    """A figure that cannot be drawn."""

    def get_size_inches(self) -> tuple[float, float]:
        return 1.0, 1.0

    def savefig(self, *_: Any, **__: Any) -> None:
        raise RuntimeError("cannot be drawn")


def test_an_old_report_survives_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="cannot be drawn"):
        write_report(path, title="new", sections=[Section("", figure=Broken())])
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_output_in_no_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"`path` in an existing folder, got .*r\.html"):
        write_report(tmp_path / "none" / "r.html", title="", sections=[])
    with pytest.raises(FileNotFoundError, match="`--output` in an existing folder"):
        check_output(tmp_path / "none" / "r.html", "--output")


def test_output_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="`path` to be a file"):
        write_report(tmp_path, title="", sections=[])


def test_a_bare_name_means_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_report("report.html", title="t", sections=[])
    assert (tmp_path / "report.html").is_file()
