"""Stacked MNIST, a thousand modes: PacGAN's DCGAN as published, packed, and what finds them all."""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxgan import losses, penalties
from jaxgan.experiment import Experiment, stacked_experiment
from jaxgan.gan import GAN, make_gan
from jaxgan.latents import normal_latents, uniform_latents
from jaxgan.layers import Conv, ConvTranspose, Dense
from jaxgan.network import flax_network
from jaxgan.networks import dcgan
from jaxgan.schedules import cosine, half_life_decay
from jaxgan.stabilisers import packed

BATCH = 64
KERNELS = nn.initializers.normal(0.02)


def experiment(
    *,
    dataset: str = "mnist",
    data_dir: str = "",
    manual_dir: str = "",
    method: Literal["plain", "packed", "unpenalised", "penalised"] = "penalised",
    width: int = 64,
    annealed: int = 10_000,
    axis_name: str | None = None,
) -> Experiment:
    """One way to learn 128,000 triples of all of MNIST's images, each the three channels of one of 28x28 pixels.

    Of PacGAN's code (https://arxiv.org/abs/1712.04086, its "VEEGAN experiment") are the networks of `plain` and
    `packed`, Adam (2e-4, beta1 0.5), batches of 64 packs, uniform latents of 100 numbers, and a generator that moves
    twice for each move of the discriminator. Theirs sees pixels in [0, 1] against a tanh; here both are in [-1, 1], and
    each epoch has an order of its own.

    `plain`: the non-saturating loss. `packed`: PacDCGAN2, a discriminator of two images at once. `penalised`: the
    relativistic loss with R1 and R2 (0.5) on smaller networks without normalisation (kernels of 4x4, images made in two
    layers of stride 2, seen in three), each moving once, a learning rate of 1e-3 that half a cosine takes down in the
    second half of the steps, normal latents, and samples of the generator's average. `unpenalised`: the same but for
    the non-saturating loss, without penalties.

    Args:
      dataset: tensorflow-datasets name of a set of ten classes of grey 28x28 images.
      data_dir: where prepared tensorflow-datasets sets lie; empty: $TFDS_DATA_DIR or their usual place.
      manual_dir: folder of the official .gz files to prepare the set from; empty: download them.
      method: of these.
      width: feature maps at 14x14 pixels; half of them in the discriminator of `penalised`.
      annealed: steps at whose end the learning rate of these two is down.
      axis_name: mapped axis, set by `--lift pmap`.
    """
    of_pacgan = method in ("plain", "packed")
    gan = published(width, method, axis_name) if of_pacgan else smaller(width, method, annealed, axis_name)
    batch_size = 2 * BATCH if method == "packed" else BATCH
    return stacked_experiment(gan, dataset, size=28, batch_size=batch_size, data_dir=data_dir, manual_dir=manual_dir)


class Generator(nn.Module):
    """PacGAN's: latents `[B, n]` to 2x2 pixels, then 4, 7, 14 and 28, batch-normalised, to images in [-1, 1].

    Attributes:
      width: feature maps at 14x14 pixels; twice as many at 7x7, and so on.
      axis_name: mapped axis over which batch statistics are taken together.
    """

    width: int
    axis_name: str | None = None

    @nn.compact
    def __call__(self, z: jax.Array, train: bool = False) -> jax.Array:
        def activate(x):
            return nn.relu(nn.BatchNorm(not train, momentum=0.9, axis_name=self.axis_name)(x))

        x = Dense(4 * 8 * self.width, kernel_init=KERNELS)(z)
        x = activate(x.reshape(-1, 2, 2, 8 * self.width))
        for times, side in ((4, 4), (2, 7), (1, 14)):
            x = ConvTranspose(times * self.width, 5, 2, kernel_init=KERNELS)(x)
            x = activate(x[:, -side:, -side:])  # of eight rows the last seven, as if padded for these
        return jnp.tanh(ConvTranspose(3, 5, 2, kernel_init=KERNELS)(x))


class Discriminator(nn.Module):
    """PacGAN's: four convolutions of stride 2, normalised over the batch but for the first, and a linear map.

    Attributes:
      width: feature maps of the first; each has twice as many as the one before.
      axis_name: mapped axis over which batch statistics are taken together.
    """

    width: int
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        for i in range(4):
            x = Conv(2**i * self.width, 5, 2, kernel_init=KERNELS)(x)
            x = nn.BatchNorm(not train, momentum=0.9, axis_name=self.axis_name)(x) if i else x
            x = nn.leaky_relu(x, 0.2)
        return Dense(1, kernel_init=KERNELS)(x.reshape(len(x), -1))[:, 0]


def published(width: int, method: str, axis_name: str | None) -> GAN:
    """PacGAN's DCGAN, its discriminator of one image or of two at once."""
    discriminator = flax_network(Discriminator(width, axis_name))
    return make_gan(
        flax_network(Generator(width, axis_name)),
        packed(discriminator, 2) if method == "packed" else discriminator,
        losses.non_saturating,
        generator_tx=optax.adam(2e-4, b1=0.5),
        discriminator_tx=optax.adam(2e-4, b1=0.5),
        latent=uniform_latents(100),
        generator_steps=2,
        ema_decay=0.0,
        axis_name=axis_name,
    )


def smaller(width: int, method: str, annealed: int, axis_name: str | None) -> GAN:
    """What finds every mode, and the same without what makes it do so."""
    maps = {"kernel_size": 4, "slope": 0.2}
    generator = dcgan.Generator(channels=3, features=(2 * width, width), strides=(2, 2), norm=False, **maps)
    discriminator = dcgan.Discriminator(features=(width // 2, width, 2 * width), strides=(2, 2, 2), **maps)
    kept = annealed // 2
    rate = cosine(1e-3, 1e-5, max(1, annealed - kept), burn_in=kept)

    return make_gan(
        flax_network(generator),
        flax_network(discriminator),
        losses.relativistic if method == "penalised" else losses.non_saturating,
        generator_tx=optax.adam(rate, b1=0.0, b2=0.99),
        discriminator_tx=optax.adam(rate, b1=0.0, b2=0.99),
        latent=normal_latents(100),
        discriminator_penalty=penalties.r1_r2(0.5) if method == "penalised" else None,
        ema_decay=half_life_decay(20_000.0, BATCH),
        axis_name=axis_name,
    )
