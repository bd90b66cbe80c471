"""StyleGAN2 on small colour pictures, such as emoji."""

import math
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxgan import losses, penalties
from jaxgan.augment import Adaptive
from jaxgan.experiment import Experiment, image_experiment
from jaxgan.gan import make_gan
from jaxgan.latents import normal_latents
from jaxgan.network import Precision, flax_network, in_precision
from jaxgan.networks import stylegan2


def experiment(
    *,
    dataset: str = "",
    data_dir: str = "",
    manual_dir: str = "",
    size: int = 32,
    batch_size: int = 16,
    learning_rate: float = 2.5e-3,
    width: int = 64,
    base: int = 1024,
    gamma: float = 0.01,
    path_weight: float = 0.0,
    augment: Literal["none", "ada"] = "none",
    augment_images: int = 100_000,
    precision: Precision = "float32",
    axis_name: str | None = None,
) -> Experiment:
    """Non-saturating loss, R1 at every 16th step, styles mixed in training; RGB.

    Karras et al. 2019, https://arxiv.org/abs/1912.04958, and 2020, https://arxiv.org/abs/2006.06676. The learning rate,
    the weight of R1, a mapping of two layers, and that there is no path length regularisation, are the "cifar" setting
    of https://github.com/NVlabs/stylegan2-ada-pytorch, which has 512 channels: fewer, and the fewer the larger the
    feature map, let a CPU train it. There the weight of path lengths is otherwise 2. The generator's average has a
    half-life of 10,000 images, as in the paper.

    Args:
      dataset: folder or .zip file of images, .npy or .npz file, or tensorflow-datasets name; it must be given.
      data_dir: where prepared tensorflow-datasets sets lie; empty: $TFDS_DATA_DIR or their usual place.
      manual_dir: folder of the official files to prepare such a set from; empty: download them.
      size: height and width, pixels, a power of two, at least 4.
      batch_size: images in a step.
      learning_rate: of both players' Adam.
      width: most channels of a feature map; size of latents and of style vectors.
      base: a feature map of n x n pixels has at most base / n channels.
      gamma: of R1, which is gamma / 2 times the squared norm of the gradient.
      path_weight: of path length regularisation, at every 4th step; 0 for none.
      augment: ada: adaptive augmentation of data and samples, for small sets and long trainings; none.
      augment_images: images over which the strength of the augmentation could go from none to all.
      precision: what both networks compute in; weights, optimisers and losses are float32.
      axis_name: mapped axis, set by `--lift pmap`.

    Measured on an AMD EPYC core, float32: `--dataset png32.zip --steps 25885` (414,160 images, 128 epochs of 3,225
    of the Noto emoji of 32x32 pixels; an hour of the core), seed 0, beside other work. People of several skins, with
    hair and clothes, heads and whole, faces, hands and animals are recognised; eyes and mouths are smears, and many
    samples are of nothing in particular. `FD-pixels` of 358 samples 305.6; as many training images 141.5, noise
    2,654.9. `--dataset png72.zip --size 64 --gamma 0.5 --augment ada --steps 14000` (224,000 images, 69 epochs, an hour
    and a half of a core), seed 0: heads with hair, caps and beards, shoulders, standing figures and a few things are
    recognised, more than half are smooth shapes in an emoji's colours; 1,347.4, 707.4, 11,493.4. With the default gamma
    the discriminator had the better of it from some 8,000 steps on, and shapes stayed blobs: 1,430.6 at step 12,000.
    """
    features = stylegan2.paper_features(size, base, width)

    def penalty(key, step, critic, real, fake):
        return gamma / 2 * penalties.gradient_squared_norm(critic, real)

    gan = make_gan(
        in_precision(flax_network(stylegan2.Generator(features=features, width=width, layers=2)), precision),
        in_precision(flax_network(stylegan2.Discriminator(features=features)), precision),
        losses.non_saturating,
        generator_tx=optax.adam(learning_rate, b1=0.0, b2=0.99),
        discriminator_tx=optax.adam(learning_rate, b1=0.0, b2=0.99),
        latent=normal_latents(width),
        discriminator_penalty=penalties.lazy(penalty, 16),
        generator_penalty=penalties.lazy(PathLength(path_weight, 2 * len(features), width), 4) if path_weight else None,
        augment=Adaptive(batch_size, images=augment_images) if augment == "ada" else None,
        ema_decay=0.5 ** (batch_size / 10_000),
        axis_name=axis_name,
    )
    return image_experiment(
        gan, dataset, size=size, channels=3, batch_size=batch_size, data_dir=data_dir, manual_dir=manual_dir
    )


class PathLength(NamedTuple):
    """Path length regularisation in w, of half of the latents as in the authors' code.

    Attributes:
      weight: of the penalty, as there: lengths are root mean squares over the layers.
      layers: number of an image's style vectors.
      width: of a style vector.
    """

    weight: float
    layers: int
    width: int

    def init(self) -> jax.Array:
        """The running mean of lengths before the first step."""
        return jnp.zeros(())

    def apply(self, mean, key, step, generator, latents, made, batch):
        """The penalties, and the mean moved on."""
        z = latents[::2]  # every second one, so that what is left lies on all devices
        unmoved = jnp.zeros((len(z), self.layers, self.width))
        lengths = penalties.path_lengths(key, lambda shift: generator({"z": z, "shift": shift}), unmoved)
        lengths = lengths / math.sqrt(self.layers)
        mean = penalties.move_path_length(mean, lengths)
        return self.weight * penalties.path_length_penalty(lengths, mean), mean
