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


def test_the_gallery_is_large() -> None:
    assert len(EXAMPLES) >= 15
    assert len(TUTORIALS) == 2


def test_every_public_room_and_name_is_in_the_reference() -> None:
    page = set(re.findall(r"^   (\w+)$", (DOCS / "api.md").read_text(), re.MULTILINE))
    rooms = {name for name in latflow.__all__ if hasattr(getattr(latflow, name), "__path__")}
    rooms |= {name for name in latflow.__all__ if name not in latflow._ROOM_OF}
    in_rooms = {n for room in rooms - INNER for n in import_module(f"latflow.{room}").__all__}
    wanted = (rooms - INNER) | (set(latflow._ROOM_OF) - in_rooms)
    assert sorted(wanted - page) == []


def texts(node: ast.AST) -> list[list[str]]:
    """Return the literal pieces of each string in a syntax tree, formatted values left out."""
    if isinstance(node, ast.JoinedStr):
        return [[str(v.value) for v in node.values if isinstance(v, ast.Constant)]]
    if isinstance(node, ast.Constant):
        return [[node.value]] if isinstance(node.value, str) else []
    return [text for child in ast.iter_child_nodes(node) for text in texts(child)]


def sentences(node: ast.AST) -> list[list[str]]:
    """Return the pieces of what a node warns with, or makes for others to warn with."""
    parts: list[ast.AST] = []
    called = getattr(node, "func", None)
    if "warn" in {getattr(called, "attr", ""), getattr(called, "id", "")}:
        parts = node.args[:1]
    elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "sentence":
        parts = [node.value]
    elif isinstance(node, ast.FunctionDef) and node.name in {"sentence", "_withheld"}:
        parts = list(node.body[-1:] if node.name == "_withheld" else node.body[1:])
    return [text for part in parts for text in texts(part)]


def warnings_of_the_package() -> dict[str, str]:
    """Return where each warning stands, by its longest piece."""
    told = {}
    for file in sorted((ROOT / "latflow").glob("**/*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            for pieces in sentences(node):
                longest = max(pieces, key=len, default="").strip(" .,:;(")
                if len(longest) > 15:
                    told[longest] = f"{file.relative_to(ROOT)}:{node.lineno}"
    return told


def test_troubleshooting_quotes_every_warning() -> None:
    page = plain((DOCS / "guide" / "troubleshooting.md").read_text())
    told = warnings_of_the_package()
    assert len(told) > 40
    assert {place: text for text, place in told.items() if beginning(plain(text)) not in page} == {}


def plain(text: str) -> str:
    return re.sub(r"\s+", " ", text.replace("`", ""))


def beginning(text: str) -> str:
    """Return the first words of a text, whole ones of 40 characters at least if it has them."""
    return re.match(r".{0,40}\S*", text)[0].strip(" .,:;(")


def test_needs_are_answered_by_names_that_exist() -> None:
    page = (DOCS / "guide" / "needs.md").read_text()
    assert re.findall(r"^\| (\d+) \|", page, re.MULTILINE) == [str(k) for k in range(1, 26)]
    names = set(re.findall(r"`latflow((?:\.\w+)+)", page)) - {".importance"}
    assert len(names) > 20
    for name in sorted(names):
        thing: object = latflow
        for part in name[1:].split("."):
            thing = getattr(thing, part)
    bare = re.findall(r"`(\w+_?)(?:\(\w*[^`]*\))?`", page)
    methods = {name for name in bare if hasattr(latflow.TemperatureExtrapolator, name)}
    assert {
        "support",
        "cross_check",
        "validate",
        "thermodynamics",
        "melting_temperature",
    } <= methods
