"""The Frechet distance between two sets of features."""

import numpy as np

from jaxgan.errors import InputError


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Squared Frechet (2-Wasserstein) distance between the Gaussians fitted to two sets of features.

    `|m_a - m_b|^2 + tr S_a + tr S_b - 2 tr (S_a S_b)^(1/2)` with sample means and unbiased covariances (`N - 1`), in
    float64 throughout. It is called FID only on the pool features of the original Inception network.

    The estimate is biased upwards, the more the fewer the examples: give N with every number, and compare equal N only.

    >>> points = np.array([[0.0, 0.0], [0.0, 2.0], [2.0, 0.0], [2.0, 2.0]])
    >>> round(frechet_distance(points, points + 3.0), 9)
    18.0

    Args:
      a: features of one set, `[N, d]`. N may be smaller than d, and features may be constant.
      b: features of the other, `[M, d]`.

    Returns:
      The distance, at least 0.

    Raises:
      InputError: wrong rank, differing d, fewer than two examples, or values that are not finite.

    References:
      Heusel et al., GANs Trained by a Two Time-Scale Update Rule, https://arxiv.org/abs/1706.08500, 2017, Eq. 6.
      Dowson and Landau, The Frechet distance between multivariate normal distributions, 1982.
    """
    a, b = _features(a, "a"), _features(b, "b")
    if a.shape[1] != b.shape[1]:
        raise InputError(f"both sets must have the same features, got {a.shape[1]} and {b.shape[1]} of them")
    (mean_a, cov_a), (mean_b, cov_b) = _moments(a), _moments(b)

    # tr (S_a S_b)^(1/2) = tr (r S_b r)^(1/2) with r = S_a^(1/2): symmetric, so eigh does, which unlike a general matrix
    # root needs no epsilon on the diagonal, and no imaginary part to drop, when a covariance is singular. Eigenvalues
    # below zero are rounding.
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(values.clip(min=0.0))) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ cov_b @ root).clip(min=0.0)).sum()
    distance = np.sum((mean_a - mean_b) ** 2) + np.trace(cov_a) + np.trace(cov_b) - 2.0 * cross
    return max(float(distance), 0.0)  # equal sets may come out below zero by rounding


def _features(x: np.ndarray, name: str) -> np.ndarray:
    x = np.asarray(x, np.float64)  # a mean taken in float32 moves the distance in its seventh digit
    if x.ndim != 2 or x.shape[0] < 2 or x.shape[1] < 1:
        raise InputError(f"{name} must be features [N, d] of at least two examples, got the shape {x.shape}")
    if not np.isfinite(x).all():
        raise InputError(f"{name} has {np.count_nonzero(~np.isfinite(x))} values that are not finite")
    return x


def _moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return x.mean(axis=0), np.atleast_2d(np.cov(x, rowvar=False))  # np.cov of one feature has rank 0
