"""The sliced Wasserstein distance: optimal transport along random directions."""

import numpy as np

from jaxgan.errors import InputError
from jaxgan.metrics.arrays import blocks, pair

_SLICES = 64  # directions that are sorted at a time: it bounds the memory


def random_directions(rng: np.random.Generator, dimensions: int, count: int) -> np.ndarray:
    """Unit vectors, uniform on the sphere, as the columns of `[dimensions, count]`."""
    directions = rng.standard_normal((dimensions, count))
    return directions / np.linalg.norm(directions, axis=0)


def sliced_wasserstein(a: np.ndarray, b: np.ndarray, directions: np.ndarray, *, p: int = 2) -> float:
    """Mean Wasserstein-p distance between the projections of two sets onto directions.

    `(mean_v W_p^p(v . a, v . b))^(1/p)`, where in one dimension `W_p^p` is the integral of `|F_a^-1 - F_b^-1|^p` over
    the quantiles: exact, also for sets of different sizes.

    >>> sliced_wasserstein(np.array([[0.0], [1.0]]), np.array([[2.0], [3.0], [2.0], [3.0]]), np.ones((1, 1)))
    2.0

    Args:
      a: features or pixels of one set, `[N, d]`.
      b: those of the other, `[M, d]`.
      directions: unit vectors as columns, `[d, count]`: see `random_directions`. The same for all that is compared.
      p: 1 or 2.

    Raises:
      InputError: wrong rank, differing d, values that are not finite, or another p.

    References:
      Bonneel et al., Sliced and Radon Wasserstein Barycenters of Measures,
      https://doi.org/10.1007/s10851-014-0506-3, 2015, Section 3.
    """
    a, b = pair(a, b, ("a", "b"), least=1)
    directions = np.asarray(directions, np.float64)
    if directions.ndim != 2 or len(directions) != a.shape[1] or not directions.size:
        raise InputError(f"directions must be [{a.shape[1]}, count], got the shape {directions.shape}")
    if p not in (1, 2):
        raise InputError(f"p must be 1 or 2, got {p}")

    # Both quantile functions are constant between neighbouring multiples of 1 / N and 1 / M: in units of 1 / (N M), to
    # have no rounding decide which example a quantile falls on.
    n, m = len(a), len(b)
    ends = np.union1d(np.arange(1, n + 1) * m, np.arange(1, m + 1) * n)
    masses = np.diff(ends, prepend=0) / (n * m)
    of_a, of_b = (ends - 1) // m, (ends - 1) // n
    total = 0.0
    for start in range(0, directions.shape[1], _SLICES):
        some = directions[:, start : start + _SLICES]
        difference = np.abs(_sorted_projections(a, some)[:, of_a] - _sorted_projections(b, some)[:, of_b])
        total += np.sum(difference**p @ masses)
    return float((total / directions.shape[1]) ** (1 / p))


def _sorted_projections(x: np.ndarray, directions: np.ndarray) -> np.ndarray:
    projections = np.empty((directions.shape[1], len(x)))
    for rows, block in blocks(x):
        projections[:, rows] = (block @ directions).T
    projections.sort(axis=1)
    return projections
