"""Images: the one door to every set, and to the batches made of one."""

import os

import numpy as np

from jaxgan.data import paths
from jaxgan.data.archive import archive
from jaxgan.data.arrays import array_file, digits
from jaxgan.data.batches import dataset, from_array, from_source, scaled
from jaxgan.data.folder import folder
from jaxgan.data.order import indices_at
from jaxgan.data.source import Source
from jaxgan.data.tfds import tfds
from jaxgan.errors import InputError

__all__ = ["Source", "archive", "array_file", "dataset", "digits", "folder", "from_array", "from_source", "indices_at"]
__all__ += ["load", "scaled", "tfds"]


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
      dataset: "digits", an existing folder of images, the path of a `.zip` archive of images or of a `.npy` or `.npz`
        file, or the name of a tensorflow-datasets set; the first of these that it can be.
      split: "train", "test" or "all" for digits, a tensorflow-datasets split for a set by name; a folder and a file
        have none and take "train" or "all".
      size: height and width of the images, in pixels; those of a folder or an archive are cropped and resized to it.
      channels: 1 (grey) or 3 (RGB); those of a folder or an archive are converted.
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
    path, is_path = paths.of(dataset), paths.is_path(dataset)
    if is_path:
        paths.check_split(dataset, split)
    if dataset == "digits":
        images = digits(split)
    elif is_path and os.path.isdir(path):
        return folder(path, size, channels)
    elif is_path and path.suffix == paths.ARCHIVE:
        return archive(path, size, channels)
    elif is_path:
        images = array_file(path)
    elif not dataset or dataset.startswith((os.sep, ".", "~")):
        raise InputError(
            f"data set {dataset!r}: no such folder: expected one of images, a .zip, .npy or .npz file, or a name"
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
