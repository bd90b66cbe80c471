"""Images: the one door to every set, and the batches made of one."""

import functools
import os
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.data import Data, source
from jaxgan.data.arrays import array_file, checked, digits
from jaxgan.data.folder import folder
from jaxgan.data.source import Source
from jaxgan.data.tfds import tfds
from jaxgan.errors import InputError

__all__ = ["Source", "array_file", "dataset", "digits", "folder", "from_array", "from_source", "indices_at", "load"]
__all__ += ["scaled", "tfds"]


def load(
    dataset: str,
    split: str = "train",
    *,
    size: int,
    channels: int,
    data_dir: str = "",
    manual_dir: str = "",
    decode: bool = True,
) -> np.ndarray | Source:
    """The images that a name or a path stands for.

    Args:
      dataset: "digits", an existing folder of images, the path of a `.npy` or `.npz` file, or the name of a
        tensorflow-datasets set; the first of these that it can be.
      split: "train", "test" or "all" for digits, a tensorflow-datasets split for a set by name; a folder and a file
        have none and take "train" or "all".
      size: height and width of the images, in pixels; those of a folder are cropped and resized to it.
      channels: 1 (grey) or 3 (RGB); those of a folder are converted.
      data_dir: where prepared tensorflow-datasets sets lie, "" for the usual place.
      manual_dir: where the files to prepare such a set from lie, "" to download them.
      decode: whether to decode such a set now, where it is small enough to hold; if not, images are when fetched.

    Returns:
      uint8, or float in [-1, 1], `[N, size, size, channels]`, or a source of such images.

    Raises:
      InputError: nothing of that name, or images of another size.

    >>> load("digits", size=8, channels=1).shape
    (1437, 8, 8, 1)
    """
    path = pathlib.Path(dataset).expanduser()
    is_file = path.suffix in (".npy", ".npz")
    if dataset != "digits" and (is_file or (dataset and path.is_dir())) and split not in ("train", "all"):
        raise InputError(f"split of {dataset}: expected 'train', a path has no other, got {split!r}: pass another path")
    if dataset == "digits":
        images = digits(split)
    elif dataset and path.is_dir():
        return folder(path, size, channels)
    elif is_file:
        images = array_file(path)
    elif not dataset or dataset.startswith((os.sep, ".", "~")):
        raise InputError(
            f"data set {dataset!r}: no such folder: expected one of images, a .npy or .npz file, or a name"
        )
    else:
        images = tfds(dataset, split, data_dir=data_dir, manual_dir=manual_dir, decode=decode)
    got = images.image_shape if isinstance(images, Source) else images.shape[1:]
    if got != (size, size, channels):
        raise InputError(
            f"data set {dataset}: expected images of the shape {[size, size, channels]}, got {list(got)}: "
            "set size and channels to it, or pass a folder of image files, which are resized"
        )
    return images


def dataset(images: np.ndarray | Source, *, batch_size: int) -> Data:
    """Batches of a set of images, which lie on the device where they take no more than `source.HOLD_BYTES`.

    Args:
      images: uint8 or float in [-1, 1], `[N, H, W, C]` or `[N, H, W]`, or a source.
      batch_size: images in a batch, at most N.

    Returns:
      Batches `{"x": float32 [batch_size, H, W, C] in [-1, 1]}`.

    Raises:
      InputError: what `from_array` refuses.
    """
    if isinstance(images, Source):
        return from_source(images, batch_size=batch_size)
    if images.nbytes <= source.HOLD_BYTES:
        return from_array(images, batch_size=batch_size)
    images = checked(images)
    return from_source(Source(len(images), images.shape[1:], lambda indices: images[indices]), batch_size=batch_size)


def from_array(images: np.ndarray, *, batch_size: int) -> Data:
    """Batches of an array that lies on the device for the whole run: a step moves only indices.

    Args:
      images: uint8 or float in [-1, 1], `[N, H, W, C]` or `[N, H, W]`; copied.
      batch_size: images in a batch, at most N.

    Returns:
      Batches `{"x": float32 [batch_size, H, W, C] in [-1, 1]}`; bytes become `x / 127.5 - 1`.

    Raises:
      InputError: wrong rank, dtype or values, no image, or fewer than a batch.
    """
    images = checked(np.asarray(images))
    size = len(images)
    _check_batch_size(size, batch_size)
    images = images if images.dtype == np.uint8 else images.astype(np.float32)
    return Data(
        feed=lambda seed, step: indices_at(seed, step, size, batch_size),
        batch=lambda arrays, indices: {"x": scaled(arrays["images"][indices])},
        arrays={"images": jnp.array(images)},  # array copies: the caller may go on writing to theirs
        size=size,
        batch_size=batch_size,
        range=(-1.0, 1.0),
        part=lambda rows, seed, step: indices_at(seed, step, size, batch_size)[rows],
    )


def from_source(images: Source, *, batch_size: int) -> Data:
    """Batches of a set too large to hold: the host fetches the images of a step, the device scales them.

    Args:
      images: a source of uint8 images, or of floats in [-1, 1].
      batch_size: images in a batch, at most the size of the source.

    Returns:
      Batches `{"x": float32 [batch_size, H, W, C] in [-1, 1]}`; bytes become `x / 127.5 - 1`.

    Raises:
      InputError: fewer images than a batch.
    """
    _check_batch_size(images.size, batch_size)
    return Data(
        feed=lambda seed, step: images.fetch(indices_at(seed, step, images.size, batch_size)),
        batch=lambda arrays, fetched: {"x": scaled(fetched)},
        arrays={},
        size=images.size,
        batch_size=batch_size,
        range=(-1.0, 1.0),
        part=lambda rows, seed, step: images.fetch(indices_at(seed, step, images.size, batch_size)[rows]),
    )


def indices_at(seed: int, step: int, size: int, batch_size: int) -> np.ndarray:
    """Which examples the batch of a step holds: a slice of the permutation of its epoch.

    An epoch has `size // batch_size` steps and holds no example twice; the remainder, another one in every epoch, is
    left out.

    Args:
      seed: of the run, at least 0.
      step: from 0.
      size: examples in the set.
      batch_size: examples in a batch, at most `size`.

    Returns:
      int32 `[batch_size]`, a pure function of the arguments.

    Raises:
      InputError: the set is smaller than a batch.

    >>> epoch = [indices_at(seed=0, step=step, size=7, batch_size=3) for step in range(2)]
    >>> len(set(np.concatenate(epoch).tolist()))
    6
    """
    _check_batch_size(size, batch_size)
    epoch, position = divmod(step, size // batch_size)
    return _permutation(seed, epoch, size)[position * batch_size : (position + 1) * batch_size]


@functools.lru_cache(maxsize=4)  # training and evaluation, and the epoch before while batches are fetched ahead
def _permutation(seed: int, epoch: int, size: int) -> np.ndarray:
    # spawn_key, not seed + epoch: no two runs share an epoch.
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(epoch,))))
    permutation = generator.permutation(size).astype(np.int32)
    permutation.flags.writeable = False  # every step of the epoch is a view of it
    return permutation


def _check_batch_size(size: int, batch_size: int) -> None:
    if not 1 <= batch_size <= size:
        largest = 1 << (size.bit_length() - 1)
        raise InputError(
            f"batch size: expected 1 to the {size} examples of the set, got {batch_size}: use {largest}, say"
        )


def scaled(images: jax.Array) -> jax.Array:
    """Images as networks take them, float32 in [-1, 1]: bytes become `x / 127.5 - 1`, floats stay as they are."""
    floats = jnp.asarray(images, jnp.float32)
    return floats / 127.5 - 1.0 if images.dtype == jnp.uint8 else floats
