"""Penalties against closed forms, for every batch size, rank and structure of the points."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.penalties import gradient_penalty, gradient_squared_norm, interpolate, perturb

BATCH_SIZES = [1, 2, 7]
SHAPES = [(3,), (5, 2), (4, 3, 2), (2, 3, 3, 2)]  # of an example: points, sequences, images, video


def linear(weight):
    """`D(x) = w . x`, whose gradient is w everywhere."""
    return lambda x: jnp.sum(weight * x, axis=tuple(range(1, x.ndim)))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("batch_size, transform", [*((size, jax.jit) for size in BATCH_SIZES), (2, lambda f: f)])
def test_linear_critic(batch_size, transform, shape):
    """torchgan's norm runs over the batch too, PyTorch-GAN's over channels only, TensorFlow-GAN's raises eagerly."""
    rng = np.random.default_rng(batch_size)
    weight = rng.normal(size=(1, *shape)).astype(np.float32)
    points = rng.normal(size=(batch_size, *shape)).astype(np.float32)
    squared = np.sum(weight.astype(np.float64) ** 2)

    found = transform(lambda w, x: gradient_squared_norm(linear(w), x))(weight, points)
    assert found.shape == (batch_size,)
    np.testing.assert_allclose(found, np.full(batch_size, squared), rtol=1e-5)

    found = transform(lambda w, x: gradient_penalty(linear(w), x))(weight, points)
    assert found.shape == (batch_size,)
    np.testing.assert_allclose(found, np.full(batch_size, (np.sqrt(squared) - 1) ** 2), rtol=1e-4)


@pytest.mark.parametrize("batch_size", BATCH_SIZES)
def test_pytrees_of_points_and_of_logits(batch_size):
    a, b = jnp.array([[1.0, 2.0]]), jnp.array([[[3.0], [4.0]]])
    points = {"a": jnp.ones((batch_size, 2)), "b": jnp.ones((batch_size, 2, 1))}

    def critic(x):  # two scales, one of them patches
        return [linear(a)(x["a"]), jnp.repeat(linear(b)(x["b"])[:, None, None], 2, axis=2)]

    # the two patches add up: gradients a and 2 b
    np.testing.assert_allclose(gradient_squared_norm(critic, points), np.full(batch_size, 5.0 + 4 * 25.0), rtol=1e-6)


def test_quadratic_critic_has_its_own_penalty_at_every_point(key):
    """`D(x) = x' A x / 2` with a symmetric A has the gradient A x."""
    half = jax.random.normal(key, (4, 4))
    matrix = half + half.T
    points = jax.random.normal(jax.random.key(1), (6, 4))
    norms = np.linalg.norm(np.asarray(points, np.float64) @ np.asarray(matrix, np.float64), axis=1)

    def critic(x):
        return jnp.sum((x @ matrix) * x, axis=1) / 2

    np.testing.assert_allclose(gradient_squared_norm(critic, points), norms**2, rtol=1e-5)
    np.testing.assert_allclose(gradient_penalty(critic, points, target=2.5), (norms - 2.5) ** 2, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm, two_sided, one_sided", [(0.25, 0.5625, 0.0), (1.0, 0.0, 0.0), (3.0, 4.0, 4.0)])
def test_one_sided_spares_small_norms(norm, two_sided, one_sided):
    critic, points = linear(jnp.array([[0.6 * norm, 0.8 * norm]])), jnp.zeros((3, 2))
    np.testing.assert_allclose(gradient_penalty(critic, points), np.full(3, two_sided), atol=1e-6)
    np.testing.assert_allclose(gradient_penalty(critic, points, one_sided=True), np.full(3, one_sided), atol=1e-6)


def test_each_example_sees_only_its_own_gradient(key):
    """The batched call equals example after example, for a critic that is not linear."""
    weight = jax.random.normal(key, (5, 8))
    points = jax.random.normal(jax.random.key(1), (4, 5))

    def critic(x):
        return jnp.sum(jnp.tanh(x @ weight), axis=1)

    for penalty in (gradient_squared_norm, gradient_penalty):
        penalise = jax.jit(lambda x, penalty=penalty: penalty(critic, x))
        one_by_one = np.concatenate([penalise(points[i : i + 1]) for i in range(4)])
        np.testing.assert_allclose(penalise(points), one_by_one, rtol=1e-5)


def test_second_order_against_the_closed_form():
    """For `D(x) = w . x`: d|w|^2/dw = 2 w, and d(|w| - 1)^2/dw = 2 (|w| - 1) w / |w|."""
    weight = jnp.array([[3.0, 4.0]])
    points = jnp.ones((6, 2))
    r1 = jax.jit(jax.grad(lambda w: gradient_squared_norm(linear(w), points).mean()))(weight)
    np.testing.assert_allclose(r1, 2 * weight, rtol=1e-6)
    gp = jax.grad(lambda w: gradient_penalty(linear(w), points).mean())(weight)
    np.testing.assert_allclose(gp, 2 * 4.0 * weight / 5.0, rtol=1e-6)


@pytest.mark.parametrize("size", [0.0, 1e-25, 1e-21, 1e-19, 1e-10])
@pytest.mark.parametrize("one_sided", [False, True])
def test_flat_critics_have_finite_gradients(size, one_sided):
    """At a zero gradient the slope of a norm is infinite; at a tiny one its square underflows."""
    weight, points = jnp.array([[size, size]]), jnp.ones((3, 2))

    def penalty(w):
        return gradient_penalty(linear(w), points, one_sided=one_sided).mean()

    value, slope = jax.jit(jax.value_and_grad(penalty))(weight)
    np.testing.assert_allclose(value, 0.0 if one_sided else 1.0, rtol=1e-6)
    assert np.isfinite(slope).all() and (np.abs(slope) <= 2.0).all()


def test_a_critic_that_ignores_its_points_is_flat():
    points = jnp.ones((3, 2))
    np.testing.assert_array_equal(gradient_squared_norm(lambda x: jnp.ones(3), points), np.zeros(3))
    np.testing.assert_array_equal(gradient_penalty(lambda x: jnp.ones(3), points), np.ones(3))


def test_half_precision_points_are_accumulated_in_float32():
    # 4096 squares of 1: a bfloat16 sum stops growing at 256, and its square root would be 16
    points = jnp.ones((2, 4096), jnp.bfloat16)
    found = gradient_squared_norm(lambda x: jnp.sum(x, axis=1), points)
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found, np.full(2, 4096.0))
    assert gradient_penalty(lambda x: jnp.sum(x, axis=1), points).dtype == jnp.float32
    with jax.enable_x64(True):
        assert gradient_squared_norm(lambda x: jnp.sum(x, axis=1), jnp.ones((2, 3), jnp.float64)).dtype == jnp.float64


@pytest.mark.parametrize("penalty", [gradient_squared_norm, gradient_penalty])
def test_critics_that_do_not_keep_the_batch_raise(penalty):
    points = jnp.ones((3, 2))
    with pytest.raises(ValueError, match="batch"):
        penalty(lambda x: jnp.mean(x), points)  # would be too small by the batch size
    with pytest.raises(ValueError, match="batch"):
        penalty(lambda x: jnp.mean(x, axis=0), points)
    with pytest.raises(ValueError, match="batch"):
        penalty(lambda x: jnp.sum(x["a"]) + x["b"], {"a": jnp.ones((1, 2)), "b": jnp.ones(3)})


@pytest.mark.parametrize("shape", [(), *SHAPES], ids=str)
def test_interpolation_has_one_weight_per_example(shape, key):
    real, fake = jnp.zeros((64, *shape)), jnp.ones((64, *shape))
    weights = 1.0 - np.asarray(interpolate(key, real, fake)).reshape(64, -1)
    assert (weights == weights[:, :1]).all()  # shared by the dimensions
    assert len(np.unique(weights[:, 0])) > 60  # not by the examples
    assert 0.0 <= weights.min() < 0.1 and 0.9 < weights.max() <= 1.0
    np.testing.assert_array_equal(interpolate(key, real, fake), interpolate(key, real, fake))
    assert (interpolate(jax.random.key(1), real, fake) != interpolate(key, real, fake)).any()


def test_interpolated_points_lie_on_the_segments(key):
    real, fake = jax.random.normal(key, (2, 16, 3))
    points = interpolate(key, real, fake)
    weights = (points - fake)[:, :1] / (real - fake)[:, :1]
    np.testing.assert_allclose(points, fake + weights * (real - fake), atol=1e-5)


def test_interpolation_of_pytrees_shares_its_weights_and_keeps_dtypes(key):
    real = {"a": jnp.zeros((8, 2)), "b": jnp.zeros((8, 3, 1), jnp.bfloat16)}
    points = interpolate(key, real, jax.tree.map(jnp.ones_like, real))
    assert points["a"].dtype == jnp.float32 and points["b"].dtype == jnp.bfloat16
    np.testing.assert_allclose(points["a"][:, 0], points["b"][:, 0, 0].astype(jnp.float32), atol=1e-2)
    # integer data would round every weight to 0
    assert interpolate(key, jnp.full((8, 2), 255, jnp.uint8), jnp.zeros((8, 2))).max() > 100.0


def test_interpolation_checks_its_shapes(key):
    with pytest.raises(ValueError, match="same shape"):
        interpolate(key, jnp.zeros((4, 3)), jnp.zeros((4, 1)))
    with pytest.raises(ValueError, match="same shape"):
        interpolate(key, jnp.zeros((4, 3)), jnp.zeros((2, 3)))
    with pytest.raises(ValueError):
        interpolate(key, {"a": jnp.zeros((4, 3))}, {"b": jnp.zeros((4, 3))})


@pytest.mark.parametrize("shape", [(3,), (4, 3, 2)], ids=str)
def test_perturbation_is_the_papers_code(shape, key):
    """`x + 0.5 * std(x) * U[0, 1)`, with NumPy's standard deviation and a draw for every coordinate."""
    real = 3.0 + 2.0 * np.random.default_rng(0).normal(size=(64, *shape)).astype(np.float32)
    points = np.asarray(jax.jit(perturb)(key, real))
    u = (points.astype(np.float64) - real) / (0.5 * real.astype(np.float64).std())
    assert -1e-5 <= u.min() < 0.05 and 0.95 < u.max() <= 1.0 + 1e-5
    assert abs(u.mean() - 0.5) < 5 * np.sqrt(1 / 12 / u.size)  # not centred, as compare_gan's is
    assert abs(u.std() - np.sqrt(1 / 12)) < 0.03  # nor multiplied by a second draw, as torchgan's and StudioGAN's are
    assert len(np.unique(np.round(u, 3))) > 0.3 * min(u.size, 1000)  # neither one draw per example, nor per coordinate
    again, wider = map(np.asarray, jax.jit(lambda key: (perturb(key, real), perturb(key, real, scale=2.0)))(key))
    np.testing.assert_allclose(again, points, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(wider - real, 4.0 * (points - real), rtol=1e-3, atol=1e-5)


def test_perturbation_of_pytrees_and_dtypes(key):
    x = jax.random.normal(key, (64, 8))
    real = {"a": x, "b": 100.0 * x, "c": x.astype(jnp.bfloat16), "d": jnp.tile(jnp.uint8(200), (64, 8)).at[0].set(0)}
    points = perturb(key, real)
    moves = {name: np.asarray(points[name], np.float32) - np.asarray(real[name], np.float32) for name in real}
    assert points["c"].dtype == jnp.bfloat16 and points["d"].dtype == jnp.float32
    for name, value in real.items():  # each leaf has its own scale; the mean of U[0, 1) is a half
        np.testing.assert_allclose(moves[name].mean(), 0.25 * np.asarray(value, np.float64).std(), rtol=0.15)
    assert abs(np.corrcoef(moves["a"].ravel(), moves["b"].ravel())[0, 1]) < 0.2  # and its own noise
    with pytest.raises(ValueError, match="real"):
        perturb(key, {"a": jnp.ones((2, 3)), "b": jnp.ones((4, 3))})


def test_dragan_of_a_linear_critic_does_not_grow_with_the_batch(key):
    """torchgan 0.1.0's dragan_gradient_penalty gives 16 for one example and 81 for four: its norm is the batch's."""
    weight = jnp.array([[3.0, 4.0]])
    for batch_size in (1, 4):
        points = perturb(key, jnp.ones((batch_size, 2)))
        np.testing.assert_allclose(gradient_penalty(linear(weight), points), np.full(batch_size, 16.0), rtol=1e-6)
