"""The kernel distance against closed forms, simulations, and other packages' values (references/metrics.py)."""

import json

import numpy as np
import pytest
from references.metrics import GOLDEN, feature_sets

from jaxgan.errors import InputError
from jaxgan.metrics.kernel import kernel_distance, kernel_distance_of_subsets

REFERENCES = json.loads(GOLDEN.read_text())


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("name, packages, tolerance", [("tall", 3, 1e-10), ("blocks", 1, 1e-10), ("far", 3, 1e-9)])
def test_kernel_of_other_packages(name, packages, tolerance):
    """Far from the origin kernels are 1e12, their distance 2e6: the packages agree with each other to 1e-10 there."""
    values = REFERENCES["kernel"][name].values()
    assert len(values) == packages
    for value in values:
        assert kernel_distance(*feature_sets(name)) == pytest.approx(value, rel=tolerance)


def test_kernel_of_subsets_of_other_packages():
    """The same subsets, given to torch-fidelity one by one."""
    found = kernel_distance_of_subsets(*feature_sets("tall"), np.random.default_rng(8), subsets=20, subset_size=50)
    assert found == pytest.approx(REFERENCES["kernel subsets"]["tall"]["torch-fidelity"], rel=1e-10)


def test_kernel_by_hand():
    """Three and two examples, `k = (x y / 2 + 1)^3`, every pair written out."""
    a, b = [[1.0, 1.0], [0.0, 2.0], [2.0, -2.0]], [[1.0, 0.0], [3.0, 1.0]]
    within_a = ((1 + 1) ** 3 + (0 + 1) ** 3 + (-2 + 1) ** 3) / 3
    within_b = (1.5 + 1) ** 3
    cross = ((0.5 + 1) ** 3 + (2 + 1) ** 3 + (0 + 1) ** 3 + (1 + 1) ** 3 + (1 + 1) ** 3 + (2 + 1) ** 3) / 6
    assert kernel_distance(a, b) == pytest.approx(within_a + within_b - 2 * cross, rel=1e-14)


def test_kernel_is_unbiased(rng):
    """Over many draws of one distribution the mean is zero within three standard errors, whatever the numbers."""
    values = [kernel_distance(rng.normal(size=(12, 4)) + 1, rng.normal(size=(30, 4)) + 1) for _ in range(2000)]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(len(values))
    assert np.mean(np.array(values) < 0) > 0.3


def test_kernel_is_symmetric_and_blind_to_order(rng):
    a, b = rng.normal(size=(40, 6)), 2 * rng.normal(size=(60, 6))
    value = kernel_distance(a, b)
    assert kernel_distance(b, a) == pytest.approx(value, rel=1e-12)
    assert kernel_distance(rng.permutation(a), rng.permutation(b)) == pytest.approx(value, rel=1e-12)


def test_kernel_of_collapsed_sets(rng):
    """One point c against another e: `k(c, c) + k(e, e) - 2 k(c, e)`, and 0 against itself."""
    c, e = np.full((5, 3), 2.0), np.full((4, 3), -1.0)
    assert kernel_distance(c, e) == pytest.approx(5.0**3 + 2.0**3 - 2 * (-1.0) ** 3, rel=1e-12)
    assert kernel_distance(c, c) == pytest.approx(0.0, abs=1e-12)
    assert np.isfinite(kernel_distance(c, rng.normal(size=(50, 3))))


def test_kernel_computes_in_float64_whatever_it_is_given(rng):
    a, b = (10 + rng.normal(size=(2, 100, 4))).astype(np.float32)
    assert kernel_distance(a, b) == kernel_distance(a.astype(np.float64), b.astype(np.float64))
    assert isinstance(kernel_distance(a, b), float)


def test_subsets_estimate_the_whole(rng):
    a, b = rng.normal(size=(400, 5)), rng.normal(size=(300, 5)) + 0.5
    mean, std = kernel_distance_of_subsets(a, b, rng, subsets=400, subset_size=40)
    assert mean == pytest.approx(kernel_distance(a, b), abs=4 * std / 20)
    mean, std = kernel_distance_of_subsets(a[:300], b, rng, subsets=3, subset_size=300)
    assert mean == pytest.approx(kernel_distance(a[:300], b), rel=1e-12)
    assert std == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("subsets, size", [(0, 5), (3, 1), (3, 11)])
def test_subsets_that_cannot_be_drawn(rng, subsets, size):
    with pytest.raises(InputError, match="cannot be drawn"):
        kernel_distance_of_subsets(np.ones((10, 2)), np.ones((20, 2)), rng, subsets=subsets, subset_size=size)


@pytest.mark.parametrize("a", [np.ones(4), np.ones((4, 3)), np.ones((1, 2)), np.full((4, 2), np.nan)])
def test_kernel_refuses_what_has_no_distance(a):
    with pytest.raises(InputError):
        kernel_distance(a, np.ones((4, 2)))
