"""Relativistic losses: what counts is how much more real data look than samples, not how real either looks.

D is the logit itself; it has no origin, since only differences count.
"""

import jax
import jax.numpy as jnp

from jaxgan.losses.cross_entropy import minimax
from jaxgan.losses.least_squares import pearson_least_squares
from jaxgan.losses.loss import Loss, check_same_shape
from jaxgan.losses.wasserstein import hinge


def relativistic_discriminator_loss(real_logits: jax.Array, fake_logits: jax.Array) -> jax.Array:
    """Discriminator loss of the relativistic pairing GAN.

    `softplus(-(D(x) - D(G(z))))`: cross-entropy of "this data point is more real than this sample", `log 2` where the
    logits are equal. Example i of the data is paired with example i of the samples, not with their average.

    Args:
      real_logits: critic outputs on data, shape `[...]`.
      fake_logits: critic outputs on samples, same shape.

    Returns:
      Per-pair losses, same shape.

    Raises:
      ValueError: the shapes differ.

    References:
      Jolicoeur-Martineau, The relativistic discriminator, https://arxiv.org/abs/1807.00734, 2018.
      Huang et al., The GAN is dead; long live the GAN!, https://arxiv.org/abs/2501.05441, 2024.
    """
    check_same_shape(real_logits=real_logits, fake_logits=fake_logits)
    return jax.nn.softplus(fake_logits - real_logits)


def relativistic_generator_loss(fake_logits: jax.Array, real_logits: jax.Array | None = None) -> jax.Array:
    """Generator loss of the relativistic pairing GAN: `softplus(-(D(G(z)) - D(x)))`, the discriminator's mirrored.

    Args:
      fake_logits: critic outputs on samples, shape `[...]`.
      real_logits: critic outputs on data, same shape; needed, since only the difference counts.

    Returns:
      Per-pair losses, same shape.

    Raises:
      ValueError: `real_logits` is missing, or the shapes differ.

    References:
      Jolicoeur-Martineau, The relativistic discriminator, https://arxiv.org/abs/1807.00734, 2018.
      Huang et al., The GAN is dead; long live the GAN!, https://arxiv.org/abs/2501.05441, 2024.
    """
    # the players' roles change places, nothing else
    return relativistic_discriminator_loss(fake_logits, _needed(real_logits))


def relative_to_average(loss: Loss, axis_name: str | None = None) -> Loss:
    """The relativistic average form of a loss: each logit is taken relative to the mean logit of the other side.

    The discriminator minimises `loss.discriminator(D(x) - mean D(G(z)), D(G(z)) - mean D(x))`, the generator the same
    with data and samples exchanged: data count for it too, against the mean of its samples. `loss.generator` is not
    used.

    The means are over all logits of the call, and gradients flow through them. So a value belongs to an example, but
    depends on the whole batch: `vmap` over examples would compare each with its own partner. On a mesh the whole batch
    is seen; under `pmap` it is the device's part, unless `axis_name` is given: the same name as `make_gan`'s.

    >>> game = relative_to_average(hinge)
    >>> game.discriminator(jnp.array([0.0, 1.0]), jnp.array([0.0, 0.0]))
    Array([1.5, 0.5], dtype=float32)

    Args:
      loss: a loss that is undecided at zero, as differences are: its two targets or margins mirror each other.
      axis_name: mapped axis over whose devices the means are taken too.

    Returns:
      The `Loss`, without a boundary.

    Raises:
      ValueError: the loss is not undecided at zero; and by the players, as by `relativistic_generator_loss`.

    References:
      Jolicoeur-Martineau, The relativistic discriminator, https://arxiv.org/abs/1807.00734, 2018, Section 4.
    """
    if loss.boundary != 0:
        raise ValueError(f"a loss of differences must be undecided at 0, got the boundary {loss.boundary}")

    def mean(logits: jax.Array) -> jax.Array:
        own = jnp.mean(logits)
        return own if axis_name is None else jax.lax.pmean(own, axis_name)

    def discriminator(real_logits: jax.Array, fake_logits: jax.Array) -> jax.Array:
        check_same_shape(real_logits=real_logits, fake_logits=fake_logits)
        return loss.discriminator(real_logits - mean(fake_logits), fake_logits - mean(real_logits))

    def generator(fake_logits: jax.Array, real_logits: jax.Array | None = None) -> jax.Array:
        return discriminator(fake_logits, _needed(real_logits))

    return Loss(discriminator, generator, boundary=None)


def _needed(real_logits: jax.Array | None) -> jax.Array:
    if real_logits is None:
        raise ValueError("the relativistic generator loss compares samples with data: give it real_logits too")
    return real_logits


relativistic = Loss(relativistic_discriminator_loss, relativistic_generator_loss, boundary=None)
relativistic_average = relative_to_average(minimax)
# The targets 1 and -1: those of `least_squares`, 1 and 0, would ask for two different gaps.
relativistic_average_least_squares = relative_to_average(pearson_least_squares)
relativistic_average_hinge = relative_to_average(hinge)
