"""The adaptive strength of ADA: its trajectory, over devices, and taken up again."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan import losses
from jaxgan.augment import Adaptation, Adaptive, ada
from jaxgan.errors import InputError
from jaxgan.gan import make_gan
from jaxgan.latents import normal_latents
from jaxgan.network import Network
from jaxgan.penalties import gradient_squared_norm


def strengths(adaptive, batches, memory=None):
    """The strength applied at each step, and the memory afterwards."""
    memory = adaptive.init() if memory is None else memory

    def step(memory, item):
        return adaptive.update(memory, *item), adaptive.strength(memory)

    memory, found = jax.jit(lambda *items: jax.lax.scan(step, memory, items))(jnp.arange(len(batches)), batches)
    return np.asarray(found), memory


def test_a_trajectory_by_hand():
    """Every second batch p moves by 5 * 2 / 50 = 0.2; r are 1, 0.6, 0.5 (the target), 0.2, -1, -1 and 1."""
    adaptive = Adaptive(batch_size=5, target=0.5, every=2, images=50)
    high, mixed, low = jnp.full(5, 0.1), jnp.array([1.0, 2.0, 3.0, 4.0, -9.0]), -jnp.ones(5)
    level = jnp.array([7.0, 7.0, 7.0, -1.0, 0.0])  # mean sign 0.4, with `mixed` 0.5
    pairs = [(high, high), (mixed, mixed), (level, mixed), (high, -mixed), (low, low), (low, low), (high, high)]
    found, memory = strengths(adaptive, jnp.stack([batch for pair in pairs for batch in pair]))
    expected = [0.0, 0.2, 0.4, 0.4, 0.2, 0.0, 0.0]  # the sixth pair would move it below 0
    np.testing.assert_allclose(found, np.repeat(expected, 2), atol=1e-6)
    np.testing.assert_allclose(adaptive.strength(memory), 0.2, atol=1e-6)


def test_the_authors_loop():
    """NVlabs/stylegan2-ada-pytorch, training/training_loop.py: after every fourth batch, and never below 0."""
    rng = np.random.default_rng(0)
    batches = rng.normal(1.0 + np.sin(np.arange(400) / 30)[:, None], 1.0, (400, 64)).astype(np.float32)
    p, signs, expected = 0.0, [], []
    for count, logits in enumerate(batches, start=1):
        expected.append(p)
        signs.append(np.sign(logits))
        if count % 4 == 0:
            p = max(p + np.sign(np.mean(signs) - 0.6) * 64 * 4 / 500_000, 0)
            signs = []
    found, _ = strengths(Adaptive(64), jnp.asarray(batches))
    assert max(expected) > 0.01 and expected[-1] < max(expected)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_strength_stays_within_its_bounds():
    adaptive = Adaptive(batch_size=10, every=1, images=30)
    up, memory = strengths(adaptive, jnp.ones((6, 10)))
    np.testing.assert_allclose(up, [0, 1 / 3, 2 / 3, 1, 1, 1], atol=1e-6)
    down, _ = strengths(adaptive, -jnp.ones((6, 10)), memory)
    np.testing.assert_allclose(down, [1, 2 / 3, 1 / 3, 0, 0, 0], atol=1e-6)  # it has not gone beyond 1 meanwhile


def test_it_takes_half_a_million_images_to_reach_one():
    found, _ = strengths(Adaptive(batch_size=1000), jnp.ones((601, 3)))
    assert found.argmax() == 500 and found.max() == found[-1] == 1.0
    np.testing.assert_allclose(np.diff(found[:501:4]), 4 / 500, atol=1e-6)


def test_the_mean_over_devices_is_that_of_the_whole_batch():
    """Signs differ between devices: some of them alone would go the other way."""
    adaptive = Adaptive(batch_size=16, every=3, images=500)
    batches = (np.linspace(2, -1, 12)[:, None] + np.linspace(-1, 1, 16)).astype(np.float32)
    alone, memory = strengths(adaptive, jnp.asarray(batches))

    def step(memory, logits):
        return jax.lax.pmean(adaptive.update(memory, 0, logits), "devices"), adaptive.strength(memory)

    run = jax.pmap(
        lambda logits: jax.lax.scan(step, adaptive.init(), logits), axis_name="devices", devices=jax.devices()[:8]
    )
    memories, found = run(jnp.asarray(batches.reshape(12, 8, 2).swapaxes(0, 1)))
    assert 0 < alone.max() and (np.diff(alone) < 0).any()
    assert np.ptp(strengths(adaptive, jnp.asarray(batches[:, :2]))[0] - alone) > 0.05  # the first device's examples
    for device in range(8):
        np.testing.assert_allclose(found[device], alone, atol=1e-6)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a[device], b, atol=1e-6), memories, memory)  # noqa: B023


@pytest.mark.parametrize("cut", [1, 6, 8])
def test_a_run_taken_up_again_goes_on_exactly(cut):
    batches = jnp.asarray(np.random.default_rng(2).normal(1.0, 1.0, (20, 8)), jnp.float32)
    adaptive = Adaptive(batch_size=8, images=300)
    whole, memory = strengths(adaptive, batches)
    first, saved = strengths(adaptive, batches[:cut])
    file = io.BytesIO()
    np.savez(file, **saved._asdict())
    file.seek(0)
    second, again = strengths(
        adaptive, batches[cut:], Adaptation(**{k: jnp.asarray(v) for k, v in np.load(file).items()})
    )
    np.testing.assert_array_equal(np.concatenate([first, second]), whole)
    assert memory == again and len(np.unique(whole)) > 2


def test_memory_is_scalars_that_stay_what_they_are():
    adaptive = Adaptive(8)
    memory = adaptive.init()
    after = jax.eval_shape(adaptive.update, memory, jnp.zeros((), jnp.int32), jnp.ones(8, jnp.bfloat16))
    assert all(v.shape == () and v.dtype == jnp.float32 for v in memory)
    assert all(v.shape == () and v.dtype == jnp.float32 for v in after)


def test_logits_of_several_scales_count_alike():
    logits = {"coarse": jnp.ones((4, 2, 2, 1)), "fine": -jnp.ones((4, 8, 8, 1), jnp.bfloat16)}
    memory = Adaptive(4).update(Adaptive(4).init(), 0, logits)
    assert memory.signs == 0.0 and memory.batches == 1.0


def test_images_are_augmented_with_the_strength_of_now(key):
    adaptive = Adaptive(batch_size=10, every=1, images=20)
    x = jnp.asarray(np.random.default_rng(3).normal(size=(6, 8, 8, 3)), jnp.float32)
    memory, apply = adaptive.init(), jax.jit(adaptive.apply)
    for step, strength in enumerate([0.0, 0.5, 1.0]):
        np.testing.assert_array_equal(apply(memory, key, step, x), jax.jit(ada)(key, jnp.float32(strength), x))
        memory = adaptive.update(memory, step, jnp.ones(10))
    np.testing.assert_array_equal(apply(adaptive.init(), key, 0, x), x)


def linear(shape_in, shape_out):
    """`tanh(x A)`, of examples of one shape to those of another."""

    def init(key, x, cond):
        return {"params": 0.1 * jax.random.normal(key, (np.prod(shape_in), np.prod(shape_out, dtype=int)))}

    def apply(variables, x, cond, *, key, train, step=None):
        return jnp.tanh(x.reshape(x.shape[0], -1) @ variables["params"]).reshape(-1, *shape_out), variables

    return Network(init, apply)


def test_a_gan_is_trained_through_it_with_r1(key):
    """Every r is above such a target: p moves by 4 / 40 before the second step and before the third."""
    gan = make_gan(
        linear((5,), (4, 4, 1)),
        linear((4, 4, 1), ()),
        losses.non_saturating,
        generator_tx=optax.sgd(0.1),
        discriminator_tx=optax.sgd(0.1),
        latent=normal_latents(5),
        discriminator_penalty=lambda key, step, critic, real, fake: 5.0 * gradient_squared_norm(critic, real),
        augment=Adaptive(batch_size=4, target=-1.5, every=1, images=40),
    )
    batch = {"x": jnp.asarray(np.random.default_rng(4).normal(size=(4, 4, 4, 1)), jnp.float32)}
    state, step = gan.init(key, batch), jax.jit(gan.step)
    for expected in (0.0, 0.1, 0.2):
        before = state
        state, metrics = step(key, state, batch)
        np.testing.assert_allclose(state.discriminator.memory["augment"].strength, expected, atol=1e-6)
        assert metrics["discriminator/penalty"] > 0
        for player in ("discriminator", "generator"):
            moved = np.abs(getattr(state, player).params - getattr(before, player).params).max()
            assert 0 < moved < np.inf


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"every": 0}, {"images": -3}], ids=str)
def test_numbers_that_cannot_be_are_refused(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(InputError, match=f"^{name}={value}: expected at least 1$"):
        Adaptive(**{"batch_size": 8, **wrong})
