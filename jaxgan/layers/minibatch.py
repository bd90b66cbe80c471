"""Layers that show a discriminator how alike the examples of a batch are, so that it sees a collapse.

They couple examples: a logit then depends on the whole group. Gradient penalties of such a critic hold the gradients of
other examples' logits too, and are no longer those of the papers; samples are judged among themselves, data too.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

EPSILON = 1e-8
"""Added to the variance under the root, whose slope at zero is infinite; the authors' value."""


class MinibatchStddev(nn.Module):
    """One more channel: how far the examples of a group are spread, `[B, ..., C] -> [B, ..., C + 1]`.

    `mean_i sqrt(var_group(x_i) + 1e-8)`, over all dimensions i of an example, the same number for all pixels of all
    examples of a group. Groups are of neighbours, so that they are the same on one device and on several that share a
    batch; the authors' code takes every `B / group_size`-th example.

    Attributes:
      group_size: examples in a group, or the whole batch where that is smaller.

    References:
      Karras et al., Progressive Growing of GANs for Improved Quality, Stability, and Variation,
      https://arxiv.org/abs/1710.10196, 2018, Section 3.
    """

    group_size: int = 4

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        batch = x.shape[0]
        size = min(self.group_size, batch)
        if batch % size:
            raise ValueError(f"a batch of {batch} does not split into groups of {size}: change one of them")
        groups = x.astype(jnp.promote_types(x.dtype, jnp.float32)).reshape(batch // size, size, -1)
        spread = jnp.mean(jnp.sqrt(jnp.var(groups, axis=1) + EPSILON), axis=1)
        channel = jnp.repeat(spread.astype(x.dtype), size).reshape(batch, *(1,) * (x.ndim - 1))
        return jnp.concatenate([x, jnp.broadcast_to(channel, (*x.shape[:-1], 1))], axis=-1)


class MinibatchDiscrimination(nn.Module):
    """As many more numbers as there are kernels: how close an example is to the others, `[B, n] -> [B, n + kernels]`.

    `o_ik = sum_{j != i} exp(-|M_ik - M_jk|_1)`, `M_ik = x_i T_k`, a vector of `size` numbers. The paper's sum has the
    term `j = i` too, which is 1; the authors' code and torchgan leave it out, as here, and the code adds a bias. Memory
    and time grow with the square of the batch.

    Attributes:
      kernels: numbers added to each example, `B` in the paper.
      size: dimensions in which examples are compared by each, `C` in the paper.
      kernel_init: initialiser of T, `[n, kernels * size]`.

    References:
      Salimans et al., Improved Techniques for Training GANs, https://arxiv.org/abs/1606.03498, 2016, Section 3.2.
    """

    kernels: int
    size: int = 5
    kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        images = nn.Dense(self.kernels * self.size, use_bias=False, kernel_init=self.kernel_init)(x)
        images = images.reshape(-1, self.kernels, self.size)
        distances = jnp.sum(jnp.abs(jnp.expand_dims(images, 0) - jnp.expand_dims(images, 1)), axis=-1)
        closeness = jnp.sum(jnp.exp(-distances), axis=0) - 1.0  # each example is at distance 0 from itself
        return jnp.concatenate([x, closeness], axis=-1)
