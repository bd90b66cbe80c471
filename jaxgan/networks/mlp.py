"""Multilayer perceptrons, for points, vectors and small images."""

import math
from collections.abc import Callable

import flax.linen as nn
import jax

from jaxgan.layers import Dense, Dropout, Maxout, MinibatchDiscrimination, fourier_features


class Generator(nn.Module):
    """Latents `[B, n]` through hidden layers to samples `[B, *shape]`.

    Attributes:
      shape: shape of one sample.
      widths: sizes of the hidden layers.
      activation: applied after each hidden layer.
      output: applied to the samples, e.g. `jax.numpy.tanh` for images in [-1, 1]; None leaves them as they are.
      norm: whether each hidden layer is normalised over the batch, and then has no bias of its own.
      momentum: share of the running statistics that a batch leaves as they are.
      frequencies: of `layers.fourier_features`, which the first layer is shown instead of the latents alone.
      kernel_init: initialiser of all kernels.
      axis_name: mapped axis over which batch statistics are taken together (`pmap`).
    """

    shape: tuple[int, ...]
    widths: tuple[int, ...] = (128, 128)
    activation: Callable = nn.relu
    output: Callable | None = None
    norm: bool = False
    momentum: float = 0.9
    frequencies: tuple[float, ...] = ()
    kernel_init: Callable = nn.initializers.lecun_normal()
    axis_name: str | None = None

    @nn.compact
    def __call__(self, z: jax.Array, train: bool = False) -> jax.Array:
        z = fourier_features(z, self.frequencies)
        for width in self.widths:
            z = Dense(width, use_bias=not self.norm, kernel_init=self.kernel_init)(z)
            if self.norm:
                z = nn.BatchNorm(not train, momentum=self.momentum, axis_name=self.axis_name)(z)
            z = self.activation(z)
        x = Dense(math.prod(self.shape), kernel_init=self.kernel_init)(z).reshape(-1, *self.shape)
        return x if self.output is None else self.output(x)


class Discriminator(nn.Module):
    """Samples of any shape, flattened, through hidden layers to logits `[B]`.

    Attributes:
      widths: sizes of the hidden layers.
      activation: applied after each hidden layer.
      pieces: 1, or the number of maxout pieces of each hidden layer, which then has no other activation.
      dropout: share of each hidden layer's outputs set to zero in training.
      frequencies: of `layers.fourier_features`, which the first layer is shown instead of the samples alone.
      minibatch: numbers that tell the last layer how close an example is to the others of its batch, of
        `layers.MinibatchDiscrimination`.
      kernel_init: initialiser of all kernels.
    """

    widths: tuple[int, ...] = (128, 128)
    activation: Callable = nn.leaky_relu
    pieces: int = 1
    dropout: float = 0.0
    frequencies: tuple[float, ...] = ()
    minibatch: int = 0
    kernel_init: Callable = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        x = fourier_features(x.reshape(x.shape[0], -1), self.frequencies)
        for width in self.widths:
            if self.pieces > 1:
                x = Maxout(width, self.pieces, self.kernel_init)(x)
            else:
                x = self.activation(Dense(width, kernel_init=self.kernel_init)(x))
            x = Dropout(self.dropout, deterministic=not train)(x)
        if self.minibatch:
            x = MinibatchDiscrimination(self.minibatch)(x)
        return Dense(1, kernel_init=self.kernel_init)(x)[:, 0]
