"""VAE-GANs: a variational autoencoder that measures its errors in the features of its discriminator.

The encoder gives a normal distribution of codes for each image, and the decoder is the generator. Both are the
generator's part of a game, which has two kinds of fakes: samples, of the prior's codes, and reconstructions.

    latent=lambda key, batch: {"z": ..., "noise": ..., "x": batch["x"]},      # both from normal_latents(n), of two keys
    sides=lambda batch, made: (batch["x"][:, None], made["fakes"]),
    shown=lambda made: made["fakes"][:, 0],
    logits=lambda output: jnp.broadcast_to(output["logits"], (len(output["logits"]), 2)),      # data against each kind

and a penalty of the generator that is L_prior + L_llike: the divergence of the codes from the prior, and the distance
of the discriminator's features of `made["reconstruction"]` from those of the data. The paper's encoder descends
`L_prior + L_llike`, its decoder `gamma L_llike - L_GAN`, its discriminator `L_GAN`. Here these are gradients of one
loss, because an image is decoded twice from the same code:

* as a fake, from a code whose gradient is stopped: what the game says reaches the decoder and not the encoder;
* as a reconstruction, whose gradient is multiplied by gamma on its way into the decoder and divided by it on its way
  out into the encoder.

The values of both are the same, and a compiler finds that out: only the backward pass is taken twice, as it has to be.

Other than in the paper, the discriminator's loss has the two kinds of fakes as one half each, so that together they
weigh as much as the data: where it cannot tell, its logits are zero. In the paper they weigh twice as much.

References:
  Larsen et al., Autoencoding beyond pixels using a learned similarity metric, https://arxiv.org/abs/1512.09300, 2016,
  Section 3 and Algorithm 1.
"""

import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.layers import Conv, Dense
from jaxgan.networks import dcgan


class Encoder(nn.Module):
    """Images `[B, H, W, C]` to the mean and the log-variance `[B, codes]` of a normal distribution of codes each.

    Strided convolutions, batch normalisation and a leaky ReLU after each, one dense output.

    Attributes:
      codes: number of codes.
      features: channels after each convolution.
      strides: step of each convolution, pixels.
      kernel_size: side of the kernels, pixels.
      slope: slope of the leaky ReLU below zero.
      axis_name: mapped axis over which batch statistics are taken together (`pmap`).
    """

    codes: int
    features: tuple[int, ...] = (64, 128)
    strides: tuple[int, ...] = (2, 2)
    kernel_size: int = 5
    slope: float = 0.3
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> tuple[jax.Array, jax.Array]:
        init = nn.initializers.glorot_uniform()
        for features, stride in zip(self.features, self.strides, strict=True):
            x = Conv(features, self.kernel_size, stride, use_bias=False, kernel_init=init)(x)
            x = nn.BatchNorm(not train, momentum=0.99, epsilon=1e-3, axis_name=self.axis_name)(x)
            x = nn.leaky_relu(x, self.slope)
        x = Dense(2 * self.codes, kernel_init=init)(x.reshape(x.shape[0], math.prod(x.shape[1:])))
        mean, log_variance = jnp.split(x, 2, axis=-1)
        return mean, log_variance


class Generator(nn.Module):
    """`{"z": [B, n], "noise": [B, n], "x": [B, side, side, channels]}` to what is made of each.

    Codes of data are `mean + std * noise`, so that noise of zeros gives the mean's reconstruction. The result is

    * `"fakes"`: `[B, 2, side, side, channels]`, the sample of z and then the reconstruction of x, for the game;
    * `"reconstruction"`: `[B, side, side, channels]`, equal to the second, for the distance from x;
    * `"mean"`, `"log_variance"`: `[B, n]`, of the codes.

    The decoder is a `dcgan.Generator`, the encoder has its layers' channels backwards.

    Attributes:
      gamma: what the decoder's gradient of a loss of `"reconstruction"` is multiplied by, positive; the encoder's is as
        it is.
      start: side of the decoder's first feature map, pixels.
      features: channels of the decoder's feature maps, one for each stride.
      strides: enlargement of each of its transposed convolutions.
      kernel_size: side of the kernels, pixels.
      slope: slope of the leaky ReLU below zero.
      axis_name: mapped axis over which batch statistics are taken together (`pmap`).
    """

    gamma: float
    start: int = 7
    features: tuple[int, ...] = (256, 128, 64)
    strides: tuple[int, ...] = (1, 2, 2)
    kernel_size: int = 5
    slope: float = 0.3
    axis_name: str | None = None

    @nn.compact
    def __call__(self, latents: Any, train: bool = False) -> dict[str, jax.Array]:
        z, noise, x = latents["z"], latents["noise"], latents["x"]
        (batch, codes), layers = z.shape, {"kernel_size": self.kernel_size, "slope": self.slope}
        encoder = Encoder(
            codes, self.features[::-1], self.strides[::-1], axis_name=self.axis_name, name="encoder", **layers
        )
        decoder = dcgan.Generator(
            x.shape[-1], self.start, self.features, self.strides, axis_name=self.axis_name, name="decoder", **layers
        )
        mean, log_variance = encoder(x, train)
        code = mean + jnp.exp(0.5 * log_variance) * noise

        def decode(code):
            # One batch of both kinds, as it is when a trained network is asked for one of them: statistics are of both.
            # Neighbours, not halves: that leaves every example on its device.
            images = decoder(jnp.stack([z.astype(code.dtype), code], axis=1).reshape(2 * batch, codes), train=train)
            return images.reshape(batch, 2, *images.shape[1:])

        reconstruction = decode(_weigh_gradient(1.0 / self.gamma, code))[:, 1]
        return {
            "fakes": decode(jax.lax.stop_gradient(code)),
            "reconstruction": _weigh_gradient(self.gamma, reconstruction),
            "mean": mean,
            "log_variance": log_variance,
        }


class Discriminator(nn.Module):
    """Images `[..., H, W, C]` to `{"logits": [...], "features": [..., h, w, c]}`.

    Strided convolutions and leaky ReLUs, the last of which gives the features, and one dense output. Every kernel is
    divided by its largest singular value: that bounds the features, whose distances would mean less and less if they
    grew. In the paper batch normalisation does that; here an image is judged by itself.

    Attributes:
      features: channels after each convolution.
      strides: step of each convolution, pixels.
      kernel_size: side of the kernels, pixels.
      slope: slope of the leaky ReLU below zero.
    """

    features: tuple[int, ...] = (64, 128)
    strides: tuple[int, ...] = (2, 2)
    kernel_size: int = 5
    slope: float = 0.3

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> dict[str, jax.Array]:
        init, lead = nn.initializers.glorot_uniform(), x.shape[:-3]

        def linear(layer, x):
            # Without a dtype its float32 statistics would make its kernels, and so all that follows, float32.
            return nn.SpectralNorm(layer, dtype=x.dtype)(x, update_stats=train)

        x = x.reshape(-1, *x.shape[-3:])
        for features, stride in zip(self.features, self.strides, strict=True):
            x = nn.leaky_relu(linear(Conv(features, self.kernel_size, stride, kernel_init=init), x), self.slope)
        logits = linear(Dense(1, kernel_init=init), x.reshape(x.shape[0], math.prod(x.shape[1:])))
        return {"logits": logits.reshape(lead), "features": x.reshape(*lead, *x.shape[1:])}


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _weigh_gradient(weight: float, x: jax.Array) -> jax.Array:
    """x itself, whose gradient is multiplied by the weight."""
    return x


@_weigh_gradient.defjvp
def _weigh_gradient_jvp(weight, primals, tangents):
    return primals[0], weight * tangents[0]
