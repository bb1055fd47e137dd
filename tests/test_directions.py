"""Wide features: the directions that they are read along, and fits that read them."""

import tempfile

import numpy as np
import pytest
import torch
from scipy.signal import lfilter
from sklearn.frozen import FrozenEstimator

from latflow import load, save
from latflow._validation import heard
from latflow.estimators import directions, latf
from latflow.estimators.directions import WIDE, Directions
from latflow.estimators.seam import Standardised
from latflow.nn.networks import Encoder
from latflow.trajectories import Rows, free_memory, gather_frames, rows
from tests.conftest import fit_quietly, quick_extrapolator, quick_latf, tiny_extrapolator, tiny_latf

N_INFORMED, N_FAST, N_WIDE = 4, 30, 600


def wide(n_frames, seed, n_features=N_WIDE, beta=0.0):
    """Return frames of two states, which few features tell, and of fast processes; and states.

    The first fast process is N(-3 beta, 1): its equilibrium for an energy of three times its value.
    """
    system, rng = np.random.default_rng(0), np.random.default_rng(seed)
    mixing = system.standard_normal((N_FAST, n_features))
    states = np.cumprod(1 - 2 * (rng.random(n_frames) < 0.02))
    fast = rng.standard_normal((n_frames, N_FAST))
    fast[:, 0] -= 3 * beta
    x = fast @ mixing
    x += rng.standard_normal(x.shape)
    x[:, :N_INFORMED] = states[:, None] + 0.5 * rng.standard_normal((n_frames, N_INFORMED))
    return x.astype(np.float32), states, fast[:, 0]


def learned(X, seed=0, *, in_time=True, **metadata):
    frames = gather_frames(tiny_latf(), X, reset=True, **metadata)
    x = Standardised(frames.X, *frames.scaling()[:2])
    return x, Directions.of(x, frames.weights, frames.pairs(1) if in_time else None, seed)


def left_out(values, of):
    """Return the share of the variance of each column that no line in some others gives."""
    values, of = values - values.mean(axis=0), of - of.mean(axis=0)
    residual = values - of @ np.linalg.lstsq(of, values, rcond=None)[0]
    return residual.var(axis=0) / values.var(axis=0)


@pytest.mark.parametrize("seed", range(3))
def test_frames_along_directions_are_features_times_vectors(seed):
    x, found = learned([wide(500, seed)[0], wide(300, seed + 10)[0]], seed)
    assert found.vectors.shape == (N_WIDE, found.along.shape[1])
    y = x[:] @ found.vectors
    np.testing.assert_allclose(found.along[:], y, atol=1e-4 * np.abs(y).max())


@pytest.mark.parametrize("in_time", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_features_of_few_dimensions_lose_nothing(seed, in_time):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((600, 12)) @ rng.standard_normal((12, N_WIDE)) + 5.0
    _, found = learned(X, seed, in_time=in_time)
    assert found.along.shape[1] < 30
    assert left_out(X, found.along[:]).max() < 1e-6


@pytest.mark.parametrize("seed", range(3))
def test_a_slow_feature_that_no_other_follows_is_read(seed):
    X = np.random.default_rng(seed).standard_normal((2000, N_WIDE))
    X[:, 0] = lfilter([1], [1, -0.95], X[:, 0])
    _, found = learned(X, seed)
    assert left_out(X[:, :1], found.along[:]).max() < 1e-3
    assert left_out(X[:, :1], found.along[:][:, :1]).max() < 0.2  # and it comes first
    _, components = learned(X, seed, in_time=False)
    assert left_out(X[:, :1], components.along[:]).max() > 0.5


def test_frames_that_weigh_nothing_move_no_direction(monkeypatch):
    X, others = wide(600, 0)[0], wide(600, 1)[0]
    weights = [np.ones(600), np.zeros(600)]
    found = [learned([X, o], weights=weights)[1].vectors for o in (others, others[::-1] * 3)]
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-4 * np.abs(found[0]).max())


def test_equal_seeds_give_equal_bits():
    X, *_ = wide(600, 0)
    first, second = (learned(X)[1] for _ in range(2))
    np.testing.assert_array_equal(first.vectors, second.vectors)
    np.testing.assert_array_equal(first.along[:], second.along[:])


def test_frames_along_directions_are_on_disk_where_features_are_while_they_are_read(
    tmp_path, monkeypatch
):
    X, *_ = wide(600, 0)
    np.save(tmp_path / "x.npy", X)
    _, memory = learned(X)
    monkeypatch.setattr(rows, "LEAST_ON_DISK", 1)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    _, disk = learned(np.load(tmp_path / "x.npy", mmap_mode="r"))
    assert isinstance(disk.along.X, Rows)
    assert disk.along.X.on_disk
    assert disk.vectors.shape == memory.vectors.shape
    y = np.abs(memory.along[:]).max()
    np.testing.assert_allclose(disk.along[:], memory.along[:], atol=1e-3 * y)
    assert len(list(tmp_path.glob("latflow_*"))) == 1
    del disk
    assert not list(tmp_path.glob("latflow_*"))


@pytest.mark.parametrize("hidden", [(), (8, 4)])
def test_an_encoder_reads_through_directions_what_it_read_along_them(hidden, rng):
    encoder = Encoder(5, 2, hidden, torch.Generator().manual_seed(0)).double()
    x, vectors = (torch.from_numpy(rng.normal(size=shape)) for shape in ((20, 9), (9, 5)))
    before = encoder(x @ vectors)
    encoder.read_through(vectors)
    torch.testing.assert_close(encoder(x), before)


def test_narrow_features_are_read_as_they_are(monkeypatch):
    class Asked(Exception):
        pass

    def of(*args):
        raise Asked

    monkeypatch.setattr(directions.Directions, "of", of)
    X = wide(300, 0, n_features=WIDE + 1)[0]
    assert tiny_latf().fit(X[:, :WIDE]).n_features_in_ == WIDE
    with pytest.raises(Asked):
        tiny_latf().fit(X)


@pytest.mark.parametrize(
    ("encoder", "standardize"),
    [("mlp", True), pytest.param("linear", False, marks=pytest.mark.slow)],
)
def test_a_wide_fit_is_as_slow_as_one_of_the_features_that_matter(encoder, standardize, tmp_path):
    options = {"encoder": encoder, "standardize": standardize, "lagtime": 5, "max_iter": 240}
    trajectories = [wide(1500, seed)[0] for seed in range(3)]
    judged, states, _ = wide(1500, 10)
    model = fit_quietly(quick_latf(**options), trajectories)
    narrow = fit_quietly(quick_latf(**options), [x[:, :N_INFORMED] for x in trajectories])
    assert model.score([judged]) > narrow.score([judged[:, :N_INFORMED]]) - 0.1
    assert left_out(states[:, None], model.transform(judged)) < 0.2
    save(model, tmp_path / "wide.latflow")
    again = load(tmp_path / "wide.latflow")
    np.testing.assert_array_equal(again.transform(judged), model.transform(judged))


@pytest.mark.parametrize("frozen", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_h_of_wide_features_weights_frames_as_their_energy_does(frozen):
    temperature = [1.0, 1.0, 1.5, 1.5]
    X, _, fast = zip(*(wide(1000, k, beta=1 / t) for k, t in enumerate(temperature)), strict=True)
    latent = quick_latf(lagtime=5, max_iter=32)
    if frozen:
        latent = FrozenEstimator(fit_quietly(latent, [*X], temperature=temperature))
    model = quick_extrapolator(latent, max_iter=20)
    fit_quietly(model, [*X], temperature=temperature)
    for t in (1.0, 1.2, 1.5):
        weights = np.concatenate(model.frame_weights(t))
        assert weights @ np.concatenate(fast) == pytest.approx(-3 / t, abs=0.15)


def test_wide_features_that_never_vary_are_fitted_as_narrow_ones_are():
    for n_features in (WIDE, WIDE + 1):
        model = fit_quietly(tiny_latf(), np.ones((300, n_features)))
        assert model.n_states_ == 1
        assert np.isfinite(model.transform(np.ones((2, n_features)))).all()


def test_the_estimator_inside_an_extrapolator_is_that_fitted_alone():
    X = [wide(300, seed)[0] for seed in range(2)]
    alone = fit_quietly(tiny_latf(), X, temperature=[1.0, 1.5])
    inside = fit_quietly(tiny_extrapolator(tiny_latf()), X, temperature=[1.0, 1.5]).estimator_
    np.testing.assert_array_equal(inside.transform(X[0]), alone.transform(X[0]))


def test_too_little_memory_is_told_before_it_is_needed(monkeypatch):
    monkeypatch.setattr(latf, "free_memory", lambda: 1e6)
    for n_features in (20, WIDE + 100):
        X = wide(300, 0, n_features=n_features)[0]
        with heard() as said:
            tiny_latf().fit(X)
        assert said[0].startswith(f"300 frames of {n_features} features, in memory: the fit takes")
    assert free_memory() > 1e6
