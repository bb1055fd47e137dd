"""Docs say what there is: names, links, warnings, needs. `make docs` runs the examples."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from pathlib import Path

import pytest

import latflow

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
EXAMPLES = sorted((ROOT / "examples").glob("plot_*.py"))
TUTORIALS = sorted((DOCS / "tutorial").glob("plot_*.py"))
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("**/*.md"))]
# names of a room of which no user needs a page
INNER = {"estimators", "persistence", "trajectories"}


def links(page: Path) -> list[str]:
    """Return the targets of links and pictures of a Markdown page that are files of its own."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    found = re.findall(r"\]\(([^)\s]+)\)", text)
    return [link for link in found if not re.match(r"https?:|mailto:|#", link)]


def exists(page: Path, link: str) -> bool:
    target = (page.parent / link.partition("#")[0]).resolve()
    made = {DOCS / "gallery": ROOT / "examples", DOCS / "tutorials": DOCS / "tutorial"}
    if target.parent in made:  # what sphinx-gallery writes
        source = made[target.parent] / target.name
        return target.name == "index.rst" or source.with_suffix(".py").exists()
    return target.exists() or target.parent == DOCS / "reference"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_lead_to_files(page: Path) -> None:
    assert [link for link in links(page) if not exists(page, link)] == []


def test_links_are_found() -> None:
    assert sum(len(links(page)) for page in PAGES) > 15
    assert not exists(DOCS / "index.md", "gallery/plot_nothing.rst")


@pytest.mark.parametrize("script", [*EXAMPLES, *TUTORIALS], ids=lambda script: script.stem)
def test_an_example_has_a_title_and_ends_in_a_figure(script: Path) -> None:
    text = script.read_text()
    title, rule = (ast.get_docstring(ast.parse(text)) or "\n").splitlines()[:2]
    assert re.fullmatch("=+", rule)
    assert len(rule) == len(title)
    assert "plt.show()" in text
    if script in EXAMPLES:
        assert text.rstrip().endswith("plt.show()")
        assert 30 <= text.count("\n") <= 80


def test_every_public_room_and_name_is_in_the_reference() -> None:
    page = set(re.findall(r"^   (\w+)$", (DOCS / "api.md").read_text(), re.MULTILINE))
    rooms = {name for name in latflow.__all__ if hasattr(getattr(latflow, name), "__path__")}
    rooms |= {name for name in latflow.__all__ if name not in latflow._ROOM_OF}
    in_rooms = {n for room in rooms - INNER for n in import_module(f"latflow.{room}").__all__}
    wanted = (rooms - INNER) | (set(latflow._ROOM_OF) - in_rooms)
    assert sorted(wanted - page) == []
