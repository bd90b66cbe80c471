"""The convolutions as Flax layers."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.layers.convolutions import strided_convolve, transposed_convolve


class Conv(nn.Module):
    """`SAME` convolution, `[B,H,W,C] -> [B,ceil(H/stride),ceil(W/stride),features]`; see `strided_convolve`.

    Attributes:
      features: number of output channels.
      kernel_size: side of the square kernel, pixels.
      stride: step in pixels.
      use_bias: whether a bias is added to each channel.
      kernel_init: initialiser of the kernel, `[kernel_size, kernel_size, channels, features]`.
    """

    features: int
    kernel_size: int
    stride: int = 1
    use_bias: bool = True
    kernel_init: Callable = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return _convolution(self, strided_convolve, x)


class ConvTranspose(nn.Module):
    """`SAME` transposed convolution, `[B,H,W,C] -> [B,H*stride,W*stride,features]`; see `transposed_convolve`.

    Attributes: as of `Conv`; `stride` is the enlargement.
    """

    features: int
    kernel_size: int
    stride: int = 1
    use_bias: bool = True
    kernel_init: Callable = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return _convolution(self, transposed_convolve, x)


def _convolution(module: Conv | ConvTranspose, apply: Callable, x: jax.Array) -> jax.Array:
    shape = (module.kernel_size, module.kernel_size, x.shape[-1], module.features)
    kernel = module.param("kernel", module.kernel_init, shape)
    bias = module.param("bias", nn.initializers.zeros, (module.features,)) if module.use_bias else None
    x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias)  # as Flax's own layers do
    y = apply(x, kernel, module.stride)
    return y if bias is None else y + jnp.expand_dims(bias, (0, 1, 2))
