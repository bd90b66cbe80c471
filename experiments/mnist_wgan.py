"""Wasserstein GAN on MNIST: the critic's weights are clipped."""

import optax

from jaxgan import losses
from jaxgan.experiment import Experiment, image_experiment
from jaxgan.gan import make_gan
from jaxgan.latents import normal_latents
from jaxgan.network import Precision, flax_network, in_precision
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
    precision: Precision = "float32",
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
      precision: what both networks compute in; weights, optimisers and losses are float32.
      axis_name: mapped axis, set by `--lift pmap`.

    Measured on 2 AMD EPYC cores, float32: `--steps 500` (2,500 critic steps, 2.7 epochs), seed 0: 310 to 610
    images/s, the lower beside other work. The critic's loss went from -3.6 over steps 1-25 to -1.8. Strokes, no
    digits yet: these constants ask for ten or a hundred times as many steps. `FD-pixels` of 10,000 samples 175.9;
    as many training images 1.9, noise 768.6. With `jaxgan extractor mnist` (seed 0, 99.50 % right) `FD-cnn-mnist`
    982.9, training images 2.5, noise 1,074.5; coverage 0.009, of training images 0.942.
    """
    gan = make_gan(
        in_precision(flax_network(dcgan.Generator(features=(128, 64, 32), axis_name=axis_name)), precision),
        in_precision(flax_network(dcgan.Discriminator()), precision),
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
