"""How often the discriminator is right."""

from typing import NamedTuple

import numpy as np

from jaxgan.errors import InputError


class Accuracy(NamedTuple):
    """Shares of the real and of the fake examples that the discriminator takes for what they are."""

    real: float
    fake: float


def discriminator_accuracy(real_logits: np.ndarray, fake_logits: np.ndarray, boundary: float | None = 0.0) -> Accuracy:
    """Shares of real logits above the boundary and of fake logits below it.

    A logit on the boundary is no answer, and counts as wrong for both. Logits of held-out data beside those of training
    data tell whether the discriminator has learnt its examples by heart.

    >>> discriminator_accuracy(np.array([2.0, -1.0]), np.array([-3.0, -0.5, 0.0, 1.0]))
    Accuracy(real=0.5, fake=0.5)

    Args:
      real_logits: discriminator outputs on data, any shape.
      fake_logits: discriminator outputs on samples, any shape.
      boundary: the logit that means undecided, `Loss.boundary`; None for losses whose logits have no origin, such as
        Wasserstein's: half way between the two mean logits then.

    Raises:
      InputError: no logits, or logits that are not finite.
    """
    real, fake = np.asarray(real_logits, np.float64), np.asarray(fake_logits, np.float64)
    for name, logits in (("real_logits", real), ("fake_logits", fake)):
        wrong = np.count_nonzero(~np.isfinite(logits))
        if not logits.size or wrong:
            raise InputError(f"{name} must be one logit or more, all finite, got {logits.size} with {wrong} not finite")
    if boundary is None:
        boundary = (real.mean() + fake.mean()) / 2
    return Accuracy(float(np.mean(real > boundary)), float(np.mean(fake < boundary)))
