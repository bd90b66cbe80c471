"""Penalties on logits, LeCam and consistency, against the papers' formulas written in NumPy and float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.penalties import (
    Anchors,
    balanced_consistency,
    consistency,
    latent_consistency,
    lecam,
    move_anchors,
)

BATCH_SIZES = [1, 2, 7]
# Batch sizes and shapes of an example: points, sequences, images, video.
CASES = [(1, (3,)), (7, (3,)), (7, (5, 2)), (1, (4, 3, 2)), (2, (4, 3, 2)), (2, (2, 3, 3, 2))]


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("batch_size", BATCH_SIZES)
@pytest.mark.parametrize("logit_shape", [(), (4, 3, 1)], ids=str)
def test_lecam_is_the_papers_formula(batch_size, logit_shape):
    """`|D(x) - a_F|^2 + |D(G(z)) - a_R|^2`, patches averaged; not the one-sided form of the authors' code."""
    real, fake = normal(batch_size, *logit_shape), normal(batch_size, *logit_shape, seed=1)
    axes = tuple(range(1, real.ndim))
    expected = ((real - 0.25) ** 2).mean(axes) + ((fake - 1.5) ** 2).mean(axes)
    with jax.enable_x64(True):
        found = jax.jit(lecam)(real, fake, Anchors(real=1.5, fake=0.25))
        assert found.shape == (batch_size,) and found.dtype == jnp.float64
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_lecam_pulls_both_ways():
    """Data below the anchor of samples still costs: in the code of the authors, and StudioGAN's, it does not."""
    anchors = Anchors(real=1.0, fake=-1.0)
    real, fake = jnp.array([-3.0]), jnp.array([2.0])
    np.testing.assert_allclose(lecam(real, fake, anchors), [4.0 + 1.0])
    slopes = jax.grad(lambda *logits: lecam(*logits, anchors).sum(), (0, 1))(real, fake)
    np.testing.assert_allclose(slopes, [[2 * (-3.0 + 1.0)], [2 * (2.0 - 1.0)]])
    one_sided = np.maximum(0, real + 1.0) ** 2 + np.maximum(0, 1.0 - fake) ** 2
    np.testing.assert_array_equal(one_sided, [0.0])


def test_anchors_are_running_means():
    logits = normal(5, 2, 7)
    anchors = Anchors(jnp.zeros(()), jnp.zeros(()))
    expected = np.zeros(2)
    for real, fake in logits:
        anchors = jax.jit(move_anchors)(anchors, jnp.float32(real), jnp.float32(fake))
        expected = 0.99 * expected + 0.01 * np.array([real.mean(), fake.mean()])
    np.testing.assert_allclose([anchors.real, anchors.fake], expected, rtol=1e-5)
    moved = move_anchors(Anchors(2.0, 4.0), jnp.ones(3), jnp.zeros(3), decay=0.5)
    np.testing.assert_allclose(moved, (1.5, 2.0))


def test_no_gradient_flows_through_anchors():
    """Else a critic could lower the penalty by moving its anchors, when they are moved before they are used."""

    def moved_first(logits):
        anchors = move_anchors(Anchors(jnp.ones(()), jnp.ones(())), logits, logits, decay=0.5)
        return lecam(logits, logits, anchors).sum()

    logits = jnp.array([2.0, 4.0])  # the anchors become 2: each logit's slope is twice 2 (D - 2)
    np.testing.assert_allclose(jax.grad(moved_first)(logits), [0.0, 8.0])
    assert jax.grad(lambda a: lecam(logits, logits, Anchors(a, a)).sum())(1.0) == 0.0


def test_lecam_of_several_scales_and_of_half_precision():
    real = {"a": jnp.full((2, 3), 2.0, jnp.bfloat16), "b": jnp.ones(2)}
    anchors = Anchors(real={"a": 0.0, "b": 0.0}, fake={"a": 1.0, "b": 3.0})
    found = lecam(real, jax.tree.map(jnp.zeros_like, real), anchors)
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found, [1.0 + 4.0] * 2)
    moved = move_anchors(anchors, real, real, decay=0.0)
    assert jax.tree.map(float, moved) == Anchors({"a": 2.0, "b": 1.0}, {"a": 2.0, "b": 1.0})


def critic(x):
    """Two heads, one of them patches."""
    flat = x.reshape(x.shape[0], -1)
    return [jnp.sum(flat, axis=1), jnp.stack([jnp.sum(flat**2, axis=1), flat[:, 0]], axis=1)]


def numpy_difference(a, b):
    """`|D(a) - D(b)|^2` of `critic`, its heads averaged and added."""
    a, b = (v.astype(np.float64).reshape(len(v), -1) for v in (a, b))
    patches = ((a**2).sum(1) - (b**2).sum(1)) ** 2 + (a[:, 0] - b[:, 0]) ** 2
    return (a.sum(1) - b.sum(1)) ** 2 + patches / 2


def shifted(key, x):
    return x + jax.random.normal(key, (x.shape[0], *(1,) * (x.ndim - 1)))


@pytest.mark.parametrize("batch_size, shape", CASES, ids=str)
def test_consistency_on_data_and_on_samples(batch_size, shape, key):
    real, fake = (normal(batch_size, *shape, seed=seed).astype(np.float32) for seed in (0, 1))

    @jax.jit
    def everything(key, real, fake):
        keys = jax.random.split(key)
        values = (
            consistency(keys[0], critic, real, shifted),
            balanced_consistency(key, critic, real, fake, shifted),
            latent_consistency(critic, fake, 1.1 * fake),
        )
        return values, (shifted(keys[0], real), shifted(keys[1], fake))

    (on_data, on_both, latent), (moved_real, moved_fake) = everything(key, real, fake)
    assert on_data.shape == on_both.shape == latent.shape == (batch_size,)
    of_real = numpy_difference(real, np.asarray(moved_real))
    np.testing.assert_allclose(on_data, of_real, rtol=1e-3)
    np.testing.assert_allclose(on_both, of_real + numpy_difference(fake, np.asarray(moved_fake)), rtol=1e-3)
    np.testing.assert_allclose(latent, numpy_difference(fake, 1.1 * fake), rtol=1e-3)


def test_the_gradient_flows_through_both_sides_of_a_consistency():
    """`(w (x - T(x)))^2` with `T(x) = -x`: 4 w^2 x^2, whose slope is 8 w x^2, and half that where one side is held."""
    slope = jax.grad(lambda w: consistency(jax.random.key(0), lambda x: w * x, jnp.full(1, 3.0), lambda k, x: -x)[0])
    np.testing.assert_allclose(slope(2.0), 8 * 2.0 * 9.0)


def test_an_invariant_critic_is_consistent(key):
    found = consistency(key, lambda x: jnp.sum(x, axis=1), normal(4, 6), lambda key, x: jnp.flip(x, axis=1))
    np.testing.assert_allclose(found, np.zeros(4), atol=1e-10)


def test_unequal_batches_and_shapes_raise(key):
    with pytest.raises(ValueError, match="as many"):
        lecam(jnp.ones(3), jnp.ones(1), Anchors(0.0, 0.0))
    with pytest.raises(ValueError, match="batch"):
        lecam(jnp.ones(()), jnp.ones(()), Anchors(0.0, 0.0))
    with pytest.raises(ValueError, match="as many"):
        balanced_consistency(key, critic, jnp.ones((3, 2)), jnp.ones((1, 2)), shifted)
    with pytest.raises(ValueError, match="same shape"):
        latent_consistency(lambda x: x, jnp.ones((3, 2)), jnp.ones((3, 1)))
    with pytest.raises(ValueError, match="same shape"):
        consistency(key, lambda x: x, jnp.ones((3, 2)), lambda key, x: x[:1])
