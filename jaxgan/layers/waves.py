"""Points seen through waves of several frequencies."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp


def fourier_features(x: jax.Array, frequencies: Sequence[float]) -> jax.Array:
    """Coordinates with their sines and cosines, `[..., n] -> [..., n (1 + 2 F)]`.

    `[x, sin(w_1 x), ..., sin(w_F x), cos(w_1 x), ..., cos(w_F x)]`. A network of plain layers learns slow functions of
    its input first, and fast ones late if at all; to tell points apart at a distance of `d` it needs frequencies of
    about `1 / d`.

    >>> fourier_features(jnp.zeros((1, 2)), (1.0, 2.0))
    Array([[0., 0., 0., 0., 0., 0., 1., 1., 1., 1.]], dtype=float32)

    Args:
      x: coordinates.
      frequencies: `w`, radians for a unit of x.

    Returns:
      In the dtype of x.

    References:
      Tancik et al., Fourier Features Let Networks Learn High Frequency Functions in Low Dimensional Domains,
      https://arxiv.org/abs/2006.10739, 2020, Section 6.
    """
    if not frequencies:
        return x
    phases = jnp.concatenate([x * frequency for frequency in frequencies], axis=-1)
    return jnp.concatenate([x, jnp.sin(phases), jnp.cos(phases)], axis=-1)
