"""Flows: inverses, log-determinants against autograd, identity at the start, all parameters."""

import math

import pytest
import torch

from latflow.nn.flows import TRANSFORMS, Flow
from latflow.nn.splines import (
    EVEN,
    LIMIT,
    n_spline_parameters,
    spline_backward,
    spline_forward,
    spline_inverse,
)

CASES = [(name, dim, context) for name in TRANSFORMS for dim in (1, 2, 3, 5) for context in (0, 1)]
SEEDS = range(3)


def randomised_flow(name, dim, n_context, seed, n_transforms=4, scale=0.25):
    generator = torch.Generator().manual_seed(seed)
    flow = Flow(dim, n_transforms, name, (16,), n_context, 5.0, generator).double()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.copy_(
                scale * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            )
    root = torch.randn(dim, dim, generator=generator, dtype=torch.float64)
    flow.whiten(torch.ones(dim), root @ root.T + 0.1 * torch.eye(dim))
    z = 2 * torch.randn(200, dim, generator=generator, dtype=torch.float64)
    context = torch.rand(200, n_context, generator=generator, dtype=torch.float64)
    return flow, z, context


@pytest.mark.parametrize(("name", "dim", "n_context"), CASES)
@pytest.mark.parametrize("seed", SEEDS)
def test_round_trip_with_randomised_weights(name, dim, n_context, seed):
    flow, z, context = randomised_flow(name, dim, n_context, seed)
    u, logdet = flow.forward_and_logdet(z, context)
    back, inverse_logdet = flow.inverse_and_logdet(u, context)
    assert (back - z).abs().max() < 1e-6
    assert (logdet + inverse_logdet).abs().max() < 1e-5
    assert (u - z).abs().max() > 0.05


@pytest.mark.parametrize(("name", "dim", "n_context"), CASES)
@pytest.mark.parametrize("direction", ["forward_and_logdet", "inverse_and_logdet"])
def test_logdet_equals_autograd(name, dim, n_context, direction):
    flow, z, context = randomised_flow(name, dim, n_context, seed=1)
    step = getattr(flow, direction)
    for k in range(5):

        def one(point, k=k):
            return step(point[None], context[k : k + 1])[0][0]

        jacobian = torch.autograd.functional.jacobian(one, z[k])
        expected = torch.linalg.slogdet(jacobian)[1]
        assert torch.allclose(step(z[k : k + 1], context[k : k + 1])[1], expected, atol=1e-8)


@pytest.mark.parametrize(("name", "dim", "n_context"), CASES)
def test_identity_at_the_start(name, dim, n_context):
    flow = Flow(dim, 4, name, (16,), n_context, 5.0, torch.Generator().manual_seed(0)).double()
    z = 3 * torch.randn(50, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    u, logdet = flow.forward_and_logdet(z, torch.ones(50, n_context, dtype=torch.float64))
    assert torch.allclose(u, z, atol=1e-12)
    assert torch.allclose(logdet, torch.zeros_like(logdet), atol=1e-12)


@pytest.mark.parametrize(("name", "dim", "n_context"), CASES)
def test_every_parameter_gets_a_gradient(name, dim, n_context):
    flow, z, context = randomised_flow(name, dim, n_context, seed=2)
    u, logdet = flow.forward_and_logdet(z, context)
    (u.square().sum() - logdet.sum()).backward()
    gradients = {k: p.grad.abs().max() for k, p in flow.named_parameters() if p.numel()}
    assert gradients
    assert not [k for k, largest in gradients.items() if largest == 0]


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("n_transforms", [1, 2, 3])
@pytest.mark.parametrize("dim", [2, 3, 5])
def test_couplings_take_turns_until_every_coordinate_moves(name, n_transforms, dim):
    flow, z, _ = randomised_flow(name, dim, 0, seed=0, n_transforms=n_transforms)
    u, _ = flow.forward_and_logdet(z)
    white = torch.linalg.solve_triangular(flow.factor, (z - flow.location).T, upper=False).T
    moved = ((u - white).abs() > 1e-12).any(dim=0)
    assert u.shape == z.shape
    assert moved.sum() == min(dim, n_transforms * (dim // 2))


@pytest.mark.parametrize(("name", "dim", "n_context"), CASES)
def test_backward_by_hand_equals_finite_differences(name, dim, n_context):
    flow, z, context = randomised_flow(name, dim, n_context, seed=3, scale=0.5)
    z, context = 2 * z[:6], context[:6]
    inputs = (z.requires_grad_(), context.requires_grad_(), *flow.parameters())
    assert torch.autograd.gradcheck(
        lambda a, b, *_: flow.forward_and_logdet(a, b), inputs, fast_mode=True
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_spline_backward_by_hand_equals_finite_differences(seed):
    generator = torch.Generator().manual_seed(seed)
    x = 3 * torch.randn(2, 12, dtype=torch.float64, generator=generator)
    parameters = torch.randn(
        2, n_spline_parameters(6), 12, dtype=torch.float64, generator=generator
    )
    towards = torch.randn(2, 2, 12, dtype=torch.float64, generator=generator)

    def value(x, parameters):
        y, logdet, _ = spline_forward(x, parameters, 6, 5.0)
        return (towards[0] * y + towards[1] * logdet).sum()

    found = spline_backward(spline_forward(x, parameters, 6, 5.0)[2], *towards, 6, 5.0)
    for gradient, argument in zip(found, (x, parameters), strict=True):
        for position in range(0, argument.numel(), 5):
            change = torch.zeros_like(argument).view(-1)
            change[position] = 1e-6
            sides = [
                value(x + s * change.view(x.shape), parameters)
                if argument is x
                else value(x, parameters + s * change.view(parameters.shape))
                for s in (1, -1)
            ]
            expected = float(sides[0] - sides[1]) / 2e-6
            assert float(gradient.flatten()[position]) == pytest.approx(expected, 1e-5, 1e-7)


def test_spline_is_monotone_continuous_and_the_identity_outside():
    x = torch.linspace(-7, 7, 5001, dtype=torch.float64)[None]
    generator = torch.Generator().manual_seed(0)
    parameters = 3 * torch.randn(
        1, n_spline_parameters(8), 1, dtype=torch.float64, generator=generator
    ).expand(-1, -1, 5001)
    y, _, _ = spline_forward(x, parameters, 8, 5.0)
    assert (y.diff() > 0).all()
    assert y.diff().max() < 1
    outside = x.abs() >= 5
    assert torch.equal(y[outside], x[outside])
    back, _ = spline_inverse(y, parameters, 8, 5.0)
    assert torch.allclose(back, x, atol=1e-7)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_wild_weights_give_finite_numbers(name):
    flow, z, _ = randomised_flow(name, 2, 0, seed=0, n_transforms=8, scale=50.0)
    u, logdet = flow.forward_and_logdet(z)
    assert torch.isfinite(u).all()
    assert torch.isfinite(logdet).all()


@pytest.mark.parametrize("dim", [2, 3])
def test_scales_of_affine_couplings_are_bounded(dim):
    """No coupling scales a coordinate by more than exp(2.5), whatever its weights."""
    flow, z, _ = randomised_flow("affine", dim, 0, seed=0, n_transforms=1, scale=50.0)
    whitened = -float(torch.linalg.slogdet(flow.factor)[1])
    with torch.no_grad():
        logdet = flow.forward_and_logdet(z)[1] - whitened
    assert logdet.abs().max() == pytest.approx(2.5 * (dim // 2), abs=1e-3)


@pytest.mark.parametrize("dim", [1, 2, 4])
def test_whitening_takes_mean_and_covariance_out(dim):
    generator = torch.Generator().manual_seed(0)
    flow = Flow(dim, 2, "spline", (4,), 0, 5.0, generator).double()
    root = torch.randn(dim, dim, generator=generator, dtype=torch.float64)
    z = torch.randn(5000, dim, generator=generator, dtype=torch.float64) @ root.T + 3.0
    flow.whiten(z.mean(dim=0), torch.cov(z.T).reshape(dim, dim), scale=2.0)
    with torch.no_grad():
        u, logdet = flow.forward_and_logdet(z)
    assert torch.allclose(u.mean(dim=0), torch.zeros(dim, dtype=torch.float64), atol=1e-9)
    covariance = torch.cov(u.T).reshape(dim, dim)
    assert torch.allclose(covariance, 4 * torch.eye(dim, dtype=torch.float64), atol=1e-3)
    expected = -torch.linalg.slogdet(torch.cov(z.T).reshape(dim, dim) / 4)[1] / 2
    assert torch.allclose(logdet, expected.expand(5000), atol=1e-4)


def unbounded(y, slope):
    """Return the raw numbers that zuko shrinks to y."""
    return y / (1 - (y / math.log(slope)).abs())


@pytest.mark.parametrize("seed", SEEDS)
def test_spline_is_zukos_with_equal_knots(seed):
    transforms = pytest.importorskip("zuko.transforms")
    generator = torch.Generator().manual_seed(seed)
    n_bins, bound, slope = 8, 5.0, 1e-12
    parameters = 2 * torch.randn(
        300, 1, n_spline_parameters(n_bins), generator=generator, dtype=torch.float64
    )
    x = 3 * torch.randn(300, 1, generator=generator, dtype=torch.float64)
    shares = parameters[..., : 2 * n_bins].unflatten(-1, (2, n_bins)).softmax(dim=-1)
    widths, heights = ((1 - EVEN) * shares + EVEN / n_bins).log().unbind(-2)
    slopes = LIMIT * torch.tanh(parameters[..., 2 * n_bins :] / LIMIT)
    theirs = transforms.MonotonicRQSTransform(
        # of widths and heights zuko bounds the double
        unbounded(2 * widths, slope) / 2,
        unbounded(2 * heights, slope) / 2,
        unbounded(slopes, slope),
        bound=bound,
        slope=slope,
    )
    y, logdet, _ = spline_forward(x.T, parameters.permute(1, 2, 0), n_bins, bound)
    expected, expected_logdet = theirs.call_and_ladj(x)
    assert (x.abs() < bound).sum() > 200
    assert (x.abs() > bound).sum() > 5
    back, _ = spline_inverse(expected.T, parameters.permute(1, 2, 0), n_bins, bound)
    assert torch.allclose(y.T, expected, atol=1e-9)
    assert torch.allclose(logdet.T, expected_logdet, atol=1e-9)
    assert torch.allclose(back.T, x, atol=1e-6)
