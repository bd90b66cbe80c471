"""A GAN as three pure functions, built from functions by one constructor."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxgan.network import Network

PyTree = Any
Batch = PyTree
Metrics = dict[str, jax.Array]


class Player(NamedTuple):
    """What one player carries from step to step: parameters, statistics (`{}` if none), optimiser state."""

    params: PyTree
    stats: PyTree
    opt: PyTree


class GANState(NamedTuple):
    """The whole state of a training: a plain pytree that jit, vmap and checkpoints take as it is.

    Attributes:
      step: number of steps done, int32.
      generator: the generator's `Player`.
      discriminator: the discriminator's (critic's) `Player`.
      ema: the generator's variables, averaged over steps; `GAN.sample` uses these.
    """

    step: jax.Array
    generator: Player
    discriminator: Player
    ema: PyTree


class GAN(NamedTuple):
    """A generative adversarial network as three pure functions, none of them compiled.

    Attributes:
      init: `(key, batch) -> GANState`; only the shapes and dtypes of the batch matter.
      step: `(key, state, batch) -> (GANState, metrics)`; the same key at every call, the step folds in `state.step`.
      sample: `(key, state, batch) -> samples`, one for each example of the batch, from the averaged generator.
    """

    init: Callable[[jax.Array, Batch], GANState]
    step: Callable[[jax.Array, GANState, Batch], tuple[GANState, Metrics]]
    sample: Callable[[jax.Array, GANState, Batch], PyTree]


def normal_latents(*shape: int) -> Callable:
    """Latents `z ~ N(0, I)` of a shape: `(key, batch) -> [batch, *shape]`."""
    return lambda key, batch: jax.random.normal(key, (_batch_size(batch), *shape))


def uniform_latents(*shape: int) -> Callable:
    """Latents `z ~ U(-1, 1)` of a shape: `(key, batch) -> [batch, *shape]`."""
    return lambda key, batch: jax.random.uniform(key, (_batch_size(batch), *shape), minval=-1.0, maxval=1.0)


def make_gan(
    generator: Network,
    discriminator: Network,
    loss: Any,
    *,
    generator_tx: optax.GradientTransformation,
    discriminator_tx: optax.GradientTransformation,
    latent: Callable[[jax.Array, Batch], PyTree],
    discriminator_penalty: Callable | None = None,
    generator_penalty: Callable | None = None,
    discriminator_steps: int = 1,
    simultaneous: bool = False,
    ema_decay: float = 0.999,
    axis_name: str | None = None,
) -> GAN:
    """Builds the game of two players as pure functions of `(key, state, batch)`.

    One step cuts its batch into `discriminator_steps` pieces. The discriminator descends
    `mean(loss.discriminator(D(x), D(G(z)))) + mean(discriminator_penalty)` on each; then the generator descends
    `mean(loss.generator(D(G(z)), D(x))) + mean(generator_penalty)` on the fakes of the last piece, which both players
    share, through the discriminator just updated (or, where `simultaneous`, the one before its update).
    Logits may be pytrees (several scales, several domains): each leaf's loss is averaged, the leaves are added.

    A player's statistics (batch normalisation) move in its own updates alone. The average of the generator is
    `ema <- d ema + (1 - d) variables` after the update, `d = min(ema_decay, (1 + t) / (10 + t))` at step `t`, which
    forgets the first weights quickly.

    Args:
      generator: maps latents to fakes of the shape of `batch["x"]`.
      discriminator: maps `batch["x"]` to logits, `[batch]` or any pytree of `[batch, ...]`.
      loss: a `losses.Loss`.
      generator_tx: the generator's optimiser.
      discriminator_tx: the discriminator's optimiser.
      latent: `(key, batch) -> latents` for the examples of a batch, independent of one another.
      discriminator_penalty: `(key, step, critic, real, fake) -> [...]`, averaged and added to the discriminator's loss.
      generator_penalty: `(key, step, generator, latents, fake, batch) -> [...]`, averaged and added to the generator's.
      discriminator_steps: discriminator updates for each generator update; it divides the batch size.
      simultaneous: both gradients are taken at the same point, instead of the discriminator's update first.
      ema_decay: decay of the generator's average, per step.
      axis_name: mapped axis (`pmap`) over which gradients, statistics and metrics are averaged.

    Returns:
      A `GAN`.

    Raises:
      ValueError: when `simultaneous` meets several discriminator steps, or these do not divide the batch.

    References:
      Goodfellow et al., Generative adversarial nets, https://arxiv.org/abs/1406.2661, 2014, Algorithm 1.
    """
    if discriminator_steps < 1 or (simultaneous and discriminator_steps != 1):
        raise ValueError(f"discriminator_steps={discriminator_steps}: expected 1 where simultaneous, else at least 1")

    def init(key, batch):
        k_latent, k_generator, k_discriminator = jax.random.split(key, 3)
        cond = batch.get("cond")
        g_variables = generator.init(k_generator, latent(k_latent, batch), cond)
        d_variables = discriminator.init(k_discriminator, batch["x"], cond)
        return GANState(
            step=jnp.zeros((), jnp.int32),
            generator=_player(generator_tx, g_variables),
            discriminator=_player(discriminator_tx, d_variables),
            ema=jax.tree.map(jnp.copy, g_variables),  # a copy: a buffer that the state holds twice cannot be donated
        )

    def over_devices(tree):
        return tree if axis_name is None else jax.lax.pmean(tree, axis_name)

    def draw(key, batch):
        """Latents of this device's examples: the same that one device alone would give them."""
        if axis_name is None:
            return _split_over_mesh(latent(key, batch))
        # The gathered batch only tells how many examples there are; what `latent` does not read is never gathered.
        whole = jax.tree.map(lambda v: jax.lax.all_gather(v, axis_name, tiled=True), batch)
        size = _batch_size(batch)
        start = jax.lax.axis_index(axis_name) * size
        return jax.tree.map(lambda z: jax.lax.dynamic_slice_in_dim(z, start, size), latent(key, whole))

    def objectives(key, state, batch, latents, d_params, g_params, fake):
        """Both players' objectives as functions of all that either of them moves, and what is to be seen of them."""
        real, cond = batch["x"], batch.get("cond")
        k_real, k_fake, k_critic, k_generator, k_d_penalty, k_g_penalty = jax.random.split(key, 6)
        variables = {"params": d_params, **state.discriminator.stats}
        real_logits, variables = discriminator.apply(variables, real, cond, key=k_real, train=True)
        fake_logits, variables = discriminator.apply(variables, fake, cond, key=k_fake, train=True)
        d_loss = _mean(jax.tree.map(loss.discriminator, real_logits, fake_logits))
        g_loss = _mean(jax.tree.map(loss.generator, fake_logits, real_logits))
        metrics = {"discriminator/loss": d_loss, "generator/loss": g_loss}
        if discriminator_penalty is not None:

            def critic(x):
                return discriminator.apply(variables, x, cond, key=k_critic, train=True)[0]

            penalty = _mean(discriminator_penalty(k_d_penalty, state.step, critic, real, fake))
            metrics["discriminator/penalty"] = penalty
            d_loss += penalty
        if generator_penalty is not None:

            def generate(latents):
                g_variables = {"params": g_params, **state.generator.stats}
                return generator.apply(g_variables, latents, cond, key=k_generator, train=True)[0]

            penalty = _mean(generator_penalty(k_g_penalty, state.step, generate, latents, fake, batch))
            metrics["generator/penalty"] = penalty
            g_loss += penalty
        metrics |= _monitor(loss.boundary, real_logits, fake_logits, over_devices)
        return (d_loss, g_loss), (_stats(variables), metrics)

    def update(tx, player, grads, stats):
        grads = over_devices(grads)
        updates, opt = tx.update(grads, player.opt, player.params)
        player = Player(optax.apply_updates(player.params, updates), over_devices(stats), opt)
        return player, optax.tree.norm(grads)

    def turn(state, k_latent, k_play, batch):
        """The discriminator's update on a piece of the batch, and what the generator's on the same fakes needs."""
        k_generator, k_before, k_after = jax.random.split(k_play, 3)
        latents = draw(k_latent, batch)

        def forward(g_params):
            variables = {"params": g_params, **state.generator.stats}
            fake, variables = generator.apply(variables, latents, batch.get("cond"), key=k_generator, train=True)
            return fake, _stats(variables)

        # The only forward pass of the generator: both players judge these fakes, and `pull_fake` carries the
        # generator's gradient back through them.
        fake, pull_fake, g_stats = jax.vjp(forward, state.generator.params, has_aux=True)

        def linearise(key, state):
            """The gradients of both objectives at a state, as functions: what is not called is not computed."""
            game = functools.partial(objectives, key, state, batch, latents)
            point = state.discriminator.params, state.generator.params, fake
            _, pull, (d_stats, metrics) = jax.vjp(game, *point, has_aux=True)
            one, zero = jnp.ones(()), jnp.zeros(())

            def discriminator_gradient():
                return pull((one, zero))[0]

            def generator_gradient():
                _, direct, through_fake = pull((zero, one))
                return jax.tree.map(jnp.add, direct, *pull_fake(through_fake))

            return discriminator_gradient, generator_gradient, d_stats, metrics

        discriminator_gradient, generator_gradient, d_stats, metrics = linearise(k_before, state)
        player, norm = update(discriminator_tx, state.discriminator, discriminator_gradient(), d_stats)
        metrics["discriminator/gradient_norm"] = norm
        state = state._replace(discriminator=player)
        if not simultaneous:
            _, generator_gradient, _, after = linearise(k_after, state)
            metrics |= {name: value for name, value in after.items() if name.startswith("generator/")}
        return state, generator_gradient, g_stats, metrics

    def step(key, state, batch):
        size = _batch_size(batch)
        if size % discriminator_steps:
            raise ValueError(f"a batch of {size} does not split into {discriminator_steps} discriminator steps")
        k_latent, k_play = jax.random.split(jax.random.fold_in(key, state.step))
        if axis_name is not None:
            k_play = jax.random.fold_in(k_play, jax.lax.axis_index(axis_name))
        # Cut with a stride, so that every piece is spread over the devices as the batch is.
        pieces = jax.tree.map(lambda v: v.reshape(-1, discriminator_steps, *v.shape[1:]).swapaxes(0, 1), batch)
        turns = (jax.random.split(k_latent, discriminator_steps), jax.random.split(k_play, discriminator_steps), pieces)
        if discriminator_steps > 1:
            ahead = jax.tree.map(lambda v: v[:-1], turns)
            state, _ = jax.lax.scan(lambda state, item: (turn(state, *item)[0], None), state, ahead)
        state, generator_gradient, g_stats, metrics = turn(state, *jax.tree.map(lambda v: v[-1], turns))
        player, norm = update(generator_tx, state.generator, generator_gradient(), g_stats)
        metrics["generator/gradient_norm"] = norm
        ema = _average(ema_decay, state.step, state.ema, {"params": player.params, **player.stats})
        return state._replace(step=state.step + 1, generator=player, ema=ema), over_devices(metrics)

    def sample(key, state, batch):
        k_latent, k_generator = jax.random.split(key)
        latents = _split_over_mesh(latent(k_latent, batch))
        return generator.apply(state.ema, latents, batch.get("cond"), key=k_generator, train=False)[0]

    return GAN(init, step, sample)


def _batch_size(batch: Batch) -> int:
    return jax.tree.leaves(batch)[0].shape[0]


def _player(tx: optax.GradientTransformation, variables: PyTree) -> Player:
    return Player(variables["params"], _stats(variables), tx.init(variables["params"]))


def _stats(variables: PyTree) -> PyTree:
    return {name: value for name, value in variables.items() if name != "params"}


def _average(decay: float, step: jax.Array, ema: PyTree, variables: PyTree) -> PyTree:
    """Moves the average towards the variables; whole numbers (counters) are taken as they are."""
    t = step.astype(jnp.float32)
    decay = jnp.minimum(decay, (1 + t) / (10 + t))

    def move(old, new):
        floating = jnp.issubdtype(old.dtype, jnp.inexact)
        return (decay * old + (1 - decay) * new).astype(old.dtype) if floating else new

    return jax.tree.map(move, ema, variables)


def _mean(tree: PyTree) -> jax.Array:
    """The sum of the leaves' means, in float32 at least."""
    return sum(jnp.mean(v.astype(jnp.promote_types(v.dtype, jnp.float32))) for v in jax.tree.leaves(tree))


def _monitor(boundary: float | None, real_logits: PyTree, fake_logits: PyTree, over_devices: Callable) -> Metrics:
    """Mean logits, and the shares of real and of fake examples on their own side of the boundary."""
    leaves = len(jax.tree.leaves(real_logits))
    real_mean, fake_mean = _mean(real_logits) / leaves, _mean(fake_logits) / leaves
    if boundary is None:  # such logits have no origin: half way between the two means
        boundary = over_devices((real_mean + fake_mean) / 2)
    return {
        "discriminator/real_logits": real_mean,
        "discriminator/fake_logits": fake_mean,
        "discriminator/real_accuracy": _mean(jax.tree.map(lambda v: v > boundary, real_logits)) / leaves,
        "discriminator/fake_accuracy": _mean(jax.tree.map(lambda v: v < boundary, fake_logits)) / leaves,
    }


def _split_over_mesh(latents: PyTree) -> PyTree:
    """Splits latents over the first axis of the mesh in context, if there is one.

    Random numbers drawn inside a program for a mesh are born whole on every device, and every device would then run the
    generator on all of them.
    """
    axes = jax.sharding.get_abstract_mesh().axis_names
    if not axes:
        return latents
    return jax.lax.with_sharding_constraint(latents, jax.sharding.PartitionSpec(axes[0]))
