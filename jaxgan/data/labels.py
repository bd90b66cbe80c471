"""Class labels: what each image of a set shows."""

import os
from typing import NamedTuple

import numpy as np

from jaxgan.data import archive, folder, paths
from jaxgan.data.arrays import digits_labels
from jaxgan.data.tfds import tfds_labels
from jaxgan.errors import InputError, shown

_DIGITS = 10


class Labels(NamedTuple):
    """The classes of the examples of a set.

    Attributes:
      values: int32 `[N]` from 0, one for each image, in the order of the images.
      classes: number of classes of the set; a split need not hold them all.
    """

    values: np.ndarray
    classes: int


def load(dataset: str, split: str = "train", *, data_dir: str = "", manual_dir: str = "") -> Labels:
    """The labels of the images that `images.load` gives for the same data set and split, in the same order.

    Args:
      dataset: "digits", the name of a tensorflow-datasets set with a class label called "label", or a folder or a
        `.zip` archive with a folder of images for each class: the classes are these folders, by name in sorted order.
      split: as of `images.load`.
      data_dir: where prepared tensorflow-datasets sets lie, "" for the usual place.
      manual_dir: where the files to prepare such a set from lie, "" to download them.

    Returns:
      One label for each image.

    Raises:
      InputError: a set without labels, such as a file of arrays, or nothing of that name.

    >>> values, classes = load("digits", "test")
    >>> values.shape, classes
    ((360,), 10)
    """
    if dataset == "digits":
        return Labels(digits_labels(split), _DIGITS)
    path, is_path = paths.of(dataset), paths.is_path(dataset)
    if is_path and path.suffix not in paths.ARRAYS:
        paths.check_split(dataset, split)
        return _of_folders(dataset, folder.names(path) if os.path.isdir(path) else archive.names(path))
    if is_path or not dataset or dataset.startswith((os.sep, ".", "~")):
        raise InputError(_without(dataset, "another path"))
    return Labels(*tfds_labels(dataset, split, data_dir=data_dir, manual_dir=manual_dir))


def checked(labels: Labels, size: int) -> Labels:
    """Checks the labels of so many images.

    Returns:
      A copy, whose values are int32.

    Raises:
      InputError: not one integer for each image, or one that is no class.
    """
    values, classes = np.asarray(labels.values), labels.classes
    if values.shape != (size,) or not np.issubdtype(values.dtype, np.integer):
        raise InputError(
            f"labels: expected integers of the shape [{size}], one for each image, got {values.dtype} "
            f"{list(values.shape)}: load them from the data set and the split of the images"
        )
    if ((values < 0) | (values >= classes)).any():
        raise InputError(
            f"labels: expected classes from 0 to {classes - 1}, got {values.min()} to {values.max()}: correct the "
            "labels, or their number of classes"
        )
    return Labels(values.astype(np.int32), classes)


def _of_folders(dataset: str, names: list[str]) -> Labels:
    """The classes of images by the first folder of their paths."""
    inside = [name.partition("/")[0] for name in names if "/" in name]
    numbers = {name: number for number, name in enumerate(sorted(set(inside)))}
    if len(numbers) < 2:
        raise InputError(_without(dataset, f"{len(numbers)} of them"))
    if len(inside) < len(names):
        outside = next(name for name in names if "/" not in name)
        raise InputError(
            f"labels of {dataset!r}: expected every image in the folder of its class, got {shown(outside)} beside "
            "these: move it"
        )
    return Labels(np.array([numbers[name] for name in inside], np.int32), len(numbers))


def _without(dataset: str, got: str) -> str:
    return (
        f"labels of {dataset!r}: expected 'digits', the name of a tensorflow-datasets set, or images in two or more "
        f"folders, one for each class, got {got}: other folders and files of images have no labels"
    )
