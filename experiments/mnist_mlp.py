"""The network of the first GAN paper on MNIST: no convolutions."""

import jax.numpy as jnp
import optax

from jaxgan import losses
from jaxgan.experiment import Experiment, image_experiment
from jaxgan.gan import make_gan
from jaxgan.latents import uniform_latents
from jaxgan.network import Precision, flax_network, in_precision
from jaxgan.networks import mlp


def experiment(
    *,
    dataset: str = "mnist",
    data_dir: str = "",
    manual_dir: str = "",
    batch_size: int = 100,
    learning_rate: float = 2e-4,
    precision: Precision = "float32",
    axis_name: str | None = None,
) -> Experiment:
    """Rectifiers in the generator, maxout and dropout in the discriminator, uniform latents, non-saturating loss.

    The architecture is Goodfellow et al. 2014's (https://arxiv.org/abs/1406.2661, section 5, and its published code:
    1200-1200 against maxout 240-240 of 5 pieces); Adam takes the place of its momentum with a decaying rate, and tanh
    that of the sigmoid, for images in [-1, 1].

    Args:
      dataset: tensorflow-datasets name (mnist, fashion_mnist, ...), folder of images, .npy or .npz file.
      data_dir: where prepared tensorflow-datasets sets lie; empty: $TFDS_DATA_DIR or their usual place.
      manual_dir: folder of the official .gz files to prepare the set from; empty: download them.
      batch_size: images in a step.
      learning_rate: of both players' Adam.
      precision: what both networks compute in; weights, optimisers and losses are float32.
      axis_name: mapped axis, set by `--lift pmap`.

    Measured on 2 AMD EPYC cores, float32: `--steps 3000` (5 epochs), seed 0: 1,600 to 3,500 examples/s, the lower
    beside other work. D's accuracies on data and on fakes over the last 100 steps 0.79 and 0.82, its loss 0.83.
    Many samples are digits, some still noisy, ones too frequent. `FD-pixels` of 10,000 samples 91.8; as many
    training images 1.9, noise 768.6. With `jaxgan extractor mnist` (seed 0, 99.50 % right) `FD-cnn-mnist` 666.5,
    training images 2.5, noise 1,074.5; coverage 0.104, of training images 0.942.
    """
    gan = make_gan(
        in_precision(flax_network(mlp.Generator((28, 28, 1), widths=(1200, 1200), output=jnp.tanh)), precision),
        in_precision(flax_network(mlp.Discriminator(widths=(240, 240), pieces=5, dropout=0.5)), precision),
        losses.non_saturating,
        generator_tx=optax.adam(learning_rate, b1=0.5),
        discriminator_tx=optax.adam(learning_rate, b1=0.5),
        latent=uniform_latents(100),
        axis_name=axis_name,
    )
    return image_experiment(
        gan, dataset, size=28, channels=1, batch_size=batch_size, data_dir=data_dir, manual_dir=manual_dir
    )
