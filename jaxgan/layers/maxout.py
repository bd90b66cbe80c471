"""Maxout."""

from collections.abc import Callable

import flax.linen as nn
import jax

from jaxgan.largest import largest
from jaxgan.layers.dense import Dense


class Maxout(nn.Module):
    """The largest of several linear pieces, `[B, n] -> [B, features]`.

    `h_i = max_j (x W_ij + b_ij)`.

    Attributes:
      features: number of outputs.
      pieces: linear pieces to each output.
      kernel_init: initialiser of the kernel, `[n, features * pieces]`.

    References:
      Goodfellow et al., Maxout networks, https://arxiv.org/abs/1302.4389, 2013.
    """

    features: int
    pieces: int = 5
    kernel_init: Callable = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        pieces = Dense(self.features * self.pieces, kernel_init=self.kernel_init)(x)
        return largest(pieces.reshape(*x.shape[:-1], self.features, self.pieces))
