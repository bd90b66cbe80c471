"""The kernel distance between two sets of features: a squared maximum mean discrepancy."""

from typing import NamedTuple

import numpy as np

from jaxgan.errors import InputError
from jaxgan.metrics.arrays import blocks, pair


class KernelDistance(NamedTuple):
    """Mean and standard deviation (with `n`, not `n - 1`) of the distance over random subsets."""

    mean: float
    std: float


def kernel_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Unbiased squared maximum mean discrepancy with a cubic kernel, from all examples at once.

    `mean_{i != j} k(a_i, a_j) + mean_{i != j} k(b_i, b_j) - 2 mean_{i, j} k(a_i, b_j)` with
    `k(x, y) = (x . y / d + 1)^3`. It is called KID only on the pool features of the original Inception network.

    Its expectation does not depend on the numbers of examples, which may differ. Around an equal distribution it is
    therefore as often negative as positive. `O((N + M)^2 d)` time, memory independent of N and M.

    >>> kernel_distance(np.array([[0.0], [0.0]]), np.array([[1.0], [1.0]]))  # 1 + 2^3 - 2
    7.0

    Args:
      a: features of one set, `[N, d]`.
      b: features of the other, `[M, d]`.

    Returns:
      The distance, not a square root.

    Raises:
      InputError: wrong rank, differing d, fewer than two examples, or values that are not finite.

    References:
      Binkowski et al., Demystifying MMD GANs, https://arxiv.org/abs/1801.01401, 2018, Eq. 3 and Section 4.
      Gretton et al., A Kernel Two-Sample Test, https://jmlr.org/papers/v13/gretton12a.html, 2012, Eq. 3.
    """
    a, b = pair(a, b, ("a", "b"))
    cross = sum(_cubes(x, y) for _, x in blocks(a) for _, y in blocks(b))
    return float(_within(a) + _within(b) - 2.0 * cross / (len(a) * len(b)))


def kernel_distance_of_subsets(
    a: np.ndarray, b: np.ndarray, rng: np.random.Generator, *, subsets: int = 100, subset_size: int = 1000
) -> KernelDistance:
    """`kernel_distance` as it is published: over random subsets of both sets.

    The mean estimates the same quantity as `kernel_distance`, with more noise for large sets. The standard deviation is
    that of one subset of this size. Subsets share examples, so dividing it by `sqrt(subsets)` gives no standard error.

    Args:
      a: features of one set, `[N, d]`.
      b: features of the other, `[M, d]`.
      rng: draws each subset without replacement, first of a, then of b.
      subsets: number of pairs of subsets.
      subset_size: examples of each set in a subset.

    Returns:
      Mean and standard deviation over the subsets.

    Raises:
      InputError: as `kernel_distance`, or sets smaller than a subset.

    References:
      Binkowski et al., Demystifying MMD GANs, https://arxiv.org/abs/1801.01401, 2018, Section 4.
    """
    a, b = pair(a, b, ("a", "b"))
    if subsets < 1 or not 2 <= subset_size <= min(len(a), len(b)):
        raise InputError(
            f"{subsets} subsets of {subset_size} cannot be drawn from {len(a)} and {len(b)} examples: "
            "choose a smaller subset_size (at least 2), or take kernel_distance of everything"
        )
    distances = [
        kernel_distance(*(x[rng.choice(len(x), subset_size, replace=False)] for x in (a, b))) for _ in range(subsets)
    ]
    return KernelDistance(float(np.mean(distances)), float(np.std(distances)))


def _within(x: np.ndarray) -> float:
    """Mean of the kernel over the pairs of different examples of one set."""
    total = 0.0
    for rows, p in blocks(x):
        itself = np.einsum("nd,nd->n", p, p) / p.shape[1] + 1.0
        total += _cubes(p, p) - np.sum(itself**3)
        total += 2.0 * sum(_cubes(p, q) for _, q in blocks(x[rows.stop :]))
    return total / (len(x) * (len(x) - 1))


def _cubes(x: np.ndarray, y: np.ndarray) -> float:
    kernel = x @ y.T
    kernel /= x.shape[1]
    kernel += 1.0
    return float(np.vdot(kernel * kernel, kernel))  # a cube by `**` costs sixty times as much
