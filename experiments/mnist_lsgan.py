"""Least-squares GAN on MNIST, with the networks of the DCGAN tutorial."""

import optax

from jaxgan import losses
from jaxgan.experiment import Experiment, image_experiment
from jaxgan.gan import make_gan
from jaxgan.latents import normal_latents
from jaxgan.network import Precision, flax_network, in_precision
from jaxgan.networks import dcgan


def experiment(
    *,
    dataset: str = "mnist",
    data_dir: str = "",
    manual_dir: str = "",
    batch_size: int = 128,
    learning_rate: float = 2e-4,
    precision: Precision = "float32",
    axis_name: str | None = None,
) -> Experiment:
    """Least-squares loss with targets 1 and 0; the discriminator's logits are its outputs, without a sigmoid.

    Mao et al. 2017, https://arxiv.org/abs/1611.04076, Eq. 9.

    Args:
      dataset: tensorflow-datasets name (mnist, fashion_mnist, ...), folder of images, .npy or .npz file.
      data_dir: where prepared tensorflow-datasets sets lie; empty: $TFDS_DATA_DIR or their usual place.
      manual_dir: folder of the official .gz files to prepare the set from; empty: download them.
      batch_size: images in a step.
      learning_rate: of both players' Adam.
      precision: what both networks compute in; weights, optimisers and losses are float32.
      axis_name: mapped axis, set by `--lift pmap`.

    Measured on 2 AMD EPYC cores, float32: `--steps 600` (1.3 epochs), seed 0: 229 examples/s. D's accuracies on
    data and on fakes went from 0.85 and 0.81 over steps 1-25 to 0.62 and 0.63, its loss from 0.178 to 0.228 (0.25
    is a discriminator that always says one half). Some samples are digits already. `FD-pixels` of 10,000 samples
    30.9; as many training images 1.9, noise 768.6. With `jaxgan extractor mnist` (seed 0, 99.50 % right)
    `FD-cnn-mnist` 463.4, training images 2.5, noise 1,074.5; coverage 0.106, of training images 0.942.
    """
    gan = make_gan(
        in_precision(flax_network(dcgan.Generator(axis_name=axis_name)), precision),
        in_precision(flax_network(dcgan.Discriminator(dropout=0.3)), precision),
        losses.least_squares,
        generator_tx=optax.adam(learning_rate, b1=0.5),
        discriminator_tx=optax.adam(learning_rate, b1=0.5),
        latent=normal_latents(100),
        axis_name=axis_name,
    )
    return image_experiment(
        gan, dataset, size=28, channels=1, batch_size=batch_size, data_dir=data_dir, manual_dir=manual_dir
    )
