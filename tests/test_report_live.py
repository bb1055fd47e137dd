"""What the page's slider shows is what the public API answers, at every stop of it."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

import numpy as np
import pytest
from structures import argon

from latflow.report import live_data, write_report
from latflow.report.live import ABOVE, DECADES, NOWHERE, SURFACE_GRID, WEIGHT_LEVELS
from latflow.report.page import _json
from latflow.structures import Structures
from latflow.units import with_error


def decoded(text, dtype, *shape):
    return np.frombuffer(base64.b64decode(text), dtype).reshape(shape)


@pytest.fixture(scope="module")
def few_stops():
    """Fewer stops of the slider, which cost the time of an answer each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("latflow.report.live.MOST_STOPS", 6)
        yield


@pytest.fixture(scope="module")
def live(extrapolator, few_stops) -> dict[str, Any]:
    return live_data(extrapolator, [0.1, 0.9, 1.17])


@pytest.fixture(scope="module")
def boxes(three_hole):
    """Two argon atoms a frame, their distance that of the walker from the origin."""
    frames = []
    for x in three_hole["trajectories"]:
        xyz = np.zeros((len(x), 2, 3))
        xyz[:, 1, :2] = x
        frames.append(argon(xyz))
    return frames


@pytest.fixture(scope="module")
def with_structures(extrapolator, three_hole, boxes, few_stops):
    structures = Structures(extrapolator, three_hole["trajectories"], boxes)
    return live_data(extrapolator, [0.9], structures=structures)


class TestStops:
    def test_named_ones_are_among_plain_ones_over_the_whole_range(self, live, extrapolator) -> None:
        stops = np.array(live["temperatures"])
        assert (np.diff(stops) > 0).all()
        assert stops[0] == 0.1
        assert {0.8, 0.9, 1.17, 1.4} <= set(stops)
        high = extrapolator.temperature_range_[1]
        assert high - np.diff(stops).max() < stops[-1] <= high

    def test_it_starts_halfway(self, live) -> None:
        assert live["temperatures"][live["start"]] == 1.17


class TestNumbers:
    def test_populations(self, live, extrapolator) -> None:
        table = extrapolator.state_populations(live["temperatures"])
        texts = [t for stop in live["populations"]["text"] for t in stop]
        pairs = table[["population", "standard_error"]].to_numpy()
        assert texts == [with_error(*pair) for pair in pairs]
        for name, column in zip(("value", "error"), pairs.T, strict=True):
            np.testing.assert_allclose(np.ravel(live["populations"][name]), column, rtol=1e-4)

    def test_thermodynamics(self, live, extrapolator) -> None:
        t, s = 1.17, 1
        k = live["temperatures"].index(t)
        row = extrapolator.thermodynamics(t).loc[(t, s)]
        names = ("free_energy", "energy", "entropy", "heat_capacity")
        assert list(live["thermodynamics"][k][s]) == [
            with_error(row[name], row[f"{name}_error"]) for name in names
        ]

    def test_support(self, live, extrapolator) -> None:
        table = extrapolator.support(live["temperatures"])
        assert live["support"] == table["support"].tolist()
        assert live["reasons"] == table["reason"].tolist()
        assert live["roles"] == table["role"].tolist()

    def test_melting(self, melting, few_stops) -> None:
        system, model = melting
        (point,) = live_data(model)["melting"]
        found = model.melting_temperature(point["state"])
        assert point["text"] == with_error(found.temperature, found.standard_error)
        assert abs(point["temperature"] - system.temperature) < 3 * found.standard_error
        assert point["support"] == model.support(found.temperature)["support"].iloc[0]


class TestSurface:
    def test_levels_are_free_energies(self, live, extrapolator) -> None:
        surface, n = live["surface"], SURFACE_GRID
        k = live["temperatures"].index(0.9)
        levels = decoded(surface["levels"], np.uint8, len(live["temperatures"]), n, n)[k]
        axes = [np.linspace(*extent, n) for extent in surface["extent"]]
        mesh = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
        energy = extrapolator.free_energy(mesh, 0.9)
        np.testing.assert_array_equal(levels == NOWHERE, np.isnan(energy))
        np.testing.assert_array_equal(levels == ABOVE, energy > surface["deepest"])
        coloured = levels < ABOVE
        assert 0.1 < coloured.mean() < 1
        step = surface["deepest"] / (ABOVE - 1)
        off = levels[coloured] * step - energy[coloured].clip(0)
        assert np.abs(off).max() <= 0.51 * step

    def test_nothing_is_drawn_where_nothing_supports_it(self, live, extrapolator) -> None:
        withheld = np.array(live["surface"]["withheld"])
        low, high = extrapolator.temperature_range_
        known = [low <= t <= high for t in live["temperatures"]]
        supported = np.array(live["support"]) != "unsupported"
        np.testing.assert_array_equal(withheld, ~(supported & known))
        assert withheld[0]
        assert not withheld.all()
        levels = decoded(live["surface"]["levels"], np.uint8, len(withheld), SURFACE_GRID**2)
        assert (levels[withheld] == NOWHERE).all()


class TestFrames:
    def test_places_are_those_of_the_trajectories(self, live, extrapolator, three_hole) -> None:
        frames = live["frames"]
        z = extrapolator.transform(three_hole["trajectories"])
        places = list(zip(frames["trajectory"], frames["frame"], strict=True))
        assert len(set(places)) == len(places) > 100
        there = np.array([z[trajectory][frame] for trajectory, frame in places])
        np.testing.assert_allclose(frames["z"], there, rtol=1e-4)
        states = [extrapolator.labels_[trajectory][frame] for trajectory, frame in places]
        assert frames["state"] == states

    def test_weights(self, live, extrapolator) -> None:
        frames = live["frames"]
        k = live["temperatures"].index(0.8)
        shape = len(live["temperatures"]), len(frames["frame"])
        levels = decoded(frames["weights"], np.uint8, *shape)[k]
        weights = extrapolator.frame_weights(0.8)
        n = sum(map(len, weights))
        there = [n * weights[t][f]
                 for t, f in zip(frames["trajectory"], frames["frame"], strict=True)]  # fmt: skip
        decades = (levels / (WEIGHT_LEVELS / 2) - 1) * DECADES
        np.testing.assert_allclose(
            decades, np.log10(there).clip(-DECADES, DECADES), atol=DECADES / WEIGHT_LEVELS * 1.01
        )

    def test_every_place_with_frames_has_one(self, live, extrapolator) -> None:
        shown, every = np.array(live["frames"]["z"]), extrapolator.z_
        scale = np.ptp(every, axis=0)
        far = np.linalg.norm((every[::7, None] - shown) / scale, axis=-1).min(axis=1)
        assert far.max() < np.sqrt(2) / 24 + 1e-3

    @pytest.mark.parametrize("name", ["live", "with_structures"])
    def test_each_state_has_a_representative(self, request, name, extrapolator) -> None:
        frames = request.getfixturevalue(name)["frames"]
        states = [frames["state"][row] for row in frames["representatives"]]
        assert states == list(range(extrapolator.n_states_))


class TestMolecules:
    def test_distances_are_those_of_the_frames(self, with_structures, boxes) -> None:
        frames, molecules = with_structures["frames"], with_structures["molecules"]
        xyz = decoded(molecules["xyz"], "<i2", len(frames["frame"]), 2, 3)
        distance = np.linalg.norm(np.diff(xyz, axis=1), axis=-1)[:, 0]
        there = [
            np.linalg.norm(np.diff(boxes[t].xyz[f], axis=0))
            for t, f in zip(frames["trajectory"], frames["frame"], strict=True)
        ]
        assert np.std(there) > 0.1
        np.testing.assert_allclose(distance / 1000, there, atol=2e-3)
        assert molecules["elements"] == ["Ar", "Ar"]

    def test_frames_keep_weights(self, with_structures) -> None:
        frames = with_structures["frames"]
        n = len(frames["frame"]) * len(with_structures["temperatures"])
        assert len(base64.b64decode(frames["weights"])) == n


class TestLaTFEstimator:
    def test_stops_are_the_simulated_temperatures(self, latf) -> None:
        live = live_data(latf)
        assert live["temperatures"] == [0.8, 1.4]
        assert live["frames"] is None
        assert not any(live["surface"]["withheld"])
        assert live["support"] == ["", ""]

    def test_one_unnamed_temperature_has_no_slider(self, few_frames) -> None:
        from conftest import fit_quietly, tiny_latf

        assert live_data(fit_quietly(tiny_latf(), few_frames[0])) is None


class TestPage:
    def test_the_policy_allows_the_one_script(self, live, tmp_path) -> None:
        page = write_report(tmp_path / "r.html", title="t", sections=[], live=live).read_text()
        (script,) = re.findall(r"<script>(.*)</script>", page, re.S)
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"script-src 'sha256-{digest}'" in page
        assert "http" not in re.sub("http-equiv", "", page)

    def test_data_hold_no_tag(self) -> None:
        assert "<" not in _json({"file": "</script><script>alert(1)</script>"})
