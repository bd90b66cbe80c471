"""Metrics against closed forms, simulations of known samplers, and SciPy."""

import json
import math

import numpy as np
import pytest
from scipy.linalg import sqrtm

from jaxgan.errors import InputError
from jaxgan.metrics.frechet import frechet_distance
from jaxgan.metrics.mixture import PERFECT_HIGH_QUALITY, mixture_quality

STD = 0.01
ANGLES = 2 * np.pi * np.arange(8) / 8
RING = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)  # PacGAN's ring: radius 1, standard deviation 0.01


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
    ],
)
def test_frechet_refuses_what_has_no_distance(a, b):
    with pytest.raises(InputError):
        frechet_distance(a, b)


def sample_ring(rng, n, modes=8, std=STD):
    return RING[rng.integers(modes, size=n)] + std * rng.normal(size=(n, 2))


def test_a_perfect_sampler_reaches_the_floor(rng):
    n = 200_000
    found = mixture_quality(sample_ring(rng, n), RING, STD)
    assert PERFECT_HIGH_QUALITY == pytest.approx(0.98889, abs=1e-5)
    deviation = math.sqrt(PERFECT_HIGH_QUALITY * (1 - PERFECT_HIGH_QUALITY) / n)
    assert found["modes"] == 8
    assert found["high_quality"] == pytest.approx(PERFECT_HIGH_QUALITY, abs=4 * deviation)
    # PacGAN's 2,500 samples: 2 N KL is about chi-squared with K - 1 degrees of freedom
    divergences = [mixture_quality(sample_ring(rng, 2500), RING, STD)["reverse_kl"] for _ in range(200)]
    assert np.mean(divergences) == pytest.approx(7 / (2 * 2500), rel=0.2)


def test_one_mode_collapse_is_good_and_uneven(rng):
    found = mixture_quality(sample_ring(rng, 2000, modes=1), RING, STD)
    assert found["modes"] == 1
    assert found["high_quality"] > 0.98
    assert found["reverse_kl"] == pytest.approx(math.log(8), rel=1e-12)


def test_a_smear_is_even_and_bad(rng):
    """Uniform on the circle: every mode is found, by a share of about 8 * 0.06 / (2 pi) of the samples."""
    angles = rng.uniform(0, 2 * np.pi, 20_000)
    found = mixture_quality(np.stack([np.cos(angles), np.sin(angles)], axis=1), RING, STD)
    assert found["modes"] == 8
    assert found["high_quality"] == pytest.approx(8 * 6 * STD / (2 * np.pi), rel=0.1)
    assert found["reverse_kl"] < 0.02


def test_the_divergence_by_hand():
    """Shares 3/4, 1/4 and 0 of three modes, with two samples that count for none of them."""
    centers = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    samples = np.concatenate([centers[[0, 0, 0, 1]], [[5.0, 5.0], [10.0, 3.5]]])
    found = mixture_quality(samples, centers, 1.0)
    assert found["modes"] == 2
    assert found["high_quality"] == pytest.approx(4 / 6)
    assert found["reverse_kl"] == pytest.approx(0.75 * math.log(3 * 0.75) + 0.25 * math.log(3 * 0.25), rel=1e-12)
    assert mixture_quality(samples, centers, 1.0, threshold=4.0)["high_quality"] == pytest.approx(5 / 6)


def test_the_threshold_itself_is_outside():
    found = mixture_quality([[3.0, 0.0], [0.0, 2.999]], [[0.0, 0.0]], 1.0)
    assert found["high_quality"] == 0.5


def test_no_good_sample_has_no_divergence_and_is_json():
    found = mixture_quality(np.full((5, 2), 50.0), RING, STD)
    assert found == {"modes": 0, "high_quality": 0.0, "reverse_kl": None}
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_are_not_good(bad):
    samples = np.concatenate([RING, [[bad, 0.0], [1.0, bad]]])
    found = mixture_quality(samples, RING, STD)
    assert found["modes"] == 8
    assert found["high_quality"] == 0.8
    assert found["reverse_kl"] == pytest.approx(0.0, abs=1e-12)
    assert mixture_quality(np.full((3, 2), bad), RING, STD)["reverse_kl"] is None


@pytest.mark.parametrize(
    "samples, centers, std, threshold",
    [
        (np.zeros((0, 2)), RING, STD, 3.0),
        (np.zeros((4, 3)), RING, STD, 3.0),
        (np.zeros(2), RING, STD, 3.0),
        (np.zeros((4, 2)), np.zeros((0, 2)), STD, 3.0),
        (np.zeros((4, 2)), np.full((1, 2), np.nan), STD, 3.0),
        (np.zeros((4, 2)), RING, 0.0, 3.0),
        (np.zeros((4, 2)), RING, np.nan, 3.0),
        (np.zeros((4, 2)), RING, STD, -3.0),
    ],
)
def test_mixture_refuses_what_has_no_quality(samples, centers, std, threshold):
    with pytest.raises(InputError):
        mixture_quality(samples, centers, std, threshold=threshold)
