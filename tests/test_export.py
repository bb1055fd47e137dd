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
from sklearn.feature_selection import VarianceThreshold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    MinMaxScaler,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
)
from structures import RNA, topology_of, trajectory_of

from latflow import LaTFEstimator, PerFrame, load, save
from latflow.cli import main
from latflow.cli.export import Inputs, Method, Program, Units
from latflow.estimators.seam import encoder_layers
from latflow.export import colvars, plumed
from latflow.export.colvars_bias_input import METHODS as OF_COLVARS
from latflow.export.colvars_input import LENGTHS
from latflow.export.plumed_bias_input import METHODS as OF_PLUMED
from latflow.export.recipe import Recipe
from latflow.export.torchscript_file import INPUTS
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
    model = tiny_extrapolator(PCA(2), method="mbar").fit(
        [X[0], X[1]], temperature=[0.8, 1.4], energy=[x[:, 0] for x in X]
    )
    with pytest.raises(TypeError, match="a LaTFEstimator computes from features, got PCA: fit a"):
        export(model, tmp_path / "text")
    assert not list(tmp_path.iterdir())


LINEAR = {
    "scaled": [PerFrame(StandardScaler())],
    "projected": [PerFrame(RobustScaler()), PerFrame(PCA(3, whiten=True))],
    "selected": [PerFrame(MinMaxScaler((-2, 3))), PerFrame(VarianceThreshold(1e-9))],
    "named": [PerFrame(StandardScaler().set_output(transform="pandas"))],
}


@pytest.mark.parametrize("name", LINEAR)
def test_linear_steps_are_part_of_the_first_layer(name: str) -> None:
    featurizer = Torsions().fit(alanine())
    X = featurizer.transform([alanine(60), alanine(80, seed=1)])
    model = tiny_extrapolator(make_pipeline(*LINEAR[name], tiny_latf()))
    model.fit(X, temperature=[0.8, 1.4])
    recipe = Recipe.of(model, featurizer)
    found = computed(recipe.layers, X[0].astype(float))
    np.testing.assert_allclose(found, model.transform(X)[0], atol=1e-6)
    assert found.std(axis=0).min() > 0.01


def test_steps_that_are_not_linear_are_refused(export: Export, tmp_path: Path) -> None:
    featurizer = Torsions().fit(alanine())
    X = featurizer.transform([alanine(60), alanine(80, seed=1)])
    for step in (SplineTransformer(), MinMaxScaler(clip=True)):
        model = tiny_extrapolator(make_pipeline(PerFrame(step), tiny_latf()))
        model.fit(X, temperature=[0.8, 1.4])
        with pytest.raises(TypeError, match=f"that are linear .*, got {type(step).__name__}: fit"):
            export(model, tmp_path / "text", featurizer=featurizer)
    assert not list(tmp_path.iterdir())


def test_a_featurizer_inside_of_a_pipeline(export: Export, tmp_path: Path) -> None:
    frames = [alanine(60), alanine(80, seed=1)]
    steps = make_pipeline(Torsions(), tiny_latf())
    inside = tiny_extrapolator(steps).fit(frames, temperature=[0.8, 1.4])
    outside = tiny_extrapolator().fit(Torsions().fit_transform(frames), temperature=[0.8, 1.4])
    assert text_of(export, tmp_path, inside) == text_of(export, tmp_path, outside)


def test_a_folder_that_is_not_there(export: Export, model: Any, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="`path` in an existing folder"):
        export(model, tmp_path / "nowhere" / "text")


def test_scaling_is_part_of_the_first_layer(model: LaTFEstimator) -> None:
    x = np.random.default_rng(0).normal(size=(50, 4))
    layers = encoder_layers(model.model_, model.mean_, model.scale_)
    np.testing.assert_allclose(computed(layers, x), model.transform(x), atol=1e-10)


def computed(layers: Any, x: Any) -> Any:
    """Return what layers make of features."""
    for k, (weights, biases) in enumerate(layers):
        x = x @ weights.T + biases
        x = np.tanh(x) if k + 1 < len(layers) else x
    return x


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
    sentence = "Expected --units with colvars or metadynamics or abf only, got gromacs with plumed."
    assert (said.err, said.out) == (
        (f"latflow: {sentence}\n", "") if refused else ("", f"Saved: {output}\n")
    )


def test_commands_of_other_files(model: LaTFEstimator, tmp_path: Path, capsys: Any) -> None:
    save(model, tmp_path / "model.latflow")
    arguments = [str(tmp_path / "model.latflow"), "--output", str(tmp_path / "z.pt")]
    assert main(["export", "torchscript", *arguments, "--inputs", "positions"]) == 0
    assert capsys.readouterr().out == f"Saved: {tmp_path / 'z.pt'}\n"
    assert (tmp_path / "z.pt").stat().st_size > 1000
    (tmp_path / "z.pt").unlink()
    for words, sentence in (
        (["openmm"], "reads files, got openmm, whose forces are objects of the script that"),
        (["bias"], "Expected --temperature with bias, got none."),
        (["bias", "--temperature", "300"], "`model` to be a TemperatureExtrapolator"),
        (["plumed", "--temperature", "300"], "--temperature with bias only, got 300.0 with plumed"),
        (
            ["bias", "--temperature", "300", "--units", "real"],
            "--units with colvars or metadynamics or abf only, got real with metad.",
        ),
        (
            ["bias", "--temperature", "300", "--method", "abf", "--cap", "9"],
            "--cap with metad or opes or external only, got 9.0 with abf.",
        ),
    ):
        program, *options = words
        assert main(["export", program, *arguments, *options]) == 2
        assert sentence in " ".join(capsys.readouterr().err.split())
    assert [path.name for path in tmp_path.iterdir()] == ["model.latflow"]


def test_choices_of_the_command_are_those_of_the_functions() -> None:
    programs = [export.__name__ for export in EXPORTS]
    assert list(get_args(Program)) == [*programs, "bias", "torchscript", "openmm"]
    assert list(get_args(Units)) == list(LENGTHS)
    assert get_args(Inputs) == INPUTS
    assert list(get_args(Method)) == [*OF_PLUMED, *OF_COLVARS]
