"""Dropout and its random words against Flax's and JAX's own, bit for bit."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.layers import Dropout, random_words


@pytest.mark.parametrize("shape", [(), (7,), (6,), (5, 6, 7), (0,)])
def test_words_are_those_of_jax(shape, key):
    np.testing.assert_array_equal(random_words(key, shape), jax.random.bits(key, shape))


def test_words_under_vmap_and_jit(key):
    keys = jax.random.split(key, 3)
    ours = jax.jit(jax.vmap(lambda k: random_words(k, (4, 2))))(keys)
    np.testing.assert_array_equal(ours, jax.vmap(lambda k: jax.random.bits(k, (4, 2)))(keys))


def test_words_of_another_generator_are_its_own():
    key = jax.random.key(1, impl="rbg")
    np.testing.assert_array_equal(random_words(key, (4, 2)), jax.random.bits(key, (4, 2)))


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.3, 0.5, 0.77, 1.0])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_dropout_is_flax_own(rate, dtype, key):
    x = jax.random.normal(key, (40, 30)).astype(dtype)
    ours = Dropout(rate).apply({}, x, rngs={"dropout": key})
    reference = nn.Dropout(rate, deterministic=False).apply({}, x, rngs={"dropout": key})
    assert ours.dtype == x.dtype
    np.testing.assert_array_equal(ours, reference)


def test_dropout_that_is_deterministic_needs_no_key(key):
    x = jnp.ones((3, 2))
    np.testing.assert_array_equal(Dropout(0.5, deterministic=True).apply({}, x), x)
