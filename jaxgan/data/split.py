"""Training and held-out images of any set."""

import numpy as np

from jaxgan.data import labels as classes
from jaxgan.data import paths
from jaxgan.data.images import load
from jaxgan.data.labels import Labels
from jaxgan.data.source import Source

HELD_OUT = 10
"""Every tenth image of a set that comes without a test split is held out."""

Images = np.ndarray | Source


def train_and_test(
    dataset: str, *, size: int, channels: int, data_dir: str = "", manual_dir: str = ""
) -> tuple[Images, Images]:
    """Images to train on and images never trained on, of whatever `images.load` takes.

    Args:
      dataset: a name (its own "train" and "test" splits), or a path: there every tenth image is held out.
      size: height and width, pixels.
      channels: 1 (grey) or 3 (RGB).
      data_dir: where prepared tensorflow-datasets sets lie, "" for the usual place.
      manual_dir: folder of the official files to prepare a set from, "" to download them.

    Returns:
      Two arrays `[N, size, size, channels]` or sources of such images.

    Raises:
      InputError: what `images.load` refuses.
    """
    where = {"size": size, "channels": channels, "data_dir": data_dir, "manual_dir": manual_dir}
    if paths.is_path(dataset):
        images = load(dataset, "all", **where)
        train, test = _divided(number(images))
        return _select(images, train), _select(images, test)
    # What is wrong with the test images' name, size or files is said now; their pixels may never be asked for.
    return load(dataset, "train", **where), load(dataset, "test", decode=False, **where)


def train_and_test_labels(dataset: str, *, data_dir: str = "", manual_dir: str = "") -> tuple[Labels, Labels]:
    """The labels of the images of `train_and_test`, in their order.

    Args:
      dataset: "digits", the name of a set with labels, or the path of one: a folder for each class.
      data_dir: where prepared tensorflow-datasets sets lie, "" for the usual place.
      manual_dir: folder of the official files to prepare a set from, "" to download them.

    Raises:
      InputError: what `labels.load` refuses.
    """
    where = {"data_dir": data_dir, "manual_dir": manual_dir}
    if paths.is_path(dataset):
        values, count = classes.load(dataset, "all", **where)
        train, test = _divided(len(values))
        return Labels(values[train], count), Labels(values[test], count)
    return classes.load(dataset, "train", **where), classes.load(dataset, "test", **where)


def number(images: Images) -> int:
    """Number of images."""
    return images.size if isinstance(images, Source) else len(images)


def some(images: Images, count: int) -> np.ndarray:
    """So many of the images, `spaced`, or all, as float32 in [-1, 1], `[min(count, N), ...]`."""
    indices = spaced(number(images), count)
    images = images.fetch(indices) if isinstance(images, Source) else images[indices]
    return images / np.float32(127.5) - 1 if images.dtype == np.uint8 else images.astype(np.float32)


def spaced(total: int, count: int) -> np.ndarray:
    """Evenly spaced indices of a set, or all: a folder's first images, in the order of their names, may be of a kind.

    >>> spaced(10, 4)
    array([0, 2, 5, 7])
    """
    count = min(count, total)
    return np.arange(count) * total // max(count, 1)


def _divided(count: int) -> tuple[np.ndarray, np.ndarray]:
    """The indices of a set that are trained on, and those that are held out."""
    indices = np.arange(count)
    held_out = indices % HELD_OUT == HELD_OUT - 1
    return indices[~held_out], indices[held_out]


def _select(images: Images, indices: np.ndarray) -> Images:
    if isinstance(images, Source):
        return Source(len(indices), images.image_shape, lambda chosen: images.fetch(indices[chosen]))
    return images[indices]
