"""What `import latflow` and the command line load: rooms come when they are named."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from typing import get_args

import pytest

import latflow
from latflow.cli import fit, inputs
from latflow.cli.features import FEATURIZERS
from latflow.estimators.extrapolator import METHODS
from latflow.estimators.latf import ENCODERS
from latflow.featurizers.formats import EXTENSIONS
from latflow.thermodynamics import COLDER, HOTTER
from latflow.units import BOLTZMANN_CONSTANT

HEAVY = ("deeptime", "matplotlib", "mdtraj", "scipy", "sklearn", "torch")


def loaded_by(code: str) -> set[str]:
    """Return the modules of a fresh Python that has run this code."""
    report = f"{code}\nimport sys\nprint('\\n' + ' '.join(sys.modules))"
    run = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True)
    return set(run.stdout.splitlines()[-1].split())


def test_the_package_alone_loads_nothing() -> None:
    modules = loaded_by("import latflow")
    assert not modules.intersection((*HEAVY, "numpy", "pandas", "typer"))
    assert {name for name in modules if name.startswith("latflow.")} == set()


@pytest.mark.parametrize("arguments", [["--help"], ["fit", "--help"], ["--version"]])
def test_help_loads_no_estimators(arguments: list[str]) -> None:
    modules = loaded_by(f"from latflow.cli import main\nassert main({arguments}) == 0")
    assert not modules.intersection((*HEAVY, "pandas", "latflow.estimators", "latflow.featurizers"))


def test_names_load_their_room_only() -> None:
    modules = loaded_by("import latflow\nlatflow.units.Units")
    assert {name for name in modules if name.startswith("latflow.")} == {
        "latflow._typing",
        "latflow.units",
    }
    assert "latflow.plotting" in loaded_by("import latflow\nlatflow.plotting.StatesDisplay")


@pytest.mark.parametrize("name", [*latflow.__all__, "__version__"])
def test_every_public_name_resolves(name: str) -> None:
    assert name in dir(latflow)
    assert getattr(latflow, name) is getattr(latflow, name)


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="module 'latflow' has no attribute 'estimator'"):
        latflow.estimator  # noqa: B018


def test_texts_of_the_help_are_those_of_the_estimators() -> None:
    assert get_args(fit.Method) == METHODS
    assert set(get_args(fit.Encoder)) == set(ENCODERS)
    assert ", ".join(EXTENSIONS) == inputs.EXTENSIONS
    assert {hasattr(latflow.featurizers, name) for name in FEATURIZERS.values()} == {True}
    shown = {field.name: field.default.show_default for field in fields(fit.Fitting)}
    assert shown["temperature_range"].startswith(f"{COLDER:g} times the lowest to {HOTTER:g} times")
    assert shown["boltzmann_constant"] == f"{BOLTZMANN_CONSTANT:.6g}"
    assert shown["method"].startswith(f"{latflow.TemperatureExtrapolator().method},")
