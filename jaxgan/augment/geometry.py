"""Random affine transformations of images: their parameters, their matrices, and the images resampled."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxgan.augment.images import widened


class Geometry(NamedTuple):
    """What moves each image of a batch, in the order in which it is done.

    Attributes:
      flip: 1 where left and right are exchanged, else 0.
      turns: quarter turns, counter-clockwise, 0 to 3.
      shift: shares of the width and of the height, to the right and down, `[batch, 2]`; rounded to whole pixels.
      scale: enlargement.
      rotation: angle, counter-clockwise, radians.
      stretch: enlargement of the width, and reduction of the height.
      last_rotation: angle, counter-clockwise, radians.
      last_shift: shares of the width and of the height, to the right and down, `[batch, 2]`.
    """

    flip: jax.Array
    turns: jax.Array
    shift: jax.Array
    scale: jax.Array
    rotation: jax.Array
    stretch: jax.Array
    last_rotation: jax.Array
    last_shift: jax.Array


def draw_geometry(key: jax.Array, strength: jax.Array | float, batch: int) -> Geometry:
    """Draws what moves each image; every transformation has the probability `strength`.

    A flip or a turn that is chosen may be that by nothing: `U{0, 1}` and `U{0, 1, 2, 3}` are drawn, as in the paper.
    The two rotations together have the probability `strength`.
    """
    k_chance, k_uniform, k_normal = jax.random.split(key, 3)
    # Of each kind all at once: every call of the generator is some hundred operations to compile.
    chance = jax.random.uniform(k_chance, (batch, 8))
    uniform = jax.random.uniform(k_uniform, (batch, 6))
    normal = jax.random.normal(k_normal, (batch, 4))
    of_two_rotations = 1.0 - jnp.sqrt(jnp.maximum(1.0 - strength, 0.0))
    angle = jnp.pi * (2.0 * uniform[:, 2:4] - 1.0)
    return Geometry(
        flip=jnp.where(chance[:, 0] < strength, jnp.floor(2.0 * uniform[:, 0]), 0.0),
        turns=jnp.where(chance[:, 1] < strength, jnp.floor(4.0 * uniform[:, 1]), 0.0).astype(jnp.int32),
        shift=jnp.where(chance[:, 2:3] < strength, 0.125 * (2.0 * uniform[:, 4:6] - 1.0), 0.0),
        scale=jnp.where(chance[:, 3] < strength, jnp.exp2(0.2 * normal[:, 0]), 1.0),
        rotation=jnp.where(chance[:, 4] < of_two_rotations, angle[:, 0], 0.0),
        stretch=jnp.where(chance[:, 5] < strength, jnp.exp2(0.2 * normal[:, 1]), 1.0),
        last_rotation=jnp.where(chance[:, 6] < of_two_rotations, angle[:, 1], 0.0),
        last_shift=jnp.where(chance[:, 7:8] < strength, 0.125 * normal[:, 2:4], 0.0),
    )


def inverse_matrices(geometry: Geometry, height: int, width: int) -> jax.Array:
    """Where each pixel comes from: `[batch, 3, 3]`, from `(x, y, 1)` after to before, about the image's centre.

    x counts pixels to the right, y downwards. Flips, quarter turns and whole shifts are exact.
    """
    one = jnp.ones_like(geometry.scale)
    zero = jnp.zeros_like(one)

    def matrix(a, b, c, d, x=zero, y=zero):
        return jnp.stack([a, b, x, c, d, y, zero, zero, one], axis=-1).reshape(-1, 3, 3)

    def undone(cosine, sine, by_x, by_y, x=zero, y=zero):
        """The inverse of a shift by (-x, -y), an enlargement by (1 / by_x, 1 / by_y) and a turn, in this order."""
        return matrix(by_x * cosine, -by_x * sine, by_y * sine, by_y * cosine, x, y)

    size = jnp.array([[width, height]], jnp.float32)
    quarter = jnp.array([1.0, 0.0, -1.0, 0.0])
    shift, last_shift = jnp.round(geometry.shift * size), geometry.last_shift * size
    smaller, narrower = 1.0 / geometry.scale, 1.0 / geometry.stretch
    angle, last_angle = geometry.rotation, geometry.last_rotation
    inverses = [
        undone(quarter[geometry.turns], quarter[geometry.turns - 1], 1.0 - 2.0 * geometry.flip, one),
        undone(jnp.cos(angle), jnp.sin(angle), smaller, smaller, -shift[:, 0], -shift[:, 1]),
        undone(jnp.cos(last_angle), jnp.sin(last_angle), narrower, geometry.stretch),
        matrix(one, zero, zero, one, -last_shift[:, 0], -last_shift[:, 1]),
    ]
    # Not a matmul, which accelerators round to fewer bits than coordinates need.
    return functools.reduce(lambda a, b: jnp.sum(a[:, :, :, None] * b[:, None], axis=2), inverses)


def resample(x: jax.Array, inverse: jax.Array) -> jax.Array:
    """Images as an affine transformation leaves them: bilinear between pixels, mirrored beyond the edges.

    Linear in x. The mirror's axis goes through the outermost pixels' centres, and there is one behind every mirror.

    Args:
      x: images `[batch, height, width, channels]`, floating point.
      inverse: from `inverse_matrices`.

    Returns:
      Images of the shape of x, in float32 or wider.
    """
    wide = widened(x)
    _, height, width, _ = wide.shape
    middle_y, middle_x = (height - 1) / 2, (width - 1) / 2
    rows = (jnp.arange(height, dtype=jnp.float32) - middle_y)[None, :, None]
    columns = (jnp.arange(width, dtype=jnp.float32) - middle_x)[None, None, :]

    def source(row: int, middle: float) -> jax.Array:
        a, b, c = jnp.moveaxis(inverse[:, row], -1, 0)[..., None, None]
        return a * columns + b * rows + c + middle

    return jax.vmap(_bilinear)(wide, source(1, middle_y), source(0, middle_x))


def _bilinear(image: jax.Array, y: jax.Array, x: jax.Array) -> jax.Array:
    """One image at the places (y, x), `[height, width]` each."""
    height, width, channels = image.shape
    pixels = image.reshape(height * width, channels)
    top, left = jnp.floor(y), jnp.floor(x)
    down, right = (y - top)[..., None].astype(image.dtype), (x - left)[..., None].astype(image.dtype)
    top, left = top.astype(jnp.int32), left.astype(jnp.int32)

    def at(row: jax.Array, column: jax.Array) -> jax.Array:
        index = _mirrored(row, height) * width + _mirrored(column, width)
        return pixels.at[index].get(mode="promise_in_bounds")

    upper = (1 - right) * at(top, left) + right * at(top, left + 1)
    lower = (1 - right) * at(top + 1, left) + right * at(top + 1, left + 1)
    return (1 - down) * upper + down * lower


def _mirrored(index: jax.Array, size: int) -> jax.Array:
    """Indices brought into [0, size): -1 is 1, `size` is `size - 2`."""
    period = max(2 * (size - 1), 1)
    index = index % period
    return jnp.minimum(index, period - index)
