"""Prepared sets of tensorflow-datasets that a stranger may have made."""

import contextlib
import json
import os
import pathlib
import sys
from collections.abc import Iterator
from typing import Any

from jaxgan.data import files
from jaxgan.errors import InputError

_METADATA = ("dataset_info.json", "features.json")
_CLASS_KEYS = ("pythonClassName", "python_class_name", "type")
_LARGEST = 1 << 26  # bytes of either


@contextlib.contextmanager
def reading(folder: str | os.PathLike) -> Iterator[None]:
    """Says in one line what tensorflow-datasets raises over a set, where it lies prepared.

    Raises:
      InputError: the set is damaged.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # neither it nor what it reads with says which errors
        raise InputError(
            f"{folder}: expected a prepared set, got one that is damaged or cannot be read here "
            f"({files.reason(error)}): remove that folder, or pass another data directory"
        ) from error


def check_metadata(folder: pathlib.Path) -> None:
    """Refuses metadata that would have tensorflow-datasets import a module of their choice, or read gigabytes.

    Args:
      folder: of a set, with its configurations and versions; one that is not there is fine.

    Raises:
      InputError: such metadata, or what is no JSON.
    """
    for path in (path for name in _METADATA for path in sorted(folder.rglob(name))):
        with files.opened(path, "the metadata of a prepared set", f"remove {path.parent}") as file:
            content = file.read(_LARGEST + 1)
            if len(content) > _LARGEST:
                raise ValueError(f"more than {_LARGEST} bytes")
            for name in _classes(json.loads(content)):
                module = name.rpartition(".")[0]
                if not module.startswith("tensorflow_datasets.") and module not in sys.modules:
                    raise ValueError(f"a feature of the class {name}: import its module first, if you trust it")


def _classes(content: Any) -> Iterator[str]:
    """The names of classes that features are of, in a JSON text."""
    if isinstance(content, dict):
        for key, value in content.items():
            if key in _CLASS_KEYS and isinstance(value, str) and "." in value:
                yield value
            elif key == "content" and isinstance(value, str):  # older metadata have texts of JSON in JSON
                yield from _classes(json.loads(value))
        content = list(content.values())
    if isinstance(content, list):
        for part in content:
            yield from _classes(part)
