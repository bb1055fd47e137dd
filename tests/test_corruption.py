"""Damaged files are refused in one sentence, or read as numpy and mdtraj read the same bytes."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

IN_A_CHILD = "sys.modules['latflow.featurizers.containment'].contained"
BENCHMARKS = Path(__file__).parent.parent / "benchmarks"

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="limits are those of Linux"),
    # each child has one thread: that which forked it
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
]


@pytest.fixture
def inputs(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("inputs")


@pytest.mark.parametrize(("kind", "n"), [("models", 200), ("colvars", 100), ("trajectories", 40)])
def test_damaged_files(inputs: ModuleType, tmp_path: Path, kind: str, n: int) -> None:
    make, same = inputs.KINDS[kind]
    for one in make(tmp_path):
        counts, examples = inputs.ends(one, n, same, seed=1)
        assert set(counts) <= set(inputs.ENDS[:2]), examples
        assert counts["refused"] > n / 4  # few bytes of a file say nothing


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "n"), [("models", 2000), ("colvars", 2000), ("trajectories", 200)]
)
def test_more_damaged_files(inputs: ModuleType, tmp_path: Path, kind: str, n: int) -> None:
    make, same = inputs.KINDS[kind]
    for one in make(tmp_path):
        counts, examples = inputs.ends(one, n, same, seed=2)
        assert set(counts) <= set(inputs.ENDS[:2]), examples


class TestHowEndsAreTold:
    """Of readers that do what no reader may do."""

    @pytest.mark.parametrize(
        ("text", "how"),
        [
            ("os.kill(os.getpid(), 11)", "crashed"),
            ("time.sleep(60)", "hung"),
            ("while True: pass", "hung"),
            (f"list({IN_A_CHILD}(lambda: iter(int, 1)))", "hung"),
            ("bytes(3 * 2**30)", "out of memory"),
            ("1 / 0", "another error"),
            ("sys.exit(1)", "another error"),
            ("int('x')", "no sentence"),
            ("os.system('true')", "executed"),
            ("raise OSError('Expected a whole file, got half of one.')", "refused"),
            ("np.ones(3)", "read"),
        ],
    )
    def test_ends(
        self, inputs: ModuleType, text: str, how: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        damage = importlib.import_module("damage")
        monkeypatch.setattr(damage, "SECONDS", 1)
        monkeypatch.setattr(damage, "PATIENCE", 2)
        names = {name: importlib.import_module(name) for name in ("os", "sys", "time")}
        assert damage.end_of(lambda: exec(text, names | {"np": np})).how == how

    @pytest.mark.usefixtures("inputs")
    def test_damage_is_of_every_kind_and_changes_something(self) -> None:
        damage = importlib.import_module("damage")
        generator, content = np.random.default_rng(0), os.urandom(500)
        made = [damage.damaged(content, generator) for _ in range(200)]
        assert {kind for _, kind in made} == {"flipped", "cut", "doubled", "swapped"}
        assert all(bad != content for bad, _ in made)
        assert len({bad for bad, _ in made}) > 190
