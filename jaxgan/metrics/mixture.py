"""Sample quality on two-dimensional mixtures of Gaussians, whose modes are known."""

import math

import numpy as np

from jaxgan.errors import InputError
from jaxgan.metrics.modes import mode_coverage

# What samples from the mixture itself reach at the default threshold: the Rayleigh distribution's mass within three
# standard deviations, 0.98889. More than this is no merit: the samples are narrower than the modes.
PERFECT_HIGH_QUALITY = 1.0 - math.exp(-(3.0**2) / 2)


def mixture_quality(samples: np.ndarray, centers: np.ndarray, std: float, *, threshold: float = 3.0) -> dict:
    """Modes found, share of good samples and evenness over the modes, by PacGAN's protocol.

    A sample is of high quality if it lies less than `threshold * std` from its nearest centre, and then belongs to it.
    With `p_k` the share of mode k among the high-quality samples, the divergence is `sum_k p_k log(K p_k)`, the natural
    `KL(p || uniform)` ("reverse" because the model comes first): 0 if even, `log K` if one mode holds everything.

    A perfect sampler reaches `PERFECT_HIGH_QUALITY` where modes lie apart, and a divergence of about `(K - 1) / (2 N)`.

    >>> mixture_quality(np.array([[0.0, 0.1], [0.1, 0.0], [5.0, 5.0]]), np.array([[0.0, 0.0], [9.0, 9.0]]), 0.1)
    {'modes': 1, 'high_quality': 0.6666666666666666, 'reverse_kl': 0.6931471805599453}

    Args:
      samples: what the generator drew, `[N, 2]`. A sample that is not finite is not of high quality.
      centers: the modes, `[K, 2]`.
      std: standard deviation of every mode along each axis.
      threshold: radius of high quality in standard deviations.

    Returns:
      `modes`, the number of modes with at least one high-quality sample; `high_quality`, the share of all samples;
      `reverse_kl`, in nats, or None where no sample is of high quality (JSON has no infinity). Evenness says nothing
      about quality: read the three together.

    Raises:
      InputError: wrong shapes, no samples, no or non-finite centres, or a `std` or `threshold` that is not
        positive and finite.

    References:
      Lin et al., PacGAN: The power of two samples in generative adversarial networks,
      https://arxiv.org/abs/1712.04086, 2017, Table 1.
    """
    samples, centers = np.asarray(samples, np.float64), np.asarray(centers, np.float64)
    for name, points in (("samples", samples), ("centers", centers)):
        if points.ndim != 2 or points.shape[1] != 2 or not len(points):
            raise InputError(f"{name} must be points [N, 2] with N at least 1, got the shape {points.shape}")
    if not np.isfinite(centers).all():
        raise InputError("centers must be finite")
    if not (0 < std < math.inf and 0 < threshold < math.inf):
        raise InputError(f"std and threshold must be positive and finite, got {std} and {threshold}")

    finite = samples[np.isfinite(samples).all(axis=1)]
    offsets = finite[:, None] - centers
    distances = np.hypot(offsets[..., 0], offsets[..., 1])  # [N, K]
    nearest = distances.argmin(axis=1)
    good = distances.min(axis=1) < threshold * std
    nothing = {"modes": 0, "reverse_kl": None}
    coverage = mode_coverage(nearest[good], len(centers)) if good.any() else nothing
    return {
        "modes": coverage["modes"],
        "high_quality": int(good.sum()) / len(samples),
        "reverse_kl": coverage["reverse_kl"],
    }
