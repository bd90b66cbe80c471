"""Convolutions that stay fast everywhere, as functions.

XLA's CPU backend runs plain stride-1 convolutions at matrix-product speed, but dilated ones (transposed convolutions,
and the input gradients of strided ones) several times slower, and gradients with permuted layouts inside `lax.scan`
some sixty times slower. So there is one convolution here, of stride 1, whose gradients are written with itself; strided
and transposed ones are that one after space-to-depth and before depth-to-space. On a CPU small images take the form of
`fourier`, where it is faster. The results are those of the textbook definitions.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxgan.layers import fourier
from jaxgan.layers.fourier import Padding


def _plain_convolution(padding: Padding, x: jax.Array, kernel: jax.Array) -> jax.Array:
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


@functools.cache
def _mapped_convolution(padding: Padding) -> Callable:
    """The plain convolution with a batching rule of its own: a population of kernels is mapped over, not grouped.

    `vmap` over kernels makes a grouped convolution, which costs a CPU five times what its members cost in turn.
    """

    @jax.custom_batching.custom_vmap
    def convolve(x, kernel):
        return _plain_convolution(padding, x, kernel)

    @convolve.def_vmap
    def rule(axis_size, batched, x, kernel):
        x_batched, kernel_batched = batched
        if not kernel_batched:  # one kernel: the mapped axis is more batch
            y = convolve(x.reshape(-1, *x.shape[2:]), kernel)
            return y.reshape(axis_size, -1, *y.shape[1:]), True
        if not x_batched:
            return jax.lax.map(lambda k: convolve(x, k), kernel), True
        return jax.lax.map(lambda pair: convolve(*pair), (x, kernel)), True

    return convolve


def _choose(form: Callable, plain: Callable, padding: Padding, image: tuple, kernel: tuple, *arrays: jax.Array):
    """One of the three maps below, for the shapes of x and of the kernel: on a CPU its Fourier form where that pays.

    Narrow floats are left to the plain form: the sums over pixels would lose what such numbers have left.
    """
    if arrays[0].dtype.itemsize < 4 or not fourier.pays(padding, image[1:3], kernel, image[0]):
        return plain(*arrays)
    return jax.lax.platform_dependent(*arrays, cpu=functools.partial(form, padding), default=plain)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def convolve(padding: Padding, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Two-dimensional cross-correlation of stride 1, closed under differentiation.

    `y[n,i,j,o] = sum_{a,b,c} x[n, i+a-top, j+b-left, c] kernel[a,b,c,o]`, with `x` zero outside. Its gradients to `x`
    and to the kernel are convolutions too, whose gradients are again these three, so derivatives of any order (gradient
    penalties) keep its speed. Forward-mode differentiation is not defined; take a Jacobian-vector product from two
    reverse passes.

    Args:
      padding: `((top, bottom), (left, right))` in pixels.
      x: `[batch, height, width, channels]`.
      kernel: `[kernel_height, kernel_width, channels, features]`.

    Returns:
      `[batch, height + top + bottom - kernel_height + 1, ..., features]`.
    """
    plain = _mapped_convolution(padding)
    return _choose(fourier.convolve, plain, padding, x.shape, kernel.shape, x, kernel)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _input_gradient(padding: Padding, kernel: jax.Array, dy: jax.Array) -> jax.Array:
    """Correlates `dy` with the kernel turned by 180 degrees, channels exchanged, padding mirrored."""

    def plain(kernel, dy):
        return _mapped_convolution(_mirrored(padding, kernel.shape))(dy, jnp.flip(kernel, (0, 1)).swapaxes(2, 3))

    image = (dy.shape[0], *fourier.input_size(padding, kernel.shape[:2], dy.shape[1:3]))
    return _choose(fourier.input_gradient, plain, padding, image, kernel.shape, kernel, dy)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _kernel_gradient(padding: Padding, x: jax.Array, dy: jax.Array) -> jax.Array:
    """Correlates `x` with `dy`: the batch becomes the channel that is summed, the channels the batch."""
    kernel = (*fourier.kernel_size(padding, x.shape[1:3], dy.shape[1:3]), x.shape[-1], dy.shape[-1])

    def plain(x, dy):
        if dy.shape[1] <= x.shape[1]:
            return _mapped_convolution(padding)(x.transpose(3, 1, 2, 0), dy.transpose(1, 2, 0, 3)).transpose(1, 2, 0, 3)
        # XLA exchanges an image with a larger kernel, and no fast path of a CPU takes what comes of that. So `dy` with
        # `x`, which gives the taps from the last to the first.
        turned = _mapped_convolution(_mirrored(padding, kernel))(dy.transpose(3, 1, 2, 0), x.transpose(1, 2, 0, 3))
        return jnp.flip(turned, (1, 2)).transpose(1, 2, 3, 0)

    return _choose(fourier.kernel_gradient, plain, padding, x.shape, kernel, x, dy)


def _mirrored(padding: Padding, kernel: tuple) -> Padding:
    return tuple((k - 1 - low, k - 1 - high) for k, (low, high) in zip(kernel, padding, strict=False))


# The three are the derivatives of one trilinear form, sum(dy * convolve(x, kernel)): the gradients of each of them are
# the other two, with the incoming gradient in the place of what it is the derivative to.
convolve.defvjp(
    lambda padding, x, kernel: (convolve(padding, x, kernel), (x, kernel)),
    lambda padding, saved, dy: (_input_gradient(padding, saved[1], dy), _kernel_gradient(padding, saved[0], dy)),
)
_input_gradient.defvjp(
    lambda padding, kernel, dy: (_input_gradient(padding, kernel, dy), (kernel, dy)),
    lambda padding, saved, x: (_kernel_gradient(padding, x, saved[1]), convolve(padding, x, saved[0])),
)
_kernel_gradient.defvjp(
    lambda padding, x, dy: (_kernel_gradient(padding, x, dy), (x, dy)),
    lambda padding, saved, kernel: (_input_gradient(padding, kernel, saved[1]), convolve(padding, saved[0], kernel)),
)


def space_to_depth(x: jax.Array, block: int) -> jax.Array:
    """Moves each `block x block` square of pixels into channels: `[B,H,W,C] -> [B,H/block,W/block,block*block*C]`."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // block, block, width // block, block, channels).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(batch, height // block, width // block, block * block * channels)


def depth_to_space(x: jax.Array, block: int) -> jax.Array:
    """The inverse of `space_to_depth`: `[B,H,W,block*block*C] -> [B,H*block,W*block,C]`."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height, width, block, block, channels // block**2).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(batch, height * block, width * block, channels // block**2)


def strided_convolve(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Cross-correlation with `SAME` padding: `[B,H,W,C] -> [B,ceil(H/stride),ceil(W/stride),F]`.

    The padding is TensorFlow's and JAX's: `max(stride*(ceil(H/stride)-1) + k - H, 0)` in all, the smaller half first.

    Args:
      x: `[batch, height, width, channels]`.
      kernel: `[kernel_height, kernel_width, channels, features]`.
      stride: step in pixels, the same both ways.
    """
    shifts, blocks, padding, widths = [], [], [], []
    for size, k in zip(x.shape[1:3], kernel.shape, strict=False):
        outputs = -(-size // stride)
        before = max(stride * (outputs - 1) + k - size, 0) // 2  # pixels of SAME padding in front
        # The kernel grows at both ends to whole blocks of pixels, its taps being [-before, k - before); or the image is
        # shifted by `before` and the kernel grows at its end only, where that takes fewer blocks (4 taps, stride 2).
        low = -(-before // stride)
        taps = -(-(low * stride - before + k) // stride)
        shift = before if -(-k // stride) < taps else 0
        if shift:
            low, before, taps = 0, 0, -(-k // stride)
        count = max(outputs, -(-(shift + size) // stride))
        shifts.append((shift, count * stride - shift - size))
        blocks.append(taps)
        padding.append((low, outputs + taps - 1 - low - count))
        widths.append((low * stride - before, (taps - low) * stride + before - k))
    kernel = jnp.pad(kernel, [*widths, (0, 0), (0, 0)])
    if stride > 1:
        x = space_to_depth(jnp.pad(x, [(0, 0), *shifts, (0, 0)]), stride)
        channels, features = kernel.shape[2:]
        kernel = kernel.reshape(blocks[0], stride, blocks[1], stride, channels, features).transpose(0, 2, 1, 3, 4, 5)
        kernel = kernel.reshape(blocks[0], blocks[1], stride * stride * channels, features)
    return convolve(tuple(padding), x, kernel)


def transposed_convolve(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """The transpose of `strided_convolve`'s linear map, `SAME` padding: `[B,H,W,C] -> [B,H*stride,W*stride,F]`.

    `y[o] = sum_i x[i] kernel[o - stride*i + before]` in each direction, `before = max(k - stride, 0) // 2`: what Keras'
    `Conv2DTranspose` and PyTorch's `ConvTranspose2d` compute, written as a stride-1 convolution to the `stride**2`
    phases of each output pixel.

    Args:
      x: `[batch, height, width, channels]`.
      kernel: `[kernel_height, kernel_width, channels, features]`.
      stride: enlargement, the same both ways.
    """
    blocks, padding, crops = [], [], []
    for length, size in zip(x.shape[1:3], kernel.shape, strict=False):
        before = max(size - stride, 0) // 2
        # Output stride*j + phase sees input j - d through the tap stride*d + phase + before: d runs from first to last.
        # Or the first `before` outputs are made too, and cropped, where that takes fewer taps (4 taps, stride 2).
        crop = before if -(-size // stride) < (stride - 1 + before) // stride + (size - 1 - before) // stride + 1 else 0
        before -= crop
        first = -((stride - 1 + before) // stride)
        last = (size - 1 - before) // stride
        front = -(stride * first + before)
        count = last - first + 1
        blocks.append((front, count, count * stride - front - size))
        padding.append((last, last if crop else -first))
        crops.append(slice(crop, crop + length * stride))
    kernel = jnp.pad(kernel, [(front, back) for front, _, back in blocks] + [(0, 0), (0, 0)])
    rows, columns = blocks[0][1], blocks[1][1]
    channels, features = kernel.shape[2:]
    kernel = kernel.reshape(rows, stride, columns, stride, channels, features)
    kernel = jnp.flip(kernel, (0, 2)).transpose(0, 2, 4, 1, 3, 5)
    kernel = kernel.reshape(rows, columns, channels, stride * stride * features)
    return depth_to_space(convolve(tuple(padding), x, kernel), stride)[:, *crops]


def enlarged_convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Cross-correlation, `SAME` padding, of an image whose pixels are doubled: `[B,H,W,C] -> [B,2H,2W,F]`.

    `convolve(enlarge(x), kernel)` with nearest-neighbour enlargement, for odd kernels. Enlarging spreads each pixel
    over a square of four, so it is a transposed convolution with the kernel summed over shifts of that square: for
    3x3 taps 16 products for each small pixel instead of 36.

    Args:
      x: `[batch, height, width, channels]`.
      kernel: `[kernel_height, kernel_width, channels, features]`, of odd height and width.
    """
    # The transpose's taps run against the kernel's.
    return transposed_convolve(x, _squares(jnp.flip(kernel, (0, 1))), 2)


def halved_convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Means of squares of four of a cross-correlation, `SAME` padding: `[B,H,W,C] -> [B,H/2,W/2,F]`.

    `halve(convolve(x, kernel))` for odd kernels: a convolution of stride 2 with the kernel's mean over the square's
    shifts, for 3x3 taps 16 products for each small pixel instead of 36.

    Args:
      x: `[batch, height, width, channels]`, of even height and width.
      kernel: `[kernel_height, kernel_width, channels, features]`, of odd height and width.
    """
    return strided_convolve(x, _squares(kernel) / 4, 2)


def _squares(kernel: jax.Array) -> jax.Array:
    """The kernel's sum over the shifts by 0 and 1 in each direction, one tap larger each way."""
    return sum(jnp.pad(kernel, [(a, 1 - a), (b, 1 - b), (0, 0), (0, 0)]) for a in (0, 1) for b in (0, 1))
