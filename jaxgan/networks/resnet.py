"""Residual networks with spectral normalisation (SNGAN), with self-attention (SAGAN) and classes where wanted.

References:
  Miyato et al., Spectral normalization for generative adversarial networks, https://arxiv.org/abs/1802.05957, 2018,
  Table 4.
  Miyato and Koyama, cGANs with projection discriminator, https://arxiv.org/abs/1802.05637, 2018.
  Zhang et al., Self-attention generative adversarial networks, https://arxiv.org/abs/1805.08318, 2019.
  Brock et al., Large scale GAN training for high fidelity natural image synthesis, https://arxiv.org/abs/1809.11096,
  2019, Appendix B.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.layers import (
    ConditionalBatchNorm,
    Conv,
    Dense,
    EnlargedConv,
    HalvedConv,
    SelfAttention,
    enlarge,
    halve,
    one_hot,
)

_glorot = nn.initializers.glorot_uniform()
_residual = nn.initializers.variance_scaling(2.0, "fan_avg", "uniform")  # a ReLU takes half of what goes in


class Enlarging(nn.Module):
    """A block of the generator, `[B,H,W,C] -> [B,2H,2W,features]`; `cond`, `[B, n]`, is its normalisation's.

    Attributes: as of `Generator`.
    """

    features: int
    spectral_norm: bool = False
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, cond: jax.Array | None = None, train: bool = False) -> jax.Array:
        def activate(x):
            if cond is None:
                return nn.relu(_batch_norm(train, self.axis_name)(x))
            return nn.relu(ConditionalBatchNorm(axis_name=self.axis_name)(x, cond, train))

        linear = functools.partial(_linear, self.spectral_norm, train)
        y = linear(EnlargedConv(self.features, 3, kernel_init=_residual, name="Conv_0"), activate(x))
        y = linear(Conv(self.features, 3, kernel_init=_residual, name="Conv_1"), activate(y))
        # A 1 x 1 convolution and an enlargement may change places: the cheaper order.
        return y + enlarge(linear(Conv(self.features, 1, kernel_init=_glorot, name="Conv_2"), x))


class Generator(nn.Module):
    """Latents `[B, n]`, with labels `[B]` where there are classes, to images `[B, side, side, channels]` in [-1, 1].

    Dense to `start x start` pixels, then a block for each of `features`, each of which doubles the side: the defaults
    are the paper's network for CIFAR-10, of 128 latents; `start=7, features=(256, 256)` is for 28 x 28 pixels.

    Attributes:
      channels: 1 (grey) or 3 (RGB).
      start: side of the first feature map, pixels.
      features: channels of the feature maps, one for each block.
      classes: number of classes, each with batch-normalising scales and shifts of its own; 0 for none.
      embedding: 0, or BigGAN's conditioning: size of an embedding of the class that all blocks share. The latents are
        cut into a chunk for the dense layer and one for each block, and scales and shifts are linear in the embedding
        and the block's chunk.
      attention: number of the block, from 0, that self-attention follows.
      spectral_norm: whether the kernels are divided by their spectral norms as well, as in SAGAN and BigGAN; not the
        embedding, nor the kernels of scales and shifts, which start at zero.
      axis_name: mapped axis over which batch statistics are taken together (`pmap`).
    """

    channels: int = 3
    start: int = 4
    features: tuple[int, ...] = (256, 256, 256)
    classes: int = 0
    embedding: int = 0
    attention: int | None = None
    spectral_norm: bool = False
    axis_name: str | None = None

    @nn.compact
    def __call__(self, z: jax.Array, cond: jax.Array | None = None, train: bool = False) -> jax.Array:
        linear = functools.partial(_linear, self.spectral_norm, train)
        labels = one_hot(cond, self.classes, z.dtype)
        conditions = [labels] * len(self.features)
        if self.embedding:
            z, conditions = self._share(z, labels)
        x = linear(Dense(self.start**2 * self.features[0], kernel_init=_glorot), z)
        x = x.reshape(-1, self.start, self.start, self.features[0])
        blocks = _blocks(self.features, self.attention)
        for (features, attends), condition in zip(blocks, conditions, strict=True):
            x = Enlarging(features, self.spectral_norm, self.axis_name)(x, condition, train)
            if attends:
                x = linear(SelfAttention(), x)
        x = nn.relu(_batch_norm(train, self.axis_name)(x))
        return jnp.tanh(linear(Conv(self.channels, 3, kernel_init=_glorot), x))

    def _share(self, z, labels):
        """The first chunk of the latents, and each block's condition: the class's embedding beside its chunk."""
        chunks = len(self.features) + 1
        if labels is None:
            raise ValueError(f"embedding={self.embedding}: expected classes, got none: set classes or leave it 0")
        if z.shape[-1] % chunks:
            raise ValueError(f"{z.shape[-1]} latents do not split into {chunks} chunks: take a multiple of {chunks}")
        init = nn.initializers.orthogonal()
        shared = Dense(self.embedding, use_bias=False, kernel_init=init, name="embedding")(labels)
        z, *chunks = jnp.split(z, chunks, axis=-1)
        return z, [jnp.concatenate([shared, chunk], axis=-1) for chunk in chunks]


class Judging(nn.Module):
    """A block of the discriminator, `[B,H,W,C] -> [B,H,W,features]`, or half the side where it `halves`.

    Attributes:
      features: channels that come out.
      first: whether images go in, which are not activated.
      halves: whether the side is halved.
      spectral_norm: as of `Discriminator`.
    """

    features: int
    first: bool
    halves: bool
    spectral_norm: bool = True

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        linear = functools.partial(_linear, self.spectral_norm, train)
        second = HalvedConv if self.halves else Conv
        y = linear(Conv(self.features, 3, kernel_init=_residual, name="Conv_0"), x if self.first else nn.relu(x))
        y = linear(second(self.features, 3, kernel_init=_residual, name="Conv_1"), nn.relu(y))
        if self.halves or x.shape[-1] != self.features:
            x = halve(x) if self.halves else x  # before the 1 x 1 convolution: the cheaper order, as above
            x = linear(Conv(self.features, 1, kernel_init=_glorot, name="Conv_2"), x)
        return x + y


class Discriminator(nn.Module):
    """Images `[B, H, W, C]`, with labels `[B]` where there are classes, to logits `[B]`.

    Blocks, a ReLU, and the sum over pixels, phi; the logit is linear in it, and where there are classes the product
    with the class's embedding is added (projection, Eq. 8): `w . phi + b + v_class . phi`. The defaults are the paper's
    network for CIFAR-10. No normalisation over the batch: every image is judged by itself.

    Attributes:
      features: channels after each block.
      halvings: how many of the blocks halve the side, from the first on; `2**halvings` divides height and width.
      classes: number of classes, or 0.
      attention: number of the block, from 0, that self-attention follows.
      spectral_norm: whether every kernel, the embedding and those of self-attention too, is divided by its largest
        singular value, `[..., out]` as a matrix; see `dcgan.Discriminator`.
    """

    features: tuple[int, ...] = (128, 128, 128, 128)
    halvings: int = 2
    classes: int = 0
    attention: int | None = None
    spectral_norm: bool = True

    @nn.compact
    def __call__(self, x: jax.Array, cond: jax.Array | None = None, train: bool = False) -> jax.Array:
        linear = functools.partial(_linear, self.spectral_norm, train)
        labels = one_hot(cond, self.classes, x.dtype)
        for i, (features, attends) in enumerate(_blocks(self.features, self.attention)):
            x = Judging(features, i == 0, i < self.halvings, self.spectral_norm)(x, train)
            if attends:
                x = linear(SelfAttention(), x)
        phi = nn.relu(x).sum((1, 2))
        logits = linear(Dense(1, kernel_init=_glorot), phi)[:, 0]
        if labels is None:
            return logits
        embedding = Dense(phi.shape[-1], use_bias=False, kernel_init=_glorot, name="embedding")
        return logits + (linear(embedding, labels) * phi).sum(-1)


def _linear(spectral_norm: bool, train: bool, layer: nn.Module, x: jax.Array) -> jax.Array:
    """A layer, its kernels divided by their spectral norms where wanted."""
    if not spectral_norm:
        return layer(x)
    # Without a dtype its float32 statistics would make its kernels, and so all that follows, float32.
    return nn.SpectralNorm(layer, dtype=x.dtype)(x, update_stats=train)


def _batch_norm(train: bool, axis_name: str | None) -> nn.BatchNorm:
    return nn.BatchNorm(not train, momentum=0.9, epsilon=1e-5, axis_name=axis_name)


def _blocks(features: tuple[int, ...], attention: int | None) -> list[tuple[int, bool]]:
    """The channels of each block, and whether self-attention follows it."""
    if attention is not None and not 0 <= attention < len(features):
        raise ValueError(f"attention={attention}: expected the number of a block, 0 to {len(features) - 1}, or None")
    return [(channels, i == attention) for i, channels in enumerate(features)]
