"""Consistency: what must not change a logit, and what must change a sample.

All are mean squared differences of an example's numbers (logits, pixels), added over the leaves of a pytree, so that a
weight does not depend on the number of patches or the size of an image; the papers write the sum. For one logit to an
example they are the same. The weights are the caller's.
"""

from collections.abc import Callable
from typing import Any

import jax

from jaxgan.penalties.examples import mean_squared_differences, noise

PyTree = Any
Critic = Callable[[PyTree], PyTree]


def consistency(
    key: jax.Array, critic: Critic, points: PyTree, augment: Callable[[jax.Array, PyTree], PyTree]
) -> jax.Array:
    """How much an augmentation changes the logits of each point: consistency regularisation (CR).

    `|D(x) - D(T(x))|^2`, on data, with the weight 10 in the paper; the gradient flows through both. Dropout has
    to drop the same in both calls of the critic, as it does in the critic that a GAN's penalty is given.

    >>> consistency(jax.random.key(0), lambda x: x[:, 0], jax.numpy.ones((2, 3)), lambda key, x: -x)
    Array([4., 4.], dtype=float32)

    Args:
      key: random key of the augmentation.
      critic: `points -> logits`, a leaf `[batch, ...]` or a pytree of them.
      points: data, leaves `[batch, ...]`.
      augment: `(key, points) -> points`, each example by itself.

    Returns:
      Penalties `[batch]`, float32 or wider.

    Raises:
      ValueError: the augmentation changes the shapes of the logits.

    References:
      Zhang et al., Consistency Regularization for Generative Adversarial Networks, https://arxiv.org/abs/1910.12027,
      2020, Section 2.
    """
    return mean_squared_differences(critic(points), critic(augment(key, points)))


def balanced_consistency(
    key: jax.Array, critic: Critic, real: PyTree, fake: PyTree, augment: Callable[[jax.Array, PyTree], PyTree]
) -> jax.Array:
    """Consistency on data and on samples (bCR): `|D(x) - D(T(x))|^2 + |D(G(z)) - D(T(G(z)))|^2`.

    StudioGAN's weight with BigGAN on CIFAR-10 is 10; for two weights that differ, take `consistency` twice.

    Args:
      key: random key; data and samples are augmented independently.
      critic: `points -> logits`, a leaf `[batch, ...]` or a pytree of them.
      real: data, leaves `[batch, ...]`.
      fake: samples, the same batch size.
      augment: `(key, points) -> points`, each example by itself.

    Returns:
      Penalties `[batch]`, float32 or wider.

    Raises:
      ValueError: the batch sizes differ.

    References:
      Zhao et al., Improved Consistency Regularization for GANs, https://arxiv.org/abs/2002.04724, 2020, Algorithm 1.
    """
    k_real, k_fake = jax.random.split(key)
    of_real, of_fake = consistency(k_real, critic, real, augment), consistency(k_fake, critic, fake, augment)
    if of_real.shape != of_fake.shape:
        raise ValueError(f"data and samples must be as many, got batches of {of_real.shape} and {of_fake.shape}")
    return of_real + of_fake


def perturb_latents(key: jax.Array, latents: PyTree, std: float) -> PyTree:
    """Latents a small step away, for zCR: `z + dz` with `dz ~ N(0, std^2 I)`; StudioGAN's std is 0.05.

    Args:
      key: random key.
      latents: floating point, leaves `[batch, ...]`.
      std: standard deviation of each coordinate's step.

    Returns:
      Latents, same structure, shapes and dtypes.

    References:
      Zhao et al., Improved Consistency Regularization for GANs, https://arxiv.org/abs/2002.04724, 2020, Algorithm 2.
    """
    return jax.tree.map(lambda z, dz: z + std * dz, latents, noise(jax.random.normal, key, latents))


def latent_consistency(critic: Critic, fake: PyTree, neighbour: PyTree) -> jax.Array:
    """The discriminator's half of zCR: a small step of the latents should not change its logits.

    `|D(G(z)) - D(G(z + dz))|^2`; StudioGAN's weight with BigGAN on CIFAR-10 is 20.

    Args:
      critic: `points -> logits`, a leaf `[batch, ...]` or a pytree of them.
      fake: `G(z)`, leaves `[batch, ...]`.
      neighbour: `G(z + dz)` of `perturb_latents`, same structure and shapes.

    Returns:
      Penalties `[batch]`, float32 or wider.

    Raises:
      ValueError: the shapes of the logits differ.

    References:
      Zhao et al., Improved Consistency Regularization for GANs, https://arxiv.org/abs/2002.04724, 2020, Algorithm 2.
    """
    return mean_squared_differences(critic(fake), critic(neighbour))


def latent_diversity(fake: PyTree, neighbour: PyTree) -> jax.Array:
    """The generator's half of zCR, to be minimised too: a small step of the latents should change its samples.

    `-|G(z) - G(z + dz)|^2`: negative, where the discriminator's half is positive, and bounded only for samples that
    are. StudioGAN's weight with BigGAN on CIFAR-10 is 0.5.

    >>> latent_diversity(jax.numpy.ones((2, 3)), jax.numpy.zeros((2, 3)))
    Array([-1., -1.], dtype=float32)

    Args:
      fake: `G(z)`, leaves `[batch, ...]`.
      neighbour: `G(z + dz)` of `perturb_latents`, same structure and shapes.

    Returns:
      Penalties `[batch]`, float32 or wider, at most zero.

    Raises:
      ValueError: the shapes differ.

    References:
      Zhao et al., Improved Consistency Regularization for GANs, https://arxiv.org/abs/2002.04724, 2020, Algorithm 2.
    """
    return -mean_squared_differences(fake, neighbour)
