"""The leaves of a pytree of arrays by their paths: what they are, and their digests."""

import math
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

PyTree = Any


def by_path(tree: PyTree) -> dict[str, Any]:
    """The leaves of a tree by their paths, in their order."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def size(tree: PyTree) -> int:
    """Bytes of a tree's arrays, or of arrays of such shapes."""
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def signatures(tree: PyTree, *, with_digest: bool) -> dict[str, list]:
    """`[dtype and shape, CRC-32]` of every leaf, by its path."""
    leaves = by_path(tree)
    found = {path: [f"{leaf.dtype}{list(leaf.shape)}"] for path, leaf in leaves.items()}
    if with_digest:
        with ThreadPoolExecutor() as threads:  # zlib lets go of the interpreter
            for path, crc in zip(leaves, threads.map(_crc, map(_on_host, leaves.values())), strict=True):
                found[path].append(crc)
    return found


def _on_host(leaf: jax.Array) -> np.ndarray:
    """A leaf, whole, in this process' memory; on a CPU it is not copied."""
    if not isinstance(leaf, jax.Array) or leaf.is_fully_addressable or leaf.is_fully_replicated:
        return np.asarray(leaf)
    from jax.experimental import multihost_utils

    return multihost_utils.process_allgather(leaf, tiled=True)


def _crc(leaf: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(leaf))
