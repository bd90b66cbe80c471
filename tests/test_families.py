"""The contract of every family of image GANs, by its experiment: made small, on random images."""

import functools
import pathlib
from typing import NamedTuple

import jax
import numpy as np
import pytest
from jax import export

from jaxgan import chunks, lift
from jaxgan import experiment as experiments

EXPERIMENTS = pathlib.Path(__file__).parent.parent / "experiments"
BATCH = 16


class Family(NamedTuple):
    """An experiment made small.

    Attributes:
      options: that make it so.
      shape: of an image.
      classes: of its labels, 0 for none.
      examples: that a step consumes.
      alike: whether every device does with its examples what one device does; not where examples of a batch meet in the
        discriminator, nor where it drops out at random.
    """

    options: dict
    shape: tuple[int, ...] = (28, 28, 1)
    classes: int = 0
    examples: int = BATCH
    alike: bool = True


FAMILIES = {
    "emoji_stylegan2": Family({"width": 4, "size": 16}, (16, 16, 3), alike=False),
    "fashion_biggan": Family({"width": 8}, classes=10, examples=2 * BATCH),
    "fashion_r3gan": Family({"width": 32}),
    "fashion_sngan": Family({"width": 4, "critic_steps": 2}, examples=2 * BATCH),
    "fashion_vaegan": Family({"width": 4}),
    "mnist_aae": Family({"width": 16}),
    "mnist_acgan": Family({"width": 4}, classes=10, alike=False),
    "mnist_bigan": Family({"width": 16}),
    "mnist_cgan": Family({"width": 4}, classes=10, alike=False),
    "mnist_ebgan": Family({}),
    "mnist_infogan": Family({"width": 4}, alike=False),
    "mnist_progressive": Family({"start": 14, "features": (8, 4), "stage_steps": 1}, alike=False),
    "mnist_recurrent": Family({"generator_width": 16, "discriminator_width": 8}),
}
# BigGAN's step compiles for half a minute; SNGAN's is of the same blocks.
every_family = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name == "fashion_biggan")) for name in FAMILIES]
)
STEPS = 4


def made(name, **more):
    family = FAMILIES[name]
    function = experiments.load(str(EXPERIMENTS / f"{name}.py"))
    return function(**family.options, batch_size=BATCH, **more)


def batches(name, steps=STEPS):
    """Random images of random classes, `[steps, examples, ...]`."""
    family, random = FAMILIES[name], np.random.default_rng(0)
    x = random.uniform(-1, 1, (STEPS, family.examples, *family.shape)).astype(np.float32)
    labels = random.integers(0, max(family.classes, 1), (STEPS, family.examples)).astype(np.int32)
    return jax.tree.map(lambda v: v[:steps], {"x": x} | ({"cond": labels} if family.classes else {}))


@functools.cache
def trained(name):
    """The experiment, its state at the start and after every step, and the metrics of each; no key is used twice."""
    game, key = made(name), jax.random.key(0)
    step, given = jax.jit(game.gan.step), batches(name)
    first = jax.jit(game.gan.init)(jax.random.key(1), jax.tree.map(lambda v: v[0], given))
    states, metrics = [jax.device_get(first)], []
    with jax.debug_key_reuse(True):
        for i in range(STEPS):
            state, seen = step(key, states[-1], jax.tree.map(lambda v, i=i: v[i], given))
            states.append(jax.device_get(state))
            metrics.append(jax.device_get(seen))
    return game, states, metrics


def test_every_family_is_here():
    """Those of points, and those that share a family with one that is here, are not."""
    others = {"ring", "grid", "digits", "mnist_mlp", "mnist_dcgan", "mnist_wgan", "mnist_wgan_gp", "mnist_lsgan"}
    assert {path.stem for path in EXPERIMENTS.glob("*.py")} == set(FAMILIES) | others


@every_family
def test_a_step_moves_both_players_and_is_finite(name):
    _, states, metrics = trained(name)
    for seen in metrics:
        assert all(np.isfinite(value).all() for value in seen.values()), seen
        assert seen["generator/gradient_norm"] > 0 and seen["discriminator/gradient_norm"] > 0
    for player in ("generator", "discriminator"):
        first, last = (jax.tree.leaves(getattr(state, player).params) for state in (states[0], states[-1]))
        assert all(np.isfinite(leaf).all() for leaf in last)
        assert np.mean([(a != b).any() for a, b in zip(first, last, strict=True)]) > 0.5


@every_family
def test_a_step_gives_a_state_of_the_types_it_took(name):
    """Weak types too: a state that loses them makes the second step compile anew."""
    gan, key = made(name).gan, jax.random.key(0)
    batch = jax.tree.map(lambda v: v[0], batches(name))
    state = jax.eval_shape(gan.init, key, batch)
    moved, _ = jax.eval_shape(gan.step, key, state, batch)
    for (path, before), after in zip(jax.tree.leaves_with_path(state), jax.tree.leaves(moved), strict=True):
        assert (before.dtype, before.weak_type) == (after.dtype, after.weak_type), jax.tree_util.keystr(path)


@every_family
def test_samples_are_images_and_of_the_key_alone(name):
    game, states, _ = trained(name)
    batch = jax.tree.map(lambda v: v[0], batches(name))
    sample = jax.jit(game.gan.sample)
    one, same, other = (np.asarray(sample(jax.random.key(k), states[-1], batch)) for k in (1, 1, 2))
    assert one.shape == batch["x"].shape and one.dtype == np.float32 and np.isfinite(one).all()
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
    # Of a condition, but not of the data; and an example's is its own, in whatever batch: nothing is normalised by it.
    np.testing.assert_array_equal(sample(jax.random.key(1), states[-1], {**batch, "x": -batch["x"]}), one)
    assert game.picture(one).dtype == np.uint8


@every_family
def test_a_run_that_stopped_is_one_that_did_not(name):
    """To the last bit: from what lay on the host after any step, by a program of its own."""
    _, states, metrics = trained(name)
    gan, key, given = made(name).gan, jax.random.key(0), batches(name)
    state = jax.device_put(states[STEPS // 2])
    step = jax.jit(gan.step)
    for i in range(STEPS // 2, STEPS):
        state, seen = step(key, state, jax.tree.map(lambda v, i=i: v[i], given))
        jax.tree.map(np.testing.assert_array_equal, seen, metrics[i])
    jax.tree.map(np.testing.assert_array_equal, state, states[-1])


@pytest.mark.slow
@every_family
@pytest.mark.parametrize("kind", ["mesh", "pmap", "fsdp"])
def test_every_lift_takes_the_step(name, kind):
    """Losses and the norms of gradients, which come before any optimiser, are those of one device."""
    _, states, metrics = trained(name)
    more = {experiments.AXIS_OPTION: lift.AXIS} if kind == "pmap" else {}
    gan = made(name, **more).gan
    where = chunks.machine(gan.step, kind)
    sharding = chunks.state_sharding(where, kind, jax.eval_shape(lambda: states[0]))
    state = jax.device_put(states[0], sharding)
    given = jax.device_put(batches(name, 1), where.batches)
    key, number = jax.device_put((jax.random.key(0), np.int32(1)), where.whole)
    state, rows = where.chunk(key, state, given, number)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))
    for metric, values in rows.items():
        assert np.isfinite(values).all(), metric
        if FAMILIES[name].alike or kind != "pmap":
            np.testing.assert_allclose(values[0], metrics[0][metric], rtol=2e-3, atol=1e-4, err_msg=metric)


@pytest.mark.slow
@every_family
def test_a_step_lowers_for_every_platform(name):
    game, states, _ = trained(name)
    batch = jax.tree.map(lambda v: v[0], batches(name))
    program = export.export(jax.jit(game.gan.step), platforms=["cpu", "cuda", "tpu"])(
        jax.random.key(0), states[0], batch
    )
    assert program.platforms == ("cpu", "cuda", "tpu")


@pytest.mark.slow
@every_family
def test_a_population_is_its_members(name):
    """Two seeds at once: the metrics of each are those of its own step."""
    gan, given = made(name).gan, jax.tree.map(lambda v: v[0], batches(name))
    keys, starts = (jax.random.split(jax.random.key(k), 2) for k in (5, 6))
    states = jax.jit(jax.vmap(gan.init, (0, None)))(starts, given)
    _, seen = jax.jit(jax.vmap(gan.step, (0, 0, None)))(keys, states, given)
    for i in range(2):
        _, alone = jax.jit(gan.step)(keys[i], jax.tree.map(lambda v, i=i: v[i], states), given)
        for metric, value in alone.items():
            np.testing.assert_allclose(seen[metric][i], value, rtol=2e-3, atol=1e-4, err_msg=metric)
