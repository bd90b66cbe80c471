"""Path length regularisation: steps of the latents of one length should move samples by one length too."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxgan.penalties.examples import batch_size, noise, roots, squared_norms

PyTree = Any


def path_lengths(key: jax.Array, generator: Callable[[PyTree], PyTree], latents: PyTree) -> jax.Array:
    """How far a step of the latents moves each sample, in a random direction of the samples.

    `|J^T y|`, with J the generator's Jacobian and `y ~ N(0, I / pixels)`. Pixels are all dimensions of a leaf but the
    batch and the last (channels): height times width of an image, steps of a sequence, one for points. The norm is over
    all of an example's latents; StyleGAN2's code, which has a copy of them for each layer, averages over the copies
    inside the root, so its lengths are ours over the root of the number of layers.

    >>> path_lengths(jax.random.key(0), lambda z: 0.0 * z, jnp.ones((2, 3)))
    Array([0., 0.], dtype=float32)

    Args:
      key: random key of y.
      generator: `latents -> samples`, independent across the batch, leaves `[batch, ..., channels]`.
      latents: floating point, leaves `[batch, ...]`.

    Returns:
      Lengths `[batch]`, float32 or wider. Where they are zero, so is their gradient.

    Raises:
      ValueError: leaves of the latents or the samples differ in their batch size.

    References:
      Karras et al., Analyzing and Improving the Image Quality of StyleGAN, https://arxiv.org/abs/1912.04958, 2019,
      Eq. 4.
    """
    count = batch_size(latents, "latents")
    samples, pull = jax.vjp(generator, latents)
    if (size := batch_size(samples, "samples")) != count:
        raise ValueError(f"the generator must give samples [batch, ...], got a batch of {size} for {count} latents")

    def scaled(y: jax.Array) -> jax.Array:
        pixels = y[0, ..., 0].size if y.ndim > 1 else 1
        return y * pixels**-0.5

    (gradients,) = pull(jax.tree.map(scaled, noise(jax.random.normal, key, samples)))
    return roots(squared_norms(gradients))


def path_length_penalty(lengths: jax.Array, mean: jax.Array) -> jax.Array:
    """Squared distance of each path length from their running mean, for the generator: `(|J^T y| - a)^2`.

    The weight is the caller's, 2 in StyleGAN2's code. The penalty is taken at every 8th step in the paper (`lazy`).

    Args:
      lengths: from `path_lengths`, `[batch]`.
      mean: from `move_path_length`, a scalar; no gradient flows into it.

    Returns:
      Penalties `[batch]`.

    References:
      Karras et al., Analyzing and Improving the Image Quality of StyleGAN, https://arxiv.org/abs/1912.04958, 2019,
      Eq. 4.
    """
    return (lengths - jax.lax.stop_gradient(mean)) ** 2


def move_path_length(mean: jax.Array, lengths: jax.Array, *, rate: float = 0.01) -> jax.Array:
    """The running mean, moved towards the mean length of a batch: `a + rate (mean |J^T y| - a)`, from zero.

    StyleGAN2 moves it before the penalty takes it; in its code a hundredth of the penalty's gradient flows
    through the mean, in ours none.

    Args:
      mean: before, a scalar.
      lengths: from `path_lengths`, `[batch]`.
      rate: share of the way, 0.01 in StyleGAN2.

    Returns:
      The mean after.

    References:
      Karras et al., Analyzing and Improving the Image Quality of StyleGAN, https://arxiv.org/abs/1912.04958, 2019,
      Appendix B.
    """
    return mean + rate * (jnp.mean(lengths) - mean)
