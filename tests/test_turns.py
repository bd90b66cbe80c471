"""Microbatches: the whole batch's update where examples do not meet, the mean of the cuts' where they do."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan import lift, losses, penalties
from jaxgan.gan import make_gan
from jaxgan.latents import normal_latents
from jaxgan.network import Network, flax_network
from jaxgan.networks import dcgan, mlp
from jaxgan.penalties.lecam import Anchors, lecam, move_anchors

BATCH = 48


class LeCam:
    """A penalty whose memory moves with the mean logits: the whole batch's is the mean of the cuts'."""

    @staticmethod
    def init():
        return Anchors(jnp.zeros(()), jnp.zeros(()))

    @staticmethod
    def apply(anchors, key, step, critic, real, fake):
        logits = critic(real), critic(fake)
        return lecam(*logits, anchors), move_anchors(anchors, *logits)


def gradients(key, step, critic, real, fake):
    return penalties.gradient_squared_norm(critic, real) + penalties.gradient_squared_norm(critic, fake)


def build(generator, discriminator, loss=losses.non_saturating, rate=0.1, **options):
    players = {"generator_tx": optax.sgd(rate), "discriminator_tx": optax.sgd(rate), "latent": normal_latents(4)}
    return make_gan(flax_network(generator), flax_network(discriminator), loss, **players | options)


points = functools.partial(build, mlp.Generator((2,), widths=(16,)), mlp.Discriminator(widths=(16,)))
plain_images = functools.partial(
    build,
    dcgan.Generator(start=4, features=(8, 8), strides=(1, 2), kernel_size=3, norm=False),
    dcgan.Discriminator(features=(8, 8), kernel_size=3, spectral_norm=True),
)
GAMES = {
    "points": (points, {"discriminator_penalty": gradients}, (2,)),
    "points, paired": (points, {"loss": losses.relativistic, "simultaneous": True}, (2,)),
    "points, steps of each, memory": (
        points,
        {"discriminator_penalty": LeCam, "discriminator_steps": 2, "generator_steps": 2},
        (2,),
    ),
    "images": (plain_images, {"discriminator_penalty": gradients, "rate": 0.01}, (8, 8, 1)),
}


def assert_close(a, b, tolerance=1e-5):
    jax.tree.map(lambda u, v: np.testing.assert_allclose(u, v, rtol=0, atol=tolerance), a, b)


def data(shape):
    return {"x": jax.random.uniform(jax.random.key(3), (BATCH, *shape), minval=-1.0)}


@functools.cache
def start_and_result(name):
    """A game's state, and what two steps of whole batches make of it."""
    make, options, shape = GAMES[name]
    gan, key, batch = make(**options), jax.random.key(0), data(shape)
    start = jax.jit(gan.init)(key, batch)
    step, state = jax.jit(gan.step), start
    for _ in range(2):
        state, metrics = step(key, state, batch)
    return start, state, metrics


LIFTS = {
    "jit": lambda make: lift.jit(make().step),
    "pmap": lambda make: lift.pmap(make(axis_name=lift.AXIS).step),
    "mesh": lambda make: lift.mesh(make().step, lift.data_mesh()),
}


@pytest.mark.parametrize(
    ("game", "name"),
    [
        pytest.param("images", "jit", marks=pytest.mark.slow),
        *((game, name) for game in GAMES for name in LIFTS if game != "images"),
    ],
)
def test_microbatches_make_the_whole_batchs_update(game, name):
    """With plain gradient descent, and all of the state: statistics (singular vectors), memories and average too."""
    make, options, shape = GAMES[game]
    start, expected, metrics = start_and_result(game)
    key, state = jax.random.key(0), jax.tree.map(jnp.copy, start)
    step = LIFTS[name](lambda **axis: make(**options, **axis, microbatches=3))
    for _ in range(2):
        state, found = step(key, state, data(shape))
    assert_close(state, expected)
    if options.get("loss") is losses.relativistic:  # it counts accuracies against the means of logits, here a cut's
        metrics, found = ({k: v for k, v in m.items() if "accuracy" not in k} for m in (metrics, found))
    assert_close(found, metrics)


def running_mean(state):
    return state.generator.stats["batch_stats"]["BatchNorm_0"]["mean"]


def test_batch_statistics_are_a_microbatchs_and_all_is_the_mean_over_them():
    """One simultaneous step of descent is linear in the gradients: so it is the mean of a step on each cut alone."""

    def make(**options):
        return build(
            dcgan.Generator(start=4, features=(8, 8), strides=(1, 2), kernel_size=3),
            dcgan.Discriminator(features=(8,), strides=(2,), kernel_size=3),
            simultaneous=True,
            latent=lambda key, batch: batch["x"][:, :4, 0, 0],  # the example's own, wherever it is dealt
            **options,
        )

    key, batch = jax.random.key(0), data((8, 8, 1))
    start = jax.jit(make().init)(key, batch)
    state, metrics = jax.jit(make(microbatches=4).step)(key, start, batch)
    alone = jax.jit(make().step)
    each = [alone(key, start, {"x": batch["x"][i::4]}) for i in range(4)]
    expected, means = jax.tree.map(lambda *v: sum(v) / 4, *each)
    norms = {name for name in metrics if name.endswith("gradient_norm")}  # of the mean, not the mean of norms
    assert_close(state._replace(step=1.0), expected)
    assert_close(*({k: v for k, v in m.items() if k not in norms} for m in (metrics, means)))
    whole, _ = alone(key, start, batch)
    assert_close(running_mean(state), running_mean(whole))
    spread = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), state.generator.params, whole.generator.params)
    assert max(jax.tree.leaves(spread)) > 1e-5, "batch statistics should have made a difference"


def test_each_microbatch_draws_its_own_and_the_generator_makes_the_same_fakes_again():
    """A noisy generator: its second forward pass must make the fakes that the discriminator has judged."""
    seen = {"discriminator": set(), "generator": set(), "drawn": set()}

    def note(name, value):
        jax.debug.callback(lambda v: seen[name].add(np.asarray(v).tobytes()), value)

    def of_discriminator(key, step, critic, real, fake):
        note("discriminator", fake)
        note("drawn", jax.random.normal(key))
        return jnp.zeros(())

    def of_generator(key, step, generator, latents, fake, batch):
        note("generator", fake)
        return jnp.zeros(())

    def noisy(variables, z, cond, *, key, train, step=None):
        return variables["params"]["w"] * z + jax.random.normal(key, z.shape), variables

    gan = make_gan(
        Network(lambda key, z, cond: {"params": {"w": jnp.ones(())}}, noisy),
        flax_network(mlp.Discriminator(widths=(4,))),
        losses.hinge,
        generator_tx=optax.sgd(0.1),
        discriminator_tx=optax.sgd(0.1),
        latent=normal_latents(2),
        discriminator_penalty=of_discriminator,
        generator_penalty=of_generator,
        microbatches=3,
    )
    batch, key = data((2,)), jax.random.key(0)
    jax.block_until_ready(jax.jit(gan.step)(key, gan.init(key, batch), batch))
    jax.effects_barrier()
    # The discriminator's penalty is asked in the generator's turn as well, with another key and the same fakes.
    assert seen["generator"] == seen["discriminator"] and len(seen["generator"]) == 3
    assert {len(np.frombuffer(fake, np.float32)) for fake in seen["generator"]} == {2 * BATCH // 3}
    assert len(seen["drawn"]) == 6


def test_a_mesh_divides_every_microbatch_among_its_devices():
    """A cut of neighbours would lie on some of the devices, and examples would be sent about."""
    gan, batch, key = points(microbatches=2), data((2,)), jax.random.key(0)
    state = gan.init(key, batch)
    one = jax.jit(gan.step).lower(key, state, batch).compile().cost_analysis()["flops"]
    program = lift.mesh(gan.step, lift.data_mesh()).lower(key, state, batch).compile()
    each = program.cost_analysis()["flops"]
    assert each < one / 4, f"{each / one:.2f} of the one-device FLOPs on each of 8 devices"
    sent = set(re.findall(r" (all-[a-z]+|collective-[a-z]+|reduce-scatter)\(", program.as_text()))
    assert sent == {"all-reduce"}, "nothing but gradients and metrics"


@pytest.mark.parametrize("simultaneous", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_activations_take_the_memory_of_one_microbatch_for_a_second_forward_pass(simultaneous):
    """The step of experiments/mnist_dcgan.py, compiled for its batch of 256, whole and as four."""
    batch, key = {"x": jnp.zeros((256, 28, 28, 1))}, jax.random.key(0)
    networks = dcgan.Generator(), dcgan.Discriminator(dropout=0.3)

    def compiled(microbatches):
        gan = build(*networks, latent=normal_latents(100), simultaneous=simultaneous, microbatches=microbatches)
        state = jax.eval_shape(gan.init, key, batch)
        program = lift.jit(gan.step).lower(key, state, batch).compile()
        return program.memory_analysis().temp_size_in_bytes, program.cost_analysis()["flops"], gan, state

    (whole, flops, gan, state), (cut, flops_of_a_cut, _, _) = compiled(1), compiled(4)
    assert cut < 0.5 * whole, f"{cut / 2**20:.0f} MiB of {whole / 2**20:.0f}"
    z = jax.ShapeDtypeStruct((256, 100), jnp.float32)
    forward = jax.jit(lambda state, z: gan.game.generate(key, state, batch, z, state.generator.params)[0])
    once = forward.lower(state, z).compile().cost_analysis()["flops"]
    # The compiler counts the body of a loop once, and the optimisers, which are outside, are next to nothing.
    extra = 4 * flops_of_a_cut - flops
    assert extra < (0.5 if simultaneous else 1.5) * once, f"{extra / once:.2f} forward passes more"


@pytest.mark.parametrize("options", [{"microbatches": 0}, {"microbatches": 5}])
def test_microbatches_that_cannot_be_cut_are_refused(options):
    batch, key = data((2,)), jax.random.key(0)
    with pytest.raises(ValueError, match="microbatches"):
        gan = points(**options)
        gan.step(key, gan.init(key, batch), batch)
