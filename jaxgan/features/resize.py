"""Resizing as TensorFlow 1 did it, which the published Inception features were computed with."""

import jax
import jax.numpy as jnp
import numpy as np


def resize_bilinear_tf1(images: jax.Array, height: int, width: int) -> jax.Array:
    """Bilinear resizing without half-pixel centres and without smoothing: `tf.image.resize_bilinear` of TensorFlow 1.

    Row i of the result lies at the height `s = i H / height` of the source and is
    `(1 - t) x[floor s] + t x[min(floor s + 1, H - 1)]` with `t = s - floor s`; columns likewise, and first. Pixels are
    points at their upper left corners, so the result is shifted against what other functions give
    (`jax.image.resize`, PyTorch's `interpolate`), by up to 160 of 255 levels on noise, and features follow.

    >>> resize_bilinear_tf1(jnp.array([0.0, 8.0]).reshape(1, 1, 2, 1), 1, 4).ravel()
    Array([0., 4., 8., 8.], dtype=float32)

    Args:
      images: `[N, H, W, C]`, floats.
      height: rows of the result, pixels.
      width: columns of the result, pixels.

    Returns:
      `[N, height, width, C]`.

    References:
      TensorFlow 1.15, tensorflow/core/kernels/resize_bilinear_op.cc, `align_corners` and `half_pixel_centers` false.
    """
    return _resize(_resize(images, 2, width), 1, height)


def _resize(x: jax.Array, axis: int, size: int) -> jax.Array:
    # In float32 like the original: where a position should be whole, rounding decides which two pixels are mixed.
    position = np.arange(size, dtype=np.float32) * np.float32(x.shape[axis] / size)
    low = position.astype(np.int32)
    high = np.minimum(low + 1, x.shape[axis] - 1)
    weight = np.expand_dims(position - low.astype(np.float32), [other for other in range(x.ndim) if other != axis])
    below, above = jnp.take(x, low, axis), jnp.take(x, high, axis)
    return below + (above - below) * weight
