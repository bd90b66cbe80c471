"""LeCam regularisation: logits are held to where those of the other side have been of late."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxgan.penalties.examples import mean_squared_differences, widened

PyTree = Any


class Anchors(NamedTuple):
    """Running mean logits, scalars: one where logits are one array, else a pytree of the logits' structure.

    Attributes:
      real: of data.
      fake: of samples.
    """

    real: PyTree
    fake: PyTree


def lecam(real_logits: PyTree, fake_logits: PyTree, anchors: Anchors) -> jax.Array:
    """Squared distance of each logit from the anchor of the other side, for the discriminator.

    `|D(x) - a_fake|^2 + |D(G(z)) - a_real|^2`: data against the anchor of samples and the reverse. The weight (0.3
    for BigGAN on CIFAR-10 in the authors' code) is the caller's. That code, and StudioGAN's, differ from the paper:
    they square `max(0, D(x) - a_fake)` and `max(0, a_real - D(G(z)))`, so that a logit beyond the anchor is free.

    >>> lecam(jnp.array([2.0, 3.0]), jnp.array([-1.0, 0.0]), Anchors(real=1.0, fake=0.0))
    Array([ 8., 10.], dtype=float32)

    Args:
      real_logits: logits of data, a leaf `[batch, ...]` or a pytree of them; an example's logits are averaged, leaves
        are added.
      fake_logits: logits of samples, same structure and shapes.
      anchors: from `move_anchors`; no gradient flows into them.

    Returns:
      Penalties `[batch]`, float32 or wider.

    Raises:
      ValueError: structures or shapes differ.

    References:
      Tseng et al., Regularizing Generative Adversarial Networks under Limited Data, https://arxiv.org/abs/2104.03310,
      2021, Section 3.
    """

    def from_anchor(logits: PyTree, anchor: PyTree) -> jax.Array:
        held = jax.tree.map(
            lambda v, a: jnp.broadcast_to(jax.lax.stop_gradient(widened(a)), jnp.shape(v)), logits, anchor
        )
        return mean_squared_differences(logits, held)

    of_real, of_fake = from_anchor(real_logits, anchors.fake), from_anchor(fake_logits, anchors.real)
    if of_real.shape != of_fake.shape:  # [1] against [batch] would broadcast
        raise ValueError(f"real and fake logits must be as many, got batches of {of_real.shape} and {of_fake.shape}")
    return of_real + of_fake


def move_anchors(anchors: Anchors, real_logits: PyTree, fake_logits: PyTree, *, decay: float = 0.99) -> Anchors:
    """The anchors, moved towards the mean logits of a batch: `decay * a + (1 - decay) * mean D`.

    Started at zero, they stay near it for some `1 / (1 - decay)` steps, in which the penalty pulls all logits towards
    zero; a weight that sets in later avoids that (the authors' code divides by `1 - decay^t`, StudioGAN starts late).

    Args:
      anchors: before.
      real_logits: logits of data, of the structure of `anchors.real`.
      fake_logits: logits of samples.
      decay: what remains of the old mean, 0.99 in the authors' code.

    Returns:
      The anchors after.

    References:
      Tseng et al., Regularizing Generative Adversarial Networks under Limited Data, https://arxiv.org/abs/2104.03310,
      2021, Section 3.
    """

    def move(anchor: jax.Array, logits: jax.Array) -> jax.Array:
        return decay * anchor + (1.0 - decay) * jnp.mean(widened(logits))

    return Anchors(
        jax.tree.map(move, anchors.real, real_logits),
        jax.tree.map(move, anchors.fake, fake_logits),
    )
