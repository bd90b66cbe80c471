"""Two small networks, trained by SGD on digits that are fetched as they are needed: for runs of several processes.

The environment says what happens to them: each fetch takes `PAUSE` seconds, process `HANGS` fetches nothing from its
100th time on, evaluations take `EVALUATION` seconds; how many images each fetch is asked for stands in the file
`FETCHED<process>`.
"""

import os
import pathlib
import time

import jax
import jax.numpy as jnp
import optax

from jaxgan import losses, render
from jaxgan.data import images
from jaxgan.data.source import Source
from jaxgan.experiment import Experiment
from jaxgan.gan import make_gan
from jaxgan.latents import normal_latents
from jaxgan.network import flax_network
from jaxgan.networks import mlp


def experiment(*, batch_size: int = 16, learning_rate: float = 0.1) -> Experiment:
    """Digits by multilayer perceptrons.

    Args:
      batch_size: images in a step.
      learning_rate: of both players' SGD.
    """
    digits, fetches = images.digits("train"), []

    def fetch(indices):
        fetches.append(len(indices))
        if "FETCHED" in os.environ:
            with pathlib.Path(f"{os.environ['FETCHED']}{jax.process_index()}").open("a") as file:
                file.write(f"{len(indices)}\n")
        time.sleep(float(os.environ.get("PAUSE", 0)))
        if os.environ.get("HANGS") == str(jax.process_index()) and len(fetches) >= 100:
            time.sleep(1000)
        return digits[indices]

    def evaluate(wanted):
        def measured(draw):
            print("evaluating", flush=True)
            time.sleep(float(os.environ.get("EVALUATION", 0)))
            return {"mean": float(draw(64).mean())}

        return measured

    gan = make_gan(
        flax_network(mlp.Generator((8, 8, 1), widths=(128, 128), output=jnp.tanh)),
        flax_network(mlp.Discriminator(widths=(128, 128))),
        losses.non_saturating,
        generator_tx=optax.sgd(learning_rate),
        discriminator_tx=optax.sgd(learning_rate),
        latent=normal_latents(16),
    )
    source = Source(len(digits), digits.shape[1:], fetch)
    return Experiment(gan, lambda: images.from_source(source, batch_size=batch_size), render.image_grid, 64, evaluate)
