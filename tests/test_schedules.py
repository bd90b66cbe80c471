"""Schedules against the authors' formulas in float64, and an optimiser that follows them against Adam by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan.schedules import cosine, half_life_decay


def authors_cosine(images, start, end, total, hold=0):
    """R3GAN's training loop, in images: half a cosine after a hold, and the last value ever after."""
    decay = 0.5 * (1 + np.cos(np.pi * (images - hold) / (total - hold)))
    value = start + (1 - decay) * (end - start)
    return np.where(images > total, end, np.where(images > hold, value, start))


@pytest.mark.parametrize("start, end", [(2e-4, 5e-5), (0.9, 0.99), (150.0, 15.0), (0.0, 5e6), (0.0, 0.55)])
@pytest.mark.parametrize("burn_in", [0, 700])
def test_cosine_is_the_authors(start, end, burn_in):
    steps, batch = 20_000_000 // 256, 256
    at = np.concatenate([np.arange(2000), np.arange(2000, steps + 2000, 997), [10 * steps]])
    found = jax.jit(jax.vmap(cosine(start, end, steps, burn_in=burn_in)))(jnp.asarray(at, jnp.int32))
    expected = authors_cosine(at * batch, start, end, (steps + burn_in) * batch, burn_in * batch)
    np.testing.assert_allclose(found, expected, rtol=3e-6, atol=1e-12)


def test_cosine_begins_exactly_and_moves_one_way():
    values = np.asarray(jax.vmap(cosine(0.05, 0.005, 100, burn_in=10))(jnp.arange(120)))
    assert (values[:11] == np.float32(0.05)).all()
    assert (np.diff(values[10:111]) < 0).all()
    np.testing.assert_allclose(values[[60, 110, 119]], [0.0275, 0.005, 0.005], rtol=1e-6)


@pytest.mark.parametrize("steps, burn_in", [(0, 0), (-1, 0), (10, -1)])
def test_a_cosine_without_steps_is_refused(steps, burn_in):
    with pytest.raises(ValueError, match=f"steps={steps}, burn_in={burn_in}: expected at least 1 step"):
        cosine(1.0, 0.0, steps, burn_in=burn_in)


@pytest.mark.parametrize("batch_size", [16, 64, 500])
def test_half_of_an_average_is_left_after_its_half_life(batch_size):
    decay = half_life_decay(4000.0, batch_size)
    assert float(decay(0)) == float(decay(7))
    np.testing.assert_allclose(float(decay(0)) ** (4000 / batch_size), 0.5, rtol=1e-4)


def test_a_half_life_that_grows_is_the_authors():
    steps, batch = 1000, 256
    decay = half_life_decay(cosine(0.0, 5e5, steps), batch)
    at = np.arange(1200)
    half_life = authors_cosine(at * batch, 0.0, 5e5, steps * batch)
    expected = 0.5 ** (batch / np.maximum(half_life, 1e-8))
    found = np.asarray(jax.jit(jax.vmap(decay))(jnp.asarray(at)))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-30)
    assert found[0] == 0.0 and np.isfinite(found).all()  # at first the average is the newest value alone


def adam_by_hand(gradients, rates, decays):
    """Parameters after each update from zero, b1 = 0, each step with its own learning rate and second decay."""
    x, second, found = 0.0, 0.0, []
    for count, (g, rate, b2) in enumerate(zip(gradients, rates, decays, strict=True), 1):
        second = b2 * second + (1 - b2) * g**2
        x = x - rate * g / (np.sqrt(second / (1 - b2**count)) + 1e-8)  # as PyTorch corrects: by the step's own decay
        found.append(x)
    return np.array(found)


def test_adam_follows_schedules_of_its_learning_rate_and_second_decay():
    steps = 40
    rate, decay = cosine(1e-2, 1e-3, 30), cosine(0.9, 0.99, 30)
    tx = optax.inject_hyperparams(optax.adam)(learning_rate=rate, b1=0.0, b2=decay)
    gradients = np.random.default_rng(0).normal(size=(steps, 3)).astype(np.float32)

    @jax.jit
    def update(carry, g):
        updates, opt = tx.update(g, carry[1], carry[0])
        x = optax.apply_updates(carry[0], updates)
        return (x, opt), x

    params = jnp.zeros(3)
    _, found = jax.lax.scan(update, (params, tx.init(params)), jnp.asarray(gradients))
    at = np.arange(steps)
    by_hand = adam_by_hand(
        gradients.astype(np.float64),
        authors_cosine(at, 1e-2, 1e-3, 30),
        authors_cosine(at, 0.9, 0.99, 30),
    )
    np.testing.assert_allclose(found, by_hand, rtol=2e-4, atol=1e-6)
    constant = adam_by_hand(gradients.astype(np.float64), np.full(steps, 1e-2), np.full(steps, 0.9))
    assert np.abs(constant - by_hand).max() > 1e-3  # the schedules count
