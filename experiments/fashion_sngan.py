"""SNGAN's residual networks on Fashion-MNIST, or on any other images of its size."""

import optax

from jaxgan import losses
from jaxgan.experiment import Experiment, image_experiment
from jaxgan.gan import make_gan
from jaxgan.latents import normal_latents
from jaxgan.network import Precision, flax_network, in_precision
from jaxgan.networks import resnet


def experiment(
    *,
    dataset: str = "fashion_mnist",
    data_dir: str = "",
    manual_dir: str = "",
    batch_size: int = 64,
    critic_steps: int = 5,
    width: int = 64,
    learning_rate: float = 2e-4,
    precision: Precision = "float32",
    axis_name: str | None = None,
) -> Experiment:
    """Hinge loss, every kernel of the discriminator divided by its spectral norm, five critic steps.

    Miyato et al. 2018, https://arxiv.org/abs/1802.05957: the residual networks and the optimiser for CIFAR-10, one
    block fewer in the generator and a quarter (generator) or half (discriminator) of the channels. The paper's learning
    rate falls to zero, and its generator sees twice as many samples in an update; here neither.

    Args:
      dataset: tensorflow-datasets name (mnist, fashion_mnist, ...), folder of images, .npy or .npz file.
      data_dir: where prepared tensorflow-datasets sets lie; empty: $TFDS_DATA_DIR or their usual place.
      manual_dir: folder of the official .gz files to prepare the set from; empty: download them.
      batch_size: images in each critic step.
      critic_steps: critic updates to each generator update; one step consumes batch_size * critic_steps images.
      width: channels of every feature map.
      learning_rate: of both players' Adam.
      precision: what both networks compute in; weights, optimisers and losses are float32.
      axis_name: mapped axis, set by `--lift pmap`.

    Measured on 2 AMD EPYC cores, float32: `--width 32 --critic-steps 2 --steps 4000` (512,000 images), seed 0, beside
    other work. Nearly all samples are clothes, shoes and bags; some have holes. `FD-pixels` of 10,000 samples 19.9; as
    many training images 1.7, noise 550.6. With `jaxgan extractor fashion_mnist` (seed 0, 91.74 % right)
    `FD-cnn-fashion_mnist` 122.2, training images 0.6, noise 567.2; coverage 0.402, of training images 0.968.
    """
    generator = resnet.Generator(channels=1, start=7, features=(width, width), axis_name=axis_name)
    discriminator = resnet.Discriminator(features=(width,) * 4)
    gan = make_gan(
        in_precision(flax_network(generator), precision),
        in_precision(flax_network(discriminator), precision),
        losses.hinge,
        generator_tx=optax.adam(learning_rate, b1=0.0, b2=0.9),
        discriminator_tx=optax.adam(learning_rate, b1=0.0, b2=0.9),
        latent=normal_latents(128),
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
