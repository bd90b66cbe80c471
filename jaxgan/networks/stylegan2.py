"""StyleGAN2: latents become styles, and styles scale the kernels of a generator that starts from a learned constant.

References:
  Karras et al., Analyzing and Improving the Image Quality of StyleGAN, https://arxiv.org/abs/1912.04958, 2019.
  Karras et al., Training Generative Adversarial Networks with Limited Data, https://arxiv.org/abs/2006.06676, 2020, and
  its code, https://github.com/NVlabs/stylegan2-ada-pytorch (conditioning on classes).
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.layers import (
    DownsampledConv,
    EqualisedConv,
    EqualisedDense,
    MinibatchStddev,
    ModulatedConv,
    Noise,
    downsample,
    one_hot,
    pixel_norm,
    upsample,
)

START = 4
"""Side of the constant that images grow from, and of what the discriminator ends with, pixels."""
W_DECAY = 0.995
"""Decay of the running mean of w, per update of the generator."""


def paper_features(size: int, base: int = 32768, most: int = 512) -> tuple[int, ...]:
    """Channels of the feature maps of the authors' networks: `min(base / side, most)` for the sides 4, 8, ..., size.

    >>> paper_features(256)
    (512, 512, 512, 512, 512, 256, 128)

    Args:
      size: height and width of the images, a power of two, at least 4.
      base: 32768 in config F, 16384 in the "paper256" setting of the authors' later code.
      most: largest number of channels.

    Raises:
      ValueError: for another size.
    """
    if size < START or size & (size - 1):
        raise ValueError(f"size={size}: expected a power of two, at least {START}")
    return tuple(min(base // 2**i, most) for i in range(2, size.bit_length()))


class Generator(nn.Module):
    """Latents `[B, n]` to images `[B, side, side, channels]`, `side = 4 * 2**(len(features) - 1)`; not squashed.

    Latents may come as `{"z": [B, n], "shift": [B, 2 * len(features), width]}`: the shift is added to the style vectors
    of all layers. A gradient with respect to it, at zero, is the one with respect to them (path lengths in w).

    Latents are normalised and mapped to a style vector w for each layer. In training another latent is drawn for each
    example, and for a share of them (`mixing`) the layers from a random one on take its w; the authors draw that layer
    once for a batch. The running mean of the first latents' w is kept as `w_mean`. Out of training all layers have the
    same w, drawn towards that mean by the statistic `truncation`, which is 1: `w_mean + truncation * (w - w_mean)`.

    The noise that is added to feature maps is drawn in training; out of it there is none, and samples are functions of
    their latents. All draws are from the `"dropout"` keys.

    Attributes:
      channels: 1 (grey) or 3 (RGB).
      features: channels of the feature maps of the sides 4, 8, ..., side; see `paper_features`.
      width: size of w and of the layers that make it.
      layers: number of these layers.
      classes: 0, or the number of classes it is conditioned on.
      mixing: share of examples in training that take their styles from two latents.
    """

    channels: int = 3
    features: tuple[int, ...] = paper_features(256)
    width: int = 512
    layers: int = 8
    classes: int = 0
    mixing: float = 0.9

    def setup(self):
        self.mapping = Mapping(self.width, self.layers)
        self.synthesis = Synthesis(self.channels, self.features)
        self.w_mean = self.variable("batch_stats", "w_mean", jnp.zeros, (self.width,))
        self.truncation = self.variable("batch_stats", "truncation", jnp.ones, ())

    def __call__(
        self, z: jax.Array | dict[str, jax.Array], cond: jax.Array | None = None, train: bool = False
    ) -> jax.Array:
        if isinstance(z, dict):
            return self.synthesise(self.styles(z["z"], cond, train) + z["shift"], train)
        return self.synthesise(self.styles(z, cond, train), train)

    def styles(self, z: jax.Array, cond: jax.Array | None = None, train: bool = False) -> jax.Array:
        """Latents to the style vectors of all layers, `[B, 2 * len(features), width]`."""
        labels, mean, count = one_hot(cond, self.classes, z.dtype), self.w_mean.value, 2 * len(self.features)
        w = self.mapping(z, labels)
        if train:
            now = jnp.mean(jax.lax.stop_gradient(w).astype(mean.dtype), axis=0)
            self.w_mean.value = W_DECAY * mean + (1.0 - W_DECAY) * now
        else:
            w = (w + (self.truncation.value - 1.0) * (w - mean[None])).astype(w.dtype)
        ws = jnp.repeat(w[:, None], count, axis=1)
        if not train or not self.mixing:
            return ws
        k_latent, k_layer, k_mixed = jax.random.split(self.make_rng("dropout"), 3)
        other = self.mapping(jax.random.normal(k_latent, z.shape).astype(z.dtype), labels)
        start = jax.random.randint(k_layer, (len(z), 1, 1), 1, count)
        mixed = jax.random.bernoulli(k_mixed, self.mixing, (len(z), 1, 1))
        return jnp.where(mixed & (jnp.arange(count)[None, :, None] >= start), other[:, None], ws)

    def synthesise(self, ws: jax.Array, train: bool = False) -> jax.Array:
        """Style vectors of all layers, `[B, 2 * len(features), width]`, to images."""
        return self.synthesis(ws, train)


class Mapping(nn.Module):
    """Latents `[B, n]`, labels `[B, classes]` or both to `[B, width]`: normalised, then dense layers with leaky ReLU.

    Each class has a learned vector of that width. The learning rate of the dense layers is a hundredth of the others'.

    Attributes:
      width: size of each layer.
      layers: number of layers.
    """

    width: int
    layers: int

    @nn.compact
    def __call__(self, z: jax.Array | None, labels: jax.Array | None) -> jax.Array:
        inputs = [] if z is None else [z]
        if labels is not None:
            inputs.append(EqualisedDense(self.width)(labels))
        x = jnp.concatenate([pixel_norm(v) for v in inputs], axis=-1)
        for _ in range(self.layers):
            x = _activate(EqualisedDense(self.width, rate=0.01)(x))
        return x


class Synthesis(nn.Module):
    """Style vectors `[B, layers, n]` to images: at each size two convolutions, and an image added to the one so far.

    Each convolution has a style vector, and each image the next convolution's; the last image has its own.

    Attributes: as of `Generator`.
    """

    channels: int
    features: tuple[int, ...]

    @nn.compact
    def __call__(self, ws: jax.Array, train: bool = False) -> jax.Array:
        wide = jnp.promote_types(ws.dtype, jnp.float32)  # gradients of the constant and sums of images are in float32

        def image(x, w):
            return ModulatedConv(self.channels, 1, demodulate=False)(x, w).astype(wide)

        constant = self.param("constant", nn.initializers.normal(1.0), (START, START, self.features[0]))
        x = jnp.broadcast_to(constant.astype(wide), (len(ws), *constant.shape)).astype(ws.dtype)
        x = StyledConv(self.features[0])(x, ws[:, 0], train)
        y = image(x, ws[:, 1])
        for i, features in enumerate(self.features[1:], 1):
            x = StyledConv(features, upsampled=True)(x, ws[:, 2 * i - 1], train)
            x = StyledConv(features)(x, ws[:, 2 * i], train)
            y = upsample(y) + image(x, ws[:, 2 * i + 1])
        return y.astype(ws.dtype)


class StyledConv(nn.Module):
    """Modulated 3x3 convolution, noise and a leaky ReLU.

    Attributes: as of `ModulatedConv`.
    """

    features: int
    upsampled: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, w: jax.Array, train: bool) -> jax.Array:
        return _activate(Noise()(ModulatedConv(self.features, 3, upsampled=self.upsampled)(x, w), train))


class Discriminator(nn.Module):
    """Images `[B, side, side, C]` to logits `[B]`: residual blocks halve them to 4x4 pixels, two dense layers follow.

    Before the last convolution it is shown how far groups of examples are spread (`MinibatchStddev`): examples are not
    judged independently, unless groups are of one. With classes its last layer gives a vector, and the logit is its
    product with a vector mapped from the class, over the root of their size.

    Attributes:
      features: channels of the feature maps of the sides 4, 8, ..., side, as of the generator.
      classes: 0, or the number of classes it is conditioned on.
      group_size: examples in a group, or the whole batch where that is smaller.
    """

    features: tuple[int, ...] = paper_features(256)
    classes: int = 0
    group_size: int = 4

    @nn.compact
    def __call__(self, x: jax.Array, cond: jax.Array | None = None) -> jax.Array:
        labels = one_hot(cond, self.classes, x.dtype)
        side, last = START * 2 ** (len(self.features) - 1), self.features[0]
        if x.shape[1:3] != (side, side):
            raise ValueError(f"expected images of {side}x{side} pixels for {self.features}, got {x.shape[1:3]}")
        x = _activate(EqualisedConv(self.features[-1], 1)(x))
        for features in self.features[-2::-1]:
            x = ResidualBlock(features)(x)
        x = MinibatchStddev(self.group_size)(x)
        x = _activate(EqualisedConv(last, 3)(x))
        x = _activate(EqualisedDense(last)(x.reshape(len(x), -1)))
        if labels is None:
            return EqualisedDense(1)(x)[:, 0]
        target = Mapping(last, 8)(None, labels)
        return jnp.sum(EqualisedDense(last)(x) * target, axis=-1) / math.sqrt(last)


class ResidualBlock(nn.Module):
    """`(f(x) + s(x)) / sqrt(2)`, `[B,H,W,C] -> [B,H/2,W/2,features]`: two convolutions and a linear way past them.

    Attributes:
      features: number of output channels.
    """

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        past = EqualisedConv(self.features, 1, use_bias=False)(downsample(x))
        x = _activate(EqualisedConv(x.shape[-1], 3)(x))
        x = _activate(DownsampledConv(self.features)(x))
        return (x + past) * math.sqrt(0.5)


def _activate(x: jax.Array) -> jax.Array:
    """Leaky ReLU that keeps the mean square of numbers symmetric about zero, to 4 %."""
    return nn.leaky_relu(x, 0.2) * math.sqrt(2.0)
