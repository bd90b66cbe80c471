"""Penalties on samples, zCR's, mode seeking and path length, against closed forms and the papers' code in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.layers import transposed_convolve
from jaxgan.penalties import (
    latent_diversity,
    mode_seeking,
    move_path_length,
    path_length_penalty,
    path_lengths,
    perturb_latents,
)

SHAPES = [(3,), (5, 2), (4, 3, 2), (2, 3, 3, 2)]  # of an example: points, sequences, images, video
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)
every_case = pytest.mark.parametrize(
    "batch_size, shape",
    [(1, SHAPES[0]), (7, SHAPES[0]), (7, SHAPES[1]), *((n, SHAPES[2]) for n in (1, 2)), (2, SHAPES[3])],
)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def linear(matrix, shape):
    """`G(z) = A z`, as samples of a shape; A is `[size, latents]`."""
    return lambda z: (z @ matrix.T).reshape(z.shape[0], *shape)


def pixels(shape):
    return int(np.prod(shape[:-1]))


def drawn(key, *shape):
    """What a key draws for the one leaf of a generator's samples, before it is scaled."""
    return np.asarray(jax.jit(lambda key: jax.random.normal(jax.random.split(key, 1)[0], shape))(key), np.float64)


@every_case
def test_latent_diversity_is_minus_the_mean_square(batch_size, shape):
    fake, neighbour = normal(batch_size, *shape), normal(batch_size, *shape, seed=1)
    found = jax.jit(latent_diversity)(fake, neighbour)
    expected = -((fake.astype(np.float64) - neighbour) ** 2).reshape(batch_size, -1).mean(1)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_latent_diversity_pushes_samples_apart():
    """The sign is the opposite of the discriminator's half: a generator that descends it spreads its samples."""
    slope = jax.grad(lambda fake: latent_diversity(fake, jnp.zeros((1, 1))).sum())(jnp.ones((1, 1)))
    assert slope[0, 0] == -2.0
    with pytest.raises(ValueError, match="same shape"):
        latent_diversity(jnp.ones((3, 2)), jnp.ones((1, 2)))


def test_latents_are_perturbed_by_noise_of_their_own(key):
    latents = {"a": jnp.ones((500, 4)), "b": jnp.zeros((500, 4), jnp.bfloat16)}
    moved = jax.jit(perturb_latents)(key, latents, 0.05)
    steps = {name: np.asarray(moved[name], np.float64) - np.asarray(latents[name], np.float64) for name in latents}
    assert moved["b"].dtype == jnp.bfloat16
    for step in steps.values():
        np.testing.assert_allclose(step.std(), 0.05, rtol=0.1)
        assert abs(step.mean()) < 5 * 0.05 / np.sqrt(step.size)
    assert abs(np.corrcoef(steps["a"].ravel(), steps["b"].ravel())[0, 1]) < 0.2


@every_case
def test_mode_seeking_is_the_reciprocal_of_the_ratio(batch_size, shape):
    """HelenMao/MSGAN, DCGAN-Mode-Seeking/model.py: `1 / (mean|G1 - G2| / mean|z1 - z2| + 1e-5)`, pair by pair."""
    fakes, latents = normal(2, batch_size, *shape), normal(2, batch_size, 4, seed=1)
    found = jax.jit(mode_seeking)(*fakes, *latents)
    apart, steps = (np.abs(v[1].astype(np.float64) - v[0]).reshape(batch_size, -1).mean(1) for v in (fakes, latents))
    np.testing.assert_allclose(found, 1 / (apart / steps + 1e-5), rtol=1e-5)


def test_mode_seeking_of_a_linear_generator_is_its_slope():
    latents, others = normal(5, 1), normal(5, 1, seed=1)
    found = mode_seeking(4.0 * latents, 4.0 * others, latents, others)
    np.testing.assert_allclose(found, np.full(5, 1 / (4.0 + 1e-5)), rtol=1e-5)
    slope = jax.grad(lambda g: mode_seeking(g * latents, g * others, latents, others).mean())(4.0)
    np.testing.assert_allclose(slope, -1 / (4.0 + 1e-5) ** 2, rtol=1e-4)  # more spread costs less


def test_mode_seeking_of_pytrees_averages_over_all_their_numbers():
    fake = {"a": jnp.ones((2, 3)), "b": jnp.ones((2, 1), jnp.bfloat16)}
    other = {"a": jnp.zeros((2, 3)), "b": jnp.full((2, 1), 5.0, jnp.bfloat16)}
    found = mode_seeking(fake, other, jnp.ones((2, 2)), jnp.zeros((2, 2)))
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, np.full(2, 1 / ((3 * 1 + 4) / 4 + 1e-5)), rtol=1e-6)


def test_mode_seeking_where_nothing_differs():
    """Equal samples cost 1e5, equal latents nothing; the gradients are finite in both cases, and in both at once."""
    fake, other = jnp.array([[1.0], [1.0], [1.0]]), jnp.array([[1.0], [2.0], [1.0]])
    latents, others = jnp.array([[1.0], [1.0], [1.0]]), jnp.array([[2.0], [1.0], [1.0]])
    np.testing.assert_allclose(mode_seeking(fake, other, latents, others), [1e5, 0.0, 0.0], rtol=1e-5)
    slopes = jax.jit(jax.grad(lambda *v: mode_seeking(*v).sum(), (0, 1, 2, 3)))(fake, other, latents, others)
    assert np.isfinite(slopes).all()


def test_mode_seeking_checks_its_shapes():
    x = jnp.ones((3, 2))
    with pytest.raises(ValueError, match="same shape"):
        mode_seeking(x, x[:1], x, x)
    with pytest.raises(ValueError, match="as many"):
        mode_seeking(x, x, x[:1], x[:1])


@every_case
def test_path_lengths_of_a_linear_generator(batch_size, shape, key):
    """`|A^T y|` with the y of the same key, whose variance is one over the number of pixels."""
    matrix, latents = normal(int(np.prod(shape)), 4), normal(batch_size, 4, seed=1)
    found = jax.jit(lambda a, z: path_lengths(key, linear(a, shape), z))(matrix, latents)
    y = drawn(key, batch_size, *shape).reshape(batch_size, -1)
    expected = np.linalg.norm(y @ matrix, axis=1) / np.sqrt(pixels(shape))
    assert found.shape == (batch_size,)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@every_shape
def test_mean_squared_path_length_is_the_frobenius_norm(shape, key):
    """`E |J^T y|^2 = |A|_F^2 / pixels`, over 4,000 examples with a y of their own."""
    matrix = normal(int(np.prod(shape)), 4)
    lengths = jax.jit(lambda z: path_lengths(key, linear(matrix, shape), z))(jnp.zeros((4000, 4)))
    np.testing.assert_allclose(np.mean(np.asarray(lengths) ** 2), np.sum(matrix**2) / pixels(shape), rtol=0.05)


def test_path_lengths_of_a_curved_generator_are_each_examples_own(key):
    """`G(z) = tanh(A z)` has the Jacobian `diag(1 - G(z)^2) A`."""
    matrix, latents = normal(6, 4), normal(5, 4, seed=1)
    found = jax.jit(lambda z: path_lengths(key, lambda z: jnp.tanh(z @ matrix.T), z))(latents)
    expected = np.linalg.norm((drawn(key, 5, 6) * (1 - np.tanh(latents @ matrix.T) ** 2)) @ matrix, axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_path_lengths_of_pytrees_in_half_precision(key):
    """Latents at two places and samples of two kinds, each with a y and a number of pixels of its own."""
    latents = {"a": jnp.zeros((4000, 1), jnp.bfloat16), "b": jnp.zeros((4000, 2))}

    def generator(z):
        image = jnp.tile(3.0 * z["a"][:, None, None], (1, 2, 2, 1))  # four pixels of slope 3
        return [image, z["b"] * jnp.array([[1.0, 2.0]])]

    lengths = jax.jit(lambda z: path_lengths(key, generator, z))(latents)
    assert lengths.dtype == jnp.float32
    np.testing.assert_allclose(np.mean(np.asarray(lengths) ** 2), 9.0 + 1.0 + 4.0, rtol=0.05)


def test_penalty_and_running_mean_of_path_lengths():
    lengths = jnp.array([1.0, 3.0])
    np.testing.assert_allclose(path_length_penalty(lengths, 2.5), [2.25, 0.25])
    np.testing.assert_allclose(move_path_length(1.0, lengths), 1.01)
    mean, expected = jnp.zeros(()), 0.0
    for value in normal(6, 3) + 2:
        mean, expected = move_path_length(mean, value), 0.99 * expected + 0.01 * value.mean()
    np.testing.assert_allclose(mean, expected, rtol=1e-5)

    def moved_first(lengths):
        return path_length_penalty(lengths, move_path_length(jnp.zeros(()), lengths, rate=0.5)).sum()

    np.testing.assert_allclose(jax.grad(moved_first)(lengths), [0.0, 4.0])  # 2 (length - 1): the mean is held


def test_second_order_through_the_librarys_convolutions(key):
    """Lengths of a linear generator grow in proportion to its kernel: `d (s |J^T y| - a)^2 / ds` in closed form."""
    latents, kernel = normal(3, 2, 2, 4), normal(3, 3, 4, 2, seed=1)

    def lengths(scale):
        return path_lengths(key, lambda z: transposed_convolve(z, scale * kernel, 2), latents)

    found = jax.jit(jax.grad(lambda scale: path_length_penalty(lengths(scale), 0.5).sum()))(1.5)
    one = np.asarray(lengths(1.0), np.float64)
    np.testing.assert_allclose(found, np.sum(2 * one * (1.5 * one - 0.5)), rtol=1e-4)


@pytest.mark.parametrize("size", [0.0, 1e-25, 1e-10])
def test_generators_that_do_not_move_have_finite_gradients(size, key):
    """At zero length the slope of a norm is infinite; at a tiny one its square underflows."""
    matrix = jnp.full((6, 4), size)

    def penalty(matrix):
        return path_length_penalty(path_lengths(key, linear(matrix, (6,)), jnp.ones((3, 4))), 1.0).mean()

    value, slope = jax.jit(jax.value_and_grad(penalty))(matrix)
    np.testing.assert_allclose(value, 1.0, rtol=1e-6)
    assert np.isfinite(slope).all()


def test_generators_that_do_not_keep_the_batch_raise(key):
    with pytest.raises(ValueError, match="batch"):
        path_lengths(key, lambda z: jnp.sum(z, axis=0), jnp.ones((3, 2)))
    with pytest.raises(ValueError, match="batch"):
        path_lengths(key, lambda z: z["a"], {"a": jnp.ones((3, 2)), "b": jnp.ones((2, 2))})
