"""PacGAN's ring and grid: its GAN as published, what cures a collapse, and what finds every mode sharply."""

from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
import optax

from jaxgan import losses, penalties
from jaxgan.data import mixtures
from jaxgan.experiment import Experiment, mixture_experiment
from jaxgan.game import Game
from jaxgan.gan import GAN, make_gan
from jaxgan.joint import make_unrolled_gan
from jaxgan.latents import normal_latents
from jaxgan.network import Network, flax_network
from jaxgan.networks import mlp
from jaxgan.schedules import cosine, half_life_decay
from jaxgan.stabilisers import packed

DATA = {"ring": (mixtures.ring_centers(), 0.01), "grid": (mixtures.grid_centers(), 0.05)}
"""Centres and standard deviation."""
BATCH = 100
"""Packs in a step of PacGAN's, and points in a pack's place."""
UNROLLED = 5
"""Updates of the discriminator that an unrolled generator looks ahead."""


def published(axis_name: str | None, *, minibatch: int = 0) -> tuple[Network, Network]:
    """The networks of PacGAN's code: 400-400-400-400, batch normalised, against maxout 200-200-200 of 5 pieces."""
    kernels = nn.initializers.normal(0.02)
    generator = mlp.Generator(
        (2,), widths=(400,) * 4, norm=True, momentum=0.95, kernel_init=kernels, axis_name=axis_name
    )
    discriminator = mlp.Discriminator(widths=(200,) * 3, pieces=5, minibatch=minibatch, kernel_init=kernels)
    return flax_network(generator), flax_network(discriminator)


def gradients(weight):
    """R1 and R2, halved, of a weight that is a function of the step."""

    def penalty(key, step, critic, real, fake):
        on_real = penalties.gradient_squared_norm(critic, real)
        on_fake = penalties.gradient_squared_norm(critic, fake)
        return 0.5 * weight(step) * (on_real + on_fake)

    return penalty


def experiment(
    *,
    data: Literal["ring", "grid"] = "grid",
    method: Literal["plain", "packed", "minibatch", "unrolled", "penalised", "sharp"] = "sharp",
    annealed: int = 40_000,
    axis_name: str | None = None,
) -> Experiment:
    """One way to learn the ring (radius 1, deviation 0.01) or the grid ({-4, ..., 4}^2, deviation 0.05).

    Of PacGAN's code are the networks, Adam (1e-4, beta1 0.8), batches of 100 packs, players that move at once, and
    samples of the newest generator, for all methods but `sharp`. Data are drawn anew for each step; theirs are of
    100,000 points drawn before. What differs:

    `plain`, the paper's GAN: the non-saturating loss. `packed`: PacGAN2, a discriminator of two points at once.
    `minibatch`: minibatch discrimination before its last layer. `unrolled`: a generator that looks 5 updates ahead.
    `penalised`: the relativistic loss with R1 and R2 (1.0).

    `sharp`: those too, but networks of 192-192-192-192 without normalisation, a discriminator that is shown waves of
    its input, which the narrow modes ask for, and half a cosine that takes the learning rate and the logarithm of the
    weight of the penalties down; samples of the generator's average.

    Args:
      data: ring or grid.
      method: of these.
      annealed: steps over which `sharp` takes its learning rate and penalties down.
      axis_name: mapped axis, set by `--lift pmap`.
    """
    game = {
        "sharp": lambda: sharp(annealed, axis_name),
        "unrolled": lambda: unrolled(axis_name),
    }
    gan = game[method]() if method in game else alike(method, axis_name)
    centers, std = DATA[data]
    batch_size = {"sharp": 256, "packed": 2 * BATCH}.get(method, BATCH)
    return mixture_experiment(gan, centers, std, batch_size=batch_size)


def alike(method: str, axis_name: str | None) -> GAN:
    """PacGAN's GAN, or one that differs from it in one thing."""
    generator, discriminator = published(axis_name, minibatch=20 if method == "minibatch" else 0)
    return make_gan(
        generator,
        packed(discriminator, 2) if method == "packed" else discriminator,
        losses.relativistic if method == "penalised" else losses.non_saturating,
        generator_tx=optax.adam(1e-4, b1=0.8),
        discriminator_tx=optax.adam(1e-4, b1=0.8),
        latent=normal_latents(2),
        discriminator_penalty=gradients(lambda step: 1.0) if method == "penalised" else None,
        simultaneous=True,
        ema_decay=0.0,
        axis_name=axis_name,
    )


def unrolled(axis_name: str | None) -> GAN:
    """PacGAN's GAN, unrolled."""
    return make_unrolled_gan(
        Game(*published(axis_name), losses.non_saturating, normal_latents(2), axis_name=axis_name),
        generator_tx=optax.adam(1e-4, b1=0.8),
        discriminator_tx=optax.adam(1e-4, b1=0.8, eps_root=1e-8),
        unroll_steps=UNROLLED,
        ema_decay=0.0,
    )


def sharp(annealed: int, axis_name: str | None) -> GAN:
    """What finds every mode and leaves little between them."""
    shape = {"widths": (192,) * 4, "activation": lambda x: nn.leaky_relu(x, 0.2)}
    log_weight, rate = cosine(jnp.log(0.1), jnp.log(3e-4), annealed), cosine(5e-4, 1e-5, annealed)
    return make_gan(
        flax_network(mlp.Generator((2,), **shape)),
        flax_network(mlp.Discriminator(frequencies=tuple(2.0**i for i in range(-1, 5)), **shape)),
        losses.relativistic,
        generator_tx=optax.adam(rate, b1=0.0, b2=0.99),
        discriminator_tx=optax.adam(rate, b1=0.0, b2=0.99),
        latent=normal_latents(2),
        discriminator_penalty=gradients(lambda step: jnp.exp(log_weight(step))),
        ema_decay=half_life_decay(250_000.0, 256),
        axis_name=axis_name,
    )
