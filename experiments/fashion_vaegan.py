"""A VAE-GAN on Fashion-MNIST: what an autoencoder's copies differ in, a discriminator says."""

import jax
import jax.numpy as jnp
import optax

from jaxgan import evaluation, losses
from jaxgan.experiment import Experiment, image_experiment
from jaxgan.game import Game
from jaxgan.gan import make_descent_gan
from jaxgan.latents import normal_latents
from jaxgan.network import Precision, flax_network, in_precision
from jaxgan.networks import vae_gan


def experiment(
    *,
    dataset: str = "fashion_mnist",
    data_dir: str = "",
    manual_dir: str = "",
    latents: int = 16,
    width: int = 16,
    weight: float = 5000.0,
    gamma: float = 0.02,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    precision: Precision = "float32",
    axis_name: str | None = None,
) -> Experiment:
    """Non-saturating loss of samples and reconstructions, whose distance from the data is one of features.

    Larsen et al. 2016, https://arxiv.org/abs/1512.09300: Algorithm 1, both players at the same point, with Adam in
    place of RMSProp.

    Args:
      dataset: tensorflow-datasets name (mnist, fashion_mnist, ...), folder of images, .zip, .npy or .npz file.
      data_dir: where prepared tensorflow-datasets sets lie; empty: $TFDS_DATA_DIR or their usual place.
      manual_dir: folder of the official .gz files to prepare the set from; empty: download them.
      latents: number of codes.
      width: channels of the feature maps next to the images; a layer further in has twice as many.
      weight: of the mean squared difference of features, beside the divergence of the codes; half their number is that
        of a Gaussian of variance one, as in the paper.
      gamma: weight of that for the decoder, beside the game.
      batch_size: images in a step.
      learning_rate: of both players' Adam.
      precision: what both networks compute in; weights, optimisers and losses are float32.
      axis_name: mapped axis, set by `--lift pmap`.

    Measured on 2 AMD EPYC cores, float32: `--steps 2812` (3 epochs), seed 0, beside other work. About half of the
    samples are clothes, the others chequered or broken. The mean squared error of held-out images' reconstruction is
    0.063, of the mean image in their place 0.350. `FD-pixels` of 10,000 samples 41.0; as many training images 1.7,
    noise 550.6. With `jaxgan extractor fashion_mnist` (seed 0, 91.74 % right) `FD-cnn-fashion_mnist` 164.5, training
    images 0.6, noise 567.2; coverage 0.252, of training images 0.968.
    """
    normal = normal_latents(latents)

    def latent(key, batch):
        k_prior, k_noise = jax.random.split(key)
        return {"z": normal(k_prior, batch), "noise": normal(k_noise, batch), "x": batch["x"]}

    def generator_penalty(key, step, generator, latents, made, batch):
        of_data, of_copies = (generator.rival(x)["features"] for x in (batch["x"], made["reconstruction"]))
        divergence = losses.kl_to_standard_normal(made["mean"], made["log_variance"])
        return divergence + weight * losses.l2_loss(of_data, of_copies)

    generator = vae_gan.Generator(gamma, features=(2 * width, width), strides=(2, 2), axis_name=axis_name)
    discriminator = vae_gan.Discriminator(features=(width, 2 * width))
    game = Game(
        in_precision(flax_network(generator), precision),
        in_precision(flax_network(discriminator), precision),
        losses.non_saturating,
        latent,
        generator_penalty=generator_penalty,
        axis_name=axis_name,
        sides=lambda batch, made: (batch["x"][:, None], made["fakes"]),
        shown=lambda made: made["fakes"][:, 0],
        logits=lambda output: jnp.broadcast_to(output["logits"], (len(output["logits"]), 2)),
    )
    gan = make_descent_gan(
        game,
        generator_tx=optax.adam(learning_rate, b1=0.5),
        discriminator_tx=optax.adam(learning_rate, b1=0.5),
        simultaneous=True,
    )

    @jax.jit
    def reconstruct(key, state, x):
        nothing = jnp.zeros((len(x), latents))
        given = {"z": nothing, "noise": nothing, "x": x}
        made, _ = game.generator.apply(state.ema, given, None, key=key, train=False, step=state.step)
        return made["reconstruction"]

    return image_experiment(
        gan,
        dataset,
        size=28,
        channels=1,
        batch_size=batch_size,
        data_dir=data_dir,
        manual_dir=manual_dir,
        of_state=evaluation.reconstruction(reconstruct),
    )
