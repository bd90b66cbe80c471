"""A GAN as three pure functions, built from functions by one constructor."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxgan.game import Game, batch_size
from jaxgan.network import Network
from jaxgan.players import Batch, GANState, Metrics, PyTree


class GAN(NamedTuple):
    """A generative adversarial network as three pure functions, none of them compiled.

    Attributes:
      init: `(key, batch) -> GANState`; only the shapes and dtypes of the batch matter.
      step: `(key, state, batch) -> (GANState, metrics)`; the same key at every call, the step folds in `state.step`.
      sample: `(key, state, batch) -> samples`, one for each example of the batch, from the averaged generator.
      game: whose objectives the steps descend; `stability.eigenvalues` takes it.
    """

    init: Callable[[jax.Array, Batch], GANState]
    step: Callable[[jax.Array, GANState, Batch], tuple[GANState, Metrics]]
    sample: Callable[[jax.Array, GANState, Batch], PyTree]
    game: Game


def make_gan(
    generator: Network,
    discriminator: Network,
    loss: Any,
    *,
    generator_tx: optax.GradientTransformation,
    discriminator_tx: optax.GradientTransformation,
    latent: Callable[[jax.Array, Batch], PyTree],
    discriminator_penalty: Any = None,
    generator_penalty: Any = None,
    augment: Callable | None = None,
    discriminator_steps: int = 1,
    simultaneous: bool = False,
    ema_decay: float = 0.999,
    axis_name: str | None = None,
) -> GAN:
    """Builds the game of two players as pure functions of `(key, state, batch)`.

    One step cuts its batch into `discriminator_steps` pieces. The discriminator descends its objective (see `Game`) on
    each; then the generator descends its own on the fakes of the last piece, which both players share, through the
    discriminator just updated (or, where `simultaneous`, the one before its update).

    A player's statistics (batch normalisation) move in its own updates alone. The average of the generator is
    `ema <- d ema + (1 - d) variables` after the update, `d = min(ema_decay, (1 + t) / (10 + t))` at step `t`, which
    forgets the first weights quickly.

    Args:
      generator: as of `Game`, like all that are not explained here.
      discriminator: as of `Game`.
      loss: as of `Game`.
      generator_tx: the generator's optimiser.
      discriminator_tx: the discriminator's optimiser.
      latent: as of `Game`.
      discriminator_penalty: as of `Game`.
      generator_penalty: as of `Game`.
      augment: as of `Game`.
      discriminator_steps: discriminator updates for each generator update; it divides the batch size.
      simultaneous: both gradients are taken at the same point, instead of the discriminator's update first.
      ema_decay: decay of the generator's average, per step.
      axis_name: as of `Game`.

    Returns:
      A `GAN`.

    Raises:
      ValueError: when `simultaneous` meets several discriminator steps, or these do not divide the batch.

    References:
      Goodfellow et al., Generative adversarial nets, https://arxiv.org/abs/1406.2661, 2014, Algorithm 1.
    """
    if discriminator_steps < 1 or (simultaneous and discriminator_steps != 1):
        raise ValueError(f"discriminator_steps={discriminator_steps}: expected 1 where simultaneous, else at least 1")
    game = Game(generator, discriminator, loss, latent, discriminator_penalty, generator_penalty, augment, axis_name)

    def turn(state, k_latent, k_play, batch):
        """The discriminator's update on a piece of the batch, and what the generator's on the same fakes needs."""
        k_generator, k_before, k_after = jax.random.split(k_play, 3)
        latents = game.draw(k_latent, batch)
        forward = functools.partial(game.generate, k_generator, state, batch, latents)
        # The only forward pass of the generator: both players judge these fakes, and `pull_fake` carries the
        # generator's gradient back through them.
        fake, pull_fake, g_stats = jax.vjp(forward, state.generator.params, has_aux=True)

        def linearise(key, state):
            """The gradients of both objectives at a state, as functions: what is not called is not computed."""
            judge = functools.partial(game.judge, key, state, batch, latents)
            point = state.discriminator.params, state.generator.params, fake
            _, pull, seen = jax.vjp(judge, *point, has_aux=True)
            one, zero = jnp.ones(()), jnp.zeros(())

            def discriminator_gradient():
                return pull((one, zero))[0]

            def generator_gradient():
                _, direct, through_fake = pull((zero, one))
                return jax.tree.map(jnp.add, direct, *pull_fake(through_fake))

            return discriminator_gradient, generator_gradient, seen

        discriminator_gradient, generator_gradient, seen = linearise(k_before, state)
        metrics, (g_memory, d_memory) = seen.metrics, seen.memories
        player, norm = game.move(discriminator_tx, state.discriminator, discriminator_gradient(), seen.stats, d_memory)
        metrics["discriminator/gradient_norm"] = norm
        state = state._replace(discriminator=player)
        if not simultaneous:
            _, generator_gradient, after = linearise(k_after, state)
            metrics |= {name: value for name, value in after.metrics.items() if name.startswith("generator/")}
            g_memory = after.memories[0]
        return state, generator_gradient, g_stats, g_memory, metrics

    def step(key, state, batch):
        size = batch_size(batch)
        if size % discriminator_steps:
            raise ValueError(f"a batch of {size} does not split into {discriminator_steps} discriminator steps")
        # Cut with a stride, so that every piece is spread over the devices as the batch is.
        pieces = jax.tree.map(lambda v: v.reshape(-1, discriminator_steps, *v.shape[1:]).swapaxes(0, 1), batch)
        turns = (*game.keys(key, state.step, discriminator_steps), pieces)
        if discriminator_steps > 1:
            ahead = jax.tree.map(lambda v: v[:-1], turns)
            state, _ = jax.lax.scan(lambda state, item: (turn(state, *item)[0], None), state, ahead)
        state, generator_gradient, g_stats, memory, metrics = turn(state, *jax.tree.map(lambda v: v[-1], turns))
        player, norm = game.move(generator_tx, state.generator, generator_gradient(), g_stats, memory)
        metrics["generator/gradient_norm"] = norm
        return game.finish(state, player, ema_decay), game.over_devices(metrics)

    def init(key, batch):
        return game.init(key, batch, generator_tx, discriminator_tx)

    return GAN(init, step, game.sample, game)
