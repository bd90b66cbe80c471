"""Images made larger by whole pixels, and halved by their means."""

import jax
import jax.numpy as jnp


def enlarge(x: jax.Array, block: int = 2) -> jax.Array:
    """Each pixel as a square of `block x block`: `[B,H,W,C] -> [B,H*block,W*block,C]`."""
    batch, height, width, channels = x.shape
    squares = jnp.broadcast_to(x[:, :, None, :, None], (batch, height, block, width, block, channels))
    return squares.reshape(batch, height * block, width * block, channels)


def halve(x: jax.Array) -> jax.Array:
    """Means of squares of 2 x 2 pixels, of even height and width: `[B,H,W,C] -> [B,H/2,W/2,C]`."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
    # Not x.mean((2, 4)): XLA's sums over two short axes take a CPU twice as long.
    return 0.25 * (x[:, :, 0, :, 0] + x[:, :, 0, :, 1] + x[:, :, 1, :, 0] + x[:, :, 1, :, 1])
