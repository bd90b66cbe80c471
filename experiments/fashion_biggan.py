"""A conditional GAN in the manner of BigGAN on Fashion-MNIST, or on other images of its size, narrowed for a CPU."""

import jax
import optax

from jaxgan import losses
from jaxgan.experiment import Experiment, image_experiment
from jaxgan.gan import make_gan
from jaxgan.latents import normal_latents
from jaxgan.network import Network, Precision, flax_network, in_precision
from jaxgan.networks import resnet


def orthogonal(network: Network) -> Network:
    """A network whose kernels start orthogonal, but for those of scales and shifts, which start at zero."""

    def init(key, x, cond):
        k_network, k_kernels = jax.random.split(key)
        variables = network.init(k_network, x, cond)
        paths, structure = jax.tree.flatten_with_path(variables["params"])
        keys = jax.random.split(k_kernels, len(paths))
        fresh = jax.nn.initializers.orthogonal()
        started = [
            leaf if leaf.ndim < 2 or path[-2].key in ("scale", "shift") else fresh(k, leaf.shape, leaf.dtype)
            for (path, leaf), k in zip(paths, keys, strict=True)
        ]
        return {**variables, "params": jax.tree.unflatten(structure, started)}

    return Network(init, network.apply)


def experiment(
    *,
    dataset: str = "fashion_mnist",
    data_dir: str = "",
    manual_dir: str = "",
    classes: int = 10,
    balanced: bool = True,
    batch_size: int = 32,
    critic_steps: int = 2,
    width: int = 32,
    discriminator_rate: float = 8e-4,
    generator_rate: float = 2e-4,
    precision: Precision = "float32",
    axis_name: str | None = None,
) -> Experiment:
    """Hinge loss; one embedding of the class and a part of the latents to every block; a projection discriminator.

    Brock et al. 2019, https://arxiv.org/abs/1809.11096. The paper's: an embedding of the class, of 128 numbers, that
    all blocks of the generator share, and 20 latents of its own for each, of which conditional batch normalisation
    takes its scales and shifts; projection; self-attention and spectral norms in both players; kernels that start
    orthogonal; Adam without a first moment; two critic steps, at four times the generator's learning rate. Narrower:
    two blocks and four, of few channels, where the paper has five and six of up to 1,536; attention at 14x14 pixels,
    not 64x64; batches of 32, not 2,048; and, for a short training, four times the paper's learning rates and an average
    with a decay of 0.999, not 0.9999. Not here: orthogonal regularisation.

    Args:
      dataset: tensorflow-datasets name (mnist, fashion_mnist, ...), or a folder or .zip of a folder for each class.
      data_dir: where prepared tensorflow-datasets sets lie; empty: $TFDS_DATA_DIR or their usual place.
      manual_dir: folder of the official .gz files to prepare the set from; empty: download them.
      classes: number of classes of the set.
      balanced: whether the batches of a step hold each class equally often.
      batch_size: images in each critic step.
      critic_steps: critic updates to each generator update; one step consumes batch_size * critic_steps images.
      width: channels of the feature maps at 28x28 pixels, at least 8; twice as many at 14x14 and 7x7.
      discriminator_rate: learning rate of the discriminator's Adam.
      generator_rate: learning rate of the generator's Adam.
      precision: what both networks compute in; weights, optimisers and losses are float32.
      axis_name: mapped axis, set by `--lift pmap`.

    Measured on an AMD EPYC core, float32: `--steps 3000` (192,000 images, 14 minutes of the core), seed 0, beside other
    work. Every column of the picture shows its class, nearly all samples of it whole and unlike each other; sandals are
    the worst. `FD-pixels` of 10,000 samples 12.7; as many training images 1.7, noise 550.6. With `jaxgan extractor
    fashion_mnist` (seed 0, 91.74 % right) `FD-cnn-fashion_mnist` 18.6, training images 0.6, noise 567.2; coverage
    0.776, of training images 0.968; the classifier sees the class asked for in 92.4 % of the samples, in 93.9 % of
    training images. With `jaxgan evaluate --truncation 1.5` and 0.5 it does in 95.8 and 99.9 %, precision goes to 0.954
    and 0.996 (training images 0.930), coverage to 0.718 and 0.281.
    """
    generator = resnet.Generator(
        channels=1,
        start=7,
        features=(2 * width, width),
        classes=classes,
        embedding=128,
        attention=0,
        spectral_norm=True,
        axis_name=axis_name,
    )
    discriminator = resnet.Discriminator(
        features=(width, 2 * width, 2 * width, 2 * width), classes=classes, attention=0
    )
    gan = make_gan(
        in_precision(orthogonal(flax_network(generator)), precision),
        in_precision(orthogonal(flax_network(discriminator)), precision),
        losses.hinge,
        generator_tx=optax.adam(generator_rate, b1=0.0),
        discriminator_tx=optax.adam(discriminator_rate, b1=0.0),
        latent=normal_latents(60),
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
        classes=classes,
        balanced=balanced,
    )
