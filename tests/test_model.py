"""The joint density and its loss: normalised, weighed right, every part reached by a gradient."""

import math

import numpy as np
import pytest
import torch

import latflow
from latflow.nn.conditional import ConditionalDensity
from latflow.nn.density_ratio import Functions, TemperatureClassifier
from latflow.nn.model import LatentModel, vamp2
from latflow.nn.networks import mlp, on_columns, on_columns_backward


def build(n_components=2, *, seed=0, n_states=4, randomise=True, scale=0.2, **changes):
    generator = torch.Generator().manual_seed(seed)
    options = {
        "n_features": 3,
        "n_components": n_components,
        "n_states": n_states,
        "encoder_features": (8,),
        "decoder_features": (8,),
        "flow_features": (8,),
        "n_transforms": 3,
        "transform": "spline",
        "tilt": 2.0,
        "bound": 5.0,
    }
    model = LatentModel(**options | changes, generator=generator).double()
    if randomise:
        with torch.no_grad():
            for parameter in model.parameters():
                noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                parameter.add_(scale * noise)
    return model


def batch(n=16, n_components=2):
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(n, 3, dtype=torch.float64, generator=generator)
    noise = torch.randn(n, n_components, dtype=torch.float64, generator=generator)
    return x, torch.arange(n) % 4, noise


@pytest.mark.parametrize("transform", ["spline", "affine"])
@pytest.mark.parametrize("t", [0.4, 1.0])
def test_latent_density_integrates_to_one_in_one_and_two_dimensions(transform, t):
    for dim in (1, 2):
        model = build(dim, transform=transform, n_transforms=2, scale=0.1)
        axis = torch.linspace(-9, 9, 601 if dim == 2 else 20_001, dtype=torch.float64)
        grid = torch.cartesian_prod(*[axis] * dim).reshape(-1, dim)
        with torch.no_grad():
            mass = model.log_density(grid, model.base(t)).exp().sum()
        assert float(mass) * float(axis[1] - axis[0]) ** dim == pytest.approx(1, abs=1e-3)


def test_conditional_density_integrates_to_one_at_every_temperature():
    generator = torch.Generator().manual_seed(0)
    density = ConditionalDensity(
        n_components=2,
        context_range=(0.5, 5.0),
        n_transforms=2,
        transform="spline",
        hidden_features=(8,),
        generator=generator,
    ).double()
    covariance = torch.tensor([[0.25, 0.9], [0.9, 4.0]], dtype=torch.float64)
    density.flow.whiten(torch.tensor([1.0, -2.0]), covariance)
    with torch.no_grad():
        for parameter in density.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    x = torch.linspace(-2, 4, 701, dtype=torch.float64)
    y = torch.linspace(-14, 10, 701, dtype=torch.float64)
    grid = torch.cartesian_prod(x, y)
    found = []
    for beta in (0.5, 1.7, 5.0):
        with torch.no_grad():
            log_p = density.log_density(grid, torch.full((len(grid),), beta).double())
        found.append(log_p)
        mass = float(log_p.exp().sum() * (x[1] - x[0]) * (y[1] - y[0]))
        assert mass == pytest.approx(1, abs=1e-3)
    assert (found[0] - found[2]).abs().max() > 0.1


def whole_loss(model, x, state, noise, *, kinetic=0.5, weights=None):
    weights = torch.ones(len(x)).to(x) if weights is None else weights
    return model.loss(
        x, x.flip(0), state, noise, model.base(1.0), weights,
        bottleneck=0.1, kinetic=kinetic, flow=True,
    )  # fmt: skip


@pytest.mark.parametrize("hidden", [(), (5,), (7, 4)])
@pytest.mark.parametrize("seed", range(3))
def test_network_on_columns_is_the_network_on_rows(hidden, seed):
    generator = torch.Generator().manual_seed(seed)
    net = mlp((3, *hidden, 6), generator).double()
    x = torch.randn(20, 3, dtype=torch.float64, generator=generator).requires_grad_()
    towards = torch.randn(20, 6, dtype=torch.float64, generator=generator)
    rows = net(x)
    expected = torch.autograd.grad(rows, (x, *net.parameters()), towards)
    with torch.no_grad():
        columns, tape = on_columns(net, x.T)
        grad_x, gradients = on_columns_backward(tape, towards.T)
    assert torch.allclose(columns.T, rows)
    for one, other in zip((grad_x.T, *gradients), expected, strict=True):
        assert torch.allclose(one, other)


@pytest.mark.parametrize("n_components", [1, 2, 3])
def test_kinetic_term_is_the_vamp2_score_of_weighted_means(n_components):
    model, (x, state, noise) = build(n_components), batch(n_components=n_components)
    weights = torch.linspace(0.0, 2.0, len(x), dtype=torch.float64)
    with torch.no_grad():
        plain, with_it = (
            float(whole_loss(model, x, state, noise, kinetic=k, weights=weights)) for k in (0, 0.5)
        )
        z = model.encoder(x).numpy()
    expected = latflow.metrics.vamp2(z, z[::-1], weights=weights.numpy())
    assert plain - with_it == pytest.approx(0.5 * expected, rel=1e-2)  # a slight ridge
    assert with_it < plain - 0.5


def test_kinetic_term_knows_no_linear_scale_of_the_variables():
    z, later = torch.randn(
        2, 50, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    w = torch.ones(50, dtype=torch.float64)
    turned = torch.tensor([[30.0, 10.0], [-10.0, 30.0]], dtype=torch.float64)
    assert float(vamp2(z, later, w)) == pytest.approx(float(vamp2(z @ turned, later @ turned, w)))
    assert float(vamp2(0 * z, later, w)) == 1.0
    assert torch.isfinite(vamp2(z, later, 0 * w))


@pytest.mark.parametrize("n_components", [1, 2, 3])
def test_loss_is_its_formula_term_by_term(n_components):
    model = build(n_components)
    x, state, noise = batch(n_components=n_components)
    base = model.base(0.7)
    z = model.encoder(x) + model.encoder.log_sigma.exp() * noise
    q = torch.distributions.Normal(model.encoder(x), model.encoder.log_sigma.exp())
    u, logdet = model.flow.forward_and_logdet(z)
    rate = q.log_prob(z).sum(dim=1) - base.log_prob(u) - logdet
    cross_entropy = torch.nn.functional.cross_entropy(model.decoder.net(z), state, reduction="none")
    assert torch.allclose(
        model.pair_loss(model.encoder(x), state, noise, base, 0.3),
        cross_entropy + 0.3 * rate,
        atol=1e-10,
    )
    unflowed = q.log_prob(z).sum(dim=1) - base.log_prob(z)
    assert torch.allclose(
        model.pair_loss(model.encoder(x), state, noise, base, 0.3, flow=False),
        cross_entropy + 0.3 * unflowed,
        atol=1e-10,
    )


def test_entropy_of_the_encoder_pulls_sigma_up_in_every_stage():
    """Without log q in the loss nothing keeps sigma from shrinking for ever."""
    for flow in (True, False):
        model = build(randomise=False)
        with torch.no_grad():
            model.encoder.log_sigma.fill_(-12.0)
        x, state, noise = batch()
        mean = model.encoder(x)
        model.pair_loss(mean, state, noise, model.base(1.0), 1.0, flow=flow).mean().backward()
        assert torch.allclose(
            model.encoder.log_sigma.grad, torch.tensor([-1.0], dtype=torch.float64), atol=1e-3
        )


def test_every_parameter_gets_a_gradient():
    model = build()
    x, state, noise = batch()
    whole_loss(model, x, state, noise).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.abs().max() > 0, name


def test_train_and_eval_give_the_same_value():
    model, (x, state, noise) = build(), batch()
    values = [whole_loss(getattr(model, mode)(), x, state, noise) for mode in ("train", "eval")]
    assert torch.equal(*values)


def test_all_tensors_follow_the_module_to_another_device():
    model = build().to("meta")
    x, state, noise = (part.to("meta") for part in batch())
    assert whole_loss(model, x, state, noise).device.type == "meta"


def test_weights_come_from_the_generator_alone():
    state = torch.random.get_rng_state()
    torch.full((100_000,), math.nan)  # what an uninitialised allocation might find
    first, second = build(seed=5, randomise=False), build(seed=5, randomise=False)
    assert torch.equal(torch.random.get_rng_state(), state)
    for (name, a), b in zip(first.named_parameters(), second.parameters(), strict=True):
        assert torch.isfinite(a).all(), name
        assert torch.equal(a, b), name
    other = build(seed=6, randomise=False)
    assert not torch.equal(first.encoder.mean[0].weight, other.encoder.mean[0].weight)


def test_keeping_states_keeps_their_logits():
    model = build(n_states=5)
    z = batch()[2]
    before = model.decoder.net(z)
    model.decoder.keep([3, 0])
    assert model.decoder.n_states == 2
    assert torch.allclose(model.decoder.net(z), before[:, [3, 0]], atol=1e-14)
    assert torch.allclose(model.decoder(z).exp().sum(dim=1), torch.ones(16, dtype=torch.float64))


def test_classifier_is_reverse_logistic_regression():
    steps = torch.tensor([-1.0, 0.2, 0.8], dtype=torch.float64)
    values = torch.stack((steps, steps**2 / 2))
    classifier = TemperatureClassifier(
        n_inputs=3,
        functions=Functions(values, torch.ones_like(values), torch.zeros_like(values)),
        log_counts=torch.log(torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)),
        hidden_features=(8,),
        generator=torch.Generator().manual_seed(0),
    ).double()
    with torch.no_grad():
        classifier.f.copy_(torch.tensor([0.0, 1.0, -1.0]))
    v, k, _ = batch()
    h, c = classifier(v).T
    u = steps[None] * h[:, None] + steps[None] ** 2 / 2 * c[:, None]
    likelihood = torch.tensor([0.2, 0.3, 0.5]) * torch.exp(classifier.f - u)
    likelihood = likelihood / likelihood.sum(dim=1, keepdim=True)
    k = k % 3
    expected = -likelihood[torch.arange(len(k)), k].log()
    weights = torch.linspace(0.5, 1.5, len(k), dtype=torch.float64)
    loss = classifier.loss(v, k, weights, None)
    assert torch.allclose(loss, (weights * expected).mean())
    loss.backward()
    assert all(p.grad.abs().max() > 0 for p in classifier.parameters())
    assert np.all(np.isfinite(h.detach().numpy()))
