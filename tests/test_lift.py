"""Every lift gives the plain step's numbers, with plain gradient descent: Adam would hide a wrong scale."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxgan import lift, losses, penalties
from jaxgan.gan import make_gan
from jaxgan.latents import normal_latents
from jaxgan.network import flax_network
from jaxgan.networks import dcgan, mlp

STEPS = 3
DEVICES = 8


def points(axis_name=None, **options):
    """Points in the plane, with a penalty of second derivatives."""
    return make_gan(
        flax_network(mlp.Generator((2,), widths=(32,))),
        flax_network(mlp.Discriminator(widths=(32,))),
        losses.relativistic,
        generator_tx=optax.sgd(0.1),
        discriminator_tx=optax.sgd(0.1),
        latent=normal_latents(4),
        discriminator_penalty=lambda key, step, critic, real, fake: penalties.gradient_squared_norm(critic, real),
        axis_name=axis_name,
        **options,
    )


def images(axis_name=None, **options):
    """Images, convolutions, and batch statistics that must be the whole batch's."""
    return make_gan(
        flax_network(dcgan.Generator(start=4, features=(8, 8), strides=(1, 2), kernel_size=3, axis_name=axis_name)),
        flax_network(dcgan.Discriminator(features=(8, 8), kernel_size=3)),
        losses.wasserstein,
        generator_tx=optax.sgd(0.01),
        discriminator_tx=optax.sgd(0.01),
        latent=normal_latents(4),
        axis_name=axis_name,
        **options,
    )


GAMES = {
    "points": (points, {}, (2,)),
    "points, simultaneous": (points, {"simultaneous": True}, (2,)),
    "points, two steps of each": (points, {"discriminator_steps": 2, "generator_steps": 2}, (2,)),
    "images": (images, {}, (8, 8, 1)),
    "images, two critic steps": (images, {"discriminator_steps": 2}, (8, 8, 1)),
}


def batches(shape):
    data = jax.random.uniform(jax.random.key(3), (STEPS, 32, *shape), minval=-1.0)
    return {"x": data}


def one_by_one(step, key, state, many):
    metrics = []
    for i in range(STEPS):
        state, values = step(key, state, jax.tree.map(lambda v, i=i: v[i], many))
        metrics.append(values)
    return state, jax.tree.map(lambda *v: jnp.stack(v), *metrics)


def all_at_once(steps, key, state, many):
    return steps(key, state, many)


def with_count(steps, key, state, many):
    return steps(key, state, many, jnp.int32(STEPS))


LIFTS = {
    "jit": (lambda make: lift.jit(make().step), one_by_one),
    "pmap": (lambda make: lift.pmap(make(axis_name=lift.AXIS).step), one_by_one),
    "mesh": (lambda make: lift.mesh(make().step, lift.data_mesh()), one_by_one),
    "scan": (lambda make: lift.jit(lift.scan(make().step)), all_at_once),
    "pmap of scan": (lambda make: lift.pmap(lift.scan(make(axis_name=lift.AXIS).step), batch_axis=1), all_at_once),
    "mesh of scan": (lambda make: lift.mesh(lift.scan(make().step), lift.data_mesh(), batch_axis=1), all_at_once),
    "chunk": (lambda make: lift.jit(lift.chunk(make().step)), with_count),
    "pmap of chunk": (lambda make: lift.pmap(lift.chunk(make(axis_name=lift.AXIS).step), batch_axis=1), with_count),
    "mesh of chunk": (lambda make: lift.mesh(lift.chunk(make().step), lift.data_mesh(), batch_axis=1), with_count),
    "fsdp of chunk": (lambda make: lift.fsdp(lift.chunk(make().step), lift.data_mesh(), batch_axis=1), with_count),
}


@pytest.fixture(autouse=True)
def spread_small_leaves_too(monkeypatch):
    """These networks have no others."""
    monkeypatch.setattr(lift, "LEAST", 16)


def place(name, state):
    """A state where a lift's docstring wants it."""
    if "fsdp" in name:
        return jax.device_put(state, lift.spread(state, lift.data_mesh()))
    alone = name in ("jit", "chunk")
    return state if alone else jax.device_put(state, NamedSharding(lift.data_mesh(), PartitionSpec()))


@pytest.fixture(scope="module")
def plain():
    """The plain step's result for each game: one device, one step at a time; the first game's is not even compiled."""
    results = {}
    for name, (make, options, shape) in GAMES.items():
        gan = make(**options)
        key, many = jax.random.key(0), batches(shape)
        start = jax.jit(gan.init)(key, jax.tree.map(lambda v: v[0], many))
        step = gan.step if name == "points" else jax.jit(gan.step)
        results[name] = start, one_by_one(step, key, start, many)
    return results


def assert_close(a, b):
    jax.tree.map(lambda u, v: np.testing.assert_allclose(u, v, rtol=0, atol=1e-5), a, b)


@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("name", LIFTS)
def test_a_lift_gives_the_plain_steps_numbers(plain, game, name):
    make, options, shape = GAMES[game]
    lifted, drive = LIFTS[name]
    start, expected = plain[game]
    state = jax.tree.map(jnp.copy, start)
    result = drive(lifted(lambda **axis: make(**options, **axis)), jax.random.key(0), state, batches(shape))
    assert_close(result, expected)


@pytest.mark.parametrize("game", ["points", pytest.param("images", marks=pytest.mark.slow)])
def test_a_population_is_its_members(game):
    make, options, shape = GAMES[game]
    gan, keys = make(**options), jax.random.split(jax.random.key(5), 3)
    batch = jax.tree.map(lambda v: v[0], batches(shape))
    states = jax.vmap(gan.init, in_axes=(0, None))(keys, batch)
    together = jax.jit(lift.population(gan.step))(keys, states, batch)
    step, init = jax.jit(gan.step), jax.jit(gan.init)
    for i, key in enumerate(keys):
        alone = step(key, init(key, batch), batch)
        assert_close(jax.tree.map(lambda v, i=i: v[i], together), alone)
    spread = jax.tree.leaves(jax.tree.map(lambda v: float(jnp.ptp(v, axis=0).max()), together[0].generator.params))
    assert max(spread) > 1e-3, "the members are all the same run"


def test_a_population_over_learning_rates_builds_its_optimisers_inside():
    batch = jax.tree.map(lambda v: v[0], batches((2,)))

    def train(rate):
        gan = make_gan(
            flax_network(mlp.Generator((2,), widths=(8,))),
            flax_network(mlp.Discriminator(widths=(8,))),
            losses.hinge,
            generator_tx=optax.sgd(rate),
            discriminator_tx=optax.sgd(rate),
            latent=normal_latents(4),
        )
        key = jax.random.key(0)
        return gan.step(key, gan.init(key, batch), batch)[0].discriminator.params

    rates = jnp.array([0.0, 0.1, 0.2])
    params = jax.jit(jax.vmap(train))(rates)
    moved = jax.tree.map(lambda v: v - v[:1], params)
    jax.tree.map(lambda v: np.testing.assert_allclose(2 * v[1], v[2], atol=1e-6), moved)
    assert any(bool((v[1] != 0).any()) for v in jax.tree.leaves(moved))


@pytest.mark.parametrize("name", ["jit", "pmap", "mesh", "chunk", "pmap of chunk", "mesh of chunk", "fsdp of chunk"])
def test_five_calls_trace_once(name):
    lifted, drive = LIFTS[name]
    traces = []

    def counted(**axis):
        gan = points(**axis)

        def step(key, state, batch):
            traces.append(1)
            return gan.step(key, state, batch)

        return gan._replace(step=step)

    step, many = lifted(counted), batches((2,))
    gan, key = points(), jax.random.key(0)
    first = jax.tree.map(lambda v: v[0], many)
    start = place(name, gan.init(key, first))
    call = {one_by_one: lambda state: step(key, state, first), with_count: lambda state: step(key, state, many, 1)}[
        drive
    ]
    state, _ = call(start)
    for _ in range(4):
        state, _ = call(state)
    assert len(traces) == 1


def test_each_device_of_a_pmap_draws_its_own_latents():
    seen = []

    def record(key, step, generator, latents, fake, batch):
        jax.debug.callback(lambda z: seen.append(np.asarray(z)), latents)
        return jnp.zeros(())

    gan, many = points(axis_name=lift.AXIS, generator_penalty=record), batches((2,))
    batch = jax.tree.map(lambda v: v[0], many)
    state, _ = lift.pmap(gan.step)(jax.random.key(0), points().init(jax.random.key(0), batch), batch)
    jax.block_until_ready(state)
    jax.effects_barrier()
    different = {z.tobytes() for z in seen}
    assert len(different) == DEVICES and {z.shape for z in seen} == {(32 // DEVICES, 4)}
    rows = np.concatenate([np.frombuffer(z, np.float32).reshape(-1, 4) for z in different])
    assert len(np.unique(rows, axis=0)) == 32


def test_a_mesh_divides_the_work_among_its_devices():
    """Latents that stayed whole would make every device run the generator on all of them."""
    gan, batch = points(), jax.tree.map(lambda v: v[0], batches((2,)))
    state, key = gan.init(jax.random.key(0), batch), jax.random.key(0)
    one = jax.jit(gan.step).lower(key, state, batch).compile().cost_analysis()["flops"]
    each = lift.mesh(gan.step, lift.data_mesh()).lower(key, state, batch).compile().cost_analysis()["flops"]
    assert each < one / 4, f"{each / one:.2f} of the one-device FLOPs on each of {DEVICES} devices"


@pytest.mark.parametrize("name", ["jit", "chunk", "mesh", "mesh of chunk", "fsdp of chunk"])
def test_the_state_that_goes_in_is_given_up(name):
    lifted, drive = LIFTS[name]
    gan, many = points(), batches((2,))
    # Only what already lies where it is wanted can be given up.
    state = place(name, gan.init(jax.random.key(0), jax.tree.map(lambda v: v[0], many)))
    result, _ = drive(lifted(points), jax.random.key(0), state, many)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state))
    assert np.isfinite(jax.tree.leaves(result.generator.params)[0]).all()


def critic_of_gradients():
    """Convolutions, batch normalisation and second derivatives."""
    return make_gan(
        flax_network(dcgan.Generator(start=4, features=(64, 32), strides=(1, 2), kernel_size=3)),
        flax_network(dcgan.Discriminator(features=(32, 64), kernel_size=3)),
        losses.non_saturating,
        generator_tx=optax.sgd(0.01, momentum=0.9),
        discriminator_tx=optax.sgd(0.01, momentum=0.9),
        latent=normal_latents(32),
        discriminator_penalty=lambda key, step, critic, real, fake: penalties.gradient_squared_norm(critic, real),
    )


def bytes_of(tree):
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def without_ones(shape):
    return tuple(length for length in shape if length != 1)


def test_fsdp_keeps_a_part_of_the_state_and_gathers_parameters_alone():
    """The collectives of the compiled step: weights come together, gradients are added up, examples stay apart."""
    gan, batch, key = critic_of_gradients(), {"x": batches((8, 8, 1))["x"][0]}, jax.random.key(0)
    devices = lift.data_mesh()
    shapes = jax.eval_shape(gan.init, key, batch)
    shardings = lift.spread(shapes, devices)
    state = jax.jit(gan.init, out_shardings=shardings)(key, batch)
    held = sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(state))
    assert held < 1.1 * bytes_of(shapes) / DEVICES
    program = lift.fsdp(gan.step, devices).lower(key, state, batch).compile()
    inputs = bytes_of(batch) / DEVICES
    assert program.memory_analysis().argument_size_in_bytes < 1.1 * bytes_of(shapes) / DEVICES + inputs + 100

    made = {}
    for shapes_made, kind in re.findall(r"= (.*?) (all-[a-z]+|collective-[a-z]+|reduce-scatter)\(", program.as_text()):
        found = [tuple(map(int, filter(None, v.split(",")))) for v in re.findall(r"\[([\d,]*)\]", shapes_made)]
        made.setdefault(kind, []).extend(found)
    assert made.keys() <= {"all-gather", "all-reduce", "reduce-scatter"}
    params = jax.tree.leaves((state.generator.params, state.discriminator.params))
    weights = {without_ones(leaf.shape) for leaf in params if leaf.size >= lift.LEAST}
    assert {without_ones(shape) for shape in made["all-gather"]} == weights, "every weight, and nothing else"
    summed = sum(np.prod(shape) for shape in made["all-reduce"] + made.get("reduce-scatter", []))
    assert summed >= sum(leaf.size for leaf in params), "every gradient"
    one = jax.jit(gan.step).lower(key, shapes, batch).compile()
    assert program.cost_analysis()["flops"] < one.cost_analysis()["flops"] / 4
    expected = one(key, jax.jit(gan.init)(key, batch), batch)
    assert_close(program(key, state, batch), expected)


def test_a_leaf_is_spread_along_its_longest_axis_that_divides(monkeypatch):
    monkeypatch.setattr(lift, "LEAST", 4096)
    cases = {
        (64, 64): (lift.AXIS,),
        (8, 512): (None, lift.AXIS),
        (5, 5, 16, 32): (None, None, None, lift.AXIS),
        (16, 1023): (lift.AXIS,),  # 8 devices do not divide the longer axis
        (8, 511): (),  # small
        (4100, 3): (),  # neither axis divides
        (): (),
    }
    tree = {shape: jax.ShapeDtypeStruct(shape, jnp.float32) for shape in cases}
    for shape, sharding in lift.spread(tree, lift.data_mesh()).items():
        assert sharding.spec == PartitionSpec(*cases[shape]), shape


def test_a_chunk_of_fewer_steps_is_those_steps_bit_for_bit():
    gan, many, key = points(), batches((2,)), jax.random.key(0)
    start = gan.init(key, jax.tree.map(lambda v: v[0], many))
    chunk = jax.jit(lift.chunk(gan.step))
    whole, metrics = chunk(key, start, many, STEPS)
    part, first = chunk(key, start, many, 2)
    assert int(part.step) == 2
    assert all(not row[2:].any() for row in jax.tree.leaves(first)), "metrics of steps that were not done"
    rest, last = chunk(key, part, jax.tree.map(lambda v: jnp.roll(v, -2, axis=0), many), 1)
    jax.tree.map(np.testing.assert_array_equal, rest, whole)
    for name, row in metrics.items():
        np.testing.assert_array_equal(row, jnp.concatenate([first[name][:2], last[name][:1]]))
    unchanged, _ = chunk(key, start, many, 0)
    jax.tree.map(np.testing.assert_array_equal, unchanged, start)
