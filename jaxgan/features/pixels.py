"""Images as pictures are stored: every extractor sees samples and data alike in 256 levels."""

import jax.numpy as jnp
import numpy as np

from jaxgan.errors import InputError


def to_bytes(images: np.ndarray) -> np.ndarray:
    """Images in [-1, 1] as bytes: `round(127.5 (x + 1))`, clipped to 0 to 255.

    >>> to_bytes(np.array([[-1.0, 0.0], [1.0, 1.5]])).tolist()
    [[0, 128], [255, 255]]

    Args:
      images: floating point, at least one value; what lies outside [-1, 1] is clipped.

    Returns:
      uint8, same shape.

    Raises:
      InputError: integers, values that are not finite, or floats from 0 to 255.
    """
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise InputError(f"expected images as floats in [-1, 1], got {images.dtype}: scale bytes with x / 127.5 - 1")
    images = np.asarray(images)  # XLA's extremes may pass over NaN, NumPy's do not
    low, high = float(images.min()), float(images.max())
    if not np.isfinite([low, high]).all():
        raise InputError("expected images as floats in [-1, 1], got values that are not finite")
    if low >= 0 and high > 2:  # bytes as floats, which clipping would turn white
        raise InputError(f"expected images in [-1, 1], got values from {low:g} to {high:g}: scale with x / 127.5 - 1")
    return np.round(np.clip((images.astype(np.float32) + 1) * 127.5, 0, 255)).astype(np.uint8)
