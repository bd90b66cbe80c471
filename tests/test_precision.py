"""bfloat16 networks: what is in it and what must not be, gradients beside float32's, and what is kept for them."""

import functools
import pathlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import export

from jaxgan import experiment as experiments
from jaxgan import lift, losses, penalties
from jaxgan.gan import make_gan
from jaxgan.latents import normal_latents
from jaxgan.layers import Conv
from jaxgan.network import Network, flax_network, in_precision, rematerialised
from jaxgan.networks import dcgan, mlp

EXPERIMENTS = pathlib.Path(__file__).parent.parent / "experiments"
IMAGES = ["digits", "mnist_dcgan", "mnist_mlp", "mnist_wgan_gp"]
EPS = float(jnp.finfo(jnp.bfloat16).eps)  # 2^-7: numbers round by half of it


def penalty(key, step, critic, real, fake):
    return penalties.gradient_squared_norm(critic, real) + penalties.gradient_squared_norm(critic, fake)


def small_gan(wrap=lambda network: network, *, tx=None, dropout=0.0, norm=False, axis_name=None, **options):
    """A DCGAN of 8x8 images with R1 and R2; `wrap` is put around both networks."""
    generator = dcgan.Generator(start=4, features=(8, 8), strides=(1, 2), kernel_size=3, norm=norm, axis_name=axis_name)
    discriminator = dcgan.Discriminator(features=(8, 8), strides=(1, 2), kernel_size=3, dropout=dropout, **options)
    return make_gan(
        wrap(flax_network(generator)),
        wrap(flax_network(discriminator)),
        losses.relativistic,
        generator_tx=tx or optax.sgd(0.1),
        discriminator_tx=tx or optax.sgd(0.1),
        latent=normal_latents(4),
        discriminator_penalty=penalty,
        axis_name=axis_name,
    )


def images(count=16):
    return {"x": jax.random.uniform(jax.random.key(5), (count, 8, 8, 1), minval=-1.0)}


in_bfloat16 = functools.partial(in_precision, precision="bfloat16")


def equations(jaxpr):
    """All equations of a program, those of its inner programs too."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda v: hasattr(v, "eqns")):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield from equations(inner)


def dtypes_of_products(gan, batch):
    """The operands' dtypes of all matrix products and convolutions of a step."""
    state = jax.eval_shape(gan.init, jax.random.key(0), batch)
    program = jax.make_jaxpr(gan.step)(jax.random.key(0), state, batch).jaxpr
    products = [e for e in equations(program) if e.primitive.name in ("dot_general", "conv_general_dilated")]
    assert len(products) > 5
    return {str(v.aval.dtype) for e in products for v in e.invars}


def option_gan(name, **options):
    game = experiments.load(str(EXPERIMENTS / f"{name}.py"))(batch_size=4, **options)
    side = 8 if name == "digits" else 28
    count = 20 if name == "mnist_wgan_gp" else 4
    return game.gan, {"x": jax.ShapeDtypeStruct((count, side, side, 1), jnp.float32)}


@pytest.mark.parametrize("name", IMAGES)
def test_the_option_says_what_the_networks_compute_in(name):
    for precision in ("float32", "bfloat16"):
        assert dtypes_of_products(*option_gan(name, precision=precision)) == {precision}
    gan, batch = option_gan(name, precision="bfloat16")
    arguments = jax.random.key(0), jax.eval_shape(gan.init, jax.random.key(0), batch), batch
    program = export.export(jax.jit(gan.step), platforms=["cpu", "cuda", "tpu"])(*arguments)
    assert program.platforms == ("cpu", "cuda", "tpu")
    for function in (gan.step, gan.sample):
        samples = jax.eval_shape(function, *arguments)
        assert {leaf.dtype.name for leaf in jax.tree.leaves(samples)} <= {"float32", "int32"}
    sampled = [e for e in equations(jax.make_jaxpr(gan.sample)(*arguments).jaxpr) if e.primitive.name == "dot_general"]
    assert sampled and all(v.aval.dtype == jnp.bfloat16 for e in sampled for v in e.invars)


def test_spectral_normalisation_leaves_the_convolutions_in_bfloat16():
    gan, batch = small_gan(in_bfloat16, spectral_norm=True), images()
    state = jax.eval_shape(gan.init, jax.random.key(0), batch)
    program = jax.make_jaxpr(gan.step)(jax.random.key(0), state, batch).jaxpr
    convolutions = [e for e in equations(program) if e.primitive.name == "conv_general_dilated"]
    assert convolutions and all(v.aval.dtype == jnp.bfloat16 for e in convolutions for v in e.invars)


def test_float32_is_the_network_itself_and_nothing_else_is_offered():
    network = flax_network(nn.Dense(2))
    assert in_precision(network, "float32") is network
    with pytest.raises(ValueError, match="'float16'.*'float32' or 'bfloat16'"):
        in_precision(network, "float16")


def test_what_a_step_keeps_is_float32(key):
    gan, batch = small_gan(in_bfloat16, tx=optax.adam(1e-3), norm=True, spectral_norm=True), images()
    state = jax.eval_shape(gan.init, key, batch)
    moved, metrics = jax.eval_shape(gan.step, key, state, batch)
    assert jax.tree.map(lambda v: (v.shape, v.dtype), moved) == jax.tree.map(lambda v: (v.shape, v.dtype), state)
    assert {leaf.dtype.name for leaf in jax.tree.leaves((moved, metrics))} == {"float32", "int32"}


def test_inputs_and_conditions_are_rounded_labels_are_not(key):
    seen = {}

    def apply(variables, x, cond, *, key, train, step=None):
        seen.update(jax.tree.map(lambda v: v.dtype.name, {"x": x, "cond": cond, "variables": variables}))
        return {"logits": x.sum(), "labels": cond["labels"]}, variables

    network = in_bfloat16(Network(lambda key, x, cond: {}, apply))
    variables = {"params": {"w": jnp.full(2, 1.001)}, "batch_stats": {"mean": jnp.full(2, 1.001)}}
    cond = {"labels": jnp.arange(2), "source": jnp.ones(2)}
    output, moved = network.apply(variables, jnp.ones((2, 3)), cond, key=key, train=True)
    assert seen == {
        "x": "bfloat16",
        "cond": {"labels": "int32", "source": "bfloat16"},
        "variables": {"params": {"w": "bfloat16"}, "batch_stats": {"mean": "float32"}},
    }
    assert {name: v.dtype.name for name, v in output.items()} == {"logits": "float32", "labels": "int32"}
    jax.tree.map(np.testing.assert_array_equal, moved, variables)


def test_an_update_too_small_for_bfloat16_is_not_lost(key):
    """1e-4 is below half a unit in the last place of a bfloat16 weight of 1 (2^-9), a hundred of them are not."""
    network = in_bfloat16(Network(None, lambda v, x, cond, *, key, train, step=None: (v["params"]["w"] * x, v)))

    def loss(w):
        return network.apply({"params": {"w": w}}, jnp.ones(()), None, key=key, train=True)[0]

    w = jnp.ones(())
    for _ in range(100):
        w = w - 1e-4 * jax.grad(loss)(w)
    np.testing.assert_allclose(w, 0.99, rtol=1e-5)
    assert loss(w) == np.float32(jnp.asarray(0.99, jnp.bfloat16))


def gradients(gan, state, batch):
    point = state.discriminator.params, state.generator.params
    return jax.jit(gan.game.gradients)(jax.random.key(3), state, batch, point)[0]


def test_gradients_point_where_those_of_float32_do(key):
    """First order for the generator, second order (R1, R2) for the discriminator."""
    batch = images(64)
    plain = small_gan()
    state = jax.jit(plain.init)(key, batch)
    for ours, theirs in zip(
        gradients(small_gan(in_bfloat16), state, batch), gradients(plain, state, batch), strict=True
    ):
        ours, theirs = (np.concatenate([v.ravel() for v in jax.tree.leaves(tree)]) for tree in (ours, theirs))
        assert ours.dtype == np.float32
        assert ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs) > 0.999
        np.testing.assert_allclose(np.linalg.norm(ours), np.linalg.norm(theirs), rtol=4 * EPS)
        assert (ours != theirs).any()  # the control: it was computed in bfloat16


COUNT = 32 * 64 * 64


@pytest.mark.parametrize(
    "module",
    [Conv(1, 1), nn.Conv(1, (1, 1), use_bias=False), nn.Dense(1, use_bias=False)],
    ids=["ours", "conv", "dense"],
)
def test_sums_over_batch_and_pixels_are_not_in_bfloat16(module, key):
    """The gradient of a sum of outputs whose input is 1: how many there are. A sum in bfloat16 stops at 256."""
    network, x = in_bfloat16(flax_network(module)), jnp.ones((32, 64, 64, 1))
    params = network.init(key, x, None)["params"]
    slopes = jax.jit(jax.grad(lambda p: network.apply({"params": p}, x, None, key=key, train=True)[0].sum()))(params)
    for name, slope in slopes.items():
        np.testing.assert_allclose(slope, np.full(slope.shape, COUNT), rtol=EPS, err_msg=name)


@pytest.mark.parametrize("name", IMAGES)
def test_no_sum_of_many_numbers_is_in_bfloat16(name):
    """All sums of a step, those of the backward passes too, but over a few pieces of a maxout."""
    gan, batch = option_gan(name, precision="bfloat16")
    state = jax.eval_shape(gan.init, jax.random.key(0), batch)
    program = jax.make_jaxpr(gan.step)(jax.random.key(0), state, batch).jaxpr
    sums = [e for e in equations(program) if e.primitive.name == "reduce_sum"]
    narrow = [e for e in sums if e.invars[0].aval.dtype == jnp.bfloat16]
    assert sums and all(e.invars[0].aval.size <= 5 * e.outvars[0].aval.size for e in narrow), narrow


def test_batch_statistics_of_a_large_mean():
    """Mean 100, deviation 4, which bfloat16 holds to 0.5: the moments of what it holds, and no worse."""
    module = nn.BatchNorm(use_running_average=False, momentum=0.0)
    x = 100 + 4 * jax.random.normal(jax.random.key(0), (4096, 3))
    network = in_bfloat16(flax_network(module))
    variables = network.init(jax.random.key(0), x, None)
    output, moved = network.apply(variables, x, None, key=jax.random.key(0), train=True)
    held = np.asarray(x.astype(jnp.bfloat16)).astype(np.float64)
    stats = moved["batch_stats"]
    np.testing.assert_allclose(stats["mean"], held.mean(0), rtol=1e-6)
    np.testing.assert_allclose(stats["var"], held.var(0), rtol=1e-3)  # E[x^2] - E[x]^2 of Flax in float32
    expected = (held - held.mean(0)) / held.std(0)
    np.testing.assert_allclose(output, expected, rtol=EPS, atol=1e-3)


@pytest.mark.parametrize("loss", losses.LOSSES.values(), ids=losses.LOSSES)
def test_losses_are_float32_and_finite_at_logits_of_1e4(loss, key):
    """Through the network's door and back: the weight's gradient, too."""
    network = in_bfloat16(Network(None, lambda v, x, cond, *, key, train, step=None: (v["params"]["w"] * x, v)))

    def mean(w):
        real, fake = (
            network.apply({"params": {"w": w}}, x, None, key=key, train=True)[0]
            for x in (jnp.array([1e4, -1e4]), jnp.array([-1e4, 1e4]))
        )
        return jnp.mean(loss.discriminator(real, fake)) + jnp.mean(loss.generator(fake, real))

    value, slope = jax.value_and_grad(mean)(jnp.ones(()))
    assert value.dtype == slope.dtype == jnp.float32 and np.isfinite(value) and np.isfinite(slope)


@pytest.mark.slow
def test_both_precisions_learn_the_same_ring():
    """A generator of one Gaussian: both precisions bring its mean to the data's."""
    x = jnp.array([[2.0, -1.0]]) + 0.1 * jax.random.normal(jax.random.key(0), (256, 2))

    def mean_of_samples(precision):
        gan = make_gan(
            in_precision(flax_network(mlp.Generator((2,), widths=(16,))), precision),
            in_precision(flax_network(mlp.Discriminator(widths=(16,))), precision),
            losses.relativistic,
            generator_tx=optax.adam(3e-3, b1=0.0),
            discriminator_tx=optax.adam(3e-3, b1=0.0),
            latent=normal_latents(2),
            discriminator_penalty=penalty,
            ema_decay=0.99,
        )
        batches = {"x": jnp.broadcast_to(x, (400, *x.shape))}
        state, _ = jax.jit(lift.scan(gan.step))(jax.random.key(0), gan.init(jax.random.key(1), {"x": x}), batches)
        # Weights were never rounded: a bfloat16 number ends in 16 zero bits.
        bits = np.concatenate(
            [np.asarray(v).ravel().view(np.uint32) for v in jax.tree.leaves((state.ema, state.generator.params))]
        )
        assert (bits % 2**16 != 0).mean() > 0.9
        return gan.sample(jax.random.key(2), state, {"x": x}).mean(0)

    high, low = mean_of_samples("float32"), mean_of_samples("bfloat16")
    np.testing.assert_allclose(high, [2.0, -1.0], atol=0.2)
    np.testing.assert_allclose(low, [2.0, -1.0], atol=0.2)
    np.testing.assert_allclose(low, high, atol=0.1)


# Rematerialisation.


def bytes_held(gan, batch):
    """What the backward passes of both players are given, parameters and inputs among them."""

    def pulls(state):
        generate, judge = gan.game.deal(jax.random.key(0), state, batch)
        fake, pull_fake, _ = jax.vjp(generate, state.generator.params, has_aux=True)
        _, pull, _ = jax.vjp(judge, state.discriminator.params, state.generator.params, fake, has_aux=True)
        return pull_fake, pull

    kept = jax.eval_shape(pulls, jax.eval_shape(gan.init, jax.random.key(0), batch))
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(kept))


def test_activations_are_not_kept():
    kept, again = (bytes_held(small_gan(wrap), images(256)) for wrap in (lambda network: network, rematerialised))
    assert again < kept / 8


def compiled(gan, batch, lifted):
    state = jax.eval_shape(gan.init, jax.random.key(0), batch)
    batch = jax.tree.map(lambda v: jax.ShapeDtypeStruct((3, *v.shape), v.dtype), batch) if lifted else batch
    step = lift.scan(gan.step) if lifted else gan.step
    # What other backends keep apart, XLA's CPU backend merges, but for this option.
    options = {"xla_disable_hlo_passes": "cse_barrier_expander"}
    return jax.jit(step).lower(jax.random.key(0), state, batch).compile(compiler_options=options)


@pytest.mark.parametrize("lifted", [False, True], ids=["step", "scan"])
def test_a_step_takes_less_memory_for_one_more_forward_pass(lifted):
    batch = {"x": jax.ShapeDtypeStruct((256, 8, 8, 1), jnp.float32)}
    kept, again = (compiled(small_gan(wrap), batch, lifted) for wrap in (lambda network: network, rematerialised))
    assert again.memory_analysis().temp_size_in_bytes < 0.7 * kept.memory_analysis().temp_size_in_bytes
    assert 1.1 < again.cost_analysis()["flops"] / kept.cost_analysis()["flops"] < 1.5


@functools.cache
def after_a_step(run, wrapped):
    """The state after a step in a scan, with dropout, or on several devices, which draw other masks, without."""
    alone = run == "scan"
    wrap = rematerialised if wrapped else lambda network: network
    axis_name = lift.AXIS if run == "pmap" else None
    gan = small_gan(wrap, dropout=0.3 * alone, spectral_norm=alone, norm=True, axis_name=axis_name)
    batch, key = images(16), jax.random.key(0)
    state = jax.jit(gan.init)(key, batch)
    if run == "scan":
        return jax.jit(lift.scan(gan.step))(key, state, jax.tree.map(lambda v: v[None], batch))[0]
    lifted = lift.pmap(gan.step) if run == "pmap" else lift.mesh(gan.step, lift.data_mesh())
    return jax.device_get(lifted(key, state, batch)[0])


@pytest.mark.slow
@pytest.mark.parametrize("run, plain", [("scan", "scan"), ("pmap", "mesh"), ("mesh", "mesh")])
def test_rematerialised_steps_are_the_plain_ones(run, plain):
    """Second-order penalties, dropout's masks, batch and spectral statistics; SGD, whose steps show a wrong scale."""
    pair = after_a_step(run, True), after_a_step(plain, False)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6), *pair)
