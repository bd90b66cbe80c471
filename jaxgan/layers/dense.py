"""The dense layer, and biases whose gradients are summed in float32."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp


class Dense(nn.Module):
    """Flax's dense layer, `[..., n] -> [..., features]`, with `add_bias`.

    Attributes:
      features: number of outputs.
      use_bias: whether a bias is added to each.
      kernel_init: initialiser of the kernel, `[n, features]`.
    """

    features: int
    use_bias: bool = True
    kernel_init: Callable = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param("kernel", self.kernel_init, (x.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,)) if self.use_bias else None
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias)  # as Flax's own layers do
        y = x @ kernel
        return y if bias is None else add_bias(y, bias)


def add_bias(y: jax.Array, bias: jax.Array) -> jax.Array:
    """Adds `[features]` to `[..., features]`, in the dtype of y.

    The bias's gradient is a sum over examples and pixels. In bfloat16 a sum of equal signs stops at 256 times its
    terms, and XLA does take it in the dtype it is given, so it is given float32.
    """
    wide = jnp.promote_types(y.dtype, jnp.float32)
    return (y.astype(wide) + jnp.expand_dims(bias.astype(wide), range(y.ndim - 1))).astype(y.dtype)
