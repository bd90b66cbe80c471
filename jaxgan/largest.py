"""The largest of some numbers, with a gradient that rounding cannot take away."""

import jax
import jax.numpy as jnp


def largest(x: jax.Array) -> jax.Array:
    """The maximum over the last axis; its gradient goes to the first entry that is as large.

    The gradient of `jax.numpy.max` goes to all entries that equal the maximum, divided by their number. A compiler may
    compute the entries once for the maximum and again, rounded otherwise, for the comparison; then none is equal, and
    the gradient is 0 / 0. XLA does so on a CPU with little optimisation. An index cannot be rounded.

    >>> jax.grad(lambda x: largest(x))(jnp.array([1.0, 3.0, 3.0]))
    Array([0., 1., 0.], dtype=float32)

    Args:
      x: `[..., n]`, n at least 1.

    Returns:
      `[...]`; NaN where there is one.
    """
    first = jnp.argmax(jax.lax.stop_gradient(x), axis=-1, keepdims=True)
    here = jax.lax.broadcasted_iota(first.dtype, x.shape, x.ndim - 1)
    return jnp.sum(jnp.where(first == here, x, 0), axis=-1)
