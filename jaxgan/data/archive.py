"""Images in a zip archive: read where they lie, and nothing unpacked to the disk."""

import itertools
import os
import pathlib
import types
import zipfile
from typing import BinaryIO

import numpy as np

from jaxgan.data import files
from jaxgan.data.folder import check_size, decode, is_image
from jaxgan.data.source import Source, held
from jaxgan.errors import InputError, shown

_EXPECTED, _ADVICE = "a zip archive of images", "make it anew, or unpack it and pass the folder"
# Bytes of what lists the files: some 600,000 images. Python holds it as objects of up to nine times its size.
_LARGEST_DIRECTORY = 1 << 26
_LARGEST = 1 << 28  # bytes of one image file, unpacked


def archive(path: str | os.PathLike, size: int, channels: int) -> np.ndarray | Source:
    """The images of a zip archive and the folders in it, in the order and the form of `folder`.

    Args:
      path: a zip archive, stored or deflated; files in it that `folder` passes over are not read.
      size: height and width of the result, in pixels.
      channels: 1 (grey) or 3 (RGB); what is transparent is laid on white.

    Returns:
      uint8 `[N, size, size, channels]`, or a source of such images where the set is too large to hold.

    Raises:
      InputError: no such file, no archive, one that is damaged, encrypted or compressed in another way, lists more than
        a machine should hold, or has two files of one name; no image in it, or one that cannot be read.
    """
    path = pathlib.Path(path)
    check_size(size, channels)
    found = names(path)
    if not found:
        raise InputError(f"{path}: expected {_EXPECTED}, got one without any: {_ADVICE}")
    with files.reading(path, _EXPECTED, _ADVICE):
        # Open as long as images may be asked for: the list of its files is not to be read for every batch.
        opened = zipfile.ZipFile(path)

    def image(name):
        what = f"{path}: {shown(name)}"
        with files.reading(what, "an image", _ADVICE), opened.open(name) as file:
            # No more than it says: to read all of a file is to unpack whatever it holds.
            content = file.read(opened.getinfo(name).file_size)
        return decode(what, size, channels, content)

    def fetch(indices):
        return np.stack([image(found[index]) for index in indices])

    return held(Source(len(found), (size, size, channels), fetch))


def names(path: str | os.PathLike) -> list[str]:
    """The images in a zip archive, sorted.

    Raises:
      InputError: as of `archive`, but that images are not looked into.
    """
    path = pathlib.Path(path)
    with files.opened(path, _EXPECTED, _ADVICE) as file, zipfile.ZipFile(_limited(file)) as listed:
        found = [member for member in listed.infolist() if is_image(member.filename) and not member.is_dir()]
        if sum(member.compress_size for member in found) > os.fstat(file.fileno()).st_size:
            raise ValueError("files that overlap")
    for member in found:
        _check(path, member)
    sorted_names = sorted(member.filename for member in found)
    for name, after in itertools.pairwise(sorted_names):
        if name == after:
            raise InputError(f"{path}: expected files of different names, got two called {shown(name)}: {_ADVICE}")
    return sorted_names


def _limited(file: BinaryIO) -> types.SimpleNamespace:
    """A file for `ZipFile`, which reads the list of an archive's files at once, however long that says it is."""

    def read(size=-1):
        if size > _LARGEST_DIRECTORY:
            raise ValueError(f"a list of files of {size} bytes, more than {_LARGEST_DIRECTORY}")
        return file.read(size)

    return types.SimpleNamespace(read=read, seek=file.seek, tell=file.tell)


def _check(path: pathlib.Path, member: zipfile.ZipInfo) -> None:
    got = None
    if member.flag_bits & 1:
        got = "an encrypted one"
    elif member.compress_type not in files.COMPRESSIONS:
        got = f"one of the compression {member.compress_type}"
    elif member.file_size > _LARGEST:
        got = f"one of {member.file_size} bytes"
    if got is not None:
        raise InputError(
            f"{path}: {shown(member.filename)}: expected a file stored or deflated, of at most {_LARGEST} bytes, "
            f"got {got}: {_ADVICE}"
        )
