"""Temperatures that energies contradict: swapped, or mistaken; right ones are no alarm."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning

import latflow
from latflow import TemperatureExtrapolator
from latflow.thermodynamics import Pool
from latflow.thermodynamics.gaps import energy_gaps
from latflow.units import Units

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import exact
from mistaken import KELVIN, N_WALKERS, gap_of, simulated

sys.path.pop(0)

MOST = 4.0  # errors


@pytest.mark.parametrize("make", [exact.two_states, exact.double_well, exact.three_wells])
@pytest.mark.parametrize("seed", range(3))
def test_ten_kelvin_and_swaps_are_told_and_right_temperatures_are_not(make: Any, seed: int) -> None:
    _, energy = simulated(make, 2000, seed)
    right = gap_of(energy, KELVIN)
    assert abs(right.ratio - 1) < MOST * right.error
    assert right.error < 0.03
    assert not right.mistaken
    assert not right.swapped
    assert gap_of(energy, (310.0, 450.0)).mistaken
    assert gap_of(energy, (290.0, 450.0)).mistaken
    assert gap_of(energy, (450.0, 300.0)).swapped


def test_the_sentence_names_what_the_other_temperature_would_be() -> None:
    _, energy = simulated(exact.double_well, 5000, 0)
    sentence = gap_of(energy, (310.0, 450.0)).sentence(Units())
    cold, error = map(float, sentence.split("those of ")[1].split(" and")[0].split(" ± "))
    assert abs(cold - 300) < MOST * error
    assert "The energies at 310 K and 450 K overlap as" in sentence


def test_energies_that_do_not_overlap_are_judged_by_their_means() -> None:
    _, energy = simulated(exact.two_states, 200, 0, n_modes=20_000)
    gap = gap_of(energy, KELVIN)
    assert np.isnan(gap.ratio)
    assert not gap.mistaken
    assert not gap.swapped
    assert gap_of(energy, (450.0, 300.0)).swapped


def test_energies_without_any_spread_and_few_blocks() -> None:
    assert not gap_of(np.zeros((2, 2000)), KELVIN).mistaken
    pool = Pool(np.array([2.0, 1.0]), np.repeat([0, 1], 50), np.ones(100), np.repeat([0, 1], 50))
    assert energy_gaps(np.arange(100.0), pool, np.array([0.5, 1.0])) == []


def test_swapped_files_of_a_fixture() -> None:
    """Forty rows of a peptide at 300 and 360 K: too few for a ratio, enough for their order."""
    paths = [Path(__file__).parent / f"data/gromacs/replica{k}.edr" for k in (0, 2)]
    energies = [latflow.read_energies(path).potential[1:] for path in paths]
    betas, blocks = Units().betas([300.0, 360.0]), np.tile(np.repeat(np.arange(20), 2), 2)
    pool = Pool(betas, np.repeat([0, 1], 40), np.ones(80), blocks)
    named = np.array([300.0, 360.0])
    (right,) = energy_gaps(np.concatenate(energies), pool, named)
    (swapped,) = energy_gaps(np.concatenate(energies[::-1]), pool, named)
    assert (right.mistaken, right.swapped, swapped.swapped) == (False, False, True)


def told(temperatures: tuple[float, float], method: str) -> list[str]:
    X, energy = simulated(exact.double_well, 200, 1)
    named = [temperatures[k] for k in (0, 1) for _ in range(N_WALKERS)]
    model = TemperatureExtrapolator(
        PCA(1), method=method, n_bootstraps=0, max_iter=1, random_state=0
    )
    states = [(x[:, 0] > 0).astype(int) for x in X]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", category=ConvergenceWarning)
        model.fit(X, temperature=named, energy=[*energy[0], *energy[1]], states=states)
    return [str(w.message) for w in caught if "nergies" in str(w.message)]


@pytest.mark.parametrize("method", ["enthalpy", "mbar"])
def test_fit_says_it_in_one_sentence(method: str) -> None:
    assert told(KELVIN, method) == []
    (sentence,) = told((325.0, 450.0), method)
    assert "is one of the two temperatures mistaken?" in sentence
    (sentence,) = told((450.0, 300.0), method)
    assert "The energies at 300 K are higher than those at 450 K, which no" in sentence
