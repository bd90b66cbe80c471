"""Similarity of images pair by pair: PSNR, SSIM, MS-SSIM, and the variety of samples that MS-SSIM measures.

Each compares image i of one array with image i of the other and gives one value per pair, `[N]`.
"""

from collections.abc import Callable

import numpy as np
from scipy.ndimage import correlate1d

from jaxgan.errors import InputError
from jaxgan.metrics.arrays import images

# Wang et al. 2004, Section III-B: a circular Gaussian of 11 taps and standard deviation 1.5, K1 = 0.01, K2 = 0.03.
_TAPS = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
_WINDOW = _TAPS / _TAPS.sum()
_K1, _K2 = 0.01, 0.03
# Wang et al. 2003, Section 3.2: exponents of the scales, the finest first.
_EXPONENTS = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])
_PAIRS = 32  # pairs that are in float64 at a time: it bounds the memory


def psnr(a: np.ndarray, b: np.ndarray, *, data_range: float) -> np.ndarray:
    """Peak signal-to-noise ratio in decibels: `10 log10(data_range^2 / mean squared error)`.

    >>> psnr(np.zeros((1, 2, 2, 1)), np.full((1, 2, 2, 1), 0.1), data_range=1.0)
    array([20.])

    Args:
      a: images `[N, H, W, C]`.
      b: images, same shape.
      data_range: largest possible pixel minus smallest: 2 for images in [-1, 1].

    Returns:
      One value per pair, `[N]`; infinite for equal images.

    Raises:
      InputError: wrong rank, differing shapes, values that are not finite, or a range that is not positive.
    """
    errors = _by_pairs(lambda x, y: np.mean((x - y) ** 2, axis=(1, 2, 3)), *_checked(a, b, data_range))
    with np.errstate(divide="ignore"):
        return 10 * np.log10(data_range**2 / errors)


def ssim(a: np.ndarray, b: np.ndarray, *, data_range: float) -> np.ndarray:
    """Structural similarity: 1 for equal images, below 0 where structure is inverted.

    The mean over the positions of a Gaussian window (11 taps, standard deviation 1.5) and over the channels of
    `(2 m_a m_b + c_1) (2 s_ab + c_2) / ((m_a^2 + m_b^2 + c_1) (s_a^2 + s_b^2 + c_2))`, where `c_1 = (0.01 range)^2` and
    `c_2 = (0.03 range)^2`. Only windows inside the image count; variances are weighted means, without `N / (N - 1)`.

    Args:
      a: images `[N, H, W, C]`, sides of at least 11 pixels.
      b: images, same shape.
      data_range: largest possible pixel minus smallest: 2 for images in [-1, 1].

    Returns:
      One value per pair, `[N]`.

    Raises:
      InputError: wrong rank, differing shapes, small images, values that are not finite, or a range that is not
        positive.

    References:
      Wang et al., Image quality assessment: from error visibility to structural similarity,
      https://doi.org/10.1109/TIP.2003.819861, 2004, Eq. 13.
    """
    return ms_ssim(a, b, data_range=data_range, scales=1)


def ms_ssim(a: np.ndarray, b: np.ndarray, *, data_range: float, scales: int = 5) -> np.ndarray:
    """Structural similarity on several scales.

    The mean over the channels of `l_S^w_S prod_j c_j^w_j`: `c_j` is the mean of SSIM's second fraction on scale j, and
    on the coarsest scale S the mean of both fractions' product stands for `l_S c_S`. From one scale to the next images
    are averaged over 2 x 2 pixels; the last row or column of an odd side is used twice, as in the authors' program.
    Means below 0 count as 0, as a power of them is no number; with one scale, plain SSIM, they stand.

    With fewer scales the exponents `w_j` are the first ones, scaled to the sum of the published five. Such values
    compare only with values of as many scales.

    Args:
      a: images `[N, H, W, C]`, sides of more than `10 * 2^(scales - 1)` pixels: 160 for five scales.
      b: images, same shape.
      data_range: largest possible pixel minus smallest: 2 for images in [-1, 1].
      scales: 1 to 5.

    Returns:
      One value per pair, `[N]`.

    Raises:
      InputError: wrong rank, differing shapes, small images, values that are not finite, or a range that is not
        positive.

    References:
      Wang, Simoncelli and Bovik, Multi-scale structural similarity for image quality assessment,
      https://doi.org/10.1109/ACSSC.2003.1292216, 2003, Eq. 7.
    """
    a, b = _checked(a, b, data_range)
    if not 1 <= scales <= len(_EXPONENTS):
        raise InputError(f"scales must be between 1 and {len(_EXPONENTS)}, got {scales}")
    side, least = min(a.shape[1:3]), 10 * 2 ** (scales - 1)
    if side <= least:
        fits = [s for s in range(1, scales) if side > 10 * 2 ** (s - 1)]
        cure = f"choose scales={fits[-1]}" if fits else "no number of scales fits"
        raise InputError(f"{scales} scales need sides of more than {least} pixels, got {side}: {cure}")
    return _by_pairs(lambda x, y: _ms_ssim(x, y, data_range, scales), a, b)


def mean_pair_similarity(
    samples: np.ndarray, rng: np.random.Generator, *, data_range: float, pairs: int = 100, scales: int = 5
) -> float:
    """How alike samples are: the mean MS-SSIM of random pairs of them. Compare it with the data's own.

    Above the data's, the samples are less varied: 1 is a complete collapse. Odena et al. take 100 pairs within one
    class, since classes differ for every model.

    Args:
      samples: images `[N, H, W, C]`, at least two, of one class.
      rng: draws the pairs: two different samples each, pairs with replacement.
      data_range: largest possible pixel minus smallest: 2 for images in [-1, 1].
      pairs: number of pairs.
      scales: see `ms_ssim`; fewer than five for images of up to 160 pixels.

    Raises:
      InputError: as `ms_ssim`, fewer than two samples, or no pairs.

    References:
      Odena et al., Conditional Image Synthesis with Auxiliary Classifier GANs,
      https://arxiv.org/abs/1610.09585, 2016, Section 4.2.
    """
    samples = images(samples, "samples")
    if len(samples) < 2 or pairs < 1:
        raise InputError(f"a pair needs two samples, and a mean one pair, got {len(samples)} and {pairs}")
    first = rng.integers(len(samples), size=pairs)
    second = (first + rng.integers(1, len(samples), size=pairs)) % len(samples)  # never the first again
    return float(ms_ssim(samples[first], samples[second], data_range=data_range, scales=scales).mean())


def _ms_ssim(a: np.ndarray, b: np.ndarray, data_range: float, scales: int) -> np.ndarray:
    similarity, contrast = _fractions(a, b, data_range)
    if scales == 1:
        return similarity.mean(axis=1)
    exponents = _EXPONENTS[:scales] * (_EXPONENTS.sum() / _EXPONENTS[:scales].sum())
    product = 1.0
    for exponent in exponents[:-1]:
        product = product * contrast.clip(min=0.0) ** exponent
        a, b = _halved(a), _halved(b)
        similarity, contrast = _fractions(a, b, data_range)
    return (product * similarity.clip(min=0.0) ** exponents[-1]).mean(axis=1)


def _fractions(a: np.ndarray, b: np.ndarray, data_range: float) -> tuple[np.ndarray, np.ndarray]:
    """Means over positions of SSIM and of its second fraction, `[N, C]` each."""
    c1, c2 = (_K1 * data_range) ** 2, (_K2 * data_range) ** 2
    mean_a, mean_b = _blurred(a), _blurred(b)
    products = mean_a * mean_b
    squares = mean_a**2 + mean_b**2
    covariance = _blurred(a * b) - products
    variances = _blurred(a**2 + b**2) - squares  # a blur is linear: one for both
    contrast = (2 * covariance + c2) / (variances + c2)
    similarity = (2 * products + c1) / (squares + c1) * contrast
    return similarity.mean(axis=(1, 2)), contrast.mean(axis=(1, 2))


def _blurred(x: np.ndarray) -> np.ndarray:
    """The window's weighted mean at every position where it fits, `[N, H - 10, W - 10, C]`."""
    return correlate1d(correlate1d(x, _WINDOW, axis=1)[:, 5:-5], _WINDOW, axis=2)[:, :, 5:-5]


def _halved(x: np.ndarray) -> np.ndarray:
    x = np.pad(x, ((0, 0), (0, x.shape[1] % 2), (0, x.shape[2] % 2), (0, 0)), mode="edge")
    return (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4


def _checked(a: np.ndarray, b: np.ndarray, data_range: float) -> tuple[np.ndarray, np.ndarray]:
    a, b = images(a, "a"), images(b, "b")
    if a.shape != b.shape:
        raise InputError(f"a and b must be images of the same shape, got {a.shape} and {b.shape}")
    if not 0 < data_range < np.inf:
        raise InputError(f"data_range must be positive and finite, got {data_range}")
    return a, b


def _by_pairs(function: Callable, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    parts = [slice(start, start + _PAIRS) for start in range(0, len(a), _PAIRS)]
    return np.concatenate([function(a[part].astype(np.float64), b[part].astype(np.float64)) for part in parts])
