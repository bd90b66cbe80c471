"""Where a generator starts: latents `(key, batch) -> [batch, ...]`, one for each example."""

import dataclasses
import math
from collections.abc import Callable

import jax

from jaxgan.errors import InputError
from jaxgan.players import Batch, batch_size


def normal_latents(*shape: int) -> "Normal":
    """Latents `z ~ N(0, I)` of a shape: `(key, batch) -> [batch, *shape]`.

    >>> latents = normal_latents(3).truncated(0.5)
    >>> z = latents(jax.random.key(0), {"x": jax.numpy.zeros((1000, 2))})
    >>> z.shape, bool(abs(z).max() <= 0.5)
    ((1000, 3), True)
    """
    return Normal(shape)


def uniform_latents(*shape: int) -> Callable:
    """Latents `z ~ U(-1, 1)` of a shape: `(key, batch) -> [batch, *shape]`."""
    return lambda key, batch: jax.random.uniform(key, (batch_size(batch), *shape), minval=-1.0, maxval=1.0)


@dataclasses.dataclass(frozen=True)
class Normal:
    """`z ~ N(0, I)`, where each number is drawn again until it is at most `threshold` from zero.

    Attributes:
      shape: of an example's latents.
      threshold: infinite for all of the normal distribution.
    """

    shape: tuple[int, ...]
    threshold: float = math.inf

    def __call__(self, key: jax.Array, batch: Batch) -> jax.Array:
        shape = (batch_size(batch), *self.shape)
        if self.threshold == math.inf:
            return jax.random.normal(key, shape)
        return jax.random.truncated_normal(key, -self.threshold, self.threshold, shape)

    def truncated(self, threshold: float) -> "Normal":
        """These latents without their tails: samples of better quality and less variety, of a generator trained on all.

        Args:
          threshold: largest magnitude, above 0.

        Raises:
          InputError: the threshold is not above 0.

        References:
          Brock et al., Large Scale GAN Training for High Fidelity Natural Image Synthesis,
          https://arxiv.org/abs/1809.11096, 2018, Section 3.1.
        """
        if not threshold > 0:
            raise InputError(f"latents truncated at {threshold:g}: expected more than 0")
        return dataclasses.replace(self, threshold=threshold)
