"""Deep convolutional GANs: images grown by transposed convolutions, judged by strided ones.

Both take class labels, joined to what comes in (conditional GANs), and the discriminator may have further heads, which
tell a class (auxiliary classifier GANs) or a code (InfoGAN) from what tells real from fake.

References:
  Mirza and Osindero, Conditional Generative Adversarial Nets, https://arxiv.org/abs/1411.1784, 2014.
  Radford et al., Unsupervised representation learning with deep convolutional generative adversarial networks,
  https://arxiv.org/abs/1511.06434, 2015.
"""

import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.layers import Conv, ConvTranspose, Dense, Dropout, one_hot


class Generator(nn.Module):
    """Latents `[B, n]` to images `[B, side, side, channels]` in [-1, 1], `side = start * product(strides)`.

    Latents may be a pytree, whose leaves are joined. Dense to `start x start` pixels, then a transposed convolution for
    each stride, the last one to the image; batch normalisation (where `norm`) and a leaky ReLU after all but the last,
    which ends in tanh. Biases only where nothing normalises them away.

    Attributes:
      channels: 1 (grey) or 3 (RGB).
      start: side of the first feature map, pixels; at least the kernel's, or a CPU pays for it.
      features: channels of the feature maps, one for each stride.
      strides: enlargement of each transposed convolution.
      kernel_size: side of the kernels, pixels.
      slope: slope of the leaky ReLU below zero.
      norm: whether feature maps are batch-normalised.
      classes: number of classes, whose labels `[B]` are the condition, joined to the latents as one-hot vectors; or 0.
      axis_name: mapped axis over which batch statistics are taken together (`pmap`).
    """

    channels: int = 1
    start: int = 7
    features: tuple[int, ...] = (256, 128, 64)
    strides: tuple[int, ...] = (1, 2, 2)
    kernel_size: int = 5
    slope: float = 0.3
    norm: bool = True
    classes: int = 0
    axis_name: str | None = None

    @nn.compact
    def __call__(self, z: Any, cond: jax.Array | None = None, train: bool = False) -> jax.Array:
        init = nn.initializers.glorot_uniform()
        parts = jax.tree.leaves(z)
        labels = one_hot(cond, self.classes, parts[0].dtype)
        z = jnp.concatenate(parts if labels is None else [*parts, labels], axis=-1)

        def activate(x):
            if self.norm:
                x = nn.BatchNorm(not train, momentum=0.99, epsilon=1e-3, axis_name=self.axis_name)(x)
            return nn.leaky_relu(x, self.slope)

        layer = functools.partial(ConvTranspose, kernel_size=self.kernel_size, use_bias=not self.norm, kernel_init=init)
        x = Dense(self.start**2 * self.features[0], use_bias=not self.norm, kernel_init=init)(z)
        x = activate(x).reshape(-1, self.start, self.start, self.features[0])
        for features, stride in zip(self.features[1:], self.strides[:-1], strict=True):
            x = activate(layer(features, stride=stride)(x))
        return jnp.tanh(layer(self.channels, stride=self.strides[-1])(x))


class Discriminator(nn.Module):
    """Images `[B, H, W, C]` to logits `[B]`: strided convolutions, leaky ReLU and dropout after each, one dense output.

    No normalisation, so every image is judged by itself, as gradient penalties need.

    Attributes:
      features: channels after each convolution.
      strides: step of each convolution, pixels.
      kernel_size: side of the kernels, pixels.
      slope: slope of the leaky ReLU below zero.
      dropout: share of outputs set to zero in training.
      classes: number of classes, whose labels `[B]` are the condition, joined to the pixels as a plane each; or 0.
      heads: name and size of further outputs, `[B, size]` of the last feature maps; with any, the output is a dict of
        them and of "logits".
      spectral_norm: whether every kernel is divided by its largest singular value, `[..., out]` as a matrix (Miyato et
        al., https://arxiv.org/abs/1802.05957, 2018): one power iteration in each call, in training carried on. Flax
        stores the initial kernels divided by a first estimate of it already: the same function, other step lengths.
    """

    features: tuple[int, ...] = (64, 128)
    strides: tuple[int, ...] = (2, 2)
    kernel_size: int = 5
    slope: float = 0.3
    dropout: float = 0.0
    classes: int = 0
    heads: tuple[tuple[str, int], ...] = ()
    spectral_norm: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, cond: jax.Array | None = None, train: bool = False) -> Any:
        labels = one_hot(cond, self.classes, x.dtype)
        if labels is not None:
            planes = jnp.broadcast_to(labels[:, None, None, :], (*x.shape[:3], self.classes))
            x = jnp.concatenate([x, planes], axis=-1)
        init = nn.initializers.glorot_uniform()

        def linear(layer, x):
            if not self.spectral_norm:
                return layer(x)
            # Without a dtype its float32 statistics would make its kernels, and so all that follows, float32.
            return nn.SpectralNorm(layer, dtype=x.dtype)(x, update_stats=train)

        for features, stride in zip(self.features, self.strides, strict=True):
            x = linear(Conv(features, self.kernel_size, stride, kernel_init=init), x)
            x = nn.leaky_relu(x, self.slope)
            x = Dropout(self.dropout, deterministic=not train)(x)
        x = x.reshape(x.shape[0], math.prod(x.shape[1:]))
        logits = linear(Dense(1, kernel_init=init), x)[:, 0]
        heads = {name: linear(Dense(size, kernel_init=init, name=name), x) for name, size in self.heads}
        return {"logits": logits, **heads} if heads else logits
