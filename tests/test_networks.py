"""Every family in `jaxgan.networks`: what a generator and a discriminator have to be, whatever is inside."""

import functools
import importlib
import math
import pathlib
import pkgutil

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgan.networks
from jaxgan.network import flax_network
from jaxgan.networks import dcgan, mlp

B, LATENTS = 6, 5
# Small members of each family: generator, discriminator, shape of one sample, range of the samples (None: unbounded).
FAMILIES = {
    "dcgan": [
        (
            dcgan.Generator(start=3, features=(8, 6, 4), strides=(1, 2, 2), kernel_size=3),
            dcgan.Discriminator(features=(4, 8), kernel_size=3, dropout=0.5),
            (12, 12, 1),
            (-1, 1),
        ),
        (
            dcgan.Generator(channels=3, start=4, features=(8,), strides=(3,), norm=False),
            dcgan.Discriminator(features=(4,), strides=(1,), dropout=0.5),
            (12, 12, 3),
            (-1, 1),
        ),
        (
            dcgan.Generator(start=3, features=(8, 4), strides=(2, 2), norm=False),
            dcgan.Discriminator(features=(4, 8), kernel_size=3, dropout=0.5, spectral_norm=True),
            (12, 12, 1),
            (-1, 1),
        ),
    ],
    "mlp": [
        (mlp.Generator((2,), widths=(16,)), mlp.Discriminator(widths=(16, 8), dropout=0.5), (2,), None),
        (
            mlp.Generator((4, 3, 2), widths=(8, 8), output=jnp.tanh),
            mlp.Discriminator(widths=(16,), dropout=0.5),
            (4, 3, 2),
            (-1, 1),
        ),
        (
            mlp.Generator((2,), widths=(16, 16), norm=True),
            mlp.Discriminator(widths=(16,), pieces=3, dropout=0.5, frequencies=(1.0, 4.0)),
            (2,),
            None,
        ),
    ],
}
# Those of which less is true, or more, and where that is tested.
OTHERS = {
    "adversarial_autoencoder": "test_networks_encoders.py",
    "bigan": "test_networks_encoders.py",
    "energy": "test_networks_encoders.py",
    "progressive": "test_networks_progressive.py",
    "r3gan": "test_networks_r3gan.py",
    "recurrent": "test_networks_recurrent.py",
    "resnet": "test_networks_resnet.py",
    "stylegan2": "test_networks_stylegan2.py",
    "vae_gan": "test_networks_vae_gan.py",
}
NORMALISED = FAMILIES["dcgan"][0][0]
ROWS = [row for rows in FAMILIES.values() for row in rows]
every_member = pytest.mark.parametrize(
    "generator, discriminator, shape, bounds",
    ROWS,
    ids=[f"{name}-{i}" for name, rows in FAMILIES.items() for i in range(len(rows))],
)


def test_every_family_has_a_row_and_a_generator_and_a_discriminator():
    names = {module.name for module in pkgutil.iter_modules(jaxgan.networks.__path__)}
    assert names == set(FAMILIES) | set(OTHERS)
    for name in OTHERS:
        family = importlib.import_module(f"jaxgan.networks.{name}")
        assert family.Generator and family.Discriminator and (pathlib.Path(__file__).parent / OTHERS[name]).exists()
    for name in FAMILIES:
        family = importlib.import_module(f"jaxgan.networks.{name}")
        for generator, discriminator, _, _ in FAMILIES[name]:
            assert type(generator) is family.Generator and type(discriminator) is family.Discriminator


@functools.cache
def initial(module, shape):
    """The variables of a module for inputs of a shape; tests change copies of them."""
    return jax.jit(lambda: flax_network(module).init(jax.random.key(0), jnp.zeros((B, *shape)), None))()


@functools.cache
def compiled(module, train):
    """`(variables, x, key) -> (output, variables)`, compiled once for all tests."""
    apply = flax_network(module).apply
    return jax.jit(lambda variables, x, key: apply(variables, x, None, key=key, train=train))


def scaled(variables, factor, names=None):
    """Variables with the parameters of some layers, or of all, multiplied."""
    params = {
        layer: jax.tree.map(lambda v: factor * np.asarray(v), values) if names is None or layer in names else values
        for layer, values in variables["params"].items()
    }
    return {**variables, "params": params}


def latents(seed=0, count=B):
    return np.random.default_rng(seed).normal(size=(count, LATENTS)).astype(np.float32)


def points(shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (B, *shape)).astype(np.float32)


@every_member
@pytest.mark.parametrize("train", [False, True])
def test_generator(generator, discriminator, shape, bounds, train, key):
    variables = scaled(initial(generator, (LATENTS,)), 3.0)
    x, _ = compiled(generator, train)(variables, latents(), key)
    assert x.shape == (B, *shape)
    assert x.dtype == jnp.float32
    assert np.isfinite(x).all()
    if bounds is None:
        assert np.abs(x).max() > 1  # nothing squashes them
    else:
        assert bounds[0] <= x.min() < -0.5 and 0.5 < x.max() <= bounds[1]  # both ends are within reach
    assert (np.std(x, axis=0) > 1e-3).any()  # different latents, different samples


@every_member
@pytest.mark.parametrize("train", [False, True])
def test_discriminator(generator, discriminator, shape, bounds, train, key):
    variables = scaled(initial(discriminator, shape), 3.0)
    logits, _ = compiled(discriminator, train)(variables, points(shape), key)
    assert logits.shape == (B,)  # and not [B, 1]: losses refuse that
    assert logits.dtype == jnp.float32
    assert np.isfinite(logits).all()
    assert logits.min() < 0 < logits.max() or np.abs(logits).max() > 1  # logits, not probabilities
    assert np.std(logits) > 1e-3


@every_member
def test_logits_are_not_squashed(generator, discriminator, shape, bounds, key):
    """Fifty times the weights of the last layer are fifty times its logits; a sigmoid at the end would stop that."""
    variables = initial(discriminator, shape)
    last = max(name for name in variables["params"] if name.startswith("Dense"))
    judge = compiled(discriminator, False)
    logits, _ = judge(variables, points(shape), key)
    larger, _ = judge(scaled(variables, 50.0, {last}), points(shape), key)
    factor = 1.0 if getattr(discriminator, "spectral_norm", False) else 50.0  # which divides it away again
    np.testing.assert_allclose(larger, factor * np.asarray(logits), rtol=1e-4, atol=1e-4)


@every_member
@pytest.mark.parametrize("train", [False, True])
def test_the_discriminator_judges_each_example_by_itself(generator, discriminator, shape, bounds, train, key):
    """Batch normalisation or a minibatch layer would make gradient penalties those of another function."""
    without = discriminator.clone(dropout=0.0)
    x, variables = points(shape), initial(discriminator, shape)

    def judge(x):
        return compiled(without, train)(variables, x, key)[0]

    logits = np.asarray(judge(x))
    one_by_one = np.concatenate([judge(x[i : i + 1]) for i in range(B)])
    np.testing.assert_allclose(one_by_one, logits, rtol=1e-4, atol=1e-5)
    order = np.roll(np.arange(B), 2)
    np.testing.assert_allclose(judge(x[order]), logits[order], rtol=1e-4, atol=1e-5)
    others = np.concatenate([x[:1], 5.0 * x[1:]])  # what is beside an example does not count
    np.testing.assert_allclose(judge(others)[0], logits[0], rtol=1e-4, atol=1e-5)
    assert np.abs(judge(others)[1:] - logits[1:]).max() > 1e-2


@every_member
def test_dropout_is_of_the_key_in_training_and_off_otherwise(generator, discriminator, shape, bounds):
    x, variables = points(shape), initial(discriminator, shape)
    keys = [jax.random.key(i) for i in (1, 1, 2)]
    one, same, other = (np.asarray(compiled(discriminator, True)(variables, x, key)[0]) for key in keys)
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
    quiet = [np.asarray(compiled(discriminator, False)(variables, x, key)[0]) for key in keys]
    np.testing.assert_array_equal(quiet[0], quiet[2])
    without = discriminator.clone(dropout=0.0)
    for train in (False, True):
        found, _ = compiled(without, train)(variables, x, keys[2])
        np.testing.assert_allclose(found, quiet[0], rtol=1e-5, atol=1e-6)


@functools.partial(jax.jit, static_argnums=0)
def normal_outputs(module, variables, z):
    """The outputs, in training, of every batch normalisation of a module."""
    _, seen = module.apply(
        variables,
        z,
        train=True,
        mutable=["intermediates", "batch_stats"],
        capture_intermediates=lambda m, _: isinstance(m, nn.BatchNorm),
    )
    return jax.tree.leaves(seen["intermediates"])


@every_member
def test_batch_normalisation_normalises(generator, discriminator, shape, bounds):
    """PyTorch-GAN's DCGAN passes 0.8 as the epsilon (meant as momentum): its variance is not one."""
    variables = initial(generator, (LATENTS,))
    normal = getattr(generator, "norm", False)
    assert ("batch_stats" in variables) == normal
    if not normal:
        return
    # Weights five times as large: the variances that are divided by are then far above any sensible epsilon.
    large = scaled(variables, 5.0, {name for name in variables["params"] if not name.startswith("BatchNorm")})
    outputs = normal_outputs(generator, large, latents(count=256))
    assert len(outputs) == len(generator.widths if isinstance(generator, mlp.Generator) else generator.features)
    for y in map(np.asarray, outputs):
        axes = tuple(range(y.ndim - 1))
        np.testing.assert_allclose(y.mean(axes), np.zeros(y.shape[-1]), atol=1e-4)
        np.testing.assert_allclose(y.std(axes), np.ones(y.shape[-1]), atol=1e-2)


@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_epsilon_is_that_of_the_tutorial(scale):
    """`variance / (variance + 0.001)` is the variance of what comes out, where little goes in."""
    z, variables = scale * latents(count=256), initial(NORMALISED, (LATENTS,))
    first = np.asarray(normal_outputs(NORMALISED, variables, z)[0])
    variance = (z @ np.asarray(variables["params"]["Dense_0"]["kernel"])).var(0)
    np.testing.assert_allclose(first.var(0), variance / (variance + 1e-3), rtol=1e-3)


def test_statistics_move_in_training_and_not_in_sampling(key):
    z, variables = 2.0 + latents(), initial(NORMALISED, (LATENTS,))
    _, kept = compiled(NORMALISED, False)(variables, z, key)
    jax.tree.map(np.testing.assert_array_equal, kept, variables)
    _, moved = compiled(NORMALISED, True)(variables, z, key)
    old, new = (jax.tree.leaves(v["batch_stats"]) for v in (variables, moved))
    assert all((np.asarray(a) != np.asarray(b)).any() for a, b in zip(old, new, strict=True))
    hidden = z @ np.asarray(variables["params"]["Dense_0"]["kernel"])
    first = moved["batch_stats"]["BatchNorm_0"]  # momentum 0.99, from mean 0 and variance 1
    np.testing.assert_allclose(first["mean"], 0.01 * hidden.mean(0), rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(first["var"], 0.99 + 0.01 * hidden.var(0), rtol=1e-4)


def test_samples_do_not_depend_on_their_neighbours(key):
    """Sampling normalises by the running statistics; training, by those of the batch."""
    z, variables = latents(), scaled(initial(NORMALISED, (LATENTS,)), 3.0)
    beside_others = np.concatenate([z[:1], latents(seed=1)[1:]])
    for train in (False, True):
        one, other = (np.asarray(compiled(NORMALISED, train)(variables, v, key)[0][0]) for v in (z, beside_others))
        assert (np.abs(one - other).max() > 1e-2) == train


def count(tree):
    return sum(math.prod(v.shape) for v in jax.tree.leaves(tree))


def test_parameter_counts_of_the_tutorials_dcgan():
    """https://www.tensorflow.org/tutorials/generative/dcgan, from its layers; no biases but those it has."""
    z, x = jax.ShapeDtypeStruct((1, 100), jnp.float32), jax.ShapeDtypeStruct((1, 28, 28, 1), jnp.float32)
    generator = jax.eval_shape(dcgan.Generator().init, jax.random.key(0), z)
    pixels = 7 * 7 * 256
    kernels = 100 * pixels + 5 * 5 * 256 * 128 + 5 * 5 * 128 * 64 + 5 * 5 * 64 * 1
    normalised = pixels + 128 + 64  # channels with a scale and a shift, and a moving mean and variance
    assert 100 * pixels == 1_254_400
    assert count(generator["params"]) == kernels + 2 * normalised == 2_305_472
    assert count(generator["batch_stats"]) == 2 * normalised == 25_472
    assert count(generator) == 2_330_944  # Keras' "total params"
    discriminator = jax.eval_shape(dcgan.Discriminator().init, jax.random.key(0), x)
    first, second, last = 5 * 5 * 1 * 64 + 64, 5 * 5 * 64 * 128 + 128, 7 * 7 * 128 + 1
    assert set(discriminator) == {"params"}
    assert count(discriminator) == first + second + last == 212_865
    made = jax.eval_shape(dcgan.Generator().apply, generator, z)
    assert made.shape == (1, 28, 28, 1)
