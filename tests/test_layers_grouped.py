"""Grouped convolution against `jax.lax`'s own, its derivatives, and which form a platform runs."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from jaxgan.layers.grouped import GroupedConv, grouped_convolve


def numbers(seed, *shape, dtype=np.float64):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape).astype(dtype))


def lax_grouped(x, kernel, groups):
    numbers_of = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=numbers_of, feature_group_count=groups
    )


# Groups, channels and features of each, kernel: one group, several, depthwise, and even kernels; sides that differ.
CASES = [(1, 3, 2, (3, 3)), (4, 3, 2, (3, 5)), (3, 1, 1, (3, 3)), (2, 2, 3, (2, 4)), (6, 2, 2, (1, 1))]


@pytest.mark.parametrize("groups, channels, features, kernel_size", CASES)
def test_values_and_derivatives_in_float64(groups, channels, features, kernel_size):
    """The value, the gradients of a critic, and those of its gradient penalty."""
    with jax.enable_x64(True):
        x = numbers(0, 2, 5, 7, groups * channels)
        kernel = numbers(1, *kernel_size, channels, groups * features)

        def all_of(convolution):
            def critic(x, kernel):
                return jnp.sum(jnp.tanh(convolution(x, kernel, groups)))

            def penalty(x, kernel):
                return jnp.sum(jax.grad(critic)(x, kernel) ** 2)

            def derivatives(x, kernel):
                return convolution(x, kernel, groups), [jax.grad(f, (0, 1))(x, kernel) for f in (critic, penalty)]

            return jax.jit(derivatives)(x, kernel)

        for found, expected in zip(*map(jax.tree.leaves, map(all_of, (grouped_convolve, lax_grouped))), strict=True):
            assert found.shape == expected.shape and np.abs(expected).max() > 1e-3
            np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


def test_a_group_sees_its_own_channels_alone():
    x, kernel = numbers(0, 1, 4, 4, 6, dtype=np.float32), numbers(1, 3, 3, 2, 9, dtype=np.float32)
    before = np.asarray(grouped_convolve(x, kernel, 3))
    after = np.asarray(grouped_convolve(x.at[..., 2:4].add(1.0), kernel, 3))
    changed = (before != after).any((0, 1, 2))
    np.testing.assert_array_equal(changed, [False] * 3 + [True] * 3 + [False] * 3)


def test_vmap_over_kernels_is_a_loop():
    """A population's members have kernels of their own."""
    x, kernels = numbers(0, 3, 2, 4, 5, 4, dtype=np.float32), numbers(1, 3, 3, 3, 2, 4, dtype=np.float32)

    def slope(x, kernel):
        return jax.grad(lambda kernel: jnp.sum(jnp.sin(grouped_convolve(x, kernel, 2))))(kernel)

    mapped = jax.jit(jax.vmap(slope))(x, kernels)
    for member, found in enumerate(mapped):
        np.testing.assert_allclose(found, jax.jit(slope)(x[member], kernels[member]), rtol=1e-4, atol=1e-5)


def penalty_slope(x, kernel):
    def penalty(kernel):
        return jnp.sum(jax.grad(lambda x: jnp.sum(jnp.tanh(grouped_convolve(x, kernel, 4))))(x) ** 2)

    return jax.grad(penalty)(kernel)


SHAPES = jax.ShapeDtypeStruct((8, 20, 20, 64), jnp.float32), jax.ShapeDtypeStruct((3, 3, 16, 64), jnp.float32)


def test_a_cpu_never_runs_xlas_grouped_convolution():
    """Which takes it tens of times as long, derivatives above all; here 20 pixels, where our plain form is chosen."""
    program = jax.jit(penalty_slope).lower(*SHAPES).compile().as_text()
    assert len(re.findall(r"\bconvolution\(", program)) >= 3
    assert not re.search(r"feature_group_count=|batch_group_count=", program)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_other_platforms_run_one_convolution_for_all_groups(platform):
    program = export.export(jax.jit(lambda x, k: grouped_convolve(x, k, 4)), platforms=[platform])(*SHAPES)
    found = re.findall(r"feature_group_count = (\d+)", program.mlir_module())
    assert found == ["4"]


def test_the_layer(key):
    """Shapes, and variance 1 / (9 * 16): the fan-in is that of a group."""
    layer = GroupedConv(128, 3, 8)
    params = jax.jit(layer.init)(key, jnp.zeros((1, 3, 3, 128)))["params"]
    assert jax.tree.map(jnp.shape, params) == {"kernel": (3, 3, 16, 128), "bias": (128,)}
    np.testing.assert_allclose(np.std(params["kernel"]) * 12, 1.0, atol=0.02)
    x, params = numbers(0, 2, 4, 5, 128, dtype=np.float32), {**params, "bias": numbers(1, 128, dtype=np.float32)}
    expected = lax_grouped(x, params["kernel"], 8) + params["bias"][None, None, None]
    np.testing.assert_allclose(layer.apply({"params": params}, x), expected, rtol=1e-4, atol=1e-5)
    assert set(GroupedConv(128, 3, 8, use_bias=False).init(key, x)["params"]) == {"kernel"}


def test_bfloat16_stays_bfloat16():
    x, kernel = numbers(0, 2, 5, 5, 32, dtype=np.float32), numbers(1, 3, 3, 16, 32, dtype=np.float32)
    narrow = grouped_convolve(x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16), 2)
    assert narrow.dtype == jnp.bfloat16
    np.testing.assert_allclose(narrow.astype(np.float32), lax_grouped(x, kernel, 2), atol=0.15)


@pytest.mark.parametrize("channels, inputs, features", [(6, 1, 8), (8, 2, 6), (8, 8, 8)])
def test_groups_that_do_not_divide_are_refused(channels, inputs, features):
    with pytest.raises(ValueError, match="4 groups: expected channels and features that they divide"):
        grouped_convolve(jnp.zeros((1, 3, 3, channels)), jnp.zeros((3, 3, inputs, features)), 4)
