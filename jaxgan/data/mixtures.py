"""Mixtures of Gaussians in the plane, sampled inside jit: the classic test of mode coverage."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.data import Data
from jaxgan.errors import InputError

# A run's own key is made from the same seed and folded with the same step: without a number of its own the batch
# would draw the very bits that the latents are made of.
_STREAM = 0x6D6978


def ring_centers(modes: int = 8, radius: float = 1.0) -> np.ndarray:
    """Centres evenly spaced on a circle: `radius * (cos 2 pi k / modes, sin 2 pi k / modes)`.

    PacGAN's protocol is 8 modes, radius 1 and a standard deviation of 0.01.

    Args:
      modes: number of centres, at least 1.
      radius: distance of each centre from the origin.

    Returns:
      Centres `[modes, 2]`, float32, all distinct.

    References:
      Lin et al., "PacGAN: The power of two samples in generative adversarial networks", 2018, section 4.1.

    >>> ring_centers(4).round(6) + 0.0
    array([[ 1.,  0.], [ 0.,  1.], [-1.,  0.], [ 0., -1.]], dtype=float32)
    """
    # arange and not linspace, whose last point would fall on the first.
    angles = 2 * np.pi * np.arange(modes) / modes
    return (radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)).astype(np.float32)


def grid_centers() -> np.ndarray:
    """Centres on the five-by-five grid `{-4, -2, 0, 2, 4}^2`.

    PacGAN's protocol is a standard deviation of 0.05.

    Returns:
      Centres `[25, 2]`, float32.

    References:
      Lin et al., "PacGAN: The power of two samples in generative adversarial networks", 2018, section 4.1.
    """
    axis = np.arange(-4, 5, 2, dtype=np.float32)
    return np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(25, 2)


def sample(key: jax.Array, centers: jax.typing.ArrayLike, std: float, count: int) -> jax.Array:
    """Draws from `1/M sum_m N(centers_m, std^2 I)`, pure and traceable.

    Args:
      key: typed PRNG key.
      centers: centres of the M components `[M, 2]`, of equal weight.
      std: standard deviation of each component along each axis.
      count: number of points, static.

    Returns:
      Points `[count, 2]`, float32.
    """
    component_key, noise_key = jax.random.split(key)
    centers = jnp.asarray(centers, jnp.float32)
    component = jax.random.randint(component_key, (count,), 0, centers.shape[0])
    return centers[component] + std * jax.random.normal(noise_key, (count, 2), jnp.float32)


def mixture(centers: np.ndarray, std: float, *, batch_size: int) -> Data:
    """Endless batches of a mixture; the batch is drawn on the device, from `(seed, step)` alone.

    Args:
      centers: centres of the components `[M, 2]`, of equal weight.
      std: standard deviation of each component along each axis, positive.
      batch_size: points in a batch.

    Returns:
      Batches `{"x": float32 [batch_size, 2]}`; `size` and `range` are None.

    Raises:
      InputError: the centres are no `[M, 2]`, the deviation is not positive or the batch is empty.

    >>> mixture(ring_centers(), 0.01, batch_size=4).batch_at(seed=0, step=7)["x"].shape
    (4, 2)
    """
    centers = np.asarray(centers, np.float32)
    if centers.ndim != 2 or centers.shape[1] != 2 or not len(centers):
        raise InputError(f"centres of a mixture: expected the shape [modes, 2], got {list(centers.shape)}")
    if not std > 0:
        raise InputError(f"standard deviation of a mixture: expected a positive number, got {std}")
    if batch_size < 1:
        raise InputError(f"batch size: expected at least 1, got {batch_size}")

    def feed(seed, step):
        return np.array([seed, step], np.uint32)

    def batch(arrays, fed):
        key = jax.random.fold_in(jax.random.key(fed[0]), fed[1])
        return {"x": sample(jax.random.fold_in(key, _STREAM), centers, std, batch_size)}

    return Data(feed, batch, arrays={}, size=None, batch_size=batch_size, range=None)
