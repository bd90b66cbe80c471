"""Batches of a set of images, with or without their labels."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.data import Data, order, source
from jaxgan.data.arrays import checked
from jaxgan.data.labels import Labels
from jaxgan.data.labels import checked as checked_labels
from jaxgan.data.source import Source
from jaxgan.errors import InputError


def dataset(
    images: np.ndarray | Source, *, batch_size: int, labels: Labels | None = None, balanced: bool = False
) -> Data:
    """Batches of a set of images, which lie on the device where they take no more than `source.HOLD_BYTES`.

    Args:
      images: uint8 or float in [-1, 1], `[N, H, W, C]` or `[N, H, W]`, or a source.
      batch_size: images in a batch, at most N.
      labels: of the same images in the same order; batches of the same images have them as `cond`.
      balanced: whether every batch is to hold each class equally often, see `order.balanced`.

    Returns:
      Batches `{"x": float32 [batch_size, H, W, C] in [-1, 1]}`, with labels also `"cond": int32 [batch_size]`.

    Raises:
      InputError: what `from_array` refuses.
    """
    chosen = {"batch_size": batch_size, "labels": labels, "balanced": balanced}
    if isinstance(images, Source):
        return from_source(images, **chosen)
    if images.nbytes <= source.HOLD_BYTES:
        return from_array(images, **chosen)
    images = checked(images)
    return from_source(Source(len(images), images.shape[1:], lambda indices: images[indices]), **chosen)


def from_array(images: np.ndarray, *, batch_size: int, labels: Labels | None = None, balanced: bool = False) -> Data:
    """Batches of an array that lies on the device for the whole run: a step moves only indices.

    Args:
      images: uint8 or float in [-1, 1], `[N, H, W, C]` or `[N, H, W]`; copied.
      batch_size: images in a batch, at most N.
      labels: as of `dataset`; copied.
      balanced: as of `dataset`.

    Returns:
      Batches `{"x": float32 [batch_size, H, W, C] in [-1, 1]}`, with labels also `"cond": int32 [batch_size]`; bytes
      become `x / 127.5 - 1`.

    Raises:
      InputError: wrong rank, dtype or values, no image, or fewer than a batch; labels that are not one for each image,
        or out of range; balanced batches without labels, or as `order.balanced` refuses.
    """
    images = checked(np.asarray(images))
    size = len(images)
    labels = None if labels is None else checked_labels(labels, size)
    indices_at = _order(size, batch_size, labels, balanced)
    images = images if images.dtype == np.uint8 else images.astype(np.float32)
    arrays = {"images": jnp.array(images)}  # array copies: the caller may go on writing to theirs
    if labels is not None:
        arrays["labels"] = jnp.array(labels.values)

    def batch(arrays, indices):
        made = {"x": scaled(arrays["images"][indices])}
        return made if labels is None else made | {"cond": arrays["labels"][indices]}

    return Data(
        feed=indices_at,
        batch=batch,
        arrays=arrays,
        size=size,
        batch_size=batch_size,
        range=(-1.0, 1.0),
        part=lambda rows, seed, step: indices_at(seed, step)[rows],
    )


def from_source(images: Source, *, batch_size: int, labels: Labels | None = None, balanced: bool = False) -> Data:
    """Batches of a set too large to hold: the host fetches the images of a step, the device scales them.

    Args:
      images: a source of uint8 images, or of floats in [-1, 1].
      batch_size: images in a batch, at most the size of the source.
      labels: as of `dataset`.
      balanced: as of `dataset`.

    Returns:
      Batches `{"x": float32 [batch_size, H, W, C] in [-1, 1]}`, with labels also `"cond": int32 [batch_size]`; bytes
      become `x / 127.5 - 1`.

    Raises:
      InputError: fewer images than a batch; of labels and balance, what `from_array` refuses.
    """
    labels = None if labels is None else checked_labels(labels, images.size)
    indices_at = _order(images.size, batch_size, labels, balanced)

    def fetch(indices):
        fetched = images.fetch(indices)
        return fetched if labels is None else {"images": fetched, "labels": labels.values[indices]}

    def batch(arrays, fetched):
        if labels is None:
            return {"x": scaled(fetched)}
        return {"x": scaled(fetched["images"]), "cond": jnp.asarray(fetched["labels"])}

    return Data(
        feed=lambda seed, step: fetch(indices_at(seed, step)),
        batch=batch,
        arrays={},
        size=images.size,
        batch_size=batch_size,
        range=(-1.0, 1.0),
        part=lambda rows, seed, step: fetch(indices_at(seed, step)[rows]),
    )


def scaled(images: jax.Array) -> jax.Array:
    """Images as networks take them, float32 in [-1, 1]: bytes become `x / 127.5 - 1`, floats stay as they are."""
    floats = jnp.asarray(images, jnp.float32)
    return floats / 127.5 - 1.0 if images.dtype == jnp.uint8 else floats


def _order(size: int, batch_size: int, labels: Labels | None, balanced: bool) -> order.Order:
    if not balanced:
        return order.shuffled(size, batch_size)
    if labels is None:
        raise InputError("balanced batches: expected labels, got none: pass labels, or do not balance")
    return order.balanced(labels, batch_size)
