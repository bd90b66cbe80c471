"""What an augmentation takes."""

import jax
import jax.numpy as jnp

from jaxgan.errors import InputError


def check_images(x: jax.Array, channels: tuple[int, ...] = ()) -> None:
    """Raises an InputError for what is no batch of floating-point images, or has other numbers of channels."""
    if jnp.ndim(x) != 4 or not jnp.issubdtype(x.dtype, jnp.floating):
        raise InputError(
            f"augmentation of {x.dtype}{list(jnp.shape(x))}: expected floating-point images "
            "[batch, height, width, channels]; take the augmentation away, or give images"
        )
    if channels and x.shape[3] not in channels:
        raise InputError(
            f"augmentation of images {list(x.shape)}: expected {' or '.join(map(str, channels))} channels, "
            f"got {x.shape[3]}; give such images, or take diff_augment, for any number"
        )


def widened(x: jax.Array) -> jax.Array:
    """Images in float32 or wider."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
