"""Random affine transformations of colours."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxgan.augment.images import widened


class Colours(NamedTuple):
    """What changes each image's colours, `[batch]`, in the order in which it is done.

    Attributes:
      brightness: added to all channels.
      contrast: factor of all channels.
      flip: 1 where light and dark are exchanged, else 0.
      hue: angle about the axis of greys, radians.
      saturation: factor of distances from that axis.
    """

    brightness: jax.Array
    contrast: jax.Array
    flip: jax.Array
    hue: jax.Array
    saturation: jax.Array


def draw_colours(key: jax.Array, strength: jax.Array | float, batch: int) -> Colours:
    """Draws what changes each image's colours; every transformation has the probability `strength`.

    A flip that is chosen may be none: `U{0, 1}` is drawn, as in the paper.
    """
    k_chance, k_uniform, k_normal = jax.random.split(key, 3)
    chosen = jax.random.uniform(k_chance, (5, batch)) < strength
    uniform = jax.random.uniform(k_uniform, (2, batch))
    normal = jax.random.normal(k_normal, (3, batch))
    return Colours(
        brightness=jnp.where(chosen[0], 0.2 * normal[0], 0.0),
        contrast=jnp.where(chosen[1], jnp.exp2(0.5 * normal[1]), 1.0),
        flip=jnp.where(chosen[2], jnp.floor(2.0 * uniform[0]), 0.0),
        hue=jnp.where(chosen[3], jnp.pi * (2.0 * uniform[1] - 1.0), 0.0),
        saturation=jnp.where(chosen[4], jnp.exp2(normal[2]), 1.0),
    )


def recolour(x: jax.Array, colours: Colours) -> jax.Array:
    """Images in other colours: one affine transformation of `(red, green, blue)`.

    All five leave the axis of greys in place, so their product needs no matrices. A colour is its mean over channels m,
    and what is left, `x - m`. With brightness b, contrast k, flip f = 1 or -1, hue h and saturation s:

        f k (m + b)  +  s k (cos(h) (x - m) + sin(h) n),   n = (blue - green, red - blue, green - red) / sqrt(3)

    which is the paper's 4x4 matrix applied. In grey images `x - m` and n are zero.

    Args:
      x: images `[batch, height, width, 1 or 3]`, floating point.
      colours: what to do with each.

    Returns:
      Images of the shape of x, in float32 or wider.
    """
    wide = widened(x)
    offset, contrast, flip, hue, saturation = (v[:, None, None, None].astype(wide.dtype) for v in colours)
    sign, chroma = 1 - 2 * flip, saturation * contrast
    of_grey, of_colour = sign * contrast, chroma * jnp.cos(hue)
    grey = jnp.mean(wide, axis=-1, keepdims=True)
    normal = (jnp.roll(wide, 1, axis=-1) - jnp.roll(wide, -1, axis=-1)) / jnp.sqrt(3.0).astype(wide.dtype)
    # x, not x - m: where nothing is changed, it is added to zeros alone and stays exactly what it was.
    return of_colour * wide + (of_grey - of_colour) * grey + chroma * jnp.sin(hue) * normal + of_grey * offset
