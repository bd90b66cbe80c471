"""Layers whose learning rate is equalised: kernels are kept at N(0, 1) and scaled where they are used.

Optimisers like Adam move every number that is kept by about the learning rate, whatever its gradient's size. Were
kernels kept at the size they are used at, wide layers' would be moved by more of themselves than narrow layers'.

References:
  Karras et al., Progressive Growing of GANs for Improved Quality, Stability, and Variation,
  https://arxiv.org/abs/1710.10196, 2018, Section 4.1.
"""

import math
from collections.abc import Callable

import flax.linen as nn
import jax

from jaxgan.layers.convolutions import enlarged_convolve, halved_convolve, strided_convolve
from jaxgan.layers.dense import add_bias, multiply


def equalised(kernel: jax.Array, fan_in: int, gain: float = 1.0, rate: float = 1.0) -> jax.Array:
    """A kernel as it is used: `kernel * gain * rate / sqrt(fan_in)`, in its own dtype.

    Args:
      kernel: as it is kept, `N(0, 1) / rate` at the start.
      fan_in: inputs that one output sums.
      gain: what the layer multiplies the standard deviation of its inputs by, at the start.
      rate: how much faster the kernel that is used moves; it starts from the same distribution, whatever the rate.
    """
    return kernel * (gain * rate / math.sqrt(fan_in))


class EqualisedDense(nn.Module):
    """Dense layer with an equalised learning rate, `[..., n] -> [..., features]`.

    Attributes:
      features: number of outputs.
      use_bias: whether a bias is added to each.
      gain: what the layer multiplies the standard deviation of its inputs by, at the start.
      rate: what the learning rate of the kernel and of the bias is multiplied by.
      bias_init: the bias that is added at the start.
    """

    features: int
    use_bias: bool = True
    gain: float = 1.0
    rate: float = 1.0
    bias_init: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return _layer(self, multiply, (x.shape[-1], self.features), x, self.bias_init)


class EqualisedConv(nn.Module):
    """`SAME` convolution with an equalised learning rate, `[B,H,W,C] -> [B,H,W,features]`.

    Attributes:
      features: number of output channels.
      kernel_size: side of the square kernel, pixels.
      use_bias: whether a bias is added to each channel.
      gain: what the layer multiplies the standard deviation of its inputs by, at the start.
      rate: what the learning rate of the kernel and of the bias is multiplied by.
    """

    features: int
    kernel_size: int
    use_bias: bool = True
    gain: float = 1.0
    rate: float = 1.0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return _layer(self, lambda x, kernel: strided_convolve(x, kernel, 1), _kernel_shape(self, x), x)


class EqualisedEnlargedConv(nn.Module):
    """`EqualisedConv` of an image whose pixels are doubled, `[B,H,W,C] -> [B,2H,2W,features]`; see `enlarged_convolve`.

    Attributes: as of `EqualisedConv`; `kernel_size` is odd.
    """

    features: int
    kernel_size: int
    use_bias: bool = True
    gain: float = 1.0
    rate: float = 1.0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return _layer(self, enlarged_convolve, _kernel_shape(self, x), x)


class EqualisedHalvedConv(nn.Module):
    """Means of squares of four of an `EqualisedConv`, `[B,H,W,C] -> [B,H/2,W/2,features]`; see `halved_convolve`.

    Attributes: as of `EqualisedConv`; `kernel_size` is odd.
    """

    features: int
    kernel_size: int
    use_bias: bool = True
    gain: float = 1.0
    rate: float = 1.0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return _layer(self, halved_convolve, _kernel_shape(self, x), x)


def _kernel_shape(module: nn.Module, x: jax.Array) -> tuple[int, int, int, int]:
    return module.kernel_size, module.kernel_size, x.shape[-1], module.features


def _layer(module: nn.Module, apply: Callable, shape: tuple, x: jax.Array, bias_init: float = 0.0) -> jax.Array:
    """`apply(x, kernel) + bias` with the parameters of a layer as they are used; its kernel has a shape."""

    kernel = module.param("kernel", nn.initializers.normal(1.0 / module.rate), shape)
    start = nn.initializers.constant(bias_init / module.rate)
    bias = module.param("bias", start, (module.features,)) if module.use_bias else None
    x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias)  # as Flax's own layers do
    y = apply(x, equalised(kernel, math.prod(shape[:-1]), module.gain, module.rate))
    return y if bias is None else add_bias(y, bias * module.rate)
