"""A file of weights: one opening of it for its digest and its arrays."""

import contextlib
import hashlib
import os
import pathlib
import zipfile
from collections.abc import Iterator

from jaxgan.data import files
from jaxgan.errors import InputError


@contextlib.contextmanager
def opened(
    path: str | os.PathLike, expected: str, advice: str, *, sha256: str = ""
) -> Iterator[tuple[zipfile.ZipFile, str]]:
    """The archive in a `.npz` file and the digest of the file; both of one opening, so of the same bytes.

    Args:
      path: the file; opening it never runs code.
      expected: what it should be, for messages.
      advice: how to come by one.
      sha256: the digest the file must have, in hexadecimal; "" for any.

    Raises:
      InputError: no such file, another digest, or what is in it is damaged or something else.
    """
    with files.opened(pathlib.Path(path), expected, advice) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        if sha256 and digest != sha256.lower():
            raise InputError(f"{path}: expected the SHA-256 digest {sha256.lower()}, got {digest}")
        with zipfile.ZipFile(file) as archive:
            yield archive, digest
