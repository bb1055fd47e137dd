"""What is saved comes back bit for bit, or not at all; files of older formats stay readable.

`data/latf_format1.latflow` and `data/extrapolator_format1.latflow` were written by latflow 0.1.0:
``make_three_hole(60, temperature=t, n_walkers=2, random_state=0)`` at t = 0.8 and 1.2, their four
trajectories in a row with their temperatures, ``LaTFEstimator(**SETTINGS)`` and
``TemperatureExtrapolator(LaTFEstimator(**SETTINGS), **SHORT)`` fitted and saved. What
``asked_of_old_files`` returned then stands in `data/format1_expected.json`. Format 2 came with
bootstraps: `data/extrapolator_format2.latflow` has ten (``n_bootstraps=10``). Format 3 holds an
ensemble:
`data/extrapolator_format3.latflow` has ten bootstraps, energies, and a pipeline of
``PerFrame(StandardScaler())`` and the same LaTFEstimator inside. Format 4 holds curves and what
was observed: `data/extrapolator_format4.latflow` is as that of format 3, with six trajectories,
t = 1.0 too. Later formats get files of their own; these are never made anew.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import pickle
import stat
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.preprocessing import StandardScaler

from latflow import LaTFEstimator, TemperatureExtrapolator, load, persistence, save
from latflow.thermodynamics import Curves, Ensemble
from latflow.trajectories.features import FeatureList

pytestmark = pytest.mark.filterwarnings("ignore:Only one metastable state:UserWarning")

DATA = Path(__file__).parent / "data"
SETTINGS: dict[str, Any] = {
    "lagtime": 3,
    "hidden_features": (4,),
    "n_states": 10,
    "max_iter": 20,
    "n_refinements": 0,
    "boltzmann_constant": 1.0,
    "random_state": 2,
}
SHORT: dict[str, Any] = {"hidden_features": (4,), "max_iter": 20, "random_state": 0}


def latf(**parameters: Any) -> LaTFEstimator:
    return LaTFEstimator(**SETTINGS | parameters)


def extrapolator(method: str, **parameters: Any) -> TemperatureExtrapolator:
    return TemperatureExtrapolator(**{"estimator": latf(), "method": method} | SHORT | parameters)


Data = tuple[list[np.ndarray], dict[str, Any]]


@pytest.fixture(scope="module")
def data(three_hole: dict[str, Any]) -> Data:
    X, temperature = three_hole["trajectories"], three_hole["temperature"]
    energy = [u[:50] for u in three_hole["energy"][18:22]]
    return [x[:50] for x in X[18:22]], {"temperature": temperature[18:22], "energy": energy}


def with_temperature(estimator: Any, data: Data) -> Any:
    metadata = dict(data[1])
    if isinstance(estimator, LaTFEstimator):
        del metadata["energy"]
    return estimator.fit(data[0], **metadata)


def named(estimator: Any, data: Data) -> Any:
    X = [pd.DataFrame(x, columns=["x", "y"]) for x in data[0]]
    return estimator.fit(X, temperature=data[1]["temperature"])


MODELS: dict[str, Callable[[Data], Any]] = {
    "latf": lambda data: with_temperature(latf(), data),
    "latf, one component": lambda data: with_temperature(latf(n_components=1), data),
    "latf, linear and affine": lambda data: with_temperature(
        latf(encoder="linear", flow="affine", standardize=False, n_components=3), data
    ),
    "latf, array": lambda data: latf().fit(data[0][0]),
    "latf, names": lambda data: named(latf(), data),
    "enthalpy": lambda data: with_temperature(extrapolator("enthalpy"), data),
    "enthalpy, ensemble": lambda data: with_temperature(
        extrapolator("enthalpy", n_bootstraps=10), data
    ),
    "enthalpy, names": lambda data: named(extrapolator("enthalpy"), data),
    "tilted": lambda data: with_temperature(extrapolator("tilted"), data),
    "tilted, no temperature": lambda data: extrapolator("tilted").fit(data[0][0]),
    "mbar": lambda data: with_temperature(extrapolator("mbar"), data),
    "mbar, one component": lambda data: with_temperature(
        extrapolator("mbar", estimator=latf(n_components=1)), data
    ),
    "mbar, frozen": lambda data: with_temperature(
        extrapolator("mbar", estimator=FrozenEstimator(with_temperature(latf(), data))), data
    ),
}


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest, data: Data) -> Any:
    return MODELS[request.param](data)


@pytest.fixture(scope="module")
def small(data: Data) -> LaTFEstimator:
    return with_temperature(latf(), data)


@pytest.fixture
def saved(small: LaTFEstimator, tmp_path: Path) -> Path:
    path = tmp_path / "model.latflow"
    save(small, path)
    return path


# ------------------------------------------------------------------ the same outputs


def outputs(model: Any, data: Data) -> dict[str, Any]:
    """Everything a fitted estimator answers."""
    X: Any = data[0]
    if hasattr(model, "feature_names_in_"):
        X = [pd.DataFrame(x, columns=["x", "y"]) for x in X]
    z = model.transform(X)[0]
    z = z[np.argsort(z[:, 0])]
    found = {"transform": z, "predict": model.predict(X), "proba": model.predict_proba(X)}
    found["score"] = model.score(X)
    found["sample"] = model.sample(7, random_state=0)
    found["log_density"] = model.log_density(z)
    return found | (of_latf if isinstance(model, LaTFEstimator) else of_temperatures)(model, X, z)


def of_latf(model: LaTFEstimator, X: Any, z: np.ndarray) -> dict[str, Any]:
    return {
        "score_samples": model.score_samples(X),
        "predict_latent": model.predict_latent(z),
        "to_prior": model.to_prior(z),
        "from_prior": model.from_prior(z),
        "interpolate": model.interpolate(z[0], z[-1], 5),
    }


def of_temperatures(model: TemperatureExtrapolator, X: Any, z: np.ndarray) -> dict[str, Any]:
    if not len(model.temperatures_):
        return {}
    values = [np.asarray(x)[:, 0] for x in X]
    return {
        "sample 1": model.sample(7, 1.0, random_state=0),
        "log_density 1": model.log_density(z, 1.0),
        "frame_weights": model.frame_weights(1.0),
        "state_populations": model.state_populations([0.9, 1.1]),
        "free_energy": model.free_energy(z, 1.0),
        "expectation": model.expectation(values, [0.9, 1.1]),
    }


def assert_identical(a: Any, b: Any) -> None:
    """Equal bit for bit."""
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert list(a) == list(b)
        a, b = list(a.values()), list(b.values())
    if isinstance(a, list | tuple):
        for one, other in zip(a, b, strict=True):
            assert_identical(one, other)
    elif isinstance(a, pd.DataFrame):
        pd.testing.assert_frame_equal(a, b, check_exact=True)
    elif isinstance(a, np.ndarray) and a.dtype.kind != "O":
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    elif isinstance(a, torch.nn.Module):
        assert_identical(*({k: v.numpy() for k, v in one.state_dict().items()} for one in (a, b)))
    elif dataclasses.is_dataclass(a):  # their fields: what is cached beside is made anew
        names = [field.name for field in dataclasses.fields(a)]
        assert_identical(*({name: getattr(one, name) for name in names} for one in (a, b)))
    elif isinstance(a, BaseEstimator | Ensemble):
        assert_identical(vars(a), vars(b))
    else:
        np.testing.assert_equal(a, b)


def through_a_file(model: Any, folder: Path) -> Any:
    save(model, folder / "model.latflow")
    return load(folder / "model.latflow")


def through_joblib(model: Any, folder: Path) -> Any:
    joblib.dump(model, folder / "model.joblib")
    return joblib.load(folder / "model.joblib")


ROUND_TRIPS: dict[str, Callable[[Any, Path], Any]] = {
    "save and load": through_a_file,
    "save and load, twice": lambda m, folder: through_a_file(through_a_file(m, folder), folder),
    "pickle": lambda model, folder: pickle.loads(pickle.dumps(model)),
    "joblib": through_joblib,
    "copy": lambda model, folder: copy.deepcopy(model),
}


@pytest.mark.parametrize("trip", ROUND_TRIPS)
def test_round_trips_are_bit_identical(model: Any, data: Data, tmp_path: Path, trip: str) -> None:
    back = ROUND_TRIPS[trip](model, tmp_path)
    assert type(back) is type(model)
    assert repr(back) == repr(model)
    assert_identical(back, model)
    assert_identical(outputs(back, data), outputs(model, data))


def test_a_clone_of_what_was_loaded_is_unfitted(model: Any, tmp_path: Path) -> None:
    fresh = clone(through_a_file(model, tmp_path))
    assert repr(fresh) == repr(model)
    assert not [name for name in vars(fresh) if name.endswith("_")]


@pytest.mark.parametrize("name", ["latf", "latf, one component", "enthalpy", "mbar, frozen"])
def test_a_loaded_model_refits(data: Data, tmp_path: Path, name: str) -> None:
    model = MODELS[name](data)
    again = with_temperature(through_a_file(model, tmp_path), data)
    assert_identical(outputs(again, data), outputs(model, data))


def test_states_had_merged(small: LaTFEstimator) -> None:
    # the reference code cannot load a checkpoint then: its sizes are those before merging
    assert 1 < small.n_states_ < 10


def test_set_output_is_kept(small: LaTFEstimator, data: Data, tmp_path: Path) -> None:
    wrapped = copy.deepcopy(small).set_output(transform="pandas")
    found = through_a_file(wrapped, tmp_path).transform(data[0])
    pd.testing.assert_frame_equal(found[0], wrapped.transform(data[0])[0])


def test_a_random_state_object_is_stored_as_none(data: Data, tmp_path: Path) -> None:
    model = with_temperature(latf(random_state=np.random.RandomState(0)), data)
    assert through_a_file(model, tmp_path).random_state is None


def test_metadata_requests_are_no_hindrance(data: Data, tmp_path: Path) -> None:
    with sklearn.config_context(enable_metadata_routing=True):
        model = with_temperature(latf().set_fit_request(weights=False), data)
        assert_identical(outputs(through_a_file(model, tmp_path), data), outputs(model, data))


def test_numbers_of_numpy_as_parameters(data: Data, tmp_path: Path) -> None:
    numbers = {"lagtime": np.int64(3), "tol": np.float32(0.1), "standardize": np.bool_(True)}
    model = with_temperature(latf(**numbers, hidden_features=[4]), data)
    back = through_a_file(model, tmp_path)
    assert back.get_params() == model.get_params()
    assert_identical(outputs(back, data), outputs(model, data))


# ------------------------------------------------------------------ paths


@pytest.mark.parametrize("kind", [str, Path])
def test_a_bare_name_is_a_file_here(
    small: LaTFEstimator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type
) -> None:
    monkeypatch.chdir(tmp_path)
    save(small, kind("run1"))
    assert os.listdir() == ["run1"]
    assert load(kind("run1")).n_states_ == small.n_states_


def test_an_old_file_is_replaced(small: LaTFEstimator, saved: Path, data: Data) -> None:
    other = with_temperature(latf(n_components=1), data)
    save(other, saved)
    assert load(saved).n_components == 1
    assert os.listdir(saved.parent) == [saved.name]


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_others_may_read_the_file_as_any_other(saved: Path) -> None:
    usual = saved.with_name("usual")
    usual.touch()
    assert stat.S_IMODE(saved.stat().st_mode) == stat.S_IMODE(usual.stat().st_mode)


# ------------------------------------------------------------------ what cannot be read


def test_truncated(saved: Path) -> None:
    whole = saved.read_bytes()
    for length in [*range(0, 200, 20), *range(200, len(whole), 997), len(whole) - 1]:
        saved.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"whole file .*, which is truncated or of another"):
            load(saved)


@pytest.fixture(scope="module")
def whole(small: LaTFEstimator, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    path = tmp_path_factory.mktemp("flipped") / "model.latflow"
    save(small, path)
    return path, path.read_bytes()


@settings(max_examples=300, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255))
def test_a_changed_byte_is_refused(whole: Any, place: float, change: int) -> None:
    path, content = whole
    changed = bytearray(content)
    changed[int(place * len(content))] ^= change
    path.write_bytes(changed)
    with pytest.raises(ValueError, match=r"^Expected .*\.$"):
        load(path)


@pytest.mark.parametrize("sealed", [(b'"latflow":"', b"9"), (b'"format":"', b"4")])
def test_what_earlier_formats_left_out_is_under_the_seal(whole: Any, sealed: Any) -> None:
    path, content = whole
    begin = content.index(sealed[0]) + len(sealed[0])
    assert content[begin : begin + 1] != sealed[1]
    path.write_bytes(content[:begin] + sealed[1] + content[begin + 1 :])
    with pytest.raises(ValueError, match="as it was saved, got one that was changed since"):
        load(path)


def test_a_flipped_byte_among_the_numbers(saved: Path) -> None:
    content = bytearray(saved.read_bytes())
    content[-5] ^= 1
    saved.write_bytes(content)
    with pytest.raises(ValueError, match="as it was saved, got one that was changed since"):
        load(saved)


def header_of(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    return json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])


def rewrite(path: Path, *, sign: bool = False, **changes: str) -> None:
    """Write the file again with other entries of its header, its check sum made anew if asked."""
    with persistence.safe_open(path, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    header = header_of(path)["__metadata__"] | changes
    save_file(arrays, path, metadata=header | ({"sha256": "0" * 64} if sign else {}))
    if sign:
        path.write_bytes(persistence._sealed(path.read_bytes()))


def test_an_edited_header(saved: Path) -> None:
    tree = header_of(saved)["__metadata__"]["tree"]
    rewrite(saved, tree=tree.replace('"lagtime": 3', '"lagtime": 4'))
    with pytest.raises(ValueError, match="as it was saved, got one that was changed since"):
        load(saved)


def test_a_newer_format(saved: Path) -> None:
    rewrite(saved, format="6", latflow="9.1.0")
    message = "format 5 or older, got format 6 in .*, written by latflow 9.1.0: install"
    with pytest.raises(ValueError, match=message):
        load(saved)


@pytest.mark.parametrize("number", ["one", "", "-1"])
def test_a_format_that_is_none(saved: Path, number: str) -> None:
    rewrite(saved, format=number)
    with pytest.raises(ValueError, match=r"a file written by latflow.save, got .* not one"):
        load(saved)


def test_a_file_of_another_program(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"weight": np.zeros(3)}, path)
    with pytest.raises(ValueError, match=r"a file written by latflow.save, got .* not one"):
        load(path)


@pytest.mark.parametrize("content", [b"", b"x", np.random.default_rng(0).bytes(5000)])
def test_random_bytes(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "noise").write_bytes(content)
    with pytest.raises(ValueError, match="truncated or of another kind"):
        load(tmp_path / "noise")


def test_a_pickle_is_not_opened(small: LaTFEstimator, tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(small))
    with pytest.raises(ValueError, match="truncated or of another kind"):
        load(tmp_path / "model.pkl")


@pytest.mark.parametrize("name", ["nothing.latflow", "."])
def test_a_missing_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileNotFoundError, match=r"written by latflow\.save, found none at"):
        load(tmp_path / name)


# ------------------------------------------------------------------ what cannot be written


class Mine(LaTFEstimator):
    pass


def unsavable(small: LaTFEstimator) -> LaTFEstimator:
    model = copy.deepcopy(small)
    model.extra_ = {"thing": object()}
    return model


def subclass(small: LaTFEstimator) -> LaTFEstimator:
    model = Mine()
    vars(model).update(vars(small))
    return model


REFUSED: dict[str, tuple[Any, type[Exception], str]] = {
    "unfitted": (lambda m: latf(), NotFittedError, "LaTFEstimator instance is not fitted yet"),
    "unfitted extrapolator": (
        lambda m: extrapolator("mbar"),
        NotFittedError,
        "TemperatureExtrapolator instance is not fitted yet",
    ),
    "type": (
        lambda m: StandardScaler(),
        TypeError,
        "to be a LaTFEstimator or TemperatureExtrapolator, got StandardScaler",
    ),
    "frozen": (FrozenEstimator, TypeError, "got FrozenEstimator"),
    "module": (lambda m: m.model_, TypeError, "got LatentModel"),
    "subclass": (subclass, TypeError, "to be data that can be saved, got Mine"),
    "attribute": (unsavable, TypeError, "`extra_.thing` to be data that can be saved, got object"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_leaves_the_folder_as_it_was(
    small: LaTFEstimator, saved: Path, case: str
) -> None:
    make, error, message = REFUSED[case]
    before = saved.read_bytes()
    for path in (saved, saved.with_name("new.latflow")):
        with pytest.raises(error, match=message):
            save(make(small), path)
    assert os.listdir(saved.parent) == [saved.name]
    assert saved.read_bytes() == before


def test_a_missing_folder(small: LaTFEstimator, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"`path` in an existing folder, got .*runs"):
        save(small, tmp_path / "runs" / "model.latflow")
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_old_file_survives_a_failing_write(
    small: LaTFEstimator, saved: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    before = saved.read_bytes()

    write = Path.write_bytes

    def half(path: Path, data: bytes) -> int:
        write(path, data[:100])
        raise error("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", half)
        with pytest.raises(error, match="disk full"):
            save(small, saved)
    assert os.listdir(saved.parent) == [saved.name]
    assert saved.read_bytes() == before


def test_a_folder_in_the_way(small: LaTFEstimator, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        save(small, tmp_path / "taken")
    assert os.listdir(tmp_path) == ["taken"]


# ------------------------------------------------------------------ no code inside


def nodes(tree: Any) -> Iterator[Any]:
    yield tree
    children = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    for child in children:
        yield from nodes(child)


def test_the_file_holds_numbers_and_json_only(model: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.latflow"
    save(model, path)
    header = header_of(path)
    tree = json.loads(header.pop("__metadata__")["tree"])
    named = [n.get("object", n.get("module")) for n in nodes(tree) if isinstance(n, dict)]
    assert {n for n in named if isinstance(n, str)} <= {
        "ConditionalDensity",
        "Curves",
        "Energies",
        "Ensemble",
        "Evidence",
        "FrozenEstimator",
        "LaTFEstimator",
        "LatentModel",
        "LogLinear",
        "Pool",
        "TemperatureExtrapolator",
        "Units",
        "Weighting",
    }
    assert {entry["dtype"] for entry in header.values()} <= {"F64", "F32", "I64", "I32", "BOOL"}
    last = max(entry["data_offsets"][1] for entry in header.values())
    start = 8 + int.from_bytes(path.read_bytes()[:8], "little")
    assert path.stat().st_size == start + last  # nothing else


def test_reading_never_unpickles(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: Any, **kwargs: Any) -> None:
        raise AssertionError

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, never)
    assert load(saved).n_components == 2


@pytest.mark.parametrize("kind", ["object", "module"])
def test_an_unknown_name_is_refused(saved: Path, kind: str) -> None:
    tree = {kind: "Popen", "state": {"args": "true"}, "config": {}, "weights": {}}
    rewrite(saved, tree=json.dumps(tree), sign=True)
    with pytest.raises(ValueError, match="Popen"):
        load(saved)


# ------------------------------------------------------------------ files of older formats


POINTS = [[-1.0, -0.5], [0.0, 0.3], [1.2, 0.8]]


def asked_of_old_files(model: Any) -> dict[str, Any]:
    X = np.array(POINTS)
    found = {
        "transform": model.transform(X),
        "predict": model.predict(X),
        "predict_proba": model.predict_proba(X),
        "log_density": model.log_density(POINTS, 1.0),
    }
    if isinstance(model, LaTFEstimator):
        found["score_samples"] = model.score_samples(X, 1.2)
        found["populations"] = model.populations_
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # bootstraps of so few frames disagree: NaN
            energy = model.free_energy(POINTS, 1.0)
            found["free_energy"] = energy - np.nanmin(energy)  # 0 at the lowest point before
        found["state_populations"] = model.state_populations([0.8, 1.0, 1.2])
        found["first_frame_weights"] = model.frame_weights(1.0)[0][:5]
    return {name: np.asarray(values).tolist() for name, values in found.items()}


@pytest.mark.parametrize(
    ("name", "number"),
    [("latf", 1), *(("extrapolator", number) for number in (1, 2, 3, 4))],
)
def test_files_of_every_format_still_give_the_same_numbers(name: str, number: int) -> None:
    path = DATA / f"{name}_format{number}.latflow"
    assert path.stat().st_size < 300_000
    expected = json.loads((DATA / f"format{number}_expected.json").read_text())[name]
    found = asked_of_old_files(load(path))
    assert list(found) == list(expected)
    for key, values in expected.items():
        np.testing.assert_allclose(found[key], values, rtol=1e-8, atol=1e-12, err_msg=key)
    assert load(path).sample(3, 1.0, random_state=0).shape == (3, 2)


@pytest.mark.parametrize(("number", "crossings"), [(1, 4), (2, 4), (3, 3), (4, 5)])
def test_files_of_every_format_know_what_was_observed(number: int, crossings: int) -> None:
    model = load(DATA / f"extrapolator_format{number}.latflow")
    support = model.support([0.8, 1.1, 1.2])
    assert support["role"].tolist() == ["simulated", "between", "simulated"]
    assert (support["support"] == "extrapolated").all()
    assert (support["crossings"] == crossings).all()
    assert support["reason"].str.contains(f"{crossings} crossings each way").all()
    overlap = model.ensemble_.evidence.overlap
    np.testing.assert_allclose(overlap.sum(axis=1), 1, atol=1e-4)
    table = model.thermodynamics(1.0)
    errors = table.filter(regex="_error$")
    assert table.notna().all(axis=None)
    assert (errors[["free_energy_error", "energy_error"]] > 0).all(axis=None)


@pytest.mark.parametrize("number", [3, 4])
def test_energies_of_files_answer_for_the_whole_system(number: int) -> None:
    model = load(DATA / f"extrapolator_format{number}.latflow")
    pool, energy = model.ensemble_.pool, model.ensemble_.energy
    table = model.whole_system(model.temperatures_)
    own = [energy[pool.origin == k].mean() for k in range(len(pool.betas))]
    np.testing.assert_allclose(table["energy"], own, rtol=1e-9)
    assert (table["energy_error"] > 0).all()


def test_bootstraps_of_format_3_know_which_blocks_they_drew() -> None:
    ensemble = load(DATA / "extrapolator_format3.latflow").ensemble_
    pool = ensemble.pool
    for bootstrap in ensemble.bootstraps:
        times = bootstrap.times
        assert (times == np.rint(times)).all()
        per_temperature = np.bincount(pool.strata[1], times)
        np.testing.assert_array_equal(per_temperature, np.bincount(pool.strata[1]))
        absent = ~np.isfinite(bootstrap.log_base)
        np.testing.assert_array_equal(absent, pool.weights_of(times) == 0)


def test_files_without_energies_ask_for_them() -> None:
    with pytest.raises(ValueError, match="knows the potential energy of every frame"):
        load(DATA / "extrapolator_format2.latflow").whole_system(1.0)


@pytest.mark.parametrize("lagtime", [1, 3])
@pytest.mark.parametrize("length", [2, 60])
def test_segments_of_old_arrays_are_walkers_where_a_visit_fits(lagtime: int, length: int) -> None:
    """Segments that are too short for two visits are taken as draws."""
    ensemble = load(DATA / "extrapolator_format3.latflow").ensemble_
    ensemble.lengths, n = None, len(ensemble.pool)
    order = np.argsort(ensemble.pool.origin, kind="stable")[::-1]
    frames = persistence._frames_of(ensemble, order, np.arange(length, n, length), lagtime)
    np.testing.assert_array_equal(np.bincount(frames.trajectory), length)
    np.testing.assert_array_equal(frames.frame[order], np.tile(np.arange(length), n // length))
    np.testing.assert_array_equal(frames.origin, ensemble.pool.origin)
    followed = length >= 2 * lagtime
    assert (frames.dynamics == followed).all()


def test_curves_with_a_heat_capacity_outside_come_back(data: Data, tmp_path: Path) -> None:
    model = MODELS["enthalpy, ensemble"](data)
    ensemble, rng = model.ensemble_, np.random.default_rng(0)
    n, betas = len(ensemble.pool), ensemble.pool.betas
    route = Curves(rng.standard_normal((n, 3)), betas, rng.random(n))
    answer = dataclasses.replace(ensemble.answer, route=route)
    model = copy.deepcopy(model)
    model.ensemble_.answer = answer
    back = through_a_file(model, tmp_path)
    assert_identical(back.ensemble_.answer, answer)
    for t in (0.5, 0.9, 3.0):
        np.testing.assert_array_equal(back.ensemble_.at(t).weights, model.ensemble_.at(t).weights)


def test_how_features_were_made_travels_into_the_file(data: Data, tmp_path: Path) -> None:
    """From the featurizer's list through fit, in both estimators, to what is loaded."""
    manifest = {"featurizer": "Distances", "parameters": {"atoms": [[0, 1]]}, "stride": 10}
    features = FeatureList(data[0], manifest=manifest), data[1]
    for estimator in (latf(), extrapolator("mbar")):
        model = with_temperature(estimator, features)
        assert model.manifest_ == manifest
        save(model, tmp_path / "model.latflow")
        assert load(tmp_path / "model.latflow").manifest_ == manifest
    assert latf().fit(data[0][0]).manifest_ is None
