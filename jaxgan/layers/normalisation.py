"""Normalisation of what comes out of a layer: by the pixel, or by the batch and then as a condition says."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.layers.dense import Dense

EPSILON = 1e-8
"""Added to the mean square under the root; the authors' value."""


def pixel_norm(x: jax.Array) -> jax.Array:
    """Divides the channels of each pixel by their root mean square: `[..., C] -> [..., C]`, in the dtype of x.

    `x / sqrt(mean_c(x_c^2) + 1e-8)`, the mean in float32. It learns nothing.

    References:
      Karras et al., Progressive Growing of GANs for Improved Quality, Stability, and Variation,
      https://arxiv.org/abs/1710.10196, 2018, Section 4.2.
    """
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    return (wide * jax.lax.rsqrt(jnp.mean(wide**2, axis=-1, keepdims=True) + EPSILON)).astype(x.dtype)


class ConditionalBatchNorm(nn.Module):
    """Batch normalisation whose scale and shift depend on the example, `[B, ..., C] -> [B, ..., C]`.

    `y = (1 + cond W_scale) (x - mean) / sqrt(variance + epsilon) + cond W_shift`. With a one-hot label for the
    condition that is a scale and a shift for each class. Both kernels start at zero, so the layer starts as plain
    normalisation: a scale that starts at zero instead holds the layers before it still.

    Attributes:
      momentum: share of the running statistics that a batch leaves as they are.
      epsilon: added to the variance under the root.
      axis_name: mapped axis over which batch statistics are taken together (`pmap`).

    References:
      Dumoulin et al., A learned representation for artistic style, https://arxiv.org/abs/1610.07629, 2017, Eq. 5;
      de Vries et al., Modulating early visual processing by language, https://arxiv.org/abs/1707.00683, 2017.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, cond: jax.Array, train: bool = False) -> jax.Array:
        """Normalises x with the condition `cond`, `[B, n]`; by the running statistics unless in training."""
        wide = jnp.promote_types(x.dtype, jnp.float32)

        def affine(name):
            layer = Dense(x.shape[-1], use_bias=False, kernel_init=nn.initializers.zeros, name=name)
            return jnp.expand_dims(layer(cond).astype(wide), range(1, x.ndim - 1))

        free = {"use_bias": False, "use_scale": False, "axis_name": self.axis_name}
        normal = nn.BatchNorm(not train, momentum=self.momentum, epsilon=self.epsilon, **free)
        # In float32, like the sums over pixels that are the gradients of the scale and the shift.
        return ((1 + affine("scale")) * normal(x).astype(wide) + affine("shift")).astype(x.dtype)
