"""A command killed at any moment loses nothing that was whole; when repeated, it goes on."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import UNSETTLED, tiny_latf
from structures import flipping

import latflow
from latflow.cli import main
from latflow.datasets import make_three_hole
from latflow.featurizers import load_features

pytestmark = [
    *UNSETTLED,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked here, and killed"),
]
several = pytest.mark.parametrize("n_kills", [5, pytest.param(50, marks=pytest.mark.slow)])

FIT = ("--boltzmann-constant", "1", "--lagtime", "5", "--max-iter", "60", "--bootstraps", "0")


def forked(action: Callable[[], object]) -> int:
    """Start an action in a process of its own, silent; return its number."""
    child = os.fork()
    if child:
        return child
    try:
        warnings.simplefilter("ignore")
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
        action()
    finally:
        os._exit(0)


def kills(action: Callable[[], object], n_kills: int) -> Any:
    """Run an action to its end, then kill it n times at moments spread over as long; yield each.

    The first is yielded as 0: what it leaves is what a whole run leaves.
    """
    start = time.monotonic()
    os.waitpid(forked(action), 0)
    length = time.monotonic() - start
    yield 0
    moments = np.random.default_rng(n_kills).uniform(0, length, n_kills)
    for k, moment in enumerate(moments, start=1):
        child = forked(action)
        time.sleep(moment)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        yield k


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, t in (("cold", 0.8), ("hot", 1.4)):
        np.save(f"{name}.npy", make_three_hole(600, t, random_state=0).trajectories[0])
    return tmp_path


def tiny(seed: int) -> Any:
    data = make_three_hole(300, 1.0, n_walkers=2, random_state=seed)
    return tiny_latf(random_state=seed).fit(data.trajectories, temperature=data.temperature)


def said_by(file: Path) -> bytes:
    """Return what a model answers, or what a page says: one model's files differ in their order."""
    if b"<html" in file.read_bytes():
        return file.read_bytes()
    model = latflow.load(file)
    return bytes(model.transform(np.ones((1, 2))).tobytes() + model.sample(3, 1.0, 0).tobytes())


@several
@pytest.mark.parametrize("command", ["fit", "save", "report"])
def test_a_file_is_the_old_one_or_the_new_one(folder: Path, command: str, n_kills: int) -> None:
    one, other = tiny(0), tiny(1)
    latflow.save(one, "model")
    latflow.save(other, "output")

    def save_by_turns() -> None:
        for model in (other, one) * 20:
            latflow.save(model, "output")

    fit = ["fit", "cold.npy", "hot.npy", "--temperature", "0.8", "1.4", *FIT]
    actions = {
        "fit": lambda: main([*fit, "--output", "output"]),
        "save": save_by_turns,
        "report": lambda: main(["report", "model", "--output", "output"]),
    }
    output, old = folder / "output", (folder / "output").read_bytes()
    read = (folder / "model").read_bytes()
    allowed = {said_by(output)}
    for k in kills(actions[command], n_kills):
        if k == 0:
            allowed.add(said_by(output))
            assert len(allowed) == 2
        assert said_by(output) in allowed
        output.write_bytes(old)
        assert (folder / "model").read_bytes() == read
    os.waitpid(forked(actions[command]), 0)
    assert not list(folder.glob("*.part*"))


@several
def test_features_are_whole_and_the_next_run_goes_on(folder: Path, n_kills: int) -> None:
    for seed, name in enumerate(("one", "two", "three")):
        frames = flipping(300, 3000, seed)
        frames.save(f"{name}.xtc")
    frames[0].save("top.pdb")
    files = ["one.xtc", "two.xtc", "three.xtc"]

    def featurize(*files: str, output: str = "features") -> int:
        return main(["featurize", *files, "--topology", "top.pdb", "--output", output])

    featurize(*files, output="whole")
    expected = load_features("whole").trajectories

    def start_anew() -> None:
        """One file's features are there, whole; those of the others are to come."""
        shutil.rmtree("features", ignore_errors=True)
        featurize("one.xtc")

    start_anew()
    for _ in kills(lambda: featurize(*files), n_kills):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".* files have no features here")
            some = load_features("features").trajectories
        assert 1 <= len(some) <= 3
        for one, other in zip(some, expected, strict=False):
            np.testing.assert_array_equal(one, other)
        assert featurize(*files) == 0
        again = load_features("features").trajectories
        for one, other in zip(again, expected, strict=True):
            np.testing.assert_array_equal(one, other)
        assert not list((folder / "features").glob("*.part*"))
        start_anew()
