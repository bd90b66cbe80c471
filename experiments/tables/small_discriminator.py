"""Stacked MNIST against a small discriminator: the collapse of the unrolled GANs' paper, and what cures it."""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxgan import losses, penalties
from jaxgan.experiment import Experiment, stacked_experiment
from jaxgan.game import Game
from jaxgan.gan import GAN, make_gan
from jaxgan.joint import make_unrolled_gan
from jaxgan.latents import normal_latents
from jaxgan.layers import Conv, ConvTranspose, Dense, MinibatchStddev
from jaxgan.network import Network, flax_network
from jaxgan.stabilisers import packed

BATCH = 128
KERNELS = nn.initializers.normal(0.02)


def experiment(
    *,
    dataset: str = "mnist",
    data_dir: str = "",
    manual_dir: str = "",
    method: Literal["plain", "packed", "minibatch", "unrolled", "penalised"] = "plain",
    fraction: Literal[2, 4] = 4,
    unroll_steps: int = 10,
    axis_name: str | None = None,
) -> Experiment:
    """Triples of MNIST's images from a generator whose discriminator has a half or a quarter of its feature maps.

    Of PacGAN's code (https://arxiv.org/abs/1712.04086, its "unrolled GAN experiment", after
    https://arxiv.org/abs/1611.02163) are the networks, Adam (1e-4 for the generator, 2e-4 for the discriminator, beta1
    0.5, beta2 0.99), batches of 128 packs, 256 normal latents, and samples of the newest generator. It draws triples of
    the 60,000 training images in each step and tells of 25,600 samples; here both are those of `stacked_mnist`: 128,000
    triples of all images, 26,000 samples. Both players see the same latents in its steps, here each its own.

    `plain`: the non-saturating loss. `packed`: a discriminator of two images at once. `minibatch`: one that is told the
    standard deviation over groups of four images. `unrolled`: a generator that looks ahead, players that move at once.
    `penalised`: the relativistic loss with R1 and R2 (0.5), a discriminator that normalises nothing.

    Args:
      dataset: tensorflow-datasets name of a set of ten classes of grey 28x28 images.
      data_dir: where prepared tensorflow-datasets sets lie; empty: $TFDS_DATA_DIR or their usual place.
      manual_dir: folder of the official .gz files to prepare the set from; empty: download them.
      method: of these.
      fraction: how many times fewer feature maps the discriminator has.
      unroll_steps: updates of the discriminator that `unrolled` looks ahead.
      axis_name: mapped axis, set by `--lift pmap`.
    """
    generator = flax_network(Generator(axis_name=axis_name))
    maps = tuple(maps // fraction for maps in (8, 16, 32))
    discriminator = flax_network(
        Discriminator(maps, norm=method != "penalised", minibatch=method == "minibatch", axis_name=axis_name)
    )
    gan = (
        unrolled(generator, discriminator, unroll_steps, axis_name)
        if method == "unrolled"
        else alternating(generator, discriminator, method, axis_name)
    )
    batch_size = 2 * BATCH if method == "packed" else BATCH
    return stacked_experiment(gan, dataset, size=28, batch_size=batch_size, data_dir=data_dir, manual_dir=manual_dir)


class Generator(nn.Module):
    """Latents `[B, n]` to 4x4 pixels, then 7, 14 and 28, batch-normalised, to images in [-1, 1].

    Attributes:
      maps: feature maps at 4x4, 7x7, 14x14 and 28x28 pixels.
      axis_name: mapped axis over which batch statistics are taken together.
    """

    maps: tuple[int, ...] = (64, 32, 16, 8)
    axis_name: str | None = None

    @nn.compact
    def __call__(self, z: jax.Array, train: bool = False) -> jax.Array:
        def activate(x):
            return nn.relu(nn.BatchNorm(not train, momentum=0.9, axis_name=self.axis_name)(x))

        x = activate(Dense(4 * 4 * self.maps[0], kernel_init=KERNELS)(z).reshape(-1, 4, 4, self.maps[0]))
        for maps, side in zip(self.maps[1:], (7, 14, 28), strict=True):
            x = ConvTranspose(maps, 3, 2, kernel_init=KERNELS)(x)
            x = activate(x[:, -side:, -side:])  # of eight rows the last seven, as if padded for these
        return jnp.tanh(Conv(3, 3, kernel_init=KERNELS)(x))


class Discriminator(nn.Module):
    """Images to logits: three convolutions of stride 2 and a linear map.

    Attributes:
      maps: feature maps of each convolution.
      norm: whether they are normalised over the batch.
      minibatch: whether the linear map is told how far a group of images is spread.
      axis_name: mapped axis over which batch statistics are taken together.
    """

    maps: tuple[int, ...]
    norm: bool = True
    minibatch: bool = False
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        for maps in self.maps:
            x = Conv(maps, 3, 2, kernel_init=KERNELS)(x)
            x = nn.BatchNorm(not train, momentum=0.9, axis_name=self.axis_name)(x) if self.norm else x
            x = nn.leaky_relu(x, 0.3)
        x = MinibatchStddev()(x) if self.minibatch else x
        return Dense(1, kernel_init=KERNELS)(x.reshape(len(x), -1))[:, 0]


def alternating(generator: Network, discriminator: Network, method: str, axis_name: str | None) -> GAN:
    """PacGAN's GAN, or one that differs from it in one thing."""
    return make_gan(
        generator,
        packed(discriminator, 2) if method == "packed" else discriminator,
        losses.relativistic if method == "penalised" else losses.non_saturating,
        generator_tx=optax.adam(1e-4, b1=0.5, b2=0.99),
        discriminator_tx=optax.adam(2e-4, b1=0.5, b2=0.99),
        latent=normal_latents(256),
        discriminator_penalty=penalties.r1_r2(0.5) if method == "penalised" else None,
        ema_decay=0.0,
        axis_name=axis_name,
    )


def unrolled(generator: Network, discriminator: Network, unroll_steps: int, axis_name: str | None) -> GAN:
    """PacGAN's GAN, unrolled."""
    return make_unrolled_gan(
        Game(generator, discriminator, losses.non_saturating, normal_latents(256), axis_name=axis_name),
        generator_tx=optax.adam(1e-4, b1=0.5, b2=0.99),
        discriminator_tx=optax.adam(2e-4, b1=0.5, b2=0.99, eps_root=1e-8),
        unroll_steps=unroll_steps,
        ema_decay=0.0,
    )
