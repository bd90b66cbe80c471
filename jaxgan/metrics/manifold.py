"""Fidelity and variety apart: precision, recall, density and coverage of two sets of features."""

from typing import NamedTuple

import numpy as np

from jaxgan.errors import InputError
from jaxgan.metrics.arrays import pair
from jaxgan.metrics.neighbours import distance_blocks, squared_radii


class PRDC(NamedTuple):
    """What `prdc` returns. Shares in [0, 1], but density, which is at most `M / k` and near 1 where both sets agree.

    Attributes:
      precision: share of the samples that lie in the ball of at least one real example.
      recall: share of the real examples that lie in the ball of at least one sample.
      density: number of real balls that a sample lies in, on average, divided by k.
      coverage: share of the real examples whose ball holds at least one sample.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def prdc(real: np.ndarray, fake: np.ndarray, *, nearest_k: int = 5) -> PRDC:
    """Precision, recall, density and coverage, from balls around examples.

    The ball of a point reaches to its k-th nearest neighbour in its own set, itself not counted, and is open: a point
    at exactly that distance is outside (`<`, as in the prdc package; torch-fidelity and StyleGAN3 take `<=`).
    Duplicates are neighbours of each other. So the ball of a point with k copies or more is empty, and a set all of
    such points has a precision, recall, density and coverage of 0 even against itself.

    High precision with low recall and coverage is a collapse; the reverse is noise around the data. One outlier with a
    wide ball can raise precision and recall much, density and coverage little. All four depend on N, M and k.

    >>> square = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> prdc(square, 0.5 * square[:2], nearest_k=1)
    PRDC(precision=1.0, recall=0.25, density=1.5, coverage=0.5)

    Args:
      real: features of the data, `[M, d]`.
      fake: features of the samples, `[N, d]`.
      nearest_k: k, less than M and than N. Naeem et al. use 5, Kynkäänniemi et al. 3.

    Raises:
      InputError: wrong rank, differing d, values that are not finite, or `nearest_k` out of range.

    References:
      Kynkäänniemi et al., Improved Precision and Recall Metric for Assessing Generative Models,
      https://arxiv.org/abs/1904.06991, 2019, Eq. 1 and 2.
      Naeem et al., Reliable Fidelity and Diversity Metrics for Generative Models,
      https://arxiv.org/abs/2002.09797, 2020, Eq. 3 and 5.
    """
    real, fake = pair(real, fake, ("real", "fake"))
    if not 1 <= nearest_k < min(len(real), len(fake)):
        raise InputError(
            f"nearest_k must be at least 1 and less than both sets, got {nearest_k} of {len(real)} real and "
            f"{len(fake)} fake examples"
        )
    real_radii, fake_radii = squared_radii(real, nearest_k), squared_radii(fake, nearest_k)
    balls = np.zeros(len(fake), np.int64)  # real balls that each sample lies in
    recalled, covered = np.zeros((2, len(real)), bool)
    for rows, columns, squared in distance_blocks(real, fake):
        in_real_ball = squared < real_radii[rows, None]
        balls[columns] += np.count_nonzero(in_real_ball, axis=0)
        covered[rows] |= in_real_ball.any(axis=1)
        recalled[rows] |= (squared < fake_radii[None, columns]).any(axis=1)
    return PRDC(
        precision=float(np.mean(balls > 0)),
        recall=float(np.mean(recalled)),
        density=int(balls.sum()) / (nearest_k * len(fake)),
        coverage=float(np.mean(covered)),
    )
