"""Python code of README and docs runs as it is written; `make docs` runs examples and tutorials."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from structures import PEPTIDE, topology_of, trajectory_of

from latflow.datasets import make_three_hole

ROOT = Path(__file__).parent.parent
# needs a scheduler and processes that no test has
ELSEWHERE = {"clusters.md"}


def blocks(file: Path) -> list[str]:
    """Return the Python code of a Markdown file, each block kept on the lines where it stands."""
    text = file.read_text()
    found = re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return ["\n" * text[: block.start(1)].count("\n") + block[1] for block in found]


PAGES = [page for page in (ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))) if blocks(page)]
pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@pytest.fixture
def files_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that README names, in the folder where its code runs."""
    monkeypatch.chdir(tmp_path)
    for seed, (name, temperature) in enumerate((("cold", 300), ("hot", 450))):
        frames = trajectory_of(topology_of(PEPTIDE), 3000, seed)
        frames.save(f"traj_{temperature}K.xtc")
        np.save(name, make_three_hole(4000, temperature / 300, random_state=seed).trajectories[0])
    frames[0].save("top.pdb")


@pages
def test_code_is_found_and_imports_what_there_is(page: Path) -> None:
    assert len(blocks(page)) == page.read_text().count("```python")
    for code in blocks(page):
        compile(code, page, "exec")
        exec("\n".join(re.findall(r"^(?:from|import) .*$", code, re.MULTILINE)), {})


@pytest.mark.slow
@pytest.mark.usefixtures("files_of_the_user")
@pytest.mark.filterwarnings("ignore::UserWarning")  # random frames have one state
@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.name not in ELSEWHERE], ids=lambda page: page.name
)
def test_code_of_a_page_runs_from_its_first_block_to_its_last(page: Path) -> None:
    names: dict[str, object] = {"__name__": page.stem}
    for code in blocks(page):
        exec(compile(code, page, "exec"), names)


@pytest.mark.slow
def test_the_loop_of_a_biased_simulation_runs(tmp_path: Path) -> None:
    """20 ps of the simulation that the example runs for 2 ns."""
    options = ["--ps", "20", "--frames", "200", "--max-iter", "50", "--figure", "loop.png"]
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "bias_cold_simulation.py", *options],
        env=os.environ | {"MPLBACKEND": "Agg"}, cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = dict(re.findall(r"^(.+?) +phi > 0: (\S+)$", done.stdout, re.MULTILINE))
    assert [*found] == [
        "predicted from 450 and 600 K", "biased simulation, weighted", "all three",
        "parallel tempering",
    ]  # fmt: skip
    assert all(0 <= float(value) <= 1 for value in found.values())
    assert (tmp_path / "loop.png").read_bytes().startswith(b"\x89PNG")
