"""SOAP: Adam's first step, eigenbases that diagonalise, layers that stay, and a faster descent."""

import copy

import pytest
import torch
from torch import nn

from latflow.nn.networks import mlp
from latflow.nn.soap import Soap
from latflow.nn.training import AdamW

SEEDS = range(4)


def network(seed, sizes=(3, 8, 8, 2)):
    return mlp(sizes, torch.Generator().manual_seed(seed), nn.Tanh)


def regression(seed, n=256):
    """Inputs of very different scales, mixed; targets of a network of the same shape."""
    generator = torch.Generator().manual_seed(seed)
    scales = torch.tensor([10.0, 1.0, 0.1])
    x = (torch.randn(n, 3, generator=generator) * scales) @ torch.linalg.qr(
        torch.randn(3, 3, generator=generator)
    ).Q
    return x, network(seed + 100)(x).detach()


def error(net, x, y):
    return (net(x) - y).square().mean()


@pytest.mark.parametrize("seed", SEEDS)
def test_first_step_is_adams(seed):
    """The bases are the coordinates' own until the first gradient has turned them."""
    x, y = regression(seed)
    own, theirs = network(seed), network(seed)
    Soap(own).step(error(own, x, y), 0.01)
    error(theirs, x, y).backward()
    torch.optim.Adam(theirs.parameters(), 0.01).step()
    for a, b in zip(own.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


@pytest.mark.parametrize("seed", SEEDS)
def test_bases_are_orthonormal_and_diagonalise_the_gradients_averages(seed):
    x, y = regression(seed)
    net = network(seed)
    optimiser = Soap(net)
    for _ in range(200):
        optimiser.step(error(net, x, y), 1e-4)
    for stack in optimiser.stacks:
        for average, basis in ((stack.left, stack.to_left), (stack.right, stack.to_right)):
            eye = torch.eye(basis.shape[-1]).expand_as(basis)
            torch.testing.assert_close(basis.mT @ basis, eye, atol=1e-5, rtol=0)
            turned = basis.mT @ average @ basis
            own = turned.diagonal(dim1=1, dim2=2).square().sum()
            assert own > 0.99 * turned.square().sum()


@pytest.mark.parametrize("seed", SEEDS)
def test_descends_faster_than_adam_where_inputs_are_correlated(seed):
    """A linear fit on mixed inputs of very different scales: Adam goes by single coordinates."""
    x, _ = regression(seed)
    y = network(seed + 100, (3, 2))(x).detach()
    start = network(seed, (3, 2))
    ends = []
    for optimiser in (Soap, lambda net: AdamW(net, 0.0)):
        net = copy.deepcopy(start)
        steps = optimiser(net)
        for step in range(200):
            steps.step(error(net, x, y), 0.02 * (1 - step / 200))
        ends.append(error(net, x, y).item())
    assert ends[0] < 0.1 * ends[1]


def test_layers_of_one_shape_do_not_mix():
    """Only the network that the loss is of moves."""
    x, y = regression(0)
    nets = nn.ModuleList(network(seed) for seed in (0, 1))
    before = copy.deepcopy(nets.state_dict())
    optimiser = Soap(nets)
    for _ in range(10):
        optimiser.step(error(nets[0], x, y) + 0 * error(nets[1], x, y), 0.01)
    moved = {key: not torch.equal(nets.state_dict()[key], value) for key, value in before.items()}
    assert moved == {key: key.startswith("0.") for key in before}


def test_frozen_layers_stay():
    x, y = regression(0)
    net = network(0)
    net[2].requires_grad_(False)
    before = copy.deepcopy(net.state_dict())
    optimiser = Soap(net)
    for _ in range(3):
        optimiser.step(error(net, x, y), 0.01)
    after = net.state_dict()
    assert torch.equal(before["2.weight"], after["2.weight"])
    assert not torch.equal(before["0.weight"], after["0.weight"])
    assert not torch.equal(before["4.bias"], after["4.bias"])


def test_no_gradient_is_no_step():
    """Layers behind a zero, as a flow's at its start, stay where they are and stay finite."""
    x, y = regression(0)
    net = network(0)
    with torch.no_grad():
        net[4].weight.zero_()
    before = net[0].weight.clone()
    optimiser = Soap(net)
    optimiser.step(error(net, x, y), 0.01)
    assert torch.equal(net[0].weight, before)
    for _ in range(20):
        optimiser.step(error(net, x, y), 0.01)
    assert all(p.isfinite().all() for p in net.parameters())
    assert error(net, x, y).item() < y.square().mean().item()
