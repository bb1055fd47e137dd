"""Two things in, a number out: distances between ensembles and scores of slow coordinates."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import rel_entr
from scipy.stats import wasserstein_distance

from latflow._typing import AnySeed, FloatArray
from latflow._validation import check_count, check_positive, check_weights

_MAX_HISTOGRAM_DIMENSIONS = 3
_CONSTANT_TOLERANCE = 1e-13
_RANK_TOLERANCE = 1e-6


def jensen_shannon(
    samples_a: ArrayLike,
    samples_b: ArrayLike,
    *,
    bins: int = 40,
    range: ArrayLike | None = None,
    pseudocount: float = 0.5,
    weights_a: ArrayLike | None = None,
    weights_b: ArrayLike | None = None,
) -> float:
    r"""Jensen-Shannon divergence between the histograms of two samples, in nats.

    .. math:: JS(p, q) = \tfrac{1}{2} KL(p \| m) + \tfrac{1}{2} KL(q \| m),
              \quad m = \tfrac{1}{2} (p + q)

    Both histograms have one box and get a pseudocount in every bin. A sample outside the box
    counts in the nearest bin at the edge, so mass that moved far away counts as different.
    Compare the value with `jensen_shannon_noise_floor`: finite samples of one distribution
    differ as well.

    Parameters
    ----------
    samples_a, samples_b : array-like of shape (n_a,) or (n_a, d), and (n_b,) or (n_b, d)
        Samples with d <= 3; in more dimensions use `sliced_wasserstein`.
    bins : int, default=40
        Number of bins along each dimension.
    range : array-like of shape (d, 2) or (2,), default=None
        Lower and upper limit of each dimension; None takes the range of both samples together.
    pseudocount : float, default=0.5
        Added to every bin, in samples.
    weights_a, weights_b : array-like of shape (n_a,) and (n_b,), default=None
        Weight of each sample. A weighted histogram is scaled to a total of n_a (or n_b).

    Returns
    -------
    divergence : float
        Between 0 and log 2, in nats.

    Raises
    ------
    ValueError
        If samples, weights or `range` are not finite, have the wrong shape or differ in
        dimension, if d > 3, or if weights are negative.

    References
    ----------
    .. [1] Lin, "Divergence measures based on the Shannon entropy", IEEE Trans. Inf. Theory 37,
       145 (1991).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> a, b = rng.normal(size=(2, 5000, 2))
    >>> bool(jensen_shannon(a, b) < 0.03), bool(jensen_shannon(a, b + 3) > 0.3)
    (True, True)
    """
    a, b = _check_pair(samples_a, samples_b, most_dimensions=_MAX_HISTOGRAM_DIMENSIONS)
    box = _check_box(range, np.concatenate([a, b]))
    counts_a = _histogram(a, bins, box, weights_a)
    return _divergence(counts_a, _histogram(b, bins, box, weights_b), pseudocount)


def jensen_shannon_to_density(
    samples: ArrayLike,
    probabilities: ArrayLike,
    *,
    range: ArrayLike,
    pseudocount: float = 0.5,
    weights: ArrayLike | None = None,
) -> float:
    """Jensen-Shannon divergence between a sample's histogram and exact bin probabilities, in nats.

    As `jensen_shannon` with a second sample without noise: the expected counts of n samples,
    plus the pseudocount. The probabilities are scaled to sum to one.

    Parameters
    ----------
    samples : array-like of shape (n,) or (n, d)
        Samples with d <= 3. Those outside the box count in the nearest bin at the edge.
    probabilities : array-like of shape (bins_1, ..., bins_d)
        Probability of each bin of equal width, dimension 1 first.
    range : array-like of shape (d, 2) or (2,)
        Lower and upper limit of each dimension.
    pseudocount : float, default=0.5
        Added to every bin of both, in samples.
    weights : array-like of shape (n,), default=None
        Weight of each sample.

    Returns
    -------
    divergence : float
        Between 0 and log 2, in nats.

    Raises
    ------
    ValueError
        As `jensen_shannon`, or if `probabilities` is not an array of d dimensions of finite
        numbers >= 0 with a positive sum.

    Examples
    --------
    >>> samples = np.random.default_rng(0).random(10_000)
    >>> bool(jensen_shannon_to_density(samples, np.full(20, 0.05), range=(0, 1)) < 0.001)
    True
    """
    points = _check_samples(samples, "samples", _MAX_HISTOGRAM_DIMENSIONS)
    expected = np.asarray(probabilities, dtype=np.float64)
    if expected.ndim != points.shape[1] or expected.size == 0:
        raise ValueError(
            f"Expected `probabilities` with one axis per dimension of `samples` "
            f"({points.shape[1]}) and at least one bin, got shape {expected.shape}."
        )
    if not np.isfinite(expected).all() or expected.min() < 0 or expected.sum() == 0:
        raise ValueError(
            "Expected `probabilities` to be finite, not negative and not all zero, "
            f"got a minimum of {expected.min():g} and a sum of {expected.sum():g}."
        )
    counts = _histogram(points, expected.shape, _check_box(range, points), weights)
    expected_counts = (expected * (len(points) / expected.sum())).ravel()
    return _divergence(counts, expected_counts, pseudocount)


def jensen_shannon_noise_floor(
    samples: ArrayLike,
    n_a: int,
    n_b: int | None = None,
    *,
    bins: int = 40,
    range: ArrayLike | None = None,
    pseudocount: float = 0.5,
    n_repeats: int = 20,
    random_state: AnySeed = None,
) -> float:
    """Jensen-Shannon divergence to expect between two samples of one and the same distribution.

    The mean over pairs of independent samples drawn from the histogram of `samples`: the value
    below which `jensen_shannon` cannot tell two ensembles apart. Frames of a trajectory are
    correlated; give the number of independent ones.

    Parameters
    ----------
    samples : array-like of shape (n,) or (n, d)
        Samples of the distribution, d <= 3, better more than fewer.
    n_a : int
        Size of the first sample.
    n_b : int, default=None
        Size of the second sample; None means `n_a`.
    bins, range, pseudocount
        As in `jensen_shannon`; None as `range` takes the range of `samples`.
    n_repeats : int, default=20
        Number of pairs drawn.
    random_state : int, Generator, RandomState or None, default=None
        Source of all randomness.

    Returns
    -------
    divergence : float
        Mean divergence in nats.

    Raises
    ------
    ValueError
        As `jensen_shannon`, or if `n_a`, `n_b` or `n_repeats` is not a positive integer.

    Examples
    --------
    >>> samples = np.random.default_rng(0).normal(size=20_000)
    >>> small, large = [jensen_shannon_noise_floor(samples, n, random_state=0) for n in (100, 9999)]
    >>> bool(large < small / 10)
    True
    """
    points = _check_samples(samples, "samples", _MAX_HISTOGRAM_DIMENSIONS)
    sizes = [check_count(n_a, "n_a"), check_count(n_a if n_b is None else n_b, "n_b")]
    n_repeats = check_count(n_repeats, "n_repeats")
    counts = _histogram(points, bins, _check_box(range, points), None)
    occupied = counts > 0
    probabilities = counts[occupied] / len(points)
    generator = np.random.default_rng(random_state)
    drawn = np.zeros((2, n_repeats, len(counts)))
    for sample, size in zip(drawn, sizes, strict=True):
        sample[:, occupied] = generator.multinomial(size, probabilities, size=n_repeats)
    return float(np.mean([_divergence(a, b, pseudocount) for a, b in zip(*drawn, strict=True)]))


def sliced_wasserstein(
    samples_a: ArrayLike,
    samples_b: ArrayLike,
    *,
    n_projections: int = 100,
    weights_a: ArrayLike | None = None,
    weights_b: ArrayLike | None = None,
    random_state: AnySeed = None,
) -> float:
    r"""Sliced 1-Wasserstein distance between two samples in any number of dimensions.

    .. math:: SW_1(p, q) = E_{\theta} \left[ W_1(\theta \cdot a, \theta \cdot b) \right]

    with unit vectors theta of random direction. It has the unit of the samples; a shift by a
    vector v gives ``E[|theta . v|]``, which is ``|v|`` in one dimension and ``2 |v| / pi`` in two.

    Parameters
    ----------
    samples_a, samples_b : array-like of shape (n_a,) or (n_a, d), and (n_b,) or (n_b, d)
        Samples.
    n_projections : int, default=100
        Number of random directions; one dimension needs only one.
    weights_a, weights_b : array-like of shape (n_a,) and (n_b,), default=None
        Weight of each sample.
    random_state : int, Generator, RandomState or None, default=None
        Source of the directions.

    Returns
    -------
    distance : float
        Mean distance, in the unit of the samples.

    Raises
    ------
    ValueError
        If samples or weights are not finite, have the wrong shape or differ in dimension, or if
        weights are negative.

    References
    ----------
    .. [1] Bonneel, Rabin, Peyré, Pfister, "Sliced and Radon Wasserstein barycenters of measures",
       J. Math. Imaging Vis. 51, 22 (2015).

    Examples
    --------
    >>> samples = np.random.default_rng(0).normal(size=(1000, 1))
    >>> round(sliced_wasserstein(samples, samples + 2), 9)
    2.0
    """
    a, b = _check_pair(samples_a, samples_b)
    n_projections = check_count(n_projections, "n_projections")
    w_a = check_weights(weights_a, len(a), "weights_a")
    w_b = check_weights(weights_b, len(b), "weights_b")
    n_projections = 1 if a.shape[1] == 1 else n_projections
    directions = np.random.default_rng(random_state).normal(size=(n_projections, a.shape[1]))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    distances = [wasserstein_distance(a @ u, b @ u, w_a, w_b) for u in directions]
    return float(np.mean(distances))


def vamp2(z0: ArrayLike, z1: ArrayLike, *, weights: ArrayLike | None = None) -> float:
    r"""VAMP-2 score of time-lagged pairs.

    .. math:: R_2 = 1 + \| C_{00}^{-1/2} C_{01} C_{11}^{-1/2} \|_F^2

    with covariances about the weighted means; the 1 is the constant function. The score does
    not change under invertible linear maps of the coordinates, nor under scaling of the weights.
    Directions without variance contribute nothing.

    Parameters
    ----------
    z0, z1 : array-like of shape (n_pairs,) or (n_pairs, d)
        Coordinates at time t and, in the same row, at t + lagtime. At least two pairs.
    weights : array-like of shape (n_pairs,), default=None
        Weight of each pair.

    Returns
    -------
    score : float
        Between 1 and 1 + d.

    Raises
    ------
    ValueError
        If `z0` and `z1` are not finite, differ in shape or hold fewer than two pairs, or if
        `weights` are negative.

    References
    ----------
    .. [1] Wu and Noé, "Variational approach for learning Markov processes from time series data",
       J. Nonlinear Sci. 30, 23 (2020), equation 33 of arXiv:1707.04659.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> z0 = rng.normal(size=(10_000, 1))
    >>> z1 = 0.6 * z0 + 0.8 * rng.normal(size=z0.shape)
    >>> bool(abs(vamp2(z0, z1) - (1 + 0.6**2)) < 0.03)
    True
    """
    start, end = _check_samples(z0, "z0"), _check_samples(z1, "z1")
    if start.shape != end.shape or len(start) < 2:
        raise ValueError(
            "Expected `z0` and `z1` of one shape (n_pairs, d) with n_pairs >= 2, "
            f"got {start.shape} and {end.shape}."
        )
    pair_weights = check_weights(weights, len(start))
    correlation = _whitened(start, pair_weights).T @ _whitened(end, pair_weights)
    return float(1 + np.square(correlation).sum())


def _whitened(points: FloatArray, weights: FloatArray) -> FloatArray:
    """Return an orthonormal basis, (n_pairs, rank), of the weighted, mean-free columns."""
    size = np.abs(points).max(axis=0)
    scaled = points / np.where(size > 0, size, 1)
    scaled -= np.average(scaled, axis=0, weights=weights)
    scaled *= np.sqrt(weights)[:, None]
    largest = np.abs(scaled).max(axis=0)
    varying = largest > _CONSTANT_TOLERANCE
    columns = scaled[:, varying] / largest[varying]
    basis, singular_values, _ = np.linalg.svd(columns, full_matrices=False)
    return np.asarray(basis[:, singular_values > _RANK_TOLERANCE * singular_values.max(initial=0)])


def _divergence(counts_a: FloatArray, counts_b: FloatArray, pseudocount: float) -> float:
    """Jensen-Shannon divergence of two histograms with a pseudocount in every bin."""
    extra = check_positive(pseudocount, "pseudocount", allow_zero=True)
    p, q = counts_a + extra, counts_b + extra
    p, q = p / p.sum(), q / q.sum()
    mean = (p + q) / 2
    divergence = (rel_entr(p, mean) + rel_entr(q, mean)).sum() / 2
    return float(np.clip(divergence, 0, np.log(2)))


def _histogram(
    points: FloatArray, bins: int | tuple[int, ...], box: FloatArray, weights: ArrayLike | None
) -> FloatArray:
    """Return a flat histogram with a total of len(points); outliers count at the edge."""
    bins = bins if isinstance(bins, tuple) else check_count(bins, "bins")
    inside = np.clip(points, *box.T)
    counts, _ = np.histogramdd(
        inside, bins, box.tolist(), weights=check_weights(weights, len(points))
    )
    return np.asarray(counts.ravel())


def _check_samples(samples: ArrayLike, name: str, most_dimensions: int | None = None) -> FloatArray:
    """Return finite float64 samples of shape (n, d), n >= 1 and d >= 1."""
    points = np.asarray(samples, dtype=np.float64)
    if points.ndim == 1:
        points = points[:, None]
    if points.ndim != 2 or points.size == 0:
        raise ValueError(
            f"Expected `{name}` of shape (n_samples,) or (n_samples, n_dims), not empty, "
            f"got {np.shape(samples)}."
        )
    if not np.isfinite(points).all():
        raise ValueError(f"Expected finite numbers in `{name}`, got NaN or infinity.")
    if most_dimensions is not None and points.shape[1] > most_dimensions:
        raise ValueError(
            f"Expected `{name}` with at most {most_dimensions} dimensions for a histogram, got "
            f"{points.shape[1]}; use `sliced_wasserstein` instead."
        )
    return points


def _check_pair(
    samples_a: ArrayLike, samples_b: ArrayLike, most_dimensions: int | None = None
) -> tuple[FloatArray, FloatArray]:
    a = _check_samples(samples_a, "samples_a", most_dimensions)
    b = _check_samples(samples_b, "samples_b", most_dimensions)
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            "Expected `samples_a` and `samples_b` of the same number of dimensions, "
            f"got {a.shape[1]} and {b.shape[1]}."
        )
    return a, b


def _check_box(limits: ArrayLike | None, points: FloatArray) -> FloatArray:
    """Lower and upper limits, (d, 2); those of the points by default."""
    if limits is None:
        lower, upper = points.min(axis=0), points.max(axis=0)
        margin = np.where(upper > lower, 0.0, 0.5 * np.maximum(1, np.abs(lower)))
        return np.stack([lower - margin, upper + margin], axis=1)
    box = np.atleast_2d(np.asarray(limits, dtype=np.float64))
    if box.shape != (points.shape[1], 2):
        raise ValueError(
            f"Expected `range` of shape ({points.shape[1]}, 2), got {np.shape(limits)}."
        )
    if not np.isfinite(box).all() or (box[:, 0] >= box[:, 1]).any():
        raise ValueError(
            f"Expected finite limits with lower < upper in `range`, got {box.tolist()}."
        )
    return box
