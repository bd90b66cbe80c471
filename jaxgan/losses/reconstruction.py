"""Distances between data and what a network makes of them, which go beside an adversarial loss.

All but `feature_matching_loss` are per example and averaged over an example's dimensions, so that a weight does not
depend on the size of an image. The weights of the papers are the caller's:

* pix2pix: `100 l1_loss` beside the conditional GAN's loss.
* CycleGAN: `10 cycle_consistency_loss`, and where colours are to be kept `0.5 * 10 identity_loss`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxgan.losses.loss import check_same_shape

PyTree = Any


def l1_loss(x: jax.Array, reconstruction: jax.Array) -> jax.Array:
    """Mean absolute difference of each example.

    >>> l1_loss(jnp.array([[1.0, 2.0], [0.0, 0.0]]), jnp.array([[1.0, 5.0], [0.0, 0.0]]))
    Array([1.5, 0. ], dtype=float32)

    Args:
      x: data, floating point, `[batch, ...]`.
      reconstruction: what a network makes of them, same shape.

    Returns:
      Per-example losses `[batch]`, averaged over all other dimensions.

    Raises:
      ValueError: the shapes differ, or the arrays hold integers.

    References:
      Isola et al., Image-to-Image Translation with Conditional Adversarial Networks,
      https://arxiv.org/abs/1611.07004, 2017, Eq. 3.
    """
    return _example_means(jnp.abs(_difference(x, reconstruction)))


def l2_loss(x: jax.Array, reconstruction: jax.Array) -> jax.Array:
    """Mean squared difference of each example, without a half.

    Args:
      x: data, floating point, `[batch, ...]`.
      reconstruction: what a network makes of them, same shape.

    Returns:
      Per-example losses `[batch]`, averaged over all other dimensions.

    Raises:
      ValueError: the shapes differ, or the arrays hold integers.

    References:
      Pathak et al., Context Encoders, https://arxiv.org/abs/1604.07379, 2016, Eq. 1.
    """
    return _example_means(_difference(x, reconstruction) ** 2)


def perceptual_loss(features: Callable[[jax.Array], PyTree], x: jax.Array, reconstruction: jax.Array) -> jax.Array:
    """Mean squared difference of features of each example, added over the layers.

    `sum_l |phi_l(x) - phi_l(reconstruction)|^2 / size_l`.

    Args:
      features: `x -> phi(x)`, a leaf `[batch, ...]` or a pytree of them, one for each layer.
      x: data, `[batch, ...]`.
      reconstruction: what a network makes of them, same shape.

    Returns:
      Per-example losses `[batch]`.

    Raises:
      ValueError: the shapes differ.

    References:
      Johnson et al., Perceptual Losses for Real-Time Style Transfer and Super-Resolution,
      https://arxiv.org/abs/1603.08155, 2016, Eq. 2.
    """
    check_same_shape(x=x, reconstruction=reconstruction)
    return sum(jax.tree.leaves(jax.tree.map(l2_loss, features(x), features(reconstruction))))


def cycle_consistency_loss(
    x: jax.Array, reconstructed_x: jax.Array, y: jax.Array, reconstructed_y: jax.Array
) -> jax.Array:
    """Cycle consistency of two translators F and G: `|F(G(x)) - x| + |G(F(y)) - y|`, both by `l1_loss`, the sum.

    Args:
      x: data of one domain, `[batch, ...]`.
      reconstructed_x: the same, translated there and back.
      y: data of the other domain, `[batch, ...]`, the same batch size.
      reconstructed_y: the same, translated there and back.

    Returns:
      Per-pair losses `[batch]`.

    Raises:
      ValueError: the shapes of a domain, or the batch sizes, differ.

    References:
      Zhu et al., Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks,
      https://arxiv.org/abs/1703.10593, 2017, Eq. 2.
    """
    of_x, of_y = l1_loss(x, reconstructed_x), l1_loss(y, reconstructed_y)
    check_same_shape(losses_of_x=of_x, losses_of_y=of_y)
    return of_x + of_y


# CycleGAN's Section 5.2: the same sum, of each domain's data against what its own translator makes of them unasked,
# F(x) against x and G(y) against y.
identity_loss = cycle_consistency_loss


def feature_matching_loss(real_features: jax.Array, fake_features: jax.Array) -> jax.Array:
    """Feature matching, for the generator: `|mean f(x) - mean f(G(z))|^2`, the sum over features.

    One number for a batch, since it compares means. The features of data do not depend on the generator; the
    discriminator must not descend it.

    >>> feature_matching_loss(jnp.array([[1.0, 0.0], [3.0, 0.0]]), jnp.array([[0.0, 1.0]]))
    Array(5., dtype=float32)

    Args:
      real_features: the discriminator's features of data, `[batch, ...]`.
      fake_features: its features of samples, `[any batch, ...]`.

    Returns:
      The loss, a scalar.

    Raises:
      ValueError: the features of an example differ in shape.

    References:
      Salimans et al., Improved Techniques for Training GANs, https://arxiv.org/abs/1606.03498, 2016, Section 3.1.
    """
    real, fake = jnp.mean(real_features, axis=0), jnp.mean(fake_features, axis=0)
    check_same_shape(mean_real_features=real, mean_fake_features=fake)
    return jnp.sum((real - fake) ** 2)


def _difference(x: jax.Array, reconstruction: jax.Array) -> jax.Array:
    check_same_shape(x=x, reconstruction=reconstruction)
    dtype = jnp.result_type(x, reconstruction)
    if not jnp.issubdtype(dtype, jnp.floating):  # bytes would wrap round: 1 - 2 = 255
        raise ValueError(f"x and reconstruction must be floating point, got {dtype}: scale images first")
    return x - reconstruction


def _example_means(values: jax.Array) -> jax.Array:
    return jnp.mean(values, axis=tuple(range(1, values.ndim)))
