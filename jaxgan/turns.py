"""A player's turn, up to its move: gradients on a batch, taken whole or in microbatches."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxgan.game import Game
from jaxgan.players import Batch, GANState, Metrics, PyTree


class Hand(NamedTuple):
    """What the players are dealt for an update.

    Attributes:
      key: of the generator's forward pass.
      batch: the examples.
      latents: one for each of them.
    """

    key: jax.Array
    batch: Batch
    latents: PyTree


class Turn(NamedTuple):
    """What a player finds in its turn.

    Attributes:
      gradient: of its objective.
      stats: its statistics, moved on.
      memory: what its penalty remembers now.
      metrics: those of its name.
    """

    gradient: PyTree
    stats: PyTree
    memory: PyTree
    metrics: Metrics


def open_turns(game: Game, state: GANState, hand: Hand) -> Callable:
    """Makes the fakes, and returns `turns(key, state, *players) -> {player: Turn}`, which may be called again.

    The only forward pass of the generator is here: its parameters are those of `state`, though the discriminator may
    move between two calls.
    """
    forward = functools.partial(game.generate, hand.key, state, hand.batch, hand.latents)
    # Both players judge these fakes, and `pull_fake` carries the generator's gradient back through them.
    fake, pull_fake, g_stats = jax.vjp(forward, state.generator.params, has_aux=True)

    def turns(key, state, *players):
        judge = functools.partial(game.judge, key, state, hand.batch, hand.latents)
        _, pull, seen = jax.vjp(judge, state.discriminator.params, state.generator.params, fake, has_aux=True)
        g_memory, d_memory = seen.memories
        one, zero = jnp.ones(()), jnp.zeros(())

        def turn(player):  # what is not asked for is not computed
            metrics = {name: value for name, value in seen.metrics.items() if name.startswith(f"{player}/")}
            if player == "discriminator":
                return Turn(pull((one, zero))[0], seen.stats, d_memory, metrics)
            _, direct, through_fake = pull((zero, one))
            return Turn(jax.tree.map(jnp.add, direct, *pull_fake(through_fake)), g_stats, g_memory, metrics)

        return {player: turn(player) for player in players}

    return turns


def open_cut_turns(game: Game, hand: Hand, microbatches: int) -> Callable:
    """The same function as `open_turns` of a hand cut into microbatches: the mean over them, in the memory of one.

    Fakes are not kept but made anew at each call, from the same latents and keys. Every microbatch starts from the
    state's statistics and memories, as every device does under `pmap`.
    """
    keys = jax.random.split(hand.key, microbatches)
    hands = Hand(keys, cut(hand.batch, microbatches), cut(hand.latents, microbatches))

    def turns(key, state, *players):
        def of_microbatch(hand, key):
            return open_turns(game, state, hand)(key, state, *players)

        return _mean_over(of_microbatch, hands, jax.random.split(key, microbatches))

    return turns


def cut(tree: PyTree, pieces: int) -> PyTree:
    """Leaves `[batch, ...]` as `[pieces, batch / pieces, ...]`; example i goes to piece `i mod pieces`.

    The stride spreads every piece over the devices as the batch is.
    """
    return jax.tree.map(lambda v: v.reshape(-1, pieces, *v.shape[1:]).swapaxes(0, 1), tree)


def _mean_over(function: Callable, *items: PyTree) -> PyTree:
    """The mean of a function's values over the leading axis of its arguments; whole numbers (counters) are the last's.

    Sums are in float32 at least.
    """
    function = jax.jit(function, inline=True)  # traced once, for the shapes and for the loop
    values = jax.eval_shape(function, *jax.tree.map(lambda v: v[0], items))
    count = jax.tree.leaves(items)[0].shape[0]

    def floating(v):
        return jnp.issubdtype(v.dtype, jnp.inexact)

    def begin(v):
        return jnp.zeros(v.shape, jnp.promote_types(v.dtype, jnp.float32) if floating(v) else v.dtype)

    def add(sums, item):
        return jax.tree.map(lambda s, v: s + v.astype(s.dtype) if floating(v) else v, sums, function(*item)), None

    sums, _ = jax.lax.scan(add, jax.tree.map(begin, values), items)
    return jax.tree.map(lambda s, v: (s / count).astype(v.dtype) if floating(v) else s, sums, values)
