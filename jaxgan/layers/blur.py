"""Resampling of images through a low-pass filter, so that nothing aliases: StyleGAN's, `[1, 3, 3, 1] / 8`.

The filter is four shifted images along each axis, weighted and summed. Depthwise convolutions, which XLA groups, cost a
CPU far more. Its transpose is itself with other padding, and enlarging and halving are each other's transposes, so
derivatives of any order are made of the functions here. Forward-mode differentiation is not defined, as in `convolve`.

References:
  Karras et al., Analyzing and Improving the Image Quality of StyleGAN, https://arxiv.org/abs/1912.04958, 2019, Appendix
  B; the authors' upfirdn2d and conv2d_resample of https://github.com/NVlabs/stylegan2-ada-pytorch.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.layers.convolutions import convolve, space_to_depth, transposed_convolve
from jaxgan.layers.dense import add_bias
from jaxgan.layers.equalised import equalised
from jaxgan.layers.fourier import Padding

TAPS = 4
"""Length of the filter, pixels."""


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def blur(padding: Padding, x: jax.Array) -> jax.Array:
    """The filter along both axes, zero outside the image.

    `y[i] = (x[i-low] + 3 x[i-low+1] + 3 x[i-low+2] + x[i-low+3]) / 8` along each.

    Args:
      padding: `((top, bottom), (left, right))` in pixels; negative numbers crop.
      x: `[batch, height, width, channels]`.

    Returns:
      `[batch, height + top + bottom - 3, width + left + right - 3, channels]`.
    """
    for axis, (low, high) in enumerate(padding, 1):
        wide = _pad(x, axis, low, high)
        count = wide.shape[axis] - TAPS + 1
        a, b, c, d = (jax.lax.slice_in_dim(wide, tap, tap + count, axis=axis) for tap in range(TAPS))
        x = (a + d) / 8 + 3 * (b + c) / 8
    return x


def _mirrored(padding: Padding) -> Padding:
    return tuple((TAPS - 1 - low, TAPS - 1 - high) for low, high in padding)


blur.defvjp(lambda padding, x: (blur(padding, x), None), lambda padding, _, dy: (blur(_mirrored(padding), dy),))


@jax.custom_vjp
def upsample(x: jax.Array) -> jax.Array:
    """Twice the size, `[B,H,W,C] -> [B,2H,2W,C]`: zeros between the pixels, then the filter four times as strong.

    Each new pixel is three quarters of the one it lies in and one quarter of the next nearest, along each axis.
    """
    for axis in (1, 2):
        even = (_pad(x, axis, 1, -1) + 3 * x) / 4
        odd = (3 * x + _pad(x, axis, -1, 1)) / 4
        shape = (*x.shape[:axis], 2 * x.shape[axis], *x.shape[axis + 1 :])
        x = jnp.stack([even, odd], axis=axis + 1).reshape(shape)
    return x


@jax.custom_vjp
def downsample(x: jax.Array) -> jax.Array:
    """Half the size, `[B,H,W,C] -> [B,H/2,W/2,C]`, of even height and width: the filter, then every second pixel."""
    for axis in (1, 2):
        even, odd = (jax.lax.slice_in_dim(x, start, None, stride=2, axis=axis) for start in (0, 1))
        x = (_pad(odd, axis, 1, -1) + _pad(even, axis, -1, 1)) / 8 + 3 * (even + odd) / 8
    return x


upsample.defvjp(lambda x: (upsample(x), None), lambda _, dy: (4 * downsample(dy),))
downsample.defvjp(lambda x: (downsample(x), None), lambda _, dy: (upsample(dy) / 4,))


def _pad(x: jax.Array, axis: int, low: int, high: int) -> jax.Array:
    """Zeros before and after along an axis; negative numbers crop."""
    return jax.lax.pad(x, jnp.zeros((), x.dtype), [(low, high, 0) if i == axis else (0, 0, 0) for i in range(x.ndim)])


def upsampled_convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Transposed convolution of stride 2, then the filter: `[B,H,W,C] -> [B,2H,2W,F]`.

    Within the image that is `convolve` of `upsample(x)`, kernel turned by 180 degrees, for 16 products instead of 36
    for each small pixel. The transposed convolution is whole, `2H + 1` pixels, as in the authors' code.

    Args:
      x: `[batch, height, width, channels]`.
      kernel: `[3, 3, channels, features]`.
    """
    wide = jnp.pad(x, [(0, 0), (0, 1), (0, 1), (0, 0)])  # for the last of these pixels; one more is zero
    return blur(((1, 0), (1, 0)), transposed_convolve(wide, 4 * kernel, 2))


def downsampled_convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """The filter, then a convolution of stride 2: `[B,H,W,C] -> [B,H/2,W/2,F]`, of even height and width.

    `y[i] = sum_a b[2i+a-1] kernel[a]` along each axis, `b[i]` the filter's `(x[i-1] + 3 x[i] + 3 x[i+1] + x[i+2]) / 8`,
    also just outside the image.

    Args:
      x: `[batch, height, width, channels]`.
      kernel: `[3, 3, channels, features]`.
    """
    channels, features = kernel.shape[2:]
    blocks = space_to_depth(blur(((2, 3), (2, 3)), x), 2)  # the first is of the pixels -1 and 0
    kernel = jnp.pad(kernel, [(0, 1), (0, 1), (0, 0), (0, 0)]).reshape(2, 2, 2, 2, channels, features)
    return convolve(((0, 0), (0, 0)), blocks, kernel.transpose(0, 2, 1, 3, 4, 5).reshape(2, 2, 4 * channels, features))


class DownsampledConv(nn.Module):
    """`downsampled_convolve` with an equalised learning rate, `[B,H,W,C] -> [B,H/2,W/2,features]`, and a bias.

    Attributes:
      features: number of output channels.
    """

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (3, 3, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.normal(1.0), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias)
        return add_bias(downsampled_convolve(x, equalised(kernel, 9 * x.shape[-1])), bias)
