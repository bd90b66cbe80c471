"""Multilayer perceptrons, for points, vectors and small images."""

import math
from collections.abc import Callable

import flax.linen as nn
import jax

from jaxgan.layers import Dense, Dropout, Maxout


class Generator(nn.Module):
    """Latents `[B, n]` through hidden layers to samples `[B, *shape]`.

    Attributes:
      shape: shape of one sample.
      widths: sizes of the hidden layers.
      activation: applied after each hidden layer.
      output: applied to the samples, e.g. `jax.numpy.tanh` for images in [-1, 1]; None leaves them as they are.
    """

    shape: tuple[int, ...]
    widths: tuple[int, ...] = (128, 128)
    activation: Callable = nn.relu
    output: Callable | None = None

    @nn.compact
    def __call__(self, z: jax.Array) -> jax.Array:
        for width in self.widths:
            z = self.activation(Dense(width)(z))
        x = Dense(math.prod(self.shape))(z).reshape(-1, *self.shape)
        return x if self.output is None else self.output(x)


class Discriminator(nn.Module):
    """Samples of any shape, flattened, through hidden layers to logits `[B]`.

    Attributes:
      widths: sizes of the hidden layers.
      activation: applied after each hidden layer.
      pieces: 1, or the number of maxout pieces of each hidden layer, which then has no other activation.
      dropout: share of each hidden layer's outputs set to zero in training.
    """

    widths: tuple[int, ...] = (128, 128)
    activation: Callable = nn.leaky_relu
    pieces: int = 1
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        x = x.reshape(x.shape[0], -1)
        for width in self.widths:
            x = Maxout(width, self.pieces)(x) if self.pieces > 1 else self.activation(Dense(width)(x))
            x = Dropout(self.dropout, deterministic=not train)(x)
        return Dense(1)(x)[:, 0]
