"""A small game with all that a state may hold, on digits of which some batches are NaN, to be trained under faults."""

import jax.numpy as jnp
import numpy as np
import optax

from jaxgan import losses
from jaxgan.data import Data
from jaxgan.experiment import Experiment, image_experiment
from jaxgan.gan import make_gan
from jaxgan.latents import normal_latents
from jaxgan.network import flax_network
from jaxgan.networks import dcgan

NAN = {23, 57, 58, 109, 110, 111}
"""Steps of every 200, from 0, whose batch is NaN: one alone, two before a multiple of ten, three from one on."""


def experiment(*, discriminator_steps: int = 2) -> Experiment:
    """Convolutions, batch normalisation, dropout, spectral normalisation, several critic steps, an average.

    Args:
      discriminator_steps: updates of the discriminator in a step.
    """
    gan = make_gan(
        flax_network(dcgan.Generator(start=4, features=(8, 8), strides=(1, 2), kernel_size=3)),
        flax_network(
            dcgan.Discriminator(features=(8, 8), strides=(1, 2), kernel_size=3, dropout=0.3, spectral_norm=True)
        ),
        losses.non_saturating,
        generator_tx=optax.adam(1e-3, b1=0.5),
        discriminator_tx=optax.adam(1e-3, b1=0.5),
        latent=normal_latents(16),
        discriminator_steps=discriminator_steps,
    )
    made = image_experiment(gan, "digits", size=8, channels=1, batch_size=16)
    return made._replace(data=lambda: spoilt(made.data()))


def spoilt(data: Data) -> Data:
    """The same data, but for the batches that are NaN."""

    def feed(seed, step):
        return data.feed(seed, step), np.float32(np.nan if step % 200 in NAN else 0)

    def batch(arrays, fed):
        examples, spoil = fed
        return {"x": jnp.asarray(data.batch(arrays, examples)["x"]) + spoil}

    return data._replace(feed=feed, batch=batch)
