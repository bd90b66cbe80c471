"""The dense layer, its product, and biases whose gradients are summed in float32."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

THIN = 4
"""Most columns, or rows, of a kernel that a CPU takes one by one: with four a step gained 14 %, with eight 2 %."""


class Dense(nn.Module):
    """Flax's dense layer, `[..., n] -> [..., features]`, with `multiply` and `add_bias`.

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
        if self.features < 1:
            raise ValueError(f"expected at least 1 output of a dense layer, got {self.features}")
        kernel = self.param("kernel", self.kernel_init, (x.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,)) if self.use_bias else None
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias)  # as Flax's own layers do
        y = multiply(x, kernel)
        return y if bias is None else add_bias(y, bias)


def multiply(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`x @ kernel`; on a CPU a thin kernel (two to `THIN` columns or rows) is taken column by column or row by row.

    XLA hands matrix products to Eigen, which is slow where a side is thin, be it in the product or in one of its
    gradients: up to 58 us for 0.26 MFLOP. Matrix by vector and vector by vector are XLA's own code, 3 us, and their
    gradients, of any order, are of that kind again. A step of two-dimensional points (`mlp_grid` of
    `experiments/peers`) takes 1.05 ms instead of 1.24, on two cores.

    Args:
      x: `[..., n]`.
      kernel: `[n, features]`, of the same dtype; narrow floats are not taken apart, for the sake of their sums.

    Returns:
      `[..., features]`.
    """
    inputs, outputs = kernel.shape
    if not 2 <= min(inputs, outputs) <= THIN or x.dtype.itemsize < 4:
        return x @ kernel

    def by_column(x, kernel):
        return jnp.concatenate([x @ kernel[:, i : i + 1] for i in range(outputs)], axis=-1)

    def by_row(x, kernel):
        return sum(x[..., i : i + 1] @ kernel[i : i + 1] for i in range(inputs))

    apart = by_column if outputs <= inputs else by_row
    return jax.lax.platform_dependent(x, kernel, cpu=apart, default=jnp.matmul)


def add_bias(y: jax.Array, bias: jax.Array) -> jax.Array:
    """Adds `[features]` to `[..., features]`, in the dtype of y.

    The bias's gradient is a sum over examples and pixels. In bfloat16 a sum of equal signs stops at 256 times its
    terms, and XLA does take it in the dtype it is given, so it is given float32.
    """
    wide = jnp.promote_types(y.dtype, jnp.float32)
    return (y.astype(wide) + jnp.expand_dims(bias.astype(wide), range(y.ndim - 1))).astype(y.dtype)
