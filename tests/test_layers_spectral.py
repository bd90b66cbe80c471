"""Flax's spectral normalisation on our layers, against NumPy's singular values."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan import losses
from jaxgan.gan import make_gan
from jaxgan.latents import normal_latents
from jaxgan.layers import Conv, ConvTranspose
from jaxgan.network import flax_network
from jaxgan.networks import dcgan, mlp


class Normalised(nn.Module):
    """One layer, its kernel divided by its spectral norm."""

    make: functools.partial

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        return nn.SpectralNorm(self.make())(x, update_stats=train)


LAYERS = {
    "Conv": (functools.partial(Conv, 6, 3, 2), (2, 8, 8, 3)),
    "ConvTranspose": (functools.partial(ConvTranspose, 6, 3, 2), (2, 4, 4, 3)),
    "Dense": (functools.partial(nn.Dense, 5), (2, 7)),
}
every_layer = pytest.mark.parametrize("name", LAYERS)


def singular_value(kernel):
    return np.linalg.svd(np.asarray(kernel, np.float64).reshape(-1, kernel.shape[-1]), compute_uv=False)[0]


def divided(params):
    """Parameters whose kernels are divided by their largest singular values."""
    return {
        name: {**layer, "kernel": layer["kernel"] / np.float32(singular_value(layer["kernel"]))}
        for name, layer in params.items()
    }


def prepared(network, shape, steps):
    """Data, variables with kernels of a norm far from 1, and these after calls in training."""
    x = jax.random.normal(jax.random.key(1), shape)
    variables = jax.jit(network.init)(jax.random.key(0), x, None)
    variables = {**variables, "params": jax.tree.map(lambda p: 3.0 * p + 0.1, variables["params"])}

    @jax.jit
    def converge(variables):
        def move(variables, _):
            return network.apply(variables, x, None, key=jax.random.key(2), train=True)[1], None

        return jax.lax.scan(move, variables, length=steps)[0]

    return x, variables, converge(variables)


@every_layer
def test_the_effective_kernel_has_the_spectral_norm_one(name):
    make, shape = LAYERS[name]
    network = flax_network(Normalised(make))
    x, before, after = prepared(network, shape, steps=200)
    jax.tree.map(np.testing.assert_array_equal, after["params"], before["params"])  # the parameters stay as they are
    kernel = after["params"][f"{name}_0"]["kernel"]
    assert singular_value(kernel) > 2.0
    expected = make().apply({"params": divided(after["params"])[f"{name}_0"]}, x)
    found, _ = network.apply(after, x, None, key=jax.random.key(2), train=False)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@every_layer
def test_u_moves_in_training_and_not_in_evaluation(name):
    make, shape = LAYERS[name]
    network = flax_network(Normalised(make))
    x, before, after = prepared(network, shape, steps=1)
    _, still = network.apply(before, x, None, key=jax.random.key(2), train=False)
    jax.tree.map(np.testing.assert_array_equal, still, before)
    assert set(before) == {"params", "batch_stats"}
    moved = jax.tree.map(lambda a, b: bool(np.any(a != b)), before["batch_stats"], after["batch_stats"])
    assert len(jax.tree.leaves(moved)) == 2 and all(jax.tree.leaves(moved))  # u and the norm it gives


def test_the_gradient_knows_of_the_norm():
    """A multiple of the kernel gives the same: no gradient along the kernel. Were the norm held, there would be."""
    make, shape = LAYERS["Conv"]
    network = flax_network(Normalised(make))
    x, _, variables = prepared(network, shape, steps=1)

    def objective(params):
        return jnp.sum(
            jnp.sin(network.apply({**variables, "params": params}, x, None, key=jax.random.key(2), train=False)[0])
        )

    slope = jax.jit(jax.grad(objective))(variables["params"])["Conv_0"]["kernel"]
    kernel = variables["params"]["Conv_0"]["kernel"]
    cosine = jnp.sum(slope * kernel) / jnp.linalg.norm(slope) / jnp.linalg.norm(kernel)
    assert abs(cosine) < 1e-4 and jnp.linalg.norm(slope) > 1e-2


def test_a_discriminator_is_one_without_whose_kernels_are_divided():
    """The whole DCGAN discriminator: the same parameters, each kernel, the dense one too, over its singular value."""
    plain = dcgan.Discriminator(features=(4, 8), kernel_size=3)
    network = flax_network(plain.clone(spectral_norm=True))
    x, _, variables = prepared(network, (3, 8, 8, 1), steps=300)
    found, _ = network.apply(variables, x, None, key=jax.random.key(2), train=False)
    expected = plain.apply({"params": divided(variables["params"])}, x)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_initial_kernels_are_multiples_of_the_initialisers(key):
    """Flax stores them divided already, by a norm that is not exact yet: known, and said where it is used."""
    plain = dcgan.Discriminator(features=(4, 8), kernel_size=3)
    x = jnp.zeros((1, 8, 8, 1))
    one, other = (jax.jit(module.init)(key, x)["params"] for module in (plain, plain.clone(spectral_norm=True)))
    for name in one:
        ratios = np.asarray(one[name]["kernel"] / other[name]["kernel"])
        np.testing.assert_allclose(ratios, np.full(ratios.shape, ratios.mean()), rtol=1e-5)
        assert 0.99 < singular_value(other[name]["kernel"]) < 10.0


def test_a_step_of_a_training_carries_it_on(key):
    gan = make_gan(
        flax_network(mlp.Generator((8, 8, 1), widths=(4,))),
        flax_network(dcgan.Discriminator(features=(4,), strides=(2,), kernel_size=3, spectral_norm=True)),
        losses.hinge,
        generator_tx=optax.sgd(0.1),
        discriminator_tx=optax.sgd(0.1),
        latent=normal_latents(2),
    )
    batch = {"x": jnp.ones((4, 8, 8, 1))}
    before = jax.jit(gan.init)(key, batch)
    after, _ = jax.jit(gan.step)(key, before, batch)
    stats = [jax.tree.leaves(state.discriminator.stats["batch_stats"]) for state in (before, after)]
    assert len(stats[0]) == 4  # u and the norm of two kernels
    changed = [bool(np.abs(one - other).max() > 1e-6) for one, other in zip(*stats, strict=True)]  # more than rounding
    assert changed == [True, True, False, True]  # of one column, the dense kernel had its norm from the start
    assert jax.tree.structure(before) == jax.tree.structure(after)
