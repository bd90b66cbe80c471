"""The seal of a checkpoint: the CRC-32 of every file, which tells whether it is what was written, before it is read."""

import errno
import json
import os
import pathlib
import stat
import zlib
from concurrent.futures import ThreadPoolExecutor

from jaxgan.errors import DamagedError, shown

NAME = "seal.json"
"""Of the file that is the seal."""
SEALED = ("state", "record")
"""Folders of a checkpoint whose files it is of."""
TEXT_BYTES = 2**24
"""Size of the largest file of metadata that is written or read; a state of a thousand leaves has one of 250 KB."""
BROKEN = (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError)
"""What reading JSON of another form than expected may raise."""
_PIECE = 2**20
_SLACK, _MOST_PACKED = 2**28, 100
"""Bytes that a state of any size may take, and how many fewer its files may take than its arrays."""
_NUMBERS = "d"
"""Name of the folders whose files are the arrays' numbers; every other file is metadata."""


def write(folder: pathlib.Path) -> None:
    """Seals a checkpoint that has its temporary name still, and puts all of it on the disk.

    Raises:
      ValueError: when it has more metadata than would be read.
    """
    for path in folder.rglob("*"):
        if _is_metadata(path) and path.stat().st_size > TEXT_BYTES:
            raise ValueError(f"too many leaves: {path.name} has {path.stat().st_size} bytes, at most {TEXT_BYTES}")
    (folder / NAME).write_text(json.dumps(digests(folder)))
    inside = list(folder.rglob("*"))
    with ThreadPoolExecutor() as threads:  # a disk takes many at once in little more time than one
        list(threads.map(flush, [path for path in inside if path.is_file()]))
        list(threads.map(flush, [folder, *(path for path in inside if path.is_dir())]))


def read(folder: pathlib.Path) -> dict[str, int]:
    """What the seal of a checkpoint says: CRC-32 of every file, by its name.

    Raises:
      DamagedError: when the seal is none, or anything in the folder is no file or folder, or a file that is to be read
        as metadata is too large for it.
    """
    damaged = f"checkpoint {folder.name} is damaged: "
    try:
        for path in (folder, *folder.rglob("*")):
            found, name = path.lstat(), shown(path.relative_to(folder.parent))
            if stat.S_ISLNK(found.st_mode):
                raise DamagedError(f"{damaged}{name} is a symbolic link")
            if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
                raise DamagedError(f"{damaged}{name} is no file")
            if _is_metadata(path) and found.st_size > TEXT_BYTES:
                raise DamagedError(f"{damaged}{name} has {found.st_size} bytes")
    except (OSError, RecursionError) as error:
        raise DamagedError(f"{damaged}it cannot be read ({shown(error)})") from error
    try:
        return dict(json.loads((folder / NAME).read_bytes()))
    except BROKEN as error:
        raise DamagedError(f"{damaged}its seal ({NAME}) is missing or broken") from error


def check(folder: pathlib.Path, size: int) -> None:
    """Compares every file of a checkpoint with what was written.

    Args:
      folder: the checkpoint.
      size: bytes of the arrays in it.

    Raises:
      DamagedError: names the first that is another, or missing, or tells that so many bytes are not for those arrays.
    """
    damaged, sealed = f"checkpoint {folder.name} is damaged: ", read(folder)
    try:
        # Before any is read or made: a file of a terabyte of zeros takes no room on a disk, nor do its zeros packed.
        there = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        if there > _SLACK + 2 * size or size > _SLACK + _MOST_PACKED * there:
            raise DamagedError(f"{damaged}its files have {there} bytes, the arrays in it {size}")
        found = digests(folder)
    except OSError as error:
        raise DamagedError(f"{damaged}it cannot be read ({shown(error)})") from error
    for name in sorted(found.keys() | sealed.keys()):
        if name not in found:
            raise DamagedError(f"{damaged}{folder.name}/{shown(name)} is missing")
        if found[name] != sealed.get(name):
            raise DamagedError(f"{damaged}{folder.name}/{shown(name)} is not what was written")


def digests(folder: pathlib.Path) -> dict[str, int]:
    """CRC-32 of every file of the state and the record in a checkpoint's folder, by its name there."""
    paths = [path for part in SEALED for path in sorted((folder / part).rglob("*")) if path.is_file()]

    def crc(path):
        value = 0
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                value = zlib.crc32(piece, value)
        return value

    with ThreadPoolExecutor() as threads:  # zlib lets go of the interpreter
        return {
            path.relative_to(folder).as_posix(): value
            for path, value in zip(paths, threads.map(crc, paths), strict=True)
        }


def flush(path: pathlib.Path) -> None:
    """Makes the system put a file or a folder on the disk, where it can."""
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system that has no such thing
            raise
    finally:
        os.close(handle)


def _is_metadata(path: pathlib.Path) -> bool:
    """Whether a path in a checkpoint is of a file that is read whole; those of the arrays' numbers are not."""
    return path.parent.name != _NUMBERS
