"""COLVAR files of PLUMED in the command line: columns, biases and temperatures."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from sklearn.utils import Bunch
from test_cli import QUICK, refused

import latflow
from latflow import LaTFEstimator
from latflow.cli import main
from latflow.datasets import make_three_hole
from latflow.featurizers import read_colvar

pytestmark = pytest.mark.filterwarnings("ignore:.*state:UserWarning")

OPTIONS = {
    "lagtime": 5,
    "max_iter": 60,
    "boltzmann_constant": 1,
    "random_state": 0,
}


def colvar(data: Bunch) -> str:
    """Return the file that PLUMED's PRINT writes of a simulation of x and y, and an angle of x."""
    (X,) = data.trajectories
    table = np.column_stack([0.2 * np.arange(len(X)), X, X[:, 0] / 2, np.sin(X[:, 1])])
    lines = ["#! FIELDS time x y phi r.bias", "#! SET min_phi -pi", "#! SET max_phi pi"]
    return "\n".join([*lines, *("".join(f" {v:f}" for v in row) for row in table), ""])


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    cold, hot = (make_three_hole(600, t, n_walkers=1, random_state=0) for t in (0.8, 1.4))
    Path("COLVAR.0").write_text(colvar(cold))
    Path("COLVAR.1.gz").write_bytes(gzip.compress(colvar(hot).encode()))
    return ["COLVAR.0", "COLVAR.1.gz"]


def answers(path: str = "model.latflow") -> list[float]:
    model = latflow.load(path)
    return list(model.state_populations(model.temperatures_[0])["population"])


def test_fit_is_what_the_reader_and_the_estimators_do(files: list[str]) -> None:
    biased = ["--bias", "r.bias", "--features", "x", "y"]
    assert main(["fit", files[0], "--temperature", "0.8", *biased, *QUICK]) == 0
    data = read_colvar(
        files[0], features=["x", "y"], bias="r.bias", temperature=0.8, boltzmann_constant=1
    )
    model = LaTFEstimator(**OPTIONS)
    model.fit(data.trajectories, temperature=data.temperature, weights=data.weights)
    latflow.save(model, "other")
    assert answers() == answers("other")
    assert main(["fit", files[0], "--temperature", "0.8", "--features", "x", "y", *QUICK]) == 0
    assert answers() != answers("other")


def test_temperatures_patterns_strides_and_angles(files: list[str]) -> None:
    options = ["--temperature", "0.8", "1.4", "--bias", "r.bias", "--stride", "2", "3", *QUICK]
    assert main(["fit", "COLVAR.*", *options]) == 0
    model = latflow.load("model.latflow")
    assert model.temperatures_.tolist() == [0.8, 1.4]
    assert model.n_features_in_ == 4  # x, y, and the cosine and sine of phi
    assert [len(labels) for labels in model.labels_] == [300, 200]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["COLVAR.0"], "Expected --temperature, one value or one per file, got none."),
        (
            ["COLVAR.0", "--temperature", "1"],
            "Expected --features or --bias with columns of a bias (r.bias) in COLVAR.0, which are "
            "no features, got neither for these.",
        ),
        (
            ["COLVAR.0", "--temperature", "1", "--topology", "COLVAR.0"],
            "Expected --topology with trajectory files only, got it with COLVARs.",
        ),
        (
            ["x.npy", "--temperature", "1", "--bias", "r.bias"],
            "Expected --bias with COLVAR files only, got it with others.",
        ),
        (
            ["COLVAR.0", "--temperature", "1", "--features", "z"],
            "Expected the column z in COLVAR.0, which has time, x, y, phi, r.bias above line 4.",
        ),
        (
            ["COLVAR.0", "x.npy", "--temperature", "1"],
            "Expected COLVAR files alone, got them with others (x.npy).",
        ),
        (
            ["HILLS", "--temperature", "1"],
            "Expected a COLVAR file, as PLUMED's PRINT writes it, got HILLS, which lists hills of "
            "metadynamics or OPES (columns sigma_x, height).",
        ),
    ],
)
def test_refuses(
    files: list[str], capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    np.save("x.npy", np.zeros((10, 2)))
    Path("HILLS").write_text("#! FIELDS time x sigma_x height biasf\n 0 0 1 1 10\n")
    assert refused(capsys, "fit", *arguments) == sentence


def test_featurize_takes_no_bias(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, "featurize", "run.xtc", "--bias", "r.bias")
    assert said == "Expected --bias with COLVAR files only, got it with others."
