"""Sets of images that are arrays from the start: a NumPy file, scikit-learn's digits."""

import os
import pathlib
import zipfile
from typing import BinaryIO

import numpy as np

from jaxgan.data import files
from jaxgan.errors import InputError, shown

_DIGITS_TRAIN = 1437


def checked(images: np.ndarray, what: str = "images") -> np.ndarray:
    """Checks an array of images, and gives grey ones their channel axis.

    Args:
      images: uint8, or float in [-1, 1], `[N, H, W, C]` or `[N, H, W]`.
      what: what to call the array in a message.

    Returns:
      The images `[N, H, W, C]`.

    Raises:
      InputError: wrong rank, wrong dtype, no element, or values that are not finite or outside [-1, 1].
    """
    if images.ndim not in (3, 4):
        raise InputError(f"{what}: expected the shape [N, H, W, C] or [N, H, W], got {list(images.shape)}")
    if images.dtype != np.uint8 and not np.issubdtype(images.dtype, np.floating):
        raise InputError(f"{what}: expected uint8 or floats in [-1, 1], got {images.dtype}: convert with astype")
    if not images.size:
        raise InputError(f"{what}: expected at least one image, got the shape {list(images.shape)}")
    if images.dtype != np.uint8:
        _check_range(images, what)
    return images if images.ndim == 4 else images[..., None]


def _check_range(images: np.ndarray, what: str) -> None:
    low, high = float(images.min()), float(images.max())  # NaN propagates through both
    expected = f"{what}: expected floats in [-1, 1]"
    if not np.isfinite([low, high]).all():
        raise InputError(f"{expected}, got values that are not finite: remove them")
    if low < -1 or high > 1:
        advice = "convert to uint8, or scale with x / 127.5 - 1" if 0 <= low and high <= 255 else "scale them"
        raise InputError(f"{expected}, got values from {low:g} to {high:g}: {advice}")
    if low == 0 and high == 1:
        # In range, and yet the mark of images in [0, 1]: half of a generator's range would stand for nothing.
        raise InputError(f"{expected}, got values from exactly 0 to exactly 1: scale with 2 * x - 1")


def array_file(path: str | os.PathLike) -> np.ndarray:
    """Images in a NumPy file; opening one never runs code (object arrays, which are pickles, are refused).

    Args:
      path: a `.npy` file, or a `.npz` file with one array or with one called "x" or "images".

    Returns:
      uint8, or float in [-1, 1], `[N, H, W, C]`; a `.npy` file is mapped into memory, not read.

    Raises:
      InputError: no such file, not a NumPy file, an object array, no telling which array, or not an array of images.
    """
    path = pathlib.Path(path)
    advice = "save a uint8 array [N, H, W, C] with numpy.save"
    with files.opened(path, "a NumPy file of numbers (.npy or .npz)", advice) as file:
        if file.peek(4)[:4] == b"PK\3\4":
            with zipfile.ZipFile(file) as archive:
                images = files.array(archive, _array_name(path, files.names(archive)))
        else:
            images = _mapped(file)
    return checked(images, str(path))


def _mapped(file: BinaryIO) -> np.ndarray:
    """The array of a `.npy` file, mapped into memory."""
    found, held = files.header(file), os.fstat(file.fileno()).st_size
    if found.start + found.size > held:
        raise ValueError(f"an array whose header tells of {found.size} bytes and which has {held - found.start}")
    order = "F" if found.fortran_order else "C"
    return np.memmap(file, found.dtype, "r", offset=found.start, shape=found.shape, order=order)


def _array_name(path: pathlib.Path, names: list[str]) -> str:
    candidates = names if len(names) == 1 else [name for name in ("x", "images") if name in names]
    if len(candidates) != 1:
        raise InputError(f'{path}: expected one array, or one called "x" or "images", got {shown(sorted(names))}')
    return candidates[0]


def digits(split: str = "train") -> np.ndarray:
    """The handwritten digits of scikit-learn, 8 by 8, grey: real data that need no download.

    Args:
      split: "train" (1,437 images), "test" (the other 360) or "all".

    Returns:
      uint8 `[N, 8, 8, 1]`, the 17 levels of the original spread over 0 to 255.

    Raises:
      InputError: another split.

    >>> digits("test").shape
    (360, 8, 8, 1)
    """
    return np.round(_digits("images", split) * (255 / 16)).astype(np.uint8)[..., None]


def digits_labels(split: str = "train") -> np.ndarray:
    """Which digits the images of `digits` show, in their order: int32 `[N]`, 0 to 9."""
    return _digits("target", split).astype(np.int32)


def _digits(array: str, split: str) -> np.ndarray:
    from sklearn.datasets import load_digits

    values = load_digits()[array]
    # RandomState and not Generator: its stream is frozen, so the test images are the same under every NumPy.
    order = np.random.RandomState(0).permutation(len(values))
    parts = {"train": order[:_DIGITS_TRAIN], "test": order[_DIGITS_TRAIN:], "all": np.arange(len(values))}
    if split not in parts:
        raise InputError(f"split of digits: expected one of {', '.join(parts)}, got {split!r}")
    return values[parts[split]]
