"""The augmentations of StyleGAN2-ADA: geometry and colour, each of them now and then."""

import jax
import jax.numpy as jnp

from jaxgan.augment.geometry import draw_geometry, inverse_matrices, resample
from jaxgan.augment.images import check_images
from jaxgan.augment.recolour import draw_colours, recolour


def ada(key: jax.Array, strength: jax.Array | float, x: jax.Array) -> jax.Array:
    """Each of twelve transformations, with the probability `strength`, for every example by itself.

    Those that the paper trains with ("bgc": blitting, geometry, colour), column by column in this order:

        flip of left and right  U{0, 1}          isotropic scaling       2^N(0, 0.2^2)        brightness  N(0, 0.2^2)
        quarter turns           U{0, 1, 2, 3}    rotation                U(-pi, pi)           contrast    2^N(0, 0.5^2)
        whole shift             U(-1/8, 1/8)     anisotropic scaling     2^N(0, 0.2^2)        luma flip   U{0, 1}
                                                 rotation                U(-pi, pi)           hue         U(-pi, pi)
                                                 fractional shift        N(0, (1/8)^2)        saturation  2^N(0, 1)

    As long as the strength stays below about 0.8, a generator learns the data and not the augmented data (Section 2).
    Of grey images hue and saturation change nothing.

    What moves is one affine transformation, resampled once. Here that is bilinear; the paper enlarges to twice the
    size, resamples bilinearly and reduces, with wavelet filters (sym6), so its images are sharper after a rotation and
    free of aliasing after a reduction. Beyond the edges images are mirrored, in the paper only as far as one image.

    >>> x = jax.random.normal(jax.random.key(1), (2, 8, 8, 3))
    >>> bool((ada(jax.random.key(0), 0.0, x) == x).all())
    True

    Args:
      key: random key.
      strength: p, in [0, 1]; at 0 images stay exactly as they are.
      x: images `[batch, height, width, 1 or 3]`, floating point.

    Returns:
      Images of the shape and dtype of x, affine in x.

    Raises:
      InputError: x is no such batch.

    References:
      Karras et al., Training Generative Adversarial Networks with Limited Data, https://arxiv.org/abs/2006.06676, 2020,
      Appendix B.
    """
    check_images(x, channels=(1, 3))
    k_geometry, k_colours = jax.random.split(key)
    batch, height, width, _ = x.shape
    moved = resample(x, inverse_matrices(draw_geometry(k_geometry, strength, batch), height, width))
    changed = recolour(moved, draw_colours(k_colours, strength, batch))
    # At 0 the arithmetic is exact but for the sign of zeros.
    return jnp.where(jnp.asarray(strength) > 0, changed.astype(x.dtype), x)
