"""The Frechet distance against closed forms, SciPy, and other packages' values (references/metrics.py)."""

import json
import tracemalloc

import numpy as np
import pytest
from references.metrics import GOLDEN, feature_sets
from scipy.linalg import sqrtm, svdvals

from jaxgan.errors import InputError
from jaxgan.metrics.frechet import (
    Moments,
    frechet_distance,
    frechet_infinity,
    merge,
    moments,
    moments_distance,
)

REFERENCES = json.loads(GOLDEN.read_text())


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def exact_sample(rng, n, mean, scale):
    """n points whose *sample* mean is `mean` and sample covariance exactly `diag(scale^2)`, with n - 1."""
    points = rng.normal(size=(n, len(mean)))
    basis, _ = np.linalg.qr(points - points.mean(axis=0))  # orthonormal columns, each of mean zero
    return np.asarray(mean) + basis * np.sqrt(n - 1) * np.asarray(scale)


def test_frechet_of_diagonal_gaussians(rng):
    """Axes in common: `|m_a - m_b|^2 + sum (s_a - s_b)^2`."""
    mean_a, mean_b, scale_a, scale_b = rng.uniform(0.5, 3.0, (4, 5))
    a, b = exact_sample(rng, 11, mean_a, scale_a), exact_sample(rng, 17, mean_b, scale_b)
    expected = np.sum((mean_a - mean_b) ** 2) + np.sum((scale_a - scale_b) ** 2)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-12)
    assert frechet_distance(b, a) == pytest.approx(expected, rel=1e-12)


def test_frechet_against_scipy(rng):
    """The published formula with a general matrix root, where covariances have full rank and do not commute."""
    a = rng.normal(size=(200, 6)) @ rng.normal(size=(6, 6))
    b = rng.normal(size=(150, 6)) @ rng.normal(size=(6, 6)) + 0.5
    cov_a, cov_b = np.cov(a.T), np.cov(b.T)
    offset = a.mean(axis=0) - b.mean(axis=0)
    expected = offset @ offset + np.trace(cov_a + cov_b - 2 * sqrtm(cov_a @ cov_b).real)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-10)


def test_frechet_of_equal_sets_is_zero(rng):
    x = rng.normal(size=(50, 8))
    assert 0.0 <= frechet_distance(x, x) < 1e-10
    assert 0.0 <= frechet_distance(x, rng.permutation(x)) < 1e-10


def test_frechet_of_a_translation_is_its_squared_length(rng):
    x, shift = rng.normal(size=(50, 8)), rng.normal(size=8)
    assert frechet_distance(x, x + shift) == pytest.approx(shift @ shift, rel=1e-10)


def test_frechet_does_not_see_rotations(rng):
    a, b = rng.normal(size=(40, 6)), 2 * rng.normal(size=(60, 6)) + 1
    rotation, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    assert frechet_distance(a @ rotation, b @ rotation) == pytest.approx(frechet_distance(a, b), rel=1e-10)


def test_frechet_of_one_feature(rng):
    a, b = exact_sample(rng, 5, [1.0], [2.0]), exact_sample(rng, 6, [4.0], [0.5])
    assert frechet_distance(a, b) == pytest.approx(9.0 + 2.25, rel=1e-12)


def test_frechet_with_fewer_examples_than_features(rng):
    """Four examples span three of the twenty axes; the others are constant in both sets. Closed form as above."""
    rotation, _ = np.linalg.qr(rng.normal(size=(20, 20)))
    a, b = np.zeros((4, 20)), np.ones((5, 20))
    a[:, :3] = exact_sample(rng, 4, [0.0, 0.0, 0.0], [1.0, 2.0, 3.0])
    b[:, :3] = exact_sample(rng, 5, [1.0, 1.0, 1.0], [2.0, 2.0, 1.0])
    expected = 20.0 + 1.0 + 0.0 + 4.0
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-7)
    assert frechet_distance(a @ rotation, b @ rotation) == pytest.approx(expected, rel=1e-6)


def test_frechet_of_a_total_collapse(rng):
    """One point has no covariance: what is left is the distance of the means and the other set's variance."""
    a, b = exact_sample(rng, 30, [0.0, 0.0, 0.0], [1.0, 2.0, 3.0]), np.full((7, 3), 2.0)
    assert frechet_distance(a, b) == pytest.approx(12.0 + 14.0, rel=1e-12)
    assert frechet_distance(b, a) == pytest.approx(12.0 + 14.0, rel=1e-12)
    assert frechet_distance(b, b + 1.0) == pytest.approx(3.0, rel=1e-12)


def test_frechet_computes_in_float64_whatever_it_is_given(rng):
    a, b = (1000 + rng.normal(size=(2, 500, 4))).astype(np.float32)
    assert frechet_distance(a, b) == frechet_distance(a.astype(np.float64), b.astype(np.float64))
    assert isinstance(frechet_distance(a, b), float)


@pytest.mark.parametrize(
    "a, b",
    [
        (np.zeros(4), np.zeros((4, 1))),
        (np.zeros((4, 2, 2)), np.zeros((4, 4))),
        (np.zeros((4, 2)), np.zeros((4, 3))),
        (np.zeros((1, 2)), np.zeros((4, 2))),
        (np.zeros((4, 2)), np.zeros((1, 2))),
        (np.zeros((4, 0)), np.zeros((4, 0))),
        (np.zeros((4, 2)), np.full((4, 2), np.nan)),
        (np.full((4, 2), np.inf), np.zeros((4, 2))),
        ([[0.0, np.inf], [0.0, 0.0]], np.zeros((4, 2))),
        ([[0.0, -np.inf], [0.0, 0.0]], np.zeros((4, 2))),
    ],
)
def test_frechet_refuses_what_has_no_distance(a, b):
    with pytest.raises(InputError):
        frechet_distance(a, b)


@pytest.mark.parametrize("name", REFERENCES["frechet"])
def test_frechet_of_other_packages(name):
    """torch-fidelity, pytorch-fid and POT agree to 1e-10 or better with each other on these, of full rank."""
    assert len(REFERENCES["frechet"][name]) == 3
    for value in REFERENCES["frechet"][name].values():
        assert frechet_distance(*feature_sets(name)) == pytest.approx(value, rel=1e-10)


@pytest.mark.parametrize("n, m, d", [(20, 30, 64), (64, 20, 64), (100, 20, 64), (65, 65, 64)])
def test_frechet_of_singular_covariances_is_exact(rng, n, m, d):
    """`tr (S_a S_b)^(1/2)` is the sum of the singular values of `A B^T` with the centred examples as rows.

    That takes no square root of a rounded zero; other packages are right to 1e-6 or so here, or give NaN.
    """
    a, b = rng.normal(size=(n, d)), rng.normal(size=(m, d)) @ rng.normal(size=(d, d))
    centred_a, centred_b = a - a.mean(axis=0), b - b.mean(axis=0)
    cross = svdvals(centred_a @ centred_b.T).sum() / np.sqrt((n - 1) * (m - 1))
    offset = a.mean(axis=0) - b.mean(axis=0)
    expected = offset @ offset + np.sum(centred_a**2) / (n - 1) + np.sum(centred_b**2) / (m - 1) - 2 * cross
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-10)
    assert frechet_distance(b, a) == pytest.approx(expected, rel=1e-10)
    assert moments_distance(moments(a), moments(b)) == pytest.approx(expected, rel=1e-10)


def test_frechet_of_few_large_pictures_needs_no_covariances(rng):
    """64x64 pixels in colour: a covariance would be of 1.2 GB, and its eigenvalues minutes of work."""
    a, b = (rng.normal(size=(20, 64 * 64 * 3)).astype(np.float32) for _ in range(2))
    tracemalloc.start()
    try:
        distance = frechet_distance(a, b)
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()
    turned = [v @ np.linalg.qr(np.concatenate([a, b]).T)[0] for v in (a, b)]  # into the space that all of them span
    assert distance == pytest.approx(frechet_distance(*turned), rel=1e-5)


def test_frechet_of_constant_features(rng):
    """Features that never fire, in one set or in both, add the squares of their distances and of the other's scale."""
    a, b = np.full((40, 5), 0.1), np.full((30, 5), 0.4)
    a[:, :3] = exact_sample(rng, 40, [0.0, 0.0, 0.0], [1.0, 2.0, 3.0])
    b[:, :2] = exact_sample(rng, 30, [0.0, 0.0], [2.0, 2.0])
    expected = (1.0 + 0.0 + 9.0) + 0.4**2 + 2 * 0.3**2
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("batch", [1, 7, 64, 1024, 3000])
def test_moments_do_not_depend_on_the_batches(rng, batch):
    """Against np.cov of everything, far from the origin, where `sum x x^T - N m m^T` loses all its digits."""
    x = 1e6 + rng.normal(size=(2500, 4))
    parts = [moments(x[start : start + batch]) for start in range(0, len(x), batch)]
    total = parts[0]
    for part in parts[1:]:
        total = merge(total, part)
    assert total.count == len(x)
    # the examples themselves are right to 1e-10 only: 1e6 times 1e-16
    np.testing.assert_allclose(total.mean, x.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(total.scatter / (total.count - 1), np.cov(x.T), atol=1e-8)


def test_merging_is_associative_and_commutative(rng):
    a, b, c = (moments(rng.normal(size=(n, 3)) + n) for n in (3, 10, 1))
    for other in (merge(a, merge(b, c)), merge(merge(c, a), b)):
        for found, expected in zip(other, merge(merge(a, b), c), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-13)


def test_a_distance_of_merged_moments(rng):
    a, b = rng.normal(size=(90, 5)), rng.normal(size=(80, 5)) + 0.5
    merged = merge(moments(a[:13]), moments(a[13:]))
    assert moments_distance(merged, moments(b)) == pytest.approx(frechet_distance(a, b), rel=1e-12)


def test_moments_are_float64_and_refuse_what_has_none():
    assert moments(np.ones((3, 2), np.float32)).mean.dtype == np.float64
    one = moments(np.ones((1, 2)))
    assert one.count == 1 and not one.scatter.any()
    with pytest.raises(InputError, match="at least two"):
        moments_distance(one, moments(np.ones((4, 2))))
    with pytest.raises(InputError, match="same features"):
        merge(one, moments(np.ones((4, 3))))
    with pytest.raises(InputError, match="same features"):
        moments_distance(Moments(4, np.zeros(2), np.eye(2)), Moments(4, np.zeros(3), np.eye(3)))
    with pytest.raises(InputError):
        moments(np.ones((0, 2)))


def test_frechet_infinity_of_other_packages():
    """torch-fidelity's distances of the same random choices, scikit-learn's line through them."""
    value = frechet_infinity(*feature_sets("blocks"), np.random.default_rng(7))
    assert value == pytest.approx(*REFERENCES["frechet infinity"]["blocks"].values(), rel=1e-9)


def test_frechet_infinity_takes_the_bias_away(rng):
    """The same distribution twice, the reference ten times as large, so that its own bias is a tenth of the samples'.

    One extrapolated figure is twice as noisy as a plain one, hence the mean over draws and its standard error.
    """
    draws = [(rng.normal(size=(1000, 8)), rng.normal(size=(10_000, 8))) for _ in range(30)]
    biased = np.mean([frechet_distance(*draw) for draw in draws])
    values = [frechet_infinity(*draw, rng) for draw in draws]
    tolerance = 3 * np.std(values) / np.sqrt(len(values)) + biased / 10
    assert tolerance < biased / 2
    assert abs(np.mean(values)) < tolerance


def test_frechet_infinity_is_a_function_of_its_seed(rng):
    samples, reference = rng.normal(size=(2, 60, 3))
    once, again, other = (frechet_infinity(samples, reference, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert once == again != other


@pytest.mark.parametrize("count, points", [(19, 15), (40, 1)])
def test_frechet_infinity_refuses_what_makes_no_line(rng, count, points):
    with pytest.raises(InputError, match="a line needs"):
        frechet_infinity(np.zeros((count, 2)), np.zeros((40, 2)), rng, points=points)
