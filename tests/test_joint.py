"""Consensus, extra-gradient and unrolled steps against loops in NumPy, the plain step, and every device."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan import lift, losses, penalties
from jaxgan.game import Game
from jaxgan.gan import make_gan
from jaxgan.joint import make_consensus_gan, make_extragradient_gan, make_unrolled_gan
from jaxgan.latents import normal_latents
from jaxgan.network import Network, flax_network
from jaxgan.networks import dcgan, mlp

KEY = jax.random.key(0)
RATE = 0.1


def sgd(rate=RATE):
    return {"generator_tx": optax.sgd(rate), "discriminator_tx": optax.sgd(rate)}


def game_of(shape, axis_name=None):
    """Points with a penalty of second derivatives, or images with batch normalisation."""
    if shape == (2,):
        generator, discriminator = mlp.Generator((2,), widths=(16,)), mlp.Discriminator(widths=(16,))
    else:
        generator = dcgan.Generator(start=3, features=(4,), strides=(2,), kernel_size=3, axis_name=axis_name)
        discriminator = dcgan.Discriminator(features=(4,), strides=(2,), kernel_size=3)

    def penalty(key, step, critic, real, fake):
        return penalties.gradient_squared_norm(critic, real)

    return Game(
        flax_network(generator),
        flax_network(discriminator),
        losses.relativistic,
        normal_latents(3),
        discriminator_penalty=penalty,
        axis_name=axis_name,
    )


def batch_of(shape, count=16):
    return {"x": jax.random.uniform(jax.random.key(5), (count, *shape), minval=-1.0)}


MAKES = {
    "consensus": lambda game: make_consensus_gan(game, strength=2.0, **sgd()),
    "extragradient": lambda game: make_extragradient_gan(game, **sgd()),
    "unrolled": lambda game: make_unrolled_gan(game, unroll_steps=2, **sgd()),
}
PLAIN = {
    "no consensus": lambda game: make_consensus_gan(game, strength=0.0, **sgd()),
    "not unrolled": lambda game: make_unrolled_gan(game, unroll_steps=0, **sgd()),
}


def assert_close(a, b, atol=1e-6):
    jax.tree.map(lambda u, v: np.testing.assert_allclose(u, v, rtol=1e-5, atol=atol), a, b)


@pytest.mark.parametrize("name", PLAIN)
def test_without_their_correction_they_are_the_simultaneous_step(name):
    """State, statistics, average and metrics, over two steps."""
    shape = (6, 6, 1)
    game, batch = game_of(shape), batch_of(shape)
    plain = make_gan(
        game.generator,
        game.discriminator,
        game.loss,
        latent=game.latent,
        discriminator_penalty=game.discriminator_penalty,
        simultaneous=True,
        **sgd(),
    )
    other = PLAIN[name](game)
    states = [jax.jit(gan.init)(KEY, batch) for gan in (plain, other)]
    steps = [jax.jit(gan.step) for gan in (plain, other)]
    for _ in range(2):
        results = [step(KEY, state, batch) for step, state in zip(steps, states, strict=True)]
        states = [state for state, _ in results]
        assert_close(*results)


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n == "unrolled")) for n in MAKES])
def test_every_lift_gives_the_plain_steps_numbers(name):
    """Eight devices, points; the corrections have to be those of the whole batch's gradient."""
    shape = (2,)
    batch = batch_of(shape, 32)
    gan = MAKES[name](game_of(shape))
    start = jax.jit(gan.init)(KEY, batch)
    expected = jax.jit(gan.step)(KEY, start, batch)
    moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), start.generator.params, expected[0].generator.params)
    assert max(jax.tree.leaves(moved)) > 1e-3
    steps = [lift.pmap(MAKES[name](game_of(shape, lift.AXIS)).step)]
    if name == "unrolled":  # the other two have nothing that a compiler could split wrongly and the plain step has not
        steps.append(lift.mesh(gan.step, lift.data_mesh()))
    for step in steps:
        assert_close(step(KEY, jax.tree.map(jnp.copy, start), batch), expected, atol=1e-5)


# A game of one parameter each: `G(z) = g`, `D(x) = d x + d^2 x^2 / 2`, data at 1; non-saturating losses.
def logit(d, x):
    return d * x + d**2 * x**2 / 2


def scalar(apply) -> Network:
    def init(key, x, cond):
        return {"params": {"w": jnp.full((), 0.5)}}

    return Network(
        init, lambda variables, x, cond, *, key, train, step=None: (apply(variables["params"]["w"], x), variables)
    )


SMALL = Game(
    scalar(lambda g, z: jnp.full(z.shape, g)),
    scalar(logit),
    losses.non_saturating,
    lambda key, batch: jnp.zeros(batch["x"].shape),
)
ONES = {"x": np.ones(4)}


def softplus(t):
    return np.logaddexp(0, t)


def d_loss(d, g):
    return softplus(-logit(d, 1.0)) + softplus(logit(d, g))


def g_loss(d, g):
    return softplus(-logit(d, g))


def slope(function, at, width=1e-5):
    """A derivative by central differences, in float64: good to about 1e-10."""
    return (function(at + width) - function(at - width)) / (2 * width)


def gradients(d, g):
    return slope(lambda d: d_loss(d, g), d), slope(lambda g: g_loss(d, g), g)


def run(gan, steps=3):
    """`(d, g)` after some steps, in float64."""
    with jax.enable_x64(True):
        state = gan.init(KEY, ONES)
        step = jax.jit(gan.step)
        for _ in range(steps):
            state, _ = step(KEY, state, ONES)
        return float(state.discriminator.params["w"]), float(state.generator.params["w"])


@pytest.mark.parametrize("unroll_steps", [0, 1, 4])
@pytest.mark.parametrize(
    ("loss", "g_loss"),
    [(losses.non_saturating, g_loss), (losses.zero_sum(losses.minimax), lambda d, g: -d_loss(d, g))],
    ids=["non-saturating", "zero-sum"],
)
def test_unrolled_against_finite_differences(loss, g_loss, unroll_steps):
    """The generator's derivative is the whole one: also through what its samples do to the discriminator."""
    d = g = 0.5
    for _ in range(3):

        def ahead(g, d=d):
            for _ in range(unroll_steps):
                d = d - RATE * slope(lambda d, g=g: d_loss(d, g), d)
            return d

        g_slope = slope(lambda g, ahead=ahead: g_loss(ahead(g), g), g, width=1e-4)
        d, g = d - RATE * gradients(d, g)[0], g - RATE * g_slope
    game = dataclasses.replace(SMALL, loss=loss)
    found = run(make_unrolled_gan(game, unroll_steps=unroll_steps, **sgd()))
    np.testing.assert_allclose(found, (d, g), atol=1e-6)


def test_unrolling_through_momentum_sees_the_optimisers_state():
    """Heavy balls: the discriminator that the generator looks ahead to has the momentum of the real one."""
    d = g = 0.5
    speed = 0.0
    for _ in range(3):

        def ahead(g, d=d, speed=speed):
            for _ in range(2):
                speed = 0.9 * speed + slope(lambda d, g=g: d_loss(d, g), d)
                d = d - RATE * speed
            return d

        g_slope = slope(lambda g, ahead=ahead: g_loss(ahead(g), g), g, width=1e-4)
        speed = 0.9 * speed + gradients(d, g)[0]
        d, g = d - RATE * speed, g - RATE * g_slope
    tx = {"generator_tx": optax.sgd(RATE), "discriminator_tx": optax.sgd(RATE, momentum=0.9)}
    np.testing.assert_allclose(run(make_unrolled_gan(SMALL, unroll_steps=2, **tx)), (d, g), atol=1e-6)


def test_unrolling_through_adam_needs_a_root_without_a_corner():
    """With `eps_root`, derivatives stay finite where a gradient is zero: a dead unit has one."""
    shape = (2,)
    dead = Game(
        flax_network(mlp.Generator((2,), widths=(4,))),
        scalar(lambda d, x: 0.0 * d * x[:, 0]),
        losses.non_saturating,
        normal_latents(3),
    )
    for eps_root, finite in ((1e-8, True), (1e-16, True), (0.0, False)):
        tx = {"generator_tx": optax.sgd(RATE), "discriminator_tx": optax.adam(RATE, eps_root=eps_root)}
        gan = make_unrolled_gan(dead, unroll_steps=1, **tx)
        state, _ = jax.jit(gan.step)(KEY, gan.init(KEY, batch_of(shape)), batch_of(shape))
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.generator.params)) == finite


def test_consensus_against_finite_differences():
    d = g = 0.5
    strength = 2.0

    def length(d, g):
        return np.sum(np.square(gradients(d, g))) / 2

    for _ in range(3):
        v = gradients(d, g)
        inwards = slope(lambda d, g=g: length(d, g), d, 1e-3), slope(lambda g, d=d: length(d, g), g, 1e-3)
        d, g = d - RATE * (v[0] + strength * inwards[0]), g - RATE * (v[1] + strength * inwards[1])
    np.testing.assert_allclose(run(make_consensus_gan(SMALL, strength=strength, **sgd())), (d, g), atol=1e-6)


def test_extra_adam_takes_both_gradients_into_its_moments():
    """Gidel et al., Algorithm 4, in a loop of NumPy: moments and the count of steps move twice a step."""
    b1, b2, eps = 0.5, 0.9, 1e-8
    w, m, s, t = np.array([0.5, 0.5]), np.zeros(2), np.zeros(2), 0
    for _ in range(3):
        at = w
        for _ in range(2):
            gradient = np.array(gradients(*at))
            t, m, s = t + 1, b1 * m + (1 - b1) * gradient, b2 * s + (1 - b2) * gradient**2
            at = w - RATE * (m / (1 - b1**t)) / (np.sqrt(s / (1 - b2**t)) + eps)
        w = at
    adam = optax.adam(RATE, b1=b1, b2=b2, eps=eps)
    found = run(make_extragradient_gan(SMALL, generator_tx=adam, discriminator_tx=adam))
    np.testing.assert_allclose(found, w, atol=1e-6)


BILINEAR = Game(SMALL.generator, scalar(lambda d, x: d * x), losses.wasserstein, SMALL.latent)


def distance(make, steps=200):
    """How far from the equilibrium (0, 0) a bilinear game ends that starts at (1/2, 1/2), a distance of 0.71."""
    with jax.enable_x64(True):
        batch, gan = {"x": np.zeros(4)}, make(BILINEAR)
        state, _ = jax.jit(lambda s: jax.lax.scan(lambda s, _: gan.step(KEY, s, batch), s, length=steps))(
            gan.init(KEY, batch)
        )
        return float(np.hypot(state.discriminator.params["w"], state.generator.params["w"]))


def plain(game, tx):
    txs = {"generator_tx": tx, "discriminator_tx": tx}
    return make_gan(game.generator, game.discriminator, game.loss, latent=game.latent, simultaneous=True, **txs)


def test_a_bilinear_game_converges_by_each_of_them_and_diverges_without():
    assert distance(lambda game: plain(game, optax.sgd(RATE))) > 1.5
    for make in MAKES.values():
        assert distance(make) < 0.3
    # optimistic steps need no constructor of their own
    optimistic = optax.optimistic_gradient_descent(RATE)
    assert distance(lambda game: plain(game, optimistic)) < 0.3


def test_a_negative_number_of_unrolled_steps_is_refused():
    with pytest.raises(ValueError, match="unroll_steps=-1: expected at least 0"):
        make_unrolled_gan(SMALL, unroll_steps=-1, **sgd())
