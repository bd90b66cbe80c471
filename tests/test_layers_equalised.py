"""Layers of an equalised learning rate and the normalisation of pixels, against NumPy and what they are to do."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan.layers import EqualisedConv, EqualisedDense, EqualisedEnlargedConv, EqualisedHalvedConv, pixel_norm
from jaxgan.layers.equalised import equalised


def numbers(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def convolved(x, kernel):
    """`SAME` cross-correlation of odd kernels, tap by tap."""
    side = kernel.shape[0]
    padded = np.pad(x, [(0, 0), (side // 2,) * 2, (side // 2,) * 2, (0, 0)])
    height, width = x.shape[1:3]
    return sum(padded[:, a : a + height, b : b + width] @ kernel[a, b] for a in range(side) for b in range(side))


def doubled(x):
    return x.repeat(2, axis=1).repeat(2, axis=2)


def halved(x):
    return sum(x[:, a::2, b::2] for a in (0, 1) for b in (0, 1)) / 4


# The layer, its keywords, what it is in NumPy, the shape of an input, and what the fan-in is for 6 inputs.
LAYERS = {
    "dense": (EqualisedDense, {}, lambda x, kernel: x @ kernel, (5, 6), 6),
    "conv": (EqualisedConv, {"kernel_size": 3}, convolved, (2, 4, 6, 6), 54),
    "one": (EqualisedConv, {"kernel_size": 1}, convolved, (2, 4, 6, 6), 6),
    "enlarged": (EqualisedEnlargedConv, {"kernel_size": 3}, lambda x, k: convolved(doubled(x), k), (2, 2, 3, 6), 54),
    "halved": (EqualisedHalvedConv, {"kernel_size": 3}, lambda x, k: halved(convolved(x, k)), (2, 4, 6, 6), 54),
}
every_layer = pytest.mark.parametrize("name", LAYERS)


@every_layer
@pytest.mark.parametrize("gain, rate", [(1.0, 1.0), (2.0**0.5, 0.01)])
def test_values_in_float64(name, gain, rate):
    layer, options, reference, shape, fan_in = LAYERS[name]
    with jax.enable_x64(True):
        x = numbers(0, *shape)
        module = layer(features=3, gain=gain, rate=rate, **options)
        shapes = jax.eval_shape(module.init, jax.random.key(0), x)["params"]
        params = {part: numbers(i, *shapes[part].shape) for i, part in enumerate(["kernel", "bias"])}
        found = jax.jit(module.apply)({"params": params}, x)
        expected = reference(x, params["kernel"] * gain * rate / np.sqrt(fan_in)) + params["bias"] * rate
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)
        plain = layer(features=3, gain=gain, rate=rate, use_bias=False, **options)
        found = jax.jit(plain.apply)({"params": {"kernel": params["kernel"]}}, x)
        np.testing.assert_allclose(found, expected - params["bias"] * rate, rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", ["dense", "conv"])
@pytest.mark.parametrize("gain, rate", [(1.0, 1.0), (2.0, 0.01), (0.5, 3.0)])
def test_at_the_start_the_gain_is_the_spread_of_what_comes_out(name, gain, rate):
    """Whatever the rate; what is kept is N(0, 1) over the rate."""
    layer, options, *_ = LAYERS[name]
    x = numbers(0, *{"dense": (256, 300), "conv": (8, 16, 16, 40)}[name]).astype(np.float32)
    y, variables = jax.jit(layer(features=200, gain=gain, rate=rate, **options).init_with_output)(jax.random.key(1), x)
    inside = y if name == "dense" else y[:, 1:-1, 1:-1]  # beside the border some inputs are zeros of the padding
    np.testing.assert_allclose(inside.std(), gain, rtol=0.02)
    kernel = np.asarray(variables["params"]["kernel"])
    np.testing.assert_allclose(kernel.std() * rate, 1.0, rtol=0.02)
    np.testing.assert_allclose(kernel.mean() * rate, 0.0, atol=0.02)
    assert not variables["params"]["bias"].any()


def test_a_bias_may_start_elsewhere():
    module = EqualisedDense(3, rate=0.01, bias_init=1.0)
    y, variables = module.init_with_output(jax.random.key(0), jnp.zeros((2, 4)))
    np.testing.assert_allclose(y, np.ones((2, 3)), rtol=1e-6)
    np.testing.assert_allclose(variables["params"]["bias"], np.full(3, 100.0), rtol=1e-6)


@pytest.mark.parametrize("rate", [1.0, 0.01])
@pytest.mark.parametrize("inputs", [4, 64])
def test_an_optimiser_moves_layers_of_any_width_by_the_same_share(inputs, rate):
    """Adam's first step moves each number by its learning rate: all kernels by as much of what they are used at."""
    module = EqualisedDense(32, rate=rate)
    x = jnp.asarray(numbers(0, 16, inputs), jnp.float32)
    variables = module.init(jax.random.key(0), x)
    gradient = jax.grad(lambda v: jnp.sum(module.apply(v, x) ** 3))(variables)
    tx = optax.adam(0.1)
    moved = optax.apply_updates(variables, tx.update(gradient, tx.init(variables))[0])
    old, new = (equalised(v["params"]["kernel"], inputs, 1.0, rate) for v in (variables, moved))
    np.testing.assert_allclose(np.abs(new - old), np.full(old.shape, 0.1 * rate / np.sqrt(inputs)), rtol=1e-3)
    bias = np.asarray(module.apply(moved, jnp.zeros((1, inputs))))
    np.testing.assert_allclose(np.abs(bias), np.full((1, 32), 0.1 * rate), rtol=1e-3)


@every_layer
def test_half_precision_in_half_precision_out(name):
    layer, options, _, shape, _ = LAYERS[name]
    x = jnp.asarray(numbers(0, *shape), jnp.float32)
    module = layer(features=3, gain=2.0, rate=0.5, **options)
    wide, variables = module.init_with_output(jax.random.key(0), x)
    narrow = module.apply(jax.tree.map(lambda v: v.astype(jnp.bfloat16), variables), x.astype(jnp.bfloat16))
    assert wide.dtype == jnp.float32 and narrow.dtype == jnp.bfloat16
    np.testing.assert_allclose(narrow.astype(jnp.float32), wide, rtol=0, atol=0.03 * np.abs(wide).max())


@pytest.mark.parametrize("shape", [(4, 7), (2, 3, 5, 7)], ids=str)
def test_pixels_are_normalised_by_themselves(shape):
    x = 10.0 * numbers(0, *shape).astype(np.float32)
    expected = np.zeros(shape)
    for pixel in np.ndindex(shape[:-1]):
        expected[pixel] = x[pixel] / np.sqrt(sum(float(v) ** 2 for v in x[pixel]) / shape[-1] + 1e-8)
    np.testing.assert_allclose(jax.jit(pixel_norm)(x), expected, rtol=1e-5)
    np.testing.assert_allclose((expected**2).mean(-1), np.ones(shape[:-1]), rtol=1e-6)


def test_a_pixel_of_zeros_has_finite_values_and_slopes():
    zeros = jnp.zeros((2, 5))
    assert not pixel_norm(zeros).any()
    np.testing.assert_allclose(jax.grad(lambda x: pixel_norm(x).sum())(zeros), np.full((2, 5), 1e4), rtol=1e-5)


def test_pixels_in_half_precision_are_summed_in_float32():
    """In bfloat16 a sum of ones stops at 256; in float16 the square of 300 is infinite."""
    ones = pixel_norm(jnp.ones((1, 4096), jnp.bfloat16))
    assert ones.dtype == jnp.bfloat16
    np.testing.assert_array_equal(ones.astype(jnp.float32), np.ones((1, 4096)))
    large = pixel_norm(jnp.full((1, 8), 300.0, jnp.float16))
    assert large.dtype == jnp.float16
    np.testing.assert_allclose(large, np.ones((1, 8)), rtol=1e-3)
