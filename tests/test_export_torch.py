"""TorchScript files compute what the model computes, of features and of positions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import UNSETTLED
from export_cases import ENCODERS, FEATURIZERS, alanine, fitted, sorted_numbers, triclinic

from latflow.export import torchscript
from latflow.featurizers import GVectors, Torsions

pytestmark = [
    *UNSETTLED,
    pytest.mark.filterwarnings("ignore:`torch.jit.load` is deprecated:DeprecationWarning"),
]
CASES = FEATURIZERS | {"sorted": (alanine, sorted_numbers()), "triclinic": triclinic()}


def read(path: Path, model: Any, **options: Any) -> Any:
    torchscript(model, path, **options)
    return torch.jit.load(str(path))


@pytest.mark.parametrize("name", CASES)
def test_files_compute_the_variables(name: str, tmp_path: Path) -> None:
    simulate, featurizer = CASES[name]
    trajectory = simulate()
    model = fitted(trajectory, featurizer, **ENCODERS["one layer"])
    x = featurizer.transform(trajectory)
    expected = model.transform(x)
    assert expected.std(axis=0).min() > 0.01
    function = read(tmp_path / "z.pt", model)
    np.testing.assert_allclose(function(torch.tensor(x)), expected, atol=1e-5)
    inputs = [torch.tensor(trajectory.xyz)]
    if trajectory.unitcell_vectors is not None:
        inputs.append(torch.tensor(trajectory.unitcell_vectors[0]))
    options = {"inputs": "positions" if len(inputs) == 1 else "positions and box"}
    function = read(tmp_path / "z.pt", model, **options)
    np.testing.assert_allclose(function(*inputs), expected, atol=1e-5)
    one = function(inputs[0][5], *inputs[1:])
    np.testing.assert_allclose(one, expected[5], atol=1e-5)


def test_single_variables_are_energies(tmp_path: Path) -> None:
    model = fitted(alanine(), Torsions(), **ENCODERS["two layers"])
    xyz = torch.tensor(alanine().xyz[3], requires_grad=True)
    every = read(tmp_path / "z.pt", model, inputs="positions")(xyz)
    for k in (1, 2, 3):
        one = read(tmp_path / "z.pt", model, inputs="positions", variable=k)(xyz)
        assert one.shape == ()
        assert float(one.detach()) == float(every[k - 1].detach())
        (force,) = torch.autograd.grad(one, xyz)
        assert float(force.abs().max()) > 0


def test_shapes_that_programs_pass(tmp_path: Path) -> None:
    function = read(tmp_path / "z.pt", fitted(alanine(), Torsions(), **ENCODERS["one layer"]))
    for shape in ((4,), (1, 4), (7, 4), (2, 3, 4)):
        assert function(torch.zeros(shape)).shape == (*shape[:-1], 2)
        assert function(torch.zeros(shape)).dtype == torch.float32


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"inputs": "angles"}, "`inputs` to be one of features, positions, positions and box, got"),
        ({"variable": 3}, "`variable` to be at most 2, got 3"),
        ({"variable": 0}, "`variable` to be an integer >= 1, got 0"),
    ],
)
def test_wrong_options(options: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=sentence):
        torchscript(fitted(alanine(), Torsions()), tmp_path / "z.pt", **options)
    assert not list(tmp_path.iterdir())


def test_features_of_no_known_making_are_refused(tmp_path: Path) -> None:
    model = fitted(alanine(), Torsions())
    model.manifest_ = None
    with pytest.raises(ValueError, match="knows how its features were made"):
        torchscript(model, tmp_path / "z.pt")
    with pytest.raises(ValueError, match=r"features of Concatenate, .* got those of GVectors"):
        torchscript(fitted(*gvectors()), tmp_path / "z.pt")
    assert not list(tmp_path.iterdir())


def gvectors() -> Any:
    from structures import RNA, topology_of, trajectory_of

    return trajectory_of(topology_of(RNA), 60), GVectors()
