"""Markov state models against chains whose answers are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import quick_latf
from deeptime.markov import TransitionCountEstimator
from deeptime.markov.msm import MarkovStateModel, MaximumLikelihoodMSM
from hypothesis import given, settings
from hypothesis import strategies as st

from latflow import kinetics
from latflow.datasets import make_three_hole, three_hole_timescales
from latflow.kinetics import chains, lumping, memory

TWO = np.array([[0.9, 0.1], [0.3, 0.7]])  # eigenvalue 0.6
THREE = np.array([[0.9, 0.1, 0.0], [0.05, 0.9, 0.05], [0.0, 0.2, 0.8]])


def wells(n: int = 12, barrier: float = 3.0) -> np.ndarray:
    """Return steps between neighbours on a line of sites with two wells."""
    energy = barrier / 2 * np.cos(4 * np.pi * (np.arange(n) + 0.5) / n)
    step = 0.4 * np.minimum(1, np.exp(energy[:, None] - energy))
    step *= np.abs(np.subtract.outer(np.arange(n), np.arange(n))) == 1
    return step + np.diag(1 - step.sum(axis=1))


WELLS = wells()
SLOWEST = -1 / np.log(np.sort(np.linalg.eigvals(WELLS).real)[-2])  # 154 frames


def two_wells(seed: int, n_frames: int = 4000) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return trajectories of wells and of sites."""
    sites = chain(WELLS, [n_frames] * 4, seed)
    return [x // 6 for x in sites], [x.astype(float) for x in sites]


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


class TestClusters:
    @settings(max_examples=30, deadline=None)
    @given(st.integers(0, 10_000), st.integers(3, 9), st.integers(2, 3))
    def test_lumping_keeps_populations_balance_and_slow_times(
        self, seed: int, n: int, n_states: int
    ) -> None:
        rng = np.random.default_rng(seed)
        flux = rng.lognormal(0, 1, (n, n))
        flux = (flux + flux.T) / (flux + flux.T).sum()
        populations = flux.sum(axis=1)
        fine = (np.eye(n) + flux / populations[:, None]) / 2
        states = np.eye(n_states)[rng.permutation(np.arange(n) % n_states)]
        matrix, lumped, told = lumping._lump(fine, populations, states)
        np.testing.assert_allclose(lumped, populations @ states)
        np.testing.assert_allclose(matrix.sum(axis=1), 1)
        balance = lumped[:, None] * matrix
        np.testing.assert_allclose(balance, balance.T, atol=1e-12)
        kept, all_of_them = (np.linalg.eigvals(m).real for m in (matrix, fine))
        changed = np.abs(np.subtract.outer(kept, all_of_them)).min(axis=1).max()
        # no transition matrix of three states need have these eigenvalues
        assert changed < (1e-9 if n_states == 2 else 0.2)
        assert -1e-9 <= told <= 1 + 1e-9

    def test_states_as_clusters_are_not_changed(self) -> None:
        states = chain(THREE, [2000, 500, 900], 0)
        values = [np.asarray(x, float) for x in states]
        model = kinetics.markov_model(states, 3, variables=values, n_samples=2, random_state=0)
        expected = kinetics.markov_model(states, 3, n_samples=2, random_state=0)
        for name in ("transition_matrix", "stationary_distribution"):
            np.testing.assert_allclose(
                getattr(model.prior, name), getattr(expected.prior, name), atol=1e-4
            )

    def test_timescales_do_not_depend_on_the_lagtime(self) -> None:
        states, sites = two_wells(0, 50_000)
        options = {"n_samples": 2, "random_state": 0}
        remembering = kinetics.implied_timescales(states, [1, 2, 4, 8], **options).timescale
        fine = kinetics.implied_timescales(states, [1, 2, 4, 8], variables=sites, **options)
        np.testing.assert_allclose(fine.timescale, SLOWEST, rtol=0.06)
        assert (remembering < [0.3 * SLOWEST, 0.5 * SLOWEST, 0.65 * SLOWEST, 0.8 * SLOWEST]).all()

    def test_bootstraps_cover_the_truth(self) -> None:
        inside = []
        for seed in range(60):
            states, sites = two_wells(seed, 2000)
            (row,) = kinetics.implied_timescales(
                states, 3, variables=sites, n_clusters=12, confidence=0.9, random_state=seed
            ).itertuples()
            inside.append(row.low < SLOWEST < row.high)
        assert 0.8 <= np.mean(inside) <= 0.99  # binomial: 0.9 +- 0.04

    def test_every_lagged_pair_is_in_one_block(self) -> None:
        states, sites = two_wells(0, 300)
        clusters = [x.astype(int) for x in sites]
        pairs = chains.Chain(states, clusters)
        for lagtime in (1, 7):
            counts = pairs.block_counts(pairs.blocks(2), lagtime)
            expected = TransitionCountEstimator(lagtime, "sliding").fit_fetch(clusters)
            total = np.reshape(counts.sum(axis=0), (12, 12))
            np.testing.assert_array_equal(total, expected.count_matrix)
        assert counts.shape[0] >= chains.FEWEST_BLOCKS

    @pytest.mark.parametrize("fine", [False, True])
    def test_numbers_of_states_do_not_matter(self, fine: bool) -> None:
        """Nor does memory grow with them: a table of all up to the last would take terabytes."""
        states, sites = two_wells(0, 300)
        far = [np.where(x == 0, 3, 10**6) for x in states]
        options: dict[str, Any] = {"n_samples": 3, "random_state": 0}
        if fine:
            options |= {"variables": sites, "n_clusters": 4}
        one, other = (kinetics.markov_model(x, 2, **options) for x in (states, far))
        np.testing.assert_array_equal(one.prior.transition_matrix, other.prior.transition_matrix)
        assert other.prior.count_model.state_symbols.tolist() == [3, 10**6]
        options["temperature"] = [1.0] * len(states)
        table = kinetics.rates(far, 2, **options)
        np.testing.assert_array_equal(table, kinetics.rates(states, 2, **options))
        assert table.index.get_level_values("source").tolist() == [3, 10**6]
        assert [s.tolist() for s in kinetics.connected_sets(far)] in [[[3, 10**6]]]

    def test_states_that_are_left_out_are_named_by_their_numbers(self) -> None:
        states = [np.array([7, 900, 7, 900, 7]), np.array([50, 50])]
        with pytest.warns(
            UserWarning, match=r"sets \[7, 900\], \[50\]\. The model is of \[7, 900\]"
        ):
            kinetics.markov_model(states, 1, n_samples=2, random_state=0)

    def test_each_temperature_has_its_frames(self) -> None:
        states, variables = [np.arange(5), np.arange(10, 12)], [np.arange(5.0), np.arange(10, 12)]
        parts = chains.chains_by_temperature(
            states, [[300, 300, 450, 450, 300], 450], variables, 5, np.random.RandomState(0)
        )
        assert [x.tolist() for x in parts[450.0].states] == [[2, 3], [10, 11]]
        # two clusters of four frames: 2 and 3, 10 and 11
        (a, b), (c, d) = parts[450.0].clusters
        assert a == b != c == d

    def test_seed(self) -> None:
        states, sites = two_wells(0)
        noisy = [x + np.random.default_rng(0).random(len(x)) for x in sites]
        one, same, other = (
            kinetics.markov_model(states, 2, variables=noisy, n_samples=2, random_state=seed)
            for seed in (0, 0, 1)
        )
        for a, b in zip((one.prior, *one.samples), (same.prior, *same.samples), strict=True):
            np.testing.assert_array_equal(a.transition_matrix, b.transition_matrix)
        assert np.abs(one.prior.transition_matrix - other.prior.transition_matrix).max() > 0

    def test_states_that_variables_do_not_tell_apart_are_named(self) -> None:
        _, sites = two_wells(0)
        odd = [x.astype(int) % 2 for x in sites]
        with pytest.warns(UserWarning, match="explain .*% of the variance of a slow process"):
            kinetics.markov_model(odd, 2, variables=sites, n_samples=2, random_state=0)

    def test_clusters_that_are_not_connected_are_named(self) -> None:
        states, sites = two_wells(0)
        far = [2 + states[0], *states[1:]], [100 + sites[0], *sites[1:]]
        with pytest.warns(UserWarning, match="not connected in both directions") as caught:
            model = kinetics.markov_model(far[0], 2, variables=far[1], n_samples=2, random_state=0)
        clusters, lost = (str(warning.message) for warning in caught)
        assert "25.0% of the frames are left out" in clusters
        assert "[2, 3] have no connected cluster" in lost
        assert model.prior.count_model.state_symbols.tolist() == [0, 1]


class TestMemory:
    def test_what_is_hidden_is_known_where_rates_fall_as_one_over_the_lagtime(self) -> None:
        times, rng = np.array([50.0, 20.0]), np.random.default_rng(0)
        lost = np.array([0.05, 0.02]) * rng.normal(1, 0.1, (9, 1))
        model = kinetics.markov_model([[0, 1, 0, 1, 1, 0, 0]], 2, n_samples=2)
        rates = {k: 1 / times + lost / (2 * k) for k in (1, 2, 4)}
        hidden = memory.Memory(model, rates).hidden()
        np.testing.assert_allclose(hidden, 1 - (1 / times) / rates[1], rtol=1e-6)

    @staticmethod
    def factors(hidden: float, error: float, *, off: float = 0.0) -> tuple[float, float]:
        """Return the factor of the rate, and the spread of its logarithm over samples."""
        shares = hidden + error * np.random.default_rng(0).standard_normal((4001, 1))
        shares[0] = hidden
        rates = {1: np.full((4001, 1), 0.02)}
        rates |= {2: 0.02 * (1 - shares / 2), 4: 0.02 * (1 - (shares + off) * 3 / 4)}
        model = kinetics.markov_model([[0, 1, 0, 1, 1]], 1, n_samples=2)
        factors = memory.Memory(model, rates).factors(np.random.RandomState(0))
        return float(factors[0, 0]), float(np.log(factors[1:]).std())

    def test_what_is_certain_is_corrected_for_and_a_third_of_it_is_doubt(self) -> None:
        factor, spread = self.factors(0.2, 1e-4)
        assert factor == pytest.approx(0.8, rel=1e-3)
        assert spread == pytest.approx(-np.log(0.8) / 3, rel=0.05)

    def test_what_is_noise_is_corrected_for_by_half_and_stays_in_doubt(self) -> None:
        factor, spread = self.factors(0.02, 0.02)
        assert factor == pytest.approx(0.99, abs=0.001)
        corrected = 0.02 * np.random.default_rng(0).standard_normal(4000) + 0.02
        corrected = np.maximum(corrected, 0) ** 3 / (corrected**2 + 0.02**2)
        assert spread > np.hypot(corrected.std(), 0.009)
        assert self.factors(-0.05, 0.02)[0] == 1

    def test_multiples_that_disagree_are_in_doubt(self) -> None:
        assert self.factors(0.05, 1e-3, off=0.1)[1] > 0.1 > self.factors(0.05, 1e-3)[1]

    def test_a_decayed_process_takes_the_share_of_the_slower_one(self) -> None:
        rates = {k: np.array([[0.01, 1.0]] * 3) + 0.002 / k for k in (1, 2, 4)}
        model = kinetics.markov_model([[0, 1, 0, 1, 1, 0, 0]], 2, n_samples=2)
        hidden = memory.Memory(model, rates).hidden()
        np.testing.assert_allclose(hidden, 1 - 0.01 / 0.012)


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

    def test_half_of_a_correction_that_cannot_be_checked_is_named(self) -> None:
        hidden = np.array([[0.5, 0.5, 0.0], [0.2, 0.6, 0.2], [0.0, 0.01, 0.99]])
        (lost,) = [np.array([0, 1, 0])[x] for x in chain(hidden, [50_000], 7)]
        pieces = np.split(lost, 12_500)  # of four frames: twice the lagtime, but not four times it
        with pytest.warns(UserWarning, match="and .* at twice that: the states keep a memory"):
            kinetics.rates(pieces, 1, temperature=[300] * 12_500, n_samples=5, random_state=0)

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


class TestLagtimesThatAreTooLong:
    STATES = tuple(np.random.default_rng(2).integers(2, size=n) for n in (40, 20))

    def test_one_loses_itself_only(self) -> None:
        options: dict[str, Any] = {"n_samples": 3, "random_state": 0, "time_step": 0.5}
        with pytest.warns(
            UserWarning, match=r"No trajectory is longer than 20, 50: .* NaN"
        ) as said:
            table = kinetics.implied_timescales(self.STATES, [1, 40, 2, 100], **options)
        assert len(said) == 1
        assert table.loc[[20.0, 50.0]].isna().all(axis=None)
        short = kinetics.implied_timescales(self.STATES, [1, 2], **options)
        pd.testing.assert_frame_equal(table.dropna(), short)

    def test_all_are_an_error(self) -> None:
        with pytest.raises(ValueError, match="longer than lagtime=40 frames, got at most 40"):
            kinetics.implied_timescales(self.STATES, [40, 50])

    def test_of_chapman_kolmogorov(self) -> None:
        with pytest.warns(UserWarning, match="No trajectory is longer than 45, 60: "):
            table = kinetics.chapman_kolmogorov(self.STATES, 15, n_multiples=4, n_samples=3)
        estimated = table.estimated.unstack("time").notna().all()
        assert estimated.to_dict() == {15: True, 30: True, 45: False, 60: False}
        assert table.predicted.notna().all()


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
            lambda: kinetics.rates([[0, 1, 0]], 0, temperature=[300]),
            "`lagtime` to be an integer >= 1, got 0",
        ),
        (
            lambda: kinetics.rates([[0, 1, 0]], 1, temperature=[300], n_samples=1),
            "`n_samples` to be an integer >= 2",
        ),
        (
            lambda: kinetics.markov_model([[0, 1], [0, 1]], 1, variables=[[0.0, 1.0]]),
            r"`variables` to hold one array per trajectory of states \(2\), got 1",
        ),
        (
            lambda: kinetics.markov_model([[0, 1, 0]], 1, variables=[np.zeros((2, 3))]),
            r"`variables` of trajectory 0 of shape \(3, 3\), got \(2, 3\)",
        ),
        (
            lambda: kinetics.markov_model([[0, 1, 0]], 1, variables=[[0.0, np.nan, 1.0]]),
            "finite numbers in `variables`, got NaN or infinity in trajectory 0",
        ),
        (
            lambda: kinetics.markov_model(
                [[0, 1, 0]], 1, variables=[[0.0, 1.0, 2.0]], n_clusters=1
            ),
            "`n_clusters` to be an integer >= 2, got 1",
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
