"""The residual networks of SNGAN for 32 x 32 images in Flax, the discriminator without normalisation.

References:
  Miyato et al., Spectral normalization for generative adversarial networks, https://arxiv.org/abs/1802.05957, 2018,
  tables 3 and 4.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.layers import Conv, EnlargedConv, HalvedConv


def enlarge(x: jax.Array) -> jax.Array:
    """Every pixel twice, in both directions."""
    batch, height, width, channels = x.shape
    x = jnp.broadcast_to(x[:, :, None, :, None], (batch, height, 2, width, 2, channels))
    return x.reshape(batch, 2 * height, 2 * width, channels)


def halve(x: jax.Array) -> jax.Array:
    """Means of squares of 2 x 2 pixels."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
    # Not x.mean((2, 4)): XLA's sums over two short axes take 100 of the step's 1,300 ms on two cores, these 50 less.
    return 0.25 * (x[:, :, 0, :, 0] + x[:, :, 0, :, 1] + x[:, :, 1, :, 0] + x[:, :, 1, :, 1])


class Enlarging(nn.Module):
    """A block of the generator. A 1 x 1 convolution and an enlargement may change places: the cheaper order."""

    features: int

    @nn.compact
    def __call__(self, x, train):
        def activate(x):
            return nn.relu(nn.BatchNorm(not train, momentum=0.9, epsilon=1e-5)(x))

        y = EnlargedConv(self.features, 3, name="Conv_0")(activate(x))
        y = Conv(self.features, 3, name="Conv_1")(activate(y))
        return y + enlarge(Conv(self.features, 1, name="Conv_2")(x))


class Generator(nn.Module):
    """Latents `[B, n]` to images `[B, 32, 32, 3]` in [-1, 1]."""

    features: tuple[int, ...] = (256, 256, 256)

    @nn.compact
    def __call__(self, z: jax.Array, train: bool = False) -> jax.Array:
        x = nn.Dense(4 * 4 * self.features[0])(z).reshape(-1, 4, 4, self.features[0])
        for features in self.features:
            x = Enlarging(features)(x, train)
        return jnp.tanh(Conv(3, 3)(nn.relu(nn.BatchNorm(not train, momentum=0.9, epsilon=1e-5)(x))))


class Judging(nn.Module):
    """A block of the discriminator; the first one has no activation before it, and halves before its shortcut."""

    features: int
    first: bool
    halves: bool

    @nn.compact
    def __call__(self, x):
        y = Conv(self.features, 3, name="Conv_0")(x if self.first else nn.relu(x))
        if not self.halves:
            return x + Conv(self.features, 3, name="Conv_1")(nn.relu(y))
        y = HalvedConv(self.features, 3, name="Conv_1")(nn.relu(y))
        return y + Conv(self.features, 1, name="Conv_2")(halve(x))


class Discriminator(nn.Module):
    """Images `[B, 32, 32, 3]` to logits `[B]`: two blocks that halve, the others do not; a sum over pixels."""

    features: tuple[int, ...] = (128, 128, 128, 128)

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for i, features in enumerate(self.features):
            x = Judging(features, first=i == 0, halves=i < 2)(x)
        return nn.Dense(1)(nn.relu(x).sum((1, 2)))[:, 0]
