"""Orthogonal regularisation of kernels: filters of unit length, at right angles to one another."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxgan.penalties.examples import widened

PyTree = Any


def orthogonality(params: PyTree, *, diagonal: bool = True) -> jax.Array:
    """How far the filters of all kernels are from orthonormal, or from orthogonal.

    `sum_W |W^T W - I|^2`, or `sum_W |W^T W * (1 - I)|^2` without the diagonal, which leaves the lengths of filters free
    (BigGAN's, with the weight 1e-4); squared Frobenius norms. The columns of W are a kernel's filters: `[..., in, out]`
    becomes `[..., out]` by reshaping. A kernel with more filters than they have entries cannot reach zero.

    One number for a network, not one per example: it is of the parameters alone.

    >>> orthogonality({"kernel": 2.0 * jnp.eye(3), "bias": jnp.ones(3)})
    Array(27., dtype=float32)
    >>> orthogonality({"kernel": 2.0 * jnp.eye(3)}, diagonal=False)
    Array(0., dtype=float32)

    Args:
      params: pytree of arrays; those of fewer than two dimensions (biases, scales) are left out.
      diagonal: whether the lengths of filters count too.

    Returns:
      The penalty, a scalar, float32 or wider.

    References:
      Brock et al., Neural Photo Editing with Introspective Adversarial Networks,
      https://arxiv.org/abs/1609.07093, 2017.
      Brock et al., Large Scale GAN Training for High Fidelity Natural Image Synthesis,
      https://arxiv.org/abs/1809.11096, 2019, Eq. 3.
    """

    def of_kernel(kernel: jax.Array) -> jax.Array:
        filters = widened(kernel).reshape(-1, kernel.shape[-1])
        # In full precision: an accelerator's default rounds the products to fewer digits than float32 has.
        products = jnp.matmul(filters.T, filters, precision=jax.lax.Precision.HIGHEST)
        unit = jnp.eye(products.shape[0], dtype=products.dtype)
        return jnp.sum((products - unit if diagonal else products * (1.0 - unit)) ** 2)

    kernels = [leaf for leaf in jax.tree.leaves(params) if jnp.ndim(leaf) >= 2]
    return sum((of_kernel(kernel) for kernel in kernels), start=jnp.zeros(()))
