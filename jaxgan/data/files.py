"""Files that a stranger may have made: nothing in one runs, none takes more memory than it says, one line tells why."""

import contextlib
import io
import math
import os
import pathlib
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np

from jaxgan.errors import InputError, shown

# What reading an archive, the arrays in it and a text of JSON raises where they are not sound; RuntimeError is of
# encrypted archives and of nesting too deep, NotImplementedError of compressions that Python does not know.
_BROKEN = (ArithmeticError, LookupError, TypeError, ValueError, OSError, EOFError, RuntimeError, MemoryError)
_BROKEN += (SyntaxError, tokenize.TokenError, zipfile.BadZipFile, zlib.error)
# Those that NumPy writes; Python's readers of the others unpack at once whatever a piece of the file stands for.
COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_HEADER = 1 << 16  # bytes that the header of an array is looked for in; NumPy itself takes no more than 10,000


class Header(NamedTuple):
    """What an array's header says.

    Attributes:
      shape: no size is negative.
      fortran_order: whether the first axis is the fastest.
      dtype: never of objects, which are pickles.
      start: where the values begin, bytes.
    """

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype
    start: int

    @property
    def size(self) -> int:
        """Bytes of the values."""
        return math.prod(self.shape) * self.dtype.itemsize


def memory() -> int:
    """Bytes of this machine's memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@contextlib.contextmanager
def opened(path: pathlib.Path, expected: str, advice: str) -> Iterator[BinaryIO]:
    """A file to read; whatever reading it in the block raises is said in one line.

    Args:
      path: an ordinary file; pipes and devices, whose reading may not end, are refused.
      expected: what the file should be.
      advice: what to do where it is not.

    Raises:
      InputError: no such file, or what is in it is damaged or something else.
    """
    with reading(path, expected, advice):
        if not path.is_file():
            raise InputError(f"{path}: no such file: expected {expected}")
        with path.open("rb") as file:
            yield file


@contextlib.contextmanager
def reading(what: str | pathlib.Path, expected: str, advice: str) -> Iterator[None]:
    """Says in one line whatever reading a file, or one in an archive, raises in the block.

    Raises:
      InputError: what is in it is damaged or something else.
    """
    try:
        yield
    except InputError:
        raise
    except _BROKEN as error:
        raise InputError(
            f"{what}: expected {expected}, got one that is damaged or holds something else ({reason(error)}): {advice}"
        ) from error


def reason(error: Exception) -> str:
    """What an error of another package says, or what kind it is, as a part of one line."""
    return shown(error) or type(error).__name__


def header(file: BinaryIO) -> Header:
    """The header of an array in NumPy's format.

    Args:
      file: at its beginning; where it is afterwards is not said.

    Raises:
      ValueError: no such header, or one of objects.
    """
    # Of a copy of the beginning: a header may state that it is itself gigabytes long.
    start = io.BytesIO(file.read(_HEADER))
    version = np.lib.format.read_magic(start)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:  # 3.0 is for names of fields that are not Latin
        raise ValueError(f"an array of the unknown format {version}")
    shape, fortran_order, dtype = readers[version](start)
    if dtype.hasobject:
        raise ValueError("objects, which are pickles: they are only read with allow_pickle=False")
    if any(size < 0 for size in shape):
        raise ValueError(f"an array of the shape {list(shape)}")
    return Header(shape, fortran_order, dtype, start.tell())


def names(archive: zipfile.ZipFile) -> list[str]:
    """The arrays in a `.npz` archive; what else is in it is never read."""
    return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]


def array_header(archive: zipfile.ZipFile, name: str) -> Header:
    """The header of an array of a `.npz` archive, which is checked against what the archive holds."""
    member = archive.getinfo(f"{name}.npy")
    if member.compress_type not in COMPRESSIONS:
        raise ValueError(f"{name}, which is compressed as NumPy does not")
    with archive.open(member) as file:
        found = header(file)
    if found.start + found.size != member.file_size:
        held = member.file_size - found.start
        raise ValueError(f"{name}, whose header tells of {found.size} bytes and which has {held}")
    return found


def array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """An array of a `.npz` archive, whose bytes are verified by their checksum.

    Raises:
      ValueError: one that the machine's memory does not hold, or one that is not sound.
    """
    size = array_header(archive, name).size
    if size > memory():  # a few megabytes of an archive can stand for terabytes
        raise ValueError(f"{name}, whose {size} bytes are more than the {memory()} of this machine's memory")
    with archive.open(f"{name}.npy") as file:
        return np.lib.format.read_array(file, allow_pickle=False)
