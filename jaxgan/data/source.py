"""Sets of images that are read as they are needed."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxgan.data import decoded

# Sets whose decoded bytes are at most this many are decoded once, at the start, and lie on the device for the whole
# run. It is little beside the memory of an accelerator, and it holds all of CIFAR-10, MNIST or 170,000 images of 64x64.
HOLD_BYTES = 2 << 30

_CHUNK = 1024


class Source(NamedTuple):
    """Images by random access.

    Attributes:
      size: number of images.
      image_shape: (height, width, channels) of every image.
      fetch: `indices -> images`: int `[B]` to uint8 (or float in [-1, 1]) `[B, H, W, C]`, pure.
      origin: where the images are to be kept decoded for the next process: all that they are made of (`decoded.write`).
    """

    size: int
    image_shape: tuple[int, int, int]
    fetch: Callable[[np.ndarray], np.ndarray]
    origin: str | None = None


def held(source: Source) -> np.ndarray | Source:
    """A source of bytes decoded into one array, where it takes no more than `HOLD_BYTES`; otherwise the source.

    Args:
      source: images whose `fetch` gives uint8.

    Returns:
      uint8 `[N, H, W, C]`, or the source.
    """
    shape = (source.size, *source.image_shape)
    if np.prod(shape, dtype=np.int64) > HOLD_BYTES:
        return source
    if source.origin is not None and (kept := decoded.read(source.origin, shape)) is not None:
        return kept
    images = np.empty(shape, np.uint8)
    for start in range(0, source.size, _CHUNK):
        stop = min(start + _CHUNK, source.size)
        images[start:stop] = source.fetch(np.arange(start, stop))
    if source.origin is not None:
        decoded.write(source.origin, images)
    return images
