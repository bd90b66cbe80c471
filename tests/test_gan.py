"""The step: which player moves, from where, with which latents; and what it never does."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan import lift, losses, penalties
from jaxgan.gan import GAN, make_gan
from jaxgan.latents import normal_latents, uniform_latents
from jaxgan.network import Network, flax_network
from jaxgan.networks import dcgan, mlp

BATCH = 24


def build(loss=losses.non_saturating, rate=0.05, **options) -> GAN:
    return make_gan(
        flax_network(mlp.Generator((2,), widths=(16,))),
        flax_network(mlp.Discriminator(widths=(16,))),
        loss,
        generator_tx=options.pop("generator_tx", optax.sgd(rate)),
        discriminator_tx=options.pop("discriminator_tx", optax.sgd(rate)),
        latent=options.pop("latent", normal_latents(4)),
        **options,
    )


@pytest.fixture
def batch():
    return {"x": jax.random.normal(jax.random.key(7), (BATCH, 2))}


def scalar_network(apply) -> Network:
    """A network of one parameter, so that a step can be computed by hand."""

    def init(key, x, cond):
        return {"params": {"w": jnp.array(0.5)}}

    def scaled(variables, x, cond, *, key, train, step=None):
        return apply(variables["params"]["w"], x), variables

    return Network(init, scaled)


def scalar_gan(**options) -> GAN:
    """`G(z) = g z`, `D(x) = d x`, constant latents `z = 2`, data `x = 3`, both `g` and `d` at 1/2, gradient descent."""
    return make_gan(
        scalar_network(lambda g, z: g * z),
        scalar_network(lambda d, x: d * x),
        losses.wasserstein,
        generator_tx=optax.sgd(0.1),
        discriminator_tx=optax.sgd(0.1),
        latent=lambda key, batch: jnp.full((batch["x"].shape[0],), 2.0),
        **options,
    )


@pytest.mark.parametrize(
    ("options", "d_after", "g_after"),
    [
        # critic's loss d g z - d x: gradient g z - x = 1 - 3 = -2, so d = 0.5 + 0.2; generator's loss -d g z.
        ({}, 0.7, 0.5 + 0.1 * 0.7 * 2),
        ({"simultaneous": True}, 0.7, 0.5 + 0.1 * 0.5 * 2),
        ({"discriminator_steps": 3}, 1.1, 0.5 + 0.1 * 1.1 * 2),
        # a penalty of (g z)^2 / 2 adds 4 g, of the generator as it is then: 0.5 + 0.1 (1.4 - 2), + 0.1 (1.4 - 1.76)
        ({"generator_steps": 2, "generator_penalty": lambda *of: of[-2] ** 2 / 2}, 0.7, 0.404),
        # a penalty of d^2 (the squared gradient of d x) adds 2 d = 1 to the gradient of the first update
        (
            {
                "discriminator_penalty": lambda key, step, critic, real, fake: penalties.gradient_squared_norm(
                    critic, real
                )
            },
            0.6,
            0.5 + 0.1 * 0.6 * 2,
        ),
        # a penalty of the fake itself, g z: adds z; one of the generator, G(3) = 3 g: adds 3
        ({"generator_penalty": lambda key, step, generator, z, fake, batch: fake}, 0.7, 0.5 + 0.1 * (0.7 * 2 - 2)),
        (
            {"generator_penalty": lambda key, step, generator, z, fake, batch: generator(jnp.full_like(z, 3.0))},
            0.7,
            0.5 + 0.1 * (0.7 * 2 - 3),
        ),
    ],
)
def test_a_step_is_what_a_hand_computes(key, options, d_after, g_after):
    gan = scalar_gan(**options)
    batch = {"x": jnp.full((6,), 3.0)}
    state, _ = gan.step(key, gan.init(key, batch), batch)
    np.testing.assert_allclose(state.discriminator.params["w"], d_after, rtol=1e-6)
    np.testing.assert_allclose(state.generator.params["w"], g_after, rtol=1e-6)


def test_penalties_are_told_the_step(key):
    gan = scalar_gan(discriminator_penalty=lambda key, step, critic, real, fake: critic(real) * 0.0 + step)
    batch = {"x": jnp.full((6,), 3.0)}
    state, seen = gan.init(key, batch), []
    for _ in range(3):
        state, metrics = gan.step(key, state, batch)
        seen.append(float(metrics["discriminator/penalty"]))
    assert seen == [0.0, 1.0, 2.0]


def test_a_penalty_may_ask_for_parameters_latents_and_the_rival(key):
    """As orthogonality and zCR do; each player's gradient is of its own parameters alone."""

    def of_discriminator(key, step, critic, real, fake):
        return critic.params["w"] ** 2 + critic(critic.rival(critic.latents + 1.0))  # d^2 + d (g (z + 1))

    def of_generator(key, step, generator, latents, fake, batch):
        np.testing.assert_array_equal(generator.latents, latents)
        return generator.params["w"] ** 2 + generator.rival(generator(latents))  # g^2 + d g z

    gan = scalar_gan(discriminator_penalty=of_discriminator, generator_penalty=of_generator)
    batch = {"x": jnp.full((6,), 3.0)}
    state, _ = gan.step(key, gan.init(key, batch), batch)
    d = 0.5 - 0.1 * (0.5 * 2 - 3 + 2 * 0.5 + 0.5 * 3)
    np.testing.assert_allclose(state.discriminator.params["w"], d, rtol=1e-6)
    np.testing.assert_allclose(state.generator.params["w"], 0.5 - 0.1 * (-2 * d + 2 * 0.5 + 2 * d), rtol=1e-6)


@pytest.mark.parametrize("simultaneous", [False, True])
def test_a_penalty_may_be_of_what_the_discriminator_gave(key, simultaneous):
    """As of a second head: `2 d x + d g z` for the discriminator, `3 d g z` for the generator, without another pass."""
    gan = scalar_gan(
        discriminator_penalty=lambda key, step, critic, real, fake: 2.0 * critic.outputs[0] + critic.outputs[1],
        generator_penalty=lambda key, step, generator, latents, fake, batch: 3.0 * generator.outputs[1],
        simultaneous=simultaneous,
    )
    batch = {"x": jnp.full((6,), 3.0)}
    state, _ = gan.step(key, gan.init(key, batch), batch)
    d = 0.5 - 0.1 * (0.5 * 2 - 3 + 2 * 3 + 0.5 * 2)
    np.testing.assert_allclose(state.discriminator.params["w"], d, rtol=1e-6)
    d = 0.5 if simultaneous else d
    np.testing.assert_allclose(state.generator.params["w"], 0.5 - 0.1 * (-2 * d + 3 * 2 * d), rtol=1e-5)


class Counting(NamedTuple):
    """A penalty that remembers how often it was asked, and costs that many times the mean of its points."""

    init = staticmethod(lambda: {"asked": jnp.zeros(())})

    @staticmethod
    def apply(memory, key, step, function, *rest):
        asked = memory["asked"] + 1.0
        return asked * function(rest[0]), {"asked": asked}


@pytest.mark.parametrize("simultaneous", [False, True])
def test_a_penalty_may_remember(key, simultaneous):
    """Once for each of a player's own updates; with `critic(real) = 3 d` and `generator(z) = 2 g`."""
    gan = scalar_gan(discriminator_penalty=Counting(), generator_penalty=Counting(), simultaneous=simultaneous)
    batch = {"x": jnp.full((6,), 3.0)}
    state, d, g = gan.init(key, batch), 0.5, 0.5
    step = jax.jit(gan.step)
    for asked in (1, 2, 3):
        assert state.discriminator.memory == state.generator.memory == {"penalty": {"asked": asked - 1}}
        state, metrics = step(key, state, batch)
        before = d
        np.testing.assert_allclose(metrics["discriminator/penalty"], asked * 3 * d, rtol=1e-5)
        np.testing.assert_allclose(metrics["generator/penalty"], asked * 2 * g, rtol=1e-5)
        d -= 0.1 * (2 * g - 3 + asked * 3)
        g -= 0.1 * (-2 * (before if simultaneous else d) + asked * 2)
        np.testing.assert_allclose(state.discriminator.params["w"], d, rtol=1e-5)
        np.testing.assert_allclose(state.generator.params["w"], g, rtol=1e-5)


def test_began_keeps_its_balance_as_a_memory(key):
    """Berthelot et al.: `E(x) - k E(G(z))` and `k + rate (gamma E(x) - E(G(z)))`, by hand; energies are `1 - d x`."""
    gamma, rate = 0.5, 0.3

    class Balance(NamedTuple):
        init = staticmethod(lambda: jnp.zeros(()))

        @staticmethod
        def apply(k, key, step, critic, real, fake):
            energies = -critic(real), -critic(fake)
            moved = losses.boundary_equilibrium_balance(k, *energies, gamma=gamma, rate=rate)
            return losses.boundary_equilibrium_discriminator_loss(*energies, k), moved

    nothing = losses.Loss(lambda real, fake: 0.0 * real, lambda fake, real=None: -fake, boundary=None)
    gan = make_gan(
        scalar_network(lambda g, z: g * z),
        scalar_network(lambda d, x: d * x - 1.0),
        nothing,
        generator_tx=optax.sgd(0.1),
        discriminator_tx=optax.sgd(0.1),
        latent=lambda key, batch: jnp.full((batch["x"].shape[0],), 2.0),
        discriminator_penalty=Balance(),
    )
    batch = {"x": jnp.full((6,), -1.0)}
    state, d, g, k = gan.init(key, batch), 0.5, 0.5, 0.0
    step = jax.jit(gan.step)
    for _ in range(4):
        np.testing.assert_allclose(state.discriminator.memory["penalty"], k, rtol=1e-5)
        state, _ = step(key, state, batch)
        fake = 2 * g
        # d/dd of (1 + d) - k (1 - d fake), for x = -1; the generator's energy 1 - d g z falls along d z
        d, k = d - 0.1 * (1 + k * fake), np.clip(k + rate * (gamma * (1 + d) - (1 - d * fake)), 0, 1)
        g += 0.1 * d * 2
        np.testing.assert_allclose(state.discriminator.params["w"], d, rtol=1e-5)
        np.testing.assert_allclose(state.generator.params["w"], g, rtol=1e-5)
    assert k > 0.01


def test_a_memory_moves_in_every_discriminator_step(key):
    gan = scalar_gan(discriminator_penalty=Counting(), generator_penalty=Counting(), discriminator_steps=3)
    batch = {"x": jnp.full((6,), 3.0)}
    state, _ = jax.jit(gan.step)(key, gan.init(key, batch), batch)
    assert state.discriminator.memory == {"penalty": {"asked": 3.0}}
    assert state.generator.memory == {"penalty": {"asked": 1.0}}


def test_a_memory_is_averaged_over_devices(key):
    """Each device's penalty remembers the mean of its own part of the data; the state holds that of all."""

    class Mean(NamedTuple):
        init = staticmethod(lambda: jnp.zeros(()))
        apply = staticmethod(lambda memory, key, step, critic, real, fake: (0.0 * real, jnp.mean(real)))

    gan = scalar_gan(discriminator_penalty=Mean(), axis_name=lift.AXIS)
    batch = {"x": jnp.arange(16.0)}
    state, _ = lift.pmap(gan.step)(key, gan.init(key, batch), batch)
    np.testing.assert_allclose(state.discriminator.memory["penalty"], 7.5)


def test_augmentation_is_between_everything_and_the_discriminator(key):
    """Data, samples and a penalty's points are doubled: `D(2 x) = 2 d x`; the generator's gradient goes through it."""
    told = []

    def augment(key, step, x):
        told.append(step)
        return 2 * x

    gan = scalar_gan(augment=augment, discriminator_penalty=lambda key, step, critic, real, fake: critic(real))
    batch = {"x": jnp.full((6,), 3.0)}
    state, metrics = gan.step(key, gan.init(key, batch), batch)
    np.testing.assert_allclose(metrics["discriminator/real_logits"], 2 * 0.5 * 3)
    np.testing.assert_allclose(metrics["discriminator/fake_logits"], 2 * 0.5 * 1)
    np.testing.assert_allclose(metrics["discriminator/penalty"], 2 * 0.5 * 3)
    # loss 2 d (g z - x) with g z = 1, x = 3, and the penalty 2 d x
    d = 0.5 - 0.1 * (2 * (1 - 3) + 2 * 3)
    np.testing.assert_allclose(state.discriminator.params["w"], d, rtol=1e-6)
    np.testing.assert_allclose(state.generator.params["w"], 0.5 + 0.1 * 2 * d * 2, rtol=1e-6)
    assert len(told) >= 3 and all(step == 0 for step in told)


def test_augmentation_draws_anew_for_data_and_samples_and_at_every_step(key):
    drawn = []

    def augment(key, step, x):
        drawn.append(float(jax.random.normal(key)))
        return x

    gan = scalar_gan(augment=augment, simultaneous=True)
    batch = {"x": jnp.full((6,), 3.0)}
    state = gan.init(key, batch)
    for _ in range(2):
        state, _ = gan.step(key, state, batch)
    assert len(drawn) == len(set(drawn)) == 4


@pytest.mark.parametrize("simultaneous", [False, True])
@pytest.mark.parametrize("still", ["generator", "discriminator"])
def test_a_players_update_leaves_the_other_bitwise_unchanged(key, batch, still, simultaneous):
    gan = build(simultaneous=simultaneous, **{f"{still}_tx": optax.set_to_zero()})
    before = gan.init(key, batch)
    after, _ = gan.step(key, before, batch)
    jax.tree.map(np.testing.assert_array_equal, getattr(before, still).params, getattr(after, still).params)
    moving = {"generator", "discriminator"} - {still}
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), *(getattr(s, *moving).params for s in (before, after)))
    assert any(jax.tree.leaves(moved))


def test_relativistic_generators_see_the_data(key, batch):
    gan = build(losses.relativistic, discriminator_tx=optax.set_to_zero())
    state = gan.init(key, batch)
    one, _ = gan.step(key, state, batch)
    other, _ = gan.step(key, state, {"x": batch["x"] + 1.0})
    assert any(jax.tree.leaves(jax.tree.map(lambda a, b: bool((a != b).any()), one.generator, other.generator)))


@pytest.mark.parametrize("loss", losses.LOSSES.values(), ids=losses.LOSSES)
def test_every_loss_trains_and_reports_finite_metrics(key, batch, loss):
    gan = build(loss)
    state, metrics = gan.step(key, gan.init(key, batch), batch)
    assert {
        f"{player}/{name}" for player in ("generator", "discriminator") for name in ("loss", "gradient_norm")
    } <= metrics.keys()
    for name, value in metrics.items():
        assert value.shape == () and np.isfinite(value), name
    assert int(state.step) == 1


def test_accuracy_counts_each_side_of_the_boundary(key):
    """Logits 3 d = 1.5 on data, 2 g d = 0.5 on fakes."""
    batch = {"x": jnp.full((4,), 3.0)}
    for boundary, real, fake in [(0.0, 1.0, 0.0), (1.0, 1.0, 1.0), (2.0, 0.0, 1.0), (None, 1.0, 1.0)]:
        gan = scalar_gan()
        gan = make_gan(
            scalar_network(lambda g, z: g * z),
            scalar_network(lambda d, x: d * x),
            losses.wasserstein._replace(boundary=boundary),
            generator_tx=optax.sgd(0.1),
            discriminator_tx=optax.sgd(0.1),
            latent=lambda key, batch: jnp.full((batch["x"].shape[0],), 2.0),
        )
        _, metrics = gan.step(key, gan.init(key, batch), batch)
        assert (metrics["discriminator/real_accuracy"], metrics["discriminator/fake_accuracy"]) == (real, fake)
        assert (metrics["discriminator/real_logits"], metrics["discriminator/fake_logits"]) == (1.5, 0.5)


def test_the_average_follows_the_updated_generator(key, batch):
    gan = build(ema_decay=0.5)
    state = gan.init(key, batch)
    ema = state.ema["params"]
    for step in range(12):
        state, _ = gan.step(key, state, batch)
        decay = min(0.5, (1 + step) / (10 + step))
        ema = jax.tree.map(lambda a, v, d=decay: d * a + (1 - d) * v, ema, state.generator.params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), ema, state.ema["params"])


def test_samples_come_from_the_average_without_training_noise(key, batch):
    gan = make_gan(
        flax_network(dcgan.Generator(start=4, features=(8, 8), strides=(1, 2), kernel_size=3)),
        flax_network(dcgan.Discriminator(features=(8,), strides=(2,), kernel_size=3, dropout=0.5)),
        losses.hinge,
        generator_tx=optax.sgd(0.1),
        discriminator_tx=optax.sgd(0.1),
        latent=normal_latents(3),
    )
    images = {"x": jax.random.normal(key, (BATCH, 8, 8, 1))}
    state, _ = jax.jit(gan.step)(key, jax.jit(gan.init)(key, images), images)
    samples = gan.sample(key, state, images)
    latents = jax.random.normal(jax.random.split(key)[0], (BATCH, 3))
    expected = dcgan.Generator(start=4, features=(8, 8), strides=(1, 2), kernel_size=3).apply(state.ema, latents)
    np.testing.assert_allclose(samples, expected, rtol=1e-6)
    other = gan.sample(key, state._replace(generator=None, discriminator=None), images)
    np.testing.assert_array_equal(samples, other)


def test_statistics_move_only_in_their_players_own_update(key):
    """The discriminator's second look at the fakes, for the generator's sake, leaves its statistics alone."""

    def init(key, x, cond):
        return {"params": {"w": jnp.array(0.5)}, "calls": {"n": jnp.array(0)}}

    def apply(variables, x, cond, *, key, train, step=None):
        count = {"n": variables["calls"]["n"] + 1} if train else variables["calls"]
        return variables["params"]["w"] * x, {**variables, "calls": count}

    counting = Network(init, apply)
    gan = make_gan(
        counting,
        counting,
        losses.wasserstein,
        generator_tx=optax.sgd(0.1),
        discriminator_tx=optax.sgd(0.1),
        latent=lambda key, batch: jnp.ones_like(batch["x"]),
        discriminator_steps=3,
    )
    batch = {"x": jnp.ones((6,))}
    state, _ = gan.step(key, gan.init(key, batch), batch)
    assert int(state.discriminator.stats["calls"]["n"]) == 6  # data and fakes, in each of three updates
    assert int(state.generator.stats["calls"]["n"]) == 1
    assert int(state.ema["calls"]["n"]) == 1  # counters are taken, not averaged


def test_logits_data_and_fakes_may_be_pytrees(key):
    """Two domains, each judged at two scales: the losses of the leaves add."""

    def judge(w, x):
        return {name: [w * v, w * v.mean(axis=1)] for name, v in x.items()}

    gan = make_gan(
        scalar_network(lambda g, z: {"a": g * z, "b": 2 * g * z}),
        scalar_network(judge),
        losses.least_squares,
        generator_tx=optax.sgd(0.1),
        discriminator_tx=optax.sgd(0.1),
        latent=lambda key, batch: jnp.ones_like(batch["x"]["a"]),
    )
    batch = {"x": {"a": jnp.ones((4, 3)), "b": jnp.ones((4, 3))}}
    state, metrics = gan.step(key, gan.init(key, batch), batch)
    # real logits 0.5: 0.125 each; fake logits 0.25 and 0.5: 0.03125 and 0.125; two scales of each
    np.testing.assert_allclose(metrics["discriminator/loss"], 2 * (0.125 + 0.03125) + 2 * (0.125 + 0.125), rtol=1e-6)
    assert jax.tree.structure(gan.sample(key, state, batch)) == jax.tree.structure(batch["x"])


def test_conditioning_reaches_both_players(key):
    def init(key, x, cond):
        return {"params": {"w": jnp.array(1.0)}}

    def apply(variables, x, cond, *, key, train, step=None):
        return variables["params"]["w"] * x + cond, variables

    network = Network(init, apply)
    gan = make_gan(
        network,
        network,
        losses.wasserstein,
        generator_tx=optax.sgd(0.0),
        discriminator_tx=optax.sgd(0.0),
        latent=lambda key, batch: jnp.zeros_like(batch["x"]),
    )
    batch = {"x": jnp.ones((4,)), "cond": jnp.full((4,), 5.0)}
    state = gan.init(key, batch)
    np.testing.assert_array_equal(gan.sample(key, state, batch), batch["cond"])
    _, metrics = gan.step(key, state, batch)
    assert (metrics["discriminator/real_logits"], metrics["discriminator/fake_logits"]) == (6.0, 10.0)


def test_networks_augmentation_and_average_see_the_step(key):
    """Networks that change in the course of a training, an augmentation whose strength follows it, any decay."""

    def init(key, x, cond):
        return {"params": {"w": jnp.array(1.0)}}

    def counting(variables, x, cond, *, key, train, step=None):
        return variables["params"]["w"] * x + step, variables

    class Augment:
        """Adds as much as there were steps, and counts the share of positive logits of data."""

        init = staticmethod(lambda: {"added": jnp.zeros(()), "positive": jnp.zeros(())})
        apply = staticmethod(lambda memory, key, step, x: x + memory["added"])

        @staticmethod
        def update(memory, step, real_logits):
            return {"added": memory["added"] + 1.0, "positive": memory["positive"] + jnp.mean(real_logits > 0)}

    gan = make_gan(
        Network(init, counting),
        Network(init, counting),
        losses.wasserstein,
        generator_tx=optax.sgd(1.0),
        discriminator_tx=optax.sgd(0.0),
        latent=lambda key, batch: jnp.ones_like(batch["x"]),
        augment=Augment(),
        ema_decay=lambda step: jnp.where(step == 0, 1.0, 0.25),
    )
    batch = {"x": jnp.full((4,), 5.0)}
    state = gan.init(key, batch)
    for step in range(3):
        before, (state, metrics) = state, gan.step(key, state, batch)
        # The batch's 5, the augmentation's and the discriminator's step; fakes are the generator's weight and step.
        assert metrics["discriminator/real_logits"] == 5 + 2 * step
        assert metrics["discriminator/fake_logits"] == 1 + 4 * step
        assert state.generator.params["w"] == 2 + step
        expected = 1.0 if step == 0 else 0.25 * before.ema["params"]["w"] + 0.75 * (2 + step)
        np.testing.assert_allclose(state.ema["params"]["w"], expected, rtol=1e-6)
    assert state.discriminator.memory == {"augment": {"added": 3.0, "positive": 3.0}} and state.generator.memory == {}
    np.testing.assert_array_equal(gan.sample(key, state, batch), np.full(4, 3.0 + state.ema["params"]["w"]))


def test_the_generator_runs_forward_once_a_step(key, batch):
    """Both players share one pass: the compiled step costs what its parts do, counted by hand in matrix products."""
    width, hidden = 64, 256
    gan = make_gan(
        flax_network(mlp.Generator((2,), widths=(hidden, hidden))),
        flax_network(mlp.Discriminator(widths=(8,))),
        losses.non_saturating,
        generator_tx=optax.sgd(0.1),
        discriminator_tx=optax.sgd(0.1),
        latent=normal_latents(width),
    )
    step = jax.jit(gan.step).lower(key, gan.init(key, batch), batch).compile()
    forward = 2 * BATCH * (width * hidden + hidden * hidden + hidden * 2)
    # forward once, weight gradients of all layers, input gradients of all but the first
    once = forward + forward + (forward - 2 * BATCH * width * hidden)
    assert once < step.cost_analysis()["flops"] < once + 0.5 * forward


def test_latents_are_new_at_every_step_and_the_same_for_the_same_step(key, batch):
    def gan_that_shows(latent):
        return build(latent=latent, loss=losses.wasserstein, discriminator_tx=optax.sgd(0.0))

    gan = gan_that_shows(normal_latents(4))
    state = gan.init(key, batch)
    first, a = gan.step(key, state, batch)
    _, b = gan.step(key, state, batch)
    _, later = gan.step(key, state._replace(step=state.step + 1), batch)
    assert a["discriminator/fake_logits"] == b["discriminator/fake_logits"]
    assert a["discriminator/fake_logits"] != later["discriminator/fake_logits"]


@pytest.mark.parametrize(
    ("latent", "mean", "variance", "low", "high"),
    [(normal_latents(3, 5), 0.0, 1.0, -7.0, 7.0), (uniform_latents(3, 5), 0.0, 1 / 3, -1.0, 1.0)],
)
def test_latents_have_their_distributions_moments(key, latent, mean, variance, low, high):
    z = latent(key, {"x": jnp.zeros((4000, 1))})
    assert z.shape == (4000, 3, 5) and z.min() >= low and z.max() <= high
    assert abs(z.mean() - mean) < 4 * (variance / z.size) ** 0.5
    np.testing.assert_allclose(z.var(), variance, rtol=0.03)


@pytest.mark.parametrize("name", ["discriminator_steps", "generator_steps"])
@pytest.mark.parametrize(("steps", "options"), [(0, {}), (2, {"simultaneous": True})])
def test_impossible_games_are_refused(name, steps, options):
    with pytest.raises(ValueError, match=name):
        build(**{name: steps}, **options)


def test_a_batch_that_does_not_split_is_refused(key, batch):
    gan = build(discriminator_steps=5)
    with pytest.raises(ValueError, match="24 does not split into 5"):
        gan.step(key, gan.init(key, batch), batch)


def test_bfloat16_players_keep_their_dtypes(key, batch):
    gan = build()
    narrow = jax.tree.map(lambda v: v.astype(jnp.bfloat16), batch)
    state = gan.init(key, batch)
    state = jax.tree.map(lambda v: v.astype(jnp.bfloat16) if v.dtype == jnp.float32 else v, state)
    after, metrics = jax.eval_shape(gan.step, key, state, narrow)
    assert jax.tree.map(lambda v: v.dtype, after) == jax.tree.map(lambda v: v.dtype, state)
    assert metrics["discriminator/loss"].dtype == jnp.float32


def test_the_step_keeps_structure_shapes_and_dtypes(key, batch):
    for options in ({}, {"simultaneous": True}, {"discriminator_steps": 2}):
        gan = build(**options)
        state = jax.eval_shape(gan.init, key, batch)
        after, _ = jax.eval_shape(gan.step, key, state, batch)
        assert jax.tree.structure(after) == jax.tree.structure(state)
        assert jax.tree.leaves(after) == jax.tree.leaves(state)
