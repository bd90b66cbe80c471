"""Quality on mixtures of Gaussians against closed forms and simulations of known samplers."""

import json
import math

import numpy as np
import pytest

from jaxgan.errors import InputError
from jaxgan.metrics.mixture import PERFECT_HIGH_QUALITY, mixture_quality

STD = 0.01
ANGLES = 2 * np.pi * np.arange(8) / 8
RING = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)  # PacGAN's ring: radius 1, standard deviation 0.01


@pytest.fixture
def rng():
    return np.random.default_rng(0)


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
