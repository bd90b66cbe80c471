"""Decoded images on disk: what one process has decoded, the next one reads."""

import hashlib
import os
import pathlib
import tempfile

import numpy as np

from jaxgan import cache


def read(origin: str, shape: tuple[int, ...]) -> np.ndarray | None:
    """The images of an origin, uint8 of the shape, or None where they are not kept whole."""
    path = _path(origin)
    if path is None:
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            images = arrays["images"]  # of a zip file, so this verifies a checksum of every byte
    except Exception:  # the file is absent or damaged, in whatever way: the images are decoded again
        return None
    return images if images.dtype == np.uint8 and images.shape == shape else None


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
