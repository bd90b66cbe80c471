"""Metrics of classes, modes and answers, against closed forms, SciPy and other packages (references/metrics.py)."""

import json
import math

import numpy as np
import pytest
from references.metrics import GOLDEN, class_logits
from scipy.special import softmax
from scipy.stats import entropy

from jaxgan.errors import InputError
from jaxgan.metrics.accuracy import Accuracy, discriminator_accuracy
from jaxgan.metrics.classes import inception_score
from jaxgan.metrics.modes import mode_coverage, stacked_label

REFERENCES = json.loads(GOLDEN.read_text())


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("count", REFERENCES["inception score"])
def test_inception_score_of_other_packages(count):
    for value in REFERENCES["inception score"][count].values():
        assert inception_score(class_logits()[: int(count)]) == pytest.approx(value, rel=1e-12)


def test_inception_score_against_scipy(rng):
    """`exp (H(mean p) - mean H(p))`: the same mutual information, by its other definition."""
    p = softmax(rng.normal(size=(60, 5)), axis=1)
    expected = np.exp(entropy(p.mean(axis=0)) - entropy(p, axis=1).mean())
    assert inception_score(np.log(p), splits=1).mean == pytest.approx(expected, rel=1e-13)


def test_inception_score_at_its_bounds(rng):
    sure = np.where(np.arange(40)[:, None] % 4 == np.arange(4), 0.0, -np.inf)  # probabilities of exactly 0 and 1
    assert inception_score(sure, splits=5) == pytest.approx((4.0, 0.0), rel=1e-12)
    assert inception_score(1e4 * np.where(np.isfinite(sure), 1.0, 0.0), splits=5) == pytest.approx(
        (4.0, 0.0), rel=1e-12
    )
    assert inception_score(np.tile(rng.normal(size=4), (40, 1))) == pytest.approx((1.0, 0.0), abs=1e-12)
    for scale in (0.1, 1.0, 30.0):
        assert 1.0 <= inception_score(scale * rng.normal(size=(100, 7))).mean <= 7.0


def test_inception_score_does_not_see_a_shift_of_all_logits(rng):
    logits = rng.normal(size=(50, 6))
    assert inception_score(logits + 1e3) == pytest.approx(inception_score(logits), rel=1e-10)


def test_inception_score_computes_in_float64(rng):
    logits = rng.normal(size=(50, 6)).astype(np.float32)
    assert inception_score(logits) == inception_score(logits.astype(np.float64))


@pytest.mark.parametrize(
    "logits, splits",
    [
        (np.zeros(10), 1),
        (np.zeros((10, 0)), 1),
        (np.zeros((9, 3)), 10),
        (np.zeros((9, 3)), 0),
        (np.full((9, 3), np.nan), 1),
        (np.full((9, 3), np.inf), 1),
        (np.full((9, 3), -np.inf), 1),
    ],
)
def test_inception_score_refuses_what_has_none(logits, splits):
    with pytest.raises(InputError):
        inception_score(logits, splits=splits)


def test_stacked_labels_number_all_modes():
    digits = np.stack(np.meshgrid(*[np.arange(10)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    assert stacked_label(digits).tolist() == list(range(1000))
    assert stacked_label(digits.astype(np.uint8)).tolist() == list(range(1000))


def test_a_perfect_sampler_reaches_the_floor(rng):
    """PacGAN's protocol, 26,000 draws of 1,000 modes: 2 N KL is about chi-squared with K - 1 degrees of freedom."""
    found = [mode_coverage(rng.integers(1000, size=26_000), 1000) for _ in range(200)]
    divergences = np.array([one["reverse_kl"] for one in found])
    assert all(one["modes"] == 1000 for one in found)
    assert divergences.mean() == pytest.approx(0.0193, abs=0.0002)
    assert divergences.std() == pytest.approx(0.0009, abs=0.0002)


def test_mode_coverage_against_scipy(rng):
    reference = rng.uniform(0.5, 2.0, size=20)
    labels = rng.integers(15, size=300)
    counts = np.bincount(labels, minlength=20)
    for q, expected in ((None, np.ones(20)), (reference, reference), (7 * reference, reference)):
        found = mode_coverage(labels, 20, q)
        assert found["modes"] == 15
        assert found["reverse_kl"] == pytest.approx(entropy(counts, expected), rel=1e-12)


def test_mode_coverage_at_its_bounds():
    assert mode_coverage(np.zeros(50, int), 1000) == {"modes": 1, "reverse_kl": pytest.approx(math.log(1000))}
    assert mode_coverage(np.arange(1000), 1000) == {"modes": 1000, "reverse_kl": pytest.approx(0.0, abs=1e-12)}
    counts = np.array([3, 1])
    assert mode_coverage([0, 0, 1, 0], 2, counts)["reverse_kl"] == pytest.approx(0.0, abs=1e-12)
    assert json.loads(json.dumps(mode_coverage([0], 3)))["modes"] == 1


@pytest.mark.parametrize(
    "labels, modes, reference",
    [
        ([], 3, None),
        ([0.0, 1.0], 3, None),
        ([3], 3, None),
        ([-1], 3, None),
        ([[0, 1]], 3, None),
        ([0], 3, [1.0, 1.0]),
        ([0], 3, [1.0, 0.0, 1.0]),
        ([0], 3, [1.0, np.nan, 1.0]),
    ],
)
def test_mode_coverage_refuses_what_are_no_modes(labels, modes, reference):
    with pytest.raises(InputError):
        mode_coverage(np.array(labels), modes, reference)


@pytest.mark.parametrize("digits", [np.zeros((4, 2), int), np.zeros(3, int), np.full((4, 3), 10), np.zeros((4, 3))])
def test_stacked_label_refuses_what_are_no_digits(digits):
    with pytest.raises(InputError):
        stacked_label(digits)


@pytest.mark.parametrize(
    "boundary, expected",
    [
        (0.0, Accuracy(0.5, 0.75)),
        (0.5, Accuracy(0.25, 0.75)),
        (-0.5, Accuracy(0.75, 0.5)),
        (None, Accuracy(0.25, 0.75)),
        (-9.0, Accuracy(1.0, 0.0)),
    ],
)
def test_discriminator_accuracy(boundary, expected):
    """Means 0.75 and 0.5 (exactly), so half way is 0.625; a logit on the boundary is wrong for both."""
    real, fake = np.array([[4.0, 0.5], [0.0, -1.5]]), np.array([-1.0, -2.0, -0.5, 5.5])
    assert discriminator_accuracy(real, fake, boundary) == expected


@pytest.mark.parametrize("bad", [np.zeros(0), np.array([np.nan])])
def test_discriminator_accuracy_refuses_what_is_no_answer(bad):
    with pytest.raises(InputError):
        discriminator_accuracy(bad, np.zeros(3))
    with pytest.raises(InputError):
        discriminator_accuracy(np.zeros(3), bad)
