"""Biases of PLUMED and Colvars are the predicted one, by evaluators of both."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import pytest
from colvars_configuration import evaluate as evaluated_by_colvars
from colvars_configuration import parse
from conftest import UNSETTLED, fit_quietly
from export_cases import alanine
from plumed_actions import actions, evaluate, interpolated, read_grid
from test_export_colvars import run_lammps

from latflow import LaTFEstimator, TemperatureExtrapolator, save
from latflow.cli import main
from latflow.export import PredictedBias, colvars_bias, plumed_bias
from latflow.export.colvars_bias_input import ENERGIES
from latflow.featurizers import Torsions

pytestmark = UNSETTLED
COLD = 350.0


def swaying(n_frames: int, temperature: float, seed: int) -> mdtraj.Trajectory:
    """Return alanine dipeptide whose ends turn about its middle, more where it is hotter."""
    frames = alanine(n_frames, seed=seed)
    rng = np.random.default_rng(seed)
    hops = np.cumsum(rng.random(n_frames) < 0.05) % 2
    angles = 0.8 * hops + rng.normal(0, np.sqrt(temperature / 3000), n_frames)
    # about the bond N-CA, which phi is an angle about
    origin = frames.xyz[:, 6]
    axis = frames.xyz[:, 8] - origin
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    turned = frames.xyz[:, :6] - origin[:, None]
    c, s = np.cos(angles)[:, None, None], np.sin(angles)[:, None, None]
    along = (turned * axis[:, None]).sum(-1, keepdims=True) * axis[:, None]
    frames.xyz[:, :6] = (
        turned * c + np.cross(axis[:, None], turned) * s + along * (1 - c) + origin[:, None]
    )
    return frames


def model_of(n_components: int) -> TemperatureExtrapolator:
    parts = [(swaying(400, t, k), t) for k, t in enumerate((300.0, 300.0, 400.0, 400.0))]
    X = Torsions().fit_transform([frames for frames, _ in parts])
    latf = LaTFEstimator(
        lagtime=2, n_components=n_components, encoder="linear", max_iter=100, random_state=0
    )
    model = TemperatureExtrapolator(latf, n_bootstraps=0, max_iter=100, random_state=0)
    return fit_quietly(model, X, temperature=[t for _, t in parts])


@pytest.fixture(scope="module", params=[1, 2, 3])
def model(request: Any) -> TemperatureExtrapolator:
    return model_of(request.param)


@pytest.fixture(scope="module")
def plane() -> TemperatureExtrapolator:
    return model_of(2)


def test_external_is_the_predicted_bias(model: TemperatureExtrapolator, tmp_path: Path) -> None:
    written = plumed_bias(model, tmp_path / "p.dat", COLD, method="external")
    assert sorted(written) == sorted(tmp_path.iterdir())
    assert [path.name for path in written] == ["p.dat", "p.dat.grid"]
    frames = swaying(100, COLD, 7)
    values = evaluate(written[0].read_text(), frames, tmp_path)
    z = np.column_stack([values[f"z{k + 1}"] for k in range(model.n_components_)])
    bias = PredictedBias.of(model, COLD)
    expected = bias.at(z)
    np.testing.assert_allclose(values["ext.bias"], expected, atol=0.1 * bias.kt)
    assert expected.std() > 0.5 * bias.kt
    assert (values["low.bias"] == 0).all()
    assert (values["high.bias"] == 0).all()


def test_the_grid_is_whole_and_its_slopes_are_derivatives(
    model: TemperatureExtrapolator, tmp_path: Path
) -> None:
    plumed_bias(model, tmp_path / "p.dat", COLD)
    names, column, axes, grid = read_grid(tmp_path / "p.dat.grid")
    assert names == [f"z{k + 1}_cut" for k in range(model.n_components_)]
    assert column == "ext.bias"
    assert np.isfinite(grid).all()
    assert (grid[..., 0] > 0.1).all()
    rng = np.random.default_rng(0)
    low, high = (np.array([axis[end] for axis in axes]) for end in (0, -1))
    points = low + (high - low) * rng.uniform(0.05, 0.95, (200, len(axes)))
    smooth = PredictedBias.of(model, COLD).at(points)
    found = interpolated(axes, grid, points)
    np.testing.assert_allclose(found, smooth, rtol=0.01, atol=0.05)


def test_beyond_the_grid_walls_push_back(plane: TemperatureExtrapolator, tmp_path: Path) -> None:
    plumed_bias(plane, tmp_path / "p.dat", COLD)
    bias = PredictedBias.of(plane, COLD)
    # the last actions alone, of variables that are set
    text = (tmp_path / "p.dat").read_text()
    end = text[text.index("z1_cut: ") :]
    points = np.array([[bias.upper[0] + 2 * bias.sigmas[0], np.median(bias.axes[1])]] * 2)
    points[1, 1] = bias.lower[1] - bias.sigmas[1]
    distances = "".join(f"d{k}: DISTANCE ATOMS=1,{k + 1} NOPBC\n" for k in (1, 2))
    shifted = "".join(
        f"z{k}: CUSTOM ARG=d{k} FUNC=x+{float(points[:, k - 1].min() - 5)!r} PERIODIC=NO\n".replace(
            "+-", "-"
        )
        for k in (1, 2)
    )
    xyz = np.zeros((2, 3, 3))
    xyz[:, 1, 0] = points[:, 0] - points[:, 0].min() + 5
    xyz[:, 2, 0] = points[:, 1] - points[:, 1].min() + 5
    frames = mdtraj.Trajectory(xyz, None)
    values = evaluate(distances + shifted + end, frames, tmp_path)
    np.testing.assert_allclose(values["high.bias"], [10 * bias.kt] * 2, rtol=1e-4)
    np.testing.assert_allclose(values["low.bias"], [0, 2.5 * bias.kt], rtol=1e-4)
    edge = np.clip(points, bias.lower, bias.upper)
    np.testing.assert_allclose(values["ext.bias"], bias.at(edge), rtol=1e-3)


@pytest.mark.parametrize(
    ("method", "name", "module"),
    [("metad", "METAD", "none"), ("opes", "OPES_METAD", "opes, for OPES_METAD")],
)
def test_what_acts_on_top(
    method: str, name: str, module: str, plane: TemperatureExtrapolator, tmp_path: Path
) -> None:
    plumed_bias(plane, tmp_path / "p.dat", COLD, method=method, pace=250, stride=50)
    text = (tmp_path / "p.dat").read_text()
    assert f"# Modules of PLUMED beyond a default build: {module}\n" in text
    assert text.endswith(
        f"PRINT ARG=z1,z2,ext.bias,low.bias,high.bias,{method}.bias STRIDE=50 FILE=COLVAR\n"
    )
    evaluate(text, alanine(3), tmp_path)  # every label is there, and every keyword known
    label, _, words = next(action for action in actions(text) if action[1] == name)
    known = dict(word.partition("=")[::2] for word in words)
    bias = PredictedBias.of(plane, COLD)
    assert (label, known["ARG"], known["PACE"]) == (method, "z1_cut,z2_cut", "250")
    assert float(known["TEMP"]) == COLD
    np.testing.assert_allclose([float(s) for s in known["SIGMA"].split(",")], bias.sigmas)
    if method == "opes":
        assert float(known["BARRIER"]) == bias.barrier
    else:
        assert float(known["BIASFACTOR"]) == max(2, bias.barrier / bias.kt)
        assert known["GRID_BIN"] == ",".join(str(len(axis) - 1) for axis in bias.axes)
        assert float(known["HEIGHT"]) < bias.kt


@pytest.mark.parametrize("units", ENERGIES)
@pytest.mark.parametrize("method", ["metadynamics", "abf"])
def test_colvars_have_widths_and_walls(
    method: str, units: str, plane: TemperatureExtrapolator, tmp_path: Path
) -> None:
    (path,) = colvars_bias(plane, tmp_path / "cv.in", COLD, method=method, units=units)
    configuration = parse(path.read_text())
    bias = PredictedBias.of(plane, COLD)
    z = np.column_stack(list(evaluated_by_colvars(path, alanine(20)).values()))
    x = Torsions().fit(alanine()).transform(alanine(20))
    np.testing.assert_allclose(z, plane.transform(x), atol=1e-5)
    variables = [dict(parse(text)) for keyword, text in configuration if keyword == "colvar"]
    for variable, low, high in zip(variables, bias.lower, bias.upper, strict=True):
        assert float(variable["lowerBoundary"]) == low
        assert float(variable["upperBoundary"]) == pytest.approx(high)
        assert ("extendedLagrangian" in variable) == (method == "abf")
    blocks = {keyword: dict(parse(text)) for keyword, text in configuration if "{" not in keyword
              and keyword in (method, "harmonicWalls")}  # fmt: skip
    assert blocks[method]["colvars"] == blocks["harmonicWalls"]["colvars"] == "z1 z2"
    if method == "metadynamics":
        energy = float(blocks[method]["hillWeight"]) * ENERGIES[units]
        assert 0 < energy < bias.kt
        rise = float(blocks[method]["biasTemperature"])
        assert rise == pytest.approx((max(2, bias.barrier / bias.kt) - 1) * COLD)
        found = [float(s) for s in blocks[method]["gaussianSigmas"].split()]
        np.testing.assert_allclose(found, bias.sigmas)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["metadynamics", "abf"])
def test_lammps_reads_the_biases(
    method: str, plane: TemperatureExtrapolator, tmp_path: Path
) -> None:
    (path,) = colvars_bias(plane, tmp_path / "cv.in", COLD, method=method, pace=1)
    frames = swaying(20, COLD, 7)
    z, forces = run_lammps(path, 10 * frames.xyz.astype(float) + 50, np.full(3, 100.0))
    expected = plane.transform(Torsions().fit(frames).transform(frames))
    columns = [0, 2] if method == "abf" else [0, 1]  # between them the fictitious particles
    np.testing.assert_allclose(z[:, columns], expected, atol=1e-5)
    assert np.isfinite(forces).all()
    assert np.abs(forces).max() > 0


@pytest.mark.parametrize("export", [plumed_bias, colvars_bias])
def test_wrong_options(export: Any, plane: TemperatureExtrapolator, tmp_path: Path) -> None:
    for options, sentence in (
        ({"method": "umbrella"}, r"`method` to be one of .*, got 'umbrella'"),
        ({"pace": 0}, "`pace` to be an integer >= 1, got 0"),
    ):
        with pytest.raises(ValueError, match=sentence):
            export(plane, tmp_path / "text", COLD, **options)
    with pytest.raises(TypeError, match="to be a TemperatureExtrapolator"):
        export(plane.estimator_, tmp_path / "text", COLD)
    (tmp_path / "text.grid").mkdir()
    (tmp_path / "text").mkdir()
    with pytest.raises(OSError, match="to be a file, got the folder"):
        export(plane, tmp_path / "text", COLD)
    assert not re.findall(r"\d", "".join(p.name for p in tmp_path.iterdir()))


@pytest.mark.parametrize("method", ["opes", "abf"])
def test_command_writes_what_the_functions_do(
    method: str, plane: TemperatureExtrapolator, tmp_path: Path, capsys: Any
) -> None:
    save(plane, tmp_path / "model.latflow")
    arguments = ["export", "bias", str(tmp_path / "model.latflow"), "--temperature", str(COLD)]
    assert main([*arguments, "--method", method, "--output", str(tmp_path / "text")]) == 0
    found = (tmp_path / "text").read_text()
    export = plumed_bias if method == "opes" else colvars_bias
    written = export(plane, tmp_path / "text", COLD, method=method)
    assert capsys.readouterr().out == f"Saved: {', '.join(map(str, written))}\n"
    assert found == (tmp_path / "text").read_text()
