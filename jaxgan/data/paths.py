"""Data sets that are paths: told from names, and without splits of their own."""

import os
import pathlib

from jaxgan.errors import InputError

ARRAYS = (".npy", ".npz")
ARCHIVE = ".zip"


def is_path(dataset: str) -> bool:
    """Whether a data set is a folder that is there, or a file, rather than a name."""
    path = of(dataset)
    return dataset not in ("", "digits") and (path.suffix in (*ARRAYS, ARCHIVE) or os.path.isdir(path))


def of(dataset: str) -> pathlib.Path:
    """The path of such a data set; a home that there is not stays as it is written."""
    return pathlib.Path(os.path.expanduser(dataset))


def check_split(dataset: str, split: str) -> None:
    """Refuses a split of a path other than the whole.

    Raises:
      InputError: another split than "train" or "all".
    """
    if split not in ("train", "all"):
        raise InputError(f"split of {dataset}: expected 'train', a path has no other, got {split!r}: pass another path")
