"""Every export computes what `transform` does, on a thousand frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import colvars_configuration
import numpy as np
import plumed_actions
import pytest
import torch
from conftest import UNSETTLED
from export_cases import ENCODERS, FEATURIZERS, fitted
from test_export_openmm import BOXED, context_of, topology_of, variables

from latflow.export import colvars, openmm_force, plumed, torchscript

pytestmark = [
    *UNSETTLED,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:`torch.jit.load` is deprecated:DeprecationWarning"),
]
CASES = FEATURIZERS | {"boxed": (FEATURIZERS["boxed"][0], BOXED)}


def by_plumed(model: Any, trajectory: Any, path: Path) -> Any:
    plumed(model, path)
    values = plumed_actions.evaluate(path.read_text(), trajectory)
    return np.column_stack([values[f"z{k + 1}"] for k in range(model.n_components_)])


def by_colvars(model: Any, trajectory: Any, path: Path) -> Any:
    colvars(model, path)
    return np.column_stack(list(colvars_configuration.evaluate(path, trajectory).values()))


def by_torchscript(model: Any, trajectory: Any, path: Path) -> Any:
    inputs = [torch.tensor(trajectory.xyz)]
    if trajectory.unitcell_vectors is not None:
        inputs.append(torch.tensor(trajectory.unitcell_vectors[0]))
    torchscript(model, path, inputs="positions and box" if len(inputs) > 1 else "positions")
    return torch.jit.load(str(path))(*inputs)


def by_openmm(model: Any, trajectory: Any, path: Path) -> Any:
    topology = topology_of(trajectory)
    force = openmm_force(model, topology)
    return variables(force, context_of(force, topology), trajectory.xyz)


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("name", CASES)
def test_all_exports_agree(name: str, encoder: str, tmp_path: Path) -> None:
    simulate, featurizer = CASES[name]
    trajectory = simulate(1000)
    model = fitted(trajectory, featurizer, **ENCODERS[encoder])
    expected = model.transform(featurizer.transform(trajectory))
    assert expected.std(axis=0).min() > 0.01
    for export in (by_plumed, by_colvars, by_torchscript, by_openmm):
        found = export(model, trajectory, tmp_path / export.__name__)
        np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=export.__name__)
