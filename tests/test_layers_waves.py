"""Fourier features: the numbers themselves, and what they let a network see."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan.layers import fourier_features
from jaxgan.network import flax_network
from jaxgan.networks import mlp


def test_they_are_the_parts_of_complex_exponentials():
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    waves = np.concatenate([np.exp(1j * w * x.astype(np.float64)) for w in (0.5, 3.0)], axis=1)
    np.testing.assert_allclose(
        fourier_features(x, (0.5, 3.0)), np.concatenate([x, waves.imag, waves.real], axis=1), rtol=1e-5, atol=1e-6
    )
    assert fourier_features(x, ()) is x


@pytest.mark.parametrize(("frequencies", "learnt"), [((), False), ((2.0, 8.0, 32.0), True)])
def test_with_them_a_network_tells_narrow_stripes_apart(frequencies, learnt):
    """Stripes 0.1 wide on [-1, 1], which plain layers do not see in 300 steps."""
    x = np.random.default_rng(0).uniform(-1, 1, (1024, 1)).astype(np.float32)
    side = np.sign(np.sin(10 * np.pi * x[:, 0]))
    network = flax_network(mlp.Discriminator(widths=(64, 64), frequencies=frequencies))
    variables, tx = network.init(jax.random.key(0), x, None), optax.adam(3e-3)

    def loss(variables):
        logits, _ = network.apply(variables, x, None, key=jax.random.key(0), train=True)
        return jnp.mean(jax.nn.softplus(-side * logits))

    @jax.jit
    def step(_, carry):
        variables, opt = carry
        updates, opt = tx.update(jax.grad(loss)(variables), opt)
        return optax.apply_updates(variables, updates), opt

    variables, _ = jax.lax.fori_loop(0, 300, step, (variables, tx.init(variables)))
    assert (loss(variables) < 0.1) == learnt and (loss(variables) > 0.5) != learnt
