"""An energy-based GAN on MNIST: the discriminator is an autoencoder, and tells by how well it reconstructs."""

import jax.numpy as jnp
import optax

from jaxgan import losses
from jaxgan.experiment import Experiment, image_experiment
from jaxgan.gan import make_gan
from jaxgan.latents import normal_latents
from jaxgan.network import Precision, flax_network, in_precision
from jaxgan.networks import energy


def experiment(
    *,
    dataset: str = "mnist",
    data_dir: str = "",
    manual_dir: str = "",
    margin: float = 0.5,
    batch_size: int = 100,
    learning_rate: float = 2e-4,
    precision: Precision = "float32",
    axis_name: str | None = None,
) -> Experiment:
    """Energies are mean squared errors over pixels; samples are pushed up to a margin.

    Zhao et al. 2016, https://arxiv.org/abs/1609.03126, with multilayer perceptrons as in its section 4.1.

    Args:
      dataset: tensorflow-datasets name (mnist, fashion_mnist, ...), folder of images, .zip, .npy or .npz file.
      data_dir: where prepared tensorflow-datasets sets lie; empty: $TFDS_DATA_DIR or their usual place.
      manual_dir: folder of the official .gz files to prepare the set from; empty: download them.
      margin: the energy from which on samples cost the discriminator nothing.
      batch_size: images in a step.
      learning_rate: of both players' Adam.
      precision: what both networks compute in; weights, optimisers and losses are float32.
      axis_name: mapped axis, set by `--lift pmap`.

    Measured on 2 AMD EPYC cores, float32: `--steps 5000` (8.3 epochs), seeds 0 to 2 (mean and standard deviation),
    beside other work. Many samples are digits, all with specks. `FD-pixels` of 10,000 samples 46.1 +- 3.0; as many
    training images 1.9, noise 768.6. With `jaxgan extractor mnist` (seed 0, 99.48 % right) `FD-cnn-mnist` 389 +- 7,
    training images 2.7, noise 1,038.8; coverage 0.267 +- 0.013, of training images 0.950.
    """
    gan = make_gan(
        in_precision(flax_network(energy.Generator((28, 28, 1), widths=(512, 512), output=jnp.tanh)), precision),
        in_precision(flax_network(energy.Discriminator()), precision),
        losses.energy_based(margin),
        generator_tx=optax.adam(learning_rate, b1=0.5),
        discriminator_tx=optax.adam(learning_rate, b1=0.5),
        latent=normal_latents(64),
        axis_name=axis_name,
    )
    return image_experiment(
        gan, dataset, size=28, channels=1, batch_size=batch_size, data_dir=data_dir, manual_dir=manual_dir
    )
