"""TemperatureExtrapolator: three methods, one interface; truths of the three-hole potential."""

import warnings

import numpy as np
import pytest
from conftest import QUICK, quick_extrapolator, quick_latf, tiny_extrapolator, tiny_latf
from deeptime.decomposition import TICA, VAMP
from deeptime.util.data import TrajectoriesDataset
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from latflow import (
    FromDeeptime,
    LaTFEstimator,
    PerFrame,
    TemperatureExtrapolator,
    load,
    save,
    stack,
)
from latflow.datasets import make_three_hole, three_hole_density, three_hole_populations
from latflow.metrics import jensen_shannon_to_density
from latflow.thermodynamics import Ensemble

METHODS = ("enthalpy", "tilted", "mbar")


@pytest.fixture(scope="module")
def by_method(three_hole, latf):
    """The three methods on the same frozen collective variables and states."""
    X, temperature, energy = (three_hole[k] for k in ("trajectories", "temperature", "energy"))
    return {
        method: TemperatureExtrapolator(
            FrozenEstimator(latf), method=method, max_iter=300, random_state=0
        ).fit(X, temperature=temperature, energy=energy)
        for method in METHODS
    }


def exact_populations(model, temperature):
    return three_hole_populations(temperature, assign=model.predict)


# ------------------------------------------------------------------ against the truth


@pytest.mark.parametrize("method", ["enthalpy", "mbar"])
@pytest.mark.parametrize("temperature", [0.8, 1.0, 1.2, 1.4])
def test_populations_between_and_at_the_simulated_temperatures(by_method, method, temperature):
    model = by_method[method]
    table = model.state_populations(temperature)
    exact = exact_populations(model, temperature)
    error = table.standard_error.to_numpy()
    assert (np.abs(table.population.to_numpy() - exact) < 3 * error).all()


@pytest.mark.parametrize("temperature", [0.8, 1.0, 1.2, 1.4])
def test_populations_of_a_base_that_widens_are_near(by_method, temperature):
    """Its error bars hold the model's heat capacity fixed, which is not the potential's."""
    model = by_method["tilted"]
    populations = model.state_populations(temperature).population.to_numpy()
    assert np.abs(populations - exact_populations(model, temperature)).max() < 0.06


@pytest.mark.parametrize("method", ["enthalpy", "mbar"])
def test_frame_weights_give_the_mean_energy_at_an_unseen_temperature(by_method, three_hole, method):
    axis = np.linspace(-4, 4, 400)
    x, y = np.meshgrid(axis, axis)
    from latflow.datasets import three_hole_potential

    density = three_hole_density(x, y, 1.1)
    exact = (density * three_hole_potential(x, y)).sum() / density.sum()
    found = by_method[method].expectation(three_hole["energy"], 1.1)
    assert found.value.item() == pytest.approx(exact, abs=4 * found.standard_error.item())


def linear_map(model):
    """The matrix and shift of a linear encoder's z = A x + b."""
    points = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    z = model.transform(points)
    return (z[1:] - z[0]).T, z[0]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_generated_points_follow_the_exact_density_at_an_unseen_temperature(three_hole, seed):
    model = TemperatureExtrapolator(
        LaTFEstimator(**QUICK | {"random_state": seed}), max_iter=500, random_state=seed
    ).fit(three_hole["trajectories"], temperature=three_hole["temperature"])
    A, b = linear_map(model)
    points = np.linalg.solve(A, (model.sample(50_000, 1.1, random_state=0) - b).T).T
    edges = np.linspace(-2.5, 2.5, 26)
    centres = (edges[1:] + edges[:-1]) / 2
    x, y = np.meshgrid(centres, centres, indexing="ij")
    probabilities = three_hole_density(x, y, 1.1)
    box = [(-2.5, 2.5), (-2.5, 2.5)]
    assert jensen_shannon_to_density(points, probabilities / probabilities.sum(), range=box) < 0.03


def test_learned_enthalpy_is_the_energy_up_to_a_constant(by_method, three_hole):
    """The features are all coordinates here, so h is the potential energy itself."""
    h = by_method["enthalpy"].ensemble_.answer.route.coefficients[:, 0]
    energy = np.concatenate(three_hole["energy"])
    slope = np.polyfit(energy, h, 1)[0]
    assert np.corrcoef(h, energy)[0, 1] > 0.95
    assert slope == pytest.approx(1, abs=0.15)


def test_three_temperatures_pool(three_hole):
    third = make_three_hole(6000, temperature=1.1, n_walkers=20, random_state=3)
    model = TemperatureExtrapolator(LaTFEstimator(**QUICK), max_iter=100, random_state=0).fit(
        three_hole["trajectories"] + third.trajectories,
        temperature=three_hole["temperature"] + third.temperature,
    )
    found = model.state_populations(1.25).population.to_numpy()
    assert np.abs(found - exact_populations(model, 1.25)).max() < 0.05


# ------------------------------------------------------------------ laws of the interface


@pytest.mark.parametrize("method", METHODS)
def test_weights_and_populations_sum_to_one(by_method, method):
    model = by_method[method]
    for temperature in (0.6, 0.8, 1.0, 2.0):
        weights = model.frame_weights(temperature)
        assert [len(w) for w in weights] == [300] * 40
        joined = np.concatenate(weights)
        assert (joined >= 0).all()
        assert joined.sum() == pytest.approx(1)
        assert model.state_populations(temperature).population.sum() == pytest.approx(1)


@pytest.mark.parametrize("temperature", [0.8, 1.9])
def test_generated_density_integrates_to_one(by_method, temperature):
    model = by_method["enthalpy"]
    z = model.sample(20_000, temperature, random_state=0)
    low, high = z.min(axis=0) - 0.5, z.max(axis=0) + 0.5
    axes = [np.linspace(a, b, 900) for a, b in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    cell = np.prod([axis[1] - axis[0] for axis in axes])
    assert np.exp(model.log_density(grid, temperature)).sum() * cell == pytest.approx(1, abs=2e-2)


@pytest.mark.parametrize("method", METHODS)
def test_samples_come_in_the_number_asked_and_by_seed(by_method, method):
    model = by_method[method]
    one, again, other = (model.sample(501, 1.1, random_state=seed) for seed in (0, 0, 1))
    assert one.shape == (501, 2)
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert np.isfinite(one).all()


@pytest.mark.parametrize("method", METHODS)
def test_pooled_density_is_the_simulations_together(by_method, method):
    model = by_method[method]
    low, high = model.temperature_range_
    assert low < model.temperatures_.min() < model.temperatures_.max() < high
    z = model.z_[::50]
    own = [np.exp(model.log_density(z, t)) for t in model.temperatures_]  # of as many frames each
    np.testing.assert_allclose(np.exp(model.pooled_log_density(z)), np.mean(own, axis=0))


@pytest.mark.parametrize("method", METHODS)
def test_free_energy_has_units_a_zero_and_an_edge(by_method, method):
    model = by_method[method]
    z = model.z_[::50]
    in_kt = model.free_energy(z, 1.1, unit="kT")
    assert np.isfinite(in_kt).all()
    assert np.allclose(model.free_energy(z, 1.1), 1.1 * in_kt)
    gap = -model.log_density(z, 1.1)
    assert np.allclose(in_kt - in_kt[0], gap - gap[0])
    assert abs(model.free_energy(model.z_, 1.1).min()) < 0.1
    far = np.stack([z[0], z[0] + 1e3])
    assert np.isnan(model.free_energy(far, 1.1)).tolist() == [False, True]
    grid = z[:12].reshape(3, 4, 2)
    assert model.free_energy(grid, 1.1).shape == (3, 4)


@pytest.mark.parametrize("method", METHODS)
def test_free_energy_of_a_point_does_not_depend_on_the_others(by_method, latf, method):
    points = by_method[method].z_[::500]
    for model in (by_method[method], latf):
        together = model.free_energy(points, 1.1)
        alone = np.array([model.free_energy(point, 1.1) for point in points])
        assert np.allclose(alone, together, rtol=1e-9, atol=1e-9)


def test_free_energy_is_known_at_every_training_frame():
    """Frames at few points, ties among them, and a point of one frame among 20,000."""
    rng = np.random.default_rng(0)
    X = [np.append(rng.choice([0.0, 1.0, 1.0, 3.0], size=999), 40.0 + t)[:, None] for t in (0, 1)]
    model = tiny_extrapolator(PCA(1)).fit(X, temperature=[0.8, 1.2])
    assert np.isfinite(model.free_energy(model.z_, 1.0)).all()
    between = model.transform(np.array([[25.0], [90.0]]))
    assert np.isnan(model.free_energy(between, 1.0)).all()


def test_units_of_temperature_and_energy_cancel(three_hole):
    """k_B T in kJ/mol, 1.0 reduced being 1 / 0.0083 K: every answer reads the same k_B."""
    k = 0.00831446261815324
    kelvin = TemperatureExtrapolator(
        LaTFEstimator(**QUICK | {"boltzmann_constant": k}), max_iter=100, random_state=0
    ).fit(three_hole["trajectories"], temperature=[t / k for t in three_hole["temperature"]])
    reduced = TemperatureExtrapolator(LaTFEstimator(**QUICK), max_iter=100, random_state=0).fit(
        three_hole["trajectories"], temperature=three_hole["temperature"]
    )
    z = reduced.z_[::100]
    assert np.allclose(kelvin.z_[::100], z, atol=1e-3)
    one = np.concatenate(kelvin.frame_weights(1.1 / k))
    assert np.allclose(one, np.concatenate(reduced.frame_weights(1.1)), rtol=0.05, atol=1e-8)
    energies = kelvin.free_energy(kelvin.z_[::100], 1.1 / k)
    in_kt = kelvin.free_energy(kelvin.z_[::100], 1.1 / k, unit="kT")
    assert np.allclose(energies, 1.1 * in_kt, equal_nan=True)


def test_shifted_energies_change_nothing(three_hole, latf):
    X, temperature = three_hole["trajectories"], three_hole["temperature"]
    weights = []
    for shift in (0.0, 1e4):
        energy = [e + shift for e in three_hole["energy"]]
        model = TemperatureExtrapolator(FrozenEstimator(latf), method="mbar", max_iter=1)
        model.fit(X, temperature=temperature, energy=energy)
        weights.append(np.concatenate(model.frame_weights(1.1)))
    assert np.allclose(*weights, rtol=1e-6)


def test_pressure_and_volume_add_pv_to_the_energy(few_frames, routing):
    X, metadata = few_frames
    rng = np.random.default_rng(0)
    volume = [rng.uniform(0.5, 1.0, size=len(x)) for x in X]
    each = [0.1, 1.0, 0.1, 1.0]

    def energies(energy, **given):
        model = tiny_extrapolator(method="mbar", max_iter=1)
        model.fit(X, **metadata | {"energy": energy}, **given)
        return model.ensemble_.answer.route.energy

    for pressure in (0.5, each):
        by_hand = [
            u + p * v
            for u, p, v in zip(
                metadata["energy"], np.broadcast_to(pressure, 4), volume, strict=True
            )
        ]
        found = energies(metadata["energy"], pressure=pressure, volume=volume)
        assert np.allclose(found, energies(by_hand))
    rows, columns = stack(X, **metadata, volume=volume, pressure=each)
    steps = make_pipeline(PerFrame(StandardScaler()), tiny_extrapolator(method="mbar", max_iter=1))
    assert np.allclose(steps.fit(rows, **columns)[-1].ensemble_.answer.route.energy, found)


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        (["energy", "pressure"], "no `volume`"),
        (["energy", "volume"], "no `pressure`"),
        (["pressure", "volume"], "no `energy`"),
        (["volume"], "no `energy` and `pressure`"),
    ],
)
def test_pressure_volume_and_energy_go_together(few_frames, given, missing):
    X, metadata = few_frames
    known = metadata | {"pressure": 1.0, "volume": [np.ones(len(x)) for x in X]}
    some = {name: known[name] for name in [*given, "temperature"]}
    with pytest.raises(ValueError, match=rf"`energy`, `pressure` .* together.* got {missing}\."):
        tiny_extrapolator().fit(X, **some)
    known["volume"][1][3] = 0.0
    with pytest.raises(ValueError, match=r"`volume` to be positive, got 0 at frame 63"):
        tiny_extrapolator().fit(X, **known)


def test_weights_of_frames_enter_populations_and_the_generator(three_hole, latf):
    X, temperature, energy = (three_hole[k] for k in ("trajectories", "temperature", "energy"))
    weights = [np.where(x[:, 0] > 0, 1.0, 1e-6) for x in X]
    for method in METHODS:
        model = quick_extrapolator(FrozenEstimator(latf), method=method).fit(
            X, temperature=temperature, energy=energy, weights=weights
        )
        joined = np.concatenate(model.frame_weights(1.1))
        assert joined[np.concatenate(X)[:, 0] <= 0].sum() < 0.01
        scaled = quick_extrapolator(FrozenEstimator(latf), method=method, max_iter=1).fit(
            X, temperature=temperature, energy=energy, weights=[8 * w for w in weights]
        )
        assert np.allclose(np.concatenate(scaled.frame_weights(1.1)), joined, rtol=1e-6)


def test_weights_have_no_scale_between_temperatures(few_frames):
    X, metadata = few_frames
    rng = np.random.default_rng(0)
    weights = [rng.uniform(0.5, 2.0, size=len(x)) for x in X]
    hot = [
        w * (1000.0 if t > 1 else 1.0)
        for w, t in zip(weights, metadata["temperature"], strict=True)
    ]
    models = [tiny_extrapolator(tiny_latf()).fit(X, **metadata, weights=w) for w in (weights, hot)]
    for a, b in zip(models[0].labels_, models[1].labels_, strict=True):
        assert np.array_equal(a, b)
    assert np.allclose(*(m.ensemble_.state_populations([0.8, 1.1, 1.4]) for m in models))
    answers = [
        Ensemble(metadata["energy"], metadata["temperature"], weights=w, boltzmann_constant=1.0)
        for w in (weights, hot)
    ]
    assert np.allclose(*(np.concatenate(e.frame_weights(1.1)) for e in answers))


def test_temperatures_that_rounding_parts_are_one(few_frames):
    X, _ = few_frames
    with pytest.warns(UserWarning, match=r"300\.1499939 as 300\.15\."):
        model = tiny_latf().fit(X, temperature=[np.float32(300.15), 300.15, 420.0, 420.0])
    assert model.temperatures_.tolist() == [300.15, 420.0]
    exact = tiny_latf().fit(X, temperature=[300.15, 300.15, 420.0, 420.0])
    assert np.array_equal(model.populations_, exact.populations_)


def test_lists_and_stacked_arrays_agree(three_hole, latf, by_method):
    X, metadata = stack(
        three_hole["trajectories"],
        temperature=three_hole["temperature"],
        energy=three_hole["energy"],
    )
    model = TemperatureExtrapolator(FrozenEstimator(latf), max_iter=300, random_state=0)
    model.fit(X, **metadata)
    by_list = by_method["enthalpy"]
    assert np.array_equal(model.frame_weights(1.1), np.concatenate(by_list.frame_weights(1.1)))
    assert np.array_equal(model.sample(9, 1.1, 0), by_list.sample(9, 1.1, 0))


def test_same_seed_same_numbers(three_hole):
    fits = []
    for seed in (0, 0, 1):
        inner = quick_latf(max_iter=96, random_state=None)
        model = quick_extrapolator(inner, max_iter=60, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(three_hole["trajectories"], temperature=three_hole["temperature"])
        fits.append(model.sample(20, 1.1, random_state=0))
    assert np.array_equal(fits[0], fits[1])
    assert not np.array_equal(fits[0], fits[2])


def test_bootstraps_widen_the_error_bars_where_h_decides(three_hole, latf):
    """Far outside of the simulated temperatures."""
    X, temperature = three_hole["trajectories"], three_hole["temperature"]
    errors = []
    for n in (0, 20):
        model = TemperatureExtrapolator(
            FrozenEstimator(latf), n_bootstraps=n, heat_capacity_prior=0, max_iter=1,
            random_state=0,
        ).fit(X, temperature=temperature)  # fmt: skip
        errors.append(model.state_populations([0.45, 3.0]).standard_error.to_numpy())
    assert errors[1].mean() > 1.2 * errors[0].mean()


def test_a_prior_heat_capacity_widens_all_but_the_simulated_temperatures(three_hole, latf):
    X, temperature = three_hole["trajectories"], three_hole["temperature"]
    tables = []
    for prior in (0, 0.5, 1.0):
        model = quick_extrapolator(FrozenEstimator(latf), heat_capacity_prior=prior, max_iter=1)
        model.fit(X, temperature=temperature)
        tables.append(model.state_populations([*model.temperatures_, 1.1, 0.6, 2.0]))
    without, once, twice = (table.standard_error.to_numpy().reshape(5, -1) for table in tables)
    np.testing.assert_allclose(once[:2], without[:2], rtol=1e-9)
    assert (once[2:] > without[2:]).all()
    extra = [np.sqrt(table[2:] ** 2 - without[2:] ** 2) for table in (once, twice)]
    np.testing.assert_allclose(extra[1], 2 * extra[0], rtol=0.1)
    assert (tables[0].population == tables[2].population).all()


def test_cvs_as_the_input_of_h(three_hole, latf):
    X, temperature = three_hole["trajectories"], three_hole["temperature"]
    model = quick_extrapolator(FrozenEstimator(latf), enthalpy_input="cvs", max_iter=1)
    model.fit(X, temperature=temperature)
    found = model.state_populations(1.1).population.to_numpy()
    assert np.abs(found - exact_populations(model, 1.1)).max() < 0.06


def test_a_frozen_estimator_is_used_as_it_is(by_method, latf):
    assert all(model.estimator_ is latf for model in by_method.values())


def test_one_unnamed_temperature_samples_and_answers_no_more(three_hole):
    model = TemperatureExtrapolator(LaTFEstimator(**QUICK | {"max_iter": 96}), random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(three_hole["trajectories"][:10])
    assert model.sample(5).shape == (5, 2)
    assert np.array_equal(model.pooled_log_density(model.z_), model.log_density(model.z_))
    for ask in (
        lambda: model.sample(5, 300.0),
        lambda: model.frame_weights(300.0),
        lambda: model.state_populations(300.0),
    ):
        with pytest.raises(ValueError, match="temperature"):
            ask()


def test_one_temperature_is_enough_for_tilted(three_hole):
    model = TemperatureExtrapolator(LaTFEstimator(**QUICK), method="tilted", random_state=0)
    model.fit(three_hole["trajectories"][:20], temperature=[0.8] * 20)
    assert np.isfinite(model.sample(100, 1.2, random_state=0)).all()
    assert model.state_populations(0.8).population.sum() == pytest.approx(1)


# ------------------------------------------------------------------ any estimator inside


@pytest.mark.parametrize(
    "estimator",
    [
        make_pipeline(PerFrame(StandardScaler()), tiny_latf()),
        make_pipeline(FromDeeptime(TICA(lagtime=3, dim=2)), tiny_latf()),
        FromDeeptime(TICA(lagtime=3, dim=2)),
        FromDeeptime(VAMP(lagtime=3, dim=2)),
        make_pipeline(PerFrame(StandardScaler()), PCA(2)),
        PCA(2),
    ],
    ids=["scaler", "tica, latf", "tica", "vamp", "scaler, pca", "pca"],
)
@pytest.mark.filterwarnings("ignore:Only one metastable state:UserWarning")
def test_any_transformer_gives_the_variables(three_hole, estimator, tmp_path):
    X, temperature = three_hole["trajectories"][10:30], three_hole["temperature"][10:30]
    states = [(x[:, 0] > 0).astype(int) for x in X]
    model = tiny_extrapolator(estimator, boltzmann_constant=1.0)
    model.fit(X, temperature=temperature, states=states)
    z = np.concatenate(model.transform(X))
    np.testing.assert_allclose(z, model.z_, rtol=1e-5, atol=1e-7)
    assert model.n_states_ == 2
    populations = model.state_populations([0.8, 1.1]).population.unstack()
    np.testing.assert_allclose(populations.sum(axis=1), 1)
    assert np.isfinite(model.log_density(model.sample(50, 1.1, 0), 1.1)).all()
    assert np.isfinite(model.free_energy(model.z_, 1.0)).any()
    save(model, tmp_path / "model.latflow")
    again = load(tmp_path / "model.latflow")
    np.testing.assert_array_equal(again.sample(5, 1.1, 0), model.sample(5, 1.1, 0))
    np.testing.assert_array_equal(again.transform(X[0]), model.transform(X[0]))


def test_a_pipelines_h_reads_what_reaches_its_last_step(three_hole):
    """Scaled by hand or in the pipeline: the same model; stacked or listed, too."""
    X, temperature = three_hole["trajectories"][10:30], three_hole["temperature"][10:30]
    scaler = PerFrame(StandardScaler())
    inside = tiny_extrapolator(make_pipeline(scaler, tiny_latf())).fit(X, temperature=temperature)
    by_hand = tiny_extrapolator().fit(scaler.fit_transform(X), temperature=temperature)
    stacked, metadata = stack(X, temperature=temperature)
    flat = tiny_extrapolator(make_pipeline(StandardScaler(), tiny_latf())).fit(stacked, **metadata)
    expected = np.concatenate(by_hand.frame_weights(1.1))
    np.testing.assert_array_equal(np.concatenate(inside.frame_weights(1.1)), expected)
    np.testing.assert_array_equal(flat.frame_weights(1.1), expected)


def test_without_states_there_are_no_answers_about_states(three_hole):
    X, temperature = three_hole["trajectories"][10:30], three_hole["temperature"][10:30]
    model = tiny_extrapolator(PCA(2), boltzmann_constant=1.0).fit(X, temperature=temperature)
    assert model.n_states_ == 0
    assert model.labels_ is None
    assert not hasattr(model, "predict")
    for question in (
        lambda: model.state_populations(1.0),
        lambda: model.thermodynamics(1.0),
        lambda: model.melting_temperature(0),
        lambda: model.cross_check(),
        lambda: model.predict_latent([[0.0, 0.0]]),
    ):
        with pytest.raises(ValueError, match=r"Expected a (model with states|LaTFEstimator)"):
            question()
    assert model.expectation([x[:, 0] for x in X], 1.0).standard_error.item() > 0


def test_energies_without_overlap_never_fail_a_fit_that_needs_none(three_hole):
    """As those of explicit solvent: MBAR beside the learned h is then left out."""
    X, temperature = three_hole["trajectories"][10:30], three_hole["temperature"][10:30]
    energy = [np.full(len(x), 1e3 * t) + x[:, 0] for x, t in zip(X, temperature, strict=True)]
    model = tiny_extrapolator().fit(X, temperature=temperature, energy=energy)
    assert "free_energy_mbar" not in model.thermodynamics(1.0)
    with pytest.raises(ValueError, match="visit common regions"):
        tiny_extrapolator(method="mbar").fit(X, temperature=temperature, energy=energy)


def test_states_of_the_user_are_the_only_ones(three_hole):
    """Two of them, whatever the estimator inside finds; validation asks for them, too."""
    X, temperature = three_hole["trajectories"][10:30], three_hole["temperature"][10:30]
    states = [(x[:, 0] > 0).astype(int) for x in X]
    model = tiny_extrapolator(method="mbar")
    model.fit(X, temperature=temperature, energy=three_hole["energy"][10:30], states=states)
    assert model.n_states_ == 2
    table = model.state_populations(model.temperatures_).population.unstack()
    for k, t in enumerate(model.temperatures_):
        right = np.concatenate([s for s, own in zip(states, temperature, strict=True) if own == t])
        assert table.iloc[k, 1] == pytest.approx(right.mean(), abs=0.05)
    assert model.cross_check()["flow"].isna().all()
    with pytest.raises(ValueError, match="`states` for a model whose states are not its"):
        model.validate(X, temperature=temperature, energy=three_hole["energy"][10:30])


def test_lagtime_of_a_data_set_of_pairs_must_agree(three_hole):
    data = TrajectoriesDataset.from_numpy(7, three_hole["trajectories"][:4])
    with pytest.raises(ValueError, match="data set with lagtime 3, got lagtime 7"):
        tiny_extrapolator().fit(data, temperature=[0.8] * 4)


# ------------------------------------------------------------------ equilibrium draws


def test_draws_are_enough_for_an_estimator_without_time(few_frames, tmp_path):
    X, metadata = few_frames
    states = [(x[:, 0] > 0).astype(int) for x in X]
    answers = []
    for dynamics in (True, False):
        model = tiny_extrapolator(PCA(2)).fit(X, **metadata, states=states, dynamics=dynamics)
        save(model, tmp_path / "draws.latflow")
        answers.append(load(tmp_path / "draws.latflow").state_populations([0.8, 1.1]))
    assert answers[0]["population"].equals(answers[1]["population"])
    # few crossings leave draws, of which none is counted, as they are
    assert (answers[1]["standard_error"] <= answers[0]["standard_error"]).all()
    assert model.cross_check()["msm"].isna().all()
    assert not model.cross_check()["frames"].isna().any()


def test_draws_tell_densities_and_no_time_beside_walkers(three_hole):
    X, temperature = three_hole["trajectories"], three_hole["temperature"]
    rng = np.random.default_rng(0)
    mixed = [*X[:8], rng.permutation(np.concatenate(X[8:16]))]
    given = {"temperature": temperature[:9], "dynamics": [True] * 8 + [False]}
    model = tiny_latf().fit(mixed, **given)
    counts = np.bincount(np.concatenate(model.labels_), minlength=model.n_states_)
    assert np.allclose(model.populations_[0], counts / counts.sum())
    assert model.score(mixed, **given) == model.score(mixed[:8], temperature=temperature[:8])
    assert model.score(mixed, **given) > model.score(mixed, temperature=given["temperature"]) + 0.1


def test_draws_through_a_pipeline_and_through_stack(few_frames):
    X, metadata = few_frames
    dynamics = [True, False, True, True]
    steps = make_pipeline(PerFrame(StandardScaler()), FromDeeptime(TICA(lagtime=2, dim=1)))
    listed = tiny_extrapolator(steps).fit(X, **metadata, dynamics=dynamics)
    rows, columns = stack(X, **metadata, dynamics=dynamics)
    stacked = tiny_extrapolator(steps).fit(rows, **columns)
    assert np.array_equal(listed.z_, stacked.z_)
    without = tiny_extrapolator(steps).fit(X, **metadata)
    assert np.abs(listed.z_ - without.z_).max() > 1e-3


@pytest.mark.filterwarnings("ignore::UserWarning")  # that so few frames say little
@pytest.mark.parametrize("estimator", [tiny_latf(), PCA(1)], ids=["latf", "pca"])
@pytest.mark.parametrize("named", [True, False])
def test_notebooks_show_models_with_and_without_temperatures(few_frames, estimator, named):
    """They list every attribute, also those that a model without temperatures does not have."""
    X, metadata = few_frames
    model = tiny_extrapolator(clone(estimator))
    assert "TemperatureExtrapolator" in model._repr_html_()
    model.fit(X, temperature=metadata["temperature"] if named else None)
    assert "TemperatureExtrapolator" in model._repr_html_()
    assert ("temperature_range_" in dir(model)) == hasattr(model, "temperature_range_") == named
