"""The Frechet distance between two sets of features, from their means and covariances."""

import functools
from typing import NamedTuple

import numpy as np

from jaxgan.errors import InputError
from jaxgan.metrics.arrays import blocks, features, pair


class Moments(NamedTuple):
    """What the Frechet distance needs of a set of features; sums, so that sets can be merged.

    Attributes:
      count: N, the number of examples.
      mean: `[d]`, float64.
      scatter: `[d, d]`, float64, the sum of `(x - mean)(x - mean)^T`: `N - 1` times the unbiased covariance.
    """

    count: int
    mean: np.ndarray
    scatter: np.ndarray


def moments(x: np.ndarray) -> Moments:
    """Moments of a set of features, or of one batch of it.

    >>> batches = np.array([[0.0], [2.0]]), np.array([[4.0]])
    >>> merge(*map(moments, batches))
    Moments(count=3, mean=array([2.]), scatter=array([[8.]]))

    Args:
      x: features `[N, d]`; one example is enough.

    Raises:
      InputError: wrong rank, no examples, or values that are not finite.
    """
    return functools.reduce(merge, (_of_block(rows) for _, rows in blocks(features(x, "x", least=1))))


def merge(a: Moments, b: Moments) -> Moments:
    """Moments of two sets together.

    With `N = N_a + N_b` and `delta = m_b - m_a`, the mean is `m_a + delta N_b / N` and the scatter
    `A_a + A_b + delta delta^T N_a N_b / N`. Nothing cancels, unlike in `sum x x^T - N m m^T`, so neither the order nor
    the size of the batches matters beyond rounding.

    Args:
      a: moments of one set.
      b: moments of another with the same features.

    Raises:
      InputError: differing d.

    References:
      Chan, Golub and LeVeque, Updating formulae and a pairwise algorithm for computing sample variances,
      http://i.stanford.edu/pub/cstr/reports/cs/tr/79/773/CS-TR-79-773.pdf, 1979, Eq. 2.1.
    """
    _check_same_features(a, b)
    count, delta = a.count + b.count, b.mean - a.mean
    scatter = np.multiply.outer(delta * (a.count * b.count / count), delta)
    scatter += a.scatter
    scatter += b.scatter
    return Moments(count, a.mean + delta * (b.count / count), scatter)


def moments_distance(a: Moments, b: Moments) -> float:
    """`frechet_distance` of two sets of which only the moments are at hand: a data set's are worth keeping.

    Args:
      a: moments of one set of at least two examples.
      b: moments of the other, same features.

    Returns:
      The distance, at least 0.

    Raises:
      InputError: differing d, or fewer than two examples.
    """
    _check_same_features(a, b)
    for name, of in (("a", a), ("b", b)):
        if of.count < 2:
            raise InputError(f"{name} must have at least two examples to have a covariance, got {of.count}")
    return _distance(a, b, _root(b))


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Squared Frechet (2-Wasserstein) distance between the Gaussians fitted to two sets of features.

    `|m_a - m_b|^2 + tr S_a + tr S_b - 2 tr (S_a S_b)^(1/2)` with sample means and unbiased covariances (`N - 1`), in
    float64 throughout. It is called FID only on the pool features of the original Inception network.

    The estimate is biased upwards, the more the fewer the examples: give N with every number, and compare equal N only,
    or see `frechet_infinity`.

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
    a, b = pair(a, b, ("a", "b"))
    if max(len(a), len(b)) > a.shape[1]:
        return moments_distance(moments(a), moments(b))
    return _distance_of_few(a, b)


def frechet_infinity(
    samples: np.ndarray, reference: np.ndarray, rng: np.random.Generator, *, points: int = 15
) -> float:
    """The Frechet distance that infinitely many samples would have, extrapolated.

    The bias of `frechet_distance` falls as `1 / N`. So it is measured at `points` sizes from `min(5000, N / 10)` to N,
    evenly spaced and rounded down, each with its own random choice of the samples; the answer is the intercept of the
    least squares line in `1 / N`. The reference is used whole, so the bias of *its* number remains.

    Args:
      samples: features of what the generator drew, `[N, d]` with N at least 20.
      reference: features of the data, `[M, d]`.
      rng: chooses the samples; the same seed gives the same figure.
      points: number of sizes, at least 2.

    Returns:
      The intercept. Its noise is about twice that of `frechet_distance`, and where the distance is small it may be
      negative.

    Raises:
      InputError: as `frechet_distance`, fewer than 20 samples, or fewer than two points.

    References:
      Chong and Forsyth, Effectively Unbiased FID and Inception Score and where to find them,
      https://arxiv.org/abs/1911.07023, 2020, Section 4.
    """
    samples, reference = pair(samples, reference, ("samples", "reference"))
    count = len(samples)
    if count < 20 or points < 2:
        raise InputError(f"a line needs at least 20 samples and 2 points, got {count} and {points}")
    fixed = moments(reference)
    root = _root(fixed)
    sizes = np.linspace(min(5000, count // 10), count, points).astype(int)
    distances = [_distance(moments(samples[rng.permutation(count)[:size]]), fixed, root) for size in sizes]
    return float(np.polynomial.polynomial.polyfit(1.0 / sizes, distances, 1)[0])


def _centred(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean = x.mean(axis=0)
    return mean, x - mean


def _of_block(x: np.ndarray) -> Moments:
    mean, centred = _centred(x)
    return Moments(len(x), mean, centred.T @ centred)


def _root(a: Moments) -> np.ndarray:
    """`[d, rank]`, of which `root root^T` is the covariance."""
    values, vectors = np.linalg.eigh(a.scatter)
    # N points span at most N - 1 dimensions. The smaller eigenvalues are rounding, which a square root would raise from
    # 1e-16 to 1e-8, each; those below zero are rounding too.
    rank = min(a.count - 1, len(values))
    return vectors[:, -rank:] * np.sqrt(values[-rank:].clip(min=0.0) / (a.count - 1))


def _distance(a: Moments, b: Moments, root_b: np.ndarray) -> float:
    # tr (S_a S_b)^(1/2) = tr (r^T S_a r)^(1/2) with r r^T = S_b: symmetric, so eigvalsh does, which unlike a general
    # matrix root needs no epsilon on the diagonal, and no imaginary part to drop, when a covariance is singular.
    values = np.linalg.eigvalsh(root_b.T @ a.scatter @ root_b)
    cross = np.sqrt(values[-min(a.count - 1, len(values)) :].clip(min=0.0) / (a.count - 1)).sum()
    traces = np.trace(a.scatter) / (a.count - 1) + np.trace(b.scatter) / (b.count - 1)
    return _summed(a.mean - b.mean, traces, cross)


def _distance_of_few(a: np.ndarray, b: np.ndarray) -> float:
    # Of fewer examples than features, without matrices [d, d]: with centred rows X and Y, S_a = X^T X and S_b = Y^T Y
    # but for the counts, and tr (S_a S_b)^(1/2) is the sum of the singular values of X Y^T, [N, M].
    (mean_a, x), (mean_b, y) = (_centred(np.asarray(v, np.float64)) for v in (a, b))
    x /= np.sqrt(len(x) - 1)
    y /= np.sqrt(len(y) - 1)
    cross = np.linalg.svd(x @ y.T, compute_uv=False).sum()
    return _summed(mean_a - mean_b, np.sum(x**2) + np.sum(y**2), cross)


def _summed(offset: np.ndarray, traces: float, cross: float) -> float:
    distance = np.sum(offset**2) + traces - 2.0 * cross
    return max(float(distance), 0.0)  # equal sets may come out below zero by rounding


def _check_same_features(a: Moments, b: Moments) -> None:
    if a.mean.shape != b.mean.shape:
        raise InputError(f"both moments must have the same features, got {len(a.mean)} and {len(b.mean)} of them")
