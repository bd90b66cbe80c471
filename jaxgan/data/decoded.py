"""Decoded images on disk: what one process has decoded, the next one reads."""

import hashlib
import os
import pathlib
import tempfile
import zipfile

import numpy as np

from jaxgan import cache
from jaxgan.data import files
from jaxgan.errors import InputError


def read(origin: str, shape: tuple[int, ...]) -> np.ndarray | None:
    """The images of an origin, uint8 of the shape, or None where they are not kept whole."""
    path = _path(origin)
    if path is None:
        return None
    try:
        with files.opened(path, "decoded images", "remove it") as file, zipfile.ZipFile(file) as archive:
            found = files.array_header(archive, "images")
            return files.array(archive, "images") if (found.shape, found.dtype) == (shape, np.uint8) else None
    except InputError:  # the file is absent or damaged, in whatever way: the images are decoded again
        return None


def write(origin: str, images: np.ndarray) -> None:
    """Keeps the images of an origin, whole or, where there is no folder or no room for them, not at all.

    Args:
      origin: everything that the images are made of; whatever gives others must give another text.
      images: uint8 array.
    """
    path = _path(origin)
    if path is None:
        return
    try:
        path.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as place:
            part = os.path.join(place, path.name)
            np.savez(part, images=images)
            os.replace(part, path)
    except OSError:
        return


def _path(origin: str) -> pathlib.Path | None:
    folder = cache.folder()
    return folder and folder / "images" / f"{hashlib.sha256(origin.encode()).hexdigest()}.npz"
