"""Similarity of images and the sliced distance, against closed forms and other packages (references/metrics.py)."""

import json

import numpy as np
import pytest
from references.metrics import GOLDEN, directions, feature_sets, image_pairs
from scipy.stats import wasserstein_distance

from jaxgan.errors import InputError
from jaxgan.metrics.similarity import mean_pair_similarity, ms_ssim, psnr, ssim
from jaxgan.metrics.sliced import random_directions, sliced_wasserstein

REFERENCES = json.loads(GOLDEN.read_text())
SIZES = {"small": (24, 33, 3), "large": (176, 192, 2)}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("size", SIZES)
def test_ssim_of_other_packages(size):
    """scikit-image and pytorch-msssim, the latter given the window in float64: its own is float32, good to 1e-8."""
    for values in REFERENCES["ssim"][size].values():
        np.testing.assert_allclose(ssim(*image_pairs(*SIZES[size]), data_range=1.0), values, rtol=1e-11)


@pytest.mark.parametrize("scales", REFERENCES["ms-ssim"])
def test_ms_ssim_of_other_packages(scales):
    """pytorch-msssim and piq, where sides stay even: what becomes of an odd one differs from package to package."""
    for values in REFERENCES["ms-ssim"][scales].values():
        found = ms_ssim(*image_pairs(*SIZES["large"]), data_range=1.0, scales=int(scales))
        np.testing.assert_allclose(found, values, rtol=1e-11)


def test_psnr_of_scikit_image():
    found = psnr(*image_pairs(*SIZES["small"]), data_range=1.0)
    np.testing.assert_allclose(found, REFERENCES["psnr"]["small"]["scikit-image"], rtol=1e-12)


def test_similarity_of_equal_images(rng):
    x = rng.uniform(-1, 1, (2, 24, 25, 2))
    np.testing.assert_allclose(ssim(x, x, data_range=2.0), 1.0, rtol=1e-14)
    np.testing.assert_allclose(ms_ssim(x, x, data_range=2.0, scales=2), 1.0, rtol=1e-14)
    assert (psnr(x, x, data_range=2.0) == np.inf).all()


def test_similarity_of_constant_images():
    """No variance at all: the second fraction is 1, the first `(2 x y + c) / (x^2 + y^2 + c)`."""
    x, y, c = 0.2, 0.7, (0.01 * 2.0) ** 2
    expected = (2 * x * y + c) / (x**2 + y**2 + c)
    a, b = np.full((1, 12, 12, 1), x), np.full((1, 12, 12, 1), y)
    assert ssim(a, b, data_range=2.0) == pytest.approx(expected, rel=1e-10)
    assert psnr(a, b, data_range=2.0) == pytest.approx(10 * np.log10(4 / 0.25), rel=1e-12)
    odd = np.full((1, 21, 23, 1), x), np.full((1, 21, 23, 1), y)  # sides of 11 and 12 remain
    assert ms_ssim(*odd, data_range=2.0, scales=2) == pytest.approx(expected ** (0.2856 / 0.3304 * 1.0001), rel=1e-10)


def test_the_last_row_of_an_odd_side_is_used_twice(rng):
    """Doubling it by hand gives the coarse scale the same image; the fine scale sees one row more of windows."""
    a, noise = rng.uniform(size=(2, 1, 22, 22, 1))
    b = a + 0.5 * noise  # alike, as a mean below 0 would count as 0
    a[:, -1], b[:, -1] = a[:, -2], b[:, -2]
    fine = [_contrast(x, y) for x, y in ((a, b), (a[:, :-1], b[:, :-1]))]
    whole, cut = ms_ssim(a, b, data_range=1.0, scales=2), ms_ssim(a[:, :-1], b[:, :-1], data_range=1.0, scales=2)
    exponent = 0.0448 / 0.3304 * 1.0001
    assert whole / cut == pytest.approx((fine[0] / fine[1]) ** exponent, rel=1e-10)


def _contrast(a, b):
    """Mean of SSIM's second fraction, each window written out."""
    taps = np.exp(-(np.arange(-5.0, 6.0) ** 2) / 4.5)
    window = np.outer(taps, taps) / taps.sum() ** 2
    values = []
    for i in range(a.shape[1] - 10):
        for j in range(a.shape[2] - 10):
            x, y = a[0, i : i + 11, j : j + 11, 0], b[0, i : i + 11, j : j + 11, 0]
            mean_x, mean_y = np.sum(window * x), np.sum(window * y)
            covariance = np.sum(window * (x - mean_x) * (y - mean_y))
            variances = np.sum(window * ((x - mean_x) ** 2 + (y - mean_y) ** 2))
            values.append((2 * covariance + 0.03**2) / (variances + 0.03**2))
    return np.mean(values)


def test_similarity_is_symmetric_and_negative_for_inverted_structure(rng):
    a, b = rng.uniform(size=(2, 2, 24, 24, 1))
    np.testing.assert_allclose(ssim(a, b, data_range=1.0), ssim(b, a, data_range=1.0), rtol=1e-12)
    assert (ssim(a, 1 - a, data_range=1.0) < -0.5).all()
    assert (ms_ssim(a, 1 - a, data_range=1.0, scales=2) == 0).all()
    checks = 0.3 * (-1.0) ** np.add.outer(np.arange(24), np.arange(24))[None, :, :, None]
    # inverted on the fine scale, equal on the coarse one, where the checks are averaged away
    assert ms_ssim(0.5 + checks, 0.5 - checks, data_range=1.0, scales=2) == 0


def test_many_pairs_are_each_compared_with_their_own(rng):
    a, b = rng.uniform(size=(2, 70, 12, 12, 1))  # more than are computed at a time
    for function in (psnr, ssim):
        found = function(a, b, data_range=1.0)
        assert found.shape == (70,)
        one_by_one = [function(a[i : i + 1], b[i : i + 1], data_range=1.0)[0] for i in range(70)]
        np.testing.assert_allclose(found, one_by_one, rtol=1e-12)
    assert (psnr(a.astype(np.float32), a, data_range=1.0) > 140).all()  # float32's rounding, and float64 from there on


def test_similarity_does_not_see_the_units(rng):
    a, b = rng.integers(0, 256, (2, 2, 24, 24, 3)).astype(np.uint8)
    small = a / 255.0, b / 255.0
    for function in (psnr, ssim):
        np.testing.assert_allclose(function(a, b, data_range=255), function(*small, data_range=1.0), rtol=1e-11)


@pytest.mark.parametrize(
    "side, scales, message",
    [
        (10, 1, "no number"),
        (28, 5, "choose scales=2"),
        (160, 5, "choose scales=4"),
        (28, 0, "between"),
        (28, 6, "between"),
    ],
)
def test_small_images_are_told_how_many_scales_fit(side, scales, message):
    x = np.zeros((1, side, side + 5, 1))
    with pytest.raises(InputError, match=message):
        ms_ssim(x, x, data_range=1.0, scales=scales)


def test_the_least_side_is_enough():
    x = np.zeros((1, 161, 161, 1))
    assert ms_ssim(x, x, data_range=1.0) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "a, b, data_range",
    [
        (np.zeros((2, 12, 12)), np.zeros((2, 12, 12)), 1.0),
        (np.zeros((2, 12, 12, 1)), np.zeros((1, 12, 12, 1)), 1.0),
        (np.zeros((0, 12, 12, 1)), np.zeros((0, 12, 12, 1)), 1.0),
        (np.full((2, 12, 12, 1), np.nan), np.zeros((2, 12, 12, 1)), 1.0),
        (np.zeros((2, 12, 12, 1)), np.zeros((2, 12, 12, 1)), 0.0),
        (np.zeros((2, 12, 12, 1)), np.zeros((2, 12, 12, 1)), np.nan),
    ],
)
def test_similarity_refuses_what_has_none(a, b, data_range):
    for function in (psnr, ssim):
        with pytest.raises(InputError):
            function(a, b, data_range=data_range)


def test_mean_pair_similarity_is_one_for_a_collapse_and_low_for_noise(rng):
    one = np.repeat(rng.uniform(size=(1, 24, 24, 1)), 5, axis=0)
    assert mean_pair_similarity(one, rng, data_range=1.0, pairs=10, scales=2) == pytest.approx(1.0)
    noise = rng.uniform(size=(5, 24, 24, 1))
    assert mean_pair_similarity(noise, rng, data_range=1.0, pairs=10, scales=2) < 0.3


def test_mean_pair_similarity_never_pairs_a_sample_with_itself(rng):
    """Two samples have one pair, whichever comes first: the mean is its value."""
    x = rng.uniform(size=(2, 24, 24, 1))
    expected = ms_ssim(x[:1], x[1:], data_range=1.0, scales=1)
    assert mean_pair_similarity(x, rng, data_range=1.0, pairs=20, scales=1) == pytest.approx(expected, rel=1e-12)
    for samples, pairs in ((x[:1], 5), (x, 0)):
        with pytest.raises(InputError):
            mean_pair_similarity(samples, rng, data_range=1.0, pairs=pairs, scales=1)


@pytest.mark.parametrize("name", REFERENCES["sliced"])
def test_sliced_wasserstein_of_pot(name):
    which, p = name.split()
    a, b = feature_sets(which)
    found = sliced_wasserstein(a, b, directions(a.shape[1]), p=int(p))
    assert found == pytest.approx(REFERENCES["sliced"][name]["POT"], rel=1e-11)


@pytest.mark.parametrize("n, m", [(6, 4), (7, 13), (1, 5), (9, 9)])
def test_sliced_wasserstein_against_scipy(rng, n, m):
    """Unequal numbers, and ties among the values."""
    a, b = rng.integers(0, 5, (n, 3)).astype(float), rng.normal(size=(m, 3))
    axes = np.eye(3)
    expected = np.mean([wasserstein_distance(a[:, i], b[:, i]) for i in range(3)])
    assert sliced_wasserstein(a, b, axes, p=1) == pytest.approx(expected, rel=1e-12)
    assert sliced_wasserstein(b, a, axes, p=1) == pytest.approx(expected, rel=1e-12)


def test_sliced_wasserstein_of_a_translation(rng):
    """Each direction sees its part of the shift: `(mean (v . s)^2)^(1/2)`, which tends to `|s| / sqrt(d)`."""
    x, shift = rng.normal(size=(40, 5)), np.array([3.0, 0.0, -4.0, 0.0, 0.0])
    directions = random_directions(rng, 5, 2000)
    expected = np.sqrt(np.mean((shift @ directions) ** 2))
    assert sliced_wasserstein(x, rng.permutation(x) + shift, directions) == pytest.approx(expected, rel=1e-12)
    assert expected == pytest.approx(5 / np.sqrt(5), rel=0.05)
    assert sliced_wasserstein(x, x, directions) == 0.0
    assert sliced_wasserstein(x, np.repeat(x, 3, axis=0), directions) == pytest.approx(0.0, abs=1e-12)


def test_random_directions_are_units(rng):
    directions = random_directions(rng, 7, 50)
    assert directions.shape == (7, 50)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=0), 1.0, rtol=1e-14)
    same = (random_directions(np.random.default_rng(1), 3, 4) for _ in range(2))
    np.testing.assert_array_equal(*same)


@pytest.mark.parametrize(
    "a, directions, p",
    [
        (np.ones((4, 3)), np.ones((2, 5)), 2),
        (np.ones((4, 2)), np.ones((3, 5)), 2),
        (np.ones((4, 2)), np.ones((2, 0)), 2),
        (np.ones((4, 2)), np.ones((2, 5)), 3),
        (np.full((4, 2), np.inf), np.ones((2, 5)), 2),
    ],
)
def test_sliced_wasserstein_refuses_what_has_no_distance(a, directions, p):
    with pytest.raises(InputError):
        sliced_wasserstein(a, np.ones((4, 2)), directions, p=p)
