"""Distances between the points of two sets, a block at a time."""

from collections.abc import Iterator

import numpy as np
from scipy.spatial.distance import cdist

from jaxgan.metrics.arrays import blocks

# Where a squared distance is less than this part of the squared norms, their difference has lost too many digits.
_CANCELLED = 1e-5


def distance_blocks(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """Squared distances of every point of x to every point of y, as `(rows of x, rows of y, block)`.

    `|x|^2 + |y|^2 - 2 x . y` is a matrix product, some ten times as fast as differences are. Its error is that of the
    norms, a few 1e-16 of them, so points are centred first, and what is less than 1e-5 of the norms is computed again
    from differences. So every distance is right to 1e-10 of itself, and equal points are at exactly 0.

    Args:
      x: `[N, d]`.
      y: `[M, d]`.
    """
    centre = y.mean(axis=0, dtype=np.float64)
    for rows, p in blocks(x):
        for columns, q in blocks(y):
            yield rows, columns, _squared(p - centre, q - centre, p, q)


def own_distance_blocks(x: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Squared distances of some points of a set to others of it, as `(rows, block)`, until each pair was had both ways.

    A block off the diagonal comes twice: for its rows, and transposed for its columns. The distance of a point to
    itself is infinite: it is not its own neighbour.

    Args:
      x: `[N, d]`.
    """
    centre = x.mean(axis=0, dtype=np.float64)
    for rows, p in blocks(x):
        block = _squared(p - centre, p - centre, p, p)
        np.fill_diagonal(block, np.inf)
        yield rows, block
        for columns, q in blocks(x[rows.stop :]):
            block = _squared(p - centre, q - centre, p, q)
            yield rows, block
            yield slice(rows.stop + columns.start, rows.stop + columns.stop), block.T


def squared_radii(x: np.ndarray, nearest_k: int) -> np.ndarray:
    """Squared distance of every point to its k-th nearest other point, `[N]`; a duplicate is another point."""
    nearest = np.full((len(x), nearest_k), np.inf)
    for rows, block in own_distance_blocks(x):
        candidates = np.concatenate([nearest[rows], block], axis=1)
        candidates.partition(nearest_k - 1, axis=1)
        nearest[rows] = candidates[:, :nearest_k]
    return nearest.max(axis=1)


def _squared(x: np.ndarray, y: np.ndarray, exact_x: np.ndarray, exact_y: np.ndarray) -> np.ndarray:
    norms = np.einsum("nd,nd->n", x, x)[:, None] + np.einsum("md,md->m", y, y)
    block = x @ y.T
    block *= -2.0
    block += norms
    norms *= _CANCELLED
    i, j = np.nonzero(block <= norms)
    if len(i) > block.size // 16:  # a collapse: most pairs lie close
        return cdist(exact_x, exact_y, "sqeuclidean")
    for part in range(0, len(i), len(x)):  # memory as for a block
        pairs = slice(part, part + len(x))
        difference = exact_x[i[pairs]] - exact_y[j[pairs]]
        block[i[pairs], j[pairs]] = np.einsum("nd,nd->n", difference, difference)
    return block
