"""What to simulate next: errors to expect obey the laws of sampling, starts are real frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import pandas as pd
import pytest
from conftest import UNSETTLED, fit_quietly, tiny_extrapolator, tiny_latf
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError

from latflow import TemperatureExtrapolator
from latflow.planning import statistical_inefficiency, suggest
from latflow.structures import Structures

pytestmark = UNSETTLED
T = 0.7  # between the temperatures of the system that melts


@pytest.fixture(scope="module")
def molten(melting: Any) -> int:
    """The number of the molten state."""
    _, model = melting
    return int(model.thermodynamics(T)["energy"].loc[T].idxmax())


def ask(model: Any, budget: int = 5000, **options: Any) -> Any:
    return suggest(model, budget, **{"random_state": 0} | options)


class TestErrors:
    def test_that_of_now_is_the_models(self, melting: Any, molten: int) -> None:
        _, model = melting
        population = ask(model, state=molten, temperature=T)
        expected = model.state_populations(T).loc[(T, molten), "standard_error"]
        assert population.error == pytest.approx(expected)
        energy = ask(model, target="free_energy", state=molten, temperature=T)
        expected = model.thermodynamics(T).loc[(T, molten), "free_energy_error"]
        assert energy.error == pytest.approx(expected, rel=0.1)
        point = model.melting_temperature(molten)
        melts = ask(model, target="melting_temperature", state=molten)
        assert melts.error == pytest.approx(point.standard_error, rel=0.15)
        relative = ask(
            model, target="free_energy", state=molten, reference=1 - molten, temperature=T
        )
        assert relative.error == pytest.approx(energy.error)

    def test_more_frames_leave_less_down_to_nothing(self, melting: Any, molten: int) -> None:
        _, model = melting
        options = {"state": molten, "temperature": T, "candidates": [T]}
        errors = [
            ask(model, 10**k, **options).table.loc[T, "expected_error"] for k in (3, 5, 8, 10)
        ]
        assert (np.diff(errors) < 0).all()
        assert errors[-1] == pytest.approx(errors[-2] / 10, rel=0.05)

    def test_a_target_that_is_measured_itself_follows_the_law_of_sampling(
        self, melting: Any, molten: int
    ) -> None:
        _, model = melting
        n, g = 4000, 25.0
        plan = ask(
            model, n, state=molten, temperature=T, candidates=[T], inefficiency=g, n_walkers=1
        )
        p = model.state_populations(T).loc[(T, molten), "population"]
        measured = g / n / (1 - g / (2 * n)) ** 2 * p * (1 - p)
        expected = 1 / np.sqrt(1 / measured + 1 / plan.error**2)
        assert plan.table.loc[T, "expected_error"] == pytest.approx(expected, rel=0.05)
        assert plan.table.loc[T, "inefficiency"] == pytest.approx(g)

    def test_frames_per_independent_one_are_those_of_the_flips(
        self, melting: Any, molten: int
    ) -> None:
        system, model = melting
        table = ask(model, state=molten, temperature=T, lagtime=1).table
        for t in (0.6, 1.0):
            share = system.molten(t)
            renewed = system.FLIP * (1 / max(share, 1 - share))
            exact = (2 - renewed) / renewed
            assert table.loc[t, "inefficiency"] == pytest.approx(exact, rel=0.3)

    def test_the_least_error_is_suggested(self, melting: Any, molten: int) -> None:
        _, model = melting
        plan = ask(model, state=molten, temperature=0.5)
        assert plan.temperature == plan.table["expected_error"].idxmin()
        assert plan.expected_error == plan.table["expected_error"].min() < plan.error
        assert plan.expected_error < plan.even_error < plan.error
        roles = plan.table["role"]
        assert roles[0.6] == roles[1.0] == "simulated"
        assert set(roles) == {"simulated", "between", "beyond"}
        far = ask(model, state=molten, temperature=0.5, candidates=[0.5]).table
        assert far.index.tolist() == [0.5, 0.6, 1.0]

    def test_states_and_regions(self, melting: Any, molten: int) -> None:
        _, model = melting
        region = [np.abs(z[:, 0] - np.median(z[:, 0])) < 0.5 * z[:, 0].std() for z in _parts(model)]
        plan = ask(model, target="barrier", region=region, temperature=T)
        weights = np.concatenate(model.frame_weights(T))
        p = float(weights @ np.concatenate(region))
        row = plan.table.iloc[np.argmin(np.abs(plan.table.index - T))]
        assert row.population == pytest.approx(p, rel=0.05)
        assert 0 < plan.expected_error < plan.error

    @pytest.mark.parametrize("decay", [0.5, 0.9, 0.97])
    def test_correlations_of_short_pieces_are_summed(self, decay: float) -> None:
        rng = np.random.default_rng(0)
        pieces = []
        for _ in range(400):
            x = np.empty(500)
            x[0] = rng.standard_normal()
            for k, kick in enumerate(np.sqrt(1 - decay**2) * rng.standard_normal(499), start=1):
                x[k] = decay * x[k - 1] + kick
            pieces.append(x)
        exact = (1 + decay) / (1 - decay)
        assert statistical_inefficiency(pieces) == pytest.approx(exact, rel=0.1)
        assert statistical_inefficiency([rng.standard_normal(10_000)]) < 1.1


def _parts(model: Any) -> list[Any]:
    return np.split(model.z_, np.cumsum(model.ensemble_.lengths)[:-1])


@pytest.fixture(scope="module")
def sources(three_hole: Any) -> list[Any]:
    """Trajectories of one atom whose coordinates are the features."""
    topology = mdtraj.Topology()
    topology.add_atom("Ar", mdtraj.element.argon, topology.add_residue("AR", topology.add_chain()))
    return [
        mdtraj.Trajectory(np.pad(x, ((0, 0), (0, 1)))[:, None], topology)
        for x in three_hole["trajectories"]
    ]


@pytest.fixture(scope="module")
def structures(extrapolator: Any, three_hole: Any, sources: Any) -> Structures:
    return Structures(extrapolator, three_hole["trajectories"], sources)


class TestStarts:
    def test_starts_are_frames_of_their_states(self, extrapolator: Any, three_hole: Any) -> None:
        plan = ask(extrapolator, state=0, temperature=0.6, n_walkers=100, budget=10**6)
        starts = plan.starts
        assert (starts["temperature"] == plan.temperature).all()
        for row in starts.itertuples():
            x = three_hole["trajectories"][row.trajectory][row.frame]
            assert extrapolator.predict(x[None])[0] == row.state
        p = extrapolator.state_populations(plan.temperature)["population"].to_numpy()
        counts = np.bincount(starts["state"], minlength=len(p))
        assert (np.abs(counts - 100 * p) < 8).all()
        again = ask(extrapolator, state=0, temperature=0.6, n_walkers=100, budget=10**6)
        pd.testing.assert_frame_equal(again.starts, starts)

    def test_structures_are_written_with_where_they_come_from(
        self, extrapolator: Any, structures: Structures, three_hole: Any, tmp_path: Path
    ) -> None:
        folder = tmp_path / "starts"
        options = {"state": 0, "temperature": 0.6, "structures": structures}
        plan = ask(extrapolator, folder=folder, **options)
        written = pd.read_csv(folder / "starts.csv")
        assert written["structure"].tolist() == plan.starts["structure"].tolist()
        for row in written.itertuples():
            atom = mdtraj.load(str(folder / row.structure)).xyz[0, 0]
            x = three_hole["trajectories"][row.trajectory][row.frame]
            np.testing.assert_allclose(atom[:2], x, atol=1e-3)
            assert row.temperature == pytest.approx(plan.temperature)
        assert len(list(folder.iterdir())) == len(written) + 1
        assert [path.name for path in tmp_path.iterdir()] == ["starts"]
        with pytest.raises(FileExistsError, match="`folder` to be new or empty"):
            ask(extrapolator, folder=folder, **options)

    def test_nothing_is_left_where_writing_fails(
        self, extrapolator: Any, structures: Structures, tmp_path: Path, monkeypatch: Any
    ) -> None:
        def fail(*_: Any, **__: Any) -> None:
            raise OSError("No space left on device")

        monkeypatch.setattr(mdtraj.Trajectory, "save_pdb", fail)
        with pytest.raises(OSError, match="No space left"):
            ask(
                extrapolator, state=0, temperature=0.6,
                structures=structures, folder=tmp_path / "starts",
            )  # fmt: skip
        assert list(tmp_path.iterdir()) == []


class TestRefusals:
    @pytest.mark.parametrize(
        ("options", "sentence"),
        [
            ({}, "Expected `temperature` for the target 'population', got None"),
            ({"target": "entropy"}, "`target` to be one of population, free_energy"),
            ({"temperature": T, "state": 7}, "`state` to be a state below 2, got 7"),
            ({"temperature": T, "budget": 0}, "`budget` to be an integer >= 2, got 0"),
            ({"temperature": T, "reference": 1}, "`reference` with the target 'free_energy' only"),
            ({"temperature": T, "target": "barrier"}, "`region` for the target 'barrier'"),
            (
                {"temperature": T, "target": "free_energy", "reference": 0},
                "a `reference` with frames, other than `state`",
            ),
            ({"temperature": T, "candidates": []}, "one of `candidates` or more, got none"),
            ({"temperature": T, "candidates": [-1.0]}, "to be a finite number > 0, got -1.0"),
            ({"temperature": T, "inefficiency": 0}, "`inefficiency` to be a finite number > 0"),
            ({"temperature": T, "folder": "here"}, "`structures` with `folder`"),
        ],
    )
    def test_arguments(self, options: Any, sentence: str, melting: Any) -> None:
        with pytest.raises(ValueError, match=sentence):
            ask(melting[1], **options)

    def test_models(self, latf: Any, structures: Structures, melting: Any) -> None:
        with pytest.raises(TypeError, match="to be a TemperatureExtrapolator, got LaTFEstimator"):
            ask(latf, temperature=T)
        with pytest.raises(NotFittedError):
            ask(tiny_extrapolator(), temperature=T)
        X = [np.random.default_rng(0).normal(size=(200, 3))]
        bare = fit_quietly(tiny_extrapolator(tiny_latf(), method="tilted"), X)
        with pytest.raises(ValueError, match="fitted with `temperature`, got one without"):
            ask(bare, temperature=T)
        with pytest.raises(ValueError, match="`structures` of the same model"):
            ask(melting[1], temperature=T, structures=structures)

    def test_draws_tell_no_correlation_times(self) -> None:
        rng = np.random.default_rng(0)
        X = [rng.normal(size=(300, 2)) * t for t in (1.0, 1.2)]
        model = TemperatureExtrapolator(PCA(2), n_bootstraps=0, max_iter=5, boltzmann_constant=1.0)
        states = [(x[:, 0] > 0).astype(int) for x in X]
        fit_quietly(model, X, temperature=[1.0, 1.4], states=states, dynamics=False)
        with pytest.raises(ValueError, match="got equilibrium draws only: give `inefficiency`"):
            ask(model, temperature=1.2)
        assert ask(model, temperature=1.2, inefficiency=1.0).expected_error > 0

    def test_too_many_walkers_are_told(self, melting: Any, molten: int) -> None:
        with pytest.warns(UserWarning, match="fewer `n_walkers`, or a larger `budget`"):
            ask(melting[1], 200, state=molten, temperature=T, n_walkers=20)
