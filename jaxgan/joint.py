"""Steps in which both players move from one point: consensus, extra-gradient and unrolled.

Write `v(d, g)` for both players' gradients, each of its own loss. Simultaneous descent along `-v` circles round an
equilibrium whose Jacobian has imaginary eigenvalues (`stability`), and these steps each bend it inwards. Each
constructor takes a `Game` and returns the same `GAN` as `make_gan`, for every lift. What `v` has of randomness is drawn
once in a step. The optimistic step needs none of this: it is `make_gan(..., simultaneous=True)` with
`optax.optimistic_gradient_descent`.
"""

import functools
from collections.abc import Callable

import jax
import optax

from jaxgan.game import Game
from jaxgan.gan import GAN
from jaxgan.players import GANState, PyTree


def make_consensus_gan(
    game: Game,
    *,
    generator_tx: optax.GradientTransformation,
    discriminator_tx: optax.GradientTransformation,
    strength: float,
    ema_decay: float | Callable[[jax.Array], jax.Array] = 0.999,
) -> GAN:
    """A GAN whose players also descend the length of the joint gradient.

    Both follow `v + strength * grad(|v|^2 / 2)`, the gradient of the second term with respect to all parameters. It
    adds `-strength |lambda|^2` to the real part of imaginary eigenvalues, at the price of a second derivative; it is
    also drawn to points that no player wants, where `v` is small.

    Args:
      game: the game.
      generator_tx: the generator's optimiser.
      discriminator_tx: the discriminator's optimiser.
      strength: weight of the second term (10 in the paper).
      ema_decay: as of `make_gan`.

    Returns:
      A `GAN`.

    References:
      Mescheder et al., The Numerics of GANs, https://arxiv.org/abs/1705.10461, 2017, Algorithm 2.
    """

    def directions(key, state, batch):
        gradients = functools.partial(game.gradients, key, state, batch)
        v, pull, aux = jax.vjp(gradients, _params(state), has_aux=True)
        inwards = game.over_devices(*pull(v))  # each device's part of the second derivative, of an averaged gradient
        return jax.tree.map(lambda a, b: a + strength * b, v, inwards), state, aux

    return _make(game, generator_tx, discriminator_tx, ema_decay, directions)


def make_extragradient_gan(
    game: Game,
    *,
    generator_tx: optax.GradientTransformation,
    discriminator_tx: optax.GradientTransformation,
    ema_decay: float | Callable[[jax.Array], jax.Array] = 0.999,
) -> GAN:
    """A GAN that moves by the gradient at the point to which a first update would have led.

    `w' = update(w, v(w))`, then `w <- update(w, v(w'))`: with Adam this is ExtraAdam, whose moments take in both
    gradients. Both are of the same batch and latents.

    Args:
      game: the game.
      generator_tx: the generator's optimiser.
      discriminator_tx: the discriminator's optimiser.
      ema_decay: as of `make_gan`.

    Returns:
      A `GAN`.

    References:
      Korpelevich, The extragradient method for finding saddle points and other problems, 1976.
      Gidel et al., A Variational Inequality Perspective on GANs, https://arxiv.org/abs/1802.10551, 2018, Algorithm 4.
    """

    def ahead(tx, player, gradient):
        updates, opt = tx.update(gradient, player.opt, player.params)
        return optax.apply_updates(player.params, updates), player._replace(opt=opt)

    def directions(key, state, batch):
        gradients = functools.partial(game.gradients, key, state, batch)
        (d_gradient, g_gradient), aux = gradients(_params(state))
        d_ahead, discriminator = ahead(discriminator_tx, state.discriminator, d_gradient)
        g_ahead, generator = ahead(generator_tx, state.generator, g_gradient)
        state = state._replace(discriminator=discriminator, generator=generator)
        return gradients((d_ahead, g_ahead))[0], state, aux

    return _make(game, generator_tx, discriminator_tx, ema_decay, directions)


def make_unrolled_gan(
    game: Game,
    *,
    generator_tx: optax.GradientTransformation,
    discriminator_tx: optax.GradientTransformation,
    unroll_steps: int,
    ema_decay: float | Callable[[jax.Array], jax.Array] = 0.999,
) -> GAN:
    """A GAN whose generator descends its loss against the discriminator as it would be some updates later.

    `d_0 = d`, `d_{k+1} = update(d_k, grad_d L_D(d_k, g))`; the generator follows the whole derivative of
    `L_G(d_K(g), g)` in `g`, through all updates; the discriminator itself moves by one. With `unroll_steps=0` this is
    `make_gan(..., simultaneous=True)`. A step costs about `3 unroll_steps` times as much as a plain one, and as many
    times the memory.

    The paper's `L_G` is `-L_D`, the term of the data included: `losses.zero_sum(losses.minimax)`. A generator's loss of
    its samples alone tells it nothing of the data that they leave to the discriminator.

    Args:
      game: the game.
      generator_tx: the generator's optimiser.
      discriminator_tx: the discriminator's optimiser, which is differentiated: Adam's root has an infinite slope at
        zero, so give it an `eps_root`; 1e-16 is to squares what its `eps` of 1e-8 is to their roots.
      unroll_steps: updates of the discriminator that the generator looks ahead, `K`.
      ema_decay: as of `make_gan`.

    Returns:
      A `GAN`.

    Raises:
      ValueError: for a negative number of steps.

    References:
      Metz et al., Unrolled Generative Adversarial Networks, https://arxiv.org/abs/1611.02163, 2016, Eq. 7 to 10.
    """
    if unroll_steps < 0:
        raise ValueError(f"unroll_steps={unroll_steps}: expected at least 0")

    def directions(key, state, batch):
        generate, judge = game.deal(key, state, batch)

        def objective(g_params):
            fake, _ = generate(g_params)

            def update(carry, _):
                d_params, opt = carry
                gradient = jax.grad(lambda d_params: judge(d_params, g_params, fake)[0][0])(d_params)
                updates, opt = discriminator_tx.update(game.over_devices(gradient), opt, d_params)
                return (optax.apply_updates(d_params, updates), opt), None

            now = state.discriminator.params, state.discriminator.opt
            (d_params, _), _ = jax.lax.scan(update, now, length=unroll_steps)
            return judge(d_params, g_params, fake)[0][1]

        (d_gradient, _), aux = game.gradients(key, state, batch, _params(state))
        return (d_gradient, game.over_devices(jax.grad(objective)(state.generator.params))), state, aux

    return _make(game, generator_tx, discriminator_tx, ema_decay, directions)


def _params(state: GANState) -> tuple[PyTree, PyTree]:
    return state.discriminator.params, state.generator.params


def _make(
    game: Game,
    generator_tx: optax.GradientTransformation,
    discriminator_tx: optax.GradientTransformation,
    ema_decay: float | Callable[[jax.Array], jax.Array],
    directions: Callable,
) -> GAN:
    """The GAN that moves along `directions`, `(key, state, batch) -> (d_gradient, g_gradient), state, aux`.

    What they return is averaged over devices.
    """

    def step(key, state, batch):
        (d_gradient, g_gradient), state, (g_stats, seen) = directions(key, state, batch)
        g_memory, d_memory = seen.memories
        discriminator, d_norm = game.move(discriminator_tx, state.discriminator, d_gradient, seen.stats, d_memory)
        generator, g_norm = game.move(generator_tx, state.generator, g_gradient, g_stats, g_memory)
        norms = {"discriminator/gradient_norm": d_norm, "generator/gradient_norm": g_norm}
        state = game.finish(state._replace(discriminator=discriminator, generator=generator), ema_decay)
        return state, seen.metrics | norms

    return GAN(lambda key, batch: game.init(key, batch, generator_tx, discriminator_tx), step, game.sample, game)
