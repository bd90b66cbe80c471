"""Convolutions against the textbook definition of `jax.lax`, and the guard of their speed, which times nothing."""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan import lift, losses, penalties
from jaxgan.gan import make_gan
from jaxgan.latents import normal_latents
from jaxgan.layers import (
    Conv,
    ConvTranspose,
    convolve,
    depth_to_space,
    enlarge,
    enlarged_convolve,
    halve,
    halved_convolve,
    space_to_depth,
    strided_convolve,
    transposed_convolve,
)
from jaxgan.network import flax_network
from jaxgan.networks import dcgan

STRIDES = [1, 2, 3, 4]
# Height and width differ in every case, so that each checks two sizes and an exchange of the two directions shows:
# odd and even, kernels of both kinds, kernels larger than the image, smaller than the stride, images below a stride.
SIZES = [(8, 7), (5, 9), (2, 1)]
KERNELS = [(1, 2), (3, 4), (5, 3)]


def lax_strided(x, kernel, stride):
    return jax.lax.conv_general_dilated(x, kernel, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def lax_transposed(x, kernel, stride):
    """The transpose of the linear map `u -> lax_strided(u, kernel with channels exchanged)`."""
    batch, height, width, _ = x.shape
    u = jnp.zeros((batch, height * stride, width * stride, kernel.shape[3]), x.dtype)
    _, pull = jax.vjp(lambda u: lax_strided(u, kernel.swapaxes(2, 3), stride), u)
    return pull(x)[0]


BOTH = {"strided": (strided_convolve, lax_strided), "transposed": (transposed_convolve, lax_transposed)}
every_convolution = pytest.mark.parametrize("name", BOTH)


def numbers(seed, *shape, dtype=np.float64):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape).astype(dtype))


@every_convolution
@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("kernel_size", KERNELS)
def test_values_in_float64(name, kernel_size, stride):
    with jax.enable_x64(True):
        inputs = [numbers(i, 2, *size, 3) for i, size in enumerate(SIZES)]
        kernel = numbers(9, *kernel_size, 3, 2)
        ours, reference = (
            jax.jit(lambda inputs, kernel, f=f: [f(x, kernel, stride) for x in inputs])(inputs, kernel)
            for f in BOTH[name]
        )
        for found, expected in zip(ours, reference, strict=True):
            assert found.shape == expected.shape
            assert found.dtype == jnp.float64
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)


@every_convolution
@pytest.mark.parametrize("kernel_size, stride", [((3, 3), 1), ((5, 4), 2), ((1, 2), 2), ((2, 5), 3)])
def test_first_and_second_derivatives_in_float64(name, kernel_size, stride):
    """The objective of a critic with a gradient penalty; both its gradients, and the penalty's own."""
    with jax.enable_x64(True):
        x, kernel = numbers(0, 2, 7, 6, 3), numbers(1, *kernel_size, 3, 2)

        def all_of(convolution):
            def critic(x, kernel):
                return jnp.sum(jnp.tanh(convolution(x, kernel, stride)))

            def penalty(x, kernel):
                return jnp.sum(jax.grad(critic)(x, kernel) ** 2)

            return lambda x, kernel: [jax.grad(f, (0, 1))(x, kernel) for f in (critic, penalty)]

        ours, reference = (jax.jit(all_of(convolution))(x, kernel) for convolution in BOTH[name])
        for found, expected in zip(jax.tree.leaves(ours), jax.tree.leaves(reference), strict=True):
            assert np.abs(expected).max() > 1e-3  # the comparison is not one of zeros
            np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


PADDINGS = [((4, 1), (0, 3)), ((-1, 0), (1, -1))]


@pytest.mark.parametrize("padding", PADDINGS)
def test_third_derivatives_with_any_padding(padding):
    """Padding beyond the kernel and negative padding (cropping) too: a gradient of a gradient meets both."""
    with jax.enable_x64(True):
        x, kernel = numbers(0, 2, 5, 6, 2), numbers(1, 3, 2, 2, 2)

        def third(convolution):
            def value(x, kernel):
                return jnp.sum(jnp.sin(convolution(x, kernel)))

            def slope(x, kernel):
                return jnp.sum(jnp.sin(jax.grad(value, 1)(x, kernel)))

            return jax.grad(lambda x, kernel: jnp.sum(jax.grad(slope)(x, kernel) ** 2), (0, 1))

        def reference(x, kernel):
            return jax.lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))

        ours = jax.jit(third(lambda x, kernel: convolve(padding, x, kernel)))(x, kernel)
        for found, expected in zip(ours, jax.jit(third(reference))(x, kernel), strict=True):
            assert np.abs(expected).max() > 1e-3
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)


def test_forward_mode_is_refused_and_not_wrong():
    x, kernel = jnp.ones((1, 3, 3, 1)), jnp.ones((3, 3, 1, 1))
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(lambda x: strided_convolve(x, kernel, 1), (x,), (x,))


def looped(f, x_axis, kernel_axis):
    """`jax.vmap(f, (x_axis, kernel_axis))` as a loop."""

    def run(x, kernel):
        size = x.shape[x_axis] if x_axis is not None else kernel.shape[kernel_axis]
        at = lambda v, axis, i: v if axis is None else jnp.take(v, i, axis)  # noqa: E731
        return jax.tree.map(
            lambda *v: jnp.stack(v), *[f(at(x, x_axis, i), at(kernel, kernel_axis, i)) for i in range(size)]
        )

    return run


# Axes of each `vmap`, the outermost first: (of the input, of the kernel).
MAPS = {
    "kernels": [(None, 0)],
    "inputs": [(0, None)],
    "both": [(2, 1)],
    "kernels of inputs": [(0, None), (None, 0)],
    "both of kernels": [(None, 0), (0, 0)],
}


@pytest.mark.parametrize(
    "name, maps",
    [("strided", maps) for maps in MAPS.values()] + [("transposed", MAPS["both"])],
    ids=[*MAPS, "transposed"],
)
def test_vmap_is_a_loop(name, maps):
    """Values, gradients inside the map (a population's) and outside it (a sum over a population)."""
    x_shape, kernel_shape = [2, 4, 5, 2], [3, 3, 2, 2]
    for size, (x_axis, kernel_axis) in zip((2, 3), reversed(maps), strict=False):
        if x_axis is not None:
            x_shape.insert(x_axis, size)
        if kernel_axis is not None:
            kernel_shape.insert(kernel_axis, size)
    x, kernel = numbers(0, *x_shape, dtype=np.float32), numbers(1, *kernel_shape, dtype=np.float32)

    def one(x, kernel):
        return BOTH[name][0](x, kernel, 2)

    def with_gradients(x, kernel):
        def objective(x, kernel):
            y = one(x, kernel)
            return jnp.sum(jnp.sin(y)), y

        return jax.value_and_grad(objective, (0, 1), has_aux=True)(x, kernel)

    def nest(mapped, f):
        for axes in reversed(maps):
            f = mapped(f, *axes)
        return f

    def vmap(f, *axes):
        return jax.vmap(f, axes)

    def summed(mapped):
        return jax.grad(lambda x, kernel: jnp.sum(jnp.sin(nest(mapped, one)(x, kernel))), (0, 1))

    ours = jax.jit(lambda *a: (nest(vmap, with_gradients)(*a), summed(vmap)(*a)))(x, kernel)
    loop = jax.jit(lambda *a: (nest(looped, with_gradients)(*a), summed(looped)(*a)))(x, kernel)
    for found, expected in zip(jax.tree.leaves(ours), jax.tree.leaves(loop), strict=True):
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kernel_size", [(3, 3), (1, 5), (5, 3)])
def test_enlarged_and_halved_convolutions_are_the_two_in_turn(kernel_size):
    with jax.enable_x64(True):
        x, kernel = numbers(0, 2, 6, 8, 3), numbers(1, *kernel_size, 3, 4)
        enlarged = jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)
        np.testing.assert_allclose(
            enlarged_convolve(x, kernel), lax_strided(enlarged, kernel, 1), rtol=1e-12, atol=1e-13
        )
        halved = lax_strided(x, kernel, 1).reshape(2, 3, 2, 4, 2, 4).mean((2, 4))
        np.testing.assert_allclose(halved_convolve(x, kernel), halved, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    "function, size, products",
    [(strided_convolve, 8, 4 * 16), (transposed_convolve, 8, 4 * 81)],
)
def test_a_kernel_of_four_and_a_stride_of_two_waste_nothing(function, size, products):
    """Blocks that did not begin where the padding does would be three wide instead of two: 9 products, not 4."""
    x, kernel = jnp.zeros((1, size, size, 1)), jnp.zeros((4, 4, 1, 1))
    flops = jax.jit(lambda x, kernel: function(x, kernel, 2)).lower(x, kernel).cost_analysis()["flops"]
    assert flops <= 2 * 4 * products + 200  # four channels, or features, of each block


@pytest.mark.parametrize("block", [1, 2, 3])
def test_space_to_depth_and_back(block):
    x = jnp.arange(2 * 6 * 12 * 5).reshape(2, 6, 12, 5)
    deep = space_to_depth(x, block)
    assert deep.shape == (2, 6 // block, 12 // block, 5 * block**2)
    np.testing.assert_array_equal(depth_to_space(deep, block), x)
    # Row a, column b of a block are the channels from (a * block + b) * C on.
    a, b = block - 1, block // 2
    first = (a * block + b) * 5
    np.testing.assert_array_equal(deep[1, 1, 2, first : first + 5], x[1, block + a, 2 * block + b])


LAYERS = [
    (Conv, 1, (2, 5, 7, 4)),
    (Conv, 2, (2, 3, 4, 4)),
    (Conv, 3, (2, 2, 3, 4)),
    (ConvTranspose, 1, (2, 5, 7, 4)),
    (ConvTranspose, 2, (2, 10, 14, 4)),
    (ConvTranspose, 3, (2, 15, 21, 4)),
]


@pytest.mark.parametrize(
    "layer, stride, shape, use_bias", [(*row, True) for row in LAYERS] + [(*row, False) for row in LAYERS[1::3]]
)
def test_modules(layer, stride, shape, use_bias, key):
    """Shapes, parameters, and that the bias is added to each channel of the function's result."""
    x = numbers(0, 2, 5, 7, 3, dtype=np.float32)
    module = layer(4, 3, stride, use_bias=use_bias)
    shapes = {"kernel": (3, 3, 3, 4)} | ({"bias": (4,)} if use_bias else {})
    made = jax.eval_shape(module.init, key, x)["params"]
    assert {name: v.shape for name, v in made.items()} == shapes
    params = {name: numbers(i, *made[name].shape, dtype=np.float32) for i, name in enumerate(shapes)}
    function = strided_convolve if layer is Conv else transposed_convolve
    plain, y = jax.jit(lambda params, x: (function(x, params["kernel"], stride), module.apply({"params": params}, x)))(
        params, x
    )
    assert y.shape == shape
    bias = np.asarray(params["bias"]) if use_bias else 0
    np.testing.assert_allclose(y, np.asarray(plain) + bias, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layer", [Conv, ConvTranspose])
def test_initial_values(layer, key):
    """The kernel is initialised in its textbook shape, before blocks are made of it: variance 1 / (9 * 64)."""
    params = jax.jit(layer(128, 3, 2).init)(key, jnp.zeros((1, 4, 4, 64)))["params"]
    np.testing.assert_array_equal(params["bias"], np.zeros(128))
    np.testing.assert_allclose(np.std(params["kernel"]) * np.sqrt(9 * 64), 1.0, atol=0.02)


def game():
    """A DCGAN with R1: second derivatives of strided convolutions, first ones of transposed ones."""
    return make_gan(
        flax_network(dcgan.Generator(start=4, features=(8, 8, 4), strides=(1, 2, 2), kernel_size=3)),
        flax_network(dcgan.Discriminator(features=(4, 8), kernel_size=3)),
        losses.non_saturating,
        generator_tx=optax.sgd(0.1),
        discriminator_tx=optax.sgd(0.1),
        latent=normal_latents(4),
        discriminator_penalty=lambda key, step, critic, real, fake: penalties.gradient_squared_norm(critic, real),
    )


def shapes_of(gan):
    """Key, state and batch of a step, as shapes."""
    key = jax.eval_shape(lambda: jax.random.key(0))
    batch = {"x": jax.ShapeDtypeStruct((8, 16, 16, 1), jnp.float32)}
    return key, jax.eval_shape(gan.init, key, batch), batch


def stacked(count, tree):
    return jax.tree.map(lambda v: jax.ShapeDtypeStruct((count, *v.shape), v.dtype), tree)


def odd_convolutions(hlo):
    """The convolutions of a program and those that XLA's CPU backend would run by its naive loop."""
    found = [line for line in hlo.splitlines() if re.search(r"\bconvolution\(", line)]
    odd = [
        line
        for line in found
        if "dim_labels=b01f_01io->b01f" not in line
        or re.search(r"lhs_dilate|rhs_dilate|rhs_reversal|feature_group_count|batch_group_count", line)
    ]
    return found, odd


def test_every_convolution_of_a_training_scan_is_canonical():
    """Others are up to 66 times slower inside a loop on a CPU."""
    gan = game()
    key, state, batch = shapes_of(gan)
    program = jax.jit(lift.scan(gan.step)).lower(key, state, stacked(3, batch)).compile()
    found, odd = odd_convolutions(program.as_text())
    assert len(found) > 15  # at least the forward and the two gradients of five layers
    assert not odd, odd


@pytest.mark.parametrize("layer, fast", [(nn.Conv(4, (3, 3), strides=2), False), (Conv(4, 3, 2), True)])
def test_the_guard_finds_what_flax_makes_of_a_strided_convolution(layer, fast):
    x = jax.ShapeDtypeStruct((3, 8, 16, 16, 2), jnp.float32)
    params = jax.eval_shape(layer.init, jax.random.key(0), jax.ShapeDtypeStruct(x.shape[1:], x.dtype))

    def train(params, xs):
        def step(params, x):
            slopes, dx = jax.grad(lambda params, x: jnp.sum(layer.apply(params, x) ** 2), (0, 1))(params, x)
            return jax.tree.map(lambda p, slope: p - 0.1 * slope, params, slopes), dx

        return jax.lax.scan(step, params, xs)

    found, odd = odd_convolutions(jax.jit(train).lower(params, x).compile().as_text())
    assert len(found) == 3  # forward, and the gradients of the kernel and of the input
    assert len(odd) == (0 if fast else 2)


def test_a_population_of_kernels_is_no_grouped_convolution():
    """`vmap` over kernels is a grouped convolution otherwise: five times slower than its members in turn."""
    gan = game()
    key, state, batch = shapes_of(gan)

    def groups(f, *args):
        text = jax.jit(f).lower(*args).as_text()
        return {int(n) for n in re.findall(r"feature_group_count = (\d+)", text)}

    assert groups(lift.population(gan.step), stacked(2, key), stacked(2, state), batch) == {1}
    x, kernels = jnp.zeros((2, 1, 4, 4, 1)), jnp.zeros((2, 3, 3, 1, 4))
    assert groups(jax.vmap(lambda x, k: lax_strided(x, k, 1)), x, kernels) == {2}  # what the test would find


def test_enlarging_and_halving():
    x = jnp.arange(8.0).reshape(1, 2, 2, 2)
    large = enlarge(x)
    np.testing.assert_array_equal(large, np.repeat(np.repeat(x, 2, axis=1), 2, axis=2))
    np.testing.assert_array_equal(halve(large), x)
    np.testing.assert_array_equal(halve(x), np.mean(x, (1, 2), keepdims=True))
