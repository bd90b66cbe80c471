"""Adversarial losses: logits in, one loss per example out.

Every loss is elementwise, for logits of any shape: `[batch]`, patches `[batch, height, width, 1]` or a scalar. There is
no reduction, weight or label smoothing: `.mean()` and `gamma *` belong to the caller. Logits are what the discriminator
gives before any sigmoid. In the formulas D is the probability `sigmoid(logit)` for minimax and non-saturating, and the
logit itself for the others, as in the papers.

Constants and names differ between implementations, and with them the learning rate that suits, and a penalty's weight:

* minimax and non-saturating: the discriminator's two cross-entropies are summed. PyTorch-GAN averages them, half of
  this; TensorFlow-GAN's minimax smooths the real labels by 0.25 unless told not to.
* least squares: half of each square, summed. CycleGAN takes plain mean squared errors, twice this.
* "minimax" is the saturating game here. What mimicry calls minimax, and StudioGAN and CycleGAN "vanilla", is
  `non_saturating`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Loss(NamedTuple):
    """The two objectives of a game; each player minimises its own.

    Args:
      discriminator: `(real_logits, fake_logits) -> losses`, all of one shape.
      generator: `(fake_logits, real_logits=None) -> losses`; only relativistic losses read the second.
      boundary: the logit at which the discriminator is undecided between real and fake, or None where logits have no
        origin (only their differences count); the midpoint of the two mean logits then takes its place.
    """

    discriminator: Callable[[jax.Array, jax.Array], jax.Array]
    generator: Callable[..., jax.Array]
    boundary: float | None = 0.0


def minimax_discriminator_loss(real_logits: jax.Array, fake_logits: jax.Array) -> jax.Array:
    """Discriminator loss of the original GAN, for its minimax and its non-saturating game alike.

    `-log D(x) - log(1 - D(G(z)))`, which is `softplus(-real_logits) + softplus(fake_logits)`: the sum of the two
    cross-entropies, `2 log 2` at zero logits. Labels are not smoothed.

    >>> float(minimax_discriminator_loss(jnp.array(0.0), jnp.array(0.0)))  # doctest: +ELLIPSIS
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
    _check_same_shape(real_logits, fake_logits)
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


def wasserstein_discriminator_loss(real_logits: jax.Array, fake_logits: jax.Array) -> jax.Array:
    """Critic loss of the Wasserstein GAN.

    `D(G(z)) - D(x)`: its negative mean estimates the Wasserstein-1 distance when D is 1-Lipschitz, which this function
    does not enforce (see `penalties.gradient_penalty` and `transforms.weight_clip`).

    >>> wasserstein_discriminator_loss(jnp.array([2.0, -1.0]), jnp.array([0.5, -3.0]))
    Array([-1.5, -2. ], dtype=float32)

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
    _check_same_shape(real_logits, fake_logits)
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


def least_squares_discriminator_loss(real_logits: jax.Array, fake_logits: jax.Array) -> jax.Array:
    """Discriminator loss of the least squares GAN with the targets 1 for data and 0 for samples.

    `(D(x) - 1)^2 / 2 + D(G(z))^2 / 2` on the logits themselves, without a sigmoid: the paper's `a = 0`, `b = 1` and its
    halves, so 1/2 at zero logits. CycleGAN has no halves.

    Args:
      real_logits: discriminator outputs on data, shape `[...]`.
      fake_logits: discriminator outputs on samples, same shape.

    Returns:
      Per-example losses, same shape.

    Raises:
      ValueError: the shapes differ.

    References:
      Mao et al., Least Squares Generative Adversarial Networks, https://arxiv.org/abs/1611.04076, 2016, Eq. 2.
    """
    _check_same_shape(real_logits, fake_logits)
    return 0.5 * (real_logits - 1.0) ** 2 + 0.5 * fake_logits**2


def least_squares_generator_loss(fake_logits: jax.Array, real_logits: jax.Array | None = None) -> jax.Array:
    """Generator loss of the least squares GAN: `(D(G(z)) - 1)^2 / 2`, the paper's `c = 1` and its half.

    Args:
      fake_logits: discriminator outputs on samples, shape `[...]`.
      real_logits: not used.

    Returns:
      Per-example losses, same shape.

    References:
      Mao et al., Least Squares Generative Adversarial Networks, https://arxiv.org/abs/1611.04076, 2016, Eq. 2.
    """
    return 0.5 * (fake_logits - 1.0) ** 2


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
    _check_same_shape(real_logits, fake_logits)
    return jax.nn.relu(1.0 - real_logits) + jax.nn.relu(1.0 + fake_logits)


# The margin is the discriminator's: the generator raises its logits without a bound, as in the Wasserstein game.
hinge_generator_loss = wasserstein_generator_loss


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
    _check_same_shape(real_logits, fake_logits)
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
    if real_logits is None:
        raise ValueError("the relativistic generator loss compares samples with data: give it real_logits too")
    return relativistic_discriminator_loss(fake_logits, real_logits)  # the players' roles change places, nothing else


def _check_same_shape(real_logits: jax.Array, fake_logits: jax.Array) -> None:
    # [B] against [B, 1] would broadcast to [B, B], and one target shape would hide two batch sizes
    if jnp.shape(real_logits) != jnp.shape(fake_logits):
        raise ValueError(
            "real_logits and fake_logits must have the same shape, "
            f"got {jnp.shape(real_logits)} and {jnp.shape(fake_logits)}"
        )


minimax = Loss(minimax_discriminator_loss, minimax_generator_loss)
non_saturating = Loss(non_saturating_discriminator_loss, non_saturating_generator_loss)
wasserstein = Loss(wasserstein_discriminator_loss, wasserstein_generator_loss, boundary=None)
least_squares = Loss(least_squares_discriminator_loss, least_squares_generator_loss, boundary=0.5)
hinge = Loss(hinge_discriminator_loss, hinge_generator_loss)
relativistic = Loss(relativistic_discriminator_loss, relativistic_generator_loss, boundary=None)

LOSSES = {
    "minimax": minimax,
    "non_saturating": non_saturating,
    "wasserstein": wasserstein,
    "least_squares": least_squares,
    "hinge": hinge,
    "relativistic": relativistic,
}
