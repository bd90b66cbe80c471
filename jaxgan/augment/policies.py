"""DiffAugment: colour, translation and cutout, for every example at every step."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxgan.augment.images import check_images, widened

Policy = Callable[[jax.Array, jax.Array], jax.Array]


def diff_augment(*policies: Policy) -> Callable[[jax.Array, jax.Array, jax.Array], jax.Array]:
    """Policies one after another, each with a key of its own, for the `augment` of a GAN.

    The paper takes all three, `colour, translation, cutout`, where data are few, and one or two of them where they are
    many.

    >>> diff_augment(translation, cutout)(jax.random.key(0), 7, jnp.ones((2, 8, 8, 3))).shape
    (2, 8, 8, 3)

    Args:
      policies: `(key, x) -> x`, with images as of this module.

    Returns:
      `(key, step, x) -> x`; the same at every step.

    References:
      Zhao et al., Differentiable Augmentation for Data-Efficient GAN Training, https://arxiv.org/abs/2006.10738, 2020.
    """

    def augment(key: jax.Array, step: jax.Array, x: jax.Array) -> jax.Array:
        for policy, policy_key in zip(policies, jax.random.split(key, len(policies)), strict=True):
            x = policy(policy_key, x)
        return x

    return augment


def colour(key: jax.Array, x: jax.Array) -> jax.Array:
    """Brightness, then saturation, then contrast.

    `x + b`, `b ~ U(-1/2, 1/2)`; distances from each pixel's mean over channels times `U(0, 2)`; distances from the
    image's mean times `U(1/2, 3/2)`. Nothing is clipped. Saturation leaves grey images as they are.

    Args:
      key: random key.
      x: images `[batch, height, width, channels]`.

    Returns:
      Images of the shape and dtype of x.

    Raises:
      InputError: x is no batch of floating-point images.
    """

    def uniform(key: jax.Array, low: float, high: float) -> jax.Array:
        return jax.random.uniform(key, (x.shape[0], 1, 1, 1), minval=low, maxval=high)

    def scaled(wide: jax.Array, factor: jax.Array, axes: int | tuple[int, ...]) -> jax.Array:
        mean = jnp.mean(wide, axis=axes, keepdims=True)
        return (wide - mean) * factor + mean

    check_images(x)
    wide = widened(x)
    k_brightness, k_saturation, k_contrast = jax.random.split(key, 3)
    wide = wide + uniform(k_brightness, -0.5, 0.5)
    wide = scaled(wide, uniform(k_saturation, 0.0, 2.0), 3)
    wide = scaled(wide, uniform(k_contrast, 0.5, 1.5), (1, 2, 3))
    return wide.astype(x.dtype)


def translation(key: jax.Array, x: jax.Array) -> jax.Array:
    """Shifts by whole pixels, up to an eighth of the height and of the width, either way; zeros come in.

    Args:
      key: random key.
      x: images `[batch, height, width, channels]`.

    Returns:
      Images of the shape and dtype of x.

    Raises:
      InputError: x is no batch of floating-point images.
    """
    check_images(x)
    batch, height, width, channels = x.shape
    most = (_rounded(height / 8), _rounded(width / 8))
    padded = jnp.pad(x, ((0, 0), (most[0],) * 2, (most[1],) * 2, (0, 0)))
    starts = jax.random.randint(key, (batch, 2), 0, 2 * jnp.array([most]) + 1)

    def cut(image: jax.Array, start: jax.Array) -> jax.Array:
        return jax.lax.dynamic_slice(image, (start[0], start[1], 0), (height, width, channels))

    return jax.vmap(cut)(padded, starts)


def cutout(key: jax.Array, x: jax.Array) -> jax.Array:
    """Sets a rectangle of half the height and half the width to zero; its centre is anywhere in the image.

    What of the rectangle lies outside is lost, so between a sixteenth (about) and a quarter of the image is zero.

    Args:
      key: random key.
      x: images `[batch, height, width, channels]`.

    Returns:
      Images of the shape and dtype of x.

    Raises:
      InputError: x is no batch of floating-point images.
    """
    check_images(x)

    def covered(key: jax.Array, size: int) -> jax.Array:
        """Which of `size` pixels lie in a random stretch of half as many, `[batch, size]`."""
        length = _rounded(size / 2)
        # A stretch of an even number of pixels is centred between two of them, of which there is one more.
        centre = jax.random.randint(key, (x.shape[0], 1), 0, size + 1 - length % 2)
        start = centre - length // 2
        pixels = jnp.arange(size)[None]
        return (pixels >= start) & (pixels < start + length)

    k_rows, k_columns = jax.random.split(key)
    rows, columns = covered(k_rows, x.shape[1]), covered(k_columns, x.shape[2])
    return jnp.where(rows[:, :, None, None] & columns[:, None, :, None], jnp.zeros_like(x), x)


def _rounded(pixels: float) -> int:
    """To the nearest whole number, halves up, as in the authors' code."""
    return int(pixels + 0.5)
