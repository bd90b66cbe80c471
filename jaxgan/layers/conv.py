"""The convolutions as Flax layers."""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax

from jaxgan.layers.convolutions import enlarged_convolve, halved_convolve, strided_convolve, transposed_convolve
from jaxgan.layers.dense import add_bias


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
        return _convolution(self, functools.partial(strided_convolve, stride=self.stride), x)


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
        return _convolution(self, functools.partial(transposed_convolve, stride=self.stride), x)


class EnlargedConv(nn.Module):
    """Nearest-neighbour enlargement, then convolution, `[B,H,W,C] -> [B,2H,2W,features]`; see `enlarged_convolve`.

    Attributes: as of `Conv`; `kernel_size` is odd.
    """

    features: int
    kernel_size: int
    use_bias: bool = True
    kernel_init: Callable = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return _convolution(self, enlarged_convolve, x)


class HalvedConv(nn.Module):
    """Convolution, then means of squares of four, `[B,H,W,C] -> [B,H/2,W/2,features]`; see `halved_convolve`.

    Attributes: as of `Conv`; `kernel_size` is odd.
    """

    features: int
    kernel_size: int
    use_bias: bool = True
    kernel_init: Callable = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return _convolution(self, halved_convolve, x)


def _convolution(module: nn.Module, apply: Callable, x: jax.Array) -> jax.Array:
    shape = (module.kernel_size, module.kernel_size, x.shape[-1], module.features)
    kernel = module.param("kernel", module.kernel_init, shape)
    bias = module.param("bias", nn.initializers.zeros, (module.features,)) if module.use_bias else None
    x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias)  # as Flax's own layers do
    y = apply(x, kernel)
    return y if bias is None else add_bias(y, bias)
