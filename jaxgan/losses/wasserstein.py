"""Losses linear in the critic's output: the Wasserstein GAN's, and the hinge, which is linear up to a margin.

D is the logit itself.
"""

import jax

from jaxgan.losses.loss import Loss, check_same_shape


def wasserstein_discriminator_loss(real_logits: jax.Array, fake_logits: jax.Array) -> jax.Array:
    """Critic loss of the Wasserstein GAN.

    `D(G(z)) - D(x)`: its negative mean estimates the Wasserstein-1 distance when D is 1-Lipschitz, which this function
    does not enforce (see `penalties.gradient_penalty` and `transforms.weight_clip`).

    >>> float(wasserstein_discriminator_loss(jax.numpy.array(2.0), jax.numpy.array(0.5)))
    -1.5

    Args:
      real_logits: critic outputs on data, shape `[...]`.
      fake_logits: critic outputs on samples, same shape.

    Returns:
      Per-example losses, same shape.

    Raises:
      ValueError: the shapes differ.

    References:
      Arjovsky et al., Wasserstein GAN, https://arxiv.org/abs/1701.07875, 2017, Eq. 2.
    """
    check_same_shape(real_logits=real_logits, fake_logits=fake_logits)
    return fake_logits - real_logits


def wasserstein_generator_loss(fake_logits: jax.Array, real_logits: jax.Array | None = None) -> jax.Array:
    """Generator loss of the Wasserstein GAN, and of the hinge loss: `-D(G(z))`.

    Args:
      fake_logits: critic outputs on samples, shape `[...]`.
      real_logits: not used.

    Returns:
      Per-example losses, same shape.

    References:
      Arjovsky et al., Wasserstein GAN, https://arxiv.org/abs/1701.07875, 2017, Algorithm 1.
    """
    return -fake_logits


def hinge_discriminator_loss(real_logits: jax.Array, fake_logits: jax.Array) -> jax.Array:
    """Discriminator loss of the geometric GAN, a hinge with the margin 1 on both sides.

    `max(0, 1 - D(x)) + max(0, 1 + D(G(z)))`: the sum, 2 at zero logits.

    Args:
      real_logits: discriminator outputs on data, shape `[...]`.
      fake_logits: discriminator outputs on samples, same shape.

    Returns:
      Per-example losses, same shape.

    Raises:
      ValueError: the shapes differ.

    References:
      Lim and Ye, Geometric GAN, https://arxiv.org/abs/1705.02894, 2017.
      Miyato et al., Spectral Normalization for GANs, https://arxiv.org/abs/1802.05957, 2018.
    """
    check_same_shape(real_logits=real_logits, fake_logits=fake_logits)
    return jax.nn.relu(1.0 - real_logits) + jax.nn.relu(1.0 + fake_logits)


# The margin is the discriminator's: the generator raises its logits without a bound, as in the Wasserstein game.
hinge_generator_loss = wasserstein_generator_loss


wasserstein = Loss(wasserstein_discriminator_loss, wasserstein_generator_loss, boundary=None)
hinge = Loss(hinge_discriminator_loss, hinge_generator_loss)
