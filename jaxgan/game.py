"""Two networks and a loss, before anybody moves: what every way of stepping is made of."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxgan import spread
from jaxgan.network import Network
from jaxgan.players import Acting, Batch, GANState, Metrics, Player, PyTree, Seen, batch_size


@dataclasses.dataclass(frozen=True)
class Game:
    """A generator and a discriminator with an objective each.

    The discriminator's is `mean(loss.discriminator(D(x), D(G(z)))) + mean(discriminator_penalty)`, the generator's
    `mean(loss.generator(D(G(z)), D(x))) + mean(generator_penalty)`. Logits may be pytrees (several scales, several
    domains): each leaf's loss is averaged, the leaves are added.

    A penalty is a function `(key, step, ...) -> [...]`, or one that remembers something from step to step (a running
    mean): an object with `init() -> memory` and `apply(memory, key, step, ...) -> ([...], memory)`.

    Attributes:
      generator: maps latents to fakes of the shape of `batch["x"]`.
      discriminator: maps `batch["x"]` to logits, `[batch]` or any pytree of `[batch, ...]`.
      loss: a `losses.Loss`.
      latent: `(key, batch) -> latents` for the examples of a batch, independent of one another.
      discriminator_penalty: `(key, step, critic, real, fake) -> [...]`, averaged; the critic is the discriminator,
        `Acting` as `points -> logits`.
      generator_penalty: `(key, step, generator, latents, made, batch) -> [...]`, averaged; the generator is `Acting` as
        `latents -> made`.
      augment: `(key, step, x) -> x`, differentiable; what the discriminator sees of data, samples and any points that
        a penalty asks it about. Or one whose strength follows the training: an object with `init() -> memory`,
        `apply(memory, key, step, x) -> x` and `update(memory, step, real_logits) -> memory`, a pytree of floats; logits
        are given less the loss's boundary. Where it has `strength(memory)`, that is a metric.
      axis_name: mapped axis (`pmap`) over which gradients, statistics and metrics are averaged.
      sides: `(batch, made) -> (real, fake)`, what the discriminator is to tell apart, of a batch and of what the
        generator made; an encoder plays on the generator's side, and makes a part of what is real.
      shown: `made -> samples`, what of it is a sample.
      logits: `output -> logits`, what of the discriminator's output the loss is of; a penalty's critic gives all of it.
    """

    generator: Network
    discriminator: Network
    loss: Any
    latent: Callable[[jax.Array, Batch], PyTree]
    discriminator_penalty: Any = None
    generator_penalty: Any = None
    augment: Any = None
    axis_name: str | None = None
    sides: Callable[[Batch, PyTree], tuple[PyTree, PyTree]] = lambda batch, made: (batch["x"], made)
    shown: Callable[[PyTree], PyTree] = lambda made: made
    logits: Callable[[PyTree], PyTree] = lambda output: output

    def init(
        self,
        key: jax.Array,
        batch: Batch,
        generator_tx: optax.GradientTransformation,
        discriminator_tx: optax.GradientTransformation,
    ) -> GANState:
        """A state before the first step; only the shapes and dtypes of the batch matter."""
        k_latent, k_generator, k_discriminator = jax.random.split(key, 3)
        cond = batch.get("cond")
        latents = self.latent(k_latent, batch)
        g_variables = self.generator.init(k_generator, latents, cond)

        def real(variables, latents, batch):
            made, _ = self.generator.apply(variables, latents, cond, key=k_generator, train=False, step=0)
            return self.sides(batch, made)[0]

        shapes = jax.eval_shape(real, g_variables, latents, batch)
        zeros = jax.tree.map(lambda v: jnp.zeros(v.shape, v.dtype), shapes)
        d_variables = self.discriminator.init(k_discriminator, zeros, cond)
        return GANState(
            step=jnp.zeros((), jnp.int32),
            generator=_player(generator_tx, g_variables, penalty=self.generator_penalty),
            discriminator=_player(
                discriminator_tx, d_variables, penalty=self.discriminator_penalty, augment=self.augment
            ),
            ema=jax.tree.map(jnp.copy, g_variables),  # a copy: a buffer that the state holds twice cannot be donated
        )

    def keys(self, key: jax.Array, step: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
        """`count` keys of latents, the same on every device, and as many of everything else, which are not."""
        k_latent, k_play = jax.random.split(jax.random.fold_in(key, step))
        if self.axis_name is not None:
            k_play = jax.random.fold_in(k_play, jax.lax.axis_index(self.axis_name))
        return jax.random.split(k_latent, count), jax.random.split(k_play, count)

    def draw(self, key: jax.Array, batch: Batch) -> PyTree:
        """Latents of this device's examples: the same that one device alone would give them."""
        if self.axis_name is None:
            return spread.split(self.latent(key, batch))
        # The gathered batch only tells how many examples there are; what `latent` does not read is never gathered.
        whole = jax.tree.map(lambda v: jax.lax.all_gather(v, self.axis_name, tiled=True), batch)
        size = batch_size(batch)
        start = jax.lax.axis_index(self.axis_name) * size
        return jax.tree.map(lambda z: jax.lax.dynamic_slice_in_dim(z, start, size), self.latent(key, whole))

    def generate(
        self, key: jax.Array, state: GANState, batch: Batch, latents: PyTree, g_params: PyTree
    ) -> tuple[PyTree, PyTree]:
        """What the generator makes in training, and its statistics, moved on."""
        variables = {"params": spread.whole(g_params), **state.generator.stats}
        made, variables = self.generator.apply(
            variables, latents, batch.get("cond"), key=key, train=True, step=state.step
        )
        return made, _stats(variables)

    def judge(
        self,
        key: jax.Array,
        state: GANState,
        batch: Batch,
        latents: PyTree,
        d_params: PyTree,
        g_params: PyTree,
        made: PyTree,
    ) -> tuple[tuple[jax.Array, jax.Array], Seen]:
        """Both players' losses as functions of all that either of them moves, and what else is to be seen.

        The gradient of the generator's loss has two parts, through `made` and (its penalty's) through `g_params`.
        """
        (real, fake), cond = self.sides(batch, made), batch.get("cond")
        k_real, k_fake, k_critic, k_generator, k_d_penalty, k_g_penalty = jax.random.split(key, 6)
        augment = self.augment
        if hasattr(augment, "apply"):
            augment = functools.partial(augment.apply, state.discriminator.memory["augment"])

        def judge(variables, x, key):
            if augment is not None:
                key, k_augment = jax.random.split(key)
                x = augment(k_augment, state.step, x)
            return self.discriminator.apply(variables, x, cond, key=key, train=True, step=state.step)

        def penalise(penalty, memory, *arguments):
            """A penalty's mean, zero where there is none, and the memory with what it remembers."""
            if hasattr(penalty, "apply"):
                values, moved = penalty.apply(memory["penalty"], *arguments)
                return _mean(values), {**memory, "penalty": moved}
            return (0.0 if penalty is None else _mean(penalty(*arguments))), memory

        variables = {"params": spread.whole(d_params), **state.discriminator.stats}
        real_output, variables = judge(variables, real, k_real)
        fake_output, variables = judge(variables, fake, k_fake)
        real_logits, fake_logits = self.logits(real_output), self.logits(fake_output)
        d_loss = _mean(jax.tree.map(self.loss.discriminator, real_logits, fake_logits))
        g_loss = _mean(jax.tree.map(self.loss.generator, fake_logits, real_logits))
        metrics = {"discriminator/loss": d_loss, "generator/loss": g_loss}

        def score(points):
            return judge(variables, points, k_critic)[0]

        def generate(latents):
            return self.generate(k_generator, state, batch, latents, g_params)[0]

        outputs = real_output, fake_output
        critic = Acting(score, d_params, latents, Acting(generate, g_params, latents), outputs)
        maker = Acting(generate, g_params, latents, Acting(score, d_params, latents), outputs)
        d_penalty, d_memory = penalise(
            self.discriminator_penalty, state.discriminator.memory, k_d_penalty, state.step, critic, real, fake
        )
        g_penalty, g_memory = penalise(
            self.generator_penalty, state.generator.memory, k_g_penalty, state.step, maker, latents, made, batch
        )
        if hasattr(self.augment, "update"):
            sure = jax.tree.map(lambda v: v - (self.loss.boundary or 0.0), real_logits)
            d_memory = {**d_memory, "augment": self.augment.update(d_memory["augment"], state.step, sure)}
        if hasattr(self.augment, "strength"):
            metrics["discriminator/augmentation"] = self.augment.strength(state.discriminator.memory["augment"])
        if self.discriminator_penalty is not None:
            metrics["discriminator/penalty"] = d_penalty
        if self.generator_penalty is not None:
            metrics["generator/penalty"] = g_penalty
        metrics |= _monitor(self.loss.boundary, real_logits, fake_logits, self.over_devices)
        return (d_loss + d_penalty, g_loss + g_penalty), Seen(_stats(variables), (g_memory, d_memory), metrics)

    def deal(self, key: jax.Array, state: GANState, batch: Batch) -> tuple[Callable, Callable]:
        """A step's latents and all else that is random in it, dealt: what is left are functions of parameters.

        Returns:
          `generate`, `g_params -> (made, stats)`, and `judge`,
          `(d_params, g_params, made) -> ((d_loss, g_loss), Seen)`.
        """
        (k_latent,), (k_play,) = self.keys(key, state.step, 1)
        k_generator, k_judge, _ = jax.random.split(k_play, 3)
        latents = self.draw(k_latent, batch)
        generate = functools.partial(self.generate, k_generator, state, batch, latents)
        return generate, functools.partial(self.judge, k_judge, state, batch, latents)

    def gradients(
        self, key: jax.Array, state: GANState, batch: Batch, params: tuple[PyTree, PyTree]
    ) -> tuple[tuple[PyTree, PyTree], tuple[PyTree, Seen]]:
        """Each player's gradient of its own loss, at `(d_params, g_params)` instead of the state's parameters.

        Returns:
          `(d_gradient, g_gradient)`, and the generator's statistics with what else is `Seen`; averaged over devices.
        """
        generate, judge = self.deal(key, state, batch)

        def play(d_params, g_params):
            made, stats = generate(g_params)
            losses, seen = judge(d_params, g_params, made)
            return losses, (stats, seen)

        _, pull, aux = jax.vjp(play, *params, has_aux=True)
        one, zero = jnp.ones(()), jnp.zeros(())
        return self.over_devices(((pull((one, zero))[0], pull((zero, one))[1]), aux))

    def over_devices(self, tree: PyTree) -> PyTree:
        """The mean over the mapped axis, if there is one."""
        return tree if self.axis_name is None else jax.lax.pmean(tree, self.axis_name)

    def move(
        self, tx: optax.GradientTransformation, player: Player, grads: PyTree, stats: PyTree, memory: PyTree
    ) -> tuple[Player, jax.Array]:
        """A player after one update of its optimiser, and the norm of its gradient; all are averaged over devices."""
        updates, opt = tx.update(grads, player.opt, player.params)
        params = optax.apply_updates(player.params, updates)
        return Player(params, stats, opt, memory), optax.tree.norm(grads)

    def finish(self, state: GANState, ema_decay: float | Callable[[jax.Array], jax.Array]) -> GANState:
        """The state after both players' moves of a step: the average moved towards the generator, the step counted."""
        variables = {"params": state.generator.params, **state.generator.stats}
        return state._replace(step=state.step + 1, ema=_average(ema_decay, state.step, state.ema, variables))

    def sample(self, key: jax.Array, state: GANState, batch: Batch) -> PyTree:
        """Samples of the averaged generator, one for each example of the batch."""
        k_latent, k_generator = jax.random.split(key)
        return self.sample_at(k_generator, state, spread.split(self.latent(k_latent, batch)), batch.get("cond"))

    def sample_at(self, key: jax.Array, state: GANState, latents: PyTree, cond: PyTree = None) -> PyTree:
        """Samples of the averaged generator at given latents."""
        made, _ = self.generator.apply(state.ema, latents, cond, key=key, train=False, step=state.step)
        return self.shown(made)


def _player(tx: optax.GradientTransformation, variables: PyTree, **parts: Any) -> Player:
    """A player at the start, with a memory for each part of its objective that remembers something."""
    memory = {name: part.init() for name, part in parts.items() if hasattr(part, "init")}
    return Player(variables["params"], _stats(variables), tx.init(variables["params"]), memory)


def _stats(variables: PyTree) -> PyTree:
    return {name: value for name, value in variables.items() if name != "params"}


def _average(
    decay: float | Callable[[jax.Array], jax.Array], step: jax.Array, ema: PyTree, variables: PyTree
) -> PyTree:
    """Moves the average towards the variables; whole numbers (counters) are taken as they are."""
    t = step.astype(jnp.float32)
    decay = decay(step) if callable(decay) else jnp.minimum(decay, (1 + t) / (10 + t))

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
