"""The tilted Gaussian: normalised, and sampled exactly, in every dimension and at every t."""

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.special import gammaln
from scipy.stats import kstest

from latflow.nn.distributions import TiltedGaussian, log_normaliser


def exact_log_normaliser(dim, tilt, t):
    """Surface of the unit sphere times the radial integral, by adaptive quadrature."""
    peak = max(tilt * t, np.sqrt((dim - 1) * t), 1e-3)
    height = tilt * peak - peak**2 / (2 * t)

    def integrand(r):
        return r ** (dim - 1) * np.exp(tilt * r - r**2 / (2 * t) - height)

    area = quad(integrand, 0, peak + 20 * np.sqrt(dim * t), points=[peak], epsrel=1e-12)[0]
    return np.log(area) + height + np.log(2) + dim / 2 * np.log(np.pi) - gammaln(dim / 2)


@pytest.mark.parametrize("dim", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("tilt", [0.0, 0.5, 2.0, 5.0])
@pytest.mark.parametrize("t", [0.05, 1.0, 5.0])
def test_normaliser_equals_the_radial_integral(dim, tilt, t):
    assert log_normaliser(dim, tilt, t) == pytest.approx(
        exact_log_normaliser(dim, tilt, t), abs=1e-8
    )


def test_normaliser_stays_finite_where_its_exponential_would_not():
    assert np.isfinite(log_normaliser(2, 100.0, 5.0))  # the growing part is exp(25000)


def test_density_integrates_to_one_on_a_plane():
    axis = torch.linspace(-16, 16, 801, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    density = TiltedGaussian(2, 2.0, 1.7).log_prob(grid).exp()
    assert float(density.sum() * (axis[1] - axis[0]) ** 2) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("dim", [1, 2, 3, 5])
@pytest.mark.parametrize("t", [0.05, 0.4, 1.0, 5.0])
def test_radii_follow_the_exact_law(dim, t):
    draws = TiltedGaussian(dim, 2.0, t).sample(20_000, torch.Generator().manual_seed(3))
    assert draws.shape == (20_000, dim)
    grid = np.linspace(1e-9, 2 * t + 12 * np.sqrt(t * dim), 200_001)
    density = np.exp((dim - 1) * np.log(grid) + 2 * grid - grid**2 / (2 * t) - 2 * t)
    law = np.cumsum(density) / density.sum()
    assert kstest(draws.norm(dim=1).numpy(), lambda r: np.interp(r, grid, law)).pvalue > 1e-4


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_directions_are_uniform(dim):
    draws = TiltedGaussian(dim, 1.0).sample(40_000, torch.Generator().manual_seed(5)).numpy()
    direction = draws / np.linalg.norm(draws, axis=1, keepdims=True)
    assert np.abs(direction.mean(axis=0)).max() < 5 / np.sqrt(40_000)
    assert np.allclose(direction.T @ direction / 40_000, np.eye(dim) / dim, atol=0.01)


def test_rows_with_their_own_t_equal_one_t_at_a_time():
    u = torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    t = np.array([0.5, 1.0, 2.0, 0.5, 1.0, 2.0])
    together = TiltedGaussian(3, 2.0, t).log_prob(u)
    alone = torch.stack([TiltedGaussian(3, 2.0, s).log_prob(u[k]) for k, s in enumerate(t)])
    assert torch.allclose(together, alone)
    index = torch.tensor([4, 2])
    assert torch.equal(TiltedGaussian(3, 2.0, t).rows(index).log_prob(u[index]), together[index])


def test_a_tilt_of_zero_is_a_gaussian_of_variance_t():
    u = torch.randn(5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    gauss = torch.distributions.Normal(0.0, np.sqrt(0.7)).log_prob(u).sum(dim=1)
    assert torch.allclose(TiltedGaussian(2, 0.0, 0.7).log_prob(u), gauss)


@pytest.mark.parametrize("point", [0.0, 1e-10, 1e-3, 1.0, 1e4])
def test_gradient_is_tilt_u_over_r_less_u_over_t_also_at_the_origin_and_far_out(point):
    u = torch.full((1, 2), point, dtype=torch.float32, requires_grad=True)
    TiltedGaussian(2, 2.0, 0.7).log_prob(u).sum().backward()
    direction = np.sqrt(0.5) * np.sign(point)  # no direction at the origin, and no pull
    np.testing.assert_allclose(u.grad, [[2.0 * direction - point / 0.7] * 2], rtol=1e-5)


@pytest.mark.parametrize("dim", [1, 2, 4])
def test_path_joins_its_ends(dim, rng):
    a, b = rng.normal(size=(2, dim)) + 0.5
    path = TiltedGaussian(dim, 2.0, 0.5).path(a, b, 20)
    np.testing.assert_allclose(path[[0, -1]], [a, b], atol=1e-3)


@pytest.mark.parametrize("dim", [2, 4])
def test_path_goes_evenly_from_the_quantile_of_one_radius_to_that_of_the_other(dim, rng):
    base = TiltedGaussian(dim, 2.0, 0.5)
    path = base.path(*(rng.normal(size=(2, dim)) + 0.5), 20)
    draws = base.sample(200_000, torch.Generator().manual_seed(0)).norm(dim=1).numpy()
    quantiles = np.array([np.mean(draws < r) for r in np.linalg.norm(path, axis=1)])
    np.testing.assert_allclose(quantiles, np.linspace(quantiles[0], quantiles[-1], 20), atol=6e-3)
    assert abs(quantiles[-1] - quantiles[0]) > 0.05


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_deviation_is_that_of_the_draws(dim):
    t = np.array([0.5, 2.0, 2.0])
    square = np.average(
        [
            float(
                TiltedGaussian(dim, 2.0, s)
                .sample(50_000, torch.Generator().manual_seed(0))
                .square()
                .mean()
            )
            for s in t
        ]
    )
    assert TiltedGaussian(dim, 2.0, t).deviation() == pytest.approx(np.sqrt(square), rel=0.02)
