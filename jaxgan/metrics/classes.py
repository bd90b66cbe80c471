"""Quality by a classifier of the samples: the Inception score."""

from typing import NamedTuple

import numpy as np
from scipy.special import log_softmax, rel_entr

from jaxgan.errors import InputError


class Score(NamedTuple):
    """Mean and standard deviation (with `n`, not `n - 1`) over the splits."""

    mean: float
    std: float


def inception_score(logits: np.ndarray, *, splits: int = 10) -> Score:
    """Exponential of the mutual information between a sample and its class, by a classifier's account.

    `exp mean_x KL(p(y | x) || p(y))` with `p(y) = mean_x p(y | x)`, on each of `splits` contiguous parts, the i-th from
    `i N // splits`. Between 1 (all samples look alike to the classifier, or it is never sure) and the number of classes
    (sure of each, and all equally often). It sees no lack of variety within a class.

    Samples that come sorted by class must be shuffled first, or every part has few classes.

    >>> inception_score(np.diag([50.0, 50.0]), splits=1)
    Score(mean=2.0, std=0.0)

    Args:
      logits: the classifier's, `[N, K]`. Log-probabilities do as well; `-inf` is a probability of 0.
      splits: number of parts, at most N.

    Returns:
      Mean and standard deviation of the score over the parts.

    Raises:
      InputError: wrong rank, fewer samples than splits, or logits that are NaN, `inf`, or all `-inf`.

    References:
      Salimans et al., Improved Techniques for Training GANs, https://arxiv.org/abs/1606.03498, 2016, Section 4.
    """
    logits = np.asarray(logits)
    if logits.ndim != 2 or 0 in logits.shape:
        raise InputError(f"logits must be [N, K] with one column per class, got the shape {logits.shape}")
    if not 1 <= splits <= len(logits):
        raise InputError(f"splits must be between 1 and the {len(logits)} samples, got {splits}")
    largest = logits.max(axis=1)  # NaN goes through it
    if not np.isfinite(largest).all():
        raise InputError(f"the logits of {np.count_nonzero(~np.isfinite(largest))} samples give no probabilities")
    edges = np.arange(splits + 1) * len(logits) // splits
    scores = [_score(logits[start:stop]) for start, stop in zip(edges[:-1], edges[1:], strict=True)]
    return Score(float(np.mean(scores)), float(np.std(scores)))


def _score(logits: np.ndarray) -> float:
    p = np.exp(log_softmax(logits.astype(np.float64), axis=1))
    # rel_entr(p, q) is p log(p / q), and 0 at p = 0, where p (log p - log q) would be NaN
    return float(np.exp(rel_entr(p, p.mean(axis=0, keepdims=True)).sum(axis=1).mean()))
