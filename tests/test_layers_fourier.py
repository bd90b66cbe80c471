"""Convolutions through Fourier transforms against `jax.lax`, and where they are taken."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.layers import convolve, fourier

# Padding, image, kernel: SAME, odd and even, none, cropping, beyond the kernel, kernels larger than the image.
CASES = [
    (((2, 2), (2, 2)), (7, 7), (5, 5)),
    (((1, 1), (0, 1)), (8, 5), (3, 2)),
    (((0, 0), (0, 0)), (4, 5), (4, 5)),
    (((4, 1), (0, 3)), (5, 6), (3, 2)),
    (((-1, 0), (1, -1)), (5, 6), (3, 2)),
    (((-2, -1), (0, 0)), (9, 9), (2, 2)),
    (((9, 9), (3, 3)), (2, 3), (4, 2)),
]
every_case = pytest.mark.parametrize("padding, image, kernel", CASES)


def numbers(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def textbook(padding):
    return lambda x, kernel: jax.lax.conv_general_dilated(
        x, kernel, (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


@every_case
def test_the_three_maps_in_float64(padding, image, kernel):
    with jax.enable_x64(True):
        x, k = jnp.asarray(numbers(0, 2, *image, 3)), jnp.asarray(numbers(1, *kernel, 3, 4))
        y, pull = jax.vjp(textbook(padding), x, k)
        dy = jnp.asarray(numbers(2, *y.shape))
        dx, dk = pull(dy)
        found = (
            fourier.convolve(padding, x, k),
            fourier.input_gradient(padding, k, dy),
            fourier.kernel_gradient(padding, x, dy),
        )
        for ours, reference in zip(found, (y, dx, dk), strict=True):
            assert ours.shape == reference.shape and ours.dtype == jnp.float64
            np.testing.assert_allclose(ours, reference, rtol=1e-11, atol=1e-12)


@every_case
def test_products_are_fewer_than_in_the_definition(padding, image, kernel):
    """And no more than 1.5 for each pixel of the period, which is what three products for a pair come to."""
    matrices = fourier.transforms(padding, image, kernel)
    period = [
        max(h, h + low, out + k - 1 - low)
        for h, k, out, (low, _) in zip(image, kernel, fourier.output_size(padding, image, kernel), padding, strict=True)
    ]
    assert len(matrices.image) <= 1.5 * np.prod(period)
    assert matrices.image.shape[1] == np.prod(image) and matrices.kernel.shape[1] == np.prod(kernel)


def test_float32_keeps_its_digits():
    """The transforms are of waves of size one: the error stays that of sums in float32."""
    padding, x, k = ((2, 2), (2, 2)), numbers(0, 8, 7, 7, 64), numbers(1, 5, 5, 64, 32)
    with jax.enable_x64(True):
        exact = np.asarray(textbook(padding)(jnp.asarray(x), jnp.asarray(k)))
    ours = fourier.convolve(padding, jnp.float32(x), jnp.float32(k))
    assert ours.dtype == jnp.float32
    assert np.abs(ours - exact).max() < 3e-6 * np.abs(exact).max()


WIDE = (((2, 2), (2, 2)), (7, 7), (5, 5, 32, 32), 64)


@pytest.mark.parametrize(
    "shape, pays",
    [
        (WIDE, True),
        ((((1, 1), (1, 1)), (4, 4), (3, 3, 256, 256), 64), True),
        ((((1, 1), (1, 1)), (7, 7), (3, 3, 256, 256), 4), False),
        ((((1, 1), (1, 1)), (16, 16), (3, 3, 64, 64), 64), False),
        ((((2, 2), (2, 2)), (7, 7), (5, 5, 1, 64), 64), False),
        ((((2, 2), (2, 2)), (28, 28), (5, 5, 256, 256), 64), False),
        ((((0, 0), (0, 0)), (7, 7), (1, 1, 256, 256), 64), False),
        ((((0, 0), (0, 0)), (2, 2), (3, 3, 64, 64), 64), False),
    ],
)
def test_where_it_pays(shape, pays):
    assert fourier.pays(*shape) is pays


def lowered(dtype, platform):
    """The program of a convolution that pays, with both gradients, as it goes to a platform's compiler."""
    padding, image, kernel, batch = WIDE
    x, k = jax.ShapeDtypeStruct((batch, *image, kernel[2]), dtype), jax.ShapeDtypeStruct(kernel, dtype)

    def objective(x, k):
        return jnp.sum(jnp.sin(convolve(padding, x, k).astype(jnp.float32)))

    traced = jax.jit(jax.grad(objective, (0, 1))).trace(x, k)
    return traced.lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize(
    "dtype, platform, convolutions", [("float32", "cpu", 0), ("float32", "cuda", 3), ("bfloat16", "cpu", 3)]
)
def test_only_a_cpu_takes_it_and_only_for_wide_floats(dtype, platform, convolutions):
    assert len(re.findall(r"stablehlo\.convolution", lowered(dtype, platform))) == convolutions


def test_second_derivatives_and_populations_where_it_is_taken():
    """A gradient penalty over two kernels at once, against the textbook's."""
    padding, image, kernel, batch = WIDE
    with jax.enable_x64(True):
        x, k = jnp.asarray(numbers(0, batch, *image, kernel[2])), jnp.asarray(0.1 * numbers(1, 2, *kernel))

        def penalty(convolution):
            def slope(k):
                return jnp.sum(jax.grad(lambda x: jnp.sum(jnp.sin(convolution(x, k))))(x) ** 2)

            return jax.jit(jax.vmap(jax.grad(slope)))

        ours, reference = penalty(lambda x, k: convolve(padding, x, k))(k), penalty(textbook(padding))(k)
        assert np.abs(reference).max() > 1e-3
        np.testing.assert_allclose(ours, reference, rtol=1e-9, atol=1e-10)
