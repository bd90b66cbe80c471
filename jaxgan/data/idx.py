"""MNIST and Fashion-MNIST for tensorflow-datasets, prepared from their IDX files without TensorFlow."""

import gzip
import hashlib
import io
import math
import os
import pathlib
import struct
from typing import Any

import numpy as np

from jaxgan.data import files
from jaxgan.errors import InputError

NAMES = ("mnist", "fashion_mnist")
LARGEST = 1 << 28
"""Bytes that an IDX file may have unpacked; the largest of these sets' has 47 million."""
FILES = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}


def read(path: str | os.PathLike) -> np.ndarray:
    """A gzipped IDX file of bytes: two zero bytes, the type 8, the rank, big-endian sizes, then the values.

    Args:
      path: the file.

    Returns:
      uint8 array of the rank and sizes that the header states.

    Raises:
      InputError: not such a file, one cut short, or one of more than `LARGEST` bytes.
    """
    with files.opened(pathlib.Path(path), "a gzipped IDX file", "fetch it again") as packed, gzip.open(packed) as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise InputError(f"{path}: expected at most {LARGEST} bytes unpacked, got more: fetch it again")
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise InputError(
            f"{path}: expected an IDX file of bytes (00 00 08), got {content[:4].hex(' ')}: fetch it again"
        )
    rank = content[3]
    header = 4 + 4 * rank
    shape = struct.unpack(f">{rank}I", content[4:header]) if len(content) >= header else ()
    if len(content) < header or len(content) - header != math.prod(shape):
        raise InputError(
            f"{path}: expected values of the shape {list(shape)}, got {len(content)} bytes in all: fetch it again"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def check_folder(folder: str | os.PathLike, checksums: dict[str, str]) -> None:
    """Checks that a folder holds the official files, byte for byte.

    Args:
      folder: where the four files lie.
      checksums: file name to SHA-256, in hexadecimal.

    Raises:
      InputError: a file is missing or is another.
    """
    folder = pathlib.Path(folder)
    missing = [name for name in sorted(checksums) if not (folder / name).is_file()]
    if missing:
        raise InputError(f"{folder}: expected the four official .gz files, got none called {', '.join(missing)}")
    for name, expected in sorted(checksums.items()):
        with (folder / name).open("rb") as file:
            got = hashlib.file_digest(file, "sha256").hexdigest()
        if got != expected:
            raise InputError(f"{folder / name}: expected the SHA-256 {expected}, got {got}: fetch the official file")


def builder(name: str, data_dir: str) -> Any:
    """The stock builder of tensorflow-datasets, with a preparation that needs no TensorFlow.

    Name, version, features, splits, keys and thereby the order of the examples are the stock builder's, so that it
    reads what this one prepared. Only unpacking, parsing and PNG compression, for which it calls TensorFlow, differ.

    Args:
      name: one of `NAMES`.
      data_dir: where prepared sets lie.

    Returns:
      A `tensorflow_datasets.core.GeneratorBasedBuilder`.
    """
    import tensorflow_datasets

    stock = tensorflow_datasets.builder_cls(name)

    class Builder(stock, skip_registration=True):
        def _split_generators(self, dl_manager):
            generators = {}
            for split, names in FILES.items():
                images, labels = dl_manager.download([self.URL + name for name in names])
                generators[split] = self._generate_examples(images, labels)
            return generators

        def _generate_examples(self, images, labels):
            for index, (image, label) in enumerate(zip(read(images), read(labels), strict=True)):
                yield index, {"image": _png(image), "label": int(label)}

    Builder.name = name
    return Builder(data_dir=data_dir)


def _png(image: np.ndarray) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()
