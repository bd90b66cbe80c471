"""The DCGAN of the TensorFlow tutorial on MNIST, or on any other images of its size."""

import optax

from jaxgan import losses
from jaxgan.experiment import Experiment, image_experiment
from jaxgan.gan import make_gan, normal_latents
from jaxgan.network import flax_network
from jaxgan.networks import dcgan


def experiment(
    *,
    dataset: str = "mnist",
    data_dir: str = "",
    manual_dir: str = "",
    batch_size: int = 256,
    learning_rate: float = 1e-4,
    simultaneous: bool = False,
    axis_name: str | None = None,
) -> Experiment:
    """Non-saturating loss, batch normalisation in the generator, dropout in the discriminator.

    The network, the optimiser and the batch are the tutorial's (https://www.tensorflow.org/tutorials/generative/dcgan);
    so is the update with `--simultaneous`.

    Args:
      dataset: tensorflow-datasets name (mnist, fashion_mnist, ...), folder of images, .npy or .npz file.
      data_dir: where prepared tensorflow-datasets sets lie; empty: $TFDS_DATA_DIR or their usual place.
      manual_dir: folder of the official .gz files to prepare the set from; empty: download them.
      batch_size: images in a step.
      learning_rate: of both players' Adam.
      simultaneous: both gradients at the same point, instead of the discriminator's update first.
      axis_name: mapped axis, set by `--lift pmap`.
    """
    gan = make_gan(
        flax_network(dcgan.Generator(axis_name=axis_name)),
        flax_network(dcgan.Discriminator(dropout=0.3)),
        losses.non_saturating,
        generator_tx=optax.adam(learning_rate),
        discriminator_tx=optax.adam(learning_rate),
        latent=normal_latents(100),
        simultaneous=simultaneous,
        axis_name=axis_name,
    )
    return image_experiment(
        gan, dataset, size=28, channels=1, batch_size=batch_size, data_dir=data_dir, manual_dir=manual_dir
    )
