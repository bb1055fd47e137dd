"""LaTFEstimator: its laws, its promises, and a test for each defect of earlier implementations."""

import copy
import itertools
import json
import random
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from conftest import QUICK, tiny_extrapolator, tiny_latf
from sklearn.exceptions import ConvergenceWarning
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from latflow import LaTFEstimator, stack
from latflow.datasets import make_three_hole, three_hole_populations
from latflow.estimators import seam
from latflow.estimators.seam import Standardised, Streamed, features_of
from latflow.metrics import jensen_shannon, jensen_shannon_noise_floor, vamp2
from latflow.nn import stages, training
from latflow.nn.distributions import TiltedGaussian
from latflow.nn.networks import Decoder
from latflow.trajectories import Rows

TINY = {"max_iter": 32, "n_refinements": 2, "hidden_features": (8,), "random_state": 0}


def fit_quietly(model, X, **metadata):
    """Fit where toy sizes leave labels unsettled or one state."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(X, **metadata)


def outputs(model, X):
    frames = X[0] if isinstance(X, list) else X
    return np.column_stack(
        [model.transform(frames), model.predict(frames), model.score_samples(frames)]
    )


# ------------------------------------------------------------------ what it promises


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_samples_follow_the_noise_free_variables(three_hole, seed):
    """Not those blurred by the encoder's noise, which would miss by ten times the margin here."""
    X = three_hole["trajectories"][20:]
    model = LaTFEstimator(**QUICK | {"bottleneck": 0.1, "max_iter": 960, "random_state": seed})
    z = np.concatenate(fit_quietly(model, X).transform(X))
    drawn = model.sample(len(z), random_state=1)
    floor = jensen_shannon_noise_floor(z, len(z), bins=20, random_state=0)
    sigma = model.model_.encoder.log_sigma.exp().numpy()
    noisy = z + sigma * np.random.default_rng(0).normal(size=z.shape)
    assert jensen_shannon(drawn, z, bins=20) < floor + 0.015
    assert jensen_shannon(noisy, z, bins=20) > floor + 0.03


@pytest.mark.parametrize("n_components", [1, 2, 3, 5])
@pytest.mark.parametrize("flow", ["spline", "affine"])
def test_any_dimension_gives_exactly_n_samples(three_hole, n_components, flow):
    model = LaTFEstimator(n_components=n_components, flow=flow, **TINY | {"n_refinements": 1})
    fit_quietly(model, three_hole["trajectories"][:4])
    assert model.transform(three_hole["trajectories"][0]).shape == (300, n_components)
    for n in (1, 7, 1000):
        drawn = model.sample(n, random_state=0)
        assert drawn.shape == (n, n_components)
        assert drawn.dtype == np.float64
        assert np.isfinite(drawn).all()
    assert model.log_density(drawn).shape == (1000,)
    assert model.log_density(drawn[:1]).shape == (1,)


def test_draws_in_single_precision_are_those_in_double(latf):
    drawn = latf.sample(20_000, 1.0, random_state=0)
    seed = int(np.random.RandomState(0).randint(2**31 - 1))
    generator, base = torch.Generator().manual_seed(seed), latf.model_.base(latf._reduced(1.0))
    n = seam.CHUNK
    parts = [base.sample(min(n, 20_000 - k), generator) for k in range(0, 20_000, n)]
    exact = latf.from_prior(torch.cat(parts).numpy())
    assert np.isfinite(drawn).all()
    assert np.abs(drawn - exact).mean() < 1e-5 * exact.std()


def test_density_integrates_to_one_over_the_latent_plane(latf):
    z = latf.sample(20_000, temperature=1.4, random_state=0)
    low, high = z.min(axis=0) - 1, z.max(axis=0) + 1
    axes = [np.linspace(a, b, 500) for a, b in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    cell = np.prod([axis[1] - axis[0] for axis in axes])
    for temperature in (0.8, 1.4):
        mass = np.exp(latf.log_density(grid, temperature)).sum() * cell
        assert mass == pytest.approx(1, abs=1e-2)


def test_hotter_samples_spread_wider_in_the_base(latf):
    """T / T_ref is the base's variance in sampling as in training, not its standard deviation."""
    cold, hot = (latf.to_prior(latf.sample(4000, t, random_state=0)) for t in (0.8, 1.4))
    assert latf.reference_temperature_ == 0.8
    base_cold, base_hot = (
        latf.model_.base(t).sample(50_000, torch.Generator().manual_seed(1)).norm(dim=1).mean()
        for t in (1.0, 1.75)
    )
    assert np.linalg.norm(cold, axis=1).mean() == pytest.approx(float(base_cold), rel=0.03)
    assert np.linalg.norm(hot, axis=1).mean() == pytest.approx(float(base_hot), rel=0.03)


def test_flow_goes_both_ways_and_interpolates_between_its_ends(latf):
    z = latf.sample(50, random_state=0)
    assert np.allclose(latf.from_prior(latf.to_prior(z)), z, atol=1e-5)
    path = latf.interpolate(z[0], z[1], 11, temperature=0.8)
    assert path.shape == (11, 2)
    assert np.array_equal(path[[0, -1]], z[:2])
    radii = np.linalg.norm(latf.to_prior(path), axis=1)
    assert radii.max() <= max(radii[0], radii[-1]) + 1e-3
    straight = z[0] + np.linspace(0, 1, 11)[:, None] * (z[1] - z[0])
    assert not np.allclose(path, straight)


def test_states_are_ordered_by_size_and_populations_are_theirs(latf, three_hole):
    labels = np.concatenate(latf.labels_)
    assert set(labels) == set(range(latf.n_states_))
    assert (np.diff(np.bincount(labels)) <= 0).all()
    cold = np.concatenate(latf.labels_[:20])
    assert np.allclose(latf.populations_[0], np.bincount(cold, minlength=latf.n_states_) / 6000)
    assert np.allclose(latf.populations_.sum(axis=1), 1)
    predicted = latf.predict(three_hole["trajectories"])
    assert all(np.array_equal(a, b) for a, b in zip(predicted, latf.labels_, strict=True))


def test_points_have_the_states_of_their_frames(latf, three_hole):
    X = three_hole["trajectories"][0]
    z = latf.transform(X)
    np.testing.assert_allclose(latf.predict_proba_latent(z), latf.predict_proba(X), atol=1e-9)
    assert np.array_equal(latf.predict_latent(z), latf.predict(X))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_three_holes_are_told_apart_with_exact_populations(seed):
    data = make_three_hole(20_000, temperature=1.0, random_state=seed + 10)
    model = LaTFEstimator(**QUICK | {"max_iter": 960, "random_state": seed})
    model.fit(data.trajectories, temperature=data.temperature)
    exact = three_hole_populations(1.0, assign=model.predict)
    drawn = model.predict_latent(model.sample(50_000, random_state=0))
    generated = np.bincount(drawn, minlength=model.n_states_) / 50_000
    assert model.n_states_ >= 2
    assert np.abs(generated - exact).max() < 0.05


def test_score_is_vamp2_between_its_bounds(latf, three_hole):
    score = latf.score(three_hole["trajectories"], temperature=three_hole["temperature"])
    assert 1.5 < score < 3
    shuffled = [np.random.default_rng(0).permutation(x) for x in three_hole["trajectories"]]
    assert latf.score(shuffled) < 1.1


# ------------------------------------------------------------------ weights


def test_weights_scaled_by_a_constant_change_nothing(three_hole, rng):
    trajectories = three_hole["trajectories"][:6]
    weights = [rng.uniform(0.5, 2, size=len(x)) for x in trajectories]
    one, other = (
        fit_quietly(LaTFEstimator(**TINY), trajectories, weights=[c * w for w in weights])
        for c in (1.0, 1024.0)
    )
    assert np.array_equal(outputs(one, trajectories), outputs(other, trajectories))
    assert np.allclose(one.populations_, other.populations_)


def test_weights_of_frames_change_the_result_and_the_populations(three_hole):
    trajectories = three_hole["trajectories"][:6]
    weights = [np.where(x[:, 0] > 0, 3.0, 1.0) for x in trajectories]
    even = fit_quietly(LaTFEstimator(**TINY), trajectories)
    uneven = fit_quietly(LaTFEstimator(**TINY), trajectories, weights=weights)
    assert not np.array_equal(outputs(even, trajectories), outputs(uneven, trajectories))
    labels, w = np.concatenate(uneven.labels_), np.concatenate(weights)
    expected = np.bincount(labels, weights=w, minlength=uneven.n_states_) / w.sum()
    assert np.allclose(uneven.populations_[0], expected)


def test_zero_weight_takes_frames_out_of_the_density(three_hole):
    trajectories = three_hole["trajectories"][:20]
    weights = [(x[:, 0] > 0).astype(float) for x in trajectories]
    model = fit_quietly(LaTFEstimator(**QUICK | {"max_iter": 600}), trajectories, weights=weights)
    right = model.transform(np.concatenate(trajectories)[np.concatenate(weights) > 0])
    drawn = model.sample(5000, random_state=0)
    inside = (drawn > right.min(axis=0) - 0.2) & (drawn < right.max(axis=0) + 0.2)
    assert inside.all(axis=1).mean() > 0.95


# ------------------------------------------------------------------ refinement


def test_every_parameter_is_in_the_optimiser_after_every_refinement(three_hole, monkeypatch):
    """Also the decoder's last layer after states merged, which is a new object."""
    stages_seen = []

    def note(module, parameters):
        held = set(map(id, parameters))
        names = {name for name, p in module.named_parameters() if id(p) in held}
        stages_seen.append((names, {name for name, p in module.named_parameters()}))

    class Watched(training.AdamW):
        def __init__(self, module, weight_decay):
            super().__init__(module, weight_decay)
            note(module, self.parameters)

    class WatchedFlow(stages.Soap):
        def __init__(self, module):
            super().__init__(module)
            layers = [layer for stack in self.stacks for layer in stack.layers]
            note(module, [p for layer in layers for p in layer.parameters()])

    monkeypatch.setattr(training, "AdamW", Watched)
    monkeypatch.setattr(stages, "Soap", WatchedFlow)
    model = LaTFEstimator(**QUICK)
    model.fit(three_hole["trajectories"], temperature=three_hole["temperature"])
    assert model.n_states_ < 10
    *refinements, joint, density = stages_seen
    assert len(refinements) >= 2
    for held, every in refinements:
        assert held == {name for name in every if not name.startswith("flow")}
        assert {"decoder.net.4.weight", "decoder.net.4.bias", "encoder.log_sigma"} <= held
    assert joint[0] == joint[1]
    assert density[0] == density[1] == {n.removeprefix("flow.") for n in joint[1] if "flow" in n}


def test_refinement_moves_the_decoder_made_after_a_merge(three_hole, monkeypatch):
    """The last layer's weights differ from those that `keep` put there."""
    kept = []
    keep = Decoder.keep

    def watched(self, states):
        keep(self, states)
        kept.append((self.net[-1], self.net[-1].weight.detach().clone()))

    monkeypatch.setattr(Decoder, "keep", watched)
    LaTFEstimator(**QUICK).fit(three_hole["trajectories"], temperature=three_hole["temperature"])
    layer, weight = kept[0]
    assert not torch.equal(layer.weight.to(weight.dtype), weight)


def test_states_only_merge_and_labels_settle(latf):
    rounds = [r for r in latf.history_ if "n_states" in r]
    counts = [r["n_states"] for r in rounds]
    assert all(a >= b for a, b in itertools.pairwise(counts))
    assert latf.converged_ == (rounds[-1]["changed"] < stages.LABEL_TOLERANCE)


def test_no_refinement_at_all_keeps_working(three_hole):
    """No round of relabelling: the labels are those that k-means gave."""
    model = fit_quietly(
        LaTFEstimator(**TINY | {"n_refinements": 0}), three_hole["trajectories"][:4]
    )
    assert len(model.sample(3)) == 3


def test_initial_states_of_the_user_are_where_refinement_starts(three_hole):
    X = three_hole["trajectories"][:10]
    states = [(x[:, 0] > 0).astype(int) * 7 for x in X]
    model = LaTFEstimator(**QUICK).fit(X, initial_states=states)
    assert model.n_states_ == 2
    agree = np.mean(np.concatenate(model.labels_) == (np.concatenate(states) > 0))
    assert max(agree, 1 - agree) > 0.95


def test_an_initial_state_that_vanishes_is_a_warning_and_a_working_model(three_hole, rng):
    X = three_hole["trajectories"][:20]
    states = [(x[:, 0] > 0) * 2 + rng.integers(0, 2, len(x)) for x in X]  # halves at random
    with pytest.warns(UserWarning, match="Of 4 `initial_states` 2 are left"):
        model = LaTFEstimator(**QUICK).fit(X, initial_states=states)
    assert np.isfinite(outputs(model, X)).all()


# ------------------------------------------------------------------ held-out blocks, stopping


def test_no_pair_touches_both_training_and_held_out_blocks(three_hole, monkeypatch):
    seen = {}
    split = stages.TrainingData.split

    def watched(x, weights, base, pairs, held_out, device):
        data = split(x, weights, base, pairs, held_out, device)
        seen.update(data=data, held_out=held_out)
        return data

    monkeypatch.setattr(stages.TrainingData, "split", watched)
    fit_quietly(LaTFEstimator(lagtime=5, **TINY), three_hole["trajectories"])
    data, held_out = seen["data"], seen["held_out"]
    assert 0.05 < held_out.mean() < 0.15
    assert not held_out[torch.cat(data.pairs).numpy()].any()
    assert held_out[torch.cat(data.held_out_pairs).numpy()].all()
    assert not held_out[data.rows.numpy()].any()


def test_history_is_plain_and_tells_each_stage(latf):
    assert json.loads(json.dumps(latf.history_)) == latf.history_
    stages_seen = [record["stage"] for record in latf.history_]
    assert stages_seen[0] == "refinement 1"
    assert stages_seen[-1] == "density"
    assert "joint" in stages_seen
    assert {"iteration", "loss", "held_out_loss", "learning_rate"} <= set(latf.history_[0])


def test_iterations_are_capped(three_hole):
    model = fit_quietly(LaTFEstimator(**TINY), three_hole["trajectories"][:4])
    assert 1 <= model.n_iter_ <= model.max_iter


# ------------------------------------------------------------------ same seed, same model


def test_same_seed_same_model_and_no_global_state_is_touched(three_hole):
    X = three_hole["trajectories"][:6]
    states = torch.random.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    threads = torch.get_num_threads()
    one = fit_quietly(LaTFEstimator(**TINY), X)
    torch.manual_seed(99)
    two = fit_quietly(LaTFEstimator(**TINY), X)
    torch.random.set_rng_state(states[0])
    three = fit_quietly(LaTFEstimator(**TINY | {"random_state": 1}), X)
    assert torch.equal(torch.random.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert random.getstate() == states[2]
    assert torch.get_num_threads() == threads
    assert np.array_equal(outputs(one, X), outputs(two, X))
    assert not np.array_equal(outputs(one, X), outputs(three, X))


def test_refitting_starts_afresh_and_data_stay_as_they_were(three_hole):
    """No weights of the fit before are gone on from, and no array is written into."""
    X = [x.copy() for x in three_hole["trajectories"][:6]]
    weights = [np.ones(len(x)) for x in X]
    kept = copy.deepcopy((X, weights))
    model = fit_quietly(LaTFEstimator(**TINY), X, weights=weights)
    first = outputs(model, X)
    fit_quietly(model, X, weights=weights)
    assert np.array_equal(outputs(model, X), first)
    for old, new in zip(kept, (X, weights), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(old, new, strict=True))


def test_read_only_memory_maps_are_read(three_hole, tmp_path):
    np.save(tmp_path / "a.npy", three_hole["trajectories"][0])
    X = [np.load(tmp_path / "a.npy", mmap_mode="r")]
    model = LaTFEstimator(**TINY)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", message="Only one metastable")
        model.fit(X)
        assert model.transform(X)[0].shape == (300, 2)


def test_lists_and_stacked_arrays_give_the_same_model(three_hole):
    X, temperature = three_hole["trajectories"][18:22], three_hole["temperature"][18:22]
    stacked, metadata = stack(X, temperature=temperature)
    by_list = fit_quietly(LaTFEstimator(**TINY), X, temperature=temperature)
    by_array = fit_quietly(LaTFEstimator(**TINY), stacked, **metadata)
    assert np.array_equal(outputs(by_list, stacked), outputs(by_array, stacked))
    assert np.array_equal(np.concatenate(by_list.labels_), by_array.labels_)


def test_units_of_features_do_not_matter_also_for_a_linear_encoder(three_hole):
    """The scaler is part of the model: raw features go in, in training and later."""
    X = three_hole["trajectories"][:6]
    scaled = [1024.0 * x + 512.0 for x in X]
    one = fit_quietly(LaTFEstimator(encoder="linear", **TINY), X)
    other = fit_quietly(LaTFEstimator(encoder="linear", **TINY), scaled)
    assert np.allclose(one.transform(X[0]), other.transform(scaled[0]), atol=1e-3)


@pytest.mark.filterwarnings("ignore::UserWarning")  # that so few frames say little
@pytest.mark.parametrize("power", [-100, -37, 100])  # 1e-30, metres for nm, 1e30
@pytest.mark.parametrize("make", [tiny_latf, tiny_extrapolator])
def test_any_unit_gives_the_same_model(few_frames, make, power):
    """Features in metres once counted as constant."""
    X, metadata = few_frames
    metadata = {"temperature": metadata["temperature"]}
    scaled = [x * 2.0**power for x in X]
    one, other = make().fit(X, **metadata), make().fit(scaled, **metadata)
    assert np.array_equal(one.transform(X[0]), other.transform(scaled[0]))
    temperature = metadata["temperature"][0]
    populations = (m.state_populations(temperature)["population"] for m in (one, other))
    assert np.allclose(*populations, rtol=1e-12)


def test_chunks_of_rows_do_not_show(latf, three_hole, monkeypatch):
    X = np.concatenate(three_hole["trajectories"][:3])
    t = np.linspace(0.8, 1.4, len(X))
    whole = latf.transform(X), latf.predict_proba(X), latf.score_samples(X, t)
    monkeypatch.setattr(seam, "CHUNK", 101)
    parts = latf.transform(X), latf.predict_proba(X), latf.score_samples(X, t)
    for a, b in zip(whole, parts, strict=True):
        assert len(a) == len(X)
        assert np.allclose(a, b, atol=1e-12)


def test_bottleneck_tilt_and_lagtime_are_read(three_hole):
    """A parameter that is accepted and then ignored would change nothing."""
    X = three_hole["trajectories"][:6]
    base = outputs(fit_quietly(LaTFEstimator(**TINY), X), X)
    for change in (
        {"bottleneck": 0.1},
        {"kinetic_weight": 0.0},
        {"tilt": 0.5},
        {"lagtime": 20},
        {"flow": "affine"},
    ):
        assert not np.array_equal(outputs(fit_quietly(LaTFEstimator(**TINY | change), X), X), base)


@pytest.mark.parametrize("seed", range(3))
def test_of_several_starts_those_with_the_slowest_variables_go_on(three_hole, monkeypatch, seed):
    X, judged, judge = three_hole["trajectories"][:6], [], stages.Fit.judge

    def noted(fit):
        judge(fit)
        with torch.no_grad():
            i, j = fit.data.held_out_pairs
            z, later = (fit.model.encoder(fit.data.x.x[rows]).numpy() for rows in (i, j))
        assert fit.score == pytest.approx(vamp2(z, later), rel=0.02)  # but for its ridge
        judged.append((fit, fit.score, fit.n_rounds, i))

    monkeypatch.setattr(stages.Fit, "judge", noted)
    options = TINY | {"n_init": 5, "n_refinements": 9, "random_state": seed}
    model = fit_quietly(LaTFEstimator(**options), X)
    assert all(torch.equal(judged[0][3], held_out) for *_, held_out in judged)
    field = judged[:5]
    for first, size in ((5, 3), (8, 2), (10, 1)):
        better = sorted(field, key=lambda one: one[1], reverse=True)[:size]
        field = judged[first : first + size]
        assert [one[0] for one in field] == [one[0] for one in better]
    assert len(judged) == 11
    assert model.model_ is field[0][0].model
    assert {"joint", "density"} < {record["stage"] for record in model.history_}


class OneDevice(TorchDispatchMode):
    """Fail where arrays of two devices meet, but for copies from one to the other."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        copying = func in (torch.ops.aten.copy_.default, torch.ops.aten._to_copy.default)
        tensors = [a for a in tree_leaves((args, kwargs, found)) if isinstance(a, torch.Tensor)]
        devices = {t.device.type for t in tensors if t.dim() or t.device.type != "cpu"}
        assert copying or len(devices) <= 1, f"{func} of {devices}"
        return found


@pytest.mark.parametrize("stage", ["refinement", "joint", "density"])
@pytest.mark.parametrize("on_disk", [False, True])
def test_a_step_stays_on_its_device_and_waits_for_no_value(stage, on_disk, rng):
    """On the device without values, where asking for one is an error: a GPU is never waited for."""
    meta = torch.device("meta")
    X, rows = rng.normal(size=(300, 3)), np.arange(299)
    standardised = Standardised(Rows([X]) if on_disk else X, np.zeros(3), np.ones(3))
    x = Streamed(standardised, meta) if on_disk else features_of(standardised, meta)
    base = TiltedGaussian(2, 2.0, np.ones(300))
    held_out = np.arange(300) < 30
    data = stages.TrainingData.split(x, np.ones(300), base, (rows, rows + 1), held_out, meta)
    model = LaTFEstimator()
    model.temperatures_, model.reference_temperature_ = np.empty(0), None
    net = model._build(3, 4, torch.Generator().manual_seed(0)).to(meta)
    labels = torch.zeros(300, dtype=torch.int32, device=meta)
    generator = torch.Generator().manual_seed(0)
    fit = stages.Fit(net, data, labels, 1e-3, 1.0, training.Plan(1, 1e-2, 64), 1, generator)
    kinds = {"refinement": False, "joint": True}
    with OneDevice():
        losses = fit._pair_losses(flow=kinds[stage]) if stage in kinds else fit._density_losses()
        loss, _, stream = losses
        module = net.flow if stage == "density" else net
        module.requires_grad_(True)
        batches, optimiser = stream(64), training.AdamW(module, 0.0)
        for _ in range(2):
            optimiser.step(loss(next(batches)), 1e-2)
    trained = net.flow if stage != "refinement" else net.encoder
    assert all(p.grad.device == meta for p in trained.parameters())


# ------------------------------------------------------------------ odd data


def test_no_nan_in_twenty_seeds_of_a_short_fit(three_hole):
    X, temperature = three_hole["trajectories"], three_hole["temperature"]
    for seed in range(20):
        options = TINY | {"random_state": seed, "learning_rate": 3e-2}
        model = fit_quietly(LaTFEstimator(**options), X, temperature=temperature)
        assert np.isfinite(outputs(model, X)).all()
        assert np.isfinite(model.sample(100, temperature=2.0, random_state=seed)).all()
        assert all(np.isfinite(record["loss"]) for record in model.history_)


def test_one_metastable_state_is_a_warning_and_a_working_model(rng):
    noise = [rng.normal(size=(400, 3)) for _ in range(3)]
    with pytest.warns(UserWarning, match="Only one metastable state"):
        model = LaTFEstimator(max_iter=320, random_state=0).fit(noise)
    assert model.n_states_ == 1
    assert (model.predict(noise[0]) == 0).all()
    assert np.isfinite(model.log_density(model.sample(10))).all()


def test_constant_features_are_a_warning_and_a_working_model(three_hole):
    X = [np.column_stack([x, np.full(len(x), 5.0)]) for x in three_hole["trajectories"]]
    with pytest.warns(UserWarning, match="1 of 3 features are constant"):
        model = LaTFEstimator(**QUICK).fit(X)
    assert np.isfinite(outputs(model, X)).all()


def test_wildly_scaled_raw_features_end_in_finite_numbers(three_hole):
    X = [1e6 * x for x in three_hole["trajectories"][:6]]
    model = fit_quietly(LaTFEstimator(standardize=False, **TINY), X)
    assert np.isfinite(outputs(model, X)).all()


def test_a_loss_that_stays_non_finite_is_a_convergence_warning(three_hole, monkeypatch):
    def broken(self, x, *_, **__):
        return self.encoder(x).sum() * float("nan")

    monkeypatch.setattr(stages.LatentModel, "loss", broken)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = LaTFEstimator(**TINY | {"max_iter": 2000}).fit(three_hole["trajectories"][:4])
    failed = [w for w in caught if issubclass(w.category, ConvergenceWarning)]
    assert any("non-finite" in str(w.message) for w in failed)
    assert not model.converged_
    assert np.isfinite(model.sample(3)).all()


# ------------------------------------------------------------------ quiet, light, at home


def test_nothing_is_printed_unless_asked(three_hole, capsys):
    fit_quietly(LaTFEstimator(**TINY), three_hole["trajectories"][:4])
    assert capsys.readouterr() == ("", "")
    fit_quietly(LaTFEstimator(verbose=1, **TINY), three_hole["trajectories"][:4])
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "held-out loss" in shown.err


def test_labels_go_to_deeptime_as_they_are(latf):
    from deeptime.markov import TransitionCountEstimator

    counts = TransitionCountEstimator(lagtime=5, count_mode="sliding").fit_fetch(latf.labels_)
    assert counts.count_matrix.sum() == sum(len(x) - 5 for x in latf.labels_)


def test_deeptime_manners(latf):
    fetched = latf.fetch_model()
    assert latf.has_model
    assert fetched is not latf
    assert np.array_equal(fetched.sample(3, random_state=0), latf.sample(3, random_state=0))
    assert LaTFEstimator().fetch_model() is None


def test_importing_latflow_loads_neither_mdtraj_nor_matplotlib():
    code = "import sys, latflow; print([m for m in ('mdtraj', 'matplotlib') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
