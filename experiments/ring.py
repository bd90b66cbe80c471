"""Eight Gaussians on a ring: the smallest data on which a GAN drops modes."""

import optax

from jaxgan import losses, penalties
from jaxgan.data import mixtures
from jaxgan.experiment import Experiment, mixture_experiment
from jaxgan.gan import make_gan
from jaxgan.latents import normal_latents
from jaxgan.network import flax_network
from jaxgan.networks import mlp


def experiment(
    *,
    batch_size: int = 512,
    learning_rate: float = 1e-3,
    gamma: float = 0.1,
    width: int = 128,
    axis_name: str | None = None,
) -> Experiment:
    """Relativistic loss with R1 and R2 on a ring of radius 1, standard deviation 0.01.

    Args:
      batch_size: points in a step.
      learning_rate: of both players' Adam.
      gamma: weight of the gradient penalties, halved.
      width: size of the two hidden layers of each network.
      axis_name: mapped axis, set by `--lift pmap`.

    Measured on 2 AMD EPYC cores, float32: `jaxgan sweep --steps 10000 --seeds 3` (2,500 points each): 8 of 8 modes in
    every run; high quality 0.949 +- 0.007 (mean and standard deviation; a perfect sampler reaches 0.989); reverse KL
    0.0003 +- 0.0002 (a perfect sampler about 0.0014).
    """

    gan = make_gan(
        flax_network(mlp.Generator((2,), widths=(width, width))),
        flax_network(mlp.Discriminator(widths=(width, width))),
        losses.relativistic,
        generator_tx=optax.adam(learning_rate, b1=0.0, b2=0.99),
        discriminator_tx=optax.adam(learning_rate, b1=0.0, b2=0.99),
        latent=normal_latents(2),
        discriminator_penalty=penalties.r1_r2(gamma),
        axis_name=axis_name,
    )
    return mixture_experiment(gan, mixtures.ring_centers(), 0.01, batch_size=batch_size)
