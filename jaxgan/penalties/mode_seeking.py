"""Mode seeking: latents far apart should give samples far apart."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxgan.penalties.examples import batch_size, widened

PyTree = Any
EPSILON = 1e-5
"""Keeps the penalty of equal samples finite; the authors' value."""


def mode_seeking(fake: PyTree, other_fake: PyTree, latents: PyTree, other_latents: PyTree) -> jax.Array:
    """How little two samples differ for how much their latents do, for the generator to minimise.

    `1 / (|G(z1) - G(z2)| / |z1 - z2| + 1e-5)`, with mean absolute differences, for each pair of examples. The paper
    maximises the ratio; its reciprocal is the authors' code, which takes one ratio of means over the batch where ours
    has one of each pair, so they agree for a batch of one. The weight is 1 there. Pairs of equal latents cost nothing.

        def penalty(key, step, generator, latents, fake, batch):
            others = jax.random.normal(key, latents.shape)
            return mode_seeking(fake, generator(others), latents, others)

    >>> mode_seeking(jnp.array([[2.0]]), jnp.array([[0.0]]), jnp.array([[1.0]]), jnp.array([[0.0]])).round(3)
    Array([0.5], dtype=float32)

    Args:
      fake: samples `G(z1)`, leaves `[batch, ...]`; means are over all dimensions and leaves.
      other_fake: samples `G(z2)` of the same conditions, same structure and shapes.
      latents: z1, leaves `[batch, ...]`.
      other_latents: z2, same structure and shapes.

    Returns:
      Penalties `[batch]`, float32 or wider, between 0 and 1e5.

    Raises:
      ValueError: shapes or batch sizes differ.

    References:
      Mao et al., Mode Seeking Generative Adversarial Networks for Diverse Image Synthesis,
      https://arxiv.org/abs/1903.05628, 2019, and https://github.com/HelenMao/MSGAN.
    """
    apart, steps = _distances(fake, other_fake), _distances(latents, other_latents)
    if apart.shape != steps.shape:
        raise ValueError(f"samples and latents must be as many, got batches of {apart.shape} and {steps.shape}")
    # The same as the reciprocal of the ratio, and nowhere 0 / 0 but for equal latents: there nothing is divided.
    same = steps == 0
    return jnp.where(same, 0.0, steps / jnp.where(same, 1.0, apart + EPSILON * steps))


def _distances(a: PyTree, b: PyTree) -> jax.Array:
    """Mean absolute differences `[batch]` over all dimensions and leaves."""
    count = batch_size(a, "samples and latents")

    def of_leaf(a, b):
        if jnp.shape(a) != jnp.shape(b):
            raise ValueError(f"both of a pair must have the same shape, got {jnp.shape(a)} and {jnp.shape(b)}")
        return jnp.abs(widened(a) - widened(b)).reshape(count, -1)

    return jnp.mean(jnp.concatenate(jax.tree.leaves(jax.tree.map(of_leaf, a, b)), axis=1), axis=1)
