"""What every export asks of a model: features whose making is known, and atoms that agree."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from conftest import UNSETTLED, tiny_extrapolator, tiny_latf
from export_cases import alanine, fitted
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from structures import RNA, topology_of, trajectory_of

from latflow import LaTFEstimator, PerFrame, load, save
from latflow.cli import main
from latflow.cli.export import Program, Units
from latflow.estimators.seam import encoder_layers
from latflow.export import colvars, plumed
from latflow.export.colvars_input import LENGTHS
from latflow.featurizers import AlignedPositions, Concatenate, Distances, GVectors, Torsions

pytestmark = UNSETTLED
EXPORTS = [plumed, colvars]
Export = Callable[..., object]


@pytest.fixture(params=EXPORTS, ids=lambda export: str(export.__name__))
def export(request: Any) -> Export:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def model() -> LaTFEstimator:
    return fitted(alanine(), Torsions())


def text_of(export: Export, folder: Path, model: object, **options: Any) -> str:
    export(model, folder / "text", **options)
    return (folder / "text").read_text()


def test_the_manifest_travels_in_the_models_file(
    export: Export, model: LaTFEstimator, tmp_path: Path
) -> None:
    expected = text_of(export, tmp_path, model)
    save(model, tmp_path / "model.latflow")
    assert text_of(export, tmp_path, load(tmp_path / "model.latflow")) == expected


def test_an_extrapolator_has_the_variables_of_its_estimator(export: Export, tmp_path: Path) -> None:
    parts = [alanine(60), alanine(80, seed=1)]
    X = Torsions().fit_transform(parts)
    model = tiny_extrapolator(boltzmann_constant=1.0).fit(X, temperature=[0.8, 1.4])
    inside = text_of(export, tmp_path, model.estimator_)
    assert text_of(export, tmp_path, model) == inside


def test_a_featurizer_or_its_manifest_speaks_for_plain_arrays(
    export: Export, model: LaTFEstimator, tmp_path: Path
) -> None:
    featurizer = Torsions().fit(alanine())
    plain = tiny_latf().fit([featurizer.transform(alanine())])
    assert plain.manifest_ is None
    with pytest.raises(ValueError, match="knows how its features were made, got one fitted on"):
        export(plain, tmp_path / "text")
    assert not list(tmp_path.iterdir())
    expected = text_of(export, tmp_path, model)
    for source in (featurizer, featurizer.manifest()):
        assert text_of(export, tmp_path, plain, featurizer=source) == expected


@pytest.mark.parametrize(
    ("featurizer", "sentence"),
    [
        (Distances([[0, 5]]), "make the 4 features that the model reads, got one that makes 1"),
        (Distances([[0, 5], [1, 6], [0, 7], [8, 9]]), "reads, got distance_ACE1-H1_ACE1-O in the"),
    ],
)
def test_another_featurizer_is_refused(
    featurizer: Any, sentence: str, export: Export, tmp_path: Path
) -> None:
    named = Torsions().set_output(transform="pandas").fit_transform(alanine())
    model = tiny_latf().fit(named)
    with pytest.raises(ValueError, match=sentence):
        export(model, tmp_path / "text", featurizer=featurizer.fit(alanine()))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("featurizer", [GVectors(), Concatenate([AlignedPositions()])])
def test_features_that_programs_do_not_compute_are_refused(
    featurizer: Any, export: Export, tmp_path: Path
) -> None:
    model = fitted(trajectory_of(topology_of(RNA), 60), featurizer)
    able = "Concatenate, Contacts, CoordinationNumbers, Distances, Select, Torsions"
    with pytest.raises(ValueError, match=rf"features of {able}, .* (GVectors|AlignedPositions)\."):
        export(model, tmp_path / "text")
    assert not list(tmp_path.iterdir())


def test_other_models_are_refused(export: Export, tmp_path: Path) -> None:
    X = Torsions().fit_transform([alanine(), alanine(seed=1)])
    with pytest.raises(TypeError, match="LaTFEstimator or TemperatureExtrapolator, got PCA"):
        export(PCA().fit(X[0]), tmp_path / "text")
    with pytest.raises(NotFittedError):
        export(tiny_latf(), tmp_path / "text")
    steps = make_pipeline(PerFrame(PCA(2)), tiny_latf())
    model = tiny_extrapolator(steps).fit([X[0], X[1]], temperature=[0.8, 1.4])
    with pytest.raises(TypeError, match="from features, got Pipeline: fit a LaTFEstimator"):
        export(model, tmp_path / "text")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there(export: Export, model: Any, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="`path` in an existing folder"):
        export(model, tmp_path / "nowhere" / "text")


def test_scaling_is_part_of_the_first_layer(model: LaTFEstimator) -> None:
    x = np.random.default_rng(0).normal(size=(50, 4))
    h = x
    layers = encoder_layers(model.model_, model.mean_, model.scale_)
    for k, (weights, biases) in enumerate(layers):
        h = h @ weights.T + biases
        h = np.tanh(h) if k + 1 < len(layers) else h
    np.testing.assert_allclose(h, model.transform(x), atol=1e-10)


# ------------------------------------------------------------------ on the command line


@pytest.mark.parametrize("options", [{}, {"units": "gromacs"}])
def test_command_writes_what_the_function_does(
    options: dict[str, str], export: Any, model: LaTFEstimator, tmp_path: Path, capsys: Any
) -> None:
    save(model, tmp_path / "model.latflow")
    output = tmp_path / "text"
    arguments = [export.__name__, str(tmp_path / "model.latflow"), "--output", str(output)]
    arguments += [word for name, value in options.items() for word in (f"--{name}", value)]
    refused = bool(options) and export is plumed
    assert main(["export", *arguments]) == (2 if refused else 0)
    said = capsys.readouterr()
    found = output.read_text() if output.exists() else None
    assert found == (None if refused else text_of(export, tmp_path, model, **options))
    sentence = "Expected --units with colvars only, got gromacs with plumed."
    assert (said.err, said.out) == (
        (f"latflow: {sentence}\n", "") if refused else ("", f"Saved: {output}\n")
    )


def test_choices_of_the_command_are_those_of_the_functions() -> None:
    assert list(get_args(Program)) == [export.__name__ for export in EXPORTS]
    assert list(get_args(Units)) == list(LENGTHS)
