"""R3GAN on Fashion-MNIST, or on any other images of its size, narrowed for a CPU."""

import optax

from jaxgan import losses, penalties
from jaxgan.experiment import Experiment, image_experiment
from jaxgan.gan import make_gan
from jaxgan.latents import normal_latents
from jaxgan.network import Precision, flax_network, in_precision
from jaxgan.networks import r3gan
from jaxgan.schedules import cosine, half_life_decay


def experiment(
    *,
    dataset: str = "fashion_mnist",
    data_dir: str = "",
    manual_dir: str = "",
    batch_size: int = 64,
    width: int = 64,
    blocks: int = 1,
    learning_rate: float = 1e-3,
    gamma: float = 0.5,
    half_life: float = 10_000.0,
    annealed: int = 400_000,
    precision: Precision = "float32",
    axis_name: str | None = None,
) -> Experiment:
    """Relativistic loss with R1 and R2, networks without normalisation, everything on schedules.

    Huang et al. 2024, https://arxiv.org/abs/2501.05441. As in their presets, half a cosine takes the learning rate to a
    quarter, the weight of the penalties to a tenth, Adam's second decay from 0.9 to 0.99 and the half-life of the
    generator's average from 0 to its value. Theirs takes 20 million images, with stages of 768 channels, two blocks
    each, a fifth of the learning rate, and augmentation, which is not here.

    Args:
      dataset: tensorflow-datasets name (mnist, fashion_mnist, ...), folder of images, .npy or .npz file.
      data_dir: where prepared tensorflow-datasets sets lie; empty: $TFDS_DATA_DIR or their usual place.
      manual_dir: folder of the official .gz files to prepare the set from; empty: download them.
      batch_size: images in a step.
      width: channels of both networks at 7x7 pixels; half of them at 14x14, a quarter at 28x28; a multiple of 32.
      blocks: residual blocks of each stage.
      learning_rate: of both players' Adam, at first.
      gamma: weight of the gradient penalties, halved, at first.
      half_life: images after which the generator's average has forgotten half, in the end.
      annealed: images over which all of these move.
      precision: what both networks compute in; weights, optimisers and losses are float32.
      axis_name: mapped axis, set by `--lift pmap`.

    Measured on 2 AMD EPYC cores, float32: `--steps 3159` (202,176 images, half of `annealed`), seed 0, beside other
    work. Nearly all samples are clothes, shoes and bags, greyer than the data. `FD-pixels` of 10,000 samples 15.5; as
    many training images 1.7, noise 550.6. With `jaxgan extractor fashion_mnist` (seed 0, 91.74 % right)
    `FD-cnn-fashion_mnist` 46.7, training images 0.6, noise 567.2; coverage 0.498, of training images 0.968.
    """
    steps = max(1, annealed // batch_size)

    widths = (width, width // 2, width // 4)
    tx = optax.inject_hyperparams(optax.adam)(
        learning_rate=cosine(learning_rate, learning_rate / 4, steps), b1=0.0, b2=cosine(0.9, 0.99, steps)
    )
    gan = make_gan(
        in_precision(flax_network(r3gan.Generator(channels=1, start=7, widths=widths, blocks=blocks)), precision),
        in_precision(flax_network(r3gan.Discriminator(widths=widths[::-1], blocks=blocks)), precision),
        losses.relativistic,
        generator_tx=tx,
        discriminator_tx=tx,
        latent=normal_latents(64),
        discriminator_penalty=penalties.r1_r2(cosine(gamma, gamma / 10, steps)),
        ema_decay=half_life_decay(cosine(0.0, half_life, steps), batch_size),
        axis_name=axis_name,
    )
    return image_experiment(
        gan, dataset, size=28, channels=1, batch_size=batch_size, data_dir=data_dir, manual_dir=manual_dir
    )
