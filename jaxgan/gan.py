"""A GAN as three pure functions, built from functions by one constructor."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax

from jaxgan.game import Game
from jaxgan.network import Network
from jaxgan.players import Batch, GANState, Metrics, PyTree, batch_size
from jaxgan.turns import Hand, cut, open_cut_turns, open_turns


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
    augment: Any = None,
    discriminator_steps: int = 1,
    generator_steps: int = 1,
    microbatches: int = 1,
    simultaneous: bool = False,
    ema_decay: float | Callable[[jax.Array], jax.Array] = 0.999,
    axis_name: str | None = None,
) -> GAN:
    """Builds the game of two players as pure functions of `(key, state, batch)`.

    One step cuts its batch into `discriminator_steps` pieces. The discriminator descends its objective (see `Game`) on
    each; then the generator descends its own on the fakes of the last piece, which both players share, through the
    discriminator just updated (or, where `simultaneous`, the one before its update). With `generator_steps` it does so
    again, on that piece and with the same latents, from which it makes new fakes each time.

    With `microbatches`, each of these updates descends the mean of its gradients over so many cuts of its piece, taken
    one after the other in the memory of one, for a second forward pass of the generator (none where `simultaneous`).
    Latents are drawn for the whole piece; statistics and memories start from the state's in every cut and are averaged,
    like metrics. That is the update of the whole piece, to rounding and dropout's draws, where losses and penalties are
    per example. It is not where examples meet: batch normalisation takes a cut's statistics (its running means still
    move as the whole piece's would, its running variances without the spread of the cuts' means), relativistic averages
    and minibatch layers see a cut, packed examples are packed within one, and a penalty that moves its memory before it
    uses it (path lengths) uses a cut's.

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
      discriminator_steps: discriminator updates in a step; it divides the batch size.
      generator_steps: generator updates in a step.
      microbatches: cuts of each update's piece, for batches that do not fit into memory.
      simultaneous: both gradients are taken at the same point, instead of the discriminator's update first.
      ema_decay: decay of the generator's average, per step; or a function of the step, which is taken as it is, without
        the `min` above.
      axis_name: as of `Game`.

    Returns:
      A `GAN`.

    Raises:
      ValueError: when `simultaneous` meets several updates of one player, or the batch does not split into those of
        the discriminator and microbatches.

    References:
      Goodfellow et al., Generative adversarial nets, https://arxiv.org/abs/1406.2661, 2014, Algorithm 1.
    """
    return make_descent_gan(
        Game(generator, discriminator, loss, latent, discriminator_penalty, generator_penalty, augment, axis_name),
        generator_tx=generator_tx,
        discriminator_tx=discriminator_tx,
        discriminator_steps=discriminator_steps,
        generator_steps=generator_steps,
        microbatches=microbatches,
        simultaneous=simultaneous,
        ema_decay=ema_decay,
    )


def make_descent_gan(
    game: Game,
    *,
    generator_tx: optax.GradientTransformation,
    discriminator_tx: optax.GradientTransformation,
    discriminator_steps: int = 1,
    generator_steps: int = 1,
    microbatches: int = 1,
    simultaneous: bool = False,
    ema_decay: float | Callable[[jax.Array], jax.Array] = 0.999,
) -> GAN:
    """Builds a GAN of any game, whose players descend as `make_gan` says: of one with an encoder or a second head, too.

    Args:
      game: the game.
      generator_tx: as of `make_gan`, like all that follow.
      discriminator_tx: as of `make_gan`.
      discriminator_steps: as of `make_gan`.
      generator_steps: as of `make_gan`.
      microbatches: as of `make_gan`.
      simultaneous: as of `make_gan`.
      ema_decay: as of `make_gan`.

    Returns:
      A `GAN`.

    Raises:
      ValueError: as of `make_gan`.
    """
    if discriminator_steps < 1 or (simultaneous and discriminator_steps != 1):
        raise ValueError(f"discriminator_steps={discriminator_steps}: expected 1 where simultaneous, else at least 1")
    if generator_steps < 1 or (simultaneous and generator_steps != 1):
        raise ValueError(f"generator_steps={generator_steps}: expected 1 where simultaneous, else at least 1")
    if microbatches < 1:
        raise ValueError(f"microbatches={microbatches}: expected at least 1")

    def open_hand(state, hand):
        return open_turns(game, state, hand) if microbatches == 1 else open_cut_turns(game, hand, microbatches)

    def discriminator_turn(state, k_latent, k_play, batch):
        """The discriminator's update on a piece of the batch, its metrics, and the generator's turns to come."""
        k_generator, k_before, k_after = jax.random.split(k_play, 3)
        hand = Hand(k_generator, batch, game.draw(k_latent, batch))
        turns = open_hand(state, hand)
        both = game.over_devices(turns(k_before, state, "discriminator", *(["generator"] if simultaneous else [])))
        state, metrics = take(state, "discriminator", discriminator_tx, both["discriminator"])

        def generator_turns(state):
            if simultaneous:
                return take(state, "generator", generator_tx, both["generator"])
            keys = (k_after,) if generator_steps == 1 else jax.random.split(k_after, generator_steps)
            for i, key in enumerate(keys):
                now = turns if i == 0 else open_hand(state, hand)
                turn = game.over_devices(now(key, state, "generator"))["generator"]
                state, metrics = take(state, "generator", generator_tx, turn)
            return state, metrics

        return state, metrics, generator_turns

    def take(state, name, tx, turn):
        """The state after a player's move, and the metrics of its turn."""
        player, norm = game.move(tx, getattr(state, name), turn.gradient, turn.stats, turn.memory)
        return state._replace(**{name: player}), turn.metrics | {f"{name}/gradient_norm": norm}

    def step(key, state, batch):
        size = batch_size(batch)
        if size % (discriminator_steps * microbatches):
            pieces = f"{discriminator_steps} discriminator steps of {microbatches} microbatches each"
            raise ValueError(f"a batch of {size} does not split into {pieces}")
        pieces = (*game.keys(key, state.step, discriminator_steps), cut(batch, discriminator_steps))
        if discriminator_steps > 1:
            ahead = jax.tree.map(lambda v: v[:-1], pieces)
            state, _ = jax.lax.scan(lambda state, piece: (discriminator_turn(state, *piece)[0], None), state, ahead)
        state, metrics, generator_turns = discriminator_turn(state, *jax.tree.map(lambda v: v[-1], pieces))
        state, more = generator_turns(state)
        return game.finish(state, ema_decay), metrics | more

    def init(key, batch):
        return game.init(key, batch, generator_tx, discriminator_tx)

    return GAN(init, step, game.sample, game)
