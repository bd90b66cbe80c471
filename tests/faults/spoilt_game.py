"""Games of digits with all that a state may hold, trained on some batches that are not finite."""

from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
import optax

from jaxgan import losses
from jaxgan.experiment import Experiment, image_experiment
from jaxgan.game import Game
from jaxgan.gan import make_gan
from jaxgan.joint import make_consensus_gan, make_extragradient_gan, make_unrolled_gan
from jaxgan.latents import normal_latents
from jaxgan.network import flax_network
from jaxgan.networks import dcgan

Kind = Literal["plain", "twice", "cut", "consensus", "extragradient", "unrolled"]
EXAMPLE = 5
"""The one example that is spoilt, where it is one."""


class Drift(NamedTuple):
    """A discriminator's penalty on logits that leave their running mean, which it remembers."""

    def init(self):
        """No mean yet."""
        return jnp.zeros(())

    def apply(self, mean, key, step, critic, real, fake):
        """The penalty, and the mean moved on."""
        logits = critic(real)
        mean = 0.9 * mean + 0.1 * logits.mean()
        return 1e-3 * (logits - mean) ** 2, mean


def experiment(
    *,
    kind: Kind = "plain",
    batch_size: int = 16,
    learning_rate: float = 1e-3,
    growth: float = 1.0,
    bad: Literal["nan", "inf", "-inf"] = "nan",
    one_example: bool = False,
    bad_from: int = 5,
    bad_steps: int = 0,
    axis_name: str | None = None,
) -> Experiment:
    """Batch normalisation, dropout, spectral normalisation, a penalty that remembers, Adam and an average.

    Args:
      kind: one update each; the discriminator's twice; both in microbatches; or a joint step.
      batch_size: images in a step.
      learning_rate: of both players, in the first step.
      growth: by which it is multiplied after each.
      bad: what is in a spoilt batch.
      one_example: whether it is in one example alone.
      bad_from: the first step with a spoilt batch, from 0.
      bad_steps: how many there are.
      axis_name: mapped axis, set by `--lift pmap`.
    """
    generator = dcgan.Generator(start=4, features=(8, 8), strides=(1, 2), kernel_size=3, axis_name=axis_name)
    discriminator = dcgan.Discriminator(features=(8, 8), strides=(1, 2), kernel_size=3, dropout=0.3, spectral_norm=True)
    game = {
        "generator": flax_network(generator),
        "discriminator": flax_network(discriminator),
        "loss": losses.non_saturating,
        "latent": normal_latents(16),
        "discriminator_penalty": Drift(),
        "axis_name": axis_name,
    }
    adam = optax.adam(lambda count: learning_rate * growth**count, b1=0.5, eps_root=1e-8)
    optimisers = {"generator_tx": adam, "discriminator_tx": adam}
    match kind:
        case "consensus":
            gan = make_consensus_gan(Game(**game), strength=1.0, **optimisers)
        case "extragradient":
            gan = make_extragradient_gan(Game(**game), **optimisers)
        case "unrolled":
            gan = make_unrolled_gan(Game(**game), unroll_steps=1, **optimisers)
        case _:
            pieces = {"discriminator_steps": 2 if kind == "twice" else 1, "microbatches": 2 if kind == "cut" else 1}
            gan = make_gan(**game, **optimisers, **pieces)
    made = image_experiment(gan, "digits", size=8, channels=1, batch_size=batch_size)

    def spoilt():
        data = made.data()

        def feed(seed, step):
            spoil = np.zeros(batch_size, np.float32)
            if bad_from <= step < bad_from + bad_steps:
                spoil[EXAMPLE if one_example else slice(None)] = float(bad)
            return data.feed(seed, step), spoil

        def batch(arrays, fed):
            x = jnp.asarray(data.batch(arrays, fed[0])["x"])
            return {"x": x + fed[1].reshape(-1, 1, 1, 1)}

        return data._replace(feed=feed, batch=batch)

    return made._replace(data=spoilt)
