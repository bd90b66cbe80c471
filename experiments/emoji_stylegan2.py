"""StyleGAN2 on small colour pictures, such as emoji."""

import optax

from jaxgan import losses, penalties
from jaxgan.experiment import Experiment, image_experiment
from jaxgan.game import normal_latents
from jaxgan.gan import make_gan
from jaxgan.network import Precision, flax_network, in_precision
from jaxgan.networks import stylegan2


def experiment(
    *,
    dataset: str = "",
    data_dir: str = "",
    manual_dir: str = "",
    batch_size: int = 32,
    learning_rate: float = 2e-3,
    width: int = 64,
    gamma: float = 0.01,
    precision: Precision = "float32",
    axis_name: str | None = None,
) -> Experiment:
    """Non-saturating loss, R1 at every 16th step, styles mixed in training; 32x32 pixels, RGB.

    Karras et al. 2019, https://arxiv.org/abs/1912.04958. The weight of R1, and that there is no path length
    regularisation, are the "cifar" setting of https://github.com/NVlabs/stylegan2-ada-pytorch, which has 512 channels:
    fewer let a CPU train it. The generator's average has a half-life of 10,000 images, as in the paper.

    Args:
      dataset: folder or .zip file of images, .npy or .npz file, or tensorflow-datasets name; it must be given.
      data_dir: where prepared tensorflow-datasets sets lie; empty: $TFDS_DATA_DIR or their usual place.
      manual_dir: folder of the official files to prepare such a set from; empty: download them.
      batch_size: images in a step.
      learning_rate: of both players' Adam.
      width: channels of all feature maps, size of latents and of style vectors.
      gamma: of R1, which is gamma / 2 times the squared norm of the gradient.
      precision: what both networks compute in; weights, optimisers and losses are float32.
      axis_name: mapped axis, set by `--lift pmap`.

    Measured on 2 AMD EPYC cores, float32: `--dataset png32.zip --width 32 --batch-size 16 --steps 2000` (32,000 images,
    ten epochs of 3,225 of the Noto emoji of 32x32 pixels), seed 0, beside other work. Samples are smooth shapes on
    white in the emoji's colours, a face's disc among them; nothing is sharp yet. `FD-pixels` of 358 samples 670.7; as
    many training images 380.3, noise 2,654.9.
    """
    features = (width,) * 4  # 4x4 to 32x32 pixels

    def penalty(key, step, critic, real, fake):
        return gamma / 2 * penalties.gradient_squared_norm(critic, real)

    gan = make_gan(
        in_precision(flax_network(stylegan2.Generator(features=features, width=width)), precision),
        in_precision(flax_network(stylegan2.Discriminator(features=features)), precision),
        losses.non_saturating,
        generator_tx=optax.adam(learning_rate, b1=0.0, b2=0.99),
        discriminator_tx=optax.adam(learning_rate, b1=0.0, b2=0.99),
        latent=normal_latents(width),
        discriminator_penalty=penalties.lazy(penalty, 16),
        ema_decay=0.5 ** (batch_size / 10_000),
        axis_name=axis_name,
    )
    return image_experiment(
        gan, dataset, size=32, channels=3, batch_size=batch_size, data_dir=data_dir, manual_dir=manual_dir
    )
