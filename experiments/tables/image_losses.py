"""The losses and penalties of "Are GANs created equal?" on its networks, and what came after it."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import flax.linen as nn
import jax
import optax

from jaxgan import losses, penalties
from jaxgan.experiment import Experiment, image_experiment
from jaxgan.gan import make_gan
from jaxgan.latents import uniform_latents
from jaxgan.layers import Conv, ConvTranspose, Dense
from jaxgan.network import flax_network
from jaxgan.schedules import cosine, half_life_decay
from jaxgan.transforms import weight_clip

BATCH = 64
KERNELS = nn.initializers.normal(0.02)


class Recipe(NamedTuple):
    """A loss with its settings.

    Attributes:
      loss: of both players.
      learning_rate: of both players' Adam.
      b1: Adam's decay of the mean of gradients.
      norm: what is normalised in the discriminator.
      critic_steps: updates of the discriminator for each of the generator.
      clip: largest absolute value of a discriminator's weight; 0: any.
      penalty: the discriminator's, `(key, step, critic, real, fake) -> penalties [batch]`, or None.
    """

    loss: losses.Loss
    learning_rate: float = 1e-4
    b1: float = 0.5
    norm: Literal["batch", "spectral", ""] = ""
    critic_steps: int = 1
    clip: float = 0.0
    penalty: Callable | None = None


def around(key: jax.Array, real: jax.Array, fake: jax.Array) -> jax.Array:
    """DRAGAN's points."""
    return penalties.perturb(key, real)


def slopes(weight: float, points: Callable) -> Callable:
    """The gradient penalty at such points, in pixels of [0, 1], where the protocol has them."""

    def penalty(key, step, critic, real, fake):
        return weight * penalties.gradient_penalty(lambda x: critic(2 * x - 1), points(key, unit(real), unit(fake)))

    return penalty


DEFAULT = {
    "minimax": Recipe(losses.minimax, 5e-5, 0.0, "batch"),
    "non-saturating": Recipe(losses.non_saturating, 5e-5, 0.0, "batch"),
    "least-squares": Recipe(losses.least_squares, 2e-4, 0.5, "batch"),
    "wasserstein-clip": Recipe(losses.wasserstein, 5e-5, 0.5, "batch", critic_steps=5, clip=0.01),
    "wasserstein-penalty": Recipe(
        losses.wasserstein, 1e-4, 0.5, critic_steps=5, penalty=slopes(10.0, penalties.interpolate)
    ),
    "dragan": Recipe(losses.non_saturating, 1e-4, 0.5, penalty=slopes(10.0, around)),
    "hinge-spectral": Recipe(losses.hinge, 2e-4, 0.5, "spectral"),
    "relativistic": Recipe(losses.relativistic, 2e-4, 0.0, penalty=penalties.r1_r2(1.0)),
}
"""The settings that each of compare_gan's methods has by default; then two methods that it does not have."""
TUNED = {
    "minimax": Recipe(losses.minimax, 1e-3, 0.5, "batch"),
    "non-saturating": Recipe(losses.non_saturating, 1e-3, 0.5, "batch"),
    "least-squares": Recipe(losses.least_squares, 1e-3, 0.5, "batch"),
    "wasserstein-clip": Recipe(losses.wasserstein, 4e-3, 0.0, clip=0.05),
    "wasserstein-penalty": Recipe(losses.wasserstein, 2e-3, 0.0, penalty=slopes(1.0, penalties.interpolate)),
    "dragan": Recipe(losses.non_saturating, 4e-3, 0.0, penalty=slopes(1.0, around)),
    "hinge-spectral": Recipe(losses.hinge, 1e-3, 0.5, "spectral"),
    "relativistic": Recipe(losses.relativistic, 2e-3, 0.0, penalty=penalties.r1_r2(1.0)),
}
"""What a few tries on one seed of MNIST found, with a quarter of the width: for `dragan`, `non-saturating`,
`hinge-spectral` and `wasserstein-clip` with a quarter of the steps; for `relativistic` too, but its rate at full length
and greater widths (twice the rate does as well in a quarter of the steps, and breaks down later). The others have what
is closest to theirs, untried. Clipped weights go without normalisation: it has scales that are clipped as well, and
slopes become smaller than what Adam divides by at the least, so that nothing is learnt."""
HALF_LIFE = 20_000.0
"""Images after which the average of a tuned generator has forgotten half."""


def experiment(
    *,
    dataset: str = "mnist",
    data_dir: str = "",
    manual_dir: str = "",
    method: Literal[tuple(DEFAULT)] = "non-saturating",
    tuned: bool = False,
    width: int = 64,
    annealed: int = 15_625,
    axis_name: str | None = None,
) -> Experiment:
    """One loss or penalty on the networks of InfoGAN, as "Are GANs created equal?" compares them.

    Lucic et al. 2018, https://arxiv.org/abs/1711.10337, and its code, compare_gan: 15,625 updates of the discriminator
    with 64 images each, 64 uniform latents, Adam. Its two networks normalise over the batch, the discriminator where
    the method's default says so. Here DRAGAN's does not, since a penalty's slopes are of one image each.

    Without `--tuned` a method has the default settings of that code, and samples are of the newest generator. With it,
    the generator is not normalised where the discriminator has a penalty, kernels begin as Glorot's, each player moves
    once in a step with a rate that half a cosine takes down in the second half of the steps, Adam forgets squares
    sooner (beta2 0.99), and samples are of the generator's average.

    Args:
      dataset: tensorflow-datasets name (mnist, fashion_mnist, ...), folder of images, .npy or .npz file.
      data_dir: where prepared tensorflow-datasets sets lie; empty: $TFDS_DATA_DIR or their usual place.
      manual_dir: folder of the official .gz files to prepare the set from; empty: download them.
      method: the loss with its penalty.
      tuned: other settings than the method's default ones.
      width: feature maps next to the images; 64 in the paper.
      annealed: steps at whose end the learning rate of tuned settings is down.
      axis_name: mapped axis, set by `--lift pmap`.
    """
    recipe = (TUNED if tuned else DEFAULT)[method]
    kept, kernels = annealed // 2, nn.initializers.glorot_uniform() if tuned else KERNELS
    falling = cosine(recipe.learning_rate, 1e-5, max(1, annealed - kept), burn_in=kept)
    tx = optax.adam(falling if tuned else recipe.learning_rate, b1=recipe.b1, b2=0.99 if tuned else 0.999)
    gan = make_gan(
        flax_network(Generator(width, not (tuned and recipe.penalty), kernels, axis_name)),
        flax_network(Discriminator(width, recipe.norm, kernels, axis_name)),
        recipe.loss,
        generator_tx=tx,
        discriminator_tx=optax.chain(tx, weight_clip(recipe.clip)) if recipe.clip else tx,
        latent=uniform_latents(64),
        discriminator_penalty=recipe.penalty,
        discriminator_steps=recipe.critic_steps,
        ema_decay=half_life_decay(HALF_LIFE, BATCH) if tuned else 0.0,
        axis_name=axis_name,
    )
    return image_experiment(
        gan,
        dataset,
        size=28,
        channels=1,
        batch_size=BATCH * recipe.critic_steps,
        data_dir=data_dir,
        manual_dir=manual_dir,
    )


class Generator(nn.Module):
    """Latents `[B, n]` to images `[B, 28, 28, 1]` in [-1, 1]: two dense layers, two transposed convolutions.

    Attributes:
      width: feature maps at 14x14 pixels; twice as many at 7x7, 16 times as many numbers before.
      norm: whether each batch is normalised, but the last layer's.
      kernel_init: initialiser of the kernels.
      axis_name: mapped axis over which batch statistics are taken together.
    """

    width: int
    norm: bool = True
    kernel_init: nn.initializers.Initializer = KERNELS
    axis_name: str | None = None

    @nn.compact
    def __call__(self, z: jax.Array, train: bool = False) -> jax.Array:
        def activate(x):
            return nn.leaky_relu(batch_norm(train, self.axis_name)(x) if self.norm else x, 0.2)

        x = activate(Dense(16 * self.width, kernel_init=self.kernel_init)(z))
        x = activate(Dense(7 * 7 * 2 * self.width, kernel_init=self.kernel_init)(x)).reshape(-1, 7, 7, 2 * self.width)
        x = activate(ConvTranspose(self.width, 4, 2, kernel_init=self.kernel_init)(x))
        return 2 * nn.sigmoid(ConvTranspose(1, 4, 2, kernel_init=self.kernel_init)(x)) - 1


class Discriminator(nn.Module):
    """Images `[B, 28, 28, 1]` in [-1, 1] to logits `[B]`: two convolutions of stride 2, two dense layers.

    Attributes:
      width: feature maps of the first convolution; twice as many of the second, 16 times as many numbers after.
      norm: what is normalised: each batch but the first and the last layer's, kernels by their largest singular value,
        or nothing.
      kernel_init: initialiser of the kernels.
      axis_name: mapped axis over which batch statistics are taken together.
    """

    width: int
    norm: Literal["batch", "spectral", ""] = ""
    kernel_init: nn.initializers.Initializer = KERNELS
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        def linear(layer, x):
            return nn.SpectralNorm(layer)(x, update_stats=train) if self.norm == "spectral" else layer(x)

        def activate(x):
            return nn.leaky_relu(batch_norm(train, self.axis_name)(x) if self.norm == "batch" else x, 0.2)

        x = nn.leaky_relu(linear(Conv(self.width, 4, 2, kernel_init=self.kernel_init), unit(x)), 0.2)
        x = activate(linear(Conv(2 * self.width, 4, 2, kernel_init=self.kernel_init), x))
        x = activate(linear(Dense(16 * self.width, kernel_init=self.kernel_init), x.reshape(len(x), -1)))
        return linear(Dense(1, kernel_init=self.kernel_init), x)[:, 0]


def batch_norm(train: bool, axis_name: str | None) -> nn.BatchNorm:
    """Of both networks."""
    return nn.BatchNorm(not train, momentum=0.999, epsilon=1e-3, axis_name=axis_name)


def unit(x: jax.Array) -> jax.Array:
    """Pixels in [-1, 1] as they are in [0, 1], where the protocol has them."""
    return (x + 1) / 2
