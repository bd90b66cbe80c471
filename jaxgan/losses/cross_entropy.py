"""Cross-entropy of data against samples: the original GAN's two games, which share their discriminator.

D is the probability `sigmoid(logit)`, as in the paper.
"""

import jax

from jaxgan.losses.loss import Loss, check_same_shape


def minimax_discriminator_loss(real_logits: jax.Array, fake_logits: jax.Array) -> jax.Array:
    """Discriminator loss of the original GAN, for its minimax and its non-saturating game alike.

    `-log D(x) - log(1 - D(G(z)))`, which is `softplus(-real_logits) + softplus(fake_logits)`: the sum of the two
    cross-entropies, `2 log 2` at zero logits. Labels are not smoothed.

    >>> float(minimax_discriminator_loss(0.0, 0.0))  # doctest: +ELLIPSIS
    1.38629...

    Args:
      real_logits: discriminator outputs on data, shape `[...]`.
      fake_logits: discriminator outputs on samples, same shape.

    Returns:
      Per-example losses, same shape.

    Raises:
      ValueError: the shapes differ.

    References:
      Goodfellow et al., Generative Adversarial Networks, https://arxiv.org/abs/1406.2661, 2014, Eq. 1.
    """
    check_same_shape(real_logits=real_logits, fake_logits=fake_logits)
    # softplus, not log(sigmoid + epsilon), whose gradient vanishes where the logit is most wrong
    return jax.nn.softplus(-real_logits) + jax.nn.softplus(fake_logits)


def minimax_generator_loss(fake_logits: jax.Array, real_logits: jax.Array | None = None) -> jax.Array:
    """Generator loss of the original GAN's minimax game, which saturates.

    `log(1 - D(G(z)))`, which is `-softplus(fake_logits)`: minus the fake part of `minimax_discriminator_loss`. Its
    gradient vanishes where the discriminator is sure that a sample is fake, so in practice prefer
    `non_saturating_generator_loss`, as the paper itself does.

    Args:
      fake_logits: discriminator outputs on samples, shape `[...]`.
      real_logits: not used.

    Returns:
      Per-example losses, same shape; never positive.

    References:
      Goodfellow et al., Generative Adversarial Networks, https://arxiv.org/abs/1406.2661, 2014, Eq. 1.
    """
    return -jax.nn.softplus(fake_logits)


# Goodfellow et al. change the generator's objective only, so the games share their discriminator.
non_saturating_discriminator_loss = minimax_discriminator_loss


def non_saturating_generator_loss(fake_logits: jax.Array, real_logits: jax.Array | None = None) -> jax.Array:
    """Non-saturating generator loss of the original GAN.

    `-log D(G(z))`, which is `softplus(-fake_logits)`: cross-entropy of samples against the label "real". The gradient
    tends to -1 where the discriminator is sure that a sample is fake.

    >>> float(jax.grad(non_saturating_generator_loss)(-10.0))  # doctest: +ELLIPSIS
    -0.99995...
    >>> float(jax.grad(minimax_generator_loss)(-10.0))  # doctest: +ELLIPSIS
    -4.5...e-05

    Args:
      fake_logits: discriminator outputs on samples, shape `[...]`.
      real_logits: not used.

    Returns:
      Per-example losses, same shape.

    References:
      Goodfellow et al., Generative Adversarial Networks, https://arxiv.org/abs/1406.2661, 2014, Section 3.
    """
    return jax.nn.softplus(-fake_logits)


minimax = Loss(minimax_discriminator_loss, minimax_generator_loss)
non_saturating = Loss(non_saturating_discriminator_loss, non_saturating_generator_loss)
