"""The page in a real browser: the slider moves everything, and everyone can use it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from structures import argon

from latflow.report import live_data, model_sections, write_report
from latflow.structures import Structures

playwright = pytest.importorskip("playwright.sync_api", reason="`make slow` installs playwright")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
]
DOCS = Path(__file__).parents[1] / "docs/_build/html"
SIZES = [(1200, "light"), (400, "dark")]


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        # a sandbox of its own is refused to root, as whom CI runs
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def written(melting, tmp_path_factory):
    """A report with structures, and what its slider shows."""
    system, model = melting
    X, _ = system.pooled()
    ends = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    sources = [argon(np.stack([*(0 * x[:, 1:] + end for end in ends), x[:, 1:]], 1)) for x in X]
    live = live_data(model, [0.05, 0.7], structures=Structures(model, X, sources))
    path = tmp_path_factory.mktemp("report") / "report.html"
    return write_report(path, title="Report", sections=model_sections(model), live=live), live


@pytest.fixture(params=SIZES, ids=["wide", "narrow and dark"])
def opened(request, browser, written):
    """The page, opened; what it loads or complains of fails the test."""
    width, scheme = request.param
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(written[0].as_uri())
    yield page
    page.close()
    assert said == []
    assert asked == [written[0].as_uri()]


def picture(page, name):
    return page.evaluate(f"document.getElementById('{name}').toDataURL()")


def rows(page):
    cells = page.locator("#states tbody tr").all()
    return [[c.inner_text().strip() for c in row.locator("td").all()] for row in cells]


def spot(page, live, row):
    """Where a frame is drawn in the surface, from the middle of what the script's axes leave."""
    box = page.locator("#surface").bounding_box()
    left, top, right, bottom = 48, 8, box["width"] - 84, box["height"] - 42
    (x0, x1), (y0, y1) = live["surface"]["extent"]
    x, y = live["frames"]["z"][row]
    return {
        "x": left + (x - x0) / (x1 - x0) * (right - left),
        "y": bottom - (y - y0) / (y1 - y0) * (bottom - top),
    }


def test_the_slider_moves_everything_to_the_next_temperature(opened, written) -> None:
    live, stop = written[1], written[1]["start"]
    before = {name: picture(opened, name) for name in ("surface", "curves")}
    opened.locator("#temperature").press("ArrowRight")
    for name, drawn in before.items():
        assert picture(opened, name) != drawn, name
    told = opened.locator("#here").inner_text()
    assert float(told) == live["temperatures"][stop + 1]
    said = opened.locator("#temperature").get_attribute("aria-valuetext")
    assert told in said
    assert live["populations"]["text"][stop + 1][0] in said


def test_numbers_are_those_of_each_stop(opened, written) -> None:
    live = written[1]
    n = len(live["temperatures"])
    for stop in (0, n // 2, n - 1):
        opened.locator("#temperature").fill(str(stop))
        assert rows(opened) == [
            [population, *quantities]
            for population, quantities in zip(
                live["populations"]["text"][stop], live["thermodynamics"][stop], strict=True
            )
        ]
        assert live["reasons"][stop] in opened.locator("#reason").inner_text()
        assert opened.locator("#class").inner_text() == live["support"][stop]


def test_what_melts_stands_on_top(opened, written) -> None:
    (point,) = written[1]["melting"]
    headline = opened.locator(".headline").inner_text()
    assert f"State {point['state']} melts at {point['text']}" in headline
    assert point["support"] in headline
    assert opened.locator(".headline").bounding_box()["y"] < 300


def test_unsupported_is_shaded_and_said(opened, written) -> None:
    stop = written[1]["support"].index("unsupported")
    opened.locator("#temperature").fill(str(stop))
    assert opened.locator("#class").inner_text() == "unsupported"
    assert written[1]["reasons"][stop] in opened.locator("#reason").inner_text()


def test_hovering_names_state_value_error_and_support(opened, written) -> None:
    live = written[1]
    opened.locator("#dots").uncheck()
    opened.locator("#surface").hover(
        position=spot(opened, live, live["frames"]["representatives"][1])
    )
    said = opened.locator("#tip").inner_text()
    stop = live["start"]
    assert "state 1" in said
    assert live["populations"]["text"][stop][1] in said
    assert live["support"][stop] in said
    box = opened.locator("#curves").bounding_box()
    opened.locator("#curves").hover(position={"x": box["width"] / 2, "y": box["height"] / 2})
    assert "±" in opened.locator("#tip").inner_text()


def test_a_click_shows_the_nearest_frame(opened, written) -> None:
    frames = written[1]["frames"]
    before = picture(opened, "molecule")
    z = np.array(frames["z"]) / np.ptp(frames["z"], axis=0)
    distance = np.linalg.norm(z[:, None] - z, axis=-1) + 9 * np.eye(len(z))
    row = int(distance.min(axis=1).argmax())  # the loneliest one
    opened.locator("#surface").click(position=spot(opened, written[1], row))
    told = opened.locator("#place").inner_text()
    clicked = f"frame {frames['frame'][row]} of trajectory {frames['trajectory'][row]}"
    assert told.startswith(clicked)
    assert f"state {frames['state'][row]}" in told
    assert picture(opened, "molecule") != before


def test_the_keyboard_finds_frames_and_turns_them(opened, written) -> None:
    told = opened.locator("#place").inner_text()
    surface = opened.locator("#surface")
    surface.focus()
    for _ in range(12):
        surface.press("ArrowUp")
    assert "here" in surface.get_attribute("aria-label")
    for _ in range(8):
        surface.press("ArrowRight")
    surface.press("Enter")
    assert opened.locator("#place").inner_text() != told
    before = picture(opened, "molecule")
    opened.locator("#molecule").press("ArrowLeft")
    assert picture(opened, "molecule") != before


def test_it_fits_its_window_and_paper(opened) -> None:
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
    opened.emulate_media(media="print")
    assert not opened.locator("#track").is_visible()
    assert opened.locator("#states").is_visible()


def violations(page):
    """Serious ones that axe-core finds, as rule and elements."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    serious = [v for v in found if v["impact"] in ("serious", "critical")]
    return [(v["id"], [node["html"][:120] for node in v["nodes"]][:3]) for v in serious]


def test_everyone_can_use_it(opened) -> None:
    assert violations(opened) == []


@pytest.mark.skipif(not DOCS.exists(), reason="`make docs` has not built them")
@pytest.mark.parametrize("name", ["index.html", "trust.html", "files.html", "clusters.html"])
def test_everyone_can_use_the_docs(browser, name: str) -> None:
    page = browser.new_page()
    page.goto((DOCS / name).as_uri())
    assert violations(page) == []
    page.close()
