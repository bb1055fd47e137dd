"""One version, one list of Pythons, lower bounds that can be pinned, forms that ask the doctor."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FORMS = sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("[!c]*.yml"))


def test_the_version_is_the_same_everywhere() -> None:
    citation = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    released = re.findall(r"^## (\d\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert (citation[1], released[0]) == (PROJECT["version"], PROJECT["version"])


def test_the_workflow_runs_every_python_on_both_systems_and_says_that_it_never_ran() -> None:
    text = (ROOT / ".github/workflows/tests.yml").read_text()
    jobs = yaml.safe_load(text)["jobs"]
    classified = [c.split()[-1] for c in PROJECT["classifiers"] if "Python :: 3." in c]
    assert jobs["newest"]["strategy"]["matrix"] == {
        "os": ["ubuntu-latest", "macos-latest"], "python": classified,
    }  # fmt: skip
    assert set(jobs) >= {"oldest", "docs", "wheel"}
    assert text.startswith("# This has never run")


def test_make_knows_the_oldest_version_of_every_dependency() -> None:
    """The expression of the Makefile that turns lower bounds into pins reads them all."""
    listed = re.findall(
        r'^ *"([a-z0-9-]*)>=([0-9.]*)",$', (ROOT / "pyproject.toml").read_text(), re.M
    )
    assert {f"{name}>={version}" for name, version in listed} >= set(PROJECT["dependencies"])


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.stem)
def test_forms_ask_for_what_the_doctor_says(form: Path) -> None:
    fields = {f["id"]: f for f in yaml.safe_load(form.read_text())["body"] if "id" in f}
    assert "`latflow doctor --json" in fields["doctor"]["attributes"]["description"]
    assert fields["doctor"]["validations"]["required"]


def test_the_form_for_bugs_asks_for_versions() -> None:
    (bug,) = (form for form in FORMS if form.stem == "bug")
    assert "latflow.show_versions()" in bug.read_text()
