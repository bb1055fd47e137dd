"""Rates and their temperature dependence against processes whose answers are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import fit_quietly, quick_latf, tiny_extrapolator
from deeptime.markov.msm import MarkovStateModel
from deeptime.markov.tools.estimation import rate_matrix as deeptime_rate_matrix
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm

from latflow import kinetics
from latflow.datasets import (
    make_three_hole,
    three_hole,
    three_hole_populations,
    three_hole_timescales,
    three_hole_transition_matrix,
)
from latflow.units import BOLTZMANN_CONSTANT

PAIRS = [(a, b) for a in range(3) for b in range(3) if a != b]
ENERGIES = np.array([0.0, 0.3, 1.0])  # of three states
SADDLES = np.array([[np.inf, 3.0, 3.5], [3.0, np.inf, 2.5], [3.5, 2.5, np.inf]])
ATTEMPTS = np.array([[0.0, 2.0, 5.0], [2.0, 0.0, 3.0], [5.0, 3.0, 0.0]])
CHAIN = np.array([[0.9, 0.1, 0.0], [0.05, 0.9, 0.05], [0.0, 0.2, 0.8]])  # its log is no rate matrix


def boltzmann(temperature: float) -> np.ndarray:
    weight = np.exp(-ENERGIES / temperature)
    return weight / weight.sum()


def generator(temperature: float) -> np.ndarray:
    """Return an Arrhenius process in detailed balance: k = A exp(-(saddle - energy) / T)."""
    rates = ATTEMPTS * np.exp((ENERGIES[:, None] - SADDLES) / temperature)
    return rates - np.diag(rates.sum(axis=1))


def reversible(seed: int, n_states: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    flux = np.triu(rng.lognormal(0, 1, (n_states, n_states)), 1)
    shares = rng.dirichlet(np.full(n_states, 3.0)) + 0.05
    shares /= shares.sum()
    rates = (flux + flux.T) / shares[:, None]
    rates /= rates.sum(axis=1).max()
    return rates - np.diag(rates.sum(axis=1)), shares


def simulate(rates: np.ndarray, time: float, n_frames: int, seed: int) -> np.ndarray:
    return MarkovStateModel(expm(rates * time)).simulate(n_frames, start=0, seed=seed)


def exact_table(temperatures: list[float], error: float = 0.0) -> pd.DataFrame:
    matrices = {t: generator(t) for t in temperatures}
    index = pd.MultiIndex.from_tuples(
        [(t, *pair) for t in temperatures for pair in PAIRS],
        names=["temperature", "source", "target"],
    )
    rates = [matrices[t][a, b] for t, a, b in index]
    return pd.DataFrame({"rate": rates, "log_error": error}, index=index)


def fitted() -> kinetics.ArrheniusFit:
    return kinetics.arrhenius(exact_table([0.8, 1.4], 0.1), boltzmann_constant=1.0)


def assert_law(matrix: np.ndarray, shares: np.ndarray) -> None:
    flux = shares[:, None] * matrix
    np.testing.assert_allclose(flux, flux.T, atol=1e-12)
    np.testing.assert_allclose(matrix.sum(axis=1), 0, atol=1e-12)
    assert (matrix[~np.eye(len(matrix), dtype=bool)] >= 0).all()


class TestRateMatrix:
    @settings(max_examples=30, deadline=None)
    @given(st.integers(0, 10_000), st.integers(2, 6), st.floats(0.1, 1.5))
    def test_gives_back_a_generator(self, seed: int, n_states: int, time: float) -> None:
        rates, shares = reversible(seed, n_states)
        found = kinetics.rate_matrix(expm(rates * time), time)
        np.testing.assert_allclose(found, rates, atol=1e-7)
        given = kinetics.rate_matrix(expm(rates * time), time, populations=shares)
        np.testing.assert_allclose(given, rates, atol=1e-9)
        assert_law(given, shares)

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")  # deeptime's, of scipy's L-BFGS
    def test_nearest_where_there_is_none(self) -> None:
        shares = np.array([4.0, 8.0, 2.0]) / 14
        found = kinetics.rate_matrix(CHAIN, 1.0)
        assert found[0, 2] == found[2, 0] == 0
        assert_law(found, shares)
        # the same criterion, minimised by deeptime without knowing that it is linear
        counts = 1e6 * shares[:, None] * CHAIN
        peer = deeptime_rate_matrix(counts, 1.0, method="CVE", tol=10.0)
        np.testing.assert_allclose(found, peer, atol=1e-4)

    def test_no_oscillation_passes_for_exchange(self) -> None:
        with pytest.warns(UserWarning, match=r"at time 1: the nearest one misses .* by 0\.3"):
            found = kinetics.rate_matrix([[0.2, 0.8], [0.8, 0.2]], 1.0)
        assert_law(found, np.array([0.5, 0.5]))

    @pytest.mark.parametrize(
        ("call", "text"),
        [
            (lambda: kinetics.rate_matrix([0.5, 0.5], 1), r"\(n_states, n_states\), got \(2,\)"),
            (lambda: kinetics.rate_matrix([[0.5, 0.6], [0.5, 0.5]], 1), "rows that sum to 1, got"),
            (lambda: kinetics.rate_matrix([[np.nan, 1], [0.5, 0.5]], 1), "hold probabilities"),
            (lambda: kinetics.rate_matrix([[1.2, -0.2], [0.5, 0.5]], 1), "smallest entry -0.2"),
            (lambda: kinetics.rate_matrix(CHAIN, 0), "`time` to be a finite number > 0, got 0"),
            (
                lambda: kinetics.rate_matrix(CHAIN, 1, populations=[1, 0, 0]),
                r"3 positive numbers, got \[1.0, 0.0, 0.0\]",
            ),
            (
                lambda: kinetics.rate_matrix([[0, 0.9, 0.1], [0.1, 0, 0.9], [0.9, 0.1, 0]], 1),
                r"detailed balance .* 0\.3 from state 1 to 2 and 0\.0333.* back",
            ),
        ],
    )
    def test_errors(self, call: Any, text: str) -> None:
        with pytest.raises(ValueError, match=text):
            call()


class TestTransitionRates:
    def test_intervals_cover_the_rates_of_a_known_process(self) -> None:
        rates, time = generator(1.0), 0.1
        exact = np.array([rates[pair] for pair in PAIRS])
        inside, scores = [], []
        for seed in range(40):
            states = simulate(rates, time, 20_000, seed)
            model = kinetics.markov_model(states, 2, n_samples=50, random_state=seed)
            table = kinetics.transition_rates(model, time_step=time, confidence=0.9)
            assert list(table.index) == PAIRS
            inside.append((table.low < exact) & (exact < table.high))
            scores.append(np.log(table.rate / exact) / table.log_error)
        assert 0.83 <= np.mean(inside) <= 0.99
        assert abs(np.mean(scores)) < 0.25
        assert 0.6 < np.std(scores) < 1.2

    def test_rates_do_not_depend_on_the_lagtime(self) -> None:
        states = simulate(generator(1.0), 0.1, 200_000, 0)
        short, long = (
            kinetics.transition_rates(kinetics.markov_model(states, lag, random_state=0)).rate
            for lag in (1, 6)
        )
        np.testing.assert_allclose(short, long, rtol=0.2)

    def test_fewest_frames_warn(self) -> None:
        model = kinetics.markov_model([[0, 1, 0, 1, 0, 1, 1, 0]], 1, random_state=0)
        with pytest.warns(UserWarning, match="No rate matrix gives .* at lagtime=1: the nearest"):
            table = kinetics.transition_rates(model)
        assert np.isfinite(table).all(axis=None)


class TestRates:
    def test_one_table_over_temperatures(self) -> None:
        states = [simulate(generator(t), 0.1, 20_000, k) for k, t in enumerate((1.5, 0.7))]
        table = kinetics.rates(states, 2, temperature=[1.5, 0.7], time_step=0.1, random_state=0)
        assert table.index.names == ["temperature", "source", "target"]
        assert list(table.index) == [(t, *pair) for t in (0.7, 1.5) for pair in PAIRS]
        exact = exact_table([0.7, 1.5]).rate
        assert (np.abs(np.log(table.rate / exact)) < 4 * table.log_error).all()
        again = kinetics.rates(states, 2, temperature=[1.5, 0.7], time_step=0.1, random_state=0)
        pd.testing.assert_frame_equal(table, again)

    def test_what_is_not_connected_is_named_and_kept(self) -> None:
        hot = simulate(generator(1.5), 0.5, 5000, 0)
        cold = np.tile([0, 0, 0, 1, 1, 1, 1], 50)
        with pytest.warns(UserWarning, match=r"States \[2\] are .* temperature 0\.7") as caught:
            table = kinetics.rates([cold, hot], 1, temperature=[0.7, 1.5], random_state=0)
        assert len(caught) == 1
        missing = table.rate.isna()
        assert set(missing[missing].index) == {(0.7, *pair) for pair in PAIRS if 2 in pair}

    def test_a_process_without_rates_is_named(self) -> None:
        with pytest.warns(UserWarning, match="gives .* at lagtime=1, temperature 300: the nearest"):
            kinetics.rates([[0, 1, 0, 1, 0, 1, 1, 0]], 1, temperature=[300], random_state=0)

    def test_errors(self) -> None:
        with pytest.raises(ValueError, match=r"two states or more, got \[0\]"):
            kinetics.rates([[0, 0, 0]], 1, temperature=[300])
        with pytest.raises(ValueError, match="`time_step` to be a finite number > 0"):
            kinetics.rates([[0, 1, 0]], 1, temperature=[300], time_step=0)
        with pytest.raises(ValueError, match="Expected `confidence` to be a number with"):
            kinetics.rates([[0, 0, 1, 1, 0, 0]], 1, temperature=[300], confidence=1)


class TestArrhenius:
    @pytest.mark.parametrize("temperatures", [[0.8, 1.4], [0.5, 0.8, 2.0]])
    def test_exact_rates_give_exact_barriers(self, temperatures: list[float]) -> None:
        fit = kinetics.arrhenius(exact_table(temperatures), boltzmann_constant=1.0)
        for (a, b), row in fit.parameters.iterrows():
            assert row.activation_energy == pytest.approx(SADDLES[a, b] - ENERGIES[a])
            assert row.log_prefactor == pytest.approx(np.log(ATTEMPTS[a, b]))
            assert row.activation_energy_error == row.log_prefactor_error == row.covariance == 0
            assert np.isnan(row.chi2)
            assert row.n_temperatures == len(temperatures)
        found = fit.predict([1.0, 0.3])
        np.testing.assert_allclose(found.rate, exact_table([1.0, 0.3]).rate)
        np.testing.assert_allclose(found.low, found.high)

    def test_eyring_in_kilojoules_and_picoseconds(self) -> None:
        enthalpy, entropy = 30.0, -0.02
        temperatures = np.array([300.0, 350.0, 420.0])
        k_t = BOLTZMANN_CONSTANT * temperatures
        attempts = 1.380649e-23 * temperatures / 6.62607015e-34 * 1e-12  # CODATA 2018, per ps
        rate = attempts * np.exp(entropy / BOLTZMANN_CONSTANT - enthalpy / k_t)
        index = pd.MultiIndex.from_product(
            [temperatures, [0], [1]], names=["temperature", "source", "target"]
        )
        table = pd.DataFrame({"rate": rate, "log_error": 0.1}, index=index)
        fit = kinetics.arrhenius(table, form="eyring")
        (row,) = fit.parameters.itertuples()
        assert row.activation_enthalpy == pytest.approx(enthalpy)
        assert row.activation_entropy == pytest.approx(entropy)
        assert row.chi2 == pytest.approx(0, abs=1e-12)
        np.testing.assert_allclose(fit.predict(temperatures).rate, rate)
        slope = kinetics.arrhenius(table).parameters.activation_energy[0, 1]
        assert slope == pytest.approx(enthalpy + np.median(k_t), rel=0.01)  # E = H + k_B T
        reduced = kinetics.arrhenius(
            table, form="eyring", boltzmann_constant=1.0, planck_constant=2.0
        )
        np.testing.assert_allclose(reduced.predict(temperatures).rate, rate)

    @pytest.mark.parametrize("form", ["arrhenius", "eyring"])
    def test_errors_are_those_of_repeated_fits(self, form: str) -> None:
        rng = np.random.default_rng(0)
        temperatures, errors, n = (
            np.array([0.7, 1.0, 1.3, 1.8]),
            np.array([0.3, 0.1, 0.2, 0.1]),
            800,
        )
        index = pd.MultiIndex.from_product(
            [temperatures, [-1], range(n)], names=["temperature", "source", "target"]
        )
        scale = temperatures if form == "eyring" else np.ones(4)
        clean = np.log(scale) + 1.0 - 2.0 / temperatures
        noisy = clean[:, None] + errors[:, None] * rng.standard_normal((4, n))
        table = pd.DataFrame(
            {"rate": np.exp(noisy.ravel()), "log_error": np.repeat(errors, n)}, index=index
        )
        planck = 1.0 if form == "eyring" else None
        fit = kinetics.arrhenius(table, boltzmann_constant=1.0, form=form, planck_constant=planck)
        p = fit.parameters
        slope, level = (
            [c for c in p if c.endswith("_error")][k].removesuffix("_error") for k in (0, 1)
        )
        for name, truth in ((slope, 2.0), (level, 1.0)):
            score = (p[name] - truth) / p[f"{name}_error"]
            assert abs(score.mean()) < 0.15
            assert score.std() == pytest.approx(1, abs=0.1)
        assert p.chi2.mean() == pytest.approx(2, abs=0.25)
        design = np.column_stack([np.ones(4), -1 / temperatures]) / errors[:, None]
        (level_square, covariance), (_, slope_square) = np.linalg.inv(design.T @ design)
        np.testing.assert_allclose(p[f"{level}_error"] ** 2, level_square)
        np.testing.assert_allclose(p[f"{slope}_error"] ** 2, slope_square)
        np.testing.assert_allclose(p.covariance, covariance)
        predicted = fit.predict(0.5)
        truth = np.exp((np.log(0.5) if form == "eyring" else 0) + 1.0 - 4.0)
        inside = (predicted.low < truth) & (truth < predicted.high)
        assert 0.92 < inside.mean() < 0.98

    def test_pairs_without_two_rates_are_named(self) -> None:
        table = exact_table([0.8, 1.4], 0.1)
        table.loc[(0.8, 0, 2), "rate"] = np.nan
        table.loc[(1.4, 2, 0), "rate"] = 0.0
        with pytest.warns(UserWarning, match=r"Pairs \[\(0, 2\), \(2, 0\)\] of states have"):
            fit = kinetics.arrhenius(table, boltzmann_constant=1.0)
        missing = fit.parameters.activation_energy.isna()
        assert set(missing[missing].index) == {(0, 2), (2, 0)}
        assert fit.parameters.n_temperatures[0, 2] == 1

    @pytest.mark.parametrize(
        ("call", "text"),
        [
            (lambda t: kinetics.arrhenius(t.loc[[0.8]]), "two temperatures or more, got 1"),
            (lambda t: kinetics.arrhenius(t.drop(columns="rate")), "columns rate, log_error, got"),
            (lambda t: kinetics.arrhenius(t, form="kramers"), "`form` to be one of arrhenius"),
            (
                lambda t: kinetics.arrhenius(t, boltzmann_constant=1.0, form="eyring"),
                "Expected `planck_constant`, in units .* boltzmann_constant=1, got None",
            ),
            (
                lambda t: kinetics.arrhenius(t, form="eyring", planck_constant=-1),
                "`planck_constant` to be a finite number > 0",
            ),
            (
                lambda t: kinetics.arrhenius(t.assign(log_error=[0.0] * 6 + [0.1] * 6)),
                r"`log_error` of pair \(0, 1\) to be positive .* got \[0\.0, 0\.1\]",
            ),
            (
                lambda t: kinetics.arrhenius(t.assign(log_error=-0.1)),
                r"`log_error` of pair \(0, 1\) to be positive",
            ),
        ],
    )
    def test_errors(self, call: Any, text: str) -> None:
        with pytest.raises(ValueError, match=text):
            call(exact_table([0.8, 1.4], 0.1))
        with pytest.raises(TypeError, match=r"`rates` to be a DataFrame .*, got dict"):
            kinetics.arrhenius({})


class TestRatesAt:
    def test_gives_back_an_arrhenius_process(self) -> None:
        model = kinetics.rates_at(fitted(), boltzmann(1.0), temperature=1.0)
        np.testing.assert_allclose(model.matrix, generator(1.0))
        np.testing.assert_allclose(model.rates.line, model.rates.rate)
        exact = -1 / np.sort(np.linalg.eigvals(generator(1.0)).real)[:-1][::-1]
        np.testing.assert_allclose(model.timescales.timescale, exact)
        assert (model.temperature, model.states.tolist()) == (1.0, [0, 1, 2])

    @settings(max_examples=20, deadline=None)
    @given(st.lists(st.floats(0.01, 1.0), min_size=3, max_size=3), st.floats(0.3, 3.0))
    def test_detailed_balance_with_any_populations(
        self, shares: list[float], temperature: float
    ) -> None:
        model = kinetics.rates_at(fitted(), shares, temperature=temperature)
        np.testing.assert_allclose(model.populations, np.divide(shares, np.sum(shares)))
        assert_law(model.matrix, model.populations)
        np.testing.assert_allclose([model.matrix[pair] for pair in PAIRS], model.rates.rate)
        # the geometric mean of forward and backward fluxes is that of the lines
        square = model.rates.rate * model.rates.rate.swaplevel().reindex(model.rates.index)
        lines = model.rates.line * model.rates.line.swaplevel().reindex(model.rates.index)
        np.testing.assert_allclose(square, lines)

    def test_errors_are_propagated(self) -> None:
        table = exact_table([0.8, 1.4], 0.1)
        table["log_error"] *= np.linspace(1, 2, len(table))
        fit = kinetics.arrhenius(table, boltzmann_constant=1.0)
        index = pd.MultiIndex.from_product([[1.0], range(4)], names=["temperature", "state"])
        shares, errors = np.append(boltzmann(1.0), 0), np.array([0.02, 0.01, 0.03, 0])
        frame = pd.DataFrame({"population": shares, "standard_error": errors}, index=index)
        model = kinetics.rates_at(fit, frame, temperature=1.0)
        lines, relative = fit.predict(1.0).log_error.loc[1.0], errors[:3] / shares[:3]
        expected = np.hypot((lines[0, 1] + lines[1, 0]) / 2, (relative[0] + relative[1]) / 2)
        assert model.rates.log_error[0, 1] == pytest.approx(expected)
        assert model.rates.log_error[1, 0] == pytest.approx(expected)
        row = model.rates.loc[(1, 2)]
        np.testing.assert_allclose(
            [row.low, row.high],
            row.rate * np.exp([-1.959964 * row.log_error, 1.959964 * row.log_error]),
        )
        variance = np.zeros(2)
        for a, b in ((0, 1), (0, 2), (1, 2)):
            moved = fit.parameters.copy()
            moved.loc[[(a, b), (b, a)], "log_prefactor"] += 1e-5
            other = kinetics.ArrheniusFit(moved, fit.form, 1.0, None)
            change = self._change(kinetics.rates_at(other, shares[:3], temperature=1.0), model)
            variance += (change * (lines[a, b] + lines[b, a]) / 2) ** 2
        for k in range(3):
            moved = shares[:3] * np.exp(1e-5 * np.eye(3)[k])
            other = kinetics.rates_at(fit, moved, temperature=1.0)
            variance += (self._change(other, model) * relative[k]) ** 2
        np.testing.assert_allclose(model.timescales.log_error, np.sqrt(variance), rtol=1e-3)

    @staticmethod
    def _change(one: kinetics.RateModel, other: kinetics.RateModel) -> np.ndarray:
        return np.log(one.timescales.timescale / other.timescales.timescale).to_numpy() / 1e-5

    def test_pairs_without_a_line(self) -> None:
        table = exact_table([0.8, 1.4], 0.1)
        table.loc[(0.8, 0, 2), "rate"] = 0.0
        with pytest.warns(UserWarning, match=r"Pairs \[\(0, 2\)\] of states have positive rates"):
            fit = kinetics.arrhenius(table, boltzmann_constant=1.0)
        with pytest.warns(UserWarning, match=r"\[\(0, 2\)\] of states have no line: no direct"):
            model = kinetics.rates_at(fit, boltzmann(1.0), temperature=1.0)
        assert model.matrix[0, 2] == model.matrix[2, 0] == 0
        assert model.matrix[0, 1] == pytest.approx(generator(1.0)[0, 1])
        assert_law(model.matrix, model.populations)
        table.loc[(0.8, 0, 1), "rate"] = np.nan
        with pytest.warns(UserWarning, match="Pairs"):
            fit = kinetics.arrhenius(table, boltzmann_constant=1.0)
        with pytest.raises(ValueError, match=r"states \[0, 1, 2\], got .* \[\(0, 1\), \(0, 2\)\]"):
            kinetics.rates_at(fit, boltzmann(1.0), temperature=1.0)

    @pytest.mark.parametrize(
        ("populations", "text"),
        [
            ([0.5, 0.5], r"positive numbers for states \[0, 1, 2\], got \[0\.5, 0\.5\]"),
            ([1.0, 0.0, 0.0], "to be positive numbers"),
            ([1.0, np.nan, 1.0], "to be positive numbers"),
            ({2.0: [0.2, 0.3, 0.5]}, r"at temperature 1, got none of \[0, 1, 2\]"),
            ({1.0: [0.2, 0.8]}, r"at temperature 1, got none of \[2\]"),
            ({1.0: [0.2, 0.3, 0.4, 0.1]}, r"those with rates, got 10\.0% in other states"),
        ],
    )
    def test_errors(self, populations: Any, text: str) -> None:
        if isinstance(populations, dict):
            ((temperature, values),) = populations.items()
            index = pd.MultiIndex.from_product(
                [[temperature], range(len(values))], names=["temperature", "state"]
            )
            populations = pd.DataFrame({"population": values, "standard_error": 0.0}, index=index)
        with pytest.raises(ValueError, match=text):
            kinetics.rates_at(fitted(), populations, temperature=1.0)


class TestMemoryOfStates:
    """Three holes at k_B T = 1: timescales 2.5 and 0.8; of three states at one frame 1.3, 0.4."""

    @staticmethod
    def timescales(lagtime: int, *, fine: bool) -> np.ndarray:
        data = make_three_hole(30_000, 1.0, random_state=0)
        states = [three_hole._hole_labels(x) for x in data.trajectories]
        table = kinetics.rates(
            states, lagtime, temperature=data.temperature, time_step=data.time_step,
            variables=data.trajectories if fine else None, n_samples=40, random_state=0,
        )  # fmt: skip
        matrix = table.rate.loc[1.0].unstack("target").fillna(0).to_numpy()
        return -1 / np.sort(np.linalg.eigvals(matrix - np.diag(matrix.sum(axis=1))).real)[1::-1]

    @pytest.mark.parametrize("lagtime", [1, 2, 4])
    def test_rates_do_not_depend_on_the_lagtime(self, lagtime: int) -> None:
        times = self.timescales(lagtime, fine=True)
        np.testing.assert_allclose(times, three_hole_timescales(1.0, 2), rtol=0.1)

    def test_rates_of_states_alone_are_corrected(self) -> None:
        times = self.timescales(2, fine=False)
        np.testing.assert_allclose(times, three_hole_timescales(1.0, 2), rtol=0.15)

    def test_a_state_out_of_reach_has_no_rates(self) -> None:
        data = make_three_hole(10_000, 1.0, random_state=0)
        states = [three_hole._hole_labels(x) for x in data.trajectories]
        alone = [np.full(100, 3), *states], [np.full((100, 2), 9.0), *data.trajectories]
        with pytest.warns(UserWarning, match=r"States \[3\] are not connected"):
            table = kinetics.rates(
                alone[0], 2, temperature=[1.0] * 51, variables=alone[1], n_samples=5, random_state=0
            )
        missing = table.rate.isna()
        assert {pair for _, *pair in missing[missing].index if 3 not in pair} == set()
        assert missing.sum() == 6


class TestThreeHole:
    """Trained at k_B T = 0.8 and 1.4, judged at 1.0 by a fine discretisation of the generator."""

    @staticmethod
    def simulate(seed: int, n_frames: int) -> tuple[list[np.ndarray], list[float]]:
        cold, hot = (
            make_three_hole(n_frames, t, n_walkers=200, random_state=10 * seed + k)
            for k, t in enumerate((0.8, 1.4))
        )
        return cold.trajectories + hot.trajectories, cold.temperature + hot.temperature

    @staticmethod
    def assert_predicted(
        states: list[np.ndarray], temperature: list[float], assign: Any, populations: Any
    ) -> None:
        table = kinetics.rates(
            states, 10, temperature=temperature, time_step=0.1, random_state=0, n_samples=50
        )
        fit = kinetics.arrhenius(table, boltzmann_constant=1.0)
        model = kinetics.rates_at(fit, populations, temperature=1.0)
        exact = kinetics.rate_matrix(three_hole_transition_matrix(1.0, 1.0, assign=assign), 1.0)
        assert model.matrix.shape == exact.shape
        np.testing.assert_allclose(model.matrix, exact, rtol=0.2)
        assert_law(model.matrix, model.populations)
        truth = np.array([exact[pair] for pair in model.rates.index])
        assert (np.abs(np.log(model.rates.rate / truth)) < 3 * model.rates.log_error).all()

    @pytest.mark.parametrize("seed", [0, 1])
    def test_states_and_populations_of_a_fitted_model(self, seed: int) -> None:
        trajectories, temperature = self.simulate(seed, 60_000)
        latf = quick_latf(lagtime=2, max_iter=640, random_state=seed)
        # the generator is not needed, and not trained
        model = tiny_extrapolator(latf, max_iter=1, random_state=seed)
        fit_quietly(model, trajectories, temperature=temperature)
        states = model.predict(trajectories)
        populations = model.state_populations(1.0)
        assert len(populations) == 3
        self.assert_predicted(states, temperature, model.predict, populations)

    @pytest.mark.parametrize("seed", [2, 3])
    def test_the_three_holes(self, seed: int) -> None:
        trajectories, temperature = self.simulate(seed, 100_000)
        states = [three_hole._hole_labels(x) for x in trajectories]
        self.assert_predicted(states, temperature, None, three_hole_populations(1.0))
