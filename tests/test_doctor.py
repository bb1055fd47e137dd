"""The doctor's checks of data: each fails what is broken so, and passes what is healthy."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import mdtraj
import numpy as np
import pytest

import latflow
from latflow.datasets import load_alanine_dipeptide, load_chignolin, load_rna_tetraloop
from latflow.doctor import Diagnosis, Finding
from latflow.featurizers import Torsions, featurize

COLD, HOT = 1.0, 1.3
SEEDS = range(3)
N_TRAJECTORIES, N_FRAMES = 4, 3000


def healthy(seed: int) -> dict[str, Any]:
    """Walkers in a double well with a harmonic bath, four at each of two temperatures.

    Features are the place in the well, a coordinate of the bath, and the cosine of a slowly turning
    angle; energies are exact (k_B = 1).
    """
    rng = np.random.default_rng(seed)
    X, energy, temperature = [], [], []
    for t in np.repeat([COLD, HOT], N_TRAJECTORIES):
        well = np.where(np.cumsum(rng.random(N_FRAMES) < 0.04) % 2, -1.0, 1.0)
        bath = np.sqrt(t) * rng.standard_normal((N_FRAMES, 2))
        turn = np.cumsum(0.3 * rng.standard_normal(N_FRAMES))
        X.append(np.column_stack([well + 0.2 * bath[:, 0], bath[:, 1], np.cos(turn)]))
        energy.append((bath**2).sum(axis=1) / 2)
        temperature.append(float(t))
    return {"X": X, "temperature": temperature, "energy": energy}


def diagnosed(X: Any, *, lagtime: int = 5, **known: Any) -> Diagnosis:
    return latflow.diagnose(X, lagtime=lagtime, boltzmann_constant=1.0, **known)


# ------------------------------------------------------------------ what breaks data


def with_nan(data: dict[str, Any]) -> None:
    data["X"][2][17, 1] = np.nan


def with_infinite_energy(data: dict[str, Any]) -> None:
    data["energy"][1][3] = np.inf


def too_short(data: dict[str, Any]) -> None:
    data["X"] = [piece for x in data["X"] for piece in np.split(x, 750)]
    data["energy"] = [piece for u in data["energy"] for piece in np.split(u, 750)]
    data["temperature"] = np.repeat(data["temperature"], 750).tolist()


def given_twice(data: dict[str, Any]) -> None:
    data["X"][1] = data["X"][0].copy()


def hanging(data: dict[str, Any]) -> None:
    data["X"][0][2000:] = data["X"][0][2000]


def with_an_angle(data: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    for k, x in enumerate(data["X"]):
        angle = np.cumsum(0.5 * rng.standard_normal(len(x)))
        data["X"][k] = np.column_stack([x, (angle + np.pi) % (2 * np.pi) - np.pi])


def with_degrees(data: dict[str, Any]) -> None:
    rng = np.random.default_rng(1)
    for k, x in enumerate(data["X"]):
        data["X"][k] = np.column_stack([x, np.cumsum(20 * rng.standard_normal(len(x))) % 360])


def nothing_moves(data: dict[str, Any]) -> None:
    data["X"] = [np.full_like(x, 1.7) for x in data["X"]]


def with_a_constant(data: dict[str, Any]) -> None:
    data["X"] = [np.column_stack([x, np.full(len(x), 0.3)]) for x in data["X"]]


def with_a_copy(data: dict[str, Any]) -> None:
    data["X"] = [np.column_stack([x, x[:, 1]]) for x in data["X"]]


def with_a_multiple(data: dict[str, Any]) -> None:
    data["X"] = [np.column_stack([x, 3 - 10 * x[:, 0]]).astype(np.float32) for x in data["X"]]


def stuck(data: dict[str, Any]) -> None:
    """A walker that never leaves a well."""
    data["X"][0][:, 0] = np.abs(data["X"][0][:, 0])


def drifting(data: dict[str, Any]) -> None:
    for x in data["X"][:N_TRAJECTORIES]:
        x[1500:, 0] = np.abs(x[1500:, 0])


def apart(data: dict[str, Any]) -> None:
    for x in data["X"][N_TRAJECTORIES:]:
        x[:, 1] += 20.0


def exchanging(data: dict[str, Any]) -> None:
    """Cold and hot walkers change places in every tenth step."""
    rng = np.random.default_rng(3)
    for k in range(N_TRAJECTORIES):
        cold, hot = data["X"][k], data["X"][k + N_TRAJECTORIES]
        for x in (cold, hot):  # many slow features, as those of a molecule
            x[:, 1] = np.cumsum(0.1 * rng.standard_normal(len(x)))
        where = np.cumsum(rng.random(N_FRAMES) < 0.1) % 2 == 1
        cold[where], hot[where] = hot[where].copy(), cold[where].copy()


def swapped(data: dict[str, Any]) -> None:
    data["temperature"] = data["temperature"][::-1]


def in_other_units(data: dict[str, Any]) -> None:
    data["energy"] = [u / 4.184 for u in data["energy"]]


def of_other_frames(data: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    every = rng.permutation(np.concatenate(data["energy"]))
    data["energy"] = np.split(every, 2 * N_TRAJECTORIES)


def mistaken(data: dict[str, Any]) -> None:
    data["temperature"] = [1.12 if t == COLD else t for t in data["temperature"]]


BROKEN: list[tuple[Callable[[dict[str, Any]], None], str, str]] = [
    (with_nan, "numbers", "fail"),
    (with_infinite_energy, "numbers", "fail"),
    (too_short, "lengths", "fail"),
    (given_twice, "twice", "fail"),
    (hanging, "at rest", "fail"),
    (with_an_angle, "angles", "fail"),
    (with_degrees, "angles", "fail"),
    (nothing_moves, "constant", "fail"),
    (with_a_constant, "constant", "warn"),
    (with_a_copy, "duplicates", "warn"),
    (with_a_multiple, "duplicates", "warn"),
    (stuck, "settled", "fail"),
    (drifting, "settled", "fail"),
    (apart, "overlap", "fail"),
    (exchanging, "exchange", "fail"),
    (swapped, "energies", "fail"),
    (in_other_units, "energies", "fail"),
    (of_other_frames, "energies", "fail"),
    (mistaken, "energies", "fail"),
]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("break_it", "check", "verdict"), BROKEN, ids=lambda x: getattr(x, "__name__", None)
)
def test_what_is_broken_is_told_with_a_cure(
    break_it: Callable[[dict[str, Any]], None], check: str, verdict: str, seed: int
) -> None:
    data = healthy(seed)
    break_it(data)
    finding = diagnosed(**data)[check]
    assert finding.verdict == verdict, finding
    assert finding.cure.endswith(".")
    assert any(character.isdigit() for character in finding.figure)


@pytest.mark.parametrize("seed", range(10))
def test_healthy_data_pass_all_checks(seed: int) -> None:
    diagnosis = diagnosed(**healthy(seed))
    assert {f.check: f.verdict for f in diagnosis if f.verdict != "pass"} == {
        "molecules": "not checked"
    }
    assert diagnosis.verdict == "pass"


# ------------------------------------------------------------------ what healthy data look like


def test_raw_angles_of_a_molecule_fail_and_their_cosines_do_not() -> None:
    data = load_alanine_dipeptide()
    raw = latflow.diagnose(data.angles, temperature=data.temperature, lagtime=10)
    assert raw["angles"].verdict == "fail"
    assert raw["angles"].value == data.angles[0].shape[1]
    made = latflow.diagnose(
        data.trajectories, temperature=data.temperature, energy=data.energies, lagtime=10
    )
    assert made.verdict == "pass"


def test_a_small_feature_in_an_interval_of_a_turn_is_no_angle() -> None:
    rng = np.random.default_rng(0)
    X = [np.pi * np.tanh(np.cumsum(0.05 * rng.standard_normal((2000, 1)), axis=0)) for _ in "ab"]
    assert diagnosed(X)["angles"].verdict == "pass"


def test_a_protein_and_a_hairpin_fail_nothing() -> None:
    """Chignolin's trajectories are shorter than its folding time, which its notes say, too."""
    for load, not_settled in ((load_chignolin, "warn"), (load_rna_tetraloop, "pass")):
        data = load()
        structures = [mdtraj.Trajectory(x, data.topology) for x in data.coordinates]
        diagnosis = latflow.diagnose(
            data.trajectories, temperature=data.temperature, energy=data.energies, lagtime=10,
            structures=structures,
        )  # fmt: skip
        verdicts = {f.check: f.verdict for f in diagnosis}
        assert verdicts.pop("settled") == not_settled
        assert set(verdicts.values()) == {"pass"}


def test_equilibrium_draws_are_not_asked_about_time() -> None:
    data = load_chignolin(replica_exchange=True)
    diagnosis = latflow.diagnose(
        data.trajectories, temperature=data.temperature, energy=data.energies, dynamics=False
    )
    unasked = {f.check for f in diagnosis if f.verdict == "not checked"}
    assert unasked == {"lengths", "settled", "exchange", "molecules"}
    assert diagnosis.verdict == "pass"


# ------------------------------------------------------------------ molecules


def peptide() -> mdtraj.Trajectory:
    data = load_chignolin()
    return mdtraj.Trajectory(data.coordinates[0][:32], data.topology)


def blown_up(frames: mdtraj.Trajectory) -> None:
    frames.xyz[20, 7] += 5.0


def cut_by_a_box_that_is_not_known(frames: mdtraj.Trajectory) -> None:
    frames.xyz[:, 20:, 0] = (frames.xyz[:, 20:, 0]) + 3.0
    frames.xyz[:, 21:, 0] -= 3.0


def with_a_gap(frames: mdtraj.Trajectory) -> None:
    after = [atom.index for atom in frames.topology.atoms if atom.residue.index > 4]
    frames.xyz[:, after] += 0.5


@pytest.mark.parametrize(
    ("break_it", "verdict"),
    [(blown_up, "fail"), (cut_by_a_box_that_is_not_known, "fail"), (with_a_gap, "warn")],
)
def test_broken_molecules_are_told(
    break_it: Callable[[mdtraj.Trajectory], None], verdict: str
) -> None:
    frames = peptide()
    X = [np.random.default_rng(0).standard_normal((32, 2))]
    assert diagnosed(X, structures=frames)["molecules"].verdict == "pass"
    break_it(frames)
    finding = diagnosed(X, structures=[frames])["molecules"]
    assert finding.verdict == verdict, finding


def test_features_that_know_their_files_need_no_structures(tmp_path: Any) -> None:
    frames = peptide()
    frames.save_xtc(str(tmp_path / "a.xtc"))
    blown_up(frames)
    frames.save_xtc(str(tmp_path / "b.xtc"))
    for name, verdict in (("a", "pass"), ("b", "fail")):
        data = featurize([tmp_path / f"{name}.xtc"], peptide(), Torsions())
        assert diagnosed(data.trajectories)["molecules"].verdict == verdict


# ------------------------------------------------------------------ containers, text, JSON


def test_frames_of_nan_are_left_out_of_the_other_checks() -> None:
    data = healthy(0)
    whole = diagnosed(**data)
    with_nan(data)
    rest = diagnosed(**data)
    assert {f.check: f.verdict for f in rest if f.check != "numbers"} == {
        f.check: f.verdict for f in whole if f.check != "numbers"
    }
    X, rows = latflow.stack(**{"trajectories": data["X"], "temperature": data["temperature"]})
    stacked = diagnosed(X, **rows)["numbers"]
    assert stacked == diagnosed(data["X"], temperature=data["temperature"])["numbers"]
    assert "frame 17 of trajectory 2" in stacked.figure


def test_one_array() -> None:
    rng = np.random.default_rng(0)
    alone = diagnosed(rng.standard_normal((200, 2)))
    assert alone.verdict == "pass"
    assert alone["settled"].verdict == "not checked"
    with_missing = rng.standard_normal((200, 2))
    with_missing[5] = np.nan
    assert diagnosed(with_missing)["numbers"].value == 1
    assert diagnosed(with_missing.tolist())["numbers"].value == 1


def test_trajectories_of_several_lengths_with_nan_and_what_is_known_of_them() -> None:
    data = healthy(0)
    with_nan(data)
    n = [2000, *[3000] * (2 * N_TRAJECTORIES - 1)]
    X, energy = ([x[:k] for x, k in zip(data[name], n, strict=True)] for name in ("X", "energy"))
    states = [(x[:, 0] > 0).astype(int) for x in X]
    found = diagnosed(X, temperature=data["temperature"], energy=energy, states=states)
    assert found["numbers"].value == 1
    assert found["settled"].verdict == "pass"
    assert found["energies"].verdict == "pass"


def test_data_that_do_not_fit_are_an_error_and_no_finding() -> None:
    with pytest.raises(ValueError, match="one entry per trajectory"):
        diagnosed(healthy(0)["X"], temperature=[1.0])
    with pytest.raises(ValueError, match="Expected a fitted model before `X`"):
        latflow.diagnose([np.zeros((5, 1))], [np.zeros((5, 1))])


def test_text_names_what_fails_first_and_json_can_be_read() -> None:
    data = healthy(0)
    with_an_angle(data)
    diagnosis = diagnosed(**data)
    first, cure, *_ = str(diagnosis).splitlines()
    assert first.startswith("fail         angles: 1 column(s) fill an interval of 2 pi")
    assert cure == " " * 13 + diagnosis["angles"].cure
    content = json.loads(diagnosis.to_json())
    assert content["verdict"] == "fail"
    assert content["versions"]["latflow"] == latflow.__version__
    assert [f["check"] for f in content["findings"]] == list(diagnosis.table.index)
    with pytest.raises(KeyError, match="Expected one of the checks numbers, "):
        diagnosis["angle"]


def test_the_worst_verdict_counts() -> None:
    verdicts = ("pass", "not checked", "warn", "fail")
    found = [Diagnosis(tuple(Finding(v, "1") for v in verdicts[: k + 1])) for k in range(4)]
    assert [diagnosis.verdict for diagnosis in found] == ["pass", "pass", "warn", "fail"]
