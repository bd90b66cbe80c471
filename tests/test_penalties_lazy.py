"""Lazy penalties: which steps pay, how much, and that the others compute nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan import lift, losses
from jaxgan.gan import make_gan
from jaxgan.latents import normal_latents
from jaxgan.network import flax_network
from jaxgan.networks import mlp
from jaxgan.penalties import gradient_squared_norm, lazy

SHARES = [4.0, 0.0, 0.0, 0.0, 4.0, 0.0]  # of a penalty's value, at the steps 0 to 5, for every fourth


def critic_penalty(key, step, weight, points):
    """`|w|^2` for each point, of a linear critic."""
    return gradient_squared_norm(lambda x: x @ weight, points)


@pytest.mark.parametrize("transform", [jax.jit, lambda f: f])
def test_values_and_gradients_by_step(transform, key):
    weight, points = jnp.array([3.0, 4.0]), jnp.ones((5, 2))
    penalty = lazy(critic_penalty, 4)
    both = transform(jax.value_and_grad(lambda w, step: penalty(key, step, w, points).mean()))
    for step, share in enumerate(SHARES):
        value, slope = both(weight, step)
        np.testing.assert_allclose(value, share * 25.0)
        np.testing.assert_allclose(slope, share * 2 * weight)  # d|w|^2/dw = 2 w


def test_inside_a_scan_the_mean_over_steps_stays(key):
    weight, points = jnp.array([3.0, 4.0]), jnp.ones((5, 2))

    def step(total, i):
        slope = jax.grad(lambda w: lazy(critic_penalty, 4)(key, i, w, points).mean())(weight)
        return total + slope, slope

    total, slopes = jax.jit(lambda: jax.lax.scan(step, jnp.zeros(2), jnp.arange(8)))()
    np.testing.assert_allclose(slopes[:6], np.outer(SHARES, 2 * weight))
    np.testing.assert_allclose(total / 8, 2 * weight)


def test_what_is_skipped_is_not_computed(key):
    seen = []

    def penalty(key, step, x):
        jax.debug.callback(lambda step: seen.append(int(step)), step)
        return x**2

    run = jax.jit(jax.value_and_grad(lambda x, step: lazy(penalty, 4)(key, step, x)))
    for step in range(10):
        run(1.5, step)
    jax.effects_barrier()
    assert seen == [0, 4, 8]


def test_shapes_and_dtypes_are_kept(key):
    def penalty(key, step):
        return {"a": jnp.ones((3, 2), jnp.bfloat16), "b": jnp.ones(4)}

    for step, share in enumerate(SHARES[:2]):
        found = lazy(penalty, 4)(key, jnp.int32(step))
        assert found["a"].dtype == jnp.bfloat16 and found["b"].dtype == jnp.float32
        np.testing.assert_array_equal(found["a"].astype(jnp.float32), np.full((3, 2), share))
        np.testing.assert_array_equal(found["b"], np.full(4, share))


def test_every_step_is_the_penalty_itself(key):
    points = jnp.ones((5, 2))
    for step in range(3):
        found = lazy(critic_penalty, 1)(key, step, jnp.array([3.0, 4.0]), points)
        np.testing.assert_allclose(found, np.full(5, 25.0))
    with pytest.raises(ValueError, match="at least 1"):
        lazy(critic_penalty, 0)


def test_a_population_at_different_steps(key):
    """`vmap` makes both branches run; what comes out is the same."""
    found = jax.vmap(lambda step: lazy(critic_penalty, 4)(key, step, jnp.ones(2), jnp.ones((1, 2))))(jnp.arange(6))
    np.testing.assert_allclose(found[:, 0], 2.0 * np.array(SHARES))


class Counting:
    """A penalty that remembers how often it was computed."""

    @staticmethod
    def init():
        return jnp.zeros(())

    @staticmethod
    def apply(memory, key, step, critic, real, fake):
        return gradient_squared_norm(critic, real), memory + 1.0


def game(penalty, axis_name=None):
    return make_gan(
        flax_network(mlp.Generator((2,), widths=(4,))),
        flax_network(mlp.Discriminator(widths=(4,))),
        losses.non_saturating,
        generator_tx=optax.sgd(0.1),
        discriminator_tx=optax.sgd(0.1),
        latent=normal_latents(2),
        discriminator_penalty=penalty,
        axis_name=axis_name,
    )


def test_in_a_training_a_memory_waits_too(key):
    batches = {"x": jnp.ones((6, 8, 2))}
    gan = game(lazy(Counting, 4))
    state = gan.init(key, {"x": batches["x"][0]})
    state, metrics = jax.jit(lift.scan(gan.step))(key, state, batches)
    paid = np.asarray(metrics["discriminator/penalty"])
    assert ((paid > 0) == (np.array(SHARES) > 0)).all()
    assert state.discriminator.memory == {"penalty": 2.0}


def test_on_many_devices(key):
    """Both branches of the conditional are of one type there too, and every device takes the same."""
    batch = {"x": jax.random.normal(key, (8, 2))}
    state = game(lazy(Counting, 4)).init(key, batch)
    whole, _ = jax.jit(game(lazy(Counting, 4)).step)(key, state, batch)
    split, _ = lift.pmap(game(lazy(Counting, 4), lift.AXIS).step)(key, state, batch)
    assert split.discriminator.memory == {"penalty": 1.0}
    leaves = (jax.tree.leaves(state.discriminator.params) for state in (whole, split))
    for one, other in zip(*leaves, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
