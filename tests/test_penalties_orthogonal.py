"""Orthogonal regularisation against NumPy, kernel by kernel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.layers import Conv
from jaxgan.penalties import orthogonality


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("diagonal", [True, False])
def test_the_sum_over_kernels_of_every_rank(diagonal):
    """Biases and scales are left out; filters are the columns of `[..., out]`."""
    kernels = {"dense": normal(5, 3), "conv": normal(3, 3, 2, 4, seed=1), "wide": normal(2, 6, seed=2)}
    expected = 0.0
    for kernel in kernels.values():
        filters = kernel.reshape(-1, kernel.shape[-1])
        for i, a in enumerate(filters.T):
            for j, b in enumerate(filters.T):
                if i != j:
                    expected += (a @ b) ** 2
                elif diagonal:
                    expected += (a @ a - 1) ** 2
    params = {name: {"kernel": kernel, "bias": normal(kernel.shape[-1])} for name, kernel in kernels.items()}
    with jax.enable_x64(True):
        found = jax.jit(lambda params: orthogonality({**params, "scale": jnp.ones(())}, diagonal=diagonal))(params)
        assert found.shape == () and found.dtype == jnp.float64
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_orthonormal_filters_cost_nothing_and_longer_ones_only_with_the_diagonal():
    filters = np.linalg.qr(normal(18, 4))[0].reshape(3, 3, 2, 4).astype(np.float32)
    np.testing.assert_allclose(orthogonality(filters), 0.0, atol=1e-10)
    np.testing.assert_allclose(orthogonality(2 * filters), 4 * (4 - 1) ** 2, rtol=1e-5)
    np.testing.assert_allclose(orthogonality(2 * filters, diagonal=False), 0.0, atol=1e-8)


def test_descent_makes_the_filters_of_a_layer_orthonormal(key):
    params = Conv(4, 3).init(key, jnp.zeros((1, 4, 4, 2)))["params"]
    descend = jax.jit(lambda params: jax.tree.map(lambda p, g: p - 0.05 * g, params, jax.grad(orthogonality)(params)))
    for _ in range(200):
        params = descend(params)
    np.testing.assert_allclose(np.linalg.svd(params["kernel"].reshape(-1, 4))[1], np.ones(4), atol=1e-3)
    np.testing.assert_array_equal(params["bias"], np.zeros(4))


def test_half_precision_is_accumulated_in_float32_and_nothing_is_zero():
    # the squared length of a column of 1,024 ones: a bfloat16 sum stops growing at 256
    found = orthogonality({"kernel": jnp.ones((1024, 1), jnp.bfloat16)})
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found, 1023.0**2)
    np.testing.assert_array_equal(orthogonality({"bias": jnp.ones(3)}), 0.0)
