"""Energy-based GANs: the discriminator is an autoencoder, and an example's energy its error of reconstruction.

For `losses.energy_based(margin)` and BEGAN. The generator is a multilayer perceptron's or any other.

References:
  Zhao et al., Energy-based Generative Adversarial Network, https://arxiv.org/abs/1609.03126, 2016, Section 2.3.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.layers import Dense
from jaxgan.networks import mlp

Generator = mlp.Generator


class Discriminator(nn.Module):
    """Samples of any shape to logits `[B]`: minus the mean squared error of their reconstruction, over their numbers.

    Attributes:
      widths: sizes of the encoder's layers; the decoder has them backwards.
    """

    widths: tuple[int, ...] = (256, 64)

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = x.reshape(x.shape[0], -1)
        y = x
        for width in (*self.widths, *self.widths[-2::-1]):
            y = nn.relu(Dense(width)(y))
        y = Dense(math.prod(x.shape[1:]))(y)
        return -jnp.mean((y - x) ** 2, axis=-1)
