"""How far answers can be trusted: support, left-out temperatures, independent roads."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from conftest import QUICK

from latflow import LaTFEstimator, TemperatureExtrapolator


def test_support_falls_off_away_from_the_simulations(melting: Any) -> None:
    table = melting[1].support([0.1, 0.3, 0.6, 0.7, 0.8, 1.0, 1.3, 20.0])
    assert list(table["inside"]) == [False, False, True, True, True, True, False, False]
    assert (table.loc[0.6:1.0, "support"] == "supported").all()
    assert table.loc[[0.1, 20.0], "support"].tolist() == ["unsupported"] * 2
    assert table.loc[[0.6, 1.0], "overlap"].tolist() == pytest.approx([1, 1])
    assert table.loc[[0.6, 1.0], "spread"].tolist() == [0, 0]
    assert table["overlap"].loc[0.1] < table["overlap"].loc[0.3] < 1
    n = len(melting[1].z_)
    assert (table["effective_sample_size"] <= n).all()


def test_support_is_withheld_where_temperatures_hardly_overlap() -> None:
    """In the middle of a wide gap few frames of either side count."""
    rng = np.random.default_rng(0)
    x, temperature = [], []
    for t, shift in ((1.0, 0.0), (2.0, 5.0)):
        x += [rng.normal([shift, 0.0], 1.0, (200, 2)) for _ in range(10)]
        temperature += [t] * 10
    energy = [-5 * 2 * part[:, 0] for part in x]  # u_2 - u_1 = 5 x
    model = TemperatureExtrapolator(
        LaTFEstimator(**QUICK), method="mbar", max_iter=10, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(x, temperature=temperature, energy=energy)
    assert model.support([1.0, 1.33, 2.0])["overlap"].iloc[1] < 0.5


def test_free_energies_are_withheld_where_unsupported(melting: Any) -> None:
    X, metadata = melting[0].pooled(n_trajectories=10, n_frames=200)
    wide = TemperatureExtrapolator(
        LaTFEstimator(**QUICK | {"lagtime": 1}), temperature_range=(0.05, 5.0), max_iter=20,
        random_state=0,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wide.fit(X, temperature=metadata["temperature"])
    assert wide.support(0.05)["support"].tolist() == ["unsupported"]
    with pytest.warns(UserWarning, match=r"Temperature 0.05 is unsupported"):
        assert np.isnan(wide.free_energy(wide.z_[:50], 0.05)).all()
    assert np.isfinite(wide.free_energy(wide.z_[:50], 0.8)).any()


def test_validation_predicts_what_was_left_out(melting: Any) -> None:
    system = melting[0]
    X, metadata = system.pooled((0.6, 0.75, 1.0), seed=7)
    model = TemperatureExtrapolator(
        LaTFEstimator(**QUICK | {"lagtime": 1}), max_iter=300, random_state=0
    )
    some = [k for k, t in enumerate(metadata["temperature"]) if t != 0.75]
    model.fit([X[k] for k in some], temperature=[metadata["temperature"][k] for k in some])
    table = model.validate(X, temperature=metadata["temperature"])
    roles = table["role"].groupby(level="temperature").first()
    assert roles.to_dict() == {0.6: "left out", 0.75: "unseen", 1.0: "left out"}
    error = np.hypot(table["predicted_error"], table["simulated_error"])
    assert (table["difference"].abs() < 4 * error + 0.02).all()
    assert (table["jensen_shannon"] < table["noise_floor"] + 0.05).all()
    np.testing.assert_allclose(table["difference"], table["predicted"] - table["simulated"])
    exact = [system.molten(t) for t in (0.6, 0.75, 1.0)]
    state = int(model.predict(np.array([[1.0, 0, 0, 0]]))[0])
    simulated = table.xs(state, level="state")
    assert (abs(simulated["simulated"] - exact) < 4 * simulated["simulated_error"]).all()


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


def test_three_roads_agree(melting: Any) -> None:
    system, model = melting
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # so short a generator may be off by more than its noise
        table = model.cross_check()
    state = int(model.predict(np.array([[1.0, 0, 0, 0]]))[0])
    for t in (0.6, 1.0):
        row, exact = table.loc[t, state], system.molten(t)
        assert abs(row["frames"] - exact) < 4 * row["frames_error"]
        assert abs(row["msm"] - exact) < 4 * row["msm_error"]
        assert row["flow"] == pytest.approx(exact, abs=0.06)


def test_a_road_that_leads_elsewhere_names_the_state(melting: Any, monkeypatch: Any) -> None:
    model = melting[1]
    monkeypatch.setattr(model, "sample", lambda n, *_, **__: np.repeat(model.z_[:1], n, axis=0))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.cross_check()
    said = [str(w.message) for w in caught]
    for state in (0, 1):
        assert any(s.startswith(f"State {state} at temperature 0.6: flow says") for s in said)


def test_weighted_frames_have_no_markov_model(melting: Any) -> None:
    X, metadata = melting[0].pooled(n_trajectories=6, n_frames=200)
    weights = [np.linspace(0.5, 1.5, len(x)) for x in X]
    model = TemperatureExtrapolator(
        LaTFEstimator(**QUICK | {"lagtime": 1}), max_iter=20, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, temperature=metadata["temperature"], weights=weights)
        assert model.cross_check()["msm"].isna().all()


def test_stacked_rows_in_any_order_take_the_same_roads(melting: Any) -> None:
    from latflow import stack

    X, metadata = melting[0].pooled(n_trajectories=5, n_frames=100)
    rows, ends = stack(X, temperature=metadata["temperature"])
    order = np.random.default_rng(0).permutation(len(rows))
    found = []
    for chosen in (np.arange(len(rows)), order):
        model = TemperatureExtrapolator(
            LaTFEstimator(**QUICK | {"lagtime": 1}), method="tilted", random_state=0
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(rows[chosen], **{name: v[chosen] for name, v in ends.items()})
            found.append(model._msm_populations(0.6, 1)[0])
    np.testing.assert_allclose(np.sort(found[0]), np.sort(found[1]), atol=0.05)
