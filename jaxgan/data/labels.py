"""Class labels: what each image of a set shows."""

import os
import pathlib
from typing import NamedTuple

import numpy as np

from jaxgan.data.arrays import digits_labels
from jaxgan.data.tfds import tfds_labels
from jaxgan.errors import InputError

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
      dataset: "digits", or the name of a tensorflow-datasets set with a class label called "label".
      split: as of `images.load`.
      data_dir: where prepared tensorflow-datasets sets lie, "" for the usual place.
      manual_dir: where the files to prepare such a set from lie, "" to download them.

    Returns:
      One label for each image.

    Raises:
      InputError: a set without labels, such as a folder or a file, or nothing of that name.

    >>> values, classes = load("digits", "test")
    >>> values.shape, classes
    ((360,), 10)
    """
    if dataset == "digits":
        return Labels(digits_labels(split), _DIGITS)
    path = pathlib.Path(dataset).expanduser()  # told from names as `images.load` does
    if path.is_dir() or path.suffix in (".npy", ".npz") or dataset.startswith((os.sep, ".", "~")):
        raise InputError(
            f"labels of {dataset!r}: expected 'digits' or the name of a tensorflow-datasets set, got a path: "
            "folders and files of images have no labels"
        )
    return Labels(*tfds_labels(dataset, split, data_dir=data_dir, manual_dir=manual_dir))
