"""Markov state models against chains whose answers are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import quick_latf
from deeptime.markov import TransitionCountEstimator
from deeptime.markov.msm import MarkovStateModel, MaximumLikelihoodMSM

from latflow import kinetics
from latflow.datasets import make_three_hole, three_hole_timescales

TWO = np.array([[0.9, 0.1], [0.3, 0.7]])  # eigenvalue 0.6
THREE = np.array([[0.9, 0.1, 0.0], [0.05, 0.9, 0.05], [0.0, 0.2, 0.8]])


def chain(matrix: np.ndarray, lengths: list[int], seed: int) -> list[np.ndarray]:
    model = MarkovStateModel(matrix)
    return [
        model.simulate(n, start=k % len(matrix), seed=1000 * seed + k)
        for k, n in enumerate(lengths)
    ]


class TestMarkovModel:
    def test_is_deeptimes_maximum_likelihood(self) -> None:
        states = chain(THREE, [2000, 500, 900], 0)
        model = kinetics.markov_model(states, 3, random_state=0)
        counts = TransitionCountEstimator(3, "sliding").fit_fetch(states)
        expected = MaximumLikelihoodMSM().fit_fetch(counts)
        np.testing.assert_allclose(
            model.prior.transition_matrix, expected.transition_matrix, atol=1e-6
        )

    @pytest.mark.parametrize("lagtime", [1, 4])
    def test_posterior_covers_the_truth(self, lagtime: int) -> None:
        exact = -1 / np.log(0.6)
        inside = []
        for seed in range(60):
            states = chain(TWO, [1500], seed)
            (row,) = kinetics.implied_timescales(
                states, lagtime, confidence=0.9, random_state=seed
            ).itertuples()
            inside.append(row.low < exact < row.high)
        assert 0.8 <= np.mean(inside) <= 0.99  # binomial: 0.9 +- 0.04

    def test_seed(self) -> None:
        states = chain(THREE, [500], 0)
        drawn = [
            kinetics.markov_model(states, 1, n_samples=5, random_state=seed).samples[-1]
            for seed in (0, 0, 1)
        ]
        one, same, other = (sample.transition_matrix for sample in drawn)
        np.testing.assert_array_equal(one, same)
        assert np.abs(one - other).max() > 1e-4

    def test_no_transition_crosses_an_end(self) -> None:
        with pytest.warns(UserWarning, match=r"sets \[0\], \[1\]\. The model is of \[0\]; 37\.5%"):
            kinetics.markov_model([np.zeros(10, int), np.ones(6, int)], 2)

    def test_what_is_left_out_is_named(self) -> None:
        states = [*chain(TWO, [200], 0), 2 + chain(TWO, [50], 1)[0], np.full(9, 4)]
        assert [s.tolist() for s in kinetics.connected_sets(states)] == [[0, 1], [2, 3], [4]]
        with pytest.warns(UserWarning, match="not connected in both directions") as caught:
            model = kinetics.markov_model(states, 1)
        (warning,) = caught
        for text in ("[0, 1], [2, 3], [4]", "of [0, 1];", "22.8% of the frames"):
            assert text in str(warning.message)
        np.testing.assert_array_equal(model.prior.count_model.state_symbols, [0, 1])
        table = kinetics.mean_first_passage_times(model)
        assert set(table.index.get_level_values("target")) == {0, 1}

    def test_numbers_of_a_later_set_are_kept(self) -> None:
        states = [np.zeros(5, int), 3 + chain(TWO, [400], 0)[0]]
        with pytest.warns(UserWarning, match=r"sets \[3, 4\], \[0\]"):
            model = kinetics.markov_model(states, 1)
        table = kinetics.mean_first_passage_times(model)
        assert set(table.index.get_level_values("source")) == {3, 4}


class TestTimes:
    def test_mean_first_passage_of_two_states(self) -> None:
        model = kinetics.markov_model(chain(TWO, [200_000], 3), 1, random_state=0)
        table = kinetics.mean_first_passage_times(model, time_step=0.5)
        assert table.time[0, 0] == 0
        assert table.time[0, 1] == pytest.approx(0.5 / 0.1, rel=0.05)
        assert table.time[1, 0] == pytest.approx(0.5 / 0.3, rel=0.05)
        assert (table.low <= table.time).all()
        assert (table.time <= table.high).all()

    def test_passage_times_do_not_depend_on_the_lagtime(self) -> None:
        states = chain(np.array([[0.99, 0.01], [0.02, 0.98]]), [200_000], 4)
        short, long = (
            kinetics.mean_first_passage_times(kinetics.markov_model(states, lag, random_state=0))
            for lag in (1, 5)
        )
        np.testing.assert_allclose(short.time, long.time, rtol=0.1)

    def test_implied_timescales(self) -> None:
        table = kinetics.implied_timescales(
            chain(THREE, [100_000], 5), [1, 3], time_step=2.0, random_state=0
        )
        assert list(table.index) == [(2.0, 0), (2.0, 1), (6.0, 0), (6.0, 1)]
        eigenvalues = np.sort(np.abs(np.linalg.eigvals(THREE)))[::-1][1:]
        exact = -2.0 / np.log(eigenvalues)
        np.testing.assert_allclose(table.timescale.loc[2.0], exact, rtol=0.1)
        np.testing.assert_allclose(table.timescale.loc[6.0], exact, rtol=0.1)
        slowest = kinetics.implied_timescales(
            chain(THREE, [1000], 5), 1, n_timescales=1, n_samples=5, random_state=0
        )
        assert len(slowest) == 1

    def test_chapman_kolmogorov(self) -> None:
        states = chain(THREE, [50_000], 6)
        table = kinetics.chapman_kolmogorov(states, 2, n_multiples=3, time_step=0.1, random_state=0)
        assert sorted(set(table.index.get_level_values("time").round(9))) == [0.2, 0.4, 0.6]
        model = kinetics.markov_model(states, 2, n_samples=2).prior.transition_matrix
        for k in (1, 2, 3):
            rows = table.xs(table.index.get_level_values("time").unique()[k - 1], level="time")
            np.testing.assert_allclose(
                rows.predicted, np.linalg.matrix_power(model, k).ravel(), atol=1e-6
            )
            np.testing.assert_allclose(
                rows.estimated, np.linalg.matrix_power(THREE, 2 * k).ravel(), atol=0.03
            )

    def test_chapman_kolmogorov_of_a_process_with_memory_fails(self) -> None:
        # 0 is left at once, 2 hardly ever: seen as one state they remember which it was
        hidden = np.array([[0.5, 0.5, 0.0], [0.2, 0.6, 0.2], [0.0, 0.01, 0.99]])
        states = [np.array([0, 1, 0])[x] for x in chain(hidden, [50_000], 7)]
        row = kinetics.chapman_kolmogorov(states, 1, n_multiples=2, random_state=0).loc[2.0, 1, 1]
        assert row.predicted_high < row.estimated_low
        assert row.estimated == pytest.approx((hidden @ hidden)[1, 1], abs=0.03)

    @pytest.mark.parametrize("seed", range(3))
    def test_lagtime_of_a_process_without_memory(self, seed: int) -> None:
        states = chain(THREE, [20_000], seed)
        table = kinetics.lagtime_convergence(
            states, 2, temperature=[300], time_step=0.1, random_state=0
        )
        exact = -0.1 / np.log(np.sort(np.abs(np.linalg.eigvals(THREE)))[-2])
        (row,) = table.itertuples()
        assert row.timescale == pytest.approx(exact, abs=3 * row.error)
        assert row.doubled == pytest.approx(exact, abs=3 * row.doubled_error)
        assert row.change == pytest.approx(row.doubled / row.timescale - 1)

    def test_lagtime_within_the_memory_is_named(self) -> None:
        hidden = np.array([[0.5, 0.5, 0.0], [0.2, 0.6, 0.2], [0.0, 0.01, 0.99]])
        lost = [np.array([0, 1, 0])[x] for x in chain(hidden, [50_000], 7)]
        states, temperature = lost + chain(TWO, [20_000], 0), [300, 400]
        options = {"temperature": temperature, "random_state": 0}
        match = "At temperature 300 .* at lagtime=1 and .* and four times that: the states keep"
        for ask in (kinetics.lagtime_convergence, kinetics.rates):
            with pytest.warns(UserWarning, match=match) as caught:
                ask(states, 1, **options)
            assert len(caught) == 1

    def test_lagtimes_that_cannot_be_doubled(self) -> None:
        states = [*chain(TWO, [150], 0), *chain(TWO, [1000], 1)]
        table = kinetics.lagtime_convergence(states, 1, temperature=[300, 400], n_samples=5)
        assert np.isfinite(table.filter(regex="timescale|doubled|change|hidden")).all(axis=None)
        table = kinetics.lagtime_convergence(states, 100, temperature=[300, 400], n_samples=5)
        assert table[["doubled", "doubled_error", "change"]].isna().all(axis=None)
        alone = kinetics.lagtime_convergence([[1, 1, 1, 1]], 1, temperature=[300], n_samples=5)
        assert alone.isna().all(axis=None)


class TestTemperatures:
    def test_split_cuts_where_the_temperature_changes(self) -> None:
        states = [np.arange(5), np.arange(10, 13)]
        parts = kinetics.split_by_temperature(states, [[300, 300, 450, 450, 300], 450])
        assert list(parts) == [300.0, 450.0]
        assert [p.tolist() for p in parts[300.0]] == [[0, 1], [4]]
        assert [p.tolist() for p in parts[450.0]] == [[2, 3], [10, 11, 12]]

    def test_one_model_per_temperature(self) -> None:
        cold, hot = chain(TWO, [3000], 0), chain(TWO[::-1, ::-1], [3000], 1)
        models = kinetics.markov_models(
            cold + hot, 2, temperature=[300, 450], n_samples=3, random_state=0
        )
        alone = kinetics.markov_model(hot, 2, n_samples=3, random_state=0)
        assert list(models) == [300.0, 450.0]
        np.testing.assert_array_equal(
            models[450.0].prior.transition_matrix, alone.prior.transition_matrix
        )


class TestStatesOfLaTF:
    @pytest.mark.parametrize("seed", [0, 1])
    def test_timescales_of_the_three_hole_potential(self, seed: int) -> None:
        data = make_three_hole(200_000, 1.0, random_state=seed)
        model = quick_latf(lagtime=2, max_iter=480, random_state=seed).fit(data.trajectories)
        states = model.predict(data.trajectories)
        table = kinetics.implied_timescales(states, 35, time_step=data.time_step, random_state=0)
        exact = three_hole_timescales(1.0, 1)[0]
        assert table.timescale.iloc[0] == pytest.approx(exact, rel=0.1)
        assert table.low.iloc[0] < exact < table.high.iloc[0] * 1.05

    def test_labels_go_straight_into_deeptime(self, latf: Any, three_hole: Any) -> None:
        states = latf.predict(three_hole["trajectories"])
        counts = TransitionCountEstimator(5, "sliding").fit_fetch(states)
        msm = MaximumLikelihoodMSM().fit_fetch(counts.submodel_largest())
        ours = kinetics.markov_model(states, 5, n_samples=2)
        np.testing.assert_allclose(ours.prior.transition_matrix, msm.transition_matrix, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: kinetics.markov_model("abc", 1), "Expected `states` to be a list of arrays"),
        (lambda: kinetics.markov_model([], 1), "Expected `states` to be a list of arrays"),
        (lambda: kinetics.markov_model([[0.5, 1.0]], 1), "of trajectory 0 to be integers >= 0"),
        (lambda: kinetics.markov_model([[0, 1], [0, -1]], 1), "of trajectory 1 to be integers"),
        (
            lambda: kinetics.markov_model([[0, 1, 0]], 3),
            "longer than lagtime=3 frames, got at most 3",
        ),
        (lambda: kinetics.markov_model([[0, 1, 0]], 0), "`lagtime` to be an integer >= 1, got 0"),
        (
            lambda: kinetics.markov_model([[0, 1, 0]], 1, n_samples=1),
            "`n_samples` to be an integer >= 2",
        ),
        (
            lambda: kinetics.implied_timescales([[0, 1, 0, 1]], 1, confidence=1.0),
            "Expected `confidence` to be a number with 0 <= confidence < 1",
        ),
        (
            lambda: kinetics.implied_timescales([[0, 1, 0, 1]], 1, time_step=0),
            "Expected `time_step` to be a finite number > 0",
        ),
        (
            lambda: kinetics.split_by_temperature([[0, 1]], [300, 450]),
            r"one entry per trajectory \(1\), got 2",
        ),
    ],
)
def test_errors(call: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        call()
