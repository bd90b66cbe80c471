"""Progressive growing: the schedule, both networks against NumPy at every stage, Table 2, and what a growth leaves."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan import lift, losses, penalties
from jaxgan.gan import make_gan
from jaxgan.latents import normal_latents
from jaxgan.network import flax_network
from jaxgan.networks import progressive
from jaxgan.networks.progressive import Discriminator, Generator, images_at, stage_at

B, LATENTS, START, FEATURES, N = 4, 5, 3, (8, 7, 6), 4
SIDE = START * 4
GENERATOR = Generator(channels=2, start=START, features=FEATURES, stage_steps=N)
DISCRIMINATOR = Discriminator(features=FEATURES, stage_steps=N, group_size=2)
# Of three stages, 4 steps each: stage 0; stage 1 begins to fade in, fades in, has faded in; the same of stage 2; None.
STEPS = [0, 4, 5, 8, 12, 15, 16, 99, None]
every_step = pytest.mark.parametrize("step", STEPS)


def authors_lod(step, stages, stage_steps):
    """Doublings between the image shown and the full one, as `TrainingSchedule` of the authors counts them."""
    period, rest = divmod(step, 2 * stage_steps)
    return max(stages - 1 - period - max(rest - stage_steps, 0) / stage_steps, 0.0)


def schedule(step):
    """The later of the two stages that are seen at a step, and its weight."""
    lod = 0.0 if step is None else authors_lod(step, len(FEATURES), N)
    return len(FEATURES) - 1 - math.floor(lod), 1.0 - (lod - math.floor(lod))


def numbers(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def random_variables(module, *shape):
    """Parameters of size one, biases too."""
    shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((B, *shape)))
    leaves, tree = jax.tree.flatten(shapes)
    return jax.tree.unflatten(tree, [numbers(i, *leaf.shape) for i, leaf in enumerate(leaves)])


G_VARIABLES = random_variables(GENERATOR, LATENTS)
D_VARIABLES = random_variables(DISCRIMINATOR, SIDE, SIDE, 2)
make = jax.jit(lambda variables, z, step: GENERATOR.apply(variables, z, step=step))
judge = jax.jit(lambda variables, x, step: DISCRIMINATOR.apply(variables, x, step=step))


@pytest.mark.parametrize("stages, stage_steps", [(3, 4), (1, 2), (2, 1), (4, 3)])
def test_the_schedule_is_the_authors(stages, stage_steps):
    for step in range(2 * stages * stage_steps + 3):
        stage, alpha = stage_at(jnp.int32(step), stages, stage_steps)
        assert stage.dtype == jnp.int32 and alpha.dtype == jnp.float32
        assert 0 <= stage < stages and 0 <= alpha <= 1
        lod = stages - 1 - int(stage) + 1.0 - float(alpha)
        np.testing.assert_allclose(lod, authors_lod(step, stages, stage_steps), atol=1e-6)
    assert stage_at(None, stages, stage_steps) == (stages - 1, 1.0)


def test_the_schedule_by_hand():
    found = [tuple(map(float, stage_at(jnp.int32(step), 3, 2))) for step in range(11)]
    first, second = [(1, 0), (1, 0.5), (1, 1), (1, 1)], [(2, 0), (2, 0.5), (2, 1), (2, 1)]
    assert found == [(0, 1), (0, 1), *first, *second, (2, 1)]


def doubled(x, times=1):
    return x.repeat(2**times, axis=1).repeat(2**times, axis=2)


def halved(x, times=1):
    for _ in range(times):
        x = sum(x[:, a::2, b::2] for a in (0, 1) for b in (0, 1)) / 4
    return x


def leaky(x):
    return np.where(x > 0, x, 0.2 * x)


def normalised(x):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-8)


def layer(params, x, gain=2.0**0.5):
    """A dense layer, or a `SAME` convolution tap by tap, with the scale of its fan-in."""
    kernel = params["kernel"]
    kernel = gain * kernel.astype(np.float64) / np.sqrt(math.prod(kernel.shape[:-1]))
    if kernel.ndim == 2:
        return x @ kernel + params.get("bias", 0.0)
    side, (height, width) = kernel.shape[0], x.shape[1:3]
    padded = np.pad(x, [(0, 0), (side // 2,) * 2, (side // 2,) * 2, (0, 0)])
    taps = (padded[:, a : a + height, b : b + width] @ kernel[a, b] for a in range(side) for b in range(side))
    return sum(taps) + params["bias"]


def expected_images(params, z, step):
    stage, alpha = schedule(step)
    x = layer(params["dense"], normalised(z.astype(np.float64)), 2.0**0.5 / START).reshape(B, START, START, -1)
    x = normalised(leaky(x + params["bias"]))
    x = normalised(leaky(layer(params["refine_0"], x)))
    image = layer(params["to_image_0"], x, 1.0)
    for s in range(1, stage + 1):
        x = normalised(leaky(layer(params[f"enlarge_{s - 1}"], doubled(x))))
        x = normalised(leaky(layer(params[f"refine_{s}"], x)))
        old, image = doubled(image), layer(params[f"to_image_{s}"], x, 1.0)
    if stage > 0:
        image = alpha * image + (1 - alpha) * old
    return doubled(image, len(FEATURES) - 1 - stage)


def expected_logits(params, x, step):
    stage, alpha = schedule(step)
    x = halved(x.astype(np.float64), len(FEATURES) - 1 - stage)
    y = leaky(layer(params[f"from_image_{stage}"], x))
    for s in range(stage, 0, -1):
        y = halved(layer(params[f"halve_{s - 1}"], leaky(layer(params[f"refine_{s}"], y))))
        y = leaky(y)
        if s == stage:
            y = alpha * y + (1 - alpha) * leaky(layer(params[f"from_image_{s - 1}"], halved(x)))
    groups = y.reshape(B // 2, 2, -1)
    spread = np.sqrt(groups.var(1) + 1e-8).mean(-1).repeat(2).reshape(B, 1, 1, 1)
    y = np.concatenate([y, np.broadcast_to(spread, (*y.shape[:3], 1))], -1)
    y = leaky(layer(params["refine_0"], y)).reshape(B, -1)
    return layer(params["logit"], leaky(layer(params["hidden"], y)), 1.0)[:, 0]


def as_step(step):
    return None if step is None else jnp.int32(step)


@every_step
def test_images_against_numpy(step):
    z = 3.0 * numbers(0, B, LATENTS)
    found = make(G_VARIABLES, z, as_step(step))
    assert found.shape == (B, SIDE, SIDE, 2)
    np.testing.assert_allclose(found, expected_images(G_VARIABLES["params"], z, step), rtol=1e-4, atol=1e-4)


@every_step
def test_logits_against_numpy(step):
    x = numbers(0, B, SIDE, SIDE, 2)
    found = judge(D_VARIABLES, x, as_step(step))
    assert found.shape == (B,)
    np.testing.assert_allclose(found, expected_logits(D_VARIABLES["params"], x, step), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("step", [N, 3 * N])
def test_a_growth_changes_nothing_at_first(step):
    """The step before it and its first one, whose weight is 0: the same function, so the old image enlarged."""
    z = numbers(0, B, LATENTS)
    before, after = (np.asarray(make(G_VARIABLES, z, jnp.int32(s))) for s in (step - 1, step))
    np.testing.assert_allclose(after, before, rtol=1e-6, atol=1e-6)
    block = SIDE // START // (1 if step == N else 2)
    np.testing.assert_array_equal(before, before[:, ::block, ::block].repeat(block, 1).repeat(block, 2))
    assert np.abs(make(G_VARIABLES, z, jnp.int32(step + 1)) - before).max() > 1e-2
    x = numbers(1, B, SIDE, SIDE, 2)
    logits = [np.asarray(judge(D_VARIABLES, x, jnp.int32(s))) for s in (step - 1, step, step + 1)]
    np.testing.assert_allclose(logits[1], logits[0], rtol=1e-5, atol=1e-5)
    assert np.abs(logits[2] - logits[0]).max() > 1e-3


@every_step
def test_real_images_fade_as_samples_do(step):
    """Against the authors' `process_reals`: halved and enlarged again, mixed in, then all enlarged."""
    x = numbers(0, B, SIDE, SIDE, 2)
    stage, alpha = schedule(step)
    times = len(FEATURES) - 1 - stage
    small = halved(x, times)
    if stage > 0:
        small = alpha * small + (1 - alpha) * doubled(halved(small))
    found = jax.jit(images_at, static_argnums=(2, 3))(as_step(step), x, len(FEATURES), N)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, doubled(small, times), rtol=1e-5, atol=1e-6)


# Layers beside those that always act. Of stage 0; of 1 fading in, its first step apart; of 1; of 2 fading in; of 2.
ACTING = {
    0: ["to_image_0", "from_image_0"],
    5: ["enlarge_0", "halve_0", "refine_1", "to_image_0", "to_image_1", "from_image_0", "from_image_1"],
    8: ["enlarge_0", "halve_0", "refine_1", "to_image_1", "from_image_1"],
    13: ["enlarge_0", "enlarge_1", "halve_0", "halve_1", "refine_1", "refine_2"]
    + ["to_image_1", "to_image_2", "from_image_1", "from_image_2"],
    16: ["enlarge_0", "enlarge_1", "halve_0", "halve_1", "refine_1", "refine_2", "to_image_2", "from_image_2"],
}
ALWAYS = {"dense", "bias", "hidden", "refine_0", "logit"}


@jax.jit
def gradients(g_variables, d_variables, z, x, step):
    """Of the generator's loss to its parameters, and of the critic's with its gradient penalty to those."""

    def critic_loss(variables):
        def critic(x):
            return DISCRIMINATOR.apply(variables, x, step=step)

        return jnp.mean(critic(x) + penalties.gradient_penalty(critic, x))

    def generator_loss(variables):
        return jnp.mean(DISCRIMINATOR.apply(d_variables, GENERATOR.apply(variables, z, step=step), step=step))

    return jax.grad(generator_loss)(g_variables), jax.grad(critic_loss)(d_variables)


@pytest.mark.parametrize("step", ACTING)
def test_layers_that_do_not_act_have_gradients_of_zero(step):
    z, x = numbers(0, B, LATENTS), numbers(1, B, SIDE, SIDE, 2)
    for tree in gradients(G_VARIABLES, D_VARIABLES, z, x, jnp.int32(step)):
        for name, values in tree["params"].items():
            leaves = [np.asarray(v) for v in jax.tree.leaves(values)]
            assert all(np.isfinite(v).all() for v in leaves)
            moved = any((v != 0).any() for v in leaves)
            assert moved == (name in ALWAYS or name in ACTING[step]), name


@pytest.mark.parametrize("members", [None, 2])
def test_only_the_layers_of_the_stage_are_computed(members, monkeypatch):
    """Seen where it runs; in a population at one step, too."""
    sides, activated = [], progressive._activated

    def seen(x):
        jax.debug.callback(lambda: sides.append(x.shape[1] if x.ndim == 4 else 0))
        return activated(x)

    monkeypatch.setattr(progressive, "_activated", seen)

    def play(variables, z, step):
        x = GENERATOR.apply(variables, z, step=step)
        return x, DISCRIMINATOR.apply(D_VARIABLES, x, step=step)

    variables = G_VARIABLES
    if members:
        play = jax.vmap(play, (0, None, None))
        variables = jax.tree.map(lambda v: jnp.stack([v] * members), G_VARIABLES)
    run = jax.jit(play)
    for step, expected in [(0, {0, 3}), (5, {0, 3, 6}), (16, {0, 3, 6, 12})]:
        sides.clear()
        jax.block_until_ready(run(variables, numbers(0, B, LATENTS), jnp.int32(step)))
        jax.effects_barrier()
        assert set(sides) == expected


def test_a_population_at_several_steps_is_its_members():
    steps, z = jnp.array([0, 5, 8, 13, 16], jnp.int32), numbers(0, B, LATENTS)
    found = jax.jit(jax.vmap(lambda step: GENERATOR.apply(G_VARIABLES, z, step=step)))(steps)
    for x, step in zip(found, steps, strict=True):
        np.testing.assert_allclose(x, make(G_VARIABLES, z, step), rtol=1e-4, atol=1e-5)


@functools.cache
def small_gan():
    """Two stages of two steps, and the chunk that trains it."""
    gan = make_gan(
        flax_network(Generator(channels=1, start=2, features=(4, 3), stage_steps=2)),
        flax_network(Discriminator(features=(4, 3), stage_steps=2)),
        losses.non_saturating,
        generator_tx=optax.adam(0.01, b1=0.5),
        discriminator_tx=optax.adam(0.01, b1=0.5),
        latent=normal_latents(3),
    )
    x = jnp.asarray(numbers(0, 6, B, 4, 4, 1))
    return jax.jit(gan.init)(jax.random.key(0), {"x": x[0]}), jax.jit(lift.chunk(gan.step)), x


def trained(*counts):
    """The state after chunks of so many steps, kept as NumPy arrays between them."""
    state, chunk, x = small_gan()
    start = 0
    for count in counts:
        batches = {"x": jnp.concatenate([x[start:], x[:start]])}
        state = jax.tree.map(np.asarray, chunk(jax.random.key(1), state, batches, count)[0])
        start += count
    return state


@pytest.mark.parametrize("cut", [1, 2, 3, 4])
def test_a_run_resumes_across_a_growth_bit_for_bit(cut):
    jax.tree.map(np.testing.assert_array_equal, trained(cut, 6 - cut), trained(6))


def test_adam_leaves_layers_as_they_are_until_they_act():
    """Step 2 is the first of the fading in, of weight 0, so the new layers move from step 3 on."""
    start, third, fourth = small_gan()[0], trained(3), trained(4)
    for player, waiting in [("generator", ["enlarge_0", "refine_1"]), ("discriminator", ["refine_1", "halve_0"])]:
        first, before, after = (getattr(state, player).params for state in (start, third, fourth))
        for name in first:
            kernels = [np.asarray(p[name] if name == "bias" else p[name]["kernel"]) for p in (first, before, after)]
            new = name in waiting or name in ("to_image_1", "from_image_1")
            assert (kernels[0] == kernels[1]).all() == new, name
            assert (kernels[1] != kernels[2]).any(), name


def test_half_precision():
    z, x = numbers(0, B, LATENTS), numbers(1, B, SIDE, SIDE, 2)
    for run, variables, given in ((make, G_VARIABLES, z), (judge, D_VARIABLES, x)):
        narrow = jax.tree.map(lambda v: v.astype(jnp.bfloat16), variables)
        found = run(narrow, given.astype(jnp.bfloat16), jnp.int32(13))
        assert found.dtype == jnp.bfloat16
        wide = np.asarray(run(variables, given, jnp.int32(13)))
        np.testing.assert_allclose(found.astype(jnp.float32), wide, rtol=0, atol=0.05 * np.abs(wide).max())


def test_each_image_is_judged_by_itself_in_groups_of_one():
    alone = DISCRIMINATOR.clone(group_size=1)
    x = numbers(0, B, SIDE, SIDE, 2)
    others = np.concatenate([x[:1], 5.0 * x[1:]])
    one, other = (jax.jit(alone.apply)(D_VARIABLES, given) for given in (x, others))
    np.testing.assert_allclose(one[0], other[0], rtol=1e-4, atol=1e-5)
    assert np.abs(one - other)[1:].max() > 1e-2
    assert abs(judge(D_VARIABLES, others, None)[0] - judge(D_VARIABLES, x, None)[0]) > 1e-3


def test_images_of_another_side_raise():
    with pytest.raises(ValueError, match="multiple of 4, got 10 x 12"):
        jax.eval_shape(DISCRIMINATOR.init, jax.random.key(0), jnp.zeros((B, 10, 12, 2)))


# Parameters of each layer at 1024 x 1024 pixels, kernels and biases, from the layers of `G_paper` and `D_paper`
# of https://github.com/tkarras/progressive_growing_of_gans; D's are those that its successor stylegan prints, layer by
# layer, with their sum. Both have the 1x1 convolutions of all stages, which Table 2 leaves out of its 23.1 million.
PAIRS = {8: 2 * 2_359_808, 16: 2 * 2_359_808, 32: 2 * 2_359_808, 64: 1_179_904 + 590_080, 128: 295_040 + 147_584}
PAIRS |= {256: 73_792 + 36_928, 512: 18_464 + 9_248, 1024: 4_624 + 2_320}
DOWN = {1024: 2_320 + 4_640, 512: 9_248 + 18_496, 256: 36_928 + 73_856, 128: 147_584 + 295_168}
DOWN |= {64: 590_080 + 1_180_160, 32: 2 * 2_359_808, 16: 2 * 2_359_808, 8: 2 * 2_359_808}
TO_RGB = [1_539, 1_539, 1_539, 1_539, 771, 387, 195, 99, 51]
FROM_RGB = [2_048, 2_048, 2_048, 2_048, 1_024, 512, 256, 128, 64]


def count(tree):
    return sum(math.prod(v.shape) for v in jax.tree.leaves(tree))


def test_parameters_and_shapes_of_table_2():
    z = jax.ShapeDtypeStruct((4, 512), jnp.float32)
    generator = jax.eval_shape(Generator().init, jax.random.key(0), z)
    assert set(generator) == {"params"}
    assert 512 * 16 * 512 + 512 == 4_194_816  # the first layer, a bias to each channel
    assert count(generator) == 4_194_816 + 2_359_808 + sum(PAIRS.values()) + sum(TO_RGB) == 23_079_115
    x = jax.eval_shape(Generator().apply, generator, z)
    assert x.shape == (4, 1024, 1024, 3)
    discriminator = jax.eval_shape(Discriminator().init, jax.random.key(0), x)
    assert set(discriminator) == {"params"}
    assert count(discriminator) == sum(FROM_RGB) + sum(DOWN.values()) + 2_364_416 + 4_194_816 + 513 == 23_087_249
    assert jax.eval_shape(Discriminator().apply, discriminator, x).shape == (4,)
    for total, others in ((count(generator), TO_RGB[:-1]), (count(discriminator), FROM_RGB[:-1])):
        assert round((total - sum(others)) / 1e6, 1) == 23.1


def test_shapes_from_seven_to_28_pixels():
    z = jax.ShapeDtypeStruct((2, 16), jnp.float32)
    module = Generator(channels=1, start=7, features=(8, 8, 4))
    variables = jax.eval_shape(module.init, jax.random.key(0), z)
    for step in (None, jax.ShapeDtypeStruct((), jnp.int32)):
        assert jax.eval_shape(lambda v, z, s: module.apply(v, z, step=s), variables, z, step).shape == (2, 28, 28, 1)
