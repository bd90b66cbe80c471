"""Dropout whose mask costs little."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = np.uint32(0x1BD11BDA)  # of the key schedule, "C240" in the paper


def random_words(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Uniform 32-bit words, bit for bit those of `jax.random.bits`, several times faster on a CPU.

    JAX runs Threefry's twenty rounds as a loop there, each of which reads and writes the whole array; here they are one
    expression. Other generators' keys are left to JAX.

    Args:
      key: a key of JAX's default generator, or any other.
      shape: shape of the words.

    Returns:
      uint32 of the shape.

    References:
      Salmon et al., Parallel random numbers: as easy as 1, 2, 3, 2011, Threefry-2x32-20.
    """
    size = math.prod(shape)
    default = jax.random.key_impl(key) == "threefry2x32" and jax.config.jax_threefry_partitionable
    if not default or size % 2 or size >= 2**32:
        return jax.random.bits(key, shape)
    # Each word is the hash of its own position. A loop, if only over two halves, is a program of its own: fused with
    # what uses the words, they would be hashed again for every use, and one by one where that reads across rows.
    half = size // 2
    words = jax.lax.map(lambda start: _hash(key, start + jax.lax.iota(jnp.uint32, half)), jnp.uint32([0, half]))
    return words.reshape(shape)


def _hash(key: jax.Array, position: jax.Array) -> jax.Array:
    """Threefry-2x32-20 of numbers of 64 bits whose upper half is zero; both words of the hash in one."""
    k0, k1 = jax.random.key_data(key)
    schedule = (k0, k1, k0 ^ k1 ^ _PARITY)
    a, b = k0, position + k1
    for turn in range(5):
        for rotation in _ROTATIONS[turn % 2]:
            a = a + b
            b = a ^ ((b << rotation) | (b >> (32 - rotation)))
        a = a + schedule[(turn + 1) % 3]
        b = b + schedule[(turn + 2) % 3] + np.uint32(turn + 1)
    return a ^ b


class Dropout(nn.Module):
    """Sets a share of the inputs to zero and divides the rest by what is left, as Flax's own does with the same key.

    Attributes:
      rate: share of inputs set to zero, in [0, 1].
      deterministic: whether the inputs are left as they are.

    References:
      Srivastava et al., Dropout: a simple way to prevent neural networks from overfitting, 2014.
    """

    rate: float
    deterministic: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        if self.deterministic or self.rate == 0.0:
            return x
        keep = 1.0 - self.rate
        # 23 bits are the fraction of a uniform number in [0, 1), which is kept where it is below `keep`.
        fraction = random_words(self.make_rng("dropout"), x.shape) >> 9
        kept = fraction < np.uint32(math.ceil(np.float32(keep) * 2**23))
        return jnp.where(kept, x / keep, jnp.zeros_like(x)) if keep > 0 else jnp.zeros_like(x)
