"""Augmentation: what holds of every one, and DiffAugment's policies against NumPy."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxgan.augment import ada, colour, cutout, diff_augment, translation
from jaxgan.errors import InputError
from jaxgan.penalties import gradient_squared_norm

AUGMENTATIONS = {
    "colour": colour,
    "translation": translation,
    "cutout": cutout,
    "ada": lambda key, x: ada(key, 0.7, x),
}
every_augmentation = pytest.mark.parametrize("name", AUGMENTATIONS)


@functools.cache
def compiled(name):
    return jax.jit(AUGMENTATIONS[name])


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def is_binomial(count, n, p):
    """Whether a count of n trials is within five standard deviations."""
    return abs(count - n * p) <= 5 * np.sqrt(n * p * (1 - p))


@every_augmentation
def test_a_key_decides_everything(name, key):
    x = normal(6, 8, 8, 3)
    found = compiled(name)(key, x)
    np.testing.assert_array_equal(found, compiled(name)(key, x))
    assert (np.asarray(found) != np.asarray(compiled(name)(jax.random.key(1), x))).any()
    assert len(np.unique(np.asarray(compiled(name)(key, np.repeat(x[:1], 6, 0))), axis=0)) > 1  # each has its own


@every_augmentation
def test_an_example_does_not_depend_on_the_others(name, key):
    x, others = normal(6, 8, 8, 3), normal(6, 8, 8, 3, seed=1)
    others[2] = x[2]
    np.testing.assert_array_equal(compiled(name)(key, x)[2], compiled(name)(key, others)[2])


@every_augmentation
def test_a_population_is_a_vmap(name):
    keys, x = jax.random.split(jax.random.key(0), 3), normal(3, 6, 8, 8, 3)
    alone = [compiled(name)(k, images) for k, images in zip(keys, x, strict=True)]
    np.testing.assert_allclose(jax.jit(jax.vmap(AUGMENTATIONS[name]))(keys, x), alone, atol=1e-5)


@every_augmentation
def test_bfloat16_is_rounded_once(name, key):
    x = jnp.asarray(normal(6, 8, 8, 3), jnp.bfloat16)
    found = compiled(name)(key, x)
    assert found.dtype == jnp.bfloat16
    expected = np.asarray(compiled(name)(key, x.astype(jnp.float32)))
    np.testing.assert_allclose(np.asarray(found, np.float32), expected, rtol=2**-8, atol=1e-6)


@every_augmentation
@pytest.mark.parametrize("shape", [(2, 1, 1, 1), (3, 9, 4, 1)], ids=str)
def test_images_of_any_size(name, shape, key):
    found = compiled(name)(key, jnp.asarray(normal(*shape)))
    assert found.shape == shape and np.isfinite(found).all()


@every_augmentation
def test_it_is_affine(name, key):
    x, y = normal(6, 8, 8, 3), normal(6, 8, 8, 3, seed=1)
    of_x, of_y = compiled(name)(key, x), compiled(name)(key, y)
    np.testing.assert_allclose(compiled(name)(key, 3 * x - 2 * y), 3 * of_x - 2 * of_y, atol=1e-4)


@every_augmentation
def test_derivatives_of_both_orders(name, key):
    """What R1 needs: the slope in the weights of the squared slope in x, against differences."""
    with jax.enable_x64(True):
        x, weights = (normal(2, 4, 4, 3, seed=seed).astype(np.float64) for seed in (0, 1))

        def critic(weights, x):
            return jnp.sum(jnp.tanh(AUGMENTATIONS[name](key, x) * weights), axis=(1, 2, 3))

        @jax.jit
        def penalty(weights, x):
            return gradient_squared_norm(functools.partial(critic, weights), x).sum()

        check_grads(penalty, (weights, x), order=1, modes=["rev"], rtol=1e-4)
        assert penalty(weights, x) > 1e-2


@every_augmentation
@pytest.mark.parametrize("x", [np.ones((4, 8, 8), np.float32), np.ones((4, 8, 8, 3), np.uint8)], ids=["rank", "dtype"])
def test_what_are_no_images_is_refused(name, x, key):
    with pytest.raises(
        InputError, match=r"^augmentation of (float32\[4, 8, 8\]|uint8\[4, 8, 8, 3\]): expected [^\n]*$"
    ):
        AUGMENTATIONS[name](key, x)


def test_policies_come_in_order_with_keys_of_their_own(key):
    seen = []

    def policy(name):
        return lambda key, x: (seen.append((name, jax.random.key_data(key).tolist())), x + 1)[1]

    np.testing.assert_array_equal(diff_augment(policy("a"), policy("b"))(key, 3, jnp.zeros(2)), [2, 2])
    assert [name for name, _ in seen] == ["a", "b"] and seen[0][1] != seen[1][1]
    np.testing.assert_array_equal(diff_augment()(key, 3, jnp.zeros(2)), [0, 0])


def test_colour_by_its_three_numbers(key):
    """Each image's brightness, saturation and contrast are read off, and give all of its pixels."""
    x = normal(2000, 4, 6, 3)
    found = np.asarray(compiled("colour")(key, x), np.float64)

    def parts(x):
        mean = x.mean((1, 2, 3), keepdims=True)
        grey = x.mean(3, keepdims=True)
        return mean, grey - mean, x - grey

    def factor(after, before):
        return (after * before).sum((1, 2, 3), keepdims=True) / (before**2).sum((1, 2, 3), keepdims=True)

    (mean, grey, chroma), (new_mean, new_grey, new_chroma) = parts(x.astype(np.float64)), parts(found)
    brightness, contrast = new_mean - mean, factor(new_grey, grey)
    saturation = factor(new_chroma, chroma) / contrast
    np.testing.assert_allclose(found, mean + brightness + contrast * (grey + saturation * chroma), atol=1e-5)
    for values, low, high in [(brightness, -0.5, 0.5), (saturation, 0, 2), (contrast, 0.5, 1.5)]:
        assert low - 1e-5 <= values.min() < values.max() <= high + 1e-5
        std = (high - low) / np.sqrt(12)
        np.testing.assert_allclose(values.mean(), (low + high) / 2, atol=5 * std / np.sqrt(2000))
        np.testing.assert_allclose(values.std(), std, rtol=0.06)
    drawn = np.stack([brightness, saturation, contrast]).reshape(3, -1)
    assert np.abs(np.corrcoef(drawn) - np.eye(3)).max() < 0.12


@pytest.mark.parametrize("height, width, down, right", [(8, 8, 1, 1), (12, 5, 2, 1), (3, 20, 0, 3)])
def test_translations_are_rolls_with_zeros(height, width, down, right, key):
    """Twelve pixels give 1.5, so 2; all shifts are equally likely."""
    image, count = 1 + np.abs(normal(height, width, 2)), 1500
    found = np.asarray(jax.jit(translation)(key, np.repeat(image[None], count, 0)))
    shifts = list(itertools.product(range(-down, down + 1), range(-right, right + 1)))
    total = 0
    for dy, dx in shifts:
        expected = np.roll(image, (dy, dx), (0, 1))
        expected[: max(dy, 0)] = expected[height + min(dy, 0) :] = 0
        expected[:, : max(dx, 0)] = expected[:, width + min(dx, 0) :] = 0
        same = (found == expected).all((1, 2, 3)).sum()
        assert is_binomial(same, count, 1 / len(shifts))
        total += same
    assert total == count


@pytest.mark.parametrize("height, width", [(8, 8), (7, 5), (2, 9)])
def test_cutouts_are_rectangles_around_any_pixel(height, width, key):
    """Rows and columns that are cut, independent of each other, each as often as its centres are."""
    count = 1500
    kept = np.asarray(jax.jit(cutout)(key, jnp.full((count, height, width, 2), 3.0)))
    assert set(np.unique(kept)) == {0.0, 3.0}
    cut = kept == 0
    rows, columns = cut.any((2, 3)), cut.any((1, 3))
    np.testing.assert_array_equal(cut, (rows[:, :, None] & columns[:, None, :])[..., None] & np.ones(2, bool))
    for found, size in [(rows, height), (columns, width)]:
        length = (size + 1) // 2
        centres = range(size + 1) if length % 2 == 0 else range(size)
        expected = [tuple(c - length // 2 <= i < c - length // 2 + length for i in range(size)) for c in centres]
        for stretch in set(expected):
            assert is_binomial((found == stretch).all(1).sum(), count, expected.count(stretch) / len(expected))
    of_rows, of_columns = rows.sum(1), columns.sum(1)
    covariance = np.mean((of_rows - of_rows.mean()) * (of_columns - of_columns.mean()))
    assert abs(covariance) <= 5 * of_rows.std() * of_columns.std() / np.sqrt(count)
