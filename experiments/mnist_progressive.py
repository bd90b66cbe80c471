"""Progressive growing on MNIST, 7 to 14 to 28 pixels, or on any other images."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from jaxgan import losses, penalties
from jaxgan.experiment import Experiment, image_experiment
from jaxgan.gan import make_gan
from jaxgan.latents import normal_latents
from jaxgan.network import Precision, flax_network, in_precision
from jaxgan.networks import progressive


def experiment(
    *,
    dataset: str = "mnist",
    data_dir: str = "",
    manual_dir: str = "",
    start: int = 7,
    channels: int = 1,
    features: tuple[int, ...] = (64, 64, 32),
    stage_steps: int = 1000,
    batch_size: int = 32,
    learning_rate: float = 1e-3,
    weight: float = 10.0,
    drift: float = 1e-3,
    precision: Precision = "float32",
    axis_name: str | None = None,
) -> Experiment:
    """Networks, losses, optimisers and the fading of Karras et al. 2018, https://arxiv.org/abs/1710.10196, narrower.

    Wasserstein loss with gradient penalty and a small weight on `D(x)^2`, one critic step to each generator step. A run
    is whole after `2 * (len(features) - 1) * stage_steps` steps, when the last stage has faded in; it may go on. Real
    images have the resolution of the stage, and fade as the samples do. As in the paper's code the optimisers start
    anew when a stage begins to fade in and when it has. Unlike the paper's the batch size is the same in all stages.

    Args:
      dataset: tensorflow-datasets name (mnist, fashion_mnist, ...), folder of images, .npy or .npz file.
      data_dir: where prepared tensorflow-datasets sets lie; empty: $TFDS_DATA_DIR or their usual place.
      manual_dir: folder of the official .gz files to prepare the set from; empty: download them.
      start: side of the first stage's images, pixels; each stage after it doubles them (4, and four stages: 32).
      channels: 1 (grey) or 3 (RGB).
      features: channels of the feature maps, one for each stage.
      stage_steps: steps over which a stage fades in, and as many that it is then trained for.
      batch_size: images in a step.
      learning_rate: of both players' Adam.
      weight: of the gradient penalty.
      drift: weight of the squared logits of data.
      precision: what both networks compute in; weights, optimisers and losses are float32.
      axis_name: mapped axis, set by `--lift pmap`.

    Measured on 2 AMD EPYC cores, float32: `--stage-steps 300 --steps 3615` (115,680 images, 28x28 pixels from step 900
    on), seed 0, beside other work. Strokes are sharp, half of the samples or more are digits. `FD-pixels` of 10,000
    samples 13.1; as many training images 1.9, noise 768.6. With `jaxgan extractor mnist` (seed 0, 99.48 % right)
    `FD-cnn-mnist` 272.5, training images 2.7, noise 1,038.8; coverage 0.213, of training images 0.950.
    """
    stages = len(features)

    def critic_loss(real_logits, fake_logits):
        return losses.wasserstein.discriminator(real_logits, fake_logits) + drift * real_logits**2

    def penalty(key, step, critic, real, fake):
        return weight * penalties.gradient_penalty(critic, penalties.interpolate(key, real, fake))

    def optimiser():
        adam = optax.adam(learning_rate, b1=0.0, b2=0.99)
        return _anew(adam, lambda step: (step % stage_steps == 0) & (step <= 2 * (stages - 1) * stage_steps))

    gan = make_gan(
        in_precision(flax_network(progressive.Generator(channels, start, features, stage_steps)), precision),
        in_precision(flax_network(progressive.Discriminator(features, stage_steps)), precision),
        losses.wasserstein._replace(discriminator=critic_loss),
        generator_tx=optimiser(),
        discriminator_tx=optimiser(),
        latent=normal_latents(features[0]),
        discriminator_penalty=penalty,
        axis_name=axis_name,
    )

    def step(key, state, batch):
        return gan.step(key, state, {**batch, "x": progressive.images_at(state.step, batch["x"], stages, stage_steps)})

    return image_experiment(
        gan._replace(step=step),
        dataset,
        size=start * 2 ** (stages - 1),
        channels=channels,
        batch_size=batch_size,
        data_dir=data_dir,
        manual_dir=manual_dir,
    )


def _anew(tx: optax.GradientTransformation, when: Callable[[jax.Array], jax.Array]) -> optax.GradientTransformation:
    """An optimiser whose state is as at the start again at the updates `when(count)` says."""

    def init(params):
        return jnp.zeros((), jnp.int32), tx.init(params)

    def update(grads, state, params=None):
        count, inner = state
        inner = jax.tree.map(lambda old, new: jnp.where(when(count), new, old), inner, tx.init(params))
        updates, inner = tx.update(grads, inner, params)
        return updates, (count + 1, inner)

    return optax.GradientTransformation(init, update)
