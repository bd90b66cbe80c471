"""R3GAN: two mirrored residual networks of grouped convolutions, without normalisation of any kind.

References:
  Huang et al., The GAN is dead; long live the GAN! A modern baseline GAN, https://arxiv.org/abs/2501.05441, 2024, and
  `R3GAN/Networks.py` and `train.py` of https://github.com/brownvc/R3GAN.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.layers import Dense, GroupedConv, downsample, one_hot, upsample

SLOPE = 0.2
"""Slope of the leaky ReLU below zero."""


class Generator(nn.Module):
    """Latents `[B, n]` to images `[B, side, side, channels]`, unbounded, `side = start * 2**(len(widths) - 1)`.

    A learned map of `start x start` pixels, whose channels are multiplied by a linear map of the latents; then stages
    of residual blocks, an enlargement before each but the first; then a linear map to the image. What `classes` there
    are is embedded in as many numbers as there are latents, and follows them.

    The defaults are the authors' for CIFAR-10. For FFHQ at 256 pixels `widths=(768, 768, 768, 768, 384, 192, 96)`; for
    ImageNet at 32 and 64 pixels four and five of 1536, `group=32` and `classes=1000`; 64 latents for all.

    Attributes:
      channels: 1 (grey) or 3 (RGB).
      start: side of the first feature map, pixels.
      widths: channels of each stage, from the smallest feature map on.
      blocks: residual blocks of each stage.
      expansion: channels within a block, for each channel of its stage.
      group: channels in each group of the blocks' convolutions.
      classes: number of classes, 0 for a generator that takes no `cond`.
    """

    channels: int = 3
    start: int = 4
    widths: tuple[int, ...] = (768, 768, 768, 768)
    blocks: int = 2
    expansion: int = 2
    group: int = 16
    classes: int = 0

    @nn.compact
    def __call__(self, z: jax.Array, cond: jax.Array | None = None) -> jax.Array:
        labels = one_hot(cond, self.classes, z.dtype)
        if labels is not None:
            z = jnp.concatenate([z, _linear(z.shape[-1])(labels)], axis=-1)
        basis = self.param("basis", nn.initializers.normal(1.0), (1, self.start, self.start, self.widths[0]))
        x = _product(basis, _linear(self.widths[0])(z)[:, None, None])
        for stage, width in enumerate(self.widths):
            if stage:
                x = upsample(_resized(width, x))
            for _ in range(self.blocks):
                x = Block(self.expansion, self.group, self.blocks * len(self.widths))(x)
        return _linear(self.channels)(x)


class Discriminator(nn.Module):
    """Images `[B, H, W, C]` to logits `[B]`: the generator's stages in reverse.

    A linear map from the image; stages of residual blocks, a reduction after each but the last; then one number for
    each channel, its sum over pixels with learned weights, and a linear map of these: to the logit, or, where there are
    `classes`, to a vector whose product with the class's embedding is the logit. The defaults are as of `Generator`.

    Attributes:
      widths: channels of each stage, from the largest feature map on.
      blocks: residual blocks of each stage.
      expansion: channels within a block, for each channel of its stage.
      group: channels in each group of the blocks' convolutions.
      classes: number of classes, 0 for a discriminator that takes no `cond`.
    """

    widths: tuple[int, ...] = (768, 768, 768, 768)
    blocks: int = 2
    expansion: int = 2
    group: int = 16
    classes: int = 0

    @nn.compact
    def __call__(self, x: jax.Array, cond: jax.Array | None = None) -> jax.Array:
        labels = one_hot(cond, self.classes, x.dtype)
        step = 2 ** (len(self.widths) - 1)
        if x.shape[1] % step or x.shape[2] % step:
            raise ValueError(
                f"{len(self.widths)} stages: expected sides that {step} divides, got {x.shape[1:3]} pixels"
            )
        x = _linear(self.widths[0])(x)
        for stage, width in enumerate(self.widths):
            if stage:
                x = _resized(width, downsample(x))
            for _ in range(self.blocks):
                x = Block(self.expansion, self.group, self.blocks * len(self.widths))(x)
        # A kernel of one channel over the whole map, so that its pixels are the fan-in.
        height, width, channels = x.shape[1:]
        basis = self.param("basis", nn.initializers.normal((height * width) ** -0.5), (1, height, width, channels))
        x = _product(basis, x, axes=(1, 2))
        if labels is None:
            return _linear(1)(x)[:, 0]
        embedding = _linear(self.widths[-1], gain=self.widths[-1] ** -0.5)(labels)
        return _product(_linear(self.widths[-1])(x), embedding, axes=(1,))


class Block(nn.Module):
    """`x + f(x)`, `f` linear to more channels, a 3x3 convolution in groups, linear back; leaky ReLUs between.

    It starts as the identity, since the last kernel is zero; those before keep the variance of what passes them, less
    what many blocks in turn would add (Zhang et al., Fixup initialization, https://arxiv.org/abs/1901.09321, 2019).

    Attributes:
      expansion: channels within, for each channel of x.
      group: channels in each group of the convolution.
      depth: number of blocks in the network.
    """

    expansion: int
    group: int
    depth: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        channels = x.shape[-1]
        width = self.expansion * channels
        if width % self.group:
            raise ValueError(
                f"a stage of {channels} channels: expected {self.expansion} times as many, {width}, to split into "
                f"groups of {self.group}"
            )
        init = _initial((2 / (1 + SLOPE**2)) ** 0.5 * self.depth**-0.25)  # each of two layers bears depth ** -1/4
        y = nn.leaky_relu(Dense(width, kernel_init=init)(x), SLOPE)
        y = nn.leaky_relu(GroupedConv(width, 3, width // self.group, kernel_init=init)(y), SLOPE)
        return x + Dense(channels, use_bias=False, kernel_init=nn.initializers.zeros)(y)


def _initial(gain: float) -> nn.initializers.Initializer:
    return nn.initializers.variance_scaling(gain**2, "fan_in", "normal")


def _linear(features: int, gain: float = 1.0) -> Dense:
    """A linear map of channels; of images, a 1x1 convolution."""
    return Dense(features, use_bias=False, kernel_init=_initial(gain))


def _resized(width: int, x: jax.Array) -> jax.Array:
    return x if x.shape[-1] == width else _linear(width)(x)


def _product(a: jax.Array, b: jax.Array, axes: tuple[int, ...] = ()) -> jax.Array:
    """`sum(a * b)` over axes, in float32 at least: the gradients are sums over examples and pixels too."""
    a, b = nn.dtypes.promote_dtype(a, b)
    wide = jnp.promote_types(a.dtype, jnp.float32)
    return jnp.sum(a.astype(wide) * b.astype(wide), axis=axes).astype(a.dtype)
