"""PLUMED's inputs compute what the model computes, by an evaluator of their actions."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from export_cases import CLOSEST, ENCODERS, FEATURIZERS, alanine, fitted, sorted_numbers
from plumed_actions import actions, evaluate

from latflow.export import plumed
from latflow.featurizers import Torsions

HEAD = """# z1: collective variables of latflow #
# Modules of PLUMED beyond a default build: none
# Atoms are numbered from 1, as the 22 of the model's topology
# Units: nm and rad; the variables are not periodic
UNITS LENGTH=nm
# f1 is cos_phi_ALA2
t_5_7_9_15: TORSION ATOMS=5,7,9,15
f1: CUSTOM ARG=t_5_7_9_15 FUNC=cos(x) PERIODIC=NO
# f2 is sin_phi_ALA2
f2: CUSTOM ARG=t_5_7_9_15 FUNC=sin(x) PERIODIC=NO
"""
LINEAR = """z1_sum: COMBINE ...
  ARG=f1,f2
  COEFFICIENTS=#,#
  PERIODIC=NO
...
z1: CUSTOM ARG=z1_sum FUNC=x# PERIODIC=NO
PRINT ARG=z1 STRIDE=100 FILE=COLVAR
"""
ANN = """ann: ANN ...
  ARG=f1,f2
  NUM_LAYERS=3
  NUM_NODES=2,2,1
  ACTIVATIONS=Tanh,Linear
  WEIGHTS0=#,#,#,#
  BIASES0=#,#
  WEIGHTS1=#,#
  BIASES1=#
...
z1: COMBINE ARG=ann.node-0 PERIODIC=NO
PRINT ARG=z1 STRIDE=100 FILE=COLVAR
"""


def written(path: Path, model: Any, **options: Any) -> str:
    plumed(model, path / "plumed.dat", **options)
    return (path / "plumed.dat").read_text()


def features_of(text: str, values: dict[str, Any]) -> tuple[list[str], Any]:
    """Return the names of the features, as the comments say them, and their values."""
    named = re.findall(r"^# (\S+) is (.+)$", text, re.MULTILINE)
    return [name for _, name in named], np.column_stack([values[label] for label, _ in named])


def agrees(text: str, model: Any, featurizer: Any, trajectory: Any) -> None:
    values = evaluate(text, trajectory)
    names, features = features_of(text, values)
    assert names == featurizer.feature_names_
    np.testing.assert_allclose(features, featurizer.transform(trajectory), atol=1e-5)
    z = np.column_stack([values[f"z{k + 1}"] for k in range(model.n_components_)])
    np.testing.assert_allclose(z, model.transform(features), atol=1e-9)
    assert z.std(axis=0).min() > 0.01


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("name", FEATURIZERS)
def test_text_computes_the_variables(name: str, encoder: str, tmp_path: Path) -> None:
    simulate, featurizer = FEATURIZERS[name]
    trajectory = simulate()
    model = fitted(trajectory, featurizer, **ENCODERS[encoder])
    agrees(written(tmp_path, model), model, featurizer, trajectory)
    text = written(tmp_path, model, network="ann")
    agrees(text, model, featurizer, trajectory)
    used = {action for _, action, _ in actions(text)}
    assert ("ANN" in used) == (encoder != "linear")
    assert ("beyond a default build: annfunc" in text) == ("ANN" in used)


def test_sorted_coordination_numbers(tmp_path: Path) -> None:
    featurizer, trajectory = sorted_numbers(), alanine()
    model = fitted(trajectory, featurizer)
    agrees(written(tmp_path, model), model, featurizer, trajectory)


def test_text_is_laid_out_as_the_manual_says(tmp_path: Path) -> None:
    trajectory = alanine()
    linear = fitted(trajectory, Torsions("phi"), encoder="linear", n_components=1)
    mlp = fitted(trajectory, Torsions("phi"), hidden_features=(2,), n_components=1)
    for model, options, expected in [
        (linear, {}, HEAD + LINEAR),
        (mlp, {"network": "ann"}, HEAD.replace(": none", ": annfunc, for ANN") + ANN),
    ]:
        text = written(tmp_path, model, stride=100, **options)
        text = text.replace(re.findall(r"latflow (\S+)", text)[0], "#")
        assert re.sub(r"[-+]?\d+\.\d+(e-?\d+)?", "#", text) == expected


@pytest.mark.parametrize(("hidden", "action"), [((32, 32), "CUSTOM"), ((65,), "ANN")])
def test_many_hidden_units_are_one_action(
    hidden: tuple[int, ...], action: str, tmp_path: Path
) -> None:
    trajectory = alanine()
    model = fitted(trajectory, Torsions(), hidden_features=hidden)
    text = written(tmp_path, model)
    assert ("ANN" in text) == (action == "ANN")
    agrees(text, model, Torsions().fit(trajectory), trajectory)


def test_too_many_pairs_are_refused_with_their_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("latflow.export.plumed_input.MOST_PAIRS", 14)
    model = fitted(alanine(), CLOSEST)
    with pytest.raises(ValueError, match=r"at most 14 atom pairs each, .* of 15"):
        written(tmp_path, model)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ({"network": "torch"}, "`network` to be one of auto, custom, ann, got 'torch'"),
        ({"stride": 0}, "`stride` to be an integer >= 1, got 0"),
    ],
)
def test_wrong_options(option: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    model = fitted(alanine(), Torsions())
    with pytest.raises(ValueError, match=sentence):
        plumed(model, tmp_path / "plumed.dat", **option)
