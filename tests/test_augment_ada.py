"""ADA's transformations: each alone and all together against NumPy and SciPy, and how often they are drawn."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from scipy.spatial.transform import Rotation

from jaxgan.augment import ada
from jaxgan.augment.geometry import Geometry, draw_geometry, inverse_matrices, resample
from jaxgan.augment.recolour import Colours, draw_colours, recolour
from jaxgan.errors import InputError

STILL = Geometry(flip=0, turns=0, shift=0.0, scale=1.0, rotation=0.0, stretch=1.0, last_rotation=0.0, last_shift=0.0)
UNCHANGED = Colours(brightness=0.0, contrast=1.0, flip=0, hue=0.0, saturation=1.0)
VECTORS = ("shift", "last_shift")


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def geometry(batch, **forced):
    """Nothing moves but what is forced, alike in all images."""

    def whole(name, value):
        dtype = np.int32 if name == "turns" else np.float32
        return np.broadcast_to(np.asarray(value, dtype), (batch, 2) if name in VECTORS else (batch,))

    return Geometry(*(whole(name, value) for name, value in STILL._replace(**forced)._asdict().items()))


@jax.jit
def carry_out(x, geometry):
    return resample(x, inverse_matrices(geometry, *x.shape[1:3]))


def moved(x, **forced):
    return np.asarray(carry_out(x, geometry(x.shape[0], **forced)))


def is_binomial(count, n, p):
    """Whether a count of n trials is within five standard deviations."""
    return abs(count - n * p) <= 5 * np.sqrt(n * p * (1 - p))


@pytest.mark.parametrize("shape", [(2, 8, 8, 3), (2, 5, 9, 1), (1, 1, 6, 3)], ids=str)
def test_what_moves_whole_pixels_is_exact(shape):
    x = normal(*shape)
    height, width = shape[1:3]
    np.testing.assert_array_equal(moved(x), x)
    np.testing.assert_array_equal(moved(x, flip=1), x[:, :, ::-1])
    np.testing.assert_array_equal(moved(x, turns=2), x[:, ::-1, ::-1])
    right, down = round(0.13 * width), round(-0.2 * height)  # the mirror's axis is the edge pixels' centres
    far = [(0, 0), (height, height), (width, width), (0, 0)]
    padded = np.pad(x, far, mode="reflect")
    expected = padded[:, height - down : 2 * height - down, width - right : 2 * width - right]
    np.testing.assert_array_equal(moved(x, shift=[0.13, -0.2]), expected)


@pytest.mark.parametrize("size", [8, 7])
def test_quarter_turns_are_rot90(size):
    x = normal(2, size, size, 3)
    for turns in range(4):
        expected = np.rot90(x, turns, axes=(1, 2))
        np.testing.assert_array_equal(moved(x, turns=turns), expected)
        for name in ("rotation", "last_rotation"):
            np.testing.assert_allclose(moved(x, **{name: turns * np.pi / 2}), expected, atol=1e-5)


def test_transformations_follow_one_another():
    """Points moved forwards, one transformation at a time, are brought back by the inverse."""
    height, width = 16, 24
    drawn = draw_geometry(jax.random.key(3), 1.0, 50)
    inverse = np.asarray(jax.jit(inverse_matrices, static_argnums=(1, 2))(drawn, height, width), np.float64)
    start = np.random.default_rng(0).uniform(-10, 10, (50, 2))
    x, y = start.T
    d = Geometry(*(np.asarray(v, np.float64) for v in drawn))

    def turned(x, y, angle):  # counter-clockwise for who looks at an image, whose y points down
        return np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x

    x = np.where(d.flip == 1, -x, x)
    x, y = turned(x, y, d.turns * np.pi / 2)
    x, y = x + np.round(d.shift[:, 0] * width), y + np.round(d.shift[:, 1] * height)
    x, y = turned(x * d.scale, y * d.scale, d.rotation)
    x, y = turned(x * d.stretch, y / d.stretch, d.last_rotation)
    x, y = x + d.last_shift[:, 0] * width, y + d.last_shift[:, 1] * height
    found = np.einsum("bij,bj->bi", inverse, np.stack([x, y, np.ones(50)], axis=1))
    np.testing.assert_allclose(found, np.concatenate([start, np.ones((50, 1))], axis=1), atol=1e-3)


@pytest.mark.parametrize("shape", [(12, 10, 11, 2), (12, 16, 7, 1)], ids=str)
def test_any_affine_transformation_is_scipys(shape):
    """Order 1, "mirror", every pixel, those from far beyond the edges too."""
    x, (batch, height, width, channels) = normal(*shape), shape
    inverse = np.asarray(inverse_matrices(draw_geometry(jax.random.key(5), 1.0, batch), height, width))
    found = np.asarray(jax.jit(resample)(x, inverse))
    swap = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1]])  # SciPy counts rows first
    middle = np.array([[1, 0, (height - 1) / 2], [0, 1, (width - 1) / 2], [0, 0, 1]])
    for image, matrix, result in zip(x.astype(np.float64), inverse.astype(np.float64), found, strict=True):
        matrix = middle @ swap @ matrix @ swap @ np.linalg.inv(middle)
        for channel in range(channels):
            expected = scipy.ndimage.affine_transform(image[..., channel], matrix, order=1, mode="mirror")
            np.testing.assert_allclose(result[..., channel], expected, atol=2e-4)


def colour_matrix(brightness, contrast, flip, hue, saturation):
    """The product of the paper's matrices, in homogeneous colours."""
    axis = np.ones(3) / np.sqrt(3)
    along = np.outer(axis, axis)
    linear = [
        np.eye(3) * contrast,
        np.eye(3) - 2 * flip * along,  # Householder's reflection
        Rotation.from_rotvec(hue * axis).as_matrix(),
        along + saturation * (np.eye(3) - along),
    ]
    matrix = np.eye(4)
    matrix[:3, 3] = brightness
    for factor in linear:
        step = np.eye(4)
        step[:3, :3] = factor
        matrix = step @ matrix
    return matrix


def test_colours_are_the_papers_matrices():
    x, drawn = normal(40, 3, 2, 3), draw_colours(jax.random.key(2), 1.0, 40)
    found = jax.jit(recolour)(x, drawn)
    for image, result, *numbers in zip(x, found, *(np.asarray(v, np.float64) for v in drawn), strict=True):
        matrix = colour_matrix(*numbers)
        np.testing.assert_allclose(result, image @ matrix[:3, :3].T + matrix[:3, 3], rtol=1e-4, atol=1e-5)


def test_grey_images_have_the_mean_of_the_matrix():
    x, drawn = normal(40, 3, 2, 1), draw_colours(jax.random.key(2), 1.0, 40)
    found = jax.jit(recolour)(x, drawn)
    for image, result, *numbers in zip(x, found, *(np.asarray(v, np.float64) for v in drawn), strict=True):
        row = colour_matrix(*numbers)[:3].mean(0)
        np.testing.assert_allclose(result, image * row[:3].sum() + row[3], rtol=1e-4, atol=1e-5)
        brightness, contrast, flip, _, _ = numbers
        np.testing.assert_allclose(result, (1 - 2 * flip) * contrast * (image + brightness), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "transform, dtype, strength",
    [(jax.jit, jnp.bfloat16, 0.0), (jax.jit, jnp.float32, jnp.zeros(())), (lambda f: f, jnp.float32, 0)],
    ids=["bfloat16", "array", "eager"],
)
def test_at_strength_zero_no_bit_changes(transform, dtype, strength, key):
    x = jnp.asarray(normal(5, 7, 6, 3), dtype).at[:, 0].set(-0.0)
    found = transform(ada)(key, strength, x)
    assert found.dtype == dtype and np.asarray(found).tobytes() == np.asarray(x).tobytes()


def test_at_strength_zero_the_arithmetic_is_exact(key):
    """Without the choice at the end of `ada`: so that images that nothing happens to stay as they are."""
    x = normal(50, 6, 7, 3)
    drawn, colours = draw_geometry(key, 0.02, 50), draw_colours(key, 0.02, 50)
    found = np.asarray(jax.jit(recolour)(carry_out(x, drawn), colours))
    still = ~np.any([*transformed(drawn, STILL).values(), *transformed(colours, UNCHANGED).values()], axis=0)
    assert 25 < still.sum() < 50
    np.testing.assert_array_equal(found[still], x[still])
    assert (found[~still] != x[~still]).any((1, 2, 3)).all()


def transformed(drawn, neutral):
    """Which images each transformation changes, `[transformations, batch]`; both rotations are one."""
    by_name = {
        name: (np.asarray(value) != getattr(neutral, name)).reshape(len(value), -1).all(1)
        for name, value in drawn._asdict().items()
    }
    if "last_rotation" in by_name:
        by_name["rotation"] |= by_name.pop("last_rotation")
    return by_name


BY_CHANCE = {"flip": 1 / 2, "turns": 3 / 4}  # of those that are chosen, how many are changed


@pytest.mark.parametrize("strength", [0.0, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("draw, neutral", [(draw_geometry, STILL), (draw_colours, UNCHANGED)], ids=["still", "colour"])
def test_each_transformation_has_the_probability_and_pairs_its_square(draw, neutral, strength):
    count = 4000
    found = transformed(jax.jit(draw, static_argnums=2)(jax.random.key(7), strength, count), neutral)
    shares = {name: strength * BY_CHANCE.get(name, 1.0) for name in found}
    assert all(is_binomial(found[name].sum(), count, shares[name]) for name in found)
    for a, b in itertools.combinations(found, 2):
        assert is_binomial((found[a] & found[b]).sum(), count, shares[a] * shares[b]), (a, b)


def test_distributions_are_those_of_the_paper():
    count = 4000
    g = draw_geometry(jax.random.key(8), 1.0, count)
    c = draw_colours(jax.random.key(9), 1.0, count)
    gaussian = [
        (np.log2(g.scale), 0.2),
        (np.log2(g.stretch), 0.2),
        (g.last_shift, 0.125),
        (c.brightness, 0.2),
        (np.log2(c.contrast), 0.5),
        (np.log2(c.saturation), 1.0),
    ]
    for values, std in gaussian:
        values = np.asarray(values)
        assert abs(values.mean()) < 5 * std / np.sqrt(values.size)
        np.testing.assert_allclose(values.std(), std, rtol=0.06)
        assert is_binomial((np.abs(values) > 2 * std).sum(), values.size, 0.0455)  # of a normal distribution
    for values, most in [(g.shift, 1 / 8), (g.rotation, np.pi), (g.last_rotation, np.pi), (c.hue, np.pi)]:
        values = np.asarray(values)
        assert np.abs(values).max() <= most
        assert is_binomial((values > most / 2).sum(), values.size, 1 / 4)
        assert is_binomial((values < -most / 2).sum(), values.size, 1 / 4)
    assert all(is_binomial((np.asarray(g.turns) == k).sum(), count, 1 / 4) for k in range(4))
    for vector in (g.shift, g.last_shift):  # both directions are drawn, and by themselves
        assert abs(np.corrcoef(np.asarray(vector).T)[0, 1]) < 0.1


@pytest.mark.parametrize("channels", [2, 4])
def test_images_that_are_neither_grey_nor_rgb_are_refused(channels, key):
    with pytest.raises(InputError, match=rf"expected 1 or 3 channels, got {channels}; [^\n]*$"):
        ada(key, 0.5, jnp.ones((2, 4, 4, channels)))
