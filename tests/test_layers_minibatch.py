"""Layers that compare examples, against NumPy loops and torchgan."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.layers import MinibatchDiscrimination, MinibatchStddev


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def stddev(x, group_size=4):
    return jax.jit(MinibatchStddev(group_size).apply)({}, x)


@pytest.mark.parametrize("shape", [(8, 3), (4, 5, 2), (8, 4, 3, 2), (2, 2, 3, 3, 2), (1, 3)], ids=str)
def test_stddev_by_loops(shape):
    """Vectors, sequences, images and video; batches of two groups, one group, less than a group, and one example."""
    x = 2.0 + 3.0 * normal(*shape)
    found = stddev(x)
    assert found.shape == (*shape[:-1], shape[-1] + 1)
    np.testing.assert_array_equal(found[..., :-1], x)
    for start in range(0, shape[0], 4):
        group = x[start : start + 4].astype(np.float64).reshape(min(4, shape[0]), -1)
        total = 0.0
        for column in group.T:
            total += np.sqrt(sum((v - sum(column) / len(column)) ** 2 for v in column) / len(column) + 1e-8)
        np.testing.assert_allclose(found[start : start + 4, ..., -1], total / group.shape[1], rtol=1e-5)


def test_groups_are_judged_apart():
    """So that devices which share a batch, each with whole groups, give what one device would."""
    x = normal(8, 3)
    np.testing.assert_allclose(stddev(x), np.concatenate([stddev(x[:4]), stddev(x[4:])]), rtol=1e-6)


def test_a_collapse_shows_and_has_finite_gradients():
    x = jnp.ones((4, 3))
    np.testing.assert_allclose(stddev(x)[:, -1], np.full(4, 1e-4), rtol=1e-3)  # sqrt(1e-8)
    slope = jax.grad(lambda x: MinibatchStddev().apply({}, x)[:, -1].sum())(x)
    assert np.isfinite(slope).all()
    assert stddev(normal(4, 3))[0, -1] > 0.1


def test_half_precision_statistics_are_taken_in_float32():
    # 1,000 + {0, 8}: in bfloat16 the mean 1,004 would be rounded to 1,000 or 1,008
    x = jnp.array([[1000.0], [1008.0]], jnp.bfloat16)
    found = stddev(x)
    assert found.dtype == jnp.bfloat16
    np.testing.assert_array_equal(found[:, 1].astype(jnp.float32), [4.0, 4.0])


def test_batches_that_do_not_split_raise():
    with pytest.raises(ValueError, match="batch of 7 does not split into groups of 4"):
        MinibatchStddev().apply({}, normal(7, 3))


def discrimination(x, kernel, kernels):
    module = MinibatchDiscrimination(kernels, kernel.shape[1] // kernels)
    return jax.jit(module.apply)({"params": {"Dense_0": {"kernel": kernel}}}, x)


@pytest.mark.parametrize("batch_size", [1, 2, 7])
def test_discrimination_by_loops(batch_size):
    x, kernel = normal(batch_size, 5), normal(5, 2 * 3, seed=1)
    found = discrimination(x, kernel, 2)
    assert found.shape == (batch_size, 5 + 2)
    np.testing.assert_array_equal(found[:, :5], x)
    expected = np.zeros((batch_size, 2))
    images = (x.astype(np.float64) @ kernel).reshape(batch_size, 2, 3)
    for i in range(batch_size):
        for j in range(batch_size):
            for k in range(2):
                if i != j:
                    expected[i, k] += np.exp(-sum(abs(images[i, k, c] - images[j, k, c]) for c in range(3)))
    np.testing.assert_allclose(found[:, 5:], expected, rtol=1e-4, atol=1e-6)


def test_discrimination_of_torchgan():
    """MinibatchDiscrimination1d(3, 2, 4) of torchgan 0.1.0, run in float64 on these numbers."""
    expected = [
        [1.9364816113000796, 1.8350603280690794],
        [1.927290502354822, 1.8169743884788483],
        [1.9622324784153786, 1.8737167150800822],
        [1.9668413394436022, 1.8700010077634976],
    ]
    x, kernel = np.cos(np.arange(12.0)).reshape(4, 3), 0.1 * np.sin(np.arange(24.0)).reshape(3, 8)
    with jax.enable_x64(True):
        np.testing.assert_allclose(discrimination(x, kernel, 2)[:, 3:], expected, rtol=1e-12)


def test_discrimination_of_a_collapsed_batch():
    """Equal examples are as close as can be: n - 1. The gradients are finite."""
    found = discrimination(jnp.ones((5, 3)), normal(3, 8), 2)
    np.testing.assert_allclose(found[:, 3:], np.full((5, 2), 4.0), rtol=1e-6)
    slope = jax.grad(lambda x: discrimination(x, normal(3, 8), 2).sum())(jnp.ones((5, 3)))
    assert np.isfinite(slope).all()


def test_the_kernel_has_one_image_for_each_of_the_kernels(key):
    params = jax.eval_shape(MinibatchDiscrimination(6, 4).init, key, jnp.zeros((2, 3)))["params"]
    assert {name: leaf.shape for name, leaf in params["Dense_0"].items()} == {"kernel": (3, 24)}
