"""What every metric asks of its arrays, and how it walks through them in float64."""

from collections.abc import Iterator

import numpy as np

from jaxgan.errors import InputError

BLOCK = 1024
"""Rows that are held in float64 at a time: at 2,048 features 16 MiB, and wide enough for a fast matrix product."""


def features(x: np.ndarray, name: str, *, least: int = 2) -> np.ndarray:
    """The array as it came, float32 or float64, once it is known to be finite features `[N, d]`.

    Other types become float64. Float32 does not: 50,000 images would take twice the memory, so `blocks` converts.

    Args:
      x: what was given.
      name: what the caller calls it.
      least: the fewest examples allowed.

    Raises:
      InputError: wrong rank, fewer than `least` examples, no features, or values that are not finite.
    """
    x = _floating(x)
    if x.ndim != 2 or x.shape[0] < least or x.shape[1] < 1:
        raise InputError(f"{name} must be features [N, d] with N at least {least}, got the shape {x.shape}")
    return _finite(x, name)


def pair(a: np.ndarray, b: np.ndarray, names: tuple[str, str], *, least: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Two sets of `features` with the same d."""
    a, b = features(a, names[0], least=least), features(b, names[1], least=least)
    if a.shape[1] != b.shape[1]:
        raise InputError(
            f"{names[0]} and {names[1]} must have the same features, got {a.shape[1]} and {b.shape[1]} of them"
        )
    return a, b


def images(x: np.ndarray, name: str) -> np.ndarray:
    """The array as it came, once it is known to be finite images `[N, H, W, C]`."""
    x = _floating(x)
    if x.ndim != 4 or 0 in x.shape:
        raise InputError(f"{name} must be images [N, H, W, C], got the shape {x.shape}")
    return _finite(x, name)


def blocks(x: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """The rows `BLOCK` at a time: where they are, and themselves in float64."""
    for start in range(0, len(x), BLOCK):
        rows = slice(start, min(start + BLOCK, len(x)))
        yield rows, np.asarray(x[rows], np.float64)


def _floating(x: np.ndarray) -> np.ndarray:
    x = np.asarray(x)
    return x if x.dtype in (np.float32, np.float64) else x.astype(np.float64)


def _finite(x: np.ndarray, name: str) -> np.ndarray:
    # the extremes are finite only if everything is: NaN goes through min, and no mask as large as x is made
    if not np.isfinite([x.min(), x.max()]).all():
        raise InputError(f"{name} has {np.count_nonzero(~np.isfinite(x))} values that are not finite")
    return x
