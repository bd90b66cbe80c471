"""The largest of some numbers, and its gradient where a compiler computes things twice."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.largest import largest
from jaxgan.layers import Maxout


def test_it_is_the_maximum_and_its_gradient_is_one_entrys():
    x = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    x[2] = -np.inf
    x[3, 1:3] = 9.0
    np.testing.assert_array_equal(largest(x), x.max(axis=-1))
    gradient = jax.grad(lambda x: jnp.sum(jnp.arange(6) * largest(x)))(x)
    expected = np.zeros((6, 4))
    expected[np.arange(6), x.argmax(axis=-1)] = np.arange(6)
    np.testing.assert_array_equal(gradient, expected)
    assert np.isnan(largest(jnp.array([1.0, jnp.nan, 2.0])))


@pytest.mark.parametrize("inputs", [2, 3, 4, 8])
def test_a_maxout_layer_of_few_inputs_has_its_gradients(inputs):
    """Products of few inputs are computed where they are used, twice; with `max` a third of these gradients was NaN."""
    x = np.random.default_rng(0).normal(size=(100, inputs)).astype(np.float32)
    layer = Maxout(200)
    variables = layer.init(jax.random.key(0), x)
    kernel = np.asarray(variables["params"]["Dense_0"]["kernel"], np.float64)
    pieces = (x @ kernel).reshape(100, 200, 5)
    np.testing.assert_allclose(layer.apply(variables, x), pieces.max(axis=-1), rtol=1e-5, atol=1e-6)
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(layer.apply(variables, x) ** 2)))(x)
    of_pieces = np.where(pieces == pieces.max(axis=-1, keepdims=True), 2 * pieces, 0.0)
    np.testing.assert_allclose(gradient, of_pieces.reshape(100, -1) @ kernel.T, rtol=1e-4, atol=1e-3)
