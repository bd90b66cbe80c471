"""Wasserstein GAN on MNIST: the critic's weights are clipped."""

import optax

from jaxgan import losses
from jaxgan.experiment import Experiment, image_experiment
from jaxgan.gan import make_gan, normal_latents
from jaxgan.network import flax_network
from jaxgan.networks import dcgan
from jaxgan.transforms import weight_clip


def experiment(
    *,
    dataset: str = "mnist",
    data_dir: str = "",
    manual_dir: str = "",
    batch_size: int = 64,
    critic_steps: int = 5,
    learning_rate: float = 5e-5,
    clip: float = 0.01,
    axis_name: str | None = None,
) -> Experiment:
    """Wasserstein loss, RMSProp, weights of the critic in [-clip, clip], five critic steps.

    Arjovsky et al. 2017, https://arxiv.org/abs/1701.07875, Algorithm 1 with its constants.

    Args:
      dataset: tensorflow-datasets name (mnist, fashion_mnist, ...), folder of images, .npy or .npz file.
      data_dir: where prepared tensorflow-datasets sets lie; empty: $TFDS_DATA_DIR or their usual place.
      manual_dir: folder of the official .gz files to prepare the set from; empty: download them.
      batch_size: images in each critic step.
      critic_steps: critic updates to each generator update; one step consumes batch_size * critic_steps images.
      learning_rate: of both players' RMSProp.
      clip: largest absolute value of a critic's weight.
      axis_name: mapped axis, set by `--lift pmap`.
    """
    gan = make_gan(
        flax_network(dcgan.Generator(features=(128, 64, 32), axis_name=axis_name)),
        flax_network(dcgan.Discriminator()),
        losses.wasserstein,
        generator_tx=optax.rmsprop(learning_rate, decay=0.99),
        discriminator_tx=optax.chain(optax.rmsprop(learning_rate, decay=0.99), weight_clip(clip)),
        latent=normal_latents(100),
        discriminator_steps=critic_steps,
        axis_name=axis_name,
    )
    return image_experiment(
        gan,
        dataset,
        size=28,
        channels=1,
        batch_size=batch_size * critic_steps,
        data_dir=data_dir,
        manual_dir=manual_dir,
    )
