"""Pictures: the values of their pixels, where each sample stands, and which way is up."""

import io

import numpy as np
import pytest
from PIL import Image

from jaxgan import render
from jaxgan.render import GAP, image_grid, png, point_density


def constant(*values, height=2, width=3, channels=1):
    """Images of one value each."""
    return np.stack([np.full((height, width, channels), value, np.float32) for value in values])


def cells(picture, height, width, rows, columns):
    """The images of a grid, in reading order, and what lies between them; the enlargement is taken back."""
    factor = picture.shape[1] // (columns * (width + 1) + 1)
    assert picture.shape[:2] == ((rows * (height + 1) + 1) * factor, (columns * (width + 1) + 1) * factor)
    small = picture[::factor, ::factor]
    np.testing.assert_array_equal(small.repeat(factor, 0).repeat(factor, 1), picture)  # by a whole factor
    between = np.ones(small.shape[:2], bool)
    images = []
    for row in range(rows):
        for column in range(columns):
            top, left = row * (height + 1) + 1, column * (width + 1) + 1
            images.append(small[top : top + height, left : left + width])
            between[top : top + height, left : left + width] = False
    return images, small[between]


@pytest.mark.parametrize(
    "value, pixel",
    [(-1.0, 0), (1.0, 255), (0.0, 128), (-0.5, 64), (1 / 127.5 - 1, 1), (1.5, 255), (-7.0, 0)],
)
def test_values_of_an_image_grid(value, pixel):
    """[-1, 1] to [0, 255], rounded (-0.5 is 63.75); what lies outside is clipped and does not wrap round."""
    (image,), between = cells(image_grid(constant(value), columns=1), 2, 3, 1, 1)
    np.testing.assert_array_equal(image, np.full((2, 3, 1), pixel))
    np.testing.assert_array_equal(between, np.full(between.shape, GAP))


@pytest.mark.parametrize("count, columns, rows", [(1, 8, 1), (8, 8, 1), (9, 8, 2), (5, 2, 3), (6, 2, 3), (3, 1, 3)])
@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_grid_in_reading_order(count, columns, rows, channels):
    values = np.random.default_rng(0).integers(0, 256, (count, 4, 5, channels))
    picture = image_grid(values / 127.5 - 1, columns=columns)
    assert picture.dtype == np.uint8 and picture.shape[2] == channels
    images, between = cells(picture, 4, 5, rows, columns)
    np.testing.assert_array_equal(images[:count], values)
    for missing in images[count:]:
        np.testing.assert_array_equal(missing, np.full((4, 5, channels), GAP))
    np.testing.assert_array_equal(between, np.full(between.shape, GAP))


@pytest.mark.parametrize("side, factor", [(8, 640 // 73), (28, 2), (64, 1), (200, 1)])
def test_an_image_grid_is_enlarged_towards_its_side_and_never_reduced(side, factor):
    picture = image_grid(np.zeros((8, side, side, 1)))
    assert picture.shape == ((side + 2) * factor, (8 * (side + 1) + 1) * factor, 1)
    assert factor == 1 or picture.shape[1] <= render.SIDE


def test_an_image_grid_takes_half_precision():
    import jax.numpy as jnp

    images = jnp.linspace(-1, 1, 24).reshape(1, 4, 6, 1).astype(jnp.bfloat16)
    np.testing.assert_array_equal(image_grid(np.asarray(images)), image_grid(np.asarray(images).astype(np.float32)))


def small_density(points, extent=1.0, bins=4):
    picture = point_density(np.asarray(points, np.float32).reshape(-1, 2), extent=extent, bins=bins)
    factor = render.SIDE // bins
    assert picture.shape == (bins * factor, bins * factor, 1) and picture.dtype == np.uint8
    small = picture[::factor, ::factor, 0]
    np.testing.assert_array_equal(small.repeat(factor, 0).repeat(factor, 1), picture[:, :, 0])
    return small


@pytest.mark.parametrize(
    "point, row, column",
    [
        ((0.9, 0.9), 0, 3),  # up and to the right
        ((-0.9, 0.9), 0, 0),
        ((0.9, -0.9), 3, 3),
        ((-0.9, -0.9), 3, 0),
        ((0.1, 0.9), 0, 2),
        ((0.9, 0.1), 1, 3),
    ],
)
def test_the_second_coordinate_is_up(point, row, column):
    expected = np.zeros((4, 4))
    expected[row, column] = 255  # one point alone is the brightest
    np.testing.assert_array_equal(small_density([point]), expected)
    np.testing.assert_array_equal(small_density(10 * np.array(point), extent=10.0), expected)


def test_brightness_is_the_logarithm_of_the_number():
    points = [(0.9, 0.9)] * 7 + [(-0.9, -0.9)] * 3 + [(0.9, -0.9)] + [(5.0, 0.0)] * 50  # the last are outside
    expected = np.zeros((4, 4))
    expected[0, 3], expected[3, 0], expected[3, 3] = 255, 170, 85  # log2 of 8, 4, 2: thirds
    np.testing.assert_array_equal(small_density(points), expected)


@pytest.mark.parametrize("points", [[], [(3.0, 0.0)]])
def test_no_point_to_be_seen_is_black(points):
    np.testing.assert_array_equal(small_density(points), np.zeros((4, 4)))


@pytest.mark.parametrize("channels, mode", [(1, "L"), (3, "RGB")])
def test_png_and_back(channels, mode):
    picture = np.random.default_rng(0).integers(0, 256, (7, 5, channels), np.uint8)
    with Image.open(io.BytesIO(png(picture))) as read:
        assert read.format == "PNG" and read.mode == mode
        np.testing.assert_array_equal(np.asarray(read).reshape(7, 5, channels), picture)
