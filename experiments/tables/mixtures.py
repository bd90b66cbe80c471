"""PacGAN's ring and grid: its GAN as published, what cures a collapse, and what finds every mode sharply."""

from typing import Literal

import flax.linen as nn
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
SHARP_BATCH = 256
"""Points in a step of `sharp`."""
DEMO_BATCH = 512
"""Points in a step of `demo`."""
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


def experiment(
    *,
    data: Literal["ring", "grid"] = "grid",
    method: Literal[
        "plain", "packed", "minibatch", "unrolled", "penalised", "demo", "demo-unrolled", "sharp"
    ] = "sharp",
    annealed: int = 40_000,
    axis_name: str | None = None,
) -> Experiment:
    """One way to learn the ring (radius 1, deviation 0.01) or the grid ({-4, ..., 4}^2, deviation 0.05).

    Of PacGAN's code are the networks, Adam (1e-4, beta1 0.8), batches of 100 packs, players that move at once, and
    samples of the newest generator, for the first five methods. Data are drawn anew for each step; theirs are of
    100,000 points drawn before. What differs:

    `plain`, the paper's GAN: the non-saturating loss. `packed`: PacGAN2, a discriminator of two points at once.
    `minibatch`: minibatch discrimination before its last layer. `unrolled`: a generator that looks 5 updates ahead, and
    1e-8 under the root of the discriminator's Adam. `penalised`: the relativistic loss with R1 and R2 (1.0).

    `sharp`: those too, of the weight 0.3, but networks of 128-128-128-128 without normalisation, batches of 256, both
    networks shown waves of what they take, which narrow modes and steep ways between them ask for, a learning rate of
    1e-3 that half a cosine takes down from a quarter of the steps on, and samples of the generator's average.

    `demo`: the code that the unrolled GANs' authors show (https://github.com/poolio/unrolled_gan), but without
    unrolling: the zero-sum game of networks of 128-128 with tanh, 256 latents, batches of 512, Adam (beta1 0.5; 1e-4
    for the discriminator, 1e-3 for the generator). `demo-unrolled`: with it, 5 updates.

    Args:
      data: ring or grid.
      method: of these.
      annealed: steps at whose end the learning rate of `sharp` is down.
      axis_name: mapped axis, set by `--lift pmap`.
    """
    centers, std = DATA[data]
    game = {
        "sharp": lambda: sharp(std / 0.05, annealed, axis_name),
        "unrolled": lambda: unrolled(axis_name),
        "demo": lambda: demo(0, axis_name),
        "demo-unrolled": lambda: demo(UNROLLED, axis_name),
    }
    gan = game[method]() if method in game else alike(method, axis_name)
    points = {"sharp": SHARP_BATCH, "demo": DEMO_BATCH, "demo-unrolled": DEMO_BATCH, "packed": 2 * BATCH}
    return mixture_experiment(gan, centers, std, batch_size=points.get(method, BATCH))


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
        discriminator_penalty=penalties.r1_r2(1.0) if method == "penalised" else None,
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


def demo(unroll_steps: int, axis_name: str | None) -> GAN:
    """The GAN that the authors of unrolled GANs show."""
    layers = {"widths": (128, 128), "activation": nn.tanh, "kernel_init": nn.initializers.orthogonal(1.4)}
    networks = flax_network(mlp.Generator((2,), **layers)), flax_network(mlp.Discriminator(**layers))
    return make_unrolled_gan(
        Game(*networks, losses.zero_sum(losses.minimax), normal_latents(256), axis_name=axis_name),
        generator_tx=optax.adam(1e-3, b1=0.5),
        discriminator_tx=optax.adam(1e-4, b1=0.5, eps_root=1e-16),
        unroll_steps=unroll_steps,
        ema_decay=0.0,
    )


def sharp(unit: float, annealed: int, axis_name: str | None) -> GAN:
    """What finds every mode and leaves little between them, in units of which a mode's deviation is 0.05."""
    widths, waves = (128,) * 4, (1.0, 2.0, 4.0, 8.0, 16.0)
    generator = mlp.Generator((2,), widths=widths, frequencies=waves, output=lambda points: unit * points)
    discriminator = mlp.Discriminator(widths=widths, frequencies=(0.5, *waves))
    kept = annealed // 4
    rate = cosine(1e-3, 1e-5, max(1, annealed - kept), burn_in=kept)
    return make_gan(
        flax_network(generator),
        in_units(flax_network(discriminator), unit),
        losses.relativistic,
        generator_tx=optax.adam(rate, b1=0.0, b2=0.99),
        discriminator_tx=optax.adam(rate, b1=0.0, b2=0.99),
        latent=normal_latents(2),
        discriminator_penalty=penalties.r1_r2(0.3 * unit**2),
        ema_decay=half_life_decay(250_000.0, SHARP_BATCH),
        axis_name=axis_name,
    )


def in_units(network: Network, unit: float) -> Network:
    """A discriminator of points told in a unit."""

    def apply(variables, x, cond, **of_call):
        return network.apply(variables, x / unit, cond, **of_call)

    return Network(lambda key, x, cond: network.init(key, x / unit, cond), apply)
