"""The dense layer's product against numpy's and jax's own, and where it is taken apart."""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.layers import dense
from jaxgan.layers.dense import Dense, multiply

# Thin in columns, in rows, in both, and in neither.
KERNELS = [(7, 2), (6, 4), (2, 7), (4, 6), (3, 3), (7, 1)]
every_kernel = pytest.mark.parametrize("size", KERNELS, ids=str)


def numbers(seed, *shape, dtype=np.float64):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def check(ours, reference, *arguments, tolerance=1e-14):
    """Leaf by leaf, relative to the largest number of each."""
    ours, reference = (jax.tree.leaves(jax.jit(f)(*arguments)) for f in (ours, reference))
    for found, expected in zip(ours, reference, strict=True):
        assert found.shape == expected.shape
        assert found.dtype == expected.dtype
        largest = np.abs(expected).max()
        assert largest > 1e-3  # the comparison is not one of zeros
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * largest)


@every_kernel
def test_values_with_any_leading_axes(size):
    with jax.enable_x64(True):
        kernel = numbers(1, *size)
        for leading in [(), (5,), (3, 2)]:
            x = numbers(0, *leading, size[0])
            np.testing.assert_allclose(multiply(jnp.asarray(x), jnp.asarray(kernel)), x @ kernel, rtol=0, atol=1e-14)


@every_kernel
def test_derivatives_of_first_and_second_order_in_every_mode(size):
    """Reverse over reverse (a critic's gradient penalty), forward over reverse, forward alone."""

    def all_of(product):
        def critic(x, kernel):
            return jnp.sum(jnp.tanh(product(x, kernel)))

        def penalty(x, kernel):
            return jnp.sum(jax.grad(critic)(x, kernel) ** 2)

        def derivatives(x, kernel):
            return [
                *(jax.grad(f, (0, 1))(x, kernel) for f in (critic, penalty)),
                jax.hessian(critic, (0, 1))(x, kernel),
                jax.jvp(product, (x, kernel), (jnp.sin(x), jnp.cos(kernel))),
            ]

        return derivatives

    with jax.enable_x64(True):
        check(all_of(multiply), all_of(jnp.matmul), numbers(0, 5, size[0]), numbers(1, *size), tolerance=1e-13)


@every_kernel
@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0)], ids=["inputs", "kernels", "both"])
def test_populations(size, axes):
    """Values and gradients, `vmap` outside."""

    def of(product):
        def loss(x, kernel):
            return jnp.sum(jnp.sin(product(x, kernel)))

        return jax.vmap(lambda x, kernel: (product(x, kernel), jax.grad(loss, (0, 1))(x, kernel)), axes)

    x, kernel = numbers(0, 3, 5, size[0]), numbers(1, 3, *size)
    with jax.enable_x64(True):
        check(
            of(multiply), of(jnp.matmul), *(v if axis == 0 else v[0] for v, axis in zip((x, kernel), axes, strict=True))
        )


@pytest.mark.parametrize("size", [(128, 2), (2, 128)], ids=str)
def test_float32_at_a_step_s_sizes(size):
    """Against sums in float64."""
    x, kernel, dy = (numbers(i, *s, dtype=np.float32) for i, s in enumerate([(512, size[0]), size, (512, size[1])]))
    y, pull = jax.vjp(multiply, jnp.asarray(x), jnp.asarray(kernel))
    wide = [v.astype(np.float64) for v in (x, kernel, dy)]
    expected = wide[0] @ wide[1], wide[2] @ wide[1].T, wide[0].T @ wide[2]
    for found, exact in zip((y, *pull(jnp.asarray(dy))), expected, strict=True):
        assert found.dtype == jnp.float32
        np.testing.assert_allclose(found, exact, rtol=0, atol=1e-6 * np.abs(exact).max())


@pytest.mark.parametrize(
    "size, dtype, platform, count",
    [
        ((7, dense.THIN), "float32", "cpu", dense.THIN),
        ((2, 7), "float32", "cpu", 2),
        ((7, 2), "float64", "cpu", 2),
        ((7, dense.THIN + 1), "float32", "cpu", 1),
        ((7, 1), "float32", "cpu", 1),
        ((7, 2), "bfloat16", "cpu", 1),
        ((2, 7), "bfloat16", "cpu", 1),
        ((7, 2), "float32", "cuda", 1),
        ((2, 7), "float32", "tpu", 1),
    ],
)
def test_only_a_cpu_takes_apart_and_only_thin_kernels_of_wide_floats(size, dtype, platform, count):
    with jax.enable_x64(True):
        x, kernel = jax.ShapeDtypeStruct((5, size[0]), dtype), jax.ShapeDtypeStruct(size, dtype)
        program = jax.jit(multiply).trace(x, kernel).lower(lowering_platforms=(platform,)).as_text()
    assert len(re.findall(r"stablehlo\.dot_general", program)) == count


@every_kernel
def test_the_layer_is_flax_s(size, key):
    x = jnp.asarray(numbers(0, 5, size[0], dtype=np.float32))
    params = jax.jit(Dense(size[1]).init)(key, x)
    reference = nn.Dense(size[1])
    jax.tree.map(np.testing.assert_array_equal, params, jax.jit(reference.init)(key, x))
    params = jax.tree.map(lambda v: v + 0.5, params)
    np.testing.assert_allclose(Dense(size[1]).apply(params, x), reference.apply(params, x), rtol=1e-6, atol=1e-6)
