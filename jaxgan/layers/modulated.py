"""Convolutions whose kernels are scaled for each example by a style, and the noise that is added to what they give."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.layers.blur import upsampled_convolve
from jaxgan.layers.convolutions import strided_convolve
from jaxgan.layers.dense import add_bias
from jaxgan.layers.equalised import EqualisedDense, equalised

EPSILON = 1e-8
"""Added to the squared norm of a kernel under the root; the authors' value."""


def modulated_convolve(
    x: jax.Array, kernel: jax.Array, styles: jax.Array, *, upsampled: bool = False, demodulate: bool = True
) -> jax.Array:
    """Convolution of each example with a kernel of its own, `kernel[a,b,c,o] * styles[n,c]`, `SAME` padding.

    Where demodulated, each of these kernels is divided by its norm over `a, b, c`: were the inputs independent and of
    variance one, so would the outputs be. A kernel's scales are those of what goes in and of what comes out, so one
    convolution with the plain kernel does for all examples, and none is grouped.

    Args:
      x: `[batch, height, width, channels]`.
      kernel: `[k, k, channels, features]`, 3x3 where upsampled.
      styles: `[batch, channels]`.
      upsampled: whether the image is made twice as large; see `upsampled_convolve`.
      demodulate: whether kernels are divided by their norms.

    Returns:
      `[batch, height, width, features]`, or twice as high and wide.

    References:
      Karras et al., Analyzing and Improving the Image Quality of StyleGAN, https://arxiv.org/abs/1912.04958, 2019,
      Section 2.2.
    """
    wide = jnp.promote_types(x.dtype, jnp.float32)
    x = _scaled(x, styles.astype(wide))
    y = upsampled_convolve(x, kernel) if upsampled else strided_convolve(x, kernel, 1)
    if not demodulate:
        return y
    energy = jnp.sum(kernel.astype(wide) ** 2, axis=(0, 1))
    return _scaled(y, jax.lax.rsqrt(styles.astype(wide) ** 2 @ energy + EPSILON))


def _scaled(x: jax.Array, factors: jax.Array) -> jax.Array:
    """The channels of each example times factors `[batch, channels]`, whose gradients, over pixels, are in float32."""
    return (x.astype(factors.dtype) * factors[:, None, None, :]).astype(x.dtype)


class ModulatedConv(nn.Module):
    """`modulated_convolve` by an affine function of a style vector, and a bias; learning rates are equalised.

    Attributes:
      features: number of output channels.
      kernel_size: side of the square kernel, pixels; 3 where upsampled.
      upsampled: whether the image is made twice as large.
      demodulate: whether kernels are divided by their norms.
    """

    features: int
    kernel_size: int
    upsampled: bool = False
    demodulate: bool = True

    @nn.compact
    def __call__(self, x: jax.Array, w: jax.Array) -> jax.Array:
        """Images `[B,H,W,C]` and style vectors `[B,n]` to images `[B,H,W,features]`."""
        channels = x.shape[-1]
        styles = EqualisedDense(channels, bias_init=1.0)(w)
        shape = (self.kernel_size, self.kernel_size, channels, self.features)
        kernel = self.param("kernel", nn.initializers.normal(1.0), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias)
        kernel = equalised(kernel, self.kernel_size**2 * channels)
        y = modulated_convolve(x, kernel, styles, upsampled=self.upsampled, demodulate=self.demodulate)
        return add_bias(y, bias)


class Noise(nn.Module):
    """In training adds noise `N(0, 1)` times a learned strength, zero at first: one draw for each pixel of an example.

    Out of training nothing is added. Draws are from the `"dropout"` keys.
    """

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        strength = self.param("strength", nn.initializers.zeros, ())
        if not train:
            return x
        noise = jax.random.normal(self.make_rng("dropout"), (*x.shape[:-1], 1))
        # In float32, for the sake of the strength's gradient, a sum over all pixels and channels.
        return (x.astype(noise.dtype) + strength.astype(noise.dtype) * noise).astype(x.dtype)
