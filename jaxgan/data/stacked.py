"""Grey images stacked by threes as the channels of colour ones: real data with a thousand modes."""

import jax.numpy as jnp
import numpy as np

from jaxgan.data import Data, order
from jaxgan.data.arrays import checked
from jaxgan.data.batches import scaled
from jaxgan.errors import InputError

TRIPLES = 128_000
"""Images of the set, as in PacGAN's code; they are drawn once."""


def triples(size: int, count: int = TRIPLES, *, seed: int = 0) -> np.ndarray:
    """Which three images each stacked one is made of, drawn evenly and with replacement: `[count, 3]`, below `size`.

    >>> triples(10, 2).shape
    (2, 3)
    """
    return np.random.default_rng(seed).integers(size, size=(count, 3), dtype=np.int32)


def stack(images: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Stacked images `[N, H, W, 3]` of grey ones `[M, H, W, 1]` and triples `[N, 3]`, NumPy's or jax's."""
    return images[chosen][..., 0].transpose(0, 2, 3, 1)


def stacked(images: np.ndarray, chosen: np.ndarray, *, batch_size: int) -> Data:
    """Batches of stacked images, made on the device from the grey ones, which lie there once.

    Args:
      images: grey, uint8 or float in [-1, 1], `[M, H, W, 1]` or `[M, H, W]`.
      chosen: from `triples`.
      batch_size: stacked images in a batch.

    Returns:
      Batches `{"x": float32 [batch_size, H, W, 3] in [-1, 1]}`; an epoch holds each triple once.

    Raises:
      InputError: images that are not grey, triples that are none of these images, or fewer than a batch.

    References:
      Metz et al., Unrolled Generative Adversarial Networks, https://arxiv.org/abs/1611.02163, 2016, Section 3.3.1.
      Lin et al., PacGAN: The power of two samples in generative adversarial networks,
      https://arxiv.org/abs/1712.04086, 2017, Section 4.2.
    """
    images, chosen = checked(np.asarray(images)), np.asarray(chosen)
    if images.shape[-1] != 1:
        raise InputError(f"images to be stacked: expected grey ones, got the shape {list(images.shape)}")
    if chosen.ndim != 2 or chosen.shape[1] != 3 or not (0 <= chosen.min() and chosen.max() < len(images)):
        raise InputError(f"triples: expected [N, 3] of numbers below {len(images)}, got {list(chosen.shape)}")
    indices_at = order.shuffled(len(chosen), batch_size)

    def feed(seed, step):
        return chosen[indices_at(seed, step)]

    return Data(
        feed=feed,
        batch=lambda arrays, fed: {"x": scaled(stack(arrays["images"], fed))},
        arrays={"images": jnp.array(images)},
        size=len(chosen),
        batch_size=batch_size,
        range=(-1.0, 1.0),
        part=lambda rows, seed, step: feed(seed, step)[rows],
    )
