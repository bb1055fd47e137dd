"""How far a fitted model can be trusted: temperatures left out, independent ways to populations."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import Melting, fit_quietly, quick_extrapolator, quick_latf, tiny_extrapolator
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

from latflow import TemperatureExtrapolator, stack
from latflow.estimators.validation import cross_check, validate
from latflow.thermodynamics import Ensemble
from latflow.trajectories import gather_frames


def molten_state(model: Any) -> int:
    """Number of the molten state: the one of a frame in its well."""
    return int(model.predict(np.array([[1.0, 0, 0, 0]]))[0])


def test_free_energies_are_withheld_where_unsupported() -> None:
    X, metadata = Melting.pooled(n_trajectories=10, n_frames=200)
    wide = tiny_extrapolator(quick_latf(lagtime=1), temperature_range=(0.05, 5.0))
    fit_quietly(wide, X, temperature=metadata["temperature"])
    assert wide.support(0.05)["support"].tolist() == ["unsupported"]
    with pytest.warns(UserWarning, match=r"Temperature 0.05 is unsupported"):
        assert np.isnan(wide.free_energy(wide.z_[:50], 0.05)).all()
    assert np.isfinite(wide.free_energy(wide.z_[:50], 0.8)).any()


# ------------------------------------------------------------------ temperatures left out


@pytest.fixture(scope="module")
def three_temperatures() -> tuple[list[np.ndarray], dict[str, Any]]:
    return Melting.pooled((0.6, 0.75, 1.0), seed=7)


@pytest.fixture(scope="module")
def outer(three_temperatures: Any) -> TemperatureExtrapolator:
    """Fitted at the lowest and the highest of the three temperatures."""
    X, metadata = three_temperatures
    kept = [k for k, t in enumerate(metadata["temperature"]) if t != 0.75]
    model = quick_extrapolator(quick_latf(lagtime=1), n_bootstraps=20)
    return model.fit([X[k] for k in kept], temperature=[metadata["temperature"][k] for k in kept])


@pytest.fixture(scope="module")
def judged(three_temperatures: Any, outer: Any) -> pd.DataFrame:
    X, metadata = three_temperatures
    return outer.validate(X, temperature=metadata["temperature"])


def unseen_of(three_temperatures: Any) -> tuple[list[np.ndarray], list[float]]:
    """Trajectories, and temperatures, of the one that the model was not fitted at."""
    X, metadata = three_temperatures
    kept = [x for x, t in zip(X, metadata["temperature"], strict=True) if t == 0.75]
    return kept, [0.75] * len(kept)


def test_validation_predicts_what_was_left_out(judged: pd.DataFrame, outer: Any) -> None:
    roles = judged["role"].groupby(level="temperature").first()
    assert roles.to_dict() == {0.6: "left out", 0.75: "unseen", 1.0: "left out"}
    error = np.hypot(judged["predicted_error"], judged["simulated_error"])
    assert (judged["difference"].abs() < 4 * error + 0.02).all()
    assert (judged["jensen_shannon"] < judged["noise_floor"] + 0.05).all()
    np.testing.assert_allclose(judged["difference"], judged["predicted"] - judged["simulated"])
    exact = [Melting.molten(t) for t in (0.6, 0.75, 1.0)]
    simulated = judged.xs(molten_state(outer), level="state")
    assert (abs(simulated["simulated"] - exact) < 4 * simulated["simulated_error"]).all()


def test_an_unseen_temperature_is_predicted_by_the_model_a_left_out_one_by_another(
    judged: pd.DataFrame, outer: Any
) -> None:
    predicted = judged[["predicted", "predicted_error"]]
    np.testing.assert_array_equal(predicted.loc[0.75], outer.state_populations(0.75))
    for t in (0.6, 1.0):
        left_out, with_it = predicted.loc[t, "predicted"], outer.state_populations(t)["population"]
        assert (left_out.to_numpy() != with_it.to_numpy()).all()


def test_simulated_populations_are_those_of_an_ensemble_of_one_temperature(
    three_temperatures: Any, judged: pd.DataFrame, outer: Any
) -> None:
    X, metadata = three_temperatures
    for t in (0.6, 0.75, 1.0):
        some = [x for x, u in zip(X, metadata["temperature"], strict=True) if u == t]
        states = outer.predict(some)
        alone = Ensemble(
            [0.0 * s for s in states], [t] * len(states), states=states, boltzmann_constant=1.0
        )
        simulated = judged.loc[t, ["simulated", "simulated_error"]]
        np.testing.assert_allclose(simulated, alone.state_populations(t))


def test_lists_stacked_rows_in_any_order_and_gathered_frames_are_judged_alike(
    three_temperatures: Any, judged: pd.DataFrame, outer: Any
) -> None:
    X, temperature = unseen_of(three_temperatures)
    from_list = outer.validate(X, temperature=temperature)
    rows, ends = stack(X, temperature=temperature)
    order = np.random.default_rng(0).permutation(len(rows))
    stacked = outer.validate(rows[order], **{name: v[order] for name, v in ends.items()})
    sampled = ["jensen_shannon", "noise_floor"]  # drawn from the frames by their order
    pd.testing.assert_frame_equal(stacked.drop(columns=sampled), from_list.drop(columns=sampled))
    frames = gather_frames(outer, X, reset=False, temperature=temperature)
    pd.testing.assert_frame_equal(validate(outer, frames), from_list)
    pd.testing.assert_frame_equal(from_list, judged.loc[[0.75]])


def test_two_temperatures_leave_nothing_to_predict_from(melting: Any) -> None:
    system, model = melting
    X, metadata = system.pooled(n_trajectories=4, n_frames=100, seed=3)
    table = model.validate(X, temperature=metadata["temperature"])
    assert set(table["role"]) == {"not judged"}
    assert table["predicted"].isna().all()
    assert table["simulated"].notna().all()


def test_validate_wants_temperatures(melting: Any) -> None:
    X, _ = melting[0].pooled(n_trajectories=2, n_frames=50)
    with pytest.raises(ValueError, match="Expected `temperature` of every trajectory, got none"):
        melting[1].validate(X, temperature=None)


def test_validate_wants_states_where_the_estimator_predicts_none() -> None:
    X, metadata = Melting.pooled(n_trajectories=4, n_frames=100)
    states = [(x[:, 0] > 0).astype(int) for x in X]
    model = tiny_extrapolator(PCA(1), boltzmann_constant=1.0)
    fit_quietly(model, X, temperature=metadata["temperature"], states=states)
    unseen, more = Melting.pooled((0.75,), seed=1, n_trajectories=4, n_frames=100)
    with pytest.raises(ValueError, match="Expected `states` for a model whose states are not its"):
        model.validate(unseen, temperature=more["temperature"])
    labels = [(x[:, 0] > 0).astype(int) for x in unseen]
    table = model.validate(unseen, temperature=more["temperature"], states=labels)
    molten = np.concatenate(labels).mean()
    assert table.loc[(0.75, 1), "simulated"] == pytest.approx(molten)


def test_the_tilted_method_has_nothing_left_out(three_temperatures: Any) -> None:
    X, metadata = three_temperatures
    model = tiny_extrapolator(quick_latf(lagtime=1), method="tilted")
    fit_quietly(model, X, temperature=metadata["temperature"])
    with pytest.raises(ValueError, match="nothing can be left out of it"):
        model.validate(X, temperature=metadata["temperature"])


# ------------------------------------------------------------------ three ways to populations


def test_three_ways_agree(melting: Any) -> None:
    system, model = melting
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # so short a generator may be off by more than its noise
        table = model.cross_check()
    state = molten_state(model)
    for t in (0.6, 1.0):
        row, exact = table.loc[t, state], system.molten(t)
        assert abs(row["frames"] - exact) < 4 * row["frames_error"]
        assert abs(row["msm"] - exact) < 4 * row["msm_error"]
        assert row["flow"] == pytest.approx(exact, abs=0.06)
    frames = table[["frames", "frames_error"]]
    np.testing.assert_array_equal(frames, model.state_populations([0.6, 1.0]))


def test_a_way_that_leads_elsewhere_names_the_state(melting: Any, monkeypatch: Any) -> None:
    model = melting[1]
    monkeypatch.setattr(model, "sample", lambda n, *_, **__: np.repeat(model.z_[:1], n, axis=0))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.cross_check()
    said = [str(w.message) for w in caught]
    for state in (0, 1):
        assert any(s.startswith(f"State {state} at temperature 0.6: flow says") for s in said)


def test_weighted_frames_have_no_markov_model() -> None:
    X, metadata = Melting.pooled(n_trajectories=6, n_frames=200)
    weights = [np.linspace(0.5, 1.5, len(x)) for x in X]
    model = tiny_extrapolator(quick_latf(lagtime=1))
    fit_quietly(model, X, temperature=metadata["temperature"], weights=weights)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert model.cross_check()["msm"].isna().all()


def test_no_trajectory_longer_than_the_lagtime_gives_no_markov_model(melting: Any) -> None:
    model = melting[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = cross_check(model, lagtime=500)
        shorter = cross_check(model, lagtime=499)
    assert table["msm"].isna().all()
    assert shorter["msm"].notna().all()


@pytest.mark.parametrize(
    ("cold", "hot", "expected"),
    [(8, 8, 4), (8, 3, 2), (3, 8, 2), (8, 1, 1), (8, 40, 4), (40, 40, 1)],
)
def test_the_longest_lagtime_with_ten_crossings(cold: int, hot: int, expected: int) -> None:
    """Visits of this many frames, of 200 at each temperature: 40 leaves four crossings."""
    states = [np.arange(200) // visit % 2 for visit in (cold, hot)]
    rng = np.random.default_rng(0)
    X = [s[:, None] + 0.1 * rng.standard_normal((200, 2)) for s in states]
    model = tiny_extrapolator(PCA(1), method="mbar", max_iter=1, boltzmann_constant=1.0)
    energy = [0.1 * s + 0.1 * rng.standard_normal(200) for s in states]
    fit_quietly(model, X, temperature=[0.9, 1.1], energy=energy, states=states)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table, by_hand = model.cross_check(), model.cross_check(expected)
    assert table.attrs["lagtime"] == expected
    pd.testing.assert_frame_equal(table, by_hand)


def test_stacked_rows_in_any_order_take_the_same_ways() -> None:
    X, metadata = Melting.pooled(n_trajectories=5, n_frames=100)
    rows, ends = stack(X, temperature=metadata["temperature"])
    states = KMeans(2, random_state=0, n_init=1).fit_predict(rows[:, :1])
    shuffled = np.random.default_rng(0).permutation(len(rows))
    tables = []
    for order in (np.arange(len(rows)), shuffled):
        model = tiny_extrapolator(PCA(1), method="mbar", boltzmann_constant=1.0)
        some = {name: values[order] for name, values in ends.items()}
        energy = np.concatenate(metadata["energy"])[order]
        fit_quietly(model, rows[order], **some, energy=energy, states=states[order])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tables.append(model.cross_check()[["frames", "frames_error", "msm", "msm_error"]])
    pd.testing.assert_frame_equal(*tables)
    assert tables[0].notna().all(axis=None)


def test_a_model_without_states_has_nothing_to_compare() -> None:
    X, metadata = Melting.pooled(n_trajectories=4, n_frames=100)
    model = tiny_extrapolator(PCA(1), boltzmann_constant=1.0)
    fit_quietly(model, X, temperature=metadata["temperature"])
    with pytest.raises(ValueError, match="labels of your own as `states`"):
        model.cross_check()
