"""What a variational autoencoder's encoder pays for its codes."""

import jax
import jax.numpy as jnp

from jaxgan.losses.loss import check_same_shape


def kl_to_standard_normal(mean: jax.Array, log_variance: jax.Array) -> jax.Array:
    """Divergence of a normal distribution with independent dimensions from the standard one: `KL(q || N(0, I))`.

    `1/2 sum_d mean_d^2 + exp(log_variance_d) - 1 - log_variance_d`, zero where q is the standard normal. With
    `-log p(x | z)`, z drawn from q, it is minus the evidence lower bound.

    >>> kl_to_standard_normal(jnp.array([[0.0, 0.0], [3.0, 4.0]]), jnp.zeros((2, 2)))
    Array([ 0. , 12.5], dtype=float32)

    Args:
      mean: of q, shape `[..., codes]`.
      log_variance: natural logarithm of its variances, same shape.

    Returns:
      Per-example losses `[...]`, in nats.

    Raises:
      ValueError: the shapes differ.

    References:
      Kingma and Welling, Auto-Encoding Variational Bayes, https://arxiv.org/abs/1312.6114, 2014, Appendix B.
    """
    check_same_shape(mean=mean, log_variance=log_variance)
    # Near the standard normal exp(v) - 1 - v is the small difference of two numbers near v: expm1 keeps its digits.
    return 0.5 * jnp.sum(mean**2 + (jnp.expm1(log_variance) - log_variance), axis=-1)
